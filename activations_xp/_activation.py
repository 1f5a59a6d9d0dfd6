"""What an activation is: the definition, the decorators that make one, and the registry."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, Protocol, cast, get_type_hints, overload

from . import _dispatch, _parameters
from ._docstring import complete
from ._typing import A, Array, Formula, Gamble, Kernel, Namespace, P


@dataclass(frozen=True)
class Properties:
    """What is true of a function at its first variant; each is a test.

    defined : the closed interval on which it is a real number
    range : the smallest closed interval that holds every value
    monotonic : whether it never falls
    parity : "odd" or "even"
    fixed_points : where f(x) = x; ``None`` says everywhere
    limits : the values at the ends of where it is defined; NaN if there is none
    zero_centred : whether f(0) = 0 and both signs occur
    lipschitz : the largest slope; inf if there is none
    smoothness : how many continuous derivatives it has; -1 if it jumps itself
    kinks : where it or a derivative jumps
    sums_to : the sum along the axis
    """

    defined: tuple[float, float] = (-inf, inf)
    range: tuple[float, float] = (-inf, inf)
    monotonic: bool = False
    parity: Literal["odd", "even"] | None = None
    fixed_points: tuple[float, ...] | None = ()
    limits: tuple[float, float] | None = None
    zero_centred: bool = False
    lipschitz: float = inf
    smoothness: float = inf
    kinks: tuple[float, ...] = ()
    sums_to: float | None = None


@dataclass(frozen=True)
class Variant:
    """A function at chosen parameters, where it may have a formula and names of its own."""

    parameters: Mapping[str, Any]
    formula: str = ""
    aliases: tuple[str, ...] = ()
    ulp: float = 0.0


def variant(
    *, formula: str = "", aliases: tuple[str, ...] = (), ulp: float = 0.0, **parameters: Any
) -> Variant:
    """Parameters to test a function at; formula and error bound are the function's unless given."""
    return Variant(parameters, formula, aliases, ulp)


@dataclass(frozen=True, eq=False)
class Definition:
    """All that is known of a function; `activation` says what the fields mean."""

    name: str
    computation: Kernel
    formula: str
    source: str
    ulp: float
    parameters: Mapping[str, _parameters.Kind]
    defaults: Mapping[str, Any]
    domain: tuple[_parameters.Condition, ...]
    aliases: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]
    variants: tuple[Variant, ...]
    elsewhere: Mapping[str, str]
    axis: Literal["kept", "changed", "added"] | None
    closed_over_integers: bool
    properties: Properties
    noise: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
    derivative: Definition | None = field(default=None, repr=False)
    parameter_derivatives: Definition | None = field(default=None, repr=False)
    vjp: Definition | None = field(default=None, repr=False)

    @property
    def keeps_shape(self) -> bool:
        """Whether the result has the shape of x."""
        return self.axis in (None, "kept")


class Form(Protocol[P]):
    """A public callable: keeps the caller's array type, takes the computation's parameters."""

    definition: Definition

    @overload
    def __call__(self, x: float, /, *args: P.args, **kwargs: P.kwargs) -> float: ...
    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> A: ...
    @overload
    def __call__(self, x: A, /, *args: Any, out: A | None, **kwargs: Any) -> A: ...


class Pair(Protocol[P]):
    """A public callable that returns a value and a derivative."""

    @overload
    def __call__(self, x: float, /, *args: P.args, **kwargs: P.kwargs) -> tuple[float, float]: ...
    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> tuple[A, A]: ...


class Several(Protocol[P]):
    """A public callable that returns an array for each of some parameters."""

    @overload
    def __call__(self, x: float, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, float]: ...
    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, A]: ...


class Pullback(Protocol[P]):
    """A public callable that takes the gradient of its result to that of x."""

    @overload
    def __call__(self, x: float, g: float, /, *args: P.args, **kwargs: P.kwargs) -> float: ...
    @overload
    def __call__(self, x: A, g: A, /, *args: P.args, **kwargs: P.kwargs) -> A: ...
    @overload
    def __call__(self, x: A, g: A, /, *args: Any, out: A | None, **kwargs: Any) -> A: ...


class Activation(Form[P], Protocol[P]):
    """An activation function, with its forms and derivatives as attributes."""

    __name__: str
    computation: Formula[P]
    native: Form[P]
    portable: Form[P]
    derivative: Form[P]
    value_and_derivative: Pair[P]
    parameter_derivatives: Several[P]
    vjp: Pullback[P]


class Stochastic(Activation[P], Protocol[P]):
    """An activation function that draws random numbers."""

    computation: Any

    @overload
    def __call__(self, x: float, /, *args: P.args, **kwargs: P.kwargs) -> float: ...
    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> A: ...
    @overload
    def __call__(self, x: A, /, *args: Any, rng: Any, **kwargs: Any) -> A: ...
    @overload
    def __call__(self, x: A, /, *args: Any, noise: Any, **kwargs: Any) -> A: ...
    @overload
    def __call__(self, x: A, /, *args: Any, out: A | None, **kwargs: Any) -> A: ...


_registry: dict[str, Activation[...]] = {}
_names: dict[str, Callable[..., Any]] = {}
_implied_by: dict[tuple[str, str], str] = {}
"""The first alias of a function with bound parameters, by its name and their repr."""


def activation(
    *,
    formula: str,
    source: str,
    ulp: float = 2.0,
    domain: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    variants: tuple[Variant, ...] = (),
    elsewhere: Mapping[str, str],
    axis: Literal["kept", "changed", "added"] | None = None,
    closed_over_integers: bool = False,
    noise: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
    **properties: Any,
) -> Callable[[Formula[P]], Activation[P]]:
    """Turn a computation ``f(xp, x, parameters)`` into a public, registered function.

    Parameters
    ----------
    formula : the mathematics in Python, which the oracle evaluates in many digits
    source : where it was published
    ulp : the largest error of our computation, in units in the last place of float32 and float64
    domain : conditions on the parameters, in Python
    aliases : further names for `get`
    presets : names for `get` that imply parameters at which there is nothing more to test
    variants : parameters to test it at
    elsewhere : its name in other libraries
    axis : None if each element is on its own, else what becomes of the axis it works along: its
        size is "kept" or "changed", which is also said of one that goes, or it is "added"
    closed_over_integers : whether integers at the default parameters stay integers
    noise : see `stochastic`
    properties : see `Properties`
    """

    def decorate(computation: Formula[P]) -> Activation[P]:
        name = cast(Any, computation).__name__
        signature = list(inspect.signature(computation).parameters.values())[2:]
        hints = get_type_hints(computation, include_extras=True)
        parameters = {p.name: _parameters.kind(hints[p.name]) for p in signature}
        defaults = {p.name: p.default for p in signature if p.default is not p.empty}
        whole = () if len(defaults) < len(parameters) else (Variant({}),)
        definition = Definition(
            name,
            computation,
            formula,
            source,
            ulp,
            parameters,
            defaults,
            _parameters.domain(domain, parameters),
            aliases,
            presets or {},
            tuple(
                replace(v, formula=v.formula or formula, ulp=v.ulp or ulp)
                for v in (*whole, *variants)
            ),
            elsewhere,
            axis,
            closed_over_integers,
            Properties(**properties),
            noise,
        )
        function = cast(Activation[P], _public(definition, None, computation))
        function.__doc__ = complete(definition)
        function.computation = computation
        function.native = cast(Form[P], _public(definition, "native", computation))
        function.portable = cast(Form[P], _public(definition, "portable", computation))
        _register(function)
        return function

    return decorate


def stochastic(
    *, noise: Callable[[tuple[int, ...]], tuple[int, ...]], **words: Any
) -> Callable[[Gamble[P]], Stochastic[P]]:
    """`activation`, for a computation ``f(xp, x, noise, parameters)``.

    Parameters
    ----------
    noise : the shape in which it is drawn for that of x: when `training`, or always if there is
        no such parameter
    words : as for `activation`
    """
    decorate: Any = activation(noise=noise, **words)
    return decorate  # type: ignore[no-any-return]


_compiled: dict[Any, Form[...]] = {}


def compiled(function: Form[P]) -> Form[P]:
    """The function as one kernel, which PyTorch's compiler makes at the first call.

    It is for tensors, and for large NumPy arrays, whose memory it shares; there is one kernel for
    each dtype, number of dimensions and set of parameters, for any size. On other libraries it is
    the function itself, as JAX compiles it at any rate. Where there is no compiler it warns and
    runs what `function` does.

    Parameters
    ----------
    function : function of this library
        Such as ``gelu``, or ``gelu.derivative``.

    Returns
    -------
    function
        With the same parameters.

    Raises
    ------
    TypeError
        If it is no function of this library.
    ImportError
        When called with a NumPy array, if PyTorch is not installed.

    Examples
    --------
    >>> import activations_xp as ax
    >>> fast = ax.compiled(ax.gelu)
    """
    definition = getattr(function, "definition", None)
    if not isinstance(definition, Definition):
        got = _parameters.describe(function)
        raise TypeError(f"compiled: function must be one of activations_xp, got {got}")
    if function not in _compiled:
        _compiled[function] = _public(definition, "compiled", function)
    return cast(Form[P], _compiled[function])


@overload
def derivative_of(function: Stochastic[P]) -> Callable[[Gamble[P]], Gamble[P]]: ...
@overload
def derivative_of(function: Activation[P]) -> Callable[[Formula[P]], Formula[P]]: ...
def derivative_of(function: Any) -> Any:
    """Give `function` its written derivative, of each element with respect to that of x.

    It becomes ``function.derivative``; ``function.value_and_derivative`` and ``function.vjp``
    follow from it.
    """
    value: Any = function.computation

    def decorate(computation: Any) -> Any:
        def both(xp: Namespace, x: Array, *parameters: Any) -> Any:
            return value(xp, x, *parameters), computation(xp, x, *parameters)

        def chain(xp: Namespace, x: Array, g: Any, *parameters: Any) -> Any:
            slope = computation(xp, x, *parameters)
            _parameters.must_have_shape(f"{function.__name__}.vjp", "g", g, slope.shape)
            return _parameters.gathered(xp, g * slope, x.shape)

        _give(function, "derivative", computation)
        _give(function, "value_and_derivative", both)
        _give(function, "vjp", chain)
        return computation

    return decorate


def parameter_derivatives_of(function: Activation[P]) -> Callable[[Formula[P]], Formula[P]]:
    """Give `function` the derivatives of each element of its result by the parameters.

    The computation returns a dictionary with all that may be arrays and are not None: what the
    result has at an element over what the parameter is there.
    """

    def decorate(computation: Any) -> Any:
        _give(function, "parameter_derivatives", computation)
        return computation

    return decorate


def vjp_of(function: Activation[P]) -> Callable[[Any], Any]:
    """Give `function`, which works along an axis, its written product of g with the Jacobian.

    The computation ``(xp, x, g, parameters)`` takes the gradient g of the result to that of x.
    """
    keeps_shape = function.definition.keeps_shape

    def decorate(computation: Any) -> Any:
        def checked(xp: Namespace, x: Array, g: Any, *parameters: Any) -> Any:
            if isinstance(g, _parameters.NUMBER):
                g = xp.where(x != x, x, g)
            if keeps_shape:
                _parameters.must_have_shape(f"{function.__name__}.vjp", "g", g, x.shape)
            return computation(xp, x, g, *parameters)

        _give(function, "vjp", checked)
        return computation

    return decorate


_PARTS = {
    "derivative": "The derivative of `{name}` with respect to x, which has its parameters.",
    "value_and_derivative": "`{name}` and its derivative with respect to x, in one pass.",
    "parameter_derivatives": """\
The derivatives of `{name}` with respect to its parameters.

Returns
-------
dict
    For the name of each parameter that may be an array and is not None, an array in the shape of
    the result: the derivative of each element with respect to what the parameter is there. The
    gradient of the parameter is the sum of its product with the gradient of the result, over the
    elements that share a value of it.
""",
    "vjp": """\
The vector-Jacobian product of `{name}`: the gradient of x from that of the result.

Parameters
----------
x : array of real numbers
    What the function was applied to.
g : array of real floating numbers
    The gradient of the result, in its shape.

The parameters of `{name}` follow, and `out`.

Returns
-------
array
    The gradient of x, in its shape and its dtype; 0 where a mask keeps x out.

Raises
------
TypeError
    As `{name}` does, or if g is not an array of x's library with a real floating dtype.
ValueError
    As `{name}` does, or if g has another shape than the result.
""",
}


def _give(function: Activation[P], name: str, computation: Any) -> None:
    """Make a computation public as an attribute of `function`, with its parameters."""
    definition = function.definition
    first = {"g": _parameters.COTANGENT} if name == "vjp" else {}
    part = replace(
        definition,
        name=f"{definition.name}.{name}",
        computation=computation,
        parameters={**first, **definition.parameters},
        closed_over_integers=False,
        derivative=None,
        parameter_derivatives=None,
        vjp=None,
    )
    public: Any = _public(part, None, function.computation)
    public.__doc__ = _PARTS[name].format(name=definition.name)
    setattr(function, name, public)
    if name in Definition.__dataclass_fields__:
        known: dict[str, Any] = {name: part}
        definition = replace(definition, **known)
        for form in (function, function.native, function.portable):
            form.definition = definition


_TEMPLATE = """
def make(kernels, resolve, into, draw):
    def {name}(x{first}, /{signature}):
        {chance}{check}return (kernels.get(type(x)) or resolve(x))(x, ({types}){first}{rest})
    return {name}
"""
_CHECK = """\
if out is not None:
            return into(out, kernels.get(type(x)) or resolve(x), x, ({types}){first}{rest})
        """
_CHANCE = """\
if {training}:
            noise = draw(x, rng, noise)
        """


def _public(
    definition: Definition, which: _dispatch.Implementation | None, author: Any
) -> Form[...]:
    """The function that users call: one look-up by the type of x, then the kernel.

    Written out, it has the signature that its `author` gave the computation, hands the types of
    all parameters and each of them on by position, and needs nothing special of pickle, inspect,
    doctest or dynamo.
    """
    kernels = _dispatch.table() if which is None else {}

    def resolve(x: Any) -> Kernel:
        return _dispatch.resolve(public.definition, kernels, which, x)

    name = definition.name.rpartition(".")[2]
    parameters = [parameter for parameter in definition.parameters if parameter != "g"]
    first = ", g" if "g" in definition.parameters else ""
    last: dict[str, Any] = {}
    words = {
        "name": name,
        "first": first,
        "rest": "".join(f", {parameter}" for parameter in parameters),
        "types": "".join(f"type({parameter}), " for parameter in definition.parameters),
        "chance": "",
        "check": "",
    }
    if definition.noise is not None:
        last["noise"] = definition.defaults.get("noise", inspect.Parameter.empty)
        if definition.name == name:  # its parts are told
            last |= {"noise": None, "rng": None}
            training = "training is True" if "training" in parameters else "True"
            words["chance"] = _CHANCE.format(training=training)
    if name not in ("value_and_derivative", "parameter_derivatives"):
        last["out"] = None
        words["check"] = _CHECK.format(**words)
    plain = [parameter for parameter in parameters if parameter != "noise"]
    words["signature"] = "".join(f", {p}" for p in plain) + ", *" * bool(last)
    words["signature"] += "".join(f", {p}" for p in last)
    source = _TEMPLATE.format(**words)
    made: dict[str, Any] = {}
    exec(compile(source, f"<activations_xp {name}>", "exec"), author.__globals__, made)
    into = functools.partial(_dispatch.into, definition.name)
    public: Any = made["make"](kernels, resolve, into, functools.partial(_drawn, definition, which))
    public.__qualname__ = definition.name if which is None else f"{definition.name}.{which}"
    public.__module__ = author.__module__
    public.__defaults__ = tuple(definition.defaults[p] for p in plain if p in definition.defaults)
    public.__kwdefaults__ = {p: v for p, v in last.items() if v is not inspect.Parameter.empty}
    public.__annotations__ = {
        name: hint for name, hint in author.__annotations__.items() if name != "xp"
    }
    public.definition = definition
    return cast(Form[...], public)


def _drawn(
    definition: Definition,
    which: _dispatch.Implementation | None,
    x: Any,
    rng: Any,
    noise: Any,
) -> Any:
    """The noise for x: what is given, or what is drawn; None if the library's own kernel draws."""
    shape = cast(Any, definition.noise)
    if rng is None and noise is None and _dispatch.draws(definition, which, x):
        shape(tuple(x.shape))  # or an error
        return None
    return _dispatch.draw(definition.name, x, lambda: shape(tuple(x.shape)), rng, noise)


def _register(function: Activation[...]) -> None:
    definition = function.definition
    for name in (definition.name, *definition.aliases):
        _register_name(name, function)
    implied = {name: v.parameters for v in definition.variants for name in v.aliases}
    for name, parameters in {**implied, **definition.presets}.items():
        _register_name(name, functools.partial(function, **parameters))
        _implied_by.setdefault((definition.name, repr(dict(parameters))), name)
    _registry[definition.name] = function


def _register_name(name: str, function: Callable[..., Any]) -> None:
    if name in _names:
        raise ValueError(f"two functions are named {name!r}")
    _names[name] = function


def get(identifier: str | Mapping[str, Any]) -> Callable[..., Any]:
    """The function of this name or alias, its parameters bound where the alias implies them.

    Parameters
    ----------
    identifier : str or mapping
        A canonical name or one that another library uses; or a mapping with it under "name" and
        parameters under theirs.

    Raises
    ------
    TypeError
        If it is neither, or the function has no such parameter.
    ValueError
        If there is no such name; the message has the three closest.

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
        raise TypeError(f"get: {wanted}, got {_parameters.describe(name)}")
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
    """What `get` makes this function of: its name, or a mapping with its bound parameters.

    Parameters
    ----------
    function : callable
        A function of this package, or a `functools.partial` that binds parameters of one.

    Raises
    ------
    TypeError
        If it is neither.

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
    if base is None or _registry.get(name) is not base or positional:
        raise TypeError(
            "name_of: function must be one of this package, or a functools.partial with keywords "
            f"of one, got {_parameters.describe(function)}"
        )
    return _implied_by.get((name, repr(bound)), {"name": name, **bound}) if bound else name


def _base(function: Any) -> Any:
    return function.func if isinstance(function, functools.partial) else function


def names(*, aliases: bool = False) -> list[str]:
    """The canonical names in alphabetical order, or with `aliases` every name `get` knows."""
    return sorted(_names if aliases else _registry)
