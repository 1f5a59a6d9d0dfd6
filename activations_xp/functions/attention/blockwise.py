"""The kernel of attention: a softmax block by block, with running maxima and sums of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil, inf, nan, prod, sqrt
from operator import add, and_
from typing import Any, NamedTuple

from ..._define import apply, subroutine
from ..._parameters import Axis
from ..._typing import Array, Namespace
from ...numerics.arrays import (
    arange,
    broadcasts_to,
    clip_to_finite,
    is_array,
    is_concrete,
    is_known,
    mask_to_zero,
    one_where_zero,
    unbroadcast,
)
from ...numerics.special import fast_exp
from ..sigmoids import softcap as soft_cap
from ..simplex import softmax

Q_BLOCK, KV_BLOCK = 256, 1024
"""The numbers of queries and keys of a block, whose scores fit into the caches."""

MAX_UNROLLED = 4
"""The largest number of blocks along an axis where a compiler unrolls the loop over them."""

ALL = slice(None)

INPUTS = ("query", "key", "value")

FACTORS = ("scale", "softcap", "dropout")
"""The parameters that are numbers, or arrays that broadcast to the scores."""


class Dims(NamedTuple):
    """The sizes of the axes of attention: `groups` query heads in a row share a key head.

    function : the name of the function, for error messages
    """

    function: str
    batch: tuple[int, ...]
    kv_heads: int
    groups: int
    q_len: int
    kv_len: int
    v_depth: int
    has_heads: bool

    @property
    def scores_shape(self) -> tuple[int, ...]:
        return self._shape(self.kv_len)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._shape(self.v_depth)

    def _shape(self, last: int) -> tuple[int, ...]:
        heads = (self.kv_heads * self.groups,) if self.has_heads else ()
        return (*self.batch, *heads, self.q_len, last)

    def align(self, xp: Namespace, x: Array) -> Any:
        """Reshape to the rank of all arrays, with an axis of groups if there are any."""
        *batch, heads, rows, columns = (1,) * (len(self.batch) + 3 - x.ndim) + tuple(x.shape)
        if self.groups == 1:
            return xp.reshape(x, (*batch, heads, rows, columns))
        is_grouped = heads == self.kv_heads * self.groups
        split = (self.kv_heads, self.groups) if is_grouped else (heads, 1)
        return xp.reshape(x, (*batch, *split, rows, columns))


def attention_dims(function: str, query: Array, key: Array, value: Array, **others: Any) -> Dims:
    """Return the sizes of the axes, or raise a ValueError if the shapes do not fit together.

    The arrays among `others` broadcast to the scores.
    """
    arrays = {"query": query, "key": key, "value": value}
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    for name, shape in shapes.items():
        if len(shape) < 2:
            got = f"got shape {shape}"
            raise ValueError(f"{function}: {name} must have a length and a depth, {got}")
    padded = [(1,) * (3 - len(shape)) + shape for shape in shapes.values()]
    (q_heads, q_len, q_depth), (k_heads, k_len, k_depth), (v_heads, v_len, v_depth) = (
        shape[-3:] for shape in padded
    )
    for what, first, n, second, m in (
        ("depth", "query", q_depth, "key", k_depth),
        ("sequence length", "key", k_len, "value", v_len),
        ("number of heads", "key", k_heads, "value", v_heads),
    ):
        if n != m:
            got = f"got {n} and {m} in shapes {shapes[first]} and {shapes[second]}"
            raise ValueError(f"{function}: {first} and {second} must have the same {what}, {got}")
    groups = q_heads // k_heads if k_heads else 1
    if q_heads != groups * k_heads:
        got = f"{q_heads} and {k_heads} in shapes {shapes['query']} and {shapes['key']}"
        raise ValueError(f"{function}: query must have a multiple of key's heads, got {got}")
    batch = broadcast_shapes([shape[:-3] for shape in padded])
    if batch is None:
        got = ", ".join(map(str, shapes.values()))
        raise ValueError(f"{function}: query, key and value do not broadcast, got shapes {got}")
    has_heads = max(map(len, shapes.values())) > 2
    dims = Dims(function, batch, k_heads, groups, q_len, k_len, v_depth, has_heads)
    scores = dims.scores_shape
    for name, array in others.items():
        if is_array(array) and not broadcasts_to(array.shape, scores):
            what = f"{name} of shape {tuple(array.shape)}"
            raise ValueError(
                f"{function}: {what} does not broadcast to the scores, of shape {scores}"
            )
    return dims


def broadcast_shapes(shapes: list[Any]) -> tuple[int, ...] | None:
    """Return the shape that shapes broadcast to, or None if they do not."""
    ndim = max(map(len, shapes))
    sizes = []
    for axis in zip(*((1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        sizes.append(next((n for n in axis if n != 1), 1))
        if any(n != sizes[-1] for n in axis if n != 1):
            return None
    return tuple(sizes)


def causal_offset(is_causal: bool | str, q_len: int, kv_len: int) -> int | None:
    """Return the last key that the first query attends to; None if there is no causal mask."""
    if is_causal is False:
        return None
    return kv_len - q_len if is_causal == "lower_right" else 0


def causal_mask(xp: Namespace, like: Any, q: slice, kv: slice, offset: int) -> Any:
    """Return which of the queries `q` attend to which of the keys `kv`."""
    i, j = arange(xp, like, q.stop)[q], arange(xp, like, kv.stop)[kv]
    return j - i[:, None] <= offset


class Scores(NamedTuple):
    """The scores of a block, and what they are made of.

    value : -inf where masked
    mask : None is all to all
    products : of queries and keys, where an array scales them
    scaled : the products, where an array caps them
    tanh : of the soft cap, where it is a number
    """

    value: Any
    mask: Any
    products: Any
    scaled: Any
    tanh: Any


@dataclass(frozen=True, eq=False)
class BlockwiseAttention:
    """Inputs of blockwise attention, reshaped to (..., length, depth) with equal rank.

    A slice `q` of the queries and a slice `kv` of the keys are a block.

    arrays : those that are given, by name; the query is scaled, and elements of query, key and
        value that are not finite are 0 where ``nonfinite_query`` etc. mark them
    scale : the factor of the query, which numbers make
    causal_offset : query i attends to the keys up to ``i + causal_offset``; None is no causal mask
    softcap, dropout : None and 0 where they are among the arrays
    block_size : the numbers of queries and keys of a block; None is all
    max_scores : the largest number of scores, of several heads, to compute at once
    """

    xp: Namespace
    arrays: Mapping[str, Any]
    scale: float
    causal_offset: int | None
    softcap: float | None
    dropout: float
    block_size: tuple[int | None, int | None]
    max_scores: float

    @property
    def lengths(self) -> tuple[int, int]:
        """The numbers of queries and keys."""
        return self.arrays["query"].shape[-2], self.arrays["key"].shape[-2]

    @property
    def dropout_scale(self) -> float:
        """The factor of the weights that dropout keeps."""
        return 1 / (1 - self.dropout) if self.dropout < 1 else 0.0

    def q_chunks(self) -> Iterator[slice]:
        """Yield the slices of the queries."""
        return chunks(self.lengths[0], self.block_size[0])

    def kv_chunks(self, q: slice) -> Iterator[slice]:
        """Yield the slices of the keys that these queries may attend to."""
        offset = self.causal_offset
        for kv in chunks(self.lengths[1], self.block_size[1]):
            is_first = offset is None or not kv.start
            if is_first or not is_known(self.xp, q.stop, offset) or kv.start < q.stop + offset:
                yield kv

    def block(self, name: str, rows: slice = ALL, columns: slice = ALL) -> Any:
        """Return a block of an array, which may broadcast along either axis."""
        x = self.arrays[name]
        return x[..., ALL if x.shape[-2] == 1 else rows, ALL if x.shape[-1] == 1 else columns]

    def mask(self, q: slice, kv: slice) -> Any:
        """Return which of the queries attend to which of the keys; None is all to all."""
        xp, masks = self.xp, []
        if "mask" in self.arrays:
            masks.append(self.block("mask", q, kv))
        if "bias" in self.arrays:
            masks.append(self.block("bias", q, kv) != -inf)
        offset = self.causal_offset
        if offset is not None:
            is_block = ALL not in (q, kv) and is_known(xp, kv.stop, offset)
            if not (is_block and kv.stop <= q.start + offset + 1):
                q, kv = (
                    slice(0, length) if block == ALL else block
                    for block, length in zip((q, kv), self.lengths, strict=True)
                )
                masks.append(causal_mask(xp, self.arrays["query"], q, kv, offset))
        return reduce(and_, masks) if masks else None

    def scores(self, q: slice, kv: slice) -> Scores:
        """Return the scores of a block."""
        xp, products, scaled, tanh = self.xp, None, None, None
        scores = xp.matmul(self.block("query", q), xp.matrix_transpose(self.block("key", kv)))
        if "scale" in self.arrays:
            products = scores
            scores = products * self.block("scale", q, kv)
        if self.softcap is not None:
            tanh = xp.tanh(scores)
            scores = self.softcap * tanh
        if "softcap" in self.arrays:
            scaled = scores
            scores = soft_cap.impl(xp, scaled, self.block("softcap", q, kv))
        if "bias" in self.arrays:
            scores = scores + self.block("bias", q, kv)
        if "nonfinite_key" in self.arrays:
            nonfinite_key = xp.matrix_transpose(self.block("nonfinite_key", kv))
            scores = xp.where(self.block("nonfinite_query", q) | nonfinite_key, nan, scores)
        mask = self.mask(q, kv)
        scores = scores if mask is None else xp.where(mask, scores, -inf)
        return Scores(scores, mask, products, scaled, tanh)

    def apply_dropout(self, x: Any, q: slice, kv: slice) -> Any:
        """Return a block of weights, or of their gradients, 0 where they are dropped.

        `dropout_scale` is still to multiply the others, or an array has divided them.
        """
        if "noise" not in self.arrays:
            return x
        dropout: Any = self.dropout
        if "dropout" in self.arrays:
            dropout, x = self.block("dropout", q, kv), x / self.kept(q, kv)
        return self.xp.where(self.block("noise", q, kv) >= dropout, x, 0.0)

    def kept(self, q: slice, kv: slice) -> Any:
        """Return 1 less the dropout, an array, and 1 where that is 0."""
        return one_where_zero(self.xp, 1 - self.block("dropout", q, kv))

    def add_gradients_of_scores(
        self, add: Callable[..., None], ds: Any, scores: Scores, q: slice, kv: slice
    ) -> None:
        """Call ``add(name, gradient, rows, columns)`` for all that the scores of a block are of.

        ds is the gradient of the scores.
        """
        xp, arrays, block = self.xp, self.arrays, self.block
        if "bias" in arrays:
            add("bias", ds, q, kv)
        if "softcap" in arrays:
            cap = block("softcap", q, kv)
            derivatives: Any = soft_cap.definition.parameter_derivatives
            by_cap = derivatives(xp, scores.scaled, cap)["cap"]
            add("softcap", ds * by_cap, q, kv)
            ds = ds * soft_cap.derivative.impl(xp, scores.scaled, cap)
        if scores.tanh is not None:
            ds = ds * (self.softcap - self.softcap * (scores.tanh * scores.tanh))
        if "scale" in arrays:
            add("scale", ds * scores.products, q, kv)
            ds = ds * block("scale", q, kv)
        add("query", xp.matmul(ds, block("key", kv)) * self.scale, q)
        add("key", xp.matmul(xp.matrix_transpose(ds), block("query", q)), kv)


def prepare(
    xp: Namespace,
    dims: Dims,
    arguments: Mapping[str, Any],
    is_causal: bool | str,
) -> BlockwiseAttention:
    """Return the inputs of the kernel, from the arrays and the numbers that are not None."""
    scale, softcap, dropout = (
        None if is_array(arguments[name]) else arguments[name] for name in FACTORS
    )
    if dropout is not None and not 0 <= dropout <= 1:
        raise ValueError(f"{dims.function}: dropout must be from 0 to 1, got {dropout}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"{dims.function}: softcap must be over 0, got {softcap}")
    if dropout != 0 and arguments["noise"] is None:
        raise ValueError(f"{dims.function}: noise must be given with a dropout, got None")
    aligned = {
        name: dims.align(xp, array)
        for name, array in arguments.items()
        if is_array(array) and (name != "noise" or dropout != 0)
    }
    offset = causal_offset(is_causal, dims.q_len, dims.kv_len)
    is_eager = is_concrete(xp, *(aligned[name] for name in INPUTS))
    if offset is not None or "mask" in aligned or "bias" in aligned:
        aligned |= _split_nonfinite(xp, aligned, is_eager)
    if "scale" in aligned:
        scale = 1.0
    elif scale is None:
        scale = 1 / sqrt(max(arguments["query"].shape[-1], 1))
    scale = scale if softcap is None else scale / softcap
    aligned["query"] = aligned["query"] * scale
    policy = _block_policy(xp, dims, offset, is_eager)
    return BlockwiseAttention(xp, aligned, scale, offset, softcap, dropout or 0.0, *policy)


def _split_nonfinite(xp: Namespace, arrays: Mapping[str, Any], is_eager: bool) -> dict[str, Any]:
    """Return query, key and value with 0 for what is not finite, and where that is.

    A weight of 0 then has the product 0 with a masked value. If all elements are known to be
    finite, nothing is returned.
    """
    if is_eager and all(xp.all(xp.isfinite(arrays[name])) for name in INPUTS):
        return {}
    split = {}
    for name in INPUTS:
        x = arrays[name]
        nonfinite = xp.logical_not(xp.isfinite(x))
        split[name] = xp.where(nonfinite, 0.0, x)
        if name == "value":
            split["nonfinite_value"] = xp.astype(nonfinite, x.dtype)
        else:
            split[f"nonfinite_{name}"] = xp.any(nonfinite, axis=-1, keepdims=True)
    return split


def _block_policy(
    xp: Namespace, dims: Dims, offset: int | None, is_eager: bool
) -> tuple[tuple[int | None, int | None], float]:
    """Return the size of a block and the largest number of scores to compute at once."""
    if is_eager:
        return (Q_BLOCK, KV_BLOCK if offset is None else Q_BLOCK), Q_BLOCK * KV_BLOCK
    q_block, kv_block = (
        max(block, ceil(length / MAX_UNROLLED)) if is_known(xp, length) else None
        for length, block in ((dims.q_len, Q_BLOCK), (dims.kv_len, KV_BLOCK))
    )
    return (q_block, kv_block), inf


def exp_scores(xp: Namespace, scores: Any, row_max: Any) -> Any:
    """Return exp(scores - row_max); a score is less than 1 above `row_max`, or infinite."""
    return fast_exp(xp, xp.minimum(scores - row_max, 1.0))


@subroutine(output_axis="kept")
def exp_of_rows(xp: Namespace, x: Array, axis: Axis = -1) -> Any:
    """Return exp(x - row_max), row_max and the sums: any number near the maximum does.

    A whole number has no derivative. An infinite element has a finite exponential.
    """
    row_max = clip_to_finite(xp, xp.floor(xp.max(x, axis=axis, keepdims=True)))
    p = exp_scores(xp, x, row_max)
    return p, row_max, xp.sum(p, axis=axis, keepdims=True)


def _online_softmax(attention: BlockwiseAttention, q: slice) -> tuple[Any, Any, Any, Any]:
    """Return the result for a slice of the queries, the maxima and the sums of its rows.

    If there is a single block, its weights and scores come last, else None.
    """
    xp = attention.xp
    has_nonfinite = "nonfinite_value" in attention.arrays
    acc: Any = 0
    row_sum: Any = 0
    nonfinite: Any = 0
    row_max: Any = None
    block: Any = None
    for kv in attention.kv_chunks(q):
        scores = attention.scores(q, kv)
        p, block_max, block_sum = apply(xp, exp_of_rows, scores.value)
        dropped = attention.apply_dropout(p, q, kv)
        output = xp.matmul(dropped, attention.block("value", kv))
        if row_max is None:
            row_max, row_sum, acc, block = block_max, block_sum, output, (p, scores)
        else:
            new_max = xp.maximum(row_max, block_max)
            old, new = (fast_exp(xp, before - new_max) for before in (row_max, block_max))
            row_sum, acc = row_sum * old + block_sum * new, acc * old + output * new
            row_max, block = new_max, None
        if has_nonfinite:
            nonfinite = nonfinite + _count_nonfinite(attention, kv, scores.mask, p)
    acc = acc * attention.dropout_scale / xp.where(row_sum == 0, 1.0, row_sum)
    if has_nonfinite:
        acc = xp.where(nonfinite > 0, nan, acc)
    return acc, row_max, row_sum, block


def _count_nonfinite(attention: BlockwiseAttention, kv: slice, mask: Any, weights: Any) -> Any:
    """Return how many of the values that each query attends to are not finite."""
    xp, nonfinite = attention.xp, attention.block("nonfinite_value", kv)
    if mask is None:
        return xp.sum(nonfinite, axis=-2, keepdims=True)
    attends = xp.where(mask, xp.ones_like(weights), 0.0)  # sharded as the weights are
    return xp.matmul(attends, nonfinite)


def forward(attention: BlockwiseAttention) -> dict[str, Any]:
    """Return the result by the name of ``output``."""
    xp, arrays = attention.xp, attention.arrays
    if 0 in attention.lengths:
        scores = xp.matmul(arrays["query"], xp.matrix_transpose(arrays["key"]))
        return {"output": xp.matmul(scores, arrays["value"])}
    parts = [_online_softmax(attention, q)[0] for q in attention.q_chunks()]
    return {"output": concat(xp, parts, -2)}


def forward_with_lse(attention: BlockwiseAttention) -> dict[str, Any]:
    """Return the result as ``output``, and as ``lse`` the log-sum-exp of the rows of scores."""
    xp, arrays = attention.xp, attention.arrays
    if 0 in attention.lengths:
        scores = xp.matmul(arrays["query"], xp.matrix_transpose(arrays["key"]))
        return {**forward(attention), "lse": xp.sum(scores, axis=-1, keepdims=True) - inf}
    outputs, lses = [], []
    for q in attention.q_chunks():
        output, row_max, row_sum, _ = _online_softmax(attention, q)
        outputs.append(output)
        lse = row_max + xp.log(one_where_zero(xp, row_sum))
        lses.append(xp.where(row_sum == 0, -inf, lse))
    return {"output": concat(xp, outputs, -2), "lse": concat(xp, lses, -2)}


def vjp(attention: BlockwiseAttention) -> dict[str, Any]:
    """Return the gradients of all arrays but masks and noise, from ``g``, and ``g_lse`` if given.

    As in FlashAttention, dp and ds are the gradients of the weights and of the scores, and delta
    is the sum of their products p*dp in each row, less the cotangent of its log-sum-exp. In place
    of p, g is divided by the row sums.
    """
    xp, block = attention.xp, attention.block
    gradients = _GradientAccumulator(attention)
    for q in () if 0 in attention.lengths else attention.q_chunks():
        output, row_max, row_sum, single = _online_softmax(attention, q)
        g = xp.where(row_sum == 0, 0.0, block("g", q)) / xp.where(row_sum == 0, 1.0, row_sum)
        delta = xp.sum(g * output, axis=-1, keepdims=True)
        if "g_lse" in attention.arrays:
            g_lse = xp.where(row_sum == 0, 0.0, block("g_lse", q))
            delta = delta - g_lse / one_where_zero(xp, row_sum)
        g = g * attention.dropout_scale
        for kv in attention.kv_chunks(q):
            if single is not None:
                p, scores = single
            else:
                scores = attention.scores(q, kv)
                p = exp_scores(xp, scores.value, row_max)
            dropped = attention.apply_dropout(p, q, kv)
            gradients.add("value", xp.matmul(xp.matrix_transpose(dropped), g), kv)
            dp = xp.matmul(g, xp.matrix_transpose(block("value", kv)))
            if "dropout" in attention.arrays:
                gradients.add("dropout", dp * dropped / attention.kept(q, kv), q, kv)
            ds = mask_to_zero(xp, p * (attention.apply_dropout(dp, q, kv) - delta), scores.mask)
            attention.add_gradients_of_scores(gradients.add, ds, scores, q, kv)
    return gradients.assemble()


def weights(attention: BlockwiseAttention) -> Any:
    """Return the weights, after dropout, of attention in a single block."""
    q, kv, scores = _single_block(attention)
    p = apply(attention.xp, softmax, scores.value, -1, scores.mask)
    return attention.apply_dropout(p, q, kv) * attention.dropout_scale


def weights_vjp(attention: BlockwiseAttention, g: Any) -> dict[str, Any]:
    """Return the gradients of all arrays but masks and noise, from those of `weights`."""
    xp, gradients = attention.xp, _GradientAccumulator(attention)
    q, kv, scores = _single_block(attention)
    g = xp.reshape(g, scores.value.shape) * attention.dropout_scale
    if "dropout" in attention.arrays:
        p = apply(xp, softmax, scores.value, -1, scores.mask)
        by_dropout = g * attention.apply_dropout(p, q, kv) / attention.kept(q, kv)
        gradients.add("dropout", by_dropout, q, kv)
    g = attention.apply_dropout(g, q, kv)
    ds = apply(xp, softmax.vjp, g, scores.value, -1, scores.mask)["x"]
    attention.add_gradients_of_scores(gradients.add, ds, scores, q, kv)
    return gradients.assemble()


def _single_block(attention: BlockwiseAttention) -> tuple[slice, slice, Scores]:
    """Return the slices of the only block and its scores."""
    (q,) = attention.q_chunks()
    (kv,) = attention.kv_chunks(q)
    return q, kv, attention.scores(q, kv)


class _GradientAccumulator:
    """Sums the gradients of blocks, and puts them together."""

    def __init__(self, attention: BlockwiseAttention) -> None:
        self.attention = attention
        self.sums: dict[tuple[str, int, int], Any] = {}

    def add(self, name: str, g: Any, rows: slice = ALL, columns: slice = ALL) -> None:
        """Add to the gradient of a block of an array, summed where the block is broadcast."""
        block = self.attention.block(name, rows, columns)
        g = unbroadcast(self.attention.xp, g, block.shape)
        key = self._key(name, rows, columns)
        self.sums[key] = self.sums[key] + g if key in self.sums else g

    def _key(self, name: str, rows: slice, columns: slice) -> tuple[str, int, int]:
        shape = self.attention.arrays[name].shape
        return name, 0 if shape[-2] == 1 else rows.start, 0 if shape[-1] == 1 else columns.start

    def assemble(self) -> dict[str, Any]:
        """Return the gradients of the whole arrays."""
        xp, attention = self.attention.xp, self.attention
        sizes = zip(attention.lengths, attention.block_size, strict=True)
        q, kv = (list(chunks(*size)) for size in sizes)
        grids: dict[str, Any] = {"query": (q, [ALL]), "key": (kv, [ALL]), "value": (kv, [ALL])}
        grids |= dict.fromkeys(("bias", *FACTORS), (q, kv))
        gradients = {}
        for name, blocks_of in grids.items():
            if name not in attention.arrays:
                continue
            # an axis along which the array broadcasts has one block
            rows, columns = (
                blocks[:1] if size == 1 else blocks
                for blocks, size in zip(blocks_of, attention.arrays[name].shape[-2:], strict=True)
            )
            parts = [[self._sum(name, i, j) for j in columns] for i in rows]
            gradients[name] = concat(xp, [concat(xp, row, -1) for row in parts], -2)
        return gradients

    def _sum(self, name: str, rows: slice, columns: slice) -> Any:
        """Return the sum of a block's gradients, 0 if there are none."""
        key = self._key(name, rows, columns)
        if key in self.sums:
            return self.sums[key]
        return self.attention.xp.zeros_like(self.attention.block(name, rows, columns))


def map_heads(
    attention: BlockwiseAttention, compute: Callable[[BlockwiseAttention], dict[str, Any]]
) -> dict[str, Any]:
    """Compute so few heads at once that their blocks fit into the caches, and join the results."""
    arrays = attention.arrays
    if attention.max_scores == inf:
        return compute(attention)
    batch = broadcast_shapes([arrays[name].shape[:-2] for name in INPUTS]) or ()
    axis = next((i for i, n in enumerate(batch) if n > 1), None)
    blocks = zip(attention.lengths, attention.block_size, strict=True)
    scores = prod([*batch, *(n if block is None else min(n, block) for n, block in blocks)])
    if axis is None or scores <= attention.max_scores:
        return compute(attention)

    def of_heads(heads: slice) -> dict[str, Any]:
        cut = {
            name: x[(*(ALL,) * axis, heads, ...)] if x.shape[axis] > 1 else x
            for name, x in arrays.items()
        }
        return map_heads(replace(attention, arrays=cut), compute)

    step = max(1, int(attention.max_scores * batch[axis] // scores))
    results = [of_heads(heads) for heads in chunks(batch[axis], step)]
    return {
        name: concat(attention.xp, [result[name] for result in results], axis)
        if name not in arrays or arrays[name].shape[axis] > 1
        else reduce(add, [result[name] for result in results])
        for name in results[0]
    }


def chunks(size: int, step: int | None) -> Iterator[slice]:
    """Yield the slices that make up an axis, a single one of an empty axis or without a step."""
    if step is None:
        yield ALL
        return
    for i in range(0, max(size, 1), step):
        yield slice(i, min(i + step, size))


def concat(xp: Namespace, parts: list[Any], axis: int) -> Any:
    """Concatenate parts, of which there may be a single one."""
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)
