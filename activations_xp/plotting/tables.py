"""Bars of a few rows and grids of values: functions along an axis, and of several arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .curves import NUM_DRAWS, QUANTILES, Floats

ROW = np.array([1.0, 0.5, 0.0, -0.5])
ROWS = {"x": ROW, "3x": 3 * ROW, "x + 2": ROW + 2}
"""The rows for functions along an axis: they tell whether scale and shift matter."""

SCORES = np.array([[0, 2, 1], [3, 3, 4]])
"""Classes to encode."""


@dataclass(frozen=True, eq=False)
class Bars:
    """The results for a few rows.

    rows : the inputs by label
    values : the results, one row each
    low, high : quantiles of a random function
    """

    label: str
    rows: Mapping[str, Sequence[Any]]
    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    ylabel: str = ""


@dataclass(frozen=True, eq=False)
class Grid:
    """A matrix of values with the names of its rows and columns.

    extent : the ends of both axes, if rows and columns are points of them
    """

    label: str
    values: Floats
    rows: Sequence[str]
    columns: Sequence[str]
    ylabel: str = ""
    xlabel: str = ""
    extent: tuple[float, float, float, float] | None = None


def bars_of(function: Any, label: str, given: Mapping[str, Any]) -> Bars:
    """Return the results of a function along an axis for a few rows."""
    rows = np.stack([*ROWS.values()])
    inputs = {name: [f"{value:g}" for value in row] for name, row in ROWS.items()}
    if function.definition.noise is None:
        return Bars(label, inputs, np.asarray(function.accurate(rows, **given)))
    draws = np.broadcast_to(rows, (NUM_DRAWS, *rows.shape)).copy()
    drawn = function(draws, **given, rng=np.random.default_rng(0))
    low, high = np.quantile(drawn, QUANTILES, axis=0)
    return Bars(label, inputs, np.mean(drawn, axis=0), low, high, ylabel="mean of draws")


def grid_of_classes(function: Any, label: str, given: Mapping[str, Any]) -> Grid:
    """Return the vectors of a few classes, or of a few sets of classes."""
    given = {**given, "num_classes": 5}
    is_added = function.definition.output_axis == "added"
    x = SCORES.reshape(-1) if is_added else SCORES
    rows = [str(v).strip("[]").replace(" ", ", ") for v in x]
    values = np.asarray(function(x, **given), dtype=float)
    return Grid(label, values, rows, [*map(str, range(5))], "x", "class")


def _attention(function: Any, label: str, given: Mapping[str, Any]) -> Grid:
    """Return the weights of causal attention: the result for values that are an identity."""
    rng = np.random.default_rng(3)
    query, key = rng.standard_normal((2, 6, 8))
    given = {"is_causal": True, **given}
    values = np.asarray(function(query, key, np.eye(6), **given))
    places = [str(i + 1) for i in range(6)]
    return Grid(label, values, places, places, "query", "key")


def _attention_of_state(function: Any, label: str, given: Mapping[str, Any]) -> Grid:
    return _attention(lambda *arrays, **options: function(*arrays, **options)[0], label, given)


def _merged(function: Any, label: str, given: Mapping[str, Any]) -> Bars:
    """Return the shares of two states whose log-sum-exps differ more and more."""
    differences = np.arange(-3.0, 4.0, 2.0)
    states = np.tile([1.0, 0.0], (4, 1)), differences, np.tile([0.0, 1.0], (4, 1)), np.zeros(4)
    shares, _ = function(*states, **given)
    rows = {f"lse = {d:g} and 0": ["first", "second"] for d in differences}
    return Bars(label, rows, np.asarray(shares), ylabel="share of each state")


def _heads(function: Any, label: str, given: Mapping[str, Any]) -> Grid:
    """Return the weights of two heads of causal attention, side by side."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 6, 8))
    projections = {f"{n}_proj_weight": 0.5 * rng.standard_normal((8, 8)) for n in "qkv"}
    settings = {"is_causal": True, "need_weights": True, "average_attn_weights": False, **given}
    _, weights = function(
        x, x, x, num_heads=2, out_proj_weight=np.eye(8), **projections, **settings
    )
    first, second = np.asarray(weights)[0]
    values = np.concatenate([first, np.full((6, 1), np.nan), second], axis=1)
    places = [str(i + 1) for i in range(6)]
    return Grid(label, values, places, [*places, "", *places], "query", "key, in head 1 and head 2")


def _adaptive_weights() -> dict[str, Any]:
    """Return the weights of an adaptive softmax of 4 frequent and 2 + 2 rare classes."""
    angles = np.linspace(0, 2 * np.pi, 7)[:6]
    head = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    tails = [(np.eye(2), np.array([[1.0, 1.0], [-1.0, 1.0]])), (np.eye(2), np.eye(2))]
    return {"head_weight": head, "tail_weights": tails}


_POINTS = {"x = (1, 0)": [1.0, 0.0], "(0, 1)": [0.0, 1.0], "(-1, -1)": [-1.0, -1.0]}
_CLASSES = [*map(str, range(8))]


def _log_probs(function: Any, label: str, given: Mapping[str, Any]) -> Bars:
    values = function(np.array([*_POINTS.values()]), **{**_adaptive_weights(), **given})
    rows = dict.fromkeys(_POINTS, _CLASSES)
    return Bars(label, rows, np.asarray(values), ylabel="log-probability of each class")


def _losses(function: Any, label: str, given: Mapping[str, Any]) -> Bars:
    x = np.repeat(np.array([*_POINTS.values()]), 8, axis=0)
    settings = {**_adaptive_weights(), "reduction": "none", **given}
    output, _ = function(x, np.tile(np.arange(8), 3), **settings)
    rows = dict.fromkeys(_POINTS, _CLASSES)
    return Bars(label, rows, -np.asarray(output).reshape(3, 8), ylabel="loss, by target")


def _predictions(function: Any, label: str, given: Mapping[str, Any]) -> Grid:
    """Return the class that is predicted at each point of a plane."""
    side = np.linspace(-3, 3, 121)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    classes = np.asarray(function(x, **{**_adaptive_weights(), **given}), dtype=float)
    values = classes.reshape(121, 121)
    return Grid(label, values, (), (), "x[1]", "x[0]", extent=(-3.0, 3.0, -3.0, 3.0))


OPERATIONS: dict[str, Callable[[Any, str, Mapping[str, Any]], Bars | Grid]] = {
    "adaptive_log_prob": _log_probs,
    "adaptive_log_softmax_with_loss": _losses,
    "adaptive_predict": _predictions,
    "attention_with_lse": _attention_of_state,
    "merge_attention": _merged,
    "multi_head_attention": _heads,
    "scaled_dot_product_attention": _attention,
}
"""The pictures of operations of several arrays."""
