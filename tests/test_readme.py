"""The README: its examples run, its table is what the registry says, its block is all it takes."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

from activations_xp.__main__ import markdown_table

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
IMPORTS = {"strict": "array_api_strict", "dask": "numpy"}


def test_examples(backend):
    module = IMPORTS.get(backend.library, backend.library)
    (block,) = [b for b in BLOCKS if re.match(rf">>> import {module}\b(?!\.)", b)]
    test = doctest.DocTestParser().get_doctest(block, {}, module, "README.md", 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_table_is_current():
    table = README.partition("<!-- functions -->\n")[2].partition("<!-- end of functions -->\n")[0]
    assert table == markdown_table(), "run nox -s tables"


def test_the_block_that_adds_a_function_is_all_it_takes():
    (block,) = [b for b in BLOCKS if b.startswith("@activation")]
    program = f"""
from math import inf
from typing import Any
import mpmath, numpy as np
import activations_xp as ax
from activations_xp._activation import activation, derivative_of
from activations_xp._parameters import Scalar
from activations_xp._typing import Array, Namespace
{block}
x = np.array([-1e4, -2.0, 0.0, 1.5, 1e200])
mpmath.mp.dps = 450
true = [(v + mpmath.sqrt(v * v + 4)) / 2 for v in map(mpmath.mpf, x)]
got = ax.get("squareplus")(x)
assert all(abs(g - t) <= 4e-16 * t for g, t in zip(got, true)), (got, true)
assert np.isclose(squareplus.derivative(x)[3], 0.8)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
