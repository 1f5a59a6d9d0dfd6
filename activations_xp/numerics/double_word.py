"""Error-free transformations, and double words, which carry twice the digits of their dtype.

The algorithms are those of Dekker, A floating-point technique for extending the available
precision, 1971; Knuth, The art of computer programming 2, 4.2.2; Ogita, Rump & Oishi, Accurate sum
and dot product, 2005; and Joldes, Muller & Popescu, Tight and rigorous error bounds for basic
building blocks of double-word arithmetic, 2017.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .._typing import NUMBER, Array, Namespace


def is_uncompensated(xp: Namespace) -> bool:
    """Return whether rounding errors need not be carried along.

    float64 computes what will be rounded to float32, or float32 what may be a few units off.
    """
    return getattr(xp, "is_uncompensated", None) is True


def is_fast(xp: Namespace, x: Array) -> bool:
    """Return whether float32 is computed in float32, of which a few units may be lost.

    The error counts in units of ``eps * max(abs(f(x)), min(abs(x), 1))``.
    """
    return is_uncompensated(xp) and x.dtype == xp.float32


def corrected_passes(xp: Namespace) -> int:
    """Return how often a mean is removed: a second time removes the rounding error of the first."""
    return 1 if is_uncompensated(xp) else 2


def is_single(xp: Namespace, x: Array) -> bool:
    """Return whether the precision of float32 is all that is asked for."""
    return x.dtype == xp.float32 or is_uncompensated(xp)


def fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a + b and its rounding error, for abs(a) >= abs(b) (Dekker)."""
    s = a + b
    return s, (a - s) + b


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a + b and its rounding error (Knuth)."""
    s = a + b
    b_part = s - a
    return s, (a - (s - b_part)) + (b - b_part)


def two_diff(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a - b and its rounding error (Knuth)."""
    s = a - b
    b_part = s - a
    return s, (a - (s - b_part)) - (b + b_part)


def round_off(number: Any, bits: int) -> Any:
    """Return `number` with its last `bits` binary digits rounded off (Veltkamp)."""
    scaled = number * (2.0**bits + 1)
    return scaled - (scaled - number)


def veltkamp_split(xp: Namespace, number: float | Array, x: Array) -> tuple[Any, Any]:
    """Split `number` into hi + lo, such that products of two hi are exact in x's dtype.

    A Python number may have cross digits than float32: hi + lo has them.
    """
    bits = 27 if x.dtype != xp.float32 else 41 if isinstance(number, NUMBER) else 12
    hi = round_off(number, bits)
    return hi, number - hi


def two_prod(xp: Namespace, c: float | Array, x: Array) -> tuple[Any, Any]:
    """Return c*x in two parts: an exact product of the leading halves, and the rest (Dekker)."""
    (c_hi, c_lo), (x_hi, x_lo) = veltkamp_split(xp, c, x), veltkamp_split(xp, x, x)
    return x_hi * c_hi, x_hi * c_lo + x_lo * c


class DoubleWord:
    """The sum hi + lo, unevaluated, where lo is what rounding took from hi.

    Operands are double words; `exact` makes one of an array or a number. Where digits are to
    spare, as `is_uncompensated` says, lo is None and nothing is computed for it.

    Products are arguments of exponentials. They saturate at about 1e4, where an exponential is 0
    or inf in any dtype, so that neither the product nor its error overflows.
    """

    def __init__(self, xp: Namespace, hi: Any, lo: Any = None) -> None:
        self.xp, self.hi, self.lo = xp, hi, lo

    @property
    def value(self) -> Any:
        """The sum, rounded."""
        return self.hi if self.lo is None else self.hi + self.lo

    def __neg__(self) -> DoubleWord:
        return DoubleWord(self.xp, -self.hi, None if self.lo is None else -self.lo)

    def __sub__(self, other: DoubleWord) -> DoubleWord:
        if is_uncompensated(self.xp):
            return DoubleWord(self.xp, self.value - other.value)
        hi, lo = two_diff(self.hi, other.hi)
        lo = lo if self.lo is None else lo + self.lo
        return DoubleWord(self.xp, hi, lo if other.lo is None else lo - other.lo)

    def __mul__(self, other: DoubleWord) -> DoubleWord:
        """Return the product; `other` holds an array, and `self` an array or a number."""
        xp, c, x = self.xp, self.hi, other.hi
        if is_uncompensated(xp):
            is_free = isinstance(c, NUMBER) and (c == 1 or abs(c) == inf)
            if not is_free and x.dtype != xp.float32:
                x = xp.minimum(xp.maximum(x, -1e300), 1e300)
            return DoubleWord(xp, c * x)
        if isinstance(c, NUMBER) and (c == 1 or abs(c) == inf):
            hi, lo = c * x, None if other.lo is None else c * other.lo
        else:
            if isinstance(c, NUMBER):
                bound: Any = min(1e4 / max(abs(c), 1e-26), 1e30)
            else:
                c = xp.minimum(xp.maximum(c, -1e30), 1e30)
                bound = 1e4 / xp.maximum(xp.abs(c), 1e-15)
            hi, lo = two_prod(xp, c, xp.minimum(xp.maximum(x, -bound), bound))
            hi, lo = fast_two_sum(hi, lo if other.lo is None else lo + c * other.lo)
        if not (self.lo is None or (isinstance(self.lo, NUMBER) and self.lo == 0)):
            cross = self.lo * xp.minimum(xp.maximum(x, -1e4), 1e4)
            lo = cross if lo is None else lo + cross
        return DoubleWord(xp, hi, lo)

    def minimum(self, bound: float) -> DoubleWord:
        """Return self with hi at most `bound`, a number from which on lo does not matter."""
        return DoubleWord(self.xp, self.xp.minimum(self.hi, bound), self.lo)


def exact(xp: Namespace, x: float | Array) -> DoubleWord:
    """Return an array or a number as a double word, of which nothing was rounded off."""
    return DoubleWord(xp, x)


def hi_lo(x: Any) -> tuple[Any, Any]:
    """Return the two parts of a double word, or an array and None."""
    return (x.hi, x.lo) if isinstance(x, DoubleWord) else (x, None)


def fixed_point_split(xp: Namespace, a: Array) -> DoubleWord:
    """Split an array of at most a few dozens, such that the square of hi is exact."""
    if is_uncompensated(xp):
        return DoubleWord(xp, a)
    scale = 2.0**8 if a.dtype == xp.float32 else 2.0**20
    hi = xp.round(a * scale) * (1 / scale)
    return DoubleWord(xp, hi, a - hi)
