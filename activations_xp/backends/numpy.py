"""NumPy: the computation on NumPy itself, without its warnings, or NumPy's own function.

What has 16 bits has 65 536 values: once as many are asked for, they are looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .._definition import Definition
from .._gradients import shape_of_parameter
from .._special import log1p
from .._typing import NUMBER, Kernel, Precision
from . import _blocks, _tape, generic
from .base import Backend

_KINDS = {"b": "bool", "i": "integral", "u": "integral", "f": "real floating"}


def _isdtype(dtype: Any, kinds: str | tuple[str, ...]) -> bool:
    kind = "real floating" if dtype.name == "bfloat16" else _KINDS.get(dtype.kind)
    return kind in ((kinds,) if isinstance(kinds, str) else kinds)


def _finfo(dtype: Any) -> Any:
    return np.finfo(np.float16 if dtype.name == "bfloat16" else dtype)


def _by_float64(function: Any) -> Callable[[Any], Any]:
    """NumPy's function, whose float32 is 2 to 4 units off: float64's, rounded in its buffers."""

    def rounded(x: Any) -> Any:
        if x.dtype != np.float32:
            return function(x)
        return function(x, out=np.empty_like(x), dtype=np.float64, casting="same_kind")

    return rounded


def _with_log1p(xp: Any) -> Any:
    """Its own log1p is not as accurate as ours."""
    return generic.extend_namespace(xp, log1p=functools.partial(log1p, xp))


def _can_read(x: Any) -> bool:
    return True


_INEXACT = (np.exp, np.expm1, np.log)
_plain = generic.extend_namespace(
    np, isdtype=_isdtype, finfo=_finfo, is_concrete=_can_read, fast_exp=np.exp
)
xp = _with_log1p(generic.extend_namespace(_plain, **{f.__name__: _by_float64(f) for f in _INEXACT}))
"""NumPy, where the bfloat16 of ml_dtypes is a floating dtype and none is refused with an error."""

_spare = generic.extend_namespace(_plain, rounds_to_float32=True)
"""The same for float64 of which float32 is to be made."""

_recording, _recording_spare = _with_log1p(_tape.namespace(_plain)), _tape.namespace(_spare)


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


def bind(definition: Definition, which: Precision, kind: type) -> Kernel:
    """A kernel that runs NumPy's own function or the computation."""
    if kind is not np.ndarray:
        plain = bind(definition, which, np.ndarray)
        if issubclass(kind, (np.generic, *NUMBER)):
            return _on_scalars(plain)
        return lambda x, *parameters, **out: plain(np.asarray(x), *parameters, **out)
    native = NATIVE.get(definition.name) if which == "fast" else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        values = definition.check(x, parameters, BACKEND)
        default = np.dtype(np.float64)
        compute, result = generic.compute_and_result_dtypes(
            definition, xp, x, values, default, exact_rounding=True
        )
        constant = not any(isinstance(value, np.ndarray) for value in values)
        own = native(*values) if native and constant and compute == result else None
        if own is None:
            native_bytes = np.dtype(compute).newbyteorder("=")  # or it is not xp.float32
            run = _portable(definition, values, x.dtype, native_bytes, result)
            if (
                definition.is_elementwise
                and constant
                and x.dtype == result
                and result.itemsize == 2
            ):
                run = _looked_up(run, result.newbyteorder("="))
            return run, constant
        if x.dtype != result or not result.isnative:
            return lambda x, out=None: _exactly(own(x.astype(result)), result), constant
        return _in_blocks(own, result), constant

    return generic.cached_kernel(definition, make)


def _on_scalars(kernel: Kernel) -> Kernel:
    def on_scalar(x: Any, *parameters: Any, out: Any = None) -> Any:
        value = kernel(np.asarray(x), *parameters, out=out)
        return value if value is out else generic.tree_map(lambda part: part[()], value)

    return on_scalar


def _portable(
    definition: Definition, values: tuple[Any, ...], dtype: Any, compute: Any, result: Any
) -> Callable[[Any], Any]:
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    told = tuple(v.dtype if isinstance(v, np.ndarray) else v for v in values)
    space, recording = xp, _recording
    if definition.is_elementwise and compute == np.float32 and _takes_64_bits(definition, told):
        compute, space, recording = np.dtype(np.float64), _spare, _recording_spare
    is_recorded = definition.is_elementwise and result.itemsize in (4, 8)
    axes = dict(zip(definition.parameters, values, strict=True)).get("axis")
    axes = axes if isinstance(axes, tuple) else (axes,)
    in_rows = definition.output_axis == "kept"
    program: _tape.Program | None = None
    was_run = False

    @np.errstate(all="ignore")
    def evaluate(x: Any) -> Any:
        return generic.evaluate(definition, space, x, values, compute, result)

    def run(x: Any, out: Any = None) -> Any:
        nonlocal was_run, program
        if program is not None:
            return program.run(x, out=out)
        if is_recorded and (x.size > _blocks.LARGE or was_run):
            if not arrays:
                program = _tape.program(recording, definition, dtype, compute, result, *told)
                return program.run(x, out=out)
            if all(v.shape == x.shape for v in arrays):
                now = _tape.program(recording, definition, dtype, compute, result, *told)
                return now.run(x, *arrays, out=out)
        if in_rows and len(axes) < x.ndim and x.size * compute.itemsize > _blocks.BLOCK:
            return _in_rows(definition, x, values, axes, compute, result, out)
        was_run = True  # what is never called again is not worth a record
        return _exactly(evaluate(x))

    return run


class _Takes64BitsError(Exception):
    """A function was called whose float32 is exact by float64 alone."""


def _raise(x: Any) -> Any:
    raise _Takes64BitsError


_asking = _with_log1p(generic.extend_namespace(_plain, **{f.__name__: _raise for f in _INEXACT}))


@functools.lru_cache(_tape.PROGRAMS, typed=True)
def _takes_64_bits(definition: Definition, told: tuple[Any, ...]) -> bool:
    """Whether float32 calls for such a function: then it is faster in float64 throughout."""
    one = np.ones(1, np.float32)
    values = tuple(one if isinstance(value, np.dtype) else value for value in told)
    try:
        with np.errstate(all="ignore"):
            generic.evaluate(definition, _asking, one, values, one.dtype, one.dtype)
    except _Takes64BitsError:
        return True
    return False


def _in_rows(
    definition: Definition,
    x: Any,
    values: tuple[Any, ...],
    axes: tuple[int, ...],
    compute: Any,
    result: Any,
    out: Any,
) -> Any:
    """The computation of an array so large that it is done part by part."""
    varies = [
        isinstance(value, np.ndarray)
        and shape_of_parameter(definition, values, name, value, x) == value.shape
        for name, value in zip(definition.parameters, values, strict=True)
    ]

    def run(x: Any, *parts: Any) -> Any:
        rest = iter(parts)
        now = tuple(next(rest) if v else w for v, w in zip(varies, values, strict=True))
        return generic.evaluate(definition, xp, x, now, compute, result)

    others = [value for value, v in zip(values, varies, strict=True) if v]
    out = out if _blocks.takes(out, (x, *others), result) else None
    return _blocks.in_rows(run, x, others, axes, compute, result, out)


def _in_blocks(own: Callable[..., Any], dtype: Any) -> Callable[[Any], Any]:
    """NumPy's own function, of an array that is enough for several threads in blocks."""

    def write(x: Any, out: Any) -> None:
        own(x, out=out)

    def run(x: Any, out: Any = None) -> Any:
        if out is None and x.nbytes < _blocks.BLOCK:
            return own(x) if x.ndim else np.asarray(own(x))
        if not _blocks.takes(out, (x,), dtype):
            out = np.empty_like(x, dtype)
        _blocks.in_blocks(write, (x,), (out,))
        return out

    return run


def _looked_up(run: Callable[[Any], Any], dtype: Any) -> Callable[[Any], Any]:
    """The same of arrays of 16-bit floats, from a table made when it begins to pay."""
    seen, table = 0, None

    def look_up(x: Any, out: Any = None) -> Any:
        nonlocal seen, table
        if table is None:
            seen += x.size
            if seen < PATTERNS:
                return run(x)
            table = run(np.arange(PATTERNS, dtype=np.uint16).view(dtype))
        if x.size <= _blocks.LARGE:
            index = x.astype(dtype, copy=False).view(np.uint16)
            return generic.tree_map(lambda part: np.asarray(part[index]), table)
        parts = generic.tree_leaves(table)

        def fill(x: Any, *results: Any) -> None:
            index = x.astype(dtype, copy=False).view(np.uint16)
            for part, result in zip(parts, results, strict=True):
                np.take(part, index, out=result, mode="wrap")  # for "raise" takes a buffer

        if _blocks.takes(out, (x,), dtype):
            made = [out]
        else:
            made = [np.empty_like(x, dtype) for _ in parts]
        width = np.dtype(np.intp).itemsize  # which the index becomes
        _blocks.in_blocks(fill, (x,), made, width)
        return generic.tree_unflatten(made, table)

    return look_up


def _exactly(value: Any, dtype: Any = None) -> Any:
    """As arrays of this dtype, where NumPy makes scalars of 0-d arrays and swaps bytes."""
    return generic.tree_map(
        lambda part: part if part is None else np.asarray(part, dtype=dtype), value
    )


class NumpyBackend(Backend):
    """NumPy, and Python numbers as its scalars."""

    name = "numpy"
    xp = xp

    def owns(self, x: Any) -> bool:
        is_array = isinstance(x, (np.ndarray, np.generic))
        return is_array and not isinstance(x, (np.ma.MaskedArray, np.matrix))

    def device(self, x: Any) -> Any:
        return None

    def bind(self, definition: Definition, precision: Precision, kind: type) -> Kernel:
        return bind(definition, precision, kind)

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        rng = np.random.default_rng() if rng is None else rng
        if not isinstance(rng, np.random.Generator):
            raise TypeError("a numpy.random.Generator or None")
        is_short = self.isdtype(like, ("real floating",)) and like.dtype.itemsize <= 4
        return rng.random(shape, np.float32 if is_short else np.float64)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        return np.empty(0, dtype) if isinstance(rng, np.random.Generator) else None

    def call_with_out(self, out: Any, is_own: bool, call: Callable[..., Any], x: Any) -> Any:
        return call(x, out=out if is_own else None)


BACKEND = NumpyBackend()
