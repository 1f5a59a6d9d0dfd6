"""The activation functions of scipy.special, as SciPy 1.17 spells them, on any array.

The ufuncs take `out`, and none of their other keywords: where, casting, order, dtype, subok and
signature. Lists are refused, as everywhere here; float16 and bfloat16 stay what they are, where
SciPy's loops make float64 of them; along an empty axis the result is empty.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, overload

from .. import functions as ax
from .._typing import A

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
    return ax.sigmoid(x, out=out)


def log_expit(x: A, /, out: A | None = None) -> A:
    return ax.log_sigmoid(x, out=out)


def logit(x: A, /, out: A | None = None) -> A:
    return ax.logit(x, out=out)


def erf(x: A, /, out: A | None = None) -> A:
    return ax.erf(x, out=out)


def erfc(x: A, /, out: A | None = None) -> A:
    return ax.erfc(x, out=out)


def erfinv(x: A, /, out: A | None = None) -> A:
    return ax.erfinv(x, out=out)


def ndtr(x: A, /, out: A | None = None) -> A:
    return ax.ndtr(x, out=out)


def log_ndtr(x: A, /, out: A | None = None) -> A:
    return ax.log_ndtr(x, out=out)


def ndtri(x: A, /, out: A | None = None) -> A:
    return ax.ndtri(x, out=out)


def softplus(x: A, *, out: A | None = None) -> A:
    return ax.softplus(x, out=out)


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
