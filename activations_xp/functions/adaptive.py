"""Adaptive softmax: rare classes are in clusters, each an entry of a first softmax, the head."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import nan
from typing import Any, Literal

from .._define import apply, operation
from .._errors import check_shape, describe_value
from .._parameters import FloatArray, IntArray, Integer, WeightPairs
from .._typing import Array, Namespace
from ..numerics.arrays import arange, is_concrete, take_rows
from ..numerics.linear import as_rows, linear, linear_vjp
from .simplex import log_softmax

__all__ = ["adaptive_log_prob", "adaptive_log_softmax_with_loss", "adaptive_predict"]

_SOURCE = (
    "Grave, Joulin, Cissé, Grangier & Jégou, Efficient softmax approximation for GPUs, "
    "arXiv:1609.04309."
)
_TORCH = "torch.nn.AdaptiveLogSoftmaxWithLoss"


@operation(source=_SOURCE, peers={"torch": _TORCH})
def adaptive_log_softmax_with_loss(
    xp: Namespace,
    x: FloatArray,
    target: IntArray,
    head_weight: FloatArray,
    tail_weights: WeightPairs,
    *,
    head_bias: FloatArray | None = None,
    ignore_index: Integer = -100,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> tuple[Any, Any]:
    """Adaptive log-softmax of each row's target, and its negative mean as a loss.

    The most frequent classes, the shortlist, come first. The others are in clusters, each with an
    entry of its own in the softmax of the head: a class of the shortlist has the log-probability
    ``log_softmax(head)[target]``, one of cluster i
    ``log_softmax(head)[shortlist + i] + log_softmax(tail[i])[target - start[i]]``.

    Parameters
    ----------
    x : array of floats, (..., features)
        The rows; there may be none, and ``(features,)`` is one.
    target : array of integers, (...)
        The class of each row, from 0.
    head_weight : array of floats, (shortlist + clusters, features)
        The weights of the shortlist, then of each cluster as a whole.
    tail_weights : sequence of pairs of arrays
        The projection, (hidden, features), and the weights of the classes, (size, hidden), of each
        cluster. Their shapes determine where each cluster starts. Without any, the function is a
        log-softmax.
    head_bias : array of floats, (shortlist + clusters,), optional
        Added to the head.
    ignore_index : int, optional
        The target of rows that do not count, even if they are not finite.
    reduction : {"mean", "sum", "none"}, optional
        The reduction of the negative log-probabilities to the loss; the mean is over the rows that
        count.

    Returns
    -------
    output : array, (...)
        The log-probability of each target, in the dtype of x; 0 where it is ignored.
    loss : array, () or (...)
        The reduced loss. The mean of no rows is NaN, and its gradients are 0.

    Raises
    ------
    TypeError
        If an array is of another library or dtype than x, or a parameter of a wrong type.
    ValueError
        If shapes do not fit together, or a target is neither a class nor `ignore_index`.

    Notes
    -----
    Where values can be read, as on NumPy and in eager PyTorch, the rows of each cluster are
    gathered: a cluster with few targets costs little. Elsewhere, as in traced code, each cluster is
    computed for all rows, and a target that is out of range has the output NaN and no gradient, and
    makes the loss NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> x, head = np.zeros((2, 1)), np.zeros((2, 1))
    >>> tail = [(np.zeros((1, 1)), np.zeros((4, 1)))]
    >>> output, loss = ax.adaptive_log_softmax_with_loss(x, np.array([0, 3]), head, tail)
    >>> np.exp(output)
    array([0.5  , 0.125])

    References
    ----------
    Grave, Joulin, Cissé, Grangier & Jégou, Efficient softmax approximation for GPUs,
    arXiv:1609.04309.
    """
    function = "adaptive_log_softmax_with_loss"
    bounds = _cluster_bounds(function, x, head_weight, tail_weights, head_bias)
    targets = _Targets(xp, function, x, target, bounds, ignore_index)
    clusters = targets.clusters
    head = apply(xp, log_softmax, linear(xp, targets.rows, head_weight, head_bias))
    entry = take_rows(xp, head, targets.entries)
    parts = [clusters.select(entry, 0)]
    for i, pair in enumerate(tail_weights, 1):
        rows, classes = targets.of_cluster(i)
        tail = apply(xp, log_softmax, _tail(xp, rows, pair))
        parts.append(clusters.select(entry, i) + take_rows(xp, tail, classes))
    output = targets.with_ignored(clusters.merge(parts))
    output = xp.reshape(xp.where(targets.is_wrong, nan, output), target.shape)
    loss = 0.0 - output
    if reduction != "none":
        loss = xp.sum(xp.reshape(loss, (-1,)), axis=0)
    return output, loss / targets.count if reduction == "mean" else loss


@adaptive_log_softmax_with_loss.defvjp
def _(xp, g, x, target, head_weight, tail_weights, *, head_bias, ignore_index, reduction):
    function = "adaptive_log_softmax_with_loss.vjp"
    bounds = _cluster_bounds(function, x, head_weight, tail_weights, head_bias)
    targets = _Targets(xp, function, x, target, bounds, ignore_index)
    clusters = targets.clusters
    if not isinstance(g, tuple) or len(g) != 2:
        raise TypeError(f"{function}: g must be a tuple of two, got {describe_value(g)}")
    g_output, g_loss = g
    g = xp.zeros_like(target, dtype=x.dtype)
    if g_output is not None:
        check_shape(function, "g[0]", g_output, target.shape)
        g = g + g_output
    if g_loss is not None:
        check_shape(function, "g[1]", g_loss, target.shape if reduction == "none" else ())
        g = g - (g_loss / targets.count if reduction == "mean" else g_loss)
    g = targets.counted.select(xp.reshape(g, (-1,)), 0)

    g_head = _scatter_one_hot(xp, targets.entries, g, head_weight.shape[0])
    g_rows, g_weight, g_bias = _logits_vjp(xp, g_head, targets.rows, head_weight, head_bias)
    parts, g_pairs = [clusters.select(g_rows, 0)], []
    for i, pair in enumerate(tail_weights, 1):
        rows, classes = targets.of_cluster(i)
        g_tail = _scatter_one_hot(xp, classes, clusters.select(g, i), pair[1].shape[0])
        g_part, g_pair = _tail_vjp(xp, g_tail, rows, pair)
        parts.append(clusters.select(g_rows, i) + g_part)
        g_pairs.append(g_pair)
    gradients = {"head_weight": g_weight, "tail_weights": tuple(g_pairs), "head_bias": g_bias}
    return {"x": xp.reshape(targets.with_ignored(clusters.merge(parts)), x.shape), **gradients}


@operation(source=_SOURCE, peers={"torch": f"{_TORCH}.log_prob"})
def adaptive_log_prob(
    xp: Namespace,
    x: FloatArray,
    head_weight: FloatArray,
    tail_weights: WeightPairs,
    *,
    head_bias: FloatArray | None = None,
) -> Any:
    """Log-probabilities of all classes by the adaptive softmax.

    A class of the shortlist has ``log_softmax(head)``, one of cluster i
    ``log_softmax(head)[shortlist + i] + log_softmax(tail[i])``.

    Parameters
    ----------
    x, head_weight, tail_weights, head_bias : arrays
        As for `adaptive_log_softmax_with_loss`.

    Returns
    -------
    array, (..., classes)
        In the dtype of x. The exponentials of each row sum to 1.

    Raises
    ------
    TypeError
        If an array is of another library or dtype than x.
    ValueError
        If shapes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> tail = [(np.zeros((1, 1)), np.zeros((4, 1)))]
    >>> np.exp(ax.adaptive_log_prob(np.zeros(1), np.zeros((2, 1)), tail))
    array([0.5  , 0.125, 0.125, 0.125, 0.125])

    References
    ----------
    Grave, Joulin, Cissé, Grangier & Jégou, Efficient softmax approximation for GPUs,
    arXiv:1609.04309.
    """
    bounds = _cluster_bounds("adaptive_log_prob", x, head_weight, tail_weights, head_bias)
    rows = as_rows(xp, x)
    head = apply(xp, log_softmax, linear(xp, rows, head_weight, head_bias))
    parts = [head[:, : bounds[0]]]
    for i, pair in enumerate(tail_weights, bounds[0]):
        parts.append(head[:, i : i + 1] + apply(xp, log_softmax, _tail(xp, rows, pair)))
    return xp.reshape(xp.concat(parts, axis=1), (*x.shape[:-1], bounds[-1]))


@adaptive_log_prob.defvjp
def _(xp, g, x, head_weight, tail_weights, *, head_bias):
    function = "adaptive_log_prob.vjp"
    bounds = _cluster_bounds(function, x, head_weight, tail_weights, head_bias)
    check_shape(function, "g", g, (*x.shape[:-1], bounds[-1]))
    rows, g = as_rows(xp, x), as_rows(xp, g)
    g_tails = [g[:, start:stop] for start, stop in pairwise(bounds)]
    sums = [xp.sum(g_tail, axis=1, keepdims=True) for g_tail in g_tails]
    g_head = xp.concat([g[:, : bounds[0]], *sums], axis=1)
    g_rows, g_weight, g_bias = _logits_vjp(xp, g_head, rows, head_weight, head_bias)
    g_pairs = []
    for pair, g_tail in zip(tail_weights, g_tails, strict=True):
        g_part, g_pair = _tail_vjp(xp, g_tail, rows, pair)
        g_rows = g_rows + g_part
        g_pairs.append(g_pair)
    gradients = {"head_weight": g_weight, "tail_weights": tuple(g_pairs), "head_bias": g_bias}
    return {"x": xp.reshape(g_rows, x.shape), **gradients}


@operation(source=_SOURCE, peers={"torch": f"{_TORCH}.predict"})
def adaptive_predict(
    xp: Namespace,
    x: FloatArray,
    head_weight: FloatArray,
    tail_weights: WeightPairs,
    *,
    head_bias: FloatArray | None = None,
) -> Any:
    """Most probable class by the adaptive softmax, ``argmax(adaptive_log_prob(x))``.

    Parameters
    ----------
    x, head_weight, tail_weights, head_bias : arrays
        As for `adaptive_log_softmax_with_loss`.

    Returns
    -------
    array of integers, (...)
        The first of the most probable classes of each row, in the library's default dtype.

    Raises
    ------
    TypeError
        If an array is of another library or dtype than x.
    ValueError
        If shapes do not fit together.

    Notes
    -----
    Where values can be read, a cluster is computed only for the rows in which its entry in the head
    is more probable than the best class so far: no class of a cluster is more probable than its
    entry.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> tail = [(np.ones((1, 1)), np.array([[0.0], [9.0]]))]
    >>> ax.adaptive_predict(np.array([[1.0], [-1.0]]), np.array([[0.0], [1.0]]), tail)
    array([2, 0])

    References
    ----------
    Grave, Joulin, Cissé, Grangier & Jégou, Efficient softmax approximation for GPUs,
    arXiv:1609.04309.
    """
    bounds = _cluster_bounds("adaptive_predict", x, head_weight, tail_weights, head_bias)
    rows = as_rows(xp, x)
    # the softmax of the head would subtract the same number from each entry
    head = linear(xp, rows, head_weight, head_bias)
    best_class = xp.argmax(head[:, : bounds[0]], axis=1)
    best = take_rows(xp, head, best_class)
    for i, (pair, start) in enumerate(zip(tail_weights, bounds, strict=False), bounds[0]):
        may_win = head[:, i] > best
        candidates = _Partition(xp, [may_win, ~may_win], is_concrete(xp, head))
        tail = apply(xp, log_softmax, _tail(xp, candidates.select(rows, 0), pair))
        first = xp.argmax(tail, axis=1)
        value = candidates.select(head[:, i], 0) + take_rows(xp, tail, first)
        value = candidates.merge([value, candidates.select(best, 1)])
        first = candidates.merge([start + first, candidates.select(best_class, 1)])
        is_better = value > best
        best_class, best = xp.where(is_better, first, best_class), xp.where(is_better, value, best)
    return xp.reshape(best_class, x.shape[:-1])


class _Partition:
    """A partition of rows by masks.

    If `gathers`, a part is an array of its rows; otherwise it has all rows, and 0 for the others.
    """

    def __init__(self, xp: Namespace, masks: list[Any], gathers: bool) -> None:
        self.xp, self.masks, self.gathers = xp, masks, gathers
        if gathers:
            self.indices = [xp.nonzero(mask)[0] for mask in masks]
            self.order = xp.argsort(xp.concat(self.indices))

    def select(self, array: Array, i: int) -> Any:
        """Return part i of an array of all rows."""
        if not self.gathers:
            return self.xp.where(self._mask(i, array), array, 0)
        if self.indices[i].shape[0] == array.shape[0]:
            return array
        return self.xp.take(array, self.indices[i], axis=0)

    def merge(self, parts: list[Any]) -> Any:
        """Return the array of all rows that has these parts."""
        if self.gathers:
            return self.xp.take(self.xp.concat(parts, axis=0), self.order, axis=0)
        array = parts[0]
        for i, part in enumerate(parts[1:], 1):
            array = self.xp.where(self._mask(i, part), part, array)
        return array

    def _mask(self, i: int, array: Array) -> Any:
        return self.xp.reshape(self.masks[i], (-1, *(1,) * (array.ndim - 1)))


class _Targets:
    """The rows that count, with the entry of the head and the cluster of each target.

    rows : the rows of x that count
    entries : the entry of the head for each of them
    clusters : their partition by clusters, the shortlist first
    counted : the partition of all rows into those that count and the others
    is_wrong : whether a target of any row is no class, where that cannot raise an error
    count : the number of rows that count
    """

    def __init__(
        self, xp: Namespace, function: str, x: Array, target: Array, bounds: list[int], ignored: int
    ) -> None:
        if tuple(target.shape) != tuple(x.shape[:-1]):
            raise ValueError(
                f"{function}: target of shape {tuple(target.shape)} must have the shape"
                f" {tuple(x.shape[:-1])} with x of shape {tuple(x.shape)}"
            )
        if not -(2**31) <= ignored < 2**31:  # the range of every library's integers
            raise ValueError(f"{function}: ignore_index must have 32 bits, got {ignored}")
        classes = xp.astype(xp.reshape(target, (-1,)), xp.arange(0).dtype)
        is_class = (classes >= 0) & (classes < bounds[-1])
        is_not_ignored = classes != ignored
        self.is_wrong = is_not_ignored & ~is_class
        gathers = is_concrete(xp, x, target)
        if gathers and xp.any(self.is_wrong):
            got = int(classes[xp.nonzero(self.is_wrong)[0][0]])
            raise ValueError(
                f"{function}: target {got} is out of range for n_classes {bounds[-1]}"
                f" and not ignore_index {ignored}"
            )
        counts = is_not_ignored & is_class
        self.xp, self.count = xp, xp.sum(xp.astype(counts, x.dtype), axis=0)
        self.counted = _Partition(xp, [counts, ~counts], gathers)
        self.rows = self.counted.select(as_rows(xp, x), 0)
        self.classes = self.entries = self.counted.select(classes, 0)
        self.starts = [0, *bounds]
        masks = [(a <= self.classes) & (self.classes < b) for a, b in pairwise(self.starts)]
        for entry, mask in enumerate(masks[1:], bounds[0]):
            self.entries = xp.where(mask, entry, self.entries)
        self.clusters = _Partition(xp, masks, gathers)

    def of_cluster(self, i: int) -> tuple[Any, Any]:
        """Return the rows of cluster i, from 1, and the class of each within the cluster."""
        rows = self.clusters.select(self.rows, i)
        if rows.shape[0] == 0:
            rows = self.xp.zeros_like(rows)  # autograd then has no gradient to scatter to all rows
        return rows, self.clusters.select(self.classes - self.starts[i], i)

    def with_ignored(self, array: Array) -> Any:
        """Return an array of all rows from one of those that count; the others are 0."""
        xp = self.xp
        others = self.counted.select(xp.astype(self.is_wrong, array.dtype), 1)
        shape = (*others.shape, *array.shape[1:])
        zeros = xp.reshape(xp.zeros_like(others), (-1, *(1,) * (array.ndim - 1)))
        return self.counted.merge([array, xp.broadcast_to(zeros, shape)])


def _cluster_bounds(
    function: str, x: Array, head_weight: Array, tail_weights: Any, head_bias: Array | None
) -> list[int]:
    """Return the first class of each cluster and, last, the number of classes.

    It raises a ValueError if the shapes do not fit together.
    """
    if x.ndim == 0:
        raise ValueError(f"{function}: x must have an axis of features, got shape ()")
    features = x.shape[-1]

    def fail(argument: str, array: Array, wanted: str) -> None:
        got = f"of shape {tuple(array.shape)} must have the shape {wanted}"
        raise ValueError(f"{function}: {argument} {got} with x of shape {tuple(x.shape)}")

    shortlist = head_weight.shape[0] - len(tail_weights) if head_weight.ndim == 2 else 0
    if shortlist < 1 or head_weight.shape[1] != features:
        least = len(tail_weights) + 1
        fail("head_weight", head_weight, f"({least} or more, {features})")
    if head_bias is not None and tuple(head_bias.shape) != (head_weight.shape[0],):
        fail("head_bias", head_bias, f"({head_weight.shape[0]},)")
    for i, (projection, weight) in enumerate(tail_weights):
        if projection.ndim != 2 or projection.shape[1] != features:
            fail(f"tail_weights[{i}][0]", projection, f"(hidden, {features})")
        hidden = projection.shape[0]
        if weight.ndim != 2 or weight.shape[0] < 1 or weight.shape[1] != hidden:
            fail(f"tail_weights[{i}][1]", weight, f"(1 or more, {hidden})")
    return list(accumulate([weight.shape[0] for _, weight in tail_weights], initial=shortlist))


def _scatter_one_hot(xp: Namespace, index: Array, values: Array, n: int) -> Any:
    """Return rows of n numbers, each 0 except for its value at its index."""
    index, values = xp.reshape(index, (-1, 1)), xp.reshape(values, (-1, 1))
    return xp.where(arange(xp, index, n) == index, values, 0.0)


def _tail(xp: Namespace, x: Array, pair: Any) -> Any:
    """Return the logits of a cluster's classes."""
    projection, weight = pair
    return linear(xp, linear(xp, x, projection), weight)


def _logits_vjp(
    xp: Namespace, g: Array, x: Array, weight: Array, bias: Array | None = None
) -> tuple[Any, Any, Any]:
    """Return the gradients of x, weight and bias from that of the log-softmax of their logits."""
    g = apply(xp, log_softmax.vjp, g, linear(xp, x, weight, bias))["x"]
    return linear_vjp(xp, g, x, weight, bias is not None)


def _tail_vjp(xp: Namespace, g: Array, x: Array, pair: Any) -> tuple[Any, Any]:
    """Return the gradients of x and the pair from that of the cluster's log-softmax."""
    projection, weight = pair
    g_hidden, g_weight, _ = _logits_vjp(xp, g, linear(xp, x, projection), weight)
    g_x, g_projection, _ = linear_vjp(xp, g_hidden, x, projection)
    return g_x, (g_projection, g_weight)
