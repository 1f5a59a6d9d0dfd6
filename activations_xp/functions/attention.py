"""Attention: means of values, weighted by how well the queries go with the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil, inf, nan, prod, sqrt
from operator import add, and_
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from .._define import NoiseSpec, apply, operation
from .._errors import check_shape
from .._parameters import BOOL_ARRAY, Count, FloatArray, NoiseArray, Number
from .._special import quick_exp
from .._typing import Array, Namespace
from ..numerics.arrays import (
    arange,
    clip_to_finite,
    is_concrete,
    mask_to_zero,
    unbroadcast,
    zeros_like,
)
from .simplex import softmax

__all__ = ["multi_head_attention", "scaled_dot_product_attention"]

ROWS, COLUMNS = 256, 1024
"""The queries and the keys of a block, whose scores stay in the caches."""

MOST = 4
"""So many blocks each way at the most, where all of them are written out as one program."""

ALL = slice(None)

_NAME = "scaled_dot_product_attention"

Allowed: TypeAlias = Annotated[
    Array,
    replace(
        BOOL_ARRAY,
        text="a boolean array of {first}'s library, in which True attends (numbers to add are the"
        " bias)",
    ),
]
Causal: TypeAlias = bool | Literal["upper_left", "lower_right"]


def _shape_of_scores(
    query: Array, key: Array, value: Array, mask: Any, bias: Any, **others: Any
) -> tuple[int, ...]:
    return _sizes(query, key, value, mask=mask, bias=bias).scores


@operation(
    source="Vaswani et al., Attention is all you need, arXiv:1706.03762.",
    peers={
        "torch": "torch.nn.functional.scaled_dot_product_attention",
        "jax": "jax.nn.dot_product_attention",
        "keras": "keras.ops.dot_product_attention",
        "mlx": "mx.fast.scaled_dot_product_attention",
    },
    use_custom_vjp=True,
    noise=NoiseSpec(_shape_of_scores, "dropout"),
)
def scaled_dot_product_attention(
    xp: Namespace,
    query: FloatArray,
    key: FloatArray,
    value: FloatArray,
    *,
    mask: Allowed | None = None,
    bias: FloatArray | None = None,
    is_causal: Causal = False,
    scale: Number | None = None,
    softcap: Number | None = None,
    dropout: Number = 0.0,
    noise: NoiseArray | None = None,
) -> Any:
    """Attention, softmax(query @ key.T * scale + bias) @ value.

    The weights are not held all at once: what is between takes memory in proportion to the time,
    not to the product of both times.

    Parameters
    ----------
    query : array of shape (..., heads, query time, depth)
        Without an axis of heads there is one head.
    key : array of shape (..., heads, key time, depth)
        The heads of the query may be a multiple of these: so many of them in a row then share a
        head of the keys and of the values. Axes before the heads broadcast.
    value : array of shape (..., heads, key time, value depth)
    mask : boolean array, optional
        It broadcasts to the scores, (..., heads, query time, key time). True attends. What is not
        attended has no influence, whatever it holds, and no gradient; a query that attends to
        nothing gives 0 and has no gradient.
    bias : array, optional
        What is added to the scaled scores, to which it broadcasts. -inf does what a mask does.
    is_causal : bool, "upper_left" or "lower_right", optional
        Whether no query attends to a later key. The first query is as late as the first key, or
        with "lower_right" the last as the last, which is for a query that continues what keys and
        values there are already. Where both times are the same it makes no difference.
    scale : number, optional
        The factor of the scores; None is 1/sqrt(depth).
    softcap : number, optional
        The scaled scores s become softcap*tanh(s/softcap), before there is a bias.
    dropout : number, optional
        The probability with which a weight becomes 0. Those that stay are divided by 1 - dropout.
    noise : array of the shape of the scores, optional
        Random numbers, uniform from 0 to 1; a weight stays where they are not below `dropout`.
        Without them they are drawn.
    rng : numpy.random.Generator, torch.Generator or JAX key, optional
        What draws them, in the library of the arrays. None is a new generator of NumPy, or the
        global one of PyTorch; JAX needs a key.

    Returns
    -------
    array of shape (..., heads, query time, value depth)
        In the dtype of the query.

    Raises
    ------
    TypeError
        If the arrays are not of one library and dtype, or the mask is not boolean.
    ValueError
        If the shapes do not go together, the heads of the query are no multiple of the others, or
        a number is out of range.

    Notes
    -----
    What rounds a score, of size s, rounds its weight by s times as much. In float32 the result is
    as right as that lets it be; 16-bit floats are computed in 32 bits and rounded once.

    A NaN makes NaN of what attends to it, and so does an infinite number in a query or a key.
    PyTorch's own kernel, of which `torch.compile` cannot know what numbers it meets, makes NaN of
    all queries with `is_causal` if a later key or value is NaN.

    What is traced, on JAX and under `torch.compile`, has four blocks each way at the most: beyond
    4096 its memory does grow with the product of the times, by a sixteenth of it.

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
    arXiv:2408.00118: the cap. Ainslie et al., GQA, arXiv:2305.13245: the groups.
    """
    sizes = _sizes(query, key, value, mask=mask, bias=bias, noise=noise)
    arrays = {"query": query, "key": key, "value": value, "mask": mask, "bias": bias}
    attention = _attention(
        xp, sizes, {**arrays, "noise": noise}, is_causal, scale, softcap, dropout
    )
    return xp.reshape(_by_heads(attention, _Attention.result)["result"], sizes.result)


@scaled_dot_product_attention.defvjp
def _(
    xp,
    g,
    query,
    key,
    value,
    *,
    mask,
    bias,
    is_causal,
    scale,
    softcap,
    dropout,
    noise,
):
    sizes = _sizes(query, key, value, mask=mask, bias=bias, noise=noise)
    check_shape(f"{_NAME}.vjp", "g", g, sizes.result)
    arrays: dict[str, Any] = {"query": query, "key": key, "value": value}
    arrays |= {"mask": mask, "bias": bias}
    attention = _attention(
        xp, sizes, {**arrays, "noise": noise, "g": g}, is_causal, scale, softcap, dropout
    )
    found = _by_heads(attention, _Attention.gradients)
    return {name: xp.reshape(part, arrays[name].shape) for name, part in found.items()}


def _shape_of_all_scores(**given: Any) -> tuple[int, ...]:
    return _Heads(None, **given).scores


@operation(
    source="Vaswani et al., Attention is all you need, arXiv:1706.03762.",
    peers={
        "torch": (
            "torch.nn.functional.multi_head_attention_forward",
            "torch.nn.MultiheadAttention",
        ),
        "keras": "keras.layers.MultiHeadAttention",
        "flax": "flax.nnx.MultiHeadAttention",
        "mlx": "mlx.nn.MultiHeadAttention",
    },
    noise=NoiseSpec(_shape_of_all_scores, "dropout"),
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
    mask: Allowed | None = None,
    key_mask: Allowed | None = None,
    bias: FloatArray | None = None,
    is_causal: Causal = False,
    batch_first: bool = True,
    need_weights: bool = False,
    average_attn_weights: bool = True,
    scale: Number | None = None,
    dropout: Number = 0.0,
    noise: NoiseArray | None = None,
) -> Any:
    """Attention by several heads, each to projections of its own, and a projection of all.

    The weights are laid out as in ``torch.nn.MultiheadAttention``, whose state they may be. A mask
    is True where there is attention, which is the other way round there.

    Parameters
    ----------
    query : array of shape (..., query time, embedding)
    key : array of shape (..., key time, key embedding)
    value : array of shape (..., key time, value embedding)
        The axes before the time are those of the query.
    num_heads : int
        Each head has its part of the embedding, which must be a multiple of them.
    out_proj_weight : array of shape (embedding, embedding)
        What all heads found is multiplied by its transpose.
    in_proj_weight : array of shape (3*embedding, embedding), optional
        The weights for query, key and value, one below the other.
    q_proj_weight, k_proj_weight, v_proj_weight : arrays, optional
        The same apart, of shape (embedding, embedding), (embedding, key embedding) and
        (embedding, value embedding).
    in_proj_bias : array of shape (3*embedding,), optional
        What is added to the projections of query, key and value.
    out_proj_bias : array of shape (embedding,), optional
    bias_k, bias_v : arrays of shape (1, 1, embedding), optional
        One more key and value to attend to, which nothing masks.
    add_zero_attn : bool, optional
        Whether there is one more of zeros.
    mask : boolean array, optional
        It broadcasts to (..., heads, query time, key time); True attends.
    key_mask : boolean array of shape (..., key time), optional
        The same for all heads and queries, such as what is no padding.
    bias : array, optional
        What is added to the scaled scores; it broadcasts as the mask does.
    is_causal : bool, "upper_left" or "lower_right", optional
        As in `scaled_dot_product_attention`; what is added at the end is open to all.
    batch_first : bool, optional
        Whether the time comes after the other axes; else it is the first axis of the query, the
        key, the value and the result.
    need_weights : bool, optional
        Whether to return the weights, too. The result is the same, bit by bit.
    average_attn_weights : bool, optional
        Whether to return the mean of the heads' weights.
    scale : number, optional
        The factor of the scores; None is 1/sqrt(embedding/heads).
    dropout : number, optional
        The probability with which a weight becomes 0. Those that stay are divided by 1 - dropout.
    noise : array of shape (..., heads, query time, key time), optional
        Random numbers, uniform from 0 to 1; a weight stays where they are not below `dropout`.
        Its keys include those that are added. Without them they are drawn.
    rng : numpy.random.Generator, torch.Generator or JAX key, optional
        What draws them, as in `scaled_dot_product_attention`.

    Returns
    -------
    result : array of shape (..., query time, embedding)
    weights : array of shape (..., query time, key time) or (..., heads, query time, key time)
        Or None. Its keys include those that are added.

    Raises
    ------
    TypeError
        If the arrays are not of one library and dtype, or a mask is not boolean.
    ValueError
        If the shapes do not go together, or a number is out of range.

    Notes
    -----
    A query that attends to nothing gives the projection of 0. All heads' weights at once take
    memory for the product of both times, which the result alone does not.

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
    return _Heads(**locals()).result()


@multi_head_attention.defvjp
def _(xp, g, query, key, value, num_heads, out_proj_weight, **given):
    weights = (num_heads, out_proj_weight)
    return _Heads(xp, query, key, value, *weights, **given).gradients(g)


@dataclass(frozen=True)
class _Heads:
    """What `multi_head_attention` is given, and what it makes of it step by step."""

    xp: Namespace
    query: Any
    key: Any
    value: Any
    num_heads: int
    out_proj_weight: Any
    in_proj_weight: Any
    q_proj_weight: Any
    k_proj_weight: Any
    v_proj_weight: Any
    in_proj_bias: Any
    out_proj_bias: Any
    bias_k: Any
    bias_v: Any
    add_zero_attn: bool
    mask: Any
    key_mask: Any
    bias: Any
    is_causal: bool | str
    batch_first: bool
    need_weights: bool
    average_attn_weights: bool
    scale: float | None
    dropout: float
    noise: Any

    def __post_init__(self) -> None:
        shapes = [tuple(x.shape) for x in (self.query, self.key, self.value)]
        got = "got query, key and value of shapes {}, {} and {}".format(*shapes)
        if len(shapes[0]) < 2 or len({len(shape) for shape in shapes}) > 1:
            self._fail(f"query, key and value must have as many axes, at least two, {got}")
        if len({self._lead(shape) for shape in shapes}) > 1:
            self._fail(f"query, key and value must be equal but for time and embedding, {got}")
        if shapes[1][self._time] != shapes[2][self._time]:
            self._fail(f"key and value must have the same time, {got}")
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if any((weight is None) != (self.in_proj_weight is not None) for weight in apart):
            self._fail("in_proj_weight must be given, or q_, k_ and v_proj_weight instead")
        if not 0 <= self.dropout <= 1:
            self._fail(f"dropout must be from 0 to 1, got {self.dropout}")
        if (self.bias_k is None) != (self.bias_v is None):
            self._fail("bias_k and bias_v must be given together")
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None and weight.ndim != 2:
                self._fail(f"{name} must be a matrix, got shape {tuple(weight.shape)}")
        embedding, of_key, of_value = (weight.shape[0] for weight in self.weights)
        if embedding % self.num_heads:
            self._fail(f"num_heads must divide the embedding, got {self.num_heads} and {embedding}")
        heads = of_key * self.num_heads // max(embedding, 1)
        if heads * embedding != of_key * self.num_heads or of_value % max(heads, 1):
            got = f"{self.num_heads} of {embedding} in all and rows for {of_key} and {of_value}"
            self._fail(f"k_proj_weight and v_proj_weight must have whole heads, got {got}")
        ends = [shape[-1] for shape in shapes]
        width = of_value // max(heads, 1) * self.num_heads
        self._fit("in_proj_weight", (3 * embedding, ends[0]))
        self._fit("q_proj_weight", (embedding, ends[0]))
        self._fit("k_proj_weight", (of_key, ends[1]))
        self._fit("v_proj_weight", (of_value, ends[2]))
        self._fit("in_proj_bias", (embedding + of_key + of_value,))
        self._fit("out_proj_weight", (self.out_proj_weight.shape[0], width))
        self._fit("out_proj_bias", (self.out_proj_weight.shape[0],))
        self._fit("bias_k", (1, 1, of_key))
        self._fit("bias_v", (1, 1, of_value))
        self._fit("key_mask", (*self.lead, self.columns))
        scores = (*self.lead, self.num_heads, self.rows, self.columns)
        for name, shape in (("mask", scores), ("bias", scores), ("noise", self.scores)):
            array = getattr(self, name)
            if array is not None and _broadcast([array.shape, shape]) != shape:
                got = f"got shapes {tuple(array.shape)} and {shape}"
                self._fail(f"{name} must broadcast to the scores, {got}")

    def _fail(self, text: str) -> None:
        raise ValueError(f"multi_head_attention: {text}")

    def _fit(self, name: str, shape: tuple[int, ...]) -> None:
        array = getattr(self, name)
        if array is not None and tuple(array.shape) != shape:
            self._fail(f"{name} must have shape {shape}, got {tuple(array.shape)}")

    # sizes

    @property
    def _time(self) -> int:
        return -2 if self.batch_first else 0

    def _lead(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[:-2] if self.batch_first else shape[1:-1]

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes before the heads."""
        return self._lead(tuple(self.query.shape))

    @property
    def rows(self) -> int:
        return int(self.query.shape[self._time])

    @property
    def columns(self) -> int:
        """The keys, without those that are added."""
        return int(self.key.shape[self._time])

    @property
    def added(self) -> int:
        return (self.bias_k is not None) + self.add_zero_attn

    @property
    def scores(self) -> tuple[int, ...]:
        return (*self.lead, self.num_heads, self.rows, self.columns + self.added)

    # what is attended to

    @property
    def weights(self) -> list[Any]:
        """What projects query, key and value."""
        if self.in_proj_weight is None:
            return [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        size = self.in_proj_weight.shape[0] // 3
        return [self.in_proj_weight[i * size : (i + 1) * size, :] for i in range(3)]

    def inputs(self) -> list[Any]:
        """Query, key and value with their time before the embedding, and 0 for what is masked."""
        query, key, value = (self._inward(x) for x in (self.query, self.key, self.value))
        return [query, *(mask_to_zero(self.xp, x, self._key_mask) for x in (key, value))]

    @property
    def _key_mask(self) -> Any:
        return None if self.key_mask is None else self.key_mask[..., None]

    def _inward(self, x: Any) -> Any:
        """The array with its time before the embedding."""
        if self.batch_first:
            return x
        return self.xp.permute_dims(x, (*range(1, x.ndim - 1), 0, x.ndim - 1))

    def _outward(self, x: Any) -> Any:
        """The array with its time where the caller has it."""
        if self.batch_first:
            return x
        return self.xp.permute_dims(x, (x.ndim - 2, *range(x.ndim - 2), x.ndim - 1))

    def _split(self, x: Any, heads: int) -> Any:
        """(..., time, heads*depth) as (..., heads, time, depth)."""
        x = self.xp.reshape(x, (*x.shape[:-1], heads, x.shape[-1] // heads))
        return _time_and_heads(self.xp, x)

    def _merged(self, x: Any) -> Any:
        """(..., heads, time, depth) as (..., time, heads*depth)."""
        x = _time_and_heads(self.xp, x)
        return self.xp.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))

    @property
    def _number_of_heads(self) -> list[int]:
        """Of query, key and value."""
        embedding, of_key, _ = (weight.shape[0] for weight in self.weights)
        heads = of_key * self.num_heads // embedding
        return [self.num_heads, heads, heads]

    def projected(self) -> list[Any]:
        """Query, key and value of each head, with the keys and values that are added."""
        xp, start = self.xp, 0
        result: list[Any] = []
        added = (None, self.bias_k, self.bias_v)
        for x, weight, heads, more in zip(
            self.inputs(), self.weights, self._number_of_heads, added, strict=True
        ):
            stop = start + weight.shape[0]
            bias = None if self.in_proj_bias is None else self.in_proj_bias[start:stop]
            parts, start = [_linear(xp, x, weight, bias)], stop
            shape = (*self.lead, 1, weight.shape[0])
            if more is not None:
                parts.append(xp.broadcast_to(xp.reshape(more, (1, weight.shape[0])), shape))
            if self.add_zero_attn and result:
                parts.append(self._constant(xp.zeros_like, shape))
            result.append(self._split(_joined(xp, parts, -2), heads))
        return result

    def _constant(self, like: Callable[..., Any], shape: tuple[int, ...], **dtype: Any) -> Any:
        return self.xp.broadcast_to(like(self.out_proj_weight[:1, :1], **dtype), shape)

    def options(self) -> dict[str, Any]:
        """What else decides who attends to whom; what is added is open to all."""
        xp, is_causal, masks = self.xp, self.is_causal, []
        if self.mask is not None:
            masks.append(self.mask)
        if self.key_mask is not None:
            masks.append(self.key_mask[..., None, None, :])
        shift = _shift(is_causal, self.rows, self.columns)
        if self.added and shift is not None:
            rows, columns = slice(0, self.rows), slice(0, self.columns)
            masks.append(_visible(xp, self.out_proj_weight, rows, columns, shift))
            is_causal = False
        mask = reduce(and_, masks) if masks else None
        if self.added and mask is not None:
            mask = self._widened(mask, xp.ones_like, dtype=xp.bool)
        bias = self.bias
        if self.added and bias is not None:
            bias = self._widened(bias, xp.zeros_like)
        return {
            "mask": mask,
            "bias": bias,
            "is_causal": is_causal,
            "scale": self.scale,
            "dropout": self.dropout,
            "noise": self.noise if self.dropout > 0 else None,
        }

    def _widened(self, x: Any, like: Callable[..., Any], **dtype: Any) -> Any:
        """A mask or a bias for the keys that are added, too."""
        xp, rows = self.xp, tuple(x.shape[:-1])
        x = xp.broadcast_to(x, (*rows, self.columns))
        return xp.concat([x, self._constant(like, (*rows, self.added), **dtype)], axis=-1)

    # what comes of it

    def found(self, projected: list[Any], options: dict[str, Any]) -> Any:
        """What the heads find, side by side."""
        return self._merged(apply(self.xp, scaled_dot_product_attention, *projected, **options))

    def attention(self, projected: list[Any], options: dict[str, Any]) -> _Attention:
        """All queries and keys as one block."""
        arrays: dict[str, Any] = dict(zip(("query", "key", "value"), projected, strict=True))
        arrays |= {name: options[name] for name in ("mask", "bias", "noise")}
        others = {name: options[name] for name in ("is_causal", "scale", "dropout")}
        sizes = _sizes(**arrays)
        attention = _attention(self.xp, sizes, arrays, softcap=None, **others)
        return replace(attention, block=(sizes.rows, sizes.columns))

    def result(self) -> tuple[Any, Any]:
        """The projection of what was found, and the weights of the values."""
        xp, projected, options = self.xp, self.projected(), self.options()
        found = self.found(projected, options)
        result = _linear(xp, found, self.out_proj_weight, self.out_proj_bias)
        weights = None
        if self.need_weights:
            weights = xp.reshape(self.attention(projected, options).all_weights(), self.scores)
            if self.average_attn_weights:
                weights = xp.mean(weights, axis=-3)
        return self._outward(result), weights

    def gradients(self, g: Any) -> dict[str, Any]:
        """Those of all arrays, from those of the result and of the weights."""
        xp, projected, options = self.xp, self.projected(), self.options()
        of_heads = self.found(projected, options)
        g, g_weights = g if isinstance(g, tuple) else (g, None)
        if g is None:
            g = self._outward(zeros_like(xp, _linear(xp, of_heads, self.out_proj_weight, None)))
        pulled, *own = _linear_gradients(xp, self._inward(g), of_heads, self.out_proj_weight)
        found = dict(zip(("out_proj_weight", "out_proj_bias"), own, strict=True))
        g_heads = self._split(pulled, self.num_heads)
        heads = apply(xp, scaled_dot_product_attention.vjp, g_heads, *projected, **options)
        if g_weights is not None:
            if self.average_attn_weights:
                g_weights = g_weights[..., None, :, :] * (1 / self.num_heads)
            g_weights = xp.broadcast_to(g_weights, self.scores)
            for name, part in (
                self.attention(projected, options).gradients_by_weights(g_weights).items()
            ):
                heads[name] = heads[name] + xp.reshape(part, heads[name].shape)
        if self.bias is not None:
            found["bias"] = unbroadcast(xp, heads["bias"][..., : self.columns], self.bias.shape)
        slopes, biases = [], []
        for name, x, weight in zip(
            ("query", "key", "value"), self.inputs(), self.weights, strict=True
        ):
            part, time = self._merged(heads[name]), x.shape[-2]
            if name != "query" and self.bias_k is not None:
                more = unbroadcast(xp, part[..., time : time + 1, :], (1, part.shape[-1]))
                found[f"bias_{name[0]}"] = xp.reshape(more, (1, *more.shape))
            of_x, slope, bias = _linear_gradients(xp, part[..., :time, :], x, weight)
            of_x = of_x if name == "query" else mask_to_zero(xp, of_x, self._key_mask)
            found[name] = self._outward(of_x)
            found[f"{name[0]}_proj_weight"] = slope
            slopes.append(slope)
            biases.append(bias)
        found["in_proj_weight"] = slopes
        found["in_proj_bias"] = biases
        return {
            name: xp.concat(part, axis=0) if isinstance(part, list) else part
            for name, part in found.items()
            if getattr(self, name) is not None
        }


def _linear(xp: Namespace, x: Any, weight: Any, bias: Any) -> Any:
    y = xp.matmul(x, _turned(xp, weight))
    return y if bias is None else y + bias


def _linear_gradients(xp: Namespace, g: Any, x: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Those of x, the weight and the bias."""
    flat_g, flat_x = (xp.reshape(a, (prod(a.shape[:-1]), a.shape[-1])) for a in (g, x))
    slope = xp.matmul(_turned(xp, flat_g), flat_x)
    return xp.matmul(g, weight), slope, xp.sum(flat_g, axis=0)


class _Sizes(NamedTuple):
    """How long the axes are, where all arrays have as many; so many groups share a head."""

    lead: tuple[int, ...]
    heads: int
    groups: int
    rows: int
    columns: int
    depth: int
    has_heads: bool

    @property
    def scores(self) -> tuple[int, ...]:
        return self._shape(self.columns)

    @property
    def result(self) -> tuple[int, ...]:
        return self._shape(self.depth)

    def _shape(self, last: int) -> tuple[int, ...]:
        heads = (self.heads * self.groups,) if self.has_heads else ()
        return (*self.lead, *heads, self.rows, last)

    def arranged(self, xp: Namespace, x: Array) -> Any:
        """The array with an axis of size 1 for each that it lacks, and the groups apart."""
        *lead, heads, rows, columns = (1,) * (len(self.lead) + 3 - x.ndim) + tuple(x.shape)
        if self.groups == 1:
            return xp.reshape(x, (*lead, heads, rows, columns))
        split = (self.heads, self.groups) if heads == self.heads * self.groups else (heads, 1)
        return xp.reshape(x, (*lead, *split, rows, columns))


def _sizes(query: Array, key: Array, value: Array, **others: Array | None) -> _Sizes:
    """How long the axes are, or one clear error if they do not go together."""
    given = {"query": query, "key": key, "value": value}
    shapes = {name: tuple(array.shape) for name, array in given.items()}
    for name, shape in shapes.items():
        if len(shape) < 2:
            raise ValueError(f"{_NAME}: {name} must have a time and a depth, got shape {shape}")
    axes = [(1,) * (3 - len(shape)) + shape for shape in shapes.values()]
    (heads, rows, depth), (of_key, columns, key_depth), (of_value, time, width) = (
        shape[-3:] for shape in axes
    )
    for what, first, one, second, other in (
        ("depth", "query", depth, "key", key_depth),
        ("time", "key", columns, "value", time),
        ("number of heads", "key", of_key, "value", of_value),
    ):
        if one != other:
            got = f"{one} and {other} in shapes {shapes[first]} and {shapes[second]}"
            raise ValueError(f"{_NAME}: {first} and {second} must have the same {what}, got {got}")
    groups = heads // of_key if of_key else 1
    if heads != groups * of_key:
        got = f"{heads} and {of_key} in shapes {shapes['query']} and {shapes['key']}"
        raise ValueError(f"{_NAME}: query must have a multiple of key's heads, got {got}")
    lead = _broadcast([shape[:-3] for shape in axes])
    if lead is None:
        got = ", ".join(map(str, shapes.values()))
        raise ValueError(f"{_NAME}: query, key and value do not broadcast, got shapes {got}")
    sizes = _Sizes(lead, of_key, groups, rows, columns, width, max(map(len, shapes.values())) > 2)
    for name, array in others.items():
        if array is not None and _broadcast([array.shape, sizes.scores]) != sizes.scores:
            raise ValueError(
                f"{_NAME}: {name} of shape {tuple(array.shape)} does not broadcast to the scores,"
                f" of shape {sizes.scores}"
            )
    return sizes


def _broadcast(shapes: list[Any]) -> tuple[int, ...] | None:
    """What shapes broadcast to, if they do."""
    rank = max(map(len, shapes))
    sizes = []
    for axis in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        longer = {n for n in axis if n != 1}
        if len(longer) > 1:
            return None
        sizes.append(longer.pop() if longer else 1)
    return tuple(sizes)


@dataclass(frozen=True)
class _Attention:
    """Who attends to whom, in arrays (..., time, depth) with as many axes each.

    arrays : by name, those that there are; the query is scaled, and 0 is put for what is not
        finite in the query, the key and the value where ``bad_query`` etc. say so
    shift : how far ahead a query sees; None is without end
    block : the queries and the keys of a block
    most : the scores, of several heads, to have at once
    """

    xp: Namespace
    arrays: Mapping[str, Any]
    scale: float
    shift: int | None
    softcap: float | None
    dropout: float
    block: tuple[int, int]
    most: float

    def cut(self, name: str, rows: slice = ALL, columns: slice = ALL) -> Any:
        """A block of an array, or what broadcasts to it."""
        x = self.arrays[name]
        return x[..., rows if x.shape[-2] > 1 else ALL, columns if x.shape[-1] > 1 else ALL]

    def rows(self) -> Iterator[slice]:
        """The queries, block by block."""
        return _slices(self.arrays["query"].shape[-2], self.block[0])

    def columns(self, rows: slice) -> Iterator[slice]:
        """The keys that these queries may see, block by block."""
        for columns in _slices(self.arrays["key"].shape[-2], self.block[1]):
            if self.shift is None or columns.start < max(rows.stop + self.shift, 1):
                yield columns

    def allowed(self, rows: slice, columns: slice) -> Any:
        """Which of these queries attend to which of these keys; None is all to all."""
        xp, parts = self.xp, []
        if "mask" in self.arrays:
            parts.append(self.cut("mask", rows, columns))
        if "bias" in self.arrays:
            parts.append(self.cut("bias", rows, columns) != -inf)
        if self.shift is not None and columns.stop > rows.start + self.shift + 1:
            parts.append(_visible(xp, self.arrays["query"], rows, columns, self.shift))
        return reduce(and_, parts) if parts else None

    def scores(self, rows: slice, columns: slice) -> tuple[Any, Any, Any]:
        """The scores, what is allowed of them, and the tanh that caps them."""
        xp, cap = self.xp, None
        scores = xp.matmul(self.cut("query", rows), _turned(xp, self.cut("key", columns)))
        if self.softcap is not None:
            cap = xp.tanh(scores)
            scores = self.softcap * cap
        if "bias" in self.arrays:
            scores = scores + self.cut("bias", rows, columns)
        if "bad_key" in self.arrays:
            bad = self.cut("bad_query", rows) | _turned(xp, self.cut("bad_key", columns))
            scores = xp.where(bad, nan, scores)
        allowed = self.allowed(rows, columns)
        return scores if allowed is None else xp.where(allowed, scores, -inf), allowed, cap

    def weights(self, scores: Any, level: Any) -> Any:
        """The exponentials of scores that are over the level by less than 1, or infinite."""
        return quick_exp(self.xp, self.xp.minimum(scores - level, 1.0))

    def kept(self, weights: Any, rows: slice, columns: slice) -> Any:
        """What chance leaves of them."""
        if "noise" not in self.arrays:
            return weights
        return self.xp.where(self.cut("noise", rows, columns) >= self.dropout, weights, 0.0)

    @property
    def is_empty(self) -> bool:
        """Whether there are no queries or no keys."""
        return 0 in (self.arrays["query"].shape[-2], self.arrays["key"].shape[-2])

    @property
    def size(self) -> int:
        """The scores of a block of one head."""
        rows, columns = self.block
        *_, time, _ = self.arrays["query"].shape
        *_, key_time, _ = self.arrays["key"].shape
        return int(min(time, rows) * min(key_time, columns))

    @property
    def share(self) -> float:
        """What dropout makes of a weight of 1 that stays."""
        return 1 / (1 - self.dropout) if self.dropout < 1 else 0.0

    def attended(self, rows: slice) -> tuple[Any, Any, Any, Any]:
        """The result for these queries, the level of their scores and the sum of their weights.

        And the weights themselves with the rest of their block, if there is only that.
        """
        xp = self.xp
        level: Any = None
        mean: Any = 0
        total: Any = 0
        spoilt: Any = 0
        block: Any = None
        for columns in self.columns(rows):
            scores, allowed, cap = self.scores(rows, columns)
            # any level near the largest score does; that of whole numbers has no derivative
            top = clip_to_finite(xp, xp.floor(xp.max(scores, axis=-1, keepdims=True)))
            if level is not None:
                top = xp.maximum(level, top)
                fade = quick_exp(xp, level - top)
                mean, total = mean * fade, total * fade
            weights = self.weights(scores, top)
            kept = self.kept(weights, rows, columns)
            mean = mean + xp.matmul(kept, self.cut("value", columns))
            total = total + xp.sum(weights, axis=-1, keepdims=True)
            block = (weights, allowed, cap) if level is None else None
            level = top
            if "bad_value" in self.arrays:
                bad = self.cut("bad_value", columns)
                if allowed is None:
                    count = xp.sum(bad, axis=-2, keepdims=True)
                else:
                    every = xp.broadcast_to(xp.astype(allowed, bad.dtype), weights.shape)
                    count = xp.matmul(every, bad)
                spoilt = spoilt + count
        mean = mean * self.share / xp.where(total == 0, 1.0, total)
        if "bad_value" in self.arrays:
            mean = xp.where(spoilt > 0, nan, mean)
        return mean, level, total, block

    def result(self) -> dict[str, Any]:
        """The means of the values."""
        xp = self.xp
        if self.is_empty:
            scores = xp.matmul(self.arrays["query"], _turned(xp, self.arrays["key"]))
            return {"result": xp.matmul(scores, self.arrays["value"])}
        return {"result": _joined(xp, [self.attended(rows)[0] for rows in self.rows()], -2)}

    def all_scores(self) -> tuple[slice, slice, Any, Any]:
        """Those of a single block, where they are, and which are allowed."""
        rows, columns = (slice(0, size) for size in self.block)
        scores, allowed, _ = self.scores(rows, columns)
        return rows, columns, scores, allowed

    def all_weights(self) -> Any:
        """The weights themselves, of a single block."""
        rows, columns, scores, allowed = self.all_scores()
        return self.kept(apply(self.xp, softmax, scores, -1, allowed), rows, columns) * self.share

    def gradients_by_weights(self, g: Any) -> dict[str, Any]:
        """Those of the arrays from that of the weights."""
        xp, arrays = self.xp, self.arrays
        rows, columns, scores, allowed = self.all_scores()
        g = self.kept(xp.reshape(g, scores.shape) * self.share, rows, columns)
        slope = apply(xp, softmax.vjp, g, scores, -1, allowed)["x"]
        found = {
            "query": xp.matmul(slope, arrays["key"]) * self.scale,
            "key": xp.matmul(_turned(xp, slope), arrays["query"]),
            "bias": slope,
        }
        return {
            name: unbroadcast(xp, part, arrays[name].shape)
            for name, part in found.items()
            if name in arrays
        }

    def gradients(self) -> dict[str, Any]:
        """Those of the arrays that have one, from that of the result."""
        xp = self.xp
        sums = _Sums(self)
        for rows in () if self.is_empty else self.rows():
            mean, level, total, block = self.attended(rows)
            g = xp.where(total == 0, 0.0, self.cut("g", rows)) / xp.where(total == 0, 1.0, total)
            own = xp.sum(g * mean, axis=-1, keepdims=True)
            g = g * self.share
            for columns in self.columns(rows):
                if block is not None:
                    weights, allowed, cap = block
                else:
                    scores, allowed, cap = self.scores(rows, columns)
                    weights = self.weights(scores, level)
                kept = self.kept(weights, rows, columns)
                sums.add("value", xp.matmul(_turned(xp, kept), g), columns)
                slope = xp.matmul(g, _turned(xp, self.cut("value", columns)))
                slope = weights * (self.kept(slope, rows, columns) - own)
                if allowed is not None:
                    slope = xp.where(allowed, slope, 0.0)
                if "bias" in self.arrays:
                    sums.add("bias", slope, rows, columns)
                if cap is not None:
                    slope = slope * (self.softcap - self.softcap * (cap * cap))
                sums.add("query", xp.matmul(slope, self.cut("key", columns)) * self.scale, rows)
                slope = _turned(xp, slope)
                sums.add("key", xp.matmul(slope, self.cut("query", rows)), columns)
        return sums.whole()


class _Sums:
    """Gradients of blocks, put together."""

    def __init__(self, attention: _Attention) -> None:
        self.attention = attention
        self.parts: dict[tuple[str, int, int], Any] = {}

    def add(self, name: str, part: Any, rows: slice = ALL, columns: slice = ALL) -> None:
        """The part that a block has in the gradient; with others', where it broadcasts."""
        block = self.attention.cut(name, rows, columns)
        part = unbroadcast(self.attention.xp, part, block.shape)
        at = self._place(name, rows, columns)
        self.parts[at] = self.parts[at] + part if at in self.parts else part

    def _place(self, name: str, rows: slice, columns: slice) -> tuple[str, int, int]:
        shape = self.attention.arrays[name].shape
        return name, rows.start if shape[-2] > 1 else 0, columns.start if shape[-1] > 1 else 0

    def whole(self) -> dict[str, Any]:
        """All of them; no block is 0."""
        xp, arrays = self.attention.xp, self.attention.arrays
        rows, columns = (
            list(_slices(arrays[name].shape[-2], step))
            for name, step in zip(("query", "key"), self.attention.block, strict=True)
        )
        grids = {"query": (rows, [ALL]), "key": (columns, [ALL]), "value": (columns, [ALL])}
        if "bias" in arrays:
            *_, n, m = arrays["bias"].shape
            grids["bias"] = (rows if n > 1 else [ALL], columns if m > 1 else [ALL])

        def part(name: str, i: slice, j: slice) -> Any:
            found = self.parts.get(self._place(name, i, j))
            return zeros_like(xp, self.attention.cut(name, i, j)) if found is None else found

        return {
            name: _joined(
                xp, [_joined(xp, [part(name, i, j) for j in down], -1) for i in across], -2
            )
            for name, (across, down) in grids.items()
        }


def _attention(
    xp: Namespace,
    sizes: _Sizes,
    given: Mapping[str, Any],
    is_causal: bool | str,
    scale: float | None,
    softcap: float | None,
    dropout: float,
) -> _Attention:
    """What is to be computed of the arrays that are given."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"{_NAME}: dropout must be from 0 to 1, got {dropout}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"{_NAME}: softcap must be over 0, got {softcap}")
    if dropout > 0 and given["noise"] is None:
        raise ValueError(f"{_NAME}: noise must be given with a dropout of {dropout}, got None")
    arrays = {
        name: sizes.arranged(xp, array)
        for name, array in given.items()
        if array is not None and (name != "noise" or dropout > 0)
    }
    shift = _shift(is_causal, sizes.rows, sizes.columns)
    is_partial = shift is not None or "mask" in arrays or "bias" in arrays
    inputs = [arrays[name] for name in ("query", "key", "value")]
    is_known = is_concrete(xp, *inputs)
    if is_partial and not (is_known and all(xp.all(xp.isfinite(x)) for x in inputs)):
        for name in ("query", "key", "value"):
            bad = xp.logical_not(xp.isfinite(arrays[name]))
            arrays[name] = xp.where(bad, 0.0, arrays[name])
            arrays[f"bad_{name}"] = (
                xp.astype(bad, arrays[name].dtype)
                if name == "value"
                else xp.any(bad, axis=-1, keepdims=True)
            )
    factor = 1 / sqrt(max(given["query"].shape[-1], 1)) if scale is None else scale
    if softcap is not None:
        factor = factor / softcap
    arrays["query"] = arrays["query"] * factor
    if is_known:
        block = (ROWS, COLUMNS if shift is None else ROWS)
    else:
        block = (max(ROWS, ceil(sizes.rows / MOST)), max(COLUMNS, ceil(sizes.columns / MOST)))
    most = ROWS * COLUMNS if is_known else inf
    return _Attention(xp, arrays, factor, shift, softcap, dropout, block, most)


def _by_heads(
    attention: _Attention, compute: Callable[[_Attention], dict[str, Any]]
) -> dict[str, Any]:
    """What it computes, for so few heads at once that their blocks stay in the caches."""
    arrays = attention.arrays
    lead = _broadcast([arrays[name].shape[:-2] for name in ("query", "key", "value")]) or ()
    axis = next((i for i, n in enumerate(lead) if n > 1), None)
    scores = prod(lead) * attention.size
    if axis is None or scores <= attention.most:
        return compute(attention)

    def part(heads: slice) -> dict[str, Any]:
        cut = {
            name: x[(*(ALL,) * axis, heads, ...)] if x.shape[axis] > 1 else x
            for name, x in arrays.items()
        }
        return _by_heads(replace(attention, arrays=cut), compute)

    step = max(1, int(attention.most * lead[axis] // scores))
    parts = [part(heads) for heads in _slices(lead[axis], step)]
    return {
        name: _joined(attention.xp, [found[name] for found in parts], axis)
        if name not in arrays or arrays[name].shape[axis] > 1
        else reduce(add, [found[name] for found in parts])
        for name in parts[0]
    }


def _shift(is_causal: bool | str, rows: int, columns: int) -> int | None:
    """How many keys ahead a query sees, if not all."""
    if is_causal is False:
        return None
    return columns - rows if is_causal == "lower_right" else 0


def _visible(xp: Namespace, x: Any, rows: slice, columns: slice, shift: int) -> Any:
    """Which of the queries see which of the keys; x is an array of the kind and dtype to use."""
    i, j = arange(xp, x, rows.stop)[rows], arange(xp, x, columns.stop)[columns]
    return j - i[:, None] <= shift


def _slices(size: int, step: int) -> Iterator[slice]:
    """Those that make up an axis; one of an empty axis."""
    return (slice(i, min(i + step, size)) for i in range(0, max(size, 1), step))


def _time_and_heads(xp: Namespace, x: Any) -> Any:
    """The array with both axes before the last exchanged."""
    return xp.permute_dims(x, (*range(x.ndim - 3), x.ndim - 2, x.ndim - 3, x.ndim - 1))


def _turned(xp: Namespace, x: Any) -> Any:
    """Each matrix transposed."""
    return xp.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _joined(xp: Namespace, parts: list[Any], axis: int) -> Any:
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)
