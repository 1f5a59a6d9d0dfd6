"""Machine code in place of torch's kernels of large tensors: values, gradients, threads.

The truth is our implementation in float64, which is tested against formulas.
"""

from __future__ import annotations

import math
import os
import signal
import sys

import numpy as np
import pytest
import torch
from oracle import map_into_domain, output_axis, over
from torch.utils._python_dispatch import TorchDispatchMode

import activations_xp as ax
from activations_xp import _oracle
from activations_xp.backends.numpy import engine
from activations_xp.backends.torch import BACKEND, shared
from activations_xp.backends.torch.native import NATIVE, ForwardOnly

team = pytest.importorskip("activations_xp.backends.numpy.team")

GRADIENT = 16.0
"""The largest error of a gradient, in eps."""


def _form(name):
    """Return what computes large tensors at the default parameters, or None if torch does."""
    definition = ax.get(name).definition
    if len(definition.defaults) < len(definition.parameters) or definition.noise is not None:
        return None
    values = definition.check(torch.ones(2, 2), tuple(definition.defaults.values()), BACKEND)
    kernel = NATIVE[name].bind(*values)
    kernel = getattr(kernel, "others", kernel)
    return kernel if isinstance(kernel, ForwardOnly) else None


FORMS = {name: form for name in NATIVE if (form := _form(name))}


def _input(name, size):
    """Return a tensor of rows with numbers near and far."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(-(-size // 1000) * 1000) * rng.choice([1e-3, 1.0, 5.0, 30.0], (1, 1))
    x = map_into_domain(ax.get(name).definition, x.ravel()).astype("f4")
    return torch.from_numpy(x).reshape(-1, 1000)


@pytest.fixture
def ran(monkeypatch):
    """Return a list of what was shared with NumPy's plans."""
    names = []

    def noting(name, function):
        def run(*arguments):
            names.append(name)
            return function(*arguments)

        return run

    for name in ("value", "plain_value", "vjp", "vjp_at_result"):
        monkeypatch.setattr(shared, name, noting(name, getattr(shared, name)))
    return names


def _error(got, exact, x, unit=None):
    """Return the largest error in eps of the result, or of x where that is smaller."""
    error, unit = (got.double() - exact).abs(), exact.abs() if unit is None else unit
    unit = torch.maximum(unit, x.double().abs().clamp(max=1))
    return (error / unit / torch.finfo(torch.float32).eps).nan_to_num(nan=math.inf).max().item()


@over("name", list(FORMS))
def test_values_and_gradients(name, ran):
    form, function = FORMS[name], ax.get(name)
    froms = (engine.LARGE, form.least, form.value_from, form.vjp_from)
    x = _input(name, max(int(n) for n in froms if n < math.inf))
    g = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    leaf = x.clone().requires_grad_()
    y = function(leaf)
    (dx,) = torch.autograd.grad(y, leaf, g)
    assert torch.equal(function(x), y)
    assert sum("value" in what for what in ran) == 2 * (form.value_from < math.inf)
    assert any("vjp" in what for what in ran) == (form.vjp_from < math.inf or form.axis is not None)
    wide = x.double()
    assert _error(y.detach(), function.accurate(wide), x) <= _oracle.ACCEPTED
    exact = function.vjp(g.double(), wide)["x"]
    unit = None
    if output_axis(function):  # the terms of a difference
        weights = torch.softmax(-wide if name == "softmin" else wide, -1)
        unit = g.double() + weights * g.double().sum(-1, keepdim=True)
    assert _error(dx, exact, x, unit) <= GRADIENT


@over("name", ["tanh", "mish", "softmax", "log_ndtr", "elu"])
def test_threads_of_torch(name):
    """Bits do not depend on the number of threads, which are those of torch's OpenMP."""
    x, threads = _input(name, 3 * 2**17 + 1), torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            leaf = x.clone().requires_grad_()
            y = ax.get(name)(leaf)
            y.sum().backward()
            results.append((y.detach(), leaf.grad))
    finally:
        torch.set_num_threads(threads)
    for y, dx in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(dx, results[0][1])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch may have another OpenMP")
def test_team_is_that_of_torch():
    library = torch._C.__file__
    assert team.address_of_openmp(library, 1) == 0
    assert team.address_of_openmp(library, 2) not in (0, team.address())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child():
    """Its OpenMP would wait for the threads of the parent."""
    x, threads = _input("mish", 3 * 2**17), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = ax.mish(x).numpy()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(60)
                status = 0 if np.array_equal(ax.mish(x).numpy(), expected) else 2
            finally:
                os._exit(status)
    finally:
        torch.set_num_threads(threads)
    assert os.waitpid(child, 0)[1] == 0


def test_layout_and_views():
    """Memory in another order is torch's, and stays so."""
    x = torch.randn(4, 64, 32, 32).to(memory_format=torch.channels_last)
    y = ax.tanh(x)
    assert y.stride() == x.stride()
    assert torch.equal(y, torch.tanh(x))


class Names(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@over("name", ["tanh", "mish", "gelu", "silu"])
def test_a_mode_sees_torch_kernel(name):
    x = _input(name, 2**21)
    with Names() as mode:
        ax.get(name)(x)
    assert mode.names == [name]


def test_without_a_compiler(monkeypatch):
    monkeypatch.setattr(engine, "numba_from", sys.maxsize)
    x = _input("tanh", 2**18).requires_grad_()
    for name in ("tanh", "elu", "softplus"):
        assert "EagerNode" not in ax.get(name)(x).grad_fn.name()
