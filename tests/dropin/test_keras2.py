"""The drop-in of Keras 2 beside the signatures and formulas that tf_keras 2.21 documents.

tests/dropin/test_tensorflow.py compares it with tf_keras, which takes TensorFlow.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from oracle import over, precision
from tools.peers import LINE, ROWS, is_close

import activations_xp.dropin.keras2 as dropin
from activations_xp._oracle import truth

DOCUMENTED = {
    "elu": ("(x, alpha=1.0)", "where(x > 0, x, alpha * expm1(x))"),
    "exponential": ("(x)", "exp(x)"),
    "gelu": (
        "(x, approximate=False)",
        "x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) if approximate"
        " else x / 2 * erfc(-x / sqrt(2))",
    ),
    "hard_sigmoid": ("(x)", "minimum(maximum(x / 5 + 0.5, 0), 1)"),
    "leaky_relu": ("(x, alpha=0.3)", "where(x > 0, x, alpha * x)"),
    "linear": ("(x)", "x"),
    "mish": ("(x)", "x * tanh(log1p(exp(x)))"),
    "relu": (
        "(x, alpha=0.0, max_value=None, threshold=0.0)",
        "where(x > threshold, x if max_value is None else minimum(x, max_value),"
        " alpha * (x - threshold))",
    ),
    "selu": (
        "(x)",
        "1.05070098735548049342 * where(x > 0, x, 1.67326324235437728482 * expm1(x))",
    ),
    "sigmoid": ("(x)", "1 / (1 + exp(-x))"),
    "softmax": ("(x, axis=-1)", "exp(x) / reshape(sum(exp(x), axis=axis), (-1, 1))"),
    "softplus": ("(x)", "log1p(exp(x))"),
    "softsign": ("(x)", "x / (1 + abs(x))"),
    "swish": ("(x)", "x / (1 + exp(-x))"),
    "tanh": ("(x)", "tanh(x)"),
    "thresholded_relu": ("(x, theta=1.0)", "where(x > theta, x, 0)"),
}
OTHERS = {
    "elu": {"alpha": 2.0},
    "gelu": {"approximate": True},
    "leaky_relu": {"alpha": 3.0},
    "relu": {"alpha": 0.125, "max_value": 5.0, "threshold": 0.5},
    "thresholded_relu": {"theta": 0.5},
}
CALLS = [
    *((name, {}) for name in dropin.__all__),
    *((name, given) for name, given in OTHERS.items()),
]


def test_all_names_of_keras2():
    assert dropin.__all__ == sorted(DOCUMENTED)


@over("name", dropin.__all__)
def test_signature(name):
    signature = inspect.signature(getattr(dropin, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == DOCUMENTED[name][0]


@over(("name", "given"), CALLS)
def test_values(name, given, backend, standard_dtype):
    values = ROWS if name == "softmax" else LINE[np.abs(LINE) < 1e4]
    x = backend.array(values, standard_dtype)
    function = getattr(dropin, name)
    with precision("accurate"):
        y = function(x, **given)
    assert y.dtype == x.dtype
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    exact = truth(DOCUMENTED[name][1], backend.asnumpy(x), {**defaults, **given}).astype("f8")
    is_finite = np.abs(exact) < np.finfo(standard_dtype).max
    assert is_close(backend.asnumpy(y), exact)[is_finite].all()


def test_softmax_of_a_vector_or_a_list_raises(backend):
    with pytest.raises(ValueError, match=r"^softmax: x must have 2 dimensions"):
        dropin.softmax(backend.array([1.0, 2.0]))
    with pytest.raises(TypeError, match=r"^softmax: x must be an array"):
        dropin.softmax([[1.0, 2.0]])
