"""Layers: the same on every library, with parameters that PyTorch's own take and give."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracle import required_parameters, vjp

import activations_xp as ax
from activations_xp.layers import _functions
from activations_xp.layers import numpy as numpy_layers

pytestmark = [pytest.mark.libraries("numpy", "torch", "jax"), pytest.mark.compiled]

NAMES = numpy_layers.__all__
ARGUMENTS = {
    "Activation": {"name": "gelu"},
    "AdaptiveLogSoftmaxWithLoss": {"in_features": 16, "n_classes": 20, "cutoffs": [4, 10]},
    "Maxout": {"num_units": 2},
    "MultiheadAttention": {"embed_dim": 8, "num_heads": 2},
    "PReLU": {"num_parameters": 3},
    "LayerNorm": {"normalized_shape": (2, 3)},
    "RMSNorm": {"normalized_shape": 6},
}
ARGUMENTS |= {
    name: {p: v for p, v in required_parameters(cls.function).items() if p != "noise"}
    for name, cls in _functions.CLASSES.items()
    if name not in ARGUMENTS and getattr(cls, "function", None) is not None
}


@pytest.fixture
def layers(backend):
    """The module of the backend's layers."""
    return importlib.import_module(f"activations_xp.layers.{backend.library}")


def make(layers, name, /, *args, seed=0, **kwargs):
    """Return the layer, from a seed where its parameters are random."""
    kwargs = kwargs if args else {**ARGUMENTS.get(name, {}), **kwargs}
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


def to_float64(backend, x):
    return backend.asnumpy(x).astype("f8")


def written_gradients(layer, g, *inputs, **given):
    """Return the gradients that `vjp` gives, by the names of inputs and parameters."""
    gradients: dict[str, Any] = layer.vjp(g, *inputs, **given)
    return gradients


def autodiff_gradients(backend, layer, g, *inputs, **given):
    """Return the gradients of the first input and of the parameters, as the library has them."""
    if backend.library == "torch":
        import torch

        x = inputs[0].clone().requires_grad_()
        parameters = dict(layer.named_parameters())
        y = layer(x, *inputs[1:], **given)
        y = y[0] if isinstance(y, tuple) else y
        dx, *gradients = torch.autograd.grad(y, [x, *parameters.values()], g)
        return dx, dict(zip(parameters, gradients, strict=True))
    import jax

    _, pullback = jax.vjp(lambda layer, x: layer(x, *inputs[1:], **given), layer, inputs[0])
    of_layer, dx = pullback(g)
    return dx, of_layer.state_dict()


# what they are


def test_every_layer(layers, backend):
    """Every library has it, and it can be pickled and copied."""
    assert set(layers.__all__) == set(NAMES)
    for name in NAMES:
        layer = make(layers, name)
        assert type(layer).__module__ == layers.__name__
        assert type(layer).__doc__
        for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert repr(other) == repr(layer)
            for n, array in other.state_dict().items():
                np.testing.assert_array_equal(
                    to_float64(backend, array), to_float64(backend, layer.state_dict()[n])
                )


def test_state_that_is_refused(layers, backend):
    with pytest.raises(TypeError, match=r"^PReLU: state_dict must be a mapping, got \[1.0\]"):
        layers.PReLU.from_state_dict([1.0])
    with pytest.raises(TypeError, match=r"^PReLU: state_dict must be a mapping, got None"):
        layers.PReLU().load_state_dict(None)
    if backend.library != "torch":  # which takes the real parts, and warns
        for value in (np.ones(1, complex), np.array(["1"]), None):
            with pytest.raises(TypeError, match=r"^PReLU: weight must be an array of real numbers"):
                layers.PReLU().load_state_dict({"weight": value})


@pytest.mark.parametrize(
    ("given", "kept"), [("bfloat16", "bfloat16"), ("f2", "float16"), (int, "")]
)
def test_dtype_of_a_state(given, kept, layers, backend):
    """It is kept, also where NumPy alone does not know it; integers become the default."""
    state = {"weight": np.ones(3, ml_dtypes.bfloat16 if given == "bfloat16" else given)}
    weight = layers.PReLU.from_state_dict(state, 3).weight
    assert backend.dtype_of(weight) == (kept or backend.dtype_of(layers.PReLU().weight))
    np.testing.assert_array_equal(to_float64(backend, weight), np.ones(3))


@pytest.mark.once
def test_repr():
    layers = numpy_layers
    assert repr(layers.Dropout(0.3)) == "Dropout(p=0.3)"
    assert repr(layers.RReLU(0.25, np.float32(0.5))) == "RReLU(lower=0.25, upper=0.5)"
    assert repr(layers.Maxout(2)) == "Maxout(num_units=2, axis=-1)"
    assert repr(layers.PReLU(3)) == "PReLU(num_parameters=3, init=0.25, axis=1)"
    assert repr(layers.Activation("elu", alpha=0.5)) == "Activation(name='elu', alpha=0.5)"
    assert repr(layers.Activation("elu")) == "Activation(name='elu')"
    assert repr(layers.Swish()) == "Swish()"
    assert repr(make(layers, "AdaptiveLogSoftmaxWithLoss")) == (
        "AdaptiveLogSoftmaxWithLoss(in_features=16, n_classes=20, cutoffs=(4, 10), div_value=4.0,"
        " head_bias=False, ignore_index=-100, reduction='mean')"
    )
    with pytest.raises(AttributeError, match="'Swish' object has no attribute 'weight'"):
        layers.Swish().weight  # noqa: B018


# any function, by name


def test_activation_layer(activation, layers, backend):
    given = required_parameters(activation)
    x = backend.array(np.linspace(0.05, 0.95, 24).reshape(4, 6), "float32")
    given_here = {**given, "noise": 0.5} if activation.definition.noise is not None else given
    noise = {"noise": given.pop("noise")} if "noise" in given else {}
    layer = layers.Activation(activation.__name__, **given).eval()
    np.testing.assert_array_equal(
        to_float64(backend, layer(x, **noise)),
        to_float64(backend, activation(x, **{**given_here, **noise, **given})),
    )


def test_activation_layer_with_learned_parameters(layers, backend):
    rng = np.random.default_rng(0)
    x, g = (backend.array(rng.standard_normal((5, 4)), "float64") for _ in range(2))
    float64 = x.dtype
    layer = layers.Activation(
        "elu", learned=["alpha"], alpha=0.5, **({"dtype": float64} if backend.library else {})
    )
    assert set(layer.state_dict()) == {"alpha"}
    gradients = written_gradients(layer, g, x)
    got, exact = gradients["x"], vjp(ax.elu, g, x, alpha=0.5)
    np.testing.assert_allclose(to_float64(backend, got), to_float64(backend, exact), rtol=1e-14)
    values = to_float64(backend, x)
    exact = np.sum(np.where(values > 0, 0, np.expm1(values)) * to_float64(backend, g))
    np.testing.assert_allclose(to_float64(backend, gradients["alpha"]), exact, rtol=1e-13)


SHAPES = [(4, 3), (2, 3, 5), (3,)]


def _with_parameter(backend, layers, name, shape):
    """Return a layer with an array of parameters, what it is made with, and x and g for it."""
    rng = np.random.default_rng(1)
    args = ((1,) if len(shape) == 1 else (3,)) if name == "PReLU" else ()
    x, g = (backend.array(rng.standard_normal(shape), "float64") for _ in range(2))
    return make(layers, name, *args, dtype=x.dtype), args, x, g


@pytest.mark.libraries("torch", "jax")
@pytest.mark.parametrize("name", ["PReLU", "Swish"])
@pytest.mark.parametrize("shape", SHAPES)
def test_vjp_beside_autodiff(name, shape, layers, backend):
    layer, _, x, g = _with_parameter(backend, layers, name, shape)
    got = written_gradients(layer, g, x)
    dx, expected = autodiff_gradients(backend, layer, g, x)
    np.testing.assert_allclose(to_float64(backend, got["x"]), to_float64(backend, dx), rtol=1e-13)
    assert got.keys() == {"x", *expected}
    for parameter, gradient in expected.items():
        a, b = (to_float64(backend, v) for v in (got[parameter], gradient))
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.libraries("numpy")
@pytest.mark.parametrize("name", ["PReLU", "Swish"])
@pytest.mark.parametrize("shape", SHAPES)
def test_vjp_beside_differences(name, shape, layers, backend):
    h = 1e-6
    layer, args, x, g = _with_parameter(backend, layers, name, shape)
    gradients = written_gradients(layer, g, x)
    state = layer.state_dict()
    assert gradients.keys() == {"x", *state}
    for parameter, value in state.items():
        for index in np.ndindex(value.shape):
            ends = []
            for step in (h, -h):
                stepped = value.copy()
                stepped[index] += step
                changed = {**state, parameter: stepped}
                other = getattr(layers, name).from_state_dict(changed, *args)
                ends.append((other(x) * g).sum())
            exact = (ends[0] - ends[1]) / (2 * h)
            assert gradients[parameter][index] == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize("name", ["RReLU", "Dropout", "AlphaDropout", "FeatureAlphaDropout"])
def test_random_layers(name, layers, backend):
    x = backend.array(np.full((6, 50), -1.0), "float32")
    layer = make(layers, name).train()
    given = {} if backend.library == "torch" else {"rng": generator(layers, 2)}
    assert len(np.unique(to_float64(backend, layer(x, **given)))) > 1
    noise = backend.array(np.full((6, 50), 0.75), "float32")
    assert len(np.unique(to_float64(backend, layer(x, noise=noise)))) == 1
    one = backend.array(np.ones((6, 50)), "float32")
    gradients = written_gradients(layer, one, x, noise=noise)
    assert gradients.keys() == {"x"}
    expected = getattr(ax, layer.name).derivative(x, training=True, noise=noise)
    np.testing.assert_array_equal(
        to_float64(backend, gradients["x"]), to_float64(backend, expected)
    )
    y = to_float64(backend, layer.eval()(x))
    np.testing.assert_array_equal(y, to_float64(backend, layer.train()(x, training=False)))
    assert len(np.unique(y)) == 1


# their parameters


def test_state_dict_mismatch(layers, backend):
    for state, words in (
        ({}, "weight"),
        ({"weight": np.ones(3), "bias": np.ones(3)}, "bias"),
        ({"weight": np.ones(4)}, "weight"),
    ):
        with pytest.raises((ValueError, RuntimeError), match=words):
            layers.PReLU.from_state_dict(state, 3)


def _set_to_double(layer, name):
    """Give a layer twice a parameter and one, as a user does, and return that."""
    *path, last = name.split(".")
    owner = layer
    for part in path:
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    value = getattr(owner, last) * 2 + 1
    if hasattr(value, "detach"):
        value = type(getattr(owner, last))(value.detach())
    setattr(owner, last, value)
    return value


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("Swish", {}),
        ("PReLU", {}),
        ("Activation", {"name": "elu", "learned": ["alpha"]}),
        ("MultiheadAttention", {"add_bias_kv": True}),
        ("AdaptiveLogSoftmaxWithLoss", {"head_bias": True}),
    ],
)
def test_parameters_that_are_set(name, kwargs, layers, backend):
    """They are what the layer has from then on; a copy made before keeps its own."""
    layer = make(layers, name, **kwargs)
    before, copied = layer.state_dict(), copy.copy(layer)
    before = {n: np.array(to_float64(backend, array)) for n, array in before.items()}
    for parameter, old in before.items():
        value = to_float64(backend, _set_to_double(layer, parameter))
        np.testing.assert_allclose(value, 2 * old + 1, rtol=1e-6)
        got = to_float64(backend, layer.state_dict()[parameter])
        np.testing.assert_array_equal(got, value)
        if backend.library != "torch":  # whose copies share them
            np.testing.assert_array_equal(copied.state_dict()[parameter], old)


@pytest.mark.libraries("numpy", "jax")
def test_training_by_hand(layers, backend):
    """Gradient descent on the attributes of a layer, as its users write it."""
    x = backend.array([-4.0, -1.0, 2.0], "float32")
    layer = layers.PReLU(dtype="float32")
    for _ in range(30):
        error = layer(x) - 0.5 * x * (x < 0) - x * (x > 0)
        layer.weight = layer.weight - 0.05 * layer.vjp(error, x)["weight"]
    np.testing.assert_allclose(to_float64(backend, layer.weight), [0.5], rtol=1e-6)
    np.testing.assert_allclose(to_float64(backend, layer(x)), [-2.0, -0.5, 2.0], rtol=1e-6)
    layer.weight -= 0.25
    np.testing.assert_allclose(to_float64(backend, layer(x)), [-1.0, -0.25, 2.0], rtol=1e-6)


@pytest.mark.libraries("numpy", "jax")
def test_parameters_that_are_refused(layers, backend):
    layer = layers.PReLU(3, dtype="float32")
    other = np.ones(3, "f4") if backend.library == "jax" else np.ma.ones(3, "f4")
    for value, kind, words in (
        (backend.array([1.0, 2.0], "float32"), ValueError, r"the shape \(3,\), got \(2,\)"),
        (backend.array([1, 2, 3], "int32"), TypeError, "the dtype float32, got int32"),
        (backend.array([1, 2, 3], "float16"), TypeError, "the dtype float32, got float16"),
        (other, TypeError, f"an array of {backend.library}, got"),
        (0.5, TypeError, f"an array of {backend.library}, got 0.5"),
        (None, TypeError, f"an array of {backend.library}, got None"),
    ):
        with pytest.raises(kind, match=f"^PReLU: weight must (be|have) {words}"):
            layer.weight = value
    with pytest.raises(ValueError, match=r"^PReLU: the parameters are \['weight'\], .* bias"):
        layer.bias = layer.weight
    with pytest.raises(AttributeError, match=r"^PReLU: weight cannot be deleted"):
        del layer.weight
    attention = make(layers, "MultiheadAttention", bias=False)
    with pytest.raises(ValueError, match=r"^MultiheadAttention: .* got one more, in_proj_bias"):
        attention.in_proj_bias = attention.in_proj_weight[:, 0]
    with pytest.raises(ValueError, match=r"out_proj.weight must have the shape \(8, 8\)"):
        attention.out_proj.weight = attention.in_proj_weight
    assert copy.copy(attention.out_proj).weight is attention.out_proj.weight


@pytest.mark.libraries("torch")
def test_parameters_that_are_set_on_torch(layers, backend):
    """As in torch.nn: a Parameter or None, also under the utilities that put others in place."""
    x = _small_rows(backend)
    import torch
    from torch.nn.utils import parametrize, prune

    for name, value in (("weight", torch.ones(3)), ("weight", 2.0)):
        with pytest.raises(TypeError, match=r"cannot assign .* as parameter 'weight'"):
            setattr(layers.PReLU(3), name, value)
    with pytest.raises(TypeError, match="cannot assign 'float' as parameter 'beta'"):
        layers.Swish().beta = 2.0
    layer = layers.Swish()
    layer.beta = None
    with pytest.raises(TypeError, match=r"beta must be .* got None"):
        layer(x)

    mine, theirs = (m.MultiheadAttention(8, 2, bias=False) for m in (layers, torch.nn))
    mine.load_state_dict(theirs.state_dict())
    query = torch.randn(4, 3, 8)
    for bias in (torch.nn.Parameter(torch.ones(24)), None):
        mine.in_proj_bias = theirs.in_proj_bias = bias
        torch.testing.assert_close(mine(query, query, query)[0], theirs(query, query, query)[0])

    class Double(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

    layer = layers.PReLU(3)
    parametrize.register_parametrization(layer, "weight", Double())
    torch.testing.assert_close(layer(x), layers.PReLU(3, init=0.5)(x))
    layer = layers.PReLU(3)
    prune.l1_unstructured(layer, "weight", amount=3)
    torch.testing.assert_close(layer(x), torch.relu(x))


# their arguments


LIVE = [
    ("Dropout", (0.5,), "p", 0.25),
    ("AlphaDropout", (0.5,), "p", 0.25),
    ("FeatureAlphaDropout", (), "p", 0.0),
    ("RReLU", (0.1, 0.2), "upper", np.float32(0.5)),
    ("Maxout", (2,), "num_units", np.int64(3)),
    ("Maxout", (6,), "axis", 0),
    ("PReLU", (6,), "axis", -1),
    ("Activation", ("gelu",), "approximate", "tanh"),
    ("Activation", ("elu",), "alpha", 2),
    ("Activation", ("rational",), "numerator", [1.0, 2.0]),
    ("MultiheadAttention", (6, 2), "num_heads", 3),
    ("MultiheadAttention", (6, 2), "dropout", 0.5),
    ("MultiheadAttention", (6, 2), "batch_first", True),
    ("MultiheadAttention", (6, 2), "add_zero_attn", True),
    ("AdaptiveLogSoftmaxWithLoss", (6, 4, [2]), "ignore_index", np.int32(3)),
    ("AdaptiveLogSoftmaxWithLoss", (6, 4, [2]), "reduction", "sum"),
]


def _by_name(layers, name, args):
    """Return arguments of a constructor by name."""
    names = inspect.signature(getattr(layers, name)).parameters
    return dict(zip(names, args, strict=False))


@pytest.mark.parametrize(("name", "args", "argument", "value"), LIVE)
def test_arguments_that_are_set(name, args, argument, value, layers, backend):
    """A layer becomes one that is made so, and so do its copies and what transforms return."""
    given = _by_name(layers, name, args)
    if args == ("rational",):
        given |= {"numerator": [0.0, 1.0], "denominator": [2.0]}
    x = backend.array(np.linspace(-1, 1, 36).reshape(6, 6), "float32")
    if "dtype" in inspect.signature(getattr(layers, name)).parameters:
        given["dtype"] = x.dtype
    layer = make(layers, name, **given).train()
    expected = make(layers, name, **{**given, argument: value}).train()
    assert repr(layer) != repr(expected)
    setattr(layer, argument, value)
    copies = [layer, copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    if backend.library == "jax":
        import jax

        copies.append(jax.tree.map(lambda leaf: leaf, layer))
        assert jax.tree.structure(layer) == jax.tree.structure(expected)
    inputs = {
        "MultiheadAttention": (backend.array(np.ones((5, 3, 6)), "float32"),) * 3,
        "AdaptiveLogSoftmaxWithLoss": (x, backend.array([0, 1, 2, 3, 3, 0], "int64")),
    }.get(name, (x,))
    results = []
    for each in (expected, *copies):
        assert repr(each) == repr(expected)
        assert getattr(each, argument) == getattr(expected, argument)
        rng = {} if name.startswith("Adaptive") else {"rng": generator(layers, 2)}
        y = each(*inputs, **rng)
        results.append(to_float64(backend, y if hasattr(y, "dtype") else y[-1]))
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])


BAD = [
    ("Dropout", (0.5,), {"p": 1.5}, ValueError, "p must satisfy 0 <= p <= 1, got p=1.5"),
    ("Dropout", (0.5,), {"p": np.nan}, ValueError, "p must satisfy 0 <= p <= 1, got p=nan"),
    (
        "Dropout",
        (0.5,),
        {"p": "0.5"},
        TypeError,
        "p must be a real number, not an array, got '0.5'",
    ),
    ("AlphaDropout", (0.5,), {"p": -0.1}, ValueError, "p must satisfy"),
    (
        "FeatureAlphaDropout",
        (0.5,),
        {"p": None},
        TypeError,
        "p must be a real number, not an array, got None",
    ),
    ("RReLU", (0.1, 0.3), {"lower": 0.4}, ValueError, "lower must satisfy lower <= upper, got"),
    ("RReLU", (0.1, 0.3), {"upper": np.nan}, ValueError, "must satisfy lower <= upper, got"),
    ("Maxout", (2,), {"num_units": 0}, ValueError, "num_units must be a positive integer, got 0"),
    ("Maxout", (2,), {"num_units": 2.0}, TypeError, "num_units must be a positive integer, got 2"),
    ("Maxout", (2,), {"axis": "last"}, TypeError, "axis must be an integer, got 'last'"),
    ("PReLU", (), {"axis": 1.0}, TypeError, "axis must be an integer or None, got 1.0"),
    ("Activation", ("elu",), {"alpha": "a"}, TypeError, "alpha must be a real number or"),
    ("Activation", ("gelu",), {"approximate": "no"}, ValueError, "approximate must be"),
    ("MultiheadAttention", (8, 2), {"num_heads": 0}, ValueError, "num_heads must be a positive"),
    ("MultiheadAttention", (8, 2), {"num_heads": 3}, ValueError, "must satisfy embed_dim % num_he"),
    ("MultiheadAttention", (8, 2), {"dropout": 1.5}, ValueError, "must satisfy 0 <= dropout <= 1"),
    ("MultiheadAttention", (8, 2), {"dropout": np.nan}, ValueError, "dropout must satisfy"),
    ("MultiheadAttention", (8, 2), {"batch_first": 1}, ValueError, "must be True or False, got 1"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 9, [2]), {"ignore_index": 1.0}, TypeError, "an integer"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 9, [2]), {"ignore_index": 2**31}, ValueError, "satisfy"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 9, [2]), {"reduction": "avg"}, ValueError, "'mean', 'sum'"),
]
"""Arguments that may be set, but not to this."""

BAD_IN_CONSTRUCTOR = [
    ("PReLU", (), {"num_parameters": 0}, ValueError, "num_parameters must be a positive integer"),
    ("PReLU", (), {"num_parameters": 2.5}, TypeError, "num_parameters must be a positive integer"),
    ("PReLU", (), {"num_parameters": (2, 0)}, ValueError, "num_parameters must be a positive int"),
    ("PReLU", (), {"init": "a"}, TypeError, "init must be a real number, not an array, got 'a'"),
    ("PReLU", (), {"init": np.nan}, ValueError, "weight must begin with a finite number, got nan"),
    ("PReLU", (3,), {"shared_axes": (0,)}, ValueError, "shared_axes must be a positive integer"),
    ("PReLU", (3,), {"shared_axes": 1}, TypeError, "shared_axes must be a sequence of"),
    ("PReLU", ((4, 5),), {"shared_axes": (3,)}, ValueError, "shared_axes must be from 1 to 2, got"),
    ("Swish", (), {"beta": np.inf}, ValueError, "beta must begin with a finite number, got inf"),
    ("Swish", (), {"beta": "a"}, TypeError, "beta must be a real number or an array of"),
    ("MultiheadAttention", (8, 2), {"embed_dim": True}, TypeError, "embed_dim must be a positive"),
    ("MultiheadAttention", (8, 2), {"embed_dim": 8.0}, TypeError, "embed_dim must be a positive"),
    ("MultiheadAttention", (8, 2), {"bias": "no"}, ValueError, "bias must be True or False"),
    ("MultiheadAttention", (8, 2), {"kdim": 0}, ValueError, "kdim must be a positive integer, got"),
    ("MultiheadAttention", (8, 2), {"vdim": "3"}, TypeError, "vdim must be a positive integer or"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"in_features": 0}, ValueError, "in_features mus"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"n_classes": 20.0}, TypeError, "n_classes must "),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"div_value": 0}, ValueError, "div_value > 0"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"div_value": np.nan}, ValueError, "div_value > "),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"div_value": np.inf}, ValueError, "no features "),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"head_bias": 2}, ValueError, "head_bias must be"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"cutoffs": [5, 10.0]}, TypeError, "cutoffs must"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"cutoffs": [True, 5]}, TypeError, "cutoffs must"),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5]), {"cutoffs": 5}, TypeError, "cutoffs must be a se"),
]


@pytest.mark.parametrize(("name", "args", "bad", "kind", "words"), [*BAD, *BAD_IN_CONSTRUCTOR])
def test_arguments_that_are_refused(name, args, bad, kind, words, layers):
    """By the constructor, and where they are set: what fixes shapes is not set at all."""
    given = _by_name(layers, name, args)
    words = f"^{name}: .*{words}"
    with pytest.raises(kind, match=words):
        make(layers, name, **{**given, **bad})
    layer = make(layers, name, **given)
    before = repr(layer)
    ((argument, value),) = bad.items()
    if (name, args, bad, kind) not in [case[:4] for case in BAD]:
        kind, words = (ValueError, f"^{name}: {argument} is fixed, make a new layer instead, got")
    if argument != "beta":  # a parameter of the layer
        with pytest.raises(kind, match=words):
            setattr(layer, argument, value)
    assert repr(layer) == before


@pytest.mark.parametrize("argument", ["name", "learned", "function"])
def test_function_that_is_fixed(argument, layers):
    with pytest.raises(ValueError, match=f"^Dropout: {argument} is fixed"):
        setattr(layers.Dropout(), argument, "relu")


TAKE_NONE = {"Identity", "Softmax2d"}


@pytest.mark.parametrize("name", sorted({*NAMES} - TAKE_NONE))
def test_array_for_an_argument(name, layers, backend):
    """The hint is for ``RReLU(x)`` where ``RReLU()(x)`` is meant."""
    positional = _positional(layers, name)
    count = sum(p.default is p.empty for p in positional)
    of_parameters = name in {"AdaptiveLogSoftmaxWithLoss", "MultiheadAttention"}
    arrays = [backend.array(np.ones((2, 2)), "float32")] * (3 if of_parameters else max(count, 1))
    words = f"; the layer is made first .* as {name}\\((\\.\\.\\.)?\\)\\(x\\)$"
    words = words if positional else "too many positional arguments"
    with pytest.raises((TypeError, ValueError), match=f"(?s)^{name}: .*{words}"):
        getattr(layers, name)(*arrays)


def _positional(layers, name):
    parameters = inspect.signature(getattr(layers, name)).parameters.values()
    return [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"dtype": int}, TypeError), ({"dtype": "x"}, TypeError), ({"device": "nowhere"}, ValueError)],
)
def test_dtype_and_device_that_are_refused(given, kind, layers):
    with pytest.raises(kind, match=r"^PReLU: dtype "):
        layers.PReLU(**given)


def test_mode(layers, backend):
    layer = layers.Dropout()
    assert layer.train().training is True
    assert layer.eval().training is False
    with pytest.raises(ValueError, match=r"^Dropout: training must be True or False, got 1$"):
        layer.training = 1
    for mode in ("yes", 1, None):
        with pytest.raises(ValueError, match=r"training m"):  # PyTorch has words of its own
            layer.train(mode)
    x = backend.array([1.0], "float32")
    with pytest.raises(ValueError, match=r"training must be True, False or None, got 'yes'$"):
        layer(x, training="yes")


@pytest.mark.libraries("torch")
def test_arguments_that_are_set_after_compilation(layers, backend):
    import torch

    x = backend.array(np.linspace(-1, 1, 12), "float32")
    layer = layers.RReLU(0.1, 0.2).eval()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for upper in (0.2, 0.5, 0.7):
        layer.upper = upper
        torch.testing.assert_close(compiled(x), ax.leaky_relu(x, (0.1 + upper) / 2))


@pytest.mark.libraries("jax")
def test_layers_are_trees(layers, backend):
    """With whatever a transform puts in the place of parameters."""
    import jax
    import jax.numpy as jnp

    x = _small_rows(backend)
    layer = layers.PReLU(3, dtype="float32")
    for leaf in (None, object(), "weight", jax.ShapeDtypeStruct((3,), "float32")):
        assert jax.tree.map(lambda _, leaf=leaf: leaf, layer).weight is leaf
    jax.tree.map(lambda a, b: a + b, layer, layers.PReLU.from_state_dict(layer.state_dict(), 3))
    jax.tree.map(lambda a, b: a + b, layer.eval(), layers.PReLU(3))

    def half(layer):
        layer.weight = layer.weight / 2
        return (layer(x) ** 2).sum()

    expected = jax.grad(lambda layer: (layer(x) ** 2).sum())(layers.PReLU(3, init=0.125))
    np.testing.assert_allclose(jax.grad(half)(layer).weight, expected.weight / 2, rtol=1e-6)
    assert layer.weight[0] == 0.25
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), layer, layer)
    np.testing.assert_allclose(jax.vmap(half)(stacked), [half(layer)] * 2, rtol=1e-6)


# one weight per channel


@pytest.mark.parametrize(
    ("shape", "args", "kwargs", "weight"),
    [
        ((), (), {}, (1,)),
        ((3,), (), {}, (1,)),
        ((2, 3), (3,), {}, (3,)),
        ((2, 3, 4), (3,), {}, (3, 1)),
        ((2, 4, 3), (3,), {"axis": -1}, (3,)),
        ((2, 4, 5, 3), (3,), {"axis": 3}, (3,)),
        ((2, 4, 5, 3), ((4, 5, 3),), {}, (4, 5, 3)),
        ((2, 4, 5, 3), ((4, 5, 3),), {"shared_axes": [1, 2]}, (1, 1, 3)),
        ((2, 4, 5, 3), ((4, 5, 3),), {"shared_axes": (2,)}, (4, 1, 3)),
        ((2, 4, 5, 3), (3,), {"shared_axes": (1, 2)}, (1, 1, 3)),
        ((2, 3, 4, 5), (3,), {"shared_axes": (2, 3)}, (3, 1, 1)),
        ((2, 4, 5, 3), (), {"shared_axes": (1, 2)}, (1, 1, 1)),
        ((2, 4, 5, 3), ((1, 1, 3),), {}, (1, 1, 3)),
    ],
)
def test_weights_per_channel(shape, args, kwargs, weight, layers, backend):
    """`weight` is the shape in which NumPy broadcasts them to x."""
    rng = np.random.default_rng(3)
    values, g, slopes = rng.standard_normal(shape), rng.standard_normal(shape), rng.random(weight)
    layer = layers.PReLU(*args, **kwargs)
    state = {"weight": slopes.reshape(tuple(layer.weight.shape))}
    layer = layers.PReLU.from_state_dict(state, *args, **kwargs)
    x, g = backend.array(values), backend.array(g)
    expected = np.where(values > 0, values, slopes * values)
    np.testing.assert_allclose(to_float64(backend, layer(x)), expected, rtol=1e-15)
    gradients = written_gradients(layer, g, x)
    partial = np.minimum(values, 0) * backend.asnumpy(g)
    aligned = (1,) * max(partial.ndim - slopes.ndim, 0) + slopes.shape[: partial.ndim]
    axes = tuple(i for i, n in enumerate(aligned) if n == 1 and partial.ndim)
    exact = partial.sum(axis=axes).reshape(state["weight"].shape)
    got = to_float64(backend, gradients["weight"])
    np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-14)
    assert got.shape == state["weight"].shape


@pytest.mark.libraries("torch", "jax")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("shared", "args"),
    [
        (None, ((4, 5, 3),)),
        ([1, 2], (3,)),
        ([1, 2], ((4, 5, 3),)),
        ([2], ((4, 5, 3),)),
        ([2, 3], (4,)),
    ],
)
def test_weights_per_channel_beside_keras(shared, args, layers, backend):
    import keras

    theirs = keras.layers.PReLU("random_normal", shared_axes=shared)
    x = np.random.default_rng(4).standard_normal((2, 4, 5, 3))
    expected = keras.ops.convert_to_numpy(theirs(x.astype("f4")))
    state = {"weight": theirs.get_weights()[0]}
    ours = layers.PReLU.from_state_dict(state, *args, shared_axes=shared)
    got = to_float64(backend, ours(backend.array(x, "float32")))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.once
def test_channel_axis_that_is_missing():
    with pytest.raises(ValueError, match="prelu: axis 3 is out of range for x with 2 dimensions"):
        numpy_layers.PReLU(3, axis=3)(np.ones((3, 3)))


@pytest.mark.once
def test_invalid_arguments():
    layers = numpy_layers
    for call, kind, words in (
        (lambda: layers.Activation("geul"), ValueError, "no activation is named 'geul'"),
        (lambda: layers.Activation("elu", beta=1), TypeError, "elu has no parameter 'beta'"),
        (lambda: layers.Activation(3), TypeError, "^Activation: name must be a string or a"),
        (
            lambda: layers.Activation("elu", learned="alpha"),
            TypeError,
            "^Activation: learned must be a sequence of names, got 'alpha'",
        ),
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
            "must satisfy embed_dim % num_heads == 0, got embed_dim=8, num_heads=3",
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
            lambda: make(layers, "AdaptiveLogSoftmaxWithLoss", 8, 20, [4, 10, 15]),
            ValueError,
            "div_value leaves no features to cluster 1, got 4.0 with in_features 8",
        ),
    ):
        with pytest.raises(kind, match=words):
            call()


def _state(name, *args, **kwargs):
    """Return random parameters for a layer, as NumPy's arrays."""
    layer = make(numpy_layers, name, *args, seed=3, **kwargs)
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
def test_state_dict_round_trip(name, args, kwargs, layers, backend):
    """From NumPy's layer to this library's, to PyTorch's own where that is, and back."""
    state = _state(name, *args, **kwargs)
    layer = getattr(layers, name).from_state_dict(state, *args, **kwargs)
    here = layer.state_dict()
    if backend.library == "torch":
        theirs = _torch(name, state, *args, **kwargs)
        assert list(theirs.state_dict()) == list(here)
        theirs.load_state_dict(here)
        layer.load_state_dict(theirs.state_dict())
        plain = getattr(numpy_layers, name)
        here = plain.from_state_dict(theirs.state_dict(), *args, **kwargs).state_dict()
    assert set(here) == set(state)
    for n, array in state.items():
        assert str(here[n].dtype).endswith("float64")
        np.testing.assert_array_equal(np.asarray(here[n]), array)


def _equal(backend, got, expected):
    """To within what the order of sums makes of float64."""
    got, expected = (np.asarray(to_float64(backend, a)) for a in (got, expected))
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
    n, q_len, kv_len = 3, 4, 4 if call.get("is_causal") else 5
    order = (0, 1) if kwargs.get("batch_first") else (1, 0)
    sizes = [(q_len, 8), (kv_len, kwargs.get("kdim", 8)), (kv_len, kwargs.get("vdim", 8))]
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
    shapes = {"attn_mask": (q_len, kv_len), "key_padding_mask": (n, kv_len)}
    given = {k: masks[v](shapes[k]) if k in shapes else v for k, v in call.items()}
    g = backend.array(rng.standard_normal((n, q_len, 8)).transpose(*order, 2), "float64")
    return inputs, given, g


def _attention_layer(layers, kwargs):
    state = _state("MultiheadAttention", 8, 2, **kwargs)
    return layers.MultiheadAttention.from_state_dict(state, 8, 2, **kwargs), state


@pytest.mark.parametrize(("kwargs", "call"), ATTENTION)
def test_attention_beside_numpy(kwargs, call, layers, backend):
    layer, _ = _attention_layer(layers, kwargs)
    inputs, given, _ = _attention(backend, kwargs, call)
    plain, _ = _attention_layer(numpy_layers, kwargs)
    given_plain = {k: backend.asnumpy(v) if hasattr(v, "dtype") else v for k, v in given.items()}
    results = layer(*inputs, **given), plain(*map(backend.asnumpy, inputs), **given_plain)
    for got, expected in zip(*results, strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            _equal(backend, got, backend.array(expected))


FORBIDS = "be an array of query's library, of booleans, where True forbids attention, or of real"


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("name", "values", "dtype", "kind", "words"),
    [
        ("attn_mask", np.ones((4, 5)), "uint8", TypeError, FORBIDS),
        ("attn_mask", np.ones((4, 5)), "int32", TypeError, FORBIDS),
        ("attn_mask", np.ones((5, 4)), "bool", ValueError, r"have shape .*, got \(5, 4\)"),
        ("attn_mask", np.ones((3, 4, 5)), "bool", ValueError, r"\(4, 5\) or \(6, 4, 5\), got"),
        ("attn_mask", [[True] * 5] * 4, None, TypeError, FORBIDS),
        ("attn_mask", 0.0, None, TypeError, FORBIDS),
        ("key_padding_mask", np.ones((3, 5)), "uint8", TypeError, FORBIDS),
        ("key_padding_mask", np.ones((5, 3)), "bool", ValueError, r"shape \(3, 5\), got \(5, 3\)"),
        ("key_padding_mask", np.ones(5), "float64", ValueError, r"have shape \(3, 5\), got \(5,\)"),
        ("key_padding_mask", [[True] * 5] * 3, None, TypeError, FORBIDS),
    ],
)
def test_masks_that_are_refused(batch_first, name, values, dtype, kind, words, layers, backend):
    layer, _ = _attention_layer(layers, {"batch_first": batch_first})
    inputs, _, _ = _attention(backend, {"batch_first": batch_first}, {})
    mask = values if dtype is None else backend.array(values, dtype)
    with pytest.raises(kind, match=f"^MultiheadAttention: {name} must .*{words}"):
        layer(*inputs, **{name: mask})


@pytest.mark.libraries("torch", "jax")
def test_masks_of_another_library(layers, backend):
    layer, _ = _attention_layer(layers, {})
    inputs, _, _ = _attention(backend, {}, {})
    for name, shape in {"attn_mask": (4, 5), "key_padding_mask": (3, 5)}.items():
        with pytest.raises(TypeError, match=f"{name} must {FORBIDS}.* got numpy.ndarray"):
            layer(*inputs, **{name: np.zeros(shape, bool)})


@pytest.mark.libraries("torch")
@pytest.mark.parametrize(("kwargs", "call"), ATTENTION)
def test_attention_beside_torch(kwargs, call, layers, backend):
    """With the gradients of all."""
    import torch

    layer, state = _attention_layer(layers, kwargs)
    inputs, given, g = _attention(backend, kwargs, call)
    y, weights = layer(*inputs, **given)
    gradients = written_gradients(layer, (g, None), *inputs, **given)
    theirs = _torch("MultiheadAttention", state, 8, 2, **kwargs)
    leaves = [x.requires_grad_() for x in inputs]
    expected, their_weights = theirs(*leaves, **given)
    _equal(backend, y, expected)
    assert (weights is None) == (their_weights is None)
    if weights is not None:
        _equal(backend, weights, their_weights)
    parameters = dict(theirs.named_parameters())
    names = ["query", "key", "value", *parameters]
    exact = torch.autograd.grad(expected, [*leaves, *parameters.values()], g)
    exact = dict(zip(names, exact, strict=True))
    assert gradients.keys() == exact.keys()
    for name, gradient in exact.items():
        _equal(backend, gradients[name], gradient)
    inputs = [x.detach() for x in inputs]
    of_query, by_autodiff = autodiff_gradients(backend, layer, g, *inputs, **given)
    for name, gradient in {"query": of_query, **by_autodiff}.items():
        _equal(backend, gradient, exact[name])


ADAPTIVE = [{}, {"div_value": 2.0, "head_bias": True}]


def _adaptive(backend, layers, kwargs):
    """Return a layer with its state, and rows and targets for it."""
    args = (16, 20, [4, 10])
    state = _state("AdaptiveLogSoftmaxWithLoss", *args, **kwargs)
    layer = layers.AdaptiveLogSoftmaxWithLoss.from_state_dict(state, *args, **kwargs)
    rng = np.random.default_rng(8)
    x = backend.array(rng.standard_normal((30, 16)), "float64")
    return layer, state, x, backend.array(rng.integers(0, 20, 30), "int64")


@pytest.mark.parametrize("kwargs", ADAPTIVE)
def test_adaptive_softmax_beside_numpy(kwargs, layers, backend):
    layer, _, x, target = _adaptive(backend, layers, kwargs)
    plain, *_ = _adaptive(backend, numpy_layers, kwargs)
    output, loss = layer(x, target)
    assert layer(x, target).loss.shape == ()
    expected, expected_loss = plain(backend.asnumpy(x), backend.asnumpy(target))
    _equal(backend, output, backend.array(expected))
    _equal(backend, loss, backend.array(expected_loss))
    log_prob = to_float64(backend, layer.log_prob(x))
    np.testing.assert_allclose(np.exp(log_prob).sum(-1), 1, rtol=1e-12)
    predicted = to_float64(backend, layer.predict(x))
    np.testing.assert_array_equal(predicted, log_prob.argmax(-1))


@pytest.mark.libraries("jax")
@pytest.mark.parametrize("kwargs", ADAPTIVE)
def test_adaptive_softmax_vjp_beside_autodiff(kwargs, layers, backend):
    import jax

    layer, _, x, target = _adaptive(backend, layers, kwargs)
    one = backend.array(1.0, "float64")
    gradients = written_gradients(layer, (None, one), x, target)
    of_layer, dx = jax.grad(lambda layer, x: layer(x, target).loss, (0, 1))(layer, x)
    expected = {"x": dx, **of_layer.state_dict()}
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        _equal(backend, gradients[name], gradient)


@pytest.mark.libraries("torch")
@pytest.mark.parametrize("kwargs", ADAPTIVE)
def test_adaptive_softmax_beside_torch(kwargs, layers, backend):
    """With the gradients of all."""
    import torch

    layer, state, x, target = _adaptive(backend, layers, kwargs)
    output, loss = layer(x, target)
    log_prob, predicted = layer.log_prob(x), layer.predict(x)
    gradients = written_gradients(layer, (None, backend.array(1.0, "float64")), x, target)
    theirs = _torch("AdaptiveLogSoftmaxWithLoss", state, 16, 20, [4, 10], **kwargs)
    leaf = x.requires_grad_()
    expected = theirs(leaf, target)
    _equal(backend, output, expected.output)
    _equal(backend, loss, expected.loss)
    _equal(backend, log_prob, theirs.log_prob(x))
    assert torch.equal(predicted, theirs.predict(x))
    parameters = dict(theirs.named_parameters())
    exact = torch.autograd.grad(expected.loss, [leaf, *parameters.values()])
    exact = dict(zip(["x", *parameters], exact, strict=True))
    assert gradients.keys() == exact.keys()
    for name, gradient in exact.items():
        _equal(backend, gradients[name], gradient)


def _small_rows(backend):
    return backend.array(np.random.default_rng(9).standard_normal((16, 3)), "float32")


@pytest.mark.libraries("torch")
def test_in_modules_of_torch(layers, backend):
    """A step of gradient descent makes the loss less, compiled."""
    x = _small_rows(backend)
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


@pytest.mark.libraries("jax")
def test_in_modules_of_jax(layers, backend):
    """A step of gradient descent makes the loss less, whatever the layer is in."""
    x = _small_rows(backend)
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
    gradients = eqx.filter_jit(eqx.filter_grad(lambda m, x: (m(x) ** 2).sum()))(inside, x)
    alone = jax.grad(lambda m: (m(x) ** 2).sum())(swish)
    np.testing.assert_allclose(gradients.act.beta, alone.beta, rtol=1e-6)

    class Linen(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            return self.param("act", lambda key: swish)(x)

    parameters = Linen().init(jax.random.key(0), x)
    np.testing.assert_array_equal(Linen().apply(parameters, x), expected)
    gradients = jax.grad(lambda p: (Linen().apply(p, x) ** 2).sum())(parameters)
    np.testing.assert_allclose(gradients["params"]["act"].beta, alone.beta, rtol=1e-6)

    class Nnx(flax.nnx.Module):
        def __init__(self):
            self.act = flax.nnx.data(swish)

        def __call__(self, x):
            return self.act(x)

    np.testing.assert_array_equal(flax.nnx.jit(lambda m, x: m(x))(Nnx(), x), expected)

    @jax.jit
    def step(layer, x):
        gradients = jax.grad(lambda layer: (layer(x) ** 2).sum())(layer)
        return jax.tree.map(lambda p, g: p - 0.01 * g, layer, gradients)

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


def test_reset_parameters(layers, backend):
    for name in ("PReLU", "MultiheadAttention", "AdaptiveLogSoftmaxWithLoss"):
        layer, expected = make(layers, name, seed=1), make(layers, name, seed=2)
        layer.reset_parameters(generator(layers, 2))
        for parameter, value in expected.state_dict().items():
            got = to_float64(backend, layer.state_dict()[parameter])
            np.testing.assert_allclose(got, to_float64(backend, value), rtol=1e-5, atol=1e-6)
