"""Test the pages of the site in a browser: the gallery, the search, and that all can read them."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import activations_xp
from activations_xp import _catalog

PAGES = ["index", "gallery", "functions/gelu", "where", "explorer/index"]


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=["desktop", "phone"])
def size(request):
    return request.param


@pytest.mark.parametrize("name", PAGES)
def test_all_can_read_it(page: Page, site: str, name: str):
    page.goto(f"{site}/{name}.html")
    page.wait_for_timeout(300)  # what is drawn, is drawn
    # from the file system it cannot read style sheets, which it does not need
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    nodes = [(rule["id"], node["html"][:150]) for rule in found for node in rule["nodes"]]
    assert nodes == [], nodes


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_the_window(page: Page, site: str, name: str):
    page.goto(f"{site}/{name}.html")
    page.wait_for_timeout(300)
    assert page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")


class TestGallery:
    @pytest.fixture(params=["light"])
    def scheme(self, request):
        return request.param

    def shown(self, page: Page) -> list[str]:
        return [text.strip() for text in page.locator(".gallery li:visible").all_inner_texts()]

    def test_all_functions(self, page: Page, site: str):
        page.goto(f"{site}/gallery.html")
        assert sorted(self.shown(page)) == sorted(activations_xp.names())
        load = "image => { image.loading = 'eager'; return image.decode(); }"
        page.eval_on_selector_all(".gallery img", f"all => Promise.all(all.map({load}))")

    def test_filters(self, page: Page, site: str):
        page.goto(f"{site}/gallery.html")
        entries = _catalog.entries()
        for trait in ("smooth", "bounded"):
            page.get_by_label(trait, exact=True).check()
            wanted = [e for e in entries if trait in e.traits]
        both = sorted(e.name for e in wanted if "smooth" in e.traits)
        assert sorted(self.shown(page)) == both
        page.get_by_role("button", name="Show all").click()
        expect(page.locator(".gallery li:visible")).to_have_count(len(entries))
        family = max(_catalog.families(), key=lambda f: sum(e.family == f for e in entries))
        page.get_by_label("Family").select_option(family.key)
        assert sorted(self.shown(page)) == sorted(e.name for e in entries if e.family == family)

    def test_search_by_alias(self, page: Page, site: str):
        page.goto(f"{site}/gallery.html")
        page.get_by_label("Search", exact=True).last.fill("swish")
        assert {"silu", "hard_swish"} <= set(self.shown(page))
        assert "relu" not in self.shown(page)

    def test_the_filter_is_in_the_address(self, page: Page, site: str):
        page.goto(f"{site}/gallery.html")
        page.get_by_label("monotonic", exact=True).check()
        names = self.shown(page)
        page.goto("about:blank")
        page.go_back()
        page.wait_for_load_state()
        assert self.shown(page) == names


class TestWhere:
    @pytest.fixture(params=["light"])
    def scheme(self, request):
        return request.param

    def test_filter(self, page: Page, site: str):
        page.goto(f"{site}/where.html")
        rows = page.locator(".where-matrix tbody tr:visible")
        expect(rows).to_have_count(len(activations_xp.names()))
        choice = page.get_by_label("Not all right on")
        for library in choice.locator("option").evaluate_all("all => all.map(o => o.value)")[1:]:
            choice.select_option(library)
            marks = page.locator(f".where-matrix tr[data-libraries~={library}]")
            expect(rows).to_have_count(marks.count())
            assert marks.locator(":is(.part, .wrong)").count() >= marks.count()
        choice.select_option("")
        page.locator("form [name=text]").fill("sparsemax")
        expect(rows.locator("th")).to_have_text(["sparsemax"])


class TestSearch:
    @pytest.fixture(params=["light"])
    def scheme(self, request):
        return request.param

    @pytest.fixture(params=["desktop"])
    def size(self, request):
        return request.param

    def test_search(self, page: Page, server: str):
        page.goto(f"{server}/search.html?q=gelu")
        found = page.locator("#search-results a[href*='functions/gelu.html']")
        expect(found.first).to_be_visible()
