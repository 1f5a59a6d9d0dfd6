"""Record an elementwise implementation as a trace, which any engine can run.

An elementwise implementation neither reads values nor creates arrays, so `record` can call it with
`Tracer` objects in place of arrays. A trace has inputs, constants, instructions and results. Its
instructions name NumPy's functions without saying how they run: `ufuncs` is the engine that runs
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..._parameters import NUMBER
from .. import generic

if TYPE_CHECKING:
    from ..._activation import Definition


class Instruction(NamedTuple):
    """A call of a function on numbered values, which defines the value numbered `target`."""

    function: Callable[..., Any]
    sources: tuple[int, ...]
    target: int


class Tracer(NDArrayOperatorsMixin):
    """A stand-in for an array, which records the functions that are called on it."""

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


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, NUMBER) and value == number and not np.signbit(value)


class Trace:
    """The inputs, constants, instructions and results of a computation.

    Its values are numbered in the order in which they are added.
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
        tracer = self._new_value(dtype)
        self.inputs.append(tracer.number)
        return tracer

    def constant(self, number: Any, dtype: Any) -> Tracer:
        """Return a number as a constant, which is added unless it is there."""
        array = np.asarray(number, dtype)
        key = array.tobytes(), dtype
        if key not in self._known:
            self._known[key] = self._new_value(dtype)
            self.constants[self._known[key].number] = array
        return self._known[key]

    def add(self, function: Callable[..., Any], *inputs: Any, dtype: Any = None) -> Tracer:
        """Return the value of a call, whose instruction is added unless it is there.

        Numbers among the inputs take the dtype of the first tracer. The dtype of the value must be
        given if the function is not a ufunc.
        """
        default = next(v.dtype for v in inputs if isinstance(v, Tracer))
        sources = [v if isinstance(v, Tracer) else self.constant(v, default) for v in inputs]
        if dtype is None:
            ufunc: Any = function
            dtype = ufunc.resolve_dtypes((*(s.dtype for s in sources), None))[-1]
        key = function, tuple(s.number for s in sources), dtype
        if key not in self._known:
            self._known[key] = self.append(function, *sources, dtype=dtype)
        return self._known[key]

    def append(self, function: Callable[..., Any], *sources: Tracer, dtype: Any) -> Tracer:
        """Return the value of a call, whose instruction is added even if it is there."""
        target = self._new_value(dtype)
        numbers = tuple(s.number for s in sources)
        self.instructions[target.number] = Instruction(function, numbers, target.number)
        return target


def tracing_namespace(xp: Any) -> Any:
    """Return a copy of NumPy's namespace whose functions also take tracers."""
    return generic.overlay(
        xp,
        where=_where,
        astype=_astype,
        round=np.rint,
        reshape=lambda x, shape: x,  # all arrays of a trace have one shape
    )


def _where(condition: Any, a: Any, b: Any) -> Any:
    trace, dtype = condition.trace, next(v.dtype for v in (a, b) if isinstance(v, Tracer))
    a, b = (v if isinstance(v, Tracer) else trace.constant(v, dtype) for v in (a, b))
    return trace.add(np.where, condition, a, b, dtype=dtype)


def _astype(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else x.trace.add(np.astype, x, dtype=np.dtype(dtype))


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
