"""The parts of error messages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def needs_extra(why: str, extra: str) -> Iterator[None]:
    """Say why a module is imported here, and the extra that installs it, if it is missing."""
    try:
        yield
    except ImportError:
        raise ImportError(f'{why}; run pip install "activations_xp[{extra}]"') from None


_CONVERSIONS = {
    "to_numpy": ".to_numpy()",
    "to_value": ".to_value(unit)",
    "magnitude": ".magnitude",
    "to_tensor": ".to_tensor(value)",
    "toarray": ".toarray()",
    "todense": ".todense()",
    "numpy": ".numpy()",
}
"""Data frames, quantities, and masked or sparse arrays give their array so, by the attribute."""


def array_hint(name: str, x: Any) -> str:
    """Return what to do about the argument of this name that is nearly an array."""
    if isinstance(x, (list, tuple)):
        return "; make it an array first, with numpy.asarray or torch.tensor"
    if isinstance(x, np.ma.MaskedArray):
        return f"; pass {name}.filled(value), or the mask as where= where a function has it"
    kind = type(x)
    if kind.__name__ == "CausalBias":
        return f"; pass is_causal={x.variant.name.lower()!r} to attention"
    if hasattr(kind, "materialize"):
        return f"; call {name}.materialize(shape) first"
    is_array = hasattr(kind, "__array_namespace__") and not isinstance(x, np.ndarray)
    if is_array or isinstance(x, np.generic):
        return ""
    found = next((text for a, text in _CONVERSIONS.items() if hasattr(kind, a)), "")
    if found:
        return f"; pass {name}{found}"
    return f"; pass numpy.asarray({name})" if hasattr(kind, "__array__") else ""


def check_shape(function: str, name: str, value: Any, shape: Any) -> None:
    """Raise a ValueError unless `value` has the shape of the result, which is () for a number."""
    got = () if isinstance(value, NUMBER) else tuple(value.shape)
    if got != tuple(shape):
        raise ValueError(
            f"{function}: {name} of shape {got} must have the shape of the result, {tuple(shape)}"
        )


_said: set[str] = set()


def warn_once(message: str) -> None:
    """Warn of what costs time and nothing else, once in the process."""
    if message not in _said:
        _said.add(message)
        warnings.warn(f"activations_xp: {message}", RuntimeWarning, stacklevel=2)
