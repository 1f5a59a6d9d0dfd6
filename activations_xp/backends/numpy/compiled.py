"""Run a trace as machine code: loops over elements, compiled by Numba.

The bodies of the loops are made of LLVM's instructions, straight from those of the trace. Numba
adds the loops, the call from Python and the files in the cache. float32 is computed in float64.
"""

from __future__ import annotations

import collections
import functools
import operator
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..._definition import Definition
from .. import generic
from . import blocks, elementary, jit, team
from .elementary import fma, from_bits, to_bits, unless
from .namespace import UNCOMPENSATED
from .trace import REDUCTIONS, Trace, Tracer, is_input, record

_TYPES = {
    "float32": (ir.FloatType(), types.float32),
    "float64": (ir.DoubleType(), types.float64),
    "int32": (ir.IntType(32), types.int32),
    "int64": (ir.IntType(64), types.int64),
    "bool": (ir.IntType(1), types.boolean),
}
"""The types of values in LLVM and in Numba."""

_ARITHMETIC = {
    np.add: ("fadd", "add"),
    np.subtract: ("fsub", "sub"),
    np.multiply: ("fmul", "mul"),
    np.divide: ("fdiv", ""),
    np.negative: ("fneg", "neg"),
    np.bitwise_and: ("", "and_"),
    np.bitwise_or: ("", "or_"),
    np.bitwise_xor: ("", "xor"),
    np.invert: ("", "not_"),
    np.left_shift: ("", "shl"),
    np.right_shift: ("", "lshr"),
}
"""LLVM's instructions for numbers, and those for integers and truth values."""

_COMPARISONS = {
    np.less: "<",
    np.less_equal: "<=",
    np.greater: ">",
    np.greater_equal: ">=",
    np.equal: "==",
    np.not_equal: "!=",
}

_INTRINSICS: dict[Any, str] = {
    **{f: f.__name__ for f in (np.sqrt, np.rint, np.floor, np.copysign, np.sin, np.cos, fma)},
    np.absolute: "fabs",
    np.power: "pow",
}
"""LLVM's functions."""

_STARTS = {np.sum: "0.0", np.max: "-inf"}
"""The results of reductions of nothing."""

MAX_KERNELS = 1024
"""The number of kernels that are kept in memory."""

SHARED_WORK = 2**20
"""So many instructions, of 32 bits each, are worth another thread: some six microseconds."""

ALONE = 2**17
"""More elements than this are worth another thread for their memory alone."""

OF_OTHERS = 4
"""The threads of another library, which look for work meanwhile, pay for so much less."""

SUMMED_AT_ONCE = 256
"""So many elements are summed by vector code; their sums are added with their rounding errors."""


class Lowered(NamedTuple):
    """A trace in the instructions above.

    rare : whether an element needs a function that is no vector code, if that may be
    kept : the first exponential of a row, if the result may hold it until it is written
    """

    trace: Trace
    rare: Tracer | None
    kept: int | None


def lower(trace: Trace, is_fast: bool, is_rounded: bool = False) -> Lowered:
    """Rewrite a trace in the instructions above, with numbers in one dtype in between.

    That is float64 if there is an elementary function. If is_fast, elements may be float32 all the
    same; what a row has in common, sums among it, is float64. If is_rounded, what is made of the
    results is rounded to float32.
    """
    lowered, exponentials = Trace(trace.shape), []
    called = {instruction.function for instruction in trace.instructions.values()}
    results = generic.tree_leaves(trace.results)
    digits = 24 if is_rounded or all(r.dtype == np.float32 for r in results) else 53
    is_single = not called & elementary.RULES.keys()
    is_fast = is_fast and digits == 24
    if is_fast:  # a difference from a mean would lose digits
        is_single = not called & elementary.OF_FLOAT64 and (not trace.shape or np.exp in called)
    is_single = is_single and all(trace.values[n].dtype != np.float64 for n in trace.instructions)
    element = np.dtype(np.float32 if is_single else np.float64)
    common = np.dtype(np.float64) if trace.shape else element
    uses = collections.Counter(s for i in trace.instructions.values() for s in i.sources)

    inputs = {n: lowered.input(trace.values[n].dtype, trace.values[n].shape) for n in trace.inputs}
    new: dict[int, Any] = dict(inputs)
    if trace.length is not None:
        new[trace.length.number] = lowered.row_length(common)

    def as_argument(n: int, number: Any) -> Any:
        dtype = number if trace.values[n].dtype.kind == "f" else trace.values[n].dtype
        if n in trace.constants:
            return lowered.constant(trace.constants[n], dtype)
        return _cast(new[n], dtype)

    for target, (function, sources) in trace.instructions.items():
        value = trace.values[target]
        number = element if value.is_row or function in REDUCTIONS else common
        arguments = [as_argument(n, number) for n in sources]
        is_by_common = function is np.divide and not trace.values[sources[1]].is_row
        if function in REDUCTIONS:
            new[target] = _lower_reduction(function, arguments[0], bool(value.shape))
        elif is_by_common and digits == 24 and value.is_row:
            new[target] = arguments[0] * _cast(1 / as_argument(sources[1], common), number)
        elif function is np.astype:
            new[target] = _cast(arguments[0], number)
        elif function in elementary.RULES:
            new[target] = elementary.RULES[function](*arguments, digits)
            if function is np.exp and value.is_row:
                exponentials.append(new[target])
        elif function is np.add and digits == 24 and value.dtype.kind == "f":
            fused = _fused(arguments, [uses[n] == 1 for n in sources])
            new[target] = lowered.add(function, *arguments) if fused is None else fused
        else:
            dtype = number if value.dtype.kind == "f" else value.dtype
            new[target] = lowered.add(function, *arguments, dtype=dtype)
    lowered.results = [as_argument(r.number, r.dtype) for r in results]
    rare = [lowered.values[i.sources[0]] for i in lowered.instructions.values() if i[0] is unless]
    kept = _kept(lowered, exponentials[:1], may_be_input=not isinstance(trace.results, dict))
    return Lowered(lowered, functools.reduce(operator.or_, rare) if rare else None, kept)


def _kept(trace: Trace, exponentials: list[Tracer], may_be_input: bool) -> int | None:
    """Return the exponential that the only result of a row may hold, until it is written.

    A result may be written to the memory of an input of its dtype, whose elements are then lost.
    """
    rows = [r for r in trace.results if r.is_row]
    if len(rows) != 1 or [e.dtype for e in exponentials] != [rows[0].dtype]:
        return None
    (kept,) = exponentials
    live = trace.live_instructions([r.number for r in trace.results], [kept.number])
    read = [trace.values[s] for i in live.values() for s in i.sources if s in trace.inputs]
    is_lost = may_be_input and any(v.is_row and v.dtype == kept.dtype for v in read)
    return None if is_lost else kept.number


def _fused(terms: Sequence[Tracer], are_free: Sequence[bool]) -> Any:
    """Return a sum as one instruction, if a term is a product that is used nowhere else."""
    for (product, other), is_free in zip((terms, terms[::-1]), are_free, strict=True):
        function, factors = product.trace.instructions.get(product.number, (None, ()))
        if is_free and function is np.multiply:
            a, b = (product.trace.values[n] for n in factors)
            return elementary.fma(a, b, other)
    return None


def _lower_reduction(function: Any, x: Tracer, keepdims: bool) -> Any:
    """Rewrite a maximum as that of numbers alone, and count what is NaN: vector code does both."""
    float64 = np.dtype(np.float64)
    if function is np.sum:
        return x.trace.reduce(np.sum, _cast(x, float64), keepdims)
    sign = 1 if function is np.max else -1
    largest = x.trace.reduce(np.max, x if sign == 1 else -x, keepdims)
    is_nan = x.trace.add(np.where, x == x, 0.0, 1.0, dtype=x.dtype)
    nans = x.trace.reduce(np.sum, is_nan, keepdims, dtype=float64)
    return sign * elementary.where(nans > 0, np.nan, _cast(largest, float64))


def _cast(value: Tracer, dtype: Any) -> Tracer:
    return value if value.dtype == dtype else value.trace.add(np.astype, value, dtype=dtype)


def _emit(trace: Trace, target: int, values: dict[int, Any], builder: Any, is_rare: bool) -> Any:
    """Write the instructions that define a value, and return it as LLVM's."""
    function, sources = trace.instructions[target]
    arguments = [values[s] for s in sources]
    dtype, first = trace.values[target].dtype, trace.values[sources[0]].dtype
    kind, is_float = _TYPES[dtype.name][0], first.kind == "f"
    if function in _ARITHMETIC:
        return getattr(builder, _ARITHMETIC[function][not is_float])(*arguments)
    if function is np.not_equal and is_float:
        return builder.fcmp_unordered("!=", *arguments)
    if function in _COMPARISONS:
        compare = builder.fcmp_ordered if is_float else builder.icmp_signed
        return compare(_COMPARISONS[function], *arguments)
    if function in (np.maximum, np.minimum):
        a, b = arguments
        if sources[1] in trace.constants:
            comparison = "<=" if function is np.maximum else ">="
            return builder.select(builder.fcmp_ordered(comparison, a, b), b, a)
        is_a = builder.fcmp_ordered(">" if function is np.maximum else "<", a, b)
        return builder.select(builder.or_(is_a, builder.fcmp_unordered("!=", a, a)), a, b)
    if function is np.where:
        return builder.select(*arguments)
    if function is unless:
        condition, y, rare = arguments
        return builder.select(condition, rare, y) if is_rare else y
    if function in (to_bits, from_bits):
        return builder.bitcast(*arguments, kind)
    if function is np.astype:
        if is_float:
            return (builder.fpext if dtype.itemsize == 8 else builder.fptrunc)(*arguments, kind)
        return (builder.uitofp if first.kind == "b" else builder.sitofp)(*arguments, kind)
    return _call(builder, function, kind, arguments)


def _call(builder: Any, called: Any, kind: Any, arguments: list[Any]) -> Any:
    function_type = ir.FunctionType(kind, [kind] * len(arguments))
    function = builder.module.declare_intrinsic(
        f"llvm.{_INTRINSICS[called]}", [kind], function_type
    )
    return builder.call(function, arguments)


def _reduce(function: Any, builder: Any, total: Any, value: Any) -> Any:
    """Write the next step of a reduction."""
    if function is np.sum:
        return builder.fadd(total, value, flags=("reassoc",))  # or it is no vector code
    flags = {"flags": ("nnan", "nsz")}
    return builder.select(builder.fcmp_ordered(">", value, total, **flags), value, total, **flags)


def body(
    trace: Trace,
    given: Sequence[int],
    wanted: Sequence[int],
    totals: Sequence[int] = (),
    rare: bool = False,
) -> Any:
    """Return a function of a tuple of totals and of given values, for Numba's code.

    It returns a tuple of the wanted values, where the first ones are those that the totals of
    reductions are taken of, and are then these after the next step.
    """
    live = trace.live_instructions(wanted, given)
    numbers = [*totals, *given]
    result = types.Tuple([_TYPES[trace.values[n].dtype.name][1] for n in wanted])

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = [builder.extract_value(arguments[0], i) for i in range(len(numbers))]
        values = dict(zip(given, parts[len(totals) :], strict=True))
        for n, array in trace.constants.items():
            values[n] = ir.Constant(_TYPES[array.dtype.name][0], array.item())
        for target in live:
            values[target] = _emit(trace, target, values, builder, rare)
        found = [values[n] for n in wanted]
        for i, n in enumerate(totals):
            found[i] = _reduce(trace.instructions[n].function, builder, parts[i], found[i])
        return context.make_tuple(builder, result, found)

    @intrinsic  # type: ignore[untyped-decorator]
    def evaluate(context: Any, arguments: Any) -> Any:
        return result(arguments), generate

    return evaluate


def _source(lowered: Lowered, kinds: dict[int, str]) -> tuple[str, dict[str, Any]]:
    """Return the code of a kernel, and the functions that it calls.

    A row is walked once for the reductions of each stage, and once for the results. An exponential
    is kept where the result will be; what else a walk needs of an earlier one is computed anew,
    which takes less time than memory does.
    """
    trace, rare, kept = lowered
    bodies: dict[str, Any] = {}
    at = "r, i" if trace.shape else "i"
    access = {"elements": f"x{{}}[{at}]", "number": "x{}"}
    elements = {n: access[kind].format(n) for n, kind in kinds.items()}
    numbers = [n for n, kind in kinds.items() if kind == "number"]
    known = {n: elements[n] for n in numbers}
    if trace.length is not None:
        known[trace.length.number] = "float(size)"
    stages = _stages(trace)
    results = dict(enumerate(trace.results))
    row = next((k for k, r in results.items() if r.is_row), None)
    lines: list[str] = []

    def call(name: str, wanted: Sequence[int], given: dict[int, str], **options: Any) -> str:
        bodies[name] = body(trace, list(given), list(wanted), **options)
        totals = [f"t{n}" for n in options.get("totals", ())]
        return f"{name}(({''.join(f'{a}, ' for a in (*totals, *given.values()))}))"

    for stage in range(max(stages[r.number] for r in trace.results) + 1):
        at_stage = [n for n in trace.instructions if stages[n] == stage]
        common = [n for n in at_stage if not trace.values[n].is_row and n not in known]
        if common:
            names = {n: f"v{n}" for n in common}
            lines.append(f"{', '.join(names.values())}, = {call(f'common{stage}', common, known)}")
            known |= names
        given = elements | known
        totals = [
            n
            for n, (function, _) in trace.instructions.items()
            if function in REDUCTIONS and stages[n] == stage + 1
        ]
        if totals:
            sums = [n for n in totals if trace.instructions[n].function is np.sum]
            sources = [trace.instructions[n].sources[0] for n in totals]
            starts = {
                n: f"{trace.values[s].dtype.name}({_STARTS[trace.instructions[n].function]})"
                for n, s in zip(totals, sources, strict=True)
            }
            lines += [f"v{n} = e{n} = 0.0" for n in sums]
            lines += [f"t{n} = {starts[n]}" for n in totals]
            lines.append(f"for j in range(0, size, {SUMMED_AT_ONCE}):")
            lines += [f"    t{n} = {starts[n]}" for n in sums]
            cut = f"r, j : j + {SUMMED_AT_ONCE}"
            lines += [f"    c{n} = x{n}[{cut}]" for n in kinds if n not in numbers]
            in_part = {n: f"c{n}[i]" for n in elements if n not in numbers}
            targets = [f"t{n}" for n in totals]
            loop = f"    for i in range(c{trace.inputs[0]}.size):"
            if kept is not None:
                lines.append(f"    c{kept} = y{row}[{cut}]")
                if kept not in elements and kept in trace.live_instructions(sources, elements):
                    # the result may be the input: elements of one become those of the other later
                    lines += [loop, f"        kept[i], = {call('keep', [kept], in_part | known)}"]
                    in_part[kept], elements[kept] = "kept[i]", f"y{row}[{at}]"
                    sources.append(kept)
                    targets.append(f"c{kept}[i]")
            lines.append(loop)
            walk = call(f"reduce{stage}", sources, in_part | known, totals=totals)
            lines.append(f"        {', '.join(targets)}, = {walk}")
            given = elements | known
            for n in sums:  # Neumaier
                v, t = f"v{n}", f"t{n}"
                lines.append(f"    s = {v} + {t}")
                error = f"{t} - (s - {v}) if abs({v}) >= abs({t}) else {v} - (s - {t})"
                lines.append(f"    e{n} += {error}")
                lines.append(f"    {v} = s")
            lines += [f"v{n} = v{n} + e{n} if abs(v{n}) < inf else v{n}" for n in sums]
            lines += [f"v{n} = t{n}" for n in totals if n not in sums]
            known |= {n: f"v{n}" for n in totals}
        for is_rare in (False, True)[: 1 + (rare is not None)]:
            ready = [k for k, r in results.items() if r.is_row and stages[r.number] == stage]
            if not ready:
                break
            indent = "    " * is_rare
            targets = [f"y{k}[{at}]" for k in ready]
            wanted = [results[k].number for k in ready]
            if rare is not None:
                wanted.append(rare.number)
                targets.append("is_rare")
                lines.append("if any_rare:" if is_rare else "any_rare = False")
            values = call(f"results{stage}{is_rare:d}", wanted, given, rare=is_rare)
            lines.append(f"{indent}for i in range(size):")
            lines.append(f"{indent}    {', '.join(targets)}, = {values}")
            if rare is not None and not is_rare:
                lines.append("    any_rare |= is_rare")
    lines += [f"y{k}[r] = {known[r.number]}" for k, r in results.items() if not r.is_row]
    arrays = {f"x{n}": (trace.values[n].dtype, True) for n in kinds if n not in numbers}
    arrays |= {f"y{k}": (r.dtype, r.is_row) for k, r in results.items()}
    first = next(iter(arrays))
    head = ["known = int64_at(table, 0)"]
    head += [f"x{n} = float64_at(table, {len(arrays) + 1 + i})[0]" for i, n in enumerate(numbers)]
    start, shape = "start", "stop - start"
    if trace.shape:
        head.append(f"size = known[{len(arrays)}]")
        start, shape = "start * size", "(stop - start, size)"
        if kept is not None:
            head.append(f"kept = empty({SUMMED_AT_ONCE}, {trace.values[kept].dtype.name})")
        lines = ["for r in range(stop - start):", *(f"    {line}" for line in lines)]
    for i, (name, (dtype, are_elements)) in enumerate(arrays.items()):
        where = start if are_elements else "start"
        extent = shape if are_elements else "stop - start"
        head.append(f"{name} = carray({dtype.name}_at(known[{i}], {where}), {extent})")
    if not trace.shape:
        head.append(f"size = {first}.shape[0]")
    lines = [*head, "status = float_status()", *lines, "set_float_status(status)"]
    return "\n    ".join(["def call(table, start, stop):", *lines]) + "\n", bodies


def _stages(trace: Trace) -> dict[int, int]:
    """Return how many walks along the row are needed before each value is known."""
    stages = dict.fromkeys(range(len(trace.values)), 0)
    for target, (function, sources) in trace.instructions.items():
        stages[target] = max(stages[s] for s in sources) + (function in REDUCTIONS)
    return stages


def _with_status(builder: Any, name: str) -> Any:
    """Write the instruction that moves the processor's status of float operations."""
    status = builder.alloca(ir.IntType(32))
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer])
    move = builder.module.declare_intrinsic(f"llvm.x86.sse.{name}", (), kind)
    return status, lambda: builder.call(move, [builder.bitcast(status, pointer)])


@intrinsic  # type: ignore[untyped-decorator]
def float_status(context: Any) -> Any:
    """Return the exceptions that were raised by float operations before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not team.IS_X86:  # NumPy clears the flags before it computes
            return ir.Constant(ir.IntType(32), 0)
        status, move = _with_status(builder, "stmxcsr")
        move()
        return builder.load(status)

    return types.int32(), generate


@intrinsic  # type: ignore[untyped-decorator]
def set_float_status(context: Any, status: Any) -> Any:
    """Leave no other exceptions than those of `float_status`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if team.IS_X86:
            status, move = _with_status(builder, "ldmxcsr")
            builder.store(arguments[0], status)
            move()
        return context.get_dummy_value()

    return types.void(types.int32), generate


class Kernel(NamedTuple):
    """Machine code of a trace, with the numbers that are arguments of it.

    arrays : the dtypes and dimensions of inputs and results
    alone_to : the number of elements to which another thread costs more than it does
    team : returns the address of the team that shares the others
    """

    address: int
    arrays: tuple[tuple[Any, int], ...]
    is_row: bool
    alone_to: int
    numbers: tuple[float, ...] = ()
    team: Callable[[], int] = team.address

    @property
    def alone(self) -> Callable[..., None]:
        """The function of contiguous arrays, by the thread of the caller."""
        enter = _entry(self.arrays, len(self.numbers))
        return functools.partial(enter, self.address, 0, 0, *self.numbers)

    def share(self, *arrays: Any) -> None:
        """Run on contiguous arrays, with the other threads of the team."""
        enter = _entry(self.arrays, len(self.numbers))
        enter(self.address, self.team(), self.alone_to, *self.numbers, *arrays)

    def share_rows(self, *arrays: Any) -> None:
        """Run on matrices whose rows are contiguous."""
        enter = _entry_of_rows(self.arrays, len(self.numbers), self.is_row)
        enter(self.address, team.rows(), self.team(), self.alone_to, *self.numbers, *arrays)


def program_of(
    xp: Any,
    definition: Definition,
    dtype: Any,
    compute: Any,
    result: Any,
    values: tuple[Any, ...],
    numbers: tuple[float, ...],
    is_row: bool = False,
    is_fast: bool = False,
    other_team: Callable[[], int] | None = None,
) -> blocks.Program | blocks.RowProgram | None:
    """Return the program of an implementation, or None if it cannot be compiled.

    The arguments are those of `record`, the numbers for which `float` stands among the values,
    whether float32 may compute elementary functions, and what returns the address of a team that is
    not our own.
    """
    dtypes = [dtype, result, *(value for value in values if isinstance(value, np.dtype))]
    if not all(d.isnative and d.name in _TYPES for d in dtypes):
        return None
    found = _compile(
        xp, definition, dtype, compute, result, *values, is_row=is_row, is_fast=is_fast
    )
    if found is None:
        return None
    trace, kernel = found
    kernel = kernel._replace(numbers=numbers)
    if other_team is not None:
        kernel = kernel._replace(team=other_team, alone_to=kernel.alone_to // OF_OTHERS)
    kind = blocks.RowProgram if is_row else blocks.Program
    program = kind(trace.results, len(trace.inputs) - len(numbers), kernel.alone)
    if os.name == "posix":
        program.alone_to, program.share = kernel.alone_to, kernel.share
        if len(kernel.arrays) + len(numbers) < team.LONGEST_TABLE:  # and the width
            program.share_rows = kernel.share_rows
    return program


@functools.lru_cache(MAX_KERNELS, typed=True)
def _compile(xp: Any, *arguments: Any, is_row: bool, is_fast: bool) -> tuple[Trace, Kernel] | None:
    """Return the trace of an implementation, with the arguments of `record`, and its kernel.

    It is None if the implementation of a row does what has no trace, such as sorting.
    """
    is_rounded = xp is UNCOMPENSATED
    if is_row:
        xp = generic.extend_namespace(xp, sum=np.sum)
    try:
        trace = record(xp, *arguments, is_row=is_row)
    except (TypeError, ValueError):
        if is_row:
            return None
        raise
    markers = [value for value in arguments[4:] if is_input(value)]
    kinds = ["elements", *("number" if v is float else "elements" for v in markers)]
    return trace, _kernel(trace, kinds, is_fast, is_rounded)


def _kernel(
    trace: Trace, kinds: Sequence[str], is_fast: bool = False, is_rounded: bool = False
) -> Kernel:
    lowered = lower(trace, is_fast, is_rounded)
    trace = lowered.trace
    kind_of = dict(zip(trace.inputs, kinds, strict=True))
    source, bodies = _source(lowered, kind_of)
    names = {f"{name}_at": _pointer(kind) for name, (_, kind) in _TYPES.items()}
    names |= {name: kind for name, (_, kind) in _TYPES.items()}
    names |= {"float_status": float_status, "set_float_status": set_float_status}
    names |= {**bodies, "inf": np.inf, "carray": numba.carray, "empty": np.empty}
    signature = types.void(*[types.int64] * 3)
    ndim = 2 if trace.shape else 1
    arrays = [(trace.values[n].dtype, ndim) for n, kind in kind_of.items() if kind == "elements"]
    arrays += [(r.dtype, ndim if r.is_row else 1) for r in trace.results]
    with jit.lock:
        address = jit.address(source, names, signature, _describe(trace))
        _entry(tuple(arrays), kinds.count("number"))
    work = sum(trace.values[n].dtype.itemsize / 4 for n in trace.instructions)
    alone_to = min(ALONE, int(SHARED_WORK / max(work, 1)))
    return Kernel(address, tuple(arrays), bool(trace.shape), alone_to)


@functools.cache
def _entry(arrays: tuple[tuple[Any, int], ...], numbers: int) -> Callable[..., None]:
    """Return the function of Python that runs kernels of such arrays, which are contiguous."""
    names, given = _names(arrays, numbers)
    width = "a0.shape[1]" if arrays[0][1] == 2 else "1"
    table = [*(f"{a}.ctypes.data" for a in names), width, *given]
    source = f"""\
def call(function, team, alone_to, {", ".join([*given, *names])}):
    share(team, alone_to, function, on_stack(({", ".join(table)})), a0.shape[0], {width})
"""
    return _compile_entry(source, 3, arrays, numbers, "C")


@functools.cache
def _entry_of_rows(
    arrays: tuple[tuple[Any, int], ...], numbers: int, is_row: bool
) -> Callable[..., None]:
    """Return the function of Python that runs kernels of matrices whose rows are contiguous."""
    names, given = _names(arrays, numbers)
    size, width = ("1", "a0.shape[1]") if is_row else ("a0.shape[1]", "1")
    table = [*(f"{a}.ctypes.data" for a in names), width, *given]
    head = ["function", str(len(names)), str(len(table)), size]
    steps = [f"{a}.strides[0]" for a in names]
    source = f"""\
def call(function, rows, team, alone_to, {", ".join([*given, *names])}):
    table = on_stack(({", ".join([*head, *table, *steps])}))
    share(team, alone_to, rows, table, a0.shape[0], a0.shape[1])
"""
    arrays = arrays if is_row else tuple((dtype, 2) for dtype, _ in arrays)
    return _compile_entry(source, 4, arrays, numbers, "A")


def _names(arrays: tuple[Any, ...], numbers: int) -> tuple[list[str], list[str]]:
    return [f"a{i}" for i in range(len(arrays))], [f"n{i}" for i in range(numbers)]


def _compile_entry(
    source: str, addresses: int, arrays: tuple[Any, ...], numbers: int, layout: str
) -> Callable[..., None]:
    signature = [types.int64] * addresses + [types.float64] * numbers
    signature += [types.Array(_TYPES[dtype.name][1], n, layout) for dtype, n in arrays]
    names = {"on_stack": team.on_stack, "share": team.share}
    return jit.entry_point(source, names, types.void(*signature))


def _pointer(kind: Any) -> Any:
    """Return a function that makes a pointer of an address and the number of elements before it."""

    @intrinsic  # type: ignore[untyped-decorator]
    def at(context: Any, address: Any, offset: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.get_data_type(kind).as_pointer()
            return builder.gep(builder.inttoptr(arguments[0], data), arguments[1:])

        return types.CPointer(kind)(types.int64, types.int64), generate

    return at


def _describe(trace: Trace) -> str:
    """Return a text that tells a trace from every other one."""
    lines = [f"{n} = {v.dtype} {v.is_row}" for n, v in enumerate(trace.values)]
    lines += [f"{n} = {array.tobytes().hex()}" for n, array in trace.constants.items()]
    lines += [f"{n} = {f.__name__}{sources}" for n, (f, sources) in trace.instructions.items()]
    return "\n".join([*lines, *(str(r.number) for r in trace.results)])
