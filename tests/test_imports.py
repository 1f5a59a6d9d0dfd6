"""The imports of the package: no cycle, and only the arrows of docs/design.md."""

from __future__ import annotations

import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
import types
from pathlib import Path

import pytest

import activations_xp as ax

PACKAGE = Path(inspect.getfile(ax)).parent

ORDER = (
    "_typing",
    "numerics",
    "_errors",
    "_parameters",
    "_definition",
    "_gradients",
    "backends.base",
    "backends.generic",
    "backends.judge",
    "backends",
    "_dispatch",
    "_docstring",
    "_public",
    "_registry",
    "_define",
    "functions",
    "parallel",
    "_catalog",
    "initializers",
    "_torch_masks",
    "dropin",
    "layers",
    "_keras",
    "",
    "_oracle",
    "plotting",
    "experiments",
    "cli",
    "__main__",
)
"""Each may import those before it, and a folder its own files; "" is the package itself."""

LIBRARIES = ("array_api_compat", "numpy")
"""The only libraries that the core imports."""

pytestmark = pytest.mark.once


def _modules():
    """Return all modules of the package by dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(name):
    """Return the modules that one imports anywhere, also in functions and for type checkers."""
    path, found = MODULES[name], set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [p for p in package[: len(package) - node.level + 1] if p]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                full = ".".join([*base, alias.name])
                found.add(full if full in MODULES else ".".join(base))
        names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {n.partition(".")[2] for n in names if n.split(".")[0] == "activations_xp"}
    return found - {name}


def _rank(name):
    """Return the place of a module in the order: that of the longest entry that covers it."""
    covering = [e for e in ORDER if name == e or (e and name.startswith(f"{e}."))]
    return ORDER.index(max(covering, key=len))


def test_imports_have_no_cycle():
    graph = {name: _imports(name) for name in MODULES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_follow_the_order(name):
    allowed = {other for other in MODULES if _rank(other) <= _rank(name)}
    assert _imports(name) <= allowed


def test_a_cycle_and_a_wrong_arrow_are_found(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("def f():\n    from . import b\n")
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import f\n"
    (tmp_path / "b.py").write_text(source)
    modules = {"a": tmp_path / "a.py", "b": tmp_path / "b.py"}
    monkeypatch.setitem(globals(), "MODULES", modules)
    with pytest.raises(graphlib.CycleError):
        test_imports_have_no_cycle()


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.split(".")[0] == "functions"))
def test_a_family_imports_no_library(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"math"}
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.partition(".")[0] in sys.stdlib_module_names
    core = {"_define", "_errors", "_parameters", "_typing"}
    others = {i for i in _imports(name) if i.split(".")[0] not in ("functions", "numerics")}
    assert others <= core


def test_importing_the_package_brings_few_modules():
    """Each takes a millisecond or more of the time that a program waits for its first result."""
    code = """
import sys, numpy
before = set(sys.modules)
import activations_xp
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = {"activations_xp", "array_api_compat"}
    assert set(run.stdout.split()) <= own | {"__future__", "copy", "dataclasses", "threading"}


def test_public_names():
    """A star or the completion of names brings functions, and no module."""
    brought: dict[str, object] = {}
    exec("from activations_xp import *", brought)
    brought.pop("__builtins__")
    assert sorted(brought) == sorted(ax.__all__)
    assert sorted(dir(ax)) == sorted([*ax.__all__, "__version__"])
    assert all(callable(value) for value in brought.values())
    assert not any(isinstance(value, types.ModuleType) for value in brought.values())
    rest = {"gain", "get", "get_num_threads", "lecun_normal"}
    rest |= {"name_of", "names", "precision", "set_num_threads", "get_engine", "set_engine"}
    assert {*ax.names()} | rest <= {*ax.__all__} <= {*ax.names(aliases=True)} | rest


@pytest.mark.parametrize("name", ["layers.numpy", "dropin.scipy"])
def test_submodules(name):
    importlib.import_module(f"activations_xp.{name}")
    assert inspect.ismodule(getattr(ax, name.partition(".")[0]))
