"""Any library of the array API standard: the computation as it is; and what all backends share."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import device

from .._parameters import NUMBER, aligned, check
from .._special import leading
from .._typing import Array, Kernel, Namespace

if TYPE_CHECKING:
    from .._activation import Definition
    from .._operation import Operation


PLANS = 256
"""How many plans a kernel remembers; a parameter that never stays the same may not fill memory."""


def bind(definition: Definition, xp: Namespace) -> Kernel:
    """The computation on `xp`, checked at every call."""

    def kernel(x: Any, types: tuple[type, ...], *parameters: Any) -> Any:
        values = check(definition, x, parameters)
        dtypes = precision(definition, xp, x, values)
        with np.errstate(all="ignore"):  # many a library is made of NumPy
            return evaluate(definition, xp, x, values, *dtypes)

    return kernel


def precision(
    definition: Definition,
    xp: Namespace,
    x: Array,
    values: tuple[Any, ...],
    default: Any = None,
    wide: bool = False,
) -> tuple[Any, Any]:
    """The dtype to compute in and the dtype to return, for this array and these parameters.

    What has 16 bits is computed in 32; if it is to be `wide` in 64, which leaves nothing to the
    library's last digit: all libraries then give the same bits.
    """
    dtype = x.dtype
    if xp.isdtype(dtype, "real floating"):
        if xp.finfo(dtype).bits < 32:
            return (xp.float64 if wide else xp.float32), dtype
        return dtype, dtype
    if keeps_integers(definition, values) and xp.isdtype(dtype, "integral"):
        return dtype, dtype
    if default is None:
        info = xp.__array_namespace_info__()
        default = info.default_dtypes(device=device(x))["real floating"]
    return default, default


def keeps_integers(definition: Definition, values: tuple[Any, ...]) -> bool:
    """Whether the function is closed over the integers at these parameters."""
    return definition.closed_over_integers and values == tuple(definition.defaults.values())


def planned(
    definition: Definition,
    make: Callable[[Any, tuple[Any, ...]], tuple[Callable[..., Any], bool]],
    is_tracing: Callable[[], bool] | None = None,
) -> Kernel:
    """A kernel that plans once for each dtype and set of parameters.

    The number of dimensions counts, too, where a parameter may be right for some alone.

    ``make(x, parameters)`` checks them, and returns a function of x alone and whether that is
    true for all such x: it is not if it holds an array. While a compiler traces the kernel,
    nothing is remembered. A function that is given `out` as well may write the result to it.
    """
    plans: dict[Any, Callable[..., Any]] = {}
    is_ranked = any(kind.is_for_rank for kind in definition.parameters.values())

    def kernel(x: Any, types: tuple[type, ...], *parameters: Any, out: Any = None) -> Any:
        if is_tracing is not None and is_tracing():
            return make(x, parameters)[0](x)
        # with the types, for an axis of 1 is not one of True
        key = x.dtype, parameters, types, x.ndim if is_ranked else None
        try:
            plan = plans[key]
        except (KeyError, TypeError):  # new, or not hashable
            plan, constant = make(x, parameters)
            if constant and tuple not in types:  # whose elements may be equal and of other types
                if len(plans) >= PLANS:
                    plans.clear()
                plans[key] = plan
        return plan(x) if out is None else plan(x, out)

    return kernel


def evaluate(
    definition: Definition,
    xp: Namespace,
    x: Any,
    values: tuple[Any, ...],
    compute: Any,
    result: Any,
) -> Any:
    """The computation in the dtype `compute`, rounded to the dtype `result`."""

    def cast(array: Any, dtype: Any) -> Any:
        return array if array.dtype == dtype else xp.astype(array, dtype)

    def rounded(part: Any) -> Any:
        if result != compute == xp.float64 and xp.finfo(result).bits < 32:
            return _narrowed(xp, part, result)
        return cast(part, result)

    parameters = [
        value
        if value is None or isinstance(value, (*NUMBER, str)) or not kind.is_real
        else cast(value, compute)
        for kind, value in zip(definition.parameters.values(), values, strict=True)
    ]
    value = definition.computation(xp, cast(x, compute), *parameters)
    return each(rounded, value)


def filled(
    constants: tuple[Any, ...], slots: tuple[int, ...], arrays: Iterable[Any]
) -> tuple[Any, ...]:
    """The constants, with the arrays put in their slots."""
    values = list(constants)
    for slot, array in zip(slots, arrays, strict=True):
        values[slot] = array
    return tuple(values)


def perform(operation: Operation, xp: Namespace, values: tuple[Any, ...]) -> Any:
    """The computation of several arrays; what has 16 bits is computed in 32 and rounded once."""
    result = operation.first(values).dtype

    def cast(array: Any, dtype: Any) -> Any:
        is_floating = hasattr(array, "dtype") and xp.isdtype(array.dtype, "real floating")
        return xp.astype(array, dtype) if is_floating and array.dtype != dtype else array

    if xp.finfo(result).bits < 32:
        values = tuple(each(lambda part: cast(part, xp.float32), value) for value in values)
    # of another dtype under torch.autocast
    return each(lambda part: cast(part, result), operation.compute(xp, values))


def _narrowed(xp: Namespace, y: Any, dtype: Any) -> Any:
    """64 bits rounded to 16 at once, which some libraries do by way of 32."""
    digits, least = (8, 2.0**-126) if "bfloat16" in str(dtype) else (11, 2.0**-14)
    by_32 = xp.astype(y, xp.float32)
    near = xp.minimum(xp.maximum(y, -1e40), 1e40)
    head = leading(near, 53 - digits)  # a tie, which may go either way, 32 bits hold
    settled = (xp.astype(by_32, xp.float64) == y) | (xp.abs(y) < least)
    return xp.astype(xp.where(settled, by_32, xp.astype(head, xp.float32)), dtype)


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """The function of an array, or of each in a tuple or a dictionary of them."""
    if isinstance(value, tuple):
        return tuple(each(function, part) for part in value)
    if isinstance(value, dict):
        return {name: each(function, part) for name, part in value.items()}
    return function(value)


def listed(value: Any) -> list[Any]:
    """The array, or those in a tuple or a dictionary, which `rearranged` puts back."""
    parts: list[Any] = []
    each(parts.append, value)
    return parts


def rearranged(parts: Iterable[Any], like: Any) -> Any:
    """The parts as an array, a tuple or a dictionary, as `like` is one."""
    rest = iter(parts)
    return each(lambda _: next(rest), like)


def aligned_to(
    definition: Definition, values: tuple[Any, ...], name: str, parameter: Any, x: Any
) -> tuple[int, ...]:
    """The shape in which the array of a parameter broadcasts to x, at these parameters."""
    if not definition.parameters[name].is_along_axis:
        return tuple(parameter.shape)
    axis = dict(zip(definition.parameters, values, strict=True)).get("axis")
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    return aligned(parameter.shape, x, axes)


def overlay(xp: Any, **functions: Any) -> Any:
    """A namespace like the module `xp`, with `functions` put over its own."""
    module = types.ModuleType(xp.__name__)
    vars(module).update(vars(xp), **functions)
    return module


def one_sided(xp: Any) -> dict[str, Any]:
    """maximum, minimum and abs for a library that differentiates through them.

    At a tie all three have their derivative from the left. Libraries choose otherwise, and each
    for itself, so that a smooth function composed of them, such as
    ``maximum(x, 0) + log1p(exp(-abs(x)))``, has a wrong derivative at 0; from one side it is right
    to every order.
    """

    def maximum(x: Any, y: Any) -> Any:
        return xp.where(x <= y, y, x)

    def minimum(x: Any, y: Any) -> Any:
        return xp.where(x > y, y, x)

    def magnitude(x: Any) -> Any:
        return xp.where(x <= 0, 0 - x, x)  # 0 for zeros of both signs

    return {"maximum": maximum, "minimum": minimum, "abs": magnitude}
