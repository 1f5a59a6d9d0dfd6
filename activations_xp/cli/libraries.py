"""The array libraries that the commands run on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

MAKERS = {
    "numpy": ("numpy", "asarray"),
    "array_api_strict": ("array_api_strict", "asarray"),
    "torch": ("torch", "tensor"),
    "jax": ("jax.numpy", "asarray"),
    "tensorflow": ("tensorflow", "constant"),
    "cupy": ("cupy", "asarray"),
    "dask": ("dask.array", "from_array"),
    "mlx": ("mlx.core", "array"),
}
"""For each library, the module and the function that converts a NumPy array."""


def array_maker(library: str) -> Callable[[Any], Any]:
    """Return the function that converts a NumPy array to an array of `library`."""
    module, function = MAKERS[library]
    maker: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return maker
