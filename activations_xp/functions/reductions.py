"""Sums and means of exponentials along an axis, as logarithms."""

from __future__ import annotations

from math import inf, nan, prod
from typing import Any

from .._define import Peer, activation, case
from .._errors import check_shape
from .._parameters import ArrayOrNumber, Axes, Axis, Mask
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import mask_to_zero, ones_like_nan, slice_axis

__all__ = ["logcumsumexp", "logmeanexp", "logsumexp"]


@activation(
    formula="log(sum(exp(x)))",
    source="Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax "
    "functions, IMA J. Numer. Anal. 41, 2021.",
    ulp=2.0,
    cases=(case(b=0.5, formula="log(sum(b * exp(x)))"),),
    peers={
        "torch": Peer("torch.logsumexp", note="dim"),
        "jax": "jax.nn.logsumexp",
        "keras": "keras.ops.logsumexp",
        "scipy": "scipy.special.logsumexp",
        "tensorflow": "tf.math.reduce_logsumexp",
        "mlx": "mlx.core.logsumexp",
    },
    output_axis="resized",
)
def logsumexp(
    xp: Namespace,
    x: Array,
    axis: Axes = None,
    b: ArrayOrNumber | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Mask | None = None,
) -> Any:
    """Logarithm of a sum of exponentials, log(sum(b*exp(x))).

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    b : number or array, optional
        The factors of the exponentials; None is 1. A negative sum has the logarithm NaN.
    keepdims : bool, optional
        Whether the axes stay, with size 1.
    return_sign : bool, optional
        Whether to return the logarithm of the magnitude of the sum, and its sign: 1, 0 or -1.
    where : boolean array, optional
        True takes part. The others have no gradient, whatever they hold.

    Notes
    -----
    The sum of nothing, or of -inf alone, is -inf and has no gradient. The sum that is little more
    than its largest term keeps the little: of 0 and -40 it is 4.2e-18.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.logsumexp(np.array([[1000.0, 1000.0], [0.0, -np.inf]]), axis=1)
    array([1000.69314718,    0.        ])
    """
    if 0 in x.shape:
        total = xp.sum(x, axis=axis, keepdims=keepdims)
        return (xp.log(total), total) if return_sign else xp.log(total)
    x, b = _taking_part(xp, x, b, where)
    top, bad, level, apart = _parts(xp, x, axis)
    term = xp.exp(apart) if b is None else b * xp.exp(apart)
    # log(major) + log1p(minor/major) keeps what is small beside the largest terms
    is_top = (x == top) | bad
    major = xp.sum(xp.where(is_top, term, 0.0), axis=axis, keepdims=True)
    minor = xp.sum(xp.where(is_top, 0.0, term), axis=axis, keepdims=True)
    sign = _sign(xp, xp.where(top == -inf, 0.0, major + minor))
    ratio = xp.where(major == 0, 0.0, minor) / xp.where(major == 0, 1.0, major)
    ratio = xp.where(ratio < -1, -2 - ratio, ratio)
    major = xp.where(bad, 1.0, xp.where(major == 0, minor, major))
    value = _unless(xp, top, level + xp.log(xp.abs(major)) + xp.log1p(ratio))
    if return_sign:
        return _without(xp, value, axis, keepdims), _without(xp, sign, axis, keepdims)
    return _without(xp, xp.where(sign < 0, nan, value), axis, keepdims)


@logsumexp.defvjp
def _(
    xp,
    g,
    x,
    axis,
    b,
    keepdims,
    return_sign,
    where,
):
    g = _kept(xp, "logsumexp.vjp", g, x, axis, keepdims)
    return {"x": _pulled(xp, x, g, axis, b, where)}


@activation(
    formula="log(average(exp(x)))",
    source="The logsumexp less the logarithm of the size; no publication claims it.",
    ulp=2.0,
    peers={"jax": "jax.nn.logmeanexp"},
    output_axis="resized",
)
def logmeanexp(
    xp: Namespace, x: Array, axis: Axes = None, where: Mask | None = None, keepdims: bool = False
) -> Any:
    """Logarithm of a mean of exponentials, log(mean(exp(x))).

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to average over; None is all of them.
    where : boolean array, optional
        True takes part. The others have no gradient, whatever they hold.
    keepdims : bool, optional
        Whether the axes stay, with size 1.

    Notes
    -----
    The mean of nothing, or of -inf alone, is -inf and has no gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.logmeanexp(np.array([[1000.0, 1000.0], [1.0, -np.inf]]), axis=1)
    array([1.00000000e+03, 3.06852819e-01])
    """
    if 0 in x.shape:
        return xp.log(xp.sum(x, axis=axis, keepdims=keepdims))
    count: Any = prod([x.shape[i] for i in _tuple(axis)])
    if where is not None:
        x = xp.where(where, x, -inf)
        where = xp.broadcast_to(where, x.shape)
        count = xp.sum(xp.astype(where, x.dtype), axis=axis, keepdims=True)
        count = xp.where(count == 0, 1.0, count)
    top, _, level, apart = _parts(xp, x, axis)
    rest = xp.expm1(apart) if where is None else xp.where(where, xp.expm1(apart), 0.0)
    # the mean less 1 where that is small: equal elements leave nothing of it
    less = xp.sum(rest, axis=axis, keepdims=True) / count
    mean = xp.sum(xp.exp(apart), axis=axis, keepdims=True) / count
    near = less > -0.25
    logarithm = xp.where(
        near, xp.log1p(xp.where(near, less, 0.0)), xp.log(xp.where(near, 1.0, mean))
    )
    return _without(xp, _unless(xp, top, level + logarithm), axis, keepdims)


@logmeanexp.defvjp
def _(
    xp,
    g,
    x,
    axis,
    where,
    keepdims,
):
    g = _kept(xp, "logmeanexp.vjp", g, x, axis, keepdims)
    return {"x": _pulled(xp, x, g, axis, None, where)}


@activation(
    formula="log(cumsum(exp(x)))",
    source="Hillis & Steele, Data parallel algorithms, Commun. ACM 29, 1986.",
    ulp=128.0,  # beside a zero, which two logarithms come to; 2 of the larger of them
    cases=(case(reverse=True, formula="log(cumsum(exp(x)[::-1])[::-1])"),),
    peers={
        "torch": Peer("torch.logcumsumexp", note="dim"),
        "jax": Peer("jax.lax.cumlogsumexp", axis=0),
        "tensorflow": Peer("tf.math.cumulative_logsumexp", axis=0),
        "mlx": Peer("mlx.core.logcumsumexp", axis=None),
    },
    output_axis="kept",
)
def logcumsumexp(xp: Namespace, x: Any, axis: Axis = -1, reverse: bool = False) -> Any:
    """Logarithms of the running sums of exponentials, log(cumsum(exp(x))) along an axis.

    Parameters
    ----------
    axis : int, optional
        The axis to run along.
    reverse : bool, optional
        Whether to run from the end to the beginning.

    Notes
    -----
    The sum of -inf alone is -inf and has no gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.logcumsumexp(np.array([-np.inf, 0.0, 0.0]))
    array([      -inf, 0.        , 0.69314718])
    """
    n, step = x.shape[axis], 1
    while step < n:
        low, high = _pair(x, axis, step)
        x = _beside(xp, x, _logaddexp(xp, high, low), axis, reverse)
        step *= 2
    return x


@logcumsumexp.defvjp
def _(xp, g, x, axis, reverse):
    # of each running sum its largest term and what it is over that
    top, total, n, step = x, ones_like_nan(xp, x), x.shape[axis], 1
    while step < n:
        (a, b), (c, d) = _pair(top, axis, step), _pair(total, axis, step)
        larger = xp.maximum(a, b)
        both = c * _over(xp, a, larger) + d * _over(xp, b, larger)
        top = _beside(xp, top, larger, axis, reverse)
        total = _beside(xp, total, both, axis, reverse)
        step *= 2
    # each element has its share of the sums from its own on
    g, step = g / total, 1
    while step < n:
        (a, b), (c, d) = _pair(top, axis, step), _pair(g, axis, step)
        both = d + c * _over(xp, b, a) if reverse else c + d * _over(xp, a, b)
        g = _beside(xp, g, both, axis, not reverse)
        step *= 2
    return {"x": g * xp.where(x == -inf, 0.0, _over(xp, x, top))}


def _pair(x: Any, axis: int, step: int) -> tuple[Any, Any]:
    """What has an element a step after it, and what has one a step before it."""
    return slice_axis(x, axis, slice(None, -step)), slice_axis(x, axis, slice(step, None))


def _beside(xp: Namespace, x: Any, new: Any, axis: int, reverse: bool) -> Any:
    """What is new, after the elements of x that have nothing before them; or all backwards."""
    step = x.shape[axis] - new.shape[axis]
    if reverse:
        return xp.concat([new, slice_axis(x, axis, slice(-step, None))], axis=axis)
    return xp.concat([slice_axis(x, axis, slice(None, step)), new], axis=axis)


def _over(xp: Namespace, x: Array, top: Array) -> Any:
    """exp(x)/exp(top) for x <= top; 1 where both are infinite."""
    return xp.exp(xp.where((xp.abs(top) == inf) & (x == top), 0.0, x - top))


def _pulled(xp: Namespace, x: Any, g: Any, axis: Axes, b: Any, where: Mask | None) -> Any:
    """The gradient g, which kept the axes, shared out as the terms of the sum are."""
    if 0 in x.shape:
        return x * g
    x, b = _taking_part(xp, x, b, where)
    top = xp.max(x, axis=axis, keepdims=True)
    term = xp.exp(xp.where(x == inf, 0.0, x - xp.where(top == -inf, 0.0, top)))
    term = term if b is None else b * term
    total = xp.sum(term, axis=axis, keepdims=True)
    share = xp.where(total == 0, 0.0, term) / xp.where(total == 0, 1.0, total)
    return share * g if where is None else xp.where(where, share * g, 0.0)


def _kept(xp: Namespace, name: str, g: Any, x: Array, axis: Any, keepdims: bool) -> Any:
    """The gradient g of the result with the axes that went, now of size 1."""
    kept = tuple(1 if i in axis else n for i, n in enumerate(x.shape))
    without = tuple(n for i, n in enumerate(x.shape) if i not in axis)
    check_shape(name, "g", g, kept if keepdims else without)
    return xp.reshape(g, kept)


def _taking_part(xp: Namespace, x: Any, b: Any, where: Mask | None) -> tuple[Any, Any]:
    """X and the factors b, where what has none or is masked is -inf and has the factor 0."""
    if where is not None:
        x = xp.where(where, x, -inf)
    if b is not None and not isinstance(b, NUMBER):
        b = mask_to_zero(xp, b, where)
        x = xp.where(b == 0, -inf, x)
    return x, b


def _parts(xp: Namespace, x: Array, axis: Axes) -> tuple[Any, Any, Any, Any]:
    """The largest, whether it is infinite, what to take from x (0 if so), and x less that."""
    top = xp.max(x, axis=axis, keepdims=True)
    bad = xp.abs(top) == inf
    level = xp.where(bad, 0.0, top)
    return top, bad, level, xp.where(bad, 0.0, x - level)


def _unless(xp: Namespace, top: Any, value: Array) -> Any:
    """The value, but infinity where that is the largest, and -inf without a gradient."""
    return xp.where(top == -inf, -inf, xp.where(top == inf, top, value))


def _sign(xp: Namespace, x: Array) -> Any:
    """Torch has one that makes 0 of NaN."""
    return xp.where(x > 0, 1.0, xp.where(x < 0, -1.0, x))


def _without(xp: Namespace, value: Array, axis: Axes, keepdims: bool) -> Any:
    if keepdims:
        return value
    return xp.reshape(value, tuple(n for i, n in enumerate(value.shape) if i not in _tuple(axis)))


def _tuple(axis: Any) -> tuple[int, ...]:
    """What is left of the kinds of axis after the check."""
    return axis  # type: ignore[no-any-return]


def _logaddexp(xp: Namespace, x: Array, y: Array) -> Any:
    top = xp.maximum(x, y)
    apart = xp.where(xp.abs(top) == inf, 0.0, x - y)
    return xp.where(top == -inf, -inf, top + xp.log1p(xp.exp(-xp.abs(apart))))
