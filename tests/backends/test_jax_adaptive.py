"""JAX: the adaptive softmax compiled once for all targets, mapped and differentiated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

import activations_xp as ax

pytestmark = pytest.mark.compiled

FEATURES, SIZES = 6, (4, 3, 5)
TARGETS = np.array([[0, 4, 11, 3], [1, 0, 2, 3], [7, 8, 9, 10], [-100, 6, 5, -100]])


def _problem():
    rng = np.random.default_rng(0)
    shortlist, *clusters = SIZES
    shapes = [((2, FEATURES), (n, 2)) for n in clusters]
    weights = {
        "head_weight": rng.normal(size=(shortlist + len(clusters), FEATURES)),
        "tail_weights": [tuple(rng.normal(size=shape) for shape in pair) for pair in shapes],
        "head_bias": rng.normal(size=shortlist + len(clusters)),
    }
    x = rng.normal(size=(TARGETS.shape[1], FEATURES))
    return jax.tree.map(jnp.asarray, (x, weights))


def _loss(x, weights, target):
    return ax.adaptive_log_softmax_with_loss(x, target, **weights)[1]


def _assert_close(got, expected):
    def compare(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)

    jax.tree.map(compare, got, expected)


def test_jit_compiles_once_for_all_targets():
    x, weights = _problem()
    traced = []

    def counted(*args):
        traced.append(args)
        return _loss(*args)

    step = jax.jit(jax.value_and_grad(counted, (0, 1)))
    for target in TARGETS:
        loss, (g_x, g_weights) = step(x, weights, target)
        on_numpy = jax.tree.map(np.asarray, (x, weights))
        _assert_close(loss, _loss(*on_numpy, target))
        written = ax.adaptive_log_softmax_with_loss.vjp(
            (None, np.float64(1.0)), on_numpy[0], target, **on_numpy[1]
        )
        g_weights["tail_weights"] = tuple(g_weights["tail_weights"])
        _assert_close({"x": g_x, **g_weights}, written)
    assert len(traced) == 1


def test_vmap_equals_a_batch():
    x, weights = _problem()
    batch = jnp.stack([x] * len(TARGETS))
    output, loss = ax.adaptive_log_softmax_with_loss(
        batch, jnp.asarray(TARGETS), **weights, reduction="none"
    )
    mapped = jax.vmap(lambda x, t: ax.adaptive_log_softmax_with_loss(x, t, **weights))
    got, means = mapped(batch, jnp.asarray(TARGETS))
    _assert_close(got, output)
    _assert_close(means, loss.sum(axis=1) / (TARGETS != -100).sum(axis=1))
    for f in (ax.adaptive_predict, ax.adaptive_log_prob):
        _assert_close(jax.vmap(lambda x, f=f: f(x, **weights))(batch), f(batch, **weights))


@pytest.mark.sweep
def test_gradients_forward_reverse_and_second():
    x, weights = _problem()

    @jax.jit
    def loss(x, weights):
        return _loss(x, weights, jnp.asarray(TARGETS[0]))

    @jax.jit
    def log_prob(x, weights):
        return ax.adaptive_log_prob(x, **weights)

    jax.test_util.check_grads(loss, (x, weights), order=1)
    jax.test_util.check_grads(lambda x: loss(x, weights), (x,), order=2, modes="rev")
    jax.test_util.check_grads(log_prob, (x, weights), order=1)


def test_target_out_of_range_is_nan():
    x, weights = _problem()
    output, loss = ax.adaptive_log_softmax_with_loss(x, jnp.asarray([0, 12, -100, -1]), **weights)
    np.testing.assert_array_equal(np.isnan(output), [False, True, False, True])
    assert np.isnan(loss)


def test_x64_disabled():
    with jax.enable_x64(False):
        x, weights = jax.tree.map(lambda a: a.astype("float32"), _problem())
        target = jnp.asarray(TARGETS[0], "uint8")
        output, loss = ax.adaptive_log_softmax_with_loss(x, target, **weights)
        assert output.dtype == loss.dtype == "float32"
        assert ax.adaptive_predict(x, **weights).dtype == "int32"
