"""Measure the largest errors of values and derivatives, and those of functions of other libraries.

``nox -s accuracy`` writes ``docs/data/accuracy.json``, which the site and ``nox -s tables`` make
tables and pictures of. With names of functions it prints the rows of these. With ``--only Fast`` it
writes one section anew, at the same points.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from math import inf
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple

import jax
import ml_dtypes
import mpmath
import numpy as np
import torch
from oracle import (
    CASES,
    ROWS,
    FunctionCase,
    cached_on_disk,
    exact_jacobian,
    exact_values,
    import_object,
    is_away_from,
    kinks_of,
    map_into_domain,
    vjp,
)
from tools import records

import activations_xp as ax
from activations_xp._oracle import ACCEPTED, difference, truth
from activations_xp.backends.torch.native import NATIVE
from conftest import BACKENDS, DTYPES

LIBRARIES = {name: BACKENDS[name]() for name in ("numpy", "torch", "jax")}
PEERS = ("torch", "jax", "scipy")
FAST = {
    "numpy": ("numpy", "numpy"),
    "Numba": ("numpy", "numba"),
    "torch": ("torch", "auto"),
    "jax": ("jax", "auto"),
}
"""The library and the engine of each column of the section on "fast"."""

NATIVE_DTYPES = ("float32", "float64", "float16", "bfloat16")
MARKS = (1e-8, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0, 300.0, 709.0, 745.0, 1e4, 1e20)
MANY = 60

Precision = Literal["fast", "accurate"]


Rows = Iterator[tuple[FunctionCase, list[Any]]]
"""The cells of each case."""


class Section(NamedTuple):
    """A table of errors, with the names of its columns."""

    columns: list[str]
    rows: Rows


# points


def points(case: FunctionCase, dtype: str, seed: int) -> Any:
    """Return normal numbers of all sizes, denser around 1, where exp underflows, at kinks and ends.

    Both signs occur.
    """
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    edge = {"float32": 110.0, "float64": 760.0}[dtype]
    all_sizes = np.exp(rng.uniform(np.log(float(info.tiny)), np.log(float(info.max)), MANY))
    middle = np.exp(rng.uniform(np.log(1e-9), np.log(1e5), MANY))
    values = [v for v in case.all_parameters.values() if isinstance(v, float) and abs(v) < inf]
    kinks = np.array([*case.definition.properties.kinks, *values])
    marks = np.array([*kinks, *MARKS, float(info.tiny), float(info.eps), float(info.max)])
    x = np.concatenate(
        [
            *(s * v for s in (1, -1) for v in (all_sizes, middle, marks)),
            rng.uniform(-20, 20, 3 * MANY),
            rng.uniform(-1.5, 1.5, MANY),
            rng.uniform(-edge, edge, 2 * MANY),
            *(np.nextafter(kinks.astype(dtype), info.dtype.type(d)) for d in (-inf, inf)),
        ]
    )
    low, high = case.definition.properties.domain
    if high - low < inf:
        near = np.exp(rng.uniform(np.log(float(info.tiny)), 0, MANY)) * (high - low) / 2
        x = np.concatenate([x, low + near, high - near, rng.uniform(low, high, 2 * MANY)])
    elif low > -inf:
        x = np.concatenate([x, low + np.abs(x)])
    x = np.unique(x.astype(dtype))
    return x[np.isfinite(x) & (np.abs(x) >= info.tiny) & (x > low) & (x < high)]


# exact values


def _converged(compute: Callable[[Any, int], Any], x: Any) -> Any:
    """Return ``compute(x, digits)`` with as many digits as it takes until more change nothing."""
    enough = 140 if x.dtype == np.float32 else 400  # zero is certain if a normal number is not lost
    result = np.empty(x.shape, object)
    indices = np.arange(x.size)
    last = compute(x, 60)
    for digits in (140, 400, 1000):
        with mpmath.workdps(digits):
            values = compute(x[indices], digits)
            agrees = abs(values - last) <= abs(values) * mpmath.mpf(10) ** -22
            is_open = ~agrees.astype(bool)  # also where one is NaN
            if digits < enough:  # both may have lost a small term
                is_open |= (values == 0).astype(bool)
        result[indices] = values
        indices, last = indices[is_open], values[is_open]
        if not indices.size:
            break
    return result


def _exact_value_and_derivative(
    formula: str, x: Any, parameters: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the values of the formula, and its derivatives by central differences."""
    values, derivatives = cached_on_disk(_value_and_derivative, formula, x, parameters)
    return values, derivatives


def _value_and_derivative(formula: str, x: Any, parameters: dict[str, Any]) -> Any:
    def derivative(x: Any, digits: int) -> Any:
        with mpmath.workdps(2 * digits):
            x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
            step = abs(x) * mpmath.mpf(10) ** -(digits // 2)
            ends = (truth(formula, x + s * step, parameters, digits=2 * digits) for s in (-1, 1))
            low, high = ends
            return (high - low) / (2 * step)

    values = _converged(lambda x, digits: truth(formula, x, parameters, digits=digits), x)
    return np.stack([values, _converged(derivative, x)])


# errors


class LargestError(NamedTuple):
    """The largest error, its x, and the percentage of correctly rounded results."""

    ulp: float
    x: float
    correct: float


def _size_near_zeros(x: Any, exact: Any) -> Any:
    """Return the largest size of the function around a zero near each x, or 0 if none is near.

    Around a zero z they are the values on [z/2, 3*z/2]. There any rounding of x changes the result
    by many of its own ulp, unless z is 0.
    """
    size = np.zeros(x.size)
    f = exact.astype("f8")
    is_zero = (np.sign(f[1:]) * np.sign(f[:-1]) < 0) & (np.sign(x[1:]) == np.sign(x[:-1]))
    for zero in x[1:][is_zero]:
        near = (x > zero - abs(zero) / 2) & (x < zero + abs(zero) / 2)
        size[near] = np.maximum(size[near], np.abs(f[near]).max())
    return size


def is_normal(values: Any, dtype: Any) -> Any:
    """Return whether each value is a normal number of a dtype."""
    info = ml_dtypes.finfo(dtype)
    with np.errstate(invalid="ignore"):  # from a 16-bit NaN
        size = np.abs(values.astype("f8"))
    return (size >= float(info.smallest_normal)) & (size <= float(info.max))


def largest_error(got: Any, exact: Any, x: Any, where: Any = True) -> LargestError:
    """Return the largest error of the normal numbers among the exact values."""
    size = np.abs(exact.astype("f8"))
    counted = is_normal(exact, got.dtype) & where
    error = difference(got, exact)
    unit_size = np.maximum(_size_near_zeros(x, exact), size)
    with np.errstate(all="ignore"):
        scaled = np.where(counted, error * np.exp2(np.frexp(size)[1] - np.frexp(unit_size)[1]), 0)
    i = int(np.argmax(scaled))
    correct = 100 * float(np.mean(error[counted] <= 0.5))
    return LargestError(float(scaled[i]), float(x[i]), correct)


def largest_fast_error(got: Any, exact: Any, x: Any, where: Any = True) -> LargestError:
    """Return the largest error in the units of the precision "fast"."""
    is_counted = is_normal(exact, got.dtype) & where
    with np.errstate(invalid="ignore"):  # where it is infinite
        error = np.where(is_counted, difference(got, exact, x), 0)
    i = int(np.argmax(error))
    return LargestError(float(error[i]), float(x[i]), 0.0)


def ours(
    case: FunctionCase,
    library: str,
    x: Any,
    derivative: bool = False,
    precision: Precision = "accurate",
) -> Any:
    """Return the results of our implementation on a library, for an array of NumPy."""
    backend = LIBRARIES[library]
    with ax.precision(precision), np.errstate(all="ignore"):
        function = case.function.derivative if derivative else case.function
        return backend.asnumpy(function(backend.asarray(x), **case.parameters))


def gradient(case: FunctionCase, library: str, x: Any) -> Any:
    """Return the derivatives by the library's own differentiation in the precision "fast"."""
    if library == "torch":
        t = torch.from_numpy(x).requires_grad_()
        y = case.function(t, **case.parameters)
        return torch.autograd.grad(y.sum(), t)[0].numpy()
    y, pullback = jax.vjp(lambda x: case.function(x, **case.parameters), x)
    return np.asarray(pullback(jax.numpy.ones_like(y))[0])


def peers(case: FunctionCase, library: str) -> Iterator[Callable[[Any], Any]]:
    """Yield the function of a library at parameters that may be the same."""
    entries = case.definition.peers.get(library, ())
    if len(entries) != 1 or entries[0].note or len(entries[0].parameters) > 1:
        return
    (peer,) = entries
    key, default = next(iter(peer.parameters.items()), (None, None))
    if not isinstance(default, (bool, int, type(None))):
        return
    function = import_object(peer.name)
    backend = LIBRARIES.get(library, LIBRARIES["numpy"])
    candidates = [{}, {key: not default}] if key else [{}]
    if case.parameters:  # the peer may have parameters of the same names
        candidates = [c for c in candidates if key in case.parameters] + [case.parameters]
    for kwargs in candidates:

        def call(x: Any, kwargs: Any = kwargs) -> Any:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asarray(backend.asnumpy(function(backend.asarray(x), **kwargs)))

        yield call


def error_of_peer(
    case: FunctionCase, library: str, x: Any, exact: Any, measure: Callable[..., LargestError]
) -> float | None:
    """Return the error of the library's own function, or None if it has none with these values."""
    candidates = []
    expected = exact.astype("f8")
    for call in peers(case, library):
        try:
            got = call(x)
        except (RuntimeError, TypeError):  # it does not take this dtype or these parameters
            continue
        if got.shape == x.shape and got.dtype == x.dtype:
            tolerance = max(1e-4, 4 * float(ml_dtypes.finfo(got.dtype).eps))
            with np.errstate(all="ignore"):
                error = np.abs(got.astype("f8") - expected) / (tolerance * (1 + np.abs(expected)))
            distance = float(np.mean(np.minimum(np.nan_to_num(error, nan=1.0), 1)))
            candidates.append((distance, measure(got, exact, x).ulp))
    distance, error = min(candidates, default=(1.0, None), key=lambda pair: pair[0])
    return None if distance > 0.1 else error


# the sections


def elementwise(dtype: str, cases: list[FunctionCase], seed: int, pool: Any) -> Rows:
    xs = [points(case, dtype, seed) for case in cases]
    formulas = [case.formula for case in cases]
    exact = pool.map(
        _exact_value_and_derivative, formulas, xs, [case.all_parameters for case in cases]
    )
    for case, x, (values, exact_derivatives) in zip(cases, xs, exact, strict=True):
        got = {name: ours(case, name, x) for name in LIBRARIES}
        errors = {name: largest_error(y, values, x) for name, y in got.items()}
        largest = max(errors.values())
        smooth = is_away_from(kinks_of(case), x)
        derivatives = [ours(case, name, x, derivative=True) for name in LIBRARIES]
        of_derivative = max(
            largest_error(dy_dx, exact_derivatives, x, smooth) for dy_dx in derivatives
        )
        size = np.abs(values.astype("f8"))
        with np.errstate(all="ignore"):
            size = np.maximum(size, _size_near_zeros(x, values)).astype(dtype)
            apart = max(
                (np.abs(a - b) / np.spacing(size))[is_normal(values, dtype)].max(initial=0)
                for a, b in itertools.combinations(got.values(), 2)
            )
        of_peers = [error_of_peer(case, peer, x, values, largest_error) for peer in PEERS]
        yield (
            case,
            [
                *(error.ulp for error in errors.values()),
                largest.x,
                largest.correct,
                float(apart),
                of_derivative.ulp,
                of_derivative.x,
                *of_peers,
            ],
        )


def patterns(dtype: str) -> Any:
    """Return all normal numbers of a 16-bit dtype."""
    x = np.arange(2**16, dtype=np.uint16).view(DTYPES[dtype])
    return x[is_normal(x, dtype)]


def largest_16_bit_error(got: Any, exact: Any, x: Any) -> LargestError:
    """Return the largest error of 16-bit results against those in float64."""
    counted = is_normal(exact, got.dtype)
    unit = np.exp2(np.frexp(exact)[1] - 1 - ml_dtypes.finfo(got.dtype).nmant)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype("f8") - exact)[counted] / unit[counted]
    error = np.where(np.isnan(error), inf, error)
    # the exact values have an error of their own
    return LargestError(error.max(initial=0), 0.0, 100 * float(np.mean(error <= 0.5 + 1e-9)))


def sixteen_bits(dtype: str, cases: list[FunctionCase]) -> Rows:
    for case in cases:
        x = patterns(dtype)
        low, high = case.definition.properties.domain
        x = x[(x >= low) & (x <= high)]
        exact = ours(case, "numpy", x.astype("f8"))
        got = {name: ours(case, name, x) for name in LIBRARIES}
        error = largest_16_bit_error(got["numpy"], exact, x)
        bits = [y.view(np.uint16) for y in got.values()]
        differ = np.any([a != b for a, b in itertools.combinations(bits, 2)], axis=0)
        differ &= is_normal(exact, dtype)
        of_peers = [
            error_of_peer(case, peer, x, exact, largest_16_bit_error) for peer in ("torch", "jax")
        ]
        yield case, [error.ulp, error.correct, int(differ.sum()), *of_peers]


def along_axis(cases: list[FunctionCase]) -> Rows:
    for case in cases:
        pairs = [
            [_errors_along_axis(case, name, dtype) for dtype in ("float32", "float64")]
            for name in LIBRARIES
        ]
        values = [value for of_library in pairs for value, _ in of_library]
        gradients = [max(gradient for _, gradient in each) for each in zip(*pairs, strict=True)]
        yield case, [*values, *gradients]


def _errors_along_axis(
    case: FunctionCase, library: str, dtype: str, precision: Precision = "accurate"
) -> tuple[float, float]:
    """Return the largest errors of the value, in the units of the precision, and of the vjp."""
    backend = LIBRARIES[library]
    of_value = of_vjp = 0.0
    for row in map_into_domain(case.definition, ROWS).astype(dtype):
        exact = exact_values(case.formula, row, case.all_parameters)
        got = ours(case, library, row[None], precision=precision)
        g = np.random.default_rng(7).normal(size=got.shape).astype(dtype)
        cotangent, x = backend.asarray(g), backend.asarray(row[None])
        with ax.precision(precision):
            gradient = backend.asnumpy(vjp(case.function, cotangent, x, **case.parameters))[0]
        jacobian = cached_on_disk(exact_jacobian, case.formula, row, case.all_parameters)
        error = np.abs(gradient - (g.ravel() @ jacobian).astype("f8")).max()
        size = (np.abs(g.ravel()) @ np.abs(jacobian)).astype("f8").max()
        largest = np.abs(row).max() if precision == "fast" else 0.0
        unit = np.finfo(dtype).eps * max(size, min(largest, 1), np.finfo(dtype).tiny)
        got = got.reshape(exact.shape)
        beside = np.full(exact.shape, largest) if precision == "fast" else None
        errors = difference(got, exact, beside)[is_normal(exact, dtype)]
        of_value = max(of_value, float(errors.max(initial=0)))
        of_vjp = max(of_vjp, float(error / unit))
    return of_value, of_vjp


def fast(cases: list[FunctionCase], seed: int, pool: Any) -> Rows:
    single = [case for case in cases if case.definition.output_axis is None]
    xs = [points(case, "float32", seed) for case in single]
    formulas = [case.formula for case in single]
    exact = pool.map(
        _exact_value_and_derivative, formulas, xs, [case.all_parameters for case in single]
    )
    for case, x, (values, derivatives) in zip(single, xs, exact, strict=True):
        counted = np.abs(x) < np.finfo(x.dtype).max / 4
        x, values, derivatives = x[counted], values[counted], derivatives[counted]
        smooth = is_away_from(kinks_of(case), x)
        errors: list[Any] = []
        of_derivatives = []
        for library, engine in FAST.values():
            ax.set_engine(engine)
            y = ours(case, library, x, precision="fast")
            errors.append(largest_fast_error(y, values, x).ulp)
            forms = [ours(case, library, x, derivative=True, precision="fast")]
            if library != "numpy":
                forms.append(gradient(case, library, x))
            of_derivatives.append(
                max(largest_fast_error(dy_dx, derivatives, x, smooth).ulp for dy_dx in forms)
            )
        of_peers = [error_of_peer(case, peer, x, values, largest_fast_error) for peer in PEERS]
        yield case, [*errors, *of_derivatives, *of_peers]
    for case in cases:
        if case.definition.output_axis is not None:
            pairs = []
            for library, engine in FAST.values():
                ax.set_engine(engine)
                pairs.append(_errors_along_axis(case, library, "float32", "fast"))
            yield case, [*itertools.chain(*zip(*pairs, strict=True)), *(None for _ in PEERS)]
    ax.set_engine("auto")


def natives(cases: list[FunctionCase], seed: int, pool: Any) -> Rows:
    backend = LIBRARIES["torch"]
    for case in cases:
        native = NATIVE.get(case.definition.name)
        values = [case.all_parameters[name] for name in case.definition.parameters]
        bound = None if native is None else native.bind(*values)
        if native is None or bound is None:
            continue
        kernel = getattr(bound, "kernel", bound)
        errors, not_run = [], []
        for dtype in NATIVE_DTYPES:
            if dtype.endswith("16"):
                x = patterns(dtype)
                low, high = case.definition.properties.domain
                x = x[(x >= low) & (x <= high)]
                exact = ours(case, "numpy", x.astype("f8")).astype(object)
            else:
                x = points(case, dtype, seed)
                exact = next(pool.map(_values, [case.formula], [x], [case.all_parameters]))
            counted = np.abs(x.astype("f8")) < float(ml_dtypes.finfo(dtype).max) / 4
            x, exact = x[counted], exact[counted]
            got = backend.asnumpy(kernel(backend.asarray(x)))
            errors.append(float(difference(got, exact, x).max()))
            if getattr(torch, dtype) in native.inaccurate_dtypes:
                not_run.append(dtype)
        yield case, [*errors, not_run]


def _values(formula: str, x: Any, parameters: dict[str, Any]) -> Any:
    return _exact_value_and_derivative(formula, x, parameters)[0]


def sections(names: list[str], seed: int, pool: Any) -> dict[str, Section]:
    """Return the sections by their titles; the rows are computed as they are read."""
    cases = [case for case in CASES if not names or case.definition.name in names]
    single = [case for case in cases if case.definition.output_axis is None]
    along = [case for case in cases if case.definition.output_axis is not None]
    of_peers = [f"peer {peer}" for peer in PEERS]
    details = ["at", "correct", "apart", "derivative", "derivative at"]
    each = [*LIBRARIES, *details, *of_peers]
    pattern = ["largest error", "correct", "different", *of_peers[:2]]
    both = [f"{name} {dtype}" for name in (*LIBRARIES, "vjp") for dtype in ("float32", "float64")]
    engines = [*FAST, *(f"f', {name}" for name in FAST), *of_peers]
    return {
        "float32": Section(each, elementwise("float32", single, seed, pool)),
        "float64": Section(each, elementwise("float64", single, seed, pool)),
        "float16": Section(pattern, sixteen_bits("float16", single)),
        "bfloat16": Section(pattern, sixteen_bits("bfloat16", single)),
        "Along an axis": Section(both, along_axis(along)),
        "Fast": Section(engines, fast(cases, seed, pool)),
        "PyTorch's own kernels": Section([*NATIVE_DTYPES, "not run"], natives(single, seed, pool)),
    }


def conditions(seed: int) -> dict[str, Any]:
    """Return the seed, the day, the versions and the machine of a measurement."""
    libraries = {"NumPy": "numpy", "PyTorch": "torch", "JAX": "jax", "SciPy": "scipy"}
    versions = ", ".join(f"{name} {version(module)}" for name, module in libraries.items())
    measured = f"{datetime.date.today()}, {versions} on {platform.machine()}"
    return {"seed": seed, "measured": measured, "points": 11 * MANY, "accepted": ACCEPTED}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int)
    titles = sections([], 0, None)
    parser.add_argument("--only", choices=titles, metavar="TITLE", help=", ".join(titles))
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    page = records.read("accuracy") if asked.only else {}
    if asked.only:
        asked.seed = page["conditions"]["seed"]
    elif asked.seed is None:
        asked.seed = int(np.random.default_rng().integers(2**31))
    page.setdefault("conditions", conditions(asked.seed))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for title, (columns, rows) in sections(asked.names, asked.seed, pool).items():
            if asked.only not in (None, title):
                continue
            print(title, *columns, sep=" | ", file=sys.stderr)
            page[title] = {"columns": columns, "rows": {}}
            for case, cells in rows:
                print(case, *cells, sep=" | ", file=sys.stderr, flush=True)
                page[title]["rows"][str(case)] = cells
    if not asked.names:
        records.write("accuracy", page)
