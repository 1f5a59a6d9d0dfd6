"""The judge of computations in float32 that carry no rounding errors along."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np

from .._definition import Definition
from .._typing import NUMBER, Namespace
from . import generic

_FAST_ERROR = 4.0
"""The largest error of a fast computation at the numbers of `_SAMPLE`, half of what is promised."""

_ENDS = [0.0, 1e-45, 1e-38, 1e-20, 1e10, 1e20, 1e30, 3e38, inf, 87.0, 89.0, 103.0, 105.0]
_SIZES = 2.0 ** np.linspace(-30, 8, 250)
_SAMPLE = np.concatenate(
    [_ENDS, np.negative(_ENDS), [nan], np.linspace(-12, 12, 401), _SIZES, -_SIZES]
).astype(np.float32)
"""Numbers of all sizes, at which a fast computation is judged."""

_TINY = 2.0**-126
"""The smallest normal number."""

_EXACT = generic.extend_namespace(np, is_uncompensated=True)
"""NumPy, which computes in float64 what float32 is compared with."""


@functools.lru_cache(generic.MAX_CACHED_KERNELS, typed=True)
@np.errstate(all="ignore")
def is_fast_enough_in_float32(
    definition: Definition,
    values: tuple[Any, ...],
    xp: Namespace,
    device: Any = None,
    impl: Callable[..., Any] | None = None,
    free: tuple[str, ...] = (),
    compiler: Callable[[Any], Any] | None = None,
    gate: str | None = None,
) -> bool:
    """Return whether float32 alone keeps the promise of the precision "fast".

    Limits, NaN and the signs of zeros are exact, and the error is judged in units of
    ``eps * max(abs(f(x)), min(abs(x), 1))``.

    Parameters
    ----------
    values : the parameters; anything but numbers, strings and None stands for an array, whose
        numbers are not known, so that only a cotangent may be one
    xp, device : the namespace and the device that compute it
    impl : the function of `_gradients` that is computed in place of the implementation
    free : the names of numbers that are arrays where it is computed
    compiler : what a function is compiled by; it may take subnormal numbers for 0
    gate : the parameter that is the other half of x, if it is an array
    """
    given = definition.bind(values)
    if gate is not None:
        del given[gate]
    cotangent = given.pop("g", None)
    if isinstance(cotangent, NUMBER):  # of a single element
        return False
    if any(map(_is_array, given.values())):
        return False

    def evaluate(xp: Namespace, dtype: Any, x: Any) -> list[Any]:
        numbers = given | {name: xp.asarray([given[name]], dtype=dtype) for name in free}
        if cotangent is not None:
            numbers["g"] = xp.ones_like(x)
        if gate is not None:  # where its own half is 1, all else is an exact product
            numbers[gate], x = x, xp.ones_like(x)
        values = tuple(numbers[name] for name in definition.parameters)
        return generic.tree_leaves(generic.evaluate(definition, xp, x, values, dtype, dtype, impl))

    compute = functools.partial(evaluate, xp, xp.float32)
    fast = (compiler(compute) if compiler else compute)(xp.asarray(_SAMPLE, device=device))
    exact = evaluate(_EXACT, np.dtype(np.float64), _SAMPLE)
    may_flush = compiler is not None
    return all(_is_close(a, b, may_flush) for a, b in zip(fast, exact, strict=True))


def _is_array(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_array, value))
    return not (value is None or isinstance(value, (*NUMBER, str)))


def _is_close(fast: Any, exact: Any, may_flush: bool) -> bool:
    fast = np.asarray(fast.tolist())  # which every library has, on every device
    size = np.abs(_SAMPLE.astype(np.float64))
    error = np.abs(fast - exact)
    underflows = (exact != 0) & np.isfinite(_SAMPLE)
    has_sign = (fast != 0) | underflows | (np.signbit(fast) == np.signbit(exact))
    is_same = (fast == exact.astype(np.float32)) | ((fast != fast) & (exact != exact))
    unit = 2.0**-23 * np.maximum(np.abs(exact), np.minimum(size, 1))
    is_close = np.isfinite(_SAMPLE) & (error <= _FAST_ERROR * unit)
    is_flushed = may_flush & (size < _TINY) & ((fast == exact[0]) | (error < _TINY))
    return bool(np.all(has_sign & (is_same | is_close) | is_flushed))
