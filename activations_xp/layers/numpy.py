"""Layers for NumPy: plain objects with a method `vjp` for their gradients.

>>> import numpy as np
>>> from activations_xp.layers import numpy as layers
>>> layer = layers.PReLU()
>>> layer(np.array([-4.0, 2.0]))
array([-1.,  2.])
>>> layer.vjp(np.array([1.0, 1.0]), np.array([-4.0, 2.0]))
{'x': array([0.25, 1.  ]), 'weight': array([-4.])}
"""

from ._functions import CLASSES, classes_on
from ._module import NumpyLayer

globals().update(classes_on(NumpyLayer, __name__))  # type checkers read numpy.pyi
__all__ = list(CLASSES)
