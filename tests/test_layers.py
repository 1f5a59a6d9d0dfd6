"""Layers: the same on every library, with parameters that PyTorch's own take and give."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle

import numpy as np
import pytest

import activations_xp as ax
from activations_xp.layers import _layers

pytestmark = pytest.mark.filterwarnings("error")

NAMES = _layers.__all__
ARGUMENTS = {
    "Activation": ("gelu",),
    "AdaptiveLogSoftmaxWithLoss": (16, 20, [4, 10]),
    "Maxout": (2,),
    "MultiheadAttention": (8, 2),
    "PReLU": (3,),
}
ELEMENTWISE = [name for name in NAMES if issubclass(getattr(_layers, name), _layers.Activation)]


@pytest.fixture
def layers(backend):
    """The module of the backend's layers."""
    return importlib.import_module(f"activations_xp.layers.{backend.library}")


def make(layers, name, *args, seed=0, **kwargs):
    """The layer, from a seed where it begins at random."""
    args = args or ARGUMENTS.get(name, ())
    if "rng" in inspect.signature(getattr(layers, name)).parameters:
        kwargs.setdefault("rng", generator(layers, seed))
    return getattr(layers, name)(*args, **kwargs)


def generator(layers, seed):
    library = layers.__name__.rpartition(".")[2]
    if library == "torch":
        import torch

        return torch.Generator().manual_seed(seed)
    if library == "jax":
        import jax

        return jax.random.key(seed)
    return np.random.default_rng(seed)


def taken(backend, x):
    return backend.asnumpy(x).astype("f8")


def gradients(backend, layer, g, *inputs, **given):
    """Of the first input and of the parameters, as the library finds them itself."""
    if backend.library == "torch":
        import torch

        x = inputs[0].clone().requires_grad_()
        held = dict(layer.named_parameters())
        y = layer(x, *inputs[1:], **given)
        found = torch.autograd.grad(y, [x, *held.values()], g)
        return found[0], dict(zip(held, found[1:], strict=True))
    import jax

    y, pull = jax.vjp(lambda layer, x: layer(x, *inputs[1:], **given), layer, inputs[0])
    of_layer, of_x = pull(g)
    return of_x, of_layer.held()


# what they are


def test_every_library_has_every_layer(layers, backend):
    assert set(layers.__all__) == set(NAMES)
    for name in NAMES:
        layer = make(layers, name)
        assert type(layer).__module__ == layers.__name__
        assert isinstance(layer, getattr(_layers, name))
        assert type(layer).__doc__
        for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert repr(other) == repr(layer)
            for n, array in other.state_dict().items():
                np.testing.assert_array_equal(
                    taken(backend, array), taken(backend, layer.held()[n])
                )


@pytest.mark.once
def test_what_a_layer_says_of_itself():
    layers = importlib.import_module("activations_xp.layers.numpy")
    assert repr(layers.PReLU(3)) == "PReLU(num_parameters=3, init=0.25)"
    assert repr(layers.Activation("elu", alpha=0.5)) == "Activation(name='elu', alpha=0.5)"
    assert repr(layers.Swish()) == "Swish()"
    with pytest.raises(AttributeError, match="'Swish' object has no attribute 'weight'"):
        layers.Swish().weight  # noqa: B018


# any function, by name


def test_any_function_is_a_layer(activation, layers, backend):
    given = dict(activation.definition.variants[0].parameters)
    x = backend.array(np.linspace(0.05, 0.95, 24).reshape(4, 6), "float32")
    given_here = {**given, "noise": 0.5} if activation.definition.noise is not None else given
    noise = {"noise": given.pop("noise")} if "noise" in given else {}
    layer = layers.Activation(activation.__name__, **given).eval()
    np.testing.assert_array_equal(
        taken(backend, layer(x, **noise)),
        taken(backend, activation(x, **{**given_here, **noise, **given})),
    )


def test_learned_parameters(layers, backend):
    rng = np.random.default_rng(0)
    x, g = (backend.array(rng.standard_normal((5, 4)), "float64") for _ in range(2))
    float64 = x.dtype
    layer = layers.Activation(
        "elu", learned=["alpha"], alpha=0.5, **({"dtype": float64} if backend.library else {})
    )
    assert set(layer.state_dict()) == {"alpha"}
    dx, found = layer.vjp(g, x)
    exact = ax.elu.vjp(x, g, 0.5)
    np.testing.assert_allclose(taken(backend, dx), taken(backend, exact), rtol=1e-14)
    values = taken(backend, x)
    slope = np.where(values > 0, 0, np.expm1(values)) * taken(backend, g)
    np.testing.assert_allclose(taken(backend, found["alpha"]), slope.sum(), rtol=1e-13)


@pytest.mark.parametrize("name", ["PReLU", "Swish"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (3,)])
def test_the_written_gradient_is_the_librarys(name, shape, layers, backend):
    rng = np.random.default_rng(1)
    args = ((1,) if len(shape) == 1 else (3,)) if name == "PReLU" else ()
    x, g = (backend.array(rng.standard_normal(shape), "float64") for _ in range(2))
    layer = make(layers, name, *args, dtype=x.dtype)
    dx, found = layer.vjp(g, x)
    if backend.library == "numpy":
        eps = 1e-6
        for parameter, slope in found.items():
            value = layer.held()[parameter]
            for i in np.ndindex(value.shape):
                ends = []
                for step in (eps, -eps):
                    moved = copy.deepcopy(layer)
                    moved._arrays[parameter] = value.copy()
                    moved._arrays[parameter][i] += step
                    ends.append((moved(x) * g).sum())
                assert slope[i] == pytest.approx((ends[0] - ends[1]) / (2 * eps), abs=1e-8)
        return
    of_x, of_layer = gradients(backend, layer, g, x)
    np.testing.assert_allclose(taken(backend, dx), taken(backend, of_x), rtol=1e-13)
    for parameter, value in found.items():
        expected = taken(backend, of_layer[parameter])
        np.testing.assert_allclose(taken(backend, value), expected, rtol=1e-12)


def test_chance(layers, backend):
    x = backend.array(np.full((6, 50), -1.0), "float32")
    for name in ("RReLU", "Dropout", "AlphaDropout", "FeatureAlphaDropout"):
        layer = make(layers, name).train()
        given = {} if backend.library == "torch" else {"rng": generator(layers, 2)}
        y = taken(backend, layer(x, **given))
        assert len(np.unique(y)) > 1
        noise = backend.array(np.full((6, 50), 0.75), "float32")
        kept = taken(backend, layer(x, noise=noise))
        assert len(np.unique(kept)) == 1
        one = backend.array(np.ones((6, 50)), "float32")
        dx, none = layer.vjp(one, x, noise=noise)
        assert not none
        slope = getattr(ax, layer.name).derivative(x, training=True, noise=noise)
        np.testing.assert_array_equal(taken(backend, dx), taken(backend, slope))
        calm = taken(backend, layer.eval()(x))
        np.testing.assert_array_equal(calm, taken(backend, layer.train()(x, training=False)))
        assert len(np.unique(calm)) == 1


# what they hold


def test_states_that_do_not_fit(layers, backend):
    for state, words in (
        ({}, "weight"),
        ({"weight": np.ones(3), "bias": np.ones(3)}, "bias"),
        ({"weight": np.ones(4)}, "weight"),
    ):
        with pytest.raises((ValueError, RuntimeError), match=words):
            layers.PReLU.from_state_dict(state, 3)


@pytest.mark.once
def test_bad_arguments():
    layers = importlib.import_module("activations_xp.layers.numpy")
    for call, kind, words in (
        (lambda: layers.Activation("geul"), ValueError, "no activation is named 'geul'"),
        (lambda: layers.Activation("elu", beta=1), TypeError, "elu has no parameter 'beta'"),
        (
            lambda: layers.Activation("elu", learned=["beta"]),
            ValueError,
            r"Activation: learned must be of \['alpha'\] of elu, got 'beta'",
        ),
        (
            lambda: layers.Activation("prelu", learned=["weight"]),
            TypeError,
            "Activation: weight must begin with a number, got None",
        ),
        (
            lambda: layers.MultiheadAttention(8, 3),
            ValueError,
            "embed_dim must be divisible by num_heads, got 8 and 3",
        ),
        (lambda: layers.MultiheadAttention(8, 0), ValueError, "num_heads must be a positive"),
        (
            lambda: layers.MultiheadAttention(8, 2, dropout=1.5),
            ValueError,
            "dropout must be from 0 to 1, got 1.5",
        ),
        (
            lambda: layers.AdaptiveLogSoftmaxWithLoss(8, 20, [10, 4]),
            ValueError,
            r"cutoffs must increase .* got \[10, 4\] with n_classes 20",
        ),
        (
            lambda: layers.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 20]),
            ValueError,
            r"cutoffs must increase .* got \[4, 20\] with n_classes 20",
        ),
        (
            lambda: layers.AdaptiveLogSoftmaxWithLoss(8, 20, []),
            ValueError,
            r"cutoffs must increase .* got \[\] with n_classes 20",
        ),
        (
            lambda: layers.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15]),
            ValueError,
            "div_value leaves no features to cluster 1, got 4.0 with in_features 8",
        ),
    ):
        with pytest.raises(kind, match=words):
            call()


def _state(name, *args, **kwargs):
    """The parameters of a layer that began at random, as NumPy's arrays."""
    layers = importlib.import_module("activations_xp.layers.numpy")
    layer = make(layers, name, *args, seed=3, **kwargs)
    return {
        n: a + 0.1 * np.random.default_rng(4).standard_normal(a.shape)
        for n, a in layer.state_dict().items()
    }


def _torch(name, state, *args, **kwargs):
    """PyTorch's own layer with these parameters."""
    import torch

    layer = getattr(torch.nn, name)(*args, **kwargs, dtype=torch.float64)
    layer.load_state_dict({n: torch.tensor(a) for n, a in state.items()})
    return layer


STATES = [
    ("PReLU", (3,), {}),
    ("AdaptiveLogSoftmaxWithLoss", (16, 20, [4, 10]), {}),
    ("AdaptiveLogSoftmaxWithLoss", (16, 20, [4, 10]), {"div_value": 2.0, "head_bias": True}),
    ("MultiheadAttention", (8, 2), {}),
    ("MultiheadAttention", (8, 4), {"bias": False, "batch_first": True}),
    ("MultiheadAttention", (8, 2), {"kdim": 6, "vdim": 10, "add_bias_kv": True}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), STATES)
def test_states_go_both_ways(name, args, kwargs, layers, backend):
    """From NumPy's layer to this library's, to PyTorch's own where that is, and back."""
    state = _state(name, *args, **kwargs)
    layer = getattr(layers, name).from_state_dict(state, *args, **kwargs)
    here = layer.state_dict()
    if backend.library == "torch":
        own = _torch(name, state, *args, **kwargs)
        assert list(own.state_dict()) == list(here)
        own.load_state_dict(here)
        layer.load_state_dict(own.state_dict())
        others = importlib.import_module("activations_xp.layers.numpy")
        here = getattr(others, name).from_state_dict(own.state_dict(), *args, **kwargs).state_dict()
    assert set(here) == set(state)
    for n, array in state.items():
        assert str(here[n].dtype).endswith("float64")
        np.testing.assert_array_equal(np.asarray(here[n]), array)
