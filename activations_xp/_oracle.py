"""What is true: the formula of a definition in many digits, and how far a value is from it.

mpmath does the arithmetic where it is installed; without it the standard library's decimal does,
with the few functions written out that it lacks.
"""

from __future__ import annotations

import ast
import decimal
import functools
import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

DIGITS = 400
"""Enough that 1 + exp(-745) keeps the digits of the smallest float64."""

ROOT_DIGITS = 60
"""Enough for what must be searched for."""

FAR = 1e9
"""From here on the asymptotic series of erfc has every digit."""

NOWHERE = 1e300
"""Only what is composed, as exp(x) of a large x, is larger; its erfc and exp(-it) are 0 for all
purposes, and would take minutes."""

ACCEPTED = 8.0
"""Units of `difference` with x within which a library's own kernel is as good as ours. PyTorch's
float32 gelu has 6.2 of them on some processors, its other kernels less than 2."""


def truth(
    formula: str,
    x: np.ndarray[Any, Any],
    parameters: Mapping[str, Any],
    *,
    engine: str | None = None,
    digits: int = DIGITS,
) -> np.ndarray[Any, Any]:
    """The formula at x, exact for every purpose: an array of objects.

    Parameters
    ----------
    formula : str
        As in a definition. Its literals and the parameters count as the doubles they are.
    x : array of floats
        Finite. A formula along an axis takes all of it, or its halves as a and b.
    parameters : mapping
        Values for all the names in the formula.
    engine : {"mpmath", "decimal"}, optional
        By default mpmath if it is installed.
    digits : int
        The precision in decimal digits.
    """
    number, words, precision = _ENGINES[engine or default_engine()](digits)
    with precision:
        exact = np.frompyfunc(lambda v: v if type(v) is number else number(float(v)), 1, 1)
        names = {
            name: exact(value) if isinstance(value, (float, np.ndarray)) else value
            for name, value in parameters.items()
        }
        tree = _Literals().visit(ast.parse(formula, mode="eval"))
        code = compile(ast.fix_missing_locations(tree), "<formula>", "eval")
        names["x"] = exact(x)
        if {"a", "b"} <= set(code.co_names) - set(names):
            names["a"], names["b"] = np.split(names["x"], 2)
        words = {"number": number, "inf": math.inf, **_ARRAYS, **words}
        value = eval(code, {**words, **names})  # all global, for a lambda to see it
        return np.asarray(np.frompyfunc(number, 1, 1)(value), dtype=object)


class _Literals(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, float):
            return node
        return ast.Call(ast.Name("number", ast.Load()), [node], [])


def simplex(precision: Any, f: Callable[[Any], Any], x: Any) -> Any:
    """f(x - t) with the t that makes the sum 1, found in `precision`; f rises from f(0) = 0."""
    with precision:
        high = np.max(x)
        low = high - 1
        while np.sum(f(x - low)) < 1:
            low -= high - low
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if np.sum(f(x - middle)) > 1 else (low, middle)
    return f(x - low)


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


def default_engine() -> str:
    try:
        import mpmath  # noqa: F401
    except ImportError:
        return "decimal"
    return "mpmath"


def _mpmath(digits: int) -> tuple[Callable[[Any], Any], dict[str, Any], Any]:
    import mpmath

    names = ("expm1", "log", "log1p", "sqrt", "sin", "cos")
    words: dict[str, Callable[[Any], Any]] = {name: getattr(mpmath, name) for name in names}

    def exp(x: Any) -> Any:
        return mpmath.mpf(0) if x < -NOWHERE else mpmath.exp(x)

    def erf(x: Any) -> Any:
        return mpmath.erf(x) if x * x < digits * 3 else mpmath.sign(x)

    def erfc(x: Any) -> Any:
        if abs(x) < FAR:
            return mpmath.erfc(x)
        if x < 0 or x > NOWHERE:
            return mpmath.mpf(2 * (x < 0))
        # mpmath's own fails for 1e200
        return exp(-x * x) / (x * mpmath.sqrt(mpmath.pi)) * _far_tail(x, digits)

    def tanh(x: Any) -> Any:
        return mpmath.tanh(x) if abs(x) < 2 * digits else mpmath.sign(x)

    words |= {"exp": exp, "tanh": tanh, "erf": erf, "erfc": erfc}
    words["erfinv"] = lambda x: _erfinv(x, words, mpmath.pi, mpmath.workdps, digits)
    vectors = {name: np.frompyfunc(function, 1, 1) for name, function in words.items()}
    vectors["simplex"] = functools.partial(simplex, mpmath.workdps(ROOT_DIGITS))
    return mpmath.mpf, {**vectors, "pi": mpmath.pi}, mpmath.workdps(digits)


def _decimal(digits: int) -> tuple[Callable[[Any], Any], dict[str, Any], Any]:
    number = decimal.Decimal
    context = decimal.Context(
        prec=digits, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation]
    )

    def erf(x: decimal.Decimal) -> decimal.Decimal:
        if x * x > digits * 3:
            return number(1).copy_sign(x)
        with decimal.localcontext(context) as wide:
            wide.prec += int(x * x) + 10  # the terms of the series rise to exp(x*x)
            term = total = x
            n = 0
            while abs(term) > abs(total) * number(10) ** -wide.prec:
                n += 1
                term *= -x * x / n
                total += term / (2 * n + 1)
            return 2 * total / _pi().sqrt()

    def erfc(x: decimal.Decimal) -> decimal.Decimal:
        if x < 0:
            return 2 - erfc(-x)
        with decimal.localcontext(context) as wide:
            if x * x <= digits * 3:
                wide.prec += int(x * x) + 10  # the difference loses about x*x/2.3 digits
                return 1 - erf(x)
            first: decimal.Decimal = (-x * x).exp() / (x * _pi().sqrt())
            return first * number(_far_tail(x, wide.prec))

    def log1p(x: decimal.Decimal) -> decimal.Decimal:
        with decimal.localcontext(context) as wide:
            wide.prec += max(0, -x.adjusted())  # or 1 + x would lose x
            return (1 + x).ln()

    def expm1(x: decimal.Decimal) -> decimal.Decimal:
        with decimal.localcontext(context) as wide:
            wide.prec += max(0, -x.adjusted())
            return x.exp() - 1

    def tanh(x: decimal.Decimal) -> decimal.Decimal:
        e = (-2 * abs(x)).exp()
        return ((1 - e) / (1 + e)).copy_sign(x)

    def sin(x: decimal.Decimal, shift: int = 0) -> decimal.Decimal:
        with decimal.localcontext(context) as wide:
            wide.prec += max(0, x.adjusted())  # or the reduction would leave no digits
            x += shift * pi / 2
            turns = (x / pi).to_integral_value()
            term = total = x - turns * pi
            square, n = term * term, 1
            while abs(term) > abs(total) * number(10) ** -digits:
                term *= -square / ((n + 1) * (n + 2))
                total += term
                n += 2
            return total if turns % 2 == 0 else -total

    with decimal.localcontext(context) as wide:
        wide.prec += 310  # for the sine of the largest float64
        pi = _pi()
    words: dict[str, Callable[[Any], Any]] = {
        "exp": lambda x: x.exp(),
        "expm1": expm1,
        "log": lambda x: x.ln(),
        "log1p": log1p,
        "sqrt": lambda x: number(x).sqrt(),
        "tanh": tanh,
        "erf": erf,
        "erfc": erfc,
        "erfinv": lambda x: _erfinv(
            x, words, pi, lambda n: decimal.localcontext(context, prec=n), digits
        ),
        "sin": sin,
        "cos": lambda x: sin(x, 1),
    }
    vectors = {name: np.frompyfunc(function, 1, 1) for name, function in words.items()}
    vectors["simplex"] = functools.partial(simplex, decimal.localcontext(context, prec=ROOT_DIGITS))
    return number, {**vectors, "pi": pi}, decimal.localcontext(context)


def _far_tail(x: Any, digits: int) -> Any:
    """The asymptotic series of erfc over its first term, good to exp(-x*x)."""
    term = total = type(x)(1)
    n = 0
    while abs(term) > type(x)(10) ** -digits:
        n += 1
        term *= (1 - 2 * n) / (2 * x * x)
        total += term
    return total


def _erfinv(
    x: Any,
    words: Mapping[str, Callable[[Any], Any]],
    pi: Any,
    precision: Callable[[int], Any],
    digits: int,
) -> Any:
    """Newton's method from the float on, with twice the digits at each step."""
    rest = 1 - abs(x)
    if rest == 0:
        return x * type(x)(math.inf)
    y = type(x)(-statistics.NormalDist(sigma=math.sqrt(0.5)).inv_cdf(float(rest / 2)))
    good = 15
    while good < digits + 10:
        good = min(2 * good, digits + 10)
        with precision(good):
            y += (words["erfc"](y) - rest) * words["exp"](y * y) * words["sqrt"](pi) / 2
    return y if x > 0 else -y


def _pi() -> decimal.Decimal:
    """Machin's formula in the precision of the context."""

    def arctan_of_inverse(n: int) -> decimal.Decimal:
        power = total = 1 / decimal.Decimal(n)
        k = 1
        while abs(power) > decimal.Decimal(10) ** -(decimal.getcontext().prec + 2):
            k += 2
            power /= -n * n
            total += power / k
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))


_ENGINES: dict[str, Callable[[int], tuple[Callable[[Any], Any], dict[str, Any], Any]]] = {
    "mpmath": _mpmath,
    "decimal": _decimal,
}

_FORMATS = {  # bits of the significand, exponent of the smallest normal number
    "bfloat16": (8, -126),
    "float16": (11, -14),
    "float32": (24, -126),
    "float64": (53, -1022),
}


def difference(
    got: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], x: np.ndarray[Any, Any] | None = None
) -> np.ndarray[Any, Any]:
    """How far `got` is from `exact`, in units in the last place of got's dtype.

    A unit is that of the exact value, or of the smallest normal number where the exact value is
    smaller. With `x` it is eps * max(|exact|, min(|x|, 1)), by which a library's own kernel is
    judged: the absolute error counts where the function is small for an x that is not.
    """
    bits, lowest = _FORMATS[got.dtype.name]
    size = np.abs(exact.astype(np.float64))
    if x is None:
        exponent = np.maximum(np.frexp(size)[1] - 1, lowest)
        unit = np.ldexp(1.0, exponent - bits + 1)
    else:
        unit = np.ldexp(np.maximum(size, np.minimum(np.abs(x.astype(np.float64)), 1)), 1 - bits)
        unit = np.maximum(unit, np.ldexp(1.0, lowest - bits + 1))
    number = type(exact.flat[0])
    largest = number(2) ** (1 - lowest) * number(2.0 - 2.0**-bits)  # from here on it rounds to inf

    def distance(value: float, true: Any) -> float:
        if math.isfinite(value):
            return abs(float(number(value) - true))
        return 0.0 if abs(true) >= largest and (true > 0) == (value > 0) else math.inf

    error = [distance(float(v), true) for v, true in zip(got.flat, exact.flat, strict=True)]
    return np.asarray(np.reshape(np.asarray(error), got.shape) / unit)
