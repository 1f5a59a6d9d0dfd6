"""What several ask for: a dtype, a result in place, an error of their own class, torch's masks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._dispatch import isdtype, library, namespace, write
from .._typing import A

if TYPE_CHECKING:
    from .._activation import Form

F = TypeVar("F", bound=Callable[..., Any])


def raising(kind: type[ValueError]) -> Callable[[F], F]:
    """Raise a bad value as `kind`, which is a ValueError and what the library raises at once."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except ValueError as error:
                if type(error) is not ValueError:  # an AxisError is an IndexError everywhere
                    raise
                raise kind(*error.args) from None

        return cast(F, wrapper)

    return decorate


def astype(x: A, dtype: Any) -> A:
    """`x` in a floating dtype of its library; None is its own."""
    if dtype is None or library(x) is None:  # the function says what is wrong with x
        return x
    y = namespace(x).astype(x, dtype)
    if not isdtype(y, ("real floating",)):
        raise TypeError(f"dtype must be a real floating one, got {dtype!r}")
    return cast(A, y)


def result_dtype(y: A, dtype: Any) -> A:
    """`y` in a dtype of its library or of this name; None is its own."""
    if dtype is None:
        return y
    xp = namespace(y)
    if isinstance(dtype, str):
        if not hasattr(xp, dtype):
            raise TypeError(f"dtype must be one of x's library, got {dtype!r}")
        dtype = getattr(xp, dtype)
    return cast(A, xp.astype(y, dtype))


def inplace_if(inplace: bool, function: Form[...], x: A, /, *args: Any, **kwargs: Any) -> A:
    """The function of `x`, written to `x` itself if asked."""
    if not inplace:
        return cast(A, function(x, *args, **kwargs))
    # torch differentiates at an array that must stay as it is
    source = x.clone() if library(x) == "torch" else x  # type: ignore[attr-defined]
    value = function(source, *args, **kwargs)
    return cast(A, write(function.definition.name, "inplace", x, value))


def masks(
    function: str, sizes: tuple[int, ...], query: Any, attn_mask: Any, key_padding_mask: Any
) -> dict[str, Any]:
    """Ours of torch's masks, for scores of these sizes: batch, heads and both times."""
    *batch, heads, rows, columns = sizes
    if attn_mask is not None:
        full = (prod(batch) * heads, rows, columns)
        if tuple(attn_mask.shape) not in (full, full[1:]):
            got = tuple(attn_mask.shape)
            raise ValueError(
                f"{function}: attn_mask must have shape {full[1:]} or {full}, got {got}"
            )
        if len(attn_mask.shape) == 3:
            attn_mask = namespace(attn_mask).reshape(attn_mask, sizes)
    mask, bias = mask_and_bias(attn_mask, query)
    key_mask, more = mask_and_bias(key_padding_mask, query)
    if more is not None:
        more = more[..., None, None, :]
        bias = more if bias is None else bias + more
    return {
        "mask": None if mask is None else ~mask,
        "key_mask": None if key_mask is None else ~key_mask,
        "bias": bias,
    }


def mask_and_bias(mask: Any, query: Any) -> tuple[Any, Any]:
    """A mask as it is if it is one of booleans, or what is to be added, in the query's dtype."""
    if mask is None or library(mask) is None or not isdtype(mask, ("real floating",)):
        return mask, None
    xp = namespace(mask)
    is_short = library(query) is not None and mask.dtype == xp.float32
    return None, xp.astype(mask, query.dtype) if is_short else mask
