"""JAX: the computation compiled once for each set of parameters, with the written derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from .. import _special
from .._parameters import check
from .._typing import Kernel
from . import generic

if TYPE_CHECKING:
    from .._activation import Definition
    from .._dispatch import Implementation
    from .._operation import Operation

_one_sided = generic.overlay(jnp, **generic.one_sided(jnp))


def _ours(function: Callable[..., Any], slope: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function in place of XLA's, with the slope of x and y: an infinite gradient may reach it,
    of which a polynomial would make NaN where x is 0.
    """
    own = jax.custom_jvp(functools.partial(function, _one_sided))
    own.defjvps(lambda tangent, y, x: tangent * slope(x, y))
    return own


xp = generic.overlay(
    _one_sided,
    expm1=_ours(_special.expm1, lambda x, y: jnp.exp(x)),
    log1p=_ours(_special.log1p, lambda x, y: 1 / (1 + x)),
    tanh=_ours(_special.tanh, lambda x, y: (1 - y) * (1 + y)),
)
"""jax.numpy, where XLA's functions that are 5 to 120 units off are ours."""


@functools.cache
def bind(definition: Definition, which: Implementation) -> Kernel:
    """A kernel compiled for each set of parameters; array parameters are arguments of it."""

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        check(definition, x, parameters)
        slots = tuple(i for i, p in enumerate(parameters) if isinstance(p, jax.Array))
        constants = tuple(None if i in slots else p for i, p in enumerate(parameters))
        wide = which == "portable" and x.dtype.itemsize < 4
        compiled = _compiled(definition, wide, constants, slots)
        if not slots:
            return compiled, True
        arrays = [parameters[i] for i in slots]
        return (lambda x: compiled(x, *arrays)), False

    return generic.planned(definition, make)


@functools.lru_cache(generic.PLANS)
def _compiled(
    definition: Definition, wide: bool, constants: tuple[Any, ...], slots: tuple[int, ...]
) -> Callable[..., Any]:
    compute = _computation(definition, wide, constants, slots)
    learned = any(list(definition.parameters.values())[i].is_learned for i in slots)
    if definition.vjp is not None and (definition.parameter_derivatives or not learned):
        compute = jax.custom_jvp(compute)
        compute.defjvp(_rule(definition, wide, constants, slots, compute), symbolic_zeros=True)
    return jax.jit(compute, inline=True)


def _rule(
    definition: Definition,
    wide: bool,
    constants: tuple[Any, ...],
    slots: tuple[int, ...],
    compute: Callable[..., Any],
) -> Callable[..., Any]:
    """The written derivatives as JAX wants them: how tangents move the value."""

    def part(definition: Definition | None) -> Callable[..., Any]:
        return _computation(cast("Definition", definition), wide, constants, slots)

    def moved(value: Any, tangent: Any, x: Any, *arrays: Any) -> Any:
        """How the tangent of x does."""
        if definition.derivative is not None:
            return tangent * part(definition.derivative)(x, *arrays)
        whole, places = (None, *constants), (0, *(i + 1 for i in slots))
        vjp = _computation(cast("Definition", definition.vjp), wide, whole, places)
        return jax.linear_transpose(lambda g: vjp(x, g, *arrays), value)(tangent)[0]

    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        result = compute(*primals)
        value, *rest = result if isinstance(result, tuple) else (result,)
        x, *arrays = primals
        kinds = list(definition.parameters.values())
        is_learned = [True, *(kinds[slot].is_learned for slot in slots)]
        is_moving = [
            learned and type(t) is not SymbolicZero
            for learned, t in zip(is_learned, tangents, strict=True)
        ]
        total = jnp.zeros_like(value)
        if is_moving[0]:
            total = total + moved(value, tangents[0], x, *arrays)
        if any(is_moving[1:]):
            values = check(definition, x, generic.filled(constants, slots, arrays))
            slopes = part(definition.parameter_derivatives)(*primals)
            for i, slot in enumerate(slots, 1):
                if is_moving[i]:
                    name = list(definition.parameters)[slot]
                    shape = generic.aligned_to(definition, values, name, arrays[i - 1], x)
                    total = total + tangents[i].reshape(shape) * slopes[name]
        total = total.astype(value.dtype)
        return result, (total, *map(jnp.zeros_like, rest)) if rest else total

    return rule


def _computation(
    definition: Definition, wide: bool, constants: tuple[Any, ...], slots: tuple[int, ...]
) -> Callable[..., Any]:
    def compute(x: Any, *arrays: Any) -> Any:
        values = check(definition, x, generic.filled(constants, slots, arrays))
        dtypes = generic.precision(definition, xp, x, values, jnp.result_type(float), wide)
        # which gives float64 also where it is switched off
        with jax.enable_x64(True) if wide and dtypes[0] != dtypes[1] else nullcontext():
            return generic.evaluate(definition, xp, x, values, *dtypes)

    return compute


def uniform(x: Any, shape: tuple[int, ...], rng: Any) -> Any:
    """Random numbers in the dtype that x is computed in."""
    typed = isinstance(rng, jax.Array) and jnp.issubdtype(rng.dtype, jax.dtypes.prng_key)
    raw = isinstance(rng, jax.Array) and rng.dtype == jnp.uint32 and rng.ndim == 1
    if not ((typed and rng.ndim == 0) or raw):
        raise TypeError("a key of JAX, such as jax.random.key(0)")
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    dtype = x.dtype if floating else jnp.result_type(float)
    return jax.random.uniform(rng, shape, dtype if dtype.itemsize > 2 else jnp.float32)


def perform(operation: Operation, values: tuple[Any, ...]) -> Any:
    """What the computation makes of these arrays, compiled; none of JAX's own is as good."""
    leaves, tree = jax.tree_util.tree_flatten(values)
    slots = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array))
    constants = tuple(None if i in slots else leaf for i, leaf in enumerate(leaves))
    run = _performing(operation, tree, constants, slots)
    return run(*(leaves[i] for i in slots))


@functools.lru_cache(generic.PLANS)
def _performing(
    operation: Operation, tree: Any, constants: tuple[Any, ...], slots: tuple[int, ...]
) -> Callable[..., Any]:
    def values(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        leaves = generic.filled(constants, slots, arrays)
        return cast("tuple[Any, ...]", jax.tree_util.tree_unflatten(tree, leaves))

    def compute(*arrays: Any) -> Any:
        return generic.perform(operation, xp, values(arrays))

    vjp = operation.vjp
    if not operation.whole or vjp is None:
        return jax.jit(compute, inline=True)

    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        """The written derivative as JAX wants it: how tangents move the value."""
        result = compute(*primals)
        moving = [i for i, t in enumerate(tangents) if type(t) is not SymbolicZero]
        names = jax.tree_util.tree_unflatten(tree, range(len(constants)))
        places = {leaf: name for name, leaf in zip(operation.parameters, names, strict=True)}

        def pull(g: Any) -> list[Any]:
            gradients = generic.perform(vjp, xp, (g, *values(primals)))
            return [gradients[places[slots[i]]] for i in moving]

        moved = jax.linear_transpose(pull, result)([tangents[i] for i in moving])
        return result, moved[0]

    told = jax.custom_jvp(compute)
    told.defjvp(rule, symbolic_zeros=True)
    return jax.jit(told, inline=True)
