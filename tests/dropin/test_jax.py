"""The drop-in of ``jax.nn`` beside it: names, signatures, values, gradients, dtypes, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import in_sweep, over
from tools.peers import ATTENTION, ROWS, PeerLibrary, is_close, public_functions, untyped_parameters

import activations_xp.dropin.jax as dropin

SCALED_MATRICES = {"get_scaled_dot_general_config", "scaled_dot_general", "scaled_matmul"}


def _gradient(function, x):
    def loss(x):
        y = function(x)
        return jnp.sum(y * jnp.linspace(0.5, 1.5, y.size).reshape(y.shape))

    return jax.grad(loss)(x)


JAX = PeerLibrary(
    ours=dropin,
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
    inaccurate={
        # the tail cancels
        "gelu": "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) if approximate"
        " else x / 2 * erfc(-x / sqrt(2))",
        # the left side cancels, too, and the square overflows
        "squareplus": "(x + sqrt(x * x + b)) / 2",
    },
    bad={
        "x": ("bad", [1.0, 2.0]),
        "axis": (9, -9),
        **dict.fromkeys(("alpha", "negative_slope", "b", "where", "algorithm"), ("bad",)),
    },
    kinks={
        # JAX has the slope of the other side here, or the mean of both
        "leaky_relu": (0.0,),
        "hard_tanh": (-1.0, 1.0),
        "sparse_sigmoid": (-1.0, 1.0),
    },
)
NAMES = [name for name in dropin.__all__ if name not in ATTENTION]


def test_all_names_of_jax():
    assert set(dropin.__all__) == public_functions(jax.nn) - SCALED_MATRICES - {"initializers"}


@over("name", NAMES)
def test_signature(name):
    assert untyped_parameters(getattr(dropin, name)) == untyped_parameters(getattr(jax.nn, name))


@over("dtype", in_sweep(["float32", "float64"]))
@over(("name", "given"), JAX.calls)
def test_values(name, given, dtype):
    JAX.check_values(name, given, dtype)


@over("name", JAX.inaccurate)
def test_values_where_jax_is_wrong(name):
    JAX.check_inaccurate(name)


@over(("name", "given"), [call for call in JAX.calls if call[0] != "one_hot"])
def test_gradients(name, given):
    JAX.check_gradients(name, given)


@over("dtype", ["bfloat16", "float16", "float32", "float64"])
@over("name", NAMES)
def test_dtypes_and_shapes(name, dtype):
    JAX.check_types(name, JAX.given(name)[0], dtype)


@over("name", NAMES)
def test_bad_arguments_raise_as_in_jax(name):
    assert JAX.check_errors(name, JAX.given(name)[0])


@over("name", [name for name in NAMES if "where" in JAX.parameters(name)])
def test_mask(name):
    mask = ROWS > 0
    given = {"axis": -1, "where": jnp.asarray(mask)}
    ours, theirs = JAX.results(name, jnp.asarray(ROWS), given)
    assert is_close(ours, theirs).all()
    ours, theirs = JAX.results(name, jnp.asarray(ROWS), {"axis": -1, "where": True})
    assert is_close(ours, theirs).all()


@over("given", [{"mean": 0.5}, {"variance": 2.0}, {"algorithm": "stable", "mean": 0.5}])
def test_standardize_with_moments_and_a_mask(given):
    x, mask = jnp.asarray(ROWS), jnp.asarray(ROWS > 0)
    ours = dropin.standardize(x, where=mask, **given)
    mean = given.get("mean", jnp.mean(x, -1, keepdims=True, where=mask))
    variance = jnp.mean((x - mean) ** 2, -1, keepdims=True, where=mask)
    theirs = (x - mean) / jnp.sqrt(given.get("variance", variance) + 1e-5)
    assert is_close(np.asarray(ours), np.asarray(theirs)).all()


PROMOTED = [
    ("squareplus", "b", 0.5),
    ("elu", "alpha", 0.5),
    ("celu", "alpha", 0.5),
    ("leaky_relu", "negative_slope", 0.5),
    ("logsumexp", "b", 0.5),
    ("standardize", "variance", 0.5),
]


@over(("name", "parameter", "value"), PROMOTED)
def test_dtypes_are_promoted_as_in_jax(name, parameter, value):
    wide = jnp.full((1,), value, "float32")
    numbers = [] if name == "standardize" else [0.5]  # which have no axis
    for x in (jnp.asarray([0.5, -2.0], "bfloat16"), np.asarray([0.5, -2.0], "float16"), *numbers):
        ours, theirs = (getattr(m, name)(x, **{parameter: wide}) for m in (dropin, jax.nn))
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-2)  # JAX computes in part in 16 bits


@over(("name", "parameter"), [p[:2] for p in PROMOTED[:-1]])
def test_shapes_are_broadcast_as_in_jax(name, parameter):
    x, wide = jnp.asarray([0.5, -2.0]), jnp.asarray([[0.5], [1.5], [2.5]])
    ours, theirs = (getattr(m, name)(x, **{parameter: wide}) for m in (dropin, jax.nn))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_integers_are_kept_as_in_jax():
    x = jnp.asarray([-3, 0, 2])
    for name in ("hard_tanh", "identity", "relu", "relu6"):
        ours, theirs = (getattr(m, name)(x) for m in (dropin, jax.nn))
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert dropin.identity(x > 0).dtype == bool


@over("keepdims", [False, True])
def test_logsumexp_with_weights_and_signs(keepdims):
    given = {"axis": -1, "b": jnp.asarray(-ROWS), "keepdims": keepdims, "return_sign": True}
    x = jnp.asarray(ROWS)
    for ours, theirs in zip(
        dropin.logsumexp(x, **given), jax.nn.logsumexp(x, **given), strict=True
    ):
        assert ours.shape == theirs.shape
        assert is_close(np.asarray(ours), np.asarray(theirs)).all()


def test_standardize_takes_two_passes():
    x = jnp.asarray([10001.0, 10002.0, 10003.0], "float32")
    assert abs(jax.nn.standardize(x)).max() > 100
    np.testing.assert_allclose(dropin.standardize(x), [-(1.5**0.5), 0.0, 1.5**0.5], rtol=1e-4)


ATTENDED = {
    "plain": {},
    "causal": {"is_causal": True, "scale": 0.3},
    "bias and mask": {
        "bias": jnp.linspace(-1, 1, 6, dtype="float32")[None, None, None],
        "mask": (jnp.arange(5)[:, None] + jnp.arange(6) != 3)[None, None],
    },
    "lengths": {
        "query_seq_lengths": jnp.array([5, 3], "int32"),
        "key_value_seq_lengths": jnp.array([6, 2], "int32"),
    },
    "window": {"local_window_size": (2, 1)},
    "one window": {"local_window_size": 1, "implementation": "xla"},
}


UNBATCHED = [name for name in ATTENDED if name != "lengths"]


@pytest.mark.compiled
@over(
    ("given", "batch"),
    [*((name, True) for name in ATTENDED), *((name, False) for name in UNBATCHED)],
)
def test_attention(given, batch):
    """The dtype is float32, in which JAX computes the weights.

    Nor is a residual of a fully masked query compared: JAX has the largest negative number.
    """
    rng = np.random.default_rng(0)
    shapes = (2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 3)
    arrays = [jnp.asarray(rng.normal(size=s[0 if batch else 1 :]), "float32") for s in shapes]
    results = []
    for function in (dropin.dot_product_attention, jax.nn.dot_product_attention):

        @jax.jit
        def program(*arrays, f=function):
            y, vjp = jax.vjp(lambda *arrays: f(*arrays, **ATTENDED[given]), *arrays)
            _, residual = f(*arrays, **ATTENDED[given], return_residual=True)
            return y, *vjp(y), jnp.maximum(residual, -1e30)

        results.append(program(*arrays))
    for ours, theirs in zip(*results, strict=True):
        if given == "lengths":  # a query beyond its length is fully masked
            seen = ours.shape[:2] != (2, 5) or jnp.arange(5) < jnp.array([[5], [3]])
            shape = (2, 5, *(1,) * (ours.ndim - 2))
            seen = seen if seen is True else seen.reshape(shape)
            ours, theirs = (jnp.where(seen, part, 0.0) for part in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-6)


def test_signature_of_attention():
    assert untyped_parameters(dropin.dot_product_attention) == untyped_parameters(
        jax.nn.dot_product_attention
    )


def test_bad_arguments_of_attention_raise():
    x = jnp.ones((1, 2, 1, 3))
    with pytest.raises(ValueError, match="implementation"):
        dropin.dot_product_attention(x, x, x, implementation="flash")
    with pytest.raises(ValueError, match="depth"):
        dropin.dot_product_attention(x, x[..., :2], x)


# JAX's own tests found these


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "tanh", "gelu", "silu", "elu", "glu"])
def test_no_more_is_kept_for_the_backward_pass_than_by_jax(name):
    x = jnp.linspace(-2, 2, 12).reshape(3, 4)

    def kept(function):
        _, pullback = jax.vjp(function, x)
        return sum(leaf.size for leaf in jax.tree_util.tree_leaves(pullback))

    ours = kept(jax.jit(getattr(dropin, name)))
    assert ours <= kept(getattr(jax.nn, name))
    if name in ("softmax", "tanh", "gelu", "silu"):
        assert ours == x.size


def test_one_hot_of_what_is_no_array_of_integers():
    expected = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "f4")
    for x in ([0, 2], (0, 2), [np.int8(0), 2]):
        y = dropin.one_hot(x, 3)
        assert isinstance(y, jax.Array)
        assert y.dtype == jax.nn.one_hot(jnp.asarray(x), 3).dtype
        np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dropin.one_hot(2, 3), [0.0, 0.0, 1.0])
    assert dropin.one_hot([1, 0], 2, dtype=jnp.bfloat16).dtype == jnp.bfloat16
    for dtype in ("float32", "bfloat16"):
        x = jnp.asarray([0.0, np.nan, 2.0, 0.5, -1.0], dtype)
        with pytest.warns(DeprecationWarning, match="input should be integer-typed") as caught:
            y = dropin.one_hot(x, 3)
        assert caught[0].filename == __file__
        with pytest.warns(DeprecationWarning, match="input should be integer-typed"):
            theirs = jax.nn.one_hot(x, 3)
        assert y.dtype == theirs.dtype
        np.testing.assert_array_equal(y, theirs)
    with pytest.raises(jax.errors.ConcretizationTypeError, match=r"jax\.nn\.one_hot argument"):
        jax.make_jaxpr(dropin.one_hot)(3, 5)


def test_arrays_of_numpy_beside_those_of_jax():
    x, mask = jnp.linspace(-2, 2, 6).reshape(2, 3), np.array([[True, False, True]] * 2)
    row, factors = np.array([0.5, 1.0, 2.0], "f4"), np.array([1.0, -0.5, 2.0])
    for name, given in [
        ("softmax", {"where": mask}),
        ("log_softmax", {"where": mask[:1]}),
        ("logsumexp", {"b": factors, "axis": 0}),
        ("logmeanexp", {"where": mask}),
        ("standardize", {"mean": row, "variance": row}),
        ("celu", {"alpha": row}),
        ("elu", {"alpha": row}),
        ("leaky_relu", {"negative_slope": row}),
        ("squareplus", {"b": row}),
    ]:
        got = getattr(dropin, name)(x, **given)
        expected = getattr(dropin, name)(x, **{k: jnp.asarray(v) for k, v in given.items()})
        assert isinstance(got, jax.Array)
        np.testing.assert_array_equal(got, expected, name)
    y = dropin.softmax(np.ones((2, 3), "f4"), where=jnp.asarray(mask))
    assert isinstance(y, jax.Array)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_attention_with_a_bias_of_another_dtype(dtype):
    keys = jax.random.split(jax.random.key(0), 4)
    q, k, v = (jax.random.normal(key, (2, 5, 3, 4), dtype) for key in keys[:3])
    bias = np.asarray(jax.random.normal(keys[3], (3, 5, 5), "float32"))
    got = dropin.dot_product_attention(q, k, v, bias, np.tril(np.ones((1, 1, 5, 5), bool)))
    expected = jax.nn.dot_product_attention(
        q, k, v, jnp.asarray(bias[None]), jnp.tril(jnp.ones((1, 1, 5, 5), bool))
    )
    assert got.dtype == expected.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(got, "f4"),
        np.asarray(expected, "f4"),
        atol=0.02 if dtype == "bfloat16" else 1e-6,
    )


def test_attention_without_rank_promotion():
    x = jnp.ones((2, 4, 2, 3))
    lengths = jnp.asarray([2, 3])
    with jax.numpy_rank_promotion("raise"):
        for given in (
            {"is_causal": True},
            {"local_window_size": (1, 2)},
            {"query_seq_lengths": lengths, "key_value_seq_lengths": lengths},
            {"mask": jnp.ones((1, 4, 4), bool), "return_residual": True},
        ):
            got = dropin.dot_product_attention(x, x, x, **given)
            assert jax.tree_util.tree_leaves(got)[0].shape == x.shape
