"""Functions that make fewer channels of many; a and b are the halves of the axis."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from .._activation import activation, variant
from .._parameters import Axis, Count, Number
from .._special import FAR, gaussian, mills
from .._typing import Array, Namespace
from .exponentials import selu
from .rectifiers import relu
from .selfgates import QUICK, tanh_argument
from .sigmoids import DEEP, beyond

__all__ = ["bilinear_glu", "geglu", "glu", "maxout", "reglu", "seglu", "swiglu"]

Gate: TypeAlias = Literal["last", "first"]


@activation(
    formula="max(reshape(x, (-1, num_units)), axis=0)",
    source="Goodfellow et al., Maxout networks, arXiv:1302.4389.",
    ulp=0.0,
    variants=(variant(num_units=2), variant(num_units=1)),
    elsewhere={"tensorflow-addons": "tfa.layers.Maxout"},
    axis="changed",
)
def maxout(xp: Namespace, x: Array, num_units: Count, axis: Axis = -1) -> Any:
    """Maxout, the largest of the channels of each unit.

    Unit j takes the channels j, j + num_units, j + 2*num_units, ... of the axis, the grouping of
    TensorFlow Addons.

    Parameters
    ----------
    num_units : int
        The size of the axis in the result; it divides the size in x.
    axis : int, optional
        The axis with the channels.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.maxout(np.array([1.0, 5.0, 3.0, 4.0]), num_units=2)
    array([3., 5.])
    """
    size = x.shape[axis]
    if size == 0 or size % num_units:
        raise ValueError(
            f"maxout: num_units must divide the size of axis {axis}, got {num_units} for {size}"
        )
    pieces = (*x.shape[:axis], size // num_units, num_units, *x.shape[axis + 1 :])
    return xp.max(xp.reshape(x, pieces), axis=axis)


@activation(
    formula="a / (1 + exp(-b))",
    source="Dauphin et al., Language modeling with gated convolutional networks, arXiv:1612.08083.",
    ulp=4.0,
    variants=(variant(gate="first", formula="b / (1 + exp(-a))"),),
    elsewhere={
        "torch": "torch.nn.functional.glu",
        "jax": "jax.nn.glu",
        "keras": "keras.activations.glu",
        "flax": "flax.linen.glu",
        "mlx": "mlx.nn.glu",
        "timm": "timm.layers.GluMlp",
    },
    axis="changed",
)
def glu(xp: Namespace, x: Array, axis: Axis = -1, gate: Gate = "last") -> Any:
    """Gated linear unit, a*sigmoid(b) for the halves a and b of the axis.

    Parameters
    ----------
    axis : int, optional
        The axis of two halves; its size is even.
    gate : {"last", "first"}, optional
        Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
        language models are packed.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.glu(np.array([1.0, 3.0, 0.0, np.inf]))
    array([0.5, 3. ])
    """
    a, b = _halves("glu", x, axis, gate)
    return a / (1 + xp.exp(-xp.maximum(b, -DEEP))) * beyond(xp, b)


def _halves(name: str, x: Any, axis: int, gate: str) -> tuple[Any, Any]:
    """The half that is let through and the half that is the gate."""
    size = x.shape[axis]
    if size % 2:
        raise ValueError(f"{name}: the size of axis {axis} must be even, got {size}")
    before, middle = (slice(None),) * axis, size // 2
    first, last = x[(*before, slice(None, middle), ...)], x[(*before, slice(middle, None), ...)]
    return (first, last) if gate == "last" else (last, first)


@activation(
    formula="a * b",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=0.5,
    variants=(variant(gate="first", formula="b * a"),),
    elsewhere={"megatron-lm": "LiGLU"},
    axis="changed",
)
def bilinear_glu(xp: Namespace, x: Array, axis: Axis = -1, gate: Gate = "last") -> Any:
    """Bilinear gated linear unit, a*b for the halves a and b of the axis.

    Parameters
    ----------
    axis : int, optional
        The axis of two halves; its size is even.
    gate : {"last", "first"}, optional
        Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
        language models are packed.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.bilinear_glu(np.array([1.0, 2.0, 3.0, -4.0]))
    array([ 3., -8.])
    """
    a, b = _halves("bilinear_glu", x, axis, gate)
    return a * b


@activation(
    formula="a * maximum(b, 0)",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=0.5,
    variants=(variant(gate="first", formula="b * maximum(a, 0)"),),
    elsewhere={
        "timm": "timm.layers.GluMlp (act_layer=ReLU)",
        "torch-activation": "torch_activation.ReGLU (gate first)",
    },
    axis="changed",
)
def reglu(xp: Namespace, x: Array, axis: Axis = -1, gate: Gate = "last") -> Any:
    """ReLU-gated linear unit, a*relu(b) for the halves a and b of the axis.

    Parameters
    ----------
    axis : int, optional
        The axis of two halves; its size is even.
    gate : {"last", "first"}, optional
        Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
        language models are packed.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.reglu(np.array([1.0, 2.0, 3.0, -4.0]))
    array([3., 0.])
    """
    a, b = _halves("reglu", x, axis, gate)
    return a * relu.computation(xp, b)


@activation(
    formula="a * b * erfc(-b / sqrt(2)) / 2",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=8.0,
    variants=(
        variant(gate="first", formula="b * a * erfc(-a / sqrt(2)) / 2"),
        variant(
            approximate="tanh",
            formula="a * b / 2 * (1 + tanh(sqrt(2 / pi) * (b + 0.044715 * b**3)))",
            ulp=1500.0,
        ),
        variant(approximate="sigmoid", formula="a * b / (1 + exp(-1.702 * b))", ulp=750.0),
    ),
    elsewhere={
        "timm": "timm.layers.GluMlp (act_layer=GELU)",
        "torch-activation": "torch_activation.GEGLU (gate first)",
    },
    axis="changed",
)
def geglu(
    xp: Namespace,
    x: Array,
    axis: Axis = -1,
    gate: Gate = "last",
    approximate: Literal["none", "tanh", "sigmoid"] | bool = "none",
) -> Any:
    """GELU-gated linear unit, a*gelu(b) for the halves a and b of the axis.

    Parameters
    ----------
    axis : int, optional
        The axis of two halves; its size is even.
    gate : {"last", "first"}, optional
        Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
        language models are packed.
    approximate : {"none", "tanh", "sigmoid"} or bool, optional
        How gelu is computed; see `gelu`.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.geglu(np.array([1.0, 2.0, 1.0, -np.inf]))
    array([ 0.84134475, -0.        ])
    """
    a, b = _halves("geglu", x, axis, gate)
    if approximate == "sigmoid":
        return _times_gated(xp, a, b, QUICK * b)
    if approximate in ("tanh", True):
        return _times_gated(xp, a, b, tanh_argument(xp, b)[0])
    size = xp.minimum(xp.abs(b), FAR)
    # a times one root of the density after the other, for gelu(b) alone is subnormal too early
    root, tail = gaussian(xp, size, 0.25), mills(xp, size)
    left = a * (xp.maximum(b, -FAR) * tail) * root * root
    return xp.where(b > 0, a * (b - size * tail * root * root), left)


@activation(
    formula="1.0507009873554805 * a * where(b > 0, b, 1.6732632423543772 * expm1(b))",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202; with the unit of "
    "Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    ulp=5.0,
    variants=(
        variant(
            gate="first",
            formula="1.0507009873554805 * b * where(a > 0, a, 1.6732632423543772 * expm1(a))",
        ),
    ),
    elsewhere={"timm": "timm.layers.GluMlp (act_layer=SELU)"},
    axis="changed",
)
def seglu(xp: Namespace, x: Array, axis: Axis = -1, gate: Gate = "last") -> Any:
    """SELU-gated linear unit, a*selu(b) for the halves a and b of the axis.

    Parameters
    ----------
    axis : int, optional
        The axis of two halves; its size is even.
    gate : {"last", "first"}, optional
        Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
        language models are packed.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.seglu(np.array([1.0, 2.0, 1.0, -np.inf]))
    array([ 1.05070099, -3.51619868])
    """
    a, b = _halves("seglu", x, axis, gate)
    return a * selu.computation(xp, b)


@activation(
    formula="a * b / (1 + exp(-beta * b))",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=4.0,
    variants=(
        variant(gate="first", formula="b * a / (1 + exp(-beta * a))"),
        variant(beta=2.0),
    ),
    elsewhere={
        "timm": "timm.layers.SwiGLUPacked (gate first)",
        "torch-activation": "torch_activation.SwiGLU (gate first)",
    },
    axis="changed",
)
def swiglu(
    xp: Namespace,
    x: Array,
    axis: Axis = -1,
    gate: Gate = "last",
    beta: Number = 1.0,
) -> Any:
    """Swish-gated linear unit, a*silu(b) for the halves a and b of the axis.

    Parameters
    ----------
    axis : int, optional
        The axis of two halves; its size is even.
    gate : {"last", "first"}, optional
        Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
        language models are packed.
    beta : number, optional
        The sharpness of the gate; see `silu`.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> ax.swiglu(np.array([1.0, 2.0, 20.0, -np.inf]))
    array([19.99999996, -0.        ])
    """
    a, b = _halves("swiglu", x, axis, gate)
    return _times_gated(xp, a, b, beta * b)


def _times_gated(xp: Namespace, a: Any, b: Any, t: Any) -> Any:
    """a*b*sigmoid(t), where b*sigmoid(t) alone would be subnormal before the product is."""
    rest = beyond(xp, t)
    return a * (xp.where(rest > 0, b, -1.0) / (1 + xp.exp(-xp.maximum(t, -DEEP)))) * rest
