"""What docs/which.md shows of the experiments: tables of accuracies, and pictures."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tools.records import read

from activations_xp.experiments import Results, report
from activations_xp.plotting.drawing import looks

from . import measured
from .pictures import GREY, OURS

data = functools.cache(functools.partial(read, "which"))


def results(name: str) -> Results:
    """Return the results of an experiment."""
    return Results([*data()[name]["runs"].values()])


def ranking(name: str, depth: int) -> str:
    """Return the table of an experiment at a depth, the largest accuracy first."""
    found = results(name)
    heads, rows = report.table(found, depth)
    means = [s.accuracy.mean for s in found.summary() if s.depth == depth]
    order = sorted(range(len(rows)), key=lambda i: -means[i])
    kept = [i for i, head in enumerate(heads) if head != "ms/epoch"]
    lines = ([f"`{rows[i][0]}`", *(rows[i][j] for j in kept[1:])] for i in order)
    return measured.table([heads[i] for i in kept], lines)


def differences(figure: Figure) -> None:
    """Draw the differences of the accuracies to that of relu, with their intervals."""
    found = results("digits")
    for axes, depth in zip(figure.subplots(1, 2), found.depths, strict=True):
        summaries = [s for s in found.summary() if s.depth == depth and s.difference]
        summaries.sort(key=lambda s: s.difference.mean)
        means = [100 * s.difference.mean for s in summaries]
        halves = [100 * s.difference.half for s in summaries]
        places = range(len(summaries))
        axes.errorbar(means, places, xerr=halves, fmt="o", color=OURS, markersize=4)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(places, [s.function for s in summaries])
        axes.set_title(f"depth {depth}", loc="left", fontsize=11)
        axes.set_xlabel("accuracy less that of relu, %")
        if depth > 4:
            axes.set_xscale("symlog", linthresh=1)
            ticks = [-100, -10, -1, 0, 1]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def layers(figure: Figure) -> None:
    """Draw the mean and the variance of each of 50 layers before training."""
    shown = {
        "selu, lecun_normal": ("layers lecun_normal 0.0", "selu"),
        "selu, lecun_normal, alpha_dropout": ("layers lecun_normal 0.05", "selu"),
        "selu, uniform": ("layers uniform 0.0", "selu"),
        "relu, he_normal": ("layers he_normal 0.0", "relu"),
        "relu, lecun_normal": ("layers lecun_normal 0.0", "relu"),
    }
    means, variances = figure.subplots(1, 2)
    for (label, (name, function)), (colour, dashes) in zip(shown.items(), looks(), strict=False):
        style = {"color": colour, "linestyle": dashes, "label": label}
        means.plot(*_of_layers(name, function, "mean"), **style)
        variances.semilogy(*_of_layers(name, function, "variance"), **style)
    means.set(xlabel="layer", title="mean", ylim=(-0.5, 1.5))
    variances.set(xlabel="layer", title="variance", ylim=(1e-6, 1e2))
    figure.legend(*means.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _of_layers(name: str, function: str, key: str) -> tuple[Any, Any]:
    rows = [run["start"][key] for run in results(name).runs if run["function"] == function]
    values = np.mean(rows, axis=0)
    return np.arange(1, len(values) + 1), values


def dying(figure: Figure) -> None:
    """Draw the share of dead units by learning rate."""
    found = results("dying")
    axes = figure.subplots()
    for function, (colour, dashes) in zip(found.functions, looks(), strict=False):
        shares = [100 * _dead(found, function, lr) for lr in found.lrs]
        axes.semilogx(found.lrs, shares, "o", color=colour, linestyle=dashes, label=function)
    axes.set_xticks(found.lrs, [f"{lr:g}" for lr in found.lrs])
    axes.minorticks_off()
    axes.set(xlabel="learning rate", ylabel="dead units, %", ylim=(-3, 103))
    axes.legend()


def _dead(found: Results, function: str, lr: float) -> float:
    """Return the mean share over the runs that have not diverged, NaN if all have."""
    runs = [run for run in found.runs if (run["function"], run["lr"]) == (function, lr)]
    shares = [share for run in runs for share in run["end"]["dead"]]
    return float(np.mean(shares)) if shares else math.nan


def vanishing(figure: Figure) -> None:
    """Draw the gradient of the first layer over that of the last, before training, by depth."""
    found = results("vanishing")
    axes = figure.subplots()
    for function, (colour, dashes) in zip(found.functions, looks(), strict=False):
        ratios = [_ratio(found.runs, function, depth) for depth in found.depths]
        axes.loglog(found.depths, ratios, "o", color=colour, linestyle=dashes, label=function)
    axes.set_xticks(found.depths, [*map(str, found.depths)])
    axes.minorticks_off()
    axes.set(xlabel="hidden layers", ylabel="gradient of the first layer / last")
    axes.legend()


def _ratio(runs: list[Mapping[str, Any]], function: str, depth: int) -> float:
    gradients = [
        run["start"]["gradient"]
        for run in runs
        if (run["function"], run["depth"]) == (function, depth)
    ]
    return float(np.exp(np.mean([math.log(g[0] / g[-1]) for g in gradients])))
