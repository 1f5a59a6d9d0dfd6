"""Gradients of array parameters that the vjp of a function along an axis computes itself."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import required_parameters

import activations_xp as ax

pytestmark = pytest.mark.once

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4))
WHERE = RNG.random(X.shape) > 0.3
ROW, CHANNELS, FULL = RNG.normal(size=4), RNG.normal(size=(3, 1)), RNG.normal(size=X.shape)

CASES = [
    ("logsumexp", {"b": np.abs(ROW)}, {}),
    ("logsumexp", {"b": np.abs(FULL)}, {"axis": (0, 2), "where": WHERE, "keepdims": True}),
    ("logsumexp", {"b": CHANNELS}, {"axis": 1, "return_sign": True}),
    ("standardize", {"mean": CHANNELS}, {}),
    ("standardize", {"mean": ROW}, {"axis": (0, 1), "where": WHERE}),
    ("standardize", {"variance": np.abs(FULL) + 0.5}, {"axis": 0}),
    ("standardize", {"variance": np.abs(CHANNELS) + 0.5}, {"where": WHERE}),
    ("standardize", {"mean": ROW, "variance": np.abs(CHANNELS) + 0.5}, {}),
]


@pytest.mark.parametrize(("name", "arrays", "others"), CASES)
def test_vjp_of_array_parameters(name, arrays, others):
    function = ax.get(name)

    def value(**changed):
        result = function(changed.pop("x", X), **{**arrays, **changed}, **others)
        return result[0] if isinstance(result, tuple) else result

    g = np.random.default_rng(1).normal(size=value().shape)
    gradients = function.vjp(g, X, **arrays, **others)
    assert list(gradients) == ["x", *arrays]
    for argument, array in {"x": X, **arrays}.items():
        gradient = gradients[argument]
        assert gradient.shape == array.shape
        step = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            step[i] = 1e-6
            upper, lower = value(**{argument: array + step}), value(**{argument: array - step})
            np.testing.assert_allclose(
                gradient[i], np.sum(g * (upper - lower)) / 2e-6, rtol=1e-6, atol=1e-7
            )
            step[i] = 0.0


@pytest.mark.parametrize(("name", "arrays", "others"), CASES)
def test_vjp_of_array_parameters_for_no_elements(name, arrays, others):
    arrays = {key: value[:0] if value.ndim == 3 else value for key, value in arrays.items()}
    others = {key: value[:0] if key == "where" else value for key, value in others.items()}
    function, x = ax.get(name), X[:0]
    with np.errstate(divide="ignore"):
        result = function(x, **arrays, **others)
    g = result[0] if isinstance(result, tuple) else result
    gradients = function.vjp(g, x, **arrays, **others)
    for argument, array in {"x": x, **arrays}.items():
        assert gradients[argument].shape == array.shape


TIES = [
    ("clipped_gelu", "max_val"),
    ("hard_shrink", "lambd"),
    ("hard_tanh", "max_val"),
    ("hard_tanh", "min_val"),
    ("relu", "max_value"),
    ("relu", "threshold"),
    ("soft_shrink", "lambd"),
    ("srelu", "t_left"),
    ("srelu", "t_right"),
    ("threshold", "threshold"),
    ("thresholded_relu", "theta"),
    ("tlu", "tau"),
]


@pytest.mark.parametrize(("name", "parameter"), TIES)
def test_gradients_at_a_tie_are_those_of_one_side(name, parameter):
    """Where x is the parameter, both together move the result as they do nearby."""
    function, h = ax.get(name), 2.0**-20
    given = {**function.definition.defaults, **required_parameters(function)}
    value = given[parameter]
    at = np.array([1.5 if value is None else value])

    def result(x):
        return function(x, **{**given, parameter: x})

    numeric = (result(at + h) - result(at - h)) / (2 * h)
    gradients = function.vjp(np.ones(1), at, **{**given, parameter: at})
    np.testing.assert_allclose(gradients["x"] + gradients[parameter], numeric, rtol=1e-6, atol=1e-6)
