"""The layout: one function in one place, the mathematics free of libraries, the pages complete."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import activations_xp as ax
from activations_xp import functions

PACKAGE = Path(inspect.getfile(ax)).parent
FAMILIES = sorted(
    p for p in (PACKAGE / "functions").rglob("*.py") if p != PACKAGE / "functions" / "__init__.py"
)
BACKENDS = sorted(p for p in (PACKAGE / "backends").rglob("*.py"))

pytestmark = pytest.mark.once


def test_every_public_name_is_registered_and_every_function_public():
    public = {name for name in vars(functions) if inspect.isfunction(vars(functions)[name])}
    assert public >= set(ax.names())
    assert public <= set(ax.names(aliases=True))


@pytest.mark.parametrize("path", FAMILIES, ids=lambda p: p.stem)
def test_a_family_lists_its_names_in_order(path):
    assigned = [
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = ast.literal_eval(assigned[0])
    assert names == sorted(names)


@pytest.mark.parametrize("path", BACKENDS, ids=lambda p: p.stem)
def test_a_backend_names_functions_only_in_its_native_table(path):
    tree = ast.parse(path.read_text())
    native = [
        node
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.target.id in ("NATIVE", "OPERATIONS")
    ]
    inside = {id(n) for table in native for n in ast.walk(table)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in inside:
            assert node.value not in {*ax.names(aliases=True)}


def test_a_definition_is_complete(activation):
    definition = activation.definition
    assert definition.source.endswith(".")
    assert definition.peers
    assert definition.cases
    assert (definition.output_axis is None) == (definition.derivative is not None)
    for case in definition.cases:
        assert set(case.parameters) <= set(definition.parameters)
    required = set(definition.parameters) - set(definition.defaults)
    assert all(required <= set(v.parameters) for v in definition.cases)
