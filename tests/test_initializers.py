"""Weights to begin with: their distribution, and that they keep the variance of what goes by."""

from __future__ import annotations

import functools
from math import erf, exp, pi, sqrt

import mpmath
import numpy as np
import pytest
from oracle import ELEMENTWISE, cases_of, domain_of

import activations_xp as ax
from activations_xp._oracle import truth


@pytest.fixture
def rng(backend):
    if backend.library == "torch":
        import torch

        return torch.Generator().manual_seed(0)
    if backend.library == "jax":
        import jax

        return jax.random.key(0)
    return np.random.default_rng(0)


def _default(backend):
    return "float32" if backend.library == "torch" else "float64"


def test_lecun_normal_is_truncated_with_right_variance(backend, rng):
    n, fan = 10**6, 1000
    w = ax.lecun_normal((fan, n // fan), rng)
    if backend.library in ("numpy", "torch", "jax"):
        assert backend.dtype_of(w) == _default(backend)
        w = backend.asnumpy(w)
    w = w.astype("f8") * sqrt(fan)
    phi, inside = exp(-2) / sqrt(2 * pi), erf(sqrt(2))
    spread = sqrt(1 - 4 * phi / inside)  # of a normal distribution cut off at 2
    assert abs(w).max() <= 2 / spread * (1 + 1e-6)
    assert abs(w).max() > 1.99 / spread
    assert abs(w.mean()) < 5 / sqrt(n)
    assert abs(w.var() - 1) < 5 * sqrt(2 / n)
    inner = (abs(w * spread) < 1).mean()
    exact = erf(sqrt(0.5)) / inside
    assert abs(inner - exact) < 5 * sqrt(exact * (1 - exact) / n)


@pytest.mark.parametrize(
    ("shape", "axes", "fan"),
    [
        ((40, 50), {}, 40),
        ((40, 50), {"in_axis": 1, "out_axis": 0}, 50),
        ((3, 3, 10, 20), {}, 90),
        ((20, 10, 3, 3), {"in_axis": 1, "out_axis": 0}, 90),
        ((4, 10, 5, 20), {"in_axis": (0, 1), "out_axis": (2, 3)}, 40),
    ],
)
@pytest.mark.once
def test_fan_in(shape, axes, fan):
    w = ax.lecun_normal(shape, np.random.default_rng(1), **axes)
    assert w.shape == shape
    assert abs(w.var() * fan - 1) < 8 * sqrt(2 / w.size)


def test_seed_and_dtype(backend, rng):
    if backend.library == "torch":
        import torch

        dtypes = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
        again = torch.Generator().manual_seed(0)
    else:
        dtypes = ["float16", "float32", "float64"]
        again = rng if backend.library == "jax" else np.random.default_rng(0)
    first = ax.lecun_normal((3, 4), rng)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(ax.lecun_normal((3, 4), again)))
    for dtype in dtypes:
        assert ax.lecun_normal((3, 4), rng, dtype=dtype).dtype == dtype
    with pytest.raises(TypeError, match="dtype must be a real floating one, got"):
        ax.lecun_normal((3, 4), rng, dtype=torch.int32 if backend.library == "torch" else "int32")


@pytest.mark.once
def test_invalid_input():
    rng = np.random.default_rng(0)
    for wrong in (None, 0, "numpy", np.random.RandomState(0), np.ones(2)):
        with pytest.raises(TypeError, match=r"lecun_normal: rng must be a numpy\.random\."):
            ax.lecun_normal((3, 4), wrong)
    with pytest.raises(ValueError, match=r"in_axis must be within shape \(3,\), got -2"):
        ax.lecun_normal((3,), rng)
    with pytest.raises(ValueError, match=r"in_axis and out_axis must differ, got 0 and -2"):
        ax.lecun_normal((3, 4), rng, in_axis=0, out_axis=-2)
    with pytest.raises(ValueError, match="gain: function must be one of each element, got softmax"):
        ax.gain(ax.softmax)
    with pytest.raises(ValueError, match="must be defined everywhere and not 0, got logit, whose"):
        ax.gain("logit")
    with pytest.raises(TypeError, match="name_of: function must be one of this package"):
        ax.gain(np.tanh)


WITH_A_GAIN = [f for f in ELEMENTWISE if domain_of(f.definition) == (-np.inf, np.inf)]


@pytest.mark.once
@pytest.mark.parametrize("function", WITH_A_GAIN, ids=lambda f: f.__name__)
def test_gain_by_formula(function):
    """By the trapezoidal rule on the formula, which converges fast where that is smooth."""
    definition = function.definition
    case = cases_of(function)[0]
    given = {**definition.defaults, **case.parameters}
    is_smooth = definition.properties.smoothness > 1
    points = 601 if is_smooth else 4001
    z = np.linspace(-12, 12, points)
    y = truth(case.formula, z, given, digits=30).astype("f8")
    moment = np.sum(y**2 * np.exp(-z * z / 2)) * (z[1] - z[0]) / sqrt(2 * pi)
    tolerance = 1e-7 if is_smooth else 1e-2
    np.testing.assert_allclose(ax.gain(function, **case.parameters), moment**-0.5, tolerance)


@pytest.mark.once
def test_gain_known():
    assert ax.gain(ax.relu) == pytest.approx(sqrt(2), rel=1e-15)
    assert ax.gain("linear") == pytest.approx(1, rel=1e-15)
    assert ax.gain("leaky_relu", negative_slope=0.2) == pytest.approx(sqrt(2 / 1.04), rel=1e-15)
    assert ax.gain(functools.partial(ax.leaky_relu, negative_slope=0.5)) == pytest.approx(
        sqrt(2 / 1.25), rel=1e-15
    )
    assert ax.gain("selu") == pytest.approx(1, rel=1e-14)
    exact = mpmath.quad(
        lambda z: mpmath.tanh(z) ** 2 * mpmath.npdf(z), [-mpmath.inf, 0, mpmath.inf]
    )
    assert ax.gain("tanh") == pytest.approx(float(exact**-0.5), rel=1e-14)
    step = ax.gain(ax.hard_shrink, lambd=1.0)  # which jumps
    exact = 2 * mpmath.quad(lambda z: z * z * mpmath.npdf(z), [1, mpmath.inf])
    assert step == pytest.approx(float(exact**-0.5), rel=1e-13)


@pytest.mark.libraries("torch")
def test_gain_beside_torch(backend):
    from torch.nn.init import calculate_gain

    for name, parameter in (("linear", None), ("relu", None), ("leaky_relu", 0.3)):
        given = {} if parameter is None else {"negative_slope": parameter}
        assert ax.gain(name, **given) == pytest.approx(calculate_gain(name, parameter), rel=1e-14)
    # torch's are of another kind: what worked
    theirs = {"tanh": 5 / 3, "sigmoid": 1, "selu": 3 / 4}
    ours = {"tanh": 1.5925374197228, "sigmoid": 1.8462285453387, "selu": 1.0}
    for name, value in theirs.items():
        assert calculate_gain(name) == value
        assert ax.gain(name) == pytest.approx(ours[name], rel=1e-12)


def test_mean_and_variance_after_fifty_selu_layers(backend, rng):
    width = 512
    values = np.random.default_rng(2).standard_normal((width, width))
    factor = ax.gain(ax.selu)
    x = backend.array(values, "float32")
    for layer in range(50):
        if backend.library == "jax":
            import jax

            w = ax.lecun_normal((width, width), jax.random.fold_in(rng, layer), dtype="float32")
        else:
            dtype = x.dtype if backend.library == "torch" else "float32"
            w = ax.lecun_normal((width, width), rng, dtype=dtype)
        w = w if backend.library in ("numpy", "torch", "jax") else backend.array(w, "float32")
        x = ax.selu((x @ w) * factor)
    y = backend.asnumpy(x).astype("f8")
    assert abs(y.mean()) < 0.1
    assert abs(y.var() - 1) < 0.1
