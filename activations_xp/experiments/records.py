"""The records of finished runs in a folder, which survive the end of the process at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .training import Run

FILE = "runs.jsonl"
"""The name of the file, with a line of JSON for each run."""


class Records:
    """The file of an experiment, which one process at a time has open.

    A line is written whole and reaches the disk before the run counts as finished. If the process
    is killed meanwhile, the next to open the file removes what there is of that line.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"compare: out must be a folder, and {folder} is a file")
        if (folder / "report.html").exists() and not (folder / FILE).exists():
            raise FileExistsError(f"compare: {folder} holds a report.html of something else")
        self._is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            self.found = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        os.close(self._file)
        with suppress(OSError):  # nothing was run, so nothing is kept
            if not self.path.stat().st_size:
                self.path.unlink()
                if self._is_new:
                    self.path.parent.rmdir()

    def _lock(self) -> None:
        with suppress(ImportError):  # which Windows does not have
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = self.path.parent
                raise BlockingIOError(f"compare: another process writes to {where}") from None

    def _read(self) -> list[dict[str, Any]]:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.ftruncate(self._file, len(whole))
        return parse(self.path, whole)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write the record of a run."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)

    def finished(
        self, runs: Iterable[Run], experiment: Mapping[str, Any]
    ) -> dict[tuple[str, int, float, int], dict[str, Any]]:
        """Return the records of those of the runs that are finished, by their keys.

        Raises
        ------
        ValueError
            If the folder holds another experiment.
        """
        for record in self.found[:1]:
            there = record["settings"]
            differ = [name for name in experiment if there.get(name) != experiment[name]]
            if differ:
                what = ", ".join(
                    f"{n} is {there.get(n)!r} there, not {experiment[n]!r}" for n in differ
                )
                raise ValueError(f"compare: {self.path.parent} holds another experiment: {what}")
        known = {key_of(record): record for record in self.found}
        functions = {record["function"]: record["identity"] for record in self.found}
        done = {}
        for run in runs:
            label, identity = run.candidate.label, run.candidate.identity
            if functions.get(label, identity) != identity:
                raise ValueError(
                    f"compare: {self.path.parent} holds another experiment: {label} is"
                    f" {functions[label]} there, not {identity}"
                )
            if run.key in known:
                done[run.key] = known[run.key]
        return done


def key_of(record: Mapping[str, Any]) -> tuple[str, int, float, int]:
    """Return the key of the run of a record."""
    return record["function"], record["depth"], record["lr"], record["seed"]


def parse(path: Path, content: bytes) -> list[dict[str, Any]]:
    """Return the records in whole lines.

    Raises
    ------
    ValueError
        If a line is none.
    """
    records = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            record = json.loads(line)
            key_of(record)
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"compare: line {number} of {path} is not the record of a run"
            ) from None
        records.append(record)
    return records
