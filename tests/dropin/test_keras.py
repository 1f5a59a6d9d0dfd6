"""The drop-ins of Keras 3 beside it, on the backend that Keras runs on here."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from oracle import over
from tools.peers import (
    NOT_OF_ARRAYS,
    ROWS,
    PeerLibrary,
    is_close,
    public_functions,
    untyped_parameters,
)

import activations_xp as ax
import activations_xp.dropin.keras
import activations_xp.dropin.keras_ops

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _gradient(function, x):
    if BACKEND == "jax":
        import jax

        return jax.grad(lambda x: _loss(function(x)))(x)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = _loss(function(x))
        return tape.gradient(loss, x)
    leaf = x.clone().requires_grad_()
    _loss(function(leaf)).backward()
    return leaf.grad


def _type_of(function, x):
    if BACKEND == "jax":
        import jax

        return jax.eval_shape(function, x)
    return function(x)


def _loss(y):
    weights = np.linspace(0.5, 1.5, int(np.prod(y.shape))).reshape(y.shape)
    return keras.ops.sum(y * keras.ops.convert_to_tensor(weights, dtype="float32"))


def _sparsemax(row):
    descending = np.sort(row)[::-1]
    tau = ((np.cumsum(descending) - 1) / np.arange(1, row.size + 1)).max()
    return np.maximum(row - tau, 0)


NORMS = [{}, {"axis": (0, 1)}]
if BACKEND != "torch":  # where it takes the last axes only
    NORMS += [{"axis": 0, "epsilon": 0.5}]
SAMPLES = {
    "celu": [{}, {"alpha": 2.0}],
    "elu": [{}, {"alpha": 2.0}],
    "gelu": [{}, {"approximate": True}, {"approximate": False}],
    "hard_shrink": [{}, {"threshold": 1.0}],
    "layer_normalization": NORMS,
    "leaky_relu": [{}, {"negative_slope": 3.0}],
    "log_softmax": [{}, {"axis": 0}],
    "logaddexp": [{"x2": 0.5}],
    "logsumexp": [{}, {"axis": 0, "keepdims": True}],
    "multi_hot": [{"num_classes": 4}],  # with an axis of the labels Keras takes another for it
    "normalize": [{}, {"order": 3}, {"axis": 0, "epsilon": 1.0}],
    "one_hot": [{"num_classes": 4}, {"num_classes": 4, "axis": 0, "dtype": "int32"}],
    "rms_normalization": NORMS,
    "soft_shrink": [{}, {"threshold": 1.0}],
    "softmax": [{}, {"axis": 0}, {"axis": (0, 1)}, {"axis": None}],
    "squareplus": [{}, {"b": 1.0}],
    "threshold": [{"threshold": 0.25, "default_value": 20.0}],
}
RELU = [
    {},
    {"negative_slope": 0.25},
    {"max_value": 5.0},
    {"max_value": 6.0},
    {"threshold": 0.5, "negative_slope": 0.125, "max_value": 5.5},
]
INACCURATE = {
    # the tail cancels
    "gelu": "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) if approximate"
    " else x / 2 * erfc(-x / sqrt(2))",
    # the left side cancels, too, and the square overflows
    "squareplus": "(x + sqrt(x * x + b)) / 2",
    # the middle cancels
    "tanh_shrink": "x - tanh(x)",
    # a sum of sums, keras-team/keras#23425
    "sparsemax": _sparsemax,
}
if BACKEND == "numpy":
    # it is the larger of two lines
    INACCURATE["leaky_relu"] = "where(x > 0, x, negative_slope * x)"
if BACKEND == "torch":
    # it is a line from 20 on
    INACCURATE["softplus"] = "log(1 + exp(x))"

if BACKEND == "tensorflow":
    # exp(x) - 1 cancels, and a slope is one of float32
    INACCURATE["elu"] = "where(x > 0, x, alpha * expm1(x))"
    INACCURATE["selu"] = (
        "1.05070098735548049342 * where(x > 0, x, 1.67326324235437728482 * expm1(x))"
    )
    INACCURATE["leaky_relu"] = "where(x > 0, x, negative_slope * x)"
    INACCURATE["erfinv"] = lambda row: ax.erfinv.accurate(row)  # it is 0 beside 0

KINKS = {
    "relu": (0.0, 0.5, 5.0, 5.5),
    "leaky_relu": (0.0,),
    "hard_tanh": (-1.0, 1.0),
    "sparse_sigmoid": (-1.0, 1.0),
    "hard_shrink": (-0.5, 0.5),
}

BAD = {
    "axis": (9, -9),
    "alpha": (0.0,),
    "threshold": (-1.0,),
    "order": (0,),
    "num_classes": (None,),
    "sparse": (True,),
}
if BACKEND == "tensorflow":
    # a sum of both sides, or half of it, and where a value is rounded to 0
    KINKS |= {"celu": (0.0,), "selu": (0.0, -1e-8), "logaddexp": (0.5,)}
    # errors of TensorFlow's kernels, which are not ValueErrors
    del BAD["axis"], BAD["num_classes"]


def _peer(ours, theirs, **samples):
    return PeerLibrary(
        ours,
        theirs,
        asarray=lambda values, dtype: keras.ops.convert_to_tensor(values, dtype=dtype),
        asnumpy=keras.ops.convert_to_numpy,
        gradient=_gradient,
        type_of=_type_of,
        samples={**SAMPLES, **samples},
        inaccurate={name: formula for name, formula in INACCURATE.items() if name in ours.__all__},
        kinks=KINKS,
        bad=BAD,
        coarse={"layer_normalization", "normalize", "rms_normalization"},
    )


PEERS = {
    "activations": _peer(activations_xp.dropin.keras, keras.activations, relu=RELU),
    "ops": _peer(activations_xp.dropin.keras_ops, keras.ops),
}
CALLS = [(space, *call) for space, peer in PEERS.items() for call in peer.calls]
DIFFERENTIATED = [
    call
    for call in CALLS
    if BACKEND != "numpy" and not call[1].endswith("_hot") and call[1] != "sparsemax"
]
NAMES = [(space, name) for space, peer in PEERS.items() for name in peer.names]


def test_all_names_of_keras():
    theirs = public_functions(keras.activations)
    assert set(PEERS["activations"].ours.__all__) == theirs
    assert public_functions(keras.ops) & theirs - NOT_OF_ARRAYS <= set(PEERS["ops"].ours.__all__)


@over(
    ("space", "name"),
    [(space, name) for space, peer in PEERS.items() for name in peer.ours.__all__],
)
def test_signature(space, name):
    peer = PEERS[space]
    theirs = [
        p for p in untyped_parameters(getattr(peer.theirs, name)) if p.kind is not p.VAR_KEYWORD
    ]
    assert (
        untyped_parameters(getattr(peer.ours, name)) == theirs
    )  # Keras has keywords of any name, too


@over("dtype", ["float32", "float64"])
@over(("space", "name", "given"), CALLS)
def test_values(space, name, given, dtype):
    PEERS[space].check_values(name, given, dtype)


@over("name", INACCURATE)
def test_values_where_keras_is_wrong(name):
    space = "activations" if name in PEERS["activations"].ours.__all__ else "ops"
    PEERS[space].check_inaccurate(name)


@over(("space", "name", "given"), DIFFERENTIATED)
def test_gradients(space, name, given):
    PEERS[space].check_gradients(name, given)


@over("dtype", ["bfloat16", "float16", "float32", "float64"])
@over(("space", "name"), NAMES)
def test_dtypes_and_shapes(space, name, dtype):
    peer = PEERS[space]
    peer.check_types(name, peer.given(name)[0], dtype)


@over(("space", "name"), NAMES)
def test_bad_arguments_raise_as_in_keras(space, name):
    peer = PEERS[space]
    peer.check_errors(name, peer.given(name)[0])


ARRAYS = [
    ("layer_normalization", {"gamma": ROWS[0], "beta": ROWS[1]}),
    ("logaddexp", {"x2": ROWS[0]}),
    ("rms_normalization", {"scale": ROWS[0]}),
]


@over(("name", "given"), ARRAYS)
def test_array_parameters(name, given):
    peer = PEERS["ops"]
    arrays = {key: peer.asarray(value, "float32") for key, value in given.items()}
    ours, theirs = peer.results(name, peer.asarray(ROWS, "float32"), arrays)
    assert is_close(ours, theirs).all()


@over("options", [{}, {"is_causal": True}, {"scale": 0.3}])
def test_attention(options):
    rng = np.random.default_rng(0)
    groups = 1 if keras.backend.backend() == "numpy" else 2  # Keras has none on NumPy
    shapes = (2, 5, 2 * groups, 3), (2, 5, 2, 3), (2, 5, 2, 3)
    arrays = [keras.ops.convert_to_tensor(rng.normal(size=s), dtype="float32") for s in shapes]
    mask = keras.ops.convert_to_tensor(rng.random((2, 1, 5, 5)) < 0.7 + np.eye(5))
    for given in (options, {**options, "mask": mask}):
        ours, theirs = (
            keras.ops.convert_to_numpy(space.dot_product_attention(*arrays, **given))
            for space in (activations_xp.dropin.keras_ops, keras.ops)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


# Keras' own tests found these

ACTIVATIONS = activations_xp.dropin.keras
STEPS = np.array([-10.0, -5.0, 0.0, 5.0, 10.0], "f4")


@over(
    "given",
    [
        {"threshold": 5.0},
        {"threshold": 5.0, "max_value": 5.0},
        {"threshold": 5.0, "max_value": 2.0},
        {"negative_slope": 0.5, "threshold": 5.0, "max_value": 5.0},
        {"negative_slope": 0.5, "threshold": -5.0},
    ],
)
def test_relu_at_its_threshold(given):
    x = keras.ops.convert_to_tensor(STEPS)
    ours, theirs = ACTIVATIONS.relu(x, **given), keras.activations.relu(x, **given)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
    )


def test_get_serialize_and_deserialize():
    for name in keras.src.activations.ALL_OBJECTS_DICT:
        ours, theirs = ACTIVATIONS.get(name), keras.activations.get(name)
        assert ours is getattr(ACTIVATIONS, name)
        assert ACTIVATIONS.serialize(ours) == keras.activations.serialize(theirs)
        assert ACTIVATIONS.deserialize(ACTIVATIONS.serialize(ours)) is ours
        config = keras.saving.serialize_keras_object(theirs)
        assert ACTIVATIONS.get(config) is ours
    assert ACTIVATIONS.get(None) is ACTIVATIONS.linear
    assert ACTIVATIONS.get(np.tanh) is np.tanh
    assert ACTIVATIONS.deserialize("own", {"own": np.tanh}) is np.tanh
    for call, bad in [
        (ACTIVATIONS.get, "typo"),
        (ACTIVATIONS.get, 5),
        (ACTIVATIONS.get, {"config": "typo"}),
        (ACTIVATIONS.serialize, np.tanh),
        (ACTIVATIONS.deserialize, "typo"),
    ]:
        with pytest.raises(ValueError, match=r"^(de)?serialize: |^get: "):
            call(bad)


@over("function", [ACTIVATIONS.gelu, ACTIVATIONS.softmax, activations_xp.dropin.keras_ops.erf])
def test_symbolic_tensors_and_variables(function):
    """A symbolic tensor becomes a node of a model, and a variable is its value."""
    inputs = keras.Input((4,))
    outputs = function(inputs)
    assert isinstance(outputs, keras.KerasTensor)
    assert (outputs.shape, outputs.dtype) == (inputs.shape, inputs.dtype)
    x = np.linspace(-2, 2, 8, dtype="f4").reshape(2, 4)
    expected = function(keras.ops.convert_to_tensor(x))
    for got in (keras.Model(inputs, outputs)(x), function(keras.Variable(x)), function(x.tolist())):
        np.testing.assert_allclose(
            *map(keras.ops.convert_to_numpy, (got, expected)), rtol=1e-6, atol=1e-7
        )


def test_arrays_of_numpy_beside_tensors():
    x = keras.ops.convert_to_tensor(STEPS)
    slopes = np.linspace(0.1, 0.5, 5, dtype="f4")
    expected = np.where(STEPS > 0, STEPS, slopes * STEPS)
    got = keras.ops.convert_to_numpy(ACTIVATIONS.leaky_relu(x, slopes))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    scaled = activations_xp.dropin.keras_ops.rms_normalization(x, slopes)
    np.testing.assert_allclose(
        *map(keras.ops.convert_to_numpy, (scaled, keras.ops.rms_normalization(x, slopes))),
        rtol=1e-5,
    )


def test_lists_and_keywords():
    """Lists become arrays of Keras, wherever Keras takes arrays."""
    ops, theirs = activations_xp.dropin.keras_ops, keras.ops
    classes = theirs.convert_to_tensor([1, 2])  # Keras on TensorFlow asks for its shape
    for ours, expected in [
        (ops.multi_hot([1, 2], num_classes=4), theirs.multi_hot(classes, num_classes=4)),
        (ops.multi_hot(inputs=[1, 2], num_classes=4), theirs.multi_hot(classes, num_classes=4)),
        (ops.logaddexp([1.0, 2.0], x2=[0.0, 1.0]), theirs.logaddexp([1.0, 2.0], [0.0, 1.0])),
    ]:
        assert type(ours) is type(expected)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(expected), rtol=1e-6
        )


@over(("name", "expected"), [("softmax", 1.0), ("log_softmax", 0.0), ("logsumexp", 0.5)])
def test_axis_of_an_array_without_dimensions(name, expected):
    """There is one, as in Keras on NumPy and PyTorch."""
    x = keras.ops.convert_to_tensor(0.5)
    for axis in (0, -1):
        y = getattr(activations_xp.dropin.keras_ops, name)(x, axis=axis)
        assert tuple(y.shape) == ()
        assert float(y) == expected
        if BACKEND not in ("jax", "tensorflow"):  # where it is an error
            assert float(getattr(keras.ops, name)(x, axis=axis)) == expected


def test_axis_of_multi_hot_is_checked():
    x = keras.ops.convert_to_tensor([1, 2])
    with pytest.raises(ValueError, match=r"^multi_hot: axis 2 is out of range"):
        activations_xp.dropin.keras_ops.multi_hot(x, 4, axis=2)
