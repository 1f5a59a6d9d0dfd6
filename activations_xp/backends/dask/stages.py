"""Record an implementation, and run what it recorded as stages: one task a chunk for each.

A `Recorder` is a namespace that evaluates an implementation on the shapes and dtypes of arrays. It
finds what is wrong with the arguments and what the results are, and it keeps the operations. Those
between two reductions along a chunked axis are one stage, and a reduction is a tree.
"""

from __future__ import annotations

import functools
import itertools
import operator
import threading
from collections.abc import Callable, Iterable
from math import inf, prod
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..._definition import Definition
from ..._parameters import ParameterSpec
from .. import generic
from ..numpy import engine, threads
from ..numpy.namespace import UNCOMPENSATED, XP

REDUCTIONS = {"sum": 0.0, "max": -inf, "min": inf}
"""The reductions that are made of those of parts, with their values of no elements."""

MAX_PARTS = 8
"""So many parts are combined by a task."""

MAX_PASSES = 8
"""More reductions one after the other take longer than to gather the chunks of an axis."""

_OPERATORS = {
    name.strip("_"): getattr(operator, name)
    for name in (
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge"),
        *("eq", "ne", "and_", "or_", "xor", "neg", "pos", "abs", "invert"),
    )
}
_ELEMENTWISE = {
    *("where", "astype", "round", "real", "imag", "complex", "clip"),
    *("zeros_like", "ones_like", "full_like"),
}
"""The functions of elements that are no ufuncs of NumPy."""

_OF_ROWS = ("sort", "argsort", "cumulative_sum", "roll")
"""The functions whose results have the shape of their argument, and need whole rows of it."""

_NOT_LAZY = ("is_concrete", "fast_exp")
"""The capabilities of NumPy's namespace that a recorder has not."""


class CannotRecordError(Exception):
    """An implementation calls a function that only the library itself can run."""


class Size:
    """The size of an axis that is not known, which counts as a number of the elements."""

    def __init__(self, symbol: Symbol, axis: int) -> None:
        self.symbol, self.axis = symbol, axis

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size)  # as everywhere in Dask, two are taken for equal

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "nan"

    def __mul__(self, other: Any) -> Any:
        return self if isinstance(other, int) and other == 1 else self.count() * other

    __rmul__ = __mul__

    def count(self) -> Symbol:
        """Return the size as an array of one number."""
        xp = self.symbol.recorder
        ones = xp.ones_like(xp.astype(self.symbol, np.dtype(float)))
        others = [i for i in range(ones.ndim) if i != self.axis]
        count = xp.sum(ones, axis=self.axis, keepdims=True)
        return xp.max(count, axis=tuple(others), keepdims=True) if others else count


class Ref(NamedTuple):
    """The value of this number among the arguments of an operation."""

    number: int


class Symbol:
    """A stand-in for an array, which records what is done with it.

    blocks : the number of chunks along each axis
    passes : the reductions along chunked axes that must be done before it
    """

    __array_ufunc__ = None  # a scalar of NumPy leaves operators to it

    def __init__(
        self,
        recorder: Recorder,
        number: int,
        dtype: Any,
        shape: tuple[Any, ...],
        blocks: tuple[int, ...],
        passes: int = 0,
    ) -> None:
        self.recorder, self.number, self.dtype = recorder, number, dtype
        self.shape, self.blocks, self.passes = shape, blocks, passes
        self.ndim = len(shape)

    def __bool__(self) -> bool:
        raise CannotRecordError

    __float__ = __int__ = __index__ = __bool__

    def __getitem__(self, index: Any) -> Symbol:
        view = self.recorder.view(self)[index]
        return self.recorder.opaque(view.shape, view.dtype)


def _operator(name: str, is_reflected: bool) -> Callable[..., Symbol]:
    def method(self: Symbol, *others: Any) -> Symbol:
        operands = (*others, self) if is_reflected else (self, *others)
        return self.recorder.add(name, *operands)

    return method


for _name in _OPERATORS:
    setattr(Symbol, f"__{_name}__", _operator(_name, False))
    setattr(Symbol, f"__r{_name}__", _operator(_name, True))
Symbol.__hash__ = object.__hash__  # type: ignore[method-assign]


class Recorder:
    """A namespace that records what an implementation does with Dask arrays.

    As a backend it owns the symbols. The first array is the one that others broadcast to. Stages
    have the name of the function.
    """

    conjugates_cotangents = True

    def __init__(self, name: str, is_uncompensated: bool) -> None:
        self.name, self.is_uncompensated = name, is_uncompensated
        self.is_opaque = False
        self.arrays: dict[int, Any] = {}
        self.instructions: dict[int, tuple[str, tuple[Any, ...], dict[str, Any]]] = {}
        self.cuts: dict[int, tuple[str, int, Any]] = {}
        self.symbols: list[Symbol] = []
        self._known: dict[str, Symbol] = {}

    # the part of a backend that the check of an argument asks

    def owns(self, x: Any) -> bool:
        return isinstance(x, Symbol)

    def device(self, x: Any) -> Any:
        return None

    def isdtype(self, x: Any, kinds: Any) -> bool:
        return bool(XP.isdtype(getattr(x, "dtype", x), kinds))

    # the namespace

    def __getattr__(self, name: str) -> Any:
        if name in _NOT_LAZY or name.startswith("__"):
            raise AttributeError(name)
        function = getattr(XP, name)
        if not callable(function) or isinstance(function, type):
            return function
        plain = getattr(np, name, None)
        is_ufunc = isinstance(plain, np.ufunc) and plain.signature is None

        def call(*args: Any, **kwargs: Any) -> Any:
            if not any(isinstance(arg, Symbol) for arg in _flat((*args, *kwargs.values()))):
                return function(*args, **kwargs)
            is_elementwise = is_ufunc or name in _ELEMENTWISE
            if is_elementwise and not any(isinstance(v, Symbol) for v in kwargs.values()):
                return self.add(name, *args, **kwargs)
            if name in _OF_ROWS:
                x = args[0]
                dtype = np.dtype(np.intp) if name == "argsort" else x.dtype
                return self.opaque(x.shape, dtype)
            raise CannotRecordError(name)

        return call

    def is_known(self, size: Any) -> bool:
        return isinstance(size, int)

    def sum(self, x: Symbol, **options: Any) -> Symbol:
        return self._reduce("sum", x, **options)

    def max(self, x: Symbol, **options: Any) -> Symbol:
        return self._reduce("max", x, **options)

    def min(self, x: Symbol, **options: Any) -> Symbol:
        return self._reduce("min", x, **options)

    def argmax(self, x: Symbol, axis: int, keepdims: bool = False) -> Symbol:
        shape = _reduced(x.shape, (axis % x.ndim,), keepdims)
        return self.opaque(shape, np.dtype(np.intp))

    def broadcast_to(self, x: Symbol, shape: tuple[Any, ...]) -> Symbol:
        if x.shape == tuple(shape):
            return x
        first = self.symbols[0]
        broadcast_shapes(x.shape, shape)
        if tuple(shape) == first.shape:
            return self.add("broadcast_to", x, first)
        return self.opaque(tuple(shape), x.dtype)

    def concat(self, arrays: list[Symbol], axis: int = 0) -> Symbol:
        x = arrays[0]
        shape = list(x.shape)
        shape[axis] = sum(array.shape[axis] for array in arrays)
        return self.opaque(tuple(shape), x.dtype)

    def stack(self, arrays: list[Symbol], axis: int = 0) -> Symbol:
        shape = list(arrays[0].shape)
        shape.insert(axis % (len(shape) + 1), len(arrays))
        return self.opaque(tuple(shape), arrays[0].dtype)

    def permute_dims(self, x: Symbol, axes: tuple[int, ...]) -> Symbol:
        return self.opaque(tuple(x.shape[i] for i in axes), x.dtype)

    def reshape(self, x: Symbol, shape: Any) -> Symbol:
        """Return x with other axes; those of size 1 come and go, and others make it opaque."""
        shape = tuple(shape)
        if -1 in shape:
            rest = prod(n for n in shape if n != -1)
            shape = tuple(prod(x.shape) // rest if n == -1 else n for n in shape)
        if shape == x.shape:
            return x
        sizes = [(n, b) for n, b in zip(x.shape, x.blocks, strict=True) if n != 1]
        if [n for n in shape if n != 1] != [n for n, _ in sizes]:
            if prod(shape) != prod(x.shape):
                raise ValueError(f"cannot reshape {x.shape} to {shape}")
            return self.opaque(shape, x.dtype)
        rest = iter(sizes)
        blocks = tuple(1 if n == 1 else next(rest)[1] for n in shape)
        return self._cut("reshape", x, shape, x.dtype, shape, blocks, x.passes)

    # what is recorded

    def leaf(self, array: Any) -> Symbol:
        """Return the symbol of a Dask array."""
        symbol = self._new(array.dtype, array.shape, array.numblocks)
        symbol.shape = tuple(
            int(n) if n == n else Size(symbol, i) for i, n in enumerate(array.shape)
        )
        self.arrays[symbol.number] = array
        return symbol

    def add(self, name: str, *args: Any, **kwargs: Any) -> Symbol:
        """Return the symbol of an operation of elements."""
        operands = [a.count() if isinstance(a, Size) else a for a in args]
        refs = tuple(Ref(a.number) if isinstance(a, Symbol) else a for a in operands)
        key = f"{name}{refs!r}{kwargs!r}"
        if key not in self._known:
            symbols = [a for a in operands if isinstance(a, Symbol)]
            dtype = _dtype_of(name, operands, kwargs)
            shape = broadcast_shapes(*(s.shape for s in symbols))
            blocks = tuple(map(max, _aligned([s.blocks for s in symbols])))
            passes = max(s.passes for s in symbols)
            self._known[key] = self._new(dtype, shape, blocks, passes)
            self.instructions[self._known[key].number] = name, refs, kwargs
        return self._known[key]

    def opaque(self, shape: Any, dtype: Any) -> Symbol:
        """Return the symbol of an operation that does not keep to chunks."""
        self.is_opaque = True
        return self._new(dtype, tuple(shape), (1,) * len(shape))

    def view(self, x: Symbol) -> Any:
        """Return an array of the shape and dtype of x that takes no memory."""
        if not all(isinstance(n, int) for n in x.shape):
            raise CannotRecordError
        return np.broadcast_to(np.zeros((), x.dtype), x.shape)

    def _reduce(self, name: str, x: Symbol, axis: Any = None, keepdims: bool = False) -> Symbol:
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(i % x.ndim for i in axes)
        if not axes:
            return x
        shape = _reduced(x.shape, axes, True)
        blocks = tuple(1 if i in axes else n for i, n in enumerate(x.blocks))
        dtype = getattr(XP, name)(np.ones(1, x.dtype)).dtype
        if any(x.blocks[i] > 1 for i in axes):
            y = self._cut(name, x, axes, dtype, shape, blocks, x.passes + 1)
        else:
            key = f"{name}{x.number} {axes}"
            if key not in self._known:
                self._known[key] = self._new(dtype, shape, blocks, x.passes)
                self.instructions[self._known[key].number] = name, (Ref(x.number), axes), {}
            y = self._known[key]
        return y if keepdims else self.reshape(y, _reduced(x.shape, axes, False))

    def _cut(self, kind: str, x: Symbol, option: Any, dtype: Any, *shape: Any) -> Symbol:
        """Return the symbol of what ends a stage, of a dtype, a shape, blocks and passes."""
        key = f"{kind}{x.number} {option}"
        if key not in self._known:
            self._known[key] = self._new(dtype, *shape)
            self.cuts[self._known[key].number] = kind, x.number, option
        return self._known[key]

    def _new(self, dtype: Any, shape: Any, blocks: Any, passes: int = 0) -> Symbol:
        symbol = Symbol(self, len(self.symbols), np.dtype(dtype), shape, tuple(blocks), passes)
        self.symbols.append(symbol)
        return symbol

    # what runs it

    def run(self, number: int) -> Any:
        """Return the Dask array of the symbol of this number."""
        if number not in self.arrays:
            self.arrays[number] = self._run(number)
        return self.arrays[number]

    def _run(self, number: int) -> Any:
        if number not in self.cuts:
            return self._stage(number, *self._steps(number))
        kind, source, option = self.cuts[number]
        if kind == "reshape":
            return reshape(self.run(source), option)
        inputs, steps = self._steps(source)
        last = Ref(len(inputs) + len(steps) - 1)
        parts = self._stage(number, inputs, (*steps, (kind, (last, option), ())), kind, option)
        return reduce_parts(kind, parts, option, self.name)

    def _stage(
        self,
        number: int,
        inputs: list[int],
        steps: tuple[Any, ...],
        kind: str = "",
        axes: tuple[int, ...] = (),
    ) -> Any:
        """Return what one task a chunk makes of arrays: a value, or its part of a reduction."""
        symbol, arrays = self.symbols[number], [self.run(n) for n in inputs]
        stage = Stage(len(inputs), steps, self.is_uncompensated)
        labels = tuple(range(symbol.ndim))
        pairs = [part for a in arrays for part in (a, labels[len(labels) - a.ndim :])]
        name = f"{self.name}-{kind}" if kind else self.name
        return da.blockwise(
            stage,
            labels,
            *pairs,
            adjust_chunks=dict.fromkeys(axes, 1),
            name=f"{name}-{tokenize(stage, *arrays)}",
            dtype=symbol.dtype,
            meta=meta_like(arrays[0], symbol.ndim, symbol.dtype),
        )

    def _steps(self, number: int) -> tuple[list[int], tuple[Any, ...]]:
        """Return the arrays and the operations that make a value."""
        needed = {number}
        for n in range(number, -1, -1):
            if n in needed and n in self.instructions:
                needed.update(a.number for a in self.instructions[n][1] if isinstance(a, Ref))
        inputs = sorted(needed - self.instructions.keys())
        order = sorted(needed & self.instructions.keys())
        place = {n: i for i, n in enumerate([*inputs, *order])}
        steps = []
        for n in order:
            name, args, kwargs = self.instructions[n]
            moved = tuple(Ref(place[a.number]) if isinstance(a, Ref) else a for a in args)
            steps.append((name, moved, tuple(kwargs.items())))
        return inputs, tuple(steps)


class Stage:
    """A function of chunks: operations on numbered values, of which the last is the result.

    inputs : how many chunks it takes
    steps : the names of the operations, their arguments and their options
    is_uncompensated : whether float64 computes what will be rounded to float32
    """

    def __init__(self, inputs: int, steps: tuple[Any, ...], is_uncompensated: bool) -> None:
        self.inputs, self.steps, self.is_uncompensated = inputs, steps, is_uncompensated
        self.text = f"{inputs} {steps!r} {is_uncompensated}"  # which tells 0.0 from -0.0

    def __reduce__(self) -> Any:
        return Stage, (self.inputs, self.steps, self.is_uncompensated)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __dask_tokenize__(self) -> str:
        return self.text

    @threads.alone()
    def __call__(self, *chunks: Any) -> Any:
        if not all(isinstance(chunk, (np.ndarray, np.generic)) for chunk in chunks):
            return self.play(_namespace_of(chunks[0]), *chunks)
        y = self._run_compiled(*chunks)
        with np.errstate(all="ignore"):
            return self.play(XP, *chunks) if y is None else y

    def play(self, xp: Any, *chunks: Any, axes: Any = None) -> Any:
        """Return the result of the operations in a namespace, which may reduce other axes."""
        return self.values(xp, *chunks, axes=axes, is_last_kept=True)[-1]

    def values(
        self, xp: Any, *chunks: Any, axes: Any = None, is_last_kept: bool = False
    ) -> list[Any]:
        """Return the chunks and the values of all steps, or of the last one alone."""
        values: list[Any] = list(chunks)
        last = {a.number: i for i, s in enumerate(self.steps) for a in s[1] if isinstance(a, Ref)}
        for i, (name, args, options) in enumerate(self.steps):
            given = [values[a.number] if isinstance(a, Ref) else a for a in args]
            if name in REDUCTIONS:
                values.append(_reduce(xp, name, given[0], axes or given[1]))
            elif name == "broadcast_to":
                values.append(xp.broadcast_to(given[0], given[1].shape))
            else:
                function = _OPERATORS.get(name) or getattr(xp, name)
                values.append(function(*given, **dict(options)))
            for a in args if is_last_kept else ():  # its memory is free
                if isinstance(a, Ref) and last[a.number] == i:
                    values[a.number] = None
        return values

    def select(self, inputs: list[int], numbers: list[int]) -> Stage:
        """Return the stage of the steps that define these values, of other values as inputs."""
        place = {n: i for i, n in enumerate([*inputs, *numbers])}
        steps = []
        for n in numbers:
            name, args, options = self.steps[n - self.inputs]
            moved = tuple(Ref(place[a.number]) if isinstance(a, Ref) else a for a in args)
            steps.append((name, moved, options))
        return Stage(len(inputs), tuple(steps), self.is_uncompensated)

    def _run_compiled(self, *chunks: Any) -> Any:
        """Return the result of machine code, or None if there is none.

        What slices have in common is computed before, by NumPy's functions.
        """
        shape = np.broadcast_shapes(*(chunk.shape for chunk in chunks))
        compiler = engine.compiler(prod(shape)) if prod(shape) else None
        if compiler is None:
            return None
        common, numbers, rest = _split(self, tuple(chunk.shape == shape for chunk in chunks))
        with np.errstate(all="ignore"):
            values = common.values(XP, *chunks)
        inputs = [np.asarray(values[n]) for n in numbers]
        program, axes = _program(rest, compiler, tuple(a.dtype for a in inputs))
        if program is None:
            return None
        is_small = prod(shape) <= SCRATCH
        for i, a in enumerate(inputs):
            if a.shape != shape:
                fill = (
                    functools.partial(_scratch.fill, (i, a.dtype)) if is_small else np.broadcast_to
                )
                inputs[i] = fill(a, shape)
        return program.run(inputs, axes)


class _Scratch(threading.local):
    """Memory of the calling thread, for what slices have in common: new pages take far longer."""

    def __init__(self) -> None:
        self.buffers: dict[Any, Any] = {}

    def fill(self, key: Any, value: Any, shape: tuple[int, ...]) -> Any:
        """Return an array of a shape that is broadcast to it, in the memory of this key."""
        size = prod(shape)
        buffer = self.buffers.get(key)
        if buffer is None or buffer.size < size:
            buffer = self.buffers[key] = np.empty(size, value.dtype)
        filled = buffer[:size].reshape(shape)
        np.copyto(filled, value)
        return filled


_scratch = _Scratch()

SCRATCH = 2**22
"""So many elements are computed with such memory; the blocks of more take time enough."""


@functools.lru_cache(generic.MAX_CACHED_KERNELS)
def _split(stage: Stage, are_whole: tuple[bool, ...]) -> tuple[Stage, list[int], Stage]:
    """Return the steps before those of whole chunks, the numbers of what these take, and these."""
    if not any(are_whole):
        are_whole = (True,) * len(are_whole)
    whole = {i for i, is_whole in enumerate(are_whole) if is_whole}
    steps = list(enumerate(stage.steps, stage.inputs))
    for i, (_, args, _) in steps:
        if any(isinstance(a, Ref) and a.number in whole for a in args):
            whole.add(i)
    common = [i for i, _ in steps if i not in whole]
    rest = [i for i, _ in steps if i in whole]
    taken = {
        a.number for i, (_, args, _) in steps if i in whole for a in args if isinstance(a, Ref)
    }
    inputs = sorted(taken - set(rest))
    before = stage.select([*range(stage.inputs)], common)
    places = [*range(stage.inputs), *common]
    return before, [places.index(n) for n in inputs], stage.select(inputs, rest)


@functools.lru_cache(generic.MAX_CACHED_KERNELS)
def _program(stage: Stage, compiler: Any, dtypes: tuple[Any, ...]) -> tuple[Any, tuple[int, ...]]:
    """Return the machine code of a stage, or None, and the axes of its reductions."""
    reduced = {args[1] for name, args, _ in stage.steps if name in REDUCTIONS}
    if len(reduced) > 1:
        return None, ()
    axes = reduced.pop() if reduced else ()

    def impl(xp: Any, x: Any, *others: Any) -> Any:
        return stage.play(xp, x, *others, axes=(0,))

    names = [f"x{i}" for i in range(1, stage.inputs)]
    parameters = dict.fromkeys(names, ParameterSpec("an array"))
    definition = Definition("stage", impl, "x", parameters, {}, formula="")
    xp = UNCOMPENSATED if stage.is_uncompensated else XP
    try:
        with np.errstate(all="ignore"):
            zeros = [np.zeros((1,) * (max(axes, default=-1) + 1), dtype) for dtype in dtypes]
            result = stage.play(XP, *zeros).dtype
        program = compiler.program_of(
            xp, definition, dtypes[0], dtypes[0], result, dtypes[1:], (), is_row=bool(axes)
        )
    except (TypeError, ValueError):  # of what has no trace
        return None, ()
    return program, axes


def _reduce(xp: Any, name: str, x: Any, axes: tuple[int, ...]) -> Any:
    if name != "sum" and any(x.shape[i] == 0 for i in axes):
        return xp.sum(x, axis=axes, keepdims=True) + REDUCTIONS[name]
    return getattr(xp, name)(x, axis=axes, keepdims=True)


def reduce_parts(kind: str, parts: Any, axes: tuple[int, ...], name: str) -> Any:
    """Return the reduction of an array whose chunks have size 1 along some axes, by a tree."""
    combine = functools.partial(_combine, kind)
    while any(parts.numblocks[i] > 1 for i in axes):
        token = f"{name}-{kind}-tree-{tokenize(parts.name, axes)}"
        graph: dict[Any, Any] = {}
        rest = MAX_PARTS
        steps = [1] * parts.ndim
        for i in axes:
            steps[i] = min(rest, parts.numblocks[i])
            rest = max(rest // steps[i], 1)
        blocks = [range(0, n, step) for n, step in zip(parts.numblocks, steps, strict=True)]
        for starts in itertools.product(*blocks):
            near = [range(i, i + step) for i, step in zip(starts, steps, strict=True)]
            keys = [
                (parts.name, *block)
                for block in itertools.product(*near)
                if all(i < n for i, n in zip(block, parts.numblocks, strict=True))
            ]
            place = [i // step for i, step in zip(starts, steps, strict=True)]
            graph[(token, *place)] = (combine, keys)
        chunks = tuple(
            (1,) * len(starts) if i in axes else sizes
            for i, (starts, sizes) in enumerate(zip(blocks, parts.chunks, strict=True))
        )
        layers = HighLevelGraph.from_collections(token, graph, dependencies=[parts])
        parts = da.Array(layers, token, chunks, meta=parts._meta)
    return parts


def _combine(kind: str, parts: list[Any]) -> Any:
    if kind == "sum":
        return functools.reduce(operator.add, parts)
    xp = _namespace_of(parts[0])
    return functools.reduce(xp.maximum if kind == "max" else xp.minimum, parts)


def _namespace_of(chunk: Any) -> Any:
    """Return the namespace of the library of a chunk."""
    backend = None if isinstance(chunk, (np.ndarray, np.generic)) else generic.backend_for(chunk)
    return XP if backend is None else backend.xp


def meta_like(x: Any, ndim: int, dtype: Any) -> Any:
    """Return an array without elements of the library of the chunks of x."""
    meta = meta_from_array(x._meta, ndim)
    meta = meta.real if meta.dtype.kind == "c" and dtype.kind != "c" else meta
    return meta_from_array(meta, ndim, dtype)


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """Return a Dask array with other axes of size 1."""
    kept = [i for i, n in enumerate(x.shape) if n != 1]
    x = x[tuple(slice(None) if i in kept else 0 for i in range(x.ndim))]
    return x[tuple(None if n == 1 else slice(None) for n in shape)]


def broadcast_shapes(*shapes: Any) -> tuple[Any, ...]:
    """Return the shape of arrays of these shapes, whose sizes may be unknown, together."""
    found = []
    for sizes in _aligned(shapes):
        others = [n for n in sizes if not (isinstance(n, int) and n == 1)]
        if any(n != others[0] for n in others):
            raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast")
        found.append(others[0] if others else 1)
    return tuple(found)


def _aligned(shapes: Any) -> list[tuple[Any, ...]]:
    """Return the sizes along each axis, where shapes have the last axis in common."""
    columns = itertools.zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return [*columns][::-1]


def _reduced(shape: tuple[Any, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[Any, ...]:
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value


def _dtype_of(name: str, operands: list[Any], options: dict[str, Any]) -> Any:
    """Return the dtype of the result of an operation."""
    given = [np.ones((), a.dtype) if isinstance(a, Symbol) else a for a in operands]
    if name == "broadcast_to":
        return given[0].dtype
    with np.errstate(all="ignore"):
        function = _OPERATORS.get(name) or getattr(XP, name)
        return function(*given, **options).dtype
