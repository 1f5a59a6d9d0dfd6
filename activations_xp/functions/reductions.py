"""Reductions: logarithms of sums and means of exponentials along an axis."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, log, nan
from typing import Any

from .._define import Peer, activation, case
from .._errors import check_shape
from .._parameters import ArrayOrNumber, Axes, Axis, Mask
from .._typing import NUMBER, Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import (
    LARGEST_SIZE,
    arange,
    axes_size,
    clip_to_finite,
    count_true,
    is_array,
    is_known,
    mask_to_zero,
    one_where_zero,
    ones_like_nan,
    slice_axis,
    unbroadcast,
    zeros_like,
)
from ..numerics.cmath import make_complex

__all__ = ["logcumsumexp", "logmeanexp", "logsumexp"]


@activation(
    formula="log(sum(exp(x)))",
    source="Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax "
    "functions, IMA J. Numer. Anal. 41, 2021.",
    cases=(case(b=0.5, formula="log(sum(b * exp(x)))"),),
    layer="LogSumExp",
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
        is 1, 0 or -1, or a complex number of modulus 1.
    where : boolean array, optional
        The elements to include. Excluded elements have no gradient, whatever they hold.

    Notes
    -----
    The sum of no elements, or of -inf alone, is -inf and has no gradient; nor has a sum of 0. A
    result near 0 keeps the terms that are small beside the largest: that of 0 and -40 is 4.2e-18.
    An element with the factor 0 adds nothing to the sum, be it infinite or NaN. Infinite terms of
    both signs have no sum, and the result is NaN.

    >>> ax.logsumexp(np.array([[1000.0, 1000.0], [0.0, -np.inf]]), axis=1)
    array([1000.69314718,    0.        ])
    """
    if 0 in x.shape:
        zero = xp.sum(x, axis=axis, keepdims=keepdims)
        return (xp.log(zero), zero) if return_sign else xp.log(zero)
    common = b if _is_common(b) else 1.0
    x, b, row_max = _exponents(xp, x, b, where, axis)
    offset = clip_to_finite(xp, row_max)  # less which an infinite exponent is still infinite
    term, _ = _terms(xp, x - offset, b)
    # the sum of the largest terms apart preserves what is small beside it
    is_major = x == row_max
    major = xp.sum(xp.where(is_major, term, 0.0), axis=axis, keepdims=True)
    minor = xp.sum(xp.where(is_major, 0.0, term), axis=axis, keepdims=True)
    major, minor = common * major, common * minor
    sign = _sign(xp, major + minor)
    value = _infinite_like(xp, row_max, offset + _log_sum(xp, major, minor))
    if return_sign:
        return _drop_axes(xp, value, axis, keepdims), _drop_axes(xp, sign, axis, keepdims)
    return _drop_axes(xp, xp.where(sign < 0, nan, value), axis, keepdims)


@logsumexp.defvjp
def _(xp, g, x, axis, b, keepdims, return_sign, where):
    g = _restore_axes(xp, "logsumexp.vjp", g, x, axis, keepdims)
    return _logsumexp_vjp(xp, g, x, axis, b, where)


@logsumexp.defcomplex
def _(xp, x, axis, b, keepdims, return_sign, where):
    return _complex_logsumexp(xp, x, axis, b, keepdims, return_sign, where)


def _complex_logsumexp(
    xp: Namespace, x: Any, axis: Axes, b: Any, keepdims: bool, return_sign: bool, where: Mask | None
) -> Any:
    if 0 in x.shape:
        zero = xp.sum(x, axis=axis, keepdims=keepdims)
        return (xp.log(xp.real(zero)), zero) if return_sign else xp.log(zero)
    common = b if _is_common(b) else None
    real, imag, b, row_max = _complex_exponents(xp, x, b, where, axis)
    offset = clip_to_finite(xp, row_max)
    term = _complex_product(xp, b, xp.exp(make_complex(xp, real - offset, imag)))
    major = xp.sum(xp.where(real == row_max, term, 0.0), axis=axis, keepdims=True)
    minor = xp.sum(xp.where(real == row_max, 0.0, term), axis=axis, keepdims=True)
    if common is not None:
        major, minor = (cmath.scale(xp, common, part) for part in (major, minor))
    modulus = offset + _complex_log_sum(xp, major, minor)
    total = major + minor
    if return_sign:
        _, sign = cmath.polar(xp, total)
        return _drop_axes(xp, modulus, axis, keepdims), _drop_axes(xp, sign, axis, keepdims)
    value = make_complex(xp, modulus, xp.imag(xp.log(total)))
    return _drop_axes(xp, value, axis, keepdims)


@logsumexp.defcomplex("vjp")
def _(xp, g, x, axis, b, keepdims, return_sign, where):
    g = _restore_axes(xp, "logsumexp.vjp", g, x, axis, keepdims)
    return _complex_logsumexp_vjp(xp, g, x, axis, b, where)


def _complex_logsumexp_vjp(
    xp: Namespace, g: Any, x: Any, axis: Axes, b: Any, where: Mask | None
) -> dict[str, Any]:
    if 0 in x.shape:
        dx = db = x * g
    else:
        real, imag, factor, row_max = _complex_exponents(xp, x, b, where, axis)
        e = xp.exp(make_complex(xp, _minus_max(xp, real, row_max), imag))
        term = _complex_product(xp, factor, e)
        row_sum = xp.sum(term, axis=axis, keepdims=True)
        g = xp.where(row_sum == 0, 0.0, g / one_where_zero(xp, row_sum))
        dx, db = (mask_to_zero(xp, part * g, where) for part in (term, e))
    return {"x": dx, "b": unbroadcast(xp, db, b.shape)} if is_array(b) else {"x": dx}


@activation(
    formula="log(average(exp(x)))",
    source="The logsumexp less the logarithm of the size; no publication claims it.",
    layer="LogMeanExp",
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
    count: Any = axes_size(xp, x, axis)
    if where is not None:
        x = xp.where(where, x, -inf)
        where = xp.broadcast_to(where, x.shape)
        count = count_true(xp, where, x, axis)
    row_max = xp.max(x, axis=axis, keepdims=True)
    offset = clip_to_finite(xp, row_max)
    shifted = x - offset
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


@logmeanexp.defcomplex
def _(xp, x, axis, where, keepdims):
    if 0 in x.shape:
        return xp.log(xp.sum(x, axis=axis, keepdims=keepdims))
    count: Any = axes_size(xp, x, axis)
    if where is not None:
        real = xp.real(x)
        count = count_true(xp, xp.broadcast_to(where, x.shape), real, axis)
    elif not is_known(xp, count):
        count = xp.sum(xp.ones_like(xp.real(x)), axis=axis, keepdims=True)
    y = _complex_logsumexp(xp, x, axis, None, True, False, where)
    log_count = log(count) if isinstance(count, int) else xp.log(count)
    y = make_complex(xp, xp.real(y) - log_count, xp.imag(y))
    return _drop_axes(xp, y, axis, keepdims)


@logmeanexp.defcomplex("vjp")
def _(xp, g, x, axis, where, keepdims):
    g = _restore_axes(xp, "logmeanexp.vjp", g, x, axis, keepdims)
    return _complex_logsumexp_vjp(xp, g, x, axis, None, where)


@activation(
    formula="log(cumsum(exp(x)))",
    source="Hillis & Steele, Data parallel algorithms, Commun. ACM 29, 1986.",
    ulp=128.0,  # near 0, where two logarithms cancel; 2 ulp of the larger one
    cases=(case(reverse=True, formula="log(cumsum(exp(x)[::-1])[::-1])"),),
    layer="LogCumSumExp",
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
    for step in _doubling_steps(xp, x.shape[axis]):
        earlier, later = _pairs(xp, x, axis, step, reverse)
        x = _replace_pairs(xp, x, _logaddexp(xp, later, earlier), axis, step, reverse)
    return x


@logcumsumexp.defvjp
def _(xp, g, x, axis, reverse):
    # each cumulative sum as its largest term and the quotient of sum and term
    cum_max, quotient, n = x, ones_like_nan(xp, x), x.shape[axis]
    for step in _doubling_steps(xp, n):
        (a, b), (c, d) = (_pairs(xp, part, axis, step, reverse) for part in (cum_max, quotient))
        larger = xp.maximum(a, b)
        both = c * _exp_difference(xp, a, larger) + d * _exp_difference(xp, b, larger)
        cum_max = _replace_pairs(xp, cum_max, larger, axis, step, reverse)
        quotient = _replace_pairs(xp, quotient, both, axis, step, reverse)
    # each element is a term of the sums from its own on
    g = g / quotient
    for step in _doubling_steps(xp, n):
        (a, b), (c, d) = (_pairs(xp, part, axis, step, not reverse) for part in (cum_max, g))
        both = d + c * _exp_difference(xp, b, a) if reverse else c + d * _exp_difference(xp, a, b)
        g = _replace_pairs(xp, g, both, axis, step, not reverse)
    return {"x": g * xp.where(x == -inf, 0.0, _exp_difference(xp, x, cum_max))}


@logcumsumexp.defcomplex
def _(xp, x, axis, reverse):
    return cmath.wrap_angle(xp, _complex_logcumsumexp(xp, x, axis, reverse))


def _complex_logcumsumexp(xp: Namespace, x: Any, axis: Axis, reverse: bool) -> Any:
    for step in _doubling_steps(xp, x.shape[axis]):
        earlier, later = _pairs(xp, x, axis, step, reverse)
        x = _replace_pairs(xp, x, cmath.log_add_exp(xp, later, earlier), axis, step, reverse)
    return x


@logcumsumexp.defcomplex("vjp")
def _(xp, g, x, axis, reverse):
    # the sums of g*exp(-y), each as a factor and an exponent
    y = _complex_logcumsumexp(xp, x, axis, reverse)
    is_empty = xp.real(y) == -inf
    exponent = xp.where(is_empty, -inf, -xp.real(y))
    factor = xp.where(is_empty, 0.0, g) * _unit(xp, -xp.imag(y))
    for step in _doubling_steps(xp, x.shape[axis]):
        (a, b), (c, d) = (_pairs(xp, part, axis, step, not reverse) for part in (exponent, factor))
        larger = xp.maximum(a, b)
        both = c * _exp_difference(xp, a, larger) + d * _exp_difference(xp, b, larger)
        exponent = _replace_pairs(xp, exponent, larger, axis, step, not reverse)
        factor = _replace_pairs(xp, factor, both, axis, step, not reverse)
    weight = xp.exp(xp.where(xp.real(x) == -inf, -inf, xp.real(x) + exponent))
    return {"x": weight * factor * _unit(xp, xp.imag(x))}


def _unit(xp: Namespace, angle: Array) -> Any:
    """Return exp(i*angle)."""
    return make_complex(xp, xp.cos(angle), xp.sin(angle))


def _doubling_steps(xp: Namespace, n: int) -> Iterator[int]:
    """Yield the steps 1, 2, 4, ... of a parallel scan of n elements, as many as there may be."""
    step, stop = 1, n if is_known(xp, n) else LARGEST_SIZE
    while step < stop:
        yield step
        step *= 2


def _pairs(xp: Namespace, x: Any, axis: int, step: int, reverse: bool) -> tuple[Any, Any]:
    """Return the elements that have one a step later, and those later ones.

    Along an axis of a size that is not known all elements are one of a pair: the later one, or the
    earlier one in reverse; the other one is itself where there is none.
    """
    if is_known(xp, x.shape[axis]):
        return slice_axis(x, axis, slice(None, -step)), slice_axis(x, axis, slice(step, None))
    other = xp.roll(x, -step if reverse else step, axis=axis)
    other = xp.where(_has_pair(xp, x, axis, step, reverse), other, x)
    return (x, other) if reverse else (other, x)


def _replace_pairs(xp: Namespace, x: Any, new: Any, axis: int, step: int, reverse: bool) -> Any:
    """Return x with `new` in place of its later elements, or of its earlier ones in reverse."""
    if not is_known(xp, x.shape[axis]):
        return xp.where(_has_pair(xp, x, axis, step, reverse), new, x)
    if reverse:
        return xp.concat([new, slice_axis(x, axis, slice(-step, None))], axis=axis)
    return xp.concat([slice_axis(x, axis, slice(None, step)), new], axis=axis)


def _has_pair(xp: Namespace, x: Any, axis: int, step: int, reverse: bool) -> Any:
    """Return whether there is an element a step earlier, or later in reverse."""
    n = x.shape[axis]
    index = arange(xp, xp.astype(x != x, xp.arange(0).dtype), n)  # floats do not hold all
    has_pair = index < n - step if reverse else index >= step
    return xp.reshape(has_pair, tuple(n if i == axis else 1 for i in range(x.ndim)))


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
        exponent, factor, row_max = _exponents(xp, x, b, where, axis)
        if factor is not None:  # infinite terms have equal parts of the sum
            is_infinite = xp.abs(factor) == inf
            sign = 2 * xp.astype(factor > 0, x.dtype) - 1
            factor = xp.where(is_infinite, sign, factor)
        term, half = _terms(xp, _minus_max(xp, exponent, row_max), factor)
        row_sum = xp.sum(term, axis=axis, keepdims=True)
        if factor is not None:  # but no sum, if they have both signs
            least, largest = (f(term, axis=axis, keepdims=True) for f in (xp.min, xp.max))
            row_sum = xp.where((row_max == inf) & (least < 0) & (largest > 0), nan, row_sum)
        g = xp.where(row_sum == 0, 0.0, g / one_where_zero(xp, row_sum))
        dx = mask_to_zero(xp, term * g, where)
        if is_array(b):
            db = mask_to_zero(xp, xp.where(is_infinite, 0.0, half * half) * g, where)
    return {"x": dx, "b": unbroadcast(xp, db, b.shape)} if is_array(b) else {"x": dx}


def _restore_axes(xp: Namespace, name: str, g: Any, x: Array, axis: Any, keepdims: bool) -> Any:
    """Return the cotangent of a reduction with the reduced axes, which have size 1.

    That of a sign beside it is dropped, for a sign has no derivative.
    """
    g = g[0] if isinstance(g, tuple) else g
    shape = tuple(1 if i in axis else n for i, n in enumerate(x.shape))
    reduced = tuple(n for i, n in enumerate(x.shape) if i not in axis)
    check_shape(name, "g", g, shape if keepdims else reduced)
    return xp.reshape(g, shape)


def _drop_axes(xp: Namespace, value: Array, axis: Any, keepdims: bool) -> Any:
    """Return a reduction without the reduced axes, unless they are to be kept."""
    if keepdims:
        return value
    return xp.reshape(value, tuple(n for i, n in enumerate(value.shape) if i not in axis))


def _is_common(b: Any) -> bool:
    """Return whether a factor is a number that can be multiplied with the sum."""
    return isinstance(b, NUMBER) and 0 < abs(b) < inf


def _exponents(
    xp: Namespace, x: Any, b: Any, where: Mask | None, axis: Axes
) -> tuple[Any, Any, Any]:
    """Return exponents and factors of the terms b*exp(x), and the exponent of the largest.

    That of a term that is infinite by its factor is infinite, too. A factor of 0 counts for none.
    """
    if where is not None:
        x = xp.where(where, x, -inf)
    if b is None or _is_common(b):
        return x, None, xp.max(x, axis=axis, keepdims=True)
    if not is_array(b):
        b = b + zeros_like(xp, x[(slice(0, 1),) * x.ndim])
    b = mask_to_zero(xp, b, where)
    size = cmath.modulus(xp, b) if xp.isdtype(b.dtype, "complex floating") else xp.abs(b)
    x = xp.where(size < inf, x, x + size)
    return x, b, xp.max(xp.where(size == 0, -inf, x), axis=axis, keepdims=True)


def _terms(xp: Namespace, x: Array, b: Any) -> tuple[Any, Any]:
    """Return b*exp(x), and exp(x/2) where there are factors.

    They differ in size so much that the exponential alone may underflow. That of an element with
    the factor 0 is 0 if it overflows or is NaN.
    """
    if b is None:
        return xp.exp(x), None
    half = xp.exp(0.5 * x)
    half = xp.where((b == 0) & ~(half < inf), 0.0, half)
    return b * half * half, half


def _complex_exponents(
    xp: Namespace, x: Any, b: Any, where: Mask | None, axis: Axes
) -> tuple[Any, Any, Any, Any]:
    """Return the parts of complex exponents, and what `_exponents` returns besides."""
    real, b, row_max = _exponents(xp, xp.real(x), b, where, axis)
    return real, mask_to_zero(xp, xp.imag(x), where), b, row_max


def _complex_product(xp: Namespace, b: Any, z: Any) -> Any:
    """Return b*z, where a part of b that is 0 makes no NaN of an infinite part of z."""
    if b is None:
        return z
    x, y = xp.real(z), xp.imag(z)

    def times(factor: Any, part: Any) -> Any:
        return xp.where(factor == 0, 0.0, factor * part)

    if not xp.isdtype(b.dtype, "complex floating"):
        return make_complex(xp, times(b, x), times(b, y))
    u, v = xp.real(b), xp.imag(b)
    return make_complex(xp, times(u, x) - times(v, y), times(u, y) + times(v, x))


def _complex_log_sum(xp: Namespace, a: Any, b: Any) -> Any:
    """Return log|a + b|, which keeps the smaller number."""
    size_a, size_b = cmath.modulus(xp, a), cmath.modulus(xp, b)
    larger, smaller = xp.where(size_b > size_a, b, a), xp.where(size_b > size_a, a, b)
    size = xp.where(size_b > size_a, size_b, size_a)
    is_ordinary = (size > 0) & (size < inf)
    ratio = xp.where(is_ordinary, smaller, 0.0) / xp.where(is_ordinary, larger, 1.0)
    return xp.log(size) + xp.real(cmath.log1p(xp, ratio))


def _minus_max(xp: Namespace, x: Any, row_max: Any) -> Any:
    """Return exponents less their maximum: 0 where both are inf, and -inf where all are."""
    offset = xp.where(row_max == -inf, inf, row_max)
    return xp.where((x == inf) & (offset == inf), 0.0, x - offset)


def _log_sum(xp: Namespace, a: Any, b: Any) -> Any:
    """Return log|a + b|, which keeps the smaller number."""
    is_larger = xp.abs(b) > xp.abs(a)
    larger, smaller = xp.where(is_larger, b, a), xp.where(is_larger, a, b)
    return xp.log(xp.abs(larger)) + xp.log1p(smaller / one_where_zero(xp, larger))


def _infinite_like(xp: Namespace, row_max: Any, value: Any) -> Any:
    """Return `value`, and infinity where the maximum is; that of -inf has no gradient."""
    is_infinite = (row_max == inf) & (value == inf)
    return xp.where(row_max == -inf, -inf, xp.where(is_infinite, row_max, value))


def _sign(xp: Namespace, x: Array) -> Any:
    """Return the sign of x, and NaN for NaN, of which torch.sign is 0."""
    return xp.where(x > 0, 1.0, xp.where(x < 0, -1.0, xp.abs(x)))
