"""``keras.activations`` of Keras 3: its functions under its names, for arrays of any library.

`keras_ops` has those of ``keras.ops``, some of which have other defaults, and `keras2` those of
Keras 2. A NaN stays one, also in the thresholds and shrinkers.
"""

from __future__ import annotations

from .. import functions as ax
from .._parameters import Axes, Scalar
from .._typing import A
from ._conventions import raising

__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]


class BadValueError(ValueError, RuntimeError, AssertionError):
    """A bad value for which each of Keras's backends has an error of its own."""


@raising(BadValueError)
def celu(x: A, alpha: Scalar = 1.0) -> A:
    return ax.celu(x, alpha)


def elu(x: A, alpha: Scalar = 1.0) -> A:
    return ax.elu(x, alpha)


def exponential(x: A) -> A:
    return ax.exponential(x)


def gelu(x: A, approximate: bool = False) -> A:
    return ax.gelu(x, approximate)


@raising(BadValueError)
def glu(x: A, axis: int = -1) -> A:
    return ax.glu(x, axis)


def hard_shrink(x: A, threshold: Scalar = 0.5) -> A:
    return ax.hard_shrink(x, threshold)


def hard_sigmoid(x: A) -> A:
    return ax.hard_sigmoid(x)


def hard_silu(x: A) -> A:
    return ax.hard_swish(x)


hard_swish = hard_silu


def hard_tanh(x: A) -> A:
    return ax.hard_tanh(x)


def leaky_relu(x: A, negative_slope: Scalar = 0.2) -> A:
    """A slope above 1 is a slope too; Keras on NumPy takes the other line then."""
    return ax.leaky_relu(x, negative_slope)


def linear(x: A) -> A:
    return ax.identity(x)


def log_sigmoid(x: A) -> A:
    return ax.log_sigmoid(x)


def log_softmax(x: A, axis: Axes = -1) -> A:
    return ax.log_softmax(x, axis)


def mish(x: A) -> A:
    return ax.mish(x)


def relu(
    x: A,
    negative_slope: Scalar = 0.0,
    max_value: Scalar | None = None,
    threshold: Scalar = 0.0,
) -> A:
    return ax.relu(x, negative_slope, max_value, threshold)


def relu6(x: A) -> A:
    return ax.relu6(x)


def selu(x: A) -> A:
    return ax.selu(x)


def sigmoid(x: A) -> A:
    return ax.sigmoid(x)


def silu(x: A) -> A:
    return ax.silu(x)


swish = silu


@raising(BadValueError)
def soft_shrink(x: A, threshold: Scalar = 0.5) -> A:
    return ax.soft_shrink(x, threshold)


def softmax(x: A, axis: Axes = -1) -> A:
    return ax.softmax(x, axis)


def softplus(x: A) -> A:
    return ax.softplus(x)


def softsign(x: A) -> A:
    return ax.softsign(x)


def sparse_plus(x: A) -> A:
    return ax.sparse_plus(x)


def sparse_sigmoid(x: A) -> A:
    return ax.sparse_sigmoid(x)


def sparsemax(x: A, axis: int = -1) -> A:
    """Weights that sum to 1; those of Keras 3.15 do not where more than one is left."""
    return ax.sparsemax(x, axis)


def squareplus(x: A, b: Scalar = 4) -> A:
    """Keras's is 0 for x far below 0, and overflows for x far from it; this one does neither."""
    return ax.squareplus(x, b)


def tanh(x: A) -> A:
    return ax.tanh(x)


def tanh_shrink(x: A) -> A:
    """Keras's loses its digits near 0."""
    return ax.tanh_shrink(x)


def threshold(x: A, threshold: Scalar, default_value: Scalar) -> A:
    return ax.threshold(x, threshold, default_value)
