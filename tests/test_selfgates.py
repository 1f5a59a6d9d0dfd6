"""What only some self-gated units do."""

from __future__ import annotations

import numpy as np
from test_derivatives import slope, slope_by_parameter

import activations_xp as ax
from activations_xp._oracle import difference, truth


def test_erfact_opens_however_small_its_alpha_is(backend):
    formula, ulp = ax.erfact.definition.formula, ax.erfact.definition.ulp
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        x = np.linspace(0.25, 60, 240).astype(dtype)
        given = {"alpha": 2.0**-40, "beta": 1.0}
        there = backend.array(x, dtype)
        got = backend.asnumpy(ax.erfact(there, **given))
        assert difference(got, truth(formula, x, given), x).max() <= ulp
        got = backend.asnumpy(ax.erfact.derivative(there, **given))
        assert difference(got, slope(formula, x, given), x).max() <= 2 * ulp + 2
        slopes = ax.erfact.parameter_derivatives(there, **given)
        for name, got in slopes.items():
            exact = slope_by_parameter(formula, x, given, name)
            assert difference(backend.asnumpy(got), exact, x).max() <= 4 * ulp + 8
