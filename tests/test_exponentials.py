"""Behaviours of single exponentials."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import exact_parameter_derivative

import activations_xp as ax
from activations_xp._oracle import difference, truth

pytestmark = pytest.mark.sweep_with("jax")

LOGARITHM = "-log(1 - alpha * (x + alpha)) / alpha"


@pytest.mark.parametrize("alpha", [-0.25, -0.5, -2.0])
def test_soft_exponential_of_negative_alpha(backend, alpha, standard_dtype):
    """It is a logarithm, with an end."""
    end = 1 / alpha - alpha
    x = (end + np.geomspace(2**-10, 1e4, 200)).astype(standard_dtype)
    there = backend.array(x, standard_dtype)
    parameters = {"alpha": alpha}
    got = backend.asnumpy(ax.soft_exponential(there, alpha))
    assert difference(got, truth(LOGARITHM, x, parameters), x).max() <= 2
    got = backend.asnumpy(ax.soft_exponential.derivative(there, alpha))
    exact = truth("1 / (1 - alpha * (x + alpha))", x, parameters)
    assert difference(got, exact).max() <= 2
    got = backend.asnumpy(_by_alpha(backend, there, alpha))
    exact = exact_parameter_derivative(LOGARITHM, x, parameters, "alpha")
    assert difference(got, exact).max() <= 16

    edges = [end, np.nextafter(end, -9.0), -np.inf, np.nan, np.inf]
    edges = backend.array(edges, standard_dtype)
    got = backend.asnumpy(ax.soft_exponential(edges, alpha))
    np.testing.assert_array_equal(got[[0, -1]], [-np.inf, np.inf])
    assert np.isnan(got[2:-1]).all()
    got = backend.asnumpy(ax.soft_exponential.derivative(edges, alpha))
    np.testing.assert_array_equal(got[[0, -1]], [np.inf, 0])
    assert np.isnan(got[2:-1]).all()
    got = backend.asnumpy(_by_alpha(backend, edges, alpha))
    np.testing.assert_array_equal(got[[0, -1]], [np.inf, np.inf])
    assert np.isnan(got[2:-1]).all()


def _by_alpha(backend, x, alpha):
    """Return the derivative with respect to alpha at each element of x."""
    dtype = backend.dtype_of(x)
    alphas = backend.array(np.broadcast_to(alpha, x.shape), dtype)
    return ax.soft_exponential.vjp(backend.array(np.ones(x.shape), dtype), x, alphas)["alpha"]


def test_soft_exponential_of_alphas_of_both_signs(backend):
    alphas = [-0.5, -0.0, 0.0, 0.5]
    x = backend.array(np.full((4, 3), [-0.5, 0.0, 2.0]), "float32")
    column = backend.array(np.reshape(alphas, (4, 1)), "float32")
    for form in (ax.soft_exponential, ax.soft_exponential.derivative):
        together = backend.asnumpy(form(x, column))
        alone = [backend.asnumpy(form(x, alpha))[i] for i, alpha in enumerate(alphas)]
        np.testing.assert_array_max_ulp(together, np.stack(alone), 2)
