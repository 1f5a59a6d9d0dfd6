"""Functions with an S-shaped graph between two bounds."""

from __future__ import annotations

from typing import Any

from .._activation import activation, derivative_of, variant
from .._parameters import Scalar
from .._special import unit
from .._typing import Array, Namespace

__all__ = ["hard_sigmoid", "sigmoid", "softsign", "tanh"]

DEEP = 80.0
"""exp(DEEP) and exp(-DEEP) are far from the ends of float32."""


@activation(
    formula="1 / (1 + exp(-x))",
    source="Verhulst, Recherches mathematiques sur la loi d'accroissement de la population, 1845.",
    ulp=4.0,
    aliases=("expit", "logistic"),
    elsewhere={
        "torch": "torch.sigmoid",
        "jax": "jax.nn.sigmoid",
        "keras": "keras.activations.sigmoid",
        "scipy": "scipy.special.expit",
        "tensorflow": "tf.nn.sigmoid",
        "mlx": "mlx.nn.sigmoid",
        "transformers": "sigmoid",
        "timm": "sigmoid",
    },
    range=(0.0, 1.0),
    monotonic=True,
    limits=(0.0, 1.0),
    lipschitz=0.25,
)
def sigmoid(xp: Namespace, x: Array) -> Any:
    """Logistic function, 1/(1 + exp(-x)).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.sigmoid(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """
    return 1 / (1 + xp.exp(-xp.maximum(x, -DEEP))) * beyond(xp, x)


@derivative_of(sigmoid)
def _(xp: Namespace, x: Array) -> Any:
    return _logistic_density(xp, x)


def gated(xp: Namespace, x: Any, t: Any) -> Any:
    """x*sigmoid(t), which is -0 where the gate is shut, also at an infinite x."""
    rest = beyond(xp, t)
    return xp.where(rest > 0, x, -1.0) / (1 + xp.exp(-xp.maximum(t, -DEEP))) * rest


def gated_density(xp: Namespace, x: Any, t: Any) -> Any:
    """x*sigmoid(t)*sigmoid(-t), in the same way."""
    a = xp.abs(t)
    rest, e = beyond(xp, -a), xp.exp(-xp.minimum(a, DEEP))
    return xp.where(rest > 0, x, -1.0) * e / ((1 + e) * (1 + e)) * rest


def beyond(xp: Namespace, t: Any) -> Any:
    """exp(t + DEEP) where t < -DEEP, and 1 elsewhere.

    As a factor on its own it keeps exp(-t) from overflowing, and a product with exp(t) from being
    made of subnormal numbers while it is normal itself.
    """
    return xp.exp(xp.minimum(t + DEEP, 0.0))


def _logistic_density(xp: Namespace, x: Array) -> Any:
    """sigmoid(x)*sigmoid(-x), which keeps its digits on both sides."""
    e = xp.exp(-xp.abs(x))
    return e / ((1 + e) * (1 + e))


@activation(
    formula="tanh(x)",
    source="LeCun et al., Efficient backprop, 1998.",
    ulp=8.0,
    elsewhere={
        "torch": "torch.tanh",
        "jax": "jax.nn.tanh",
        "keras": "keras.activations.tanh",
        "tensorflow": "tf.nn.tanh",
        "mlx": "mlx.nn.tanh",
        "transformers": "tanh",
        "timm": "tanh",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    limits=(-1.0, 1.0),
    zero_centred=True,
    lipschitz=1.0,
)
def tanh(xp: Namespace, x: Array) -> Any:
    """Hyperbolic tangent, tanh(x).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.tanh(np.array([-np.inf, 0.0, np.inf]))
    array([-1.,  0.,  1.])
    """
    return xp.tanh(x)


@derivative_of(tanh)
def _(xp: Namespace, x: Array) -> Any:
    return 4 * _logistic_density(xp, 2 * x)


@activation(
    formula="x / (1 + abs(x))",
    source="Turian, Bergstra & Bengio, Quadratic features and deep architectures for chunking, "
    "NAACL 2009.",
    aliases=("soft_sign",),
    elsewhere={
        "torch": "torch.nn.functional.softsign",
        "jax": "jax.nn.soft_sign",
        "keras": "keras.activations.softsign",
        "tensorflow": "tf.nn.softsign",
        "mlx": "mlx.nn.softsign",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    limits=(-1.0, 1.0),
    zero_centred=True,
    lipschitz=1.0,
    smoothness=1,
    kinks=(0.0,),
)
def softsign(xp: Namespace, x: Array) -> Any:
    """Softsign, x/(1 + |x|).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.softsign(np.array([-np.inf, 0.0, 1.0]))
    array([-1. ,  0. ,  0.5])
    """
    x = xp.minimum(xp.maximum(x, -1e30), 1e30)  # far out it is 1 to the last digit, not inf/inf
    return x / (1 + xp.abs(x))


@derivative_of(softsign)
def _(xp: Namespace, x: Array) -> Any:
    root = 1 / (1 + xp.abs(x))
    return root * root


@activation(
    formula="minimum(maximum((x + 3) / 6, 0), 1)",
    source="Courbariaux, Bengio & David, BinaryConnect, arXiv:1511.00363; with slope 1/6 Howard "
    "et al., Searching for MobileNetV3, arXiv:1905.02244.",
    domain=("slope > 0",),
    aliases=("hardsigmoid",),
    variants=(
        variant(slope=0.25, offset=0.5, formula="minimum(maximum(slope * x + offset, 0), 1)"),
    ),
    elsewhere={
        "torch": "torch.nn.functional.hardsigmoid",
        "jax": "jax.nn.hard_sigmoid",
        "keras": "keras.activations.hard_sigmoid",
        "tf_keras": "tf_keras.activations.hard_sigmoid (slope=0.2)",
        "onnx": "HardSigmoid (slope=0.2)",
        "timm": "hard_sigmoid",
    },
    range=(0.0, 1.0),
    monotonic=True,
    limits=(0.0, 1.0),
    lipschitz=1 / 6,
    smoothness=0,
    kinks=(-3.0, 3.0),
)
def hard_sigmoid(xp: Namespace, x: Array, slope: Scalar = 1 / 6, offset: Scalar = 0.5) -> Any:
    """Piecewise linear sigmoid, slope*x + offset clipped to [0, 1].

    Parameters
    ----------
    slope : number or array, optional
        Greater than 0; 1/6 in torch, JAX and Keras 3, 0.2 in Keras 2 and ONNX.
    offset : number or array, optional
        The value at 0.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.hard_sigmoid(np.array([-3.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    y = (x + offset / slope) * slope  # the sum is exact where the line meets 0
    return xp.where(y >= 1, 1.0, xp.maximum(y, 0.0))


@derivative_of(hard_sigmoid)
def _(xp: Namespace, x: Array, slope: Scalar = 1 / 6, offset: Scalar = 0.5) -> Any:
    y = (x + offset / slope) * slope
    return xp.where((y <= 0) | (y >= 1), 0.0, slope * unit(xp, x))
