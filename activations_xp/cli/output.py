"""Tables and progress bars, drawn by rich if it is installed; files that are written as a whole."""

from __future__ import annotations

import itertools
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> None:
    """Print a table to standard output; cells that end in "!" are red."""
    try:
        import rich.box
        import rich.console
        import rich.table
        import rich.text
    except ImportError:
        _print_plain_table([columns, *rows], caption)
        return
    table = rich.table.Table(*columns, caption=caption, box=rich.box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*(rich.text.Text(c, "red" if c.endswith("!") else "") for c in row))
    width = None if sys.stdout and sys.stdout.isatty() else 80
    console = rich.console.Console(width=width)
    with console.capture() as capture:  # it would exit where the reader of a pipe has
        console.print(table)
    print(capture.get(), end="")


def print_encodable(text: str) -> None:
    """Print text, with a question mark for what the encoding of standard output has not."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="")


def _print_plain_table(rows: Iterable[Sequence[str]], caption: str) -> None:
    wrapped = [[textwrap.wrap(cell, 38) or [""] for cell in row] for row in rows]
    widths = [
        max(len(line) for cell in column for line in cell) for column in zip(*wrapped, strict=True)
    ]
    for row in wrapped:
        for lines in itertools.zip_longest(*row, fillvalue=""):
            print("  ".join(map(str.ljust, lines, widths)).rstrip())
    if caption:
        print(f"\n{caption}")


@contextmanager
def progress(title: str, size: int, *, delay: float = 0.0) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told each amount done, out of `size`.

    It draws a bar on standard error, if that is a terminal and `delay` seconds have passed.
    """
    started = time.monotonic()
    done = 0
    draw: Callable[[int], None] | None = None

    def advance(amount: int) -> None:
        nonlocal done, draw
        done += amount
        if draw is None and sys.stderr.isatty() and time.monotonic() - started >= delay:
            draw = stack.enter_context(_bar(title, size))
        if draw is not None:
            draw(done)

    with ExitStack() as stack:
        yield advance


@contextmanager
def _bar(title: str, size: int) -> Iterator[Callable[[int], None]]:
    try:
        import rich.console
        import rich.progress
    except ImportError:
        try:
            yield lambda done: print(
                f"\r{title} {done}/{size}", end="", file=sys.stderr, flush=True
            )
        finally:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    else:
        console = rich.console.Console(stderr=True)
        with rich.progress.Progress(console=console, transient=True) as bar:
            task = bar.add_task(title, total=size)
            yield lambda done: bar.update(task, completed=done)


def check_writable(path: Path, *, force: bool) -> None:
    """Raise an error if a file exists that must not be replaced, or something that is no file."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; --force replaces it")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` on success and is removed on failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        file = temporary.open("wb")
    except OSError as error:
        raise type(error)(f"cannot write to the folder {path.parent}: {error.strerror}") from None
    try:
        with file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
