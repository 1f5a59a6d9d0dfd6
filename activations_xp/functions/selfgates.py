"""x times a gate of x."""

from __future__ import annotations

from math import inf, pi, sqrt
from typing import Any, Literal

from .._activation import activation, derivative_of, variant
from .._parameters import Scalar
from .._special import FAR, gaussian, mills
from .._typing import Array, Namespace
from .sigmoids import DEEP, beyond, gated, gated_density, sigmoid

__all__ = ["gelu", "mish", "silu", "swish"]

_QUICK = 1.702


@activation(
    formula="x / (1 + exp(-beta * x))",
    source="Elfwing, Uchibe & Doya, Sigmoid-weighted linear units, arXiv:1702.03118; with beta "
    "Ramachandran, Zoph & Le, Searching for activation functions, arXiv:1710.05941.",
    ulp=4.0,
    aliases=("swish",),
    variants=(variant(beta=2.0), variant(beta=-0.5)),
    elsewhere={
        "torch": "torch.nn.functional.silu",
        "jax": "jax.nn.silu",
        "keras": "keras.activations.silu",
        "tensorflow": "tf.nn.swish (beta)",
        "mlx": "mlx.nn.silu",
        "transformers": "silu",
        "timm": "swish",
    },
    range=(-0.27846454276107380, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0998393201694470,
)
def silu(xp: Namespace, x: Array, beta: Scalar = 1.0) -> Any:
    """Sigmoid linear unit or swish, x*sigmoid(beta*x).

    Parameters
    ----------
    beta : number or array, optional
        The sharpness of the gate; learned in swish.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.silu(np.array([-np.inf, 0.0, 20.0]))
    array([-0.        ,  0.        , 19.99999996])
    """
    return gated(xp, x, beta * x)


@derivative_of(silu)
def _(xp: Namespace, x: Array, beta: Scalar = 1.0) -> Any:
    return _silu_derivative(xp, x, beta)


def _silu_derivative(xp: Namespace, x: Array, beta: Scalar) -> Any:
    t = beta * x
    return sigmoid.computation(xp, t) + gated_density(xp, t, t)


swish = silu


@activation(
    formula="x * erfc(-x / sqrt(2)) / 2",
    source="Hendrycks & Gimpel, Gaussian error linear units, arXiv:1606.08415.",
    ulp=8.0,
    aliases=("gelu_python",),
    variants=(
        variant(
            approximate="tanh",
            formula="x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2",
            aliases=(
                "gelu_accurate",
                "gelu_fast",
                "gelu_new",
                "gelu_python_tanh",
                "gelu_pytorch_tanh",
                "gelu_tanh",
            ),
            ulp=1500.0,
        ),
        variant(
            approximate="sigmoid",
            formula="x / (1 + exp(-1.702 * x))",
            aliases=("quick_gelu",),
            ulp=750.0,
        ),
    ),
    elsewhere={
        "torch": "torch.nn.functional.gelu",
        "jax": "jax.nn.gelu (approximate=True)",
        "keras": "keras.activations.gelu, keras.ops.gelu (approximate=True)",
        "tensorflow": "tf.nn.gelu",
        "mlx": "mlx.nn.gelu",
        "transformers": "gelu",
        "timm": "gelu",
    },
    range=(-0.16997120747990369, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.1289042266019178,
)
def gelu(
    xp: Namespace,
    x: Array,
    approximate: Literal["none", "tanh", "sigmoid"] | bool = "none",
) -> Any:
    """Gaussian error linear unit, x*Phi(x), Phi the standard normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh", "sigmoid"} or bool, optional
        "none" or False is exact, to the last digits of the tail; "tanh" or True is
        x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2, which JAX has as its default; "sigmoid" is
        x*sigmoid(1.702*x).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.gelu(np.array([-20.0, 0.0, 1.0]))
    array([-5.50724824e-88,  0.00000000e+00,  8.41344746e-01])
    """
    if approximate == "sigmoid":
        return silu.computation(xp, x, _QUICK)
    if approximate in ("tanh", True):
        return gated(xp, x, _tanh_argument(xp, x)[0])
    a = xp.minimum(xp.abs(x), FAR)
    density, tail = gaussian(xp, a), mills(xp, a)
    # x times the slow factor first: the fast one alone is subnormal before the product is
    return xp.where(x > 0, x - a * tail * density, xp.maximum(x, -FAR) * tail * density)


@derivative_of(gelu)
def _(
    xp: Namespace,
    x: Array,
    approximate: Literal["none", "tanh", "sigmoid"] | bool = "none",
) -> Any:
    if approximate == "sigmoid":
        return _silu_derivative(xp, x, _QUICK)
    if approximate in ("tanh", True):
        v, dv = _tanh_argument(xp, x)
        return sigmoid.computation(xp, v) + gated_density(xp, x * dv, v)
    a = xp.minimum(xp.abs(x), FAR)
    left = gaussian(xp, a) * (mills(xp, a) - a * (1 / sqrt(2 * pi)))
    return xp.where(x > 0, 1 - left, left)


def _tanh_argument(xp: Namespace, x: Array) -> tuple[Any, Any]:
    """Twice the argument of the tanh, and its derivative; bounded so that the cube is finite."""
    x = xp.minimum(xp.maximum(x, -100.0), 100.0)
    square = x * x
    c = 2 * sqrt(2 / pi)
    return x * (c + (c * 0.044715) * square), c + (3 * c * 0.044715) * square


@activation(
    formula="x * tanh(log(1 + exp(x)))",
    source="Misra, Mish: a self regularized non-monotonic activation function, arXiv:1908.08681.",
    ulp=4.0,
    elsewhere={
        "torch": "torch.nn.functional.mish",
        "jax": "jax.nn.mish",
        "keras": "keras.activations.mish",
        "tensorflow-addons": "tfa.activations.mish",
        "mlx": "mlx.nn.mish",
        "transformers": "mish",
        "timm": "mish",
    },
    range=(-0.3088434130172504, inf),
    fixed_points=(0.0,),
    limits=(0.0, inf),
    zero_centred=True,
    lipschitz=1.0884981612517279,
)
def mish(xp: Namespace, x: Array) -> Any:
    """Mish, x*tanh(softplus(x)).

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.mish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.86509839])
    """
    # tanh(log(1 + e)) = n/(n + 2) with n = e*(e + 2), which cancels nowhere
    e, rest = _mish_parts(xp, x)
    return xp.where(rest > 0, x, -1.0) * (e * ((e + 2) / (e * (e + 2) + 2))) * rest


@derivative_of(mish)
def _(xp: Namespace, x: Array) -> Any:
    e, rest = _mish_parts(xp, x)
    below = e * (e + 2) + 2
    bounded = xp.where(rest > 0, xp.minimum(x, _FULL), -1.0)
    slope = (e + 2) / below + bounded * (4 * (e + 1) / below / below)
    return slope * e * rest


_FULL = 40.0
"""From here on mish is x to the last digit of float64."""


def _mish_parts(xp: Namespace, x: Array) -> tuple[Any, Any]:
    """exp(x) within bounds, and what is beyond the lower one."""
    return xp.exp(xp.maximum(xp.minimum(x, _FULL), -DEEP)), beyond(xp, x)
