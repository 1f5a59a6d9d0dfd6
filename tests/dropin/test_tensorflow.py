"""The drop-in of ``tf.nn`` and ``tf.math`` beside them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from oracle import over
from tools.peers import ROWS, PeerLibrary, is_close, untyped_parameters

import activations_xp as ax
import activations_xp.dropin.tensorflow as dropin
from activations_xp.dropin import keras2

THEIRS = SimpleNamespace(
    **{name: getattr(tf.nn, name, getattr(tf.math, name, None)) for name in dropin.__all__}
)
THEIRS.one_hot = tf.one_hot


def _gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        weights = np.linspace(0.5, 1.5, int(np.prod(y.shape))).reshape(y.shape)
        loss = tf.reduce_sum(y * tf.constant(weights, y.dtype))
    return tape.gradient(loss, x)


TENSORFLOW = PeerLibrary(
    ours=dropin,
    theirs=THEIRS,
    asarray=lambda values, dtype: tf.constant(np.asarray(values), dtype),
    asnumpy=lambda x: np.asarray(x.numpy()),
    gradient=_gradient,
    samples={
        "crelu": [{}, {"axis": 0}],
        "cumulative_logsumexp": [{}, {"axis": 1}, {"reverse": True, "axis": -1}],
        "dropout": [{"rate": 0}],
        "gelu": [{}, {"approximate": True}],
        "l2_normalize": [{}, {"axis": -1, "epsilon": 0.5}, {"dim": 0}],
        "leaky_relu": [{}, {"alpha": 3.0}],
        "log_softmax": [{}, {"axis": 0}],
        "one_hot": [
            {"depth": 3},
            {"depth": 4, "axis": 0, "dtype": "int32"},
            {"depth": 4, "on_value": 5.0, "off_value": -1.0},
            {"depth": 4, "on_value": 5.0},
        ],
        "reduce_logsumexp": [{}, {"axis": 0, "keepdims": True}, {"axis": [0, 1]}],
        "silu": [{}, {"beta": 2.0}],
        "softmax": [{}, {"axis": 0}],
    },
    inaccurate={
        # exp(x) - 1 cancels
        "elu": "where(x > 0, x, expm1(x))",
        "selu": "1.05070098735548049342 * where(x > 0, x, 1.67326324235437728482 * expm1(x))",
        # a slope in float32
        "leaky_relu": "where(x > 0, x, alpha * x)",
        # the tail cancels
        "gelu": "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) if approximate"
        " else x / 2 * erfc(-x / sqrt(2))",
        # 0 beside 0
        "erfinv": lambda row: ax.erfinv.accurate(row),
    },
    bad={"axis": (9, -9), "depth": ("bad",)},
    kinks={"selu": (0.0, -1e-8)},  # the slope from the right, also where its value becomes 0
)
CALLS = [call for call in TENSORFLOW.calls if call[0] != "dropout"]
NAMES = [name for name in dropin.__all__ if name not in ("dropout", "swish")]


@over("name", dropin.__all__)
def test_signature(name):
    theirs = untyped_parameters(getattr(THEIRS, name))
    assert untyped_parameters(getattr(dropin, name)) == theirs


@over("dtype", ["float32", "float64"])
@over(("name", "given"), CALLS)
def test_values(name, given, dtype):
    TENSORFLOW.check_values(name, given, dtype)


@over("name", TENSORFLOW.inaccurate)
def test_values_where_tensorflow_is_wrong(name):
    TENSORFLOW.check_inaccurate(name)


@over(("name", "given"), [call for call in CALLS if call[0] != "one_hot"])
def test_gradients(name, given):
    TENSORFLOW.check_gradients(name, given)


@over("dtype", ["bfloat16", "float16", "float32", "float64"])
@over("name", [name for name in NAMES if name not in ("erfinv", "ndtri")])
def test_dtypes_and_shapes(name, dtype):
    TENSORFLOW.check_types(name, TENSORFLOW.given(name)[0], dtype)


@over("name", [name for name in NAMES if {"axis", "depth"} & set(TENSORFLOW.parameters(name))])
def test_bad_arguments_raise(name):
    for x, bad in TENSORFLOW._bad_arguments(name, TENSORFLOW.given(name)[0]):
        with pytest.raises((TypeError, ValueError), match=r"^\w+: \w+ "):
            getattr(dropin, name)(x, **bad)


@over("reverse", [False, True])
@over("axis", [0, 1, -1])
def test_exclusive_cumulative_logsumexp(axis, reverse):
    x = tf.constant(ROWS, "float32")
    given = {"axis": axis, "exclusive": True, "reverse": reverse}
    ours, theirs = (f.cumulative_logsumexp(x, **given).numpy() for f in (dropin, tf.math))
    assert (theirs == -np.inf).any()
    assert is_close(ours, theirs).all()


@over("seed", [None, 0])
@over("graph", [False, True])
def test_dropout(seed, graph):
    x = tf.ones((40, 500))

    def drop(x, **given):
        return dropin.dropout(x, 0.25, seed=seed, **given)

    if graph:
        drop = tf.function(drop)
    y = drop(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(4 / 3)}
    assert abs(y.mean() - 1) < 0.02
    rows = drop(x, noise_shape=(40, 1)).numpy()
    assert (rows == rows[:, :1]).all()
    assert 0 < (rows[:, 0] == 0).sum() < 40


def test_dropout_of_a_seed_is_the_same_elsewhere():
    x = np.ones((3, 4), "f4")
    assert (dropin.dropout(x, 0.5, seed=3) == dropin.dropout(x, 0.5, seed=3)).all()
    assert (dropin.dropout(x, 0.5, seed=3) != dropin.dropout(x, 0.5, seed=4)).any()


@over("rate", [-0.5, 1.0, 2])
def test_bad_rate_raises(rate):
    with pytest.raises(ValueError, match="rate must be"):
        dropin.dropout(np.ones(3), rate)


def test_both_names_of_an_axis_raise():
    with pytest.raises(ValueError, match="both 'axis' and 'dim'"):
        dropin.l2_normalize(np.ones(3), axis=0, dim=0)


OF_KERAS2 = [name for name in keras2.__all__ if hasattr(tf_keras.activations, name)]


@over("name", OF_KERAS2)
def test_keras2(name):
    """tf_keras itself, which tests/dropin/test_keras2.py has the formulas of."""
    ours, theirs = getattr(keras2, name), getattr(tf_keras.activations, name)
    assert untyped_parameters(ours) == untyped_parameters(theirs)
    x = tf.constant(ROWS, "float32")
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of tf_keras, about its own code
def test_layers_of_keras2_take_functions():
    layer = tf_keras.layers.Dense(4, activation=ax.tanhexp)
    model = tf_keras.Sequential([layer, tf_keras.layers.Activation(ax.sparsemax)])
    y = model(tf.constant(ROWS, "float32")).numpy()
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-5)
    model.compile("sgd", "mse")
    before = layer.kernel.numpy()
    model.fit(ROWS, np.eye(3, 4), verbose=0)
    assert (layer.kernel.numpy() != before).any()
