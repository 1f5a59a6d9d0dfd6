"""NumPy under the names of the array API standard, with what implementations ask for besides."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..._definition import Definition
from ...numerics.arrays import slice_axis
from ...numerics.special import log1p
from .. import generic
from . import trace

_KINDS = {
    "b": "bool",
    "i": "integral",
    "u": "integral",
    "f": "real floating",
    "c": "complex floating",
}


def isdtype(dtype: Any, kinds: str | tuple[str, ...]) -> bool:
    kind = _KINDS.get(dtype.kind) or ("real floating" if dtype.name == "bfloat16" else None)
    if kind == "real floating" and dtype.itemsize == 1:  # a float8 of ml_dtypes has the kind "f"
        return False
    return kind in ((kinds,) if isinstance(kinds, str) else kinds)


def _finfo(dtype: Any) -> Any:
    return np.finfo(np.float16 if dtype.name == "bfloat16" else dtype)


def _through_float64(ufunc: Any) -> Callable[[Any], Any]:
    """Compute float32 in float64, in the ufunc's buffers: NumPy's float32 is 2 to 4 ulp off."""

    def rounded(x: Any) -> Any:
        if x.dtype != np.float32:
            return ufunc(x)
        return ufunc(x, out=np.empty_like(x), dtype=np.float64, casting="same_kind")

    return rounded


def _with_log1p(xp: Any) -> Any:
    """Replace NumPy's log1p, which is less accurate than ours."""
    return generic.extend_namespace(xp, log1p=functools.partial(log1p, xp))


def _is_concrete(x: Any) -> bool:
    return True


def _complex(real: Any, imag: Any) -> Any:
    """Return a complex array; real + imag*1j makes NaN of infinities."""
    z = np.empty(np.broadcast_shapes(real.shape, imag.shape), np.result_type(real, np.complex64))
    z.real, z.imag = real, imag
    return z


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum, made in pairs along every axis.

    NumPy's own is so along the axis of neighbours in memory. Along another it adds the elements one
    after the other, and each addition may lose half a unit in the last place of the sum.
    """
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    are_last = x.flags.c_contiguous and sorted(axes) == list(range(x.ndim))[x.ndim - len(axes) :]
    if not are_last:
        least = min(map(abs, x.strides))
        far = [i for i in axes if abs(x.strides[i]) > least]
        while prod(x.shape[i] for i in far) > SHORT_SUM:
            i = max(far, key=lambda i: x.shape[i])
            half, is_odd = divmod(x.shape[i], 2)
            pairs = slice_axis(x, i, slice(half)) + slice_axis(x, i, slice(half, 2 * half))
            if is_odd:
                slice_axis(pairs, i, slice(1))[...] += slice_axis(x, i, slice(2 * half, None))
            x = pairs
    return np.sum(x, axis=axis, keepdims=keepdims)


_INEXACT = (np.exp, np.expm1, np.log)
_plain = generic.extend_namespace(
    np,
    isdtype=isdtype,
    finfo=_finfo,
    is_concrete=_is_concrete,
    fast_exp=np.exp,
    complex=_complex,
    sum=_sum,
)
XP = _with_log1p(
    generic.extend_namespace(_plain, **{f.__name__: _through_float64(f) for f in _INEXACT})
)
"""NumPy with the bfloat16 of ml_dtypes as a floating dtype."""

UNCOMPENSATED = generic.extend_namespace(_plain, is_uncompensated=True)
"""The namespace of float64 computations whose result is rounded to float32, and of float32 ones
that may be a few units off."""

SHORT_SUM = 8
"""As many numbers may be added one after the other: four units in the last place may be lost."""


class _NeedsFloat64Error(Exception):
    """A function was called that is accurate in float32 only through float64."""


def _refuse(x: Any) -> Any:
    raise _NeedsFloat64Error


_probing = _with_log1p(generic.extend_namespace(_plain, **{f.__name__: _refuse for f in _INEXACT}))


@functools.lru_cache(generic.MAX_CACHED_KERNELS, typed=True)
def needs_float64(definition: Definition, arguments: tuple[Any, ...]) -> bool:
    """Return whether the implementation calls such a function in float32.

    It is faster in float64 then. This runs for every new number among the parameters: a run up to
    the first such call takes a third of the time of a trace.
    """
    one = np.ones(1, np.float32)
    values = tuple(one if trace.is_input(value) else value for value in arguments)
    try:
        with np.errstate(all="ignore"):
            generic.evaluate(definition, _probing, one, values, one.dtype, one.dtype)
    except _NeedsFloat64Error:
        return True
    return False
