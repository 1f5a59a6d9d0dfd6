"""Functions of chance: their statistics, where the chance comes from, and what ends it."""

from __future__ import annotations

from math import sqrt

import mpmath
import numpy as np
import pytest
from oracle import FUNCTIONS

import activations_xp as ax

N = 10**6
SIGMAS = 5
STOCHASTIC = [f for f in FUNCTIONS if f.definition.noise is not None]
SWITCHED = [f for f in STOCHASTIC if "training" in f.definition.parameters]
DROPOUTS = [ax.dropout, ax.alpha_dropout, ax.feature_alpha_dropout]


@pytest.fixture
def seeded(backend):
    """A generator of the backend's library for a seed, which begins anew with it."""
    if backend.library == "torch":
        import torch

        return lambda seed: torch.Generator().manual_seed(seed)
    if backend.library == "jax":
        import jax

        return jax.random.key
    return np.random.default_rng


def _drawn(backend, seeded, shape, seed=0):
    """How one draws for a library that does not: the noise itself."""
    if backend.library in ("numpy", "torch", "jax"):
        return {"rng": seeded(seed)}
    return {"noise": backend.array(seeded(seed).random(shape))}


def _training(function):
    return {"training": True} if function in SWITCHED else {}


def _at_random(function, backend, seeded, x, seed=0, **given):
    shape = function.definition.noise.shape(x=x)
    y = function(x, **_training(function), **given, **_drawn(backend, seeded, shape, seed))
    return backend.asnumpy(y).astype("f8")


def _near(got, expected, deviation, count=N):
    """Within 5 sigma of the mean of so many numbers."""
    assert abs(got - expected) <= SIGMAS * deviation / sqrt(count)


def test_rrelu_has_uniform_slopes(backend, seeded):
    x = backend.array(-np.ones(N), "float32")
    slopes = -_at_random(ax.rrelu, backend, seeded, x)
    low, high = 1 / 8, 1 / 3
    spread = (high - low) / sqrt(12)
    assert slopes.min() >= low - 1e-7
    assert slopes.max() <= high + 1e-7
    _near(slopes.mean(), (low + high) / 2, spread)
    _near(slopes.var(), spread**2, spread**2 * sqrt(0.8))
    _independent(slopes)


def _independent(values):
    """Neighbours, near and far, are not correlated."""
    z = (values - values.mean()) / values.std()
    for lag in (1, 2, 64, 1000, len(z) // 2):
        _near((z[lag:] * z[:-lag]).mean(), 0, 1, len(z) - lag)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_with_its_probability(backend, seeded, p):
    x = backend.array(np.ones(N), "float32")
    y = _at_random(ax.dropout, backend, seeded, x, p=p)
    kept = y != 0
    np.testing.assert_array_equal(y[kept], np.float32(1) / np.float32(1 - p))
    _near(kept.mean(), 1 - p, sqrt(p * (1 - p)))
    _independent(kept.astype("f8"))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(backend, seeded, p):
    normal = np.random.default_rng(1).standard_normal(N)
    y = _at_random(ax.alpha_dropout, backend, seeded, backend.array(normal, "float32"), p=p)
    _near(y.mean(), 0, 1)
    _near(y.var(), 1, sqrt(((y**2 - 1) ** 2).mean()))
    least = -1.7580993408473766
    dropped = np.isclose(y, least * (1 - p) / sqrt((1 - p) * (1 + p * least**2)), rtol=1e-6)
    _near(dropped.mean(), p, sqrt(p * (1 - p)) + 1e-4)  # a few are there by themselves


def test_feature_alpha_dropout_drops_channels(backend, seeded):
    x = backend.array(np.full((200, 50, 3, 2), 5.0), "float32")
    y = _at_random(ax.feature_alpha_dropout, backend, seeded, x, p=0.3)
    assert (y == y[:, :, :1, :1]).all()
    dropped = y[:, :, 0, 0] < 0
    _near(dropped.mean(), 0.3, sqrt(0.21), dropped.size)
    _independent(dropped.ravel().astype("f8"))


def test_gumbel_softmax_samples_with_the_probabilities_of_softmax(backend, seeded):
    logits = np.array([-1.0, 0.0, 0.5, 2.0])
    p = np.exp(logits) / np.exp(logits).sum()
    x = backend.array(np.tile(logits, (N // 4, 1)), "float32")
    sample = _at_random(ax.gumbel_softmax, backend, seeded, x, hard=True)
    assert set(np.unique(sample)) == {0, 1}
    assert (sample.sum(-1) == 1).all()
    for got, expected in zip(sample.mean(0), p, strict=True):
        _near(got, expected, sqrt(expected * (1 - expected)), len(sample))
    _independent(sample.argmax(-1).astype("f8"))
    soft = _at_random(ax.gumbel_softmax, backend, seeded, x, tau=0.5)
    np.testing.assert_array_equal(soft.argmax(-1), sample.argmax(-1))  # the same seed
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-6)


def test_torch_draws_what_it_always_did(backend):
    """From its global state as it does itself: code that is switched over gives the same."""
    if backend.library != "torch":
        return
    import torch
    import torch.nn.functional as F  # noqa: N812

    x = torch.randn(20, 30, 2)
    for ours in (ax.rrelu, *DROPOUTS):
        theirs = getattr(F, ours.__name__)
        for dtype in (torch.float32, torch.bfloat16):
            results = []
            for function in (ours, theirs):
                torch.manual_seed(3)
                leaf = x.to(dtype).requires_grad_()
                y = function(leaf, training=True)
                results.append((y, *torch.autograd.grad(y.sum(), leaf)))
            torch.testing.assert_close(*results, rtol=0, atol=0)
        # ours is distributed as theirs, from the same state but by other numbers
        torch.manual_seed(3)
        portable = ours.accurate(x, training=True)
        assert not torch.equal(portable, results[1][0])


def test_the_same_seed_gives_the_same_and_another_does_not(backend, seeded):
    for function in STOCHASTIC:
        x = backend.array(np.linspace(-3, 2.9, 240).reshape(12, 20), "float32")
        first = _at_random(function, backend, seeded, x, 3)
        np.testing.assert_array_equal(_at_random(function, backend, seeded, x, 3), first)
        assert (_at_random(function, backend, seeded, x, 4) != first).any()


def test_the_noise_decides_alone(backend):
    """The same noise gives the same on every library, in every dtype up to its rounding."""
    rng = np.random.default_rng(5)
    values, noise = rng.standard_normal((4, 6)), rng.random((4, 6))
    for function in STOCHASTIC:
        exact = function.accurate(values, **_training(function), noise=noise)
        for dtype in backend.dtypes:
            x = backend.array(values, dtype)
            y = function(x, **_training(function), noise=backend.array(noise, "float64"))
            assert y.dtype == x.dtype
            eps = {"float64": 2e-15, "float32": 2e-6, "float16": 4e-3, "bfloat16": 3e-2}[dtype]
            np.testing.assert_allclose(backend.asnumpy(y).astype("f8"), exact, eps, eps)


@pytest.mark.parametrize("function", DROPOUTS, ids=lambda f: f.__name__)
def test_nothing_and_all_are_exact(function, backend, seeded):
    special = np.array([[np.inf, -np.inf, 0.0, -0.0, 1e-30, 3.3]], "f4")
    x = backend.array(special, "float32")
    for given in ({"p": 0.0}, {"p": 0.0, "training": True}, {"training": False}):
        noise = _drawn(backend, seeded, function.definition.noise.shape(x=x))
        y = backend.asnumpy(function(x, **given, **noise))
        np.testing.assert_array_equal(y, special)
        np.testing.assert_array_equal(np.signbit(y), np.signbit(special))
    with_nan = backend.array([[np.inf, np.nan, -1.0, 2.0]], "float32")
    y = _at_random(function, backend, seeded, with_nan, p=1.0)
    np.testing.assert_array_equal(y, np.zeros((1, 4)))


def test_what_is_dropped_is_zero_and_has_no_gradient_whatever_it_was(backend):
    x = backend.array([[np.nan, np.inf, -np.inf, 1.0]], "float32")
    noise = backend.array([[0.1, 0.1, 0.1, 0.9]], "float32")
    one = backend.array(np.ones((1, 4)), "float32")
    for function in DROPOUTS:
        y = backend.asnumpy(function(x, training=True, noise=noise))
        assert (y[0, :3] == y[0, 0]).all()
        assert np.isfinite(y).all()
        slope = backend.asnumpy(function.vjp(x, one, training=True, noise=noise))
        assert (slope[0, :3] == 0).all()
        assert slope[0, 3] > 0


def test_hard_samples_have_the_gradient_of_soft_ones(backend):
    rng = np.random.default_rng(6)
    x, noise, g = (backend.array(rng.random((3, 5)), "float64") for _ in range(3))
    value = backend.asnumpy(ax.gumbel_softmax(x, hard=True, noise=noise))
    assert ((value == 0) | (value == 1)).all()
    soft = ax.gumbel_softmax.vjp(x, g, 0.7, noise=noise)
    hard = ax.gumbel_softmax.vjp(x, g, 0.7, hard=True, noise=noise)
    np.testing.assert_array_equal(backend.asnumpy(hard), backend.asnumpy(soft))
    if backend.library == "torch":
        import torch

        x.requires_grad_(True)
        (got,) = torch.autograd.grad(ax.gumbel_softmax(x, 0.7, hard=True, noise=noise), x, g)
    elif backend.library == "jax":
        import jax

        got = jax.vjp(lambda x: ax.gumbel_softmax(x, 0.7, hard=True, noise=noise), x)[1](g)[0]
    else:
        return
    np.testing.assert_allclose(backend.asnumpy(got), backend.asnumpy(soft), rtol=1e-12, atol=1e-16)


def test_samples_leave_out_what_is_masked(backend, seeded):
    x = backend.array(np.zeros((1000, 4)), "float32")
    where = backend.array([[True, False, True, True]] * 999 + [[False] * 4], "bool")
    sample = _at_random(ax.gumbel_softmax, backend, seeded, x, hard=True, where=where)
    np.testing.assert_array_equal(sample.sum(0) > 0, [True, False, True, True])
    np.testing.assert_array_equal(sample.sum(-1), [1] * 999 + [0])


def test_extreme_noise_gives_no_nan(backend):
    x = backend.array(np.zeros((2, 3)), "float32")
    noise = backend.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]], "float32")
    y = backend.asnumpy(ax.gumbel_softmax(x, noise=noise))
    np.testing.assert_array_equal(y[0], [0, 0, 1])
    np.testing.assert_allclose(y[1], 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("function", STOCHASTIC, ids=lambda f: f.__name__)
def test_where_the_chance_may_come_from(function, backend, seeded):
    x = backend.array(np.ones((2, 3)), "float32")
    training = _training(function)
    name = function.__name__
    if backend.library in ("numpy", "torch", "jax"):
        for wrong in (0, "seed", np.random.RandomState(0)):
            with pytest.raises(TypeError, match=rf"^{name}: rng must be a .*, got "):
                function(x, **training, rng=wrong)
        both = {"rng": seeded(0), "noise": 0.5}
        with pytest.raises(TypeError, match=rf"^{name}: takes rng or noise, got both"):
            function(x, **training, **both)
    if backend.library in ("numpy", "torch"):
        assert function(x, **training).shape == x.shape
    else:
        with pytest.raises(TypeError, match=rf"^{name}: (rng|noise) must be"):
            function(x, **training)
    if function in SWITCHED:
        with pytest.raises(TypeError, match=rf"^{name}.derivative: noise must be given|^{name}: "):
            function.derivative(x, training=True)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_probabilities_out_of_range(p, backend):
    x = backend.array(np.ones((2, 3)), "float32")
    for function in DROPOUTS:
        with pytest.raises(ValueError, match=rf"{function.__name__}: requires 0 <= p <= 1, got p="):
            function(x, p, noise=0.5)


def test_channels_need_an_axis(backend, seeded):
    if backend.library not in ("numpy", "torch", "jax"):
        return
    with pytest.raises(ValueError, match=r"^feature_alpha_dropout: x must have samples and chan"):
        ax.feature_alpha_dropout(backend.array([1.0, 2.0]), training=True, rng=seeded(0))


def test_under_transforms(backend):
    if backend.library == "torch":
        import torch

        x = torch.ones(3, 1000)
        torch.manual_seed(0)
        first = ax.dropout(x, training=True)
        torch.manual_seed(0)
        assert torch.equal(ax.dropout(x, training=True), first)
        compiled = torch.compile(ax.dropout, fullgraph=True, backend="aot_eager")
        y = compiled(x, training=True)
        assert set(y.unique().tolist()) == {0.0, 2.0}
        mapped = torch.func.vmap(
            lambda row: ax.dropout(row, training=True), randomness="different"
        )(x)
        assert not torch.equal(mapped[0], mapped[1])
        slope = torch.func.grad(lambda x: ax.dropout(x, training=True).sum())(x)
        assert set(slope.unique().tolist()) == {0.0, 2.0}
    if backend.library == "jax":
        import jax
        import jax.numpy as jnp

        x = jnp.ones((3, 1000))

        @jax.jit
        def drop(key, x):
            return ax.dropout(x, training=True, rng=key)

        key = jax.random.key(0)
        assert (drop(key, x) == ax.dropout(x, training=True, rng=key)).all()
        rows = jax.vmap(drop)(jax.random.split(key, 3), x)
        assert (rows[0] != rows[1]).any()
        slope = jax.grad(lambda x: drop(key, x).sum())(x)
        assert ((slope == 2) == (drop(key, x) == 2)).all()
        old = ax.dropout(x, training=True, rng=jax.random.PRNGKey(0))
        assert set(np.unique(old)) == {0.0, 2.0}


@pytest.mark.parametrize("level", [0, 700, 1e4])
def test_gumbel_softmax_loses_no_digits_of_large_logits(level, backend):
    rng = np.random.default_rng(7)
    for dtype in {"float32", "float64"} & set(backend.dtypes):
        values = (3 * rng.standard_normal((20, 6)) + level).astype(dtype)
        noise = rng.random((20, 6)).astype(dtype)
        y = ax.gumbel_softmax(backend.array(values, dtype), noise=backend.array(noise, dtype))
        with mpmath.workdps(40):
            exact = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)
            log, exp = (np.frompyfunc(f, 1, 1) for f in (mpmath.log, mpmath.exp))
            e = exp(exact(values) - log(-log(exact(noise))))
            truth = (e / e.sum(-1, keepdims=True)).astype("f8")
        np.testing.assert_allclose(
            backend.asnumpy(y).astype("f8"), truth, rtol=20 * np.finfo(dtype).eps
        )
