"""The layer of each function, made from its definition: ``GELU``, ``Softmax``, ``SwiGLU`` ...

A class that PyTorch has takes its arguments: those of the function in `dropin.torch`. Others take
the parameters of our function. What a function has beyond that is taken by name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from .._registry import get, names
from ..dropin import torch as torch_functions
from . import _layers
from ._layers import Activation, Layer

_NAMES = {"dim": "axis"}
"""Our names of the parameters that are arguments of another name in PyTorch."""

_TYPES = {
    **dict.fromkeys(("ArrayOrNumber", "FreeArray", "SliceArray"), "float"),
    "BroadcastsWithOrNumber": "float",
    "Coefficients": "Sequence[float]",
}
"""The annotations of arguments that are numbers, by those of parameters that may be arrays."""

_OF_THE_CALL = ("dtype", "noise", "out", "rng", "training", "where", "_stacklevel")
"""The parameters that are no arguments of a layer."""

_LAST = """\
learned : sequence of str, optional
    The parameters that become parameters of the layer; each starts from its number here.
dtype, device : optional
    The dtype and device of these.
"""
_INPLACE = """\
inplace : bool, optional
    Whether the result is written to x.
"""


def signature_of(function: Any) -> inspect.Signature:
    """Return the signature of a function's layer."""
    definition = function.definition
    own = _parameters(function)
    by_position = list(own.values())
    if definition.layer.startswith("torch.nn."):
        name = definition.peers["torch"][0].name.rpartition(".")[2]
        theirs = _parameters(getattr(torch_functions, name))
        by_position = [
            p.replace(annotation=own[_NAMES.get(n, n)].annotation) if n != "inplace" else p
            for n, p in theirs.items()
        ]
    given = {_NAMES.get(p.name, p.name) for p in by_position}
    rest = {name: p.default for name, p in own.items() if name not in given}
    annotations: dict[str, Any] = {name: own[name].annotation for name in rest}
    if definition.is_elementwise and "inplace" not in given:
        rest["inplace"], annotations["inplace"] = False, "bool"
    learnable = [n for n, p in definition.parameters.items() if p.number and p.differentiable]
    if learnable:
        rest |= {"learned": (), "dtype": None, "device": None}
        choices = ", ".join(f'"{name}"' for name in learnable)
        annotations |= {"learned": f"Sequence[Literal[{choices}]]", "dtype": "Any", "device": "Any"}
    by_name = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=annotations[n])
        for n, d in rest.items()
    ]
    return inspect.Signature([*by_position, *by_name], return_annotation="None")


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function that may be arguments of its layer."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {
        p.name: p.replace(
            kind=inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=re.sub(r"\w+", lambda word: _TYPES.get(word[0], word[0]), p.annotation),
        )
        for p in parameters
        if p.name not in _OF_THE_CALL
    }


def _class_of(function: Any) -> type[Activation]:
    """Return the layer of a function, for all libraries."""
    definition, signature = function.definition, signature_of(function)
    name = definition.layer.rpartition(".")[2]

    def __init__(self: Activation, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}{_hint(self, args)}") from None
        bound.apply_defaults()
        Activation.__init__(self, definition.name, **bound.arguments)

    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature.parameters.values()
    __init__.__signature__ = signature.replace(parameters=[me, *parameters])  # type: ignore[attr-defined]
    quiet = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    namespace = {
        "__init__": __init__,
        "__doc__": _doc(function, signature),
        "__module__": __name__,
        "function": staticmethod(function),
        "_arguments": {"learned": None},
        "_takes_arrays": False,
        "_parameter_names": {n: p for n, p in _NAMES.items() if n in signature.parameters},
        "_quiet": {**Activation._quiet, **quiet},
    }
    return type(name, (Activation,), namespace)


def _hint(layer: Activation, args: tuple[Any, ...]) -> str:
    return layer._hint(args[0]) if args else ""


def summary_of(function: Any) -> str:
    """Return the first line of the docstring of a function."""
    return str(function.__doc__).partition("\n")[0]


def _doc(function: Any, signature: inspect.Signature) -> str:
    """Return the docstring of a layer: what that of the function says of its arguments."""
    section = re.search(r"^Parameters\n-+\n(.*?)\n\n", function.__doc__, re.DOTALL | re.MULTILINE)
    assert section is not None
    theirs = {ours: name for name, ours in _NAMES.items() if name in signature.parameters}
    entries = {}
    for entry in re.split(r"\n(?=\S)", section[1]):
        known, _, text = entry.partition(" :")
        kept = [theirs.get(n, n) for n in known.split(", ")]
        kept = [name for name in kept if name in signature.parameters]
        if kept:
            entries[kept[0]] = f"{', '.join(kept)} :{text}\n"
    order = [name for name in signature.parameters if name in entries]
    parts = [entries[name] for name in order]
    parts += [_INPLACE] * ("inplace" in signature.parameters)
    parts += [_LAST] * ("learned" in signature.parameters)
    text = f"{summary_of(function)}\n\nThe layer of `activations_xp.{function.__name__}`.\n"
    if parts:
        text += "\nParameters\n----------\n" + "".join(parts)
    return text


def _classes() -> dict[str, type[Layer]]:
    """Return all layers by name: those written by hand, and one for each other function."""
    classes: dict[str, type[Layer]] = {
        name: value
        for name, value in vars(_layers).items()
        if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
    }
    functions: Iterable[Any] = map(get, names())
    for function in functions:
        name = function.definition.layer.rpartition(".")[2]
        if function.definition.is_activation and name not in classes:
            classes[name] = _class_of(function)
    return dict(sorted(classes.items()))


CLASSES = _classes()
"""The layers by name, without the base of a library."""


def classes_on(base: type[Layer], module: str) -> dict[str, type[Layer]]:
    """Return the layers of a library, which combine each with its base, for its module."""
    classes = {}
    for name, cls in CLASSES.items():
        namespace = {"__module__": module, "__doc__": cls.__doc__}
        classes[name] = type(name, (cls, base), namespace)
    return classes
