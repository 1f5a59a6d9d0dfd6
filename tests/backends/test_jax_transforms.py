"""JAX: every function has the gradient of its written derivative under every transform.

The functions are not compiled here; ``test_jax_compiled.py`` compiles them.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import (
    DIFFERENTIABLE_CASES,
    EDGE_DTYPES,
    FUNCTIONS,
    MAX_EDGE_POINTS,
    assert_finite,
    edge_points,
    over,
    rows_away_from_kinks,
    rowwise_parameters,
    vjp,
)

pytestmark = pytest.mark.sweep


def _points(function):
    return jnp.asarray(rows_away_from_kinks(function))


def _call(function):
    return functools.partial(function, **rowwise_parameters(function))


def _cotangent(y):
    return jnp.asarray(np.cos(np.arange(y.size)).reshape(y.shape), y.dtype)


@functools.cache
def _expected_gradient(function):
    """Return the written gradient, computed by NumPy."""
    x = rows_away_from_kinks(function)
    g = np.asarray(_cotangent(_call(function)(x)))
    return vjp(function, g, x, **rowwise_parameters(function))


# each takes f, x and the cotangent g of f(x), and returns the gradient of x


def _grad(f, x, g):
    return jax.grad(lambda x: jnp.sum(f(x) * g))(x)


def _value_and_grad(f, x, g):
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(f(x) * g))(x)
    np.testing.assert_allclose(value, jnp.sum(f(x) * g), rtol=1e-12, atol=1e-12)
    return gradient


def _vjp(f, x, g):
    return jax.vjp(f, x)[1](g)[0]


def _jvp(f, x, g):
    """Push the unit vectors forward, one after the other."""
    units = jnp.eye(x.size, dtype=x.dtype).reshape(-1, *x.shape)
    return jnp.stack([jnp.sum(jax.jvp(f, (x,), (u,))[1] * g) for u in units]).reshape(x.shape)


def _linearize(f, x, g):
    jvp = jax.linearize(f, x)[1]
    return jax.linear_transpose(jvp, x)(g)[0]


def _jacfwd(f, x, g):
    return jnp.tensordot(g, jax.jacfwd(f)(x), g.ndim)


def _jacrev(f, x, g):
    return jnp.tensordot(g, jax.jacrev(f)(x), g.ndim)


def _checkpoint(f, x, g):
    return _vjp(jax.checkpoint(f), x, g)


def _vmap(f, x, g, at=0):
    xs, gs = jnp.stack([x, x], axis=at), jnp.stack([g, -g], axis=at)
    gradients = jax.vmap(lambda x, g: _vjp(f, x, g), in_axes=at, out_axes=at)(xs, gs)
    first, second = jnp.moveaxis(gradients, at, 0)
    np.testing.assert_allclose(first, -second, rtol=1e-12, atol=1e-12)
    return first


def _vmap_last(f, x, g):
    return _vmap(f, x, g, -1)


def _vmap_nested(f, x, g):
    def inner(x, g):
        return _vjp(f, x, g)

    xs, gs = x[:, None, None], g[:, None, None]  # a row for f, its batches around it
    return jax.vmap(jax.vmap(inner))(xs, gs)[:, 0, 0]


TRANSFORMS = [
    _grad,
    _value_and_grad,
    _vjp,
    _jvp,
    _linearize,
    _jacfwd,
    _jacrev,
    _checkpoint,
    _vmap,
    _vmap_last,
    _vmap_nested,
]


@over("transform", TRANSFORMS)
@over("function", FUNCTIONS)
def test_gradient_under(transform, function):
    f, x = _call(function), _points(function)
    g = _cotangent(f(x))
    expected = _expected_gradient(function)
    np.testing.assert_allclose(transform(f, x, g), expected, rtol=1e-10, atol=1e-10)


@over("function", FUNCTIONS)
def test_gradient_with_x64_disabled(function):
    with jax.enable_x64(False):
        f, x = _call(function), jnp.asarray(rows_away_from_kinks(function), "float32")
        gradient = _vjp(f, x, _cotangent(f(x)))
        assert gradient.dtype == "float32"
    expected = _expected_gradient(function)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


SECOND = {
    "hessian": jax.hessian,
    "jacrev of jacrev": lambda f: jax.jacrev(jax.jacrev(f)),
    "jacrev of jacfwd": lambda f: jax.jacrev(jax.jacfwd(f)),
    "jacfwd of jacfwd": lambda f: jax.jacfwd(jax.jacfwd(f)),
}


@over("second", SECOND)
@over("function", FUNCTIONS)
def test_second_derivative_under(function, second):
    f, x = _call(function), _points(function)
    g = _cotangent(f(x))

    def loss(x):
        return jnp.sum(f(x) * g)

    def gradient(x):
        return vjp(function, np.asarray(g), np.asarray(x), **rowwise_parameters(function))

    h = 1e-4
    numeric = [
        (gradient(x - 2 * s) - 8 * gradient(x - s) + 8 * gradient(x + s) - gradient(x + 2 * s))
        / (12 * h)
        for s in h * np.eye(x.size).reshape(-1, *x.shape)
    ]
    numeric = np.stack(numeric).reshape(*x.shape, *x.shape)
    np.testing.assert_allclose(SECOND[second](loss)(x), numeric, rtol=1e-6, atol=1e-7)


@over("dtype", EDGE_DTYPES)
@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_derivatives_finite_at_edges(function, given, dtype):
    def value(x):
        return function(x, **given)

    def gradient(x):
        return _vjp(value, x, jnp.ones_like(x))

    # every function gets as many, for JAX compiles each size anew
    x = np.resize(edge_points(function, given, dtype), MAX_EDGE_POINTS)
    normal = np.abs(x) >= jnp.finfo(dtype).tiny
    # XLA flushes subnormal numbers to 0
    seen = np.where(normal, x, np.zeros_like(x))
    points = jnp.asarray(x)
    orders = value(points), gradient(points), _vjp(gradient, points, jnp.ones_like(points))
    assert_finite(function, given, x, orders, seen=seen)
