"""How many threads share the work on a large NumPy array, and how they share it."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ._errors import describe_value as describe

T = TypeVar("T")

VARIABLE = "ACTIVATIONS_XP_NUM_THREADS"

_number: int | None = None
_pool: ThreadPoolExecutor | None = None


def set_num_threads(number: int) -> None:
    """Choose how many threads share the work on a large NumPy array.

    The results are the same, bit by bit, for any number. Without a choice it is that of the
    environment variable ``ACTIVATIONS_XP_NUM_THREADS``, or else the processors that this process
    may use.

    Parameters
    ----------
    number : int
        At least 1, which is the caller's thread alone.

    Raises
    ------
    TypeError, ValueError
        If it is no positive integer.

    Examples
    --------
    >>> import activations_xp as ax
    >>> ax.set_num_threads(2)
    >>> ax.get_num_threads()
    2
    """
    global _number
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"set_num_threads: number must be an integer, got {describe(number)}")
    if number < 1:
        raise ValueError(f"set_num_threads: number must be at least 1, got {number}")
    _number = number
    _forget()


def get_num_threads() -> int:
    """How many threads share the work on a large NumPy array; see `set_num_threads`."""
    global _number
    if _number is None:
        _number = _from_environment() or _processors()
    return _number


def _from_environment() -> int | None:
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE} must be a positive integer, got {text!r}")
    return int(text)


def _processors() -> int:
    """Those that the affinity and the control group leave to this process."""
    affinity = getattr(os, "sched_getaffinity", None)
    number = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        share = int(quota) // int(period)
    except (OSError, ValueError):  # no control group, or one without a limit
        share = number
    return max(1, min(number, share))


def _forget() -> None:
    """Let the threads end; a forked child does not have them."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def shared(parts: Iterable[T], threads: int, do: Callable[[T], Any]) -> None:
    """Do each part once, in the caller's thread or another."""
    global _pool
    todo = deque(parts)

    def work() -> None:
        while True:
            try:
                part = todo.popleft()
            except IndexError:
                return
            do(part)

    others: list[Future[None]] = []
    if threads > 1 and len(todo) > 1:
        pool = _pool = _pool or ThreadPoolExecutor(get_num_threads(), "activations_xp")
        with contextlib.suppress(RuntimeError):  # at its end the interpreter starts no thread
            for _ in range(min(threads, len(todo)) - 1):
                others.append(pool.submit(work))
    try:
        work()
    finally:
        todo.clear()
        for other in others:
            if not other.cancel():  # one that has begun is writing into the result
                other.result()
