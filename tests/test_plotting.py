"""Pictures: every function has one, which shows what its definition claims."""

from __future__ import annotations

import functools
import subprocess
import sys
import types
from math import inf, isfinite, nan

import matplotlib as mpl
import numpy as np
import pytest
import scipy.special
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from oracle import FUNCTIONS, cases_of, domain_of

import activations_xp as ax
from activations_xp.layers import numpy as layers
from activations_xp.plotting import Bars, Curve, Grid, drawing, plot, render, sample
from activations_xp.plotting.curves import trace

pytestmark = pytest.mark.once

ELEMENTWISE = [f for f in FUNCTIONS if f.definition.is_elementwise]
CURVES = [f for f in ELEMENTWISE if f.definition.noise is None]


def axes():
    return Figure(figsize=(2, 2)).subplots()


def marked(axes, gid):
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def by_name(function):
    return function.__name__


@pytest.mark.parametrize("name", ax.names())
def test_every_function_has_a_picture(name):
    own = axes()
    assert plot(name, ax=own) is own
    own.figure.canvas.draw()
    drawn = [*marked(own, "function"), *own.patches, *own.images]
    assert drawn
    for line in marked(own, "function"):
        assert np.isfinite(line.get_ydata()).any()
    for bar in own.patches:
        assert isfinite(bar.get_height())
    legend = own.get_legend()
    texts = [own.get_title()] + ([text.get_text() for text in legend.get_texts()] if legend else [])
    assert any(text.startswith(name) for text in texts)


@pytest.mark.parametrize("function", CURVES, ids=by_name)
def test_curve_is_the_function(function):
    """The values by the function itself in float64, and derivatives by differences of them."""
    parameters = cases_of(function)[0].parameters
    (curve,) = sample(function, parameters, range=(-5.0, 7.0), num=101)
    known = np.isfinite(curve.y)
    assert known.sum() > 90
    np.testing.assert_array_equal(curve.y[known], function(curve.x[known], **parameters))
    h = 1e-6
    with np.errstate(all="ignore"):
        ends = [
            function(np.clip(curve.x + s, *domain_of(function.definition)), **parameters)
            for s in (-h, h)
        ]
    slope = (ends[1] - ends[0]) / (2 * h)
    away = np.isfinite(curve.dy) & np.isfinite(slope)
    low, high = domain_of(function.definition)
    away &= (curve.x - 2 * h > low) & (curve.x + 2 * h < high)
    for kink in curve.kinks:
        away &= abs(curve.x - kink) > 2 * h
    np.testing.assert_allclose(curve.dy[away], slope[away], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("function", CURVES, ids=by_name)
def test_kinks_are_marked(function):
    properties = function.definition.properties
    own = axes()
    plot(function, parameters=cases_of(function)[0].parameters, ax=own)
    marks = marked(own, "kink")
    at = sorted({float(x) for mark in marks for x in mark.get_xdata()})
    np.testing.assert_allclose(at, sorted(properties.kinks), atol=1e-9)
    if properties.smoothness >= 0:
        assert all(len(mark.get_xdata()) == 1 for mark in marks)


@pytest.mark.parametrize("function", CURVES, ids=by_name)
def test_kinks_are_found_by_themselves(function):
    """Where the derivative jumps, bisection finds it without the definition's word."""
    properties = function.definition.properties
    if properties.smoothness > 0:
        properties = type(properties)()
    low, high = np.clip([-12.0, 12.0], *domain_of(function.definition))

    def quietly(f):
        def call(x):
            with np.errstate(all="ignore"):
                return np.asarray(f(x, **cases_of(function)[0].parameters), dtype=float)

        return call

    curve = trace(quietly(function), quietly(function.derivative), np.linspace(low, high, 601))
    np.testing.assert_allclose(curve.kinks, properties.kinks, atol=1e-9)


@pytest.mark.parametrize("name", ["step", "hard_shrink", "threshold", "thresholded_relu"])
def test_a_jump_is_broken(name):
    """No drawn segment crosses a jump."""
    own = axes()
    plot(name, ax=own)
    (line,) = marked(own, "function")
    steps = abs(np.diff(line.get_ydata()))
    assert np.nanmax(steps) < 0.1
    assert np.isnan(line.get_ydata()).sum() == len(ax.get(name).definition.properties.kinks)
    assert any(len(mark.get_xdata()) == 2 for mark in marked(own, "kink"))


@pytest.mark.parametrize("ends", [(-1.0, 0.0), (0.0, 1.0), (-0.5, 0.5), (1.0, 3.0), (-9.0, -7.0)])
@pytest.mark.parametrize("name", ["step", "hard_shrink", "relu", "erf", "dropout", "swiglu"])
def test_range_that_ends_at_a_kink(name, ends):
    own = axes()
    plot(name, range=ends, ax=own)
    (line,) = marked(own, "function")
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == ends
    for mark in marked(own, "kink"):
        assert ends[0] <= mark.get_xdata()[0] <= ends[1]


@pytest.mark.parametrize("function", CURVES, ids=by_name)
def test_asymptotes(function):
    """A finite limit has a dashed line there, unless the curve lies on it."""
    properties = function.definition.properties
    own = axes()
    parameters = cases_of(function)[0].parameters
    plot(function, parameters=parameters, ax=own)
    (curve,) = sample(function, parameters)
    lines = marked(own, "asymptote")
    drawn = {
        (np.sign(line.get_xdata().sum()), line.get_ydata()[0])
        for line in lines
        if np.ptp(line.get_ydata()) == 0
    }
    for side, end, limit in zip((-1, 1), properties.domain, properties.limits, strict=True):
        if isfinite(end):
            assert any(set(line.get_xdata()) == {end} for line in lines) == (not isfinite(limit))
        elif isfinite(limit):
            y = curve.y[curve.x * side > 0]
            if abs(y - limit).max() > 2e-3:
                assert any(s == side and abs(v - limit) < 1e-12 for s, v in drawn)
            else:
                assert not any(s == side for s, _ in drawn)
    assert all(line.get_linestyle() == "--" for line in lines)


def test_slanting_asymptotes():
    for name, right in {
        "bent_identity": (1.5, -0.5),
        "tanh_shrink": (1, -1),
        "gelu": (1, 0),
    }.items():
        (curve,) = sample(name)
        (found,) = [a for a in curve.asymptotes if a.side == 1]
        np.testing.assert_allclose((found.slope, found.intercept), right, atol=1e-6)
    assert sample("snake")[0].asymptotes == ()  # which oscillates
    assert sample("nlrelu")[0].asymptotes == ()  # whose slope falls to 0
    assert sample("leaky_relu")[0].asymptotes == ()  # which lies on its own


@pytest.mark.parametrize("name", ["gelu", "softmax", "one_hot"])
def test_without_legend(name):
    own = axes()
    plot(name, legend=False, ax=own)
    assert own.get_legend() is None
    assert own.get_title() == ""


def test_parameters_are_curves():
    own = axes()
    plot("silu", "relu", parameters={"beta": [0.5, 2.0]}, derivative=False, ax=own)
    labels = [line.get_label() for line in marked(own, "function")]
    assert labels == ["silu, beta=0.5", "silu, beta=2", "relu"]
    first = marked(own, "function")[0]
    np.testing.assert_array_equal(first.get_ydata(), ax.silu(first.get_xdata(), beta=0.5))
    assert marked(own, "derivative") == []
    plot("silu", "relu", ax=own)
    assert own.get_legend().get_texts()[-1].get_text() == "derivatives, thin"


def test_kinks_move_with_parameters():
    assert sample("hard_tanh", {"min_val": -3.0, "max_val": 2.0})[0].kinks == (-3.0, 2.0)
    assert sample("elu", {"alpha": 2.0})[0].kinks == (0.0,)
    assert sample("leaky_relu", {"negative_slope": 1.0})[0].kinks == ()


@pytest.mark.parametrize(
    ("function", "label"),
    [
        ("swish", "swish"),
        ("quick_gelu", "quick_gelu"),
        (ax.gelu, "gelu"),
        (functools.partial(ax.silu, beta=2.0), "silu, beta=2"),
        (functools.partial(ax.gelu, approximate="sigmoid"), "quick_gelu"),
        (layers.Activation("gelu"), "gelu"),
        (layers.Activation("leaky_relu", negative_slope=0.5), "leaky_relu, negative_slope=0.5"),
    ],
)
def test_functions_are_given_in_any_form(function, label):
    own = axes()
    plot(function, ax=own)
    (line,) = marked(own, "function")
    assert line.get_label() == label


def test_weights_along_an_axis():
    (bars,) = sample("softmax")
    assert isinstance(bars, Bars)
    np.testing.assert_allclose(bars.values.sum(axis=1), 1)
    np.testing.assert_allclose(bars.values[0], bars.values[2])  # a shift does not matter
    own = Figure(figsize=(6, 3)).subplots()
    plot("softmax", "sparsemax", ax=own)
    assert [bar.get_height() for bar in own.containers[0]] == pytest.approx([*bars.values.flat])
    assert [t.get_text() for t in own.get_xticklabels()][:4] == ["1", "0.5", "0", "-0.5"]
    small = axes()
    plot("softmax", ax=small)
    assert {text.get_text() for text in small.get_xticklabels()} == {""}  # for want of room


def test_gated():
    (curve,) = sample("swiglu")
    np.testing.assert_allclose(curve.y, ax.silu(curve.x), rtol=1e-14)
    np.testing.assert_allclose(curve.dy, ax.silu.derivative(curve.x), rtol=1e-13, atol=1e-15)
    assert curve.xlabel == "gate b, at a = 1"


def test_channels():
    (curve,) = sample("maxout")
    np.testing.assert_array_equal(curve.y, np.max([*curve.context.values()], axis=0))
    up, down = sample("crelu")
    np.testing.assert_array_equal(up.y - down.y, up.x)


def test_random_band():
    (curve,) = sample("dropout", {"p": 0.25})
    assert isinstance(curve, Curve)
    np.testing.assert_allclose(curve.mean, curve.x, atol=1e-12)  # of which dropout is an estimate
    np.testing.assert_allclose(curve.high[curve.x > 0], curve.x[curve.x > 0] / 0.75)
    np.testing.assert_array_equal(curve.y, curve.x)
    own = axes()
    plot("dropout", ax=own)
    assert len(own.collections) == 1
    (bars,) = sample("gumbel_softmax")
    assert (bars.low <= bars.values).all()
    assert (bars.values <= bars.high).all()


def test_attention_is_causal():
    for name in ("scaled_dot_product_attention", "multi_head_attention"):
        (grid,) = sample(name)
        assert isinstance(grid, Grid)
        first = grid.values[:, :6]
        np.testing.assert_allclose(first.sum(axis=1), 1)
        assert not np.triu(first, 1).any()


def test_adaptive_softmax():
    (bars,) = sample("adaptive_log_prob")
    np.testing.assert_allclose(np.exp(bars.values).sum(axis=1), 1)
    (losses,) = sample("adaptive_log_softmax_with_loss")
    np.testing.assert_allclose(losses.values, -bars.values)
    (plane,) = sample("adaptive_predict")
    assert len(np.unique(plane.values)) > 4


def test_an_operation_without_picture_is_refused(monkeypatch):
    monkeypatch.delitem(
        sys.modules["activations_xp.plotting.sampling"].OPERATIONS, "adaptive_predict"
    )
    with pytest.raises(ValueError, match="plot: adaptive_predict takes several arrays"):
        plot("adaptive_predict", ax=axes())


@pytest.mark.parametrize("name", ["relu", "mish", "erfinv", "elu"])
def test_accuracy(name):
    own = axes()
    plot(name, accuracy=True, range=(-2.0, 3.0), ax=own)
    errors = {s.get_label(): s.get_data().values for s in own.patches}
    (bound,) = marked(own, "bound")
    accurate = errors[f"{name}, accurate"]
    assert 0 < accurate.max() <= bound.get_ydata()[0] == max(cases_of(ax.get(name))[0].ulp, 0)
    assert errors[name].max() < 20
    assert own.get_yscale() == "log"


def test_accuracy_of_a_peer(monkeypatch):
    """A library whose erf is rounded to steps of 1/8 is off by as much, and no other is asked."""
    coarse = types.ModuleType("scipy.special")
    coarse.erf = lambda x: np.round(scipy.special.erf(x) * 8) / 8
    monkeypatch.setitem(sys.modules, "scipy.special", coarse)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "jax.numpy", None)
    own = axes()
    plot("erf", accuracy=True, range=(0.2, 0.8), ax=own)
    errors = {s.get_label(): s.get_data().values for s in own.patches}
    assert set(errors) == {"erf", "erf, accurate", "erf of scipy"}
    assert 0.9 * 2**20 < errors["erf of scipy"].max() <= 2.0**21  # 1/16 in units of 2**-24 or less
    assert errors["erf, accurate"].max() < 1


def contrast(a, b):
    def luminance(colour):
        c = np.array(to_rgb(colour))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_are_legible_on_light_and_dark():
    for colour in (*drawing.COLOURS[:4], drawing.NEUTRAL):
        assert contrast(colour, "white") > 2.9
        assert contrast(colour, "#121212") > 2.9
    assert contrast(drawing.RENDERED["text.color"], "white") >= 4.5
    assert contrast(drawing.RENDERED["text.color"], "#121212") >= 4
    assert len(set(map(str, drawing.STYLES))) == len(drawing.COLOURS)


def test_lines_look_different():
    own = axes()
    plot("elu", parameters={"alpha": [*range(1, 13)]}, ax=own)
    looks = {(line.get_color(), str(line._dash_pattern)) for line in marked(own, "function")}
    assert len(looks) == 12


def test_files_are_reproducible():
    for suffix in ("svg", "png", "pdf"):
        assert render("gelu", format=suffix, size=(2, 2)) == render(
            "gelu", format=suffix, size=(2, 2)
        )
    svg = render("gelu", size=(2, 2)).decode()
    assert ">gelu<" in svg  # text stays text
    assert "<dc:date>" not in svg


def settings():
    """Matplotlib's settings but for the backend, which reading chooses."""
    return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}


def test_nothing_else_is_touched():
    before = settings()
    figure = Figure(figsize=(4, 2))
    left, right = figure.subplots(1, 2)
    right.plot([1, 2])
    plot("gelu", ax=left)
    render("gelu", size=(2, 2))
    assert figure.axes == [left, right]
    assert len(right.get_lines()) == 1
    assert settings() == before
    left.plot([0, 1], label="another")  # it stands in anybody's figure
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_a_new_figure_of_pyplot(monkeypatch):
    monkeypatch.setattr(mpl, "rcParams", mpl.rcParams.copy())
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    try:
        assert plot("relu").figure.number in plt.get_fignums()
    finally:
        plt.close("all")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a: plot(ax=a), TypeError, "plot: at least one function is needed"),
        (lambda a: plot("nosuch", ax=a), ValueError, "plot: no activation is named 'nosuch'"),
        (lambda a: plot(np.tanh, ax=a), TypeError, "plot: each function must be a name, or"),
        (lambda a: plot("relu", range=(1.0, 1.0), ax=a), ValueError, "plot: range must be two"),
        (lambda a: plot("relu", range=(nan, 1.0), ax=a), ValueError, "plot: range must be two"),
        (lambda a: plot("relu", range=(0.0, inf), ax=a), ValueError, "plot: range must be two"),
        (
            lambda a: plot("relu", range=3, ax=a),
            TypeError,
            "plot: range must be two numbers, got 3",
        ),
        (lambda a: plot("erfinv", range=(2, 3), ax=a), ValueError, "plot: range .* the domain of"),
        (
            lambda a: plot("relu", parameters={"q": 1}, ax=a),
            TypeError,
            "plot: relu has no parameter",
        ),
        (lambda a: plot("elu", parameters={"alpha": "a"}, ax=a), TypeError, "elu: alpha must be"),
        (lambda a: plot("elu", parameters={"alpha": []}, ax=a), ValueError, "plot: alpha has no"),
        (lambda a: plot("relu", "softmax", ax=a), ValueError, "plot: relu, softmax cannot share"),
        (
            lambda a: plot("softmax", accuracy=True, ax=a),
            ValueError,
            "plot: the accuracy of softmax",
        ),
        (
            lambda a: plot("elu", parameters={"alpha": 0.123}, accuracy=True, ax=a),
            ValueError,
            "plot: elu, alpha=0.123 is not known exactly",
        ),
        (lambda a: sample("relu", {"q": 1}), TypeError, "sample: relu has no parameter 'q'; its"),
        (lambda a: sample("nosuch"), ValueError, "sample: no activation is named"),
    ],
)
def test_bad_input(call, error, message):
    own = axes()
    with pytest.raises(error, match=message):
        call(own)
    assert not own.has_data()


def test_numbers_need_no_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = None
from activations_xp.plotting import plot, sample
assert sample("gelu")[0].y.size > 600
try:
    plot("gelu")
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == 'plot draws with matplotlib; run pip install "activations_xp[plot]"\n'
