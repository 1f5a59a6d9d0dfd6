"""Waves: functions that oscillate, or rise and fall."""

from __future__ import annotations

from math import inf, nan, pi
from typing import Any

from .._define import activation, case
from .._parameters import ArrayOrNumber
from .._typing import NUMBER, Array, Namespace
from ..numerics.double_word import is_fast, round_off, two_sum, veltkamp_split
from ..numerics.special import (
    NORMAL_TAIL_CUTOFF,
    exp_neg_square,
    one_minus_sin2_over_x,
    tail_distance,
)

__all__ = ["gaussian", "gcu", "sine", "snake"]

_WAVE_IS_0_FROM = 1e30
"""From here on a wave of height 1 is nothing beside x, and not much more would overflow."""

_PI_LO = 1.2246467991473532e-16
"""pi minus the float64 nearest to it."""


@activation(
    formula="x + sin(frequency * x)**2 / frequency",
    source="Ziyin, Hartwig & Ueda, Neural networks fail to learn periodic functions and how to "
    "fix it, arXiv:2006.08195.",
    ulp=4.0,
    constraints=("frequency != 0", "abs(frequency) < float('inf')"),
    cases=(case(frequency=0.3), case(frequency=-2.5)),
    peers={
        "tensorflow-addons": "tfa.activations.snake",
        "torch-activation": "torch_activation.Snake",
    },
    monotonic=True,
    fixed_points=(0.0,),
    lipschitz=2.0,
)
def snake(xp: Namespace, x: Array, frequency: ArrayOrNumber = 1.0) -> Any:
    """Snake, x + sin(frequency*x)**2/frequency.

    The same as x + (1 - cos(2*frequency*x))/(2*frequency), without its cancellation.

    Parameters
    ----------
    frequency : number or array, optional
        The frequency of the sine, neither 0 nor infinite. Vocoders learn one for each channel.

    >>> ax.snake(np.array([-np.inf, 0.0, 1.0]))
    array([      -inf, 0.        , 1.70807342])
    """
    if is_fast(xp, x):
        s = xp.sin(frequency * xp.minimum(xp.maximum(x, -_WAVE_IS_0_FROM), _WAVE_IS_0_FROM))
        return x + s * (s / frequency)
    near = xp.where(xp.abs(x) > _WAVE_IS_0_FROM, 0.0, x)
    t = frequency * near
    s = xp.sin(t)
    lo = sum(_to_words(frequency, 24)[1:]) if x.dtype == xp.float32 else 0.0
    # near its minimum over x the wave cancels most of x
    ratio, is_near = one_minus_sin2_over_x(xp, -t, -lo * near)
    return xp.where(is_near, x * ratio, x + s * (s / frequency))


@snake.defderivative
def _(xp, x, frequency):
    x = xp.where(xp.abs(x) == inf, 0.0, x)
    if is_fast(xp, x):
        s = xp.sin(frequency * x) + xp.cos(frequency * x)
        return s * s  # 1 + sin(2*t)
    # 1 + sin(2*t) = 2*sin(t + pi/4)**2, which keeps its digits where it touches 0
    t, *small = _exact_product(xp, x, frequency)
    pi_4, pi_4_lo = veltkamp_split(xp, pi / 4, x)
    u, err = two_sum(t, pi_4)
    s, _ = _sin_cos_of_sum(xp, u, err + (pi_4_lo + _PI_LO / 4), *small)
    return 2 * s * s


@snake.defderivative("frequency")
def _(xp, x, frequency):
    x = xp.where(xp.abs(x) > _WAVE_IS_0_FROM, 0.0, x)
    s, c = _sin_cos_of_sum(xp, *_exact_product(xp, x, frequency))
    ratio = s / frequency
    return {"frequency": ratio * (2 * x * c - ratio)}


@activation(
    formula="x * cos(x)",
    source="Noel et al., Growing cosine unit: a novel oscillatory activation function that can "
    "speedup training and reduce parameters in convolutional neural networks, arXiv:2108.12943.",
    layer="GCU",
    peers={"torch-activation": "torch_activation.GCU"},
    parity="odd",
    fixed_points=(0.0,),
    limits=(nan, nan),
)
def gcu(xp: Namespace, x: Array) -> Any:
    """Growing cosine unit, x*cos(x).

    >>> ax.gcu(np.array([-np.pi, 0.0, 1.0]))
    array([3.14159265, 0.        , 0.54030231])
    """
    return x * xp.cos(x)


@gcu.defderivative
def _(xp, x):
    return xp.cos(x) - x * xp.sin(x)


@activation(
    formula="exp(-x * x)",
    source="Broomhead & Lowe, Multivariable functional interpolation and adaptive networks, "
    "Complex Systems 2, 1988.",
    peers={"matlab": "radbas"},
    range=(0.0, 1.0),
    parity="even",
    limits=(0.0, 0.0),
    lipschitz=0.85776388496070675,
)
def gaussian(xp: Namespace, x: Array) -> Any:
    """Gaussian, exp(-x*x).

    >>> ax.gaussian(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 1.        , 0.36787944])
    """
    return exp_neg_square(xp, tail_distance(xp, x), 1.0)


@gaussian.defderivative
def _(xp, x):
    x = xp.minimum(xp.maximum(x, -NORMAL_TAIL_CUTOFF), NORMAL_TAIL_CUTOFF)
    return exp_neg_square(xp, xp.abs(x), 1.0, -2 * x)


@activation(
    formula="sin(frequency * x)",
    source="Sitzmann et al., Implicit neural representations with periodic activation functions, "
    "arXiv:2006.09661.",
    cases=(case(frequency=5.1), case(frequency=-0.7)),
    peers={"torch-activation": "torch_activation.Sine"},
    range=(-1.0, 1.0),
    parity="odd",
    fixed_points=(0.0,),
    limits=(nan, nan),
    lipschitz=1.0,
)
def sine(xp: Namespace, x: Array, frequency: ArrayOrNumber = 1.0) -> Any:
    """Sine, sin(frequency*x), accurate for a large x too.

    Where frequency*x overflows it counts as 0.

    Parameters
    ----------
    frequency : number or array, optional
        30 in the first layer of a SIREN.

    >>> ax.sine(np.array([0.0, 0.05, 1.0]), 30.0)
    array([ 0.        ,  0.99749499, -0.98803162])
    """
    if isinstance(frequency, NUMBER) and frequency == 1:
        return xp.sin(x)
    return _sin_cos_of_sum(xp, *_exact_product(xp, x, frequency))[0]


@sine.defderivative
def _(xp, x, frequency):
    if isinstance(frequency, NUMBER) and frequency == 1:
        return xp.cos(x)
    return frequency * _sin_cos_of_sum(xp, *_exact_product(xp, x, frequency))[1]


@sine.defderivative("frequency")
def _(xp, x, frequency):
    if isinstance(frequency, NUMBER) and frequency == 1:
        return {"frequency": x * xp.cos(x)}
    return {"frequency": x * _sin_cos_of_sum(xp, *_exact_product(xp, x, frequency))[1]}


def _sin_cos_of_sum(xp: Namespace, *angles: Array) -> tuple[Any, Any]:
    """Return the sine and the cosine of a sum, whose terms fall in size."""
    s, c = xp.sin(angles[0]), xp.cos(angles[0])
    for angle in angles[1:]:
        sin, cos = xp.sin(angle), xp.cos(angle)
        s, c = s * cos + c * sin, c * cos - s * sin
    return s, c


def _exact_product(xp: Namespace, x: Array, frequency: ArrayOrNumber) -> list[Any]:
    """Return arrays of x's dtype, the first of them frequency*x, whose sum is that exactly.

    The last digit of a large product decides where in the wave it is. A frequency that is a Python
    number may have more digits than the dtype holds, and is taken in words.
    """
    x = xp.where(xp.abs(frequency * x) < inf, x, 0.0 * x)  # no digit of the sine is known there
    digits, scale = (24, 2.0**14) if x.dtype == xp.float32 else (53, 2.0**29)
    small = x / scale  # a large x cannot be split
    x_hi, x_lo = veltkamp_split(xp, small, x)
    words: list[Any] = []
    for part in _to_words(frequency, digits):
        t = part * x
        hi, lo = veltkamp_split(xp, part, x)
        err = ((hi * x_hi - t / scale) + hi * x_lo + lo * x_hi) + lo * x_lo
        # a small product has lost its digits to the scale; there the sine is the angle
        err = xp.where(xp.abs(t) > 2.0**-40, err * scale, 0.0)
        for k, word in enumerate(words):  # from the largest to the smallest
            words[k], t = two_sum(word, t)
        words += [t, err]
    return words


def _to_words(frequency: ArrayOrNumber, digits: int) -> list[Any]:
    """Return numbers of so many digits, the largest first, whose sum is the frequency."""
    if not isinstance(frequency, NUMBER) or digits == 53:
        return [frequency]
    words: list[float] = []
    while frequency != 0 and len(words) < 3:
        words.append(round_off(frequency, 53 - digits))
        frequency = frequency - words[-1]
    return words or [0.0]
