"""Elementary functions of complex arrays, without overflow of intermediate results."""

from __future__ import annotations

from math import factorial, inf, nan, pi, sqrt
from typing import Any

from .._typing import NUMBER, Array, Namespace
from .arrays import clip_to_finite, one_where_zero
from .coefficients import FADDEEVA, FADDEEVA_SCALE
from .double_word import fast_two_sum, two_diff, two_prod
from .special import polynomial


def make_complex(xp: Namespace, real: Any, imag: Any) -> Any:
    """Return the complex array with these parts."""
    if hasattr(xp, "complex"):
        return xp.complex(real, imag)
    turned = xp.where(xp.abs(imag) < inf, imag, 0.0) * 1j  # other products with 1j are NaN
    for is_value, value in ((imag == inf, inf), (imag == -inf, -inf), (imag != imag, nan)):
        turned = xp.where(is_value, complex(0.0, value), turned)
    return real + turned


def modulus(xp: Namespace, z: Array) -> Any:
    """Return abs(z)."""
    return xp.hypot(xp.real(z), xp.imag(z))


def scale(xp: Namespace, factor: Any, z: Array) -> Any:
    """Return factor*z; the product of complex numbers makes NaN of an infinite part of z."""
    if isinstance(factor, NUMBER):
        return make_complex(xp, factor * xp.real(z), factor * xp.imag(z))
    return factor * z


def add(xp: Namespace, z: Array, w: Array) -> Any:
    """Return z + w; PyTorch's sum makes NaN of infinite parts."""
    return make_complex(xp, xp.real(z) + xp.real(w), xp.imag(z) + xp.imag(w))


def clip_parts(xp: Namespace, z: Array, bound: float = inf) -> Any:
    """Return z with finite parts of magnitude `bound` at most."""
    parts = [clip_to_finite(xp, part) for part in (xp.real(z), xp.imag(z))]
    if bound < inf:
        parts = [xp.minimum(xp.maximum(part, -bound), bound) for part in parts]
    return make_complex(xp, *parts)


def reciprocal(xp: Namespace, z: Array) -> Any:
    """Return 1/z, which is 0 where z is infinite, and 1 at 0."""
    is_infinite = modulus(xp, z) == inf
    return xp.where(is_infinite, 0.0, 1 / xp.where(is_infinite, 1.0, one_where_zero(xp, z)))


def polar(xp: Namespace, z: Array) -> tuple[Any, Any]:
    """Return abs(z), as a finite number, and z/abs(z), which is 0 at 0."""
    x, y = clip_to_finite(xp, xp.real(z)), clip_to_finite(xp, xp.imag(z))
    largest = xp.maximum(xp.abs(x), xp.abs(y))
    scale = one_where_zero(xp, largest)
    x, y = x / scale, y / scale
    r = one_where_zero(xp, xp.hypot(x, y))
    return clip_to_finite(xp, largest * r), make_complex(xp, x / r, y / r)


def wrap_angle(xp: Namespace, z: Array) -> Any:
    """Return z with an imaginary part from -pi to pi, less a multiple of 2*pi: a principal value.

    An infinite imaginary part becomes NaN.
    """
    angle = xp.imag(z)
    turns = xp.round(angle * (0.5 / pi))
    return make_complex(xp, xp.real(z), angle - 2 * pi * turns)


def turn_finite(xp: Namespace, z: Array) -> Any:
    """Return z with an imaginary part of 0 where it is not finite, but exp(z) is 0."""
    x, y = xp.real(z), xp.imag(z)
    return make_complex(xp, x, xp.where((x == -inf) & ~xp.isfinite(y), 0.0, y))


def expm1(xp: Namespace, z: Array) -> Any:
    """Return exp(z) - 1."""
    z = turn_finite(xp, z)
    x, y = xp.real(z), xp.imag(z)
    half = xp.sin(0.5 * y)
    return make_complex(xp, xp.expm1(x) * xp.cos(y) - 2 * half * half, xp.exp(x) * xp.sin(y))


def log1p(xp: Namespace, z: Array) -> Any:
    """Return log(1 + z) for abs(z) <= 1."""
    x, y = xp.real(z), xp.imag(z)
    size = xp.hypot(1 + x, y)
    is_small = size < 0.5
    square = xp.where(is_small, 0.0, x * (2 + x) + y * y)
    log = xp.where(is_small, xp.log(xp.where(is_small, size, 1.0)), 0.5 * xp.log1p(square))
    return make_complex(xp, log, xp.atan2(y, 1 + x))


def exp_neg(xp: Namespace, z: Array) -> tuple[Any, Any]:
    """Return whether z has no negative real part, and exp(-z) if so, else exp(z).

    An exponential of modulus 1 at most does not overflow.
    """
    is_right = xp.real(z) >= 0
    return is_right, xp.exp(turn_finite(xp, xp.where(is_right, -z, z)))


def sigmoid(xp: Namespace, z: Array) -> Any:
    """Return 1/(1 + exp(-z))."""
    is_right, e = exp_neg(xp, z)
    return xp.where(is_right, 1.0, e) / (1 + e)


def sigmoid_derivative(xp: Namespace, z: Array) -> Any:
    """Return sigmoid(z)*sigmoid(-z)."""
    _, e = exp_neg(xp, z)
    return e / ((1 + e) * (1 + e))


def z_sigmoid_derivative(xp: Namespace, t: Array, w: Array) -> Any:
    """Return sigmoid(t) + w*sigmoid(t)*sigmoid(-t), the derivative of z*sigmoid(t) for w = z*t'."""
    return sigmoid(xp, t) + clip_parts(xp, w) * sigmoid_derivative(xp, t)


def z_sigmoid(xp: Namespace, z: Array, t: Array) -> Any:
    """Return z*sigmoid(t), which is z or 0 where the real part of t is infinite."""
    is_right, e = exp_neg(xp, t)
    return z_gate(xp, z, is_right, e / (1 + e))


def z_gate(xp: Namespace, z: Array, is_right: Array, tail: Array) -> Any:
    """Return z*(1 - tail) on the right and z*tail elsewhere, also where z is infinite."""
    rest = clip_parts(xp, z) * tail
    return xp.where(is_right, z - rest, rest)


def log1p_exp(xp: Namespace, z: Array) -> Any:
    """Return the principal value of log(1 + exp(z))."""
    is_right, e = exp_neg(xp, z)
    return wrap_angle(xp, xp.where(is_right, z, 0.0) + log1p(xp, e))


def log_add_exp(xp: Namespace, z: Array, w: Array) -> Any:
    """Return log(exp(z) + exp(w)), with an imaginary part near that of the larger exponential."""
    is_first = xp.real(z) >= xp.real(w)
    larger = xp.where(is_first, z, w)
    size = xp.real(larger)
    is_infinite = xp.abs(size) == inf
    gap = add(xp, xp.where(is_first, w, z), -larger)
    gap = make_complex(xp, xp.where(is_infinite, -inf, xp.real(gap)), xp.imag(gap))
    return xp.where(is_infinite, larger, add(xp, larger, log1p(xp, xp.exp(gap))))


def tanh(xp: Namespace, z: Array) -> Any:
    """Return the hyperbolic tangent of z."""
    is_right = xp.real(z) >= 0
    m = expm1(xp, scale(xp, 2.0, xp.where(is_right, -z, z)))
    return xp.where(is_right, -m, m) / (2 + m)


def sqrt_square_plus(xp: Namespace, z: Array, b: Any) -> Any:
    """Return the principal value of sqrt(z*z + b), without the square of a large z."""
    limit = 2.0**62 if xp.real(z).dtype == xp.float32 else 2.0**510
    is_far = xp.maximum(xp.abs(xp.real(z)), xp.abs(xp.imag(z))) > limit
    near = xp.where(is_far, 0.0, z)
    return xp.where(is_far, xp.where(xp.real(z) >= 0, z, -z), xp.sqrt(near * near + b))


def exp_neg_square(xp: Namespace, z: Array, factor: float = 1.0) -> Any:
    """Return exp(-factor*z*z) with the digits that the rounded square of a large z lacks.

    The factor is a power of 2.
    """
    z = clip_parts(xp, z, 1e15)
    x, y = xp.real(z), xp.imag(z)
    (x2, x2_lo), (y2, y2_lo), (xy, xy_lo) = (
        fast_two_sum(*two_prod(xp, a, b)) for a, b in ((x, x), (y, y), (x, y))
    )
    square, lo = two_diff(x2, y2)
    lo = lo + (x2_lo - y2_lo)
    modulus, angle = xp.exp(-factor * square) * (1 - factor * lo), 2 * factor * xy
    cos, sin, angle_lo = xp.cos(angle), xp.sin(angle), 2 * factor * xy_lo
    return make_complex(xp, modulus * (cos - sin * angle_lo), -modulus * (sin + cos * angle_lo))


def erfcx(xp: Namespace, z: Array) -> Any:
    """Return exp(z*z)*erfc(z) for a real part that is not negative (Weideman)."""
    z = clip_parts(xp, z, 1e15)
    inverse = 1 / (z + FADDEEVA_SCALE)
    series = polynomial((FADDEEVA_SCALE - z) * inverse, FADDEEVA)
    return (2 * series * inverse + 1 / sqrt(pi)) * inverse


def erf(xp: Namespace, z: Array) -> Any:
    """Return the error function of z."""
    is_right, is_near = xp.real(z) >= 0, modulus(xp, z) < 1
    near = xp.where(is_near, z, 0.0)
    far = erfc_right(xp, xp.where(is_right, z, -z))
    return xp.where(
        is_near, near * polynomial(near * near, _ERF), xp.where(is_right, 1 - far, far - 1)
    )


_ERF = tuple(2 / sqrt(pi) * (-1) ** n / (factorial(n) * (2 * n + 1)) for n in range(19))
"""The Taylor series of erf(z)/z in z*z, whose remainder is below 2**-56 for abs(z) <= 1."""


def erfc(xp: Namespace, z: Array) -> Any:
    """Return the complementary error function of z."""
    is_right = xp.real(z) >= 0
    right = erfc_right(xp, xp.where(is_right, z, -z))
    return xp.where(is_right, right, 2 - right)


def erfc_right(xp: Namespace, z: Array) -> Any:
    """Return erfc(z) for a real part that is not negative."""
    return exp_neg_square(xp, z) * erfcx(xp, z)


def mills_ratio(xp: Namespace, z: Array) -> Any:
    """Return the upper tail of the normal distribution over exp(-z*z/2), on the right."""
    return 0.5 * erfcx(xp, scale(xp, sqrt(0.5), z))


def normal_tail(xp: Namespace, z: Array) -> Any:
    """Return the upper tail of the normal distribution, for a real part that is not negative."""
    return exp_neg_square(xp, z, 0.5) * mills_ratio(xp, z)
