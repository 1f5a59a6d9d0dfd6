"""Gradients of array parameters along an axis, and of those with shapes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
from oracle import accurate, over, required_parameters

import activations_xp as ax

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4))
WHERE = RNG.random(X.shape) > 0.3
ROW, CHANNELS, FULL = RNG.normal(size=4), RNG.normal(size=(3, 1)), RNG.normal(size=X.shape)

CASES = [
    ("logsumexp", {"b": np.abs(ROW)}, {}),
    ("logsumexp", {"b": np.abs(FULL)}, {"axis": (0, 2), "where": WHERE, "keepdims": True}),
    ("logsumexp", {"b": CHANNELS}, {"axis": 1, "return_sign": True}),
    ("standardize", {"mean": CHANNELS}, {}),
    ("standardize", {"mean": ROW}, {"axis": (0, 1), "where": WHERE}),
    ("standardize", {"variance": np.abs(FULL) + 0.5}, {"axis": 0}),
    ("standardize", {"variance": np.abs(CHANNELS) + 0.5}, {"where": WHERE}),
    ("standardize", {"mean": ROW, "variance": np.abs(CHANNELS) + 0.5}, {}),
]


@pytest.mark.once
@pytest.mark.parametrize(("name", "arrays", "others"), CASES)
def test_vjp_of_array_parameters(name, arrays, others):
    function = ax.get(name)

    def value(**changed):
        result = function(changed.pop("x", X), **{**arrays, **changed}, **others)
        return result[0] if isinstance(result, tuple) else result

    g = np.random.default_rng(1).normal(size=value().shape)
    gradients = function.vjp(g, X, **arrays, **others)
    assert list(gradients) == ["x", *arrays]
    for argument, array in {"x": X, **arrays}.items():
        gradient = gradients[argument]
        assert gradient.shape == array.shape
        step = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            step[i] = 1e-6
            upper, lower = value(**{argument: array + step}), value(**{argument: array - step})
            np.testing.assert_allclose(
                gradient[i], np.sum(g * (upper - lower)) / 2e-6, rtol=1e-6, atol=1e-7
            )
            step[i] = 0.0


@pytest.mark.once
@pytest.mark.parametrize(("name", "arrays", "others"), CASES)
def test_vjp_of_array_parameters_for_no_elements(name, arrays, others):
    arrays = {key: value[:0] if value.ndim == 3 else value for key, value in arrays.items()}
    others = {key: value[:0] if key == "where" else value for key, value in others.items()}
    function, x = ax.get(name), X[:0]
    with np.errstate(divide="ignore"):
        result = function(x, **arrays, **others)
    g = result[0] if isinstance(result, tuple) else result
    gradients = function.vjp(g, x, **arrays, **others)
    for argument, array in {"x": x, **arrays}.items():
        assert gradients[argument].shape == array.shape


TIES = [
    ("clipped_gelu", "max_val"),
    ("hard_shrink", "lambd"),
    ("hard_tanh", "max_val"),
    ("hard_tanh", "min_val"),
    ("relu", "max_value"),
    ("relu", "threshold"),
    ("soft_shrink", "lambd"),
    ("srelu", "t_left"),
    ("srelu", "t_right"),
    ("threshold", "threshold"),
    ("thresholded_relu", "theta"),
    ("tlu", "tau"),
]


@pytest.mark.once
@pytest.mark.parametrize(("name", "parameter"), TIES)
def test_gradients_at_a_tie_are_those_of_one_side(name, parameter):
    """Where x is the parameter, both together move the result as they do nearby."""
    function, h = ax.get(name), 2.0**-20
    given = {**function.definition.defaults, **required_parameters(function)}
    value = given[parameter]
    at = np.array([1.5 if value is None else value])

    def result(x):
        return function(x, **{**given, parameter: x})

    numeric = (result(at + h) - result(at - h)) / (2 * h)
    gradients = function.vjp(np.ones(1), at, **{**given, parameter: at})
    np.testing.assert_allclose(gradients["x"] + gradients[parameter], numeric, rtol=1e-6, atol=1e-6)


# parameters whose arrays have shapes of their own


@dataclass(frozen=True, eq=False)
class Parameter:
    """A parameter of a function, of which an array may have these shapes.

    low : the least of its values, which are up to 0.5 more
    others : the other parameters
    """

    function: Any
    name: str
    x: np.ndarray
    low: float
    shapes: tuple[tuple[int, ...], ...]
    others: dict[str, Any]

    def __str__(self):
        return f"{self.function.__name__}-{self.name}"

    def values(self, shape):
        return self.low + 0.5 * np.random.default_rng(9).random(shape)

    def given(self, asarray):
        """Return x and the other parameters as arrays of a library."""
        others = {
            name: asarray(value) if isinstance(value, np.ndarray) else value
            for name, value in self.others.items()
        }
        return asarray(self.x), others

    def call(self, values, asarray=np.asarray, function=None):
        """Return the result for these values of the parameter."""
        x, others = self.given(asarray)
        return (function or self.function)(x, **{**others, self.name: values})


NOISE, AXES = RNG.random(X.shape), {"axis": (0, 2), "where": WHERE}
ROWS, HALVES = ((), (2, 3, 1), (3, 1)), ((), (2,), (3, 1), (2, 3, 2))
MASKED, TRAINING = {"noise": NOISE, "where": WHERE}, {"noise": NOISE, "training": True}
PARAMETERS = [
    Parameter(ax.entmax, "alpha", X, 0.6, ROWS, {"n_iter": 12}),  # which compile soon
    Parameter(ax.entmax, "alpha", X, 1.8, ((1, 3, 1),), {**AXES, "n_iter": 12}),
    Parameter(ax.gumbel_softmax, "tau", X, 0.5, ROWS, {"noise": NOISE}),
    Parameter(ax.gumbel_softmax, "tau", X, 0.5, ((2, 1, 4), (1, 4)), {**MASKED, "axis": 1}),
    Parameter(ax.swiglu, "beta", X, 0.5, HALVES, {}),
    Parameter(ax.swiglu, "beta", X, 0.5, ((3, 1),), {"gate": "first", "axis": 0}),
    Parameter(ax.swiglu, "beta", CHANNELS, 0.5, ((), (4,), (3, 4)), {"gate": ROW}),
    Parameter(ax.clipped_swiglu, "alpha", X, 0.5, HALVES, {"limit": 0.5}),
    Parameter(ax.clipped_swiglu, "limit", X, 0.5, HALVES, {"interleaved": True}),
    Parameter(ax.clipped_swiglu, "limit", CHANNELS, 0.5, ((), (3, 4)), {"gate": ROW}),
    Parameter(ax.dropout, "p", X, 0.25, ((3, 1),), TRAINING),
    Parameter(ax.alpha_dropout, "p", X, 0.25, ((3, 1),), TRAINING),
    Parameter(ax.feature_alpha_dropout, "p", X, 0.25, ((3, 1),), {**TRAINING, "noise": CHANNELS}),
    Parameter(ax.rrelu, "lower", X, 0.25, ((3, 1),), {**TRAINING, "upper": 1.0}),
    Parameter(ax.rrelu, "upper", X, 0.25, ((3, 1),), TRAINING),
]
SHAPES = [(parameter, shape) for parameter in PARAMETERS for shape in parameter.shapes]


@over(("parameter", "shape"), SHAPES)
def test_an_array_is_a_number_for_each_part(parameter, shape, backend):
    values = parameter.values(shape)
    for form in (parameter.function, accurate(parameter.function)):
        got = backend.asnumpy(parameter.call(backend.array(values), _asarray(backend), form))
        place = np.broadcast_to(np.arange(values.size).reshape(shape), got.shape)
        for i, value in enumerate(values.ravel()):
            expected = parameter.call(float(value))[place == i]
            np.testing.assert_allclose(got[place == i], expected, rtol=1e-12, atol=1e-14)


def _asarray(backend):
    return lambda a: backend.array(a, a.dtype.name)


@pytest.mark.sweep_with("dask")
@over(("parameter", "shape"), SHAPES)
def test_gradients_of_an_array(parameter, shape, backend):
    values, h = parameter.values(shape), 1e-6
    g = np.cos(np.arange(parameter.call(values).size)).reshape(parameter.call(values).shape)
    x, others = parameter.given(_asarray(backend))
    given = {**others, parameter.name: backend.array(values)}
    gradients = parameter.function.vjp(backend.array(g), x, **given)
    got = backend.asnumpy(gradients[parameter.name])
    assert got.shape == shape
    for i in np.ndindex(shape):
        step = np.zeros(shape)
        step[i] = h
        change = parameter.call(values + step) - parameter.call(values - step)
        np.testing.assert_allclose(got[i], np.sum(g * change) / (2 * h), rtol=1e-7, atol=1e-8)
    number = parameter.function.vjp(
        backend.array(g), x, **{**others, parameter.name: parameter.low + 0.25}
    )
    same = backend.array(np.full(shape, parameter.low + 0.25))
    array = parameter.function.vjp(backend.array(g), x, **{**others, parameter.name: same})
    gradients = (backend.asnumpy(gradient["x"]) for gradient in (array, number))
    np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, for jvp
@pytest.mark.libraries("torch")
@over(("parameter", "shape"), SHAPES)
def test_torch_differentiates_an_array(parameter, shape, backend):
    import torch

    values = torch.tensor(parameter.values(shape), requires_grad=True)
    x = torch.tensor(parameter.x, requires_grad=True)

    def call(x, values, function=parameter.function):
        _, others = parameter.given(torch.tensor)
        return function(x, **{**others, parameter.name: values})

    assert torch.autograd.gradcheck(call, (x, values))
    exact = torch.func.jacrev(call, argnums=1)(x, values)
    forward = torch.func.jacfwd(call, argnums=1)(x, values)
    torch.testing.assert_close(forward, exact, rtol=1e-9, atol=1e-12)
    batch = torch.stack([values, values + 0.125]).detach()
    in_batch = torch.func.vmap(call, (None, 0))(x, batch)
    torch.testing.assert_close(in_batch[1], call(x, batch[1]), rtol=1e-12, atol=1e-12)


@pytest.mark.libraries("jax")
@pytest.mark.compiled
def test_jax_traces_an_array(backend):
    """All of them are in one program, with the gradients of `vjp`."""
    import jax
    import jax.numpy as jnp

    values = [jnp.asarray(parameter.values(parameter.shapes[0])) for parameter in PARAMETERS]

    def results(values):
        pairs = zip(PARAMETERS, values, strict=True)
        return [parameter.call(value, jnp.asarray) for parameter, value in pairs]

    @jax.jit
    def program(values):
        loss = lambda values: sum(jnp.sum(jnp.sin(y)) for y in results(values))  # noqa: E731
        batches = [jnp.stack([value, value + 0.125]) for value in values]
        return jax.grad(loss)(values), jax.vmap(results)(batches)

    for parameter, value, gradient, batch in zip(PARAMETERS, values, *program(values), strict=True):
        value = np.asarray(value)
        x, given = parameter.given(np.asarray)
        given[parameter.name] = value
        g = np.cos(parameter.call(value))
        expected = parameter.function.vjp(g, x, **given)[parameter.name]
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)
        expected = parameter.call(value + 0.125)
        np.testing.assert_allclose(batch[1], expected, rtol=1e-11, atol=1e-13)


# entmax at each alpha


def _exact_entmax(x, alpha):
    """Return the weights by bisection in many digits, for any alpha over 0."""
    excess = mpmath.mpf(alpha) - 1

    def weight(u):
        if excess == 0:
            return mpmath.exp(u)
        return max(1 + excess * u, mpmath.mpf(0)) ** (1 / excess)

    shifted = [mpmath.mpf(v) - mpmath.mpf(max(x)) for v in x]
    low, high = mpmath.mpf(0), mpmath.mpf(len(x))
    for _ in range(150):
        middle = (low + high) / 2
        is_low = sum(weight(u - middle) for u in shifted) > 1
        low, high = (middle, high) if is_low else (low, middle)
    return [weight(u - low) for u in shifted]


@pytest.mark.sweep_with("dask")
@pytest.mark.parametrize(
    "alpha", [0.05, 0.5, 1 - 2.0**-30, 1.0, 1 + 2.0**-52, 1.0001, 1.25, 1.5, 2.0, 3.0, 10.0]
)
def test_entmax_and_its_derivative_by_alpha(alpha, backend):
    x = np.random.default_rng(3).normal(size=7)
    with mpmath.workdps(40):
        exact = np.array(_exact_entmax(x, alpha))
        h = mpmath.mpf(10) ** -12
        slope = [
            (ahead - behind) / (2 * h)
            for ahead, behind in zip(
                _exact_entmax(x, alpha + h), _exact_entmax(x, alpha - h), strict=True
            )
        ]
    exact, slope = exact.astype("f8"), np.array(slope, "f8")
    rows, alphas = np.tile(x, (7, 1)), backend.array(np.full((7, 1), alpha))
    y = backend.asnumpy(ax.entmax(backend.array(rows), alphas))
    np.testing.assert_allclose(y, np.tile(exact, (7, 1)), rtol=1e-14, atol=4e-16)
    y = backend.asnumpy(ax.entmax(backend.array(x), alpha))
    np.testing.assert_allclose(y, exact, rtol=1e-14, atol=4e-16)
    g = backend.array(np.eye(7))
    got = backend.asnumpy(ax.entmax.vjp(g, backend.array(rows), alphas)["alpha"])[:, 0]
    np.testing.assert_allclose(got, slope, rtol=1e-12, atol=1e-14)


@pytest.mark.sweep_with("dask")
@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_entmax_of_infinities_at_an_array(alpha, backend):
    """They are treated as at the number."""
    inf, nan = np.inf, np.nan
    x = np.array([[inf, 0, inf], [-inf, 0, 1], [nan, 0, 1], [-inf] * 3, [1e308, -1e308, 0]])
    alphas = backend.array(np.full((5, 1), alpha))
    got = backend.asnumpy(ax.entmax(backend.array(x), alphas))
    np.testing.assert_allclose(got, ax.entmax(x, alpha), rtol=1e-14, atol=1e-15)
    gradient = ax.entmax.vjp(backend.array(np.ones((5, 3))), backend.array(x), alphas)["alpha"]
    np.testing.assert_allclose(backend.asnumpy(gradient)[[0, 1, 3, 4]], 0, atol=1e-15)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_at_the_ends(p, backend):
    """All is kept or dropped, as by the number, and nothing is NaN."""
    x, noise = backend.array(X), backend.array(NOISE)
    for function in (ax.dropout, ax.alpha_dropout):
        array = backend.array(p)
        y = function(x, array, training=True, noise=noise)
        expected = function(X, p, training=True, noise=NOISE)
        np.testing.assert_array_equal(backend.asnumpy(y), expected)
        gradients = function.vjp(x, x, array, training=True, noise=noise)
        assert all(np.isfinite(backend.asnumpy(gradient)).all() for gradient in gradients.values())
