"""JAX: arrays that are sharded over eight devices, and what the devices send to each other.

What is sent stands in the program that XLA compiles. In the automatic mode XLA decides how results
are sharded, in the explicit mode their types say it.
"""

from __future__ import annotations

import functools
import re
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from oracle import (
    ALONG_AXIS,
    ELEMENTWISE,
    FUNCTIONS,
    last_axis_parameters,
    map_into_domain,
    one_of_each_family,
    over,
    required_parameters,
    rowwise_parameters,
    vjp,
)

import activations_xp as ax
from activations_xp.parallel.jax import ring_attention

pytestmark = pytest.mark.compiled

MODES = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
ROWS, COLUMNS = 3, 64

COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-broadcast|collective-permute"
    r"|ragged-all-to-all|reduce-scatter)(?:-start)?\("
)


def mesh_of(mode, devices=8):
    return jax.make_mesh((devices,), ("d",), axis_types=(MODES[mode],))


def put(values, mesh, *spec):
    return jax.device_put(values, NamedSharding(mesh, PartitionSpec(*spec)))


def compiled(f, *arrays):
    return jax.jit(f).lower(*arrays).compile()


def sent(program):
    """Return the collective operations of a program, and of how many elements each is."""
    found = []
    for types, operation in COLLECTIVE.findall(program.as_text()):
        shapes = re.findall(r"\[([\d,]*)\]", types)
        sizes = (prod(int(n) for n in shape.split(",") if n) for shape in shapes)
        found.append((operation, sum(sizes)))
    return found


def assert_sharded_as(y, x):
    assert y.sharding.is_equivalent_to(x.sharding, x.ndim)


def values_of(function, shape=(ROWS, COLUMNS)):
    """Return a matrix of points of the domain, in any order."""
    x = np.random.default_rng(0).permutation(np.linspace(-2.9, 3.3, prod(shape)))
    return map_into_domain(function.definition, x).reshape(shape)


def with_gradient(f):
    """Return a function of x and of a cotangent, that returns the value and the gradient."""

    def both(x, g):
        y, pullback = jax.vjp(f, x)
        return y, pullback(g)[0]

    return both


# element by element


def families_of(functions):
    return list(dict.fromkeys(f.__module__.rpartition(".")[2] for f in functions))


@over("mode", MODES)
@over("family", families_of(ELEMENTWISE))
def test_elementwise_functions_send_nothing(family, mode):
    """Values and gradients have the sharding of x."""
    functions = {f.__name__: f for f in ELEMENTWISE if f.__module__.endswith(f".{family}")}
    given = {name: required_parameters(f) for name, f in functions.items()}
    calls = {name: functools.partial(f, **given[name]) for name, f in functions.items()}
    mesh, g = mesh_of(mode), np.cos(np.arange(ROWS * COLUMNS)).reshape(ROWS, COLUMNS)
    points = {name: values_of(f) for name, f in functions.items()}
    xs = {name: put(x, mesh, None, "d") for name, x in points.items()}
    # apart, for what shards one may shard the other
    values = compiled(lambda xs: {n: calls[n](x) for n, x in xs.items()}, xs)
    gradients = compiled(
        lambda xs, g: {n: with_gradient(calls[n])(x, g)[1] for n, x in xs.items()},
        *(xs, put(g, mesh, None, "d")),
    )
    assert sent(values) == sent(gradients) == []
    results = values(xs), gradients(xs, put(g, mesh, None, "d"))
    for name, x in points.items():
        expected = calls[name](x), vjp(functions[name], g, x, **given[name])
        for got, known in zip(results, expected, strict=True):
            assert_sharded_as(got[name], xs[name])
            np.testing.assert_allclose(got[name], known, rtol=1e-9, atol=1e-9, err_msg=name)


@over("function", one_of_each_family(FUNCTIONS))
def test_eager_calls_keep_the_sharding(function):
    mesh = mesh_of("auto")
    values = values_of(function, (8, 16))
    x = put(values, mesh, "d")
    given = rowwise_parameters(function)
    y = function(x, **given)
    assert len(y.sharding.device_set) == 8
    assert y.sharding.spec[0] == "d"
    np.testing.assert_allclose(y, function(values, **given), rtol=1e-10, atol=1e-10)


# along a sharded axis

STATISTICS = {
    "entmax": (4, 8),
    "entmax15": (4, 8),
    "gumbel_softmax": (3, 6),
    "layer_norm": (4, 8),
    "log_softmax": (2, 3),
    "logcumsumexp": (3, 8),
    "logmeanexp": (2, 2),
    "logsumexp": (2, 2),
    "maxout": (1, 2),
    "multi_hot": (1, 1),
    "normalize": (2, 3),
    "rms_norm": (2, 3),
    "softmax": (2, 3),
    "softmin": (2, 5),
    "sparsemax": (3, 6),
    "standardize": (4, 8),
}
"""The sums and maxima, a few numbers for each row, that are sent for the value and for both the
value and the gradient. A mean is removed twice, and squares are scaled by the largest number."""

HALVES = {f.__name__: (0.5, 1.5) for f in ALONG_AXIS if "gate" in f.definition.parameters}
SORTED = {"entmax": (2, 4), "entmax15": (2, 4), "logcumsumexp": (8, 31), "sparsemax": (1, 2)}
MOVED = {"crelu": (2, 3), **HALVES, **SORTED}
"""The number of times that all elements are sent, for these alone: XLA gathers what is sorted, and
scans in many steps. In the explicit mode, what JAX refuses is gathered once, and once more for the
gradient."""


@over("mode", MODES)
@over("function", ALONG_AXIS)
def test_what_functions_along_a_sharded_axis_send(function, mode):
    f = functools.partial(function, **last_axis_parameters(function))
    x = put(values_of(function), mesh_of(mode), None, "d")
    programs = compiled(f, x), compiled(with_gradient(f), x, jax.jit(f)(x))
    for i, operations in enumerate(map(sent, programs)):
        sums = [n for name, n in operations if name == "all-reduce" and n <= 4 * ROWS]
        moved = sum(n for _, n in operations) - sum(sums)
        is_gathered = function.__name__ in SORTED and mode == "explicit"
        most = (1, 2) if is_gathered else MOVED.get(function.__name__, (0, 0))
        assert len(sums) <= STATISTICS.get(function.__name__, (0, 0))[i], operations
        assert moved <= most[i] * x.size, operations


# the explicit mode


def _assert_sharded(function, *forms):
    f = functools.partial(function, **rowwise_parameters(function))
    values = map_into_domain(function.definition, np.linspace(-2.9, 3.3, 128).reshape(8, 16))
    values = np.random.default_rng(0).permuted(values, axis=1)
    for spec in ((None, "d"), ("d",)):
        x = put(values, mesh_of("explicit"), *spec)
        for form in forms:
            y, expected = (form(lambda x: f(x))(array) for array in (x, jnp.asarray(values)))
            np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-12, atol=1e-12)
            if y.shape == x.shape:
                assert jax.typeof(y).sharding == jax.typeof(x).sharding


def _grad(f):
    return jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))


@over("function", ALONG_AXIS)
def test_explicitly_sharded(function):
    """The rows are sharded, or their elements, and the result is as x is."""
    _assert_sharded(function, lambda f: f)


@over("function", [ax.entmax15, ax.logcumsumexp, ax.sparsemax])
def test_explicitly_sharded_under_transforms(function):
    _assert_sharded(
        function,
        lambda f: jax.jit(f),
        lambda f: jax.jit(_grad(f)),
        lambda f: lambda x: jax.jit(jax.vmap(f))(jnp.stack([x, x]))[1],
    )


@pytest.mark.sweep
@over("function", [ax.entmax15, ax.logcumsumexp, ax.sparsemax])
def test_second_derivative_explicitly_sharded(function):
    _assert_sharded(function, lambda f: jax.jit(_grad(_grad(f))))


def test_explicitly_sharded_masks_and_parameters():
    """They are sharded as x is, and all gradients are as the arguments are."""
    x = np.random.default_rng(0).normal(size=(8, 16))
    arrays = {"x": x, "where": x < 1, "alpha": np.linspace(1.1, 1.9, 8).reshape(8, 1)}
    mesh = mesh_of("explicit")

    def gradients(x, where, alpha):
        def loss(x, alpha):
            return jnp.sum(jnp.sin(ax.entmax(x, alpha, n_iter=3, where=where)))

        return jax.grad(loss, (0, 1))(x, alpha)

    expected = gradients(**{name: jnp.asarray(a) for name, a in arrays.items()})
    specs = {"x": (None, "d"), "where": (None, "d"), "alpha": ()}
    sharded = {name: put(a, mesh, *specs[name]) for name, a in arrays.items()}
    got = jax.jit(gradients)(**sharded)
    for ours, true, name in zip(got, expected, ("x", "alpha"), strict=True):
        np.testing.assert_allclose(np.asarray(ours), true, rtol=1e-10, atol=1e-12)
        assert jax.typeof(ours).sharding == jax.typeof(sharded[name]).sharding


# transforms


def test_donated_arrays_are_written_to():
    mesh = mesh_of("auto")
    for f in (ax.gelu, ax.softmax):
        x = put(np.ones((8, 1000), "f4"), mesh, None, "d")
        program = jax.jit(f, donate_argnums=0).lower(x).compile()
        assert program.memory_analysis().alias_size_in_bytes == x.nbytes / 8
        assert_sharded_as(program(x), put(np.ones((8, 1000)), mesh, None, "d"))
        assert x.is_deleted()


def test_vmap_and_constraints_keep_the_sharding():
    mesh = mesh_of("auto")
    sharding = NamedSharding(mesh, PartitionSpec("d"))
    x, g = (np.random.default_rng(i).normal(size=(16, 5, 4)) for i in range(2))

    def rows(x):
        y = jax.lax.with_sharding_constraint(ax.mish(x), NamedSharding(mesh, PartitionSpec()))
        return ax.softmax(y) * ax.prelu(x, x[0])

    mapped = jax.vmap(rows, spmd_axis_name="d")
    program = compiled(with_gradient(mapped), *(put(a, mesh, "d") for a in (x, g)))
    assert sent(program) == []
    y, gradient = program(*(put(a, mesh, "d") for a in (x, g)))
    assert y.sharding.is_equivalent_to(sharding, 3)
    expected, pullback = jax.vjp(jax.vmap(rows), jnp.asarray(x))
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, pullback(g)[0], rtol=1e-9, atol=1e-12)


def test_pmap():
    x, g = (np.random.default_rng(i).normal(size=(8, 5, 4)) for i in range(2))
    for f in (ax.gelu, ax.softmax, ax.entmax15):
        y, gradient = jax.pmap(with_gradient(f))(x, g)
        assert len(y.sharding.device_set) == 8
        np.testing.assert_allclose(y, f(x), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(gradient, f.vjp(g, x)["x"], rtol=1e-9, atol=1e-10)


def test_each_device_draws_its_own_noise():
    x = put(np.ones((64, 64)), mesh_of("auto"), "d")
    program = compiled(lambda x, key: ax.dropout(x, 0.5, rng=key), x, jax.random.key(0))
    assert sent(program) == []
    y = program(x, jax.random.key(0))
    np.testing.assert_array_equal(y, ax.dropout(jnp.ones((64, 64)), 0.5, rng=jax.random.key(0)))


# attention

LAYOUTS = {
    "heads": ((2, 8, 6, 4), (2, 8, 6, 4), (None, "d")),
    "groups of heads": ((2, 16, 6, 4), (2, 8, 6, 4), (None, "d")),
    "batch": ((8, 2, 6, 4), (8, 2, 6, 4), ("d",)),
}
"""The shapes of the queries and of the keys, and how they are sharded."""


PARALLEL = [((2, 5, 16), ()), ((16, 16), ("d",)), ((16, 16), (None, "d"))]
"""The shapes and shardings of x, of the weights of its projections, and of the last weight."""


def attention_arrays(query, keys):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in (query, keys, keys, query)]


def attention_with_gradients(attend):
    def both(query, key, value, g):
        y, pullback = jax.vjp(attend, query, key, value)
        return y, *pullback(g)

    return both


@over("mode", MODES)
@over("layout", LAYOUTS)
def test_attention_of_heads_and_batches_sends_nothing(layout, mode):
    *shapes, spec = LAYOUTS[layout]
    arrays, mesh = attention_arrays(*shapes), mesh_of(mode)
    sharded = [put(a, mesh, *spec) for a in arrays]
    mask = np.random.default_rng(1).random((6, 6)) < 0.7

    def attend(query, key, value):
        y, lse = ax.attention_with_lse(query, key, value, mask=jnp.asarray(mask))
        y, _ = ax.merge_attention(y, lse, y, lse)
        return y + ax.scaled_dot_product_attention(query, key, value, is_causal=True)

    both = attention_with_gradients(attend)
    program = compiled(both, *sharded)
    assert sent(program) == []
    expected = both(*map(jnp.asarray, arrays))
    for got, known, x in zip(program(*sharded), expected, [sharded[0], *sharded], strict=False):
        assert_sharded_as(got, x)
        np.testing.assert_allclose(got, known, rtol=1e-10, atol=1e-12)


def test_heads_that_are_sharded_by_their_weights_send_one_sum():
    """Tensor parallelism: the projections have the rows of some heads, the last one the columns."""
    mesh, rng = mesh_of("auto"), np.random.default_rng(0)
    x, rows, columns = (put(rng.normal(size=s), mesh, *spec) for s, spec in PARALLEL)

    def attend(x, query, key, value, out):
        weights = {"q_proj_weight": query, "k_proj_weight": key, "v_proj_weight": value}
        return ax.multi_head_attention(x, x, x, 8, out, **weights, is_causal=True)[0]

    def gradients(*arrays):
        return jax.vjp(attend, *arrays)[1](arrays[0])

    arrays = x, rows, rows, rows, columns
    assert sent(compiled(attend, *arrays)) == [("all-reduce", x.size)]
    assert sent(compiled(gradients, *arrays)) == [("all-reduce", 3 * x.size)]
    whole = [jnp.asarray(np.asarray(a)) for a in arrays]
    for got, known in zip(jax.jit(gradients)(*arrays), gradients(*whole), strict=True):
        np.testing.assert_allclose(got, known, rtol=1e-10, atol=1e-12)


def ring_of(mesh, **options):
    """Return attention with its gradients of a sequence that is sharded over a mesh."""
    spec = PartitionSpec(None, None, "d")
    ring = functools.partial(ring_attention, axis_name="d", **options)
    return attention_with_gradients(jax.shard_map(ring, mesh=mesh, in_specs=spec, out_specs=spec))


@over("dtype", ["float64", "bfloat16"])
@over("options", [{}, {"is_causal": True, "scale": 0.7, "softcap": 4.0}])
def test_ring_attention_is_attention(options, dtype):
    """It passes keys, values and their gradients on, and gathers nothing."""
    mesh = mesh_of("auto")
    arrays = [jnp.asarray(a, dtype) for a in attention_arrays((2, 4, 32, 8), (2, 2, 32, 8))]
    sharded = [put(a, mesh, None, None, "d") for a in arrays]
    program = compiled(ring_of(mesh, **options), *sharded)
    assert {name for name, _ in sent(program)} == {"collective-permute"}
    wide = [np.asarray(a, "f8") for a in arrays]
    expected = [ax.scaled_dot_product_attention(*wide[:3], **options)]
    gradients = ax.scaled_dot_product_attention.vjp(wide[3], *wide[:3], **options)
    expected += [gradients[name] for name in ("query", "key", "value")]
    eps = float(jnp.finfo(dtype).eps)
    bound = 0.51 * eps if dtype == "bfloat16" else 32 * eps  # rounded once
    for got, known, x in zip(program(*sharded), expected, [sharded[0], *sharded], strict=False):
        assert_sharded_as(got, x)
        assert got.dtype == dtype
        error = np.abs(np.asarray(got, "f8") - known)
        assert (error <= bound * np.maximum(np.abs(known), 2.0**-2)).all()


@over("is_causal", [False, True])
def test_ring_with_masked_keys(is_causal):
    """A masked key has no part, even if it is NaN; the first queries attend to nothing."""
    mesh = mesh_of("auto")
    arrays = attention_arrays((2, 4, 32, 8), (2, 2, 32, 8))
    mask = np.random.default_rng(2).random((2, 1, 1, 32)) < 0.6
    mask[..., :6] = False
    for x in arrays[1:3]:
        x[~np.broadcast_to(mask[:, :, 0], x.shape[:-1])] = np.nan
    spec = PartitionSpec(None, None, "d")

    def ring(query, key, value):
        attend = functools.partial(ring_attention, axis_name="d", is_causal=is_causal)
        specs = {"mesh": mesh, "in_specs": (spec,) * 3 + (PartitionSpec(None, None, None, "d"),)}
        mapped = jax.shard_map(lambda *b: attend(*b[:3], mask=b[3]), out_specs=spec, **specs)
        return mapped(query, key, value, jnp.asarray(mask))

    got = jax.jit(attention_with_gradients(ring))(*(put(a, mesh, *spec) for a in arrays))
    given = {"mask": mask, "is_causal": is_causal}
    gradients = ax.scaled_dot_product_attention.vjp(arrays[3], *arrays[:3], **given)
    expected = ax.scaled_dot_product_attention(*arrays[:3], **given), *gradients.values()
    for ours, known in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, known, rtol=1e-11, atol=1e-12)
    assert (got[0][:, :, :6] == 0).all() or not is_causal


def test_memory_of_a_ring_is_that_of_a_block():
    """Twice as many devices have a sequence of twice the length in the same memory, each."""
    memory = []
    for devices in (2, 4, 8):
        shape = 1, 2, 128 * devices, 16
        arrays = [jax.ShapeDtypeStruct(shape, "float32")] * 4
        found = compiled(ring_of(mesh_of("auto", devices), is_causal=True), *arrays)
        memory.append(found.memory_analysis().temp_size_in_bytes)
    assert max(memory) < 1.1 * min(memory)


def test_ring_of_bad_blocks():
    mesh = mesh_of("auto")
    x, y = (put(np.ones((1, 1, n, 4)), mesh, None, None, "d") for n in (16, 32))
    with pytest.raises(ValueError, match=r"^ring_attention: .* as many queries as keys, got"):
        jax.eval_shape(ring_of(mesh, is_causal=True), x, y, y, x)
    with pytest.raises(ValueError, match=r"^ring_attention: mask must be one of keys, got shape"):
        jax.eval_shape(ring_of(mesh, mask=jnp.ones((2, 2), bool)), x, x, x, x)
    with pytest.raises(ValueError, match="key and value must have the same sequence length"):
        jax.eval_shape(ring_of(mesh), x, y, x, x)
