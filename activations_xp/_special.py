"""Special functions that the array API standard lacks, written on `xp`.

The coefficients are derived, with their intervals and errors, in ``tests/derive_special.py``.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from ._dispatch import device
from ._parameters import NUMBER
from ._typing import Array, Namespace

FAR = 39.0
"""From here on the normal density, and the tail with it, is zero in float64."""

TAIL_32 = (
    0.5229259277394029,
    -0.1372014430165223,
    -0.015089514707602081,
    0.041153230923095224,
    -0.009724492736322135,
    -0.00545863616699325,
    0.0014476242140466012,
    0.001196358936491015,
    -3.525612857329511e-05,
    -0.0002259061609369548,
    -6.068361880954624e-05,
)
TAIL_64 = (
    0.4909353347702385,
    -0.13078302163621688,
    0.038875485792278085,
    0.01425888258600236,
    -0.02602487660682162,
    0.016237678383286516,
    -0.004900866176039094,
    -0.00015786032816185667,
    0.000657460250565071,
    -0.00010354122841340077,
    -8.212351326122695e-05,
    2.2176339779897715e-05,
    1.2766149758123484e-05,
    -3.5980142929500816e-06,
    -2.4805813851195516e-06,
    4.45545283164005e-07,
    5.331213419423763e-07,
    -8.905240627322818e-09,
    -1.0907896232398343e-07,
    -1.7690644650597925e-08,
    1.7644689221293773e-08,
    5.9183813202128585e-09,
    -1.5706020406523067e-09,
    -7.67963398251519e-10,
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


def unit(xp: Namespace, x: Array) -> Any:
    """1 everywhere, and NaN where x is."""
    return xp.where(x != x, x, 1.0)


def arange(xp: Namespace, x: Array, n: int) -> Any:
    """0, 1, ..., n - 1 in the dtype and on the device of x: the one place that makes an array."""
    return xp.arange(n, dtype=x.dtype, device=device(x))


def polynomial(t: Any, coefficients: tuple[float, ...]) -> Any:
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * t + c
    return total


def gaussian(xp: Namespace, a: Array, rate: float = 0.5) -> Any:
    """exp(-rate*a*a) to an ulp or two, for 0 <= a <= FAR and a rate of 0.25, 0.5 or 1.

    Rounding a*a would cost a*a ulp. The head of `a` has so few digits that its square is exact,
    and the exponential of the small rest is a short series.
    """
    scale = 2.0**8 if a.dtype == xp.float32 else 2.0**20
    head = xp.round(a * scale) * (1 / scale)
    return bell(xp, head, a - head, rate)


def bell(xp: Namespace, head: Array, rest: Array, rate: float = 0.5) -> Any:
    """exp(-rate*a*a) of the sum a of a head with few digits and a small rest."""
    rest = rest * (2 * head + rest) * rate
    series = 1 - rest * (1 - rest * (1 / 2 - rest * (1 / 6 - rest * (1 / 24))))
    return xp.exp((-rate * head) * head) * series


def halves(xp: Namespace, number: float | Array, x: Array) -> tuple[Any, Any]:
    """A head and a rest of the digits of `number`, which x's dtype holds both."""
    bits = 27 if x.dtype != xp.float32 else 41 if isinstance(number, NUMBER) else 12
    wide = number * (2.0**bits + 1)
    head = wide - (wide - number)
    return head, number - head


def mills(xp: Namespace, a: Array) -> Any:
    """The tail of the standard normal distribution over exp(-a*a/2): slow, for 0 <= a <= FAR."""
    k, coefficients = (2.5, TAIL_32) if a.dtype == xp.float32 else (4.0, TAIL_64)
    return polynomial((a - k) / (a + k), coefficients) / (a + 1.2)


def erfc(xp: Namespace, x: Array) -> Any:
    """1 - erf(x), right in relative terms in the far tail."""
    a = xp.minimum(xp.abs(x), FAR / sqrt(2))
    tail = 2 * gaussian(xp, a, 1.0) * mills(xp, a * sqrt(2))
    return xp.where(x > 0, tail, 2 - tail)


def erf(xp: Namespace, x: Array) -> Any:
    """The error function, right in relative terms near zero."""
    a = xp.abs(x)
    near = xp.minimum(a, 1.0)
    core = near * polynomial(near * near, CORE_32 if a.dtype == xp.float32 else CORE_64)
    size = xp.where(a <= 1.0, core, 1 - erfc(xp, xp.maximum(a, 1.0)))
    return xp.where(x > 0, size, -size)
