"""Functions that multiply x by a gate, a function of x."""

from __future__ import annotations

from math import inf, pi, sqrt
from typing import Any, Literal

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import ones_like_nan
from ..numerics.double_word import DoubleWord, exact, fast_two_sum, rounds_to_float32
from ..numerics.logistic import (
    SAFE_EXP_ARG,
    SIGMOID_IS_1_FROM,
    TANH_IS_LINEAR_TO,
    clamp_exp_arg,
    clamped_exp,
    exp_excess,
    finite_where_zero,
    silu_derivative,
    x_gate,
    x_logistic_pdf,
    x_sigmoid,
)
from ..numerics.special import (
    NORMAL_TAIL_CUTOFF,
    erf,
    exp_neg_square,
    mills_ratio,
    normal_tail,
)
from .exponentials import elu
from .sigmoids import sigmoid
from .softpluses import softplus

__all__ = [
    "aconc",
    "aria2",
    "clipped_gelu",
    "colu",
    "elish",
    "erfact",
    "eswish",
    "gelu",
    "gish",
    "hard_elish",
    "hard_mish",
    "hard_swish",
    "lisht",
    "logish",
    "mish",
    "phish",
    "pserf",
    "serf",
    "silu",
    "smish",
    "swish",
    "tanhexp",
]

_TANH_GELU_NAMES = (
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python_tanh",
    "gelu_pytorch_tanh",
    "gelu_tanh",
)


@activation(
    formula="x / (1 + exp(-beta * x))",
    source="Elfwing, Uchibe & Doya, Sigmoid-weighted linear units, arXiv:1702.03118; with beta "
    "Ramachandran, Zoph & Le, Searching for activation functions, arXiv:1710.05941.",
    ulp=2.5,
    aliases=("swish",),
    cases=(case(beta=2.0), case(beta=-0.5)),
    peers={
        "torch": "torch.nn.functional.silu",
        "jax": "jax.nn.silu",
        "keras": "keras.activations.silu",
        "tensorflow": Peer("tf.nn.swish", note="beta"),
        "mlx": "mlx.nn.silu",
        "transformers": "silu",
        "timm": "swish",
    },
    range=(-0.27846454276107380, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0998393201288669,
)
def silu(xp: Namespace, x: Array, beta: ArrayOrNumber = 1.0) -> Any:
    """Sigmoid linear unit or swish, x*sigmoid(beta*x).

    Parameters
    ----------
    beta : number or array, optional
        The sharpness of the gate; learned in swish.

    >>> ax.silu(np.array([-np.inf, 0.0, 20.0]))
    array([-0.        ,  0.        , 19.99999996])
    """
    return x_sigmoid(xp, x, exact(xp, beta) * exact(xp, x))


@silu.defderivative
def _(xp, x, beta):
    return silu_derivative(xp, exact(xp, beta) * exact(xp, x))


@silu.defderivative("beta")
def _(xp, x, beta):
    return {"beta": _x2_logistic_pdf(xp, x, exact(xp, beta) * exact(xp, x))}


def _x2_logistic_pdf(xp: Namespace, x: Array, t: DoubleWord) -> Any:
    """Return x*x*sigmoid(t)*sigmoid(-t), which is 0 where that density is, also at infinity."""
    x = _zero_far_out(xp, x, t)
    return x * x_logistic_pdf(xp, x, t)


def _zero_far_out(xp: Namespace, x: Any, t: DoubleWord) -> Any:
    """Return x, and 0 where exp(-abs(t)) is 0 whatever it is multiplied by."""
    return xp.where(xp.abs(t.hi) >= 1e4, 0.0, x)


swish = silu


@activation(
    formula="x * erfc(-x / sqrt(2)) / 2",
    source="Hendrycks & Gimpel, Gaussian error linear units, arXiv:1606.08415.",
    ulp=4.0,
    aliases={
        "gelu_python": {},
        **{name: {"approximate": "tanh"} for name in _TANH_GELU_NAMES},
        "quick_gelu": {"approximate": "sigmoid"},
    },
    cases=(
        case(
            approximate="tanh",
            formula="x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2",
            ulp=4.0,
        ),
        case(
            approximate="sigmoid",
            formula="x / (1 + exp(-1.702 * x))",
            ulp=3.0,
        ),
    ),
    peers={
        "torch": "torch.nn.functional.gelu",
        "jax": Peer("jax.nn.gelu", approximate=True),
        "keras": ("keras.activations.gelu", Peer("keras.ops.gelu", approximate=True)),
        "tensorflow": "tf.nn.gelu",
        "mlx": "mlx.nn.gelu",
        "transformers": "gelu",
        "timm": "gelu",
    },
    range=(-0.16997120747990369, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.1289041451851548,
)
def gelu(
    xp: Namespace, x: Array, approximate: Literal["none", "tanh", "sigmoid"] | bool = "none"
) -> Any:
    """Gaussian error linear unit, x*Phi(x), Phi the standard normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh", "sigmoid"} or bool, optional
        "none" or False is exact, to the last digits of the tail; "tanh" or True is
        x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2, which JAX has as its default; "sigmoid" is
        x*sigmoid(1.702*x).

    >>> ax.gelu(np.array([-20.0, 0.0, 1.0]))
    array([-5.50724824e-88,  0.00000000e+00,  8.41344746e-01])
    """
    t = gelu_sigmoid_argument(xp, x, approximate)
    if t is not None:
        return x_sigmoid(xp, x, t)
    near = xp.minimum(xp.maximum(x, -NORMAL_TAIL_CUTOFF), NORMAL_TAIL_CUTOFF)
    tail = normal_tail(xp, xp.abs(near), near)
    return xp.where(x >= 0, x - tail, tail)  # -0 at -0


@gelu.defderivative
def _(xp, x, approximate):
    t = gelu_sigmoid_argument(xp, x, approximate)
    if t is None:
        return _gelu_derivative(xp, x)
    if approximate == "sigmoid":
        return silu_derivative(xp, t)
    near = xp.minimum(xp.maximum(x, -32.0), 32.0)
    x_dt_dx = near * (_TANH_LINEAR + (3 * _TANH_CUBIC) * (near * near))
    return silu_derivative(xp, t, x_dt_dx)


def _gelu_derivative(xp: Namespace, x: Array) -> Any:
    a = xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF)
    left = exp_neg_square(xp, a, factor=mills_ratio(xp, a).hi - a * (1 / sqrt(2 * pi)))
    return xp.where(x > 0, 1 - left, left)


def gelu_sigmoid_argument(xp: Namespace, x: Array, approximate: str | bool) -> DoubleWord | None:
    """Return the t with gelu(x) = x*sigmoid(t), or None if gelu is not approximated."""
    if approximate == "sigmoid":
        return exact(xp, 1.702) * exact(xp, x)
    return _tanh_gelu_argument(xp, x) if approximate in ("tanh", True) else None


def _tanh_gelu_argument(xp: Namespace, x: Array) -> DoubleWord:
    """Return twice the argument of the tanh, c*x + d*x**3, with x bounded.

    The hi of x has so few digits that its square is exact. So few have the hi of d and of c and
    the rounded c + d*x*x that the products with them and the first difference are exact, too.
    """
    if rounds_to_float32(xp):
        x = xp.minimum(xp.maximum(x, -1e4), 1e4)
        return DoubleWord(xp, x * (_TANH_LINEAR + _TANH_CUBIC * (x * x)))
    is_float32 = x.dtype == xp.float32
    bound, x_scale, ratio_scale, c, c_lo, d, d_lo = _TANH_32 if is_float32 else _TANH_64
    x = xp.minimum(xp.maximum(x, -bound), bound)
    x_hi = xp.round(x * x_scale) * (1 / x_scale)
    x2 = x_hi * x_hi
    ratio = xp.round((c + d * x2) * ratio_scale) * (1 / ratio_scale)
    ratio_lo = ((d * x2 - ratio) + c) + (d_lo * x2 + c_lo)
    lo = (x - x_hi) * (c + c_lo + (d + d_lo) * (x2 + x * (x + x_hi)))
    return DoubleWord(xp, *fast_two_sum(x_hi * ratio, x_hi * ratio_lo + lo))


_TANH_LINEAR = 2 * sqrt(2 / pi)
_TANH_CUBIC = 0.044715 * _TANH_LINEAR
"""The factors of x and x**3 in twice the argument of the tanh."""

_TANH_32 = (
    16.0,
    2.0**5,
    2.0**8,
    1.595768928527832,
    1.930778986805098e-07,
    0.0712890625,
    6.575377260024527e-05,
)
"""The bound of x, the inverse steps of its hi and of c + d*x*x, and c and d as hi and lo."""

_TANH_64 = (
    32.0,
    2.0**10,
    2.0**20,
    1.5957691216057341,
    -3.430362161966579e-15,
    0.07135481387376785,
    2.398832392488793e-09,
)


@activation(
    formula="x * tanh(log(1 + exp(x)))",
    source="Misra, Mish: a self regularized non-monotonic activation function, arXiv:1908.08681.",
    ulp=4.0,
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
    zero_centred=True,
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
    dy_de = (e + 2) / denominator + near * (4 * (e + 1) / denominator / denominator)
    return dy_de * e * excess


_GATE_IS_1_FROM = 22.0
"""From here on the gates of mish, serf and phish are 1 to the last digit of float64."""


@activation(
    formula="x / 2 * minimum(maximum(x + 2, 0), 2)",
    source="Misra, H-Mish, github.com/digantamisra98/H-Mish; here as in timm 1.0.",
    peers={"timm": "hard_mish"},
    range=(-0.5, inf),
    fixed_points=(0.0, 1.0, 7.5),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0,
    smoothness=0,
    kinks=(-2.0,),
)
def hard_mish(xp: Namespace, x: Array) -> Any:
    """Piecewise quadratic mish, x/2 times x + 2 clipped to [0, 2].

    >>> ax.hard_mish(np.array([-3.0, -1.0, 1.0]))
    array([-0. , -0.5,  1. ])
    """
    return _hard_gated(xp, x, -2.0, 2.0)


@hard_mish.defderivative
def _(xp, x):
    return xp.where(x <= -2, 0.0, xp.minimum(x, 0.0) + 1)


def _hard_gated(xp: Namespace, x: Array, start: float, width: float) -> Any:
    """Return x times a gate that opens from 0 at `start` to 1 over `width`; -0 where it is 0."""
    rise = xp.maximum(x - start, 0.0)  # the difference is exact where the gate meets 0
    return xp.maximum(x, start) * (xp.where(rise >= width, width, rise) / width)


@activation(
    formula="beta * x / (1 + exp(-x))",
    source="Alcaide, E-swish: adjusting activations to different network depths, arXiv:1801.07145.",
    ulp=3.0,
    cases=(case(beta=1.25),),
    peers={"echoAI": "echoAI.Activation.Torch.functional.eswish"},
    range=(-0.48731294983187914, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.9247188102255171,
)
def eswish(xp: Namespace, x: Array, beta: ArrayOrNumber = 1.75) -> Any:
    """E-swish, beta*x*sigmoid(x).

    Parameters
    ----------
    beta : number or array, optional
        The slope far to the right.

    >>> ax.eswish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  1.27935251])
    """
    return x_sigmoid(xp, beta * x, xp.minimum(x, SIGMOID_IS_1_FROM))


@eswish.defderivative
def _(xp, x, beta):
    return silu_derivative(xp, x, factor=beta)


@eswish.defderivative("beta")
def _(xp, x, beta):
    return {"beta": x_sigmoid(xp, x, x)}


@activation(
    formula="(p1 - p2) * x / (1 + exp(-beta * (p1 - p2) * x)) + p2 * x",
    source="Ma et al., Activate or not: learning customized activation, arXiv:2009.04759.",
    ulp=3.0,
    cases=(
        case(p1=1.25, p2=0.25, beta=2.0),
        case(p1=0.0, p2=1.0, formula="x / (1 + exp(-x))"),
    ),
    peers={"torch-activation": "torch_activation.ACONC"},
    range=(-0.27846454276107380, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0998393201288669,
)
def aconc(
    xp: Namespace,
    x: Array,
    p1: ArrayOrNumber = 1.0,
    p2: ArrayOrNumber = 0.0,
    beta: ArrayOrNumber = 1.0,
) -> Any:
    """ACON-C, (p1 - p2)*x*sigmoid(beta*(p1 - p2)*x) + p2*x, a smooth maximum of two lines.

    Parameters
    ----------
    p1 : number or array, optional
        The slope of one line through 0; learned.
    p2 : number or array, optional
        The slope of the other; learned.
    beta : number or array, optional
        The sharpness of the bend; learned.

    >>> ax.aconc(np.array([-1.0, 0.0, 1.0]), p1=1.0, p2=0.25, beta=2.0)
    array([-0.38681914,  0.        ,  0.86318086])
    """
    p1, p2 = _zero_last(p1, p2)
    t = _acon_argument(xp, x, p1, p2, beta)
    if isinstance(p2, NUMBER) and p2 == 0:
        return x_sigmoid(xp, p1 * x, t.minimum(SIGMOID_IS_1_FROM))
    # either part may be subnormal where the sum is not
    is_small = xp.abs(x) < 1
    x = xp.where(is_small, 2.0**30 * x, x)
    y = x_sigmoid(xp, p1 * x, t.minimum(SIGMOID_IS_1_FROM))
    y = y + x_sigmoid(xp, p2 * x, (-t).minimum(SIGMOID_IS_1_FROM))
    return xp.where(is_small, 2.0**-30 * y, y)


@aconc.defderivative
def _(xp, x, p1, p2, beta):
    p1, p2 = _zero_last(p1, p2)
    t = _acon_argument(xp, x, p1, p2, beta)
    dy_dx = silu_derivative(xp, t, factor=p1)
    if isinstance(p2, NUMBER) and p2 == 0:
        return dy_dx
    return dy_dx + silu_derivative(xp, -t, factor=p2)


def _zero_last(p1: ArrayOrNumber, p2: ArrayOrNumber) -> tuple[ArrayOrNumber, ArrayOrNumber]:
    """Swap p1 and p2, which changes nothing, if p1 is 0: 0 may not meet an infinite x."""
    return (p2, p1) if isinstance(p1, NUMBER) and p1 == 0 else (p1, p2)


def _acon_argument(
    xp: Namespace, x: Array, p1: ArrayOrNumber, p2: ArrayOrNumber, beta: ArrayOrNumber
) -> DoubleWord:
    return (exact(xp, p1) - exact(xp, p2)) * (exact(xp, beta) * exact(xp, x))


@aconc.defderivative("p1", "p2", "beta")
def _(xp, x, p1, p2, beta):
    t = _acon_argument(xp, x, p1, p2, beta)
    bend = _zero_far_out(xp, x, t) * x_logistic_pdf(xp, t.hi, t)
    return {
        "p1": x_sigmoid(xp, x, t) + bend,
        "p2": x_sigmoid(xp, x, -t) - bend,
        "beta": _x2_logistic_pdf(xp, (p1 - p2) * x, t),
    }


@activation(
    formula="x * tanh(x)",
    source="Roy et al., LiSHT: non-parametric linearly scaled hyperbolic tangent activation "
    "function for neural networks, arXiv:1901.05894.",
    ulp=2.5,
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
    peers={"torch-activation": "torch_activation.TanhExp"},
    range=(-0.35328577784821127, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
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
    zero_centred=True,
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
    formula="where(x > 0, x, exp(x) - 1) / (1 + exp(-x))",
    source="Basirat & Roth, The quest for the golden activation function, arXiv:1808.00783.",
    ulp=3.0,
    peers={"echoAI": "echoAI.Activation.Torch.functional.elish"},
    range=(-0.17157287525380990, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0998393201288669,
    smoothness=1,
    kinks=(0.0,),
)
def elish(xp: Namespace, x: Array) -> Any:
    """Exponential linear sigmoid squashing, sigmoid(x) times x where x > 0, exp(x) - 1 elsewhere.

    >>> ax.elish(np.array([-1.0, 0.0, 1.0]))
    array([-0.1700034 ,  0.        ,  0.73105858])
    """
    return x_sigmoid(xp, elu.impl(xp, x), x)


@elish.defderivative
def _(xp, x):
    e = xp.exp(xp.minimum(x, 0.0))
    left = (e * (e + 2) - 1) / (1 + e)
    gate = sigmoid.impl(xp, x)
    return xp.where(x > 0, silu_derivative(xp, x), left * gate)


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
    inner, dy_dx = gelu.impl(xp, clipped), _gelu_derivative(xp, clipped)
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
    zero_centred=True,
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
    zero_centred=True,
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
    formula="x * minimum(maximum((x + 3) / 6, 0), 1)",
    source="Howard et al., Searching for MobileNetV3, arXiv:1905.02244.",
    ulp=3.0,
    aliases=("hard_silu", "hardswish"),
    peers={
        "torch": "torch.nn.functional.hardswish",
        "jax": "jax.nn.hard_swish",
        "keras": "keras.activations.hard_swish",
        "flax": "flax.linen.hard_swish",
        "mlx": "mlx.nn.hardswish",
        "transformers": "hardswish",
        "timm": "hard_swish",
    },
    range=(-0.375, inf),
    fixed_points=(0.0, 3.0, 7.5),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.5,
    smoothness=0,
    kinks=(-3.0, 3.0),
)
def hard_swish(xp: Namespace, x: Array) -> Any:
    """Piecewise quadratic swish, x times (x + 3)/6 clipped to [0, 1].

    >>> ax.hard_swish(np.array([-4.0, -1.5, 4.0]))
    array([-0.   , -0.375,  4.   ])
    """
    return _hard_gated(xp, x, -3.0, 6.0)


@hard_swish.defderivative
def _(xp, x):
    return xp.where(x <= -3, 0.0, xp.where(x >= 3, 1.0, (x + 1.5) / 3))


@activation(
    formula="where(x > 0, x, exp(x) - 1) * minimum(maximum((x + 1) / 2, 0), 1)",
    source="Basirat & Roth, The quest for the golden activation function, arXiv:1808.00783.",
    ulp=3.0,
    peers={"echoAI": "echoAI.Activation.TF_Keras.custom_activation.HardELiSH"},
    range=(-0.099673151528742618, inf),
    fixed_points=(0.0, 1.0, 7.5),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.5,
    smoothness=0,
    kinks=(-1.0, 1.0),
)
def hard_elish(xp: Namespace, x: Array) -> Any:
    """Hard ELiSH, (x + 1)/2 clipped to [0, 1] times x where x > 0, exp(x) - 1 elsewhere.

    >>> ax.hard_elish(np.array([-2.0, 0.0, 0.5]))
    array([-0.   ,  0.   ,  0.375])
    """
    gate = xp.maximum(x + 1, 0.0) * 0.5
    return elu.impl(xp, x) * xp.where(gate >= 1, 1.0, gate)


@hard_elish.defderivative
def _(xp, x):
    e = xp.exp(xp.minimum(x, 0.0))
    left = xp.where(x <= -1, 0.0, (e * (x + 1) + xp.expm1(xp.minimum(x, 0.0))) * 0.5)
    return xp.where(x > 0, xp.where(x >= 1, 1.0, x + 0.5), left)


@activation(
    formula="minimum(maximum(x * erfc(-x / sqrt(2)) / 2, min_val), max_val)",
    source="Wu et al., Integer quantization for deep learning inference, arXiv:2004.09602.",
    ulp=4.0,
    constraints=("min_val <= max_val",),
    aliases=("gelu_10",),
    cases=(case(min_val=-0.125, max_val=6.0),),
    peers={"transformers": "gelu_10"},
    range=(-0.16997120747990369, 10.0),
    fixed_points=(0.0, 10.0),
    limits=(0.0, 10.0),
    zero_centred=True,
    lipschitz=1.1289041451851548,
    smoothness=0,
    kinks=(10.0,),
)
def clipped_gelu(
    xp: Namespace, x: Array, min_val: ArrayOrNumber = -10.0, max_val: ArrayOrNumber = 10.0
) -> Any:
    """Gaussian error linear unit clipped to [min_val, max_val], for quantization.

    Parameters
    ----------
    min_val : number or array, optional
        The least value.
    max_val : number or array, optional
        The largest value, not less than `min_val`.

    >>> ax.clipped_gelu(np.array([-1.0, 0.0, 20.0]))
    array([-0.15865525,  0.        , 10.        ])
    """
    y = xp.maximum(gelu.impl(xp, x), min_val)
    return xp.where(y >= max_val, max_val, y)


@clipped_gelu.defderivative
def _(xp, x, min_val, max_val):
    y = gelu.impl(xp, x)
    return xp.where((y <= min_val) | (y >= max_val), 0.0, _gelu_derivative(xp, x))


@clipped_gelu.defderivative("min_val", "max_val")
def _(xp, x, min_val, max_val):
    y, one = gelu.impl(xp, x), ones_like_nan(xp, x)
    is_high = xp.maximum(y, min_val) >= max_val
    return {
        "min_val": xp.where((y <= min_val) & ~is_high, one, one - 1),
        "max_val": xp.where(is_high, one, one - 1),
    }


@activation(
    formula="x * log(2 - exp(-exp(x)))",
    source="Kaytan, Aydilek & Yeroglu, Gish: a novel activation function for image "
    "classification, Neural Computing and Applications 35, 2023.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.Gish"},
    range=(-0.27815946089638691, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
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
    formula="x / (1 + exp(-beta * x))**alpha",
    source="Patwardhan et al., ARiA: utilizing Richard's curve for controlling the "
    "non-monotonicity of the activation function in deep neural nets, arXiv:1805.08878.",
    ulp=4.0,
    constraints=("alpha > 0",),
    cases=(case(alpha=0.5, beta=1.0), case(alpha=1.0, beta=-0.5)),
    peers={"torch-activation": Peer("torch_activation.ARiA", nu="1/alpha")},
    range=(-0.069977641319701427, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.1411471904163208,
)
def aria2(xp: Namespace, x: Array, alpha: ArrayOrNumber = 1.5, beta: ArrayOrNumber = 2.0) -> Any:
    """ARiA2, x*sigmoid(beta*x)**alpha.

    Parameters
    ----------
    alpha : number or array, optional
        The power of the gate, greater than 0.
    beta : number or array, optional
        The sharpness of the gate.

    >>> ax.aria2(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.82663502])
    """
    gate, excess = _sigmoid_power(xp, exact(xp, beta) * exact(xp, x), alpha)
    return x_gate(xp, x, gate, excess)


@aria2.defderivative
def _(xp, x, alpha, beta):
    t = exact(xp, beta) * exact(xp, x)
    gate, excess = _sigmoid_power(xp, t, alpha)
    near = finite_where_zero(xp, excess, t.hi)
    return gate * (1 + alpha * x_sigmoid(xp, near, -near)) * excess


@aria2.defderivative("alpha", "beta")
def _(xp, x, alpha, beta):
    t = exact(xp, beta) * exact(xp, x)
    gate, excess = _sigmoid_power(xp, t, alpha)
    # log(sigmoid(t)) and sigmoid(-t) are 0 from 1e4 on
    x = xp.where(t.hi >= 1e4, 0.0, finite_where_zero(xp, excess, x))
    near = finite_where_zero(xp, excess, t.hi)
    y = x * gate * excess
    log = xp.minimum(near, 0.0) - xp.log1p(xp.exp(-xp.abs(near)))
    return {"alpha": y * log, "beta": y * (alpha * x_sigmoid(xp, x, -near))}


def _sigmoid_power(xp: Namespace, t: DoubleWord, alpha: ArrayOrNumber) -> tuple[Any, Any]:
    """Return sigmoid(t)**alpha, bounded below, and its excess; see `clamped_exp`."""
    e, excess = clamped_exp(xp, exact(xp, alpha) * t.minimum(0.0), 0.0)
    size = xp.minimum(xp.abs(t.hi), SIGMOID_IS_1_FROM)
    return e * (1 + xp.exp(-size)) ** -alpha, excess


@activation(
    formula="x / (1 - x * exp(-x - exp(x)))",
    source="Vagerwal, Deeper learning with CoLU activation, arXiv:2112.12078.",
    ulp=4.0,
    peers={"torch-activation": "torch_activation.CoLU"},
    range=(-0.37715856839612915, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0828346006761451,
)
def colu(xp: Namespace, x: Array) -> Any:
    """Collapsing linear unit, x/(1 - x*exp(-x - exp(x))).

    >>> ax.colu(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  1.02487961])
    """
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
    peers={"torch-activation": Peer("torch_activation.ErfAct", a=1.0, b=0.5)},
    range=(-0.60792126776018700, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
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
    cases=(
        case(gamma=1.25, delta=0.5),
        case(gamma=0.75, delta=2.0),
        case(gamma=0.0625, delta=1.0),
    ),
    peers={"torch-activation": Peer("torch_activation.PSerf", a=1.0, b=1.0)},
    range=(-0.86021168810674862, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
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
