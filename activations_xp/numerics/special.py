"""Special functions that the array API standard lacks, written on `xp`."""

from __future__ import annotations

import math
from math import exp, sqrt
from typing import Any

from .._typing import NUMBER, Array, Namespace
from . import coefficients as c
from .double_word import (
    DoubleWord,
    fast_two_sum,
    fixed_point_split,
    hi_lo,
    is_fast,
    is_single,
    is_uncompensated,
    round_off,
    two_sum,
)

NORMAL_TAIL_CUTOFF = 39.0
"""From here on the normal density, and the tail with it, is zero in float64."""

EXP_OFFSET = 37.0
"""exp(-EXP_OFFSET) is rounded by less than a hundredth of a unit, to float32 and to float64."""


def fast_exp(xp: Namespace, x: Array) -> Any:
    """Return exp(x) to a few units, where x itself was rounded by more than that."""
    return getattr(xp, "fast_exp", xp.exp)(x)


def polynomial(t: Any, coefficients: tuple[float, ...]) -> Any:
    """Return the polynomial in t with these coefficients, lowest first (Horner)."""
    y = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        y = y * t + coefficient
    return y


def ratio_within_1(xp: Namespace, x: Array) -> tuple[Any, Any]:
    """Return two numbers of at most 1 whose quotient is x, so that no square overflows.

    The derivatives of both are from inside at -1 and 1, where maximum(x, -1.0) has the other one.
    In "fast" x is only bounded, and its divisor the number 1.
    """
    if is_fast(xp, x):
        return xp.minimum(xp.maximum(x, -(2.0**60)), 2.0**60), 1.0
    return -xp.minimum(-xp.minimum(x, 1.0), 1.0), 1 / xp.maximum(xp.abs(x), 1.0)


def neg_square(
    xp: Namespace, a: Array | DoubleWord, rate: float = 0.5, offset: float = 0.0
) -> DoubleWord:
    """Return offset - rate*a*a, whose rounding would cost its exponential a*a ulp.

    The hi of a double word has so few digits that its square is exact.
    """
    a = a if isinstance(a, DoubleWord) else fixed_point_split(xp, a)
    hi = (-rate * a.hi) * a.hi
    if a.lo is None:
        return DoubleWord(xp, hi)
    hi = hi + offset if offset else hi
    return DoubleWord(xp, *fast_two_sum(hi, -rate * a.lo * (2 * a.hi + a.lo)))


def tail_distance(xp: Namespace, x: Array, end: float = NORMAL_TAIL_CUTOFF) -> Any:
    """Return abs(x), up to the end from which on exp_neg_square is 0 in float64."""
    return x if is_fast(xp, x) else xp.minimum(xp.abs(x), end)


def exp_neg_square(
    xp: Namespace, a: Array | DoubleWord, rate: float = 0.5, factor: Array | float | None = None
) -> Any:
    """Return exp(-rate*a*a), times the factor, for abs(a) <= NORMAL_TAIL_CUTOFF.

    The rate is 0.25, 0.5 or 1. A factor over 1 must be given as `factor`: the product may be normal
    where the exponential is not.
    """
    t = neg_square(xp, a, rate, 0.0 if factor is None else EXP_OFFSET)
    e = xp.exp(t.hi)
    if factor is None:
        return e if t.lo is None else e * (1 + t.lo)  # e * t.lo alone may be subnormal
    if t.lo is None:
        return e * factor
    if isinstance(factor, NUMBER):
        factor = factor * exp(-EXP_OFFSET)
        return e * (factor + factor * t.lo)
    return e * (factor + factor * t.lo) * exp(-EXP_OFFSET)


def scaled_exp(xp: Namespace, factor: DoubleWord, t: DoubleWord) -> Any:
    """Return factor*exp(t), for a factor of at most 1.

    The factor comes first: the exponential alone is subnormal before the product is.
    """
    if factor.lo is None or t.lo is None:
        return factor.hi * xp.exp(t.hi)
    return (factor.hi + (factor.hi * t.lo + factor.lo)) * xp.exp(t.hi)


def mills_ratio(
    xp: Namespace, a: Array, x: Array | None = None, k: float = 2.0, *, absolute: bool = False
) -> DoubleWord:
    """Return the upper tail of the standard normal distribution over exp(-a*a/2), for a >= 0.

    It is multiplied by x, which is a or -a, if that is given. With another k than 2 it is the
    ratio at a*2/k. `absolute` says that of the product with exp(-a*a/2) the absolute error counts
    in "fast", times a where a is over 1.
    """
    if is_uncompensated(xp):
        ratio = (k / 2 if x is None else x) / (a + k)
        t = 1 - 4 * ratio if x is None else 2 * xp.abs(ratio) - 1
        first, *others = c.NORMAL_TAIL_32 if absolute and is_fast(xp, a) else c.ERFCX_32
        y = xp.astype(polynomial(xp.astype(t, xp.float32), tuple(others)), t.dtype)
        return DoubleWord(xp, ratio * (first + t * y))
    denominator, err = two_sum(a, k)
    if x is None:
        ratio = xp.where(a >= 0, k / 2, a) / denominator  # torch takes 1/total times a number
        t = 1 - 4 * ratio
        err = err * ratio * (2 / k)
    else:
        ratio = x / denominator
        t = 2 * xp.abs(ratio) - 1
        err = err * (1 - t) * (1 / 4)
    first, *others = c.ERFCX_32 if is_single(xp, a) else c.ERFCX_64
    first_hi = round_off(first, 29) if a.dtype == xp.float32 else first
    y, lo = fast_two_sum(first_hi, t * polynomial(t, tuple(others)))
    hi = ratio * y
    return DoubleWord(xp, hi, ratio * (lo + (first - first_hi)) - hi * err)


def normal_tail(xp: Namespace, a: Array, x: Array | None = None, *, absolute: bool = False) -> Any:
    """Return the upper tail of the standard normal distribution, for 0 <= a <= 1e10.

    It is multiplied by x, which is a or -a, if that is given. `absolute` is that of `mills_ratio`.
    """
    return scaled_exp(xp, mills_ratio(xp, a, x, absolute=absolute), neg_square(xp, a))


def erfc(xp: Namespace, x: Array) -> Any:
    """Return 1 - erf(x), right in relative terms in the far tail."""
    tail = _erfc(xp, xp.abs(x))
    return xp.where(x > 0, tail, 2 - tail)


def _erfc(xp: Namespace, a: Array, *, absolute: bool = False) -> Any:
    a = xp.minimum(a, NORMAL_TAIL_CUTOFF / sqrt(2))
    hi, lo = hi_lo(mills_ratio(xp, a, k=sqrt(2), absolute=absolute))
    twice = DoubleWord(xp, 2 * hi, None if lo is None else 2 * lo)  # 1 at 0
    return scaled_exp(xp, twice, neg_square(xp, a, 1.0))


def erf(xp: Namespace, x: Array) -> Any:
    """Return the error function, right in relative terms near zero."""
    a = xp.abs(x)
    near = xp.minimum(a, 1.0)
    first, *others = c.ERF_32 if is_single(xp, a) else c.ERF_64
    core = x + x * polynomial(near * near, (first - 1, *others))
    size = 1 - _erfc(xp, xp.maximum(a, 1.0), absolute=True)
    return xp.where(a <= 1.0, core, xp.where(x > 0, size, -size))


def erfc_inverse(xp: Namespace, w: Array, factor: float = 1.0) -> Any:
    """Return the y at which erfc(y) is exp(-w), for 0 <= w <= inf, times the factor."""
    k, fit = (1.5, c.ERFCINV_32) if is_single(xp, w) else (3.0, c.ERFCINV_64)
    coefficients = tuple(factor * coefficient for coefficient in fit)
    s = xp.minimum(xp.sqrt(w + math.log(2)), 1e9)
    return w * (polynomial((s - k) / (s + k), coefficients) / (s + 0.5))


def one_minus(xp: Namespace, a: Array) -> DoubleWord:
    """Return 1 - a for 0 <= a <= 1, with its rounding error whatever the precision."""
    hi = 1 - a
    return DoubleWord(xp, hi, (1 - hi) - a)


def log(xp: Namespace, y: DoubleWord) -> Any:
    """Return log(y), where lo is 0 for hi < 1/2."""
    return xp.log(y.hi) + y.lo / xp.maximum(y.hi, 0.5)


def log1p(xp: Namespace, x: Array) -> Any:
    """Return log(1 + x) by the logarithm, to two units; XLA's own is off by more than a hundred."""
    near = xp.minimum(x, 1e9)
    return log(xp, DoubleWord(xp, 1 + x, (1 - (1 + near)) + near))  # XLA takes (1 + x) - 1 for x


def expm1(xp: Namespace, x: Array) -> Any:
    """Return exp(x) - 1 by the exponential, to three units, and to two for x <= 0."""
    near = xp.minimum(xp.maximum(x, -1.0), 1.0)
    core = near + near * (near * polynomial(near, c.EXPM1_32 if is_single(xp, x) else c.EXPM1_64))
    return xp.where(xp.abs(x) < 1, core, xp.exp(x) - 1)


def tanh(xp: Namespace, x: Array) -> Any:
    """Return tanh(x) by the exponential, to two units."""
    near = xp.minimum(xp.maximum(x, -1.0), 1.0)
    e = xp.exp(-2 * xp.abs(x))
    far = 1 - 2 * e / (1 + e)
    core = near * (1 - one_minus_tanhc(xp, near))
    return xp.where(xp.abs(x) < 1, core, xp.where(x > 0, far, -far))


def one_minus_tanhc(xp: Namespace, x: Array) -> Any:
    """Return 1 - tanh(x)/x for -1 <= x <= 1, right in relative terms."""
    x2 = x * x
    return x2 * polynomial(x2, c.TANHC_32 if is_single(xp, x) else c.TANHC_64)


def one_minus_sin2_over_x(xp: Namespace, x: Array, lo: Any) -> tuple[Any, Any]:
    """Return 1 - sin(a)**2/a of a = x + lo near its minimum, and where a is near it."""
    v = (x - c.SIN2_OVER_X_PEAK) + lo
    near = xp.minimum(xp.maximum(v, -1.0), 1.0)
    fit = c.SIN2_OVER_X_32 if is_single(xp, x) else c.SIN2_OVER_X_64
    return polynomial(near, fit), xp.abs(v) < 1
