"""Test that docstrings open with a sentence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
FILES = [
    ROOT / "conftest.py",
    ROOT / "noxfile.py",
    *sorted((ROOT / "activations_xp").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
]
NOUN_CLAUSES = {"How", "Of", "Those", "What", "Which", "Whose"}


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, also of variables."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_a_sentence(path):
    openings = [(line, text.split(maxsplit=1)[0].rstrip(",:")) for line, text in docstrings(path)]
    assert [opening for opening in openings if opening[1] in NOUN_CLAUSES] == []


def test_docstrings_finds_all_kinds(tmp_path):
    (tmp_path / "example.py").write_text(
        '"""Module."""\nX = 1\n"""Variable."""\n\n\nclass A:\n    """Class."""\n\n'
        '    def f(self):\n        """Method."""\n        return "no docstring"\n'
    )
    openings = sorted(docstrings(tmp_path / "example.py"))
    assert openings == [(1, "Module."), (3, "Variable."), (7, "Class."), (10, "Method.")]
