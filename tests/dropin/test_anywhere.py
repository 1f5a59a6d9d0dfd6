"""Code spelled for one library, on the arrays of every other."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import types

import numpy as np
import pytest

import activations_xp.dropin
import activations_xp.dropin.jax as nn
import activations_xp.dropin.keras as activations
import activations_xp.dropin.keras2 as activations2
import activations_xp.dropin.keras_ops as ops
import activations_xp.dropin.scipy as special
import activations_xp.dropin.torch as F  # noqa: N812


def _weights():
    rng = np.random.default_rng(0)
    shapes = {"x": (5, 8), "qkv": (8, 24), "out": (8, 8), "up": (8, 32), "down": (16, 8)}
    shapes |= {"scale": (8,), "slopes": (8,)}
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def torch_spelled(x, qkv, out, up, down, scale, slopes):
    """A block of a transformer, and what else a network is made of."""
    h = F.layer_norm(x, (8,), scale, eps=1e-6) @ qkv
    q, k, v = F.normalize(h[:, :8], dim=-1), F.rms_norm(h[:, 8:16], [8]), h[:, 16:]
    x = x + F.scaled_dot_product_attention(q, k, v) @ out
    weights = (qkv.T, None, None, None, False, 0.1, out.T, None)
    x = x + F.multi_head_attention_forward(x, x, x, 8, 2, *weights, training=False)[0]
    x = x + F.glu(F.gelu(F.dropout(x, training=False) @ up, approximate="tanh"), dim=-1) @ down
    x = F.leaky_relu(F.silu(x) + F.rrelu(x) + F.mish(x), negative_slope=0.1) - F.elu(x, 0.5)
    x = F.softplus(x, beta=2, threshold=10) * F.hardsigmoid(x) + F.prelu(F.selu(x), slopes)
    x = F.celu(x, alpha=0.5) * F.hardtanh(x, -2.0, 2.0) + F.softsign(x)
    return F.log_softmax(F.softshrink(x, 0.1) + F.threshold(F.erf(x), 0.2, -1.0), dim=1)


def scipy_spelled(x, qkv, out, up, down, scale, slopes):
    """A logistic regression on hidden units, and its losses."""
    h = special.expit(x @ qkv)[:, :8] @ out + special.ndtr(slopes)
    chances = special.softmax(h, axis=1) * special.logsumexp(h, axis=1, keepdims=True, b=2.0)
    losses = chances * special.log_softmax(h) + special.softplus(special.log_expit(h))
    return losses + special.logit(special.expit(h)) * special.erf(h)


def jax_spelled(x, qkv, out, up, down, scale, slopes):
    """The same block, and more of what it is made of."""
    h = nn.standardize(x) * scale @ qkv
    q, k, v = h[:, :8], h[:, 8:16], h[:, 16:] + slopes
    x = x + nn.softmax(q @ k.T / 8**0.5, axis=-1, where=q @ k.T > -9) @ v @ out
    x = x + nn.dot_product_attention(*(h[:, None, i : i + 8] for i in (0, 8, 16)))[:, 0, :]
    x = x + nn.glu(nn.gelu(x @ up), axis=-1) @ down
    x = nn.leaky_relu(nn.swish(x) + nn.mish(x), 0.1) - nn.elu(x, alpha=0.5)
    x = nn.squareplus(x, b=1) * nn.hard_silu(x) + nn.sparse_plus(nn.selu(x))
    return nn.log_softmax(nn.celu(x, 0.5) * nn.hard_tanh(x) + nn.soft_sign(x), axis=1)


def keras_spelled(x, qkv, out, up, down, scale, slopes):
    """A perceptron, in both spellings of Keras 3 and that of Keras 2."""
    x = ops.rms_normalization(x, scale) + slopes
    h = activations.relu(x @ qkv, negative_slope=0.1, max_value=6.0, threshold=0.5)[:, :8] @ out
    h = activations.glu(ops.gelu(h @ up) - activations.gelu(h @ up, approximate=True) + h @ up)
    h = activations.leaky_relu(h @ down) + activations2.relu(x, 0.1, 6.0, threshold=0.5)
    h = ops.soft_shrink(ops.silu(h), 0.1) * activations.tanh_shrink(h) - activations2.elu(h)
    h = activations.exponential(activations2.hard_sigmoid(h)) + activations.linear(ops.exp(-h * h))
    return activations.sparsemax(h) + activations2.softmax(activations.softplus(h), axis=0)


SPELLED = [torch_spelled, scipy_spelled, jax_spelled, keras_spelled]


def test_no_library_is_imported_to_speak_like_it():
    modules = [m.name for m in pkgutil.iter_modules(activations_xp.dropin.__path__)]
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module("activations_xp.dropin." + name)
assert not {{"torch", "jax", "keras", "scipy", "tensorflow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("spelled", SPELLED)
def test_the_same_answer_on_every_library_and_under_its_transforms(spelled, backend, transform):
    weights = _weights()
    expected = spelled(**weights)
    assert np.isfinite(expected).all()
    dtype = backend.dtypes[-1]  # the widest
    there = {name: backend.array(value, dtype) for name, value in weights.items()}
    x = there.pop("x")
    got = transform(lambda x: spelled(x, **there))(x)
    tolerance = 256 * np.finfo(dtype).eps
    np.testing.assert_allclose(backend.asnumpy(got), expected, rtol=tolerance, atol=tolerance)


WRITERS = {
    "inplace": lambda x: F.silu(x, inplace=True),
    "underscore": lambda x: F.relu_(x),
    "out of torch": lambda x: F.gelu(x, out=x),
    "out of scipy": lambda x: special.expit(x, x),
}


@pytest.mark.parametrize("how", WRITERS)
def test_writing_where_the_library_lets_arrays_be_written_to(how, backend):
    values = np.linspace(-3, 3, 12).reshape(3, 4)
    x = backend.array(values.copy())
    if backend.library == "jax":
        with pytest.raises(TypeError, match=r"^\w+: (inplace|out) needs .* written to: JAX"):
            WRITERS[how](x)
    else:
        assert WRITERS[how](x) is x
        copy = WRITERS[how](values)
        np.testing.assert_allclose(backend.asnumpy(x), copy, rtol=1e-12)
        assert (copy != np.linspace(-3, 3, 12).reshape(3, 4)).any()


@pytest.mark.parametrize("how", WRITERS)
def test_not_writing_to_what_is_not_for_it(how):
    x = np.linspace(-3, 3, 4)
    x.flags.writeable = False
    with pytest.raises(ValueError, match=r"^\w+: (inplace|out) needs .* written to: .*read-only"):
        WRITERS[how](x)
    np.testing.assert_array_equal(x, np.linspace(-3, 3, 4))
    for number in (1.0, np.float32(1)):
        with pytest.raises(TypeError, match=r"^\w+: (inplace|out) needs an array"):
            WRITERS[how](number)


def test_not_writing_floats_to_integers(backend):
    x = backend.array([[-1, 2]], "int64")
    for form in (
        lambda: F.silu(x, inplace=True),
        lambda: F.gelu(x, out=x),
        lambda: special.expit(x, out=x),
    ):
        with pytest.raises(TypeError, match=r"^\w+: (inplace|out) needs .* floating dtype, got "):
            form()
    if backend.library != "jax":
        assert F.relu_(x) is x
        np.testing.assert_array_equal(backend.asnumpy(x), [[0, 2]])


def test_a_dtype_to_compute_in(backend):
    x = backend.array([[1, 2, 3]], "int32")
    xp = types.SimpleNamespace(**{d: backend.array(0, d).dtype for d in backend.dtypes})
    for name, dtype in vars(xp).items():
        y = F.softmax(x, dim=1, dtype=dtype)
        assert y.dtype == dtype
        wide = np.asarray(backend.asnumpy(y), "f8")
        np.testing.assert_allclose(wide.sum(), 1.0, rtol=0.01, err_msg=name)
    with pytest.raises(TypeError, match="dtype"):
        F.softmax(x, dim=1, dtype=x.dtype)
    with pytest.raises(TypeError, match="softmax: x must be an array"):
        F.softmax([1.0], dim=0, dtype=y.dtype)


def test_one_hot(backend):
    x = backend.array([[0, 2], [1, 1]], "int64")
    for classes, size in ((-1, 3), (4, 4)):
        y = F.one_hot(x, classes)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(backend.asnumpy(y), np.eye(size)[backend.asnumpy(x)])


def test_encodings(backend):
    x = backend.array([[0, 2], [1, 1]], "int64")
    for y in (nn.one_hot(x, 3, dtype="float32"), ops.one_hot(x, 3)):
        assert backend.dtype_of(y) == "float32"
        np.testing.assert_array_equal(backend.asnumpy(y), np.eye(3)[backend.asnumpy(x)])
    several = np.array([[1, 0, 1], [0, 1, 0]])
    for axis, expected in ((-1, several), (0, several.T)):
        y = ops.multi_hot(x, 3, axis=axis, dtype="int32")
        assert backend.dtype_of(y) == "int32"
        np.testing.assert_array_equal(backend.asnumpy(y), expected)
    with pytest.raises(ValueError, match="sparse"):
        ops.one_hot(x, 3, sparse=True)
    with pytest.raises(TypeError, match="dtype must be one of x's library, got 'wide'"):
        nn.one_hot(x, 3, dtype="wide")
