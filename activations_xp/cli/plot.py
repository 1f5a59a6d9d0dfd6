"""Draw functions in a window or to a file."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from .._errors import needs_extra
from .output import check_writable, replacing
from .show import lookup

FORMATS = ("svg", "png", "pdf")


def run(args: argparse.Namespace) -> int:
    """Draw the functions, and write the file or open a window."""
    with needs_extra("plot draws with matplotlib", "plot"):
        import matplotlib as mpl
    from ..plotting import plot, render

    for name in args.names:  # before a window opens
        lookup(name)
    options = {
        "derivative": args.derivative,
        "parameters": dict(_parse_values(text) for text in args.param),
        "range": args.range,
        "accuracy": args.accuracy,
    }
    if args.output is not None:
        suffix = args.output.suffix.removeprefix(".").lower()
        if suffix not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise ValueError(f"-o {args.output}: the name must end in one of {known}")
        check_writable(args.output, force=args.force)
        picture = render(*args.names, format=suffix, **options)
        with replacing(args.output) as file:
            file.write(picture)
        return 0
    import matplotlib.pyplot as plt

    how = "-o FILE.svg saves the picture"
    try:
        figure, ax = plt.subplots(layout="constrained")
    except ImportError:  # of a window system that MPLBACKEND names
        raise ImportError(f"{mpl.rcParams['backend']} cannot open a window; {how}") from None
    if figure.canvas.required_interactive_framework is None:
        plt.close(figure)
        raise RuntimeError(f"there is no display to open a window on; {how}")
    plot(*args.names, ax=ax, **options)
    plt.show()
    return 0


def _parse_values(text: str) -> tuple[str, list[Any]]:
    """Return the name and the values of ``KEY=VALUE[,VALUE...]``."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--param must be KEY=VALUE[,VALUE...], got {text!r}")
    parsed = _parse(value)
    if isinstance(parsed, str):
        return name, [_parse(part.strip()) for part in parsed.split(",")]
    return name, list(parsed) if isinstance(parsed, tuple) else [parsed]


def _parse(text: str) -> Any:
    """Return a Python literal, an infinity, or the word itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        pass
    try:
        return float(text)
    except ValueError:
        return text
