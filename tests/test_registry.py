"""Names: those of every library are known, and come back."""

from __future__ import annotations

import functools
import itertools
import json
from math import inf

import numpy as np
import pytest

import activations_xp as ax

pytestmark = pytest.mark.once

# transformers 5.23, activations.ACT2CLS
TRANSFORMERS = """
gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh
hardswish laplace leaky_relu linear mish prelu quick_gelu relu relu2 relu6 sigmoid silu
sqrtsoftplus swish tanh xielu
"""
# timm 1.0, layers.create_act
TIMM = """
celu elu gelu gelu_tanh hard_mish hard_sigmoid hard_swish hardsigmoid hardswish identity leaky_relu
mish prelu quick_gelu relu relu6 selu sigmoid silu swish tanh
"""
# Keras 3.15, activations.ALL_OBJECTS and its aliases
KERAS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
"""
# torch.nn.functional 2.13 and torch.nn.init.calculate_gain, without what needs random numbers
TORCH = """
celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh layer_norm leaky_relu linear
log_softmax logsigmoid mish normalize one_hot prelu relu relu6 rms_norm selu sigmoid silu softmax
softmax2d softmin softplus softshrink softsign tanh tanhshrink threshold
"""
# jax.nn 0.10 and scipy.special 1.17
JAX_AND_SCIPY = """
celu elu erf erfc erfinv expit gelu glu hard_sigmoid hard_silu hard_swish hard_tanh identity
leaky_relu log1mexp log_expit log_ndtr log_sigmoid log_softmax logit logmeanexp logsumexp mish ndtr
ndtri one_hot relu relu6 selu sigmoid silu soft_sign softmax softplus sparse_plus sparse_sigmoid
squareplus standardize swish
"""
KNOWN = sorted({*f"{TRANSFORMERS}{TIMM}{KERAS}{TORCH}{JAX_AND_SCIPY}".split()})


@pytest.mark.parametrize("name", KNOWN)
def test_get_by_name_of_other_library(name):
    assert callable(ax.get(name))


def _spellings(name):
    """Return a name in the spellings that people use."""
    words = name.split("_")
    yield name.upper()
    for separator in "", " ", "-", "_":
        yield separator.join(words)
        yield separator.join(word.title() for word in words)


@pytest.mark.parametrize("name", ax.names(aliases=True))
def test_get_by_other_spelling(name):
    """A name in another spelling is the same, but for one that is a name of its own."""
    for spelling in _spellings(name):
        assert ax.name_of(ax.get(spelling)) == ax.name_of(ax.get(name))


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("ReLU", "relu"),
        ("LeakyReLU", "leaky_relu"),
        ("Leaky ReLU", "leaky_relu"),
        ("hardTanh", "hard_tanh"),
        ("LogSigmoid", "log_sigmoid"),
        ("Swi-GLU", "swiglu"),
        (" gelu ", "gelu"),
    ],
)
def test_get_by_spelling(spelling, name):
    assert ax.get(spelling) is getattr(ax, name)
    assert ax.get({"name": spelling}) is getattr(ax, name)


def test_names_differ_in_more_than_spelling():
    def letters(name):
        return "".join(filter(str.isalnum, name.lower()))

    names = sorted(ax.names(aliases=True), key=letters)
    for _, group in itertools.groupby(names, key=letters):
        assert len({str(ax.name_of(ax.get(name))) for name in group}) == 1


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("softmax", {"axis": (0, 1)}),
        ("softmax", {"axis": ()}),
        ("softmax", {"axis": None}),
        ("rational", {"numerator": (1.0, 0.5), "denominator": (2.0,)}),
        ("relu", {"max_value": None, "negative_slope": 0.1}),
        ("hard_tanh", {"min_val": -inf, "max_val": 1.0}),
        ("dropout", {"p": 0, "training": True}),
        ("gelu", {"approximate": "tanh"}),
        ("leaky_relu", {"negative_slope": np.float32(0.1)}),
        ("elu", {"alpha": np.float16(0.5)}),
        ("softmax", {"axis": np.int64(-1)}),
    ],
)
def test_name_of_to_json_and_back(name, parameters):
    function = functools.partial(getattr(ax, name), **parameters)
    again = ax.get(json.loads(json.dumps(ax.name_of(function))))
    assert (again.func, again.keywords) == (function.func, parameters)
    assert ax.name_of(again) == ax.name_of(function)
    x = np.linspace(-3, 3, 8).reshape(2, 4)
    given = {"noise": 0.5} if name == "dropout" else {}
    np.testing.assert_array_equal(again(x, **given), function(x, **given))


@pytest.mark.parametrize("name", ax.names(aliases=True))
def test_name_of_round_trip(name):
    function = ax.get(name)
    again = ax.get(ax.name_of(function))
    if isinstance(function, functools.partial):
        assert (again.func, again.keywords) == (function.func, function.keywords)
    else:
        assert again is function
        assert ax.name_of(function) == function.__name__


def test_get_by_mapping():
    f = ax.get({"name": "leaky_relu", "negative_slope": 0.2})
    np.testing.assert_array_equal(f(np.array([-1.0, 2.0])), [-0.2, 2.0])
    assert ax.name_of(f) == {"name": "leaky_relu", "negative_slope": 0.2}
    assert ax.get({"name": "swish"}) is ax.silu
    tanh = ax.get({"name": "gelu", "approximate": "tanh"})
    assert ax.get(ax.name_of(tanh)).keywords == tanh.keywords
    # an alias that implies parameters takes more, and they win
    assert ax.get({"name": "gelu_new", "approximate": "none"})(1.0) == ax.gelu(1.0)
    weight = np.array([0.5, 0.25])
    assert ax.name_of(functools.partial(ax.prelu, weight=weight))["weight"] is weight


def test_invalid_mappings():
    with pytest.raises(TypeError, match="get: leaky_relu has no parameter 'slope'; its parameters"):
        ax.get({"name": "leaky_relu", "slope": 0.2})
    with pytest.raises(TypeError, match="get: name must be a string, got None"):
        ax.get({"negative_slope": 0.2})
    with pytest.raises(ValueError, match="get: no activation is named 'leaky'"):
        ax.get({"name": "leaky", "negative_slope": 0.2})


@pytest.mark.parametrize(
    "function",
    [np.tanh, abs, "relu", None, functools.partial(np.tanh), functools.partial(ax.elu, 1.0)],
)
def test_name_of_foreign_function(function):
    with pytest.raises(TypeError, match=r"^name_of: function must be one of this package"):
        ax.name_of(function)
