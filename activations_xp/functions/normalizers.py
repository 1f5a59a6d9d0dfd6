"""Functions that give a slice along an axis a fixed mean and size."""

from __future__ import annotations

from math import inf, prod, sqrt
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber, Axes, ChannelArray, Mask, Number
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import broadcast_along, mask_to_zero, ones_like_nan

__all__ = ["layer_norm", "normalize", "rms_norm", "standardize"]


@activation(
    formula="(x - average(x)) / sqrt(average((x - average(x)) ** 2) + epsilon)",
    source="The standard score of statistics; no publication claims it.",
    ulp=256.0,  # beside the mean, where it crosses zero; 4 of those of 1
    constraints=("epsilon >= 0",),
    cases=(
        case(mean=1.0, formula="(x - mean) / sqrt(average((x - mean) ** 2) + epsilon)"),
        case(variance=4.0, formula="(x - average(x)) / sqrt(variance + epsilon)"),
        case(epsilon=0.5),
    ),
    peers={"jax": "jax.nn.standardize", "flax": "flax.nnx.standardize"},
    output_axis="kept",
)
def standardize(
    xp: Namespace,
    x: Array,
    axis: Axes = -1,
    mean: ArrayOrNumber | None = None,
    variance: ArrayOrNumber | None = None,
    epsilon: Number = 1e-5,
    where: Mask | None = None,
) -> Any:
    """Standard score, (x - mean)/sqrt(variance + epsilon) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes of the mean and the variance; None is all of them.
    mean : number or array, optional
        What to take away; None is the mean of x.
    variance : number or array, optional
        None is the mean square of what is left of x.
    epsilon : number, optional
        What is added to the variance.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; JAX gives them a
        score.

    Notes
    -----
    The variance is that of the distances from the mean, which an offset of x does not disturb. A
    slice with an infinity is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.standardize(np.array([10001.0, 10003.0], dtype="float32"), epsilon=0.0)
    array([-1.,  1.], dtype=float32)
    """
    return x if 0 in x.shape else _scored(xp, x, axis, mean, variance, epsilon, where)[0]


@standardize.defvjp
def _(
    xp,
    g,
    x,
    axis,
    mean,
    variance,
    epsilon,
    where,
):
    if 0 in x.shape:
        return {"x": g}
    y, rate, count = _scored(xp, x, axis, mean, variance, epsilon, where)
    g = mask_to_zero(xp, g, where)
    if variance is None:
        g = _less_its_part_along(xp, y, g, axis, count)
    if mean is None:
        g = g - xp.sum(g, axis=axis, keepdims=True) / count
    return {"x": mask_to_zero(xp, g * rate, where)}


def _scored(
    xp: Namespace,
    x: Array,
    axis: Axes,
    mean: ArrayOrNumber | None,
    variance: ArrayOrNumber | None,
    epsilon: float,
    where: Mask | None,
) -> tuple[Any, Any, Any]:
    """The standard score, what it is over the distance from the mean, and how many take part."""
    count: Any = _size(x, axis)
    if where is not None:
        where = xp.broadcast_to(where, x.shape)
        count = xp.sum(xp.astype(where, x.dtype), axis=axis, keepdims=True)
        count = xp.where(count == 0, 1.0, count)
    x = mask_to_zero(xp, x, where)
    if mean is not None:
        x = mask_to_zero(xp, x - mean, where)
    else:
        for _ in range(2):  # the second takes away the rounding of the first
            x = mask_to_zero(xp, x - xp.sum(x, axis=axis, keepdims=True) / count, where)
    if variance is None:
        return *_over_root_mean_square(xp, x, axis, epsilon, count), count
    total = variance + epsilon
    root = sqrt(total) if isinstance(total, NUMBER) else xp.sqrt(total)
    return mask_to_zero(xp, x / root, where), 1 / root, count


@activation(
    formula="x / maximum(sum(abs(x) ** order) ** (1 / order), epsilon)",
    source="The unit vector of linear algebra; no publication claims it.",
    ulp=6.0,  # 4, but XLA adds up a slice in few chains
    constraints=("order > 0", "epsilon >= 0"),
    cases=(
        case(order=1.0),
        case(order=3.0),
        case(order=inf, formula="x / maximum(max(abs(x)), epsilon)"),
        case(epsilon=1e5),
    ),
    peers={
        "torch": Peer("torch.nn.functional.normalize", dim=1),
        "keras": Peer("keras.ops.normalize", epsilon=1e-7),
        "tensorflow": Peer("tf.math.l2_normalize", axis=None),
    },
    output_axis="kept",
    range=(-1.0, 1.0),
)
def normalize(
    xp: Namespace, x: Any, axis: Axes = -1, order: Number = 2.0, epsilon: Number = 1e-12
) -> Any:
    """Unit vector, x/max(norm, epsilon) along an axis, with norm = sum(abs(x)**order)**(1/order).

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes of the norm; None is all of them.
    order : number, optional
        The order of the norm; inf is the largest magnitude.
    epsilon : number, optional
        The least to divide by. TensorFlow's is the square of ours.

    Notes
    -----
    No power of an element overflows or underflows. A slice of zeros stays one, with the slope
    1/epsilon; one with an infinity is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.normalize(np.array([3e30, -1e30], dtype="float32"), order=1.0)
    array([ 0.75, -0.25], dtype=float32)
    """
    if 0 in x.shape:
        return x
    x, size, norm = _measured(xp, x, axis, order, epsilon)
    return x / (norm if epsilon == 0 else xp.maximum(norm, epsilon / size))


@normalize.defvjp
def _(
    xp,
    g,
    x,
    axis,
    order,
    epsilon,
):
    if 0 in x.shape:
        return {"x": g}
    x, size, norm = _measured(xp, x, axis, order, epsilon)
    y = x / norm
    # how fast the norm moves with each element
    if order == 2:
        pace = y
    elif order == inf:
        largest = xp.abs(y) == xp.max(xp.abs(y), axis=axis, keepdims=True)
        count = xp.sum(xp.astype(largest, x.dtype), axis=axis, keepdims=True)
        pace = xp.where(largest, xp.sign(y), 0.0) / _or_one(xp, count)
    elif order == 1:
        pace = xp.sign(y)
    else:
        pace = xp.sign(y) * xp.pow(_or_one(xp, xp.abs(y)), order - 1)
    along = pace * xp.sum(g * y, axis=axis, keepdims=True)
    if epsilon == 0:
        return {"x": (g - along) / norm / size}
    least = epsilon / size
    return {"x": (g - xp.where(norm <= least, 0.0, along)) / xp.maximum(norm, least) / size}


def _measured(
    xp: Namespace, x: Any, axis: Axes, order: float, epsilon: float
) -> tuple[Any, Any, Any]:
    """X over its size, the size, and the norm of that; both are 1 instead of 0."""
    size = _size_of_largest(xp, x, axis, epsilon)
    x = x / size
    if order == inf:
        norm = xp.max(xp.abs(x), axis=axis, keepdims=True)
    elif order == 2:
        norm = xp.sqrt(_or_one(xp, xp.sum(x * x, axis=axis, keepdims=True)))
    elif order == 1:
        norm = xp.sum(xp.abs(x), axis=axis, keepdims=True)
    else:
        # of an order below 1 the power is infinitely steep at 0
        power = xp.where(x == 0, 0.0, xp.pow(_or_one(xp, xp.abs(x)), order))
        norm = xp.pow(_or_one(xp, xp.sum(power, axis=axis, keepdims=True)), 1 / order)
    return x, size, _or_one(xp, norm)


@activation(
    formula="(x - average(x)) / sqrt(average((x - average(x)) ** 2) + epsilon)",
    source="Ba, Kiros & Hinton, Layer normalization, arXiv:1607.06450.",
    ulp=256.0,  # as standardize
    constraints=("epsilon >= 0",),
    cases=(
        case(
            weight=0.5,
            bias=2.0,
            formula="weight * (x - average(x)) / sqrt(average((x - average(x)) ** 2) + epsilon)"
            " + bias",
        ),
    ),
    peers={
        "torch": Peer("torch.nn.functional.layer_norm", note="normalized_shape"),
        "keras": Peer("keras.ops.layer_normalization", epsilon=1e-7),
        "flax": Peer("flax.nnx.LayerNorm", epsilon=1e-6),
        "equinox": "equinox.nn.LayerNorm",
        "mlx": "mlx.core.fast.layer_norm",
        "timm": Peer("timm.layers.LayerNorm", eps=1e-6),
    },
    output_axis="kept",
)
def layer_norm(
    xp: Namespace,
    x: Array,
    axis: Axes = -1,
    weight: ChannelArray | None = None,
    bias: ChannelArray | None = None,
    epsilon: Number = 1e-5,
) -> Any:
    """Layer normalization, weight*(x - mean)/sqrt(variance + epsilon) + bias along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes of the mean and the variance; None is all of them.
    weight : number or array, optional
        The factor of the result; None is 1. It broadcasts to x, or has the shape of the axes.
    bias : number or array, optional
        What is added; None is 0. It broadcasts to x, or has the shape of the axes.
    epsilon : number, optional
        What is added to the variance.

    Notes
    -----
    A slice with an infinity is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.layer_norm(np.array([-1.0, 1.0]), weight=np.array([1.0, 2.0]), epsilon=0.0)
    array([-1.,  2.])
    """
    y = standardize.impl(xp, x, axis, epsilon=epsilon)
    if weight is not None:
        y = y * broadcast_along(xp, "layer_norm", "weight", weight, x, axis)
    return y if bias is None else y + broadcast_along(xp, "layer_norm", "bias", bias, x, axis)


@layer_norm.defvjp
def _(
    xp,
    g,
    x,
    axis,
    weight,
    bias,
    epsilon,
):
    if weight is not None:
        g = g * broadcast_along(xp, "layer_norm", "weight", weight, x, axis)
    return standardize.vjp.impl(xp, g, x, axis, epsilon=epsilon)


@layer_norm.defderivative("weight", "bias")
def _(
    xp,
    x,
    axis,
    weight,
    bias,
    epsilon,
):
    slopes = {} if bias is None else {"bias": ones_like_nan(xp, x)}
    if weight is not None:
        slopes["weight"] = standardize.impl(xp, x, axis, epsilon=epsilon)
    return slopes


@activation(
    formula="x / sqrt(average(x * x) + epsilon)",
    source="Zhang & Sennrich, Root mean square layer normalization, arXiv:1910.07467.",
    ulp=6.0,  # 4, but XLA adds up a slice in few chains
    constraints=("epsilon >= 0",),
    cases=(case(weight=0.5, formula="weight * x / sqrt(average(x * x) + epsilon)"),),
    peers={
        "torch": Peer("torch.nn.functional.rms_norm", note="normalized_shape", eps=None),
        "keras": Peer("keras.ops.rms_normalization", epsilon=1e-7),
        "flax": "flax.nnx.RMSNorm",
        "equinox": Peer("equinox.nn.RMSNorm", eps=1e-5),
        "mlx": "mlx.core.fast.rms_norm",
        "timm": "timm.layers.RmsNorm",
    },
    output_axis="kept",
)
def rms_norm(
    xp: Namespace,
    x: Array,
    axis: Axes = -1,
    weight: ChannelArray | None = None,
    epsilon: Number = 1e-6,
) -> Any:
    """Root mean square normalization, weight*x/sqrt(mean(x*x) + epsilon) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes of the mean; None is all of them.
    weight : number or array, optional
        The factor of the result; None is 1. It broadcasts to x, or has the shape of the axes.
    epsilon : number, optional
        What is added to the mean square. PyTorch's default is the eps of the dtype.

    Notes
    -----
    No square overflows or underflows. A slice with an infinity is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.rms_norm(np.array([3e30, -3e30], dtype="float32"))
    array([ 1., -1.], dtype=float32)
    """
    y = _rms_norm(xp, x, axis, epsilon)
    return y if weight is None else y * broadcast_along(xp, "rms_norm", "weight", weight, x, axis)


@rms_norm.defvjp
def _(
    xp,
    g,
    x,
    axis,
    weight,
    epsilon,
):
    if 0 in x.shape:
        return {"x": g}
    if weight is not None:
        g = g * broadcast_along(xp, "rms_norm", "weight", weight, x, axis)
    count = _size(x, axis)
    y, rate = _over_root_mean_square(xp, x, axis, epsilon, count)
    return {"x": _less_its_part_along(xp, y, g, axis, count) * rate}


@rms_norm.defderivative("weight")
def _(
    xp,
    x,
    axis,
    weight,
    epsilon,
):
    return {} if weight is None else {"weight": _rms_norm(xp, x, axis, epsilon)}


def _rms_norm(xp: Namespace, x: Array, axis: Axes, epsilon: float) -> Any:
    if 0 in x.shape:
        return x
    return _over_root_mean_square(xp, x, axis, epsilon, _size(x, axis))[0]


def _over_root_mean_square(
    xp: Namespace, x: Array, axis: Axes, epsilon: float, count: Any
) -> tuple[Any, Any]:
    """x/sqrt(mean(x*x) + epsilon); of nothing, with an epsilon of 0, 0; and what it is over x."""
    size = _size_of_largest(xp, x, axis, sqrt(epsilon))
    x = x / size
    square = xp.sum(x * x, axis=axis, keepdims=True) / count
    if epsilon != 0:
        rest = sqrt(epsilon) / size
        square = square + rest * rest
    root = xp.sqrt(_or_one(xp, square))
    return x / root, 1 / size / root


def _less_its_part_along(xp: Namespace, y: Any, g: Any, axis: Axes, count: Any) -> Any:
    """G without what only makes x larger, of which y, over the root mean square, sees nothing."""
    return g - y * (xp.sum(g * y, axis=axis, keepdims=True) / count)


def _size_of_largest(xp: Namespace, x: Array, axis: Axes, least: float) -> Any:
    """The largest magnitude, or `least` if that is more, or 1 if both are 0."""
    return _or_one(xp, xp.maximum(xp.max(xp.abs(x), axis=axis, keepdims=True), least))


def _or_one(xp: Namespace, x: Any) -> Any:
    """X, but 1 for 0: what is divided by it is 0."""
    return xp.where(x == 0, 1.0, x)


def _size(x: Array, axis: Any) -> int:
    return prod([x.shape[i] for i in axis])
