"""Models of torch that change over to the layers of this package, and back."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.nn.utils import parametrize

from .._errors import describe_value
from .._registry import get, parts
from ..dropin import torch as torch_functions
from ._torch import LAYERS, TorchLayer

_STATE = tuple(vars(torch.nn.Module()))
"""The attributes of every module: parameters, buffers, modules, hooks and the mode."""

_NOT_ACTIVATIONS = {
    *("AlphaDropout", "Dropout", "FeatureAlphaDropout", "Identity", "LayerNorm", "RMSNorm"),
}
"""The classes of torch that have a layer here and are left as they are."""

_OURS = {
    getattr(torch.nn, name): cls
    for name, cls in LAYERS.items()
    if hasattr(torch.nn, name) and name not in _NOT_ACTIVATIONS
}
"""The layers by the classes of torch."""

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    getattr(torch.nn.functional, name): getattr(torch_functions, name)
    for name in torch_functions.__all__
    if hasattr(torch.nn.functional, name)
} | {getattr(torch, name): getattr(torch_functions, name) for name in ("relu", "sigmoid", "tanh")}
"""The functions of `dropin.torch` by torch's, which have the same arguments."""

_SEEN = {f.__name__ for f in _FUNCTIONS if not re.search("dropout|norm|one_hot", f.__name__)}
"""The names of functions that are looked for in a forward."""

_ELSEWHERE = ("timm.layers.", "transformers.activations")
"""The modules whose classes are taken for the functions that their names mean, if they agree."""


@dataclass(frozen=True)
class Conversion:
    """Report of a conversion.

    swapped : what was there and what is there now, by the name in the model
    left : what is there still and why, by the name in the model
    """

    swapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.swapped)} swapped", *_table(self.swapped)]
        lines += [f"{len(self.left)} left", *_table(self.left)]
        return "\n".join(lines)

    __repr__ = __str__


def _table(rows: dict[str, str]) -> list[str]:
    """Return rows as lines, where paths that differ in numbers alone share one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for path, text in rows.items():
        groups.setdefault((re.sub(r"\d+", "*", path), text), []).append(path)
    shown = {
        (pattern if len(paths) > 1 else paths[0]): (text, len(paths))
        for (pattern, text), paths in groups.items()
    }
    width = max(map(len, shown), default=0)
    return [
        f"  {path:<{width}}  {text}" + (f"  ({count} times)" if count > 1 else "")
        for path, (text, count) in shown.items()
    ]


def convert(model: torch.nn.Module) -> Conversion:
    """Put the layers of this package in the place of torch's in a model.

    These are the activation modules, MultiheadAttention and AdaptiveLogSoftmaxWithLoss of torch.nn,
    the activation modules of transformers and timm, and the functions of torch.nn.functional that
    are attributes of a module. Parameters, buffers, hooks and the mode stay the same objects, so
    that an optimizer goes on.

    Parameters
    ----------
    model : torch.nn.Module
        It is changed in place; `revert` changes it back.

    Returns
    -------
    Conversion
        What was swapped, and what was left and why. It prints as a list.

    Examples
    --------
    >>> from activations_xp.layers import torch as layers
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GELU())
    >>> layers.convert(model)
    1 swapped
      1  torch.nn.GELU -> layers.torch.GELU(approximate='none')
    0 left
    >>> layers.revert(model)
    1 swapped
      1  layers.torch.GELU(approximate='none') -> torch.nn.GELU
    0 left
    """
    report = _walk("convert", model, _swap, _swap_functions)
    for path, module in model.named_modules():
        calls = _calls(module)
        if calls:
            report.left.setdefault(path or "(model)", f"{_label(module)}, which calls {calls}")
    if isinstance(_swap(model), torch.nn.Module):
        report.left["(model)"] = f"{_label(model)}, which no module holds"
    return report


def revert(model: torch.nn.Module) -> Conversion:
    """Put back what `convert` swapped, with the parameters, buffers, hooks and mode of now.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    Conversion
        What was put back.
    """
    return _walk("revert", model, _swap_back, _swap_functions_back)


def _walk(
    name: str,
    model: Any,
    swap: Callable[[torch.nn.Module], torch.nn.Module | str | None],
    swap_functions: Callable[[torch.nn.Module], list[tuple[str, Any, Any]]],
) -> Conversion:
    """Swap the modules in a model, and the functions that are attributes of one.

    `swap` returns another module, or why one is left, if that is worth saying; `swap_functions`
    returns names of attributes and their old and new values.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"{name}: model must be a torch.nn.Module, got {describe_value(model)}")
    report = Conversion()
    swapped: dict[torch.nn.Module, torch.nn.Module | str | None] = {}
    for path, owner in list(model.named_modules(remove_duplicate=False)):
        if isinstance(swapped.get(owner), torch.nn.Module):
            continue
        for child_name, child in owner._modules.items():
            if child is None:
                continue
            new = swapped[child] = swapped[child] if child in swapped else swap(child)
            place = _join(path, child_name)
            if isinstance(new, torch.nn.Module):
                owner._modules[child_name] = new
                report.swapped[place] = f"{_label(child)} -> {_label(new)}"
            elif new is not None:
                report.left[place] = f"{_label(child)}, {new}"
        for attribute, old, new_function in swap_functions(owner):
            report.swapped[_join(path, attribute)] = f"{_label(old)} -> {_label(new_function)}"
    return report


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _label(value: Any) -> str:
    """Return a module or a function as text on one line."""
    function, bound, _ = parts(value)
    if not isinstance(value, torch.nn.Module):
        names = [n for n, f in vars(torch.nn.functional).items() if f is function]
        module = (
            "torch.nn.functional"
            if names
            else str(function.__module__ or "torch").removeprefix("activations_xp.")
        )
        given = ", ".join(f"{name}={argument!r}" for name, argument in bound.items())
        return f"{module}.{function.__name__}" + f"({given})" * bool(given)
    kind = type(value)
    module = kind.__module__.removeprefix("activations_xp.")
    module = "torch.nn" if module.startswith("torch.nn.") else module
    arguments = "" if value._modules or not isinstance(value, TorchLayer) else value.extra_repr()
    return f"{module}.{kind.__name__}" + f"({arguments})" * bool(arguments)


def _swap(module: torch.nn.Module) -> torch.nn.Module | str | None:
    """Return our layer for a module of another library."""
    kind = type(module)
    if kind in _OURS:
        return _take_over(_OURS[kind], _arguments(module), module)
    if kind.__module__.startswith(_ELSEWHERE) and not any(True for _ in module.children()):
        return _swap_by_name(module)
    if isinstance(module, TorchLayer):
        return None
    base = next((base for base in kind.__mro__ if base in _OURS), None)
    if base is None:
        return None
    if parametrize.is_parametrized(module):
        return "which has parametrized parameters"
    return f"a subclass of torch.nn.{base.__name__}"


def _arguments(module: Any) -> dict[str, Any]:
    """Return the arguments of our layer, which a module of torch has as attributes."""
    if isinstance(module, torch.nn.MultiheadAttention):
        bias = {"bias": module.in_proj_bias is not None, "add_bias_kv": module.bias_k is not None}
        return {**_attributes(module), **bias}
    if isinstance(module, torch.nn.AdaptiveLogSoftmaxWithLoss):
        return {**_attributes(module), "cutoffs": module.cutoffs[:-1]}
    return _attributes(module)


def _attributes(module: Any) -> dict[str, Any]:
    """Return the arguments of our layer that a module has, and a device that takes no memory."""
    names = inspect.signature(_OURS[type(module)]).parameters
    known = {name: getattr(module, name) for name in names if name in vars(module)}
    return {**known, "device": "meta"} if "device" in names else known


def _swap_by_name(module: Any) -> torch.nn.Module | str | None:
    """Return the layer that the name of a class means, if it has the values of a module."""
    kind = type(module)
    classes = getattr(sys.modules.get("transformers.activations"), "ACT2CLS", {})
    known = {name: cls[0] if isinstance(cls, tuple) else cls for name, cls in classes.items()}
    names = [name for name, cls in known.items() if cls is kind]
    x = torch.linspace(-8, 8, 101)
    for name in (kind.__name__.removesuffix("Activation"), *names):
        try:
            function, bound, _ = parts(get(name))
            layer = LAYERS[function.definition.layer.rpartition(".")[2]]
            given = {"inplace": True} if getattr(module, "inplace", False) else {}
            new = layer(**bound, **given)
            with torch.no_grad():
                is_same = torch.allclose(kind.forward(module, x.clone()), new(x.clone()), atol=1e-5)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
            continue
        if is_same and not module._parameters:
            return _take_over(type(new), {**bound, **given}, module)
    is_activation = bool(names) or kind.__module__.endswith("activations")
    return "of which no function here has the values" if is_activation else None


def _take_over(layer: Any, arguments: dict[str, Any], module: torch.nn.Module) -> torch.nn.Module:
    """Return a layer with the parameters, buffers, modules, hooks and mode of a module."""
    new: torch.nn.Module = layer(**arguments)
    own, old = vars(new), vars(module)
    own.update({name: old[name] for name in _STATE})
    own.update({name: value for name, value in old.items() if not hasattr(new, name)})
    own["_original"] = (type(module), {n: v for n, v in old.items() if n not in _STATE})
    return new


def _swap_back(module: torch.nn.Module) -> torch.nn.Module | None:
    """Return what a layer was before."""
    if "_original" not in vars(module):
        return None
    kind, attributes = vars(module)["_original"]
    old: torch.nn.Module = kind.__new__(kind)
    state = {name: value for name, value in vars(module).items() if name in _STATE}
    vars(old).update({**attributes, **state})
    return old


def _swap_functions(module: torch.nn.Module) -> list[tuple[str, Any, Any]]:
    """Put our functions in the place of torch's among the attributes of a module."""
    swapped = []
    for name, value in list(vars(module).items()):
        function, bound, positional = parts(value)
        if callable(function) and function in _FUNCTIONS and not positional:
            ours = _FUNCTIONS[function]
            swapped.append((name, value, partial(ours, **bound) if bound else ours))
    if swapped:
        vars(module)["_original_functions"] = {name: value for name, value, _ in swapped}
        vars(module).update({name: new for name, _, new in swapped})
    return swapped


def _swap_functions_back(module: torch.nn.Module) -> list[tuple[str, Any, Any]]:
    """Put back what was among the attributes of a module."""
    originals = vars(module).pop("_original_functions", {})
    swapped = [(name, getattr(module, name), value) for name, value in originals.items()]
    vars(module).update(originals)
    return swapped


def _calls(module: torch.nn.Module) -> str:
    """Return the functions of torch that the forward of a user's class calls, as far as seen."""
    kind = type(module)
    forward = inspect.unwrap(kind.forward)
    code = getattr(forward, "__code__", None)
    if code is None or forward.__module__.startswith(("torch.", "activations_xp.")):
        return ""
    names = code.co_names
    if not {"F", "functional", "torch"}.intersection(names):
        return ""
    found = [n for n in names if n in _SEEN and n not in module._modules and n not in vars(module)]
    return ", ".join(dict.fromkeys(found))
