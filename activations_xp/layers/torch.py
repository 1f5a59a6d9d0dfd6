"""Layers for PyTorch: modules with the ``state_dict`` of those of torch.nn of the same name.

>>> import torch
>>> from activations_xp.layers import torch as layers
>>> layer = layers.PReLU()
>>> layer.load_state_dict(torch.nn.PReLU().state_dict())
<All keys matched successfully>
>>> layer(torch.tensor([-4.0, 2.0])).detach()
tensor([-1.,  2.])
"""

from ._torch import LAYERS
from ._torch_convert import Conversion, convert, revert

globals().update(LAYERS)  # type checkers read torch.pyi
__all__ = ["Conversion", "convert", "revert", *LAYERS]
