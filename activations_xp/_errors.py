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


def array_hint(x: Any) -> str:
    """Return what to do about an argument that is nearly an array."""
    if isinstance(x, (list, tuple)):
        return "; make it an array first, with numpy.asarray or torch.tensor"
    if isinstance(x, np.ma.MaskedArray):
        return "; pass x.filled(value), or the mask as where= where a function has it"
    if isinstance(x, np.matrix):
        return "; pass numpy.asarray(x)"
    return ""


def check_shape(function: str, name: str, value: Any, shape: Any) -> None:
    """Raise a ValueError unless `value` is a number or has the shape of the result."""
    if not isinstance(value, NUMBER) and tuple(value.shape) != tuple(shape):
        raise ValueError(
            f"{function}: {name} of shape {tuple(value.shape)} must have the shape of the result,"
            f" {tuple(shape)}"
        )
