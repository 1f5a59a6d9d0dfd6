"""The layers of `activations_xp.layers.jax`, as type checkers read them; ``nox -s tables`` writes it."""

from . import _layers, _signatures
from ._jax import JaxLayer

class ACONC(_signatures.ACONC, JaxLayer):
    """ACON-C, (p1 - p2)*x*sigmoid(beta*(p1 - p2)*x) + p2*x, a smooth maximum of two lines."""

class ARiA2(_signatures.ARiA2, JaxLayer):
    """ARiA2, x*sigmoid(beta*x)**alpha."""

class Activation(_layers.Activation, JaxLayer):
    """Any activation function of this package, with parameters to be learned."""

class AdaptiveLogSoftmaxWithLoss(_layers.AdaptiveLogSoftmaxWithLoss, JaxLayer):
    """Softmax over many classes in clusters, with torch.nn.AdaptiveLogSoftmaxWithLoss's parameters."""

class AlphaDropout(_signatures.AlphaDropout, JaxLayer):
    """Alpha dropout, a*x + b, where x is replaced by selu(-inf) with probability p."""

class BentIdentity(_signatures.BentIdentity, JaxLayer):
    """Bent identity, x + (sqrt(x*x + 1) - 1)/2, with slope 1/2 far to the left, 3/2 to the right."""

class BilinearGLU(_signatures.BilinearGLU, JaxLayer):
    """Bilinear gated linear unit, a*b for the halves a and b of the axis."""

class CELU(_signatures.CELU, JaxLayer):
    """Continuously differentiable ELU, x where x > 0, alpha*(exp(x/alpha) - 1) elsewhere."""

class CReLU(_signatures.CReLU, JaxLayer):
    """Concatenated rectified linear unit, max(x, 0) and max(-x, 0) one after the other."""

class ClippedGELU(_signatures.ClippedGELU, JaxLayer):
    """Gaussian error linear unit clipped to [min_val, max_val], for quantization."""

class ClippedSwiGLU(_signatures.ClippedSwiGLU, JaxLayer):
    """Clipped swish-gated linear unit, (a + 1)*b*sigmoid(alpha*b) with a and b clipped."""

class CoLU(_signatures.CoLU, JaxLayer):
    """Collapsing linear unit, x/(1 - x*exp(-x - exp(x)))."""

class Dropout(_signatures.Dropout, JaxLayer):
    """Dropout, 0 with probability p and x/(1 - p) otherwise."""

class ELU(_signatures.ELU, JaxLayer):
    """Exponential linear unit, x where x > 0, alpha*(exp(x) - 1) elsewhere."""

class ELiSH(_signatures.ELiSH, JaxLayer):
    """Exponential linear sigmoid squashing, sigmoid(x) times x where x > 0, exp(x) - 1 elsewhere."""

class ESwish(_signatures.ESwish, JaxLayer):
    """E-swish, beta*x*sigmoid(x)."""

class Entmax(_signatures.Entmax, JaxLayer):
    """Entmax, max((alpha - 1)*x - t, 0)**(1/(alpha - 1)) along an axis, with the sum 1."""

class Entmax15(_signatures.Entmax15, JaxLayer):
    """Entmax of alpha 1.5, max(x/2 - t, 0)**2 along an axis, with the t that makes the sum 1."""

class Erf(_signatures.Erf, JaxLayer):
    """Error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""

class ErfAct(_signatures.ErfAct, JaxLayer):
    """ErfAct, x*erf(alpha*exp(beta*x))."""

class Erfc(_signatures.Erfc, JaxLayer):
    """Complementary error function, 1 - erf(x), to the last digits of the tail."""

class Erfinv(_signatures.Erfinv, JaxLayer):
    """Inverse of the error function, the y with erf(y) = x."""

class Exponential(_signatures.Exponential, JaxLayer):
    """Exponential function, exp(x)."""

class FeatureAlphaDropout(_signatures.FeatureAlphaDropout, JaxLayer):
    """Alpha dropout of whole channels, a*x + b, where x becomes selu(-inf) with probability p."""

class FlattenTSwish(_signatures.FlattenTSwish, JaxLayer):
    """Flatten-T swish, x*sigmoid(x) where x > 0, 0 elsewhere, plus a threshold."""

class GCU(_signatures.GCU, JaxLayer):
    """Growing cosine unit, x*cos(x)."""

class GEGLU(_signatures.GEGLU, JaxLayer):
    """GELU-gated linear unit, a*gelu(b) for the halves a and b of the axis."""

class GELU(_signatures.GELU, JaxLayer):
    """Gaussian error linear unit, x*Phi(x), Phi the standard normal distribution."""

class GLU(_signatures.GLU, JaxLayer):
    """Gated linear unit, a*sigmoid(b) for the halves a and b of the axis."""

class Gaussian(_signatures.Gaussian, JaxLayer):
    """Gaussian, exp(-x*x)."""

class Gish(_signatures.Gish, JaxLayer):
    """Gish, x*log(2 - exp(-exp(x)))."""

class GumbelSoftmax(_signatures.GumbelSoftmax, JaxLayer):
    """Gumbel-softmax, softmax((x - log(-log(u)))/tau) along an axis with uniform noise u."""

class HardELiSH(_signatures.HardELiSH, JaxLayer):
    """Hard ELiSH, (x + 1)/2 clipped to [0, 1] times x where x > 0, exp(x) - 1 elsewhere."""

class HardMish(_signatures.HardMish, JaxLayer):
    """Piecewise quadratic mish, x/2 times x + 2 clipped to [0, 2]."""

class Hardshrink(_signatures.Hardshrink, JaxLayer):
    """Hard threshold, x where |x| > lambd, 0 elsewhere."""

class Hardsigmoid(_signatures.Hardsigmoid, JaxLayer):
    """Piecewise linear sigmoid, slope*x + offset clipped to [0, 1]."""

class Hardswish(_signatures.Hardswish, JaxLayer):
    """Piecewise quadratic swish, x times (x + 3)/6 clipped to [0, 1]."""

class Hardtanh(_signatures.Hardtanh, JaxLayer):
    """Piecewise linear tanh, x clipped to [min_val, max_val]."""

class ISRLU(_signatures.ISRLU, JaxLayer):
    """Inverse square root linear unit, x where x > 0, x/sqrt(1 + alpha*x*x) elsewhere."""

class ISRU(_signatures.ISRU, JaxLayer):
    """Inverse square root unit, x/sqrt(1 + alpha*x*x)."""

class Identity(_layers.Identity, JaxLayer):
    """The identity function, in the place of another layer, whose arguments it takes."""

class Laplace(_signatures.Laplace, JaxLayer):
    """Normal distribution function, (1 + erf((x - mu)/(sigma*sqrt(2))))/2."""

class LayerNorm(_layers.LayerNorm, JaxLayer):
    """Layer normalization over the last axes, with a learned weight and bias for each element."""

class LeakyReLU(_signatures.LeakyReLU, JaxLayer):
    """Leaky rectified linear unit, x where x > 0, negative_slope*x elsewhere."""

class LiSHT(_signatures.LiSHT, JaxLayer):
    """Linearly scaled hyperbolic tangent, x*tanh(x)."""

class Log1mExp(_signatures.Log1mExp, JaxLayer):
    """Logarithm of one minus an exponential, log(1 - exp(-x))."""

class LogCumSumExp(_signatures.LogCumSumExp, JaxLayer):
    """Logarithms of the cumulative sums of exponentials, log(cumsum(exp(x))) along an axis."""

class LogMeanExp(_signatures.LogMeanExp, JaxLayer):
    """Logarithm of a mean of exponentials, log(mean(exp(x)))."""

class LogNdtr(_signatures.LogNdtr, JaxLayer):
    """Logarithm of the standard normal distribution, log(Phi(x))."""

class LogSigmoid(_signatures.LogSigmoid, JaxLayer):
    """Logarithm of the sigmoid, -log(1 + exp(-x))."""

class LogSoftmax(_signatures.LogSoftmax, JaxLayer):
    """Logarithm of the softmax, x - log(sum(exp(x))) along an axis."""

class LogSumExp(_signatures.LogSumExp, JaxLayer):
    """Logarithm of a sum of exponentials, log(sum(b*exp(x)))."""

class Logaddexp(_signatures.Logaddexp, JaxLayer):
    """Logarithm of the sum of two exponentials, log(exp(x) + exp(y))."""

class Logish(_signatures.Logish, JaxLayer):
    """Logish, x*log(1 + sigmoid(x))."""

class Logit(_signatures.Logit, JaxLayer):
    """Logit, the inverse of the sigmoid, log(x/(1 - x))."""

class Maxout(_signatures.Maxout, JaxLayer):
    """Maxout, the largest of the channels of each unit."""

class Mish(_signatures.Mish, JaxLayer):
    """Mish, x*tanh(softplus(x))."""

class MultiHot(_signatures.MultiHot, JaxLayer):
    """Multi-hot encoding, 1 at every class that x contains along an axis and 0 at the others."""

class MultiheadAttention(_layers.MultiheadAttention, JaxLayer):
    """Multi-head attention with the arguments and parameters of torch.nn.MultiheadAttention."""

class NLReLU(_signatures.NLReLU, JaxLayer):
    """Natural logarithm rectified linear unit, log(1 + beta*max(x, 0))."""

class Ndtr(_signatures.Ndtr, JaxLayer):
    """Standard normal distribution, Phi(x), to the last digits of the tail."""

class Ndtri(_signatures.Ndtri, JaxLayer):
    """Inverse of the standard normal distribution or probit, the z with Phi(z) = x."""

class Normalize(_signatures.Normalize, JaxLayer):
    """Unit vector, x/max(norm, epsilon) along an axis, with norm = sum(abs(x)**order)**(1/order)."""

class OneHot(_signatures.OneHot, JaxLayer):
    """One-hot encoding, 1 at class x and 0 at the others."""

class PReLU(_layers.PReLU, JaxLayer):
    """Parametric rectified linear unit, x where x > 0 and weight*x elsewhere."""

class Phish(_signatures.Phish, JaxLayer):
    """Phish, x*tanh(gelu(x))."""

class Pserf(_signatures.Pserf, JaxLayer):
    """Parametric serf, x*erf(gamma*softplus(delta*x))."""

class RMSNorm(_layers.RMSNorm, JaxLayer):
    """Root mean square normalization over the last axes, with a learned weight for each element."""

class RReLU(_signatures.RReLU, JaxLayer):
    """Randomized leaky rectified linear unit, x where x > 0, x times a random slope elsewhere."""

class Rational(_signatures.Rational, JaxLayer):
    """Pade activation unit, P(x)/(1 + |Q(x)|) with polynomials P and Q."""

class ReGLU(_signatures.ReGLU, JaxLayer):
    """ReLU-gated linear unit, a*relu(b) for the halves a and b of the axis."""

class ReLU(_signatures.ReLU, JaxLayer):
    """Rectified linear unit, max(x, 0), with Keras's parameters."""

class ReLU6(_signatures.ReLU6, JaxLayer):
    """Rectified linear unit with an upper bound, min(max(x, 0), 6)."""

class ReLUSquared(_signatures.ReLUSquared, JaxLayer):
    """Square of the rectified linear unit, max(x, 0)**2."""

class SEGLU(_signatures.SEGLU, JaxLayer):
    """SELU-gated linear unit, a*selu(b) for the halves a and b of the axis."""

class SELU(_signatures.SELU, JaxLayer):
    """Scaled exponential linear unit, scale*x where x > 0, scale*alpha*(exp(x) - 1) elsewhere."""

class SQNL(_signatures.SQNL, JaxLayer):
    """Square nonlinearity, x - x*|x|/4 between -2 and 2, -1 below, 1 above."""

class SReLU(_signatures.SReLU, JaxLayer):
    """S-shaped rectified linear unit, x between two thresholds and lines of other slopes outside."""

class Serf(_signatures.Serf, JaxLayer):
    """Serf, x*erf(softplus(x))."""

class ShiLU(_signatures.ShiLU, JaxLayer):
    """Scaled and shifted rectified linear unit, alpha*max(x, 0) + beta."""

class SiLU(_signatures.SiLU, JaxLayer):
    """Sigmoid linear unit or swish, x*sigmoid(beta*x)."""

class Sigmoid(_signatures.Sigmoid, JaxLayer):
    """Logistic function, 1/(1 + exp(-x))."""

class Sine(_signatures.Sine, JaxLayer):
    """Sine, sin(frequency*x), accurate for a large x too."""

class Smish(_signatures.Smish, JaxLayer):
    """Smish, x*tanh(log(1 + sigmoid(x)))."""

class SmoothStep(_signatures.SmoothStep, JaxLayer):
    """Smooth step, the cubic from 0 at -gamma/2 to 1 at gamma/2, flat at both ends and outside."""

class Snake(_signatures.Snake, JaxLayer):
    """Snake, x + sin(frequency*x)**2/frequency."""

class SoftClipping(_signatures.SoftClipping, JaxLayer):
    """Soft clipping to [0, 1], log((1 + exp(alpha*x))/(1 + exp(alpha*(x - 1))))/alpha."""

class SoftExponential(_signatures.SoftExponential, JaxLayer):
    """Soft exponential, (exp(alpha*x) - 1)/alpha + alpha, or a logarithm where alpha < 0."""

class Softcap(_signatures.Softcap, JaxLayer):
    """Soft cap of attention logits, cap*tanh(x/cap)."""

class Softmax(_signatures.Softmax, JaxLayer):
    """Softmax, exp(x)/sum(exp(x)) along an axis."""

class Softmax2d(_layers.Softmax2d, JaxLayer):
    """Softmax over the channels of images, of shape (N, C, H, W) or (C, H, W)."""

class Softmin(_signatures.Softmin, JaxLayer):
    """Softmin, exp(-x)/sum(exp(-x)) along an axis."""

class Softplus(_signatures.Softplus, JaxLayer):
    """Softplus, log(1 + exp(beta*x))/beta."""

class Softshrink(_signatures.Softshrink, JaxLayer):
    """Soft threshold, x moved towards 0 by lambd, and 0 where |x| <= lambd."""

class Softsign(_signatures.Softsign, JaxLayer):
    """Softsign, x/(1 + |x|)."""

class SparsePlus(_signatures.SparsePlus, JaxLayer):
    """Sparse plus, (x + 1)**2/4 between -1 and 1, 0 below, x above."""

class SparseSigmoid(_signatures.SparseSigmoid, JaxLayer):
    """Sparse sigmoid, (x + 1)/2 clipped to [0, 1]."""

class Sparsemax(_signatures.Sparsemax, JaxLayer):
    """Sparsemax, max(x - t, 0) along an axis, with the threshold t that makes the sum 1."""

class SqrtSoftplus(_signatures.SqrtSoftplus, JaxLayer):
    """Square root of softplus, sqrt(log(1 + exp(x)))."""

class Squareplus(_signatures.Squareplus, JaxLayer):
    """Squareplus, (x + sqrt(x*x + b))/2."""

class Standardize(_signatures.Standardize, JaxLayer):
    """Standard score, (x - mean)/sqrt(variance + epsilon) along an axis."""

class StarReLU(_signatures.StarReLU, JaxLayer):
    """Scaled and shifted square of the rectified linear unit, scale*max(x, 0)**2 + bias."""

class Step(_signatures.Step, JaxLayer):
    """Heaviside step, 1 where x >= threshold, 0 elsewhere."""

class SwiGLU(_signatures.SwiGLU, JaxLayer):
    """Swish-gated linear unit, a*silu(b) for the halves a and b of the axis."""

class Swish(_layers.Swish, JaxLayer):
    """Swish, x*sigmoid(beta*x), with a learned beta."""

class TLU(_signatures.TLU, JaxLayer):
    """Thresholded linear unit, max(x, tau); affine with alpha, max(x, alpha*x + tau)."""

class Tanh(_signatures.Tanh, JaxLayer):
    """Hyperbolic tangent, tanh(x)."""

class TanhExp(_signatures.TanhExp, JaxLayer):
    """TanhExp or TeLU, x*tanh(exp(x))."""

class Tanhshrink(_signatures.Tanhshrink, JaxLayer):
    """Tanh shrinkage, x - tanh(x), accurate also where both are nearly equal."""

class Threshold(_signatures.Threshold, JaxLayer):
    """Threshold function, x where x > threshold, value elsewhere."""

class ThresholdedReLU(_signatures.ThresholdedReLU, JaxLayer):
    """Thresholded rectified linear unit, x where x > theta, 0 elsewhere."""

class XIELU(_signatures.XIELU, JaxLayer):
    """Expanded integral of the ELU, alpha_p*x*x + beta*x where x > 0, left of it exponential."""
