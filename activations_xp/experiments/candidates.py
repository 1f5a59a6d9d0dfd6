"""The functions that enter a comparison, and how each fits between two layers."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any

import numpy as np

from .._definition import Definition
from .._dispatch import backend_of
from .._errors import describe_value
from .._registry import get, name_of
from ..initializers import gain
from ..layers._layers import Activation, PReLU

DEFAULT = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid")
"""The functions that are compared where none is named."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A function under a label, with the parameters that it is given and those that it learns.

    constants : the parameters that stay as they are
    learned : the starts of the parameters that are trained, one for each layer
    """

    label: str
    function: Any
    constants: Mapping[str, Any] = field(default_factory=dict)
    learned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def definition(self) -> Definition | None:
        """The definition, which a user's own function need not have."""
        return getattr(self.function, "definition", None)

    @functools.cached_property
    def identity(self) -> str:
        """The function and its parameters as JSON, which is the same in every process."""
        try:
            name = name_of(self.function)
        except TypeError:
            name = _fingerprint(self.function)
        parts = {"function": name, "constants": self.constants, "learned": self.learned}
        return json.dumps(parts, sort_keys=True, default=repr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Candidate) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __call__(self, x: Any, learned: Mapping[str, Any], noise: Any, training: bool) -> Any:
        return self.function(x, **self._kwargs(learned, noise, training))

    def vjp(self, g: Any, x: Any, learned: Mapping[str, Any], noise: Any) -> dict[str, Any]:
        """Return the gradients of x and of what is learned, in training."""
        gradients: dict[str, Any] = self.function.vjp(g, x, **self._kwargs(learned, noise, True))
        return gradients

    def _kwargs(self, learned: Mapping[str, Any], noise: Any, training: bool) -> dict[str, Any]:
        kwargs = {**self.constants, **learned}
        if self.definition is None or self.definition.noise is None:
            return kwargs
        if "training" not in self.definition.parameters:
            return {**kwargs, "noise": noise}
        return {**kwargs, "noise": noise, "training": True} if training else kwargs

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape of the random numbers that it takes for x of a shape, if it does."""
        definition = self.definition
        if definition is None or definition.noise is None:
            return None
        x = np.empty(shape)
        given = {**definition.defaults, **self.constants}
        values = tuple(given[name] for name in definition.parameters)
        checked = definition.bind(definition.check(x, values, backend_of(x)))
        return definition.noise.shape(**{definition.first: x, **checked})

    def fitted(self, width: int, pieces: int) -> tuple[Candidate, int]:
        """Return the function for layers of `width` outputs, and how many inputs it takes.

        A gated function takes two numbers for each that it returns, `maxout` takes `pieces`.

        Raises
        ------
        TypeError, ValueError
            If it does not fit between two layers.
        """
        definition = self.definition
        if definition is None:
            return self, width
        if not definition.is_activation:
            raise self._misfit("it takes several arrays")
        given = {**definition.defaults, **self.constants, **self.learned}
        if "num_units" in definition.parameters:
            given["num_units"] = width
        for name, spec in definition.parameters.items():
            if name not in given:
                what = "a second array" if spec.broadcasts == "with" else name
                raise self._misfit(f"it needs {what}")
        low, high = definition.properties.domain
        if (low, high) != (-inf, inf):
            raise self._misfit(f"it is defined from {low:g} to {high:g} alone")
        if not hasattr(self.function, "vjp"):
            raise self._misfit("it has no gradient")
        constants = {**self.constants, **({"num_units": width} if "num_units" in given else {})}
        candidate = Candidate(self.label, self.function, constants, self.learned)
        sizes = [width, 2 * width, *([width // 2] if width % 2 == 0 else [])]
        for size in [pieces * width] if "num_units" in given else sizes:
            x = np.zeros((2, size))
            noise = None if definition.noise is None else 0.5
            if candidate(x, self.starts(np.float64), noise, True).shape == (2, width):
                return candidate, size
        raise self._misfit(f"it does not return {width} numbers for each example")

    def _misfit(self, why: str) -> Exception:
        return ValueError(f"compare: {self.label} does not fit between layers: {why}")

    def starts(self, dtype: Any) -> dict[str, Any]:
        """Return what is learned as it begins: arrays of one axis."""
        return {name: np.atleast_1d(np.asarray(v, dtype)) for name, v in self.learned.items()}

    def gain(self, size: int, call: Callable[[Any], Any]) -> float:
        """Return the factor of the weights that keeps the variance, as `activations_xp.gain`.

        That of a function along an axis, or of a user's, is found from a sample, as is one that
        learns a parameter for each channel.
        """
        definition, values = self.definition, self.learned.values()
        has_channels = any(isinstance(value, list) for value in values)
        if definition is not None and definition.is_elementwise and not has_channels:
            return gain(self.function, **self.constants, **self.learned)
        y = call(np.random.default_rng(0).standard_normal((256, size)))
        moment = float(np.mean(np.square(y, dtype=np.float64)))
        return 1 / sqrt(moment) if 0 < moment < inf else 1.0


def candidates_of(functions: Any) -> list[Candidate]:
    """Return the candidates of what a user names.

    Raises
    ------
    TypeError, ValueError
        If one is no function, or two have the same label.
    """
    if isinstance(functions, str) or not isinstance(functions, (Iterable, Mapping)):
        got = describe_value(functions)
        raise TypeError(f"compare: functions must be a sequence or a mapping, got {got}")
    if isinstance(functions, Mapping):
        found = [_candidate(function, str(label)) for label, function in functions.items()]
    else:
        found = [_candidate(function, "") for function in functions]
    if not found:
        raise ValueError("compare: functions must name one at least, got none")
    labels = [candidate.label for candidate in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(
                f"compare: functions has {label!r} twice; a mapping of labels to functions"
                " tells them apart"
            )
    return found


def _candidate(given: Any, label: str) -> Candidate:
    if isinstance(given, Activation):
        return _candidate_of_layer(given, label)
    parameters: dict[str, Any] = {}
    learned_names: list[str] = []
    if isinstance(given, str):
        label = label or given
        name, *words = given.split(":")
        for word in words:
            parameter, sign, text = word.partition("=")
            if sign:
                parameters[parameter] = _value(text)
            else:
                learned_names.append(parameter)
        given = get({"name": name, **parameters})
    elif isinstance(given, Mapping):
        given = get(given)
    if not callable(given):
        got = describe_value(given)
        raise TypeError(f"compare: functions must be names or functions, got {got}")
    bound = {}
    if isinstance(given, functools.partial) and not given.args:
        given, bound = given.func, dict(given.keywords)
    definition = getattr(given, "definition", None)
    label = label or _label(given, bound)
    if not isinstance(definition, Definition):
        return Candidate(label, given, bound)
    return _with_learned(label, given, definition, bound, learned_names)


def _candidate_of_layer(layer: Activation, label: str) -> Candidate:
    values = {name: v.tolist() for name, v in layer._named_parameters().items()}
    learned = {n: v[0] if isinstance(v, list) and len(v) == 1 else v for n, v in values.items()}
    constants = {name: getattr(layer, name) for name in layer._constants}
    if isinstance(layer, PReLU):  # the channels of a network are last
        constants["axis"] = -1 if isinstance(learned["weight"], list) else None
    return Candidate(label or repr(layer), layer.function, constants, learned)


def _with_learned(
    label: str, function: Any, definition: Definition, bound: dict[str, Any], names: list[str]
) -> Candidate:
    """Return the candidate that learns these parameters, those without a default, and coefficients.

    The starts of those without a default are the parameters of the definition's first case.
    """
    learned: dict[str, Any] = {}
    first = dict(definition.cases[0].parameters) if definition.is_activation else {}
    for name in names:
        spec = definition.parameters.get(name)
        if spec is None or not spec.differentiable:
            can = [n for n, p in definition.parameters.items() if p.differentiable] or "none"
            raise ValueError(f"compare: {label} can learn {can}, got {name!r}")
    for name, spec in definition.parameters.items():
        is_needed = name not in definition.defaults and name in first
        is_wanted = name in names or is_needed or spec.broadcasts == "coefficients"
        if is_wanted and spec.differentiable and spec.broadcasts != "with" and name not in bound:
            learned[name] = first.get(name, definition.defaults.get(name))
        elif name in names:
            learned[name] = bound.pop(name)
    for name, start in learned.items():
        if start is None or not np.all(np.isfinite(start)):
            raise ValueError(
                f"compare: {label} needs a start to learn {name}, as in {name}=1.0:{name}"
            )
    return Candidate(label, function, bound, learned)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _label(function: Any, bound: Mapping[str, Any]) -> str:
    with suppress(TypeError):  # of a user's function
        name = name_of(functools.partial(function, **bound) if bound else function)
        if isinstance(name, str):
            return name
    name = getattr(function, "__name__", type(function).__name__)
    return ":".join([name, *(f"{k}={v}" for k, v in bound.items())])


def _fingerprint(function: Any) -> str:
    """Return the name of a user's function and a hash of its source."""
    name = f"{getattr(function, '__module__', '')}.{_label(function, {})}"
    try:
        source = inspect.getsource(function if inspect.isroutine(function) else type(function))
    except (OSError, TypeError):
        return name
    return f"{name} {hashlib.sha256(source.encode()).hexdigest()[:16]}"
