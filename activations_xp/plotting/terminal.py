"""The picture of a function in characters, drawn by plotext."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from .curves import Curve, view
from .sampling import sample
from .tables import Bars, Grid

_ASCII = str.maketrans({"─": "-", "│": "|", **dict.fromkeys("┌┐└┘┤├┬┴┼", "+")})


def graph(
    function: Any, parameters: dict[str, Any] | None = None, *, width: int = 80, ascii: bool = False
) -> str:
    """Return the picture of a function as lines of text, or "" where there is none to draw.

    Parameters
    ----------
    function, parameters
        As of `sample`.
    width : int, optional
        The number of columns.
    ascii : bool, optional
        Whether only ASCII characters are used.

    Raises
    ------
    ImportError
        If plotext is not installed.
    """
    import plotext

    pictures = sample(function, parameters, num=8 * width)
    first = pictures[0]
    if isinstance(first, Grid):
        return _table(first)
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, int(np.clip(width // 5, 12, 20)))
    if isinstance(first, Bars):
        caption = _draw_bars(figure, first)
    else:
        curves = [picture for picture in pictures if isinstance(picture, Curve)]
        caption = _draw_curves(figure, curves, ("*", "+") if ascii else ("braille", "·"))
    text = str(figure.build().string(colorless=True))
    figure.clear()
    lines = [line.rstrip() for line in (text.translate(_ASCII) if ascii else text).splitlines()]
    lines += [line.center(width).rstrip() for line in textwrap.wrap(caption, width)]
    return "\n".join(lines) + "\n"


def _draw_curves(figure: Any, curves: Sequence[Curve], markers: tuple[str, str]) -> str:
    """Draw curves, the derivative of one in another character, and return the caption."""
    low, high = view(curves)
    others = [curves[0].dy] if len(curves) == 1 else [curve.y for curve in curves[1:]]
    lines = [(curves[0].y, markers[0]), *((y, markers[1]) for y in others if y is not None)]
    for y, marker in lines[::-1]:  # the function is in front
        shown = (y >= low) & (y <= high)  # NaN is not
        points = curves[0].x[shown].tolist(), y[shown].tolist()
        figure.draw(figure.signal(*points, marker=marker))
    left, right = curves[0].x[[0, -1]].tolist()
    for axis, start, stop in (("x", left, right), ("y", low, high)):
        ticks = _ticks(start, stop)
        ruler = figure.ruler(axis)
        ruler.lim(start, stop)
        ruler.ticks(ticks, [f"{tick:g}" for tick in ticks])
    name = "derivative" if len(curves) == 1 else curves[-1].label
    xlabel = curves[0].xlabel.removeprefix("x")
    with_other = f", {markers[1] * 3} {name}" if len(lines) > 1 else ""
    return f"{curves[0].label}{with_other}{f' ({xlabel})' if xlabel else ''}"


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers between the ends of an axis."""
    power = 10.0 ** np.floor(np.log10(high - low))
    step = next(s * power / 10 for s in (2, 5, 10, 20) if (high - low) / (s * power / 10) < 6)
    return [float(n * step) for n in range(int(np.ceil(low / step)), int(high // step) + 1)]


def _draw_bars(figure: Any, bars: Bars) -> str:
    """Draw a bar for each result, with the input below, and return the caption."""
    size = bars.values.shape[1]
    places = np.add.outer(np.arange(len(bars.rows)) * (size + 1), np.arange(size)).ravel()
    figure.draw(figure.bar(places.tolist(), bars.values.ravel().tolist(), marker="#", width=0.7))
    ticks = [text for row in bars.rows.values() for text in row]
    figure.ruler("x").ticks(places.tolist(), ticks)
    return f"{bars.label} of {', '.join(bars.rows)}"


def _table(grid: Grid) -> str:
    """Return a matrix with the names of its rows and columns, if it has them."""
    if not grid.rows:
        return ""
    cells = [[f"{v:.2f}" if np.isfinite(v) else "" for v in row] for row in grid.values]
    lines = [("", *grid.columns), *((n, *row) for n, row in zip(grid.rows, cells, strict=True))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
    return "\n".join([f"{grid.label}: {grid.ylabel} by {grid.xlabel}", *body]) + "\n"
