"""Attention against its definition, written out in float64, on every library."""

from __future__ import annotations

import itertools
from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest
from oracle import accurate, in_sweep, over, peak_memory

import activations_xp as ax
from activations_xp.functions.attention import blockwise

pytestmark = pytest.mark.compiled

sdpa, heads = ax.scaled_dot_product_attention, ax.multi_head_attention

SHAPES = {
    "plain": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)),
    "matrices": ((5, 4), (7, 4), (7, 3)),
    "groups": ((2, 6, 5, 4), (2, 3, 5, 4), (2, 3, 5, 2)),
    "one key head": ((3, 6, 4), (1, 5, 4), (1, 5, 4)),
    "broadcast": ((2, 1, 2, 3, 4), (1, 3, 2, 5, 4), (3, 2, 5, 4)),
    "one query": ((2, 1, 4), (2, 6, 4), (2, 6, 4)),
    "one key": ((2, 6, 4), (2, 1, 4), (2, 1, 4)),
    "more queries": ((2, 7, 4), (2, 3, 4), (2, 3, 4)),
}
"""The shapes of query, key and value."""

MASKS = [None, "full", "keys", "queries"]
BIASES = [None, "full", "keys", "with -inf"]
OPTIONS = list(
    itertools.product(
        SHAPES, [False, True, "upper_left", "lower_right"], MASKS, BIASES, [None, 2.0], [0.0, 0.4]
    )
)
SOME_OPTIONS = OPTIONS[::119]
"""In which all of each are."""

BUDGET = 32
"""The error in units of the dtype's last place: of the largest number of the exact result, or of 1,
which is the size of the terms that may cancel. Those of 8 for the scores weigh most."""


def mask_shape(scores: Any, kind: str | None) -> tuple[int, ...]:
    *_, q_len, kv_len = scores
    return {"keys": (kv_len,), "queries": (q_len, 1)}.get(kind, tuple(scores))


class Problem:
    """Arrays in float64 of these shapes, and an independent reference for what attention is.

    `exact` writes attention and its gradients out in NumPy, with all scores at once. Whatever a
    library or a kernel does is held against it.
    """

    def __init__(
        self, shapes, causal=False, mask=None, bias=None, softcap=None, dropout=0.0, factors=None
    ):
        rng = np.random.default_rng(0)
        query, key, value = SHAPES[shapes] if isinstance(shapes, str) else shapes
        self.scores = (
            *np.broadcast_shapes(query[:-2], *self._leads(query, key)),
            query[-2],
            key[-2],
        )
        self.arrays = {
            name: rng.normal(size=shape)
            for name, shape in (("query", query), ("key", key), ("value", value))
        }
        self.others: dict[str, Any] = {"is_causal": causal, "softcap": softcap, "dropout": dropout}
        if mask is not None:
            self.others["mask"] = rng.random(mask_shape(self.scores, mask)) < 0.7
        if bias is not None:
            self.arrays["bias"] = rng.normal(size=mask_shape(self.scores, bias))
            if bias == "with -inf":
                self.arrays["bias"][..., 0, :] = -inf
        factors = factors or {}
        if dropout or "dropout" in factors:
            self.others["noise"] = rng.random(self.scores)
        for name, shape in factors.items():  # that are arrays
            self.others.pop(name, None)
            self.arrays[name] = 0.3 + 0.5 * rng.random(shape)
        self.g = rng.normal(size=(*self.scores[:-1], value[-1]))

    @staticmethod
    def _leads(query, key):
        """Return what the axes before the sequence broadcast to, with the query's heads."""
        return [(*key[:-3], 1)] if len(key) > 2 else []

    def allowed(self):
        *_, q_len, kv_len = self.scores
        distance = np.arange(kv_len) - np.arange(q_len)[:, None]
        causal = self.others["is_causal"]
        offset = kv_len if causal is False else kv_len - q_len if causal == "lower_right" else 0
        allowed = np.broadcast_to(distance <= offset, self.scores)
        allowed = allowed & self.others.get("mask", True)
        return allowed & (self.arrays.get("bias", 0.0) > -inf)

    def exact(self, arrays=None):
        """Return the result and the gradients."""
        arrays = arrays or self.arrays
        given = {**self.others, **{n: np.asarray(a, "f8") for n, a in arrays.items()}}
        query, key, value = given["query"], given["key"], given["value"]
        groups = query.shape[-3] // key.shape[-3] if query.ndim > 2 and key.ndim > 2 else 1
        key, value = (np.repeat(x, groups, -3) if groups > 1 else x for x in (key, value))
        scale = given.get("scale", 1 / sqrt(query.shape[-1]))
        products = query @ key.mT
        raw, cap = products * scale, given["softcap"]
        scores = raw if cap is None else cap * np.tanh(raw / cap)
        allowed = self.allowed()
        scores = np.where(allowed, scores + given.get("bias", 0.0), -1e300)
        weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-1e299)) * allowed
        row_sum = weights.sum(-1, keepdims=True)
        weights /= np.where(row_sum == 0, 1, row_sum)
        p = np.asarray(given["dropout"])
        kept = np.maximum(1 - p, 1e-9)
        dropout = (given["noise"] >= p) / kept if p.any() else 1.0
        result = (weights * dropout) @ value
        delta, dp = (self.g * result).sum(-1, keepdims=True), self.g @ value.mT
        ds = weights * (dp * dropout - delta)
        gradients = {"value": (weights * dropout).mT @ self.g, "bias": ds}
        gradients["dropout"] = weights * dropout * dp / kept
        if cap is not None:
            tanh, slope = np.tanh(raw / cap), 1 - np.tanh(raw / cap) ** 2
            gradients["softcap"] = ds * (tanh - raw / cap * slope)
            ds = ds * slope
        gradients["scale"] = ds * products
        ds = ds * scale
        gradients |= {"query": ds @ key, "key": ds.mT @ query}
        return result, {
            n: _unbroadcast(gradients[n], a.shape, groups if n in ("key", "value") else 1)
            for n, a in arrays.items()
        }

    def given(self, backend, dtype="float64"):
        """Return the arrays, in the order to be called with, and the rest by name."""
        arrays = {name: backend.array(a, dtype) for name, a in self.arrays.items()}
        others = dict(self.others)
        if "mask" in others:
            others["mask"] = backend.array(others["mask"], "bool")
        if "noise" in others:
            others["noise"] = backend.array(others["noise"], dtype)
        return arrays, others


def _unbroadcast(g, shape, groups):
    """Sum `g` over groups of heads, and over the axes that were broadcast."""
    if groups > 1:
        g = g.reshape(*g.shape[:-3], -1, groups, *g.shape[-2:]).sum(-3)
    shape = (1,) * (g.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, (m, n) in enumerate(zip(g.shape, shape, strict=True)) if m != n)
    return g.sum(axes, keepdims=True)


def check(problem, backend, dtype="float64", room=BUDGET, call=sdpa):
    arrays, others = problem.given(backend, dtype)
    rounded = {name: backend.asnumpy(a).astype("f8") for name, a in arrays.items()}
    problem.g = np.asarray(backend.asnumpy(backend.array(problem.g, dtype)), "f8")
    result, gradients = problem.exact(rounded)
    got = call(**arrays, **others)
    assert got.shape == result.shape
    assert backend.dtype_of(got) == dtype
    eps = 2.0 ** -{"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}[dtype]

    def compare(got, exact):
        got = np.asarray(backend.asnumpy(got), "f8")
        largest = np.abs(exact).max(initial=1.0)
        assert np.abs(got - exact).max(initial=0.0) <= room * eps * largest

    compare(got, result)
    got = sdpa.vjp(backend.array(problem.g, dtype), **arrays, **others)
    assert set(got) == set(arrays)
    for name, array in arrays.items():
        assert (got[name].shape, got[name].dtype) == (array.shape, array.dtype)
        compare(got[name], gradients[name].reshape(array.shape))


@over(("shapes", "causal", "mask", "bias", "softcap", "dropout"), SOME_OPTIONS)
def test_values_and_gradients(shapes, causal, mask, bias, softcap, dropout, backend):
    check(Problem(shapes, causal, mask, bias, softcap, dropout), backend, backend.dtypes[-1])


FACTORS = [
    ("plain", {"scale": ()}, {}),
    ("plain", {"softcap": (3, 1, 1), "dropout": ()}, {}),
    ("matrices", {"scale": (7,), "softcap": ()}, {"causal": True}),
    ("groups", {"scale": (6, 1, 1), "softcap": (2, 1, 1, 5)}, {"bias": "full"}),
    ("groups", {"dropout": (2, 6, 5, 5), "scale": (5, 1)}, {"mask": "full", "softcap": 2.0}),
    ("one key head", {"softcap": (5,)}, {"mask": "keys", "dropout": 0.4}),
    ("broadcast", {"scale": (3, 1, 1, 1), "dropout": (2, 1, 1, 1, 1)}, {"causal": "lower_right"}),
    ("more queries", {"scale": (2, 7, 3), "softcap": (1,)}, {"causal": "lower_right"}),
]
"""Shapes of arrays that scale, cap or drop, with other options."""


@over(("shapes", "factors", "options"), FACTORS)
def test_factors_that_are_arrays(shapes, factors, options, backend):
    check(Problem(shapes, **options, factors=factors), backend, backend.dtypes[-1])


@pytest.mark.once
@over(("shapes", "factors", "options"), FACTORS)
def test_factors_that_are_arrays_in_blocks(shapes, factors, options, backend, monkeypatch):
    monkeypatch.setattr(blockwise, "Q_BLOCK", 3)
    monkeypatch.setattr(blockwise, "KV_BLOCK", 2)
    check(Problem(shapes, **options, factors=factors), backend)


@over("factors", [{"scale": (3, 1, 1)}, {"softcap": (), "dropout": (1, 1, 1)}])
def test_factors_that_are_arrays_in_half_precision(factors, backend):
    check(Problem("plain", factors=factors), backend, backend.dtypes[0])


@pytest.mark.once
@over("shapes", SHAPES)
def test_all_options_together(shapes, backend):
    for _, *options in (o for o in OPTIONS if o[0] == shapes):
        check(Problem(shapes, *options), backend)


@over("dtype", ["float16", "bfloat16", "float32"])
def test_half_and_single_precision(dtype, backend):
    for options in (("plain",), ("groups", True, "full", "keys", 5.0, 0.25)):
        check(Problem(*options), backend, dtype, room=4 if dtype != "float32" else BUDGET)


@over("causal", in_sweep(["lower_right", False, True]))
@over("lengths", in_sweep([(9, 22), (19, 7)]))
def test_several_blocks(lengths, causal, backend, monkeypatch):
    monkeypatch.setattr(blockwise, "Q_BLOCK", 4)
    monkeypatch.setattr(blockwise, "KV_BLOCK", 8)
    q_len, kv_len = lengths
    shapes = (3, 4, q_len, 4), (1, 2, kv_len, 4), (3, 2, kv_len, 3)
    problem = Problem(shapes, causal, "full", "keys", 2.0, 0.3)
    check(problem, backend, backend.dtypes[-1], call=accurate(sdpa))


@pytest.mark.once
@over("options", [(), ("full", "keys", None, 0.3), ("keys", "queries", 2.0)])
@over("causal", [False, True, "lower_right"])
@over("lengths", [(300, 1100), (600, 257), (513, 513)])
def test_blocks_of_full_size(lengths, causal, options, backend):
    q_len, kv_len = lengths
    shapes = (4, q_len, 8), (2, kv_len, 8), (2, kv_len, 3)
    # the sums are of a thousand
    check(Problem(shapes, causal, *options), backend, room=256)


# what does not take part


TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""One kernel may be for what has bad numbers, and another for what has none."""


def _with_nonfinite(backend, number, dtype="float64"):
    """Return a query, keys and values of which the last is this, and a mask for it and a row."""
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, 5, 4)) for _ in range(3))
    key[:, -1] = value[:, -1] = number
    mask = np.ones((5, 5), bool)
    mask[:, -1] = False
    mask[2] = False
    return *(backend.array(x, dtype) for x in (query, key, value)), backend.array(mask, "bool")


@over("number", [nan, inf, -inf])
def test_masked_nan_and_infinity(number, backend):
    """A masked key has no influence."""
    dtype = backend.dtypes[-1]
    *arrays, mask = _with_nonfinite(backend, number, dtype)
    *zeros, _ = _with_nonfinite(backend, 0.0, dtype)
    bias = backend.array(np.where(backend.asnumpy(mask), 0.0, -inf), dtype)
    g = backend.array(np.ones((2, 5, 4)), dtype)
    bias_of_nan = backend.array(np.where(backend.asnumpy(mask), 0.0, nan), dtype)
    for given in ({"mask": mask}, {"bias": bias}, {"mask": mask, "bias": bias_of_nan}):
        expected = backend.asnumpy(sdpa(*zeros, mask=mask))
        got = backend.asnumpy(sdpa(*arrays, **given))
        assert (got[:, 2] == 0).all()
        np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        gradients = sdpa.vjp(g, *arrays, **given)
        exact = sdpa.vjp(g, *zeros, mask=mask)
        for name, part in exact.items():
            got, expected = backend.asnumpy(gradients[name]), backend.asnumpy(part)
            np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        assert (backend.asnumpy(gradients["query"])[:, 2] == 0).all()
        assert (backend.asnumpy(gradients["key"])[:, -1] == 0).all()
        assert (backend.asnumpy(gradients["value"])[:, -1] == 0).all()


def test_causal_nan(backend):
    """A later key has no influence."""
    *arrays, _ = _with_nonfinite(backend, nan)
    *zeros, _ = _with_nonfinite(backend, 0.0)
    got, expected = (backend.asnumpy(sdpa(*a, is_causal=True)) for a in (arrays, zeros))
    np.testing.assert_allclose(got[:, :-1], expected[:, :-1], rtol=1e-12, atol=1e-14)
    assert np.isnan(got[:, -1]).all()


def test_nan_propagation(backend):
    rng = np.random.default_rng(0)
    for i in range(3):
        values = [rng.normal(size=(1, 4, 3)) for _ in range(3)]
        values[i][0, 1, 2] = nan
        mask = np.ones((4, 4), bool)
        mask[3, 1] = False  # so that one query has no part in the NaN of a key or a value
        y = backend.asnumpy(
            sdpa(*(backend.array(x) for x in values), mask=backend.array(mask, "bool"))
        )
        expected = np.zeros((1, 4, 3), bool)
        expected[[(0, 1), (0, slice(3)), (0, slice(3), 2)][i]] = True
        np.testing.assert_array_equal(np.isnan(y), expected)


def test_bias_of_minus_infinity(backend):
    problem = Problem("plain", mask="full")
    arrays, others = problem.given(backend)
    bias = backend.array(np.where(problem.others["mask"], 0.0, -inf))
    expected = backend.asnumpy(sdpa(**arrays, **others))
    got = backend.asnumpy(sdpa(**arrays, **{**others, "mask": None}, bias=bias))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_large_scores(backend):
    """A score that overflows has all the weight, or a part if there are more; torch has NaN."""
    x = backend.array(np.array([[[1e200, 0.0], [0.0, 1e200]]]))
    value = backend.array(np.array([[[1.0], [3.0]]]))
    y = accurate(sdpa)(x, x, value)
    np.testing.assert_allclose(backend.asnumpy(y), [[[1.0], [3.0]]], rtol=1e-15)
    bias = backend.array(np.array([inf, inf]))
    y = accurate(sdpa)(x * 0, x * 0, value, bias=bias)
    np.testing.assert_array_equal(backend.asnumpy(y), [[[2.0], [2.0]]])


@over(("q_len", "kv_len", "depth"), [(0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0)])
def test_empty(q_len, kv_len, depth, backend):
    query, key = (backend.array(np.ones((2, n, depth))) for n in (q_len, kv_len))
    value = backend.array(np.ones((2, kv_len, 3)))
    for options in ({}, {"is_causal": True}, {"bias": backend.array(np.zeros((1, kv_len)))}):
        y = sdpa(query, key, value, **options)
        assert y.shape == (2, q_len, 3)
        assert (backend.asnumpy(y) == (1 if kv_len else 0)).all()
        for part in sdpa.vjp(y, query, key, value, **options).values():
            assert np.isfinite(backend.asnumpy(part)).all()


def test_dropout_of_all_and_of_none(backend):
    arrays, others = Problem("plain").given(backend)
    del others["dropout"]
    noise = backend.array(np.random.default_rng(0).random((2, 3, 5, 7)))
    assert (backend.asnumpy(sdpa(**arrays, dropout=1.0, noise=noise)) == 0).all()
    np.testing.assert_array_equal(
        backend.asnumpy(sdpa(**arrays, dropout=0.0, noise=noise)), backend.asnumpy(sdpa(**arrays))
    )


@pytest.mark.once
def test_dropout_mean():
    x = np.ones((1, 1000, 1))
    y = sdpa(x, x, x, dropout=0.25, rng=np.random.default_rng(0))
    # each of 1e6 weights of 1e-3 is 0 or 4/3 of that
    assert abs(y.mean() - 1) < 5 * sqrt(0.25 / 0.75 / 1e6)


@pytest.mark.once
@over("length", [4096, 16384])
def test_memory_is_linear_in_length(length):
    """The shorter sequence has 64 MiB of scores, the longer a GiB."""
    x = np.random.default_rng(0).normal(size=(1, length, 64)).astype("f4")
    bound = 400e6 * length / 16384 / 4
    assert peak_memory(lambda: sdpa(x, x, x)) < bound
    assert peak_memory(lambda: sdpa(x, x, x, is_causal=True)) < bound
    if length < 10000:
        assert peak_memory(lambda: sdpa.vjp(x, x, x, x)) < bound


# the state of attention to some of the keys


with_lse, merge = ax.attention_with_lse, ax.merge_attention


def _lse(problem, arrays):
    """Return the log-sum-exp of each row of scores, and its derivatives with respect to them."""
    given = {**problem.others, **arrays}
    scores = given["query"] @ given["key"].mT / sqrt(given["query"].shape[-1])
    cap = given["softcap"]
    scores = scores if cap is None else cap * np.tanh(scores / cap)
    scores = np.where(problem.allowed(), scores + given.get("bias", 0.0), -inf)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(scores).sum(-1))


def _masked_row(problem):
    """Let a query attend to nothing."""
    problem.others["mask"] = np.broadcast_to(problem.others["mask"], problem.scores).copy()
    problem.others["mask"][..., 2, :] = False
    return problem


STATES = [(), (True,), ("lower_right", "full", "full", 3.0), (False, "full", "with -inf")]


def _problem(options):
    problem = Problem("plain", *options)
    del problem.others["dropout"]
    return _masked_row(problem) if "mask" in problem.others else problem


@over("options", STATES)
def test_log_sum_exp(options, backend):
    problem = _problem(options)
    arrays, others = problem.given(backend)
    output, lse = with_lse(**arrays, **others)
    expected = _lse(problem, problem.arrays)
    np.testing.assert_allclose(backend.asnumpy(lse), expected, rtol=1e-14, atol=1e-14)
    got = backend.asnumpy(sdpa(**arrays, **others))
    np.testing.assert_allclose(backend.asnumpy(output), got, rtol=1e-13, atol=1e-14)


def _states(backend, options, call):
    """Return what `call` makes of the states of attention to the first and to the other keys."""
    problem = _problem(options)
    arrays, others = problem.given(backend)
    halves = []
    for keys in (slice(3), slice(3, None)):
        part = {n: a if n == "query" else a[..., keys, :] for n, a in arrays.items()}
        mask = backend.array(problem.allowed()[..., keys], "bool")
        part["bias"] = arrays["bias"][..., keys] if "bias" in arrays else None
        given = {k: v for k, v in part.items() if v is not None}
        halves.append(({**given, "mask": mask, "softcap": others["softcap"]}, keys))
    return problem, arrays, halves


@over("options", STATES)
def test_states_of_two_halves_of_the_keys_are_merged(options, backend):
    """The values are those of the whole, and so are the gradients, of both results."""
    problem, arrays, halves = _states(backend, options, with_lse)
    states = [with_lse(**given) for given, _ in halves]
    output, lse = merge(*states[0], *states[1])
    whole = {**problem.given(backend)[1], **arrays}
    expected = with_lse(**whole)
    np.testing.assert_allclose(
        backend.asnumpy(output), backend.asnumpy(expected[0]), rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(
        backend.asnumpy(lse), backend.asnumpy(expected[1]), rtol=1e-14, atol=1e-14
    )
    rng = np.random.default_rng(3)
    g = backend.array(problem.g), backend.array(rng.normal(size=problem.g.shape[:-1]))
    exact = {n: backend.asnumpy(a) for n, a in with_lse.vjp(g, **whole).items()}
    by_state = merge.vjp(g, *states[0], *states[1])
    names = ("output", "lse"), ("other_output", "other_lse")
    query = 0.0
    for (given, keys), of in zip(halves, names, strict=True):
        got = with_lse.vjp(tuple(by_state[name] for name in of), **given)
        got = {n: backend.asnumpy(a) for n, a in got.items()}
        query = query + got.pop("query")
        for name, part in got.items():
            at = (..., keys) if name == "bias" else (..., keys, slice(None))
            np.testing.assert_allclose(part, exact[name][at], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(query, exact["query"], rtol=1e-12, atol=1e-13)


@pytest.mark.once
@over("options", STATES)
def test_gradients_of_both_results_by_differences(options, backend, monkeypatch):
    monkeypatch.setattr(blockwise, "Q_BLOCK", 2)
    monkeypatch.setattr(blockwise, "KV_BLOCK", 3)
    problem = _problem(options)
    rng = np.random.default_rng(3)
    g = problem.g, rng.normal(size=problem.g.shape[:-1])
    reachable = problem.allowed().any(-1)

    def loss(arrays):
        output, lse = with_lse(**arrays, **problem.others)
        return (output * g[0]).sum() + (np.where(reachable, lse, 0.0) * g[1]).sum()

    gradients = with_lse.vjp(g, **problem.arrays, **problem.others)
    for name, array in problem.arrays.items():
        step = np.where(np.isfinite(array), 1e-5 * rng.normal(size=array.shape), 0.0)
        ends = [loss({**problem.arrays, name: array + sign * step}) for sign in (1, -1)]
        np.testing.assert_allclose((gradients[name] * step).sum(), (ends[0] - ends[1]) / 2, 1e-6)


@pytest.mark.once
def test_merging_by_differences(backend):
    rng = np.random.default_rng(0)
    states = [rng.normal(size=shape) for shape in ((2, 3, 4), (2, 3)) * 2]
    g = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3))
    names = ("output", "lse", "other_output", "other_lse")
    gradients = merge.vjp(g, *states)
    for i, name in enumerate(names):
        step = 1e-5 * rng.normal(size=states[i].shape)
        ends = []
        for sign in (1, -1):
            moved = [s + sign * step if i == j else s for j, s in enumerate(states)]
            ends.append(sum((a * b).sum() for a, b in zip(merge(*moved), g, strict=True)))
        np.testing.assert_allclose((gradients[name] * step).sum(), (ends[0] - ends[1]) / 2, 1e-7)


def test_states_without_keys(backend):
    """They are exactly neutral, and two of them are one."""
    values = np.random.default_rng(0).normal(size=(3, 4)), np.array([700.0, -700.0, 0.5])
    nothing = np.zeros((3, 4)), np.full(3, -inf)
    state, empty = (tuple(map(backend.array, part)) for part in (values, nothing))
    for pair, expected in (
        ((*state, *empty), values),
        ((*empty, *state), values),
        ((*empty, *empty), nothing),
    ):
        for got, known in zip(merge(*pair), expected, strict=True):
            np.testing.assert_array_equal(backend.asnumpy(got), known)
        g = tuple(backend.array(np.ones_like(a)) for a in values)
        for part in merge.vjp(g, *pair).values():
            assert np.isfinite(backend.asnumpy(part)).all()
    got = backend.asnumpy(merge.vjp(g, *empty, *empty)["other_lse"])
    np.testing.assert_array_equal(got, 0.0)


@pytest.mark.once
@over("kv_len", [0, 2])
def test_state_of_no_queries_or_no_keys(kv_len, backend):
    for q_len in (0, 3):
        query, key, value = np.ones((q_len, 2)), np.ones((kv_len, 2)), np.ones((kv_len, 3))
        output, lse = with_lse(query, key, value)
        assert output.shape == (q_len, 3)
        np.testing.assert_allclose(lse, np.full(q_len, np.log(2) + sqrt(2) if kv_len else -inf))
        gradients = with_lse.vjp((output, None), query, key, value)
        assert all(np.isfinite(part).all() for part in gradients.values())


@over("dtype", ["float16", "bfloat16"])
def test_state_of_half_precision_is_single(dtype, backend):
    """Rounded once at the end, so that the parts lose nothing."""
    problem, _, halves = _states(backend, (True,), with_lse)
    half = {n: backend.array(a, dtype) for n, a in problem.arrays.items()}
    whole = accurate(sdpa)(**half, is_causal=True)
    states = []
    for given, keys in halves:
        part = {n: a if n == "query" else a[..., keys, :] for n, a in half.items()}
        states += with_lse(**part, mask=given["mask"])
        gradients = with_lse.vjp((None, states[-1]), **part, mask=given["mask"])
        assert {backend.dtype_of(g) for g in gradients.values()} == {dtype}
    assert {backend.dtype_of(part) for part in states} == {"float32"}
    output, lse = merge(*states)
    assert backend.dtype_of(output) == backend.dtype_of(lse) == "float32"
    eps = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    got, expected = (np.asarray(backend.asnumpy(a), "f8") for a in (output, whole))
    np.testing.assert_allclose(got, expected, rtol=1.01 * eps, atol=1e-6)


def test_invalid_states(backend):
    def array(*shape):
        return backend.array(np.ones(shape))

    name = "merge_attention: "
    good = array(2, 3, 4), array(2, 3), array(2, 3, 4)
    assert_raises(ValueError, [name, "other_lse", "(3, 2)"], merge, *good, array(3, 2))
    assert_raises(
        ValueError, [name, "lse", "(2, 3, 1)"], merge, good[0], array(2, 3, 1), *good[::-2]
    )
    wide = backend.array(np.ones((2, 3)), "float32")
    assert_raises(TypeError, [name, "other_lse", "float32"], merge, *good, wide)
    x = array(2, 3, 4)
    words = ["attention_with_lse.vjp", "g", "tuple of two"]
    assert_raises(TypeError, words, with_lse.vjp, x, x, x, x)
    assert_raises(
        ValueError, ["attention_with_lse.vjp", "(2, 4)"], with_lse.vjp, (x, array(2, 4)), x, x, x
    )
    assert_raises(ValueError, ["attention_with_lse: ", "depth"], with_lse, x, array(2, 3, 5), x)


# bad input


def assert_raises(kind, words, call, *args, **kwargs):
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


def test_invalid_input(backend):
    def array(*shape, dtype="float32"):
        return backend.array(np.ones(shape), dtype)

    x, name = array(2, 3, 4), "scaled_dot_product_attention: "
    assert_raises(ValueError, [name, "query", "(4,)"], sdpa, array(4), x, x)
    assert_raises(
        ValueError, [name, "query and key", "depth", "4 and 5"], sdpa, x, array(2, 3, 5), x
    )
    assert_raises(
        ValueError,
        [name, "key and value", "sequence length", "3 and 6"],
        sdpa,
        x,
        x,
        array(2, 6, 4),
    )
    assert_raises(ValueError, [name, "query", "heads", "3 and 2"], sdpa, array(3, 3, 4), x, x)
    assert_raises(
        ValueError, [name, "key and value", "heads", "2 and 1"], sdpa, x, x, array(1, 3, 4)
    )
    wide = array(5, 2, 3, 4), array(6, 2, 3, 4), x
    assert_raises(ValueError, [name, "broadcast", "(5, 2, 3, 4), (6, 2, 3, 4)"], sdpa, *wide)
    assert_raises(TypeError, [name, "key", "float64"], sdpa, x, array(2, 3, 4, dtype="float64"), x)
    ints = array(3, 3, dtype="int32")
    assert_raises(
        TypeError, [name, "mask", "True attends", "bias", "int32"], sdpa, x, x, x, mask=ints
    )
    assert_raises(TypeError, [name, "bias", "int32"], sdpa, x, x, x, bias=ints)
    mask = array(3, 4, dtype="bool")
    assert_raises(ValueError, [name, "mask", "(3, 4)", "(2, 3, 3)"], sdpa, x, x, x, mask=mask)
    mask = array(5, 2, 3, 3, dtype="bool")
    assert_raises(ValueError, [name, "mask", "(5, 2, 3, 3)", "(2, 3, 3)"], sdpa, x, x, x, mask=mask)
    assert_raises(ValueError, [name, "bias", "(3, 4)"], sdpa, x, x, x, bias=array(3, 4))
    for factor in ("scale", "softcap", "dropout"):
        wrong = {factor: array(3, 1, 1), "noise": array(2, 3, 3)}
        assert_raises(ValueError, [name, factor, "(3, 1, 1)", "(2, 3, 3)"], sdpa, x, x, x, **wrong)
        wrong[factor] = array(2, dtype="complex64")
        assert_raises(TypeError, [name, factor, "number or an array"], sdpa, x, x, x, **wrong)
    assert_raises(TypeError, [name, "query", "[1.0]"], sdpa, [1.0], x, x)
    assert_raises(ValueError, ["vjp", "g", "(2, 3, 4)"], sdpa.vjp, array(2, 3, 5), x, x, x)


def test_invalid_parameters(backend):
    x = backend.array(np.ones((1, 3, 4)))
    noise = backend.array(np.ones((1, 3, 3)))
    for p in (-0.5, 1.5, nan):
        assert_raises(ValueError, ["dropout", str(p)], sdpa, x, x, x, dropout=p, noise=noise)
    assert_raises(TypeError, ["dropout", "'half'"], sdpa, x, x, x, dropout="half", noise=noise)
    for cap in (0.0, -1.0, nan):
        assert_raises(ValueError, ["softcap", str(cap)], sdpa, x, x, x, softcap=cap)
    assert_raises(ValueError, ["is_causal", "'left'"], sdpa, x, x, x, is_causal="left")
    wrong = backend.array(np.ones((2, 3, 3)))
    assert_raises(ValueError, ["noise", "(2, 3, 3)"], sdpa, x, x, x, dropout=0.5, noise=wrong)


# several heads


def _weights(kdim=4, vdim=4, packed=True, bias=True, added=True):
    rng = np.random.default_rng(0)
    shapes = {"out_proj_weight": (4, 4)}
    if packed:
        shapes["in_proj_weight"] = (12, 4)
    else:
        shapes |= {"q_proj_weight": (4, 4), "k_proj_weight": (4, kdim), "v_proj_weight": (4, vdim)}
    if bias:
        shapes |= {"in_proj_bias": (12,), "out_proj_bias": (4,)}
    if added:
        shapes |= {"bias_k": (1, 1, 4), "bias_v": (1, 1, 4)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _to_backend(backend, values):
    kinds = {"b": "bool", "f": "float64"}
    return {
        name: backend.array(a, kinds[a.dtype.kind]) if isinstance(a, np.ndarray) else a
        for name, a in values.items()
    }


def reference_heads(query, key, value, num_heads, weights, mask, zero):
    """Return the result and the weights, one head after the other, in plain NumPy."""
    slices = [slice(4 * i, 4 * i + 4) for i in range(3)]
    projections = [weights.get(f"{x}_proj_weight") for x in "qkv"]
    if "in_proj_weight" in weights:
        projections = [weights["in_proj_weight"][s] for s in slices]
    biases = [weights["in_proj_bias"][s] if "in_proj_bias" in weights else 0 for s in slices]
    inputs = zip((query, key, value), projections, biases, strict=True)
    q, k, v = (x @ w.T + b for x, w, b in inputs)
    if "bias_k" in weights:
        k, v = (np.vstack([x, weights[n][0]]) for x, n in ((k, "bias_k"), (v, "bias_v")))
    if zero:
        k, v = (np.vstack([x, np.zeros((1, 4))]) for x in (k, v))
    mask = np.hstack([mask, np.ones((len(q), len(k) - mask.shape[1]), bool)])
    results, all_weights = [], []
    for i in range(num_heads):
        head = slice(i * 4 // num_heads, (i + 1) * 4 // num_heads)
        scores = q[:, head] @ k[:, head].T / sqrt(4 / num_heads)
        w = np.exp(scores) * mask
        w /= np.maximum(w.sum(1, keepdims=True), 1e-300)
        all_weights.append(w)
        results.append(w @ v[:, head])
    return np.hstack(results) @ weights["out_proj_weight"].T + weights.get("out_proj_bias", 0), (
        np.array(all_weights)
    )


@over(
    ("packed", "bias", "added", "zero"),
    [
        (True, True, True, True),
        (True, False, False, True),
        (False, True, False, False),
        (False, False, True, False),
    ],
)
def test_multi_head_values(packed, bias, added, zero, backend):
    rng = np.random.default_rng(1)
    kdim, vdim = (4, 4) if packed else (3, 5)
    weights = _weights(kdim, vdim, packed, bias, added)
    query, key, value = (rng.normal(size=(n, d)) for n, d in ((3, 4), (5, kdim), (5, vdim)))
    mask = rng.random((3, 5)) < 0.6
    mask[:, 0] = True
    mask[1] = False
    expected, all_weights = reference_heads(query, key, value, 2, weights, mask, zero)
    given = {"query": query, "key": key, "value": value, **weights, "mask": mask}
    given = _to_backend(backend, given)
    for average in (False, True):
        y, w = heads(
            **given,
            num_heads=2,
            add_zero_attn=zero,
            need_weights=True,
            average_attn_weights=average,
        )
        np.testing.assert_allclose(backend.asnumpy(y), expected, rtol=1e-12, atol=1e-12)
        of_heads = all_weights.mean(0) if average else all_weights
        np.testing.assert_allclose(backend.asnumpy(w), of_heads, rtol=1e-12, atol=1e-13)
    alone, nothing = heads(**given, num_heads=2, add_zero_attn=zero)
    assert nothing is None
    np.testing.assert_array_equal(backend.asnumpy(alone), backend.asnumpy(y))


def test_multi_head_gradients(backend):
    rng = np.random.default_rng(2)
    values = {n: rng.normal(size=(2, 3, 4)) for n in ("query", "key", "value")}
    values |= _weights() | {"bias": rng.normal(size=(3, 1))}
    values |= {"scale": rng.random((2, 1, 1)), "dropout": rng.random((2, 1, 1)) / 2}
    noise = rng.random((2, 2, 3, 5))
    mask, key_mask = rng.random((2, 3, 3)) < 0.7, np.array([[True, True, False], [True] * 3])
    options = {"num_heads": 2, "add_zero_attn": True, "need_weights": True, "is_causal": True}
    g = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 5))

    def loss(values):
        y, w = heads(**values, mask=mask, key_mask=key_mask, noise=noise, **options)
        return (y * g[0]).sum() + (w * g[1]).sum()

    there = {**values, "mask": mask, "key_mask": key_mask, "noise": noise}
    there = _to_backend(backend, there)
    gradients = heads.vjp(tuple(map(backend.array, g)), **there, **options)
    assert set(gradients) == set(values)
    for name, value in values.items():
        direction, h = rng.normal(size=value.shape), 1e-5
        ahead, behind = (loss({**values, name: value + s * h * direction}) for s in (1, -1))
        got = (backend.asnumpy(gradients[name]) * direction).sum()
        np.testing.assert_allclose(got, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)
    only = heads.vjp((backend.array(g[0]), None), **there, **options)
    other = heads.vjp((None, backend.array(g[1])), **there, **options)
    for name, gradient in gradients.items():
        both = backend.asnumpy(only[name]) + backend.asnumpy(other[name])
        np.testing.assert_allclose(both, backend.asnumpy(gradient), rtol=1e-9, atol=1e-12)


def test_multi_head_grouped(backend):
    """Projections of one head for the keys are shared by all."""
    weights = _weights(packed=False, bias=False, added=False)
    x = np.random.default_rng(3).normal(size=(2, 5, 4))
    one = {n: w[:2] if n[0] in "kv" else w for n, w in weights.items()}
    two = {n: np.vstack([w[:2], w[:2]]) if n[0] in "kv" else w for n, w in weights.items()}
    x = backend.array(x)
    got, expected = (heads(x, x, x, 2, **_to_backend(backend, w))[0] for w in (one, two))
    np.testing.assert_allclose(backend.asnumpy(got), backend.asnumpy(expected), rtol=1e-13)


def test_multi_head_sequence_first(backend):
    values = [np.random.default_rng(4).normal(size=(2, 3, n, 4)) for n in (3, 5, 5)]
    weights = _to_backend(backend, _weights())
    first = [backend.array(np.moveaxis(x, -2, 0)) for x in values]
    expected, _ = heads(*map(backend.array, values), 2, **weights)
    got, _ = heads(*first, 2, **weights, batch_first=False)
    np.testing.assert_array_equal(
        np.moveaxis(backend.asnumpy(got), 0, -2), backend.asnumpy(expected)
    )


@over("number", [nan, inf])
def test_multi_head_padding(number, backend):
    """Padding has no influence."""
    x = np.random.default_rng(5).normal(size=(2, 4, 4))
    padded = x.copy()
    padded[0, 3] = number
    key_mask = np.ones((2, 4), bool)
    key_mask[0, 3] = False
    weights = _weights(added=False)
    g = np.ones((2, 4, 4)), None
    results = []
    for keys in (x, padded):
        given = {"query": x, "key": keys, "value": keys, **weights, "key_mask": key_mask}
        there = _to_backend(backend, given)
        y, w = heads(**there, num_heads=2, need_weights=True)
        gradients = heads.vjp((backend.array(g[0]), None), **there, num_heads=2)
        arrays = y, w, *(gradients[name] for name in sorted(gradients))
        results.append(list(map(backend.asnumpy, arrays)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_multi_head_invalid_input(backend):
    weights = _weights(added=False)

    def check(kind, words, **changed):
        given = dict.fromkeys(("query", "key", "value"), np.ones((2, 3, 4)))
        given = {**given, **weights, "num_heads": 2, **changed}
        there = _to_backend(backend, {n: x for n, x in given.items() if x is not None})
        assert_raises(kind, ["multi_head_attention: ", *words], heads, **there)

    check(ValueError, ["num_heads", "3 and 4"], num_heads=3)
    check(ValueError, ["num_heads", "0"], num_heads=0)
    check(ValueError, ["key", "(3, 4)"], key=np.ones((3, 4)))
    check(ValueError, ["(1, 3, 4)"], key=np.ones((1, 3, 4)))
    check(ValueError, ["key and value", "sequence length", "(2, 6, 4)"], key=np.ones((2, 6, 4)))
    check(ValueError, ["in_proj_weight", "q_"], q_proj_weight=np.ones((4, 4)))
    check(ValueError, ["in_proj_weight", "q_"], in_proj_weight=None)
    check(ValueError, ["in_proj_weight", "(12, 4)", "(12, 5)"], in_proj_weight=np.ones((12, 5)))
    check(ValueError, ["in_proj_bias", "(12,)", "(11,)"], in_proj_bias=np.ones(11))
    check(ValueError, ["out_proj_weight", "(4, 3)"], out_proj_weight=np.ones((4, 3)))
    check(ValueError, ["bias_k", "bias_v"], bias_k=np.ones((1, 1, 4)))
    check(ValueError, ["key_mask", "(2, 3)", "(3,)"], key_mask=np.ones(3, bool))
    check(ValueError, ["mask", "(3, 4)", "(2, 2, 3, 3)"], mask=np.ones((3, 4), bool))
    check(TypeError, ["mask", "True attends"], mask=np.ones((3, 3)))
    check(ValueError, ["dropout", "1.5"], dropout=1.5, noise=np.ones((2, 2, 3, 3)))


def test_weights_under_a_causal_mask(backend):
    """They are the quotients of exponentials, of the keys up to each query."""
    rng = np.random.default_rng(0)
    x, eye = rng.normal(size=(2, 5, 4)), np.eye(4)
    there, eye_there = backend.array(x), backend.array(eye)
    packed = backend.array(np.concatenate([eye, eye, eye]))
    _, weights = ax.multi_head_attention(
        *(there,) * 3, 1, eye_there, in_proj_weight=packed, is_causal=True, need_weights=True
    )
    e = np.exp(x @ np.swapaxes(x, 1, 2) / 2) * np.tri(5)
    expected = e / e.sum(-1, keepdims=True)
    np.testing.assert_allclose(backend.asnumpy(weights), expected, rtol=1e-12)
