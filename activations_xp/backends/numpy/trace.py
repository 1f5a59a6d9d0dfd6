"""Record an elementwise implementation as a trace, which any engine can run.

An elementwise implementation neither reads values nor creates arrays, so `record` can call it with
`Tracer` objects in place of arrays. A trace has inputs, constants, instructions and results. Its
instructions name NumPy's functions without saying how they run; `ufuncs` is the engine that runs
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..._definition import Definition
from ..._typing import NUMBER
from .. import generic


class Instruction(NamedTuple):
    """A call of a function on numbered values."""

    function: Callable[..., Any]
    sources: tuple[int, ...]


class Tracer(NDArrayOperatorsMixin):
    """A stand-in for an array, which records NumPy's functions that are called on it."""

    shape: tuple[int, ...] = ()
    ndim = 0

    def __init__(self, trace: Trace, number: int, dtype: Any):
        self.trace, self.number, self.dtype = trace, number, dtype

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a tracer has no values")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        first, *others = inputs
        if ufunc in (np.multiply, np.divide) and _is_number(others[0], 1):
            return first
        if ufunc is np.multiply and _is_number(first, 1):
            return others[0]
        if ufunc is np.subtract and _is_number(others[0], 0):
            return first
        return self.trace.add(ufunc, *inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        x, *others = args
        if function is np.astype and not kwargs:
            dtype = np.dtype(others[0])
            return x if x.dtype == dtype else self.trace.add(function, x, dtype=dtype)
        if function is np.where:
            dtype = next(v.dtype for v in others if isinstance(v, Tracer))
            return self.trace.add(function, x, *others, dtype=dtype)
        if function is np.round and not others:
            return np.rint(x)
        if function is np.reshape:  # all arrays of a trace have one shape
            return x
        return NotImplemented


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, NUMBER) and value == number and not np.signbit(value)


class Trace:
    """The inputs, constants, instructions and results of a computation.

    Its values are numbered in the order in which they are added; an instruction is found under the
    number of the value that it defines.
    """

    def __init__(self) -> None:
        self.values: list[Tracer] = []
        self.inputs: list[int] = []
        self.constants: dict[int, Any] = {}
        self.instructions: dict[int, Instruction] = {}
        self.results: Any = ()
        self._known: dict[Any, Tracer] = {}

    def _new_value(self, dtype: Any) -> Tracer:
        self.values.append(Tracer(self, len(self.values), dtype))
        return self.values[-1]

    def input(self, dtype: Any) -> Tracer:
        """Add an input."""
        self.inputs.append(len(self.values))
        return self._new_value(dtype)

    def constant(self, number: Any, dtype: Any) -> Tracer:
        """Return a number as a constant, which is added unless it is there."""
        array = np.asarray(number, dtype)
        key = array.tobytes(), dtype
        if key not in self._known:
            self.constants[len(self.values)] = array
            self._known[key] = self._new_value(dtype)
        return self._known[key]

    def add(self, function: Callable[..., Any], *inputs: Any, dtype: Any = None) -> Tracer:
        """Return the value of a call, whose instruction is added unless it is there.

        The dtype of the value is given if the function is not a ufunc. Numbers among the inputs
        take that dtype or, if there is none, that of the first tracer.
        """
        default = dtype or next(v.dtype for v in inputs if isinstance(v, Tracer))
        sources = [v if isinstance(v, Tracer) else self.constant(v, default) for v in inputs]
        if dtype is None:
            ufunc: Any = function
            dtype = ufunc.resolve_dtypes((*(s.dtype for s in sources), None))[-1]
        instruction = Instruction(function, tuple(s.number for s in sources))
        if (instruction, dtype) not in self._known:
            self.instructions[len(self.values)] = instruction
            self._known[instruction, dtype] = self._new_value(dtype)
        return self._known[instruction, dtype]


@np.errstate(all="ignore")
def record(
    xp: Any, definition: Definition, dtype: Any, compute: Any, result: Any, *values: Any
) -> Trace:
    """Trace an implementation for x of a dtype; a dtype among the values stands for an array."""
    trace = Trace()
    x = trace.input(dtype)
    arguments = tuple(trace.input(v) if isinstance(v, np.dtype) else v for v in values)
    trace.results = generic.evaluate(definition, xp, x, arguments, compute, result)
    return trace
