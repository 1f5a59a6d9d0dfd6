"""The choice of the engine that runs a trace: NumPy's ufuncs, or machine code of Numba.

It is a rule of the setting, the function, the dtype and the size of the array, never of what was
called before, so that the same call gives the same bits.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from ..._errors import describe_value, warn_once

VARIABLE = "ACTIVATIONS_XP_ENGINE"

LARGE = 2**15
"""The number of elements from which on "auto" lets Numba compile."""

MIN_NUMBA = 0, 61

_FROM = {"auto": LARGE, "numba": 0, "numpy": sys.maxsize}

numba_from = _FROM.get(os.environ.get(VARIABLE) or "auto", 0)
"""The number of elements from which on `compiler` is asked, also for the first time."""

is_loaded = False
"""Whether `compiler` has found one, which it has at any size from `numba_from` on."""

_setting: str | None = None


def set_engine(name: str) -> None:
    """Choose what computes functions of NumPy arrays.

    The default is the environment variable ``ACTIVATIONS_XP_ENGINE`` or, where it is not set,
    "auto".

    Parameters
    ----------
    name : {"auto", "numba", "numpy"}
        "numba" compiles a function when it is called first, and keeps the machine code in the
        user's cache folder or in ``ACTIVATIONS_XP_CACHE_DIR``. "numpy" calls NumPy's functions one
        after the other. "auto" lets Numba compute arrays of 32 768 or more elements, where it is
        installed.

    Raises
    ------
    ValueError
        If `name` is another.
    ImportError
        If it is "numba", which is not installed, too old or told by ``NUMBA_DISABLE_JIT`` to
        compile nothing.

    Examples
    --------
    >>> import activations_xp as ax
    >>> ax.set_engine("auto")
    >>> ax.get_engine()
    'auto'
    """
    global _setting, numba_from
    if not isinstance(name, str) or name not in _FROM:
        got = describe_value(name)
        raise ValueError(f"set_engine: name must be 'auto', 'numba' or 'numpy', got {got}")
    if name == "numba":
        _load()
    _setting, numba_from = name, _FROM[name]


def get_engine() -> str:
    """Return the name of the engine that is chosen; see `set_engine`."""
    global _setting, numba_from
    if _setting is None:
        name = os.environ.get(VARIABLE) or "auto"
        if name not in _FROM:
            raise ValueError(f"{VARIABLE} must be 'auto', 'numba' or 'numpy', got {name!r}")
        _setting, numba_from = name, _FROM[name]
    return _setting


def compiler(size: int) -> ModuleType | None:
    """Return the module that compiles, or None if NumPy's functions compute so many elements."""
    global numba_from, is_loaded
    setting = get_engine()
    if size < numba_from:
        return None
    try:
        found = _load()
        is_loaded = True
        return found
    except ImportError as error:
        if setting == "numba":
            raise
        numba_from = sys.maxsize
        if not isinstance(error, ModuleNotFoundError):
            warn_once(f"NumPy computes large arrays, for {error}")
        return None


def _load() -> ModuleType:
    try:
        import numba
    except ModuleNotFoundError:
        hint = "pip install 'activations_xp[numba]'"
        raise ModuleNotFoundError(f"Numba is not installed ({hint})", name="numba") from None
    if tuple(map(int, numba.__version__.split(".")[:2])) < MIN_NUMBA:
        least = ".".join(map(str, MIN_NUMBA))
        raise ImportError(f"Numba must be {least} or newer, got {numba.__version__}", name="numba")
    if numba.config.DISABLE_JIT:
        raise ModuleNotFoundError("NUMBA_DISABLE_JIT is set", name="numba")
    from . import compiled

    return compiled
