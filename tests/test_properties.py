"""The properties that a definition claims, on every library; and what hypothesis finds."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import (
    DIFFERENTIABLE,
    FUNCTIONS,
    accurate,
    domain_of,
    in_domain,
    output_axis,
    required_parameters,
)

import activations_xp as ax
from activations_xp._oracle import difference

pytestmark = pytest.mark.sweep_with("jax")

_ELEMENTWISE = st.sampled_from(DIFFERENTIABLE)
GRID = np.unique(np.concatenate([np.linspace(-30, 30, 1201), np.logspace(-30, 30, 241)]))
GRID = np.unique(np.concatenate([GRID, -GRID, np.linspace(-1, 1, 4001)]))


def call(function, backend, x, dtype="float32"):
    return backend.asnumpy(function(backend.array(x, dtype), **required_parameters(function)))


def grid(function):
    x = in_domain(function.definition, GRID)
    return x[: len(x) // 2 * 2]


def test_range(activation, backend):
    x = grid(activation)
    y = call(activation, backend, x)
    low, high = activation.definition.properties.range
    slack = 2.0**-23 * max(abs(e) for e in (low, high, 0.0) if abs(e) != inf)
    assert y.min() >= low - slack
    assert y.max() <= high + slack
    if output_axis(activation) is None:  # and it is no larger than it must be
        assert low == -inf or y.min() <= low + 1e-3
        assert high == inf or y.max() >= high - 1e-3


def test_monotonic(elementwise, backend):
    y = _finite(call(elementwise, backend, grid(elementwise)))
    fall = np.maximum(y[:-1] - y[1:], 0)
    if elementwise.definition.properties.monotonic:
        # where it is flat, rounding may step down by a unit or two
        assert (fall <= 4 * np.spacing(np.abs(y[1:]))).all()
    else:
        assert (np.maximum.accumulate(y) - y).max() > 1e-3


def _finite(y):
    """Infinities as the largest numbers, or a fourth of them, so that differences are finite."""
    largest = np.finfo(y.dtype).max / 4
    return np.clip(y, -largest, largest)


def test_parity(elementwise, backend):
    properties = elementwise.definition.properties
    x = grid(elementwise)
    there, back = call(elementwise, backend, x), call(elementwise, backend, -x)
    sign = {"odd": -1, "even": 1, None: None}[properties.parity]
    low, high = domain_of(elementwise.definition)
    if sign is None and low == -high:
        there, back = _finite(there), _finite(back)
        assert (np.abs(there - back) > 1e-3).any()
        assert (np.abs(there + back) > 1e-3).any()
    elif sign is not None:
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
    properties = elementwise.definition.properties
    y = call(accurate(elementwise), backend, domain_of(elementwise.definition))
    np.testing.assert_array_max_ulp(y, np.array(properties.limits, dtype="f4"))


def test_zero_centred(elementwise, backend):
    y = call(elementwise, backend, [*grid(elementwise), 0.0])
    y, at_zero = y[:-1], y[-1]
    both = at_zero == 0 and y.min() < 0 < y.max()
    assert both == elementwise.definition.properties.zero_centred


def test_lipschitz(elementwise, backend):
    properties = elementwise.definition.properties
    kinks = np.array(properties.kinks, dtype="f4")
    beside = [np.nextafter(kinks, np.float32(end)) for end in (-inf, inf)]
    x = np.concatenate([np.linspace(-30, 30, 60001), GRID, *beside])
    x = in_domain(elementwise.definition, x)
    steepest = np.abs(call(elementwise.derivative, backend, x)).max()
    if properties.lipschitz == inf:
        assert steepest > 100 or properties.smoothness == -1
    else:
        np.testing.assert_allclose(steepest, properties.lipschitz, rtol=1e-6)
        assert properties.smoothness >= 0


def test_smoothness(elementwise, backend):
    """It jumps at its kinks, or its derivative does; elsewhere they move little in a small step."""
    properties = elementwise.definition.properties
    assert bool(properties.kinks) == (properties.smoothness < inf)
    span = 1.25 * max(6.4, *np.abs([*properties.kinks, 0.0]))
    low, high = np.clip(domain_of(elementwise.definition), -span, span)
    # an end may have an infinite derivative
    x = np.linspace(low, high, 2**15 + 1)[2000:-2000].astype("f4")
    jumps = _jumps(x, call(elementwise, backend, x))
    corners = _jumps(x, call(elementwise.derivative, backend, x))
    expected = properties.kinks if properties.smoothness == -1 else ()
    np.testing.assert_allclose(jumps, expected, atol=1e-3)
    if properties.smoothness == -1:  # the derivative may be the same on both sides
        expected = [k for k in properties.kinks if np.isclose(k, corners, atol=1e-3).any()]
    else:
        expected = properties.kinks if properties.smoothness == 0 else ()
    np.testing.assert_allclose(corners, expected, atol=1e-3)


def _jumps(x, y):
    step = np.abs(np.diff(y))
    return x[1:][step > 0.01 * np.maximum(1, np.abs(y[1:]))]


def test_sum(along_axis, backend):
    claimed = along_axis.definition.properties.sums_to
    x = np.random.default_rng(7).normal(size=(5, 64)) * 10
    y = call(along_axis, backend, x)
    holds = claimed is not None and np.allclose(y.sum(axis=-1), claimed, rtol=1e-6)
    assert holds == (claimed is not None)


def test_sum_of_elementwise_functions(elementwise, backend):
    """They claim none."""
    assert elementwise.definition.properties.sums_to is None


@given(st.floats(width=32), st.sampled_from([f.__name__ for f in FUNCTIONS]))
@settings(max_examples=500, deadline=None)
def test_any_float32(x, name):
    function = ax.get(name)
    definition = function.definition
    row = np.array([x, 0.5], dtype="f4")
    y = function(row, **required_parameters(function))
    assert y.dtype == row.dtype
    low, high = definition.properties.range
    least, greatest = domain_of(definition)
    is_real = least <= x <= greatest  # not NaN, nor outside
    if abs(x) == inf and output_axis(function) is None:
        is_real &= not np.isnan(definition.properties.limits[int(x > 0)])  # it oscillates
    if not is_real:
        assert np.isnan(np.ravel(y)[0])
    elif abs(x) != inf or output_axis(function) is None:
        assert np.float32(low) <= np.ravel(y)[0] <= np.float32(high)
    if output_axis(function) is None:
        derivative = function.derivative(row, **required_parameters(function))[0]
        assert np.isnan(derivative) == (not is_real)
        if definition.properties.smoothness == -1 or definition.properties.lipschitz < inf:
            assert not np.isinf(derivative)
        if abs(x) < 1e30 and least <= min(x, 0.5) and max(x, 0.5) <= greatest:
            wide = function(row.astype("f8"), **required_parameters(function))
            budget = 2 * definition.ulp + 1
            assert (difference(y, wide.astype(object), row) <= budget).all()


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False), _ELEMENTWISE)
@settings(max_examples=500, deadline=None)
def test_any_two_float32(x, y, function):
    properties = function.definition.properties
    low, high = domain_of(function.definition)
    pair = np.clip(np.array([min(x, y), max(x, y)], dtype="f4"), low, high)
    below, above = map(float, function(pair, **required_parameters(function)))
    if properties.monotonic and abs(above) != inf:
        slack = 2.0**-22 * function.definition.ulp * max(abs(above), 1e-37)
        assert below <= above + slack
    if properties.parity:
        sign = {"odd": -1, "even": 1}[properties.parity]
        np.testing.assert_array_equal(
            function(-pair, **required_parameters(function)), [sign * below, sign * above]
        )
    if properties.fixed_points is None:
        np.testing.assert_array_equal([below, above], pair)


FALSE_CLAIMS = [
    {"range": (-0.5, 1.0)},
    {"range": (-2.0, 1.0)},
    {"monotonic": False},
    {"parity": "even"},
    {"parity": None},
    {"fixed_points": (0.0, 0.5)},
    {"fixed_points": ()},
    {"limits": (-1.0, 2.0)},
    {"lipschitz": 0.5},
    {"lipschitz": 2.0},
    {"lipschitz": inf},
    {"smoothness": 0},
    {"smoothness": -1},
    {"smoothness": inf},
    {"kinks": ()},
    {"domain": (-1.0, 1.0)},
    {"sums_to": 1.0},
]


@pytest.mark.parametrize("claim", FALSE_CLAIMS, ids=str)
def test_false_claims_fail(claim, backend):
    """The tests above pass for softsign, and one of them fails if one claim is another."""

    def claimed(x):
        return ax.softsign(x)

    vars(claimed).update(vars(ax.softsign))
    properties = replace(ax.softsign.definition.properties, **claim)
    claimed.definition = replace(ax.softsign.definition, properties=properties)
    failed = 0
    for test in (
        *(test_range, test_monotonic, test_parity, test_fixed_points, test_limits),
        *(test_zero_centred, test_lipschitz, test_smoothness, test_sum_of_elementwise_functions),
    ):
        test(ax.softsign, backend)
        try:
            test(claimed, backend)
        except AssertionError:
            failed += 1
    assert failed
