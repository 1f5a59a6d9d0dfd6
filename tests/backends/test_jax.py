"""JAX: gradients of every order, compilations, weak types, 64-bit mode, masks and errors."""

from __future__ import annotations

import functools
import math

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import (
    ARRAY_PARAMETERS,
    DIFFERENTIABLE,
    DIFFERENTIABLE_CASES,
    FINITE_MASK,
    FUNCTIONS,
    MASKED,
    NONFINITE_ROWS,
    SMOOTH,
    UNBOUNDED_PARAMETERS,
    accurate,
    cached_kernels,
    cases_of,
    empty_slice_value,
    exact_values,
    in_sweep,
    kind_of,
    last_axis_parameters,
    map_into_domain,
    of_a_number,
    one_of_each_family,
    output_axis,
    over,
    parameters_with,
    points_with_kinks,
    preserves_integers,
    required_parameters,
    rowwise_parameters,
    sample_points,
    takes_array,
    variants_in_sweep,
)

import activations_xp as ax
from activations_xp import _oracle
from activations_xp.backends import generic
from activations_xp.backends.jax import BACKEND, NATIVE

DTYPES = ["bfloat16", "float16", "float32", "float64"]
TRACE = "/jax/core/compile/jaxpr_trace_duration"


@pytest.fixture
def traces():
    """The functions that JAX traces while a test runs."""
    names = []

    def listen(event, duration, fun_name="", **details):
        if event == TRACE:
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def _rows(function):
    return jnp.asarray(map_into_domain(function.definition, np.linspace(-3, 3, 8)).reshape(2, 4))


def _assert_close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# gradients

GRADIENTS = {
    "grad": jax.grad,
    "jacfwd": jax.jacfwd,
    "jvp": lambda f: lambda x: jax.jvp(f, (x,), (1.0,))[1],
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
}


@pytest.mark.sweep
@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_gradient_is_the_written_derivative(function, given):
    x = jnp.asarray(points_with_kinks(function))
    written = jax.vmap(of_a_number(function.derivative, given))(x)
    f = of_a_number(function, given)
    for gradient in GRADIENTS.values():
        _assert_close(jax.vmap(gradient(f))(x), written)
    accurate_f = of_a_number(accurate(function), given)
    _assert_close(jax.vmap(jax.grad(accurate_f))(x), written)


@pytest.mark.sweep
@over(("function", "given"), [case for case in DIFFERENTIABLE_CASES if case[0] in SMOOTH])
def test_second_derivative_of_smooth_functions(function, given):
    at = map_into_domain(function.definition, np.asarray([0.0, -0.0, 1.5, -1.5]))
    h = 1e-3
    d = function.derivative(at + h * np.asarray([[-2.0], [-1.0], [1.0], [2.0]]), **given)
    numeric = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * h)
    f = of_a_number(function, given)
    for second in (jax.hessian(f), jax.grad(jax.grad(f)), jax.jacfwd(jax.jacfwd(f))):
        _assert_close(jax.vmap(second)(jnp.asarray(at)), numeric, 1e-9)


@over(("function", "name"), ARRAY_PARAMETERS)
def test_gradient_of_array_parameters_has_their_dtype(function, name):
    given = required_parameters(function)
    x, parameter = jnp.ones((3, 4), "float32"), jnp.full((3, 1), 0.5, "float32")
    gradient = jax.grad(lambda p: jnp.sum(function(x, **{**given, name: p})))
    y = jax.eval_shape(gradient, parameter)
    assert (y.shape, y.dtype) == (parameter.shape, parameter.dtype)


@pytest.mark.compiled
@over(("function", "name"), one_of_each_family(UNBOUNDED_PARAMETERS))
def test_traced_parameters(function, name):
    x = np.linspace(-3.0, 3.0, 8).reshape(2, 4)
    given = parameters_with(function, name, 1.1)
    traced = []

    @jax.jit
    def call(x, value):
        traced.append(value)
        return function(x, **{**given, name: value})

    for value in (0.3, 0.7, 1.1):
        _assert_close(call(x, value), function(x, **{**given, name: value}))
    assert len(traced) == 1


# native kernels

ACCURATE_GRADIENT = 16.0
"""The largest error, in eps, that the gradient of a kernel may have for it to be taken."""


def _native_cases():
    for name, native in NATIVE.items():
        function = ax.get(name)
        for case in cases_of(function):
            values = tuple({**function.definition.defaults, **case.parameters}.values())
            if native.bind(*function.definition.check(jnp.zeros((2, 4)), values, BACKEND)):
                yield function, case


@pytest.mark.compiled
@over("dtype", DTYPES)
@over(("function", "case"), list(_native_cases()))
def test_native_kernel_is_taken_iff_accurate(function, case, dtype):
    native, definition = NATIVE[function.__name__], function.definition
    far = np.logspace(-9, 4, 53)
    points = map_into_domain(definition, np.concatenate([np.linspace(-20, 20, 161), far, -far]))
    if output_axis(function) is None:
        points = np.concatenate([points, sample_points(definition, "float32")])
    x = jnp.asarray(points, dtype)
    parameters = {**definition.defaults, **case.parameters}
    if output_axis(function) is not None:
        x = x[:264].reshape(-1, 12)
        parameters["axis"] = -1
    values = definition.check(x, tuple(parameters.values()), BACKEND)
    kernel = native.bind(*values)
    wide = np.asarray(x.astype("float64"))
    rows = wide if x.ndim > 1 else [wide]
    exact = np.stack([exact_values(case.formula, row, parameters) for row in rows])
    y = jax.jit(kernel)(x)
    size = wide if y.shape == x.shape else np.abs(wide).max(-1)
    errors = _oracle.difference(np.asarray(y), exact.reshape(y.shape), size) / _oracle.ACCEPTED
    error = errors.max()
    if function in DIFFERENTIABLE:
        with ax.precision("accurate"):
            dy_dx = function.derivative(wide, **case.parameters)
        got = jax.vmap(jax.grad(of_a_number(function, case.parameters)))(x)
        is_same = np.asarray(got == jnp.asarray(dy_dx).astype(dtype))  # both may overflow
        got, dy_dx = (np.where(is_same, 0, a) for a in (np.asarray(got, "f8"), dy_dx))
        off = np.abs(got - dy_dx) / np.maximum(np.abs(dy_dx), 1)
        assert off.max() <= ACCURATE_GRADIENT * float(jnp.finfo(dtype).eps)
    is_taken = jnp.dtype(dtype) not in native.inaccurate_dtypes
    assert (error <= 1) == is_taken, error
    assert bool(jnp.all(function(x, **parameters) == y)) or not is_taken


@over(("function", "case"), list(_native_cases()))
def test_native_kernel_is_one_equation(function, case):
    """The compiler sees JAX's function, in the wrapper of its derivative."""
    x = jnp.ones((2, 4), "float32")
    jaxpr = jax.make_jaxpr(functools.partial(function, **case.parameters))(x)
    assert len(jaxpr.eqns) <= 1


# compilations


@pytest.mark.compiled
@over("function", one_of_each_family(FUNCTIONS))
def test_same_call_is_traced_once(function, traces):
    given = required_parameters(function)
    for form, rows in ((function, 11), (accurate(function), 12)):  # shapes of this test alone
        values = np.linspace(-3.0, 3.0, 10 * rows).reshape(rows, 10)
        arrays = [jnp.asarray(i + values) for i in range(3)]
        traces.clear()
        for x in arrays:
            form(x, **given)
        assert len(traces) == 1


@pytest.mark.compiled
@over(("function", "name"), one_of_each_family(ARRAY_PARAMETERS))
def test_array_parameters_are_traced_once(function, name, traces):
    given = required_parameters(function)
    x = jnp.asarray(np.linspace(-3.0, 3.0, 65).reshape(5, 13))  # a shape of this test alone
    values = [jnp.asarray(value) for value in (0.5, 0.3, 0.7, 1.1)]
    traces.clear()
    function(x, **{**given, name: values[0]})
    assert len(traces) == 1
    for value in values:
        function(x, **{**given, name: value})
    assert len(traces) == 1


@pytest.mark.compiled
@over(("function", "name"), one_of_each_family(UNBOUNDED_PARAMETERS))
def test_cached_kernels_are_bounded(function, name, monkeypatch):
    monkeypatch.setattr(generic, "MAX_CACHED_KERNELS", 4)
    x = jnp.asarray([[-1.0, 2.0]])
    given = parameters_with(function, name, 2.0)
    function(x, **given)
    cached_kernels(function, type(x)).clear()  # other tests may have left more than the bound
    for i in range(generic.MAX_CACHED_KERNELS + 3):
        jax.eval_shape(functools.partial(function, **{**given, name: 1 + i / 1000}), x)
        assert len(cached_kernels(function, type(x))) <= generic.MAX_CACHED_KERNELS


# types and transforms


@over(("function", "given"), variants_in_sweep(DIFFERENTIABLE_CASES))
def test_strong_and_weak_types_are_kept(function, given):
    strong, weak = jnp.asarray([[0.5, -0.5]]), jnp.asarray(0.5)
    assert weak.weak_type > strong.weak_type
    forms = function, accurate(function), function.derivative

    def results(x):
        return [form(x, **given) for form in forms]

    assert not any(y.weak_type for y in jax.eval_shape(results, strong))
    if given.get("axis") is None:
        assert all(y.weak_type for y in jax.eval_shape(results, weak))
        narrow = jnp.ones(2, "bfloat16")
        products = jax.eval_shape(lambda x: [narrow * y for y in results(x)], weak)
        assert all(y.dtype == "bfloat16" for y in products)


@over("function", FUNCTIONS)
def test_x64_switched_between_calls(function):
    given = required_parameters(function)
    f = functools.partial(function, **given)
    for wide in (False, True) * 2:
        with jax.enable_x64(wide):
            x = jnp.asarray(np.linspace(-3, 3, 8).reshape(2, 4))
            assert x.dtype == ("float64" if wide else "float32")
            assert jax.eval_shape(f, x).dtype == x.dtype
            integers = jnp.arange(8, dtype="int32").reshape(2, 4)
            is_kept = preserves_integers(function) and not given
            expected = integers.dtype if is_kept else x.dtype
            assert jax.eval_shape(f, integers).dtype == expected


@pytest.mark.sweep
@over("function", FUNCTIONS)
def test_vmap_along_any_axis(function):
    given = rowwise_parameters(function)
    x = jnp.asarray(np.linspace(-3, 3, 4 * 2 * 3 * 2).reshape(4, 2, 3, 2))
    expected = accurate(function)(x, **given)
    f = functools.partial(function, **given)
    _assert_close(jax.vmap(f)(x), expected)
    _assert_close(jax.vmap(jax.vmap(f))(x), expected)
    _assert_close(jax.vmap(jax.vmap(f, in_axes=1, out_axes=1))(x), expected)
    last = jnp.moveaxis(x, 0, -1)
    _assert_close(jax.vmap(f, in_axes=-1)(last), expected)
    _assert_close(jax.vmap(f, in_axes=-1, out_axes=-1)(last), jnp.moveaxis(expected, 0, -1))


@over("dtype", in_sweep(["float32", "bfloat16", "float16", "float64"]))
@over("function", DIFFERENTIABLE)
def test_scalars_become_arrays_of_their_dtype(function, dtype):
    given = required_parameters(function)
    expected = function(np.asarray(0.75, np.float64), **given)
    for x in (jnp.asarray(0.75, dtype), getattr(jnp, dtype)(0.75)):
        y = function(x, **given)
        assert isinstance(y, jax.Array)
        assert (y.shape, y.dtype) == ((), dtype)
        _assert_close(y.astype("float64"), expected, float(jnp.finfo(dtype).eps))


@over("dtype", ["bfloat16", "float16"])
def test_gradient_of_exactly_rounded_slices(dtype):
    """A transposed function is linear, which the rounding to 16 bits is not."""
    row = jnp.asarray([0.0, 1.0, 2.0], dtype)
    dx = jax.grad(lambda x: accurate(ax.softmax)(x)[0])(row)
    assert dx.dtype == dtype
    weights = np.exp([0.0, 1, 2]) / np.exp([0.0, 1, 2]).sum()
    expected = weights[0] * (np.array([1, 0, 0]) - weights)
    _assert_close(dx.astype("float64"), expected, float(jnp.finfo(dtype).eps))


@over("function", in_sweep(FUNCTIONS))
def test_no_tracer_leaks(function):
    """JAX traces everything anew to see that, which is slow."""
    f = functools.partial(function, **rowwise_parameters(function))
    with jax.check_tracer_leaks():
        jax.make_jaxpr(jax.grad(lambda x: f(x).sum()))(_rows(function))


@pytest.mark.compiled
@over("function", FUNCTIONS)
def test_eval_shape(function):
    x, f = _rows(function), functools.partial(function, **rowwise_parameters(function))
    expected, got = f(np.asarray(x)), jax.eval_shape(f, x)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)


@pytest.mark.compiled
@over("function", FUNCTIONS)
def test_numpy_constants_inside_jit(function):
    """A constant that a traced function makes of NumPy is NumPy's until JAX meets it."""
    given = required_parameters(function)
    constant = np.linspace(-3, 3, 8).reshape(2, 4)
    results = []

    def call(x):
        results.append(function(constant, **given))
        return results[0] * x

    jax.make_jaxpr(call)(1.0)
    (y,) = results
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, function(constant, **given))


# masks


@pytest.mark.sweep
@over("dtype", DTYPES)
@over("function", [f for f in MASKED if output_axis(f) == "kept"])
def test_mask_hides_nonfinite_elements(function, dtype):
    x, where = jnp.asarray(NONFINITE_ROWS, dtype), jnp.asarray(FINITE_MASK)
    f = functools.partial(function, **last_axis_parameters(function))
    alone = f(jnp.asarray([1, 2, 4], dtype)).astype("float64")

    def loss(x):
        y = f(x, where=where)
        return jnp.sum(jnp.where(where, y, 0) * jnp.arange(4, dtype=dtype))

    y = f(x, where=where)
    assert y.dtype == x.dtype
    y = np.asarray(y.astype("float64"))
    np.testing.assert_allclose(y[0][FINITE_MASK[0]], alone, rtol=1e-2)
    assert (y[~FINITE_MASK] == empty_slice_value(function)).all()
    assert not np.isnan(y[FINITE_MASK]).any()
    gradients = np.asarray(jax.grad(loss)(x).astype("float64"))
    assert (gradients[~FINITE_MASK] == 0).all()
    assert np.isfinite(gradients).all()


@pytest.mark.sweep
@over("dtype", DTYPES)
@over("function", [f for f in MASKED if output_axis(f) == "resized"])
def test_mask_hides_nonfinite_elements_of_a_reduction(function, dtype):
    x, where = jnp.asarray(NONFINITE_ROWS, dtype), jnp.asarray(FINITE_MASK)
    f = functools.partial(function, **last_axis_parameters(function))
    alone = f(jnp.asarray([1, 2, 4], dtype)).astype("float64")

    def loss(x):
        y = f(x, where=where)
        return jnp.sum(jnp.where(jnp.any(where, axis=-1), y, 0) * jnp.arange(5, dtype=dtype))

    y = f(x, where=where)
    assert y.dtype == x.dtype
    y = np.asarray(y.astype("float64"))
    np.testing.assert_allclose(y[0], alone, rtol=1e-2)
    assert (y[2:4] == empty_slice_value(function)).all()
    gradients = np.asarray(jax.grad(loss)(x).astype("float64"))
    assert (gradients[~FINITE_MASK] == 0).all()
    assert np.isfinite(gradients).all()


@pytest.mark.sweep
@over("dtype", DTYPES)
@over("function", [f for f in MASKED if empty_slice_value(f) == 0])
def test_gradient_of_masked_elements_is_finite(function, dtype):
    f = functools.partial(
        function, **last_axis_parameters(function), where=jnp.asarray(FINITE_MASK)
    )
    gradients = jax.grad(lambda x: jnp.sum(f(x)))(jnp.asarray(NONFINITE_ROWS, dtype))
    assert jnp.isfinite(gradients).all()
    assert (gradients[2:4] == 0).all()


@pytest.mark.sweep
@over("function", MASKED)
def test_nan_passes_where_no_mask_hides_it(function):
    x = jnp.asarray([[1.0, math.nan, 3.0], [1.0, 2.0, 3.0]])
    for where in (None, jnp.ones((2, 3), bool)):
        y = function(x, where=where, **last_axis_parameters(function))
        assert jnp.isnan(y[0]).all()
        assert jnp.isfinite(y[1]).all()


# errors


def _bad_arguments(function):
    """Yield the name of an argument, a bad value of it, and the error."""
    yield "x", jnp.ones((2, 4), "float8_e4m3fn"), TypeError
    for name, kind in function.definition.parameters.items():
        is_choice = kind_of(function, name) == "choice"
        yield name, "fast", ValueError if is_choice else TypeError
        if not is_choice:
            yield name, np.ones(4), TypeError
        if takes_array(kind):
            yield name, jnp.ones(3), ValueError


@pytest.mark.compiled
@over("function", FUNCTIONS)
@over("transform", [jax.jit, jax.vmap, jax.checkpoint])
def test_bad_argument_raises_under(transform, function):
    for name, value, error in _bad_arguments(function):
        arguments = {"x": jnp.ones((2, 4)), **required_parameters(function), name: value}
        x = arguments.pop("x")
        with pytest.raises(error, match=f"^{function.__name__}: {name} ") as caught:
            transform(functools.partial(function, **arguments))(x)
        assert type(caught.value) is error


@pytest.mark.compiled
@over(("function", "name"), ARRAY_PARAMETERS)
def test_bad_traced_parameter_raises(function, name):
    given = required_parameters(function)
    call = jax.jit(lambda x, value: function(x, **{**given, name: value}))
    with pytest.raises(TypeError, match=f"^{function.__name__}: {name} must be .* complex"):
        call(jnp.ones(4), 1j)
    with pytest.raises(ValueError, match=f"^{function.__name__}: {name} of shape"):
        call(jnp.ones(4), jnp.ones(3))


@over("function", FUNCTIONS)
def test_rank_promotion_may_be_refused(function):
    """Functions broadcast as the standard does, whatever JAX is configured to."""
    given = required_parameters(function)
    for other, name in ARRAY_PARAMETERS:
        if other is function:  # a row beside a matrix
            value = parameters_with(function, name, 0.5)[name]
            given[name] = jnp.full(4, value) if np.ndim(value) == 0 else value
    x = jnp.linspace(0.1, 0.9, 8).reshape(2, 4)

    def loss(x):
        return sum(jnp.sum(leaf) for leaf in jax.tree_util.tree_leaves(function(x, **given)))

    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(jax.value_and_grad(loss), x)
