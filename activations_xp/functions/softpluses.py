"""Smooth versions of the rectifier."""

from __future__ import annotations

from math import inf
from typing import Any

from .._activation import activation, derivative_of, variant
from .._parameters import Scalar
from .._typing import Array, Namespace
from .sigmoids import sigmoid

__all__ = ["softplus"]


@activation(
    formula="log(1 + exp(beta * x)) / beta",
    source="Dugas et al., Incorporating second-order functional knowledge for better option "
    "pricing, NIPS 2000.",
    ulp=4.0,
    domain=("beta != 0", "abs(beta) < float('inf')"),
    variants=(
        variant(beta=2.0),
        variant(beta=-0.5),
        variant(
            threshold=20.0,
            formula="where(beta * x > threshold, x, log(1 + exp(beta * x)) / beta)",
        ),
    ),
    elsewhere={
        "torch": "torch.nn.functional.softplus (threshold=20)",
        "jax": "jax.nn.softplus",
        "keras": "keras.activations.softplus",
        "scipy": "scipy.special.softplus",
        "tensorflow": "tf.nn.softplus",
        "mlx": "mlx.nn.softplus",
    },
    range=(0.0, inf),
    monotonic=True,
    limits=(0.0, inf),
    lipschitz=1.0,
)
def softplus(xp: Namespace, x: Array, beta: Scalar = 1.0, threshold: Scalar | None = None) -> Any:
    """Softplus, log(1 + exp(beta*x))/beta.

    Parameters
    ----------
    beta : number or array, optional
        The sharpness, not 0.
    threshold : number or array, optional
        The function is x where beta*x is over it. None, the default, needs no such cut; torch
        cuts at 20.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.softplus(np.array([-np.inf, 0.0, 20.0]))
    array([ 0.        ,  0.69314718, 20.        ])
    """
    t = beta * x
    y = xp.where(t <= 0, 0.0, x) + xp.log1p(xp.exp(-xp.abs(t))) / beta
    return y if threshold is None else xp.where(t > threshold, x, y)


@derivative_of(softplus)
def _(xp: Namespace, x: Array, beta: Scalar = 1.0, threshold: Scalar | None = None) -> Any:
    t = beta * x
    slope = sigmoid.computation(xp, t)
    return slope if threshold is None else xp.where(t > threshold, 1.0, slope)
