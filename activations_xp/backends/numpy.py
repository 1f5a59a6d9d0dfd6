"""NumPy: the computation on NumPy itself, without its warnings, or NumPy's own function.

What has 16 bits has 65 536 values: once as many are asked for, they are looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._parameters import check
from .._special import log1p
from .._typing import Kernel
from . import _blocks, _tape, generic

if TYPE_CHECKING:
    from .._activation import Definition
    from .._dispatch import Implementation

_KINDS = {"b": "bool", "i": "integral", "u": "integral", "f": "real floating"}


def _isdtype(dtype: Any, kinds: str | tuple[str, ...]) -> bool:
    kind = "real floating" if dtype.name == "bfloat16" else _KINDS.get(dtype.kind)
    return kind in ((kinds,) if isinstance(kinds, str) else kinds)


def _finfo(dtype: Any) -> Any:
    return np.finfo(np.float16 if dtype.name == "bfloat16" else dtype)


_exact = {f.__name__: _tape.by_float64(f) for f in (np.exp, np.expm1, np.log)}
_plain = generic.overlay(np, isdtype=_isdtype, finfo=_finfo)
_rounded = generic.overlay(_plain, **_exact)
xp = generic.overlay(_rounded, log1p=functools.partial(log1p, _rounded))
"""NumPy, where the bfloat16 of ml_dtypes is a floating dtype and none is refused with an error.
Its own log1p takes three times as long as ours."""

_recording = _tape.namespace(_plain, _exact)


PATTERNS = 2**16
"""Of 16 bits."""


def _relu(x: Any, out: Any = None) -> Any:
    return np.maximum(x, 0, out=out)


NATIVE: dict[str, Callable[..., Callable[[Any], Any] | None]] = {
    "relu": lambda negative_slope, max_value, threshold: (
        _relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
    ),
    "tanh": lambda: np.tanh,
}
"""For parameters, NumPy's own function of one array, if it has it."""


def bind(definition: Definition, which: Implementation, kind: type) -> Kernel:
    """A kernel that runs NumPy's own function or the computation."""
    if kind is not np.ndarray:
        plain = bind(definition, which, np.ndarray)
        if issubclass(kind, np.generic):
            return _on_scalars(plain)
        return lambda x, *parameters: plain(np.asarray(x), *parameters)
    native = NATIVE.get(definition.name) if which != "portable" else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        values = check(definition, x, parameters)
        default = np.dtype(np.float64)
        compute, result = generic.precision(definition, xp, x, values, default, wide=True)
        constant = not any(isinstance(value, np.ndarray) for value in values)
        own = native(*values) if native and constant and compute == result else None
        if own is None:
            native_bytes = np.dtype(compute).newbyteorder("=")  # or it is not xp.float32
            run = _portable(definition, values, native_bytes, result)
            if definition.axis is None and constant and x.dtype == result and result.itemsize == 2:
                run = _looked_up(run, result.newbyteorder("="))
            return run, constant
        if x.ndim == 0 or x.dtype != result or not result.isnative:
            return _exactly(lambda x: own(x.astype(result)), result), constant
        return _in_blocks(own, result), constant

    return generic.planned(definition, make)


def bind_numbers(definition: Definition, which: Implementation) -> Kernel:
    """A kernel for Python numbers, which count as NumPy scalars."""
    return _on_scalars(bind(definition, which, np.ndarray))


def _on_scalars(kernel: Kernel) -> Kernel:
    def on_scalar(x: Any, *parameters: Any) -> Any:
        return generic.each(lambda part: part[()], kernel(np.asarray(x), *parameters))

    return on_scalar


def _portable(
    definition: Definition, values: tuple[Any, ...], compute: Any, result: Any
) -> Callable[[Any], Any]:
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    told = tuple(v.dtype if isinstance(v, np.ndarray) else v for v in values)
    in_blocks = definition.axis is None and compute == result and compute.itemsize >= 4
    axes = dict(zip(definition.parameters, values, strict=True)).get("axis")
    axes = axes if isinstance(axes, tuple) else (axes,)
    in_rows = definition.axis == "kept"

    def run(x: Any) -> Any:
        if x.size > _blocks.LARGE:
            if in_blocks and all(v.shape == x.shape for v in arrays):
                kinds = x.dtype, compute, result
                return _tape.program(_recording, definition, *kinds, *told).run(x, *arrays)
            if in_rows and len(axes) < x.ndim and x.nbytes > 4 * _blocks.BLOCK:
                return _in_rows(definition, x, values, axes, compute, result)
        with np.errstate(all="ignore"):
            return generic.evaluate(definition, xp, x, values, compute, result)

    return _exactly(run, result)


def _in_rows(
    definition: Definition,
    x: Any,
    values: tuple[Any, ...],
    axes: tuple[int, ...],
    compute: Any,
    result: Any,
) -> Any:
    """The computation of an array so large that it is done part by part."""
    varies = [
        isinstance(value, np.ndarray)
        and generic.aligned_to(definition, values, name, value, x) == value.shape
        for name, value in zip(definition.parameters, values, strict=True)
    ]

    def run(x: Any, *parts: Any) -> Any:
        rest = iter(parts)
        now = tuple(next(rest) if v else w for v, w in zip(varies, values, strict=True))
        return generic.evaluate(definition, xp, x, now, compute, result)

    others = [value for value, v in zip(values, varies, strict=True) if v]
    return _blocks.in_rows(run, x, others, axes, compute, result)


def _in_blocks(own: Callable[..., Any], dtype: Any) -> Callable[[Any], Any]:
    """NumPy's own function, of an array that is enough for several threads in blocks."""

    def run(x: Any) -> Any:
        if x.nbytes < 4 * _blocks.BLOCK:
            return own(x)
        return _blocks.in_blocks(lambda size: lambda x, out: own(x, out=out), (x,), (dtype,))[0]

    return run


def _looked_up(run: Callable[[Any], Any], dtype: Any) -> Callable[[Any], Any]:
    """The same of arrays of 16-bit floats, from a table made when it begins to pay."""
    seen, table = 0, None

    def look_up(x: Any) -> Any:
        nonlocal seen, table
        if table is None:
            seen += x.size
            if seen < PATTERNS:
                return run(x)
            table = run(np.arange(PATTERNS, dtype=np.uint16).view(dtype))
        if x.size <= _blocks.LARGE:
            index = x.astype(dtype, copy=False).view(np.uint16)
            return generic.each(lambda part: np.asarray(part[index]), table)
        parts: list[Any] = []
        generic.each(parts.append, table)

        def fill(x: Any, *results: Any) -> None:
            index = x.astype(dtype, copy=False).view(np.uint16)
            for part, result in zip(parts, results, strict=True):
                np.take(part, index, out=result, mode="wrap")  # for "raise" takes a buffer

        made = iter(_blocks.in_blocks(lambda size: fill, (x,), [dtype] * len(parts)))
        return generic.each(lambda _: next(made), table)

    return look_up


def _exactly(run: Callable[[Any], Any], result: Any) -> Callable[[Any], Any]:
    """An array of this dtype, where NumPy makes scalars of 0-d arrays and swaps bytes."""
    return lambda x: generic.each(lambda part: np.asarray(part, dtype=result), run(x))
