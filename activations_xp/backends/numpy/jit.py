"""Compile a function by Numba, or take its machine code from the cache on disk."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from . import kernel_cache

_SOURCES = "compiled.py", "elementary.py", "team.py"
"""The files that write the functions."""

_alive: list[Any] = []
"""Numba's functions, with which their machine code would go."""

lock = threading.RLock()
"""Held while a function is compiled: a child process must not begin with the compiler's locks."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )


@functools.cache
def _fingerprint() -> str:
    """Return a text that tells this version of what writes functions from every other one."""
    files = (Path(__file__).with_name(name) for name in _SOURCES)
    return " ".join([numba.__version__, *(file.read_text("utf-8") for file in files)])


def entry_point(source: str, names: dict[str, Any], signature: Any) -> Callable[..., Any]:
    """Return the function `call` of a source as one of Python, which trusts the types it gets."""

    def build(function: Any, cache: bool) -> Callable[..., Any]:
        compiled: Any = numba.njit([signature], cache=cache, nogil=True)(function)
        _alive.append(compiled)
        (overload,) = compiled.overloads.values()
        found: Callable[..., Any] = overload.entry_point  # it takes read-only arrays, too
        return found

    found: Callable[..., Any] = _build(build, source, names, signature, "")
    return found


def address(source: str, names: dict[str, Any], signature: Any, description: str) -> int:
    """Return the address of the function `call` of a source, which C could call.

    The description tells it from every other one of that source.
    """

    def build(function: Any, cache: bool) -> int:
        compiled = numba.cfunc(signature, cache=cache, error_model="numpy")(function)
        _alive.append(compiled)
        return int(compiled.address)

    found: int = _build(build, source, names, signature, description)
    return found


def _build(
    build: Callable[[Any, bool], Any],
    source: str,
    names: dict[str, Any],
    signature: Any,
    description: str,
) -> Any:
    def define(path: str) -> Any:
        namespace = {**names, "__name__": __name__}  # the cache imports the module
        exec(compile(source, path, "exec"), namespace)
        return namespace["call"]

    with lock:
        folder = kernel_cache.folder()
        if folder is not None:
            text = "\n".join([_fingerprint(), description, str(signature), source])
            name = hashlib.sha256(text.encode()).hexdigest()
            try:
                entry = kernel_cache.Entry(folder, name, source)
                found = build(define(str(entry.source)), True)
                entry.seal()
                return found
            except Exception:  # a full disk, say; an error of the compiler is raised again below
                pass
        return build(define("<activations_xp function>"), False)
