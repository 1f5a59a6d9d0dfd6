"""The one place that writes public functions, with their accurate form, derivatives and vjp."""

from __future__ import annotations

import functools
import inspect
import linecache
import types
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, overload

from . import _dispatch
from ._definition import Definition
from ._docstring import PARTS, with_complex
from ._gradients import array_arguments, derivative, gradients
from ._parameters import COTANGENT, COTANGENT_OF_REDUCTION, COTANGENTS
from ._typing import A, Array, Namespace, P, Precision, Q, R

C = TypeVar("C", bound=Callable[..., Any])


class PublicFunction(Protocol[P]):
    """A function that keeps the caller's array type and has the parameters of its implementation.

    A Python number counts as a NumPy scalar. Arrays come first, for that overload is what a type
    checker takes for the result of a `functools.partial`.
    """

    definition: Definition
    impl: Callable[..., Any]

    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> A: ...
    @overload
    def __call__(self, x: float, /, *args: P.args, **kwargs: P.kwargs) -> float: ...
    @overload
    def __call__(self, x: A, /, *args: Any, out: A | None, **kwargs: Any) -> A: ...
    @overload
    def __call__(self, x: A, /, *args: Any, rng: Any, **kwargs: Any) -> A: ...


class ValueAndDerivative(Protocol[P]):
    """A function that returns the value and the derivative."""

    @overload
    def __call__(self, x: A, /, *args: P.args, **kwargs: P.kwargs) -> tuple[A, A]: ...
    @overload
    def __call__(self, x: float, /, *args: P.args, **kwargs: P.kwargs) -> tuple[float, float]: ...


class VJP(Protocol[P]):
    """A function that takes the cotangent of the result to the gradients of the arguments."""

    impl: Callable[..., Any]

    @overload
    def __call__(self, g: A, x: A, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, A]: ...
    @overload
    def __call__(
        self, g: float, x: float, /, *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, float]: ...


class Activation(PublicFunction[P], Protocol[P]):
    """An activation function, with its accurate form and its derivatives as attributes."""

    __name__: str
    accurate: PublicFunction[P]
    derivative: PublicFunction[P]
    value_and_derivative: ValueAndDerivative[P]
    vjp: VJP[P]

    @overload
    def defderivative(self, impl: C, /) -> C: ...
    @overload
    def defderivative(self, *names: str) -> Callable[[C], C]: ...
    def defvjp(self, impl: C, /) -> C: ...
    @overload
    def defcomplex(self, impl: C, /) -> C: ...
    @overload
    def defcomplex(self, *names: str) -> Callable[[C], C]: ...


class Operation(Protocol[P, Q, R]):
    """A function of several arrays, with its accurate form and its vjp as attributes.

    Its arguments are P, or its first array and Q. The result has the type of that array unless the
    implementation states another one.
    """

    __name__: str
    definition: Definition
    impl: Callable[..., Any]
    accurate: Callable[P, Any]
    vjp: Callable[..., dict[str, Any]]

    @overload
    def __call__(self: Operation[P, Q, Array], x: A, /, *args: Q.args, **kwargs: Q.kwargs) -> A: ...
    @overload
    def __call__(self: Operation[P, Q, Array], *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self: Operation[P, Q, Array], x: A, /, *args: Any, rng: Any, **kwargs: Any
    ) -> A: ...
    @overload
    def __call__(self, *args: Any, rng: Any, **kwargs: Any) -> Any: ...
    def defvjp(self, impl: C, /) -> C: ...


def build_public(definition: Definition, doc: str) -> Any:
    """Return the function that users call, which the decorators `def...` complete."""
    function = _build(definition, doc, definition.impl)
    function.defderivative = functools.partial(_defderivative, function)
    function.defvjp = functools.partial(_defvjp, function)
    function.defcomplex = functools.partial(_defcomplex, function)
    function.accurate = _at_all_precisions(function)["accurate"]
    return function


def _at_all_precisions(function: Any) -> dict[str, Any]:
    """Make the forms of a function, which a compiler that traces the caller cannot make."""
    return {level: at_precision(function, level) for level in _dispatch.PRECISIONS}


def not_scripted(name: str) -> str:
    """Return what torch.jit.script says of a function that has it as ``__script_unsupported``."""
    return f"{name} cannot be compiled by torch.jit.script; use torch.jit.trace or torch.export"


def at_precision(function: Any, precision: Precision) -> Any:
    """Return the form of a public function that runs at this precision whatever is precision."""
    forms: dict[str, Any] = function.forms
    if precision not in forms:
        choice = [_dispatch.PRECISIONS.index(precision)]
        forms[precision] = form = _bind(function.__code__, function.definition, choice)
        functools.update_wrapper(form, function, _COPIED, updated=())
        form.__qualname__ = f"{function.__qualname__}.{precision}"
    return forms[precision]


def _defderivative(function: Any, *names: Any) -> Any:
    """Give an elementwise function its written derivative with respect to x, or to parameters.

    ``@f.defderivative`` is the derivative of each element with respect to that of x: it becomes
    ``f.derivative``, and ``f.value_and_derivative`` and ``f.vjp`` follow from it.
    ``@f.defderivative("beta")`` returns a dictionary of the derivatives with respect to these
    parameters, which ``f.vjp`` multiplies with the cotangent and sums.
    """
    if not isinstance(names[0], str):
        (impl,) = names
        _complete_signature(function, impl)
        _update(function, derivative=impl)
        _attach(function, "derivative", impl)
        _attach(function, "value_and_derivative", impl)
        _attach(function, "vjp")
        return impl

    def decorate(impl: C) -> C:
        _complete_signature(function, impl)
        unknown = set(names) - function.definition.parameters.keys()
        if unknown:
            raise TypeError(f"{function.__name__}: defderivative got unknown {sorted(unknown)}")
        _update(function, parameter_derivatives=impl)
        return impl

    return decorate


def _defvjp(function: Any, impl: C) -> C:
    """Give a function its written vjp, ``impl(xp, g, x, parameters) -> {name: gradient}``."""
    _complete_signature(function, impl, "g")
    _update(function, vjp=impl)
    _attach(function, "vjp", impl)
    return impl


def _defcomplex(function: Any, *names: Any) -> Any:
    """Let a function take complex numbers: ``@f.defcomplex`` is its implementation for them.

    ``@f.defcomplex("derivative")`` is its complex derivative, if it has one, and
    ``@f.defcomplex("vjp")`` its vjp, ``impl(xp, g, x, parameters) -> {name: gradient}``, with g and
    the gradient such that Re(g*dy) is Re(gradient*dx). ``@f.defcomplex("beta")`` returns the
    derivatives with respect to these parameters.
    """
    definition = function.definition
    if not isinstance(names[0], str):
        (impl,) = names
        _complete_signature(function, impl)
        none = {"derivative": None, "parameter_derivatives": None, "vjp": None}
        _update(function, complex=definition.changed(impl=impl, is_complex=True, **none))
        doc = with_complex(function.__doc__)
        for form in (function, *function.forms.values()):
            form.__doc__ = doc
        return impl

    def decorate(impl: C) -> C:
        _complete_signature(function, impl, *(["g"] if names == ("vjp",) else []))
        (field,) = names if names[0] in ("derivative", "vjp") else ("parameter_derivatives",)
        _update(function, complex=definition.complex.changed(**{field: impl}))
        found = function.definition.complex
        for name in _PARTS:
            has_part = found.derivative is not None or (name == "vjp" and found.vjp is not None)
            if has_part and hasattr(function, name):
                part = getattr(function, name)
                form = _part(function, name, lambda: function.definition.complex)
                _update(part, complex=form)
        return impl

    return decorate


def _complete_signature(function: Any, impl: Any, *lead: str) -> None:
    """Give the names-only signature of a derivative the defaults of the function."""
    primal, code = function.definition.impl, impl.__code__
    if code.co_flags & inspect.CO_VARKEYWORDS:
        return
    given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    names = list(signature_of(primal).parameters)
    expected = (names[0], *lead, *names[1:])
    if given != expected:
        got = ", ".join(given)
        raise TypeError(
            f"{function.__name__}: its derivatives must take ({', '.join(expected)}), got ({got})"
        )
    impl.__defaults__, impl.__kwdefaults__ = primal.__defaults__, primal.__kwdefaults__


def _update(function: Any, **parts: Any) -> None:
    definition = function.definition.changed(**parts)
    for form in (function, *function.forms.values()):
        form.definition = definition


def _derivative(definition: Definition, xp: Namespace, x: Any, *values: Any) -> Any:
    return derivative(definition, xp, x, values)


def _value_and_derivative(definition: Definition, xp: Namespace, x: Any, *values: Any) -> Any:
    value = definition.call(definition.impl, xp, x, values=values)
    return value, derivative(definition, xp, x, values)


def _vjp(definition: Definition, xp: Namespace, x: Any, g: Any, *values: Any) -> Any:
    return gradients(definition, xp, g, x, values, array_arguments(definition, values))


_PARTS = {
    "derivative": _derivative,
    "value_and_derivative": _value_and_derivative,
    "vjp": _vjp,
}
"""The parts of a function that are functions of their own, of its definition and arguments."""


def _part(function: Any, name: str, definition: Callable[[], Definition]) -> Definition:
    """Return the definition of a part of the definition that is returned when it is called."""

    def impl(xp: Namespace, x: Any, *values: Any) -> Any:
        return _PARTS[name](definition(), xp, x, *values)

    cotangent = COTANGENT if definition().is_activation else COTANGENTS
    if definition().output_axis == "resized":
        cotangent = COTANGENT_OF_REDUCTION
    return definition().part(name, impl, **({"g": cotangent} if name == "vjp" else {}))


def _attach(function: Any, name: str, impl: Any = None) -> None:
    """Make a part of a function public as its attribute."""
    definition = function.definition
    part = _part(function, name, lambda: function.definition)
    kind = "activation" if definition.is_activation else "operation"
    doc = PARTS.get(f"{kind} {name}", PARTS.get(name, "")).format(name=definition.name)
    public = _build(part, doc, definition.impl)
    public.impl = public.__wrapped__ = impl or part.impl
    _at_all_precisions(public)
    setattr(function, name, public)


_SOURCE = """\
def _make(
    _tables, _plain, _written, _choice, _resolve, _call_with_out, _sample_noise, _type{defaults}
):
    def public({names}):
        {plain}{noise}{out}return (_tables[_choice[0]].get(_type(x)) or _resolve(x))(
            x, ({types}){rest}
        )
    return public
"""
_OUT = """\
if out is not None:
            {written}_kernel = _tables[_choice[0]].get(_type(x)) or _resolve(x)
            return _call_with_out(out, _kernel, x, ({types}){rest})
        """
_PLAIN = """\
if {condition}:
            _kernel = _plain[_choice[0]].get(_type(x))
            if _kernel is not None:
                return _kernel(x)
        """
_WRITTEN = """\
if {condition}:
                _kernel = _written[_choice[0]].get(_type(x))
                if _kernel is not None and _kernel(x, out) is out:
                    return out
            """
_NOISE = """\
if {condition}:
            noise = _sample_noise(x, rng, noise, ({values}))
        """


_COPIED = (
    *("__annotations__", "__defaults__", "__doc__", "__kwdefaults__", "__module__"),
    *("__script_unsupported", "__signature__", "__wrapped__", "autograph_info__", "impl"),
)


def _build(definition: Definition, doc: str, impl: Callable[..., Any]) -> Any:
    """Write a public function: one look-up by the type of the first array, then the kernel.

    Written out, it has the signature of its implementation, hands the types of all parameters and
    each of them on by position, and needs nothing special of pickle, inspect, doctest or dynamo.
    """
    signature = _signature(definition, impl)
    names = tuple(signature.parameters)
    parameters = signature.parameters.values()
    by_position = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    by_name = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    roles = ("training", "noise", "rng", "out") if "rng" in names else ("out",)
    has_defaults = len(definition.defaults) == len(definition.parameters) and "rng" not in names
    used = tuple("x" if n == definition.first else n * (n in roles) for n in names)
    template = _compile(used, has_defaults)
    code = template.replace(
        co_name=definition.name.rpartition(".")[2],
        co_qualname=definition.name,
        co_varnames=names + template.co_varnames[len(names) :],
        co_argcount=len(by_position),
        co_posonlyargcount=sum(p.kind is p.POSITIONAL_ONLY for p in by_position),
        co_kwonlyargcount=len(by_name),
    )
    public = _bind(code, definition, _dispatch.choice)
    public.__defaults__ = tuple(p.default for p in by_position if p.default is not p.empty)
    public.__kwdefaults__ = {p.name: p.default for p in by_name if p.default is not p.empty}
    public.__annotations__ = {n: h for n, h in impl.__annotations__.items() if n != "xp"}
    public.__module__ = impl.__module__
    public.__doc__ = doc
    public.__signature__ = signature
    public.__wrapped__ = public.impl = impl  # which inspect.getsource shows
    public.forms = {}
    public.definition = definition.changed(function=public)
    setattr(public, "__script_unsupported", not_scripted(definition.name))
    public.autograph_info__ = {}  # of what AutoGraph of TensorFlow does not rewrite
    return public


def _bind(code: types.CodeType, definition: Definition, choice: list[int]) -> Any:
    """Return a function of this code that calls the kernels of a definition."""
    tables: tuple[dict[type, Any], ...] = tuple({} for _ in _dispatch.PRECISIONS)
    plain: tuple[dict[type, Any], ...] = tuple({} for _ in _dispatch.PRECISIONS)
    written: tuple[dict[type, Any], ...] = tuple({} for _ in _dispatch.PRECISIONS)

    def resolve(x: Any) -> Any:
        index = choice[0]
        level = _dispatch.PRECISIONS[index]
        kernels = tables[index], plain[index], written[index]
        return _dispatch.resolve(public.definition, level, x, *kernels)

    def call_with_out(out: Any, kernel: Any, x: Any, types: Any, *parameters: Any) -> Any:
        return _dispatch.call_with_out(definition.name, out, kernel, x, types, *parameters)

    def sample_noise(x: Any, rng: Any, noise: Any, values: Any) -> Any:
        precision = _dispatch.PRECISIONS[choice[0]]
        return _dispatch.sample_noise(public.definition, precision, x, rng, noise, values)

    free: dict[str, Any] = {"_tables": tables, "_plain": plain, "_written": written}
    free |= {"_choice": choice, "_resolve": resolve}
    free |= {"_type": type, **{f"_d{i}": d for i, d in enumerate(definition.defaults.values())}}
    free |= {"_call_with_out": call_with_out, "_sample_noise": sample_noise}
    closure = tuple(types.CellType(free[name]) for name in code.co_freevars)
    public: Any = types.FunctionType(code, definition.impl.__globals__, closure=closure)
    public.definition = definition
    return public


@functools.cache
def _compile(roles: tuple[str, ...], has_defaults: bool) -> types.CodeType:
    """Return the code that functions share whose arguments differ in names and kinds alone."""
    names = [role or f"_{i}" for i, role in enumerate(roles)]
    parameters = [name for name in names if name not in ("x", "rng", "out")]
    words = {
        "types": "".join(f"_type({p}), " for p in parameters),
        "rest": "".join(f", {p}" for p in parameters),
        "values": "".join(f"{p}, " for p in parameters),
        "condition": "training is True" if "training" in names else "True",
    }
    defaults = [f"_d{i}" for i in range(len(parameters))] if has_defaults else []
    checks = [f"{p} is {d}" for p, d in zip(parameters, defaults, strict=False)]
    condition = " and ".join(checks) or "True"
    words["written"] = _WRITTEN.format(condition=condition) if has_defaults else ""
    checks = ["out is None", *checks] if "out" in names else checks
    plain = _PLAIN.format(condition=" and ".join(checks) or "True") if has_defaults else ""
    words["defaults"] = "".join(f", {d}" for d in defaults)
    noise = _NOISE.format(**words) if "rng" in names else ""
    out = _OUT.format(**words) if "out" in names else ""
    source = _SOURCE.format(**words, names=", ".join(names), plain=plain, noise=noise, out=out)
    kind = ", all with defaults" * has_defaults
    filename = f"<activations_xp: a public function of {', '.join(names)}{kind}>"
    linecache.cache[filename] = len(source), None, source.splitlines(True), filename
    namespace: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), namespace)
    code: types.CodeType = namespace["_make"](*[None] * (8 + len(defaults))).__code__
    return code


@functools.cache
def signature_of(impl: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of an implementation."""
    return inspect.signature(impl)


def _signature(definition: Definition, impl: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a public function, from that of the implementation."""
    signature = signature_of(impl)
    part = definition.name.rpartition(".")[2]
    is_main = part == definition.name
    parameters = list(signature.parameters.values())[1:]
    if definition.is_activation:
        parameters[0] = parameters[0].replace(kind=inspect.Parameter.POSITIONAL_ONLY)
    if "g" in definition.parameters:
        parameters.insert(0, inspect.Parameter("g", parameters[0].kind))
    last: list[str] = []
    if definition.noise is not None and is_main:
        last.append("rng")
    if definition.is_activation and (is_main or part == "derivative"):
        last.append("out")
    kind: Literal[inspect._ParameterKind.KEYWORD_ONLY] = inspect.Parameter.KEYWORD_ONLY
    parameters += [inspect.Parameter(name, kind, default=None) for name in last]
    return signature.replace(parameters=parameters)
