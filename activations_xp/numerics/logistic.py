"""Products with the logistic function and with exponentials, without overflow or lost digits.

An argument t of an exponential may be an array or a `DoubleWord`.
"""

from __future__ import annotations

from math import exp, inf
from typing import Any

from .._typing import NUMBER, Array, Namespace
from .double_word import hi_lo, is_fast, is_uncompensated
from .special import EXP_OFFSET

SAFE_EXP_ARG = 80.0
"""exp(SAFE_EXP_ARG) and exp(-SAFE_EXP_ARG) are far from the ends of float32."""

SIGMOID_IS_1_FROM = 40.0
"""From here on log(1 + exp(t)) is t, and sigmoid(t) is 1, to the last digit of float64."""

TANH_IS_LINEAR_TO = 1e-30
"""Up to here tanh(t) and exp(t) - 1 are t to the last digit."""


def is_positive(xp: Namespace, x: Any) -> Any:
    """Return 1 where x > 1e-30 and 0 where x <= 0, in x's dtype, which for JAX may be weak."""
    return xp.minimum(xp.maximum(1e30 * x, 0.0), 1.0)


def x_sigmoid(xp: Namespace, x: Any, t: Any, factor: Any = None, closed: float = -1e-30) -> Any:
    """Return x*sigmoid(t), times the factor.

    Where the sigmoid is 0 the result has the sign of `closed`, also at an infinite x. A further
    factor must be given as `factor`: x*sigmoid(t) may be subnormal where the product is not.
    """
    t, lo = hi_lo(t)
    if is_uncompensated(xp):
        low, high = (-1e30, inf) if is_fast(xp, t) else (-1e300, 1e300)
        x = xp.maximum(x, low)
        y = (x if high == inf else xp.minimum(x, high)) / (1 + xp.exp(-t))
        return y if factor is None else factor * y
    offset, scale = _exp_offset(xp, t)
    power, max_power = -t - offset, 88.0 if t.dtype == xp.float32 else 709.0
    e = xp.exp(xp.minimum(power, max_power))
    if lo is not None:
        e = e - e * lo
    y = xp.where(power < max_power, x, closed) / (scale + e)
    return (y if factor is None else factor * y) * scale


def _exp_offset(xp: Namespace, t: Any) -> tuple[Any, Any]:
    """Return EXP_OFFSET where t < -EXP_OFFSET, else 0, and exp(-offset).

    An exponential of t + offset makes no product of subnormal numbers that is normal itself.
    """
    if is_uncompensated(xp):
        return 0.0, 1.0
    is_low = is_positive(xp, -EXP_OFFSET - t)
    return EXP_OFFSET * is_low, xp.maximum(1 - is_low, exp(-EXP_OFFSET))


def silu_derivative(xp: Namespace, t: Any, w: Any = None, factor: Array | float = 1.0) -> Any:
    """Return factor*(sigmoid(t) + w*sigmoid(t)*sigmoid(-t)), where w is t if it is None."""
    t, lo = hi_lo(t)
    w = xp.minimum(xp.maximum(t, -1e4), SAFE_EXP_ARG) if w is None else w
    if is_uncompensated(xp) and not is_fast(xp, t):  # in which a large w magnifies the rounding
        gate = 1 / (1 + xp.exp(-t))
        return factor * (gate * (1 + w * (1 - gate)))
    offset, scale = _exp_offset(xp, t)
    raised = xp.exp(offset - xp.abs(t))
    e = raised * scale
    # for t > 0 lo does not count beside the 1
    left = (1 + e + w) * (raised if lo is None else raised * (1 + lo))
    dy_dt = xp.where(t > 0, 1 + e + w * e, left)
    if not (isinstance(factor, NUMBER) and factor == 1):
        dy_dt = factor * dy_dt  # dy_dt * scale may be subnormal
    return dy_dt / (1 + e * (2 + e)) * scale


def x_logistic_pdf(xp: Namespace, x: Any, t: Any) -> Any:
    """Return x*sigmoid(t)*sigmoid(-t), which is 0 or -0 where that is 0, also at an infinite x."""
    t, lo = hi_lo(t)
    a = -xp.abs(t)
    if is_uncompensated(xp):
        e = xp.exp(a)
        return finite_where_zero(xp, 1.0, x) * e / ((1 + e) * (1 + e))
    offset, scale = _exp_offset(xp, a)
    raised = xp.exp(a + offset)
    if lo is not None:
        raised = raised * (1 - xp.where(t > 0, lo, -lo))
    e = raised * scale
    return finite_where_zero(xp, raised, x) * raised / (1 + e * (2 + e)) * scale


def clamp_exp_arg(xp: Namespace, t: Any) -> Any:
    """Return t, bounded below such that exp(t) and exp(-t) are far from the ends of the dtype."""
    if is_fast(xp, t):  # where exp(t) may be subnormal
        return t
    return xp.maximum(t, -700.0 if is_uncompensated(xp) else -SAFE_EXP_ARG)


def exp_excess(xp: Namespace, t: Any) -> Any:
    """Return exp(t)/exp(clamp_exp_arg(t)).

    As a factor of its own it keeps exp(-t) from overflowing, and a product with exp(t) from being
    made of subnormal numbers while it is normal itself.
    """
    return 1.0 if is_uncompensated(xp) else xp.exp(xp.minimum(t + SAFE_EXP_ARG, 0.0))


def clamped_exp(xp: Namespace, t: Any, upper: float) -> tuple[Any, Any]:
    """Return exp(t) for t bounded by `clamp_exp_arg` and `upper`, and `exp_excess`."""
    t, lo = hi_lo(t)
    t, excess = xp.minimum(t, upper), exp_excess(xp, t)
    e = xp.exp(t if is_uncompensated(xp) else clamp_exp_arg(xp, t))
    return e if lo is None else e * (1 + lo), excess


def finite_where_zero(xp: Namespace, factor: Any, x: Any) -> Any:
    """Return x, and a finite number where the factor that it is to be multiplied by is 0."""
    if is_uncompensated(xp):
        bound = 1e30 if is_fast(xp, x) else 1e100
        return xp.minimum(xp.maximum(x, -bound), bound)
    return xp.where(factor > 0, x, -1.0)


def x_gate(xp: Namespace, x: Any, gate: Any, excess: Any) -> Any:
    """Return x*gate*excess, which is -0 where the excess is 0, also at an infinite x."""
    if is_fast(xp, x):
        return xp.maximum(x, -1e20) * gate
    return finite_where_zero(xp, excess, x) * gate * excess
