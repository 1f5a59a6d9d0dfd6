"""``jax.nn``: its functions under its names, with its signatures, for arrays of any library.

The derivative at a kink is the package's where JAX has another one: that of `leaky_relu` at 0, of
`hard_tanh` at -1 and 1, and of `sparse_sigmoid` at -1 and 1.
"""

from __future__ import annotations

from functools import reduce
from math import inf
from operator import and_
from typing import Any, Literal, overload

from .. import functions as ax
from .._dispatch import namespace
from .._parameters import Axes, Mask, Scalar
from .._special import arange
from .._typing import A
from ._conventions import raising, result_dtype

__all__ = [
    "celu",
    "dot_product_attention",
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


def dot_product_attention(
    query: A,
    key: A,
    value: A,
    bias: A | None = None,
    mask: A | None = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: A | None = None,
    key_value_seq_lengths: A | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: Literal["xla", "cudnn"] | None = None,
    return_residual: bool = False,
) -> Any:
    """What attends to nothing gets 0, where JAX has the mean of all values.

    The weights are computed in the query's dtype, where JAX's are in float32. `implementation`
    makes no difference. The residual takes the memory of all scores, and has a gradient.
    """
    if implementation not in (None, "xla", "cudnn"):
        got = f"None, 'xla' or 'cudnn', got {implementation!r}"
        raise ValueError(f"dot_product_attention: implementation must be {got}")
    xp, shape = namespace(query), query.shape
    arrays: Any = (query, key, value)
    if len(shape) == 3:
        arrays = [x[None, ...] for x in arrays]
    q, k, v = (xp.permute_dims(x, (0, 2, 1, 3)) for x in arrays)
    wide = xp.astype(q, xp.float32)
    i, j = arange(xp, wide, q.shape[2])[:, None], arange(xp, wide, k.shape[2])
    masks = [] if mask is None else [mask]
    if local_window_size is not None:
        window: Any = local_window_size
        left, right = (window, window) if isinstance(window, int) else window
        masks.append((i - left <= j) & (j <= i + right))
    for lengths, places in ((query_seq_lengths, i), (key_value_seq_lengths, j)):
        if lengths is not None:
            masks.append(places < xp.astype(lengths, xp.float32)[:, None, None, None])
    given: dict[str, Any] = {"mask": reduce(and_, masks) if masks else None, "bias": bias}
    result = ax.scaled_dot_product_attention(
        q, k, v, **given, is_causal=bool(is_causal), scale=scale
    )
    result = xp.reshape(xp.permute_dims(result, (0, 2, 1, 3)), (*shape[:-1], v.shape[-1]))
    if not return_residual:
        return result
    scores = _scores(xp, q, k, scale, bias, [*masks, *([j <= i] if is_causal else [])])
    residual = xp.permute_dims(ax.logsumexp(scores, -1), (0, 2, 1))
    return result, xp.reshape(residual, shape[:-1])


def _scores(xp: Any, query: Any, key: Any, scale: float | None, bias: Any, masks: Any) -> Any:
    """What `dot_product_attention` takes the softmax of."""
    batch, heads, time, depth = query.shape
    of_key = key.shape[1]
    grouped = xp.reshape(query, (batch, of_key, heads // of_key, time, depth))
    scores = xp.matmul(grouped, xp.permute_dims(key, (0, 1, 3, 2))[:, :, None, :, :])
    scores = xp.reshape(scores, (batch, heads, time, key.shape[2]))
    scores = scores * (depth**-0.5 if scale is None else scale)
    scores = scores if bias is None else scores + bias
    return xp.where(reduce(and_, masks), scores, -inf) if masks else scores


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
