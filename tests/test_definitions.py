"""The layout: one function in one place, the mathematics free of libraries, the pages complete."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from oracle import OPERATIONS, cases_of, output_axis, peers_of

import activations_xp as ax
from activations_xp import functions

PACKAGE = Path(inspect.getfile(ax)).parent
FUNCTIONS = PACKAGE / "functions"
FAMILIES = sorted(
    {*FUNCTIONS.glob("*.py"), *FUNCTIONS.glob("*/__init__.py")} - {FUNCTIONS / "__init__.py"}
)
BACKENDS = sorted((PACKAGE / "backends").rglob("*.py"))

OPERATION_NAMES = {operation.__name__ for operation in OPERATIONS}

pytestmark = pytest.mark.once


def test_public_names_are_registered():
    public = {name for name in vars(functions) if inspect.isfunction(vars(functions)[name])}
    assert public >= set(ax.names()) | OPERATION_NAMES
    assert public <= set(ax.names(aliases=True)) | OPERATION_NAMES


@pytest.mark.parametrize("path", FAMILIES, ids=lambda p: p.stem)
def test_order_of_names(path):
    assigned = [
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = ast.literal_eval(assigned[0])
    assert names == sorted(names)


@pytest.mark.parametrize("path", BACKENDS, ids=lambda p: p.stem)
def test_backends_name_functions_in_native_tables_only(path):
    tree = ast.parse(path.read_text())
    native = [
        node
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and node.target.id in ("NATIVE", "OPERATIONS", "ROWWISE", "AUTOCAST", "NAMES")
    ]
    in_tables = {id(n) for table in native for n in ast.walk(table)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in in_tables:
            assert node.value not in {*ax.names(aliases=True), *OPERATION_NAMES}


def test_definition_is_complete(activation):
    definition = activation.definition
    assert definition.source.endswith(".")
    assert peers_of(activation)
    assert cases_of(activation)
    assert (output_axis(activation) is None) == (definition.derivative is not None)
    required = set(definition.parameters) - set(definition.defaults)
    for case in cases_of(activation):
        assert required <= set(case.parameters) <= set(definition.parameters)
