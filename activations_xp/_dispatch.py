"""Whose array is this? The one place that tells array libraries apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from ._parameters import NUMBER, describe
from ._typing import Kernel

if TYPE_CHECKING:
    from ._activation import Definition
    from ._operation import Operation

Implementation: TypeAlias = Literal["auto", "native", "portable", "compiled"]

_CHOICES = "'auto', 'native', 'portable' or 'compiled'"

_chosen: Implementation = "auto"
_tables: list[dict[type, Kernel]] = []
"""The kernels of every public function that follows `implementation`, by array type."""


def table() -> dict[type, Kernel]:
    """A new table of kernels that `implementation` empties when the choice changes."""
    _tables.append({})
    return _tables[-1]


@contextmanager
def implementation(which: Implementation) -> Iterator[None]:
    """Choose which implementation runs inside a ``with`` block.

    The choice holds for the whole process, as that of ``torch.backends`` does; for one call
    there are ``f.native(x)`` and ``f.portable(x)``.

    Parameters
    ----------
    which : {"auto", "native", "portable", "compiled"}
        The library's own kernel where it is as accurate as ours (the default), wherever there
        is one, or nowhere. "compiled" is the default, but on PyTorch as one kernel that its
        compiler makes, and ours on large NumPy arrays as well, for which PyTorch must be installed.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> with ax.implementation("portable"):
    ...     ax.tanh(np.zeros(2))
    array([0., 0.])
    """
    global _chosen
    if which not in get_args(Implementation):
        raise ValueError(f"implementation: must be {_CHOICES}, got {describe(which)}")
    previous = _chosen
    _choose(which)
    try:
        yield
    finally:
        _choose(previous)


def _choose(which: Implementation) -> None:
    global _chosen
    _chosen = which
    for kernels in _tables:
        kernels.clear()


def library(value: Any) -> Any:
    """What names the library that owns `value`: equal for two arrays that may meet; else None.

    A library that was never imported cannot own an array, so none is imported here.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return None if isinstance(value, (np.ma.MaskedArray, np.matrix)) else "numpy"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "torch"
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.Array):
        return "jax"
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return None
    from array_api_compat import array_namespace

    try:
        return array_namespace(value)
    except TypeError:
        return None


def device(value: Any) -> Any:
    """Where `value` lives; None for JAX, which places its arrays itself and says when it cannot."""
    owner = library(value)
    if owner in ("numpy", "jax"):
        return None
    if owner == "torch":
        return value.device
    from array_api_compat import device

    return device(value)


def namespace(value: Any) -> Any:
    """The standard's functions for the library that owns `value`, as its backend has them."""
    owner = library(value)
    if owner == "numpy":
        from .backends.numpy import xp
    elif owner == "torch":
        from .backends.torch import xp
    elif owner == "jax":
        from .backends.jax import xp
    else:
        xp = owner
    return xp


def isdtype(value: Any, kinds: tuple[str, ...]) -> bool:
    """Whether the array has one of these kinds of dtype; bfloat16 is a floating one everywhere."""
    return bool(namespace(value).isdtype(value.dtype, kinds))


def resolve(
    definition: Definition, kernels: dict[type, Kernel], which: Implementation | None, x: Any
) -> Kernel:
    """The kernel for arrays like `x`, remembered in `kernels` by type."""
    which = which or _chosen
    owner = library(x)
    tracing = False
    if isinstance(x, NUMBER):
        from .backends import numpy

        kernel = numpy.bind_numbers(definition, which)
    elif owner is None:
        raise TypeError(f"{definition.name}: x must be an array, got {describe(x)}{_hint(x)}")
    elif owner == "numpy":
        from .backends import numpy

        kernel = numpy.bind(definition, which, type(x))
    elif owner == "torch":
        from .backends import torch

        kernel = torch.bind(definition, which, type(x))
        tracing = torch.is_tracing()
    elif owner == "jax":
        from .backends import jax

        kernel = jax.bind(definition, which)
    else:
        from .backends import generic

        kernel = generic.bind(definition, owner)
    if not tracing:  # inside a dynamo trace the guard on a grown table would recompile
        kernels[type(x)] = kernel
    return kernel


def perform(operation: Operation, which: Implementation | None, values: tuple[Any, ...]) -> Any:
    """What the library of the first array makes of several."""
    which = which or _chosen
    x = operation.first(values)
    owner = library(x)
    if owner == "torch":
        from .backends import torch

        return torch.perform(operation, which, values)
    if owner == "jax":
        from .backends import jax

        return jax.perform(operation, values)
    from .backends import generic

    with np.errstate(all="ignore"):  # many a library is made of NumPy
        return generic.perform(operation, namespace(x), values)


def draws(definition: Definition, which: Implementation | None, x: Any) -> bool:
    """Whether the library that owns x has a kernel that draws its random numbers itself."""
    if library(x) != "torch":
        return False
    from .backends import torch

    return torch.draws(definition, which or _chosen, type(x))


def blank(function: str, rng: Any, dtype: Any) -> Any:
    """An empty array, of the library that a random number generator is for."""
    torch = sys.modules.get("torch")
    if isinstance(rng, np.random.Generator):
        x = np.empty(0, dtype)
    elif torch is not None and isinstance(rng, torch.Generator):
        x = torch.empty(0, dtype=dtype, device=rng.device)
    elif library(rng) == "jax":
        x = sys.modules["jax"].numpy.empty(0, dtype)
    else:
        wanted = "a numpy.random.Generator, a torch.Generator or a key of JAX"
        raise TypeError(f"{function}: rng must be {wanted}, got {describe(rng)}")
    if not isdtype(x, ("real floating",)):
        raise TypeError(f"{function}: dtype must be a real floating one, got {dtype!r}")
    return x


def draw(function: str, x: Any, shape: Callable[[], tuple[int, ...]], rng: Any, noise: Any) -> Any:
    """Numbers from 0 to 1, 1 excluded, for x: those given, or such as `rng` makes."""
    if noise is not None:
        if rng is not None:
            raise TypeError(f"{function}: takes rng or noise, got both")
        return noise
    x = np.asarray(x) if isinstance(x, NUMBER) else x
    owner = library(x)
    if owner is None:
        return None  # the kernel says what is wrong with x
    if owner == "numpy":
        from .backends.numpy import uniform
    elif owner == "torch":
        from .backends.torch import uniform
    elif owner == "jax":
        from .backends.jax import uniform
    else:
        hint = "" if rng is None else f", got rng={describe(rng)}"
        raise TypeError(f"{function}: noise must be given to arrays of this library{hint}")
    try:
        return uniform(x, shape(), rng)
    except TypeError as error:
        raise TypeError(f"{function}: rng must be {error}, got {describe(rng)}") from None
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


def into(
    function: str, out: Any, kernel: Kernel, x: Any, types: tuple[type, ...], *parameters: Any
) -> Any:
    """What the kernel makes of x, written to `out`."""
    owner = "numpy" if isinstance(x, NUMBER) else library(x)
    if owner != "numpy":  # no other library writes into the arrays of one
        if out is x and getattr(x, "requires_grad", False):
            x = x.clone()  # torch differentiates at an array that must stay as it is
        return write(function, "out", out, kernel(x, types, *parameters))
    value = kernel(x, types, *parameters, out=out if library(out) == owner else None)
    return out if value is out else write(function, "out", out, value)


def write(function: str, argument: str, target: Any, value: Any) -> Any:
    """Put the value into the array that the function's argument says."""

    def fail(kind: type[Exception], what: str, got: str) -> None:
        raise kind(f"{function}: {argument} needs an array {what}, got {got}")

    if isinstance(value, (tuple, dict)):
        raise TypeError(f"{function}: {argument} needs a single result, got {len(value)}")
    if library(target) is None or library(target) != library(value):
        fail(TypeError, "of x's library", describe(target))
    if target.shape != value.shape:
        fail(ValueError, f"of shape {tuple(value.shape)}", str(tuple(target.shape)))
    if target.dtype != value.dtype and not isdtype(target, ("real floating",)):
        fail(TypeError, "of a floating dtype", describe(target))
    try:
        target[...] = value
    except (TypeError, ValueError) as error:  # immutable, or read-only
        raise type(error)(
            f"{function}: {argument} needs an array that can be written to: {error}"
        ) from None
    return target


def _hint(x: Any) -> str:
    if isinstance(x, (list, tuple)):
        return "; make it an array first, with numpy.asarray or torch.tensor"
    if isinstance(x, np.ma.MaskedArray):
        return "; pass x.filled(value), or the mask as where= where a function has it"
    if isinstance(x, np.matrix):
        return "; pass numpy.asarray(x)"
    return ""
