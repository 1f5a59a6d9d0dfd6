"""Error functions: special functions of statistics, from which activations are made."""

from __future__ import annotations

from math import inf, log, nan, pi, sqrt
from typing import Any

from .._define import activation, case
from .._parameters import BroadcastsWithOrNumber, Number
from .._typing import NUMBER, Array, Namespace
from ..numerics import cmath, special
from ..numerics.arrays import ones_like_nan
from ..numerics.double_word import DoubleWord, exact, is_fast
from ..numerics.special import (
    NORMAL_TAIL_CUTOFF,
    erfc_inverse,
    exp_neg_square,
    mills_ratio,
    neg_square,
    normal_tail,
    one_minus,
    scaled_exp,
    tail_distance,
)
from .sigmoids import sigmoid

__all__ = ["erf", "erfc", "erfinv", "log1mexp", "log_ndtr", "logaddexp", "logit", "ndtr", "ndtri"]


@activation(
    formula="erf(x)",
    source="Glaisher, On a class of definite integrals, Philosophical Magazine 42, 1871.",
    ulp=3.0,
    peers={
        "torch": "torch.special.erf",
        "jax": "jax.scipy.special.erf",
        "keras": "keras.ops.erf",
        "scipy": "scipy.special.erf",
        "tensorflow": "tf.math.erf",
        "mlx": "mlx.core.erf",
    },
    range=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
    lipschitz=2 / sqrt(pi),
)
def erf(xp: Namespace, x: Array) -> Any:
    """Error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x.

    >>> ax.erf(np.array([-np.inf, 0.0, 1.0]))
    array([-1.        ,  0.        ,  0.84270079])
    """
    return special.erf(xp, x)


@erf.defderivative
def _(xp, x):
    a = tail_distance(xp, x, NORMAL_TAIL_CUTOFF / sqrt(2))
    return exp_neg_square(xp, a, 1.0, 2 / sqrt(pi))


@erf.defcomplex
def _(xp, x):
    return cmath.erf(xp, x)


@erf.defcomplex("derivative")
def _(xp, x):
    return 2 / sqrt(pi) * cmath.exp_neg_square(xp, x)


@activation(
    formula="erfc(x)",
    source="Glaisher, On a class of definite integrals, Philosophical Magazine 42, 1871.",
    ulp=4.0,
    peers={
        "torch": "torch.special.erfc",
        "jax": "jax.scipy.special.erfc",
        "keras": "keras.ops.erfc",
        "scipy": "scipy.special.erfc",
        "tensorflow": "tf.math.erfc",
    },
    range=(0.0, 2.0),
    limits=(2.0, 0.0),
    lipschitz=2 / sqrt(pi),
)
def erfc(xp: Namespace, x: Array) -> Any:
    """Complementary error function, 1 - erf(x), to the last digits of the tail.

    >>> ax.erfc(np.array([-np.inf, 0.0, 20.0]))
    array([2.00000000e+000, 1.00000000e+000, 5.39586561e-176])
    """
    return special.erfc(xp, x)


@erfc.defderivative
def _(xp, x):
    return -erf.derivative.impl(xp, x)


@erfc.defcomplex
def _(xp, x):
    return cmath.erfc(xp, x)


@erfc.defcomplex("derivative")
def _(xp, x):
    return -2 / sqrt(pi) * cmath.exp_neg_square(xp, x)


@activation(
    formula="erfinv(x)",
    source="Strecok, On the calculation of the inverse of the error function, Mathematics of "
    "Computation 22, 1968.",
    ulp=5.0,  # 4.2 was seen near 0.83
    aliases=("erf_inv",),
    peers={
        "torch": "torch.special.erfinv",
        "jax": "jax.scipy.special.erfinv",
        "keras": "keras.ops.erfinv",
        "scipy": "scipy.special.erfinv",
        "tensorflow": "tf.math.erfinv",
        "mlx": "mlx.core.erfinv",
    },
    domain=(-1.0, 1.0),
    monotonic=True,
    parity="odd",
    fixed_points=(0.0,),
)
def erfinv(xp: Namespace, x: Array) -> Any:
    """Inverse of the error function, the y with erf(y) = x.

    >>> ax.erfinv(np.array([-1.0, 0.0, 0.5]))
    array([      -inf, 0.        , 0.47693628])
    """
    y = _erfinv(xp, xp.abs(x))
    return xp.where(x > 0, y, -y)


@erfinv.defderivative
def _(xp, x):
    # exp(y*y) would cost y*y ulp; it is the Mills ratio over erfc(y)
    a = xp.abs(x)
    is_end = a == 1
    inner = xp.where(is_end, 0.0, a)
    ratio = mills_ratio(xp, xp.minimum(sqrt(2) * _erfinv(xp, inner), NORMAL_TAIL_CUTOFF)).hi
    dy_dx = sqrt(pi) * ratio / (1 - inner)
    return xp.where(is_end, 1 / (1 - xp.where(is_end, a, 0.0)), dy_dx)


def _erfinv(xp: Namespace, a: Array) -> Any:
    return erfc_inverse(xp, -special.log(xp, one_minus(xp, a)))


@activation(
    formula="erfc(-x / sqrt(2)) / 2",
    source="Laplace, Theorie analytique des probabilites, 1812; the name is that of Cephes.",
    ulp=4.0,
    peers={
        "torch": "torch.special.ndtr",
        "jax": "jax.scipy.special.ndtr",
        "scipy": "scipy.special.ndtr",
    },
    range=(0.0, 1.0),
    monotonic=True,
    lipschitz=1 / sqrt(2 * pi),
)
def ndtr(xp: Namespace, x: Array) -> Any:
    """Standard normal distribution, Phi(x), to the last digits of the tail.

    >>> ax.ndtr(np.array([-20.0, 0.0, 1.0]))
    array([2.75362412e-89, 5.00000000e-01, 8.41344746e-01])
    """
    tail = normal_tail(xp, xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF))
    return xp.where(x > 0, 1 - tail, tail)


@ndtr.defderivative
def _(xp, x):
    return exp_neg_square(xp, xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF)) * (1 / sqrt(2 * pi))


@ndtr.defcomplex
def _(xp, x):
    is_right = xp.real(x) >= 0
    tail = cmath.normal_tail(xp, xp.where(is_right, x, -x))
    return xp.where(is_right, 1 - tail, tail)


@ndtr.defcomplex("derivative")
def _(xp, x):
    return cmath.exp_neg_square(xp, x, 0.5) * (1 / sqrt(2 * pi))


@activation(
    formula="log(erfc(-x / sqrt(2)) / 2)",
    source="The logarithm of Laplace's normal distribution; as in SciPy 1.17.",
    ulp=5.0,  # beyond 0 the error of the tail and the logarithm's on top
    peers={
        "torch": "torch.special.log_ndtr",
        "jax": "jax.scipy.special.log_ndtr",
        "scipy": "scipy.special.log_ndtr",
    },
    range=(-inf, 0.0),
    monotonic=True,
)
def log_ndtr(xp: Namespace, x: Array) -> Any:
    """Logarithm of the standard normal distribution, log(Phi(x)).

    >>> ax.log_ndtr(np.array([-1e10, 0.0, 20.0]))
    array([-5.00000000e+19, -6.93147181e-01, -2.75362412e-89])
    """
    tail, ratio = _tail_and_mills_ratio(xp, x)
    y = one_minus(xp, tail)
    y = DoubleWord(xp, xp.where(x > 0, y.hi, ratio), xp.where(x > 0, y.lo, 0.0))
    low = xp.minimum(x, 0.0)
    return special.log(xp, y) - 0.5 * low * low


@log_ndtr.defderivative
def _(xp, x):
    tail, ratio = _tail_and_mills_ratio(xp, x)
    a = xp.minimum(xp.abs(x), NORMAL_TAIL_CUTOFF)
    density = xp.where(x > 0, exp_neg_square(xp, a), 1.0)
    dy_dx = density * (1 / sqrt(2 * pi)) / xp.where(x > 0, 1 - tail, ratio)
    return xp.where(x < -_LOG_NDTR_IS_SQUARE_FROM, -x, dy_dx)


@log_ndtr.defcomplex
def _(xp, x):
    is_right = xp.real(x) >= 0
    ratio = cmath.mills_ratio(xp, xp.where(is_right, x, -x))
    near = cmath.clip_parts(xp, x)
    exponent = cmath.scale(xp, -0.5, near * near)
    tail = cmath.exp_neg_square(xp, x, 0.5) * ratio
    # the logarithm of 1 - tail where the tail is small, and of the tail alone where it is large
    is_small = is_right & (cmath.modulus(xp, tail) < 0.5)
    is_large = is_right & (xp.real(exponent) > 80)
    is_one_term = is_large | ~is_right
    term = xp.log(xp.where(is_large, -ratio, xp.where(is_right, 1.0, ratio)))
    other = xp.log(1 - xp.where(is_small | is_one_term, 0.0, tail))
    log1p = cmath.log1p(xp, xp.where(is_small, -tail, 0.0))
    y = xp.where(is_one_term, cmath.add(xp, term, exponent), xp.where(is_small, log1p, other))
    return cmath.wrap_angle(xp, y)


@log_ndtr.defcomplex("derivative")
def _(xp, x):
    is_right = xp.real(x) >= 0
    ratio = cmath.mills_ratio(xp, xp.where(is_right, x, -x))
    density = cmath.exp_neg_square(xp, x, 0.5)
    over = xp.where(is_right, density / (1 - density * ratio), 1 / ratio)
    return over * (1 / sqrt(2 * pi))


_LOG_NDTR_IS_SQUARE_FROM = 1e10
"""From here on to the left log_ndtr is -x*x/2 to the last digit."""


def _tail_and_mills_ratio(xp: Namespace, x: Array) -> tuple[Any, Any]:
    """Return the tail of the normal distribution beyond abs(x), and it over exp(-x*x/2)."""
    a = xp.minimum(xp.abs(x), _LOG_NDTR_IS_SQUARE_FROM)
    ratio = mills_ratio(xp, a)
    return scaled_exp(xp, ratio, neg_square(xp, a)), ratio.value


@activation(
    formula="sqrt(2) * erfinv(2 * x - 1)",
    source="Wichura, Algorithm AS 241: the percentage points of the normal distribution, Applied "
    "Statistics 37, 1988.",
    ulp=4.0,
    aliases=("probit",),
    peers={
        "torch": "torch.special.ndtri",
        "jax": "jax.scipy.special.ndtri",
        "scipy": "scipy.special.ndtri",
        "tensorflow": "tf.math.ndtri",
    },
    domain=(0.0, 1.0),
    monotonic=True,
)
def ndtri(xp: Namespace, x: Array) -> Any:
    """Inverse of the standard normal distribution or probit, the z with Phi(z) = x.

    >>> ax.ndtri(np.array([0.0, 1e-300, 0.5, 0.975]))
    array([        -inf, -37.0470963 ,   0.        ,   1.95996398])
    """
    z = erfc_inverse(xp, -xp.log(2 * xp.where(x > 0.5, 1 - x, x)), sqrt(2))
    return xp.where(x > 0.5, z, -z)


@ndtri.defderivative
def _(xp, x):
    m = xp.where(x > 0.5, 1 - x, x)
    least, scale = (2e-19, 2.0**90) if x.dtype == xp.float32 else (1e-153, 2.0**650)
    small = m < least
    n = xp.where(m == 0, 1.0, xp.where(small, scale * m, m))
    w = xp.where(small, log(scale / 2) * ones_like_nan(xp, x), -log(2)) - xp.log(n)
    # this changes no digit where m*m is 0, but w counts as constant: beside the infinite
    # derivative of 1/m its own would be another
    w = xp.where(small, xp.round(w * 2.0**60) * 2.0**-60, w)
    ratio = mills_ratio(xp, xp.minimum(erfc_inverse(xp, w, sqrt(2)), NORMAL_TAIL_CUTOFF)).hi
    return sqrt(2 * pi) * ratio / xp.abs(-m)


_ODDS_IS_X_TO = 1e-17
"""Up to here x/(1 - x) is x to the last digit; the square of its inverse is far from infinite."""


@activation(
    formula="log(x) - log(1 - x)",
    source="Berkson, Application of the logistic function to bio-assay, Journal of the American "
    "Statistical Association 39, 1944.",
    constraints=("0 <= eps <= 0.5",),
    cases=(
        case(
            eps=0.125,
            formula="log(minimum(maximum(x, eps), 1 - eps)) "
            "- log(maximum(minimum(1 - x, 1 - eps), eps))",
        ),
    ),
    peers={
        "torch": "torch.special.logit",
        "jax": "jax.scipy.special.logit",
        "scipy": "scipy.special.logit",
    },
    domain=(0.0, 1.0),
    monotonic=True,
)
def logit(xp: Namespace, x: Array, eps: Number | None = None) -> Any:
    """Logit, the inverse of the sigmoid, log(x/(1 - x)).

    Parameters
    ----------
    eps : number, optional
        x is moved into [eps, 1 - eps] first, if this is not None.

    >>> ax.logit(np.array([0.0, 0.5, 0.75]))
    array([      -inf, 0.        , 1.09861229])
    """
    m = xp.where(x > 0.5, 1 - x, x)
    if eps is not None:
        m = xp.where(m < eps, eps, m)
    size = xp.where(
        m < _ODDS_IS_X_TO, -xp.log(m), xp.log1p((1 - 2 * m) / xp.maximum(m, _ODDS_IS_X_TO))
    )
    return xp.where(x > 0.5, size, 0.0 - size)


@logit.defderivative
def _(xp, x, eps):
    if is_fast(xp, x) and eps is None:
        root = xp.sqrt(x * (1 - x))  # NaN outside
        return 1 / (root * root)
    a = 0.0 - -x  # 0 where x is -0
    if eps is None:
        return xp.where((x < 0) | (x > 1), nan, 1 / a + 1 / (1 - a))
    is_flat = xp.where(x > 0.5, 1 - x, x) < eps
    a = xp.where(is_flat, 0.5, a)
    return xp.where(is_flat, 0.0, 1 / a + 1 / (1 - a))


@activation(
    formula="log(1 - exp(-x))",
    source="Maechler, Accurately computing log(1 - exp(-|a|)), a vignette of the R package Rmpfr, "
    "2012; the sign of x is that of JAX.",
    ulp=3.0,
    layer="Log1mExp",
    peers={"jax": "jax.nn.log1mexp"},
    domain=(0.0, inf),
    range=(-inf, 0.0),
    monotonic=True,
)
def log1mexp(xp: Namespace, x: Array) -> Any:
    """Logarithm of one minus an exponential, log(1 - exp(-x)).

    >>> ax.log1mexp(np.array([0.0, 1.0, 100.0]))
    array([           -inf, -4.58675145e-01, -3.72007598e-44])
    """
    e = xp.exp(-x)
    y = one_minus(xp, e)
    hi, lo = xp.where(x > 0.69, y.hi, -xp.expm1(-x)), xp.where(x > 0.69, y.lo, 0.0)
    return special.log(xp, DoubleWord(xp, hi, lo))


@log1mexp.defderivative
def _(xp, x):
    x = xp.where(x < 0, nan, x)
    return xp.exp(-x) / (0.0 - xp.expm1(-x))  # 0 and not -0 below the line


@log1mexp.defcomplex
def _(xp, x):
    is_right, e = cmath.exp_neg(xp, x)
    is_near = cmath.modulus(xp, x) < 0.5
    near = xp.log(-cmath.expm1(xp, xp.where(is_near, -x, -1.0)))
    # log(-exp(-x)) = -x + pi*i
    opposite = cmath.make_complex(xp, -xp.real(x), pi - xp.imag(x))
    far = xp.where(is_right, 0.0, opposite) + cmath.log1p(xp, -e)
    return xp.where(is_near, near, cmath.wrap_angle(xp, far))


@log1mexp.defcomplex("derivative")
def _(xp, x):
    is_right, e = cmath.exp_neg(xp, x)
    return xp.where(is_right, -e, 1.0) / cmath.expm1(xp, xp.where(is_right, -x, x))


@activation(
    formula="log(exp(x) + exp(y))",
    source="Gauss, Tafel zur bequemern Berechnung des Logarithmen der Summe oder Differenz zweyer "
    "Groessen, 1812; as in NumPy 1.3.",
    cases=(case(y=0.5), case(y=2.0)),
    relatives={"softplus": {"y": 0.0}, "identity": {"y": -inf}},
    peers={
        "torch": "torch.logaddexp",
        "jax": "jax.numpy.logaddexp",
        "keras": "keras.ops.logaddexp",
        "numpy": "numpy.logaddexp",
        "mlx": "mlx.core.logaddexp",
    },
    range=(0.5, inf),
    monotonic=True,
    lipschitz=1.0,
)
def logaddexp(xp: Namespace, x: Array, y: BroadcastsWithOrNumber) -> Any:
    """Logarithm of the sum of two exponentials, log(exp(x) + exp(y)).

    Parameters
    ----------
    y : number or array
        The other summand's logarithm.

    >>> ax.logaddexp(np.array([-np.inf, 0.0, 1000.0]), 0.0)
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    high, low = xp.maximum(x, y), xp.minimum(x, y)
    gap = low - high
    if not (isinstance(y, NUMBER) and abs(y) < inf):  # both may be the same infinity
        gap = xp.where(xp.abs(high) < inf, gap, 0.0)
    return high + xp.log1p(xp.exp(gap))


@logaddexp.defderivative
def _(xp, x, y):
    return _sigmoid(xp, _difference(xp, x, y))


@logaddexp.defderivative("y")
def _(xp, x, y):
    return {"y": _sigmoid(xp, _difference(xp, y, x))}


@logaddexp.defcomplex
def _(xp, x, y):
    y = xp.where(x == x, y, x)  # an array also of a number
    return cmath.wrap_angle(xp, cmath.log_add_exp(xp, x, y))


@logaddexp.defcomplex("derivative")
def _(xp, x, y):
    return cmath.sigmoid(xp, x - y)


@logaddexp.defcomplex("y")
def _(xp, x, y):
    return {"y": cmath.sigmoid(xp, y - x)}


def _difference(xp: Namespace, x: Any, y: Any) -> DoubleWord:
    """Return x - y, whose rounding would cost a large one digits."""
    gap = exact(xp, x) - exact(xp, y)
    hi = xp.where(x == y, 0.0, gap.hi)  # both may be the same infinity
    return DoubleWord(xp, hi, None if gap.lo is None else xp.where(xp.abs(hi) < inf, gap.lo, 0.0))


def _sigmoid(xp: Namespace, t: DoubleWord) -> Any:
    y = sigmoid.impl(xp, t.hi)
    return y if t.lo is None else y * (1 + t.lo * (1 - y))
