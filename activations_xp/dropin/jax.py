"""``jax.nn``: its functions under its names, with its signatures, for arrays of any library.

The derivative at a kink is the package's where JAX has another one: that of `leaky_relu` at 0, of
`hard_tanh` at -1 and 1, and of `sparse_sigmoid` at -1 and 1.
"""

from __future__ import annotations

from typing import Any, Literal, overload

from .. import functions as ax
from .._parameters import Axes, Mask, Scalar
from .._typing import A
from ._conventions import raising, result_dtype

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log1mexp",
    "log_sigmoid",
    "log_softmax",
    "logmeanexp",
    "logsumexp",
    "mish",
    "one_hot",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "standardize",
    "swish",
    "tanh",
]


class BadValueError(ValueError, AssertionError):
    """An axis that has no halves, for which JAX has an assertion."""


def celu(x: A, alpha: Scalar = 1.0) -> A:
    return ax.celu(x, alpha)


def elu(x: A, alpha: Scalar = 1.0) -> A:
    return ax.elu(x, alpha)


def gelu(x: A, approximate: bool = True) -> A:
    """The tanh form unless told otherwise; JAX loses its tail, and its float16 and bfloat16."""
    return ax.gelu(x, approximate)


@raising(BadValueError)
def glu(x: A, axis: int = -1) -> A:
    return ax.glu(x, axis)


def hard_sigmoid(x: A) -> A:
    return ax.hard_sigmoid(x)


def hard_silu(x: A) -> A:
    return ax.hard_swish(x)


hard_swish = hard_silu


def hard_tanh(x: A) -> A:
    return ax.hard_tanh(x)


def identity(x: A) -> A:
    return ax.identity(x)


def leaky_relu(x: A, negative_slope: Scalar = 0.01) -> A:
    return ax.leaky_relu(x, negative_slope)


def log1mexp(x: A) -> A:
    return ax.log1mexp(x)


def log_sigmoid(x: A) -> A:
    return ax.log_sigmoid(x)


def log_softmax(x: A, axis: Axes = -1, where: Mask | None = None) -> A:
    return ax.log_softmax(x, axis, where)


def logmeanexp(x: A, axis: Axes = None, where: Mask | None = None, keepdims: bool = False) -> A:
    return ax.logmeanexp(x, axis=axis, where=where, keepdims=keepdims)


@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: Scalar | None = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
    where: Mask | None = None,
) -> A: ...
@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: Scalar | None = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
    where: Mask | None = None,
) -> tuple[A, A]: ...
def logsumexp(
    a: Any,
    axis: Axes = None,
    b: Scalar | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Mask | None = None,
) -> Any:
    return ax.logsumexp(a, axis, b, keepdims, return_sign, where)


def mish(x: A) -> A:
    return ax.mish(x)


def one_hot(x: A, num_classes: int, *, dtype: Any = None, axis: int = -1) -> A:
    return result_dtype(ax.one_hot(x, num_classes, axis), dtype)


def relu(x: A) -> A:
    return ax.relu(x)


def relu6(x: A) -> A:
    return ax.relu6(x)


def selu(x: A) -> A:
    return ax.selu(x)


def sigmoid(x: A) -> A:
    return ax.sigmoid(x)


def silu(x: A) -> A:
    return ax.silu(x)


swish = silu


def soft_sign(x: A) -> A:
    return ax.softsign(x)


def softmax(x: A, axis: Axes = -1, where: Mask | None = None) -> A:
    return ax.softmax(x, axis, where)


def softplus(x: A) -> A:
    return ax.softplus(x)


def sparse_plus(x: A) -> A:
    return ax.sparse_plus(x)


def sparse_sigmoid(x: A) -> A:
    return ax.sparse_sigmoid(x)


def squareplus(x: A, b: Scalar = 4) -> A:
    """JAX's is 0 for x far below 0, and overflows for x far from it; this one does neither."""
    return ax.squareplus(x, b)


def standardize(
    x: A,
    axis: Axes = -1,
    mean: Scalar | None = None,
    variance: Scalar | None = None,
    epsilon: float = 1e-5,
    where: Mask | None = None,
    *,
    algorithm: Literal["fast", "stable"] = "fast",
) -> A:
    """In two passes, whatever `algorithm`, for "fast" loses the digits of an x far from 0.

    What `where` leaves out is 0; JAX gives it a score.
    """
    if algorithm not in ("fast", "stable"):
        raise ValueError(f"standardize: algorithm must be 'fast' or 'stable', got {algorithm!r}")
    return ax.standardize(x, axis, mean, variance, epsilon, where)


def tanh(x: A, /) -> A:
    return ax.tanh(x)
