"""Any library of the standard: unregistered ones work, lazy ones stay lazy, strict ones agree.

The truth for every library is the computation on `MinimalArray`, which is NumPy without the kernels
and the engine that the package has for NumPy.
"""

from __future__ import annotations

import contextlib
import types

import numpy as np
import pytest
from oracle import (
    FUNCTIONS,
    UNBOUNDED_PARAMETERS,
    accurate,
    kind_of,
    map_into_domain,
    noting,
    output_axis,
    over,
    parameters_with,
    required_parameters,
    takes_array,
)

pytestmark = pytest.mark.sweep_with("jax")

VALUES = np.linspace(-7, 7, 24).reshape(2, 3, 4)


class MinimalArray:
    """The least array of the standard: NumPy's values, and only the methods that are needed."""

    def __init__(self, values):
        self.values = np.asarray(values)

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    device = "cpu"

    def __array_namespace__(self, *, api_version=None):
        return minimal


def _operator(name):
    def operate(*operands):
        minimal.calls.append(name)
        values = [_values(operand) for operand in operands]
        assert all(isinstance(v, (np.ndarray, int, float, tuple)) for v in values)
        with np.errstate(all="ignore"):
            return MinimalArray(getattr(values[0], name)(*values[1:]))

    return operate


for _name in (
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__"),
    *("__rtruediv__", "__neg__", "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"),
    *("__or__", "__and__", "__invert__", "__getitem__", "__pow__"),
):
    setattr(MinimalArray, _name, _operator(_name))


def _values(argument):
    if isinstance(argument, list):
        return [_values(a) for a in argument]
    return argument.values if isinstance(argument, MinimalArray) else argument


def _function(name):
    def call(*args, **kwargs):
        minimal.calls.append(name)
        with np.errstate(all="ignore"):
            return MinimalArray(getattr(np, name)(*map(_values, args), **kwargs))

    return call


class _Namespace(types.ModuleType):
    """NumPy's functions, recorded; array-api-strict says which of them the standard has."""

    float32, float64, bool = np.dtype("f4"), np.dtype("f8"), np.dtype("?")
    isdtype, is_known = staticmethod(np.isdtype), staticmethod(lambda size: True)
    finfo = staticmethod(np.finfo)
    __array_namespace_info__ = staticmethod(np.__array_namespace_info__)

    def __getattr__(self, name):
        return _function(name)


minimal = _Namespace("minimal")
minimal.calls = []


def forms(case):
    return [case.function, *case.accurate_forms]


def on_minimal(form, x, given):
    """Return what a form is on minimal arrays of these values."""
    there = {k: MinimalArray(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
    return form(MinimalArray(x), **there).values


def on_backend(backend, form, x, given):
    """Return what a form is on a backend's widest floats, and the tolerance for that."""
    dtype = backend.dtypes[-1]
    there = {
        k: backend.array(v, dtype if v.dtype.kind == "f" else "bool")
        if isinstance(v, np.ndarray)
        else v
        for k, v in given.items()
    }
    there_x = backend.array(x, dtype)
    with strictest(backend), lazy(backend):
        y = form(there_x, **there)
    assert type(y) is type(there_x)
    tolerance = {"float64": 1e-13, "float32": 1e-5}[dtype]
    return backend.asnumpy(y), {"rtol": tolerance, "atol": tolerance / 50}


@contextlib.contextmanager
def strictest(backend):
    """Have array-api-strict refuse what needs known values; leave other libraries as they are."""
    if backend.library != "strict":
        yield
        return
    from array_api_strict import ArrayAPIStrictFlags

    with ArrayAPIStrictFlags(
        boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    ):
        yield


@contextlib.contextmanager
def lazy(backend):
    """Have Dask and cubed refuse to compute; leave other libraries as they are."""
    if backend.library == "cubed":
        from cubed.core.plan import FinalizedPlan

        with pytest.MonkeyPatch.context() as patched:
            patched.delattr(FinalizedPlan, "execute")
            yield
        return
    if backend.library != "dask":
        yield
        return
    import dask

    def scheduler(*args, **kwargs):
        raise AssertionError("a lazy array was computed")

    with dask.config.set(scheduler=scheduler):
        yield


# values


def test_values_without_reading_x(case, backend):
    for form in forms(case):
        got, tolerance = on_backend(backend, form, VALUES, case.parameters)
        np.testing.assert_allclose(got, on_minimal(form, VALUES, case.parameters), **tolerance)


def test_values_without_reading_array_parameters(case, backend):
    x = map_into_domain(case.definition, np.linspace(-7, 7, 8)).reshape(2, 4)
    given = case.parameters
    for name, kind in case.definition.parameters.items():
        if takes_array(kind) and case.all_parameters[name] is not None:
            given[name] = np.full(4, case.all_parameters[name], np.float64)
        elif name == "where":
            given[name] = np.array([True, False, True, True])
    if "axis" in given or output_axis(case.function) is not None:
        given["axis"] = -1
    for form in forms(case):
        got, tolerance = on_backend(backend, form, x, given)
        assert np.isfinite(got[..., [0, -1]]).all()
        np.testing.assert_allclose(got, on_minimal(form, x, given), **tolerance)


ALONG_AXES = [
    f for f in FUNCTIONS if "axis" in f.definition.parameters and kind_of(f, "axis") == "axes"
]


@pytest.mark.parametrize("axis", [0, 1, -1, (1,), (0, 2), (-1, 0), (), None], ids=str)
@over("function", ALONG_AXES)
def test_values_along_axes(function, backend, axis):
    given = {**required_parameters(function), "axis": axis}
    for form in (function, accurate(function)):
        got, tolerance = on_backend(backend, form, VALUES, given)
        np.testing.assert_allclose(got, on_minimal(form, VALUES, given), **tolerance)


@over("large", [2**31, 2**63, 2**70])
@over("function, name", UNBOUNDED_PARAMETERS)
def test_large_integer_parameters(function, name, large, backend):
    x = backend.array([[-1.5, 2.0]], "float32")
    y = function(x, **parameters_with(function, name, large))
    expected = function(x, **parameters_with(function, name, float(large)))
    np.testing.assert_array_equal(backend.asnumpy(y), backend.asnumpy(expected))


@pytest.mark.once
def test_unregistered_library(case):
    for dtype in ("float32", "float64", "int64", "bool"):
        x = np.linspace(-7, 7, 8).reshape(2, 4).astype(dtype)
        for form in forms(case):
            minimal.calls.clear()
            with noting(dtype):
                y = form(MinimalArray(x), **case.parameters)
                assert type(y) is MinimalArray
                expected = form(x, **case.parameters)
                assert y.dtype == expected.dtype
                # its exp and log1p are NumPy's own, which the package mends for NumPy
                eps = np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
                np.testing.assert_allclose(y.values, expected, rtol=64 * eps, atol=64 * eps)
                assert minimal.calls or expected is x
