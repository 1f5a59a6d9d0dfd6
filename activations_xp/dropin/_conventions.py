"""Conventions that several modules share: dtypes, results in place and classes of errors."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from .._dispatch import assign, backend_of, find_backend, is_floating
from .._typing import NUMBER, A
from ..numerics.arrays import is_concrete

F = TypeVar("F", bound=Callable[..., Any])


def reraise_as(kind: type[ValueError]) -> Callable[[F], F]:
    """Let a function raise each plain ValueError as `kind`, which is also what its peer raises."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except ValueError as error:
                if type(error) is not ValueError:  # an AxisError is an IndexError everywhere
                    raise
                raise kind(*error.args) from None

        return cast(F, wrapper)

    return decorate


def astype(function: str, x: A, dtype: Any) -> A:
    """Return `x` in a floating dtype of its library, or `x` itself if that is None."""
    if dtype is None or find_backend(x) is None:  # the function raises the error
        return x
    try:
        y = backend_of(x).xp.astype(x, dtype)
    except (TypeError, ValueError):
        y = None
    if not is_floating(y):
        raise TypeError(f"{function}: dtype must be a real floating one, got {dtype!r}")
    return cast(A, y)


def number(x: Any) -> Any:
    """Return an array without axes as a number, unless it has a gradient or no value yet."""
    backend = find_backend(x)
    if backend is None or x.ndim or getattr(x, "requires_grad", False):
        return x
    is_real = backend.isdtype(x, ("bool", "integral", "real floating"))
    return float(x) if is_real and is_concrete(backend.xp, x) else x


def result_dtype(y: A, dtype: Any) -> A:
    """Return `y` in a dtype of its library or of this name, or `y` itself if that is None."""
    if dtype is None:
        return y
    xp = backend_of(y).xp
    if isinstance(dtype, str):
        if not hasattr(xp, dtype):
            raise TypeError(f"dtype must be one of x's library, got {dtype!r}")
        dtype = getattr(xp, dtype)
    return cast(A, xp.astype(y, dtype))


def in_one_library(*values: Any) -> tuple[Any, ...]:
    """Return the values, where arrays of NumPy become arrays of the other library among them."""
    arrays = [v for v in values if hasattr(v, "dtype")]
    others = [v for v in arrays if not isinstance(v, (np.ndarray, np.generic))]
    if not others or len(others) == len(arrays):
        return values
    backend = backend_of(others[0])
    return tuple(backend.xp.asarray(v) if isinstance(v, np.ndarray) else v for v in values)


def promoted(x: Any, *others: Any) -> tuple[Any, ...]:
    """Return the values in one library, x and floating arrays in the dtype that they promote to.

    x has the shape that it broadcasts to with them.
    """
    if not any(hasattr(value, "dtype") for value in others):
        return x, *others
    values = in_one_library(x, *others)
    first, arrays = values[0], [value for value in values[1:] if is_floating(value)]
    if not arrays or not (is_floating(first) or isinstance(first, NUMBER)):
        return values
    xp = backend_of(arrays[0]).xp
    if isinstance(first, NUMBER):
        first = xp.asarray(first, dtype=arrays[0].dtype)
    dtype = xp.result_type(first, *arrays)
    with contextlib.suppress(ValueError):  # of which the function says more
        shape = np.broadcast_shapes(*(tuple(value.shape) for value in (first, *arrays)))
        first = first if shape == tuple(first.shape) else xp.broadcast_to(first, shape)
    return tuple(
        xp.astype(value, dtype) if is_floating(value) and value.dtype != dtype else value
        for value in (first, *values[1:])
    )


def is_axis_of_scalar(x: Any, axis: Any) -> bool:
    """Return whether x has no dimensions and `axis` is the one that other libraries let it have."""
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    return axes in ((0,), (-1,)) and len(getattr(x, "shape", ())) == 0


def axes_of(x: Any, axis: Any) -> Any:
    """Return the axes of `activations_xp`, which are none for an array without dimensions."""
    return () if is_axis_of_scalar(x, axis) else axis


def implicit_axis(function: str, x: Any, stacklevel: int) -> int:
    """Return the axis that torch chooses where there is no `dim`, with its warning."""
    warnings.warn(
        f"Implicit dimension choice for {function} has been deprecated. "
        "Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if getattr(x, "ndim", 0) in (0, 1, 3) else 1


def default_eps(x: Any) -> float:
    """Return the machine epsilon of the dtype that torch computes in."""
    backend = find_backend(x)
    if backend is not None and backend.hands_over(()):  # to torch.fx: the dtype is not known yet
        return type(x).__torch_function__(default_eps, (type(x),), (x,), {})  # type: ignore[no-any-return]
    is_float64 = is_floating(x) and backend_of(x).xp.finfo(x.dtype).bits > 32
    return 2.0**-52 if is_float64 else 2.0**-23


def takes_keras_arrays(function: F) -> F:
    """Let a function take what Keras does: lists, its variables, and its symbolic tensors."""
    names = list(inspect.signature(function).parameters)
    operands = [name for name in names if name in ("x", "x1", "x2", "inputs")]

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        keras: Any = sys.modules.get("keras")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        is_complete = len(given) == len(args) + len(kwargs) and operands[0] in given
        # Keras may not have been imported, or not to its end
        if not is_complete or keras is None or not hasattr(keras, "ops"):
            return function(*args, **kwargs)
        x = given[operands[0]]
        if isinstance(x, keras.KerasTensor):
            from ..backends.keras import call

            return call(wrapper, **given)
        for name, value in given.items():
            if isinstance(value, keras.Variable):
                given[name] = value.value
            elif name in operands and isinstance(value, (list, tuple)):
                given[name] = keras.ops.convert_to_tensor(value)
        values = in_one_library(*given.values())
        return function(**dict(zip(given, values, strict=True)))

    return cast(F, wrapper)


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_PACKAGE = __name__.partition(".")[0]


def call_with_out(function: Any, x: A, /, *args: Any, out: Any, **kwargs: Any) -> A:
    """Return the function of `x`, written to `out`; a tensor takes the shape of the result."""
    if not hasattr(out, "resize_"):
        return cast(A, function(x, *args, out=out, **kwargs))
    source = x.clone() if out is x and hasattr(x, "clone") else x
    value = function(source, *args, **kwargs)
    is_inexact = backend_of(out).isdtype(out, ("real floating", "complex floating"))
    if tuple(out.shape) != tuple(value.shape) and is_inexact:
        if 0 not in out.shape:
            shapes = f"{tuple(out.shape)} was resized to {tuple(value.shape)}"
            warn_caller(f"{function.__name__}: out of shape {shapes}")
        out.resize_(value.shape)
    return cast(A, assign(function.__name__, "out", out, value))


def inplace_if(inplace: bool, function: Any, x: A, /, *args: Any, **kwargs: Any) -> A:
    """Return the function of `x`, assigned to `x` itself if `inplace`."""
    if not inplace:
        return cast(A, function(x, *args, **kwargs))
    # PyTorch differentiates at the tensor that the function took, which may not change
    source = x.clone() if hasattr(x, "clone") else x
    value = function(source, *args, **kwargs)
    return cast(A, assign(function.__name__, "inplace", x, value))
