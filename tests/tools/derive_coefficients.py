"""Derive ``activations_xp/numerics/coefficients.py`` with mpmath and print it.

Each table interpolates a function at Chebyshev nodes in 60 digits, is cut where the remainder
falls below the target, and is expanded in powers of the scaled variable. ``tests/test_special.py``
derives the tables again and compares them with those of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from mpmath import cos, erf, erfc, exp, log, mp, mpf, pi, sin, sqrt, tan, tanh

NODES = 64
DISC_NODES = 512
SIN2_OVER_X_PEAK = 1.1640625
FADDEEVA_SCALE = 5.3125


class Fit(NamedTuple):
    """A table: the function of `variable` that it approximates where `interval` says."""

    doc: str
    scaled: Callable[[Any], Any]
    interval: Callable[[], tuple[Any, Any]]
    bits: int

    def coefficients(self) -> list[float]:
        """Return the coefficients, lowest first."""
        with mp.workdps(60):
            return _powers(self.scaled, *self.interval(), mpf(2) ** -self.bits)


class WeightedFit(NamedTuple):
    """A table for -1 < t < 1, by least squares, for an error that will be multiplied by a weight.

    bits : of the largest error times the weight
    """

    doc: str
    scaled: Callable[[Any], Any]
    weight: Callable[[Any], Any]
    size: int
    bits: int

    def coefficients(self) -> list[float]:
        """Return the coefficients, lowest first."""
        with mp.workdps(40):
            nodes = [cos(pi * (2 * j + 1) / (2 * NODES)) for j in range(NODES)]
            weights = [self.weight(t) for t in nodes]
            matrix = [
                [w * t**n for n in range(self.size)] for w, t in zip(weights, nodes, strict=True)
            ]
            values = [w * self.scaled(t) for w, t in zip(weights, nodes, strict=True)]
            solution, _ = mp.qr_solve(mp.matrix(matrix), mp.matrix(values))
            return [float(c) for c in solution]


class Disc(NamedTuple):
    """A table: a Taylor series for the disc with radius 1, from the values on its edge."""

    doc: str
    function: Callable[[Any], Any]
    size: int
    bits: int

    def coefficients(self) -> list[float]:
        """Return the coefficients, lowest first; they are real."""
        with mp.workdps(40):
            angles = [pi * (2 * j + 1) / DISC_NODES for j in range(DISC_NODES)]
            values = [self.function(u) for u in angles]
            return [
                float(sum(v * cos(n * u) for v, u in zip(values, angles, strict=True)) / DISC_NODES)
                for n in range(1, self.size + 1)
            ]


def _powers(function: Callable[[Any], Any], low: Any, high: Any, relative: Any) -> list[float]:
    """Return the coefficients, lowest first, of the polynomial for `function` on [low, high]."""
    angles = [pi * (2 * j + 1) / (2 * NODES) for j in range(NODES)]
    values = [function(low + (cos(u) + 1) * (high - low) / 2) for u in angles]
    series = [
        2 * sum(v * cos(m * u) for v, u in zip(values, angles, strict=True)) / NODES
        for m in range(NODES)
    ]
    series[0] /= 2
    size = next(n for n in range(NODES) if sum(map(abs, series[n:])) < relative * abs(series[0]))
    # T_m of u = (2t - high - low)/(high - low), expanded by its recurrence
    scale, offset = 2 / (high - low), -(high + low) / (high - low)

    def times_u(p: list[Any]) -> list[Any]:
        raised = [mpf(0)] + [scale * c for c in p]
        return [c + offset * (p[i] if i < len(p) else 0) for i, c in enumerate(raised)]

    previous, current = [mpf(1)], [offset, scale]
    powers = [mpf(0)] * size
    for coefficient in series[:size]:
        for i, c in enumerate(previous):
            powers[i] += coefficient * c
        following = [2 * c for c in times_u(current)]
        for i, c in enumerate(previous):
            following[i] -= c
        previous, current = current, following
    return [float(c) for c in powers]


def _erfcx(t: Any) -> Any:
    a = 2 * (1 + t) / (1 - t)
    return (a + 2) * exp(a * a / 2) * erfc(a / sqrt(2)) / 2


def _tail_weight(t: Any) -> Any:
    a = 2 * (1 + t) / (1 - t)
    return max(a, mpf(1)) * exp(-a * a / 2) / (a + 2)


def _erf(x2: Any) -> Any:
    x = sqrt(x2)
    return erf(x) / x


def _erfcinv(k: float, upper: float) -> tuple[Callable[[Any], Any], Callable[[], tuple[Any, Any]]]:
    def scaled(t: Any) -> Any:
        s = k * (1 + t) / (1 - t)
        w = s * s - log(2)
        y = s
        step = mpf(1)
        while abs(step) > mpf(10) ** -30 * y:  # Newton's method converges from above
            tail = erfc(y)
            step = (log(tail) + w) * tail * exp(y * y) * sqrt(pi) / 2
            y += step
        return (s + 0.5) * y / w

    def interval() -> tuple[Any, Any]:
        low, high = (sqrt(w + log(2)) for w in (mpf(0), mpf(upper)))
        return (low - k) / (low + k), (high - k) / (high + k)

    return scaled, interval


def _tanhc(x2: Any) -> Any:
    x = sqrt(x2)
    return (x - tanh(x)) / (x * x2)


def _expm1(x: Any) -> Any:
    return (exp(x) - 1 - x) / (x * x)


def _log1p(f: Any) -> Any:
    return (log(1 + f) - f + f * f / 2) / f**3


def _sin2_over_x(v: Any) -> Any:
    a = SIN2_OVER_X_PEAK + v
    return 1 - sin(a) ** 2 / a


def _faddeeva(u: Any) -> Any:
    t2 = (FADDEEVA_SCALE * tan(u / 2)) ** 2
    return exp(-t2) * (mpf(FADDEEVA_SCALE) ** 2 + t2)


def _on(low: float, high: float) -> Callable[[], tuple[Any, Any]]:
    return lambda: (mpf(low), mpf(high))


_ERFCX = "(a + 2)*Q(a)/exp(-a*a/2) for a >= 0, in t = (a - 2)/(a + 2)"
_NORMAL_TAIL = (
    "The same by fewer terms, where (a + 2)/exp(-a*a/2) divides it again and max(a, 1) may be a\n"
    "factor; the error of that is"
)
_ERF = "erf(x)/x for 0 <= x <= 1, in x*x"
_ERFCINV = (
    "(s + 1/2)*y/w for 0 <= w <= {upper:g}, erfc(y) = exp(-w), s = sqrt(w + log(2)),\n"
    "in t = (s - {k:g})/(s + {k:g})"
)
_TANHC = "(x - tanh(x))/x**3 for 0 <= x <= 1, in x*x"
_EXPM1 = "(exp(x) - 1 - x)/x**2 for -1 <= x <= 1"
_EXP = "(exp(x) - 1 - x)/x**2 for abs(x) <= log(2)/2"
_LOG1P = "(log(1 + f) - f + f*f/2)/f**3 for sqrt(1/2) <= 1 + f <= sqrt(2)"
_SIN2_OVER_X = "1 - sin(a)**2/a, in a - SIN2_OVER_X_PEAK between -1 and 1"

_FADDEEVA = (
    "((s + z)*erfcx(z) - 1/sqrt(pi))*(s + z)/2 for Re(z) >= 0, in (s - z)/(s + z) by Weideman,\n"
    "Computation of the complex error function, 1994, s = FADDEEVA_SCALE"
)

_FITS: dict[str, Fit | WeightedFit | Disc] = {
    "ERFCX_32": Fit(_ERFCX, _erfcx, _on(-1, 1), 27),
    "ERFCX_64": Fit(_ERFCX, _erfcx, _on(-1, 1), 57),
    "NORMAL_TAIL_32": WeightedFit(_NORMAL_TAIL, _erfcx, _tail_weight, 7, 24),
    "ERF_32": Fit(_ERF, _erf, _on(0, 1), 27),
    "ERF_64": Fit(_ERF, _erf, _on(0, 1), 57),
    "ERFCINV_32": Fit(_ERFCINV.format(k=1.5, upper=104), *_erfcinv(1.5, 104.0), 27),
    "ERFCINV_64": Fit(_ERFCINV.format(k=3, upper=745), *_erfcinv(3.0, 745.0), 57),
    "TANHC_32": Fit(_TANHC, _tanhc, _on(0, 1), 27),
    "TANHC_64": Fit(_TANHC, _tanhc, _on(0, 1), 57),
    "EXPM1_32": Fit(_EXPM1, _expm1, _on(-1, 1), 27),
    "EXPM1_64": Fit(_EXPM1, _expm1, _on(-1, 1), 57),
    "EXP_32": Fit(_EXP, _expm1, _on(-0.3466, 0.3466), 22),
    "LOG1P_32": Fit(_LOG1P, _log1p, _on(-0.2929, 0.4143), 21),
    "SIN2_OVER_X_32": Fit(_SIN2_OVER_X, _sin2_over_x, _on(-1, 1), 27),
    "SIN2_OVER_X_64": Fit(_SIN2_OVER_X, _sin2_over_x, _on(-1, 1), 57),
    "FADDEEVA": Disc(_FADDEEVA, _faddeeva, 40, 50),
}
FITS = {name: fit.coefficients for name, fit in _FITS.items()}
"""By the name of each table, a function that derives its coefficients."""

_HEADER = f'''\
"""Coefficients of polynomials, lowest first, generated by ``tests/tools/derive_coefficients.py``.

The error of each is the largest absolute error over the mean of the function.

Q is the upper tail of the standard normal distribution. One division by a + 2 serves the weight
and t, and a quotient by it is not subnormal where half of its numerator is not. At w = -log(2),
where erfc is 2, y has its nearest singularity, which s turns into an end of the interval.
"""

SIN2_OVER_X_PEAK = {SIN2_OVER_X_PEAK}
"""sin(a)**2/a is largest near this a."""

FADDEEVA_SCALE = {FADDEEVA_SCALE}
"""The scale s of the series for the Faddeeva function, sqrt(40/sqrt(2)) in few digits."""
'''


def _error(fit: Fit | WeightedFit | Disc) -> str:
    return "" if isinstance(fit, WeightedFit) else "; error"


def module() -> str:
    """Return the text of the module of coefficients."""
    parts = [_HEADER]
    for name, fit in _FITS.items():
        table = "".join(f"    {c!r},\n" for c in fit.coefficients())
        parts.append(f'{name} = (\n{table})\n"""{fit.doc}{_error(fit)} below 2**-{fit.bits}."""\n')
    return "\n".join(parts)


if __name__ == "__main__":
    print(module(), end="")
