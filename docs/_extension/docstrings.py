"""The docstrings as reStructuredText, without what the pages of functions say themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from dataclasses import is_dataclass
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


def _parameters(obj: Any) -> Collection[str]:
    try:
        return inspect.signature(obj).parameters
    except (TypeError, ValueError):
        return ()


def _escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep bars for absolute values, and names of parameters from being links to functions."""
    if is_dataclass(obj):  # whose fields are listed without a header
        lines[:] = [re.sub(r"^ +", "  ", re.sub(r"^([\w, ]+) : ", r"* \1: ", s)) for s in lines]
    names = _parameters(obj)
    for i, line in enumerate(lines):
        line = re.sub(r"(?<!`)`(\w+)`(?!`)", lambda m: f"*{m[1]}*" if m[1] in names else m[0], line)
        if not line.lstrip().startswith(">>>"):
            lines[i] = re.sub(r"(`.*?`)|\|([^|`]+)\|", lambda m: m[1] or rf"\|{m[2]}\|", line)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _shorten, priority=100)  # before numpydoc
    app.connect("autodoc-process-docstring", _escape, priority=200)
