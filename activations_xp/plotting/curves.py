"""The curves of functions: of one number, of a gate, and of channels that change together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, TypeAlias

import numpy as np

from .._definition import Definition
from .._parameters import COUNT

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

NUM_DRAWS = 200
"""The number of draws of a random function, for its mean and its quantiles."""

QUANTILES = (0.1, 0.9)

LINES = np.array([[-1.0, -2.0], [-0.25, 1.0], [0.5, 0.5], [1.5, -3.0]])
"""Slopes and intercepts of the channels for functions that join them."""

_JUMP = 1e-6
"""The smallest jump that counts; that of a continuous function ends far below."""


@dataclass(frozen=True, eq=False)
class Asymptote:
    """The line ``slope * x + intercept`` or, at an end of the domain, a vertical one at `x`."""

    side: int
    slope: float = 0.0
    intercept: float = 0.0
    x: float | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """A function on points of the x axis.

    x : increasing points, with each kink and its two neighbours
    y : the values, NaN at a jump
    dy : the derivatives, NaN where they jump; None if the function has none to show
    kinks : the x where the function or a derivative jumps
    low, high : quantiles of a random function, of which `mean` is the mean
    context : further lines that explain it, by label
    """

    label: str
    x: Floats
    y: Floats
    dy: Floats | None = None
    kinks: tuple[float, ...] = ()
    asymptotes: tuple[Asymptote, ...] = ()
    low: Floats | None = None
    mean: Floats | None = None
    high: Floats | None = None
    context: Mapping[str, Floats] = field(default_factory=dict)
    xlabel: str = "x"


def curve_of(function: Any, label: str, given: Mapping[str, Any], x: Floats) -> Curve:
    """Return the curve of an elementwise function."""
    definition: Definition = function.definition
    case = {**definition.defaults, **definition.cases[0].parameters}
    is_case = {**definition.defaults, **given} == case and "training" not in given

    def f(x: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.asarray(function.accurate(x, **given), dtype=float)

    def df(x: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.asarray(function.derivative(x, **given), dtype=float)

    curve = trace(f, df, x, label, kinks=definition.properties.kinks if is_case else ())
    curve = _changed(curve, asymptotes=_asymptotes(f, df, curve, definition.properties.domain))
    if definition.noise is None:
        return curve
    draws = np.broadcast_to(curve.x, (NUM_DRAWS, curve.x.size)).copy()
    noise = (np.random.default_rng(0).permutation(NUM_DRAWS)[:, None] + 0.5) / NUM_DRAWS
    drawn = function(draws, **{**given, "training": True, "noise": noise})
    low, high = np.quantile(drawn, QUANTILES, axis=0)
    return _changed(curve, low=low, high=high, mean=np.mean(drawn, axis=0))


def trace(
    f: Callable[[Floats], Floats],
    df: Callable[[Floats], Floats],
    x: Floats,
    label: str = "",
    *,
    kinks: Sequence[float] = (),
    **fields: Any,
) -> Curve:
    """Return the curve of f with derivative df, with all points where one of them jumps.

    They are found by bisection; `kinks` names further ones, such as those of second derivatives.
    """
    jumps = _jumps(f, x)
    breaks = _jumps(df, x)
    found: list[float] = []
    for kink in (*kinks, *jumps, *breaks):
        is_new = all(abs(kink - other) > 1e-4 * (x[-1] - x[0]) for other in found)
        if x[0] <= kink <= x[-1] and is_new:  # two may be as close as in xielu
            found.append(kink)
    points = sorted({*found, *jumps, *breaks})
    near = 1e-9 * (x[-1] - x[0])  # rounding may move a kink by a few units
    beside = [point for k in points for point in (k - near, k, k + near)]
    x = np.unique(np.concatenate([x, np.clip(beside, x[0], x[-1])]))
    y, dy = f(x), df(x)
    y[~np.isfinite(y) | np.isin(x, jumps)] = np.nan
    dy[~np.isfinite(dy) | np.isin(x, [*jumps, *breaks])] = np.nan
    return Curve(label, x, y, dy, tuple(sorted(found)), **fields)


def _changed(curve: Curve, **fields: Any) -> Curve:
    return Curve(**{**vars(curve), **fields})


def _snapped(x: float) -> float:
    """Return a kink without the last bits of the bisection."""
    return float(np.round(x, 12)) + 0.0


def _jumps(f: Callable[[Floats], Floats], x: Floats) -> list[float]:
    """Return the points between the first and the last x where f jumps."""
    # on a finer grid, for within an interval the jump must outweigh what is smooth
    x = np.interp(np.arange(4 * x.size - 3) / 4, np.arange(x.size), x)
    a, b = x[:-1], x[1:]
    fa, fb = f(a), f(b)
    with np.errstate(invalid="ignore"):
        for _ in range(60):
            middle = (a + b) / 2
            at = f(middle)
            left = abs(at - fa) >= abs(fb - at)
            a, b = np.where(left, a, middle), np.where(left, middle, b)
            fa, fb = np.where(left, fa, at), np.where(left, at, fb)
        size = 1 + np.minimum(abs(fa), abs(fb))
        found = (abs(fb - fa) > _JUMP * size) & np.isfinite(fa) & np.isfinite(fb)
    return [*dict.fromkeys(_snapped(k) for k in b[found])]


def _asymptotes(
    f: Callable[[Floats], Floats],
    df: Callable[[Floats], Floats],
    curve: Curve,
    domain: tuple[float, float],
) -> tuple[Asymptote, ...]:
    """Return the lines that the curve comes near to, but does not lie on, at either end."""
    found = []
    for side, end in zip((-1, 1), domain, strict=True):
        limit = f(np.array([end]))[0]
        if isfinite(end):
            # also where the value is finite but NumPy's last number within is steep
            if not isfinite(limit) and curve.x[0] <= end <= curve.x[-1]:
                found.append(Asymptote(side, x=end))
            continue
        slope = 0.0
        if not isfinite(limit):
            slope = df(np.array([end]))[0]
            if np.isnan(limit) or not isfinite(slope) or slope == 0:
                continue
            far = f(side * np.array([1e5, 1e6, 1e7])) - slope * side * np.array([1e5, 1e6, 1e7])
            if np.ptp(far) > 1e-3:
                continue
            slope, limit = _snapped(slope), _snapped(np.round(far[-1], 6))
        half = curve.x * side > 0
        y = curve.y[half]
        off = abs(y - (slope * curve.x[half] + limit))
        if off.size and np.nanmax(off) > 1e-3 * max(1.0, np.nanmax(abs(y))):
            found.append(Asymptote(side, float(slope), float(limit) + 0.0))
    return tuple(found)


def view(curves: Sequence[Curve], *, derivative: bool = True) -> tuple[float, float]:
    """Return the ends of a y axis that shows the curves.

    Where they leave it, as exponentials do, it is about as long as the x axis.
    """
    largest = max(6.0, *(float(abs(curve.x[[0, -1]]).max()) for curve in curves))
    lines = [line for curve in curves for line in (curve.y, *curve.context.values())]
    lines += [curve.dy for curve in curves if derivative and curve.dy is not None]
    y = np.concatenate(lines)
    y = np.clip(y[np.isfinite(y)], -largest, largest)
    horizontal = [a.intercept for c in curves for a in c.asymptotes if a.slope == 0 and a.x is None]
    bands = [b for curve in curves for b in (curve.low, curve.high) if b is not None]
    y = np.concatenate([y, np.array(horizontal), *bands])
    low, high = (float(y.min()), float(y.max())) if y.size else (-1.0, 1.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def curve_of_gate(function: Any, label: str, given: Mapping[str, Any], x: Floats) -> Curve:
    """Return the curve of the gate b, for a half a of ones."""
    given = {n: v for n, v in given.items() if n not in ("gate", "axis", "interleaved")}

    def f(b: Floats) -> Floats:
        return np.asarray(function.accurate(np.ones_like(b), **given, gate=b))

    def df(b: Floats) -> Floats:
        gradients = function.vjp(np.ones_like(b), np.ones_like(b), **given, gate=b)
        return np.asarray(gradients["gate"])

    curve = trace(f, df, x, label, xlabel="gate b, at a = 1")
    return _changed(curve, asymptotes=_asymptotes(f, df, curve, (-inf, inf)))


def curves_of_channels(
    function: Any, label: str, given: Mapping[str, Any], x: Floats
) -> list[Curve]:
    """Return the curves of a function that joins channels, or makes several of one."""
    given = {**given, **({"axis": -1} if "axis" in function.definition.parameters else {})}
    counts = [
        n for n, spec in function.definition.parameters.items() if spec.convert is COUNT.convert
    ]
    if counts:  # the required number of units
        given = {**dict.fromkeys(counts, 1), **{n: v for n, v in given.items() if v != 2}}
        one: Any = None
    else:
        one = np.asarray(function(x[:, None], **given))
    if one is not None and one.ndim == 2 and one.shape[1] > 1:
        return [Curve(f"{label}, channel {i + 1}", x, y) for i, y in enumerate(one.T)]
    channels = x[:, None] * LINES[:, 0] + LINES[:, 1]
    y = np.asarray(function.accurate(channels, **given)).reshape(x.size, -1)
    lines = {f"channel {i + 1}": line for i, line in enumerate(channels.T)}
    several = y.shape[1] > 1
    return [
        Curve(f"{label}, unit {i + 1}" if several else label, x, values, context=lines)
        for i, values in enumerate(y.T)
    ]
