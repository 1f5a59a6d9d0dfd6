"""What holds for every function of several arrays."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from oracle import OPERATIONS, ForeignArray, kind_of

import activations_xp as ax

ARRAYS = {
    "float array": ("float32", "real"),
    "noise array": ("float32", "real"),
    "boolean array": ("bool", "bool"),
    "integer array": ("int64", "integral"),
}
"""The dtype that a kind of array has, and the beginning of its name."""

over_operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda f: f.__name__)


def _arrays(operation, backend):
    """Arrays of the right dtype for all parameters that must have one, of whatever shape."""
    given = {}
    for name, parameter in inspect.signature(operation).parameters.items():
        if parameter.default is parameter.empty:
            is_first = name == operation.definition.first
            kind = "float array" if is_first else kind_of(operation, name)
            dtype = ARRAYS[kind][0] if kind in ARRAYS else None
            given[name] = () if kind == "pairs" else 1
            given[name] = backend.array(np.ones((2, 2)), dtype) if dtype else given[name]
    return given


@over_operations
@pytest.mark.once
def test_it_is_a_plain_function_with_a_page(operation):
    assert inspect.isfunction(operation)
    assert pickle.loads(pickle.dumps(operation)) is operation is getattr(ax, operation.__name__)
    computation = inspect.signature(operation.definition.impl)
    drawn = ["rng"] if operation.definition.noise is not None else []
    for form in (operation, operation.accurate):
        signature = inspect.signature(form)
        assert list(signature.parameters) == [*list(computation.parameters)[1:], *drawn]
        for name, parameter in signature.parameters.items():
            if name != "rng":
                expected = computation.parameters[name]
                assert (parameter.kind, parameter.default) == (expected.kind, expected.default)
    for title in ("Parameters", "Returns", "Raises", "Examples", "References"):
        assert f"\n{title}\n{'-' * len(title)}\n" in inspect.getdoc(operation)
    for name in inspect.signature(operation).parameters:
        assert name in operation.__doc__


@over_operations
def test_the_first_array_says_what_is_wrong_with_it(operation, backend):
    given = _arrays(operation, backend)
    first = operation.definition.first
    for bad, got in (
        ([1.0], r"\[1.0\]"),
        (None, "None"),
        (1.0, "1.0"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (backend.array(np.ones((2, 2)), "complex64"), "complex64"),
        (backend.array(np.ones((2, 2)), "int64"), "int64"),
    ):
        for form in (operation, operation.accurate):
            words = rf"^{operation.__name__}: {first} must be an array.*, got .*{got}"
            with pytest.raises(TypeError, match=words):
                form(**{**given, first: bad})


@over_operations
def test_other_arrays_must_go_with_the_first(operation, backend):
    given = _arrays(operation, backend)
    first = operation.definition.first
    foreign = ForeignArray() if backend.library == "numpy" else np.ones((2, 2), "f4")
    for name in operation.definition.parameters:
        kind = kind_of(operation, name)
        if kind not in (*ARRAYS, "pairs"):
            continue
        wrong = "int64" if kind == "noise array" else "float64"
        array = backend.array(np.ones((2, 2)), wrong)
        bad = [[1.0], "x", 1j, foreign, array]
        if kind == "pairs":
            bad = [1, "xy", [(foreign,)], [(foreign, foreign)], [(array, array)]]
        for value in bad:
            words = rf"^{operation.__name__}: {name} must be .* of {first}'s library.*, got "
            with pytest.raises(TypeError, match=words):
                operation(**{**given, name: value})


@over_operations
def test_arrays_on_another_device(operation, backend):
    if backend.library != "torch":
        return
    given = _arrays(operation, backend)
    for name in operation.definition.parameters:
        kind = kind_of(operation, name)
        if kind in ARRAYS:
            there = backend.array(np.ones((2, 2)), ARRAYS[kind][0]).to("meta")
            with pytest.raises(ValueError, match=rf"{name} is on device meta but .* device cpu"):
                operation(**{**given, name: there})


@over_operations
def test_unknown_and_missing_arguments(operation, backend):
    given = _arrays(operation, backend)
    with pytest.raises(TypeError, match="unexpected keyword argument 'masks'"):
        operation(**given, masks=None)
    with pytest.raises(TypeError, match="missing"):
        operation()
