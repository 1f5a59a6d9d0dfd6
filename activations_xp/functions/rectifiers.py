"""Rectifiers: piecewise linear functions, and squares of them, that pass positive values."""

from __future__ import annotations

from math import inf
from typing import Any

from .._define import Peer, activation, case
from .._parameters import ArrayOrNumber
from .._typing import Array, Namespace
from ..numerics import cmath
from ..numerics.arrays import is_zero, ones_like_nan, zeros_like

__all__ = [
    "identity",
    "leaky_relu",
    "relu",
    "relu6",
    "relu_squared",
    "step",
    "threshold",
    "thresholded_relu",
]


@activation(
    formula="x",
    source="The linear unit; no publication claims it.",
    ulp=0.0,
    aliases=("linear",),
    layer="torch.nn.Identity",
    peers={
        "torch": "torch.nn.Identity",
        "jax": "jax.nn.identity",
        "keras": "keras.activations.linear",
        "transformers": "linear",
        "timm": "identity",
    },
    preserves_integers=True,
    monotonic=True,
    parity="odd",
    fixed_points=None,
    lipschitz=1.0,
)
def identity(xp: Namespace, x: Array) -> Any:
    """Identity function, x itself (the same object).

    >>> ax.identity(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return x


@identity.defderivative
def _(xp, x):
    return ones_like_nan(xp, x)


@identity.defcomplex
def _(xp, x):
    return x


@identity.defcomplex("derivative")
def _(xp, x):
    real, imag = ones_like_nan(xp, xp.real(x)), ones_like_nan(xp, xp.imag(x))
    return cmath.make_complex(xp, real, 0 * imag)


@activation(
    formula="maximum(x, 0)",
    source="Nair & Hinton, Rectified linear units improve restricted Boltzmann machines, "
    "ICML 2010.",
    constraints=("max_value >= 0",),
    cases=(
        case(negative_slope=0.25, formula="where(x > 0, x, negative_slope * x)"),
        case(max_value=6.0, formula="minimum(maximum(x, 0), max_value)"),
        case(
            negative_slope=0.5,
            max_value=2.0,
            threshold=1.0,
            formula="minimum(where(x > threshold, x, negative_slope * (x - threshold)), max_value)",
        ),
    ),
    relatives={
        "leaky_relu": {"negative_slope": 0.01},
        "relu6": {"max_value": 6.0},
        "thresholded_relu": {"threshold": 1.0},
        "identity": {"negative_slope": 1.0},
    },
    layer="torch.nn.ReLU",
    peers={
        "torch": "torch.nn.functional.relu",
        "jax": "jax.nn.relu",
        "keras": "keras.activations.relu",
        "tensorflow": "tf.nn.relu",
        "mlx": "mlx.nn.relu",
        "transformers": "relu",
        "timm": "relu",
    },
    preserves_integers=True,
    range=(0.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    kinks=(0.0,),
)
def relu(
    xp: Namespace,
    x: Array,
    negative_slope: ArrayOrNumber = 0.0,
    max_value: ArrayOrNumber | None = None,
    threshold: ArrayOrNumber = 0.0,
) -> Any:
    """Rectified linear unit, max(x, 0), with Keras's parameters.

    The result is x where x > threshold, and ``negative_slope * (x - threshold)`` elsewhere, but at
    most `max_value`.

    Parameters
    ----------
    negative_slope : number or array, optional
        The slope below `threshold`.
    max_value : number or array, optional
        The largest value. None means that there is no bound.
    threshold : number or array, optional
        The x above which the result is x.

    >>> ax.relu(np.array([-1.0, 0.5, 8.0]), max_value=6.0)
    array([0. , 0.5, 6. ])
    """
    if not is_zero(negative_slope):
        y = xp.where(x > threshold, x, negative_slope * (x - threshold))
    elif is_zero(threshold):
        x = y = xp.maximum(x, 0)
    else:
        y = xp.where(x <= threshold, 0.0, x)
    return y if max_value is None else xp.where(y >= max_value, max_value, y)


@relu.defderivative
def _(xp, x, negative_slope, max_value, threshold):
    dy_dx = xp.where(x > threshold, 1.0, negative_slope * ones_like_nan(xp, x))
    if max_value is None:
        return dy_dx
    y = relu.impl(xp, x, negative_slope, None, threshold)
    return xp.where(y >= max_value, 0.0, dy_dx)


@relu.defderivative("negative_slope", "max_value", "threshold")
def _(xp, x, negative_slope, max_value, threshold):
    one = ones_like_nan(xp, x)
    is_open = x > threshold
    derivatives = {
        "negative_slope": xp.where(is_open, 0.0, x - threshold),
        "threshold": xp.where(is_open, 0.0, -negative_slope * one),
    }
    if max_value is None:
        return derivatives
    is_below = relu.impl(xp, x, negative_slope, None, threshold) < max_value
    derivatives = {name: xp.where(is_below, d, 0.0) for name, d in derivatives.items()}
    return {**derivatives, "max_value": xp.where(is_below, 0.0, one)}


@activation(
    formula="where(x > 0, x, negative_slope * x)",
    source="Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models, "
    "ICML 2013.",
    cases=(case(negative_slope=0.2), case(negative_slope=3.0)),
    relatives={"relu": {"negative_slope": 0.0}, "identity": {"negative_slope": 1.0}},
    layer="torch.nn.LeakyReLU",
    peers={
        "torch": "torch.nn.functional.leaky_relu",
        "jax": "jax.nn.leaky_relu",
        "keras": Peer("keras.activations.leaky_relu", negative_slope=0.2),
        "tensorflow": Peer("tf.nn.leaky_relu", alpha=0.2),
        "mlx": "mlx.nn.leaky_relu",
        "transformers": "leaky_relu",
        "timm": "leaky_relu",
    },
    monotonic=True,
    fixed_points=(0.0, 1.0, 7.5),
    lipschitz=1.0,
    kinks=(0.0,),
)
def leaky_relu(xp: Namespace, x: Array, negative_slope: ArrayOrNumber = 0.01) -> Any:
    """Leaky rectified linear unit, x where x > 0, negative_slope*x elsewhere.

    Parameters
    ----------
    negative_slope : number or array, optional
        The slope below 0, and the derivative at 0.

    >>> ax.leaky_relu(np.array([-1.0, 2.0]), 0.25)
    array([-0.25,  2.  ])
    """
    return relu.impl(xp, x, negative_slope)


@leaky_relu.defderivative
def _(xp, x, negative_slope):
    return xp.where(x > 0, 1.0, negative_slope * ones_like_nan(xp, x))


@leaky_relu.defderivative("negative_slope")
def _(xp, x, negative_slope):
    return {"negative_slope": xp.minimum(x, 0.0)}


@activation(
    formula="minimum(maximum(x, 0), 6)",
    source="Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.",
    layer="torch.nn.ReLU6",
    peers={
        "torch": "torch.nn.functional.relu6",
        "jax": "jax.nn.relu6",
        "keras": "keras.activations.relu6",
        "tensorflow": "tf.nn.relu6",
        "mlx": "mlx.nn.relu6",
        "transformers": "relu6",
        "timm": "relu6",
    },
    ulp=0.0,
    range=(0.0, 6.0),
    monotonic=True,
    fixed_points=(0.0, 1.0, 6.0),
    lipschitz=1.0,
    kinks=(0.0, 6.0),
)
def relu6(xp: Namespace, x: Array) -> Any:
    """Rectified linear unit with an upper bound, min(max(x, 0), 6).

    >>> ax.relu6(np.array([-1.0, 0.5, 8.0]))
    array([0. , 0.5, 6. ])
    """
    return relu.impl(xp, x, max_value=6.0)


@relu6.defderivative
def _(xp, x):
    return xp.where((x <= 0) | (x >= 6), 0.0, ones_like_nan(xp, x))


@activation(
    formula="maximum(x, 0)**2",
    source="So et al., Primer: searching for efficient transformers for language modeling, "
    "arXiv:2109.08668.",
    ulp=0.5,
    aliases=("relu2", "squared_relu"),
    layer="ReLUSquared",
    peers={
        "mlx": "mlx.nn.relu2",
        "transformers": "relu2",
        "timm": "timm.models.metaformer.SquaredReLU",
        "torch-activation": "torch_activation.SquaredReLU",
    },
    range=(0.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.0),
    smoothness=1,
    kinks=(0.0,),
)
def relu_squared(xp: Namespace, x: Array) -> Any:
    """Square of the rectified linear unit, max(x, 0)**2.

    >>> ax.relu_squared(np.array([-1.0, 0.5, 3.0]))
    array([0.  , 0.25, 9.  ])
    """
    y = xp.maximum(x, 0.0)
    return y * y


@relu_squared.defderivative
def _(xp, x):
    return 2 * xp.maximum(x, 0.0)


@activation(
    formula="where(x > theta, x, 0)",
    source="Konda, Memisevic & Krueger, Zero-bias autoencoders and the benefits of co-adapting "
    "features, arXiv:1402.3337.",
    ulp=0.0,
    cases=(case(theta=0.0), case(theta=-2.0)),
    relatives={"relu": {"theta": 0.0}, "identity": {"theta": -inf}},
    layer="ThresholdedReLU",
    peers={"tf_keras": "tf_keras.layers.ThresholdedReLU", "onnx": "ThresholdedRelu"},
    range=(0.0, inf),
    monotonic=True,
    fixed_points=(0.0, 1.5, 7.5),
    smoothness=-1,
    kinks=(1.0,),
)
def thresholded_relu(xp: Namespace, x: Array, theta: ArrayOrNumber = 1.0) -> Any:
    """Thresholded rectified linear unit, x where x > theta, 0 elsewhere.

    Parameters
    ----------
    theta : number or array, optional
        The x above which the result is x. Value and derivative there are 0.

    >>> ax.thresholded_relu(np.array([-1.0, 1.0, 1.5]))
    array([0. , 0. , 1.5])
    """
    return relu.impl(xp, x, threshold=theta)


@thresholded_relu.defderivative
def _(xp, x, theta):
    return xp.where(x <= theta, 0.0, ones_like_nan(xp, x))


@thresholded_relu.defderivative("theta")
def _(xp, x, theta):
    return {"theta": zeros_like(xp, x)}


@activation(
    formula="where(x > threshold, x, value)",
    source="PyTorch 2.13, torch.nn.Threshold; in Torch7 since 2012.",
    ulp=0.5,
    cases=(
        case(threshold=0.5, value=-0.25),
        case(threshold=0.0, value=0.0),
        case(threshold=-1.0, value=20.0),
    ),
    relatives={
        "relu": {"threshold": 0.0, "value": 0.0},
        "thresholded_relu": {"threshold": 1.0, "value": 0.0},
        "identity": {"threshold": -inf, "value": 0.0},
    },
    layer="torch.nn.Threshold",
    peers={"torch": "torch.nn.functional.threshold", "keras": "keras.activations.threshold"},
    range=(-0.25, inf),
    monotonic=True,
    fixed_points=(-0.25, 1.0, 7.5),
    smoothness=-1,
    kinks=(0.5,),
)
def threshold(xp: Namespace, x: Array, threshold: ArrayOrNumber, value: ArrayOrNumber) -> Any:
    """Threshold function, x where x > threshold, value elsewhere.

    Parameters
    ----------
    threshold : number or array
        The largest x that is replaced. The derivative there is 0.
    value : number or array
        The replacement.

    >>> ax.threshold(np.array([-1.0, 0.5, 8.0]), 0.5, -0.25)
    array([-0.25, -0.25,  8.  ])
    """
    return xp.where(x <= threshold, value, x)


@threshold.defderivative
def _(xp, x, threshold, value):
    return xp.where(x <= threshold, 0.0, ones_like_nan(xp, x))


@threshold.defderivative("threshold", "value")
def _(xp, x, threshold, value):
    return {
        "threshold": zeros_like(xp, x),
        "value": xp.where(x > threshold, 0.0, ones_like_nan(xp, x)),
    }


@activation(
    formula="where(x >= threshold, 1, 0)",
    source="McCulloch & Pitts, A logical calculus of the ideas immanent in nervous activity, 1943.",
    ulp=0.0,
    aliases=("heaviside",),
    cases=(case(threshold=2.0), case(threshold=-0.5)),
    peers={"keras": Peer("keras.ops.heaviside", x2=1), "mlx": "mlx.nn.step"},
    range=(0.0, 1.0),
    monotonic=True,
    fixed_points=(1.0,),
    smoothness=-1,
    kinks=(0.0,),
)
def step(xp: Namespace, x: Array, threshold: ArrayOrNumber = 0.0) -> Any:
    """Heaviside step, 1 where x >= threshold, 0 elsewhere.

    Its derivative is 0 everywhere, also at the step.

    Parameters
    ----------
    threshold : number or array, optional
        The smallest x with the value 1.

    >>> ax.step(np.array([-1.0, 0.0, 2.0]))
    array([0., 1., 1.])
    """
    return xp.where(x < threshold, 0.0, ones_like_nan(xp, x))


@step.defderivative
def _(xp, x, threshold):
    return 0.0 * ones_like_nan(xp, x)


@step.defderivative("threshold")
def _(xp, x, threshold):
    return {"threshold": zeros_like(xp, x)}
