"""Record an implementation as a trace, which any engine can run.

An implementation neither reads values nor creates arrays, so `record` can call it with `Tracer`
objects in place of arrays. A trace has inputs, constants, instructions and results. Its
instructions name NumPy's functions without saying how they run; `ufuncs` and `compiled` are the
engines that run them. An elementwise function is traced for one element, and a function along an
axis for one row, with reductions as instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
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


REDUCTIONS = (np.sum, np.max, np.min)


class Length:
    """The length of a row, which is not known while the row is traced."""

    def __rmul__(self, other: int) -> Length:
        if other != 1:  # with which a product of lengths begins
            raise TypeError("a traced row has no length")
        return self


class Tracer(NDArrayOperatorsMixin):
    """A stand-in for an array, which records NumPy's functions that are called on it."""

    def __init__(self, trace: Trace, number: int, dtype: Any, shape: tuple[int, ...]):
        self.trace, self.number, self.dtype, self.shape = trace, number, dtype, shape
        self.ndim = len(shape)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a tracer has no values")

    def __bool__(self) -> bool:
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
        if function in REDUCTIONS and x.trace.shape and kwargs.pop("axis") in (0, (0,)):
            return x.trace.reduce(function, x, **kwargs)
        if function is np.astype and not kwargs:
            dtype = np.dtype(others[0])
            return x if x.dtype == dtype else self.trace.add(function, x, dtype=dtype)
        if function is np.where:
            dtype = next(v.dtype for v in others if isinstance(v, Tracer))
            return self.trace.add(function, x, *others, dtype=dtype)
        if function is np.round and not others:
            return np.rint(x)
        if function in (np.reshape, np.broadcast_to) and x.fits(tuple(others[0])):
            shape = x.shape if x.is_row or function is np.broadcast_to else tuple(others[0])
            return Tracer(x.trace, x.number, x.dtype, shape)
        return NotImplemented

    @property
    def is_row(self) -> bool:
        """Whether it stands for one element of a row, not for what the row has in common."""
        return self.shape is self.trace.shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape has the same elements."""
        return shape == self.trace.shape or (not self.is_row and shape in ((), (1,)))


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, NUMBER) and value == number and not np.signbit(value)


class Trace:
    """The inputs, constants, instructions and results of a computation.

    Its values are numbered in the order in which they are added; an instruction is found under the
    number of the value that it defines. The shape is that of an array of elements, () if there are
    elements alone.
    """

    def __init__(self, shape: tuple[Any, ...] = ()) -> None:
        self.shape = shape
        self.length: Tracer | None = None
        self.values: list[Tracer] = []
        self.inputs: list[int] = []
        self.constants: dict[int, Any] = {}
        self.instructions: dict[int, Instruction] = {}
        self.results: Any = ()
        self._known: dict[Any, Tracer] = {}

    def _new_value(self, dtype: Any, shape: tuple[int, ...] = ()) -> Tracer:
        self.values.append(Tracer(self, len(self.values), dtype, shape))
        return self.values[-1]

    def input(self, dtype: Any, shape: tuple[int, ...] | None = None) -> Tracer:
        """Add an input, of the shape of the trace if no other is given."""
        self.inputs.append(len(self.values))
        return self._new_value(dtype, self.shape if shape is None else shape)

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
        sources = [v if isinstance(v, Tracer) else self._number(v, default) for v in inputs]
        if dtype is None:
            ufunc: Any = function
            dtype = ufunc.resolve_dtypes((*(s.dtype for s in sources), None))[-1]
        instruction = Instruction(function, tuple(s.number for s in sources))
        is_row = any(s.is_row for s in sources)
        shape = self.shape if is_row else max((s.shape for s in sources), key=len)
        return self._define(instruction, dtype, shape)

    def _number(self, number: Any, dtype: Any) -> Tracer:
        """Return a number of an instruction."""
        return (
            self.row_length(dtype) if isinstance(number, Length) else self.constant(number, dtype)
        )

    def row_length(self, dtype: Any) -> Tracer:
        """Return the length of a row, as a number."""
        if self.length is None:
            self.length = self._new_value(dtype)
        return self.length

    def reduce(
        self, function: Callable[..., Any], x: Tracer, keepdims: bool = False, dtype: Any = None
    ) -> Tracer:
        """Return the value of a reduction of a row, in the dtype of x or in another one."""
        instruction = Instruction(function, (x.number,))
        return self._define(instruction, dtype or x.dtype, (1,) if keepdims else ())

    def live_instructions(
        self, results: Iterable[int], given: Container[int] = ()
    ) -> dict[int, Instruction]:
        """Return the instructions on which the results depend, but for those of given values."""
        needed = set(results)
        for target, instruction in reversed(self.instructions.items()):
            if target in needed and target not in given:
                needed.update(instruction.sources)
        return {
            n: instruction
            for n, instruction in self.instructions.items()
            if n in needed and n not in given
        }

    def _define(self, instruction: Instruction, dtype: Any, shape: tuple[int, ...]) -> Tracer:
        if (instruction, dtype, shape) not in self._known:
            self.instructions[len(self.values)] = instruction
            self._known[instruction, dtype, shape] = self._new_value(dtype, shape)
        return self._known[instruction, dtype, shape]


def is_input(value: Any) -> bool:
    """Return whether an argument of `record` stands for an input."""
    return isinstance(value, np.dtype) or value is float


@np.errstate(all="ignore")
def record(
    xp: Any,
    definition: Definition,
    dtype: Any,
    compute: Any,
    result: Any,
    *values: Any,
    is_row: bool = False,
) -> Trace:
    """Trace an implementation for x of a dtype, or for a row of it.

    Among the values of the parameters, a dtype stands for an array, and `float` for any number.
    """
    trace = Trace((Length(),) if is_row else ())
    x = trace.input(dtype)
    arguments = [
        trace.input(np.dtype(v), () if v is float else None) if is_input(v) else v for v in values
    ]
    found = generic.evaluate(definition, xp, x, tuple(arguments), compute, result)
    if isinstance(found, dict):  # numbers have no gradients
        names = dict(zip(definition.parameters, values, strict=True))
        found = {name: gradient for name, gradient in found.items() if names.get(name) is not float}
    trace.results = found
    return trace
