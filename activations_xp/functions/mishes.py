"""Mish and relatives: x times a tanh, error function or logarithm of an exponential."""

from __future__ import annotations

from math import inf, pi, sqrt
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import Array, Namespace
from ..numerics import cmath
from ..numerics.double_word import exact, is_fast
from ..numerics.logistic import (
    SAFE_EXP_ARG,
    SIGMOID_IS_1_FROM,
    TANH_IS_LINEAR_TO,
    clamp_exp_arg,
    clamped_exp,
    exp_excess,
    finite_where_zero,
    x_gate,
    x_logistic_pdf,
    x_sigmoid,
)
from ..numerics.special import NORMAL_TAIL_CUTOFF, erf, exp_neg_square, mills_ratio
from .selfgates import gelu
from .sigmoids import sigmoid
from .softpluses import softplus

__all__ = [
    "colu",
    "erfact",
    "gish",
    "lisht",
    "logish",
    "mish",
    "phish",
    "pserf",
    "serf",
    "smish",
    "tanhexp",
]


@activation(
    formula="x * tanh(log(1 + exp(x)))",
    source="Misra, Mish: a self regularized non-monotonic activation function, arXiv:1908.08681.",
    ulp=4.0,
    layer="torch.nn.Mish",
    peers={
        "torch": "torch.nn.functional.mish",
        "jax": "jax.nn.mish",
        "keras": "keras.activations.mish",
        "tensorflow-addons": "tfa.activations.mish",
        "mlx": "mlx.nn.mish",
        "transformers": "mish",
        "timm": "mish",
    },
    range=(-0.3088434130172504, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.0884981612517279,
)
def mish(xp: Namespace, x: Array) -> Any:
    """Mish, x*tanh(softplus(x)).

    >>> ax.mish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.86509839])
    """
    # tanh(log(1 + e)) = n/(n + 2) with n = e*(e + 2), which does not cancel
    e, excess = clamped_exp(xp, x, _GATE_IS_1_FROM)
    n = e * (e + 2)
    return x_gate(xp, x, n / (n + 2), excess)


@mish.defderivative
def _(xp, x):
    e, excess = clamped_exp(xp, x, _GATE_IS_1_FROM)
    denominator = e * (e + 2) + 2
    near = finite_where_zero(xp, excess, xp.minimum(x, _GATE_IS_1_FROM))
    if is_fast(xp, x):
        return e * (e + 2 + near * (4 * (e + 1) / denominator)) / denominator  # 1 at inf
    dy_de = (e + 2) / denominator + near * (4 * (e + 1) / denominator / denominator)
    return dy_de * e * excess


@mish.defcomplex
def _(xp, x):
    is_right, e = cmath.exp_neg(xp, x)
    return cmath.z_gate(xp, x, is_right, e * _complex_gate(xp, is_right, e)[0])


@mish.defcomplex("derivative")
def _(xp, x):
    is_right, e = cmath.exp_neg(xp, x)
    quotient, denominator = _complex_gate(xp, is_right, e)
    gate = xp.where(is_right, 1 - e * quotient, e * quotient)
    slope = 4 * e * (1 + e) * xp.where(is_right, e, 1.0) / denominator / denominator
    return gate + cmath.clip_parts(xp, x) * slope


def _complex_gate(xp: Namespace, is_right: Array, e: Array) -> tuple[Any, Any]:
    """Return q and d such that tanh(softplus(x)) is e*q on the left and 1 - e*q on the right.

    e is exp(x) on the left and exp(-x) on the right, and q has the denominator d.
    """
    denominator = xp.where(is_right, 1 + 2 * e * (1 + e), 2 + e * (2 + e))
    return xp.where(is_right, 2 * e, 2 + e) / denominator, denominator


_GATE_IS_1_FROM = 22.0
"""From here on the gates of mish, serf and phish are 1 to the last digit of float64."""


@activation(
    formula="x * tanh(x)",
    source="Roy et al., LiSHT: non-parametric linearly scaled hyperbolic tangent activation "
    "function for neural networks, arXiv:1901.05894.",
    ulp=2.5,
    layer="LiSHT",
    peers={
        "tensorflow-addons": "tfa.activations.lisht",
        "torch-activation": "torch_activation.LiSHT",
    },
    range=(0.0, inf),
    parity="even",
    fixed_points=(0.0,),
    limits=(inf, inf),
    lipschitz=1.1996786402577338,
)
def lisht(xp: Namespace, x: Array) -> Any:
    """Linearly scaled hyperbolic tangent, x*tanh(x).

    >>> ax.lisht(np.array([-20.0, 0.0, 1.0]))
    array([20.        ,  0.        ,  0.76159416])
    """
    return x * xp.tanh(x)


@lisht.defderivative
def _(xp, x):
    return xp.tanh(x) + x_logistic_pdf(xp, 4 * x, 2 * x)


@activation(
    formula="x * tanh(exp(x))",
    source="Liu & Di, TanhExp: a smooth activation function with high convergence speed for "
    "lightweight neural networks, arXiv:2003.09855; as TeLU Fernandez & Mali, arXiv:2412.20269.",
    ulp=3.0,
    aliases=("telu",),
    layer="TanhExp",
    peers={"torch-activation": "torch_activation.TanhExp"},
    range=(-0.35328577784821127, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.0619753087179660,
)
def tanhexp(xp: Namespace, x: Array) -> Any:
    """TanhExp or TeLU, x*tanh(exp(x)).

    >>> ax.tanhexp(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.99132892])
    """
    e, excess = clamped_exp(xp, x, 4.0)
    return x_gate(xp, x, xp.tanh(e), excess)


@tanhexp.defderivative
def _(xp, x):
    e, excess = clamped_exp(xp, x, 4.0)
    q = xp.exp(-2 * e)
    near = finite_where_zero(xp, excess, xp.minimum(x, 4.0))
    return (xp.tanh(e) + near * (4 * e * q / ((1 + q) * (1 + q)))) * excess


@activation(
    formula="x * erf(log(1 + exp(x)))",
    source="Nag & Bhattacharyya, Serf: towards better training of deep neural networks using "
    "log-softplus error activation function, arXiv:2108.09598.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.Serf"},
    range=(-0.34843745875960642, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.0861254441509972,
)
def serf(xp: Namespace, x: Array) -> Any:
    """Serf, x*erf(softplus(x)).

    >>> ax.serf(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.93672192])
    """
    s = softplus.impl(xp, clamp_exp_arg(xp, x))
    return x_gate(xp, x, erf(xp, s), exp_excess(xp, x))


@serf.defderivative
def _(xp, x):
    e, excess = clamped_exp(xp, x, _GATE_IS_1_FROM)
    near = xp.minimum(x, _GATE_IS_1_FROM)
    return _x_erf_derivative(xp, near, xp.log1p(e), e / (1 + e)) * excess


@activation(
    formula="x * tanh(x * erfc(-x / sqrt(2)) / 2)",
    source="Naveen, Phish: a novel hyper-optimizable activation function, TechRxiv 2022.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.Phish"},
    range=(0.0, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.2983066733058115,
)
def phish(xp: Namespace, x: Array) -> Any:
    """Phish, x*tanh(gelu(x)).

    >>> ax.phish(np.array([-20.0, 0.0, 1.0]))
    array([1.10144965e-86, 0.00000000e+00, 6.86520672e-01])
    """
    # far to the left tanh is its argument, which may be subnormal before the product is
    a = xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF)
    near = x * xp.tanh(gelu.impl(xp, x))
    far = exp_neg_square(xp, a, factor=a * mills_ratio(xp, a, a).value)
    return xp.where(x > -_TANH_GELU_IS_GELU_FROM, near, far)


@phish.defderivative
def _(xp, x):
    x = xp.minimum(x, _GATE_IS_1_FROM)
    a = xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF)
    clipped = xp.maximum(x, -_TANH_GELU_IS_GELU_FROM)
    inner, dy_dx = gelu.impl(xp, clipped), gelu.derivative.impl(xp, clipped)
    near = xp.tanh(inner) + x_logistic_pdf(xp, 4 * clipped * dy_dx, 2 * inner)
    near = xp.where(a < TANH_IS_LINEAR_TO, clipped, near)  # gelu(x) = x/2 may be subnormal
    far = a * (a * (1 / sqrt(2 * pi)) - 2 * mills_ratio(xp, a).hi)
    return xp.where(x > -_TANH_GELU_IS_GELU_FROM, near, exp_neg_square(xp, a, factor=far))


_TANH_GELU_IS_GELU_FROM = 6.0
"""From -6 on to the left tanh(gelu(x)) is gelu(x) to the last digit of float64."""


@activation(
    formula="x * tanh(log(1 + 1 / (1 + exp(-x))))",
    source="Wang, Ren & Wang, Smish: a novel activation function for deep learning methods, "
    "Electronics 11(4), 2022.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.Smish"},
    range=(-0.24999366366012950, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=0.63688422288122630,
)
def smish(xp: Namespace, x: Array) -> Any:
    """Smish, x*tanh(log(1 + sigmoid(x))).

    >>> ax.smish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.49957011])
    """
    # tanh(log(1 + s)) = n/(n + 2) with n = s*(s + 2), which does not cancel
    s = sigmoid.impl(xp, x)
    return x_sigmoid(xp, x, x) * ((s + 2) / (s * (s + 2) + 2))


@smish.defderivative
def _(xp, x):
    u, excess = xp.exp(-clamp_exp_arg(xp, x)), exp_excess(xp, x)
    s = 1 / (1 + u)
    denominator = s * (s + 2) + 2
    near = finite_where_zero(xp, excess, xp.minimum(x, SAFE_EXP_ARG))
    bend = near * (u * s) * (4 * (s + 1) / denominator / denominator)
    return s * ((s + 2) / denominator + bend) * excess


@activation(
    formula="x * log(1 + 1 / (1 + exp(-x)))",
    source="Zhu et al., Logish: a new nonlinear nonmonotonic activation function for "
    "convolutional neural network, Neurocomputing 458, 2021.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.Logish"},
    range=(-0.25276881678944035, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=0.74631118041273968,
)
def logish(xp: Namespace, x: Array) -> Any:
    """Logish, x*log(1 + sigmoid(x)).

    >>> ax.logish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.54873312])
    """
    s = sigmoid.impl(xp, clamp_exp_arg(xp, x))
    return x_gate(xp, x, xp.log1p(s), exp_excess(xp, x))


@logish.defderivative
def _(xp, x):
    u, excess = xp.exp(-clamp_exp_arg(xp, x)), exp_excess(xp, x)
    s = 1 / (1 + u)
    near = finite_where_zero(xp, excess, xp.minimum(x, SAFE_EXP_ARG))
    return (xp.log1p(s) + near * s * (u / (2 + u))) * excess


@activation(
    formula="x * log(2 - exp(-exp(x)))",
    source="Kaytan, Aydilek & Yeroglu, Gish: a novel activation function for image "
    "classification, Neural Computing and Applications 35, 2023.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.Gish"},
    range=(-0.27815946089638691, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=0.75270457108566948,
)
def gish(xp: Namespace, x: Array) -> Any:
    """Gish, x*log(2 - exp(-exp(x))).

    >>> ax.gish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.65959658])
    """
    e, excess = clamped_exp(xp, x, 4.0)
    return x_gate(xp, x, xp.log1p(-xp.expm1(-e)), excess)


@gish.defderivative
def _(xp, x):
    e, excess = clamped_exp(xp, x, 4.0)
    rise = -xp.expm1(-e)
    near = finite_where_zero(xp, excess, xp.minimum(x, 4.0))
    # XLA makes one exponential of a product of two, whose argument then rounds
    return (xp.log1p(rise) + near * e * (xp.exp(-e) / (1 + rise))) * excess


@activation(
    formula="x / (1 - x * exp(-x - exp(x)))",
    source="Vagerwal, Deeper learning with CoLU activation, arXiv:2112.12078.",
    ulp=4.0,
    layer="CoLU",
    peers={"torch-activation": "torch_activation.CoLU"},
    range=(-0.37715856839612915, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.0828346006761451,
)
def colu(xp: Namespace, x: Array) -> Any:
    """Collapsing linear unit, x/(1 - x*exp(-x - exp(x))).

    >>> ax.colu(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  1.02487961])
    """
    if is_fast(xp, x):
        x = xp.maximum(x, -1e4) + 0.0  # 0 at -0
        near = xp.minimum(x, 4.0)
        return x / (1 - near * xp.exp(-near - xp.exp(near)))
    left, h, right, g = _collapse(xp, x)
    # the factor 4 keeps quotient and product from being subnormal before the value is
    return xp.where(x > 0, xp.maximum(x, 0.0) / (1 - right * g), 4 * left / (h - left) * h * 0.25)


@colu.defderivative
def _(xp, x):
    left, h, right, g = _collapse(xp, x)
    above, below = 1 - right * g, h - left
    bend = right * right * g * (1 + xp.exp(right))
    curve = (h - left * left * (1 + xp.exp(left))) / below / below * h
    return xp.where(x > 0, (1 - bend) / (above * above), curve)


def _collapse(xp: Namespace, x: Array) -> tuple[Any, Any, Any, Any]:
    """Return x bounded and exp(x + exp(x)) on the left, and x and its inverse on the right."""
    left, right = xp.maximum(xp.minimum(x, 0.0), -1e4), xp.minimum(xp.maximum(x, 0.0), 4.0)
    e = xp.exp(left)
    # XLA makes one exponential of a product of two, whose argument then rounds
    return left, e + e * xp.expm1(e), right, xp.exp(-right - xp.exp(right))


@activation(
    formula="x * erf(alpha * exp(beta * x))",
    source="Biswas et al., ErfAct and Pserf: non-monotonic smooth trainable activation functions, "
    "arXiv:2109.04386.",
    ulp=4.0,
    constraints=("alpha > 0",),
    cases=(case(alpha=0.75, beta=0.5), case(alpha=1.0, beta=2.0)),
    relatives={"identity": {"alpha": inf, "beta": 0.0}},
    layer="ErfAct",
    peers={"torch-activation": Peer("torch_activation.ErfAct", a=1.0, b=0.5)},
    range=(-0.60792126776018700, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.0915993945154187,
)
def erfact(xp: Namespace, x: Array, alpha: ArrayOrNumber, beta: ArrayOrNumber) -> Any:
    """ErfAct, x*erf(alpha*exp(beta*x)).

    Parameters
    ----------
    alpha : number or array
        The argument of erf at 0, greater than 0; learned.
    beta : number or array
        The sharpness of the gate; learned.

    >>> ax.erfact(np.array([-np.inf, 0.0, 1.0]), 0.75, 0.75)
    array([-0.        ,  0.        ,  0.97525866])
    """
    e, excess = clamped_exp(xp, exact(xp, beta) * exact(xp, x), SAFE_EXP_ARG)
    return x_gate(xp, x, erf(xp, xp.minimum(alpha * e, NORMAL_TAIL_CUTOFF)), excess)


@erfact.defderivative
def _(xp, x, alpha, beta):
    e, excess = clamped_exp(xp, exact(xp, beta) * exact(xp, x), SAFE_EXP_ARG)
    v = xp.minimum(alpha * e, NORMAL_TAIL_CUTOFF)
    return _x_erf_derivative(xp, beta * x, v, v) * excess


def _x_erf_derivative(xp: Namespace, t: Any, v: Any, gate: Any, factor: ArrayOrNumber = 1.0) -> Any:
    """Return erf(v) + factor*t*gate*erf'(v), where t counts as 0 if erf'(v) is 0."""
    t = xp.where(v >= NORMAL_TAIL_CUTOFF, 0.0, xp.maximum(t, -1e4))
    v = xp.minimum(v, NORMAL_TAIL_CUTOFF)
    return erf(xp, v) + (2 / sqrt(pi) * factor * t) * (gate * xp.exp(-v * v))


def _erf_derivative(xp: Namespace, v: Any) -> Any:
    return 2 / sqrt(pi) * exp_neg_square(xp, v, 1.0)


@erfact.defderivative("alpha", "beta")
def _(xp, x, alpha, beta):
    e, excess = clamped_exp(xp, exact(xp, beta) * exact(xp, x), SAFE_EXP_ARG)
    v = alpha * e
    x = xp.where(v >= NORMAL_TAIL_CUTOFF, 0.0, finite_where_zero(xp, excess, x))
    v = xp.minimum(v, NORMAL_TAIL_CUTOFF)
    dy_dv = _erf_derivative(xp, v)
    return {"alpha": x * dy_dv * e * excess, "beta": x * (v * dy_dv * excess) * x}


@activation(
    formula="x * erf(gamma * log(1 + exp(delta * x)))",
    source="Biswas et al., ErfAct and Pserf: non-monotonic smooth trainable activation functions, "
    "arXiv:2109.04386.",
    ulp=4.0,
    constraints=("gamma > 0",),
    cases=(case(gamma=1.25, delta=0.5), case(gamma=0.75, delta=2.0), case(gamma=0.0625, delta=1.0)),
    relatives={"serf": {"gamma": 1.0, "delta": 1.0}},
    peers={"torch-activation": Peer("torch_activation.PSerf", a=1.0, b=1.0)},
    range=(-0.86021168810674862, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    lipschitz=1.0535644140577652,
)
def pserf(xp: Namespace, x: Array, gamma: ArrayOrNumber, delta: ArrayOrNumber) -> Any:
    """Parametric serf, x*erf(gamma*softplus(delta*x)).

    Parameters
    ----------
    gamma : number or array
        The factor of the softplus, greater than 0; learned.
    delta : number or array
        The sharpness of the gate; learned.

    >>> ax.pserf(np.array([-np.inf, 0.0, 1.0]), 1.25, 0.85)
    array([-0.        ,  0.        ,  0.96696753])
    """
    e, excess = clamped_exp(xp, exact(xp, delta) * exact(xp, x), SIGMOID_IS_1_FROM)
    s = xp.log1p(e) + xp.maximum(delta * x - SIGMOID_IS_1_FROM, 0.0)
    return x_gate(xp, x, erf(xp, gamma * s), excess)


@pserf.defderivative
def _(xp, x, gamma, delta):
    e, excess = clamped_exp(xp, exact(xp, delta) * exact(xp, x), SIGMOID_IS_1_FROM)
    t = delta * x
    v = gamma * (xp.log1p(e) + xp.maximum(t - SIGMOID_IS_1_FROM, 0.0))
    return _x_erf_derivative(xp, t, v, e / (1 + e), gamma) * excess


@pserf.defderivative("gamma", "delta")
def _(xp, x, gamma, delta):
    t = delta * x
    t, excess = clamp_exp_arg(xp, t), exp_excess(xp, t)
    s = softplus.impl(xp, t)
    v = gamma * s
    x = xp.where(v >= NORMAL_TAIL_CUTOFF, 0.0, finite_where_zero(xp, excess, x))
    dy_dv = _erf_derivative(xp, xp.minimum(v, NORMAL_TAIL_CUTOFF))
    s = xp.where(v < NORMAL_TAIL_CUTOFF, s, 0.0)
    gate = gamma * sigmoid.impl(xp, t)
    return {"gamma": x * s * dy_dv * excess, "delta": x * (gate * dy_dv * excess) * x}
