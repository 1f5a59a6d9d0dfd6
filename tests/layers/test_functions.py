"""The layer of each function: PyTorch's own class where it has one, and one like it elsewhere."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle

import numpy as np
import pytest
from oracle import required_parameters
from tools import layer_types

import activations_xp as ax
from activations_xp.layers import _functions
from activations_xp.layers._module import to_numpy

pytestmark = [pytest.mark.libraries("numpy", "torch", "jax")]


@pytest.fixture
def layers(backend):
    """The module of the backend's layers."""
    return importlib.import_module(f"activations_xp.layers.{backend.library}")


def name_of_class(function):
    return function.definition.layer.rpartition(".")[2]


def arguments(function):
    given = required_parameters(function)
    return {name: value for name, value in given.items() if name not in ("noise", "training")}


def test_every_function_has_a_class(activation, layers, backend):
    """With the values of the function."""
    if activation is ax.prelu:  # whose class has the weight
        layer = layers.PReLU()
        given = {"weight": 0.25}
    elif activation in (ax.layer_norm, ax.rms_norm):
        layer, given = getattr(layers, name_of_class(activation))(6), {}
        given = {"epsilon": layer.eps or 2.0**-23}
    else:
        given = arguments(activation)
        layer = getattr(layers, name_of_class(activation))(**given)
        assert layer.function is activation
        if "dim" in inspect.signature(type(layer)).parameters:
            layer.dim = given["axis"] = -1
        if activation is ax.softplus:
            given["threshold"] = 20
    x = backend.array(np.linspace(0.05, 0.95, 24).reshape(4, 6), "float32")
    noise = {"noise": 0.5} if activation.definition.noise is not None else {}
    got, expected = layer.eval()(x, **noise), activation(x, **given, **noise)
    np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


def test_names():
    """A name is the function's own in CamelCase, or that in the literature; no two are the same."""
    activations = [f for f in map(ax.get, ax.names()) if f.definition.is_activation]
    found = [name_of_class(f) for f in activations]
    assert len(set(found)) == len(found)
    assert set(found) <= set(_functions.CLASSES)
    for function, name in zip(activations, found, strict=True):
        assert name.lower() == function.__name__.replace("_", "")


@pytest.mark.once
def test_types_are_current():
    """Type checkers read these files."""
    for name, text in layer_types.files().items():
        assert (layer_types.FOLDER / name).read_text() == text, "run nox -s tables"


def test_in_place(layers, backend):
    x = backend.array([-1.0, 2.0], "float32")
    for layer in (layers.GELU(inplace=True), layers.ReLU(True), layers.PReLU(inplace=True)):
        expected = to_numpy(type(layer)()(x))
        if backend.library == "jax":
            with pytest.raises(TypeError, match="inplace needs an array that can be written to"):
                layer(x)
            continue
        y = x + 0
        assert layer(y) is y
        np.testing.assert_array_equal(to_numpy(y), expected)


@pytest.mark.once
def test_arguments_that_are_refused(layers):
    for call, kind, words in (
        (lambda: layers.GELU(approx="tanh"), TypeError, "^GELU: got an unexpected .* 'approx'"),
        (lambda: layers.SReLU(0.0), TypeError, "^SReLU: missing a required argument: 'a_left'"),
        (lambda: layers.ELU(learned=["beta"]), ValueError, "^ELU: learned must be of"),
        (lambda: layers.Softmax(inplace=True), TypeError, "^Softmax: .* 'inplace'"),
        (lambda: layers.Activation("softmax", inplace=True), ValueError, "inplace must be False"),
        (lambda: layers.Activation(abs), TypeError, "a string or a function of this package, got"),
        (lambda: layers.Activation("elu", dim=0), TypeError, "elu has no parameter 'dim'; its .*a"),
    ):
        with pytest.raises(kind, match=words):
            call()


def test_activation_takes_names_and_functions(layers, backend):
    x = backend.array(np.linspace(-2, 2, 5), "float32")
    expected = to_numpy(ax.gelu(x, "tanh"))
    for layer in (
        layers.Activation("GELU", approximate="tanh"),
        layers.Activation("Gelu_New"),
        layers.Activation(ax.gelu, approximate="tanh"),
        layers.Activation(ax.get("gelu_new")),
        layers.Activation(ax.get({"name": "gelu", "approximate": "tanh"})),
    ):
        for each in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            np.testing.assert_array_equal(to_numpy(each(x)), expected)


def test_subclass(layers, backend):
    class Own(layers.LeakyReLU):
        def __init__(self, slope):
            super().__init__(slope, learned=["negative_slope"])

    layer = Own(0.5)
    assert list(inspect.signature(Own).parameters) == ["slope"]
    assert repr(layer) == "Own(learned=('negative_slope',))"
    assert tuple(layer.negative_slope.shape) == (1,)
    got = layer(backend.array([-2.0, 2.0], "float32"))
    assert to_numpy(got).tolist() == [-1.0, 2.0]
