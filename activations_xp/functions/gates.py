"""Functions that make fewer channels of many."""

from __future__ import annotations

from typing import Any

from .._activation import activation, variant
from .._parameters import Axis, Count
from .._typing import Array, Namespace

__all__ = ["maxout"]


@activation(
    formula="max(reshape(x, (-1, num_units)), axis=0)",
    source="Goodfellow et al., Maxout networks, arXiv:1302.4389.",
    ulp=0.0,
    variants=(variant(num_units=2), variant(num_units=1)),
    elsewhere={"tensorflow-addons": "tfa.layers.Maxout"},
    axis="reduced",
)
def maxout(xp: Namespace, x: Array, num_units: Count, axis: Axis = -1) -> Any:
    """Maxout, the largest of the channels of each unit.

    Unit j takes the channels j, j + num_units, j + 2*num_units, ... of the axis, the grouping of
    TensorFlow Addons.

    Parameters
    ----------
    num_units : int
        The size of the axis in the result; it divides the size in x.
    axis : int, optional
        The axis with the channels.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.maxout(np.array([1.0, 5.0, 3.0, 4.0]), num_units=2)
    array([3., 5.])
    """
    size = x.shape[axis]
    if size == 0 or size % num_units:
        raise ValueError(
            f"maxout: num_units must divide the size of axis {axis}, got {num_units} for {size}"
        )
    pieces = (*x.shape[:axis], size // num_units, num_units, *x.shape[axis + 1 :])
    return xp.max(xp.reshape(x, pieces), axis=axis)
