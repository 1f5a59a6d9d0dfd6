"""Exponential units: linear above zero and curved below, most of them an exponential."""

from __future__ import annotations

from math import factorial, inf
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import is_zero, ones_like_nan
from ..numerics.double_word import is_fast
from ..numerics.logistic import SAFE_EXP_ARG, TANH_IS_LINEAR_TO, clamp_exp_arg, exp_excess
from ..numerics.special import polynomial
from .sigmoids import isru

__all__ = ["celu", "elu", "exponential", "isrlu", "selu", "soft_exponential", "xielu"]

_ALPHA = 1.6732632423543772848170429916717
_SCALE = 1.0507009873554804934193349852946

_EXP_BY_ALPHA = tuple((k + 1) / factorial(k + 2) for k in range(20))
"""The series of (1 + (t - 1)*exp(t))/t**2, for abs(t) <= 1."""

_LOG_BY_ALPHA = tuple((k + 1) / (k + 2) for k in range(28))
"""The series of (log(1 - u) + u/(1 - u))/u**2, for abs(u) <= 1/4."""


@activation(
    formula="where(x > 0, x, alpha * expm1(x))",
    source="Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by "
    "exponential linear units, arXiv:1511.07289.",
    cases=(case(alpha=0.5), case(alpha=2.0)),
    relatives={"relu": {"alpha": 0.0}},
    layer="torch.nn.ELU",
    peers={
        "torch": "torch.nn.functional.elu",
        "jax": "jax.nn.elu",
        "keras": "keras.activations.elu",
        "tensorflow": Peer("tf.nn.elu", note="no alpha"),
        "mlx": "mlx.nn.elu",
        "timm": "elu",
    },
    range=(-1.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    smoothness=1,
    kinks=(0.0,),
)
def elu(xp: Namespace, x: Array, alpha: ArrayOrNumber = 1.0) -> Any:
    """Exponential linear unit, x where x > 0, alpha*(exp(x) - 1) elsewhere.

    Parameters
    ----------
    alpha : number or array, optional
        The negative side falls to -alpha; the derivative at 0 is alpha.

    >>> ax.elu(np.array([-np.inf, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return xp.maximum(x, 0.0) + alpha * xp.expm1(xp.minimum(x, 0.0))


@elu.defderivative
def _(xp, x, alpha):
    return xp.where(x > 0, 1.0, _scaled_exp(xp, xp.minimum(x, 0.0), alpha))


def _scaled_exp(xp: Namespace, t: Array, factor: ArrayOrNumber) -> Any:
    """Return factor*exp(t) for t <= 0, which may be normal where the exponential is not."""
    if isinstance(factor, NUMBER) and abs(factor) <= 1:
        return factor * xp.exp(t)
    return factor * xp.exp(clamp_exp_arg(xp, t)) * exp_excess(xp, t)


@elu.defderivative("alpha")
def _(xp, x, alpha):
    return {"alpha": xp.expm1(xp.minimum(x, 0.0))}


@activation(
    formula=f"{_SCALE!r} * where(x > 0, x, {_ALPHA!r} * expm1(x))",
    source="Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    layer="torch.nn.SELU",
    peers={
        "torch": "torch.nn.functional.selu",
        "jax": "jax.nn.selu",
        "keras": "keras.activations.selu",
        "tensorflow": "tf.nn.selu",
        "mlx": "mlx.nn.selu",
        "timm": "selu",
    },
    range=(-_SCALE * _ALPHA, inf),
    monotonic=True,
    fixed_points=(0.0,),
    lipschitz=_SCALE * _ALPHA,
    kinks=(0.0,),
)
def selu(xp: Namespace, x: Array) -> Any:
    """Scaled exponential linear unit, scale*x where x > 0, scale*alpha*(exp(x) - 1) elsewhere.

    With scale = 1.0507... and alpha = 1.6733..., activations keep mean 0 and variance 1 from
    layer to layer.

    >>> ax.selu(np.array([-np.inf, 0.0, 1.0]))
    array([-1.75809934,  0.        ,  1.05070099])
    """
    return _SCALE * xp.maximum(x, 0.0) + (_SCALE * _ALPHA) * xp.expm1(xp.minimum(x, 0.0))


@selu.defderivative
def _(xp, x):
    return xp.where(x > 0, _SCALE, _scaled_exp(xp, xp.minimum(x, 0.0), _SCALE * _ALPHA))


@activation(
    formula="where(x > 0, x, alpha * expm1(x / alpha))",
    source="Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.",
    constraints=("alpha != 0",),
    cases=(case(alpha=0.5), case(alpha=2.0), case(alpha=inf, formula="x")),
    relatives={"elu": {"alpha": 1.0}, "identity": {"alpha": inf}},
    layer="torch.nn.CELU",
    peers={
        "torch": "torch.nn.functional.celu",
        "jax": "jax.nn.celu",
        "keras": "keras.activations.celu",
        "mlx": "mlx.nn.celu",
        "timm": "celu",
    },
    range=(-1.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    smoothness=1,
    kinks=(0.0,),
)
def celu(xp: Namespace, x: Array, alpha: ArrayOrNumber = 1.0) -> Any:
    """Continuously differentiable ELU, x where x > 0, alpha*(exp(x/alpha) - 1) elsewhere.

    Parameters
    ----------
    alpha : number or array, optional
        The negative side falls to -alpha; the derivative at 0 is 1 for any. Not 0; the function
        is x itself where it is infinite.

    >>> ax.celu(np.array([-np.inf, 0.0, 2.0]), 0.5)
    array([-0.5,  0. ,  2. ])
    """
    if isinstance(alpha, NUMBER) and abs(alpha) == inf:
        return x
    low = xp.minimum(x, 0.0)
    if isinstance(alpha, NUMBER) and alpha == 1:
        return xp.maximum(x, 0.0) + xp.expm1(low)
    t = low / alpha
    # t may be so small that it loses digits, or it is 0 and alpha is infinite
    curve = xp.where(xp.abs(t) > TANH_IS_LINEAR_TO, alpha * xp.expm1(t), low)
    return xp.maximum(x, 0.0) + curve


@celu.defderivative
def _(xp, x, alpha):
    if isinstance(alpha, NUMBER) and abs(alpha) == inf:
        return ones_like_nan(xp, x)
    return xp.where(x > 0, 1.0, xp.exp(_over_alpha(xp, x, alpha)))


def _over_alpha(xp: Namespace, x: Array, alpha: Any) -> Any:
    """Return x/alpha for x < 0, bounded where its exponential is 0, and 0 elsewhere."""
    low = xp.minimum(x, 0.0)
    is_low = low / alpha < -1e4
    return xp.where(is_low, -1e4, xp.where(is_low, 0.0, low) / alpha)


@celu.defderivative("alpha")
def _(xp, x, alpha):
    if isinstance(alpha, NUMBER) and abs(alpha) == inf:
        return {"alpha": ones_like_nan(xp, x) - 1}
    is_near, near, far = _near_and_far(xp, _over_alpha(xp, x, alpha))
    curve = near * near * polynomial(near, _EXP_BY_ALPHA)
    return {"alpha": xp.where(is_near, -curve, (1 - far) * xp.exp(far) - 1)}


def _near_and_far(xp: Namespace, t: Any) -> tuple[Any, Any, Any]:
    """Return whether abs(t) < 1, t where it is and 0 elsewhere, and t where it is not, or 1."""
    is_near = xp.abs(t) < 1
    return is_near, xp.where(is_near, t, 0.0), xp.where(is_near, 1.0, t)


@activation(
    formula="where(x > 0, x, x / sqrt(1 + alpha * x * x))",
    source="Carlile et al., Improving deep learning by inverse square root linear units (ISRLUs), "
    "arXiv:1710.09967.",
    constraints=("alpha > 0",),
    cases=(case(alpha=0.25), case(alpha=3.0)),
    layer="ISRLU",
    peers={"echoAI": "echoAI.Activation.Torch.functional.isrlu"},
    range=(-1.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    smoothness=2,
    kinks=(0.0,),
)
def isrlu(xp: Namespace, x: Array, alpha: ArrayOrNumber = 1.0) -> Any:
    """Inverse square root linear unit, x where x > 0, x/sqrt(1 + alpha*x*x) elsewhere.

    Parameters
    ----------
    alpha : number or array, optional
        The negative side falls to -1/sqrt(alpha); greater than 0.

    >>> ax.isrlu(np.array([-np.inf, 0.0, 2.0]), 0.25)
    array([-2.,  0.,  2.])
    """
    return xp.maximum(x, 0.0) + isru.impl(xp, xp.minimum(x, 0.0), alpha)


@isrlu.defderivative
def _(xp, x, alpha):
    return xp.where(x > 0, 1.0, isru.derivative.impl(xp, x, alpha))


@isrlu.defderivative("alpha")
def _(xp, x, alpha):
    y = isru.impl(xp, xp.minimum(x, 0.0), alpha)
    return {"alpha": -0.5 * y * y * y}


@activation(
    formula="exp(x)",
    source="Keras 3.15, keras.activations.exponential.",
    aliases=("exp",),
    peers={
        "torch": "torch.exp",
        "jax": "jax.numpy.exp",
        "keras": "keras.activations.exponential",
        "tensorflow": "tf.math.exp",
        "mlx": "mlx.core.exp",
    },
    range=(0.0, inf),
    monotonic=True,
)
def exponential(xp: Namespace, x: Array) -> Any:
    """Exponential function, exp(x).

    >>> ax.exponential(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 1.        , 2.71828183])
    """
    return xp.exp(x)


@exponential.defderivative
def _(xp, x):
    return xp.exp(x)


@exponential.defcomplex
def _(xp, x):
    return xp.exp(x)


@exponential.defcomplex("derivative")
def _(xp, x):
    return xp.exp(x)


@activation(
    formula="where(x > 0, alpha_p * x * x + beta * x,"
    " alpha_n * (expm1(minimum(x, eps)) - x) + beta * x)",
    source="Huang & Schlag, Deriving activation functions using integration, arXiv:2411.13010.",
    ulp=24.0,  # beside its zero, where the parts have many times its size
    cases=(
        case(alpha_p=0.8, alpha_n=0.8, eps=0.0),
        case(alpha_p=0.8, alpha_n=0.8),
        case(alpha_p=0.25, alpha_n=0.5, beta=1.0, eps=0.0),
    ),
    relatives={
        "elu": {"alpha_p": 0.0, "alpha_n": 1.0, "beta": 1.0, "eps": 0.0},
        "relu_squared": {"alpha_p": 1.0, "alpha_n": 0.0, "beta": 0.0, "eps": 0.0},
        "identity": {"alpha_p": 0.0, "alpha_n": 0.0, "beta": 1.0, "eps": 0.0},
    },
    layer="XIELU",
    peers={
        "transformers": Peer("xielu", note="before softplus"),
        "mlx": "mlx_lm.models.activations.xielu",
    },
    range=(-0.20575122409648211, inf),
    fixed_points=(0.0,),
    limits=(inf, inf),
    smoothness=1,
    kinks=(0.0,),
)
def xielu(
    xp: Namespace,
    x: Array,
    alpha_p: ArrayOrNumber,
    alpha_n: ArrayOrNumber,
    beta: ArrayOrNumber = 0.5,
    eps: ArrayOrNumber = -1e-6,
) -> Any:
    """Expanded integral of the ELU, alpha_p*x*x + beta*x where x > 0, left of it exponential.

    For x <= 0 it is alpha_n*(exp(min(x, eps)) - 1 - x) + beta*x. Where it crosses 0 its error is
    that of the larger term.

    Parameters
    ----------
    alpha_p : number or array
        The curvature of the positive side. Models learn a, and alpha_p is softplus(a).
    alpha_n : number or array
        The curvature of the negative side at 0. Models learn a, and alpha_n is beta + softplus(a);
        transformers, MLX and the authors' kernel take both a instead.
    beta : number or array, optional
        The slope at 0.
    eps : number or array, optional
        The largest argument of the exponential. If it is below 0, as the authors chose for
        bfloat16, the function jumps at 0 by about that much.

    >>> ax.xielu(np.array([-2.0, -1.0, 1.0]), 0.8, 0.8)
    array([-0.09173177, -0.20569645,  1.3       ])
    """
    right, left = xp.maximum(x, 0.0), xp.minimum(x, 0.0)
    curve = xp.expm1(xp.minimum(left, eps))
    # `near` keeps its digits near 0, `far` is right at -inf
    far, near = (beta - alpha_n) * left + alpha_n * curve, alpha_n * (curve - left) + beta * left
    return xp.where(x > 0, right * (alpha_p * right + beta), xp.where(left < -1, far, near))


@xielu.defderivative
def _(xp, x, alpha_p, alpha_n, beta, eps):
    left = alpha_n * xp.where(x > eps, -1.0, xp.expm1(xp.minimum(x, eps))) + beta
    return xp.where(x > 0, 2 * alpha_p * xp.maximum(x, 0.0) + beta, left)


@xielu.defderivative("alpha_p", "alpha_n", "beta", "eps")
def _(xp, x, alpha_p, alpha_n, beta, eps):
    right, left = xp.maximum(x, 0.0), xp.minimum(x, 0.0)
    clipped = xp.minimum(left, eps)
    return {
        "alpha_p": right * right,
        "alpha_n": xp.where(x > 0, 0.0, xp.expm1(clipped) - left),
        "beta": x,
        "eps": xp.where((x > 0) | (x <= eps), 0.0, alpha_n * xp.exp(clipped)),
    }


@activation(
    formula="expm1(alpha * x) / alpha + alpha",
    source="Godfrey & Gashler, A continuum among logarithmic, linear, and exponential functions, "
    "and its potential to improve generalization in neural networks, arXiv:1602.01321.",
    ulp=8.0,  # beside the zero of the exponential side
    cases=(case(alpha=0.5), case(alpha=2.0), case(alpha=0.0, formula="x")),
    relatives={"identity": {"alpha": 0.0}, "exponential": {"alpha": 1.0}},
    peers={
        "echoAI": "echoAI.Activation.Torch.soft_exponential.SoftExponential",
        "torch-activation": "torch_activation.SoftExponential",
    },
    range=(-1.5, inf),
    monotonic=True,
)
def soft_exponential(xp: Namespace, x: Array, alpha: ArrayOrNumber) -> Any:
    """Soft exponential, (exp(alpha*x) - 1)/alpha + alpha, or a logarithm where alpha < 0.

    That is -log(1 - alpha*(x + alpha))/alpha, which ends at 1/alpha - alpha and is NaN below; at
    0 both are x. Where the exponential crosses 0 its error is that of the larger term.

    Parameters
    ----------
    alpha : number or array
        Learned, from 0.

    >>> ax.soft_exponential(np.array([0.0, 1.0, 2.0]), -1.0)
    array([      -inf, 0.        , 0.69314718])
    >>> ax.soft_exponential(np.array([0.0, 1.0, 2.0]), 1.0)
    array([1.        , 2.71828183, 7.3890561 ])
    """
    if isinstance(alpha, NUMBER):
        return _exponential_side(xp, x, alpha) if alpha >= 0 else _logarithm_side(xp, x, alpha)
    high, low = xp.maximum(alpha, 0.0), xp.minimum(alpha, 0.0)
    return xp.where(alpha >= 0, _exponential_side(xp, x, high), _logarithm_side(xp, x, low))


@soft_exponential.defderivative
def _(xp, x, alpha):
    if isinstance(alpha, NUMBER):
        if alpha == 0:  # where exp(0*inf) is NaN
            return ones_like_nan(xp, x)
        return xp.exp(alpha * x) if alpha > 0 else 1 / _argument(xp, x, alpha)
    high, low = xp.maximum(alpha, 0.0), xp.minimum(alpha, 0.0)
    return xp.where(alpha >= 0, xp.exp(high * x), 1 / _argument(xp, x, low))


@soft_exponential.defderivative("alpha")
def _(xp, x, alpha):
    if isinstance(alpha, NUMBER):
        side = _exponential_by_alpha if alpha >= 0 else _logarithm_by_alpha
        return {"alpha": side(xp, x, alpha)}
    right = _exponential_by_alpha(xp, xp.where(alpha >= 0, x, 0.0), xp.maximum(alpha, 0.0))
    left = _logarithm_by_alpha(xp, xp.where(alpha >= 0, 0.0, x), xp.minimum(alpha, 0.0))
    return {"alpha": xp.where(alpha >= 0, right, left)}


def _exponential_by_alpha(xp: Namespace, x: Array, alpha: Any) -> Any:
    if is_zero(alpha):
        return 0.5 * x * x + 1
    is_near, near, far = _near_and_far(xp, alpha * x)
    x, divisor = xp.where(is_near, x, 0.0), xp.where(is_near, ones_like_nan(xp, x), alpha)
    far = clamp_exp_arg(xp, far)
    e = xp.exp(far * 0.5)  # it is divided before it is squared
    curve = (1 / e + (far - 1) * e) / divisor * (e / divisor)
    return xp.where(is_near, x * x * polynomial(near, _EXP_BY_ALPHA), curve) + 1


def _logarithm_by_alpha(xp: Namespace, x: Array, alpha: Any) -> Any:
    u, y = alpha * (alpha + x), _argument(xp, x, alpha)
    is_near = xp.abs(u) < 0.25
    x, divisor = xp.where(is_near, alpha + x, 0.0), xp.where(is_near, ones_like_nan(xp, x), alpha)
    near, far = xp.where(is_near, u, 0.0), xp.where(is_near, 1.0, y)
    # at the end it is inf, not inf - inf
    curve = (xp.log(xp.where(far > 0, far, 1.0)) + (1 / far - 1)) / divisor / divisor
    return xp.where(is_near, x * x * polynomial(near, _LOG_BY_ALPHA), curve) + 1 / y


def _exponential_side(xp: Namespace, x: Array, alpha: Any) -> Any:
    if is_zero(alpha):
        return x
    t = alpha * x
    divisor = alpha if isinstance(alpha, NUMBER) else xp.where(alpha == 0, 1.0, alpha)
    if is_fast(xp, x) and isinstance(alpha, NUMBER) and alpha <= 1:
        return xp.expm1(t) / alpha + alpha
    # it may be finite where the exponential is not
    rise = xp.expm1(xp.minimum(t, SAFE_EXP_ARG)) / divisor
    rise = rise * xp.exp(xp.maximum(t - SAFE_EXP_ARG, 0.0))
    # x*(1 + t/2) is x for so small a t, but its derivative with respect to alpha is right
    small = xp.abs(t) <= TANH_IS_LINEAR_TO
    near = xp.where(small, x, 0.0)
    return xp.where(small, near * (1 + 0.5 * alpha * near), rise) + alpha


def _logarithm_side(xp: Namespace, x: Array, alpha: Any) -> Any:
    u = alpha * (alpha + x)
    near = u < 0.25  # from 0.3 on the log1p of XLA gets worse and worse in float64
    divisor = alpha if isinstance(alpha, NUMBER) else xp.where(alpha == 0, 1.0, alpha)
    curve = xp.log1p(xp.where(near, -u, 0.0)) / -divisor
    curve = xp.where(xp.abs(u) > TANH_IS_LINEAR_TO, curve, (alpha + x) * (1 + 0.5 * u))
    return xp.where(near, curve, xp.log(xp.where(near, 1.0, _argument(xp, x, alpha))) / -divisor)


def _argument(xp: Namespace, x: Array, alpha: Any) -> Any:
    """Return 1 - alpha*(x + alpha) with its digits also near 0, and NaN below."""
    u = alpha * (alpha + x)
    divisor = (
        alpha if isinstance(alpha, NUMBER) else xp.where(u < 0.25, ones_like_nan(xp, x), alpha)
    )
    y = xp.where(u < 0.25, 1 - u, -alpha * (x - (1 / divisor - alpha)))
    return xp.where(y < 0, xp.sqrt(y), y)
