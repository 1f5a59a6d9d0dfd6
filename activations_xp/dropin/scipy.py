"""The activation functions of scipy.special, as SciPy 1.17 spells them, on any array.

The ufuncs take `out`, and none of their other keywords: where, casting, order, dtype, subok and
signature. Lists are refused, as everywhere here; float16 and bfloat16 stay what they are, where
SciPy's loops make float64 of them; along an empty axis the result is empty.
"""

from __future__ import annotations

from typing import TypeAlias

from .. import functions as ax
from .._typing import A
from ._conventions import into

__all__ = [
    "expit",
    "log_expit",
    "log_softmax",
    "softmax",
    "softplus",
]


Axes: TypeAlias = int | tuple[int, ...] | None


def expit(x: A, /, out: A | None = None) -> A:
    return into(out, ax.sigmoid, x)


def log_expit(x: A, /, out: A | None = None) -> A:
    return into(out, ax.log_sigmoid, x)


def softplus(x: A, *, out: A | None = None) -> A:
    return into(out, ax.softplus, x)


def softmax(x: A, axis: Axes = None) -> A:
    return ax.softmax(x, axis)


def log_softmax(x: A, axis: Axes = None) -> A:
    return ax.log_softmax(x, axis)
