"""PyTorch on two processes: everything in the registry, sharded as torch shards its own.

The program at the end of this file runs in both. The truth is the same model in one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed
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

KNOWN = {"dtensor_by_features of adaptive_predict": "too many indices for tensor of dimension 1"}
"""Known failures, by a part of the message: DTensor cannot reduce what torch.gather took."""


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
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, choice, str(tmp_path), str(rank)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n\n".join(outputs)
    names = [subject.name for subject in CHOICES[choice]]
    for rank in range(2):
        failures = json.loads((tmp_path / f"{rank}.json").read_text())
        known = {k: text for k, text in KNOWN.items() if k.partition(" of ")[2] in names}
        new = {k: text for k, text in failures.items() if known.get(k, "\n") not in text}
        assert not new, "\n".join(f"{what}: {text}" for what, text in new.items())
        assert failures.keys() == known.keys(), "some of the known limits are gone"


def main(choice: str, folder: str, rank: str) -> None:
    """Check everything, and write a dictionary of what failed."""
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    timeout = timedelta(seconds=60)  # where one process fails, the other waits so long
    torch.distributed.init_process_group(
        "gloo", store=store, rank=int(rank), world_size=2, timeout=timeout
    )
    mesh, failures = init_device_mesh("cpu", (2,)), {}
    for name, check in CHECKS.items():
        for subject in CHOICES[choice]:
            try:
                check(subject, mesh)
            except Exception as error:
                text = "".join(traceback.format_exception_only(error)).strip()
                failures[f"{name} of {subject}"] = text
    Path(folder, f"{rank}.json").write_text(json.dumps(failures))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
