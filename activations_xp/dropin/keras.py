"""The functions of ``keras.activations`` in Keras 3, for arrays of any library.

`keras_ops` has those of ``keras.ops``, some of which have other defaults, and `keras2` has those
of Keras 2. Unlike in Keras, the thresholds and shrinkers keep a NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import functions as ax
from .._errors import describe_value
from .._parameters import ArrayOrNumber, Axes
from .._typing import A
from ._conventions import axes_of, reraise_as, takes_keras_arrays

__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]


class BadValueError(ValueError, RuntimeError, AssertionError):
    """A bad value, for which each backend of Keras raises an error of its own."""


@takes_keras_arrays
@reraise_as(BadValueError)
def celu(x: A, alpha: ArrayOrNumber = 1.0) -> A:
    """Return x where it is positive, and alpha*(exp(x/alpha) - 1) elsewhere."""
    return ax.celu(x, alpha)


@takes_keras_arrays
def elu(x: A, alpha: ArrayOrNumber = 1.0) -> A:
    """Return x where it is positive, and alpha*(exp(x) - 1) elsewhere."""
    return ax.elu(x, alpha)


@takes_keras_arrays
def exponential(x: A) -> A:
    """Return exp(x)."""
    return ax.exponential(x)


@takes_keras_arrays
def gelu(x: A, approximate: bool = False) -> A:
    """Return x*Phi(x), Phi the standard normal distribution, or its tanh approximation."""
    return ax.gelu(x, approximate)


@takes_keras_arrays
@reraise_as(BadValueError)
def glu(x: A, axis: int = -1) -> A:
    """Return a*sigmoid(b) for the halves a and b of x along `axis`."""
    return ax.glu(x, axis)


@takes_keras_arrays
def hard_shrink(x: A, threshold: ArrayOrNumber = 0.5) -> A:
    """Return x where abs(x) > threshold, and 0 elsewhere."""
    return ax.hard_shrink(x, threshold)


@takes_keras_arrays
def hard_sigmoid(x: A) -> A:
    """Return (x + 3)/6 clipped to [0, 1]."""
    return ax.hard_sigmoid(x)


@takes_keras_arrays
def hard_silu(x: A) -> A:
    """Return x times (x + 3)/6 clipped to [0, 1]."""
    return ax.hard_swish(x)


hard_swish = hard_silu


@takes_keras_arrays
def hard_tanh(x: A) -> A:
    """Return x clipped to [-1, 1]."""
    return ax.hard_tanh(x)


@takes_keras_arrays
def leaky_relu(x: A, negative_slope: ArrayOrNumber = 0.2) -> A:
    """Return x where it is positive, and negative_slope*x elsewhere.

    Keras on NumPy exchanges the two where the slope is above 1.
    """
    return ax.leaky_relu(x, negative_slope)


@takes_keras_arrays
def linear(x: A) -> A:
    """Return x itself."""
    return ax.identity(x)


@takes_keras_arrays
def log_sigmoid(x: A) -> A:
    """Return log(sigmoid(x))."""
    return ax.log_sigmoid(x)


@takes_keras_arrays
def log_softmax(x: A, axis: Axes = -1) -> A:
    """Return log(softmax(x)) along `axis`."""
    return ax.log_softmax(x, axes_of(x, axis))


@takes_keras_arrays
def mish(x: A) -> A:
    """Return x*tanh(softplus(x))."""
    return ax.mish(x)


@takes_keras_arrays
def relu(
    x: A,
    negative_slope: ArrayOrNumber = 0.0,
    max_value: ArrayOrNumber | None = None,
    threshold: ArrayOrNumber = 0.0,
) -> A:
    """Return x above `threshold`, and negative_slope*(x - threshold) elsewhere.

    The result is at most `max_value`.
    """
    return ax.relu(x, negative_slope, max_value, threshold)


@takes_keras_arrays
def relu6(x: A) -> A:
    """Return x clipped to [0, 6]."""
    return ax.relu6(x)


@takes_keras_arrays
def selu(x: A) -> A:
    """Return 1.0507*elu(x, 1.6733), the scaled exponential linear unit."""
    return ax.selu(x)


@takes_keras_arrays
def sigmoid(x: A) -> A:
    """Return 1/(1 + exp(-x))."""
    return ax.sigmoid(x)


@takes_keras_arrays
def silu(x: A) -> A:
    """Return x*sigmoid(x)."""
    return ax.silu(x)


swish = silu


@takes_keras_arrays
@reraise_as(BadValueError)
def soft_shrink(x: A, threshold: ArrayOrNumber = 0.5) -> A:
    """Return x moved towards 0 by `threshold`, and 0 where abs(x) <= threshold."""
    return ax.soft_shrink(x, threshold)


@takes_keras_arrays
def softmax(x: A, axis: Axes = -1) -> A:
    """Return exp(x)/sum(exp(x)) along `axis`."""
    return ax.softmax(x, axes_of(x, axis))


@takes_keras_arrays
def softplus(x: A) -> A:
    """Return log(1 + exp(x))."""
    return ax.softplus(x)


@takes_keras_arrays
def softsign(x: A) -> A:
    """Return x/(1 + abs(x))."""
    return ax.softsign(x)


@takes_keras_arrays
def sparse_plus(x: A) -> A:
    """Return (x + 1)**2/4 between -1 and 1, 0 below and x above."""
    return ax.sparse_plus(x)


@takes_keras_arrays
def sparse_sigmoid(x: A) -> A:
    """Return (x + 1)/2 clipped to [0, 1]."""
    return ax.sparse_sigmoid(x)


@takes_keras_arrays
def sparsemax(x: A, axis: int = -1) -> A:
    """Return max(x - t, 0) along `axis`, with the t for which the sum is 1.

    That of Keras 3.15 has another sum where more than one element is not 0.
    """
    return ax.sparsemax(x, axis)


@takes_keras_arrays
def squareplus(x: A, b: ArrayOrNumber = 4) -> A:
    """Return (x + sqrt(x*x + b))/2.

    Keras's is 0 for x far below 0 and overflows for x far from it; this one does neither.
    """
    return ax.squareplus(x, b)


@takes_keras_arrays
def tanh(x: A) -> A:
    """Return the hyperbolic tangent of x."""
    return ax.tanh(x)


@takes_keras_arrays
def tanh_shrink(x: A) -> A:
    """Return x - tanh(x).

    Keras's loses its digits near 0.
    """
    return ax.tanh_shrink(x)


@takes_keras_arrays
def threshold(x: A, threshold: ArrayOrNumber, default_value: ArrayOrNumber) -> A:
    """Return x where it exceeds `threshold`, and `default_value` elsewhere."""
    return ax.threshold(x, threshold, default_value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: globals()[name] for name in __all__ if name not in ("deserialize", "get", "serialize")
}
"""The functions by all their names."""


def get(identifier: Any) -> Callable[..., Any]:
    """Return the function of a name or of what `serialize` returns; None is `linear`.

    A callable is returned as it is.
    """
    if identifier is None:
        return linear
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]
    if not isinstance(identifier, (str, Mapping)):
        got = describe_value(identifier)
        raise ValueError(f"get: identifier must be a name, a mapping or a callable, got {got}")
    return deserialize(identifier)


def serialize(activation: Callable[..., Any]) -> str:
    """Return the name of a function of this module, by which `deserialize` finds it."""
    name = getattr(activation, "__name__", "")
    if _FUNCTIONS.get(name) is not activation:
        got = describe_value(activation)
        raise ValueError(f"serialize: activation must be a function of this module, got {got}")
    return name


def deserialize(
    config: str | Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """Return the function of a name, or of a configuration of Keras that has the name."""
    name: Any = config
    if isinstance(config, Mapping):
        name = config.get("config", config.get("class_name"))
        name = name if isinstance(name, str) else config.get("class_name")
    known = {**_FUNCTIONS, **(custom_objects or {})}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"deserialize: no activation is named {describe_value(name)}")
    return known[name]  # type: ignore[no-any-return]
