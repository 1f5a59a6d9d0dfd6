"""The measured times and errors in docs/data, as tables of Markdown."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from tools.records import format_count, format_time, read

FLOAT32 = ("8", "1000", "100000", "10000000")
"""The sizes at which arrays of float32 are measured."""

ON_PAGE = {
    "NumPy with Numba": "NumPy with Numba",
    "NumPy without Numba": "NumPy alone",
    "torch": "PyTorch",
    "torch, forward and backward": "PyTorch, with gradient",
    "JAX": "JAX",
    "JAX, jitted gradient": "JAX, gradient",
}
"""The kinds of use on the page of a function, and their titles there."""

TEXTS = {
    "float32": """\
The first columns are the largest errors of our function on each library, and where the largest of
them is. *correct* is the percentage of correctly rounded values on that library, and *apart* the
largest difference between two libraries. The next two columns are the largest error of our
derivative and where it is, and the last ones the errors of the functions that other libraries
have.""",
    "float16": """\
The numbers are all patterns. *different* is the number of patterns at which two libraries differ.
The last columns are the errors of the functions that other libraries have.""",
    "Along an axis": """\
The errors of the values are in ulp, those of `vjp` in eps * max(abs(g) @ abs(J)), where J is the
Jacobian matrix.""",
    "Fast": """\
These are the largest errors in float32 at `precision("fast")`, the default, in
eps * max(abs(f(x)), min(abs(x), 1)): of our values and derivatives on each library, and of the
values of the functions that other libraries have. At most {accepted:g} is accepted, and twice that
for a derivative of a library's own kernel. A derivative on PyTorch and JAX is measured both as
`f.derivative` and by the library's own differentiation. Along an axis abs(x) is that of the largest
element, and the derivative is `vjp`, in eps * max(abs(g) @ abs(J), min(abs(x), 1)). Numbers over a
quarter of the largest are left out.""",
    "PyTorch's own kernels": """\
These are the largest errors on the CPU in eps * max(abs(f(x)), min(abs(x), 1)).
`precision("fast")` runs a kernel if its error is at most {accepted:g} and its derivatives are
right; the last column has the dtypes in which it does not. Numbers over a quarter of the largest
one are left out; there PyTorch's gelu is infinite.""",
}
TEXTS |= {"float64": TEXTS["float32"], "bfloat16": TEXTS["float16"]}

performance = functools.cache(functools.partial(read, "performance"))
accuracy = functools.cache(functools.partial(read, "accuracy"))


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]], left: int = 1, last: int = 0) -> str:
    """Return a table whose columns but the first and the last ones are flushed to the right."""
    heads = list(heads)
    right = range(left, len(heads) - last)
    marks = ["--:" if i in right else ":--" for i in range(len(heads))]
    lines = [heads, marks, *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def mean(ratios: Iterable[float]) -> float:
    return statistics.geometric_mean(ratios)


def overview() -> dict[str, dict[str, float]]:
    """Return the geometric means of the ratios in float32, by kind of use and by size."""
    means: dict[str, dict[str, float]] = {}
    for kind, rows in performance()["times"].items():
        for size in FLOAT32:
            ratios = [row[size][2] for row in rows.values() if size in row]
            if ratios:
                means.setdefault(kind, {})[size] = mean(ratios)
    return {kind: row for kind, row in means.items() if len(row) == len(FLOAT32)}


def overview_of_times() -> str:
    """Return the table at the top of docs/performance.md."""
    heads = ["float32, elements", *(format_count(int(size)) for size in FLOAT32)]
    rows = ([kind, *(f"{m:.2f}" for m in row.values())] for kind, row in overview().items())
    return table(heads, rows)


def columns_of(title: str) -> list[str]:
    columns: list[str] = accuracy()[title]["columns"]
    return columns


def errors(title: str, column: str) -> dict[str, float]:
    """Return the errors in a column of a section by case, where there are any."""
    index = columns_of(title).index(column)
    rows = accuracy()[title]["rows"].items()
    return {case: float(row[index]) for case, row in rows if row[index] is not None}


def overview_of_errors() -> str:
    """Return the table at the top of docs/accuracy.md."""
    rows = []
    for title in ("float32", "float64"):
        for column in columns_of(title):
            if column in ("numpy", "torch", "jax") or column.startswith("peer"):
                found = errors(title, column)
                whose = column.replace("peer ", "") + ("'s own" if "peer" in column else ", ours")
                share = 100 * statistics.fmean(error <= 5 for error in found.values())
                worst = max(found, key=found.__getitem__)
                median = f"{statistics.median(found.values()):.2f}"
                largest = f"{_error(found[worst])} {worst.partition('(')[0]}"
                rows.append([title, whose, len(found), median, f"{share:.0f} %", largest])
    heads = ["dtype", "functions", "cases", "median", "at most 5 ulp", "largest"]
    return table(heads, rows, left=2)


def _error(ulp: Any) -> str:
    if ulp is None:
        return ""
    ulp = float(ulp)
    return f"{ulp:.2f}" if ulp < 100 else f"{ulp:.1e}"


# the page of a function


def times_of(name: str) -> str:
    """Return the table of the times of a function in float32, or "" if there are none."""
    rows = []
    for kind, title in ON_PAGE.items():
        found = performance()["times"].get(kind, {}).get(name, {})
        cells = []
        for size in FLOAT32:
            seconds, peer, ratio = found.get(size, (0.0, "", 0.0))
            cells.append(f"{format_time(seconds)}<br>{ratio:.2f} {peer}" if seconds else "")
        if any(cells):
            rows.append([title, *cells])
    heads = ["float32, elements", *(format_count(int(size)) for size in FLOAT32)]
    return table(heads, rows) if rows else ""


def errors_of(name: str) -> str:
    """Return the table of the errors of a function at its first case, or "" if there are none."""
    rows = []
    for title in ("float32", "float64"):
        found = [row for case, row in accuracy()[title]["rows"].items() if _is_of(case, name)]
        if found:
            cells = dict(zip(columns_of(title), found[0], strict=True))
            named = ("numpy", "torch", "jax", "derivative", "peer torch", "peer jax", "peer scipy")
            rows.append([title, *(_error(cells[column]) for column in named)])
    found = [row for case, row in accuracy()["Along an axis"]["rows"].items() if _is_of(case, name)]
    for dtype in ("float32", "float64") if found else ():
        cells = dict(zip(columns_of("Along an axis"), found[0], strict=True))
        named = [f"{library} {dtype}" for library in ("numpy", "torch", "jax", "vjp")]
        rows.append([dtype, *(_error(cells[column]) for column in named), "", "", ""])
    if not rows:
        return ""
    heads = ["NumPy", "PyTorch", "JAX", "derivative", "torch's own", "jax's own", "SciPy's own"]
    kept = [i for i in range(len(heads)) if any(row[i + 1] for row in rows)]
    return table(
        ["dtype", *(heads[i] for i in kept)],
        ([row[0], *(row[i + 1] for i in kept)] for row in rows),
    )


def _is_of(case: str, name: str) -> bool:
    return case.partition("(")[0] == name


# the pages of all tables

WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n"
"""The head of a page whose tables need the whole width."""


def performance_tables() -> Iterator[str]:
    yield f"{WIDE}# All times\n\n"
    yield "Each time of ours is followed by the ratio; measured by `nox -s bench` on "
    yield f"{performance()['conditions']}.\n\n"
    yield "![The ratio of each function](each_function.svg)\n\n![Time by size](growth.svg)\n"
    for kind, rows in performance()["times"].items():
        sizes = sorted({size for row in rows.values() for size in row}, key=int)
        yield f"\n## {kind}\n\n"
        for size in sizes:
            ratios = [row[size][2] for row in rows.values() if size in row]
            yield f"* {format_count(int(size))} elements: geometric mean {mean(ratios):.2f}, "
            yield f"least {min(ratios):.2f}\n"
        heads = [h for size in sizes for h in (format_count(int(size)), "fastest other")]
        lines = []
        for name, row in rows.items():
            lines.append([link(name)])
            for size in sizes:
                seconds, peer, ratio = row.get(size, (0.0, "", 0.0))
                lines[-1] += [format_time(seconds), f"{ratio:.2f} {peer}"] if seconds else ["", ""]
        yield "\n" + table(["function", *heads], lines)
    threads = performance()["threads"]
    yield "\n## Threads and memory\n\nThe table has the times for a NumPy array of 1e7 elements in "
    yield f"float32 with one thread and with {threads}, their ratio, and the memory allocated "
    yield "beyond the result.\n\n"
    yield table(
        ["function", "1", threads, "speed-up", "memory"],
        (
            [
                link(name),
                format_time(alone),
                format_time(together),
                f"{alone / together:.2f}",
                f"{memory / 2**20:.1f} MB",
            ]
            for name, (alone, together, memory) in performance()["memory"].items()
        ),
    )


def accuracy_tables() -> Iterator[str]:
    facts = accuracy()["conditions"]
    yield f"{WIDE}# All errors\n\n"
    yield f"Measured by `nox -s accuracy`: seed {facts['seed']}, {facts['measured']}.\n"
    for title, text in TEXTS.items():
        rows = accuracy()[title]["rows"].items()
        yield f"\n## {title}\n\n{text.format(**facts)}\n\n"
        yield table(
            ["function", *columns_of(title)],
            (
                [f"{link(case.partition('(')[0])}({case.partition('(')[2]}", *_cells(title, row)]
                for case, row in rows
            ),
        )


def _cells(title: str, row: list[Any]) -> Iterator[str]:
    for column, value in zip(columns_of(title), row, strict=True):
        if value is None or isinstance(value, list):
            yield ", ".join(value or [])
        elif column.endswith("at") or column == "different":
            yield f"{float(value):.5g}"
        else:
            yield f"{float(value):.1f} %" if column == "correct" else _error(value)


def link(name: str) -> str:
    """Return a link from a page of tables to the page of a function."""
    return f"[{name}](../functions/{name}.md)"
