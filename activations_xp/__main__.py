"""The command line: check every function on the libraries here, or apply one to a file."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import inspect
import itertools
import math
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import __version__
from ._activation import Definition, get, names
from ._dispatch import implementation
from ._docstring import interval
from ._oracle import ACCEPTED, default_engine, difference, truth
from ._parameters import along, check

MAKERS = {
    "numpy": ("numpy", "asarray"),
    "array_api_strict": ("array_api_strict", "asarray"),
    "torch": ("torch", "tensor"),
    "jax": ("jax.numpy", "asarray"),
    "cupy": ("cupy", "asarray"),
    "dask": ("dask.array", "from_array"),
}
"""For a library, the module and its function that makes an array of a NumPy array."""

BLOCK = 2**18
_DIGITS = 120
"""Ample for float32, and the decimal engine is three times as fast as with those for float64."""

_EXPECTED = (
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = _parser().parse_args(argv)
    try:
        with implementation(args.implementation):
            status: int = args.run(args)
            return status
    except KeyboardInterrupt:
        print("activations_xp: interrupted", file=sys.stderr)
        return 130
    except _EXPECTED as error:
        reason = " ".join(str(error).split()).removeprefix("get: ")
        print(f"activations_xp: {reason or type(error).__name__}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    choice: dict[str, Any] = {
        "choices": ("auto", "portable"),
        "help": "a library's own kernel where it is as accurate as ours (auto), or always ours",
    }
    parser = _Parser(prog="activations_xp", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--implementation", default="auto", **choice)
    parser.set_defaults(run=_check)
    commands = parser.add_subparsers(metavar="COMMAND")

    text = "run every function on every library here and compare with the oracle (the default)"
    command = commands.add_parser("check", help=text, description=text)
    command.add_argument("--implementation", default=argparse.SUPPRESS, **choice)

    text = "apply a function to the array in a .npy file"
    command = commands.add_parser(
        "apply",
        help=text,
        description=f"{text}, in blocks, so that the file may be larger than memory. A function "
        "along an axis (softmax) takes blocks of the axes that are stored outside of that axis, "
        "and all at once where there are none; one that changes its axis (maxout) takes all at "
        "once. The result has the dtype and the order of the input.",
    )
    command.add_argument("name", metavar="NAME", help="any name or alias that `list` shows")
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
        "--force", action="store_true", help="replace OUT.npy, which may be IN.npy"
    )
    command.set_defaults(run=_apply)

    text = "list all functions"
    command = commands.add_parser("list", help=text, description=text)
    command.add_argument("--markdown", action="store_true", help="as a table for GitHub")
    command.set_defaults(run=_list)

    text = "show the page of a function"
    command = commands.add_parser("show", help=text, description=text)
    command.add_argument("name", metavar="NAME")
    command.set_defaults(run=_show)
    return parser


def _lookup(name: str) -> tuple[Any, dict[str, Any]]:
    """The function of this name and the parameters that the name binds."""
    function = get(name)
    if isinstance(function, functools.partial):
        return function.func, function.keywords
    return function, {}


def _check(args: argparse.Namespace) -> int:
    portable = args.implementation == "portable"
    makers = {}
    for library in MAKERS:
        try:
            makers[library] = _maker(library)
        except ImportError:
            continue
    rows, faults = [], []
    with _progress("checking", len(names())) as advance:
        for name in names():
            cells, wrong = _examine(name, makers, portable)
            rows.append([name, _lookup(name)[0].definition.variants[0].formula, *cells])
            faults += wrong
            advance(1)
    unit = "ulp" if portable else "eps * max(|f|, min(|x|, 1))"
    bound = "the function's own bound" if portable else f"{ACCEPTED:g} and its own bound"
    _print_table(
        ["function", "formula", *makers],
        rows,
        f"Largest error for float32, in {unit}; ! is over {bound}.",
    )
    print(f"\nactivations_xp {__version__}, oracle in {default_engine()}")
    for library in ("array_api_compat", *makers):
        version = importlib.import_module(library).__version__
        print(f"{library} {version}{_devices(library)}")
    if faults:
        print(f"activations_xp: {'; '.join(faults)}", file=sys.stderr)
    return int(bool(faults))


def _maker(library: str) -> Callable[[Any], Any]:
    module, function = MAKERS[library]
    maker: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return maker


def _examine(
    name: str, makers: Mapping[str, Callable[[Any], Any]], portable: bool
) -> tuple[list[str], list[str]]:
    """A function's cells, one for each library, and what is wrong with them."""
    function, _ = _lookup(name)
    definition: Definition = function.definition
    first = definition.variants[0]
    x = _points(definition)
    exact = truth(first.formula, x, {**definition.defaults, **first.parameters}, digits=_DIGITS)
    # along an axis an element may be next to nothing beside those that made it
    strict = (portable and definition.axis is None) or not definition.keeps_shape
    budget = first.ulp if strict else max(ACCEPTED, first.ulp)
    float32 = np.finfo(np.float32)
    size = abs(exact)
    counted = (size <= float(float32.max)) & (size >= (float(float32.tiny) if strict else 0))

    def distance(got: Any, other: Any) -> float:
        with np.errstate(all="ignore"):
            apart = difference(got, other, None if strict else x)[counted]
        return float(np.max(apart, initial=0.0))

    cells, faults, gaps = [], [], []
    results: dict[str, Any] = {}
    for library, make in makers.items():
        try:
            with np.errstate(all="ignore"):
                got = _to_numpy(function(make(x), **first.parameters))
            error = distance(got, exact)
        except Exception as exception:
            cells.append(f"{type(exception).__name__} !")
            faults.append(f"{name}: {library} raised {type(exception).__name__}")
            continue
        results[library] = got
        good = error <= budget  # which NaN is not
        cells.append(f"{error:.3g}" if good else f"{error:.3g} !")
        if not good:
            gaps.append(f"{library} is off by {error:.3g} ulp")
    for (a, left), (b, right) in itertools.combinations(results.items(), 2):
        apart = distance(left, right.astype(object))
        if not apart <= budget:
            gaps.append(f"{a} and {b} differ by {apart:.3g} ulp")
    if gaps:
        faults.append(f"{name}: {', '.join(gaps)}")
    return cells, faults


def _points(definition: Definition) -> np.ndarray[Any, Any]:
    """An even number of points; along an axis none beside which the others would vanish."""
    points = [np.linspace(-20, 20, 402), np.asarray(definition.properties.kinks)]
    if definition.axis is None:
        scales = np.logspace(-30, 3, 100)
        points += [scales, -scales]
    low, high = definition.properties.defined
    if high - low < math.inf:
        points.append(np.linspace(low, high, 402))
    x = np.unique(np.concatenate(points).astype(np.float32))
    x = x[(x >= low) & (x <= high)]
    return x[: len(x) // 2 * 2]


def _to_numpy(y: Any) -> np.ndarray[Any, Any]:
    if hasattr(y, "compute"):  # dask's, in this thread and with its error state
        y = y.compute(scheduler="synchronous")
    if hasattr(y, "get"):  # cupy's
        y = y.get()
    return np.asarray(y)


def _devices(library: str) -> str:
    module = sys.modules[library]
    if library == "torch":
        cuda = range(module.cuda.device_count())
        found = ["cpu", *(f"cuda:{i} {module.cuda.get_device_name(i)}" for i in cuda)]
    elif library == "jax":
        found = [f"{device.platform}:{device.id}" for device in module.devices()]
    elif library == "cupy":
        found = [f"cuda:{i}" for i in range(module.cuda.runtime.getDeviceCount())]
    else:
        return ""
    return f" on {', '.join(found)}"


def _apply(args: argparse.Namespace) -> int:
    function, bound = _lookup(args.name)
    definition: Definition = function.definition
    given = {**bound, **dict(_parameter(text) for text in args.param)}
    for name in given:
        if name not in definition.parameters:
            known = ", ".join(definition.parameters) or "none"
            raise TypeError(f"{args.name} has no parameter {name!r}; its parameters: {known}")
    given = {**definition.defaults, **given}
    for name in definition.parameters:
        if name not in given:
            raise TypeError(f"{args.name} needs --param {name}=VALUE")
    try:
        if args.backend == "jax":
            importlib.import_module("jax").config.update("jax_enable_x64", True)
        make = _maker(args.backend)
    except ImportError:
        raise ImportError(f"--backend {args.backend}: {args.backend} is not installed") from None
    x = _open(args.input)
    if x.dtype == "V2":
        raise TypeError(f"{args.input}: |V2 may be bfloat16, which .npy cannot say; save float32")
    if args.output.is_dir():
        raise IsADirectoryError(f"{args.output} is a directory")
    if args.output.exists() and not args.force:
        raise FileExistsError(f"{args.output} exists; --force replaces it")
    values = [given[name] for name in definition.parameters]
    good = dict(zip(definition.parameters, check(definition, x, tuple(values)), strict=True))
    with _replacing(args.output) as file:
        _write(file, function, x, good, make)
    return 0


def _parameter(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--param must be KEY=VALUE, got {text!r}")
    if value.startswith("@"):
        return name, _open(Path(value[1:]))
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _open(path: Path) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that becomes `path` when all is written, and nothing when something fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(
    file: BinaryIO,
    function: Any,
    x: np.ndarray[Any, Any],
    parameters: Mapping[str, Any],
    make: Callable[[Any], Any],
) -> None:
    """The function of x as a .npy file, block by block in the order of storage."""
    definition: Definition = function.definition
    fortran = x.flags.f_contiguous and not x.flags.c_contiguous
    dtype = x.dtype.newbyteorder("=")
    arrays = {name: p for name, p in parameters.items() if isinstance(p, np.ndarray)}
    if definition.keeps_shape:
        arrays = {name: _spread(definition, name, p, x, parameters) for name, p in arrays.items()}

    def turned(a: Any) -> Any:
        return a.T if fortran else a

    def block(a: np.ndarray[Any, Any], index: tuple[slice, ...]) -> Any:
        part = np.asarray(turned(turned(a)[index]))
        return make(part.astype(part.dtype.newbyteorder("="), copy=False))

    def result(index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        here = {name: block(a, index) for name, a in arrays.items()}
        y = np.asarray(function(block(x, index), **{**parameters, **here}))
        if y.dtype != dtype:
            raise TypeError(f"{definition.name} of {dtype} is {y.dtype}; convert the input to that")
        return y.astype(x.dtype, copy=False)

    if not definition.keeps_shape:
        np.save(file, np.asarray(result(()), order="F" if fortran else "C"))
        return
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(x))
    with _progress("applying", x.size, after=1.0) as advance:
        for index in _blocks(turned(x).shape, _free_axes(definition, x.ndim, fortran, parameters)):
            y = result(index)
            file.write(turned(y).tobytes())
            advance(y.size)


def _spread(
    definition: Definition,
    name: str,
    value: np.ndarray[Any, Any],
    x: np.ndarray[Any, Any],
    parameters: Mapping[str, Any],
) -> np.ndarray[Any, Any]:
    """A view of the array parameter in the shape of x, to be cut into the same blocks."""
    axis = parameters.get("axis")
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    value = along(np, definition.name, name, value, x, axes)
    return np.broadcast_to(value, x.shape)


def _free_axes(
    definition: Definition, ndim: int, fortran: bool, parameters: Mapping[str, Any]
) -> int:
    """How many of the axes, from the outermost in storage, the function does not work along."""
    if definition.axis is None:
        return ndim
    axis = parameters["axis"]
    axes = axis if isinstance(axis, tuple) else (axis,)
    return min((ndim - 1 - a if fortran else a for a in axes), default=ndim)


def _blocks(shape: tuple[int, ...], free: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array of this shape along its first `free` axes into blocks that are contiguous."""
    if free == 0 or math.prod(shape) <= BLOCK:
        yield ()
        return
    step = max(1, BLOCK // math.prod(shape[1:]))
    for start in range(0, shape[0], step):
        for rest in _blocks(shape[1:], free - 1):
            yield slice(start, start + step), *rest


def _list(args: argparse.Namespace) -> int:
    if args.markdown:
        print(markdown_table(), end="")
    else:
        rows = [
            [name, formula, span, ", ".join(also)] for name, formula, span, also in _catalogue()
        ]
        _print_table(["function", "formula", "range", "aliases"], rows)
    return 0


def _catalogue() -> Iterator[tuple[str, str, str, list[str]]]:
    for name in names():
        definition: Definition = _lookup(name)[0].definition
        implied = [a for v in definition.variants for a in v.aliases]
        aliases = [*definition.aliases, *implied, *definition.presets]
        yield name, definition.formula, interval(definition.properties.range), aliases


def markdown_table() -> str:
    """All functions as a table of GitHub's markdown, with the peers' names for them."""
    rows = []
    for name, formula, span, aliases in _catalogue():
        peers = [
            f"{library} {_code(path.split()[0].rpartition('.')[2])}"
            for library, path in _lookup(name)[0].definition.elsewhere.items()
        ]
        rows.append(
            (_code(name), _code(formula), span, ", ".join(peers), ", ".join(map(_code, aliases)))
        )
    lines = [("function", "formula", "range", "elsewhere", "further names"), ("---",) * 5, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    return "`" + text.replace("|", r"\|") + "`"


def _show(args: argparse.Namespace) -> int:
    function, bound = _lookup(args.name)
    name = function.__name__
    if args.name != name:
        parameters = ", ".join(f"{key}={value!r}" for key, value in bound.items())
        print(f"{args.name} is {name}{f' with {parameters}' if bound else ''}.\n")
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    print(f"{name}{signature.replace(parameters=plain, return_annotation=signature.empty)}\n")
    print(function.__doc__, end="")
    return 0


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> None:
    try:
        import rich.console
        import rich.table
        import rich.text
    except ImportError:
        _print_plainly([columns, *rows], caption)
        return
    table = rich.table.Table(*columns, caption=caption)
    for row in rows:
        table.add_row(*(rich.text.Text(c, "red" if c.endswith("!") else "") for c in row))
    width = None if sys.stdout.isatty() else 120
    rich.console.Console(width=width).print(table)


def _print_plainly(rows: Iterable[Sequence[str]], caption: str) -> None:
    wrapped = [[textwrap.wrap(cell, 44) or [""] for cell in row] for row in rows]
    widths = [
        max(len(line) for cell in column for line in cell) for column in zip(*wrapped, strict=True)
    ]
    for row in wrapped:
        for lines in itertools.zip_longest(*row, fillvalue=""):
            print("  ".join(map(str.ljust, lines, widths)).rstrip())
    if caption:
        print(f"\n{caption}")


@contextmanager
def _progress(title: str, total: int, *, after: float = 0.0) -> Iterator[Callable[[int], None]]:
    """What to call with each amount done: a bar, on a terminal, once `after` seconds are over."""
    begun = time.monotonic()
    done = 0
    show: Callable[[int], None] | None = None

    def advance(amount: int) -> None:
        nonlocal done, show
        done += amount
        if show is None and sys.stderr.isatty() and time.monotonic() - begun >= after:
            show = stack.enter_context(_bar(title, total))
        if show is not None:
            show(done)

    with ExitStack() as stack:
        yield advance


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    try:
        import rich.console
        import rich.progress
    except ImportError:
        try:
            yield lambda done: print(
                f"\r{title} {done}/{total}", end="", file=sys.stderr, flush=True
            )
        finally:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    else:
        console = rich.console.Console(stderr=True)
        with rich.progress.Progress(console=console, transient=True) as progress:
            task = progress.add_task(title, total=total)
            yield lambda done: progress.update(task, completed=done)


if __name__ == "__main__":
    sys.exit(main())
