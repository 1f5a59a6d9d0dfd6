"""Learned rectifiers: their parameters are learned; quotients of polynomials are near them."""

from __future__ import annotations

from functools import reduce
from itertools import accumulate
from math import inf
from operator import mul
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber, Axis, ChannelArray, Coefficients
from .._typing import Array, Namespace
from ..numerics.arrays import broadcast_along, is_zero, ones_like_nan
from .rectifiers import relu

__all__ = ["prelu", "rational", "shilu", "srelu", "star_relu", "tlu"]


@activation(
    formula="where(x > 0, x, weight * x)",
    source="He et al., Delving deep into rectifiers, arXiv:1502.01852.",
    cases=(case(weight=0.25), case(weight=0.25, axis=0)),
    relatives={
        "relu": {"weight": 0.0},
        "leaky_relu": {"weight": 0.01},
        "identity": {"weight": 1.0},
    },
    layer="torch.nn.PReLU",
    peers={
        "torch": Peer("torch.nn.functional.prelu", axis=1),
        "keras": "keras.layers.PReLU",
        "flax": "flax.nnx.PReLU",
        "equinox": "equinox.nn.PReLU",
        "mlx": "mlx.nn.prelu",
        "transformers": "prelu",
        "timm": "prelu",
    },
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    kinks=(0.0,),
)
def prelu(xp: Namespace, x: Array, weight: ChannelArray, axis: Axis | None = None) -> Any:
    """Parametric rectified linear unit, x where x > 0, weight*x elsewhere.

    Parameters
    ----------
    weight : number or array
        The slope below 0, and the derivative at 0. It broadcasts to x; with `axis` it is a number
        or an array of one dimension with a slope for each channel.
    axis : int, optional
        The channel axis of x, which is 1 in PyTorch.

    >>> x = np.array([[-1.0, -1.0], [2.0, -4.0]])
    >>> ax.prelu(x, np.array([0.5, 0.25]), axis=0)
    array([[-0.5, -0.5],
           [ 2. , -1. ]])
    """
    return relu.impl(xp, x, _broadcast_weight(xp, x, weight, axis))


@prelu.defderivative
def _(xp, x, weight, axis):
    return xp.where(x > 0, 1.0, _broadcast_weight(xp, x, weight, axis) * ones_like_nan(xp, x))


@prelu.defderivative("weight")
def _(xp, x, weight, axis):
    _broadcast_weight(xp, x, weight, axis)  # raises the error for an invalid shape
    return {"weight": xp.minimum(x, 0.0)}


@activation(
    formula="maximum(x, tau)",
    source="Singh & Krishnan, Filter response normalization layer, arXiv:1911.09737.",
    cases=(
        case(tau=-1.0),
        case(tau=0.0),
        case(tau=0.5, alpha=0.25, formula="maximum(x, alpha * x + tau)"),
        case(tau=-1.0, alpha=2.0, formula="maximum(x, alpha * x + tau)"),
    ),
    relatives={
        "relu": {"tau": 0.0},
        "leaky_relu": {"tau": 0.0, "alpha": 0.01},
        "identity": {"tau": -inf},
    },
    layer="TLU",
    peers={"tensorflow-addons": "tfa.layers.TLU"},
    range=(-1.0, inf),
    monotonic=True,
    fixed_points=(-1.0, 0.0, 7.5),
    lipschitz=1.0,
    kinks=(-1.0,),
)
def tlu(xp: Namespace, x: Array, tau: ArrayOrNumber, alpha: ArrayOrNumber = 0.0) -> Any:
    """Thresholded linear unit, max(x, tau); affine with alpha, max(x, alpha*x + tau).

    Parameters
    ----------
    tau : number or array
        The smallest value, learned for each channel. The derivative there is 0.
    alpha : number or array, optional
        The slope of the other side, and the derivative where both sides meet.

    >>> ax.tlu(np.array([-2.0, -0.5, 2.0]), -1.0)
    array([-1. , -0.5,  2. ])
    """
    return xp.maximum(x, tau if is_zero(alpha) else alpha * x + tau)


@tlu.defderivative
def _(xp, x, tau, alpha):
    return xp.where((1 - alpha) * x > tau, 1.0, alpha * ones_like_nan(xp, x))


@tlu.defderivative("tau", "alpha")
def _(xp, x, tau, alpha):
    is_over = (1 - alpha) * x > tau
    return {"tau": xp.where(is_over, 0.0, ones_like_nan(xp, x)), "alpha": xp.where(is_over, 0.0, x)}


@activation(
    formula="scale * maximum(x, 0)**2 + bias",
    source="Yu et al., MetaFormer baselines for vision, arXiv:2210.13452.",
    ulp=8.0,  # near its zero
    cases=(case(scale=1.0, bias=0.0), case(scale=0.5, bias=0.25)),
    relatives={"relu_squared": {"scale": 1.0, "bias": 0.0}},
    layer="StarReLU",
    peers={
        "timm": Peer("timm.models.metaformer.StarReLU", scale_value=1.0, bias_value=0.0),
        "torch-activation": "torch_activation.StarReLU",
    },
    range=(-0.4472, inf),
    monotonic=True,
    fixed_points=(-0.4472,),
    smoothness=1,
    kinks=(0.0,),
)
def star_relu(
    xp: Namespace, x: Array, scale: ArrayOrNumber = 0.8944, bias: ArrayOrNumber = -0.4472
) -> Any:
    """Scaled and shifted square of the rectified linear unit, scale*max(x, 0)**2 + bias.

    The default parameters map the standard normal distribution to mean 0 and variance 1. Near its
    zero the error is that of the larger term.

    Parameters
    ----------
    scale : number or array, optional
        The factor of the square.
    bias : number or array, optional
        The value below 0.

    >>> ax.star_relu(np.array([-1.0, 0.5, 2.0]))
    array([-0.4472, -0.2236,  3.1304])
    """
    y = xp.maximum(x, 0.0)
    return scale * y * y + bias


@star_relu.defderivative
def _(xp, x, scale, bias):
    return 2 * scale * xp.maximum(x, 0.0)


@star_relu.defderivative("scale", "bias")
def _(xp, x, scale, bias):
    y = xp.maximum(x, 0.0)
    return {"scale": y * y, "bias": ones_like_nan(xp, x)}


@activation(
    formula="x + (a_right - 1) * maximum(x - t_right, 0) + (a_left - 1) * minimum(x - t_left, 0)",
    source="Jin et al., Deep learning with S-shaped rectified linear activation units, "
    "arXiv:1512.07030.",
    constraints=("t_left <= t_right",),
    cases=(
        case(t_left=-1.0, a_left=0.25, t_right=2.0, a_right=0.5),
        case(t_left=0.0, a_left=0.0, t_right=1.0, a_right=3.0),
    ),
    relatives={
        "relu": {"t_left": 0.0, "a_left": 0.0, "t_right": inf, "a_right": 1.0},
        "leaky_relu": {"t_left": 0.0, "a_left": 0.01, "t_right": inf, "a_right": 1.0},
        "relu6": {"t_left": 0.0, "a_left": 0.0, "t_right": 6.0, "a_right": 0.0},
        "hard_tanh": {"t_left": -1.0, "a_left": 0.0, "t_right": 1.0, "a_right": 0.0},
        "identity": {"t_left": 0.0, "a_left": 1.0, "t_right": 0.0, "a_right": 1.0},
    },
    layer="SReLU",
    peers={"echoAI": "echoAI.Activation.Torch.srelu.SReLU"},
    monotonic=True,
    fixed_points=(-1.0, 0.0, 1.5),
    lipschitz=1.0,
    kinks=(-1.0, 2.0),
)
def srelu(
    xp: Namespace,
    x: Array,
    t_left: ArrayOrNumber,
    a_left: ArrayOrNumber,
    t_right: ArrayOrNumber,
    a_right: ArrayOrNumber,
) -> Any:
    """S-shaped rectified linear unit, x between two thresholds and lines of other slopes outside.

    All four parameters are learned for each channel.

    Parameters
    ----------
    t_left : number or array
        The left threshold. Up to it the value is t_left + a_left*(x - t_left).
    a_left : number or array
        The slope on the left, and at t_left.
    t_right : number or array
        The right threshold, at least t_left. From it on the value is
        t_right + a_right*(x - t_right).
    a_right : number or array
        The slope on the right, and at t_right.

    >>> ax.srelu(np.array([-3.0, 0.5, 4.0]), -1.0, 0.25, 2.0, 0.5)
    array([-1.5,  0.5,  3. ])
    """
    y = xp.where(x >= t_right, _line(x, t_right, a_right), x)
    return xp.where(x <= t_left, _line(x, t_left, a_left), y)


@srelu.defderivative
def _(xp, x, t_left, a_left, t_right, a_right):
    dy_dx = xp.where(x >= t_right, a_right * ones_like_nan(xp, x), 1.0)
    return xp.where(x <= t_left, a_left, dy_dx) * ones_like_nan(xp, x)


@srelu.defderivative("t_left", "a_left", "t_right", "a_right")
def _(xp, x, t_left, a_left, t_right, a_right):
    one = ones_like_nan(xp, x)
    not_left = x > t_left
    not_right = (x < t_right) | (x <= t_left)
    return {
        "t_left": xp.where(not_left, 0.0, (1 - a_left) * one),
        "a_left": xp.where(not_left, 0.0, x - t_left),
        "t_right": xp.where(not_right, 0.0, (1 - a_right) * one),
        "a_right": xp.where(not_right, 0.0, x - t_right),
    }


def _line(x: Array, t: ArrayOrNumber, a: ArrayOrNumber) -> Any:
    """Return the line through (t, t) with slope a."""
    return t if is_zero(a) else t + a * (x - t)


@activation(
    formula="alpha * maximum(x, 0) + beta",
    source="Pishchik, Trainable activations for image classification, Preprints 2023, 2023010463.",
    cases=(case(alpha=0.5, beta=0.25), case(alpha=2.0, beta=-1.0)),
    relatives={"relu": {"alpha": 1.0, "beta": 0.0}},
    layer="ShiLU",
    peers={"torch-activation": "torch_activation.ShiLU"},
    range=(0.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    kinks=(0.0,),
)
def shilu(xp: Namespace, x: Array, alpha: ArrayOrNumber = 1.0, beta: ArrayOrNumber = 0.0) -> Any:
    """Scaled and shifted rectified linear unit, alpha*max(x, 0) + beta.

    Parameters
    ----------
    alpha : number or array, optional
        The slope above 0, which is learned.
    beta : number or array, optional
        The value below 0, which is learned.

    >>> ax.shilu(np.array([-1.0, 0.5, 2.0]), alpha=2.0, beta=-1.0)
    array([-1.,  0.,  3.])
    """
    return alpha * xp.maximum(x, 0.0) + beta


@shilu.defderivative
def _(xp, x, alpha, beta):
    return xp.where(x <= 0, 0.0, alpha * ones_like_nan(xp, x))


@shilu.defderivative("alpha", "beta")
def _(xp, x, alpha, beta):
    return {"alpha": xp.maximum(x, 0.0), "beta": ones_like_nan(xp, x)}


@activation(
    formula="(numerator[0] + x * (numerator[1] + x * (numerator[2] + x * (numerator[3]"
    " + x * (numerator[4] + x * numerator[5])))))"
    " / (1 + abs(x * (denominator[0] + x * (denominator[1] + x * (denominator[2]"
    " + x * denominator[3])))))",
    source="Molina, Schramowski & Kersting, Pade activation units: end-to-end learning of flexible "
    "activation functions in deep networks, arXiv:1907.06732.",
    ulp=512.0,  # beside its zeros, where P cancels; the absolute error is at most 5 eps
    cases=(
        case(
            numerator=(2.0, 1.5, 0.5),
            denominator=(1.0, 0.5),
            formula="(numerator[0] + x * (numerator[1] + x * numerator[2]))"
            " / (1 + abs(x * (denominator[0] + x * denominator[1])))",
            ulp=5.0,
        ),
        case(
            numerator=(1.0, 2.0),
            denominator=(0.0, 0.0, 1.0),
            formula="(numerator[0] + x * numerator[1]) / (1 + abs(x**3 * denominator[2]))",
            ulp=4.0,
        ),
    ),
    relatives={
        "softsign": {"numerator": (0.0, 1.0), "denominator": (1.0,)},
        "identity": {"numerator": (0.0, 1.0), "denominator": (0.0,)},
    },
    peers={"pau": "pau.utils.PAU"},
    limits=(-inf, inf),
    lipschitz=1.0351260452968397,
    kinks=(-0.27313813926127796, 0.0),
)
def rational(
    xp: Namespace,
    x: Array,
    numerator: Coefficients = (
        0.02979246,
        0.61837738,
        2.32335207,
        3.0520266,
        1.48548002,
        0.25103717,
    ),
    denominator: Coefficients = (1.14201226, 4.39322834, 0.8715445, 0.34720652),
) -> Any:
    """Pade activation unit, P(x)/(1 + |Q(x)|) with polynomials P and Q.

    Beside zeros of P the error is that of its terms. Where Q is 0 the derivative of abs is -1.

    Parameters
    ----------
    numerator : tuple of numbers or array, optional
        The coefficients a[0], a[1], ... of P(x) = a[0] + a[1]*x + ..., which are learned. By
        default the function is near `leaky_relu` on [-3, 3].
    denominator : tuple of numbers or array, optional
        The coefficients b[0], b[1], ... of Q(x) = b[0]*x + b[1]*x**2 + ..., which are learned.

    >>> ax.rational(np.array([-1.0, 0.0, 1.0]), (0.0, 1.0), (0.0, 1.0))
    array([-0.5,  0. ,  0.5])
    """
    a, b = _as_list(numerator), _as_list(denominator)
    _, far, p, _, d = _pade_parts(xp, x, a, b)
    return _times_power(p / d, far, len(a) - 1 - len(b))


@rational.defderivative
def _(xp, x, numerator, denominator):
    a, b = _as_list(numerator), _as_list(denominator)
    u, far, p, q, d = _pade_parts(xp, x, a, b)
    n, w, is_near = len(b), 1 / far, xp.abs(x) <= 1
    # beyond 1 P and 1 + abs(Q) are divided by x**n first: x*P' and n*P nearly cancel if m == n
    dp = xp.where(
        is_near,
        _horner([j * c for j, c in enumerate(a)][1:] or [0.0], u),
        _horner([(j - n) * c for j, c in enumerate(a)][::-1], w),
    )
    dq = xp.where(
        is_near,
        _horner([k * c for k, c in enumerate(b, 1)], u),
        _horner([(k - n) * c for k, c in enumerate(b, 1)][::-1], w),
    )
    d_one = xp.where(is_near, 0.0, -n * xp.abs(_times_power(w, w, n - 1)))
    dd = d_one + xp.where(q <= 0, -dq, dq)
    return _times_power((dp - p / xp.abs(d) * dd) / d, far, len(a) - 2 - n)


@rational.defderivative("numerator", "denominator")
def _(xp, x, numerator, denominator):
    a, b = _as_list(numerator), _as_list(denominator)
    u, far, p, q, d = _pade_parts(xp, x, a, b)
    m, n = len(a) - 1, len(b)
    y = p / xp.abs(d)
    y = xp.where(q <= 0, y, -y) / d
    dy_da = [_times_power(_times_power(1 / d, u, j), far, j - n) for j in range(m + 1)]
    dy_db = [_times_power(_times_power(y, u, k), far, m - 2 * n + k) for k in range(1, n + 1)]
    return {"numerator": xp.stack(dy_da, axis=0), "denominator": xp.stack(dy_db, axis=0)}


def _pade_parts(xp: Namespace, x: Array, a: list[Any], b: list[Any]) -> tuple[Any, ...]:
    """Return u, far, p, q and d, of which none overflows.

    P and Q are homogeneous polynomials of u and w = 1/far, which are x and 1 for abs(x) <= 1, and
    1 and 1/x beyond: p is P(x)*w**m, q is Q(x)*w**n, and d is (1 + abs(Q(x)))*w**n.
    """
    is_near = xp.abs(x) <= 1
    u, far = xp.where(is_near, x, 1.0), xp.where(is_near, 1.0, x)
    n, w = len(b), 1 / far
    powers = [1.0, *accumulate([w] * max(len(a) - 1, n), mul)]
    p, q = _horner(a, u, powers), u * _horner(b, u, powers)
    d = xp.abs(powers[n]) + xp.abs(q)
    return u, far, p, q, xp.where(far < 0, -d, d) if n % 2 else d


def _as_list(coefficients: Any) -> list[Any]:
    size = coefficients.shape[0] if hasattr(coefficients, "shape") else len(coefficients)
    return [coefficients[j] for j in range(size)]


def _horner(coefficients: list[Any], x: Any, weights: list[Any] | None = None) -> Any:
    """Return the sum of coefficients[j]*x**j*weights[m - j] for the degree m."""
    terms = coefficients[::-1]
    if weights is not None:
        terms = [c * weight for c, weight in zip(terms, weights, strict=False)]
    return reduce(lambda value, term: value * x + term, terms, 0.0)


def _times_power(y: Any, x: Any, n: int) -> Any:
    """Return y*x**n, factor by factor: a power may be subnormal where the product is not."""
    return reduce(mul, [x] * n or [1 / x] * -n, y)


def _broadcast_weight(xp: Namespace, x: Array, weight: ChannelArray, axis: Axis | None) -> Any:
    return broadcast_along(xp, "prelu", "weight", weight, x, () if axis is None else (axis,))
