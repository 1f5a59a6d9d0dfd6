"""The folder on disk in which machine code is kept.

What lies in it is run, so it must belong to the user, and nobody else may write to it. A folder
that cannot be used costs the time of compiling again, and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from ..._errors import warn_once

VARIABLE = "ACTIVATIONS_XP_CACHE_DIR"


def _default() -> Path:
    """Return the place of the system for what programs keep."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def folder() -> Path | None:
    """Return the folder, which is made for the owner alone, or None if there is none to trust."""
    chosen = os.environ.get(VARIABLE)
    try:
        path = Path(chosen) if chosen else _default() / "activations_xp"
        path.parent.mkdir(parents=True, exist_ok=True)
        for part in (path, path / "__pycache__"):  # where Numba writes
            part.mkdir(mode=0o700, exist_ok=True)
            if not _is_private(part):
                warn_once(f"machine code is not kept, for {part} is not a folder of the user alone")
                return None
    except (OSError, RuntimeError):  # no home, a file in the way, a read-only or full disk
        return None
    return path


def _is_private(path: Path) -> bool:
    """Return whether a folder is the user's own, and nobody else may write to it."""
    if os.name == "nt":
        return True
    status = path.lstat()
    is_own = status.st_uid == os.geteuid()
    return stat.S_ISDIR(status.st_mode) and is_own and not status.st_mode & 0o022


class Entry:
    """The files of a kernel: its source, what Numba keeps, and a checksum of that."""

    def __init__(self, folder: Path, name: str, source: str):
        self.source = folder / f"{name}.py"
        self.checksum = folder / f"{name}.sum"
        self._write(self.source, source.encode())
        os.utime(self.source, (0, 0))  # Numba compares the time, also with that of another writer
        if not (self.checksum.exists() and self.checksum.read_bytes() == self._digest()):
            self.remove()

    def _files(self) -> Iterator[Path]:
        yield from sorted((self.source.parent / "__pycache__").glob(f"{self.source.stem}.*"))

    def _digest(self) -> bytes:
        digest = hashlib.sha256()
        for file in self._files():
            digest.update(file.read_bytes())
        return digest.hexdigest().encode()

    def _write(self, path: Path, content: bytes) -> None:
        if not path.exists() or path.read_bytes() != content:
            draft = path.with_suffix(f".{os.getpid()}.part")
            try:
                draft.write_bytes(content)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)

    def seal(self) -> None:
        """Write the checksum of what Numba keeps."""
        self._write(self.checksum, self._digest())

    def remove(self) -> None:
        """Remove what Numba keeps."""
        for file in self._files():
            file.unlink(missing_ok=True)
