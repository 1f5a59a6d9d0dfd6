"""Functions that pull towards zero."""

from __future__ import annotations

from math import inf
from typing import Any

from .._define import activation, case
from .._parameters import ArrayOrNumber
from .._special import has_spare, shrunk
from .._typing import Array, Namespace
from ..numerics.arrays import ones_like_nan, zeros_like

__all__ = ["hard_shrink", "soft_shrink", "tanh_shrink"]


@activation(
    formula="x - tanh(x)",
    source="PyTorch 2.13, torch.nn.Tanhshrink.",
    ulp=3.0,
    aliases=("tanhshrink",),
    peers={
        "torch": "torch.nn.functional.tanhshrink",
        "keras": "keras.activations.tanh_shrink",
        "tensorflow-addons": "tfa.activations.tanhshrink",
    },
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=1.0,
)
def tanh_shrink(xp: Namespace, x: Array) -> Any:
    """Tanh shrinkage, x - tanh(x), right to the last digits also where both are nearly equal.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.tanh_shrink(np.array([-np.inf, 1e-8, 2.0]))
    array([          -inf, 3.33333333e-25, 1.03597242e+00])
    """
    if has_spare(xp):
        square = x * x
        return xp.where(square < 1e-6, x * square * (1 / 3 - square * (2 / 15)), x - xp.tanh(x))
    near = xp.minimum(xp.maximum(x, -1.0), 1.0)
    core = near * shrunk(xp, near)
    a = xp.abs(x)
    e = xp.exp(-2 * a)  # far out it is |x| - 1 + 2*e/(1 + e), which needs no tanh
    size = (a - 1) + 2 * e / (1 + e)
    return xp.where(a < 1, core, xp.where(x > 0, size, -size))


@tanh_shrink.defderivative
def _(xp, x):
    # the square of tanh(x), whose own error in some libraries counts twice
    e = xp.expm1(-2 * xp.abs(x))
    t = e / (2 + e)
    return t * t


@activation(
    formula="maximum(x - lambd, 0) - maximum(-x - lambd, 0)",
    source="Donoho, De-noising by soft-thresholding, IEEE Transactions on Information Theory 41, "
    "1995.",
    ulp=0.5,
    constraints=("lambd >= 0", "lower <= upper"),
    aliases=("softshrink",),
    cases=(
        case(lambd=2.0),
        case(
            lower=-0.25,
            upper=1.5,
            formula="maximum(x - upper, 0) - maximum(lower - x, 0)",
        ),
    ),
    peers={
        "torch": "torch.nn.functional.softshrink",
        "keras": "keras.activations.soft_shrink",
        "tensorflow-addons": "tfa.activations.softshrink",
        "mlx": "mlx.nn.softshrink",
    },
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=1.0,
    smoothness=0,
    kinks=(-0.5, 0.5),
)
def soft_shrink(
    xp: Namespace,
    x: Array,
    lambd: ArrayOrNumber = 0.5,
    lower: ArrayOrNumber | None = None,
    upper: ArrayOrNumber | None = None,
) -> Any:
    """Soft threshold, x pulled towards 0 by lambd, and 0 where |x| <= lambd.

    Parameters
    ----------
    lambd : number or array, optional
        How far, on either side; at least 0.
    lower : number or array, optional
        The least x that becomes 0; None is -lambd.
    upper : number or array, optional
        The largest x that becomes 0; None is lambd.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.soft_shrink(np.array([-2.0, 0.25, 1.0]))
    array([-1.5,  0. ,  0.5])
    """
    lower, upper = _bounds(lambd, lower, upper)
    return xp.maximum(x - upper, 0.0) - xp.maximum(lower - x, 0.0)


@soft_shrink.defderivative
def _(
    xp,
    x,
    lambd,
    lower,
    upper,
):
    return _outside(xp, x, *_bounds(lambd, lower, upper))


@soft_shrink.defderivative("lambd", "lower", "upper")
def _(
    xp,
    x,
    lambd,
    lower,
    upper,
):
    least, largest = _bounds(lambd, lower, upper)
    below = xp.where(x >= least, 0.0, -ones_like_nan(xp, x))
    above = xp.where(x <= largest, 0.0, -ones_like_nan(xp, x))
    slopes = {"lambd": zeros_like(xp, x)}
    if lower is None:
        slopes["lambd"] = -below
    else:
        slopes["lower"] = below
    if upper is None:
        slopes["lambd"] = slopes["lambd"] + above
    else:
        slopes["upper"] = above
    return slopes


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
        case(
            lower=-0.25,
            upper=1.5,
            formula="where(x > upper, x, where(x < lower, x, 0))",
        ),
    ),
    peers={
        "torch": "torch.nn.functional.hardshrink",
        "keras": "keras.activations.hard_shrink",
        "tensorflow-addons": "tfa.activations.hardshrink",
        "mlx": "mlx.nn.hard_shrink",
    },
    monotonic=True,
    parity="odd",
    fixed_points=(0.0, 1.0, 7.5),
    limits=(-inf, inf),
    zero_centred=True,
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
        The largest |x| that becomes 0; below 0 none does.
    lower : number or array, optional
        The least x that becomes 0; None is -lambd.
    upper : number or array, optional
        The largest x that becomes 0; None is lambd.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.hard_shrink(np.array([-2.0, 0.25, 1.0]))
    array([-2.,  0.,  1.])
    """
    lower, upper = _bounds(lambd, lower, upper)
    return xp.where((x >= lower) & (x <= upper), 0.0, x)


@hard_shrink.defderivative
def _(
    xp,
    x,
    lambd,
    lower,
    upper,
):
    return _outside(xp, x, *_bounds(lambd, lower, upper))


@hard_shrink.defderivative("lambd", "lower", "upper")
def _(
    xp,
    x,
    lambd,
    lower,
    upper,
):
    given = {"lambd": lambd, "lower": lower, "upper": upper}
    return {name: zeros_like(xp, x) for name, value in given.items() if value is not None}


def _bounds(lambd: Any, lower: Any, upper: Any) -> tuple[Any, Any]:
    """From one to the other everything becomes 0."""
    return -lambd if lower is None else lower, lambd if upper is None else upper


def _outside(xp: Namespace, x: Array, lower: Any, upper: Any) -> Any:
    """The derivative of both thresholds: 0 within the bounds and at them, 1 elsewhere."""
    return xp.where((x >= lower) & (x <= upper), 0.0, ones_like_nan(xp, x))
