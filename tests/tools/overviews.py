"""Write what the pages on a code host show of the measured figures, and the pictures of README.

``nox -s tables`` runs it: the tables of docs/performance.md, docs/accuracy.md, docs/where.md,
docs/guides/libraries.md and docs/which.md, the pictures in docs/pictures/, and the logo.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from _extension import measured, pictures, where, which

DOCS = Path(__file__).parents[2] / "docs"
TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "performance.md": {"overview of times": measured.overview_of_times},
    "accuracy.md": {"overview of errors": measured.overview_of_errors},
    "where.md": {"libraries": where.summary, "misses": where.all_misses},
    "guides/libraries.md": {"differences": where.differences},
    "which.md": {
        f"{name}, depth {depth}": functools.partial(which.ranking, name, depth)
        for name, depth in [
            ("digits", 4),
            ("digits", 16),
            ("deep", 50),
            ("breast_cancer", 4),
            ("wine", 4),
        ]
    },
}
"""The comment before each table of a page, and what makes the table."""

PICTURES = {
    "overview": (pictures.overview, (8, 4)),
    "which_differences": (which.differences, (8, 3.2)),
    "which_layers": (which.layers, (8, 3.6)),
    "which_dying": (which.dying, (5, 3.2)),
    "which_vanishing": (which.vanishing, (5, 3.2)),
}
"""The pictures that are legible on light and on dark pages, and their sizes in inches."""


def with_tables(name: str) -> str:
    """Return a page with its tables made anew."""
    page = (DOCS / name).read_text()
    for title, make in TABLES[name].items():
        start, end = f"<!-- {title} -->\n", "<!-- end -->"
        text = f"{start}\n{make()}\n{end}"
        page = re.sub(f"(?s){start}.*?{end}", lambda _, text=text: text, page)
    return page


if __name__ == "__main__":
    for name in TABLES:
        (DOCS / name).write_text(with_tables(name))
    folder = DOCS / "pictures"
    for scheme in ("light", "dark"):
        for draw, size in ((pictures.strip, (8, 1.5)), (pictures.beside_peers, (9, 3.6))):
            picture = pictures.svg(draw, size, scheme)
            (folder / f"{draw.__name__}_{scheme}.svg").write_text(picture)
    for name, (draw, size) in PICTURES.items():
        (folder / f"{name}.svg").write_text(pictures.svg(draw, size))
    (DOCS / "_static" / "logo.svg").write_text(pictures.logo())
