"""The base of the layers of Flax: modules of nnx."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from ._jax import JaxArrays

_RNGS = inspect.Parameter("rngs", inspect.Parameter.KEYWORD_ONLY, default=None)


class FlaxLayer(JaxArrays, nnx.Module):
    """A layer that is a module of Flax.

    Like other modules it takes `rngs`, from which it draws its initial parameters and, in training,
    the noise of a random function.
    """

    forward: Callable[..., Any]
    rngs: Any
    _names: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__ != "activations_xp.layers.flax":  # a subclass of the user's
            return
        cls.__init__ = _with_rngs(cls.__init__)  # type: ignore[method-assign]
        signature = inspect.signature(cls.__init__)
        parameters = list(signature.parameters.values())[1:]
        cls.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]

    def _init(self, rng: Any, dtype: Any, device: Any) -> None:
        super()._init(rng, dtype, device)
        self.training = False

    def _register(self, name: str, array: Any) -> None:
        self._names = (*self._names, name)
        *path, name = name.split(".")
        owner: Any = self
        for part in path:
            if not hasattr(owner, part):
                setattr(owner, part, _Part())
            owner = getattr(owner, part)
        if array is None:
            vars(owner)[name] = None
        else:
            setattr(owner, name, nnx.Param(array))

    def _variables(self) -> dict[str, Any]:
        found = {}
        for name in self._names:
            value = functools.reduce(getattr, name.split("."), self)
            if value is not None:
                found[name] = value
        return found

    def _named_parameters(self) -> dict[str, Any]:
        return {name: variable[...] for name, variable in self._variables().items()}

    def _set_parameters(self, arrays: Mapping[str, Any]) -> None:
        for name, variable in self._variables().items():
            variable[...] = arrays[name]

    def _parameter(self, name: str) -> Any:
        return getattr(self, name)[...]

    def reset_parameters(self, rng: Any = None) -> None:
        """Set the parameters to initial values, from a key or from `nnx.Rngs`."""
        super().reset_parameters(rng.params() if isinstance(rng, nnx.Rngs) else rng)
        vars(self).pop("_rng", None)  # a key is no part of the layer

    @property
    def deterministic(self) -> bool:
        """Whether the layer is in evaluation mode: the name that `nnx.Module.train` sets."""
        return not self.training

    @deterministic.setter
    def deterministic(self, value: bool) -> None:
        self.training = not value

    def _is_random(self) -> bool:
        function = getattr(self, "function", None)
        if function is None:
            return "rng" in inspect.signature(self.forward).parameters
        return function.definition.noise is not None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "rngs" in vars(self) and kwargs.keys().isdisjoint(("rng", "noise")):
            training = kwargs.get("training")
            if training or (training is None and self.training):
                kwargs["rng"] = self.rngs()
        return self.forward(*args, **kwargs)


class _Part(nnx.Module):
    """The parameters whose names begin with a prefix and a dot."""

    def __getitem__(self, i: int) -> Any:
        return getattr(self, str(i))


def _with_rngs(init: Any) -> Any:
    """Return a constructor that takes `rngs`, too, and leaves no generator in the layer."""
    signature = inspect.signature(init)
    parameters = list(signature.parameters.values())
    at = len(parameters) - (parameters[-1].kind is inspect.Parameter.VAR_KEYWORD)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, rngs: Any = None, **kwargs: Any) -> None:  # noqa: N807
        if rngs is not None and kwargs.get("rng") is None and "rng" in signature.parameters:
            kwargs["rng"] = rngs.params()
        init(self, *args, **kwargs)
        vars(self).pop("_rng", None)
        if rngs is not None and self._is_random():
            self.rngs = rngs.dropout.fork()

    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*parameters[:at], _RNGS, *parameters[at:]]
    )
    return __init__
