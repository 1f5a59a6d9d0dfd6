"""Waves far out, where the product of frequency and x needs more digits than it has."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import accurate, exact_values, over

import activations_xp as ax

pytestmark = pytest.mark.sweep_with("jax")

FORMS = {
    "sin(frequency * x)": accurate(ax.sine),
    "frequency * cos(frequency * x)": ax.sine.derivative,
    "1 + sin(2 * frequency * x)": ax.snake.derivative,
}


@over("frequency", [5.1, 0.3])
@over("formula", FORMS)
def test_far_out(formula, frequency, backend):
    x = np.array([1e6, -3e9, 1e12, 3e20], "float32")
    exact = exact_values(formula, x, {"frequency": frequency}).astype("f8")
    got = backend.asnumpy(FORMS[formula](backend.array(x, "float32"), frequency))
    np.testing.assert_allclose(got / max(frequency, 1), exact / max(frequency, 1), atol=4e-7)
