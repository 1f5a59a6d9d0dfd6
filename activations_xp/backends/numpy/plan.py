"""The ways to compute a function of NumPy arrays: by NumPy's own function, a trace, or as written.

A plan holds for arrays of one dtype, and for parameters of which numbers and the like are given,
and arrays by their dtype.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from ..._definition import Definition
from ..._gradients import shape_of_parameter
from ...numerics.arrays import slice_axis
from .. import generic
from ..judge import is_fast_enough_in_float32
from . import blocks, engine, ufuncs
from .namespace import UNCOMPENSATED, XP, needs_float64


def _error_handling() -> tuple[Any, Any]:
    """Return the context variable of NumPy's error handling, and its value that ignores all.

    To set it takes a third of the time of `numpy.errstate`. It has no public name; without it
    few elements are computed as many are.
    """
    with np.errstate(all="ignore"):
        values = contextvars.copy_context().items()
        found = (item for item in values if item[0].name == "numpy.ufunc.extobj")
        return next(found, (None, None))


_ERRORS = _error_handling()

SMALL = 2**12
"""So few elements are computed without blocks and registers."""


class Plan:
    """A function of x, of the arrays among the parameters, and of `out`.

    values : the parameters, with a dtype in place of each array
    dtype, compute, result : the dtypes of x, of the computation, and of the result
    native : NumPy's own function of x and out, if one may be called
    is_fast : whether float32 may compute float32 where that keeps the promise of "fast"
    team : returns the address of the team that machine code runs on, if it is not our own
    """

    def __init__(
        self,
        definition: Definition,
        values: tuple[Any, ...],
        dtype: Any,
        compute: Any,
        result: Any,
        native: Callable[..., Any] | None = None,
        is_fast: bool = False,
        team: Callable[[], int] | None = None,
    ):
        self.definition, self.values = definition, values
        result = np.dtype(result)
        self.dtype, self.compute, self.result = dtype, compute, result
        self.native, self.is_fast, self.team = native, is_fast, team
        self.positions = tuple(i for i, v in enumerate(values) if isinstance(v, np.dtype))
        axes = definition.bind(values).get("axis", ())
        self.axes: tuple[int, ...] = axes if isinstance(axes, tuple) else (axes,)
        self.axes = () if definition.is_elementwise else self.axes
        specs = list(definition.parameters.values())
        has_coefficients = any(specs[i].broadcasts == "coefficients" for i in self.positions)
        self.is_elementwise = definition.is_elementwise and not has_coefficients
        names = list(definition.parameters)
        # gradients of parameters are sums over all elements
        self.sums_gradients = "g" in names and any(
            specs[i].differentiable and names[i] != "g" for i in self.positions
        )
        # one half of the axis may be the gate of the other
        gates = [i for i, s in enumerate(specs) if s.choices and s.broadcasts == "with"]
        is_interleaved = definition.bind(values).get("interleaved") is True
        are_halves = bool(gates) and isinstance(values[gates[0]], str) and not is_interleaved
        self.gate = gates[0] if are_halves else None
        is_float = result.kind == "f" and result.itemsize in (4, 8)
        self.is_traced = self.is_elementwise and is_float
        is_along_axis = definition.output_axis in ("kept", "resized") and len(self.axes) > 0
        self.is_compilable = (self.is_traced or (is_along_axis and is_float)) and dtype == result
        self.has_rows = len(self.axes) > 0 and not gates
        if gates:  # other arrays are not of elements
            are_elements = {names[i] for i in self.positions} <= {"g", names[gates[0]]}
            self.is_compilable = self.is_compilable and are_elements and not is_interleaved
        self.wide, self.namespace = self._compute_in(values, is_fast)
        self.program: ufuncs.Program | None = None
        self.small: Callable[..., Any] | None = None
        self.compiled: Any = None
        self.kernel: Any = None
        self.share: Callable[..., None] | None = None
        self.alone_to = 0
        self.was_called = False

    def _compute_in(
        self, values: tuple[Any, ...], is_fast: bool = False, free: tuple[str, ...] = ()
    ) -> tuple[Any, Any]:
        """Return the dtype to compute in and the namespace for it.

        The numbers of these names are arguments of the computation.
        """
        is_single = self.is_elementwise and self.compute == np.float32
        is_fast = is_fast and is_single and self.dtype.newbyteorder("=") == np.float32
        if is_fast and is_fast_enough_in_float32(self.definition, values, UNCOMPENSATED, free=free):
            return self.compute, UNCOMPENSATED
        if is_single and (free or needs_float64(self.definition, values)):
            return np.dtype(np.float64), UNCOMPENSATED
        return self.compute, XP

    def quick(self) -> Callable[..., Any]:
        """Return a function of x and `out`, with as little Python as possible for few elements.

        It returns None if the result cannot be written to `out` here.
        """
        plan, run, result, (errors, ignore) = self, self.run, self.result, _ERRORS
        ndarray, empty, ndim = np.ndarray, np.empty, 2 if self.axes else 1
        is_plain = self.dtype == result and result.isnative and errors is not None
        native = self.native if is_plain else None

        def can_hold(out: Any, x: Any) -> bool:
            return (
                type(out) is ndarray
                and out.dtype == result
                and out.shape == x.shape
                and out.flags.carray
                and (out is x or (out.base is None and x.base is None))
            )

        enter: Any = None
        address, alone_to = 0, -1

        def quick(x: Any, out: Any = None) -> Any:
            nonlocal enter, address, alone_to
            size = x.size
            # one axis, once there is machine code: 0.15 us less than the last lines
            is_alone = engine.numba_from <= size <= alone_to
            if is_alone and out is None and x.ndim == 1 and x.flags.c_contiguous:
                y = empty(size, result)
                enter(address, 0, 0, x, y)
                return y
            if size < engine.numba_from:
                small = native or plan.small
                if small is not None and size <= SMALL and x.ndim:
                    if out is not None and not can_hold(out, x):
                        return None
                    token = errors.set(ignore)
                    try:
                        y = small(x)
                    finally:
                        errors.reset(token)
                    if out is None:
                        return y
                    out[...] = y
                    return out
            else:
                kernel = plan.kernel if size <= plan.alone_to else plan.share
                if kernel is not None and size and x.flags.c_contiguous:
                    if enter is None and ndim == 1:
                        enter, alone_to = plan.kernel.func, plan.alone_to
                        address, *_ = plan.kernel.args
                    if out is None:
                        y = empty(x.shape, result)
                    elif can_hold(out, x):
                        y = out
                    else:
                        return None
                    if x.ndim == ndim:
                        kernel(x, y)
                    else:
                        shape = -1 if ndim == 1 else (-1, x.shape[-1])
                        kernel(x.reshape(shape), y.reshape(shape))
                    return y
            return run(x) if out is None else None

        return quick

    def run(self, x: Any, *arrays: Any, out: Any = None) -> Any:
        """Return the result, which may be written to `out`.

        An elementwise function is traced when it is called with a large array or for the second
        time.
        """
        if out is not None and x.size <= SMALL:
            return _copy(self.run(x, *arrays), out)
        is_alike = not arrays or all(array.shape == x.shape for array in arrays)
        if x.size >= engine.numba_from and self.is_compilable:
            y = self._run_compiled(x, arrays, out) if is_alike or not self.sums_gradients else None
            if y is not None:
                return y
        if self.native is not None:
            return self._run_native(x, out)
        is_large = x.size > blocks.BLOCKWISE_FROM
        if self.is_traced and is_alike and (is_large or self.was_called):
            if self.program is None:
                dtypes = self.dtype, self.wide, self.result
                self.program = ufuncs.program(
                    self.namespace, self.definition, *dtypes, *self.values
                )
                is_plain = not self.positions and _ERRORS[0] is not None
                self.small = self.program.small if is_plain else None
            return self.program.run((x, *arrays), out=out)
        self.was_called = True
        is_sliced = self.definition.output_axis == "kept" and 0 < len(self.axes) < x.ndim
        is_large = x.size * self.compute.itemsize > blocks.BLOCK_BYTES
        if is_sliced and is_large and not self.sums_gradients:
            return self._run_slices(x, arrays, out)
        return as_arrays(self._evaluate(x, arrays))

    @np.errstate(all="ignore")
    def _evaluate(self, x: Any, arrays: tuple[Any, ...]) -> Any:
        values = generic.merge_args(self.values, self.positions, arrays)
        return generic.evaluate(self.definition, self.namespace, x, values, self.wide, self.result)

    def _run_native(self, x: Any, out: Any) -> Any:
        """Call NumPy's own function, block by block on large arrays."""
        assert self.native is not None
        if not (self.dtype == self.result and self.result.isnative):
            return as_arrays(self.native(x.astype(self.result)), self.result)
        if out is None and x.nbytes < blocks.BLOCK_BYTES:
            return self.native(x) if x.ndim else np.asarray(self.native(x))
        results = blocks.result_arrays((self.result,), (x,), out)
        blocks.map_blocks(self.native, (x,), results)
        return results[0]

    def _run_slices(self, x: Any, arrays: tuple[Any, ...], out: Any) -> Any:
        """Run the implementation on slices of a large array."""
        values = generic.merge_args(self.values, self.positions, arrays)
        names = list(self.definition.parameters)
        positions = tuple(
            i for i in self.positions if self._shape(names[i], values[i], x) == values[i].shape
        )

        def run(x: Any, *slices: Any) -> Any:
            arguments = generic.merge_args(values, positions, slices)
            return generic.evaluate(self.definition, XP, x, arguments, self.compute, self.result)

        sliced = x, *(values[i] for i in positions)
        return blocks.map_slices(run, sliced, self.axes, self.compute, self.result, out)

    def _shape(self, name: str, array: Any, x: Any) -> tuple[int, ...]:
        return shape_of_parameter(self.definition, self.values, name, array, x)

    def _run_compiled(self, x: Any, arrays: tuple[Any, ...], out: Any) -> Any:
        """Return the result of machine code, or None if there is none for this function."""
        if self.compiled is None:
            compiler = engine.compiler(x.size)
            if compiler is None:
                return None
            self.compiled = self._compile(compiler)
            self.is_compilable = self.compiled is not None
            are_last = not self.axes or (self.axes == (x.ndim - 1,) and self.has_rows)
            if self.is_compilable and self.compiled.is_unary and are_last and self.result.isnative:
                self.kernel, self.share = self.compiled.execute, self.compiled.share
                self.alone_to = self.compiled.alone_to
        if not self.dtype.isnative:
            x = x.astype(x.dtype.newbyteorder("="))
            arrays = tuple(a.astype(a.dtype.newbyteorder("=")) for a in arrays)
        if self.gate is not None:
            y = self._run_halves(x, arrays, out)
            return y if y is None or self.result.isnative else as_arrays(y, self.result)
        inputs: list[Any] | None = [x, *arrays]
        if any(a.shape != x.shape or not a.dtype.isnative for a in arrays):
            inputs = self._broadcast(x, arrays)
        if self.compiled is None or inputs is None or (self.has_rows and not x.size):
            return None
        y = self.compiled.run(inputs, self.axes, out)
        return y if self.result.isnative else as_arrays(y, self.result)

    def _run_halves(self, x: Any, arrays: tuple[Any, ...], out: Any) -> Any:
        """Run machine code of the halves of x, or return None if they or others do not fit."""
        assert self.gate is not None
        (axis,) = self.axes
        middle, is_odd = divmod(x.shape[axis], 2)
        cuts = [slice(None, middle), slice(middle, None)]
        cuts = cuts if self.values[self.gate] == "last" else cuts[::-1]
        a, b = (slice_axis(x, axis, cut) for cut in cuts)
        if self.compiled is None or is_odd or any(array.shape != a.shape for array in arrays):
            return None
        others = dict(zip(self.positions, arrays, strict=True)) | {self.gate: b}
        inputs = [a, *(others[i] for i in sorted(others))]
        if not isinstance(self.compiled.results, dict):
            return self.compiled.run(inputs, out=out)
        gradient = np.empty_like(x)
        parts = [slice_axis(gradient, axis, cut) for cut in cuts]
        self.compiled.write(inputs, parts)
        return {self.definition.first: gradient}

    def _compile(self, compiler: Any) -> Any:
        """Return the program of a compiler, or None if it has none.

        A number that is not the default may be another one next time, so it is an argument; those
        that implementations treat by themselves are not.
        """
        values, numbers = list(self.values), {}
        for i, (name, spec) in enumerate(self.definition.parameters.items()):
            fixed = 0.0, 1.0, -1.0, inf, -inf, self.definition.defaults.get(name)
            if isinstance(values[i], float) and spec.broadcasts and values[i] not in fixed:
                numbers[name] = values[i]
                values[i] = float
            if name == "axis" and self.axes:
                values[i] = (0,) if isinstance(values[i], tuple) else 0
            if i == self.gate:
                values[i] = self.dtype.newbyteorder("=")
        compute, xp = self._compute_in(self.values, self.is_fast, tuple(numbers))
        if self.result.itemsize == 4 and self.axes:  # which need more digits
            is_fast = self.is_fast and not (numbers or self.definition.noise is not None)
            is_fast = is_fast and (self.has_rows or self._are_halves_fast())
            compute, xp = np.dtype(np.float32 if is_fast else np.float64), UNCOMPENSATED
        dtypes = self.dtype.newbyteorder("="), compute, self.result.newbyteorder("=")
        return compiler.program_of(
            xp,
            self.definition,
            *dtypes,
            tuple(values),
            tuple(numbers.values()),
            is_row=self.has_rows,
            is_fast=xp is UNCOMPENSATED and compute == np.float32,
            other_team=self.team,
        )

    def _are_halves_fast(self) -> bool:
        """Return whether float32 is enough for a gate, if that is one half of x."""
        if self.gate is None:
            return False
        gate = [*self.definition.parameters][self.gate]
        return is_fast_enough_in_float32(self.definition, self.values, UNCOMPENSATED, gate=gate)

    def _broadcast(self, x: Any, arrays: tuple[Any, ...]) -> list[Any] | None:
        """Return x and the arrays in one shape, or None if they do not fit."""
        parameters = list(self.definition.parameters.items())
        inputs, may_grow = [x], False
        for i, array in zip(self.positions, arrays, strict=True):
            name, spec = parameters[i]
            inputs.append(array.reshape(self._shape(name, array, x)))
            may_grow = may_grow or spec.broadcasts == "with"
        try:
            shape = np.broadcast_shapes(*(array.shape for array in inputs))
        except ValueError:
            return None
        if shape != x.shape:
            if not may_grow:
                return None
            inputs[0] = np.ascontiguousarray(np.broadcast_to(x, shape))
        inputs = [a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")) for a in inputs]
        return [a if a.shape == shape else np.broadcast_to(a, shape) for a in inputs]


def _copy(y: Any, out: Any) -> Any:
    """Return `out` with few results, or these: to copy them costs less than to see no overlap."""
    is_alike = type(y) is np.ndarray and y.dtype == out.dtype and y.shape == out.shape
    if not (is_alike and out.flags.writeable):
        return y
    out[...] = y
    return out


def as_arrays(value: Any, dtype: Any = None) -> Any:
    """Return results as arrays, of a dtype if it is given: NumPy makes scalars of 0-d arrays."""
    return generic.tree_map(
        lambda array: array if array is None else np.asarray(array, dtype=dtype), value
    )
