"""Attention: means of values, weighted by the softmax of the products of queries and keys."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Annotated, Any, Literal, TypeAlias

from ..._define import NoiseSpec, Peer, operation
from ..._errors import check_shape, describe_value
from ..._parameters import BOOL_ARRAY, Count, FloatArray, FreeArray, NoiseArray
from ..._typing import Array, Namespace
from ...numerics.arrays import clip_to_finite, one_where_zero
from ...numerics.special import fast_exp
from . import blockwise, multihead

__all__ = [
    "attention_with_lse",
    "merge_attention",
    "multi_head_attention",
    "scaled_dot_product_attention",
]

AttentionMask: TypeAlias = Annotated[
    Array,
    replace(
        BOOL_ARRAY,
        text="a boolean array of {first}'s library, in which True attends (numbers to add are the"
        " bias)",
    ),
]
Causal: TypeAlias = bool | Literal["upper_left", "lower_right"]

_NAME = "scaled_dot_product_attention"
_SOURCE = "Vaswani et al., Attention is all you need, arXiv:1706.03762."


def _noise_shape(
    query: Array, key: Array, value: Array, mask: Any, bias: Any, **others: Any
) -> tuple[int, ...]:
    dims = blockwise.attention_dims(_NAME, query, key, value, mask=mask, bias=bias)
    return dims.scores_shape


@operation(
    source=_SOURCE,
    peers={
        "torch": "torch.nn.functional.scaled_dot_product_attention",
        "jax": "jax.nn.dot_product_attention",
        "keras": "keras.ops.dot_product_attention",
        "mlx": "mx.fast.scaled_dot_product_attention",
    },
    use_custom_vjp=True,
    noise=NoiseSpec(_noise_shape, "dropout"),
)
def scaled_dot_product_attention(
    xp: Namespace,
    query: FloatArray,
    key: FloatArray,
    value: FloatArray,
    *,
    mask: AttentionMask | None = None,
    bias: FloatArray | None = None,
    is_causal: Causal = False,
    scale: FreeArray | None = None,
    softcap: FreeArray | None = None,
    dropout: FreeArray = 0.0,
    noise: NoiseArray | None = None,
) -> Any:
    """Scaled dot-product attention, softmax(query @ key.T * scale + bias) @ value.

    The weights are computed block by block, so memory grows linearly, not quadratically, with
    sequence length.

    Parameters
    ----------
    query : array of shape (..., heads, L, E)
        Without an axis of heads there is one head.
    key : array of shape (..., key heads, S, E)
        The number of heads of the query may be a multiple of the number of key heads; consecutive
        heads then share a head of key and value. Axes before the heads broadcast.
    value : array of shape (..., key heads, S, Ev)
    mask : boolean array, optional
        Broadcasts to the scores, (..., heads, L, S). True attends. A masked key and its value have
        no influence, even if they are not finite, and no gradient. A fully masked query yields 0
        and a zero gradient.
    bias : array, optional
        Added to the scaled scores, to which it broadcasts. -inf acts as a mask.
    is_causal : bool, "upper_left" or "lower_right", optional
        Whether no query attends to a later key. The first query is aligned with the first key;
        with "lower_right", the last query with the last key, as when queries continue a sequence
        whose keys and values are cached. If L equals S it makes no difference.
    scale : number or array, optional
        The factor of the scores; None is 1/sqrt(E). An array broadcasts to the scores, as do those
        below; one of shape (heads, 1, 1) has a factor for each head.
    softcap : number or array, optional
        The scaled scores s become softcap*tanh(s/softcap) before the bias is added.
    dropout : number or array, optional
        The probability with which a weight becomes 0. The others are divided by 1 - dropout.
    noise : array of shape (..., heads, L, S), optional
        Uniform random numbers from 0 to 1; a weight becomes 0 where they are below `dropout`.
        They are drawn if they are not given.
    rng : numpy.random.Generator, torch.Generator or JAX key, optional
        The generator that draws them. None is a new generator of NumPy or the global one of
        PyTorch; JAX needs a key.

    Returns
    -------
    array of shape (..., heads, L, Ev)
        In the dtype of the query.

    Raises
    ------
    TypeError
        If the arrays differ in library or dtype, or the mask is not boolean.
    ValueError
        If the shapes do not fit together, the number of heads of the query is not a multiple of
        the number of key heads, or a number is out of range.

    Notes
    -----
    A relative rounding error eps in a score of magnitude s causes a relative error of about s*eps
    in its weight; the float32 result is accurate to that limit. 16-bit floats are computed in 32
    bits and rounded once.

    The result of a query is NaN if it attends to a NaN, or if the query or a key that it attends to
    is infinite. Where values cannot be read, under ``torch.compile`` and ``torch.export``, the
    kernel of PyTorch returns NaN for all queries with `is_causal` if a later key or value is NaN,
    and with a mask if any query of the head attends to it.

    Traced code, on JAX and under ``torch.compile``, has at most four blocks along each axis: its
    memory grows with L*S/16 beyond a length of 4096. It has a single block along an axis of a
    symbolic size.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> ax.scaled_dot_product_attention(x, x, x, is_causal=True).round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    >>> ax.scaled_dot_product_attention(x, x, x, mask=np.array([[False], [True]])).round(2)
    array([[0.  , 0.  ],
           [0.33, 0.67]])

    References
    ----------
    Milakov & Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867; Dao et al.,
    FlashAttention, arXiv:2205.14135: the weights block by block. Gemma Team, Gemma 2,
    arXiv:2408.00118: the cap. Ainslie et al., GQA, arXiv:2305.13245: the groups of heads.
    """
    arguments = _arguments(query, key, value, mask, bias, scale, softcap, dropout, noise)
    dims = blockwise.attention_dims(_NAME, **arguments)
    attention = blockwise.prepare(xp, dims, arguments, is_causal)
    output = blockwise.map_heads(attention, blockwise.forward)["output"]
    return xp.reshape(output, dims.output_shape)


@scaled_dot_product_attention.defvjp
def _(xp, g, query, key, value, *, mask, bias, is_causal, scale, softcap, dropout, noise):
    arguments = _arguments(query, key, value, mask, bias, scale, softcap, dropout, noise)
    dims = blockwise.attention_dims(_NAME, **arguments)
    check_shape(f"{_NAME}.vjp", "g", g, dims.output_shape)
    attention = blockwise.prepare(xp, dims, {**arguments, "g": g}, is_causal)
    gradients = blockwise.map_heads(attention, blockwise.vjp)
    return {name: xp.reshape(part, arguments[name].shape) for name, part in gradients.items()}


def _arguments(*values: Any) -> dict[str, Any]:
    """Return by name the arrays, and the numbers that may be arrays."""
    names = (*blockwise.INPUTS, "mask", "bias", *blockwise.FACTORS, "noise")
    return dict(zip(names, values, strict=True))


@operation(
    source="Dao et al., FlashAttention, arXiv:2205.14135.",
    peers={
        "torch": Peer("torch.nn.attention.flex_attention.flex_attention", "with return_lse"),
        "jax": Peer("jax.nn.dot_product_attention", "with return_residual"),
    },
    use_custom_vjp=True,
    widens=True,
)
def attention_with_lse(
    xp: Namespace,
    query: FloatArray,
    key: FloatArray,
    value: FloatArray,
    *,
    mask: AttentionMask | None = None,
    bias: FloatArray | None = None,
    is_causal: Causal = False,
    scale: FreeArray | None = None,
    softcap: FreeArray | None = None,
) -> tuple[Any, Any]:
    """Scaled dot-product attention and the log-sum-exp of the scores of each query.

    Both are the state of attention to some of the keys, which `merge_attention` joins with that
    of attention to others: to a cache of keys, or to those that another device holds.

    Parameters
    ----------
    query : array of shape (..., heads, L, E)
    key : array of shape (..., key heads, S, E)
    value : array of shape (..., key heads, S, Ev)
        As in `scaled_dot_product_attention`, like all others.
    mask : boolean array, optional
        Broadcasts to the scores, (..., heads, L, S). True attends.
    bias : array, optional
        Added to the scaled scores, to which it broadcasts.
    is_causal : bool, "upper_left" or "lower_right", optional
        Whether no query attends to a later key.
    scale : number or array, optional
        The factor of the scores; None is 1/sqrt(E).
    softcap : number or array, optional
        The scaled scores s become softcap*tanh(s/softcap) before the bias is added.

    Returns
    -------
    output : array of shape (..., heads, L, Ev)
        The result of `scaled_dot_product_attention`.
    lse : array of shape (..., heads, L)
        The natural logarithm of the sum of exp(scores), -inf for a fully masked query. Both are
        float32 where the query has 16 bits, and else in its dtype.

    Raises
    ------
    TypeError
        If the arrays differ in library or dtype, or the mask is not boolean.
    ValueError
        If the shapes do not fit together, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> output, lse = ax.attention_with_lse(x, x, x, is_causal=True)
    >>> output.round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    >>> lse.round(2)
    array([0.71, 1.11])

    References
    ----------
    Dao et al., FlashAttention, arXiv:2205.14135.
    """
    arguments = _arguments(query, key, value, mask, bias, scale, softcap, 0.0, None)
    dims = blockwise.attention_dims("attention_with_lse", **arguments)
    attention = blockwise.prepare(xp, dims, arguments, is_causal)
    found = blockwise.map_heads(attention, blockwise.forward_with_lse)
    output = xp.reshape(found["output"], dims.output_shape)
    return output, xp.reshape(found["lse"][..., 0], dims.output_shape[:-1])


@attention_with_lse.defvjp
def _(xp, g, query, key, value, *, mask, bias, is_causal, scale, softcap):
    arguments = _arguments(query, key, value, mask, bias, scale, softcap, 0.0, None)
    dims = blockwise.attention_dims("attention_with_lse", **arguments)
    g_output, g_lse = _cotangents(xp, "attention_with_lse", g, query, dims.output_shape)
    given = {**arguments, "g": g_output, "g_lse": g_lse[..., None]}
    attention = blockwise.prepare(xp, dims, given, is_causal)
    gradients = blockwise.map_heads(attention, blockwise.vjp)
    return {name: xp.reshape(part, arguments[name].shape) for name, part in gradients.items()}


def _cotangents(
    xp: Namespace, function: str, g: Any, like: Any, shape: tuple[int, ...]
) -> list[Any]:
    """Return the cotangents of a result of this shape and of its log-sum-exp, 0 for None."""
    if not isinstance(g, tuple) or len(g) != 2:
        raise TypeError(f"{function}.vjp: g must be a tuple of two, got {describe_value(g)}")
    zero = xp.sum(xp.zeros_like(like), axis=tuple(range(like.ndim)))
    found = []
    for part, of in zip(g, (shape, shape[:-1]), strict=True):
        part = xp.broadcast_to(zero, of) if part is None else part
        check_shape(f"{function}.vjp", "g", part, of)
        found.append(part)
    return found


@operation(
    source="Ye et al., FlashInfer, arXiv:2501.01005.",
    peers={"flashinfer": "flashinfer.merge_state"},
    use_custom_vjp=True,
    widens=True,
)
def merge_attention(
    xp: Namespace,
    output: FloatArray,
    lse: FloatArray,
    other_output: FloatArray,
    other_lse: FloatArray,
) -> tuple[Any, Any]:
    """Attention to the keys of two states, each of which `attention_with_lse` returned.

    It is commutative and associative but for rounding, so that any number of states can be
    joined in any order.

    Parameters
    ----------
    output : array of shape (..., L, Ev)
        The attention of the queries to some of the keys.
    lse : array of shape (..., L)
        The log-sum-exp of their scores.
    other_output, other_lse : arrays
        The same for other keys, in the same shapes.

    Returns
    -------
    output : array of shape (..., L, Ev)
        The attention to all these keys, 0 where no state has any, with an `lse` of -inf.
    lse : array of shape (..., L)
        Both are float32 where the arrays have 16 bits, and else in their dtype.

    Raises
    ------
    TypeError
        If the arrays differ in library or dtype.
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> query, key, value = np.random.default_rng(0).normal(size=(3, 4, 8))
    >>> states = [ax.attention_with_lse(query, key[s], value[s]) for s in (slice(3), slice(3, 4))]
    >>> output, lse = ax.merge_attention(*states[0], *states[1])
    >>> np.allclose(output, ax.scaled_dot_product_attention(query, key, value))
    True

    References
    ----------
    Ye et al., FlashInfer, arXiv:2501.01005; Liu et al., Ring attention with blockwise transformers,
    arXiv:2310.01889.
    """
    _check_states(output, lse, other_output, other_lse)
    share, other_share, merged = _shares(xp, lse, other_lse)
    return share[..., None] * output + other_share[..., None] * other_output, merged


@merge_attention.defvjp
def _(xp, g, output, lse, other_output, other_lse):
    _check_states(output, lse, other_output, other_lse)
    g, g_lse = _cotangents(xp, "merge_attention", g, output, tuple(output.shape))
    share, other_share, _ = _shares(xp, lse, other_lse)
    by_share = xp.sum(g * (output - other_output), axis=-1)
    return {
        "output": share[..., None] * g,
        "lse": share * (g_lse + other_share * by_share),
        "other_output": other_share[..., None] * g,
        "other_lse": other_share * (g_lse - share * by_share),
    }


def _check_states(output: Array, lse: Array, other_output: Array, other_lse: Array) -> None:
    shape = tuple(output.shape)
    given = {"other_output": (other_output, shape)}
    given |= {"lse": (lse, shape[:-1]), "other_lse": (other_lse, shape[:-1])}
    for name, (array, expected) in given.items():
        if tuple(array.shape) != expected or not shape:
            raise ValueError(
                f"merge_attention: {name} of shape {tuple(array.shape)} does not fit to an output"
                f" of shape {shape}"
            )


def _shares(xp: Namespace, lse: Any, other_lse: Any) -> tuple[Any, Any, Any]:
    """Return the shares of two states in their sum, which are 0 if it is, and its logarithm."""
    largest = clip_to_finite(xp, xp.maximum(lse, other_lse))
    old, new = (fast_exp(xp, xp.minimum(x - largest, 0.0)) for x in (lse, other_lse))
    total = old + new
    divisor = one_where_zero(xp, total)
    merged = xp.where(total == 0, -inf, largest + xp.log(divisor))
    return old / divisor, new / divisor, merged


@operation(
    source=_SOURCE,
    peers={
        "torch": (
            "torch.nn.functional.multi_head_attention_forward",
            "torch.nn.MultiheadAttention",
        ),
        "keras": "keras.layers.MultiHeadAttention",
        "flax": "flax.nnx.MultiHeadAttention",
        "mlx": "mlx.nn.MultiHeadAttention",
    },
    noise=NoiseSpec(lambda **args: multihead.multi_head_dims(args).scores_shape, "dropout"),
)
def multi_head_attention(
    xp: Namespace,
    query: FloatArray,
    key: FloatArray,
    value: FloatArray,
    num_heads: Count,
    out_proj_weight: FloatArray,
    *,
    in_proj_weight: FloatArray | None = None,
    q_proj_weight: FloatArray | None = None,
    k_proj_weight: FloatArray | None = None,
    v_proj_weight: FloatArray | None = None,
    in_proj_bias: FloatArray | None = None,
    out_proj_bias: FloatArray | None = None,
    bias_k: FloatArray | None = None,
    bias_v: FloatArray | None = None,
    add_zero_attn: bool = False,
    mask: AttentionMask | None = None,
    key_mask: AttentionMask | None = None,
    bias: FloatArray | None = None,
    is_causal: Causal = False,
    batch_first: bool = True,
    need_weights: bool = False,
    average_attn_weights: bool = True,
    scale: FreeArray | None = None,
    dropout: FreeArray = 0.0,
    noise: NoiseArray | None = None,
) -> tuple[Any, Any]:
    """Multi-head attention: each head attends to its own projections of query, key and value.

    The weights have the layout of the parameters of ``torch.nn.MultiheadAttention``. True attends
    in a mask, where PyTorch's module has False.

    Parameters
    ----------
    query : array of shape (..., L, embedding)
    key : array of shape (..., S, key embedding)
    value : array of shape (..., S, value embedding)
        The axes before the length are those of the query.
    num_heads : int
        The number of heads, which must divide the embedding.
    out_proj_weight : array of shape (embedding, embedding)
        The weight of the projection of all heads' results.
    in_proj_weight : array of shape (3*embedding, embedding), optional
        The weights of the projections of query, key and value, one below the other.
    q_proj_weight, k_proj_weight, v_proj_weight : arrays, optional
        The same apart, of shape (embedding, embedding), (embedding, key embedding) and
        (embedding, value embedding).
    in_proj_bias : array of shape (3*embedding,), optional
        Added to the projections of query, key and value.
    out_proj_bias : array of shape (embedding,), optional
        Added to the result.
    bias_k, bias_v : arrays of shape (1, 1, embedding), optional
        A further key and its value, appended and never masked.
    add_zero_attn : bool, optional
        Whether to append a key and a value of zeros.
    mask : boolean array, optional
        Broadcasts to the scores, (..., heads, L, S). True attends.
    key_mask : boolean array of shape (..., S), optional
        The keys to attend to, for all heads and queries, such as those that are not padding.
    bias : array, optional
        Added to the scaled scores, to which it broadcasts.
    is_causal : bool, "upper_left" or "lower_right", optional
        As in `scaled_dot_product_attention`. Keys that are appended are not masked.
    batch_first : bool, optional
        Whether the length is the axis before the embedding. Otherwise it is the first axis of
        query, key, value and result.
    need_weights : bool, optional
        Whether to return the weights, too. It does not change a bit of the result.
    average_attn_weights : bool, optional
        Whether to return the mean of the weights over the heads.
    scale : number or array, optional
        The factor of the scores, to which an array broadcasts; None is 1/sqrt(embedding/heads).
    dropout : number or array, optional
        The probability with which a weight becomes 0. The others are divided by 1 - dropout.
    noise : array of shape (..., heads, L, S), optional
        Uniform random numbers from 0 to 1; a weight becomes 0 where they are below `dropout`.
        S counts the keys that are appended. They are drawn if they are not given.
    rng : numpy.random.Generator, torch.Generator or JAX key, optional
        The generator that draws them, as in `scaled_dot_product_attention`.

    Returns
    -------
    result : array of shape (..., L, embedding)
    weights : array of shape (..., L, S) or (..., heads, L, S), or None
        S counts the keys that are appended.

    Raises
    ------
    TypeError
        If the arrays differ in library or dtype, or a mask is not boolean.
    ValueError
        If the shapes do not fit together, or a number is out of range.

    Notes
    -----
    A fully masked query yields the projection of 0. The weights of all heads, if they are needed,
    take memory in proportion to L*S; the result alone does not.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> x, eye = np.array([[1.0, 0.0], [0.0, 1.0]]), np.eye(2)
    >>> result, weights = ax.multi_head_attention(
    ...     x, x, x, 1, eye, in_proj_weight=np.concat([eye, eye, eye]), need_weights=True
    ... )
    >>> weights.round(2)
    array([[0.67, 0.33],
           [0.33, 0.67]])

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv:1706.03762.
    """
    return multihead.forward(scaled_dot_product_attention, **locals())


@multi_head_attention.defvjp
def _(xp, g, query, key, value, num_heads, out_proj_weight, **others):
    arguments = {"query": query, "key": key, "value": value, "num_heads": num_heads, **others}
    arguments["out_proj_weight"] = out_proj_weight
    return multihead.vjp(scaled_dot_product_attention, xp, g, **arguments)
