"""Test the command line with real files; every refusal is one line."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import re
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import ml_dtypes
import mpmath
import numpy as np
import pytest

from activations_xp import cli, gelu, get, names
from activations_xp import prelu as prelu_function
from activations_xp._catalog import families
from activations_xp.cli import check, show
from activations_xp.cli.apply import BLOCK_SIZE
from activations_xp.plotting.terminal import graph

LIBRARIES = [name for name in ("numpy", "torch", "jax") if importlib.util.find_spec(name)]


@pytest.fixture(autouse=True)
def jax_as_before():
    """Restore JAX's 64-bit mode, which ``--backend jax`` enables for the whole process."""
    jax = sys.modules.get("jax")
    before = jax.config.jax_enable_x64 if jax else False
    yield
    if jax := sys.modules.get("jax"):
        jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("activations_xp.cli.apply.BLOCK_SIZE", 7)


def hide(monkeypatch, *packages):
    loaded = {name for name in sys.modules if name.partition(".")[0] in packages}
    for name in loaded | set(packages):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def without_rich(monkeypatch):
    hide(monkeypatch, "rich")


@pytest.fixture
def without_extras(monkeypatch):
    hide(monkeypatch, "rich", "mpmath")


def replace_on_numpy(monkeypatch, command, name, compute):
    """Make a command call `compute` for arrays of NumPy in place of a function."""

    @functools.wraps(get(name))
    def function(x, **parameters):
        return compute(x) if isinstance(x, np.ndarray) else get(name)(x, **parameters)

    function.definition = get(name).definition
    lookup = {name: function}
    monkeypatch.setattr(
        f"activations_xp.cli.{command}.lookup", lambda n: (lookup.get(n, get(n)), {})
    )


def at_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def apply(folder: Path, x, name, *options, expect=0):
    """Return the array that `apply` writes for x."""
    np.save(folder / "in.npy", x)
    files = str(folder / "in.npy"), str(folder / "out.npy")
    assert cli.main(["apply", name, *files, *map(str, options)]) == expect
    return np.load(folder / "out.npy")


def sample(shape=(3, 5, 4), dtype=np.float32, order="C"):
    x = np.random.default_rng(1).normal(scale=3, size=shape)
    return np.asarray(x, dtype=dtype, order=order)


def refused(capsys, *argv, prefix="activations_xp"):
    """Return the one line on stderr of a command that exits with status 2."""
    try:
        status = cli.main([str(a) for a in argv])
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith(prefix)
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


def same(got, expected):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


def close(got, expected):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# apply: values


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_relu(tmp_path, library, dtype, order, small_blocks):
    x = sample(dtype=dtype, order=order)
    y = apply(tmp_path, x, "relu", "--backend", library)
    same(y, np.maximum(x, 0).astype(dtype))
    assert y.flags.f_contiguous == (order == "F")


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (50,), (3, 11), (2, 3, 4, 5), (20, 1, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_any_shape_in_blocks(tmp_path, shape, order, small_blocks):
    x = sample(shape, np.float64, order)
    expected = np.asarray([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.flat]).reshape(shape)
    np.testing.assert_allclose(apply(tmp_path, x, "gelu"), expected, rtol=1e-13)


def test_apply_float64(tmp_path, library):
    x = sample(dtype=np.float64)
    y = apply(tmp_path, x, "sigmoid", "--backend", library)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-14)


def test_apply_equals_call_in_memory(tmp_path):
    x = sample((300, 1001))
    assert x.size > BLOCK_SIZE
    same(apply(tmp_path, x, "gelu"), gelu(x))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4, 2)])
@pytest.mark.parametrize("name", ["silu", "softmax"])
def test_apply_empty_array(tmp_path, library, shape, name):
    x = np.empty(shape, np.float32)
    same(apply(tmp_path, x, name, "--backend", library), x)


def test_apply_zero_dimensional_array(tmp_path, library):
    same(apply(tmp_path, np.float32(-2), "relu", "--backend", library), np.asarray(np.float32(0)))


def test_apply_preserves_integers(tmp_path, library, small_blocks):
    x = np.arange(-9, 9, dtype=np.int32).reshape(3, 6)
    same(apply(tmp_path, x, "relu", "--backend", library), np.maximum(x, 0))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, None, (0, 2), (1, 2), (0, 1)])
def test_apply_softmax_along_each_axis(tmp_path, library, order, axis, small_blocks):
    x = sample(order=order)
    y = apply(tmp_path, x, "softmax", "--backend", library, "--param", f"axis={axis}")
    close(y, softmax(x, axis))
    assert y.flags.f_contiguous == (order == "F")


def test_apply_softmax_mask_from_file(tmp_path, library, small_blocks):
    x = sample()
    mask = np.asarray([True, False, True, True])
    np.save(tmp_path / "mask.npy", mask)
    mask_file = f"where=@{tmp_path / 'mask.npy'}"
    y = apply(tmp_path, x, "softmax", "--backend", library, "--param", mask_file)
    assert (y[..., 1] == 0).all()
    close(y[..., mask], softmax(x[..., mask], -1))


@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_maxout_resizes_axis(tmp_path, library, order, small_blocks):
    x = sample(order=order)
    y = apply(tmp_path, x, "maxout", "--backend", library, "--param", "num_units=2")
    same(y, np.maximum(x[..., :2], x[..., 2:]))
    assert y.flags.f_contiguous == (order == "F")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_apply_prelu_channel_weights(tmp_path, library, order, axis, small_blocks):
    x = sample(order=order)
    weight = np.linspace(0.125, 2, x.shape[axis]).astype(np.float32)
    np.save(tmp_path / "w.npy", weight)
    options = "--param", f"weight=@{tmp_path / 'w.npy'}", "--param", f"axis={axis}"
    y = apply(tmp_path, x, "prelu", "--backend", library, *options)
    column = weight.reshape([-1 if i == axis % 3 else 1 for i in range(3)])
    same(y, np.where(x > 0, x, column * x))


@pytest.mark.parametrize("shape", [(), (4,), (5, 1), (3, 1, 4), (3, 5, 4)])
def test_apply_array_parameter_broadcasts(tmp_path, library, shape, small_blocks):
    x, negative_slope = sample(), np.abs(sample(shape))
    np.save(tmp_path / "w.npy", negative_slope)
    options = "--param", f"negative_slope=@{tmp_path / 'w.npy'}"
    y = apply(tmp_path, x, "leaky_relu", "--backend", library, *options)
    same(y, np.where(x > 0, x, negative_slope * x))


def test_apply_prelu_one_dimension(tmp_path, small_blocks):
    x, weight = sample((30,)), np.abs(sample((30,)))
    np.save(tmp_path / "w.npy", weight)
    options = "--param", f"weight=@{tmp_path / 'w.npy'}", "--param", "axis=0"
    same(apply(tmp_path, x, "prelu", *options), prelu_function(x, weight, axis=0))


def test_apply_parameters_and_aliases(tmp_path):
    x = sample()
    cubic = x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    close(apply(tmp_path, x, "gelu", "--param", "approximate=tanh"), cubic.astype(np.float32))
    close(apply(tmp_path, x, "gelu_new", "--force"), cubic.astype(np.float32))
    y = apply(tmp_path, x, "relu", "--param", "max_value=1.5", "--force")
    same(y, np.clip(x, 0, np.float32(1.5)))
    y = apply(tmp_path, x, "relu", "--param", "max_value=None", "--force")
    same(y, np.maximum(x, 0))


@pytest.mark.libraries("torch")
def test_apply_accurate(tmp_path, backend):
    x = np.asarray([-8.0], np.float32)  # where PyTorch's gelu is 0
    assert apply(tmp_path, x, "gelu", "--backend", "torch") == 0
    files = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
    argv = ["--precision", "accurate", "apply", "gelu", *files, "--backend", "torch", "--force"]
    assert cli.main(argv) == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), -4.97677e-15, rtol=1e-5)


# apply: files


@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_peak_memory(tmp_path, order):
    x = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.float32, (4096, 4096), order == "F")
    x[::512] = -1.0
    x.flush()
    del x
    np.save(tmp_path / "w.npy", np.linspace(0, 1, 4096, dtype=np.float32))
    prelu_function(np.ones(BLOCK_SIZE, np.float32), np.ones(BLOCK_SIZE, np.float32))  # with Numba
    argv = ["apply", "prelu", str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    tracemalloc.start()
    status = cli.main([*argv, "--param", f"weight=@{tmp_path / 'w.npy'}"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert status == 0
    assert (tmp_path / "in.npy").stat().st_size > 64e6
    assert peak < 24e6
    y = np.load(tmp_path / "out.npy", mmap_mode="r")
    np.testing.assert_array_equal(y[512], -np.linspace(0, 1, 4096, dtype=np.float32))
    assert not y[1].any()
    assert y.flags.f_contiguous == (order == "F")


def test_apply_existing_output_needs_force(tmp_path, capsys):
    x = sample()
    np.save(tmp_path / "in.npy", x)
    (tmp_path / "out.npy").write_text("precious")
    argv = "apply", "relu", tmp_path / "in.npy", tmp_path / "out.npy"
    assert "exists" in refused(capsys, *argv)
    assert (tmp_path / "out.npy").read_text() == "precious"
    same(apply(tmp_path, x, "relu", "--force"), np.maximum(x, 0))


def test_apply_in_place_needs_force(tmp_path, capsys, small_blocks):
    x = sample()
    file = tmp_path / "in.npy"
    np.save(file, x)
    assert "exists" in refused(capsys, "apply", "relu", file, file)
    same(np.load(file), x)
    assert cli.main(["apply", "relu", str(file), str(file), "--force"]) == 0
    same(np.load(file), np.maximum(x, 0))


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (OSError("disk full"), 2)])
@pytest.mark.parametrize("before", [None, b"precious"])
def test_apply_failure_leaves_no_file(
    tmp_path, monkeypatch, capsys, small_blocks, error, status, before
):
    calls = []

    def failing(x):
        calls.append(x)
        if len(calls) > 3:
            raise error
        return np.tanh(x)

    replace_on_numpy(monkeypatch, "apply", "tanh", failing)
    np.save(tmp_path / "in.npy", sample())
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "out.npy"
    if before:
        out.write_bytes(before)
    assert cli.main(["apply", "tanh", str(tmp_path / "in.npy"), str(out), "--force"]) == status
    assert len(calls) == 4
    assert [f.read_bytes() for f in out.parent.iterdir()] == [before] * bool(before)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_apply_ended_by_signal_leaves_no_file(tmp_path, monkeypatch, small_blocks, name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    calls = []

    def ended(x):
        calls.append(x)
        if len(calls) > 3:
            assert list((tmp_path / "out").iterdir())
            os.kill(os.getpid(), number)
        return np.tanh(x)

    replace_on_numpy(monkeypatch, "apply", "tanh", ended)
    np.save(tmp_path / "in.npy", sample())
    (tmp_path / "out").mkdir()
    argv = ["apply", "tanh", str(tmp_path / "in.npy"), str(tmp_path / "out" / "out.npy")]
    assert cli.main(argv) == 128 + number
    assert len(calls) == 4
    assert list((tmp_path / "out").iterdir()) == []
    assert signal.getsignal(number) is before


def test_apply_keeps_ignored_signals(tmp_path, monkeypatch):
    """A command that nohup starts goes on."""

    def hung_up(x):
        os.kill(os.getpid(), signal.SIGHUP)
        return np.tanh(x)

    replace_on_numpy(monkeypatch, "apply", "tanh", hung_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        close(apply(tmp_path, sample(), "tanh"), np.tanh(sample()))
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("dtype", ["int64", "uint8", ">i4", "float32"])
def test_apply_to_labels(tmp_path, library, dtype):
    labels = np.asarray([[0, 2, 1], [2, 2, 0]], dtype)
    options = "--backend", library, "--param", "num_classes=3"
    y = apply(tmp_path, labels, "one_hot", *options)
    np.testing.assert_array_equal(y, np.eye(3)[labels.astype(int)])
    assert y.dtype.kind == "f"
    y = apply(tmp_path, labels, "multi_hot", *options, "--force")
    np.testing.assert_array_equal(y, [[1, 1, 1], [1, 0, 1]])
    assert y.dtype == labels.dtype or labels.dtype.kind != "f"


# apply: refusals


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("silly", [], ["silly", "silu"]),
        ("scaled_dot_product_attention", [], ["scaled_dot_product_attention"]),
        ("relu", ["--param", "slope=1"], ["slope", "negative_slope", "max_value", "threshold"]),
        ("tanh", ["--param", "beta=1"], ["beta", "none"]),
        ("relu", ["--param", "threshold"], ["KEY=VALUE", "threshold"]),
        ("relu", ["--param", "threshold=[1]"], ["threshold", "[1]"]),
        ("relu", ["--param", "threshold=high"], ["threshold", "'high'"]),
        ("relu", ["--param", "threshold=1\n2"], ["threshold"]),
        ("relu", ["--param", "max_value=-1.0"], ["max_value >= 0", "-1.0"]),
        ("gelu", ["--param", "approximate=cubic"], ["approximate", "'cubic'"]),
        ("prelu", [], ["prelu", "weight"]),
        ("prelu", ["--param", "weight=1", "--param", "axis=3"], ["axis", "3"]),
        ("prelu", ["--param", "weight=@{}/five.npy"], ["weight", "(5,)", "(3, 5, 4)"]),
        ("prelu", ["--param", "weight=@{}/five.npy", "--param", "axis=0"], ["weight", "(5,)"]),
        ("prelu", ["--param", "weight=@{}/none.npy"], ["none.npy", "No such file"]),
        ("softmax", ["--param", "axis=x"], ["axis", "'x'"]),
        ("softmax", ["--param", "where=@{}/five.npy"], ["where", "boolean"]),
        ("maxout", ["--param", "num_units=3"], ["num_units", "3"]),
        ("relu", ["--backend", "none"], ["--backend", "none"]),
        ("relu", ["--colour"], ["--colour"]),
    ],
)
def test_apply_bad_name_or_parameter(tmp_path, capsys, name, options, words):
    np.save(tmp_path / "in.npy", sample())
    np.save(tmp_path / "five.npy", np.ones(5, np.float32))
    options = [option.format(tmp_path) for option in options]
    line = refused(capsys, "apply", name, tmp_path / "in.npy", tmp_path / "out.npy", *options)
    assert all(word in line for word in words), line
    assert sorted(f.name for f in tmp_path.iterdir()) == ["five.npy", "in.npy"]


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.arange(3), ["int64", "float64"]),
        (np.asarray([True]), ["bool", "float64"]),
        (np.ones(3, np.complex64), ["complex64"]),
        (np.asarray(["a"]), ["<U1"]),
        (np.asarray(["2026-01-01"], "datetime64[D]"), ["datetime64"]),
        (np.zeros(3, [("a", "f4")]), ["[('a', '<f4')]"]),
        (np.zeros(3, "V2"), ["bfloat16"]),
        (np.asarray([None]), ["in.npy", "object"]),
    ],
)
def test_apply_dtype_not_preserved(tmp_path, capsys, x, words):
    np.save(tmp_path / "in.npy", x)
    line = refused(capsys, "apply", "silu", tmp_path / "in.npy", tmp_path / "out.npy")
    assert all(word in line for word in words), line
    assert [f.name for f in tmp_path.iterdir()] == ["in.npy"]


def test_apply_bfloat16(tmp_path, capsys):
    bfloat16 = ml_dtypes.bfloat16
    np.save(tmp_path / "in.npy", np.ones(3, bfloat16))
    assert "bfloat16" in refused(capsys, "apply", "silu", tmp_path / "in.npy", tmp_path / "o.npy")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00v\x00{'descr'", None])
def test_apply_not_an_npy_file(tmp_path, capsys, content):
    if content is None:
        np.savez(tmp_path / "in.npz", sample())
        (tmp_path / "in.npz").rename(tmp_path / "in.npy")
    else:
        (tmp_path / "in.npy").write_bytes(content)
    line = refused(capsys, "apply", "silu", tmp_path / "in.npy", tmp_path / "out.npy")
    assert "in.npy" in line


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.npz", {"x": np.ones(3)}, ["an .npz archive", "numpy.load('in.npz')", "of x"]),
        ("in.npy", {"x": np.ones(3), "b": np.ones(2)}, ["an .npz archive", "of x, b"]),
        ("in.csv", b"1.5,2\n3,4\n", ["text", "numpy.loadtxt('in.csv', delimiter=',')"]),
        ("in.txt", ("x" * 999 + "\u00e9").encode(), ["text"]),
        ("in.npy", b"", ["empty, not a .npy file"]),
        ("in.pkl", b"\x80\x04\x95.", ["not a .npy file, which numpy.save writes"]),
        ("in.zip", b"PK\x05\x06" + bytes(18), ["not a .npy file, which numpy.save writes"]),
    ],
)
def test_apply_to_file_of_other_format(tmp_path, capsys, name, content, words):
    """The refusal says what the file is, and how to make a .npy file of it."""
    path = tmp_path / name
    if isinstance(content, dict):
        with path.open("wb") as file:
            np.savez(file, **content)
    else:
        path.write_bytes(content)
    np.save(tmp_path / "x.npy", sample())
    for argv in (
        ("relu", path, tmp_path / "out.npy"),
        ("prelu", tmp_path / "x.npy", tmp_path / "out.npy", "--param", f"weight=@{path}"),
    ):
        line = refused(capsys, "apply", *argv)
        assert all(word in line for word in [name, *words]), line
        assert "magic" not in line


def test_apply_to_no_file(tmp_path, capsys):
    np.save(tmp_path / "in.npy", sample())
    os.mkfifo(tmp_path / "pipe")
    for bad in (tmp_path, tmp_path / "pipe"):
        for argv in ((bad, tmp_path / "out.npy"), (tmp_path / "in.npy", bad, "--force")):
            line = refused(capsys, "apply", "relu", *argv)
            assert f"{bad} is " in line
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("folder", ["missing", "missing/deep", "in.npy"])
def test_apply_missing_folder(tmp_path, capsys, folder):
    """It is named, and not the temporary file in it."""
    np.save(tmp_path / "in.npy", sample())
    line = refused(capsys, "apply", "relu", tmp_path / "in.npy", tmp_path / folder / "out.npy")
    assert f"cannot write to the folder {tmp_path / folder}: " in line
    assert ".part" not in line
    assert [f.name for f in tmp_path.iterdir()] == ["in.npy"]


def test_apply_truncated_file(tmp_path, capsys):
    np.save(tmp_path / "in.npy", sample())
    content = (tmp_path / "in.npy").read_bytes()
    (tmp_path / "in.npy").write_bytes(content[:-40])
    line = refused(capsys, "apply", "silu", tmp_path / "in.npy", tmp_path / "out.npy")
    assert "in.npy" in line


def test_apply_missing_path(tmp_path, capsys):
    np.save(tmp_path / "in.npy", sample())
    line = refused(capsys, "apply", "silu", tmp_path / "not.npy", tmp_path / "out.npy")
    assert "not.npy" in line
    line = refused(capsys, "apply", "silu", tmp_path / "in.npy", tmp_path / "no" / "out.npy")
    assert "No such file" in line
    assert "directory" in refused(capsys, "apply", "silu", tmp_path / "in.npy", tmp_path, "--force")


def test_apply_missing_library(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "in.npy", sample())
    for library in ("torch", "jax", "jax.numpy"):
        monkeypatch.setitem(sys.modules, library, None)
    for library in ("torch", "jax"):
        argv = "apply", "silu", tmp_path / "in.npy", tmp_path / "out.npy", "--backend", library
        assert f"{library} is not installed" in refused(capsys, *argv)


def test_unknown_command(capsys):
    assert "silu" in refused(capsys, "silu")


# apply: progress


@pytest.mark.parametrize("extras", [True, False])
def test_apply_progress_at_terminal(tmp_path, capsys, monkeypatch, request, small_blocks, extras):
    if not extras:
        request.getfixturevalue("without_extras")
    at_a_terminal(monkeypatch)
    clock = iter(range(1000))
    monkeypatch.setattr("activations_xp.cli.output.time.monotonic", lambda: next(clock) / 3)
    apply(tmp_path, sample(), "relu")
    err = capsys.readouterr().err
    assert "applying" in err
    has_rich = extras and importlib.util.find_spec("rich") is not None
    assert ("\rapplying 60/60" in err) != has_rich


def test_apply_no_progress_for_short_run(tmp_path, capsys, monkeypatch, small_blocks):
    at_a_terminal(monkeypatch)
    apply(tmp_path, sample(), "relu")
    assert capsys.readouterr() == ("", "")


# check


@pytest.mark.parametrize(
    ("precision", "few"),
    [
        pytest.param("fast", False, marks=pytest.mark.sweep_with("strict", "torch", "jax")),
        ("fast", True),
        ("accurate", True),
    ],
)
def test_check_lists_functions_and_libraries(capsys, monkeypatch, precision, few):
    if few:
        monkeypatch.setattr(check, "names", lambda: ["relu", "maxout", "softsign", "prelu"])
    assert cli.main(["check", "--precision", precision]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    activations = [name for name in check.names() if get(name).definition.is_activation]
    for word in [*activations, *LIBRARIES, f"mpmath {mpmath.__version__}"]:
        assert word in out
    assert f"numpy {np.__version__}: largest " in out
    assert all(out.count(f"\n{name} ") + out.count(f"\n {name} ") == 1 for name in activations)
    assert f"\n{len(activations)} functions in " in out


@pytest.mark.parametrize("factor", [1.00001, math.nan, math.inf])
def test_check_fails_for_inaccurate_library(capsys, monkeypatch, factor):
    monkeypatch.setattr(check, "names", lambda: ["relu", "tanh"])
    replace_on_numpy(monkeypatch, "check", "tanh", lambda x: np.tanh(x) * factor)
    with np.errstate(invalid="ignore"):
        assert cli.main([]) == 1
    out, err = capsys.readouterr()
    assert "!" in next(line for line in out.splitlines() if "tanh" in line)
    assert err.count("\n") == 1
    assert "tanh: numpy is off by " in err
    assert "relu" not in err
    assert all(f"numpy and {other} differ by" in err for other in LIBRARIES if other != "numpy")


def test_check_fails_for_disagreeing_libraries(capsys, monkeypatch):
    def off_by(ulps):
        return lambda x: x * (1 + ulps * np.float32(2**-23))

    monkeypatch.setattr(check, "names", lambda: ["identity"])
    makers = {"left": off_by(-6), "right": off_by(6)}
    monkeypatch.setattr(check, "MAKERS", {name: (name, "") for name in makers})
    monkeypatch.setattr(check, "array_maker", makers.get)
    for name in makers:
        monkeypatch.setitem(sys.modules, name, np)
    monkeypatch.setattr(check, "ACCEPTED", 10.0)
    assert cli.main([]) == 1
    out, err = capsys.readouterr()
    assert "!" not in out.partition("Largest")[0]
    assert "identity: left and right differ by " in err
    monkeypatch.setattr(check, "ACCEPTED", 20.0)
    assert cli.main([]) == 0


def test_check_continues_after_exception(capsys, monkeypatch):
    def broken(x):
        raise KeyError(x)

    monkeypatch.setattr(check, "names", lambda: ["relu", "tanh"])
    replace_on_numpy(monkeypatch, "check", "tanh", broken)
    assert cli.main([]) == 1
    out, err = capsys.readouterr()
    assert "KeyError !" in out
    assert "relu" in out
    assert err == "activations_xp: tanh: numpy raised KeyError\n"


def test_check_without_mpmath(capsys, without_extras):
    assert 'pip install "activations_xp[cli]"' in refused(capsys)
    assert 'pip install "activations_xp[cli]"' in refused(capsys, "check")


def test_check_without_rich(capsys, monkeypatch, without_rich):
    monkeypatch.setattr(check, "names", lambda: ["relu", "silu", "softmax", "tanh"])
    assert cli.main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    header = next(line for line in out.splitlines() if line.startswith("function"))
    row = next(line for line in out.splitlines() if line.startswith("silu"))
    assert "exp" not in row  # the formula is shown by show
    assert float(row[header.index("numpy") :].split()[0]) < 4


def test_check_progress_at_terminal(capsys, monkeypatch, without_rich):
    at_a_terminal(monkeypatch)
    monkeypatch.setattr(check, "names", lambda: ["relu", "tanh"])
    assert cli.main([]) == 0
    err = capsys.readouterr().err
    assert "\rchecking 2/2" in err
    assert err.endswith("\r\033[K")


@pytest.mark.parametrize("command", ["show gelu", "list", "list --markdown"])
def test_reader_that_has_seen_enough(command):
    """As of a Unix tool, the status is that of SIGPIPE, and nothing is said."""
    argv = [sys.executable, "-W", "error", "-m", "activations_xp", *command.split()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize("full", [path for path in ["/dev/full"] if os.path.exists(path)])
@pytest.mark.parametrize("command", ["show gelu", "list"])
def test_full_disk(full, command):
    argv = [sys.executable, "-m", "activations_xp", *command.split()]
    with open(full, "w") as file:
        done = subprocess.run(argv, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "activations_xp: [Errno 28] No space left on device\n"


def test_module_runs_as_command(tmp_path):
    np.save(tmp_path / "in.npy", np.asarray([-1.0, 2.0]))
    argv = [sys.executable, "-W", "error", "-m", "activations_xp", "apply", "relu", "in.npy"]
    done = subprocess.run(
        [*argv, "out.npy"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), [0.0, 2.0])


def test_check_worst_first(capsys, monkeypatch):
    monkeypatch.setattr(check, "names", lambda: ["identity", "relu", "tanh"])
    replace_on_numpy(monkeypatch, "check", "tanh", lambda x: np.tanh(x) * 1.0001)
    for argv in (["--worst-first"], ["check", "--worst-first"]):
        assert cli.main(argv) == 1
        out = capsys.readouterr().out
        assert out.index("tanh") < out.index("identity") < out.index("relu")
        assert re.search(r"^numpy .*: largest \d+ ! of tanh, 1 over$", out, re.MULTILINE)
    assert cli.main([]) == 1
    out = capsys.readouterr().out
    assert out.index("identity") < out.index("relu") < out.index("tanh")


# list


@pytest.mark.parametrize("extras", [True, False])
@pytest.mark.parametrize("width", [80, 120])
def test_list_has_every_name(capsys, monkeypatch, request, extras, width):
    monkeypatch.setenv("COLUMNS", str(width))
    if not extras:
        request.getfixturevalue("without_extras")
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names(aliases=True))
    assert max(map(len, out.splitlines())) <= width
    assert "[0, 1]" in out
    assert "\nSigmoids: functions with an S-shaped graph between two bounds.\n" in out
    assert out.endswith(f"\n{len(names())} of {len(names())} functions\n")


def listed(capsys, *argv):
    assert cli.main(["list", *argv]) == 0
    out = capsys.readouterr().out
    return {name for name in names() if re.search(rf"^  {name} ", out, re.MULTILINE)}


def test_list_filters(capsys):
    rectifiers = listed(capsys, "--family", "rectifiers")
    assert {"relu", "relu6", "identity"} <= rectifiers
    assert not {"gelu", "softmax"} & rectifiers
    assert "relu6" in listed(capsys, "--in", "torch")
    assert "relu_squared" not in listed(capsys, "--in", "jax")
    found = listed(capsys, "--smooth", "--monotonic", "--bounded", "--zero-centred")
    assert found == {"erf", "isru", "softcap", "tanh"}
    assert listed(capsys, "--learned", "--family", "waves") == {"sine", "snake"}
    assert listed(capsys, "--odd", "--even") == set()


def test_list_unknown_values(capsys):
    line = refused(capsys, "list", "--family", "trees")
    assert "'trees'; the families: adaptive, attention, " in line
    assert "simplex" in line
    line = refused(capsys, "list", "--in", "fortran")
    assert "'fortran'; the libraries: " in line
    assert "torch" in line
    assert "--wobbly" in refused(capsys, "list", "--wobbly")


def test_list_markdown(capsys):
    assert cli.main(["list", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page == show.markdown_page()
    tables = re.findall(r"^## .+\n\n[A-Zx].+\.\n\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert len(tables) == page.count("\n## ") == len(families())
    rows = []
    for table in tables:
        header, rule, *found = table.splitlines()
        assert header == "| function | formula | range | other libraries | aliases |"
        assert rule == "| --- | --- | --- | --- | --- |"
        of_table = [row.split("`")[1] for row in found]
        assert of_table == sorted(of_table)
        rows += found
    assert sorted(row.split("`")[1] for row in rows) == names()
    assert all(row.replace(r"\|", "").count("|") == 6 for row in rows)
    (row,) = [row for row in rows if row.startswith("| `softsign` |")]
    assert row.startswith("| `softsign` | `x / (1 + abs(x))` | [-1, 1] | torch `softsign`, jax ")
    assert row.endswith(" | `soft_sign` |")


def test_list_markdown_escapes_bar():
    assert show._code("a | b") == r"`a \| b`"


# show


@pytest.fixture
def without_plotext(monkeypatch):
    hide(monkeypatch, "plotext")


def test_show_signature_and_documentation(capsys, without_plotext):
    assert cli.main(["show", "gelu"]) == 0
    out = capsys.readouterr().out
    opening = "gelu(x, /, approximate='none', *, out=None)\n\nGaussian error linear unit"
    assert out.startswith(opening)
    assert "formula: ``x * erfc(-x / sqrt(2)) / 2``" in out
    assert gelu.__doc__ in out
    assert "\nRelatives\n---------\n" in out
    assert "* silu with beta=1.702 is quick_gelu\n" in out


def test_show_alias(capsys, without_plotext):
    assert cli.main(["show", "gelu_new"]) == 0
    assert capsys.readouterr().out.startswith(
        "gelu_new is gelu with approximate='tanh'.\n\ngelu(x,"
    )
    assert get("gelu_new").keywords == {"approximate": "tanh"}
    assert cli.main(["show", "swish"]) == 0
    opening = "swish is silu.\n\nsilu(x, /, beta=1.0, *, out=None)\n"
    assert capsys.readouterr().out.startswith(opening)


def test_show_unknown_name(capsys):
    assert "gelu" in refused(capsys, "show", "geluu")


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", names())
def test_graph(name, width):
    lines = graph(name, width=width).splitlines()
    assert max(map(len, lines), default=0) <= (
        width if "_attention" not in name else max(width, 90)
    )
    is_drawn = name != "adaptive_predict"  # a plane, which characters show badly
    assert (name in "".join(lines)) == is_drawn
    assert graph(name, width=width, ascii=True).isascii() or not is_drawn


@pytest.mark.parametrize(
    ("name", "rows"), [("step", {-1: 0.0, 1: 1.0}), ("relu", {-6: 0.0, 6: 6.0, 3: 3.0})]
)
def test_graph_is_of_the_function(name, rows):
    """The stars lie in the row that the labels of the axis say."""
    lines = graph(name, width=80, ascii=True).splitlines()
    ticks = {
        i: float(line.split("+")[0])
        for i, line in enumerate(lines)
        if re.match(r" *-?[\d.]+\+", line)
    }
    (top, high), *_, (bottom, low) = ticks.items()
    left = lines[0].index("+") + 1
    size = len(lines[0].strip()) - 2
    for x, y in rows.items():
        row = round(bottom + (y - low) / (high - low) * (top - bottom))
        column = left + min(size - 1, int((x + 6) / 12 * size))
        near = [line[column - 1 : column + 2] for line in lines[row - 1 : row + 2]]
        assert "*" in "".join(near)


def test_show_draws_in_the_width_of_the_terminal(capsys, monkeypatch):
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        assert cli.main(["show", "tanh"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines[0]) == width
        assert "tanh(x, /, *, out=None)" in lines


@pytest.mark.parametrize("name", ["relu", "adaptive_log_prob"])
def test_show_where_output_is_ascii(name):
    argv = [sys.executable, "-W", "error", "-m", "activations_xp", "show", name]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"+-----" in done.stdout
    assert done.stdout.isascii()


# plot


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_plot_writes_file(tmp_path, capsys, suffix, start):
    file = tmp_path / f"picture.{suffix}"
    assert cli.main(["plot", "relu", "tanh", "-o", str(file)]) == 0
    assert capsys.readouterr() == ("", "")
    assert file.read_bytes().startswith(start)
    assert [f.name for f in tmp_path.iterdir()] == [file.name]


def test_plot_options(tmp_path):
    file = tmp_path / "picture.svg"
    options = ["--param", "beta=0.5,1,2", "--no-derivative", "--range", "-4", "1e1"]
    assert cli.main(["plot", "silu", "relu", *options, "-o", str(file)]) == 0
    svg = file.read_text()
    assert all(f">{text}<" in svg for text in ["silu, beta=0.5", "silu, beta=2", "relu", "10"])
    assert ">derivative<" not in svg
    both = ["--param", "lower=None,-1", "--param", "upper=inf"]
    assert cli.main(["plot", "soft_shrink", *both, "-o", str(file), "--force"]) == 0
    assert ">soft_shrink, lower=-1, upper=inf<" in file.read_text()
    words = ["--param", "approximate=none,tanh"]
    assert cli.main(["plot", "gelu", *words, "-o", str(file), "--force"]) == 0
    assert ">gelu, approximate=tanh<" in file.read_text()


def test_plot_accuracy(tmp_path):
    file = tmp_path / "picture.svg"
    assert cli.main(["plot", "relu", "--accuracy", "-o", str(file)]) == 0
    assert ">relu, accurate<" in file.read_text()


def test_plot_existing_file_needs_force(tmp_path, capsys):
    file = tmp_path / "picture.svg"
    file.write_text("precious")
    assert "exists; --force replaces it" in refused(capsys, "plot", "relu", "-o", file)
    assert file.read_text() == "precious"
    assert cli.main(["plot", "relu", "-o", str(file), "--force"]) == 0
    assert file.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["silly"], ["silly", "silu"]),
        (["relu", "--range", "1", "1"], ["range must be two finite numbers"]),
        (["relu", "--range", "nan", "1"], ["range must be two finite numbers", "nan"]),
        (["relu", "--range", "2", "-2"], ["the smaller one first"]),
        (["relu", "--range", "a", "1"], ["--range", "'a'"]),
        (["logit", "--range", "5", "6"], ["outside the domain of logit"]),
        (["relu", "--param", "beta=1"], ["relu has no parameter 'beta'", "negative_slope"]),
        (["relu", "--param", "threshold"], ["KEY=VALUE", "'threshold'"]),
        (["elu", "--param", "alpha=high"], ["elu: alpha", "'high'"]),
        (["elu", "--param", "alpha="], ["elu: alpha"]),
        (["relu", "softmax"], ["relu, softmax cannot share a picture"]),
        (["softmax", "--accuracy"], ["accuracy of softmax"]),
    ],
)
def test_plot_bad_argument(tmp_path, capsys, argv, words):
    line = refused(capsys, "plot", *argv, "-o", tmp_path / "picture.svg")
    assert all(word in line for word in words), line
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["picture", "picture.bmpp", "picture.txt"])
def test_plot_unknown_suffix(tmp_path, capsys, name):
    line = refused(capsys, "plot", "relu", "-o", tmp_path / name)
    assert "must end in one of .svg, .png, .pdf" in line


def test_plot_unwritable_file(tmp_path, capsys):
    missing = tmp_path / "missing"
    line = refused(capsys, "plot", "relu", "-o", missing / "picture.svg")
    assert f"cannot write to the folder {missing}: " in line
    (tmp_path / "folder.svg").mkdir()
    assert "is a directory" in refused(capsys, "plot", "relu", "-o", tmp_path / "folder.svg")


def test_plot_without_matplotlib(tmp_path, capsys, monkeypatch):
    hide(monkeypatch, "matplotlib")
    for rest in ([], ["-o", tmp_path / "picture.svg"]):
        line = refused(capsys, "plot", "relu", *rest)
        assert 'pip install "activations_xp[plot]"' in line


def test_plot_of_an_unknown_name_opens_no_window(capsys):
    assert "no activation is named 'nosuch'" in refused(capsys, "plot", "relu", "nosuch")


@pytest.mark.parametrize("backend_of_matplotlib", ["agg", "tkagg"])
def test_plot_without_display(backend_of_matplotlib):
    argv = [sys.executable, "-m", "activations_xp", "plot", "relu"]
    hidden = {"DISPLAY", "WAYLAND_DISPLAY"}
    environment = {n: v for n, v in os.environ.items() if n not in hidden}
    environment["MPLBACKEND"] = backend_of_matplotlib
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "; -o FILE.svg saves the picture\n" in done.stderr


def test_plot_opens_a_window(monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    monkeypatch.setattr(
        "matplotlib.backends.backend_agg.FigureCanvasAgg.required_interactive_framework", "tk"
    )
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.gcf().axes))
    try:
        assert cli.main(["plot", "relu"]) == 0
    finally:
        plt.close("all")
    (ax,) = shown
    assert ax.get_legend() is not None
