"""JAX: implementations compiled once for each set of parameters, with the written derivatives."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from .._definition import Definition
from .._gradients import derivative, gradients, parameter_derivatives, tangent_of_parameter
from .._typing import Kernel, Precision
from ..numerics import special
from . import generic
from .base import Backend

_one_sided = generic.extend_namespace(jnp, **generic.one_sided(jnp))


def _replace(function: Callable[..., Any], dy_dx: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return our function in place of XLA's, with its derivative as a function of x and y.

    An infinite cotangent may reach it, which a polynomial would turn into NaN at 0.
    """
    ours = jax.custom_jvp(functools.partial(function, _one_sided))
    ours.defjvps(lambda tangent, y, x: tangent * dy_dx(x, y))
    return ours


def _isdtype(dtype: Any, kinds: Any) -> bool:
    is_key = jnp.issubdtype(dtype, jax.dtypes.extended)
    is_float8 = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize == 1
    return not (is_key or is_float8) and bool(jnp.isdtype(dtype, kinds))


_XP = generic.extend_namespace(
    _one_sided,
    expm1=_replace(special.expm1, lambda x, y: jnp.exp(x)),
    log1p=_replace(special.log1p, lambda x, y: 1 / (1 + x)),
    tanh=_replace(special.tanh, lambda x, y: (1 - y) * (1 + y)),
    complex=jax.lax.complex,
    conjugates_cotangents=False,
    isdtype=_isdtype,
)
"""jax.numpy, where our functions replace those of XLA that are 5 to 120 ulp off."""


class JaxBackend(Backend):
    """JAX on any device."""

    name = "jax"
    xp = _XP

    def owns(self, x: Any) -> bool:
        return isinstance(x, jax.Array)

    def device(self, x: Any) -> Any:
        return None  # JAX places arrays itself, and says when it cannot

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        return _bind(definition, precision)

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        is_array = isinstance(rng, jax.Array)
        is_typed = is_array and jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) and rng.ndim == 0
        is_raw = is_array and rng.dtype == jnp.uint32 and rng.ndim == 1
        if not (is_typed or is_raw):
            raise TypeError("a key of JAX, such as jax.random.key(0)")
        is_floating = jnp.issubdtype(like.dtype, jnp.floating)
        dtype = like.dtype if is_floating else jnp.result_type(float)
        return jax.random.uniform(rng, shape, dtype if dtype.itemsize > 2 else jnp.float32)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        return jnp.empty(0, dtype) if isinstance(rng, jax.Array) else None


BACKEND = JaxBackend()


@functools.cache
def _bind(definition: Definition, precision: Precision) -> Kernel:
    """Return a kernel that is compiled for each set of parameters, whose arrays are arguments."""

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        form = definition.for_dtype(_XP, x.dtype)
        form.check(x, parameters, BACKEND)
        leaves, tree = jax.tree_util.tree_flatten(parameters)
        positions = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array))
        static = tuple(None if i in positions else leaf for i, leaf in enumerate(leaves))
        exact_rounding = precision == "accurate" and x.dtype.itemsize < 4
        run = _compile(form, exact_rounding, tree, static, positions)
        if not positions:
            return run, True
        arrays = [leaves[i] for i in positions]
        return (lambda x: run(x, *arrays)), False

    return generic.cached_kernel(definition, make)


@functools.lru_cache(generic.MAX_CACHED_KERNELS)
def _compile(
    definition: Definition,
    exact_rounding: bool,
    tree: Any,
    static: tuple[Any, ...],
    positions: tuple[int, ...],
) -> Callable[..., Any]:
    """Return the compiled function of the arrays among the arguments.

    Both precisions share it, but for 16-bit floats.
    """
    call = _Call(definition, exact_rounding, tree, static, positions)
    return jax.jit(call.differentiable(), inline=True)


def _with_rank_promotion(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function broadcast as the standard does, whatever JAX is configured to."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with jax.numpy_rank_promotion("allow"):
            return function(*args)

    return call


class _Call:
    """An implementation with all arguments but its arrays."""

    def __init__(
        self,
        definition: Definition,
        exact_rounding: bool,
        tree: Any,
        static: tuple[Any, ...],
        positions: tuple[int, ...],
    ) -> None:
        self.definition, self.exact_rounding = definition, exact_rounding
        self.tree, self.static, self.positions = tree, static, positions
        places = definition.bind(jax.tree_util.tree_unflatten(tree, range(len(static))))
        names = {
            leaf: name
            for name, place in places.items()
            for leaf in jax.tree_util.tree_leaves(place)
        }
        self.names = [definition.first, *(names[i] for i in positions)]
        """The argument that each array belongs to."""

    def differentiable(self) -> Callable[..., Any]:
        """Return the function of the arrays, with the written derivative if it has all that."""
        definition = self.definition
        learned = any(definition.parameters[name].differentiable for name in self.names[1:])
        is_written = definition.derivative is not None or definition.vjp is not None
        if definition.is_activation and learned:
            has_all = definition.vjp is not None or definition.parameter_derivatives is not None
            is_written &= has_all
        if not (is_written and definition.use_custom_vjp):
            return self.value
        value = jax.custom_jvp(self.value)
        value.defjvp(_with_rank_promotion(self.jvp), symbolic_zeros=True)
        return value

    def value(self, x: Any, *arrays: Any) -> Any:
        """Return the result."""
        return _with_rank_promotion(self._evaluate)(x, self._parameters(arrays))

    def jvp(self, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return the result and its tangent: only the first of several results has one."""
        x, *arrays = primals
        result = self.value(*primals)
        value, *rest = result if isinstance(result, tuple) else (result,)
        definition, first = self.definition, self.definition.first
        parameters = self._parameters(arrays)
        moving = {
            name: tangent
            for name, tangent in zip(self.names, tangents, strict=True)
            if type(tangent) is not SymbolicZero
            and (name == first or definition.parameters[name].differentiable)
        }
        terms = []
        if first in moving and definition.derivative is not None:
            dy_dx = self._evaluate(x, parameters, derivative)
            terms.append(moving.pop(first) * dy_dx)
        others = [name for name in moving if name != first]
        if others and definition.parameter_derivatives is not None:
            values = definition.check(x, parameters, BACKEND)
            found = self._evaluate(x, parameters, parameter_derivatives)
            for name in others:
                tangent, dy = moving.pop(name), found[name]
                tangent_out = tangent_of_parameter(definition, _XP, values, name, tangent, x, dy)
                terms.append(tangent_out)
        if moving:
            impl = functools.partial(gradients, wrt=list(moving))
            vjp = jax.linear_transpose(lambda g: self._evaluate(x, parameters, impl, g), value)
            terms.append(vjp(moving)[0])
        if not terms:  # zeros beside others would be kept for the backward pass
            return result, jax.tree_util.tree_map(jnp.zeros_like, result)
        total = functools.reduce(operator.add, terms).astype(value.dtype)
        return result, (total, *map(jnp.zeros_like, rest)) if rest else total

    def _parameters(self, arrays: Iterable[Any]) -> tuple[Any, ...]:
        leaves = generic.merge_args(self.static, self.positions, arrays)
        parameters: tuple[Any, ...] = jax.tree_util.tree_unflatten(self.tree, leaves)
        return parameters

    def _evaluate(
        self,
        x: Any,
        parameters: tuple[Any, ...],
        impl: Callable[..., Any] | None = None,
        g: Any = None,
    ) -> Any:
        definition = self.definition
        values = definition.check(x, parameters, BACKEND)
        exact_rounding = self.exact_rounding and g is None  # it is not linear in g
        compute, result = generic.compute_and_result_dtypes(
            definition, _XP, x, values, jnp.result_type(float), exact_rounding
        )
        # float64 may be switched off
        is_wider = compute in (jnp.float64, jnp.complex128) and compute != result
        with jax.enable_x64(True) if is_wider else nullcontext():
            return generic.evaluate(definition, _XP, x, values, compute, result, impl, g)
