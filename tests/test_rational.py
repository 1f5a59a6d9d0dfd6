"""Pade activation units of any degrees, and the gradients of their coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import cached_on_disk, exact_derivative, exact_parameter_derivative, exact_values

import activations_xp as ax
from activations_xp._oracle import difference

pytestmark = pytest.mark.sweep_with("jax")

X = np.array([-1e20, -5e3, -30, -2.75, -1.0, -0.875, -0.25, -1e-20])
X = np.concatenate([X, -X, [1.125, 3.5]])

UNITS = [
    ((2.0,), (0.25, 0.5, -0.25)),
    ((0.5, -1.0, 0.25), (1.0, 0.5)),
    ((0.5, -1.0, 0.25), (0.5, 0.0, 0.25, -1.0, 0.125)),
    ((0.25, 0.5, 2.0, 3.0), (0.75,)),
    ((0.25, 0.5, 2.0, -1.0), (0.0, 0.5)),
]


def _formula(numerator, denominator):
    """Return the formula with a name for each coefficient, and their values by name."""
    p = " + ".join(f"a{j} * x**{j}" for j in range(len(numerator)))
    q = " + ".join(f"b{k} * x**{k}" for k in range(1, len(denominator) + 1))
    names = {f"a{j}": a for j, a in enumerate(numerator)}
    names |= {f"b{k}": b for k, b in enumerate(denominator, 1)}
    return f"({p}) / (1 + abs({q}))", names


@pytest.mark.parametrize("given_as", [tuple, "array"])
@pytest.mark.parametrize(("numerator", "denominator"), UNITS)
def test_units_of_any_degrees(numerator, denominator, given_as, backend, standard_dtype):
    formula, names = _formula(numerator, denominator)
    x = X.astype(standard_dtype)
    given = numerator, denominator
    if given_as == "array":
        given = tuple(backend.array(np.array(c), standard_dtype) for c in given)
    there = backend.array(x, standard_dtype)
    exact = exact_values(formula, x, names)
    for _ in range(2):
        got = backend.asnumpy(ax.rational(there, *given))
        assert difference(got, exact, x).max() <= 4
    exact = cached_on_disk(exact_derivative, formula, x, names)
    for _ in range(2):
        got = backend.asnumpy(ax.rational.derivative(there, *given))
        assert difference(got, exact, x).max() <= 8


@pytest.mark.parametrize(("numerator", "denominator"), UNITS)
def test_gradients_of_coefficients(numerator, denominator, backend, standard_dtype):
    formula, names = _formula(numerator, denominator)
    x = X[np.abs(X) < 1e4].astype(standard_dtype)
    g = np.cos(np.arange(x.size)).astype(standard_dtype)
    arrays = (backend.array(np.array(v), standard_dtype) for v in (g, x, numerator, denominator))
    found = ax.rational.vjp(*arrays)
    assert found.keys() == {"x", "numerator", "denominator"}
    got = np.concatenate([backend.asnumpy(found[name]) for name in ("numerator", "denominator")])
    exact = [
        g * cached_on_disk(exact_parameter_derivative, formula, x, names, name) for name in names
    ]
    error = np.abs(got - np.sum(exact, axis=1).astype("f8"))
    size = np.sum(np.abs(exact), axis=1).astype("f8")
    assert (error <= 8 * np.finfo(standard_dtype).eps * size).all()


@pytest.mark.parametrize(("numerator", "denominator"), UNITS)
def test_infinities(numerator, denominator, backend, standard_dtype):
    """At an infinite x the leading terms decide."""
    excess = len(numerator) - 1 - len(denominator)
    ratio = numerator[-1] / abs(denominator[-1])
    signs = np.array([1.0, (-1.0) ** (len(numerator) - 1)])
    limits = signs * (ratio if excess == 0 else ratio * np.inf if excess > 0 else 0.0)
    x = backend.array(np.array([np.inf, -np.inf]), standard_dtype)
    got = backend.asnumpy(ax.rational(x, numerator, denominator))
    np.testing.assert_array_equal(got, limits.astype(standard_dtype))
    slopes = backend.asnumpy(ax.rational.derivative(x, numerator, denominator))
    expected = np.inf if excess > 1 else ratio if excess == 1 else 0.0
    np.testing.assert_array_equal(np.abs(slopes), np.full(2, abs(expected), standard_dtype))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, for jvp
@pytest.mark.libraries("torch", "jax")
def test_tangent_of_coefficients(backend):
    """The result is linear in the numerator, and so its own tangent."""
    x, numerator, tangent, denominator = (
        np.linspace(-2, 2, 5),
        np.array([1.0, 2.0, 3.0]),
        np.array([-1.0, 0.5, 4.0]),
        np.array([1.0, 2.0]),
    )
    x_there, *others = (backend.array(v) for v in (x, numerator, tangent, denominator))

    def f(numerator):
        return ax.rational(x_there, numerator, others[2])

    if backend.library == "torch":
        import torch

        _, got = torch.func.jvp(f, (others[0],), (others[1],))
    else:
        import jax

        _, got = jax.jvp(f, (others[0],), (others[1],))
    expected = ax.rational(x, tangent, denominator)
    np.testing.assert_allclose(backend.asnumpy(got), expected, rtol=1e-13)
