"""What holds for every function on every library: types, dtypes, shapes, memory, warnings."""

from __future__ import annotations

import inspect
import math
import pickle

import ml_dtypes
import numpy as np
import pytest
from oracle import map_into_domain, takes_array

import activations_xp as ax
from activations_xp._oracle import ACCEPTED, truth

pytestmark = pytest.mark.usefixtures("uncompiled")

SHAPES = [(), (6,), (0,), (2, 4), (3, 0, 2), (2, 3, 4)]


def _values(shape, dtype="float64"):
    size = int(np.prod(shape))
    return np.linspace(-7.0, 7.0, max(size, 1)).reshape(-1)[:size].reshape(shape).astype(dtype)


def _shaped(case, shape):
    """The shape of the result, or None if a function along an axis cannot take this shape."""
    if case.definition.output_axis is None:
        return None if case.parameters.get("axis") is not None and shape == () else shape
    whole = case.all_parameters["axis"] is None
    if shape == () and not whole:
        return None
    if case.definition.output_axis == "kept":
        return shape
    size = math.prod(shape) if whole else shape[-1]
    try:
        row = truth(case.formula, np.zeros(size), case.all_parameters)
    except ValueError:  # the formula cannot take a row of this size
        return None
    return row.shape if whole else (*shape[:-1], *row.shape)


def _same(a, b):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


def test_type_dtype_shape_and_device_are_kept(case, any_backend):
    pairs = [(dtype, (2, 4)) for dtype in any_backend.dtypes]
    pairs += [("float32", shape) for shape in SHAPES if _shaped(case, shape) is not None]
    for dtype, shape in pairs:
        x = any_backend.array(_values(shape), dtype)
        for form in (case.function, case.function.accurate):
            y = form(x, **case.parameters)
            assert type(y) is type(x)
            assert y.dtype == x.dtype
            assert tuple(y.shape) == _shaped(case, shape)
            if hasattr(x, "device"):
                assert y.device == x.device


def test_sixteen_bits_are_rounded_once_and_the_same_everywhere(case, backend):
    for dtype in {"float16", "bfloat16"} & set(backend.dtypes):
        x = backend.array(map_into_domain(case.definition, np.linspace(-12, 12, 96)), dtype)
        alone = backend.asnumpy(x)
        info = ml_dtypes.finfo(alone.dtype)
        with ax.precision("accurate"), np.errstate(all="ignore"):
            for form in case.accurate_forms:
                got = backend.asnumpy(form(x, **case.parameters))
                same = form(alone, **case.parameters)
                exact = form(alone.astype("f8"), **case.parameters)
                if backend.library == "jax":  # XLA makes zeros of float32's subnormal numbers
                    same = np.where(np.abs(same) < np.finfo("f4").tiny, same * 0, same)
                _same(got, same)
                unit = np.ldexp(1.0, np.frexp(exact)[1] - 1 - info.nmant)
                normal = (np.abs(exact) >= info.smallest_normal) & (np.abs(exact) <= info.max)
                assert (np.abs(got.astype("f8") - exact) <= unit / 2)[normal].all()


def test_out(case, backend):
    values = map_into_domain(case.definition, _values((2, 4)))
    x = backend.array(values, "float32")
    for form in {case.function, getattr(case.function, "derivative", case.function)}:
        expected = backend.asnumpy(form(x, **case.parameters))
        out = backend.array(np.full(expected.shape, 7.0), "float32")
        if backend.library == "jax":
            with pytest.raises(TypeError, match="needs an array that can be written to: JAX"):
                form(x, **case.parameters, out=out)
            continue
        assert form(x, **case.parameters, out=out) is out
        _same(backend.asnumpy(out), expected)
        if expected.shape == x.shape:
            again = backend.array(values, "float32")
            assert form(again, **case.parameters, out=again) is again
            _same(backend.asnumpy(again), expected)
    assert backend.asnumpy(x).tobytes() == values.astype("f4").tobytes()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64"])
def test_integers_become_the_default_floating_dtype(case, backend, dtype):
    x = backend.array([[0, 1, 3, 100]], dtype)
    y = case.function(x, **case.parameters)
    if case.definition.preserves_integers and not case.parameters and dtype != "bool":
        assert y.dtype == x.dtype
    else:
        default = {"torch": "float32", "jax": "float64"}.get(backend.library, "float64")
        default = "float32" if backend.name == "jax-x32" else default
        assert backend.dtype_of(y) == default
        floats = backend.array(backend.asnumpy(x).astype(default), default)
        _close_enough(backend.asnumpy(y), backend.asnumpy(case.function(floats, **case.parameters)))


def test_layout_of_the_memory_does_not_matter(case, backend):
    if backend.library in ("strict", "dask"):
        views = [lambda x: x.T, lambda x: x[:, :4]]
    else:
        views = [lambda x: x.T, lambda x: x[:, ::2], lambda x: x[:, 2:6], lambda x: x[:1].T]
        if backend.library == "numpy":
            views += [lambda x: x[::-1], lambda x: np.broadcast_to(x[:1], (4, 8)), _read_only]
        if backend.library == "torch":
            views += [lambda x: x[:1].expand(4, 8)]
    base = backend.array(_values((4, 8)), "float32")
    for view in views:
        x = view(base)
        if _shaped(case, x.shape) is None:
            continue
        copy = backend.array(backend.asnumpy(x), "float32")
        before = np.array(backend.asnumpy(x))
        _close_enough(
            backend.asnumpy(case.function.accurate(x, **case.parameters)),
            backend.asnumpy(case.function.accurate(copy, **case.parameters)),
        )
        _same(backend.asnumpy(x), before)  # and the input stays as it was


def _close_enough(a, b):
    """Equal to an ulp or two: for a strided loop libraries have other instructions and sum in
    another order.
    """
    assert a.dtype == b.dtype
    np.testing.assert_array_max_ulp(a, b, maxulp=4)


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def test_array_parameters_do_what_numbers_do(case, any_backend):
    scalars = {
        name: float(np.float32(value))  # which an array of x's dtype holds
        for name, value in case.all_parameters.items()
        if takes_array(case.definition.parameters[name]) and value is not None
    }
    dtype = "float32"
    x = any_backend.array(_values((2, 4)), dtype)
    expected = case.function.accurate(x, **{**case.parameters, **scalars})
    for name, value in scalars.items():
        shapes = [(), (1, 4), (2, 4)] if case.parameters.get("axis") is None else [(), (2,)]
        for wide in {"float32", "float64"} & set(any_backend.dtypes):
            for shape in shapes:
                parameter = any_backend.array(np.full(shape, value), wide)
                y = case.function(x, **{**case.parameters, **scalars, name: parameter})
                assert type(y) is type(x)
                assert y.dtype == x.dtype
                assert y.shape == expected.shape
                if any_backend.has_values:
                    _close_enough(any_backend.asnumpy(y), any_backend.asnumpy(expected))


def test_numpy_scalars_are_parameters_of_any_library(case, backend):
    scalars = {
        name: np.float64(value)
        for name, value in case.all_parameters.items()
        if takes_array(case.definition.parameters[name]) and value is not None
    }
    x = backend.array(_values((2, 4)), "float32")
    y = case.function(x, **{**case.parameters, **scalars})
    assert y.dtype == x.dtype
    _same(backend.asnumpy(y), backend.asnumpy(case.function(x, **case.parameters)))


EVERYTHING = [
    *(
        s * v
        for v in (0.0, 5e-324, 1e-45, 1e-38, 1e-8, 1.0, 5.5, 20.1, 88.0, 104.0)
        for s in (1, -1)
    ),
    *(s * v for v in (709.0, 745.0, 1e4, 1e20, 3.4e38, 1.7e308, np.inf) for s in (1, -1)),
]


@pytest.mark.filterwarnings("error")
def test_no_input_warns_and_nan_stays_nan(case, backend):
    for dtype in backend.dtypes:
        with np.errstate(all="ignore"):
            x = backend.array(np.array([EVERYTHING]), dtype)
            nan = backend.array(np.full(x.shape, np.nan), dtype)
        for form in {case.function, *case.accurate_forms}:
            with np.errstate(all="raise"):
                form(x, **case.parameters)
                y = form(nan, **case.parameters)
            assert np.isnan(backend.asnumpy(y).astype("f8")).all()


def test_numbers_and_numpy_scalars(elementwise):
    parameters = elementwise.definition.cases[0].parameters
    expected = elementwise(np.array([0.75]), **parameters)[0]
    assert elementwise(0.75, **parameters) == expected
    assert type(elementwise(0.75, **parameters)) is np.float64
    for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
        assert type(elementwise(kind(0.75), **parameters)) is kind
    assert type(elementwise(np.array(0.75), **parameters)) is np.ndarray


def test_a_public_function_is_a_plain_function(activation):
    assert inspect.isfunction(activation)
    forms = [activation, activation.accurate]
    if activation.definition.derivative is not None:
        forms.append(activation.derivative)
    for form in forms:
        signature = inspect.signature(form)
        expected = ["x", *activation.definition.parameters, "out"]
        if activation.definition.noise is not None:  # by keyword, as is where it comes from
            expected.remove("noise")
            drawn = [] if "derivative" in form.definition.name else ["rng"]
            expected[-1:] = ["noise", *drawn, "out"]
        assert list(signature.parameters) == expected
        assert signature.parameters["x"].kind is inspect.Parameter.POSITIONAL_ONLY
    assert pickle.loads(pickle.dumps(activation)) is activation
    assert getattr(ax, activation.__name__) is activation


def test_precision_chooses_the_form(activation, backend):
    """Inside the block a function is its accurate form; the fast one is within 8 eps of it."""
    parameters = activation.definition.cases[0].parameters
    x = backend.array(_values((2, 4)), "float32")
    fast = backend.asnumpy(activation(x, **parameters))
    accurate = backend.asnumpy(activation.accurate(x, **parameters))
    with ax.precision("accurate"):
        _same(backend.asnumpy(activation(x, **parameters)), accurate)
        with ax.precision("fast"):
            _same(backend.asnumpy(activation(x, **parameters)), fast)
    eps = ACCEPTED * 2.0**-23
    np.testing.assert_allclose(fast, accurate, rtol=eps, atol=eps)
