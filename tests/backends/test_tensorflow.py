"""TensorFlow: native kernels, transformations, graphs of unknown sizes, and other processes."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from examples import ROOT, blocks, run
from oracle import over, required_parameters
from sizes import ACTIVATION_CALLS, OPERATION_CALLS, RANDOM_CALLS

import activations_xp as ax
from activations_xp._oracle import ACCEPTED
from activations_xp.backends import tensorflow as backend
from activations_xp.backends.judge import _SAMPLE as SAMPLE

pytestmark = pytest.mark.compiled

GUIDE = ROOT / "docs" / "guides" / "tensorflow.md"

X = tf.constant([[-1.0, 2.0, 0.5], [0.3, -2.0, 1.0]])
FUNCTIONS = [ax.relu, ax.gelu, ax.elu, ax.mish, ax.softmax, ax.sparsemax, ax.layer_norm]


def _gradient(f, x, g=None):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x, g)


def test_graphs_keep_the_digits(elementwise):
    """TensorFlow's optimizer of graphs would make x of (x + 1) - 1, and so 0 of rounding errors."""
    x = tf.constant(SAMPLE)
    f = functools.partial(elementwise, **required_parameters(elementwise))
    in_graph = tf.function(f, autograph=False)(x)
    tf.config.run_functions_eagerly(True)
    eagerly = f(x)
    tf.config.run_functions_eagerly(False)
    assert _error(in_graph, eagerly, x).max() <= 2


# native kernels

OF_ROWS = [name for name in backend.NATIVE if name.endswith("softmax")]
ELEMENTWISE = [name for name in backend.NATIVE if name not in OF_ROWS]


@np.errstate(all="ignore")
def _error(got, exact, x):
    """Return the error in units of the precision "fast"; subnormal numbers may become 0."""
    info = backend.BACKEND.xp.finfo(tf.as_dtype(x.dtype))
    got, exact, x = (np.asarray(v).astype("f8") for v in (got, exact, x))
    error = np.abs(got - exact)
    is_same = (got == exact) | (np.isnan(got) & np.isnan(exact)) | (error <= 2 * info.tiny)
    unit = np.maximum(np.maximum(np.abs(exact), np.minimum(np.abs(x), 1)) * info.eps, 5e-324)
    return np.where(is_same, 0, np.where(np.isfinite(error), error, np.inf) / unit)


@over("dtype", ["bfloat16", "float16", "float32", "float64"])
@over("name", ELEMENTWISE)
def test_native_kernels_are_accurate(name, dtype):
    """At numbers of all sizes and infinities, with their gradients."""
    function = ax.get(name)
    with np.errstate(all="ignore"):
        x = SAMPLE.astype(tf.as_dtype(dtype).as_numpy_dtype)
        tiny = float(backend.BACKEND.xp.finfo(tf.as_dtype(dtype)).tiny)
        x = x[(x == 0) | (np.abs(x) >= x.dtype.type(tiny))]  # subnormal numbers count as zeros
        wide = x.astype("f8")
        exact = function.accurate(wide).astype(x.dtype)
        slopes = function.derivative(wide).astype(x.dtype)
    there = tf.constant(x)
    y = function(there).numpy()
    assert _error(y, exact, x).max() <= ACCEPTED
    is_zero = (y == 0) & (exact == 0)
    np.testing.assert_array_equal(np.signbit(y)[is_zero], np.signbit(exact)[is_zero])
    assert _error(_gradient(function, there).numpy(), slopes, x).max() <= ACCEPTED


@over("dtype", ["bfloat16", "float16", "float32", "float64"])
@over("size", [1, 30, 1000, 4000, 300_000])
@over("name", OF_ROWS)
def test_native_kernels_of_rows_are_accurate(name, size, dtype):
    function, rng = ax.get(name), np.random.default_rng(0)
    x = (4 * rng.standard_normal((2, size))).astype(tf.as_dtype(dtype).as_numpy_dtype)
    g = rng.standard_normal(x.shape).astype(x.dtype)
    eps = float(backend.BACKEND.xp.finfo(tf.as_dtype(dtype)).eps)
    exact = function.accurate(x.astype("f8"))
    gradient = function.vjp(g.astype("f8"), x.astype("f8"))["x"]
    largest = np.abs(g.astype("f8")).max()
    for axis in (0, 1):
        there, cotangent = (tf.constant(v if axis else v.T.copy()) for v in (x, g))
        y = function(there, axis).numpy().astype("f8")
        dx = _gradient(lambda x, a=axis: function(x, a), there, cotangent).numpy().astype("f8")
        y, dx = (y, dx) if axis else (y.T, dx.T)
        assert _error(y, exact, x).max() <= ACCEPTED
        if size < 10_000:  # of longer rows both are ours
            np.testing.assert_allclose(dx, gradient, rtol=ACCEPTED * eps, atol=4 * eps * largest)


@over("name", ["elu", "selu", "softsign", "silu", "gelu"])
def test_kernels_of_tensorflow_that_are_not_native(name):
    """Each is off by more than is promised, beside 0 or at an infinity."""
    x = SAMPLE[~np.isnan(SAMPLE)]
    exact = ax.get(name).accurate(x.astype("f8")).astype("f4")
    assert _error(getattr(tf.nn, name)(x).numpy(), exact, x).max() > ACCEPTED


# derivatives


@over("function", FUNCTIONS)
def test_transformations(function):
    """Forward mode, Jacobians, maps over a batch, in and outside of graphs."""
    tangent = tf.constant([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]])
    expected = tf.reduce_sum(_jacobian(function, X) * tangent, axis=(2, 3))

    def jvp(x):
        with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
            y = function(x)
        return accumulator.jvp(y)

    def batch_jacobian(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.batch_jacobian(y, x)

    rows = tf.stack([_jacobian(function, X)[i, :, i] for i in range(2)])
    for wrap in (lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)):
        np.testing.assert_allclose(wrap(jvp)(X), expected, rtol=1e-4, atol=1e-6)
        got = wrap(lambda x: _gradient(function, x, tangent))(X)
        np.testing.assert_allclose(got, function.vjp(tangent, X)["x"], rtol=1e-5, atol=1e-6)
    for wrap in (lambda f: f, tf.function):
        np.testing.assert_allclose(wrap(batch_jacobian)(X), rows, rtol=1e-4, atol=1e-6)
        got = wrap(lambda x: tf.vectorized_map(function, x))(X)
        np.testing.assert_allclose(got, function(X), rtol=1e-6)


def _jacobian(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.jacobian(y, x)


def test_variables():
    """A weight that is learned, and an x, persistently and in a graph."""
    weight = tf.Variable([0.1, 0.2, 0.3])
    x = tf.Variable(X)

    def gradients():
        with tf.GradientTape(persistent=True) as tape:
            y = ax.prelu(x, weight)
        return tape.gradient(y, weight), tape.gradient(y, x)

    expected = ax.prelu.vjp(tf.ones_like(X), X, tf.constant(weight))
    for form in (gradients, tf.function(gradients)):
        for got, name in zip(form(), ("weight", "x"), strict=True):
            np.testing.assert_array_equal(got, expected[name])


def test_out_is_a_variable():
    out = tf.Variable(tf.zeros_like(X))
    assert ax.gelu(X, out=out) is out
    np.testing.assert_array_equal(out, ax.gelu(X))
    with pytest.raises(TypeError, match=r"^gelu: out needs an array that can be written to: Ten"):
        ax.gelu(X, out=tf.zeros_like(X))


def test_replicas():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        weight = tf.Variable([0.1, 0.2, 0.3])

    def replica(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ax.mish(ax.prelu(x, weight)))
        gradient = tape.gradient(loss, weight)
        return tf.distribute.get_replica_context().all_reduce("sum", gradient)

    step = tf.function(lambda x: strategy.run(replica, (x,)))
    given = tf.constant(weight)
    expected = _gradient(lambda w: 2 * tf.reduce_sum(ax.mish(ax.prelu(X, w))), given)
    for got in strategy.experimental_local_results(step(X)):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


# graphs

KINDS = {"f": tf.float64, "i": tf.int64, "b": tf.bool}


def _assert_of_unknown_sizes(call, transform, sizes):
    constants, names = call.constants(tf.constant), list(call.shapes)

    def value(*arrays):
        given = dict(zip(names, arrays, strict=True))
        first = [given.pop("x")] if "x" in given else []
        y = call.function(*first, **given, **constants)
        return y[0] if isinstance(y, tuple) else y

    def spec(name):
        pairs = zip(call.shapes[name](2, 3), call.shapes[name](4, 7), strict=True)
        return tf.TensorSpec([m if m == n else None for m, n in pairs], KINDS[call.kind(name)])

    f = transform(value)
    graph = tf.function(f, input_signature=list(map(spec, names)))
    for size in sizes:
        arrays = list(map(tf.constant, call.arrays(*size).values()))
        got = graph(*arrays)
        if call not in RANDOM_CALLS:
            np.testing.assert_allclose(got, f(*arrays), rtol=1e-10, atol=1e-10)


@pytest.mark.sweep
@over("call", [*ACTIVATION_CALLS, *OPERATION_CALLS, *RANDOM_CALLS])
def test_graphs_of_unknown_sizes(call):
    _assert_of_unknown_sizes(call, lambda f: f, [(3, 5), (1, 1)])


DIFFERENTIABLE = [c for c in OPERATION_CALLS if c.function is not ax.adaptive_predict]


@pytest.mark.sweep
@over("call", [*ACTIVATION_CALLS, *DIFFERENTIABLE])
def test_gradients_in_graphs_of_unknown_sizes(call):
    def gradient(f):
        def run(first, *others):
            with tf.GradientTape() as tape:
                tape.watch(first)
                y = f(first, *others)
            return tape.gradient(y, first, tf.cos(y), tf.UnconnectedGradients.ZERO)

        return run

    _assert_of_unknown_sizes(call, gradient, [(3, 5), (1, 1)])


SOME = [c for c in ACTIVATION_CALLS if str(c) in ("gelu", "glu", "layer_norm", "softmax")]


@over("call", [*SOME, OPERATION_CALLS[0]])
def test_some_graphs_of_unknown_sizes(call):
    _assert_of_unknown_sizes(call, lambda f: f, [(3, 5), (1, 1)])


def test_halves_of_an_odd_unknown_size_raise():
    graph = tf.function(ax.glu, input_signature=[tf.TensorSpec([2, None], "float32")])
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 must divide a size"):
        graph(X)


def test_unknown_rank():
    graph = tf.function(
        lambda x: (ax.mish(x), _gradient(ax.mish, x)),
        input_signature=[tf.TensorSpec(None, "float32")],
    )
    for x in (X, X[0], X[0, 0]):
        y, dx = graph(x)
        np.testing.assert_allclose(y, ax.mish(x), rtol=1e-6)
        np.testing.assert_allclose(dx, ax.mish.derivative(x), rtol=1e-6)


def test_shapes_in_graphs_are_known():
    for function in FUNCTIONS:
        graph = tf.function(function).get_concrete_function(tf.TensorSpec([None, 3], "float32"))
        assert graph.structured_outputs.shape.as_list() == [None, 3]


@over(("function", "count"), [(ax.hard_tanh, 1), (ax.softmin, 2)])
def test_traced_at_most_twice_for_all_sizes(function, count, monkeypatch):
    """The second size of an axis stands for all others."""
    traces = []
    compute = backend.generic.compute_and_result_dtypes
    expected = function(np.full(8, 0.5))
    counted = lambda *args: (traces.append(1), compute(*args))[1]  # noqa: E731
    monkeypatch.setattr(backend.generic, "compute_and_result_dtypes", counted)
    x = tf.fill([8], tf.constant(0.5, "float64"))
    for n in range(2, 8):
        y = function(x[:n])
        np.testing.assert_allclose(y, expected[:n] * (8 / n if function is ax.softmin else 1))
    assert len(traces) == count


ELSEWHERE = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
x = tf.constant(np.load(sys.argv[1] + "/x.npy"))
with tf.GradientTape() as tape:
    tape.watch(x)
    y = model(x)
np.save(sys.argv[1] + "/y.npy", y)
np.save(sys.argv[1] + "/dx.npy", tape.gradient(y, x))
assert "activations_xp" not in sys.modules
"""


class Model(tf.Module):
    def __init__(self):
        self.weight = tf.Variable([0.1, 0.2, 0.3])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], "float32")])
    def __call__(self, x):
        return ax.softmax(ax.tanhexp(ax.prelu(x, self.weight)) * ax.gelu(x))


def test_saved_model_runs_without_this_package(tmp_path):
    model = Model()
    tf.saved_model.save(model, str(tmp_path))
    np.save(tmp_path / "x.npy", X)
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model(X), rtol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "dx.npy"), _gradient(model, X), rtol=1e-5)


# what is no tensor, and what stays as it was


@over(
    "x",
    [
        tf.ragged.constant([[1.0, 2.0], [3.0]]),
        tf.sparse.from_dense(X),
        tf.IndexedSlices(X, tf.constant([0, 1])),
        tf.constant(["a"]),
    ],
)
def test_other_tensors_raise(x):
    with pytest.raises(TypeError, match=r"^relu: x must be an array"):
        ax.relu(x)


def test_operators_of_tensors_stay_those_of_tensorflow():
    ax.gelu(X)
    with pytest.raises(AttributeError):
        X.T  # noqa: B018


@pytest.mark.filterwarnings("ignore")  # of tf_keras, about its own code
@over("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@over("name", ["keras", "tf_keras"])
def test_mixed_precision(name, policy):
    keras = importlib.import_module(name)
    layers = [
        keras.layers.Dense(4, activation=ax.mish, dtype=_policy(keras, policy)),
        keras.layers.Dense(4, activation=ax.softmax),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse", jit_compile=True)
    before = model(X).numpy()
    model.fit(X, tf.ones((2, 4)), verbose=0)
    assert (model(X).numpy() != before).any()
    assert layers[0](X).dtype == {"float32": "float32"}.get(policy, policy.removeprefix("mixed_"))


def _policy(keras, name):
    return keras.mixed_precision.Policy(name) if name != "float32" else "float32"


# the page of the guide


@over("block", [block for block in blocks(GUIDE) if "tensorflow" in block.partition("\n")[0]])
def test_guide(block):
    run(block, "tensorflow.md")
