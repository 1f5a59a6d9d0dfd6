"""The extension of Sphinx that makes the site's pages from the registry."""

from __future__ import annotations

from typing import Any

from . import choosing, docstrings, gallery, links, mathml, pages, where


def setup(app: Any) -> dict[str, Any]:
    for part in (choosing, docstrings, gallery, links, mathml, pages, where):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
