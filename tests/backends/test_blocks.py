"""Large NumPy arrays: as small ones, on any number of threads, without large temporaries."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from oracle import ARRAY_PARAMETERS, FUNCTIONS, over, peak_memory, required_parameters

import activations_xp as ax
from activations_xp.backends.numpy import blocks, threads

pytestmark = pytest.mark.once

WHOLE = [f for f in FUNCTIONS if f.definition.axis in (None, "kept")]
CASES = [(f, dict(v.parameters)) for f in WHOLE for v in f.definition.variants]
PARTS = ("portable", "derivative", "value_and_derivative", "parameter_derivatives", "vjp")


@pytest.fixture(autouse=True)
def several_threads(monkeypatch):
    monkeypatch.setattr(threads, "_num_threads", 3)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCKWISE_FROM", 50)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 400)


def points(definition: Definition, dtype: str, shape: tuple[int, ...]):
    low, high = definition.properties.defined
    x = np.random.default_rng(5).normal(0, 8, shape).astype(dtype)
    x.flat[:10] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0, 90.0]
    return x if (low, high) == (-np.inf, np.inf) else np.clip(x, max(low, -9), min(high, 9))


def results(value):
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]


def same(got, expected):
    for a, b in zip(results(got), results(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
        known = ~np.isnan(b)
        np.testing.assert_array_equal(np.signbit(a)[known], np.signbit(b)[known])


@over("function, parameters", CASES)
def test_blocks_and_threads_change_no_bit(function, parameters, monkeypatch):
    for dtype in ("float32", "float64"):
        x = points(function.definition, dtype, (7, 61))
        g = np.random.default_rng(6).normal(size=x.shape).astype(dtype)
        for name in PARTS:
            part = getattr(function, name, None)
            if part is None:
                continue
            arrays = (x, g) if name == "vjp" else (x,)
            whole = part(*arrays, **parameters)
            with monkeypatch.context() as context:
                context.setattr(blocks, "BLOCKWISE_FROM", 50)
                context.setattr(blocks, "BLOCK_BYTES", 400)
                same(part(*arrays, **parameters), whole)
                context.setattr(threads, "_num_threads", 1)
                same(part(*arrays, **parameters), whole)


@over("function, parameters", CASES)
def test_zeros_keep_their_signs_at_any_size(function, parameters):
    x = np.zeros(5000, np.float32)
    x[::2] = -0.0
    if function.definition.axis is None:
        few = function.portable(x[:4], **parameters)
        for _ in range(2):  # at the second call there is a record
            same(function.portable(x, **parameters)[:4], few)


@over(("function", "name"), [s for s in ARRAY_PARAMETERS if s[0] in WHOLE])
def test_parameters_of_the_size_of_x(function, name, small_blocks, monkeypatch):
    x = points(function.definition, "float64", (7, 61))
    parameters = {**function.definition.defaults, **required_parameters(function)}
    if parameters[name] is None:
        parameters[name] = 0.75
    parameters[name] = np.full(x.shape, float(parameters[name]))
    for part in ("portable", "derivative", "parameter_derivatives"):
        if hasattr(function, part):
            got = getattr(function, part)(x, **parameters)
            with monkeypatch.context() as context:
                context.setattr(blocks, "BLOCKWISE_FROM", x.size)
                same(got, getattr(function, part)(x, **parameters))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "strided": lambda x: x[:, ::2, 1:],
    "reversed": lambda x: x[::-1, :, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1, :, :1], x.shape),
    "swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "integers": lambda x: x.astype(np.int32),
    "of 16 bits": lambda x: x.astype(np.float16),
    "empty": lambda x: x[:, :0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", [ax.gelu, ax.relu, ax.softmax], ids=lambda f: f.__name__)
def test_any_layout(function, layout, small_blocks):
    x = LAYOUTS[layout](np.random.default_rng(7).normal(0, 4, (9, 10, 11)))
    plain = np.array(x, x.dtype.newbyteorder("="), order="C")
    small = np.stack([function(part) for part in plain])
    got = function(x)
    if function is ax.softmax:  # whose sum depends on how the numbers lie in memory
        np.testing.assert_allclose(got, small, rtol=8 * np.finfo(got.dtype).eps)
    else:
        same(got, small.astype(function(x[..., :1]).dtype))


OUTS = {
    "dense": lambda x: np.empty(x.shape, x.dtype),
    "Fortran": lambda x: np.empty(x.shape, x.dtype, order="F"),
    "strided": lambda x: np.empty((x.shape[0], 2 * x.shape[1]), x.dtype)[:, ::2],
    "reversed": lambda x: np.empty(x.shape, x.dtype)[::-1],
    "narrow": lambda x: np.empty(x.shape, np.float32),
    "x itself": lambda x: x,
    "x turned round": lambda x: x[::-1],
    "beside x": lambda x: np.lib.stride_tricks.as_strided(x[:, 1:], x[:, :-1].shape, x.strides),
}


@over("size", [4, 100])
@over("out", OUTS)
@over("function", [ax.gelu, ax.leaky_relu, ax.tanh, ax.relu, ax.softmax, ax.silu.derivative])
def test_any_out(function, out, size, small_blocks):
    for dtype in ("float64", "float16"):
        x = np.random.default_rng(9).normal(0, 3, (size, 12)).astype(dtype)
        target = OUTS[out](x)
        x = x[:, :-1] if out == "beside x" else x
        expected = function(x.copy())
        assert function(x, out=target) is target
        np.testing.assert_array_equal(target, expected.astype(target.dtype))


def test_a_bad_out_is_refused():
    x = np.linspace(-3, 3, 8)
    shut = np.empty(8)
    shut.flags.writeable = False
    for out, kind, message in (
        ([0.0] * 8, TypeError, "silu: out needs an array of x's library, got "),
        (np.empty(7), ValueError, r"silu: out needs an array of shape \(8,\), got \(7,\)"),
        (np.empty((1, 8)), ValueError, "silu: out needs an array of shape"),
        (np.empty(8, int), TypeError, "silu: out needs an array of a floating dtype, got"),
        (shut, ValueError, "silu: out needs an array that can be written to: "),
    ):
        with pytest.raises(kind, match=message):
            ax.silu(x, out=out)
    with pytest.raises(TypeError, match="logsumexp: out needs a single result, got 2"):
        ax.logsumexp(x, return_sign=True, out=np.empty(()))
    out = np.empty(())
    assert ax.silu(0.5, out=out) is out
    assert out == ax.silu(0.5)


@pytest.mark.parametrize("order", ["C", "F", (2, 0, 1)])
def test_the_order_in_memory_is_kept(order, small_blocks):
    x = np.ones((5, 6, 7))
    x = x.transpose(order) if isinstance(order, tuple) else np.asarray(x, order=order)
    for function in (ax.gelu, ax.softmax):
        assert function(x).strides == x.strides


@pytest.mark.parametrize("function", [ax.gelu, ax.layer_norm], ids=lambda f: f.__name__)
def test_parameters_of_the_size_of_parts(function, small_blocks):
    x = np.random.default_rng(8).normal(size=(30, 30))
    if function is ax.layer_norm:
        weight = np.arange(30.0)
        expected = np.stack([function(row, weight=weight) for row in x])
        same(function(x, weight=weight), expected)
        same(function(x.T, axis=0, weight=weight), expected.T)
    mask = x > 0
    expected = np.stack([ax.softmax(r, where=m) for r, m in zip(x, mask, strict=True)])
    same(ax.softmax(x, where=mask), expected)


def test_no_memory_but_the_result():
    ax.set_num_threads(2)
    whole = np.ones((4000, 2000), np.float32)
    for x in (whole, whole.T, whole[:, ::2], whole[::2, 1:], whole.astype(np.float16)):
        for function in (ax.gelu, ax.mish, ax.relu, ax.softmax):
            y = function(x)
            for out in (None, y):
                result = x.nbytes if out is None else 0
                assert peak_memory(functools.partial(function, x, out=out)) < result + 8 * 2**20


def test_from_many_threads_at_once():
    x = np.linspace(-9, 9, blocks.BLOCK_BYTES)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: ax.silu(x), range(32)):
            same(y, ax.silu(x))


def test_an_error_in_a_thread_is_the_callers():
    def fail(part):
        raise MemoryError

    with pytest.raises(MemoryError):
        threads.parallel_for(range(9), 3, fail)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_in_a_forked_child():
    x = np.linspace(-9, 9, blocks.BLOCK_BYTES)
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


def test_at_the_end_of_the_interpreter():
    source = """if True:
        import atexit, numpy as np, activations_xp as ax
        atexit.register(lambda: print(ax.relu(np.ones(10**5)).sum()))
        ax.set_num_threads(2)"""
    assert run(source) == "100000.0\n"


def test_the_number_of_threads():
    ax.set_num_threads(5)
    assert ax.get_num_threads() == 5
    show = "import activations_xp as ax; print(ax.get_num_threads())"
    assert run(show, ACTIVATIONS_XP_NUM_THREADS="3") == "3\n"
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= int(run(show, ACTIVATIONS_XP_NUM_THREADS="")) <= allowed
    assert "must be a positive integer, got 'all'" in run(show, ACTIVATIONS_XP_NUM_THREADS="all")


@pytest.mark.parametrize(("quota", "number"), [("max 100000", 8), ("250000 100000", 2), ("1 9", 1)])
def test_the_share_of_a_control_group(quota, number, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(threads.Path, "read_text", lambda path: quota)
    assert threads._available_processors() == number


@pytest.mark.parametrize(
    ("number", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_a_wrong_number_of_threads(number, error):
    with pytest.raises(error, match="set_num_threads: number must be"):
        ax.set_num_threads(number)
