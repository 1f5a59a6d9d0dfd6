"""Activation functions, written once against the Python array API standard."""

from ._activation import compiled as compiled
from ._activation import get as get
from ._activation import name_of as name_of
from ._activation import names as names
from ._dispatch import implementation as implementation
from .backends.numpy.threads import get_num_threads as get_num_threads
from .backends.numpy.threads import set_num_threads as set_num_threads
from .functions import *  # noqa: F403
from .initializers import gain as gain
from .initializers import lecun_normal as lecun_normal

__version__ = "0.1.0"
