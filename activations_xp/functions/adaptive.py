"""Softmax over many classes, of which the rarer ones share an entry of a first softmax."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import nan, prod
from typing import Any, Literal

from .._define import apply, operation
from .._errors import check_shape, describe_value
from .._parameters import FloatArray, IntArray, Integer, WeightPairs
from .._typing import Array, Namespace
from ..numerics.arrays import arange, is_concrete, take_rows
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
) -> Any:
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
        For each cluster its projection, (hidden, features), and its classes, (size, hidden). Their
        shapes say where each cluster starts. Without any it is a log-softmax.
    head_bias : array of floats, (shortlist + clusters,), optional
        What is added to the head.
    ignore_index : int, optional
        The target of rows that do not count, whatever they hold.
    reduction : {"mean", "sum", "none"}, optional
        What the loss is of the negative log-probabilities; the mean is over the rows that count.

    Returns
    -------
    output : array, (...)
        The log-probability of each target, in the dtype of x; 0 where it is ignored.
    loss : array, () or (...)
        As `reduction` says; the mean of no rows is NaN, and its gradients are 0.

    Raises
    ------
    TypeError
        If an array is of another library or dtype than x, or a parameter of a wrong type.
    ValueError
        If shapes do not go together, or a target is neither a class nor `ignore_index`.

    Notes
    -----
    Where values may be read, as on NumPy and on PyTorch's eager tensors, the rows of each cluster
    are gathered: one that is the target of few rows costs little. Elsewhere, as in what a compiler
    traces, each cluster is computed for all rows, and a target that is out of range has the output
    NaN, no gradient, and makes the loss NaN.

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
    ends = _ends(function, x, head_weight, tail_weights, head_bias)
    batch = _Batch(xp, function, x, target, ends, ignore_index)
    head = apply(xp, log_softmax, _head(xp, batch.rows, head_weight, head_bias))
    first = take_rows(xp, head, batch.entries)
    logs = [batch.clusters.part(first, 0)]
    for i, pair in enumerate(tail_weights, 1):
        rows, places = batch.cluster(i)
        within = apply(xp, log_softmax, _tail(xp, rows, pair))
        logs.append(batch.clusters.part(first, i) + take_rows(xp, within, places))
    output = batch.whole(batch.clusters.joined(logs))
    output = xp.reshape(xp.where(batch.is_wrong, nan, output), target.shape)
    loss = 0.0 - output
    if reduction != "none":
        loss = xp.sum(xp.reshape(loss, (-1,)), axis=0)
    return output, loss / batch.number if reduction == "mean" else loss


@adaptive_log_softmax_with_loss.defvjp
def _(
    xp,
    g,
    x,
    target,
    head_weight,
    tail_weights,
    *,
    head_bias,
    ignore_index,
    reduction,
):
    function = "adaptive_log_softmax_with_loss.vjp"
    ends = _ends(function, x, head_weight, tail_weights, head_bias)
    batch = _Batch(xp, function, x, target, ends, ignore_index)
    if not isinstance(g, tuple) or len(g) != 2:
        raise TypeError(f"{function}: g must be a tuple of two, got {describe_value(g)}")
    g_output, g_loss = g
    total = xp.zeros_like(target, dtype=x.dtype)
    if g_output is not None:
        check_shape(function, "g[0]", g_output, target.shape)
        total = total + g_output
    if g_loss is not None:
        check_shape(function, "g[1]", g_loss, target.shape if reduction == "none" else ())
        total = total - (g_loss / batch.number if reduction == "mean" else g_loss)
    g = batch.counted.part(xp.reshape(total, (-1,)), 0)

    g_head = _hot(xp, batch.entries, g, head_weight.shape[0])
    g_rows, gradients = _head_gradients(xp, batch.rows, head_weight, head_bias, g_head)
    g_parts, g_tail = [batch.clusters.part(g_rows, 0)], []
    for i, pair in enumerate(tail_weights, 1):
        rows, places = batch.cluster(i)
        g_within = _hot(xp, places, batch.clusters.part(g, i), pair[1].shape[0])
        g_part, g_pair = _tail_gradients(xp, rows, pair, g_within)
        g_parts.append(batch.clusters.part(g_rows, i) + g_part)
        g_tail.append(g_pair)
    g_x = batch.whole(batch.clusters.joined(g_parts))
    return {"x": xp.reshape(g_x, x.shape), "tail_weights": tuple(g_tail), **gradients}


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

    Those of the shortlist are ``log_softmax(head)``; those of cluster i
    ``log_softmax(head)[shortlist + i] + log_softmax(tail[i])``.

    Parameters
    ----------
    x : array of floats, (..., features)
        The rows; there may be none, and ``(features,)`` is one.
    head_weight : array of floats, (shortlist + clusters, features)
        The weights of the shortlist, then of each cluster as a whole.
    tail_weights : sequence of pairs of arrays
        For each cluster its projection, (hidden, features), and its classes, (size, hidden).
    head_bias : array of floats, (shortlist + clusters,), optional
        What is added to the head.

    Returns
    -------
    array, (..., classes)
        In the dtype of x. The exponentials of each row sum to 1.

    Raises
    ------
    TypeError
        If an array is of another library or dtype than x.
    ValueError
        If shapes do not go together.

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
    ends = _ends("adaptive_log_prob", x, head_weight, tail_weights, head_bias)
    rows = _rows(xp, x)
    head = apply(xp, log_softmax, _head(xp, rows, head_weight, head_bias))
    parts = [head[:, : ends[0]]]
    for i, pair in enumerate(tail_weights, ends[0]):
        parts.append(head[:, i : i + 1] + apply(xp, log_softmax, _tail(xp, rows, pair)))
    return xp.reshape(xp.concat(parts, axis=1), (*x.shape[:-1], ends[-1]))


@adaptive_log_prob.defvjp
def _(
    xp,
    g,
    x,
    head_weight,
    tail_weights,
    *,
    head_bias,
):
    function = "adaptive_log_prob.vjp"
    ends = _ends(function, x, head_weight, tail_weights, head_bias)
    check_shape(function, "g", g, (*x.shape[:-1], ends[-1]))
    rows, g = _rows(xp, x), _rows(xp, g)
    within = [g[:, start:end] for start, end in pairwise(ends)]
    sums = [xp.sum(part, axis=1, keepdims=True) for part in within]
    g_head = xp.concat([g[:, : ends[0]], *sums], axis=1)
    g_rows, gradients = _head_gradients(xp, rows, head_weight, head_bias, g_head)
    g_tail = []
    for pair, part in zip(tail_weights, within, strict=True):
        g_part, g_pair = _tail_gradients(xp, rows, pair, part)
        g_rows = g_rows + g_part
        g_tail.append(g_pair)
    return {"x": xp.reshape(g_rows, x.shape), "tail_weights": tuple(g_tail), **gradients}


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
    x : array of floats, (..., features)
        The rows; there may be none, and ``(features,)`` is one.
    head_weight : array of floats, (shortlist + clusters, features)
        The weights of the shortlist, then of each cluster as a whole.
    tail_weights : sequence of pairs of arrays
        For each cluster its projection, (hidden, features), and its classes, (size, hidden).
    head_bias : array of floats, (shortlist + clusters,), optional
        What is added to the head.

    Returns
    -------
    array of integers, (...)
        The first of the most probable classes of each row, in the library's default dtype.

    Raises
    ------
    TypeError
        If an array is of another library or dtype than x.
    ValueError
        If shapes do not go together.

    Notes
    -----
    Where values may be read, a cluster is computed for those rows alone in which it is as a whole
    more probable than the best class before it: no class of it can be in the others.

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
    ends = _ends("adaptive_predict", x, head_weight, tail_weights, head_bias)
    rows = _rows(xp, x)
    head = _head(xp, rows, head_weight, head_bias)  # what its softmax adds is for all the same
    found = xp.argmax(head[:, : ends[0]], axis=1)
    best = take_rows(xp, head, found)
    for i, (pair, start) in enumerate(zip(tail_weights, ends, strict=False), ends[0]):
        may_win = head[:, i] > best
        parts = _Parts(xp, [may_win, ~may_win], is_concrete(xp, head))
        within = apply(xp, log_softmax, _tail(xp, parts.part(rows, 0), pair))
        first = xp.argmax(within, axis=1)
        value = parts.part(head[:, i], 0) + take_rows(xp, within, first)
        value = parts.joined([value, parts.part(best, 1)])
        first = parts.joined([start + first, parts.part(found, 1)])
        found, best = xp.where(value > best, first, found), xp.where(value > best, value, best)
    return xp.reshape(found, x.shape[:-1])


class _Parts:
    """Rows in parts: each is in the one whose mask has it.

    Where they are gathered a part is an array of its rows; else of all, the others being 0.
    """

    def __init__(self, xp: Namespace, masks: list[Any], gathers: bool) -> None:
        self.xp, self.masks, self.gathers = xp, masks, gathers
        if gathers:
            self.rows = [xp.nonzero(mask)[0] for mask in masks]
            self.order = xp.argsort(xp.concat(self.rows))

    def part(self, array: Array, i: int) -> Any:
        """Part i of an array of all rows."""
        if not self.gathers:
            return self.xp.where(self._mask(i, array), array, 0)
        if self.rows[i].shape[0] == array.shape[0]:
            return array
        return self.xp.take(array, self.rows[i], axis=0)

    def joined(self, parts: list[Any]) -> Any:
        """The array of all rows that has these parts."""
        if self.gathers:
            return self.xp.take(self.xp.concat(parts, axis=0), self.order, axis=0)
        array = parts[0]
        for i, part in enumerate(parts[1:], 1):
            array = self.xp.where(self._mask(i, part), part, array)
        return array

    def _mask(self, i: int, array: Array) -> Any:
        return self.xp.reshape(self.masks[i], (-1, *(1,) * (array.ndim - 1)))


class _Batch:
    """The rows that count, with the entry of the head and the cluster that each target has.

    rows : of x, those that count
    entries : of the head, one for each of them
    clusters : their parts, that of the shortlist first
    counted : all rows in two parts, those that count first
    is_wrong : which of all have a target that is no class, where that cannot be an error
    number : how many count
    """

    def __init__(
        self,
        xp: Namespace,
        function: str,
        x: Array,
        target: Array,
        ends: list[int],
        ignore_index: int,
    ) -> None:
        if tuple(target.shape) != tuple(x.shape[:-1]):
            raise ValueError(
                f"{function}: target of shape {tuple(target.shape)} must have the shape"
                f" {tuple(x.shape[:-1])} with x of shape {tuple(x.shape)}"
            )
        if not -(2**31) <= ignore_index < 2**31:  # what every library's integers hold
            raise ValueError(f"{function}: ignore_index must have 32 bits, got {ignore_index}")
        classes = xp.astype(xp.reshape(target, (-1,)), xp.arange(0).dtype)
        is_class = (classes >= 0) & (classes < ends[-1])
        is_meant = classes != ignore_index
        self.is_wrong = is_meant & ~is_class
        gathers = is_concrete(xp, x, target)
        if gathers and xp.any(self.is_wrong):
            got = int(classes[xp.nonzero(self.is_wrong)[0][0]])
            raise ValueError(
                f"{function}: target {got} is out of range for n_classes {ends[-1]}"
                f" and not ignore_index {ignore_index}"
            )
        counts = is_meant & is_class
        self.xp, self.number = xp, xp.sum(xp.astype(counts, x.dtype), axis=0)
        self.counted = _Parts(xp, [counts, ~counts], gathers)
        self.rows = self.counted.part(_rows(xp, x), 0)
        self.classes = self.entries = self.counted.part(classes, 0)
        self.starts = [0, *ends]
        masks = [(a <= self.classes) & (self.classes < b) for a, b in pairwise(self.starts)]
        for entry, mask in enumerate(masks[1:], ends[0]):
            self.entries = xp.where(mask, entry, self.entries)
        self.clusters = _Parts(xp, masks, gathers)

    def cluster(self, i: int) -> tuple[Any, Any]:
        """The rows of cluster i, from 1, and which of its classes each of them has."""
        rows = self.clusters.part(self.rows, i)
        if rows.shape[0] == 0:
            rows = self.xp.zeros_like(rows)  # which autograd need not take back to all rows
        return rows, self.clusters.part(self.classes - self.starts[i], i)

    def whole(self, array: Array) -> Any:
        """All rows, of an array of those that count; the others are 0."""
        xp = self.xp
        others = self.counted.part(xp.astype(self.is_wrong, array.dtype), 1)
        shape = (*others.shape, *array.shape[1:])
        zeros = xp.reshape(xp.zeros_like(others), (-1, *(1,) * (array.ndim - 1)))
        return self.counted.joined([array, xp.broadcast_to(zeros, shape)])


def _ends(
    function: str, x: Array, head_weight: Array, tail_weights: Any, head_bias: Array | None
) -> list[int]:
    """The number of classes in the shortlist, with the first cluster, with the second, ..."""
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
    for i, (projection, classes) in enumerate(tail_weights):
        if projection.ndim != 2 or projection.shape[1] != features:
            fail(f"tail_weights[{i}][0]", projection, f"(hidden, {features})")
        hidden = projection.shape[0]
        if classes.ndim != 2 or classes.shape[0] < 1 or classes.shape[1] != hidden:
            fail(f"tail_weights[{i}][1]", classes, f"(1 or more, {hidden})")
    return list(accumulate([classes.shape[0] for _, classes in tail_weights], initial=shortlist))


def _rows(xp: Namespace, x: Array) -> Any:
    return xp.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _hot(xp: Namespace, places: Array, values: Array, n: int) -> Any:
    """Rows of n numbers, 0 but for the value at its place."""
    places, values = xp.reshape(places, (-1, 1)), xp.reshape(values, (-1, 1))
    return xp.where(arange(xp, places, n) == places, values, 0.0)


def _linear(xp: Namespace, x: Array, weight: Array) -> Any:
    return xp.matmul(x, xp.permute_dims(weight, (1, 0)))


def _head(xp: Namespace, x: Array, weight: Array, bias: Array | None) -> Any:
    z = _linear(xp, x, weight)
    return z if bias is None else z + bias


def _tail(xp: Namespace, x: Array, pair: Any) -> Any:
    projection, classes = pair
    return _linear(xp, _linear(xp, x, projection), classes)


def _head_gradients(
    xp: Namespace, x: Array, weight: Array, bias: Array | None, g: Array
) -> tuple[Any, dict[str, Any]]:
    """Those of x, and of the weight and the bias, from that of the head's log-softmax."""
    g = apply(xp, log_softmax.vjp, g, _head(xp, x, weight, bias))["x"]
    gradients = {"head_weight": xp.matmul(xp.permute_dims(g, (1, 0)), x)}
    if bias is not None:
        gradients["head_bias"] = xp.sum(g, axis=0)
    return xp.matmul(g, weight), gradients


def _tail_gradients(xp: Namespace, x: Array, pair: Any, g: Array) -> tuple[Any, Any]:
    """Those of x, and of the cluster's pair, from that of its log-softmax."""
    projection, classes = pair
    hidden = _linear(xp, x, projection)
    g = apply(xp, log_softmax.vjp, g, _linear(xp, hidden, classes))["x"]
    g_hidden = xp.matmul(g, classes)
    g_pair = (
        xp.matmul(xp.permute_dims(g_hidden, (1, 0)), x),
        xp.matmul(xp.permute_dims(g, (1, 0)), hidden),
    )
    return xp.matmul(g_hidden, projection), g_pair
