"""The numbers of a picture: curves, bars or a grid of values, by NumPy alone.

A function of one number is a curve, and so is one that joins the channels of an axis. A function
that keeps its axis is bars for a few rows. An operation of several arrays has a picture of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeAlias

import numpy as np

from .._definition import Definition
from .._errors import describe_value
from .._registry import get, name_of, parts
from .curves import Curve, curve_of, curve_of_gate, curves_of_channels
from .tables import OPERATIONS, Bars, Grid, bars_of, grid_of_classes

Picture: TypeAlias = Curve | Bars | Grid


def resolve(function: Any, caller: str = "plot") -> tuple[Any, dict[str, Any], str]:
    """Return a public function, the parameters that are bound, and what to call it.

    Parameters
    ----------
    function : a name or an alias, a public function, a partial of one, or a layer of one
    caller : the name to raise errors with
    """
    if isinstance(function, str):
        try:
            base, bound, _ = parts(get(function))
        except ValueError as error:
            raise ValueError(f"{caller}: {str(error).removeprefix('get: ')}") from None
        return base, dict(bound), function
    layer: Any = getattr(function, "function", None)
    if hasattr(layer, "definition"):  # a layer's attributes are its parameters
        known = {n: getattr(function, n) for n in layer.definition.parameters if n in dir(function)}
        bound = {n: v for n, v in known.items() if v is not None}
        function = functools.partial(layer, **{n: _as_number(v) for n, v in bound.items()})
    try:
        name = name_of(function)
    except TypeError:
        wanted = "a name, or a function or layer of this package"
        raise TypeError(
            f"{caller}: each function must be {wanted}, got {describe_value(function)}"
        ) from None
    base, keywords, _ = parts(function)
    return base, dict(keywords), name if isinstance(name, str) else base.__name__


def _as_number(value: Any) -> Any:
    return np.asarray(value).item() if getattr(value, "shape", None) in ((), (1,)) else value


def sample(
    function: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    range: tuple[float, float] | None = None,
    num: int = 601,
) -> list[Picture]:
    """Return the numbers of the picture of a function.

    Parameters
    ----------
    function : str or callable
        A name or an alias, a public function, a `functools.partial` of one, or a layer.
    parameters : mapping, optional
        Its parameters; those that are required and not given have the values they are tested at.
    range : pair of numbers, optional
        The ends of the x axis, of which the part inside the domain is sampled: by default -6 and
        6, or more where a kink or a bound lies farther out.
    num : int, optional
        The number of points, to which kinks are added.

    Returns
    -------
    list
        One `Curve`, or several of a function with several results, or one `Bars` or `Grid`.

    Raises
    ------
    TypeError
        If `function` is not one of this package, or it has no such parameter.
    ValueError
        If the range is empty, lies outside the domain, or a parameter is not valid.

    Examples
    --------
    >>> from activations_xp.plotting import sample
    >>> (curve,) = sample("relu", range=(-1.0, 1.0), num=3)
    >>> curve.kinks
    (0.0,)
    >>> curve.dy[0], curve.dy[-1]
    (np.float64(0.0), np.float64(1.0))
    """
    base, bound, label = resolve(function, "sample")
    given = {**bound, **(parameters or {})}
    check_parameters("sample", base.definition, given)
    ends = check_range("sample", range, base.definition)
    return pictures_of("sample", base, label_of(label, parameters or {}), given, ends, num)


def pictures_of(
    caller: str,
    base: Any,
    label: str,
    given: Mapping[str, Any],
    ends: tuple[float, float],
    num: int = 601,
) -> list[Picture]:
    """Return the numbers of a function at checked parameters, for `sample` and `plot`."""
    definition: Definition = base.definition
    low, high = ends
    if not definition.is_activation:
        if definition.name not in OPERATIONS:
            raise ValueError(f"{caller}: {definition.name} takes several arrays and has no picture")
        return [OPERATIONS[definition.name](base, label, given)]
    tested = definition.cases[0].parameters if definition.cases else {}
    given = {**{n: v for n, v in tested.items() if n not in definition.defaults}, **given}
    if definition.compares_integers:
        return [grid_of_classes(base, label, given)]
    if "gate" in definition.parameters:
        return [curve_of_gate(base, label, given, np.linspace(low, high, num))]
    if definition.output_axis == "kept":
        return [bars_of(base, label, given)]
    if definition.output_axis is not None:
        return [*curves_of_channels(base, label, given, np.linspace(low, high, num))]
    start, stop = definition.properties.domain
    x = np.linspace(max(low, start), min(high, stop), num)
    if x[0] >= x[-1]:
        raise ValueError(
            f"{caller}: range ({low:g}, {high:g}) lies outside the domain of {definition.name}, "
            f"({start:g}, {stop:g})"
        )
    return [curve_of(base, label, given, x)]


def check_parameters(caller: str, definition: Definition, given: Mapping[str, Any]) -> None:
    """Raise a TypeError for a parameter that a function does not have."""
    for name in given:
        if name not in definition.parameters:
            known = ", ".join(definition.parameters) or "none"
            raise TypeError(
                f"{caller}: {definition.name} has no parameter {name!r}; its parameters: {known}"
            )


def check_range(caller: str, range: Any, *definitions: Definition) -> tuple[float, float]:
    """Return the two ends of a range, or raise an error.

    None is from -6 to 6, or wider where a kink or a bound of a function lies farther out.
    """
    if range is None:
        ends = [6.0]
        for properties in (definition.properties for definition in definitions):
            bounds = [e for e in properties.range if isfinite(e)]
            ends += [1.5 * abs(end) for end in (*properties.kinks, *bounds)]
        return -max(ends), max(ends)
    try:
        low, high = map(float, range)
    except (TypeError, ValueError):
        raise TypeError(f"{caller}: range must be two numbers, got {range!r}") from None
    if not (isfinite(low) and isfinite(high) and low < high):
        raise ValueError(
            f"{caller}: range must be two finite numbers, the smaller one first, "
            f"got ({low:g}, {high:g})"
        )
    return low, high


def label_of(name: str, parameters: Mapping[str, Any]) -> str:
    """Return the name of a curve: a function at some parameters."""
    return ", ".join([name, *(f"{n}={_text(value)}" for n, value in parameters.items())])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
