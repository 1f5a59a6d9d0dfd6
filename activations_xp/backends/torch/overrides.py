"""Objects that take over torch's functions without being tensors, as the proxies of torch.fx do.

Their type has ``__torch_function__``, which is given our public function, and the arguments, before
anything is asked of them: https://docs.pytorch.org/docs/stable/notes/extending.html.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch.overrides import handle_torch_function

from ..._definition import Definition
from ..._typing import Kernel, Precision
from ..base import Backend


def takes_over(x: Any) -> bool:
    """Return whether x, or an element of this tuple or list, takes over the functions it meets."""
    if isinstance(x, (tuple, list)):
        return any(map(takes_over, x))
    return hasattr(type(x), "__torch_function__") and not isinstance(x, torch.Tensor)


def hand_over(
    definition: Definition, precision: Precision, x: Any, parameters: Iterable[Any], **out: Any
) -> Any:
    """Return what the arguments make of the public function; defaults are left out.

    Raises
    ------
    TypeError
        If they do not know what to do.
    """
    function = definition.function
    if precision == "accurate":
        function = getattr(function, "accurate", function)
    given = {definition.first: x, **definition.bind(parameters), **out}
    args, kwargs = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in given or given[name] is parameter.default:
            continue
        if parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
            args.append(given[name])
        else:
            kwargs[name] = given[name]
    relevant = [v for v in _flat([*args, *kwargs.values()]) if hasattr(v, "__torch_function__")]
    return handle_torch_function(function, relevant, *args, **kwargs)


def _flat(values: Iterable[Any]) -> list[Any]:
    return [e for v in values for e in (_flat(v) if isinstance(v, (tuple, list)) else [v])]


class Overrides(Backend):
    """The library of what is no tensor but takes over torch's functions."""

    name = "torch.overrides"
    xp = torch

    def owns(self, x: Any) -> bool:
        return takes_over(x)

    def isdtype(self, x: Any, kinds: tuple[str, ...]) -> bool:
        return False  # nothing is known of it

    def hands_over(self, values: Iterable[Any]) -> bool:
        return True

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        def kernel(x: Any, types: tuple[type, ...], *parameters: Any, **out: Any) -> Any:
            return hand_over(definition, precision, x, parameters, **out)

        return kernel


BACKEND = Overrides()
