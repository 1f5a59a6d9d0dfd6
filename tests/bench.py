"""How long every function takes, beside the best of what else there is for the same array.

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
from common import named_by, needed

import activations_xp as ax

SIZES = (8, 100_000, 10_000_000)
DOCS = Path(__file__).parents[1] / "docs"
SECONDS = 0.25
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
    rounds = min(max(5, int(SECONDS / (number * sum(once)))), 200)
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, column in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(number):
                call()
            column.append((time.perf_counter() - start) / number)
    own, *others = times
    ratios = [statistics.median(b / a for a, b in zip(own, o, strict=True)) for o in others]
    best = min(range(len(ratios)), key=ratios.__getitem__)
    return Figure(statistics.median(own), list(theirs)[best], ratios[best])


def _either(name: str) -> Callable[[Any], Any]:
    """Of an array or of a Python number, which stays one and so leaves float32 what it is."""
    own = getattr(math, name)
    other = getattr(scipy.special if name.startswith("erf") else np, name)
    return lambda v: own(v) if isinstance(v, (int, float)) else other(v)


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
"""What one writes in NumPy where the formula is not what one would."""


def formula(definition: Any) -> Callable[[Any], Any] | None:
    """The definition's formula in NumPy's functions."""
    if definition.name in FORMULAS or definition.axis is not None:
        return FORMULAS.get(definition.name)
    code = compile(definition.formula, "<formula>", "eval")
    given = {**definition.defaults, **definition.variants[0].parameters}
    if not set(code.co_names) <= {*WORDS, *given, "x"}:
        return None
    return lambda x: eval(code, WORDS, {**given, "x": x})


def same(ours: Any, theirs: Any) -> bool:
    a, b = (np.asarray(v, np.float64) for v in (ours, theirs))
    return a.shape == b.shape and bool(np.nanmax(np.abs(a - b) / (1 + np.abs(b))) < 1e-3)


def kept(kind: str, name: str, ours: Call, theirs: dict[str, Call]) -> Iterator[Entry]:
    """The entry, with those that give the same."""
    value = ours()
    good = {}
    for peer, call in theirs.items():
        try:
            if same(value, call()):
                good[peer] = call
        except (TypeError, RuntimeError):  # other parameters, or no such dtype
            continue
    if good:
        yield Entry(kind, name, ours, good)


def on_numpy(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    function = functools.partial(function, **needed(function))
    theirs: dict[str, Call] = {}
    plain = formula(definition)
    if plain is not None:
        theirs["NumPy"] = functools.partial(plain, x)
    own = named_by(definition, "scipy")
    if own is not None:
        theirs["SciPy"] = functools.partial(own, x)
    other = named_by(definition, "torch")
    if other is not None:
        theirs["PyTorch"] = functools.partial(other, torch.from_numpy(x))
    with np.errstate(all="ignore"):
        yield from kept("NumPy", definition.name, functools.partial(function, x), theirs)


def on_torch(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    own = named_by(definition, "torch")
    if own is None or needed(function):
        return
    there = torch.from_numpy(x)
    theirs = {"PyTorch": functools.partial(own, there)}
    found = list(kept("torch", definition.name, functools.partial(function, there), theirs))
    yield from found
    if found and definition.derivative is not None:
        leaf, g = there.clone().requires_grad_(), torch.ones_like(there)

        def both(f: Any) -> Any:
            return torch.autograd.grad(f(leaf), leaf, g)[0]

        theirs = {"PyTorch": functools.partial(both, own)}
        ours = functools.partial(both, function)
        yield Entry("torch, forward and backward", definition.name, ours, theirs)


def on_jax(function: Any, x: Any) -> Iterator[Entry]:
    definition = function.definition
    own = named_by(definition, "jax")
    if own is None or needed(function):
        return
    there = jax.numpy.asarray(x)

    def ready(f: Any) -> Call:
        return lambda: f(there).block_until_ready()

    found = list(kept("JAX", definition.name, ready(function), {"jitted": ready(jax.jit(own))}))
    yield from found
    if found:
        theirs = {"jitted": ready(jax.jit(own))}
        yield Entry("JAX, jitted", definition.name, ready(jax.jit(function)), theirs)
    if found and definition.derivative is not None:
        ours, its = (ready(jax.jit(jax.grad(lambda x, f=f: f(x).sum()))) for f in (function, own))
        yield Entry("JAX, jitted gradient", definition.name, ours, {"jitted": its})


def figures(names: list[str], sizes: list[int]) -> dict[str, dict[str, dict[int, Figure]]]:
    """By kind of use, by name and by size."""
    table: dict[str, dict[str, dict[int, Figure]]] = {}
    everything = np.random.default_rng(0).normal(0, 3, max(sizes)).astype(np.float32)
    for name in names or ax.names():
        function = ax.get(name)
        if function.definition.axis not in (None, "kept"):
            continue
        low, high = function.definition.properties.defined
        for size in sizes:
            x = (
                np.clip(everything[:size], max(low, -8), min(high, 8))
                if low > -9
                else everything[:size]
            )
            if function.definition.axis == "kept":
                x = x.reshape(-1, min(size, 1000))
            for make in (on_numpy, on_torch, on_jax):
                for kind, _, ours, theirs in make(function, x):
                    figure = measured(ours, theirs)
                    table.setdefault(kind, {}).setdefault(name, {})[size] = figure
                    print(f"{kind:28} {name:16} {size:9} {figure}", file=sys.stderr, flush=True)
    return table


def page(table: dict[str, dict[str, dict[int, Figure]]]) -> Iterator[str]:
    versions = ", ".join(f"{n} {version(n)}" for n in ("numpy", "torch", "jax", "scipy"))
    yield f"""# Performance

Times and ratios in float32, `nox -s bench` on {_processor()}, {ax.get_num_threads()} threads,
{datetime.date.today()}, {versions}.
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


def _count(size: int) -> str:
    return str(size) if size < 1000 else f"1e{round(math.log10(size))}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return re.findall(r"model name\s*:\s*(.+)", text)[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def pictures(table: dict[str, dict[str, dict[int, Figure]]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "activations_xp"
    folder = DOCS / "performance"
    folder.mkdir(exist_ok=True)
    rows = {name: row[max(row)] for name, row in table["NumPy"].items()}
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
    for name in ("relu", "softsign", "silu", "mish", "gelu", "softmax"):
        sizes = sorted(table["NumPy"].get(name, {}))
        axes.loglog(sizes, [table["NumPy"][name][s].seconds for s in sizes], "o-", label=name)
    copies = {s: np.ones(s, np.float32) for s in SIZES}
    floor = [measured(x.copy, {"": x.copy}).seconds for x in copies.values()]
    axes.loglog(SIZES, floor, "k--", label="copy of the array")
    axes.set_xlabel("elements, float32")
    axes.set_ylabel("seconds, NumPy")
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "sizes.svg", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sizes", nargs="*", type=lambda v: int(float(v)), default=[*SIZES])
    asked = parser.parse_args()
    torch.set_num_threads(ax.get_num_threads())
    result = figures(asked.names, asked.sizes)
    if not asked.names:
        (DOCS / "performance.md").write_text("".join(page(result)))
        pictures(result)
