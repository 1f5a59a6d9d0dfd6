"""The drop-in of ``scipy.special`` on the arrays of every library, beside SciPy on NumPy's."""

from __future__ import annotations

import inspect
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.special as theirs

import activations_xp.dropin.scipy as dropin

PUBLIC = {name: getattr(dropin, name) for name in dropin.__all__}
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


@pytest.mark.once
def test_names_and_pickles():
    assert list(dropin.__all__) == sorted(PUBLIC)
    for name, function in PUBLIC.items():
        assert pickle.loads(pickle.dumps(function)) is getattr(dropin, name) is function


@pytest.mark.once
@over("name", PUBLIC)
def test_signature(name):
    ours, of_scipy = (
        inspect.signature(getattr(m, name)).parameters.values() for m in (dropin, theirs)
    )
    shown = [[(p.name, p.kind, p.default) for p in parameters] for parameters in (ours, of_scipy)]
    assert shown[0] == shown[1]


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


@pytest.mark.once
@over("dtype", ["int64", "int8", "uint16", "bool", "float16", "longdouble", ">f4"])
@over("name", PUBLIC)
def test_dtypes(name, dtype):
    """They are SciPy's, where it has one; unsigned integers wrap around there, and not here."""
    x = np.array([0, 1]).astype(dtype)
    function, known = PUBLIC[name], getattr(theirs, name)
    with np.errstate(all="ignore"):
        try:
            expected = known(x).dtype
        except TypeError:
            expected = None
        values = known(x.astype(float))
    if expected is None and name not in REDUCING:
        with pytest.raises(TypeError, match=f"^{name}: x must be an array of float"):
            function(x)
        return
    got = function(x)
    assert got.dtype == (expected or np.float64)
    np.testing.assert_allclose(got, values, rtol=4 * float(np.finfo(got.dtype).eps) + 1e-14)


X = np.linspace(0.1, 0.9, 6).reshape(2, 3)


@pytest.mark.once
@over("name", ELEMENTWISE)
def test_out(name):
    expected = getattr(theirs, name)(X)
    for out in (np.empty((2, 3)), np.empty((3, 2)).T, np.empty((2, 3), "f4")):
        assert PUBLIC[name](X, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=1e-6)


@pytest.mark.once
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


@pytest.mark.once
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


@pytest.mark.once
@over("bad", [5, -5, "a", 1.5, (0, 0), (0, 7), [0]])
@over("name", REDUCING)
def test_bad_axis_raises_as_in_scipy(name, bad):
    x = np.ones((2, 3))
    with pytest.raises((TypeError, ValueError)) as error:
        getattr(theirs, name)(x, axis=bad)
    with pytest.raises(type(error.value)):
        PUBLIC[name](x, axis=bad)


# what NumPy makes an array of


class ArrayLike:
    """An object that is made an array, and is called to wrap a result."""

    def __array__(self, dtype=None, copy=None):
        return X

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return "wrapped", array


class Overriding:
    """An object that says what a ufunc makes of it, in terms of an array, as a Series does."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert (ufunc.nin, ufunc.nout, ufunc.signature) == (len(inputs), 1, None)
        arrays = (X if value is self else value for value in inputs)  # the other is a 0
        return "overridden", getattr(ufunc, method)(*arrays, **kwargs)


def outcome(module, name, x, /, *args, **kwargs):
    """Return the type, dtype, shape and values of a result, or the class of an error."""
    try:
        y = getattr(module, name)(x, *args, **kwargs)
    except (TypeError, ValueError) as error:
        return TypeError if isinstance(error, TypeError) else ValueError
    label, y = y if isinstance(y, tuple) and isinstance(y[0], str) else ("", y)
    mask = getattr(y, "mask", None)
    values = np.round(np.ma.filled(y, 0.0).astype(complex), 6).tolist()
    return label, type(y), y.dtype, np.shape(y), str(mask), str(values)


INPUTS = {
    "float": 0.25,
    "int": 1,
    "bool": True,
    "scalar": np.float32(0.25),
    "half": np.float16(0.25),
    "zero-dimensional": np.array(0.25),
    "list": [0.25, 0.5],
    "nested": [(0, 1), (1, 0)],
    "range": range(2),
    "empty": [],
    "ragged": [[0.25, 0.5], [0.25]],
    "string": "a",
    "none": None,
    "masked": np.ma.array([0.25, 0.5], mask=[False, True]),
    "matrix": np.array([[0.25, 0.5]]).view(np.matrix),
    "array-like": ArrayLike(),
    "overriding": Overriding(),
}


NUMBERS = [
    "float",
    "int",
    "scalar",
    "half",
    "zero-dimensional",
    "list",
    "nested",
    "range",
    "ragged",
]


@pytest.mark.once
@over("kind", INPUTS)
@over("name", ELEMENTWISE)
def test_inputs(name, kind):
    with np.errstate(all="ignore"):
        expected = outcome(theirs, name, INPUTS[kind])
    assert outcome(dropin, name, INPUTS[kind]) == expected


@pytest.mark.once
@over("kind", NUMBERS)
@over("name", REDUCING)
def test_inputs_along_axes(name, kind):
    expected = outcome(theirs, name, INPUTS[kind])
    assert outcome(dropin, name, INPUTS[kind]) == expected


@pytest.mark.once
@over("axis", [None, 0, -1, 1])
@over("name", REDUCING)
def test_axis_of_a_number(name, axis):
    for x in (5.0, np.float32(5), np.array(5)):
        assert outcome(dropin, name, x, axis=axis) == outcome(theirs, name, x, axis=axis)


@pytest.mark.once
@over("name", REDUCING)
def test_masked_arrays_keep_their_mask_or_raise(name):
    with pytest.raises(TypeError, match=rf"^{name}: [ax] must be an array, .* pass [ax]\.filled"):
        PUBLIC[name](INPUTS["masked"])


class WithUnit(np.ndarray):
    """A subclass that says what functions make of its unit."""

    def __array_ufunc__(self, function, method, *inputs, **kwargs):
        return f"{function.__name__} of a unit"


@pytest.mark.once
@over("name", [*ELEMENTWISE, *REDUCING])
def test_units_are_not_lost(name):
    x = np.array([0.25, 0.5]).view(WithUnit)
    if name in ELEMENTWISE:
        assert PUBLIC[name](x) == f"{name} of a unit"
    else:
        with pytest.raises(TypeError, match=rf"^{name}: [ax] must be an array, got .*WithUnit"):
            PUBLIC[name](x)


INTEGERS = np.array([0, 1, 0])
KEYWORDS = [
    *({"dtype": d} for d in ("f", float, "e", int, "longdouble", "wide")),
    *({"dtype": "f", "casting": c} for c in ("no", "safe", "unsafe", "any", None)),
    *({"casting": c} for c in ("no", "unsafe")),
    *({"order": o} for o in ("F", "C", "A", "Z")),
    *({"out": (o,)} for o in (None, np.empty(3), np.empty((2, 3)), np.empty(2), [0.0] * 3)),
    *({"out": o} for o in ((), (np.empty(3),) * 2, np.empty(3, complex), np.ma.zeros(3))),
    {"out": np.empty(3, int), "casting": "unsafe"},
    {"out": np.empty(3, "f"), "casting": "safe"},
    {"where": True},
    {"where": np.array([1, 0, 1]), "out": np.empty(3)},
    {"subok": False},
    {"axis": 0},
]


@pytest.mark.once
@over("keywords", range(len(KEYWORDS)))
@over("x", [np.array([0.0, 0.25, 0.5]), INTEGERS, INTEGERS.astype("f"), INTEGERS.astype(object)])
@over("name", ELEMENTWISE)
def test_keywords_of_ufuncs(name, x, keywords):
    given = KEYWORDS[keywords]
    with np.errstate(all="ignore"):
        expected = outcome(theirs, name, x, **given)
    assert outcome(dropin, name, x, **given) == expected
    if expected in (TypeError, ValueError):
        with pytest.raises(expected, match=f"^{name}"):
            PUBLIC[name](x, **given)


@pytest.mark.once
@over("signature", ["f->f", ("f", None), (None, "f"), "d->d", "q->q", "f", 1.0])
def test_signature_of_ufuncs(signature):
    for x in (X, [1, 0]):
        assert outcome(dropin, "expit", x, signature=signature) == outcome(
            theirs, "expit", x, signature=signature
        )
    with pytest.raises(TypeError, match="expit: takes dtype or signature, got both"):
        dropin.expit(X, dtype="f", signature="f->f")


@pytest.mark.once
@over("name", ELEMENTWISE)
def test_where(name):
    """SciPy 1.17 reads and writes other elements than those of a mask that alternates."""
    values = PUBLIC[name](X)
    for mask in (X > 0.5, [True, False, True], np.array([[True], [False]]), False):
        expected = np.where(mask, values, 7.0)
        out = np.full((2, 3), 7.0)
        assert PUBLIC[name](X, out=out, where=mask) is out
        np.testing.assert_array_equal(out, expected)
        left_out = PUBLIC[name](X, where=mask)
        np.testing.assert_array_equal(left_out, np.where(mask, values, 0.0))
    out = np.zeros(4)
    PUBLIC[name](X[0, 0], out=out, where=[True, False, True, False])
    np.testing.assert_array_equal(out, values[0, 0] * np.array([1, 0, 1, 0]))


@pytest.mark.once
def test_out_that_overlaps():
    x = np.linspace(0.1, 0.9, 9)
    expected = theirs.expit(x[:-1])
    dropin.expit(x[:-1], out=x[1:])
    np.testing.assert_allclose(x[1:], expected, rtol=1e-14)


@over("keyword", ["where", "dtype", "casting"])
def test_keywords_of_ufuncs_are_for_numpy(keyword, backend):
    x = backend.array([0.25, 0.5])
    is_numpy = backend.library == "numpy"
    given = {"where": True, "dtype": "d", "casting": "safe"}[keyword]
    message = f"^expit: {keyword} is for arrays of NumPy"
    with nullcontext() if is_numpy else pytest.raises(TypeError, match=message):
        dropin.expit(x, **{keyword: given})


def test_out_in_a_tuple(backend):
    x = backend.array([0.25, 0.5])
    if backend.library in ("jax", "tensorflow"):
        with pytest.raises(TypeError, match=r"^\w+: out needs an array that can be written to"):
            dropin.expit(x, out=(x,))
    else:
        assert dropin.expit(x, out=(x,)) is x
        np.testing.assert_allclose(backend.asnumpy(x), theirs.expit([0.25, 0.5]), rtol=1e-6)


@pytest.mark.once
@over("given", [{}, {"keepdims": True}, {"axis": -1, "return_sign": True}, {"axis": 0}])
@over(
    ("a", "b"),
    [
        (X, 2),
        (X, [1.0, -2.0, 3.0]),
        (X, np.ones((4, 2, 3))),
        (X[0], np.ones((4, 1))),
        (5.0, [1, 2]),
        ([1, 2], [1, -1]),
        ([[1, 2]], True),
        (X.astype("f"), np.float64(2)),
        (X.astype("f"), 2.0),
        (X.astype("f"), np.arange(3, dtype="h")),
        (X.astype("e"), np.arange(3, dtype="e")),
        (X, np.array(2.0)),
    ],
)
def test_logsumexp_of_what_is_promoted(a, b, given):
    def results(module):
        y = module.logsumexp(a, b=b, **given)
        for part in y if isinstance(y, tuple) else (y,):
            yield type(part), part.dtype, str(np.round(part.astype(float), 2))

    assert list(results(dropin)) == list(results(theirs))


@pytest.mark.once
@over(("b", "error"), [(np.ones(4), ValueError), ("a", TypeError), ([1, [2]], ValueError)])
def test_bad_factors_of_logsumexp(b, error):
    with pytest.raises((TypeError, ValueError)):
        theirs.logsumexp(X, b=b)
    with pytest.raises(error, match=r"^logsumexp: b "):
        dropin.logsumexp(X, b=b)


@pytest.mark.sweep_with("jax")
def test_logsumexp_of_two_libraries(backend):
    x = backend.array([[0.0, 1.0]], "float32")
    for b in ([1.0, 2.0], 2, True, np.float32(2)):
        y = backend.asnumpy(dropin.logsumexp(x, b=b))
        np.testing.assert_allclose(y, theirs.logsumexp([[0.0, 1.0]], b=b), rtol=1e-6)
    y = backend.asnumpy(dropin.logsumexp([0.0, 1.0], b=x))
    np.testing.assert_allclose(y, theirs.logsumexp([0.0, 1.0], b=[[0.0, 1.0]]), rtol=1e-6)
    wide = backend.array(np.ones((3, 1, 2)), "float32")
    assert dropin.logsumexp(x, axis=0, b=wide).shape == (1, 2)
    for other in ("int32", "float64"):
        y = dropin.logsumexp(x, b=backend.array([1, 1], other))
        np.testing.assert_allclose(backend.asnumpy(y), np.log1p(np.e), rtol=1e-6)
    if backend.library != "numpy":
        with pytest.raises(TypeError, match="a and b must be arrays of one library"):
            dropin.logsumexp(x, b=np.ones(2))


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


@pytest.mark.once
def test_precision_of_numbers_and_byte_orders():
    """A complex number has no precision of its own, and results are in the native byte order."""
    for x, b in [
        (np.ones(3, "f4"), 1 + 1j),
        (np.ones(3, "f8"), 1 + 1j),
        (np.ones(3, "c8"), 2.0),
        (np.ones(3, ">f4"), None),
        (np.ones(3, ">f8"), [1.0, 2.0, 3.0]),
    ]:
        ours, expected = (m.logsumexp(x, b=b) for m in (dropin, theirs))
        assert ours.dtype == expected.dtype
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
