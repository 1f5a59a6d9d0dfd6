"""Random functions: dropout, a random slope, and samples of a softmax.

An implementation takes its random numbers, uniform from 0 to 1, as `noise`. The public function
draws them from `rng` where they are not given.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from .._define import NoiseSpec, Peer, activation, case
from .._parameters import ArrayOrNumber, Axis, Mask, Noise, SliceArray
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import (
    arange,
    check_constant_along,
    is_zero,
    one_where_zero,
    ones_like_nan,
    zeros_like,
)
from ..numerics.double_word import veltkamp_split
from .rectifiers import leaky_relu
from .simplex import softmax, subtract_max

__all__ = ["alpha_dropout", "dropout", "feature_alpha_dropout", "gumbel_softmax", "rrelu"]

SELU_LIMIT = -1.7580993408473766
"""The limit of selu at -inf."""

_RETAINED = f"(x - p * ({SELU_LIMIT})) / sqrt((1 - p) * (1 + p * ({SELU_LIMIT})**2))"
"""The formula of alpha dropout where an element is not dropped."""


def _shape(x: Array, **_: Any) -> tuple[int, ...]:
    return tuple(x.shape)


def _channel_shape(x: Array, **_: Any) -> tuple[int, ...]:
    shape = _shape(x)
    if len(shape) < 2:
        raise ValueError(
            f"feature_alpha_dropout: x must have samples and channels for axes, got shape {shape}"
        )
    return (*shape[:2], *(1 for _ in shape[2:]))


@activation(
    formula="where(x > 0, x, (lower + upper) / 2 * x)",
    source="Xu et al., Empirical evaluation of rectified activations in convolutional network, "
    "arXiv:1505.00853.",
    constraints=("lower <= upper",),
    noise=NoiseSpec(_shape),
    cases=(
        case(
            noise=0.25,
            training=True,
            formula="where(x > 0, x, (lower + (upper - lower) * noise) * x)",
        ),
    ),
    relatives={
        "relu": {"lower": 0.0, "upper": 0.0},
        "leaky_relu": {"lower": 0.01, "upper": 0.01},
        "identity": {"lower": 1.0, "upper": 1.0},
    },
    layer="torch.nn.RReLU",
    peers={"torch": "torch.nn.functional.rrelu", "tensorflow-addons": "tfa.activations.rrelu"},
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    kinks=(0.0,),
)
def rrelu(
    xp: Namespace,
    x: Array,
    lower: ArrayOrNumber = 1 / 8,
    upper: ArrayOrNumber = 1 / 3,
    training: bool = False,
    *,
    noise: Noise | None = None,
) -> Any:
    """Randomized leaky rectified linear unit, x where x > 0, x times a random slope elsewhere.

    Parameters
    ----------
    lower : number or array, optional
        The smallest slope.
    upper : number or array, optional
        The largest slope.
    training : bool, optional
        Whether the slope of each element is drawn uniformly from `lower` to `upper`. If False, it
        is their mean everywhere.

    >>> ax.rrelu(np.array([-1.0, 2.0]), 0.25, 0.75)
    array([-0.5,  2. ])
    >>> ax.rrelu(np.array([-1.0, 2.0]), 0.25, 0.75, training=True, noise=np.array([1.0, 0.0]))
    array([-0.75,  2.  ])
    """
    return leaky_relu.impl(xp, x, _negative_slope(xp, x, noise, lower, upper, training))


@rrelu.defderivative
def _(xp, x, lower, upper, training, *, noise):
    negative_slope = _negative_slope(xp, x, noise, lower, upper, training)
    return leaky_relu.derivative.impl(xp, x, negative_slope)


@rrelu.defderivative("lower", "upper")
def _(xp, x, lower, upper, training, *, noise):
    weight = _check_noise(xp, "rrelu", x, noise) if training else 0.5
    by_slope = xp.minimum(x, 0.0)
    return {"lower": (1 - weight) * by_slope, "upper": weight * by_slope}


def _negative_slope(
    xp: Namespace,
    x: Array,
    noise: Any,
    lower: ArrayOrNumber,
    upper: ArrayOrNumber,
    training: bool,
) -> Any:
    if not training:
        return (lower + upper) / 2
    return lower + (upper - lower) * _check_noise(xp, "rrelu", x, noise)


@activation(
    formula="x",
    source="Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, "
    "Journal of Machine Learning Research 15, 2014.",
    constraints=("0 <= p <= 1",),
    noise=NoiseSpec(_shape),
    cases=(
        case(noise=0.75, training=True, formula="x / (1 - p)"),
        case(noise=0.25, p=0.0, training=True),
    ),
    relatives={"identity": {"training": False}},
    layer="torch.nn.Dropout",
    peers={
        "torch": Peer("torch.nn.functional.dropout", training=True),
        "keras": "keras.layers.Dropout",
        "flax": "flax.linen.Dropout",
        "equinox": "equinox.nn.Dropout",
        "tensorflow": "tf.nn.dropout",
        "mlx": "mlx.nn.Dropout",
    },
    monotonic=True,
    parity="odd",
    fixed_points=None,
    lipschitz=1.0,
)
def dropout(
    xp: Namespace,
    x: Array,
    p: ArrayOrNumber = 0.5,
    training: bool = False,
    *,
    noise: Noise | None = None,
) -> Any:
    """Dropout, 0 with probability p and x/(1 - p) otherwise.

    Parameters
    ----------
    p : number or array, optional
        The probability. Its gradient is that of the factor 1/(1 - p) at the same noise.

    Notes
    -----
    Dropped elements are 0 and have no gradient, even if they are not finite. The exception is the
    native kernel of PyTorch, which returns NaN for a dropped infinity. It runs where PyTorch
    samples from its global state.

    >>> ax.dropout(np.array([1.0, 2.0, 3.0]), 0.25, training=True, noise=np.array([0.1, 0.3, 0.9]))
    array([0.        , 2.66666667, 4.        ])
    """
    return _drop(xp, "dropout", x, noise, p, training, lambda: (x / _kept(xp, p), 0.0))


@dropout.defderivative
def _(xp, x, p, training, *, noise):
    return dropout.impl(xp, ones_like_nan(xp, x), p, training, noise=noise)


@dropout.defderivative("p")
def _(xp, x, p, training, *, noise):
    def outcomes():
        return x / _kept(xp, p) / _kept(xp, p), 0.0

    return {"p": _drop(xp, "dropout", zeros_like(xp, x), noise, p, training, outcomes)}


def _kept(xp: Namespace, p: ArrayOrNumber) -> Any:
    """Return 1 - p, and 1 where that would be 0, to be divided by."""
    return 1 - p if isinstance(p, NUMBER) else one_where_zero(xp, 1 - p)


@activation(
    formula="x",
    source="Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    ulp=3.0,
    constraints=("0 <= p <= 1",),
    noise=NoiseSpec(_shape),
    cases=(
        case(noise=0.75, training=True, formula=_RETAINED),
        case(noise=0.25, p=0.0, training=True),
    ),
    relatives={"identity": {"training": False}},
    layer="torch.nn.AlphaDropout",
    peers={"torch": "torch.nn.functional.alpha_dropout", "keras": "keras.layers.AlphaDropout"},
    monotonic=True,
    parity="odd",
    fixed_points=None,
    lipschitz=1.0,
)
def alpha_dropout(
    xp: Namespace,
    x: Array,
    p: ArrayOrNumber = 0.5,
    training: bool = False,
    *,
    noise: Noise | None = None,
) -> Any:
    """Alpha dropout, a*x + b, where x is replaced by selu(-inf) with probability p.

    The factors a and b preserve a mean of 0 and a variance of 1.

    Parameters
    ----------
    p : number or array, optional
        The probability. Its gradient is that of a and b at the same noise.

    >>> ax.alpha_dropout(np.array([1.0, 1.0]), 0.5, training=True, noise=np.array([0.2, 0.7]))
    array([-0.77919393,  1.66559883])
    """
    return _alpha_dropout(xp, "alpha_dropout", x, noise, p, training)


@alpha_dropout.defderivative
def _(xp, x, p, training, *, noise):
    return _alpha_dropout_derivative(xp, "alpha_dropout", x, noise, p, training)


@alpha_dropout.defderivative("p")
def _(xp, x, p, training, *, noise):
    return {"p": _alpha_dropout_by_p(xp, "alpha_dropout", x, noise, p, training)}


@activation(
    formula="x",
    source="Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    ulp=3.0,
    constraints=("0 <= p <= 1",),
    noise=NoiseSpec(_channel_shape),
    cases=(
        case(noise=0.75, training=True, formula=_RETAINED),
        case(noise=0.25, p=0.0, training=True),
    ),
    relatives={"identity": {"training": False}},
    layer="torch.nn.FeatureAlphaDropout",
    peers={"torch": "torch.nn.functional.feature_alpha_dropout"},
    monotonic=True,
    parity="odd",
    fixed_points=None,
    lipschitz=1.0,
)
def feature_alpha_dropout(
    xp: Namespace,
    x: Array,
    p: ArrayOrNumber = 0.5,
    training: bool = False,
    *,
    noise: Noise | None = None,
) -> Any:
    """Alpha dropout of whole channels, a*x + b, where x becomes selu(-inf) with probability p.

    Axis 0 is that of the samples and axis 1 that of the channels. The noise has size 1 along the
    other axes.

    Parameters
    ----------
    p : number or array, optional
        The probability. Its gradient is that of a and b at the same noise.

    >>> noise = np.array([[[0.7], [0.2]]])
    >>> ax.feature_alpha_dropout(np.ones((1, 2, 2)), training=True, noise=noise)
    array([[[ 1.66559883,  1.66559883],
            [-0.77919393, -0.77919393]]])
    """
    return _alpha_dropout(xp, "feature_alpha_dropout", x, noise, p, training)


@feature_alpha_dropout.defderivative
def _(xp, x, p, training, *, noise):
    return _alpha_dropout_derivative(xp, "feature_alpha_dropout", x, noise, p, training)


@feature_alpha_dropout.defderivative("p")
def _(xp, x, p, training, *, noise):
    return {"p": _alpha_dropout_by_p(xp, "feature_alpha_dropout", x, noise, p, training)}


def _alpha_dropout(
    xp: Namespace, function: str, x: Array, noise: Any, p: ArrayOrNumber, training: bool
) -> Any:
    def outcomes() -> tuple[Any, Any]:
        mean_hi, mean_lo = veltkamp_split(xp, p * SELU_LIMIT, x)
        retained = (x - mean_hi - mean_lo) * _inv_std(xp, p)
        return retained, (1 - p) * SELU_LIMIT * _inv_std(xp, p)

    return _drop(xp, function, x, noise, p, training, outcomes)


def _alpha_dropout_derivative(
    xp: Namespace, function: str, x: Array, noise: Any, p: ArrayOrNumber, training: bool
) -> Any:
    one = ones_like_nan(xp, x)
    return _drop(xp, function, one, noise, p, training, lambda: (_inv_std(xp, p) * one, 0.0))


def _alpha_dropout_by_p(
    xp: Namespace, function: str, x: Array, noise: Any, p: ArrayOrNumber, training: bool
) -> Any:
    def outcomes() -> tuple[Any, Any]:
        a, square = _inv_std(xp, p), SELU_LIMIT * SELU_LIMIT
        da_dp = a * a * a * (0.5 + (p - 0.5) * square)
        retained = (x - p * SELU_LIMIT) * da_dp - SELU_LIMIT * a
        return retained, SELU_LIMIT * ((1 - p) * da_dp - a)

    return _drop(xp, function, zeros_like(xp, x), noise, p, training, outcomes)


def _drop(
    xp: Namespace,
    function: str,
    x: Array,
    noise: Any,
    p: ArrayOrNumber,
    training: bool,
    outcomes: Callable[[], tuple[Any, Any]],
) -> Any:
    """Return x with a random part of its elements dropped.

    Only if p is neither the number 0 nor 1, `outcomes` is called, which returns the values of
    elements that are retained and of those that are dropped.
    """
    if not training or is_zero(p):
        return x
    if isinstance(p, NUMBER) and p == 1:
        return zeros_like(xp, x)
    retained, dropped = outcomes()
    return xp.where(_check_noise(xp, function, x, noise) < p, dropped, retained)


def _inv_std(xp: Namespace, p: ArrayOrNumber) -> Any:
    """Return 1/(standard deviation) of a standard normal x after its replacement by the limit."""
    variance = _kept(xp, p) * (1 + p * SELU_LIMIT * SELU_LIMIT)
    return 1 / (sqrt(variance) if isinstance(p, NUMBER) else xp.sqrt(variance))


@activation(
    formula="exp((x - log(-log(noise))) / tau) / sum(exp((x - log(-log(noise))) / tau))",
    source="Jang, Gu & Poole, Categorical reparameterization with Gumbel-softmax, "
    "arXiv:1611.01144; Maddison, Mnih & Teh, The concrete distribution, arXiv:1611.00712.",
    ulp=20.0,
    constraints=("tau > 0",),
    noise=NoiseSpec(_shape),
    cases=(case(noise=0.75), case(noise=0.25, tau=0.5)),
    peers={
        "torch": "torch.nn.functional.gumbel_softmax",
        "optax": Peer("optax.perturbations.make_perturbed_fun", note="more general"),
    },
    output_axis="kept",
    range=(0.0, 1.0),
    sums_to=1.0,
)
def gumbel_softmax(
    xp: Namespace,
    x: Array,
    tau: SliceArray = 1.0,
    hard: bool = False,
    axis: Axis = -1,
    where: Mask | None = None,
    *,
    noise: Noise | None = None,
) -> Any:
    """Gumbel-softmax, softmax((x - log(-log(u)))/tau) along an axis with uniform noise u.

    The index of the largest element is a sample from the distribution softmax(x).

    Parameters
    ----------
    tau : number or array, optional
        The temperature, of all slices or of each. The lower it is, the closer the result is to a
        one-hot sample.
    hard : bool, optional
        Whether the result is the one-hot sample itself. Its gradient is that of the soft result
        (straight-through estimator).

    >>> ax.gumbel_softmax(np.zeros(2), noise=np.array([0.9, 0.1]))
    array([0.95624464, 0.04375536])
    >>> ax.gumbel_softmax(np.zeros(2), hard=True, noise=np.array([0.9, 0.1]))
    array([1., 0.])
    """
    y = softmax.impl(xp, _perturb(xp, x, noise, tau, axis, where), axis, where)
    if not hard or 0 in x.shape:
        return y
    shape = tuple(n if i == axis else 1 for i, n in enumerate(x.shape))
    classes = xp.reshape(arange(xp, x, x.shape[axis]), shape)
    sample = xp.astype(xp.argmax(y, axis=axis, keepdims=True), x.dtype)
    return xp.where(y > 0, xp.astype(classes == sample, x.dtype), y)


@gumbel_softmax.defvjp
def _(xp, g, x, tau, hard, axis, where, *, noise):
    z = _perturb(xp, x, noise, tau, axis, where)
    return {"x": softmax.vjp.impl(xp, g, z, axis, where)["x"] / tau}


@gumbel_softmax.defderivative("tau")
def _(xp, x, tau, hard, axis, where, *, noise):
    z = _perturb(xp, x, noise, tau, axis, where)
    y = softmax.impl(xp, z, axis, where)
    z = xp.where(y == 0, 0.0, z)
    mean = xp.sum(y * z, axis=axis, keepdims=True)
    return {"tau": y * (mean - z) / tau}


def _perturb(
    xp: Namespace,
    x: Array,
    noise: Any,
    tau: float | Array,
    axis: int,
    where: Mask | None,
) -> Any:
    """Return the logits with Gumbel noise, divided by the temperature.

    They are taken relative to the largest x, so that only the difference is rounded.
    """
    check_constant_along("gumbel_softmax", "tau", tau, x, (axis,))
    if 0 in x.shape:
        return x
    least = float(xp.finfo(x.dtype).smallest_normal)  # the noise may be 0
    uniform = xp.maximum(_check_noise(xp, "gumbel_softmax", x, noise), least)
    return (subtract_max(xp, x, axis, where) - xp.log(-xp.log(uniform))) / tau


def _check_noise(xp: Namespace, function: str, x: Array, noise: Any) -> Any:
    """Return the noise, a number as an array like x; it must have been given or drawn."""
    if noise is None:
        raise TypeError(f"{function}: noise must be given in training")
    return noise * ones_like_nan(xp, x) if isinstance(noise, NUMBER) else noise
