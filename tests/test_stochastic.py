"""Random functions: their statistics, what they are random by, and what they drop."""

from __future__ import annotations

from math import sqrt

import mpmath
import numpy as np
import pytest
from oracle import FUNCTIONS, accurate, over, vjp

import activations_xp as ax

N = 10**6
SIGMAS = 5
RANDOM = [f for f in FUNCTIONS if f.definition.noise is not None]
HAVE_TRAINING = [f for f in RANDOM if "training" in f.definition.parameters]
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
    if backend.library == "tensorflow":
        import tensorflow as tf

        return tf.random.Generator.from_seed
    return np.random.default_rng


def _rng_or_noise(backend, seeded, shape, seed=0):
    """Return a generator, or for a library without one the noise itself."""
    if backend.library in ("numpy", "torch", "jax", "tensorflow"):
        return {"rng": seeded(seed)}
    return {"noise": backend.array(seeded(seed).random(shape))}


def _training(function):
    return {"training": True} if function in HAVE_TRAINING else {}


def _sample(function, backend, seeded, x, seed=0, **given):
    shape = function.definition.noise.shape(x=x)
    y = function(x, **_training(function), **given, **_rng_or_noise(backend, seeded, shape, seed))
    return backend.asnumpy(y).astype("f8")


def assert_mean(got, expected, deviation, count=N):
    """Check that it is within 5 sigma of the mean of so many numbers."""
    assert abs(got - expected) <= SIGMAS * deviation / sqrt(count)


def test_rrelu_distribution(backend, seeded):
    x = backend.array(-np.ones(N), "float32")
    factors = -_sample(ax.rrelu, backend, seeded, x)
    low, high = 1 / 8, 1 / 3
    deviation = (high - low) / sqrt(12)
    assert factors.min() >= low - 1e-7
    assert factors.max() <= high + 1e-7
    assert_mean(factors.mean(), (low + high) / 2, deviation)
    assert_mean(factors.var(), deviation**2, deviation**2 * sqrt(0.8))
    assert_independent(factors)


def assert_independent(values):
    """Check that neighbours, near and far, are not correlated."""
    z = (values - values.mean()) / values.std()
    for lag in (1, 2, 64, 1000, len(z) // 2):
        assert_mean((z[lag:] * z[:-lag]).mean(), 0, 1, len(z) - lag)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_distribution(backend, seeded, p):
    x = backend.array(np.ones(N), "float32")
    y = _sample(ax.dropout, backend, seeded, x, p=p)
    remains = y != 0
    np.testing.assert_array_equal(y[remains], np.float32(1) / np.float32(1 - p))
    assert_mean(remains.mean(), 1 - p, sqrt(p * (1 - p)))
    assert_independent(remains.astype("f8"))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_alpha_dropout_mean_and_variance(backend, seeded, p):
    normal = np.random.default_rng(1).standard_normal(N)
    y = _sample(ax.alpha_dropout, backend, seeded, backend.array(normal, "float32"), p=p)
    assert_mean(y.mean(), 0, 1)
    assert_mean(y.var(), 1, sqrt(((y**2 - 1) ** 2).mean()))
    least = -1.7580993408473766
    dropped = np.isclose(y, least * (1 - p) / sqrt((1 - p) * (1 + p * least**2)), rtol=1e-6)
    assert_mean(dropped.mean(), p, sqrt(p * (1 - p)) + 1e-4)  # a few are there by themselves


def test_feature_alpha_dropout_by_channel(backend, seeded):
    x = backend.array(np.full((200, 50, 3, 2), 5.0), "float32")
    y = _sample(ax.feature_alpha_dropout, backend, seeded, x, p=0.3)
    assert (y == y[:, :, :1, :1]).all()
    dropped = y[:, :, 0, 0] < 0
    assert_mean(dropped.mean(), 0.3, sqrt(0.21), dropped.size)
    assert_independent(dropped.ravel().astype("f8"))


def test_gumbel_softmax_distribution(backend, seeded):
    logits = np.array([-1.0, 0.0, 0.5, 2.0])
    p = np.exp(logits) / np.exp(logits).sum()
    x = backend.array(np.tile(logits, (N // 4, 1)), "float32")
    sample = _sample(ax.gumbel_softmax, backend, seeded, x, hard=True)
    assert set(np.unique(sample)) == {0, 1}
    assert (sample.sum(-1) == 1).all()
    for got, expected in zip(sample.mean(0), p, strict=True):
        assert_mean(got, expected, sqrt(expected * (1 - expected)), len(sample))
    assert_independent(sample.argmax(-1).astype("f8"))
    soft = _sample(ax.gumbel_softmax, backend, seeded, x, tau=0.5)
    np.testing.assert_array_equal(soft.argmax(-1), sample.argmax(-1))  # the same seed
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-6)


@pytest.mark.libraries("torch")
@over("function", [ax.rrelu, *DROPOUTS])
def test_global_state_of_torch(function, backend):
    """A function samples from it as torch's own: code that is switched over gives the same."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    x = torch.randn(20, 30, 2)
    for dtype in (torch.float32, torch.bfloat16):
        results = []
        for form in (function, getattr(F, function.__name__)):
            torch.manual_seed(3)
            leaf = x.to(dtype).requires_grad_()
            y = form(leaf, training=True)
            results.append((y, *torch.autograd.grad(y.sum(), leaf)))
        torch.testing.assert_close(*results, rtol=0, atol=0)
    # ours is distributed as theirs, from the same state but by other numbers
    torch.manual_seed(3)
    y = accurate(function)(x, training=True)
    assert not torch.equal(y, results[1][0])


@over("function", RANDOM)
def test_seed(function, backend, seeded):
    """The same seed gives the same, and another does not."""
    x = backend.array(np.linspace(-3, 2.9, 240).reshape(12, 20), "float32")
    first = _sample(function, backend, seeded, x, 3)
    np.testing.assert_array_equal(_sample(function, backend, seeded, x, 3), first)
    assert (_sample(function, backend, seeded, x, 4) != first).any()


@over("function", RANDOM)
def test_noise(function, backend, dtype):
    """The same noise gives the same on every library, in every dtype up to its rounding."""
    rng = np.random.default_rng(5)
    values, noise = rng.standard_normal((4, 6)), rng.random((4, 6))
    exact = accurate(function)(values, **_training(function), noise=noise)
    x = backend.array(values, dtype)
    y = function(x, **_training(function), noise=backend.array(noise, "float64"))
    assert y.dtype == x.dtype
    eps = {"float64": 2e-15, "float32": 2e-6, "float16": 4e-3, "bfloat16": 3e-2}[dtype]
    np.testing.assert_allclose(backend.asnumpy(y).astype("f8"), exact, eps, eps)


@over("function", DROPOUTS)
def test_dropout_of_none_and_of_all(function, backend, seeded):
    special = np.array([[np.inf, -np.inf, 0.0, -0.0, 1e-30, 3.3]], "f4")
    x = backend.array(special, "float32")
    for given in ({"p": 0.0}, {"p": 0.0, "training": True}, {"training": False}):
        noise = _rng_or_noise(backend, seeded, function.definition.noise.shape(x=x))
        y = backend.asnumpy(function(x, **given, **noise))
        np.testing.assert_array_equal(y, special)
        np.testing.assert_array_equal(np.signbit(y), np.signbit(special))
    with_nan = backend.array([[np.inf, np.nan, -1.0, 2.0]], "float32")
    y = _sample(function, backend, seeded, with_nan, p=1.0)
    np.testing.assert_array_equal(y, np.zeros((1, 4)))


@over("function", DROPOUTS)
def test_dropped_nan_and_infinity(function, backend):
    """A dropped element has no influence and no gradient, whatever it was."""
    x = backend.array([[np.nan, np.inf, -np.inf, 1.0]], "float32")
    noise = backend.array([[0.1, 0.1, 0.1, 0.9]], "float32")
    one = backend.array(np.ones((1, 4)), "float32")
    y = backend.asnumpy(function(x, training=True, noise=noise))
    assert (y[0, :3] == y[0, 0]).all()
    assert np.isfinite(y).all()
    dx = backend.asnumpy(vjp(function, one, x, training=True, noise=noise))
    assert (dx[0, :3] == 0).all()
    assert dx[0, 3] > 0


def test_gumbel_softmax_hard_gradient(backend):
    """Hard samples have the gradient of soft ones."""
    rng = np.random.default_rng(6)
    x, noise, g = (backend.array(rng.random((3, 5)), "float64") for _ in range(3))
    value = backend.asnumpy(ax.gumbel_softmax(x, hard=True, noise=noise))
    assert ((value == 0) | (value == 1)).all()
    soft = vjp(ax.gumbel_softmax, g, x, tau=0.7, noise=noise)
    hard = vjp(ax.gumbel_softmax, g, x, tau=0.7, hard=True, noise=noise)
    np.testing.assert_array_equal(backend.asnumpy(hard), backend.asnumpy(soft))


@pytest.mark.libraries("torch", "jax", "tensorflow")
def test_gumbel_softmax_hard_gradient_by_autodiff(backend):
    rng = np.random.default_rng(6)
    x, noise, g = (backend.array(rng.random((3, 5)), "float64") for _ in range(3))
    soft = vjp(ax.gumbel_softmax, g, x, tau=0.7, noise=noise)
    if backend.library == "torch":
        import torch

        x.requires_grad_(True)
        (got,) = torch.autograd.grad(ax.gumbel_softmax(x, 0.7, hard=True, noise=noise), x, g)
    elif backend.library == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ax.gumbel_softmax(x, 0.7, hard=True, noise=noise)
        got = tape.gradient(y, x, g)
    else:
        import jax

        got = jax.vjp(lambda x: ax.gumbel_softmax(x, 0.7, hard=True, noise=noise), x)[1](g)[0]
    np.testing.assert_allclose(backend.asnumpy(got), backend.asnumpy(soft), rtol=1e-12, atol=1e-16)


def test_gumbel_softmax_masked(backend, seeded):
    x = backend.array(np.zeros((1000, 4)), "float32")
    where = backend.array([[True, False, True, True]] * 999 + [[False] * 4], "bool")
    sample = _sample(ax.gumbel_softmax, backend, seeded, x, hard=True, where=where)
    np.testing.assert_array_equal(sample.sum(0) > 0, [True, False, True, True])
    np.testing.assert_array_equal(sample.sum(-1), [1] * 999 + [0])


def test_gumbel_softmax_extreme_noise(backend):
    x = backend.array(np.zeros((2, 3)), "float32")
    noise = backend.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]], "float32")
    y = backend.asnumpy(ax.gumbel_softmax(x, noise=noise))
    np.testing.assert_array_equal(y[0], [0, 0, 1])
    np.testing.assert_allclose(y[1], 1 / 3, rtol=1e-6)


@over("function", RANDOM)
def test_rng_and_noise_arguments(function, backend, seeded):
    x = backend.array(np.ones((2, 3)), "float32")
    training = _training(function)
    name = function.__name__
    if backend.library in ("numpy", "torch", "jax", "tensorflow"):
        for wrong in (0, "seed", np.random.RandomState(0)):
            with pytest.raises(TypeError, match=rf"^{name}: rng must be a .*, got "):
                function(x, **training, rng=wrong)
        both = {"rng": seeded(0), "noise": 0.5}
        with pytest.raises(TypeError, match=rf"^{name}: takes rng or noise, got both"):
            function(x, **training, **both)
    if backend.library in ("numpy", "torch", "dask", "tensorflow"):
        assert function(x, **training).shape == x.shape
    else:
        with pytest.raises(TypeError, match=rf"^{name}: (rng|noise) must be"):
            function(x, **training)
    if function in HAVE_TRAINING:
        with pytest.raises(TypeError, match=rf"^{name}.derivative: noise must be given|^{name}: "):
            function.derivative(x, training=True)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
@over("function", DROPOUTS)
def test_probability_out_of_range(function, p, backend):
    x = backend.array(np.ones((2, 3)), "float32")
    with pytest.raises(ValueError, match=rf"{function.__name__}: requires 0 <= p <= 1, got p="):
        function(x, p, noise=0.5)


@pytest.mark.libraries("numpy", "torch", "jax", "tensorflow")
def test_feature_alpha_dropout_of_one_dimension(backend, seeded):
    with pytest.raises(ValueError, match=r"^feature_alpha_dropout: x must have samples and chan"):
        ax.feature_alpha_dropout(backend.array([1.0, 2.0]), training=True, rng=seeded(0))


@pytest.mark.libraries("torch")
def test_dropout_under_transforms_of_torch(backend):
    import torch

    x = torch.ones(3, 1000)
    torch.manual_seed(0)
    first = ax.dropout(x, training=True)
    torch.manual_seed(0)
    assert torch.equal(ax.dropout(x, training=True), first)
    compiled = torch.compile(ax.dropout, fullgraph=True, backend="aot_eager")
    y = compiled(x, training=True)
    assert set(y.unique().tolist()) == {0.0, 2.0}
    mapped = torch.func.vmap(lambda row: ax.dropout(row, training=True), randomness="different")(x)
    assert not torch.equal(mapped[0], mapped[1])
    dx = torch.func.grad(lambda x: ax.dropout(x, training=True).sum())(x)
    assert set(dx.unique().tolist()) == {0.0, 2.0}


@pytest.mark.libraries("jax")
def test_dropout_under_transforms_of_jax(backend):
    import jax
    import jax.numpy as jnp

    x = jnp.ones((3, 1000))

    @jax.jit
    def dropout(key, x):
        return ax.dropout(x, training=True, rng=key)

    key = jax.random.key(0)
    assert (dropout(key, x) == ax.dropout(x, training=True, rng=key)).all()
    rows = jax.vmap(dropout)(jax.random.split(key, 3), x)
    assert (rows[0] != rows[1]).any()
    dx = jax.grad(lambda x: dropout(key, x).sum())(x)
    assert ((dx == 2) == (dropout(key, x) == 2)).all()
    old = ax.dropout(x, training=True, rng=jax.random.PRNGKey(0))
    assert set(np.unique(old)) == {0.0, 2.0}


@pytest.mark.parametrize("shift", [0, 700, 1e4])
def test_gumbel_softmax_large_logits(shift, backend, standard_dtype):
    rng = np.random.default_rng(7)
    values = (3 * rng.standard_normal((20, 6)) + shift).astype(standard_dtype)
    noise = rng.random((20, 6)).astype(standard_dtype)
    there = [backend.array(v, standard_dtype) for v in (values, noise)]
    y = ax.gumbel_softmax(there[0], noise=there[1])
    with mpmath.workdps(40):
        number = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)
        log, exp = (np.frompyfunc(f, 1, 1) for f in (mpmath.log, mpmath.exp))
        e = exp(number(values) - log(-log(number(noise))))
        exact = (e / e.sum(-1, keepdims=True)).astype("f8")
    rtol = 20 * np.finfo(standard_dtype).eps
    np.testing.assert_allclose(backend.asnumpy(y).astype("f8"), exact, rtol=rtol)
