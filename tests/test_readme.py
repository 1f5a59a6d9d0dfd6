"""Test the examples and the generated tables of the documentation."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import activations_xp as ax
from activations_xp.cli.show import markdown_page

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
IMPORTS = {"strict": "array_api_strict", "dask": "numpy"}


def run_example(block, name):
    test = doctest.DocTestParser().get_doctest(block, {}, name, "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_examples(backend):
    module = IMPORTS.get(backend.library, backend.library)
    blocks = [b for b in BLOCKS if re.match(rf">>> import {module}\b(?!\.)", b)]
    assert blocks
    for block in blocks:
        run_example(block, module)


def test_dropin_example():
    (block,) = [b for b in BLOCKS if b.startswith(">>> import activations_xp.dropin")]
    run_example(block, "dropin")


@pytest.mark.once
def test_every_block_is_an_example():
    modules = ("numpy", "torch", "jax", "array_api_strict", "activations_xp.dropin")
    assert all(b.startswith(tuple(f">>> import {m}" for m in modules)) for b in BLOCKS)


@pytest.mark.once
def test_families_name_functions():
    rows = re.findall(r"^\| [a-z].*\| (`.*) and others \|$", README, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(rows) == 12
    assert [name for name in named if not hasattr(ax, name)] == []
    assert len(set(named)) == len(named)


@pytest.mark.once
def test_links():
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.once
def test_functions_page_is_current():
    assert (ROOT / "docs" / "functions.md").read_text() == markdown_page(), "run nox -s tables"


@pytest.mark.once
def test_contributing_has_a_definition_of_ours():
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", contributing, re.DOTALL)
    families = Path(ax.functions.__file__).parent.glob("*.py")
    assert any(block in path.read_text() for path in families)
