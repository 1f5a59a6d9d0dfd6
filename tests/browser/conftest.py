"""A browser with the site: the pages from the file system, and where it must be from a server."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

SITE = Path(__file__).parents[2] / "build" / "site"
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.exit("these tests need Chromium: on Debian, apt-get install chromium", 1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def scheme() -> str:
    return "light"


@pytest.fixture
def size() -> str:
    return "desktop"


@pytest.fixture
def context(browser: Browser, scheme: str, size: str) -> Iterator[BrowserContext]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        has_touch=size == "phone",
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    context.set_default_timeout(5000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Yield a page on which nothing may go wrong: no error, no request that fails or leaves."""
    problems: list[str] = []

    def check(address: str) -> None:
        if urlsplit(address).hostname not in (None, "", "localhost"):
            problems.append(f"a request to another host, {address}")

    def fail(address: str, why: str | None) -> None:
        if why != "net::ERR_ABORTED":  # for the page was left
            problems.append(f"{address}: {why}")

    page = context.new_page()
    page.on("console", lambda m: m.type in ("error", "warning") and problems.append(m.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: check(request.url))
    page.on("requestfailed", lambda r: fail(r.url, r.failure))
    page.on("response", lambda r: r.status >= 400 and problems.append(f"{r.url}: {r.status}"))
    yield page
    assert problems == []


@pytest.fixture(scope="session")
def site() -> str:
    """The address of the site in the file system."""
    if not (SITE / "index.html").exists():
        pytest.exit("these tests need the site: nox -s docs", 1)
    return SITE.as_uri()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def server(site: str) -> Iterator[str]:
    """The address of the site on a server."""
    handler = functools.partial(_Handler, directory=SITE)
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
