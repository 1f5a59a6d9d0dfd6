"""Layers for PyTorch: modules with the ``state_dict`` of those of torch.nn of the same name.

>>> import torch
>>> from activations_xp.layers import torch as layers
>>> layer = layers.PReLU()
>>> layer.load_state_dict(torch.nn.PReLU().state_dict())
<All keys matched successfully>
>>> layer(torch.tensor([-4.0, 2.0])).detach()
tensor([-1.,  2.])
"""

import torch

from ._functions import CLASSES, classes_on
from ._torch import TorchLayer

globals().update(classes_on(TorchLayer, __name__))  # type checkers read torch.pyi
# which encoder layers call
globals()["MultiheadAttention"].merge_masks = torch.nn.MultiheadAttention.merge_masks
__all__ = list(CLASSES)
