"""Softmax and relatives: they map a slice along an axis to weights that sum to 1."""

from __future__ import annotations

from math import expm1, inf, log
from typing import Any

from .._define import Peer, activation, case
from .._parameters import Axes, Count, Mask, SliceArray
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import (
    LARGEST_SIZE,
    arange,
    axes_size,
    check_constant_along,
    clip_to_finite,
    count_true,
    has_none,
    is_known,
    largest_finite,
    mask_to_zero,
    one_where_zero,
    zeros_like,
)
from ..numerics.cmath import make_complex
from ..numerics.double_word import corrected_passes
from ..numerics.special import polynomial

__all__ = ["entmax", "entmax15", "log_softmax", "softmax", "softmin", "sparsemax"]


@activation(
    formula="exp(x) / sum(exp(x))",
    source="Bridle, Probabilistic interpretation of feedforward classification network outputs, "
    "1990.",
    # 4, but for weights below exp(-60) of the largest (float64: exp(-680)): where the largest x is
    # over 60 (680), their exponents are rounded
    ulp=20.0,
    aliases={"softmax2d": {"axis": -3}},
    layer="torch.nn.Softmax",
    peers={
        "torch": Peer("torch.nn.functional.softmax", dim=None),
        "jax": "jax.nn.softmax",
        "keras": "keras.activations.softmax",
        "scipy": Peer("scipy.special.softmax", axis=None),
        "tensorflow": "tf.nn.softmax",
        "mlx": "mlx.nn.softmax",
    },
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def softmax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Softmax, exp(x)/sum(exp(x)) along an axis.

    Notes
    -----
    Infinite elements share the sum 1 equally; the others are 0.

    >>> ax.softmax(np.zeros((2, 2)), where=np.array([[True, True], [False, False]]))
    array([[0.5, 0.5],
           [0. , 0. ]])
    """
    if 0 in x.shape:
        return x
    x, row_max = _mask_and_max(xp, x, axis, where)
    # An offset cancels in the quotient. It must only keep the exponential of the largest element
    # between 1 and overflow: the integer nearest to 0 that does rounds hardly any exponent.
    limit = 60.0 if x.dtype == xp.float32 else 680.0
    offset = xp.floor(row_max - xp.minimum(xp.maximum(row_max, 0.0), limit))
    e = xp.exp(xp.minimum(x - clip_to_finite(xp, offset), limit + 1))
    return e / one_where_zero(xp, xp.sum(e, axis=axis, keepdims=True))


@softmax.defvjp
def _(xp, g, x, axis, where):
    y = softmax.impl(xp, x, axis, where)
    return {"x": _project(xp, y, y, g, axis, where)}


@softmax.defcomplex
def _(xp, x, axis, where):
    return _complex_softmax(xp, x, axis, where)


@softmax.defcomplex("vjp")
def _(xp, g, x, axis, where):
    return {"x": _softmax_vjp(xp, _complex_softmax(xp, x, axis, where), g, axis, where)}


def _complex_softmax(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    if 0 in x.shape:
        return x
    e = xp.exp(_complex_minus_max(xp, x, axis, where))
    return e / one_where_zero(xp, xp.sum(e, axis=axis, keepdims=True))


@activation(
    formula="x - log(sum(exp(x)))",
    source="Bridle, Probabilistic interpretation of feedforward classification network outputs, "
    "1990.",
    ulp=8.0,  # near 0, where 1 less the weights of the others is rounded; elsewhere 2
    layer="torch.nn.LogSoftmax",
    peers={
        "torch": Peer("torch.nn.functional.log_softmax", dim=None),
        "jax": "jax.nn.log_softmax",
        "keras": "keras.activations.log_softmax",
        "scipy": Peer("scipy.special.log_softmax", axis=None),
        "tensorflow": "tf.nn.log_softmax",
        "mlx": "mlx.nn.log_softmax",
    },
    output_axis="kept",
    range=(-inf, 0.0),
)
def log_softmax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Logarithm of the softmax, x - log(sum(exp(x))) along an axis.

    Parameters
    ----------
    where : boolean array, optional
        The elements to include. Excluded elements become -inf and have no gradient, whatever they
        hold; so does a slice without included elements.

    Notes
    -----
    In a slice with k infinite elements each of them is -log(k) and the others are -inf. The error
    bound of a result near 0 is absolute.

    >>> ax.log_softmax(np.zeros(2))
    array([-0.69314718, -0.69314718])
    """
    if 0 in x.shape:
        return x
    x, row_max = _mask_and_max(xp, x, axis, where)
    # a factor of 1, but beside infinity one that makes -inf of every finite element
    factor = xp.maximum(row_max - clip_to_finite(xp, row_max), 1.0)
    shifted = _minus_max(xp, x, row_max) * xp.minimum(factor, largest_finite(xp, x))
    row_sum = xp.sum(xp.exp(shifted), axis=axis, keepdims=True)
    return shifted - xp.log(one_where_zero(xp, row_sum))


@log_softmax.defvjp
def _(xp, g, x, axis, where):
    return {"x": _log_softmax_vjp(xp, softmax.impl(xp, x, axis, where), g, axis, where)}


@log_softmax.defcomplex
def _(xp, x, axis, where):
    if 0 in x.shape:
        return x
    shifted = _complex_minus_max(xp, x, axis, where)
    row_sum = one_where_zero(xp, xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
    real, imag = (part(shifted) - part(xp.log(row_sum)) for part in (xp.real, xp.imag))
    return make_complex(xp, real, imag)


@log_softmax.defcomplex("vjp")
def _(xp, g, x, axis, where):
    return {"x": _log_softmax_vjp(xp, _complex_softmax(xp, x, axis, where), g, axis, where)}


def _log_softmax_vjp(xp: Namespace, y: Any, g: Any, axis: Axes, where: Mask | None) -> Any:
    """Return the gradient of x from that of the logarithms of the weights y."""
    if 0 in y.shape:
        return g
    g = mask_to_zero(xp, g, where)
    for _ in range(corrected_passes(xp)):
        g = g - y * xp.sum(g, axis=axis, keepdims=True)
    has_elements = xp.astype(xp.sum(y, axis=axis, keepdims=True) != 0, y.dtype)
    return mask_to_zero(xp, g * has_elements, where)


@activation(
    formula="exp(-x) / sum(exp(-x))",
    source="The softmax of the negative; no publication claims it.",
    ulp=20.0,  # as softmax
    layer="torch.nn.Softmin",
    peers={"torch": Peer("torch.nn.functional.softmin", dim=None), "mlx": "mlx.nn.softmin"},
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def softmin(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Softmin, exp(-x)/sum(exp(-x)) along an axis.

    Notes
    -----
    Elements of -inf share the sum 1 equally; the others are 0.

    >>> ax.softmin(np.array([0.0, 0.0, 800.0]))
    array([0.5, 0.5, 0. ])
    """
    return softmax.impl(xp, -x, axis, where)


@softmin.defvjp
def _(xp, g, x, axis, where):
    return {"x": _softmax_vjp(xp, softmin.impl(xp, x, axis, where), -g, axis, where)}


@activation(
    formula="maximum(x - max((cumsum(sort(x)[::-1]) - 1) / (arange(len(x)) + 1)), 0)",
    source="Martins & Astudillo, From softmax to sparsemax, arXiv:1602.02068.",
    peers={
        "tensorflow-addons": "tfa.activations.sparsemax",
        "keras": "keras.activations.sparsemax",
        "entmax": "entmax.sparsemax",
    },
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def sparsemax(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Sparsemax, max(x - t, 0) along an axis, with the threshold t that makes the sum 1.

    It is the Euclidean projection on the probability simplex; small elements become exactly 0.

    Notes
    -----
    Infinite elements share the sum 1 equally; the others are 0. The weights of Keras 3.15 do
    not sum to 1 where more than one element is over the threshold.

    >>> ax.sparsemax(np.array([0.5, 0.25, -3.0]))
    array([0.625, 0.375, 0.   ])
    """
    if 0 in x.shape:
        return x
    distance = -subtract_max(xp, x, axis, where)
    if _can_sort(xp):
        ascending, k = _sorted_with_index(xp, distance, axis)
        thresholds = (1 + xp.cumulative_sum(ascending, axis=-1)) / k
        support = _support_mask(xp, distance, thresholds, axis)
    else:
        support = _bracketed_support(xp, distance, axis, 1)
    row_sum = xp.sum(xp.where(support, distance, 0.0), axis=axis, keepdims=True)
    return xp.maximum((1 + row_sum) / count_true(xp, support, x, axis) - distance, 0.0)


@sparsemax.defvjp
def _(xp, g, x, axis, where):
    y = sparsemax.impl(xp, x, axis, where)
    return {"x": _softmax_vjp(xp, xp.where(y > 0, 1.0, y), g, axis, where)}


@activation(
    formula="simplex(lambda z: maximum(z / 2, 0) ** 2, x)",
    source="Peters, Niculae & Martins, Sparse sequence-to-sequence models, arXiv:1905.05702.",
    peers={"entmax": "entmax.entmax15"},
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def entmax15(xp: Namespace, x: Array, axis: Axes = -1, where: Mask | None = None) -> Any:
    """Entmax of alpha 1.5, max(x/2 - t, 0)**2 along an axis, with the t that makes the sum 1.

    It lies half-way between softmax and sparsemax; small elements become exactly 0.

    Notes
    -----
    Infinite elements share the sum 1 equally; the others are 0.

    >>> ax.entmax15(np.array([0.5, 0.5, -3.0]))
    array([0.5, 0.5, 0. ])
    """
    sqrt_weights = _sqrt_weights(xp, x, axis, where)
    return sqrt_weights * sqrt_weights


@entmax15.defvjp
def _(xp, g, x, axis, where):
    return {"x": _softmax_vjp(xp, _sqrt_weights(xp, x, axis, where), g, axis, where)}


def _sqrt_weights(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    """Return the square roots of the weights of `entmax15`, which are their derivatives, too."""
    if 0 in x.shape:
        return x
    distance = subtract_max(xp, x, axis, where) * -0.5
    if _can_sort(xp):
        ascending, k = _sorted_with_index(xp, distance, axis)
        mean = xp.cumulative_sum(ascending, axis=-1) / k
        deviations = xp.cumulative_sum(ascending * ascending, axis=-1) - k * mean * mean
        thresholds = mean + xp.sqrt(xp.maximum((1 - deviations) / k, 0.0))
        thresholds = xp.where(ascending < thresholds, thresholds, 1.0)
        support = _support_mask(xp, distance, thresholds, axis)
    else:
        support = _bracketed_support(xp, distance, axis, 2)
    # the threshold once more, from the deviations themselves
    k = count_true(xp, support, x, axis)
    mean = xp.sum(xp.where(support, distance, 0.0), axis=axis, keepdims=True) / k
    deviation = xp.where(support, distance, mean) - mean
    deviations = xp.sum(deviation * deviation, axis=axis, keepdims=True)
    return xp.maximum(mean + xp.sqrt((1 - deviations) / k) - distance, 0.0)


@activation(
    formula="simplex(lambda z: maximum((alpha - 1) * z, 0) ** (1 / (alpha - 1)), x)",
    source="Peters, Niculae & Martins, Sparse sequence-to-sequence models, arXiv:1905.05702.",
    ulp=8.0,
    constraints=("alpha > 0", "alpha < float('inf')"),
    cases=(
        case(alpha=1.0, formula="exp(x) / sum(exp(x))", ulp=20.0),
        case(alpha=1.25),
        case(alpha=2.0),
        case(alpha=3.0),
    ),
    relatives={"softmax": {"alpha": 1.0}, "entmax15": {"alpha": 1.5}, "sparsemax": {"alpha": 2.0}},
    peers={"entmax": "entmax.entmax_bisect"},
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def entmax(
    xp: Namespace,
    x: Array,
    alpha: SliceArray = 1.5,
    axis: Axes = -1,
    n_iter: Count = 50,
    where: Mask | None = None,
) -> Any:
    """Entmax, max((alpha - 1)*x - t, 0)**(1/(alpha - 1)) along an axis, with the sum 1.

    Parameters
    ----------
    alpha : number or array, optional
        The sparsity, greater than 0, of all slices or of each. The larger it is above 1, the more
        weights are 0; 1 is the softmax, 1.5 is `entmax15` and 2 is the sparsemax.
    n_iter : int, optional
        The number of bisections of the interval that contains the threshold t, before two steps
        of Newton's method. It has no effect if alpha is the number 1, 1.5 or 2.

    Notes
    -----
    Infinite elements share the sum 1 equally; the others are 0. The derivative with respect to
    alpha is that of Correia, Niculae & Martins, Adaptively sparse transformers, arXiv:1909.00015.

    >>> ax.entmax(np.array([0.5, 0.25, -3.0]), 2.0)
    array([0.625, 0.375, 0.   ])
    """
    exact = _exact_for(alpha)
    if exact is not None:
        return exact.impl(xp, x, axis, where)
    check_constant_along("entmax", "alpha", alpha, x, axis)
    if 0 in x.shape:
        return x
    weight, _, _ = _bisect_weights(xp, x, alpha, axis, n_iter, where)
    return weight / one_where_zero(xp, xp.sum(weight, axis=axis, keepdims=True))


@entmax.defvjp
def _(xp, g, x, alpha, axis, n_iter, where):
    exact = _exact_for(alpha)
    if exact is not None:
        return exact.vjp.impl(xp, g, x, axis, where)
    if 0 in x.shape:
        return {"x": g}
    weight, _, base_minus_1 = _bisect_weights(xp, x, alpha, axis, n_iter, where)
    return {"x": _softmax_vjp(xp, weight / (1 + base_minus_1), g, axis, where)}


@entmax.defderivative("alpha")
def _(xp, x, alpha, axis, n_iter, where):
    if 0 in x.shape:
        return {"alpha": x}
    weight, u, v = _bisect_weights(xp, x, alpha, axis, n_iter, where)
    dy_du = weight / (1 + v)
    u, v = (xp.where(dy_du == 0, 0.0, part) for part in (u, v))
    # both are (v - (1 + v)*log(1 + v))/(alpha - 1)**2, and neither cancels
    near = u * u * polynomial(v, _LOG_WEIGHT_SLOPE)
    excess = one_where_zero(xp, alpha - 1)
    far = (v - (1 + v) * xp.log1p(v)) / excess / excess
    at_threshold = dy_du * xp.where(xp.abs(v) < 0.1, near, far)
    by_threshold = xp.sum(at_threshold, axis=axis, keepdims=True) / one_where_zero(
        xp, xp.sum(dy_du, axis=axis, keepdims=True)
    )
    return {"alpha": at_threshold - dy_du * by_threshold}


_EXACT: dict[float, Any] = {1: softmax, 1.5: entmax15, 2: sparsemax}


def _exact_for(alpha: float | Array) -> Any:
    """Return the function that needs no bisection for alpha, or None."""
    return _EXACT.get(alpha) if isinstance(alpha, NUMBER) else None


def _bisect_weights(
    xp: Namespace,
    x: Array,
    alpha: float | Array,
    axis: Axes,
    n_iter: int,
    where: Mask | None,
) -> tuple[Any, Any, Any]:
    """Return the weights, what they are the weights of, and their bases less 1."""
    shifted = subtract_max(xp, x, axis, where)
    u = shifted - _bisect_threshold(xp, shifted, alpha, axis, n_iter)
    weight, base_minus_1 = _entmax_weights(xp, u, alpha)
    return weight, u, base_minus_1


def _bisect_threshold(
    xp: Namespace, shifted: Array, alpha: float | Array, axis: Axes, n_iter: int
) -> Any:
    """Return the threshold at which the weights sum to 1, from elements less their maximum."""
    threshold: Any = 0.0
    size = axes_size(xp, shifted, axis)
    # the interval may be larger
    log_size = log(size) if is_known(xp, size) else shifted.ndim * log(LARGEST_SIZE)
    step = _largest_threshold(xp, alpha, log_size)
    for _ in range(n_iter):
        step = step / 2
        weight, _ = _entmax_weights(xp, shifted - (threshold + step), alpha)
        row_sum = xp.sum(weight, axis=axis, keepdims=True)
        threshold = threshold + step * xp.astype(row_sum >= 1, shifted.dtype)
    # The comparisons have no derivative; each step of Newton's method makes one more order right.
    for _ in range(2):
        weight, base_minus_1 = _entmax_weights(xp, shifted - threshold, alpha)
        excess = xp.sum(weight, axis=axis, keepdims=True) - 1
        row_sum = xp.sum(weight / (1 + base_minus_1), axis=axis, keepdims=True)
        threshold = threshold + excess / one_where_zero(xp, row_sum)
    return threshold


def _largest_threshold(xp: Namespace, alpha: Any, log_size: float) -> Any:
    """Return the threshold of elements that are equal."""
    if isinstance(alpha, NUMBER):
        return -expm1((1 - alpha) * log_size) / (alpha - 1)
    threshold = -xp.expm1((1 - alpha) * log_size) / one_where_zero(xp, alpha - 1)
    return xp.where(alpha == 1, log_size, threshold)


def _entmax_weights(xp: Namespace, x: Array, alpha: float | Array) -> tuple[Any, Any]:
    """Return (1 + (alpha - 1)*x)**(1/(alpha - 1)), and its base less 1.

    The base itself would lose digits near alpha 1. Outside the support both are 0.
    """
    if not isinstance(alpha, NUMBER):
        x = xp.maximum(x, -largest_finite(xp, x))  # which alpha - 1 = 0 multiplies
    base_minus_1 = (alpha - 1) * x
    outside = base_minus_1 <= -1
    base_minus_1 = xp.where(outside, 0.0, base_minus_1)
    if isinstance(alpha, NUMBER):
        log_weight = xp.log1p(base_minus_1) / (alpha - 1)
    else:
        ratio = xp.log1p(base_minus_1) / one_where_zero(xp, base_minus_1)
        near = polynomial(base_minus_1, _LOG1P_RATIO)  # whose derivative does not cancel
        log_weight = x * xp.where(xp.abs(base_minus_1) < 1e-3, near, ratio)
    return xp.where(outside, 0.0, xp.exp(log_weight)), base_minus_1


_LOG1P_RATIO = tuple((-1.0) ** k / (k + 1) for k in range(6))
"""The series of log(1 + v)/v, to the last digit of float64 for abs(v) < 1e-3."""

_LOG_WEIGHT_SLOPE = tuple(-((-1.0) ** k) / ((k + 1) * (k + 2)) for k in range(14))
"""The series of (v - (1 + v)*log(1 + v))/v**2, for abs(v) < 0.1."""


def _softmax_vjp(xp: Namespace, dy_dx: Any, g: Any, axis: Axes, where: Mask | None) -> Any:
    """Return the gradient of x from that of weights that sum to 1.

    dy_dx is the derivative of a weight with respect to its own x at a fixed threshold.
    """
    weights = dy_dx / one_where_zero(xp, xp.sum(dy_dx, axis=axis, keepdims=True))
    return _project(xp, dy_dx, weights, g, axis, where)


def _project(
    xp: Namespace, dy_dx: Any, weights: Any, g: Any, axis: Axes, where: Mask | None
) -> Any:
    """Return dy_dx times `g` less its weighted mean."""
    g = mask_to_zero(xp, g, where)
    for _ in range(corrected_passes(xp)):
        g = g - xp.sum(weights * g, axis=axis, keepdims=True)
    return mask_to_zero(xp, dy_dx * g, where)


def subtract_max(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    """Return x less its maximum along the axes, and -inf where the mask excludes it."""
    return _minus_max(xp, *_mask_and_max(xp, x, axis, where))


def _mask_and_max(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> tuple[Any, Any]:
    """Return x, -inf where the mask excludes it, and its maximum along the axes."""
    if where is not None:
        x = xp.where(where, x, -inf)
    return x, xp.max(x, axis=axis, keepdims=True)


def _minus_max(xp: Namespace, x: Array, row_max: Array) -> Any:
    """Return x less its maximum: 0 where x is infinite, and a huge number below an infinite one."""
    return xp.minimum(x - clip_to_finite(xp, row_max), 0.0)


def _complex_minus_max(xp: Namespace, x: Array, axis: Axes, where: Mask | None) -> Any:
    """Return x less its largest real part, with the real part -inf where the mask excludes it.

    The real part is 0 where it is infinite, and -inf below an infinite one.
    """
    real, row_max = _mask_and_max(xp, xp.real(x), axis, where)
    offset = xp.where(row_max == -inf, inf, row_max)
    real = xp.where((real == inf) & (offset == inf), 0.0, real - offset)
    return make_complex(xp, real, mask_to_zero(xp, xp.imag(x), where))


_BRACKETINGS = 12
"""Each halves the interval and takes a step of Newton's method; ten are enough for every slice."""


def _can_sort(xp: Namespace) -> bool:
    """Return whether the library has what an exact threshold of sorted elements needs."""
    return hasattr(xp, "sort") and hasattr(xp, "cumulative_sum")


def _bracketed_support(xp: Namespace, distance: Array, axis: Axes, power: int) -> Any:
    """Return whether an element is nearer than the threshold at which the powers sum to 1.

    The sum of ``maximum(threshold - distance, 0)**power`` is convex, so a step of Newton's method
    from anywhere ends above its root.
    """
    low: Any = zeros_like(xp, xp.min(distance, axis=axis, keepdims=True))
    high = low + 1
    for _ in range(_BRACKETINGS):
        middle = (low + high) / 2
        weight = xp.maximum(middle - distance, 0.0)
        slopes = xp.astype(weight > 0, weight.dtype) if power == 1 else power * weight
        row_sum = xp.sum(weight if power == 1 else weight * weight, axis=axis, keepdims=True)
        slope = one_where_zero(xp, xp.sum(slopes, axis=axis, keepdims=True))
        is_over = row_sum >= 1
        low = xp.where(is_over, low, middle)
        high = xp.minimum(xp.where(is_over, middle, high), middle + (1 - row_sum) / slope)
    return ~(distance >= high)


def _sorted_with_index(xp: Namespace, x: Array, axis: Any) -> tuple[Any, Any]:
    """Return each slice in ascending order along a new last axis, and 1, 2, 3, ... along it."""
    others = tuple(i for i in range(x.ndim) if i not in axis)
    x = xp.permute_dims(x, (*others, *axis))
    if len(axis) > 1 or not has_none(x.shape):
        x = xp.reshape(x, (*x.shape[: len(others)], -1))
    n = x.shape[-1]
    index = xp.cumulative_sum(xp.ones_like(x), axis=-1) if n is None else arange(xp, x, n) + 1
    return xp.sort(x, axis=-1), index


def _support_mask(xp: Namespace, distance: Array, thresholds: Array, axis: Any) -> Any:
    """Return whether an element is nearer to the maximum than the least threshold, or than 1."""
    threshold = xp.minimum(xp.min(thresholds, axis=-1), 1.0)
    shape = tuple(1 if i in axis else n for i, n in enumerate(distance.shape))
    if len(axis) == 1 and has_none(shape):
        return ~(distance >= xp.expand_dims(threshold, axis=axis[0]))
    return ~(distance >= xp.reshape(threshold, shape))
