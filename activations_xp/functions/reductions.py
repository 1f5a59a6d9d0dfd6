"""Logarithms of sums and means of exponentials along an axis."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import Any

from .._define import Peer, activation, case
from .._errors import check_shape
from .._parameters import ArrayOrNumber, Axes, Axis, Mask
from .._typing import Array, Namespace
from ..numerics.arrays import (
    axes_size,
    count_true,
    is_array,
    mask_to_zero,
    one_where_zero,
    ones_like_nan,
    slice_axis,
    unbroadcast,
)

__all__ = ["logcumsumexp", "logmeanexp", "logsumexp"]


@activation(
    formula="log(sum(exp(x)))",
    source="Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax "
    "functions, IMA J. Numer. Anal. 41, 2021.",
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
    b : number or array, optional
        The factors of the exponentials; None means 1. The logarithm of a negative sum is NaN.
    return_sign : bool, optional
        Whether to return the logarithm of the magnitude of the sum together with its sign, which
        is 1, 0 or -1.
    where : boolean array, optional
        The elements to include. Excluded elements have no gradient, whatever they hold.

    Notes
    -----
    The sum of no elements, or of -inf alone, is -inf and has no gradient. A result near 0
    keeps the terms that are small beside the largest: that of 0 and -40 is 4.2e-18.

    >>> ax.logsumexp(np.array([[1000.0, 1000.0], [0.0, -np.inf]]), axis=1)
    array([1000.69314718,    0.        ])
    """
    if 0 in x.shape:
        zero = xp.sum(x, axis=axis, keepdims=keepdims)
        return (xp.log(zero), zero) if return_sign else xp.log(zero)
    x, b = _exclude(xp, x, b, where)
    row_max, is_infinite, offset, shifted = _shift(xp, x, axis)
    term = xp.exp(shifted) if b is None else b * xp.exp(shifted)
    # log(major) + log1p(minor/major) preserves what is small beside the largest terms
    is_major = (x == row_max) | is_infinite
    major = xp.sum(xp.where(is_major, term, 0.0), axis=axis, keepdims=True)
    minor = xp.sum(xp.where(is_major, 0.0, term), axis=axis, keepdims=True)
    sign = _sign(xp, xp.where(row_max == -inf, 0.0, major + minor))
    factor, ratio = _factor_sum(xp, major, minor)
    factor = xp.where(is_infinite, 1.0, xp.abs(factor))
    value = _infinite_like(xp, row_max, offset + xp.log(factor) + xp.log1p(ratio))
    if return_sign:
        return _drop_axes(xp, value, axis, keepdims), _drop_axes(xp, sign, axis, keepdims)
    return _drop_axes(xp, xp.where(sign < 0, nan, value), axis, keepdims)


@logsumexp.defvjp
def _(xp, g, x, axis, b, keepdims, return_sign, where):
    g = _restore_axes(xp, "logsumexp.vjp", g, x, axis, keepdims)
    return _logsumexp_vjp(xp, g, x, axis, b, where)


@activation(
    formula="log(average(exp(x)))",
    source="The logsumexp less the logarithm of the size; no publication claims it.",
    peers={"jax": "jax.nn.logmeanexp"},
    output_axis="resized",
)
def logmeanexp(
    xp: Namespace, x: Array, axis: Axes = None, where: Mask | None = None, keepdims: bool = False
) -> Any:
    """Logarithm of a mean of exponentials, log(mean(exp(x))).

    Parameters
    ----------
    where : boolean array, optional
        The elements to include. Excluded elements have no gradient, whatever they hold.

    Notes
    -----
    The mean of no elements, or of -inf alone, is -inf and has no gradient.

    >>> ax.logmeanexp(np.array([[1000.0, 1000.0], [1.0, -np.inf]]), axis=1)
    array([1.00000000e+03, 3.06852819e-01])
    """
    if 0 in x.shape:
        return xp.log(xp.sum(x, axis=axis, keepdims=keepdims))
    count: Any = axes_size(x, axis)
    if where is not None:
        x = xp.where(where, x, -inf)
        where = xp.broadcast_to(where, x.shape)
        count = count_true(xp, where, x, axis)
    row_max, _, offset, shifted = _shift(xp, x, axis)
    # the mean less 1 is right where it is small, as for equal elements
    mean_minus_1 = mask_to_zero(xp, xp.expm1(shifted), where)
    mean_minus_1 = xp.sum(mean_minus_1, axis=axis, keepdims=True) / count
    mean = xp.sum(xp.exp(shifted), axis=axis, keepdims=True) / count
    is_near_1 = mean_minus_1 > -0.25
    log1p = xp.log1p(xp.where(is_near_1, mean_minus_1, 0.0))
    log_mean = xp.where(is_near_1, log1p, xp.log(xp.where(is_near_1, 1.0, mean)))
    return _drop_axes(xp, _infinite_like(xp, row_max, offset + log_mean), axis, keepdims)


@logmeanexp.defvjp
def _(xp, g, x, axis, where, keepdims):
    g = _restore_axes(xp, "logmeanexp.vjp", g, x, axis, keepdims)
    return _logsumexp_vjp(xp, g, x, axis, None, where)


@activation(
    formula="log(cumsum(exp(x)))",
    source="Hillis & Steele, Data parallel algorithms, Commun. ACM 29, 1986.",
    ulp=128.0,  # near 0, where two logarithms cancel; 2 ulp of the larger one
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
    """Logarithms of the cumulative sums of exponentials, log(cumsum(exp(x))) along an axis.

    Parameters
    ----------
    reverse : bool, optional
        Whether to sum from the end to the beginning.

    Notes
    -----
    The sum of -inf alone is -inf and has no gradient.

    >>> ax.logcumsumexp(np.array([-np.inf, 0.0, 0.0]))
    array([      -inf, 0.        , 0.69314718])
    """
    for step in _doubling_steps(x.shape[axis]):
        earlier, later = _pairs(x, axis, step)
        x = _replace_pairs(xp, x, _logaddexp(xp, later, earlier), axis, reverse)
    return x


@logcumsumexp.defvjp
def _(xp, g, x, axis, reverse):
    # each cumulative sum as its largest term and the quotient of sum and term
    cum_max, quotient, n = x, ones_like_nan(xp, x), x.shape[axis]
    for step in _doubling_steps(n):
        (a, b), (c, d) = _pairs(cum_max, axis, step), _pairs(quotient, axis, step)
        larger = xp.maximum(a, b)
        both = c * _exp_difference(xp, a, larger) + d * _exp_difference(xp, b, larger)
        cum_max = _replace_pairs(xp, cum_max, larger, axis, reverse)
        quotient = _replace_pairs(xp, quotient, both, axis, reverse)
    # each element is a term of the sums from its own on
    g = g / quotient
    for step in _doubling_steps(n):
        (a, b), (c, d) = _pairs(cum_max, axis, step), _pairs(g, axis, step)
        both = d + c * _exp_difference(xp, b, a) if reverse else c + d * _exp_difference(xp, a, b)
        g = _replace_pairs(xp, g, both, axis, not reverse)
    return {"x": g * xp.where(x == -inf, 0.0, _exp_difference(xp, x, cum_max))}


def _doubling_steps(n: int) -> Iterator[int]:
    """Yield the steps 1, 2, 4, ... of a parallel scan of n elements."""
    step = 1
    while step < n:
        yield step
        step *= 2


def _pairs(x: Any, axis: int, step: int) -> tuple[Any, Any]:
    """Return the elements that have one a step later, and those later ones."""
    return slice_axis(x, axis, slice(None, -step)), slice_axis(x, axis, slice(step, None))


def _replace_pairs(xp: Namespace, x: Any, new: Any, axis: int, reverse: bool) -> Any:
    """Return x with `new` in place of its later elements, or of its earlier ones in reverse."""
    step = x.shape[axis] - new.shape[axis]
    if reverse:
        return xp.concat([new, slice_axis(x, axis, slice(-step, None))], axis=axis)
    return xp.concat([slice_axis(x, axis, slice(None, step)), new], axis=axis)


def _exp_difference(xp: Namespace, x: Array, y: Array) -> Any:
    """Return exp(x - y), and 1 where x and y are the same infinity."""
    return xp.exp(xp.where((xp.abs(y) == inf) & (x == y), 0.0, x - y))


def _logaddexp(xp: Namespace, x: Array, y: Array) -> Any:
    larger = xp.maximum(x, y)
    difference = xp.where(xp.abs(larger) == inf, 0.0, x - y)
    return xp.where(larger == -inf, -inf, larger + xp.log1p(xp.exp(-xp.abs(difference))))


def _logsumexp_vjp(
    xp: Namespace, g: Any, x: Any, axis: Axes, b: Any, where: Mask | None
) -> dict[str, Any]:
    """Return the gradients of x and of an array b from `g`, which has all axes."""
    if 0 in x.shape:
        dx = db = x * g
    else:
        x, b = _exclude(xp, x, b, where)
        row_max = xp.max(x, axis=axis, keepdims=True)
        e = xp.exp(xp.where(x == inf, 0.0, x - xp.where(row_max == -inf, 0.0, row_max)))
        term = e if b is None else b * e
        row_sum = xp.sum(term, axis=axis, keepdims=True)
        divisor = one_where_zero(xp, row_sum)
        dx = mask_to_zero(xp, xp.where(row_sum == 0, 0.0, term) / divisor * g, where)
        db = xp.where(row_sum == 0, 0.0, e) / divisor * g if is_array(b) else None
    return {"x": dx, "b": unbroadcast(xp, db, b.shape)} if is_array(b) else {"x": dx}


def _restore_axes(xp: Namespace, name: str, g: Any, x: Array, axis: Any, keepdims: bool) -> Any:
    """Return the cotangent of a reduction with the reduced axes, which have size 1."""
    shape = tuple(1 if i in axis else n for i, n in enumerate(x.shape))
    reduced = tuple(n for i, n in enumerate(x.shape) if i not in axis)
    check_shape(name, "g", g, shape if keepdims else reduced)
    return xp.reshape(g, shape)


def _drop_axes(xp: Namespace, value: Array, axis: Any, keepdims: bool) -> Any:
    """Return a reduction without the reduced axes, unless they are to be kept."""
    if keepdims:
        return value
    return xp.reshape(value, tuple(n for i, n in enumerate(value.shape) if i not in axis))


def _exclude(xp: Namespace, x: Any, b: Any, where: Mask | None) -> tuple[Any, Any]:
    """Return x and its factors, where excluded elements are -inf and have the factor 0."""
    if where is not None:
        x = xp.where(where, x, -inf)
    if is_array(b):
        b = mask_to_zero(xp, b, where)
        x = xp.where(b == 0, -inf, x)
    return x, b


def _shift(xp: Namespace, x: Array, axis: Axes) -> tuple[Any, Any, Any, Any]:
    """Return the maximum, whether it is infinite, the offset of x (0 if so), and x less that."""
    row_max = xp.max(x, axis=axis, keepdims=True)
    is_infinite = xp.abs(row_max) == inf
    offset = xp.where(is_infinite, 0.0, row_max)
    return row_max, is_infinite, offset, xp.where(is_infinite, 0.0, x - offset)


def _factor_sum(xp: Namespace, major: Any, minor: Any) -> tuple[Any, Any]:
    """Return a factor and a ratio such that |major + minor| = |factor| * (1 + ratio)."""
    ratio = xp.where(major == 0, 0.0, minor) / one_where_zero(xp, major)
    return xp.where(major == 0, minor, major), xp.where(ratio < -1, -2 - ratio, ratio)


def _infinite_like(xp: Namespace, row_max: Any, value: Array) -> Any:
    """Return `value`, and infinity where the maximum is; that of -inf has no gradient."""
    return xp.where(row_max == -inf, -inf, xp.where(row_max == inf, row_max, value))


def _sign(xp: Namespace, x: Array) -> Any:
    """Return the sign of x, and NaN for NaN, of which torch.sign is 0."""
    return xp.where(x > 0, 1.0, xp.where(x < 0, -1.0, x))
