"""The catalogue: families, years and words to filter by, and the relatives, which are true."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import activations_xp as ax
from activations_xp._catalog import TRAITS, entries, families
from activations_xp._oracle import ACCEPTED, difference

pytestmark = pytest.mark.once

ENTRIES = {entry.name: entry for entry in entries()}
RELATIONS = list(dict.fromkeys(str(r) for entry in ENTRIES.values() for r in entry.relatives))
BY_TEXT = {str(r): r for entry in ENTRIES.values() for r in entry.relatives}
POINTS = np.concatenate(
    [np.linspace(-20, 20, 201), [0.0, 0.5, -0.5, 6.0, 1e-3, -1e-3, 100.0, -100.0, 1e-10]]
).reshape(2, 7, 15)

UNPUBLISHED = {
    "bent_identity",
    "exponential",
    "identity",
    "log_ndtr",
    "log_sigmoid",
    "logmeanexp",
    "multi_hot",
    "normalize",
    "one_hot",
    "softmin",
    "standardize",
}
"""The functions that no publication of a certain year claims."""


def test_every_function_has_an_entry():
    assert list(ENTRIES) == ax.names()
    assert all(entry.summary and entry.libraries for entry in ENTRIES.values())


def test_years():
    years = {name: entry.year for name, entry in ENTRIES.items()}
    assert {name for name, year in years.items() if year is None} == UNPUBLISHED
    assert all(1800 < year < 2030 for year in years.values() if year is not None)
    assert years["relu"] == 2010
    assert years["gelu"] == 2016  # arXiv:1606.08415
    assert years["shilu"] == 2023  # beside a number of a preprint
    assert years["hard_sigmoid"] == 2015  # the first of two
    assert years["log_softmax"] == 1990
    assert years["logaddexp"] == 1812


def test_families():
    assert {family.key for family in families()} == {e.family.key for e in ENTRIES.values()}
    titles = [family.title for family in families()]
    assert len(set(titles)) == len(titles)
    for family in families():
        assert len(family.title) < 25
        assert family.text.endswith(".")
    assert ENTRIES["softmax"].family.title == "Softmax and relatives"
    assert ENTRIES["scaled_dot_product_attention"].family.key == "attention"


@pytest.mark.parametrize("word", TRAITS)
def test_traits_tell_functions_apart(word):
    have = {name for name, entry in ENTRIES.items() if word in entry.traits}
    assert 0 < len(have) < len(ENTRIES)


def test_traits():
    assert set(ENTRIES["tanh"].traits) >= {"smooth", "monotonic", "bounded", "zero-centred", "odd"}
    assert "smooth" not in ENTRIES["relu"].traits
    assert "learned" in ENTRIES["prelu"].traits
    assert "learned" in ENTRIES["rational"].traits
    assert "learned" not in ENTRIES["dropout"].traits
    assert set(ENTRIES["swiglu"].traits) >= {"gated", "along-axis"}
    assert "gated" not in ENTRIES["maxout"].traits
    assert "several-arrays" in ENTRIES["logaddexp"].traits
    assert "learned" not in ENTRIES["logaddexp"].traits
    assert "several-arrays" in ENTRIES["scaled_dot_product_attention"].traits
    assert "several-arrays" not in ENTRIES["prelu"].traits


def _accurate(name, **parameters):
    function = ax.get(name)
    base = getattr(function, "func", function)
    bound = {**getattr(function, "keywords", {}), **parameters}
    return functools.partial(base.accurate, **bound)


@pytest.mark.parametrize("text", RELATIONS)
def test_relatives_are_equal(text):
    relation = BY_TEXT[text]
    got = _accurate(relation.name, **relation.parameters)(POINTS)
    expected = _accurate(relation.other)(POINTS)
    assert np.array_equal(np.isfinite(got), np.isfinite(expected))
    known = np.isfinite(expected)
    errors = difference(got[known], expected[known].astype(object), POINTS[known])
    assert errors.max() <= ACCEPTED


def test_relatives_in_both_directions():
    assert "leaky_relu with negative_slope=0 is relu" in map(str, ENTRIES["relu"].relatives)
    assert "leaky_relu with negative_slope=0 is relu" in map(str, ENTRIES["leaky_relu"].relatives)
    assert "silu with beta=1.702 is quick_gelu" in map(str, ENTRIES["gelu"].relatives)
    assert "gelu with approximate='sigmoid' is quick_gelu" in map(str, ENTRIES["gelu"].relatives)
