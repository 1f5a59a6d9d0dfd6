"""Finding functions by name and libraries by array, importing nothing that is not there."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading

import numpy as np
import pytest
from oracle import accurate, aliases_of, kernel_tables, precision, required_parameters

import activations_xp as ax
from activations_xp import _dispatch
from activations_xp._registry import register


@pytest.mark.once
def test_import_loads_no_array_library_but_numpy():
    code = (
        "import sys, activations_xp as ax, numpy as np; ax.gelu(np.ones(3)); ax.relu(1);"
        "others = 'torch', 'jax', 'cupy', 'dask', 'rich', 'mpmath';"
        "print(*[m for m in others if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.once
def test_get_by_name_and_alias(activation):
    assert ax.get(activation.definition.name) is activation
    for alias, parameters in aliases_of(activation).items():
        bound = ax.get(alias)
        if parameters:
            assert isinstance(bound, functools.partial)
            assert bound.func is activation
            assert bound.keywords == parameters
        else:
            assert bound is activation


@pytest.mark.once
def test_names():
    assert ax.names() == sorted(set(ax.names()))
    assert set(ax.names()) < set(ax.names(aliases=True))
    assert {"gelu_new", "quick_gelu", "swish", "expit", "linear"} <= set(ax.names(aliases=True))


@pytest.mark.once
def test_name_taken(activation):
    with pytest.raises(ValueError, match=f"two functions are named '{activation.__name__}'"):
        register(activation)


@pytest.mark.once
def test_new_array_type_in_many_threads(activation):
    x = np.linspace(-3, 3, 8)
    parameters = required_parameters(activation)
    expected = activation(x, **parameters)
    for known in (*kernel_tables(activation), _dispatch._BY_TYPE):
        known.clear()
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(activation(x, **parameters)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(np.asarray(result), expected)


@pytest.mark.libraries("torch")
def test_precision_after_error(backend):
    """The error ends it, as the end of the block does."""
    x = backend.array(np.linspace(-3, 3, 10001), "float32")
    fast, slow = (backend.asnumpy(f(x)) for f in (ax.gelu, accurate(ax.gelu)))
    assert (fast != slow).any()  # the fast one is PyTorch's own

    def fail():
        with precision("accurate"):
            np.testing.assert_array_equal(backend.asnumpy(ax.gelu(x)), slow)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    np.testing.assert_array_equal(backend.asnumpy(ax.gelu(x)), fast)
