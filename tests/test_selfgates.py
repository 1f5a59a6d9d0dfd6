"""Behaviours of single self-gated units."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from oracle import exact_derivative, exact_parameter_derivative, parameter_derivatives

import activations_xp as ax
from activations_xp._oracle import difference, truth
from activations_xp.functions import selfgates


def test_erfact_of_tiny_alpha(backend, standard_dtype):
    """The gate opens however small alpha is."""
    formula, ulp = ax.erfact.definition.formula, ax.erfact.definition.ulp
    x = np.linspace(0.25, 60, 240).astype(standard_dtype)
    given = {"alpha": 2.0**-40, "beta": 1.0}
    there = backend.array(x, standard_dtype)
    got = backend.asnumpy(ax.erfact(there, **given))
    assert difference(got, truth(formula, x, given), x).max() <= ulp
    got = backend.asnumpy(ax.erfact.derivative(there, **given))
    assert difference(got, exact_derivative(formula, x, given), x).max() <= 2 * ulp + 2
    by_parameter = parameter_derivatives(ax.erfact, x, backend.asarray, **given)
    assert by_parameter.keys() == given.keys()
    for name, got in by_parameter.items():
        exact = exact_parameter_derivative(formula, x, given, name)
        assert difference(backend.asnumpy(got), exact, x).max() <= 4 * ulp + 8


@pytest.mark.once
@pytest.mark.parametrize(("parts", "digits"), [("_TANH_32", 40), ("_TANH_64", 80)])
def test_constants_of_gelu_in_two_parts(parts, digits):
    *_, c, c_rest, d, d_rest = getattr(selfgates, parts)
    with mpmath.workdps(40):
        assert abs(mpmath.mpf(c) + c_rest - 2 * mpmath.sqrt(2 / mpmath.pi)) < 2.0**-digits
        cube = 2 * mpmath.sqrt(2 / mpmath.pi) * mpmath.mpf(0.044715)
        assert abs(mpmath.mpf(d) + d_rest - cube) < 2.0**-digits
