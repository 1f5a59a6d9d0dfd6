"""The definition of a function: data, which everything else reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, TypeAlias

from ._errors import array_hint, describe_value
from ._parameters import COMPLEX, FLOATING, REAL, Constraint, Owner, ParameterSpec
from ._typing import Namespace

_FLOATS = "floats of 16 bits or more"
_DTYPES = f"bool, integers, {_FLOATS}"
"""The dtypes that are computed in, in words."""

OutputAxis: TypeAlias = Literal["kept", "resized", "added"] | None


@dataclass(frozen=True, eq=False)
class Properties:
    """The properties of a function at its first case; each is a test.

    domain : the closed interval on which it is a real number
    range : the smallest closed interval that holds every value
    monotonic : whether it never falls
    parity : "odd" or "even"
    fixed_points : the x with f(x) = x; ``None`` is every x
    limits : the values at the ends of the domain, NaN if there is none; if it is monotonic, they
        are the ends of the range
    lipschitz : the largest slope; inf if there is none
    smoothness : the number of continuous derivatives, -1 if the function itself jumps; 0 is the
        default where it has kinks
    kinks : the x at which it or a derivative jumps
    sums_to : the sum along the axis
    """

    domain: tuple[float, float] = (-inf, inf)
    range: tuple[float, float] = (-inf, inf)
    monotonic: bool = False
    parity: Literal["odd", "even"] | None = None
    fixed_points: tuple[float, ...] | None = ()
    limits: tuple[float, float] | None = None
    lipschitz: float = inf
    smoothness: float = inf
    kinks: tuple[float, ...] = ()
    sums_to: float | None = None

    def __post_init__(self) -> None:
        if self.monotonic and self.limits is None:
            object.__setattr__(self, "limits", self.range)
        if self.kinks and self.smoothness == inf:
            object.__setattr__(self, "smoothness", 0)

    @property
    def zero_centred(self) -> bool:
        """Whether f(0) = 0 and both signs occur."""
        low, high = self.range
        return (self.fixed_points is None or 0.0 in self.fixed_points) and low < 0 < high


@dataclass(frozen=True, eq=False)
class Case:
    """Parameters to test a function at, with the formula and the error bound there."""

    parameters: Mapping[str, Any]
    formula: str = ""
    ulp: float = 0.0


@dataclass(frozen=True)
class Peer:
    """The same function in another library.

    parameters : its defaults that differ from ours
    note : another difference, in a word or two
    """

    name: str
    parameters: Mapping[str, Any]
    note: str

    def __init__(self, name: str, note: str = "", **parameters: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "note", note)

    def __str__(self) -> str:
        differences = [
            *filter(None, [self.note]),
            *(f"{k}={v}" for k, v in self.parameters.items()),
        ]
        return f"{self.name} ({', '.join(differences)})" if differences else self.name


@dataclass(frozen=True, eq=False)
class NoiseSpec:
    """The uniform random numbers that a function takes as `noise`.

    shape : their shape, a function of all arguments by name
    probability : the parameter that must be positive for them to be drawn; if there is none they
        are drawn in training, or always by a function that has no such parameter
    """

    shape: Callable[..., tuple[int, ...]]
    probability: str = ""


@dataclass(frozen=True, eq=False)
class Definition:
    """All that is known of a function; `activation` and `operation` describe the fields.

    An operation takes one or more arrays. An activation is an operation of one array that also has
    a formula, and properties and cases to be tested by.

    first : the name of the first array, which decides the library, the device and the dtype
    derivative : the derivative with respect to the first array, if the function is elementwise
    parameter_derivatives : a function that returns by name the derivatives of each element of the
        result with respect to the parameters
    vjp : ``vjp(xp, g, x, *parameters)``, a dictionary of gradients
    keyword_only : the parameters that the implementation takes by name only; they are the last
    layer : the name of its class in `layers`, after "torch.nn." where it is a class of PyTorch's
    complex : the definition for complex numbers, if the function takes them
    is_complex : whether this is such a definition
    widens : whether the results of 16-bit floats stay in the 32 bits that they are computed in
    function : the public function, by which a call is recorded
    """

    name: str
    impl: Callable[..., Any]
    first: str
    parameters: Mapping[str, ParameterSpec]
    defaults: Mapping[str, Any]
    source: str = ""
    peers: Mapping[str, tuple[Peer, ...]] = field(default_factory=dict)
    noise: NoiseSpec | None = None
    formula: str | None = None
    ulp: float = 0.0
    constraints: tuple[Constraint, ...] = ()
    aliases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    relatives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    layer: str = ""
    output_axis: OutputAxis = None
    preserves_integers: bool = False
    compares_integers: bool = False
    widens: bool = False
    properties: Properties = Properties()
    use_custom_vjp: bool = True
    keyword_only: tuple[str, ...] = ()
    derivative: Callable[..., Any] | None = field(default=None, repr=False)
    parameter_derivatives: Callable[..., Any] | None = field(default=None, repr=False)
    vjp: Callable[..., Any] | None = field(default=None, repr=False)
    complex: Definition | None = field(default=None, repr=False)
    is_complex: bool = False
    function: Any = field(default=None, repr=False)

    @property
    def is_activation(self) -> bool:
        """Whether it has a formula to be tested by."""
        return self.formula is not None

    @property
    def is_elementwise(self) -> bool:
        """Whether each element of the result depends on one element of the only array."""
        return self.is_activation and self.output_axis is None

    @property
    def keeps_shape(self) -> bool:
        """Whether the result has the shape of x."""
        return self.output_axis in (None, "kept")

    def for_dtype(self, xp: Namespace, dtype: Any) -> Definition:
        """Return the definition for arrays of a dtype: `complex`, or the definition itself."""
        if self.complex is not None and xp.isdtype(dtype, COMPLEX):
            return self.complex
        return self

    def bind(self, values: Iterable[Any]) -> dict[str, Any]:
        """Return the values of the parameters by name."""
        return dict(zip(self.parameters, values, strict=True))

    def changed(self, **fields: Any) -> Definition:
        """Return the definition with other values of some fields."""
        other = object.__new__(Definition)  # ten times as fast as dataclasses.replace
        vars(other).update(vars(self), **fields)
        return other

    def part(self, name: str, impl: Callable[..., Any], **parameters: ParameterSpec) -> Definition:
        """Return the definition of a derivative or vjp, ``impl(xp, x, *parameters)``."""
        return self.changed(
            name=f"{self.name}.{name}",
            impl=impl,
            parameters={**parameters, **self.parameters},
            keyword_only=(),
            preserves_integers=False,
            compares_integers=False,
            derivative=None,
            parameter_derivatives=None,
            vjp=None,
            complex=None,
        )

    def call(self, impl: Callable[..., Any], *arrays: Any, values: tuple[Any, ...]) -> Any:
        """Call an implementation of this signature with the values of all parameters."""
        if not self.keyword_only:
            return impl(*arrays, *values)
        stop = len(values) - len(self.keyword_only)
        named = dict(zip(self.keyword_only, values[stop:], strict=True))
        return impl(*arrays, *values[:stop], **named)

    def check(self, x: Any, values: tuple[Any, ...], backend: Owner) -> tuple[Any, ...]:
        """Return the parameters as the implementation takes them.

        Raises
        ------
        TypeError, ValueError
            If an argument is not accepted; the message names the function and the argument.
        """
        kinds = COMPLEX if self.is_complex else REAL if self.is_activation else FLOATING
        if not backend.isdtype(x, kinds):
            what, dtypes = "real" if self.complex is None else "real or complex", _DTYPES
            if not self.is_activation:
                what, dtypes = "real floating", _FLOATS
            got = describe_value(x)
            wanted = f"an array of {what} numbers ({dtypes})"
            raise TypeError(f"{self.name}: {self.first} must be {wanted}, got {got}")
        checked = []
        for (name, spec), value in zip(self.parameters.items(), values, strict=True):
            checked.append(check_argument(self.name, name, spec, value, self.first, x, backend))
        arguments = self.bind(checked)
        for constraint in self.constraints:
            if not constraint.holds(arguments):
                got = ", ".join(f"{name}={arguments[name]!r}" for name in constraint.names)
                raise ValueError(f"{self.name}: requires {constraint.text}, got {got}")
        return tuple(checked)


def check_argument(
    function: str, name: str, spec: ParameterSpec, value: Any, first: str, x: Any, backend: Owner
) -> Any:
    """Return an argument as implementations take it.

    Raises
    ------
    TypeError, ValueError
        If it is not accepted; the message names the function and the argument.
    """
    try:
        return spec.check(value, first, x, backend)
    except TypeError:
        text = spec.text.format(first=first, dtype=x.dtype)
        got = f"{describe_value(value)}{_hint(name, spec, value, backend)}"
        raise TypeError(f"{function}: {name} must be {text}, got {got}") from None
    except ValueError as error:
        raise type(error)(f"{function}: {name} {error}") from None


def _hint(name: str, spec: ParameterSpec, value: Any, backend: Owner) -> str:
    """Return what to do about an array that a parameter does not take."""
    if not spec.dtypes:
        return ""
    if not backend.owns(value):
        return array_hint(name, value)
    is_known = backend.isdtype(value, REAL + COMPLEX)
    return "" if is_known else f"; the dtypes of numbers are {_DTYPES}"
