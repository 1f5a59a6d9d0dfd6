"""Write what the pages on a code host show of the measured figures, and the pictures of README.

``nox -s tables`` runs it: the tables at the top of docs/performance.md and docs/accuracy.md, the
pictures in docs/pictures/, and the logo.
"""

from __future__ import annotations

import re
from pathlib import Path

from _extension import measured, pictures

DOCS = Path(__file__).parents[2] / "docs"
TABLES = {
    "performance.md": ("overview of times", measured.overview_of_times),
    "accuracy.md": ("overview of errors", measured.overview_of_errors),
}
"""The comment before the table of each page, and what makes the table."""


def with_table(name: str) -> str:
    """Return a page with its table made anew."""
    title, make = TABLES[name]
    start, end = f"<!-- {title} -->\n", "<!-- end -->"
    page = (DOCS / name).read_text()
    return re.sub(f"(?s){start}.*?{end}", lambda _: f"{start}\n{make()}\n{end}", page)


if __name__ == "__main__":
    for name in TABLES:
        (DOCS / name).write_text(with_table(name))
    folder = DOCS / "pictures"
    for scheme in ("light", "dark"):
        for draw, size in ((pictures.strip, (8, 1.5)), (pictures.beside_peers, (9, 3.6))):
            picture = pictures.svg(draw, size, scheme)
            (folder / f"{draw.__name__}_{scheme}.svg").write_text(picture)
    (folder / "overview.svg").write_text(pictures.svg(pictures.overview, (8, 4)))
    (DOCS / "_static" / "logo.svg").write_text(pictures.logo())
