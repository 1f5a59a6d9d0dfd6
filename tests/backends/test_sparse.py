"""sparse: what is 0 stays sparse, and where there is no sorting thresholds are bracketed."""

from __future__ import annotations

import numpy as np
import pytest
import sparse
from oracle import ELEMENTWISE, one_of_each_family, over, required_parameters

import activations_xp as ax

X = np.random.default_rng(0).normal(size=(20, 30)) * (np.arange(600).reshape(20, 30) % 17 == 0)


@over("layout", [sparse.COO, sparse.GCXS])
@over("function", one_of_each_family(ELEMENTWISE))
def test_elements_that_are_not_stored(function, layout):
    """They become one value, f(0), and no others are stored."""
    given = required_parameters(function)
    x = layout.from_numpy(X)
    for form in (function, function.accurate):
        y = form(x, **given)
        assert type(y) is layout
        assert y.fill_value == form(np.zeros(1), **given)[0]
        assert y.nnz <= x.nnz
        np.testing.assert_allclose(y.todense(), form(X, **given), rtol=1e-12, atol=1e-15)


@over("function", [ax.sparsemax, ax.entmax15, ax.entmax])
@over("scale", [1e-6, 0.03, 1.0, 30.0])
def test_thresholds_without_sorting(function, scale):
    close = 2.0 ** -np.arange(1, 55)
    ends = [-0.5 - close, -0.5 + close, -close, close - 1, np.zeros(54)]
    rows = np.concatenate([ends, np.random.default_rng(0).normal(size=(6, 54))])
    rows = np.concatenate([np.zeros((11, 1)), rows], axis=1) * scale
    for axis in (-1, 0, (0, 1)):
        got = function(sparse.COO.from_numpy(rows), axis=axis).todense()
        np.testing.assert_allclose(got, function(rows, axis=axis), rtol=1e-12, atol=1e-15)


# limits; where one of these fails no longer, the page of libraries and `LIMITS` say so


@pytest.mark.xfail(reason="sparse multiplies matrices of zeros alone", strict=True)
def test_attention():
    x = sparse.COO.from_numpy(X)
    ax.scaled_dot_product_attention(x, x, x)


@pytest.mark.xfail(reason="sparse joins arrays of the same fill value alone", strict=True)
def test_cumulative_sums():
    ax.logcumsumexp(sparse.COO.from_numpy(X))
