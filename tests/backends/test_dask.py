"""Dask: graphs, laziness, chunks of all kinds, random numbers, and a cluster of processes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from dask.callbacks import Callback
from oracle import (
    ALONG_AXIS,
    DIFFERENTIABLE,
    ELEMENTWISE,
    FUNCTIONS,
    map_into_domain,
    over,
    required_parameters,
    written_forms,
)

import activations_xp as ax

SHAPE = 4, 6
CHUNKS = [(2, 3), ((1, 3), (2, 3, 1)), ((4,), (1, 1, 4)), ((0, 3, 0, 1), 6)]
NOISE = np.random.default_rng(1).random(SHAPE)


@contextlib.contextmanager
def lazy():
    """Have Dask refuse to compute."""

    def scheduler(*args, **kwargs):
        raise AssertionError("a lazy array was computed")

    with dask.config.set(scheduler=scheduler):
        yield


def values_of(function, dtype="float64"):
    x = np.random.default_rng(0).normal(0, 3, SHAPE)
    return map_into_domain(function.definition, x).astype(dtype)


def arguments_of(function):
    """Return the arguments of a call in training, with noise that is not alike everywhere."""
    given = required_parameters(function)
    if "noise" in function.definition.parameters:
        given |= {"noise": NOISE}
    if "training" in function.definition.parameters:
        given |= {"training": True}
    return given


def computed(y):
    with np.errstate(all="ignore"):
        return y.compute(scheduler="synchronous")


def in_chunks(value, chunks):
    return da.from_array(value, chunks) if isinstance(value, np.ndarray) else value


def own_tasks(y, *arrays):
    """Return how many tasks there are to make y of arrays."""
    return len(y.__dask_graph__()) - len(
        set().union(*(array.__dask_graph__().keys() for array in arrays))
    )


# graphs


@over("function", ELEMENTWISE)
def test_elementwise_functions_are_one_task_a_chunk(function):
    x = da.from_array(values_of(function), (1, 3))
    given = required_parameters(function)
    for form in written_forms(function):
        assert own_tasks(form(x, **given), x) == 8
    if function in DIFFERENTIABLE:
        assert own_tasks(function.vjp(x, x, **given)["x"], x) == 8
        for part in function.value_and_derivative(x, **given):
            assert own_tasks(part, x) == 16


@over("function", ALONG_AXIS)
def test_functions_along_an_axis_in_one_chunk_are_one_task_a_chunk(function):
    x = da.from_array(values_of(function), (1, 6))
    y = function(x, **{**required_parameters(function), "axis": -1})
    assert own_tasks(y, x) == 4


@over("function", [ax.softmax, ax.log_softmax, ax.logsumexp, ax.layer_norm, ax.rms_norm])
def test_a_chunked_axis_is_not_gathered(function):
    """The largest array of any task is a chunk, and each chunk is read at most five times."""
    x = da.from_array(values_of(function).repeat(64, axis=1), (4, 6))
    largest = []

    class Watch(Callback):
        def _posttask(self, key, result, *_):
            if not isinstance(key, str):  # which the whole of x has
                largest.append(result.size)

    y = function(x, axis=1)
    with Watch():
        got = y.compute(scheduler="synchronous", optimize_graph=False)
    assert max(largest) <= 24
    assert own_tasks(y, x) <= 64 * 5 + 4 * 9
    np.testing.assert_allclose(got, function(x.compute(), axis=1), rtol=1e-12, atol=1e-14)


def test_sorting_gathers_the_axis():
    x = da.from_array(values_of(ax.sparsemax), (1, 3))
    assert ax.sparsemax(x).chunks == ((1,) * 4, (6,))
    assert ax.entmax(x, 1.25).chunks == ((1,) * 4, (6,))  # as do many reductions
    assert ax.sparsemax(x, axis=0).chunks == ((4,), (3, 3))


def test_names():
    x = da.ones(8, chunks=4)
    for function, name in ((ax.gelu, "gelu"), (ax.mish.derivative, "mish.derivative")):
        assert dask.utils.key_split(function(x).name) == name
    names = {dask.utils.key_split(key) for key in ax.softmax(x).__dask_graph__()}
    assert names == {
        *("ones_like", "softmax", "softmax-max", "softmax-sum"),
        *("softmax-max-tree", "softmax-sum-tree"),
    }


def test_tokens():
    """The same call has the same name, and another one another name."""
    x = da.ones((4, 4), chunks=2)

    def names():
        return [
            *(f(x).name for f in (ax.gelu, ax.gelu.accurate, ax.gelu.derivative, ax.softmax)),
            *(ax.elu(x, alpha).name for alpha in (1.0, 0.0, -0.0, 2.0)),
            *(ax.softmax(x, axis).name for axis in (0, None)),
            *(ax.softmax.vjp(x, 2 * x)["x"].name, ax.softmax.vjp(x, x)["x"].name),
        ]

    first = names()
    assert len(set(first)) == len(first)
    assert names() == first
    with ax.precision("accurate"):
        assert ax.gelu(x).name == first[1]


def test_graphs_are_small():
    """Functions are pickled by their names."""
    x = da.ones((8, 8), chunks=2)
    for function in (ax.gelu, ax.mish.accurate, ax.gelu.derivative, ax.softmax, ax.layer_norm):
        y = function(x)
        assert len(pickle.dumps(y)) - len(pickle.dumps(x)) < 8000
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)), y)


def test_fusion():
    """A function and what stands around it are one task."""
    x = da.ones((8, 8), chunks=4)
    (y,) = dask.optimize(ax.gelu(x + 1) * 2)
    assert len(y.__dask_graph__()) == 4


def test_the_precision_is_that_of_the_call():
    values = np.linspace(-9, 9, 1000, dtype="float32")
    x = da.from_array(values, 300)
    with ax.precision("accurate"):
        y = ax.gelu(x)
    np.testing.assert_array_equal(y.compute(), ax.gelu.accurate(values))


# values


@over("chunks", CHUNKS)
@over("function", FUNCTIONS)
def test_any_chunks(function, chunks):
    """They give what one chunk gives, in the dtype and type that the lazy array announces."""
    for dtype, digits in (("float64", 1e-12), ("float32", 5e-6)):
        values, given = values_of(function, dtype), arguments_of(function)
        x = da.from_array(values, chunks)
        for form in written_forms(function):
            with lazy():
                y = form(x, **{k: in_chunks(v, chunks) for k, v in given.items()})
            expected = form(values, **given)
            got = computed(y)
            assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
            assert type(y._meta) is np.ndarray
            np.testing.assert_allclose(got, expected, rtol=digits, atol=digits)


@over("chunks", CHUNKS)
@over("function", [f for f in FUNCTIONS if hasattr(f, "vjp")])
def test_any_chunks_of_gradients(function, chunks):
    """Gradients of parameters are sums over all chunks."""
    values, given = values_of(function), arguments_of(function)
    for name, spec in function.definition.parameters.items():
        value = {**function.definition.defaults, **given}[name]
        if spec.differentiable and isinstance(value, (int, float)) and spec.broadcasts:
            one = spec.broadcasts == "to slices"
            given[name] = np.linspace(0.6, 0.7, 1 if one else 6) * (value or 1)
        elif spec.broadcasts == "coefficients":
            given[name] = np.array(value, "float64")
    y = function(values, **given)
    g = np.cos(np.arange(y.size)).reshape(y.shape)
    there = {k: in_chunks(v, chunks if np.ndim(v) == 2 else -1) for k, v in given.items()}
    with lazy():
        found = function.vjp(da.from_array(g, 2), da.from_array(values, chunks), **there)
    expected = function.vjp(g, values, **given)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert found[name].shape == gradient.shape
        np.testing.assert_allclose(computed(found[name]), gradient, rtol=1e-11, atol=1e-12)


@over("dtype", ["float16", "bfloat16", "int8", "bool"])
@over("function", [ax.gelu, ax.relu, ax.softmax, ax.layer_norm, ax.logsumexp])
def test_other_dtypes(function, dtype):
    values = np.arange(24).reshape(SHAPE).astype(getattr(ml_dtypes, dtype, dtype))
    y = function(da.from_array(values, (2, 4)))
    expected = function(values)
    got = computed(y)
    assert y.dtype == got.dtype == expected.dtype
    eps = {"float16": 2**-10, "bfloat16": 2**-7}.get(dtype, 1e-12)
    assert_all = np.testing.assert_allclose
    assert_all(got.astype("f8"), expected.astype("f8"), rtol=eps, atol=eps / 8)


def test_sizes_that_are_not_known():
    values = np.random.default_rng(0).normal(0, 1, (12, 6))
    chosen = values[values[:, 0] > 0]
    x = da.from_array(values, (2, 3))
    x = x[x[:, 0] > 0]
    w, mask = np.arange(6.0), chosen > 0
    gradient = ax.prelu.vjp(chosen, chosen, w)["weight"]
    with lazy():
        calls = [
            (ax.gelu(x), ax.gelu(chosen)),
            (ax.prelu(x, da.from_array(w, 2)), ax.prelu(chosen, w)),
            (ax.gelu.vjp(x, x)["x"], ax.gelu.vjp(chosen, chosen)["x"]),
            (ax.prelu.vjp(x, x, da.from_array(w, 2))["weight"], gradient),
            (ax.softmax.vjp(x, x, axis=0)["x"], ax.softmax.vjp(chosen, chosen, axis=0)["x"]),
            (ax.softmax(x), ax.softmax(chosen)),
            (ax.softmax(x, axis=0, where=x > 0), ax.softmax(chosen, axis=0, where=mask)),
            (ax.standardize(x, axis=None), ax.standardize(chosen, axis=None)),
            (ax.logmeanexp(x, axis=0), ax.logmeanexp(chosen, axis=0)),
            (ax.layer_norm(x, weight=da.from_array(w)), ax.layer_norm(chosen, weight=w)),
        ]
    for got, expected in calls:
        np.testing.assert_allclose(computed(got), expected, rtol=1e-12, atol=1e-14)


def test_large_chunks_run_machine_code():
    """Stages of large chunks are compiled as functions of NumPy are, with the same results."""
    values = np.random.default_rng(0).normal(0, 3, (256, 400)).astype("float32")
    mask = values < 6
    x, where = (da.from_array(a, (128, 300)) for a in (values, mask))
    for function in (ax.softmax, ax.standardize):
        got = function(x, axis=1, where=where).compute(scheduler="synchronous")
        expected = function(values.astype("float64"), axis=1, where=mask)
        np.testing.assert_allclose(got, expected, rtol=3e-7, atol=3e-7)


def test_attention_over_a_batch_is_one_task_a_chunk():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(0, 1, (4, n, 5, 8)) for n in (6, 6, 6))
    mask = rng.random((6, 5, 5)) > 0.3
    there = [da.from_array(a, (2, 3, 5, 8)) for a in (query, key, value)]
    where = da.from_array(mask, (3, 5, 5))
    expected = ax.scaled_dot_product_attention(query, key, value, mask=mask)
    y = ax.scaled_dot_product_attention(*there, mask=where)
    assert own_tasks(y, *there, where) == 4
    np.testing.assert_allclose(computed(y), expected, rtol=1e-12)
    along = [a.rechunk((2, 3, 2, 8)) for a in there]
    got = computed(ax.scaled_dot_product_attention(*along, mask=where))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


# random numbers


@over("function", [ax.dropout, ax.alpha_dropout, ax.rrelu, ax.feature_alpha_dropout])
def test_random_numbers_depend_on_no_chunks(function):
    values = np.ones((8, 6, 4), "float32")
    values[::2] = -1
    found = []
    for chunks in (8, (3, 2, 4), (8, 1, 1)):
        with lazy():
            x = da.from_array(values, chunks)
            y = function(x, training=True, rng=np.random.default_rng(5))
        found += [y.compute(scheduler=name) for name in ("synchronous", "threads")]
        found.append(y.rechunk(2)[::2].compute().repeat(2, axis=0) * np.sign(values))
    for other in found[1:2] + found[3:5] + found[6:8]:
        np.testing.assert_array_equal(other, found[0])


def test_random_numbers():
    x = da.zeros((200, 500), chunks=100)
    one = ax.gumbel_softmax(x, rng=np.random.default_rng(1))
    assert (one != ax.gumbel_softmax(x, rng=np.random.default_rng(2))).any().compute()
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(one, ax.gumbel_softmax(x, rng=rng))
    assert (one != ax.gumbel_softmax(x, rng=rng)).any().compute()
    assert (ax.dropout(x + 1, training=True) != ax.dropout(x + 1, training=True)).any().compute()
    with lazy():
        both = [ax.dropout(x + 1, training=True, rng=da.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(*both)
    # half of the slopes of a negative number lie below their mean
    for dtype in ("float32", "float64"):
        x = -da.ones(10**5, chunks=10**4, dtype=dtype)
        u = ax.rrelu(x, 0.0, 1.0, True, rng=np.random.default_rng(0)).compute()
        assert u.dtype == dtype
        u = np.sort(-u.astype("float64"))
        assert np.abs(u - np.linspace(0, 1, u.size)).max() < 1.63 / u.size**0.5  # Kolmogorov, 1 %
        lagged = np.corrcoef(computed(-ax.rrelu(x, 0, 1, True, rng=rng))[1:], u[1:])[0, 1]
        assert abs(lagged) < 0.02


def test_random_numbers_that_cannot_be_drawn():
    x = da.ones(8, chunks=4)
    with pytest.raises(TypeError, match=r"^dropout: rng must be a numpy.random.Generator, a dask"):
        ax.dropout(x, training=True, rng=3)
    with pytest.raises(ValueError, match=r"^dropout: noise needs known chunk sizes; call x.compu"):
        ax.dropout(x[x > 0], training=True)


# processes


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=4,
        threads_per_worker=1,
        memory_limit="560MiB",
        dashboard_address=":0",
        silence_logs=50,
    ) as cluster:
        yield cluster


def _made_by_workers(columns):
    x = da.ones((64, columns), chunks=(64, 25_000), dtype="float32")
    return ax.dropout(x, 0.25, training=True, rng=np.random.default_rng(0))


def test_arrays_larger_than_the_memory_of_a_worker(cluster):
    from distributed import Client

    x = _made_by_workers(2_300_000)
    assert x.nbytes > 560 * 2**20

    def total():
        return ax.softmax(x, axis=1).sum(axis=1, dtype="float64")

    with Client(cluster):
        found = total().compute()
    np.testing.assert_array_equal(found, total().compute(scheduler="threads"))
    np.testing.assert_allclose(found, 1.0, rtol=1e-6)


def test_a_worker_that_dies(cluster):
    """Its chunks are computed again, with the same random numbers, and count once."""
    from distributed import Client

    with Client(cluster) as client:
        x = _made_by_workers(1_000_000)
        future = client.compute(ax.softmax(x, axis=1).sum(dtype="float64"))
        victim = next(iter(cluster.workers.values()))
        while not client.has_what()[victim.worker_address]:
            assert not future.done()
        os.kill(victim.pid, signal.SIGKILL)
        assert future.result(timeout=120) == pytest.approx(64.0, rel=1e-6)
