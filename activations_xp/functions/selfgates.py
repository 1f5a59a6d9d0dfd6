"""Self-gates: x times a gate, which is a function of x."""

from __future__ import annotations

from math import inf, pi, sqrt
from typing import Any, Literal

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import is_zero, ones_like_nan
from ..numerics.double_word import DoubleWord, exact, fast_two_sum, is_fast, is_uncompensated
from ..numerics.logistic import (
    SIGMOID_IS_1_FROM,
    clamped_exp,
    finite_where_zero,
    silu_derivative,
    x_gate,
    x_logistic_pdf,
    x_sigmoid,
)
from ..numerics.special import NORMAL_TAIL_CUTOFF, exp_neg_square, mills_ratio, normal_tail
from .exponentials import elu
from .sigmoids import sigmoid

__all__ = [
    "aconc",
    "aria2",
    "clipped_gelu",
    "elish",
    "eswish",
    "gelu",
    "hard_elish",
    "hard_mish",
    "hard_swish",
    "silu",
    "swish",
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
    relatives={"quick_gelu": {"beta": 1.702}},
    layer="torch.nn.SiLU",
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


@silu.defcomplex
def _(xp, x, beta):
    return cmath.z_sigmoid(xp, x, cmath.scale(xp, beta, x))


@silu.defcomplex("derivative")
def _(xp, x, beta):
    t = cmath.scale(xp, beta, x)
    return cmath.z_sigmoid_derivative(xp, t, t)


@silu.defcomplex("beta")
def _(xp, x, beta):
    near = cmath.clip_parts(xp, x)
    slope = cmath.sigmoid_derivative(xp, cmath.scale(xp, beta, x))
    return {"beta": near * (near * slope)}


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
        case(approximate="sigmoid", formula="x / (1 + exp(-1.702 * x))", ulp=3.0),
    ),
    layer="torch.nn.GELU",
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
    tail = normal_tail(xp, xp.abs(near), near, absolute=True)
    return xp.where(x >= 0, x - tail, tail)  # -0 at -0


@gelu.defderivative
def _(xp, x, approximate):
    t = gelu_sigmoid_argument(xp, x, approximate)
    if t is None:
        a = xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF)
        ratio = mills_ratio(xp, a, absolute=True).hi
        left = exp_neg_square(xp, a, factor=ratio - a * (1 / sqrt(2 * pi)))
        return xp.where(x > 0, 1 - left, left)
    if approximate == "sigmoid":
        return silu_derivative(xp, t)
    near = xp.minimum(xp.maximum(x, -32.0), 32.0)
    x_dt_dx = near * (_TANH_LINEAR + (3 * _TANH_CUBIC) * (near * near))
    return silu_derivative(xp, t, x_dt_dx)


@gelu.defcomplex
def _(xp, x, approximate):
    if approximate in ("none", False):
        is_right = xp.real(x) >= 0
        tail = cmath.normal_tail(xp, xp.where(is_right, x, -x))
        return cmath.z_gate(xp, x, is_right, tail)
    t, _ = _complex_argument(xp, x, approximate)
    return cmath.z_sigmoid(xp, x, t)


@gelu.defcomplex("derivative")
def _(xp, x, approximate):
    if approximate in ("none", False):
        is_right = xp.real(x) >= 0
        tail = cmath.normal_tail(xp, xp.where(is_right, x, -x))
        density = cmath.exp_neg_square(xp, x, 0.5) * (1 / sqrt(2 * pi))
        return xp.where(is_right, 1 - tail, tail) + cmath.clip_parts(xp, x) * density
    return cmath.z_sigmoid_derivative(xp, *_complex_argument(xp, x, approximate))


def _complex_argument(xp: Namespace, x: Array, approximate: str | bool) -> tuple[Any, Any]:
    """Return the t with gelu(x) = x*sigmoid(t), and x*dt/dx."""
    x = cmath.clip_parts(xp, x, 1e12)
    if approximate == "sigmoid":
        return 1.702 * x, 1.702 * x
    x2 = x * x
    return x * (_TANH_LINEAR + _TANH_CUBIC * x2), x * (_TANH_LINEAR + (3 * _TANH_CUBIC) * x2)


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
    if is_uncompensated(xp):
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
    formula="x / 2 * minimum(maximum(x + 2, 0), 2)",
    source="Misra, H-Mish, github.com/digantamisra98/H-Mish, 2020; here as in timm 1.0.",
    peers={"timm": "hard_mish"},
    range=(-0.5, inf),
    fixed_points=(0.0, 1.0, 7.5),
    limits=(0.0, inf),
    lipschitz=1.0,
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
    relatives={"silu": {"beta": 1.0}},
    layer="ESwish",
    peers={"echoAI": "echoAI.Activation.Torch.functional.eswish"},
    range=(-0.48731294983187914, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
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
    cases=(case(p1=1.25, p2=0.25, beta=2.0), case(p1=0.0, p2=1.0, formula="x / (1 + exp(-x))")),
    relatives={"silu": {"p1": 1.0, "p2": 0.0, "beta": 1.0}, "identity": {"p1": 1.0, "p2": 1.0}},
    layer="ACONC",
    peers={"torch-activation": "torch_activation.ACONC"},
    range=(-0.27846454276107380, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
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
    if is_zero(p2):
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
    if is_zero(p2):
        return dy_dx
    return dy_dx + silu_derivative(xp, -t, factor=p2)


def _zero_last(p1: ArrayOrNumber, p2: ArrayOrNumber) -> tuple[ArrayOrNumber, ArrayOrNumber]:
    """Swap p1 and p2, which changes nothing, if p1 is 0: 0 may not meet an infinite x."""
    return (p2, p1) if is_zero(p1) else (p1, p2)


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
    formula="where(x > 0, x, exp(x) - 1) / (1 + exp(-x))",
    source="Basirat & Roth, The quest for the golden activation function, arXiv:1808.00783.",
    ulp=3.0,
    layer="ELiSH",
    peers={"echoAI": "echoAI.Activation.Torch.functional.elish"},
    range=(-0.17157287525380990, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
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
    formula="x * minimum(maximum((x + 3) / 6, 0), 1)",
    source="Howard et al., Searching for MobileNetV3, arXiv:1905.02244.",
    ulp=3.0,
    aliases=("hard_silu", "hardswish"),
    layer="torch.nn.Hardswish",
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
    lipschitz=1.5,
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
    layer="HardELiSH",
    peers={"echoAI": "echoAI.Activation.TF_Keras.custom_activation.HardELiSH"},
    range=(-0.099673151528742618, inf),
    fixed_points=(0.0, 1.0, 7.5),
    limits=(0.0, inf),
    lipschitz=1.5,
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
    relatives={"gelu": {"min_val": -inf, "max_val": inf}},
    layer="ClippedGELU",
    peers={"transformers": "gelu_10"},
    range=(-0.16997120747990369, 10.0),
    fixed_points=(0.0, 10.0),
    limits=(0.0, 10.0),
    lipschitz=1.1289041451851548,
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
    return xp.where((y <= min_val) | (y >= max_val), 0.0, gelu.derivative.impl(xp, x))


@clipped_gelu.defderivative("min_val", "max_val")
def _(xp, x, min_val, max_val):
    y, one = gelu.impl(xp, x), ones_like_nan(xp, x)
    is_high = xp.maximum(y, min_val) >= max_val
    return {
        "min_val": xp.where((y <= min_val) & ~is_high, one, one - 1),
        "max_val": xp.where(is_high, one, one - 1),
    }


@activation(
    formula="x / (1 + exp(-beta * x))**alpha",
    source="Patwardhan et al., ARiA: utilizing Richard's curve for controlling the "
    "non-monotonicity of the activation function in deep neural nets, arXiv:1805.08878.",
    ulp=4.0,
    constraints=("alpha > 0",),
    cases=(case(alpha=0.5, beta=1.0), case(alpha=1.0, beta=-0.5)),
    relatives={"silu": {"alpha": 1.0, "beta": 1.0}},
    layer="ARiA2",
    peers={"torch-activation": Peer("torch_activation.ARiA", nu="1/alpha")},
    range=(-0.069977641319701427, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
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
    if is_fast(xp, t.hi):
        return (1 + xp.exp(-t.hi)) ** -alpha, 1.0
    e, excess = clamped_exp(xp, exact(xp, alpha) * t.minimum(0.0), 0.0)
    size = xp.minimum(xp.abs(t.hi), SIGMOID_IS_1_FROM)
    return e * (1 + xp.exp(-size)) ** -alpha, excess
