"""Every function on every library, one question a test: what the page "Where it runs" reports.

``nox -s where`` runs it on each library and keeps what passes and what fails in
docs/data/where.json. A library may fail here; what it may not fail is in the other tests.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pytest
from oracle import (
    FUNCTIONS,
    OPERATIONS,
    exact_values,
    is_mask,
    map_into_domain,
    output_axis,
    preserves_integers,
    rowwise_parameters,
    takes_array,
)
from sizes import OPERATION_CALLS

import activations_xp as ax
from activations_xp._dispatch import backend_of
from activations_xp._oracle import difference

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries; results count

TOLERANCE = {"bfloat16": 2e-2, "float16": 3e-3, "float32": 3e-5, "float64": 1e-9}
"""Relative to the largest number of an array: other tests say how exact the right values are."""

MODULES = {"strict": "array_api_strict", "mlx": "mlx.core"}
"""The module of a library that is not named as it."""


class Call:
    """A call of a function, with its first case: its arrays, and the rest of its arguments.

    of : the name of the first array
    """

    def __init__(self, function: Any) -> None:
        definition = self.definition = function.definition
        self.function, self.of = function, definition.first
        rng = np.random.default_rng(24)
        if definition.is_activation:
            random = [c for c in definition.cases if "noise" in c.parameters]
            self.case = (random or definition.cases)[0]
            self.given = {**rowwise_parameters(function), **self.case.parameters}
            self.arrays = {"x": map_into_domain(definition, rng.normal(0, 2, (3, 8)))}
        else:
            call = next(c for c in OPERATION_CALLS if c.function is function)
            self.given, self.arrays = call.given, call.arrays(2, 5)

    def __str__(self) -> str:
        return str(self.definition.name)

    def on(self, backend: Any, dtype: str, **more: Any) -> dict[str, Any]:
        """Return all arguments as arrays of a library, floats in this dtype."""

        def convert(array: np.ndarray) -> Any:
            return backend.array(array, dtype if array.dtype.kind == "f" else str(array.dtype))

        arguments = {**self.arrays, **self.given, **more}
        return {k: converted(v, np.ndarray, convert) for k, v in arguments.items()}

    def run(self, form: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        first, rest = arguments[self.of], {k: v for k, v in arguments.items() if k != self.of}
        return form(first, **rest)

    def on_numpy(self, **more: Any) -> Any:
        """Return what NumPy computes in float64, which other tests compare with formulas."""
        return self.run(self.function.accurate, {**self.arrays, **self.given, **more})

    def exact(self) -> list[np.ndarray]:
        """Return the values of the formula, or of NumPy for what has none."""
        if not self.definition.is_activation:
            return leaves(self.on_numpy())
        parameters = {**self.definition.defaults, **self.given}
        x = self.arrays["x"].astype("f4").astype("f8")
        if output_axis(self.function) is None:
            return [exact_values(self.case.formula, x, parameters).astype("f8")]
        rows = [exact_values(self.case.formula, row, parameters).astype("f8") for row in x]
        return [np.stack(rows)]

    def slopes(self, name: str, cotangents: list[np.ndarray], step: float = 1e-6) -> np.ndarray:
        """Return difference quotients of the sum of g*f, by each element of an array."""
        x = self.arrays[name]
        slopes = np.empty_like(x)

        def total(x: np.ndarray) -> float:
            values = leaves(self.on_numpy(**{name: x}))
            return float(sum(np.sum(g * y) for g, y in zip(cotangents, values, strict=True)))

        for i in np.ndindex(x.shape):
            high, low = x.copy(), x.copy()
            high[i] += step
            low[i] -= step
            slopes[i] = (total(high) - total(low)) / (high[i] - low[i])
        return slopes


CALLS = [Call(function) for function in [*FUNCTIONS, *OPERATIONS]]


def over(calls: list[Call]) -> Any:
    return pytest.mark.parametrize("call", calls, ids=str)


def converted(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """Return an argument with all its arrays, which are of this type, converted."""
    if isinstance(value, list):
        return [tuple(converted(part, kind, convert) for part in pair) for pair in value]
    return convert(value) if isinstance(value, kind) else value


def parameters_where(call: Call, holds: Callable[[Any], bool]) -> list[str]:
    return [name for name, spec in call.definition.parameters.items() if holds(spec)]


def leaves(value: Any) -> list[Any]:
    """Return the arrays of a result: a function of several arrays may have several."""
    if isinstance(value, dict):
        value = tuple(value.values())
    return [v for v in value if v is not None] if isinstance(value, tuple) else [value]


def assert_agree(got: Any, expected: np.ndarray, dtype: str, what: str = "values") -> None:
    got, expected = np.asarray(got).astype("f8"), np.asarray(expected).astype("f8")
    if got.shape != expected.shape:
        raise AssertionError(f"{what} of another shape")
    finite = np.isfinite(expected)
    scale = max(np.abs(expected[finite]).max(initial=0), 1e-3)
    off = np.abs(got[finite] - expected[finite]).max(initial=0) / scale
    if not off <= TOLERANCE[dtype] or (got[~finite] != expected[~finite]).any():
        error = AssertionError(f"other {what}" if np.isfinite(got).all() else f"{what} are NaN")
        error.add_note(f"got {got}, expected {expected}")
        raise error


def widest(backend: Any) -> str:
    return str(backend.dtypes[-1])


def test_facts(backend, record_property):
    """The page says more of the library: each fact is asked of it, or of its backend."""
    top = MODULES.get(backend.library, backend.library).partition(".")[0]
    distribution = importlib.metadata.packages_distributions()[top][0]
    record_property("version", importlib.metadata.version(distribution))
    record_property("dtypes", json.dumps(backend.dtypes))
    x = backend.array([0.5], "float32")
    ours = backend_of(x)
    module = sys.modules[type(ours).__module__]
    native = {**getattr(module, "NATIVE", {}), **getattr(module, "OPERATIONS", {})}
    record_property("native", json.dumps(sorted(native)))
    record_property("rng", _sources_of_random_numbers(ours, x))
    y = ax.gelu(backend.array([1], "int32"))
    record_property("integers", backend.dtype_of(y).lower())
    record_property("out", json.dumps(_writes_out(backend)))


def _writes_out(backend: Any) -> bool:
    out = backend.array([7.0], "float32")
    with contextlib.suppress(TypeError):
        ax.relu(backend.array([2.0], "float32"), out=out)
    return float(np.asarray(backend.asnumpy(out))[0]) == 2.0


def _sources_of_random_numbers(ours: Any, x: Any) -> str:
    """Return what the error says that `rng` may be."""
    try:
        ours.uniform((1,), x, object())
    except TypeError as error:
        return str(error)
    except LookupError:
        return ""
    raise AssertionError("an object is no source of random numbers")


@over(CALLS)
def test_values(call, backend):
    """f(x) in float32 is the formula."""
    got = leaves(call.run(call.function, call.on(backend, "float32")))
    for y, exact in zip(got, call.exact(), strict=True):
        assert_agree(backend.asnumpy(y), exact, "float32")


@over(CALLS)
def test_accurate(call, backend):
    """f.accurate(x) in the widest dtype is the formula, to a few units in the last place."""
    dtype = widest(backend)
    got = leaves(call.run(call.function.accurate, call.on(backend, dtype)))
    for y, exact in zip(got, call.exact(), strict=True):
        y = np.asarray(backend.asnumpy(y))
        assert_agree(y, exact, "float32")
        if call.definition.is_activation and dtype == "float64":
            error = difference(y, np.asarray(call.on_numpy()).astype(object))
            if not error.max() <= 2 * call.case.ulp + 4:
                raise AssertionError("values of fewer digits")


@over(CALLS)
def test_dtypes(call, backend):
    """The type, the dtype and the device of the result are those of x, in each dtype.

    What is to be computed on with has 32 bits where x has 16.
    """
    for dtype in backend.dtypes:
        is_widened = call.definition.widens and dtype not in ("float32", "float64")
        arguments = call.on(backend, dtype)
        x = arguments[call.of]
        for y in leaves(call.run(call.function, arguments)):
            if type(y) is not type(x):
                raise AssertionError(f"{type(x).__name__} becomes {type(y).__name__}")
            is_class = "int" in backend.dtype_of(y).lower() and not call.definition.is_activation
            expected = "float32" if is_widened else backend.dtype_of(x)
            if backend.dtype_of(y) != expected and not is_class:
                raise AssertionError(f"{dtype} becomes {backend.dtype_of(y)}")
            if hasattr(x, "device") and y.device != x.device:
                raise AssertionError("another device")


@over([c for c in CALLS if c.definition.vjp is not None or c.definition.derivative is not None])
def test_vjp(call, backend):
    """f.vjp(g, x) is the difference quotient."""
    rng = np.random.default_rng(3)
    dtype = widest(backend)
    values = leaves(call.on_numpy())
    g = [rng.normal(size=np.shape(y)) for y in values]
    there = tuple(backend.array(part, dtype) for part in g)
    arguments = call.on(backend, dtype)
    form = functools.partial(call.function.vjp, there if len(g) > 1 else there[0])
    gradient = call.run(form, arguments)[call.of]
    # of float32, by NumPy's float64
    assert_agree(backend.asnumpy(gradient), call.slopes(call.of, g), "float32", "gradients")


@over([c for c in CALLS if parameters_where(c, is_mask)])
def test_masks(call, backend):
    """Elements that a mask leaves out have no influence, not even NaN."""
    (name, *_) = parameters_where(call, is_mask)
    x = next(iter(call.arrays.values()))
    if call.definition.is_activation:
        mask = np.ones(x.shape, bool)
        mask[:, 2:5] = False
        arguments = {name: mask, "x": np.where(mask, x, np.nan)}
        got = backend.asnumpy(call.run(call.function, call.on(backend, "float32", **arguments)))
        assert_agree(got, call.on_numpy(**{name: mask}), "float32")
        return
    sizes = {"mask": (5, 8), "key_mask": (2, 8)}
    mask = np.random.default_rng(5).random(sizes[name]) < 0.7
    got = leaves(call.run(call.function, call.on(backend, "float32", **{name: mask})))
    for y, expected in zip(got, leaves(call.on_numpy(**{name: mask})), strict=True):
        assert_agree(backend.asnumpy(y), expected, "float32")


@over([c for c in CALLS if c.definition.is_activation and parameters_where(c, takes_array)])
def test_parameters(call, backend):
    """A parameter may be an array, and has a gradient."""
    everything = {**call.definition.defaults, **call.given}
    for name in parameters_where(call, takes_array):
        if everything.get(name) is None:
            continue
        values = np.full(call.arrays["x"].shape[-1:], float(everything[name]))
        if output_axis(call.function) is not None:
            values = values[:1]
        arguments = call.on(backend, "float32", **{name: values})
        got = call.run(call.function, arguments)
        expected = call.on_numpy(**{name: values})
        assert_agree(backend.asnumpy(got), expected, "float32")
        g = np.ones(np.shape(expected))
        form = functools.partial(call.function.vjp, backend.array(g, "float32"))
        gradient = call.run(form, arguments)[name]
        form = functools.partial(call.function.vjp, g)
        expected = call.run(form, {**call.arrays, **call.given, name: values})[name]
        assert_agree(backend.asnumpy(gradient), expected, "float32", "gradients")


@over([c for c in CALLS if c.definition.is_activation])
def test_integers(call, backend):
    """Integers become floats, or stay what they are where a function keeps them."""
    x = np.array([[0, 1, 3, 5]] * 2)
    got = call.function(backend.array(x, "int32"), **call.given)
    kept = preserves_integers(call.function) and not call.given
    if (backend.dtype_of(got).lower() == "int32") is not kept:
        raise AssertionError(f"int32 becomes {backend.dtype_of(got)}")
    with np.errstate(all="ignore"):
        expected = np.asarray(call.function.accurate(x, **call.given))
    finite = np.isfinite(expected)
    values = np.asarray(backend.asnumpy(got)).astype("f8")
    assert_agree(np.where(finite, values, 0), np.where(finite, expected, 0), "float32")


# of a library


Shapes: TypeAlias = list[tuple[int | None, ...]]


def _dask_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    import dask

    def compute(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it is computed at the call")

    with dask.config.set(scheduler=compute):
        f(*arrays)


def _cubed_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    import cubed

    def compute(block: Any) -> None:
        raise AssertionError("it is computed at the call")

    f(*(cubed.map_blocks(compute, x, dtype=x.dtype) for x in arrays))


def _jax_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    import jax

    jax.eval_shape(f, *arrays)


def _torch_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    f(*arrays)  # which are on the meta device


def _tensorflow_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, x.dtype) for shape, x in zip(shapes, arrays, strict=True)]
    tf.function(f, autograph=False).get_concrete_function(*specs)


def _mlx_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    import mlx.core as mx

    mx.enable_compile()  # which other tests do without
    try:
        mx.compile(f)(*arrays)
    finally:
        mx.disable_compile()


def _ndonnx_lazy(f: Callable[..., Any], arrays: list[Any], shapes: Shapes) -> None:
    import ndonnx as ndx

    pairs = zip(shapes, arrays, strict=True)
    f(*(ndx.argument(shape=shape, dtype=x.dtype) for shape, x in pairs))


LAZY = {
    "dask": _dask_lazy,
    "cubed": _cubed_lazy,
    "jax": _jax_lazy,
    "torch": _torch_lazy,
    "tensorflow": _tensorflow_lazy,
    "mlx": _mlx_lazy,
    "ndonnx": _ndonnx_lazy,
}
"""Calls a function of arrays whose values, and in graphs sizes, are not known, by library."""


@pytest.mark.compiled
@pytest.mark.libraries(*LAZY)
@over(CALLS)
def test_lazy(call, backend):
    """It runs where the values of x, or its sizes, are not known: the call computes nothing."""
    if backend.library == "torch":
        backend = replace(backend, asarray=lambda a, there=backend.asarray: there(a).to("meta"))
    arguments = call.on(backend, "float32")
    names = [call.of, *(name for name in call.arrays if name != call.of)]
    arrays = [arguments.pop(name) for name in names]

    def f(x: Any, *others: Any) -> Any:
        y = call.function(x, **dict(zip(names[1:], others, strict=True)), **arguments)
        return tuple(leaves(y)) if isinstance(y, (tuple, dict)) else y

    shapes: Shapes = [(None,) * x.ndim for x in arrays]
    if not call.definition.is_activation:  # whose weights say all sizes but the first
        shapes = [(None, *x.shape[1:]) for x in arrays]
    LAZY[backend.library](f, arrays, shapes)


def _torch_gradient(f: Callable[..., Any], x: Any, g: Any) -> Any:
    import torch

    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x), x, g)[0]


def _jax_gradient(f: Callable[..., Any], x: Any, g: Any) -> Any:
    import jax

    return jax.vjp(f, x)[1](g)[0]


def _tensorflow_gradient(f: Callable[..., Any], x: Any, g: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x, g)


def _mlx_gradient(f: Callable[..., Any], x: Any, g: Any) -> Any:
    import mlx.core as mx

    return mx.vjp(lambda x: [f(x)], [x], [g])[1][0]


GRADIENTS = {
    "torch": _torch_gradient,
    "jax": _jax_gradient,
    "tensorflow": _tensorflow_gradient,
    "mlx": _mlx_gradient,
}
"""The gradient by the library's own differentiation."""


@pytest.mark.libraries(*GRADIENTS)
@over([c for c in CALLS if c.definition.vjp is not None or c.definition.derivative is not None])
def test_autodiff(call, backend):
    """The library differentiates it right."""
    dtype = widest(backend)
    values = leaves(call.on_numpy())
    g = np.random.default_rng(3).normal(size=np.shape(values[0]))
    arguments = call.on(backend, dtype)
    rest = {name: value for name, value in arguments.items() if name != call.of}

    def f(x: Any) -> Any:
        return leaves(call.function(x, **rest))[0]

    gradient = GRADIENTS[backend.library](f, arguments[call.of], backend.array(g, dtype))
    zeros = [np.zeros(np.shape(y)) for y in values[1:]]
    assert_agree(
        backend.asnumpy(gradient), call.slopes(call.of, [g, *zeros]), "float32", "gradients"
    )
