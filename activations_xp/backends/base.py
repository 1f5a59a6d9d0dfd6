"""The duties of a backend: everything that one array library must provide.

Adding a library is writing one of these and passing it to `activations_xp._dispatch.register`; a
library that follows the array API standard needs none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from .._definition import Definition
from .._typing import Kernel, Namespace, Precision


class Backend(ABC):
    """An array library.

    name : of the library
    xp : its functions under the names of the array API standard
    writes_out : whether kernels take `out`, an array of this library, and return it if they could
        write the result to it, or else another array
    """

    writes_out = False
    name: str
    xp: Namespace

    @abstractmethod
    def owns(self, x: Any) -> bool:
        """Return whether x is an array of this library."""

    def refuses(self, x: Any) -> bool:
        """Return whether the type of x is the library's, or derived from it, but not owned."""
        return False

    @abstractmethod
    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        """Return the kernel of a function for arrays of this type."""

    def device(self, x: Any) -> Any:
        """Return the device of an array; None if arrays of all devices can be combined."""
        return x.device

    def isdtype(self, x: Any, kinds: tuple[str, ...]) -> bool:
        """Return whether an array has a dtype of one of these kinds of the standard."""
        return bool(self.xp.isdtype(x.dtype, kinds))

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        """Return random numbers from [0, 1) in the dtype that `like` is computed in.

        Raises
        ------
        TypeError, ValueError
            If `rng` is no source for them; the message of a TypeError says what is one.
        """
        raise LookupError

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        """Return an empty array of the library that `rng` belongs to, or None if it is another."""
        return None

    def samples_natively(
        self, definition: Definition, precision: Precision, array_type: type
    ) -> bool:
        """Return whether the kernel of a random function draws its numbers itself."""
        return False

    def promote(
        self, definition: Definition, x: Any, parameters: tuple[Any, ...]
    ) -> tuple[Any, tuple[Any, ...]]:
        """Return the first array and the parameters in the dtypes that the kernel has them in."""
        return x, parameters

    def hands_over(self, values: Iterable[Any]) -> bool:
        """Return whether one of the parameters takes over the call before it is computed."""
        return False

    def write(self, target: Any, value: Any) -> None:
        """Write an array to another one of this library and of its shape."""
        target[...] = value

    def is_tracing(self) -> bool:
        """Return whether a compiler that guards on Python objects is tracing the caller."""
        return False

    def keep(self, x: Any, out: Any) -> Any:
        """Return x, or a copy of it if it must stay as it is while the result is written to it."""
        return x
