"""Every function against its formula in many digits, on every library, under its transforms."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from common import exact_values, moved_within, within

from activations_xp._oracle import ACCEPTED, DIGITS, difference

SEED = 20261121


def points(definition, dtype):
    """Dense near zero, out to where float32 (88) and float64 (709) underflow, and the kinks."""
    rng = np.random.default_rng(SEED)
    edge = {"float32": 100.0, "float64": 740.0}[dtype]
    kinks = np.array(definition.properties.kinks, dtype=dtype)
    x = np.concatenate(
        [
            np.linspace(-20, 20, 161),
            rng.uniform(-edge, edge, 64),
            *(s * np.geomspace(1e-30, 1e4, 35) for s in (1, -1)),
            *(np.nextafter(kinks[kinks != 0], d) for d in (-np.inf, np.inf)),
            kinks,
        ]
    ).astype(dtype)
    low, high = definition.properties.defined
    if high - low < np.inf:
        near = np.geomspace(np.finfo(dtype).tiny, (high - low) / 2, 80)
        inner = np.concatenate([np.linspace(low, high, 80), low + near, high - near])
        x = np.concatenate([x, inner]).astype(dtype)
    x = within(definition, x)
    return x[: x.size // 4 * 4]


@functools.cache
def _exact(case, dtype):
    x = points(case.definition, dtype)
    return x, exact_values(case.variant.formula, x, case.all_parameters)


def dtypes_of(backend, transform):
    """Both, but one under a transform: it sees the dtype no more than the function does."""
    plain = transform.__name__ == "_plain"
    return [
        dtype for dtype in ("float32", "float64")[: 2 if plain else 1] if dtype in backend.dtypes
    ]


@pytest.mark.once
def test_formula_has_enough_digits(case):
    x = np.concatenate([np.linspace(-30, 30, 12), [1e-20, -1e-20, 1e3, -1e3]])
    x = moved_within(case.definition, x)
    asked = case.variant.formula, x, case.all_parameters
    exact = exact_values(*asked)
    other = exact_values(*asked, 2 * DIGITS)
    np.testing.assert_allclose(exact.astype("f8"), other.astype("f8"), rtol=1e-15)


def bound(case, backend):
    """What is declared; a library that we do not mend may be some units off by itself."""
    mended = backend.library in ("numpy", "torch", "jax")
    return case.variant.ulp if mended else 2 * case.variant.ulp + 4


def test_values(case, backend, transform):
    for dtype in dtypes_of(backend, transform):
        x, exact = _exact(case, dtype)
        normal = np.abs(exact.astype("f8")) >= np.finfo(dtype).smallest_normal
        there = backend.array(x, dtype)

        portable = transform(lambda x: case.function.portable(x, **case.parameters))
        error = difference(backend.asnumpy(portable(there)), exact)
        assert error[normal].max() <= bound(case, backend)
        # what is less than normal may be flushed to zero, a unit being that of the least normal
        assert error[~normal].max(initial=0) <= 2.0 ** np.finfo(dtype).nmant

        if backend.library == "jax":  # which has no other implementation
            continue
        auto = transform(lambda x: case.function(x, **case.parameters))
        got = backend.asnumpy(auto(there))
        error = difference(got, exact, x if got.shape == x.shape else None)
        assert error.max() <= max(ACCEPTED, bound(case, backend))


@pytest.mark.sweep_with("jax")
@pytest.mark.usefixtures("uncompiled")
def test_slices_along_every_axis(case, backend):
    """A function along an axis does to each slice what it does to that slice alone."""
    if case.definition.axis is None:
        assert "axis" not in case.parameters or case.parameters["axis"] == 0
        return
    x = np.linspace(-9, 9, 4 * 6 * 8).reshape(4, 6, 8) ** 3 / 80
    is_new = case.definition.axis == "added"
    there = backend.array(x, "float32")
    x = backend.asnumpy(there).astype("f8")
    for axis in (0, 1, 2, -1, -3):
        got = backend.asnumpy(case.function(there, **case.parameters, axis=axis))
        parameters = {**case.all_parameters, "axis": axis}
        along = -1 if is_new else axis
        exact = np.apply_along_axis(
            lambda row, p=parameters: exact_values(case.variant.formula, row, p).astype("f8"),
            along,
            x,
        )
        exact = np.moveaxis(exact, -1, axis) if is_new else exact
        np.testing.assert_allclose(got, exact, rtol=2e-6, atol=1e-6)
