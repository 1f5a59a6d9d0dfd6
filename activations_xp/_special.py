"""Special functions that the array API standard lacks, written on `xp`.

The coefficients are derived, with their intervals and errors, in ``tests/derive_special.py``.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt
from typing import Any

from ._typing import NUMBER, Array, Namespace

FAR = 39.0
"""From here on the normal density, and the tail with it, is zero in float64."""

LIFT = 37.0
"""exp(-LIFT) is rounded by less than a hundredth of a unit, to float32 and to float64."""

TAIL_32 = (
    0.6724080062022588,
    -0.3314044441301027,
    0.0287972274937938,
    0.03671841803016365,
    -0.0004673759379168765,
    -0.006725403703156166,
    -0.001965234051354289,
    0.0007866444160546002,
    0.0008707496060138822,
    0.00020651276611433335,
    -0.00018689323472686144,
    -0.00013545390946105505,
    1.4659112014023372e-05,
    2.4866922468033904e-05,
)
TAIL_64 = (
    0.6724080048926824,
    -0.33140444238878103,
    0.028797360345361254,
    0.03671836096892353,
    -0.0004695968342587892,
    -0.0067249070782433645,
    -0.0019511241651022813,
    0.0007851181590139335,
    0.0008271990141344316,
    0.0002069916929309449,
    -0.0001156933360492962,
    -0.000128551543860349,
    -4.605286248103878e-05,
    9.679386068618735e-06,
    2.1696694605188695e-05,
    1.257949924937401e-05,
    2.056649764823822e-06,
    -2.8744825958893366e-06,
    -3.046803214215813e-06,
    -1.3269278999085915e-06,
    1.1414435439657112e-08,
    2.8667498900413924e-07,
    2.54538969269688e-07,
    4.023909060697679e-07,
    2.62490422133977e-07,
    -1.790532314002732e-07,
    -2.739151036124918e-07,
    -1.9836091463400147e-08,
    9.42738260630051e-08,
    2.7924410895846166e-08,
    -1.219727545953943e-08,
    -5.185072617609759e-09,
)
CORE_32 = (
    1.1283791658815026,
    -0.3761262690358044,
    0.11283597463488053,
    -0.026854328796067244,
    0.005189311942686617,
    -0.0008018854992786387,
    7.882497110086663e-05,
)
CORE_64 = (
    1.1283791670955126,
    -0.3761263890318375,
    0.11283791670954882,
    -0.026866170645077334,
    0.005223977624823223,
    -0.0008548326981129666,
    0.00012055331122299266,
    -1.4925595519506043e-05,
    1.6461004480962034e-06,
    -1.6350354461959655e-07,
    1.4660051998394848e-08,
    -1.1373902296430911e-09,
    5.958930743134941e-11,
)
BACK_32 = (
    1.1367218144359967,
    -0.14038205249390728,
    0.03126057429105871,
    -0.046560968885561486,
    0.043785816740275964,
    -0.0430664295660985,
    0.03798043953905416,
    -0.03588868315293841,
    0.028352254624056134,
    -0.01465018276714416,
    0.0026645725364358827,
)
BACK_64 = (
    1.0920793659648844,
    -0.1160493613660291,
    0.04084560193190077,
    -0.027265659394020675,
    0.022000090058633896,
    -0.022505010686274023,
    0.022769892856792588,
    -0.023115586172397173,
    0.022579214340873774,
    -0.021880071876812776,
    0.02083560389245821,
    -0.01982535203271797,
    0.018724119679152117,
    -0.01772429179503706,
    0.01674509301770438,
    -0.015829442336563755,
    0.014815331145529808,
    -0.01421553777303189,
    0.014599608926540818,
    -0.013344689596127416,
    0.0071292978338379,
    -0.0075664775217847615,
    0.028055192988256806,
    -0.030915053864466437,
    -0.026286721964734795,
    0.05274369744957684,
    0.05322774881164422,
    -0.13287483761637023,
    0.005756073740266065,
    0.13356058406950846,
    -0.05764876626428351,
    -0.07648525092116781,
    0.07795187429888306,
    -0.020882279848205204,
)
SHRINK_32 = (
    0.3333333317053651,
    -0.13333311976507894,
    0.05396362236859114,
    -0.021830777687620814,
    0.00870132108150351,
    -0.003211853738595149,
    0.0009271475262452374,
    -0.00014382881946972011,
)
SHRINK_64 = (
    0.3333333333333333,
    -0.1333333333333331,
    0.05396825396823286,
    -0.021869488535341427,
    0.008863235513349253,
    -0.0035921278317203402,
    0.0014558327094050015,
    -0.000590017846113261,
    0.0002390893895924028,
    -9.679340247406682e-05,
    3.899610828768604e-05,
    -1.5422152957250004e-05,
    5.783211740971914e-06,
    -1.9256321021686362e-06,
    5.140824043471534e-07,
    -9.413815546586091e-08,
    8.60008634867734e-09,
)
RISE_32 = (
    0.49999999781007726,
    0.1666666657720204,
    0.04166673666980626,
    0.008333345250306165,
    0.001388539492254819,
    0.0001983698670876228,
    2.5358644892211006e-05,
    2.812654628264601e-06,
)
RISE_64 = (
    0.5,
    0.16666666666666666,
    0.041666666666666664,
    0.008333333333333236,
    0.001388888888888876,
    0.00019841269841374776,
    2.4801587301690884e-05,
    2.7557319174038892e-06,
    2.755731918331024e-07,
    2.5052120586633744e-08,
    2.0876765659891805e-09,
    1.605744835014058e-10,
    1.146972179446436e-11,
    7.753295105383928e-13,
    4.842348798741151e-14,
)
DIP = 1.1640625
DIP_32 = (
    0.2753899748022156,
    -0.001772892954482548,
    0.59168263255695,
    -0.09211957091835563,
    -0.11758299864127843,
    0.017774242925949795,
    0.010957028511980008,
    -0.0014804318758681006,
    -0.0005948370298918414,
    6.599945240952468e-05,
    1.976824625330711e-05,
)
DIP_64 = (
    0.275389974554502,
    -0.0017728697676996895,
    0.5916826504229796,
    -0.09212003592304686,
    -0.11758320758010765,
    0.017776857650543126,
    0.010957923206311258,
    -0.0014864493504925305,
    -0.0005965729150329925,
    7.209946987978764e-05,
    2.132987525984445e-05,
    -2.309370500685853e-06,
    -5.393732736319528e-07,
    5.273048450855232e-08,
    1.0156348142654255e-08,
    -9.025149472351834e-10,
    -1.4776942699905633e-10,
    1.1467492781645317e-11,
    1.6369596583883882e-12,
)


def has_spare(xp: Namespace) -> bool:
    """Whether half of the digits, and of the exponents, are to be rounded away in the end.

    There is no need then to keep what rounding loses, nor away from subnormal numbers.
    """
    return getattr(xp, "rounds_to_float32", None) is True


def quick_exp(xp: Namespace, x: Array) -> Any:
    """exp(x) to a few units, where x itself was rounded by more than that."""
    return getattr(xp, "fast_exp", xp.exp)(x)


def is_short(xp: Namespace, x: Array) -> bool:
    """Whether the digits of float32 are all that is asked for."""
    return x.dtype == xp.float32 or has_spare(xp)


def polynomial(t: Any, coefficients: tuple[float, ...]) -> Any:
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * t + c
    return total


def gaussian(
    xp: Namespace, a: Array, rate: float = 0.5, factor: Array | float | None = None
) -> Any:
    """exp(-rate*a*a), times the factor, for 0 <= a <= FAR and a rate of 0.25, 0.5 or 1."""
    return bell(xp, *split(xp, a), rate, factor)


def bell(
    xp: Namespace,
    head: Array,
    rest: Array | None,
    rate: float = 0.5,
    factor: Array | float | None = None,
) -> Any:
    """exp(-rate*a*a) of the sum a of a head with few digits and a small rest.

    A factor over 1 belongs in here: the product may be normal where the exponential is not.
    """
    t, lost = square(head, rest, rate, 0.0 if factor is None or has_spare(xp) else LIFT)
    if lost is None:
        return xp.exp(t) if factor is None else xp.exp(t) * factor
    if factor is None:
        return xp.exp(t) * (1 + lost)  # the product with `lost` alone may be subnormal
    if isinstance(factor, NUMBER):
        factor = factor * exp(-LIFT)
        return xp.exp(t) * (factor + factor * lost)
    return xp.exp(t) * (factor + factor * lost) * exp(-LIFT)


def split(xp: Namespace, a: Array) -> tuple[Any, Any]:
    """A head of so few digits that its square is exact, and the rest, or None for nothing."""
    if has_spare(xp):
        return a, None
    scale = 2.0**8 if a.dtype == xp.float32 else 2.0**20
    head = xp.round(a * scale) * (1 / scale)
    return head, a - head


def square(
    head: Array, rest: Array | None, rate: float = 0.5, lift: float = 0.0
) -> tuple[Any, Any]:
    """-rate*(head + rest)**2 + lift, and what its rounding lost, which would cost a*a ulp.

    Without a rest it lost nothing.
    """
    exact = (-rate * head) * head
    if rest is None:
        return exact, None
    return summed(exact + lift if lift else exact, -rate * rest * (2 * head + rest))


def dipped(xp: Namespace, a: Array, rest: Any) -> tuple[Any, Any]:
    """1 - sin(a)**2/a of a sum a + rest, where it is far from 1, and where that is."""
    v = (a - DIP) + rest
    near = xp.minimum(xp.maximum(v, -1.0), 1.0)
    return polynomial(near, DIP_32 if is_short(xp, a) else DIP_64), xp.abs(v) < 1


def leading(number: Any, bits: int) -> Any:
    """The number rounded to its leading digits, `bits` fewer than it holds (Veltkamp)."""
    wide = number * (2.0**bits + 1)
    return wide - (wide - number)


def halves(xp: Namespace, number: float | Array, x: Array) -> tuple[Any, Any]:
    """A head and a rest of the digits of `number`, which x's dtype holds both."""
    bits = 27 if x.dtype != xp.float32 else 41 if isinstance(number, NUMBER) else 12
    head = leading(number, bits)
    return head, number - head


def summed(head: Any, rest: Any) -> tuple[Any, Any]:
    """The sum of both, and what its rounding lost; the head is the larger."""
    total = head + rest
    return total, (head - total) + rest


def summed_anyhow(a: Any, b: Any) -> tuple[Any, Any]:
    """The same, whichever is the larger."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def product(xp: Namespace, c: float | Array, x: Array, rest: Any = None) -> tuple[Any, Any]:
    """c*(x + rest), within 1e4 of 0, and what its rounding lost, or None for nothing.

    For an exponential, of which the argument's rounding would cost as many ulp as it is large.
    """
    if has_spare(xp):
        x = x if rest is None else x + rest
        if isinstance(c, NUMBER) and (c == 1 or abs(c) == inf):
            return c * x, None
        return c * xp.minimum(xp.maximum(x, -1e300), 1e300), None
    if isinstance(c, NUMBER):
        if c == 1 or abs(c) == inf:
            return c * x, None if rest is None else c * rest
        bound: Any = min(1e4 / max(abs(c), 1e-26), 1e30)
    else:
        c = xp.minimum(xp.maximum(c, -1e30), 1e30)
        bound = 1e4 / xp.maximum(xp.abs(c), 1e-15)
    x = xp.minimum(xp.maximum(x, -bound), bound)
    (high, low), (wide, fine) = halves(xp, c, x), halves(xp, x, x)
    lost = wide * low + fine * c
    return summed(wide * high, lost if rest is None else lost + c * rest)


def mills(xp: Namespace, a: Array, x: Array | None = None, k: float = 2.0) -> tuple[Any, Any]:
    """The upper tail of the standard normal distribution over exp(-a*a/2), and what it lost.

    It falls off slowly, and is for a >= 0; times x, which is a or -a, if that is given. With
    another k than 2 it is that at a*2/k. What it lost is None for nothing.
    """
    if has_spare(xp):
        ratio = (k / 2 if x is None else x) / (a + k)
        t = 1 - 4 * ratio if x is None else 2 * xp.abs(ratio) - 1
        first, *others = TAIL_32
        rest = xp.astype(polynomial(xp.astype(t, xp.float32), tuple(others)), t.dtype)
        return ratio * (first + t * rest), None
    total, lost = summed_anyhow(a, k)
    if x is None:
        ratio = xp.where(a >= 0, k / 2, a) / total  # torch takes 1/total times a number
        t = 1 - 4 * ratio
        lost = lost * ratio * (2 / k)
    else:
        ratio = x / total
        t = 2 * xp.abs(ratio) - 1
        lost = lost * (1 - t) * (1 / 4)
    first, *others = TAIL_32 if is_short(xp, a) else TAIL_64
    head = leading(first, 29) if a.dtype == xp.float32 else first
    y, rest = summed(head, t * polynomial(t, tuple(others)))
    value = ratio * y
    return value, ratio * (rest + (first - head)) - value * lost


def damped(xp: Namespace, slow: Array, more: Array | None, t: Array, lost: Array | None) -> Any:
    """(slow + more)*exp(t + lost), of which slow + more is at most 1; None is nothing.

    The slow factor comes first: the fast one alone is subnormal before the product is.
    """
    if more is None or lost is None:
        return slow * xp.exp(t)
    return (slow + (slow * lost + more)) * xp.exp(t)


def erfc(xp: Namespace, x: Array) -> Any:
    """1 - erf(x), right in relative terms in the far tail."""
    tail = _erfc(xp, xp.abs(x))
    return xp.where(x > 0, tail, 2 - tail)


def _erfc(xp: Namespace, a: Array) -> Any:
    a = xp.minimum(a, FAR / sqrt(2))
    slow, more = mills(xp, a, k=sqrt(2))
    more = more if more is None else 2 * more
    return damped(xp, 2 * slow, more, *square(*split(xp, a), 1.0))  # 1 at 0


def erf(xp: Namespace, x: Array) -> Any:
    """The error function, right in relative terms near zero."""
    a = xp.abs(x)
    near = xp.minimum(a, 1.0)
    first, *others = CORE_32 if is_short(xp, a) else CORE_64
    core = x + x * polynomial(near * near, (first - 1, *others))
    size = 1 - _erfc(xp, xp.maximum(a, 1.0))
    return xp.where(a <= 1.0, core, xp.where(x > 0, size, -size))


def erfc_inverse(xp: Namespace, w: Array, factor: float = 1.0) -> Any:
    """The y at which erfc(y) is exp(-w), for 0 <= w <= inf, times the factor."""
    k, fit = (1.5, BACK_32) if is_short(xp, w) else (3.0, BACK_64)
    coefficients = tuple(factor * c for c in fit)
    s = xp.minimum(xp.sqrt(w + log(2)), 1e9)
    return w * (polynomial((s - k) / (s + k), coefficients) / (s + 0.5))


def log_less(xp: Namespace, rest: Array, lost: Array) -> Any:
    """log(rest - lost), where 1 - t was rounded to `rest` and t lost t - (1 - rest).

    XLA's log1p(-t) is wrong by up to a hundred ulp. Below 1/2 nothing is lost.
    """
    return xp.log(rest) - lost / xp.maximum(rest, 0.5)


def log1p(xp: Namespace, x: Array) -> Any:
    """log(1 + x) by the logarithm, to two units: XLA's own may be wrong by more than a hundred."""
    near = xp.minimum(x, 1e9)
    return log_less(xp, 1 + x, -((1 - (1 + near)) + near))  # XLA takes (1 + x) - 1 for x


def expm1(xp: Namespace, x: Array) -> Any:
    """exp(x) - 1 by the exponential, to three units, and to two for x <= 0."""
    near = xp.minimum(xp.maximum(x, -1.0), 1.0)
    core = near + near * (near * polynomial(near, RISE_32 if is_short(xp, x) else RISE_64))
    return xp.where(xp.abs(x) < 1, core, xp.exp(x) - 1)


def tanh(xp: Namespace, x: Array) -> Any:
    """tanh(x) by the exponential, to two units."""
    near = xp.minimum(xp.maximum(x, -1.0), 1.0)
    e = xp.exp(-2 * xp.abs(x))
    far = 1 - 2 * e / (1 + e)
    return xp.where(xp.abs(x) < 1, near * (1 - shrunk(xp, near)), xp.where(x > 0, far, -far))


def shrunk(xp: Namespace, x: Array) -> Any:
    """1 - tanh(x)/x for -1 <= x <= 1, right in relative terms."""
    square = x * x
    return square * polynomial(square, SHRINK_32 if is_short(xp, x) else SHRINK_64)
