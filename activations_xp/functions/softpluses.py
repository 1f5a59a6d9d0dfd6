"""Softplus and relatives: smooth versions of the rectifier, or of its positive side."""

from __future__ import annotations

from math import inf, pi, sqrt
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import NUMBER, Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import is_array, ones_like_nan, zeros_like
from ..numerics.double_word import fast_two_sum, is_fast, is_uncompensated
from ..numerics.logistic import SAFE_EXP_ARG, clamp_exp_arg, exp_excess, x_logistic_pdf, x_sigmoid
from ..numerics.special import ratio_within_1
from .sigmoids import sigmoid

__all__ = [
    "bent_identity",
    "flatten_t_swish",
    "log_sigmoid",
    "nlrelu",
    "softplus",
    "sparse_plus",
    "sqrt_softplus",
    "squareplus",
]


_WITH_THRESHOLD = "where(beta * x > threshold, x, log(1 + exp(beta * x)) / beta)"


@activation(
    formula="log(1 + exp(beta * x)) / beta",
    source="Dugas et al., Incorporating second-order functional knowledge for better option "
    "pricing, NIPS 2000.",
    ulp=3.0,
    constraints=("beta != 0", "abs(beta) < float('inf')"),
    cases=(
        case(beta=2.0),
        case(beta=-0.5),
        case(threshold=20.0, formula=_WITH_THRESHOLD),
        case(beta=2.0, threshold=20.3, formula=_WITH_THRESHOLD),
    ),
    relatives={"log_sigmoid": {"beta": -1.0}},
    layer="torch.nn.Softplus",
    peers={
        "torch": Peer("torch.nn.functional.softplus", threshold=20),
        "jax": "jax.nn.softplus",
        "keras": "keras.activations.softplus",
        "scipy": "scipy.special.softplus",
        "tensorflow": "tf.nn.softplus",
        "mlx": "mlx.nn.softplus",
    },
    range=(0.0, inf),
    monotonic=True,
    lipschitz=1.0,
)
def softplus(
    xp: Namespace, x: Array, beta: ArrayOrNumber = 1.0, threshold: ArrayOrNumber | None = None
) -> Any:
    """Softplus, log(1 + exp(beta*x))/beta.

    Parameters
    ----------
    beta : number or array, optional
        The sharpness, not 0.
    threshold : number or array, optional
        The function is x where beta*x is over it. None, the default, needs no such cut; torch
        cuts at 20.

    >>> ax.softplus(np.array([-np.inf, 0.0, 20.0]))
    array([ 0.        ,  0.69314718, 20.        ])
    """
    t = beta * x
    is_positive = isinstance(beta, NUMBER) and beta > 0
    line = xp.maximum(x, 0.0) if is_positive else xp.where(t <= 0, 0.0, x)
    y = line + _log_part(xp, -xp.abs(t), beta)
    return y if threshold is None else xp.where(t > threshold, x, y)


def _log_part(xp: Namespace, t: Array, beta: ArrayOrNumber) -> Any:
    """Return log(1 + exp(t))/beta for t <= 0."""
    if isinstance(beta, NUMBER) and abs(beta) >= 1:
        return xp.log1p(xp.exp(t)) / beta
    return xp.log1p(xp.exp(clamp_exp_arg(xp, t))) / beta * exp_excess(xp, t)


@softplus.defderivative
def _(xp, x, beta, threshold):
    t = beta * x
    dy_dx = sigmoid.impl(xp, t)
    return dy_dx if threshold is None else xp.where(t > threshold, 1.0, dy_dx)


@softplus.defderivative("beta", "threshold")
def _(xp, x, beta, threshold):
    t = beta * x
    a = xp.minimum(xp.abs(t), 800.0)  # where it is 0 in float64
    e = xp.exp(-a)
    # softplus(t) - t*sigmoid(t), the entropy of sigmoid(t), is even
    by_beta = -(xp.log1p(e) + a * (e / (1 + e))) / beta / beta
    if threshold is None:
        return {"beta": by_beta}
    return {"beta": xp.where(t > threshold, 0.0, by_beta), "threshold": zeros_like(xp, x)}


@softplus.defcomplex
def _(xp, x, beta, threshold):
    t = cmath.scale(xp, beta, x)
    y = cmath.log1p_exp(xp, t)
    y = cmath.scale(xp, 1 / beta, y)
    return y if threshold is None else xp.where(_is_beyond(xp, t, threshold), x, y)


def _is_beyond(xp: Namespace, t: Any, threshold: Any) -> Any:
    """Return whether the real part of t is larger than that of the threshold."""
    return xp.real(t) > (xp.real(threshold) if is_array(threshold) else threshold)


@softplus.defcomplex("derivative")
def _(xp, x, beta, threshold):
    t = cmath.scale(xp, beta, x)
    dy_dx = cmath.sigmoid(xp, t)
    return dy_dx if threshold is None else xp.where(_is_beyond(xp, t, threshold), 1.0, dy_dx)


@softplus.defcomplex("beta", "threshold")
def _(xp, x, beta, threshold):
    t = cmath.scale(xp, beta, x)
    # softplus(t) - t*sigmoid(t) is even, but for the turns between log(exp(t)) and t
    is_right = xp.real(t) > 0
    left = xp.where(is_right, -t, t)
    log_part = cmath.log1p_exp(xp, left)
    angle = 2 * pi * xp.where(is_right, xp.round(xp.imag(log_part - left) / (2 * pi)), 0.0)
    turns = cmath.make_complex(xp, zeros_like(xp, angle), angle)
    product = xp.where(xp.real(left) < -800, 0.0, left * cmath.sigmoid(xp, left))
    by_beta = -(log_part - product - turns) / beta / beta
    if threshold is None:
        return {"beta": by_beta}
    by_beta = xp.where(_is_beyond(xp, t, threshold), 0.0, by_beta)
    zero = zeros_like(xp, angle)
    return {"beta": by_beta, "threshold": cmath.make_complex(xp, zero, zero)}


@activation(
    formula="-log(1 + exp(-x))",
    source="The logarithm of Verhulst's logistic function; as in PyTorch 2.13.",
    ulp=3.0,
    aliases=("log_expit", "logsigmoid"),
    layer="torch.nn.LogSigmoid",
    peers={
        "torch": "torch.nn.functional.logsigmoid",
        "jax": "jax.nn.log_sigmoid",
        "keras": "keras.activations.log_sigmoid",
        "scipy": "scipy.special.log_expit",
        "tensorflow": "tf.math.log_sigmoid",
        "flax": "flax.linen.log_sigmoid",
        "mlx": "mlx.nn.log_sigmoid",
    },
    range=(-inf, 0.0),
    monotonic=True,
    lipschitz=1.0,
)
def log_sigmoid(xp: Namespace, x: Array) -> Any:
    """Logarithm of the sigmoid, -log(1 + exp(-x)).

    >>> ax.log_sigmoid(np.array([-1000.0, 0.0, 1.0]))
    array([-1.00000000e+03, -6.93147181e-01, -3.13261688e-01])
    """
    return -(_log_part(xp, -xp.abs(x), 1.0) - xp.minimum(x, 0.0))  # -0 at inf


@log_sigmoid.defderivative
def _(xp, x):
    return sigmoid.impl(xp, -x)


@log_sigmoid.defcomplex
def _(xp, x):
    return -cmath.log1p_exp(xp, -x)


@log_sigmoid.defcomplex("derivative")
def _(xp, x):
    return cmath.sigmoid(xp, -x)


@activation(
    formula="where(x > 1, x, maximum(x + 1, 0)**2 / 4)",
    source="Martins & Astudillo, From softmax to sparsemax, arXiv:1602.02068, where its mirror "
    "image is the loss for two classes; the name is that of JAX 0.10.",
    peers={"jax": "jax.nn.sparse_plus", "keras": "keras.activations.sparse_plus"},
    range=(0.0, inf),
    monotonic=True,
    fixed_points=(1.0, 7.5),
    lipschitz=1.0,
    smoothness=1,
    kinks=(-1.0, 1.0),
)
def sparse_plus(xp: Namespace, x: Array) -> Any:
    """Sparse plus, (x + 1)**2/4 between -1 and 1, 0 below, x above.

    >>> ax.sparse_plus(np.array([-2.0, 0.0, 3.0]))
    array([0.  , 0.25, 3.  ])
    """
    dy_dx = sparse_plus.derivative.impl(xp, x)
    return xp.where(x >= 1, x, dy_dx * dy_dx)


@sparse_plus.defderivative
def _(xp, x):
    return (xp.maximum(xp.minimum(x, 1.0), -1.0) + 1) * 0.5


@activation(
    formula="sqrt(log1p(exp(x)))",
    source="DeepSeek-AI, DeepSeek V4, 2026, the scores of its router; as in transformers 5.23.",
    ulp=3.0,
    aliases=("sqrtsoftplus",),
    peers={"transformers": "sqrtsoftplus"},
    range=(0.0, inf),
    monotonic=True,
    lipschitz=0.31908634316947575,
)
def sqrt_softplus(xp: Namespace, x: Array) -> Any:
    """Square root of softplus, sqrt(log(1 + exp(x))).

    >>> ax.sqrt_softplus(np.array([-np.inf, 0.0, 100.0]))
    array([ 0.        ,  0.83255461, 10.        ])
    """
    return xp.sqrt(softplus.impl(xp, clamp_exp_arg(xp, x))) * _sqrt_exp_excess(xp, x)


@sqrt_softplus.defderivative
def _(xp, x):
    x, excess = clamp_exp_arg(xp, x), _sqrt_exp_excess(xp, x)
    return sigmoid.impl(xp, x) / xp.sqrt(softplus.impl(xp, x)) * (0.5 * excess)


def _sqrt_exp_excess(xp: Namespace, x: Array) -> Any:
    """Return the square root of `exp_excess`, to more than half of its exponent."""
    return 1.0 if is_uncompensated(xp) else xp.exp(xp.minimum(x + SAFE_EXP_ARG, 0.0) * 0.5)


@activation(
    formula="(x + sqrt(x*x + b)) / 2",
    source="Barron, Squareplus: a softplus-like algebraic rectifier, arXiv:2112.11687.",
    constraints=("b > 0",),
    cases=(case(b=0.25),),
    peers={
        "jax": "jax.nn.squareplus",
        "keras": "keras.activations.squareplus",
        "torch-activation": Peer("torch_activation.SquarePlus", b=1e-6),
    },
    range=(0.0, inf),
    monotonic=True,
    lipschitz=1.0,
)
def squareplus(xp: Namespace, x: Array, b: ArrayOrNumber = 4.0) -> Any:
    """Squareplus, (x + sqrt(x*x + b))/2.

    Parameters
    ----------
    b : number or array, optional
        The size of the bend, greater than 0; the value at 0 is sqrt(b)/2.

    >>> ax.squareplus(np.array([0.0, 1.5]))
    array([1., 2.])
    """
    return xp.maximum(x, 0.0) + _hyperbola(xp, x, b)[1]


@squareplus.defderivative
def _(xp, x, b):
    hypotenuse, excess = _hyperbola(xp, x, b)
    left = excess / hypotenuse
    return xp.where(x > 0, 1 - left, left)


@squareplus.defderivative("b")
def _(xp, x, b):
    hypotenuse, _ = _hyperbola(xp, x, b)
    return {"b": 0.25 / hypotenuse}


@squareplus.defcomplex
def _(xp, x, b):
    return _complex_squareplus(xp, x, b)


def _complex_squareplus(xp: Namespace, x: Array, b: Any) -> Any:
    root = cmath.sqrt_square_plus(xp, x, b)
    # the sum does not cancel on the right, and the difference not on the left
    is_right = xp.real(x) >= 0
    right = cmath.scale(xp, 0.5, cmath.add(xp, xp.where(is_right, x, -x), root))
    return xp.where(is_right, right, 0.25 * b * cmath.reciprocal(xp, right))


@squareplus.defcomplex("derivative")
def _(xp, x, b):
    return _complex_squareplus(xp, x, b) / cmath.sqrt_square_plus(xp, x, b)


@squareplus.defcomplex("b")
def _(xp, x, b):
    return {"b": 0.25 / cmath.sqrt_square_plus(xp, x, b)}


def _hyperbola(xp: Namespace, x: Array, b: ArrayOrNumber) -> tuple[Any, Any]:
    """Return sqrt(x*x + b) without the square of a large x, and half of its excess over abs(x)."""
    a = xp.abs(x)
    if is_fast(xp, x):  # where the excess is 0 if the square is infinite
        hypotenuse = xp.sqrt(x * x + b)
        return hypotenuse, 0.5 * b / (hypotenuse + a)
    near = xp.minimum(a, 2.0**62 if x.dtype == xp.float32 else 2.0**510)
    hypotenuse = xp.sqrt(near * near + b)
    mean, err = fast_two_sum(0.5 * hypotenuse, 0.5 * near)
    hypotenuse, mean = xp.maximum(hypotenuse, a), xp.maximum(mean, a)
    tail = b * 0.25 / mean
    tail = tail - tail / mean * err
    # near 0 the hypotenuse may be rounded coarser than the value, as it is for b = 4
    width = sqrt(b) if isinstance(b, NUMBER) else xp.sqrt(b)
    low = xp.minimum(a, width)
    bend = 0.5 * (width - low) + low * low / (2 * hypotenuse + 2 * width)
    return hypotenuse, xp.where(a < 0.5 * width, bend, tail)


@activation(
    formula="(sqrt(x*x + 1) - 1) / 2 + x",
    source="No publication claims it; as in echoAI 0.1.3.",
    aliases=("bent_id",),
    peers={
        "echoAI": "echoAI.Activation.Torch.functional.bent_id",
        "torch-activation": "torch_activation.BentIdentity",
    },
    monotonic=True,
    fixed_points=(0.0,),
    lipschitz=1.5,
)
def bent_identity(xp: Namespace, x: Array) -> Any:
    """Bent identity, x + (sqrt(x*x + 1) - 1)/2, with slope 1/2 far to the left, 3/2 to the right.

    >>> ax.bent_identity(np.array([-np.inf, 0.0, 0.75]))
    array([ -inf, 0.   , 0.875])
    """
    # sqrt(x*x + 1) - 1 = x*x/(sqrt(x*x + 1) + 1) does not cancel, nor does sqrt(x*x + 1) - |x|
    # so written; each is used where it is the smaller
    near, far = ratio_within_1(xp, x)
    hypotenuse = xp.sqrt(far * far + near * near)
    if is_fast(xp, x):
        return x * (1 + near / (2 * hypotenuse + 2))
    ratio = 0.5 / (hypotenuse + 1)
    outside = xp.maximum(x, 0.0) + 0.5 * x + (far * ratio - 0.5)
    return xp.where(xp.abs(x) <= 1, x * (1 + near * ratio), outside)


@bent_identity.defderivative
def _(xp, x):
    near, far = ratio_within_1(xp, x)
    return 1 + 0.5 * (near / xp.sqrt(far * far + near * near))


@activation(
    formula="where(x > 0, x / (1 + exp(-x)), 0) + threshold",
    source="Chieng et al., Flatten-T swish: a thresholded ReLU-swish-like activation function for "
    "deep learning, arXiv:1812.06247.",
    ulp=4.0,
    aliases=("fts",),
    cases=(case(threshold=0.0),),
    peers={"echoAI": Peer("echoAI.Activation.Torch.functional.fts", threshold=0)},
    range=(-0.2, inf),
    monotonic=True,
    fixed_points=(-0.2,),
    lipschitz=1.0998393201288669,
    kinks=(0.0,),
)
def flatten_t_swish(xp: Namespace, x: Array, threshold: ArrayOrNumber = -0.2) -> Any:
    """Flatten-T swish, x*sigmoid(x) where x > 0, 0 elsewhere, plus a threshold.

    Where it crosses 0 its error is that of the larger term.

    Parameters
    ----------
    threshold : number or array, optional
        The value below 0.

    >>> ax.flatten_t_swish(np.array([-3.0, 0.0, 1.0]))
    array([-0.2       , -0.2       ,  0.53105858])
    """
    right = xp.maximum(x, 0.0)
    return x_sigmoid(xp, right, right) + threshold


@flatten_t_swish.defderivative
def _(xp, x, threshold):
    return xp.where(x <= 0, 0.0, sigmoid.impl(xp, x) + x_logistic_pdf(xp, x, x))


@flatten_t_swish.defderivative("threshold")
def _(xp, x, threshold):
    return {"threshold": ones_like_nan(xp, x)}


@activation(
    formula="log(1 + beta * maximum(x, 0))",
    source="Liu et al., Natural-logarithm-rectified activation function in convolutional neural "
    "networks, arXiv:1908.03682.",
    constraints=("beta > 0",),
    cases=(case(beta=0.5),),
    layer="NLReLU",
    peers={
        "echoAI": "echoAI.Activation.Torch.nlrelu.NLReLU",
        "torch-activation": "torch_activation.NLReLU",
    },
    range=(0.0, inf),
    monotonic=True,
    fixed_points=(0.0,),
    lipschitz=1.0,
    kinks=(0.0,),
)
def nlrelu(xp: Namespace, x: Array, beta: ArrayOrNumber = 1.0) -> Any:
    """Natural logarithm rectified linear unit, log(1 + beta*max(x, 0)).

    Parameters
    ----------
    beta : number or array, optional
        The slope at 0 from the right, greater than 0.

    >>> ax.nlrelu(np.array([-1.0, 0.0, 1.0]))
    array([0.        , 0.        , 0.69314718])
    """
    return xp.log1p(beta * xp.maximum(x, 0.0))


@nlrelu.defderivative
def _(xp, x, beta):
    return xp.where(x <= 0, 0.0, beta / (1 + beta * xp.maximum(x, 0.0)))


@nlrelu.defderivative("beta")
def _(xp, x, beta):
    near, far = ratio_within_1(xp, xp.maximum(x, 0.0))
    return {"beta": near / (far + beta * near)}
