"""The README: its examples run, its table is what the registry says, its block is one of ours."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import activations_xp.functions
from activations_xp.__main__ import markdown_table

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
IMPORTS = {"strict": "array_api_strict", "dask": "numpy"}


def test_examples(backend):
    module = IMPORTS.get(backend.library, backend.library)
    blocks = [b for b in BLOCKS if re.match(rf">>> import {module}\b(?!\.)", b)]
    assert blocks
    for block in blocks:
        test = doctest.DocTestParser().get_doctest(block, {}, module, "README.md", 0)
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.once
def test_dropin_examples():
    (block,) = [b for b in BLOCKS if b.startswith(">>> import activations_xp.dropin")]
    test = doctest.DocTestParser().get_doctest(block, {}, "dropin", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.once
def test_table_is_current():
    table = README.partition("<!-- functions -->\n")[2].partition("<!-- end of functions -->\n")[0]
    assert table == markdown_table(), "run nox -s tables"


@pytest.mark.once
def test_definition_example_is_one_of_ours():
    (block,) = [b for b in BLOCKS if b.startswith("@activation")]
    families = Path(activations_xp.functions.__file__).parent.glob("*.py")
    assert any(block in path.read_text() for path in families)
