"""The statistics of runs: means with intervals, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from typing import Any

import numpy as np

Record = Mapping[str, Any]

LEVEL = 0.05
"""The probability of an error that intervals and tests accept."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with the standard deviation of a value and the 95 % interval of the mean.

    The interval is Student's. It is that of the mean over random splits of these data and random
    initial weights, not over other data.
    """

    mean: float
    sd: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Summary:
    """The summary of a function at a depth, over all seeds.

    lrs : the learning rate that each seed has chosen
    at_edge : whether most of them are the largest or the smallest that was tried, and the accuracy
        to validate is lower by 1 % at the next one
    difference : that of the accuracy to the first function, paired by seed
    p : the probability of such a difference by chance, by a paired t-test
    p_holm : the same, corrected by Holm for the number of comparisons
    dead, saturated : the mean over layers and seeds after training
    """

    function: str
    depth: int
    lrs: tuple[float, ...]
    at_edge: bool
    accuracy: Estimate
    loss: Estimate
    difference: Estimate | None
    loss_difference: Estimate | None
    p: float
    p_holm: float
    dead: float
    saturated: float
    seconds_per_epoch: float
    n_parameters: int
    n_diverged: int


class Runs:
    """The runs of a comparison, and their statistics.

    Parameters
    ----------
    runs : sequence of dict
        The records of the runs, each for one function, depth, learning rate and seed.
    """

    def __init__(self, runs: Sequence[Record]) -> None:
        self.runs = list(runs)
        self.functions = list(dict.fromkeys(run["function"] for run in runs))
        self.depths = list(dict.fromkeys(run["depth"] for run in runs))
        self.lrs = sorted({run["lr"] for run in runs})
        self.seeds = list(dict.fromkeys(run["seed"] for run in runs))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all runs have in common."""
        return dict(self.runs[0]["settings"])

    @property
    def versions(self) -> dict[str, list[str]]:
        """The versions of what computed."""
        names = dict.fromkeys(name for run in self.runs for name in run["versions"])
        return {
            name: sorted({run["versions"][name] for run in self.runs if name in run["versions"]})
            for name in names
        }

    @property
    def rows(self) -> list[Record]:
        """The run of each function, depth and seed at the learning rate that was best there.

        That is the one with the largest accuracy on the examples to validate after the last epoch,
        and of these the one with the smallest loss.
        """
        best: dict[tuple[str, int, int], Record] = {}
        for run in self.runs:
            key = run["function"], run["depth"], run["seed"]
            if key not in best or _quality(run) > _quality(best[key]):
                best[key] = run
        return list(best.values())

    def chosen(self, function: str, depth: int) -> list[Record]:
        """Return those rows of a function at a depth, by seed."""
        rows = [r for r in self.rows if (r["function"], r["depth"]) == (function, depth)]
        return sorted(rows, key=lambda row: self.seeds.index(row["seed"]))

    def summary(self) -> list[Summary]:
        """Return the summary of each function at each depth."""
        first = self.functions[0]
        pairs = [(f, d) for d in self.depths for f in self.functions]
        tests = {pair: self._difference(*pair) for pair in pairs if pair[0] != first}
        corrected = dict(zip(tests, holm([p for *_, p in tests.values()]), strict=True))
        found = []
        for function, depth in pairs:
            rows = self.chosen(function, depth)
            difference, loss_difference, p = tests.get((function, depth), (None, None, nan))
            lrs = tuple(row["lr"] for row in rows)
            found.append(
                Summary(
                    function,
                    depth,
                    lrs,
                    self._is_at_edge(function, depth, lrs),
                    estimate([row["test_accuracy"] for row in rows]),
                    estimate([_number(row["test_loss"]) for row in rows]),
                    difference,
                    loss_difference,
                    p,
                    corrected.get((function, depth), nan),
                    mean([row["end"]["dead"] for row in rows]),
                    mean([row["end"]["saturated"] for row in rows]),
                    float(np.median([row["seconds_per_epoch"] for row in rows])),
                    rows[0]["n_parameters"],
                    sum(row["diverged"] for row in rows),
                )
            )
        return found

    def _is_at_edge(self, function: str, depth: int, chosen: tuple[float, ...]) -> bool:
        """Return whether most seeds chose the first or the last rate, and it is better by 1 %."""
        if len(self.lrs) < 2:
            return False
        runs = [r for r in self.runs if (r["function"], r["depth"]) == (function, depth)]
        accuracy = {
            lr: np.mean([r["validation_accuracy"][-1] for r in runs if r["lr"] == lr])
            for lr in self.lrs
        }
        edges = (self.lrs[0], self.lrs[1]), (self.lrs[-1], self.lrs[-2])
        return any(
            chosen.count(edge) > len(chosen) / 2 and accuracy[edge] - accuracy[inner] > 0.01
            for edge, inner in edges
        )

    def _difference(self, function: str, depth: int) -> tuple[Estimate, Estimate, float]:
        rows, others = (self.chosen(f, depth) for f in (function, self.functions[0]))
        accuracies, losses = (
            [_number(a[name]) - _number(b[name]) for a, b in zip(rows, others, strict=True)]
            for name in ("test_accuracy", "test_loss")
        )
        step = 1 / rows[0]["n_test"]
        return estimate(accuracies, step), estimate(losses), p_value(accuracies, step)


def _quality(run: Record) -> tuple[bool, float, float]:
    loss = run["validation_loss"][-1]
    return not run["diverged"], run["validation_accuracy"][-1], -inf if loss is None else -loss


def _number(value: float | None) -> float:
    return inf if value is None else value


def mean(values: Sequence[Sequence[float | None]]) -> float:
    """Return the mean of lists of numbers, of which those that are None or NaN do not count."""
    known = [v for layers in values for v in layers if v is not None and not isnan(v)]
    return float(np.mean(known)) if known else nan


def estimate(values: Sequence[float], step: float = 0.0) -> Estimate:
    """Return the mean of values with its interval; that of a single one is not known.

    `step` is the distance of the values that are possible, as 1/n for an accuracy on n examples.
    """
    from scipy import stats

    n, middle = len(values), float(np.mean(values))
    if n < 2 or not np.all(np.isfinite(values)):
        return Estimate(middle if np.all(np.isfinite(values)) else inf, nan, nan, nan)
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * max(sd, _rounding(step)) / sqrt(n)
    return Estimate(middle, sd, middle - half, middle + half)


def p_value(differences: Sequence[float], step: float) -> float:
    """Return the probability of a mean as far from 0, by Student's paired test of both sides.

    The standard deviation is at least that of rounding to multiples of `step`, because a few
    differences may be equal by chance.
    """
    from scipy import stats

    n = len(differences)
    if n < 2:
        return nan
    sd = max(float(np.std(differences, ddof=1)), _rounding(step))
    return float(2 * stats.t.sf(abs(np.mean(differences)) / (sd / sqrt(n)), n - 1))


def _rounding(step: float) -> float:
    """Return the standard deviation of the difference of two numbers rounded to multiples."""
    return step / sqrt(6)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected by Holm, so that all hold together, if they are known."""
    corrected, largest = list(p_values), 0.0
    if any(map(isnan, p_values)):
        return corrected
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
