"""PyTorch: what records calls without computing them, torch.fx above all, and torch.jit.script."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from oracle import FUNCTIONS, over, required_parameters, rows_away_from_kinks
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.nn import functional as F  # noqa: N812

import activations_xp as ax
from activations_xp.layers import torch as layers


class Module(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f
        self.weight = torch.nn.Parameter(torch.tensor([0.5, 2.0, -1.0, 0.25], dtype=torch.float64))

    def forward(self, x):
        return self.f(x, self.weight)


def _calls(graph_module):
    return [node for node in graph_module.graph.nodes if node.op == "call_function"]


def _arguments(function, args, kwargs):
    """Return the values of all parameters."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return list(bound.arguments.values())


def _assert_same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@over("function", FUNCTIONS)
def test_symbolic_trace_is_one_call_of_the_public_function(function):
    given = required_parameters(function)
    x = torch.tensor(rows_away_from_kinks(function))
    traced = torch.fx.symbolic_trace(Module(lambda x, _: function(x, **given)))
    (node,) = _calls(traced)
    assert node.target is function
    first, *others = _arguments(function, node.args, node.kwargs)
    assert (str(first), others) == ("x", _arguments(function, ("x",), given)[1:])
    assert f"{function.__name__}(x" in traced.code
    for gm in (traced, copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        torch.manual_seed(0)
        y = gm(x)
        torch.manual_seed(0)
        _assert_same(y, function(x, **given))


def _parts(x, weight):
    value, dy_dx = ax.gelu.value_and_derivative(x, "tanh")
    gradient = ax.prelu.vjp(value, x, weight)["weight"]
    return weight * ax.gelu.accurate(x) + dy_dx * gradient + ax.silu.derivative(x, beta=2.0)


def _several_arrays(x, weight):
    q = x[None, None]
    return ax.scaled_dot_product_attention(q, q, weight * q, is_causal=True)


def _parameters(x, weight):
    constant = torch.linspace(-3, 3, 8, dtype=torch.float64).reshape(2, 4)
    y = ax.prelu(constant, weight) + ax.leaky_relu(constant, x)
    return y + ax.softmax(x, axis=x.dim() - 1, where=x > 0)


TARGETS = {
    _parts: [
        *(ax.gelu.value_and_derivative, ax.prelu.vjp, ax.gelu.accurate, ax.silu.derivative),
    ],
    _several_arrays: [ax.scaled_dot_product_attention],
    _parameters: [ax.prelu, ax.leaky_relu, ax.softmax],
}


@over("f", TARGETS)
def test_symbolic_trace_of(f):
    x, module = torch.randn(2, 4, dtype=torch.float64), Module(f)
    traced = torch.fx.symbolic_trace(module)
    assert [n.target for n in _calls(traced) if hasattr(n.target, "definition")] == TARGETS[f]
    for gm in (traced, copy.deepcopy(traced)):
        _assert_same(gm(x), module(x))
        gm(x).sum().backward()
        _assert_same(gm.weight.grad, torch.autograd.grad(module(x).sum(), module.weight)[0])


def test_symbolic_trace_keeps_the_precision_that_was_chosen():
    with ax.precision("accurate"):
        traced = torch.fx.symbolic_trace(Module(lambda x, _: ax.tanh(x)))
    assert [node.target for node in _calls(traced)] == [ax.tanh.accurate]


def test_symbolic_trace_of_out_and_noise():
    noise, x = torch.rand(5), torch.linspace(-3, 3, 5)
    traced = torch.fx.symbolic_trace(lambda x, out: ax.gelu(x, out=out))
    out = torch.empty(5)
    assert traced(x, out) is out
    _assert_same(out, ax.gelu(x))
    traced = torch.fx.symbolic_trace(lambda x, noise: ax.rrelu(x, training=True, noise=noise))
    _assert_same(traced(x, noise), ax.rrelu(x, training=True, noise=noise))
    with pytest.raises(TypeError, match=r"^dropout: rng must be None where the call is recorded"):
        torch.fx.symbolic_trace(lambda x: ax.dropout(x, training=True, rng=torch.Generator()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@over(("ours", "theirs"), [(ax.gelu, F.gelu), (ax.mish, F.mish)])
def test_quantization_by_fx_is_that_of_torchs_function(ours, theirs):
    x = torch.randn(16, 4)

    def quantized(f):
        torch.manual_seed(0)
        linear = [torch.nn.Linear(4, 4) for _ in range(2)]

        class Network(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = linear

            def forward(self, x):
                return self.second(f(self.first(x)))

        prepared = prepare_fx(Network().eval(), get_default_qconfig_mapping("x86"), (x,))
        prepared(x)
        return convert_fx(prepared)(x)

    _assert_same(quantized(ours), quantized(theirs))


class Silent:
    """It takes over calls, and nothing else may be asked of it."""

    def __getattr__(self, name):
        raise AssertionError(name)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return function, args, kwargs


@over("function", FUNCTIONS)
def test_what_takes_over_a_call_is_asked_nothing_else(function):
    given, silent, x = required_parameters(function), Silent(), torch.ones(2, 4)
    calls = [((silent,), given)]
    calls += [((x,), {**given, name: silent}) for name in function.definition.parameters]
    for args, kwargs in calls:
        if "noise" in kwargs and "training" in function.definition.parameters:
            kwargs = {**kwargs, "training": True}
        found, *recorded = function(*args, **kwargs)
        assert found is function
        expected = _arguments(function, args, kwargs)
        for a, b in zip(_arguments(function, *recorded), expected, strict=True):
            assert a is b or a == b


class Refusing:
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return NotImplemented


def test_what_refuses_to_take_over_is_named():
    x, other = torch.ones(2, 4), Refusing()
    for call in (
        lambda: ax.prelu(other, 0.5),
        lambda: ax.prelu(x, other),
        lambda: ax.prelu.accurate(other, x),
    ):
        with pytest.raises(TypeError, match=r"no implementation found for '.*\.prelu' .*Refusing"):
            call()


SCRIPTED = {
    "gelu": ax.gelu,
    "silu": ax.silu.accurate,
    "mish.derivative": ax.mish.derivative,
    "softmax": Module(ax.softmax),
    "PReLU": torch.nn.Sequential(torch.nn.Linear(4, 4), layers.PReLU()),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@over("name", SCRIPTED)
def test_script_is_refused_with_what_to_do(name):
    with pytest.raises(RuntimeError, match=f"{name} cannot be compiled by torch.jit.script; use"):
        torch.jit.script(SCRIPTED[name])
