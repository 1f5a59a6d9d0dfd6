"""What several test modules ask of a function."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest

import activations_xp as ax
from activations_xp._parameters import _mask

FUNCTIONS = [ax.get(name) for name in ax.names()]
DIFFERENTIATED = [f for f in FUNCTIONS if f.definition.derivative is not None]
SMOOTH = [f for f in DIFFERENTIATED if f.definition.properties.smoothness == inf]
VARIANTS = [(f, dict(v.parameters)) for f in DIFFERENTIATED for v in f.definition.variants]
SCALARS = [(f, n) for f in FUNCTIONS for n, k in f.definition.parameters.items() if k.is_scalar]
MASKED = [f for f in FUNCTIONS if any(k.check is _mask for k in f.definition.parameters.values())]


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
        return low + np.abs(x) + 0.0625
    share = 0.5 + 0.49 * np.tanh(x / 8)
    return low + (high - low) * share
