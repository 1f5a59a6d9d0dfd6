"""Statistics of runs: intervals, paired tests, the chosen learning rate, false alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from activations_xp.experiments import Results, compare
from activations_xp.experiments.statistics import estimate, holm, p_value

pytestmark = pytest.mark.once

VALUES = [0.91, 0.95, 0.93, 0.99, 0.90]
OTHERS = [0.90, 0.93, 0.94, 0.95, 0.88]


def test_interval_beside_scipy():
    found = estimate(VALUES)
    expected = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    np.testing.assert_allclose((found.low, found.high), expected)
    assert found.mean == pytest.approx(sum(VALUES) / 5)
    assert found.sd == pytest.approx(stats.tstd(VALUES))
    assert found.half == pytest.approx((expected[1] - expected[0]) / 2)


def test_paired_test_beside_scipy():
    differences = np.subtract(VALUES, OTHERS)
    assert p_value(differences, 0.0001) == pytest.approx(stats.ttest_rel(VALUES, OTHERS).pvalue)


def test_single_and_equal_values():
    assert math.isnan(p_value([0.1], 0.01))
    assert math.isnan(estimate([0.1]).low)
    assert p_value([0.0, 0.0, 0.0], 0.01) == 1.0
    # three equal differences of one example are no proof
    assert 0.01 < p_value([0.01, 0.01, 0.01], 0.01) < 0.1
    assert estimate([0.01, 0.01, 0.01], 0.01).low < 0.01
    assert estimate([0.1, math.inf]).mean == math.inf


def test_holm_by_hand():
    # times 4, 3, 2, 1 in increasing order, and never falling
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def record(function, seed, lr, accuracy, validation, loss=0.5, **changed):
    layers = {"dead": [0.0, 0.5], "saturated": [0.5, None]}
    return {
        "function": function,
        "depth": 2,
        "seed": seed,
        "lr": lr,
        "test_accuracy": accuracy,
        "test_loss": loss,
        "validation_accuracy": [0.1, validation],
        "validation_loss": [1.0, loss],
        "train_loss": [1.0, 0.5],
        "diverged": loss is None,
        "end": layers,
        "start": layers,
        "seconds_per_epoch": 0.1,
        "n_parameters": 10,
        "n_test": 100,
        **changed,
    }


def test_each_seed_has_its_best_learning_rate():
    results = Results(
        [
            record("a", 0, 0.1, 0.7, validation=0.8),
            record("a", 0, 0.2, 0.6, validation=0.9),
            record("a", 1, 0.1, 0.8, validation=0.9, loss=0.4),
            record("a", 1, 0.2, 0.9, validation=0.9, loss=0.5),
            record("a", 2, 0.1, 0.1, validation=0.95, loss=None),
            record("a", 2, 0.2, 0.5, validation=0.3),
        ]
    )
    assert [(row["seed"], row["lr"]) for row in results.rows] == [(0, 0.2), (1, 0.1), (2, 0.2)]
    (summary,) = results.summary()
    assert summary.accuracy.mean == pytest.approx((0.6 + 0.8 + 0.5) / 3)
    assert (summary.dead, summary.saturated) == (0.25, 0.5)
    assert (summary.difference, summary.n_diverged) == (None, 0)
    assert summary.at_edge is False  # the rates differ by less than 1 %


def test_differences_are_paired_by_seed():
    runs = [record("a", s, 0.1, v, 0.5) for s, v in enumerate(OTHERS)]
    runs += [record("b", s, 0.1, v, 0.5) for s, v in reversed(list(enumerate(VALUES)))]
    first, second = Results(runs).summary()
    assert math.isnan(first.p)
    expected = stats.ttest_rel(VALUES, OTHERS)
    assert second.p == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(
        (second.difference.low, second.difference.high), expected.confidence_interval(0.95)
    )


def test_same_function_under_two_names():
    results = compare(["silu", "swish"], data="wine", epochs=3, lr=0.05, seeds=3)
    silu, swish = results.summary()
    assert silu.accuracy == swish.accuracy
    assert (swish.difference.mean, swish.p, swish.p_holm) == (0.0, 1.0, 1.0)
    mine, other = (results.chosen(f, 4)[1] for f in results.functions)
    assert mine["train_loss"] == other["train_loss"]


@pytest.mark.parametrize("n", [20, pytest.param(100, marks=pytest.mark.sweep)])
def test_false_alarms(n):
    """With other random numbers, the same function differs from itself in 5 % of experiments."""
    settings = {"data": "wine", "depth": 1, "width": 4, "epochs": 2, "lr": 0.03}
    runs = compare(["tanh"], seeds=10 * n, **settings).runs
    alarms = 0
    for i in range(n):
        records = [
            {**run, "function": name, "seed": seed}
            for name, part in (("a", runs[10 * i :][:5]), ("b", runs[10 * i + 5 :][:5]))
            for seed, run in enumerate(part)
        ]
        alarms += Results(records).summary()[1].p_holm <= 0.05
    low, high = stats.binom.interval(0.99, n, 0.05)
    assert low <= alarms <= high


def test_a_difference_is_found():
    settings = {"data": "wine", "depth": 4, "epochs": 10, "lr": 0.03, "seeds": 4}
    _, summary = compare(["tanh", "sigmoid"], **settings).summary()
    assert summary.p < 0.01
    assert summary.difference.high < 0
