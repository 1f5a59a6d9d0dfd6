"""Test the examples and the generated tables of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from examples import ROOT, blocks, is_for, run

import activations_xp as ax
from activations_xp.cli.show import markdown_page

README = (ROOT / "README.md").read_text()
BLOCKS = blocks(ROOT / "README.md")


def test_examples(backend):
    examples = [b for b in BLOCKS if is_for(b, backend.library)]
    assert examples
    for block in examples:
        run(block, "README.md")


def test_dropin_example():
    (block,) = [b for b in BLOCKS if b.startswith(">>> import activations_xp.dropin")]
    run(block, "README.md")


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
    (block,) = blocks(ROOT / "CONTRIBUTING.md")
    families = Path(ax.functions.__file__).parent.glob("*.py")
    assert any(block in path.read_text() for path in families)
