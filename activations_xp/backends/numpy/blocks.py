"""Work on large arrays block by block, so that intermediate results stay in the caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from .. import generic
from .threads import parallel_for, usable_threads

BLOCKWISE_FROM = 2**17
"""Arrays with more elements than this are processed block by block."""

BLOCK_BYTES = 2**21
"""The bytes of a block. Smaller blocks make threads wait for each other, because only one of them
at a time runs Python code between two ufuncs."""

ELEMENTS_PER_THREAD = 2**17
"""The number of elements that makes another thread worth its cost."""

SHORT_ROW = 64
"""Rows of fewer elements than this are copied."""

SCRATCH_BYTES = 15 * 2**18
"""The bytes of intermediate results that a thread may keep; two threads stay under 8 MiB."""


def can_write_to(out: Any, inputs: Sequence[Any], dtype: Any) -> bool:
    """Return whether `out` can take, block by block, a result of this dtype."""
    return (
        out.flags.writeable
        and (out.shape, out.dtype) == (inputs[0].shape, dtype)
        and all(_is_same_memory(out, a) or not np.may_share_memory(out, a) for a in inputs)
    )


def _is_same_memory(a: Any, b: Any) -> bool:
    """Return whether each element of `a` has the same address as that of `b`."""
    layouts = [(v.__array_interface__["data"], v.strides, v.itemsize) for v in (a, b)]
    return layouts[0] == layouts[1]


def result_arrays(dtypes: Sequence[Any], inputs: Sequence[Any], out: Any) -> list[Any]:
    """Return arrays to write results of these dtypes to: `out` where it fits, or else new ones."""
    if out is not None and can_write_to(out, inputs, dtypes[0]):
        return [out]
    return [np.empty_like(inputs[0], dtype) for dtype in dtypes]


def has_contiguous_rows(array: Any) -> bool:
    """Return whether an array is a matrix in memory, whose rows are long and contiguous."""
    shape, strides = array.shape, array.strides
    return (
        len(shape) > 1
        and shape[-1] >= SHORT_ROW
        and strides[-1] == array.itemsize
        and all(strides[i] == strides[i + 1] * shape[i + 1] for i in range(len(shape) - 2))
    )


def map_blocks(
    function: Callable[..., Any], inputs: Sequence[Any], results: Sequence[Any], scratch: int = 0
) -> None:
    """Call a function with one-dimensional blocks of the inputs and of the results to write.

    The function needs `scratch` bytes per element for intermediate results.
    """
    order = sorted(range(inputs[0].ndim), key=lambda i: -abs(inputs[0].strides[i]))
    arrays = [array.transpose(order) for array in (*inputs, *results)]
    if all(array.flags.c_contiguous for array in arrays):
        arrays = [array.reshape(-1) for array in arrays]
    sources, targets = arrays[: len(inputs)], arrays[len(inputs) :]
    # blocks of the other arrays are copies
    is_direct = [
        t.flags.c_contiguous and not any(np.may_share_memory(t, s) for s in sources)
        for t in targets
    ]
    copied = [s for s in sources if not s.flags.c_contiguous]
    copied += [t for t, direct in zip(targets, is_direct, strict=True) if not direct]
    scratch += sum(array.itemsize for array in copied)
    width = max(array.itemsize for array in arrays)
    limit = min(BLOCK_BYTES // width, SCRATCH_BYTES // max(scratch, 1))
    size, threads = _block_size(inputs[0].size, limit)

    def run_block(index: Any) -> None:
        blocks = [np.ascontiguousarray(source[index]).reshape(-1) for source in sources]
        outputs = [
            target[index].reshape(-1) if direct else np.empty(len(blocks[0]), target.dtype)
            for target, direct in zip(targets, is_direct, strict=True)
        ]
        function(*blocks, *outputs)
        for target, output, direct in zip(targets, outputs, is_direct, strict=True):
            if not direct:
                target[index] = output.reshape(target[index].shape)

    parallel_for(_block_indices(arrays[0].shape, size), threads, run_block)


class Executable:
    """Machine code or calls of ufuncs: a function of blocks, and others of more that it may have.

    alone_to : the number of elements to which the thread of the caller takes all as one block
    share : a function of contiguous arrays of any size, if there is one that shares them itself
    share_rows : a function of matrices with contiguous rows, if there is one
    """

    alone_to = BLOCKWISE_FROM
    share: Callable[..., None] | None = None
    share_rows: Callable[..., None] | None = None

    def __init__(self, execute: Callable[..., None]):
        self.execute = execute

    def at_once(self, size: int) -> Callable[..., None] | None:
        """Return the function of so many contiguous elements, or None if they must be blocks."""
        return self.execute if size <= self.alone_to else self.share


class Program(Executable):
    """A function of blocks of elements and of arrays to write its results to.

    results : tracers, with the dtypes and in the structure of the results
    inputs : the number of arrays to read
    scratch : the bytes of intermediate results of an element
    """

    def __init__(self, results: Any, inputs: int, execute: Callable[..., None], scratch: int = 0):
        super().__init__(execute)
        self.results, self.scratch = results, scratch
        self.dtypes = [tracer.dtype for tracer in generic.tree_leaves(results)]
        is_single = not isinstance(results, (tuple, dict))
        self.is_identity = is_single and results.number == 0
        self.is_unary = inputs == 1 and is_single and not self.is_identity

    def run(self, inputs: Sequence[Any], axes: Sequence[int] = (), out: Any = None) -> Any:
        """Return the results for arrays of one shape, in the memory layout of the first.

        A single result is written to `out` where that fits.
        """
        x = inputs[0]
        if self.is_identity:
            return x
        if out is None and self.is_unary and x.flags.c_contiguous:
            execute = self.at_once(x.size)
            if execute:  # with as little Python as possible
                result = np.empty(x.shape, self.dtypes[0])
                execute(x.ravel(), result.ravel())
                return result
        results = result_arrays(self.dtypes, inputs, out)
        if results[0] is out and any(np.may_share_memory(out, a) for a in inputs):
            map_blocks(self.execute, inputs, results, self.scratch)
        else:
            self.write(inputs, results)
        return generic.tree_unflatten(results, self.results)

    def write(self, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        """Write the results to arrays that do not overlap with the inputs."""
        arrays = [*inputs, *results]
        execute = self.at_once(inputs[0].size)
        if execute and all(a.flags.c_contiguous for a in arrays):
            execute(*[array.ravel() for array in arrays])
        elif self.share_rows and all(map(has_contiguous_rows, arrays)):
            self.share_rows(*[array.reshape(-1, array.shape[-1]) for array in arrays])
        else:
            map_blocks(self.execute, inputs, results, self.scratch)


def map_rows(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    results: Sequence[Any],
    axes: Sequence[int],
    all_at_once: Callable[..., Any] | None = None,
) -> None:
    """Call a function with blocks of rows of the inputs, and of the results to write.

    A row has the elements along the axes. Blocks are matrices, but for results of one number a row,
    which lack the axes. If all are contiguous, a function that is given takes them at once.
    """
    ndim = inputs[0].ndim
    moved = [*inputs, *results]
    if tuple(axes) != tuple(range(ndim - len(axes), ndim)):
        last = range(-len(axes), 0)
        moved = [np.moveaxis(a, axes, last) if a.ndim == ndim else a for a in moved]
    shape = moved[0].shape[: ndim - len(axes)]
    length = prod(moved[0].shape[ndim - len(axes) :])
    if all(a.flags.c_contiguous for a in moved):
        shape = (prod(shape),)
        moved = [a.reshape(shape + (length,) * (a.ndim == ndim)) for a in moved]
        if all_at_once:
            all_at_once(*moved)
            return
    sources, targets = moved[: len(inputs)], moved[len(inputs) :]
    size, threads = _block_size(inputs[0].size, BLOCK_BYTES // 8 // inputs[0].itemsize)

    def as_rows(block: Any, of: Any) -> Any:
        is_matrix = of.ndim > len(shape)
        return np.ascontiguousarray(block).reshape((-1, length) if is_matrix else -1)

    def run_block(index: Any) -> None:
        outputs = [as_rows(target[index], target) for target in targets]
        function(*(as_rows(source[index], source) for source in sources), *outputs)
        for target, output in zip(targets, outputs, strict=True):
            if not np.may_share_memory(target, output):
                target[index] = output.reshape(target[index].shape)

    rows = max(1, size // length)
    if not moved[0].flags.c_contiguous:  # so many rows fill a line of the cache, if they fit
        rows = max(rows, min(16, SCRATCH_BYTES // (length * sum(a.itemsize for a in moved))))
    parallel_for(_block_indices(shape, rows) if shape else [()], threads, run_block)


class RowProgram(Executable):
    """A function of blocks of rows and of arrays to write its results to.

    results : tracers, with the dtypes, shapes and in the structure of the results
    """

    def __init__(self, results: Any, inputs: int, execute: Callable[..., None]):
        super().__init__(execute)
        self.results = results
        is_single = not isinstance(results, (tuple, dict))
        self.is_unary = inputs == 1 and is_single and results.is_row

    def run(self, inputs: Sequence[Any], axes: Sequence[int], out: Any = None) -> Any:
        """Return the results for arrays of one shape; a single one is written to `out` if it fits.

        A result of one number a row keeps the axes if its tracer does.
        """
        x = inputs[0]
        rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        tracers = generic.tree_leaves(self.results)
        if out is not None and tracers[0].is_row and can_write_to(out, inputs, tracers[0].dtype):
            arrays = [out]
        else:
            arrays = [
                np.empty_like(x, tracer.dtype) if tracer.is_row else np.empty(rest, tracer.dtype)
                for tracer in tracers
            ]
        matrices = [a for a in (*inputs, *arrays) if a.ndim == x.ndim]
        are_rows = tuple(axes) == (x.ndim - 1,) and all(map(has_contiguous_rows, matrices))
        if self.share_rows and are_rows and not x.flags.c_contiguous:
            rows = -1, x.shape[-1]
            self.share_rows(
                *(a.reshape(rows if a.ndim == x.ndim else -1) for a in (*inputs, *arrays))
            )
        else:
            map_rows(self.execute, inputs, arrays, axes, self.at_once(x.size))
        arrays = [
            a.reshape(kept) if t.shape and not t.is_row else a
            for t, a in zip(tracers, arrays, strict=True)
        ]
        return generic.tree_unflatten(arrays, self.results)


def _block_size(size: int, limit: int) -> tuple[int, int]:
    """Return the elements of a block, which give all threads equal work, and the threads."""
    limit = max(1, limit)
    threads = max(1, min(usable_threads(), size // min(limit, ELEMENTS_PER_THREAD)))
    if threads == 1:  # no thread waits for another, and smaller blocks may fit into its cache
        limit = max(1, limit // 4)
    rounds = max(1, -(-size // (limit * threads)))
    return max(1, -(-size // (rounds * threads))), threads


def _block_indices(shape: tuple[int, ...], size: int) -> Iterator[Any]:
    """Yield the indices of contiguous blocks of at most `size` elements."""
    axis, inner = len(shape) - 1, 1
    while axis > 0 and inner * shape[axis] <= size:
        inner *= shape[axis]
        axis -= 1
    rows = max(1, size // max(inner, 1))
    for outer in np.ndindex(shape[:axis]):
        for i in range(0, shape[axis], rows):
            yield (*outer, slice(i, i + rows))


def map_slices(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    axes: Sequence[int],
    compute: Any,
    result: Any,
    out: Any = None,
) -> Any:
    """Call a function with slices of the inputs, and assemble what it returns.

    The first input is sliced along its longest axis that is not among `axes`; the others broadcast
    to it. The function computes in the dtype `compute`, and the results have the dtype `result`. A
    single one is written to `out` where that fits.
    """
    x = inputs[0]
    axis = max((i for i in range(x.ndim) if i not in axes), key=lambda i: int(x.shape[i]))
    # a function calls fewer ufuncs than a program of elements, but each allocates its result,
    # and there are more of them if dtypes are converted
    width = compute.itemsize // 2 if compute == result else compute.itemsize
    size, threads = _block_size(x.size, BLOCK_BYTES // 16 // width)
    rows = max(1, size * x.shape[axis] // x.size)
    if abs(x.strides[axis]) == min(map(abs, x.strides)):
        rows = max(rows, 64)  # so many elements are contiguous

    def slice_at(array: Any, start: int) -> Any:
        i = array.ndim - x.ndim + axis
        if i < 0 or array.shape[i] == 1:
            return array
        return array[(slice(None),) * i + (slice(start, start + rows),)]

    def compute_at(start: int) -> Any:
        with np.errstate(all="ignore"):
            return function(*(slice_at(array, start) for array in inputs))

    first = compute_at(0)
    can_write = out is not None and can_write_to(out, inputs, result)
    results = out if can_write else generic.tree_map(lambda _: np.empty_like(x, result), first)

    def store(start: int, values: Any) -> None:
        for target, value in zip(
            generic.tree_leaves(results), generic.tree_leaves(values), strict=True
        ):
            np.copyto(slice_at(target, start), value)

    store(0, first)
    starts = range(rows, x.shape[axis], rows)
    parallel_for(starts, threads, lambda start: store(start, compute_at(start)))
    return results
