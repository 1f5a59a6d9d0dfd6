"""The properties that a definition claims, on every library; and what hypothesis finds."""

from __future__ import annotations

from math import inf

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import activations_xp as ax
from activations_xp._oracle import difference

GRID = np.unique(np.concatenate([np.linspace(-30, 30, 1201), np.logspace(-30, 30, 241)]))
GRID = np.unique(np.concatenate([GRID, -GRID]))


def first(function):
    return dict(function.definition.variants[0].parameters)


def call(function, backend, x, dtype="float32"):
    return backend.asnumpy(function(backend.array(x, dtype), **first(function)))


def test_range(activation, backend):
    x = GRID[: len(GRID) // 2 * 2]
    y = call(activation, backend, x)
    low, high = activation.definition.properties.range
    slack = 2.0**-23 * max(abs(e) for e in (low, high, 0.0) if abs(e) != inf)
    assert y.min() >= low - slack
    assert y.max() <= high + slack
    if activation.definition.axis is None:  # and it is no larger than it must be
        assert low == -inf or y.min() <= low + 1e-3
        assert high == inf or y.max() >= high - 1e-3


def test_monotonic(elementwise, backend):
    y = call(elementwise, backend, GRID)
    fall = np.maximum(y[:-1] - y[1:], 0)
    if elementwise.definition.properties.monotonic:
        # where it is flat, rounding may step down by a unit or two
        assert (fall <= 4 * np.spacing(np.abs(y[1:]))).all()
    else:
        assert fall.max() > 1e-3


def test_parity(elementwise, backend):
    there, back = call(elementwise, backend, GRID), call(elementwise, backend, -GRID)
    sign = {"odd": -1, "even": 1, None: None}[elementwise.definition.properties.parity]
    if sign is None:
        assert (np.abs(there - back) > 1e-3).any()
        assert (np.abs(there + back) > 1e-3).any()
    else:
        np.testing.assert_array_equal(there, sign * back)


def test_fixed_points(elementwise, backend):
    claimed = elementwise.definition.properties.fixed_points
    points = GRID if claimed is None else np.array([*claimed, 0.0])
    y = call(elementwise, backend, points)
    if claimed is None or 0.0 in claimed:
        np.testing.assert_array_equal(y, points.astype("f4"))
    else:
        np.testing.assert_array_equal(y[:-1], points[:-1].astype("f4"))
        assert y[-1] != 0


def test_limits(elementwise, backend):
    limits = elementwise.definition.properties.limits
    y = call(elementwise.portable, backend, [-inf, inf])
    np.testing.assert_array_max_ulp(y, np.array(limits, dtype="f4"))


def test_zero_centred(elementwise, backend):
    y = call(elementwise, backend, [*GRID, 0.0])
    both = y[-1] == 0 and y.min() < 0 < y.max()
    assert both == elementwise.definition.properties.zero_centred


def test_lipschitz(elementwise, backend):
    properties = elementwise.definition.properties
    kinks = np.array(properties.kinks, dtype="f4")
    beside = [np.nextafter(kinks, np.float32(end)) for end in (-inf, inf)]
    x = np.concatenate([np.linspace(-30, 30, 60001), GRID, *beside])
    slope = np.abs(call(elementwise.derivative, backend, x))
    np.testing.assert_allclose(slope.max(), properties.lipschitz, rtol=1e-6)


def test_smoothness(elementwise, backend):
    """Across a claimed kink the derivative jumps; elsewhere it moves by little in a small step."""
    properties = elementwise.definition.properties
    assert bool(properties.kinks) == (0 <= properties.smoothness < inf)
    x = np.linspace(-8, 8, 2**15 + 1).astype("f4")
    jump = np.abs(np.diff(call(elementwise.derivative, backend, x)))
    found = x[1:][jump > 0.01]
    kinks = properties.kinks if properties.smoothness == 0 else ()
    assert len(found) == len(kinks)
    np.testing.assert_allclose(found, kinks, atol=1e-3)


def test_sum(activation, backend):
    claimed = activation.definition.properties.sums_to
    if activation.definition.axis is None:
        assert claimed is None
        return
    x = np.random.default_rng(7).normal(size=(5, 64)) * 10
    y = call(activation, backend, x)
    right = claimed is not None and np.allclose(y.sum(axis=-1), claimed, rtol=1e-6)
    assert right == (claimed is not None)


@given(st.floats(width=32), st.sampled_from(ax.names()))
@settings(max_examples=500, deadline=None)
def test_any_float32(x, name):
    function = ax.get(name)
    definition = function.definition
    row = np.array([x, 0.5], dtype="f4")
    y = function(row, **first(function))
    assert y.dtype == row.dtype
    low, high = definition.properties.range
    if np.isnan(x):
        assert np.isnan(y[0])
    elif abs(x) != inf or definition.axis is None:
        assert np.float32(low) <= y[0] <= np.float32(high)
    if definition.axis is None:
        slope = function.derivative(row, **first(function))
        assert np.isfinite(slope[0]) == (not np.isnan(x))
        if abs(x) < 1e30:
            wide = function(row.astype("f8"), **first(function))
            budget = 2 * definition.ulp + 1
            assert (difference(y, wide.astype(object), row) <= budget).all()
