"""Test the coefficients of the special functions, and the error functions computed with them."""

from __future__ import annotations

from pathlib import Path

import mpmath
import numpy as np
import pytest
from tools.derive_coefficients import FITS, module

from activations_xp._oracle import difference
from activations_xp.numerics import coefficients, special

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", FITS)
def test_coefficients_equal_derivation(name):
    assert list(getattr(coefficients, name)) == FITS[name]()


def test_coefficients_module_is_current():
    assert Path(coefficients.__file__).read_text() == module()


@pytest.mark.parametrize("name", ["erf", "erfc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_error_functions(name, dtype):
    edge = {"float32": 9.0, "float64": 26.0}[dtype]
    x = np.concatenate([np.linspace(-6, edge, 999), s := np.logspace(-30, 0, 99), -s]).astype(dtype)
    with mpmath.workdps(50):
        exact = np.frompyfunc(lambda v: getattr(mpmath, name)(float(v)), 1, 1)(x)
    got = getattr(special, name)(np, x)
    assert got.dtype == x.dtype
    assert difference(got, exact).max() <= 4


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_error_functions_at_infinities(name):
    x = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan])
    with np.errstate(all="ignore"):
        got = getattr(special, name)(np, x)
    expected = {"erf": [-1, -0.0, 0.0, 1, np.nan], "erfc": [2, 1, 1, 0, np.nan]}[name]
    np.testing.assert_array_equal(got, expected)
