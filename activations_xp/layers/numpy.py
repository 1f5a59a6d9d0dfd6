"""Layers for NumPy: plain objects with a method `vjp` for their gradients.

>>> import numpy as np
>>> from activations_xp.layers import numpy as layers
>>> layer = layers.PReLU()
>>> layer(np.array([-4.0, 2.0]))
array([-1.,  2.])
>>> layer.vjp(np.array([1.0, 1.0]), np.array([-4.0, 2.0]))
{'x': array([0.25, 1.  ]), 'weight': array([-4.])}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _layers
from ._module import PlainModule

__all__ = _layers.__all__


class NumpyLayer(PlainModule):
    """A layer whose parameters are NumPy arrays."""

    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        dtype = np.float64 if self._dtype is None else self._dtype
        return np.full(shape, value, dtype, device=self._device)

    def _asarray(self, value: Any, dtype: Any) -> Any:
        return value.astype(dtype)


# fmt: off
class Activation(_layers.Activation, NumpyLayer): ...
class AdaptiveLogSoftmaxWithLoss(_layers.AdaptiveLogSoftmaxWithLoss, NumpyLayer): ...
class AlphaDropout(_layers.AlphaDropout, NumpyLayer): ...
class Dropout(_layers.Dropout, NumpyLayer): ...
class FeatureAlphaDropout(_layers.FeatureAlphaDropout, NumpyLayer): ...
class Maxout(_layers.Maxout, NumpyLayer): ...
class MultiheadAttention(_layers.MultiheadAttention, NumpyLayer): ...
class PReLU(_layers.PReLU, NumpyLayer): ...
class RReLU(_layers.RReLU, NumpyLayer): ...
class Swish(_layers.Swish, NumpyLayer): ...
# fmt: on
