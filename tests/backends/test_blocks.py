"""Large NumPy arrays: traced, block by block, on any number of threads, with no large temporaries.

The truth for an array in blocks is the same call on parts that are too small for blocks.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from oracle import (
    ARRAY_PARAMETERS,
    FUNCTIONS,
    accurate,
    cases_of,
    domain_of,
    has_parameter_derivatives,
    noting,
    output_axis,
    over,
    parameter_derivatives,
    peak_memory,
    required_parameters,
    vjp,
)

import activations_xp as ax
from activations_xp.backends.numpy import blocks
from activations_xp.backends.numpy.threads import parallel_for

SMALL_BLOCKS = {"BLOCKWISE_FROM": 50, "BLOCK_BYTES": 400}
"""Values for the constants of `blocks`: the elements that are split, and the bytes of a block."""

pytestmark = pytest.mark.once

BLOCKWISE = [f for f in FUNCTIONS if output_axis(f) in (None, "kept")]
CASES = [(f, dict(case.parameters)) for f in BLOCKWISE for case in cases_of(f)]
ELEMENTWISE = [(f, given) for f, given in CASES if output_axis(f) is None]
FOR_ALL_THREADS = 2**21
"""A number of elements that each thread gets some of."""


@pytest.fixture(autouse=True)
def three_threads():
    before = ax.get_num_threads()
    ax.set_num_threads(3)
    yield
    ax.set_num_threads(before)


@contextlib.contextmanager
def small_blocks():
    """Split even small arrays."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_BLOCKS.items():
            patch.setattr(blocks, name, value)
        yield


def points(function, dtype="float64", shape=(7, 61)):
    low, high = domain_of(function.definition)
    x = np.random.default_rng(5).normal(0, 8, shape).astype(dtype)
    x.flat[:10] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0, 90.0]
    return x if (low, high) == (-np.inf, np.inf) else np.clip(x, max(low, -9), min(high, 9))


def cotangent(x):
    return np.random.default_rng(6).normal(size=x.shape).astype(x.dtype)


PARTS = {
    "accurate": lambda f, x, given: accurate(f)(x, **given),
    "derivative": lambda f, x, given: f.derivative(x, **given),
    "value_and_derivative": lambda f, x, given: f.value_and_derivative(x, **given),
    "parameter_derivatives": lambda f, x, given: parameter_derivatives(f, x, **given),
    "vjp": lambda f, x, given: vjp(f, cotangent(x), x, **given),
}


def parts_of(function):
    """Return the names of what a function has of these."""
    has_derivative = function.definition.derivative is not None
    exists = (
        True,
        has_derivative,
        has_derivative,
        has_parameter_derivatives(function),
        function.definition.vjp is not None,
    )
    return [part for part, is_there in zip(PARTS, exists, strict=True) if is_there]


CALLS = [(f, part, given) for f, given in CASES for part in parts_of(f)]


def arrays_of(value):
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]


def assert_same_bits(got, expected):
    for a, b in zip(arrays_of(got), arrays_of(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
        known = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a)[known], np.signbit(b)[known])


# blocks and threads


@over("function, part, given", CALLS)
def test_blocks_and_threads_change_no_bit(function, part, given):
    call = PARTS[part]
    for dtype in ("float32", "float64"):
        x = points(function, dtype)
        expected = call(function, x, given)
        for number in (3, 1):
            ax.set_num_threads(number)
            with small_blocks(), noting(f"{dtype}, {number} threads"):
                assert_same_bits(call(function, x, given), expected)


@over("function, given", ELEMENTWISE)
def test_signed_zeros_at_any_size(function, given):
    x = np.zeros(5000, np.float32)
    x[::2] = -0.0
    few = accurate(function)(x[:4], **given)
    for _ in range(2):  # the second call finds the trace
        assert_same_bits(accurate(function)(x, **given)[:4], few)


@over(
    "function, name, part",
    [
        (f, name, part)
        for f, name in ARRAY_PARAMETERS
        if f in BLOCKWISE
        for part in parts_of(f)
        if part != "vjp"  # it sums them over x
    ],
)
def test_array_parameters_of_the_shape_of_x(function, name, part):
    x = points(function)
    given = {**function.definition.defaults, **required_parameters(function)}
    given[name] = np.full(x.shape, 0.75 if given[name] is None else float(given[name]))
    expected = PARTS[part](function, x, given)
    with small_blocks():
        assert_same_bits(PARTS[part](function, x, given), expected)


def test_weight_of_layer_norm_in_blocks():
    x = np.random.default_rng(8).normal(size=(30, 30))
    weight = np.arange(30.0)
    expected = np.stack([ax.layer_norm(row, weight=weight) for row in x])
    with small_blocks():
        assert_same_bits(ax.layer_norm(x, weight=weight), expected)
        assert_same_bits(ax.layer_norm(x.T, axis=0, weight=weight), expected.T)


def test_mask_of_softmax_in_blocks():
    x = np.random.default_rng(8).normal(size=(30, 30))
    mask = x > 0
    expected = np.stack([ax.softmax(r, where=m) for r, m in zip(x, mask, strict=True)])
    with small_blocks():
        assert_same_bits(ax.softmax(x, where=mask), expected)


# the layout of x and of out

LAYOUTS = {
    "Fortran": np.asfortranarray,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "strided": lambda x: x[:, ::2, 1:],
    "reversed": lambda x: x[::-1, :, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1, :, :1], x.shape),
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "integers": lambda x: x.astype(np.int32),
    "float16": lambda x: x.astype(np.float16),
    "empty": lambda x: x[:, :0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@over("function", [ax.gelu, ax.relu, ax.softmax])
def test_noncontiguous_x(function, layout):
    x = LAYOUTS[layout](np.random.default_rng(7).normal(0, 4, (9, 10, 11)))
    plain = np.array(x, x.dtype.newbyteorder("="), order="C")
    expected = np.empty(x.shape, function(x[..., :1]).dtype)
    for index in np.ndindex(x.shape[:-1]):
        expected[index] = function(plain[index])
    with small_blocks():
        got = function(x)
    if function is ax.softmax:  # its sums depend on the order in memory
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(got, expected, rtol=8 * np.finfo(got.dtype).eps)
    else:
        assert_same_bits(got, expected)


@over("function", [ax.gelu, ax.softmax])
@pytest.mark.parametrize("order", ["C", "F", (2, 0, 1)])
def test_memory_order_is_kept(order, function):
    x = np.ones((5, 6, 7))
    x = x.transpose(order) if isinstance(order, tuple) else np.asarray(x, order=order)
    with small_blocks():
        assert function(x).strides == x.strides


OUTS = {
    "dense": lambda x: np.empty(x.shape, x.dtype),
    "Fortran": lambda x: np.empty(x.shape, x.dtype, order="F"),
    "strided": lambda x: np.empty((x.shape[0], 2 * x.shape[1]), x.dtype)[:, ::2],
    "reversed": lambda x: np.empty(x.shape, x.dtype)[::-1],
    "float32": lambda x: np.empty(x.shape, np.float32),
    "x": lambda x: x,
    "x reversed": lambda x: x[::-1],
    "overlapping x": lambda x: as_strided(x[:, 1:], x[:, :-1].shape, x.strides),
}


@over("dtype", ["float64", "float16"])
@over("size", [4, 100])
@over("out", OUTS)
@over("function", [ax.gelu, ax.leaky_relu, ax.tanh, ax.relu, ax.softmax, ax.silu.derivative])
def test_out_of_any_layout(function, out, size, dtype):
    x = np.random.default_rng(9).normal(0, 3, (size, 12)).astype(dtype)
    target = OUTS[out](x)
    x = x[:, :-1] if out == "overlapping x" else x
    expected = np.stack([function(row.copy()) for row in x])
    with small_blocks():
        assert function(x, out=target) is target
    np.testing.assert_array_equal(target, expected.astype(target.dtype))


def read_only(shape):
    array = np.empty(shape)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([0.0] * 8, TypeError, "an array of x's library, got "),
        (np.empty(7), ValueError, r"an array of shape \(8,\), got \(7,\)"),
        (np.empty((1, 8)), ValueError, "an array of shape"),
        (np.empty(8, int), TypeError, "an array of a floating dtype, got"),
        (read_only(8), ValueError, "an array that can be written to: "),
    ],
    ids=["list", "size", "ndim", "dtype", "read-only"],
)
def test_bad_out_raises(out, error, message):
    with pytest.raises(error, match=f"silu: out needs {message}"):
        ax.silu(np.linspace(-3, 3, 8), out=out)


def test_out_for_two_results_raises():
    with pytest.raises(TypeError, match="logsumexp: out needs a single result, got 2"):
        ax.logsumexp(np.ones(8), return_sign=True, out=np.empty(()))


def test_out_for_a_number():
    out = np.empty(())
    assert ax.silu(0.5, out=out) is out
    assert out == ax.silu(0.5)


WIDE_LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.T,
    "strided columns": lambda x: x[:, ::2],
    "strided rows": lambda x: x[::2, 1:],
    "float16": lambda x: x.astype(np.float16),
}


@over("layout", WIDE_LAYOUTS)
@over("function", [ax.gelu, ax.mish, ax.relu, ax.softmax])
def test_peak_memory_is_that_of_the_result(function, layout):
    ax.set_num_threads(2)
    x = WIDE_LAYOUTS[layout](np.ones((4000, 2000), np.float32))
    y = function(x)
    for out in (None, y):
        result = x.nbytes if out is None else 0
        assert peak_memory(functools.partial(function, x, out=out)) < result + 8 * 2**20


# callers of many threads and processes


def test_concurrent_callers():
    x = np.linspace(-9, 9, FOR_ALL_THREADS)
    expected = ax.silu(x)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: ax.silu(x), range(32)):
            assert_same_bits(y, expected)


def test_error_in_a_thread_reaches_the_caller():
    def fail(part):
        raise MemoryError

    with pytest.raises(MemoryError):
        parallel_for(range(9), 3, fail)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child():
    x = np.linspace(-9, 9, FOR_ALL_THREADS)
    expected = ax.silu(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(ax.silu(x), expected) else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0


def run(source: str, **environment: str) -> str:
    outcome = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return outcome.stdout + outcome.stderr


def test_call_at_interpreter_exit():
    source = """if True:
        import atexit, numpy as np, activations_xp as ax
        atexit.register(lambda: print(ax.relu(np.ones(10**5)).sum()))
        ax.set_num_threads(2)"""
    assert run(source) == "100000.0\n"


# the number of threads

SHOW = "print(ax.get_num_threads())"


def shown(number_of_threads: str, code: str = SHOW) -> str:
    source = f"import activations_xp as ax; {code}"
    return run(source, ACTIVATIONS_XP_NUM_THREADS=number_of_threads)


def test_set_num_threads():
    ax.set_num_threads(5)
    assert ax.get_num_threads() == 5


@pytest.mark.parametrize(
    ("number", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_set_num_threads_bad_number_raises(number, error):
    with pytest.raises(error, match="set_num_threads: number must be"):
        ax.set_num_threads(number)


def test_num_threads_of_the_environment():
    assert shown("3") == "3\n"
    assert "must be a positive integer, got 'all'" in shown("all")


def test_num_threads_within_the_affinity():
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= int(shown("")) <= allowed


@pytest.mark.parametrize(("quota", "number"), [("max 100000", 8), ("250000 100000", 2), ("1 9", 1)])
def test_num_threads_within_the_cgroup_quota(quota, number):
    code = "; ".join(
        [
            "import io, os, activations_xp.backends.numpy.threads",
            "os.sched_getaffinity = lambda _: range(8)",
            f"activations_xp.backends.numpy.threads.open = lambda path: io.StringIO({quota!r})",
            SHOW,
        ]
    )
    assert shown("", code) == f"{number}\n"
