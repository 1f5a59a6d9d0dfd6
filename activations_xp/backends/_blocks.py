"""Work on large NumPy arrays part by part, so that what is between stays in the caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .._threads import get_num_threads, shared
from . import generic

LARGE = 2**16
"""With more elements it pays to go block by block."""

BLOCK = 2**19
"""The bytes of a block, of which some four fit into a core's own cache. In a smaller one threads
are held up: between two steps only one of them can be in Python."""


def in_blocks(
    begin: Callable[[int], Callable[..., Any]], inputs: Sequence[Any], dtypes: Sequence[Any]
) -> list[Any]:
    """Arrays of these dtypes, which a function of blocks of the inputs and of them writes.

    Each thread begins with a function of its own for blocks of at most so many elements.
    """
    order = sorted(range(inputs[0].ndim), key=lambda i: -abs(inputs[0].strides[i]))
    back = sorted(range(len(order)), key=order.__getitem__)
    inputs = [array.transpose(order) for array in inputs]
    results = [np.empty(inputs[0].shape, dtype) for dtype in dtypes]
    if all(array.flags.c_contiguous for array in inputs):
        inputs = [array.reshape(-1) for array in inputs]
    flat = [result.reshape(-1) for result in results]
    number = inputs[0].size
    size, threads = _shares(number, max(array.itemsize for array in (*inputs, *results)))

    def work() -> Callable[[tuple[int, Any]], None]:
        function = begin(size)

        def do(part: tuple[int, Any]) -> None:
            start, where = part
            blocks = [array[where].reshape(-1) for array in inputs]
            stop = start + len(blocks[0])
            with np.errstate(all="ignore"):
                function(*blocks, *(result[start:stop] for result in flat))

        return do

    shared(_parts(inputs[0].shape, size), threads, work)
    return [result.transpose(back) for result in results]


def _shares(number: int, itemsize: int) -> tuple[int, int]:
    """The elements of a block, for all threads to have as many of them, and the threads."""
    most = max(1, BLOCK // itemsize)
    threads = max(1, min(get_num_threads(), number // most))
    rounds = max(1, -(-number // (most * threads)))
    return max(1, -(-number // (rounds * threads))), threads


def _parts(shape: tuple[int, ...], size: int) -> Iterator[tuple[int, Any]]:
    """Where each part of at most `size` elements starts in memory, and its indices."""
    axis, inner = len(shape) - 1, 1
    while axis > 0 and inner * shape[axis] <= size:
        inner *= shape[axis]
        axis -= 1
    rows = max(1, size // max(inner, 1))
    start = 0
    for before in np.ndindex(shape[:axis]):
        for i in range(0, shape[axis], rows):
            yield start, (*before, slice(i, i + rows))
            start += min(rows, shape[axis] - i) * inner


def in_rows(
    run: Callable[..., Any],
    x: Any,
    others: Sequence[Any],
    axes: Sequence[int],
    compute: Any,
    dtype: Any,
) -> Any:
    """What the function, which computes in one dtype, makes of parts of x and of the others.

    The parts have all of the axes, but not of the longest of the rest; the others broadcast to x.
    """
    axis = max((i for i in range(x.ndim) if i not in axes), key=lambda i: int(x.shape[i]))
    # there are fewer steps, but more to round from one dtype to another
    width = compute.itemsize // 2 if compute == dtype else compute.itemsize
    size, threads = _shares(x.size, width)
    rows = max(1, size * x.shape[axis] // x.size)
    if abs(x.strides[axis]) == min(map(abs, x.strides)):
        rows = max(rows, 64)  # they lie side by side

    def part(array: Any, start: int) -> Any:
        i = array.ndim - x.ndim + axis
        if i < 0 or array.shape[i] == 1:
            return array
        return array[(slice(None),) * i + (slice(start, start + rows),)]

    def made(start: int) -> Any:
        with np.errstate(all="ignore"):
            return run(part(x, start), *(part(v, start) for v in others))

    first = made(0)
    whole = generic.each(lambda _: np.empty_like(x, dtype), first)

    def put(start: int, parts: Any) -> None:
        values: list[Any] = []
        generic.each(values.append, parts)
        generic.each(lambda w: np.copyto(part(w, start), values.pop(0)), whole)

    put(0, first)
    starts = range(rows, x.shape[axis], rows)
    shared(starts, threads, lambda: lambda start: put(start, made(start)))
    return whole
