"""One kernel for a function: for tensors, and for NumPy arrays that share their memory."""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
import warnings

import numpy as np
import pytest
import torch
from oracle import FUNCTIONS, CountingCompiler, in_sweep, map_into_domain, over, rowwise_parameters

import activations_xp as ax
from activations_xp.backends import _blocks
from activations_xp.backends import torch as backend


@pytest.fixture
def counter(monkeypatch):
    counter = CountingCompiler()
    whole = functools.partial(torch.compile, fullgraph=True, backend=counter)
    monkeypatch.setattr(torch, "compile", whole)
    torch.compiler.reset()
    backend._compiled.cache_clear()
    yield counter
    backend._compiled.cache_clear()


def _values(function, size, dtype="float32"):
    return (
        map_into_domain(function.definition, np.linspace(-3, 3, size * 4))
        .reshape(size, 4)
        .astype(dtype)
    )


@over("function", in_sweep(FUNCTIONS))
def test_one_graph_for_any_size(function, counter):
    given = rowwise_parameters(function)
    compiled = ax.compiled(function)
    for size in (2, 3, 5, 8, 13):
        x = torch.from_numpy(_values(function, size))
        got, expected = compiled(x, **given), function(x, **given)
        torch.testing.assert_close(got, expected)
    assert counter.graphs == 1


@over("function", in_sweep([f for f in FUNCTIONS if hasattr(f, "vjp")]))
def test_the_gradient(function, counter):
    given = rowwise_parameters(function)
    x = torch.from_numpy(_values(function, 2, "float64"))
    gradients = []
    for form in (ax.compiled(function), function):
        leaf = x.clone().requires_grad_()
        result = form(leaf, **given)
        gradients.append(torch.autograd.grad(result.sum(), leaf)[0])
    torch.testing.assert_close(*gradients)


def test_many_dtypes_and_parameters_have_a_kernel_each(counter):
    compiled = ax.compiled(ax.silu)
    for _ in range(2):
        for dtype in (torch.float32, torch.float64):
            for beta in (0.5, 1.0, 2.0):
                for shape in ((3,), (2, 3)):
                    x = torch.ones(shape, dtype=dtype)
                    torch.testing.assert_close(compiled(x, beta), ax.silu(x, beta))
    assert counter.graphs == 2 * 3 * 2


def test_array_parameters(counter):
    x = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(3, 4)
    mask = x > -1
    torch.testing.assert_close(ax.compiled(ax.softmax)(x, where=mask), ax.softmax(x, where=mask))
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(ax.compiled(ax.prelu)(x, weight).sum(), weight)
    (expected,) = torch.autograd.grad(ax.prelu(x, weight).sum(), weight)
    torch.testing.assert_close(got, expected)


def test_inside_transforms_and_another_compilation(counter):
    compiled = ax.compiled(ax.gelu)
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    expected = torch.func.vmap(torch.func.grad(ax.gelu))(x)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(compiled))(x), expected)
    outer = torch.compile(lambda x: compiled(x) + 1)
    torch.testing.assert_close(outer(x), ax.gelu(x) + 1)
    with ax.implementation("compiled"):
        torch.testing.assert_close(ax.gelu(x), compiled(x))


def test_the_public_function(counter):
    compiled = ax.compiled(ax.gelu)
    assert ax.compiled(ax.gelu) is compiled
    assert inspect.signature(compiled) == inspect.signature(ax.gelu)
    assert ax.compiled(ax.gelu.derivative) is not compiled
    with pytest.raises(ValueError, match="gelu: approximate must be"):
        compiled(torch.ones(3), "fast")
    for bad in (np.tanh, "gelu", None):
        with pytest.raises(TypeError, match="compiled: function must be one of activations_xp"):
            ax.compiled(bad)


# NumPy


@over("function", in_sweep(FUNCTIONS))
def test_numpy_arrays_share_their_memory(function, counter, monkeypatch):
    monkeypatch.setattr(_blocks, "LARGE", 10)
    given = rowwise_parameters(function)
    parts = [function, *(getattr(function, n) for n in ("derivative",) if hasattr(function, n))]
    for form in parts:
        for dtype in ("float32", "float64"):
            for size in (3, 5):
                x = _values(function, size, dtype)
                expected = form(x, **given)
                x.flags.writeable = False
                got = ax.compiled(form)(x, **given)
                assert (type(got), got.dtype, got.shape) == (np.ndarray, x.dtype, expected.shape)
                rtol = 64 * np.finfo(dtype).eps
                np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    assert 0 < counter.graphs <= 2 * len(parts)  # NumPy's own kernels stay


LAYOUTS = {
    "transposed": lambda x: x.T,
    "strided": lambda x: x[:, ::2],
    "reversed": lambda x: x[::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "of 16 bits": lambda x: x.astype(np.float16),
    "integers": lambda x: x.astype(int),
    "empty": lambda x: x[:0],
}


@over("layout", LAYOUTS)
def test_any_numpy_array(layout, counter, monkeypatch):
    monkeypatch.setattr(_blocks, "LARGE", 10)
    x = LAYOUTS[layout](_values(ax.gelu, 5, "float64"))
    expected = ax.gelu(x)
    got = ax.compiled(ax.gelu)(x)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    out = np.empty_like(expected)
    assert ax.compiled(ax.gelu)(x, out=out) is out
    np.testing.assert_array_equal(out, got)


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    function = ax.compiled(ax.softsign)
    with pytest.raises(
        ImportError, match="softsign: compiled takes PyTorch, which is not installed"
    ):
        function(np.ones(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("compiler", [None, "/no/such/compiler"])
def test_with_a_compiler_and_without(compiler, monkeypatch, tmp_path):
    from torch._inductor import config

    found = shutil.which("g++") if compiler is None else None
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    backend._compiled.cache_clear()
    x = torch.linspace(-9, 9, 1001)
    given = {"cpp.cxx": (None, found or "/no/such/compiler")}
    with warnings.catch_warnings(record=True) as caught, config.patch(given):
        warnings.simplefilter("always")
        for _ in range(2):
            got = ax.compiled(ax.tanh_shrink.derivative)(x)
    messages = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]
    expected = "tanh_shrink.derivative: PyTorch cannot compile here, so it runs as it is: "
    assert [m.startswith(expected) for m in messages] == [True] * (found is None)
    torch.testing.assert_close(got, ax.tanh_shrink.derivative(x))
    backend._compiled.cache_clear()
