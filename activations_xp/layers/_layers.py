"""The layers, each written once: its parameters, its value and its gradients.

The modules of the libraries combine each of these classes with a base that stores the parameters.
"""

from __future__ import annotations

import inspect
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import isfinite, sqrt
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Self,
    TypeAlias,
    TypeVar,
    get_type_hints,
)

import numpy as np

from .. import functions as ax
from .._definition import check_argument
from .._dispatch import backend_of, find_backend, is_floating, sample_uniform
from .._errors import describe_value
from .._parameters import (
    COUNT,
    NUMBER_SPEC,
    Constraint,
    Count,
    Integer,
    Number,
    ParameterSpec,
    parse_annotation,
    parse_constraint,
)
from .._registry import get, name_of, parts
from .._torch_masks import mask_kwargs
from .._typing import NUMBER, A, P
from ..dropin._conventions import default_eps, implicit_axis, inplace_if

T = TypeVar("T")


def _signature_of(function: Callable[P, T]) -> Callable[[Any], Callable[P, T]]:
    """Give a method the signature of another, for type checkers."""
    return lambda method: method


def _counts(value: Any, *_: Any) -> tuple[int, ...]:
    return tuple(COUNT.check(n, "x", _ANY, backend_of(_ANY)) for n in value)


def _count_or_counts(value: Any, *_: Any) -> int | tuple[int, ...]:
    is_one = not isinstance(value, (tuple, list))
    return _counts([value])[0] if is_one else _counts(value)


Counts: TypeAlias = Annotated[
    Sequence[int], ParameterSpec("a sequence of positive integers", convert=_counts)
]
CountOrCounts: TypeAlias = Annotated[
    int | Sequence[int],
    ParameterSpec("a positive integer or a tuple of them", convert=_count_or_counts),
]

_MODE = parse_annotation(bool)


def _is_same(value: Any, other: Any) -> bool:
    """Return whether two values are the same; of arrays only one and the same is."""
    is_plain = type(value) is type(other) and not hasattr(value, "dtype")
    return value is other or (is_plain and bool(value == other))


def _without_arrays(spec: ParameterSpec) -> ParameterSpec:
    """Return a specification that accepts numbers where one accepts arrays and numbers."""
    if not spec.dtypes:
        return spec
    text = NUMBER_SPEC.text if spec.number else "a tuple of real numbers"
    options = [*map(repr, spec.choices), text, *["None"] * spec.optional]
    return replace(spec, text=" or ".join(options), dtypes=())


def _ndim(x: Any) -> int:
    """Return the number of axes, and that of more than any where a tracer does not know it."""
    ndim = getattr(x, "ndim", None)
    return ndim if isinstance(ndim, int) else _ANY.ndim


_ANY = np.empty((1,) * 64)
"""An array to check arguments beside before there is one; it has as many axes as any."""


class Layer(metaclass=ABCMeta):  # FSDP cannot change the class of what derives from ABC
    """A function together with its parameters.

    The arguments of the constructor are attributes. Annotations specify them like those of a
    function, and they are checked whenever they are set.

    The abstract methods are those of a library's base: they store the parameters, under the names
    of PyTorch's modules, which have a dot for a module within a module.
    """

    training: bool
    _rng: Any
    _arguments: ClassVar[dict[str, ParameterSpec | None]] = {}
    """The arguments of the constructor, and their specifications where they have one."""
    _fixed: ClassVar[tuple[str, ...]] = ()
    """The arguments that only the constructor sets."""
    _requires: ClassVar[tuple[str, ...]] = ()
    """The conditions on the arguments."""
    _constants: tuple[str, ...] = ()
    """The parameters of a function that are attributes."""
    function: Any = None
    _initial: tuple[tuple[str, float, bool], ...] = ()
    """The parameters, what they begin with, and whether that bounds random numbers."""
    _quiet: ClassVar[Mapping[str, Any]] = {"learned": (), "inplace": False}
    """The arguments that are not shown at these values; others are where they are not None."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = inspect.getdoc(cls)  # help() does not show the page of a base
        if cls.__module__ == __name__ and "__init__" in vars(cls):
            cls._arguments = {}
            for name, hint in get_type_hints(cls.__init__, include_extras=True).items():
                cls._arguments[name] = None
                with suppress(TypeError):
                    cls._arguments[name] = parse_annotation(hint)

    @abstractmethod
    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        """Return an array filled with `value`, of that dtype and on that device."""

    @abstractmethod
    def _register(self, name: str, array: Any) -> None:
        """Add a parameter, or with None the name of one that the layer could have."""

    @abstractmethod
    def _named_parameters(self) -> dict[str, Any]:
        """Return the parameters by name, as the arrays that gradients flow to."""

    def _parameter(self, name: str) -> Any:
        """Return the array of a parameter that is an attribute."""
        return getattr(self, name)

    @abstractmethod
    def _reset(self, name: str, array: Any, number: float, is_random: bool) -> None:
        """Set a parameter, an array, to a number, or to random ones that it bounds."""

    @classmethod
    @abstractmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of a layer that can load this ``state_dict``."""

    @abstractmethod
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Set the parameters."""

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Return a layer with the parameters of a ``state_dict``, of PyTorch or of such a layer.

        Parameters
        ----------
        state_dict : mapping from str to array
            The arrays may be of any library. Their dtype is kept unless `dtype` is given.
        *args, **kwargs
            The arguments of the layer.

        Raises
        ------
        TypeError
            If it is no mapping, or an array is not one of real numbers.
        ValueError
            If a name is missing or unknown, or an array has another shape.
        """
        cls._check_mapping(state_dict)
        names = inspect.signature(cls).parameters
        for name, value in cls._kwargs_from_state(state_dict).items():
            if name in names and kwargs.get(name) is None:
                kwargs[name] = value
        layer = cls(*args, **kwargs)
        layer.load_state_dict(state_dict)
        return layer

    @classmethod
    def _check_mapping(cls, state_dict: Any) -> None:
        if not isinstance(state_dict, Mapping):
            got = describe_value(state_dict)
            raise TypeError(f"{cls.__name__}: state_dict must be a mapping, got {got}")

    def _init(self, rng: Any, dtype: Any, device: Any) -> None:
        """Initialize the object, with `rng`, `dtype` and `device` for the parameters to come."""
        super().__init__()
        self._rng, self._dtype, self._device = rng, dtype, device
        layer = type(self).__name__
        try:
            is_right = is_floating(self._full((0,), 0.0))
        except Exception as error:  # each library raises others
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{layer}: dtype or device is not one of this library: {error}") from None
        if not is_right:
            raise TypeError(f"{layer}: dtype must be a real floating one, got {dtype!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fixed and (name in vars(self) or getattr(type(self), name, None)):
            got = describe_value(value)
            raise ValueError(
                f"{type(self).__name__}: {name} is fixed, make a new layer instead, got {got}"
            )
        if self._specs().get(name) is not None:
            self._set_arguments(**{name: value})
        else:
            super().__setattr__(name, value)

    def _specs(self) -> dict[str, ParameterSpec | None]:
        """Return the specifications of the attributes that are checked."""
        return {**self._arguments, "training": _MODE}

    def _constraints(self) -> Iterable[Constraint]:
        """Return the conditions on them."""
        specs = {name: spec for name, spec in self._arguments.items() if spec is not None}
        return (parse_constraint(text, specs) for text in self._requires)

    def _defaults(self) -> dict[str, Any]:
        """Return the values that they have while they are not set, None if that is not known."""
        return dict.fromkeys(self._arguments)

    def _set_arguments(self, **given: Any) -> None:
        """Store arguments as attributes, if they are right and satisfy the constraints."""
        values = {name: self._checked_argument(name, value) for name, value in given.items()}
        known = {**self._defaults(), **vars(self), **values}
        for constraint in self._constraints():
            names = [name for name in constraint.names if name in values]
            if names and not constraint.holds(known):
                layer = type(self).__name__
                got = ", ".join(f"{name}={known[name]!r}" for name in constraint.names)
                raise ValueError(f"{layer}: {names[0]} must satisfy {constraint.text}, got {got}")
        vars(self).update(values)

    def _checked_argument(self, name: str, value: Any) -> Any:
        """Return the value of an argument to store; arrays are checked where they meet x."""
        spec = self._specs()[name]
        assert spec is not None
        value = value.item() if isinstance(value, np.generic) else value
        is_array = find_backend(value) is not None
        if is_array and spec.dtypes:
            return value
        layer = type(self).__name__
        try:
            checked = check_argument(layer, name, spec, value, "x", _ANY, backend_of(_ANY))
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error}{self._hint(value)}") from None
        return value if spec.depends_on_ndim else checked

    def _hint(self, value: Any) -> str:
        """Return how a layer is applied, for an array among the arguments of the constructor."""
        if find_backend(value) is None:
            return ""
        parameters = inspect.signature(type(self)).parameters.values()
        is_complete = all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters)
        call = f"{type(self).__name__}({'' if is_complete else '...'})(x)"
        return f"; the layer is made first and then applied to an array x, as {call}"

    def __getstate__(self) -> dict[str, Any]:
        # the generator is no longer needed, and PyTorch's cannot be copied
        return {**self.__dict__, "_rng": None}

    def _register_full(self, name: str, shape: tuple[int, ...] | None, value: float) -> None:
        """Add a parameter whose elements begin with a number, or None without a shape."""
        self._initial = (*self._initial, (name, value, False))
        self._register(name, None if shape is None else self._full(shape, value))

    def _register_uniform(self, name: str, shape: tuple[int, ...] | None, bound: float) -> None:
        """Add a parameter drawn uniformly from [-bound, bound), or None without a shape."""
        self._initial = (*self._initial, (name, bound, True))
        like = self._full((0,), 0.0)
        self._register(name, None if shape is None else self._uniform(like, shape, bound))

    def _uniform(self, like: Any, shape: tuple[int, ...], bound: float) -> Any:
        """Return an array drawn uniformly from [-bound, bound), of the dtype of another."""
        sample = sample_uniform(type(self).__name__, shape, like, self._next_rng())
        return backend_of(like).xp.astype((sample * 2 - 1) * bound, like.dtype)

    def reset_parameters(self, rng: Any = None) -> None:
        """Set the parameters to initial values, as the constructor does.

        Parameters
        ----------
        rng : random number generator, optional
            The source of those that begin with random numbers.
        """
        self._rng = rng
        parameters = self._named_parameters()
        for name, number, is_random in self._initial:
            if name in parameters:
                self._reset(name, parameters[name], number, is_random)

    def _next_rng(self) -> Any:
        """Return a generator that advances by itself, or a key that was not used before."""
        return self._rng

    def _in_place(self, x: Any, kwargs: Any) -> Any:
        """Write the value of the function to x."""
        return inplace_if(True, self.function, x, **kwargs)

    def _noise_kwargs(self, training: bool | None, /, **kwargs: Any) -> dict[str, Any]:
        """Return the keyword arguments in training, and none otherwise."""
        if training is None:
            training = self.training
        if not isinstance(training, bool):
            got = describe_value(training)
            raise ValueError(
                f"{type(self).__name__}: training must be True, False or None, got {got}"
            )
        return kwargs if training else {}

    def extra_repr(self) -> str:
        """Return the constructor's arguments as text, without those that are parameters."""
        names = [name for name in (*self._arguments, *self._constants) if name != "inplace"]
        known = {name: vars(self).get(name) for name in (*names, "inplace")}
        quiet = {**dict.fromkeys(known), **self._quiet}
        shown = {n: v for n, v in known.items() if v is not None and not _is_same(v, quiet[n])}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class Activation(Layer):
    """Any activation function of this package, with parameters to be learned.

    Parameters
    ----------
    name : str or function
        A name that `activations_xp.get` knows, a function of this package, or a partial of one.
    learned : sequence of str, optional
        The parameters of the function that become parameters of the layer. Each starts from the
        number in `constants`, or else from the function's default.
    inplace : bool, optional
        Whether the result is written to x, by a function of each element.
    dtype, device : optional
        The dtype and device of the parameters.
    **constants
        The other parameters of the function, which become attributes of the layer.
    """

    _fixed: ClassVar[tuple[str, ...]] = ("name", "learned", "function")
    _name: ClassVar[str] = "name"
    """The argument that names the function."""
    _parameter_names: ClassVar[Mapping[str, str]] = {}
    """The function's names of those parameters that are arguments of another name."""
    _takes_arrays: ClassVar[bool] = True
    """Whether constants may be arrays."""
    _given: tuple[tuple[str, Any], ...] = ()
    """The constants that are not the function's defaults, by its own names."""
    name: str
    learned: tuple[str, ...] = ()
    inplace: bool

    def __init__(
        self,
        name: str | Callable[..., Any],
        *,
        learned: Sequence[str] = (),
        inplace: bool = False,
        dtype: Any = None,
        device: Any = None,
        **constants: Any,
    ):
        layer = type(self).__name__
        if isinstance(learned, str) or not isinstance(learned, Sequence):
            got = describe_value(learned)
            raise TypeError(f"{layer}: learned must be a sequence of names, got {got}")
        function, bound = self._function(name)
        name = name if isinstance(name, str) else function.__name__
        vars(self).update({self._name: name}, learned=(), function=function)
        known = self._constant_names()
        for constant in constants:
            if constant not in known:
                raise TypeError(
                    f"{layer}: {name} has no parameter {constant!r}; its parameters:"
                    f" {', '.join(known) or 'none'}"
                )
        self._init(None, dtype, device)
        constants = {n: tuple(v) if isinstance(v, list) else v for n, v in constants.items()}
        self._set_arguments(**bound, **constants, inplace=inplace)
        if self.inplace and not function.definition.is_elementwise:
            raise ValueError(f"{layer}: inplace must be False, because {name} is along an axis")
        for parameter in learned:
            default = function.definition.defaults.get(parameter)
            self._learn(parameter, vars(self).pop(parameter, default), (1,))

    def _function(self, name: Any) -> tuple[Any, dict[str, Any]]:
        """Return the function that an argument means, and the parameters that it binds."""
        function = get(name) if isinstance(name, str) else name
        try:
            name_of(function)
        except TypeError:
            got = f"{describe_value(name)}{self._hint(name)}"
            raise TypeError(
                f"{type(self).__name__}: name must be a string or a function of this package, got"
                f" {got}"
            ) from None
        base, bound, _ = parts(function)
        return base, bound

    def _constant_names(self) -> dict[str, str]:
        """Return the arguments that are parameters of the function, and its names of them."""
        if self.function is None:
            return {}
        names = {p: name for name, p in self._parameter_names.items()}
        parameters = [p for p in self.function.definition.parameters if p != "training"]
        return {names.get(p, p): p for p in parameters}

    def _learn(self, name: str, start: Any, shape: tuple[int, ...]) -> None:
        """Turn a parameter of the function into one of the layer, of this shape."""
        parameters = self.function.definition.parameters
        names = [n for n, p in parameters.items() if p.number and p.differentiable]
        layer, got = type(self).__name__, describe_value(start)
        if name not in names:
            raise ValueError(
                f"{layer}: learned must be of {names} of {self.function.__name__}, got"
                f" {describe_value(name)}"
            )
        if not isinstance(start, NUMBER):
            raise TypeError(
                f"{layer}: {name} must begin with a number, got {got}{self._hint(start)}"
            )
        if not isfinite(start):
            raise ValueError(f"{layer}: {name} must begin with a finite number, got {got}")
        vars(self)["learned"] = (*self.learned, name)
        self._forget(name)
        self._register_full(name, shape, start)

    def _forget(self, name: str) -> None:
        """Leave a parameter of the function out of the attributes."""
        vars(self)["_constants"] = tuple(n for n in self._constants if n != name)
        vars(self)["_given"] = tuple((n, v) for n, v in self._given if n != name)

    def _specs(self) -> dict[str, ParameterSpec | None]:
        parameters = {} if self.function is None else self.function.definition.parameters
        own = {n: s for n, s in super()._specs().items() if s is not None and n not in self.learned}
        names = self._constant_names()
        free = {n: parameters[p] for n, p in names.items() if p not in self.learned}
        if not self._takes_arrays:
            free = {n: _without_arrays(spec) for n, spec in free.items()}
        return {**free, "inplace": _MODE, **own}

    def _constraints(self) -> Iterable[Constraint]:
        return self.function.definition.constraints  # type: ignore[no-any-return]

    def _defaults(self) -> dict[str, Any]:
        definition = self.function.definition
        unknown = dict.fromkeys(definition.parameters)
        return {**unknown, **definition.defaults, **dict.fromkeys(self.learned)}

    def _set_arguments(self, **given: Any) -> None:
        super()._set_arguments(**given)
        defaults = self.function.definition.defaults
        names = {*self._constants, *given}
        constants = {n: p for n, p in self._constant_names().items() if n in names}
        values = [(p, vars(self)[n], defaults.get(p, self)) for n, p in constants.items()]
        changed = tuple((p, value) for p, value, default in values if not _is_same(value, default))
        vars(self).update(_constants=tuple(constants), _given=changed)

    def __getstate__(self) -> dict[str, Any]:
        # its name means the function; torch.load refuses one unless it is told of it
        return {n: value for n, value in super().__getstate__().items() if n != "function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        base: Any = super()  # the modules of some libraries have more to do
        getattr(base, "__setstate__", vars(self).update)(state)
        vars(self)["function"] = self._function(self.name)[0]

    def forward(
        self, x: A, *, training: bool | None = None, rng: Any = None, noise: Any = None
    ) -> A:
        """Apply the function to x.

        Parameters
        ----------
        x : array of real numbers
        training, rng, noise : optional
            The arguments of a random function. By default `training` is the mode of the layer.
        """
        kwargs = self._kwargs(x, training, rng=rng, noise=noise)
        if self.inplace:
            return self._in_place(x, kwargs)  # type: ignore[no-any-return]
        return self.function(x, **kwargs)  # type: ignore[no-any-return]

    def vjp(
        self, g: Any, x: Any, *, training: bool | None = None, noise: Any = None
    ) -> dict[str, Any]:
        """Return the gradients of x, as "x", and of the parameters, by their names.

        Parameters
        ----------
        g : array of real floating numbers
            The gradient of the result, in its shape; the other arguments are those of the layer.
        """
        gradients = self.function.vjp(g, x, **self._kwargs(x, training, noise=noise))
        return {
            "x": gradients["x"],
            **{n: gradients[n].reshape(self._parameter(n).shape) for n in self.learned},
        }

    def _kwargs(self, x: Any, training: bool | None, **noise: Any) -> dict[str, Any]:
        definition = self.function.definition
        kwargs = dict(self._given)
        for name in self.learned:
            value = self._parameter(name)
            is_scalar = isinstance(x, NUMBER) or _ndim(x) == 0
            kwargs[name] = value.reshape(()) if is_scalar else value
        if kwargs.get("axis", 0) is None and "dim" in self._parameter_names:
            kwargs["axis"] = implicit_axis(self.function.__name__, x, stacklevel=6)
        if definition.noise is None:
            return kwargs
        noise = {name: value for name, value in noise.items() if value is not None}
        if "training" in definition.parameters:
            return kwargs | self._noise_kwargs(training, training=True, **noise)
        return kwargs | noise

    if TYPE_CHECKING:

        @_signature_of(forward)
        def __call__(self) -> Any: ...


class PReLU(Activation):
    """Parametric rectified linear unit, x where x > 0 and weight*x elsewhere.

    Parameters
    ----------
    num_parameters : int or tuple of ints, optional
        1, or the size of the channel axis for one weight per channel. A tuple is the shape of x
        without its first axis, that of the batch, as in Keras.
    init : float, optional
        The initial value of the weights.
    device, dtype : optional
        The device and dtype of the weights.
    axis : int, optional
        The channel axis: 1 in PyTorch, -1 where the channels are last. A tuple has no need of it.
    shared_axes : sequence of ints, optional
        The axes of x along which weights are shared, not counting axis 0, as in Keras: the shape
        of the weights has 1 there. With an integer `num_parameters`, all axes but that of the
        channels.
    inplace : bool, optional
        Whether the result is written to x.
    """

    _fixed = (*Activation._fixed, "num_parameters", "init", "shared_axes")

    def __init__(
        self,
        num_parameters: CountOrCounts = 1,
        init: Number = 0.25,
        device: Any = None,
        dtype: Any = None,
        *,
        axis: int | None = 1,
        shared_axes: Counts | None = None,
        inplace: bool = False,
    ):
        super().__init__("prelu", axis=axis, inplace=inplace, dtype=dtype, device=device)
        self.num_parameters, self.init, self.shared_axes = num_parameters, init, shared_axes
        self._learn("weight", self.init, self._weight_shape(self.num_parameters))

    def _weight_shape(self, sizes: int | Sequence[int]) -> tuple[int, ...]:
        shared = set(self.shared_axes or ())
        if isinstance(sizes, int):
            sizes = (sizes,) * (len(shared) + 1)
        if any(axis > len(sizes) for axis in shared):
            raise ValueError(
                f"PReLU: shared_axes must be from 1 to {len(sizes)}, got {self.shared_axes}"
            )
        return tuple(1 if i in shared else n for i, n in enumerate(sizes, 1))

    def _kwargs(self, x: Any, training: bool | None, **noise: Any) -> dict[str, Any]:
        kwargs = super()._kwargs(x, training, **noise)
        if self.num_parameters == 1 or _ndim(x) < 2:
            kwargs["axis"] = None
        return kwargs


class Swish(Activation):
    """Swish, x*sigmoid(beta*x), with a learned beta.

    Parameters
    ----------
    beta : float, optional
        The initial value.
    inplace : bool, optional
        Whether the result is written to x.
    dtype, device : optional
        The dtype and device of beta.
    """

    def __init__(
        self,
        beta: float = 1.0,
        *,
        inplace: bool = False,
        dtype: Any = None,
        device: Any = None,
    ):
        kwargs: dict[str, Any] = {"inplace": inplace, "dtype": dtype, "device": device}
        super().__init__("silu", learned=("beta",), beta=beta, **kwargs)


class Identity(Activation):
    """The identity function, in the place of another layer, whose arguments it takes.

    Parameters
    ----------
    *args, **kwargs
        Anything; none of it is used.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__("identity")


class LayerNorm(Activation):
    """Layer normalization over the last axes, with a learned weight and bias for each element.

    Parameters
    ----------
    normalized_shape : int or tuple of ints
        The sizes of the last axes.
    eps : float, optional
        What is added to the variance.
    elementwise_affine, bias : bool, optional
        Whether there are weights, and whether biases with them.
    device, dtype : optional
        The device and dtype of the weights.
    """

    _fixed = (*Activation._fixed, "normalized_shape", "elementwise_affine")
    normalized_shape: tuple[int, ...]
    elementwise_affine: bool
    _parameter_names: ClassVar[Mapping[str, str]] = {"eps": "epsilon"}

    def __init__(
        self,
        normalized_shape: CountOrCounts,
        eps: Number = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__("layer_norm", dtype=dtype, device=device)
        self._set_norm(normalized_shape, eps, elementwise_affine)
        self._learn_if(self.elementwise_affine, "weight", 1.0)
        self._learn_if(self.elementwise_affine and bias, "bias", 0.0)

    def _set_norm(self, normalized_shape: Any, eps: Any, elementwise_affine: bool) -> None:
        shape = self._checked_argument("normalized_shape", normalized_shape)
        vars(self)["normalized_shape"] = (shape,) if isinstance(shape, int) else shape
        self.eps, self.elementwise_affine = eps, elementwise_affine

    def _learn_if(self, is_learned: bool, name: str, start: float) -> None:
        if is_learned:
            self._learn(name, start, self.normalized_shape)
        else:
            self._register(name, None)

    def _kwargs(self, x: Any, training: bool | None, **noise: Any) -> dict[str, Any]:
        kwargs = super()._kwargs(x, training, **noise)
        kwargs["axis"] = tuple(range(-len(self.normalized_shape), 0))
        if kwargs.get("epsilon", 0.0) is None:
            kwargs["epsilon"] = default_eps(x)
        return kwargs


class RMSNorm(LayerNorm):
    """Root mean square normalization over the last axes, with a learned weight for each element.

    Parameters
    ----------
    normalized_shape : int or tuple of ints
        The sizes of the last axes.
    eps : float, optional
        What is added to the mean square, or None for the dtype's distance from 1 to the next
        number.
    elementwise_affine : bool, optional
        Whether there are weights.
    device, dtype : optional
        The device and dtype of the weights.
    """

    def __init__(
        self,
        normalized_shape: CountOrCounts,
        eps: Number | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        Activation.__init__(self, "rms_norm", dtype=dtype, device=device)
        self._set_norm(normalized_shape, eps, elementwise_affine)
        self._learn_if(self.elementwise_affine, "weight", 1.0)


class Softmax2d(Activation):
    """Softmax over the channels of images, of shape (N, C, H, W) or (C, H, W)."""

    _quiet: ClassVar[Mapping[str, Any]] = {**Activation._quiet, "axis": -3}

    def __init__(self) -> None:
        super().__init__("softmax", axis=-3)


class MultiheadAttention(Layer):
    """Multi-head attention with the arguments and parameters of torch.nn.MultiheadAttention.

    As there, True in `key_padding_mask` and in a boolean `attn_mask` forbids attention, and a mask
    of numbers is added to the scores. Unlike there, a query that attends to nothing gives no NaN,
    and the result is the same whether the weights are needed or not.

    Parameters
    ----------
    embed_dim : int
        The size of the last axis of the queries and of the result.
    num_heads : int
        A divisor of `embed_dim`.
    dropout : float, optional
        The probability that a weight is 0 in training.
    bias, add_bias_kv, add_zero_attn : bool, optional
        Whether the projections add a bias, whether one more key and value are learned, and whether
        one more of zeros are added.
    kdim, vdim : int, optional
        The sizes of the last axes of the keys and of the values; by default `embed_dim`.
    batch_first : bool, optional
        Whether the axes are (batch, length, features) rather than (length, batch, features).
        Without a batch they are (length, features).
    device, dtype, rng : optional
        The device and dtype of the parameters, and the random number generator for their initial
        values.

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv:1706.03762.
    """

    _fixed = ("embed_dim", "bias", "add_bias_kv", "kdim", "vdim")
    _requires = ("embed_dim % num_heads == 0", "0 <= dropout <= 1")

    def __init__(
        self,
        embed_dim: Count,
        num_heads: Count,
        dropout: Number = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: Count | None = None,
        vdim: Count | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        rng: Any = None,
    ):
        self._init(rng, dtype, device)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.bias, self.add_bias_kv, self.add_zero_attn = bias, add_bias_kv, add_zero_attn
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        embed_dim = self.embed_dim
        shapes = {"in_proj_weight": (3 * embed_dim, embed_dim)}
        if not self._qkv_same_embed_dim:
            sizes = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
            shapes = {f"{name}_proj_weight": (embed_dim, size) for name, size in sizes.items()}
        for name, shape in shapes.items():
            self._register_uniform(name, shape, sqrt(6 / sum(shape)))  # Glorot's bound
        self._register_full("in_proj_bias", (3 * embed_dim,) if bias else None, 0.0)
        for name in ("bias_k", "bias_v"):
            extra = (1, 1, embed_dim) if add_bias_kv else None
            self._register_uniform(name, extra, sqrt(3 / embed_dim))
        self._register_uniform("out_proj.weight", (embed_dim, embed_dim), sqrt(1 / embed_dim))
        self._register_full("out_proj.bias", (embed_dim,) if bias else None, 0.0)

    @property
    def head_dim(self) -> int:
        """The number of features of a head."""
        return self.embed_dim // self.num_heads

    @property
    def _qkv_same_embed_dim(self) -> bool:
        """Whether the three projections are one, which PyTorch's encoder layers ask."""
        return self.kdim == self.vdim == self.embed_dim

    def forward(
        self,
        query: A,
        key: A,
        value: A,
        key_padding_mask: A | None = None,
        need_weights: bool = True,
        attn_mask: A | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        training: bool | None = None,
        rng: Any = None,
        noise: Any = None,
    ) -> tuple[A, A | None]:
        """Return the values that the queries attend to, and the weights or None.

        Parameters
        ----------
        query : array
            Its shape is (length, batch, embed_dim), (batch, length, embed_dim) with `batch_first`,
            or (length, embed_dim).
        key, value : arrays
            They have a length of their own, and a last axis of size `kdim` and `vdim`.
        key_padding_mask : array of shape (batch, key length), optional
        need_weights, average_attn_weights : bool, optional
            Whether the weights are returned, and whether as their mean over the heads.
        attn_mask : array, optional
            Its shape is (query length, key length) or (batch*heads, query length, key length).
        is_causal : bool, optional
            Whether no query attends to a later key, whatever `attn_mask` is.
        training, rng, noise : optional
            The arguments of the dropout. By default `training` is the mode of the layer.
        """
        result: tuple[A, A | None] = ax.multi_head_attention(
            query,
            key,
            value,
            need_weights=need_weights,
            average_attn_weights=average_attn_weights,
            **self._kwargs(query, key, attn_mask, key_padding_mask, is_causal),
            **self._noise_kwargs(training, dropout=self.dropout, rng=rng, noise=noise),
        )
        return result

    def vjp(
        self,
        g: tuple[Any, Any],
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        training: bool | None = None,
        noise: Any = None,
    ) -> dict[str, Any]:
        """Return the gradients of "query", "key" and "value" and of the parameters, by their names.

        Parameters
        ----------
        g : tuple of two arrays
            The gradients of the result and of the weights, of which one may be None. The other
            arguments are those of the layer.
        """
        gradients = ax.multi_head_attention.vjp(
            g,
            query,
            key,
            value,
            need_weights=need_weights,
            average_attn_weights=average_attn_weights,
            **self._kwargs(query, key, attn_mask, key_padding_mask, is_causal),
            **self._noise_kwargs(training, dropout=self.dropout, noise=noise),
        )
        names = ("query", "key", "value", *self._named_parameters())
        return {name: gradients[name.replace(".", "_")] for name in names}

    def _kwargs(
        self, query: Any, key: Any, attn_mask: Any, key_padding_mask: Any, is_causal: bool
    ) -> dict[str, Any]:
        weights = {name.replace(".", "_"): w for name, w in self._named_parameters().items()}
        return {
            **weights,
            **self._masks(query, key, attn_mask, key_padding_mask),
            "num_heads": self.num_heads,
            "add_zero_attn": self.add_zero_attn,
            "batch_first": self.batch_first,
            "is_causal": is_causal,
        }

    def _masks(self, query: Any, key: Any, attn_mask: Any, key_padding_mask: Any) -> dict[str, Any]:
        if attn_mask is None is key_padding_mask:
            return {}
        if any(find_backend(x) is None or x.ndim < 2 for x in (query, key)):
            return {}  # the function says what is wrong
        length_axis = -2 if self.batch_first else 0
        batch = query.shape[:-2] if self.batch_first else query.shape[1:-1]
        score_shape = (*batch, self.num_heads, query.shape[length_axis], key.shape[length_axis])
        layer = type(self).__name__
        return mask_kwargs(layer, score_shape, query, attn_mask, key_padding_mask)

    if TYPE_CHECKING:

        @_signature_of(forward)
        def __call__(self) -> Any: ...


class ASMoutput(NamedTuple, Generic[A]):
    """The result of the adaptive softmax, as in PyTorch."""

    output: A
    loss: A


class AdaptiveLogSoftmaxWithLoss(Layer):
    """Softmax over many classes in clusters, with torch.nn.AdaptiveLogSoftmaxWithLoss's parameters.

    Parameters
    ----------
    in_features : int
        The size of the last axis of x.
    n_classes : int
    cutoffs : sequence of int
        The first class of each cluster, increasing; the classes below have no cluster.
    div_value : float, optional
        The factor by which each cluster has fewer features than the one before.
    head_bias : bool, optional
        Whether the head adds a bias.
    ignore_index : int, optional
        A target that does not count.
    reduction : {"mean", "sum", "none"}, optional
        The reduction of the loss.
    device, dtype, rng : optional
        The device and dtype of the parameters, and the random number generator for their initial
        values.

    References
    ----------
    Grave et al., Efficient softmax approximation for GPUs, arXiv:1609.04309.
    """

    _fixed = ("in_features", "n_classes", "cutoffs", "div_value", "head_bias")
    _requires = ("div_value > 0", "-(2**31) <= ignore_index < 2**31")

    def __init__(
        self,
        in_features: Count,
        n_classes: Count,
        cutoffs: Counts,
        div_value: Number = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        ignore_index: Integer = -100,
        reduction: Literal["mean", "sum", "none"] = "mean",
        rng: Any = None,
    ):
        self._init(rng, dtype, device)
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, cutoffs
        self.div_value, self.head_bias = div_value, head_bias
        self.ignore_index, self.reduction = ignore_index, reduction
        bounds = [*self.cutoffs, self.n_classes]
        if len(bounds) < 2 or any(a >= b for a, b in pairwise(bounds)):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must increase from 1 at least to n_classes - 1"
                f" at most, got {list(self.cutoffs)} with n_classes {self.n_classes}"
            )
        n_head = bounds[0] + len(bounds) - 1
        self._register_linear("head", n_head, self.in_features)
        bound = sqrt(1 / self.in_features)
        self._register_uniform("head.bias", (n_head,) if head_bias else None, bound)
        for i, (start, end) in enumerate(pairwise(bounds)):
            features = int(self.in_features // self.div_value ** (i + 1))
            if features < 1:
                raise ValueError(
                    "AdaptiveLogSoftmaxWithLoss: div_value leaves no features to cluster"
                    f" {i}, got {self.div_value} with in_features {self.in_features}"
                )
            self._register_linear(f"tail.{i}.0", features, self.in_features)
            self._register_linear(f"tail.{i}.1", end - start, features)

    def _register_linear(self, name: str, n_out: int, n_in: int) -> None:
        self._register_uniform(f"{name}.weight", (n_out, n_in), sqrt(1 / n_in))

    def forward(self, x: A, target: A) -> ASMoutput[A]:
        """Return the log-probability of each target, and the loss.

        Parameters
        ----------
        x : array of shape (..., in_features)
        target : array of integers of shape (...)
        """
        result = ax.adaptive_log_softmax_with_loss(x, target, **self._loss_kwargs())
        return ASMoutput(result[0], result[1])  # what torch.fx has in its place cannot be unpacked

    def log_prob(self, x: A) -> A:
        """Return the log-probabilities of all classes, of shape (..., n_classes)."""
        return ax.adaptive_log_prob(x, **self._kwargs())  # type: ignore[no-any-return]

    def predict(self, x: A) -> A:
        """Return the most probable class for each x, of shape (...)."""
        return ax.adaptive_predict(x, **self._kwargs())  # type: ignore[no-any-return]

    def vjp(self, g: tuple[Any, Any], x: Any, target: Any) -> dict[str, Any]:
        """Return the gradients of x, as "x", and of the parameters, by their names.

        Parameters
        ----------
        g : tuple of two arrays
            The gradients of the log-probabilities and of the loss, of which one may be None.
        """
        kwargs = self._loss_kwargs()
        by_argument = ax.adaptive_log_softmax_with_loss.vjp(tuple(g), x, target, **kwargs)
        gradients = {"x": by_argument["x"], "head.weight": by_argument["head_weight"]}
        if "head_bias" in by_argument:
            gradients["head.bias"] = by_argument["head_bias"]
        for i, pair in enumerate(by_argument["tail_weights"]):
            gradients |= {f"tail.{i}.{j}.weight": part for j, part in enumerate(pair)}
        return gradients

    def _loss_kwargs(self) -> dict[str, Any]:
        loss = {"ignore_index": self.ignore_index, "reduction": self.reduction}
        return {**self._kwargs(), **loss}

    def _kwargs(self) -> dict[str, Any]:
        weights = self._named_parameters()
        tails = [f"tail.{i}" for i in range(len(self.cutoffs))]
        return {
            "head_weight": weights["head.weight"],
            "tail_weights": [(weights[f"{t}.0.weight"], weights[f"{t}.1.weight"]) for t in tails],
            "head_bias": weights.get("head.bias"),
        }

    if TYPE_CHECKING:

        @_signature_of(forward)
        def __call__(self) -> Any: ...
