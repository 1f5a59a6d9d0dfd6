"""The activation functions of scipy.special, as SciPy 1.17 spells them, on any array.

The ufuncs take `out`, and none of their other keywords: where, casting, order, dtype, subok and
signature. Lists are refused, as everywhere here; float16 and bfloat16 stay what they are, where
SciPy's loops make float64 of them; along an empty axis the result is empty.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, overload

from .. import functions as ax
from .._typing import A
from ._conventions import into

__all__ = [
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "softmax",
    "softplus",
]


Axes: TypeAlias = int | tuple[int, ...] | None


def expit(x: A, /, out: A | None = None) -> A:
    return into(out, ax.sigmoid, x)


def log_expit(x: A, /, out: A | None = None) -> A:
    return into(out, ax.log_sigmoid, x)


def logit(x: A, /, out: A | None = None) -> A:
    return into(out, ax.logit, x)


def erf(x: A, /, out: A | None = None) -> A:
    return into(out, ax.erf, x)


def erfc(x: A, /, out: A | None = None) -> A:
    return into(out, ax.erfc, x)


def erfinv(x: A, /, out: A | None = None) -> A:
    return into(out, ax.erfinv, x)


def ndtr(x: A, /, out: A | None = None) -> A:
    return into(out, ax.ndtr, x)


def log_ndtr(x: A, /, out: A | None = None) -> A:
    return into(out, ax.log_ndtr, x)


def ndtri(x: A, /, out: A | None = None) -> A:
    return into(out, ax.ndtri, x)


def softplus(x: A, *, out: A | None = None) -> A:
    return into(out, ax.softplus, x)


def softmax(x: A, axis: Axes = None) -> A:
    return ax.softmax(x, axis)


def log_softmax(x: A, axis: Axes = None) -> A:
    return ax.log_softmax(x, axis)


@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: float | A | None = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
) -> A: ...
@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: float | A | None = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
) -> tuple[A, A]: ...
def logsumexp(
    a: Any, axis: Axes = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    return ax.logsumexp(a, axis, b, keepdims, return_sign)
