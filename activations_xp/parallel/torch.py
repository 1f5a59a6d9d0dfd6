"""Attention on several processes of PyTorch, with ``torch.distributed``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from ..functions.attention import attention_with_lse, merge_attention

__all__ = ["ring_attention"]


def ring_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    group: dist.ProcessGroup | None = None,
    *,
    mask: torch.Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """Attention of a sequence that is sharded over the processes of a group.

    Each process calls it with the block of queries, keys and values that it has, in the order of
    the ranks. The blocks of keys and values go round in a ring, and so do their gradients: no
    process ever has more than two of them, forward and backward.

    Parameters
    ----------
    query : tensor of shape (..., heads, L, E)
    key : tensor of shape (..., key heads, S, E)
    value : tensor of shape (..., key heads, S, Ev)
        As in `scaled_dot_product_attention`. L and S are the lengths of the blocks, the same in
        all processes. Those of a DTensor are its `to_local()`.
    group : torch.distributed.ProcessGroup, optional
        The processes; None is all of them. A dimension of a mesh is ``mesh.get_group(dim)``.
    mask : boolean tensor of shape (..., heads, 1, S), optional
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
    tensor of shape (..., heads, L, Ev)
        The block of the result that belongs to the queries, in their dtype. It has gradients,
        which have none of their own.

    Raises
    ------
    TypeError, ValueError
        If `is_causal` and L is not S, or as `scaled_dot_product_attention`.

    Examples
    --------
    >>> import torch
    >>> import torch.distributed as dist
    >>> import activations_xp as ax
    >>> from activations_xp.parallel.torch import ring_attention
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> query, key, value = torch.randn(3, 2, 64, 8)
    >>> result = ring_attention(query, key, value, is_causal=True)
    >>> whole = ax.scaled_dot_product_attention(query, key, value, is_causal=True)
    >>> torch.allclose(result, whole, atol=1e-5)
    True
    >>> dist.destroy_process_group()

    References
    ----------
    Liu et al., Ring attention with blockwise transformers for near-infinite context,
    arXiv:2310.01889.
    """
    if is_causal and query.shape[-2:-1] != key.shape[-2:-1]:
        got = f"got shapes {tuple(query.shape)} and {tuple(key.shape)}"
        raise ValueError(f"ring_attention: causal blocks have as many queries as keys, {got}")
    if mask is not None and mask.shape[-2:-1] != (1,):
        got = f"got shape {tuple(mask.shape)}"
        raise ValueError(f"ring_attention: mask must be one of keys, {got}")
    options = {"scale": scale, "softcap": softcap}
    ring = _Ring(group, bool(is_causal), options)
    result: torch.Tensor = cast(Any, _Node).apply(query, key, value, mask, ring)
    return result


class _Ring:
    """The processes in the order of their ranks, round which blocks are passed."""

    def __init__(
        self, group: dist.ProcessGroup | None, is_causal: bool, options: dict[str, Any]
    ) -> None:
        self.group, self.is_causal, self.options = group, is_causal, options
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def pass_on(self, tensors: Sequence[Any]) -> Callable[[], list[Any]]:
        """Send tensors to the next process; the result receives those of the one before."""
        received = [None if t is None else torch.empty_like(t).contiguous() for t in tensors]
        peers: Any = {"group": self.group, "group_peer": (self.rank + 1) % self.size}
        before = {**peers, "group_peer": (self.rank - 1) % self.size}
        exchange = [
            operation
            for t, space in zip(tensors, received, strict=True)
            if space is not None
            for operation in (
                dist.P2POp(dist.isend, t.contiguous(), **peers),
                dist.P2POp(dist.irecv, space, **before),
            )
        ]
        works = dist.batch_isend_irecv(exchange) if self.size > 1 else []

        def wait() -> list[Any]:
            for work in works:
                work.wait()
            exchange.clear()  # what is sent must live until then
            return received if works else [*tensors]

        return wait

    def go_round(
        self,
        of_block: Callable[..., tuple[Any, Sequence[Any]]],
        join: Callable[[Any, Any], Any],
        keys: Sequence[Any],
    ) -> tuple[Any, list[Any]]:
        """Return what a function of all blocks of keys gives, joined, as they pass this process.

        Its second result, for the block of keys, goes round with that and is added up.
        """
        following = self.pass_on(keys)
        here, along = of_block(keys, self.is_causal)
        for step in range(1, self.size):
            keys = following()
            if step + 1 < self.size:
                following = self.pass_on(keys)  # while these are computed with
            along = self.pass_on(along)() if along else []
            if not self.is_causal or step <= self.rank:  # those of later processes are masked
                more, more_along = of_block(keys, False)
                here = join(here, more)
                along = [a + b for a, b in zip(along, more_along, strict=True)]
        return here, self.pass_on(along)() if along else []

    def given(self, mask: Any, is_causal: bool) -> dict[str, Any]:
        return {"mask": mask, "is_causal": is_causal, **self.options}


class _Node(torch.autograd.Function):
    """The attention of a block of queries, which saves it and the state of all keys."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, mask: Any, ring: _Ring) -> Any:
        def attend(keys: Any, is_causal: bool) -> tuple[Any, tuple[()]]:
            key, value, mask = keys
            return attention_with_lse(query, key, value, **ring.given(mask, is_causal)), ()

        def merge(state: Any, other: Any) -> Any:
            return merge_attention(*state, *other)

        (output, lse), _ = ring.go_round(attend, merge, (key, value, mask))
        ctx.ring = ring
        ctx.save_for_backward(query, key, value, mask, output, lse)
        return output.to(query.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        query, key, value, mask, output, lse = ctx.saved_tensors
        ring, wide_query, wide_g = ctx.ring, query.to(lse.dtype), g.to(lse.dtype)

        def gradients(keys: Any, is_causal: bool) -> tuple[Any, list[Any]]:
            """Return those of the state of a block of keys, by its share in the whole."""
            *keys, mask = keys
            arrays = (wide_query, *(t.to(lse.dtype) for t in keys))
            given = ring.given(mask, is_causal)
            part, part_lse = attention_with_lse(*arrays, **given)
            share = torch.where(part_lse == -torch.inf, 0.0, torch.exp(part_lse - lse))
            by_lse = share * (wide_g * (part - output)).sum(-1)
            found = attention_with_lse.vjp((share[..., None] * wide_g, by_lse), *arrays, **given)
            return found["query"], [found["key"], found["value"]]

        by_query, by_keys = ring.go_round(gradients, torch.add, (key, value, mask))
        found = zip((by_query, *by_keys), (query, key, value), strict=True)
        return *(gradient.to(t.dtype) for gradient, t in found), None, None
