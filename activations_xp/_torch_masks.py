"""The masks of PyTorch's attention, translated into those of `activations_xp`.

Layers and drop-in functions both take them, and neither package imports the other.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ._dispatch import backend_of, find_backend, is_floating
from ._errors import array_hint, describe_value


def mask_kwargs(
    function: str, score_shape: tuple[int, ...], query: Any, attn_mask: Any, key_padding_mask: Any
) -> dict[str, Any]:
    """Return the masks as keyword arguments of `multi_head_attention`.

    `score_shape` is (..., heads, query length, key length), without the keys that are added.
    """
    per_head = (prod(score_shape[:-2]), *score_shape[-2:])
    _check_mask(function, "attn_mask", attn_mask, query, (per_head[1:], per_head))
    per_key = (*score_shape[:-3], score_shape[-1])
    _check_mask(function, "key_padding_mask", key_padding_mask, query, (per_key,))
    if attn_mask is not None and len(attn_mask.shape) == 3:
        attn_mask = backend_of(attn_mask).xp.reshape(attn_mask, score_shape)
    mask, bias = mask_and_bias(attn_mask, query)
    key_mask, key_bias = mask_and_bias(key_padding_mask, query)
    if key_bias is not None:
        key_bias = key_bias[..., None, None, :]
        bias = key_bias if bias is None else bias + key_bias
    return {
        "mask": None if mask is None else ~mask,
        "key_mask": None if key_mask is None else ~key_mask,
        "bias": bias,
    }


def _check_mask(
    function: str, name: str, mask: Any, query: Any, shapes: tuple[tuple[int, ...], ...]
) -> None:
    if mask is None:
        return
    backend = find_backend(query)
    is_own = find_backend(mask) is backend is not None
    if not is_own or not (is_floating(mask) or backend_of(mask).isdtype(mask, ("bool",))):
        raise TypeError(
            f"{function}: {name} must be an array of query's library, of booleans, where True"
            " forbids attention, or of real floating numbers, which are added to the scores, got"
            f" {describe_value(mask)}{array_hint(name, mask)}"
        )
    if tuple(mask.shape) not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{function}: {name} must have shape {wanted}, got {tuple(mask.shape)}")


def causal_variant(function: str, mask: Any, query: Any, key: Any) -> str | None:
    """Return what ``torch.nn.attention.bias`` says of a causal mask; None if it is another one.

    It holds no elements: those of the tensor that it is are not initialized.
    """
    if type(mask).__name__ != "CausalBias":
        return None
    if mask.seq_len_q == mask.seq_len_kv or mask.variant.name == "UPPER_LEFT":
        return "upper_left"
    wanted = tuple(n for x in (query, key) for n in getattr(x, "shape", ())[-2:-1])
    got = (mask.seq_len_q, mask.seq_len_kv)
    if got != wanted:
        raise ValueError(f"{function}: attn_mask must have shape {wanted}, got {got}")
    return "lower_right"


def mask_and_bias(mask: Any, query: Any) -> tuple[Any, Any]:
    """Return a boolean mask as the first, or numbers to add in the query's dtype as the second."""
    if not is_floating(mask):
        return mask, None
    xp = backend_of(mask).xp
    is_float32 = is_floating(query) and mask.dtype == xp.float32
    return None, xp.astype(mask, query.dtype) if is_float32 else mask
