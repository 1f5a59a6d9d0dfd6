"""What several test modules ask of a function."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import os
import pickle
import re
import threading
import tracemalloc
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

import activations_xp as ax
from activations_xp import _oracle
from activations_xp._parameters import _mask

FUNCTIONS = [ax.get(name) for name in ax.names()]
DIFFERENTIATED = [f for f in FUNCTIONS if f.definition.derivative is not None]
SMOOTH = [f for f in DIFFERENTIATED if f.definition.properties.smoothness == inf]
VARIANTS = [(f, dict(v.parameters)) for f in DIFFERENTIATED for v in f.definition.variants]
SCALARS = [(f, n) for f in FUNCTIONS for n, k in f.definition.parameters.items() if k.is_scalar]
MASKED = [f for f in FUNCTIONS if any(k.check is _mask for k in f.definition.parameters.values())]


CACHE = Path(__file__).parents[1] / ".pytest_cache" / "oracle"
DIGITS = 40
"""What is kept of the oracle's: more than a difference from a float64 can tell."""


def remembered(compute: Any, *arguments: Any) -> np.ndarray:
    """``compute(*arguments)``, numbers of many digits, kept on disk for the other sessions."""
    sources = [Path(_oracle.__file__).read_bytes(), inspect.getsource(compute).encode()]
    key = hashlib.sha256(pickle.dumps((sources, mpmath.__version__, arguments))).hexdigest()
    path = CACHE / key
    if path.exists():
        return np.asarray(pickle.loads(path.read_bytes()))
    exact = compute(*arguments)
    with mpmath.workdps(DIGITS):
        kept = np.frompyfunc(lambda value: +value, 1, 1)(exact)
    CACHE.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")  # another process may be writing the same
    part.write_bytes(pickle.dumps(kept))
    part.replace(path)
    return np.asarray(kept)


def exact_values(
    formula: str,
    x: np.ndarray,
    parameters: dict[str, Any],
    digits: int = _oracle.DIGITS,
) -> np.ndarray:
    """What the oracle says, remembered."""
    return remembered(_truth, formula, x, parameters, digits)


def _truth(formula: str, x: np.ndarray, parameters: dict[str, Any], digits: int) -> np.ndarray:
    return _oracle.truth(formula, x, parameters, digits=digits)


def over(names: Any, values: Any) -> Any:
    """Parametrize with readable names."""
    return pytest.mark.parametrize(names, values, ids=_label)


def in_sweep(values: Any) -> list[Any]:
    """The same to parametrize with, but the first in `nox -s sweeps` alone."""
    first, *rest = values
    return [first, *(pytest.param(v, marks=pytest.mark.sweep) for v in rest)]


def _label(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return getattr(value, "__name__", str(value))


def found(path: str) -> Any:
    """What a dotted name means; a class of modules gives a module."""
    module, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    return value() if isinstance(value, type) else value


def named_by(definition: Any, library: str) -> Any:
    """The library's own function that a definition names, as ours is by default.

    Where a number is stated, it is left with that.
    """
    stated = definition.elsewhere.get(library, "")
    parsed = re.fullmatch(r"([\w.]+)(?: \((\w+)=(True|False|None|[\d.]+)\))?", stated)
    if parsed is None:
        return None
    path, key, value = parsed.groups()
    # its own default is stated where it is another than ours
    ours = {"True": False, "False": True, "None": -1}
    return functools.partial(found(path), **{key: ours[value]}) if value in ours else found(path)


def needed(function: Any) -> dict[str, Any]:
    """The parameters of the first variant, without which some functions cannot be called."""
    return dict(function.definition.variants[0].parameters)


def by_rows(function: Any) -> dict[str, Any]:
    """Those, and the last axis where the function else takes all of them at once."""
    whole = function.definition.axis is not None and function.definition.defaults["axis"] is None
    return {**needed(function), "axis": -1} if whole else needed(function)


def with_value(function: Any, name: str, value: float) -> dict[str, Any]:
    """Those with one changed, and what a condition of the domain ties to it."""
    definition = function.definition
    given = {**needed(function), name: value}
    if definition.noise is not None:
        given.setdefault("noise", 0.5)
    for condition in definition.domain:
        known = {**dict.fromkeys(definition.parameters), **definition.defaults, **given}
        if name in condition.names and not condition.holds(known):
            given |= dict.fromkeys(condition.names, value)
    return given


def peak(call: Callable[[], Any]) -> int:
    """The bytes that a call takes at the most, in threads that keep no memory yet."""
    ax.set_num_threads(ax.get_num_threads())  # which begins with new ones
    thread = threading.Thread(target=call)
    tracemalloc.start()
    try:
        thread.start()
        thread.join()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Foreign:
    """An array of some other library."""

    dtype = np.dtype("f4")
    shape = (4,)
    ndim = 1

    def __array__(self, dtype=None, copy=None):
        return np.ones(4, dtype)

    def __array_namespace__(self, api_version=None):
        return np


class Counter:
    """A compiler for PyTorch that compiles nothing and counts the graphs it is given."""

    graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


def within(definition: Any, x: np.ndarray) -> np.ndarray:
    """Those of the numbers at which the function is a real number."""
    low, high = definition.properties.defined
    return x[(x >= low) & (x <= high)]


# the edges: where squares overflow, exponentials vanish and branches meet

EDGE_DTYPES = ("float32", "float64", "bfloat16", "float16")
EDGES = 128
"""At least as many as `edges` finds."""

EDGE_DIGITS = 900
EDGE_STEP = mpmath.mpf(10) ** -40
FROM_THE_END = mpmath.mpf(10) ** -315
"""So near to where it ends a function that is infinite there has the slopes that it ends with."""


def edges(function: Any, parameters: dict[str, Any], dtype: str) -> np.ndarray:
    """Both zeros, the least and the largest numbers, ends and kinks and what is next to them."""
    definition = function.definition
    info = ml_dtypes.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, info.eps, 20, 89, 710, 1e4, 1e20, info.max]
    given = [v for v in {**definition.defaults, **parameters}.values() if isinstance(v, float)]
    marks = np.array([*given, *definition.properties.kinks, *definition.properties.defined])
    with np.errstate(over="ignore"):  # 1e20 is none in float16
        x = np.array([*marks, *sizes]).astype(dtype)
        x = np.concatenate([x, -x])
        x = np.concatenate([x, *(np.nextafter(x, x.dtype.type(d)) for d in (-inf, inf))])
    x = within(definition, x[np.isfinite(x)])
    return x[np.unique(x.view(f"i{x.itemsize}"), return_index=True)[1]]  # -0 is not 0


def assert_finite(
    function: Any,
    parameters: dict[str, Any],
    x: np.ndarray,
    orders: Any,
    *,
    seen: np.ndarray | None = None,
    room: float = 1.0,
) -> None:
    """The value, its slope and the slope of that are never NaN, and infinite only if they must be.

    That is where the exact one is over the largest number.

    Parameters
    ----------
    seen : what the library takes x for, if it is not x itself
    room : what part of the largest number the value may be under
    """
    definition = function.definition
    (formula,) = (v.formula for v in definition.variants if v.parameters == parameters)
    given = {**definition.defaults, **parameters}
    largest = float(ml_dtypes.finfo(x.dtype).max)
    seen = x if seen is None else seen
    for order, result in enumerate(orders):
        got = np.asarray(result).astype("f8")
        assert not np.isnan(got).any(), (order, x[np.isnan(got)])
        at, got = seen[np.isinf(got)].astype("f8"), got[np.isinf(got)]
        if at.size:
            ends = definition.properties.defined
            exact = remembered(quotients, formula, at, given, order, ends)
            least = largest * (1.0 if order else room)
            assert (np.sign(got) * exact > least).all(), (order, at)


def quotients(
    formula: str,
    x: np.ndarray,
    parameters: dict[str, Any],
    order: int,
    ends: tuple[float, float],
) -> np.ndarray:
    """The formula, or its first or second difference quotient in many digits; at ends from inside.

    By the ends the steps are so small that they stay within.
    """
    low, high = ends
    with mpmath.workdps(EDGE_DIGITS):
        x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
        if order == 0:
            return _oracle.truth(formula, x, parameters, digits=EDGE_DIGITS)
        x = x + FROM_THE_END * ((x == low).astype(int) - (x == high).astype(int))
        size = np.where(x == 0, 1, abs(x))
        step = EDGE_STEP * np.minimum(size, np.minimum(abs(x - low), abs(high - x)))
        left, middle, right = (
            _oracle.truth(formula, at, parameters, digits=EDGE_DIGITS)
            for at in (x - step, x, x + step)
        )
        return (right - left) / (2 * step) if order == 1 else (right - 2 * middle + left) / step**2


def moved_within(definition: Any, x: np.ndarray) -> np.ndarray:
    """The numbers, moved to where the function is a real number: inside if that is bounded."""
    low, high = definition.properties.defined
    if (low, high) == (-inf, inf):
        return x
    if high == inf:
        return low + np.abs(x) + 1
    share = 0.5 + 0.49 * np.tanh(x / 8)
    return low + (high - low) * share
