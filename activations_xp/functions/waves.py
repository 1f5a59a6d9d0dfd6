"""Functions that oscillate, or rise and fall."""

from __future__ import annotations

from math import inf, nan, pi
from typing import Any

from .._define import activation, case
from .._parameters import ArrayOrNumber
from .._special import FAR, dipped, halves, leading, summed_anyhow
from .._special import gaussian as density
from .._typing import NUMBER, Array, Namespace

__all__ = ["gaussian", "gcu", "sine", "snake"]

_LARGE = 1e30
"""From here on a wave of height 1 is nothing beside x, and not much more would overflow."""

_PI_REST = 1.2246467991473532e-16
"""What pi has over the float64."""


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
    limits=(-inf, inf),
    zero_centred=True,
    lipschitz=2.0,
)
def snake(xp: Namespace, x: Array, frequency: ArrayOrNumber = 1.0) -> Any:
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
    near = xp.where(xp.abs(x) > _LARGE, 0.0, x)
    t = frequency * near
    s = xp.sin(t)
    rest = sum(_parts(frequency, 24)[1:]) if x.dtype == xp.float32 else 0.0
    dip, is_near = dipped(xp, -t, -rest * near)  # where most of x is taken away
    return xp.where(is_near, x * dip, x + s * (s / frequency))


@snake.defderivative
def _(xp, x, frequency):
    # 1 + sin(2*t) = 2*sin(t + pi/4)**2, which keeps its digits where it touches 0
    t, *rest = _product(xp, xp.where(xp.abs(x) == inf, 0.0, x), frequency)
    eighth, little = halves(xp, pi / 4, x)
    u, lost = summed_anyhow(t, eighth)
    s, _ = _turned(xp, u, lost + (little + _PI_REST / 4), *rest)
    return 2 * s * s


@snake.defderivative("frequency")
def _(xp, x, frequency):
    x = xp.where(xp.abs(x) > _LARGE, 0.0, x)
    s, c = _turned(xp, *_product(xp, x, frequency))
    ratio = s / frequency
    return {"frequency": ratio * (2 * x * c - ratio)}


@activation(
    formula="x * cos(x)",
    source="Noel et al., Growing cosine unit: a novel oscillatory activation function that can "
    "speedup training and reduce parameters in convolutional neural networks, arXiv:2108.12943.",
    peers={"torch-activation": "torch_activation.GCU"},
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

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.gaussian(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 1.        , 0.36787944])
    """
    return density(xp, xp.minimum(xp.abs(x), FAR), 1.0)


@gaussian.defderivative
def _(xp, x):
    x = xp.minimum(xp.maximum(x, -FAR), FAR)
    return density(xp, xp.abs(x), 1.0, -2 * x)


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
    zero_centred=True,
    lipschitz=1.0,
)
def sine(xp: Namespace, x: Array, frequency: ArrayOrNumber = 1.0) -> Any:
    """Sine, sin(frequency*x), right for a large x too.

    Where frequency*x overflows it counts as 0.

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
    return _turned(xp, *_product(xp, x, frequency))[0]


@sine.defderivative
def _(xp, x, frequency):
    if isinstance(frequency, NUMBER) and frequency == 1:
        return xp.cos(x)
    return frequency * _turned(xp, *_product(xp, x, frequency))[1]


@sine.defderivative("frequency")
def _(xp, x, frequency):
    if isinstance(frequency, NUMBER) and frequency == 1:
        return {"frequency": x * xp.cos(x)}
    return {"frequency": x * _turned(xp, *_product(xp, x, frequency))[1]}


def _turned(xp: Namespace, *angles: Array) -> tuple[Any, Any]:
    """The sine and the cosine of a sum, whose parts but the first are small or wanted exactly."""
    s, c = xp.sin(angles[0]), xp.cos(angles[0])
    for angle in angles[1:]:
        by_s, by_c = xp.sin(angle), xp.cos(angle)
        s, c = s * by_c + c * by_s, c * by_c - s * by_s
    return s, c


def _product(xp: Namespace, x: Array, frequency: ArrayOrNumber) -> list[Any]:
    """Numbers of x's dtype, the first of them frequency*x, whose sum is that to the last digit.

    The last digit of a large product decides where in the wave it is. A frequency that is a Python
    number may have more digits than the dtype holds, and is taken in parts.
    """
    x = xp.where(xp.abs(frequency * x) < inf, x, 0.0 * x)  # no digit of the sine is known there
    digits, scale = (24, 2.0**14) if x.dtype == xp.float32 else (53, 2.0**29)
    small = x / scale  # of a large x no head could be taken
    head, rest = halves(xp, small, x)
    sums: list[Any] = []
    for part in _parts(frequency, digits):
        t = part * x
        upper, lower = halves(xp, part, x)
        lost = ((upper * head - t / scale) + upper * rest + lower * head) + lower * rest
        # a small one has lost its digits to the scale; there the sine is the angle
        lost = xp.where(xp.abs(t) > 2.0**-40, lost * scale, 0.0)
        for k, other in enumerate(sums):  # from the largest to the smallest
            sums[k], t = summed_anyhow(other, t)
        sums += [t, lost]
    return sums


def _parts(frequency: ArrayOrNumber, digits: int) -> list[Any]:
    """Numbers of so many digits, the largest first, whose sum is the frequency."""
    if not isinstance(frequency, NUMBER) or digits == 53:
        return [frequency]
    parts: list[float] = []
    while frequency != 0 and len(parts) < 3:
        parts.append(leading(frequency, 53 - digits))
        frequency = frequency - parts[-1]
    return parts or [0.0]
