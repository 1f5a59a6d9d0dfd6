"""NumPy's own kinds of array, scalars, error state and byte orders; its kernels and its plans."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
from oracle import map_into_domain, parameters_with

import activations_xp as ax
from activations_xp import _oracle
from activations_xp._parameters import check
from activations_xp.backends import generic
from activations_xp.backends import numpy as backend

VALUES = np.linspace(-7, 7, 24).reshape(2, 3, 4)


def _forms(case):
    return [case.function, case.function.native, *case.accurate_forms]


def _same(a, b):
    """Equal to the last bit, the signs of zeros included."""
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_memory_maps(case, dtype, tmp_path):
    x = np.memmap(tmp_path / "x", dtype=dtype, mode="w+", shape=VALUES.shape)
    x[...] = VALUES
    x.flush()
    x = np.memmap(tmp_path / "x", dtype=dtype, mode="r", shape=VALUES.shape)
    for form in _forms(case):
        y = form(x, **case.parameters)
        assert isinstance(y, np.ndarray)
        _same(np.asarray(y), form(np.array(x), **case.parameters))
    np.testing.assert_array_equal(x, VALUES.astype(dtype))


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", "<f2", "<f4", "<f8"])
def test_the_byte_order_is_kept(case, dtype):
    x = VALUES.astype(dtype)
    for form in _forms(case):
        y = form(x, **case.parameters)
        assert y.dtype.str == np.dtype(dtype).str
        np.testing.assert_array_equal(y, form(x.astype(dtype[1:]), **case.parameters))


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">u8"])
def test_integers_of_any_byte_order(case, dtype):
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    y = case.function(x, **case.parameters)
    kept = case.definition.closed_over_integers and not case.parameters
    assert y.dtype == (x.dtype if kept else np.float64)
    np.testing.assert_array_equal(y, case.function(x.astype(dtype[1:]), **case.parameters))


def test_long_doubles(case):
    x = np.concatenate([np.linspace(-12, 12, 48), [-1e3, 1e3]]).astype(np.longdouble)
    shaped = x.reshape(5, 10)
    for form in _forms(case):
        y = form(shaped, **case.parameters)
        assert y.dtype == np.longdouble
        doubles = form(shaped.astype("f8"), **case.parameters)
        # the derivative of silu has a root, where doubles have only absolute accuracy
        with np.errstate(over="ignore"):
            y = y.astype("f8")
        np.testing.assert_allclose(y, doubles, rtol=3e-14, atol=1e-16)


def test_long_doubles_are_as_accurate_as_doubles(case):
    x = map_into_domain(case.definition, np.linspace(-12, 12, 48))
    y = case.function.portable(x.astype(np.longdouble), **case.parameters).astype("f8")
    exact = _oracle.truth(case.formula, x, case.all_parameters)
    assert _oracle.difference(y, exact).max() <= case.ulp + 0.5


def test_0d_arrays_stay_arrays_and_scalars_stay_scalars(elementwise):
    given = elementwise.definition.variants[0].parameters
    for kind in (np.float16, np.float32, np.float64, np.longdouble):
        for form in (elementwise, elementwise.native, elementwise.portable, elementwise.derivative):
            array = form(np.array(0.75, kind), **given)
            assert type(array) is np.ndarray
            assert (array.shape, array.dtype) == ((), kind)
            scalar = form(kind(0.75), **given)
            assert type(scalar) is kind
            assert scalar == array
    for value in (1, True, np.int8(1), np.bool_(True)):
        expected = elementwise(np.array([value]), **given)[0]
        result = elementwise(value, **given)
        assert type(result) is type(expected)
        assert result == expected


class Sub(np.ndarray):
    """A subclass as users write them, with an attribute."""

    unit = None

    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", None)


def test_a_subclass_gives_a_plain_array_or_itself(case):
    x = VALUES.view(Sub)
    x.unit = "mV"
    for form in _forms(case):
        y = form(x, **case.parameters)
        assert type(y) in (np.ndarray, Sub)
        _same(np.asarray(y), form(VALUES, **case.parameters))
    kinds = {type(form(x, **case.parameters)) for form in _forms(case)}
    assert len(kinds) == 1


def test_the_error_state_has_no_effect_and_stays(case):
    x = np.array([[-np.inf, -1e308, -745, -1e-310, -0.0, 5e-324, 710, 1e308, np.inf, np.nan]])
    expected = [form(x, **case.parameters) for form in _forms(case)]
    with np.errstate(all="raise"):
        state = np.geterr()
        for form, values in zip(_forms(case), expected, strict=True):
            for _ in range(2):
                np.testing.assert_array_equal(form(x, **case.parameters), values)
                assert np.geterr() == state
            if case.definition.axis is None and "axis" not in case.parameters:
                for value in x[0]:
                    form(value, **case.parameters)
                    form(float(value), **case.parameters)
        assert np.geterr() == state


def test_the_error_state_is_restored_after_an_error(activation):
    with np.errstate(all="raise"):
        state = np.geterr()
        with pytest.raises(TypeError):
            activation(np.ones((2, 4)) * 1j, **activation.definition.variants[0].parameters)
        assert np.geterr() == state


def _plans(function):
    """What the function's kernel for arrays remembers."""
    kernel = inspect.getclosurevars(function).nonlocals["kernels"][np.ndarray]
    return inspect.getclosurevars(kernel).nonlocals["plans"]


def test_the_number_of_plans_is_bounded(activation):
    x = np.array([[-1.0, 2.0]])
    for name, kind in activation.definition.parameters.items():
        if kind.is_scalar:
            given = parameters_with(activation, name, 2.0)
            for i in range(1000):
                value = 1 + i / 1000
                y = activation(x, **{**given, name: value})
                assert len(_plans(activation)) <= generic.PLANS
                if i % 100 == 0:
                    with_array = activation(x, **{**given, name: np.array(value)})
                    np.testing.assert_allclose(y, with_array, rtol=1e-15)


def test_arrays_among_the_parameters_are_not_remembered(activation):
    x = np.array([[-1.0, 2.0]])
    given = activation.definition.variants[0].parameters
    activation(x, **given)
    before = len(_plans(activation))
    for name, kind in activation.definition.parameters.items():
        if kind.is_scalar:
            for value in (1.0, 2.0, 3.0):
                activation(x, **{**given, name: np.full((1, 2), value)})
    assert len(_plans(activation)) == before


def test_kernels_are_ours_to_the_last_bit():
    special = [0.0, -0.0, 5e-324, -5e-324, 1e-310, np.inf, -np.inf, np.nan]
    values = np.concatenate([np.linspace(-20, 20, 4001), np.logspace(-40, 4, 200), special])
    values = np.concatenate([values, -values])
    for name, make in backend.NATIVE.items():
        function = ax.get(name)
        assert function.__name__ == name
        for variant in function.definition.variants:
            given = {**function.definition.defaults, **variant.parameters}
            checked = check(function.definition, values, tuple(given.values()))
            kernel = make(*checked)
            for dtype in ("f2", "f4", "f8", "g", "i4", "u1"):
                with np.errstate(all="ignore"):
                    x = values[np.isfinite(values)] % 100 if dtype in ("i4", "u1") else values
                    x = x.astype(dtype)
                    ours = function.portable(x, **variant.parameters)
                    if kernel is not None and ours.dtype == x.dtype and dtype != "f2":
                        np.testing.assert_array_equal(kernel(x), ours)
                    _same(function(x, **variant.parameters), ours)
                    _same(function.native(x, **variant.parameters), ours)


def test_threads_share_the_functions(case):
    """Plans are made while other threads look into them."""
    x = map_into_domain(case.definition, VALUES).astype("f4")
    expected = case.function(x, **case.parameters)
    wrong = []

    def work():
        for _ in range(50):
            with ax.implementation("auto"):
                if not np.array_equal(case.function(x, **case.parameters), expected):
                    wrong.append(case)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
