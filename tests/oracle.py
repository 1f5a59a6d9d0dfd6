"""The truth that tests and tools compare with, and what they ask about a function."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import os
import pickle
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

import activations_xp as ax
from activations_xp import _oracle, _parameters
from activations_xp._definition import Case, Definition

# how the package is asked; no test depends on these names but through here


def cases_of(function: Any) -> tuple[Case, ...]:
    """Return the sets of parameters at which a definition has a formula."""
    return function.definition.cases


def output_axis(function: Any) -> str | None:
    """Return None for an elementwise function or an operation, else "kept", "resized", "added"."""
    return function.definition.output_axis


def domain_of(definition: Any) -> tuple[float, float]:
    """Return the interval on which the function is a real number."""
    return definition.properties.domain


def aliases_of(function: Any) -> dict[str, dict[str, Any]]:
    """Return the further names for `get`, and the parameters that they bind."""
    return function.definition.aliases


def peers_of(function: Any) -> Any:
    """Return what other libraries call the function."""
    return function.definition.peers


def constraints_of(definition: Any) -> Any:
    """Return the conditions on the parameters."""
    return definition.constraints


def preserves_integers(function: Any) -> bool:
    return function.definition.preserves_integers


def takes_array(spec: Any) -> bool:
    """Return whether a parameter takes a number or an array of the shape of x."""
    is_of_its_own_shape = spec.broadcasts in (None, "to slices")
    return spec.number and spec.differentiable and not is_of_its_own_shape


def is_mask(spec: Any) -> bool:
    return spec.dtypes == ("bool",)


def is_along_axis(spec: Any) -> bool:
    """Return whether an array may have the sizes of the axes, and need not broadcast to x."""
    return spec.broadcasts == "along"


KINDS = {
    "mask": _parameters.MASK,
    "boolean array": _parameters.BOOL_ARRAY,
    "integer array": _parameters.INT_ARRAY,
    "pairs": _parameters.WEIGHT_PAIRS,
    "float array": _parameters.FLOAT_ARRAY,
    "noise array": _parameters.NOISE_ARRAY,
    "count": _parameters.COUNT,
    "integer": _parameters.INTEGER,
    "axes": _parameters.AXES,
    "axis": _parameters.AXIS,
    "new axis": _parameters.NEW_AXIS,
    "array or number": _parameters.ARRAY_OR_NUMBER,
    "operand": _parameters.BROADCASTS_WITH_OR_NUMBER,
    "companion": _parameters.BROADCASTS_WITH,
    "channel array": _parameters.CHANNEL_ARRAY,
    "slice array": _parameters.SLICE_ARRAY,
    "free array": _parameters.FREE_ARRAY,
    "coefficients": _parameters.COEFFICIENTS,
    "noise": _parameters.NOISE,
    "number": _parameters.NUMBER_SPEC,
    "choice": _parameters.ParameterSpec(""),
}
"""The specifications of parameters, by what they accept."""


def kind_of(function: Any, name: str) -> str:
    """Return what a parameter accepts besides constants and None."""
    if name == function.definition.first:
        return "float array"
    spec = _accepted(function.definition.parameters[name])
    return next(kind for kind, known in KINDS.items() if _accepted(known) == spec)


def _accepted(spec: Any) -> Any:
    return replace(spec, text="", choices=(), optional=False, doc="")


def kernel_tables(function: Any) -> tuple[dict[type, Any], ...]:
    """Return the kernels that a public function has resolved, by type, for each precision."""
    tables: tuple[dict[type, Any], ...] = inspect.getclosurevars(function).nonlocals["_tables"]
    return tables


def cached_kernels(function: Any, kind: type) -> dict[Any, Any]:
    """Return what the fast kernel for a type of array keeps, by dtype and parameters."""
    kernel = inspect.unwrap(kernel_tables(function)[0][kind])
    cache: dict[Any, Any] = inspect.getclosurevars(kernel).nonlocals["cache"]
    return cache


def impl_of(function: Any) -> Callable[..., Any]:
    """Return the implementation, on a namespace and arrays."""
    return function.definition.impl


def first_array(operation: Any) -> str:
    """Return the name of the array that says the library, the device and the dtype."""
    return operation.definition.first


def samples(operation: Any) -> bool:
    """Return whether an operation may be random."""
    return operation.definition.noise is not None


def accurate(function: Any) -> Callable[..., Any]:
    """Return the function as the package computes it itself, the same with every library."""
    return function.accurate


WRONG_PRECISION = r"^precision: level must be 'fast' or 'accurate', got "

set_precision = precision = ax.precision


def written_forms(function: Any) -> list[Any]:
    """Return the public functions that a definition makes and that take the same arguments."""
    written = getattr(function.definition, "derivative", None) is not None
    return [function, accurate(function), *([function.derivative] if written else [])]


def vjp(function: Any, g: Any, x: Any, /, **parameters: Any) -> Any:
    """Return the gradient with respect to x for the cotangent `g`."""
    gradient: Any = function.vjp(g, x, **parameters)["x"]
    return gradient


def parameter_derivatives(
    function: Any, x: np.ndarray, asarray: Callable[[Any], Any] = np.asarray, /, **parameters: Any
) -> dict[str, Any]:
    """Return the derivatives with respect to the parameters at each element of x.

    A parameter that is given as an array of the shape of x has as many gradients.
    """
    definition = function.definition
    values = {**definition.defaults, **parameters}
    arrays = {
        name: asarray(np.full_like(x, values[name]))
        for name, spec in definition.parameters.items()
        if takes_array(spec) and values[name] is not None
    }
    ones = asarray(np.ones_like(x))
    gradients = function.vjp(ones, asarray(x), **{**parameters, **arrays})
    return {name: gradient for name, gradient in gradients.items() if name != "x"}


def has_parameter_derivatives(function: Any) -> bool:
    return function.definition.parameter_derivatives is not None


# functions and their cases


@dataclass(frozen=True, eq=False)
class FunctionCase:
    """A function at one of its cases."""

    function: Any
    case: Case

    @property
    def definition(self) -> Definition:
        return self.function.definition

    @property
    def formula(self) -> str:
        return self.case.formula

    @property
    def ulp(self) -> float:
        return self.case.ulp

    @property
    def is_first(self) -> bool:
        """Whether it is the first case of its function."""
        return self.case is cases_of(self.function)[0]

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.case.parameters)

    @property
    def all_parameters(self) -> dict[str, Any]:
        return {**self.definition.defaults, **self.case.parameters}

    @property
    def accurate_forms(self) -> list[Any]:
        """The function and, where one is written, its derivative, in our own computation."""
        return written_forms(self.function)[1:]

    def __str__(self) -> str:
        values = ",".join(f"{k}={v}" for k, v in self.case.parameters.items())
        return f"{self.definition.name}({values})"


def required_parameters(function: Any) -> dict[str, Any]:
    """Return the parameters of the first case, without which some functions cannot be called."""
    return dict(cases_of(function)[0].parameters)


def parameters_with(function: Any, name: str, value: float) -> dict[str, Any]:
    """Return the required parameters with one changed, and others that a constraint ties to it."""
    definition = function.definition
    given = {**required_parameters(function), name: value}
    if definition.noise is not None:
        given.setdefault("noise", 0.5)
    for constraint in constraints_of(definition):
        known = {**dict.fromkeys(definition.parameters), **definition.defaults, **given}
        if name in constraint.names and not constraint.holds(known):
            given |= dict.fromkeys(constraint.names, value)
    return given


def _is_unbounded(function: Any, name: str) -> bool:
    """Return whether a parameter, which may be no probability, accepts large numbers."""
    definition = function.definition
    known = {**definition.defaults, **parameters_with(function, name, 2.0**70)}
    known = {**dict.fromkeys(definition.parameters), **known}
    return all(constraint.holds(known) for constraint in constraints_of(definition))


FUNCTIONS = [f for f in map(ax.get, ax.names()) if f.definition.is_activation]
ELEMENTWISE = [f for f in FUNCTIONS if output_axis(f) is None]
ALONG_AXIS = [f for f in FUNCTIONS if output_axis(f) is not None]
CASES = [FunctionCase(f, case) for f in FUNCTIONS for case in cases_of(f)]
OPERATIONS = [f for f in map(ax.get, ax.names()) if not f.definition.is_activation]
DIFFERENTIABLE = [f for f in FUNCTIONS if f.definition.derivative is not None]
SMOOTH = [f for f in DIFFERENTIABLE if f.definition.properties.smoothness == inf]
DIFFERENTIABLE_CASES = [(f, dict(c.parameters)) for f in DIFFERENTIABLE for c in cases_of(f)]
ARRAY_PARAMETERS = [
    (f, name)
    for f in FUNCTIONS
    for name, spec in f.definition.parameters.items()
    if takes_array(spec)
]
UNBOUNDED_PARAMETERS = [(f, name) for f, name in ARRAY_PARAMETERS if _is_unbounded(f, name)]
WITH_ARRAY_PARAMETERS = [
    f
    for f in FUNCTIONS
    if has_parameter_derivatives(f) and any(map(takes_array, f.definition.parameters.values()))
]
MASKED = [f for f in FUNCTIONS if any(map(is_mask, f.definition.parameters.values()))]


def is_first_of_family(case: FunctionCase) -> bool:
    """Return whether it is the first case of the first function of a file."""
    family = case.function.__module__
    return case.is_first and case.function is next(f for f in FUNCTIONS if f.__module__ == family)


def last_axis_parameters(function: Any) -> dict[str, Any]:
    """Return the parameters without a default, and the last axis."""
    return {**required_parameters(function), "axis": -1}


def empty_slice_value(function: Any) -> Any:
    """Return the value of a function on a slice that is masked out."""
    return function(np.zeros(1), where=np.asarray([False]), **last_axis_parameters(function)).item()


def rowwise_parameters(function: Any) -> dict[str, Any]:
    """Return those, and the last axis where the function else takes all of them at once."""
    required = required_parameters(function)
    takes_all = output_axis(function) is not None and function.definition.defaults["axis"] is None
    return {**required, "axis": -1} if takes_all else required


# parametrizing


def over(names: Any, values: Any) -> Any:
    """Parametrize with readable names."""
    return pytest.mark.parametrize(names, values, ids=_label)


@contextlib.contextmanager
def noting(value: Any) -> Iterator[None]:
    """Note at which value a test failed that runs over several: that is faster than parametrizing.

    A test of its own takes two milliseconds, which is more than many of them compute.
    """
    try:
        yield
    except BaseException as error:
        error.add_note(f"at {value}")
        raise


def in_sweep(values: Any) -> list[Any]:
    """Return the values to parametrize with, all but the first in `nox -t sweep` alone."""
    first, *rest = values
    return [first, *(pytest.param(v, marks=pytest.mark.sweep) for v in rest)]


def variants_in_sweep(calls: Any) -> list[Any]:
    """Return functions with their parameters, all but the first of each in `nox -t sweep` alone."""
    firsts = dict(reversed(calls))
    return [
        pytest.param(f, given, marks=() if given is firsts[f] else pytest.mark.sweep)
        for f, given in calls
    ]


def one_of_each_family(calls: Any) -> list[Any]:
    """Return functions, or tuples that begin with one, all but the first of a file in the sweep."""
    rows = [call if isinstance(call, tuple) else (call,) for call in calls]
    seen: set[str] = set()
    result = []
    for row in rows:
        family = row[0].__module__
        result.append(pytest.param(*row, marks=pytest.mark.sweep if family in seen else ()))
        seen.add(family)
    return result


def _label(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return getattr(value, "__name__", str(value))


# the formulas in many digits

CACHE = Path(__file__).parents[1] / ".pytest_cache" / "oracle"
CACHED_DIGITS = 40
"""More than a difference from a float64 can tell."""

DERIVATIVE_DIGITS = 480
STEP = mpmath.mpf(10) ** -40


@functools.cache
def _sources(compute: Any) -> list[bytes]:
    """Return what the results of a computation depend on besides its arguments."""
    sources = Path(_oracle.__file__).read_bytes(), inspect.getsource(compute).encode()
    return [*sources, mpmath.__version__.encode()]


def cached_on_disk(compute: Any, *arguments: Any) -> np.ndarray:
    """Return ``compute(*arguments)``, numbers of many digits, kept on disk for other sessions."""
    key = hashlib.sha256(pickle.dumps((_sources(compute), arguments))).hexdigest()
    path = CACHE / key
    if path.exists():
        return np.asarray(pickle.loads(path.read_bytes()))
    exact = compute(*arguments)
    with mpmath.workdps(CACHED_DIGITS):
        rounded = np.frompyfunc(lambda value: +value, 1, 1)(exact)
    CACHE.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")  # another process may be writing the same
    part.write_bytes(pickle.dumps(rounded))
    part.replace(path)
    return np.asarray(rounded)


def exact_values(
    formula: str,
    x: np.ndarray,
    parameters: dict[str, Any],
    digits: int = _oracle.DIGITS,
) -> np.ndarray:
    """Return the values of a formula in many digits."""
    return cached_on_disk(_formula_values, formula, x, parameters, digits)


def _formula_values(
    formula: str, x: np.ndarray, parameters: dict[str, Any], digits: int
) -> np.ndarray:
    return _oracle.truth(formula, x, parameters, digits=digits)


def exact_derivative(
    formula: str, x: np.ndarray, parameters: dict[str, Any], side: int = 0, step: Any = STEP
) -> np.ndarray:
    """Return a difference quotient in many digits: central, or from the left (-1) or right (1)."""
    with mpmath.workdps(DERIVATIVE_DIGITS):
        x = _many_digits(x)
        step = step * np.where(x == 0, 1, abs(x))
        low, high = (x - step if side <= 0 else x), (x + step if side >= 0 else x)
        left, right = (
            _oracle.truth(formula, at, parameters, digits=DERIVATIVE_DIGITS) for at in (low, high)
        )
        return (right - left) / (high - low)


def exact_second_derivative(formula: str, x: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
    """Return the second difference quotient in many digits."""
    with mpmath.workdps(DERIVATIVE_DIGITS):
        x = _many_digits(x)
        step = STEP * np.where(x == 0, 1, abs(x))
        low, middle, high = (
            _oracle.truth(formula, x + side * step, parameters, digits=DERIVATIVE_DIGITS)
            for side in (-1, 0, 1)
        )
        return (low - 2 * middle + high) / step**2


def exact_parameter_derivative(
    formula: str, x: np.ndarray, parameters: dict[str, Any], name: str
) -> np.ndarray:
    """Return the central difference quotient of a formula by one parameter, in many digits."""
    with mpmath.workdps(DERIVATIVE_DIGITS):
        value = mpmath.mpf(float(parameters[name]))
        step = STEP * (abs(value) or 1)
        low, high = (
            _oracle.truth(formula, x, {**parameters, name: v}, digits=DERIVATIVE_DIGITS)
            for v in (value - step, value + step)
        )
        return (high - low) / (2 * step)


def exact_jacobian(
    formula: str, x: np.ndarray, parameters: dict[str, Any], digits: int = 160
) -> np.ndarray:
    """Return the derivative of each element of the result by each of x, for a row x."""
    columns = []
    with mpmath.workdps(digits):
        x = _many_digits(x)
        for j in range(len(x)):
            step = np.array([STEP if i == j else mpmath.mpf(0) for i in range(len(x))])
            high, low = (
                _oracle.truth(formula, x + s * step, parameters, digits=digits) for s in (1, -1)
            )
            columns.append(np.ravel(high - low) / (2 * STEP))
    return np.stack(columns, axis=-1)


def _many_digits(x: np.ndarray) -> np.ndarray:
    return np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)


# where functions are compared with them

SEED = 20261121

ROWS = np.array(
    [
        [0.3, -1.2, 2.1, 0.9, -0.4, 1.7, -2.6, 0.6],
        [5.0, -30.0, 4.5, 17.0, 16.5, -7.25, 0.125, 16.75],
    ]
)
"""For functions along an axis."""

NONFINITE_ROWS = np.array(
    [
        [1, 2, 3, 4],
        [1, np.nan, 3, np.inf],
        [1, 2, -np.inf, np.nan],
        [np.nan, np.inf, -np.inf, 0],
        [5, np.nan, 5, 5],
    ]
)
FINITE_MASK = np.array(
    [[1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool
)
"""A mask for `NONFINITE_ROWS` that leaves [1, 2, 4] of the first, and nothing of two others."""


def sample_points(definition: Any, dtype: str) -> np.ndarray:
    """Return points dense near zero, out to where exp underflows, and by kinks and ends."""
    rng = np.random.default_rng(SEED)
    edge = {"float32": 100.0, "float64": 740.0}[dtype]
    kinks = np.array(definition.properties.kinks, dtype=dtype)
    x = np.concatenate(
        [
            np.linspace(-20, 20, 161),
            rng.uniform(-edge, edge, 64),
            *(s * np.geomspace(1e-30, 1e4, 35) for s in (1, -1)),
            *(np.nextafter(kinks[kinks != 0], d) for d in (-np.inf, np.inf)),
            kinks,
        ]
    ).astype(dtype)
    low, high = domain_of(definition)
    if high - low < np.inf:
        near = np.geomspace(np.finfo(dtype).tiny, (high - low) / 2, 80)
        inner = np.concatenate([np.linspace(low, high, 80), low + near, high - near])
        x = np.concatenate([x, inner]).astype(dtype)
    x = in_domain(definition, x)
    return x[: x.size // 4 * 4]


NUMBER_OF_POINTS = 320
"""At least as many as `sample_points` returns."""


def repeated(case: FunctionCase, size: int, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return arrays that begin anew at their ends until they have so many elements.

    JAX compiles every operation for each size anew, so that elementwise functions get as many.
    """
    return arrays if output_axis(case.function) else tuple(np.resize(a, size) for a in arrays)


@functools.cache
def sampled_values(case: FunctionCase, dtype: str) -> tuple[np.ndarray, ...]:
    """Return points, and the exact values of the function there."""
    x = sample_points(case.definition, dtype)
    exact = exact_values(case.formula, x, case.all_parameters)
    return repeated(case, NUMBER_OF_POINTS, x, exact)


@functools.cache
def sampled_derivatives(case: FunctionCase, dtype: str) -> tuple[np.ndarray, ...]:
    """Return points away from kinks, and the exact derivatives there."""
    x = sample_points(case.definition, dtype)
    low, high = domain_of(case.definition)
    x = x[is_away_from(kinks_of(case), x) & (x > low) & (x < high)]
    exact = cached_on_disk(exact_derivative, case.formula, x, case.all_parameters)
    return repeated(case, NUMBER_OF_POINTS, x, exact)


@functools.cache
def sampled_parameter_derivatives(
    case: FunctionCase, name: str, dtype: str
) -> tuple[np.ndarray, ...]:
    """Return points away from kinks, and the exact derivatives by the parameter there."""
    x = sample_points(case.definition, dtype)
    x = x[is_away_from(kinks_of(case), x)]
    parameters = {
        name: float(x.dtype.type(value)) if isinstance(value, float) else value
        for name, value in case.all_parameters.items()  # as an array of x's dtype holds them
    }
    arguments = case.formula, x, parameters, name
    exact = cached_on_disk(exact_parameter_derivative, *arguments)
    return repeated(case, NUMBER_OF_POINTS, x, exact)


def ulp_bound(case: FunctionCase, library: str) -> float:
    """Return the declared bound, or a wider one for a library with functions of its own errors."""
    is_ours = library in ("numpy", "torch", "jax", "tensorflow")
    return case.ulp if is_ours else 2 * case.ulp + 4


def assert_values(got: np.ndarray, exact: np.ndarray, bound: float, name: str = "") -> None:
    """Check that the error is at most so many ulp."""
    info = np.finfo(got.dtype)
    normal = np.abs(exact.astype("f8")) >= info.smallest_normal
    error = _oracle.difference(got, exact)
    assert error[normal].max() <= bound, name
    # what is less than normal may be flushed to zero, a unit being that of the least normal
    assert error[~normal].max(initial=0) <= 2.0**info.nmant, name


def fast_error(case: FunctionCase, got: np.ndarray, exact: np.ndarray, x: np.ndarray) -> Any:
    """Return the error in units of the precision "fast", or in ulp where there is no x beside it.

    One half of x, a, is a factor of what a gate makes of the other half: it divides both.
    """
    if got.shape == x.shape:
        return _oracle.difference(got, exact, x)
    if "gate" not in case.definition.parameters:
        return _oracle.difference(got, exact)
    a, b = np.split(x, 2)
    bits = np.frexp(a)[1]  # a division by a power of 2 is exact
    size = np.ldexp(np.abs(a), -bits) * np.minimum(np.abs(b), 1)
    return _oracle.difference(np.ldexp(got, -bits), exact * 2.0 ** -bits.astype(float), size)


def assert_derivatives(
    got: np.ndarray, x: np.ndarray, exact: np.ndarray, bound: float, name: str = ""
) -> None:
    """Check that the error of a derivative is at most so many ulp of the derivative or of 1."""
    # where it crosses zero only the absolute error means anything
    assert _oracle.difference(got, exact, x).max() <= bound, name
    # XLA makes a subnormal factor zero: a margin for what it is multiplied by
    normal = np.abs(exact.astype("f8")) >= 256 * np.finfo(got.dtype).smallest_normal
    tails = normal & (np.abs(x) > 4)
    assert _oracle.difference(got, exact)[tails].max(initial=0) <= bound, name


def kinks_of(case: FunctionCase) -> np.ndarray:
    """Return where some case may have a kink: the function's own, and those of its parameters."""
    values = [v for v in case.all_parameters.values() if isinstance(v, float)]
    return np.abs(np.array([*case.definition.properties.kinks, *values, 0.0, 2.0]))


def is_away_from(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return whether x is no kink, nor so near that the kink's own rounding decides the side."""
    near = [np.abs(np.abs(x) - k) <= 4 * np.spacing(x.dtype.type(k)) for k in points if k]
    return ~np.any([*near, x == 0], axis=0)


def in_domain(definition: Any, x: np.ndarray) -> np.ndarray:
    """Return the numbers at which the function is a real number."""
    low, high = domain_of(definition)
    return x[(x >= low) & (x <= high)]


def map_into_domain(definition: Any, x: np.ndarray) -> np.ndarray:
    """Return x mapped to where the function is a real number: to the inside if that is bounded."""
    low, high = domain_of(definition)
    if (low, high) == (-inf, inf):
        return x
    if high == inf:
        return low + np.abs(x) + 1
    fraction = 0.5 + 0.49 * np.tanh(x / 8)
    return low + (high - low) * fraction


def points_with_kinks(function: Any) -> np.ndarray:
    """Return both zeros, the kinks on both sides, and points of the domain between them."""
    kinks = function.definition.properties.kinks
    points = [0.0, -0.0, *kinks, *(-k for k in kinks), *np.linspace(-20, 20, 83)]
    return map_into_domain(function.definition, np.asarray(points))


def rows_away_from_kinks(function: Any) -> np.ndarray:
    """Return two rows of points of the domain away from kinks and ties."""
    x = np.random.default_rng(11).permutation(np.linspace(-2.9, 3.3, 8))
    return map_into_domain(function.definition, x).reshape(2, 4)


def of_a_number(form: Any, given: dict[str, Any]) -> Callable[[Any], Any]:
    """Return the form with an axis, which a number lacks, added before and removed after."""
    if given.get("axis") is None:
        return functools.partial(form, **given)
    return lambda x: form(x[None], **given)[0]


# the edges: where squares overflow, exponentials vanish and branches meet

EDGE_DTYPES = ("float32", "float64", "bfloat16", "float16")
MAX_EDGE_POINTS = 128
"""At least as many as `edge_points` returns."""

EDGE_DIGITS = 900
NEAR_THE_END = mpmath.mpf(10) ** -315
"""A function that is infinite at an end of its domain has so near to it the slopes it ends with."""


def edge_points(function: Any, parameters: dict[str, Any], dtype: str) -> np.ndarray:
    """Return both zeros, extreme numbers, ends and kinks, and the numbers next to all of them."""
    definition = function.definition
    info = ml_dtypes.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, info.eps, 20, 89, 710, 1e4, 1e20, info.max]
    given = [v for v in {**definition.defaults, **parameters}.values() if isinstance(v, float)]
    marks = np.array([*given, *definition.properties.kinks, *domain_of(definition)])
    with np.errstate(over="ignore"):  # 1e20 is none in float16
        x = np.array([*marks, *sizes]).astype(dtype)
        x = np.concatenate([x, -x])
        x = np.concatenate([x, *(np.nextafter(x, x.dtype.type(d)) for d in (-inf, inf))])
    x = in_domain(definition, x[np.isfinite(x)])
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
    """Check that value, derivative and second derivative are no NaN, nor infinite without need.

    They may be infinite where the exact one is over the largest number.

    Parameters
    ----------
    seen : what the library takes x for, if it is not x itself
    room : what part of the largest number the value may be under
    """
    definition = function.definition
    (formula,) = (c.formula for c in cases_of(function) if c.parameters == parameters)
    given = {**definition.defaults, **parameters}
    largest = float(ml_dtypes.finfo(x.dtype).max)
    seen = x if seen is None else seen
    for order, result in enumerate(orders):
        got = np.asarray(result).astype("f8")
        assert not np.isnan(got).any(), (order, x[np.isnan(got)])
        at, got = seen[np.isinf(got)].astype("f8"), got[np.isinf(got)]
        if at.size:
            arguments = formula, at, given, order, domain_of(definition)
            exact = cached_on_disk(difference_quotients, *arguments)
            least = largest * (1.0 if order else room)
            assert (np.sign(got) * exact > least).all(), (order, at)


def difference_quotients(
    formula: str,
    x: np.ndarray,
    parameters: dict[str, Any],
    order: int,
    ends: tuple[float, float],
) -> np.ndarray:
    """Return the formula, or its first or second difference quotient in many digits.

    At the ends it is that from the inside; by them the steps are so small that they stay within.
    """
    low, high = ends
    with mpmath.workdps(EDGE_DIGITS):
        x = _many_digits(x)
        if order == 0:
            return _oracle.truth(formula, x, parameters, digits=EDGE_DIGITS)
        x = x + NEAR_THE_END * ((x == low).astype(int) - (x == high).astype(int))
        size = np.where(x == 0, 1, abs(x))
        step = STEP * np.minimum(size, np.minimum(abs(x - low), abs(high - x)))
        left, middle, right = (
            _oracle.truth(formula, at, parameters, digits=EDGE_DIGITS)
            for at in (x - step, x, x + step)
        )
        return (right - left) / (2 * step) if order == 1 else (right - 2 * middle + left) / step**2


# other libraries


def import_object(path: str) -> Any:
    """Import what a dotted name means; a class of modules gives a module."""
    module, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    return value() if isinstance(value, type) else value


def peer_of(definition: Any, library: str) -> Any:
    """Return the library's own function that a definition names, as ours is by default.

    Where a number is stated, it is left with that.
    """
    peers = definition.peers.get(library, ())
    if len(peers) != 1 or peers[0].note or len(peers[0].parameters) > 1:
        return None
    (peer,) = peers
    # its own default is stated where it is another than ours
    ours = {True: False, False: True, None: -1}
    given = {k: ours[v] for k, v in peer.parameters.items() if v is None or isinstance(v, bool)}
    function = import_object(peer.name)
    return functools.partial(function, **given) if given else function


def stated_peer(function: Any, library: str) -> tuple[str, dict[str, Any]] | None:
    """Return the name of the library's function and the parameters that its definition states.

    Those that it names without a value are None.
    """
    peers = function.definition.peers.get(library, ())
    if len(peers) != 1:
        return None
    (peer,) = peers
    named = {peer.note: None} if peer.note.isidentifier() else {}
    return peer.name, {**named, **peer.parameters}


class ForeignArray:
    """An array of a library that the package does not know."""

    dtype = np.dtype("f4")
    shape = (4,)
    ndim = 1

    def __array__(self, dtype=None, copy=None):
        return np.ones(4, dtype)

    def __array_namespace__(self, api_version=None):
        return np


class CountingCompiler:
    """A compiler for PyTorch that counts the graphs it is given, and leaves them to another.

    By default it compiles nothing.
    """

    def __init__(self, compiler: Callable[[Any, Any], Any] | None = None) -> None:
        self.compiler = compiler
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward if self.compiler is None else self.compiler(graph, inputs)


def peak_memory(call: Callable[[], Any]) -> int:
    """Return the most bytes that a call takes at once, in threads that keep no memory yet."""
    ax.set_num_threads(ax.get_num_threads())  # which begins with new ones
    thread = threading.Thread(target=call)
    tracemalloc.start()
    try:
        thread.start()
        thread.join()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
