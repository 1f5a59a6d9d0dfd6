"""Activation functions, written once against the Python array API standard."""

import types
import typing

from ._dispatch import precision as precision
from ._keras import register_when_imported as _register_with_keras
from ._registry import get as get
from ._registry import name_of as name_of
from ._registry import names as names
from .backends.numpy.engine import get_engine as get_engine
from .backends.numpy.engine import set_engine as set_engine
from .backends.numpy.threads import get_num_threads as get_num_threads
from .backends.numpy.threads import set_num_threads as set_num_threads
from .functions import *  # noqa: F403
from .initializers import gain as gain
from .initializers import lecun_normal as lecun_normal

__version__ = "0.1.0"

_register_with_keras()

if not typing.TYPE_CHECKING:  # type checkers know them by the imports
    __all__ = [
        name
        for name, value in globals().items()
        if not (name.startswith("_") or isinstance(value, types.ModuleType))
    ]

    def __dir__() -> list[str]:
        """Return the public names, without the modules that imports leave behind."""
        return [*__all__, "__version__"]
