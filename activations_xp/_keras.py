"""Names by which Keras saves our functions, and finds them again.

Keras saves a function by the name that it is registered by. One that is not registered it saves by
its `__name__`, and loads as its own function of that name.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from typing import Any

from . import _dispatch
from ._registry import Bound, get, names
from .backends.base import Backend

_DROPINS = ("jax", "keras", "keras2", "keras_ops", "tensorflow", "torch")


def register() -> None:
    """Register all functions and layers with Keras, as "activations_xp>gelu" or such."""
    import keras

    if not hasattr(keras, "Operation"):  # Keras 2, which knows the arrays of TensorFlow alone
        return
    _dispatch.register("keras", _backend)
    found: dict[str, Any] = {"Bound": Bound}
    functions: Iterable[Any] = map(get, names())
    for function in functions:
        forms = (getattr(function, form, None) for form in ("accurate", "derivative"))
        found |= {form.__qualname__: form for form in (function, *forms) if form is not None}
    for dropin in _DROPINS:
        module = importlib.import_module(f"activations_xp.dropin.{dropin}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and name in module.__all__:
                found[f"dropin.{dropin}.{function.__name__}"] = function
    for name, value in found.items():
        keras.saving.register_keras_serializable("activations_xp", name)(value)
    for name in ("backends", "layers"):  # which register their own classes
        importlib.import_module(f"activations_xp.{name}.keras")


def _backend() -> Backend:
    from .backends.keras import BACKEND

    return BACKEND


class _Finder:
    """Lets an import of Keras end with `register`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                register()

            loader.exec_module = exec_module
        return spec


def register_when_imported() -> None:
    """Register all functions with Keras, now or as soon as it is imported."""
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _Finder())
