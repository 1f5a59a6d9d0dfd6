"""The activation functions of scipy.special in SciPy 1.17, for arrays of any library.

The ufuncs take `out` but none of their other keywords: where, casting, order, dtype, subok and
signature. Lists are refused, as everywhere in this package. float16 and bfloat16 are kept, where
SciPy computes other dtypes. Along an empty axis the result is empty.
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
    """Return 1/(1 + exp(-x)), the sigmoid."""
    return ax.sigmoid(x, out=out)


def log_expit(x: A, /, out: A | None = None) -> A:
    """Return log(expit(x))."""
    return ax.log_sigmoid(x, out=out)


def logit(x: A, /, out: A | None = None) -> A:
    """Return log(x/(1 - x)), the inverse of `expit`."""
    return ax.logit(x, out=out)


def erf(x: A, /, out: A | None = None) -> A:
    """Return the error function of x."""
    return ax.erf(x, out=out)


def erfc(x: A, /, out: A | None = None) -> A:
    """Return 1 - erf(x), the complementary error function."""
    return ax.erfc(x, out=out)


def erfinv(x: A, /, out: A | None = None) -> A:
    """Return the inverse of `erf` at x."""
    return ax.erfinv(x, out=out)


def ndtr(x: A, /, out: A | None = None) -> A:
    """Return the standard normal distribution function of x."""
    return ax.ndtr(x, out=out)


def log_ndtr(x: A, /, out: A | None = None) -> A:
    """Return log(ndtr(x))."""
    return ax.log_ndtr(x, out=out)


def ndtri(x: A, /, out: A | None = None) -> A:
    """Return the inverse of `ndtr` at x."""
    return ax.ndtri(x, out=out)


def softplus(x: A, *, out: A | None = None) -> A:
    """Return log(1 + exp(x))."""
    return ax.softplus(x, out=out)


def softmax(x: A, axis: Axes = None) -> A:
    """Return exp(x)/sum(exp(x)) along `axis`."""
    return ax.softmax(x, axis)


def log_softmax(x: A, axis: Axes = None) -> A:
    """Return log(softmax(x)) along `axis`."""
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
    """Return log(sum(b*exp(a))) along `axis`, and its sign if `return_sign`."""
    return ax.logsumexp(a, axis, b, keepdims, return_sign)
