"""DTensors on four processes: values, gradients, placements, and the collectives counted.

The program at the end of this file runs in each. The truth is the same call in one process; that of
the collectives is what the mathematics needs, or what the same model needs with torch's functions.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from at_home import torch_spawn
from oracle import FUNCTIONS, in_sweep, map_into_domain, output_axis, over, rowwise_parameters
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.utils._python_dispatch import TorchDispatchMode

import activations_xp as ax
from activations_xp.layers import torch as layers
from activations_xp.parallel.torch import ring_attention

PROCESSES = 4

WAITS = ("wait_tensor", "_wrap_tensor_autograd")
"""The operators among the collectives that are none."""


class Collectives(TorchDispatchMode):
    """The names of the collectives, and the numbers of elements that they take."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if any(issubclass(t, DTensor) for t in types):
            return NotImplemented  # till DTensor has made collectives of it
        name = function.__name__.partition(".")[0]
        if function.namespace == "_c10d_functional" and name not in WAITS:
            self.calls.append((name, args[0].numel()))
        return function(*args, **(kwargs or {}))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def _full(x: Any) -> Any:
    return x.full_tensor() if isinstance(x, DTensor) else x


def _place(x: torch.Tensor, mesh: DeviceMesh, placements: Iterable[Any]) -> Any:
    """Return a DTensor, of whose partial placements each process has an equal part of the sum."""
    placements = tuple(placements)
    whole = [Replicate() if p.is_partial() else p for p in placements]
    count = [mesh.size(i) for i, p in enumerate(placements) if p.is_partial()]
    part = distribute_tensor(x, mesh, whole).to_local() / int(np.prod(count))
    return (
        DTensor.from_local(part, mesh, placements) if count else distribute_tensor(x, mesh, whole)
    )


def _cotangent(y: Any) -> torch.Tensor:
    return torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)


class Compared:
    """A function of DTensors that was compared with the same of tensors, and what it did."""

    def __init__(
        self,
        function: Callable[..., Any],
        mesh: DeviceMesh,
        inputs: list[torch.Tensor],
        placements: list[Iterable[Any]],
        is_twice: bool = False,
    ) -> None:
        wanted = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
        leaves = [x for x in wanted if x.requires_grad]
        y = function(*wanted)
        self.x = [
            _place(x, mesh, p).detach().requires_grad_(x.is_floating_point())
            for x, p in zip(inputs, placements, strict=True)
        ]
        with Collectives() as self.forward:
            self.y = function(*self.x)
        torch.testing.assert_close(_full(self.y), y)
        self.backward, self.gradients = Collectives(), []
        if not y.requires_grad:
            return
        g = _cotangent(y)
        gradients = torch.autograd.grad(y, leaves, g, create_graph=is_twice)
        parts = [x for x in self.x if x.requires_grad]
        given = [Replicate() if p.is_partial() else p for p in self.y.placements]
        cotangent = distribute_tensor(g, mesh, given)
        with self.backward:
            self.gradients = torch.autograd.grad(self.y, parts, cotangent, create_graph=is_twice)
        torch.testing.assert_close([_full(g) for g in self.gradients], list(gradients))
        if not is_twice:
            return
        # of a cotangent in other placements, too
        whole = distribute_tensor(g, mesh, [Replicate()] * mesh.ndim)
        of_whole = torch.autograd.grad(function(*self.x), parts, whole, create_graph=True)
        second, found = (
            torch.autograd.grad(sum(g.square().sum() for g in first), of, allow_unused=True)
            for first, of in ((gradients, leaves), (of_whole, parts))
        )
        torch.testing.assert_close([_full(g) for g in found], list(second))


# of each function


def _points(function: Any) -> torch.Tensor:
    """Return points of the domain, away from kinks and ties, of shape (8, 3, 8)."""
    x = np.random.default_rng(0).permutation(np.linspace(-2.9, 3.3, 8 * 3 * 8))
    points = map_into_domain(function.definition, x).reshape(8, 3, 8)
    return torch.tensor(points, dtype=torch.float32)


STATISTICS = {
    "layer_norm": (2, 4),
    "log_softmax": (2, 1),
    "logmeanexp": (3, 2),
    "logsumexp": (3, 2),
    "normalize": (1, 2),
    "rms_norm": (1, 2),
    "softmax": (2, 1),
    "softmin": (2, 1),
    "standardize": (2, 4),
}
"""The numbers of a row that are reduced, forward and backward, where its axis is sharded."""


def each_process_alone(function: Any, mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Where no process needs a part of another, there is no collective, and placements are kept."""
    given = rowwise_parameters(function)
    is_along = output_axis(function) in ("kept", "resized")
    call = partial(function, **given)
    grids = [(mesh, [Shard(0)]), (mesh, [Replicate()])]
    grids += [] if is_along else [(mesh, [Shard(2)]), (both, [Shard(0), Shard(2)])]
    for grid, placements in grids:
        done = Compared(call, grid, [_points(function)], [placements])
        assert done.forward.calls == done.backward.calls == []
        assert [*done.y.placements] == placements
        assert all([*g.placements] == placements for g in done.gradients)


def partial_sums(function: Any, mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Where x is a sum that is not made yet, it is reduced, and nothing else."""
    x = _points(function)
    done = Compared(partial(function, **rowwise_parameters(function)), mesh, [x], [[Partial()]])
    assert (done.forward.calls, done.backward.calls) == ([("all_reduce", x.numel())], [])
    assert all(p == Replicate() for p in done.y.placements)


def along_a_sharded_axis(function: Any, mesh: DeviceMesh, both: DeviceMesh) -> None:
    """A few numbers of each row are reduced, or x is gathered once, and once its cotangent."""
    call = partial(function, **rowwise_parameters(function))
    for grid, placements, count in ((mesh, [Shard(2)], 4), (both, [Shard(0), Shard(2)], 2)):
        x = _points(function)
        done = Compared(call, grid, [x], [placements])
        rows = 8 * 3 * count // PROCESSES
        if (counts := STATISTICS.get(function.__name__)) is not None:
            assert done.forward.calls == [("all_reduce", rows)] * counts[0]
            assert done.backward.calls == [("all_reduce", rows)] * counts[1]
        else:
            assert done.forward.calls == [("all_gather_into_tensor", x.numel() // PROCESSES)]
            assert done.backward.names in ([], ["all_gather_into_tensor"])
        if done.y.ndim == x.ndim:
            assert [*done.y.placements] == placements
        assert all([*g.placements] == placements for g in done.gradients)


def derivatives(function: Any, mesh: DeviceMesh, both: DeviceMesh) -> None:
    """The derivative and the vjp are alike, for a cotangent in any placements."""
    call, x = partial(function.derivative, **rowwise_parameters(function)), _points(function)
    found = call(distribute_tensor(x, mesh, [Shard(2)]))
    torch.testing.assert_close(_full(found), call(x))
    call, g = partial(function.vjp, **rowwise_parameters(function)), _cotangent(x)
    for placement in (Shard(2), Replicate()):
        parts = [distribute_tensor(g, mesh, [placement]), distribute_tensor(x, mesh, [Shard(2)])]
        with Collectives() as collectives:
            found = call(*parts)["x"]
        assert (collectives.calls, found.placements) == ([], (Shard(2),))
        torch.testing.assert_close(_full(found), call(g, x)["x"])


# with parameters


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def parameters(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Gradients of parameters are sums over the processes; each case also twice."""
    _parameters(
        (mesh, [Shard(0)]), (mesh, [Shard(2)]), (mesh, [Partial()]), (both, [Shard(0), Shard(2)])
    )


def parameters_elsewhere(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """The same in further placements, in which a dimension may be sharded twice."""
    pairs = [(0, 0), (2, 0), (2, 2)]
    _parameters((mesh, [Shard(1)]), *((both, [Shard(i), Shard(j)]) for i, j in pairs))


def _parameters(*grids: tuple[DeviceMesh, list[Any]]) -> None:
    x, of_features = _normal(8, 4, 8), _normal(8, seed=1)
    mask, noise = _normal(8, 4, 8, seed=2) > -1, _normal(8, 4, 8, seed=3)

    def drop(x: Any) -> Any:
        given = DTensor.from_local(noise, x.device_mesh) if isinstance(x, DTensor) else noise
        return ax.dropout(x, 0.5, training=True, noise=given)

    cases: list[tuple[Callable[..., Any], list[torch.Tensor]]] = [
        (ax.prelu, [x, of_features]),
        (partial(ax.prelu, axis=1), [x, of_features[:4].contiguous()]),
        (ax.rational, [x, _normal(6, seed=3)]),
        (lambda x, w, b: ax.layer_norm(x, weight=w, bias=b), [x, of_features, of_features + 1]),
        (lambda x, gate: ax.swiglu(x, gate=gate), [x, x + 1]),
        (lambda x, where: ax.softmax(x, where=where), [x, mask]),
        (lambda x, where: ax.sparsemax(x, where=where), [x, mask]),
        (ax.entmax, [x, torch.full((8, 4, 1), 1.3).double()]),
        (drop, [x]),
        (partial(ax.layer_norm, axis=(1, 2)), [x]),
        (partial(ax.logsumexp, axis=(0, 2)), [x]),
        (partial(ax.one_hot, num_classes=3, axis=1), [x.sign()]),
    ]
    for (function, inputs), (grid, placements) in itertools.product(cases, grids):
        whole = [Replicate()] * grid.ndim
        is_like = [a.shape == x.shape and placements != [Partial()] for a in inputs[1:]]
        others = [placements if like else whole for like in is_like]
        Compared(function, grid, inputs, [placements, *others], is_twice=True)


def parts_of_unequal_size(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Also where some processes have no part."""
    for rows, placement in itertools.product((6, 5, 1), ([Shard(0)], [Shard(1)])):
        x, weight = _normal(rows, 7), _normal(7, seed=1)
        for function in (ax.gelu, ax.softmax, ax.sparsemax, partial(ax.logsumexp, axis=0)):
            Compared(function, mesh, [x], [placement], is_twice=True)
        Compared(ax.prelu, mesh, [x, weight], [placement, [Replicate()]], is_twice=True)


def random_numbers(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """A seed gives the numbers of torch's functions, and a generator those of one process."""
    theirs = {"dropout": (0.5, True), "alpha_dropout": (0.5, True), "rrelu": (1 / 8, 1 / 3, True)}
    x = _normal(8, 4, 8)
    for placement in (Shard(0), Shard(2), Replicate()):
        part = distribute_tensor(x, mesh, [placement])
        for name, arguments in theirs.items():
            torch.manual_seed(0)
            expected = getattr(F, name)(part, *arguments)
            torch.manual_seed(0)
            found = getattr(ax, name)(part, *arguments)
            torch.testing.assert_close(_full(found), _full(expected))
            drawn = [
                getattr(ax, name)(t, *arguments, rng=torch.Generator().manual_seed(1))
                for t in (part, x)
            ]
            assert drawn[0].placements == (placement,)
            torch.testing.assert_close(_full(drawn[0]), drawn[1])


# attention


def attention(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Nothing is gathered but the keys of other processes' parts of the sequence."""
    query, key, value = (_normal(4, 8, 12, 4, seed=seed) for seed in range(3))
    few = [key[:, :4].contiguous(), value[:, :4].contiguous()]
    mask, seq, whole = _normal(4, 1, 12, 12) > -1, [Shard(2)], [Replicate()]
    gathered = ["all_gather_into_tensor"] * 2
    scattered = ["reduce_scatter_tensor"] * 2
    for is_causal in (False, True):
        attend = partial(ax.scaled_dot_product_attention, is_causal=is_causal)
        shorter = partial(ax.scaled_dot_product_attention, is_causal=is_causal and "lower_right")
        masked = lambda q, k, v, mask, attend=attend: attend(q, k, v, mask=mask)  # noqa: E731
        with_lse = lambda *args, is_causal=is_causal: ax.attention_with_lse(  # noqa: E731
            *args, is_causal=is_causal
        )[1]
        three = [query, key, value]
        cases: list[Any] = [
            (attend, mesh, three, [[Shard(0)]] * 3, [], []),
            (attend, mesh, three, [[Shard(1)]] * 3, [], []),
            (attend, both, three, [[Shard(0), Shard(1)]] * 3, [], []),
            (attend, mesh, [query, *few], [[Shard(1)]] * 3, [], []),
            (masked, mesh, [*three, mask], [[Shard(1)]] * 3 + [whole], [], []),
            (masked, mesh, [*three, mask], [seq, whole, whole, whole], [], []),
            (attend, mesh, three, [seq, whole, whole], [], []),
            (with_lse, mesh, three, [seq, whole, whole], [], []),
            (
                shorter,
                mesh,
                [query[:, :, :8].contiguous(), *three[1:]],
                [seq, whole, whole],
                [],
                [],
            ),
            (attend, mesh, three, [seq] * 3, gathered, scattered),
            (attend, both, three, [[Shard(1), Shard(2)]] * 3, gathered, scattered),
        ]
        for function, grid, inputs, placements, forward, backward in cases:
            done = Compared(function, grid, inputs, placements)
            assert (done.forward.names, done.backward.names) == (forward, backward)
            assert [*done.y.placements] == [*placements[0]]


def ring(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Keys and values go round, also in a group of some processes, and with fewer heads."""
    query, key, value = (_normal(2, 4, 12, 4, seed=seed) for seed in range(3))
    few = [key[:, :2].contiguous(), value[:, :2].contiguous()]
    mask = (_normal(2, 1, 1, 12, seed=3) > -0.5).expand(2, 4, 12, 12)
    masks = (None, mask & (torch.arange(12) > 3))
    for grid, dim in ((mesh, 0), (both, 1)):
        count, rank = grid.size(dim), grid.get_local_rank(dim)
        for others, mask, is_causal in itertools.product(([key, value], few), masks, (False, True)):
            inputs = [x.clone().requires_grad_() for x in (query, *others)]
            options: Any = {"is_causal": is_causal, "softcap": 3.0}
            y = ax.scaled_dot_product_attention(*inputs, mask=mask, **options)
            g = _cotangent(y)
            gradients = torch.autograd.grad(y, inputs, g)
            y, g, *wanted = (x.chunk(count, -2)[rank] for x in (y, g, *gradients))
            parts = [x.detach().chunk(count, -2)[rank].requires_grad_() for x in inputs]
            of_keys = None if mask is None else mask[:, :1, :1].chunk(count, -1)[rank]
            found = ring_attention(*parts, grid.get_group(dim), mask=of_keys, **options)
            torch.testing.assert_close(found, y)
            torch.testing.assert_close([*torch.autograd.grad(found, parts, g)], wanted)
    halves = [x.bfloat16().chunk(PROCESSES, -2)[mesh.get_rank()] for x in (query, key, value)]
    assert ring_attention(*halves).dtype is torch.bfloat16


# plans

FEATURES, HEADS = 16, 4


class Attention(torch.nn.Module):
    """Causal attention of some heads, of a function that is given."""

    def __init__(self, attend: Callable[..., Any]) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (
            torch.nn.Linear(FEATURES, FEATURES) for _ in range(4)
        )
        self.attend = attend

    def forward(self, x: Any) -> Any:
        heads = [
            project(x).unflatten(-1, (-1, FEATURES // HEADS)).transpose(-2, -3)
            for project in (self.query, self.key, self.value)
        ]
        return self.out(self.attend(*heads).transpose(-2, -3).flatten(-2))


class FeedForward(torch.nn.Module):
    """A gated unit, of a function that is given."""

    def __init__(self, unit: Callable[..., Any]) -> None:
        super().__init__()
        self.gate, self.up = (torch.nn.Linear(FEATURES, 2 * FEATURES) for _ in range(2))
        self.down = torch.nn.Linear(2 * FEATURES, FEATURES)
        self.unit = unit

    def forward(self, x: Any) -> Any:
        return self.down(self.unit(self.gate(x), self.up(x)))


class Block(torch.nn.Module):
    """A block of a transformer."""

    def __init__(self, norm: Any, attend: Callable[..., Any], unit: Callable[..., Any]) -> None:
        super().__init__()
        self.attention_norm, self.unit_norm = norm(FEATURES), norm(FEATURES)
        self.attention, self.feed_forward = Attention(attend), FeedForward(unit)

    def forward(self, x: Any) -> Any:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.unit_norm(x))


def _theirs(query: Any, key: Any, value: Any) -> Any:
    """Return attention of torch's functions; its kernel has no strategy on the CPU."""
    return torch.softmax(query @ key.transpose(-1, -2), -1) @ value


_attend = partial(ax.scaled_dot_product_attention, is_causal=True)


class Unit(torch.nn.Sequential):
    """The unit with its activation as a module."""

    def forward(self, gate: Any, up: Any) -> Any:
        return super().forward(gate) * up


def _converted() -> Block:
    block = Block(torch.nn.LayerNorm, _attend, Unit(torch.nn.GELU()))
    assert layers.convert(block).swapped.keys() == {"feed_forward.unit.0"}
    return block


BLOCKS: dict[str, Callable[[], Block]] = {
    "torch": lambda: Block(torch.nn.LayerNorm, _theirs, lambda gate, up: F.gelu(gate) * up),
    "ours": lambda: Block(layers.LayerNorm, _attend, lambda gate, up: ax.gelu(gate) * up),
    "converted": _converted,
    "RMSNorm and SwiGLU": lambda: Block(
        layers.RMSNorm, _attend, lambda gate, up: ax.swiglu(up, gate=gate)
    ),
}

COLUMNS = ("attention.query", "attention.key", "attention.value")
UNITS = ("feed_forward.gate", "feed_forward.up")
ROWS = ("attention.out", "feed_forward.down")


def _tensor_plan() -> dict[str, Any]:
    columns = {name: ColwiseParallel(use_local_output=False) for name in COLUMNS + UNITS}
    return {**columns, **{name: RowwiseParallel() for name in ROWS}}


def _sequence_plan() -> dict[str, Any]:
    gather = {"input_layouts": (Shard(1),), "desired_input_layouts": (Replicate(),)}
    norms = {name: SequenceParallel() for name in ("attention_norm", "unit_norm")}
    inputs = {name: PrepareModuleInput(**gather) for name in ("attention", "feed_forward")}
    scatter = {"output_layouts": Shard(1), "use_local_output": False}
    rows = {name: RowwiseParallel(**scatter) for name in ROWS}
    return {**_tensor_plan(), **rows, **norms, **inputs}


def _block(name: str) -> Block:
    torch.manual_seed(0)
    return BLOCKS[name]().double()


def _train(block: Any, x: Any) -> tuple[Any, dict[str, Any], Collectives]:
    """Return the result, the gradients of all parameters, and the collectives."""
    with Collectives() as collectives:
        y = block(x)
        y.square().sum().backward()
    gradients = {n.removeprefix("_orig_mod."): p.grad for n, p in block.named_parameters()}
    return _full(y.detach()), {n: _full(g) for n, g in gradients.items()}, collectives


def plans(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Tensor, sequence and context parallel blocks, with the collectives of torch's functions."""
    x = _normal(4, 8, FEATURES)
    for plan in (_tensor_plan, _sequence_plan):
        counts = {}
        for name in BLOCKS:
            expected = _train(_block(name), x.clone().requires_grad_())
            block = parallelize_module(_block(name), mesh, plan())
            is_sequence = plan is _sequence_plan
            part = distribute_tensor(x, mesh, [Shard(1)]) if is_sequence else x.clone()
            y, gradients, collectives = _train(block, part.requires_grad_())
            torch.testing.assert_close((y, gradients), expected[:2])
            counts[name] = sorted(collectives.calls)
        assert all(found == counts["torch"] for found in counts.values()), counts


def context(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Where the sequence is in parts, the keys and values of others are gathered alone."""
    x = _normal(4, 8, FEATURES)
    for name in ("ours", "RMSNorm and SwiGLU"):
        expected = _train(_block(name), x)
        block = torch.distributed.tensor.distribute_module(_block(name), mesh)
        y, gradients, collectives = _train(block, distribute_tensor(x, mesh, [Shard(1)]))
        torch.testing.assert_close((y, gradients), expected[:2])
        counts = [collectives.names.count(name) for name in ("all_gather_into_tensor",)]
        assert counts == [2], collectives.calls


def compiled(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """A block in one graph; torch's compiler has the parts as plain tensors."""
    x = _normal(4, 8, FEATURES)
    expected = _train(_block("ours"), x)
    block = parallelize_module(_block("ours"), mesh, _sequence_plan())
    graph = torch.compile(block, backend="aot_eager", fullgraph=True)
    part = distribute_tensor(x, mesh, [Shard(1)])
    y = graph(part)
    y.square().sum().backward()
    gradients = {name: _full(p.grad) for name, p in block.named_parameters()}
    torch.testing.assert_close((_full(y.detach()), gradients), expected[:2])


def fsdp_and_tensor(mesh: DeviceMesh, both: DeviceMesh) -> None:
    """Examples in one dimension of the mesh, features in the other."""
    x = _normal(4, 8, FEATURES)
    for name in BLOCKS:
        y, gradients, _ = _train(_block(name), x)
        block = parallelize_module(_block(name), both["features"], _tensor_plan())
        fully_shard(block, mesh=both["examples"])
        half = both.get_local_rank("examples")
        found = _train(block, x.chunk(2)[half])
        means = {name: g / 2 for name, g in gradients.items()}  # of both halves
        torch.testing.assert_close(found[:2], (y.chunk(2)[half], means))


OF_EACH = (each_process_alone, partial_sums, along_a_sharded_axis, derivatives)
OF_ALL = (
    *(parameters, parts_of_unequal_size, random_numbers),
    *(attention, ring, plans, context, fsdp_and_tensor),
)
IN_SWEEP = (parameters_elsewhere, compiled)
SOME = {
    *("gelu", "hard_swish", "log_sigmoid", "mish", "tanhexp", "prelu", "rational"),
    *("entmax", "glu", "one_hot", "sparsemax", "layer_norm", "logsumexp", "softmax"),
}
CHOICES = {
    "some functions": [f for f in FUNCTIONS if f.__name__ in SOME],
    "everything": FUNCTIONS,
}


@over("choice", in_sweep(CHOICES))
def test_four_processes(choice, tmp_path):
    """Run one program for all, whose report names what failed and why."""
    torch_spawn.run(__file__, PROCESSES, tmp_path, choice)


def _is_checked(check: Any, function: Any) -> bool:
    """Return whether it is one of the functions that a check is of."""
    is_along = output_axis(function) in ("kept", "resized")
    if function.definition.noise is not None and "training" not in function.definition.parameters:
        return False
    if check is along_a_sharded_axis:
        return is_along
    return check is not derivatives or hasattr(function, "derivative")


def checks(choice: str) -> dict[str, Any]:
    """Return what is checked, by name."""
    mesh = init_device_mesh("cpu", (PROCESSES,))
    both = init_device_mesh("cpu", (2, 2), mesh_dim_names=("examples", "features"))
    of_each = {
        f"{check.__name__} of {function.__name__}": partial(check, function, mesh, both)
        for check in OF_EACH
        for function in CHOICES[choice]
        if _is_checked(check, function)
    }
    of_all = OF_ALL if choice == "some functions" else OF_ALL + IN_SWEEP
    return of_each | {check.__name__: partial(check, mesh, both) for check in of_all}


if __name__ == "__main__":
    torch_spawn.report(checks, *sys.argv[1:])
