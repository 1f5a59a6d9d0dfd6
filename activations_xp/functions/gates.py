"""Gates: functions of the channels along an axis, most of which halve their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from math import inf
from typing import Annotated, Any, Literal, TypeAlias

from .._define import Peer, activation, case
from .._errors import check_shape
from .._parameters import AXIS, BROADCASTS_WITH, Axis, Count, FreeArray
from .._typing import Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import broadcasts_to, is_array, ones_like_nan, slice_axis, unbroadcast
from ..numerics.double_word import exact
from ..numerics.logistic import x_sigmoid
from ..numerics.special import NORMAL_TAIL_CUTOFF, exp_neg_square, mills_ratio
from .exponentials import selu
from .rectifiers import identity, relu
from .selfgates import gelu, gelu_sigmoid_argument, silu
from .sigmoids import sigmoid

__all__ = [
    "bilinear_glu",
    "clipped_swiglu",
    "crelu",
    "geglu",
    "glu",
    "maxout",
    "reglu",
    "seglu",
    "swiglu",
]

_GATE = replace(
    BROADCASTS_WITH,
    doc="""\
{"last", "first"} or array, optional
    Which half is the gate b: "last" in torch, JAX and Keras, "first" where the weights of
    language models are packed. Or the gate itself: x is not halved then, and the shapes
    broadcast.""",
)
_HALVED_AXIS = replace(
    AXIS,
    doc="""\
int, optional
    The axis of two halves; its size is even.""",
)
Gate: TypeAlias = Literal["last", "first"] | Annotated[Array, _GATE]
HalvedAxis: TypeAlias = Annotated[int, _HALVED_AXIS]


@activation(
    formula="max(reshape(x, (-1, num_units)), axis=0)",
    source="Goodfellow et al., Maxout networks, arXiv:1302.4389.",
    ulp=0.0,
    cases=(case(num_units=2), case(num_units=1)),
    peers={"tensorflow-addons": "tfa.layers.Maxout"},
    output_axis="resized",
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

    Notes
    -----
    Channels of a unit that are equally large share its gradient evenly.

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


@maxout.defvjp
def _(xp, g, x, num_units, axis):
    y = maxout.impl(xp, x, num_units, axis)
    check_shape("maxout.vjp", "g", g, y.shape)
    size = x.shape[axis] // num_units
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    one = (*before, 1, num_units, *after)
    y = xp.reshape(y, one)
    is_largest = xp.reshape(x, (*before, size, num_units, *after)) == y
    weights = xp.where(y != y, y, xp.astype(is_largest, x.dtype))
    weights = weights / xp.sum(weights, axis=axis, keepdims=True)
    return {"x": xp.reshape(weights * xp.reshape(g, one), x.shape)}


@activation(
    formula="reshape((maximum(x, 0), maximum(-x, 0)), (-1,))",
    source="Shang et al., Understanding and improving convolutional neural networks via "
    "concatenated rectified linear units, arXiv:1603.05201.",
    ulp=0.0,
    layer="CReLU",
    peers={"tensorflow": "tf.nn.crelu", "torch-activation": "torch_activation.CReLU"},
    output_axis="resized",
    range=(0.0, inf),
)
def crelu(xp: Namespace, x: Array, axis: Axis = -1) -> Any:
    """Concatenated rectified linear unit, max(x, 0) and max(-x, 0) one after the other.

    Parameters
    ----------
    axis : int, optional
        The axis with the channels, which has twice as many in the result.

    >>> ax.crelu(np.array([1.0, -3.0]))
    array([1., 0., 0., 3.])
    """
    return xp.concat([relu.impl(xp, x), relu.impl(xp, -x)], axis=axis)


@crelu.defvjp
def _(xp, g, x, axis):
    size = x.shape[axis]
    check_shape("crelu.vjp", "g", g, (*x.shape[:axis], 2 * size, *x.shape[axis + 1 :]))
    up, down = slice_axis(g, axis, slice(None, size)), slice_axis(g, axis, slice(size, None))
    return {"x": up * relu.derivative.impl(xp, x) - down * relu.derivative.impl(xp, -x)}


@activation(
    formula="a / (1 + exp(-b))",
    source="Dauphin et al., Language modeling with gated convolutional networks, arXiv:1612.08083.",
    ulp=4.0,
    cases=(case(gate="first", formula="b / (1 + exp(-a))"),),
    layer="torch.nn.GLU",
    peers={
        "torch": "torch.nn.functional.glu",
        "jax": "jax.nn.glu",
        "keras": "keras.activations.glu",
        "flax": "flax.linen.glu",
        "mlx": "mlx.nn.glu",
        "timm": "timm.layers.GluMlp",
    },
    output_axis="resized",
)
def glu(xp: Namespace, x: Array, axis: HalvedAxis = -1, gate: Gate = "last") -> Any:
    """Gated linear unit, a*sigmoid(b) for the halves a and b of the axis.

    >>> ax.glu(np.array([1.0, 3.0, 0.0, np.inf]))
    array([0.5, 3. ])
    """
    a, b = _halves("glu", x, axis, gate)
    return x_sigmoid(xp, ones_like_nan(xp, b), b, factor=a, closed=1e-30)


def _halves(
    name: str, x: Any, axis: int, gate: Any, interleaved: bool = False, **parameters: Any
) -> tuple[Any, Any]:
    """Return the half that is multiplied by the gate, and the gate; arrays broadcast to them."""
    if not isinstance(gate, str):
        halves = x, gate
    else:
        size = x.shape[axis]
        if size % 2:
            raise ValueError(f"{name}: the size of axis {axis} must be even, got {size}")
        middle = size // 2
        cuts = [slice(None, middle), slice(middle, None)]
        if interleaved:
            cuts = [slice(None, None, 2), slice(min(1, size), None, 2)]
        first, last = (slice_axis(x, axis, cut) for cut in cuts)
        halves = (first, last) if gate == "last" else (last, first)
    for parameter, value in parameters.items():
        if is_array(value) and not broadcasts_to(value.shape, _result_shape(*halves)):
            raise ValueError(
                f"{name}: {parameter} of shape {tuple(value.shape)} does not broadcast to the"
                f" result, of shape {_result_shape(*halves)}"
            )
    return halves


def _result_shape(a: Any, b: Any) -> tuple[int, ...]:
    """Return the shape that the half and its gate broadcast to."""
    pairs = zip_longest(a.shape[::-1], b.shape[::-1], fillvalue=1)
    return tuple(n if m == 1 else m for m, n in pairs)[::-1]


def _define_gate_gradients(glu: Any, activation: Any) -> None:
    """Give a*activation(b) its vjp, and its derivatives with respect to gate and parameters."""
    by_parameters = activation.definition.parameter_derivatives
    shared = glu.definition.parameters.keys() & activation.definition.parameters.keys()

    @glu.defvjp
    def vjp(xp, g, x, axis=-1, gate="last", *args, **kwargs):
        def by_value(a, b):
            return activation.impl(xp, b, *args, **kwargs)

        def by_gate(a, b):
            return a * activation.derivative.impl(xp, b, *args, **kwargs)

        given = {"beta": args[0]} if "beta" in shared else {}
        return _glu_vjp(xp, glu.__name__, g, x, axis, gate, by_value, by_gate, **given)

    @glu.defderivative("gate", *shared)
    def derivative(xp, x, axis=-1, gate="last", *args, **kwargs):
        a, b = _halves(glu.__name__, x, axis, gate)
        found = {}
        if not isinstance(gate, str):
            found["gate"] = a * activation.derivative.impl(xp, b, *args, **kwargs)
        if by_parameters is not None and any(map(is_array, args)):
            derivatives = by_parameters(xp, b, *args, **kwargs)
            found |= {parameter: a * dy for parameter, dy in derivatives.items()}
        return found


def _glu_vjp(
    xp: Namespace,
    name: str,
    g: Any,
    x: Any,
    axis: int,
    gate: Any,
    by_value: Callable[[Any, Any], Any],
    by_gate: Callable[[Any, Any], Any],
    interleaved: bool = False,
    **parameters: Any,
) -> dict[str, Any]:
    """Return the gradient of x: of its halves, or of all of it if the gate is an array."""
    a, b = _halves(name, x, axis, gate, interleaved, **parameters)
    check_shape(f"{name}.vjp", "g", g, _result_shape(a, b))
    if not isinstance(gate, str):
        return {"x": unbroadcast(xp, g * by_value(a, b), x.shape)}
    parts = [g * by_value(a, b), g * by_gate(a, b)]
    if gate == "first":
        parts = parts[::-1]
    if not interleaved:
        return {"x": xp.concat(parts, axis=axis)}
    pair = (*a.shape[: axis + 1], 1, *a.shape[axis + 1 :])
    parts = [xp.reshape(part, pair) for part in parts]
    return {"x": xp.reshape(xp.concat(parts, axis=axis + 1), x.shape)}


_define_gate_gradients(glu, sigmoid)


@glu.defcomplex
def _(xp, x, axis, gate):
    a, b = _halves("glu", x, axis, gate)
    return cmath.z_sigmoid(xp, a, b)


@glu.defcomplex("vjp")
def _(xp, g, x, axis, gate):
    def by_value(a, b):
        return cmath.sigmoid(xp, b)

    def by_gate(a, b):
        return a * cmath.sigmoid_derivative(xp, b)

    return _glu_vjp(xp, "glu", g, x, axis, gate, by_value, by_gate)


@glu.defcomplex("gate")
def _(xp, x, axis, gate):
    if isinstance(gate, str):
        return {}
    return {"gate": x * cmath.sigmoid_derivative(xp, gate)}


@activation(
    formula="a * b",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=0.5,
    cases=(case(gate="first", formula="b * a"),),
    layer="BilinearGLU",
    peers={"megatron-lm": "LiGLU"},
    output_axis="resized",
)
def bilinear_glu(xp: Namespace, x: Array, axis: HalvedAxis = -1, gate: Gate = "last") -> Any:
    """Bilinear gated linear unit, a*b for the halves a and b of the axis.

    >>> ax.bilinear_glu(np.array([1.0, 2.0, 3.0, -4.0]))
    array([ 3., -8.])
    """
    a, b = _halves("bilinear_glu", x, axis, gate)
    return a * b


_define_gate_gradients(bilinear_glu, identity)


@activation(
    formula="a * maximum(b, 0)",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=0.5,
    cases=(case(gate="first", formula="b * maximum(a, 0)"),),
    layer="ReGLU",
    peers={
        "timm": Peer("timm.layers.GluMlp", act_layer="ReLU"),
        "torch-activation": Peer("torch_activation.ReGLU", note="gate first"),
    },
    output_axis="resized",
)
def reglu(xp: Namespace, x: Array, axis: HalvedAxis = -1, gate: Gate = "last") -> Any:
    """ReLU-gated linear unit, a*relu(b) for the halves a and b of the axis.

    >>> ax.reglu(np.array([1.0, 2.0, 3.0, -4.0]))
    array([3., 0.])
    """
    a, b = _halves("reglu", x, axis, gate)
    return a * relu.impl(xp, b)


_define_gate_gradients(reglu, relu)


@activation(
    formula="a * b * erfc(-b / sqrt(2)) / 2",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    # more than gelu, for the square of the root of the density
    ulp=5.0,
    cases=(
        case(gate="first", formula="b * a * erfc(-a / sqrt(2)) / 2"),
        case(
            approximate="tanh",
            formula="a * b / 2 * (1 + tanh(sqrt(2 / pi) * (b + 0.044715 * b**3)))",
            ulp=4.0,
        ),
        case(approximate="sigmoid", formula="a * b / (1 + exp(-1.702 * b))", ulp=4.0),
    ),
    layer="GEGLU",
    peers={
        "timm": Peer("timm.layers.GluMlp", act_layer="GELU"),
        "torch-activation": Peer("torch_activation.GEGLU", note="gate first"),
    },
    output_axis="resized",
)
def geglu(
    xp: Namespace,
    x: Array,
    axis: HalvedAxis = -1,
    gate: Gate = "last",
    approximate: Literal["none", "tanh", "sigmoid"] | bool = "none",
) -> Any:
    """GELU-gated linear unit, a*gelu(b) for the halves a and b of the axis.

    Parameters
    ----------
    approximate : {"none", "tanh", "sigmoid"} or bool, optional
        How gelu is computed; see `gelu`.

    >>> ax.geglu(np.array([1.0, 2.0, 1.0, -np.inf]))
    array([ 0.84134475, -0.        ])
    """
    a, b = _halves("geglu", x, axis, gate)
    t = gelu_sigmoid_argument(xp, b, approximate)
    if t is not None:
        return x_sigmoid(xp, b, t, factor=a)
    near = xp.minimum(xp.maximum(b, -NORMAL_TAIL_CUTOFF), NORMAL_TAIL_CUTOFF)
    size = xp.abs(near)
    # e*e is exp(-b*b/2), of which one factor at a time keeps gelu(b) from being subnormal
    e, ratio = exp_neg_square(xp, size, 0.25), mills_ratio(xp, size, near).value
    return xp.where(b >= 0, a * (b - ratio * e * e), a * ratio * e * e)


_define_gate_gradients(geglu, gelu)


@activation(
    formula="1.0507009873554805 * a * where(b > 0, b, 1.6732632423543772 * expm1(b))",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202; with the unit of "
    "Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.",
    ulp=5.0,
    cases=(
        case(
            gate="first",
            formula="1.0507009873554805 * b * where(a > 0, a, 1.6732632423543772 * expm1(a))",
        ),
    ),
    layer="SEGLU",
    peers={"timm": Peer("timm.layers.GluMlp", act_layer="SELU")},
    output_axis="resized",
)
def seglu(xp: Namespace, x: Array, axis: HalvedAxis = -1, gate: Gate = "last") -> Any:
    """SELU-gated linear unit, a*selu(b) for the halves a and b of the axis.

    >>> ax.seglu(np.array([1.0, 2.0, 1.0, -np.inf]))
    array([ 1.05070099, -3.51619868])
    """
    a, b = _halves("seglu", x, axis, gate)
    return a * selu.impl(xp, b)


_define_gate_gradients(seglu, selu)


@activation(
    formula="a * b / (1 + exp(-beta * b))",
    source="Shazeer, GLU variants improve transformer, arXiv:2002.05202.",
    ulp=4.0,
    cases=(case(gate="first", formula="b * a / (1 + exp(-beta * a))"), case(beta=2.0)),
    layer="SwiGLU",
    peers={
        "timm": Peer("timm.layers.SwiGLUPacked", note="gate first"),
        "torch-activation": Peer("torch_activation.SwiGLU", note="gate first"),
    },
    output_axis="resized",
)
def swiglu(
    xp: Namespace, x: Array, axis: HalvedAxis = -1, gate: Gate = "last", beta: FreeArray = 1.0
) -> Any:
    """Swish-gated linear unit, a*silu(b) for the halves a and b of the axis.

    Parameters
    ----------
    beta : number or array, optional
        The sharpness of the gate; see `silu`. It broadcasts to the result.

    >>> ax.swiglu(np.array([1.0, 2.0, 20.0, -np.inf]))
    array([19.99999996, -0.        ])
    """
    a, b = _halves("swiglu", x, axis, gate, beta=beta)
    return x_sigmoid(xp, b, exact(xp, beta) * exact(xp, b), factor=a)


_define_gate_gradients(swiglu, silu)


@activation(
    formula="(clip(a, -limit, limit) + 1) * minimum(b, limit)"
    " / (1 + exp(-alpha * minimum(b, limit)))",
    source="OpenAI, gpt-oss-120b & gpt-oss-20b model card, arXiv:2508.10925.",
    ulp=4.0,
    constraints=("limit > 0",),
    cases=(
        case(
            gate="first",
            interleaved=True,
            formula="(clip(reshape(x, (-1, 2))[:, 1], -limit, limit) + 1)"
            " * minimum(reshape(x, (-1, 2))[:, 0], limit)"
            " / (1 + exp(-alpha * minimum(reshape(x, (-1, 2))[:, 0], limit)))",
        ),
        case(alpha=1.0, limit=2.0),
    ),
    layer="ClippedSwiGLU",
    peers={"transformers": "transformers.models.gpt_oss.modeling_gpt_oss.GptOssExperts"},
    output_axis="resized",
)
def clipped_swiglu(
    xp: Namespace,
    x: Array,
    axis: HalvedAxis = -1,
    gate: Gate = "last",
    alpha: FreeArray = 1.702,
    limit: FreeArray = 7.0,
    interleaved: bool = False,
) -> Any:
    """Clipped swish-gated linear unit, (a + 1)*b*sigmoid(alpha*b) with a and b clipped.

    gpt-oss packs its weights with ``gate="first"`` and ``interleaved=True``.

    Parameters
    ----------
    alpha : number or array, optional
        The sharpness of the gate. It broadcasts to the result.
    limit : number or array, optional
        The bound of a on both sides and of b above, greater than 0. It broadcasts to the result.
    interleaved : bool, optional
        Whether the halves are every other element.

    >>> ax.clipped_swiglu(np.array([1.0, 20.0, 1.0, -np.inf]))
    array([ 1.69159153, -0.        ])
    """
    a, b = _halves("clipped_swiglu", x, axis, gate, interleaved, alpha=alpha, limit=limit)
    factor, b = _clip(xp, a, b, limit)
    return x_sigmoid(xp, b, exact(xp, alpha) * exact(xp, b), factor=factor)


@clipped_swiglu.defvjp
def _(xp, g, x, axis, gate, alpha, limit, interleaved):
    def by_value(a, b):
        by_a, _ = _clipped_swiglu_derivatives(xp, a, b, alpha, limit)
        return xp.where(xp.abs(a) > limit, 0.0, by_a)

    def by_gate(a, b):
        _, by_b = _clipped_swiglu_derivatives(xp, a, b, alpha, limit)
        return xp.where(b > limit, 0.0, by_b)

    given = {"interleaved": interleaved, "alpha": alpha, "limit": limit}
    return _glu_vjp(xp, "clipped_swiglu", g, x, axis, gate, by_value, by_gate, **given)


@clipped_swiglu.defderivative("gate", "alpha", "limit")
def _(xp, x, axis, gate, alpha, limit, interleaved):
    a, b = _halves("clipped_swiglu", x, axis, gate, interleaved)
    by_a, by_b = _clipped_swiglu_derivatives(xp, a, b, alpha, limit)
    found = {"gate": xp.where(b > limit, 0.0, by_b)}
    if is_array(alpha):
        factor, gate = _clip(xp, a, b, limit)
        derivatives: Any = silu.definition.parameter_derivatives
        by_beta = derivatives(xp, gate, alpha)
        found["alpha"] = factor * by_beta["beta"]
    if is_array(limit):
        by_bound = xp.where(xp.abs(a) > limit, xp.sign(a) * by_a, 0.0)
        found["limit"] = by_bound + xp.where(b > limit, by_b, 0.0)
    return found


def _clip(xp: Namespace, a: Any, b: Any, limit: float | Array) -> tuple[Any, Any]:
    """Return the factor and the gate."""
    return xp.minimum(xp.maximum(a, -limit), limit) + 1, xp.minimum(b, limit)


def _clipped_swiglu_derivatives(
    xp: Namespace, a: Any, b: Any, alpha: float | Array, limit: float | Array
) -> tuple[Any, Any]:
    """Return the derivatives with respect to a and b as they are after clipping."""
    factor, gate = _clip(xp, a, b, limit)
    return silu.impl(xp, gate, alpha), factor * silu.derivative.impl(xp, gate, alpha)
