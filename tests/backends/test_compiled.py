"""Machine code of Numba for NumPy arrays: accuracy, the choice of the engine, files, bad luck.

The truth is a formula in many digits, or the same call by NumPy's functions. Where a result may
depend on no bit of something, it is the call without that.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import itertools
import os
import platform
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf, nan
from pathlib import Path

import gmpy2
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from oracle import (
    ALONG_AXIS,
    ARRAY_PARAMETERS,
    CASES,
    ELEMENTWISE,
    FUNCTIONS,
    MASKED,
    assert_derivatives,
    assert_values,
    fast_error,
    in_sweep,
    is_first_of_family,
    noting,
    one_of_each_family,
    output_axis,
    over,
    peak_memory,
    precision,
    required_parameters,
    sampled_derivatives,
    sampled_values,
)

import activations_xp as ax
from activations_xp import _errors
from activations_xp._oracle import ACCEPTED, difference
from activations_xp.backends import generic
from activations_xp.backends.numpy import blocks, elementary, engine, kernel_cache
from activations_xp.backends.numpy.trace import Trace

numba = pytest.importorskip("numba")
compiled = pytest.importorskip("activations_xp.backends.numpy.compiled")
jit = pytest.importorskip("activations_xp.backends.numpy.jit")
team = pytest.importorskip("activations_xp.backends.numpy.team")

pytestmark = pytest.mark.once

LARGE = engine.LARGE
DTYPES = ("float32", "float64")
MANY = 2**17 + 13
"""A number of elements that threads share."""

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_modes = pytest.mark.skipif(os.name == "nt", reason="this system has no modes of files")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """A folder of machine code that the processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"


@pytest.fixture(autouse=True)
def settings(kernels, monkeypatch):
    """Keep machine code in that folder; restore the engine and the number of threads."""
    before = ax.get_engine(), ax.get_num_threads()
    monkeypatch.setattr(_errors, "_said", set())
    keep_in(kernels, monkeypatch)
    ax.set_num_threads(2)
    yield
    ax.set_engine(before[0])
    ax.set_num_threads(before[1])
    kernel_cache.folder.cache_clear()


def keep_in(folder, monkeypatch):
    """Have machine code kept in a folder from now on."""
    monkeypatch.setenv(kernel_cache.VARIABLE, str(folder))
    kernel_cache.folder.cache_clear()


NOWHERE = Path(__file__) / "kernels"
"""A folder that cannot be made."""


@pytest.fixture
def by_numba():
    """Use the engine for arrays of all sizes."""
    ax.set_engine("numba")


@contextlib.contextmanager
def using(name):
    """Use an engine."""
    before = ax.get_engine()
    ax.set_engine(name)
    try:
        yield
    finally:
        ax.set_engine(before)


def by_numpy(function, *arguments, **given):
    """Return what a call gives by NumPy's functions."""
    with using("numpy"):
        return function(*arguments, **given)


def by_both(function, *arguments, level="accurate", **given):
    """Return what a call gives by machine code at a level of precision, and by NumPy's functions.

    The latter is always accurate.
    """
    with using("numba"), precision(level):
        got = function(*arguments, **given)
    with precision("accurate"):
        return got, by_numpy(function, *arguments, **given)


@contextlib.contextmanager
def blocks_of(size):
    """Split arrays of more elements than this, and rather fewer of float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCKWISE_FROM", size)
        patch.setattr(blocks, "BLOCK_BYTES", 8 * size)
        yield


_numbers = iter(range(1, 10**6))


def new_number():
    """Return a parameter that no function was called with; its kernel is that of any other."""
    return 0.25 + next(_numbers) / 2**20


def forget_kernels():
    """Have the next kernel compiled, or read from its files."""
    compiled._compile.cache_clear()


@pytest.fixture
def made(monkeypatch):
    """A list of the kernels that are compiled or read from now on."""
    kernels, make = [], compiled._kernel

    def record(*arguments):
        kernels.append(make(*arguments))
        return kernels[-1]

    monkeypatch.setattr(compiled, "_kernel", record)
    forget_kernels()
    return kernels


def was_read():
    """Return whether the kernel that was made last was read from its files."""
    return [kernel for kernel in jit._alive if hasattr(kernel, "address")][-1].cache_hits == 1


def leaves(value):
    """Return the arrays in a result, by their names or positions."""
    if isinstance(value, dict):
        return {(k, *rest): v for k in value for rest, v in leaves(value[k]).items()}
    if isinstance(value, tuple):
        return {(i, *rest): v for i, part in enumerate(value) for rest, v in leaves(part).items()}
    return {(): value}


def pairs_of_leaves(got, expected):
    """Yield each array with the one in its place, which is of its dtype and shape."""
    got, expected = leaves(got), leaves(expected)
    assert got.keys() == expected.keys()
    for name, a in got.items():
        b = expected[name]
        assert (type(a), a.dtype, a.shape) == (type(b), b.dtype, b.shape), name
        with noting(f"part {name}"):
            yield a, b


def assert_same_bits(got, expected):
    for a, b in pairs_of_leaves(got, expected):
        np.testing.assert_array_equal(a, b)
        known = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a)[known], np.signbit(b)[known])


def start(source, **environment):
    """Start a Python program in which a warning is an error."""
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def outcome_of(program):
    """Return what a program has printed."""
    output, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    return output + errors


def run(source, **environment):
    """Return what a Python program prints."""
    return outcome_of(start(source, **environment))


# both engines

SPECIAL = [0.0, inf, 1.0, 0.5, 2.0, 1e-300, 1e-40, 1e5, 1e10, 1e20, 3e38, 1e300]
SPECIAL += [88.72, 88.73, 103.9, 104.1, 709.78, 709.79, 745.1, 745.2]  # where exp ends
SPECIAL = [nan, *SPECIAL, *(-v for v in SPECIAL)]


def samples(dtype):
    """Return special numbers, and random ones of all sizes."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    edges = [info.max, info.tiny, info.smallest_subnormal, info.eps, info.epsneg]
    sizes = np.concatenate([2.0 ** rng.uniform(-30, 10, 100), 10.0 ** rng.uniform(-38, 38, 100)])
    sizes = np.concatenate([edges, sizes])
    x = np.concatenate([SPECIAL, sizes, -sizes, rng.normal(0, 3, 200), rng.uniform(-2, 2, 100)])
    return x[~np.isfinite(x) | (np.abs(x) <= info.max)].astype(dtype)


def rows(dtype):
    """Return rows of numbers of several sizes, rows with ties, and rows of special numbers."""
    info, rng = np.finfo(dtype), np.random.default_rng(1)
    scales = np.array([1, 1, 1, 1, 10, 10, 10, 1e-3, 100, 1e-30, 1e30])
    ties = rng.integers(-2, 3, (10, 24)).astype("f8")
    ties[:4] = [[0.0], [-0.0], [7.0], [-inf]]
    ties[4, 3] = inf
    ties[5, [3, 5]] = -inf
    ties[6, 7] = nan
    ties[7, [0, 23]] = inf, -inf
    ties[8, :6] = info.max, -info.max, info.tiny, info.smallest_subnormal, -0.0, 0.0
    return np.concatenate([rng.normal(size=(11, 24)) * scales[:, None], ties]).astype(dtype)


def cotangent(y):
    """Return numbers from 1 to 2 of both signs, so that a product overflows where y does."""
    rng = np.random.default_rng(6)
    return (rng.uniform(1, 2, y.shape) * rng.choice([-1, 1], y.shape)).astype(y.dtype)


PARTS = {
    "value": lambda f, x, given: f(x, **given),
    "derivative": lambda f, x, given: f.derivative(x, **given),
    "value_and_derivative": lambda f, x, given: f.value_and_derivative(x, **given),
    "vjp": lambda f, x, given: f.vjp(cotangent(by_numpy(f, x, **given)), x, **given),
}
UNITS = {"float32": 4, "float64": 8}
"""The engines differ by as many units in the last place, or twice as many if there are sums: in the
errors of NumPy's functions, and in float32 where NumPy is not told to compute in float64."""

WITH_ANGLES = {"gcu", "sine", "snake"}
LARGEST_ANGLE = 2.0**16
"""The rounding of a larger angle in float32 leaves no digits to compare, nor does that of two."""


GATED = [f for f in FUNCTIONS if "gate" in f.definition.parameters]
"""The functions of two halves of an axis, whose machine code is one of elements."""


def assert_agree(got, expected, x=None, axis=None, g=0.0, is_fast=False, room=1, signs=True):
    """Check that two results have the same NaNs, infinities and zeros, and else nearly the same.

    The unit in the last place is one of the largest number in a row, if there is an axis. Without
    one, where abs(x) <= 4, it is one of min(abs(x), 1) at least: there are the zeros of
    derivatives, beside which only an absolute error means anything. Nor do errors that cotangents
    `g` have in float64 where their sums cancel each other. Fast results, which are promised no
    more, may have such errors everywhere but at infinite x, where a limit of 0 is met.
    """
    is_of_x = x is not None and axis is None
    for a, b in pairs_of_leaves(got, expected):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b))
        equal, finite = a == b, np.isfinite(b)
        size = np.where(finite, np.abs(b), 0)
        if axis is not None and b.ndim > 0:
            size = np.maximum(size, size.max(axis=axis, keepdims=True, initial=0))
        elif is_of_x and x.shape == b.shape:
            end = inf if is_fast else 4
            size = np.maximum(size, np.where(np.abs(x) <= end, np.minimum(np.abs(x), 1), 0))
            if is_fast:
                limits = np.isinf(x) & (b == 0)
                np.testing.assert_array_equal(a[limits], b[limits])
                equal &= (x == 0) | np.isinf(x)  # there nothing underflows
        if signs:
            np.testing.assert_array_equal(np.signbit(a)[equal], np.signbit(b)[equal])
        with np.errstate(all="ignore"):
            # cotangents less their mean have the errors of the cotangents
            error = np.abs(a.astype("g") - b) - (2.0**-20 if is_fast else 2.0**-49) * g
            error = np.where(finite, error / np.spacing(size), 0)
        if error.size:
            worst = np.unravel_index(error.argmax(), error.shape)
            at = x[worst] if is_of_x and x.shape == b.shape else worst
            units = UNITS[b.dtype.name] * (1 if axis is None else 2) + ACCEPTED * is_fast
            assert error[worst] <= units * room, f"{a[worst]!r}, not {b[worst]!r}, at {at}"


LEVELS = [("float32", "fast"), ("float32", "accurate"), ("float64", "accurate")]
"""The kinds of machine code: float64 has one of them."""


def with_levels(case, part, *arguments):
    """Yield parameters of a test with each level, those in the sweep whose kernels are many."""
    for level in LEVELS:
        if level == LEVELS[0]:
            quick = ("value", "vjp") if output_axis(case.function) else ("value",)
            is_quick = part in quick or (case.is_first and part != "value_and_derivative")
        elif level == LEVELS[2]:
            is_quick = case.is_first and (
                part in ("value", "derivative") or output_axis(case.function)
            )
        else:
            is_quick = False
        is_quick = is_quick or is_first_of_family(case)
        yield pytest.param(*arguments, *level, marks=() if is_quick else pytest.mark.sweep)


def calls_of(functions):
    """Yield functions with their parameters, parts and levels."""
    for case in CASES:
        if case.function in functions:
            has_derivative = case.definition.derivative is not None
            for part in PARTS if has_derivative else ("value", "vjp"):
                yield from with_levels(case, part, case.function, case.parameters, part)


CALLS = "function, given, part, dtype, level"


@over(CALLS, list(calls_of(ELEMENTWISE)))
def test_engines_agree_on_elementwise_functions(function, given, part, dtype, level):
    x = samples(dtype)
    if function.__name__ in WITH_ANGLES and (dtype == "float32" or function is ax.snake):
        x = x[(np.abs(x) <= LARGEST_ANGLE) | ~np.isfinite(x)]
    results = by_both(PARTS[part], function, x, given, level=level)
    room = 4 if function is ax.rational else 1  # whose terms may cancel each other
    assert_agree(*results, x, is_fast=level == "fast", room=room)


@over(CALLS, list(calls_of(ALONG_AXIS)))
def test_engines_agree_along_an_axis(function, given, part, dtype, level):
    x, is_fast = rows(dtype), level == "fast"
    # in float32 a product of infinity and of what underflows may be NaN, and that of 0 has no sign
    signs = not (is_fast and function in GATED)
    x = x if signs else x[np.isfinite(x).all(axis=1)]
    results = by_both(PARTS[part], function, x, {**given, "axis": -1}, level=level)
    g = 3.0 if part == "vjp" else 0.0
    assert_agree(*results, x, -1, g, is_fast=is_fast, signs=signs)


@over(
    "case, dtype, level",
    [call for case in CASES for call in with_levels(case, "value", case)],
)
def test_values(case, dtype, level, by_numba):
    x, exact = sampled_values(case, dtype)
    with precision(level):
        y = case.function(x, **case.parameters)
    if level == "accurate":
        assert_values(y, exact, case.ulp)
    else:
        assert fast_error(case, y, exact, x).max() <= max(ACCEPTED, case.ulp)


@over(
    "case, dtype, level",
    [
        call
        for case in CASES
        if case.definition.derivative is not None
        for call in with_levels(case, "derivative", case)
    ],
)
def test_derivatives(case, dtype, level, by_numba):
    x, exact = sampled_derivatives(case, dtype)
    with precision(level):
        y = case.function.derivative(x, **case.parameters)
    bound = 2 * max(case.ulp, 2)
    if level == "accurate":
        assert_derivatives(y, x, exact, bound)
    else:
        assert difference(y, exact, x).max() <= max(ACCEPTED, bound)


WITHOUT_MACHINE_CODE = {
    *("crelu", "maxout", "multi_hot", "one_hot"),  # which have other axes
    *("entmax", "entmax15", "sparsemax"),  # which sort
    "logcumsumexp",
}


WITH_VALUES_ALONE = {"logmeanexp", "logsumexp"}
"""The shape of their cotangents is not that of x."""


def test_functions_that_have_machine_code():
    """All others compute no array of these sizes by NumPy's functions, in none of their parts."""
    source = """if True:
        import numpy as np
        from oracle import FUNCTIONS, map_into_domain, required_parameters
        import activations_xp as ax
        from activations_xp.backends.numpy import compiled

        ax.precision("accurate")  # in place of functions of NumPy's own
        made = []
        nothing = compiled.Kernel(0, (), False, 2**20)
        compiled._entry = lambda *arguments: lambda *arrays: None
        compiled._kernel = lambda *arguments: made.append(arguments) or nothing
        ax.set_engine("numba")
        for f in FUNCTIONS:
            x = map_into_domain(f.definition, np.linspace(-3, 3, 24).reshape(4, 6))
            given = required_parameters(f)
            before = len(made)
            y = f(x, **given)
            print(f.__name__, len(made) - before, end=" ")
            before = len(made)
            f.vjp(np.ones_like(y), x, **given)
            if f.definition.derivative is not None:
                f.derivative(x, **given)
                f.value_and_derivative(x, **given)
            print(len(made) - before)
    """
    elementwise = {f.__name__ for f in ELEMENTWISE}
    for line in run(source).splitlines():
        name, *found = line.split()
        expected = ["1", "3" if name in elementwise else "1"]
        if name in WITHOUT_MACHINE_CODE:
            expected = ["0", "0"]
        if name in WITH_VALUES_ALONE:
            expected = ["1", "0"]
        assert found == expected, name


# parameters and axes

SHAPES = {"number": (), "channel": (13,), "column": (29, 1), "full": (29, 13)}


def parameter_of(function, name, shape, dtype):
    """Return the parameters of the first case, with one as an array of a shape."""
    value = required_parameters(function).get(name, function.definition.defaults.get(name))
    value = 0.75 if value is None else float(value)
    rng = np.random.default_rng(3)
    array = np.asarray(value + (value or 0.5) * rng.uniform(-0.2, 0.2, shape), dtype)
    return {**required_parameters(function), name: array}


@over("dtype", in_sweep(DTYPES))
@over(
    "function, name",
    one_of_each_family([(f, name) for f, name in ARRAY_PARAMETERS if output_axis(f) is None]),
)
def test_array_parameters(function, name, dtype):
    x = np.resize(samples(dtype)[::-1], (29, 13))
    x = x if function.__name__ not in WITH_ANGLES else np.clip(x, -LARGEST_ANGLE, LARGEST_ANGLE)
    for label, shape in SHAPES.items():
        given = parameter_of(function, name, shape, dtype)
        for part in ("value", "derivative", "vjp"):
            with noting(f"{label}, {part}"):
                got, expected = by_both(PARTS[part], function, x, given)
                if part == "vjp":  # gradients of parameters are sums, in another order
                    got, expected = got["x"], expected["x"]
                # these parameters may put a zero anywhere
                assert_agree(got, expected, x, is_fast=True)


@over("part", ["value", "vjp"])
@over("shape", [(), (13,), (29, 1), (3, 29, 13)])
def test_operand_that_is_larger_than_x(shape, part):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(29, 13)), rng.normal(size=shape)
    # a gradient may be a sum of hundreds of numbers, in another order
    assert_agree(*by_both(PARTS[part], ax.logaddexp, x, {"y": y}), x, g=1000.0)


@over("other", DTYPES)
@over("dtype", DTYPES)
def test_array_parameters_of_another_dtype(dtype, other):
    x, beta = samples(dtype), np.asarray(1.75, other)
    assert_agree(*by_both(ax.silu, x, beta=beta), x)


@over("dtype", in_sweep(DTYPES))
@over("function", [ax.layer_norm, ax.rms_norm, ax.prelu])
def test_weights_along_the_axis(function, dtype):
    x = rows(dtype)[:11]
    weight = np.linspace(-1, 2, 24).astype(dtype)
    given = {"weight": weight, "axis": -1}
    for part in ("value", "vjp"):
        got, expected = by_both(PARTS[part], function, x, given)
        if part == "vjp":  # gradients of weights are sums, in another order
            got, expected = got["x"], expected["x"]
        assert_agree(got, expected, x, -1, g=3.0)
    with using("numba"):
        across = function(x.T.copy(), axis=0, weight=weight)
        assert_same_bits(across, function(x, **given).T)


MASKS = {
    "full": lambda shape: np.random.default_rng(2).random(shape) < 0.6,
    "row": lambda shape: np.arange(shape[-1]) % 3 > 0,
    "column": lambda shape: np.arange(shape[0])[:, None] % 3 > 0,
    "number": lambda shape: np.array(True),
    "nothing": lambda shape: np.zeros(shape, bool),
    "strided": lambda shape: (np.random.default_rng(2).random((*shape, 2)) < 0.6)[..., 1],
}


@over("mask", MASKS)
@over("function", MASKED)
def test_masks(function, mask):
    x = rows("float32")
    where = MASKS[mask](x.shape)
    given = {**required_parameters(function), "axis": -1, "where": where}
    assert_agree(*by_both(function, x, **given), x, -1)
    with using("numba"):
        y = function(x, **given)
        replaced = np.where(np.broadcast_to(where, x.shape), x, np.float32(nan))
        assert_same_bits(function(replaced, **given), y)


@over("function", MASKED)
def test_gradients_with_a_mask(function):
    x = rows("float64")[:14]
    where = MASKS["full"](x.shape)
    given = {**required_parameters(function), "axis": -1, "where": where}
    given |= {"keepdims": True} if "keepdims" in function.definition.parameters else {}
    assert_agree(*by_both(PARTS["vjp"], function, x, given), x, -1, g=3.0)


@over("return_sign", [False, True])
@over("keepdims", [False, True])
def test_logsumexp_with_factors(keepdims, return_sign):
    x = rows("float64")
    given = {"axis": 1, "keepdims": keepdims, "return_sign": return_sign}
    for b in (np.linspace(0.5, 2, 24), np.linspace(-2, 1, 21)[:, None], np.array(-3.0), -3.0):
        with noting(b):
            assert_agree(*by_both(ax.logsumexp, x, b=b, **given))


@over("part", ["value", "vjp"])
def test_arrays_of_slices_and_of_noise(part):
    x = rows("float64")[:11]
    noise = np.random.default_rng(3).uniform(0.05, 0.95, x.shape)
    tau = np.linspace(0.5, 3, 11)[:, None]
    given = {"tau": tau, "noise": noise, "axis": -1}
    got, expected = by_both(PARTS[part], ax.gumbel_softmax, x, given)
    if part == "vjp":  # the gradient of tau is a sum, in another order
        got, expected = got["x"], expected["x"]
    assert_agree(got, expected, x, -1, g=6.0)


@over("function", [ax.dropout, ax.alpha_dropout, ax.rrelu])
def test_arrays_of_noise(function):
    x = samples("float32")
    noise = np.random.default_rng(3).random(x.shape).astype("float32")
    assert_agree(*by_both(function, x, noise=noise, training=True), x)


@over("dtype", ["float16", "longdouble", "int32", "bool", "complex64", "complex128"])
def test_other_dtypes_have_no_machine_code(dtype, made):
    x = np.linspace(-3, 3, 60).reshape(6, 10).astype(dtype)
    for function in (ax.silu, ax.softmax):
        got, expected = by_both(function, x)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    assert made == []


COMPILED_ALONG_AXIS = [
    f for f in ALONG_AXIS if f.__name__ not in WITHOUT_MACHINE_CODE and f not in GATED
]


@over("axis", [0, 1, -2, (0,), (0, 2), (2, 1), (0, 1, 2), None])
@over("function", COMPILED_ALONG_AXIS)
def test_every_axis_is_the_last_one_of_a_copy(function, axis, by_numba):
    x = np.random.default_rng(5).normal(size=(5, 7, 6)).astype("float32")
    given = required_parameters(function)
    try:
        y = function(x, **given, axis=axis)
    except TypeError:
        assert not isinstance(axis, int)  # it takes a single axis
        return
    axes = (0, 1, 2) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = sorted(a % 3 for a in axes)
    kept = [a for a in range(3) if a not in axes]
    copy = x.transpose(kept + axes)
    matrix = copy.reshape(int(np.prod(copy.shape[: len(kept)])), -1)
    rows = function(matrix, **given, axis=(1,) if isinstance(axis, tuple) else 1)
    if output_axis(function) == "kept":
        expected = rows.reshape(copy.shape).transpose(np.argsort(kept + axes))
    else:
        expected = np.asarray(rows.reshape(copy.shape[: len(kept)]))
        keepdims = function(x, **given, axis=axis, keepdims=True)
        assert_same_bits(keepdims, np.expand_dims(expected, tuple(axes)))
    assert_same_bits(y, expected)


@over("n", [1, 2, 4095, 4096, 4097, 10_000])
@over("function", [ax.softmax, ax.logsumexp, ax.layer_norm, ax.normalize])
def test_rows_of_any_length(function, n):
    x = np.random.default_rng(n).normal(0, 3, (3, n))
    assert_agree(*by_both(function, x, axis=-1), x, -1)


@over("axis", [0, 1, -1])
@over("function", GATED)
def test_halves_of_any_axis(function, axis, by_numba):
    x = np.random.default_rng(6).normal(0, 3, (6, 4, 8)).astype("float32")
    y = function(x, axis=axis)
    rows = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    assert_same_bits(y, np.moveaxis(function(rows), -1, axis))
    gradient = function.vjp(np.ones_like(y), x, axis=axis)["x"]
    of_rows = function.vjp(np.ones_like(function(rows)), rows)["x"]
    assert_same_bits(gradient, np.moveaxis(of_rows, -1, axis))


# elementary functions


def kernel_of(function, digits, dtype="float64"):
    """Return an elementary function of arrays of a dtype, whose results have so many digits."""
    trace = Trace()
    x = trace.input(np.dtype(dtype))
    trace.results = elementary.RULES[function](x, digits)
    kernel = compiled._kernel(trace, ["elements"])

    def evaluate(x):
        y = np.empty_like(x)
        kernel.alone(x, y)
        return y

    return evaluate


def exact(function, x):
    """Return the values in 200 bits."""
    with gmpy2.context(precision=200, emax=10**6, emin=-(10**6)):
        return [getattr(gmpy2, function.__name__)(gmpy2.mpfr(v)) for v in x.tolist()]


def of_all_sizes(rng, low, high):
    """Return numbers between powers of two, as many of each size."""
    return np.ldexp(rng.uniform(1, 2, 1000), rng.integers(low, high, 1000))


def arguments_of(function):
    """Return numbers from all of the range, and those by the ends of each step of the method."""
    rng = np.random.default_rng(7)
    sign, steps = rng.choice([-1, 1], 1000), rng.integers(-1000, 1000, 1000)
    near = rng.uniform(-8, 8, 1000) * 2.0**-52
    small, all_sizes = sign * of_all_sizes(rng, -1074, 1), of_all_sizes(rng, -1074, 1024)
    one = 1 + sign * 2.0 ** rng.uniform(-52, -3, 1000)
    root = 0.5**0.5 * (1 + rng.uniform(-1, 1, 1000) * 2.0 ** rng.uniform(-52, -5, 1000))
    by_exponential = [small, (steps + 0.5) * np.log(2) * (1 + near), rng.normal(0, 1, 1000)]
    by_angle = [sign * of_all_sizes(rng, -1074, 1024), rng.uniform(-10, 10, 1000)]
    by_angle += [
        sign * of_all_sizes(rng, 0, 42),
        np.rint(2 ** rng.uniform(0, 40, 1000)) * np.pi / 2,
    ]
    by_angle += [(steps + 0.5) * np.pi / 2 * (1 + near)]
    parts = {
        np.exp: [*by_exponential, rng.uniform(-746, 710, 3000), rng.uniform(-746, -705, 1000)],
        np.expm1: [*by_exponential, rng.uniform(-50, 710, 3000), rng.uniform(-0.4, 0.4, 3000)],
        np.tanh: [*by_exponential, rng.uniform(-20, 20, 3000), rng.uniform(-0.4, 0.4, 3000)],
        np.log: [all_sizes, one, root, 2 * root, rng.integers(1, 2**50, 1000) * 5e-324],
        np.log1p: [all_sizes, one - 1, root - 1, 2 * root - 1, small[small > -1], near, -one / 2],
        np.sin: by_angle,
        np.cos: by_angle,
    }
    return np.concatenate(parts[function])


ULPS = {np.exp: 0.8, np.expm1: 1.1, np.log: 0.9, np.log1p: 1.5, np.tanh: 0.9}
ULPS |= {np.sin: 0.8, np.cos: 0.8}
"""The largest errors in 53 digits; the largest found in a million numbers are 5 % less."""

ULPS_OF_FLOAT32 = {np.exp: 1.1, np.expm1: 1.7, np.log: 0.9, np.log1p: 1.5, np.tanh: 2.5}
"""The same of float32 in float32."""

ELEMENTARY = list(ULPS)


@over("function", ELEMENTARY)
def test_elementary_functions_in_53_digits(function):
    x = arguments_of(function)
    y = kernel_of(function, 53)(x)
    values = exact(function, x)
    units = np.spacing(np.abs(np.array(values, dtype="f8")))
    finite = np.isfinite(units)
    np.testing.assert_array_equal(np.isfinite(y), finite)
    with gmpy2.context(precision=200, emin=-(10**6)):
        errors = [
            float(abs(a - b) / gmpy2.mpfr(u)) if is_finite else 0.0
            for a, b, u, is_finite in zip(y.tolist(), values, units.tolist(), finite, strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= ULPS[function], (x[worst].hex(), y[worst], float(values[worst]))


@over("function", ELEMENTARY)
def test_elementary_functions_in_24_digits(function):
    """Results are as good in all of the range of float32, and of products of two of these."""
    x = arguments_of(function)
    x = x[(np.abs(x) >= 2.0**-300) & (np.abs(x) <= 2.0**300)]
    y = kernel_of(function, 24)(x)
    values = exact(function, x)
    size = np.abs(np.array(values, dtype="f8"))
    least, largest = 2.0**-300, 2.0**300
    in_range = (size >= least) & (size <= largest)
    assert np.count_nonzero(in_range) >= 2000
    assert (np.abs(y[size < least]) <= 2 * least).all()
    assert (np.abs(y[size > largest]) >= largest / 2).all()
    with gmpy2.context(precision=200):
        errors = [
            float(abs((a - b) / b)) if is_in_range else 0.0
            for a, b, is_in_range in zip(y.tolist(), values, in_range, strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= 2.0**-33, (x[worst].hex(), y[worst], float(values[worst]))


def test_powers_for_float32():
    """They lose only what the exponent takes from the logarithm in float64."""
    rng = np.random.default_rng(7)
    x, y = of_all_sizes(rng, -60, 60), rng.uniform(-2, 2, 1000)
    trace = Trace()
    trace.results = elementary.power(*(trace.input(x.dtype) for _ in "xy"), 24)
    got = np.empty_like(x)
    compiled._kernel(trace, ["elements"] * 2).alone(x, y, got)
    with gmpy2.context(precision=200):
        pairs = zip(map(gmpy2.mpfr, x.tolist()), y.tolist(), strict=True)
        error = [float(abs(z / a**b - 1)) for z, (a, b) in zip(got.tolist(), pairs, strict=True)]
    assert (error <= 2.0**-52 * (1 + np.abs(y * np.log(x)))).all()


@over("function", [f for f in ELEMENTARY if f not in elementary.OF_FLOAT64])
def test_elementary_functions_of_float32(function):
    """A result that is hardly normal may be 0."""
    info = np.finfo("float32")
    least = 2 * info.tiny
    x = arguments_of(function)
    x = x[np.abs(x) <= info.max].astype("float32")
    y = kernel_of(function, 24, "float32")(x)
    values = exact(function, x)
    size = np.abs(np.array(values, dtype="f8"))
    in_range = (size >= least) & (size <= info.max)
    assert np.count_nonzero(in_range) >= 2000
    assert (np.abs(y[size < least]) <= least).all()
    assert (np.abs(y[size > info.max * (1 + info.epsneg)]) == inf).all()
    units = np.spacing(np.where(in_range, size, 1).astype("f4")).tolist()
    with gmpy2.context(precision=200):
        errors = [
            float(abs(a - b) / gmpy2.mpfr(u)) if is_in_range else 0.0
            for a, b, u, is_in_range in zip(y.tolist(), values, units, in_range, strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= ULPS_OF_FLOAT32[function], (x[worst], y[worst], float(values[worst]))


@over("digits", [24, 53])
@over("function", ELEMENTARY)
def test_special_values_of_elementary_functions(function, digits):
    x = np.array([0.0, inf, 1.0, 2.0, 1e3, 1e-310, 5e-324, 1e300, 2**0.5, 0.5**0.5, 40, 800])
    x = np.concatenate([[nan], x, -x])
    if function in (np.sin, np.cos):
        x = x[~(np.abs(x) == 40)]
    got = kernel_of(function, digits)(x)
    with np.errstate(all="ignore"):
        expected = function(x)
        if digits == 24:  # what float32 holds
            kept = ~((np.abs(x) < 1e-45) & (x != 0))
            x, got, expected = x[kept], got[kept].astype("f4"), expected[kept].astype("f4")
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(expected)[known])
    is_exact = ~np.isfinite(expected) | (x == 0) | (np.abs(expected) == 1) | (expected == 0)
    np.testing.assert_array_equal(got[is_exact], expected[is_exact])
    np.testing.assert_allclose(got, expected, rtol=3e-16 if digits == 53 else 1.2e-7)


@over("digits", [24, 53])
def test_tanh_is_at_most_1(digits):
    y = kernel_of(np.tanh, digits)(np.linspace(0, 40, 100_001))
    assert y.max() == 1
    assert np.diff(y).min() >= (-(2.0**-33) if digits == 24 else -(2.0**-52))


VECTOR_CODE = r"\b(?:vf\w*|v?(?:add|sub|mul|div))p"


@pytest.mark.skipif(not IS_X86, reason="the instructions are those of x86-64")
def test_machine_code_is_vector_code():
    source = f"""if True:
        import re
        import numpy as np
        import activations_xp as ax
        from activations_xp.backends.numpy import jit

        ax.set_engine("numba")
        for level, kinds in (("accurate", "d"), ("fast", "[sd]")):
            for name in ("gelu", "silu", "tanh", "softmax", "log_softmax"):
                with ax.precision(level):
                    ax.get(name)(np.ones((4, 6), "float32"))
                kernels = [kernel for kernel in jit._alive if hasattr(kernel, "address")]
                assembly = kernels[-1]._library.get_asm_str()
                print(level, name, len(re.findall({VECTOR_CODE!r} + kinds, assembly)))
    """
    lines = run(source, ACTIVATIONS_XP_CACHE_DIR=str(NOWHERE)).splitlines()
    assert len(lines) >= 7  # each at one level or two
    for line in lines:
        assert int(line.split()[-1]) >= 10, line  # there are at least so many in a polynomial


# the rule


@over("shape", [(217, 151), (256, 128)])
@over("name", ["gelu", "sigmoid", "mish.derivative", "softmax", "log_softmax"])
def test_engine_that_is_chosen_by_size(name, shape):
    function = ax.get(name.partition(".")[0])
    function = function.derivative if "." in name else function
    x = np.random.default_rng(8).normal(0, 2, shape)
    assert x.size in (LARGE - 1, LARGE)
    by_machine_code, by_functions = by_both(function, x, level="fast")
    assert (by_machine_code != by_functions).any()  # so that bits tell which it was
    for _ in range(3):
        with using("auto"):
            y = function(x)
        assert_same_bits(y, by_functions if x.size < LARGE else by_machine_code)


def test_same_bits_after_other_calls(by_numba, monkeypatch):
    x = np.random.default_rng(9).normal(0, 3, (40, 25)).astype("float32")
    slope = new_number()

    def results():
        return ax.silu(x, beta=slope), ax.softmax(x), ax.log_softmax.vjp(x, x), ax.elish(x)

    first = results()
    for dtype in DTYPES:
        ax.silu(x.astype(dtype), beta=new_number())
        ax.softmax(x.astype(dtype), axis=0)
    assert_same_bits(results(), first)
    forget_kernels()
    slope = np.float64(slope)  # which is looked up anew
    assert_same_bits(ax.silu(x, beta=slope), first[0])
    assert was_read()
    keep_in(NOWHERE, monkeypatch)
    forget_kernels()
    again = np.nextafter(slope, 1)
    ax.silu(x, beta=again)
    assert not was_read()
    with using("numpy"):
        ax.silu(x, beta=slope)
    assert_same_bits(results(), first)


@over("dtype", DTYPES)
@over(
    "function",
    one_of_each_family(
        [f for f in FUNCTIONS if f.__name__ not in WITHOUT_MACHINE_CODE and f not in GATED]
    ),
)
def test_threads_and_blocks_change_no_bit(function, dtype, by_numba):
    x = np.random.default_rng(10).normal(0, 8, (MANY // 97 + 1, 97)).astype(dtype)
    x.flat[:10] = [0.0, -0.0, inf, -inf, nan, 1e-40, -1e-40, 1.0, -1.0, 90.0]
    given = required_parameters(function)
    parts = ["value", "vjp"] if output_axis(function) == "kept" else ["value"]
    for part in parts:
        expected = PARTS[part](function, x, given)
        for threads in (1, 2, 3):
            ax.set_num_threads(threads)
            for size in (97 * 200, 4999):
                with blocks_of(size), noting(f"{part}, {threads} threads, {size}"):
                    assert_same_bits(PARTS[part](function, x, given), expected)


@over(
    "function, name",
    [
        (ax.silu, "beta"),
        (ax.leaky_relu, "negative_slope"),
        (ax.elu.derivative, "alpha"),
        (ax.softcap, "cap"),
        (ax.gumbel_softmax, "tau"),
    ],
)
def test_parameter_that_changes_at_each_call(function, name, made, by_numba):
    x = np.random.default_rng(11).normal(0, 3, (7, 9))
    given = {"noise": np.full(x.shape, 0.4)} if function is ax.gumbel_softmax else {}
    for _ in range(20):
        call = {**given, name: new_number()}
        assert_agree(*by_both(function, x, **call), x)
    assert len(made) == 1


def test_shapes_and_layouts_share_a_kernel(made, by_numba):
    beta = new_number()
    for shape in ((), (1,), (5, 4), (2, 3, 4)):
        ax.silu(np.ones(shape), beta=beta)
        ax.silu(np.ones((*shape, 2))[..., 0], beta=np.ones(shape))
    assert len(made) == 2  # of a number, and of an array


@pytest.mark.parametrize("name", ["fast", "", "NumPy", None, 1, b"numpy", ["numpy"], np.ones(2)])
def test_set_engine_bad_name_raises(name):
    ax.set_engine("numpy")
    got = _errors.describe_value(name)
    message = f"set_engine: name must be 'auto', 'numba' or 'numpy', got {got}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ax.set_engine(name)
    assert ax.get_engine() == "numpy"


@over("name", ["auto", "numba", "numpy"])
def test_set_engine(name):
    ax.set_engine(name)
    assert ax.get_engine() == name


@pytest.mark.parametrize(
    ("value", "name"), [("", "auto"), ("auto", "auto"), ("numba", "numba"), ("numpy", "numpy")]
)
def test_engine_of_the_environment(value, name, monkeypatch):
    monkeypatch.setattr(engine, "_setting", None)
    monkeypatch.setenv(engine.VARIABLE, value)
    assert ax.get_engine() == name


def test_bad_engine_of_the_environment_raises():
    source = """if True:
        import numpy as np
        import activations_xp as ax

        for call in (ax.get_engine, lambda: ax.gelu(np.ones(3)), lambda: ax.softmax(np.ones(9**6))):
            try:
                call()
            except ValueError as error:
                print(error)
        ax.set_engine("numpy")
        print(ax.gelu(np.zeros(1)))
    """
    message = "ACTIVATIONS_XP_ENGINE must be 'auto', 'numba' or 'numpy', got 'Numba'\n"
    assert run(source, ACTIVATIONS_XP_ENGINE="Numba") == 3 * message + "[0.]\n"


WITHOUT_NUMBA = """if True:
    import numpy as np
    import activations_xp as ax

    x = np.linspace(-3, 3, 10**5)
    for function in (ax.gelu, ax.softmax):
        y = function(x)
        y = function(x)
        ax.set_engine("numpy")
        assert (function(x) == y).all()
        ax.set_engine("auto")
    try:
        ax.set_engine("numba")
    except ImportError as error:
        print(type(error).__name__, error.name, error)
    print(ax.get_engine())
"""
MISSING = "import sys; sys.modules['numba'] = None\n"


def test_numba_is_not_installed():
    expected = "Numba is not installed (pip install 'activations_xp[numba]')"
    assert run(MISSING + WITHOUT_NUMBA) == f"ModuleNotFoundError numba {expected}\nauto\n"


def test_numba_of_the_environment_is_not_installed():
    source = "import numpy as np, activations_xp as ax; ax.gelu(np.ones(3))"
    program = start(MISSING + source, ACTIVATIONS_XP_ENGINE="numba")
    _, errors = program.communicate(timeout=120)
    assert program.returncode == 1
    assert "ModuleNotFoundError: Numba is not installed (pip install" in errors


def test_numba_is_told_to_compile_nothing():
    printed = run(WITHOUT_NUMBA, NUMBA_DISABLE_JIT="1")
    assert printed == "ModuleNotFoundError numba NUMBA_DISABLE_JIT is set\nauto\n"


def test_numba_is_too_old(monkeypatch):
    monkeypatch.setattr(numba, "__version__", "0.60.1")
    message = r"Numba must be 0\.61 or newer, got 0\.60\.1"
    with pytest.raises(ImportError, match=message):
        ax.set_engine("numba")
    ax.set_engine("auto")
    x = np.linspace(-3, 3, LARGE)
    slopes = [new_number() for _ in range(3)]
    with pytest.warns(RuntimeWarning, match=message) as record:
        results = [ax.silu(x, beta=slope) for slope in slopes]
    assert len(record) == 1
    for slope, y in zip(slopes, results, strict=True):
        assert_same_bits(y, by_numpy(ax.silu, x, beta=slope))


@over("version", ["0.61.0", "0.61.0rc1", "0.100.0dev0+3.gabc", "1.0"])
def test_numba_is_new_enough(version, monkeypatch):
    monkeypatch.setattr(numba, "__version__", version)
    ax.set_engine("numba")


def test_numba_is_imported_for_large_arrays_alone():
    source = f"""if True:
        import sys
        import numpy as np
        import activations_xp as ax

        shown = []
        for engine, size in (("auto", {LARGE - 1}), ("numpy", 10**6), ("auto", {LARGE})):
            ax.set_engine(engine)
            ax.gelu(np.ones(size)), ax.softmax(np.ones(size)), ax.relu(np.ones(size, int))
            shown.append("numba" in sys.modules)
        print(shown)
    """
    assert run(source) == "[False, False, True]\n"


# the layout of x and of out

LAYOUTS = {
    "Fortran": np.asfortranarray,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "strided": lambda x: x[:, ::2, 1:],
    "columns": lambda x: x[:, :, 3],
    "reversed": lambda x: x[::-1, :, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1, :, :1], x.shape),
    "number": lambda x: np.broadcast_to(x[0, 0, 0], x.shape),
    "overlapping": lambda x: as_strided(x.ravel(), (20, 30), (x.itemsize, x.itemsize)),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "empty": lambda x: x[:, :0],
    "no rows": lambda x: x[:, :, :0],
    "one": lambda x: x[:1, :1, :1],
}
LAID_OUT = [ax.gelu, ax.elish.value_and_derivative, ax.softmax, ax.log_softmax]


@over("dtype", DTYPES)
@over("layout", LAYOUTS)
@over("function", LAID_OUT)
def test_layout_of_x(function, layout, dtype, by_numba):
    x = np.random.default_rng(7).normal(0, 4, (9, 10, 11)).astype(dtype)
    x = LAYOUTS[layout](x)
    before = x.copy()
    plain = np.array(x, x.dtype.newbyteorder("="), order="C")
    expected = function(plain)
    for size in (100, 10**6):
        with blocks_of(size):
            got = function(x)
        for a, b in zip(leaves(got).values(), leaves(expected).values(), strict=True):
            assert a.dtype == x.dtype
            assert_same_bits(a.astype(b.dtype), b)
    np.testing.assert_array_equal(x, before)


@over("function", [ax.gelu, ax.softmax])
def test_memory_map(function, tmp_path, by_numba):
    x = np.random.default_rng(7).normal(0, 4, (300, 400)).astype("float32")
    x.tofile(tmp_path / "x")
    expected = function(x)
    there = np.memmap(tmp_path / "x", "float32", "r", shape=x.shape)
    y = function(there)
    assert type(y) is np.ndarray
    assert_same_bits(y, expected)
    out = np.memmap(tmp_path / "y", "float32", "w+", shape=x.shape)
    assert function(there, out=out) is out
    assert_same_bits(np.array(out), expected)


def test_numbers(by_numba):
    y = ax.gelu(np.array(0.75))
    assert (type(y), y.shape) == (np.ndarray, ())
    assert y == ax.gelu(np.array([0.75]))[0]
    assert ax.gelu(0.75) == ax.gelu(np.float64(0.75)) == y
    assert type(ax.gelu(0.75)) is np.float64


EMPTY = [(0,), (0, 3), (3, 0), (2, 0, 3)]


@over("shape", EMPTY)
@over("function", [f for f in FUNCTIONS if f.__name__ not in WITHOUT_MACHINE_CODE])
def test_no_elements(function, shape):
    x = np.empty(shape, "float32")
    results = []
    for name in ("numba", "numpy"):
        with using(name):
            try:
                results.append(function(x, **required_parameters(function)))
            except ValueError as error:
                results.append(str(error))
    if isinstance(results[1], str):
        assert results[0] == results[1]
    else:
        assert_same_bits(*results)


OUTS = {
    "dense": lambda x: np.empty(x.shape, x.dtype),
    "Fortran": lambda x: np.empty(x.shape, x.dtype, order="F"),
    "strided": lambda x: np.empty((x.shape[0], 2 * x.shape[1]), x.dtype)[:, ::2],
    "reversed": lambda x: np.empty(x.shape, x.dtype)[::-1],
    "unaligned": lambda x: np.frombuffer(bytearray(x.nbytes + 1), x.dtype, x.size, 1).reshape(
        x.shape
    ),
    "float32": lambda x: np.empty(x.shape, "float32"),
    "float64": lambda x: np.empty(x.shape, "float64"),
    "byte-swapped": lambda x: np.empty(x.shape, x.dtype.newbyteorder()),
    "x": lambda x: x,
    "x reversed": lambda x: x[::-1],
    "same memory": lambda x: x.view(),
}


@over("dtype", DTYPES)
@over("out", OUTS)
@over("function", [ax.gelu, ax.leaky_relu, ax.softmax, ax.silu.derivative])
def test_layout_of_out(function, out, dtype, by_numba):
    for shape in ((6, 11), (1300, 101)):
        x = np.random.default_rng(9).normal(0, 3, shape).astype(dtype)
        expected = function(x.copy())
        target = OUTS[out](x)
        with blocks_of(10_000):
            assert function(x, out=target) is target
        np.testing.assert_array_equal(target, expected.astype(target.dtype))


SHIFTS = {
    "by an element": lambda memory, n: (memory[1:-1], memory[2:]),
    "by an element back": lambda memory, n: (memory[1:-1], memory[:-2]),
    "by half": lambda memory, n: (memory[: n // 2], memory[n // 4 : n // 4 + n // 2]),
    "by three bytes": lambda memory, n: (memory[:-1], memory.view("u1")[3:-5].view(memory.dtype)),
    "by rows": lambda memory, n: tuple(
        as_strided(memory[i:], (n // 50 - 2, 50), (50 * 8, 8)) for i in (0, 50)
    ),
    "by columns": lambda memory, n: tuple(
        as_strided(memory[i:], (n // 50 - 2, 49), (50 * 8, 8)) for i in (1, 0)
    ),
}


@over("shift", SHIFTS)
@over("function", [ax.gelu, ax.softmax])
def test_out_that_overlaps_x(function, shift, by_numba):
    for n in (600, 10_000, 150_000):
        memory = np.random.default_rng(9).normal(0, 3, n)
        x, out = SHIFTS[shift](memory, n)
        assert np.may_share_memory(x, out)
        expected = function(x.copy())
        with blocks_of(20_000):
            assert function(x, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_array_parameter_that_overlaps_out(by_numba):
    memory = np.random.default_rng(9).normal(0, 3, MANY)
    x = np.random.default_rng(10).normal(0, 3, MANY - 1)
    expected = ax.silu(x, beta=memory[:-1].copy())
    ax.silu(x, beta=memory[:-1], out=memory[1:])
    assert_same_bits(memory[1:], expected)


def test_more_elements_than_32_bits_count(by_numba):
    """The rows of x are windows of a small array, which differ."""
    rows, length = 2**21 + 5, 2**10
    base = np.random.default_rng(12).normal(0, 2, rows + length).astype("float32")
    x = as_strided(base, (rows, length), (4, 4), writeable=False)
    assert x.size > 2**31
    y = ax.logsumexp(x, axis=-1)
    for i in (0, 1, 2**21 - 1, 2**21, rows - 1):
        assert y[i] == ax.logsumexp(np.array(x[i]))
    sums = np.cumsum(np.exp(base.astype("f8")))
    expected = np.log(sums[length - 1 : -1] - np.concatenate([[0.0], sums[: rows - 1]]))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


# the state of the processor and of NumPy

EXTREMES = np.array([-inf, -1e308, -745, -1e-310, -0.0, 5e-324, 710, 1e308, inf, nan])


@over("function", FUNCTIONS)
def test_errstate_has_no_effect_and_is_kept(function, by_numba):
    given = required_parameters(function)
    x = np.resize(EXTREMES, (2, 12))
    expected = function(x, **given)
    with np.errstate(all="raise"):
        state = np.geterr()
        assert_same_bits(function(x, **given), expected)
        assert np.geterr() == state


EXCEPTIONS = {"invalid": 1, "division by zero": 4, "overflow": 8, "underflow": 16, "inexact": 32}


@pytest.mark.skipif(not IS_X86 or os.name == "nt", reason="the flags are those of x86-64")
@over("function", [ax.gelu, ax.elish.derivative, ax.logit, ax.softmax, ax.logsumexp])
def test_status_of_float_operations_is_kept(function, by_numba):
    ax.set_num_threads(1)
    libm = ctypes.CDLL(None)
    every = sum(EXCEPTIONS.values())
    x = np.resize(EXTREMES, (2, 12))
    function(x)
    for before in (0, *EXCEPTIONS.values(), every):
        libm.feclearexcept(every)
        libm.feraiseexcept(before)
        # the processor may set this one where it raises overflow or underflow
        allowed = {before, before | EXCEPTIONS["inexact"]} if before & 24 else {before}
        function(x)
        after = libm.fetestexcept(every)
        libm.feclearexcept(every)
        assert after in allowed


# processes, threads and errors


def fork(call):
    """Start a child that ends well if a call is true, and not so after a minute."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            status = 0 if call() else 2
        finally:
            os._exit(status)
    return child


def ends_well(child):
    return os.waitpid(child, 0)[1] == 0


def same(a, b):
    return bool(np.array_equal(a, b))


FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@needs_fork
@FORKS
@over("is_made, has_files", [(False, False), (True, True)])
def test_forked_child(is_made, has_files, by_numba, monkeypatch):
    if not has_files:
        keep_in(NOWHERE, monkeypatch)
    forget_kernels()
    x = np.random.default_rng(13).normal(0, 3, 3 * MANY)
    beta, slope = new_number(), new_number()
    if is_made:
        ax.silu(x, beta=beta)
    expected = by_numpy(ax.leaky_relu, x, negative_slope=slope)

    def call():
        np.testing.assert_allclose(ax.silu(x, beta=beta), x / (1 + np.exp(-beta * x)), rtol=1e-13)
        return same(ax.leaky_relu(x, negative_slope=slope), expected)

    assert ends_well(fork(call))
    assert call()


@needs_fork
@FORKS
def test_fork_while_another_thread_compiles(by_numba, monkeypatch):
    keep_in(NOWHERE, monkeypatch)
    x = np.random.default_rng(13).normal(0, 3, 1000)
    is_done = threading.Event()
    compilations = []

    def compile_often():
        while not is_done.is_set():
            forget_kernels()
            compilations.append(ax.silu(x, beta=new_number()))

    def call():
        slope = new_number()
        return same(ax.leaky_relu(x, negative_slope=slope), np.where(x > 0, x, slope * x))

    thread = threading.Thread(target=compile_often)
    thread.start()
    try:
        for _ in range(6):
            assert ends_well(fork(call))
    finally:
        is_done.set()
        thread.join()
    assert len(compilations) > 2


@over("has_files", [False, True])
def test_first_call_of_many_threads(has_files, by_numba, monkeypatch):
    if not has_files:
        keep_in(NOWHERE, monkeypatch)
    x = np.random.default_rng(14).normal(0, 3, (MANY // 100, 100))
    numbers = [new_number() for _ in range(4)]
    forget_kernels()
    start_together = threading.Barrier(16)

    def work(i):
        start_together.wait()
        return ax.silu(x, beta=numbers[i % 4]), ax.softmax(x), ax.elu(x, alpha=numbers[0])

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(work, range(16)))
    for i, result in enumerate(results):
        assert_same_bits(result, results[i % 4])
    assert_agree(*by_both(lambda: ax.silu(x, beta=numbers[0])), x)
    assert_same_bits(ax.silu(x, beta=numbers[0]), results[0][0])


@over("error", [MemoryError, KeyboardInterrupt])
@over("function", [ax.gelu, ax.softmax])
def test_error_in_a_block(function, error, by_numba, monkeypatch):
    x = np.random.default_rng(15).normal(0, 3, (100, MANY // 25))[:, ::2]
    expected = function(x)
    calls = itertools.count()

    def fail(array):
        if next(calls) == 5:
            raise error
        return np.ascontiguousarray(array)

    with monkeypatch.context() as patch, blocks_of(10_000):
        patch.setattr(blocks, "np", generic.extend_namespace(np, ascontiguousarray=fail))
        with pytest.raises(error):
            function(x)
    assert next(calls) > 5
    assert_same_bits(function(x), expected)


def test_interrupt_from_the_keyboard(by_numba):
    x = np.random.default_rng(15).normal(0, 3, 3 * MANY)
    expected = ax.gelu(x)
    timer = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])

    def call_for_ever():
        timer.start()
        while True:
            ax.gelu(x)

    # a process in the background of a shell ignores the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call_for_ever()
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()
    assert_same_bits(ax.gelu(x), expected)


def other_threads():
    """Return the threads of all teams, with that of now."""
    team.address()
    return {t for t in threading.enumerate() if t.name.startswith("activations_xp_")}


@over("number", [1, 2, 3, 7])
@over("function", [ax.gelu, ax.softmax, ax.logsumexp])
def test_team(function, number, by_numba):
    """Threads share the work of one call, while others call and do theirs alone."""
    xs = [np.random.default_rng(i).normal(0, 3, (64, 4099)) for i in range(5)]
    expected = [function(x) for x in xs]
    ax.set_num_threads(number)
    assert len(other_threads()) >= number - 1
    assert (team.address() != 0) == (number > 1)
    with ThreadPoolExecutor(5) as pool:
        for _ in range(20):
            for got, y in zip(pool.map(function, xs), expected, strict=True):
                assert_same_bits(got, y)
    time.sleep(0.01)  # now all sleep
    assert_same_bits(function(xs[0]), expected[0])


@over("name", ["softmax", "log_softmax", "logsumexp"])
@over("size", [300, 65536, 10**6])
def test_small_elements_beside_a_large_one(name, size, by_numba):
    """No sum loses what is less than half a unit in its last place."""
    small = 0.9 * 2.0**-53
    x = np.full((1, size), np.log(small))
    x[0, 0] = 0.0
    total = 1 + (size - 1) * small
    exact = {"softmax": 1 / total, "log_softmax": -np.log(total), "logsumexp": np.log(total)}
    got = np.ravel(ax.get(name)(x, axis=-1))[0]
    assert abs(got - exact[name]) <= 4 * np.finfo(x.dtype).eps


@over("dtype", DTYPES)
@over("name", ["gelu", "prelu", "softmax", "softmax.vjp", "glu", "glu.vjp"])
def test_rows_with_gaps(name, dtype, by_numba):
    """Matrices whose rows are contiguous are computed where they are."""
    base = np.random.default_rng(5).normal(0, 3, (3, 50, 4 * 97)).astype(dtype)
    function = functools.reduce(getattr, name.split("."), ax)

    def rows(*shape):
        return (base if len(shape) == 3 else base[1])[tuple(slice(n) for n in shape)]

    def call(x):
        if name.endswith("vjp"):
            return function(rows(*x.shape[:-1], x.shape[-1] // (1 + ("glu" in name))), x)
        return function(x, rows(*x.shape)) if name == "prelu" else function(x)

    for x in (base[..., 5:201], base[:2, :, 190:], base[0, :, ::-1][:, :128][:, ::-1]):
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(blocks, "map_blocks")
            patch.delattr(blocks, "map_rows")
            got = call(x)
        assert_same_bits(got, call(x.copy()))


@pytest.mark.skipif(sys.platform != "linux", reason="processors are those of Linux")
def test_threads_keep_off_the_processor_of_the_caller(by_numba):
    allowed = os.sched_getaffinity(0)
    ax.set_num_threads(3)
    x = np.ones(2**20, np.float32)
    for _ in range(20):
        ax.gelu(x)
        time.sleep(0.01)  # so that they fall asleep
    threads = [t for t in threading.enumerate() if t.name.startswith("activations_xp_")]
    assert len(threads) >= 2
    for thread in threads:
        # all but one processor, unless there is no other
        assert len(allowed - os.sched_getaffinity(thread.native_id)) == (len(allowed) > 1)
    assert os.sched_getaffinity(0) == allowed


def test_threads_of_a_team_that_is_over_end(by_numba):
    ax.set_num_threads(1)
    before = other_threads()
    ax.set_num_threads(4)
    team_of_4 = other_threads() - before
    assert len(team_of_4) == 3
    ax.set_num_threads(2)
    assert len(other_threads() - team_of_4 - before) == 1
    for thread in team_of_4:
        thread.join(10)
        assert not thread.is_alive()


def failing(function, *errors):
    """Return a function that raises these errors in its first calls."""
    pending = list(errors)

    def call(*arguments, **given):
        if pending:
            raise pending.pop(0)
        return function(*arguments, **given)

    return call


@over("errors", [[MemoryError(), MemoryError()], [KeyboardInterrupt()]])
def test_error_of_the_compiler(errors, by_numba, monkeypatch):
    forget_kernels()
    x, beta = np.linspace(-3, 3, 50), new_number()
    monkeypatch.setattr(jit.numba, "cfunc", failing(numba.cfunc, *errors))
    with pytest.raises(type(errors[0])):
        ax.silu(x, beta=beta)
    assert_agree(*by_both(ax.silu, x, beta=beta), x)


# files


@pytest.fixture
def folder(tmp_path, monkeypatch, by_numba):
    """A new folder for machine code, and no kernels in memory."""
    path = tmp_path / "parents" / "kernels"
    silu_of_x()  # by a function that runs all kernels of such arrays
    keep_in(path, monkeypatch)
    forget_kernels()
    return path


def files_in(folder):
    """Return the files, and when each was written."""
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


X = np.linspace(-3, 3, 50)


def silu_of_x():
    """Compute by a kernel that has to be made."""
    forget_kernels()
    beta = new_number()
    got, expected = by_both(ax.silu, X, beta=beta)
    assert_agree(got, expected, X)


SHOW = """if True:
    import numpy as np
    import activations_xp as ax
    from activations_xp.backends.numpy import jit

    ax.set_engine("numba")
    y = ax.silu(np.linspace(-3, 3, 50), beta={beta})
    kernel, enter = jit._alive
    print(y.tobytes().hex(), kernel.cache_hits, len(enter.stats.cache_hits))
"""


def test_second_process_compiles_nothing(folder):
    compiled._entry.cache_clear()
    beta = new_number()
    y = ax.silu(X, beta=beta)
    assert not was_read()
    files = files_in(folder)
    assert run(SHOW.format(beta=beta)).split() == [y.tobytes().hex(), "1", "1"]
    assert files_in(folder) == files


def test_files_of_a_kernel(folder):
    silu_of_x()
    assert not was_read()
    names = sorted(path.suffix for path in files_in(folder))
    assert names == [".nbc", ".nbi", ".py", ".sum"]
    files = files_in(folder)
    silu_of_x()
    assert was_read()
    assert files_in(folder) == files


def test_time_of_the_source_does_not_matter(folder):
    """It may be a copy, or another process may have written it again."""
    silu_of_x()
    (path,) = folder.glob("*.py")
    os.utime(path)
    silu_of_x()
    assert was_read()


def test_another_version_has_files_of_its_own(folder, monkeypatch):
    silu_of_x()
    files = files_in(folder)
    monkeypatch.setattr(jit, "_fingerprint", lambda: "another version")
    silu_of_x()
    assert not was_read()
    assert files.items() < files_in(folder).items()


@needs_modes
@over("mask", [0, 0o022, 0o077])
def test_folder_is_made_for_the_owner_alone(mask, folder):
    before = os.umask(mask)
    try:
        silu_of_x()
    finally:
        os.umask(before)
    for path in (folder, folder / "__pycache__"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


CORRUPTIONS = {
    "cut": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\0",
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "missing": lambda content: None,
}


@over("corruption", CORRUPTIONS)
@over("suffix", [".py", ".sum", ".nbi", ".nbc"])
def test_corrupt_file_is_replaced(suffix, corruption, folder):
    silu_of_x()
    before = {p.name: p.read_bytes() for p in files_in(folder)}
    (path,) = folder.rglob(f"*{suffix}")
    content = CORRUPTIONS[corruption](path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    silu_of_x()
    silu_of_x()
    assert was_read()
    assert {p.name for p in files_in(folder)} == set(before)


def test_all_files_are_corrupt(folder):
    silu_of_x()
    for path in files_in(folder):
        path.write_bytes(b"noise")
    silu_of_x()
    silu_of_x()
    assert was_read()


def test_kernels_of_different_functions_do_not_meet(folder):
    """They have the same structure, or differ in a constant alone."""
    for _ in range(2):
        forget_kernels()
        for function in (ax.relu6, ax.hard_tanh, ax.hard_swish, ax.hard_sigmoid):
            for limit in (1.0, 2.0):
                given = {"max_val": limit} if function is ax.hard_tanh else {}
                x = X * (1 + new_number())
                assert_agree(*by_both(function, x, **given), x)


@needs_modes
@over("mode", [0o777, 0o770, 0o702])
@over("part", [".", "__pycache__"])
def test_folder_that_others_may_write_to(part, mode, folder):
    silu_of_x()
    (folder / part).chmod(mode)
    kernel_cache.folder.cache_clear()
    files = files_in(folder)
    for path in files:
        path.write_bytes(b"noise")
    files = files_in(folder)
    with pytest.warns(RuntimeWarning, match="is not a folder of the user alone") as record:
        silu_of_x()
    assert len(record) == 1
    assert str((folder / part).resolve()) in str(record[0].message)
    silu_of_x()  # a second warning would be an error
    assert not was_read()
    assert files_in(folder) == files


@needs_modes
def test_folder_of_somebody_else(folder, monkeypatch):
    silu_of_x()
    files = files_in(folder)
    kernel_cache.folder.cache_clear()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.warns(RuntimeWarning, match="is not a folder of the user alone"):
        silu_of_x()
    assert not was_read()
    assert files_in(folder) == files


@needs_modes
def test_folder_that_is_a_link(folder, tmp_path):
    """Who may write to the link's folder might have made it."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning):
        silu_of_x()
    assert not list((tmp_path / "elsewhere").iterdir())


@over("place", ["file", "under a file", "too long", "no text"])
def test_folder_that_cannot_be_made(place, tmp_path, folder, monkeypatch):
    (tmp_path / "file").touch()
    paths = {
        "file": tmp_path / "file",
        "under a file": tmp_path / "file" / "kernels",
        "too long": tmp_path / ("x" * 1000),
        "no text": tmp_path / "\udcff" / ("y" * 300),
    }
    keep_in(paths[place], monkeypatch)
    silu_of_x()
    assert not was_read()
    assert sorted(p.name for p in tmp_path.iterdir()) in (["file"], ["file", "\udcff"])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no such folder")
def test_folder_in_which_nobody_may_write(folder, monkeypatch):
    for path in ("/proc", "/proc/kernels"):
        keep_in(path, monkeypatch)
        silu_of_x()
        assert not was_read()


def test_folder_is_removed_meanwhile(folder):
    silu_of_x()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    silu_of_x()


def test_no_home(monkeypatch, by_numba):
    monkeypatch.delenv(kernel_cache.VARIABLE)
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", failing(None, *[RuntimeError("no home")] * 99))
    kernel_cache.folder.cache_clear()
    silu_of_x()


@over("place", ["XDG_CACHE_HOME", "HOME"])
@pytest.mark.skipif(sys.platform != "linux", reason="the variables are those of Linux")
def test_default_folder(place, monkeypatch, tmp_path, by_numba):
    silu_of_x()
    monkeypatch.delenv(kernel_cache.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(place, str(tmp_path))
    kernel_cache.folder.cache_clear()
    silu_of_x()
    base = tmp_path if place == "XDG_CACHE_HOME" else tmp_path / ".cache"
    assert len(list((base / "activations_xp").glob("*.py"))) == 1


@needs_fork
@FORKS
@over("limit", [0, 100, 3000])
def test_disk_is_full(limit, folder):
    """A limit on the size of files is met by all that write them."""
    resource = pytest.importorskip("resource")

    def call():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        silu_of_x()
        return not was_read()

    assert ends_well(fork(call))
    assert [path.suffix for path in files_in(folder) if path.suffix == ".part"] == []
    silu_of_x()
    silu_of_x()
    assert was_read()


@over("call", ["write_bytes", "read_bytes", "replace", "unlink"])
@over("number", in_sweep([errno.EACCES, errno.ENOSPC, errno.EIO, errno.ESTALE]))
def test_error_of_the_disk(number, call, folder, monkeypatch):
    for is_new in (True, False):
        with monkeypatch.context() as patch:
            error = OSError(number, os.strerror(number))
            patch.setattr(Path, call, failing(getattr(Path, call), *[error] * 99))
            silu_of_x()
        if not is_new:
            for path in files_in(folder):
                path.write_bytes(b"noise")
    silu_of_x()
    silu_of_x()
    assert was_read()


@needs_fork
@FORKS
def test_processes_that_write_at_once(folder):
    beta = new_number()
    expected = by_numpy(ax.silu, X, beta=beta)
    start_at = time.monotonic() + 0.1

    def call():
        time.sleep(max(0, start_at - time.monotonic()))
        assert_agree(ax.silu(X, beta=beta), expected, X)
        return True

    for child in [fork(call) for _ in range(4)]:
        assert ends_well(child)
    silu_of_x()  # which may compile, if the files are of two processes
    silu_of_x()
    assert was_read()
    assert {path.suffix for path in files_in(folder)} == {".py", ".sum", ".nbi", ".nbc"}


# memory


MEMORY = {
    "gelu": lambda x, out=None: ax.gelu(x, out=out),
    "softmax": lambda x, out=None: ax.softmax(x, out=out),
    "softmax along columns": lambda x, out=None: ax.softmax(x, axis=0, out=out),
    "log_softmax of columns": lambda x, out=None: ax.log_softmax(x.T, axis=-1, out=out),
    "silu with an array": lambda x, out=None: ax.silu(x, beta=np.float32([1.5]), out=out),
}


@over("function", MEMORY)
def test_peak_memory_is_that_of_the_result(function, by_numba):
    x = np.ones((4000, 2000), np.float32)
    call = MEMORY[function]
    y = call(x)
    for out in (None, y):
        result = x.nbytes if out is None else 0
        assert peak_memory(lambda out=out: call(x, out=out)) < result + 8 * 2**20


@over("name", ["softmax", "silu"])
def test_peak_memory_of_gradients(name, by_numba):
    x = np.ones((4000, 2000), np.float32)
    function = ax.get(name)
    function.vjp(x, x)
    assert peak_memory(lambda: function.vjp(x, x)) < x.nbytes + 8 * 2**20
