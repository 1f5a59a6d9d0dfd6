"""Layers for Flax: modules of ``flax.nnx`` whose parameters are `nnx.Param`.

`flax.nnx.bridge.to_linen` makes modules of ``flax.linen`` of them.

>>> from flax import nnx
>>> from activations_xp.layers import flax as layers
>>> layer = layers.PReLU()
>>> nnx.state(layer, nnx.Param).weight.shape
(1,)
"""

from ._flax import FlaxLayer
from ._functions import CLASSES, classes_on

globals().update(classes_on(FlaxLayer, __name__))  # type checkers read flax.pyi
__all__ = list(CLASSES)
