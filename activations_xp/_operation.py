"""Functions of several arrays: the decorators that make them public.

An activation is known as a function of numbers, and is tested, drawn and named as one. An operation
is not: it takes arrays of one library whose shapes go together.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Protocol, TypeVar, cast, get_type_hints, overload

from . import _dispatch, _parameters
from ._typing import Kernel, Namespace, P

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Operation:
    """All that is known of one; `operation` says what the fields mean."""

    name: str
    computation: Kernel
    source: str
    elsewhere: Mapping[str, str]
    parameters: Mapping[str, _parameters.Kind]
    reference: str
    whole: bool = False
    chance: str = ""
    shape: Callable[..., tuple[int, ...]] | None = None
    vjp: Operation | None = None

    def first(self, values: tuple[Any, ...]) -> Any:
        """The array that says the library, the device and the dtype."""
        return values[list(self.parameters).index(self.reference)]

    def check(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The parameters as the computation wants them, or one clear error."""
        x = self.first(values)
        if _dispatch.library(x) is None or not _dispatch.isdtype(x, ("real floating",)):
            self._refuse(self.reference, "an array of real floating numbers", x)
        good = []
        for (name, kind), value in zip(self.parameters.items(), values, strict=True):
            try:
                good.append(kind.checked(value, x))
            except TypeError:
                self._refuse(name, kind.text.format(first=self.reference, dtype=x.dtype), value)
            except ValueError as error:
                text = str(error).replace(" x ", f" {self.reference} ")
                raise ValueError(f"{self.name}: {name} {text}") from None
        return tuple(good)

    def compute(self, xp: Namespace, values: Iterable[Any]) -> Any:
        """The computation on `xp`."""
        return self.computation(xp, **dict(zip(self.parameters, values, strict=True)))

    def _refuse(self, name: str, wanted: str, got: Any) -> None:
        raise TypeError(f"{self.name}: {name} must be {wanted}, got {_parameters.describe(got)}")

    def with_noise(self, values: tuple[Any, ...], rng: Any) -> tuple[Any, ...]:
        """The parameters with random numbers, if they are to be drawn."""
        if self.shape is None:
            return values
        given = dict(zip(self.parameters, values, strict=True))
        if given[self.chance] > 0:
            x, shape = given[self.reference], functools.partial(self.shape, **given)
            given["noise"] = _dispatch.draw(self.name, x, shape, rng, given["noise"])
        return tuple(given.values())


class Form(Protocol[P]):
    """A public callable, which takes the computation's parameters."""

    definition: Operation

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(self, *args: Any, rng: Any, **kwargs: Any) -> Any: ...


class Public(Form[P], Protocol[P]):
    """An operation, with its forms and its written derivative as attributes."""

    __name__: str
    native: Form[P]
    portable: Form[P]
    vjp: Callable[..., dict[str, Any]]


def operation(
    *,
    source: str,
    elsewhere: Mapping[str, str],
    whole: bool = False,
    noise: tuple[str, Callable[..., tuple[int, ...]]] | None = None,
) -> Callable[[Callable[Concatenate[Namespace, P], Any]], Public[P]]:
    """Turn a computation ``f(xp, arrays and other parameters)`` into a public function.

    The first parameter says the library, the device and the dtype.

    Parameters
    ----------
    source : where it was published
    elsewhere : its name in other libraries
    whole : whether the written derivative is what libraries are told that differentiate by
        themselves; else they take the computation apart
    noise : the parameter that says how much is left to chance, and the shape of the random
        numbers, a function of all parameters
    """

    def decorate(computation: Callable[Concatenate[Namespace, P], Any]) -> Public[P]:
        parameters = _kinds(computation)
        definition = Operation(
            cast(Any, computation).__name__,
            computation,
            source,
            elsewhere,
            parameters,
            next(iter(parameters)),
            whole,
            *(noise or ()),
        )
        function = _public(definition, None, computation)
        function.native = _public(definition, "native", computation)
        function.portable = _public(definition, "portable", computation)
        _registry[definition.name] = function
        return cast(Public[P], function)

    return decorate


def vjp_of(function: Public[...]) -> Callable[[C], C]:
    """Give `function` its written product of g with the Jacobian.

    The computation ``(xp, g, parameters)``, which may take them as ``**given``, returns a
    dictionary: for the names of the floating arrays that were given, the gradients.
    """

    def decorate(computation: C) -> C:
        definition = function.definition
        part = replace(
            definition,
            name=f"{definition.name}.vjp",
            computation=computation,
            parameters={"g": _parameters.COTANGENTS, **definition.parameters},
            chance="",
            shape=None,
        )
        function.vjp = _public(part, None, definition.computation)
        function.vjp.__doc__ = _VJP.format(name=definition.name)
        for form in (function, function.native, function.portable):
            cast(Any, form).definition = replace(definition, vjp=part)
        return computation

    return decorate


_VJP = """\
The vector-Jacobian product of `{name}`: the gradients of its arrays from that of the result.

Parameters
----------
g : array of real floating numbers, or tuple of them
    The gradient of the result, in its shape; of several results a tuple, in which None says that
    there is none.

The parameters of `{name}` follow.

Returns
-------
dict
    For the name of each floating array that was given its gradient, in its shape and its dtype.
"""

_TEMPLATE = """
def make(run):
    def {name}({signature}):
        return run(({names}), {rng})
    return {name}
"""


def _public(definition: Operation, which: _dispatch.Implementation | None, author: Any) -> Any:
    """The function that users call, with the signature that its `author` gave the computation."""
    words, is_keyword = ["g"] if "g" in definition.parameters else [], False
    for p in list(inspect.signature(author).parameters.values())[1:]:
        if p.kind is p.KEYWORD_ONLY and not is_keyword:
            words.append("*")
            is_keyword = True
        words.append(p.name if p.default is p.empty else f"{p.name}=None")
    chance = definition.shape is not None
    if chance:
        words.append("rng=None")

    def run(values: tuple[Any, ...], rng: Any) -> Any:
        values = public.definition.with_noise(public.definition.check(values), rng)
        return _dispatch.perform(public.definition, which, values)

    name = definition.name.rpartition(".")[2]
    source = _TEMPLATE.format(
        name=name,
        signature=", ".join(words),
        names="".join(f"{name}, " for name in definition.parameters),
        rng="rng" if chance else "None",
    )
    made: dict[str, Any] = {}
    exec(compile(source, f"<activations_xp {name}>", "exec"), author.__globals__, made)
    public: Any = made["make"](run)
    public.__qualname__ = definition.name if which is None else f"{definition.name}.{which}"
    public.__module__ = author.__module__
    public.__doc__ = author.__doc__
    public.__defaults__ = author.__defaults__
    public.__kwdefaults__ = {**(author.__kwdefaults__ or {}), **({"rng": None} if chance else {})}
    public.__annotations__ = {n: h for n, h in author.__annotations__.items() if n != "xp"}
    public.definition = definition
    return public


def _kinds(computation: Any) -> dict[str, _parameters.Kind]:
    hints = get_type_hints(computation, include_extras=True)
    names = list(inspect.signature(computation).parameters)[1:]
    return {name: _parameters.kind(hints[name]) for name in names}


_registry: dict[str, Any] = {}


def operations() -> dict[str, Any]:
    """The functions of several arrays by name."""
    return dict(sorted(_registry.items()))
