"""Time every function beside the best of what else there is for the same array.

``nox -s bench`` writes the page ``docs/performance.md`` and its pictures; with names it prints what
is said of those. Ours and theirs take turns in one process, and the figure is the median of the
ratios, theirs over ours: above 1 ours is faster. The peers are those that the definitions name, as
far as they give the same values; on PyTorch and JAX what must have parameters is left out. For
NumPy they are the formula as it stands, in NumPy's functions with SciPy's erf and erfc, SciPy's
own, and PyTorch's on the same memory, with as many threads.
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
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
import torch
from oracle import FUNCTIONS, peak_memory, peer_of, required_parameters

import activations_xp as ax

SIZES = {
    "float32": [8, 1000, 100_000, 10_000_000],
    "float64": [1_000_000],
    "float16": [1_000_000],
    "bfloat16": [1_000_000],
}
LARGE = SIZES["float32"][-1]
DOCS = Path(__file__).parents[2] / "docs"
SECONDS = 0.15
"""For all that is compared at once, at the least: small arrays have many rounds of many calls."""

Call = Callable[[], Any]


class Entry(NamedTuple):
    """One function in one way of use: ours, and theirs by name."""

    kind: str
    name: str
    ours: Call
    theirs: dict[str, Call]


class Figure(NamedTuple):
    """Seconds of ours, the fastest of theirs, and how many times as long that takes."""

    seconds: float
    peer: str
    ratio: float

    def __str__(self) -> str:
        return f"{_time(self.seconds)} | {self.ratio:.2f} {self.peer}"


def _time(seconds: float) -> str:
    unit, factor = ("us", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{seconds * factor:.3g} {unit}"


def measured(ours: Call, theirs: dict[str, Call]) -> Figure:
    """They take turns, so that what else goes on in the machine meets all of them."""
    calls = [ours, *theirs.values()]
    once = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        once.append(time.perf_counter() - start)
    number = max(1, int(1e-3 / max(once)))
    rounds = min(max(5, int(SECONDS / (number * sum(once)))), 100)
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, column in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(number):
                call()
            column.append((time.perf_counter() - start) / number)
    ours, *others = times
    ratios = [statistics.median(b / a for a, b in zip(ours, o, strict=True)) for o in others]
    best = min(range(len(ratios)), key=ratios.__getitem__)
    return Figure(statistics.median(ours), list(theirs)[best], ratios[best])


def _either(name: str) -> Callable[[Any], Any]:
    """Return a function of arrays and of numbers, which stay such and leave float32 what it is."""
    of_number = getattr(math, name)
    other = getattr(scipy.special if name.startswith("erf") else np, name)
    return lambda v: of_number(v) if isinstance(v, (int, float)) else other(v)


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
"""Functions as one writes them in NumPy, where one would not write the formula."""


def formula(definition: Any) -> Callable[[Any], Any] | None:
    """The definition's formula in NumPy's functions."""
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
    """One of the same memory."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def comparable(kind: str, name: str, ours: Call, theirs: dict[str, Call]) -> Iterator[Entry]:
    """The entry, with those that give the same."""
    value = ours()
    good = {}
    for peer, call in theirs.items():
        try:
            if agree(value, call()):
                good[peer] = call
        except (TypeError, RuntimeError):  # other parameters, or no such dtype
            continue
    if good:
        yield Entry(kind, name, ours, good)


def on_numpy(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    function = functools.partial(function, **required_parameters(function))
    theirs: dict[str, Call] = {}
    plain = formula(definition)
    if plain is not None:
        theirs["NumPy"] = functools.partial(plain, x)
    peer = peer_of(definition, "scipy")
    if peer is not None:
        theirs["SciPy"] = functools.partial(peer, x)
    other = peer_of(definition, "torch")
    if other is not None:
        theirs["PyTorch"] = functools.partial(other, tensor(x))
    with np.errstate(all="ignore"):
        yield from comparable("NumPy", definition.name, functools.partial(function, x), theirs)


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function as ``torch.compile`` makes it.

    Each has its own code, by which the compiler remembers; what is not Python it leaves alone.
    """
    result: Callable[[Any], Any] = torch.compile(eval("lambda x: f(x)", {"f": function}))
    return result


def on_torch(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    peer = peer_of(definition, "torch")
    if peer is None or required_parameters(function):
        return
    there = tensor(x)
    theirs = {"PyTorch": functools.partial(peer, there)}
    entries = list(comparable("torch", definition.name, functools.partial(function, there), theirs))
    yield from entries
    if entries and x.size == LARGE:
        ours, its = (functools.partial(compiled(f), there) for f in (function, peer))
        yield Entry("torch, compiled", definition.name, ours, {"PyTorch": its})
    if entries and definition.derivative is not None:
        leaf, g = there.clone().requires_grad_(), torch.ones_like(there)

        def both(f: Any) -> Any:
            return torch.autograd.grad(f(leaf), leaf, g)[0]

        theirs = {"PyTorch": functools.partial(both, peer)}
        ours = functools.partial(both, function)
        yield Entry("torch, forward and backward", definition.name, ours, theirs)


def on_jax(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    peer = peer_of(definition, "jax")
    if peer is None or required_parameters(function):
        return
    there = jax.numpy.asarray(x)

    def ready(f: Any) -> Call:
        return lambda: f(there).block_until_ready()

    entries = list(
        comparable("JAX", definition.name, ready(function), {"jitted": ready(jax.jit(peer))})
    )
    yield from entries
    if entries:
        theirs = {"jitted": ready(jax.jit(peer))}
        yield Entry("JAX, jitted", definition.name, ready(jax.jit(function)), theirs)
    if entries and definition.derivative is not None:
        ours, its = (ready(jax.jit(jax.grad(lambda x, f=f: f(x).sum()))) for f in (function, peer))
        yield Entry("JAX, jitted gradient", definition.name, ours, {"jitted": its})


Table = dict[str, dict[str, dict[int, Figure]]]


def inputs(function: Any, dtype: str, size: int, everything: Any) -> Any:
    """Numbers at which the function is a real number; along an axis, rows of a thousand."""
    low, high = function.definition.properties.domain
    x = everything[:size]
    if low > -9:
        x = np.clip(x, max(low, -8), min(high, 8))
    if function.definition.output_axis == "kept":
        x = x.reshape(-1, min(size, 1000))
    return x.astype(dtype)


def figures(names: list[str], sizes: dict[str, list[int]]) -> Table:
    """By kind of use, by name and by size."""
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
                    figure = measured(ours, theirs)
                    table.setdefault(kind, {}).setdefault(name, {})[size] = figure
                    print(f"{kind:36} {name:16} {size:9} {figure}", file=sys.stderr, flush=True)
    return table


class Share(NamedTuple):
    """The gain by threads: seconds with one and with all, and the bytes beyond the result."""

    alone: float
    together: float
    memory: int

    def __str__(self) -> str:
        times = f"{_time(self.alone)} | {_time(self.together)} | {self.alone / self.together:.2f}"
        return f"{times} | {self.memory / 2**20:.1f} MB"


def shares(names: list[str], size: int) -> dict[str, Share]:
    """Return the gain by threads, and the memory, of large NumPy arrays."""
    table = {}
    everything = np.random.default_rng(0).normal(0, 3, size).astype(np.float32)
    threads = ax.get_num_threads()
    for name in names:
        function = functools.partial(ax.get(name), **required_parameters(ax.get(name)))
        x = inputs(ax.get(name), "float32", size, everything)
        y = function(x)

        def alone(function: Any = function, x: Any = x) -> None:
            ax.set_num_threads(1)
            function(x)
            ax.set_num_threads(threads)

        figure = measured(functools.partial(function, x), {"1": alone})
        memory = max(0, peak_memory(functools.partial(function, x)) - y.nbytes)
        table[name] = Share(figure.seconds * figure.ratio, figure.seconds, memory)
        print(f"{name:16} {table[name]}", file=sys.stderr, flush=True)
    return table


def conditions() -> str:
    """On what the figures were taken, and when."""
    versions = ", ".join(f"{n} {version(n)}" for n in ("numpy", "torch", "jax", "scipy"))
    threads = f"{ax.get_num_threads()} threads"
    return f"{_processor()}, {threads},\n{datetime.date.today()}, {versions}"


def page(table: Table, gains: dict[str, Share]) -> Iterator[str]:
    yield f"""# Performance

Times and ratios in float32, `nox -s bench` on {conditions()}.
Behind each time of ours stands how many times as long the fastest of the others takes: above 1
ours is faster. All take turns in one process; the figures are medians. For NumPy the others are
the formula as it stands in NumPy's functions (with SciPy's erf), SciPy's own and PyTorch's on the
same memory, of as many threads.

![How many times as fast as the best of the others](performance/numpy.svg)

![Time by size](performance/sizes.svg)
"""
    for kind, rows in table.items():
        sizes = sorted({size for row in rows.values() for size in row})
        yield f"\n## {kind}\n\n"
        for size in sizes:
            ratios = [row[size].ratio for row in rows.values() if size in row]
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            yield f"* {_count(size)} elements: geometric mean {mean:.2f}, least {min(ratios):.2f}\n"
        heads = " | ".join(f"{_count(size)} | best of the others" for size in sizes)
        yield f"\n| function | {heads} |\n|:--{'|--:|:--' * len(sizes)}|\n"
        for name, row in rows.items():
            cells = " | ".join(str(row[size]) if size in row else " | " for size in sizes)
            yield f"| {name} | {cells} |\n"
    yield f"""
## Threads and memory

NumPy, {_count(LARGE)} elements in float32: with one thread, with {ax.get_num_threads()}, how many
times as fast that is, and what is allocated beyond the result.

| function | 1 | {ax.get_num_threads()} | gain | memory |
|:--|--:|--:|--:|--:|
"""
    for name, share in gains.items():
        yield f"| {name} | {share} |\n"


def _count(size: int) -> str:
    return str(size) if size < 1000 else f"1e{round(math.log10(size))}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return re.findall(r"model name\s*:\s*(.+)", text)[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def growth() -> dict[str, dict[int, float]]:
    """Seconds by size for some functions, and for the copy of the array."""
    table: dict[str, dict[int, float]] = {}
    x = np.random.default_rng(0).normal(0, 3, 10**8).astype(np.float32)
    for name in ("relu", "softsign", "silu", "mish", "gelu", "softmax", "copy of the array"):
        function = getattr(ax, name, np.copy)
        for size in (8, 100, 1000, 10**4, 10**5, 10**6, 10**7, 10**8):
            part = x[:size].reshape(-1, min(size, 1000))
            seconds = measured(functools.partial(function, part), {"": lambda: None}).seconds
            table.setdefault(name, {})[size] = seconds
        row = {size: round(value * 1e9 / size, 2) for size, value in table[name].items()}
        print(f"{name:18} ns an element {row}", file=sys.stderr, flush=True)
    return table


def pictures(table: Table) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "activations_xp"
    folder = DOCS / "performance"
    folder.mkdir(exist_ok=True)
    rows = {name: row[LARGE] for name, row in table["NumPy"].items() if LARGE in row}
    order = sorted(rows, key=lambda name: rows[name].ratio)
    figure, axes = pyplot.subplots(figsize=(8, 0.2 * len(order) + 1))
    colours = {"NumPy": "C0", "SciPy": "C1", "PyTorch": "C2"}
    axes.barh(order, [rows[n].ratio for n in order], color=[colours[rows[n].peer] for n in order])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("time of the fastest other over ours, 1e7 float32; above 1 ours is faster")
    for peer, colour in colours.items():
        axes.barh(order[:1], [0], color=colour, label=peer)
    axes.legend(title="the fastest other", loc="lower right")
    axes.margins(y=0.01)
    figure.tight_layout()
    figure.savefig(folder / "numpy.svg", metadata={"Date": None})

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, row in growth().items():
        style = "k--" if name.startswith("copy") else "o-"
        axes.loglog([*row], [*row.values()], style, label=name)
    axes.set_xlabel("elements, float32")
    axes.set_ylabel("seconds, NumPy")
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "sizes.svg", metadata={"Date": None})


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
        (DOCS / "performance.md").write_text("".join(page(result, shares(every, LARGE))))
        pictures(result)
