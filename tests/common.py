"""What several test modules ask of a function."""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
from math import inf
from pathlib import Path
from typing import Any

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
    engine: str = "mpmath",
    digits: int = _oracle.DIGITS,
) -> np.ndarray:
    """What the oracle says, remembered."""
    return remembered(_truth, formula, x, parameters, engine, digits)


def _truth(
    formula: str, x: np.ndarray, parameters: dict[str, Any], engine: str, digits: int
) -> np.ndarray:
    return _oracle.truth(formula, x, parameters, engine=engine, digits=digits)


def over(names: Any, values: Any) -> Any:
    """Parametrize with readable names."""
    return pytest.mark.parametrize(names, values, ids=_label)


def _label(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return getattr(value, "__name__", str(value))


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
    for condition in definition.domain:
        if name in condition.names and not condition.holds(
            **{**dict.fromkeys(definition.parameters), **definition.defaults, **given}
        ):
            given |= dict.fromkeys(condition.names, value)
    return given


def within(definition: Any, x: np.ndarray) -> np.ndarray:
    """Those of the numbers at which the function is a real number."""
    low, high = definition.properties.defined
    return x[(x >= low) & (x <= high)]


def moved_within(definition: Any, x: np.ndarray) -> np.ndarray:
    """The numbers, moved to where the function is a real number: inside if that is bounded."""
    low, high = definition.properties.defined
    if (low, high) == (-inf, inf):
        return x
    if high == inf:
        return low + np.abs(x) + 1
    share = 0.5 + 0.49 * np.tanh(x / 8)
    return low + (high - low) * share
