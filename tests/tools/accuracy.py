"""The largest errors of values and derivatives, ours and others', on every library that is here.

``nox -s accuracy`` writes them to ``docs/accuracy.md``; with names it prints what is said of those.
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
from typing import Any, NamedTuple

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

import activations_xp as ax
from activations_xp._oracle import ACCEPTED, difference, truth
from activations_xp.backends.torch.native import NATIVE, ForwardOnly
from conftest import BACKENDS, DTYPES

LIBRARIES = {name: BACKENDS[name]() for name in ("numpy", "torch", "jax")}
PEERS = ("torch", "jax", "scipy")
PLAIN = (1e-8, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0, 300.0, 709.0, 745.0, 1e4, 1e20)
MANY = 60


# where


def points(case: FunctionCase, dtype: str, seed: int) -> Any:
    """Normal numbers: over the whole range, around 1, where exp underflows, by kinks and ends."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    edge = {"float32": 110.0, "float64": 760.0}[dtype]
    range_ = np.exp(rng.uniform(np.log(float(info.tiny)), np.log(float(info.max)), MANY))
    middle = np.exp(rng.uniform(np.log(1e-9), np.log(1e5), MANY))
    given = [v for v in case.all_parameters.values() if isinstance(v, float) and abs(v) < inf]
    kinks = np.array([*case.definition.properties.kinks, *given])
    known = np.array([*kinks, *PLAIN, float(info.tiny), float(info.eps), float(info.max)])
    x = np.concatenate(
        [
            *(s * v for s in (1, -1) for v in (range_, middle, known)),
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


# what is true


def _surely(compute: Callable[[Any, int], Any], x: Any) -> Any:
    """``compute(x, digits)`` with ever more digits, until more change nothing."""
    enough = 140 if x.dtype == np.float32 else 400  # for what is not less than normal
    result = np.empty(x.shape, object)
    open_ = np.arange(x.size)
    last = compute(x, 60)
    for digits in (140, 400, 1000):
        with mpmath.workdps(digits):
            more = compute(x[open_], digits)
            near = abs(more - last) <= abs(more) * mpmath.mpf(10) ** -22
            apart = ~near.astype(bool)  # and where one is NaN
            if digits < enough:  # a small term may be lost in both
                apart |= (more == 0).astype(bool)
        result[open_] = more
        open_, last = open_[apart], more[apart]
        if not open_.size:
            break
    return result


def _exactly(formula: str, x: Any, parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Return the formula, and its derivative by central differences."""

    def derivative(x: Any, digits: int) -> Any:
        with mpmath.workdps(2 * digits):
            x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
            step = abs(x) * mpmath.mpf(10) ** -(digits // 2)
            ends = (truth(formula, x + s * step, parameters, digits=2 * digits) for s in (-1, 1))
            low, high = ends
            return (high - low) / (2 * step)

    return (
        _surely(lambda x, digits: truth(formula, x, parameters, digits=digits), x),
        _surely(derivative, x),
    )


# how far from it


class Worst(NamedTuple):
    """The largest error, where it is, and the share of correctly rounded results in percent."""

    ulp: float
    x: float
    correct: float

    def __str__(self) -> str:
        return _figure(self.ulp)


def _figure(ulp: float) -> str:
    return f"{ulp:.2f}" if ulp < 100 else f"{ulp:.1e}" if ulp < inf else "inf"


def _around_zeros(x: Any, exact: Any) -> Any:
    """The largest size within half of the way to a zero of the function beside x, or 0.

    By a zero that is not at 0 every rounding of x moves the result by many of its own units.
    """
    size = np.zeros(x.size)
    f = exact.astype("f8")
    crossed = (np.sign(f[1:]) * np.sign(f[:-1]) < 0) & (np.sign(x[1:]) == np.sign(x[:-1]))
    for zero in x[1:][crossed]:
        near = (x > zero - abs(zero) / 2) & (x < zero + abs(zero) / 2)
        size[near] = np.maximum(size[near], np.abs(f[near]).max())
    return size


def is_normal(values: Any, dtype: Any) -> Any:
    """Whether they are normal numbers of this dtype."""
    info = ml_dtypes.finfo(dtype)
    with np.errstate(invalid="ignore"):  # a NaN of 16 bits
        size = np.abs(values.astype("f8"))
    return (size >= float(info.smallest_normal)) & (size <= float(info.max))


def worst(got: Any, exact: Any, x: Any, counted: Any = True) -> Worst:
    """Return the largest error over what is a normal number and is `counted`."""
    size = np.abs(exact.astype("f8"))
    counted = is_normal(exact, got.dtype) & counted
    error = difference(got, exact)
    beside = np.maximum(_around_zeros(x, exact), size)
    with np.errstate(all="ignore"):
        judged = np.where(counted, error * np.exp2(np.frexp(size)[1] - np.frexp(beside)[1]), 0)
    i = int(np.argmax(judged))
    return Worst(float(judged[i]), float(x[i]), 100 * float(np.mean(error[counted] <= 0.5)))


def ours(case: FunctionCase, library: str, x: Any, derivative: bool = False) -> Any:
    """Return the accurate results for NumPy's x."""
    backend = LIBRARIES[library]
    with ax.precision("accurate"), np.errstate(all="ignore"):
        function = case.function.derivative if derivative else case.function
        return backend.asnumpy(function(backend.asarray(x), **case.parameters))


def peers(case: FunctionCase, library: str) -> Iterator[Callable[[Any], Any]]:
    """Yield the library's own function at what may be the same parameters."""
    entries = case.definition.peers.get(library, ())
    if len(entries) != 1 or entries[0].note or len(entries[0].parameters) > 1:
        return
    (peer,) = entries
    key, value = next(iter(peer.parameters.items()), (None, None))
    if not isinstance(value, (bool, int, type(None))):
        return
    function = import_object(peer.name)
    backend = LIBRARIES.get(library, LIBRARIES["numpy"])
    tried = [{}, {key: not value}] if key else [{}]
    if case.parameters:  # whose names may be its own too
        tried = [t for t in tried if key in case.parameters] + [case.parameters]
    for keywords in tried:

        def call(x: Any, keywords: Any = keywords) -> Any:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asarray(backend.asnumpy(function(backend.asarray(x), **keywords)))

        yield call


def of_peer(
    case: FunctionCase, library: str, x: Any, exact: Any, judge: Callable[..., Worst]
) -> str:
    """The error of the library's own, if it has the same function."""
    scored = []
    true = exact.astype("f8")
    for call in peers(case, library):
        try:
            got = call(x)
        except (RuntimeError, TypeError):  # not for this dtype, or not with these parameters
            continue
        if got.shape == x.shape and got.dtype == x.dtype:
            near = max(1e-4, 4 * float(ml_dtypes.finfo(got.dtype).eps)) * (1 + np.abs(true))
            with np.errstate(all="ignore"):
                apart = np.nan_to_num(np.abs(got.astype("f8") - true) / near, nan=1.0)
            scored.append((float(np.mean(np.minimum(apart, 1))), judge(got, exact, x)))
    score, figure = min(scored, default=(1.0, None), key=lambda pair: pair[0])
    return "" if score > 0.1 else str(figure)


# the page

HEAD = """# Accuracy

Errors in units in the last place (ulp), against the formula of each definition in mpmath: 0.5 is
as good as a number can be rounded. `nox -s accuracy` writes this page: seed {seed}, {day},
NumPy {numpy}, PyTorch {torch}, JAX {jax}, SciPy {scipy} on {machine}.

Ours are the accurate computations. The points are normal numbers, in float32 and float64 some
{many} for each function, over the whole range in logarithmic steps, densely in [-20, 20] and
where exponentials underflow, beside kinks and ends; in 16 bits all there are. Counted is where
the exact result is a normal number. Beside a zero of the function or its derivative, other than
at 0, the unit is that of the largest value within half of the way to the zero.
"""


def elementwise(dtype: str, cases: list[FunctionCase], seed: int, pool: Any) -> Iterator[str]:
    yield f"\n## {dtype}\n\n"
    yield (
        "Correct is the share of correctly rounded values, apart the largest difference between\n"
        "two of the three libraries, at the x of the largest error of ours.\n\n"
    )
    yield "| function | numpy | torch | jax | at | correct | apart | derivative | at |"
    yield "".join(f" {peer} |" for peer in PEERS) + "\n"
    yield "|:--|" + "--:|" * (8 + len(PEERS)) + "\n"
    xs = [points(case, dtype, seed) for case in cases]
    formulas = [case.formula for case in cases]
    exact = pool.map(_exactly, formulas, xs, [case.all_parameters for case in cases])
    for case, x, (values, derivatives) in zip(cases, xs, exact, strict=True):
        got = {name: ours(case, name, x) for name in LIBRARIES}
        figures = {name: worst(y, values, x) for name, y in got.items()}
        most = max(figures.values())
        smooth = is_away_from(kinks_of(case), x)
        of_derivative = max(
            worst(ours(case, name, x, True), derivatives, x, smooth) for name in LIBRARIES
        )
        size = np.abs(values.astype("f8"))
        with np.errstate(all="ignore"):
            size = np.maximum(size, _around_zeros(x, values)).astype(dtype)
            apart = max(
                (np.abs(a - b) / np.spacing(size))[is_normal(values, dtype)].max(initial=0)
                for a, b in itertools.combinations(got.values(), 2)
            )
        theirs = [of_peer(case, peer, x, values, worst) for peer in PEERS]
        cells = [
            *figures.values(),
            f"{most.x:.5g}",
            f"{most.correct:.1f} %",
            _figure(float(apart)),
            of_derivative,
            f"{of_derivative.x:.5g}",
            *theirs,
        ]
        yield f"| {case} | " + " | ".join(map(str, cells)) + " |\n"


def patterns(dtype: str) -> Any:
    """All the normal numbers of a 16-bit dtype."""
    x = np.arange(2**16, dtype=np.uint16).view(DTYPES[dtype])
    return x[is_normal(x, dtype)]


def judged(got: Any, exact: Any, x: Any) -> Worst:
    """16-bit results against those of 64 bits."""
    counted = is_normal(exact, got.dtype)
    unit = np.exp2(np.frexp(exact)[1] - 1 - ml_dtypes.finfo(got.dtype).nmant)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype("f8") - exact)[counted] / unit[counted]
    error = np.where(np.isnan(error), inf, error)
    # the error of 64 bits decides nothing
    return Worst(error.max(initial=0), 0.0, 100 * float(np.mean(error <= 0.5 + 1e-9)))


def sixteen_bits(dtype: str, cases: list[FunctionCase]) -> Iterator[str]:
    yield f"\n## {dtype}, every pattern\n\n"
    yield (
        "Different is the number of patterns at which two of the three libraries differ.\n\n"
        "| function | largest error | correct | different | torch | jax |\n"
        "|:--|--:|--:|--:|--:|--:|\n"
    )
    for case in cases:
        x = patterns(dtype)
        low, high = case.definition.properties.domain
        x = x[(x >= low) & (x <= high)]
        exact = ours(case, "numpy", x.astype("f8"))
        got = {name: ours(case, name, x) for name in LIBRARIES}
        figure = judged(got["numpy"], exact, x)
        bits = [y.view(np.uint16) for y in got.values()]
        other = np.any([a != b for a, b in itertools.combinations(bits, 2)], axis=0)
        other &= is_normal(exact, dtype)
        theirs = [of_peer(case, peer, x, exact, judged) for peer in ("torch", "jax")]
        cells = [str(figure), f"{figure.correct:.2f} %", str(int(other.sum())), *theirs]
        yield f"| {case} | " + " | ".join(cells) + " |\n"


def along_an_axis(cases: list[FunctionCase]) -> Iterator[str]:
    yield "\n## Along an axis\n\n"
    yield (
        "The value in ulp, the product of `vjp` in eps of the largest sum that makes up one of\n"
        "its elements: float32, then float64.\n\n"
        "| function | numpy | torch | jax | vjp |\n|:--|--:|--:|--:|--:|\n"
    )
    for case in cases:
        values: dict[str, list[str]] = {name: [] for name in LIBRARIES}
        products = []
        for dtype in ("float32", "float64"):
            figures = {name: _along_an_axis(case, name, dtype) for name in LIBRARIES}
            for name, (value, _) in figures.items():
                values[name].append(_figure(value))
            products.append(_figure(max(product for _, product in figures.values())))
        cells = [", ".join(both) for both in (*values.values(), products)]
        yield f"| {case} | " + " | ".join(cells) + " |\n"


def _along_an_axis(case: FunctionCase, library: str, dtype: str) -> tuple[float, float]:
    backend = LIBRARIES[library]
    most = [0.0, 0.0]
    for row in map_into_domain(case.definition, ROWS).astype(dtype):
        exact = exact_values(case.formula, row, case.all_parameters)
        got = ours(case, library, row[None])
        g = np.random.default_rng(7).normal(size=got.shape).astype(dtype)
        x, g_there = backend.asarray(row[None]), backend.asarray(g)
        dx = backend.asnumpy(vjp(case.function, g_there, x, **case.parameters))
        j = cached_on_disk(exact_jacobian, case.formula, row, case.all_parameters)
        apart = np.abs(dx[0] - (g.ravel() @ j).astype("f8")).max()
        size = max((np.abs(g.ravel()) @ np.abs(j)).astype("f8").max(), np.finfo(dtype).tiny)
        got = got.reshape(exact.shape)
        counted = difference(got, exact)[is_normal(exact, dtype)]
        most[0] = max(most[0], float(counted.max(initial=0)))
        most[1] = max(most[1], float(apart / (np.finfo(dtype).eps * size)))
    return most[0], most[1]


def natives(cases: list[FunctionCase], seed: int, pool: Any) -> Iterator[str]:
    yield "\n## PyTorch's own kernels\n\n"
    yield (
        "Largest errors on the CPU in eps * max(|f(x)|, min(|x|, 1)), by which a kernel is\n"
        f"judged: one is taken that has at most {ACCEPTED:g}, and right derivatives. In\n"
        "brackets what is not taken. JAX's functions are never taken, NumPy's tanh and\n"
        "maximum are. Beyond a quarter of the largest number, left out here, PyTorch's gelu is\n"
        "infinite.\n\n"
        "| function | float32 | float64 | float16 | bfloat16 |\n|:--|--:|--:|--:|--:|\n"
    )
    backend = LIBRARIES["torch"]
    for case in cases:
        native = NATIVE.get(case.definition.name)
        values = [case.all_parameters[name] for name in case.definition.parameters]
        kernel = native.bind(*values) if native is not None else None
        if kernel is None or case.definition.output_axis is not None:
            continue
        if isinstance(kernel, ForwardOnly):
            kernel = kernel.kernel
        cells = []
        for dtype in ("float32", "float64", "float16", "bfloat16"):
            if dtype.endswith("16"):
                x = patterns(dtype)
                low, high = case.definition.properties.domain
                x = x[(x >= low) & (x <= high)]
                exact = ours(case, "numpy", x.astype("f8")).astype(object)
            else:
                x = points(case, dtype, seed)
                exact = next(pool.map(_values, [case.formula], [x], [case.all_parameters]))
            inner = np.abs(x.astype("f8")) < float(ml_dtypes.finfo(dtype).max) / 4
            x, exact = x[inner], exact[inner]
            got = backend.asnumpy(kernel(backend.asarray(x)))
            error = difference(got, exact, x).max()
            is_taken = getattr(torch, dtype) not in native.inaccurate_dtypes
            cells.append(_figure(error) if is_taken else f"({_figure(error)})")
        yield f"| {case} | " + " | ".join(cells) + " |\n"


def _values(formula: str, x: Any, parameters: dict[str, Any]) -> Any:
    return _exactly(formula, x, parameters)[0]


def page(names: list[str], seed: int) -> Iterator[str]:
    yield HEAD.format(
        seed=seed,
        day=datetime.date.today(),
        numpy=np.__version__,
        torch=version("torch"),
        jax=jax.__version__,
        scipy=version("scipy"),
        machine=platform.machine(),
        many=11 * MANY,
    )
    cases = [case for case in CASES if not names or case.definition.name in names]
    single = [case for case in cases if case.definition.output_axis is None]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for dtype in ("float32", "float64"):
            yield from elementwise(dtype, single, seed, pool)
        for dtype in ("float16", "bfloat16"):
            yield from sixteen_bits(dtype, single)
        yield from along_an_axis(
            [case for case in cases if case.definition.output_axis is not None]
        )
        yield from natives(single, seed, pool)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=int(np.random.default_rng().integers(2**31)))
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for line in page(arguments.names, arguments.seed):
        sys.stdout.write(line)
        sys.stdout.flush()
