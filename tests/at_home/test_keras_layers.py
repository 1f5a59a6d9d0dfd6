"""Layers of this package as layers of Keras, on the backend that Keras runs on here."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from at_home.test_keras import pytestmark as pytestmark
from at_home.test_keras import run_elsewhere, save

import activations_xp as ax
from activations_xp.layers import keras as layers
from activations_xp.layers import numpy as numpy_layers

TRAINS = keras.backend.backend() != "numpy"  # where Keras has no `fit`
RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 6)).astype("f4") * 2
Y = np.sin(X[:, :2] * 2)

ARGUMENTS = {
    "Activation": {"activation": "elu", "alpha": 0.5, "learned": ["alpha"]},
    "LogMeanExp": {"axis": -1},
    "LogSumExp": {"axis": -1},
    "LayerNorm": {"normalized_shape": 6, "bias": False},
    "MultiHot": {"num_classes": 5},
    "OneHot": {"num_classes": 5},
    "RMSNorm": {"normalized_shape": 6, "eps": 1e-6},
    "Softmax2d": None,  # of images
}


def make(name, **kwargs):
    """Return a layer, whose arguments are 1.5 where they have no default."""
    cls = getattr(layers, name)
    given = ARGUMENTS.get(name, {})
    for p in cls._signature.parameters.values():
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            given = {p.name: 2 if p.name == "num_units" else 1.5, **given}
    return cls(**given, **kwargs)


NAMES = [name for name in layers.__all__ if ARGUMENTS.get(name, {}) is not None]
OF_LABELS = ("MultiHot", "OneHot")


def input_of(name):
    return RNG.integers(0, 5, (16, 6)) if name in OF_LABELS else X


def to_numpy(y):
    return keras.ops.convert_to_numpy(y)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer(name):
    """It gives the function's value, in the shape that Keras expects, also made from its config."""
    layer, x = make(name), input_of(name)
    assert isinstance(layer, keras.layers.Layer)
    y = to_numpy(layer(x))
    constants = {n: getattr(layer, n) for n in layer._constants if n != "training"}
    weights = {n: to_numpy(v) for n, v in layer.state_dict().items()}
    if layer.function is not ax.gumbel_softmax:
        axis = {"axis": (-1,)} if "normalized_shape" in vars(layer) else {}
        constants = {layer._parameter_names.get(n, n): v for n, v in constants.items()}
        exact = {n: v.astype("f8") for n, v in weights.items()}
        given = x if name in OF_LABELS else x.astype("f8")
        expected = layer.function(given, **{**constants, **exact, **axis})
        np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)
    dtype = "int32" if name in OF_LABELS else "float32"
    spec = layer(keras.Input((6,), dtype=dtype))
    assert spec.shape == (None, *y.shape[1:])
    config = layer.get_config()
    other = type(layer).from_config(config)
    assert other.get_config() == config
    if layer.function is not ax.gumbel_softmax:
        np.testing.assert_array_equal(to_numpy(other(x)), y)


LOADED = """
import pathlib, sys, numpy as np
import activations_xp, keras
folder = pathlib.Path(sys.argv[1])
x = np.load(folder / "x.npy")
for path in sorted([*folder.glob("*.keras"), *folder.glob("model*.h5")]):
    model = keras.models.load_model(path)
    np.save(folder / f"{path.name}.npy", keras.ops.convert_to_numpy(model(x)))
"""


def test_layers_that_another_process_loads(tmp_path):
    """All layers of floats in one model, beside each other, with weights that are not the first."""
    np.save(tmp_path / "x.npy", X)
    inputs = keras.Input((6,))
    chosen = [n for n in NAMES if n not in (*OF_LABELS, "GumbelSoftmax", "PReLU")]
    outputs = [make(name)(inputs) for name in chosen]
    image = keras.layers.Reshape((3, 2))(inputs)
    for shared in (None, [1], [2]):
        image = layers.PReLU(shared_axes=shared)(image)
    model = keras.Model(inputs, [keras.layers.Flatten()(y) for y in outputs if len(y.shape) > 1])
    model = keras.Model(inputs, [*model.outputs, image])
    joined = keras.ops.concatenate([keras.layers.Flatten()(y) for y in model.outputs], axis=-1)
    model = keras.Model(inputs, joined)
    model.set_weights([w + 0.125 for w in model.get_weights()])
    save(model, tmp_path, 0)
    run_elsewhere(LOADED, str(tmp_path))
    expected = to_numpy(model(X))
    assert expected.shape[1] > 6 * 90
    for form in ("keras", "h5"):
        got = np.load(tmp_path / f"model_0.{form}.npy")
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(copied(X)), expected)


PAIRS = {
    "PReLU": (lambda: layers.PReLU(init=0.25), lambda: keras.layers.PReLU(quarter())),
    "PReLU shared": (
        lambda: layers.PReLU(init=0.25, shared_axes=[1]),
        lambda: keras.layers.PReLU(quarter(), shared_axes=[1]),
    ),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.3), lambda: keras.layers.LeakyReLU(0.3)),
    "ELU": (lambda: layers.ELU(0.5), lambda: keras.layers.ELU(0.5)),
    "ReLU": (
        lambda: layers.ReLU(max_value=1.5, negative_slope=0.25, threshold=0.125),
        lambda: keras.layers.ReLU(1.5, 0.25, 0.125),
    ),
    "Softmax": (lambda: layers.Softmax(-1), lambda: keras.layers.Softmax(-1)),
    "Activation": (lambda: layers.Activation(ax.mish), lambda: keras.layers.Activation("mish")),
}


def quarter():
    return keras.initializers.Constant(0.25)


def fit(layer):
    """Return the losses of three epochs, and the weights after them."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8), layer, keras.layers.Dense(2)]
    )
    model.compile(keras.optimizers.Adam(0.05), "mse")
    history = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, shuffle=False)
    return history.history["loss"], model.get_weights()


@pytest.mark.compiled
@pytest.mark.parametrize("name", PAIRS if TRAINS else [])
def test_fit_beside_keras(name):
    ours, theirs = (fit(make_layer()) for make_layer in PAIRS[name])
    assert ours[0][2] < ours[0][0]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-5)
    assert len(ours[1]) == len(theirs[1])
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    if name.startswith("PReLU"):
        assert (abs(ours[1][2] - 0.25) > 0.001).any()  # it has learned


@pytest.mark.parametrize("name", PAIRS)
def test_values_beside_keras(name):
    ours, theirs = (to_numpy(make_layer()(X)) for make_layer in PAIRS[name])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_random_layers():
    """They draw in training alone, from their own seed."""
    for make_layer in (layers.Dropout, layers.RReLU, layers.AlphaDropout):
        x = -np.ones((8, 64), "f4")
        first, second = make_layer(seed=1), make_layer(seed=1)
        assert len(np.unique(to_numpy(first(x)))) == 1
        y = to_numpy(first(x, training=True))
        assert len(np.unique(y)) > 1
        np.testing.assert_array_equal(to_numpy(second(x, training=True)), y)
        assert (to_numpy(first(x, training=True)) != y).any()
        copied = make_layer.from_config(first.get_config())
        np.testing.assert_array_equal(to_numpy(copied(x, training=True)), y)
    dropped = to_numpy(layers.Dropout(0.25, seed=0)(np.ones(10_000, "f4"), training=True))
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(dropped[dropped != 0], 4 / 3, rtol=1e-6)


def test_masks():
    """A mask of Keras passes elementwise layers, and is one of the softmax."""
    mask = RNG.random((16, 6)) < 0.5
    ours, theirs = (to_numpy(m.Softmax()(X, mask=mask)) for m in (layers, keras.layers))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    steps = keras.layers.Masking()(X.reshape(16, 3, 2))
    for layer in (layers.GELU(), layers.PReLU(), layers.LayerNorm(2)):
        assert layer(steps).shape == (16, 3, 2)
    inputs = keras.Input((3, 2))
    masked = layers.GELU()(keras.layers.Masking()(inputs))
    assert keras.src.backend.get_keras_mask(masked) is not None


def test_mixed_precision():
    x = X.astype("f2")
    layer = layers.PReLU(init=0.5, dtype="mixed_float16")
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert keras.backend.standardize_dtype(layer.weight.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(y), np.where(x > 0, x, x / 2))


def test_learned_parameters_and_their_state():
    """A state goes to Keras and back, and a config has the first values."""
    function = functools.partial(ax.aconc, p1=1.5)
    layer = layers.Activation(function, learned=["p1", "beta"], name="acon")
    assert layer.name == "acon"
    assert [w.shape for w in layer.trainable_weights] == [(1,), (1,)]
    config = layer.get_config()
    layer.set_weights([np.full(1, 3.0), np.full(1, 4.0)])
    other = layers.Activation.from_config(config)
    assert [float(w[0]) for w in other.get_weights()] == [1.5, 1.0]
    other.load_state_dict(
        numpy_layers.Activation("aconc", learned=["p1", "beta"], p1=3.0, beta=4.0).state_dict()
    )
    np.testing.assert_array_equal(to_numpy(other(X)), to_numpy(layer(X)))
    with pytest.raises(ValueError, match=r"^Activation: state_dict must have \['beta', 'p1'\]"):
        other.load_state_dict({"p1": np.ones(1)})


def test_reset():
    layer = layers.PReLU(num_parameters=3)
    layer.set_weights([np.ones(3)])
    layer.reset_parameters()
    np.testing.assert_array_equal(layer.get_weights()[0], np.full(3, 0.25, "f4"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: layers.ReLU(6.0), "ReLU: too many positional arguments"),
        (lambda: layers.GELU(approximat=True), "GELU: got an unexpected keyword"),
        (lambda: layers.GELU(seed=3), "GELU: seed must be None"),
        (lambda: layers.LeakyReLU("x"), "LeakyReLU: negative_slope must be"),
        (lambda: layers.Activation("typo"), "no activation is named 'typo'"),
        (lambda: layers.Activation(np.tanh), "Activation: "),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_a_subclass_of_the_users():
    class Doubled(layers.Swish):
        def __init__(self, **kwargs):
            super().__init__(beta=2.0, **kwargs)

    layer = Doubled(name="mine")
    assert layer.name == "mine"
    np.testing.assert_allclose(
        to_numpy(layer(X)), ax.silu(X.astype("f8"), 2.0), rtol=1e-5, atol=1e-6
    )
