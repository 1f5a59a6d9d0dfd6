"""Test the explorer in a browser, opened from the file system."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from playwright.sync_api import Page, expect

import activations_xp

FOLDER = Path(__file__).parents[2] / "build" / "site" / "explorer"
NAMES = sorted(path.stem for path in (FOLDER / "curves").glob("*.js"))
ELEMENTWISE = [
    name
    for name in activations_xp.names()
    for definition in [activations_xp.get(name).definition]
    if definition.is_elementwise and definition.derivative and definition.noise is None
]
MARGIN = {"left": 64, "right": 12}
"""The pixels that explorer.js leaves beside the graphs."""


@pytest.fixture
def open_view(page: Page, site: str):
    def open_view(view: str = "") -> Page:
        page.goto("about:blank")
        page.goto(f"{site}/explorer/index.html{'#' if view else ''}{view}")
        page.locator("#ex-chart svg").first.wait_for()
        return page

    return open_view


def number(text: str) -> float:
    return float("nan") if text == "–" else float(text.replace("−", "-"))


def reading(page: Page) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return the x that is read, and f and f' of each curve."""
    caption = page.locator("#ex-reading caption").inner_text()
    rows = page.locator("#ex-reading tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    values = {label.strip(): (number(f), number(slope)) for label, f, slope in cells}
    return number(caption.removeprefix("At x = ")), values


def assert_right(values: tuple[float, float], name: str, x: float, **parameters: object) -> None:
    exact = activations_xp.get(name).value_and_derivative(np.float64(x), **parameters)
    np.testing.assert_allclose(values, exact, rtol=2e-5, atol=2e-6, err_msg=f"{name} at {x}")


def snapshot(page: Page) -> dict[str, object]:
    """Return what a view shows: the lines of all graphs, the readings and the positions."""
    page.wait_for_timeout(300)
    return {
        "lines": page.eval_on_selector_all(
            "#ex-chart path:has(title)", "all => all.map(p => p.outerHTML)"
        ),
        "reading": reading(page),
        "sliders": page.eval_on_selector_all("#ex-chosen input", "all => all.map(i => i.value)"),
        "boxes": page.eval_on_selector_all("[type=checkbox]", "all => all.map(i => i.checked)"),
    }


def drag(page: Page, start: float, end: float) -> None:
    box = page.locator("#ex-chart").bounding_box()
    y = box["y"] + 150
    page.mouse.move(box["x"] + start, y)
    page.mouse.down()
    page.mouse.move(box["x"] + (start + end) / 2, y, steps=3)
    page.mouse.move(box["x"] + end, y, steps=3)
    page.mouse.up()


def ends(page: Page) -> tuple[float, float]:
    """Return the ends of the x axis."""
    page.wait_for_timeout(50)
    return tuple(float(page.locator(f"#ex-x{i}").input_value()) for i in (0, 1))


def test_every_function_of_one_number_is_there():
    assert sorted(ELEMENTWISE) == NAMES


def test_size():
    sizes = [path.stat().st_size for path in (FOLDER / "curves").iterdir()]
    assert sum(sizes) < 8e6
    assert np.median(sizes) < 1e5


@pytest.mark.parametrize("start", range(0, len(NAMES), 6))
def test_values_of_every_function(open_view, start):
    names = NAMES[start : start + 6]
    page = open_view("&".join(f"f={name}" for name in names))
    for x in (-35.3, -7.77, -3.1, -0.62, -2e-3, 0.0, 0.013, 0.4, 0.9, 2.6, 5.05, 33.3):
        page.evaluate(f"location.hash = '{'&'.join(f'f={n}' for n in names)}&at={x}'")
        expect(page.locator("#ex-reading caption")).to_have_text(f"At x = {x:g}".replace("-", "−"))
        _, values = reading(page)
        for name in names:
            definition = activations_xp.get(name).definition
            low, high = definition.properties.domain
            required = {
                p: v
                for p, v in (definition.cases[0].parameters if definition.cases else {}).items()
                if p not in definition.defaults
            }
            found = next(v for label, v in values.items() if re.match(rf"{name}(,|$)", label))
            if low < x < high:
                assert_right(found, name, x, **required)


def test_values_under_the_pointer(open_view):
    page = open_view("f=gelu,approximate:tanh&f=silu,beta:2&f=hard_tanh,max_value:2&x=-4,4")
    box = page.locator("#ex-chart").bounding_box()
    seen = set()
    for share in (0.1, 0.33, 0.5, 0.77):
        pixel = MARGIN["left"] + share * (box["width"] - MARGIN["left"] - MARGIN["right"])
        page.mouse.move(box["x"] + pixel, box["y"] + 200)
        x, values = reading(page)
        assert abs(x - (-4 + 8 * share)) < 0.02
        seen.add(x)
        assert_right(values["gelu, approximate=tanh"], "gelu", x, approximate="tanh")
        assert_right(values["silu, beta=2"], "silu", x, beta=2.0)
    assert len(seen) == 4


def test_a_kink_is_read_as_the_function_returns_it(open_view):
    page = open_view("f=relu&f=step&f=hard_shrink&at=0")
    _, values = reading(page)
    for name in ("relu", "step", "hard_shrink"):
        assert_right(values[name], name, 0.0)


def test_sliders(open_view):
    page = open_view("f=silu&at=1")
    slider = page.get_by_role("slider", name="beta")
    before = page.locator("#ex-chart path:has(title)").first.get_attribute("d")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.locator("#ex-reading tbody th").first).to_have_text("silu, beta=2")
    x, values = reading(page)
    assert_right(values["silu, beta=2"], "silu", x, beta=2.0)
    assert slider.get_attribute("aria-valuetext") == "2"
    assert page.locator("#ex-chart path:has(title)").first.get_attribute("d") != before
    expect(slider).to_be_focused()


def test_difference(open_view):
    page = open_view("f=gelu&f=silu&f=relu&at=1.5")
    _, values = reading(page)
    exact = activations_xp.gelu(1.5) - activations_xp.silu(1.5)
    assert abs(values["gelu − silu"][0] - exact) < 2e-6
    page.get_by_text("which two to subtract").click()
    page.get_by_label("minus").select_option("relu")
    _, values = reading(page)
    assert abs(values["gelu − relu"][0] - (activations_xp.gelu(1.5) - 1.5)) < 2e-6
    page.get_by_label("difference", exact=True).uncheck()
    expect(page.locator("#ex-chart svg")).to_have_count(2)


def test_a_difference_is_no_rounding_error(open_view):
    page = open_view("f=gelu&f=silu&at=20")
    assert reading(page)[1]["gelu − silu"] == (0, 0)


def test_parameters_that_exclude_each_other(open_view):
    page = open_view("f=hard_tanh,min_val:1,max_val:0.5")
    expect(page.get_by_text("requires min_val <= max_val")).to_be_visible()
    assert np.isnan(reading(page)[1]["hard_tanh, min_val=1, max_val=0.5"]).all()


def test_zoom_pan_and_reset(open_view):
    page = open_view("f=gelu")
    box = page.locator("#ex-chart").bounding_box()
    inner = box["width"] - MARGIN["left"] - MARGIN["right"]
    page.mouse.click(box["x"] + MARGIN["left"] + inner / 2, box["y"] + 100)
    page.mouse.wheel(0, -400)
    low, high = ends(page)
    assert -6 < low < high < 6
    assert abs(low + high) < 0.1  # it zooms where the pointer is
    page.wait_for_timeout(200)
    drag(page, 300, 200)
    moved = ends(page)
    width = high - low
    np.testing.assert_allclose(moved[1] - moved[0], width, rtol=1e-4)
    np.testing.assert_allclose(moved[0] - low, width * 100 / inner, rtol=0.02)
    page.get_by_role("button", name="Reset").click()
    assert ends(page) == (-6, 6)


def test_wheel_scrolls_a_page_that_is_read(open_view):
    page = open_view("f=gelu")
    box = page.locator("#ex-chart").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 100)
    page.mouse.wheel(0, 300)
    page.wait_for_function("window.scrollY > 0")
    assert ends(page) == (-6, 6)


@pytest.mark.parametrize("size", ["phone"])
def test_pinch(open_view):
    page = open_view("f=gelu")
    box = page.locator("#ex-chart").bounding_box()
    client = page.context.new_cdp_session(page)
    y = box["y"] + 100

    def touch(kind: str, *xs: float) -> None:
        points = [{"x": box["x"] + x, "y": y, "id": i} for i, x in enumerate(xs)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 180, 220)
    for step in range(1, 6):
        touch("touchMove", 180 - 8 * step, 220 + 8 * step)
    touch("touchEnd")
    low, high = ends(page)
    np.testing.assert_allclose(high - low, 12 / 3, rtol=0.05)


def test_logarithmic_axes_show_the_tail(open_view):
    page = open_view("f=gelu&x=-30,6")
    page.get_by_label("log |y|").check()
    page.get_by_label("log x").check()
    texts = page.locator("#ex-chart svg").first.locator("text").all_text_contents()
    assert any(text.startswith("1e−") for text in texts)
    assert "−10" in texts
    page.evaluate("location.hash += '&at=-20'")
    expect(page.locator("#ex-reading caption")).to_have_text("At x = −20")
    value = reading(page)[1]["gelu"][0]
    np.testing.assert_allclose(value, activations_xp.gelu(-20.0), rtol=1e-3)


VIEW = "f=silu,beta:4&f=leaky_relu,negative_slope:0.2&f=gelu,approximate:tanh&x=-3,2&at=-0.7"


def test_a_link_restores_the_view(open_view):
    page = open_view(VIEW)
    page.get_by_role("slider", name="beta").press("ArrowLeft")
    page.get_by_label("log |y|").check()
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Remove leaky_relu").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#ex-status")).to_have_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    before = snapshot(page)
    assert link == page.url
    page.goto("about:blank")
    page.goto(link)
    page.locator("#ex-chart svg").first.wait_for()
    assert snapshot(page) == before


def test_a_link_that_was_cut_shows_what_it_can(open_view):
    page = open_view("f=silu,beta:1.9&f=nothing&x=5,-5&at=a&f=relu,x:1")
    labels = page.locator("#ex-reading tbody th").all_inner_texts()
    assert [label.strip() for label in labels] == ["silu, beta=2", "relu", "silu, beta=2 − relu"]
    assert ends(page) == (-6, 6)


def test_export_of_svg(open_view):
    page = open_view("f=tanh&f=softsign&x=-5,5")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save SVG").click()
    assert download.value.suggested_filename == "tanh-softsign.svg"
    root = ET.fromstring(Path(download.value.path()).read_text())
    svg = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in root.findall(f"{svg}g/{svg}text")] == ["tanh", "softsign"]
    graph = root.find(f"{svg}svg")
    paths = [path for path in graph.iter(f"{svg}path") if path.find(f"{svg}title") is not None]
    lines = {path.find(f"{svg}title").text: path for path in paths}
    width = float(root.get("width")) - MARGIN["left"] - MARGIN["right"]
    for name in ("tanh", "softsign"):
        numbers = re.findall(r"-?[\d.]+(?:e-?\d+)?", lines[name].get("d"))
        px, py = np.asarray(numbers, float).reshape(-1, 2).T
        x = (px - MARGIN["left"]) / width * 10 - 5
        y = activations_xp.get(name)(x)
        fitted = np.polynomial.Polynomial.fit(y, py, 1)
        assert np.abs(fitted(y) - py).max() < 0.1
        assert x.min() <= -4.99
        assert x.max() >= 4.99


@pytest.mark.parametrize("logarithmic", [False, True])
def test_python_draws_the_same(open_view, monkeypatch, logarithmic):
    logs = "&xlog=1&ylog=1" if logarithmic else ""
    page = open_view(VIEW + "&f=softcap" + logs)
    page.get_by_role("button", name="Copy as Python").click()
    code = page.evaluate("navigator.clipboard.readText()")
    assert code == page.locator("#ex-python code").text_content()
    mpl.use("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    names: dict[str, object] = {}
    exec(code, names)
    above, below = names["ax"], names["below"]
    page.get_by_text("Values as a table").click()
    expect(page.locator("#ex-table tr")).to_have_count(22)
    head, *rows = [
        row.locator("th, td").all_inner_texts() for row in page.locator("#ex-table tr").all()
    ]
    columns = np.asarray([[number(cell) for cell in row] for row in rows]).T
    table = dict(zip(head, columns, strict=True))
    named = [line for line in above.lines if re.match("silu|leaky|gelu|softcap", line.get_label())]
    for line, expected in zip(named, list(table.values())[1::2], strict=True):
        expected = np.abs(expected) if logarithmic else expected
        found = np.interp(table["x"], *line.get_xydata().T)
        np.testing.assert_allclose(found, expected, atol=2e-3)
    (line,) = below.lines
    expected = table["silu, beta=4"] - table["leaky_relu, negative_slope=0.2"]
    expected = np.abs(expected) if logarithmic else expected
    np.testing.assert_allclose(np.interp(table["x"], *line.get_xydata().T), expected, atol=2e-3)
    assert above.get_yscale() == ("log" if logarithmic else "linear")
    plt.close("all")


def test_choosing_functions(open_view):
    page = open_view("f=relu")
    name = page.get_by_label("Add a function")
    name.fill("Swish")
    name.press("Enter")
    expect(page.locator("#ex-reading tbody tr")).to_have_count(3)
    assert "silu" in reading(page)[1]
    name.fill("nothing")
    name.press("Enter")
    expect(page.locator("#ex-status")).to_have_text("There is no function nothing")
    for other in ("gelu", "mish", "elu", "tanh"):
        name.fill(other)
        page.get_by_role("button", name="Add").click()
        expect(name).to_have_value("")
    expect(page.get_by_role("button", name="Six at most")).to_be_disabled()
    page.get_by_role("button", name="Remove gelu").click()
    expect(page.get_by_role("button", name="Add")).to_be_enabled()
    options = page.eval_on_selector_all("#ex-names option", "all => all.map(o => o.value)")
    assert set(NAMES) <= set(options)


def test_keyboard_alone(open_view):
    page = open_view("f=relu&derivative=0&difference=0")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"no way to {selector}")

    tab_to("#ex-name")
    page.keyboard.type("gelu")
    page.keyboard.press("Enter")
    expect(page.locator("#ex-status")).to_have_text("gelu added")
    tab_to("#ex-chosen select")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#ex-reading tbody th").nth(1)).to_have_text("gelu, approximate=tanh")
    tab_to("#ex-chart")
    page.keyboard.press("+")
    assert ends(page) == (-3, 3)
    page.keyboard.press("Shift+ArrowRight")
    assert ends(page) == (-1.5, 4.5)
    before, _ = reading(page)
    page.keyboard.press("ArrowRight")
    after, values = reading(page)
    assert before < after < before + 0.1
    assert_right(values["gelu, approximate=tanh"], "gelu", after, approximate="tanh")
    expect(page.locator("#ex-spoken")).to_contain_text("gelu, approximate=tanh: ")
    page.keyboard.press("0")
    assert ends(page) == (-6, 6)
    tab_to("#ex-at")
    page.keyboard.press("Home")
    assert reading(page)[0] == -6
    assert "x = −6; relu: 0, slope 0" in page.locator("#ex-at").get_attribute("aria-valuetext")
    tab_to("#ex-copy-link")
    page.keyboard.press("Enter")
    expect(page.locator("#ex-status")).to_have_text("Link copied")


def test_colours_follow_the_theme(open_view):
    page = open_view("f=relu")
    ink = "getComputedStyle(document.querySelector('#ex-chart svg')).color"
    light = page.evaluate(ink)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ink) != light
