"""NumPy: kinds of array and scalar, the error state, byte orders, kernels and their cache."""

from __future__ import annotations

import sys
import threading
import weakref

import numpy as np
import pytest
from oracle import (
    ARRAY_PARAMETERS,
    FUNCTIONS,
    UNBOUNDED_PARAMETERS,
    accurate,
    cached_kernels,
    cases_of,
    domain_of,
    exact_values,
    map_into_domain,
    noting,
    output_axis,
    over,
    parameters_with,
    precision,
    preserves_integers,
    required_parameters,
)

import activations_xp as ax
from activations_xp import _oracle
from activations_xp._define import activation
from activations_xp.backends import generic
from activations_xp.backends import numpy as backend
from activations_xp.backends.numpy import engine, namespace

VALUES = np.linspace(-7, 7, 24).reshape(2, 3, 4)


def forms(case):
    return [case.function, *case.accurate_forms]


def pairs_of(functions):
    """Return each function with each set of its parameters."""
    return [(f, dict(case.parameters)) for f in functions for case in cases_of(f)]


def assert_same_bits(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


# kinds of array and scalar


@pytest.fixture(scope="module")
def memmap(tmp_path_factory):
    """An array on disk that can be read alone."""
    path = tmp_path_factory.mktemp("numpy") / "x"
    VALUES.astype("f4").tofile(path)
    return np.memmap(path, dtype="f4", mode="r", shape=VALUES.shape)


def test_memmap(case, memmap):
    x = memmap
    for form in forms(case):
        y = form(x, **case.parameters)
        assert isinstance(y, np.ndarray)
        assert_same_bits(np.asarray(y), form(np.array(x), **case.parameters))
    np.testing.assert_array_equal(x, VALUES.astype("f4"))


def test_byte_order_is_kept(case):
    for dtype in ("f2", "f4", "f8"):
        native = VALUES.astype(dtype)
        swapped = native.astype(native.dtype.newbyteorder())
        for form in forms(case):
            with noting(dtype):
                y = form(swapped, **case.parameters)
                assert y.dtype.str == swapped.dtype.str
                np.testing.assert_array_equal(y, form(native, **case.parameters))


def test_byte_swapped_integers(case):
    is_kept = preserves_integers(case.function) and not case.parameters
    for dtype in ("i2", "i4", "u8"):
        native = np.arange(24).reshape(2, 3, 4).astype(dtype)
        swapped = native.astype(native.dtype.newbyteorder())
        with noting(dtype):
            y = case.function(swapped, **case.parameters)
            assert y.dtype == (swapped.dtype if is_kept else np.float64)
            np.testing.assert_array_equal(y, case.function(native, **case.parameters))


def test_longdouble_equals_double(case):
    x = np.concatenate([np.linspace(-12, 12, 48), [-1e3, 1e3]]).reshape(5, 10)
    for form in forms(case):
        y = form(x.astype(np.longdouble), **case.parameters)
        assert y.dtype == np.longdouble
        doubles = form(x, **case.parameters)
        # beside a root, as of silu' or of the terms of rational, doubles have absolute accuracy
        with np.errstate(over="ignore"):
            y = y.astype("f8")
        np.testing.assert_allclose(y, doubles, rtol=3e-14, atol=1e-15)


def test_longdouble_accuracy(case):
    x = map_into_domain(case.definition, np.linspace(-12, 12, 48))
    y = accurate(case.function)(x.astype(np.longdouble), **case.parameters).astype("f8")
    exact = exact_values(case.formula, x, case.all_parameters)
    assert _oracle.difference(y, exact).max() <= case.ulp + 0.5


@over("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_0d_arrays_and_scalars_keep_their_type(elementwise, dtype):
    given = required_parameters(elementwise)
    for form in (elementwise, accurate(elementwise), elementwise.derivative):
        array = form(np.array(0.75, dtype), **given)
        assert type(array) is np.ndarray
        assert (array.shape, array.dtype) == ((), dtype)
        scalar = form(dtype(0.75), **given)
        assert type(scalar) is dtype
        assert scalar == array


@pytest.mark.parametrize("value", [1, True, np.int8(1), np.bool_(True)], ids=repr)
def test_integer_scalars_are_promoted_as_arrays(elementwise, value):
    given = required_parameters(elementwise)
    expected = elementwise(np.array([value]), **given)[0]
    y = elementwise(value, **given)
    assert type(y) is type(expected)
    assert y == expected


class Subclass(np.ndarray):
    """A subclass as users write them, with an attribute."""

    unit = None

    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", None)


def test_subclass_is_refused_by_name(case):
    """Its elements may have a unit or a mask."""
    x = VALUES.view(Subclass)
    name = case.function.__name__
    for form in forms(case):
        with pytest.raises(
            TypeError, match=rf"^{name}.*: x .*Subclass .*; pass numpy.asarray\(x\)$"
        ):
            form(x, **case.parameters)


def test_subclasses_that_are_plain_stay():
    for x in (VALUES.view(np.recarray), VALUES.astype("f4").view(np.recarray)):
        y = ax.tanh(x)
        assert type(y) is np.ndarray
        assert_same_bits(y, ax.tanh(np.asarray(x)))
        assert_same_bits(ax.prelu(np.asarray(x), x), ax.prelu(np.asarray(x), np.asarray(x)))


# the error state

EXTREMES = np.array([[-np.inf, -1e308, -745, -1e-310, -0.0, 5e-324, 710, 1e308, np.inf, np.nan]])
ELEMENTWISE = pairs_of(f for f in FUNCTIONS if output_axis(f) is None)
SCALAR_CASES = [(f, given) for f, given in ELEMENTWISE if "axis" not in given]


def test_errstate_has_no_effect_and_is_kept(case):
    expected = [form(EXTREMES, **case.parameters) for form in forms(case)]
    with np.errstate(all="raise"):
        state = np.geterr()
        for form, values in zip(forms(case), expected, strict=True):
            for _ in range(2):
                np.testing.assert_array_equal(form(EXTREMES, **case.parameters), values)
                assert np.geterr() == state


@over("kind", [np.float64, float])
@over("function, given", SCALAR_CASES)
def test_errstate_has_no_effect_on_scalars(function, given, kind):
    for form in (function, accurate(function), function.derivative):
        expected = form(EXTREMES[0], **given)
        with np.errstate(all="raise"):
            y = [form(kind(value), **given) for value in EXTREMES[0]]
        np.testing.assert_array_equal(y, expected)


def test_errstate_is_restored_after_an_error(activation):
    with np.errstate(all="raise"):
        state = np.geterr()
        with pytest.raises(TypeError):
            activation(np.ones((2, 4), "M8[s]"), **required_parameters(activation))
        assert np.geterr() == state


# kernels


@over("part", ["value", "derivative"])
@over("function, given", pairs_of([f for f in FUNCTIONS if output_axis(f) is None]))
def test_error_of_the_precision_fast(function, given, part):
    """In float32 it is at most 8 eps, of the result or of x up to 1."""
    f = function if part == "value" else function.derivative
    low, high = domain_of(function.definition)
    sizes = 2.0 ** np.linspace(-28, 7, 2000)
    x = np.concatenate([np.linspace(-13, 13, 4001), sizes, -sizes]).astype("f4")
    x = x[(x > low) & (x < high)]
    fast = f(x, **given)
    with ax.precision("accurate"):
        exact = f(x.astype("f8"), **given)
    unit = 2.0**-23 * np.maximum(np.abs(exact), np.minimum(np.abs(x.astype("f8")), 1))
    with np.errstate(all="ignore"):  # what overflows to infinity, or is NaN
        is_same = (fast == exact.astype("f4")) | ((fast != fast) & (exact != exact))
        assert (is_same | (np.abs(fast - exact) <= 8 * unit)).all()


@over("function, name", UNBOUNDED_PARAMETERS)
def test_cached_kernels_are_bounded(function, name):
    x = np.array([[-1.0, 2.0]])
    given = parameters_with(function, name, 2.0)
    for i in range(2 * generic.MAX_CACHED_KERNELS):
        value = 1 + i / 1000
        y = function(x, **{**given, name: value})
        assert len(cached_kernels(function, np.ndarray)) <= generic.MAX_CACHED_KERNELS
        if i % 50 == 0:
            with_array = function(x, **{**given, name: np.array(value)})
            np.testing.assert_allclose(y, with_array, rtol=1e-15)


@over("function, name", ARRAY_PARAMETERS)
def test_array_parameters_are_planned_by_shape_and_not_kept(function, name):
    x = np.array([[-1.0, 2.0]])
    given = required_parameters(function)
    function(x, **given)
    before = len(cached_kernels(function, np.ndarray))
    for value in (0.25, 0.5, 0.75):
        array = np.full((1, 2), value)
        alive = weakref.ref(array)
        y = function(x, **{**given, name: array})
        of_row = function(x[0], **{**given, name: array[0]})
        np.testing.assert_array_equal(np.ravel(y), np.ravel(of_row))
        del array, y, of_row
        assert alive() is None
    assert len(cached_kernels(function, np.ndarray)) == before + 2


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "i4", "u1"])
@over("function, given", pairs_of(map(ax.get, backend.NATIVE)))
def test_native_kernels_equal_ours(function, given, dtype, monkeypatch):
    monkeypatch.setattr(engine, "numba_from", sys.maxsize)
    special = [0.0, -0.0, 5e-324, -5e-324, 1e-310, np.inf, -np.inf, np.nan]
    x = np.concatenate([np.linspace(-20, 20, 4001), np.logspace(-40, 4, 200), special])
    x = np.concatenate([x, -x])
    with np.errstate(all="ignore"):
        x = (x[np.isfinite(x)] % 100 if dtype in ("i4", "u1") else x).astype(dtype)
    assert_same_bits(function(x, **given), accurate(function)(x, **given))


def test_concurrent_calls_while_kernels_are_chosen(case):
    """Tables of kernels are filled and emptied while other threads look into them."""
    x = map_into_domain(case.definition, VALUES).astype("f4")
    expected = case.function(x, **case.parameters)
    results = []

    def work():
        for _ in range(50):
            with precision("fast"):
                results.append(case.function(x, **case.parameters))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 * 50  # no thread has died
    for y in results:
        np.testing.assert_array_equal(y, expected)


def test_where_of_equal_values(monkeypatch):
    """A recorded choice between a value and itself is that value."""
    monkeypatch.setattr("activations_xp._define.register", lambda function: None)

    @activation(formula="1 + 2 * x", source="Somebody.", peers={})
    def line(xp, x):
        return 1 + xp.where(x > 0, 2 * x, 2 * x)

    for _ in range(2):
        np.testing.assert_array_equal(line(np.array([-1.0, 2.0])), [-1.0, 5.0])


@over("axis", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@over("dtype", ["float32", "float64"])
def test_sum_is_made_in_pairs_along_every_axis(axis, dtype):
    """NumPy adds along most axes one after the other: the errors of so many would be ten units."""
    x = np.random.default_rng(0).random((101, 64, 37)).astype(dtype)
    exact = np.sum(x.astype(np.longdouble), axis=axis)
    layouts = x, np.asfortranarray(x), x[::-1].transpose(1, 0, 2).copy().transpose(1, 0, 2)[::-1]
    for same in layouts:
        y = namespace.XP.sum(same, axis)
        assert y.dtype == dtype
        assert (abs(y - exact) <= 4 * np.finfo(dtype).eps * exact).all()
        kept = namespace.XP.sum(same, axis, keepdims=True)
        np.testing.assert_array_equal(np.squeeze(kept, axis), y)


@over("name", ["softmax", "log_softmax", "logsumexp", "logmeanexp", "standardize", "rms_norm"])
@over("dtype", ["float32", "float64"])
def test_first_axis_is_as_accurate_as_the_last(name, dtype):
    x = np.random.default_rng(0).normal(size=(2, 100_000)).astype(dtype)
    function = ax.get(name)
    first, last = function(x.T.copy(), axis=0), function(x, axis=1)
    np.testing.assert_allclose(
        first.T, last, rtol=0, atol=8 * np.finfo(dtype).eps * abs(last).max()
    )
