"""JAX: programs exported for symbolic sizes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from oracle import over
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
