"""The base of the layers of JAX: pytrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp

from ._module import PlainModule

_NOT_DATA = ("_arrays", "_rng", "_dtype", "_device")
"""The parameters, and the attributes that a layer does not need once it has them."""


class JaxLayer(PlainModule):
    """A layer whose parameters are JAX arrays; each subclass is registered as a pytree."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        jax.tree_util.register_pytree_with_keys_class(cls)

    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        dtype = jnp.result_type(float) if self._dtype is None else self._dtype
        return jnp.full(shape, value, dtype, device=self._device)

    def _next_rng(self) -> Any:
        if self._rng is None:
            return None  # sampling refuses it
        self._rng, key = jax.random.split(self._rng)
        return key

    def _asarray(self, value: Any, dtype: Any) -> Any:
        return jnp.asarray(value, dtype)

    @classmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        dtype = super()._kwargs_from_state(state_dict)["dtype"]
        names = {str(getattr(value, "dtype", "")) for value in state_dict.values()}
        if names == {"torch.bfloat16"}:  # which is float32 as an array of NumPy
            dtype = jnp.bfloat16
        dtype = None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)
        return {"dtype": dtype, "rng": jax.random.key(0)}

    def tree_flatten_with_keys(self) -> Any:
        """Return the parameters with their keys, and all other attributes as hashable data."""
        others = sorted((k, v) for k, v in self.__dict__.items() if k not in _NOT_DATA)
        keys = [jax.tree_util.GetAttrKey(name) for name in self._arrays]
        aux_data = (tuple(self._arrays), tuple(others))
        return list(zip(keys, self._arrays.values(), strict=True)), aux_data

    @classmethod
    def tree_unflatten(cls, aux_data: Any, leaves: Any) -> Self:
        """Return the layer with these parameters and attributes."""
        names, others = aux_data
        layer = object.__new__(cls)
        layer.__dict__.update(others, _arrays=dict(zip(names, leaves, strict=True)))
        return layer
