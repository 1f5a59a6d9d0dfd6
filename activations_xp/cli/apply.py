"""Apply a function to the array in a .npy file, block by block."""

from __future__ import annotations

import argparse
import ast
import codecs
import importlib
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._definition import Definition
from .._dispatch import backend_of
from ..numerics.arrays import broadcast_along
from .libraries import array_maker
from .output import check_writable, progress, replacing
from .show import lookup

BLOCK_SIZE = 2**18
"""The largest number of elements in a block."""


def run(args: argparse.Namespace) -> int:
    """Write the function of the array in one file to another file."""
    function, bound = lookup(args.name)
    definition: Definition = function.definition
    if not definition.is_activation:
        raise TypeError(f"{args.name} takes several arrays; apply needs a function of one")
    given = {**bound, **dict(_parse_parameter(text) for text in args.param)}
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
        make = array_maker(args.backend)
    except ImportError:
        raise ImportError(f"--backend {args.backend}: {args.backend} is not installed") from None
    x = _open(args.input)
    if x.dtype == "V2":
        raise TypeError(f"{args.input}: .npy cannot represent bfloat16 (|V2); save float32")
    check_writable(args.output, force=args.force)
    values = tuple(given[name] for name in definition.parameters)
    backend = backend_of(x)
    assert backend is not None  # that of NumPy
    parameters = definition.bind(definition.check(x, values, backend))
    with replacing(args.output) as file:
        _write_result(file, function, x, parameters, make)
    return 0


def _parse_parameter(text: str) -> tuple[str, Any]:
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
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as file:
        start = file.read(1000)
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError(f"{path} is {_describe(path, start)}")
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _describe(path: Path, start: bytes) -> str:
    """Return what a file that begins so is instead of a .npy file, and how to make one of it."""
    if zipfile.is_zipfile(path):
        members = zipfile.ZipFile(path).namelist()
        names = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
        if names:
            made = f"numpy.save(FILE, numpy.load({path.name!r})[NAME])"
            return f"an .npz archive, not a .npy file; {made} makes one of {', '.join(names)}"
    if start and _is_text(start):
        made = f"numpy.save(FILE, numpy.loadtxt({path.name!r}, delimiter=','))"
        return f"text, not a .npy file; {made} makes one"
    return f"{'not a' if start else 'empty, not a'} .npy file, which numpy.save writes"


def _is_text(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # which may end in a letter
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)


def _write_result(
    file: BinaryIO,
    function: Any,
    x: np.ndarray[Any, Any],
    parameters: Mapping[str, Any],
    make: Callable[[Any], Any],
) -> None:
    """Write the function of x as a .npy file, block by block in storage order."""
    definition: Definition = function.definition
    fortran = x.flags.f_contiguous and not x.flags.c_contiguous
    dtype = x.dtype.newbyteorder("=")
    arrays = {name: p for name, p in parameters.items() if isinstance(p, np.ndarray)}
    if definition.keeps_shape:
        arrays = {name: _expand(definition, name, p, x, parameters) for name, p in arrays.items()}

    def to_storage_order(a: Any) -> Any:
        return a.T if fortran else a

    def load(a: np.ndarray[Any, Any], index: tuple[slice, ...]) -> Any:
        block = np.asarray(to_storage_order(to_storage_order(a)[index]))
        return make(block.astype(block.dtype.newbyteorder("="), copy=False))

    def compute(index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        blocks = {name: load(a, index) for name, a in arrays.items()}
        y = np.asarray(function(load(x, index), **{**parameters, **blocks}))
        if y.dtype == dtype:
            return y.astype(x.dtype, copy=False)
        if "num_classes" not in definition.parameters:  # of which x is one by its number
            raise TypeError(f"{definition.name} of {dtype} is {y.dtype}; convert the input to that")
        return y

    if not definition.keeps_shape:
        np.save(file, np.asarray(compute(()), order="F" if fortran else "C"))
        return
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(x))
    num_axes = _num_splittable_axes(definition, x.ndim, fortran, parameters)
    with progress("applying", x.size, delay=1.0) as advance:
        for index in _block_indices(to_storage_order(x).shape, num_axes):
            y = compute(index)
            file.write(to_storage_order(y).tobytes())
            advance(y.size)


def _expand(
    definition: Definition,
    name: str,
    value: np.ndarray[Any, Any],
    x: np.ndarray[Any, Any],
    parameters: Mapping[str, Any],
) -> np.ndarray[Any, Any]:
    """Return a view of an array parameter in the shape of x, to be split into the same blocks."""
    axis = parameters.get("axis")
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    value = broadcast_along(np, definition.name, name, value, x, axes)
    return np.broadcast_to(value, x.shape)


def _num_splittable_axes(
    definition: Definition, ndim: int, fortran: bool, parameters: Mapping[str, Any]
) -> int:
    """Return how many axes, the outermost in storage first, precede those of the function."""
    if definition.is_elementwise:
        return ndim
    axis = parameters["axis"]
    axes = axis if isinstance(axis, tuple) else (axis,)
    return min((ndim - 1 - a if fortran else a for a in axes), default=ndim)


def _block_indices(shape: tuple[int, ...], num_axes: int) -> Iterator[tuple[slice, ...]]:
    """Yield the indices of contiguous blocks, split along the first `num_axes` axes."""
    if num_axes == 0 or math.prod(shape) <= BLOCK_SIZE:
        yield ()
        return
    step = max(1, BLOCK_SIZE // math.prod(shape[1:]))
    for start in range(0, shape[0], step):
        for inner in _block_indices(shape[1:], num_axes - 1):
            yield slice(start, start + step), *inner
