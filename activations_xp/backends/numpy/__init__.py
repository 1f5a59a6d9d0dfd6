"""NumPy: the implementation, or NumPy's own function, without warnings.

A 16-bit dtype has 65 536 values. Once that many elements have been computed, the results of an
elementwise function are looked up in a table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import inf, prod
from typing import Any

import numpy as np

from ..._definition import Definition
from ..._gradients import shape_of_parameter
from ..._typing import NUMBER, Kernel, Namespace, Precision
from ...numerics.arrays import slice_axis
from ...numerics.special import log1p
from .. import generic
from ..base import Backend
from . import blocks, engine, trace, ufuncs

_KINDS = {
    "b": "bool",
    "i": "integral",
    "u": "integral",
    "f": "real floating",
    "c": "complex floating",
}


def _isdtype(dtype: Any, kinds: str | tuple[str, ...]) -> bool:
    kind = _KINDS.get(dtype.kind) or ("real floating" if dtype.name == "bfloat16" else None)
    if kind == "real floating" and dtype.itemsize == 1:  # a float8 of ml_dtypes has the kind "f"
        return False
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
    return generic.extend_namespace(xp, log1p=functools.partial(log1p, xp))


def _is_concrete(x: Any) -> bool:
    return True


def _complex(real: Any, imag: Any) -> Any:
    """Return a complex array; real + imag*1j makes NaN of infinities."""
    z = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, np.complex64))
    z.real, z.imag = real, imag
    return z


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum, made in pairs along every axis.

    NumPy's own is so along the axis of neighbours in memory. Along another it adds the elements one
    after the other, and each addition may lose half a unit in the last place of the sum.
    """
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    are_last = x.flags.c_contiguous and sorted(axes) == list(range(x.ndim))[x.ndim - len(axes) :]
    if not are_last:
        least = min(map(abs, x.strides))
        far = [i for i in axes if abs(x.strides[i]) > least]
        while prod(x.shape[i] for i in far) > SHORT_SUM:
            i = max(far, key=lambda i: x.shape[i])
            half, is_odd = divmod(x.shape[i], 2)
            pairs = slice_axis(x, i, slice(half)) + slice_axis(x, i, slice(half, 2 * half))
            if is_odd:
                slice_axis(pairs, i, slice(1))[...] += slice_axis(x, i, slice(2 * half, None))
            x = pairs
    return np.sum(x, axis=axis, keepdims=keepdims)


_INEXACT = (np.exp, np.expm1, np.log)
_plain = generic.extend_namespace(
    np,
    isdtype=_isdtype,
    finfo=_finfo,
    is_concrete=_is_concrete,
    fast_exp=np.exp,
    complex=_complex,
    sum=_sum,
)
_xp = _with_log1p(
    generic.extend_namespace(_plain, **{f.__name__: _through_float64(f) for f in _INEXACT})
)
"""NumPy with the bfloat16 of ml_dtypes as a floating dtype."""

_float64 = generic.extend_namespace(_plain, rounds_to_float32=True)
"""The namespace of float64 computations whose result is rounded to float32."""

PLAIN = (np.ndarray, np.memmap, np.recarray)
"""The types whose elements are numbers; in another, a unit or a mask may belong to them."""

SHORT_SUM = 8
"""As many numbers may be added one after the other: four units in the last place may be lost."""

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
    xp: Namespace = _xp
    writes_out = True

    def owns(self, x: Any) -> bool:
        return type(x) in PLAIN or isinstance(x, np.generic)

    def refuses(self, x: Any) -> bool:
        return isinstance(x, np.ndarray) and not self.owns(x)

    def device(self, x: Any) -> Any:
        return None

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        if array_type is not np.ndarray:
            kernel = self.bind(definition, precision, np.ndarray)
            if issubclass(array_type, (np.generic, *NUMBER, complex)):
                return _on_scalars(kernel)
            return lambda x, *parameters, **out: kernel(np.asarray(x), *parameters, **out)
        native = NATIVE.get(definition.name) if precision == "fast" else None

        def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
            form = definition.for_dtype(_xp, x.dtype)
            values = form.check(x, parameters, self)
            default = np.dtype(np.float64)
            compute, result = generic.compute_and_result_dtypes(
                form, _xp, x, values, default, exact_rounding=True
            )
            is_constant = not any(isinstance(value, np.ndarray) for value in values)
            is_plain = is_constant and compute == result and not form.is_complex
            function = native(*values) if native and is_plain else None
            compute = np.dtype(compute).newbyteorder("=")
            run = _implementation_kernel(form, values, x.dtype, compute, result, function)
            is_16_bit = x.dtype == result and result.itemsize == 2
            if form.is_elementwise and is_constant and is_16_bit:
                run = _table_kernel(run, result.newbyteorder("="))
            return run, is_constant

        return generic.cached_kernel(definition, make, write=_write)

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


def _write(run: Callable[..., Any], x: Any, out: Any) -> Any:
    """Return ``run(x, out)``; that of a small array is copied, for that costs less than to ask."""
    if x.size > SMALL:
        return run(x, out)
    y = run(x)
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
    definition: Definition,
    values: tuple[Any, ...],
    dtype: Any,
    compute: Any,
    result: Any,
    native: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """Return a kernel that runs the implementation, or NumPy's own function in its place.

    An elementwise one is traced when it is called with a large array or for the second time.
    """
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    arguments = tuple(v.dtype.newbyteorder("=") if isinstance(v, np.ndarray) else v for v in values)
    is_elementwise = definition.is_elementwise and not _has_coefficients(definition, values)
    is_float = result.kind == "f" and result.itemsize in (4, 8)
    axes = dict(zip(definition.parameters, values, strict=True)).get("axis", ())
    axes = () if definition.is_elementwise else axes if isinstance(axes, tuple) else (axes,)
    is_along_axis = definition.output_axis in ("kept", "resized") and len(axes) > 0
    sums_gradients = _sums_gradients(definition, values)
    is_sliced = definition.output_axis == "kept" and not sums_gradients
    run_native = None if native is None else _native_kernel(native, dtype, result)
    compilable = (is_elementwise or is_along_axis) and is_float and dtype == result
    program: blocks.Program | None = None
    compiled: Any = None
    was_called = False
    narrow, (compute, namespace) = (
        compute,
        _compute_in(definition, arguments, compute, is_elementwise),
    )

    @np.errstate(all="ignore")
    def evaluate(x: Any) -> Any:
        return generic.evaluate(definition, namespace, x, values, compute, result)

    def run_compiled(x: Any, out: Any) -> Any:
        """Return the result of machine code, or None if there is none for this function."""
        nonlocal compilable, compiled
        if compiled is None:
            compiler = engine.compiler(x.size)
            if compiler is None:
                return None
            compiled = _compile(compiler, definition, axes, arguments, dtype, narrow, result)
            compilable = compiled is not None
        inputs = _broadcast(definition, values, x)
        y = compiled(inputs, out) if compilable and inputs is not None else None
        return y if y is None or result.isnative else _as_arrays(y, result)

    def run(x: Any, out: Any = None) -> Any:
        nonlocal was_called, program
        is_alike = all(v.shape == x.shape for v in arrays)
        if compilable and x.size >= engine.numba_from and (is_alike or not sums_gradients):
            y = run_compiled(x, out)
            if y is not None:
                return y
        if run_native is not None:
            return run_native(x, out)
        if program is not None:
            return program.run(x, out=out)
        is_large = x.size > blocks.BLOCKWISE_FROM
        if is_elementwise and is_float and (is_large or was_called) and is_alike:
            traced = ufuncs.program(namespace, definition, dtype, compute, result, *arguments)
            program = None if arrays else traced
            return traced.run(x, *arrays, out=out)
        if is_sliced and len(axes) < x.ndim and x.size * compute.itemsize > blocks.BLOCK_BYTES:
            return _run_slices(definition, x, values, axes, compute, result, out)
        was_called = True
        return _as_arrays(evaluate(x))

    return run


def _compile(
    compiler: Any,
    definition: Definition,
    axes: tuple[int, ...],
    arguments: tuple[Any, ...],
    dtype: Any,
    compute: Any,
    result: Any,
) -> Callable[[list[Any], Any], Any] | None:
    """Return a function of arrays of one shape and of out, or None if there is no machine code."""
    markers, numbers = _free_numbers(definition, arguments)
    compute, xp = _compute_in(definition, markers, compute, is_elementwise=not axes)
    if result.itemsize == 4 and (numbers or axes):  # numbers have more digits, and sums need them
        compute, xp = np.dtype(np.float64), _float64
    dtypes = dtype.newbyteorder("="), compute, result.newbyteorder("=")
    if not axes:
        program = compiler.program(xp, definition, *dtypes, markers, numbers)
        return program and (lambda inputs, out: program.run(*inputs, out=out))
    first = {"axis": (0,) if isinstance(definition.bind(arguments)["axis"], tuple) else 0}
    markers = tuple((definition.bind(markers) | first).values())
    program = compiler.program(xp, definition, *dtypes, markers, numbers, is_row=True)
    return program and (
        lambda inputs, out: program.run(inputs, axes, out) if inputs[0].size else None
    )


def _broadcast(definition: Definition, values: tuple[Any, ...], x: Any) -> list[Any] | None:
    """Return x and the arrays among the parameters in one shape, or None if they do not fit."""
    arrays, may_grow = [x], False
    for (name, spec), value in zip(definition.parameters.items(), values, strict=True):
        if isinstance(value, np.ndarray):
            arrays.append(value.reshape(shape_of_parameter(definition, values, name, value, x)))
            may_grow = may_grow or spec.broadcasts == "with"
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        return None
    if shape != x.shape:
        if not may_grow:
            return None
        arrays[0] = np.ascontiguousarray(np.broadcast_to(x, shape))
    arrays = [a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")) for a in arrays]
    return [a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays]


def _sums_gradients(definition: Definition, values: tuple[Any, ...]) -> bool:
    """Return whether the result has gradients of parameters, which sum over all slices."""
    return "g" in definition.parameters and any(
        spec.differentiable and name != "g" and isinstance(value, np.ndarray)
        for (name, spec), value in zip(definition.parameters.items(), values, strict=True)
    )


def _has_coefficients(definition: Definition, values: tuple[Any, ...]) -> bool:
    """Return whether an array is one of coefficients, which are not elements beside those of x."""
    return any(
        spec.broadcasts == "coefficients" and isinstance(value, np.ndarray)
        for spec, value in zip(definition.parameters.values(), values, strict=True)
    )


def _free_numbers(
    definition: Definition, arguments: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[float, ...]]:
    """Return the arguments with `float` for numbers that may be others next time, and the numbers.

    The default is no such number; nor is one that implementations treat by itself.
    """
    found, numbers = [], []
    for (name, spec), value in zip(definition.parameters.items(), arguments, strict=True):
        fixed = 0.0, 1.0, -1.0, inf, -inf, definition.defaults.get(name)
        if isinstance(value, float) and spec.broadcasts and value not in fixed:
            numbers.append(value)
            value = float
        found.append(value)
    return tuple(found), tuple(numbers)


def _compute_in(
    definition: Definition, arguments: tuple[Any, ...], compute: Any, is_elementwise: bool
) -> tuple[Any, Any]:
    """Return the dtype to compute in and the namespace for it."""
    if is_elementwise and compute == np.float32 and _needs_float64(definition, arguments):
        return np.dtype(np.float64), _float64
    return compute, _xp


class _NeedsFloat64Error(Exception):
    """A function was called that is accurate in float32 only through float64."""


def _refuse(x: Any) -> Any:
    raise _NeedsFloat64Error


_probing = _with_log1p(generic.extend_namespace(_plain, **{f.__name__: _refuse for f in _INEXACT}))


@functools.lru_cache(ufuncs.MAX_PROGRAMS, typed=True)
def _needs_float64(definition: Definition, arguments: tuple[Any, ...]) -> bool:
    """Return whether the implementation calls such a function in float32.

    It is faster in float64 then. This runs for every new number among the parameters: a run up to
    the first such call takes a third of the time of a trace.
    """
    one = np.ones(1, np.float32)
    values = tuple(one if trace.is_input(value) else value for value in arguments)
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
        and shape_of_parameter(definition, values, name, value, x) == value.shape
    )

    def run(x: Any, *slices: Any) -> Any:
        arguments = generic.merge_args(values, positions, slices)
        return generic.evaluate(definition, _xp, x, arguments, compute, result)

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


def _as_arrays(value: Any, dtype: Any = None) -> Any:
    """Return results as arrays, of a dtype if it is given: NumPy makes scalars of 0-d arrays."""
    return generic.tree_map(
        lambda array: array if array is None else np.asarray(array, dtype=dtype), value
    )
