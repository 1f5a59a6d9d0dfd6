"""Keep what pytest found in tests/where: which functions run on which library.

``nox -s where`` runs the tests on each library in an environment of its own. The report of pytest
lies in build/where, and this program puts what it says of a library in docs/data/where.json.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tools.records import DATA, read, write

REPORTS = Path("build", "where")
LENGTH = 160
"""The most characters that are kept of an error."""

TEST = re.compile(r"test_(\w+)\[[a-z\d]+(?:-cuda)?(?:-(\w+))?\]")
"""The name of a test: the question, the backend, and the function."""

FACTS = {
    "version": "",
    "dtypes": "[]",
    "native": "[]",
    "rng": "",
    "integers": "",
    "out": "false",
}
"""The facts that are kept of a library, with what stands for them where it is refused."""


def record(report: Path) -> dict[str, Any]:
    """Return the facts of a library, and the questions about each function, right and wrong.

    The wrong ones are by the first line of their error.
    """
    facts: dict[str, Any] = dict(FACTS)
    functions: dict[str, dict[str, Any]] = {}
    for test in ElementTree.parse(report).iter("testcase"):
        asked, name = TEST.fullmatch(test.attrib["name"]).groups()
        if name is None:
            facts |= {p.attrib["name"]: p.attrib["value"] for p in test.iter("property")}
            continue
        row = functions.setdefault(name, {"right": [], "wrong": {}})
        failure = next((part for part in test if part.tag in ("failure", "error")), None)
        if failure is None:
            row["right"].append(asked)
        else:
            error = first_line(failure.attrib["message"], name)
            row["wrong"].setdefault(error, []).append(asked)
    for name in ("dtypes", "native", "out"):
        facts[name] = json.loads(facts[name])
    for row in functions.values():  # processes finish in any order
        row["right"].sort()
        row["wrong"] = {error: sorted(row["wrong"][error]) for error in sorted(row["wrong"])}
    return {"facts": facts, "functions": dict(sorted(functions.items()))}


def first_line(message: str, name: str) -> str:
    """Return the error and the first line of its message, without the function and its numbers."""
    line = next(filter(None, map(str.strip, message.splitlines())))
    line = re.sub(rf"\b{name}\b", "f", line)
    line = re.sub(r"-?\d+\.\d+(e-?\d+)?", "a number", line)
    kind, _, text = line.partition(": ")
    kind = kind.rpartition(".")[2]
    text = kind if not text else text if kind == "AssertionError" else f"{kind}: {text}"
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 3]}..."


def main() -> None:
    data = read("where") if (DATA / "where.json").exists() else {}
    data |= {name: record(REPORTS / f"{name}.xml") for name in sys.argv[1:]}
    write("where", dict(sorted(data.items())))


if __name__ == "__main__":
    main()
