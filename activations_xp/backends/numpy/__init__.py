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

SMALL = 2**12
"""An array of as many elements is copied faster than it is seen not to overlap another."""

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
            return _kernel(definition, precision)
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


def _kernel(definition: Definition, precision: Precision) -> Kernel:
    """Return a kernel that plans once for each dtype, set of parameters, and shapes of arrays."""
    native = NATIVE.get(definition.name) if precision == "fast" else None
    by_ndim = any(spec.depends_on_ndim for spec in definition.parameters.values())
    cache: dict[Any, Callable[..., Any]] = {}

    def make(x: Any, parameters: tuple[Any, ...]) -> Callable[..., Any]:
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
        plan = Plan(form, arguments, x.dtype, compute, result, function, is_fast)
        is_16_bit = x.dtype == result and result.itemsize == 2
        if form.is_elementwise and is_constant and is_16_bit:
            return _table_kernel(plan.run, result.newbyteorder("="))
        return plan.run

    def kernel(x: Any, types: tuple[type, ...], *parameters: Any, out: Any = None) -> Any:
        arrays: tuple[Any, ...] = ()
        # the types tell an axis of 1 from one of True
        key: Any = x.dtype, parameters, types, x.ndim if by_ndim else None
        try:
            run = cache.get(key)
        except TypeError:  # arrays cannot be hashed
            arrays = tuple(p for p in parameters if isinstance(p, np.ndarray))
            marks = [(p.dtype, p.shape) if isinstance(p, np.ndarray) else p for p in parameters]
            key = x.dtype, x.shape, tuple(marks), types
            try:
                run = cache.get(key)
            except TypeError:
                key = run = None
        if run is None:
            run = make(x, parameters)
            # the elements of a tuple of axes may be equal but of other types
            if key is not None and not (by_ndim and tuple in types):
                if len(cache) >= generic.MAX_CACHED_KERNELS:
                    cache.clear()
                cache[key] = run
        return run(x, arrays) if out is None else _write(run, x, arrays, out)

    if len(definition.defaults) == len(definition.parameters):
        kernel.plain = _plain(definition, kernel, cache, by_ndim)  # type: ignore[attr-defined]
    return kernel


def _plain(
    definition: Definition, kernel: Kernel, cache: dict[Any, Callable[..., Any]], by_ndim: bool
) -> Callable[..., Any]:
    """Return a kernel for the defaults of all parameters.

    It is a function of x and out, and None if the result cannot be written to `out` here.
    """
    defaults = tuple(definition.defaults.values())
    types = tuple(map(type, defaults))
    quick: dict[Any, Callable[..., Any]] = {}

    def plain(x: Any, out: Any = None) -> Any:
        run = quick.get((x.dtype, x.ndim) if by_ndim else x.dtype)
        if run is not None:
            return run(x, out)
        if out is not None:
            return None
        y = kernel(x, types, *defaults)
        found = cache.get((x.dtype, defaults, types, x.ndim if by_ndim else None))
        plan = getattr(found, "__self__", None)
        if plan is not None:
            quick[(x.dtype, x.ndim) if by_ndim else x.dtype] = plan.quick()
        return y

    return plain


def _write(run: Callable[..., Any], x: Any, arrays: tuple[Any, ...], out: Any) -> Any:
    """Return ``run(x, arrays, out)``; a small array is copied, which costs less than to ask."""
    if x.size > SMALL:
        return run(x, arrays, out)
    y = run(x, arrays)
    is_alike = type(y) is np.ndarray and y.dtype == out.dtype and y.shape == out.shape
    if not (is_alike and out.flags.writeable):
        return y
    out[...] = y
    return out


def _on_scalars(kernel: Kernel) -> Kernel:
    def on_scalar(x: Any, *parameters: Any, out: Any = None) -> Any:
        value = kernel(np.asarray(x), *parameters, out=out)
        return value if value is out else generic.tree_map(lambda array: array[()], value)

    return on_scalar


def _table_kernel(run: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """Return a kernel for a 16-bit dtype that replaces `run` by a table once that pays."""
    computed, table = 0, None

    def look_up(x: Any, arrays: tuple[Any, ...] = (), out: Any = None) -> Any:
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
