"""The rules for every function on every library: types, dtypes, shapes, memory, warnings."""

from __future__ import annotations

import functools
import inspect
import math
import pickle

import ml_dtypes
import numpy as np
import pytest
from oracle import (
    accurate,
    map_into_domain,
    noting,
    output_axis,
    over,
    precision,
    preserves_integers,
    required_parameters,
    written_forms,
)

import activations_xp as ax
from activations_xp._oracle import truth

SHAPES = [(), (6,), (0,), (2, 4), (3, 0, 2), (2, 3, 4)]


def _values(shape, dtype="float64"):
    size = int(np.prod(shape))
    return np.linspace(-7.0, 7.0, max(size, 1)).reshape(-1)[:size].reshape(shape).astype(dtype)


def _result_shape(case, shape):
    """Return the shape of the result, or None if a function along an axis cannot take this one."""
    axis = output_axis(case.function)
    if axis is None:
        return None if case.parameters.get("axis") is not None and shape == () else shape
    takes_all = case.all_parameters["axis"] is None
    if shape == () and not takes_all:
        return None
    if axis == "kept":
        return shape
    size = math.prod(shape) if takes_all else shape[-1]
    try:
        row = truth(case.formula, np.zeros(size), case.all_parameters)
    except ValueError:  # the formula cannot take a row of this size
        return None
    return row.shape if takes_all else (*shape[:-1], *row.shape)


def assert_identical(a, b):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


def assert_close(a, b):
    """Check that both are equal to an ulp or two.

    For a strided loop libraries have other instructions and sum in another order.
    """
    assert a.dtype == b.dtype
    np.testing.assert_array_max_ulp(a, b, maxulp=4)


def _assert_like(y, x, shape):
    assert type(y) is type(x)
    assert y.dtype == x.dtype
    assert tuple(y.shape) == shape
    if hasattr(x, "device"):
        assert y.device == x.device


def _check_type(backend, form, x, parameters, shape):
    if backend.library == "jax":  # which knows it before it compiles
        import jax

        y = jax.eval_shape(functools.partial(form, **parameters), x)
        assert (y.shape, y.dtype) == (shape, x.dtype)
    else:
        _assert_like(form(x, **parameters), x, shape)


def test_type_dtype_and_device(case, any_backend):
    for dtype in any_backend.dtypes:
        x = any_backend.array(_values((2, 4)), dtype)
        for form in (case.function, accurate(case.function)):
            with noting(dtype):
                _check_type(any_backend, form, x, case.parameters, _result_shape(case, (2, 4)))


def test_shape(case, any_backend):
    for shape in SHAPES:
        expected = _result_shape(case, shape)
        if expected is not None:
            x = any_backend.array(_values(shape), "float32")
            for form in (case.function, accurate(case.function)):
                with noting(shape):
                    _check_type(any_backend, form, x, case.parameters, expected)


FLUSHING = ("jax", "tensorflow")
"""The libraries that make zeros of float32's subnormal numbers."""


@pytest.mark.sweep_with("jax", "dask")
def test_half_precision_rounding(case, backend, half_dtype):
    """16 bits are rounded once, and the same with every library.

    One whose float64 has not its digits computes in float32, and may round a tie the other way.
    """
    has_float64 = "float64" in backend.dtypes
    x = backend.array(map_into_domain(case.definition, np.linspace(-12, 12, 96)), half_dtype)
    on_numpy = backend.asnumpy(x)
    info = ml_dtypes.finfo(on_numpy.dtype)
    with precision("accurate"), np.errstate(all="ignore"):
        for form in case.accurate_forms:
            got = backend.asnumpy(form(x, **case.parameters))
            expected = form(on_numpy, **case.parameters)
            exact = form(on_numpy.astype("f8"), **case.parameters)
            if backend.library in FLUSHING:
                expected = np.where(np.abs(expected) < np.finfo("f4").tiny, expected * 0, expected)
            if has_float64:
                assert_identical(got, expected)
            unit = np.ldexp(1.0, np.frexp(exact)[1] - 1 - info.nmant)
            normal = (np.abs(exact) >= info.smallest_normal) & (np.abs(exact) <= info.max)
            half = unit / 2 if has_float64 else unit * (0.5 + 2.0**-9)  # 8 units of float32
            assert (np.abs(got.astype("f8") - exact) <= half)[normal].all()


def _out_forms(case):
    return {case.function, getattr(case.function, "derivative", case.function)}


@pytest.mark.libraries("numpy", "strict", "dask", "torch")
def test_out(case, backend):
    values = map_into_domain(case.definition, _values((2, 4)))
    x = backend.array(values, "float32")
    for form in _out_forms(case):
        expected = backend.asnumpy(form(x, **case.parameters))
        out = backend.array(np.full(expected.shape, 7.0), "float32")
        assert form(x, **case.parameters, out=out) is out
        assert_identical(backend.asnumpy(out), expected)
        if expected.shape == x.shape:
            again = backend.array(values, "float32")
            assert form(again, **case.parameters, out=again) is again
            assert_identical(backend.asnumpy(again), expected)
    assert backend.asnumpy(x).tobytes() == values.astype("f4").tobytes()


@pytest.mark.libraries("jax")
def test_out_of_immutable_arrays(case, backend):
    x = backend.array(map_into_domain(case.definition, _values((2, 4))), "float32")
    for form in _out_forms(case):
        out = backend.array(np.full(_result_shape(case, (2, 4)), 7.0), "float32")
        with pytest.raises(TypeError, match="needs an array that can be written to: JAX"):
            form(x, **case.parameters, out=out)


@pytest.mark.sweep_with("jax", "dask")
def test_integer_promotion(case, backend):
    """Integers become the default floating dtype, but where the function preserves them."""
    for dtype in ("bool", "int8", "uint8", "int32", "int64"):
        x = backend.array([[0, 1, 3, 100]], dtype)
        with noting(dtype):
            _check_promotion(case, backend, x, is_integer=dtype != "bool")


def _check_promotion(case, backend, x, is_integer):
    y = case.function(x, **case.parameters)
    if preserves_integers(case.function) and not case.parameters and is_integer:
        assert y.dtype == x.dtype
    else:
        defaults = dict.fromkeys(("torch", "tensorflow", "mlx"), "float32")
        default = defaults.get(backend.library, "float64")
        default = "float32" if backend.name == "jax-x32" else default
        assert backend.dtype_of(y) == default
        floats = backend.array(backend.asnumpy(x).astype(default), default)
        assert_close(backend.asnumpy(y), backend.asnumpy(case.function(floats, **case.parameters)))


@over("function", [ax.one_hot, ax.multi_hot])
@over(("dtype", "x", "n"), [("uint8", [5, 255], 300), ("int32", [2**24 + 1], 2**24 + 2)])
def test_integers_are_compared_as_they_are(function, dtype, x, n, backend):
    """There are more classes than integers of the dtype, or of float32."""
    y = backend.asnumpy(function(backend.array(x, dtype), n))
    rows = [sorted(x)] if function is ax.multi_hot else [[k] for k in x]
    for row, classes in zip(y.reshape(-1, n), rows, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), classes)


@pytest.mark.libraries("numpy", "strict", "dask", "torch", "jax")  # TensorFlow has no strides
@pytest.mark.sweep_with("jax", "dask")
def test_non_contiguous(case, backend):
    """The layout of the memory does not matter, and the input stays as it was."""
    if backend.library in ("strict", "dask"):
        views = [lambda x: x.T, lambda x: x[:, :4]]
    else:
        views = [lambda x: x.T, lambda x: x[:, ::2], lambda x: x[:, 2:6], lambda x: x[:1].T]
        if backend.library == "numpy":
            views += [lambda x: x[::-1], lambda x: np.broadcast_to(x[:1], (4, 8)), _read_only]
        if backend.library == "torch":
            views += [lambda x: x[:1].expand(4, 8)]
    base = backend.array(_values((4, 8)), "float32")
    arrays = [x for x in (view(base) for view in views) if _result_shape(case, x.shape) is not None]
    assert arrays
    for x in arrays:
        copy = backend.array(backend.asnumpy(x), "float32")
        before = np.array(backend.asnumpy(x))
        assert_close(
            backend.asnumpy(accurate(case.function)(x, **case.parameters)),
            backend.asnumpy(accurate(case.function)(copy, **case.parameters)),
        )
        assert_identical(backend.asnumpy(x), before)


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.sweep_with("jax", "dask")
def test_array_parameters(case, array_parameter, any_backend, standard_dtype):
    """An array of one value does what the number does, whatever its dtype."""
    value = float(np.float32(case.all_parameters[array_parameter]))  # which x's dtype holds
    x = any_backend.array(_values((2, 4)), "float32")
    numbers = {**case.parameters, array_parameter: value}
    expected = accurate(case.function)(x, **numbers)
    for shape in [(), (1, 4), (2, 4)] if case.parameters.get("axis") is None else [(), (2,)]:
        parameter = any_backend.array(np.full(shape, value), standard_dtype)
        y = case.function(x, **{**numbers, array_parameter: parameter})
        assert type(y) is type(x)
        assert y.dtype == x.dtype
        assert y.shape == expected.shape
        if any_backend.has_values:
            assert_close(any_backend.asnumpy(y), any_backend.asnumpy(expected))


def test_numpy_scalar_parameters(case, array_parameter, backend):
    scalar = np.float64(case.all_parameters[array_parameter])
    x = backend.array(_values((2, 4)), "float32")
    y = case.function(x, **{**case.parameters, array_parameter: scalar})
    assert y.dtype == x.dtype
    assert_identical(backend.asnumpy(y), backend.asnumpy(case.function(x, **case.parameters)))


EXTREME = [
    *(
        s * v
        for v in (0.0, 5e-324, 1e-45, 1e-38, 1e-8, 1.0, 5.5, 20.1, 88.0, 104.0)
        for s in (1, -1)
    ),
    *(s * v for v in (709.0, 745.0, 1e4, 1e20, 3.4e38, 1.7e308, np.inf) for s in (1, -1)),
]


@pytest.mark.sweep_with("jax", "dask")
@pytest.mark.filterwarnings("error")
def test_warnings_and_nan(case, backend):
    """No input makes NumPy warn, and NaN stays NaN."""
    for dtype in backend.dtypes:
        with np.errstate(all="ignore"):
            x = backend.array(np.array([EXTREME]), dtype)
            nan = backend.array(np.full(x.shape, np.nan), dtype)
        for form in {case.function, *case.accurate_forms}:
            with noting(dtype):
                with np.errstate(all="raise"):
                    form(x, **case.parameters)
                    y = form(nan, **case.parameters)
                assert np.isnan(backend.asnumpy(y).astype("f8")).all()


@pytest.mark.once
def test_python_numbers_and_numpy_scalars(elementwise):
    parameters = required_parameters(elementwise)
    expected = elementwise(np.array([0.75]), **parameters)[0]
    assert elementwise(0.75, **parameters) == expected
    assert type(elementwise(0.75, **parameters)) is np.float64
    for kind in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
        assert type(elementwise(kind(0.75), **parameters)) is kind
    assert type(elementwise(np.array(0.75), **parameters)) is np.ndarray


@pytest.mark.once
def test_signature_and_pickle(activation):
    assert inspect.isfunction(activation)
    for form in written_forms(activation):
        signature = inspect.signature(form)
        expected = ["x", *activation.definition.parameters, "out"]
        if activation.definition.noise is not None:  # by keyword, as is where it comes from
            expected.remove("noise")
            sampled = [] if "derivative" in form.definition.name else ["rng"]
            expected[-1:] = ["noise", *sampled, "out"]
        assert list(signature.parameters) == expected
        assert signature.parameters["x"].kind is inspect.Parameter.POSITIONAL_ONLY
    assert pickle.loads(pickle.dumps(activation)) is activation
    assert getattr(ax, activation.__name__) is activation


@pytest.mark.sweep_with("jax", "dask")
def test_precision(activation, backend):
    """Within `precision` a function computes what its form computes, and after it what it did.

    How far both are from the formula is asked in test_values.
    """
    parameters = required_parameters(activation)
    x = backend.array(_values((50, 40)), "float32")
    fast, accurate_ = (
        backend.asnumpy(f(x, **parameters)) for f in (activation, accurate(activation))
    )
    with precision("accurate"):
        assert_identical(backend.asnumpy(activation(x, **parameters)), accurate_)
        with precision("fast"):
            assert_identical(backend.asnumpy(activation(x, **parameters)), fast)
        assert_identical(backend.asnumpy(activation(x, **parameters)), accurate_)
    assert_identical(backend.asnumpy(activation(x, **parameters)), fast)
