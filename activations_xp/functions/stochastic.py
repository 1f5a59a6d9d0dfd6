"""Functions that leave something to chance.

The computation is told the chance by `noise`, numbers from 0 to 1, which the public function draws
by `rng` where it is not given.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Any

from .._define import NoiseSpec, Peer, activation, case
from .._parameters import Axis, Mask, Noise, Number
from .._special import halves
from .._typing import NUMBER, Array, Namespace
from ..numerics.arrays import arange, ones_like_nan, zeros_like
from .rectifiers import leaky_relu
from .simplex import softmax, subtract_max

__all__ = ["alpha_dropout", "dropout", "feature_alpha_dropout", "gumbel_softmax", "rrelu"]

_LEAST = -1.7580993408473766
"""The limit of selu at -inf."""

_KEPT = f"(x - p * ({_LEAST})) / sqrt((1 - p) * (1 + p * ({_LEAST})**2))"


def _shape(x: Array, **_: Any) -> tuple[int, ...]:
    return tuple(x.shape)


def _channel_shape(x: Array, **_: Any) -> tuple[int, ...]:
    shape = _shape(x)
    if len(shape) < 2:
        raise ValueError(f"x must have samples and channels for axes, got shape {shape}")
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
    peers={
        "torch": "torch.nn.functional.rrelu",
        "tensorflow-addons": "tfa.activations.rrelu",
    },
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=1.0,
    smoothness=0,
    kinks=(0.0,),
)
def rrelu(
    xp: Namespace,
    x: Array,
    lower: Number = 1 / 8,
    upper: Number = 1 / 3,
    training: bool = False,
    *,
    noise: Noise | None = None,
) -> Any:
    """Randomized leaky rectified linear unit, x where x > 0, x times a random slope elsewhere.

    Parameters
    ----------
    lower : number, optional
        The least slope.
    upper : number, optional
        The largest slope.
    training : bool, optional
        Whether each element has a slope of its own, anywhere from `lower` to `upper`. Else all
        have the one in the middle.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.rrelu(np.array([-1.0, 2.0]), 0.25, 0.75)
    array([-0.5,  2. ])
    >>> ax.rrelu(np.array([-1.0, 2.0]), 0.25, 0.75, training=True, noise=np.array([1.0, 0.0]))
    array([-0.75,  2.  ])
    """
    return leaky_relu.impl(xp, x, _slope(xp, x, noise, lower, upper, training))


@rrelu.defderivative
def _(
    xp,
    x,
    lower,
    upper,
    training,
    *,
    noise,
):
    slope = _slope(xp, x, noise, lower, upper, training)
    return leaky_relu.derivative.impl(xp, x, slope)


def _slope(xp: Namespace, x: Array, noise: Any, lower: float, upper: float, training: bool) -> Any:
    if not training:
        return (lower + upper) / 2
    return lower + (upper - lower) * _given(xp, "rrelu", x, noise)


@activation(
    formula="x",
    source="Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, "
    "Journal of Machine Learning Research 15, 2014.",
    constraints=("0 <= p <= 1",),
    noise=NoiseSpec(_shape),
    cases=(
        case(noise=0.75, training=True, formula="2 * x"),
        case(noise=0.25, p=0.0, training=True),
    ),
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
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=1.0,
)
def dropout(
    xp: Namespace, x: Array, p: Number = 0.5, training: bool = False, *, noise: Noise | None = None
) -> Any:
    """Dropout, 0 with the probability p and x/(1 - p) else.

    Parameters
    ----------
    p : number, optional
        The probability, from 0 to 1.
    training : bool, optional
        Whether anything is dropped; else the result is x.

    Notes
    -----
    What is dropped is 0 and has no gradient, whatever it was; but for an infinite number, which
    PyTorch's own kernel makes NaN of. That runs where PyTorch draws from its global state.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.dropout(np.array([1.0, 2.0, 3.0]), 0.25, training=True, noise=np.array([0.1, 0.3, 0.9]))
    array([0.        , 2.66666667, 4.        ])
    """
    return _dropped(xp, "dropout", x, noise, p, training, lambda: (x / (1 - p), 0.0))


@dropout.defderivative
def _(xp, x, p, training, *, noise):
    return dropout.impl(xp, ones_like_nan(xp, x), p, training, noise=noise)


@activation(
    formula="x",
    source="Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    ulp=3.0,
    constraints=("0 <= p <= 1",),
    noise=NoiseSpec(_shape),
    cases=(
        case(noise=0.75, training=True, formula=_KEPT),
        case(noise=0.25, p=0.0, training=True),
    ),
    peers={
        "torch": "torch.nn.functional.alpha_dropout",
        "keras": "keras.layers.AlphaDropout",
    },
    monotonic=True,
    parity="odd",
    fixed_points=None,
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=1.0,
)
def alpha_dropout(
    xp: Namespace, x: Array, p: Number = 0.5, training: bool = False, *, noise: Noise | None = None
) -> Any:
    """Alpha dropout, a*x + b, of which x is selu(-inf) with the probability p.

    The a and b are those that keep a mean of 0 and a variance of 1.

    Parameters
    ----------
    p : number, optional
        The probability, from 0 to 1; with 1 the result is 0.
    training : bool, optional
        Whether anything is dropped; else the result is x.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.alpha_dropout(np.array([1.0, 1.0]), 0.5, training=True, noise=np.array([0.2, 0.7]))
    array([-0.77919393,  1.66559883])
    """
    return _normal(xp, "alpha_dropout", x, noise, p, training)


@alpha_dropout.defderivative
def _(xp, x, p, training, *, noise):
    return _normal_slope(xp, "alpha_dropout", x, noise, p, training)


@activation(
    formula="x",
    source="Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    ulp=3.0,
    constraints=("0 <= p <= 1",),
    noise=NoiseSpec(_channel_shape),
    cases=(
        case(noise=0.75, training=True, formula=_KEPT),
        case(noise=0.25, p=0.0, training=True),
    ),
    peers={"torch": "torch.nn.functional.feature_alpha_dropout"},
    monotonic=True,
    parity="odd",
    fixed_points=None,
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=1.0,
)
def feature_alpha_dropout(
    xp: Namespace, x: Array, p: Number = 0.5, training: bool = False, *, noise: Noise | None = None
) -> Any:
    """Alpha dropout of whole channels, a*x + b, of which x is selu(-inf) with the probability p.

    Axis 0 has the samples and axis 1 the channels; the noise has 1 for the size of the others.

    Parameters
    ----------
    p : number, optional
        The probability, from 0 to 1; with 1 the result is 0.
    training : bool, optional
        Whether anything is dropped; else the result is x.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> noise = np.array([[[0.7], [0.2]]])
    >>> ax.feature_alpha_dropout(np.ones((1, 2, 2)), training=True, noise=noise)
    array([[[ 1.66559883,  1.66559883],
            [-0.77919393, -0.77919393]]])
    """
    return _normal(xp, "feature_alpha_dropout", x, noise, p, training)


@feature_alpha_dropout.defderivative
def _(xp, x, p, training, *, noise):
    return _normal_slope(xp, "feature_alpha_dropout", x, noise, p, training)


def _normal(xp: Namespace, function: str, x: Array, noise: Any, p: float, training: bool) -> Any:
    def parts() -> tuple[Any, Any]:
        mean, rest = halves(xp, p * _LEAST, x)
        return (x - mean - rest) * _scale(p), (1 - p) * _LEAST * _scale(p)

    return _dropped(xp, function, x, noise, p, training, parts)


def _normal_slope(
    xp: Namespace, function: str, x: Array, noise: Any, p: float, training: bool
) -> Any:
    one = ones_like_nan(xp, x)
    return _dropped(xp, function, one, noise, p, training, lambda: (_scale(p) * one, 0.0))


def _dropped(
    xp: Namespace,
    function: str,
    x: Array,
    noise: Any,
    p: float,
    training: bool,
    parts: Callable[[], tuple[Any, Any]],
) -> Any:
    """X itself, or 0 where all is dropped; else what is kept and what comes instead, in `parts`."""
    if not training or p == 0:
        return x
    if p == 1:
        return zeros_like(xp, x)
    kept, instead = parts()
    return xp.where(_given(xp, function, x, noise) < p, instead, kept)


def _scale(p: float) -> float:
    """One over the standard deviation of a normal x with what takes its place."""
    return 1 / sqrt((1 - p) * (1 + p * _LEAST * _LEAST))


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
    tau: Number = 1.0,
    hard: bool = False,
    axis: Axis = -1,
    where: Mask | None = None,
    *,
    noise: Noise | None = None,
) -> Any:
    """Gumbel-softmax, softmax((x - log(-log(u)))/tau) along an axis with uniform noise u.

    The largest element is a sample of the classes, of which softmax(x) has the probabilities.

    Parameters
    ----------
    tau : number, optional
        The temperature; the lower it is, the nearer the result is to 1 at the sample.
    hard : bool, optional
        Whether the result is the sample itself, 1 there and 0 elsewhere. It has the gradient that
        it has without (straight through).
    axis : int, optional
        The axis of the classes.
    where : boolean array, optional
        True takes part. The others get 0 and no gradient, whatever they hold; so does a slice of
        which nothing takes part.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.gumbel_softmax(np.zeros(2), noise=np.array([0.9, 0.1]))
    array([0.95624464, 0.04375536])
    >>> ax.gumbel_softmax(np.zeros(2), hard=True, noise=np.array([0.9, 0.1]))
    array([1., 0.])
    """
    y = softmax.impl(xp, _perturbed(xp, x, noise, tau, axis, where), axis, where)
    if not hard or 0 in x.shape:
        return y
    shape = tuple(n if i == axis else 1 for i, n in enumerate(x.shape))
    classes = xp.reshape(arange(xp, x, x.shape[axis]), shape)
    sample = xp.astype(xp.argmax(y, axis=axis, keepdims=True), x.dtype)
    return xp.where(y > 0, xp.astype(classes == sample, x.dtype), y)


@gumbel_softmax.defvjp
def _(
    xp,
    g,
    x,
    tau,
    hard,
    axis,
    where,
    *,
    noise,
):
    z = _perturbed(xp, x, noise, tau, axis, where)
    return {"x": softmax.vjp.impl(xp, g, z, axis, where)["x"] / tau}


def _perturbed(
    xp: Namespace, x: Array, noise: Any, tau: float, axis: int, where: Mask | None
) -> Any:
    """What the softmax is of, where only the difference from the largest x is rounded."""
    if 0 in x.shape:
        return x
    noise = _given(xp, "gumbel_softmax", x, noise)
    least = float(xp.finfo(x.dtype).smallest_normal)  # for the noise may be 0
    return (subtract_max(xp, x, axis, where) - xp.log(-xp.log(xp.maximum(noise, least)))) / tau


def _given(xp: Namespace, function: str, x: Array, noise: Any) -> Any:
    if noise is None:
        raise TypeError(f"{function}: noise must be given in training")
    return noise * ones_like_nan(xp, x) if isinstance(noise, NUMBER) else noise
