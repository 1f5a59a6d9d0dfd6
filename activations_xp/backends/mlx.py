"""mlx: implementations with the written derivatives, compiled where that is soon done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import mlx.core as mx

from .._definition import Definition
from .._gradients import array_arguments, derivative, gradients, has_written_vjp
from .._typing import Kernel, Precision
from . import generic
from .base import Backend
from .judge import is_fast_enough_in_float32


def _asarray(values: Any, *, dtype: Any = None, device: Any = None) -> Any:
    return mx.asarray(values, dtype)


def _copysign(x: Any, y: Any) -> Any:
    size = mx.abs(x)
    return mx.where((y < 0) | (1 / y < 0), -size, size)  # also by a zero


_PLAIN = generic.extend_namespace(
    mx, **generic.one_sided(mx), asarray=_asarray, bool=mx.bool_, copysign=_copysign
)
"""mlx.core, with names of the standard that it lacks or takes otherwise."""


def _exp(x: Any) -> Any:
    """Return exp(x) by expm1, to two units; on the processor, mlx's own is off by up to 60."""
    if x.dtype == mx.complex64:
        return mx.exp(x)
    e = 1 + mx.expm1(_PLAIN.abs(x))
    return mx.where(x > 0, e, 1 / e)


_XP = generic.extend_namespace(_PLAIN, exp=_exp)
"""The namespace of computations to the last digits of float32."""

_FAST = generic.extend_namespace(_PLAIN, is_uncompensated=True)
"""The namespace of float32 computations that may be a few units off."""


class MlxBackend(Backend):
    """mlx on any device."""

    name = "mlx"
    xp = _XP

    def owns(self, x: Any) -> bool:
        return isinstance(x, mx.array)

    def device(self, x: Any) -> Any:
        return None  # devices share their memory, and an operation says where it runs

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
            form = definition.for_dtype(_XP, x.dtype)
            values = form.check(x, parameters, self)
            run = _Call(form, precision == "fast", x, values).run
            arrays = list(filter(self.owns, generic.tree_leaves(values)))
            given = zip(parameters, definition.parameters.values(), strict=True)
            if len(arrays) == sum(self.owns(p) and bool(spec.dtypes) for p, spec in given):
                return run, True
            return (lambda x, *_: run(x, *arrays)), False  # those in tuples

        return generic.cached_kernel(definition, make, self)

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        if not (self.owns(rng) and rng.dtype == mx.uint32 and rng.shape == (2,)):
            raise TypeError("a key of mlx, such as mlx.core.random.key(0)")
        is_floating = mx.issubdtype(like.dtype, mx.floating)
        dtype = like.dtype if is_floating and like.dtype.size > 2 else mx.float32
        return mx.random.uniform(shape=shape, dtype=mx.float32, key=rng).astype(dtype)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        return mx.zeros(0, dtype) if self.owns(rng) else None


BACKEND = MlxBackend()


class _Call:
    """A function at given parameters, with its gradient.

    values : the parameters, and the type of an array in place of one
    run : the function of x and of these arrays
    """

    def __init__(self, definition: Definition, is_fast: bool, x: Any, values: Any) -> None:
        self.definition = definition
        self.values = generic.tree_map(lambda v: mx.array if BACKEND.owns(v) else v, values)
        self.dtypes = generic.compute_and_result_dtypes(definition, _XP, x, values, mx.float32)
        self.wrt = array_arguments(definition, values)
        self.judged = is_fast and self.dtypes[0] == mx.float32 and definition.is_elementwise
        self.run: Callable[..., Any] = self._compiled(self.value, self._namespace())
        if has_written_vjp(definition, learned=len(self.wrt) > 1):
            self.run = _differentiable(self.run, self.gradients)

    def _compiled(self, function: Callable[..., Any], xp: Any) -> Callable[..., Any]:
        """Return a function of arrays compiled, if its expression is a short one.

        The whole implementation is long, and compiling it takes seconds.
        """
        if xp is not _FAST or not _compiles():
            return function
        is_of_arrays = mx.array in generic.tree_leaves(self.values)
        compiled: Callable[..., Any] = mx.compile(function, shapeless=not is_of_arrays)
        return compiled

    @functools.cached_property
    def derivative(self) -> Callable[..., Any]:
        """The derivative with respect to x, a function of all arrays."""

        def evaluate(x: Any, *arrays: Any) -> Any:
            return self._evaluate(x, arrays, derivative)

        return self._compiled(evaluate, self._namespace(derivative))

    def value(self, x: Any, *arrays: Any) -> Any:
        """Return the result."""
        return self._evaluate(x, arrays)

    def gradients(self, g: Any, x: Any, *arrays: Any) -> tuple[Any, ...]:
        """Return the gradients of all arrays from a cotangent, or one of each result."""
        if self.wrt == [self.definition.first] and self.definition.derivative is not None:
            found = {self.wrt[0]: g * self.derivative(x, *arrays)}
        else:
            found = self._evaluate(x, arrays, functools.partial(gradients, wrt=self.wrt), g)
        arguments = self.definition.bind(self._put(arrays))
        by_leaf = [found.pop(self.definition.first)]
        for name, argument in arguments.items():
            of_argument = found.get(name)
            there = filter(BACKEND.owns, generic.tree_leaves(argument))
            by_leaf += (
                map(mx.zeros_like, there)
                if of_argument is None
                else generic.tree_leaves(of_argument)
            )
        return tuple(by_leaf)

    def _put(self, arrays: Any) -> tuple[Any, ...]:
        """Return the parameters, with these arrays for those among them."""
        rest = iter(arrays)
        values: tuple[Any, ...] = generic.tree_map(
            lambda v: next(rest) if v is mx.array else v, self.values
        )
        return values

    def _namespace(self, impl: Callable[..., Any] | None = None) -> Any:
        """Return the namespace to compute in: that of short expressions where they will do."""
        if not self.judged:
            return _XP
        compiler = mx.compile if _compiles() else None
        is_enough = is_fast_enough_in_float32(
            self.definition, self.values, _FAST, impl=impl, compiler=compiler
        )
        return _FAST if is_enough else _XP

    def _evaluate(self, x: Any, arrays: Any, impl: Any = None, g: Any = None) -> Any:
        xp = self._namespace(impl) if g is None else _XP
        is_wide = mx.float64 in self.dtypes  # which other devices than the processor have not
        with mx.stream(mx.cpu) if is_wide else nullcontext():
            values = self._put(arrays)
            return generic.evaluate(self.definition, xp, x, values, *self.dtypes, impl, g)


@functools.cache
def _compiles() -> bool:
    """Return whether mlx can compile here; on the processor it needs a compiler of C++."""
    try:
        mx.eval(mx.compile(lambda x: 2 * x + 1)(mx.zeros(1)))
    except RuntimeError:
        return False
    return True


def _differentiable(value: Callable[..., Any], vjp: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays with this gradient, ``vjp(g, *arrays)``, under all transforms."""
    function: Any = mx.custom_function(value)

    def pull(primals: Any, cotangents: Any, outputs: Any) -> Any:
        found = vjp(_one_or_all(cotangents), *_as_tuple(primals))
        return found if isinstance(primals, (tuple, list)) else found[0]

    def push(primals: Any, tangents: Any) -> Any:
        primals, tangents = _as_tuple(primals), _as_tuple(tangents)
        result = value(*primals)
        moving = [i for i, tangent in enumerate(tangents) if tangent is not None]

        def transposed(*g: Any) -> list[Any]:
            found = vjp(_one_or_all(g), *primals)
            return [found[i] for i in moving]

        zeros = list(map(mx.zeros_like, _as_tuple(result)))
        return _one_or_all(mx.vjp(transposed, zeros, [tangents[i] for i in moving])[1])

    def batch(inputs: Any, axes: Any) -> Any:
        inputs, axes = _as_tuple(inputs), _as_tuple(axes)

        def batched_vjp(g: Any, *arrays: Any) -> tuple[Any, ...]:
            found = mx.vmap(vjp, in_axes=(0, *axes))(g, *arrays)
            pairs = zip(found, axes, strict=True)
            return tuple(
                mx.sum(part, axis=0) if axis is None else mx.moveaxis(part, 0, axis)
                for part, axis in pairs
            )

        result = _differentiable(mx.vmap(value, in_axes=axes), batched_vjp)(*inputs)
        return result, (0,) * len(result) if isinstance(result, tuple) else 0

    function.vjp(pull)
    function.jvp(push)
    function.vmap(batch)
    differentiable: Callable[..., Any] = function
    return differentiable


def _one_or_all(values: Any) -> Any:
    """Return the only one of several values, or a tuple of all."""
    values = _as_tuple(values)
    return values[0] if len(values) == 1 else values


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
