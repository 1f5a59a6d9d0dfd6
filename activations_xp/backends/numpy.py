"""NumPy: the computation on NumPy itself, without its warnings, or NumPy's own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._parameters import check
from .._typing import Kernel
from . import generic

if TYPE_CHECKING:
    from .._activation import Definition
    from .._dispatch import Implementation

_KINDS = {"b": "bool", "i": "integral", "u": "integral", "f": "real floating"}


def _isdtype(dtype: Any, kinds: str | tuple[str, ...]) -> bool:
    kind = "real floating" if dtype.name == "bfloat16" else _KINDS.get(dtype.kind)
    return kind in ((kinds,) if isinstance(kinds, str) else kinds)


def _finfo(dtype: Any) -> Any:
    return np.finfo(np.float16 if dtype.name == "bfloat16" else dtype)


xp = generic.overlay(np, isdtype=_isdtype, finfo=_finfo)
"""NumPy, where the bfloat16 of ml_dtypes is a floating dtype and none is refused with an error."""


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


NATIVE: dict[str, Callable[..., Callable[[Any], Any] | None]] = {
    "relu": lambda negative_slope, max_value, threshold: (
        _relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
    ),
    "tanh": lambda: np.tanh,
}
"""For parameters, NumPy's own function of one array, if it has it."""


def bind(definition: Definition, which: Implementation, kind: type) -> Kernel:
    """A kernel that runs NumPy's own function or the computation."""
    if kind is not np.ndarray:
        plain = bind(definition, which, np.ndarray)
        if issubclass(kind, np.generic):
            return _on_scalars(plain)
        return lambda x, *parameters: plain(np.asarray(x), *parameters)
    native = NATIVE.get(definition.name) if which != "portable" else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        values = check(definition, x, parameters)
        compute, result = generic.precision(definition, xp, x, values, np.dtype(np.float64))
        constant = not any(isinstance(value, np.ndarray) for value in values)
        own = native(*values) if native and constant and compute == result else None
        if own is None:
            native_bytes = np.dtype(compute).newbyteorder("=")  # or it is not xp.float32
            return _portable(definition, values, native_bytes, result), constant
        if x.ndim == 0 or x.dtype != result or not result.isnative:
            return _exactly(lambda x: own(x.astype(result)), result), constant
        return own, constant

    return generic.planned(definition, make)


def bind_numbers(definition: Definition, which: Implementation) -> Kernel:
    """A kernel for Python numbers, which count as NumPy scalars."""
    return _on_scalars(bind(definition, which, np.ndarray))


def _on_scalars(kernel: Kernel) -> Kernel:
    def on_scalar(x: Any, *parameters: Any) -> Any:
        return generic.each(lambda part: part[()], kernel(np.asarray(x), *parameters))

    return on_scalar


def _portable(
    definition: Definition, values: tuple[Any, ...], compute: Any, result: Any
) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return generic.evaluate(definition, xp, x, values, compute, result)

    return _exactly(run, result)


def _exactly(run: Callable[[Any], Any], result: Any) -> Callable[[Any], Any]:
    """An array of this dtype, where NumPy makes scalars of 0-d arrays and swaps bytes."""
    return lambda x: generic.each(lambda part: np.asarray(part, dtype=result), run(x))
