"""Drop-in modules: the functions as other libraries spell them, for arrays of any library.

There is one module per library, with its names, parameters, order and defaults: replace
``import torch.nn.functional as F`` by ``import activations_xp.dropin.torch as F``, and the code
runs on NumPy and JAX too. No module imports the library whose spelling it has.

The results are those of `activations_xp`: at infinities and far in the tails they are the limit.
"""
