"""Functions that turn a slice along an axis into weights that sum to 1."""

from __future__ import annotations

from math import expm1, inf, log, prod
from typing import Any

from .._define import Peer, activation, case
from .._parameters import Axes, Count, Mask, Number
from .._typing import Array, Namespace
from ..numerics.arrays import arange, mask_to_zero

__all__ = ["entmax", "entmax15", "log_softmax", "softmax", "softmin", "sparsemax"]


@activation(
    formula="exp(x) / sum(exp(x))",
    source="Bridle, Probabilistic interpretation of feedforward classification network outputs, "
    "1990.",
    # 4, but for weights below exp(-60) of the largest (float64: exp(-680)) where that is of an x
    # over 60 (680), whose exponents are rounded
    ulp=20.0,
    aliases={"softmax2d": {"axis": -3}},
    peers={
        "torch": Peer("torch.nn.functional.softmax", dim=None),
        "jax": "jax.nn.softmax",
        "keras": "keras.activations.softmax",
        "scipy": Peer("scipy.special.softmax", axis=None),
        "tensorflow": "tf.nn.softmax",
        "mlx": "mlx.nn.softmax",
    },
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def softmax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Softmax, exp(x)/sum(exp(x)) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Notes
    -----
    Infinite elements share the 1, equally, and leave 0 to the others.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.softmax(np.zeros((2, 2)), where=np.array([[True, True], [False, False]]))
    array([[0.5, 0.5],
           [0. , 0. ]])
    """
    if 0 in x.shape:
        return x
    x, top = _with_largest(xp, x, axis, where)
    # The exponentials may be off by any one factor if those of the largest elements neither
    # overflow nor are less than 1: that of the whole number nearest to 0 rounds hardly an exponent.
    room = 60.0 if x.dtype == xp.float32 else 680.0
    level = finite(xp, x, xp.floor(top - xp.minimum(xp.maximum(top, 0.0), room)))
    e = xp.exp(xp.minimum(x - level, room + 1))
    return e / _sum_or_one(xp, e, axis)


@softmax.defvjp
def _(xp, g, x, axis, where):
    return {"x": _pulled(xp, softmax.impl(xp, x, axis, where), g, axis, where)}


@activation(
    formula="x - log(sum(exp(x)))",
    source="Bridle, Probabilistic interpretation of feedforward classification network outputs, "
    "1990.",
    ulp=8.0,  # near 0, which 1 less what the others have comes to; elsewhere 2
    peers={
        "torch": Peer("torch.nn.functional.log_softmax", dim=None),
        "jax": "jax.nn.log_softmax",
        "keras": "keras.activations.log_softmax",
        "scipy": Peer("scipy.special.log_softmax", axis=None),
        "tensorflow": "tf.nn.log_softmax",
        "mlx": "mlx.nn.log_softmax",
    },
    output_axis="kept",
    range=(-inf, 0.0),
)
def log_softmax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Logarithm of the softmax, x - log(sum(exp(x))) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get -inf and no gradient, whatever they hold; so does a slice
        of which nothing takes part.

    Notes
    -----
    Beside an infinite element what is less is -inf; k infinite elements are -log(k) each. An
    element that is near 0 is right in absolute terms only.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.log_softmax(np.zeros(2))
    array([-0.69314718, -0.69314718])
    """
    if 0 in x.shape:
        return x
    x, top = _with_largest(xp, x, axis, where)
    # beside infinity what is less becomes -inf
    far = xp.minimum(xp.maximum(top - finite(xp, x, top), 1.0), _largest(xp, x))
    shifted = _less(xp, x, top) * far
    return shifted - xp.log(_sum_or_one(xp, xp.exp(shifted), axis))


@log_softmax.defvjp
def _(xp, g, x, axis, where):
    if 0 in x.shape:
        return {"x": g}
    y = softmax.impl(xp, x, axis, where)
    g = mask_to_zero(xp, g, where)
    for _ in range(2):  # the second takes away the rounding of the first
        g = g - y * xp.sum(g, axis=axis, keepdims=True)
    nothing = xp.sum(y, axis=axis, keepdims=True) == 0
    return {"x": mask_to_zero(xp, xp.where(nothing, 0.0, g), where)}


@activation(
    formula="exp(-x) / sum(exp(-x))",
    source="The softmax of the negative; no publication claims it.",
    ulp=20.0,  # as softmax
    peers={"torch": Peer("torch.nn.functional.softmin", dim=None), "mlx": "mlx.nn.softmin"},
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def softmin(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Softmin, exp(-x)/sum(exp(-x)) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Notes
    -----
    Elements of -inf share the 1, equally, and leave 0 to the others.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.softmin(np.array([0.0, 0.0, 800.0]))
    array([0.5, 0.5, 0. ])
    """
    return softmax.impl(xp, -x, axis, where)


@softmin.defvjp
def _(xp, g, x, axis, where):
    return {"x": _pulled(xp, softmin.impl(xp, x, axis, where), -g, axis, where)}


@activation(
    formula="maximum(x - max((cumsum(sort(x)[::-1]) - 1) / (arange(len(x)) + 1)), 0)",
    source="Martins & Astudillo, From softmax to sparsemax, arXiv:1602.02068.",
    peers={
        "tensorflow-addons": "tfa.activations.sparsemax",
        "keras": "keras.activations.sparsemax",
        "entmax": "entmax.sparsemax",
    },
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def sparsemax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Sparsemax, max(x - t, 0) along an axis, with the t that makes the sum 1.

    The nearest point of the simplex: of small elements it makes exactly 0.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Notes
    -----
    Infinite elements share the 1, equally, and leave 0 to the others. Keras 3.15 has another
    threshold where more than one element is over it: its weights do not sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.sparsemax(np.array([0.5, 0.25, -3.0]))
    array([0.625, 0.375, 0.   ])
    """
    if 0 in x.shape:
        return x
    below = -shifted(xp, x, axis, where)
    ordered, k = _ordered(xp, below, axis)
    out = _from(xp, below, (1 + xp.cumulative_sum(ordered, axis=-1)) / k, axis)
    kept = xp.where(out, 0.0, below)
    depth = (1 + xp.sum(kept, axis=axis, keepdims=True)) / _number_within(xp, out, x, axis)
    return xp.maximum(depth - below, 0.0)


@sparsemax.defvjp
def _(xp, g, x, axis, where):
    y = sparsemax.impl(xp, x, axis, where)
    return {"x": _pulled(xp, xp.where(y > 0, 1.0, y), g, axis, where)}


@activation(
    formula="simplex(lambda z: maximum(z / 2, 0) ** 2, x)",
    source="Peters, Niculae & Martins, Sparse sequence-to-sequence models, arXiv:1905.05702.",
    peers={"entmax": "entmax.entmax15"},
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def entmax15(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Entmax of alpha 1.5, max(x/2 - t, 0)**2 along an axis, with the t that makes the sum 1.

    Half-way from the softmax to the sparsemax: of small elements it makes exactly 0.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Notes
    -----
    Infinite elements share the 1, equally, and leave 0 to the others.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.entmax15(np.array([0.5, 0.5, -3.0]))
    array([0.5, 0.5, 0. ])
    """
    root = _root(xp, x, axis, where)
    return root * root


@entmax15.defvjp
def _(xp, g, x, axis, where):
    return {"x": _pulled(xp, _root(xp, x, axis, where), g, axis, where)}


def _root(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    """The square root of the weights, which is also how fast they move."""
    if 0 in x.shape:
        return x
    below = shifted(xp, x, axis, where) * -0.5
    ordered, k = _ordered(xp, below, axis)
    mean = xp.cumulative_sum(ordered, axis=-1) / k
    spread = xp.cumulative_sum(ordered * ordered, axis=-1) - k * mean * mean
    depth = mean + xp.sqrt(xp.maximum((1 - spread) / k, 0.0))
    out = _from(xp, below, xp.where(ordered < depth, depth, 1.0), axis)
    size = _number_within(xp, out, x, axis)
    mean = xp.sum(xp.where(out, 0.0, below), axis=axis, keepdims=True) / size
    apart = xp.where(out, mean, below) - mean
    spread = xp.sum(apart * apart, axis=axis, keepdims=True)
    return xp.maximum(mean + xp.sqrt((1 - spread) / size) - below, 0.0)


@activation(
    formula="simplex(lambda z: maximum((alpha - 1) * z, 0) ** (1 / (alpha - 1)), x)",
    source="Peters, Niculae & Martins, Sparse sequence-to-sequence models, arXiv:1905.05702.",
    ulp=8.0,
    constraints=("alpha >= 1",),
    cases=(
        case(alpha=1.0, formula="exp(x) / sum(exp(x))", ulp=20.0),
        case(alpha=1.25),
        case(alpha=2.0),
        case(alpha=3.0),
    ),
    peers={"entmax": "entmax.entmax_bisect"},
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def entmax(
    xp: Namespace,
    x: Array,
    alpha: Number = 1.5,
    axis: Axes = -1,
    n_iter: Count = 50,
    where: Mask | None = None,
) -> Any:
    """Entmax, max((alpha - 1)*x - t, 0)**(1/(alpha - 1)) along an axis, with the sum 1.

    Parameters
    ----------
    alpha : number, optional
        1 is the softmax, 2 the sparsemax; the larger it is, the more weights are 0.
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    n_iter : int, optional
        How often to halve the interval that holds t. Two steps of Newton's method follow. With an
        alpha of 1, 1.5 or 2 there is nothing to find.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Notes
    -----
    Infinite elements share the 1, equally, and leave 0 to the others.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.entmax(np.array([0.5, 0.25, -3.0]), 2.0)
    array([0.625, 0.375, 0.   ])
    """
    exact = _EXACT.get(alpha)
    if exact is not None:
        return exact.impl(xp, x, axis, where)
    if 0 in x.shape:
        return x
    weight, _ = _found(xp, x, alpha, axis, n_iter, where)
    return weight / _sum_or_one(xp, weight, axis)


_EXACT: dict[float, Any] = {1: softmax, 1.5: entmax15, 2: sparsemax}


@entmax.defvjp
def _(
    xp,
    g,
    x,
    alpha,
    axis,
    n_iter,
    where,
):
    exact = _EXACT.get(alpha)
    if exact is not None:
        return exact.vjp.impl(xp, g, x, axis, where)
    if 0 in x.shape:
        return {"x": g}
    weight, base = _found(xp, x, alpha, axis, n_iter, where)
    return {"x": _pulled(xp, weight / (1 + base), g, axis, where)}


def _found(
    xp: Namespace, x: Array, alpha: float, axis: Axes, n_iter: int, where: Mask | None
) -> tuple[Any, Any]:
    """The weights, and what they are a power of less 1, which does not cancel near alpha 1."""
    below = shifted(xp, x, axis, where)
    rate = alpha - 1

    def weights(t: Any) -> tuple[Any, Any]:
        base = rate * (below - t)
        out = base <= -1
        base = xp.where(out, 0.0, base)
        return xp.where(out, 0.0, xp.exp(xp.log1p(base) / rate)), base

    t: Any = 0.0
    step = -expm1(-rate * log(_size(x, axis))) / rate
    for _ in range(n_iter):
        step /= 2
        total = xp.sum(weights(t + step)[0], axis=axis, keepdims=True)
        t = t + step * xp.astype(total >= 1, x.dtype)
    # what was compared has no derivative: each step makes those of one more order right
    for _ in range(2):
        weight, base = weights(t)
        total = xp.sum(weight, axis=axis, keepdims=True)
        t = t + (total - 1) / _sum_or_one(xp, weight / (1 + base), axis)
    return weights(t)


def _pulled(xp: Namespace, pace: Any, g: Any, axis: Axes, where: Mask | None) -> Any:
    """The gradient of x, where each weight moves with its x at its pace and they sum to 1."""
    share = pace / _sum_or_one(xp, pace, axis)
    g = mask_to_zero(xp, g, where)
    for _ in range(2):  # the second takes away the rounding of the first
        g = g - xp.sum(share * g, axis=axis, keepdims=True)
    return mask_to_zero(xp, pace * g, where)


def shifted(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    """X less its largest element along the axis; -inf where masked and where nothing takes part."""
    return _less(xp, *_with_largest(xp, x, axis, where))


def _with_largest(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> tuple[Any, Any]:
    """X, -inf where masked, and its largest element along the axis."""
    if where is not None:
        x = xp.where(where, x, -inf)
    return x, xp.max(x, axis=axis, keepdims=True)


def _less(xp: Namespace, x: Array, top: Array) -> Any:
    """X less its largest element: 0 for infinity, and for what is less than that a huge number."""
    return xp.minimum(x - finite(xp, x, top), 0.0)


def finite(xp: Namespace, x: Array, level: Array) -> Any:
    """The level, a finite number also where it is infinite."""
    largest = _largest(xp, x)
    return xp.maximum(xp.minimum(level, largest), -largest)


def _largest(xp: Namespace, x: Array) -> float:
    return (2 - 2.0**-23) * 2.0**127 if x.dtype == xp.float32 else (2 - 2.0**-52) * 2.0**1023


def _sum_or_one(xp: Namespace, e: Array, axis: Axes) -> Any:
    total = xp.sum(e, axis=axis, keepdims=True)
    return xp.where(total == 0, 1.0, total)


def _ordered(xp: Namespace, x: Array, axis: Any) -> tuple[Any, Any]:
    """Each slice in rising order along one new last axis, and 1, 2, 3, ... along it."""
    rest = tuple(i for i in range(x.ndim) if i not in axis)
    last = xp.permute_dims(x, (*rest, *axis))
    flat = xp.reshape(last, (*(x.shape[i] for i in rest), -1))
    return xp.sort(flat, axis=-1), arange(xp, x, flat.shape[-1]) + 1


def _from(xp: Namespace, below: Array, depths: Array, axis: Any) -> Any:
    """Whether an element is as far below the largest as the least of the depths, or of 1."""
    depth = xp.minimum(xp.min(depths, axis=-1), 1.0)
    shape = tuple(1 if i in axis else n for i, n in enumerate(below.shape))
    return below >= xp.reshape(depth, shape)


def _number_within(xp: Namespace, out: Any, x: Array, axis: Any) -> Any:
    return _sum_or_one(xp, xp.astype(~out, x.dtype), axis)


def _size(x: Array, axis: Any) -> int:
    return prod([x.shape[i] for i in axis])
