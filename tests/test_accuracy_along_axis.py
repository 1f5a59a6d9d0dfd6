"""Functions along an axis are accurate on short and on long slices, and right at their limits.

The formulas of the definitions are evaluated in the widest floats that NumPy has, which have ample
digits for float32 and less; in many digits for float64. The unit is one of the exact value where
that is a product; a difference has one of the largest that it is the difference of.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from math import inf, nan

import ml_dtypes
import mpmath
import numpy as np
import pytest
from oracle import FUNCTIONS, accurate, cases_of, exact_values, over, rowwise_parameters

import activations_xp as ax
from activations_xp._oracle import _ARRAYS, simplex

pytestmark = pytest.mark.sweep_with("jax")

FAMILIES = ("simplex", "reductions", "normalizers")
ALONG = [f for f in FUNCTIONS if f.__module__.rpartition(".")[2] in FAMILIES]
CASES = [(f, dict(case.parameters)) for f in ALONG for case in cases_of(f)]
WITH_SUM = [f for f in ALONG if f.definition.properties.sums_to is not None]

SCALES = (1.0, 10.0, 80.0)
SIZES = {"float32": (1, 2, 10, 1000, 5000), "float16": (1000,), "bfloat16": (1000,)}
OF_DIFFERENCES = 4.0
OF_SUM = 4.0
HALF = 0.501
"""The bound of results that are rounded from wider floats."""

WIDE = np.longdouble
WORDS = {
    **_ARRAYS,
    **{name: getattr(np, name) for name in ("exp", "log", "sqrt")},
    "simplex": partial(simplex, nullcontext()),
    "inf": inf,
}


def formula_and_parameters(function, parameters):
    """Return what is evaluated, and the values of all parameters."""
    definition = function.definition
    (formula,) = (c.formula for c in cases_of(function) if c.parameters == parameters)
    return formula, {**definition.defaults, **rowwise_parameters(function), **parameters}


def slices(n):
    """Return one slice of each scale around 0, and one below it."""
    rng = np.random.default_rng(n)
    x = [scale * rng.normal(size=n) for scale in SCALES]
    return np.array([*x, rng.uniform(-100, 0.5, n)])


def exact_slices(function, parameters, x):
    """Return the formula of each slice, in wide floats."""
    formula, given = formula_and_parameters(function, parameters)
    numbers = {k: WIDE(v) if isinstance(v, float) else v for k, v in given.items()}
    code = compile(formula, "<formula>", "eval")
    return np.stack([np.ravel(eval(code, {**WORDS, **numbers, "x": row})) for row in x])


def unit_and_bound(function, x, y, dtype):
    """Return the unit in which each value's error is measured, and how many of them it may be."""
    info = ml_dtypes.finfo(dtype)
    size, bound = np.abs(y), function.definition.ulp
    is_log = function.__name__.startswith("log")
    if function.definition.properties.sums_to is not None:
        if (y == 0).any():  # what is little more than 0 is a difference
            size, bound = size.max(axis=-1, keepdims=True), OF_DIFFERENCES
    elif is_log or (y * x < 0).any():
        terms = np.abs(x).max(axis=-1) if is_log else np.sqrt(np.mean(y * y, axis=-1))
        size, bound = np.maximum(size, terms[:, None]), OF_DIFFERENCES
    return size * info.eps, bound if info.bits >= 32 else HALF


def assert_near(function, x, y, got, error):
    unit, bound = unit_and_bound(function, x, y, got.dtype)
    tiny = ml_dtypes.finfo(got.dtype).tiny
    allowed = np.maximum(bound * unit, np.where(np.abs(y) < tiny, tiny, 0))  # flushed to zero
    assert (error <= allowed).all()


LENGTHS = [
    (function, parameters, dtype, n)
    for function, parameters in CASES
    for dtype, sizes in SIZES.items()
    for n in sizes
    # a simplex takes long
    if n == 1000 or "simplex" not in formula_and_parameters(function, parameters)[0]
]


@over(("function", "parameters", "dtype", "n"), LENGTHS)
def test_slices_of_length(function, parameters, dtype, n, backend):
    x = backend.array(slices(n), dtype)
    got = accurate(function)(x, **rowwise_parameters(function) | parameters)
    got, x = backend.asnumpy(got), backend.asnumpy(x)
    assert got.dtype == x.dtype
    x = x.astype("f8")
    y = exact_slices(function, parameters, x.astype(WIDE))
    assert_near(function, x, y, got, np.abs(got.astype("f8").reshape(y.shape) - y))
    claimed = function.definition.properties.sums_to
    if claimed is not None:
        error = np.abs(got.astype("f8").sum(axis=-1) - claimed)
        assert error.max() <= OF_SUM * ml_dtypes.finfo(dtype).eps


@pytest.mark.float64
@over(("function", "parameters"), CASES)
def test_short_slices_of_float64(function, parameters, backend):
    formula, given = formula_and_parameters(function, parameters)
    x = slices(12) * [[1.0], [1.0], [4.0], [7.0]]
    y = np.stack([np.ravel(exact_values(formula, row, given)) for row in x])
    got = accurate(function)(backend.array(x), **rowwise_parameters(function) | parameters)
    got = backend.asnumpy(got)
    error = np.abs(np.frompyfunc(mpmath.mpf, 1, 1)(got.reshape(y.shape)) - y)
    assert_near(function, x, y.astype("f8"), got, error.astype("f8"))


@over("dtype", ["float32", "float16", "bfloat16"])
@over("function", WITH_SUM)
def test_slice_longer_than_largest_float16(function, dtype, backend):
    """A sum of ones in 16 bits would stop at 2048, or at 256."""
    n = 70_000
    x = backend.array(np.zeros(n), dtype)
    for form in (function, accurate(function)):
        y = backend.asnumpy(form(x, **rowwise_parameters(function)))
        one = np.array(1 / n).astype(y.dtype)
        assert one > 0
        np.testing.assert_array_max_ulp(
            y.astype("f4"), np.full(n, one, "f4"), 4 * (dtype == "float32")
        )


# infinities and NaN

ROWS = np.array(
    [[0, inf, 1, 2], [inf, -3, inf, 5], [inf, -inf, inf, inf], [inf] * 4, [inf, 3e4, -3e4, 0]]
)


@over("function", WITH_SUM)
def test_infinite_elements(function, backend, dtype):
    """They have equal parts of the sum; the formula of softmax is NaN there."""
    sign = -1 if function is ax.softmin else 1
    rows = np.isinf(ROWS) & (ROWS > 0)
    expected = rows / rows.sum(axis=-1, keepdims=True)
    for case in cases_of(function):
        y = accurate(function)(backend.array(sign * ROWS, dtype), **case.parameters)
        y = backend.asnumpy(y)
        rtol = 1e-2 if "16" in dtype else 1e-6
        np.testing.assert_allclose(y.astype("f8"), expected, rtol=rtol)
        assert (y[expected == 0] == 0).all()


def test_infinite_elements_of_log_softmax(backend, standard_dtype):
    infinite = inf == ROWS
    expected = np.where(infinite, -np.log(infinite.sum(axis=-1, keepdims=True)), -inf)
    y = backend.asnumpy(accurate(ax.log_softmax)(backend.array(ROWS, standard_dtype)))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@over("function", [*WITH_SUM, ax.log_softmax])
def test_nan_beside_infinity(function, backend):
    x = np.array([[inf, nan, 0.0, -inf], [inf, 1.0, 2.0, 3.0]])
    y = backend.asnumpy(accurate(function)(backend.array(x, "float32")))
    assert np.isnan(y[0]).all()
    assert not np.isnan(y[1]).any()


@over("excluded", [0.5, 0.002])
@over("scale", [10.0, 1e-3])
def test_masked_long_slices(masked, scale, excluded, backend):
    """A masked element counts for nothing, though it be infinite or NaN."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=3000) * scale
    mask = rng.random(3000) >= excluded
    x[~mask] = rng.choice([inf, nan, -inf, 1e30], (~mask).sum())
    dtype = backend.dtypes[-1]
    parameters = {**rowwise_parameters(masked), "where": backend.array(mask, "bool")}
    got = backend.asnumpy(accurate(masked)(backend.array(x, dtype), **parameters))
    alone = accurate(masked)(x[mask].astype(dtype), **rowwise_parameters(masked))
    unmasked = got[mask] if got.shape == x.shape else got
    np.testing.assert_allclose(unmasked, alone, rtol=2e-5 if dtype == "float32" else 1e-11)
    if got.shape == x.shape:
        assert np.isin(got[~mask], [0.0, -inf]).all()


# what is small beside the rest


def test_logsumexp_of_small_term(backend, standard_dtype):
    x = np.array([[0.0, -40.0], [-40.0, 0.0], [0.0, -20.0], [-1e-20, -60.0]], standard_dtype)
    expected = np.log1p(np.exp(x.astype("f8").min(axis=-1)))
    expected[3] = -1e-20 + np.exp(-60.0)
    y = backend.asnumpy(accurate(ax.logsumexp)(backend.array(x, standard_dtype), axis=-1))
    np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(standard_dtype).eps)


# factors of logsumexp: x, b, the logarithm, its sign, and the gradients of x and of b

LOG2 = np.log(2.0)
E5 = np.exp(5.0)
FACTORS = {
    "infinite": ([inf, 0], [2, -5], inf, 1, [1, 0], [0.5, 0]),
    "infinite, negative": ([inf, 0, 0], [-1, 1, 1], inf, -1, [1, 0, 0], [-1, 0, 0]),
    "infinite, both": ([inf, inf, 0], [2, 6, -1], inf, 1, [0.25, 0.75, 0], [0.125, 0.125, 0]),
    "infinite, both signs": ([inf, inf, 0], [2, -1, 1], nan, nan, [nan] * 3, [nan] * 3),
    "infinite by factor": ([0, 40], [inf, -1], inf, 1, [1, 0], [0, 0]),
    "infinite by factor, far below": ([-3e4, 0], [-inf, 1], inf, -1, [1, 0], [0, 0]),
    "infinite by factor, both signs": ([0, 1], [inf, -inf], nan, nan, [nan, nan], [nan, nan]),
    "infinite factor of 0": ([-inf, 0], [inf, 1], nan, nan, [nan, nan], [nan, nan]),
    "infinite and 0": ([inf, 0], [0, 1], 0, 1, [0, 1], [0, 1]),
    "NaN and 0": ([nan, 0], [-0.0, -1], 0, -1, [0, 1], [0, -1]),
    "NaN": ([nan, 0], [1, 1], nan, nan, [nan, nan], [nan, nan]),
    "NaN for a factor": ([0, 0], [nan, 1], nan, nan, [nan, nan], [nan, nan]),
    "0": ([0, 5, 0], [1, 0, 1], LOG2, 1, [0.5, 0, 0.5], [0.5, E5 / 2, 0.5]),
    "all 0": ([1, inf], [0, 0], -inf, 0, [0, 0], [0, 0]),
    "all -inf": ([-inf, -inf], [-1, -2], -inf, 0, [0, 0], [0, 0]),
    "sum of 0": ([5, 5, 5], [3, -2, -1], -inf, 0, [0, 0, 0], [0, 0, 0]),
    "negative": ([1, 1, 1], [1, -1, -1], 1, -1, [-1, 1, 1], [-1] * 3),
    "signed zeros": ([-0.0, -0.0], [1, -2], 0, -1, [-1, 2], [-1, -1]),
}


def _by_x_and_b(backend, x, b):
    """Return the gradients of the logarithm, as the library differentiates it if it does."""

    def logarithm(x, b):
        return ax.logsumexp.accurate(x, b=b, return_sign=True)[0]

    if backend.library == "torch":
        import torch

        return torch.func.grad(logarithm, argnums=(0, 1))(x, b)
    if backend.library == "jax":
        import jax

        return jax.grad(logarithm, argnums=(0, 1))(x, b)
    if backend.library == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch((x, b))
            y = logarithm(x, b)
        return tape.gradient(y, (x, b))
    one = backend.array(1.0, backend.dtype_of(x))
    return tuple(ax.logsumexp.vjp(one, x, b=b).values())


@over("name", FACTORS)
def test_factors_of_logsumexp(name, backend, dtype):
    x, b, *expected = FACTORS[name]
    value, sign, *gradients = (np.array(v) for v in expected)
    x, b = (backend.array(v, dtype) for v in (x, b))
    got = ax.logsumexp.accurate(x, b=b, return_sign=True)
    alone = ax.logsumexp.accurate(x, b=b)
    pairs = [*zip((*got, alone), (value, sign, np.where(sign < 0, nan, value)), strict=True)]
    pairs += zip(_by_x_and_b(backend, x, b), gradients, strict=True)
    tolerance = 4 * float(ml_dtypes.finfo(dtype).eps)
    for y, known in pairs:
        y = backend.asnumpy(y)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.astype("f8"), known, rtol=tolerance)


@over("b", [2.0, -3, 0, inf, -inf, nan])
def test_number_as_factor_of_logsumexp(b, backend):
    """It is the same as an array of it, and so are integers of it."""
    rows = [[0, 1, 2], [inf, 0, -inf], [-inf, -inf, -inf], [nan, 0, 1]]
    x = backend.array(rows, "float32")
    dtypes = ("float32", "int32") if np.isfinite(b) else ("float32",)
    for factor in (backend.array(np.full((4, 3), b), dtype) for dtype in dtypes):
        forms = (ax.logsumexp(x, -1, f, return_sign=True) for f in (b, factor))
        for of_number, of_array in zip(*forms, strict=True):
            got, known = map(backend.asnumpy, (of_number, of_array))
            np.testing.assert_allclose(got, known, rtol=1e-6)


RANGES = {
    "float64": [([0, -800], [1e-300, 1e300]), ([90, 0], [1e-300, -1e300]), ([0, 0], [1e308, 1])],
    "float32": [([0, -90], [1e-30, 1e30]), ([9, 0, 1], [-1e-37, 1e30, 2]), ([1000], [1e-30])],
}


def test_factors_of_logsumexp_that_differ_in_size(backend, standard_dtype):
    for x, b in RANGES[standard_dtype]:
        x, b = (np.array(v, standard_dtype) for v in (x, b))
        exact = mpmath.fsum(
            mpmath.mpf(float(c)) * mpmath.exp(float(v)) for v, c in zip(x, b, strict=True)
        )
        got = ax.logsumexp(backend.asarray(x), b=backend.asarray(b), return_sign=True)
        value, sign = map(backend.asnumpy, got)
        np.testing.assert_allclose(float(value), float(mpmath.log(abs(exact))), rtol=1e-6)
        assert sign == mpmath.sign(exact)


@over("b", [(3, 4), (4,), (2, 1, 4)])
@over("axis", [(0, 2), 1, None])
def test_factors_and_mask_of_logsumexp(axis, b, backend):
    """Excluded elements add nothing, also to the gradient of a factor that is broadcast."""
    rng = np.random.default_rng(3)
    x, factor, mask = rng.normal(size=(2, 3, 4)), rng.normal(size=b), rng.random((2, 3, 4)) > 0.3
    mask[0] = axis == 1
    x[~mask] = rng.choice([inf, nan, -inf, 1.0], (~mask).sum())
    terms = np.where(mask, factor * np.exp(np.where(mask, x, 0)), 0.0)
    total = terms.sum(axis=axis, keepdims=True)
    given = {"axis": axis, "keepdims": True, "where": backend.array(mask, "bool")}
    there, factors, g = (backend.array(v, "float32") for v in (x, factor, np.ones_like(total)))
    value, sign = ax.logsumexp(there, b=factors, return_sign=True, **given)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(backend.asnumpy(value), np.log(np.abs(total)), rtol=1e-4)
    np.testing.assert_array_equal(backend.asnumpy(sign), np.sign(total))
    gradients = ax.logsumexp.vjp(g, there, b=factors, **given)
    inverse = np.divide(1, total, out=np.zeros_like(total), where=total != 0)
    np.testing.assert_allclose(backend.asnumpy(gradients["x"]), terms * inverse, rtol=1e-4)
    by_b = np.where(mask, np.exp(np.where(mask, x, 0)), 0.0) * inverse
    lead = tuple(range(3 - len(b))) + tuple(i + 3 - len(b) for i, n in enumerate(b) if n == 1)
    by_b = by_b.sum(axis=lead, keepdims=True).reshape(b)
    np.testing.assert_allclose(backend.asnumpy(gradients["b"]), by_b, rtol=1e-4)
