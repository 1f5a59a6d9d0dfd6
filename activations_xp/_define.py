"""The decorators that turn an implementation into a public, registered function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from ._definition import Case, Definition, NoiseSpec, OutputAxis, Peer, Properties
from ._docstring import complete
from ._parameters import ParameterSpec, parse_annotation, parse_constraint
from ._public import Activation, Operation, at_precision, build_public, signature_of
from ._registry import register
from ._typing import Impl, Namespace, OperationImpl, P, Q, R

__all__ = ["NoiseSpec", "Peer", "activation", "apply", "case", "operation"]

Peers = Mapping[str, str | Peer | tuple[str | Peer, ...]]


def case(*, formula: str = "", ulp: float = 0.0, **parameters: Any) -> Case:
    """Return parameters to test a function at.

    The formula and the error bound are the function's unless they are given.
    """
    return Case(parameters, formula, ulp)


def activation(
    *,
    formula: str,
    source: str,
    ulp: float = 2.0,
    constraints: tuple[str, ...] = (),
    aliases: tuple[str, ...] | Mapping[str, Mapping[str, Any]] = (),
    relatives: Mapping[str, Mapping[str, Any]] | None = None,
    cases: tuple[Case, ...] = (),
    layer: str = "",
    peers: Peers,
    output_axis: OutputAxis = None,
    preserves_integers: bool = False,
    compares_integers: bool = False,
    noise: NoiseSpec | None = None,
    **properties: Any,
) -> Callable[[Impl[P]], Activation[P]]:
    """Turn an implementation ``f(xp, x, parameters)`` into a public, registered function.

    Parameters
    ----------
    formula : the mathematics in Python, which the oracle evaluates in many digits
    source : the publication
    ulp : the largest error of our implementation in float32 and float64, in units in the last place
    constraints : conditions on the parameters, in Python
    aliases : further names for `get`, or a mapping from them to the parameters that they bind
    relatives : the functions, by name or alias, that it is at these parameters
    cases : parameters to test it at
    layer : the name of its class in `layers`, where it is not the function's own in CamelCase; of
        one that begins with "torch.nn." the arguments are those of PyTorch's class
    peers : its names in other libraries
    output_axis : None for an elementwise function; otherwise the effect on the axis: "kept" (same
        size), "resized" (another size, or removed) or "added" (a new axis)
    preserves_integers : whether integers at the default parameters stay integers
    compares_integers : whether the implementation takes integers as they are, to compare them; the
        result is floating all the same
    noise : the random numbers that it takes
    properties : see `Properties`
    """

    def decorate(impl: Impl[P]) -> Activation[P]:
        definition = _define(impl, source, peers, noise)
        defaults, parameters = definition.defaults, definition.parameters
        is_testable = len(defaults) == len(parameters)
        if noise is not None and "training" not in parameters:
            is_testable = False  # its noise is always drawn
        at_defaults = (Case({}),) if is_testable else ()
        definition = definition.changed(
            formula=formula,
            ulp=ulp,
            constraints=tuple(parse_constraint(text, parameters) for text in constraints),
            aliases=aliases if isinstance(aliases, Mapping) else {name: {} for name in aliases},
            relatives=relatives or {},
            layer=layer or "".join(word.capitalize() for word in definition.name.split("_")),
            cases=tuple(
                Case(c.parameters, c.formula or formula, c.ulp or ulp)
                for c in (*at_defaults, *cases)
            ),
            output_axis=output_axis,
            preserves_integers=preserves_integers,
            compares_integers=compares_integers,
            properties=Properties(**properties),
        )
        function = build_public(definition, complete(definition))
        register(function)
        return cast(Activation[P], function)

    return decorate


def operation(
    *,
    source: str,
    peers: Peers,
    use_custom_vjp: bool = False,
    widens: bool = False,
    noise: NoiseSpec | None = None,
) -> Callable[[OperationImpl[P, Q, R]], Operation[P, Q, R]]:
    """Turn an implementation ``f(xp, arrays and parameters)`` into a public, registered function.

    Parameters
    ----------
    source : the publication
    peers : its names in other libraries
    use_custom_vjp : whether libraries that differentiate use the written vjp; otherwise they
        differentiate the implementation
    widens : whether the results of 16-bit floats are in float32, to compute on with
    noise : the random numbers that it takes
    """

    def decorate(impl: OperationImpl[P, Q, R]) -> Operation[P, Q, R]:
        definition = _define(impl, source, peers, noise).changed(
            use_custom_vjp=use_custom_vjp, widens=widens
        )
        function = build_public(definition, complete(definition))
        register(function)
        return cast(Operation[P, Q, R], function)

    return decorate


def subroutine(*, output_axis: OutputAxis) -> Callable[[Callable[..., Any]], Any]:
    """Turn an implementation into a function that others `apply`, and that is not registered.

    A library may so run it as a whole, where it runs others operation by operation.
    """

    def decorate(impl: Callable[..., Any]) -> Any:
        definition = _define(impl, "", {}, None).changed(output_axis=output_axis)
        return build_public(definition, impl.__doc__ or "")

    return decorate


def _define(
    impl: Callable[..., Any], source: str, peers: Peers, noise: NoiseSpec | None
) -> Definition:
    """Return what the signature of an implementation says."""
    first, *rest = list(signature_of(impl).parameters.values())[1:]
    return Definition(
        impl.__name__,
        impl,
        first.name,
        {p.name: _specification(impl.__module__, p.annotation) for p in rest},
        {p.name: p.default for p in rest if p.default is not p.empty},
        source,
        {library: _peers(entry) for library, entry in peers.items()},
        noise,
        keyword_only=tuple(p.name for p in rest if p.kind is p.KEYWORD_ONLY),
    )


def _specification(module: str, annotation: Any) -> ParameterSpec:
    """Return what an annotation in a module says."""
    is_text = isinstance(annotation, str)  # as ``from __future__ import annotations`` leaves it
    return _parse_text(module, annotation) if is_text else parse_annotation(annotation)


@functools.cache
def _parse_text(module: str, annotation: str) -> ParameterSpec:
    return parse_annotation(eval(annotation, vars(sys.modules[module])))


def _peers(entry: str | Peer | tuple[str | Peer, ...]) -> tuple[Peer, ...]:
    entries = entry if isinstance(entry, tuple) else (entry,)
    return tuple(Peer(e) if isinstance(e, str) else e for e in entries)


def apply(xp: Namespace, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a public function inside an implementation, at the precision of its namespace.

    The library's own kernel runs where the precision allows it.
    """
    precision: Literal["fast", "accurate"] = getattr(xp, "precision", "fast")
    return at_precision(function, precision)(*args, **kwargs)
