"""List all functions, or show the documentation of one."""

from __future__ import annotations

import argparse
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import get, names
from .._docstring import interval
from .output import print_table

_HEADING = """\
# Functions

`nox -s tables` generates this page from the definitions. `python -m activations_xp show NAME`, or
`help` in Python, prints the documentation of a function. The formula and the range are those for
the default parameters. `ax.get` finds a function by its name or by an alias, and binds the
parameters that the alias implies.

"""


@dataclass(frozen=True)
class _Entry:
    """The cells of one function in a list."""

    name: str
    formula: str | None
    summary: str
    range: str
    peers: dict[str, list[str]]
    aliases: list[str]


def lookup(name: str) -> tuple[Any, dict[str, Any]]:
    """Return the function with this name or alias and the parameters that the name binds."""
    function = get(name)
    if isinstance(function, functools.partial):
        return function.func, function.keywords
    return function, {}


def run_list(args: argparse.Namespace) -> int:
    """Print all functions, as a table or as the page docs/functions.md."""
    if args.markdown:
        print(markdown_page(), end="")
    else:
        rows = [(e.name, e.formula or e.summary, e.range, ", ".join(e.aliases)) for e in _entries()]
        print_table(["function", "formula", "range", "aliases"], rows)
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the signature and the documentation of a function."""
    function, bound = lookup(args.name)
    name = function.__name__
    if args.name != name:
        parameters = ", ".join(f"{key}={value!r}" for key, value in bound.items())
        print(f"{args.name} is {name}{f' with {parameters}' if bound else ''}.\n")
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    print(f"{name}{signature.replace(parameters=plain, return_annotation=signature.empty)}\n")
    print(function.__doc__, end="")
    return 0


def markdown_page() -> str:
    """Return the page docs/functions.md: a table of all functions."""
    lines = [("function", "formula", "range", "other libraries", "aliases"), ("---",) * 5]
    for entry in _entries():
        formula = _code(entry.formula) if entry.formula else entry.summary
        peers = ", ".join(
            f"{library} {', '.join(map(_code, paths))}" for library, paths in entry.peers.items()
        )
        aliases = ", ".join(map(_code, entry.aliases))
        lines.append((_code(entry.name), formula, entry.range, peers, aliases))
    return _HEADING + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    return "`" + text.replace("|", r"\|") + "`"


def _entries() -> Iterator[_Entry]:
    """Yield an entry for each function, in alphabetical order."""
    for name in names():
        function: Any = get(name)
        definition = function.definition
        formula = definition.formula
        summary = (function.__doc__ or "").partition("\n")[0]
        span = interval(definition.properties.range) if formula else ""
        peers = {
            library: [*dict.fromkeys(peer.name.rpartition(".")[2] for peer in peers)]
            for library, peers in definition.peers.items()
        }
        yield _Entry(name, formula, summary, span, peers, [*definition.aliases])
