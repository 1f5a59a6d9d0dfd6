"""Finding functions by name and libraries by array, importing nothing that is not there."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading

import numpy as np
import pytest

import activations_xp as ax
from activations_xp._registry import register


def test_importing_imports_no_array_library_but_numpy():
    code = (
        "import sys, activations_xp as ax, numpy as np; ax.gelu(np.ones(3)); ax.relu(1);"
        "others = 'torch', 'jax', 'cupy', 'dask', 'rich', 'mpmath';"
        "print(*[m for m in others if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_get_knows_every_name_and_alias(activation):
    definition = activation.definition
    assert ax.get(definition.name) is activation
    for alias, parameters in definition.aliases.items():
        found = ax.get(alias)
        if not parameters:
            assert found is activation
            continue
        assert isinstance(found, functools.partial)
        assert found.func is activation
        assert found.keywords == parameters


def test_names():
    assert ax.names() == sorted(set(ax.names()))
    assert set(ax.names()) < set(ax.names(aliases=True))
    assert {"gelu_new", "quick_gelu", "swish", "expit", "linear"} <= set(ax.names(aliases=True))


def test_an_unknown_name_is_answered_with_the_three_closest():
    with pytest.raises(ValueError, match=r"'gelo'; the closest are gelu, .*, ") as caught:
        ax.get("gelo")
    assert str(caught.value).count(",") == 2


def test_a_name_is_a_string():
    with pytest.raises(TypeError, match="get: name must be a string or a mapping, got 3"):
        ax.get(3)


def test_two_functions_cannot_share_a_name(activation):
    with pytest.raises(ValueError, match=f"two functions are named '{activation.__name__}'"):
        register(activation)


def test_many_threads_may_meet_a_new_type_at_once(activation):
    class Array(np.ndarray):
        pass

    x = np.linspace(-3, 3, 8).view(Array)
    parameters = activation.definition.cases[0].parameters
    expected = activation(np.asarray(x), **parameters)
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
