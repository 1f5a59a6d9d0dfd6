"""Functions of one array that are called like a ufunc, and that objects of NumPy take for one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args, overload

import numpy as np

from .._dispatch import find_backend
from .._errors import describe_value
from .._typing import A

Casting: TypeAlias = Literal["no", "equiv", "safe", "same_kind", "unsafe"]
Order: TypeAlias = Literal["K", "A", "C", "F"]


class Ufunc(Protocol):
    """A function with the keywords and the attributes of a ufunc of one array."""

    __name__: str
    __qualname__: str
    __module__: str
    nin: int
    nout: int
    nargs: int
    ntypes: int
    types: list[str]
    identity: None
    signature: None

    @overload
    def __call__(
        self,
        x: A,
        /,
        out: A | tuple[A] | None = None,
        *,
        where: Any = True,
        casting: Casting = "same_kind",
        order: Order = "K",
        dtype: Any = None,
        subok: bool = True,
        signature: Any = None,
    ) -> A: ...
    @overload
    def __call__(
        self,
        x: Any,
        /,
        out: Any = None,
        *,
        where: Any = True,
        casting: Casting = "same_kind",
        order: Order = "K",
        dtype: Any = None,
        subok: bool = True,
        signature: Any = None,
    ) -> Any: ...


def _template(
    x: Any,
    /,
    out: Any = None,
    *,
    where: Any = True,
    casting: Any = "same_kind",
    order: Any = "K",
    dtype: Any = None,
    subok: Any = True,
    signature: Any = None,
) -> Any: ...


SIGNATURE = inspect.signature(_template)
OPTIONS = [p.name for p in SIGNATURE.parameters.values() if p.kind is p.KEYWORD_ONLY]


def ufunc(types: str, beside: Any = None) -> Callable[[Callable[..., Any]], Ufunc]:
    """Turn a function ``f(x, out=None)`` of arrays of any library into one like a ufunc.

    Parameters
    ----------
    types : the characters of the dtypes that it has; it computes in the first one to which that of
        x is cast safely
    beside : a number whose dtype is promoted with that of x
    """

    def decorate(function: Callable[..., Any]) -> Ufunc:
        name, dtypes = function.__name__.lstrip("_"), frozenset(map(np.dtype, types))

        def operation(x: Any, /, out: Any = None, **options: Any) -> Any:
            if not options and type(x) is np.ndarray and x.dtype in dtypes:
                if out is None:
                    y = function(x)
                    return y if y.ndim else y[()]
                if type(out) is np.ndarray and (out.shape, out.dtype) == (x.shape, x.dtype):
                    return function(x, out=out)
            unknown = next((option for option in options if option not in OPTIONS), None)
            if unknown is not None:
                raise TypeError(f"{name}() got an unexpected keyword argument {unknown!r}")
            if isinstance(out, tuple):
                if len(out) != 1:
                    raise ValueError(f"{name}: out must have one array, got {len(out)}")
                (out,) = out
            if not is_foreign(x):
                return _call(public, function, beside, x, out, options)
            if options:
                option = next(iter(options))
                raise TypeError(f"{name}: {option} is for arrays of NumPy, got {describe_value(x)}")
            return function(x, out=out)

        public: Any = operation
        public.__name__, public.__qualname__ = name, function.__qualname__
        public.__module__, public.__doc__ = function.__module__, function.__doc__
        public.__signature__ = SIGNATURE
        public.nin, public.nout, public.nargs, public.ntypes = 1, 1, 2, len(types)
        public.types = [f"{char}->{char}" for char in types]
        public.identity = public.signature = None
        return cast(Ufunc, public)

    return decorate


def is_foreign(x: Any) -> bool:
    """Return whether x is an array of a library other than NumPy."""
    return not isinstance(x, (np.ndarray, np.generic)) and find_backend(x) is not None


def as_array(what: str, x: Any) -> Any:
    """Return the array that NumPy makes of an argument, which errors call as said."""
    try:
        return np.asarray(x)
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise type(error)(f"{what} must be an array of numbers: {error}") from None


def loop_of(name: str, types: str, dtype: Any, casting: Any = "safe") -> Any:
    """Return the one of some dtypes that `dtype` is, or else the first that it is cast to."""
    casting = casting if casting in ("no", "equiv") else "safe"
    chars = (dtype.char, *types) if dtype.char in types else types
    for loop in map(np.dtype, chars):
        if np.can_cast(dtype, loop, casting):
            return loop
    wanted = ", ".join(np.dtype(char).name for char in types)
    raise TypeError(f"{name}: x must be an array of {wanted}, or safely cast to one, got {dtype}")


def _call(
    public: Any, function: Callable[..., Any], beside: Any, x: Any, out: Any, options: Any
) -> Any:
    """Return the result for what NumPy makes an array of."""
    overridden = _override(public, x, out, options)
    if overridden is not NotImplemented:
        return overridden
    name = public.__name__
    casting, order = options.get("casting", "same_kind"), options.get("order", "K")
    for option, value, known in (("casting", casting, Casting), ("order", order, Order)):
        if value not in get_args(known):
            wanted = ", ".join(map(repr, get_args(known)))
            kind = ValueError if isinstance(value, str) else TypeError
            raise kind(f"{name}: {option} must be one of {wanted}, got {value!r}")
    where = np.asarray(options.get("where", True))
    if where.dtype != bool:
        raise TypeError(f"{name}: where must be an array of bool, got {where.dtype}")
    array = as_array(f"{name}: x", x)
    y = function(array.astype(_loop(public, array, beside, casting, options), copy=False))
    y = np.asarray(y, order=order)
    if out is not None:
        return _write(name, out, y, where, casting)
    if not where.all():  # the elements that are left out are 0
        y, value = np.zeros(np.broadcast_shapes(y.shape, where.shape), y.dtype, order="C"), y
        np.copyto(y, value, where=where)
    is_wrapped = options.get("subok", True) and hasattr(x, "__array_wrap__")
    if is_wrapped and not isinstance(x, np.generic):
        return x.__array_wrap__(y, (public, (x,), 0), y.ndim == 0)
    return y if y.ndim else y[()]


def _override(public: Any, x: Any, out: Any, options: Any) -> Any:
    """Return what an operand makes of the call, or NotImplemented if that is left to us."""
    plain = np.ndarray.__array_ufunc__
    operands = [a for a in (x, out) if getattr(type(a), "__array_ufunc__", plain) is not plain]
    given = options if out is None else {**options, "out": (out,)}
    for operand in operands:
        if operand.__array_ufunc__ is not None:
            result = operand.__array_ufunc__(public, "__call__", x, **given)
            if result is not NotImplemented:
                return result
    if operands:
        got = describe_value(operands[0])
        raise TypeError(f"{public.__name__}: {got} is not made for functions like this")
    return NotImplemented


def _loop(public: Any, x: Any, beside: Any, casting: Any, options: Any) -> Any:
    """Return the dtype to compute in."""
    name, types = public.__name__, "".join(loop[0] for loop in public.types)
    dtype, signature = options.get("dtype"), options.get("signature")
    if dtype is None and signature is None:
        given = x.dtype if beside is None else np.result_type(x.dtype, beside)
        return loop_of(name, types, given, casting)
    if dtype is not None and signature is not None:
        raise TypeError(f"{name}: takes dtype or signature, got both")
    if signature is not None:
        parts = signature.split("->") if isinstance(signature, str) else signature
        if not isinstance(parts, (list, tuple)) or len(parts) != 2:
            got = describe_value(signature)
            raise TypeError(f"{name}: signature must be like {public.types[0]!r}, got {got}")
        dtype = next((part for part in parts if part is not None), None)
    try:
        loop = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        loop = None
    if loop is None or loop.char not in types:
        wanted = ", ".join(np.dtype(char).name for char in types)
        raise TypeError(f"{name}: dtype must be one of {wanted}, got {dtype!r}")
    if not np.can_cast(x.dtype, loop, casting):
        raise TypeError(f"{name}: x of {x.dtype} cannot be cast to {loop} by {casting!r}")
    return loop


def _write(name: str, out: Any, y: Any, where: Any, casting: Any) -> Any:
    """Return `out`, to which the values have been written where they are asked for."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: out needs an array of NumPy, got {describe_value(out)}")
    if not np.can_cast(y.dtype, out.dtype, casting):
        what = f"to which {y.dtype} is cast by {casting!r}, as of a floating dtype"
        raise TypeError(f"{name}: out needs an array {what}, got {out.dtype}")
    try:
        with np.errstate(all="ignore"):
            np.copyto(out, y, casting, where)
    except ValueError as error:  # of another shape, or read-only
        message = f"{name}: out needs an array that can be written to: {error}"
        raise ValueError(message) from None
    return out
