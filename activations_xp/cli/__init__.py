"""Check the functions on the installed array libraries; show, draw, apply or compare some."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import __version__, precision
from .._catalog import TRAITS
from .._errors import needs_extra
from . import apply, compare, plot, show

_REPORTED = (
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that are reported in one line; any other keeps its traceback."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")


class _Stopped(BaseException):
    """A signal that ends the process."""

    def __init__(self, number: int):
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` and return its exit status, 128 + n if signal n ends it."""
    try:
        try:
            return _run(argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as head has
        _discard_output()
        return 128 + 13
    except OSError as error:  # the disk of the output is full
        _discard_output()
        return _report(error)


def _run(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    try:
        with _raising_signals(), precision(args.precision):
            status: int = args.run(args)
            return status
    except KeyboardInterrupt as error:
        print(" ".join(["activations_xp: interrupted", *error.args]), file=sys.stderr)
        return 128 + signal.SIGINT
    except _Stopped as stopped:
        return 128 + stopped.number
    except BrokenPipeError:
        raise
    except _REPORTED as error:
        return _report(error)


def _report(error: Exception) -> int:
    reason = " ".join(str(error).split())
    for command in ("get", "compare"):
        reason = reason.removeprefix(f"{command}: ")
    print(f"activations_xp: {reason or type(error).__name__}", file=sys.stderr)
    return 2


def _discard_output() -> None:
    """Let Python write to nowhere what is left of the output when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _raising_signals() -> Iterator[None]:
    """Let the signals that end a process raise an exception, so that no file is left behind."""

    def stop(number: int, frame: Any) -> None:
        raise _Stopped(number)

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    ending = [n for n in known if is_main and signal.getsignal(n) is signal.SIG_DFL]
    for number in ending:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    levels: dict[str, Any] = {
        "choices": ("fast", "accurate"),
        "help": "fast (the default) runs a library's own kernel where its error is small enough; "
        "accurate always runs the implementation of this package",
    }
    parser = _Parser(prog="activations_xp", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--precision", default="fast", **levels)
    worst_first: dict[str, Any] = {
        "action": "store_true",
        "help": "list the largest errors first",
    }
    parser.add_argument("--worst-first", **worst_first)
    parser.set_defaults(run=_check)
    commands = parser.add_subparsers(metavar="COMMAND")

    text = "compare every function on every installed library with exact values (the default)"
    command = commands.add_parser("check", help=text, description=text)
    command.add_argument("--precision", default=argparse.SUPPRESS, **levels)
    command.add_argument("--worst-first", default=argparse.SUPPRESS, **worst_first)

    text = "apply a function to the array in a .npy file"
    command = commands.add_parser(
        "apply",
        help=text,
        description=f"{text}. The file is read and written in blocks and may be larger than "
        "memory. For a function along an axis, such as softmax, the axes stored outside that axis "
        "are split into blocks; if there are none, or if the function changes the size of its "
        "axis, such as maxout, the array is loaded at once. The result has the dtype and the "
        "memory order of the input; of integers, one_hot and multi_hot make floats.",
    )
    command.add_argument("name", metavar="NAME", help="a name or an alias that `list` shows")
    command.add_argument("input", metavar="IN.npy", type=Path)
    command.add_argument("output", metavar="OUT.npy", type=Path)
    command.add_argument("--backend", choices=("numpy", "torch", "jax"), default="numpy")
    command.add_argument(
        "--param",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a parameter: a Python literal, a word, or @FILE.npy for an array; may be repeated",
    )
    command.add_argument(
        "--force", action="store_true", help="overwrite OUT.npy, which may be IN.npy"
    )
    command.set_defaults(run=apply.run)

    compare.add(commands)

    text = "list the functions by family"
    command = commands.add_parser("list", help=text, description=f"{text}, those with all of:")
    command.add_argument("--family", metavar="NAME", help="a family, such as rectifiers")
    command.add_argument(
        "--in", dest="library", metavar="LIBRARY", help="another library that has it, such as torch"
    )
    for trait, (meaning, _) in TRAITS.items():
        command.add_argument(f"--{trait}", action="store_true", help=meaning)
    command.add_argument("--markdown", action="store_true", help="print the page docs/functions.md")
    command.set_defaults(run=show.run_list)

    text = "show the graph and the documentation of a function"
    command = commands.add_parser("show", help=text, description=text)
    command.add_argument("name", metavar="NAME")
    command.set_defaults(run=show.run_show)

    text = "draw functions and their derivatives"
    command = commands.add_parser(
        "plot", help=text, description=f"{text}, in a window or to a file."
    )
    command.add_argument("names", metavar="NAME", nargs="+", help="names or aliases")
    command.add_argument("--derivative", action=argparse.BooleanOptionalAction, default=True)
    command.add_argument(
        "--param",
        metavar="KEY=VALUE[,VALUE...]",
        action="append",
        default=[],
        help="values of a parameter, one curve each; may be repeated",
    )
    command.add_argument("--range", nargs=2, type=float, metavar=("LOW", "HIGH"))
    command.add_argument(
        "--accuracy", action="store_true", help="draw errors beside those of other libraries"
    )
    command.add_argument("-o", "--output", metavar="FILE.svg|png|pdf", type=Path)
    command.add_argument("--force", action="store_true", help="overwrite FILE")
    command.set_defaults(run=plot.run)
    return parser


def _check(args: argparse.Namespace) -> int:
    with needs_extra("check computes exact values with mpmath", "cli"):
        import mpmath  # noqa: F401
    from . import check

    return check.run(args)
