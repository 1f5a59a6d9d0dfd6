"""Layers for Keras, on all of its backends.

The arguments are the parameters of the functions, and those of all layers of Keras.

>>> import keras
>>> from activations_xp.layers import keras as layers
>>> layer = layers.PReLU(shared_axes=[1, 2])
>>> layer.build((None, 8, 8, 3))
>>> tuple(layer.weight.shape)
(1, 1, 3)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras

from . import _layers
from ._functions import classes_on, layer_classes
from ._module import StatefulLayer

_NOT_OF_KERAS = ("self", "device", "dtype", "inplace")
"""Arguments of layers that those of Keras have not, whose `dtype` is a policy."""

_OPTIONS = ("activity_regularizer", "autocast", "dtype", "name", "seed", "trainable")
"""The arguments of all layers of Keras, and of those that draw random numbers."""


class KerasLayer(StatefulLayer, keras.layers.Layer):  # type: ignore[misc]
    """A layer that is one of Keras, on all of its backends.

    It takes the arguments of every layer of Keras, too: `name`, `dtype`, `trainable` and others;
    `seed` if it draws random numbers. The function of `Activation` is its `activation`.
    """

    function: Any
    _config: dict[str, Any]
    """The arguments that were given."""
    _fixed: ClassVar[tuple[str, ...]]
    _name: ClassVar[str]
    _signature: ClassVar[inspect.Signature]
    _names: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__ != __name__:  # a subclass of the user's
            return
        if hasattr(keras.layers.Layer, "forward"):  # on PyTorch, where it is the call of Keras
            cls.forward = keras.layers.Layer.forward
        cls._name = "activation"  # a layer of Keras has a name of its own
        cls._fixed = tuple(cls._name if name == "name" else name for name in cls._fixed)
        cls._signature, cls.__init__ = _constructor(cls)  # type: ignore[method-assign]

    def _init(self, rng: Any, dtype: Any, device: Any) -> None:
        options: dict[str, Any] = vars(self)["_options"]
        seed = options.pop("seed", None)
        is_random = self.function.definition.noise is not None
        if seed is not None and not is_random:
            raise TypeError(f"{type(self).__name__}: seed must be None, nothing is drawn")
        keras.layers.Layer.__init__(self, **options)
        self.training = False
        self.supports_masking = self.function.definition.output_axis in (None, "kept")
        if is_random:
            self.seed = seed
            self.seed_generator = keras.random.SeedGenerator(seed)

    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        return shape, value

    def _register(self, name: str, array: Any) -> None:
        if array is None:
            self.__dict__[name] = None
            return
        shape, value = array
        self._names = (*self._names, name)
        if "learned" in self._signature.parameters:  # where a partial may have it
            vars(self)["_config"].setdefault(name, value)
        start = keras.initializers.Constant(value)
        setattr(self, name, self.add_weight(shape=shape, initializer=start, name=name))

    def _named_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def _parameter(self, name: str) -> Any:
        return getattr(self, name).value

    def _asarray(self, value: Any, dtype: Any) -> Any:
        return value

    def _set_parameters(self, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            getattr(self, name).assign(array)

    def _reset(self, name: str, array: Any, number: float, is_random: bool) -> None:
        array.assign(keras.ops.full(array.shape, number))

    @classmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the parameters by name; with arguments, those of PyTorch's method of this name."""
        if args or kwargs:
            return keras.layers.Layer.state_dict(self, *args, **kwargs)  # type: ignore[no-any-return]
        return super().state_dict()

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Apply the function to x.

        Parameters
        ----------
        x : tensor
        mask : tensor, optional
            The elements to include, for `Softmax` and its relatives.
        training : bool, optional
        """
        definition = self.function.definition
        kwargs = self._kwargs(x, bool(training))
        if definition.noise is not None and (training or "training" not in definition.parameters):
            given = {**definition.defaults, **kwargs, definition.first: x}
            sizes = keras.ops.shape(x)  # which TensorFlow may know later
            shape = [
                sizes[i] if n is None else n for i, n in enumerate(definition.noise.shape(**given))
            ]
            kwargs["noise"] = keras.random.uniform(shape, seed=self.seed_generator)
            if "training" in definition.parameters:
                kwargs["training"] = True
        if mask is not None and _is_masked(definition):
            kwargs["where"] = keras.ops.cast(mask, "bool")
        return self.function(x, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as Keras saves them."""
        now = {name: vars(self).get(name) for name in (*self._config, *self._constants)}
        config = {name: self._config[name] if name in self._names else now[name] for name in now}
        names = self._signature.parameters
        own = {n: v for n, v in config.items() if n in names or "constants" in names}
        own.pop("training", None)
        if "seed" in vars(self):
            own["seed"] = self.seed
        return {**super().get_config(), **keras.saving.serialize_keras_object(own)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a layer with these arguments."""
        read = keras.saving.deserialize_keras_object
        own = {n: read(v) if isinstance(v, dict) and n != "dtype" else v for n, v in config.items()}
        return super().from_config(own)  # type: ignore[no-any-return]


def _is_masked(definition: Any) -> bool:
    """Return whether a function takes a mask of Keras: the softmax and its relatives do."""
    return "where" in definition.parameters and definition.impl.__module__.endswith(".simplex")


def _constructor(cls: Any) -> tuple[inspect.Signature, Any]:
    """Return the signature of a layer's constructor in Keras, and the constructor.

    Several optional arguments are taken by name alone, for Keras has them in another order.
    """
    init = cls.__init__
    parameters = list(inspect.signature(init).parameters.values())[1:]
    kept = [p for p in parameters if p.name not in _NOT_OF_KERAS]
    by_position = [p for p in kept if p.kind is p.POSITIONAL_OR_KEYWORD]
    optional = [p for p in by_position if p.default is not p.empty]
    if len(by_position) > 1:
        kept = [p.replace(kind=p.KEYWORD_ONLY) if p in optional else p for p in kept]
    kept = [p.replace(name="activation") if p.name == "name" else p for p in kept]
    rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    last = [] if kept and kept[-1].kind is rest.kind else [rest]
    signature = inspect.Signature([*kept, *last])

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        own = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}") from None
        given = bound.arguments
        for name in ("constants", "kwargs"):
            given |= given.pop(name, {})
        args = given.pop("args", ())
        vars(self).update(_options=own, _config=dict(given))
        if "activation" in given:
            args = (given.pop("activation"),)
        init(self, *args, **given)

    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = signature.replace(parameters=[me, *signature.parameters.values()])  # type: ignore[attr-defined]
    return signature, __init__


class _PReLU(_layers.PReLU):
    """Parametric rectified linear unit, x where x > 0 and weight*x elsewhere.

    Parameters
    ----------
    num_parameters : int or tuple of ints, optional
        1, or the size of the channel axis for one weight per channel. A tuple is the shape of x
        without its first axis, that of the batch; by default it is that of the first x.
    init : float, optional
        The initial value of the weights.
    axis : int, optional
        The channel axis.
    shared_axes : sequence of ints, optional
        The axes of x along which weights are shared, not counting axis 0, as in Keras.
    """

    def __init__(
        self,
        *,
        num_parameters: Any = None,
        init: float = 0.25,
        axis: int = -1,
        shared_axes: Any = None,
    ):
        if num_parameters is not None:
            super().__init__(num_parameters, init, axis=axis, shared_axes=shared_axes)
            return
        _layers.Activation.__init__(self, "prelu", axis=axis)
        vars(self)["num_parameters"] = None
        self.init, self.shared_axes = init, shared_axes

    def build(self, input_shape: Any) -> None:
        """Make the weights for tensors of a shape."""
        if "weight" not in self.learned:
            self._learn("weight", self.init, self._weight_shape(tuple(input_shape[1:])))


_CLASSES: dict[str, type[Any]] = {**layer_classes(is_torch=False), "PReLU": _PReLU}
_CLASSES = {name: cls for name, cls in _CLASSES.items() if issubclass(cls, _layers.Activation)}
_CLASSES = classes_on(KerasLayer, __name__, _CLASSES)
for _cls in _CLASSES.values():
    keras.saving.register_keras_serializable("activations_xp")(_cls)
globals().update(_CLASSES)
__all__ = list(_CLASSES)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
