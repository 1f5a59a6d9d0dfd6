"""The functions of ``jax.nn``, with their signatures, for arrays of any library.

The derivative at some kinks differs from that of JAX and is that of `activations_xp`: of
`leaky_relu` at 0, of `hard_tanh` at -1 and 1, and of `sparse_sigmoid` at -1 and 1.
"""

from __future__ import annotations

import sys
from functools import reduce
from math import inf
from operator import and_
from typing import Any, Literal, overload

import numpy as np

from .. import functions as ax
from .._dispatch import backend_of, find_backend, is_floating
from .._parameters import ArrayOrNumber, Axes, Mask
from .._typing import A
from ..numerics.arrays import arange, one_where_zero
from ._conventions import in_one_library, promoted, reraise_as, result_dtype, warn_caller

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
    """An axis that has no halves, for which JAX raises an AssertionError."""


def celu(x: A, alpha: ArrayOrNumber = 1.0) -> A:
    """Return x where it is positive, and alpha*(exp(x/alpha) - 1) elsewhere."""
    return ax.celu(*promoted(x, alpha))  # type: ignore[no-any-return]


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
    """Return softmax(query @ key.T * scale + bias) @ value.

    The shapes are (..., length, heads, depth). A query that attends to nothing gives 0, where JAX
    gives the mean of all values. The weights are computed in the query's dtype, where JAX computes
    them in float32. `implementation` makes no difference. With `return_residual` all scores are in
    memory at once; the residual has a gradient.
    """
    if implementation not in (None, "xla", "cudnn"):
        got = f"None, 'xla' or 'cudnn', got {implementation!r}"
        raise ValueError(f"dot_product_attention: implementation must be {got}")
    query, key, value, bias, mask, query_seq_lengths, key_value_seq_lengths = in_one_library(
        query, key, value, bias, mask, query_seq_lengths, key_value_seq_lengths
    )
    xp, shape, dtype = backend_of(query).xp, query.shape, query.dtype
    arrays: Any = (query, key, value)
    if len(shape) == 3:
        arrays = [x[None, ...] for x in arrays]
    q, k, v = (xp.permute_dims(x, (0, 2, 1, 3)) for x in arrays)
    q32 = xp.astype(q, xp.float32)
    i, j = arange(xp, q32, q.shape[2])[None, None, :, None], arange(xp, q32, k.shape[2])
    j = j[None, None, None, :]
    masks = [] if mask is None else [_with_4_axes(mask)]
    bias = bias if bias is None else _with_4_axes(bias)
    if bias is not None and bias.dtype != dtype:
        wide = max(bias.dtype, dtype, key=lambda d: xp.finfo(d).bits)
        q, k, v, bias = (xp.astype(x, wide) for x in (q, k, v, bias))
    if local_window_size is not None:
        window: Any = local_window_size
        left, right = (window, window) if isinstance(window, int) else window
        masks.append((i - left <= j) & (j <= i + right))
    for lengths, positions in ((query_seq_lengths, i), (key_value_seq_lengths, j)):
        if lengths is not None:
            masks.append(positions < xp.astype(lengths, xp.float32)[:, None, None, None])
    given: dict[str, Any] = {"mask": reduce(and_, masks) if masks else None, "bias": bias}
    result = ax.scaled_dot_product_attention(
        q, k, v, **given, is_causal=bool(is_causal), scale=scale
    )
    result = xp.astype(xp.permute_dims(result, (0, 2, 1, 3)), dtype)
    result = xp.reshape(result, (*shape[:-1], v.shape[-1]))
    if not return_residual:
        return result
    scores = _scores(xp, q, k, scale, bias, [*masks, *([j <= i] if is_causal else [])])
    residual = xp.permute_dims(ax.logsumexp(scores, -1), (0, 2, 1))
    return result, xp.reshape(residual, shape[:-1])


def _with_4_axes(x: Any) -> Any:
    """Return a mask or bias, which may lack the axis of the batch, with all four axes."""
    return x[None, ...] if x.ndim == 3 else x


def _scores(xp: Any, query: Any, key: Any, scale: float | None, bias: Any, masks: Any) -> Any:
    """Return the scores of which `dot_product_attention` takes the softmax."""
    batch, heads, q_length, depth = query.shape
    kv_heads, kv_length = key.shape[1:3]
    query = xp.reshape(query, (batch, kv_heads, heads // kv_heads, q_length, depth))
    scores = xp.matmul(query, xp.matrix_transpose(key)[:, :, None, :, :])
    scores = xp.reshape(scores, (batch, heads, q_length, kv_length))
    scores = scores * (depth**-0.5 if scale is None else scale)
    scores = scores if bias is None else scores + bias
    return xp.where(reduce(and_, masks), scores, -inf) if masks else scores


def elu(x: A, alpha: ArrayOrNumber = 1.0) -> A:
    """Return x where it is positive, and alpha*(exp(x) - 1) elsewhere."""
    return ax.elu(*promoted(x, alpha))  # type: ignore[no-any-return]


def gelu(x: A, approximate: bool = True) -> A:
    """Return x*Phi(x), Phi the standard normal distribution, by default its tanh approximation.

    JAX's loses its tail, and in float16 and bfloat16 its digits.
    """
    return ax.gelu(x, approximate)


@reraise_as(BadValueError)
def glu(x: A, axis: int = -1) -> A:
    """Return a*sigmoid(b) for the halves a and b of x along `axis`."""
    return ax.glu(x, axis)


def hard_sigmoid(x: A) -> A:
    """Return (x + 3)/6 clipped to [0, 1]."""
    return ax.hard_sigmoid(x)


def hard_silu(x: A) -> A:
    """Return x times (x + 3)/6 clipped to [0, 1]."""
    return ax.hard_swish(x)


hard_swish = hard_silu


def hard_tanh(x: A) -> A:
    """Return x clipped to [-1, 1]."""
    backend = find_backend(x)
    if backend is not None and backend.isdtype(x, ("integral",)):
        return ax.hard_tanh.impl(backend.xp, x, -1, 1)  # type: ignore[no-any-return]
    return ax.hard_tanh(x)


def identity(x: A) -> A:
    """Return x itself."""
    return ax.identity(x) if find_backend(x) is None else x


def leaky_relu(x: A, negative_slope: ArrayOrNumber = 0.01) -> A:
    """Return x where it is positive, and negative_slope*x elsewhere."""
    return ax.leaky_relu(*promoted(x, negative_slope))  # type: ignore[no-any-return]


def log1mexp(x: A) -> A:
    """Return log(1 - exp(-x))."""
    return ax.log1mexp(x)


def log_sigmoid(x: A) -> A:
    """Return log(sigmoid(x))."""
    return ax.log_sigmoid(x)


def log_softmax(x: A, axis: Axes = -1, where: Mask | None = None) -> A:
    """Return log(softmax(x)) along `axis`."""
    x, where = in_one_library(x, _mask(where))
    return ax.log_softmax(x, axis, where)


def logmeanexp(x: A, axis: Axes = None, where: Mask | None = None, keepdims: bool = False) -> A:
    """Return log(mean(exp(x))) along `axis`."""
    x, where = in_one_library(x, _mask(where))
    return ax.logmeanexp(x, axis=axis, where=where, keepdims=keepdims)


@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: ArrayOrNumber | None = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
    where: Mask | None = None,
) -> A: ...
@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: ArrayOrNumber | None = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
    where: Mask | None = None,
) -> tuple[A, A]: ...
def logsumexp(
    a: Any,
    axis: Axes = None,
    b: ArrayOrNumber | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Mask | None = None,
) -> Any:
    """Return log(sum(b*exp(a))) along `axis`, and its sign if `return_sign`."""
    a, b, where = promoted(a, b, _mask(where))
    return ax.logsumexp(a, axis, b, keepdims, return_sign, where)


def mish(x: A) -> A:
    """Return x*tanh(softplus(x))."""
    return ax.mish(x)


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int = -1) -> Any:
    """Return a new axis that is 1 at class x and 0 at the others, also where x is NaN.

    Lists and Python numbers become arrays of JAX, or of NumPy if JAX was not imported. The result
    has the default floating dtype.
    """
    jax: Any = sys.modules.get("jax")
    if find_backend(x) is None:
        x = (np if jax is None else jax.numpy).asarray(x)
    if jax is not None and isinstance(num_classes, jax.core.Tracer):
        message = "The error arose in jax.nn.one_hot argument `num_classes`."
        raise jax.errors.ConcretizationTypeError(num_classes, message)
    xp = backend_of(x).xp
    if xp.isdtype(x.dtype, "integral"):
        return result_dtype(ax.one_hot(x, num_classes, axis), dtype)
    warn_caller(
        f"jax.nn.one_hot input should be integer-typed; got dtype={x.dtype}", DeprecationWarning
    )
    is_number = x == x
    y = ax.one_hot(xp.where(is_number, x, -1.0), num_classes, axis)
    default = ax.one_hot(xp.astype(xp.reshape(y, (-1,))[:0], xp.int32), 1).dtype
    return result_dtype(y, default if dtype is None else dtype)


def relu(x: A) -> A:
    """Return max(x, 0)."""
    return ax.relu(x)


def relu6(x: A) -> A:
    """Return x clipped to [0, 6]."""
    return ax.relu6(x)


def selu(x: A) -> A:
    """Return 1.0507*elu(x, 1.6733), the scaled exponential linear unit."""
    return ax.selu(x)


def sigmoid(x: A) -> A:
    """Return 1/(1 + exp(-x))."""
    return ax.sigmoid(x)


def silu(x: A) -> A:
    """Return x*sigmoid(x)."""
    return ax.silu(x)


swish = silu


def soft_sign(x: A) -> A:
    """Return x/(1 + abs(x))."""
    return ax.softsign(x)


def softmax(x: A, axis: Axes = -1, where: Mask | None = None) -> A:
    """Return exp(x)/sum(exp(x)) along `axis`."""
    x, where = in_one_library(x, _mask(where))
    return ax.softmax(x, axis, where)


def softplus(x: A) -> A:
    """Return log(1 + exp(x))."""
    return ax.softplus(x)


def sparse_plus(x: A) -> A:
    """Return (x + 1)**2/4 between -1 and 1, 0 below and x above."""
    return ax.sparse_plus(x)


def sparse_sigmoid(x: A) -> A:
    """Return (x + 1)/2 clipped to [0, 1]."""
    return ax.sparse_sigmoid(x)


def squareplus(x: A, b: ArrayOrNumber = 4) -> A:
    """Return (x + sqrt(x*x + b))/2.

    JAX's is 0 for x far below 0 and overflows for x far from it; this one does neither.
    """
    return ax.squareplus(*promoted(x, b))  # type: ignore[no-any-return]


def standardize(
    x: A,
    axis: Axes = -1,
    mean: ArrayOrNumber | None = None,
    variance: ArrayOrNumber | None = None,
    epsilon: float = 1e-5,
    where: Mask | None = None,
    *,
    algorithm: Literal["fast", "stable"] = "fast",
) -> A:
    """Return (x - mean)/sqrt(variance + epsilon) along `axis`.

    There are two passes whatever `algorithm` is, because "fast" loses the digits of an x far from
    0. An element that `where` leaves out has a score, too.
    """
    if algorithm not in ("fast", "stable"):
        raise ValueError(f"standardize: algorithm must be 'fast' or 'stable', got {algorithm!r}")
    x, mean, variance, where = promoted(x, mean, variance, _mask(where))
    if where is not None and (mean is None or variance is None):
        mean, variance = _moments(x, axis, mean, variance, where)
    return ax.standardize(x, axis, mean, variance, epsilon)


def _mask(where: Any) -> Any:
    return None if where is True else where


def _moments(x: Any, axis: Any, mean: Any, variance: Any, where: Any) -> tuple[Any, Any]:
    """Return mean and variance of the elements in `where`, or those that are given."""
    xp = backend_of(x).xp
    wide = xp.astype(x, xp.float32) if is_floating(x) and xp.finfo(x.dtype).bits < 32 else x
    where = xp.broadcast_to(where, x.shape)
    count = xp.sum(xp.astype(where, ax.identity(wide).dtype), axis=axis, keepdims=True)

    def mean_of(values: Any) -> Any:
        total = xp.sum(xp.where(where, values, 0.0), axis=axis, keepdims=True)
        return total / one_where_zero(xp, count)

    if mean is None:
        mean = mean_of(wide)
        mean = mean + mean_of(wide - mean)  # without the rounding error of the first pass
    if variance is None:
        variance = mean_of((wide - mean) * (wide - mean))
    return mean, variance


def tanh(x: A, /) -> A:
    """Return the hyperbolic tangent of x."""
    return ax.tanh(x)
