"""The registry of all functions by name and alias."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ._errors import describe_value
from ._typing import NamedFunction

_functions: dict[str, Any] = {}
_names: dict[str, Any] = {}
_spellings: dict[str, str] = {}
"""The name for each spelling without letters' case and separators."""

_alias_of: dict[tuple[str, str], str] = {}
"""The first alias of a function with bound parameters, by its name and their repr."""


class Bound(functools.partial[Any]):
    """A function with parameters by name, which Keras can save as part of a model."""

    def get_config(self) -> dict[str, Any]:
        """Return what `get` makes it of."""
        return {"name": self.func.__name__, **self.keywords}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the function of such a mapping, in which Keras has written arrays as dicts."""
        from keras.saving import deserialize_keras_object

        return get(
            {
                k: deserialize_keras_object(v) if isinstance(v, dict) else v
                for k, v in config.items()
            }
        )


def register(function: Any) -> None:
    """Add a public function under its name and its aliases.

    Raises
    ------
    ValueError
        If a name is taken.
    """
    definition = function.definition
    for name, bound in {definition.name: {}, **definition.aliases}.items():
        entry = Bound(function, **bound) if bound else function
        other = _names.get(_spellings.get(_spelling(name), name), entry)
        if name in _names or parts(other) != parts(entry):
            raise ValueError(f"two functions are named {name!r}")
        _spellings.setdefault(_spelling(name), name)
        _names[name] = entry
        if bound:
            _alias_of.setdefault((definition.name, repr(dict(bound))), name)
    _functions[definition.name] = function


def _spelling(name: str) -> str:
    return name.lower().translate({ord(separator): None for separator in "_- "})


def get(identifier: str | Mapping[str, Any]) -> NamedFunction:
    """Return the function of a name or alias, with the parameters that the alias binds.

    Parameters
    ----------
    identifier : str or mapping
        A canonical name or one that another library uses, whatever the case of letters, with
        underscores, hyphens, spaces or nothing between words; or a mapping with the name under
        "name" and parameters under their names, where a list, as JSON has it, is a tuple.

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
    >>> ax.get("LeakyReLU") is ax.leaky_relu
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
    spelling = _spelling(name)
    function: NamedFunction | None = _names.get(name) or _names.get(_spellings.get(spelling, ""))
    if function is None:
        import difflib

        closest = difflib.get_close_matches(spelling, _spellings, n=3, cutoff=0.0)
        close = ", ".join(_spellings[found] for found in closest)
        raise ValueError(f"get: no activation is named {name!r}; the closest are {close}")
    if not given:
        return function
    parameters = parts(function)[0].definition.parameters
    for parameter in given:
        if parameter not in parameters:
            known = ", ".join(parameters) or "none"
            raise TypeError(f"get: {name} has no parameter {parameter!r}; its parameters: {known}")
    bound = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return Bound(function, **bound)


def name_of(function: Callable[..., Any]) -> str | dict[str, Any]:
    """Return the name of a function, or a mapping of it and its bound parameters, for `get`.

    JSON can hold it unless a parameter is an array.

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
    base, keywords, positional = parts(function)
    bound = {k: v.item() if isinstance(v, np.generic) else v for k, v in keywords.items()}
    name = getattr(base, "__name__", "")
    if base is None or _functions.get(name) is not base or positional:
        raise TypeError(
            "name_of: function must be one of this package, or a functools.partial with keywords "
            f"of one, got {describe_value(function)}"
        )
    return _alias_of.get((name, repr(bound)), {"name": name, **bound}) if bound else name


def parts(function: Any) -> tuple[Any, dict[str, Any], tuple[Any, ...]]:
    """Return a function without what a partial binds, and that by name and by position."""
    if isinstance(function, functools.partial):
        return function.func, function.keywords, function.args
    return function, {}, ()


def names(*, aliases: bool = False) -> list[str]:
    """Return the canonical names in alphabetical order, or with `aliases` every name for `get`."""
    return sorted(_names if aliases else _functions)
