"""The numbers that the explorer draws: knots of every function over a grid of its parameters.

A knot is x, f(x), f'(x) and f''(x). Between two knots the explorer takes the cubic polynomials of
f and f' with these slopes, and those of their logarithms where they fall or rise steeply; knots are
as close as that needs to be right to six digits. A kink or a jump stands there as three knots: the
limits from the left, what the function itself returns, and the limits from the right.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isclose, isfinite
from typing import Any

import numpy as np

from activations_xp._catalog import Entry, entries
from activations_xp._definition import Definition
from activations_xp._parameters import ParameterSpec
from activations_xp.plotting.drawing import COLOURS, STYLES

MAX_CURVES = 81
"""The curves of a function: nine values for each of two parameters, four for each of three."""

FACTORS = (0.0, 0.5, 2.0, 0.25, 4.0, 10.0, -1.0)
"""The values of a parameter, in terms of its default."""

STEPS = (1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 4.0, -4.0)
"""Its values, if the default is 0."""

REGIONS = ((-8.0, 8.0), (-40.0, 40.0), (-1000.0, 1000.0))
"""The x of all curves; one that oscillates too often in the outer regions is cut there."""

MAX_SEGMENTS = 1000
ERROR = 1e-6
DIGITS = (12, 7, 7, 5)
"""Those of x, f, f' and f'' that are written."""

TINY, HUGE = 1e-300, 1e100
"""The sizes of values below and above which they count as 0 and as infinite."""

STEEP, TOO_STEEP = 1.4, 100.0
"""The logarithms of the ratio of two values between which logarithms are interpolated."""


def explored() -> list[Entry]:
    """Return the functions of one number: elementwise, with a derivative, without chance."""
    return [
        entry
        for entry in entries()
        if entry.definition.is_elementwise
        and entry.definition.derivative is not None
        and entry.definition.noise is None
    ]


def start(definition: Definition) -> dict[str, Any]:
    """Return the defaults; a parameter without one has the value that it is first tested at."""
    tested = definition.cases[0].parameters if definition.cases else {}
    return {name: definition.defaults.get(name, tested.get(name)) for name in definition.parameters}


def grids(definition: Definition) -> dict[str, list[Any]]:
    """Return the values of each parameter that has several, in increasing order."""
    found = {
        name: values
        for name, spec in definition.parameters.items()
        if len(values := list(_values(name, spec, definition))) > 1
    }
    count = int(MAX_CURVES ** (1 / max(2, len(found))) + 1e-9)
    return {name: _sorted(values[:count]) for name, values in found.items()}


def _values(name: str, spec: ParameterSpec, definition: Definition) -> Iterator[Any]:
    """Yield the values of a parameter, the most telling ones first."""
    default = start(definition)[name]
    yield default
    if spec.choices:
        # True and False are other words for two of several names
        kind = type(default)
        yield from (v for v in spec.choices if isinstance(v, kind) and v != default)
    elif spec.number and spec.convert is None:
        tested = [c.parameters[name] for c in definition.cases if name in c.parameters]
        unit = next(filter(None, [default, *tested]), 1.0)
        regular = STEPS if default == 0 else [float(f"{unit * f + 0.0:.6g}") for f in FACTORS]
        seen = [] if default is None else [default]
        for value in (*tested, *regular):
            is_new = not any(isclose(value, other, rel_tol=1e-3) for other in seen)
            if is_new and _is_allowed(definition, {**start(definition), name: value}):
                seen.append(value)
                yield value


def _sorted(values: Iterable[Any]) -> list[Any]:
    """Return numbers in increasing order, after None; names as they are."""
    values = list(values)
    if any(isinstance(value, str) for value in values):
        return values
    return sorted(values, key=lambda value: (value is not None, value))


def _is_allowed(definition: Definition, parameters: Mapping[str, Any]) -> bool:
    numbers = [value for value in parameters.values() if isinstance(value, float)]
    return all(map(isfinite, numbers)) and all(c.holds(parameters) for c in definition.constraints)


def knots(function: Any, parameters: Mapping[str, Any]) -> Any:
    """Return the knots of a function: four rows, without columns where it is not defined."""
    definition = function.definition
    if not _is_allowed(definition, parameters):
        return np.empty((4, 0))

    def evaluate(x: Any) -> Any:
        result = np.stack(function.value_and_derivative(x, **parameters))
        return np.where(np.abs(result) < HUGE, result, np.nan)

    numbers = [value for value in parameters.values() if isinstance(value, float)]
    edges = {*np.arange(-8.0, 9.0, 2.0).tolist(), *definition.properties.domain}
    edges |= {*definition.properties.kinks, *numbers, *(-value for value in numbers)}
    segments = _segments(evaluate, *REGIONS[0], edges)
    for (left, right), (low, high) in itertools.pairwise(REGIONS):
        outer = [_segments(evaluate, *ends, edges) for ends in ((low, left), (right, high))]
        if max(part.shape[1] for part in outer) > MAX_SEGMENTS:
            break
        segments = np.concatenate([outer[0], segments, outer[1]], axis=1)
    return _joined(evaluate, *segments)


def _segments(evaluate: Callable[..., Any], low: float, high: float, edges: set[float]) -> Any:
    """Halve segments until the polynomials of each are right; return the two rows of ends.

    Those that are not right when there are too many are among them.
    """
    points = np.asarray(sorted({low, high, *(edge for edge in edges if low < edge < high)}))
    a, b = points[:-1], points[1:]
    done = []
    while 0 < a.size <= MAX_SEGMENTS:
        inside = a + np.asarray([[0.12], [0.31], [0.5], [0.69], [0.88]]) * (b - a)
        exact = evaluate(inside)
        ends = _ends(evaluate, a, b)
        found = np.stack([_between(inside, a, b, ends[:, i : i + 2]) for i in (0, 1)])
        size = np.abs(exact)
        tolerance = np.minimum(ERROR * np.maximum(size, 0.1), 1e-3 * size) + TINY
        right = np.all(np.abs(found - exact) <= tolerance, axis=(0, 1))
        right &= np.all(np.isfinite(ends), axis=(0, 1))
        done.append(np.stack([a, b])[:, right])
        # a jump is where segments get no shorter
        wide = b - a > 1e-9 * np.maximum(1.0, np.abs(a))
        again = ~right & wide & np.any(np.all(np.isfinite(exact), axis=0), axis=0)
        a, b = a[again], b[again]
        middle = (a + b) / 2
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
    segments = np.concatenate([*done, np.stack([a, b])], axis=1)
    return segments[:, np.argsort(segments[0])]


def _ends(evaluate: Callable[..., Any], a: Any, b: Any) -> Any:
    """Return f, f' and f'' at both ends of segments, as limits from inside.

    The axes are those of ends, of the three, and of segments.
    """
    x = np.stack([np.nextafter(a, b), np.nextafter(b, a)])
    step = np.stack([b - a, a - b]) * 1e-4
    (f, *_), (here, near, far) = evaluate(np.stack([x, x + step, x + 2 * step]))
    with np.errstate(all="ignore"):
        second = (4 * near - 3 * here - far) / (2 * step)
    return np.stack([f, here, second], axis=1)


def _between(x: Any, a: Any, b: Any, ends: Any) -> Any:
    """Return the cubic polynomial, or its exponential, of a value and slope at both ends."""
    (y0, m0), (y1, m1) = ends
    with np.errstate(all="ignore"):
        rise = np.log(y1 / y0)  # NaN where the sign changes
        is_steep = (np.abs(rise) > STEEP) & (np.abs(rise) < TOO_STEEP)
        steep = y0 * np.exp(_cubic(x, a, b, 0.0, m0 / y0, rise, m1 / y1))
        return np.where(is_steep, steep, _cubic(x, a, b, y0, m0, y1, m1))


def _cubic(x: Any, a: Any, b: Any, y0: Any, m0: Any, y1: Any, m1: Any) -> Any:
    width = b - a
    t = (x - a) / width
    u = 1 - t
    return u * u * ((1 + 2 * t) * y0 + t * width * m0) + t * t * ((1 + 2 * u) * y1 - u * width * m1)


def _joined(evaluate: Callable[..., Any], a: Any, b: Any) -> Any:
    """Return the knots of segments: one where two meet, and three at a kink or a jump."""
    left, right = _ends(evaluate, a, b)
    rows = [np.asarray([a[0], *left[:, 0]])]
    for i in range(a.size):
        end = np.asarray([b[i], *right[:, i]])
        rows.append(end)
        if i + 1 == a.size:
            continue
        start = np.asarray([a[i + 1], *left[:, i + 1]])
        # between them lies at most what is left of a jump
        end[0] = start[0] = (end[0] + start[0]) / 2
        if not np.allclose(end, start, rtol=1e-3, atol=1e-5):
            rows += [np.asarray([end[0], *evaluate(end[0]), 0.0]), start]
    return np.asarray(rows).T


def curves(entry: Entry) -> list[Any]:
    """Return the knots of a function over the grid, the last parameter running fastest."""
    values = grids(entry.definition)
    chosen = [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]
    return [knots(entry.function, {**start(entry.definition), **given}) for given in chosen]


def script(entry: Entry) -> str:
    """Return the script that hands the curves of a function to the explorer."""
    text = ",\n".join(
        f"[{','.join(_row(values, n) for values, n in zip(found, DIGITS, strict=True))}]"
        for found in curves(entry)
    )
    return f"explorer.receive({json.dumps(entry.name)}, [\n{text}])\n"


def _row(values: Iterable[float], digits: int) -> str:
    return f"[{','.join(_number(value, digits) for value in values)}]"


def _number(value: float, digits: int) -> str:
    if not isfinite(value):
        return "null"
    if abs(value) < 1e-322:  # which is the neighbour of 0
        return "0"
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def index() -> str:
    """Return the script that tells the explorer of all functions and of the looks of curves."""
    functions = []
    for entry in explored():
        definition = entry.definition
        functions.append(
            {
                "name": entry.name,
                "aliases": [name for name, bound in definition.aliases.items() if not bound],
                "family": entry.family.title,
                "summary": entry.summary.replace("`", ""),
                "required": [n for n in definition.parameters if n not in definition.defaults],
                "start": {name: start(definition)[name] for name in grids(definition)},
                "grids": grids(definition),
                "constraints": [constraint.text for constraint in definition.constraints],
            }
        )
    dashes = ["" if style == "-" else " ".join(f"{2 * n:g}" for n in style[1]) for style in STYLES]
    arguments = ", ".join(json.dumps(part) for part in (functions, COLOURS, dashes))
    return f"explorer.begin({arguments})\n"
