"""Gated linear units: one array of two halves is the same as two arrays."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import FUNCTIONS, over

GATED = [f for f in FUNCTIONS if "gate" in f.definition.parameters]


@over("function", GATED)
def test_gate_as_array(function, backend, dtype):
    """Two arrays are two halves of one."""
    rng = np.random.default_rng(5)
    value, gate = rng.normal(size=(2, 3, 4)) * 4
    given = {"interleaved": False} if "interleaved" in function.definition.parameters else {}
    for order, which in ([value, gate], "last"), ([gate, value], "first"):
        halves = backend.array(np.concatenate(order, axis=-1), dtype)
        expected = function(halves, gate=which, **given)
        got = function(backend.array(value, dtype), gate=backend.array(gate, dtype))
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(backend.asnumpy(got), backend.asnumpy(expected))


@over("function", GATED)
def test_gate_broadcasts(function, backend):
    x, gate = backend.array(np.ones((3, 1)), "float32"), backend.array(np.ones((1, 4)), "float32")
    assert tuple(function(x, gate=gate).shape) == (3, 4)


@over("function", GATED)
def test_axis_of_odd_size(function, backend):
    x = backend.array(np.ones((2, 3)), "float32")
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"^{function.__name__}: the size of axis 1 must be"):
            function(x)
