"""NumPy: the implementation, or NumPy's own function, without warnings.

A 16-bit dtype has 65 536 values. Once that many elements have been computed, the results of an
elementwise function are looked up in a table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._parameters import check
from ..._special import log1p
from ..._typing import Kernel
from .. import generic
from . import blocks, ufuncs

if TYPE_CHECKING:
    from ..._activation import Definition

_KINDS = {"b": "bool", "i": "integral", "u": "integral", "f": "real floating"}


def _isdtype(dtype: Any, kinds: str | tuple[str, ...]) -> bool:
    kind = "real floating" if dtype.name == "bfloat16" else _KINDS.get(dtype.kind)
    return kind in ((kinds,) if isinstance(kinds, str) else kinds)


def _finfo(dtype: Any) -> Any:
    return np.finfo(np.float16 if dtype.name == "bfloat16" else dtype)


def _through_float64(ufunc: Any) -> Callable[[Any], Any]:
    """Compute float32 in float64, in the ufunc's buffers: NumPy's float32 is 2 to 4 ulp off."""

    def rounded(x: Any) -> Any:
        if x.dtype != np.float32:
            return ufunc(x)
        return ufunc(x, out=np.empty_like(x), dtype=np.float64, casting="same_kind")

    return rounded


def _with_log1p(xp: Any) -> Any:
    """Replace NumPy's log1p, which is less accurate than ours."""
    return generic.overlay(xp, log1p=functools.partial(log1p, xp))


def _can_read(x: Any) -> bool:
    return True


_INEXACT = (np.exp, np.expm1, np.log)
_plain = generic.overlay(np, isdtype=_isdtype, finfo=_finfo, can_read=_can_read, quick_exp=np.exp)
xp = _with_log1p(generic.overlay(_plain, **{f.__name__: _through_float64(f) for f in _INEXACT}))
"""NumPy with the bfloat16 of ml_dtypes as a floating dtype."""

_float64 = generic.overlay(_plain, spare=True)
"""The namespace of float64 computations whose result is rounded to float32."""

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


def _is_fast(precision: str) -> bool:
    return precision not in ("accurate", "portable")


def bind(definition: Definition, precision: str, kind: type) -> Kernel:
    """Return a kernel for a type of array: NumPy's own function or the implementation."""
    if kind is not np.ndarray:
        kernel = bind(definition, precision, np.ndarray)
        if issubclass(kind, np.generic):
            return _on_scalars(kernel)
        return lambda x, *parameters, **out: kernel(np.asarray(x), *parameters, **out)
    native = NATIVE.get(definition.name) if _is_fast(precision) else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
        values = check(definition, x, parameters)
        default = np.dtype(np.float64)
        compute, result = generic.precision(definition, xp, x, values, default, wide=True)
        is_constant = not any(isinstance(value, np.ndarray) for value in values)
        function = native(*values) if native and is_constant and compute == result else None
        if function is not None:
            return _native_kernel(function, x.dtype, result), is_constant
        compute = np.dtype(compute).newbyteorder("=")
        run = _implementation_kernel(definition, values, x.dtype, compute, result)
        if definition.axis is None and is_constant and x.dtype == result and result.itemsize == 2:
            run = _table_kernel(run, result.newbyteorder("="))
        return run, is_constant

    return generic.planned(definition, make)


def bind_numbers(definition: Definition, precision: str) -> Kernel:
    """Return a kernel for Python numbers, which are treated as NumPy scalars."""
    return _on_scalars(bind(definition, precision, np.ndarray))


def _on_scalars(kernel: Kernel) -> Kernel:
    def on_scalar(x: Any, *parameters: Any, out: Any = None) -> Any:
        value = kernel(np.asarray(x), *parameters, out=out)
        return value if value is out else generic.each(lambda array: array[()], value)

    return on_scalar


def uniform(x: Any, shape: tuple[int, ...], rng: Any) -> Any:
    """Draw random numbers from [0, 1), in float32 if x has at most 32 bits, else in float64."""
    rng = np.random.default_rng() if rng is None else rng
    if not isinstance(rng, np.random.Generator):
        raise TypeError("a numpy.random.Generator or None")
    dtype = getattr(x, "dtype", np.dtype(np.float64))
    is_single = _isdtype(dtype, "real floating") and dtype.itemsize <= 4
    return rng.random(shape, np.float32 if is_single else np.float64)


def _native_kernel(function: Callable[..., Any], dtype: Any, result: Any) -> Callable[..., Any]:
    """Return a kernel that calls NumPy's own function, block by block on large arrays."""

    def run(x: Any, out: Any = None) -> Any:
        if out is None and x.nbytes < blocks.BLOCK_BYTES:
            return function(x) if x.ndim else np.asarray(function(x))
        results = blocks.result_arrays((result,), (x,), out)
        blocks.map_blocks(function, (x,), results)
        return results[0]

    if dtype == result and result.isnative:
        return run
    return lambda x, out=None: _as_arrays(function(x.astype(result)), result)


def _implementation_kernel(
    definition: Definition, values: tuple[Any, ...], dtype: Any, compute: Any, result: Any
) -> Callable[..., Any]:
    """Return a kernel that runs the implementation.

    An elementwise one is traced when it is called with a large array or for the second time.
    """
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    arguments = tuple(v.dtype if isinstance(v, np.ndarray) else v for v in values)
    is_elementwise = definition.axis is None
    namespace = xp
    if is_elementwise and compute == np.float32 and _needs_float64(definition, arguments):
        compute, namespace = np.dtype(np.float64), _float64
    is_traced = is_elementwise and result.itemsize in (4, 8)
    axes = dict(zip(definition.parameters, values, strict=True)).get("axis")
    axes = axes if isinstance(axes, tuple) else (axes,)
    is_sliced = definition.axis == "kept"
    program: ufuncs.Program | None = None
    was_called = False

    @np.errstate(all="ignore")
    def evaluate(x: Any) -> Any:
        return generic.evaluate(definition, namespace, x, values, compute, result)

    def run(x: Any, out: Any = None) -> Any:
        nonlocal was_called, program
        if program is not None:
            return program.run(x, out=out)
        is_large = x.size > blocks.BLOCKWISE_FROM
        if is_traced and (is_large or was_called) and all(v.shape == x.shape for v in arrays):
            traced = ufuncs.program(namespace, definition, dtype, compute, result, *arguments)
            program = None if arrays else traced
            return traced.run(x, *arrays, out=out)
        if is_sliced and len(axes) < x.ndim and x.size * compute.itemsize > blocks.BLOCK_BYTES:
            return _run_slices(definition, x, values, axes, compute, result, out)
        was_called = True
        return _as_arrays(evaluate(x), result)

    return run


class _NeedsFloat64Error(Exception):
    """A function was called that is accurate in float32 only through float64."""


def _refuse(x: Any) -> Any:
    raise _NeedsFloat64Error


_probing = _with_log1p(generic.overlay(_plain, **{f.__name__: _refuse for f in _INEXACT}))


@functools.lru_cache(ufuncs.MAX_PROGRAMS, typed=True)
def _needs_float64(definition: Definition, arguments: tuple[Any, ...]) -> bool:
    """Return whether the implementation calls such a function in float32.

    It is faster in float64 then. This runs for every new number among the parameters: a run up to
    the first such call takes a third of the time of a trace.
    """
    one = np.ones(1, np.float32)
    values = tuple(one if isinstance(value, np.dtype) else value for value in arguments)
    try:
        with np.errstate(all="ignore"):
            generic.evaluate(definition, _probing, one, values, one.dtype, one.dtype)
    except _NeedsFloat64Error:
        return True
    return False


def _run_slices(
    definition: Definition,
    x: Any,
    values: tuple[Any, ...],
    axes: tuple[int, ...],
    compute: Any,
    result: Any,
    out: Any,
) -> Any:
    """Run the implementation on slices of a large array."""
    positions = tuple(
        i
        for i, (name, value) in enumerate(zip(definition.parameters, values, strict=True))
        if isinstance(value, np.ndarray)
        and generic.aligned_to(definition, values, name, value, x) == value.shape
    )

    def run(x: Any, *slices: Any) -> Any:
        arguments = generic.filled(values, positions, slices)
        return generic.evaluate(definition, xp, x, arguments, compute, result)

    return blocks.map_slices(run, (x, *(values[i] for i in positions)), axes, compute, result, out)


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
            return generic.each(lambda column: np.asarray(column[index]), table)
        columns = generic.listed(table)

        def fill(x: Any, *results: Any) -> None:
            index = x.astype(dtype, copy=False).view(np.uint16)
            for column, result in zip(columns, results, strict=True):
                np.take(column, index, out=result, mode="wrap")  # "raise" would need a buffer

        results = blocks.result_arrays([dtype] * len(columns), (x,), out)
        blocks.map_blocks(fill, (x,), results, np.dtype(np.intp).itemsize)  # take copies the index
        return generic.rearranged(results, table)

    return look_up


def _as_arrays(value: Any, dtype: Any) -> Any:
    """Return results as arrays of a dtype: NumPy makes scalars of 0-d arrays and swaps bytes."""
    return generic.each(lambda array: np.asarray(array, dtype=dtype), value)
