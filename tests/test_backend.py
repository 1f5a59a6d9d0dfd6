"""A new array library by writing one Backend: a small made-up one."""

from __future__ import annotations

import operator
import sys
import types

import numpy as np
import pytest

import activations_xp as ax
from activations_xp import _dispatch
from activations_xp.backends.generic import StandardBackend, tree_map

pytestmark = pytest.mark.once


class Crate:
    """An array of the library ``cratelib``, which knows nothing of the array API standard."""

    def __init__(self, content):
        self.content = np.asarray(content)

    dtype = property(lambda self: self.content.dtype)
    shape = property(lambda self: self.content.shape)
    ndim = property(lambda self: self.content.ndim)

    def __getitem__(self, index):
        return Crate(self.content[tree_map(_unpack, index)])

    def __neg__(self):
        return Crate(-self.content)

    def __invert__(self):
        return Crate(~self.content)

    def __bool__(self):
        return bool(self.content)

    def __int__(self):
        return int(self.content)


def _unpack(value):
    return value.content if isinstance(value, Crate) else value


def _binary(function):
    return (
        lambda a, b: Crate(function(a.content, _unpack(b))),
        lambda a, b: Crate(function(_unpack(b), a.content)),
    )


OPERATORS = ("add", "sub", "mul", "truediv", "pow", "and", "or", "lt", "le", "gt", "ge", "eq", "ne")

for _name in OPERATORS:
    _forward, _backward = _binary(getattr(operator, f"__{_name}__"))
    setattr(Crate, f"__{_name}__", _forward)
    setattr(Crate, f"__r{_name}__", _backward)


class Crates:
    """The library's functions under the names of the standard."""

    def __getattr__(self, name):
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found

        def function(*args, **kwargs):
            args = [[*map(_unpack, a)] if isinstance(a, list) else _unpack(a) for a in args]
            with np.errstate(all="ignore"):
                result = found(*args, **{k: _unpack(v) for k, v in kwargs.items()})
            return tree_map(
                lambda r: Crate(r) if isinstance(r, (np.ndarray, np.generic)) else r, result
            )

        return function

    def finfo(self, dtype):
        return np.finfo(dtype)

    def isdtype(self, dtype, kinds):
        return np.isdtype(dtype, kinds)


class CrateBackend(StandardBackend):
    """All that cratelib provides; the kernels are those of any library."""

    def __init__(self):
        self.name, self.xp = "cratelib", Crates()

    def owns(self, x):
        return isinstance(x, Crate)

    def device(self, x):
        return "warehouse"

    def uniform(self, shape, like, rng):
        if not isinstance(rng, np.random.Generator):
            raise TypeError("a numpy.random.Generator")
        return Crate(rng.random(shape).astype(like.dtype))


@pytest.fixture(autouse=True)
def cratelib(monkeypatch):
    """Register the library, and forget it afterwards."""
    backend = CrateBackend()
    monkeypatch.setattr(_dispatch, "_LOADERS", dict(_dispatch._LOADERS))
    monkeypatch.setattr(_dispatch, "_BY_TYPE", {})
    monkeypatch.setitem(sys.modules, "cratelib", types.ModuleType("cratelib"))
    _dispatch.register("cratelib", lambda: backend)
    return backend


ACTIVATIONS = [f for f in map(ax.get, ax.names()) if f.definition.is_activation]


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda f: f.__name__)
def test_new_library_gives_the_values_and_gradients_of_numpy(function):
    domain = function.definition.properties.domain
    x = np.linspace(max(domain[0], -3.0), min(domain[1], 3.0), 14)[1:-1].reshape(2, 6)
    parameters = dict(function.definition.cases[0].parameters)
    expected = function(x, **parameters)
    got = function(Crate(x), **parameters)
    assert type(got) is Crate
    np.testing.assert_allclose(got.content, expected, rtol=1e-13, atol=1e-300)
    g = np.cos(np.arange(expected.size)).reshape(expected.shape)
    got = function.vjp(Crate(g), Crate(x), **parameters)["x"].content
    np.testing.assert_allclose(got, function.vjp(g, x, **parameters)["x"], rtol=1e-11, atol=1e-13)


def test_new_library_in_an_operation():
    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 5, 4))
    got = ax.scaled_dot_product_attention(Crate(q), Crate(k), Crate(v), is_causal=True)
    expected = ax.scaled_dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(got.content, expected, rtol=1e-13)


def test_new_library_draws_its_random_numbers():
    x = Crate(np.ones(1000, "f4"))
    y = ax.dropout(x, 0.25, training=True, rng=np.random.default_rng(0))
    assert y.dtype == np.float32
    assert 0.2 < np.mean(y.content == 0) < 0.3
    with pytest.raises(
        TypeError, match=r"dropout: rng must be a numpy\.random\.Generator, got 'x'"
    ):
        ax.dropout(x, 0.25, training=True, rng="x")


def test_new_library_does_not_mix_with_another():
    with pytest.raises(TypeError, match="silu: beta must be a real number or an array of x's lib"):
        ax.silu(Crate(np.ones(2)), np.ones(2))
    with pytest.raises(TypeError, match="silu: beta must be a real number or an array of x's lib"):
        ax.silu(np.ones(2), Crate(np.ones(2)))
