"""Arrays with labels or units are refused, and what the error says to write keeps the labels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from oracle import FUNCTIONS, map_into_domain, over

import activations_xp as ax
import activations_xp.dropin.scipy as special

pytestmark = pytest.mark.once

LABELLED = np.linspace(-2.0, 3.0, 12).reshape(3, 4)
DETERMINISTIC = [f for f in FUNCTIONS if f.definition.noise is None]


def _required(function):
    """Return the parameters without which it cannot be called."""
    definition = function.definition
    given = definition.cases[0].parameters
    return {k: v for k, v in given.items() if k not in definition.defaults}


def _hint(function, x, **given):
    """Return what the error says to write, or to pass, with the word."""
    with pytest.raises(TypeError, match="must be an array, got ") as caught:
        function(x, **given)
    return str(caught.value).rpartition("; ")[2].partition(" ")[::2]


def _follow(function, x, **given):
    """Return what comes of the line in the error, pasted."""
    word, line = _hint(function, x, **given)
    modules = {name: sys.modules.get(name) for name in ("xarray", "pandas", "polars", "numpy")}
    value = eval(line, {"ax": ax, "x": x, **modules})
    return value if word == "write" else function(value, **given)


@over("activation", DETERMINISTIC)
def test_hint_of_labelled_arrays_keeps_labels(activation):
    import xarray

    given = _required(activation)
    values = map_into_domain(activation.definition, LABELLED)
    coords = {"time": [3, 5, 7], "unit": list("abcd")}
    x = xarray.DataArray(values, coords, ("time", "unit"), "z", {"long_name": "input"})
    got = _follow(activation, x, **given)
    expected = activation(values, **given)
    if not given and activation.definition.keeps_shape:
        xarray.testing.assert_identical(got, x.copy(data=expected))
        got = _follow(activation, x.to_dataset())
        xarray.testing.assert_identical(got, x.copy(data=expected).to_dataset())
    else:
        np.testing.assert_array_equal(got, expected)


@over("activation", DETERMINISTIC)
def test_hint_of_data_frames_keeps_labels(activation):
    import pandas

    given = _required(activation)
    values = map_into_domain(activation.definition, LABELLED)
    x = pandas.DataFrame(values, list("rst"), list("abcd"))
    got, expected = _follow(activation, x, **given), activation(values, **given)
    is_labelled = not given and activation.definition.keeps_shape
    if is_labelled:  # by column, where SIMD takes other elements together
        expected = pandas.DataFrame(expected, x.index, x.columns)
        pandas.testing.assert_frame_equal(got, expected, check_exact=False, rtol=1e-15)
    else:
        np.testing.assert_array_equal(got, expected)
    got, expected = _follow(activation, x.loc["s"], **given), activation(values[1], **given)
    if is_labelled:
        pandas.testing.assert_series_equal(got, pandas.Series(expected, x.columns))
    else:
        np.testing.assert_array_equal(got, expected)


@over("function", [ax.gelu, ax.gelu.derivative, ax.softmax, ax.logsumexp])
def test_hint_of_polars(function):
    import polars

    x = polars.Series("a", [1.0, -2.0, 3.0])
    np.testing.assert_array_equal(_follow(function, x), function(x.to_numpy()))
    frame = polars.DataFrame({"a": x, "b": -x})
    got = _follow(function, frame)
    if function.definition.is_elementwise:
        got = got.to_numpy()
        for lazy in (
            _follow(function, frame.lazy()).collect(),
            frame.select(_follow(function, polars.all())),
        ):
            np.testing.assert_array_equal(lazy.to_numpy(), got)
    np.testing.assert_array_equal(got, function(frame.to_numpy()))


def test_hint_of_quantities():
    """Numbers without a dimension are brought to the unit 1, others are refused."""
    import pint

    percent = np.array([50.0, 200.0])
    unit = pint.UnitRegistry()
    np.testing.assert_array_equal(_follow(ax.gelu, percent * unit.percent), ax.gelu(percent / 100))
    assert _follow(ax.gelu, 50.0 * unit.percent) == ax.gelu(0.5)
    with pytest.raises(pint.DimensionalityError):
        _follow(ax.gelu, percent * unit.metre)
    for function in (special.softmax, special.log_softmax, special.logsumexp):
        with pytest.raises(TypeError, match=r'pass \w\.to\("dimensionless"\)\.magnitude'):
            function(percent * unit.percent)


def test_labelled_arrays_of_dask_stay_lazy():
    import dask
    import xarray

    x = xarray.DataArray(LABELLED, dims=("time", "unit")).chunk(unit=2)
    for function in (ax.gelu, ax.softmax, ax.gelu.derivative):
        with dask.config.set(scheduler=lambda *a, **k: pytest.fail("it is computed")):
            y = _follow(function, x)
        assert dask.is_dask_collection(y.data)
        np.testing.assert_allclose(y, function(LABELLED), rtol=1e-14)


def test_missing_values_of_data_frames_are_nan():
    import pandas

    for dtype in ("Float64", "Int64", "boolean"):
        x = pandas.Series([1, None, 0], dtype=dtype)
        if dtype == "boolean":  # of which pandas makes objects
            with pytest.raises(TypeError, match=r"got numpy\.ndarray of dtype object"):
                _follow(ax.gelu, x)
        else:
            y = _follow(ax.gelu, x)
            np.testing.assert_array_equal(np.isnan(y), x.isna())
    for x in (pandas.Series(["a", "b"]), pandas.Series(pandas.to_datetime(["2026-01-01"]))):
        with pytest.raises(TypeError, match=r"gelu: x must be an array of real .* numbers"):
            _follow(ax.gelu, x)
