"""Attention on several devices of JAX, inside ``jax.shard_map``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from ..functions.attention import attention_with_lse, merge_attention

__all__ = ["ring_attention"]

Options: TypeAlias = tuple[str, bool, float | None, float | None]
"""The axis of the mesh, `is_causal`, the scale and the soft cap."""

_ppermute: Any = jax.lax.ppermute  # which has no types


def ring_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    axis_name: str,
    *,
    mask: jax.Array | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    softcap: float | None = None,
) -> jax.Array:
    """Attention of a sequence that is sharded over the devices along an axis of a mesh.

    It is called inside ``jax.shard_map`` with the block of queries, keys and values that a device
    has, in the order of the devices. The blocks of keys and values go round in a ring, and so do
    their gradients: no device ever has more than two of them, forward and backward.

    Parameters
    ----------
    query : array of shape (..., heads, L, E)
    key : array of shape (..., key heads, S, E)
    value : array of shape (..., key heads, S, Ev)
        As in `scaled_dot_product_attention`. L and S are the lengths of the blocks.
    axis_name : str
        The axis of the mesh that the sequence is sharded over.
    mask : boolean array of shape (..., heads, 1, S), optional
        The keys to attend to, such as those that are not padding, which goes round with them. It
        broadcasts over heads. A query that attends to nothing has the result 0.
    is_causal : bool, optional
        Whether no query attends to a later key of the whole sequence. L must be S then.
    scale : number, optional
        The factor of the scores; None is 1/sqrt(E).
    softcap : number, optional
        The scaled scores s become softcap*tanh(s/softcap).

    Returns
    -------
    array of shape (..., heads, L, Ev)
        The block of the result that belongs to the queries, in their dtype. It has gradients, but
        none in forward mode.

    Raises
    ------
    TypeError, ValueError
        If `is_causal` and L is not S, or as `scaled_dot_product_attention`.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> from activations_xp.parallel.jax import ring_attention
    >>> from jax.sharding import NamedSharding, PartitionSpec
    >>> mesh = jax.make_mesh((len(jax.devices()),), ("sequence",))
    >>> spec = PartitionSpec(None, "sequence")  # of (heads, sequence, features)
    >>> arrays = jax.random.normal(jax.random.key(0), (3, 2, 64, 8))
    >>> query, key, value = (jax.device_put(x, NamedSharding(mesh, spec)) for x in arrays)
    >>> ring = jax.shard_map(
    ...     lambda *blocks: ring_attention(*blocks, "sequence", is_causal=True),
    ...     mesh=mesh, in_specs=spec, out_specs=spec,
    ... )
    >>> whole = ax.scaled_dot_product_attention(*arrays, is_causal=True)
    >>> np.allclose(ring(query, key, value), whole, atol=1e-5)
    True

    References
    ----------
    Liu et al., Ring attention with blockwise transformers for near-infinite context,
    arXiv:2310.01889.
    """
    lengths = query.shape[-2:-1], key.shape[-2:-1]
    if is_causal and lengths[0] != lengths[1]:
        got = f"got shapes {query.shape} and {key.shape}"
        raise ValueError(f"ring_attention: causal blocks have as many queries as keys, {got}")
    if mask is not None and mask.shape[-2:-1] != (1,):
        raise ValueError(f"ring_attention: mask must be one of keys, got shape {mask.shape}")
    options: Options = axis_name, bool(is_causal), scale, softcap
    result: jax.Array = _ring(query, key, value, mask, options)
    return result


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _ring(query: Any, key: Any, value: Any, mask: Any, options: Options) -> Any:
    return _forward(query, key, value, mask, options)[0]


def _forward(
    query: Any, key: Any, value: Any, mask: Any, options: Options
) -> tuple[Any, tuple[Any, ...]]:
    """Return the result, and for the backward pass the arrays and the state."""

    def attend(keys: Any, is_causal: bool) -> tuple[Any, tuple[()]]:
        key, value, mask = keys
        given = _given(options, mask, is_causal)
        return attention_with_lse(query, key, value, **given), ()

    def merge(state: Any, other: Any) -> Any:
        return merge_attention(*state, *other)

    (output, lse), _ = _go_round(attend, merge, (key, value, mask), options)
    return output.astype(query.dtype), (query, key, value, mask, output, lse)


def _backward(options: Options, residuals: tuple[Any, ...], g: Any) -> tuple[Any, ...]:
    """Return the gradients, of which those of keys and values go round with them."""
    query, key, value, mask, output, lse = residuals
    wide_query, wide_g = _widen(query), _widen(g)

    def gradients(keys: Any, is_causal: bool) -> tuple[Any, tuple[Any, Any]]:
        """Return those of the state of a block of keys, by its share in the whole."""
        *keys, mask = keys
        arrays, given = (wide_query, *map(_widen, keys)), _given(options, mask, is_causal)
        part, part_lse = attention_with_lse(*arrays, **given)
        share = jnp.where(part_lse == -jnp.inf, 0.0, jnp.exp(part_lse - lse))
        by_lse = share * jnp.sum(wide_g * (part - output), axis=-1)
        found = attention_with_lse.vjp((share[..., None] * wide_g, by_lse), *arrays, **given)
        return found["query"], (found["key"], found["value"])

    by_query, by_keys = _go_round(gradients, jnp.add, (key, value, mask), options)
    arrays = zip((by_query, *by_keys), (query, key, value), strict=True)
    return *(gradient.astype(x.dtype) for gradient, x in arrays), None


_ring.defvjp(_forward, _backward)


def _go_round(
    of_block: Callable[[Any, bool], tuple[Any, Any]],
    join: Callable[[Any, Any], Any],
    keys: Any,
    options: Options,
) -> tuple[Any, Any]:
    """Return what a function of all blocks of keys gives, joined, as they pass this device.

    Its second result, for the block of keys, goes round with that and is added up.
    """
    axis_name, is_causal, *_ = options
    size, index = jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name)
    ring = [(i, (i + 1) % size) for i in range(size)]
    pass_on = functools.partial(_ppermute, axis_name=axis_name, perm=ring)

    def step(i: Any, carried: Any) -> Any:
        here, along, keys = carried
        following = pass_on(keys)  # while these are computed with

        def absorb(here: Any, along: Any) -> tuple[Any, Any]:
            more, more_along = of_block(keys, False)
            return join(here, more), jax.tree.map(jnp.add, along, more_along)

        if is_causal:  # those of later devices are masked
            here, along = jax.lax.cond(i <= index, absorb, lambda *same: same, here, along)
        else:
            here, along = absorb(here, along)
        return here, pass_on(along), following

    here, along = of_block(keys, is_causal)
    here, along, _ = jax.lax.fori_loop(1, size, step, (here, *pass_on((along, keys))))
    return here, along


def _given(options: Options, mask: Any, is_causal: bool) -> dict[str, Any]:
    return {"mask": mask, "is_causal": is_causal, "scale": options[2], "softcap": options[3]}


def _widen(x: Any) -> Any:
    """Return an array in 32 bits or more."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
