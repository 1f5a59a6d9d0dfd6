"""The parts of error messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._typing import NUMBER


def describe_value(value: Any) -> str:
    """Return a short repr of a plain value, and the type of any other."""
    if value is None or isinstance(value, (bool, int, float, complex, str, list, tuple)):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    dtype = f" of dtype {value.dtype}" if hasattr(value, "dtype") else ""
    return f"{module}{kind.__qualname__}{dtype}"


_CONVERSIONS = ("to_numpy", "magnitude", "toarray", "numpy", "__array__")
"""The attributes by which data frames, quantities and sparse arrays give their array."""


def array_hint(name: str, x: Any) -> str:
    """Return what to do about the argument of this name that is nearly an array."""
    if isinstance(x, (list, tuple)):
        return "; make it an array first, with numpy.asarray or torch.tensor"
    if isinstance(x, np.ma.MaskedArray):
        return f"; pass {name}.filled(value), or the mask as where= where a function has it"
    if isinstance(x, np.matrix):
        return f"; pass numpy.asarray({name})"
    kind = type(x)
    found = next((a for a in _CONVERSIONS if hasattr(kind, a)), None)
    if found is None or hasattr(kind, "__array_namespace__") or isinstance(x, np.generic):
        return ""
    if found == "__array__":
        return f"; pass numpy.asarray({name})"
    return f"; pass {name}.{found}{'()' if callable(getattr(kind, found)) else ''}"


def check_shape(function: str, name: str, value: Any, shape: Any) -> None:
    """Raise a ValueError unless `value` has the shape of the result, which is () for a number."""
    got = () if isinstance(value, NUMBER) else tuple(value.shape)
    if got != tuple(shape):
        raise ValueError(
            f"{function}: {name} of shape {got} must have the shape of the result, {tuple(shape)}"
        )
