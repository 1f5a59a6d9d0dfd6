"""The functions of ``tf.nn`` and ``tf.math``, with their signatures, for arrays of any library.

`name` makes no difference. The derivative of `selu` at 0 is that from the left, where TensorFlow
has that from the right.
"""

from __future__ import annotations

import sys
from math import sqrt
from typing import Any

import numpy as np

from .. import functions as ax
from .._dispatch import backend_of, find_backend, sample_uniform
from .._parameters import ArrayOrNumber, Axes
from .._typing import NUMBER, A
from ._conventions import promoted, result_dtype

__all__ = [
    "crelu",
    "cumulative_logsumexp",
    "dropout",
    "elu",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "gelu",
    "l2_normalize",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "ndtri",
    "one_hot",
    "reduce_logsumexp",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


def crelu(features: A, axis: int = -1, name: str | None = None) -> A:
    """Return relu(x) and relu(-x), joined along `axis`."""
    return ax.crelu(features, axis)


def cumulative_logsumexp(
    x: A, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> A:
    """Return the logarithm of the cumulative sum of exp(x) along `axis`.

    With `exclusive` an element is not among those that are summed for it: the first is -inf.
    """
    y: Any = ax.logcumsumexp(x, axis, reverse)
    if not exclusive:
        return y  # type: ignore[no-any-return]
    xp, n = backend_of(y).xp, y.shape[axis]
    before = (slice(None),) * (axis % y.ndim)
    first, rest = (slice(-1, None), slice(1, None)) if reverse else (slice(0, 1), slice(None, -1))
    nothing = xp.full_like(y[(*before, first)], -np.inf)
    parts = [y[(*before, rest)], nothing] if reverse else [nothing, y[(*before, rest)]]
    return y if n == 0 else xp.concat(parts, axis=axis)  # type: ignore[no-any-return]


def dropout(
    x: A, rate: ArrayOrNumber, noise_shape: Any = None, seed: Any = None, name: str | None = None
) -> A:
    """Return x, in which elements are 0 with the probability `rate`, and others x/(1 - rate).

    `noise_shape` is that of the decisions, of which a size of 1 makes one for all along the axis.
    `seed` is an integer: of TensorFlow's operation for its tensors, and elsewhere of NumPy's
    generator. Arrays of JAX need it.
    """
    if isinstance(rate, NUMBER) and not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be at least 0 and less than 1, got {rate!r}")
    backend = find_backend(x)
    if backend is None or (isinstance(rate, NUMBER) and rate == 0):
        return ax.dropout(x, rate)
    given: Any = x.shape if noise_shape is None else noise_shape
    shape = tuple(n if m is None else m for m, n in zip(given, x.shape, strict=True))
    if seed is None:
        noise = sample_uniform("dropout", shape, x, None)
    elif backend.name == "tensorflow":
        tf: Any = sys.modules["tensorflow"]
        sizes = [tf.shape(x)[i] if n is None else n for i, n in enumerate(shape)]
        noise = tf.random.uniform(sizes, seed=seed)
    else:
        noise = backend.xp.asarray(np.random.default_rng(seed).random(shape, np.float32))
    return ax.dropout(x, rate, training=True, noise=noise)


def elu(features: A, name: str | None = None) -> A:
    """Return x where it is positive, and exp(x) - 1 elsewhere."""
    return ax.elu(features)


def erf(x: A, name: str | None = None) -> A:
    """Return the error function of x."""
    return ax.erf(x)


def erfc(x: A, name: str | None = None) -> A:
    """Return 1 - erf(x)."""
    return ax.erfc(x)


def erfinv(x: A, name: str | None = None) -> A:
    """Return the inverse of the error function."""
    return ax.erfinv(x)


def exp(x: A, name: str | None = None) -> A:
    """Return the exponential of x."""
    return ax.exponential(x)


def gelu(features: A, approximate: bool = False, name: str | None = None) -> A:
    """Return x*Phi(x), Phi the standard normal distribution, or its tanh approximation."""
    return ax.gelu(features, approximate)


def l2_normalize(
    x: A, axis: Axes = None, epsilon: float = 1e-12, name: str | None = None, dim: Axes = None
) -> A:
    """Return x divided by its norm along `axis`, by default along all.

    The square of the norm counts as `epsilon` where it is less. `dim` is an old name of `axis`.
    """
    if dim is not None and axis is not None:
        raise ValueError("Cannot specify both 'axis' and 'dim'")
    axis = dim if axis is None else axis
    return ax.normalize(x, tuple(axis) if isinstance(axis, list) else axis, 2.0, sqrt(epsilon))


def leaky_relu(features: A, alpha: ArrayOrNumber = 0.2, name: str | None = None) -> A:
    """Return x where it is positive, and alpha*x elsewhere."""
    return ax.leaky_relu(*promoted(features, alpha))  # type: ignore[no-any-return]


def log_sigmoid(x: A, name: str | None = None) -> A:
    """Return log(sigmoid(x))."""
    return ax.log_sigmoid(x)


def log_softmax(logits: A, axis: int | None = None, name: str | None = None) -> A:
    """Return log(softmax(x)) along `axis`, by default the last."""
    return ax.log_softmax(logits, -1 if axis is None else axis)


def ndtri(x: A, name: str | None = None) -> A:
    """Return the quantile of the standard normal distribution."""
    return ax.ndtri(x)


def one_hot(
    indices: Any,
    depth: int,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """Return a new axis that is `on_value` at the index and `off_value` elsewhere.

    By default they are 1 and 0, the axis is the last, and the dtype is float32.
    """
    y: Any = ax.one_hot(indices, depth, -1 if axis is None else axis)
    xp = backend_of(y).xp
    given = [v for v in (on_value, off_value) if v is not None]
    if dtype is None:
        dtype = next((v.dtype for v in given if hasattr(v, "dtype")), xp.float32)
    y = result_dtype(y, dtype)
    if not given:
        return y
    on, off = (
        xp.astype(y * 0 + default, y.dtype) if value is None else value
        for value, default in ((on_value, 1), (off_value, 0))
    )
    on = on if hasattr(on, "dtype") else xp.full_like(y, on)
    return xp.where(y == 1, on, off)


def reduce_logsumexp(
    input_tensor: A, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> A:
    """Return log(sum(exp(x))) along `axis`, by default along all."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    return ax.logsumexp(input_tensor, axis, keepdims=bool(keepdims))


def relu(features: A, name: str | None = None) -> A:
    """Return max(x, 0)."""
    return ax.relu(features)


def relu6(features: A, name: str | None = None) -> A:
    """Return x clipped to [0, 6]."""
    return ax.relu6(features)


def selu(features: A, name: str | None = None) -> A:
    """Return 1.0507*elu(x, 1.6733), the scaled exponential linear unit."""
    return ax.selu(features)


def sigmoid(x: A, name: str | None = None) -> A:
    """Return 1/(1 + exp(-x))."""
    return ax.sigmoid(x)


def silu(features: A, beta: ArrayOrNumber = 1.0) -> A:
    """Return x*sigmoid(beta*x)."""
    return ax.silu(*promoted(features, beta))  # type: ignore[no-any-return]


swish = silu


def softmax(logits: A, axis: int | None = None, name: str | None = None) -> A:
    """Return exp(x)/sum(exp(x)) along `axis`, by default the last."""
    return ax.softmax(logits, -1 if axis is None else axis)


def softplus(features: A, name: str | None = None) -> A:
    """Return log(1 + exp(x))."""
    return ax.softplus(features)


def softsign(features: A, name: str | None = None) -> A:
    """Return x/(1 + abs(x))."""
    return ax.softsign(features)


def tanh(x: A, name: str | None = None) -> A:
    """Return the hyperbolic tangent of x."""
    return ax.tanh(x)
