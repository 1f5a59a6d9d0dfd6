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


_MAPPED = "map_batches(lambda s: {f}(s.to_numpy()), return_dtype=polars.Float64)"
_ELEMENTWISE = {
    "xarray": 'xarray.apply_ufunc({f}, {x}, dask="allowed")',
    "pandas.DataFrame": "{x}.apply({f}, raw=True)",
    "pandas.Series": "pandas.Series({f}({x}.to_numpy()), {x}.index)",
    "polars.Series": "polars.Series({f}({x}.to_numpy()))",
    "polars.Expr": "{x}." + _MAPPED,
    "polars.DataFrame": "{x}.select(polars.all()." + _MAPPED + ")",
    "polars.LazyFrame": "{x}.select(polars.all()." + _MAPPED + ")",
}
"""The call of a function of one array that keeps labels, by the type or its library."""

_ALONG_AXIS = {
    "xarray": "xarray.apply_ufunc({f}, {x}, input_core_dims=[[{dim}]], output_core_dims=[[{dim}]]"
    ', dask="allowed")',
    "pandas.DataFrame": "{x}.apply({f}, axis=1, raw=True)",
    "pandas.Series": _ELEMENTWISE["pandas.Series"],
    "polars.Series": _ELEMENTWISE["polars.Series"],
}
"""That of a function along the last axis, which it keeps."""

_CONVERSIONS = {
    "to_numpy": ".to_numpy()",
    "to_value": '.to_value("")',
    "magnitude": '.to("dimensionless").magnitude',
    "to_tensor": ".to_tensor(value)",
    "toarray": ".toarray()",
    "todense": ".todense()",
    "numpy": ".numpy()",
}
"""Data frames, quantities, and masked or sparse arrays give their array so, by the attribute."""


def array_hint(name: str, x: Any, definition: Any = None) -> str:
    """Return what to do about the argument of this name that is nearly an array.

    For the first one, of which there is the definition, that is the call to write instead.
    """
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
    call = "" if definition is None else _labelled_call(name, x, definition)
    if call:
        return f"; write {call}"
    found = next((text for a, text in _CONVERSIONS.items() if hasattr(kind, a)), "")
    if found:
        found = ".data" if kind.__module__.startswith("xarray.") else found  # it may be Dask's
        return f"; pass {name}{found}"
    return f"; pass numpy.asarray({name})" if hasattr(kind, "__array__") else ""


def _labelled_call(name: str, x: Any, definition: Any) -> str:
    """Return the call with an argument that has labels, which the result keeps, or ""."""
    one_array = definition.defaults.keys() == definition.parameters.keys()
    one_result = definition.keeps_shape and not definition.name.endswith("value_and_derivative")
    if not (definition.is_activation and one_array and one_result):
        return ""
    calls = _ELEMENTWISE if definition.is_elementwise else _ALONG_AXIS
    library = type(x).__module__.partition(".")[0]
    text = calls.get(library) or calls.get(f"{library}.{type(x).__name__}", "")
    dims = tuple(getattr(x, "dims", ())) or ("dim",)
    return text.format(f=f"ax.{definition.name}", x=name, dim=repr(dims[-1]))


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
