"""The registry of all functions by name and alias."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any

from ._errors import describe_value

_functions: dict[str, Any] = {}
_names: dict[str, Callable[..., Any]] = {}
_alias_of: dict[tuple[str, str], str] = {}
"""The first alias of a function with bound parameters, by its name and their repr."""


def register(function: Any) -> None:
    """Add a public function under its name and its aliases.

    Raises
    ------
    ValueError
        If a name is taken.
    """
    definition = function.definition
    for name, bound in {definition.name: {}, **definition.aliases}.items():
        if name in _names:
            raise ValueError(f"two functions are named {name!r}")
        _names[name] = functools.partial(function, **bound) if bound else function
        if bound:
            _alias_of.setdefault((definition.name, repr(dict(bound))), name)
    _functions[definition.name] = function


def get(identifier: str | Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function of a name or alias, with the parameters that the alias binds.

    Parameters
    ----------
    identifier : str or mapping
        A canonical name or one that another library uses; or a mapping with the name under "name"
        and parameters under their names.

    Raises
    ------
    TypeError
        If `identifier` is neither, or the function has no such parameter.
    ValueError
        If there is no such name; the message lists the three closest.

    Examples
    --------
    >>> import activations_xp as ax
    >>> ax.get("swish") is ax.silu
    True
    >>> ax.get("gelu_new").keywords
    {'approximate': 'tanh'}
    >>> ax.get({"name": "leaky_relu", "negative_slope": 0.5})(-1.0)
    np.float64(-0.5)
    """
    mapping = isinstance(identifier, Mapping)
    given = dict(identifier) if isinstance(identifier, Mapping) else {"name": identifier}
    name = given.pop("name", None)
    if not isinstance(name, str):
        wanted = "name must be a string" if mapping else "name must be a string or a mapping"
        raise TypeError(f"get: {wanted}, got {describe_value(name)}")
    if name not in _names:
        close = difflib.get_close_matches(name, _names, n=3, cutoff=0.0)
        raise ValueError(
            f"get: no activation is named {name!r}; the closest are {', '.join(close)}"
        )
    function = _names[name]
    if not given:
        return function
    parameters = _base(function).definition.parameters
    for parameter in given:
        if parameter not in parameters:
            known = ", ".join(parameters) or "none"
            raise TypeError(f"get: {name} has no parameter {parameter!r}; its parameters: {known}")
    return functools.partial(function, **given)


def name_of(function: Callable[..., Any]) -> str | dict[str, Any]:
    """Return the name of a function, or a mapping of it and its bound parameters, for `get`.

    Parameters
    ----------
    function : callable
        A function of this package, or a `functools.partial` that binds parameters of one.

    Raises
    ------
    TypeError
        If `function` is neither.

    Examples
    --------
    >>> import functools
    >>> import activations_xp as ax
    >>> ax.name_of(ax.silu)
    'silu'
    >>> ax.name_of(functools.partial(ax.leaky_relu, negative_slope=0.5))
    {'name': 'leaky_relu', 'negative_slope': 0.5}
    """
    bound = function.keywords if isinstance(function, functools.partial) else {}
    positional = function.args if isinstance(function, functools.partial) else ()
    base = _base(function)
    name = getattr(base, "__name__", "")
    if base is None or _functions.get(name) is not base or positional:
        raise TypeError(
            "name_of: function must be one of this package, or a functools.partial with keywords "
            f"of one, got {describe_value(function)}"
        )
    return _alias_of.get((name, repr(bound)), {"name": name, **bound}) if bound else name


def _base(function: Any) -> Any:
    return function.func if isinstance(function, functools.partial) else function


def names(*, aliases: bool = False) -> list[str]:
    """Return the canonical names in alphabetical order, or with `aliases` every name for `get`."""
    return sorted(_names if aliases else _functions)
