"""List all functions by family, or show the graph and the documentation of one."""

from __future__ import annotations

import argparse
import inspect
import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from .. import get
from .._catalog import TRAITS, Entry, Family, entries, families
from .._docstring import interval
from .._registry import parts
from .output import print_encodable

_HEADING = """\
# Functions

`nox -s tables` generates this page from the definitions. `python -m activations_xp show NAME`, or
`help` in Python, prints the documentation of a function. The formula and the range are those for
the default parameters. `ax.get` finds a function by its name or by an alias, and binds the
parameters that the alias implies.
"""


def lookup(name: str) -> tuple[Any, dict[str, Any]]:
    """Return the function with this name or alias and the parameters that the name binds."""
    function, bound, _ = parts(get(name))
    return function, bound


def run_list(args: argparse.Namespace) -> int:
    """Print the functions by family, as text or as the page docs/functions.md."""
    if args.markdown:
        print(markdown_page(), end="")
        return 0
    found = _chosen(args)
    width = shutil.get_terminal_size().columns
    for family, members in _by_family(found):
        print(textwrap.fill(f"{family.title}: {family.text}", width), end="\n\n")
        size = max(len(entry.name) for entry in members)
        for entry in members:
            print(_line(entry, size, width))
        print()
    print(f"{len(found)} of {len(entries())} functions")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print the graph, the signature, the documentation and the relatives of a function."""
    function, bound = lookup(args.name)
    name = function.__name__
    _print_graph(args.name)
    if args.name != name:
        parameters = ", ".join(f"{key}={value!r}" for key, value in bound.items())
        print(f"{args.name} is {name}{f' with {parameters}' if bound else ''}.\n")
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    print(f"{name}{signature.replace(parameters=plain, return_annotation=signature.empty)}\n")
    print_encodable(function.__doc__)
    (entry,) = (entry for entry in entries() if entry.name == name)
    if entry.relatives:
        print("\nRelatives\n---------")
        for relation in entry.relatives:
            print(f"* {relation}")
    return 0


def _print_graph(name: str) -> None:
    """Print the graph of a function in the width of the terminal, if plotext is installed."""
    from ..plotting.terminal import graph

    width = min(shutil.get_terminal_size().columns, 120)
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    is_utf8 = encoding.lower().replace("-", "") == "utf8"
    try:
        text = graph(name, width=width, ascii=not is_utf8)
    except ImportError:
        return
    print(text, end="\n" if text else "")


def _chosen(args: argparse.Namespace) -> list[Entry]:
    """Return the entries that pass all filters of the command line."""
    found = entries()
    if args.family is not None:
        keys = {family.key: family for family in families()}
        if args.family not in keys:
            raise ValueError(f"no family is named {args.family!r}; the families: {', '.join(keys)}")
        found = [entry for entry in found if entry.family.key == args.family]
    if args.library is not None:
        known = sorted({library for entry in entries() for library in entry.libraries})
        if args.library not in known:
            raise ValueError(
                f"no library is named {args.library!r}; the libraries: {', '.join(known)}"
            )
        found = [entry for entry in found if args.library in entry.libraries]
    traits = {trait for trait in TRAITS if getattr(args, trait.replace("-", "_"))}
    return [entry for entry in found if traits <= {*entry.traits}]


def _by_family(found: list[Entry]) -> Iterator[tuple[Family, list[Entry]]]:
    """Yield each family with its entries, by title."""
    ordered = sorted(found, key=lambda entry: (entry.family.title, entry.name))
    for family, members in itertools.groupby(ordered, key=lambda entry: entry.family):
        yield family, [*members]


def _line(entry: Entry, size: int, width: int) -> str:
    """Return the name, year, range, summary and aliases of a function, in as many lines."""
    head = f"  {entry.name:<{size}}  {entry.year or '':4}  {_range(entry):<15}  "
    also = f" Also {', '.join(entry.aliases)}." if entry.aliases else ""
    indent = " " * len(head)
    return textwrap.fill(entry.summary + also, width, initial_indent=head, subsequent_indent=indent)


def _range(entry: Entry) -> str:
    return interval(entry.definition.properties.range) if entry.formula else ""


def markdown_page() -> str:
    """Return the page docs/functions.md: a table of the functions of each family."""
    return _HEADING + "".join(
        _section(family, members) for family, members in _by_family(entries())
    )


def _section(family: Family, members: list[Entry]) -> str:
    lines = [("function", "formula", "range", "other libraries", "aliases"), ("---",) * 5]
    for entry in members:
        formula = _code(entry.formula) if entry.formula else entry.summary
        peers = ", ".join(
            f"{library} {', '.join(dict.fromkeys(_code(p.name.rpartition('.')[2]) for p in peers))}"
            for library, peers in entry.definition.peers.items()
        )
        lines.append(
            (_code(entry.name), formula, _range(entry), peers, ", ".join(map(_code, entry.aliases)))
        )
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"\n## {family.title}\n\n{family.text[:1].upper()}{family.text[1:]}\n\n{table}"


def _code(text: str) -> str:
    return "`" + text.replace("|", r"\|") + "`"
