"""The written derivatives against the formulas, everywhere, and at zero and the kinks."""

from __future__ import annotations

import functools
from math import inf, nan

import mpmath
import numpy as np
import pytest
from common import FUNCTIONS, MASKED, moved_within, needed, over, remembered
from test_values import bound, dtypes_of, points

from activations_xp._oracle import difference, truth

DIGITS = 480
STEP = mpmath.mpf(10) ** -40


@functools.cache
def _slopes(case, dtype):
    """Points away from kinks, and the slopes there."""
    x = points(case.definition, dtype)
    low, high = case.definition.properties.defined
    x = x[away_from(kinks_of(case), x) & (x > low) & (x < high)]
    return x, remembered(slope, case.variant.formula, x, case.all_parameters)


def slope(formula, x, parameters, side=0, step=STEP):
    """A difference quotient in many digits: central, or from the left (-1) or the right (1)."""
    with mpmath.workdps(DIGITS):
        x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
        step = step * np.where(x == 0, 1, abs(x))
        low, high = (x - step if side <= 0 else x), (x + step if side >= 0 else x)
        rise = truth(formula, high, parameters, digits=DIGITS) - truth(
            formula, low, parameters, digits=DIGITS
        )
        return rise / (high - low)


def test_derivatives(case, backend, transform):
    if case.definition.derivative is None:
        assert case.definition.axis is not None  # every elementwise function has one
        return
    for dtype in dtypes_of(backend, transform):
        x, exact = _slopes(case, dtype)
        derivative = transform(lambda x: case.function.derivative(x, **case.parameters))
        got = backend.asnumpy(derivative(backend.array(x, dtype)))
        # where it crosses zero only the absolute error means anything
        most = 2 * max(bound(case, backend), 2)
        assert difference(got, exact, x).max() <= most
        # XLA makes a subnormal factor zero: a margin for what it is multiplied by
        normal = np.abs(exact.astype("f8")) >= 256 * np.finfo(dtype).smallest_normal
        tails = normal & (np.abs(x) > 4)
        assert difference(got, exact)[tails].max(initial=0) <= most


def kinks_of(case):
    """Where some variant may have a kink: that of the function, and those of its parameters."""
    values = [v for v in case.all_parameters.values() if isinstance(v, float)]
    return np.abs(np.array([*case.definition.properties.kinks, *values, 0.0, 2.0]))


def away_from(points, x):
    """Whether x is no kink, nor so near that the kink's own rounding decides the side."""
    near = [np.abs(np.abs(x) - k) <= 4 * np.spacing(x.dtype.type(k)) for k in points if k]
    return ~np.any([*near, x == 0], axis=0)


def test_derivatives_at_kinks_are_one_of_the_two(case, backend):
    """The sub-gradient that PyTorch takes is the slope of one side, and of the left one at 0."""
    if case.definition.derivative is None or case.definition.properties.smoothness > 0:
        return
    if case.variant is not case.definition.variants[0]:
        return
    for kink in case.definition.properties.kinks:
        x = np.array([kink])
        got = backend.asnumpy(
            case.function.derivative(backend.array(x, "float32"), **case.parameters)
        )[0]
        formula, parameters = case.variant.formula, case.all_parameters
        step = mpmath.mpf(1e-12)  # gelu(10), say, is only nearly 10
        left, right = (float(slope(formula, x, parameters, side, step)[0]) for side in (-1, 1))
        assert left != right
        assert np.isclose(got, [left, right], rtol=1e-6).any()
        if kink == 0 and case.definition.properties.smoothness == 0:
            assert np.isclose(got, left, rtol=1e-6)


# by the parameters


def slope_by_parameter(formula, x, parameters, name):
    """The central difference quotient of the formula by one parameter, in many digits."""
    with mpmath.workdps(DIGITS):
        value = mpmath.mpf(float(parameters[name]))
        step = STEP * (abs(value) or 1)
        rise = truth(formula, x, {**parameters, name: value + step}, digits=DIGITS) - truth(
            formula, x, {**parameters, name: value - step}, digits=DIGITS
        )
        return rise / (2 * step)


@functools.cache
def _slopes_by_parameter(case, name, dtype):
    x = points(case.definition, dtype)
    x = x[away_from(kinks_of(case), x)]
    return x, remembered(slope_by_parameter, case.variant.formula, x, case.all_parameters, name)


def _tried(case):
    """The parameters that may be arrays, are finite numbers, and are in the formula."""
    words = compile(case.variant.formula, "<formula>", "eval").co_names
    return [
        name
        for name, kind in case.definition.parameters.items()
        if kind.is_scalar and name in words and abs(case.all_parameters[name]) < inf
    ]


@pytest.mark.usefixtures("uncompiled")
def test_derivatives_by_parameters(case, backend):
    if case.definition.parameter_derivatives is None:
        return
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        for name in _tried(case):
            x, exact = _slopes_by_parameter(case, name, dtype)
            got = case.function.parameter_derivatives(backend.array(x, dtype), **case.parameters)
            got = backend.asnumpy(got[name])
            assert got.dtype == dtype
            assert got.shape == x.shape
            assert difference(got, exact, x).max() <= 4 * case.variant.ulp + 8, name


def test_every_parameter_that_may_be_an_array_has_a_derivative(activation):
    definition = activation.definition
    scalars = {n for n, k in definition.parameters.items() if k.is_scalar}
    if definition.axis is None:
        assert (definition.parameter_derivatives is not None) == bool(scalars)
    if definition.parameter_derivatives is None:
        return
    tried = set()
    for variant in definition.variants:
        given = {**definition.defaults, **variant.parameters}
        x = np.full((2, 4), 0.75)
        got = activation.parameter_derivatives(x, **variant.parameters)
        assert got.keys() == {n for n in scalars if given[n] is not None}
        tried |= set(compile(variant.formula, "<formula>", "eval").co_names) & got.keys()
    assert tried == scalars


# the product with the Jacobian


def jacobian(formula, x, parameters, digits=160):
    """The change of each element of the result by each of x, in ample digits for these x."""
    columns = []
    with mpmath.workdps(digits):
        x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
        for j in range(len(x)):
            step = np.array([STEP if i == j else mpmath.mpf(0) for i in range(len(x))])
            high, low = (truth(formula, x + s * step, parameters, digits=digits) for s in (1, -1))
            columns.append(np.ravel(high - low) / (2 * STEP))
    return np.stack(columns, axis=-1)


ROWS = np.array(
    [
        [0.3, -1.2, 2.1, 0.9, -0.4, 1.7, -2.6, 0.6],
        [5.0, -30.0, 4.5, 17.0, 16.5, -7.25, 0.125, 16.75],
    ]
)


@pytest.mark.usefixtures("uncompiled")
def test_vjp(case, backend):
    rows = moved_within(case.definition, ROWS)
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        x = rows.astype(dtype)
        got, exact, size = [], [], []
        for row in x:
            j = remembered(jacobian, case.variant.formula, row, case.all_parameters)
            y = case.function(row[None], **case.parameters)
            g = np.random.default_rng(7).normal(size=y.shape).astype(dtype)
            there = backend.array(row[None], dtype), backend.array(g, dtype)
            dx = backend.asnumpy(case.function.vjp(*there, **case.parameters))
            assert (dx.dtype, dx.shape) == (dtype, (1, len(row)))
            g = g.ravel()
            if case.definition.axis is None:
                j = np.diag(np.sum(j, axis=0))
            got.append(dx[0])
            exact.append((g @ j).astype("f8"))
            size.append((np.abs(g) @ np.abs(j)).astype("f8").max())
        error = np.abs(np.array(got) - np.array(exact)).max(axis=1) / np.finfo(dtype).eps
        assert (error <= (4 * min(case.variant.ulp, 64) + 8) * np.array(size)).all()


@pytest.mark.sweep_with("jax")
@pytest.mark.usefixtures("uncompiled")
def test_vjp_along_every_axis(case, backend):
    """It does to each slice what it does to that slice alone; an added axis has no slices of x."""
    if case.definition.axis in (None, "added") or "axis" in case.parameters:
        return
    x = np.linspace(-3, 3, 4 * 6 * 8).reshape(4, 6, 8) ** 3 / 9
    for axis in (0, 1, -1):
        parameters = {**case.parameters, "axis": axis}
        g = np.cos(np.arange(case.function(x, **parameters).size))
        g = g.reshape(case.function(x, **parameters).shape)
        got = (
            case.function.vjp(backend.array(x), backend.array(g), **parameters)
            if ("float64" in backend.dtypes)
            else None
        )
        if got is None:
            return
        g = np.broadcast_to(g, case.function(x, **parameters).shape)
        expected = np.empty_like(x)
        reduced = g.ndim < x.ndim
        for i, j in np.ndindex(*np.delete(x.shape, axis)):
            where = (i, j)
            index = [*where]
            index.insert(axis % 3, slice(None))
            part = g[where] if reduced else g[tuple(index)]
            alone = case.function.vjp(x[tuple(index)], np.asarray(part), **case.parameters, axis=0)
            expected[tuple(index)] = alone
        np.testing.assert_allclose(backend.asnumpy(got), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("uncompiled")
@over("function", MASKED)
def test_vjp_of_what_is_masked_is_zero(function, backend):
    x = np.array([[1, 2, 3, 4], [1, nan, 3, inf], [nan, inf, -inf, 0], [5, nan, 5, 5]])
    mask = np.array([[1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
    given = {**needed(function), "axis": -1}
    dtype = backend.dtypes[-1]
    y = function(x, where=mask, **given)
    g = np.cos(np.arange(y.size, dtype="f8")).reshape(y.shape)
    there = [backend.array(v, dtype) for v in (x, g)]
    got = backend.asnumpy(function.vjp(*there, where=backend.array(mask, "bool"), **given))
    assert (got[~mask] == 0).all()
    for row in (0, 1, 3):
        allowed = mask[row]
        part = g[row] if y.ndim == 1 else g[row][allowed]
        alone = function.vjp(x[row][allowed], np.asarray(part), **given)
        np.testing.assert_allclose(got[row][allowed], alone, rtol=1e-6, atol=1e-6)


GATED = [f for f in FUNCTIONS if "gate" in f.definition.parameters]


@pytest.mark.usefixtures("uncompiled")
@over("function", GATED)
def test_a_gate_of_its_own(function, backend):
    """Value and gate apart have the derivatives that they have as halves."""
    a, b = np.linspace(-3, 4, 12).reshape(3, 4), np.linspace(5, -6, 12).reshape(3, 4)
    g = np.cos(b)
    whole = function.vjp(np.concatenate([a, b], axis=-1), g)
    dtype = backend.dtypes[-1]
    a, b, there = (backend.array(v, dtype) for v in (a, b, g))
    got = backend.asnumpy(function.vjp(a, there, gate=b))
    slope = backend.asnumpy(function.parameter_derivatives(a, gate=b)["gate"])
    np.testing.assert_allclose(got, whole[:, :4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(g * slope, whole[:, 4:], rtol=1e-5, atol=1e-6)
    assert function.parameter_derivatives(a, gate=b).keys() == {"gate"}


@pytest.mark.usefixtures("uncompiled")
def test_wrong_cotangents(activation, backend):
    given = needed(activation)
    x = backend.array(np.full((2, 4), 0.5), "float32")
    good = backend.asnumpy(activation(x, **given))
    name = rf"^{activation.__name__}\.vjp: g "
    for wrong, kind in [(np.ones((5, 7)), ValueError), (np.ones(good.shape, "int32"), TypeError)]:
        with pytest.raises(kind, match=name):
            activation.vjp(x, backend.array(wrong, wrong.dtype.name.replace("64", "32")), **given)
    with pytest.raises(TypeError, match=name):
        activation.vjp(x, [1.0], **given)
