"""The JAX spelling against ``jax.nn``: names, signatures, values, gradients, dtypes and errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from common import over
from peers import ROWS, Peer, bare, close, public

import activations_xp.dropin.jax as dropin

ATTENTION = {"dot_product_attention"}
SCALED_MATRICES = {"get_scaled_dot_general_config", "scaled_dot_general", "scaled_matmul"}


def _gradient(function, x):
    def loss(x):
        y = function(x)
        return jnp.sum(y * jnp.linspace(0.5, 1.5, y.size).reshape(y.shape))

    return jax.grad(loss)(x)


JAX = Peer(
    own=dropin,
    theirs=jax.nn,
    asarray=lambda values, dtype: jnp.asarray(np.asarray(values), dtype),
    asnumpy=np.asarray,
    gradient=_gradient,
    type_of=jax.eval_shape,
    samples={
        "celu": [{}, {"alpha": 2.0}],
        "elu": [{}, {"alpha": 2.0}],
        "gelu": [{}, {"approximate": False}],
        "leaky_relu": [{}, {"negative_slope": 3.0}],
        "logmeanexp": [{}, {"axis": -1, "keepdims": True}],
        "logsumexp": [{}, {"axis": 0, "keepdims": True}],
        "one_hot": [{"num_classes": 3}, {"num_classes": 4, "axis": 0, "dtype": "int32"}],
        "squareplus": [{}, {"b": 1.0}],
        "standardize": [{}, {"algorithm": "stable"}, {"epsilon": 0.5}],
    },
    amiss={
        # the tail cancels
        "gelu": "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) if approximate"
        " else x / 2 * erfc(-x / sqrt(2))",
        # so does the left side, and the square overflows
        "squareplus": "(x + sqrt(x * x + b)) / 2",
    },
    bad={
        "x": ("bad", [1.0, 2.0]),
        "axis": (9, -9),
        **dict.fromkeys(("alpha", "negative_slope", "b", "where", "algorithm"), ("bad",)),
    },
    kinks={
        # where JAX has the slope of the other side, or half of both
        "leaky_relu": (0.0,),
        "hard_tanh": (-1.0, 1.0),
        "sparse_sigmoid": (-1.0, 1.0),
    },
)
NAMES = [name for name in dropin.__all__ if name not in ATTENTION]


def test_every_function_is_there():
    assert set(NAMES) == public(jax.nn) - ATTENTION - SCALED_MATRICES - {"initializers"}


@over("name", NAMES)
def test_signature(name):
    assert bare(getattr(dropin, name)) == bare(getattr(jax.nn, name))


@over("dtype", ["float32", "float64"])
@over(("name", "given"), JAX.calls)
def test_values(name, given, dtype):
    JAX.check_values(name, given, dtype)


@over("name", JAX.amiss)
def test_where_jax_is_wrong(name):
    JAX.check_amiss(name)


@over(("name", "given"), [call for call in JAX.calls if call[0] != "one_hot"])
def test_gradients(name, given):
    JAX.check_gradients(name, given)


@over("dtype", ["bfloat16", "float16", "float32", "float64"])
@over("name", NAMES)
def test_dtypes_and_shapes(name, dtype):
    JAX.check_types(name, JAX.given(name)[0], dtype)


@over("name", NAMES)
def test_errors(name):
    assert JAX.check_errors(name, JAX.given(name)[0])


@over("name", [name for name in NAMES if "where" in JAX.parameters(name)])
def test_masks(name):
    mask = ROWS > 0
    given = {"axis": -1, "where": jnp.asarray(mask)}
    ours, theirs = JAX.results(name, jnp.asarray(ROWS), given)
    if name == "standardize":  # JAX gives a score to what takes no part
        assert (ours[~mask] == 0).all()
        theirs = np.where(mask, theirs, 0)
    assert close(ours, theirs).all()


@over("keepdims", [False, True])
def test_a_sum_of_exponentials_with_signs(keepdims):
    given = {"axis": -1, "b": jnp.asarray(-ROWS), "keepdims": keepdims, "return_sign": True}
    x = jnp.asarray(ROWS)
    for ours, theirs in zip(
        dropin.logsumexp(x, **given), jax.nn.logsumexp(x, **given), strict=True
    ):
        assert ours.shape == theirs.shape
        assert close(np.asarray(ours), np.asarray(theirs)).all()


def test_standardize_takes_two_passes():
    x = jnp.asarray([10001.0, 10002.0, 10003.0], "float32")
    assert abs(jax.nn.standardize(x)).max() > 100
    np.testing.assert_allclose(dropin.standardize(x), [-(1.5**0.5), 0.0, 1.5**0.5], rtol=1e-4)
