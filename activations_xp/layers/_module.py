"""The bases of the layers of libraries that have no module class of their own, and of NumPy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .._dispatch import backend_of, find_backend, is_floating
from .._errors import describe_value
from .._parameters import REAL
from ._layers import Layer


class PlainModule(Layer):
    """A layer that stores its arrays in a dictionary and has them as attributes."""

    _arrays: Mapping[str, Any] = {}

    @abstractmethod
    def _asarray(self, value: Any, dtype: Any) -> Any:
        """Return a NumPy array as an array of the library."""

    def _init(self, rng: Any, dtype: Any, device: Any) -> None:
        super()._init(rng, dtype, device)
        self.training = False

    def _register(self, name: str, array: Any) -> None:
        if array is not None:
            self._arrays = {**self._arrays, name: array}

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return dict(self._arrays)

    _named_parameters = state_dict

    def _reset(self, name: str, array: Any, number: float, is_random: bool) -> None:
        full_like = backend_of(array).xp.full_like
        new = self._uniform(array, array.shape, number) if is_random else full_like(array, number)
        self._arrays = {**self._arrays, name: new}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set the parameters to those of a ``state_dict``; each keeps the dtype of the layer.

        Parameters
        ----------
        state_dict : mapping from str to array
            The arrays may be of any library.

        Raises
        ------
        TypeError
            If it is no mapping, or an array is not one of real numbers.
        ValueError
            If a name is missing or unknown, or an array has another shape.
        """
        self._check_mapping(state_dict)
        layer = type(self).__name__
        if self._arrays.keys() != state_dict.keys():
            raise ValueError(
                f"{layer}: state_dict must have {sorted(self._arrays)}, got {sorted(state_dict)}"
            )
        values = {name: to_numpy(state_dict[name]) for name in self._arrays}
        for name, array in self._arrays.items():
            if not backend_of(values[name]).isdtype(values[name], REAL):
                got = describe_value(state_dict[name])
                raise TypeError(f"{layer}: {name} must be an array of real numbers, got {got}")
            if {values[name].shape, tuple(array.shape)} == {(), (1,)}:
                values[name] = values[name].reshape(array.shape)
            if values[name].shape != tuple(array.shape):
                raise ValueError(
                    f"{layer}: {name} must have the shape {tuple(array.shape)}, got"
                    f" {values[name].shape}"
                )
        self._arrays = {n: self._asarray(values[n], a.dtype) for n, a in self._arrays.items()}

    @classmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        arrays = map(to_numpy, state_dict.values())
        return {"dtype": next((array.dtype for array in arrays if is_floating(array)), None)}

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
        if name in self._arrays:
            return self._arrays[name]
        if any(other.startswith(f"{name}.") for other in self._arrays):
            return _Part(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._arrays:
            self._arrays = {**self._arrays, name: self._checked_parameter(name, value)}
        elif name.startswith("_") or name in self._specs() or find_backend(value) is None:
            super().__setattr__(name, value)
        else:
            raise ValueError(
                f"{type(self).__name__}: the parameters are {list(self._arrays)}, got one more,"
                f" {name}"
            )

    def __delattr__(self, name: str) -> None:
        if name in self._arrays:
            raise AttributeError(f"{type(self).__name__}: {name} cannot be deleted")
        super().__delattr__(name)

    def _checked_parameter(self, name: str, value: Any) -> Any:
        """Return an array that may take the place of a parameter."""
        layer, old = type(self).__name__, self._arrays[name]
        backend = find_backend(old)
        if backend is None:  # what a transform of JAX puts there
            return value
        if find_backend(value) is not backend:
            got = describe_value(value)
            raise TypeError(f"{layer}: {name} must be an array of {backend.name}, got {got}")
        if tuple(value.shape) != tuple(old.shape):
            raise ValueError(
                f"{layer}: {name} must have the shape {tuple(old.shape)}, got {tuple(value.shape)}"
            )
        if value.dtype != old.dtype:
            raise TypeError(f"{layer}: {name} must have the dtype {old.dtype}, got {value.dtype}")
        return np.asarray(value) if isinstance(value, np.generic) else value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class NumpyLayer(PlainModule):
    """A layer whose parameters are NumPy arrays."""

    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        dtype = np.float64 if self._dtype is None else self._dtype
        return np.full(shape, value, dtype, device=self._device)

    def _asarray(self, value: Any, dtype: Any) -> Any:
        return value.astype(dtype)


class _Part:
    """The parameters of a layer whose names begin with a prefix and a dot."""

    def __init__(self, layer: PlainModule, prefix: str) -> None:
        vars(self).update(_layer=layer, _prefix=prefix)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copy and pickle ask an object that has nothing yet
            raise AttributeError(name)
        return getattr(self._layer, f"{self._prefix}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._layer, f"{self._prefix}.{name}", value)

    def __getitem__(self, i: int) -> Any:
        return getattr(self, str(i))


def to_numpy(value: Any) -> Any:
    """Return an array of any library as one of NumPy, which has no bfloat16: float32 instead."""
    if hasattr(value, "detach"):  # a tensor of PyTorch may require a gradient, or be on a GPU
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    return np.asarray(value)
