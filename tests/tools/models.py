"""Measure models of transformers and timm with our activation in place of their own.

``nox -s models`` prints a table: the time of a forward pass, eager, compiled, exported and with
onnxruntime, of the original and of ours, in turns in one process. The weights are random and the
same in both. The difference is the largest of any result, over the largest result.
"""

from __future__ import annotations

import copy
import functools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import rich.console
import rich.table
import torch

from activations_xp.layers import torch as layers

# timm and transformers import torchvision, whose compiled extension is of another torch than one
# for the processor alone, and cannot be loaded there. Its Python code then registers what these
# operators return, though nothing here calls them, and fails where they have no schema.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    OPERATORS.define(schema)

import timm  # noqa: E402
import transformers  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from transformers.activations import ACT2FN  # noqa: E402

SECONDS = 1.5
"""The time to spend on each comparison."""


class Example(NamedTuple):
    """A model with its own activation and one with ours, of the same weights, and an input."""

    name: str
    theirs: torch.nn.Module
    ours: torch.nn.Module
    x: torch.Tensor


class First(torch.nn.Module):
    """A model of transformers that takes tokens and returns their last hidden states."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x, use_cache=False, return_dict=False)[0]


def with_ours(model: torch.nn.Module, activation: str) -> torch.nn.Module:
    """Return a copy of a model of transformers with our function of the same name."""
    model = copy.deepcopy(model)
    kind = type(ACT2FN[activation])
    places = [(parent, n) for parent in model.modules() for n, _ in parent.named_children()]
    found = [(parent, n) for parent, n in places if type(getattr(parent, n)) is kind]
    assert found, f"no {kind.__name__}"
    for parent, name in found:
        setattr(parent, name, layers.Activation(activation))
    return model


def _tokens(size: int, count: int) -> torch.Tensor:
    return torch.randint(size, (4, count), generator=torch.Generator().manual_seed(0))


def _transformer(name: str, width: int, length: int) -> Example:
    """Return a model of four layers from the code of transformers."""
    torch.manual_seed(0)
    shared = {"vocab_size": 1000, "attn_implementation": "eager"}
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
    }
    if name == "BERT":
        config = transformers.BertConfig(**shared, **sizes)
        model, activation = transformers.BertModel(config), config.hidden_act
    elif name == "GPT-2":
        config = transformers.GPT2Config(**shared, n_embd=width, n_layer=4, n_head=4)
        model, activation = transformers.GPT2Model(config), config.activation_function
    else:
        heads = {"num_key_value_heads": 1, "head_dim": width // 4}
        config = transformers.GemmaConfig(**shared, **sizes, **heads)
        model, activation = transformers.GemmaModel(config), "gelu_pytorch_tanh"
    model = First(model).eval()
    return Example(name, model, with_ours(model, activation), _tokens(1000, length))


def _vision(name: str, make: Callable[..., torch.nn.Module], ours: Any, size: int) -> Example:
    """Return a model of timm, whose `act_layer` is the activation."""
    models = []
    for given in ({}, {"act_layer": ours}):
        torch.manual_seed(0)
        models.append(make(**given).eval())
    models[1].load_state_dict(models[0].state_dict())
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Example(name, *models, x)


def examples(width: int = 256, length: int = 128, size: int = 128) -> dict[str, Any]:
    """Return what makes each example, by its name, for models of this width."""
    resnet = functools.partial(timm.create_model, "resnet18", num_classes=10)
    vit = functools.partial(
        VisionTransformer, img_size=size, patch_size=16, embed_dim=width, depth=4, num_heads=4
    )
    text = {
        name: functools.partial(_transformer, name, width, length)
        for name in ("BERT", "GPT-2", "Gemma")
    }
    return {
        **text,
        "resnet18": functools.partial(_vision, "resnet18", resnet, layers.ReLU, size),
        "ViT": functools.partial(_vision, "ViT", vit, layers.GELU, size),
    }


# ways to run a model: each takes one and its input, and returns a function of the input


def eager(model: torch.nn.Module, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return model


def compiled(model: torch.nn.Module, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    torch.compiler.reset()
    return torch.compile(model)


def exported(model: torch.nn.Module, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.export.export(model, (x,)).module()


def in_onnx(model: torch.nn.Module, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options)
    (given,) = session.get_inputs()
    return lambda x: torch.from_numpy(session.run(None, {given.name: x.numpy()})[0])


WAYS = {"eager": eager, "compiled": compiled, "exported": exported, "ONNX": in_onnx}


def difference(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference over the largest number."""
    return ((got - expected).abs().max() / expected.abs().max()).item()


def _times(calls: list[Callable[[], Any]]) -> list[float]:
    """Return the median time of each of calls that take turns."""
    for call in calls:
        call()
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times[0]) < 5:
        for call, column in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            column.append(time.perf_counter() - start)
    return [statistics.median(column) for column in times]


@torch.no_grad()
def main(chosen: list[str]) -> None:
    """Print the table, of the chosen models."""
    table = rich.table.Table("model", "way", "original ms", "ours ms", "ratio", "difference")
    for name, make in examples().items():
        if chosen and name not in chosen:
            continue
        _, theirs, ours, x = make()
        for way, run in WAYS.items():
            calls = [run(model, x) for model in (theirs, ours)]
            apart = difference(calls[1](x), calls[0](x))
            before, after = _times([functools.partial(call, x) for call in calls])
            figures = [f"{1e3 * before:.2f}", f"{1e3 * after:.2f}", f"{before / after:.3f}"]
            table.add_row(name, way, *figures, f"{apart:.1e}")
    rich.console.Console().print(table)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what the exporters say of their own
    main(sys.argv[1:])
