"""Layers for JAX: pytrees, whose leaves are the parameters.

>>> import jax
>>> import jax.numpy as jnp
>>> from activations_xp.layers import jax as layers
>>> layer = layers.Swish(beta=2.0)
>>> gradients = jax.grad(lambda layer, x: layer(x).sum())(layer, jnp.ones(3))
>>> gradients.beta.shape
()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from . import _layers
from ._layers import made
from ._plain import Plain


class JaxLayer(Plain):
    """A layer of JAX's arrays, which is a pytree."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        jax.tree_util.register_pytree_with_keys_class(cls)

    def full(self, shape: tuple[int, ...], value: float) -> Any:
        return jnp.full(
            shape, value, jnp.result_type(float) if self._dtype is None else self._dtype
        )

    def generator(self) -> Any:
        if self._rng is None:
            return None  # which is refused
        self._rng, key = jax.random.split(self._rng)
        return key

    def asarray(self, value: Any, like: Any) -> Any:
        return jnp.asarray(value, like.dtype)

    @classmethod
    def like(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().like(state), "rng": jax.random.key(0)}

    def tree_flatten_with_keys(self) -> Any:
        others = {k: v for k, v in self.__dict__.items() if k not in ("_arrays", "_rng")}
        keys = [jax.tree_util.GetAttrKey(name) for name in self._arrays]
        constants = tuple(sorted(others.pop("constants", {}).items()))
        known = (tuple(self._arrays), constants, tuple(sorted(others.items())))
        return list(zip(keys, self._arrays.values(), strict=True)), known

    @classmethod
    def tree_unflatten(cls, known: Any, leaves: Any) -> Any:
        names, constants, others = known
        layer = object.__new__(cls)
        layer.__dict__.update(others, _rng=None, constants=dict(constants))
        layer._arrays = dict(zip(names, leaves, strict=True))
        return layer


__all__ = list(_layers.__all__)
globals().update(made(JaxLayer, __name__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
