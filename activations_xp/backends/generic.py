"""The backend of any library that follows the array API standard, and tools of all backends."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import Any

import array_api_compat
import numpy as np

from .._definition import Definition
from .._parameters import COMPLEX, FLOATING
from .._typing import NUMBER, Kernel, Namespace, Precision
from ..numerics.arrays import FLOAT32_MAX, is_array
from ..numerics.double_word import round_off
from .base import Backend

MAX_CACHED_KERNELS = 256
"""The entries of a cache by parameters; one that changes at each call may not fill the memory."""


class StandardBackend(Backend):
    """A library without a backend of its own: implementations run on it operation by operation."""

    def __init__(self, xp: Any) -> None:
        self.name, self.xp = xp.__name__, xp

    def owns(self, x: Any) -> bool:
        return backend_for(x) is self

    def device(self, x: Any) -> Any:
        return array_api_compat.device(x)

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        def kernel(x: Any, types: tuple[type, ...], *parameters: Any) -> Any:
            form = definition.for_dtype(self.xp, x.dtype)
            values = form.check(x, parameters, self)
            dtypes = compute_and_result_dtypes(form, self.xp, x, values)
            with np.errstate(all="ignore"):  # many libraries compute with NumPy
                return evaluate(form, self.xp, x, values, *dtypes)

        return kernel


def backend_for(x: Any) -> StandardBackend | None:
    """Return the backend of an array of any library, or None if x is not an array."""
    try:
        return _standard_backend(array_api_compat.array_namespace(x))
    except TypeError:
        return None


_standard_backend = functools.cache(StandardBackend)


def compute_and_result_dtypes(
    definition: Definition,
    xp: Namespace,
    x: Any,
    values: tuple[Any, ...],
    default: Any = None,
    exact_rounding: bool = False,
) -> tuple[Any, Any]:
    """Return the dtype to compute in and the dtype of the result.

    16-bit floats are computed in 32 bits; for `exact_rounding` in 64, so that all libraries give
    the same bits. So is what has a number among its parameters that is too large or small for 32
    bits.
    Integers become the default floating dtype unless the function preserves them, but are computed
    in 32 bits or more, for 16 do not hold them; those that are compared stay integers till then.
    """
    dtype = x.dtype
    if definition.is_complex:
        is_short = xp.finfo(dtype).bits < 32
        is_wide = exact_rounding or _leave_float32(values)
        return xp.complex128 if is_wide else xp.complex64 if is_short else dtype, dtype
    if not xp.isdtype(dtype, "real floating"):
        if definition.preserves_integers and xp.isdtype(dtype, "integral"):
            defaults = tuple(definition.defaults.values())
            if not any(map(is_array, values)) and values == defaults:
                return dtype, dtype
        if default is None:
            info = xp.__array_namespace_info__()
            device = array_api_compat.device(x)
            default = info.default_dtypes(device=device)["real floating"]
        dtype = default
        if definition.compares_integers and xp.isdtype(x.dtype, "integral"):
            return x.dtype, dtype
    bits = xp.finfo(dtype).bits
    is_wide = bits < 32 and exact_rounding and definition.is_activation
    if is_wide or (bits <= 32 and _leave_float32(values)):
        return xp.float64, dtype
    compute = xp.float32 if bits < 32 else dtype
    return compute, compute if definition.widens else dtype


def exceed(values: tuple[Any, ...], largest: float) -> bool:
    """Return whether a finite number among the parameters is larger than that."""
    return any(largest < abs(v) < inf for v in _numbers(values))


def _leave_float32(values: tuple[Any, ...]) -> bool:
    """Return whether a number among the parameters, or its reciprocal, is beyond float32."""
    least = 1 / FLOAT32_MAX
    return any(v and not least <= abs(v) <= FLOAT32_MAX and abs(v) < inf for v in _numbers(values))


def _numbers(values: tuple[Any, ...]) -> list[float]:
    """Return the numbers among the parameters, those in tuples included."""
    numbers = [v for v in values if type(v) is float]
    tuples = [v for v in values if type(v) is tuple]
    return numbers + _numbers(sum(tuples, ())) if tuples else numbers


def cached_kernel(
    definition: Definition,
    make: Callable[[Any, tuple[Any, ...]], tuple[Callable[..., Any], bool]],
    backend: Backend,
    is_tracing: Callable[[], bool] | None = None,
    explain: Callable[[Definition, Any, tuple[Any, ...], Exception], Exception] | None = None,
    quicken: Callable[[Callable[..., Any]], Callable[..., Any] | None] | None = None,
) -> Kernel:
    """Return a kernel that checks and prepares once for each dtype and set of parameters.

    Of arrays among the parameters, dtypes and shapes count. Where all parameters have defaults,
    the attribute `plain` is a function of x for these, and `written`, where there is `quicken`, one
    of x and out; it returns None if the result is not written to `out`.

    Parameters
    ----------
    make : ``make(x, parameters)`` checks them, and returns a function of x and of the arrays among
        the parameters, and whether it is right for all alike
    is_tracing : whether a compiler is tracing the kernel; nothing is remembered then
    explain : ``explain(definition, x, parameters, error)`` returns the error to raise for another
    quicken : returns a function that does the same of x and, where kernels write to it, of out, as
        one that `make` returned, or None
    """
    cache: dict[Any, Callable[..., Any]] = {}
    by_ndim = any(spec.depends_on_ndim for spec in definition.parameters.values())

    may_be_arrays = tuple(bool(spec.dtypes) for spec in definition.parameters.values())

    def is_array(value: Any) -> bool:
        return backend.owns(value) and not isinstance(value, np.generic)

    def arrays_among(parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        pairs = zip(parameters, may_be_arrays, strict=True)
        return tuple(value for value, may_be in pairs if may_be and is_array(value))

    def mark(value: Any) -> Any:
        """Return what plans depend on of an array, or another value itself."""
        is_value = not is_array(value)
        return value if is_value else (value.dtype, tuple(value.shape), backend.device(value))

    def kernel(x: Any, types: tuple[type, ...], *parameters: Any, **out: Any) -> Any:
        arrays: tuple[Any, ...] = ()
        try:
            if is_tracing is not None and is_tracing():
                return make(x, parameters)[0](x, *arrays_among(parameters))
            # the types tell an axis of 1 from one of True
            key: Any = x.dtype, parameters, types, x.ndim if by_ndim else None
            run = _look_up(cache, key)
            if run is None:
                arrays = arrays_among(parameters)
                if arrays:
                    key = tuple(map(mark, (x, *parameters))), types
                    run = _look_up(cache, key)
            if run is None:
                if not out and is_at_defaults(parameters):
                    return kernel.plain(x)  # type: ignore[attr-defined]
                run, is_constant = make(x, parameters)
                # an array may stand for a number; the elements of a tuple of axes may be equal but
                # of other types
                others = len(list(filter(is_array, tree_leaves(parameters)))) > len(arrays)
                if is_constant and not (others or (by_ndim and tuple in types)):
                    if len(cache) >= MAX_CACHED_KERNELS:
                        cache.clear()
                    with suppress(TypeError):
                        cache[key] = run
            return run(x, *arrays, **out)
        except Exception as error:
            fail(error, x, parameters)
            raise

    defaults = tuple(definition.defaults.values())
    has_defaults = len(defaults) == len(definition.parameters)

    def is_at_defaults(parameters: tuple[Any, ...]) -> bool:
        return has_defaults and all(p is d for p, d in zip(parameters, defaults, strict=True))

    def fail(error: Exception, x: Any, parameters: tuple[Any, ...]) -> None:
        explained = error if explain is None else explain(definition, x, parameters, error)
        if explained is not error:
            raise explained from error

    if has_defaults:
        types = tuple(map(type, defaults))
        quick: dict[Any, Callable[..., Any]] = {}

        def plain(x: Any) -> Any:
            run = quick.get((x.dtype, x.ndim) if by_ndim else x.dtype)
            try:
                if run is None:
                    run = prepare(x)
                return run(x)  # from this line always: torch.jit.trace compares where calls are
            except Exception as error:
                fail(error, x, defaults)
                raise

        def prepare(x: Any) -> Callable[..., Any]:
            if is_tracing is not None and is_tracing():
                return make(x, defaults)[0]
            key = x.dtype, defaults, types, x.ndim if by_ndim else None
            run, is_constant = cache.get(key), True
            if run is None:
                run, is_constant = make(x, defaults)
            if is_constant and not (by_ndim and tuple in types):
                cache[key] = run
                found = run if quicken is None else quicken(run)
                if found is not None:
                    quick[(x.dtype, x.ndim) if by_ndim else x.dtype] = found
            return run

        def written(x: Any, out: Any) -> Any:
            run = quick.get((x.dtype, x.ndim) if by_ndim else x.dtype)
            return None if run is None else run(x, out)

        kernel.plain = plain  # type: ignore[attr-defined]
        if quicken is not None:
            kernel.written = written  # type: ignore[attr-defined]
    return kernel


def _look_up(cache: dict[Any, Any], key: Any) -> Any:
    try:
        return cache.get(key)
    except TypeError:  # arrays cannot be hashed
        return None


def evaluate(
    definition: Definition,
    xp: Namespace,
    x: Any,
    values: tuple[Any, ...],
    compute: Any,
    result: Any,
    impl: Callable[..., Any] | None = None,
    g: Any = None,
) -> Any:
    """Return the result of an implementation run in one dtype and rounded to another.

    `impl` is one of the functions of `_gradients` in place of the implementation, `g` its
    cotangent. Gradients, in a dictionary, have the dtypes of their arguments.
    """

    def cast(array: Any, dtype: Any) -> Any:
        return array if array.dtype == dtype else xp.astype(array, dtype)

    def prepare(value: Any) -> Any:
        if value is None or isinstance(value, (*NUMBER, str)):
            return value
        return cast(value, compute)

    def finish(part: Any, dtype: Any) -> Any:
        if part is None or part.dtype == dtype:
            return part
        if not (definition.is_activation or xp.isdtype(part.dtype, "real floating")):
            return part
        if definition.is_complex:
            return _cast_complex(xp, part, dtype)
        if compute != dtype and compute == xp.float64 and xp.finfo(dtype).bits < 32:
            return _round_to_16_bit(xp, part, dtype)
        return xp.astype(part, dtype)

    specs = definition.parameters.values()
    prepared = tuple(
        tree_map(prepare, value) if spec.is_floating else value
        for spec, value in zip(specs, values, strict=True)
    )
    if impl is None:
        found = definition.call(definition.impl, xp, cast(x, compute), values=prepared)
    else:
        cotangents = () if g is None else (tree_map(prepare, g),)
        found = impl(definition, xp, *cotangents, cast(x, compute), prepared)
    if not isinstance(found, dict):
        return tree_map(lambda part: finish(part, result), found)
    arguments = {definition.first: x, **definition.bind(values)}
    dtypes = {name: _gradient_dtype(xp, arguments[name], result) for name in found}
    return {
        name: tree_map(functools.partial(finish, dtype=dtypes[name]), gradient)
        for name, gradient in found.items()
    }


def _gradient_dtype(xp: Namespace, argument: Any, result: Any) -> Any:
    dtype = getattr(argument, "dtype", None)
    return dtype if dtype is not None and xp.isdtype(dtype, FLOATING + COMPLEX) else result


def _cast_complex(xp: Namespace, part: Any, dtype: Any) -> Any:
    """Return a real or complex part in a dtype; a real result stays real, in the same digits."""
    if xp.isdtype(part.dtype, "real floating"):
        is_single = xp.finfo(dtype).bits == 32
        return xp.astype(part, xp.float32 if is_single else xp.float64)
    return xp.astype(xp.real(part) if xp.isdtype(dtype, "real floating") else part, dtype)


def _round_to_16_bit(xp: Namespace, y: Any, dtype: Any) -> Any:
    """Round float64 to a 16-bit dtype at once; some libraries round to float32 in between."""
    digits, least = (8, 2.0**-126) if "bfloat16" in str(dtype) else (11, 2.0**-14)
    single = xp.astype(y, xp.float32)
    near = xp.minimum(xp.maximum(y, -1e40), 1e40)
    hi = round_off(near, 53 - digits)  # float32 holds a tie, which may be rounded either way
    is_exact = (xp.astype(single, xp.float64) == y) | (xp.abs(y) < least)
    return xp.astype(xp.where(is_exact, single, xp.astype(hi, xp.float32)), dtype)


def merge_args(
    static_args: tuple[Any, ...], array_positions: tuple[int, ...], arrays: Iterable[Any]
) -> tuple[Any, ...]:
    """Return the static arguments with the arrays put in their positions."""
    values = list(static_args)
    for position, array in zip(array_positions, arrays, strict=True):
        values[position] = array
    return tuple(values)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to an array, or to each array in tuples and dictionaries."""
    if isinstance(tree, tuple):
        return tuple(tree_map(function, branch) for branch in tree)
    if isinstance(tree, dict):
        return {name: tree_map(function, branch) for name, branch in tree.items()}
    return function(tree)


def tree_leaves(tree: Any) -> list[Any]:
    """Return the arrays in a tree, which `tree_unflatten` puts back."""
    leaves: list[Any] = []
    tree_map(leaves.append, tree)
    return leaves


def tree_unflatten(leaves: Iterable[Any], like: Any) -> Any:
    """Return the leaves in a tree of the structure of `like`."""
    rest = iter(leaves)
    return tree_map(lambda _: next(rest), like)


def extend_namespace(xp: Any, **functions: Any) -> Any:
    """Return a namespace like the module `xp` in which `functions` replace or extend its own."""
    module = types.ModuleType(xp.__name__)
    vars(module).update(vars(xp), **functions)
    return module


def one_sided(xp: Any) -> dict[str, Any]:
    """Return maximum, minimum and abs for a library that differentiates through them.

    At a tie all three have their derivative from the left. Libraries choose differently, and each
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
