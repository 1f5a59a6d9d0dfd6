"""Threads that share the rows or elements of a kernel, and wait for work outside of Python.

A thread of Python takes up work some 20 microseconds after it was told to, in which a processor
computes 50 000 elements. Those of a team wait in machine code: a little while by looking, then
asleep. The caller works, too, and waits for nothing that has not begun.

The system may wake a thread on the processor of the caller, where it waits for the caller, or the
caller for it. On Linux a thread therefore keeps off the processor that its last work came from.

Where a library keeps threads of OpenMP, such as torch, they are the team of its arrays: they look
for work for milliseconds after each call of that library, which others would have to wait for.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import jit, threads

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")

_LOOKS = 1000
"""A thread without work looks for some so often, 10 to 50 microseconds, before it sleeps."""

_SHORT = 8
"""So many times the elements that are worth another thread are computed before one wakes up."""

_LARGEST_BLOCK = 2**16
LONGEST_TABLE = 24
"""The most entries of a table of a row."""

_BLOCKS = 4
"""So many blocks for each thread, or more if they would be larger, let all end at once."""

# the places of a team's 64-bit integers, and those of objects of POSIX
_START, _STOP, _STEP, _RUNNING, _CALLS, _FUNCTION, _TABLE, _THREADS, _IS_OVER = range(9)
_PROCESSOR, _AWAKE, _WOKEN = range(9, 12)
_FORK, _PART, _NUMBER, _COUNT = range(12, 16)
_MUTEX, _HAS_WORK, _IS_DONE, _SIZE = 16, 32, 48, 64

_PROCESSORS = 16
"""The 64-bit integers of a set of 1024 processors."""


def _posix(name: str, arguments: int) -> Any:
    return types.ExternalFunction(name, types.int32(*[types.intp] * arguments))


_lock, _unlock = _posix("pthread_mutex_lock", 1), _posix("pthread_mutex_unlock", 1)
_wait, _wake_all = _posix("pthread_cond_wait", 2), _posix("pthread_cond_broadcast", 1)


@numba.njit  # type: ignore[untyped-decorator]
def _no_processor() -> int:
    return -1


IS_LINUX = sys.platform == "linux"
_processor = _posix("sched_getcpu", 0) if IS_LINUX else _no_processor
_set_affinity = _posix("sched_setaffinity", 3)


@numba.njit  # type: ignore[untyped-decorator]
def _avoid_on_linux(processor: int, allowed: int) -> None:
    """Keep this thread off a processor, if there is another one in the set that is allowed.

    Behind that set is memory for another.
    """
    size = 8 * _PROCESSORS
    mine, others = _integers(allowed), _integers(allowed + size)
    left = 0
    for i in range(_PROCESSORS):
        others[i] = mine[i] & ~(1 << (processor & 63)) if i == processor >> 6 else mine[i]
        left |= others[i]
    if processor >= 0 and left != 0:
        _set_affinity(0, size, allowed + size)


@numba.njit  # type: ignore[untyped-decorator]
def _avoid_nothing(processor: int, allowed: int) -> None:
    pass


_avoid = _avoid_on_linux if IS_LINUX else _avoid_nothing


@intrinsic  # type: ignore[untyped-decorator]
def _look(context: Any, address: Any) -> Any:
    """Return the integer at an address, which another thread may be changing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if IS_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, "monotonic", 8)

    return types.int64(types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _run(context: Any, function: Any, table: Any, start: Any, stop: Any) -> Any:
    """Call the function at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic  # type: ignore[untyped-decorator]
def _fork(context: Any, function: Any, part: Any, job: Any, threads: Any) -> Any:
    """Call GOMP_parallel, at an address, so that each thread calls ``part(job)``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        long, unsigned = ir.IntType(64), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [long, long, unsigned, unsigned])
        function, part, job, threads = arguments
        values = [part, job, builder.trunc(threads, unsigned), ir.Constant(unsigned, 0)]
        builder.call(builder.inttoptr(function, kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic  # type: ignore[untyped-decorator]
def _ask(context: Any, function: Any) -> Any:
    """Return the number that a function of nothing returns, which is at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        number = builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return builder.sext(number, ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _integers(context: Any, address: Any) -> Any:
    """Return an address as a pointer to integers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def on_stack(context: Any, values: Any) -> Any:
    """Return the address of 64-bit integers and floats, which are there until the caller ends."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table = builder.alloca(ir.IntType(64), len(values))
        for i in range(len(values)):
            value = builder.bitcast(builder.extract_value(arguments[0], i), ir.IntType(64))
            builder.store(value, builder.gep(table, [ir.Constant(ir.IntType(32), i)]))
        return builder.ptrtoint(table, ir.IntType(64))

    return types.int64(values), generate


@numba.njit  # type: ignore[untyped-decorator]
def _work(team: Any, is_caller: bool) -> None:
    """Run what has not begun; the mutex is held by the caller, before and after.

    One begins at the start and the others at the end, so that most of what a thread finds in its
    cache is what it had the last time.
    """
    state, mutex = _integers(team), team + 8 * _MUTEX
    state[_RUNNING] += 1
    while state[_START] < state[_STOP]:
        start, stop = state[_START], state[_STOP]
        if is_caller:
            stop = state[_START] = min(start + state[_STEP], stop)
        else:
            start = state[_STOP] = max(start, stop - state[_STEP])
        _unlock(mutex)
        _run(state[_FUNCTION], state[_TABLE], start, stop)
        _lock(mutex)
    state[_RUNNING] -= 1


@numba.njit  # type: ignore[untyped-decorator]
def _run_part(job: int) -> None:
    """Run the part of a job of this thread of OpenMP."""
    known = _integers(job)
    function, table, count, width = known[1], known[2], known[3], known[4]
    state = _integers(known[0])
    thread, threads = _ask(state[_NUMBER]), _ask(state[_COUNT])
    start, stop = count * thread // threads, count * (thread + 1) // threads
    if width == 1:
        start = start & ~63
        stop = stop & ~63 if thread + 1 < threads else stop
    if start < stop:
        _run(function, table, start, stop)


@numba.njit  # type: ignore[untyped-decorator]
def _share(team: int, alone_to: int, function: int, table: int, count: int, width: int) -> None:
    """Call ``function(table, start, stop)`` so that all numbers below the count are between once.

    An address of 0 for a team is that of no other thread. A team that has work gets none, nor does
    one that sleeps if there are few times the elements to which another thread costs more than it
    does. The width is the number of elements that each number stands for.
    """
    if team == 0:
        _run(function, table, 0, count)
        return
    state, mutex = _integers(team), team + 8 * _MUTEX
    if state[_FORK] != 0:
        job = on_stack((team, function, table, count, width))
        worth = count * width // max(alone_to, 1) + 1
        _fork(state[_FORK], state[_PART], job, min(state[_THREADS], worth))
        return
    _lock(mutex)
    is_asleep = state[_AWAKE] == 0 and count * width < _SHORT * alone_to
    if state[_RUNNING] > 0 or is_asleep:
        if is_asleep:  # for the next call
            state[_PROCESSOR], state[_WOKEN] = _processor(), 1
            _wake_all(team + 8 * _HAS_WORK)
        _unlock(mutex)
        _run(function, table, 0, count)
        return
    step = min(count // (_BLOCKS * state[_THREADS]), _LARGEST_BLOCK // width) + 1
    if width == 1:
        step = (step + 63) & ~63  # no two threads write to one line of the cache
    state[_FUNCTION], state[_TABLE], state[_STEP] = function, table, step
    state[_START], state[_STOP] = 0, count
    state[_PROCESSOR] = _processor()
    state[_CALLS] += 1
    call, looks = state[_CALLS], 0
    _wake_all(team + 8 * _HAS_WORK)
    _work(team, True)
    while state[_RUNNING] > 0 and state[_CALLS] == call:
        if looks < _LOOKS:
            _unlock(mutex)
            while looks < _LOOKS and _look(team + 8 * _RUNNING) > 0:
                looks += 1
            _lock(mutex)
        else:
            _wait(team + 8 * _IS_DONE, mutex)
    _unlock(mutex)


@numba.njit  # type: ignore[untyped-decorator]
def _run_alone(team: int, alone_to: int, function: int, table: int, count: int, width: int) -> None:
    _run(function, table, 0, count)


share = _share if os.name == "posix" else _run_alone


@numba.njit  # type: ignore[untyped-decorator]
def _serve(team: int, allowed: int) -> None:
    """Run what is shared, until the team is over, on a set of processors."""
    state, mutex = _integers(team), team + 8 * _MUTEX
    avoided = -1
    _lock(mutex)
    while state[_IS_OVER] == 0:
        state[_AWAKE] += 1
        if state[_START] < state[_STOP]:
            _work(team, False)
            _wake_all(team + 8 * _IS_DONE)
        _unlock(mutex)
        looks = 0
        while looks < _LOOKS and _look(team + 8 * _START) >= _look(team + 8 * _STOP):
            looks += 1
        processor = _look(team + 8 * _PROCESSOR)
        if processor != avoided:
            _avoid(processor, allowed)
            avoided = processor
        _lock(mutex)
        state[_AWAKE] -= 1
        while state[_START] >= state[_STOP] and state[_IS_OVER] == 0 and state[_WOKEN] == 0:
            _wait(team + 8 * _HAS_WORK, mutex)
        state[_WOKEN] = 0
    _unlock(mutex)


@functools.cache
def rows() -> int:
    """Return the address of a function that runs another on each row of matrices.

    Its table has that function's address, how many arrays there are and how long the table of a
    row is, where a row stops, the table of the first row, and the bytes from one to the next.
    """
    source = f"""\
def call(table, start, stop):
    known = integers(table)
    arrays, entries = known[1], known[2]
    table_of_row = on_stack(({"0, " * LONGEST_TABLE}))
    row = integers(table_of_row)
    for i in range(entries):
        row[i] = known[4 + i]
    for r in range(start, stop):
        for i in range(arrays):
            row[i] = known[4 + i] + r * known[4 + entries + i]
        run(known[0], table_of_row, 0, known[3])
"""
    names = {"integers": _integers, "on_stack": on_stack, "run": _run}
    return jit.address(source, names, types.void(*[types.int64] * 3), "")


_state = np.zeros(_SIZE, np.int64)
"""The integers of the present team."""

_process = os.getpid()

_made_for: tuple[int, int] | None = None
"""The process in which they were started, and the generation of the number of threads."""


def address() -> int:
    """Return the address of a team of `usable_threads`, with the caller; 0 is no other."""
    if threads.usable_threads() == 1:
        return 0
    if _made_for != (os.getpid(), threads.generation):
        with jit.lock:
            if _made_for != (os.getpid(), threads.generation):
                _start()
    return int(_state.ctypes.data) if _state[_THREADS] > 1 else 0


@functools.cache
def _openmp(library: str) -> Any:
    """Return the integers of a team of OpenMP's threads and their address, or None."""
    functions = ctypes.CDLL(library)
    state = np.zeros(_SIZE, np.int64)
    names = {_FORK: "GOMP_parallel", _NUMBER: "omp_get_thread_num", _COUNT: "omp_get_num_threads"}
    for place, name in names.items():
        function = getattr(functions, name, None)
        if function is None:
            return None
        state[place] = ctypes.cast(function, ctypes.c_void_p).value or 0
    source = "def call(job):\n    run_part(job)\n"
    state[_PART] = jit.address(source, {"run_part": _run_part}, types.void(types.int64), "")
    return state, state.ctypes.data


def address_of_openmp(library: str, number: int) -> int:
    """Return the address of a team of threads of the OpenMP that a library is linked with.

    It is our own team where there is none, and in a process that was forked, whose OpenMP waits for
    threads that it has not.
    """
    if number == 1:
        return 0
    found = _openmp(library) if os.getpid() == _process else None
    if found is None:
        return address()
    state, place = found
    state[_THREADS] = number
    return int(place)


def _start() -> None:
    """Start a team; the last one ends, unless it is of the process that was forked."""
    global _state, _made_for
    if _made_for is not None and _made_for[0] == os.getpid():
        _end(_state)
    number, state = threads.get_num_threads(), np.zeros(_SIZE, np.int64)
    if number > 1:
        state[_THREADS] = number
        source = "def call(team, allowed):\n    serve(team, allowed)\n"
        run = jit.entry_point(source, {"serve": _serve}, types.void(*[types.int64] * 2))
        c = ctypes.CDLL(None)
        state[_PROCESSOR] = c.sched_getcpu() if IS_LINUX else -1
        c.pthread_mutex_init(_place(state, _MUTEX), None)
        for condition in (_HAS_WORK, _IS_DONE):
            c.pthread_cond_init(_place(state, condition), None)
        for i in range(1, number):
            name = f"activations_xp_{i}"
            threading.Thread(target=_keep, args=(run, state), name=name, daemon=True).start()
    _state, _made_for = state, (os.getpid(), threads.generation)


def _keep(run: Callable[[int, int], None], state: Any) -> None:
    allowed = np.zeros(2 * _PROCESSORS, np.uint64)
    for processor in os.sched_getaffinity(0) if IS_LINUX else ():
        if processor < 64 * _PROCESSORS:
            allowed[processor // 64] |= np.uint64(1 << processor % 64)
    run(state.ctypes.data, allowed.ctypes.data)  # memory lives as long as the threads


def _place(state: Any, index: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(state.ctypes.data + 8 * index)


def _end(state: Any) -> None:
    if state[_THREADS] > 1:
        c, mutex = ctypes.CDLL(None), _place(state, _MUTEX)
        c.pthread_mutex_lock(mutex)
        state[_IS_OVER] = 1
        c.pthread_cond_broadcast(_place(state, _HAS_WORK))
        c.pthread_mutex_unlock(mutex)
