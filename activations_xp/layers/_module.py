"""The base of the layers of libraries that have no module class of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ._layers import Layer


class PlainModule(Layer):
    """A layer that stores its arrays in a dictionary and has attributes for those without a dot."""

    training = False

    @abstractmethod
    def _asarray(self, value: Any, dtype: Any) -> Any:
        """Return a NumPy array as an array of the library."""

    def _init(self, rng: Any, dtype: Any, device: Any) -> None:
        self._arrays: dict[str, Any] = {}
        self._rng, self._dtype, self._device = rng, dtype, device

    def _register(self, name: str, array: Any) -> None:
        self._arrays[name] = array

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return dict(self._arrays)

    _named_parameters = state_dict

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set the parameters to those of a ``state_dict``; each keeps the dtype of the layer.

        Parameters
        ----------
        state_dict : mapping from str to array
            The arrays may be of any library.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape.
        """
        layer = type(self).__name__
        if self._arrays.keys() != state_dict.keys():
            raise ValueError(
                f"{layer}: state_dict must have {sorted(self._arrays)}, got {sorted(state_dict)}"
            )
        values = {name: to_numpy(state_dict[name]) for name in self._arrays}
        for name, array in self._arrays.items():
            if values[name].shape != tuple(array.shape):
                raise ValueError(
                    f"{layer}: {name} must have the shape {tuple(array.shape)}, got"
                    f" {values[name].shape}"
                )
        self._arrays = {n: self._asarray(values[n], a.dtype) for n, a in self._arrays.items()}

    @classmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        return {"dtype": to_numpy(next(iter(state_dict.values()))).dtype} if state_dict else {}

    def train(self, mode: bool = True) -> Self:
        """Set training mode, or evaluation mode if `mode` is False."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode."""
        return self.train(False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        arrays = self.__dict__.get("_arrays", {})
        if name in arrays:
            return arrays[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def to_numpy(value: Any) -> Any:
    """Return an array of any library as one of NumPy, which has no bfloat16: float32 instead."""
    if hasattr(value, "detach"):  # a tensor of PyTorch may require a gradient, or be on a GPU
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    return np.asarray(value)
