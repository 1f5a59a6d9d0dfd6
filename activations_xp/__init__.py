"""Activation functions, written once against the Python array API standard."""

from ._activation import get, names
from ._dispatch import implementation
from .functions import *  # noqa: F403

__version__ = "0.1.0"
