"""The base of the layers of PyTorch: modules."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from .._public import not_scripted
from ._layers import Layer
from ._module import to_numpy

_Linear = torch.nn.modules.linear.NonDynamicallyQuantizableLinear
"""Its weight is read by the layer, and so stays a tensor when a model is quantized."""


class TorchLayer(Layer, torch.nn.Module):
    """A layer that is a module of PyTorch."""

    _names: tuple[str, ...] = ()

    def __prepare_scriptable__(self) -> Any:
        """Say to torch.jit.script that it cannot compile the layer."""
        raise RuntimeError(not_scripted(type(self).__name__))

    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        dtype = self._dtype or torch.get_default_dtype()
        return torch.full(shape, value, dtype=dtype, device=self._device)

    def _register(self, name: str, array: Any) -> None:
        self._names = (*self._names, name)
        *path, leaf = name.split(".")
        module: torch.nn.Module = self
        for part, child in pairwise([*path, leaf]):
            if part not in module._modules:
                module.add_module(part, self._module(part, child, array))
            module = module.get_submodule(part)
        module.register_parameter(leaf, None if array is None else torch.nn.Parameter(array))

    def _module(self, name: str, child: str, array: Any) -> torch.nn.Module:
        """Return a module for one with such a child or a weight, as PyTorch's layers have it."""
        if child == "weight":
            return _Linear(array.shape[1], array.shape[0], bias=False, device="meta")
        return torch.nn.Sequential() if name.isdigit() else torch.nn.ModuleList()

    def _named_parameters(self) -> dict[str, Any]:
        parameters = {}
        for name in self._names:
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            if value is not None:
                parameters[name] = value
        return parameters

    def _reset(self, name: str, array: Any, number: float, is_random: bool) -> None:
        with torch.no_grad():
            if is_random:
                array.uniform_(-number, number, generator=self._rng)
            else:
                array.fill_(number)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name, parameter in self._parameters.items():
            value = state_dict.get(prefix + name)
            shapes = {getattr(v, "shape", None) for v in (value, parameter)}
            if value is not None and shapes == {(), (1,)}:  # one number in both
                state_dict[prefix + name] = value.reshape(() if value.shape else (1,))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @classmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        tensors = map(_as_tensor, state_dict.values())
        return {"dtype": next((t.dtype for t in tensors if t.is_floating_point()), None)}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Set the parameters to arrays of any library, as `torch.nn.Module.load_state_dict`."""
        self._check_mapping(state_dict)
        state = {name: _as_tensor(value) for name, value in state_dict.items()}
        return torch.nn.Module.load_state_dict(self, state, *args, **kwargs)


def _as_tensor(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value
    array = to_numpy(value)
    is_bfloat16 = array.dtype.name == "bfloat16"  # which torch.tensor does not know of NumPy
    return torch.tensor(array.astype("f4")).bfloat16() if is_bfloat16 else torch.tensor(array)
