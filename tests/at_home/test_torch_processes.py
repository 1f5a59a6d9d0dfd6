"""PyTorch on two processes: everything in the registry, sharded as torch shards its own.

The program at the end of this file runs in both. The truth is the same model in one process.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from at_home import torch_spawn
from at_home.torch_subjects import (
    ONE_OF_EACH_FAMILY,
    SUBJECTS,
    Subject,
    tensors_of,
    values_and_gradients,
)
from oracle import in_sweep, over
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_module, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map


class Gathered(torch.nn.Module):
    """A model whose results are gathered from all processes."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> Any:
        return [_full(y) for y in tensors_of(self.model(*inputs))]


def _full(x: Any) -> Any:
    return x.full_tensor() if isinstance(x, DTensor) else x


def _dtensor(subject: Subject, mesh: DeviceMesh, axis: int) -> None:
    """Shard the inputs along an axis, and leave the parameters whole."""
    inputs = subject.inputs(4)
    expected = values_and_gradients(subject.model().eval(), *inputs)
    model = distribute_module(subject.model().eval(), mesh)
    shards = [distribute_tensor(x, mesh, [Shard(axis if x.ndim > 1 else 0)]) for x in inputs]
    results, gradients = values_and_gradients(Gathered(model), *shards)
    got = results, {name: _full(g) for name, g in gradients.items()}
    if subject.is_random:  # each process draws its own part
        got, expected = (tree_map(torch.zeros_like, tree) for tree in (got, expected))
    torch.testing.assert_close(got, expected)


def _in_halves(subject: Subject, mesh: DeviceMesh, model: torch.nn.Module) -> None:
    """Compare a model that sees half of the examples with one that sees each half in turn."""
    halves = [tuple(x.chunk(2)[i] for x in subject.inputs(4)) for i in range(2)]
    values, of_halves = zip(
        *(values_and_gradients(subject.model().eval(), *half) for half in halves), strict=True
    )
    rank = mesh.get_rank()
    results, gradients = values_and_gradients(model.eval(), *halves[rank])
    torch.testing.assert_close(results, values[rank])
    first, second = of_halves
    means = {name: None if g is None else (g + second[name]) / 2 for name, g in first.items()}
    torch.testing.assert_close({name: _full(g) for name, g in gradients.items()}, means)


def dtensor_by_examples(subject: Subject, mesh: DeviceMesh) -> None:
    _dtensor(subject, mesh, 0)


def dtensor_by_features(subject: Subject, mesh: DeviceMesh) -> None:
    _dtensor(subject, mesh, -1)


def fsdp2(subject: Subject, mesh: DeviceMesh) -> None:
    model = subject.model()
    if subject.is_layer and list(model.body.parameters()):
        fully_shard(model.body, mesh=mesh)
    fully_shard(model, mesh=mesh)
    _in_halves(subject, mesh, model)


def ddp(subject: Subject, mesh: DeviceMesh) -> None:
    _in_halves(subject, mesh, DistributedDataParallel(subject.model()))


CHECKS = {f.__name__: f for f in (dtensor_by_examples, dtensor_by_features, fsdp2, ddp)}
CHOICES = {"one of each family": ONE_OF_EACH_FAMILY, "everything": SUBJECTS}


@over("choice", in_sweep(CHOICES))
def test_two_processes(choice, tmp_path):
    """Run one program for all, whose report names what failed and why."""
    torch_spawn.run(__file__, 2, tmp_path, choice)


def checks(choice: str) -> dict[str, Any]:
    """Return what is checked of each subject, by name."""
    mesh = init_device_mesh("cpu", (2,))
    return {
        f"{name} of {subject}": partial(check, subject, mesh)
        for name, check in CHECKS.items()
        for subject in CHOICES[choice]
    }


if __name__ == "__main__":
    torch_spawn.report(checks, *sys.argv[1:])
