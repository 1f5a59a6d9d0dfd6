"""What a computation does to each element, recorded once and played on NumPy block by block.

A computation of elements alone reads no values and makes no arrays, so that it can be called with
a `Recorded` in place of an array. What comes out is a list of calls of ufuncs, none of them twice,
that write into a few registers of the size of a block: nothing of the size of the array is made
but the result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .._parameters import NUMBER
from .._special import log1p
from . import generic
from ._blocks import in_blocks

if TYPE_CHECKING:
    from .._activation import Definition


class Step(NamedTuple):
    """A call of a function that writes into its argument `out`."""

    function: Callable[..., Any]
    sources: tuple[int, ...]
    target: int


class Recorded(NDArrayOperatorsMixin):
    """Stands for an array in a computation; one element of it is computed, for the dtype."""

    shape: tuple[int, ...] = ()
    ndim = 0

    def __init__(self, tape: Tape, number: int, element: Any):
        self.tape, self.number, self.element = tape, number, element

    @property
    def dtype(self) -> Any:
        return self.element.dtype

    def __array__(self, *args: Any, **keywords: Any) -> Any:
        raise TypeError("there is no array yet, only the record of one")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method != "__call__" or keywords:
            return NotImplemented
        first, *others = inputs
        if ufunc in (np.multiply, np.divide) and _is_one(others[0]):
            return first
        if ufunc is np.multiply and _is_one(first):
            return others[0]
        return self.tape.add(ufunc, *inputs)


def _is_one(value: Any) -> bool:
    return isinstance(value, NUMBER) and value == 1


class Tape:
    """The steps of a computation, whose values are numbered in the order they are made."""

    def __init__(self) -> None:
        self.elements: list[Any] = []
        self.inputs: list[int] = []
        self.constants: list[int] = []
        self.steps: list[Step] = []
        self.known: dict[Any, Recorded] = {}

    def _new(self, key: Any, element: Any) -> Recorded:
        self.elements.append(element)
        self.known[key] = Recorded(self, len(self.elements) - 1, element)
        return self.known[key]

    def input(self, dtype: Any) -> Recorded:
        """The next array that the computation is given."""
        made = self._new(len(self.inputs), np.ones(1, dtype))
        self.inputs.append(made.number)
        return made

    def constant(self, number: Any, dtype: Any) -> Recorded:
        """A number as an array of this dtype."""
        key = repr(number), dtype
        if key not in self.known:
            self.constants.append(self._new(key, np.asarray(number, dtype)).number)
        return self.known[key]

    def add(self, function: Callable[..., Any], *inputs: Any, dtype: Any = None) -> Recorded:
        """The value of a new step, or of the one that did the same.

        The function writes into the array `out`; without one it makes one, unless the dtype of
        that is stated.
        """
        kind = next(v.dtype for v in inputs if isinstance(v, Recorded))
        with np.errstate(all="ignore"):
            values = [v if isinstance(v, Recorded) else self.constant(v, kind) for v in inputs]
            sources = tuple(v.number for v in values)
            key = function, sources, dtype
            if key not in self.known:
                elements = [v.element for v in values]
                element = function(*elements) if dtype is None else np.empty(1, dtype)
                if dtype is not None:
                    function(*elements, out=element)
                self.steps.append(Step(function, sources, self._new(key, element).number))
        return self.known[key]


def _astype(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else x.tape.add(_copy, x, dtype=np.dtype(dtype))


def _copy(a: Any, out: Any) -> None:
    np.copyto(out, a, casting="unsafe")


def _where(condition: Any, a: Any, b: Any) -> Any:
    """By bits, for `numpy.where` takes ten times as long where the condition comes at random."""
    tape = condition.tape
    kind = next(v.dtype for v in (a, b) if isinstance(v, Recorded))
    mask = tape.add(_mask, condition, dtype=np.dtype(f"i{kind.itemsize}"))
    a, b = (v if isinstance(v, Recorded) else tape.constant(v, kind) for v in (a, b))
    return tape.add(_select, a, b, mask, dtype=kind)


def _mask(condition: Any, out: Any) -> None:
    np.negative(condition.view(np.int8), out=out, dtype=out.dtype)


def _select(a: Any, b: Any, mask: Any, out: Any) -> None:
    a, b, out = (v.view(mask.dtype) for v in (a, b, out))
    np.bitwise_xor(a, b, out=out)
    np.bitwise_and(out, mask, out=out)
    np.bitwise_xor(out, b, out=out)


def by_float64(function: Any) -> Callable[..., Any]:
    """NumPy's function, whose float32 is 2 to 4 units off: float64's, rounded in its buffers."""

    def rounded(a: Any, out: Any = None) -> Any:
        if a.dtype != np.float32:
            return function(a, out=out)
        out = np.empty_like(a) if out is None else out
        return function(a, out=out, dtype=np.float64, casting="same_kind")

    return rounded


def namespace(xp: Any, exact: Mapping[Any, Callable[..., Any]]) -> Any:
    """NumPy's functions of arrays, some of them exact ones, as those of records."""

    def of_records(function: Any) -> Any:
        return lambda x: x.tape.add(function, x)

    others = {name: of_records(function) for name, function in exact.items()}
    others |= {"where": _where, "astype": _astype, "round": np.rint}
    # all arrays have one shape
    recording = generic.overlay(xp, reshape=lambda x, shape: x, **others)
    return generic.overlay(recording, log1p=functools.partial(log1p, recording))


class Program:
    """The steps that lead to the results. The arrays they work on are told by their places.

    First come the inputs, the results and the constants; then the registers, which hold what is
    between, each a memory seen as a dtype.
    """

    def __init__(self, tape: Tape, results: Any):
        self.results = results
        goals: list[int] = []

        def reach(r: Recorded) -> None:  # each is written by a step of its own
            if r.number in (*tape.inputs, *tape.constants, *goals):
                r = tape.add(functools.partial(_copy), r, dtype=r.dtype)
            goals.append(r.number)

        generic.each(reach, results)
        needed = set(goals)
        for step in reversed(tape.steps):
            if step.target in needed:
                needed.update(step.sources)
        steps = [step for step in tape.steps if step.target in needed]
        last = {source: i for i, step in enumerate(steps) for source in step.sources}

        self.constants = [tape.elements[number] for number in tape.constants]
        self.dtypes = [tape.elements[number].dtype for number in goals]
        self.ends = len(tape.inputs) + len(goals)
        named = (*tape.inputs, *goals, *tape.constants)
        places = {number: i for i, number in enumerate(named)}
        self.registers: dict[tuple[int, Any], int] = {}
        self.memories = 0
        self.steps: list[Step] = []
        held: dict[int, int] = {}
        free: list[int] = []
        for i, (function, sources, target) in enumerate(steps):
            done = [s for s in dict.fromkeys(sources) if s in held and last[s] == i]
            if target not in places:
                dtype = tape.elements[target].dtype
                kept = sources[1:] if function is _select else ()
                alike = [s for s in done if tape.elements[s].itemsize == dtype.itemsize]
                over = [s for s in alike if s not in kept]
                if not over and not free:
                    free.append(self.memories)
                    self.memories += 1
                held[target] = memory = held.pop(over[0]) if over else free.pop()
                place = len(named) + len(self.registers)
                places[target] = self.registers.setdefault((memory, dtype), place)
            free += [held.pop(s) for s in done if s in held]
            self.steps.append(Step(function, tuple(places[s] for s in sources), places[target]))

    def run(self, *inputs: Any) -> Any:
        """The results for these arrays of one shape, which lie in memory as the first does."""
        values = iter(in_blocks(self._player, inputs, self.dtypes))
        return generic.each(lambda _: next(values), self.results)

    def _player(self, size: int) -> Callable[..., None]:
        """What does the steps for a block of so many elements at the most."""
        width = max((dtype.itemsize for _, dtype in self.registers), default=0)
        memory = np.empty((self.memories, size * width), np.uint8)
        registers = [memory[m, : size * t.itemsize].view(t) for m, t in self.registers]

        def bound(steps: list[Step], ends: Sequence[Any], n: int) -> list[Callable[[], Any]]:
            arrays = [*ends, *self.constants, *(r[:n] for r in registers)]
            return [
                functools.partial(function, *[arrays[s] for s in sources], out=arrays[target])
                for function, sources, target in steps
            ]

        # all but what is at an end is the same for every block: while one thread is in Python
        # no other can be
        outer = [
            i for i, step in enumerate(self.steps) if min(*step.sources, step.target) < self.ends
        ]
        calls = bound(self.steps, [registers] * self.ends, size)

        def play(*ends: Any) -> None:
            n = len(ends[0])
            now = calls
            if n < size:
                now = bound(self.steps, ends, n)
            else:
                for i, call in zip(
                    outer, bound([self.steps[i] for i in outer], ends, n), strict=True
                ):
                    calls[i] = call
            for call in now:
                call()

        return play


@functools.lru_cache(256, typed=True)
def program(
    xp: Any, definition: Definition, dtype: Any, compute: Any, result: Any, *values: Any
) -> Program:
    """The computation, recorded for arrays of this dtype and of those among the values."""
    tape = Tape()
    x = tape.input(dtype)
    told = tuple(tape.input(v) if isinstance(v, np.dtype) else v for v in values)
    return Program(tape, generic.evaluate(definition, xp, x, told, compute, result))
