"""The published conventions: current, and true on every library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tools import conventions

pytestmark = pytest.mark.usefixtures("uncompiled")

PAGE = Path(__file__).parents[1] / "docs" / "conventions.md"


def test_the_page_is_current(backend):
    ours, written = conventions.page(), PAGE.read_text()
    assert written[: len(ours)] == ours, "run nox -s tables"
    if backend.library == "torch":  # whose kernels are not the same on every processor
        listed = written[len(ours) :].splitlines()
        assert not set(conventions.kernels().splitlines()) - set(listed), "run nox -s tables"


def test_it_is_the_same_on_every_library(elementwise, backend):
    dtype = backend.dtypes[-1]
    parameters = conventions.given(elementwise)
    points = [*conventions.POINTS, *elementwise.definition.properties.kinks]
    expected = conventions.value_and_derivative(elementwise, np.asarray(points, dtype))
    x = backend.array(points, dtype)
    got = elementwise.accurate(x, **parameters), elementwise.derivative(x, **parameters)
    for there, here in zip(got, expected, strict=True):
        assert there.dtype == x.dtype
        tolerance = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(backend.asnumpy(there), here, rtol=tolerance)
    far = np.isinf(points)
    signs = (np.signbit(np.nan_to_num(v[far])) for v in (backend.asnumpy(got[0]), expected[0]))
    np.testing.assert_array_equal(*signs)


def test_slices_are_the_same_on_every_library(backend):
    dtype = backend.dtypes[-1]
    for function, row, parameters in conventions.sliced():
        y, dx = conventions.result_and_gradient(function, row, parameters)
        there = dict(parameters)
        if "where" in there:
            there["where"] = backend.array(there["where"], "bool")
        x = backend.array(row, dtype)
        result = function.accurate(x, **there)
        g = backend.array(1.0 + np.arange(y.size).reshape(result.shape), dtype)
        for got, expected in ((result, y), (function.vjp(x, g, **there), dx)):
            values = np.ravel(backend.asnumpy(got))
            np.testing.assert_allclose(values, expected, rtol=1e-5, err_msg=function.__name__)
