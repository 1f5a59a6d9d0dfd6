"""Weights to begin with: normal ones, and how much larger an activation wants them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import pi, prod, sqrt
from operator import index
from typing import Any

import numpy as np

from ._dispatch import backend_of, empty_for_rng, sample_uniform
from ._registry import get, name_of
from .functions import ndtri

__all__ = ["gain", "lecun_normal"]

_TAIL = 0.022750131948179207
"""The part of a normal distribution that is less than -2."""

_SPREAD = 0.8796256610342398
"""The standard deviation of one that is cut off at -2 and 2."""


def lecun_normal(
    shape: Sequence[int],
    rng: Any,
    *,
    in_axis: int | tuple[int, ...] = -2,
    out_axis: int | tuple[int, ...] = -1,
    dtype: Any = None,
) -> Any:
    """Normal numbers with the variance 1/n for n inputs, cut off at two standard deviations.

    What they are multiplied with and summed keeps its variance: they are the weights for `selu`.
    The cut makes a normal distribution narrower, for which they are wider.

    Parameters
    ----------
    shape : sequence of ints
        That of the weights; two dimensions at least.
    rng : random number generator
        A `numpy.random.Generator`, a `torch.Generator` or a key of JAX: it says the library, and
        PyTorch's the device as well.
    in_axis, out_axis : int or tuple of ints, optional
        The axes of the inputs and of the outputs. As they are, they suit JAX and Keras; for the
        weights of PyTorch's layers they are 1 and 0. All other axes are those of a kernel that
        moves: each input counts once for each of its places.
    dtype : dtype, optional
        A real floating one of the library; by default its own default.

    Returns
    -------
    array
        Of the library of `rng`.

    Raises
    ------
    TypeError
        If `rng` is none of these, or the dtype is not real floating.
    ValueError
        If an axis is out of range, or one of the inputs is one of the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> w = ax.lecun_normal((300, 100), np.random.default_rng(0))
    >>> bool(abs(w.std() * 300**0.5 - 1) < 0.01)
    True

    References
    ----------
    LeCun et al., Efficient backprop, 1998. Klambauer et al., Self-normalizing neural networks,
    arXiv:1706.02515.
    """
    sizes = tuple(map(index, shape))
    ins, outs = (_axes(name, a, sizes) for name, a in (("in", in_axis), ("out", out_axis)))
    if set(ins) & set(outs):
        raise ValueError(
            f"lecun_normal: in_axis and out_axis must differ, got {in_axis} and {out_axis}"
        )
    fan = prod(n for i, n in enumerate(sizes) if i not in outs)
    like = empty_for_rng("lecun_normal", rng, dtype)
    noise = sample_uniform("lecun_normal", lambda: sizes, like, rng)
    normal = ndtri(noise * (1 - 2 * _TAIL) + _TAIL)
    xp = backend_of(like).xp
    return xp.astype(normal * (1 / (_SPREAD * sqrt(max(fan, 1)))), like.dtype)


def _axes(which: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = tuple(map(index, axis if isinstance(axis, tuple) else (axis,)))
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise ValueError(f"lecun_normal: {which}_axis must be within shape {shape}, got {axis}")
    return tuple(a % len(shape) for a in axes)


def gain(function: Any, **parameters: Any) -> float:
    """The factor for the weights before an activation f that keeps the variance.

    It is 1/sqrt(E[f(z)**2]) of a standard normal z, from f itself by quadrature.

    Parameters
    ----------
    function : function of this package, functools.partial of one, or name
        Of each element alone, and defined everywhere.
    **parameters
        Those of the function.

    Returns
    -------
    float
        Within a few units in the last place, if the function has no more than kinks and jumps.

    Raises
    ------
    TypeError
        If it is no function of this package.
    ValueError
        If it works along an axis, or is not defined everywhere, or is 0 everywhere.

    Notes
    -----
    ``torch.nn.init.calculate_gain`` has the same for linear, relu and leaky_relu. It has 5/3 for
    tanh, 1 for sigmoid and 3/4 for selu, which here are 1.5925, 1.8463 and 1.

    Examples
    --------
    >>> import activations_xp as ax
    >>> round(ax.gain(ax.relu), 12), round(ax.gain("selu"), 6)
    (1.414213562373, 1.0)

    References
    ----------
    He et al., Delving deep into rectifiers, arXiv:1502.01852.
    """
    function = get(function) if isinstance(function, str) else function
    name = name_of(function)
    name = name if isinstance(name, str) else name["name"]
    f = functools.partial(function, **parameters)
    definition = getattr(function, "func", function).definition
    if not definition.is_elementwise:
        raise ValueError(f"gain: function must be one of each element, got {name}")

    def weighted(z: Any) -> Any:
        y = np.asarray(f(z), dtype=np.float64)
        # beyond, the weight is 0 and the square may be infinite
        return np.where(np.abs(z) < 38, (y * np.exp(z * z * -0.25)) ** 2, 0.0)

    with np.errstate(all="ignore"):
        moment = _integral(weighted, -38.0, 38.0) / sqrt(2 * pi)
    if not 0 < moment < np.inf:
        wanted = "be defined everywhere and not 0"
        raise ValueError(f"gain: function must {wanted}, got {name}, whose mean square is {moment}")
    return 1 / sqrt(moment)


def _integral(f: Callable[[Any], Any], low: float, high: float) -> float:
    """By Gauss's rule on intervals that are halved until that changes nothing."""
    nodes, weights = np.polynomial.legendre.leggauss(16)

    def rule(a: Any, b: Any) -> Any:
        middle, half = (a + b) / 2, (b - a) / 2
        return (f(middle[:, None] + half[:, None] * nodes) @ weights) * half

    ends = np.linspace(low, high, 153)
    a, b = ends[:-1], ends[1:]
    whole, total = rule(a, b), 0.0
    enough = 1e-17 * max(1.0, float(np.sum(np.abs(whole))))
    for _ in range(60):
        middle = (a + b) / 2
        left, right = rule(a, middle), rule(middle, b)
        close = ~(np.abs(left + right - whole) > enough)  # or NaN
        total += float(np.sum((left + right)[close]))
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        open_ = np.tile(~close, 2)
        a, b, whole = a[open_], b[open_], np.concatenate([left, right])[open_]
        if not len(a):
            break
    return total + float(np.sum(whole))
