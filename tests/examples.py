"""The examples in the Markdown pages, which the tests run on the library that they import."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTS = {"strict": "array_api_strict", "dask": "numpy", "tensorflow": "numpy"}
"""The module that the examples for a library import first, where it is not named as the library."""


def blocks(path: Path) -> list[str]:
    """Return the blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


def is_for(block: str, library: str) -> bool:
    """Return whether a block is an example for a library."""
    module = IMPORTS.get(library, library)
    return bool(re.match(rf">>> import {module}\b(?!\.(?!numpy))", block))


def run(block: str, name: str) -> None:
    """Run the examples of a block."""
    test = doctest.DocTestParser().get_doctest(block, {}, name, name, 0)
    assert doctest.DocTestRunner().run(test).failed == 0
