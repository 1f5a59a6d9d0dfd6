"""The pictures of the site and of README, each drawn with Matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from activations_xp.plotting import plot, render, sample
from activations_xp.plotting.drawing import COLOURS, NEUTRAL, RENDERED

from . import measured

INK = {"light": "#24292f", "dark": "#e6edf3", "both": "#7d8590"}
"""The colours of text and axes on a light page, on a dark one, and on either."""

OURS, TORCH, JAX, SCIPY, GREY = "#2f8fd0", "#e69f00", "#009e73", "#cc79a7", "#7d8590"
"""Colours that colour-blind people tell apart (Okabe and Ito), on light and on dark pages."""


def svg(draw: Callable[[Figure], None], size: tuple[float, float], scheme: str = "both") -> str:
    """Return what a function draws on a transparent figure, as SVG that is always the same."""
    style = {name: INK[scheme] if "color" in name else v for name, v in RENDERED.items()}
    style |= {"axes.facecolor": "none", "figure.facecolor": "none", "font.size": 10}
    if scheme != "both":  # where the text has the colour of one scheme, it has its shape, too
        style["svg.fonttype"] = "path"
    with matplotlib.rc_context(style):
        figure = Figure(size, layout="constrained")
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue().replace(COLOURS[0], OURS)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


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
    axes.set_xticks(
        [j + 0.4 - width / 2 for j in range(len(sizes))], [f"{s} elements" for s in sizes]
    )
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
        axes.scatter(shown, spread, s=22, color=colour, alpha=0.75, linewidth=0)
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


def graph(name: str) -> str:
    """Return the picture of a function and of its derivative, for its page."""
    return render(name, size=(5.4, 3.4)).decode().replace(COLOURS[0], OURS)


def small_graph(axes: Any, name: str) -> None:
    """Draw a function without words, for the gallery."""
    plot(name, derivative=False, ax=axes)
    legend = axes.get_legend()
    asymptotes = [line for line in axes.lines if line.is_dashed() and line.get_color() == NEUTRAL]
    for part in (*axes.texts, *asymptotes, *([legend] if legend else [])):
        part.remove()
    axes.set(xlabel="", ylabel="", title="", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    for line in axes.lines:
        if line.get_color() == COLOURS[0]:
            line.set_linewidth(2.2)


def thumbnail(name: str) -> str:
    """Return the small picture of a function."""
    return svg(lambda figure: small_graph(figure.subplots(), name), (1.6, 1.1))


STRIP = ("relu", "gelu", "mish", "hard_swish", "tanh", "softmax")
"""The functions at the top of README, each of another kind."""


def strip(figure: Figure) -> None:
    """Draw six functions side by side, with their names."""
    for axes, name in zip(figure.subplots(1, len(STRIP)), STRIP, strict=True):
        small_graph(axes, name)
        axes.set_title(name, fontsize=12)


def logo() -> str:
    """Return the logo: the curves of three functions in a square."""
    lines = []
    for name, colour in (("tanh", TORCH), ("relu", JAX), ("gelu", OURS)):
        (curve,) = sample(name, range=(-3.0, 3.0), num=41)
        points = " ".join(
            f"{32 + 9 * x:.1f},{40 - 9 * y:.1f}" for x, y in zip(curve.x, curve.y, strict=True)
        )
        lines.append(f'  <polyline points="{points}" stroke="{colour}"/>\n')
    look = 'fill="none" stroke-width="5" stroke-linecap="round" stroke-linejoin="round"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" {look}>\n'
    return head + "".join(lines) + "</svg>\n"
