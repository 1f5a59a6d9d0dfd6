"""Derives the coefficients of ``activations_xp._special`` with mpmath and prints them.

Both fits interpolate at Chebyshev nodes in 60 digits, are cut where the rest falls below the
target, and are turned into powers of the scaled variable. ``tests/test_special.py`` runs this
and compares with what is shipped.

tail: (a + 2) * Q(a) / exp(-a*a/2) on 0 <= a, in t = (a - 2)/(a + 2), where Q is the upper tail
      of the standard normal distribution. One division by a + 2 serves the weight and t, and
      that of a number whose half is not subnormal is not either.
core: erf(x)/x on 0 <= x <= 1, in x*x.
back: (s + 1/2) * y / w on 0 <= w <= top, where erfc(y) = exp(-w) and s = sqrt(w + log(2)), in
      t = (s - k)/(s + k). At w = -log(2), where erfc is 2, y has its nearest singularity, which s
      turns into an end.
shrink: (x - tanh(x))/x**3 on 0 <= x <= 1, in x*x.
rise: (exp(x) - 1 - x)/x**2 on -1 <= x <= 1.
dip: 1 - sin(a)**2/a within 1 of DIP, near which it is least, in a - DIP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpmath import cos, erf, erfc, exp, log, mp, mpf, pi, sin, sqrt, tanh

from activations_xp import _special

NODES = 64
DIP = mpf(_special.DIP)


def _powers(function: Callable[[Any], Any], low: Any, high: Any, relative: Any) -> list[float]:
    """Coefficients, lowest first, of the polynomial for `function` on [low, high]."""
    angles = [pi * (2 * j + 1) / (2 * NODES) for j in range(NODES)]
    values = [function(low + (cos(u) + 1) * (high - low) / 2) for u in angles]
    series = [
        2 * sum(v * cos(m * u) for v, u in zip(values, angles, strict=True)) / NODES
        for m in range(NODES)
    ]
    series[0] /= 2
    size = next(n for n in range(NODES) if sum(map(abs, series[n:])) < relative * abs(series[0]))
    # T_m of u = (2t - high - low)/(high - low), expanded by its recurrence
    slope, shift = 2 / (high - low), -(high + low) / (high - low)

    def times_u(p: list[Any]) -> list[Any]:
        shifted = [mpf(0)] + [slope * c for c in p]
        return [c + shift * (p[i] if i < len(p) else 0) for i, c in enumerate(shifted)]

    previous, current = [mpf(1)], [shift, slope]
    total = [mpf(0)] * size
    for coefficient in series[:size]:
        for i, c in enumerate(previous):
            total[i] += coefficient * c
        following = [2 * c for c in times_u(current)]
        for i, c in enumerate(previous):
            following[i] -= c
        previous, current = current, following
    return [float(c) for c in total]


def tail(relative: float) -> list[float]:
    with mp.workdps(60):

        def scaled(t: Any) -> Any:
            a = 2 * (1 + t) / (1 - t)
            return (a + 2) * exp(a * a / 2) * erfc(a / sqrt(2)) / 2

        return _powers(scaled, mpf(-1), mpf(1), mpf(relative))


def core(relative: float) -> list[float]:
    with mp.workdps(60):

        def ratio(square: Any) -> Any:
            x = sqrt(square)
            return erf(x) / x

        return _powers(ratio, mpf(0), mpf(1), mpf(relative))


def back(k: float, top: float, relative: float) -> list[float]:
    with mp.workdps(60):

        def scaled(t: Any) -> Any:
            s = k * (1 + t) / (1 - t)
            w = s * s - log(2)
            y = s
            step = mpf(1)
            while abs(step) > mpf(10) ** -30 * y:  # Newton's method, which comes from above
                tail = erfc(y)
                step = (log(tail) + w) * tail * exp(y * y) * sqrt(pi) / 2
                y += step
            return (s + 0.5) * y / w

        low, high = (sqrt(w + log(2)) for w in (mpf(0), mpf(top)))
        return _powers(scaled, (low - k) / (low + k), (high - k) / (high + k), mpf(relative))


def shrink(relative: float) -> list[float]:
    with mp.workdps(60):

        def ratio(square: Any) -> Any:
            x = sqrt(square)
            return (x - tanh(x)) / (x * square)

        return _powers(ratio, mpf(0), mpf(1), mpf(relative))


def rise(relative: float) -> list[float]:
    with mp.workdps(60):

        def ratio(x: Any) -> Any:
            return (exp(x) - 1 - x) / (x * x)

        return _powers(ratio, mpf(-1), mpf(1), mpf(relative))


def dip(relative: float) -> list[float]:
    with mp.workdps(60):

        def rest(v: Any) -> Any:
            a = DIP + v
            return 1 - sin(a) ** 2 / a

        return _powers(rest, mpf(-1), mpf(1), mpf(relative))


FITS = {
    "TAIL_32": lambda: tail(2.0**-27),
    "TAIL_64": lambda: tail(2.0**-57),
    "CORE_32": lambda: core(2.0**-27),
    "CORE_64": lambda: core(2.0**-57),
    "BACK_32": lambda: back(1.5, 104.0, 2.0**-27),
    "BACK_64": lambda: back(3.0, 745.0, 2.0**-57),
    "SHRINK_32": lambda: shrink(2.0**-27),
    "SHRINK_64": lambda: shrink(2.0**-57),
    "RISE_32": lambda: rise(2.0**-27),
    "RISE_64": lambda: rise(2.0**-57),
    "DIP_32": lambda: dip(2.0**-27),
    "DIP_64": lambda: dip(2.0**-57),
}

if __name__ == "__main__":
    for name, fit in FITS.items():
        print(f"{name} = (")
        for coefficient in fit():
            print(f"    {coefficient!r},")
        print(")")
