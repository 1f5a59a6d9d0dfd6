"""Layers: functions that hold their parameters, as each library likes its objects.

``activations_xp.layers.torch`` has `torch.nn.Module`, ``activations_xp.layers.jax`` has pytrees,
``activations_xp.layers.numpy`` has plain objects. The names and the arguments are the same, and so
is what a ``state_dict`` holds.
"""
