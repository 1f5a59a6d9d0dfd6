"""What docs/where.md shows of the tests of every function on every library: tables."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import jinja2
from docutils import nodes
from docutils.parsers.rst import Directive
from tools.records import read

from activations_xp import _catalog

from . import measured
from .pages import DOCS

TITLES = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "torch-cuda": "PyTorch, CUDA",
    "jax": "JAX",
    "jax-cuda": "JAX, CUDA",
    "tensorflow": "TensorFlow",
    "dask": "Dask",
    "cupy": "CuPy",
    "mlx": "MLX",
    "ndonnx": "ndonnx",
    "cubed": "Cubed",
    "sparse": "sparse",
    "strict": "array-api-strict",
}
"""The libraries on the page, in their order, by the names of backends of the tests.

Those of other names, as torch-meta, are another setting of a library.
"""

NEEDS_GPU = {"torch-cuda", "jax-cuda", "cupy"}
"""Those that only a machine with a CUDA device can test."""

QUESTIONS = {
    "values": "values",
    "accurate": "`f.accurate`",
    "dtypes": "dtypes",
    "vjp": "`f.vjp`",
    "autodiff": "its own gradient",
    "masks": "`where=`",
    "parameters": "array parameters",
    "integers": "integers",
    "lazy": "unknown values",
}
"""What is asked about a function, by the name of the test."""

LIMITS: dict[str, dict[str, str]] = {
    "cubed": {
        "AssertionError": "its cumulative sum fails an assertion of its own",
        "chunk sizes must match": "it joins no arrays of other chunks",
        "regular chunks": "it has no arrays of irregular chunks",
    },
    "ndonnx": {
        "NoneType": "an unknown size is None, and so is what is computed of it",
        "object dtype": "an unknown size is None, and so is what is computed of it",
        "fewer digits": "onnxruntime computes cos of float64 in float32",
    },
    "sparse": {
        "consistent fill-values": "it joins no arrays of several fill values",
        "zero fill values": "it multiplies no matrices whose fill values are not 0",
        "'arange'": "it has no arange",
    },
}
"""For a library, its limits, by a part of the error that each causes."""

data = functools.cache(functools.partial(read, "where"))


def shown() -> dict[str, str]:
    """Return the titles of the libraries that there are results of."""
    return {name: title for name, title in TITLES.items() if name in data()}


def _rows(library: str) -> dict[str, Any]:
    rows: dict[str, Any] = data()[library]["functions"]
    return rows


def _wrong(row: dict[str, Any]) -> list[str]:
    """Return the questions that a function gets wrong, in their order."""
    found = [question for questions in row["wrong"].values() for question in questions]
    return [question for question in QUESTIONS if question in found]


def _count(library: str, question: str) -> str:
    """Return the number of functions that are right, of those that are asked."""
    rows = _rows(library).values()
    right = sum(question in row["right"] for row in rows)
    asked = right + sum(question in _wrong(row) for row in rows)
    return "" if not asked else str(right) if right == asked else f"{right} of {asked}"


COUNTED = {
    "values": "values",
    "vjp": "`f.vjp`",
    "autodiff": "its own gradient",
    "lazy": "unknown values",
}
"""The questions that have a column in the table of libraries, and its title."""


def summary() -> str:
    """Return the table of libraries: what is native, right, and where random numbers come from."""
    rows = []
    for library, title in shown().items():
        facts = data()[library]["facts"]
        all_right = sum(not row["wrong"] for row in _rows(library).values())
        rows.append(
            [
                f"{title} {facts['version'].partition('+')[0]}",
                all_right,
                len(facts["native"]) or "",
                *(_count(library, question) for question in COUNTED),
                ", ".join(sorted({dtype[-2:] for dtype in facts["dtypes"]})),
                _rng(library),
            ]
        )
    heads = ["library", "all", "native", *COUNTED.values(), "bits", "`rng`"]
    return measured.table(heads, rows, last=2)


def _rng(library: str) -> str:
    sources = data()[library]["facts"]["rng"]
    return re.sub(r"\b(\w+\.[A-Za-z.]+(?:\(\d*\))?|None)", r"`\1`", sources) or "`noise`"


GRADIENTS = {
    "torch": "autograd, `torch.func`",
    "jax": "`grad`, `vjp`, `jvp`",
    "tensorflow": "`tf.GradientTape`",
    "mlx": "`mx.grad`, `mx.vjp`",
}
EVALUATION = {
    "torch": "at once, or compiled",
    "jax": "at once, or traced",
    "tensorflow": "at once, or traced",
    "dask": "when it is asked for",
    "mlx": "when it is asked for",
    "ndonnx": "at once, or in a graph of ONNX",
    "cubed": "when it is asked for",
}


def differences() -> str:
    """Return the table of docs/guides/libraries.md: where code for one library is not for all."""
    rows = []
    for library, title in shown().items():
        facts = data()[library]["facts"]
        rows.append(
            [
                title,
                GRADIENTS.get(library, "`f.vjp`"),
                "yes" if facts["out"] else "no",
                _rng(library),
                EVALUATION.get(library, "at once"),
                facts["integers"],
            ]
        )
    heads = ["library", "gradients", "`out=`", "random numbers", "evaluation", "integers become"]
    return measured.table(heads, rows, left=6)


@dataclass(frozen=True)
class Miss:
    """A limit of a library, and the functions and questions that it makes fail."""

    why: str
    functions: list[str]
    questions: list[str]


def misses(library: str) -> list[Miss]:
    """Return what fails on a library, by the reason, that of most functions first."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, row in _rows(library).items():
        for error, questions in row["wrong"].items():
            found[_why(library, error)][name].update(questions)
    result = [
        Miss(why, sorted(by_name), [q for q in QUESTIONS if q in set().union(*by_name.values())])
        for why, by_name in found.items()
    ]
    return sorted(result, key=lambda miss: (-len(miss.functions), miss.why))


def _why(library: str, error: str) -> str:
    limits = LIMITS.get(library, {}).items()
    return next((limit for part, limit in limits if part in error), f"`{error}`")


def all_misses() -> str:
    """Return a table of the misses of each library."""
    rows: list[list[str]] = []
    for library, title in shown().items():
        for miss in misses(library):
            total = len(_rows(library))
            names = ", ".join(f"`{name}`" for name in miss.functions)
            which = f"all {total}" if len(miss.functions) == total else names
            asked = ", ".join(QUESTIONS[question] for question in miss.questions)
            rows.append([title, miss.why.replace("|", "\\|"), which, asked])
    return measured.table(["library", "why", "functions", "what of them"], rows, left=4)


# the matrix


@dataclass(frozen=True)
class Mark:
    """A function on a library: the sign, its class, and what it says in words."""

    sign: str
    kind: str
    text: str


def mark(library: str, name: str) -> Mark:
    row = _rows(library)[name]
    if not row["wrong"]:
        if name in data()[library]["facts"]["native"]:
            return Mark("★", "right", "right, with its own kernel")
        return Mark("✓", "right", "right")
    wrong = ", ".join(QUESTIONS[question].replace("`", "") for question in _wrong(row))
    if "values" in _wrong(row):
        return Mark("✗", "wrong", f"no: {wrong}")
    return Mark("◐", "part", f"all but {wrong}")


class Where(Directive):
    """The matrix of all functions and libraries, with the form of its filter."""

    def run(self) -> list[Any]:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(DOCS / "_templates"), autoescape=True
        )
        page = environment.get_template("where.html").render(
            entries=_catalog.entries(), families=_catalog.families(), libraries=shown(), mark=mark
        )
        return [nodes.raw("", page, format="html")]


def setup(app: Any) -> None:
    app.add_directive("where", Where)
