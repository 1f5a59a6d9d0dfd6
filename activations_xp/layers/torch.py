"""Layers for PyTorch: modules, whose ``state_dict`` is that of torch.nn's of the same name.

>>> import torch
>>> from activations_xp.layers import torch as layers
>>> layer = layers.PReLU()
>>> layer.load_state_dict(torch.nn.PReLU().state_dict())
<All keys matched successfully>
>>> layer(torch.tensor([-4.0, 2.0]))
tensor([-1.,  2.], grad_fn=<ReverseBackward>)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from . import _layers
from ._layers import Layer, made
from ._plain import numbers


class TorchLayer(Layer, torch.nn.Module):
    """A layer of tensors, which is a module."""

    def begin(self, rng: Any, dtype: Any, device: Any) -> None:
        torch.nn.Module.__init__(self)
        self._rng, self._dtype, self._device = rng, dtype, device

    def full(self, shape: tuple[int, ...], value: float) -> Any:
        dtype = self._dtype or torch.get_default_dtype()
        return torch.full(shape, value, dtype=dtype, device=self._device)

    def hold(self, name: str, array: Any) -> None:
        *path, name = name.split(".")
        module: torch.nn.Module = self
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(name, torch.nn.Parameter(array))

    def held(self) -> dict[str, Any]:
        return dict(self.named_parameters())

    @classmethod
    def like(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"dtype": tensor(next(iter(state.values()))).dtype} if state else {}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        state = {name: tensor(value) for name, value in state_dict.items()}
        return torch.nn.Module.load_state_dict(self, state, *args, **kwargs)

    def extra_repr(self) -> str:
        return self.described()


def tensor(value: Any) -> Any:
    return value if isinstance(value, torch.Tensor) else torch.tensor(numbers(value))


__all__ = list(_layers.__all__)
globals().update(made(TorchLayer, __name__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
