"""Exact values of a formula, by mpmath, and the error of a result in units in the last place."""

from __future__ import annotations

import ast
import functools
import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import numpy as np

DIGITS = 400
"""The default precision in decimal digits: 1 + exp(-745) keeps the digits of the second term."""

ROOT_DIGITS = 60
"""The precision in which roots are found by bisection."""

ERFC_ASYMPTOTIC_FROM = 1e9
"""From here on the asymptotic series of erfc converges to all digits."""

NEGLIGIBLE_FROM = 1e300
"""From here on erfc(x) and exp(-x) count as 0. Only intermediate results, such as exp(x) of a large
x, are so large; mpmath would take minutes for them."""

ACCEPTED = 8.0
"""The largest `difference`, with x, of a library's own kernel that is run in place of ours. It is
6.2 for PyTorch's float32 gelu on some processors, and less than 2 for its other kernels."""


def truth(
    formula: str,
    x: np.ndarray[Any, Any],
    parameters: Mapping[str, Any],
    *,
    digits: int = DIGITS,
) -> np.ndarray[Any, Any]:
    """Return the exact values of a formula as an array of mpmath numbers.

    Parameters
    ----------
    formula : str
        The formula of a definition. Its literals and the parameters are taken as float64 numbers.
    x : array of floats or complex numbers
        Finite numbers. A formula along an axis takes all of x, or its two halves as a and b.
    parameters : mapping
        Values for all names in the formula.
    digits : int
        The precision in decimal digits.
    """
    with mpmath.workdps(digits):
        exact = np.frompyfunc(_exact, 1, 1)
        names = {
            name: exact(value) if isinstance(value, (float, np.ndarray)) else value
            for name, value in parameters.items()
        }
        tree = _Literals().visit(ast.parse(formula, mode="eval"))
        code = compile(ast.fix_missing_locations(tree), "<formula>", "eval")
        names["x"] = exact(x)
        if {"a", "b"} <= set(code.co_names) - set(names):
            names["a"], names["b"] = np.split(names["x"], 2)
        # all names are globals, because a lambda in the formula cannot see locals of eval
        value = eval(code, {**_ARRAYS, **_NUMBERS, **names})
        is_complex = any(isinstance(v, mpmath.mpc) for v in names["x"].flat)
        number = mpmath.mpc if is_complex else mpmath.mpf
        return np.asarray(np.frompyfunc(number, 1, 1)(value), dtype=object)


def _exact(value: Any) -> Any:
    """Return a number of NumPy as one of mpmath."""
    if isinstance(value, (mpmath.mpf, mpmath.mpc)):
        return value
    return mpmath.mpmathify(complex(value) if np.iscomplexobj(value) else float(value))


class _Literals(ast.NodeTransformer):
    """Convert the floats in a formula to mpmath numbers."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, float):
            return node
        return ast.Call(ast.Name("mpf", ast.Load()), [node], [])


def simplex(precision: Any, f: Callable[[Any], Any], x: Any) -> Any:
    """Return f(x - t) for the t at which it sums to 1, where f increases from f(0) = 0.

    The bisection for t runs within the context manager `precision`.
    """
    with precision:
        high = np.max(x)
        low = high - 1
        while np.sum(f(x - low)) < 1:
            low -= high - low
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if np.sum(f(x - middle)) > 1 else (low, middle)
    return f(x - low)


def _exp(x: Any) -> Any:
    return mpmath.mpf(0) if mpmath.re(x) < -NEGLIGIBLE_FROM else mpmath.exp(x)


def _tanh(x: Any) -> Any:
    is_near = isinstance(x, mpmath.mpc) or abs(x) < 2 * mpmath.mp.dps
    return mpmath.tanh(x) if is_near else mpmath.sign(x)


def _erf(x: Any) -> Any:
    is_near = isinstance(x, mpmath.mpc) or x * x < 3 * mpmath.mp.dps
    return mpmath.erf(x) if is_near else mpmath.sign(x)


def _erfc(x: Any) -> Any:
    if isinstance(x, mpmath.mpc) or abs(x) < ERFC_ASYMPTOTIC_FROM:
        return mpmath.erfc(x)
    if x < 0 or x > NEGLIGIBLE_FROM:
        return mpmath.mpf(2 * (x < 0))
    # mpmath.erfc fails for 1e200; sum the asymptotic series instead
    term = series = mpmath.mpf(1)
    n = 0
    while abs(term) > mpmath.mpf(10) ** -mpmath.mp.dps:
        n += 1
        term *= (1 - 2 * n) / (2 * x * x)
        series += term
    return _exp(-x * x) / (x * mpmath.sqrt(mpmath.pi)) * series


def _erfinv(x: Any) -> Any:
    """Solve erf(y) = x by Newton's method from a float64, with twice the digits at each step."""
    tail = 1 - abs(x)
    if tail == 0:
        return x * mpmath.inf
    y = mpmath.mpf(-statistics.NormalDist(sigma=math.sqrt(0.5)).inv_cdf(float(tail / 2)))
    wanted, digits = mpmath.mp.dps + 10, 15
    while digits < wanted:
        digits = min(2 * digits, wanted)
        with mpmath.workdps(digits):
            y += (_erfc(y) - tail) * _exp(y * y) * mpmath.sqrt(mpmath.pi) / 2
    return y if x > 0 else -y


_ARRAYS = {
    "abs": np.abs,
    "arange": lambda *ends: np.array(range(*ends), dtype=object),
    "average": lambda x: np.sum(x) / max(len(x), 1),
    "clip": np.clip,
    "cumsum": np.cumsum,
    "max": np.max,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "reshape": np.reshape,
    "sort": np.sort,
    "sum": np.sum,
    "where": np.where,
}
"""The functions of arrays in a formula."""

_NUMBERS = {
    "mpf": mpmath.mpf,
    "inf": math.inf,
    "pi": mpmath.pi,
    "simplex": functools.partial(simplex, mpmath.workdps(ROOT_DIGITS)),
    "exp": np.frompyfunc(_exp, 1, 1),
    "expm1": np.frompyfunc(mpmath.expm1, 1, 1),
    "log": np.frompyfunc(mpmath.log, 1, 1),
    "log1p": np.frompyfunc(mpmath.log1p, 1, 1),
    "sqrt": np.frompyfunc(mpmath.sqrt, 1, 1),
    "tanh": np.frompyfunc(_tanh, 1, 1),
    "erf": np.frompyfunc(_erf, 1, 1),
    "erfc": np.frompyfunc(_erfc, 1, 1),
    "erfinv": np.frompyfunc(_erfinv, 1, 1),
    "sin": np.frompyfunc(mpmath.sin, 1, 1),
    "cos": np.frompyfunc(mpmath.cos, 1, 1),
}
"""The constants and the functions of numbers in a formula, as mpmath computes them."""


_FORMATS = {
    "bfloat16": (8, -126),
    "float16": (11, -14),
    "float32": (24, -126),
    "float64": (53, -1022),
}
"""For each dtype, the bits of its significand and the exponent of its smallest normal number."""


def difference(
    got: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], x: np.ndarray[Any, Any] | None = None
) -> np.ndarray[Any, Any]:
    """Return the error of `got`, in units in the last place (ulp) of its dtype.

    The unit is that of the exact value, or of the smallest normal number if the exact value is
    smaller. With `x` the unit is eps * max(|exact|, min(|x|, 1)), by which a library's own kernel
    is judged: where the function is small and x is not, its absolute error counts.
    """
    bits, min_exponent = _FORMATS[got.dtype.name]
    size = np.abs(exact.astype(np.float64))
    if x is None:
        exponent = np.maximum(np.frexp(size)[1] - 1, min_exponent)
        unit = np.ldexp(1.0, exponent - bits + 1)
    else:
        unit = np.ldexp(np.maximum(size, np.minimum(np.abs(x.astype(np.float64)), 1)), 1 - bits)
        unit = np.maximum(unit, np.ldexp(1.0, min_exponent - bits + 1))
    number = type(exact.flat[0])
    rounds_to_inf_from = number(2) ** (1 - min_exponent) * number(2.0 - 2.0**-bits)

    def distance(value: float, true: Any) -> float:
        if math.isfinite(value):
            return abs(float(number(value) - true))
        is_inf = abs(true) >= rounds_to_inf_from and (true > 0) == (value > 0)
        return 0.0 if is_inf else math.inf

    error = [distance(float(v), true) for v, true in zip(got.flat, exact.flat, strict=True)]
    return np.asarray(np.reshape(np.asarray(error), got.shape) / unit)
