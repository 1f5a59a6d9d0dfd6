"""The written derivatives against the formulas, everywhere, and at zero and the kinks."""

from __future__ import annotations

from math import inf, nan

import mpmath
import numpy as np
import pytest
from oracle import (
    CASES,
    FUNCTIONS,
    ROWS,
    assert_derivatives,
    cached_on_disk,
    cases_of,
    exact_derivative,
    exact_jacobian,
    has_parameter_derivatives,
    last_axis_parameters,
    map_into_domain,
    output_axis,
    over,
    parameter_derivatives,
    required_parameters,
    sampled_derivatives,
    sampled_parameter_derivatives,
    takes_array,
    ulp_bound,
    vjp,
)

import activations_xp as ax
from activations_xp._oracle import difference

SLICED = [
    case
    for case in CASES
    if output_axis(case.function) in ("kept", "resized") and "axis" not in case.parameters
]
"""An added axis has no slices of x."""

GATED = [f for f in FUNCTIONS if "gate" in f.definition.parameters]


@pytest.mark.once
def test_derivative_of_every_elementwise_function(elementwise):
    assert elementwise.definition.derivative is not None


@pytest.mark.sweep_with("jax")
def test_derivatives(differentiable, backend, transform, standard_dtype):
    case = differentiable
    x, exact = sampled_derivatives(case, standard_dtype)
    derivative = transform(lambda x: case.function.derivative(x, **case.parameters))
    with ax.precision("accurate"):
        got = backend.asnumpy(derivative(backend.array(x, standard_dtype)))
    assert_derivatives(got, x, exact, 2 * max(ulp_bound(case, backend.library), 2))


def test_derivatives_at_kinks(with_kinks, backend):
    """The sub-gradient that PyTorch takes is the derivative of one side, and of the left at 0."""
    case = with_kinks
    for kink in case.definition.properties.kinks:
        x = np.array([kink])
        there = backend.array(x, "float32")
        got = backend.asnumpy(case.function.derivative(there, **case.parameters))[0]
        step = mpmath.mpf(1e-12)  # gelu(10), say, is only nearly 10
        left, right = (
            float(exact_derivative(case.formula, x, case.all_parameters, side, step)[0])
            for side in (-1, 1)
        )
        is_smooth = case.definition.properties.smoothness > 0
        assert np.isclose(left, right, rtol=1e-9, atol=1e-9) == is_smooth
        assert np.isclose(got, [left, right], rtol=1e-6).any()
        if kink == 0 and case.definition.properties.smoothness == 0:
            assert np.isclose(got, left, rtol=1e-6)


# by the parameters


def _in_formulas():
    for case in CASES:
        words = compile(case.formula, "<formula>", "eval").co_names
        for name, spec in case.definition.parameters.items():
            is_finite = takes_array(spec) and name in words and abs(case.all_parameters[name]) < inf
            if is_finite and has_parameter_derivatives(case.function):
                yield pytest.param(case, name, id=f"{case}-{name}")


@pytest.mark.sweep_with("jax")
@pytest.mark.parametrize(("case", "name"), list(_in_formulas()))
def test_derivatives_by_parameters(case, name, backend, standard_dtype):
    x, exact = sampled_parameter_derivatives(case, name, standard_dtype)
    by_name = parameter_derivatives(case.function, x, backend.asarray, **case.parameters)
    got = backend.asnumpy(by_name[name])
    assert got.dtype == standard_dtype
    assert got.shape == x.shape
    assert difference(got, exact, x).max() <= 4 * case.ulp + 8


@pytest.mark.once
def test_derivatives_by_parameters_are_those_of_array_parameters(elementwise):
    specs = elementwise.definition.parameters.values()
    assert has_parameter_derivatives(elementwise) == any(spec.differentiable for spec in specs)


@pytest.mark.once
def test_derivatives_by_parameters_are_complete(with_array_parameters):
    """Every parameter that may be an array has a derivative, and is in some formula."""
    function = with_array_parameters
    definition = function.definition
    names = {name for name, spec in definition.parameters.items() if takes_array(spec)}
    in_formulas = set()
    for case in cases_of(function):
        given = {**definition.defaults, **case.parameters}
        got = parameter_derivatives(function, np.full((2, 4), 0.75), **case.parameters)
        assert got.keys() == {name for name in names if given[name] is not None}
        in_formulas |= set(compile(case.formula, "<formula>", "eval").co_names) & got.keys()
    assert in_formulas == names


# the product with the Jacobian


@pytest.mark.sweep_with("jax")
def test_vjp(case, backend, standard_dtype):
    got, exact, size = [], [], []
    for row in map_into_domain(case.definition, ROWS).astype(standard_dtype):
        if output_axis(case.function) is None:
            slopes = cached_on_disk(exact_derivative, case.formula, row, case.all_parameters)
            jacobian = np.diag(slopes)
        else:
            jacobian = cached_on_disk(exact_jacobian, case.formula, row, case.all_parameters)
        y = case.function(row[None], **case.parameters)
        g = np.random.default_rng(7).normal(size=y.shape).astype(standard_dtype)
        there, g_there = backend.array(row[None], standard_dtype), backend.array(g, standard_dtype)
        dx = backend.asnumpy(vjp(case.function, g_there, there, **case.parameters))
        assert (dx.dtype, dx.shape) == (standard_dtype, (1, len(row)))
        g = g.ravel()
        got.append(dx[0])
        exact.append((g @ jacobian).astype("f8"))
        size.append((np.abs(g) @ np.abs(jacobian)).astype("f8").max())
    error = np.abs(np.array(got) - np.array(exact)).max(axis=1) / np.finfo(standard_dtype).eps
    assert (error <= (4 * min(case.ulp, 64) + 8) * np.array(size)).all()


@pytest.mark.sweep_with("jax")
@over(
    "case",
    # an added axis has no slices of x
    [
        c
        for c in CASES
        if output_axis(c.function) in ("kept", "resized") and "axis" not in c.parameters
    ],
)
def test_vjp_along_every_axis(case, backend):
    """It does to each slice what it does to that slice alone."""
    dtype = backend.dtypes[-1]
    x = (np.linspace(-3, 3, 4 * 6 * 8).reshape(4, 6, 8) ** 3 / 9).astype(dtype).astype("f8")
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    for axis in (0, 1, -1):
        parameters = {**case.parameters, "axis": axis}
        y = case.function(x, **parameters)
        g = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype).astype("f8")
        got = vjp(case.function, backend.array(g, dtype), backend.array(x, dtype), **parameters)
        expected = np.empty_like(x)
        drops_axis = g.ndim < x.ndim
        for where in np.ndindex(*np.delete(x.shape, axis)):
            index = list(where)
            index.insert(axis % 3, slice(None))
            g_slice = np.asarray(g[where] if drops_axis else g[tuple(index)])
            alone = vjp(case.function, g_slice, x[tuple(index)], **case.parameters, axis=0)
            expected[tuple(index)] = alone
        np.testing.assert_allclose(backend.asnumpy(got), expected, rtol=tolerance, atol=tolerance)


def test_vjp_masked(masked, backend):
    """The gradient of what is masked is zero, whatever it is, and it changes no other.

    Nor does the cotangent there.
    """
    x = np.array([[1, 2, 3, 4], [1, nan, 3, inf], [nan, inf, -inf, 0], [5, nan, 5, 5]])
    mask = np.array([[1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
    given = last_axis_parameters(masked)
    dtype = backend.dtypes[-1]
    y = masked(x, where=mask, **given)
    g = np.cos(np.arange(y.size, dtype="f8")).reshape(y.shape)
    g = np.where(mask, g, nan) if y.ndim == 2 else g
    g_there, there = (backend.array(v, dtype) for v in (g, x))
    got = backend.asnumpy(vjp(masked, g_there, there, where=backend.array(mask, "bool"), **given))
    assert (got[~mask] == 0).all()
    for row in (0, 1, 3):
        g_row = g[row] if y.ndim == 1 else g[row][mask[row]]
        alone = vjp(masked, np.asarray(g_row), x[row][mask[row]], **given)
        np.testing.assert_allclose(got[row][mask[row]], alone, rtol=1e-6, atol=1e-6)


@over("function", GATED)
def test_vjp_of_gate_as_array(function, backend):
    """Value and gate as two arrays have the gradients that they have as halves."""
    a, b = np.linspace(-3, 4, 12).reshape(3, 4), np.linspace(5, -6, 12).reshape(3, 4)
    g = np.cos(b)
    expected = vjp(function, g, np.concatenate([a, b], axis=-1))
    dtype = backend.dtypes[-1]
    a, b, g = (backend.array(v, dtype) for v in (a, b, g))
    gradients = function.vjp(g, a, gate=b)
    assert gradients.keys() == {"x", "gate"}
    for name, half in ("x", expected[:, :4]), ("gate", expected[:, 4:]):
        got = backend.asnumpy(gradients[name])
        np.testing.assert_allclose(got, half, rtol=1e-5, atol=1e-6)


def test_vjp_invalid_cotangent(activation, backend):
    given = required_parameters(activation)
    x = backend.array(np.full((2, 4), 0.5), "float32")
    y = backend.asnumpy(activation(x, **given))
    message = rf"^{activation.__name__}\.vjp: g "
    for shape, dtype, kind in [((5, 7), "float32", ValueError), (y.shape, "int32", TypeError)]:
        with pytest.raises(kind, match=message):
            activation.vjp(backend.array(np.ones(shape), dtype), x, **given)
    with pytest.raises(TypeError, match=message):
        activation.vjp([1.0], x, **given)
