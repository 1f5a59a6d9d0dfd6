"""Layers inside the modules of Flax, Equinox and Haiku, trained beside their own.

Each model is trained for three steps of an optimizer, compiled, with our layer and with that of the
library, from the same parameters.
"""

from __future__ import annotations

import copy
import pickle

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import activations_xp as ax
from activations_xp.layers import flax as flax_layers
from activations_xp.layers import jax as jax_layers

pytestmark = pytest.mark.compiled

X = jax.random.normal(jax.random.key(0), (16, 4), "float32")
Y = jnp.sin(X[:, :2] * 2)


def loss_of(predicted):
    return ((predicted - Y) ** 2).mean()


def train(parameters, loss):
    """Return the losses of three steps and the parameters after them."""
    optimizer = optax.adam(0.1)

    @jax.jit
    def step(parameters, state):
        value, gradients = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, value

    state, losses = optimizer.init(parameters), []
    for _ in range(3):
        parameters, state, value = step(parameters, state)
        losses.append(float(value))
    assert losses[2] < losses[0]
    return losses, parameters


def check_same(ours, theirs, **tolerance):
    """Check that two models have learned the same."""
    tolerance = {"rtol": 1e-5, "atol": 1e-6, **tolerance}
    (losses, mine), (expected, other) = ours, theirs
    np.testing.assert_allclose(losses, expected, **tolerance)
    mine, other = (jax.tree.leaves(p) for p in (mine, other))
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, **tolerance)


# flax.nnx


class Nnx(nnx.Module):
    def __init__(self, activation):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(4, 8, rngs=rngs)
        self.activation = activation
        self.last = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(self.activation(self.first(x)))


def train_nnx(activation):
    model = Nnx(activation)
    optimizer = nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        value, gradients = nnx.value_and_grad(lambda model: loss_of(model(X)))(model)
        optimizer.update(model, gradients)
        return value

    losses = [float(step(model, optimizer)) for _ in range(3)]
    return losses, nnx.state(model, nnx.Param)


FUNCTIONS = {
    "function": (ax.gelu, lambda x: nnx.gelu(x, approximate=False)),
    "GELU": (flax_layers.GELU("tanh"), nnx.gelu),
    "ELU": (flax_layers.Activation("elu", alpha=0.5), lambda x: nnx.elu(x, 0.5)),
    "Softmax": (flax_layers.Softmax(-1), nnx.softmax),
}


def test_prelu_in_nnx():
    ours = flax_layers.PReLU(init=0.25, dtype="float32")
    check_same(train_nnx(ours), train_nnx(nnx.PReLU(0.25)))
    assert abs(ours.weight[0] - 0.25) > 0.01  # it has learned


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_nnx(name):
    check_same(*map(train_nnx, FUNCTIONS[name]))


def test_weights_per_channel_in_nnx():
    weight = nnx.Param(jnp.full(8, 0.25, "float32"))

    class PReLU(nnx.Module):
        def __init__(self):
            self.weight = weight

        def __call__(self, x):
            return jnp.where(x > 0, x, self.weight[...] * x)

    check_same(train_nnx(flax_layers.PReLU(8, dtype="float32")), train_nnx(PReLU()))


def test_learned_parameters_in_nnx():
    """All parameters of a layer are of nnx, by the names of its ``state_dict``."""
    rngs = nnx.Rngs(0)
    layers = [
        flax_layers.Swish(),
        flax_layers.Activation("aconc", learned=["p1", "beta"]),
        flax_layers.MultiheadAttention(8, 2, add_bias_kv=True, rngs=rngs),
        flax_layers.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10], head_bias=True, rngs=rngs),
    ]
    for layer in layers:
        state = nnx.to_flat_state(nnx.state(layer, nnx.Param))
        names = {".".join(map(str, path)): param[...] for path, param in state}
        assert names.keys() == layer.state_dict().keys()
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(names[name], array)
        other = type(layer).from_state_dict(layer.state_dict(), **ARGUMENTS[type(layer).__name__])
        for copied in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            for name, array in copied.state_dict().items():
                np.testing.assert_array_equal(array, layer.state_dict()[name])


ARGUMENTS = {
    "Swish": {},
    "Activation": {"name": "aconc", "learned": ["p1", "beta"]},
    "MultiheadAttention": {"embed_dim": 8, "num_heads": 2, "add_bias_kv": True},
    "AdaptiveLogSoftmaxWithLoss": {
        **{"in_features": 16, "n_classes": 20},
        **{"cutoffs": [4, 10], "head_bias": True},
    },
}


def test_every_layer_of_flax():
    """Each is a module, and gives what the layer of JAX gives from the same parameters."""
    assert set(flax_layers.__all__) == set(jax_layers.__all__)
    for name in ("PReLU", *ARGUMENTS):
        assert issubclass(getattr(flax_layers, name), nnx.Module)
    x = jax.random.normal(jax.random.key(1), (3, 2, 8), "float32")
    ours = flax_layers.MultiheadAttention(8, 2, dtype="float32", rngs=nnx.Rngs(0))
    other = jax_layers.MultiheadAttention.from_state_dict(ours.state_dict(), 8, 2)
    np.testing.assert_array_equal(ours(x, x, x)[0], other(x, x, x)[0])


def test_random_layers_of_flax():
    """They draw from `rngs` in training, also compiled, and each time other numbers."""
    model = nnx.Sequential(flax_layers.GELU(), flax_layers.Dropout(0.5, rngs=nnx.Rngs(0)))
    x = jnp.ones(64, "float32")
    apply = nnx.jit(lambda model, x: model(x))
    np.testing.assert_array_equal(apply(model, x), ax.gelu(x))
    model.train()
    first, second = apply(model, x), apply(model, x)
    assert set(np.unique(first != 0)) == {False, True}
    assert not (first == second).all()
    model.eval()
    np.testing.assert_array_equal(apply(model, x), ax.gelu(x))
    with pytest.raises(TypeError, match="rng must be"):
        flax_layers.Dropout(0.5)(x, training=True)


def test_reset_of_flax():
    layer = flax_layers.MultiheadAttention(8, 2, rngs=nnx.Rngs(0))
    before = layer.state_dict()
    layer.reset_parameters(nnx.Rngs(1))
    assert (layer.out_proj.weight[...] != before["out_proj.weight"]).all()
    assert nnx.jit(lambda layer: layer.out_proj.weight.shape[0])(layer) == 8
    prelu = flax_layers.PReLU()
    prelu.load_state_dict({"weight": np.ones(1)})
    prelu.reset_parameters()
    assert prelu.weight[0] == 0.25


def test_state_of_flax_that_is_refused():
    with pytest.raises(ValueError, match=r"^PReLU: weight must have the shape \(1,\), got \(4,\)"):
        flax_layers.PReLU().load_state_dict({"weight": np.ones(4)})


# flax.linen


class Linen(nn.Module):
    make: object

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        return nn.Dense(2)(self.make()(x))


def train_linen(make):
    model = Linen(make)
    parameters = Linen(make).init(jax.random.key(0), X)
    return train(parameters, lambda p: loss_of(model.apply(p, X)))


def test_prelu_in_linen():
    check_same(
        train_linen(lambda: nnx.bridge.to_linen(flax_layers.PReLU, init=0.25, dtype="float32")),
        train_linen(lambda: nn.PReLU(negative_slope_init=0.25)),
    )


def test_function_in_linen():
    check_same(train_linen(lambda: ax.silu), train_linen(lambda: nn.silu))


# equinox


def train_equinox(activation):
    """Return what an MLP learns, whose activations have weights of their own for each unit."""
    model = eqx.nn.MLP(4, 2, 8, 2, activation=activation, key=jax.random.key(0))
    parameters, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(parameters):
        return loss_of(jax.vmap(eqx.combine(parameters, rest))(X))

    return train(parameters, loss)


def test_prelu_in_equinox():
    ours = train_equinox(jax_layers.PReLU(init=0.25, dtype="float32"))
    check_same(ours, train_equinox(eqx.nn.PReLU(0.25)))
    weights = jax.tree.leaves(ours[1].activation)
    assert all((abs(weight - 0.25) > 0.001).any() for weight in weights)


def test_filter_grad_in_equinox():
    model = eqx.nn.Sequential([eqx.nn.Lambda(jax_layers.Swish(beta=2.0, dtype="float32"))])
    gradients = eqx.filter_jit(eqx.filter_grad(lambda m, x: m(x).sum()))(model, X[0])
    expected = ax.silu.vjp(jnp.ones(4, "float32"), X[0], jnp.asarray(2.0, "float32"))["beta"]
    np.testing.assert_allclose(gradients[0].fn.beta[0], expected, rtol=1e-5)


# haiku


class InHaiku(hk.Module):
    """A layer whose parameters are those of a module of Haiku."""

    def __init__(self, layer):
        super().__init__(name=type(layer).__name__.lower())
        self.layer = layer

    def __call__(self, *args, **kwargs):
        layer = copy.copy(self.layer)
        for name, value in layer.state_dict().items():
            init = lambda *_, value=value: value  # noqa: E731
            setattr(layer, name, hk.get_parameter(name, value.shape, value.dtype, init))
        return layer(*args, **kwargs)


class OwnOfHaiku(hk.Module):
    def __call__(self, x):
        weight = hk.get_parameter("weight", (1,), "float32", hk.initializers.Constant(0.25))
        return jnp.where(x > 0, x, weight * x)


def train_haiku(make):
    model = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(2)(make()(hk.Linear(8)(x)))))
    parameters = model.init(jax.random.key(0), X)
    return train(parameters, lambda p: loss_of(model.apply(p, X)))


def test_prelu_in_haiku():
    ours = train_haiku(lambda: InHaiku(jax_layers.PReLU(dtype="float32")))
    theirs = train_haiku(lambda: OwnOfHaiku("prelu"))
    assert ours[1].keys() == theirs[1].keys()
    check_same(ours, theirs)
    assert abs(ours[1]["prelu"]["weight"][0] - 0.25) > 0.01


def test_function_in_haiku():
    check_same(train_haiku(lambda: ax.softplus), train_haiku(lambda: jax.nn.softplus))


def test_attention_in_haiku():
    """Parameters of modules within a layer have a dot in their name."""
    layer = jax_layers.MultiheadAttention(8, 2, rng=jax.random.key(0), dtype="float32")
    model = hk.transform(lambda x: InHaiku(layer)(x, x, x)[0])
    x = jax.random.normal(jax.random.key(1), (3, 2, 8), "float32")
    parameters = model.init(jax.random.key(0), x)
    assert parameters["multiheadattention"].keys() == layer.state_dict().keys()
    got = model.apply(parameters, None, x)
    np.testing.assert_allclose(got, layer(x, x, x)[0], rtol=1e-6)
