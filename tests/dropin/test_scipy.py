"""The SciPy spelling, on the arrays of every library, against SciPy on NumPy's."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import scipy.special as theirs

import activations_xp.dropin.scipy as dropin

PUBLIC = {
    name: function
    for name, function in vars(dropin).items()
    if inspect.isfunction(function) and function.__module__ == dropin.__name__
}
UFUNCS = [name for name in PUBLIC if isinstance(getattr(theirs, name), np.ufunc)]
REDUCING = [name for name in PUBLIC if "axis" in inspect.signature(PUBLIC[name]).parameters]
ELEMENTWISE = sorted(PUBLIC.keys() - set(REDUCING))
WITHIN = {"logit": (0, 1), "ndtri": (0, 1), "erfinv": (-1, 1)}
"""Where a function is defined, if not everywhere."""

SIZES = [
    *(0.0, 5e-324, 1e-45, 1e-8, 0.25, 0.5, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0),
    *(300.0, 709.0, 745.0, 1e20, 3.4e38, 1.7e308, np.inf, np.nan),
]


def over(names, values):
    return pytest.mark.parametrize(names, values, ids=str)


def test_every_function_has_a_name_to_import():
    assert list(dropin.__all__) == sorted(PUBLIC)
    for name, function in PUBLIC.items():
        assert pickle.loads(pickle.dumps(function)) is getattr(dropin, name) is function


@over("name", PUBLIC)
def test_the_signature_is_that_of_scipy(name):
    """But for what the module says it leaves out of a ufunc."""
    ours, own = (inspect.signature(getattr(m, name)).parameters.values() for m in (dropin, theirs))
    shown = [(p.name, p.kind, p.default) for p in own]
    left_out = {"where", "casting", "order", "dtype", "subok", "signature", "kwargs"}
    expected = [parameter for parameter in shown if parameter[0] not in left_out]
    if "kwargs" in (p.name for p in own):
        expected.append(("out", inspect.Parameter.KEYWORD_ONLY, None))
    assert [(p.name, p.kind, p.default) for p in ours] == expected


@over("name", ELEMENTWISE)
def test_values(name, backend):
    low, high = WITHIN.get(name, (-np.inf, np.inf))
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        with np.errstate(all="ignore"):
            x = np.array([s * v for v in SIZES for s in (1, -1)]).astype(dtype)
            expected = getattr(theirs, name)(x)
        info = np.finfo(dtype)
        normal = (np.abs(x) >= info.tiny) | (x == 0)  # XLA flushes the rest
        right = np.isfinite(expected) & (np.abs(expected) >= info.tiny) & normal
        assert right.any()
        got = backend.asnumpy(PUBLIC[name](backend.array(x, dtype)))
        assert got.dtype == expected.dtype == dtype
        np.testing.assert_allclose(got[right], expected[right], 256 * info.eps, 64 * info.tiny)
        assert np.isnan(got[np.isnan(x) | (normal & ((x < low) | (x > high)))]).all()


@over("name", ELEMENTWISE)
def test_integers(name):
    for dtype in ("int64", "int8", "bool"):
        x = np.array([0, 1]).astype(dtype)
        with np.errstate(all="ignore"):
            expected = getattr(theirs, name)(x.astype(float))
        got = PUBLIC[name](x)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-14)


@over("name", ELEMENTWISE)
def test_out(name):
    x = np.linspace(0.1, 0.9, 6).reshape(2, 3)
    own = getattr(theirs, name)(x)
    for out in (np.empty((2, 3)), np.empty((3, 2)).T, np.empty((2, 3), "f4")):
        assert PUBLIC[name](x, out=out) is out
        np.testing.assert_allclose(out, own, rtol=1e-6)
    if name in UFUNCS:
        assert PUBLIC[name](x, out) is out
    for bad in (np.empty((2, 3), "i8"), np.empty(4), 1, _read_only((2, 3))):
        with pytest.raises((TypeError, ValueError)) as error:
            getattr(theirs, name)(x, out=bad)
        kind = TypeError if isinstance(error.value, TypeError) else ValueError
        with pytest.raises(kind, match=r"^\w+: out needs an array"):
            PUBLIC[name](x, out=bad)


def _read_only(shape):
    array = np.empty(shape)
    array.flags.writeable = False
    return array


@over("axis", [None, 0, -1, (0, 1), (-1, -2)])
@over("name", REDUCING)
def test_along_an_axis(name, axis, backend):
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        x = np.random.default_rng(1).normal(0, 5, (2, 3, 4)).astype(dtype)
        expected = getattr(theirs, name)(x, axis=axis)
        got = backend.asnumpy(PUBLIC[name](backend.array(x, dtype), axis=axis))
        assert got.dtype == expected.dtype == dtype
        assert got.shape == expected.shape
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(got, expected, rtol=64 * eps, atol=64 * eps)


@over("bad", [5, -5, "a", 1.5, (0, 0), (0, 7), [0]])
@over("name", REDUCING)
def test_a_bad_axis_raises_what_scipy_raises(name, bad):
    x = np.ones((2, 3))
    with pytest.raises((TypeError, ValueError)) as error:
        getattr(theirs, name)(x, axis=bad)
    with pytest.raises(type(error.value)):
        PUBLIC[name](x, axis=bad)


@over("name", PUBLIC)
def test_lists_and_complex_numbers_are_refused(name):
    for bad in ([1.0, 2.0], np.array([1j])):
        with pytest.raises(TypeError, match="x must be an array"):
            PUBLIC[name](bad)


def test_logsumexp_has_factors_and_signs(backend):
    rng = np.random.default_rng(2)
    x, b = rng.normal(0, 5, (2, 3, 4)), rng.normal(0, 1, (3, 1))
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        eps = np.finfo(dtype).eps
        for axis in (None, 1, (0, 2)):
            given = {"axis": axis, "keepdims": axis == 1, "return_sign": True}
            expected = theirs.logsumexp(x.astype(dtype), b=b.astype(dtype), **given)
            x_, b_ = backend.array(x, dtype), backend.array(b, dtype)
            got = dropin.logsumexp(x_, b=b_, **given)
            assert isinstance(got, tuple)
            for ours, own in zip(map(backend.asnumpy, got), expected, strict=True):
                assert (ours.dtype, ours.shape) == (own.dtype, own.shape)
                np.testing.assert_allclose(ours, own, rtol=2048 * eps, atol=2048 * eps)
