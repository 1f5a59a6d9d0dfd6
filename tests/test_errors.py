"""Bad input is refused, never converted: one TypeError or ValueError that says what and where."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from numpy.exceptions import AxisError
from oracle import (
    ARRAY_PARAMETERS,
    FUNCTIONS,
    WRONG_PRECISION,
    ForeignArray,
    accurate,
    constraints_of,
    is_mask,
    kind_of,
    last_axis_parameters,
    noting,
    output_axis,
    over,
    parameters_with,
    required_parameters,
    set_precision,
    vjp,
    written_forms,
)

import activations_xp as ax


class Convertible:
    """An object that NumPy and torch would make an array of without a word."""

    def __array__(self, dtype=None, copy=None):
        return np.ones(4)


def assert_raises(kind, words, form, *args, **kwargs):
    """Check that the form raises this error itself, in a message that begins with its name."""
    with pytest.raises(kind) as caught:
        form(*args, **kwargs)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert message.startswith(form.definition.name.partition(".")[0])
    for word in words:
        assert word in message


def _quiet(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy.matrix announces its end
        return make()


NOT_ARRAYS = {
    "list": ([1.0, 2.0], "[1.0, 2.0]"),
    "empty list": ([], "[]"),
    "tuple": ((1.0, 2.0), "(1.0, 2.0)"),
    "None": (None, "None"),
    "string": ("1.0", "'1.0'"),
    "dict": ({"a": 1.0}, "dict"),
    "set": ({1.0}, "set"),
    "complex": (1j, "1j"),
    "range": (range(3), "range"),
    "type": (float, "type"),
    "function": (np.tanh, "ufunc"),
    "bytes": (b"1.0", "bytes"),
    "buffer": (memoryview(b"1.0"), "memoryview"),
    "convertible": (Convertible(), "Convertible"),
    "objects": (np.array([1.0, None]), "object"),
    "complex array": (np.array([1j]), "complex128"),
    "complex scalar": (np.complex64(1j), "complex64"),
    "datetime": (np.array(["2020-01-01"], dtype="M8[D]"), "datetime64"),
    "timedelta": (np.array([1], dtype="m8[s]"), "timedelta64"),
    "strings": (np.array(["1.0"]), "<U3"),
    "record": (np.zeros(2, dtype=[("a", "f4")]), "'a'"),
    "masked": (np.ma.masked_array([1.0, 2.0], [False, True]), "MaskedArray"),
    "matrix": (_quiet(lambda: np.matrix([[1.0]])), "matrix"),
}


class DataFrame:
    """An object that holds an array and gives it by a method."""

    dtype, shape, ndim = np.dtype("f8"), (2,), 1

    def to_numpy(self):
        return np.ones(2)

    keys = values = __array__ = to_numpy


class Quantity:
    """An object that holds an array and gives it by a property."""

    magnitude = property(lambda self: np.ones(2))

    def __getattr__(self, name):
        if name.startswith("__array_"):
            raise AttributeError(name)
        return getattr(np.ones(2), name)


class SparseArray:
    """An object that holds an array and that NumPy cannot convert."""

    dtype, shape, ndim = np.dtype("f8"), (2,), 1

    def toarray(self):
        return np.ones(2)


class WithUnit(np.ndarray):
    """A subclass whose elements have a unit, as those of astropy and unyt."""

    def to_value(self, unit):
        return np.asarray(self)


HINTS = [
    (np.ones(2).view(WithUnit), '{}.to_value("")'),
    (DataFrame(), "{}.to_numpy()"),
    (Quantity(), '{}.to("dimensionless").magnitude'),
    (SparseArray(), "{}.toarray()"),
    (Convertible(), "numpy.asarray({})"),
    ([1.0], "make it an array first"),
    (np.ma.masked_array([1.0]), "{}.filled(value)"),
    (_quiet(lambda: np.matrix([[1.0]])), "numpy.asarray({})"),
]


@pytest.mark.parametrize(("value", "hint"), HINTS, ids=[hint for _, hint in HINTS])
def test_hint_for_what_holds_an_array(value, hint, backend):
    x = backend.array(np.ones(2), "float32")
    assert_raises(TypeError, ["x must be an array", hint.format("x")], ax.gelu, value)
    words = ["weight must be", hint.format("weight")]
    assert_raises(TypeError, words, ax.prelu, x, value)
    words = ["key must be", hint.format("key")]
    assert_raises(TypeError, words, ax.scaled_dot_product_attention, x, value, x)


def test_hint_for_what_holds_no_array(backend):
    for value in (None, "x", 1j, {}, object(), np.complex64(1), backend.array([1j], "complex64")):
        with pytest.raises(TypeError, match=r"^prelu: weight must be [^;]*$"):
            ax.prelu(backend.array([1.0], "float32"), value)


NARROW = ["float8_e4m3fn", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"]


def _narrow_array(backend, dtype):
    """Return an array of a dtype that libraries store and do not compute in."""
    if backend.library == "torch":
        import torch

        dtype = {"float4_e2m1fn": "float4_e2m1fn_x2"}.get(dtype, dtype)
        return torch.zeros(4, dtype=torch.uint8).view(getattr(torch, dtype))
    return backend.asarray(np.ones(4).astype(getattr(ml_dtypes, dtype)))


@pytest.mark.libraries("numpy", "dask", "torch", "jax")
@pytest.mark.parametrize("narrow", NARROW)
def test_narrow_floats(narrow, backend):
    """They are refused by name, wherever they stand, with the dtypes that are taken."""
    x, bad = backend.array(np.ones(4), "float32"), _narrow_array(backend, narrow)
    taken = ["bool, integers, floats of 16 bits or more", narrow]
    for function in (ax.gelu, ax.relu, ax.identity, ax.softmax, ax.logsumexp, ax.gelu.derivative):
        assert_raises(TypeError, ["x must be an array", *taken], function, bad)
    assert_raises(TypeError, ["negative_slope must be", *taken], ax.leaky_relu, x, bad)
    assert_raises(TypeError, ["g must be", *taken], ax.gelu.vjp, bad, x)
    words = ["floats of 16 bits or more", narrow]
    assert_raises(TypeError, words, ax.scaled_dot_product_attention, bad, bad, bad)


@pytest.mark.once
def test_invalid_input(activation):
    required = required_parameters(activation)
    takes_complex = activation.definition.complex is not None
    for kind, (x, got) in NOT_ARRAYS.items():
        if takes_complex and kind.startswith("complex"):
            continue
        for form in written_forms(activation):
            for _ in range(2):  # nor is it remembered as good
                with noting(kind):
                    assert_raises(TypeError, ["x must be an array", got], form, x, **required)


def test_invalid_input_complex(activation, backend):
    if activation.definition.complex is not None:  # tests/test_complex.py
        activation = ax.relu
    x = backend.array(np.ones((2, 4)), "complex64")
    for form in written_forms(activation):
        for _ in range(2):
            words = ["x must be an array of real numbers", "complex64"]
            assert_raises(TypeError, words, form, x, **required_parameters(activation))


class BadValue(NamedTuple):
    """A value for a parameter when x has the shape (2, 4), its error, and words of the message."""

    label: str
    make: Callable[[Any], Any]
    error: type[Exception]
    got: str


def _array_of(shape, dtype="float32"):
    return lambda backend: backend.array(np.ones(shape), dtype)


def _wrong_shapes(dtype, way="to"):
    """Arrays that do not broadcast to (2, 4), or would make more of it, or not with it."""
    wider = [(5, 2, 4), (1, 2, 4)] if way == "to" else []
    for shape in [(3,), (3, 1), (0,), *wider]:
        got = f"{shape} does not broadcast {way} x of shape (2, 4)"
        yield BadValue(f"shape {shape}", _array_of(shape, dtype), ValueError, got)


def _of_other_library(backend):
    """An array of a library that is not the backend's."""
    return ForeignArray() if backend.library == "numpy" else np.ones(4, "f4")


def _bad(value, error=TypeError, got=None):
    return BadValue(repr(value), lambda _: value, error, repr(value) if got is None else got)


_NEVER = [
    _bad("1"),
    _bad(1j),
    _bad({}, got="dict"),
    _bad(object, got="type"),
    _bad(np.complex64(1j), got="complex64"),
    _bad(np.ma.masked_array([1.0, 2.0]), got="MaskedArray"),
]
_NOT_NUMBERS = [*_NEVER, _bad([1.0]), _bad((1.0,)), _bad([]), _bad(None)]
_STRANGE_ARRAYS = [
    BadValue("foreign", lambda _: ForeignArray(), TypeError, "Foreign"),
    BadValue("other library", _of_other_library, TypeError, "float32"),
    BadValue("complex array", _array_of(4, "complex64"), TypeError, "complex64"),
]
_NOT_INDICES = [*_NEVER, _bad(1.0), _bad(np.float64(1), got="float64"), _bad(True)]
_AXES = [
    _bad(2, AxisError, "2 is out of range for x with 2 dimensions"),
    _bad(-3, AxisError, "-3 is out of range for x with 2 dimensions"),
    *_NOT_INDICES,
    _bad([0]),
    BadValue("array", _array_of(2, "int32"), TypeError, "int32"),
]
BAD_VALUES = {
    "array or number": [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32")],
    "channel array": [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32")],
    "slice array": [
        *_NOT_NUMBERS,
        *_STRANGE_ARRAYS,
        *_wrong_shapes("float32"),
        BadValue("shape (4,)", _array_of(4), ValueError, "size 1 along the axis, got shape (4,)"),
        BadValue("shape (2, 4)", _array_of((2, 4)), ValueError, "size 1 along the axis"),
    ],
    "free array": [
        *_NOT_NUMBERS,
        *_STRANGE_ARRAYS,
        *(
            BadValue(f"shape {shape}", _array_of(shape), ValueError, "the result, of shape (2, 2)")
            for shape in [(4,), (3, 1), (0,), (1, 2, 2)]
        ),
    ],
    "coefficients": [
        *_NEVER,
        *_STRANGE_ARRAYS,
        _bad(1.0),
        _bad(None),
        _bad(("a",)),
        _bad((), ValueError, "at least one coefficient"),
        BadValue("empty", _array_of(0), ValueError, "at least one coefficient"),
        BadValue("matrix", _array_of((2, 3)), ValueError, "one dimension, got shape (2, 3)"),
    ],
    "operand": [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32", "with")],
    "noise": [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32")],
    "companion": [
        *_NEVER,
        *_STRANGE_ARRAYS,
        _bad(1.0),
        _bad([1.0]),
        *_wrong_shapes("float32", "with"),
    ],
    "number": [
        *_NOT_NUMBERS,
        *_STRANGE_ARRAYS,
        BadValue("array", _array_of(4), TypeError, "must be a real number, not an array"),
        BadValue("0-d array", _array_of(()), TypeError, "must be a real number, not an array"),
    ],
    "mask": [
        *_NEVER,
        *_STRANGE_ARRAYS,
        _bad(True),
        _bad(1),
        _bad([True, False]),
        BadValue("integers", _array_of(4, "int32"), TypeError, "int32"),
        BadValue("floats", _array_of(4), TypeError, "float32"),
        *_wrong_shapes("bool"),
    ],
    "count": [
        *_NOT_INDICES,
        _bad(None),
        _bad([2]),
        _bad(1.5),
        _bad(0, ValueError, "a positive integer, got 0"),
        _bad(-1, ValueError, "a positive integer, got -1"),
    ],
    "axis": [*_AXES, _bad((0,))],
    "new axis": [
        _bad(3, AxisError, "3 is out of range for a result with 3 dimensions"),
        _bad(-4, AxisError, "-4 is out of range for a result with 3 dimensions"),
        *_NOT_INDICES,
        _bad((0,)),
    ],
    "axes": [
        *_AXES,
        _bad((0, 0), ValueError),
        _bad((1, -1), ValueError),
        _bad((0, 2), AxisError, "2 is out of range"),
        _bad((0, 1.0)),
        _bad((0, True)),
    ],
    "choice": [_bad(value, ValueError) for value in ("fast", "", 3, 1.5, None, (), [])],
}
"""By what a parameter takes, as `kind_of` says it."""


PARAMETERS = [(function, name) for function in FUNCTIONS for name in function.definition.parameters]


@over(("function", "name"), PARAMETERS)
def test_invalid_parameters(function, name, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    spec, kind = function.definition.parameters[name], kind_of(function, name)
    for bad in BAD_VALUES[kind]:
        if bad.label == "None" and (spec.optional or kind == "noise"):
            continue
        for form in written_forms(function):
            parameters = {**required_parameters(function), name: bad.make(backend)}
            for _ in range(2):
                with noting(bad.label):
                    assert_raises(bad.error, [name, bad.got], form, x, **parameters)


def _equal_values():
    """A good value of a parameter with values of other types that are equal to it, and bad."""
    integers = 1, [1.0, True, np.bool_(True), np.float64(1)]
    numbers = 1, [1 + 0j, Decimal(1), Fraction(1), np.complex64(1)]
    good = {
        "axis": integers,
        "new axis": integers,
        "count": integers,
        "axes": ((0, 1), [(0, 1.0), (0, True), (0, np.float64(1))]),
        "array or number": numbers,
        "channel array": numbers,
        "slice array": numbers,
        "free array": numbers,
        "operand": numbers,
        "noise": numbers,
        "choice": (True, [1, 1.0]),
    }
    for function in FUNCTIONS:
        for name, spec in function.definition.parameters.items():
            kind = kind_of(function, name)
            value, equal = good.get(kind, (None, []))
            if equal and (kind != "choice" or value in spec.choices):
                yield pytest.param(function, name, value, equal, id=f"{function.__name__}-{name}")


@pytest.mark.parametrize(("function", "name", "good", "equal"), list(_equal_values()))
def test_invalid_parameters_after_equal_valid_ones(function, name, good, equal, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    message = rf"^{function.__name__}.*: {name} must"
    for form in written_forms(function):
        for bad in equal:
            form(x, **parameters_with(function, name, good))
            with noting(bad), pytest.raises((TypeError, ValueError), match=message):
                form(x, **{**required_parameters(function), name: bad})


def _broken_constraints():
    """Values of parameters that do not meet a constraint."""
    for function in FUNCTIONS:
        for constraint in constraints_of(function.definition):
            others = dict.fromkeys(function.definition.parameters)
            broken = 0
            for value in (0, 0.0, -1, -1.0, float("inf"), float("-inf"), float("nan")):
                given = dict.fromkeys(constraint.names, value)
                if not constraint.holds({**others, **given}):
                    broken += 1
                    label = f"{function.__name__}-{constraint.text}-{value}"
                    yield pytest.param(function, given, id=label)
            assert broken, f"no value breaks {constraint.text}"


@pytest.mark.parametrize(("function", "given"), list(_broken_constraints()))
def test_invalid_parameters_by_constraint(function, given, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    for form in written_forms(function):
        for convert in (lambda value: value, np.float64):
            values = {name: convert(value) for name, value in given.items()}
            words = ["requires", *(f"{name}={value:g}" for name, value in given.items())]
            assert_raises(ValueError, words, form, x, **{**required_parameters(function), **values})


def test_unexpected_missing_and_extra_arguments(activation, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    required = required_parameters(activation)
    extra = [1] * (len(activation.definition.parameters) + 1)
    for form in written_forms(activation):
        assert_raises(
            TypeError, ["unexpected keyword argument 'apha'"], form, x, **required, apha=1.0
        )
        assert_raises(TypeError, ["positional argument"], form, x, *extra)
        assert_raises(TypeError, ["missing", "'x'"], form, **required)
        assert_raises(TypeError, ["'x'"], form, x=x, **required)
        if set(required) - {"noise"}:
            assert_raises(TypeError, ["missing", f"'{next(iter(required))}'"], form, x)


HAVE_AXIS = [
    f for f in FUNCTIONS if "axis" in f.definition.parameters and kind_of(f, "axis") != "new axis"
]


@over("function", HAVE_AXIS)
def test_axis_of_zero_dimensions(function, backend):
    x = backend.array(1.0, "float32")
    given = last_axis_parameters(function)
    for form in written_forms(function):
        assert_raises(AxisError, ["axis -1", "0 dimensions"], form, x, **given)


@pytest.mark.parametrize(("size", "units"), [(4, 3), (3, 2), (1, 2), (0, 1)])
@over("function", [f for f in FUNCTIONS if "num_units" in f.definition.parameters])
def test_units_that_do_not_divide_axis(function, size, units, backend):
    x = backend.array(np.ones((size, 2)), "float32")
    for form in written_forms(function):
        for _ in range(2):
            words = ["num_units", f"axis 0, got {units} for {size}"]
            assert_raises(ValueError, words, form, x, num_units=units, axis=0)


def _on_other_devices(backend, values, dtype):
    """The array on each of the library's devices but the one that the backend uses."""
    x = backend.array(values, dtype)
    if backend.library == "torch":
        return [x.to("meta")]
    import array_api_strict as xp

    devices = xp.__array_namespace_info__().devices()
    return [x.to_device(d) for d in devices if d != x.device]


HAVE_ARRAYS = [
    (function, name, "bool" if is_mask(spec) else "float32")
    for function in FUNCTIONS
    for name, spec in function.definition.parameters.items()
    if is_mask(spec) or spec.is_floating
]


@pytest.mark.libraries("torch", "strict")
@over(("function", "name", "dtype"), HAVE_ARRAYS)
def test_device_mismatch(function, name, dtype, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    for there in _on_other_devices(backend, np.ones(4), dtype):
        for form in written_forms(function):
            words = [f"{name} is on device", str(there.device), str(x.device)]
            given = {**required_parameters(function), name: there}
            assert_raises(ValueError, words, form, x, **given)


OF_NUMBERS = [(f, n) for f, n in ARRAY_PARAMETERS if output_axis(f) is None]


@pytest.mark.once
@over(("function", "name"), OF_NUMBERS)
def test_invalid_array_parameters_of_numbers(function, name):
    given = {**required_parameters(function), name: np.ones(4)}
    if kind_of(function, name) != "operand":
        assert_raises(ValueError, [name, "(4,)"], function, 1.0, **given)
    given[name] = ForeignArray()
    assert_raises(TypeError, [name, "Foreign"], function, 1.0, **given)


@pytest.mark.once
@pytest.mark.parametrize("wrong", ["geul", "gelo", "", "x" * 1000, "re_lou"])
def test_unknown_name(wrong):
    """The message has the three closest names."""
    with pytest.raises(ValueError, match=r"^get: no activation is named") as caught:
        ax.get(wrong)
    message = str(caught.value)
    assert repr(wrong) in message
    closest = message.rpartition("the closest are ")[2].split(", ")
    assert len(closest) == 3
    assert set(closest) <= set(ax.names(aliases=True))
    if wrong in ("geul", "gelo"):
        assert "gelu" in closest


@pytest.mark.once
@pytest.mark.parametrize("name", [None, 1, 1.5, ["relu"], ("relu",), b"relu", ax.relu])
def test_name_of_wrong_type(name):
    with pytest.raises(TypeError, match=r"^get: name must be a string or a map.*, got ") as caught:
        ax.get(name)
    assert type(caught.value) is TypeError


@pytest.mark.parametrize("name", ["quick", "", "Auto", None, 1, True, [], ["auto"], {}])
def test_unknown_precision(name, backend):
    """It is refused, and changes nothing."""
    x = backend.array([[-1.0, 2.0]], "float32")
    before = backend.asnumpy(ax.relu(x))
    with pytest.raises(ValueError, match=WRONG_PRECISION), set_precision(name):
        pass
    np.testing.assert_array_equal(backend.asnumpy(ax.relu(x)), before)


def test_vjp_of_number(backend):
    """A number is the cotangent of a result without dimensions, whichever x came before."""
    vjp(ax.silu, 1.0, backend.array(0.5, "float32"))
    x = backend.array([0.5, 1.0], "float32")
    for function in (ax.silu, ax.softmax):
        with pytest.raises(TypeError, match=rf"^{function.__name__}\.vjp: g must be an array"):
            vjp(function, 1.0, x)
    for given in ({"keepdims": True}, {"axis": ()}):
        with pytest.raises(ValueError, match=r"^logsumexp\.vjp: g of shape \(\) must have the"):
            vjp(ax.logsumexp, 1.0, x, **given)
    with pytest.raises(ValueError, match=r"^logaddexp\.vjp: g of shape \(\) must have the shape"):
        ax.logaddexp.vjp(1.0, x[0], x)


@pytest.mark.parametrize("g", [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2)])
def test_vjp_of_reduction_for_number(g, backend):
    for dtype in ("float32", "int32"):
        x = backend.array([[1, 2], [3, 5]], dtype)
        for function in (ax.logsumexp, ax.logmeanexp):
            got = vjp(function, g, x)
            exact = float(g) * np.exp([[1, 2], [3, 5]]) / np.exp([1, 2, 3, 5]).sum()
            assert dtype == "int32" or got.dtype == x.dtype
            np.testing.assert_allclose(backend.asnumpy(got), exact, rtol=1e-6)


def test_vjp_of_loss_for_number(backend):
    shapes = {"x": (3, 4), "head_weight": (3, 4), "first": (2, 4), "second": (2, 2)}
    rng = np.random.default_rng(0)
    given = {name: backend.array(rng.normal(size=s), "float32") for name, s in shapes.items()}
    given["tail_weights"] = [(given.pop("first"), given.pop("second"))]
    given["target"] = backend.array([0, 2, 3], "int64")
    loss = ax.adaptive_log_softmax_with_loss
    one = backend.array(1.0, "float32")
    got, same = (loss.vjp((None, g), **given)["x"] for g in (1.0, one))
    np.testing.assert_array_equal(backend.asnumpy(got), backend.asnumpy(same))
    with pytest.raises(ValueError, match=r"loss\.vjp: g\[0\] of shape \(\) must .*, \(3,\)"):
        loss.vjp((1.0, None), **given)


def test_integers_with_an_array_of_parameters(backend):
    x = backend.array([1, 2, 3], "int32")
    for dtype in ("int32", "float32"):
        threshold = backend.array([0, 2, 2], dtype)
        got = backend.asnumpy(ax.relu(x, threshold=threshold))
        np.testing.assert_array_equal(got, [1.0, 0.0, 3.0])
        assert got.dtype.kind == "f"


BEYOND = [
    (ax.leaky_relu, {"negative_slope": 1e308}, [-inf, 0, 0.5]),
    (ax.leaky_relu, {"negative_slope": -1e308}, [inf, 0, 0.5]),
    (ax.leaky_relu, {"negative_slope": 1e-320}, [-0.0, 0, 0.5]),
    (ax.elu, {"alpha": 1e308}, [-inf, 0, 0.5]),
    (ax.celu, {"alpha": 1e308}, [-1, 0, 0.5]),
    (ax.celu, {"alpha": 1e-320}, [-0.0, 0, 0.5]),
    (ax.hard_tanh, {"min_val": -1e308, "max_val": 1e308}, [-1, 0, 0.5]),
    (ax.relu, {"max_value": 1e308}, [0, 0, 0.5]),
    (ax.relu, {"threshold": -1e308}, [-1, 0, 0.5]),
    (ax.threshold, {"threshold": 1e308, "value": -1e308}, [-inf, -inf, -inf]),
    (ax.threshold, {"threshold": -1e308, "value": 1e308}, [-1, 0, 0.5]),
    (ax.soft_shrink, {"lambd": 1e308}, [0, 0, 0]),
    (ax.soft_shrink, {"lambd": inf}, [0, 0, 0]),
    (ax.hard_shrink, {"lambd": 1e308}, [0, 0, 0]),
    (ax.softplus, {"beta": 1e308}, [0, 0, 0.5]),
    (ax.softplus, {"threshold": -1e308}, [-1, 0, 0.5]),
    (ax.softplus, {"threshold": 1e308}, np.log1p(np.exp([-1, 0, 0.5]))),
    (ax.clipped_gelu, {"max_val": 1e308}, [-0.15865525393145707, 0, 0.34573123063700656]),
    (ax.logaddexp, {"y": -1e308}, [-1, 0, 0.5]),
]


@over(("function", "parameters", "exact"), BEYOND)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_numbers_beyond_the_dtype(function, parameters, exact, dtype, backend):
    """They are what they are, whatever the dtype holds; the result is rounded."""
    x = backend.array([-1.0, 0.0, 0.5], dtype)
    for form in (function, accurate(function)):
        got = form(x, **parameters)
        assert got.dtype == x.dtype
        eps = ml_dtypes.finfo(dtype).eps
        with np.errstate(over="ignore"):
            expected = np.array(exact).astype(getattr(ml_dtypes, dtype, dtype)).astype("f8")
        got = backend.asnumpy(got).astype("f8")
        np.testing.assert_allclose(got, expected, rtol=4 * float(eps), atol=0)
