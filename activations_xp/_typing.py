"""The types that the rest of the package is annotated with."""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

Precision: TypeAlias = Literal["fast", "accurate"]

NUMBER = (int, float)
"""The types of Python numbers that count as scalars."""


class Namespace(Protocol):
    """A module-like object with the functions of the array API standard.

    A backend may add capabilities, which `numerics` asks for by name:

    precision : "fast" or "accurate"
    is_concrete : a function of an array, whether its values may be read
    is_known : a function of a size, whether it is a number, not a symbol of a compiler
    is_uncompensated : whether rounding errors need not be carried along
    fast_exp : an exponential that may be off by a few ulp
    conjugates_cotangents : whether gradients of complex numbers are conjugates; True if missing
    complex : a function of the real and the imaginary part
    """

    def __getattr__(self, name: str) -> Any: ...


class Array(Protocol):
    """The operators that an implementation uses; every library's array type fits."""

    @property
    def dtype(self) -> Any: ...
    @property
    def shape(self) -> Any: ...
    @property
    def ndim(self) -> int: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


A = TypeVar("A", bound=Array)
P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Impl: TypeAlias = Callable[Concatenate[Any, Any, P], Any]
"""An implementation: a function of the namespace, the first array and the other arguments."""


class OperationImpl(Protocol[P, Q, R_co]):
    """An implementation whose arguments after the namespace are P, or its first array and Q."""

    @overload
    def __call__(self, xp: Any, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, xp: Any, x: Any, /, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...


Kernel: TypeAlias = Callable[..., Any]
"""An implementation bound to a library: ``kernel(x, types of the others, *others)``."""


class NamedFunction(Protocol):
    """A function that is known by its name alone: an activation, or an operation of more arrays."""

    @overload
    def __call__(self, x: A, /, **parameters: Any) -> A: ...
    @overload
    def __call__(self, x: float, /, **parameters: Any) -> float: ...
    @overload
    def __call__(self, x: Any, y: Any, /, *args: Any, **parameters: Any) -> Any: ...
