"""Keras: symbolic tensors, of which a function makes a node of a model, and variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import keras

from .._definition import Definition
from .._typing import Kernel, Precision
from .base import Backend


@keras.saving.register_keras_serializable("activations_xp")
class Call(keras.Operation):  # type: ignore[misc]
    """A function as a node of a model, which is saved with it.

    What is no tensor is an argument of the node: Keras on JAX traces all that a node is called by.
    """

    def __init__(
        self, function: Callable[..., Any], given: Mapping[str, Any], name: str | None = None
    ) -> None:
        stem = function.__name__
        super().__init__(name or f"{stem}_{keras.backend.get_uid(stem)}")
        self.function, self.given = function, given

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs, **self.given)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras saves them."""
        own = {"function": self.function, "given": self.given}
        return {**super().get_config(), **keras.saving.serialize_keras_object(own)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a node with these arguments, and tuples where a saved model has lists."""
        function, given = map(
            keras.saving.deserialize_keras_object, (config["function"], config["given"])
        )
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return cls(function, given, config["name"])


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the symbolic result of a function of symbolic tensors."""
    tensors = {k: v for k, v in kwargs.items() if isinstance(v, keras.KerasTensor)}
    return Call(function, {k: v for k, v in kwargs.items() if k not in tensors})(*args, **tensors)


class KerasBackend(Backend):
    """The tensors of Keras that are those of none of its backends."""

    name = "keras"

    def owns(self, x: Any) -> bool:
        return isinstance(x, (keras.KerasTensor, keras.Variable))

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        form = ".accurate" if precision == "accurate" else ""
        name = f"activations_xp>{definition.name}{form}"
        function = keras.saving.get_registered_object(name)

        def kernel(x: Any, types: Any, *values: Any) -> Any:
            bound = definition.bind(values)
            is_given = {n: v is not definition.defaults.get(n, kernel) for n, v in bound.items()}
            given = {name: value for name, value in bound.items() if is_given[name]}
            if isinstance(x, keras.KerasTensor):
                return call(function, x, **given)
            return function(x.value, **given)

        return kernel


BACKEND = KerasBackend()
