"""The catalogue: what there is to choose from, for lists, pages, pictures and their filters."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from ._definition import Definition
from ._parameters import ParameterSpec
from ._registry import get, names, parts

TRAITS: dict[str, tuple[str, Callable[[Definition], bool]]] = {
    "smooth": (
        "all derivatives are continuous",
        lambda d: _is_curve(d) and d.properties.smoothness == inf,
    ),
    "monotonic": ("never falls", lambda d: _is_curve(d) and d.properties.monotonic),
    "bounded": (
        "the range is finite",
        lambda d: d.is_activation and all(map(isfinite, d.properties.range)),
    ),
    "zero-centred": (
        "0 at 0, with both signs",
        lambda d: _is_curve(d) and d.properties.zero_centred,
    ),
    "odd": ("f(-x) is -f(x)", lambda d: _is_curve(d) and d.properties.parity == "odd"),
    "even": ("f(-x) is f(x)", lambda d: _is_curve(d) and d.properties.parity == "even"),
    "learned": (
        "a parameter can be learned",
        lambda d: d.noise is None and any(map(is_learnable, d.parameters.values())),
    ),
    "gated": ("one half of the channels gates the other", lambda d: "gate" in d.parameters),
    "along-axis": ("works along an axis", lambda d: d.output_axis is not None),
    "random": ("draws random numbers", lambda d: d.noise is not None),
    "several-arrays": ("takes several arrays", lambda d: _takes_several(d)),
    "complex": ("takes complex numbers", lambda d: d.complex is not None),
}
"""Each word that functions are filtered by: its meaning, and whether a definition has it."""


@dataclass(frozen=True)
class Family:
    """The functions of one module: its name, and the title and the text of its docstring."""

    key: str
    title: str
    text: str


@dataclass(frozen=True)
class Relation:
    """A statement that a function is another one at these parameters.

    name : the function
    parameters : its parameters; those that are not given have their defaults
    other : the name or the alias of the other function, with its defaults
    """

    name: str
    parameters: Mapping[str, Any]
    other: str

    def __str__(self) -> str:
        given = ", ".join(f"{name}={_text(value)}" for name, value in self.parameters.items())
        return f"{self.name}{f' with {given}' if given else ''} is {self.other}"


@dataclass(frozen=True, eq=False)
class Entry:
    """All that is said of a function to those who choose one.

    year : when it was published, if its source says so
    traits : the words of `TRAITS` that hold for it
    libraries : the other libraries that have it
    relatives : the functions that it is, or that are it, at some parameters
    """

    name: str
    function: Any
    definition: Definition
    summary: str
    formula: str | None
    family: Family
    year: int | None
    traits: tuple[str, ...]
    libraries: tuple[str, ...]
    aliases: tuple[str, ...]
    relatives: tuple[Relation, ...]


def entries() -> list[Entry]:
    """Return the entries of all functions, in alphabetical order."""
    functions: dict[str, Any] = {name: get(name) for name in names()}
    relatives = _relatives([function.definition for function in functions.values()])
    return [_entry(function, relatives[name]) for name, function in functions.items()]


def families() -> list[Family]:
    """Return the families of all functions, by title."""
    found = {entry.family for entry in entries()}
    return sorted(found, key=lambda family: family.title)


def is_learnable(spec: ParameterSpec) -> bool:
    """Return whether a parameter is a number, or several, of which an array has a gradient."""
    is_number = spec.number and spec.broadcasts != "with"
    return bool(spec.differentiable and (is_number or spec.broadcasts == "coefficients"))


def _is_curve(definition: Definition) -> bool:
    return definition.is_elementwise and definition.noise is None


def _takes_several(definition: Definition) -> bool:
    required = [
        definition.parameters[p] for p in definition.parameters.keys() - definition.defaults
    ]
    return not definition.is_activation or any(p.broadcasts == "with" for p in required)


def _entry(function: Any, relatives: list[Relation]) -> Entry:
    definition: Definition = function.definition
    return Entry(
        name=definition.name,
        function=function,
        definition=definition,
        summary=(function.__doc__ or "").partition("\n")[0],
        formula=definition.formula,
        family=_family(definition),
        year=_year(definition.source),
        traits=tuple(word for word, (_, holds) in TRAITS.items() if holds(definition)),
        libraries=tuple(definition.peers),
        aliases=tuple(definition.aliases),
        relatives=tuple(relatives),
    )


def _family(definition: Definition) -> Family:
    """Return the family of a function: the module under functions/, and what it says of itself."""
    module = sys.modules[definition.impl.__module__]
    title, _, text = (module.__doc__ or "").partition("\n")[0].partition(": ")
    return Family(module.__name__.rpartition(".")[2], title.rstrip("."), text)


def _year(source: str) -> int | None:
    """Return the year of the first publication that a source names."""
    found = re.search(r"arXiv:(\d\d)\d\d\.\d|(?<![\d.])(1[89]\d\d|20\d\d)\b(?!\.\d)", source)
    if found is None:
        return None
    return 2000 + int(found[1]) if found[1] else int(found[2])


def _relatives(definitions: list[Definition]) -> dict[str, list[Relation]]:
    """Return the relations of each function, in both directions."""
    found: dict[str, list[Relation]] = defaultdict(list)
    for definition in definitions:
        # of the aliases that bind the same parameters the first
        bound = {repr(p): (alias, p) for alias, p in [*definition.aliases.items()][::-1] if p}
        for other, parameters in [*definition.relatives.items(), *bound.values()]:
            relation = Relation(definition.name, parameters, other)
            found[definition.name].append(relation)
            base = parts(get(other))[0].__name__
            if base != definition.name:
                found[base].append(relation)
    return found


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return f"{value:g}" if isinstance(value, float) else repr(value)
