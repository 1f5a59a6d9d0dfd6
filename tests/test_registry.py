"""Names: those of every library are known, and come back."""

from __future__ import annotations

import functools

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
