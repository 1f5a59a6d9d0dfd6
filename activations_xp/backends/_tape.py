"""What a computation does to each element, recorded once and played on NumPy block by block.

A computation of elements alone reads no values and makes no arrays, so that it can be called with
a `Recorded` in place of an array. What comes out is a function that calls one ufunc after another,
none of them twice, on a few registers of the size of a block: nothing of the size of the array is
made but the result.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .._typing import NUMBER
from . import _blocks, generic

if TYPE_CHECKING:
    from .._definition import Definition


ALIGNED = 64
"""Registers begin at multiples of so many bytes."""

IN_PLACE: dict[Any, int] = {
    **dict.fromkeys((np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum), 2),
    **dict.fromkeys((np.negative, np.absolute, np.sqrt, np.rint), 1),
}
"""How many of its first arguments a function may write over, at no cost: NumPy's exponential of
float64 takes four times as long in place."""

PROGRAMS = 256
"""How many computations are remembered."""


class Step(NamedTuple):
    """A call of a function that writes what it makes of its sources."""

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
        if ufunc in (np.multiply, np.divide) and _is(1, others[0]):
            return first
        if ufunc is np.multiply and _is(1, first):
            return others[0]
        if ufunc is np.subtract and _is(0, others[0]):
            return first
        if ufunc in (np.maximum, np.minimum):
            return self.tape.bounded(ufunc, first, *others)
        return self.tape.add(ufunc, *inputs)


def _is(number: int, value: Any) -> bool:
    return isinstance(value, NUMBER) and value == number and not np.signbit(value)


class Tape:
    """The steps of a computation, whose values are numbered in the order they are made."""

    def __init__(self) -> None:
        self.values: list[Recorded] = []
        self.inputs: list[int] = []
        self.constants: list[int] = []
        self.steps: dict[int, Step] = {}
        self.known: dict[Any, Recorded] = {}

    def _new(self, key: Any, element: Any) -> Recorded:
        value = self.known[key] = Recorded(self, len(self.values), element)
        self.values.append(value)
        return value

    def input(self, dtype: Any) -> Recorded:
        """The next array that the computation is given."""
        made = self._new(len(self.inputs), np.ones(1, dtype))
        self.inputs.append(made.number)
        return made

    def constant(self, number: Any, dtype: Any) -> Recorded:
        """A number as an array of this dtype."""
        array = np.asarray(number, dtype)
        key = array.tobytes(), dtype
        if key not in self.known:
            self.constants.append(self._new(key, array).number)
        return self.known[key]

    def add(self, function: Callable[..., Any], *inputs: Any, dtype: Any = None) -> Recorded:
        """The value of a new step, or of the one that did the same.

        A function that is not NumPy's writes into its last argument, of the dtype stated.
        """
        kind = next(v.dtype for v in inputs if isinstance(v, Recorded))
        with np.errstate(all="ignore"):
            values = [v if isinstance(v, Recorded) else self.constant(v, kind) for v in inputs]
            sources = tuple(v.number for v in values)
            key = function, sources, dtype
            if key not in self.known:
                elements = [v.element for v in values]
                if dtype is None:
                    element = function(*elements)
                else:
                    function(*elements, element := np.empty(1, dtype))
                target = self._new(key, element).number
                self.steps[target] = Step(function, sources, target)
        return self.known[key]

    def bounded(self, ufunc: Any, a: Any, b: Any) -> Recorded:
        """The larger or the smaller, in one step with the bound on the other side before it."""
        if not isinstance(a, Recorded):
            return self.add(ufunc, a, b)
        b = b if isinstance(b, Recorded) else self.constant(b, a.dtype)
        x, first = self.sources(a, np.minimum if ufunc is np.maximum else np.maximum) or (a, a)
        # of two zeros clip takes another than they do
        if all(end.number in self.constants and end.element for end in (first, b)):
            ends = (b, first) if ufunc is np.maximum else (first, b)
            return self.add(_clip, x, *ends, dtype=x.dtype)
        return self.add(ufunc, a, b)

    def sources(self, value: Recorded, function: Any) -> list[Recorded]:
        """Of what the function made the value; of nothing if it was another."""
        step = self.steps.get(value.number)
        made = step is not None and step.function is function
        return [self.values[number] for number in step.sources] if step and made else []


def _astype(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else x.tape.add(_copy, x, dtype=np.dtype(dtype))


def _copy(a: Any, out: Any) -> None:
    out[...] = a


def _where(condition: Any, a: Any, b: Any) -> Any:
    """By bits, for `numpy.where` takes ten times as long where the condition comes at random."""
    tape = condition.tape
    kind = next(v.dtype for v in (a, b) if isinstance(v, Recorded))
    a, b = (v if isinstance(v, Recorded) else tape.constant(v, kind) for v in (a, b))
    if [v.number for v in tape.sources(condition, np.greater_equal)] == [b.number, a.number]:
        return tape.bounded(np.minimum, b, a)
    if _is_line(tape, b, a) and _is_over_0(tape, condition, a):
        return tape.add(np.maximum, a, b)
    bits = np.dtype(f"i{kind.itemsize}")
    nothing = np.zeros((), kind).tobytes()
    for value, other, mask in ((a, b, _mask_not), (b, a, _mask)):
        if value.number in tape.constants and value.element.tobytes() == nothing:
            return tape.add(_keep, other, tape.add(mask, condition, dtype=bits), dtype=kind)
    return tape.add(_select, a, b, tape.add(_mask, condition, dtype=bits), dtype=kind)


def _is_line(tape: Tape, value: Any, x: Any) -> bool:
    """Whether it is x times a number from 0 to 1."""
    slope, *others = tape.sources(value, np.multiply) or [x]
    is_number = slope.number in tape.constants
    return is_number and 0 < slope.element <= 1 and [v.number for v in others] == [x.number]


def _is_over_0(tape: Tape, condition: Any, x: Any) -> bool:
    numbers = [v.number for v in tape.sources(condition, np.greater)]
    return numbers == [x.number, tape.constant(0, x.dtype).number]


def _mask(condition: Any, out: Any) -> None:
    out[...] = condition.view(np.int8)
    np.negative(out, out)


def _mask_not(condition: Any, out: Any) -> None:
    out[...] = condition.view(np.int8)
    np.subtract(out, 1, out)


def _keep(a: Any, mask: Any, out: Any) -> None:
    np.bitwise_and(a.view(mask.dtype), mask, out.view(mask.dtype))


def _select(a: Any, b: Any, mask: Any, out: Any) -> None:
    a, b, out = (v.view(mask.dtype) for v in (a, b, out))
    np.bitwise_xor(a, b, out)
    np.bitwise_and(out, mask, out)
    np.bitwise_xor(out, b, out)


def _clip(a: Any, low: Any, high: Any, out: Any) -> None:
    if out.size > 4096:
        np.clip(a, low, high, out=out)
    else:  # of which each call is a third
        np.maximum(a, low, out=out)
        np.minimum(out, high, out=out)


IN_PLACE |= {_select: 1, _keep: 2}


def namespace(xp: Any) -> Any:
    """NumPy's functions of arrays as those of records."""
    # all arrays have one shape
    others = {"where": _where, "astype": _astype, "round": np.rint, "reshape": lambda x, shape: x}
    return generic.extend_namespace(xp, **others)


class Program:
    """The steps that lead to the results, as a function in Python of arrays to be bound to.

    Its arguments are the inputs, the results, the constants, and the registers, which hold what is
    between: each a memory seen as a dtype.
    """

    def __init__(self, tape: Tape, results: Any):
        self.results = results
        self.is_single = isinstance(results, Recorded) and len(tape.inputs) == 1
        self.is_first = isinstance(results, Recorded) and results.number == tape.inputs[0]
        goals: list[int] = []

        def reach(r: Recorded) -> None:  # each is written by a step of its own
            if r.number in (*tape.inputs, *tape.constants, *goals):
                r = tape.add(functools.partial(_copy), r, dtype=r.dtype)
            goals.append(r.number)

        generic.tree_map(reach, results)
        needed = set(goals)
        for step in reversed(tape.steps.values()):
            if step.target in needed:
                needed.update(step.sources)
        steps = [step for step in tape.steps.values() if step.target in needed]
        last = {source: i for i, step in enumerate(steps) for source in step.sources}
        constants = [number for number in tape.constants if number in needed]

        self.constants = [tape.values[number].element for number in constants]
        self.dtypes = [tape.values[number].dtype for number in goals]
        self.registers: dict[tuple[int, Any], str] = {}
        self.memories = 0
        self.width = int(max(tape.values[s.target].dtype.itemsize for s in steps))
        ends = [f"end{i}" for i in range(len(tape.inputs) + len(goals))]
        others = [f"constant{i}" for i in range(len(self.constants))]
        numbers = (*tape.inputs, *goals, *constants)
        names = dict(zip(numbers, [*ends, *others], strict=True))
        functions: dict[str, Any] = {}
        lines: list[str] = []
        held: dict[int, int] = {}
        free: list[int] = []
        for i, (function, sources, target) in enumerate(steps):
            done = [s for s in dict.fromkeys(sources) if s in held and last[s] == i]
            if target not in names:
                dtype = tape.values[target].dtype
                alike = [s for s in done if tape.values[s].dtype.itemsize == dtype.itemsize]
                over = [s for s in alike if s in sources[: IN_PLACE.get(function, 0)]]
                if not over and not free:
                    free.append(self.memories)
                    self.memories += 1
                held[target] = memory = held.pop(over[0]) if over else free.pop()
                name = f"register{len(self.registers)}"
                names[target] = self.registers.setdefault((memory, dtype), name)
            free += [held.pop(s) for s in done if s in held]
            word = getattr(function, "__name__", "copy").strip("_")
            functions[word] = function
            out = "out=" if function in (np.maximum, np.minimum) else ""  # or it is deprecated
            given = ", ".join(names[s] for s in sources)
            lines.append(f"{word}({given}, {out}{names[target]})")
        self.source = f"""
def bind({", ".join([*others, *self.registers.values()])}):
    def play({", ".join(ends)}):
        {f"{chr(10)}        ".join(lines)}
    return play
"""
        exec(compile(self.source, "<activations_xp program>", "exec"), functions)
        self.bind = functions["bind"]

    def run(self, *inputs: Any, out: Any = None) -> Any:
        """The results for these arrays of one shape, which lie in memory as the first does.

        The only one is written to `out` where that fits.
        """
        x = inputs[0]
        if self.is_first:
            return x
        if out is None and self.is_single and x.size <= _blocks.LARGE and x.flags.c_contiguous:
            made = [np.empty(x.shape, self.dtypes[0])]  # in the fewest steps of Python
            self.play(x.ravel(), made[0].ravel())
            return made[0]
        if out is None or not _blocks.takes(out, inputs, self.dtypes[0]):
            made = [np.empty_like(x, dtype) for dtype in self.dtypes]
            is_apart = True
        else:
            made = [out]
            is_apart = not any(np.may_share_memory(out, array) for array in inputs)
        arrays = [*inputs, *made]
        if x.size <= _blocks.LARGE and is_apart and all(a.flags.c_contiguous for a in arrays):
            self.play(*[array.ravel() for array in arrays])
        else:
            _blocks.in_blocks(self.play, inputs, made, self.width * self.memories)
        return generic.tree_unflatten(made, self.results)

    @np.errstate(all="ignore")
    def play(self, *ends: Any) -> None:
        """Do the steps for a block of the inputs and of the results."""
        spaces = _spaces()
        space = spaces.pop() if spaces else Space()  # a signal's handler finds another
        space.player(self, len(ends[0]))(*ends)
        spaces.append(space)


class Space:
    """A thread's memory for registers, and the programs that are bound to it."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)
        self.players: dict[tuple[Program, int], Callable[..., None]] = {}

    def player(self, program: Program, size: int) -> Callable[..., None]:
        """The program, bound to registers of this size."""
        known = self.players.get((program, size))
        if known is None:
            stride = -(-size * program.width // ALIGNED) * ALIGNED
            if program.memories * stride > len(self.memory):
                self.memory = np.empty(program.memories * stride, np.uint8)
                self.players.clear()
            elif len(self.players) >= PROGRAMS:
                self.players.clear()
            parts = [self.memory[m * stride :][: size * t.itemsize] for m, t in program.registers]
            views = [part.view(t) for part, (_, t) in zip(parts, program.registers, strict=True)]
            known = self.players[program, size] = program.bind(*program.constants, *views)
        return known


_local = threading.local()


def _spaces() -> list[Space]:
    try:
        return _local.spaces  # type: ignore[no-any-return]
    except AttributeError:
        _local.spaces = []
        return _local.spaces  # type: ignore[no-any-return]


@functools.lru_cache(PROGRAMS, typed=True)
def program(
    xp: Any, definition: Definition, dtype: Any, compute: Any, result: Any, *values: Any
) -> Program:
    """The computation, recorded for arrays of this dtype and of those among the values."""
    tape = Tape()
    x = tape.input(dtype)
    told = tuple(tape.input(v) if isinstance(v, np.dtype) else v for v in values)
    return Program(tape, generic.evaluate(definition, xp, x, told, compute, result))
