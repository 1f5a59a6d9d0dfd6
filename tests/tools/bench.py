"""Measure the time of every function, and of the fastest alternative for the same array.

``nox -s bench`` writes ``docs/data/performance.json``, which the site and ``nox -s tables`` make
tables and pictures of. With names of functions it prints the figures of these. All calls take turns
in one process, and a ratio is the median of the alternative's time over ours: above 1 ours is
faster. The alternatives on PyTorch and JAX are the library's functions that the definitions name,
if they return the same values; functions with required parameters are left out. On NumPy they are
the formula in NumPy's functions with SciPy's erf and erfc, SciPy's function, and PyTorch's on the
same memory, with as many threads; without Numba they are the formula alone.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import itertools
import math
import platform
import re
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
import torch
from oracle import FUNCTIONS, peak_memory, peer_of, required_parameters
from tools.records import format_time, write

import activations_xp as ax

SIZES = {
    "float32": [8, 1000, 100_000, 10_000_000],
    "float64": [1_000_000],
    "float16": [1_000_000],
    "bfloat16": [1_000_000],
}
LARGE = SIZES["float32"][-1]
SECONDS = 0.15
"""The time to spend on each comparison. Small arrays have many rounds of many calls."""

PAUSE = 0.004

Call = Callable[[], Any]


class Entry(NamedTuple):
    """A function in one kind of use: our call, and the others by name."""

    kind: str
    name: str
    ours: Call
    theirs: dict[str, Call]


class Figure(NamedTuple):
    """Our time in seconds, the name of the fastest other, and its time over ours."""

    seconds: float
    peer: str
    ratio: float

    def __str__(self) -> str:
        return f"{format_time(self.seconds)} | {self.ratio:.2f} {self.peer}"


def measured(ours: Call, theirs: dict[str, Call]) -> Figure:
    """Measure calls that take turns, so that other load on the machine slows all of them.

    Between turns is a pause where several threads may compute: those of OpenMP look for work for
    milliseconds after a call, and would take the processor of the next one's threads.
    """
    calls = [ours, *theirs.values()]
    once = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        once.append(time.perf_counter() - start)
    number = max(1, int(1e-3 / max(once)))
    pause = PAUSE if max(once) > 1e-5 else 0.0
    rounds = min(max(5, int(SECONDS / (number * sum(once) + pause * len(calls)))), 100)
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, column in zip(calls, times, strict=True):
            time.sleep(pause)
            start = time.perf_counter()
            for _ in range(number):
                call()
            column.append((time.perf_counter() - start) / number)
    first, *others = times
    ratios = [statistics.median(b / a for a, b in zip(first, o, strict=True)) for o in others]
    best = min(range(len(ratios)), key=ratios.__getitem__)
    return Figure(statistics.median(first), list(theirs)[best], ratios[best])


def _either(name: str) -> Callable[[Any], Any]:
    """Return a function of arrays and of Python numbers, which stay so and do not widen float32."""
    of_number = getattr(math, name)
    of_array = getattr(scipy.special if name.startswith("erf") else np, name)
    return lambda v: of_number(v) if isinstance(v, (int, float)) else of_array(v)


WORDS: dict[str, Any] = {
    **{name: _either(name) for name in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos")},
    **{name: _either(name) for name in ("tanh", "erf", "erfc")},
    **{name: getattr(np, name) for name in ("abs", "clip", "maximum", "minimum", "where")},
    **{"max": np.max, "sum": np.sum, "inf": math.inf, "pi": math.pi},
}
FORMULAS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "softmax": lambda x: (e := np.exp(x - np.max(x, -1, keepdims=True))) / np.sum(e, -1)[..., None],
}
"""The usual code in NumPy where it is not the formula."""


def formula(definition: Any) -> Callable[[Any], Any] | None:
    """Return the formula of a definition in NumPy's functions, or None if they do not suffice."""
    if definition.name in FORMULAS or definition.output_axis is not None:
        return FORMULAS.get(definition.name)
    code = compile(definition.formula, "<formula>", "eval")
    given = {**definition.defaults, **definition.cases[0].parameters}
    if not set(code.co_names) <= {*WORDS, *given, "x"}:
        return None
    return lambda x: eval(code, WORDS, {**given, "x": x})


def agree(ours: Any, theirs: Any) -> bool:
    a, b = (np.asarray(_numpy(v), np.float64) for v in (ours, theirs))
    close = 0.02 if "16" in str(ours.dtype) else 1e-3
    return a.shape == b.shape and bool(np.nanmax(np.abs(a - b) / (1 + np.abs(b))) < close)


def _numpy(value: Any) -> Any:
    return value.double().numpy() if isinstance(value, torch.Tensor) else value


def tensor(x: Any) -> torch.Tensor:
    """Return a tensor that shares memory with x."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def comparable(kind: str, name: str, ours: Call, theirs: dict[str, Call]) -> Iterator[Entry]:
    """Yield an entry with the calls that return the same values, if there are any."""
    value = ours()
    same = {}
    for peer, call in theirs.items():
        try:
            if agree(value, call()):
                same[peer] = call
        except (TypeError, RuntimeError):  # it does not take these parameters or this dtype
            continue
    if same:
        yield Entry(kind, name, ours, same)


def on_numpy(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    function = functools.partial(function, **required_parameters(function))
    theirs: dict[str, Call] = {}
    plain = formula(definition)
    if plain is not None:
        theirs["NumPy"] = functools.partial(plain, x)
    of_scipy, of_torch = (peer_of(definition, library) for library in ("scipy", "torch"))
    if of_scipy is not None:
        theirs["SciPy"] = functools.partial(of_scipy, x)
    if of_torch is not None:
        theirs["PyTorch"] = functools.partial(of_torch, tensor(x))
    with np.errstate(all="ignore"):
        ours = functools.partial(function, x)
        yield from comparable("NumPy with Numba", definition.name, ours, theirs)
        theirs = {name: call for name, call in theirs.items() if name == "NumPy"}
        yield from comparable("NumPy without Numba", definition.name, ours, theirs)


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what ``torch.compile`` makes of a function.

    The compiler keeps its results by code object, and does not compile what is not Python.
    Therefore each function is called from a lambda of its own.
    """
    result: Callable[[Any], Any] = torch.compile(eval("lambda x: f(x)", {"f": function}))
    return result


def on_torch(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    peer = peer_of(definition, "torch")
    if peer is None or required_parameters(function):
        return
    x = tensor(x)
    theirs = {"PyTorch": functools.partial(peer, x)}
    entries = list(comparable("torch", definition.name, functools.partial(function, x), theirs))
    yield from entries
    if entries and x.numel() == LARGE:
        ours, other = (functools.partial(compiled(f), x) for f in (function, peer))
        yield Entry("torch, compiled", definition.name, ours, {"PyTorch": other})
    if entries and definition.derivative is not None:
        leaf, g = x.clone().requires_grad_(), torch.ones_like(x)

        def gradient(f: Any) -> Any:
            return torch.autograd.grad(f(leaf), leaf, g)[0]

        theirs = {"PyTorch": functools.partial(gradient, peer)}
        ours = functools.partial(gradient, function)
        yield Entry("torch, forward and backward", definition.name, ours, theirs)


def on_jax(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    peer = peer_of(definition, "jax")
    if peer is None or required_parameters(function):
        return
    x = jax.numpy.asarray(x)

    def ready(f: Any) -> Call:
        return lambda: f(x).block_until_ready()

    entries = list(
        comparable("JAX", definition.name, ready(function), {"jitted": ready(jax.jit(peer))})
    )
    yield from entries
    if entries:
        theirs = {"jitted": ready(jax.jit(peer))}
        yield Entry("JAX, jitted", definition.name, ready(jax.jit(function)), theirs)
    if entries and definition.derivative is not None:
        ours, other = (
            ready(jax.jit(jax.grad(lambda x, f=f: f(x).sum()))) for f in (function, peer)
        )
        yield Entry("JAX, jitted gradient", definition.name, ours, {"jitted": other})


Table = dict[str, dict[str, dict[int, Figure]]]


def choose_engine(kind: str, size: int) -> None:
    """Choose what computes NumPy arrays: with Numba small ones, too, which "auto" does without."""
    engine = "numba" if size < 2**15 and kind.startswith("NumPy") else "auto"
    ax.set_engine("numpy" if kind.startswith("NumPy without") else engine)


def inputs(function: Any, dtype: str, size: int, everything: Any) -> Any:
    """Return numbers in the domain of a function, in rows of 1000 if it works along an axis."""
    low, high = function.definition.properties.domain
    x = everything[:size]
    if low > -9:
        x = np.clip(x, max(low, -8), min(high, 8))
    if function.definition.output_axis == "kept":
        x = x.reshape(-1, min(size, 1000))
    return x.astype(dtype)


def figures(names: list[str], sizes: dict[str, list[int]]) -> Table:
    """Return the figures by kind of use, by name and by size."""
    table: Table = {}
    most = max(size for several in sizes.values() for size in several)
    everything = np.random.default_rng(0).normal(0, 3, most).astype(np.float32)
    for dtype, name in itertools.product(sizes, names):
        function = ax.get(name)
        for size in sizes[dtype]:
            x = inputs(function, dtype, size, everything)
            for make in (on_numpy, on_torch, on_jax):
                for kind, _, ours, theirs in make(function, x):
                    if dtype != "float32":
                        kind = f"{kind}, {dtype}"
                    choose_engine(kind, size)
                    figure = measured(ours, theirs)
                    table.setdefault(kind, {}).setdefault(name, {})[size] = figure
                    print(f"{kind:36} {name:16} {size:9} {figure}", file=sys.stderr, flush=True)
    return table


class ThreadFigure(NamedTuple):
    """The seconds with one thread and with all, and the bytes allocated beyond the result."""

    alone: float
    together: float
    memory: int

    def __str__(self) -> str:
        times = f"{format_time(self.alone)} | {format_time(self.together)}"
        return f"{times} | {self.alone / self.together:.2f} | {self.memory / 2**20:.1f} MB"


def thread_figures(names: list[str], size: int) -> dict[str, ThreadFigure]:
    """Measure the effect of threads, and the memory, for a large NumPy array."""
    table = {}
    everything = np.random.default_rng(0).normal(0, 3, size).astype(np.float32)
    threads = ax.get_num_threads()
    ax.set_engine("auto")
    for name in names:
        function = functools.partial(ax.get(name), **required_parameters(ax.get(name)))
        x = inputs(ax.get(name), "float32", size, everything)
        call = functools.partial(function, x)
        times = {}
        for number in (1, threads):  # in one block each: a change of their number starts others
            ax.set_num_threads(number)
            times[number] = timeit.repeat(call, number=1, repeat=10)[1:]
        memory = max(0, peak_memory(call) - function(x).nbytes)
        table[name] = ThreadFigure(*map(statistics.median, times.values()), memory)
        print(f"{name:16} {table[name]}", file=sys.stderr, flush=True)
    return table


def conditions() -> str:
    """Return the machine, the date and the versions of a measurement."""
    libraries = "numpy", "numba", "torch", "jax", "scipy"
    versions = ", ".join(f"{n} {version(n)}" for n in libraries)
    threads = f"{ax.get_num_threads()} threads"
    return f"{processor()}, {threads}, {datetime.date.today()}, {versions}"


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return re.findall(r"model name\s*:\s*(.+)", text)[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def growth() -> dict[str, dict[int, float]]:
    """Return the seconds by size for some functions, and for a copy of the array."""
    table: dict[str, dict[int, float]] = {}
    x = np.random.default_rng(0).normal(0, 3, 10**8).astype(np.float32)
    ax.set_engine("numba")
    for name in ("relu", "softsign", "silu", "mish", "gelu", "softmax", "copy of the array"):
        function = getattr(ax, name, np.copy)
        for size in (8, 100, 1000, 10**4, 10**5, 10**6, 10**7, 10**8):
            part = x[:size].reshape(-1, min(size, 1000))
            seconds = measured(functools.partial(function, part), {"": lambda: None}).seconds
            table.setdefault(name, {})[size] = seconds
        row = {size: round(value * 1e9 / size, 2) for size, value in table[name].items()}
        print(f"{name:18} ns an element {row}", file=sys.stderr, flush=True)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dtype", choices=SIZES)
    parser.add_argument("--sizes", nargs="*", type=lambda v: int(float(v)))
    asked = parser.parse_args()
    torch.set_num_threads(ax.get_num_threads())
    jax.config.update("jax_enable_x64", True)
    chosen = {asked.dtype: SIZES[asked.dtype]} if asked.dtype else SIZES
    if asked.sizes:
        chosen = dict.fromkeys(chosen, asked.sizes)
    every = [f.__name__ for f in FUNCTIONS if f.definition.keeps_shape]
    result = figures(asked.names or every, chosen)
    if asked == parser.parse_args([]):
        parts = {"conditions": conditions(), "threads": ax.get_num_threads(), "times": result}
        parts |= {"memory": thread_figures(every, LARGE), "growth": growth()}
        write("performance", parts)
