"""Attention: means of values, weighted by the softmax of the products of queries and keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from ..._define import NoiseSpec, operation
from ..._errors import check_shape
from ..._parameters import BOOL_ARRAY, Count, FloatArray, FreeArray, NoiseArray
from ..._typing import Array, Namespace
from . import blockwise, multihead

__all__ = ["multi_head_attention", "scaled_dot_product_attention"]

AttentionMask: TypeAlias = Annotated[
    Array,
    replace(
        BOOL_ARRAY,
        text="a boolean array of {first}'s library, in which True attends (numbers to add are the"
        " bias)",
    ),
]
Causal: TypeAlias = bool | Literal["upper_left", "lower_right"]

_SOURCE = "Vaswani et al., Attention is all you need, arXiv:1706.03762."


def _noise_shape(
    query: Array, key: Array, value: Array, mask: Any, bias: Any, **others: Any
) -> tuple[int, ...]:
    return blockwise.attention_dims(query, key, value, mask=mask, bias=bias).scores_shape


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
    dims = blockwise.attention_dims(**arguments)
    attention = blockwise.prepare(xp, dims, arguments, is_causal)
    output = blockwise.map_heads(attention, blockwise.forward)["output"]
    return xp.reshape(output, dims.output_shape)


@scaled_dot_product_attention.defvjp
def _(xp, g, query, key, value, *, mask, bias, is_causal, scale, softcap, dropout, noise):
    arguments = _arguments(query, key, value, mask, bias, scale, softcap, dropout, noise)
    dims = blockwise.attention_dims(**arguments)
    check_shape(f"{blockwise.NAME}.vjp", "g", g, dims.output_shape)
    attention = blockwise.prepare(xp, dims, {**arguments, "g": g}, is_causal)
    gradients = blockwise.map_heads(attention, blockwise.vjp)
    return {name: xp.reshape(part, arguments[name].shape) for name, part in gradients.items()}


def _arguments(*values: Any) -> dict[str, Any]:
    """Return by name the arrays, and the numbers that may be arrays."""
    names = (*blockwise.INPUTS, "mask", "bias", *blockwise.FACTORS, "noise")
    return dict(zip(names, values, strict=True))


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
