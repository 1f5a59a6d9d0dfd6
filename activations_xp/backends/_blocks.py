"""Work on large NumPy arrays part by part, so that what is between stays in the caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .._threads import get_num_threads, shared
from . import generic

LARGE = 2**16
"""With more elements it pays to go block by block."""

BLOCK = 2**21
"""The bytes of a block. In a smaller one threads are held up: between two steps only one of them
can be in Python."""

SHARE = 2**17
"""The elements for which another thread pays."""

SPACE = 15 * 2**18
"""The bytes of all that is between, which each thread keeps: of two they are under 8 MiB."""


def takes(out: Any, inputs: Sequence[Any], dtype: Any) -> bool:
    """Whether a result like the first input, of this dtype, may be written to `out` in parts."""
    return (
        out is not None
        and out.flags.writeable
        and (out.shape, out.dtype) == (inputs[0].shape, dtype)
        and all(_is_at(out, array) or not np.may_share_memory(out, array) for array in inputs)
    )


def _is_at(a: Any, b: Any) -> bool:
    """Whether each element of one array lies where the same of the other does."""
    places = [(v.__array_interface__["data"], v.strides, v.itemsize) for v in (a, b)]
    return places[0] == places[1]


def in_blocks(
    function: Callable[..., Any], inputs: Sequence[Any], results: Sequence[Any], between: int = 0
) -> None:
    """Have a function of blocks, of the inputs and of the results, write the results.

    It takes so many bytes an element for what is between.
    """
    order = sorted(range(inputs[0].ndim), key=lambda i: -abs(inputs[0].strides[i]))
    arrays = [array.transpose(order) for array in (*inputs, *results)]
    if all(array.flags.c_contiguous for array in arrays):
        arrays = [array.reshape(-1) for array in arrays]
    sources, targets = arrays[: len(inputs)], arrays[len(inputs) :]
    # a block of the others is a copy
    is_direct = [
        t.flags.c_contiguous and not any(np.may_share_memory(t, s) for s in sources)
        for t in targets
    ]
    copied = [s for s in sources if not s.flags.c_contiguous]
    copied += [t for t, direct in zip(targets, is_direct, strict=True) if not direct]
    between += sum(array.itemsize for array in copied)
    width = max(array.itemsize for array in arrays)
    size, threads = _shares(inputs[0].size, min(BLOCK // width, SPACE // max(between, 1)))

    def do(where: Any) -> None:
        blocks = [source[where].reshape(-1) for source in sources]
        parts = [
            target[where].reshape(-1) if direct else np.empty(len(blocks[0]), target.dtype)
            for target, direct in zip(targets, is_direct, strict=True)
        ]
        function(*blocks, *parts)
        for target, part, direct in zip(targets, parts, is_direct, strict=True):
            if not direct:
                target[where] = part.reshape(target[where].shape)

    shared(_parts(arrays[0].shape, size), threads, do)


def _shares(number: int, most: int) -> tuple[int, int]:
    """The elements of a block, for all threads to have as many of them, and the threads."""
    most = max(1, most)
    threads = max(1, min(get_num_threads(), number // min(most, SHARE)))
    if threads == 1:  # which nothing holds up: what is between may fit into its cache
        most = max(1, most // 4)
    rounds = max(1, -(-number // (most * threads)))
    return max(1, -(-number // (rounds * threads))), threads


def _parts(shape: tuple[int, ...], size: int) -> Iterator[Any]:
    """The indices of parts of at most `size` elements, which lie side by side."""
    axis, inner = len(shape) - 1, 1
    while axis > 0 and inner * shape[axis] <= size:
        inner *= shape[axis]
        axis -= 1
    rows = max(1, size // max(inner, 1))
    for before in np.ndindex(shape[:axis]):
        for i in range(0, shape[axis], rows):
            yield (*before, slice(i, i + rows))


def in_rows(
    run: Callable[..., Any],
    x: Any,
    others: Sequence[Any],
    axes: Sequence[int],
    compute: Any,
    dtype: Any,
    out: Any = None,
) -> Any:
    """What the function, which computes in one dtype, makes of parts of x and of the others.

    The parts have all of the axes, but not of the longest of the rest; the others broadcast to x.
    The only result may be written to `out`.
    """
    axis = max((i for i in range(x.ndim) if i not in axes), key=lambda i: int(x.shape[i]))
    # there are fewer steps, but each takes memory, and more to round from one dtype to another
    width = compute.itemsize // 2 if compute == dtype else compute.itemsize
    size, threads = _shares(x.size, BLOCK // 16 // width)
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
    whole = generic.tree_map(lambda _: np.empty_like(x, dtype), first) if out is None else out

    def put(start: int, parts: Any) -> None:
        for target, value in zip(
            generic.tree_leaves(whole), generic.tree_leaves(parts), strict=True
        ):
            np.copyto(part(target, start), value)

    put(0, first)
    starts = range(rows, x.shape[axis], rows)
    shared(starts, threads, lambda start: put(start, made(start)))
    return whole
