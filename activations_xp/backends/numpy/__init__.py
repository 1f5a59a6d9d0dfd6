"""NumPy: the implementation, or NumPy's own function, without warnings.

A 16-bit dtype has 65 536 values. Once that many elements have been computed, the results of an
elementwise function are looked up in a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._definition import Definition
from ..._typing import NUMBER, Kernel, Namespace, Precision
from .. import generic
from ..base import Backend
from . import blocks
from .namespace import XP
from .plan import Plan

PLAIN = (np.ndarray, np.memmap, np.recarray)
"""The types whose elements are numbers; in another, a unit or a mask may belong to them."""

BIT_PATTERNS = 2**16
"""The number of values of a 16-bit dtype."""


def _relu(x: Any, out: Any = None) -> Any:
    return np.maximum(x, 0, out=out)


NATIVE: dict[str, Callable[..., Callable[..., Any] | None]] = {
    "relu": lambda negative_slope, max_value, threshold: (
        _relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
    ),
    "tanh": lambda: np.tanh,
}
"""For parameters, NumPy's own function of x and out, or None."""


class NumpyBackend(Backend):
    """NumPy, and Python numbers, which are treated as its scalars."""

    name = "numpy"
    xp: Namespace = XP
    writes_out = True

    def owns(self, x: Any) -> bool:
        return type(x) in PLAIN or isinstance(x, np.generic)

    def refuses(self, x: Any) -> bool:
        return isinstance(x, np.ndarray) and not self.owns(x)

    def device(self, x: Any) -> Any:
        return None

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        if array_type is np.ndarray:
            return kernel_of(definition, precision)
        kernel = self.bind(definition, precision, np.ndarray)
        if issubclass(array_type, (np.generic, *NUMBER, complex)):
            return _on_scalars(kernel)
        return lambda x, *parameters, **out: kernel(np.asarray(x), *parameters, **out)

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        rng = np.random.default_rng() if rng is None else rng
        if not isinstance(rng, np.random.Generator):
            raise TypeError("a numpy.random.Generator or None")
        is_single = self.isdtype(like, ("real floating",)) and like.dtype.itemsize <= 4
        return rng.random(shape, np.float32 if is_single else np.float64)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        return np.empty(0, dtype) if isinstance(rng, np.random.Generator) else None

    @np.errstate(all="ignore")  # a number may be beyond the dtype of the target
    def write(self, target: Any, value: Any) -> None:
        target[...] = value


BACKEND = NumpyBackend()


def kernel_of(
    definition: Definition, precision: Precision, team: Callable[[], int] | None = None
) -> Kernel:
    """Return the kernel for arrays; machine code runs on the team at the address that is returned.

    Without one it runs on our own.
    """
    native = NATIVE.get(definition.name) if precision == "fast" else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
        """Check the parameters, and return a function of x, of such arrays and of out."""
        form = definition.for_dtype(XP, x.dtype)
        values = form.check(x, parameters, BACKEND)
        compute, result = generic.compute_and_result_dtypes(
            form, XP, x, values, np.dtype(np.float64), exact_rounding=True
        )
        arguments = tuple(
            v.dtype.newbyteorder("=") if isinstance(v, np.ndarray) else v for v in values
        )
        is_constant = not any(isinstance(value, np.ndarray) for value in values)
        is_plain = is_constant and compute == result and not form.is_complex
        function = native(*values) if native and is_plain else None
        compute = np.dtype(compute).newbyteorder("=")
        is_fast = precision == "fast"
        plan = Plan(form, arguments, x.dtype, compute, result, function, is_fast, team)
        is_16_bit = x.dtype == result and result.itemsize == 2
        if form.is_elementwise and is_constant and is_16_bit:
            return _table_kernel(plan.run, result.newbyteorder("=")), True
        return plan.run, True

    def quicken(run: Callable[..., Any]) -> Callable[..., Any] | None:
        plan = getattr(run, "__self__", None)
        return None if plan is None else plan.quick()

    return generic.cached_kernel(definition, make, BACKEND, quicken=quicken)


def _on_scalars(kernel: Kernel) -> Kernel:
    def on_scalar(x: Any, *parameters: Any, out: Any = None) -> Any:
        value = kernel(np.asarray(x), *parameters, out=out)
        return value if value is out else generic.tree_map(lambda array: array[()], value)

    return on_scalar


def _table_kernel(run: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """Return a kernel for a 16-bit dtype that replaces `run` by a table once that pays."""
    computed, table = 0, None

    def look_up(x: Any, out: Any = None) -> Any:
        nonlocal computed, table
        if table is None:
            computed += x.size
            if computed < BIT_PATTERNS:
                return run(x)
            table = run(np.arange(BIT_PATTERNS, dtype=np.uint16).view(dtype))
        if x.size <= blocks.BLOCKWISE_FROM:
            index = x.astype(dtype, copy=False).view(np.uint16)
            return generic.tree_map(lambda column: np.asarray(column[index]), table)
        columns = generic.tree_leaves(table)

        def fill(x: Any, *results: Any) -> None:
            index = x.astype(dtype, copy=False).view(np.uint16)
            for column, result in zip(columns, results, strict=True):
                np.take(column, index, out=result, mode="wrap")  # "raise" would need a buffer

        results = blocks.result_arrays([dtype] * len(columns), (x,), out)
        blocks.map_blocks(fill, (x,), results, np.dtype(np.intp).itemsize)  # take copies the index
        return generic.tree_unflatten(results, table)

    return look_up
