"""Elementary functions as arithmetic without branches, which compilers turn into vector code.

An engine that compiles rewrites a trace by these rules. Arguments and results are tracers in
float64, and `digits` are those of the dtype that results will be rounded to, 24 or 53. The methods
are in Muller, Elementary functions, 3rd edition, 2016: the reduction of Cody & Waite, and Taylor's
polynomials with as many terms as the digits need. An error is below 0.6 units in the last of 53
digits, or 2**-33 where the digits are 24.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...numerics.double_word import fast_two_sum, two_sum
from .trace import Tracer

INTEGER_IN_LAST_BITS = 1.5 * 2.0**52
"""In a number plus this one the last bits are the nearest integer."""

LN2 = 0.6931471805599453, 2.3190468138462996e-17
HALF_PI = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33
SQRT_HALF = 0.7071067811865476

SMALLEST_NORMAL = 2.0**-1022

LARGEST_ANGLE = 2.0**40
"""The sine of a larger angle is left to C."""

_FLOAT64 = np.dtype(np.float64)


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a*b + c, rounded once."""
    return _trace_of(a, b, c).add(fma, a, b, c, dtype=_FLOAT64)


def to_bits(x: Any) -> Any:
    """Return the bits of a number as an integer."""
    return x.trace.add(to_bits, x, dtype=np.dtype(np.int64))


def from_bits(bits: Any) -> Any:
    """Return the number of these bits."""
    return bits.trace.add(from_bits, bits, dtype=_FLOAT64)


def unless(condition: Any, y: Any, function: Any, x: Any) -> Any:
    """Return y or, where the condition holds, ``function(x)``, which is no vector code."""
    return x.trace.add(unless, condition, y, x.trace.add(function, x), dtype=_FLOAT64)


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b."""
    return condition.trace.add(np.where, condition, a, b, dtype=_FLOAT64)


def _trace_of(*values: Any) -> Any:
    return next(value.trace for value in values if isinstance(value, Tracer))


def _clamp(x: Any, low: float, high: float) -> Any:
    """Return x within bounds; NaN stays."""
    return np.minimum(np.maximum(x, low), high)


def _polynomial(t: Any, coefficients: list[float]) -> Any:
    """Return the polynomial with these coefficients, lowest first (Horner)."""
    y: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        y = fma(y, t, coefficient)
    return y


def _power_of_2(k: Any) -> Any:
    """Return 2**k for an integer of -1023 to 1024, which give 0 and inf."""
    return from_bits(to_bits(k + (INTEGER_IN_LAST_BITS + 1023)) << 52)


def _exp_parts(x: Any, digits: int) -> tuple[Any, Any, Any]:
    """Return k, and a + b such that exp(x) - 1 is (1 + a + b)*2**k - 1, with abs(a) < 0.35."""
    k = fma(x, 1 / LN2[0], INTEGER_IN_LAST_BITS) - INTEGER_IN_LAST_BITS
    high = fma(k, -LN2[0], x)
    r = fma(k, -LN2[1], high)
    taylor = [1 / math.factorial(n) for n in range(2, 10 if digits == 24 else 14)]
    b = (r * r) * _polynomial(r, taylor)
    return k, r, b if digits == 24 else b + fma(k, -LN2[1], high - r)


def exp(x: Any, digits: int) -> Any:
    """Return exp(x)."""
    if digits == 24:
        k, a, b = _exp_parts(_clamp(x, -708.0, 709.8), digits)
        return where(x < -745.2, 0.0, (1 + (a + b)) * _power_of_2(k))
    k, a, b = _exp_parts(_clamp(x, -746.0, 710.0), digits)
    y, err = fast_two_sum(1.0, a)
    near = _clamp(k, -1000.0, 1000.0)  # what is subnormal is rounded once, by the last product
    return (y + (err + b)) * _power_of_2(near) * _power_of_2(k - near)


def _expm1_parts(x: Any, digits: int) -> tuple[Any, Any]:
    """Return half of exp(x) - 1 in two parts, for -40 <= x <= 710."""
    k, a, b = _exp_parts(x, digits)
    half = _power_of_2(k - 1)
    if digits == 24:
        return fma(half, a + b, half - 0.5), 0.0
    a, b = fast_two_sum(a, b)
    y, err = two_sum(half * a, half - 0.5)
    return y, fma(half, b, err)


def expm1(x: Any, digits: int) -> Any:
    """Return exp(x) - 1."""
    hi, lo = _expm1_parts(_clamp(x, -40.0, 710.0), digits)
    if digits == 24:
        return np.copysign(2 * hi, x)
    return where(np.absolute(x) < SMALLEST_NORMAL, x, 2 * (hi + lo))


def tanh(x: Any, digits: int) -> Any:
    """Return tanh(x), by exp(2*abs(x)) - 1."""
    hi, lo = _expm1_parts(np.minimum(np.absolute(x), 20.0) * 2, digits)
    if digits == 24:
        return np.copysign(hi / (hi + 1), x)
    total, err = two_sum(hi, 1.0)
    y = hi / total
    return np.copysign(y + (fma(-y, total, hi) + (lo - y * (err + lo))) / total, x)


def log1p(x: Any, digits: int) -> Any:
    """Return log(1 + x)."""
    y = 1 + x
    near = np.minimum(x, 1e9)
    return log(y, digits) + ((1 - (1 + near)) + near) / np.maximum(y, 0.5)


def log(x: Any, digits: int) -> Any:
    """Return log(x), by the series of the inverse hyperbolic tangent."""
    is_subnormal = x < SMALLEST_NORMAL
    scaled = x if digits == 24 else where(is_subnormal, x * 2.0**54, x)
    # x is m times a power of 2, and m at least sqrt(1/2)
    offset = to_bits(scaled) + ((1024 << 52) - _bits(SQRT_HALF))
    k = from_bits((offset >> 52) | _bits(2.0**52)) - (2.0**52 + 1024)
    m = from_bits((offset & (2**52 - 1)) + _bits(SQRT_HALF))
    f = m - 1
    s = f / (2 + f)
    z = s * s
    terms = 7 if digits == 24 else 12
    series = z * _polynomial(z, [2 / (2 * n + 3) for n in range(terms)])
    if digits == 24:
        y = fma(k, LN2[0], s * (2 + series))
    else:
        k = where(is_subnormal, k - 54, k)
        half = 0.5 * f * f
        y = fma(k, LN2[0], f - (half - fma(s, half + series, k * LN2[1])))
    y = where(x > 0, y, where(x == 0, -math.inf, math.nan))
    return where(x < math.inf, y, x)


def _bits(number: float) -> int:
    """Return the bits of a number as an integer."""
    return int(np.float64(number).view(np.int64))


def sin(x: Any, digits: int) -> Any:
    """Return sin(x)."""
    y = where(x == 0, x, _sine(x, digits, 0))
    return unless(np.absolute(x) > LARGEST_ANGLE, y, np.sin, x)


def cos(x: Any, digits: int) -> Any:
    """Return cos(x)."""
    return unless(np.absolute(x) > LARGEST_ANGLE, _sine(x, digits, 1), np.cos, x)


def _sine(x: Any, digits: int, quarters: int) -> Any:
    """Return sin(x + quarters*pi/2)."""
    k = fma(x, 1 / HALF_PI[0], INTEGER_IN_LAST_BITS) - INTEGER_IN_LAST_BITS
    high = fma(k, -HALF_PI[0], x)
    r = fma(k, -HALF_PI[1], high)
    z, half = r * r, 0.5 * r * r
    last = 13 if digits == 24 else 18
    odd, even = (
        [(-1) ** (n // 2) / math.factorial(n) for n in range(first, last, 2)] for first in (3, 4)
    )
    sine, cosine = (z * r) * _polynomial(z, odd), (z * z) * _polynomial(z, even)
    if digits == 24:
        sine, cosine = r + sine, (1 - half) + cosine
    else:
        lo = fma(k, -HALF_PI[2], fma(k, -HALF_PI[1], high - r))
        sine = r + fma(lo, 1 - half, sine)
        hi, err = fast_two_sum(1.0, -half)
        cosine = hi + (err + fma(-r, lo, cosine))
    quadrant = to_bits(k + (INTEGER_IN_LAST_BITS + quarters))
    y = where((quadrant & 1) == 0, sine, cosine)
    return from_bits(to_bits(y) ^ ((quadrant & 2) << 62))


RULES: dict[Any, Any] = {
    np.exp: exp,
    np.expm1: expm1,
    np.log: log,
    np.log1p: log1p,
    np.tanh: tanh,
    np.sin: sin,
    np.cos: cos,
}
"""The functions of this module by NumPy's that they stand for."""
