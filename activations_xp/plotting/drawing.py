"""The drawing of pictures, on Axes of matplotlib."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._errors import needs_extra
from .accuracy import Errors, errors_of
from .curves import Asymptote, Curve, Floats, view
from .sampling import check_parameters, check_range, label_of, pictures_of, resolve
from .tables import Bars, Grid

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The colours of Okabe and Ito that are legible on white and on black, without yellow."""

STYLES = (
    "-",
    (0, (6, 2)),
    (0, (1, 1.5)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)
"""The dashes that tell the lines apart without colours."""

FLOOR = 0.05
"""The smallest error that is shown, for 0 has no place on a logarithmic axis."""

NEUTRAL = "#808080"
DASHED = (0, (4, 4))
"""The look of what explains, such as asymptotes."""

_TEXT = "#767676"  # as far from white as from black

RENDERED: dict[Any, Any] = {
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "activations_xp",  # the same picture is the same file
}
"""The settings of matplotlib for `render`: legible on light and on dark pages."""

_DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
"""The metadata that would differ from run to run."""


def plot(
    *functions: Any,
    derivative: bool = True,
    parameters: Mapping[str, Any] | None = None,
    range: tuple[float, float] | None = None,
    accuracy: bool = False,
    legend: bool = True,
    ax: Any = None,
) -> Any:
    """Draw functions and their derivatives.

    A function along an axis is drawn as bars of its results for a few rows, a random function as
    its mean and the band between its quantiles, a gated function as a curve of its gate, and
    attention as its weights.

    Parameters
    ----------
    *functions : str or callable
        Names or aliases, public functions, `functools.partial` objects of them, or layers.
    derivative : bool, optional
        Whether derivatives of curves are drawn, as thinner lines.
    parameters : mapping, optional
        Parameters of the functions that have them. A list has several values, each of which is a
        curve.
    range : pair of numbers, optional
        The ends of the x axis: by default -6 and 6, or more where a kink or a bound lies farther
        out.
    accuracy : bool, optional
        Whether the largest errors in float32, in units in the last place, are drawn instead, beside
        those of torch, JAX and SciPy where they are installed and have the function.
    legend : bool, optional
        Whether the functions are named in the picture, which small ones have no room for.
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default it is the Axes of a new figure of pyplot.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes that were drawn on.

    Raises
    ------
    ImportError
        If `ax` is not given and matplotlib is not installed.
    TypeError
        If there is no function, one is not of this package, or none has such a parameter.
    ValueError
        If the range is empty, a parameter is not valid, or the functions cannot share a picture.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from activations_xp.plotting import plot
    >>> ax = plot("silu", parameters={"beta": [0.5, 1.0, 2.0]}, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()][:2]
    ['silu, beta=0.5', 'silu, beta=1']
    """
    variants = _variants(functions, parameters or {})
    if accuracy:
        ends = check_range("plot", range)
        errors = [errors_of(function, given, label, ends) for function, given, label in variants]
        ax = _axes(ax)
        _draw_errors(ax, errors)
        if legend:
            ax.legend()
        return ax
    ends = check_range("plot", range, *(function.definition for function, *_ in variants))
    pictures: list[Any] = []
    for function, given, label in variants:
        pictures += pictures_of("plot", function, label, given, ends)
    kinds = {type(picture) for picture in pictures}
    if len(kinds) > 1 or (Grid in kinds and len(pictures) > 1):
        names = ", ".join(dict.fromkeys(label for *_, label in variants))
        raise ValueError(f"plot: {names} cannot share a picture; draw them apart")
    ax = _axes(ax)
    if kinds == {Curve}:
        _draw_curves(ax, pictures, derivative)
    elif kinds == {Bars}:
        _draw_bars(ax, pictures)
    else:
        _draw_grid(ax, *pictures)
    if legend and len(pictures) == 1 and kinds != {Curve}:
        ax.set_title(pictures[0].label)
    elif legend:
        # bars fill the Axes, curves leave a corner
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3}
        ax.legend(**(above if kinds == {Bars} else {}))
    return ax


def render(
    *functions: Any, format: str = "svg", size: tuple[float, float] = (6.0, 4.0), **options: Any
) -> bytes:
    """Return the file of a picture, with a transparent background and nothing that varies.

    Parameters
    ----------
    *functions, **options
        As of `plot`.
    format : str, optional
        One that matplotlib writes, such as "svg", "png" or "pdf". Text in SVG stays text.
    size : pair of numbers, optional
        The width and the height in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(RENDERED):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        plot(*functions, ax=figure.subplots(), **options)
        file = io.BytesIO()
        figure.savefig(file, format=format, transparent=True, dpi=150, metadata=_DATES.get(format))
    return file.getvalue()


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    with needs_extra("plot draws with matplotlib", "plot"):
        import matplotlib.pyplot as plt
    return plt.subplots(layout="constrained")[1]


def _variants(
    functions: Sequence[Any], parameters: Mapping[str, Any]
) -> list[tuple[Any, dict[str, Any], str]]:
    """Return each function with each choice of the parameters that it has, and a label."""
    if not functions:
        raise TypeError("plot: at least one function is needed")
    resolved = [resolve(function) for function in functions]
    for name in parameters:
        if all(name not in function.definition.parameters for function, *_ in resolved):
            check_parameters("plot", resolved[0][0].definition, {name: None})
    variants = []
    for function, bound, label in resolved:
        own = {n: v for n, v in parameters.items() if n in function.definition.parameters}
        values = [v if isinstance(v, list) else [v] for v in own.values()]
        if [] in values:
            raise ValueError(f"plot: {', '.join(n for n in own if own[n] == [])} has no values")
        for choice in itertools.product(*values):
            given = dict(zip(own, choice, strict=True))
            # an alias says what it binds
            told = given if label != function.__name__ else {**bound, **given}
            variants.append((function, {**bound, **given}, label_of(label, told)))
    return variants


def looks() -> Iterator[tuple[str, Any]]:
    """Yield colours with dashes, which pair anew when all colours have been used."""
    for i in itertools.count():
        yield COLOURS[i % len(COLOURS)], STYLES[(i + i // len(COLOURS)) % len(STYLES)]


def _draw_curves(ax: Any, curves: Sequence[Curve], derivative: bool) -> None:
    """Draw curves, each with a colour and dashes of its own, above what explains them."""
    is_alone, has_others = len(curves) == 1, ax.has_data()
    for curve, (colour, dashes) in zip(curves, looks(), strict=False):
        own = {"color": colour, "linestyle": dashes}
        for label, line in curve.context.items():
            ax.plot(curve.x, line, color=NEUTRAL, linewidth=0.8, gid=label)
        for asymptote in curve.asymptotes:
            _draw_asymptote(ax, curve, asymptote)
        if curve.low is not None:
            label = f"{curve.label}, in training"
            ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(curve.x, curve.mean, color=colour, linestyle=":", label=f"{label}, mean")
        ax.plot(curve.x, curve.y, **own, linewidth=2, label=curve.label, gid="function")
        if derivative and curve.dy is not None:
            if is_alone:
                own = {"color": COLOURS[1], "linestyle": STYLES[1], "label": "derivative"}
            ax.plot(curve.x, curve.dy, **own, linewidth=1.2, gid="derivative")
        _draw_kinks(ax, curve, colour)
    if derivative and not is_alone and any(curve.dy is not None for curve in curves):
        ax.plot([], [], color=NEUTRAL, linewidth=1.2, label="derivatives, thin")
    if not has_others:
        ax.set_ylim(*view(curves, derivative=derivative))
    ax.set_xlabel(", ".join(dict.fromkeys(curve.xlabel for curve in curves)))
    ax.axhline(0, color=NEUTRAL, linewidth=0.5, zorder=0.5)


def _draw_asymptote(ax: Any, curve: Curve, asymptote: Asymptote) -> None:
    look = {"color": NEUTRAL, "linestyle": DASHED, "linewidth": 0.9, "gid": "asymptote"}
    if asymptote.x is not None:
        ax.axvline(asymptote.x, **look)
        return
    ends = curve.x[[0, -1]]
    start = np.clip(0.0, *ends)
    x = np.array(sorted((start, ends[0 if asymptote.side < 0 else 1])))
    ax.plot(x, asymptote.slope * x + asymptote.intercept, **look)


def _draw_kinks(ax: Any, curve: Curve, colour: str) -> None:
    """Mark kinks by a dot on the curve, and both ends of a jump."""
    for kink in curve.kinks:
        at = np.searchsorted(curve.x, kink)
        y = curve.y[at]
        heights = [y] if np.isfinite(y) else [*curve.y[max(at - 1, 0) : at + 2 : 2]]
        ax.plot(
            [kink] * len(heights), heights, "o", color=colour, markersize=4, gid="kink", zorder=3
        )


def _draw_errors(ax: Any, pictures: Sequence[Errors]) -> None:
    """Draw the largest errors as steps on a logarithmic axis, and the declared bounds."""
    free = looks()
    for errors in pictures:
        for label, values in errors.values.items():
            colour, dashes = next(free)
            look = {"color": colour, "linestyle": dashes, "linewidth": 1.5, "gid": "error"}
            values = np.maximum(values, FLOOR)
            ax.stairs(values, errors.edges, baseline=None, label=label, **look)
    for bound in sorted({errors.bound for errors in pictures}):
        look = {"color": NEUTRAL, "linestyle": DASHED, "linewidth": 0.9, "gid": "bound"}
        ax.axhline(bound, label=f"bound of accurate, {bound:g}", **look)
    ax.set(yscale="log", xlabel="x", ylabel="largest error in float32, ulp")


def _draw_bars(ax: Any, pictures: Sequence[Bars]) -> None:
    """Draw the results of all rows side by side, with the inputs below."""
    first = pictures[0]
    size = first.values.shape[1]
    starts = np.arange(len(first.rows)) * (size + 1)
    places = (starts[:, None] + np.arange(size)).reshape(-1)
    width = 0.8 / len(pictures)
    for i, (bars, colour) in enumerate(zip(pictures, itertools.cycle(COLOURS), strict=False)):
        at = places + (i - (len(pictures) - 1) / 2) * width
        values = bars.values.reshape(-1)
        errors: Floats | None = None
        if bars.low is not None and bars.high is not None:
            errors = abs(np.stack([bars.low, bars.high]).reshape(2, -1) - values)
        look = {"ecolor": NEUTRAL, "error_kw": {"linewidth": 1}} if errors is not None else {}
        hatch = (None, "///", "...", "xxx")[i % 4]
        ax.bar(at, values, width, yerr=errors, color=colour, label=bars.label, hatch=hatch, **look)
    ax.axhline(0, color=NEUTRAL, linewidth=0.5, zorder=0.5)
    has_room = ax.get_window_extent().width / ax.figure.dpi > 0.2 * len(places)
    inputs = [text if has_room else "" for row in first.rows.values() for text in row]
    ax.set_xticks(places, inputs, fontsize="small")
    ax.tick_params(axis="x", length=0)
    for start, name in zip(starts, first.rows, strict=True):
        middle = start + (size - 1) / 2
        ax.annotate(
            name,
            (middle, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -22),
            textcoords="offset points",
            horizontalalignment="center",
            verticalalignment="top",
        )
    ax.set_xlabel(" ", labelpad=12)  # room for the names of the rows
    ax.set_ylabel(first.ylabel)


def _draw_grid(ax: Any, grid: Grid) -> None:
    """Draw a matrix as colours, with the numbers in its cells where they fit."""
    image = ax.imshow(
        grid.values,
        cmap="cividis",
        origin="upper" if grid.extent is None else "lower",
        extent=grid.extent,
        aspect="auto" if grid.values.shape[1] > 10 else "equal",
    )
    ax.set(xlabel=grid.xlabel, ylabel=grid.ylabel)
    if grid.extent is not None:
        for value in np.unique(grid.values):
            y, x = np.argwhere(grid.values == value).mean(axis=0) / (len(grid.values) - 1)
            low, high = grid.extent[:2]
            at = low + x * (high - low), low + y * (high - low)
            ax.text(*at, f"{value:g}", color=_on(image, value), ha="center", va="center")
        return
    ax.set_xticks(np.arange(len(grid.columns)), grid.columns)
    ax.set_yticks(np.arange(len(grid.rows)), grid.rows)
    ax.tick_params(length=0)
    for (row, column), value in np.ndenumerate(grid.values):
        if value:
            _number(ax, image, (column, row), value)


def _number(ax: Any, image: Any, at: Iterable[float], value: float) -> None:
    """Write a number on its colour, if it is not almost 0."""
    if np.isfinite(value):
        text = f"{value:.2f}".removeprefix("0").rstrip("0").rstrip(".")
        look = {"ha": "center", "va": "center", "fontsize": "x-small"}
        ax.text(*at, text, color=_on(image, value), **look)


def _on(image: Any, value: float) -> str:
    """Return the colour that is legible on the colour of a value."""
    return "white" if image.norm(value) < 0.5 else "black"
