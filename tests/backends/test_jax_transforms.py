"""JAX: every function under every transform has the gradient of its written derivative."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from oracle import (
    DIFFERENTIABLE_CASES,
    EDGE_DTYPES,
    FUNCTIONS,
    MAX_EDGE_POINTS,
    assert_finite,
    edge_points,
    in_sweep,
    map_into_domain,
    over,
    rowwise_parameters,
)


def _points(function):
    """Two rows away from kinks and ties."""
    x = np.random.default_rng(11).permutation(np.linspace(-2.9, 3.3, 8))
    return jnp.asarray(map_into_domain(function.definition, x).reshape(2, 4))


def _call(function):
    return functools.partial(function, **rowwise_parameters(function))


def _cotangent(y):
    return jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)


# each takes f, x and g, and returns the gradient of x for the gradient g of f(x)


def _grad(f, x, g):
    return jax.grad(lambda x: jnp.sum(f(x) * g))(x)


def _value_and_grad(f, x, g):
    value, slope = jax.value_and_grad(lambda x: jnp.sum(f(x) * g))(x)
    np.testing.assert_allclose(value, jnp.sum(f(x) * g), rtol=1e-12, atol=1e-12)
    return slope


def _vjp(f, x, g):
    return jax.vjp(f, x)[1](g)[0]


def _jvp(f, x, g):
    """The tangents of the unit vectors, one after the other."""
    rows = jnp.eye(x.size, dtype=x.dtype).reshape(-1, *x.shape)
    return jnp.stack([jnp.sum(jax.jvp(f, (x,), (r,))[1] * g) for r in rows]).reshape(x.shape)


def _linearize(f, x, g):
    pushed = jax.linearize(f, x)[1]
    return jax.linear_transpose(pushed, x)(g)[0]


def _jacfwd(f, x, g):
    return jnp.tensordot(g, jax.jacfwd(f)(x), g.ndim)


def _jacrev(f, x, g):
    return jnp.tensordot(g, jax.jacrev(f)(x), g.ndim)


def _checkpoint(f, x, g):
    return _vjp(jax.checkpoint(f), x, g)


def _vmap(f, x, g, at=0):
    xs, gs = jnp.stack([x, x], axis=at), jnp.stack([g, -g], axis=at)
    each = jax.vmap(lambda x, g: _vjp(f, x, g), in_axes=at, out_axes=at)(xs, gs)
    first, second = jnp.moveaxis(each, at, 0)
    np.testing.assert_allclose(first, -second, rtol=1e-12, atol=1e-12)
    return first


def _vmap_last(f, x, g):
    return _vmap(f, x, g, -1)


def _vmap_nested(f, x, g):
    def inner(x, g):
        return _vjp(f, x, g)

    xs, gs = x[:, None, None], g[:, None, None]  # a row for f, its batches around it
    return jax.vmap(jax.vmap(inner))(xs, gs)[:, 0, 0]


def _jit_of_grad(f, x, g):
    return jax.jit(lambda x, g: jax.vjp(f, x)[1](g)[0])(x, g)


def _grad_of_jit(f, x, g):
    return _grad(jax.jit(f), x, g)


def _sharded(f, x, g):
    """Rows on eight devices: the whole is what the parts are."""
    mesh = jax.make_mesh((8,), ("rows",))
    rows = PartitionSpec("rows")
    pull = functools.partial(_vjp, f)
    mapped = jax.jit(jax.shard_map(pull, mesh=mesh, in_specs=(rows, rows), out_specs=rows))
    xs, gs = (jnp.tile(v, (8, *(1,) * (v.ndim - 1))) for v in (x, g))
    placed = [jax.device_put(v, NamedSharding(mesh, rows)) for v in (xs, gs)]
    slopes = mapped(*placed)
    assert len(slopes.sharding.device_set) == 8
    return np.asarray(slopes)[-2:]


COMPILED = [_sharded, _jit_of_grad, _grad_of_jit]
TRANSFORMS = [
    _grad,
    _vjp,
    _jvp,
    _jacfwd,
    _checkpoint,
    _vmap_last,
    # what is made of those
    *(
        pytest.param(transform, marks=pytest.mark.sweep)
        for transform in (_value_and_grad, _linearize, _jacrev, _vmap, _vmap_nested)
    ),
]


def _agree(transform, function):
    f, x = _call(function), _points(function)
    g = _cotangent(f(x))
    expected = function.vjp(np.asarray(x), np.asarray(g), **rowwise_parameters(function))
    np.testing.assert_allclose(transform(f, x, g), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("uncompiled")
@over("transform", TRANSFORMS)
@over("function", FUNCTIONS)
def test_gradients_under(transform, function):
    _agree(transform, function)


@over("transform", in_sweep(COMPILED))
@over("function", FUNCTIONS)
def test_gradients_compiled_under(transform, function):
    _agree(transform, function)


@pytest.mark.usefixtures("uncompiled")
@over("function", FUNCTIONS)
def test_gradients_without_64_bits(function):
    with jax.enable_x64(False):
        f, x = _call(function), jnp.asarray(np.asarray(_points(function)), "float32")
        g = _cotangent(f(x))
        slope = _vjp(f, x, g)
        assert slope.dtype == "float32"
    x, g = (np.asarray(v, "float64") for v in (x, g))
    expected = function.vjp(x, g, **rowwise_parameters(function))
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


SECOND = [
    jax.hessian,
    lambda f: jax.jacrev(jax.jacrev(f)),
    lambda f: jax.jacrev(jax.jacfwd(f)),
    lambda f: jax.jacfwd(jax.jacfwd(f)),
]


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.sweep
@over("second", SECOND)
@over("function", FUNCTIONS)
def test_second_derivatives_under(function, second):
    f, x = _call(function), _points(function)
    g = _cotangent(f(x))

    def total(x):
        return jnp.sum(f(x) * g)

    def slope(x):
        return function.vjp(np.asarray(x), np.asarray(g), **rowwise_parameters(function))

    h = 1e-4
    numeric = [
        (slope(x - 2 * s) - 8 * slope(x - s) + 8 * slope(x + s) - slope(x + 2 * s)) / (12 * h)
        for s in h * np.eye(x.size).reshape(-1, *x.shape)
    ]
    numeric = np.stack(numeric).reshape(*x.shape, *x.shape)
    np.testing.assert_allclose(second(total)(x), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("uncompiled")
@over("dtype", in_sweep(EDGE_DTYPES))
@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_first_and_second_derivatives_at_the_edges(function, given, dtype):
    def value(x):
        return function(x, **given)

    def slope(x):
        return _vjp(value, x, jnp.ones_like(x))

    # as many for every function: each size is compiled anew
    x = np.resize(edge_points(function, given, dtype), MAX_EDGE_POINTS)
    normal = np.abs(x) >= jnp.finfo(dtype).tiny
    # XLA takes a subnormal number for 0
    seen = np.where(normal, x, np.zeros_like(x))
    there = jnp.asarray(x)
    orders = value(there), slope(there), _vjp(slope, there, jnp.ones_like(there))
    assert_finite(function, given, x, orders, seen=seen)
