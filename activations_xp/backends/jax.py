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

_PLANS = 256


@functools.cache
def bind(definition: Definition) -> Kernel:
    """A kernel compiled for each set of parameters; array parameters are arguments of it."""
    plans: dict[Any, Callable[..., Any]] = {}

    def kernel(x: Any, *parameters: Any) -> Any:
        try:
            plan = plans[parameters]
        except (KeyError, TypeError):  # new, or an array among the parameters
            check(definition, x, parameters)
            return planned(x, parameters)
        return plan(x)

    def planned(x: Any, parameters: tuple[Any, ...]) -> Any:
        slots = tuple(i for i, p in enumerate(parameters) if isinstance(p, jax.Array))
        constants = tuple(None if i in slots else p for i, p in enumerate(parameters))
        key = (constants, slots) if slots else parameters
        if key not in plans:
            if len(plans) >= _PLANS:
                plans.clear()
            plans[key] = _compiled(definition, constants, slots)
        return plans[key](x, *(parameters[i] for i in slots))

    return kernel


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
