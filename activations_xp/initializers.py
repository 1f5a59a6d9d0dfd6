"""Initial weights: samples of a normal distribution, and the gain for an activation function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import pi, prod, sqrt
from operator import index
from typing import Any

import numpy as np

from . import _dispatch, _registry
from .functions import ndtri

__all__ = ["gain", "lecun_normal"]

_CDF_AT_MINUS_2 = 0.022750131948179207
"""The probability that a standard normal variable is less than -2."""

_TRUNCATED_STD = 0.8796256610342398
"""The standard deviation of a standard normal variable truncated to [-2, 2]."""


def lecun_normal(
    shape: Sequence[int],
    rng: Any,
    *,
    in_axis: int | tuple[int, ...] = -2,
    out_axis: int | tuple[int, ...] = -1,
    dtype: Any = None,
) -> Any:
    """Return samples of a normal distribution of variance 1/n for n inputs, truncated at two sigma.

    A sum of inputs times these weights has the variance of an input: they are the weights for
    `selu`. The variance is that after the truncation.

    Parameters
    ----------
    shape : sequence of ints
        The shape of the weights.
    rng : random number generator
        A `numpy.random.Generator`, a `torch.Generator` or a key of JAX. It determines the library
        and, for PyTorch, the device.
    in_axis, out_axis : int or tuple of ints, optional
        The axes of the inputs and of the outputs. The defaults suit JAX and Keras; for the weights
        of PyTorch's layers they are 1 and 0. All other axes are those of a convolution kernel, at
        each position of which every input counts once.
    dtype : dtype, optional
        A real floating dtype of the library; by default its own default.

    Returns
    -------
    array
        An array of the library of `rng`.

    Raises
    ------
    TypeError
        If `rng` is none of these, or the dtype is not real floating.
    ValueError
        If an axis is out of range, or is one of the inputs and of the outputs.

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
    fan_in = prod(n for i, n in enumerate(sizes) if i not in outs)
    empty = _dispatch.empty_for_rng("lecun_normal", rng, dtype)
    sample = _dispatch.sample_uniform("lecun_normal", sizes, empty, rng)
    normal = ndtri(sample * (1 - 2 * _CDF_AT_MINUS_2) + _CDF_AT_MINUS_2)
    xp = _dispatch.backend_of(empty).xp
    return xp.astype(normal * (1 / (_TRUNCATED_STD * sqrt(max(fan_in, 1)))), empty.dtype)


def _axes(which: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = tuple(map(index, axis if isinstance(axis, tuple) else (axis,)))
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise ValueError(f"lecun_normal: {which}_axis must be within shape {shape}, got {axis}")
    return tuple(a % len(shape) for a in axes)


def gain(function: Any, **parameters: Any) -> float:
    """Return the factor for the weights before an activation function f that keeps the variance.

    It is 1/sqrt(E[f(z)**2]) for a standard normal z, by quadrature of f itself.

    Parameters
    ----------
    function : function of this package, functools.partial of one, or name
        An elementwise function that is defined everywhere.
    **parameters
        The parameters of the function.

    Returns
    -------
    float
        The gain, within a few ulp if the function is smooth but for kinks and jumps.

    Raises
    ------
    TypeError
        If it is not a function of this package.
    ValueError
        If it works along an axis, is not defined everywhere, or is 0 everywhere.

    Notes
    -----
    ``torch.nn.init.calculate_gain`` has the same values for linear, relu and leaky_relu. For tanh,
    sigmoid and selu it has 5/3, 1 and 3/4, where this function has 1.5925, 1.8463 and 1.

    Examples
    --------
    >>> import activations_xp as ax
    >>> round(ax.gain(ax.relu), 12), round(ax.gain("selu"), 6)
    (1.414213562373, 1.0)

    References
    ----------
    He et al., Delving deep into rectifiers, arXiv:1502.01852.
    """
    function = _registry.get(function) if isinstance(function, str) else function
    name = _registry.name_of(function)
    name = name if isinstance(name, str) else name["name"]
    f = functools.partial(function, **parameters)
    definition = getattr(function, "func", function).definition
    if not definition.is_elementwise:
        raise ValueError(f"gain: function must be one of each element, got {name}")

    def weighted(z: Any) -> Any:
        y = np.asarray(f(z), dtype=np.float64)
        # farther from 0 the weight is 0, and the square may be infinite
        return np.where(np.abs(z) < 38, (y * np.exp(z * z * -0.25)) ** 2, 0.0)

    with np.errstate(all="ignore"):
        moment = _integral(weighted, -38.0, 38.0) / sqrt(2 * pi)
    if not 0 < moment < np.inf:
        wanted = "be defined everywhere and not 0"
        raise ValueError(f"gain: function must {wanted}, got {name}, whose mean square is {moment}")
    return 1 / sqrt(moment)


def _integral(f: Callable[[Any], Any], low: float, high: float) -> float:
    """Integrate by Gauss's rule on intervals that are halved until that changes nothing."""
    nodes, weights = np.polynomial.legendre.leggauss(16)

    def quadrature(a: Any, b: Any) -> Any:
        middle, radius = (a + b) / 2, (b - a) / 2
        return (f(middle[:, None] + radius[:, None] * nodes) @ weights) * radius

    edges = np.linspace(low, high, 153)
    a, b = edges[:-1], edges[1:]
    estimate, integral = quadrature(a, b), 0.0
    tolerance = 1e-17 * max(1.0, float(np.sum(np.abs(estimate))))
    for _ in range(60):
        middle = (a + b) / 2
        left, right = quadrature(a, middle), quadrature(middle, b)
        refine = np.abs(left + right - estimate) > tolerance  # False for NaN
        integral += float(np.sum((left + right)[~refine]))
        a, middle, b = a[refine], middle[refine], b[refine]
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        estimate = np.concatenate([left[refine], right[refine]])
        if not len(a):
            break
    return integral + float(np.sum(estimate))
