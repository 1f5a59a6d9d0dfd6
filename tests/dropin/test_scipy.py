"""The drop-in of ``scipy.special`` on the arrays of every library, beside SciPy on NumPy's."""

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
DOMAIN = {"logit": (0, 1), "ndtri": (0, 1), "erfinv": (-1, 1)}
"""The domain of a function, if it is not all numbers."""

SIZES = [
    *(0.0, 5e-324, 1e-45, 1e-8, 0.25, 0.5, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0),
    *(300.0, 709.0, 745.0, 1e20, 3.4e38, 1.7e308, np.inf, np.nan),
]


def over(names, values):
    return pytest.mark.parametrize(names, values, ids=str)


def test_names_and_pickles():
    assert list(dropin.__all__) == sorted(PUBLIC)
    for name, function in PUBLIC.items():
        assert pickle.loads(pickle.dumps(function)) is getattr(dropin, name) is function


@over("name", PUBLIC)
def test_signature(name):
    """It is that of SciPy without the arguments of ufuncs that the module leaves out."""
    ours, of_scipy = (
        inspect.signature(getattr(m, name)).parameters.values() for m in (dropin, theirs)
    )
    shown = [(p.name, p.kind, p.default) for p in of_scipy]
    left_out = {"where", "casting", "order", "dtype", "subok", "signature", "kwargs"}
    expected = [parameter for parameter in shown if parameter[0] not in left_out]
    if "kwargs" in (p.name for p in of_scipy):
        expected.append(("out", inspect.Parameter.KEYWORD_ONLY, None))
    assert [(p.name, p.kind, p.default) for p in ours] == expected


@over("name", ELEMENTWISE)
def test_values(name, backend, standard_dtype):
    low, high = DOMAIN.get(name, (-np.inf, np.inf))
    with np.errstate(all="ignore"):
        x = np.array([s * v for v in SIZES for s in (1, -1)]).astype(standard_dtype)
        expected = getattr(theirs, name)(x)
    info = np.finfo(standard_dtype)
    normal = (np.abs(x) >= info.tiny) | (x == 0)  # XLA flushes the rest
    right = np.isfinite(expected) & (np.abs(expected) >= info.tiny) & normal
    assert right.any()
    got = backend.asnumpy(PUBLIC[name](backend.asarray(x)))
    assert got.dtype == expected.dtype == standard_dtype
    np.testing.assert_allclose(got[right], expected[right], 256 * info.eps, 64 * info.tiny)
    assert np.isnan(got[np.isnan(x) | (normal & ((x < low) | (x > high)))]).all()


@over("dtype", ["int64", "int8", "bool"])
@over("name", ELEMENTWISE)
def test_integers(name, dtype):
    x = np.array([0, 1]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = getattr(theirs, name)(x.astype(float))
    got = PUBLIC[name](x)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-14)


X = np.linspace(0.1, 0.9, 6).reshape(2, 3)


@over("name", ELEMENTWISE)
def test_out(name):
    expected = getattr(theirs, name)(X)
    for out in (np.empty((2, 3)), np.empty((3, 2)).T, np.empty((2, 3), "f4")):
        assert PUBLIC[name](X, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6)


@over("name", sorted({*UFUNCS} & {*ELEMENTWISE}))
def test_positional_out_of_ufuncs(name):
    out = np.empty((2, 3))
    assert PUBLIC[name](X, out) is out
    np.testing.assert_allclose(out, getattr(theirs, name)(X), rtol=1e-14)


def _read_only(shape):
    array = np.empty(shape)
    array.flags.writeable = False
    return array


BAD_OUTS = {
    "integers": np.empty((2, 3), "i8"),
    "shape": np.empty(4),
    "number": 1,
    "read-only": _read_only((2, 3)),
}


@over("out", BAD_OUTS)
@over("name", ELEMENTWISE)
def test_bad_out_raises_as_in_scipy(name, out):
    with pytest.raises((TypeError, ValueError)) as error:
        getattr(theirs, name)(X, out=BAD_OUTS[out])
    kind = TypeError if isinstance(error.value, TypeError) else ValueError
    with pytest.raises(kind, match=r"^\w+: out needs an array"):
        PUBLIC[name](X, out=BAD_OUTS[out])


@pytest.mark.sweep_with("jax")
@over("axis", [None, 0, -1, (0, 1), (-1, -2)])
@over("name", REDUCING)
def test_axis(name, axis, backend, standard_dtype):
    x = np.random.default_rng(1).normal(0, 5, (2, 3, 4)).astype(standard_dtype)
    expected = getattr(theirs, name)(x, axis=axis)
    got = backend.asnumpy(PUBLIC[name](backend.asarray(x), axis=axis))
    assert got.dtype == expected.dtype == standard_dtype
    assert got.shape == expected.shape
    tolerance = 64 * np.finfo(standard_dtype).eps
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@over("bad", [5, -5, "a", 1.5, (0, 0), (0, 7), [0]])
@over("name", REDUCING)
def test_bad_axis_raises_as_in_scipy(name, bad):
    x = np.ones((2, 3))
    with pytest.raises((TypeError, ValueError)) as error:
        getattr(theirs, name)(x, axis=bad)
    with pytest.raises(type(error.value)):
        PUBLIC[name](x, axis=bad)


@over("name", PUBLIC)
def test_lists_and_complex_arrays_raise(name):
    for bad in ([1.0, 2.0], np.array([1j])):
        with pytest.raises(TypeError, match="x must be an array"):
            PUBLIC[name](bad)


@over("axis", [None, 1, (0, 2)])
def test_logsumexp_with_weights_and_signs(axis, backend, standard_dtype):
    rng = np.random.default_rng(2)
    x, b = rng.normal(0, 5, (2, 3, 4)), rng.normal(0, 1, (3, 1))
    x, b = x.astype(standard_dtype), b.astype(standard_dtype)
    given = {"axis": axis, "keepdims": axis == 1, "return_sign": True}
    expected = theirs.logsumexp(x, b=b, **given)
    got = dropin.logsumexp(backend.asarray(x), b=backend.asarray(b), **given)
    assert isinstance(got, tuple)
    tolerance = 2048 * np.finfo(standard_dtype).eps
    for y, known in zip(map(backend.asnumpy, got), expected, strict=True):
        assert (y.dtype, y.shape) == (known.dtype, known.shape)
        np.testing.assert_allclose(y, known, rtol=tolerance, atol=tolerance)
