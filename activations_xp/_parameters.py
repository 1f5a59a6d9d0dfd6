"""The parameters of functions: one specification, one check, and the annotations that name it."""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol, TypeAlias, Union, get_args, get_origin

import numpy as np
from numpy.exceptions import AxisError

from ._errors import describe_value
from ._typing import NUMBER, Array
from .numerics.arrays import broadcasts_to

REAL = ("bool", "integral", "real floating")
FLOATING = ("real floating",)
COMPLEX = ("complex floating",)


class Owner(Protocol):
    """The part of a backend that the check of an argument asks."""

    def owns(self, x: Any) -> bool: ...
    def device(self, x: Any) -> Any: ...
    def isdtype(self, x: Any, kinds: tuple[str, ...]) -> bool: ...


@dataclass(frozen=True)
class ParameterSpec:
    """The values that a parameter accepts.

    text : the accepted values in words, for error messages
    number : whether a real number is accepted; it becomes a Python float
    dtypes : the kinds of dtype of accepted arrays
    broadcasts : whether an array broadcasts "to" the first array or "with" it, or "to slices" of
        it with a size of 1 along the axes the function works along, or has the sizes of the axes
        it works "along", or holds "coefficients" for all elements along its only axis; None leaves
        the shape to the function
    same_dtype : whether an array has the dtype of the first array
    convert : a check of its own, which returns the value to use
    depends_on_ndim : whether a value may be right for some numbers of dimensions only
    differentiable : whether an array has a gradient
    choices : the accepted constants
    optional : whether None is accepted
    doc : the type and the description in the docstring, where the function has none of its own
    """

    text: str
    number: bool = False
    dtypes: tuple[str, ...] = ()
    broadcasts: Literal["to", "to slices", "with", "along", "coefficients"] | None = None
    same_dtype: bool = False
    convert: Callable[[Any, str, Array, Owner], Any] | None = None
    depends_on_ndim: bool = False
    differentiable: bool = False
    choices: tuple[Any, ...] = ()
    optional: bool = False
    doc: str = ""

    @property
    def is_floating(self) -> bool:
        """Whether an array is converted to the dtype of the computation."""
        return "real floating" in self.dtypes

    def check(self, value: Any, first: str, x: Array, backend: Owner) -> Any:
        """Return the value as implementations take it.

        Raises
        ------
        TypeError, ValueError
            If it is not accepted; the message does not name the parameter.
        """
        if (value is None and self.optional) or _is_choice(value, self.choices):
            return value
        if self.convert is not None:
            return self.convert(value, first, x, backend)
        if self.number:
            try:
                return as_number(value)
            except TypeError:
                pass
        if self.dtypes:
            return self._check_array(value, first, x, backend)
        if self.number:
            raise TypeError
        raise ValueError(f"must be {self.text}, got {value!r}")

    def _check_array(self, value: Any, first: str, x: Array, backend: Owner) -> Array:
        kinds = _with_complex(self.dtypes, x, backend) if self.differentiable else self.dtypes
        array: Array = check_array(value, kinds, first, x, backend)
        if self.same_dtype and array.dtype != x.dtype:
            raise TypeError
        pairs = zip(array.shape[::-1], x.shape[::-1], strict=False)
        is_part = self.broadcasts in ("to", "to slices")
        if is_part and not broadcasts_to(array.shape, x.shape):
            raise ValueError(f"of shape {_shape(array)} does not broadcast to {first} {_of(x)}")
        if self.broadcasts == "with" and any(m != n and 1 not in (m, n) for m, n in pairs):
            raise ValueError(f"of shape {_shape(array)} does not broadcast with {first} {_of(x)}")
        return array


def as_number(value: Any) -> float:
    """Return a real number, of Python or a NumPy scalar, as a float."""
    if isinstance(value, (np.number, np.bool_)) and value.dtype.kind in "fiub":
        value = value.item()
    if not isinstance(value, NUMBER):
        raise TypeError
    try:
        return float(value)
    except OverflowError:
        got = describe_value(value)
        raise ValueError(f"must be within the range of float64, got {got}") from None


def check_array(value: Any, kinds: tuple[str, ...], first: str, x: Array, backend: Owner) -> Any:
    """Return `value` if it is an array of x's library and device with such a dtype."""
    is_same = type(value) is type(x) or backend.owns(value)  # x itself is the backend's
    if not is_same or not backend.isdtype(value, kinds):
        raise TypeError
    places = backend.device(value), backend.device(x)
    if places[0] != places[1]:
        raise ValueError(f"is on device {places[0]} but {first} is on device {places[1]}")
    return value


def _with_complex(kinds: tuple[str, ...], x: Array, backend: Owner) -> tuple[str, ...]:
    """Return the kinds of dtype that are taken beside x: also complex ones if x is complex."""
    return kinds + COMPLEX if backend.isdtype(x, COMPLEX) else kinds


def _shape(array: Array) -> tuple[int, ...]:
    return tuple(array.shape)


def _of(x: Array) -> str:
    return f"of shape {tuple(x.shape)}"


def _integer(value: Any, *_: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError
    return operator.index(value)


def _count(value: Any, *_: Any) -> int:
    count = _integer(value)
    if not 0 < count <= sys.maxsize:
        wanted = "a positive integer" if count < 1 else f"at most {sys.maxsize}"
        raise ValueError(f"must be {wanted}, got {describe_value(value)}")
    return count


def _axis(value: Any, first: str, x: Array, *_: Any) -> int:
    axis = _integer(value)
    if not -x.ndim <= axis < x.ndim:
        raise AxisError(f"{axis} is out of range for {first} with {x.ndim} dimensions")
    return axis % x.ndim


def _new_axis(value: Any, first: str, x: Array, *_: Any) -> int:
    axis = _integer(value)
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise AxisError(f"{axis} is out of range for a result with {x.ndim + 1} dimensions")
    return axis % (x.ndim + 1)


def _axes(value: Any, first: str, x: Array, *_: Any) -> tuple[int, ...]:
    if value is None:
        return tuple(range(x.ndim))
    if isinstance(value, tuple):
        axes = tuple(_axis(v, first, x) for v in value)
        if len(set(axes)) < len(axes):
            raise ValueError(f"{value!r} names an axis twice")
        return axes
    return (_axis(value, first, x),)


def _cotangent(value: Any, first: str, x: Array, backend: Owner) -> float | Array:
    cotangent: float | Array
    spec = COTANGENT_OF_REDUCTION
    cotangent = replace(spec, number=x.ndim == 0).check(value, first, x, backend)
    return cotangent


def _cotangents(value: Any, first: str, x: Array, backend: Owner) -> Any:
    spec = replace(NOISE_ARRAY, number=True, optional=isinstance(value, tuple))
    if isinstance(value, tuple):
        return tuple(spec.check(g, first, x, backend) for g in value)
    return spec.check(value, first, x, backend)


def _coefficients(value: Any, first: str, x: Array, backend: Owner) -> tuple[float, ...] | Array:
    is_tuple = isinstance(value, (tuple, list))
    shape = (len(value),) if is_tuple else tuple(getattr(value, "shape", (1,)))
    coefficients = (
        tuple(map(as_number, value)) if is_tuple else check_array(value, REAL, first, x, backend)
    )
    if len(shape) != 1:
        raise ValueError(f"must have one dimension, got shape {shape}")
    if shape == (0,):
        raise ValueError("must have at least one coefficient, got none")
    return coefficients


def _weight_pairs(
    value: Any, first: str, x: Array, backend: Owner
) -> tuple[tuple[Array, Array], ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError
    if any(not isinstance(pair, Sequence) or len(pair) != 2 for pair in value):
        raise TypeError
    check = FLOAT_ARRAY.check
    return tuple((check(a, first, x, backend), check(b, first, x, backend)) for a, b in value)


_OR_ARRAY = "a real number or an array of x's library"

NUMBER_SPEC = ParameterSpec("a real number, not an array", number=True)
ARRAY_OR_NUMBER = ParameterSpec(
    f"{_OR_ARRAY} that broadcasts to x",
    number=True,
    dtypes=REAL,
    broadcasts="to",
    differentiable=True,
)
CHANNEL_ARRAY = replace(ARRAY_OR_NUMBER, text=_OR_ARRAY, broadcasts="along")
SLICE_ARRAY = replace(
    ARRAY_OR_NUMBER,
    text=f"{_OR_ARRAY} that broadcasts to x, of size 1 along the axis",
    broadcasts="to slices",
)
BROADCASTS_WITH_OR_NUMBER = replace(
    ARRAY_OR_NUMBER, text=f"{_OR_ARRAY} that broadcasts with x", broadcasts="with"
)
BROADCASTS_WITH = replace(
    BROADCASTS_WITH_OR_NUMBER,
    text="an array of x's library that broadcasts with x",
    number=False,
)
FREE_ARRAY = replace(
    ARRAY_OR_NUMBER, text="a real number or an array of {first}'s library", broadcasts=None
)
COEFFICIENTS = ParameterSpec(
    "a tuple of real numbers or an array of x's library with one dimension",
    dtypes=REAL,
    broadcasts="coefficients",
    convert=_coefficients,
    differentiable=True,
)
MASK = ParameterSpec(
    "a boolean array of x's library that broadcasts to x",
    dtypes=("bool",),
    broadcasts="to",
    doc="""\
boolean array, optional
    The elements to include. Excluded elements become 0 and have no gradient,
    whatever they hold; so does a slice without included elements.""",
)
NOISE = ParameterSpec(
    "a number or an array of x's library with a real floating dtype",
    number=True,
    dtypes=FLOATING,
    broadcasts="to",
    doc="""\
number or array, optional
    Uniform random numbers from 0 to 1 that broadcast to x, to be used instead
    of drawing them. Arrays of libraries other than NumPy, PyTorch, JAX and
    Dask require it.""",
)
COUNT = ParameterSpec("a positive integer", convert=_count)
INTEGER = ParameterSpec("an integer", convert=_integer)
AXIS = ParameterSpec(
    "an integer",
    convert=_axis,
    depends_on_ndim=True,
    doc="""\
int, optional
    The axis to compute along.""",
)
NEW_AXIS = replace(AXIS, convert=_new_axis)
AXES = ParameterSpec(
    "an integer, a tuple of integers, or None",
    convert=_axes,
    depends_on_ndim=True,
    doc="""\
int, tuple of ints or None, optional
    The axis or axes to compute along. None means all axes.""",
)
COTANGENT = ParameterSpec(
    "an array of x's library with a real floating dtype",
    dtypes=FLOATING,
    convert=_cotangent,
    depends_on_ndim=True,
    differentiable=True,
)

COTANGENT_OF_REDUCTION = ParameterSpec(
    "a number or an array of x's library with a real floating dtype",
    number=True,
    dtypes=FLOATING,
    differentiable=True,
)

# operations: {first} is the name of the first array, {dtype} its dtype

FLOAT_ARRAY = ParameterSpec(
    "an array of {first}'s library and dtype, {dtype}",
    dtypes=FLOATING,
    same_dtype=True,
    differentiable=True,
)
NOISE_ARRAY = ParameterSpec(
    "an array of {first}'s library with a real floating dtype", dtypes=FLOATING
)
BOOL_ARRAY = ParameterSpec("a boolean array of {first}'s library", dtypes=("bool",))
INT_ARRAY = ParameterSpec("an array of integers of {first}'s library", dtypes=("integral",))
WEIGHT_PAIRS = replace(
    FLOAT_ARRAY,
    text="a sequence of pairs of arrays of {first}'s library and dtype, {dtype}",
    convert=_weight_pairs,
)
COTANGENTS = replace(
    FLOAT_ARRAY,
    text="an array of {first}'s library with a real floating dtype, or a tuple of them and None",
    convert=_cotangents,
)

Number: TypeAlias = Annotated[float, NUMBER_SPEC]
ArrayOrNumber: TypeAlias = Annotated[float | Array, ARRAY_OR_NUMBER]
ChannelArray: TypeAlias = Annotated[float | Array, CHANNEL_ARRAY]
SliceArray: TypeAlias = Annotated[float | Array, SLICE_ARRAY]
FreeArray: TypeAlias = Annotated[float | Array, FREE_ARRAY]
BroadcastsWithOrNumber: TypeAlias = Annotated[float | Array, BROADCASTS_WITH_OR_NUMBER]
BroadcastsWith: TypeAlias = Annotated[Array, BROADCASTS_WITH]
Coefficients: TypeAlias = Annotated[tuple[float, ...] | Array, COEFFICIENTS]
Mask: TypeAlias = Annotated[Array, MASK]
Noise: TypeAlias = Annotated[float | Array, NOISE]
Count: TypeAlias = Annotated[int, COUNT]
Integer: TypeAlias = Annotated[int, INTEGER]
Axis: TypeAlias = Annotated[int, AXIS]
NewAxis: TypeAlias = Annotated[int, NEW_AXIS]
Axes: TypeAlias = Annotated[int | tuple[int, ...] | None, AXES]
FloatArray: TypeAlias = Annotated[Array, FLOAT_ARRAY]
NoiseArray: TypeAlias = Annotated[Array, NOISE_ARRAY]
BoolArray: TypeAlias = Annotated[Array, BOOL_ARRAY]
IntArray: TypeAlias = Annotated[Array, INT_ARRAY]
WeightPairs: TypeAlias = Annotated[Sequence[Sequence[Array]], WEIGHT_PAIRS]


def parse_annotation(annotation: Any) -> ParameterSpec:
    """Return the specification in an annotation such as ``Literal["none", "tanh"] | bool``."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    spec = ParameterSpec("")
    options: list[str] = []
    choices: list[Any] = []
    for part in get_args(annotation) if is_union else (annotation,):
        if hasattr(part, "__metadata__"):
            (spec,) = part.__metadata__
            options.append(spec.text)
        elif part is type(None):
            options.append("None")
        elif part is bool or get_origin(part) is Literal:
            choices += (True, False) if part is bool else get_args(part)
        else:
            raise TypeError(f"a parameter cannot be annotated {annotation!r}")
    options = [*map(repr, choices), *options]
    text = ", ".join(options[:-1]) + " or " * (len(options) > 1) + options[-1]
    return replace(spec, text=text, choices=tuple(choices), optional="None" in options)


def _is_choice(value: Any, choices: tuple[Any, ...]) -> bool:
    return isinstance(value, (str, bool)) and value in choices and type(value) in map(type, choices)


@dataclass(frozen=True, eq=False)
class Constraint:
    """A condition on parameters: its Python text and its predicate."""

    text: str
    names: tuple[str, ...]
    predicate: Callable[..., bool]

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Return whether it holds; arrays are not judged."""
        values = [arguments[name] for name in self.names]
        return not all(isinstance(v, NUMBER) for v in values) or self.predicate(*values)


def parse_constraint(text: str, parameters: Mapping[str, ParameterSpec]) -> Constraint:
    """Compile a condition such as ``"lower <= upper"``."""
    words = compile(text, "<constraint>", "eval").co_names
    names = tuple(name for name in parameters if name in words)
    return Constraint(text, names, eval(f"lambda {', '.join(names)}: {text}"))
