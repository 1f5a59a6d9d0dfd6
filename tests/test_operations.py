"""The rules for every function of several arrays."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from oracle import OPERATIONS, ForeignArray, accurate, first_array, impl_of, kind_of, over, samples

import activations_xp as ax

DTYPES = {"float array": "float32", "noise": "float32", "mask": "bool", "integer array": "int64"}
"""By what a parameter takes: the dtype of a good array."""

ARRAYS = [
    (operation, name)
    for operation in OPERATIONS
    for name in operation.definition.parameters
    if name != first_array(operation) and kind_of(operation, name) in {*DTYPES, "pairs"}
]
"""All the arrays of an operation that must go with its first."""


def _arrays(operation, backend):
    """Return arrays of the right dtype for all required arguments, of whatever shape."""
    given = {}
    for name, parameter in inspect.signature(operation).parameters.items():
        if parameter.default is parameter.empty:
            kind = kind_of(operation, name)
            if kind in DTYPES:
                given[name] = backend.array(np.ones((2, 2)), DTYPES[kind])
            else:
                given[name] = () if kind == "pairs" else 1
    return given


def _forms(operation):
    return [operation, accurate(operation)]


@over("operation", OPERATIONS)
@pytest.mark.once
def test_signature_and_docstring(operation):
    assert inspect.isfunction(operation)
    assert pickle.loads(pickle.dumps(operation)) is operation is getattr(ax, operation.__name__)
    impl = inspect.signature(impl_of(operation))
    sampled = ["rng"] if samples(operation) else []
    for form in _forms(operation):
        signature = inspect.signature(form)
        assert list(signature.parameters) == [*list(impl.parameters)[1:], *sampled]
        for name, parameter in signature.parameters.items():
            if name != "rng":
                expected = impl.parameters[name]
                assert (parameter.kind, parameter.default) == (expected.kind, expected.default)
    for title in ("Parameters", "Returns", "Raises", "Examples", "References"):
        assert f"\n{title}\n{'-' * len(title)}\n" in inspect.getdoc(operation)
    for name in inspect.signature(operation).parameters:
        assert name in operation.__doc__


@over("operation", OPERATIONS)
def test_invalid_first_array(operation, backend):
    given = _arrays(operation, backend)
    first = first_array(operation)
    for bad, got in (
        ([1.0], r"\[1.0\]"),
        (None, "None"),
        (1.0, "1.0"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (backend.array(np.ones((2, 2)), "complex64"), "complex64"),
        (backend.array(np.ones((2, 2)), "int64"), "int64"),
    ):
        for form in _forms(operation):
            words = rf"^{operation.__name__}: {first} must be an array.*, got .*{got}"
            with pytest.raises(TypeError, match=words):
                form(**{**given, first: bad})


@over(("operation", "name"), ARRAYS)
def test_invalid_other_arrays(operation, name, backend):
    given = _arrays(operation, backend)
    foreign = ForeignArray() if backend.library == "numpy" else np.ones((2, 2), "f4")
    kind = kind_of(operation, name)
    array = backend.array(np.ones((2, 2)), "int64" if kind == "noise" else "float64")
    bad = [[1.0], "x", 1j, foreign, array]
    if kind == "pairs":
        bad = [1, "xy", [(foreign,)], [(foreign, foreign)], [(array, array)]]
    first = first_array(operation)
    for value in bad:
        words = rf"^{operation.__name__}: {name} must be .* of {first}'s library.*, got "
        with pytest.raises(TypeError, match=words):
            operation(**{**given, name: value})


@pytest.mark.libraries("torch")
@over(("operation", "name"), [(f, name) for f, name in ARRAYS if kind_of(f, name) in DTYPES])
def test_device_mismatch(operation, name, backend):
    given = _arrays(operation, backend)
    there = backend.array(np.ones((2, 2)), DTYPES[kind_of(operation, name)]).to("meta")
    with pytest.raises(ValueError, match=rf"{name} is on device meta but .* device cpu"):
        operation(**{**given, name: there})


@over("operation", OPERATIONS)
def test_unexpected_and_missing_arguments(operation, backend):
    given = _arrays(operation, backend)
    with pytest.raises(TypeError, match="unexpected keyword argument 'masks'"):
        operation(**given, masks=None)
    with pytest.raises(TypeError, match="missing"):
        operation()
