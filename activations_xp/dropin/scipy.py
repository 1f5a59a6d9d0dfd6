"""The activation functions of scipy.special in SciPy 1.17, for arrays of any library.

They take what SciPy takes: lists, numbers, objects with the protocols of NumPy, and all keywords of
ufuncs. Arrays of other libraries keep their dtype. What `where` leaves out without `out` is 0, not
uninitialized. Along an empty axis the result is empty. An array with a mask or a unit is refused
where SciPy would ignore it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, overload

import numpy as np

from .. import functions as ax
from .._dispatch import backend_of, find_backend
from .._errors import array_hint, describe_value
from .._parameters import COMPLEX, REAL
from .._typing import NUMBER, A
from ._conventions import axes_of
from ._ufuncs import as_array, is_foreign, loop_of, ufunc

__all__ = [
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "softmax",
    "softplus",
]


Axes: TypeAlias = int | tuple[int, ...] | None


@ufunc("dfg")
def expit(x: Any, out: Any = None) -> Any:
    """Return 1/(1 + exp(-x)), the sigmoid."""
    return ax.sigmoid(x, out=out)


@ufunc("dfg")
def log_expit(x: Any, out: Any = None) -> Any:
    """Return log(expit(x))."""
    return ax.log_sigmoid(x, out=out)


@ufunc("dfg")
def logit(x: Any, out: Any = None) -> Any:
    """Return log(x/(1 - x)), the inverse of `expit`."""
    return ax.logit(x, out=out)


@ufunc("dfDF")
def erf(x: Any, out: Any = None) -> Any:
    """Return the error function of x."""
    return ax.erf(x, out=out)


@ufunc("dfDF")
def erfc(x: Any, out: Any = None) -> Any:
    """Return 1 - erf(x), the complementary error function."""
    return ax.erfc(x, out=out)


@ufunc("fd")
def erfinv(x: Any, out: Any = None) -> Any:
    """Return the inverse of `erf` at x."""
    return ax.erfinv(x, out=out)


@ufunc("dfDF")
def ndtr(x: Any, out: Any = None) -> Any:
    """Return the standard normal distribution function of x."""
    return ax.ndtr(x, out=out)


@ufunc("dfDF")
def log_ndtr(x: Any, out: Any = None) -> Any:
    """Return log(ndtr(x))."""
    return ax.log_ndtr(x, out=out)


@ufunc("fd")
def ndtri(x: Any, out: Any = None) -> Any:
    """Return the inverse of `ndtr` at x."""
    return ax.ndtri(x, out=out)


@ufunc("efdg", beside=0)
def _softplus(x: Any, out: Any = None) -> Any:
    return ax.softplus(x, out=out)


@overload
def softplus(x: A, **kwargs: Any) -> A: ...
@overload
def softplus(x: Any, **kwargs: Any) -> Any: ...
def softplus(x: Any, **kwargs: Any) -> Any:
    """Return log(1 + exp(x))."""
    return _softplus(x, **kwargs)


@overload
def softmax(x: A, axis: Axes = None) -> A: ...
@overload
def softmax(x: Any, axis: Axes = None) -> Any: ...
def softmax(x: Any, axis: Axes = None) -> Any:
    """Return exp(x)/sum(exp(x)) along `axis`."""
    return _along_axis(ax.softmax, x, axis)


@overload
def log_softmax(x: A, axis: Axes = None) -> A: ...
@overload
def log_softmax(x: Any, axis: Axes = None) -> Any: ...
def log_softmax(x: Any, axis: Axes = None) -> Any:
    """Return log(softmax(x)) along `axis`."""
    return _along_axis(ax.log_softmax, x, axis)


@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
) -> A: ...
@overload
def logsumexp(
    a: A,
    axis: Axes = None,
    b: Any = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
) -> tuple[A, A]: ...
@overload
def logsumexp(
    a: Any, axis: Axes = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any: ...
def logsumexp(
    a: Any, axis: Axes = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """Return log(sum(b*exp(a))) along `axis`, and its sign if `return_sign`.

    The factors b may have more dimensions than a, and numbers are arrays of one dimension.
    """
    a, b = _promoted(a, b)
    result = ax.logsumexp(a, axis, b, keepdims, return_sign)
    return tuple(map(_as_scalar, result)) if return_sign else _as_scalar(result)


def _along_axis(function: Any, x: Any, axis: Any) -> Any:
    """Return a function of the array that x is or makes, which has an axis 0 if it is a number."""
    x = _floating(function.__name__, x)
    return _as_scalar(function(x, axes_of(x, axis)))


def _floating(name: str, x: Any) -> Any:
    """Return the array that x is or makes, integers in the dtype of their exponential."""
    if is_foreign(x):
        return x
    x = _plain_array(f"{name}: x", x)
    if x.dtype.kind in "biu":
        return x.astype(loop_of(name, "efd", np.result_type(x.dtype, 0)))
    return x


def _plain_array(what: str, x: Any) -> Any:
    """Return the array that NumPy makes of an argument, but not without its mask or unit.

    It is in the native byte order.
    """
    kind = type(x)
    has_unit = hasattr(kind, "magnitude") or (
        issubclass(kind, np.ndarray) and kind.__array_ufunc__ is not np.ndarray.__array_ufunc__
    )
    if has_unit or isinstance(x, np.ma.MaskedArray):
        hint = array_hint(what.rpartition(" ")[2], x)
        raise TypeError(f"{what} must be an array, got {describe_value(x)}{hint}")
    x = as_array(what, x)
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def _promoted(a: Any, b: Any) -> tuple[Any, Any]:
    """Return a, as an array with an axis and in the shape and the dtype of both, and b."""
    foreign = next((value for value in (a, b) if is_foreign(value)), None)
    backend = backend_of(np.empty(0) if foreign is None else foreign)
    xp = backend.xp

    def asarray(name: str, value: Any) -> Any:
        if foreign is None:
            return _plain_array(f"logsumexp: {name}", value)
        value = value.item() if isinstance(value, np.generic) else value
        return xp.asarray(value) if find_backend(value) is None else value

    def floating(value: Any) -> Any:
        is_integral = backend.isdtype(value, ("bool", "integral"))
        return xp.astype(value, xp.asarray(0.0).dtype) if is_integral else value

    a = asarray("a", a)
    if type(b) is complex and isinstance(a, np.ndarray):  # it has no precision of its own
        b = np.asarray(b, np.result_type(a.dtype, b))
    if b is not None and type(b) not in NUMBER:
        b = asarray("b", b)
        if is_foreign(a) != is_foreign(b):
            got = f"{describe_value(a)} and {describe_value(b)}"
            raise TypeError(f"logsumexp: a and b must be arrays of one library, got {got}")
        if not backend.isdtype(b, REAL + COMPLEX):
            raise TypeError(f"logsumexp: b must be a number or an array, got {describe_value(b)}")
        try:
            dtype = xp.result_type(a, b)
        except TypeError:  # a strict library does not promote integers to floats
            a, b = floating(a), floating(b)
            dtype = xp.result_type(a, b)
        shape = _broadcast_shape(a, b)
        a = xp.broadcast_to(xp.astype(a, dtype), shape)
    return a if a.ndim else xp.reshape(a, (1,)), b


def _broadcast_shape(a: Any, b: Any) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
    except ValueError:
        got = f"{tuple(b.shape)} does not broadcast with a of shape {tuple(a.shape)}"
        raise ValueError(f"logsumexp: b of shape {got}") from None


def _as_scalar(y: Any) -> Any:
    """Return a scalar of NumPy in place of its array without dimensions."""
    return y[()] if isinstance(y, np.ndarray) and not y.ndim else y
