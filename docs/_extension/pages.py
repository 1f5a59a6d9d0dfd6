"""The pages that are made from the registry: one for each function, family and set of figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from activations_xp import _catalog

from . import formulas, measured, words
from .pictures import each_function, graph, growth, svg, thumbnail

DOCS = Path(__file__).parents[1]

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(DOCS / "_templates"), keep_trailing_newline=True
)
_environment.filters |= {
    "code": lambda items: ", ".join(f"`{item}`" for item in items),
    "objects": lambda names: ", ".join(f"{{py:obj}}`{name}`" for name in names),
    # the docstring's first line: in Markdown stars and underscores stand for themselves
    "markdown": lambda text: re.sub(r"(``?.*?``?)|([*_|])", lambda m: m[1] or "\\" + m[2], text),
    "capitalize_first": lambda text: text[:1].upper() + text[1:],
}


def function_page(entry: _catalog.Entry) -> str:
    """Return the page of a function."""
    definition = entry.definition
    page = _environment.get_template("function.md").render(
        entry=entry,
        formula=formulas.formula(definition) if definition.formula else None,
        forms=list(_forms(entry)),
        properties=list(words.properties(entry)),
        derivative=formulas.derivative(definition),
        kinks=list(words.kinks(entry)),
        tabs=list(words.tabs(entry)),
        elsewhere=words.elsewhere(entry),
        times=measured.times_of(entry.name),
        errors=measured.errors_of(entry.name),
        relatives=[words.relation(found, entry.name) for found in entry.relatives],
        source=words.source(entry),
    )
    return re.sub(r"\n{3,}", "\n\n", page)


def _forms(entry: _catalog.Entry) -> Iterator[tuple[str, str]]:
    """Yield the formulas at parameters where they are others, with the parameters."""
    definition = entry.definition
    seen = {definition.formula}
    for case in definition.cases:
        is_plain = not any(isinstance(value, tuple) for value in case.parameters.values())
        is_plain &= "gate" not in case.parameters and ":" not in case.formula
        if is_plain and case.formula not in seen:
            seen.add(case.formula)
            given = ", ".join(f"`{name}={value!r}`" for name, value in case.parameters.items())
            yield given, formulas.formula(definition.changed(formula=case.formula)).latex


def family_page(family: _catalog.Family, entries: list[_catalog.Entry]) -> str:
    return _environment.get_template("family.md").render(family=family, entries=entries)


def write(path: Path, text: str) -> None:
    """Write a page, unless it says the same already, so that Sphinx reads only what is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_all(docs: Path) -> None:
    """Write all pages and pictures, and remove those of functions that are gone."""
    entries = _catalog.entries()
    kept = set()
    for entry in entries:
        page = docs / "functions" / f"{entry.name}.md"
        picture = page.with_suffix(".svg")
        small = docs / "_static" / "gallery" / picture.name
        write(page, function_page(entry))
        write(picture, graph(entry.name))
        write(small, thumbnail(entry.name))
        kept |= {page, picture, small}
    for family in _catalog.families():
        page = docs / "families" / f"{family.key}.md"
        write(page, family_page(family, [e for e in entries if e.family.key == family.key]))
        kept.add(page)
    for picture, size in ((each_function, (8, 18)), (growth, (7, 4.5))):
        write(docs / "tables" / f"{picture.__name__}.svg", svg(picture, size))
    write(docs / "tables" / "times.md", "".join(measured.performance_tables()))
    write(docs / "tables" / "errors.md", "".join(measured.accuracy_tables()))
    for folder in ("functions", "families", "_static/gallery"):
        for path in set((docs / folder).iterdir()) - kept:
            path.unlink()


def setup(app: Any) -> None:
    app.connect("builder-inited", lambda app: write_all(Path(app.srcdir)))
