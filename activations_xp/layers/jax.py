"""Layers for JAX: pytrees whose leaves are the parameters.

>>> import jax
>>> import jax.numpy as jnp
>>> from activations_xp.layers import jax as layers
>>> layer = layers.Swish(beta=2.0)
>>> gradients = jax.grad(lambda layer, x: layer(x).sum())(layer, jnp.ones(3))
>>> gradients.beta.shape
(1,)
"""

from ._functions import CLASSES, classes_on
from ._jax import JaxLayer

globals().update(classes_on(JaxLayer, __name__))  # type checkers read jax.pyi
__all__ = list(CLASSES)
