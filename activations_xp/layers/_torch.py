"""The base of the layers of PyTorch: modules."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from ._layers import Layer
from ._module import to_numpy


class TorchLayer(Layer, torch.nn.Module):
    """A layer that is a module of PyTorch."""

    _names: tuple[str, ...] = ()

    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        dtype = self._dtype or torch.get_default_dtype()
        return torch.full(shape, value, dtype=dtype, device=self._device)

    def _register(self, name: str, array: Any) -> None:
        self._names = (*self._names, name)
        *path, name = name.split(".")
        module: torch.nn.Module = self
        for part, child in pairwise([*path, name]):
            if part not in module._modules:
                is_list = child.isdigit()
                module.add_module(part, torch.nn.ModuleList() if is_list else torch.nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(name, None if array is None else torch.nn.Parameter(array))

    def _named_parameters(self) -> dict[str, Any]:
        parameters = {}
        for name in self._names:
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            if value is not None:
                parameters[name] = value
        return parameters

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
