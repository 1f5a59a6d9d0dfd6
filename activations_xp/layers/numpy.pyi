"""The layers of `activations_xp.layers.numpy`, as type checkers read them; ``nox -s tables`` writes it."""

from . import _layers, _signatures
from ._module import NumpyLayer

class ACONC(_signatures.ACONC, NumpyLayer):
    """ACON-C, (p1 - p2)*x*sigmoid(beta*(p1 - p2)*x) + p2*x, a smooth maximum of two lines."""

class ARiA2(_signatures.ARiA2, NumpyLayer):
    """ARiA2, x*sigmoid(beta*x)**alpha."""

class Activation(_layers.Activation, NumpyLayer):
    """Any activation function of this package, with parameters to be learned."""

class AdaptiveLogSoftmaxWithLoss(_layers.AdaptiveLogSoftmaxWithLoss, NumpyLayer):
    """Softmax over many classes in clusters, with torch.nn.AdaptiveLogSoftmaxWithLoss's parameters."""

class AlphaDropout(_signatures.AlphaDropout, NumpyLayer):
    """Alpha dropout, a*x + b, where x is replaced by selu(-inf) with probability p."""

class BentIdentity(_signatures.BentIdentity, NumpyLayer):
    """Bent identity, x + (sqrt(x*x + 1) - 1)/2, with slope 1/2 far to the left, 3/2 to the right."""

class BilinearGLU(_signatures.BilinearGLU, NumpyLayer):
    """Bilinear gated linear unit, a*b for the halves a and b of the axis."""

class CELU(_signatures.CELU, NumpyLayer):
    """Continuously differentiable ELU, x where x > 0, alpha*(exp(x/alpha) - 1) elsewhere."""

class CReLU(_signatures.CReLU, NumpyLayer):
    """Concatenated rectified linear unit, max(x, 0) and max(-x, 0) one after the other."""

class ClippedGELU(_signatures.ClippedGELU, NumpyLayer):
    """Gaussian error linear unit clipped to [min_val, max_val], for quantization."""

class ClippedSwiGLU(_signatures.ClippedSwiGLU, NumpyLayer):
    """Clipped swish-gated linear unit, (a + 1)*b*sigmoid(alpha*b) with a and b clipped."""

class CoLU(_signatures.CoLU, NumpyLayer):
    """Collapsing linear unit, x/(1 - x*exp(-x - exp(x)))."""

class Dropout(_signatures.Dropout, NumpyLayer):
    """Dropout, 0 with probability p and x/(1 - p) otherwise."""

class ELU(_signatures.ELU, NumpyLayer):
    """Exponential linear unit, x where x > 0, alpha*(exp(x) - 1) elsewhere."""

class ELiSH(_signatures.ELiSH, NumpyLayer):
    """Exponential linear sigmoid squashing, sigmoid(x) times x where x > 0, exp(x) - 1 elsewhere."""

class ESwish(_signatures.ESwish, NumpyLayer):
    """E-swish, beta*x*sigmoid(x)."""

class Entmax(_signatures.Entmax, NumpyLayer):
    """Entmax, max((alpha - 1)*x - t, 0)**(1/(alpha - 1)) along an axis, with the sum 1."""

class Entmax15(_signatures.Entmax15, NumpyLayer):
    """Entmax of alpha 1.5, max(x/2 - t, 0)**2 along an axis, with the t that makes the sum 1."""

class Erf(_signatures.Erf, NumpyLayer):
    """Error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""

class ErfAct(_signatures.ErfAct, NumpyLayer):
    """ErfAct, x*erf(alpha*exp(beta*x))."""

class Erfc(_signatures.Erfc, NumpyLayer):
    """Complementary error function, 1 - erf(x), to the last digits of the tail."""

class Erfinv(_signatures.Erfinv, NumpyLayer):
    """Inverse of the error function, the y with erf(y) = x."""

class Exponential(_signatures.Exponential, NumpyLayer):
    """Exponential function, exp(x)."""

class FeatureAlphaDropout(_signatures.FeatureAlphaDropout, NumpyLayer):
    """Alpha dropout of whole channels, a*x + b, where x becomes selu(-inf) with probability p."""

class FlattenTSwish(_signatures.FlattenTSwish, NumpyLayer):
    """Flatten-T swish, x*sigmoid(x) where x > 0, 0 elsewhere, plus a threshold."""

class GCU(_signatures.GCU, NumpyLayer):
    """Growing cosine unit, x*cos(x)."""

class GEGLU(_signatures.GEGLU, NumpyLayer):
    """GELU-gated linear unit, a*gelu(b) for the halves a and b of the axis."""

class GELU(_signatures.GELU, NumpyLayer):
    """Gaussian error linear unit, x*Phi(x), Phi the standard normal distribution."""

class GLU(_signatures.GLU, NumpyLayer):
    """Gated linear unit, a*sigmoid(b) for the halves a and b of the axis."""

class Gaussian(_signatures.Gaussian, NumpyLayer):
    """Gaussian, exp(-x*x)."""

class Gish(_signatures.Gish, NumpyLayer):
    """Gish, x*log(2 - exp(-exp(x)))."""

class GumbelSoftmax(_signatures.GumbelSoftmax, NumpyLayer):
    """Gumbel-softmax, softmax((x - log(-log(u)))/tau) along an axis with uniform noise u."""

class HardELiSH(_signatures.HardELiSH, NumpyLayer):
    """Hard ELiSH, (x + 1)/2 clipped to [0, 1] times x where x > 0, exp(x) - 1 elsewhere."""

class HardMish(_signatures.HardMish, NumpyLayer):
    """Piecewise quadratic mish, x/2 times x + 2 clipped to [0, 2]."""

class Hardshrink(_signatures.Hardshrink, NumpyLayer):
    """Hard threshold, x where |x| > lambd, 0 elsewhere."""

class Hardsigmoid(_signatures.Hardsigmoid, NumpyLayer):
    """Piecewise linear sigmoid, slope*x + offset clipped to [0, 1]."""

class Hardswish(_signatures.Hardswish, NumpyLayer):
    """Piecewise quadratic swish, x times (x + 3)/6 clipped to [0, 1]."""

class Hardtanh(_signatures.Hardtanh, NumpyLayer):
    """Piecewise linear tanh, x clipped to [min_val, max_val]."""

class ISRLU(_signatures.ISRLU, NumpyLayer):
    """Inverse square root linear unit, x where x > 0, x/sqrt(1 + alpha*x*x) elsewhere."""

class ISRU(_signatures.ISRU, NumpyLayer):
    """Inverse square root unit, x/sqrt(1 + alpha*x*x)."""

class Identity(_layers.Identity, NumpyLayer):
    """The identity function, in the place of another layer, whose arguments it takes."""

class Laplace(_signatures.Laplace, NumpyLayer):
    """Normal distribution function, (1 + erf((x - mu)/(sigma*sqrt(2))))/2."""

class LayerNorm(_layers.LayerNorm, NumpyLayer):
    """Layer normalization over the last axes, with a learned weight and bias for each element."""

class LeakyReLU(_signatures.LeakyReLU, NumpyLayer):
    """Leaky rectified linear unit, x where x > 0, negative_slope*x elsewhere."""

class LiSHT(_signatures.LiSHT, NumpyLayer):
    """Linearly scaled hyperbolic tangent, x*tanh(x)."""

class Log1mExp(_signatures.Log1mExp, NumpyLayer):
    """Logarithm of one minus an exponential, log(1 - exp(-x))."""

class LogCumSumExp(_signatures.LogCumSumExp, NumpyLayer):
    """Logarithms of the cumulative sums of exponentials, log(cumsum(exp(x))) along an axis."""

class LogMeanExp(_signatures.LogMeanExp, NumpyLayer):
    """Logarithm of a mean of exponentials, log(mean(exp(x)))."""

class LogNdtr(_signatures.LogNdtr, NumpyLayer):
    """Logarithm of the standard normal distribution, log(Phi(x))."""

class LogSigmoid(_signatures.LogSigmoid, NumpyLayer):
    """Logarithm of the sigmoid, -log(1 + exp(-x))."""

class LogSoftmax(_signatures.LogSoftmax, NumpyLayer):
    """Logarithm of the softmax, x - log(sum(exp(x))) along an axis."""

class LogSumExp(_signatures.LogSumExp, NumpyLayer):
    """Logarithm of a sum of exponentials, log(sum(b*exp(x)))."""

class Logaddexp(_signatures.Logaddexp, NumpyLayer):
    """Logarithm of the sum of two exponentials, log(exp(x) + exp(y))."""

class Logish(_signatures.Logish, NumpyLayer):
    """Logish, x*log(1 + sigmoid(x))."""

class Logit(_signatures.Logit, NumpyLayer):
    """Logit, the inverse of the sigmoid, log(x/(1 - x))."""

class Maxout(_signatures.Maxout, NumpyLayer):
    """Maxout, the largest of the channels of each unit."""

class Mish(_signatures.Mish, NumpyLayer):
    """Mish, x*tanh(softplus(x))."""

class MultiHot(_signatures.MultiHot, NumpyLayer):
    """Multi-hot encoding, 1 at every class that x contains along an axis and 0 at the others."""

class MultiheadAttention(_layers.MultiheadAttention, NumpyLayer):
    """Multi-head attention with the arguments and parameters of torch.nn.MultiheadAttention."""

class NLReLU(_signatures.NLReLU, NumpyLayer):
    """Natural logarithm rectified linear unit, log(1 + beta*max(x, 0))."""

class Ndtr(_signatures.Ndtr, NumpyLayer):
    """Standard normal distribution, Phi(x), to the last digits of the tail."""

class Ndtri(_signatures.Ndtri, NumpyLayer):
    """Inverse of the standard normal distribution or probit, the z with Phi(z) = x."""

class Normalize(_signatures.Normalize, NumpyLayer):
    """Unit vector, x/max(norm, epsilon) along an axis, with norm = sum(abs(x)**order)**(1/order)."""

class OneHot(_signatures.OneHot, NumpyLayer):
    """One-hot encoding, 1 at class x and 0 at the others."""

class PReLU(_layers.PReLU, NumpyLayer):
    """Parametric rectified linear unit, x where x > 0 and weight*x elsewhere."""

class Phish(_signatures.Phish, NumpyLayer):
    """Phish, x*tanh(gelu(x))."""

class Pserf(_signatures.Pserf, NumpyLayer):
    """Parametric serf, x*erf(gamma*softplus(delta*x))."""

class RMSNorm(_layers.RMSNorm, NumpyLayer):
    """Root mean square normalization over the last axes, with a learned weight for each element."""

class RReLU(_signatures.RReLU, NumpyLayer):
    """Randomized leaky rectified linear unit, x where x > 0, x times a random slope elsewhere."""

class Rational(_signatures.Rational, NumpyLayer):
    """Pade activation unit, P(x)/(1 + |Q(x)|) with polynomials P and Q."""

class ReGLU(_signatures.ReGLU, NumpyLayer):
    """ReLU-gated linear unit, a*relu(b) for the halves a and b of the axis."""

class ReLU(_signatures.ReLU, NumpyLayer):
    """Rectified linear unit, max(x, 0), with Keras's parameters."""

class ReLU6(_signatures.ReLU6, NumpyLayer):
    """Rectified linear unit with an upper bound, min(max(x, 0), 6)."""

class ReLUSquared(_signatures.ReLUSquared, NumpyLayer):
    """Square of the rectified linear unit, max(x, 0)**2."""

class SEGLU(_signatures.SEGLU, NumpyLayer):
    """SELU-gated linear unit, a*selu(b) for the halves a and b of the axis."""

class SELU(_signatures.SELU, NumpyLayer):
    """Scaled exponential linear unit, scale*x where x > 0, scale*alpha*(exp(x) - 1) elsewhere."""

class SQNL(_signatures.SQNL, NumpyLayer):
    """Square nonlinearity, x - x*|x|/4 between -2 and 2, -1 below, 1 above."""

class SReLU(_signatures.SReLU, NumpyLayer):
    """S-shaped rectified linear unit, x between two thresholds and lines of other slopes outside."""

class Serf(_signatures.Serf, NumpyLayer):
    """Serf, x*erf(softplus(x))."""

class ShiLU(_signatures.ShiLU, NumpyLayer):
    """Scaled and shifted rectified linear unit, alpha*max(x, 0) + beta."""

class SiLU(_signatures.SiLU, NumpyLayer):
    """Sigmoid linear unit or swish, x*sigmoid(beta*x)."""

class Sigmoid(_signatures.Sigmoid, NumpyLayer):
    """Logistic function, 1/(1 + exp(-x))."""

class Sine(_signatures.Sine, NumpyLayer):
    """Sine, sin(frequency*x), accurate for a large x too."""

class Smish(_signatures.Smish, NumpyLayer):
    """Smish, x*tanh(log(1 + sigmoid(x)))."""

class SmoothStep(_signatures.SmoothStep, NumpyLayer):
    """Smooth step, the cubic from 0 at -gamma/2 to 1 at gamma/2, flat at both ends and outside."""

class Snake(_signatures.Snake, NumpyLayer):
    """Snake, x + sin(frequency*x)**2/frequency."""

class SoftClipping(_signatures.SoftClipping, NumpyLayer):
    """Soft clipping to [0, 1], log((1 + exp(alpha*x))/(1 + exp(alpha*(x - 1))))/alpha."""

class SoftExponential(_signatures.SoftExponential, NumpyLayer):
    """Soft exponential, (exp(alpha*x) - 1)/alpha + alpha, or a logarithm where alpha < 0."""

class Softcap(_signatures.Softcap, NumpyLayer):
    """Soft cap of attention logits, cap*tanh(x/cap)."""

class Softmax(_signatures.Softmax, NumpyLayer):
    """Softmax, exp(x)/sum(exp(x)) along an axis."""

class Softmax2d(_layers.Softmax2d, NumpyLayer):
    """Softmax over the channels of images, of shape (N, C, H, W) or (C, H, W)."""

class Softmin(_signatures.Softmin, NumpyLayer):
    """Softmin, exp(-x)/sum(exp(-x)) along an axis."""

class Softplus(_signatures.Softplus, NumpyLayer):
    """Softplus, log(1 + exp(beta*x))/beta."""

class Softshrink(_signatures.Softshrink, NumpyLayer):
    """Soft threshold, x moved towards 0 by lambd, and 0 where |x| <= lambd."""

class Softsign(_signatures.Softsign, NumpyLayer):
    """Softsign, x/(1 + |x|)."""

class SparsePlus(_signatures.SparsePlus, NumpyLayer):
    """Sparse plus, (x + 1)**2/4 between -1 and 1, 0 below, x above."""

class SparseSigmoid(_signatures.SparseSigmoid, NumpyLayer):
    """Sparse sigmoid, (x + 1)/2 clipped to [0, 1]."""

class Sparsemax(_signatures.Sparsemax, NumpyLayer):
    """Sparsemax, max(x - t, 0) along an axis, with the threshold t that makes the sum 1."""

class SqrtSoftplus(_signatures.SqrtSoftplus, NumpyLayer):
    """Square root of softplus, sqrt(log(1 + exp(x)))."""

class Squareplus(_signatures.Squareplus, NumpyLayer):
    """Squareplus, (x + sqrt(x*x + b))/2."""

class Standardize(_signatures.Standardize, NumpyLayer):
    """Standard score, (x - mean)/sqrt(variance + epsilon) along an axis."""

class StarReLU(_signatures.StarReLU, NumpyLayer):
    """Scaled and shifted square of the rectified linear unit, scale*max(x, 0)**2 + bias."""

class Step(_signatures.Step, NumpyLayer):
    """Heaviside step, 1 where x >= threshold, 0 elsewhere."""

class SwiGLU(_signatures.SwiGLU, NumpyLayer):
    """Swish-gated linear unit, a*silu(b) for the halves a and b of the axis."""

class Swish(_layers.Swish, NumpyLayer):
    """Swish, x*sigmoid(beta*x), with a learned beta."""

class TLU(_signatures.TLU, NumpyLayer):
    """Thresholded linear unit, max(x, tau); affine with alpha, max(x, alpha*x + tau)."""

class Tanh(_signatures.Tanh, NumpyLayer):
    """Hyperbolic tangent, tanh(x)."""

class TanhExp(_signatures.TanhExp, NumpyLayer):
    """TanhExp or TeLU, x*tanh(exp(x))."""

class Tanhshrink(_signatures.Tanhshrink, NumpyLayer):
    """Tanh shrinkage, x - tanh(x), accurate also where both are nearly equal."""

class Threshold(_signatures.Threshold, NumpyLayer):
    """Threshold function, x where x > threshold, value elsewhere."""

class ThresholdedReLU(_signatures.ThresholdedReLU, NumpyLayer):
    """Thresholded rectified linear unit, x where x > theta, 0 elsewhere."""

class XIELU(_signatures.XIELU, NumpyLayer):
    """Expanded integral of the ELU, alpha_p*x*x + beta*x where x > 0, left of it exponential."""
