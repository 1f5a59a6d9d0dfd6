"""The adaptive softmax against its definition: a tree of plain softmaxes in float64."""

from __future__ import annotations

import functools
from math import inf, nan

import numpy as np
import pytest
from array_api_compat import device
from oracle import over

import activations_xp as ax
from activations_xp._dispatch import backend_of
from activations_xp.functions import adaptive

pytestmark = pytest.mark.compiled

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
    """Rows, targets and weights in float64, for an independent reference to compute with.

    The functions below are that reference: the tree written out in NumPy, and its gradients by
    steps into the complex numbers. Whatever a library does is held against them.
    """

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


def tree_map(call, value):
    """Return `call` of each array in nested tuples and dictionaries."""
    if isinstance(value, dict):
        return {name: tree_map(call, part) for name, part in value.items()}
    return tuple(tree_map(call, v) for v in value) if isinstance(value, tuple) else call(value)


def to_backend(backend, value, dtype="float64"):
    return tree_map(lambda a: backend.array(a, dtype), value)


def to_numpy(backend, value):
    return tree_map(backend.asnumpy, value)


def _log_softmax(z):
    z = z - z.real.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def reference_log_prob(x, head_weight, tail_weights, head_bias=0.0):
    """Return the logarithms of every class of the tree, by plain softmaxes."""
    head = _log_softmax(x @ head_weight.T + head_bias)
    shortlist = head_weight.shape[0] - len(tail_weights)
    parts = [head[..., :shortlist]]
    for i, (projection, classes) in enumerate(tail_weights, shortlist):
        parts.append(head[..., i, None] + _log_softmax(x @ projection.T @ classes.T))
    return np.concatenate(parts, axis=-1)


def reference_output(target, ignore_index=-100, **arrays):
    counts = target != ignore_index
    index = np.where(counts, target, 0)[..., None]
    log_prob = np.take_along_axis(reference_log_prob(**arrays), index, axis=-1)[..., 0]
    return np.where(counts, log_prob, 0.0)


def reference_loss(target, reduction="mean", ignore_index=-100, **arrays):
    output = reference_output(target, ignore_index, **arrays)
    if reduction == "none":
        return -output
    return -output.sum() / ((target != ignore_index).sum() if reduction == "mean" else 1)


def reference_gradients(function, arrays):
    """Return the gradients of a real function of arrays, exact by a complex step."""

    def gradient(path, array):
        result = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            stepped = array.astype(complex)
            stepped[index] += 1e-40j
            result[index] = function(**_replace(arrays, path, stepped)).imag / 1e-40
        return result

    return _map_with_path(gradient, arrays)


def _map_with_path(function, value, path=()):
    if isinstance(value, dict):
        return {k: _map_with_path(function, v, (*path, k)) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_map_with_path(function, v, (*path, i)) for i, v in enumerate(value))
    return function(path, value)


def _replace(value, path, new):
    return _map_with_path(lambda at, old: new if at == path else old, value)


def assert_close(got, expected, rtol=1e-12, atol=1e-13):
    """Check both, of one structure, to what rounding does to sums of a few terms."""
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
def test_values(tree, batch, bias, backend):
    p = Problem(tree, batch, bias)
    x, weights = to_backend(backend, p.x), to_backend(backend, p.weights)
    target = backend.array(p.target, "int64")
    output, loss = ax.adaptive_log_softmax_with_loss(x, target, reduction="sum", **weights)
    expected = reference_log_prob(**p.arrays)
    assert_close(backend.asnumpy(output), reference_output(p.target, **p.arrays))
    assert_close(backend.asnumpy(loss), reference_loss(p.target, "sum", **p.arrays))
    got = ax.adaptive_log_prob(x, **weights)
    assert_close(backend.asnumpy(got), expected)
    assert_close(np.exp(backend.asnumpy(got)).sum(axis=-1), np.ones(batch))
    predicted = ax.adaptive_predict(x, **weights)
    assert predicted.dtype == backend_of(x).xp.argmax(got, axis=-1).dtype
    np.testing.assert_array_equal(backend.asnumpy(predicted), expected.argmax(axis=-1))


def test_predict_of_a_tie_is_the_first_class(backend):
    """A class of a cluster is no better than one of the shortlist that is as likely."""
    dtype = backend.dtypes[-1]
    one = backend.array([[1.0]], dtype)
    head, tail = (backend.array([[0.0], [v]], dtype) for v in (np.log(2), 0.0))
    log_prob = backend.asnumpy(ax.adaptive_log_prob(one, head, [(one, tail)]))
    assert (log_prob == log_prob[0, 0]).all()
    assert backend.asnumpy(ax.adaptive_predict(one, head, [(one, tail)])) == [0]


def test_shape_dtype_and_device(any_backend, dtype):
    p = Problem(batch=(2, 4))
    arrays, target = to_backend(any_backend, p.arrays, dtype), any_backend.array(p.target, "int32")
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **arrays)
    log_prob, predicted = ax.adaptive_log_prob(**arrays), ax.adaptive_predict(**arrays)
    g = output, loss
    gradients = ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **arrays)
    of_log_prob = ax.adaptive_log_prob.vjp(log_prob, **arrays)
    assert gradients.keys() == of_log_prob.keys() == arrays.keys()
    for got, shape in (output, (2, 4)), (loss, ()), (log_prob, (2, 4, 12)), (predicted, (2, 4)):
        assert tuple(got.shape) == shape
        assert device(got) == device(target)
        assert got is predicted or got.dtype == arrays["x"].dtype
    expected = tree_map(_described, arrays)
    assert tree_map(_described, gradients) == tree_map(_described, of_log_prob) == expected


def _described(array):
    return tuple(array.shape), array.dtype, device(array)


@over(("tree", "batch", "bias"), CASES)
def test_gradients(tree, batch, bias, backend):
    p = Problem(tree, batch, bias)
    rng = np.random.default_rng(1)
    g, g_loss = rng.normal(size=batch), rng.normal()
    arrays, target = to_backend(backend, p.arrays), backend.array(p.target, "int64")

    def weighted_sum(**arrays):
        loss = g_loss * reference_loss(p.target, "sum", **arrays)
        return loss + (g * reference_output(p.target, **arrays)).sum()

    given = backend.array(g), backend.array(g_loss)
    got = ax.adaptive_log_softmax_with_loss.vjp(given, target=target, reduction="sum", **arrays)
    assert_close(to_numpy(backend, got), reference_gradients(weighted_sum, p.arrays))

    g = rng.normal(size=(*batch, p.n_classes))
    got = ax.adaptive_log_prob.vjp(backend.array(g), **arrays)
    exact = reference_gradients(lambda **arrays: (g * reference_log_prob(**arrays)).sum(), p.arrays)
    assert_close(to_numpy(backend, got), exact)


@over("reduction", ["mean", "sum", "none"])
@over("ignored", [-100, 2, 7])
def test_ignore_index_and_reduction(reduction, ignored, backend):
    p = Problem(batch=(2, 4))
    p.target[1] = ignored
    p.x[1] = [[nan], [inf], [1e300], [0.0]]
    arrays, target = to_backend(backend, p.arrays), backend.array(p.target, "int64")
    settings = {"ignore_index": ignored, "reduction": reduction}
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **settings, **arrays)
    p.x[1] = 0.0
    assert_close(backend.asnumpy(output), reference_output(p.target, ignored, **p.arrays))
    assert_close(backend.asnumpy(loss), reference_loss(p.target, **settings, **p.arrays))
    g = np.random.default_rng(2).normal(size=loss.shape)
    given = None, backend.array(g)
    got = ax.adaptive_log_softmax_with_loss.vjp(given, target=target, **settings, **arrays)
    exact = reference_gradients(
        lambda **a: (g * reference_loss(p.target, **settings, **a)).sum(), p.arrays
    )
    assert_close(to_numpy(backend, got), exact)
    assert not to_numpy(backend, got["x"])[1].any()


@over("reduction", ["mean", "sum", "none"])
@over("target", [np.full(8, -100), np.zeros(0, int)])
def test_all_rows_ignored(reduction, target, backend):
    p = Problem(batch=target.shape)
    arrays = to_backend(backend, p.arrays)
    target = backend.array(target, "int64")
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, reduction=reduction, **arrays)
    np.testing.assert_array_equal(backend.asnumpy(output), np.zeros(target.shape))
    expected = {"mean": nan, "sum": 0.0, "none": np.zeros(target.shape)}[reduction]
    np.testing.assert_array_equal(backend.asnumpy(loss), expected)
    g = backend.array(np.ones(target.shape)), backend.array(np.ones(loss.shape))
    got = ax.adaptive_log_softmax_with_loss.vjp(g, target=target, reduction=reduction, **arrays)
    tree_map(lambda a: np.testing.assert_array_equal(a, 0.0), to_numpy(backend, got))


@over("target", [[0, 2, 1], [3, 3, 6], [8, 11, 7]])
def test_gradients_of_empty_cluster(target, backend):
    p = Problem()
    p.x[1] *= 1e200  # so that what the other clusters make of it overflows
    p.x[2] = nan
    cluster = {0: None, 3: 0, 8: 1}[target[0]]
    target = backend.array([*target, *target, -100, -100], "int64")
    g = None, backend.array(1.0)
    got = ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **to_backend(backend, p.arrays))
    for i, gradients in enumerate(to_numpy(backend, got["tail_weights"])):
        if i != cluster:
            for gradient in gradients:
                np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint32"])
def test_integer_dtypes_of_target(dtype, backend):
    p = Problem()
    target = backend.array(p.target, dtype)
    output, _ = ax.adaptive_log_softmax_with_loss(
        target=target, ignore_index=156 - 256, **to_backend(backend, p.arrays)
    )
    assert_close(backend.asnumpy(output), reference_output(p.target, **p.arrays))


def test_values_of_improbable_classes(backend):
    p = Problem(scale=1e4)
    expected = reference_output(p.target, **p.arrays)
    assert expected.min() < -1e4
    output, _ = ax.adaptive_log_softmax_with_loss(
        target=backend.array(p.target, "int64"), **to_backend(backend, p.arrays)
    )
    assert_close(backend.asnumpy(output), expected)


def test_head_bias_of_minus_infinity(backend):
    p = Problem()
    p.weights["head_bias"][[1, 3]] = -inf
    target = backend.array([1, 4] * 4, "int64")
    arrays = to_backend(backend, p.arrays)
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **arrays)
    np.testing.assert_array_equal(backend.asnumpy(output), -inf)
    assert backend.asnumpy(loss) == inf
    log_prob = backend.asnumpy(ax.adaptive_log_prob(**arrays))
    np.testing.assert_array_equal(log_prob[:, [1, 3, 4, 5, 6]], -inf)
    assert not np.isnan(log_prob).any()
    assert not set(backend.asnumpy(ax.adaptive_predict(**arrays))) & {1, 3, 4, 5, 6}
    got = ax.adaptive_log_softmax_with_loss.vjp((None, backend.array(1.0)), target=target, **arrays)
    tree_map(lambda a: np.isfinite(a).all() or pytest.fail(str(a)), to_numpy(backend, got))


@pytest.fixture
def abstract(monkeypatch):
    """Values that cannot be read, as within a compiler."""
    monkeypatch.setattr(adaptive, "is_concrete", lambda xp, *arrays: False)


@over("batch", BATCHES)
def test_abstract_target(batch, backend, monkeypatch):
    """A target whose values cannot be read has the result of one whose rows are selected."""
    p = Problem(batch=batch)
    if batch:
        p.target[:1] = -100
    arrays, target = to_backend(backend, p.arrays), backend.array(p.target, "int64")
    g = backend.array(np.ones(batch)), backend.array(2.0)

    def results():
        return to_numpy(
            backend,
            (
                ax.adaptive_log_softmax_with_loss(target=target, **arrays),
                ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **arrays),
                ax.adaptive_predict(**arrays),
            ),
        )

    expected = results()
    monkeypatch.setattr(adaptive, "is_concrete", lambda xp, *arrays: False)
    assert_close(results(), expected)


@pytest.mark.usefixtures("abstract")
@over("wrong", [-1, 12, -101, 2**31 - 1])
def test_target_out_of_range_abstract(wrong, backend):
    p = Problem()
    p.target[1], p.target[2] = wrong, -100
    target, arrays = backend.array(p.target, "int64"), to_backend(backend, p.arrays)
    output, loss = ax.adaptive_log_softmax_with_loss(target=target, **arrays)
    np.testing.assert_array_equal(np.isnan(backend.asnumpy(output)), np.arange(8) == 1)
    assert np.isnan(backend.asnumpy(loss))
    g = backend.array(np.ones(8)), None
    got = to_numpy(backend, ax.adaptive_log_softmax_with_loss.vjp(g, target=target, **arrays))
    tree_map(lambda a: np.isfinite(a).all() or pytest.fail(str(a)), got)
    assert not got["x"][1:3].any()


@pytest.mark.once
@over("wrong", [-1, 12, -101, 2**62])
def test_target_out_of_range(wrong):
    p = Problem(batch=(2, 2))
    p.target[1, 0] = wrong
    for call in (
        ax.adaptive_log_softmax_with_loss,
        functools.partial(ax.adaptive_log_softmax_with_loss.vjp, (None, np.float64(1))),
    ):
        with pytest.raises(ValueError, match=rf"target {wrong} is out of range for n_classes 12"):
            call(target=p.target, **p.arrays)


class CountingMatmul:
    """Counts the multiplications in products of matrices."""

    def __init__(self, matmul):
        self.matmul, self.count = matmul, 0

    def __call__(self, a, b):
        self.count += a.shape[0] * a.shape[1] * b.shape[1]
        return self.matmul(a, b)


@pytest.mark.once
def test_work_by_cluster(monkeypatch):
    xp = backend_of(np.zeros(1)).xp
    matmul = CountingMatmul(xp.matmul)
    monkeypatch.setattr(xp, "matmul", matmul)
    features, hidden, size, n = 8, 4, 1000, 16
    x, head = np.ones((n, features)), np.zeros((10 + 2, features))
    tail = [(np.zeros((hidden, features)), np.zeros((size, hidden)))] * 2
    per_row = features * hidden + hidden * size

    def work(call, *arguments, **arrays):
        matmul.count = 0
        call(*arguments, **arrays)
        return matmul.count

    for target, in_tail in ([3] * n, 0), ([3, 10] * (n // 2), n // 2), ([10, 1010] * (n // 2), n):
        arrays = {"target": np.array(target), "head_weight": head, "tail_weights": tail}
        forward = work(ax.adaptive_log_softmax_with_loss, x, **arrays)
        assert forward == n * features * 12 + in_tail * per_row
        g = None, np.ones(())
        backward = work(ax.adaptive_log_softmax_with_loss.vjp, g, x, **arrays)
        assert backward == 3 * forward
    half = {"target": np.array([3, -100] * (n // 2)), "head_weight": head, "tail_weights": tail}
    assert work(ax.adaptive_log_softmax_with_loss, x, **half) == n // 2 * features * 12

    assert work(ax.adaptive_log_prob, x, head, tail) == n * (features * 12 + 2 * per_row)
    # every entry of the head is the same: no cluster is more probable than the first class
    assert work(ax.adaptive_predict, x, head, tail) == n * features * 12
    head[10] = 1.0
    x[: n - 3] = -1.0
    assert work(ax.adaptive_predict, x, head, tail) == n * features * 12 + 3 * per_row


def test_predict_class_beside_more_probable_cluster(backend):
    head = np.log([[0.3], [0.1], [0.35], [0.25]])
    tail = ((np.ones((1, 1)), np.zeros((4, 1))), (np.ones((1, 1)), np.array([[0.0], [9.0]])))
    x = to_backend(backend, np.ones((1, 1)))
    got = ax.adaptive_predict(x, to_backend(backend, head), to_backend(backend, tail))
    np.testing.assert_array_equal(backend.asnumpy(got), [0])
    head[0] = -9.0  # then the last class has nearly 0.25, those of the first cluster 0.35 / 4
    got = ax.adaptive_predict(x, to_backend(backend, head), to_backend(backend, tail))
    np.testing.assert_array_equal(backend.asnumpy(got), [7])


UNITS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@over("dtype", UNITS)
def test_half_and_single_precision(dtype, backend):
    """Within a unit in the last place, of which the rounding itself is a half."""
    arrays = to_backend(backend, Problem().arrays, dtype)
    rounded = tree_map(lambda a: a.astype("f8"), to_numpy(backend, arrays))
    target = Problem().target
    there = backend.array(target, "int64")
    output, loss = ax.adaptive_log_softmax_with_loss(target=there, **arrays)
    log_prob = ax.adaptive_log_prob(**arrays)
    assert {backend.dtype_of(a) for a in (output, loss, log_prob)} == {dtype}
    # float32 adds some ten numbers, of up to 8 here
    room = {"rtol": UNITS[dtype], "atol": 2e-6}
    for got, expected in (
        (output, reference_output(target, **rounded)),
        (loss, reference_loss(target, **rounded)),
        (log_prob, reference_log_prob(**rounded)),
    ):
        assert_close(backend.asnumpy(got).astype("f8"), expected, **room)
    g = None, backend.array(1.0, dtype)
    got = ax.adaptive_log_softmax_with_loss.vjp(g, target=there, **arrays)
    got = tree_map(lambda a: a.astype("f8"), to_numpy(backend, got))
    exact = reference_gradients(functools.partial(reference_loss, target), rounded)
    assert_close(got, exact, **room)


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
def test_shape_mismatch(message, backend):
    arrays = dict(Problem().arrays)
    ERRORS[message](arrays)
    target = backend.array(Problem().target, "int64")
    arrays = to_backend(backend, arrays)
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
def test_invalid_input(kind, message, given):
    p = Problem()
    arrays = {"target": p.target, **p.arrays, **given}
    arrays["target"] = np.asarray(arrays["target"])
    with pytest.raises(kind, match=f"^adaptive_log_softmax_with_loss: {message}"):
        ax.adaptive_log_softmax_with_loss(**arrays)


@pytest.mark.once
def test_cotangent_shape_mismatch():
    p = Problem()
    vjp = functools.partial(ax.adaptive_log_softmax_with_loss.vjp, target=p.target, **p.arrays)
    for i, g in enumerate([(np.ones(3), None), (None, np.ones(8))]):
        with pytest.raises(ValueError, match=rf"vjp: g\[{i}\] of shape"):
            vjp(g)
    with pytest.raises(ValueError, match=r"^adaptive_log_prob.vjp: g of shape \(8,\) must have"):
        ax.adaptive_log_prob.vjp(np.ones(8), **p.arrays)
