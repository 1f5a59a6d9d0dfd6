"""Functions of this package in models of Keras: saved, loaded elsewhere, cloned, symbolic."""

from __future__ import annotations

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest

import activations_xp as ax
from activations_xp.dropin import keras as dropin
from activations_xp.dropin import keras_ops, torch

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FUNCTIONS = {
    "activations_xp>leaky_relu": ax.leaky_relu,  # of another slope than that of Keras
    "activations_xp>sparsemax": ax.sparsemax,
    "activations_xp>tanhexp": ax.tanhexp,  # which Keras has not
    "activations_xp>gelu.accurate": ax.gelu.accurate,
    "activations_xp>dropin.keras.squareplus": dropin.squareplus,
    "activations_xp>dropin.keras_ops.gelu": keras_ops.gelu,
    "activations_xp>dropin.torch.softplus": torch.softplus,
}
BOUND = {
    "number": ax.get({"name": "leaky_relu", "negative_slope": 0.3}),
    "words": ax.get("gelu_new"),
    "several": ax.get({"name": "relu", "max_value": 2.0, "threshold": 0.5}),
    "axes": ax.get({"name": "softmax", "axis": (1,)}),
    "tensor": ax.get(
        {"name": "leaky_relu", "negative_slope": keras.ops.linspace(0.1, 0.5, 3, dtype="float32")}
    ),
}
GIVEN = {**FUNCTIONS, **BOUND}
X = np.random.default_rng(0).standard_normal((5, 4)).astype("f4") * 3

LOADED = """
import pathlib, sys, keras, numpy as np
import activations_xp
folder = pathlib.Path(sys.argv[1])
x = np.load(folder / "x.npy")
for path in sorted(folder.glob("model*")):
    if path.suffix == ".json":
        model = keras.models.model_from_json(path.read_text())
        model.load_weights(folder / f"of_{path.stem}.weights.h5")
    else:
        model = keras.models.load_model(path)
    np.save(folder / f"{path.name}.npy", keras.ops.convert_to_numpy(model(x)))
"""
"""Loads every model in a folder and saves what it makes of x there.

It imports Keras before this package; here, this package comes first.
"""


def run_elsewhere(code, *args):
    """Run a program in a process of its own, with the backend of Keras here."""
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def predict(model):
    return keras.ops.convert_to_numpy(model(X))


def make_model(function):
    """Return a model with the function in a layer of Keras, in a layer of its own and as a node."""
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, activation=function)(inputs)
    x = keras.layers.Activation(function)(x)
    return keras.Model(inputs, function(function(x)))


def save(model, folder, name):
    """Save a model in each form that Keras has."""
    for suffix in ("keras", "h5"):
        model.save(folder / f"model_{name}.{suffix}")
    (folder / f"model_{name}.json").write_text(model.to_json())
    model.save_weights(folder / f"of_model_{name}.weights.h5")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The results of each model, here and in the process that loads it, by form."""
    folder = tmp_path_factory.mktemp("keras")
    np.save(folder / "x.npy", X)
    here = {}
    for i, (name, function) in enumerate(GIVEN.items()):
        model = make_model(function)
        save(model, folder, i)
        here[name] = predict(model)
    run_elsewhere(LOADED, str(folder))
    forms = ("keras", "h5", "json")
    return {
        name: (value, [np.load(folder / f"model_{i}.{form}.npy") for form in forms])
        for i, (name, value) in enumerate(here.items())
    }


@pytest.mark.parametrize("name", GIVEN)
def test_a_model_that_another_process_loads(name, elsewhere):
    here, there = elsewhere[name]
    dense, *_ = make_model(GIVEN[name]).layers[1:]
    for value in there:
        np.testing.assert_allclose(value, here, rtol=1e-6, atol=1e-7)
    # it is not what Keras makes of the name alone
    assert np.abs(here).max() > 0
    assert dense.activation is GIVEN[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_names_of_functions(name):
    function = FUNCTIONS[name]
    assert keras.saving.get_registered_name(function) == name
    assert keras.saving.get_registered_object(name) is function
    assert keras.activations.get(keras.activations.serialize(function)) is function


def test_every_function_is_registered():
    """Each of ours that has the name of one of Keras', and all others."""
    for name in ax.names():
        function = ax.get(name)
        for form in (function, function.accurate):
            config = keras.activations.serialize(form)
            assert config["config"] == f"activations_xp>{form.__qualname__}"
            assert keras.activations.deserialize(config) is form


@pytest.mark.parametrize("name", BOUND)
def test_bound_parameters(name):
    """The result of `get` is a partial that Keras can save."""
    function = BOUND[name]
    assert isinstance(function, functools.partial)
    loaded = keras.activations.deserialize(keras.activations.serialize(function))
    assert loaded.func is function.func
    assert loaded.keywords.keys() == function.keywords.keys()
    for key, value in function.keywords.items():
        assert type(loaded.keywords[key]) is type(value)
        np.testing.assert_array_equal(
            *(
                keras.ops.convert_to_numpy(v) if name == "tensor" else v
                for v in (loaded.keywords[key], value)
            )
        )


def test_a_partial_of_the_users_is_refused_by_keras():
    layer = keras.layers.Dense(3, activation=functools.partial(ax.leaky_relu, negative_slope=0.3))
    with pytest.raises(TypeError, match=r"Cannot serialize object functools\.partial"):
        layer.get_config()


def test_a_process_without_this_package(monkeypatch):
    """Keras names the package and the function, and takes none of its own instead."""
    config = keras.layers.Dense(3, activation=ax.leaky_relu).get_config()
    monkeypatch.delitem(keras.saving.get_custom_objects(), "activations_xp>leaky_relu")
    with pytest.raises(TypeError, match="Could not locate function 'activations_xp>leaky_relu'"):
        keras.layers.Dense.from_config(config)


@pytest.mark.parametrize("name", GIVEN)
def test_clone_and_config(name):
    model = make_model(GIVEN[name])
    for copied in (keras.models.clone_model(model), keras.Model.from_config(model.get_config())):
        copied.set_weights(model.get_weights())
        np.testing.assert_array_equal(predict(copied), predict(model))


def test_symbolic_calls():
    """A function of a symbolic tensor is a node, with its arguments, and so is its derivative."""
    x = keras.Input((4,))
    y = ax.logaddexp(ax.gelu(x, approximate="tanh"), ax.softmax.accurate(x, axis=1))
    y = ax.sigmoid.derivative(y) + ax.glu(x)[:, :1]
    model = keras.Model(x, y)
    assert y.shape == (None, 4)
    exact = X.astype("f8")
    expected = ax.logaddexp(ax.gelu(exact, approximate="tanh"), ax.softmax(exact, axis=1))
    expected = ax.sigmoid.derivative(expected) + ax.glu(exact)[:, :1]
    copied = keras.Model.from_config(model.get_config())
    for each in (model, copied):
        np.testing.assert_allclose(predict(each), expected, rtol=1e-5, atol=1e-6)


def test_variables():
    x = keras.Variable(X)
    expected = ax.gelu(X.astype("f8"))
    got = keras.ops.convert_to_numpy(ax.gelu(x))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [{"axis": 7}, {"axis": "x"}])
def test_bad_arguments_of_a_symbolic_call(bad):
    with pytest.raises((ValueError, TypeError), match="softmax: axis"):
        ax.softmax(keras.Input((4,)), **bad)
