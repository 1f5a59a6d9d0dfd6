"""Networks on scikit-learn's digits, in the style of each library, with its activation replaced.

A client keeps its outputs and its gradients when its own activation gives way to ours: the one
written by hand from the formula, scikit-learn's style, or the one that the library has.
"""

from __future__ import annotations

import contextlib
import functools
import math

import numpy as np
import pytest
from oracle import (
    CASES,
    FUNCTIONS,
    domain_of,
    has_parameter_derivatives,
    import_object,
    is_first_of_family,
    kind_of,
    output_axis,
    over,
    required_parameters,
    rowwise_parameters,
    stated_peer,
    takes_array,
)
from sklearn.datasets import load_digits

import activations_xp as ax
from activations_xp import _oracle
from activations_xp._dispatch import backend_of

PIXELS, LABELS = (a[:24] for a in load_digits(return_X_y=True))
PIXELS = PIXELS / 16
ONE_HOT = np.eye(10)[LABELS]
HIDDEN = 6
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def _weights(width=HIDDEN):
    rng = np.random.default_rng(6)
    shapes = {"w1": (64, HIDDEN), "b1": (1, HIDDEN), "w2": (width, 10), "b2": (1, 10)}
    return {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()}


def _agree(a, b, tolerance, what):
    """Equal relative to the largest number of the array."""
    scale = max(np.abs(b).max(), 1e-3)
    np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance, err_msg=what)


# as scikit-learn writes it


class Classifier:
    """MLPClassifier's forward pass, and the backward pass of its loss."""

    def __init__(self, activation, softmax, weights):
        self.activation, self.softmax, self.weights = activation, softmax, weights

    def predict_proba(self, x):
        w = self.weights
        return self.softmax(self.activation(x @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"])

    def gradients(self, x, one_hot, derivative, ones):
        """Return the gradients of the summed cross-entropy; `derivative` is the activation's."""
        w, xp = self.weights, backend_of(x).xp
        t = x @ w["w1"] + w["b1"]
        error = self.predict_proba(x) - one_hot
        g = (error @ xp.matrix_transpose(w["w2"])) * derivative(t)
        return {
            "w1": xp.matrix_transpose(x) @ g,
            "b1": ones @ g,
            "w2": xp.matrix_transpose(self.activation(t)) @ error,
            "b2": ones @ error,
        }


def _by_hand(case):
    """Return the function as somebody writes it who has only NumPy and the formula."""
    names = ("abs", "exp", "expm1", "log", "log1p", "maximum", "minimum", "sqrt", "tanh", "where")
    words = {name: getattr(np, name) for name in (*names, "max", "sum", "reshape", "sin", "cos")}
    words |= {name: getattr(np, name) for name in ("arange", "average", "clip", "cumsum", "sort")}
    words |= {"pi": math.pi, "inf": math.inf}
    words["simplex"] = functools.partial(_oracle.simplex, contextlib.nullcontext())
    words |= {name: np.vectorize(getattr(math, name)) for name in ("erf", "erfc")}
    code = compile(case.formula, "<formula>", "eval")
    parameters = case.all_parameters

    def formula(x):
        a, b = np.array_split(x, 2)  # some formulas work on halves
        return np.asarray(eval(code, {**words, "a": a, "b": b, **parameters, "x": x}), float)

    if output_axis(case.function) is None:
        return formula
    return lambda x: np.apply_along_axis(formula, -1, x)


def _softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _fits_a_layer(function):
    """Return whether it takes any number, and the result is a row for each row of x."""
    definition = function.definition
    takes_all = "axis" in definition.defaults and definition.defaults["axis"] is None
    is_rowwise = output_axis(function) != "added" and not takes_all
    return domain_of(definition) == REALS and (output_axis(function) is None or is_rowwise)


REALS = (-math.inf, math.inf)
FITTING = [case for case in CASES if _fits_a_layer(case.function)]


def _width(activation):
    return activation(np.zeros((1, HIDDEN))).shape[1]


@pytest.mark.sweep_with("jax")
@over("case", FITTING)
def test_forward_pass_beside_formula(case, backend, standard_dtype):
    by_hand = _by_hand(case)
    weights = _weights(_width(by_hand))
    expected = Classifier(by_hand, _softmax, weights).predict_proba(PIXELS)
    there = {name: backend.array(value, standard_dtype) for name, value in weights.items()}
    ours = functools.partial(case.function, **case.parameters)
    pixels = backend.array(PIXELS, standard_dtype)
    got = Classifier(ours, ax.softmax, there).predict_proba(pixels)
    _agree(backend.asnumpy(got), expected, TOLERANCE[standard_dtype], str(case))


@pytest.mark.sweep_with("jax")
@over("case", [case for case in FITTING if output_axis(case.function) is None])
def test_backward_pass_beside_differences(case, backend, standard_dtype):
    weights = _weights()
    there = {name: backend.array(value, standard_dtype) for name, value in weights.items()}
    ours = functools.partial(case.function, **case.parameters)
    gradients = Classifier(ours, ax.softmax, there).gradients(
        backend.array(PIXELS, standard_dtype),
        backend.array(ONE_HOT, standard_dtype),
        functools.partial(case.function.derivative, **case.parameters),
        backend.array(np.ones((1, len(PIXELS))), standard_dtype),
    )
    for name, (direction, rise) in _numeric_rises(case).items():
        gradient = backend.asnumpy(gradients[name])
        tolerance = max(TOLERANCE[standard_dtype], 1e-9)  # that of the differences
        scale = np.sum(np.abs(gradient * direction))
        assert abs(np.sum(gradient * direction) - rise) <= tolerance * max(scale, 1e-3), name


@functools.lru_cache(maxsize=1)  # for the dtypes of a case
def _numeric_rises(case, h=1e-4):
    """Return directions, and how the summed cross-entropy rises along them, to fourth order."""
    activation, weights = _by_hand(case), _weights()
    rng = np.random.default_rng(8)

    def loss(**changed):
        p = Classifier(activation, _softmax, {**weights, **changed}).predict_proba(PIXELS)
        return -np.sum(np.log(p[ONE_HOT == 1]))

    def rise(name, direction):
        def at(step):
            return loss(**{name: weights[name] + step * direction})

        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    directions = {name: rng.normal(size=value.shape) for name, value in weights.items()}
    return {name: (d, rise(name, d)) for name, d in directions.items()}


# a training loop

SLOW_WITH_JAX = [pytest.mark.sweep_with("jax")]
STEPS, RATE = 5, 0.01
LAYERS = ("w1", "b1", "w2", "b2")


def _trainable(case):
    """Return the parameters that have a derivative, with their values if those are numbers."""
    specs = case.definition.parameters
    return {
        name: value
        for name, value in case.all_parameters.items()
        if has_parameter_derivatives(case.function) and takes_array(specs[name])
        if value is not None and abs(value) < math.inf
    }


TRAINED = [
    pytest.param(case, learned, marks=[] if is_first_of_family(case) else SLOW_WITH_JAX)
    for case in CASES
    if domain_of(case.definition) == REALS
    for learned in ([{}, _trainable(case)] if _trainable(case) else [{}])
]


@pytest.mark.float64
@over(("case", "learned"), TRAINED)
def test_training_loop_with_vjp(case, learned, backend):
    """NumPy learns what autograd learns, from the same arrays and the same function."""
    given = rowwise_parameters(case.function) | case.parameters
    weights = _weights(_rows(np, case.function(np.zeros((1, HIDDEN)), **given)).shape[1])
    weights |= {name: np.full(1, value) for name, value in learned.items()}
    step = functools.partial(_step_by_hand, case.function, given)
    losses, gradients = _train(STEPS, step, weights, np.asarray)
    assert losses[-1] < losses[0]
    assert gradients["w1"].any() != _is_constant(case, given)
    if backend.library == "numpy":
        _check_differences(step, weights, gradients)
    else:
        steps = {"torch": _step_of_torch, "jax": _step_of_jax}
        step = steps.get(backend.library, _step_by_hand)
        step = functools.partial(step, case.function, given)
        expected, there = _train(STEPS, step, weights, backend.array)
        assert backend.asnumpy(there["w1"]).any() == gradients["w1"].any()
        _agree(losses, expected, TOLERANCE["float64"], str(case))


def _is_constant(case, given):
    """Return whether it does not change with x."""
    x = np.random.default_rng(6).normal(size=(24, HIDDEN))
    near = x + 1e-6 * np.cos(np.arange(x.size)).reshape(x.shape)
    return (case.function(x, **given) == case.function(near, **given)).all()


def _train(steps, step, weights, array):
    """Return the losses before each step of gradient descent, and the first gradients."""
    losses, first = [], {}
    pixels, one_hot = array(PIXELS), array(ONE_HOT)
    weights = {name: array(value) for name, value in weights.items()}
    for _ in range(steps):
        loss, gradients = step(weights, pixels, one_hot)
        losses.append(float(loss))
        first = first or gradients
        weights = {name: w - RATE * gradients[name] for name, w in weights.items()}
    return np.array(losses), first


def _rows(xp, y):
    return xp.reshape(y, (y.shape[0], math.prod(y.shape[1:])))


def _step_by_hand(function, given, weights, pixels, one_hot):
    """The loss, and backward through softmax, layer, function and layer."""
    xp = backend_of(pixels).xp
    learned = weights.keys() - set(LAYERS)
    given = {**given, **{name: weights[name] for name in learned}}
    t = pixels @ weights["w1"] + weights["b1"]
    y = function(t, **given)
    hidden = _rows(xp, y)
    outputs = hidden @ weights["w2"] + weights["b2"]
    outputs = outputs - xp.max(outputs, axis=1, keepdims=True)
    row_sum = xp.sum(xp.exp(outputs), axis=1, keepdims=True)
    loss = xp.mean(xp.log(row_sum)) - xp.sum(outputs * one_hot) / len(LABELS)
    error = (xp.exp(outputs) / row_sum - one_hot) / len(LABELS)
    g = xp.reshape(error @ xp.matrix_transpose(weights["w2"]), y.shape)
    found = function.vjp(g, t, **given)
    dt = found["x"]
    gradients = {
        "w1": xp.matrix_transpose(pixels) @ dt,
        "b1": xp.sum(dt, axis=0, keepdims=True),
        "w2": xp.matrix_transpose(hidden) @ error,
        "b2": xp.sum(error, axis=0, keepdims=True),
    }
    return loss, gradients | {name: found[name] for name in learned}


def _step_of_torch(function, given, weights, pixels, one_hot):
    import torch

    leaves = {name: w.requires_grad_() for name, w in weights.items()}
    learned = dict(leaves)
    w1, b1, w2, b2 = (learned.pop(name) for name in LAYERS)
    y = function(pixels @ w1 + b1, **{**given, **learned})
    loss = torch.nn.functional.cross_entropy(_rows(torch, y) @ w2 + b2, one_hot)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return loss.detach(), dict(zip(leaves, gradients, strict=True))


def _step_of_jax(function, given, weights, pixels, one_hot):
    import jax

    first, last = _layers_of_jax()

    def loss(weights):
        learned = dict(weights)
        w1, b1, w2, b2 = (learned.pop(name) for name in LAYERS)
        with jax.disable_jit(False):
            t = first(pixels, w1, b1)
        y = function(t, **{**given, **learned})
        with jax.disable_jit(False):
            return last(_rows(jax.numpy, y), w2, b2, one_hot)

    return jax.value_and_grad(loss)(weights)


@functools.cache
def _layers_of_jax():
    """Return the layers, which are the same for every function and compiled once for all."""
    import jax

    def last(hidden, w, b, one_hot):
        return -jax.numpy.sum(jax.nn.log_softmax(hidden @ w + b) * one_hot) / len(one_hot)

    return jax.jit(lambda x, w, b: x @ w + b), jax.jit(last)


def _check_differences(step, weights, gradients, h=1e-7):
    """Check that the loss changes along one direction as the gradient of each weight says."""
    for name, gradient in gradients.items():
        direction = np.cos(np.arange(gradient.size)).reshape(gradient.shape)
        low, high = (
            step({**weights, name: weights[name] + s * direction}, PIXELS, ONE_HOT)[0]
            for s in (-h, h)
        )
        rise = (high - low) / (2 * h)
        np.testing.assert_allclose(np.sum(gradient * direction), rise, rtol=1e-6, atol=3e-8)


# as each library has it


def _counterparts(library):
    """Generate our functions and the library's, with the keywords that our definition states."""
    for function in FUNCTIONS:
        peer = stated_peer(function, library)
        definition = function.definition
        is_random = definition.noise is not None and "training" not in definition.parameters
        if peer is not None and _fits_a_layer(function) and not is_random:
            path, stated = peer
            theirs = import_object(path)
            if stated.pop("training", False):  # in which nothing is the same twice
                theirs = functools.partial(theirs, training=False)
            if "normalized_shape" in stated:
                theirs = _by_shape(theirs, function.definition.defaults["epsilon"])
            yield function, theirs, stated


def _by_shape(function, epsilon):
    """Return a function of the sizes of the last axes as one that takes whatever is stated."""
    return lambda x, **stated: function(x, x.shape[-1:], eps=epsilon)


def _at_same_parameters(function, theirs, stated):
    """Return both where they are the same, as functions of x and what is learned."""
    definition = function.definition
    ours = {k: v for k, v in stated.items() if k in definition.parameters and k != "axis"}
    if "axis" in stated and output_axis(function) is None:
        ours["axis"] = stated["axis"]
    # what is stated and not ours is the axis under another name, with another default; not every
    # library counts from the end
    default = definition.defaults.get("axis")
    axis = dict.fromkeys(stated.keys() - ours.keys(), 1 if default == -1 else default)
    numbers = {k: v for k, v in required_parameters(function).items() if k in _required(definition)}
    for name in _learned(function):
        del numbers[name]
    return (
        functools.partial(function, **ours, **numbers),
        functools.partial(theirs, **axis, **numbers),
    )


def _required(definition):
    return definition.parameters.keys() - definition.defaults.keys()


def _learned(function):
    """Return the parameters without a default of which every library has an array."""
    return [
        name
        for name in _required(function.definition)
        if kind_of(function, name) in ("operand", "channel array")
    ]


def _torch_client(backend, dtype, activation, learned, x):
    import torch

    class Network(torch.nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.first = torch.nn.Linear(64, HIDDEN).to(x)
            self.last = torch.nn.Linear(len(weights["w2"]), 10).to(x)
            self.learned = torch.nn.ParameterList(backend.array(v, dtype) for v in learned)
            for layer, w, b in [(self.first, "w1", "b1"), (self.last, "w2", "b2")]:
                weight, bias = (
                    backend.array(weights[w].T, dtype),
                    backend.array(weights[b][0], dtype),
                )
                layer.load_state_dict({"weight": weight, "bias": bias})

        def forward(self, x):
            return self.last(activation(self.first(x), *self.learned))

    values = [backend.array(v, dtype) for v in learned]
    network = Network(_weights(activation(x[:, :HIDDEN], *values).shape[1]))
    outputs = network(x)
    torch.nn.functional.cross_entropy(outputs, backend.array(LABELS, "int64")).backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    return {"outputs": outputs, **gradients}


def _jax_client(backend, dtype, activation, learned, x):
    import jax

    one_hot = backend.array(ONE_HOT, dtype)
    values = [backend.array(v, dtype) for v in learned]
    weights = _weights(activation(x[:, :HIDDEN], *values).shape[1])
    tree = {name: backend.array(value, dtype) for name, value in weights.items()}
    tree["learned"] = values

    @jax.jit
    def loss(tree, x):
        hidden = activation(x @ tree["w1"] + tree["b1"], *tree["learned"])
        outputs = hidden @ tree["w2"] + tree["b2"]
        return -(jax.nn.log_softmax(outputs) * one_hot).mean(), outputs

    gradients, outputs = jax.grad(loss, has_aux=True)(tree, x)
    named = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(gradients)}
    return {"outputs": outputs, **named}


def _numpy_client(backend, dtype, activation, learned, x):
    weights = {name: backend.array(value, dtype) for name, value in _weights().items()}
    outputs = Classifier(activation, ax.softmax, weights).predict_proba
    return {"outputs": outputs(x)}


CLIENTS = {"torch": ("torch", _torch_client), "jax": ("jax", _jax_client)}


@pytest.mark.compiled
def test_network_with_peer_replaced(backend, standard_dtype):
    library, client = CLIENTS.get(backend.library, ("scipy", _numpy_client))
    counterparts = list(_counterparts(library))
    assert counterparts

    def train(x):
        results = {}
        for function, theirs, stated in counterparts:
            ours, theirs = _at_same_parameters(function, theirs, stated)
            if library == "scipy":
                theirs = functools.partial(_through_numpy, backend, theirs)
            learned = [np.full(1, required_parameters(function)[n]) for n in _learned(function)]
            both = [client(backend, standard_dtype, f, learned, x) for f in (ours, theirs)]
            results[function.__name__] = both
        return results

    if library == "jax":
        import jax

        train = jax.jit(train)
    results = train(backend.array(PIXELS, standard_dtype))
    for function, _, _ in counterparts:
        got, expected = results[function.__name__]
        assert got.keys() == expected.keys()
        tolerance = _tolerance(backend, function, standard_dtype)
        for name in got:
            a, b = backend.asnumpy(got[name]), backend.asnumpy(expected[name])
            assert a.dtype == standard_dtype
            _agree(a, b, tolerance, f"{function.__name__}: {name}")


def _tolerance(backend, function, dtype):
    """Return a wider one where the library's own kernel is inaccurate, and so not taken."""
    if backend.library == "torch":
        from activations_xp.backends.torch import NATIVE

        native = NATIVE.get(function.__name__)
        if native is not None and dtype in {
            str(d).removeprefix("torch.") for d in native.inaccurate_dtypes
        }:
            return 1e-7
    return TOLERANCE[dtype]


def _through_numpy(backend, function, x):
    values = function(backend.asnumpy(x))
    return backend.array(values, values.dtype.name)
