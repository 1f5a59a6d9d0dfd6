"""The activation functions of torch.nn.functional in torch 2.13, for arrays of any library.

`dim` is an axis. ``inplace=True`` and the functions whose names end in an underscore write to the
array if its library allows that, and refuse a result of another dtype. Integers, which torch
refuses, become the default floating dtype. A bad value raises a ValueError that is a RuntimeError,
too, as in torch; its message has the names of `activations_xp`. Unlike in torch, `beta` may not be
0 in softplus, `p` must be positive in normalize, and `eps` may not be negative.

Random functions take `rng` in addition, as in `activations_xp`, because JAX needs a key. The same
seed gives other numbers than torch's own functions draw.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from operator import index
from typing import Any, Literal, TypeAlias

from .. import functions as ax
from .._dispatch import backend_of, find_backend, is_floating
from .._errors import describe_value
from .._torch_masks import mask_and_bias, mask_kwargs
from .._typing import A
from ._conventions import astype, inplace_if, reraise_as

__all__ = [
    "alpha_dropout",
    "celu",
    "celu_",
    "dropout",
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
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
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
    return inplace_if(inplace, ax.threshold, input, threshold, value)


def threshold_(input: A, threshold: float, value: float) -> A:
    """Apply `threshold` in place."""
    return inplace_if(True, ax.threshold, input, threshold, value)


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
    training = _check_training("rrelu", training)
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
    return inplace_if(inplace, ax.hard_tanh, input, min_val, max_val)


def hardtanh_(input: A, min_val: float = -1, max_val: float = 1) -> A:
    """Apply `hardtanh` in place."""
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
    return ax.log_sigmoid(input, out=out)


@reraise_as(BadValueError)
def gelu(input: A, *, approximate: Literal["none", "tanh"] = "none", out: A | None = None) -> A:
    """Return input*Phi(input), Phi the standard normal distribution, or its tanh approximation."""
    return ax.gelu(input, _check_approximate(approximate), out=out)


def hardshrink(input: A, lambd: float = 0.5, *, out: A | None = None) -> A:
    """Return `input` where abs(input) > lambd, and 0 elsewhere."""
    return ax.hard_shrink(input, lambd, out=out)


@reraise_as(BadValueError)
def softshrink(input: A, lambd: float = 0.5, *, out: A | None = None) -> A:
    """Return `input` moved towards 0 by `lambd`, and 0 where abs(input) <= lambd."""
    return ax.soft_shrink(input, lambd, out=out)


def tanhshrink(input: A) -> A:
    """Return input - tanh(input)."""
    return ax.tanh_shrink(input)


def softsign(input: A) -> A:
    """Return input/(1 + abs(input))."""
    return ax.softsign(input)


@reraise_as(BadValueError)
def softplus(input: A, beta: float = 1, threshold: float = 20, *, out: A | None = None) -> A:
    """Return log(1 + exp(beta*input))/beta, and `input` where beta*input > threshold."""
    return ax.softplus(input, beta, threshold, out=out)


def softmin(input: A, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> A:
    """Return softmax(-input) along `dim`."""
    return ax.softmin(astype(input, dtype), _axis("softmin", input, dim, _stacklevel))


def softmax(input: A, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> A:
    """Return exp(input)/sum(exp(input)) along `dim`."""
    return ax.softmax(astype(input, dtype), _axis("softmax", input, dim, _stacklevel))


def log_softmax(input: A, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> A:
    """Return log(softmax(input)) along `dim`."""
    return ax.log_softmax(astype(input, dtype), _axis("log_softmax", input, dim, _stacklevel))


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
    if _is_axis_of_scalar(logits, dim):
        return ax.softmax(logits, ())
    return ax.gumbel_softmax(logits, tau, bool(hard), dim, rng=rng)


@reraise_as(BadValueError)
def dropout(
    input: A, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Any = None
) -> A:
    """Return 0 with probability `p` and input/(1 - p) otherwise, in training; else `input`."""
    return inplace_if(inplace, ax.dropout, input, p, _check_training("dropout", training), rng=rng)


@reraise_as(BadValueError)
def alpha_dropout(
    input: A, p: float = 0.5, training: bool = False, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop elements in training such that the mean and the variance after `selu` are kept."""
    training = _check_training("alpha_dropout", training)
    return inplace_if(inplace, ax.alpha_dropout, input, p, training, rng=rng)


@reraise_as(BadValueError)
def feature_alpha_dropout(
    input: A, p: float = 0.5, training: bool = False, inplace: bool = False, *, rng: Any = None
) -> A:
    """Drop whole channels in training such that the mean and the variance after `selu` are kept."""
    training = _check_training("feature_alpha_dropout", training)
    return inplace_if(inplace, ax.feature_alpha_dropout, input, p, training, rng=rng)


@reraise_as(BadValueError)
def normalize(
    input: A, p: float = 2.0, dim: Dims | None = 1, eps: float = 1e-12, out: A | None = None
) -> A:
    """Return `input` divided by its `p`-norm along `dim`, or by `eps` if that is larger."""
    return ax.normalize(input, _axes(input, dim), p, eps, out=out)


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
    return ax.layer_norm(input, axis, weight, bias, eps)


@reraise_as(BadValueError)
def rms_norm(
    input: A, normalized_shape: Sequence[int], weight: A | None = None, eps: float | None = None
) -> A:
    """Return weight*input/sqrt(mean(input*input) + eps) over the last dimensions."""
    axis = _trailing_axes("rms_norm", input, normalized_shape, weight=weight)
    return ax.rms_norm(input, axis, weight, _default_eps(input) if eps is None else eps)


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
    heads = [x.shape[-3] for x in (query, key) if getattr(x, "ndim", 0) > 2]
    if not enable_gqa and len(heads) == 2 and heads[1] not in (1, heads[0]):
        raise ValueError(f"scaled_dot_product_attention: enable_gqa must be True for heads {heads}")
    mask, bias = mask_and_bias(attn_mask, query)
    return ax.scaled_dot_product_attention(  # type: ignore[no-any-return]
        query,
        key,
        value,
        mask=mask,
        bias=bias,
        is_causal=bool(is_causal),
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
        key, value, weights = _with_static(query, key, value, static_k, static_v, weights)
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
    return ax.exponential(input, out=out)


def expit(input: A, *, out: A | None = None) -> A:
    """Return 1/(1 + exp(-input)), the sigmoid."""
    return ax.sigmoid(input, out=out)


@reraise_as(BadValueError)
def logit(input: A, eps: float | None = None, *, out: A | None = None) -> A:
    """Return log(input/(1 - input)), with `input` clipped to [eps, 1 - eps] if `eps` is given."""
    return ax.logit(input, eps, out=out)


def erf(input: A, *, out: A | None = None) -> A:
    """Return the error function of `input`."""
    return ax.erf(input, out=out)


def erfc(input: A, *, out: A | None = None) -> A:
    """Return 1 - erf(input), the complementary error function."""
    return ax.erfc(input, out=out)


def erfinv(input: A, *, out: A | None = None) -> A:
    """Return the inverse of `erf` at `input`."""
    return ax.erfinv(input, out=out)


def ndtr(input: A, *, out: A | None = None) -> A:
    """Return the standard normal distribution function of `input`."""
    return ax.ndtr(input, out=out)


def log_ndtr(input: A, *, out: A | None = None) -> A:
    """Return log(ndtr(input))."""
    return ax.log_ndtr(input, out=out)


def ndtri(input: A, *, out: A | None = None) -> A:
    """Return the inverse of `ndtr` at `input`."""
    return ax.ndtri(input, out=out)


@reraise_as(BadValueError)
def logaddexp(input: A, other: A, *, out: A | None = None) -> A:
    """Return log(exp(input) + exp(other)).

    The result has the dtype of `input`.
    """
    return ax.logaddexp(input, other, out=out)


@reraise_as(BadValueError)
def logsumexp(input: A, dim: Dims, keepdim: bool = False, *, out: A | None = None) -> A:
    """Return log(sum(exp(input))) along `dim`."""
    return ax.logsumexp(input, _axes(input, dim), keepdims=keepdim, out=out)


def logcumsumexp(input: A, dim: int, *, out: A | None = None) -> A:
    """Return log(cumsum(exp(input))) along `dim`."""
    if _is_axis_of_scalar(input, dim):
        return ax.logsumexp(input, (), out=out)
    return ax.logcumsumexp(input, dim, out=out)


# the arguments of torch as those of `activations_xp`


def _axis(function: str, x: Any, dim: int | None, stacklevel: int) -> Any:
    """Return the axis of a dimension; for None torch chooses one, with a warning."""
    if dim is None:
        warnings.warn(
            f"Implicit dimension choice for {function} has been deprecated. "
            "Change the call to include dim=X as an argument.",
            stacklevel=stacklevel,
        )
        dim = 0 if getattr(x, "ndim", 0) in (0, 1, 3) else 1
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"{function}: dim must be an integer, got {dim!r}")
    return _axes(x, dim)


def _axes(x: Any, dim: Dims | None) -> Any:
    """Return the axes of dimensions; an empty tuple means all of them."""
    if _is_axis_of_scalar(x, dim):
        return ()
    axes = tuple(dim) if isinstance(dim, list) else dim
    return None if axes == () else axes


def _is_axis_of_scalar(x: Any, dim: Any) -> bool:
    """Return whether x is a scalar and `dim` the one dimension that torch lets it have."""
    return getattr(x, "ndim", 0) == 0 and dim in (0, -1, (0,), (-1,), [0], [-1])


def _trailing_axes(function: str, x: Any, shape: Sequence[int], **weights: Any) -> tuple[int, ...]:
    """Return the last axes of x after a check that they, and the weights, have this shape."""
    shape = tuple(map(index, shape))
    if not shape or getattr(x, "shape", shape)[-len(shape) :] != shape:
        raise ValueError(f"{function}: normalized_shape must end the shape of x, got {shape}")
    for name, value in weights.items():
        if value is not None and getattr(value, "shape", shape) != shape:
            raise ValueError(
                f"{function}: {name} must have normalized_shape, got shape {tuple(value.shape)}"
            )
    return tuple(range(-len(shape), 0))


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


def _with_static(
    query: Any, key: Any, value: Any, static_k: Any, static_v: Any, weights: dict[str, Any]
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
    for i, static in ((1, static_k), (2, static_v)):
        if static is not None:
            *_, length, depth = static.shape
            x = xp.reshape(static, (*batch, size // depth, length, depth))
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


def _check_training(function: str, training: Any) -> bool:
    if not isinstance(training, bool):
        raise TypeError(
            f"{function}: training must be True or False, got {describe_value(training)}"
        )
    return training


def _check_approximate(value: Any) -> Any:
    """Return `approximate` if torch takes it; the function itself takes more."""
    if not isinstance(value, str) or value not in ("none", "tanh"):
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"gelu: approximate must be 'none' or 'tanh', got {describe_value(value)}")
    return value


def _default_eps(x: Any) -> float:
    """Return the machine epsilon of the dtype that torch computes in."""
    is_float64 = is_floating(x) and backend_of(x).xp.finfo(x.dtype).bits > 32
    return 2.0**-52 if is_float64 else 2.0**-23
