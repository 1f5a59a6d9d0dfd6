"""The check of the site that was built: every link leads somewhere, no request to another host."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.util import logging

_LOADED = {"img", "link", "script", "iframe", "source", "embed", "object"}
"""The elements whose address the browser asks for by itself."""


class _Page(HTMLParser):
    """The anchors of a page, and its addresses with the elements that have them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {""}
        self.addresses: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src", "srcset", "data") and value:
                self.addresses.append((tag, value))


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each broken link, and for each address of another host that is loaded."""
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: _Page(path.read_text()) for path in paths}
    for path, page in pages.items():
        for tag, address in page.addresses:
            parts = urlsplit(address)
            name = f"{path.relative_to(site)}: {address}"
            if parts.scheme or parts.netloc:
                if tag in _LOADED and parts.scheme != "data":
                    yield f"{name} is loaded from another host"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{name} does not exist"
            elif "=" in parts.fragment:  # the state of the gallery or of the explorer
                continue
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name} has no such anchor"


def _check(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        for problem in problems(Path(app.outdir).resolve()):
            logging.getLogger(__name__).warning(problem)


def setup(app: Any) -> None:
    app.connect("build-finished", _check, priority=900)
