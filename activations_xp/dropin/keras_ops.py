"""The activations, norms and encodings of ``keras.ops``, for arrays of any library.

Most are those of ``keras.activations``, but `gelu` and `relu` differ. Where Keras takes
``keras.config.epsilon()``, epsilon is 1e-7.
"""

from __future__ import annotations

from operator import index
from typing import Any, Literal

from numpy.exceptions import AxisError

from .. import functions as ax
from .._dispatch import backend_of
from .._parameters import Axes, BroadcastsWithOrNumber, ChannelArray
from .._typing import A
from ._conventions import axes_of, result_dtype, takes_keras_arrays
from .keras import (
    celu,
    elu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh,
    tanh_shrink,
    threshold,
)

__all__ = [
    "celu",
    "dot_product_attention",
    "elu",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "layer_normalization",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "multi_hot",
    "normalize",
    "one_hot",
    "relu",
    "relu6",
    "rms_normalization",
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

EPSILON = 1e-7


def dot_product_attention(
    query: A,
    key: A,
    value: A,
    bias: A | None = None,
    mask: A | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> A:
    """Return softmax(query @ key.T * scale + bias) @ value.

    The shapes are (batch, length, heads, depth). A query that attends to nothing gives 0.
    `flash_attention` makes no difference. The cap, which turns the scores into
    ``cap * tanh(scores / cap)``, works on every device, in Keras only on a TPU.
    """
    xp = backend_of(query).xp
    result = ax.scaled_dot_product_attention(
        *(xp.permute_dims(x, (0, 2, 1, 3)) for x in (query, key, value)),
        bias=bias,
        mask=mask,
        scale=scale,
        is_causal=bool(is_causal),
        softcap=attn_logits_soft_cap,
    )
    return xp.permute_dims(result, (0, 2, 1, 3))  # type: ignore[no-any-return]


@takes_keras_arrays
def erf(x: A) -> A:
    """Return the error function of x."""
    return ax.erf(x)


@takes_keras_arrays
def erfc(x: A) -> A:
    """Return 1 - erf(x), the complementary error function."""
    return ax.erfc(x)


@takes_keras_arrays
def erfinv(x: A) -> A:
    """Return the inverse of the error function at x."""
    return ax.erfinv(x)


@takes_keras_arrays
def exp(x: A) -> A:
    """Return exp(x)."""
    return ax.exponential(x)


@takes_keras_arrays
def gelu(x: A, approximate: bool = True) -> A:
    """Return x*Phi(x), Phi the standard normal distribution, by default its tanh approximation.

    That is not the default in ``keras.activations``.
    """
    return ax.gelu(x, approximate)


@takes_keras_arrays
def layer_normalization(
    x: A,
    gamma: ChannelArray | None = None,
    beta: ChannelArray | None = None,
    axis: Axes = -1,
    epsilon: float | None = None,
) -> A:
    """Return gamma*(x - mean)/sqrt(variance + epsilon) + beta along `axis`."""
    return ax.layer_norm(x, axis, gamma, beta, EPSILON if epsilon is None else epsilon)


@takes_keras_arrays
def logaddexp(x1: A, x2: BroadcastsWithOrNumber) -> A:
    """Return log(exp(x1) + exp(x2))."""
    return ax.logaddexp(x1, x2)


@takes_keras_arrays
def logsumexp(x: A, axis: Axes = None, keepdims: bool = False) -> A:
    """Return log(sum(exp(x))) along `axis`."""
    return ax.logsumexp(x, axes_of(x, axis), keepdims=keepdims)


@takes_keras_arrays
def multi_hot(
    inputs: A,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: Literal[False] = False,
) -> A:
    """Return a new axis that is 1 at every class among the labels and 0 at the others.

    The labels are along axis 1 of `inputs`, or axis 0 of a vector; the classes are along `axis`.
    """
    if num_classes is None:
        raise ValueError("multi_hot: num_classes must be given")
    label_axis = 1 if getattr(inputs, "ndim", 1) > 1 else 0
    y = _cast_dense(ax.multi_hot(inputs, num_classes, label_axis), dtype, sparse)
    if not -y.ndim <= index(axis) < y.ndim:
        got = f"{axis} is out of range for a result with {y.ndim} dimensions"
        raise AxisError(f"multi_hot: axis {got}")
    return backend_of(y).xp.moveaxis(y, label_axis, axis)  # type: ignore[no-any-return]


@takes_keras_arrays
def normalize(x: A, axis: Axes = -1, order: int = 2, epsilon: float | None = None) -> A:
    """Return x divided by its norm along `axis`, or by `epsilon` if that is larger."""
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"normalize: order must be a positive integer, got {order!r}")
    return ax.normalize(x, axis, order, EPSILON if epsilon is None else epsilon)


@takes_keras_arrays
def one_hot(
    x: A, num_classes: int, axis: int = -1, dtype: Any = None, sparse: Literal[False] = False
) -> A:
    """Return a new axis that is 1 at class x and 0 at the others.

    A value that is no class gives zeros, as in Keras on JAX; on other libraries Keras refuses
    one that is too large.
    """
    return _cast_dense(ax.one_hot(x, num_classes, axis), dtype, sparse)


@takes_keras_arrays
def relu(x: A) -> A:
    """Return max(x, 0)."""
    return ax.relu(x)


@takes_keras_arrays
def rms_normalization(
    x: A, scale: ChannelArray | None = None, axis: Axes = -1, epsilon: float | None = None
) -> A:
    """Return scale*x/sqrt(mean(x*x) + epsilon) along `axis`."""
    return ax.rms_norm(x, axis, scale, EPSILON if epsilon is None else epsilon)


def _cast_dense(y: A, dtype: Any, sparse: bool) -> A:
    if sparse:
        raise ValueError("sparse must be False, the array API standard has no sparse arrays")
    return result_dtype(y, "float32" if dtype is None else dtype)
