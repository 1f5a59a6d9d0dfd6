"""Encodings: classes as vectors of zeros and ones."""

from __future__ import annotations

from typing import Any

from .._define import Peer, activation, case
from .._errors import check_shape
from .._parameters import Axis, Count, NewAxis
from .._typing import Array, Namespace
from ..numerics.arrays import arange, ones_like_nan

__all__ = ["multi_hot", "one_hot"]


@activation(
    formula="where(reshape(x, (-1, 1)) == arange(num_classes), 1, 0)",
    source="JAX 0.10, jax.nn.one_hot.",
    ulp=0.0,
    cases=(case(num_classes=3), case(num_classes=1)),
    peers={
        "torch": Peer("torch.nn.functional.one_hot", note="int64 in and out"),
        "jax": "jax.nn.one_hot",
        "keras": "keras.ops.one_hot",
        "flax": "flax.linen.one_hot",
        "tensorflow": "tf.one_hot",
    },
    output_axis="added",
    compares_integers=True,
    range=(0.0, 1.0),
)
def one_hot(xp: Namespace, x: Array, num_classes: Count, axis: NewAxis = -1) -> Any:
    """One-hot encoding, 1 at class x and 0 at the others.

    An x that is not one of the classes 0 to num_classes - 1 is encoded as zeros.

    Parameters
    ----------
    num_classes : int
        The size of the new axis.
    axis : int, optional
        The position of the new axis in the result.

    >>> ax.one_hot(np.array([0, 2, 3]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 0., 0.]])
    """
    return _is_class(xp, x, num_classes, axis)


@one_hot.defvjp
def _(xp, g, x, num_classes, axis):
    check_shape("one_hot.vjp", "g", g, (*x.shape[:axis], num_classes, *x.shape[axis:]))
    return {"x": 0.0 * ones_like_nan(xp, x)}


@activation(
    formula="max(where(reshape(x, (-1, 1)) == arange(num_classes), 1, 0), axis=0)",
    source="Keras 3.15, keras.ops.multi_hot.",
    ulp=0.0,
    cases=(case(num_classes=3),),
    peers={"keras": "keras.ops.multi_hot"},
    output_axis="resized",
    compares_integers=True,
    range=(0.0, 1.0),
)
def multi_hot(xp: Namespace, x: Array, num_classes: Count, axis: Axis = -1) -> Any:
    """Multi-hot encoding, 1 at every class that x contains along an axis and 0 at the others.

    Parameters
    ----------
    num_classes : int
        The size of the axis in the result.

    >>> ax.multi_hot(np.array([[0, 2], [1, 1]]), 3)
    array([[1., 0., 1.],
           [0., 1., 0.]])
    """
    if x.shape[axis] == 0:
        raise ValueError(f"multi_hot: x must have classes along axis {axis}, got none")
    return xp.max(_is_class(xp, x, num_classes, axis), axis=axis + 1)


@multi_hot.defvjp
def _(xp, g, x, num_classes, axis):
    check_shape("multi_hot.vjp", "g", g, (*x.shape[:axis], num_classes, *x.shape[axis + 1 :]))
    return {"x": 0.0 * ones_like_nan(xp, x)}


def _is_class(xp: Namespace, x: Array, num_classes: int, axis: int) -> Any:
    """Return 1 where x is the index along a new axis, 0 elsewhere, and NaN where x is NaN."""
    classes = xp.reshape(arange(xp, x, num_classes), (-1, *(1,) * (x.ndim - axis)))
    # sums have wider integers, which hold all classes
    x = xp.astype(xp.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])), classes.dtype)
    return xp.where(x != x, x, xp.astype(x == classes, x.dtype))
