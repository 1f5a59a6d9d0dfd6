"""Shrinkers: they move x towards zero."""

from __future__ import annotations

from math import inf
from typing import Any

from .._define import activation, case
from .._parameters import ArrayOrNumber
from .._typing import Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import ones_like_nan, zeros_like
from ..numerics.double_word import is_fast, is_uncompensated
from ..numerics.special import one_minus_tanhc

__all__ = ["hard_shrink", "soft_shrink", "tanh_shrink"]


@activation(
    formula="x - tanh(x)",
    source="PyTorch 2.13, torch.nn.Tanhshrink; in Torch7 since 2013.",
    ulp=3.0,
    aliases=("tanhshrink",),
    layer="torch.nn.Tanhshrink",
    peers={
        "torch": "torch.nn.functional.tanhshrink",
        "keras": "keras.activations.tanh_shrink",
        "tensorflow-addons": "tfa.activations.tanhshrink",
    },
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
)
def tanh_shrink(xp: Namespace, x: Array) -> Any:
    """Tanh shrinkage, x - tanh(x), accurate also where both are nearly equal.

    >>> ax.tanh_shrink(np.array([-np.inf, 1e-8, 2.0]))
    array([          -inf, 3.33333333e-25, 1.03597242e+00])
    """
    if is_fast(xp, x):
        return xp.copysign(x - xp.tanh(x), x)
    if is_uncompensated(xp):
        x2 = x * x
        return xp.where(x2 < 1e-6, x * x2 * (1 / 3 - x2 * (2 / 15)), x - xp.tanh(x))
    clipped = xp.minimum(xp.maximum(x, -1.0), 1.0)
    inner = clipped * one_minus_tanhc(xp, clipped)
    # outside of [-1, 1] it is +-(|x| - tanh|x|), with tanh|x| = 1 - 2*e/(1 + e)
    abs_x = xp.abs(x)
    e = xp.exp(-2 * abs_x)
    outer = (abs_x - 1) + 2 * e / (1 + e)
    return xp.where(abs_x < 1, inner, xp.where(x > 0, outer, -outer))


@tanh_shrink.defderivative
def _(xp, x):
    # tanh(x)**2 by expm1, since squaring doubles the error that tanh has in some libraries
    e = xp.expm1(-2 * xp.abs(x))
    tanh = e / (2 + e)
    return tanh * tanh


@tanh_shrink.defcomplex
def _(xp, x):
    return x - cmath.tanh(xp, x)


@tanh_shrink.defcomplex("derivative")
def _(xp, x):
    tanh = cmath.tanh(xp, x)
    return tanh * tanh


@activation(
    formula="maximum(x - lambd, 0) - maximum(-x - lambd, 0)",
    source="Donoho, De-noising by soft-thresholding, IEEE Transactions on Information Theory 41, "
    "1995.",
    ulp=0.5,
    constraints=("lambd >= 0", "lower <= upper"),
    aliases=("softshrink",),
    cases=(
        case(lambd=2.0),
        case(lower=-0.25, upper=1.5, formula="maximum(x - upper, 0) - maximum(lower - x, 0)"),
    ),
    relatives={"identity": {"lambd": 0.0}, "relu": {"lower": -inf, "upper": 0.0}},
    layer="torch.nn.Softshrink",
    peers={
        "torch": "torch.nn.functional.softshrink",
        "keras": "keras.activations.soft_shrink",
        "tensorflow-addons": "tfa.activations.softshrink",
        "mlx": "mlx.nn.softshrink",
    },
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
    kinks=(-0.5, 0.5),
)
def soft_shrink(
    xp: Namespace,
    x: Array,
    lambd: ArrayOrNumber = 0.5,
    lower: ArrayOrNumber | None = None,
    upper: ArrayOrNumber | None = None,
) -> Any:
    """Soft threshold, x moved towards 0 by lambd, and 0 where |x| <= lambd.

    Parameters
    ----------
    lambd : number or array, optional
        The distance, at least 0.
    lower : number or array, optional
        The smallest x that becomes 0. None means -lambd.
    upper : number or array, optional
        The largest x that becomes 0. None means lambd.

    >>> ax.soft_shrink(np.array([-2.0, 0.25, 1.0]))
    array([-1.5,  0. ,  0.5])
    """
    lower, upper = _bounds(lambd, lower, upper)
    return xp.maximum(x - upper, 0.0) - xp.maximum(lower - x, 0.0)


@soft_shrink.defderivative
def _(xp, x, lambd, lower, upper):
    return _outside(xp, x, *_bounds(lambd, lower, upper))


@soft_shrink.defderivative("lambd", "lower", "upper")
def _(xp, x, lambd, lower, upper):
    from_lower, to_upper = _bounds(lambd, lower, upper)
    dy_dlower = xp.where(x >= from_lower, 0.0, -ones_like_nan(xp, x))
    dy_dupper = xp.where(x <= to_upper, 0.0, -ones_like_nan(xp, x))
    derivatives = {"lambd": zeros_like(xp, x)}
    if lower is None:
        derivatives["lambd"] = -dy_dlower
    else:
        derivatives["lower"] = dy_dlower
    if upper is None:
        derivatives["lambd"] = derivatives["lambd"] + dy_dupper
    else:
        derivatives["upper"] = dy_dupper
    return derivatives


@activation(
    formula="where(abs(x) > lambd, x, 0)",
    source="Donoho & Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81, "
    "1994.",
    ulp=0.0,
    constraints=("lower <= upper",),
    aliases=("hardshrink",),
    cases=(
        case(lambd=2.0),
        case(lambd=-1.0, formula="x"),
        case(lower=-0.25, upper=1.5, formula="where(x > upper, x, where(x < lower, x, 0))"),
    ),
    relatives={"identity": {"lambd": 0.0}, "relu": {"lower": -inf, "upper": 0.0}},
    layer="torch.nn.Hardshrink",
    peers={
        "torch": "torch.nn.functional.hardshrink",
        "keras": "keras.activations.hard_shrink",
        "tensorflow-addons": "tfa.activations.hardshrink",
        "mlx": "mlx.nn.hard_shrink",
    },
    monotonic=True,
    parity="odd",
    fixed_points=(0.0, 1.0, 7.5),
    smoothness=-1,
    kinks=(-0.5, 0.5),
)
def hard_shrink(
    xp: Namespace,
    x: Array,
    lambd: ArrayOrNumber = 0.5,
    lower: ArrayOrNumber | None = None,
    upper: ArrayOrNumber | None = None,
) -> Any:
    """Hard threshold, x where |x| > lambd, 0 elsewhere.

    Parameters
    ----------
    lambd : number or array, optional
        The largest |x| that becomes 0. If it is negative, none does.
    lower : number or array, optional
        The smallest x that becomes 0. None means -lambd.
    upper : number or array, optional
        The largest x that becomes 0. None means lambd.

    >>> ax.hard_shrink(np.array([-2.0, 0.25, 1.0]))
    array([-2.,  0.,  1.])
    """
    lower, upper = _bounds(lambd, lower, upper)
    return xp.where((x >= lower) & (x <= upper), 0.0, x)


@hard_shrink.defderivative
def _(xp, x, lambd, lower, upper):
    return _outside(xp, x, *_bounds(lambd, lower, upper))


@hard_shrink.defderivative("lambd", "lower", "upper")
def _(xp, x, lambd, lower, upper):
    given = {"lambd": lambd, "lower": lower, "upper": upper}
    return {name: zeros_like(xp, x) for name, value in given.items() if value is not None}


def _bounds(lambd: Any, lower: Any, upper: Any) -> tuple[Any, Any]:
    """Return the bounds of the interval that becomes 0."""
    return -lambd if lower is None else lower, lambd if upper is None else upper


def _outside(xp: Namespace, x: Array, lower: Any, upper: Any) -> Any:
    """Return the derivative of both thresholds: 0 within and at the bounds, 1 elsewhere."""
    return xp.where((x >= lower) & (x <= upper), 0.0, ones_like_nan(xp, x))
