"""The functions of ``tf_keras.activations``, Keras 2, for arrays of any library.

`leaky_relu` and `thresholded_relu`, which Keras 2 has only as layers, are functions here with the
defaults of the layers.
"""

from __future__ import annotations

from .. import functions as ax
from .._parameters import ArrayOrNumber, Axes
from .._typing import A
from .keras import (
    elu,
    exponential,
    gelu,
    linear,
    mish,
    selu,
    sigmoid,
    softplus,
    softsign,
    swish,
    tanh,
)

__all__ = [
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
    "thresholded_relu",
]


def hard_sigmoid(x: A) -> A:
    """Return 0.2*x + 0.5 clipped to [0, 1].

    Keras 3 has the slope 1/6.
    """
    return ax.hard_sigmoid(x, 0.2)


def leaky_relu(x: A, alpha: ArrayOrNumber = 0.3) -> A:
    """Return x where it is positive, and alpha*x elsewhere."""
    return ax.leaky_relu(x, alpha)


def relu(
    x: A,
    alpha: ArrayOrNumber = 0.0,
    max_value: ArrayOrNumber | None = None,
    threshold: ArrayOrNumber = 0.0,
) -> A:
    """Return x from `threshold` on, and alpha*(x - threshold) below.

    The result is at most `max_value`.
    """
    return ax.relu(x, alpha, max_value, threshold)


def softmax(x: A, axis: Axes = -1) -> A:
    """Return exp(x)/sum(exp(x)) along `axis` of an x of 2 dimensions or more."""
    y = ax.softmax(x, axis)
    if len(x.shape) < 2:
        raise ValueError(f"softmax: x must have 2 dimensions or more, got {len(x.shape)}")
    return y


def thresholded_relu(x: A, theta: ArrayOrNumber = 1.0) -> A:
    """Return x where it exceeds `theta`, and 0 elsewhere."""
    return ax.thresholded_relu(x, theta)
