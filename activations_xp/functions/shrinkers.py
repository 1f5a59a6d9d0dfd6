"""Functions that pull towards zero."""

from __future__ import annotations

from math import inf
from typing import Any

from .._activation import activation, derivative_of
from .._special import SHRINK_32, SHRINK_64, polynomial
from .._typing import Array, Namespace

__all__ = ["tanh_shrink"]


@activation(
    formula="x - tanh(x)",
    source="PyTorch 2.13, torch.nn.Tanhshrink.",
    ulp=4.0,
    aliases=("tanhshrink",),
    elsewhere={
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
    near = xp.minimum(xp.maximum(x, -1.0), 1.0)
    square = near * near
    core = near * square * polynomial(square, SHRINK_32 if x.dtype == xp.float32 else SHRINK_64)
    a = xp.abs(x)
    e = xp.exp(-2 * a)  # far out it is |x| - 1 + 2*e/(1 + e), which needs no tanh
    size = (a - 1) + 2 * e / (1 + e)
    return xp.where(a < 1, core, xp.where(x > 0, size, -size))


@derivative_of(tanh_shrink)
def _(xp: Namespace, x: Array) -> Any:
    # the square of tanh(x), whose own error in some libraries counts twice
    e = xp.expm1(-2 * xp.abs(x))
    t = e / (2 + e)
    return t * t
