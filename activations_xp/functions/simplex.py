"""Functions that turn a slice along an axis into weights that sum to 1."""

from __future__ import annotations

from math import inf
from typing import Any

from .._activation import activation
from .._parameters import Axes, Mask
from .._typing import Array, Namespace

__all__ = ["log_softmax", "softmax"]


@activation(
    formula="exp(x) / sum(exp(x))",
    source="Bridle, Probabilistic interpretation of feedforward classification network outputs, "
    "1990.",
    ulp=64.0,
    presets={"softmax2d": {"axis": -3}},
    elsewhere={
        "torch": "torch.nn.functional.softmax (dim=None)",
        "jax": "jax.nn.softmax",
        "keras": "keras.activations.softmax",
        "scipy": "scipy.special.softmax (axis=None)",
        "tensorflow": "tf.nn.softmax",
        "mlx": "mlx.nn.softmax",
    },
    axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def softmax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Softmax, exp(x)/sum(exp(x)) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.softmax(np.zeros((2, 2)), where=np.array([[True, True], [False, False]]))
    array([[0.5, 0.5],
           [0. , 0. ]])
    """
    if 0 in x.shape:
        return x
    e = xp.exp(_shifted(xp, x, axis, where))
    return e / _sum_or_one(xp, e, axis)


@activation(
    formula="x - log(sum(exp(x)))",
    source="Bridle, Probabilistic interpretation of feedforward classification network outputs, "
    "1990.",
    ulp=8.0,
    elsewhere={
        "torch": "torch.nn.functional.log_softmax (dim=None)",
        "jax": "jax.nn.log_softmax",
        "keras": "keras.activations.log_softmax",
        "scipy": "scipy.special.log_softmax (axis=None)",
        "tensorflow": "tf.nn.log_softmax",
        "mlx": "mlx.nn.log_softmax",
    },
    axis="kept",
    range=(-inf, 0.0),
)
def log_softmax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Logarithm of the softmax, x - log(sum(exp(x))) along an axis.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The axis or axes to sum over; None is all of them.
    where : boolean array, optional
        True takes part. The others get -inf and no gradient, whatever they hold; so does a slice
        of which nothing takes part.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.log_softmax(np.zeros(2))
    array([-0.69314718, -0.69314718])
    """
    if 0 in x.shape:
        return x
    shifted = _shifted(xp, x, axis, where)
    return shifted - xp.log(_sum_or_one(xp, xp.exp(shifted), axis))


def _shifted(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    """X less its largest element along the axis; -inf where masked and where nothing takes part."""
    if where is not None:
        x = xp.where(where, x, -inf)
    top = xp.max(x, axis=axis, keepdims=True)
    return x - xp.where(top == -inf, 0.0, top)


def _sum_or_one(xp: Namespace, e: Array, axis: Axes) -> Any:
    total = xp.sum(e, axis=axis, keepdims=True)
    return xp.where(total == 0, 1.0, total)
