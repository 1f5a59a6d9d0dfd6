"""The pictures of the site and of README, each drawn with Matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from activations_xp._catalog import Entry

from . import measured

INK = {"light": "#24292f", "dark": "#e6edf3", "both": "#7d8590"}
"""The colours of text and axes on a light page, on a dark one, and on either."""

OURS, TORCH, JAX, SCIPY, GREY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#7d8590"
"""Colours that colour-blind people tell apart (Okabe and Ito)."""


def svg(draw: Callable[[Figure], None], size: tuple[float, float], scheme: str = "both") -> str:
    """Return what a function draws on a transparent figure, as SVG that is always the same."""
    ink = INK[scheme]
    style = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), ink),
        **dict.fromkeys(("xtick.color", "ytick.color"), ink),
        "axes.facecolor": "none",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "none",
        "font.size": 10,
        "legend.frameon": False,
        "svg.fonttype": "path" if scheme in ("light", "dark") else "none",
        "svg.hashsalt": "activations_xp",
    }
    with matplotlib.rc_context(style):
        figure = Figure(size, layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


# measured figures


def overview(figure: Figure) -> None:
    """Draw the mean ratios by kind of use and by size."""
    axes = figure.subplots()
    means = measured.overview()
    width = 0.8 / len(means)
    for i, (kind, row) in enumerate(means.items()):
        axes.bar([j + i * width for j in range(len(row))], [*row.values()], width, label=kind)
    sizes = [measured.format_count(int(size)) for size in measured.FLOAT32]
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xticks([j + 0.4 - width / 2 for j in range(len(sizes))], [f"{s} elements" for s in sizes])
    axes.set_ylabel("fastest alternative / ours")
    axes.set_title("Above 1 ours is faster")
    axes.legend()


def each_function(figure: Figure) -> None:
    """Draw the ratio of each function for a large array of NumPy."""
    rows = {
        name: row[measured.FLOAT32[-1]]
        for name, row in measured.performance()["times"]["NumPy with Numba"].items()
        if measured.FLOAT32[-1] in row
    }
    order = sorted(rows, key=lambda name: rows[name][2])
    axes = figure.subplots()
    colours = {"NumPy": OURS, "SciPy": SCIPY, "PyTorch": TORCH}
    for peer, colour in colours.items():
        shown = [i for i, name in enumerate(order) if rows[name][1] == peer]
        axes.barh(shown, [rows[order[i]][2] for i in shown], color=colour, label=peer)
    axes.set_yticks(range(len(order)), order, fontsize=7)
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("time of the fastest alternative / ours, 1e7 float32; above 1 ours is faster")
    axes.legend(title="the fastest other", loc="lower right")
    axes.margins(y=0.01)


def growth(figure: Figure) -> None:
    """Draw the time by size of some functions."""
    axes = figure.subplots()
    for name, row in measured.performance()["growth"].items():
        style = {"color": GREY, "linestyle": "--"} if name.startswith("copy") else {"marker": "o"}
        axes.loglog([*map(int, row)], [*row.values()], label=name, **style)
    axes.set_xlabel("elements, float32")
    axes.set_ylabel("seconds, NumPy with Numba")
    axes.legend()


def beside_peers(figure: Figure) -> None:
    """Draw for each function how fast and how exact it is beside its peers, a dot a function."""
    figure.suptitle("Each dot is a function")
    fast, exact = figure.subplots(1, 2)
    kinds = {"NumPy with Numba": "NumPy", "torch": "PyTorch", "JAX": "JAX"}
    size = measured.FLOAT32[-1]
    times = measured.performance()["times"]
    ratios = [[row[size][2] for row in times[kind].values() if size in row] for kind in kinds]
    _dots(fast, ratios, [*kinds.values()], [OURS] * 3, "{:.1f} times as fast")
    fast.axvline(1, color=GREY, linewidth=0.8)
    fast.set_title("How fast, on arrays of ...", loc="left", fontsize=11)
    fast.set_xlabel("time of the fastest alternative / ours")
    columns = {"torch": TORCH, "jax": JAX, "scipy": SCIPY}
    of_peers = {peer: measured.errors("float32", f"peer {peer}") for peer in columns}
    shared = set().union(*of_peers.values())
    ours = [
        max(measured.errors("float32", library)[case] for library in ("numpy", "torch", "jax"))
        for case in sorted(shared)
    ]
    errors = [ours, *([*found.values()] for found in of_peers.values())]
    labels = ["activations_xp", "torch", "jax.nn", "SciPy"]
    _dots(exact, errors, labels, [OURS, *columns.values()], "largest {:.1f}", summary=max)
    exact.axvspan(exact.get_xlim()[0], 5, color=OURS, alpha=0.12, linewidth=0)
    exact.set_title("How exact, in float32", loc="left", fontsize=11)
    exact.set_xlabel("largest error, units in the last place")


def _dots(
    axes: Any,
    groups: list[list[float]],
    labels: list[str],
    colours: list[str],
    text: str,
    summary: Callable[[list[float]], float] = measured.mean,
) -> None:
    """Draw a row of dots for each group of positive numbers, with a summary above it."""
    finite = [v for group in groups for v in group if 0 < v < math.inf]
    low, high = min(0.4, min(finite)), 4 * max(finite)
    for i, (group, colour) in enumerate(zip(groups, colours, strict=True)):
        shown = [min(max(v, low), high) for v in group]
        spread = [-i + 0.12 * ((7 * j) % 5 - 2) for j in range(len(group))]
        axes.scatter(shown, spread, s=22, color=colour, alpha=0.65, linewidth=0)
        axes.annotate(
            text.format(summary(group)).replace("inf", "infinite"),
            (1, -i + 0.36),
            xycoords=("axes fraction", "data"),
            ha="right",
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.set_yticks([-i for i in range(len(labels))], labels)
    axes.tick_params("y", length=0)
    axes.set_ylim(-len(labels) + 0.5, 0.7)


# functions


def curve(entry: Entry, *, small: bool = False) -> str:
    """Return the picture of a function as SVG."""
    import numpy as np
    if not entry.definition.is_elementwise or not entry.definition.cases:
        return "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 160 110'></svg>\n"
    low, high = (max(-6, entry.definition.properties.domain[0]), min(6, entry.definition.properties.domain[1]))
    x = np.linspace(low, high, 100)
    try:
        y = entry.function(x, **entry.definition.cases[0].parameters)
    except Exception:
        y = x
    y = np.nan_to_num(np.clip(y, -3, 5))
    points = " ".join(f"{80 + a * 13:.1f},{70 - b * 13:.1f}" for a, b in zip(x, y))
    return f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 160 110'><polyline points='{points}' fill='none' stroke='#3b82c4' stroke-width='3'/></svg>\n"
