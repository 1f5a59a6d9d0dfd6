"""NumPy: the computation on NumPy itself, without its warnings, or NumPy's own function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._parameters import check
from .._typing import Kernel
from . import generic

if TYPE_CHECKING:
    from .._activation import Definition
    from .._dispatch import Implementation

NATIVE: dict[str, Callable[..., Callable[[Any], Any] | None]] = {
    "relu": lambda negative_slope, max_value, threshold: (
        partial(np.maximum, 0) if (negative_slope, max_value, threshold) == (0, None, 0) else None
    ),
    "tanh": lambda: np.tanh,
}
"""For parameters, NumPy's own function of one array, if it has it."""

_PLANS = 256


def bind(definition: Definition, which: Implementation, kind: type) -> Kernel:
    """A kernel that plans once for each dtype, number of dimensions and parameters."""
    if issubclass(kind, np.generic):
        return _on_scalars(bind(definition, which, np.ndarray))
    native = NATIVE.get(definition.name) if which != "portable" else None
    plans: dict[Any, Callable[[Any], Any]] = {}

    def kernel(x: Any, *parameters: Any) -> Any:
        try:
            plan = plans[x.dtype, x.ndim, parameters]
        except (KeyError, TypeError):  # new, or an array among the parameters
            plan = make(x, parameters)
        return plan(x)

    def make(x: Any, parameters: tuple[Any, ...]) -> Callable[[Any], Any]:
        values = check(definition, x, parameters)
        compute, result = _precision(definition, x, values)
        constant = not any(isinstance(value, np.ndarray) for value in values)
        own = native(*values) if native and constant and compute == result else None
        if own is None:
            plan = _portable(definition, values, compute, result)
        elif x.ndim == 0 or x.dtype != result:
            plan = _exactly(lambda x: own(x.astype(result)), result)
        else:
            plan = own
        if constant:
            if len(plans) >= _PLANS:
                plans.clear()
            plans[x.dtype, x.ndim, parameters] = plan
        return plan

    return kernel


def bind_numbers(definition: Definition, which: Implementation) -> Kernel:
    """A kernel for Python numbers, which count as NumPy scalars."""
    kernel = bind(definition, which, np.ndarray)
    return _on_scalars(lambda x, *parameters: kernel(np.asarray(x), *parameters))


def _on_scalars(kernel: Kernel) -> Kernel:
    return lambda x, *parameters: kernel(np.asarray(x), *parameters)[()]


def is_bfloat16(dtype: Any) -> bool:
    """Whether it is the bfloat16 of ml_dtypes, which NumPy knows only as some void dtype."""
    return bool(dtype.kind == "V" and dtype.name == "bfloat16")


def _precision(definition: Definition, x: Any, values: tuple[Any, ...]) -> tuple[Any, Any]:
    if is_bfloat16(x.dtype):
        return np.dtype(np.float32), x.dtype
    if x.dtype.kind not in "fiub":
        raise generic.refusal(definition, x)
    return generic.precision(definition, np, x, values, np.dtype(np.float64))


def _portable(
    definition: Definition, values: tuple[Any, ...], compute: Any, result: Any
) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return generic.evaluate(definition, np, x, values, compute, result)

    return _exactly(run, result)


def _exactly(run: Callable[[Any], Any], result: Any) -> Callable[[Any], Any]:
    """An array of this dtype, where NumPy makes scalars of 0-d arrays and swaps bytes."""
    return lambda x: np.asarray(run(x), dtype=result)
