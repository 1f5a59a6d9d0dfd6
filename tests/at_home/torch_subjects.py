"""Every function, operation and layer of the registry, in a model of PyTorch that learns."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from oracle import FUNCTIONS, OPERATIONS, map_into_domain, peer_of, rowwise_parameters
from torch.utils._pytree import tree_leaves

import activations_xp as ax
from activations_xp._registry import parts
from activations_xp.layers import _torch
from activations_xp.layers import torch as layers

Tensors = tuple[torch.Tensor, ...]

FEATURES, CLASSES, CUTOFFS = 8, 6, [2]


class Model(torch.nn.Module):
    """A body that is tested, of x times a weight that learns."""

    def __init__(self, body: torch.nn.Module, features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(features))
        self.body = body

    def forward(self, x: Any) -> Any:
        return self.body(x * self.weight)


class ModelOfTwo(Model):
    """The same with two inputs."""

    def forward(self, x: Any, y: Any) -> Any:
        return self.body(x * self.weight, y)


class ModelOfThree(Model):
    """The same with three inputs."""

    def forward(self, x: Any, y: Any, z: Any) -> Any:
        return self.body(x * self.weight, y, z)


MODELS = {1: Model, 2: ModelOfTwo, 3: ModelOfThree}


class Call(torch.nn.Module):
    """A function at given parameters, random in training only if it is ever not random."""

    def __init__(self, function: Any, **given: Any) -> None:
        super().__init__()
        self.function, self.given = function, given
        known: Any = {}
        with contextlib.suppress(ValueError):  # what torch builds in has no signature
            known = inspect.signature(function).parameters
        self.has_mode = "training" in known

    def forward(self, *inputs: torch.Tensor) -> Any:
        mode = {"training": self.training} if self.has_mode else {}
        return self.function(*inputs, **self.given, **mode)


class MultiHead(torch.nn.Module):
    """The operation with weights that learn."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.inner = torch.nn.Parameter(torch.randn(3 * FEATURES, FEATURES) / 4)
        self.outer = torch.nn.Parameter(torch.randn(FEATURES, FEATURES) / 4)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs, 2, self.outer, in_proj_weight=self.inner)[0]


class Merged(torch.nn.Module):
    """The operation on the queries, and on keys and values, as two states."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, query: Any, key: Any, value: Any) -> Any:
        other = query + (key + value).sum(-2, keepdim=True)
        return self.function(query, query.sum(-1), other, other.sum(-1))[0]


class Adaptive(torch.nn.Module):
    """An operation of the adaptive softmax with weights that learn."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.head = torch.nn.Parameter(torch.randn(3, FEATURES))
        self.down = torch.nn.Parameter(torch.randn(2, FEATURES))
        self.up = torch.nn.Parameter(torch.randn(4, 2))

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs, self.head, [(self.down, self.up)])


@dataclass(frozen=True, eq=False)
class Subject:
    """A model to be tested: its body, and inputs for a number of examples.

    The function is that of `Call`, and `their_body` has torch's own in its place.
    """

    name: str
    family: str
    body: Callable[[], torch.nn.Module]
    make_inputs: Callable[[int], Tensors]
    function: Any = None
    their_body: Callable[[], torch.nn.Module] | None = None

    def model(self, dtype: torch.dtype = torch.float64) -> Model:
        """Return a model, the same whenever it is made, in training mode."""
        torch.manual_seed(0)
        return self._model_of(self.body()).to(dtype)

    def their_model(self, dtype: torch.dtype = torch.float64) -> Model:
        """Return the same model with torch's own function or layer in place of ours."""
        assert self.their_body is not None
        body = self.their_body()
        body.load_state_dict(self.model().body.state_dict())
        return self._model_of(body).to(dtype)

    def _model_of(self, body: torch.nn.Module) -> Model:
        inputs = self.make_inputs(2)
        return MODELS[len(inputs)](body, inputs[0].shape[-1])

    def inputs(self, n: int, dtype: torch.dtype = torch.float64) -> Tensors:
        """Return inputs for n examples, the first axis of each."""
        return tuple(x.to(dtype) if x.is_floating_point() else x for x in self.make_inputs(n))

    @property
    def is_layer(self) -> bool:
        return self.function is None

    @property
    def is_random(self) -> bool:
        """Whether it is, also in evaluation mode."""
        return self.name.lower().replace("_", "") == "gumbelsoftmax"

    def __str__(self) -> str:
        return self.name


def _row(definition: Any, n: int, features: int = 4) -> Tensors:
    """Return points of the domain, away from kinks and ties."""
    x = np.random.default_rng(n).permutation(np.linspace(-2.9, 3.3, n * features))
    return (torch.tensor(map_into_domain(definition, x).reshape(n, features)),)


def _normal(*shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).normal(size=shape))


def _sequences(n: int) -> Tensors:
    return tuple(_normal(n, length, FEATURES) for length in (3, 5, 5))


def _heads(n: int) -> Tensors:
    return tuple(_normal(n, 2, length, 4) for length in (3, 5, 5))


def _examples(n: int) -> Tensors:
    return (_normal(n, FEATURES),)


def _images(n: int) -> Tensors:
    return (_normal(n, 3, 2, 4),)


def _labelled(n: int) -> Tensors:
    return (*_examples(n), torch.arange(n) % CLASSES)


BODIES: dict[str, tuple[Any, Callable[[int], Tensors]]] = {
    "adaptive_log_prob": (Adaptive, _examples),
    "adaptive_log_softmax_with_loss": (Adaptive, _labelled),
    "adaptive_predict": (Adaptive, _examples),
    "attention_with_lse": (Call, _heads),
    "merge_attention": (Merged, _heads),
    "multi_head_attention": (MultiHead, _sequences),
    "scaled_dot_product_attention": (Call, _heads),
}
"""The module of an operation, and its inputs."""

LAYERS: dict[str, tuple[dict[str, Any], Callable[[int], Tensors]]] = {
    "AdaptiveLogSoftmaxWithLoss": (
        {"in_features": FEATURES, "n_classes": CLASSES, "cutoffs": CUTOFFS, "div_value": 2.0},
        _labelled,
    ),
    "LayerNorm": ({"normalized_shape": FEATURES}, _examples),
    "RMSNorm": ({"normalized_shape": FEATURES}, _examples),
    "Softmax2d": ({}, _images),
    "MultiheadAttention": (
        {"embed_dim": FEATURES, "num_heads": 2, "batch_first": True},
        _sequences,
    ),
}
"""The arguments of a layer that is none of one function, and its inputs."""


def _of_a_function(function: Any) -> Subject:
    given = rowwise_parameters(function)
    given.pop("noise", None)
    peer = None if given else peer_of(function.definition, "torch")
    return Subject(
        function.__name__,
        function.__module__,
        functools.partial(Call, function, **given),
        functools.partial(_row, function.definition),
        function,
        peer and functools.partial(Call, peer),
    )


def _of_an_operation(operation: Any) -> Subject:
    body, inputs = BODIES[operation.__name__]
    peer = peer_of(operation.definition, "torch") if body is Call else None
    return Subject(
        operation.__name__,
        operation.__module__,
        functools.partial(body, operation),
        inputs,
        operation,
        peer and functools.partial(Call, peer),
    )


def _of_a_layer(name: str) -> Subject:
    kind, theirs = getattr(layers, name), getattr(torch.nn, name, None)
    parameters = inspect.signature(kind).parameters
    if name in LAYERS:
        given, inputs = LAYERS[name]
    else:
        function = parts(ax.get("gelu" if name == "Activation" else name))[0]
        known = {**rowwise_parameters(function), "name": "gelu"}
        given = {n: known[n] for n, p in parameters.items() if p.default is p.empty and n in known}
        given |= {"dim": -1} if "dim" in parameters else {}
        inputs = functools.partial(_row, function.definition)
    body = functools.partial(kind, **given)
    family = "layers that learn" if list(body().parameters()) else "layers"
    return Subject(
        name,
        name if name in LAYERS else family,
        body,
        inputs,
        their_body=theirs and functools.partial(theirs, **given),
    )


SUBJECTS = [
    *map(_of_a_function, FUNCTIONS),
    *map(_of_an_operation, OPERATIONS),
    *map(_of_a_layer, _torch.LAYERS),
]
ONE_OF_EACH_FAMILY = list({subject.family: subject for subject in reversed(SUBJECTS)}.values())


def tensors_of(results: Any) -> list[torch.Tensor]:
    """Return the tensors in what a model returns."""
    return [y for y in tree_leaves(results) if y is not None]


WRAPPERS = re.compile(r"^(_orig_mod|module|model)\.")


def values_and_gradients(model: Any, *inputs: torch.Tensor) -> Any:
    """Return the results, and the gradients of all parameters by name for a fixed cotangent."""
    torch.manual_seed(1)
    parameters = {WRAPPERS.sub("", name): p for name, p in model.named_parameters()}
    for parameter in parameters.values():
        parameter.grad = None
    results = tensors_of(model(*inputs))
    differentiable = [y for y in results if y.requires_grad]
    cotangents = [torch.cos(torch.arange(y.numel())).reshape(y.shape).to(y) for y in differentiable]
    if differentiable:
        torch.autograd.backward(differentiable, cotangents)
    gradients = {n: None if p.grad is None else p.grad.clone() for n, p in parameters.items()}
    return [y.detach() for y in results], gradients
