"""Elementary functions as arithmetic without branches, which compilers turn into vector code.

An engine that compiles rewrites a trace by these rules. Arguments and results are tracers, and
`digits` are those of the dtype that results will be rounded to, 24 or 53. The methods are in
Muller, Elementary functions, 3rd edition, 2016: the reduction of Cody & Waite, and polynomials of
Taylor, or of Chebyshev in float32, with as many terms as the digits need. In float64 an error is
below 1.1 units in the last place (log1p: 1.5), or 2**-33 where the digits are 24; in float32 it is
below 2.5 units.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...numerics.coefficients import EXP_32, LOG1P_32
from ...numerics.double_word import fast_two_sum, two_diff, two_sum
from .trace import Tracer


class _Format(NamedTuple):
    """A dtype of numbers, and constants in it, the last of which are parts of a number.

    integer : in a number plus this one the last bits are the nearest integer
    """

    mantissa: int
    bias: int
    bits: Any
    integer: float
    ln2: tuple[float, float]

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


_LN2 = math.log(2), 2.3190468138462996e-17
_FORMATS = {
    "float32": _Format(
        23, 127, np.dtype(np.int32), 1.5 * 2.0**23, (0.69314718246459961, -1.9046542121259336e-09)
    ),
    "float64": _Format(52, 1023, np.dtype(np.int64), 1.5 * 2.0**52, _LN2),
}
_HALF_PI = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33
_SQRT_HALF = 0.7071067811865476

LARGEST_ANGLE = 2.0**40
"""The sine of a larger angle is left to C."""


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a*b + c, rounded once."""
    tracer = _tracer_of(a, b, c)
    return tracer.trace.add(fma, a, b, c, dtype=tracer.dtype)


def to_bits(x: Any) -> Any:
    """Return the bits of a number as an integer."""
    return x.trace.add(to_bits, x, dtype=_FORMATS[x.dtype.name].bits)


def from_bits(bits: Any) -> Any:
    """Return the number of these bits."""
    dtype = np.dtype(np.float32 if bits.dtype.itemsize == 4 else np.float64)
    return bits.trace.add(from_bits, bits, dtype=dtype)


def unless(condition: Any, y: Any, function: Any, *x: Any) -> Any:
    """Return y or, where the condition holds, ``function(*x)``, which is no vector code."""
    return y.trace.add(unless, condition, y, y.trace.add(function, *x), dtype=y.dtype)


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b."""
    tracers = [value for value in (a, b) if isinstance(value, Tracer)]
    dtype = tracers[0].dtype if tracers else np.dtype(np.float64)
    return condition.trace.add(np.where, condition, a, b, dtype=dtype)


def _tracer_of(*values: Any) -> Any:
    return next(value for value in values if isinstance(value, Tracer))


def _clamp(x: Any, low: float, high: float) -> Any:
    """Return x within bounds; NaN stays."""
    return np.minimum(np.maximum(x, low), high)


def _polynomial(t: Any, coefficients: list[float]) -> Any:
    """Return the polynomial with these coefficients, lowest first (Horner)."""
    y: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        y = fma(y, t, coefficient)
    return y


def _power_of_2(k: Any, less: float = 0.0) -> Any:
    """Return 2**(k - less), which is inf for the bias + 1, and 0 for -bias."""
    form = _FORMATS[k.dtype.name]
    return from_bits(to_bits(k + (form.integer + form.bias - less)) << form.mantissa)


def _exp_parts(x: Any, digits: int) -> tuple[Any, Any, Any]:
    """Return k, and a + b such that exp(x) - 1 is (1 + a + b)*2**k - 1, with abs(a) < 0.35.

    b is None, and a has what there is of it, where the digits are 24.
    """
    form = _FORMATS[x.dtype.name]
    k = fma(x, 1 / _LN2[0], form.integer) - form.integer
    high = fma(k, -form.ln2[0], x)
    r = fma(k, -form.ln2[1], high)
    terms = 10 if digits == 24 else 14
    taylor = [1 / math.factorial(n) for n in range(2, terms)]
    fit = _polynomial(r, list(EXP_32) if x.dtype == np.float32 else taylor)
    if digits == 24:
        return k, fma(r * r, fit, r), None
    return k, r, (r * r) * fit + fma(k, -form.ln2[1], high - r)


def exp(x: Any, digits: int) -> Any:
    """Return exp(x)."""
    if x.dtype == np.float32:  # what is subnormal may be 0
        k, a, _ = _exp_parts(_clamp(x, -87.3, 89.0), digits)
        return fma(2.0, a, 2.0) * _power_of_2(k, 1)
    if digits == 24:
        k, a, _ = _exp_parts(_clamp(x, -708.0, 709.8), digits)
        return where(x < -745.2, 0.0, (1 + a) * _power_of_2(k))
    k, a, b = _exp_parts(_clamp(x, -746.0, 710.0), digits)
    y, err = fast_two_sum(1.0, a)
    near = _clamp(k, -1000.0, 1000.0)  # what is subnormal is rounded once, by the last product
    return (y + (err + b)) * _power_of_2(near) * _power_of_2(k - near)


def _expm1_parts(x: Any, digits: int) -> tuple[Any, Any]:
    """Return half of exp(x) - 1 in two parts, for x >= -40 whose exponential does not overflow."""
    k, a, b = _exp_parts(x, digits)
    half = _power_of_2(k, 1)
    if digits == 24:
        return fma(half, a, half - 0.5), 0.0
    a, b = fast_two_sum(a, b)
    y, err = two_sum(half * a, half - 0.5)
    return y, fma(half, b, err)


def expm1(x: Any, digits: int) -> Any:
    """Return exp(x) - 1."""
    hi, lo = _expm1_parts(_clamp(x, -40.0, 89.0 if x.dtype == np.float32 else 710.0), digits)
    if x.dtype == np.float64 and digits == 24:
        return np.copysign(2 * hi, x)
    is_subnormal = np.absolute(x) < _FORMATS[x.dtype.name].smallest_normal
    return where(is_subnormal, x, np.copysign(2 * (hi + lo), x))


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
    return np.copysign(_log(y, digits, (1 - y) + x), x)


def log(x: Any, digits: int) -> Any:
    """Return log(x)."""
    if x.dtype == np.float64 and digits == 24:  # where a subnormal number may be 0
        return _log(x, digits)
    form = _FORMATS[x.dtype.name]
    is_subnormal, scale = x < form.smallest_normal, 2.0 ** (form.mantissa + 2)
    return _log(where(is_subnormal, x * scale, x), digits, scaled=(is_subnormal, scale))


def _log(x: Any, digits: int, lo: Any = None, scaled: Any = None) -> Any:
    """Return log(x + lo), where lo is less than a unit of x.

    x is not subnormal; it is a number times a power of 2 where `scaled` says.
    """
    form, is_single = _FORMATS[x.dtype.name], x.dtype == np.float32
    # x is m times a power of 2, and m at least sqrt(1/2)
    sqrt_half = _bits(_SQRT_HALF, x.dtype)
    offset = to_bits(x) + (((form.bias + 1) << form.mantissa) - sqrt_half)
    whole = 2.0**form.mantissa
    k = from_bits((offset >> form.mantissa) | _bits(whole, x.dtype)) - (whole + form.bias + 1)
    m = from_bits((offset & ((1 << form.mantissa) - 1)) + sqrt_half)
    f = m - 1
    if lo is not None:
        f = fma(lo, _power_of_2(-np.minimum(k, form.bias)), f)  # lo is 0 for a larger k
    if scaled is not None:
        is_scaled, scale = scaled
        k = where(is_scaled, k - math.log2(scale), k)
    if is_single:
        y = fma(f * f, _polynomial(f, [-0.5, *LOG1P_32]), f)
        y = fma(k, form.ln2[0], fma(k, form.ln2[1], y))
    else:
        s = f / (2 + f)
        z = s * s
        terms = 7 if digits == 24 else 12
        series = z * _polynomial(z, [2 / (2 * n + 3) for n in range(terms)])
        if digits == 24:
            y = fma(k, form.ln2[0], s * (2 + series))
        else:
            half = 0.5 * f * f
            y = fma(k, form.ln2[0], f - (half - fma(s, half + series, k * form.ln2[1])))
    y = where(x > 0, y, where(x == 0, x - math.inf, x * math.nan))
    return where(x < math.inf, y, x)


def _bits(number: float, dtype: Any) -> int:
    """Return the bits of a number as an integer."""
    return int(dtype.type(number).view(_FORMATS[dtype.name].bits))


def sin(x: Any, digits: int) -> Any:
    """Return sin(x)."""
    y = where(x == 0, x, _sine(x, digits, 0))
    return unless(np.absolute(x) > LARGEST_ANGLE, y, np.sin, x)


def cos(x: Any, digits: int) -> Any:
    """Return cos(x)."""
    return unless(np.absolute(x) > LARGEST_ANGLE, _sine(x, digits, 1), np.cos, x)


def _sine(x: Any, digits: int, quarters: int) -> Any:
    """Return sin(x + quarters*pi/2)."""
    k = fma(x, 1 / _HALF_PI[0], _FORMATS["float64"].integer) - _FORMATS["float64"].integer
    high = fma(k, -_HALF_PI[0], x)
    if digits == 24:
        r, lo = fma(k, -_HALF_PI[1], high), 0.0
    else:
        part = k * _HALF_PI[1]
        r, lo = two_diff(high, part)
        r, lo = two_sum(r, fma(k, -_HALF_PI[2], lo - fma(k, _HALF_PI[1], -part)))
    z, half = r * r, 0.5 * r * r
    last = 13 if digits == 24 else 18
    odd, even = (
        [(-1) ** (n // 2) / math.factorial(n) for n in range(first, last, 2)] for first in (3, 4)
    )
    sine, cosine = (z * r) * _polynomial(z, odd), (z * z) * _polynomial(z, even)
    if digits == 24:
        sine, cosine = r + sine, (1 - half) + cosine
    else:
        sine = r + fma(lo, 1 - half, sine)
        hi, err = fast_two_sum(1.0, -half)
        cosine = hi + (err + fma(-r, lo, cosine))
    quadrant = to_bits(k + (_FORMATS["float64"].integer + quarters))
    y = where((quadrant & 1) == 0, sine, cosine)
    return from_bits(to_bits(y) ^ ((quadrant & 2) << 62))


def power(x: Any, y: Any, digits: int) -> Any:
    """Return x**y, which in float64 is that of C.

    For float32 it has the digits of float64, as y multiplies the error of the logarithm.
    """
    if digits == 53:
        return x.trace.add(np.power, x, y)
    z = where((x == 1) | (y == 0), 1.0, exp(y * log(x, 53), 53))
    return unless(x <= 0, z, np.power, x, y)


def sign(x: Any, digits: int) -> Any:
    """Return the sign of x, which is x if that is 0 or NaN."""
    return where(x > 0, 1.0, where(x < 0, -1.0, x))


RULES: dict[Any, Any] = {
    np.sign: sign,
    np.exp: exp,
    np.expm1: expm1,
    np.log: log,
    np.log1p: log1p,
    np.tanh: tanh,
    np.sin: sin,
    np.cos: cos,
    np.power: power,
}
"""The functions of this module by NumPy's that they stand for."""

OF_FLOAT64 = {np.sin, np.cos, np.power}
"""The functions that are there for float64 alone."""
