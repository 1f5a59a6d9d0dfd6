"""The activation functions of torch.nn.functional in torch 2.13, for arrays of any library.

`dim` is an axis. ``inplace=True`` and the functions whose names end in an underscore write to the
array if its library allows that, and refuse a result of another dtype. Integers, which torch
refuses, become the default floating dtype. A bad value raises a ValueError that is a RuntimeError,
too, as in torch; its message has the names of `activations_xp`. Where torch's result is NaN
whatever x is, or without meaning, the value of a parameter is refused: `tau` must be positive in
gumbel_softmax, and `eps` at most 0.5 in logit.

Random functions take `rng` in addition, as in `activations_xp`, because JAX needs a key. For
tensors a seed gives the numbers that torch draws, but for gumbel_softmax and attention.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from math import copysign, inf, lcm, prod
from operator import index
from typing import Any, Literal, TypeAlias

from .. import functions as ax
from .._dispatch import assign, backend_of, find_backend, is_floating
from .._errors import describe_value
from .._parameters import COMPLEX
from .._torch_masks import causal_variant, mask_and_bias, mask_kwargs
from .._typing import NUMBER, A
from ..functions.attention.blockwise import broadcast_shapes
from ..numerics.arrays import axes_size
from ._conventions import (
    astype,
    call_with_out,
    default_eps,
    implicit_axis,
    inplace_if,
    is_axis_of_scalar,
    number,
    reraise_as,
    warn_caller,
)

__all__ = [
    "alpha_dropout",
    "batch_norm",
    "celu",
    "celu_",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "expit",
    "feature_alpha_dropout",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "log_ndtr",
    "log_softmax",
    "logaddexp",
    "logcumsumexp",
    "logit",
    "logsigmoid",
    "logsumexp",
    "mish",
    "multi_head_attention_forward",
    "ndtr",
    "ndtri",
    "normalize",
    "one_hot",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]


Dims: TypeAlias = int | tuple[int, ...] | list[int]


class BadValueError(ValueError, RuntimeError):
    """A bad value, for which torch raises a RuntimeError."""


class BadAttentionError(BadValueError, AssertionError):
    """A bad value, for which torch raises an AssertionError."""


# torch.nn.functional


def threshold(input: A, threshold: float, value: float, inplace: bool = False) -> A:
    """Return `input` where it exceeds `threshold`, and `value` elsewhere."""
    return inplace_if(inplace, _with_integers(ax.threshold), input, threshold, value)


def threshold_(input: A, threshold: float, value: float) -> A:
    """Apply `threshold` in place."""
    return inplace_if(True, _with_integers(ax.threshold), input, threshold, value)


def relu(input: A, inplace: bool = False) -> A:
    """Return max(input, 0)."""
    return inplace_if(inplace, ax.relu, input)


def relu_(input: A) -> A:
    """Apply `relu` in place."""
    return relu(input, inplace=True)


@reraise_as(BadValueError)
def glu(input: A, dim: int = -1) -> A:
    """Return a*sigmoid(b) for the halves a and b of `input` along `dim`."""
    return ax.glu(input, dim)


def relu6(input: A, inplace: bool = False) -> A:
    """Return `input` clipped to [0, 6]."""
    if _is_integral(input):
        return hardtanh(input, 0, 6, inplace)
    return inplace_if(inplace, ax.relu6, input)


def elu(input: A, alpha: float = 1.0, inplace: bool = False) -> A:
    """Return `input` where it is positive, and alpha*(exp(input) - 1) elsewhere."""
    return inplace_if(inplace, ax.elu, input, alpha)


def elu_(input: A, alpha: float = 1.0) -> A:
    """Apply `elu` in place."""
    return elu(input, alpha, inplace=True)


def selu(input: A, inplace: bool = False) -> A:
    """Return 1.0507*elu(input, 1.6733), the scaled exponential linear unit."""
    return inplace_if(inplace, ax.selu, input)


def selu_(input: A) -> A:
    """Apply `selu` in place."""
    return selu(input, inplace=True)


@reraise_as(BadValueError)
def celu(input: A, alpha: float = 1.0, inplace: bool = False) -> A:
    """Return `input` where it is positive, and alpha*(exp(input/alpha) - 1) elsewhere."""
    return inplace_if(inplace, ax.celu, input, alpha)


def celu_(input: A, alpha: float = 1.0) -> A:
    """Apply `celu` in place."""
    return celu(input, alpha, inplace=True)


def leaky_relu(input: A, negative_slope: float = 0.01, inplace: bool = False) -> A:
    """Return `input` where it is positive, and negative_slope*input elsewhere."""
    return inplace_if(inplace, ax.leaky_relu, input, negative_slope)


def leaky_relu_(input: A, negative_slope: float = 0.01) -> A:
    """Apply `leaky_relu` in place."""
    return leaky_relu(input, negative_slope, inplace=True)


@reraise_as(BadValueError)
def prelu(input: A, weight: A) -> A:
    """Return `input` where it is positive, and weight*input elsewhere.

    There is one weight for all channels or one for each; the channels are axis 1.
    """
    return ax.prelu(input, _broadcast_channels(weight, input))


@reraise_as(BadValueError)
def rrelu(
    input: A,
    lower: float = 0.125,
    upper: float = 0.3333333333333333,
    training: bool = False,
    inplace: bool = False,
    *,
    rng: Any = None,
) -> A:
    """Return `input` where it is positive, and slope*input elsewhere.

    In training each element has a slope drawn from [lower, upper); otherwise all have their mean.
    """
    training = _check_flag("rrelu", "training", training)
    return inplace_if(inplace, ax.rrelu, input, lower, upper, training, rng=rng)


def rrelu_(
    input: A,
    lower: float = 0.125,
    upper: float = 0.3333333333333333,
    training: bool = False,
    *,
    rng: Any = None,
) -> A:
    """Apply `rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True, rng=rng)


def hardtanh(input: A, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> A:
    """Return `input` clipped to [min_val, max_val]."""
    return inplace_if(inplace, _with_integers(ax.hard_tanh), input, min_val, max_val)


def hardtanh_(input: A, min_val: float = -1, max_val: float = 1) -> A:
    """Apply `hardtanh` in place; where `min_val` exceeds `max_val`, all becomes `max_val`."""
    if isinstance(min_val, NUMBER) and isinstance(max_val, NUMBER):
        min_val = min(min_val, max_val)
    return hardtanh(input, min_val, max_val, inplace=True)


def hardswish(input: A, inplace: bool = False) -> A:
    """Return `input` times (input + 3)/6 clipped to [0, 1]."""
    return inplace_if(inplace, ax.hard_swish, input)


def hardsigmoid(input: A, inplace: bool = False) -> A:
    """Return (input + 3)/6 clipped to [0, 1]."""
    return inplace_if(inplace, ax.hard_sigmoid, input)


def silu(input: A, inplace: bool = False) -> A:
    """Return input*sigmoid(input)."""
    return inplace_if(inplace, ax.silu, input)


def mish(input: A, inplace: bool = False) -> A:
    """Return input*tanh(softplus(input))."""
    return inplace_if(inplace, ax.mish, input)


def logsigmoid(input: A, *, out: A | None = None) -> A:
    """Return log(sigmoid(input))."""
    return ax.log_sigmoid(input) if out is None else call_with_out(ax.log_sigmoid, input, out=out)


@reraise_as(BadValueError)
def gelu(input: A, *, approximate: Literal["none", "tanh"] = "none", out: A | None = None) -> A:
    """Return input*Phi(input), Phi the standard normal distribution, or its tanh approximation."""
    return (
        ax.gelu(input, _check_approximate(approximate))
        if out is None
        else call_with_out(ax.gelu, input, _check_approximate(approximate), out=out)
    )


def hardshrink(input: A, lambd: float = 0.5, *, out: A | None = None) -> A:
    """Return `input` where abs(input) > lambd, and 0 elsewhere."""
    return (
        ax.hard_shrink(input, lambd)
        if out is None
        else call_with_out(ax.hard_shrink, input, lambd, out=out)
    )


@reraise_as(BadValueError)
def softshrink(input: A, lambd: float = 0.5, *, out: A | None = None) -> A:
    """Return `input` moved towards 0 by `lambd`, and 0 where abs(input) <= lambd."""
    return (
        ax.soft_shrink(input, lambd)
        if out is None
        else call_with_out(ax.soft_shrink, input, lambd, out=out)
    )


def tanhshrink(input: A) -> A:
    """Return input - tanh(input)."""
    return ax.tanh_shrink(input)


def softsign(input: A) -> A:
    """Return input/(1 + abs(input))."""
    return ax.softsign(input)


@reraise_as(BadValueError)
def softplus(input: A, beta: float = 1, threshold: float = 20, *, out: A | None = None) -> A:
    """Return log(1 + exp(beta*input))/beta, and `input` where beta*input > threshold."""
    if isinstance(beta, NUMBER) and not 0 < abs(beta) < inf and is_floating(input):
        y = _softplus_at_a_limit(input, beta, threshold)
        return call_with_out(ax.identity, y, out=out)  # type: ignore[no-any-return]
    return (
        ax.softplus(input, beta, threshold)
        if out is None
        else call_with_out(ax.softplus, input, beta, threshold, out=out)
    )


def _softplus_at_a_limit(x: Any, beta: float, threshold: float) -> Any:
    """Return the softplus at a beta that is 0, infinite or NaN."""
    if beta == 0:
        return x if threshold < 0 else 0.5 * x + copysign(inf, beta)
    if beta != beta:
        return beta * x
    return ax.relu(x) if beta > 0 else -ax.relu(-x)


def softmin(input: A, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> A:
    """Return softmax(-input) along `dim`."""
    return ax.softmin(astype("softmin", input, dtype), _axis("softmin", input, dim, _stacklevel))


def softmax(input: A, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> A:
    """Return exp(input)/sum(exp(input)) along `dim`."""
    return ax.softmax(astype("softmax", input, dtype), _axis("softmax", input, dim, _stacklevel))


def log_softmax(input: A, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> A:
    """Return log(softmax(input)) along `dim`."""
    return ax.log_softmax(
        astype("log_softmax", input, dtype), _axis("log_softmax", input, dim, _stacklevel)
    )


@reraise_as(BadValueError)
def gumbel_softmax(
    logits: A,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    rng: Any = None,
) -> A:
    """Return softmax((logits + noise)/tau) along `dim`, with noise of the Gumbel distribution.

    With `hard` the result is 1 at the largest and 0 elsewhere; the gradient is that of softmax.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=3)
    if is_axis_of_scalar(logits, dim):
        return ax.softmax(logits, ())
    return ax.gumbel_softmax(logits, tau, bool(hard), dim, rng=rng)


@reraise_as(BadValueError)
def dropout(
    input: A, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> A:
    """Return 0 with probability `p` and input/(1 - p) otherwise, in training; else `input`."""
    return _drop(ax.dropout, input, p, training, inplace, rng=rng)  # type: ignore[no-any-return]


@reraise_as(BadValueError)
def alpha_dropout(
    input: A, p: float = 0.5, training: bool = False, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop elements in training such that the mean and the variance after `selu` are kept."""
    return _drop(ax.alpha_dropout, input, p, training, inplace, rng=rng)  # type: ignore[no-any-return]


@reraise_as(BadValueError)
def feature_alpha_dropout(
    input: A, p: float = 0.5, training: bool = False, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop whole channels in training such that the mean and the variance after `selu` are kept."""
    return _drop(ax.feature_alpha_dropout, input, p, training, inplace, rng=rng)  # type: ignore[no-any-return]


def _drop(function: Any, x: Any, p: Any, training: Any, inplace: bool, **noise: Any) -> Any:
    """Return a dropout of x in training, and otherwise x itself, of any dtype."""
    training = _check_flag(function.__name__, "training", training)
    p = number(p)
    if not training and find_backend(x) is not None and isinstance(p, NUMBER) and 0 <= p <= 1:
        return x
    return inplace_if(inplace, function, x, p, training, **noise)


@reraise_as(BadValueError)
def dropout1d(
    input: A, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop whole channels in training: `input` has the shape (C, L) or (N, C, L)."""
    if getattr(input, "ndim", 3) not in (2, 3):
        raise ValueError(f"dropout1d: input must have 2 or 3 dimensions, got {input.ndim}")
    channels = input.shape[:-1] if find_backend(input) else ()
    return _drop_channels("dropout1d", channels, input, p, training, inplace, rng)  # type: ignore[no-any-return]


@reraise_as(BadValueError)
def dropout2d(
    input: A, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop whole channels in training: `input` has the shape (N, C, ...)."""
    channels = input.shape[:2] if find_backend(input) else ()
    ndim = getattr(input, "ndim", 4)
    if ndim == 3:
        warn_caller(
            "dropout2d takes three dimensions as (N, C, L), which will be (C, H, W) in future"
        )
    elif ndim != 4:
        warn_caller(f"dropout2d of {ndim} dimensions is deprecated")
    if ndim < 2 and training:
        raise ValueError(f"dropout2d: input must have 2 dimensions at least, got {ndim}")
    return _drop_channels("dropout2d", channels, input, p, training, inplace, rng)  # type: ignore[no-any-return]


@reraise_as(BadValueError)
def dropout3d(
    input: A, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop whole channels in training: `input` has the shape (C, D, H, W) or (N, C, D, H, W)."""
    ndim = getattr(input, "ndim", 5)
    if ndim not in (4, 5):
        warn_caller(f"dropout3d of {ndim} dimensions is deprecated")
    channels = input.shape[: 2 if ndim == 5 else 1] if find_backend(input) else ()
    return _drop_channels("dropout3d", channels, input, p, training, inplace, rng)  # type: ignore[no-any-return]


def _drop_channels(
    name: str, channels: Any, x: Any, p: float, training: Any, inplace: bool, rng: Any
) -> Any:
    """Return x where each of the channels, its leading axes, is dropped as a whole in training."""
    noise = None
    if _check_flag(name, "training", training) and find_backend(x) is not None:
        if not channels:
            raise ValueError(f"{name}: input must have 2 dimensions at least, got {x.ndim}")
        xp, device = backend_of(x).xp, backend_of(x).device(x)
        dtype = x.dtype if is_floating(x) else None
        ones = xp.ones((*channels, *(1,) * (x.ndim - len(channels))), dtype=dtype, device=device)
        noise = xp.astype(ax.dropout(ones, number(p), True, rng=rng) > 0, ones.dtype)
    return _drop(ax.dropout, x, p, training, inplace, noise=noise)


@reraise_as(BadValueError)
def group_norm(
    input: A, num_groups: int, weight: A | None = None, bias: A | None = None, eps: float = 1e-05
) -> A:
    """Return `layer_norm` over groups of channels, with a weight and a bias for each channel.

    `input` has the shape (N, C, ...).
    """
    channels = _channels("group_norm", input, weight=weight, bias=bias)
    groups = _integer("group_norm", "num_groups", num_groups)
    if groups < 1 or channels % groups:
        raise ValueError(f"group_norm: num_groups must divide {channels} channels, got {groups}")
    if input.shape[0] * prod(input.shape[2:]) * channels == groups:
        raise ValueError(
            f"group_norm: input must have more than 1 value in a group, got {tuple(input.shape)}"
        )
    size, spatial = channels // groups, tuple(input.shape[2:])
    xp = backend_of(input).xp
    x = xp.reshape(input, (input.shape[0], groups, size, *spatial))
    per_channel = (groups, size, *(1,) * len(spatial))
    weight, bias = (None if w is None else xp.reshape(w, per_channel) for w in (weight, bias))
    y = ax.layer_norm(x, tuple(range(2, x.ndim)), weight, bias, number(eps))
    return xp.reshape(y, input.shape)  # type: ignore[no-any-return]


@reraise_as(BadValueError)
def batch_norm(
    input: A,
    running_mean: A | None,
    running_var: A | None,
    weight: A | None = None,
    bias: A | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> A:
    """Return weight*(input - mean)/sqrt(variance + eps) + bias for each channel.

    `input` has the shape (N, C, ...). In training mean and variance are those of `input`, and the
    running ones, if they are given, move towards them by the share `momentum`. They change in
    place, which JAX refuses. Otherwise mean and variance are the running ones.
    """
    _check_flag("batch_norm", "training", training)
    eps = number(eps)
    if isinstance(eps, NUMBER) and (eps < 0 or (training and eps == 0)):
        raise ValueError(f"batch_norm: eps must be positive in training, got {eps}")
    if find_backend(input) is not None and tuple(input.shape) == (0,):
        return input  # torch takes it for no channels
    weight, bias = (
        x if find_backend(x) is None else backend_of(x).xp.reshape(x, (-1,)) for x in (weight, bias)
    )
    running = {"running_mean": running_mean, "running_var": running_var}
    return _channel_norm("batch_norm", (0,), input, running, weight, bias, training, momentum, eps)  # type: ignore[no-any-return]


@reraise_as(BadValueError)
def instance_norm(
    input: A,
    running_mean: A | None = None,
    running_var: A | None = None,
    weight: A | None = None,
    bias: A | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> A:
    """Return `batch_norm` with a mean and a variance for each sample and channel.

    The running ones move towards the mean of those of all samples.
    """
    _check_flag("instance_norm", "use_input_stats", use_input_stats)
    running = {"running_mean": running_mean, "running_var": running_var}
    return _channel_norm(  # type: ignore[no-any-return]
        "instance_norm", (), input, running, weight, bias, use_input_stats, momentum, number(eps)
    )


def _channel_norm(
    name: str,
    samples: tuple[int, ...],
    x: Any,
    running: dict[str, Any],
    weight: Any,
    bias: Any,
    uses_input: bool,
    momentum: float,
    eps: float,
) -> Any:
    """Return x standardized along space and `samples`, by its own or the running statistics."""
    _channels(name, x, **running, weight=weight, bias=bias)
    momentum = number(momentum)
    if not isinstance(momentum, NUMBER):
        raise TypeError(f"{name}: momentum must be a real number, got {describe_value(momentum)}")
    axes = (*samples, *range(2, x.ndim))
    xp = backend_of(x).xp
    per_channel = (1, -1, *(1,) * (x.ndim - 2))
    mean, variance, weight, bias = (
        None if array is None else xp.reshape(array, per_channel)
        for array in (*running.values(), weight, bias)
    )
    is_narrow = is_floating(x) and xp.finfo(x.dtype).bits < 32
    wide = xp.astype(x, xp.float32) if is_narrow else x
    if not uses_input:
        if mean is None or variance is None:
            raise ValueError(f"{name}: running_mean and running_var must be given, got None")
        y = ax.standardize(wide, axes, mean, variance, eps)
        y = y if weight is None else y * weight
        y = y if bias is None else y + bias
        return xp.astype(y, x.dtype) if is_floating(x) else y
    count = axes_size(xp, x, axes)
    if count == 1:
        raise ValueError(
            f"{name}: input must have more than 1 value for a mean, got shape {tuple(x.shape)}"
        )
    y = ax.layer_norm(x, axes, weight, bias, eps)
    if mean is not None or variance is not None:
        z = wide if xp.isdtype(x.dtype, ("real floating", *COMPLEX)) else xp.astype(x, y.dtype)
        z = z.detach() if hasattr(z, "detach") else z
        now = xp.sum(z, axis=axes, keepdims=True) / count
        square = (z - now) * (z - now)
        variances = xp.sum(square, axis=axes, keepdims=True) / max(count - 1, 1)
        for (argument, old), new in zip(running.items(), (now, variances), strict=True):
            if old is not None:
                new = xp.reshape(xp.sum(new, axis=0), old.shape) / new.shape[0]
                new = old * (1 - momentum) + momentum * new
                assign(name, argument, old, xp.astype(new, old.dtype))
    return y


@reraise_as(BadValueError)
def normalize(
    input: A, p: float = 2.0, dim: Dims | None = 1, eps: float = 1e-12, out: A | None = None
) -> A:
    """Return `input` divided by its `p`-norm along `dim`, or by `eps` if that is larger."""
    p = 2.0 if p is None else number(p)
    return call_with_out(ax.normalize, input, _axes(input, dim), p, number(eps), out=out)


@reraise_as(BadValueError)
def layer_norm(
    input: A,
    normalized_shape: Sequence[int],
    weight: A | None = None,
    bias: A | None = None,
    eps: float = 1e-05,
) -> A:
    """Return weight*(input - mean)/sqrt(variance + eps) + bias over the last dimensions."""
    axis = _trailing_axes("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return ax.layer_norm(input, axis, weight, bias, number(eps))


@reraise_as(BadValueError)
def rms_norm(
    input: A, normalized_shape: Sequence[int], weight: A | None = None, eps: float | None = None
) -> A:
    """Return weight*input/sqrt(mean(input*input) + eps) over the last dimensions."""
    axis = _trailing_axes("rms_norm", input, normalized_shape, weight=weight)
    return ax.rms_norm(input, axis, weight, default_eps(input) if eps is None else number(eps))


@reraise_as(BadValueError)
def one_hot(input: A, num_classes: int = -1) -> A:
    """Return a new last dimension that is 1 at class `input` and 0 at the others.

    Integers may have any size, and one that is no class gives zeros. The values are read only if
    `num_classes` is -1.
    """
    y = ax.one_hot(input, _infer_num_classes(input, num_classes))
    return backend_of(input).xp.astype(y, input.dtype)  # type: ignore[no-any-return]


def sigmoid(input: A) -> A:
    """Return 1/(1 + exp(-input))."""
    return ax.sigmoid(input)


def tanh(input: A) -> A:
    """Return the hyperbolic tangent of `input`."""
    return ax.tanh(input)


@reraise_as(BadValueError)
def scaled_dot_product_attention(
    query: A,
    key: A,
    value: A,
    attn_mask: A | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    rng: Any = None,
) -> A:
    """Return softmax(query @ key.T * scale + attn_mask) @ value.

    A query that attends to nothing gives 0.
    """
    name = "scaled_dot_product_attention"
    causal: Any = _check_flag(name, "is_causal", is_causal)
    with_heads = (
        _with_as_many_heads if _check_flag(name, "enable_gqa", enable_gqa) else _broadcast_heads
    )
    query, key, value = with_heads(query, key, value)
    variant = causal_variant(name, attn_mask, query, key)
    if variant is not None:
        if causal:
            raise ValueError(f"{name}: is_causal must be False beside a causal attn_mask, got True")
        attn_mask, causal = None, variant
    mask, bias = mask_and_bias(attn_mask, query)
    return ax.scaled_dot_product_attention(
        query,
        key,
        value,
        mask=mask,
        bias=bias,
        is_causal=causal,
        scale=scale,
        dropout=dropout_p,
        rng=rng,
    )


@reraise_as(BadAttentionError)
def multi_head_attention_forward(
    query: A,
    key: A,
    value: A,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: A | None,
    in_proj_bias: A | None,
    bias_k: A | None,
    bias_v: A | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: A,
    out_proj_bias: A | None,
    training: bool = True,
    key_padding_mask: A | None = None,
    need_weights: bool = True,
    attn_mask: A | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: A | None = None,
    k_proj_weight: A | None = None,
    v_proj_weight: A | None = None,
    static_k: A | None = None,
    static_v: A | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    rng: Any = None,
) -> tuple[A, A | None]:
    """Return multi-head attention, and its weights or None.

    Masks are True where there is no attention. A query that attends to nothing has weights 0, where
    torch has NaN with `need_weights`.
    """
    name = "multi_head_attention_forward"
    for argument, x in {"query": query, "key": key, "value": value}.items():
        if find_backend(x) is None:
            raise TypeError(f"{name}: {argument} must be an array, got {describe_value(x)}")
    num_heads = _integer(name, "num_heads", num_heads)
    if query.shape[-1] != embed_dim_to_check:
        got = f"{embed_dim_to_check} for shape {tuple(query.shape)}"
        raise ValueError(f"{name}: embed_dim_to_check must be the query's last size, got {got}")
    if is_causal and attn_mask is None:
        raise ValueError(f"{name}: attn_mask must be given with is_causal")
    is_causal = bool(is_causal) and key_padding_mask is None and not need_weights
    weights: dict[str, Any] = {"in_proj_weight": in_proj_weight, "in_proj_bias": in_proj_bias}
    if use_separate_proj_weight:
        weights = {"in_proj_bias": in_proj_bias, "q_proj_weight": q_proj_weight}
        weights |= {"k_proj_weight": k_proj_weight, "v_proj_weight": v_proj_weight}
    if static_k is not None or static_v is not None:
        if bias_k is not None:
            raise ValueError(f"{name}: bias_k and bias_v must be None with static_k or static_v")
        static = {"static_k": static_k, "static_v": static_v}
        key, value, weights = _with_static(num_heads, query, key, value, static, weights)
    bias_k, bias_v = map(_as_row, (bias_k, bias_v))
    score_shape = (*query.shape[1:-1], num_heads, query.shape[0], key.shape[0])
    return ax.multi_head_attention(  # type: ignore[no-any-return]
        query,
        key,
        value,
        num_heads,
        out_proj_weight,
        **weights,
        out_proj_bias=out_proj_bias,
        bias_k=bias_k,
        bias_v=bias_v,
        add_zero_attn=bool(add_zero_attn),
        **mask_kwargs(name, score_shape, query, None if is_causal else attn_mask, key_padding_mask),
        is_causal=is_causal,
        batch_first=False,
        need_weights=bool(need_weights),
        average_attn_weights=bool(average_attn_weights),
        dropout=dropout_p if training else 0.0,
        rng=rng,
    )


# torch and torch.special


def exp(input: A, *, out: A | None = None) -> A:
    """Return exp(input)."""
    return ax.exponential(input) if out is None else call_with_out(ax.exponential, input, out=out)


def expit(input: A, *, out: A | None = None) -> A:
    """Return 1/(1 + exp(-input)), the sigmoid."""
    return ax.sigmoid(input) if out is None else call_with_out(ax.sigmoid, input, out=out)


@reraise_as(BadValueError)
def logit(input: A, eps: float | None = None, *, out: A | None = None) -> A:
    """Return log(input/(1 - input)), with `input` clipped to [eps, 1 - eps] if `eps` is given.

    A negative `eps` clips nothing.
    """
    eps = number(eps)
    eps = None if isinstance(eps, NUMBER) and eps < 0 else eps
    return ax.logit(input, eps) if out is None else call_with_out(ax.logit, input, eps, out=out)


def erf(input: A, *, out: A | None = None) -> A:
    """Return the error function of `input`."""
    return ax.erf(input) if out is None else call_with_out(ax.erf, input, out=out)


def erfc(input: A, *, out: A | None = None) -> A:
    """Return 1 - erf(input), the complementary error function."""
    return ax.erfc(input) if out is None else call_with_out(ax.erfc, input, out=out)


def erfinv(input: A, *, out: A | None = None) -> A:
    """Return the inverse of `erf` at `input`."""
    return ax.erfinv(input) if out is None else call_with_out(ax.erfinv, input, out=out)


def ndtr(input: A, *, out: A | None = None) -> A:
    """Return the standard normal distribution function of `input`."""
    return ax.ndtr(input) if out is None else call_with_out(ax.ndtr, input, out=out)


def log_ndtr(input: A, *, out: A | None = None) -> A:
    """Return log(ndtr(input))."""
    return ax.log_ndtr(input) if out is None else call_with_out(ax.log_ndtr, input, out=out)


def ndtri(input: A, *, out: A | None = None) -> A:
    """Return the inverse of `ndtr` at `input`."""
    return ax.ndtri(input) if out is None else call_with_out(ax.ndtri, input, out=out)


@reraise_as(BadValueError)
def logaddexp(input: A, other: A, *, out: A | None = None) -> A:
    """Return log(exp(input) + exp(other)), in the dtype that holds both."""
    x, y = _promoted(input, other)
    return ax.logaddexp(x, y) if out is None else call_with_out(ax.logaddexp, x, y, out=out)


@reraise_as(BadValueError)
def logsumexp(input: A, dim: Dims, keepdim: bool = False, *, out: A | None = None) -> A:
    """Return log(sum(exp(input))) along `dim`."""
    _check_flag("logsumexp", "keepdim", keepdim)
    return (
        ax.logsumexp(input, _axes(input, dim), keepdims=keepdim)
        if out is None
        else call_with_out(ax.logsumexp, input, _axes(input, dim), keepdims=keepdim, out=out)
    )


def logcumsumexp(input: A, dim: int, *, out: A | None = None) -> A:
    """Return log(cumsum(exp(input))) along `dim`."""
    if is_axis_of_scalar(input, dim):
        return (
            ax.logsumexp(input, ())
            if out is None
            else call_with_out(ax.logsumexp, input, (), out=out)
        )
    return (
        ax.logcumsumexp(input, dim)
        if out is None
        else call_with_out(ax.logcumsumexp, input, dim, out=out)
    )


# the arguments of torch as those of `activations_xp`


def _axis(function: str, x: Any, dim: int | None, stacklevel: int) -> Any:
    """Return the axis of a dimension; for None torch chooses one, with a warning."""
    if dim is None:
        dim = implicit_axis(function, x, stacklevel + 1)
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"{function}: dim must be an integer, got {dim!r}")
    return _axes(x, dim)


def _axes(x: Any, dim: Dims | None) -> Any:
    """Return the axes of dimensions; an empty tuple means all of them."""
    if is_axis_of_scalar(x, dim):
        return ()
    return tuple(dim) or None if isinstance(dim, (tuple, list)) else dim


def _promoted(x: A, y: A) -> tuple[A, A]:
    """Return two arrays in the dtype that holds both; an integer one takes that of the other."""
    backend = find_backend(x)
    if backend is None or backend is not find_backend(y) or x.dtype == y.dtype:
        return x, y
    if backend.isdtype(x, ("bool", "integral")):
        dtype = y.dtype
    elif backend.isdtype(y, ("bool", "integral")):
        dtype = x.dtype
    else:
        dtype = backend.xp.result_type(x, y)
    return backend.xp.astype(x, dtype), backend.xp.astype(y, dtype)


def _integer(function: str, name: str, value: Any) -> int:
    try:
        return int(index(value))
    except TypeError:
        got = describe_value(value)
        raise TypeError(f"{function}: {name} must be an integer, got {got}") from None


def _trailing_axes(function: str, x: Any, shape: Sequence[int], **weights: Any) -> tuple[int, ...]:
    """Return the last axes of x after a check that they, and the weights, have this shape."""
    if not isinstance(shape, (tuple, list)):
        got = describe_value(shape)
        raise TypeError(f"{function}: normalized_shape must be a tuple of integers, got {got}")
    shape = tuple(_integer(function, "each size of normalized_shape", size) for size in shape)
    if not shape or getattr(x, "shape", shape)[-len(shape) :] != shape:
        raise ValueError(f"{function}: normalized_shape must end the shape of x, got {shape}")
    backend = find_backend(x)
    for name, value in weights.items():
        if value is not None and find_backend(value) is backend and value.shape != shape:
            raise ValueError(
                f"{function}: {name} must have normalized_shape, got shape {tuple(value.shape)}"
            )
    return tuple(range(-len(shape), 0))


def _is_integral(x: Any) -> bool:
    backend = find_backend(x)
    return backend is not None and backend.isdtype(x, ("integral",))


def _with_integers(function: Any) -> Any:
    """Return a piecewise linear function that keeps integers and truncates its numbers for them."""

    @functools.wraps(function)
    def call(x: Any, *numbers: Any) -> Any:
        if not (_is_integral(x) and all(isinstance(n, NUMBER) for n in numbers)):
            return function(x, *numbers)
        xp = backend_of(x).xp
        info = xp.iinfo(x.dtype)
        for value in numbers:
            if not info.min - 1 < value < info.max + 1:  # truncated, they fit
                wanted = f"numbers that {x.dtype} holds, {info.min} to {info.max}"
                raise BadValueError(f"{function.__name__}: takes {wanted}, got {value!r}")
        return function.impl(xp, x, *map(int, numbers))

    return call


def _channels(function: str, x: Any, **arrays: Any) -> int:
    """Return the size of axis 1 after a check that the arrays have one element for each channel."""
    if find_backend(x) is None or x.ndim < 2:
        got = describe_value(x) if find_backend(x) is None else f"shape {tuple(x.shape)}"
        raise (TypeError if find_backend(x) is None else ValueError)(
            f"{function}: input must be an array with 2 dimensions at least, got {got}"
        )
    channels: int = x.shape[1]
    for name, array in arrays.items():
        if array is not None and find_backend(array) is not find_backend(x):
            got = describe_value(array)
            raise TypeError(f"{function}: {name} must be an array of x's library, got {got}")
        if array is not None and tuple(array.shape) != (channels,):
            got = f"shape {tuple(array.shape)}"
            raise ValueError(f"{function}: {name} must have shape ({channels},), got {got}")
    return channels


def _broadcast_channels(weight: Any, x: Any) -> Any:
    """Return one weight, or one per channel, in a shape that broadcasts with the channels."""
    if getattr(weight, "ndim", 0) == 0 or find_backend(x) is None:
        return weight
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.shape[0] not in (1, channels):
        raise ValueError(
            f"prelu: weight must be one number or {channels}, got shape {tuple(weight.shape)}"
        )
    shape = (weight.shape[0], *(1,) * (x.ndim - 2))
    return backend_of(x).xp.reshape(weight, shape[: x.ndim])


def _broadcast_heads(query: Any, key: Any, value: Any) -> Any:
    """Return the arrays, broadcast to the same heads if key and value have not the same or one."""
    arrays = (query, key, value)
    if None in map(find_backend, arrays):
        return arrays
    heads = [x.shape[-3] if x.ndim > 2 else 1 for x in arrays]
    if heads[1] == heads[2] and heads[1] in (1, heads[0]):
        return arrays
    shape = broadcast_shapes([x.shape[:-2] for x in arrays])
    if shape is None:
        raise ValueError(f"scaled_dot_product_attention: enable_gqa must be True for heads {heads}")
    return [backend_of(x).xp.broadcast_to(x, (*shape, *x.shape[-2:])) for x in arrays]


def _with_as_many_heads(query: Any, key: Any, value: Any) -> Any:
    """Return the arrays, of which key and value have the same number of heads by repetition."""
    if min(getattr(x, "ndim", 0) for x in (query, key, value)) < 3:
        return query, key, value
    heads = lcm(key.shape[-3], value.shape[-3])
    if query.shape[-3] % max(heads, 1) == 0:
        key, value = (_repeat_heads(x, heads) for x in (key, value))
    return query, key, value


def _repeat_heads(x: Any, heads: int) -> Any:
    *batch, own, length, depth = x.shape
    if own == heads:
        return x
    xp, shape = backend_of(x).xp, (*batch, own, heads // own, length, depth)
    return xp.reshape(xp.broadcast_to(x[..., None, :, :], shape), (*batch, heads, length, depth))


def _as_row(bias: Any) -> Any:
    """Return a bias of shape (E,) or (1, E) in the shape (1, 1, E), and any other as it is."""
    is_row = find_backend(bias) is not None and tuple(bias.shape[:-1]) in ((), (1,))
    return backend_of(bias).xp.reshape(bias, (1, 1, -1)) if is_row and bias.ndim else bias


def _with_static(
    heads: int, query: Any, key: Any, value: Any, static: dict[str, Any], weights: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return keys, values and weights such that the identity projects what is static."""
    xp, batch, size = backend_of(query).xp, tuple(query.shape[1:-1]), query.shape[-1]
    thirds = [slice(i * size, (i + 1) * size) for i in range(3)]
    bias, packed = weights["in_proj_bias"], weights.get("in_proj_weight")
    biases = [None if bias is None else bias[third] for third in thirds]
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    separate = [
        weights[n] if packed is None else packed[t] for n, t in zip(names, thirds, strict=True)
    ]
    inputs = [query, key, value]
    for i, (argument, x) in enumerate(static.items(), 1):
        if x is not None:
            length, depth = x.shape[-2], size // max(heads, 1)
            if tuple(x.shape) != (prod(batch) * heads, length, depth):
                raise ValueError(
                    f"multi_head_attention_forward: {argument} must have shape (batch*num_heads, "
                    f"length, {depth}), got {tuple(x.shape)}"
                )
            x = xp.reshape(x, (*batch, heads, length, depth))
            x = xp.permute_dims(x, (x.ndim - 2, *range(x.ndim - 2), x.ndim - 1))
            inputs[i] = xp.reshape(x, (length, *batch, size))
            separate[i] = xp.eye(size, dtype=query.dtype, device=backend_of(query).device(query))
            biases[i] = None if bias is None else xp.zeros_like(biases[i])
    weights = dict(zip(names, separate, strict=True))
    weights["in_proj_bias"] = None if bias is None else xp.concat(biases, axis=0)
    return inputs[1], inputs[2], weights


def _infer_num_classes(x: Any, num_classes: int) -> int:
    """Return the number of classes; -1 stands for the least that suffices."""
    if find_backend(x) is None:
        return num_classes
    if not backend_of(x).xp.isdtype(x.dtype, "integral"):
        raise ValueError(f"one_hot: input must be an array of integers, got {describe_value(x)}")
    if num_classes != -1:
        return num_classes
    if 0 in x.shape:
        raise ValueError("one_hot: num_classes must be given for an empty input")
    xp = backend_of(x).xp
    if xp.any(x < 0):
        raise ValueError("one_hot: input must not be negative")
    return int(xp.max(x, axis=tuple(range(x.ndim)))) + 1


def _check_flag(function: str, name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{function}: {name} must be True or False, got {describe_value(value)}")
    return value


def _check_approximate(value: Any) -> Any:
    """Return `approximate` if torch takes it; the function itself takes more."""
    if not isinstance(value, str) or value not in ("none", "tanh"):
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"gelu: approximate must be 'none' or 'tanh', got {describe_value(value)}")
    return value
