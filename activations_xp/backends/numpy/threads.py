"""The number of threads that share the work on a large array, and the pool that runs them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..._errors import describe_value

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

VARIABLE = "ACTIVATIONS_XP_NUM_THREADS"

_num_threads: int | None = None
_pool: ThreadPoolExecutor | None = None

generation = 0
"""A number that changes whenever the number of threads is set."""


def set_num_threads(number: int) -> None:
    """Set the number of threads that share the work on a large NumPy array.

    Results are the same, bit by bit, for any number. The default is the environment variable
    ``ACTIVATIONS_XP_NUM_THREADS`` or, where it is not set, the number of processors that this
    process may use.

    Parameters
    ----------
    number : int
        At least 1, which is the thread of the caller alone.

    Raises
    ------
    TypeError, ValueError
        If `number` is not a positive integer.

    Examples
    --------
    >>> import activations_xp as ax
    >>> ax.set_num_threads(2)
    >>> ax.get_num_threads()
    2
    """
    global _num_threads, generation
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"set_num_threads: number must be an integer, got {describe_value(number)}")
    if number < 1:
        raise ValueError(f"set_num_threads: number must be at least 1, got {number}")
    _num_threads = number
    generation += 1
    _drop_pool()


def get_num_threads() -> int:
    """Return the number of threads that share the work on an array; see `set_num_threads`."""
    global _num_threads
    if _num_threads is None:
        _num_threads = _threads_from_environment() or _available_processors()
    return _num_threads


class _Caller(threading.local):
    """State of the calling thread."""

    is_alone = False


_caller = _Caller()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let the calling thread share no work inside: others are busy with other arrays."""
    was_alone, _caller.is_alone = _caller.is_alone, True
    try:
        yield
    finally:
        _caller.is_alone = was_alone


def usable_threads() -> int:
    """Return the number of threads that share the work of the calling one."""
    return 1 if _caller.is_alone else get_num_threads()


def _threads_from_environment() -> int | None:
    text = os.environ.get(VARIABLE, "")
    if text and not (text.isdecimal() and int(text)):
        raise ValueError(f"{VARIABLE} must be a positive integer, got {text!r}")
    return int(text) if text else None


def _available_processors() -> int:
    """Return the number of processors that affinity and control group allow this process."""
    affinity = getattr(os, "sched_getaffinity", None)
    number = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        limit = int(quota) // int(period)
    except (OSError, ValueError):  # there is no control group, or it has no limit
        limit = number
    return max(1, min(number, limit))


def _start_pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(get_num_threads(), "activations_xp")


def _drop_pool() -> None:
    """Let the threads end; a forked child does not have them."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_pool)


def parallel_for(items: Iterable[T], threads: int, function: Callable[[T], Any]) -> None:
    """Call a function once with each item, in the thread of the caller and in others."""
    global _pool
    pending = deque(items)

    def work() -> None:
        while True:
            try:
                item = pending.popleft()
            except IndexError:
                return
            function(item)

    others: list[Future[None]] = []
    if threads > 1 and len(pending) > 1:
        pool = _pool = _pool or _start_pool()
        with contextlib.suppress(RuntimeError):  # the interpreter starts no thread when it ends
            for _ in range(min(threads, len(pending)) - 1):
                others.append(pool.submit(work))
    try:
        work()
    finally:
        pending.clear()
        for other in others:
            if not other.cancel():  # it has begun and may be writing to the result
                other.result()
