"""Normalizers: they bring a slice along an axis to a fixed mean, variance or norm."""

from __future__ import annotations

from math import copysign, inf, nan, sqrt
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber, Axes, ChannelArray, Mask, Number
from .._typing import NUMBER, Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import (
    axes_size,
    broadcast_along,
    count_true,
    is_array,
    mask_to_zero,
    one_where_zero,
    ones_like_nan,
    unbroadcast,
)
from ..numerics.double_word import corrected_passes, is_uncompensated

__all__ = ["layer_norm", "normalize", "rms_norm", "standardize"]


@activation(
    formula="(x - average(x)) / sqrt(average((x - average(x)) ** 2) + epsilon)",
    source="The standard score of statistics; no publication claims it.",
    ulp=256.0,  # near the mean, where the score crosses 0; the absolute error is at most 4 eps
    cases=(
        case(mean=1.0, formula="(x - mean) / sqrt(average((x - mean) ** 2) + epsilon)"),
        case(variance=4.0, formula="(x - average(x)) / sqrt(variance + epsilon)"),
        case(epsilon=0.5),
    ),
    relatives={"rms_norm": {"mean": 0.0, "epsilon": 1e-6}},
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
    mean : number or array, optional
        The mean to subtract. None means that of x.
    variance : number or array, optional
        The variance. None means the mean square of the differences from the mean.
    epsilon : number, optional
        The number that is added to the variance. A negative sum gives NaN.

    Notes
    -----
    The variance is computed from the differences from the mean, so that an offset of x does not
    affect it. A slice with an infinite element is NaN. JAX computes a score for excluded elements,
    too.

    >>> ax.standardize(np.array([10001.0, 10003.0], dtype="float32"), epsilon=0.0)
    array([-1.,  1.], dtype=float32)
    """
    return x if 0 in x.shape else _standardize(xp, x, axis, mean, variance, epsilon, where)[0]


@standardize.defvjp
def _(xp, g, x, axis, mean, variance, epsilon, where):
    dx = dvariance = g
    if 0 not in x.shape:
        y, inv_std, count = _standardize(xp, x, axis, mean, variance, epsilon, where)
        g = mask_to_zero(xp, g, where)
        if variance is None:
            g = _remove_component(xp, g, y, axis, count)
        elif is_array(variance):
            g = mask_to_zero(xp, g * inv_std, where)  # which may differ along the axis
            dvariance = mask_to_zero(xp, g * y * (-0.5 * inv_std), where)
            inv_std = 1.0
        if mean is None:
            g = g - xp.sum(g, axis=axis, keepdims=True) / count
        dx = mask_to_zero(xp, g * inv_std, where)
    gradients = {"x": dx}
    if is_array(mean):
        gradients["mean"] = unbroadcast(xp, -dx, mean.shape)
    if is_array(variance):
        gradients["variance"] = unbroadcast(xp, dvariance, variance.shape)
    return gradients


def _standardize(
    xp: Namespace,
    x: Array,
    axis: Axes,
    mean: ArrayOrNumber | None,
    variance: ArrayOrNumber | None,
    epsilon: float,
    where: Mask | None,
) -> tuple[Any, Any, Any]:
    """Return the standard score, 1/sqrt(variance + epsilon), and the number of elements."""
    count: Any = axes_size(xp, x, axis)
    if where is not None:
        where = xp.broadcast_to(where, x.shape)
        count = count_true(xp, where, x, axis)
    x = mask_to_zero(xp, x, where)
    if mean is not None:
        x = mask_to_zero(xp, x - mean, where)
    else:
        for _ in range(corrected_passes(xp)):
            average = xp.sum(x, axis=axis, keepdims=True) / count
            x = mask_to_zero(xp, x - (average + (average - average)), where)  # NaN if infinite
    if variance is None:
        return *_divide_by_rms(xp, x, axis, epsilon, count), count
    variance = variance + epsilon
    if isinstance(variance, NUMBER):
        std: Any = sqrt(variance) if variance >= 0 else nan
    else:
        std = xp.sqrt(variance)
    return mask_to_zero(xp, x / std, where), 1 / std, count


@activation(
    formula="x / maximum(sum(abs(x) ** order) ** (1 / order), epsilon)",
    source="The unit vector of linear algebra; no publication claims it.",
    ulp=6.0,  # 4, but XLA sums a slice in few chains
    cases=(
        case(order=1.0),
        case(order=3.0),
        case(order=inf, formula="x / maximum(max(abs(x)), epsilon)"),
        case(order=0.0, formula="x / maximum(sum(where(x == 0, 0, 1)), epsilon)"),
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
    order : number, optional
        The order of the norm. The norm of order inf is the largest magnitude, that of order -inf
        the smallest, and that of order 0 the number of elements that are not 0.
    epsilon : number, optional
        The smallest divisor. The epsilon of TensorFlow is the square of this one.

    Notes
    -----
    No power of an element overflows or underflows. A slice of zeros remains 0 and has the
    derivative 1/epsilon. An infinite element is NaN, and takes the others of its slice to 0.

    >>> ax.normalize(np.array([3e30, -1e30], dtype="float32"), order=1.0)
    array([ 0.75, -0.25], dtype=float32)
    """
    if 0 in x.shape:
        return x
    x, _, _, divisor = _scaled_norm(xp, x, axis, order, epsilon)
    return x / divisor


@normalize.defvjp
def _(xp, g, x, axis, order, epsilon):
    if 0 in x.shape:
        return {"x": g}
    x, max_abs, norm, divisor = _scaled_norm(xp, x, axis, order, epsilon)
    y = x / one_where_zero(xp, norm)
    along = _norm_derivative(xp, y, axis, order) * xp.sum(g * y, axis=axis, keepdims=True)
    return {"x": (g - xp.where(norm < divisor, 0.0, along)) / divisor / max_abs}


@normalize.defcomplex
def _(xp, x, axis, order, epsilon):
    magnitude, direction = cmath.polar(xp, x)
    return direction * normalize.impl(xp, magnitude, axis, order, epsilon)


@normalize.defcomplex("vjp")
def _(xp, g, x, axis, order, epsilon):
    if 0 in x.shape:
        return {"x": g}
    magnitude, direction = cmath.polar(xp, x)
    radial = xp.real(g * direction)
    dr = normalize.vjp.impl(xp, radial, magnitude, axis, order, epsilon)["x"]
    _, max_abs, _, divisor = _scaled_norm(xp, magnitude, axis, order, epsilon)
    across = g - xp.conj(direction) * radial
    return {"x": xp.conj(direction) * dr + across / divisor / max_abs}


def _scaled_norm(
    xp: Namespace, x: Any, axis: Axes, order: float, epsilon: float
) -> tuple[Any, Any, Any, Any]:
    """Return x divided by its largest magnitude, that magnitude, and norm and divisor of that.

    Magnitude and divisor are 1 where they would be 0.
    """
    epsilon = max(epsilon, 0.0)
    max_abs: Any = 1.0  # small elements count as many as large ones
    if order != 0:
        max_abs = _max_abs(xp, x, axis, epsilon, 2.0 if abs(order) == inf else abs(order))
    x = x / max_abs
    abs_x = xp.abs(x)
    if order == inf:
        norm = xp.max(abs_x, axis=axis, keepdims=True)
    elif order == -inf:
        norm = xp.min(abs_x, axis=axis, keepdims=True)
    elif order == 2:
        square = xp.sum(x * x, axis=axis, keepdims=True)
        norm = xp.where(square == 0, 0.0, xp.sqrt(one_where_zero(xp, square)))
    elif order == 1:
        norm = xp.sum(abs_x, axis=axis, keepdims=True)
    elif order == 0:
        norm = xp.sum(xp.where(x == 0, 0.0, ones_like_nan(xp, x)), axis=axis, keepdims=True)
    else:
        # below order 1 the derivative of the power is infinite at 0
        at_0 = inf if order < 0 else 0.0
        power = xp.where(x == 0, at_0, xp.pow(one_where_zero(xp, abs_x), order))
        power = xp.sum(power, axis=axis, keepdims=True)
        norm = xp.where(power == at_0, 0.0, xp.pow(one_where_zero(xp, power), 1 / order))
    divisor = norm if epsilon == 0 else xp.maximum(norm, epsilon / max_abs)
    return x, max_abs, norm, one_where_zero(xp, divisor)


def _norm_derivative(xp: Namespace, y: Any, axis: Axes, order: float) -> Any:
    """Return the derivatives of a norm of 1 with respect to the elements."""
    if order == 2:
        return y
    if abs(order) == inf:
        end = (xp.max if order > 0 else xp.min)(xp.abs(y), axis=axis, keepdims=True)
        is_end = xp.abs(y) == end
        return xp.where(is_end, xp.sign(y), 0.0) / count_true(xp, is_end, y, axis)
    if order == 1:
        return xp.sign(y)
    if order == 0:
        return 0.0 * ones_like_nan(xp, y)
    return xp.sign(y) * xp.pow(one_where_zero(xp, xp.abs(y)), order - 1)


@activation(
    formula="(x - average(x)) / sqrt(average((x - average(x)) ** 2) + epsilon)",
    source="Ba, Kiros & Hinton, Layer normalization, arXiv:1607.06450.",
    ulp=256.0,  # as standardize
    cases=(
        case(
            weight=0.5,
            bias=2.0,
            formula="weight * (x - average(x)) / sqrt(average((x - average(x)) ** 2) + epsilon)"
            " + bias",
        ),
    ),
    relatives={"standardize": {}},
    layer="torch.nn.LayerNorm",
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
    weight : number or array, optional
        The factor of the result; None means 1. It broadcasts to x, or has the sizes of the axes.
    bias : number or array, optional
        The number to add; None means 0. It broadcasts to x, or has the sizes of the axes.
    epsilon : number, optional
        The number that is added to the variance.

    Notes
    -----
    A slice with an infinite element is NaN.

    >>> ax.layer_norm(np.array([-1.0, 1.0]), weight=np.array([1.0, 2.0]), epsilon=0.0)
    array([-1.,  2.])
    """
    y = standardize.impl(xp, x, axis, epsilon=epsilon)
    if weight is not None:
        y = y * broadcast_along(xp, "layer_norm", "weight", weight, x, axis)
    return y if bias is None else y + broadcast_along(xp, "layer_norm", "bias", bias, x, axis)


@layer_norm.defvjp
def _(xp, g, x, axis, weight, bias, epsilon):
    if bias is not None:
        broadcast_along(xp, "layer_norm", "bias", bias, x, axis)
    if weight is not None:
        g = g * broadcast_along(xp, "layer_norm", "weight", weight, x, axis)
    return standardize.vjp.impl(xp, g, x, axis, epsilon=epsilon)


@layer_norm.defderivative("weight", "bias")
def _(xp, x, axis, weight, bias, epsilon):
    derivatives = {}
    if bias is not None:
        broadcast_along(xp, "layer_norm", "bias", bias, x, axis)
        derivatives["bias"] = ones_like_nan(xp, x)
    if weight is not None:
        derivatives["weight"] = standardize.impl(xp, x, axis, epsilon=epsilon)
    return derivatives


@activation(
    formula="x / sqrt(average(x * x) + epsilon)",
    source="Zhang & Sennrich, Root mean square layer normalization, arXiv:1910.07467.",
    ulp=6.0,  # 4, but XLA sums a slice in few chains
    cases=(case(weight=0.5, formula="weight * x / sqrt(average(x * x) + epsilon)"),),
    layer="torch.nn.RMSNorm",
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
    weight : number or array, optional
        The factor of the result; None means 1. It broadcasts to x, or has the sizes of the axes.
    epsilon : number, optional
        The number that is added to the mean square. The default of PyTorch is the eps of the
        dtype.

    Notes
    -----
    No square overflows or underflows. An infinite element is NaN, and takes the others of its
    slice to 0.

    >>> ax.rms_norm(np.array([3e30, -3e30], dtype="float32"))
    array([ 1., -1.], dtype=float32)
    """
    y = _rms_norm(xp, x, axis, epsilon)
    return y if weight is None else y * broadcast_along(xp, "rms_norm", "weight", weight, x, axis)


@rms_norm.defvjp
def _(xp, g, x, axis, weight, epsilon):
    if 0 in x.shape:
        return {"x": g}
    if weight is not None:
        g = g * broadcast_along(xp, "rms_norm", "weight", weight, x, axis)
    count = axes_size(xp, x, axis)
    y, inv_rms = _divide_by_rms(xp, x, axis, epsilon, count)
    return {"x": _remove_component(xp, g, y, axis, count) * inv_rms}


@rms_norm.defderivative("weight")
def _(xp, x, axis, weight, epsilon):
    return {} if weight is None else {"weight": _rms_norm(xp, x, axis, epsilon)}


@rms_norm.defcomplex
def _(xp, x, axis, weight, epsilon):
    y = _complex_rms_norm(xp, x, axis, epsilon)[0]
    return y if weight is None else y * broadcast_along(xp, "rms_norm", "weight", weight, x, axis)


@rms_norm.defcomplex("vjp")
def _(xp, g, x, axis, weight, epsilon):
    if weight is not None:
        g = g * broadcast_along(xp, "rms_norm", "weight", weight, x, axis)
    y, inv_rms = _complex_rms_norm(xp, x, axis, epsilon)
    return {"x": _remove_component(xp, g, y, axis, axes_size(xp, x, axis)) * inv_rms}


@rms_norm.defcomplex("weight")
def _(xp, x, axis, weight, epsilon):
    return {} if weight is None else {"weight": _complex_rms_norm(xp, x, axis, epsilon)[0]}


def _complex_rms_norm(xp: Namespace, x: Any, axis: Axes, epsilon: float) -> tuple[Any, Any]:
    """Return x/rms and 1/rms for the complex rms = sqrt(mean(x*x) + epsilon)."""
    if 0 in x.shape:
        return x, x
    max_abs = _max_abs(xp, cmath.modulus(xp, x), axis, sqrt(abs(epsilon)))
    x = x / max_abs
    mean_square = xp.sum(x * x, axis=axis, keepdims=True) / axes_size(xp, x, axis)
    rms = xp.sqrt(one_where_zero(xp, mean_square + epsilon / max_abs / max_abs))
    return x / rms, 1 / max_abs / rms


def _rms_norm(xp: Namespace, x: Array, axis: Axes, epsilon: float) -> Any:
    if 0 in x.shape:
        return x
    return _divide_by_rms(xp, x, axis, epsilon, axes_size(xp, x, axis))[0]


def _divide_by_rms(
    xp: Namespace, x: Array, axis: Axes, epsilon: float, count: Any
) -> tuple[Any, Any]:
    """Return x/rms and 1/rms for rms = sqrt(sum(x*x)/count + epsilon), or 1 where that is 0."""
    max_abs = _max_abs(xp, x, axis, sqrt(abs(epsilon)))
    x = x / max_abs
    mean_square = xp.sum(x * x, axis=axis, keepdims=True) / count
    if epsilon != 0:
        sqrt_epsilon = sqrt(abs(epsilon)) / max_abs
        mean_square = mean_square + copysign(1.0, epsilon) * (sqrt_epsilon * sqrt_epsilon)
    rms = xp.sqrt(one_where_zero(xp, mean_square))
    return x / rms, 1 / max_abs / rms


def _remove_component(xp: Namespace, g: Any, y: Any, axis: Axes, count: Any) -> Any:
    """Return `g` without its component along y = x/rms, which does not change when x is scaled."""
    return g - y * (xp.sum(g * y, axis=axis, keepdims=True) / count)


def _max_abs(xp: Namespace, x: Array, axis: Axes, least: float, power: float = 2.0) -> Any:
    """Return the largest magnitude of x or `least`, if that is finite; 1 in place of 0 and inf.

    It is a scale for the power of x, and 1 where none is needed.
    """
    if is_uncompensated(xp) and power <= 2:
        return 1.0
    largest = xp.max(xp.abs(x), axis=axis, keepdims=True)
    least = least if least < inf else 0.0
    largest = xp.maximum(largest, least)
    if least < 2.0**-126:  # which may be 0 in float32
        largest = one_where_zero(xp, largest)
    return xp.where(largest == inf, 1.0, largest)
