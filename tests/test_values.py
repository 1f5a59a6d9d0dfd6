"""Every function against its formula in many digits, on every library, under its transforms."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import (
    accurate,
    assert_values,
    exact_values,
    fast_error,
    map_into_domain,
    output_axis,
    sampled_values,
    ulp_bound,
)

from activations_xp._oracle import ACCEPTED, DIGITS


@pytest.mark.once
def test_formula_has_enough_digits(case):
    x = np.concatenate([np.linspace(-30, 30, 12), [1e-20, -1e-20, 1e3, -1e3]])
    asked = case.formula, map_into_domain(case.definition, x), case.all_parameters
    exact = exact_values(*asked)
    other = exact_values(*asked, 2 * DIGITS)
    np.testing.assert_allclose(exact.astype("f8"), other.astype("f8"), rtol=1e-15)


@pytest.mark.sweep_with("jax")
def test_values(case, backend, transform, standard_dtype):
    """Accurate within the declared ulp, fast within 8 eps."""
    x, exact = sampled_values(case, standard_dtype)
    bound = ulp_bound(case, backend.library)
    there = backend.array(x, standard_dtype)
    call = transform(lambda x: accurate(case.function)(x, **case.parameters))
    assert_values(backend.asnumpy(call(there)), exact, bound)
    if backend.library != "jax":  # whose fast forms test_jax_compiled compiles by the family
        call = transform(lambda x: case.function(x, **case.parameters))
        got = backend.asnumpy(call(there))
        if backend.library == "tensorflow":  # which makes zeros of subnormal numbers
            is_flushed = (got == 0) & (np.abs(exact) < np.finfo(standard_dtype).tiny)
            exact = np.where(is_flushed, 0 * exact, exact)
        assert fast_error(case, got, exact, x).max() <= max(ACCEPTED, bound)


@pytest.mark.sweep_with("jax")
def test_values_along_every_axis(along_axis_case, backend):
    """A function along an axis does to each slice what it does to that slice alone."""
    case = along_axis_case
    x = np.linspace(-9, 9, 2 * 4 * 6).reshape(2, 4, 6) ** 3 / 80
    adds_axis = output_axis(case.function) == "added"
    there = backend.array(x, "float32")
    x = backend.asnumpy(there).astype("f8")
    for axis in (0, 1, 2, -2):
        got = backend.asnumpy(case.function(there, **case.parameters, axis=axis))
        parameters = {**case.all_parameters, "axis": axis}
        exact = np.apply_along_axis(
            lambda row, p=parameters: exact_values(case.formula, row, p).astype("f8"),
            -1 if adds_axis else axis,
            x,
        )
        exact = np.moveaxis(exact, -1, axis) if adds_axis else exact
        np.testing.assert_allclose(got, exact, rtol=2e-6, atol=1e-6)
