"""Sigmoids: functions with an S-shaped graph between two bounds."""

from __future__ import annotations

from math import exp, expm1, inf, pi, sqrt
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import NUMBER, Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import ones_like_nan, zeros_like
from ..numerics.double_word import DoubleWord, exact, is_fast, is_uncompensated, veltkamp_split
from ..numerics.logistic import (
    SIGMOID_IS_1_FROM,
    TANH_IS_LINEAR_TO,
    clamp_exp_arg,
    exp_excess,
    is_positive,
)
from ..numerics.special import (
    NORMAL_TAIL_CUTOFF,
    exp_neg_square,
    mills_ratio,
    neg_square,
    ratio_within_1,
    scaled_exp,
)
from .shrinkers import tanh_shrink

__all__ = [
    "hard_sigmoid",
    "hard_tanh",
    "isru",
    "laplace",
    "sigmoid",
    "smooth_step",
    "soft_clipping",
    "softcap",
    "softsign",
    "sparse_sigmoid",
    "sqnl",
    "tanh",
]


@activation(
    formula="1 / (1 + exp(-x))",
    source="Verhulst, Recherches mathematiques sur la loi d'accroissement de la population, 1845.",
    aliases=("expit", "logistic"),
    layer="torch.nn.Sigmoid",
    peers={
        "torch": "torch.sigmoid",
        "jax": "jax.nn.sigmoid",
        "keras": "keras.activations.sigmoid",
        "scipy": "scipy.special.expit",
        "tensorflow": "tf.nn.sigmoid",
        "mlx": "mlx.nn.sigmoid",
        "transformers": "sigmoid",
        "timm": "sigmoid",
    },
    range=(0.0, 1.0),
    monotonic=True,
    lipschitz=0.25,
)
def sigmoid(xp: Namespace, x: Array) -> Any:
    """Logistic function, 1/(1 + exp(-x)).

    >>> ax.sigmoid(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """
    if is_uncompensated(xp):
        return 1 / (1 + xp.exp(-x))
    e = xp.exp(-xp.abs(x))
    return xp.maximum(e, is_positive(xp, x)) / (1 + e)


@sigmoid.defderivative
def _(xp, x):
    e = xp.exp(-xp.abs(x))
    return e / ((1 + e) * (1 + e))


@sigmoid.defcomplex
def _(xp, x):
    return cmath.sigmoid(xp, x)


@sigmoid.defcomplex("derivative")
def _(xp, x):
    return cmath.sigmoid_derivative(xp, x)


@activation(
    formula="tanh(x)",
    source="LeCun et al., Efficient backprop, 1998.",
    ulp=1.5,
    layer="torch.nn.Tanh",
    peers={
        "torch": "torch.tanh",
        "jax": "jax.nn.tanh",
        "keras": "keras.activations.tanh",
        "tensorflow": "tf.nn.tanh",
        "mlx": "mlx.nn.tanh",
        "transformers": "tanh",
        "timm": "tanh",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
)
def tanh(xp: Namespace, x: Array) -> Any:
    """Hyperbolic tangent, tanh(x).

    >>> ax.tanh(np.array([-np.inf, 0.0, np.inf]))
    array([-1.,  0.,  1.])
    """
    return xp.tanh(x)


@tanh.defderivative
def _(xp, x):
    if is_fast(xp, x):
        y = xp.tanh(x)
        return (1 - y) * (1 + y)
    a = 2 * xp.abs(x)
    e = xp.exp(clamp_exp_arg(xp, -a))
    return 4 * e / ((1 + e) * (1 + e)) * exp_excess(xp, -a)


@tanh.defcomplex
def _(xp, x):
    return cmath.tanh(xp, x)


@tanh.defcomplex("derivative")
def _(xp, x):
    return 4 * cmath.sigmoid_derivative(xp, cmath.scale(xp, 2.0, x))


@activation(
    formula="x / (1 + abs(x))",
    source="Turian, Bergstra & Bengio, Quadratic features and deep architectures for chunking, "
    "NAACL 2009.",
    aliases=("soft_sign",),
    layer="torch.nn.Softsign",
    peers={
        "torch": "torch.nn.functional.softsign",
        "jax": "jax.nn.soft_sign",
        "keras": "keras.activations.softsign",
        "tensorflow": "tf.nn.softsign",
        "mlx": "mlx.nn.softsign",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
    smoothness=1,
    kinks=(0.0,),
)
def softsign(xp: Namespace, x: Array) -> Any:
    """Softsign, x/(1 + |x|).

    >>> ax.softsign(np.array([-np.inf, 0.0, 1.0]))
    array([-1. ,  0. ,  0.5])
    """
    x = xp.minimum(xp.maximum(x, -1e30), 1e30)  # far out it is 1 to the last digit, not inf/inf
    return x / (1 + xp.abs(x))


@softsign.defderivative
def _(xp, x):
    inverse = 1 / (1 + xp.abs(x))
    return inverse * inverse


@softsign.defcomplex
def _(xp, x):
    r, direction = cmath.polar(xp, x)
    return direction * (r / (1 + r))


@softsign.defcomplex("vjp")
def _(xp, g, x):
    r, direction = cmath.polar(xp, x)
    radial = xp.real(g * direction) * (r / (1 + r))
    return {"x": (g - xp.conj(direction) * radial) / (1 + r)}


@activation(
    formula="minimum(maximum((x + 3) / 6, 0), 1)",
    source="Courbariaux, Bengio & David, BinaryConnect, arXiv:1511.00363; with slope 1/6 Howard "
    "et al., Searching for MobileNetV3, arXiv:1905.02244.",
    constraints=("slope > 0",),
    aliases=("hardsigmoid",),
    cases=(case(slope=0.25, offset=0.5, formula="minimum(maximum(slope * x + offset, 0), 1)"),),
    relatives={"sparse_sigmoid": {"slope": 0.5, "offset": 0.5}},
    layer="torch.nn.Hardsigmoid",
    peers={
        "torch": "torch.nn.functional.hardsigmoid",
        "jax": "jax.nn.hard_sigmoid",
        "keras": "keras.activations.hard_sigmoid",
        "tf_keras": Peer("tf_keras.activations.hard_sigmoid", slope=0.2),
        "onnx": Peer("HardSigmoid", slope=0.2),
        "timm": "hard_sigmoid",
    },
    range=(0.0, 1.0),
    monotonic=True,
    lipschitz=1 / 6,
    kinks=(-3.0, 3.0),
)
def hard_sigmoid(
    xp: Namespace, x: Array, slope: ArrayOrNumber = 1 / 6, offset: ArrayOrNumber = 0.5
) -> Any:
    """Piecewise linear sigmoid, slope*x + offset clipped to [0, 1].

    Parameters
    ----------
    slope : number or array, optional
        Greater than 0; 1/6 in torch, JAX and Keras 3, 0.2 in Keras 2 and ONNX.
    offset : number or array, optional
        The value at 0.

    >>> ax.hard_sigmoid(np.array([-3.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    y = (x + offset / slope) * slope  # the sum is exact where the line meets 0
    y = xp.maximum(y, 0.0)
    return xp.where(y >= 1, 1.0, y)


@hard_sigmoid.defderivative
def _(xp, x, slope, offset):
    y = (x + offset / slope) * slope
    return xp.where((y <= 0) | (y >= 1), 0.0, slope * ones_like_nan(xp, x))


@hard_sigmoid.defderivative("slope", "offset")
def _(xp, x, slope, offset):
    y = (x + offset / slope) * slope
    is_flat = (y <= 0) | (y >= 1)
    return {
        "slope": xp.where(is_flat, 0.0, x),
        "offset": xp.where(is_flat, 0.0, ones_like_nan(xp, x)),
    }


@activation(
    formula="x / sqrt(1 + alpha * x * x)",
    source="Carlile et al., Improving deep learning by inverse square root linear units (ISRLUs), "
    "arXiv:1710.09967.",
    constraints=("alpha > 0",),
    cases=(case(alpha=0.25), case(alpha=3.0)),
    layer="ISRU",
    peers={"echoAI": "echoAI.Activation.Torch.functional.isru"},
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
)
def isru(xp: Namespace, x: Array, alpha: ArrayOrNumber = 1.0) -> Any:
    """Inverse square root unit, x/sqrt(1 + alpha*x*x).

    Parameters
    ----------
    alpha : number or array, optional
        The bounds are -1/sqrt(alpha) and 1/sqrt(alpha); greater than 0.

    >>> ax.isru(np.array([-np.inf, 0.0, np.inf]), 0.25)
    array([-2.,  0.,  2.])
    """
    near, far = ratio_within_1(xp, x)
    if is_fast(xp, x):
        return near / xp.sqrt(1 + alpha * near * near)
    # a number below 1, where the range ends, is rounded finer than its reciprocal
    return near * xp.sqrt(1 / (far * far + alpha * (near * near)))


@isru.defderivative
def _(xp, x, alpha):
    # alpha*x*x is bounded by end*end, from where on the derivative is 0
    end = 2.0**60 if x.dtype == xp.float32 else 2.0**370
    end = end / (sqrt(alpha) if isinstance(alpha, NUMBER) else xp.sqrt(alpha))
    x = xp.minimum(xp.maximum(x, -end), end)
    y2 = 1 / (1 + alpha * x * x)
    return y2 * xp.sqrt(y2)


@isru.defderivative("alpha")
def _(xp, x, alpha):
    y = isru.impl(xp, x, alpha)
    return {"alpha": -0.5 * (y * y * y)}


@activation(
    formula="cap * tanh(x / cap)",
    source="Gemma Team, Gemma 2: improving open language models at a practical size, "
    "arXiv:2408.00118.",
    constraints=("cap > 0",),
    cases=(case(cap=32.0), case(cap=0.5), case(cap=inf, formula="x")),
    relatives={"tanh": {"cap": 1.0}, "identity": {"cap": inf}},
    peers={"keras": Peer("keras.ops.dot_product_attention", note="attn_logits_soft_cap")},
    range=(-32.0, 32.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
)
def softcap(xp: Namespace, x: Array, cap: ArrayOrNumber) -> Any:
    """Soft cap of attention logits, cap*tanh(x/cap).

    Parameters
    ----------
    cap : number or array
        The bound, greater than 0; the function is x itself where it is infinite.

    >>> ax.softcap(np.array([-np.inf, 0.0, 30.0]), cap=30.0)
    array([-30.        ,   0.        ,  22.84782468])
    """
    if isinstance(cap, NUMBER) and cap == inf:
        return x
    t = x / cap
    # t may be so small that it loses digits, or it is 0 and cap is infinite
    return xp.where(xp.abs(t) > TANH_IS_LINEAR_TO, cap * xp.tanh(t), x)


@softcap.defderivative
def _(xp, x, cap):
    if isinstance(cap, NUMBER) and cap == inf:
        return ones_like_nan(xp, x)
    return tanh.derivative.impl(xp, _over_cap(xp, x, cap))


@softcap.defderivative("cap")
def _(xp, x, cap):
    if isinstance(cap, NUMBER) and cap == inf:
        return {"cap": zeros_like(xp, x)}
    t = _over_cap(xp, x, cap)
    y = xp.tanh(t)
    # both are tanh(t) - t*(1 - tanh(t)**2), and neither cancels
    near = t * y * y - tanh_shrink.impl(xp, t)
    far = y - t * tanh.derivative.impl(xp, t)
    return {"cap": xp.where(xp.abs(t) < 1, near, far)}


def _over_cap(xp: Namespace, x: Array, cap: ArrayOrNumber) -> Any:
    """Return x/cap, bounded where the slope of tanh is 0 in float64."""
    return xp.minimum(xp.maximum(x, -400.0 * cap), 400.0 * cap) / cap


@activation(
    formula="minimum(maximum((x + 1) / 2, 0), 1)",
    source="Blondel, Martins & Niculae, Learning with Fenchel-Young losses, arXiv:1901.02324.",
    ulp=0.5,
    peers={"jax": "jax.nn.sparse_sigmoid", "keras": "keras.activations.sparse_sigmoid"},
    range=(0.0, 1.0),
    monotonic=True,
    fixed_points=(1.0,),
    lipschitz=0.5,
    kinks=(-1.0, 1.0),
)
def sparse_sigmoid(xp: Namespace, x: Array) -> Any:
    """Sparse sigmoid, (x + 1)/2 clipped to [0, 1].

    >>> ax.sparse_sigmoid(np.array([-3.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    y = 0.5 * xp.maximum(x + 1, 0.0)
    return xp.where(y >= 1, 1.0, y)


@sparse_sigmoid.defderivative
def _(xp, x):
    return xp.where((x <= -1) | (x >= 1), 0.0, 0.5 * ones_like_nan(xp, x))


@activation(
    formula="minimum(maximum(x, min_val), max_val)",
    source="Collobert, Large scale machine learning, Universite Paris VI, 2004.",
    ulp=0.0,
    constraints=("min_val <= max_val",),
    aliases=("hardtanh",),
    cases=(case(min_val=-0.5, max_val=2.0), case(min_val=1.0, max_val=20.0)),
    relatives={
        "identity": {"min_val": -inf, "max_val": inf},
        "relu": {"min_val": 0.0, "max_val": inf},
        "relu6": {"min_val": 0.0, "max_val": 6.0},
    },
    layer="torch.nn.Hardtanh",
    peers={
        "torch": "torch.nn.functional.hardtanh",
        "jax": "jax.nn.hard_tanh",
        "keras": "keras.activations.hard_tanh",
        "mlx": "mlx.nn.hard_tanh",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(-1.0, 0.0, 0.75, 1.0),
    lipschitz=1.0,
    kinks=(-1.0, 1.0),
)
def hard_tanh(
    xp: Namespace, x: Array, min_val: ArrayOrNumber = -1.0, max_val: ArrayOrNumber = 1.0
) -> Any:
    """Piecewise linear tanh, x clipped to [min_val, max_val].

    Parameters
    ----------
    min_val : number or array, optional
        The least value; the derivative there is 0.
    max_val : number or array, optional
        The largest value; the derivative there is 0.

    >>> ax.hard_tanh(np.array([-3.0, 0.25, 3.0]))
    array([-1.  ,  0.25,  1.  ])
    """
    y = xp.maximum(x, min_val)
    return xp.where(y >= max_val, max_val, y)


@hard_tanh.defderivative
def _(xp, x, min_val, max_val):
    return xp.where((x <= min_val) | (x >= max_val), 0.0, ones_like_nan(xp, x))


@hard_tanh.defderivative("min_val", "max_val")
def _(xp, x, min_val, max_val):
    one = ones_like_nan(xp, x)
    return {
        "min_val": xp.where((x > min_val) | (x >= max_val), 0.0, one),
        "max_val": xp.where(x < max_val, 0.0, one),
    }


@activation(
    formula="(1 + erf((x - mu) / (sigma * sqrt(2)))) / 2",
    source="Ma et al., Mega: moving average equipped gated attention, arXiv:2209.10655.",
    ulp=4.0,
    constraints=("sigma > 0", "sigma < float('inf')"),
    cases=(case(mu=0.0, sigma=1.0), case(mu=-1.5, sigma=2.3)),
    relatives={"ndtr": {"mu": 0.0, "sigma": 1.0}},
    peers={"transformers": "laplace"},
    range=(0.0, 1.0),
    monotonic=True,
    lipschitz=1.4142126602783687,
)
def laplace(
    xp: Namespace, x: Array, mu: ArrayOrNumber = 0.707107, sigma: ArrayOrNumber = 0.282095
) -> Any:
    """Normal distribution function, (1 + erf((x - mu)/(sigma*sqrt(2))))/2.

    At the default parameters it is close to max(x, 0)**2, which it replaces.

    Parameters
    ----------
    mu : number or array, optional
        The mean, where the value is 1/2.
    sigma : number or array, optional
        The standard deviation, greater than 0 and finite.

    >>> ax.laplace(np.array([-np.inf, 0.707107, np.inf]))
    array([0. , 0.5, 1. ])
    """
    t = _standardize(xp, x, mu, sigma)
    z = t.value
    tail = scaled_exp(xp, mills_ratio(xp, xp.abs(z)), neg_square(xp, t))
    return xp.where(z > 0, 1 - tail, tail)


@laplace.defderivative
def _(xp, x, mu, sigma):
    z = _standardize(xp, x, mu, sigma)
    return exp_neg_square(xp, z, factor=1 / (sigma * sqrt(2 * pi)))


@laplace.defderivative("mu", "sigma")
def _(xp, x, mu, sigma):
    z = _standardize(xp, x, mu, sigma)
    by_mu = -exp_neg_square(xp, z, factor=1 / (sigma * sqrt(2 * pi)))
    return {"mu": by_mu, "sigma": by_mu * z.value}


def _standardize(xp: Namespace, x: Array, mu: ArrayOrNumber, sigma: ArrayOrNumber) -> DoubleWord:
    """Return (x - mu)/sigma within NORMAL_TAIL_CUTOFF, with few digits in hi.

    In the tail its square counts, so that no rounding may be lost: neither that of the parameters
    to x's dtype, nor that of the difference, nor that of the quotient.
    """
    end = NORMAL_TAIL_CUTOFF * sigma
    x = xp.minimum(xp.maximum(x, mu - end), mu + end)
    if is_uncompensated(xp):
        return DoubleWord(xp, (x - mu) / sigma)
    d = exact(xp, x) - DoubleWord(xp, *veltkamp_split(xp, mu, x))
    sigma_hi, sigma_lo = veltkamp_split(xp, sigma, x)
    scale = 2.0**8 if x.dtype == xp.float32 else 2.0**20
    hi = xp.round(d.value / sigma * scale) * (1 / scale)
    return DoubleWord(xp, hi, ((d.hi - sigma_hi * hi) + (d.lo - sigma_lo * hi)) / sigma)


@activation(
    formula="log((1 + exp(alpha * x)) / (1 + exp(alpha * (x - 1)))) / alpha",
    source="Klimek & Perelstein, Neural network-based approach to phase space integration, "
    "arXiv:1810.11509.",
    ulp=4.0,
    constraints=("alpha > 0", "alpha < float('inf')"),
    cases=(case(alpha=2.0), case(alpha=8.0)),
    peers={
        "echoAI": "echoAI.Activation.Torch.functional.soft_clipping",
        "torch-activation": "torch_activation.SoftClipping",
    },
    range=(0.0, 1.0),
    monotonic=True,
    lipschitz=0.12435300177159621,
)
def soft_clipping(xp: Namespace, x: Array, alpha: ArrayOrNumber = 0.5) -> Any:
    """Soft clipping to [0, 1], log((1 + exp(alpha*x))/(1 + exp(alpha*(x - 1))))/alpha.

    Parameters
    ----------
    alpha : number or array, optional
        The sharpness of both bends, greater than 0 and finite.

    >>> ax.soft_clipping(np.array([-1.0, 0.25, 2.0]), 20.0)
    array([1.03057681e-10, 2.50335752e-01, 1.00000000e+00])
    """
    # f(x) = 1 - f(1 - x), and on the left it is log(1 + q*exp(t))/alpha, where q varies little
    m = xp.minimum(x, 1 - x)
    t = alpha * m
    if is_fast(xp, x) and isinstance(alpha, NUMBER):
        e = xp.exp(t)
        y = xp.log1p(-expm1(-alpha) * e / (1 + exp(-alpha) * e)) / alpha
        return xp.where(x > 0.5, 1 - y, y)
    q = -xp.expm1(-alpha * ones_like_nan(xp, x)) / (1 + xp.exp(t - alpha))
    e = xp.exp(clamp_exp_arg(xp, xp.minimum(t, SIGMOID_IS_1_FROM)))
    y = (xp.log1p(e * q) + xp.maximum(t - SIGMOID_IS_1_FROM, 0.0)) / alpha * exp_excess(xp, t)
    return xp.where(x > 0.5, 1 - y, y)


@soft_clipping.defderivative
def _(xp, x, alpha):
    # sigmoid(s) - sigmoid(t) = sigmoid(s)*sigmoid(-t)*(1 - exp(t - s))
    mirrored = 1 - x
    # far to the right the gate is as steep as it is small, and the difference may not be rounded
    err = xp.where((x > 2) & (x < 1e30), 1 - (mirrored + x), 0.0)
    gates = sigmoid.impl(xp, alpha * x) * sigmoid.impl(xp, alpha * mirrored)
    return gates * (1 + alpha * err) * -xp.expm1(-alpha * ones_like_nan(xp, x))


@soft_clipping.defderivative("alpha")
def _(xp, x, alpha):
    # it is the integral of w*sigmoid(w)*sigmoid(-w) over w of one sign, over alpha**2
    m = xp.maximum(xp.minimum(x, 1 - x), -1e30)
    start = xp.minimum(alpha * xp.abs(m), 800.0)
    length = alpha * (1 - 2 * xp.maximum(m, 0.0))
    area = xp.where(
        start + length < 2,
        _area_near(xp, xp.minimum(start, 2.0), xp.minimum(length, 2.0)),
        _area_far(xp, start, length),
    )
    size = area / alpha / alpha
    return {"alpha": xp.where(x > 0.5, size, -size)}


def _area_near(xp: Namespace, start: Array, length: Array) -> Any:
    """Return the rise of v*tanh(v) - log(cosh(v)) from v = start/2 to (start + length)/2."""
    a, d = 0.5 * start, 0.5 * length
    at_a, at_b, at_d = xp.tanh(a), xp.tanh(a + d), xp.tanh(d)
    rise = d * at_b + a * (at_d * (1 - at_a * at_b))
    return rise - (xp.log1p(at_a * at_d) - 0.5 * xp.log1p(-at_d * at_d))


def _area_far(xp: Namespace, start: Array, length: Array) -> Any:
    """Return the same as the fall of the entropy of sigmoid(w), right in relative terms far out."""
    less = -xp.expm1(-length)
    before, after = sigmoid.impl(xp, -start), sigmoid.impl(xp, start + length)
    fall = start * (after * before * less) - xp.log1p(-before * less)
    return fall - length * sigmoid.impl(xp, -start - length)


@activation(
    formula="where(abs(x) < 2, x - x * abs(x) / 4, where(x > 0, 1, -1))",
    source="Wuraola & Patel, SQNL: a new computationally efficient activation function, "
    "IJCNN 2018.",
    layer="SQNL",
    peers={
        "echoAI": "echoAI.Activation.Torch.functional.sqnl",
        "torch-activation": "torch_activation.SQNL",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=1.0,
    smoothness=1,
    kinks=(-2.0, 0.0, 2.0),
)
def sqnl(xp: Namespace, x: Array) -> Any:
    """Square nonlinearity, x - x*|x|/4 between -2 and 2, -1 below, 1 above.

    >>> ax.sqnl(np.array([-3.0, 0.0, 1.0]))
    array([-1.  ,  0.  ,  0.75])
    """
    x = xp.minimum(xp.maximum(x, -2.0), 2.0)
    return x * (1 - 0.25 * xp.abs(x))


@sqnl.defderivative
def _(xp, x):
    return 1 - 0.5 * xp.minimum(xp.abs(x), 2.0)


@activation(
    formula="where(abs(x) < gamma / 2, 0.5 + 1.5 * x / gamma - 2 * (x / gamma)**3, x > 0)",
    source="Hazimeh et al., The tree ensemble layer: differentiability meets conditional "
    "computation, arXiv:2002.07772.",
    constraints=("gamma > 0",),
    cases=(case(gamma=4.0),),
    peers={"torch-activation": "torch_activation.SmoothStep"},
    range=(0.0, 1.0),
    monotonic=True,
    fixed_points=(1.0,),
    lipschitz=1.5,
    smoothness=1,
    kinks=(-0.5, 0.5),
)
def smooth_step(xp: Namespace, x: Array, gamma: ArrayOrNumber = 1.0) -> Any:
    """Smooth step, the cubic from 0 at -gamma/2 to 1 at gamma/2, flat at both ends and outside.

    Parameters
    ----------
    gamma : number or array, optional
        The width of the step, greater than 0.

    >>> ax.smooth_step(np.array([-0.5, -0.25, 0.0, 2.0]))
    array([0.     , 0.15625, 0.5    , 1.     ])
    """
    x, up, down = _ramps(xp, x, gamma)
    # right of -gamma/4 its expansion there has no difference, left of it `up` is exact
    t = xp.maximum((x + 0.25 * gamma) / gamma, 0.0)
    right = 0.15625 + t * (1.125 + t * (1.5 - 2 * t))
    return xp.where(t > 0, right, up * up * (1 + 2 * down))


@smooth_step.defderivative
def _(xp, x, gamma):
    _, up, down = _ramps(xp, x, gamma)
    return 6 * up * down / gamma


@smooth_step.defderivative("gamma")
def _(xp, x, gamma):
    x, up, down = _ramps(xp, x, gamma)
    return {"gamma": -6 * up * down * (x / gamma) / gamma}


def _ramps(xp: Namespace, x: Array, gamma: ArrayOrNumber) -> tuple[Any, Any, Any]:
    """Return x within the step, and its distances from both ends over gamma."""
    x = xp.minimum(xp.maximum(x, -0.5 * gamma), 0.5 * gamma)
    return x, (x + 0.5 * gamma) / gamma, (0.5 * gamma - x) / gamma
