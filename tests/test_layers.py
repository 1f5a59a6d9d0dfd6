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
        y = y[0] if isinstance(y, tuple) else y
        found = torch.autograd.grad(y, [x, *held.values()], g)
        return found[0], dict(zip(held, found[1:], strict=True))
    import jax

    y, pull = jax.vjp(lambda layer, x: layer(x, *inputs[1:], **given), layer, inputs[0])
    of_layer, of_x = pull(g)
    return of_x, of_layer.state_dict()


# what they are


def test_every_library_has_every_layer(layers, backend):
    assert set(layers.__all__) == set(NAMES)
    for name in NAMES:
        layer = make(layers, name)
        assert type(layer).__module__ == layers.__name__
        assert isinstance(layer, getattr(_layers, name))
        assert inspect.getdoc(type(layer)) == inspect.getdoc(getattr(_layers, name))
        for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert repr(other) == repr(layer)
            for n, array in other.state_dict().items():
                np.testing.assert_array_equal(
                    taken(backend, array), taken(backend, layer.state_dict()[n])
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
    given = dict(activation.definition.cases[0].parameters)
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
    found = layer.vjp(g, x)
    exact = ax.elu.vjp(g, x, 0.5)["x"]
    np.testing.assert_allclose(taken(backend, found["x"]), taken(backend, exact), rtol=1e-14)
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
    found = layer.vjp(g, x)
    dx = found.pop("x")
    if backend.library == "numpy":
        eps = 1e-6
        for parameter, slope in found.items():
            value = layer.state_dict()[parameter]
            for i in np.ndindex(value.shape):
                ends = []
                for step in (eps, -eps):
                    moved, there = copy.deepcopy(layer), value.copy()
                    there[i] += step
                    moved.load_state_dict({parameter: there})
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
        found = layer.vjp(one, x, noise=noise)
        assert set(found) == {"x"}
        slope = getattr(ax, layer.name).derivative(x, training=True, noise=noise)
        np.testing.assert_array_equal(taken(backend, found["x"]), taken(backend, slope))
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


def _equal(backend, got, expected):
    """To within what the order of sums makes of float64."""
    got, expected = (np.asarray(taken(backend, a)) for a in (got, expected))
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


ATTENTION = [
    ({}, {}),
    ({"batch_first": True, "bias": False}, {"need_weights": False}),
    ({"kdim": 6, "vdim": 10, "add_bias_kv": True}, {"average_attn_weights": False}),
    ({"add_zero_attn": True, "batch_first": True}, {"key_padding_mask": "bool"}),
    ({"add_bias_kv": True}, {"attn_mask": "bool", "need_weights": False}),
    ({}, {"attn_mask": "float", "key_padding_mask": "float"}),
    ({}, {"attn_mask": "heads"}),
    ({}, {"attn_mask": "causal", "is_causal": True}),
]


def _attention(backend, kwargs, call):
    """Inputs and masks for the layer, of batch 3, 4 queries and 5 keys."""
    rng = np.random.default_rng(7)
    n, rows, columns = 3, 4, 4 if call.get("is_causal") else 5
    order = (0, 1) if kwargs.get("batch_first") else (1, 0)
    sizes = [(rows, 8), (columns, kwargs.get("kdim", 8)), (columns, kwargs.get("vdim", 8))]
    inputs = [
        backend.array(rng.standard_normal((n, t, d)).transpose(*order, 2), "float64")
        for t, d in sizes
    ]
    masks = {
        "bool": lambda shape: backend.array(rng.random(shape) < 0.3, "bool"),
        "float": lambda shape: backend.array(rng.standard_normal(shape), "float64"),
        "causal": lambda shape: backend.array(np.triu(np.ones(shape), 1) > 0, "bool"),
        "heads": lambda shape: backend.array(rng.random((n * 2, *shape)) < 0.3, "bool"),
    }
    shapes = {"attn_mask": (rows, columns), "key_padding_mask": (n, columns)}
    given = {k: masks[v](shapes[k]) if k in shapes else v for k, v in call.items()}
    g = backend.array(rng.standard_normal((n, rows, 8)).transpose(*order, 2), "float64")
    return inputs, given, g


@pytest.mark.parametrize(("kwargs", "call"), ATTENTION)
def test_attention(kwargs, call, layers, backend):
    """As NumPy's, and as PyTorch's own where that is; with the gradients of all."""
    state = _state("MultiheadAttention", 8, 2, **kwargs)
    layer = layers.MultiheadAttention.from_state_dict(state, 8, 2, **kwargs)
    inputs, given, g = _attention(backend, kwargs, call)
    y, weights = layer(*inputs, **given)
    found = layer.vjp((g, None), *inputs, **given)
    others = importlib.import_module("activations_xp.layers.numpy")
    plain = others.MultiheadAttention.from_state_dict(state, 8, 2, **kwargs)
    here = [backend.asnumpy(x) for x in inputs]
    here_given = {k: backend.asnumpy(v) if hasattr(v, "dtype") else v for k, v in given.items()}
    expected, their_weights = plain(*here, **here_given)
    _equal(backend, y, backend.array(expected))
    assert (weights is None) == (their_weights is None)
    if weights is not None:
        _equal(backend, weights, backend.array(their_weights))
    if backend.library != "torch":
        return
    import torch

    own = _torch("MultiheadAttention", state, 8, 2, **kwargs)
    leaves = [x.requires_grad_() for x in inputs]
    expected, own_weights = own(*leaves, **given)
    _equal(backend, y, expected)
    if weights is not None:
        _equal(backend, weights, own_weights)
    held = dict(own.named_parameters())
    slopes = torch.autograd.grad(expected, [*leaves, *held.values()], g)
    assert list(found) == ["query", "key", "value", *held]
    for got, slope in zip(found.values(), slopes, strict=True):
        _equal(backend, got, slope)
    of_q, of_held = gradients(backend, layer, g, *(x.detach() for x in inputs), **given)
    _equal(backend, of_q, slopes[0])
    for name, slope in zip(held, slopes[3:], strict=True):
        _equal(backend, of_held[name], slope)


@pytest.mark.parametrize("kwargs", [{}, {"div_value": 2.0, "head_bias": True}])
def test_adaptive_softmax(kwargs, layers, backend):
    args = (16, 20, [4, 10])
    state = _state("AdaptiveLogSoftmaxWithLoss", *args, **kwargs)
    layer = layers.AdaptiveLogSoftmaxWithLoss.from_state_dict(state, *args, **kwargs)
    rng = np.random.default_rng(8)
    x = backend.array(rng.standard_normal((30, 16)), "float64")
    target = backend.array(rng.integers(0, 20, 30), "int64")
    others = importlib.import_module("activations_xp.layers.numpy")
    plain = others.AdaptiveLogSoftmaxWithLoss.from_state_dict(state, *args, **kwargs)
    output, loss = layer(x, target)
    assert layer(x, target).loss.shape == ()
    here, there = backend.asnumpy(x), backend.asnumpy(target)
    expected, own_loss = plain(here, there)
    _equal(backend, output, backend.array(expected))
    _equal(backend, loss, backend.array(own_loss))
    chances = layer.log_prob(x)
    np.testing.assert_allclose(np.exp(taken(backend, chances)).sum(-1), 1, rtol=1e-12)
    best = taken(backend, chances).argmax(-1)
    np.testing.assert_array_equal(taken(backend, layer.predict(x)), best)
    one = backend.array(1.0, "float64")
    found = layer.vjp((None, one), x, target)
    dx = found.pop("x")
    if backend.library == "numpy":
        return
    if backend.library == "jax":
        import jax

        of_layer, of_x = jax.grad(lambda layer, x: layer(x, target).loss, (0, 1))(layer, x)
        _equal(backend, dx, of_x)
        for name, slope in found.items():
            _equal(backend, slope, of_layer.state_dict()[name])
        return
    import torch

    own = _torch("AdaptiveLogSoftmaxWithLoss", state, *args, **kwargs)
    leaf = x.requires_grad_()
    expected = own(leaf, target)
    _equal(backend, output, expected.output)
    _equal(backend, loss, expected.loss)
    _equal(backend, chances, own.log_prob(x))
    assert torch.equal(layer.predict(x), own.predict(x))
    held = dict(own.named_parameters())
    slopes = torch.autograd.grad(expected.loss, [leaf, *held.values()])
    _equal(backend, dx, slopes[0])
    for name, slope in zip(held, slopes[1:], strict=True):
        _equal(backend, found[name], slope)


def test_in_the_modules_of_others(layers, backend):
    """A step of gradient descent makes the loss less, whatever the layer is in."""
    rng = np.random.default_rng(9)
    x = backend.array(rng.standard_normal((16, 3)), "float32")
    if backend.library == "torch":
        import torch

        model = torch.nn.Sequential(torch.nn.Linear(3, 3), layers.PReLU(3), layers.Swish())
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        losses = []
        for _ in range(2):
            loss = (compiled(x) ** 2).sum()
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[1] < losses[0]
        assert model[2].beta.item() != 1
        state = torch.func.functional_call(model, dict(model.state_dict()), (x,))
        torch.testing.assert_close(state, model(x))
        assert layers.PReLU(3, dtype=torch.float64).to(torch.bfloat16)(x).dtype == x.dtype
    if backend.library == "jax":
        import equinox as eqx
        import flax.linen
        import flax.nnx
        import jax
        import jax.numpy as jnp

        swish = layers.Swish(beta=2.0, dtype="float32")
        expected = swish(x)

        class Inside(eqx.Module):
            act: layers.Swish

            def __call__(self, x):
                return self.act(x)

        inside = Inside(swish)
        slopes = eqx.filter_jit(eqx.filter_grad(lambda m, x: (m(x) ** 2).sum()))(inside, x)
        alone = jax.grad(lambda m: (m(x) ** 2).sum())(swish)
        np.testing.assert_allclose(slopes.act.beta, alone.beta, rtol=1e-6)

        class Linen(flax.linen.Module):
            @flax.linen.compact
            def __call__(self, x):
                return self.param("act", lambda key: swish)(x)

        parameters = Linen().init(jax.random.key(0), x)
        np.testing.assert_array_equal(Linen().apply(parameters, x), expected)
        slopes = jax.grad(lambda p: (Linen().apply(p, x) ** 2).sum())(parameters)
        np.testing.assert_allclose(slopes["params"]["act"].beta, alone.beta, rtol=1e-6)

        class Nnx(flax.nnx.Module):
            def __init__(self):
                self.act = flax.nnx.data(swish)

            def __call__(self, x):
                return self.act(x)

        np.testing.assert_array_equal(flax.nnx.jit(lambda m, x: m(x))(Nnx(), x), expected)

        @jax.jit
        def step(layer, x):
            slopes = jax.grad(lambda layer: (layer(x) ** 2).sum())(layer)
            return jax.tree.map(lambda p, s: p - 0.01 * s, layer, slopes)

        layer = layers.PReLU(3, dtype="float32")
        compiled = []
        for _ in range(4):
            layer = step(layer, x)
            compiled.append(step._cache_size())
        assert compiled[1] == compiled[3]
        assert isinstance(layer, layers.PReLU)
        assert (layer(x) ** 2).sum() < (layers.PReLU(3)(x) ** 2).sum()
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), layer, layer)
        assert jax.vmap(lambda m: m(x))(stacked).shape == (2, 16, 3)
