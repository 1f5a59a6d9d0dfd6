"""``keras.ops``: its activations, norms and encodings, for arrays of any library.

Most are those of ``keras.activations``; `gelu` and `relu` are not. Where Keras leaves it to
``keras.config.epsilon()``, epsilon is 1e-7.
"""

from __future__ import annotations

from typing import Any, Literal

from .. import functions as ax
from .._dispatch import namespace
from .._parameters import Axes, Operand, Weight
from .._typing import A
from ._conventions import result_dtype
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
    """What attends to nothing gets 0. `flash_attention` makes no difference, and the cap, which is
    ``cap * tanh(scores / cap)``, is not for JAX on a TPU alone.
    """
    xp = namespace(query)
    result = ax.scaled_dot_product_attention(
        *(xp.permute_dims(x, (0, 2, 1, 3)) for x in (query, key, value)),
        bias=bias,
        mask=mask,
        scale=scale,
        is_causal=bool(is_causal),
        softcap=attn_logits_soft_cap,
    )
    return xp.permute_dims(result, (0, 2, 1, 3))  # type: ignore[no-any-return]


def erf(x: A) -> A:
    return ax.erf(x)


def erfc(x: A) -> A:
    return ax.erfc(x)


def erfinv(x: A) -> A:
    return ax.erfinv(x)


def exp(x: A) -> A:
    return ax.exponential(x)


def gelu(x: A, approximate: bool = True) -> A:
    """The tanh form unless told otherwise, which is not the default in ``keras.activations``."""
    return ax.gelu(x, approximate)


def layer_normalization(
    x: A,
    gamma: Weight | None = None,
    beta: Weight | None = None,
    axis: Axes = -1,
    epsilon: float | None = None,
) -> A:
    return ax.layer_norm(x, axis, gamma, beta, EPSILON if epsilon is None else epsilon)


def logaddexp(x1: A, x2: Operand) -> A:
    return ax.logaddexp(x1, x2)


def logsumexp(x: A, axis: Axes = None, keepdims: bool = False) -> A:
    return ax.logsumexp(x, axis, keepdims=keepdims)


def multi_hot(
    inputs: A,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: Literal[False] = False,
) -> A:
    """Of the labels along axis 1, or 0 if there is no other; `axis` is that of the classes."""
    if num_classes is None:
        raise ValueError("multi_hot: num_classes must be given")
    labels = 1 if getattr(inputs, "ndim", 1) > 1 else 0
    y = _encoded(ax.multi_hot(inputs, num_classes, labels), dtype, sparse)
    return namespace(y).moveaxis(y, labels, axis)  # type: ignore[no-any-return]


def normalize(x: A, axis: Axes = -1, order: int = 2, epsilon: float | None = None) -> A:
    return ax.normalize(x, axis, order, EPSILON if epsilon is None else epsilon)


def one_hot(
    x: A, num_classes: int, axis: int = -1, dtype: Any = None, sparse: Literal[False] = False
) -> A:
    """Zeros for what is no class, as Keras has it on JAX; elsewhere it only takes what is below."""
    return _encoded(ax.one_hot(x, num_classes, axis), dtype, sparse)


def relu(x: A) -> A:
    return ax.relu(x)


def rms_normalization(
    x: A, scale: Weight | None = None, axis: Axes = -1, epsilon: float | None = None
) -> A:
    return ax.rms_norm(x, axis, scale, EPSILON if epsilon is None else epsilon)


def _encoded(y: A, dtype: Any, sparse: bool) -> A:
    if sparse:
        raise ValueError("sparse must be False, for the standard knows no sparse array")
    return result_dtype(y, "float32" if dtype is None else dtype)
