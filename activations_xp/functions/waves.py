"""Functions that oscillate, or rise and fall."""

from __future__ import annotations

from math import inf, nan, pi
from typing import Any

from .._activation import activation, derivative_of, parameter_derivatives_of, variant
from .._parameters import NUMBER, Scalar
from .._special import FAR, halves
from .._special import gaussian as density
from .._typing import Array, Namespace

__all__ = ["gaussian", "gcu", "sine", "snake"]

_LARGE = 1e30
"""From here on a wave of height 1 is nothing beside x, and not much more would overflow."""

_PI_REST = 1.2246467991473532e-16
"""What pi has over the float64."""


@activation(
    formula="x + sin(frequency * x)**2 / frequency",
    source="Ziyin, Hartwig & Ueda, Neural networks fail to learn periodic functions and how to "
    "fix it, arXiv:2006.08195.",
    ulp=8.0,
    domain=("frequency != 0", "abs(frequency) < float('inf')"),
    variants=(variant(frequency=0.3), variant(frequency=-2.5)),
    elsewhere={
        "tensorflow-addons": "tfa.activations.snake",
        "torch-activation": "torch_activation.Snake",
    },
    monotonic=True,
    fixed_points=(0.0,),
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=2.0,
)
def snake(xp: Namespace, x: Array, frequency: Scalar = 1.0) -> Any:
    """Snake, x + sin(frequency*x)**2/frequency.

    The same as x + (1 - cos(2*frequency*x))/(2*frequency), without its cancellation.

    Parameters
    ----------
    frequency : number or array, optional
        That of the sine, neither 0 nor infinite; learned, for each channel, in vocoders.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.snake(np.array([-np.inf, 0.0, 1.0]))
    array([      -inf, 0.        , 1.70807342])
    """
    s = xp.sin(frequency * xp.where(xp.abs(x) > _LARGE, 0.0, x))
    return x + s * (s / frequency)


@derivative_of(snake)
def _(xp: Namespace, x: Array, frequency: Scalar = 1.0) -> Any:
    # 1 + sin(2*t) = 2*sin(t + pi/4)**2, which keeps its digits where it touches 0
    t, lost = _product(xp, xp.where(xp.abs(x) > _LARGE, 0.0, x), frequency)
    eighth, rest = halves(xp, pi / 4, x)
    u = t + eighth
    back = u - t
    lost = lost + (t - (u - back)) + (eighth - back) + (rest + _PI_REST / 4)
    s = _sine(xp, u, lost)
    return 2 * s * s


@parameter_derivatives_of(snake)
def _(xp: Namespace, x: Array, frequency: Scalar = 1.0) -> Any:
    x = xp.where(xp.abs(x) > _LARGE, 0.0, x)
    t, lost = _product(xp, x, frequency)
    ratio = _sine(xp, t, lost) / frequency
    return {"frequency": ratio * (2 * x * _cosine(xp, t, lost) - ratio)}


@activation(
    formula="x * cos(x)",
    source="Noel et al., Growing cosine unit: a novel oscillatory activation function that can "
    "speedup training and reduce parameters in convolutional neural networks, arXiv:2108.12943.",
    elsewhere={"torch-activation": "torch_activation.GCU"},
    parity="odd",
    fixed_points=(0.0,),
    limits=(nan, nan),
    zero_centred=True,
)
def gcu(xp: Namespace, x: Array) -> Any:
    """Growing cosine unit, x*cos(x).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.gcu(np.array([-np.pi, 0.0, 1.0]))
    array([3.14159265, 0.        , 0.54030231])
    """
    return x * xp.cos(x)


@derivative_of(gcu)
def _(xp: Namespace, x: Array) -> Any:
    return xp.cos(x) - x * xp.sin(x)


@activation(
    formula="exp(-x * x)",
    source="Broomhead & Lowe, Multivariable functional interpolation and adaptive networks, "
    "Complex Systems 2, 1988.",
    ulp=3.0,
    elsewhere={"matlab": "radbas"},
    range=(0.0, 1.0),
    parity="even",
    limits=(0.0, 0.0),
    lipschitz=0.85776388496070675,
)
def gaussian(xp: Namespace, x: Array) -> Any:
    """Gaussian, exp(-x*x).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.gaussian(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 1.        , 0.36787944])
    """
    return density(xp, xp.minimum(xp.abs(x), FAR), 1.0)


@derivative_of(gaussian)
def _(xp: Namespace, x: Array) -> Any:
    x = xp.minimum(xp.maximum(x, -FAR), FAR)
    return -2 * x * density(xp, xp.abs(x), 1.0)


@activation(
    formula="sin(frequency * x)",
    source="Sitzmann et al., Implicit neural representations with periodic activation functions, "
    "arXiv:2006.09661.",
    ulp=2.0,
    variants=(variant(frequency=5.1), variant(frequency=-0.7)),
    elsewhere={"torch-activation": "torch_activation.Sine"},
    range=(-1.0, 1.0),
    parity="odd",
    fixed_points=(0.0,),
    limits=(nan, nan),
    zero_centred=True,
    lipschitz=1.0,
)
def sine(xp: Namespace, x: Array, frequency: Scalar = 1.0) -> Any:
    """Sine, sin(frequency*x).

    Parameters
    ----------
    frequency : number or array, optional
        30 in the first layer of a SIREN.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.sine(np.array([0.0, 0.05, 1.0]), 30.0)
    array([ 0.        ,  0.99749499, -0.98803162])
    """
    if isinstance(frequency, NUMBER) and frequency == 1:
        return xp.sin(x)
    return _sine(xp, *_product(xp, x, frequency))


@derivative_of(sine)
def _(xp: Namespace, x: Array, frequency: Scalar = 1.0) -> Any:
    if isinstance(frequency, NUMBER) and frequency == 1:
        return xp.cos(x)
    return frequency * _cosine(xp, *_product(xp, x, frequency))


@parameter_derivatives_of(sine)
def _(xp: Namespace, x: Array, frequency: Scalar = 1.0) -> Any:
    if isinstance(frequency, NUMBER) and frequency == 1:
        return {"frequency": x * xp.cos(x)}
    return {"frequency": x * _cosine(xp, *_product(xp, x, frequency))}


def _sine(xp: Namespace, t: Array, lost: Array) -> Any:
    """sin(t + lost), where t has lost that much in rounding."""
    s, c = xp.sin(t), xp.cos(t)
    return s + lost * (c - lost * (s / 2 + lost * c / 6))


def _cosine(xp: Namespace, t: Array, lost: Array) -> Any:
    s, c = xp.sin(t), xp.cos(t)
    return c - lost * (s + lost * (c / 2 - lost * s / 6))


def _product(xp: Namespace, x: Array, frequency: Scalar) -> tuple[Any, Any]:
    """frequency*x and what was lost in rounding, which grows with x as no wave does."""
    x = xp.where(xp.abs(frequency * x) < inf, x, 0.0 * x)  # no digit of the sine is known there
    t = frequency * x
    (f, f_rest), (y, y_rest) = halves(xp, frequency, x), halves(xp, x, x)
    lost = ((f * y - t) + f * y_rest + f_rest * y) + f_rest * y_rest
    return t, xp.where(xp.abs(lost) < 1, lost, 0.0)
