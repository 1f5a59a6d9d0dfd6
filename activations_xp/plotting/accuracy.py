"""The errors of functions and of the same functions in other libraries, beside exact values."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._definition import Definition
from .._errors import needs_extra
from .curves import Floats

NUM_BINS = 80
"""The steps of the line of an error, each of which is the largest of some points."""

POINTS_IN_BIN = 12

_DIGITS = 120
"""The precision of the exact values, which is ample for float32."""


@dataclass(frozen=True, eq=False)
class Errors:
    """The largest errors in float32 between neighbouring edges, in units in the last place.

    values : by what they are the errors of
    bound : the declared error of the accurate form
    """

    edges: Floats
    values: Mapping[str, Floats]
    bound: float


def errors_of(
    function: Any, given: Mapping[str, Any], label: str, ends: tuple[float, float]
) -> Errors:
    """Return the errors of a function in both precisions, and of its peers at the defaults."""
    definition: Definition = function.definition
    if not definition.is_elementwise:
        raise ValueError(f"plot: the accuracy of {definition.name} is not drawn")
    case = next((c for c in definition.cases if _is_at(definition, c.parameters, given)), None)
    if case is None:
        raise ValueError(
            f"plot: {label} is not known exactly; accuracy is drawn at tested parameters"
        )
    with needs_extra("plot: accuracy needs mpmath", "cli"):
        from .._oracle import difference, truth
    start, stop = definition.properties.domain
    edges = np.linspace(max(ends[0], start), min(ends[1], stop), NUM_BINS + 1)
    x = np.linspace(edges[0], edges[-1], NUM_BINS * POINTS_IN_BIN + 2)[1:-1].astype(np.float32)
    parameters = {**definition.defaults, **case.parameters}
    exact = truth(case.formula, x, parameters, digits=_DIGITS)
    given = {**case.parameters, **given}
    calls: dict[str, Callable[[Any], Any]] = {
        label: functools.partial(function, **given),
        f"{label}, accurate": functools.partial(function.accurate, **given),
        **{f"{label} of {library}": peer for library, peer in _peers(definition, given)},
    }
    values = {}
    for name, call in calls.items():
        with np.errstate(all="ignore"):
            errors = difference(np.asarray(call(x)), exact)
        values[name] = errors.reshape(NUM_BINS, POINTS_IN_BIN).max(axis=1)
    return Errors(edges, values, case.ulp)


def _is_at(definition: Definition, case: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether given parameters are those of a case, whose required ones may be missing."""
    required = {n: v for n, v in case.items() if n not in definition.defaults}
    return {**definition.defaults, **case} == {**definition.defaults, **required, **given}


def _peers(
    definition: Definition, given: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[Floats], Any]]]:
    """Yield the function of each installed library that is ours at the defaults."""
    if given:
        return
    for library, module in {"torch": "torch", "jax": "jax.numpy", "scipy": "numpy"}.items():
        peers = definition.peers.get(library, ())
        if len(peers) != 1 or peers[0].note:
            continue
        # its own default is stated where it is another than ours
        other = {n: not v for n, v in peers[0].parameters.items() if isinstance(v, bool)}
        path, _, name = peers[0].name.rpartition(".")
        try:
            peer = functools.partial(getattr(importlib.import_module(path), name), **other)
            convert = getattr(importlib.import_module(module), "asarray")  # noqa: B009
        except (ImportError, AttributeError):
            continue
        yield library, functools.partial(_compute, peer, convert)


def _compute(peer: Callable[[Any], Any], convert: Callable[[Any], Any], x: Floats) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(peer(convert(x)))
