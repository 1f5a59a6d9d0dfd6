"""The decorators: what they accept, what they refuse, and the public functions that they write."""

from __future__ import annotations

import inspect
import linecache
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import activations_xp as ax
from activations_xp import _dispatch, _registry
from activations_xp._define import Peer, activation, apply, case, operation
from activations_xp._definition import Definition
from activations_xp._parameters import ArrayOrNumber, Axis, FloatArray, Number
from activations_xp._typing import Array, Namespace

pytestmark = pytest.mark.once

WORDS = {"formula": "x", "source": "Nobody.", "peers": {"torch": "torch.nn.Identity"}}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Keep what a test defines out of the registry."""
    for name in ("_functions", "_names", "_spellings", "_alias_of"):
        monkeypatch.setattr(_registry, name, dict(getattr(_registry, name)))


def test_parameter_names_of_the_generated_function():
    """A parameter may have the name of anything that the generated function uses."""

    @activation(**WORDS)
    def named(
        xp: Namespace,
        x: Array,
        into: Number = 1.0,
        resolve: Number = 2.0,
        draw: Number = 3.0,
        kernels: Number = 4.0,
        type: Number = 5.0,  # noqa: A002
        out_: Number = 6.0,
    ):
        """Sum of the parameters times x."""
        return x * (into + resolve + draw + kernels + type + out_)

    assert named(np.ones(2)).tolist() == [21, 21]
    assert named(np.ones(2), type=0.0, out=np.empty(2)).tolist() == [16, 16]


def test_getsource_shows_the_implementation():
    for function, line in (
        (ax.gelu, "def gelu("),
        (ax.gelu.accurate, "def gelu("),
        (ax.silu.derivative, "@silu.defderivative"),
        (ax.softmax.vjp, "@softmax.defvjp"),
        (ax.scaled_dot_product_attention, "def scaled_dot_product_attention("),
    ):
        assert line in inspect.getsource(function)


def test_traceback_shows_the_generated_code():
    filename = ax.gelu.__code__.co_filename
    assert any("(_tables[_choice[0]].get" in line for line in linecache.getlines(filename))


def test_signature_is_that_of_the_implementation():
    signature = inspect.signature(ax.silu)
    assert list(signature.parameters) == ["x", "beta", "out"]
    assert signature.parameters["x"].kind is inspect.Parameter.POSITIONAL_ONLY
    assert signature.parameters["beta"].default == 1.0
    assert list(inspect.signature(ax.silu.vjp).parameters) == ["g", "x", "beta"]
    assert list(inspect.signature(ax.dropout).parameters)[-3:] == ["noise", "rng", "out"]
    names = list(inspect.signature(ax.scaled_dot_product_attention.vjp).parameters)
    assert names[:4] == ["g", "query", "key", "value"]


@pytest.mark.parametrize("name", ax.names())
def test_functions_are_pickled_by_name(name):
    function = ax.get(name)
    assert pickle.loads(pickle.dumps(function)) is function


def test_peers_are_data():
    peers = ax.gelu.definition.peers
    assert peers["jax"] == (Peer("jax.nn.gelu", approximate=True),)
    assert [peer.name for peer in peers["keras"]] == ["keras.activations.gelu", "keras.ops.gelu"]
    assert str(peers["keras"][1]) == "keras.ops.gelu (approximate=True)"
    for name in ax.names():
        for entries in ax.get(name).definition.peers.values():
            for peer in entries:
                assert all(part.isidentifier() for part in peer.name.split("."))


def test_derivative_with_another_signature_is_refused():
    @activation(**WORDS)
    def shifted(xp: Namespace, x: Array, offset: ArrayOrNumber = 0.0):
        """Sum, x + offset."""
        return x + offset

    with pytest.raises(TypeError, match=r"must take \(xp, x, offset\), got \(xp, x\)"):
        shifted.defderivative(lambda xp, x: 1.0)
    with pytest.raises(TypeError, match=r"must take \(xp, g, x, offset\)"):
        shifted.defvjp(lambda xp, x, g, offset: g)
    with pytest.raises(TypeError, match="unknown \\['bias'\\]"):
        shifted.defderivative("bias")(lambda xp, x, offset: {})


def test_annotation_that_is_no_specification_is_refused():
    with pytest.raises(TypeError, match="a parameter cannot be annotated <class 'int'>"):

        @activation(**WORDS)
        def wrong(xp: Namespace, x: Array, n: int = 1):
            """Identity."""
            return x


def test_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="two functions are named 'gelu'"):

        @activation(**WORDS, aliases=("gelu",))
        def other(xp: Namespace, x: Array):
            """Identity."""
            return x


def test_cases_begin_with_the_defaults():
    @activation(**WORDS, ulp=3.0, cases=(case(rate=2.0, formula="2 * x"),))
    def scaled(xp: Namespace, x: Array, rate: Number = 1.0):
        """Product, rate*x."""
        return rate * x

    first, second = scaled.definition.cases
    assert (first.parameters, first.formula, first.ulp) == ({}, "x", 3.0)
    assert (second.parameters, second.formula, second.ulp) == ({"rate": 2.0}, "2 * x", 3.0)


def test_operations_are_in_the_registry():
    operations = [n for n in ax.names() if not ax.get(n).definition.is_activation]
    assert "scaled_dot_product_attention" in operations
    assert "adaptive_predict" in operations
    assert ax.name_of(ax.multi_head_attention) == "multi_head_attention"
    assert all(isinstance(ax.get(n).definition, Definition) for n in ax.names())


def test_precision_of_a_neighbour():
    """A composite reaches its neighbours at its own precision, whatever is chosen meanwhile."""
    seen = []

    @activation(**WORDS)
    def inner(xp: Namespace, x: Array):
        """Identity."""
        seen.append(getattr(xp, "precision", None))
        return x

    @operation(source="Nobody.", peers={})
    def outer(xp: Namespace, x: FloatArray):
        """Identity."""
        return apply(xp, inner, x)

    class Space:
        def __init__(self, precision):
            self.precision = precision

    levels = []
    inner.forms["fast"] = lambda x: levels.append("fast") or x
    inner.forms["accurate"] = lambda x: levels.append("accurate") or x
    for level in ("fast", "accurate"):
        with ax.precision("accurate" if level == "fast" else "fast"):
            outer.impl(Space(level), np.ones(2))
    assert levels == ["fast", "accurate"]


def test_kernel_of_a_precision_that_changes_while_it_is_resolved(monkeypatch):
    """A kernel is remembered for the precision that it was resolved at."""
    backend = _dispatch.find_backend(np.ones(1))
    levels = []

    @activation(**WORDS)
    def switching(xp: Namespace, x: Array):
        """Identity."""
        return x

    begun, may_finish = threading.Event(), threading.Event()

    def bind(definition, precision, kind):
        if precision == "fast":
            begun.set()
            may_finish.wait(5)

        def kernel(x, types):
            levels.append(precision)
            return x

        return kernel

    monkeypatch.setattr(backend, "bind", bind)
    thread = threading.Thread(target=switching, args=(np.ones(1),))
    thread.start()
    assert begun.wait(5)
    with ax.precision("accurate"):
        may_finish.set()
        thread.join()
        switching(np.ones(1))
    switching(np.ones(1))
    assert levels == ["fast", "accurate", "fast"]


def test_precision_after_an_error(monkeypatch):
    """The precision is restored when an exception leaves the block."""

    @activation(**WORDS)
    def watched(xp: Namespace, x: Array):
        """Identity."""
        return x

    levels = []

    def bind(definition, precision, array_type):
        return lambda x, types: levels.append(precision) or x

    monkeypatch.setattr(_dispatch.find_backend(np.ones(1)), "bind", bind)

    def fail(x):
        watched(x)
        raise KeyError

    with pytest.raises(KeyError), ax.precision("accurate"):
        fail(np.ones(1))
    watched(np.ones(1))
    assert levels == ["accurate", "fast"]


def test_precision_of_blocks_that_overlap():
    """Blocks are left in any order, by generators or threads, and none of them leaves its mark."""

    def block(level):
        with ax.precision(level):
            yield

    blocks = {name: block(level) for name, level in [("a", "accurate"), ("b", "fast")]}
    blocks["c"] = block("accurate")
    seen = []
    for name in ("a", "b", "c", "b", "c", "a"):
        next(blocks[name], None)
        seen.append(_dispatch.PRECISIONS[_dispatch.choice[0]])
    assert seen == ["accurate", "fast", "accurate", "accurate", "accurate", "fast"]

    def enter_and_leave(_):
        for level in ("accurate", "fast") * 200:
            with ax.precision(level):
                pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(enter_and_leave, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert _dispatch.choice == [0]
    assert len(_dispatch._blocks) == 1


def test_precision_that_is_neither_is_refused():
    message = "precision: level must be 'fast' or 'accurate', got 'x'"
    with pytest.raises(ValueError, match=message), ax.precision("x"):
        pass


def test_axis_parameter_is_checked_by_its_specification():
    @activation(**WORDS, output_axis="kept")
    def reversed_(xp: Namespace, x: Array, axis: Axis = -1):
        """Reverse, x[::-1]."""
        return xp.flip(x, axis=axis)

    assert reversed_(np.arange(3.0)).tolist() == [2, 1, 0]
    with pytest.raises(IndexError, match="reversed_: axis 1 is out of range for x with 1 dim"):
        reversed_(np.arange(3.0), axis=1)
    with pytest.raises(TypeError, match="reversed_: axis must be an integer, got 'a'"):
        reversed_(np.arange(3.0), axis="a")
