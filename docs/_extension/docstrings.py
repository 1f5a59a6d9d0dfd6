"""The docstrings of functions on their pages, without what the pages say themselves."""

from __future__ import annotations

import re
from typing import Any

_ON_PAGE = ("Equivalents", "References")


def _shorten(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if not hasattr(obj, "definition"):
        return
    parts = re.split(r"^(.+)\n-+$", "\n".join(lines), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if "Notes" in sections:
        sections["Notes"] = sections["Notes"].partition("Properties:\n")[0]
    kept = [parts[0]]
    for title, body in sections.items():
        if title not in _ON_PAGE and body.strip():
            kept.append(f"{title}\n{'-' * len(title)}{body}")
    lines[:] = "\n".join(kept).splitlines()


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _shorten, priority=100)  # before numpydoc
