"""The adaptive softmax against its definition: a tree of plain softmaxes in float64."""

from __future__ import annotations

import functools
from math import inf, nan

import numpy as np
import pytest
from oracle import over

import activations_xp as ax
from activations_xp._dispatch import backend_of
from activations_xp.functions import adaptive

pytestmark = pytest.mark.usefixtures("uncompiled")

FEATURES = 5
SHORTLIST = 3
TREES = {
    "no tail": [],
    "one cluster": [(2, 4)],
    "two clusters": [(3, 4), (2, 5)],
    "a class each": [(1, 1), (1, 1), (1, 1)],
}
"""The hidden size and the classes of each cluster."""

CASES = [
    ("two clusters", (8,), True),
    ("two clusters", (2, 4), False),
    ("two clusters", (), True),
    ("two clusters", (0,), True),
    ("one cluster", (1,), False),
    ("a class each", (8,), True),
    ("no tail", (8,), True),
    ("no tail", (), False),
]
BATCHES = [(), (0,), (8,), (2, 4)]


class Problem:
    """Rows, targets and weights in float64."""

    def __init__(self, tree="two clusters", batch=(8,), bias=True, scale=1.0, seed=0):
        rng = np.random.default_rng(seed)
        sizes = TREES[tree]
        entries = SHORTLIST + len(sizes)
        self.n_classes = SHORTLIST + sum(n for _, n in sizes)
        self.target = rng.integers(0, self.n_classes, batch)
        self.x = scale * rng.normal(size=(*batch, FEATURES))
        self.weights = {
            "head_weight": rng.normal(size=(entries, FEATURES)),
            "tail_weights": tuple(
                (rng.normal(size=(h, FEATURES)), rng.normal(size=(n, h))) for h, n in sizes
            ),
        }
        if bias:
            self.weights["head_bias"] = rng.normal(size=entries)

    @property
    def arrays(self):
        return {"x": self.x, **self.weights}


def mapped(call, value):
    """What `call` makes of each array in nested tuples and dictionaries."""
    if isinstance(value, dict):
        return {name: mapped(call, part) for name, part in value.items()}
    return tuple(mapped(call, v) for v in value) if isinstance(value, tuple) else call(value)


def on(backend, value, dtype="float64"):
    return mapped(lambda a: backend.array(a, dtype), value)


def back(backend, value):
    return mapped(backend.asnumpy, value)


def _log_softmax(z):
    z = z - z.real.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def tree_log_prob(x, head_weight, tail_weights, head_bias=0.0):
    """Every class of the tree, by plain softmaxes."""
    head = _log_softmax(x @ head_weight.T + head_bias)
    shortlist = head_weight.shape[0] - len(tail_weights)
    parts = [head[..., :shortlist]]
    for i, (projection, classes) in enumerate(tail_weights, shortlist):
        parts.append(head[..., i, None] + _log_softmax(x @ projection.T @ classes.T))
    return np.concatenate(parts, axis=-1)


def tree_output(target, ignore_index=-100, **arrays):
    counts = target != ignore_index
    index = np.where(counts, target, 0)[..., None]
    chosen = np.take_along_axis(tree_log_prob(**arrays), index, axis=-1)[..., 0]
    return np.where(counts, chosen, 0.0)


def tree_loss(target, reduction="mean", ignore_index=-100, **arrays):
    output = tree_output(target, ignore_index, **arrays)
    if reduction == "none":
        return -output
    return -output.sum() / ((target != ignore_index).sum() if reduction == "mean" else 1)


def slopes(function, arrays):
    """The gradients of a real function of arrays, exact by a step into the complex numbers."""

    def slope(path, array):
        result = np.empty(array.shape)
        for place in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[place] += 1e-40j
            result[place] = function(**_replaced(arrays, path, moved)).imag / 1e-40
        return result

    return _walked(slope, arrays)


def _walked(function, value, path=()):
    if isinstance(value, dict):
        return {k: _walked(function, v, (*path, k)) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_walked(function, v, (*path, i)) for i, v in enumerate(value))
    return function(path, value)


def _replaced(value, path, new):
    return _walked(lambda at, old: new if at == path else old, value)


def assert_close(got, expected, rtol=1e-12, atol=1e-13):
    """Both of one structure; float64 is off by its rounding in sums of a few terms alone."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        got, expected = tuple(got[name] for name in expected), tuple(expected.values())
    if isinstance(expected, tuple):
        for a, b in zip(got, expected, strict=True):
            assert_close(a, b, rtol, atol)
        return
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol, atol)


@over(("tree", "batch", "bias"), CASES)
def test_values_are_the_tree_s(tree, batch, bias, backend):
    p = Problem(tree, batch, bias)
    x, weights = on(backend, p.x), on(backend, p.weights)
    target = backend.array(p.target, "int64")
    output, loss = ax.adaptive_log_softmax_with_loss(x, target, reduction="sum", **weights)
    expected = tree_log_prob(**p.arrays)
    assert_close(backend.asnumpy(output), tree_output(p.target, **p.arrays))
    assert_close(backend.asnumpy(loss), tree_loss(p.target, "sum", **p.arrays))
    got = ax.adaptive_log_prob(x, **weights)
    assert_close(backend.asnumpy(got), expected)
    assert_close(np.exp(backend.asnumpy(got)).sum(axis=-1), np.ones(batch))
    predicted = ax.adaptive_predict(x, **weights)
    assert predicted.dtype == backend_of(x).xp.argmax(got, axis=-1).dtype
    np.testing.assert_array_equal(backend.asnumpy(predicted), expected.argmax(axis=-1))


def test_shapes_dtypes_and_devices_are_kept(any_backend):
    for dtype in {"float32", any_backend.dtypes[0]}:
        p = Problem(batch=(2, 4))
        arrays, target = on(any_backend, p.arrays, dtype), any_backend.array(p.target, "int32")
        output, loss = ax.adaptive_log_softmax_with_loss(target=target, **arrays)
        log_prob, found = ax.adaptive_log_prob(**arrays), ax.adaptive_predict(**arrays)
        g = output, loss
        gradients = ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **arrays)
        same = ax.adaptive_log_prob.vjp(log_prob, **arrays)
        assert gradients.keys() == same.keys() == arrays.keys()
        for got, shape in (output, (2, 4)), (loss, ()), (log_prob, (2, 4, 12)), (found, (2, 4)):
            assert tuple(got.shape) == shape
            assert backend_of(got).device(got) == backend_of(target).device(target)
            assert got is found or got.dtype == arrays["x"].dtype
        assert mapped(_kind, gradients) == mapped(_kind, same) == mapped(_kind, arrays)


def _kind(array):
    return tuple(array.shape), array.dtype, backend_of(array).device(array)


@over(("tree", "batch", "bias"), CASES)
def test_gradients_are_the_tree_s(tree, batch, bias, backend):
    p = Problem(tree, batch, bias)
    rng = np.random.default_rng(1)
    g, g_loss = rng.normal(size=batch), rng.normal()
    arrays, target = on(backend, p.arrays), backend.array(p.target, "int64")

    def total(**arrays):
        loss = g_loss * tree_loss(p.target, "sum", **arrays)
        return loss + (g * tree_output(p.target, **arrays)).sum()

    given = backend.array(g), backend.array(g_loss)
    got = ax.adaptive_log_softmax_with_loss.vjp(given, target=target, reduction="sum", **arrays)
    assert_close(back(backend, got), slopes(total, p.arrays))

    g = rng.normal(size=(*batch, p.n_classes))
    got = ax.adaptive_log_prob.vjp(backend.array(g), **arrays)
    exact = slopes(lambda **arrays: (g * tree_log_prob(**arrays)).sum(), p.arrays)
    assert_close(back(backend, got), exact)


@over("reduction", ["mean", "sum", "none"])
@over("ignored", [-100, 2, 7])
def test_ignored_rows_and_reductions(reduction, ignored, backend):
    p = Problem(batch=(2, 4))
    p.target[1] = ignored
    p.x[1] = [[nan], [inf], [1e300], [0.0]]
    arrays, target = on(backend, p.arrays), backend.array(p.target, "int64")
    settings = {"ignore_index": ignored, "reduction": reduction}
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **settings, **arrays)
    p.x[1] = 0.0
    assert_close(backend.asnumpy(output), tree_output(p.target, ignored, **p.arrays))
    assert_close(backend.asnumpy(loss), tree_loss(p.target, **settings, **p.arrays))
    g = np.random.default_rng(2).normal(size=loss.shape)
    given = None, backend.array(g)
    got = ax.adaptive_log_softmax_with_loss.vjp(given, target=target, **settings, **arrays)
    exact = slopes(lambda **a: (g * tree_loss(p.target, **settings, **a)).sum(), p.arrays)
    assert_close(back(backend, got), exact)
    assert not back(backend, got["x"])[1].any()


@over("reduction", ["mean", "sum", "none"])
@over("target", [np.full(8, -100), np.zeros(0, int)])
def test_no_row_counts(reduction, target, backend):
    p = Problem(batch=target.shape)
    arrays = on(backend, p.arrays)
    target = backend.array(target, "int64")
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, reduction=reduction, **arrays)
    np.testing.assert_array_equal(backend.asnumpy(output), np.zeros(target.shape))
    expected = {"mean": nan, "sum": 0.0, "none": np.zeros(target.shape)}[reduction]
    np.testing.assert_array_equal(backend.asnumpy(loss), expected)
    g = backend.array(np.ones(target.shape)), backend.array(np.ones(loss.shape))
    got = ax.adaptive_log_softmax_with_loss.vjp(g, target=target, reduction=reduction, **arrays)
    mapped(lambda a: np.testing.assert_array_equal(a, 0.0), back(backend, got))


@over("target", [[0, 2, 1], [3, 3, 6], [8, 11, 7]])
def test_a_cluster_without_rows_has_no_gradient(target, backend):
    p = Problem()
    p.x[1] *= 1e200  # so that what the other clusters make of it overflows
    p.x[2] = nan
    own = {0: None, 3: 0, 8: 1}[target[0]]
    target = backend.array([*target, *target, -100, -100], "int64")
    g = None, backend.array(1.0)
    got = ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **on(backend, p.arrays))
    for i, gradients in enumerate(back(backend, got["tail_weights"])):
        if i != own:
            for gradient in gradients:
                np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint32"])
def test_any_dtype_of_integers_is_good_for_targets(dtype, backend):
    p = Problem()
    target = backend.array(p.target, dtype)
    output, _ = ax.adaptive_log_softmax_with_loss(
        target=target, ignore_index=156 - 256, **on(backend, p.arrays)
    )
    assert_close(backend.asnumpy(output), tree_output(p.target, **p.arrays))


def test_nothing_is_lost_of_what_is_far_from_probable(backend):
    p = Problem(scale=1e4)
    expected = tree_output(p.target, **p.arrays)
    assert expected.min() < -1e4
    output, _ = ax.adaptive_log_softmax_with_loss(
        target=backend.array(p.target, "int64"), **on(backend, p.arrays)
    )
    assert_close(backend.asnumpy(output), expected)


def test_a_head_that_forbids(backend):
    p = Problem()
    p.weights["head_bias"][[1, 3]] = -inf
    target = backend.array([1, 4] * 4, "int64")
    arrays = on(backend, p.arrays)
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **arrays)
    np.testing.assert_array_equal(backend.asnumpy(output), -inf)
    assert backend.asnumpy(loss) == inf
    log_prob = backend.asnumpy(ax.adaptive_log_prob(**arrays))
    np.testing.assert_array_equal(log_prob[:, [1, 3, 4, 5, 6]], -inf)
    assert not np.isnan(log_prob).any()
    assert not set(backend.asnumpy(ax.adaptive_predict(**arrays))) & {1, 3, 4, 5, 6}
    got = ax.adaptive_log_softmax_with_loss.vjp((None, backend.array(1.0)), target=target, **arrays)
    mapped(lambda a: np.isfinite(a).all() or pytest.fail(str(a)), back(backend, got))


@pytest.fixture
def unread(monkeypatch):
    monkeypatch.setattr(adaptive, "is_concrete", lambda xp, *arrays: False)


@over("batch", BATCHES)
def test_gathered_or_not_is_the_same(batch, backend, monkeypatch):
    """Where nothing is gathered at any rate this is a check of the rest."""
    p = Problem(batch=batch)
    if batch:
        p.target[:1] = -100
    arrays, target = on(backend, p.arrays), backend.array(p.target, "int64")
    g = backend.array(np.ones(batch)), backend.array(2.0)

    def results():
        return back(
            backend,
            (
                ax.adaptive_log_softmax_with_loss(target=target, **arrays),
                ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **arrays),
                ax.adaptive_predict(**arrays),
            ),
        )

    gathered = results()
    monkeypatch.setattr(adaptive, "is_concrete", lambda xp, *arrays: False)
    assert_close(results(), gathered)


@pytest.mark.usefixtures("unread")
@over("wrong", [-1, 12, -101, 2**31 - 1])
def test_targets_out_of_range_that_cannot_be_read(wrong, backend):
    p = Problem()
    p.target[1], p.target[2] = wrong, -100
    target, arrays = backend.array(p.target, "int64"), on(backend, p.arrays)
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **arrays)
    np.testing.assert_array_equal(np.isnan(backend.asnumpy(output)), np.arange(8) == 1)
    assert np.isnan(backend.asnumpy(loss))
    g = backend.array(np.ones(8)), None
    got = back(backend, ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **arrays))
    mapped(lambda a: np.isfinite(a).all() or pytest.fail(str(a)), got)
    assert not got["x"][1:3].any()


@pytest.mark.once
@over("wrong", [-1, 12, -101, 2**62])
def test_targets_out_of_range(wrong):
    p = Problem(batch=(2, 2))
    p.target[1, 0] = wrong
    for call in (
        ax.adaptive_log_softmax_with_loss,
        functools.partial(ax.adaptive_log_softmax_with_loss.vjp, (None, np.float64(1))),
    ):
        with pytest.raises(ValueError, match=rf"target {wrong} is out of range for n_classes 12"):
            call(target=p.target, **p.arrays)


class Work:
    """Counts the products of matrices that a namespace is asked for."""

    def __init__(self, matmul):
        self.matmul, self.products = matmul, 0

    def __call__(self, a, b):
        self.products += a.shape[0] * a.shape[1] * b.shape[1]
        return self.matmul(a, b)


@pytest.mark.once
def test_work_follows_the_clusters(monkeypatch):
    xp = backend_of(np.zeros(1)).xp
    work = Work(xp.matmul)
    monkeypatch.setattr(xp, "matmul", work)
    features, hidden, size, n = 8, 4, 1000, 16
    x, head = np.ones((n, features)), np.zeros((10 + 2, features))
    tail = [(np.zeros((hidden, features)), np.zeros((size, hidden)))] * 2
    each = features * hidden + hidden * size

    def products(call, *arguments, **arrays):
        work.products = 0
        call(*arguments, **arrays)
        return work.products

    for target, in_tail in ([3] * n, 0), ([3, 10] * (n // 2), n // 2), ([10, 1010] * (n // 2), n):
        arrays = {"target": np.array(target), "head_weight": head, "tail_weights": tail}
        forward = products(ax.adaptive_log_softmax_with_loss, x, **arrays)
        assert forward == n * features * 12 + in_tail * each
        g = None, np.ones(())
        backward = products(ax.adaptive_log_softmax_with_loss.vjp, g, x, **arrays)
        assert backward == 3 * forward
    half = {"target": np.array([3, -100] * (n // 2)), "head_weight": head, "tail_weights": tail}
    assert products(ax.adaptive_log_softmax_with_loss, x, **half) == n // 2 * features * 12

    whole = products(ax.adaptive_log_prob, x, head, tail)
    assert whole == n * (features * 12 + 2 * each)
    # every entry of the head is the same: no cluster is more probable than the first class
    assert products(ax.adaptive_predict, x, head, tail) == n * features * 12
    head[10] = 1.0
    x[: n - 3] = -1.0
    assert products(ax.adaptive_predict, x, head, tail) == n * features * 12 + 3 * each


def test_a_class_may_beat_those_of_a_cluster_that_is_more_probable(backend):
    head = np.log([[0.3], [0.1], [0.35], [0.25]])
    tail = ((np.ones((1, 1)), np.zeros((4, 1))), (np.ones((1, 1)), np.array([[0.0], [9.0]])))
    x = on(backend, np.ones((1, 1)))
    got = ax.adaptive_predict(x, on(backend, head), on(backend, tail))
    np.testing.assert_array_equal(backend.asnumpy(got), [0])
    head[0] = -9.0  # then the last class has nearly 0.25, those of the first cluster 0.35 / 4
    got = ax.adaptive_predict(x, on(backend, head), on(backend, tail))
    np.testing.assert_array_equal(backend.asnumpy(got), [7])


def test_short_floats_are_rounded_once(backend):
    """Within a unit in the last place, of which the rounding itself is a half."""
    for dtype, unit in ("float32", 2.0**-23), ("float16", 2.0**-10), ("bfloat16", 2.0**-7):
        if dtype not in backend.dtypes:
            continue
        arrays = on(backend, Problem().arrays, dtype)
        seen = mapped(lambda a: a.astype("f8"), back(backend, arrays))
        target = Problem().target
        output, loss = ax.adaptive_log_softmax_with_loss(
            target=backend.array(target, "int64"), **arrays
        )
        log_prob = ax.adaptive_log_prob(**arrays)
        assert {backend.dtype_of(a) for a in (output, loss, log_prob)} == {dtype}
        # float32 adds some ten numbers, of up to 8 here
        room = {"rtol": unit, "atol": 2e-6}
        assert_close(backend.asnumpy(output).astype("f8"), tree_output(target, **seen), **room)
        assert_close(backend.asnumpy(loss).astype("f8"), tree_loss(target, **seen), **room)
        assert_close(backend.asnumpy(log_prob).astype("f8"), tree_log_prob(**seen), **room)
        g = None, backend.array(1.0, dtype)
        got = ax.adaptive_log_softmax_with_loss.vjp(
            g, target=backend.array(target, "int64"), **arrays
        )
        got = mapped(lambda a: a.astype("f8"), back(backend, got))
        exact = slopes(functools.partial(tree_loss, target), seen)
        assert_close(got, exact, **room)


def _without(name):
    return lambda a: a.pop(name)


def _shaped(name, *shape):
    return lambda a: a.update({name: np.zeros(shape)})


def _tail(*shapes):
    return lambda a: a.update(tail_weights=(tuple(map(np.zeros, shapes)),))


ERRORS = {
    r"x must have an axis of features, got shape \(\)": _shaped("x"),
    r"head_weight of shape \(5, 4\) must have the shape \(3 or more, 5\) with x of .*\(8, 5\)": (
        _shaped("head_weight", 5, 4)
    ),
    r"head_weight of shape \(2, 5\) must have the shape \(3 or more, 5\)": (
        _shaped("head_weight", 2, 5)
    ),
    r"head_weight of shape \(5,\) must have the shape": _shaped("head_weight", 5),
    r"head_bias of shape \(4,\) must have the shape \(5,\)": _shaped("head_bias", 4),
    r"tail_weights\[0\]\[0\] of shape \(2, 4\) must have the shape \(hidden, 5\)": (
        _tail((2, 4), (7, 2))
    ),
    r"tail_weights\[0\]\[1\] of shape \(7, 3\) must have the shape \(1 or more, 2\)": (
        _tail((2, 5), (7, 3))
    ),
    r"tail_weights\[0\]\[1\] of shape \(0, 2\) must have the shape \(1 or more, 2\)": (
        _tail((2, 5), (0, 2))
    ),
}


@over("message", ERRORS)
def test_shapes_that_do_not_go_together(message, backend):
    arrays = dict(Problem().arrays)
    ERRORS[message](arrays)
    target = backend.array(Problem().target, "int64")
    arrays = on(backend, arrays)
    g = backend.array(1.0)
    for function, given in (
        (ax.adaptive_log_prob, {}),
        (ax.adaptive_predict, {}),
        (ax.adaptive_log_softmax_with_loss, {"target": target}),
        (functools.partial(ax.adaptive_log_prob.vjp, g), {}),
        (functools.partial(ax.adaptive_log_softmax_with_loss.vjp, (None, g)), {"target": target}),
    ):
        with pytest.raises(ValueError, match=message):
            function(**given, **arrays)


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "message", "given"),
    [
        (ValueError, r"target of shape \(7,\) must have the shape \(8,\)", {"target": [0] * 7}),
        (ValueError, r"target of shape \(8, 1\) must have", {"target": [[0]] * 8}),
        (TypeError, "target must be an array of integers of x's library", {"target": [0.0] * 8}),
        (TypeError, "target must be an array of integers", {"target": [True] * 8}),
        (TypeError, "ignore_index must be an integer, got 1.5", {"ignore_index": 1.5}),
        (TypeError, "ignore_index must be an integer, got True", {"ignore_index": True}),
        (ValueError, "ignore_index must have 32 bits, got 2147483648", {"ignore_index": 2**31}),
        (ValueError, "reduction must be 'mean', 'sum' or 'none'", {"reduction": "batchmean"}),
        (TypeError, "tail_weights must be a sequence of pairs", {"tail_weights": [np.ones(3)]}),
        (TypeError, "head_bias must be", {"head_bias": np.ones(5, "f4")}),
    ],
)
def test_bad_input(kind, message, given):
    p = Problem()
    arrays = {"target": p.target, **p.arrays, **given}
    arrays["target"] = np.asarray(arrays["target"])
    with pytest.raises(kind, match=f"^adaptive_log_softmax_with_loss: {message}"):
        ax.adaptive_log_softmax_with_loss(**arrays)


@pytest.mark.once
def test_gradients_of_the_wrong_shape():
    p = Problem()
    vjp = functools.partial(ax.adaptive_log_softmax_with_loss.vjp, target=p.target, **p.arrays)
    for i, g in enumerate([(np.ones(3), None), (None, np.ones(8))]):
        with pytest.raises(ValueError, match=rf"vjp: g\[{i}\] of shape"):
            vjp(g)
    with pytest.raises(ValueError, match=r"^adaptive_log_prob.vjp: g of shape \(8,\) must have"):
        ax.adaptive_log_prob.vjp(np.ones(8), **p.arrays)
