"""Test the pages of the site, which are made from the registry and from measured figures."""

from __future__ import annotations

import re
import runpy
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import sympy
from examples import ROOT, blocks, is_for, run
from latex2mathml.converter import convert
from oracle import FUNCTIONS

import activations_xp as ax
from activations_xp import _registry
from activations_xp._catalog import entries
from activations_xp._define import activation
from activations_xp._parameters import ArrayOrNumber
from activations_xp._typing import Array, Namespace

sys.path.append(str(ROOT / "docs"))
from _extension import choosing, formulas, links, measured, pages, pictures, where, words
from tools import overviews

DOCS = ROOT / "docs"
GENERATED = {"families", "functions", "tables"}
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if p.relative_to(DOCS).parts[0] not in GENERATED]
EXAMPLES = [(path, block) for path in PAGES for block in blocks(path) if block.startswith(">>>")]
ACTIVATIONS = [function.definition for function in FUNCTIONS]
ENTRIES = {entry.name: entry for entry in entries()}

every_name = pytest.mark.parametrize("name", ax.names())


def test_examples(backend):
    for path, block in EXAMPLES:
        if is_for(block, backend.library):
            run(block, str(path.relative_to(ROOT)))


@pytest.mark.once
def test_every_example_is_for_a_library():
    libraries = ("numpy", "torch", "jax", "strict")
    others = [b for _, b in EXAMPLES if not any(is_for(b, name) for name in libraries)]
    # backends/test_tensorflow.py runs it, with TensorFlow
    assert [b for b in others if not b.startswith(">>> import tensorflow")] == []


def test_lines_on_the_pages_run(backend):
    titles = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
    for entry in ENTRIES.values():
        for tab in words.tabs(entry):
            if tab.code and tab.title == titles.get(backend.library):
                exec(tab.code, {})


# pages


@pytest.mark.once
@every_name
def test_page(name):
    page = pages.function_page(ENTRIES[name])
    assert page.startswith(f"# {name}\n")
    assert f"autofunction:: {name}\n" in page
    assert set(re.findall(r"\]\((\w+)\.md[)#]", page)) <= set(ax.names())


@pytest.mark.once
@every_name
def test_pictures(name):
    for picture in (pictures.graph(name), pictures.thumbnail(name)):
        shapes = ("}path", "}image", "}rect")
        assert sum(e.tag.endswith(shapes) for e in ElementTree.fromstring(picture).iter()) > 1


@pytest.mark.once
def test_pictures_of_choosing(tmp_path):
    page = (DOCS / "choosing.md").read_text()
    (tmp_path / "choosing.md").write_text(page)
    choosing.write_all(tmp_path)
    shown = re.findall(r"\((choosing/\w+\.svg)\)", page)
    assert sorted(shown) == sorted(f"choosing/{draw.__name__}.svg" for draw in choosing.PICTURES)
    for path in shown:
        lines = ElementTree.parse(tmp_path / path).iter()
        assert sum(e.tag.endswith(("}path", "}rect")) for e in lines) > 1


@pytest.fixture
def newcomer(monkeypatch):
    """Return a function that was defined just now."""
    for table in ("_functions", "_names", "_spellings", "_alias_of"):
        monkeypatch.setattr(_registry, table, dict(getattr(_registry, table)))

    @activation(
        formula="where(x > 0, beta * x, log1p(abs(x)))",
        source="Nobody, arXiv:2501.01234.",
        peers={"torch": "torch.nn.functional.relu"},
        kinks=(0.0,),
    )
    def newcomer(xp: Namespace, x: Array, beta: ArrayOrNumber = 2.0):
        """Newcomer, beta*x above 0."""
        return xp.where(x > 0, beta * x, xp.log1p(xp.abs(x)))

    @newcomer.defderivative
    def _(xp, x, beta):
        return xp.where(x > 0, beta, -1 / (1 + xp.abs(x)))

    return newcomer


@pytest.mark.once
def test_new_function_has_all(newcomer):
    (entry,) = [entry for entry in entries() if entry.name == "newcomer"]
    page = pages.function_page(entry)
    assert r"\begin{cases}\beta x & x > 0 \\ \log\left(1 + \left|x\right|\right) & x \le 0" in page
    assert "At x = 0 `derivative` is −1; the slopes beside it are −1 and 2." in page
    assert "[arXiv:2501.01234](https://arxiv.org/abs/2501.01234)" in page
    assert "{py:obj}`activations_xp.dropin.torch.relu`" in page
    assert "newcomer" in pictures.graph("newcomer")
    assert "<path" in pictures.thumbnail("newcomer")


# mathematics


@pytest.mark.once
@pytest.mark.parametrize("definition", ACTIVATIONS, ids=lambda definition: definition.name)
def test_every_formula_is_mathematics(definition):
    for case in definition.cases:
        if "::" in case.formula or ":, " in case.formula:  # of a reversed or an interleaved axis
            continue
        printed = formulas.formula(definition.changed(formula=case.formula))
        for latex in (printed.latex, *printed.legend):
            ElementTree.fromstring(convert(latex))
        # what else Python writes
        assert not re.search(r"\*|where|expm1|log1p|axis|None|lambd\b", printed.latex)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("silu", r"\frac{x}{1 + e^{-\beta x}}"),
        ("gelu", r"\frac{x}{2} \, \operatorname{erfc}\left(-\frac{x}{\sqrt{2}}\right)"),
        ("relu6", r"\min\left(\max\left(x, 0\right), 6\right)"),
        ("elish", r"\begin{cases}\frac{x}{1 + e^{-x}} & x > 0 \\ \frac{e^{x} - 1}{1 + e^{-x}} & "),
        ("snake", r"x + \frac{1}{\mathrm{frequency}} \, \sin^{2}\left(\mathrm{frequency} \, x"),
        ("softmax", r"\frac{e^{x_{i}}}{\sum_{j} e^{x_{j}}}"),
        ("logcumsumexp", r"\log \sum_{j \le i} e^{x_{j}}"),
        ("rms_norm", r"\frac{x_{i}}{\sqrt{\frac{1}{n} \sum_{j} x_{j}^{2} + \varepsilon}}"),
        ("sparsemax", r"\max\left(x_{i} - \max_{j} \frac{\sum_{k \le j} x_{(k)} - 1}{j}, 0\right)"),
        ("entmax15", r"\max\left(\frac{x_i - \tau}{2}, 0\right)^{2}"),
        ("crelu", r"\left(\max\left(x, 0\right), \max\left(-x, 0\right)\right)"),
        ("one_hot", r"\begin{cases}1 & x_{i} = j \\ 0 & x_{i} \ne j\end{cases}"),
        ("maxout", r"\max_{i} x_{i \cdot \mathrm{num\_units} + j}"),
        ("hard_shrink", r"\begin{cases}x & \left|x\right| > \lambda \\ 0 & \text{otherwise}"),
    ],
)
def test_formula(name, latex):
    assert formulas.formula(ax.get(name).definition).latex.startswith(latex)


SHOWN = [d for d in ACTIVATIONS if formulas.derivative(d)]


@pytest.mark.once
@pytest.mark.parametrize("definition", SHOWN, ids=lambda definition: definition.name)
def test_derivative_that_is_shown(definition):
    """The derivative of the formula is that of the implementation, which is written by hand."""
    ElementTree.fromstring(convert(formulas.derivative(definition)))
    low, high = definition.properties.domain
    points = np.linspace(max(low, -2.9), min(high, 3.1), 7)[1:-1]
    given = {**definition.defaults, **definition.cases[0].parameters}
    slope = formulas.slope(definition).subs(formulas.ROOT, sympy.sqrt(2))
    values = {s: float(given[s.name]) for s in slope.free_symbols if s.name != "x"}
    expected = [
        float(slope.subs(values).subs(sympy.Symbol("x", real=True), float(x)).doit().evalf())
        for x in points
    ]
    got = ax.get(definition.name).derivative(points, **definition.cases[0].parameters)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


# measured figures


@pytest.mark.once
@pytest.mark.parametrize("name", overviews.TABLES)
def test_overview_is_current(name):
    assert (DOCS / name).read_text() == overviews.with_tables(name), "run nox -s tables"


@pytest.mark.once
def test_figures_of_functions():
    (_, peer, ratio) = measured.performance()["times"]["NumPy with Numba"]["gelu"]["1000"]
    assert f"<br>{ratio:.2f} {peer} |" in measured.times_of("gelu")
    error = measured.errors("float64", "numpy")["erfinv()"]
    assert f"| float64 | {error:.2f} |" in measured.errors_of("erfinv")
    known = set(ax.names())
    for rows in measured.performance()["times"].values():
        assert set(rows) <= known
    for title in measured.TEXTS:
        assert {case.partition("(")[0] for case in measured.accuracy()[title]["rows"]} <= known


# where it runs


@pytest.mark.once
def test_every_function_and_every_library_is_on_the_page():
    """New ones are on the page once ``nox -s where`` and ``nox -s tables`` ran."""
    backends = runpy.run_path(str(ROOT / "conftest.py"))["BACKENDS"].keys()
    libraries = {name for name in backends if "-" not in name or name.endswith("-cuda")}
    assert libraries <= where.TITLES.keys()
    assert libraries - where.NEEDS_GPU <= where.data().keys() <= where.TITLES.keys()
    for library, found in where.data().items():
        assert list(found["functions"]) == ax.names(), library


@pytest.mark.once
@pytest.mark.parametrize("library", where.LIMITS)
def test_every_limit_has_a_miss(library):
    whys = {miss.why for miss in where.misses(library)}
    assert set(where.LIMITS[library].values()) <= whys


@pytest.mark.once
def test_marks_of_functions():
    assert {where.mark("numpy", name).kind for name in ax.names()} == {"right"}
    assert where.mark("torch", "silu").text == "right, with its own kernel"
    assert where.mark("strict", "silu").text == "right"


# the check of links


@pytest.mark.once
def test_links(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="b.html#there">1</a> <a href="#here">2</a> <a href="c.html">3</a>'
        '<a href="b.html#nowhere">4</a> <img src="https://example.org/x.png">'
        '<a href="https://example.org">5</a> <a href="b.html#f=gelu">6</a></p>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    assert list(links.problems(tmp_path)) == [
        "a.html: c.html does not exist",
        "a.html: b.html#nowhere has no such anchor",
        "a.html: https://example.org/x.png is loaded from another host",
    ]
