"""Run a trace with NumPy's ufuncs, block by block.

A `Program` calls one function after another on registers of the size of a block, so that no array
of the size of x is allocated but the result.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Container
from typing import Any

import numpy as np

from ..._definition import Definition
from .. import generic
from . import blocks
from .trace import Instruction, Trace, Tracer, record

REGISTER_ALIGNMENT = 64
"""The alignment of registers, in bytes."""

MAX_PROGRAMS = 256
"""The number of programs that are cached."""


def _copy(a: Any, out: Any) -> None:
    out[...] = a


def _mask(condition: Any, out: Any) -> None:
    out[...] = condition.view(np.int8)
    np.negative(out, out)


def _inverted_mask(condition: Any, out: Any) -> None:
    out[...] = condition.view(np.int8)
    np.subtract(out, 1, out)


def _apply_mask(a: Any, mask: Any, out: Any) -> None:
    np.bitwise_and(a.view(mask.dtype), mask, out.view(mask.dtype))


def _select(a: Any, b: Any, mask: Any, out: Any) -> None:
    a, b, out = (v.view(mask.dtype) for v in (a, b, out))
    np.bitwise_xor(a, b, out)
    np.bitwise_and(out, mask, out)
    np.bitwise_xor(out, b, out)


def _clip(a: Any, low: Any, high: Any, out: Any) -> None:
    if out.size > 4096:
        np.clip(a, low, high, out=out)
    else:  # here the overhead of np.clip exceeds the time of both
        np.maximum(a, low, out=out)
        np.minimum(out, high, out=out)


IN_PLACE: dict[Any, int] = {
    **dict.fromkeys((np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum), 2),
    **dict.fromkeys((np.negative, np.absolute, np.sqrt, np.rint), 1),
    _select: 1,
    _apply_mask: 2,
}
"""The number of leading arguments that a function may overwrite at no cost. Others may not: in
place, NumPy's float64 exponential takes four times as long."""


def _lower(trace: Trace) -> Trace:
    """Rewrite a trace for functions whose last argument is the array to write to.

    Every result becomes the target of an instruction of its own.
    """
    lowered = Trace()
    new = {n: lowered.input(trace.values[n].dtype) for n in trace.inputs}
    new |= {n: lowered.constant(array, array.dtype) for n, array in trace.constants.items()}
    for target, (function, sources) in trace.instructions.items():
        rule: Callable[..., Tracer] = _RULES.get(function, Trace.add)
        arguments = [new[s] for s in sources]
        new[target] = rule(lowered, function, *arguments, dtype=trace.values[target].dtype)
    lowered.results = []
    for tracer in generic.tree_leaves(trace.results):
        value = new[tracer.number]
        if value.number in (*lowered.inputs, *lowered.constants, *lowered.results):
            new_copy = functools.partial(_copy)  # no other instruction equals one of it
            value = lowered.add(new_copy, value, dtype=value.dtype)
        lowered.results.append(value.number)
    return lowered


def _lower_bound(trace: Trace, function: Any, a: Any, b: Any, dtype: Any) -> Tracer:
    """Replace a maximum or minimum with a constant, or both, by np.clip, which is vector code.

    Of two zeros np.clip returns another one than maximum and minimum do.
    """
    if not trace.constants.get(b.number, 0):
        return trace.add(function, a, b, dtype=dtype)
    low, high = (trace.constant(bound, dtype).number for bound in (-np.inf, np.inf))
    x, *bounds = _sources(trace, a, _clip) or (a.number, low, high)
    side = function is np.minimum
    if bounds[side] != (high if side else low):
        x, *bounds = a.number, low, high
    bounds[side] = b.number
    return trace.add(_clip, *(trace.values[n] for n in (x, *bounds)), dtype=dtype)


def _lower_where(
    trace: Trace, function: Any, condition: Any, a: Tracer, b: Tracer, dtype: Any
) -> Tracer:
    """Select bits: `numpy.where` takes ten times as long if the condition is irregular."""
    if a is b:  # `_select` in place would overwrite one with the other
        return a
    if _sources(trace, condition, np.greater_equal) == (b.number, a.number):
        return _lower_bound(trace, np.minimum, b, a, dtype)
    zero = trace.constant(0, dtype)
    is_positive = _sources(trace, condition, np.greater) == (a.number, zero.number)
    if is_positive and _is_scaled_down(trace, b, a):
        return trace.add(np.maximum, a, b, dtype=dtype)
    bits = np.dtype(f"i{dtype.itemsize}")
    for value, other, make_mask in ((a, b, _inverted_mask), (b, a, _mask)):
        if value is zero:
            mask = trace.add(make_mask, condition, dtype=bits)
            return trace.add(_apply_mask, other, mask, dtype=dtype)
    mask = trace.add(_mask, condition, dtype=bits)
    return trace.add(_select, a, b, mask, dtype=dtype)


def _is_scaled_down(trace: Trace, value: Tracer, x: Tracer) -> bool:
    """Return whether `value` is x times a constant from 0 to 1."""
    sources = _sources(trace, value, np.multiply)
    return sources[1:] == (x.number,) and bool(0 < trace.constants.get(sources[0], 0) <= 1)


def _sources(trace: Trace, value: Tracer, function: Any) -> tuple[int, ...]:
    """Return the sources of the call of `function` that defines `value`, or () if none does."""
    instruction = trace.instructions.get(value.number)
    return instruction.sources if instruction and instruction.function is function else ()


_RULES: dict[Any, Callable[..., Tracer]] = {
    np.astype: lambda trace, function, x, dtype: trace.add(_copy, x, dtype=dtype),
    np.maximum: _lower_bound,
    np.minimum: _lower_bound,
    np.where: _lower_where,
}


def _allocate_registers(
    trace: Trace, instructions: dict[int, Instruction], arrays: Container[int]
) -> dict[int, int]:
    """Return the memory of each value that is not among the arrays.

    A memory is free for another value once its value has been used for the last time.
    """
    last_use = {s: n for n, (_, sources) in instructions.items() for s in sources}
    memory: dict[int, int] = {}
    free: list[int] = []
    for target, (function, sources) in instructions.items():
        ending = [s for s in dict.fromkeys(sources) if s in memory and last_use[s] == target]
        if target not in arrays:
            itemsize = trace.values[target].dtype.itemsize
            for s in sources[: IN_PLACE.get(function, 0)]:
                if s in ending and trace.values[s].dtype.itemsize == itemsize:
                    ending.remove(s)
                    free.append(memory[s])
                    break
            memory[target] = free.pop() if free else len({*memory.values()})
        free += [memory[s] for s in ending]
    return memory


def _generate(
    instructions: dict[int, Instruction], names: dict[int, str], bound: list[str]
) -> Callable[..., Callable[..., None]]:
    """Return a function that binds constants and registers and returns one of arrays alone."""
    functions: dict[str, Any] = {}
    lines = []
    for target, (function, sources) in instructions.items():
        name = getattr(function, "__name__", "copy").strip("_")
        functions[name] = function
        out = _out(function, names[target])
        lines.append(f"{name}({', '.join(names[s] for s in sources)}{out})")
    source = f"""
def bind({", ".join(bound)}):
    def execute({", ".join(name for name in names.values() if name not in bound)}):
        {f"{chr(10)}        ".join(lines)}
    return execute
"""
    exec(compile(source, "<activations_xp program>", "exec"), functions)
    return functions["bind"]  # type: ignore[no-any-return]


def _out(function: Any, name: str) -> str:
    """Return the code of the last argument of a call, the array to write to."""
    return f", out={name}" if function in (np.maximum, np.minimum) else f", {name}"


class Program(blocks.Program):
    """A trace as a generated function of arrays, with the constants and registers it needs.

    A register is a memory viewed as a dtype; several registers may share a memory.
    """

    def __init__(self, trace: Trace):
        lowered = _lower(trace)
        instructions = lowered.live_instructions(lowered.results)
        used = {s for _, sources in instructions.values() for s in sources}
        constants = [n for n in lowered.constants if n in used]
        names = {n: f"array{i}" for i, n in enumerate((*lowered.inputs, *lowered.results))}
        names |= {n: f"constant{i}" for i, n in enumerate(constants)}
        memory = _allocate_registers(lowered, instructions, names)
        self.registers: dict[tuple[int, Any], str] = {}
        for n, index in memory.items():
            key = index, lowered.values[n].dtype
            names[n] = self.registers.setdefault(key, f"register{len(self.registers)}")
        bound = [*(names[n] for n in constants), *self.registers.values()]
        self.bind = _generate(instructions, names, bound)
        self.constants = [lowered.constants[n] for n in constants]
        self.memories = len(set(memory.values()))
        self.width = max(int(lowered.values[n].dtype.itemsize) for n in instructions)
        self.small = on_small_arrays(trace)
        scratch = self.width * self.memories
        super().__init__(trace.results, len(trace.inputs), self._execute, scratch)

    @np.errstate(all="ignore")
    def _execute(self, *arrays: Any) -> None:
        """Compute the results for a block of the inputs."""
        workspaces = _local.workspaces
        # a signal handler that runs meanwhile finds another one
        workspace = workspaces.pop() if workspaces else Workspace()
        workspace.bound_program(self, len(arrays[0]))(*arrays)
        workspaces.append(workspace)


def on_small_arrays(trace: Trace) -> Callable[..., Any] | None:
    """Return a trace as a function of arrays with dimensions, for so few elements that calls count.

    It calls a ufunc for each instruction, in place where an array is not needed any more. It is
    None if a result is no array of its own.
    """
    results = generic.tree_leaves(trace.results)
    numbers = [r.number for r in results]
    if len({*numbers} & trace.instructions.keys()) < len(numbers):
        return None
    instructions = trace.live_instructions(numbers)
    last_use = {s: n for n, (_, sources) in instructions.items() for s in sources}
    functions: dict[str, Any] = {f"v{n}": array for n, array in trace.constants.items()}
    lines = []
    for target, (function, sources) in instructions.items():
        name, dtype = function.__name__, trace.values[target].dtype
        arguments = ", ".join(f"v{s}" for s in sources)
        if function is np.astype:
            lines.append(f"v{target} = v{sources[0]}.astype(d{target})")
            functions[f"d{target}"] = dtype
            continue
        functions[name] = function
        free = [
            s
            for s in dict.fromkeys(sources)
            if s in instructions and last_use[s] == target and s not in numbers
            if trace.values[s].dtype == dtype and function is not np.where
        ]
        out = _out(function, f"v{free[0]}") if free else ""
        lines.append(f"v{target} = {name}({arguments}{out})")
    parameters = ", ".join(f"v{n}" for n in trace.inputs)
    body = "\n    ".join([*lines, f"return {_structure(trace.results)}"])
    exec(f"def small({parameters}):\n    {body}\n", functions)
    return functions["small"]  # type: ignore[no-any-return]


def _structure(tree: Any) -> str:
    """Return the code of a tree of values."""
    if isinstance(tree, tuple):
        return f"({''.join(f'{_structure(branch)}, ' for branch in tree)})"
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{k!r}: {_structure(branch)}' for k, branch in tree.items())}}}"
    return f"v{tree.number}"


class Workspace:
    """A thread's memory for registers, with the programs that are bound to it."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)
        self.bound: dict[tuple[Program, int], Callable[..., None]] = {}

    def bound_program(self, program: Program, size: int) -> Callable[..., None]:
        """Return the program, bound to its constants and to registers of a size."""
        execute = self.bound.get((program, size))
        if execute is None:
            stride = -(-size * program.width // REGISTER_ALIGNMENT) * REGISTER_ALIGNMENT
            if program.memories * stride > len(self.memory):
                self.memory = np.empty(program.memories * stride, np.uint8)
                self.bound.clear()
            elif len(self.bound) >= MAX_PROGRAMS:
                self.bound.clear()
            registers = [
                self.memory[m * stride :][: size * dtype.itemsize].view(dtype)
                for m, dtype in program.registers
            ]
            execute = program.bind(*program.constants, *registers)
            self.bound[program, size] = execute
        return execute


class _Local(threading.local):
    """The workspaces of a thread that are not in use."""

    def __init__(self) -> None:
        self.workspaces: list[Workspace] = []


_local = _Local()


@functools.lru_cache(MAX_PROGRAMS, typed=True)
def program(
    xp: Any, definition: Definition, dtype: Any, compute: Any, result: Any, *values: Any
) -> Program:
    """Return the program of an implementation, with the arguments of `record`."""
    return Program(record(xp, definition, dtype, compute, result, *values))
