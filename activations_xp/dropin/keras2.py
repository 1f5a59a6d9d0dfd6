"""``tf_keras.activations``, Keras 2: its functions under its names, for arrays of any library.

Two that Keras 2 has as layers only, `leaky_relu` and `thresholded_relu`, are functions here, with
the defaults of the layers.
"""

from __future__ import annotations

from .. import functions as ax
from .._parameters import Axes, Scalar
from .._typing import A

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


def elu(x: A, alpha: Scalar = 1.0) -> A:
    return ax.elu(x, alpha)


def exponential(x: A) -> A:
    return ax.exponential(x)


def gelu(x: A, approximate: bool = False) -> A:
    return ax.gelu(x, approximate)


def hard_sigmoid(x: A) -> A:
    """Of slope 0.2, where Keras 3 has 1/6."""
    return ax.hard_sigmoid(x, 0.2)


def leaky_relu(x: A, alpha: Scalar = 0.3) -> A:
    return ax.leaky_relu(x, alpha)


def linear(x: A) -> A:
    return ax.identity(x)


def mish(x: A) -> A:
    return ax.mish(x)


def relu(x: A, alpha: Scalar = 0.0, max_value: Scalar | None = None, threshold: Scalar = 0.0) -> A:
    return ax.relu(x, alpha, max_value, threshold)


def selu(x: A) -> A:
    return ax.selu(x)


def sigmoid(x: A) -> A:
    return ax.sigmoid(x)


def softmax(x: A, axis: Axes = -1) -> A:
    y = ax.softmax(x, axis)
    if x.ndim < 2:
        raise ValueError(f"softmax: x must have 2 dimensions or more, got {x.ndim}")
    return y


def softplus(x: A) -> A:
    return ax.softplus(x)


def softsign(x: A) -> A:
    return ax.softsign(x)


def swish(x: A) -> A:
    return ax.silu(x)


def tanh(x: A) -> A:
    return ax.tanh(x)


def thresholded_relu(x: A, theta: Scalar = 1.0) -> A:
    return ax.thresholded_relu(x, theta)
