"""JAX: attention compiled, differentiated and mapped, beside ``jax.nn.dot_product_attention``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from oracle import over

import activations_xp as ax

pytestmark = pytest.mark.compiled

sdpa, multi_head = ax.scaled_dot_product_attention, ax.multi_head_attention


def _arrays(dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = (2, 4, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _mask():
    """Return a mask that leaves something to every query."""
    mask = np.random.default_rng(1).random((2, 1, 5, 7)) < 0.6
    mask[:, :, :, 0] = True
    return jnp.asarray(mask)


def _theirs(query, key, value, **options):
    """Call JAX, which has the axis of heads after that of the sequence."""
    swapped = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    return jnp.swapaxes(jax.nn.dot_product_attention(*swapped, **options), 1, 2)


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"mask": _mask()},
    "all": {"mask": _mask(), "bias": jnp.linspace(-1, 1, 7, dtype="float32"), "scale": 0.3},
}


@over("options", OPTIONS)
def test_values_and_gradients_beside_jax(options):
    """The dtype is float32, in which JAX computes the weights."""
    options, arrays = OPTIONS[options], _arrays("float32")
    theirs = dict(options)
    if "bias" in theirs:
        theirs["bias"] = theirs["bias"][None, None, None]
    y, vjp = jax.vjp(lambda *a: sdpa(*a, **options), *arrays)
    expected, their_vjp = jax.vjp(lambda *a: _theirs(*a, **theirs), *arrays)
    for ours, known in zip((y, *vjp(y)), (expected, *their_vjp(y)), strict=True):
        np.testing.assert_allclose(ours, known, rtol=1e-4, atol=2e-6)


def test_fully_masked_query_beside_jax():
    """JAX returns the mean of all values, and a gradient for them."""
    query, key, value = _arrays("float32")
    mask = _mask().at[0, 0, 2].set(False)
    theirs = _theirs(query, key, value, mask=mask)
    mean = jnp.repeat(value[0].mean(1), 2, 0)
    np.testing.assert_allclose(theirs[0, :, 2], mean, rtol=1e-5)
    y, vjp = jax.vjp(lambda *a: sdpa(*a, mask=mask), query, key, value)
    assert (y[0, :, 2] == 0).all()
    g = jnp.zeros_like(y).at[0, :, 2].set(1.0)
    assert all((part == 0).all() for part in vjp(g))


FULL = {"mask": _mask(), "is_causal": "lower_right", "softcap": 3.0, "dropout": 0.3}


@pytest.mark.sweep
@over("options", [{}, FULL])
def test_gradients_forward_reverse_and_second(options):
    if options:
        options = {**options, "noise": jax.random.uniform(jax.random.key(1), (2, 4, 5, 7))}
    bias = jnp.linspace(-1, 1, 7)

    def call(*arrays):
        query, key, value, bias = map(jnp.asarray, arrays)
        return sdpa(query, key, value, bias=bias, **options)

    jax.test_util.check_grads(
        jax.jit(call), (*_arrays(), bias), 2, modes=["fwd", "rev"], rtol=1e-5, atol=1e-5
    )


def test_jit_of_vmap():
    arrays = _arrays()
    expected = sdpa(*arrays, is_causal=True)
    call = jax.vmap(lambda *a: sdpa(*a, is_causal=True))
    np.testing.assert_allclose(jax.jit(call)(*arrays), expected, rtol=1e-12)


def test_hessian_of_a_masked_attention():
    query, key, value = _arrays()
    gradient = jax.grad(lambda q: sdpa(q, key, value, mask=_mask()).sum())
    hessian = jax.hessian(lambda q: sdpa(q, key, value, mask=_mask()).sum())(query)
    step = 1e-4 * jnp.ones_like(query)
    along = jnp.tensordot(hessian, step, query.ndim)
    np.testing.assert_allclose(
        along, (gradient(query + step) - gradient(query - step)) / 2, atol=1e-10
    )


def _attend_in_parts(query, key, value):
    """Return attention and the log-sum-exp, of three keys and of the others; a query has none."""
    mask = jnp.ones((5, 7), bool).at[1].set(False).at[2, :3].set(False)
    query, key, value = map(jnp.asarray, (query, key, value))
    states = [
        ax.attention_with_lse(query, key[..., s, :], value[..., s, :], mask=mask[:, s])
        for s in (slice(3), slice(3, None))
    ]
    output, lse = ax.merge_attention(*states[0], *states[1])
    return output, jnp.where(jnp.isfinite(lse), lse, 0.0)


def test_gradients_and_vmap_of_states():
    """Both results have gradients, forward and backward, and second derivatives."""
    arrays = _arrays()
    jax.test_util.check_grads(
        jax.jit(_attend_in_parts), arrays, 2, modes=["fwd", "rev"], rtol=1e-5, atol=1e-5
    )
    mapped = jax.jit(jax.vmap(_attend_in_parts))(*arrays)
    expected = _attend_in_parts(*arrays)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), mapped, expected)


def test_dropout_needs_a_key():
    arrays = _arrays()
    with pytest.raises(TypeError, match="rng must be a key of JAX"):
        sdpa(*arrays, dropout=0.5)
    first, second, again = (sdpa(*arrays, dropout=0.5, rng=jax.random.key(i)) for i in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_multi_head_gradients_and_vmap():
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(2, 3, 4)))
    weights = {"in_proj_weight": jnp.asarray(rng.normal(size=(12, 4)))}
    out = jnp.asarray(rng.normal(size=(4, 4)))

    def call(x, out):
        x, out = map(jnp.asarray, (x, out))
        return multi_head(x, x, x, 2, out, **weights, need_weights=True, is_causal=True)

    jax.test_util.check_grads(
        jax.jit(call), (x, out), 1, modes=["fwd", "rev"], rtol=1e-5, atol=1e-5
    )
    mapped = jax.vmap(lambda x: call(x, out))(x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), mapped, call(x, out))
    named = {"query": x, "key": x, "value": x, "out_proj_weight": out, **weights}
    g = jnp.ones((2, 3, 4)), None
    written = jax.jit(lambda named: multi_head.vjp(g, **named, num_heads=2))(named)
    gradients = jax.grad(lambda named: multi_head(**named, num_heads=2)[0].sum())(named)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), written, gradients
    )
