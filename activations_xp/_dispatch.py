"""Dispatch on the type of the first array, and the choice of precision."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ._definition import Definition
from ._errors import array_hint, describe_value
from ._typing import NUMBER, Kernel, Precision
from .backends.base import Backend

PRECISIONS: tuple[Precision, ...] = ("fast", "accurate")

choice = [0]
"""The index in `PRECISIONS` that is chosen for the process, that of the last block."""


class _Block:
    """A ``with`` block that is not left yet, and its index in `PRECISIONS`."""

    def __init__(self, index: int) -> None:
        self.index = index


_blocks = [_Block(0)]
"""The blocks of all threads, in the order in which they were entered, after the default."""


def _choose_last() -> None:
    """Make the choice of the last block that of the process.

    Another thread may enter or leave a block meanwhile. Each looks again after it has chosen, so
    the last to choose has chosen right.
    """
    while choice[0] != _blocks[-1].index:
        choice[0] = _blocks[-1].index


@contextmanager
def precision(level: Precision) -> Iterator[None]:
    """Choose the precision inside a ``with`` block.

    The choice holds for the whole process, like those of ``torch.backends``: that of the block
    entered last and not left yet, in whatever order threads or tasks enter and leave theirs. For
    one call there is ``f.accurate(x)``, whatever other threads choose.

    Parameters
    ----------
    level : {"fast", "accurate"}
        "fast", the default, runs the library's own kernel if its error is at most
        ``8 * eps * max(abs(f(x)), min(abs(x), 1))``. "accurate" always runs our implementation,
        whose error is a few units in the last place on every library.

    Raises
    ------
    ValueError
        If `level` is neither.

    Examples
    --------
    >>> import numpy as np
    >>> import activations_xp as ax
    >>> with ax.precision("accurate"):
    ...     ax.tanh(np.zeros(2))
    array([0., 0.])
    """
    if level not in PRECISIONS:
        got = describe_value(level)
        raise ValueError(f"precision: level must be 'fast' or 'accurate', got {got}")
    block = _Block(PRECISIONS.index(level))
    _blocks.append(block)
    try:
        _choose_last()
        yield
    finally:
        _blocks.remove(block)
        _choose_last()


# literal imports, which dynamo can trace


def _numpy() -> Backend:
    from .backends.numpy import BACKEND

    return BACKEND


def _torch() -> Backend:
    from .backends.torch import BACKEND

    return BACKEND


def _torch_overrides() -> Backend:
    from .backends.torch.overrides import BACKEND

    return BACKEND


def _jax() -> Backend:
    from .backends.jax import BACKEND

    return BACKEND


def _dask() -> Backend:
    from .backends.dask import BACKEND

    return BACKEND


def _tensorflow() -> Backend:
    from .backends.tensorflow import BACKEND

    return BACKEND


def _mlx() -> Backend:
    from .backends.mlx import BACKEND

    return BACKEND


_LOADERS: dict[str, Callable[[], Backend]] = {
    "numpy": _numpy,
    "torch": _torch,
    "torch.overrides": _torch_overrides,
    "jax": _jax,
    "dask.array": _dask,
    "tensorflow": _tensorflow,
    "mlx.core": _mlx,
}
"""The backends by the module that must have been imported if it owns an array."""

_BY_TYPE: dict[type, Backend] = {}


def register(name: str, load: Callable[[], Backend]) -> None:
    """Add the backend of a library, which is loaded once the module `name` is imported."""
    _LOADERS[name] = load
    _BY_TYPE.clear()


def backend_of(x: Any) -> Backend:
    """Return the backend of the library that owns x.

    Raises
    ------
    TypeError
        If x is not an array.
    """
    backend = find_backend(x)
    if backend is None:
        raise TypeError(f"expected an array, got {describe_value(x)}{array_hint('x', x)}")
    return backend


def find_backend(x: Any) -> Backend | None:
    """Return the backend of the library that owns x, or None if x is not an array."""
    kind = type(x)
    try:
        return _BY_TYPE[kind]
    except KeyError:
        backend = _search_backend(x)
        # dynamo guards on the size of a dictionary that has grown while it traces
        if backend is not None and not backend.is_tracing():
            _BY_TYPE[kind] = backend
        return backend


def _search_backend(x: Any) -> Backend | None:
    for backend in loaded_backends():
        if backend.owns(x):
            return backend
        if backend.refuses(x):
            return None
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        return None
    from .backends.generic import backend_for

    return backend_for(x)


def loaded_backends() -> Iterator[Backend]:
    """Yield the backends of the libraries that have been imported."""
    for name, load in _LOADERS.items():
        if name in sys.modules:
            yield load()


def resolve(
    definition: Definition,
    level: Precision,
    x: Any,
    kernels: dict[type, Kernel],
    plain: dict[type, Kernel],
    written: dict[type, Kernel],
) -> Kernel:
    """Return the kernel for arrays like x, and remember it by type.

    Its attribute `plain`, if there is one, is a function of x for the defaults of all parameters,
    and `written` one of x and `out`, if the backend writes to that.
    """
    numbers = NUMBER if definition.complex is None else (*NUMBER, complex)
    is_number = isinstance(x, numbers) and definition.is_activation
    backend = _numpy() if is_number else find_backend(x)
    if backend is None:
        got = f"{describe_value(x)}{array_hint(definition.first, x, definition)}"
        raise TypeError(f"{definition.name}: {definition.first} must be an array, got {got}")
    kernel = backend.bind(definition, level, type(x))
    if not backend.is_tracing():
        kernels[type(x)] = kernel
        if hasattr(kernel, "plain"):
            plain[type(x)] = kernel.plain
        if hasattr(kernel, "written"):
            written[type(x)] = kernel.written
    return kernel


def sample_noise(
    definition: Definition,
    level: Precision,
    x: Any,
    rng: Any,
    noise: Any,
    values: tuple[Any, ...],
) -> Any:
    """Return the noise of a call: `noise`, or numbers drawn from `rng`.

    None means that the library's own kernel draws them, or that an argument is bad, of which the
    kernel says more.
    """
    spec, name = definition.noise, definition.name
    assert spec is not None
    arguments = definition.bind(values)
    probability = arguments.get(spec.probability)
    if isinstance(probability, NUMBER) and not probability > 0:
        return noise
    x = np.asarray(x) if isinstance(x, NUMBER) else x
    backend = find_backend(x)
    if backend is None:
        return None
    if backend.hands_over(values):
        if rng is not None:
            got = describe_value(rng)
            raise TypeError(f"{name}: rng must be None where the call is recorded, got {got}")
        return noise
    if spec.probability:
        x, values = backend.promote(definition, x, values)
        arguments = definition.bind(definition.check(x, values, backend))
        probability = arguments[spec.probability]
        if isinstance(probability, NUMBER) and not probability > 0:
            return noise
    arguments[definition.first] = x
    if noise is not None:
        if rng is not None:
            raise TypeError(f"{name}: takes rng or noise, got both")
        return noise
    is_of_numbers = not any(map(backend.owns, values))
    if rng is None and is_of_numbers and backend.samples_natively(definition, level, type(x)):
        return None
    return sample_uniform(name, spec.shape(**arguments), x, rng)


def sample_uniform(function: str, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
    """Return numbers from [0, 1) that `rng` draws for arrays like `like`."""
    try:
        return backend_of(like).uniform(shape, like, rng)
    except LookupError:
        hint = "" if rng is None else f", got rng={describe_value(rng)}"
        message = f"{function}: noise must be given to arrays of this library{hint}"
        raise TypeError(message) from None
    except TypeError as error:
        got = describe_value(rng)
        raise TypeError(f"{function}: rng must be {error}, got {got}") from None
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


def empty_for_rng(function: str, rng: Any, dtype: Any) -> Any:
    """Return an empty array of the library that a random number generator belongs to."""
    arrays = (backend.empty_for(rng, dtype) for backend in loaded_backends())
    x = next((x for x in arrays if x is not None), None)
    if x is None:
        wanted = "a numpy.random.Generator, a torch.Generator or a key of JAX"
        raise TypeError(f"{function}: rng must be {wanted}, got {describe_value(rng)}")
    if not is_floating(x):
        raise TypeError(f"{function}: dtype must be a real floating one, got {dtype!r}")
    return x


def is_floating(x: Any) -> bool:
    """Return whether x is an array with a real floating dtype."""
    backend = find_backend(x)
    return backend is not None and backend.isdtype(x, ("real floating",))


def call_with_out(
    function: str, out: Any, kernel: Kernel, x: Any, types: tuple[type, ...], *parameters: Any
) -> Any:
    """Return `out`, to which the kernel's result has been written."""
    backend = _BY_TYPE.get(type(x))
    if backend is None:
        backend = _numpy() if isinstance(x, (*NUMBER, complex)) else backend_of(x)
    if backend.hands_over(()):
        return kernel(x, types, *parameters, out=out)
    if backend.writes_out and find_backend(out) is backend:
        value = kernel(x, types, *parameters, out=out)
    else:
        value = kernel(backend.keep(x, out), types, *parameters)
    return out if value is out else assign(function, "out", out, value)


def assign(function: str, argument: str, target: Any, value: Any) -> Any:
    """Write a value to the array that an argument names, and return the array.

    Raises
    ------
    TypeError, ValueError
        If the array is of another library, shape or a dtype that cannot hold the value, or
        read-only.
    """

    def fail(kind: type[Exception], what: str, got: str) -> NoReturn:
        raise kind(f"{function}: {argument} needs an array {what}, got {got}")

    if isinstance(value, (tuple, dict)):
        raise TypeError(f"{function}: {argument} needs a single result, got {len(value)}")
    backend = find_backend(target)
    if backend is None or backend is not find_backend(value):
        fail(TypeError, "of x's library", describe_value(target))
    if target.dtype != value.dtype and not backend.isdtype(target, ("complex floating",)):
        if backend.isdtype(value, ("complex floating",)):
            fail(TypeError, "of a complex dtype", describe_value(target))
        if not is_floating(target):
            fail(TypeError, "of a floating dtype", describe_value(target))
    if target.shape != value.shape:
        fail(ValueError, f"of shape {tuple(value.shape)}", str(tuple(target.shape)))
    try:
        backend.write(target, value)
    except (TypeError, ValueError) as error:  # an immutable or read-only array
        raise type(error)(
            f"{function}: {argument} needs an array that can be written to: {error}"
        ) from None
    return target
