"""Layers for NumPy: plain objects, with `vjp` for their gradients.

>>> import numpy as np
>>> from activations_xp.layers import numpy as layers
>>> layer = layers.PReLU()
>>> layer(np.array([-4.0, 2.0]))
array([-1.,  2.])
>>> layer.vjp(np.array([1.0, 1.0]), np.array([-4.0, 2.0]))
(array([0.25, 1.  ]), {'weight': array([-4.])})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _layers
from ._layers import made
from ._plain import Plain


class NumpyLayer(Plain):
    """A layer of NumPy's arrays."""

    def full(self, shape: tuple[int, ...], value: float) -> Any:
        return np.full(shape, value, np.float64 if self._dtype is None else self._dtype)

    def asarray(self, value: Any, like: Any) -> Any:
        return value.astype(like.dtype)


__all__ = list(_layers.__all__)
globals().update(made(NumpyLayer, __name__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
