"""Calls of everything in the registry with good and bad arguments, which hypothesis draws.

A call returns arrays of the library of its first one, or raises a TypeError or a ValueError that
begins with the name of the function. It warns of nothing, and changes no argument but `out`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from oracle import is_mask, kind_of, over

import activations_xp as ax
from activations_xp._dispatch import find_backend

FUNCTIONS = [ax.get(name) for name in ax.names()]
EXAMPLES = {"numpy": 15, "torch": 15, "strict": 8, "dask": 4, "jax": 4, "tensorflow": 4}
"""The number of calls of each function in the default ring, by what one costs."""

SHAPES = [(4,), (2, 4), (4, 4), (2, 4, 4), (), (0,), (3,), (4, 1), (1, 0, 4)]
DTYPES = {
    "float": ["float32", "float64", "float16", "bfloat16"],
    "integer": ["int64", "int32", "uint8", "int8"],
    "bool": ["bool"],
    "other": ["complex64", "complex128"],
}
FILLS = {
    "normal": lambda n: np.sin(np.arange(n)),
    "unit": lambda n: np.arange(n) * 0.618 % 1,
    "special": lambda n: np.resize([nan, inf, -inf, -0.0, 3e38, 1e-40, 0.5], n),
    "zero": np.zeros,
    "large": lambda n: np.arange(n) * 1e4 - 1e4,
}


@dataclass(frozen=True)
class Array:
    """The dtype, shape and elements of an array, which every library can make."""

    dtype: str
    shape: tuple[int, ...]
    fill: str

    def make(self, backend: Any) -> Any:
        """Return it, in float32 where the library has no such dtype."""
        values = FILLS[self.fill](int(np.prod(self.shape))).reshape(self.shape)
        dtype = getattr(ml_dtypes, self.dtype, None) or np.dtype(self.dtype)
        if self.dtype in DTYPES["float"] and self.dtype not in backend.dtypes:
            dtype = np.dtype(backend.dtypes[0])
        if self.dtype in DTYPES["integer"] + DTYPES["bool"]:
            values = np.nan_to_num(values, posinf=5, neginf=0).clip(0, 100)
        with np.errstate(all="ignore"):
            return backend.asarray(values.astype(dtype))


@dataclass(frozen=True)
class Generator:
    """A random number generator of the library of the array."""

    def make(self, backend: Any) -> Any:
        """Return it, or None if the library has none."""
        if backend.library == "torch":
            import torch

            return torch.Generator()
        if backend.library == "jax":
            import jax

            return jax.random.key(0)
        if backend.library == "tensorflow":
            import tensorflow as tf

            return tf.random.Generator.from_seed(0)
        return np.random.default_rng(0) if backend.library == "numpy" else None


def _made(value: Any, backend: Any) -> Any:
    if isinstance(value, (Array, Generator)):
        return value.make(backend)
    if isinstance(value, (tuple, list)):
        return type(value)(_made(part, backend) for part in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def arrays(*groups: str, shapes: Any = SHAPES) -> st.SearchStrategy[Array]:
    dtypes = [dtype for group in groups for dtype in DTYPES[group]]
    return st.builds(
        Array, st.sampled_from(dtypes), st.sampled_from(shapes), st.sampled_from(list(FILLS))
    )


NUMBERS = st.sampled_from([0.5, 1.0, 0, 2, -1.0, 1e308, -1e308, 1e-310, inf, nan, True, 10**400])
INTEGERS = st.sampled_from([1, 2, 3, 4, 0, -1, -2, 10**30, np.int8(2), True, 1.0])
AXES = st.sampled_from([-1, 0, None, 1, (0, 1), (0,), (), (0, 0), (-1, 1), -5, np.int64(0), [0]])
NOT_ARRAYS = [
    None,
    "x",
    "",
    b"x",
    1j,
    [],
    (),
    [1.0, 2.0],
    (1, "x"),
    {"x": 1},
    range(4),
    slice(None),
]
SCALARS = [nan, -3, 10**400, np.float32(2), np.complex64(1), np.datetime64("2020"), object(), len]
FOREIGN = [np.arange(4.0), np.ones((2, 4), bool), np.array(["x"]), np.ma.masked_array([1.0])]
BAD = st.sampled_from([*NOT_ARRAYS, *SCALARS, *FOREIGN])
ANYTHING = st.one_of(BAD, arrays(*DTYPES), NUMBERS, INTEGERS, AXES)


def good_values(function: Any, name: str, like: Array) -> st.SearchStrategy[Any]:
    """Return values of the kind that a parameter takes, most of them in the shape of the first."""
    spec = function.definition.parameters[name]
    shapes = [like.shape] * 4 + SHAPES
    own = arrays("float", shapes=shapes).map(lambda a: Array(like.dtype, a.shape, a.fill))
    floats = own | arrays("float", "integer", shapes=shapes)
    kind = kind_of(function, name)
    found = {
        "count": INTEGERS,
        "integer": INTEGERS,
        "axis": AXES,
        "axes": AXES,
        "new axis": AXES,
        "integer array": arrays("integer", shapes=shapes),
        "pairs": st.lists(st.tuples(own, own), max_size=2),
        "coefficients": st.sampled_from([(1.0, 0.5), (2.0,), [1, 2, 3], (0.0, 1.0)]) | floats,
        "choice": st.sampled_from(spec.choices or (None,)),
        "number": NUMBERS,
    }.get(kind)
    if found is None and (is_mask(spec) or kind == "boolean array"):
        found = arrays("bool", shapes=shapes)
    if found is None:
        found = (NUMBERS | floats) if spec.number else own
    options = [found]
    options += [st.sampled_from(spec.choices)] if spec.choices else []
    options += [st.none()] if spec.optional else []
    return st.one_of(options)


@st.composite
def calls(draw: Any, function: Any) -> tuple[Any, ...]:
    """Draw a form of a function, its arguments and its keywords."""
    definition = function.definition
    names = ["accurate", "derivative", "value_and_derivative", "vjp"]
    form = draw(st.sampled_from(["", "", *(n for n in names if hasattr(function, n))]))
    like = draw(arrays("float", "float", "integer", "bool", "other"))
    goodness = draw(st.sampled_from([0.0, 0.1, 0.5]))

    def value(good: Any) -> Any:
        is_bad = draw(st.floats(0, 1, exclude_max=True)) < goodness
        return draw(ANYTHING if is_bad else good)

    first = value(st.just(like) | NUMBERS if definition.is_activation else st.just(like))
    own = {}
    for name in definition.parameters:
        is_given = name not in definition.defaults or draw(st.booleans())
        if is_given:
            own[name] = value(good_values(function, name, like))
    arguments = [first]
    if form == "vjp":
        arguments = [value(st.just(like) | arrays("float")), first]
    if definition.is_activation and form in ("", "derivative") and draw(st.booleans()):
        own["out"] = value(arrays("float", shapes=[like.shape]) | st.none())
    if definition.noise is not None and form == "":
        own["rng"] = value(st.builds(Generator) | st.none())
    return form, arguments, own


def _bytes(value: Any, backend: Any) -> Any:
    """Return the elements of an array, to compare them with later."""
    if isinstance(value, (tuple, list)):
        return [_bytes(part, backend) for part in value]
    owner = find_backend(value)
    if owner is None:
        return repr(value)
    return np.asarray(value if owner.name == "numpy" else backend.asnumpy(value)).tobytes()


def _leaves(result: Any) -> list[Any]:
    if isinstance(result, dict):
        return [leaf for part in result.values() for leaf in _leaves(part)]
    if isinstance(result, tuple):
        return [leaf for part in result for leaf in _leaves(part)]
    return [] if result is None else [result]


def _check(function: Any, backend: Any, call: Any) -> None:
    form, arguments, keywords = call
    note(f"{function.__name__}.{form} on {backend}: {arguments}, {keywords}")
    arguments = [_made(argument, backend) for argument in arguments]
    keywords = {name: _made(value, backend) for name, value in keywords.items()}
    kept = [*arguments, *(v for name, v in keywords.items() if name not in ("out", "rng"))]
    before = [_bytes(value, backend) for value in kept]
    if function.definition.is_activation:
        lead = arguments
    else:
        lead, keywords = arguments[:-1], {function.definition.first: arguments[-1], **keywords}
    error = None
    try:
        result = (getattr(function, form) if form else function)(*lead, **keywords)
    except (TypeError, ValueError) as caught:
        error = caught
    if error is None:
        library = find_backend(arguments[-1] if keywords.get("out") is None else keywords["out"])
        for leaf in _leaves(result):
            assert find_backend(leaf) is library or library is None
    else:
        assert str(error).startswith(function.__name__), repr(error)
    for value, old in zip(kept, before, strict=True):
        assert _bytes(value, backend) == old


def _run(function: Any, backend: Any, examples: int, derandomize: bool) -> None:
    @given(calls(function))
    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(call: Any) -> None:
        _check(function, backend, call)

    run()


@over("function", FUNCTIONS)
def test_any_call(function, backend):
    _run(function, backend, EXAMPLES[backend.library], derandomize=True)


@pytest.mark.sweep
@over("function", FUNCTIONS)
def test_many_calls(function, backend):
    _run(function, backend, 30 * EXAMPLES[backend.library], derandomize=False)
