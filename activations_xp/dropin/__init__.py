"""Under which name: the functions as other libraries spell them, for arrays of any library.

One module a library, with its names, parameters, order and defaults: put
``import activations_xp.dropin.torch as F`` where code has ``import torch.nn.functional as F``, and
it runs on NumPy and JAX too. None imports the library that it speaks like.

What is spelled is theirs; what is computed is ours: integers become the default floating dtype,
lists and complex numbers are refused, -inf and the far tails get the limit.
"""
