"""The gallery: a card for each function, and what to filter them by."""

from __future__ import annotations

from typing import Any

import jinja2
from docutils import nodes
from docutils.parsers.rst import Directive

from activations_xp import _catalog

from .pages import DOCS

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(DOCS / "_templates"), autoescape=True
)


class Gallery(Directive):
    """The cards of a family, or those of all functions with the form of the filter."""

    optional_arguments = 1

    def run(self) -> list[Any]:
        entries = _catalog.entries()
        document = self.state.document.settings.env.docname
        page = _environment.get_template("gallery.html").render(
            entries=[e for e in entries if self.arguments in ([], [e.family.key])],
            families=[] if self.arguments else _catalog.families(),
            traits={word: text for word, (text, _) in _catalog.TRAITS.items()},
            libraries=sorted({library for e in entries for library in e.libraries}),
            root="../" * document.count("/"),
        )
        return [nodes.raw("", page, format="html")]


def setup(app: Any) -> None:
    app.add_directive("gallery", Gallery)
