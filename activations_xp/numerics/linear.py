"""The affine map of a layer and its gradients."""

from __future__ import annotations

from math import prod
from typing import Any

from .._typing import Array, Namespace


def linear(xp: Namespace, x: Array, weight: Array, bias: Array | None = None) -> Any:
    """Return ``x @ weight.T + bias``."""
    y = xp.matmul(x, xp.matrix_transpose(weight))
    return y if bias is None else y + bias


def linear_vjp(
    xp: Namespace, g: Array, x: Array, weight: Array, has_bias: bool = False
) -> tuple[Any, Any, Any]:
    """Return the gradients of x, the weight and the bias; the last is None without a bias."""
    rows = as_rows(xp, g)
    g_weight = xp.matmul(xp.matrix_transpose(rows), as_rows(xp, x))
    return xp.matmul(g, weight), g_weight, xp.sum(rows, axis=0) if has_bias else None


def as_rows(xp: Namespace, x: Array) -> Any:
    """Return x as a matrix with the same last axis."""
    return xp.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))
