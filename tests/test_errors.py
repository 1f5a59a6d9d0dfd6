"""Bad input is refused, never converted: one TypeError or ValueError that says what and where."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.exceptions import AxisError
from oracle import FUNCTIONS, ForeignArray, kind_of, parameters_with, takes_array
from oracle import required_parameters as _needed

import activations_xp as ax
from activations_xp import _parameters

pytestmark = pytest.mark.usefixtures("uncompiled")


class Convertible:
    """What NumPy and torch would make an array of without a word."""

    def __array__(self, dtype=None, copy=None):
        return np.ones(4)


def _forms(function):
    forms = [function, function.accurate]
    if function.definition.derivative is not None:
        forms.append(function.derivative)
    return forms


def _refused(kind, words, form, *args, **kwargs):
    """The form raises this error and nothing else; its message begins with the form's name."""
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


@pytest.mark.once
@pytest.mark.parametrize("what", NOT_ARRAYS)
def test_what_is_no_array_of_real_numbers(activation, what):
    x, got = NOT_ARRAYS[what]
    for form in _forms(activation):
        for _ in range(2):  # nor is it remembered as good
            _refused(TypeError, ["x must be an array", got], form, x, **_needed(activation))


def test_complex_arrays(activation, backend):
    x = backend.array(np.ones((2, 4)), "complex64")
    for form in _forms(activation):
        for _ in range(2):
            words = ["x must be an array of real numbers", "complex64"]
            _refused(TypeError, words, form, x, **_needed(activation))


class Bad(NamedTuple):
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
        yield Bad(f"shape {shape}", _array_of(shape, dtype), ValueError, got)


def _stranger(backend):
    """An array of a library that is not the backend's."""
    return ForeignArray() if backend.library == "numpy" else np.ones(4, "f4")


def _bad(value, error=TypeError, got=None):
    return Bad(repr(value), lambda _: value, error, repr(value) if got is None else got)


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
    Bad("foreign", lambda _: ForeignArray(), TypeError, "Foreign"),
    Bad("other library", _stranger, TypeError, "float32"),
    Bad("complex array", _array_of(4, "complex64"), TypeError, "complex64"),
]
_NOT_INDICES = [*_NEVER, _bad(1.0), _bad(np.float64(1), got="float64"), _bad(True)]
_AXES = [
    _bad(2, AxisError, "2 is out of range for x with 2 dimensions"),
    _bad(-3, AxisError, "-3 is out of range for x with 2 dimensions"),
    *_NOT_INDICES,
    _bad([0]),
    Bad("array", _array_of(2, "int32"), TypeError, "int32"),
]
WRONG_CHOICES = [_bad(value, ValueError) for value in ("fast", "", 3, 1.5, None, (), [])]

BAD = {
    _parameters.ARRAY_OR_NUMBER: [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32")],
    _parameters.CHANNEL_ARRAY: [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32")],
    _parameters.BROADCASTS_WITH_OR_NUMBER: [
        *_NOT_NUMBERS,
        *_STRANGE_ARRAYS,
        *_wrong_shapes("float32", "with"),
    ],
    _parameters.NOISE: [*_NOT_NUMBERS, *_STRANGE_ARRAYS, *_wrong_shapes("float32")],
    _parameters.BROADCASTS_WITH: [
        *_NEVER,
        *_STRANGE_ARRAYS,
        _bad(1.0),
        _bad([1.0]),
        *_wrong_shapes("float32", "with"),
    ],
    _parameters.NUMBER_SPEC: [
        *_NOT_NUMBERS,
        *_STRANGE_ARRAYS,
        Bad("array", _array_of(4), TypeError, "float32"),
    ],
    _parameters.MASK: [
        *_NEVER,
        *_STRANGE_ARRAYS,
        _bad(True),
        _bad(1),
        _bad([True, False]),
        Bad("integers", _array_of(4, "int32"), TypeError, "int32"),
        Bad("floats", _array_of(4), TypeError, "float32"),
        *_wrong_shapes("bool"),
    ],
    _parameters.COUNT: [
        *_NOT_INDICES,
        _bad(None),
        _bad([2]),
        _bad(1.5),
        _bad(0, ValueError, "a positive integer, got 0"),
        _bad(-1, ValueError, "a positive integer, got -1"),
    ],
    _parameters.AXIS: [*_AXES, _bad((0,))],
    _parameters.NEW_AXIS: [
        _bad(3, AxisError, "3 is out of range for a result with 3 dimensions"),
        _bad(-4, AxisError, "-4 is out of range for a result with 3 dimensions"),
        *_NOT_INDICES,
        _bad((0,)),
    ],
    _parameters.AXES: [
        *_AXES,
        _bad((0, 0), ValueError),
        _bad((1, -1), ValueError),
        _bad((0, 2), AxisError, "2 is out of range"),
        _bad((0, 1.0)),
        _bad((0, True)),
    ],
    _parameters.ParameterSpec(""): WRONG_CHOICES,
}
BAD = {kind_of(spec): bad for spec, bad in BAD.items()}


def _bad_parameters():
    for function in FUNCTIONS:
        for name, kind in function.definition.parameters.items():
            bad = BAD[kind_of(kind)]
            for value in bad:
                is_drawn = kind_of(kind) == kind_of(_parameters.NOISE)
                allowed = (kind.optional or is_drawn) and value.label == "None"
                if not allowed:
                    case = f"{function.__name__}-{name}-{value.label}"
                    yield pytest.param(function, name, value, id=case)


@pytest.mark.parametrize(("function", "name", "bad"), list(_bad_parameters()))
def test_bad_parameters(function, name, bad, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    for form in _forms(function):
        parameters = {**_needed(function), name: bad.make(backend)}
        for _ in range(2):
            _refused(bad.error, [name, bad.got], form, x, **parameters)


def _twins():
    """A good value of a parameter with values of other types that are equal to it, and bad."""
    equal_to_1 = [1 + 0j, Decimal(1), Fraction(1), np.complex64(1)]
    good = {
        _parameters.AXIS: (1, [1.0, True, np.bool_(True), np.float64(1)]),
        _parameters.AXES: ((0, 1), [(0, 1.0), (0, True), (0, np.float64(1))]),
        _parameters.COUNT: (1, [1.0, True, np.bool_(True), np.float64(1)]),
        _parameters.ARRAY_OR_NUMBER: (1, equal_to_1),
        _parameters.NOISE: (1, equal_to_1),
        _parameters.NEW_AXIS: (1, [1.0, True, np.bool_(True), np.float64(1)]),
        _parameters.BROADCASTS_WITH_OR_NUMBER: (
            1,
            [1 + 0j, Decimal(1), Fraction(1), np.complex64(1)],
        ),
        _parameters.CHANNEL_ARRAY: (1, equal_to_1),
        _parameters.ParameterSpec(""): (True, [1, 1.0]),
    }
    good = {kind_of(spec): values for spec, values in good.items()}
    for function in FUNCTIONS:
        for name, kind in function.definition.parameters.items():
            value, twins = good.get(kind_of(kind), (None, []))
            if not kind.choices or value in kind.choices:
                for twin in twins:
                    case = f"{function.__name__}-{name}-{twin!r}"
                    yield pytest.param(function, name, value, twin, id=case)


@pytest.mark.parametrize(("function", "name", "good", "twin"), list(_twins()))
def test_a_bad_value_is_bad_also_after_an_equal_good_one(function, name, good, twin, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    for form in _forms(function):
        form(x, **parameters_with(function, name, good))
        with pytest.raises((TypeError, ValueError), match=rf"^{function.__name__}.*: {name} must"):
            form(x, **{**_needed(function), name: twin})


def _forbidden():
    """Conditions of the domains, each with values of the parameters that do not meet it."""
    for function in FUNCTIONS:
        for condition in function.definition.constraints:
            others = dict.fromkeys(function.definition.parameters)
            found = 0
            for value in (0, 0.0, -1, -1.0, float("inf"), float("-inf"), float("nan")):
                given = dict.fromkeys(condition.names, value)
                if not condition.holds({**others, **given}):
                    found += 1
                    case = f"{function.__name__}-{condition.text}-{value}"
                    yield pytest.param(function, given, id=case)
            assert found, f"no value breaks {condition.text}"


@pytest.mark.parametrize(("function", "given"), list(_forbidden()))
def test_values_outside_the_domain(function, given, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    for form in _forms(function):
        for kind in (lambda value: value, np.float64):
            values = {name: kind(value) for name, value in given.items()}
            words = ["requires", *(f"{name}={value:g}" for name, value in given.items())]
            _refused(ValueError, words, form, x, **{**_needed(function), **values})


def test_unexpected_missing_and_superfluous_arguments(activation, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    needed = _needed(activation)
    superfluous = [1] * (len(activation.definition.parameters) + 1)
    for form in _forms(activation):
        _refused(TypeError, ["unexpected keyword argument 'apha'"], form, x, **needed, apha=1.0)
        _refused(TypeError, ["positional argument"], form, x, *superfluous)
        _refused(TypeError, ["missing", "'x'"], form, **needed)
        _refused(TypeError, ["'x'"], form, x=x, **needed)
        if set(needed) - {"noise"}:
            _refused(TypeError, ["missing", f"'{next(iter(needed))}'"], form, x)


def test_an_axis_of_a_number_of_no_dimensions(backend):
    x = backend.array(1.0, "float32")
    for function in FUNCTIONS:
        parameter = function.definition.parameters.get("axis")
        if parameter is not None and kind_of(parameter) != kind_of(_parameters.NEW_AXIS):
            given = {**_needed(function), "axis": -1}
            for form in _forms(function):
                _refused(AxisError, ["axis -1", "0 dimensions"], form, x, **given)


@pytest.mark.parametrize(("size", "units"), [(4, 3), (3, 2), (1, 2), (0, 1)])
def test_units_that_do_not_divide_the_axis(size, units, backend):
    x = backend.array(np.ones((size, 2)), "float32")
    for function in FUNCTIONS:
        if "num_units" in function.definition.parameters:
            for form in _forms(function):
                for _ in range(2):
                    words = ["num_units", f"axis 0, got {units} for {size}"]
                    _refused(ValueError, words, form, x, num_units=units, axis=0)


def _elsewhere(backend):
    """The devices of a library, without the one that the backend uses."""
    if backend.library == "torch":
        return ["meta"]
    if backend.library == "strict":
        import array_api_strict as xp

        here = backend.array(1.0).device
        return [d for d in xp.__array_namespace_info__().devices() if d != here]
    return []  # one device, or a library that says itself what cannot be


def test_a_parameter_on_another_device(activation, backend):
    x = backend.array(np.ones((2, 4)), "float32")
    for device in _elsewhere(backend):
        for name, kind in activation.definition.parameters.items():
            if kind.dtypes:
                dtype = "float32" if kind.is_floating else "bool"
                there = backend.array(np.ones(4), dtype)
                there = there.to(device) if backend.library == "torch" else there.to_device(device)
                for form in _forms(activation):
                    words = [f"{name} is on device", str(there.device), str(x.device)]
                    given = {**_needed(activation), name: there}
                    _refused(ValueError, words, form, x, **given)


def test_a_number_takes_no_array_of_another_shape_or_library(elementwise, backend):
    for name, kind in elementwise.definition.parameters.items():
        if takes_array(kind):
            given = {**_needed(elementwise), name: np.ones(4)}
            if kind_of(kind) != kind_of(_parameters.BROADCASTS_WITH_OR_NUMBER):
                _refused(ValueError, [name, "(4,)"], elementwise, 1.0, **given)
            given[name] = ForeignArray()
            _refused(TypeError, [name, "Foreign"], elementwise, 1.0, **given)


def test_an_unknown_name_lists_the_three_closest():
    for wrong in ("geul", "", "x" * 1000, "relu "):
        with pytest.raises(ValueError, match=r"^get: no activation is named") as caught:
            ax.get(wrong)
        message = str(caught.value)
        assert repr(wrong) in message
        closest = message.rpartition("the closest are ")[2].split(", ")
        assert len(closest) == 3
        assert set(closest) <= set(ax.names(aliases=True))
    with pytest.raises(ValueError, match="gelu"):
        ax.get("geul")


@pytest.mark.parametrize("name", [None, 1, 1.5, ["relu"], ("relu",), b"relu", ax.relu])
def test_a_name_must_be_a_string(name):
    with pytest.raises(TypeError, match=r"^get: name must be a string or a map.*, got ") as caught:
        ax.get(name)
    assert type(caught.value) is TypeError


@pytest.mark.parametrize("which", ["auto", "", "Fast", None, 1, True, [], ["fast"], {}])
def test_invalid_precision(which, backend):
    x = backend.array([[-1.0, 2.0]], "float32")
    before = backend.asnumpy(ax.relu(x))
    with (
        pytest.raises(ValueError, match=r"^precision: level must be 'fast' or 'accurate', got "),
        ax.precision(which),
    ):
        pass
    np.testing.assert_array_equal(backend.asnumpy(ax.relu(x)), before)


def test_a_number_is_the_gradient_of_a_number_alone(backend):
    """Whichever x came before."""
    ax.silu.vjp(1.0, backend.array(0.5, "float32"))
    with pytest.raises(TypeError, match=r"^silu\.vjp: g must be an array"):
        ax.silu.vjp(1.0, backend.array([0.5, 1.0], "float32"))
