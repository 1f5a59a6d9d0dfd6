"""Compare every function on every installed array library with exact values."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import array_api_compat
import mpmath
import numpy as np

from .. import __version__, names
from .._definition import Definition
from .._oracle import ACCEPTED, difference, truth
from .libraries import MAKERS, array_maker
from .output import print_table, progress
from .show import lookup

_DIGITS = 120
"""The precision of the exact values in decimal digits, which is ample for float32."""


def run(args: argparse.Namespace) -> int:
    """Print a table of the largest errors and return 1 if one is over its bound."""
    accurate = args.precision == "accurate"
    makers = {}
    for library in MAKERS:
        try:
            makers[library] = array_maker(library)
        except ImportError:
            continue
    # an operation of several arrays has no formula to compare with
    functions = [lookup(name)[0] for name in names()]
    functions = [f for f in functions if f.definition.is_activation]
    started = time.perf_counter()
    results = []
    with progress("checking", len(functions)) as advance:
        for function in functions:
            results.append(_check_function(function, makers, accurate))
            advance(1)
    seconds = time.perf_counter() - started
    shown = sorted(results, key=_Result.worst, reverse=True) if args.worst_first else results
    unit = "ulp" if accurate else "eps * max(|f|, min(|x|, 1))"
    bound = "the function's own bound" if accurate else f"{ACCEPTED:g} and its own bound"
    print_table(
        ["function", *makers],
        [[result.name, *map(result.cell, makers)] for result in shown],
        f"Largest error for float32, in {unit}; ! is over {bound}.",
    )
    print()
    for library in makers:
        print(textwrap.fill(_summary(library, results), 80, subsequent_indent="  "))
    versions = f"array_api_compat {array_api_compat.__version__}, mpmath {mpmath.__version__}"
    print(f"\nactivations_xp {__version__}, {versions}")
    print(f"{len(results)} functions in {seconds:.1f} s")
    faults = [fault for result in results for fault in result.faults]
    if faults:
        print(f"activations_xp: {'; '.join(faults)}", file=sys.stderr)
    return int(bool(faults))


@dataclass(frozen=True)
class _Result:
    """The largest error of a function on each library, or the name of what it raised."""

    name: str
    bound: float
    errors: Mapping[str, float | str]
    faults: Sequence[str]

    def worst(self) -> float:
        """Return the largest error; an exception and NaN are larger than any."""
        return max(map(_size, self.errors.values()), default=0.0)

    def is_within(self, library: str) -> bool:
        return _size(self.errors[library]) <= self.bound

    def cell(self, library: str) -> str:
        error = self.errors[library]
        text = error if isinstance(error, str) else f"{error:.3g}"
        return text if self.is_within(library) else f"{text} !"


def _size(error: float | str) -> float:
    return math.inf if isinstance(error, str) or math.isnan(error) else error


def _summary(library: str, results: Sequence[_Result]) -> str:
    """Return the version of a library, its devices, its largest error and how many are over."""
    worst = max(results, key=lambda result: _size(result.errors[library]))
    over = sum(not result.is_within(library) for result in results)
    version = getattr(sys.modules[library], "__version__", None) or metadata.version(library)
    return (
        f"{library} {version}{_devices(library)}: largest {worst.cell(library)} of {worst.name}, "
        f"{over or 'none'} over"
    )


def _check_function(
    function: Any, makers: Mapping[str, Callable[[Any], Any]], accurate: bool
) -> _Result:
    """Return the errors of a function on each library, and its faults."""
    definition: Definition = function.definition
    name, case = definition.name, definition.cases[0]
    x = _sample_points(definition)
    exact = truth(case.formula, x, {**definition.defaults, **case.parameters}, digits=_DIGITS)
    # along an axis, an element may be negligible beside the elements that it is computed from
    in_ulp = (accurate and definition.is_elementwise) or not definition.keeps_shape
    bound = case.ulp if in_ulp else max(ACCEPTED, case.ulp)
    float32 = np.finfo(np.float32)
    size = abs(exact)
    compared = (size <= float(float32.max)) & (size >= (float(float32.tiny) if in_ulp else 0))

    def largest_error(result: Any, expected: Any) -> float:
        with np.errstate(all="ignore"):
            errors = difference(result, expected, None if in_ulp else x)[compared]
        return float(np.max(errors, initial=0.0))

    errors: dict[str, float | str] = {}
    faults, excesses = [], []
    results: dict[str, Any] = {}
    for library, make in makers.items():
        try:
            with np.errstate(all="ignore"):
                result = _to_numpy(function(make(x), **case.parameters))
            errors[library] = error = largest_error(result, exact)
        except Exception as exception:
            errors[library] = type(exception).__name__
            faults.append(f"{name}: {library} raised {type(exception).__name__}")
            continue
        results[library] = result
        if not error <= bound:  # also if it is NaN
            excesses.append(f"{library} is off by {error:.3g} ulp")
    for (a, result), (b, other) in itertools.combinations(results.items(), 2):
        apart = largest_error(result, other.astype(object))
        if not apart <= bound:
            excesses.append(f"{a} and {b} differ by {apart:.3g} ulp")
    if excesses:
        faults.append(f"{name}: {', '.join(excesses)}")
    return _Result(name, bound, errors, faults)


def _sample_points(definition: Definition) -> np.ndarray[Any, Any]:
    """Return an even number of points in the domain of a function.

    For a function along an axis they are of similar size, so that all of them matter.
    """
    points = [np.linspace(-20, 20, 402), np.asarray(definition.properties.kinks)]
    if definition.is_elementwise:
        scales = np.logspace(-30, 3, 100)
        points += [scales, -scales]
    low, high = definition.properties.domain
    if high - low < math.inf:
        points.append(np.linspace(low, high, 402))
    x = np.unique(np.concatenate(points).astype(np.float32))
    x = x[(x >= low) & (x <= high)]
    return x[: len(x) // 2 * 2]


def _to_numpy(y: Any) -> np.ndarray[Any, Any]:
    if hasattr(y, "compute"):  # dask: compute in this thread, where np.errstate holds
        y = y.compute(scheduler="synchronous")
    if hasattr(y, "get"):  # CuPy
        y = y.get()
    return np.asarray(y)


def _devices(library: str) -> str:
    module = sys.modules[library]
    if library == "torch":
        cuda = range(module.cuda.device_count())
        devices = ["cpu", *(f"cuda:{i} {module.cuda.get_device_name(i)}" for i in cuda)]
    elif library == "jax":
        devices = [f"{device.platform}:{device.id}" for device in module.devices()]
    elif library == "cupy":
        devices = [f"cuda:{i}" for i in range(module.cuda.runtime.getDeviceCount())]
    else:
        return ""
    return f" on {', '.join(devices)}"
