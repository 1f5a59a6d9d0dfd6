"""Any library of the standard works unregistered, lazy ones stay lazy, and strict ones agree."""

from __future__ import annotations

import contextlib
import types

import numpy as np
import pytest
from oracle import map_into_domain, parameters_with, required_parameters

from activations_xp._parameters import _axes

pytestmark = pytest.mark.usefixtures("uncompiled")


@contextlib.contextmanager
def _strictest(backend):
    """array-api-strict without what only arrays of known values can do; other libraries as is."""
    if backend.library != "strict":
        yield
        return
    from array_api_strict import ArrayAPIStrictFlags

    with ArrayAPIStrictFlags(
        boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    ):
        yield


@contextlib.contextmanager
def _lazy(backend):
    """Dask with a scheduler that refuses to compute; other libraries as they are."""
    if backend.library != "dask":
        yield
        return
    import dask

    def scheduler(*args, **kwargs):
        raise AssertionError("a lazy array was computed")

    with dask.config.set(scheduler=scheduler):
        yield


def _forms(case):
    return [case.function, case.function.native, *case.accurate_forms]


def test_no_values_are_looked_at(case, backend):
    x = backend.array(np.linspace(-7, 7, 24).reshape(2, 3, 4))
    expected = [backend.asnumpy(form(x, **case.parameters)) for form in _forms(case)]
    with _strictest(backend), _lazy(backend):
        results = [form(x, **case.parameters) for form in _forms(case)]
    for y, values in zip(results, expected, strict=True):
        assert type(y) is type(x)
        np.testing.assert_array_equal(backend.asnumpy(y), values)


def test_no_values_of_parameters_are_looked_at(case, backend):
    x = backend.array(map_into_domain(case.definition, np.linspace(-7, 7, 8)).reshape(2, 4))
    arrays = {
        name: backend.array(np.full(4, case.all_parameters[name]))
        for name, kind in case.definition.parameters.items()
        if kind.is_scalar and case.all_parameters[name] is not None
    }
    arrays |= {
        name: backend.array([True, False, True, True], "bool")
        for name in case.definition.parameters
        if name == "where"
    }
    given = {**case.parameters, **arrays}
    if "axis" in given or case.definition.axis is not None:
        given["axis"] = -1
    with _strictest(backend), _lazy(backend):
        results = [form(x, **given) for form in _forms(case)]
    values = [backend.asnumpy(y) for y in results]
    assert all(np.isfinite(v[..., [0, -1]]).all() for v in values)


def test_the_result_is_that_of_numpy(case, backend):
    values = np.linspace(-7, 7, 24).reshape(2, 3, 4)
    for form in case.accurate_forms:
        np.testing.assert_allclose(
            backend.asnumpy(form(backend.array(values, backend.dtypes[-1]), **case.parameters)),
            form(values, **case.parameters),
            rtol=1e-13 if backend.dtypes[-1] == "float64" else 1e-5,
            atol=1e-15 if backend.dtypes[-1] == "float64" else 1e-6,
        )


@pytest.mark.parametrize("axis", [0, 1, -1, (1,), (0, 2), (-1, 0), (), None])
def test_the_axes_are_those_of_numpy(activation, backend, axis):
    parameter = activation.definition.parameters.get("axis")
    if parameter is not None and parameter.check is _axes:
        values = np.linspace(-7, 7, 24).reshape(2, 3, 4)
        tolerance = {"float64": 1e-13, "float32": 1e-5}[backend.dtypes[-1]]
        x = backend.array(values, backend.dtypes[-1])
        for form in (activation, activation.native, activation.portable):
            given = {**required_parameters(activation), "axis": axis}
            y = backend.asnumpy(form(x, **given))
            expected = activation.portable(values, **given)
            np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)


def test_large_integers_are_numbers(activation, backend):
    x = backend.array([[-1.5, 2.0]], "float32")
    for name, kind in activation.definition.parameters.items():
        if kind.is_scalar:
            for large in (2**31, 2**63, 2**70):
                y = activation(x, **parameters_with(activation, name, large))
                expected = activation(x, **parameters_with(activation, name, float(large)))
                np.testing.assert_array_equal(backend.asnumpy(y), backend.asnumpy(expected))


class Counted:
    """The least array of the standard: NumPy's values, and not one method more than we ask for."""

    def __init__(self, values):
        self.values = np.asarray(values)

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    device = "cpu"

    def __array_namespace__(self, *, api_version=None):
        return counted


def _operator(name):
    def operate(*operands):
        counted.calls.append(name)
        values = [o.values if isinstance(o, Counted) else o for o in operands]
        assert all(isinstance(v, (np.ndarray, int, float, tuple)) for v in values)
        return Counted(getattr(values[0], name)(*values[1:]))

    return operate


for _name in (
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__"),
    *("__rtruediv__", "__neg__", "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"),
    *("__or__", "__and__", "__invert__", "__getitem__", "__pow__"),
):
    setattr(Counted, _name, _operator(_name))


def _values(argument):
    if isinstance(argument, list):
        return [_values(a) for a in argument]
    return argument.values if isinstance(argument, Counted) else argument


def _function(name):
    def call(*args, **kwargs):
        counted.calls.append(name)
        args = [_values(a) for a in args]
        with np.errstate(all="ignore"):
            return Counted(getattr(np, name)(*args, **kwargs))

    return call


class _Namespace(types.ModuleType):
    """NumPy's functions, counted; which of them the standard has is for array-api-strict to say."""

    float32, float64, bool = np.dtype("f4"), np.dtype("f8"), np.dtype("?")
    isdtype = staticmethod(np.isdtype)
    finfo = staticmethod(np.finfo)
    __array_namespace_info__ = staticmethod(np.__array_namespace_info__)

    def __getattr__(self, name):
        return _function(name)


counted = _Namespace("counted")
counted.calls = []


@pytest.mark.once
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_a_library_that_nobody_heard_of(case, dtype):
    values = np.linspace(-7, 7, 8).reshape(2, 4).astype(dtype)
    function = case.function
    pairs = [(function, function.portable), (function.native, function.portable)]
    pairs += [(form, form) for form in case.accurate_forms]
    for form, on_numpy in pairs:
        counted.calls.clear()
        y = form(Counted(values), **case.parameters)
        assert type(y) is Counted
        expected = on_numpy(values, **case.parameters)
        assert y.dtype == expected.dtype
        # whose exp and log1p are NumPy's own, which for NumPy are mended
        eps = np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
        close = {"rtol": 64 * eps, "atol": 64 * eps}
        np.testing.assert_allclose(y.values, expected, **close)
        assert counted.calls or expected is values
