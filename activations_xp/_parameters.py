"""Is this parameter good? The kinds of parameter, each an annotation with its check."""

from __future__ import annotations

import ast
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import numpy as np
from numpy.exceptions import AxisError

from ._typing import Array, Namespace

if TYPE_CHECKING:
    from ._activation import Definition

NUMBER = (int, float)
_REAL = ("bool", "integral", "real floating")


def _number(value: Any, x: Array) -> float:
    if isinstance(value, (np.number, np.bool_)) and value.dtype.kind in "fiub":
        value = value.item()
    if not isinstance(value, NUMBER):
        raise TypeError
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"must be within the range of float64, got {describe(value)}") from None


def _scalar(value: Any, x: Array) -> float | Array:
    try:
        return _number(value, x)
    except TypeError:
        return _broadcasting(_array(value, x, _REAL), x)


def _operand(value: Any, x: Array) -> float | Array:
    try:
        return _number(value, x)
    except TypeError:
        return _companion(value, x)


def _companion(value: Any, x: Array) -> Array:
    array = _array(value, x, _REAL)
    if any(
        m != n and 1 not in (m, n) for m, n in zip(array.shape[::-1], x.shape[::-1], strict=False)
    ):
        raise ValueError(
            f"of shape {tuple(array.shape)} does not broadcast with x of shape {tuple(x.shape)}"
        )
    return array


def _cotangent(value: Any, x: Array) -> float | Array:
    if x.ndim == 0 and isinstance(value, NUMBER):
        return float(value)
    return _array(value, x, ("real floating",))


def _weight(value: Any, x: Array) -> float | Array:
    try:
        return _number(value, x)
    except TypeError:
        return _array(value, x, _REAL)


def _mask(value: Any, x: Array) -> Array:
    return _broadcasting(_array(value, x, ("bool",)), x)


def _noise(value: Any, x: Array) -> float | Array:
    try:
        return _number(value, x)
    except TypeError:
        return _broadcasting(_array(value, x, ("real floating",)), x)


def _floats(value: Any, x: Array) -> Array:
    array = _array(value, x, ("real floating",))
    if array.dtype != x.dtype:
        raise TypeError
    return array


def _cotangents(value: Any, x: Array) -> Any:
    if isinstance(value, tuple):
        return tuple(None if part is None else _floats(part, x) for part in value)
    return _floats(value, x)


def _random_floats(value: Any, x: Array) -> Array:
    return _array(value, x, ("real floating",))


def _booleans(value: Any, x: Array) -> Array:
    return _array(value, x, ("bool",))


def _integers(value: Any, x: Array) -> Array:
    return _array(value, x, ("integral",))


def _pairs(value: Any, x: Array) -> tuple[tuple[Array, Array], ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError
    if any(not isinstance(pair, Sequence) or len(pair) != 2 for pair in value):
        raise TypeError
    return tuple((_floats(first, x), _floats(second, x)) for first, second in value)


def _whole(value: Any, x: Array) -> int:
    return _index(value)


def _array(value: Any, x: Array, kinds: tuple[str, ...]) -> Array:
    from ._dispatch import device, isdtype, library

    is_one = type(value) is type(x) or library(value) == library(x)  # that of x is known
    if not is_one or not isdtype(value, kinds):
        raise TypeError
    if device(value) != device(x):
        raise ValueError(f"is on device {device(value)} but x is on device {device(x)}")
    return value  # type: ignore[no-any-return]


def _broadcasting(value: Array, x: Array, shaped: Array | None = None) -> Array:
    """`value`, or what was made of its shape, if that broadcasts to x."""
    result = value if shaped is None else shaped
    if result.ndim > x.ndim or any(
        n not in (1, m) for n, m in zip(result.shape[::-1], x.shape[::-1], strict=False)
    ):
        raise ValueError(
            f"of shape {tuple(value.shape)} does not broadcast to x of shape {tuple(x.shape)}"
        )
    return result


def along(xp: Namespace, function: str, name: str, value: Any, x: Array, axes: Any) -> Any:
    """A number, an array with the sizes of x along `axes`, or one that broadcasts to x."""
    if isinstance(value, NUMBER):
        return value
    shaped = xp.reshape(value, aligned(value.shape, x, axes))
    try:
        return _broadcasting(value, x, shaped)
    except ValueError as error:
        raise ValueError(f"{function}: {name} {error}") from None


def aligned(shape: Any, x: Array, axes: Any) -> tuple[int, ...]:
    """The shape that broadcasts to x of one that has the sizes along `axes`, or else itself."""
    if len(shape) != len(axes):
        return tuple(shape)
    sizes = dict(zip(sorted(axes), shape, strict=True))
    return tuple(sizes.get(i, 1) for i in range(x.ndim))


def gathered(xp: Namespace, g: Any, shape: Any) -> Any:
    """What broadcasting does to an array of this shape, turned round: the sum over its copies."""
    shape = tuple(shape)
    if isinstance(g, NUMBER) or tuple(g.shape) == shape:
        return g
    padded = (1,) * (g.ndim - len(shape)) + shape
    copied = tuple(i for i, (m, n) in enumerate(zip(g.shape, padded, strict=True)) if m != n)
    return xp.reshape(xp.sum(g, axis=copied, keepdims=True), shape)


def must_have_shape(function: str, name: str, value: Any, shape: Any) -> None:
    """One clear error unless the array has the shape."""
    if not isinstance(value, NUMBER) and tuple(value.shape) != tuple(shape):
        raise ValueError(
            f"{function}: {name} of shape {tuple(value.shape)} must have the shape of the result,"
            f" {tuple(shape)}"
        )


def _index(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError
    return operator.index(value)


def _count(value: Any, x: Array) -> int:
    if _index(value) < 1:
        raise ValueError(f"must be a positive integer, got {value!r}")
    return _index(value)


def _axis(value: Any, x: Array) -> int:
    axis = _index(value)
    if not -x.ndim <= axis < x.ndim:
        raise AxisError(f"{axis} is out of range for x with {x.ndim} dimensions")
    return axis % x.ndim


def _new_axis(value: Any, x: Array) -> int:
    axis = _index(value)
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise AxisError(f"{axis} is out of range for a result with {x.ndim + 1} dimensions")
    return axis % (x.ndim + 1)


def _axes(value: Any, x: Array) -> tuple[int, ...]:
    if value is None:
        return tuple(range(x.ndim))
    if isinstance(value, tuple):
        axes = tuple(_axis(v, x) for v in value)
        if len(set(axes)) < len(axes):
            raise ValueError(f"{value!r} names an axis twice")
        return axes
    return (_axis(value, x),)


_OR_ARRAY = "a real number or an array of x's library"

Number: TypeAlias = Annotated[float, _number, "a real number"]
Scalar: TypeAlias = Annotated[float | Array, _scalar, f"{_OR_ARRAY} that broadcasts to x"]
Weight: TypeAlias = Annotated[float | Array, _weight, _OR_ARRAY]
Operand: TypeAlias = Annotated[float | Array, _operand, f"{_OR_ARRAY} that broadcasts with x"]
Companion: TypeAlias = Annotated[
    Array, _companion, "an array of x's library that broadcasts with x"
]
Mask: TypeAlias = Annotated[Array, _mask, "a boolean array of x's library that broadcasts to x"]
Noise: TypeAlias = Annotated[
    float | Array, _noise, "a number or an array of x's library with a real floating dtype"
]
Count: TypeAlias = Annotated[int, _count, "a positive integer"]
Integer: TypeAlias = Annotated[int, _whole, "an integer"]
Axis: TypeAlias = Annotated[int, _axis, "an integer"]
NewAxis: TypeAlias = Annotated[int, _new_axis, "an integer"]
Axes: TypeAlias = Annotated[
    int | tuple[int, ...] | None, _axes, "an integer, a tuple of integers, or None"
]

# of operations, whose first array has a name and a dtype

Floats: TypeAlias = Annotated[Array, _floats, "an array of {first}'s library and dtype, {dtype}"]
RandomFloats: TypeAlias = Annotated[
    Array, _random_floats, "an array of {first}'s library with a real floating dtype"
]
Booleans: TypeAlias = Annotated[Array, _booleans, "a boolean array of {first}'s library"]
Integers: TypeAlias = Annotated[Array, _integers, "an array of integers of {first}'s library"]
Pairs: TypeAlias = Annotated[
    Sequence[Sequence[Array]],
    _pairs,
    "a sequence of pairs of arrays of {first}'s library and dtype, {dtype}",
]


@dataclass(frozen=True)
class Kind:
    """What a parameter's annotation says: its choices, or its check; and all that in words."""

    choices: tuple[Any, ...]
    check: Callable[[Any, Array], Any] | None
    optional: bool
    text: str

    def checked(self, value: Any, x: Array) -> Any:
        """The value as a computation wants it, or an error that does not say whose it is."""
        if (value is None and self.optional) or _is_choice(value, self.choices):
            return value
        if self.check is None:
            raise ValueError(f"must be {self.text}, got {value!r}")
        return self.check(value, x)

    @property
    def is_scalar(self) -> bool:
        """Whether a number is good, and an array of them."""
        return self.check in (_scalar, _weight, _operand)

    @property
    def is_along_axis(self) -> bool:
        """Whether an array may have the shape of the axes."""
        return self.check is _weight

    @property
    def is_for_rank(self) -> bool:
        """Whether a value may be good for an x of some number of dimensions alone."""
        return self.check in (_axis, _new_axis, _axes, _cotangent)

    @property
    def is_real(self) -> bool:
        """Whether an array is one of real numbers, to be computed with."""
        return self.is_learned or self.check is _noise

    @property
    def is_learned(self) -> bool:
        """Whether it may have a derivative."""
        return self.is_scalar or self.check in (_companion, _cotangent)


COTANGENT = Kind((), _cotangent, False, "an array of x's library with a real floating dtype")
COTANGENTS = Kind(
    (),
    _cotangents,
    False,
    "an array of {first}'s library and dtype, {dtype}, or a tuple of them and None",
)


@dataclass(frozen=True)
class Condition:
    """What some of the parameters must fulfil: in Python, and as a test of them."""

    text: str
    names: tuple[str, ...]
    judge: Callable[..., bool]

    def holds(self, given: Mapping[str, Any]) -> bool:
        return self.judge(*(given[name] for name in self.names))


def kind(annotation: Any) -> Kind:
    """Read an annotation such as ``Scalar | None`` or ``Literal["none", "tanh"] | bool``."""
    union = get_origin(annotation) in (Union, types.UnionType)
    options: list[str] = []
    choices: list[Any] = []
    check = None
    for part in get_args(annotation) if union else (annotation,):
        if hasattr(part, "__metadata__"):
            check, text = part.__metadata__
            options.append(text)
        elif part is type(None):
            options.append("None")
        elif part is bool or get_origin(part) is Literal:
            choices += (True, False) if part is bool else get_args(part)
        else:
            raise TypeError(f"a parameter cannot be annotated {annotation!r}")
    options = [*map(repr, choices), *options]
    text = ", ".join(options[:-1]) + " or " * (len(options) > 1) + options[-1]
    return Kind(tuple(choices), check, "None" in options, text)


def check(definition: Definition, x: Array, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The parameters as the computation wants them, or one clear error."""
    from ._dispatch import isdtype

    if not isdtype(x, _REAL):
        raise TypeError(f"{definition.name}: x must be an array of real numbers, got {describe(x)}")
    good = []
    for (name, kind), value in zip(definition.parameters.items(), values, strict=True):
        try:
            good.append(kind.checked(value, x))
        except TypeError:
            raise TypeError(
                f"{definition.name}: {name} must be {kind.text}, got {describe(value)}"
            ) from None
        except ValueError as error:
            raise type(error)(f"{definition.name}: {name} {error}") from None
    given = dict(zip(definition.parameters, good, strict=True))
    for condition in definition.domain:
        if not condition.holds(given):
            got = ", ".join(f"{name}={given[name]!r}" for name in condition.names)
            raise ValueError(f"{definition.name}: requires {condition.text}, got {got}")
    return tuple(good)


def _is_choice(value: Any, choices: tuple[Any, ...]) -> bool:
    return isinstance(value, (str, bool)) and value in choices and type(value) in map(type, choices)


def domain(conditions: tuple[str, ...], parameters: Mapping[str, Kind]) -> tuple[Condition, ...]:
    """Each condition, which only judges Python numbers."""
    compiled = []
    for text in conditions:
        words = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        names = tuple(name for name in parameters if name in words)
        judged = " and ".join(f"isinstance({name}, NUMBER)" for name in names)
        source = f"lambda {', '.join(names)}: not ({judged}) or ({text})"
        compiled.append(Condition(text, names, eval(source, {"NUMBER": NUMBER})))
    return tuple(compiled)


def describe(value: Any) -> str:
    """A value in an error message: a short repr for plain things, the type for the rest."""
    if value is None or isinstance(value, (bool, int, float, complex, str, list, tuple)):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    dtype = f" of dtype {value.dtype}" if hasattr(value, "dtype") else ""
    return f"{where}{kind.__qualname__}{dtype}"
