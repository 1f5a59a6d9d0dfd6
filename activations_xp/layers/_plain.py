"""Layers that are plain objects, of a library that has none of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._dispatch import library
from ._layers import Layer


class Plain(Layer):
    """A layer that keeps its arrays in a dictionary; those without a dot are attributes, too."""

    training = False
    asarray: Callable[[Any, Any], Any]
    """The numbers of NumPy's as an array of the library, in the dtype of another."""

    def begin(self, rng: Any, dtype: Any, device: Any) -> None:
        self._arrays: dict[str, Any] = {}
        self._rng, self._dtype, self._device = rng, dtype, device

    def hold(self, name: str, array: Any) -> None:
        self._arrays[name] = array

    def held(self) -> dict[str, Any]:
        return dict(self._arrays)

    state_dict = held

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the parameters of a ``state_dict``, in the dtypes that they have here.

        Parameters
        ----------
        state : mapping from str to array
            Of any library.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape.
        """
        layer = type(self).__name__
        missing, unknown = self._arrays.keys() - state.keys(), state.keys() - self._arrays.keys()
        if missing or unknown:
            raise ValueError(
                f"{layer}: state must have {sorted(self._arrays)}, got {sorted(state)}"
            )
        new = {name: numbers(state[name]) for name in self._arrays}
        for name, array in self._arrays.items():
            if new[name].shape != tuple(array.shape):
                raise ValueError(
                    f"{layer}: {name} must have the shape {tuple(array.shape)}, got"
                    f" {new[name].shape}"
                )
        self._arrays = {n: self.asarray(new[n], array) for n, array in self._arrays.items()}

    @classmethod
    def like(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"dtype": numbers(next(iter(state.values()))).dtype} if state else {}

    def train(self, mode: bool = True) -> Any:
        """Have it train, or not."""
        self.training = mode
        return self

    def eval(self) -> Any:
        """Have it not train."""
        return self.train(False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        arrays = self.__dict__.get("_arrays", {})
        if name in arrays:
            return arrays[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.described()})"


def numbers(value: Any) -> Any:
    """An array of any library as one of NumPy's."""
    if library(value) == "torch":
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()  # NumPy has no such dtype
    return np.asarray(value)
