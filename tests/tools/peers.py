"""Compare a drop-in module with the library that it replaces, where that library is right."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import activations_xp as ax
from activations_xp._oracle import truth

EDGES = [
    *(0.0, 5e-324, 1e-45, 1e-38, 1e-8, 1e-3, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 5.5, 6.0, 8.0, 19.9),
    *(20.1, 37.43, 88.0, 104.0, 300.0, 709.0, 745.0, 1e4, 1e20, 3.4e38, 1.7e308, math.inf),
]
LINE = np.array([*EDGES, *(-v for v in EDGES), math.nan])
"""Numbers near 0, at kinks, where exp underflows and where squares overflow."""

ROWS = np.array([[5.0, 4.0, 1.0, -3.0], [0.1, 0.2, 0.3, 700.0], [-1e4, 0.0, 1e4, -0.5]]) / 8
LABELS = np.array([[0, 2, 3, -1], [1, 1, 2, 0], [3, 3, 3, 3]])
SHAPES = [(), (0, 4), (4,), (2, 4), (2, 6, 4)]

ATTENTION = {"dot_product_attention"}
"""The functions of several arrays, which have tests of their own."""

NOT_OF_ARRAYS = {"deserialize", "get", "serialize"}
"""Functions of drop-ins that take no array."""

Given = Mapping[str, Any]
Formula = str | Callable[..., Any]


@dataclass(frozen=True)
class PeerLibrary:
    """A drop-in module, the namespace that it replaces, and how to handle the library's arrays.

    type_of : a function that returns a result of which only the shape and the dtype count
    samples : by function, the parameters to call it with, if not its defaults
    inaccurate : by function that the library gets wrong somewhere, its formula for the oracle or
        as a function
    kinks : by function, the x where the library has another derivative
    bad : by parameter, values that are refused
    coarse : the functions that the library computes in float32 for every dtype
    """

    ours: Any
    theirs: Any
    asarray: Callable[[np.ndarray, str], Any]
    asnumpy: Callable[[Any], np.ndarray]
    gradient: Callable[[Callable[[Any], Any], Any], Any]
    type_of: Callable[[Callable[[Any], Any], Any], Any] = lambda function, x: function(x)
    samples: Mapping[str, Sequence[Given]] = field(default_factory=dict)
    inaccurate: Mapping[str, Formula] = field(default_factory=dict)
    kinks: Mapping[str, Sequence[float]] = field(default_factory=dict)
    bad: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    coarse: Collection[str] = ()

    @property
    def calls(self) -> list[tuple[str, Given]]:
        return [(name, given) for name in self.names for given in self.given(name)]

    @property
    def names(self) -> list[str]:
        """The functions that the module itself defines and that take one array."""
        names = [
            n for n in self.ours.__all__ if getattr(self.ours, n).__module__ == self.ours.__name__
        ]
        return [name for name in names if name not in ATTENTION | NOT_OF_ARRAYS]

    def given(self, name: str) -> Sequence[Given]:
        return self.samples.get(name, [{}])

    def parameters(self, name: str) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(getattr(self.ours, name)).parameters

    def input(self, name: str, dtype: str) -> Any:
        if name.endswith("_hot"):
            return self.asarray(LABELS, "int32")
        with np.errstate(all="ignore"):
            return self.asarray(ROWS if "axis" in self.parameters(name) else LINE, dtype)

    def results(self, name: str, x: Any, given: Given) -> tuple[np.ndarray, np.ndarray]:
        """Return our result and that of the library."""
        ours = getattr(self.ours, name)(x, **given)
        return self.asnumpy(ours), self.asnumpy(self.peer(name)(x, **given))

    def peer(self, name: str) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return getattr(self.theirs, name)(*args, **kwargs)

        return function

    def exact(self, name: str, x: Any, given: Given) -> np.ndarray:
        """Return the values of `inaccurate`, and NaN where x is too large for the oracle."""
        formula = self.inaccurate[name]
        values = self.asnumpy(x).astype("f8")
        defaults = {p.name: p.default for p in self.parameters(name).values()}
        parameters = {**defaults, **given}
        if not isinstance(formula, str):
            return np.apply_along_axis(formula, -1, values, **given)
        near = np.abs(values) < 1e100
        result = np.full_like(values, np.nan)
        result[near] = truth(formula, values[near], parameters).astype("f8")
        return result

    # checks, one for each test

    def check_values(self, name: str, given: Given, dtype: str) -> None:
        x = self.input(name, dtype)
        ours, theirs = self.results(name, x, given)
        theirs = theirs.astype("f4") if name in self.coarse else theirs
        compared = np.isfinite(theirs)
        if compared.shape == tuple(x.shape):
            is_nan = np.isnan(self.asnumpy(x))
            assert np.isnan(ours[is_nan]).all()
            compared &= ~is_nan
        if name in self.inaccurate:
            compared &= is_close(theirs, self.exact(name, x, given))
        assert compared.any()
        assert is_close(ours, theirs)[compared].all()

    def check_inaccurate(self, name: str) -> None:
        """Check that the library is wrong somewhere, and that ours is right everywhere."""
        is_wrong = False
        for given in self.given(name):
            for dtype in ("float32", "float64"):
                x = self.input(name, dtype)
                exact = self.exact(name, x, given)
                with ax.precision("accurate"):
                    ours, theirs = self.results(name, x, given)
                compared = np.abs(exact) < np.finfo(dtype).max
                assert is_close(ours, exact)[compared].all()
                is_wrong |= not is_close(theirs, exact)[compared].all()
        assert is_wrong

    def check_gradients(self, name: str, given: Given) -> None:
        x = self.input(name, "float32")
        ours, theirs = (
            self.asnumpy(self.gradient(lambda x, f=f: f(x, **given), x))
            for f in (getattr(self.ours, name), self.peer(name))
        )
        points = self.asnumpy(x)
        compared = np.isfinite(theirs) & np.isfinite(points)
        value = self.asnumpy(self.peer(name)(x, **given))
        if value.shape == compared.shape:
            compared &= np.isfinite(value)
        for kink in self.kinks.get(name, ()):
            compared &= abs(points - kink) > np.finfo("f4").smallest_normal
        assert compared.any()
        np.testing.assert_allclose(ours[compared], theirs[compared], rtol=1e-4, atol=1e-4)

    def check_types(self, name: str, given: Given, dtype: str) -> None:
        has_axis = "axis" in self.parameters(name)
        compared = 0
        for shape in SHAPES[2 * has_axis :]:
            axes = (*range(len(shape)), -1) if has_axis and name != "multi_hot" else ()
            for axis in ({}, *({"axis": axis} for axis in axes)):
                if name.endswith("_hot"):
                    x = self.asarray(np.zeros(shape, int), "int32")
                else:
                    x = self.asarray(np.ones(shape), dtype)
                calls = [
                    lambda x, f=f, axis=axis: f(x, **given, **axis)
                    for f in (getattr(self.ours, name), self.peer(name))
                ]
                ours = self.type_of(calls[0], x)
                try:
                    theirs = self.type_of(calls[1], x)
                except RuntimeError:  # Keras's norms on torch take the last axes only
                    continue
                assert ours.dtype in (theirs.dtype, x.dtype)
                assert ours.shape == theirs.shape
                compared += 1
        assert compared

    def check_errors(self, name: str, given: Given) -> int:
        """Check that an ``except`` for the library's error of a bad value catches ours.

        Returns
        -------
        the number of bad values
        """
        refused = 0
        for x, bad in self._bad_arguments(name, given):
            try:
                self.peer(name)(x, **bad)
            except Exception as error:
                expected = type(error)
            else:
                continue
            try:
                getattr(self.ours, name)(x, **bad)
            except expected:
                refused += 1
                continue
            raise AssertionError(f"{name}({bad}) does not raise {expected}")
        return refused

    def _bad_arguments(self, name: str, given: Given) -> Iterator[tuple[Any, Given]]:
        x = self.input(name, "float32")
        for value in self.bad.get("x", ()):
            yield value, given
        for parameter in list(self.parameters(name))[1:]:
            for value in self.bad.get(parameter, ()):
                yield x, {**given, parameter: value}
        if name == "glu":
            yield x[:, :3], given


def is_close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return whether elements are equal in the coarser dtype, or both so small as to become 0."""
    if a.dtype.kind == "i":
        return a == b
    info = max(np.finfo(a.dtype), np.finfo(b.dtype), key=lambda info: info.eps)
    with np.errstate(all="ignore"):
        return np.isclose(
            a.astype("f8"),
            b.astype("f8"),
            rtol=512 * info.eps,
            atol=1024 * info.smallest_normal,
            equal_nan=True,
        )


def untyped_parameters(function: Any) -> list[inspect.Parameter]:
    """Return the parameters of a function without their types, which only ours have."""
    parameters = inspect.signature(function).parameters.values()
    return [p.replace(annotation=p.empty) for p in parameters]


def public_functions(namespace: Any) -> set[str]:
    """Return the names of the functions of a namespace."""
    names = {name for name in vars(namespace) if not name.startswith("_")}
    return {name for name in names if callable(getattr(namespace, name))}
