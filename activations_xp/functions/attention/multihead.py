"""Multi-head attention: projections to heads, the attention of each, and a projection of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import and_
from typing import Any, NamedTuple, NoReturn

from ..._define import apply
from ..._typing import Namespace
from ...numerics.arrays import broadcasts_to, is_array, is_zero, mask_to_zero, unbroadcast
from ...numerics.linear import linear, linear_vjp
from . import blockwise
from .blockwise import INPUTS

SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")

Arguments = Mapping[str, Any]
"""All arguments of `multi_head_attention` by name."""


class Dims(NamedTuple):
    """The sizes of the axes; `added` is the number of keys that are added at the end."""

    batch: tuple[int, ...]
    num_heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    added: int

    @property
    def scores_shape(self) -> tuple[int, ...]:
        return (*self.batch, self.num_heads, self.q_len, self.kv_len + self.added)


def multi_head_dims(args: Arguments) -> Dims:
    """Return the sizes of the axes, or raise a ValueError if the arguments do not fit together."""
    shapes = [tuple(args[name].shape) for name in INPUTS]
    got = "got query, key and value of shapes {}, {} and {}".format(*shapes)
    if len(shapes[0]) < 2 or len(set(map(len, shapes))) > 1:
        _fail(f"query, key and value must have the same number of axes, at least two, {got}")
    length = -2 if args["batch_first"] else 0
    batch, *others = (s[:-2] if args["batch_first"] else s[1:-1] for s in shapes)
    if any(other != batch for other in others):
        _fail(f"query, key and value may differ in sequence length and embedding alone, {got}")
    q_len, kv_len, v_len = (shape[length] for shape in shapes)
    if kv_len != v_len:
        _fail(f"key and value must have the same sequence length, {got}")
    if not (is_array(args["dropout"]) or 0 <= args["dropout"] <= 1):
        _fail(f"dropout must be from 0 to 1, got {args['dropout']}")
    if (args["bias_k"] is None) != (args["bias_v"] is None):
        _fail("bias_k and bias_v must be given together")
    num_heads, (kv_heads, rows) = args["num_heads"], _kv_heads_and_rows(args)
    out_rows = args["out_proj_weight"].shape[0]
    expected = {
        "in_proj_weight": (3 * rows[0], shapes[0][-1]),
        **{name: (n, shape[-1]) for name, n, shape in zip(SEPARATE, rows, shapes, strict=True)},
        "in_proj_bias": (sum(rows),),
        "out_proj_weight": (out_rows, rows[2] // max(kv_heads, 1) * num_heads),
        "out_proj_bias": (out_rows,),
        "bias_k": (1, 1, rows[1]),
        "bias_v": (1, 1, rows[2]),
        "key_mask": (*batch, kv_len),
    }
    for name, shape in expected.items():
        if args[name] is not None and tuple(args[name].shape) != shape:
            _fail(f"{name} must have shape {shape}, got {tuple(args[name].shape)}")
    added = (args["bias_k"] is not None) + args["add_zero_attn"]
    dims = Dims(batch, num_heads, kv_heads, q_len, kv_len, added)
    for name in ("mask", "bias", "scale", "dropout", "noise"):
        is_extended = name in ("mask", "bias")
        shape = (dims._replace(added=0) if is_extended else dims).scores_shape
        if is_array(args[name]) and not broadcasts_to(args[name].shape, shape):
            got = f"got shapes {tuple(args[name].shape)} and {shape}"
            _fail(f"{name} must broadcast to the scores, {got}")
    return dims


def _kv_heads_and_rows(args: Arguments) -> tuple[int, list[int]]:
    """Return the number of key heads, and the rows of the weights of query, key and value."""
    if any((args[name] is None) != (args["in_proj_weight"] is not None) for name in SEPARATE):
        _fail("in_proj_weight must be given, or q_, k_ and v_proj_weight instead")
    for name in ("in_proj_weight", *SEPARATE):
        if args[name] is not None and args[name].ndim != 2:
            _fail(f"{name} must be a matrix, got shape {tuple(args[name].shape)}")
    num_heads, rows = args["num_heads"], [weight.shape[0] for weight in _in_weights(args)]
    if rows[0] % num_heads:
        _fail(f"num_heads must divide the embedding, got {num_heads} and {rows[0]}")
    kv_heads: int = rows[1] * num_heads // max(rows[0], 1)
    if kv_heads * rows[0] != rows[1] * num_heads or rows[2] % max(kv_heads, 1):
        got = f"{num_heads} of {rows[0]} in all and rows for {rows[1]} and {rows[2]}"
        _fail(f"k_proj_weight and v_proj_weight must have whole heads, got {got}")
    return kv_heads, rows


def _fail(text: str) -> NoReturn:
    raise ValueError(f"multi_head_attention: {text}")


def forward(attend: Any, xp: Namespace, **args: Any) -> tuple[Any, Any]:
    """Return the result and the weights; `attend` is `scaled_dot_product_attention`."""
    heads = _project(xp, args)
    merged = _merge_heads(xp, apply(xp, attend, *heads.projected, **heads.options))
    output = linear(xp, merged, args["out_proj_weight"], args["out_proj_bias"])
    weights = None
    if args["need_weights"]:
        weights = xp.reshape(blockwise.weights(_in_one_block(xp, heads)), heads.dims.scores_shape)
        if args["average_attn_weights"]:
            weights = xp.mean(weights, axis=-3)
    return output if args["batch_first"] else _length_first(xp, output), weights


def vjp(attend: Any, xp: Namespace, g: Any, **args: Any) -> dict[str, Any]:
    """Return the gradients of all arrays, from those of the result and the weights."""
    heads = _project(xp, args)
    dims, out_proj_weight = heads.dims, args["out_proj_weight"]
    merged = _merge_heads(xp, apply(xp, attend, *heads.projected, **heads.options))
    g, g_weights = g if isinstance(g, tuple) else (g, None)
    if g is None:
        g = xp.zeros_like(linear(xp, merged, out_proj_weight))
    elif not args["batch_first"]:
        g = _batch_first(xp, g)
    has_bias = args["out_proj_bias"] is not None
    g_merged, g_weight, g_bias = linear_vjp(xp, g, merged, out_proj_weight, has_bias)
    gradients = {"out_proj_weight": g_weight, "out_proj_bias": g_bias}
    g_heads = _split_heads(xp, g_merged, dims.num_heads)
    g_projected = apply(xp, attend.vjp, g_heads, *heads.projected, **heads.options)
    if g_weights is not None:
        if args["average_attn_weights"]:
            g_weights = g_weights[..., None, :, :] * (1 / dims.num_heads)
        g_weights = xp.broadcast_to(g_weights, dims.scores_shape)
        from_weights = blockwise.weights_vjp(_in_one_block(xp, heads), g_weights)
        for name, part in from_weights.items():
            g_projected[name] = g_projected[name] + xp.reshape(part, g_projected[name].shape)
    if args["bias"] is not None:
        g_scores = g_projected["bias"]
        g_scores = g_scores[..., : dims.kv_len] if dims.added else g_scores
        gradients["bias"] = unbroadcast(xp, g_scores, args["bias"].shape)
    gradients |= _project_vjp(xp, g_projected, heads, args)
    gradients |= {name: g_projected[name] for name in blockwise.FACTORS if name in g_projected}
    return {name: g for name, g in gradients.items() if args[name] is not None}


class _MultiHead(NamedTuple):
    """Query, key and value of all heads.

    inputs : of the projections, (..., length, embedding), 0 where masked
    key_mask : of the inputs
    weights : of the projections
    projected : the heads, (..., heads, length, depth)
    options : the other arguments of `scaled_dot_product_attention`
    """

    dims: Dims
    inputs: list[Any]
    key_mask: Any
    weights: list[Any]
    projected: list[Any]
    options: dict[str, Any]


def _project(xp: Namespace, args: Arguments) -> _MultiHead:
    """Return query, key and value of all heads, with the keys and values that are added."""
    dims, weights = multi_head_dims(args), _in_weights(args)
    key_mask = None if args["key_mask"] is None else args["key_mask"][..., None]
    inputs, projected, start = [], [], 0
    for name, weight in zip(INPUTS, weights, strict=True):
        x, rows = args[name], weight.shape[0]
        x = x if args["batch_first"] else _batch_first(xp, x)
        x = x if name == "query" else mask_to_zero(xp, x, key_mask)
        bias, stop = args["in_proj_bias"], start + rows
        parts = [linear(xp, x, weight, None if bias is None else bias[start:stop])]
        start, shape = stop, (*dims.batch, 1, rows)
        if name != "query" and args["bias_k"] is not None:
            added = xp.reshape(args[f"bias_{name[0]}"], (1, rows))
            parts.append(xp.broadcast_to(added, shape))
        if name != "query" and args["add_zero_attn"]:
            parts.append(_full(xp, args["out_proj_weight"], shape, 0.0))
        num_heads = dims.num_heads if name == "query" else dims.kv_heads
        inputs.append(x)
        projected.append(_split_heads(xp, blockwise.concat(xp, parts, -2), num_heads))
    return _MultiHead(dims, inputs, key_mask, weights, projected, _options(xp, dims, args))


def _project_vjp(
    xp: Namespace, g_projected: Mapping[str, Any], heads: _MultiHead, args: Arguments
) -> dict[str, Any]:
    """Return the gradients of the inputs and parameters of the projections."""
    has_bias = args["in_proj_bias"] is not None
    gradients: dict[str, Any] = {}
    g_weights, g_biases = [], []
    for name, x, weight in zip(INPUTS, heads.inputs, heads.weights, strict=True):
        g, length = _merge_heads(xp, g_projected[name]), x.shape[-2]
        if name != "query" and args["bias_k"] is not None:
            g_added = unbroadcast(xp, g[..., length : length + 1, :], (1, g.shape[-1]))
            gradients[f"bias_{name[0]}"] = xp.reshape(g_added, (1, *g_added.shape))
        g_x, g_weight, g_bias = linear_vjp(xp, g[..., :length, :], x, weight, has_bias)
        g_x = g_x if name == "query" else mask_to_zero(xp, g_x, heads.key_mask)
        gradients[name] = g_x if args["batch_first"] else _length_first(xp, g_x)
        gradients[f"{name[0]}_proj_weight"] = g_weight
        g_weights.append(g_weight)
        g_biases.append(g_bias)
    if args["in_proj_weight"] is not None:
        gradients["in_proj_weight"] = xp.concat(g_weights, axis=0)
    if has_bias:
        gradients["in_proj_bias"] = xp.concat(g_biases, axis=0)
    return gradients


def _in_weights(args: Arguments) -> list[Any]:
    """Return the weights of the projections of query, key and value."""
    packed = args["in_proj_weight"]
    if packed is None:
        return [args[name] for name in SEPARATE]
    rows = packed.shape[0] // 3
    return [packed[i * rows : (i + 1) * rows, :] for i in range(3)]


def _batch_first(xp: Namespace, x: Any) -> Any:
    """Return (length, ..., embedding) as (..., length, embedding)."""
    return xp.permute_dims(x, (*range(1, x.ndim - 1), 0, x.ndim - 1))


def _length_first(xp: Namespace, x: Any) -> Any:
    """Return (..., length, embedding) as (length, ..., embedding)."""
    return xp.permute_dims(x, (x.ndim - 2, *range(x.ndim - 2), x.ndim - 1))


def _split_heads(xp: Namespace, x: Any, num_heads: int) -> Any:
    """Return (..., length, heads*depth) as (..., heads, length, depth)."""
    x = xp.reshape(x, (*x.shape[:-1], num_heads, x.shape[-1] // num_heads))
    return _swap_heads_and_length(xp, x)


def _merge_heads(xp: Namespace, x: Any) -> Any:
    """Return (..., heads, length, depth) as (..., length, heads*depth)."""
    x = _swap_heads_and_length(xp, x)
    return xp.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))


def _swap_heads_and_length(xp: Namespace, x: Any) -> Any:
    return xp.permute_dims(x, (*range(x.ndim - 3), x.ndim - 2, x.ndim - 3, x.ndim - 1))


def _options(xp: Namespace, dims: Dims, args: Arguments) -> dict[str, Any]:
    """Return the other arguments of the heads' attention; nothing masks the keys that are added."""
    is_causal, masks = args["is_causal"], []
    if args["mask"] is not None:
        masks.append(args["mask"])
    if args["key_mask"] is not None:
        masks.append(args["key_mask"][..., None, None, :])
    offset = blockwise.causal_offset(is_causal, dims.q_len, dims.kv_len)
    if dims.added and offset is not None:
        q, kv = slice(0, dims.q_len), slice(0, dims.kv_len)
        masks.append(blockwise.causal_mask(xp, args["out_proj_weight"], q, kv, offset))
        is_causal = False
    mask, bias = reduce(and_, masks) if masks else None, args["bias"]
    if dims.added and mask is not None:
        mask = _append_keys(xp, dims, mask, args["out_proj_weight"], True, xp.bool)
    if dims.added and bias is not None:
        bias = _append_keys(xp, dims, bias, args["out_proj_weight"], 0.0)
    noise = None if is_zero(args["dropout"]) else args["noise"]
    options = {"scale": args["scale"], "dropout": args["dropout"], "noise": noise}
    return {"mask": mask, "bias": bias, "is_causal": is_causal, **options}


def _append_keys(
    xp: Namespace, dims: Dims, x: Any, like: Any, value: float, dtype: Any = None
) -> Any:
    """Return a mask or a bias with a constant for the keys that are added."""
    rows = tuple(x.shape[:-1])
    added = _full(xp, like, (*rows, dims.added), value, dtype)
    return xp.concat([xp.broadcast_to(x, (*rows, dims.kv_len)), added], axis=-1)


def _full(xp: Namespace, like: Any, shape: Any, value: float, dtype: Any = None) -> Any:
    """Return a constant made from a matrix, and so on its device."""
    return xp.broadcast_to(xp.full_like(like[:1, :1], value, dtype=dtype), shape)


def _in_one_block(xp: Namespace, heads: _MultiHead) -> blockwise.BlockwiseAttention:
    """Return the attention of the heads with all queries and keys as one block."""
    arguments = {"softcap": None, **heads.options}
    is_causal = arguments.pop("is_causal")
    arguments |= zip(INPUTS, heads.projected, strict=True)
    dims = blockwise.attention_dims("multi_head_attention", **arguments)
    attention = blockwise.prepare(xp, dims, arguments, is_causal)
    return replace(attention, block_size=(None, None))
