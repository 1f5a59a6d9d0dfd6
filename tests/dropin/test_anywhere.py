"""All drop-ins: code written for one library runs on the arrays of every other."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import activations_xp.dropin
import activations_xp.dropin.jax as nn
import activations_xp.dropin.keras as activations
import activations_xp.dropin.keras2 as activations2
import activations_xp.dropin.keras_ops as ops
import activations_xp.dropin.scipy as special
import activations_xp.dropin.torch as F  # noqa: N812
from activations_xp._dispatch import backend_of

IMMUTABLE = ("jax", "tensorflow")
"""The libraries whose arrays are read-only."""


def _weights():
    rng = np.random.default_rng(0)
    shapes = {"x": (5, 8), "qkv": (8, 24), "out": (8, 8), "up": (8, 32), "down": (16, 8)}
    shapes |= {"scale": (8,), "bias": (8,)}
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def _transposed(x):
    return backend_of(x).xp.permute_dims(x, (1, 0))


def torch_block(x, qkv, out, up, down, scale, bias):
    """A block of a transformer, followed by the other functions of a network."""
    h = F.layer_norm(x, (8,), scale, eps=1e-6) @ qkv
    q, k, v = F.normalize(h[:, :8], dim=-1), F.rms_norm(h[:, 8:16], [8]), h[:, 16:]
    x = x + F.scaled_dot_product_attention(q, k, v) @ out
    weights = (_transposed(qkv), None, None, None, False, 0.1, _transposed(out), None)
    x = x + F.multi_head_attention_forward(x, x, x, 8, 2, *weights, training=False)[0]
    x = x + F.glu(F.gelu(F.dropout(x, training=False) @ up, approximate="tanh"), dim=-1) @ down
    x = F.leaky_relu(F.silu(x) + F.rrelu(x) + F.mish(x), negative_slope=0.1) - F.elu(x, 0.5)
    x = F.softplus(x, beta=2, threshold=10) * F.hardsigmoid(x) + F.prelu(F.selu(x), bias)
    x = F.group_norm(x, 2, scale, bias) + F.batch_norm(x, None, None, scale, training=True)
    x = x + F.instance_norm(x[:, :2, None] * qkv[:2, :8], eps=0.1)[:, 0, :]  # well-conditioned
    x = F.celu(x, alpha=0.5) * F.hardtanh(x, -2.0, 2.0) + F.softsign(x)
    return F.log_softmax(F.softshrink(x, 0.1) + F.threshold(F.erf(x), 0.2, -1.0), dim=1)


def scipy_regression(x, qkv, out, up, down, scale, bias):
    """A logistic regression on hidden units, and its losses."""
    h = special.expit(x @ qkv)[:, :8] @ out + special.ndtr(bias)
    probabilities = special.softmax(h, axis=1) * special.logsumexp(h, axis=1, keepdims=True, b=2.0)
    losses = probabilities * special.log_softmax(h) + special.softplus(special.log_expit(h))
    return losses + special.logit(special.expit(h)) * special.erf(h)


def jax_block(x, qkv, out, up, down, scale, bias):
    """The same block, with more of the functions of ``jax.nn``."""
    h = nn.standardize(x) * scale @ qkv
    q, k, v = h[:, :8], h[:, 8:16], h[:, 16:] + bias
    scores = q @ _transposed(k)
    x = x + nn.softmax(scores / 8**0.5, axis=-1, where=scores > -9) @ v @ out
    x = x + nn.dot_product_attention(*(h[:, None, i : i + 8] for i in (0, 8, 16)))[:, 0, :]
    x = x + nn.glu(nn.gelu(x @ up), axis=-1) @ down
    x = nn.leaky_relu(nn.swish(x) + nn.mish(x), 0.1) - nn.elu(x, alpha=0.5)
    x = nn.squareplus(x, b=1) * nn.hard_silu(x) + nn.sparse_plus(nn.selu(x))
    return nn.log_softmax(nn.celu(x, 0.5) * nn.hard_tanh(x) + nn.soft_sign(x), axis=1)


def keras_perceptron(x, qkv, out, up, down, scale, bias):
    """A perceptron, in both namespaces of Keras 3 and in Keras 2."""
    x = ops.rms_normalization(x, scale) + bias
    h = activations.relu(x @ qkv, negative_slope=0.1, max_value=6.0, threshold=0.5)[:, :8] @ out
    h = activations.glu(ops.gelu(h @ up) - activations.gelu(h @ up, approximate=True) + h @ up)
    h = activations.leaky_relu(h @ down) + activations2.relu(x, 0.1, 6.0, threshold=0.5)
    h = ops.soft_shrink(ops.silu(h), 0.1) * activations.tanh_shrink(h) - activations2.elu(h)
    h = activations.exponential(activations2.hard_sigmoid(h)) + activations.linear(ops.exp(-h * h))
    return activations.sparsemax(h) + activations2.softmax(activations.softplus(h), axis=0)


PROGRAMS = [torch_block, scipy_regression, jax_block, keras_perceptron]
PREFIX = "activations_xp.dropin."
MODULES = [
    PREFIX + module.name
    for module in pkgutil.iter_modules(activations_xp.dropin.__path__)
    if not module.name.startswith("_")
]


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_dropin_imports_no_library(module):
    code = f"""
import sys, {module}
assert not {{"torch", "jax", "keras", "scipy", "tensorflow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.once
@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in MODULES for name in importlib.import_module(module).__all__],
)
def test_docstring_opens_with_a_sentence(module, name):
    """It has a subject and a verb, or is an imperative, and stands on one line of its own."""
    docstring = inspect.getdoc(getattr(importlib.import_module(module), name))
    summary, *body = (docstring or "").splitlines() or [""]
    assert summary.endswith(".")
    assert summary[0].isupper()
    assert summary.split()[0] not in {"What", "Those", "Of", "How", "Whose", "Which"}
    assert body[:1] in ([], [""])


@pytest.mark.compiled
@pytest.mark.parametrize("program", PROGRAMS)
def test_values_are_those_on_numpy_under_transforms(program, backend, transform):
    weights = _weights()
    expected = program(**weights)
    assert np.isfinite(expected).all()
    dtype = backend.dtypes[-1]  # the widest
    arrays = {name: backend.array(value, dtype) for name, value in weights.items()}
    x = arrays.pop("x")
    got = transform(lambda x: program(x, **arrays))(x)
    tolerance = 256 * np.finfo(dtype).eps
    np.testing.assert_allclose(backend.asnumpy(got), expected, rtol=tolerance, atol=tolerance)


WRITERS = {
    "inplace": lambda x: F.silu(x, inplace=True),
    "underscore": lambda x: F.relu_(x),
    "out of torch": lambda x: F.gelu(x, out=x),
    "out of scipy": lambda x: special.expit(x, x),
}


@pytest.mark.parametrize("how", WRITERS)
def test_inplace_and_out(how, backend):
    """They write to x, if the arrays of the library are not read-only."""
    values = np.linspace(-3, 3, 12).reshape(3, 4)
    x = backend.array(values.copy())
    if backend.library in IMMUTABLE:
        with pytest.raises(TypeError, match=r"^\w+: (inplace|out) needs .* written to: \w"):
            WRITERS[how](x)
    else:
        assert WRITERS[how](x) is x
        copy = WRITERS[how](values)
        np.testing.assert_allclose(backend.asnumpy(x), copy, rtol=1e-12)
        assert (copy != np.linspace(-3, 3, 12).reshape(3, 4)).any()


@pytest.mark.parametrize("how", WRITERS)
def test_inplace_and_out_read_only_raises(how):
    x = np.linspace(-3, 3, 4)
    x.flags.writeable = False
    with pytest.raises(ValueError, match=r"^\w+: (inplace|out) needs .* written to: .*read-only"):
        WRITERS[how](x)
    np.testing.assert_array_equal(x, np.linspace(-3, 3, 4))


@pytest.mark.parametrize("number", [1.0, np.float32(1)], ids=["float", "float32"])
@pytest.mark.parametrize("how", WRITERS)
def test_inplace_and_out_of_a_number_raise(how, number):
    with pytest.raises(TypeError, match=r"^\w+: (inplace|out) needs an array"):
        WRITERS[how](number)


def test_inplace_and_out_of_integers(backend):
    """Floats are not written to integers."""
    x = backend.array([[-1, 2]], "int64")
    for form in (
        lambda: F.silu(x, inplace=True),
        lambda: F.gelu(x, out=x),
        lambda: special.expit(x, out=x),
    ):
        with pytest.raises(TypeError, match=r"^\w+: (inplace|out) needs .* floating dtype, got "):
            form()
    if backend.library not in IMMUTABLE:
        assert F.relu_(x) is x
        np.testing.assert_array_equal(backend.asnumpy(x), [[0, 2]])


def test_dtype_of_the_result(backend, dtype):
    x = backend.array([[1, 2, 3]], "int32")
    dtype = backend.array(0, dtype).dtype
    y = F.softmax(x, dim=1, dtype=dtype)
    assert y.dtype == dtype
    exact = np.exp([[1, 2, 3]]) / np.exp([1, 2, 3]).sum()
    np.testing.assert_allclose(backend.asnumpy(y).astype("f8"), exact, rtol=0.01)


def test_bad_dtype_raises(backend):
    x = backend.array([[1, 2, 3]], "int32")
    with pytest.raises(TypeError, match="dtype"):
        F.softmax(x, dim=1, dtype=x.dtype)
    with pytest.raises(TypeError, match="softmax: x must be an array"):
        F.softmax([1.0], dim=0, dtype=backend.array(0, backend.dtypes[-1]).dtype)
    with pytest.raises(TypeError, match="dtype must be one of x's library, got 'wide'"):
        nn.one_hot(x, 3, dtype="wide")


@pytest.mark.parametrize(("num_classes", "size"), [(-1, 3), (4, 4)])
def test_one_hot_of_torch(num_classes, size, backend):
    x = backend.array([[0, 2], [1, 1]], "int64")
    y = F.one_hot(x, num_classes)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(backend.asnumpy(y), np.eye(size)[[[0, 2], [1, 1]]])


@pytest.mark.parametrize("one_hot", [nn.one_hot, ops.one_hot], ids=["jax", "keras"])
def test_one_hot(one_hot, backend):
    y = one_hot(backend.array([[0, 2], [1, 1]], "int64"), 3, dtype="float32")
    assert backend.dtype_of(y) == "float32"
    np.testing.assert_array_equal(backend.asnumpy(y), np.eye(3)[[[0, 2], [1, 1]]])


def test_one_hot_of_keras_is_float32_by_default(backend):
    x = backend.array([[0, 2], [1, 1]], "int64")
    assert backend.dtype_of(ops.one_hot(x, 3)) == "float32"


@pytest.mark.parametrize("axis", [-1, 0])
def test_multi_hot(axis, backend):
    y = ops.multi_hot(backend.array([[0, 2], [1, 1]], "int64"), 3, axis=axis, dtype="int32")
    assert backend.dtype_of(y) == "int32"
    expected = np.array([[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(backend.asnumpy(y), expected if axis else expected.T)


def test_sparse_one_hot_raises(backend):
    with pytest.raises(ValueError, match="sparse"):
        ops.one_hot(backend.array([[0, 2], [1, 1]], "int64"), 3, sparse=True)
