"""JAX: the computation compiled once for each set of parameters, with the written derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from .._parameters import check
from .._typing import Kernel
from . import generic

if TYPE_CHECKING:
    from .._activation import Definition

xp = generic.overlay(jnp, **generic.one_sided(jnp))


@functools.cache
def bind(definition: Definition) -> Kernel:
    """A kernel compiled for each set of parameters; array parameters are arguments of it."""

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        check(definition, x, parameters)
        slots = tuple(i for i, p in enumerate(parameters) if isinstance(p, jax.Array))
        constants = tuple(None if i in slots else p for i, p in enumerate(parameters))
        compiled = _compiled(definition, constants, slots)
        if not slots:
            return compiled, True
        arrays = [parameters[i] for i in slots]
        return (lambda x: compiled(x, *arrays)), False

    return generic.planned(definition, make)


@functools.lru_cache(generic.PLANS)
def _compiled(
    definition: Definition, constants: tuple[Any, ...], slots: tuple[int, ...]
) -> Callable[..., Any]:
    compute = _computation(definition, constants, slots)
    if definition.derivative is not None and not slots:
        slope = _computation(definition.derivative, constants, slots)
        compute = jax.custom_jvp(compute)
        compute.defjvps(lambda tangent, value, x: tangent * slope(x))
    return jax.jit(compute, inline=True)


def _computation(
    definition: Definition, constants: tuple[Any, ...], slots: tuple[int, ...]
) -> Callable[..., Any]:
    def compute(x: Any, *arrays: Any) -> Any:
        parameters = list(constants)
        for i, array in zip(slots, arrays, strict=True):
            parameters[i] = array
        values = check(definition, x, tuple(parameters))
        dtypes = generic.precision(definition, xp, x, values, jnp.result_type(float))
        return generic.evaluate(definition, xp, x, values, *dtypes)

    return compute
