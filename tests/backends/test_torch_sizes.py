"""PyTorch: sizes that a compiler or an exporter does not know, and attention as torch's kernel."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import CountingCompiler, over
from sizes import ACTIVATION_CALLS, KEYS_MORE, OPERATION_CALLS, RANDOM_CALLS
from torch.export import Dim

import activations_xp as ax

sdpa = ax.scaled_dot_product_attention

SIZES = [(3, 4), (5, 7), (9, 6), (4, 12), (6, 5)]
"""The sizes of the batch and of the length, which both vary."""


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def _tensors(call, batch, length, dtype=torch.float64):
    """Return the arrays of a call as tensors."""
    arrays = {name: torch.tensor(x) for name, x in call.arrays(batch, length).items()}
    return {n: x.to(dtype) if x.is_floating_point() else x for n, x in arrays.items()}


def _bind(call):
    constants = call.constants(torch.tensor)
    names = list(call.shapes)

    def run(*arrays):
        given = dict(zip(names, arrays, strict=True))
        # the first argument of activations has no name
        first = [given.pop("x")] if "x" in given else []
        return call.function(*first, **given, **constants)

    return run


def _first(y):
    return y[0] if isinstance(y, tuple) else y


def _value_and_gradient(f, arrays):
    first, *others = arrays
    first = first.clone().requires_grad_()
    torch.manual_seed(0)
    y = _first(f(first, *others))
    if not y.requires_grad:
        return y, None
    (gradient,) = torch.autograd.grad(torch.cos(y).sum(), first)
    return y.detach(), gradient


def _assert_two_graphs(call, compiler=None):
    """Compare values and gradients of five sizes, for which at most two graphs are compiled."""
    f, counter = _bind(call), CountingCompiler(compiler)
    compiled = torch.compile(f, fullgraph=True, backend=counter)
    arrays = [list(_tensors(call, *size).values()) for size in SIZES]
    expected = [_value_and_gradient(f, sized) for sized in arrays]
    got = [_value_and_gradient(compiled, sized) for sized in arrays]
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10, equal_nan=True)
    assert counter.graphs <= 2


FIRST_OF_EACH_FAMILY = {
    call.function.__module__: call
    for call in reversed(ACTIVATION_CALLS)
    if call.function.definition.is_elementwise
}
OTHERS_OF_EACH_FAMILY = [
    call
    for call in ACTIVATION_CALLS
    if call.function.definition.is_elementwise and call not in FIRST_OF_EACH_FAMILY.values()
]


# to compile one takes a second, and those of elements differ in nothing that knows of sizes
CALLS = [
    *(
        pytest.param(call, marks=pytest.mark.sweep if call in OTHERS_OF_EACH_FAMILY else ())
        for call in ACTIVATION_CALLS
    ),
    *OPERATION_CALLS,
]


@over("call", [*CALLS, *RANDOM_CALLS])
def test_two_graphs_for_five_sizes(call):
    _assert_two_graphs(call)


@pytest.mark.sweep
@over("call", OPERATION_CALLS)
def test_two_graphs_for_five_sizes_with_their_backward_passes(call):
    _assert_two_graphs(call, torch._dynamo.lookup_backend("aot_eager"))


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.sweep
@over("call", [*OPERATION_CALLS[:4], *(c for c in ACTIVATION_CALLS if c.function is ax.softmax)])
def test_two_graphs_for_five_sizes_by_inductor(call):
    _assert_two_graphs(call, torch._dynamo.lookup_backend("inductor"))


class Module(torch.nn.Module):
    """A function of the arrays of a call."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, *arrays):
        return self.f(*arrays)


def _dynamic_shapes(call):
    """Return which axes of the arrays have any size, by their sizes at two numbers."""
    batch, length = Dim("batch", min=2, max=1000), Dim("length", min=2, max=1000)
    symbols = {(3, 5): batch, (4, 7): length, (8, 14): 2 * length}
    symbols[4 + KEYS_MORE, 7 + KEYS_MORE] = length + KEYS_MORE
    both = zip(call.arrays(3, 4).values(), call.arrays(5, 7).values(), strict=True)
    return (
        tuple(
            {
                i: symbols[sizes]
                for i, sizes in enumerate(zip(x.shape, y.shape, strict=True))
                if sizes[0] != sizes[1]
            }
            for x, y in both
        ),
    )


def _export(call, strict):
    arrays = tuple(_tensors(call, 3, 4).values())
    return torch.export.export(
        Module(_bind(call)), arrays, dynamic_shapes=_dynamic_shapes(call), strict=strict
    )


# torch's own samplers draw other numbers in an exported program
@over("call", [*CALLS, *RANDOM_CALLS[-2:]])
def test_export_with_any_size(call):
    exported = _export(call, strict=False).module()
    for size in SIZES[1:3]:
        arrays = list(_tensors(call, *size).values())
        torch.manual_seed(0)
        got = _first(exported(*arrays))
        torch.manual_seed(0)
        expected = _first(_bind(call)(*arrays))
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.sweep
@over("call", OPERATION_CALLS)
def test_strict_export_with_any_size(call):
    exported = _export(call, strict=True).module()
    arrays = list(_tensors(call, *SIZES[1]).values())
    expected = _bind(call)(*arrays)
    torch.testing.assert_close(_first(exported(*arrays)), _first(expected), rtol=1e-10, atol=1e-10)


def test_first_call_of_a_process_inside_the_compiler():
    """The compiler can make none of what a first call may make."""
    program = """
import torch, activations_xp as ax
from sizes import OPERATION_CALLS
for call in OPERATION_CALLS:
    arrays = {name: torch.tensor(x) for name, x in call.arrays(3, 4).items()}
    constants = call.constants(torch.tensor)
    torch.compile(call.function, fullgraph=True, backend="eager")(**arrays, **constants)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", program]
    subprocess.run(command, check=True, env=environment)


# attention as torch's kernel


def _targets(graph):
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]


def _exported_targets(options, *arrays, strict=False):
    f = functools.partial(sdpa, **options)
    return _targets(torch.export.export(Module(f), arrays, strict=strict).graph)


def _heads(q_len=5, kv_len=7):
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, q_len, 8), (2, 2, kv_len, 8), (2, 2, kv_len, 8)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


NATIVE = "aten.scaled_dot_product_attention.default"


@pytest.mark.parametrize("strict", [False, True])
@over("options", [{}, {"is_causal": True}, {"scale": 0.5}])
def test_exported_attention_is_one_node(options, strict):
    assert _exported_targets(options, *_heads(), strict=strict) == [NATIVE]


MASK = torch.ones(5, 7, dtype=torch.bool).tril()
OF_PADDING = (torch.arange(7) < torch.tensor([[4], [7]]))[:, None, None]
NATIVE_OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"mask": MASK},
    "mask of padding": {"mask": OF_PADDING},
    "mask of heads": {"mask": torch.arange(4).reshape(4, 1, 1) + torch.arange(7) > 2},
    "mask of nothing": {"mask": MASK & (torch.arange(5) != 2)[:, None]},
}
OUR_OPTIONS = {
    "bias": {"bias": torch.zeros(5, 7, dtype=torch.float64)},
    "mask and causal": {"mask": MASK, "is_causal": True},
    "lower right": {"is_causal": "lower_right"},
    "softcap": {"softcap": 2.0},
}


@over("options", [*NATIVE_OPTIONS, *OUR_OPTIONS])
def test_compiled_attention_is_torchs_where_the_eager_one_may_be(options):
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph.graph)
        return graph.forward

    given = {**NATIVE_OPTIONS, **OUR_OPTIONS}[options]
    f = functools.partial(sdpa, **given)
    arrays = [x.requires_grad_() for x in _heads()]
    expected = f(*arrays)
    y = torch.compile(f, fullgraph=True, backend=compiler)(*arrays)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-13)
    g = torch.cos(expected.detach())
    got, gradients = (torch.autograd.grad(out, arrays, g) for out in (y, expected))
    torch.testing.assert_close(got, gradients, rtol=1e-12, atol=1e-13)
    (graph,) = graphs
    is_native = any("scaled_dot_product_attention" in target for target in _targets(graph))
    assert is_native == (options in NATIVE_OPTIONS)
    assert (NATIVE in _exported_targets(given, *_heads())) == is_native


def test_compiled_mask_hides_what_no_query_attends_to():
    """torch alone has NaN for all."""
    query, key, value = _heads()
    key[0, :, 5], value[0, :, 4] = math.inf, math.nan
    native = F.scaled_dot_product_attention(query, key, value, OF_PADDING, enable_gqa=True)
    assert native[0].isnan().all()
    arrays = [x.requires_grad_() for x in (query, key, value)]
    f = functools.partial(sdpa, mask=OF_PADDING)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    expected, y = f(*arrays), compiled(*arrays)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-13)
    for gradient in torch.autograd.grad(y.sum(), arrays):
        assert gradient.isfinite().all()


def test_compiled_attention_of_long_rows_is_ours():
    """torch's kernel loses digits there, where the length is known."""
    query, key, value = _heads(2, 2000)
    assert NATIVE not in _exported_targets({}, query, key, value)
    assert NATIVE in _exported_targets({}, *_heads(2, 1000))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@over("call", [c for c in OPERATION_CALLS if c.function is not ax.adaptive_predict])
def test_transforms_inside_the_compiler(call):
    """All tensors require gradients outside of the transform, too."""
    first, *others = _tensors(call, 3, 4).values()
    others = [x.requires_grad_() if x.is_floating_point() else x for x in others]
    f = _bind(call)

    def gradient(first, *others):
        return torch.func.grad(lambda first: torch.cos(_first(f(first, *others))).sum())(first)

    leaf = first.clone().requires_grad_()
    (expected,) = torch.autograd.grad(torch.cos(_first(f(leaf, *others))).sum(), leaf)
    compiled = torch.compile(gradient, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(leaf, *others), expected, rtol=1e-10, atol=1e-10)


@over("function", [ax.prelu, ax.silu, ax.softplus])
def test_transforms_inside_the_compiler_with_a_learned_parameter(function):
    """Both gradients are ours, whichever the transform asks for."""
    x = torch.linspace(-2, 2, 6, dtype=torch.float64, requires_grad=True)
    parameter = torch.full((6,), 0.5, dtype=torch.float64, requires_grad=True)

    def loss(x, parameter):
        return torch.cos(function(x, parameter)).sum()

    expected = torch.autograd.grad(loss(x, parameter), (x, parameter))
    for argnums in (0, 1):
        gradient = torch.compile(torch.func.grad(loss, argnums), fullgraph=True, backend="eager")
        torch.testing.assert_close(gradient(x, parameter), expected[argnums])
