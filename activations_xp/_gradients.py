"""The gradients of a function's arguments, from the derivatives or the vjp of its definition."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ._definition import Definition
from ._errors import check_shape
from ._parameters import COMPLEX
from ._typing import NUMBER, Namespace
from .numerics.arrays import shape_along, unbroadcast, zeros_like


def gradients(
    definition: Definition,
    xp: Namespace,
    g: Any,
    x: Any,
    values: tuple[Any, ...],
    wrt: Collection[str],
) -> dict[str, Any]:
    """Return the gradients of the arguments named in `wrt`, each in its argument's shape.

    What is written for complex numbers has no conjugates: a cotangent g belongs to the change
    Re(g*dy), as in JAX. For other libraries it belongs to Re(conj(g)*dy), as in PyTorch, so that
    a gradient is the direction of steepest ascent.
    """
    if definition.is_complex and getattr(xp, "conjugates_cotangents", True):
        transposed = replace(definition, is_complex=False)
        g = g if isinstance(g, NUMBER) else xp.conj(g)
        by_argument = gradients(transposed, xp, g, x, values, wrt)
        return {argument: xp.conj(gradient) for argument, gradient in by_argument.items()}
    found: dict[str, Any] = {}
    name, first = f"{definition.name}.vjp", definition.first
    if definition.derivative is not None:
        if first in wrt:
            dy_dx = derivative(definition, xp, x, values)
            check_shape(name, "g", g, dy_dx.shape)
            found[first] = unbroadcast(xp, g * dy_dx, x.shape)
    elif first in wrt or definition.parameter_derivatives is None:
        g = _as_arrays(xp, g, x)
        if definition.is_activation and definition.keeps_shape:
            check_shape(name, "g", g, x.shape)
        assert definition.vjp is not None
        found = definition.call(definition.vjp, xp, g, x, values=values)
    rest = [argument for argument in wrt if argument not in found]
    if rest:
        derivatives = parameter_derivatives(definition, xp, x, values)
        arguments = definition.bind(values)
        for argument in rest:
            value = arguments[argument]
            shape = shape_of_parameter(definition, values, argument, value, x)
            total = unbroadcast(xp, g * derivatives[argument], shape)
            found[argument] = xp.reshape(total, value.shape)
    return {argument: found[argument] for argument in wrt}


def has_written_vjp(definition: Definition, learned: bool) -> bool:
    """Return whether a library that differentiates is given the written derivatives.

    They must be those of all arrays. `learned` says whether parameters are among these.
    """
    if not definition.use_custom_vjp or (definition.derivative is None and definition.vjp is None):
        return False
    has_all = definition.vjp is not None or definition.parameter_derivatives is not None
    return has_all or not (definition.is_activation and learned)


def _as_arrays(xp: Namespace, g: Any, x: Any) -> Any:
    """Return the cotangents, numbers as arrays without dimensions."""
    if isinstance(g, tuple):
        return tuple(_as_arrays(xp, part, x) for part in g)
    if not isinstance(g, NUMBER):
        return g
    nothing = x[(slice(0, 0),) * x.ndim]
    zero = xp.sum(nothing, axis=tuple(range(x.ndim)))
    return g + zeros_like(xp, xp.real(zero) if xp.isdtype(x.dtype, COMPLEX) else zero)


def derivative(definition: Definition, xp: Namespace, x: Any, values: tuple[Any, ...]) -> Any:
    """Return the derivative of each element of the result with respect to that of x."""
    assert definition.derivative is not None
    return definition.call(definition.derivative, xp, x, values=values)


def parameter_derivatives(
    definition: Definition, xp: Namespace, x: Any, values: tuple[Any, ...]
) -> dict[str, Any]:
    """Return the derivatives of each element of the result with respect to the parameters.

    Those with respect to coefficients have an additional first axis.
    """
    assert definition.parameter_derivatives is not None
    found: dict[str, Any] = definition.call(definition.parameter_derivatives, xp, x, values=values)
    return found


def array_arguments(definition: Definition, values: tuple[Any, ...]) -> list[str]:
    """Return the names of the first array and of the parameters that have a gradient here."""
    names = [
        name
        for (name, spec), value in zip(definition.parameters.items(), values, strict=True)
        if spec.differentiable and _is_array(value)
    ]
    return [definition.first, *names]


def _is_array(value: Any) -> bool:
    return all(map(_is_array, value)) if isinstance(value, tuple) else hasattr(value, "dtype")


def tangent_of_parameter(
    definition: Definition,
    xp: Namespace,
    values: tuple[Any, ...],
    name: str,
    tangent: Any,
    x: Any,
    derivative: Any,
) -> Any:
    """Return the tangent of the result for the tangent of a parameter."""
    shape = shape_of_parameter(definition, values, name, tangent, x)
    total = xp.reshape(tangent, shape) * derivative
    is_summed = definition.parameters[name].broadcasts == "coefficients"
    return xp.sum(total, axis=0) if is_summed else total


def shape_of_parameter(
    definition: Definition, values: tuple[Any, ...], name: str, parameter: Any, x: Any
) -> tuple[int, ...]:
    """Return the shape in which an array parameter broadcasts with the derivative by it."""
    broadcasts = definition.parameters[name].broadcasts
    if broadcasts == "coefficients":
        return (*parameter.shape, *(1,) * x.ndim)
    if broadcasts != "along":
        return tuple(parameter.shape)
    axis = definition.bind(values).get("axis")
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    return shape_along(parameter.shape, x, axes)
