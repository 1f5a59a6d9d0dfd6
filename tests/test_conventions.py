"""Test that the page of conventions is current, and true on every library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import accurate, vjp
from tools import conventions

PAGE = Path(__file__).parents[1] / "docs" / "conventions.md"


@pytest.mark.once
def test_page_is_current():
    page = conventions.page()
    assert PAGE.read_text()[: len(page)] == page, "run nox -s tables"


@pytest.mark.libraries("torch")
def test_page_of_kernels_is_current(backend):
    """Other lines may stand on the page, because kernels differ between processors."""
    lines = PAGE.read_text().splitlines()
    assert not set(conventions.kernels().splitlines()) - set(lines), "run nox -s tables"


@pytest.mark.sweep_with("jax")
def test_conventions_on_every_library(elementwise, backend):
    dtype = backend.dtypes[-1]
    parameters = conventions.given(elementwise)
    points = [*conventions.POINTS, *elementwise.definition.properties.kinks]
    expected = conventions.value_and_derivative(elementwise, np.asarray(points, dtype))
    x = backend.array(points, dtype)
    got = accurate(elementwise)(x, **parameters), elementwise.derivative(x, **parameters)
    for result, exact in zip(got, expected, strict=True):
        assert result.dtype == x.dtype
        tolerance = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(backend.asnumpy(result), exact, rtol=tolerance)
    is_limit = np.isinf(points)
    signs = (np.signbit(np.nan_to_num(v[is_limit])) for v in (backend.asnumpy(got[0]), expected[0]))
    np.testing.assert_array_equal(*signs)


SLICES = [
    pytest.param(function, row, parameters, id=f"{function.__name__}-{i}")
    for i, (function, row, parameters) in enumerate(conventions.sliced())
]


@pytest.mark.sweep_with("jax")
@pytest.mark.parametrize(("function", "row", "parameters"), SLICES)
def test_conventions_of_slices_on_every_library(function, row, parameters, backend):
    dtype = backend.dtypes[-1]
    y, dx = conventions.result_and_gradient(function, row, parameters)
    given = dict(parameters)
    if "where" in given:
        given["where"] = backend.array(given["where"], "bool")
    x = backend.array(row, dtype)
    result = accurate(function)(x, **given)
    g = backend.array(1.0 + np.arange(y.size).reshape(result.shape), dtype)
    for got, expected in ((result, y), (vjp(function, g, x, **given), dx)):
        np.testing.assert_allclose(np.ravel(backend.asnumpy(got)), expected, rtol=1e-5)
