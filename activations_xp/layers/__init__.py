"""Layers: functions together with their parameters, as objects of each library's own kind.

Those of ``activations_xp.layers.torch`` are instances of `torch.nn.Module`, those of
``activations_xp.layers.jax`` are pytrees, and those of ``activations_xp.layers.numpy`` are plain
objects. Names, arguments and the contents of a ``state_dict`` are the same in all three, and in
``activations_xp.layers.flax``, whose layers are modules of ``flax.nnx``. The layers of Keras in
``activations_xp.layers.keras`` take the parameters of the functions.

The arguments of a layer are attributes, and those that do not fix the shapes of parameters may be
set, as in ``layer.p = 0.1``. Parameters may be set to arrays like those that they are. Layers begin
in evaluation mode, but those of PyTorch in training mode, as all its modules do.
"""
