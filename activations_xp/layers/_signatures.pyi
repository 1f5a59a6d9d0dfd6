# mypy: disable-error-code=misc
"""The layers of functions, abstract, as type checkers read them; ``nox -s tables`` writes it."""

from collections.abc import Sequence
from typing import Any, Literal

from .._parameters import Axes, Axis, Count, NewAxis, Number
from ..functions.gates import Gate, HalvedAxis
from ._layers import Activation

class ACONC(Activation):
    """ACON-C, (p1 - p2)*x*sigmoid(beta*(p1 - p2)*x) + p2*x, a smooth maximum of two lines."""

    p1: Any
    p2: Any
    beta: Any

    def __init__(
        self,
        p1: float = 1.0,
        p2: float = 0.0,
        beta: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["p1", "p2", "beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ARiA2(Activation):
    """ARiA2, x*sigmoid(beta*x)**alpha."""

    alpha: Any
    beta: Any

    def __init__(
        self,
        alpha: float = 1.5,
        beta: float = 2.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha", "beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class AlphaDropout(Activation):
    """Alpha dropout, a*x + b, where x is replaced by selu(-inf) with probability p."""

    p: Any

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["p"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class BentIdentity(Activation):
    """Bent identity, x + (sqrt(x*x + 1) - 1)/2, with slope 1/2 far to the left, 3/2 to the right."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class BilinearGLU(Activation):
    """Bilinear gated linear unit, a*b for the halves a and b of the axis."""

    axis: HalvedAxis
    gate: Gate

    def __init__(self, axis: HalvedAxis = -1, gate: Gate = "last") -> None: ...

class CELU(Activation):
    """Continuously differentiable ELU, x where x > 0, alpha*(exp(x/alpha) - 1) elsewhere."""

    alpha: Any

    def __init__(
        self,
        alpha: float = 1.0,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class CReLU(Activation):
    """Concatenated rectified linear unit, max(x, 0) and max(-x, 0) one after the other."""

    axis: Axis

    def __init__(self, axis: Axis = -1) -> None: ...

class ClippedGELU(Activation):
    """Gaussian error linear unit clipped to [min_val, max_val], for quantization."""

    min_val: Any
    max_val: Any

    def __init__(
        self,
        min_val: float = -10.0,
        max_val: float = 10.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["min_val", "max_val"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ClippedSwiGLU(Activation):
    """Clipped swish-gated linear unit, (a + 1)*b*sigmoid(alpha*b) with a and b clipped."""

    axis: HalvedAxis
    gate: Gate
    alpha: Any
    limit: Any
    interleaved: bool

    def __init__(
        self,
        axis: HalvedAxis = -1,
        gate: Gate = "last",
        alpha: float = 1.702,
        limit: float = 7.0,
        interleaved: bool = False,
        *,
        learned: Sequence[Literal["alpha", "limit"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class CoLU(Activation):
    """Collapsing linear unit, x/(1 - x*exp(-x - exp(x)))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Dropout(Activation):
    """Dropout, 0 with probability p and x/(1 - p) otherwise."""

    p: Any

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["p"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ELU(Activation):
    """Exponential linear unit, x where x > 0, alpha*(exp(x) - 1) elsewhere."""

    alpha: Any

    def __init__(
        self,
        alpha: float = 1.0,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ELiSH(Activation):
    """Exponential linear sigmoid squashing, sigmoid(x) times x where x > 0, exp(x) - 1 elsewhere."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class ESwish(Activation):
    """E-swish, beta*x*sigmoid(x)."""

    beta: Any

    def __init__(
        self,
        beta: float = 1.75,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Entmax(Activation):
    """Entmax, max((alpha - 1)*x - t, 0)**(1/(alpha - 1)) along an axis, with the sum 1."""

    alpha: Any
    axis: Axes
    n_iter: Count

    def __init__(
        self,
        alpha: float = 1.5,
        axis: Axes = -1,
        n_iter: Count = 50,
        *,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Entmax15(Activation):
    """Entmax of alpha 1.5, max(x/2 - t, 0)**2 along an axis, with the t that makes the sum 1."""

    axis: Axes

    def __init__(self, axis: Axes = -1) -> None: ...

class Erf(Activation):
    """Error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class ErfAct(Activation):
    """ErfAct, x*erf(alpha*exp(beta*x))."""

    alpha: Any
    beta: Any

    def __init__(
        self,
        alpha: float,
        beta: float,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha", "beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Erfc(Activation):
    """Complementary error function, 1 - erf(x), to the last digits of the tail."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Erfinv(Activation):
    """Inverse of the error function, the y with erf(y) = x."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Exponential(Activation):
    """Exponential function, exp(x)."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class FeatureAlphaDropout(Activation):
    """Alpha dropout of whole channels, a*x + b, where x becomes selu(-inf) with probability p."""

    p: Any

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["p"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class FlattenTSwish(Activation):
    """Flatten-T swish, x*sigmoid(x) where x > 0, 0 elsewhere, plus a threshold."""

    threshold: Any

    def __init__(
        self,
        threshold: float = -0.2,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["threshold"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class GCU(Activation):
    """Growing cosine unit, x*cos(x)."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class GEGLU(Activation):
    """GELU-gated linear unit, a*gelu(b) for the halves a and b of the axis."""

    axis: HalvedAxis
    gate: Gate
    approximate: Literal["none", "tanh", "sigmoid"] | bool

    def __init__(
        self,
        axis: HalvedAxis = -1,
        gate: Gate = "last",
        approximate: Literal["none", "tanh", "sigmoid"] | bool = "none",
    ) -> None: ...

class GELU(Activation):
    """Gaussian error linear unit, x*Phi(x), Phi the standard normal distribution."""

    approximate: Literal["none", "tanh", "sigmoid"] | bool

    def __init__(
        self,
        approximate: Literal["none", "tanh", "sigmoid"] | bool = "none",
        *,
        inplace: bool = False,
    ) -> None: ...

class GLU(Activation):
    """Gated linear unit, a*sigmoid(b) for the halves a and b of the axis."""

    dim: HalvedAxis
    gate: Gate

    def __init__(self, dim: HalvedAxis = -1, *, gate: Gate = "last") -> None: ...

class Gaussian(Activation):
    """Gaussian, exp(-x*x)."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Gish(Activation):
    """Gish, x*log(2 - exp(-exp(x)))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class GumbelSoftmax(Activation):
    """Gumbel-softmax, softmax((x - log(-log(u)))/tau) along an axis with uniform noise u."""

    tau: Any
    hard: bool
    axis: Axis

    def __init__(
        self,
        tau: float = 1.0,
        hard: bool = False,
        axis: Axis = -1,
        *,
        learned: Sequence[Literal["tau"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class HardELiSH(Activation):
    """Hard ELiSH, (x + 1)/2 clipped to [0, 1] times x where x > 0, exp(x) - 1 elsewhere."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class HardMish(Activation):
    """Piecewise quadratic mish, x/2 times x + 2 clipped to [0, 2]."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Hardshrink(Activation):
    """Hard threshold, x where |x| > lambd, 0 elsewhere."""

    lambd: Any
    lower: Any
    upper: Any

    def __init__(
        self,
        lambd: float = 0.5,
        *,
        lower: float | None = None,
        upper: float | None = None,
        inplace: bool = False,
        learned: Sequence[Literal["lambd", "lower", "upper"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Hardsigmoid(Activation):
    """Piecewise linear sigmoid, slope*x + offset clipped to [0, 1]."""

    slope: Any
    offset: Any

    def __init__(
        self,
        inplace: bool = False,
        *,
        slope: float = 0.16666666666666666,
        offset: float = 0.5,
        learned: Sequence[Literal["slope", "offset"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Hardswish(Activation):
    """Piecewise quadratic swish, x times (x + 3)/6 clipped to [0, 1]."""

    def __init__(self, inplace: bool = False) -> None: ...

class Hardtanh(Activation):
    """Piecewise linear tanh, x clipped to [min_val, max_val]."""

    min_val: Any
    max_val: Any

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["min_val", "max_val"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ISRLU(Activation):
    """Inverse square root linear unit, x where x > 0, x/sqrt(1 + alpha*x*x) elsewhere."""

    alpha: Any

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ISRU(Activation):
    """Inverse square root unit, x/sqrt(1 + alpha*x*x)."""

    alpha: Any

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Laplace(Activation):
    """Normal distribution function, (1 + erf((x - mu)/(sigma*sqrt(2))))/2."""

    mu: Any
    sigma: Any

    def __init__(
        self,
        mu: float = 0.707107,
        sigma: float = 0.282095,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["mu", "sigma"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class LeakyReLU(Activation):
    """Leaky rectified linear unit, x where x > 0, negative_slope*x elsewhere."""

    negative_slope: Any

    def __init__(
        self,
        negative_slope: float = 0.01,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["negative_slope"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class LiSHT(Activation):
    """Linearly scaled hyperbolic tangent, x*tanh(x)."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Log1mExp(Activation):
    """Logarithm of one minus an exponential, log(1 - exp(-x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class LogCumSumExp(Activation):
    """Logarithms of the cumulative sums of exponentials, log(cumsum(exp(x))) along an axis."""

    axis: Axis
    reverse: bool

    def __init__(self, axis: Axis = -1, reverse: bool = False) -> None: ...

class LogMeanExp(Activation):
    """Logarithm of a mean of exponentials, log(mean(exp(x)))."""

    axis: Axes
    keepdims: bool

    def __init__(self, axis: Axes = None, keepdims: bool = False) -> None: ...

class LogNdtr(Activation):
    """Logarithm of the standard normal distribution, log(Phi(x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class LogSigmoid(Activation):
    """Logarithm of the sigmoid, -log(1 + exp(-x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class LogSoftmax(Activation):
    """Logarithm of the softmax, x - log(sum(exp(x))) along an axis."""

    dim: Axes

    def __init__(self, dim: Axes = None) -> None: ...

class LogSumExp(Activation):
    """Logarithm of a sum of exponentials, log(sum(b*exp(x)))."""

    axis: Axes
    b: Any
    keepdims: bool
    return_sign: bool

    def __init__(
        self,
        axis: Axes = None,
        b: float | None = None,
        keepdims: bool = False,
        return_sign: bool = False,
        *,
        learned: Sequence[Literal["b"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Logaddexp(Activation):
    """Logarithm of the sum of two exponentials, log(exp(x) + exp(y))."""

    y: Any

    def __init__(
        self,
        y: float,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["y"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Logish(Activation):
    """Logish, x*log(1 + sigmoid(x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Logit(Activation):
    """Logit, the inverse of the sigmoid, log(x/(1 - x))."""

    eps: Number | None

    def __init__(self, eps: Number | None = None, *, inplace: bool = False) -> None: ...

class Maxout(Activation):
    """Maxout, the largest of the channels of each unit."""

    num_units: Count
    axis: Axis

    def __init__(self, num_units: Count, axis: Axis = -1) -> None: ...

class Mish(Activation):
    """Mish, x*tanh(softplus(x))."""

    def __init__(self, inplace: bool = False) -> None: ...

class MultiHot(Activation):
    """Multi-hot encoding, 1 at every class that x contains along an axis and 0 at the others."""

    num_classes: Count
    axis: Axis

    def __init__(self, num_classes: Count, axis: Axis = -1) -> None: ...

class NLReLU(Activation):
    """Natural logarithm rectified linear unit, log(1 + beta*max(x, 0))."""

    beta: Any

    def __init__(
        self,
        beta: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Ndtr(Activation):
    """Standard normal distribution, Phi(x), to the last digits of the tail."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Ndtri(Activation):
    """Inverse of the standard normal distribution or probit, the z with Phi(z) = x."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Normalize(Activation):
    """Unit vector, x/max(norm, epsilon) along an axis, with norm = sum(abs(x)**order)**(1/order)."""

    axis: Axes
    order: Number
    epsilon: Number

    def __init__(self, axis: Axes = -1, order: Number = 2.0, epsilon: Number = 1e-12) -> None: ...

class OneHot(Activation):
    """One-hot encoding, 1 at class x and 0 at the others."""

    num_classes: Count
    axis: NewAxis

    def __init__(self, num_classes: Count, axis: NewAxis = -1) -> None: ...

class Phish(Activation):
    """Phish, x*tanh(gelu(x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Pserf(Activation):
    """Parametric serf, x*erf(gamma*softplus(delta*x))."""

    gamma: Any
    delta: Any

    def __init__(
        self,
        gamma: float,
        delta: float,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["gamma", "delta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class RReLU(Activation):
    """Randomized leaky rectified linear unit, x where x > 0, x times a random slope elsewhere."""

    lower: Any
    upper: Any

    def __init__(
        self,
        lower: float = 0.125,
        upper: float = 0.3333333333333333,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["lower", "upper"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Rational(Activation):
    """Pade activation unit, P(x)/(1 + |Q(x)|) with polynomials P and Q."""

    numerator: Sequence[float]
    denominator: Sequence[float]

    def __init__(
        self,
        numerator: Sequence[float] = ...,
        denominator: Sequence[float] = (1.14201226, 4.39322834, 0.8715445, 0.34720652),
        *,
        inplace: bool = False,
    ) -> None: ...

class ReGLU(Activation):
    """ReLU-gated linear unit, a*relu(b) for the halves a and b of the axis."""

    axis: HalvedAxis
    gate: Gate

    def __init__(self, axis: HalvedAxis = -1, gate: Gate = "last") -> None: ...

class ReLU(Activation):
    """Rectified linear unit, max(x, 0), with Keras's parameters."""

    negative_slope: Any
    max_value: Any
    threshold: Any

    def __init__(
        self,
        inplace: bool = False,
        *,
        negative_slope: float = 0.0,
        max_value: float | None = None,
        threshold: float = 0.0,
        learned: Sequence[Literal["negative_slope", "max_value", "threshold"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ReLU6(Activation):
    """Rectified linear unit with an upper bound, min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False) -> None: ...

class ReLUSquared(Activation):
    """Square of the rectified linear unit, max(x, 0)**2."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class SEGLU(Activation):
    """SELU-gated linear unit, a*selu(b) for the halves a and b of the axis."""

    axis: HalvedAxis
    gate: Gate

    def __init__(self, axis: HalvedAxis = -1, gate: Gate = "last") -> None: ...

class SELU(Activation):
    """Scaled exponential linear unit, scale*x where x > 0, scale*alpha*(exp(x) - 1) elsewhere."""

    def __init__(self, inplace: bool = False) -> None: ...

class SQNL(Activation):
    """Square nonlinearity, x - x*|x|/4 between -2 and 2, -1 below, 1 above."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class SReLU(Activation):
    """S-shaped rectified linear unit, x between two thresholds and lines of other slopes outside."""

    t_left: Any
    a_left: Any
    t_right: Any
    a_right: Any

    def __init__(
        self,
        t_left: float,
        a_left: float,
        t_right: float,
        a_right: float,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["t_left", "a_left", "t_right", "a_right"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Serf(Activation):
    """Serf, x*erf(softplus(x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class ShiLU(Activation):
    """Scaled and shifted rectified linear unit, alpha*max(x, 0) + beta."""

    alpha: Any
    beta: Any

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 0.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha", "beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class SiLU(Activation):
    """Sigmoid linear unit or swish, x*sigmoid(beta*x)."""

    beta: Any

    def __init__(
        self,
        inplace: bool = False,
        *,
        beta: float = 1.0,
        learned: Sequence[Literal["beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Sigmoid(Activation):
    """Logistic function, 1/(1 + exp(-x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Sine(Activation):
    """Sine, sin(frequency*x), accurate for a large x too."""

    frequency: Any

    def __init__(
        self,
        frequency: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["frequency"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Smish(Activation):
    """Smish, x*tanh(log(1 + sigmoid(x)))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class SmoothStep(Activation):
    """Smooth step, the cubic from 0 at -gamma/2 to 1 at gamma/2, flat at both ends and outside."""

    gamma: Any

    def __init__(
        self,
        gamma: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["gamma"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Snake(Activation):
    """Snake, x + sin(frequency*x)**2/frequency."""

    frequency: Any

    def __init__(
        self,
        frequency: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["frequency"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class SoftClipping(Activation):
    """Soft clipping to [0, 1], log((1 + exp(alpha*x))/(1 + exp(alpha*(x - 1))))/alpha."""

    alpha: Any

    def __init__(
        self,
        alpha: float = 0.5,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class SoftExponential(Activation):
    """Soft exponential, (exp(alpha*x) - 1)/alpha + alpha, or a logarithm where alpha < 0."""

    alpha: Any

    def __init__(
        self,
        alpha: float,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Softcap(Activation):
    """Soft cap of attention logits, cap*tanh(x/cap)."""

    cap: Any

    def __init__(
        self,
        cap: float,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["cap"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Softmax(Activation):
    """Softmax, exp(x)/sum(exp(x)) along an axis."""

    dim: Axes

    def __init__(self, dim: Axes = None) -> None: ...

class Softmin(Activation):
    """Softmin, exp(-x)/sum(exp(-x)) along an axis."""

    dim: Axes

    def __init__(self, dim: Axes = None) -> None: ...

class Softplus(Activation):
    """Softplus, log(1 + exp(beta*x))/beta."""

    beta: Any
    threshold: Any

    def __init__(
        self,
        beta: float = 1,
        threshold: float | None = 20,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["beta", "threshold"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Softshrink(Activation):
    """Soft threshold, x moved towards 0 by lambd, and 0 where |x| <= lambd."""

    lambd: Any
    lower: Any
    upper: Any

    def __init__(
        self,
        lambd: float = 0.5,
        *,
        lower: float | None = None,
        upper: float | None = None,
        inplace: bool = False,
        learned: Sequence[Literal["lambd", "lower", "upper"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Softsign(Activation):
    """Softsign, x/(1 + |x|)."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class SparsePlus(Activation):
    """Sparse plus, (x + 1)**2/4 between -1 and 1, 0 below, x above."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class SparseSigmoid(Activation):
    """Sparse sigmoid, (x + 1)/2 clipped to [0, 1]."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Sparsemax(Activation):
    """Sparsemax, max(x - t, 0) along an axis, with the threshold t that makes the sum 1."""

    axis: Axes

    def __init__(self, axis: Axes = -1) -> None: ...

class SqrtSoftplus(Activation):
    """Square root of softplus, sqrt(log(1 + exp(x)))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Squareplus(Activation):
    """Squareplus, (x + sqrt(x*x + b))/2."""

    b: Any

    def __init__(
        self,
        b: float = 4.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["b"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Standardize(Activation):
    """Standard score, (x - mean)/sqrt(variance + epsilon) along an axis."""

    axis: Axes
    mean: Any
    variance: Any
    epsilon: Number

    def __init__(
        self,
        axis: Axes = -1,
        mean: float | None = None,
        variance: float | None = None,
        epsilon: Number = 1e-05,
        *,
        learned: Sequence[Literal["mean", "variance"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class StarReLU(Activation):
    """Scaled and shifted square of the rectified linear unit, scale*max(x, 0)**2 + bias."""

    scale: Any
    bias: Any

    def __init__(
        self,
        scale: float = 0.8944,
        bias: float = -0.4472,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["scale", "bias"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Step(Activation):
    """Heaviside step, 1 where x >= threshold, 0 elsewhere."""

    threshold: Any

    def __init__(
        self,
        threshold: float = 0.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["threshold"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class SwiGLU(Activation):
    """Swish-gated linear unit, a*silu(b) for the halves a and b of the axis."""

    axis: HalvedAxis
    gate: Gate
    beta: Any

    def __init__(
        self,
        axis: HalvedAxis = -1,
        gate: Gate = "last",
        beta: float = 1.0,
        *,
        learned: Sequence[Literal["beta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class TLU(Activation):
    """Thresholded linear unit, max(x, tau); affine with alpha, max(x, alpha*x + tau)."""

    tau: Any
    alpha: Any

    def __init__(
        self,
        tau: float,
        alpha: float = 0.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["tau", "alpha"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class Tanh(Activation):
    """Hyperbolic tangent, tanh(x)."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class TanhExp(Activation):
    """TanhExp or TeLU, x*tanh(exp(x))."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Tanhshrink(Activation):
    """Tanh shrinkage, x - tanh(x), accurate also where both are nearly equal."""

    def __init__(self, *, inplace: bool = False) -> None: ...

class Threshold(Activation):
    """Threshold function, x where x > threshold, value elsewhere."""

    threshold: Any
    value: Any

    def __init__(
        self,
        threshold: float,
        value: float,
        inplace: bool = False,
        *,
        learned: Sequence[Literal["threshold", "value"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class ThresholdedReLU(Activation):
    """Thresholded rectified linear unit, x where x > theta, 0 elsewhere."""

    theta: Any

    def __init__(
        self,
        theta: float = 1.0,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["theta"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...

class XIELU(Activation):
    """Expanded integral of the ELU, alpha_p*x*x + beta*x where x > 0, left of it exponential."""

    alpha_p: Any
    alpha_n: Any
    beta: Any
    eps: Any

    def __init__(
        self,
        alpha_p: float,
        alpha_n: float,
        beta: float = 0.5,
        eps: float = -1e-06,
        *,
        inplace: bool = False,
        learned: Sequence[Literal["alpha_p", "alpha_n", "beta", "eps"]] = (),
        dtype: Any = None,
        device: Any = None,
    ) -> None: ...
