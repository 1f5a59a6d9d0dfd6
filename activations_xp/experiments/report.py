"""The report of a comparison: its table, what it shows, and a page with pictures."""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from math import isfinite, isnan
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..plotting.drawing import COLOURS, RENDERED, looks
from .candidates import DEFAULT as DEFAULT
from .measures import FLAT
from .statistics import LEVEL, Estimate, Record, Runs, Summary, mean

ON_DARK = ("#3d9be0", "#e8702a", "#1db38a", "#d58db5", "#e69f00", "#8ccbf2")
"""The colours of pictures, as they are on a dark page."""

LIBRARIES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}

INK = "#010203"
"""The colour that becomes that of the page's text."""

STYLE = {name: INK if "color" in name else value for name, value in RENDERED.items()}
STYLE |= {"figure.facecolor": "none", "axes.facecolor": "none", "font.size": 10, "grid.alpha": 0.25}
"""The settings of matplotlib."""

# the table, in words


def table(results: Runs, depth: int | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the rows of the table.

    That of one depth has the columns for which a terminal has room.
    """
    columns: dict[str, Callable[[Summary], str]] = {
        "function": lambda s: s.function,
        "depth": lambda s: str(s.depth),
        "lr": lambda s: f"{float(np.median(s.lrs)):g}",
        "accuracy %": lambda s: percent(s.accuracy),
        "difference": lambda s: "" if s.difference is None else percent(s.difference, "+"),
        "p": lambda s: "" if isnan(s.p_holm) else _p(s.p_holm),
        "loss": lambda s: number(s.loss),
        "dead %": lambda s: "" if isnan(s.dead) else f"{100 * s.dead:.1f}",
        "flat %": lambda s: "" if isnan(s.saturated) else f"{100 * s.saturated:.1f}",
        "ms/epoch": lambda s: f"{1000 * s.seconds_per_epoch:.1f}",
    }
    left_out = {"loss", "flat %", "depth"} if depth is not None else set()
    if len(results.depths) == 1:
        left_out.add("depth")
    if len(results.functions) == 1:
        left_out |= {"difference", "p"}
    shown = {name: cell for name, cell in columns.items() if name not in left_out}
    summaries = [s for s in results.summary() if depth in (None, s.depth)]
    return list(shown), [[cell(s) for cell in shown.values()] for s in summaries]


def percent(estimate: Estimate, sign: str = "") -> str:
    """Return a mean as a percentage, with half of its interval where that is known."""
    half = "" if isnan(estimate.half) else f" ± {100 * estimate.half:.1f}"
    return f"{100 * estimate.mean:{sign}.1f}{half}"


def number(estimate: Estimate) -> str:
    """Return a mean with half of its interval where that is known."""
    if not isfinite(estimate.mean):
        return "diverged"
    return f"{estimate.mean:.2f}" + ("" if isnan(estimate.half) else f" ± {estimate.half:.2f}")


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def caption(results: Runs) -> str:
    """Return what the columns of the table are."""
    n = len(results.seeds)
    first = results.functions[0]
    text = "accuracy: mean on the examples to test"
    text += f" ± 95 % interval over {n} seeds" if n > 1 else " of one seed"
    if len(results.functions) > 1:
        text += f"; difference: of the accuracy to {first}, paired by seed"
        if n > 1:
            text += "; p: by t-test, Holm-corrected"
    return text + "; lr: median of the chosen; dead: units flat at every example"


def findings(results: Runs) -> list[str]:
    """Return what the table shows, in sentences, and what to beware of."""
    found, first = [], results.functions[0]
    summaries = results.summary()
    for depth in results.depths:
        at = [s for s in summaries if s.depth == depth]
        where = f"At depth {depth} " if len(results.depths) > 1 else ""
        tested = [s for s in at if not isnan(s.p_holm)]
        apart = [s for s in tested if s.p_holm <= LEVEL and s.difference is not None]
        if apart:
            differ = ", ".join(
                f"{s.function} by {percent(s.difference, '+')} %" for s in apart if s.difference
            )
            found.append(f"{where}the accuracy differs from that of {first} for {differ}.")
        if len(tested) > len(apart):
            others = "the other differences are" if apart else f"no difference to {first} is"
            noise = "within the noise" if apart else "beyond the noise"
            found.append(f"{where}{others} {noise} of {len(results.seeds)} seeds.")
        for s in at:
            if s.n_diverged:
                share = f"{s.n_diverged} of {len(results.seeds)} seeds"
                found.append(f"{where}{s.function} diverged at every learning rate for {share}.")
            elif s.at_edge:
                end = "largest" if np.median(s.lrs) == results.lrs[-1] else "smallest"
                found.append(
                    f"{where}{s.function} is best at the {end} learning rate;"
                    " one beyond may suit it better."
                )
    return [text[0].upper() + text[1:] for text in found]


# pictures


def sections(results: Runs) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the titles of the sections, with captions and figures."""
    if len(results.depths) == 1:
        title, figure = "seeds, mean and interval", _accuracies(results)
    else:
        title, figure = "mean and interval by depth", _by_depth(results)
    accuracy = [(f"Accuracy on the examples to test: {title}", figure)]
    if len(results.lrs) > 1:
        for at, depth in _depths(results):
            figure = _by_lr(results, depth, lambda run: run["validation_accuracy"][-1])
            accuracy.append((f"Accuracy on the examples to validate{at}, by learning rate", figure))
    yield "Accuracy", accuracy
    for at, depth in _depths(results):
        yield f"Learning{at}", _of_epochs(results, depth)
        yield f"Layer by layer{at}", _of_layers(results, depth)


def _of_epochs(results: Runs, depth: int) -> list[tuple[str, Any]]:
    figures = []
    for name, title, scale in (
        ("train_loss", "Loss in training", "log"),
        ("validation_accuracy", "Accuracy on the examples to validate", "%"),
    ):
        values = _means(results, depth, itemgetter(name))
        figures.append((title, _lines(results, values, "epoch", scale)))
    return figures


def _of_layers(results: Runs, depth: int) -> list[tuple[str, Any]]:
    figures = []
    for name, title, scale, moments in (
        ("mean", "Mean of the results", "symlog", ("start", "end")),
        ("variance", "Variance of the results", "log", ("start", "end")),
        ("gradient", "Norm of the gradient of the weights", "log", ("start", "end")),
        ("dead", "Share of dead units", "%", ("end",)),
        ("saturated", "Share of flat places", "%", ("end",)),
    ):
        for moment in moments:
            values = _means(results, depth, lambda run: run[moment][name])  # noqa: B023
            words = {"start": "before training", "end": "after training"}[moment]
            figures.append((f"{title}, {words}", _lines(results, values, "layer", scale)))
    if len(results.lrs) > 1:
        figure = _by_lr(results, depth, lambda run: mean([run["end"]["dead"]]))
        figures.append(("Share of dead units after training, by learning rate", figure))
    return figures


def _depths(results: Runs) -> list[tuple[str, int]]:
    """Return the depths with what to add to a caption."""
    several = len(results.depths) > 1
    return [(f" at depth {depth}" if several else "", depth) for depth in results.depths]


def _means(
    results: Runs, depth: int, values: Callable[[Record], Sequence[float | None]]
) -> dict[str, Any]:
    """Return for each function the mean over seeds of a list of values."""
    found = {}
    for function in results.functions:
        lists = [values(run) for run in results.chosen(function, depth)]
        n = min(map(len, lists))
        rows = np.array([[np.nan if v is None else v for v in row[:n]] for row in lists])
        found[function] = np.mean(rows, axis=0)
    return found


def _new_figure(height: float = 3.0) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, height), layout="constrained")
    return figure, figure.add_subplot()


def _look(results: Runs, function: str) -> dict[str, Any]:
    colour, dashes = next(islice(looks(), results.functions.index(function), None))
    return {"color": colour, "linestyle": dashes}


def _finish(figure: Any, results: Runs, handles: bool = True) -> Any:
    (ax,) = figure.axes
    ax.grid(True)
    if handles and len(results.functions) > 1:
        figure.legend(
            loc="outside lower center",
            ncols=4,
            fontsize=9,
            frameon=False,
            handlelength=2.5,
            columnspacing=1.0,
        )
    return figure


def _lines(results: Runs, values: Mapping[str, Any], xlabel: str, scale: str) -> Any:
    """Draw lists of values as percentages, or on a scale, of which symlog is linear near 0."""
    figure, ax = _new_figure()
    for function, y in values.items():
        marker = "." if len(y) < 20 else ""
        x = np.arange(1, len(y) + 1)
        y = 100 * y if scale == "%" else np.where(y > 0, y, np.nan) if scale == "log" else y
        ax.plot(x, y, label=function, marker=marker, **_look(results, function))
    ax.set(xlabel=xlabel, ylabel="%" if scale == "%" else "")
    ax.xaxis.get_major_locator().set_params(integer=True)
    sizes = np.abs(np.concatenate(list(values.values())))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if scale == "log" and len(sizes):
        _set_log_scale(ax, np.max(sizes) / np.min(sizes))
    if scale == "symlog" and np.max(sizes, initial=0) > 10:
        ax.set_yscale("symlog", linthresh=1)
        ax.yaxis.get_major_locator().set_params(numticks=6)
    return _finish(figure, results)


def _set_log_scale(ax: Any, ratio: float) -> None:
    """Set a logarithmic scale with plain numbers, also between powers of 10 if there are few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if ratio < 100 else (5,)))
    ax.yaxis.set_minor_formatter("{x:g}" if ratio < 100 else NullFormatter())


def _by_lr(results: Runs, depth: int, value: Callable[[Record], float]) -> Any:
    """Draw the mean over seeds of a share at each learning rate."""
    figure, ax = _new_figure()
    for function in results.functions:
        runs = [r for r in results.runs if (r["function"], r["depth"]) == (function, depth)]
        y = [100 * mean([[value(r) for r in runs if r["lr"] == lr]]) for lr in results.lrs]
        ax.plot(results.lrs, y, label=function, marker=".", **_look(results, function))
    ax.set(xscale="log", xlabel="learning rate", ylabel="%")
    return _finish(figure, results)


def _by_depth(results: Runs) -> Any:
    figure, ax = _new_figure()
    summaries = results.summary()
    places = np.arange(len(results.depths))
    for i, function in enumerate(results.functions):
        at = [s.accuracy for s in summaries if s.function == function]
        middle, half = (np.array([100 * getattr(e, n) for e in at]) for n in ("mean", "half"))
        shift = 0.06 * (i - (len(results.functions) - 1) / 2)
        look = _look(results, function)
        ax.errorbar(places + shift, middle, np.nan_to_num(half), label=function, marker=".", **look)
    ax.set(xlabel="depth", ylabel="%", xticks=places, xticklabels=map(str, results.depths))
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -1), min(high, 101))
    return _finish(figure, results)


def _accuracies(results: Runs) -> Any:
    (depth,) = results.depths
    figure, ax = _new_figure(1.0 + 0.32 * len(results.functions))
    for i, summary in enumerate(results.summary()):
        estimate, look = summary.accuracy, _look(results, summary.function)
        seeds = [100 * run["test_accuracy"] for run in results.chosen(summary.function, depth)]
        ax.plot(seeds, [i - 0.2] * len(seeds), "o", color=look["color"], alpha=0.5, ms=4, mew=0)
        half = [[0.0 if isnan(estimate.half) else 100 * estimate.half]] * 2
        ax.errorbar(
            100 * estimate.mean, i, xerr=half, fmt="o", ms=5, capsize=3, color=look["color"]
        )
    ax.set(yticks=range(len(results.functions)), yticklabels=results.functions, xlabel="%")
    ax.invert_yaxis()
    return _finish(figure, results, handles=False)


def _svg(figure: Any, title: str, salt: str) -> str:
    """Return a figure as an element of a page, in the colour of its text."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r' id="[\w.]+_\d+"', "", text)  # which all figures have, and nothing refers to
    for i, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--c{i})")
    label = html.escape(title, quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


# the page


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --page: #fff; --text: #1c1c1c; --quiet: #5c5c5c; --line: #d8d8d8; {colours} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #161616; --text: #e8e8e8; --quiet: #a8a8a8; --line: #3c3c3c; {on_dark} }}
}}
body {{ background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 72rem; padding: 1rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; }}
h2 {{ font-size: 1.25rem; margin: 2rem 0 0.5rem; }}
.quiet, figcaption {{ color: var(--quiet); font-size: 0.9rem; }}
figcaption {{ margin-bottom: 0.4rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }}
th, td {{ border-bottom: 1px solid var(--line); padding: 0.3rem 0.8rem 0.3rem 0;
  text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
.pictures {{ display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }}
figure {{ margin: 0; max-width: 34rem; }}
svg {{ height: auto; width: 100%; }}
dl {{ display: grid; gap: 0.2rem 1rem; grid-template-columns: max-content 1fr; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<ul>{findings}</ul>
<div class="wide" tabindex="0" role="region" aria-label="Table of results"><table>
<thead><tr>{head}</tr></thead>
<tbody>{body}</tbody>
</table></div>
<p class="quiet">{caption}.</p>
{sections}
<h2>Method</h2>
<p>{method}</p>
<dl>{settings}</dl>
</html>
"""

METHOD = (
    "Each seed is an experiment of its own: it splits the data into three fifths to train on, one"
    " to validate and one to test, and draws the initial weights and the order of the examples,"
    " which are the same for all functions. Each function has the learning rate that is best on the"
    " examples to validate, of the same ones for all. Intervals and tests are about the mean over"
    f" such seeds on these data. A function is flat where its derivative is at most {FLAT:g} of the"
    " largest that it has at normal random numbers. A unit is dead if it is flat at every example"
    " to validate; the share of flat places counts units and examples, so a relu has half by"
    " nature."
)


def write(results: Runs, path: Path) -> None:
    """Write the page to a file, whole or not at all."""
    text = page(results)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def page(results: Runs) -> str:
    """Return the page."""
    import matplotlib

    settings = results.settings
    with matplotlib.rc_context(STYLE):
        parts = [
            f'<h2>{html.escape(title)}</h2>\n<div class="pictures">{_figures(title, figures)}</div>'
            for title, figures in sections(results)
        ]
    columns, rows = table(results)
    n_weights = {s.function: s.n_parameters for s in results.summary()[: len(results.functions)]}
    values = {
        **settings,
        "functions": ", ".join(results.functions),
        "depth": ", ".join(map(str, results.depths)),
        "learning rates": ", ".join(f"{lr:g}" for lr in results.lrs),
        "seeds": ", ".join(map(str, results.seeds)),
        f"weights at depth {results.depths[0]}": ", ".join(
            f"{function} {n:,}" for function, n in n_weights.items()
        ),
        **_learned(results),
        **{name: ", ".join(found) for name, found in results.versions.items()},
    }
    return PAGE.format(
        colours=_variables(COLOURS),
        on_dark=_variables(ON_DARK),
        title=f"Activation functions on {html.escape(settings['data'])}",
        summary=f"{len(results.runs)} networks, {_network(results)}, trained on"
        f" {LIBRARIES[settings['backend']]} with {settings['optimizer']} for"
        f" {settings['epochs']} epochs.",
        findings="".join(f"<li>{html.escape(text)}</li>" for text in findings(results)),
        head="".join(f"<th>{html.escape(name)}</th>" for name in columns),
        body="\n".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        ),
        caption=html.escape(caption(results)),
        sections="\n".join(parts),
        method=METHOD,
        settings="".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
            for name, value in values.items()
        ),
    )


def _variables(colours: Sequence[str]) -> str:
    return " ".join(f"--c{i}: {colour};" for i, colour in enumerate(colours))


def _learned(results: Runs) -> dict[str, str]:
    """Return what each function has learned, layer by layer, as the mean over seeds."""
    found: dict[str, list[str]] = {}
    for at, depth in _depths(results):
        for function in results.functions:
            runs = results.chosen(function, depth)
            for name in runs[0]["learned"]:
                rows = [run["learned"][name] for run in runs]
                values = np.mean([[np.nan if v is None else v for v in row] for row in rows], 0)
                parameter = name.rpartition(".")[2]
                text = ", ".join(f"{v:.3g}" for v in values)
                layers = found.setdefault(f"{parameter} of {function}{at}", [])
                layers.append(text if len(values) == 1 else f"({text})")
    return {title: ", ".join(layers) for title, layers in found.items()}


def _network(results: Runs) -> str:
    settings = results.settings
    depths = ", ".join(map(str, results.depths))
    if settings["network"] == "conv":
        return f"{depths} convolutions of {settings['width']} channels"
    return f"{depths} hidden layers of {settings['width']} units"


def _figures(section: str, figures: Sequence[tuple[str, Any]]) -> str:
    return "\n".join(
        f"<figure><figcaption>{html.escape(caption)}</figcaption>"
        f"{_svg(figure, caption, section + caption)}</figure>"
        for caption, figure in figures
    )
