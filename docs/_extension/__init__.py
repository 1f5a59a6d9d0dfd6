"""The extension of Sphinx that makes the site's pages from the registry."""

from __future__ import annotations

from typing import Any

from . import links, mathml


def setup(app: Any) -> dict[str, Any]:
    mathml.setup(app)
    links.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
