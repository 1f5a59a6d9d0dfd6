"""JAX: programs exported for symbolic sizes, and axes that are sharded in explicit mode."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from oracle import (
    ALONG_AXIS,
    ELEMENTWISE,
    map_into_domain,
    one_of_each_family,
    over,
    rowwise_parameters,
)
from sizes import ACTIVATION_CALLS, OPERATION_CALLS, RANDOM_CALLS

import activations_xp as ax

pytestmark = pytest.mark.compiled

KINDS = {"f": "float64", "i": "int64", "b": "bool"}


def _bind(call):
    """Return a function of the arrays of a call, and of a key."""
    constants = call.constants(jnp.asarray)
    names = list(call.shapes)

    def run(key, *arrays):
        given = dict(zip(names, arrays, strict=True))
        first = [given.pop("x")] if "x" in given else []
        rng = {"rng": jax.random.wrap_key_data(key)} if call in RANDOM_CALLS else {}
        y = call.function(*first, **given, **constants, **rng)
        return y[0] if isinstance(y, tuple) else y

    return run


def _gradient(f):
    def gradient(key, first, *others):
        y, vjp = jax.vjp(lambda first: f(key, first, *others), first)
        return vjp(jnp.cos(y))[0]

    return gradient


def _assert_exported(call, f, sizes):
    """Export a function for all sizes, and compare it at some."""
    symbols = export.symbolic_shape("b, n")
    shapes = {name: shape(*symbols) for name, shape in call.shapes.items()}
    arguments = [jax.ShapeDtypeStruct(s, KINDS[call.kind(name)]) for name, s in shapes.items()]
    key = jnp.zeros(2, "uint32")
    exported = export.export(jax.jit(f))(jax.ShapeDtypeStruct(key.shape, key.dtype), *arguments)
    for size in sizes:
        arrays = list(map(jnp.asarray, call.arrays(*size).values()))
        got, expected = exported.call(key, *arrays), f(key, *arrays)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@over("call", [*ACTIVATION_CALLS, *OPERATION_CALLS, *RANDOM_CALLS])
def test_export_with_symbolic_sizes(call):
    _assert_exported(call, _bind(call), [(3, 5)])


DIFFERENTIABLE = [c for c in OPERATION_CALLS if c.function is not ax.adaptive_predict]


@pytest.mark.sweep
@over("call", [*ACTIVATION_CALLS, *DIFFERENTIABLE, *RANDOM_CALLS])
def test_export_of_gradients_with_symbolic_sizes(call):
    _assert_exported(call, _gradient(_bind(call)), [(3, 5), (1, 1), (2, 40)])


# explicit sharding


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Explicit,))


def _assert_sharded(function, mesh, *forms):
    f = functools.partial(function, **rowwise_parameters(function))
    values = map_into_domain(function.definition, np.linspace(-2.9, 3.3, 128).reshape(8, 16))
    values = np.random.default_rng(0).permuted(values, axis=1)
    for spec in (PartitionSpec(None, "devices"), PartitionSpec("devices")):
        x = jax.device_put(values, NamedSharding(mesh, spec))
        for form in forms:
            y, expected = (form(lambda x: f(x))(array) for array in (x, jnp.asarray(values)))
            np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-12, atol=1e-12)
            if y.shape == x.shape:
                assert jax.typeof(y).sharding == jax.typeof(x).sharding


def _value(f):
    return f


def _grad(f):
    return jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))


@over("function", [*ALONG_AXIS, *one_of_each_family(ELEMENTWISE)])
def test_explicitly_sharded(function, mesh):
    """The rows are sharded, or their elements, and the result is as x is."""
    _assert_sharded(function, mesh, _value)


@over("function", [ax.entmax15, ax.logcumsumexp, ax.sparsemax])
def test_explicitly_sharded_under_transforms(function, mesh):
    _assert_sharded(
        function,
        mesh,
        lambda f: jax.jit(f),
        lambda f: jax.jit(_grad(f)),
        lambda f: lambda x: jax.jit(jax.vmap(f))(jnp.stack([x, x]))[1],
    )


@pytest.mark.sweep
@over("function", [ax.entmax15, ax.logcumsumexp, ax.sparsemax])
def test_second_derivative_explicitly_sharded(function, mesh):
    _assert_sharded(function, mesh, lambda f: jax.jit(_grad(_grad(f))))


def test_explicitly_sharded_masks_and_parameters(mesh):
    """They are sharded as x is, and all gradients are as the arguments are."""
    x = np.random.default_rng(0).normal(size=(8, 16))
    arrays = {"x": x, "where": x < 1, "alpha": np.linspace(1.1, 1.9, 8).reshape(8, 1)}
    specs = {"alpha": PartitionSpec(), "x": PartitionSpec(None, "devices")}

    def gradients(x, where, alpha):
        def loss(x, alpha):
            return jnp.sum(jnp.sin(ax.entmax(x, alpha, n_iter=3, where=where)))

        return jax.grad(loss, (0, 1))(x, alpha)

    expected = gradients(**{name: jnp.asarray(a) for name, a in arrays.items()})
    sharded = {
        name: jax.device_put(a, NamedSharding(mesh, specs.get(name, specs["x"])))
        for name, a in arrays.items()
    }
    got = jax.jit(gradients)(**sharded)
    for ours, true, name in zip(got, expected, ("x", "alpha"), strict=True):
        np.testing.assert_allclose(np.asarray(ours), true, rtol=1e-10, atol=1e-12)
        assert jax.typeof(ours).sharding == jax.typeof(sharded[name]).sharding
