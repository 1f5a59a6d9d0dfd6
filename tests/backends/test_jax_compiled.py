"""JAX: what XLA compiles of the functions, under the transforms of JAX, beside NumPy.

To compile takes longest, so that one program holds all functions of a family.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from oracle import (
    ARRAY_PARAMETERS,
    CASES,
    DIFFERENTIABLE,
    FINITE_MASK,
    FUNCTIONS,
    MASKED,
    NONFINITE_ROWS,
    SMOOTH,
    accurate,
    assert_derivatives,
    assert_values,
    in_sweep,
    last_axis_parameters,
    map_into_domain,
    of_a_number,
    output_axis,
    over,
    points_with_kinks,
    required_parameters,
    rows_away_from_kinks,
    rowwise_parameters,
    sampled_derivatives,
    sampled_values,
    ulp_bound,
    vjp,
)

import activations_xp as ax

pytestmark = pytest.mark.compiled


def families_of(functions):
    return list(dict.fromkeys(f.__module__.rpartition(".")[2] for f in functions))


def in_family(functions, family):
    return [f for f in functions if f.__module__.endswith(f".{family}")]


def compiled(results_of, inputs):
    """Return the results of a function of each key and its input, from one program."""
    program = jax.jit(lambda inputs: {key: results_of(key, inputs[key]) for key in inputs})
    return program(jax.tree.map(jnp.asarray, inputs))


def assert_close(a, b, what, tolerance=1e-10):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=what)


def _call(name):
    function = ax.get(name)
    return functools.partial(function, **rowwise_parameters(function))


@functools.cache
def _problem(function):
    """Return two rows away from kinks and ties, the value, a cotangent, and its gradient."""
    x = rows_away_from_kinks(function)
    y = function(x, **rowwise_parameters(function))
    g = np.cos(np.arange(y.size)).reshape(y.shape)
    return x, y, g, vjp(function, g, x, **rowwise_parameters(function))


def _vjp(f, x, g):
    return jax.vjp(f, x)[1](g)[0]


@over("dtype", in_sweep(["float32", "float64"]))
@over("family", families_of(FUNCTIONS))
def test_values(family, dtype):
    """XLA may fuse operations, and keeps the error bounds; NaN stays NaN."""
    cases = {str(case): case for case in CASES if in_family([case.function], family)}
    points = {name: [sampled_values(case, dtype)[0]] for name, case in cases.items()}
    for name, case in cases.items():
        if case.function in DIFFERENTIABLE:
            points[name].append(sampled_derivatives(case, dtype)[0])
        points[name].append(np.full(8, np.nan, dtype))

    def results_of(name, xs):
        case = cases[name]
        forms = [accurate(case.function), *case.accurate_forms[1:]]
        with ax.precision("accurate"):
            results = [form(x, **case.parameters) for form, x in zip(forms, xs, strict=False)]
        return [*results, case.function(xs[-1], **case.parameters)]

    for name, results in compiled(results_of, points).items():
        case, (y, *derivatives, nan) = cases[name], map(np.asarray, results)
        bound = ulp_bound(case, "jax")
        assert_values(y, sampled_values(case, dtype)[1], bound, name)
        assert np.isnan(nan).all(), name
        for dy_dx in derivatives:
            x, exact = sampled_derivatives(case, dtype)
            assert_derivatives(dy_dx, x, exact, 2 * max(bound, 2), name)


EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan]


@over("family", families_of(FUNCTIONS))
def test_error_of_the_precision_fast(family):
    """In float32 it is at most 8 eps, of the result or of x up to 1; a limit of 0 is exact."""
    sizes = 2.0 ** np.linspace(-28, 7, 200)
    x = np.concatenate([EDGES, np.linspace(-13, 13, 401), sizes, -sizes]).astype("f4")
    cases = {str(case): case for case in CASES if in_family([case.function], family)}
    cases = {name: case for name, case in cases.items() if output_axis(case.function) is None}
    results = compiled(
        lambda name, x: [form(x, **cases[name].parameters) for form in fast_forms(cases[name])],
        dict.fromkeys(cases, x),
    )
    for name, case in cases.items():
        for form, got in zip(fast_forms(case), results[name], strict=True):
            with ax.precision("accurate"), np.errstate(all="ignore"):
                exact = form(x.astype("f8"), **case.parameters)
            got = np.asarray(got, "f8")
            unit = 2.0**-23 * np.maximum(np.abs(exact), np.minimum(np.abs(x.astype("f8")), 1))
            with np.errstate(all="ignore"):  # what overflows to infinity, or is NaN
                rounded = exact.astype("f4")
                is_same = (got == rounded) | ((got != got) & (exact != exact))
                is_close = np.abs(got - exact) <= 8 * unit + 2.0**-126  # XLA has no subnormals
                is_close &= np.isfinite(x) | (exact != 0)
            far = ~(is_same | is_close)
            assert not far.any(), (name, form.__name__, x[far], got[far], exact[far])


def fast_forms(case):
    forms = [case.function]
    return [*forms, case.function.derivative] if case.function in DIFFERENTIABLE else forms


def _transforms(name, problem):
    x, g = problem
    f = jax.jit(_call(name))
    results = {
        "jit": f(x),
        "grad": jax.grad(lambda x: jnp.sum(f(x) * g))(x),
        "jvp": jax.jvp(f, (x,), (jnp.sin(x),))[1] * g,
        "checkpoint": _vjp(jax.checkpoint(f), x, g),
        "vmap": jax.vmap(functools.partial(_vjp, f), -1, -1)(
            jnp.stack([x, x], axis=-1), jnp.stack([g, -g], axis=-1)
        ),
    }
    if rowwise_parameters(ax.get(name)).get("axis") is None:
        rows = jax.lax.scan(lambda carry, row: (carry, f(row[None])[0]), 0, x)[1]
        results["scan"] = rows
    return results


@over("family", families_of(FUNCTIONS))
def test_transforms(family):
    """They have the written gradient, and no value on the way to it is NaN."""
    problems = {f.__name__: _problem(f) for f in in_family(FUNCTIONS, family)}
    with jax.debug_nans(True):
        results = compiled(_transforms, {n: (x, g) for n, (x, _, g, _) in problems.items()})
    for name, (x, value, _, gradient) in problems.items():
        both = np.stack([gradient, -gradient], axis=-1)
        pushed = np.sum(gradient * np.sin(x))
        expected = {"jit": value, "scan": value, "vmap": both, "jvp": pushed}
        for transform, got in results[name].items():
            got = np.sum(got) if transform == "jvp" else got
            assert_close(got, expected.get(transform, gradient), f"{name} under {transform}")


@over("family", families_of(DIFFERENTIABLE))
def test_gradient_at_kinks_and_second_derivative(family):
    """The gradient is the written derivative at kinks, too; where it is smooth, so is that."""
    points, h = {}, 1e-3
    for function in in_family(DIFFERENTIABLE, family):
        x = np.resize(points_with_kinks(function), 96)
        at = map_into_domain(function.definition, np.asarray([0.0, -0.0, 1.5, -1.5]))
        points[function.__name__] = x, at

    def results_of(name, points):
        function = ax.get(name)
        given = required_parameters(function)
        gradient = jax.grad(of_a_number(function, given))
        accurate_gradient = jax.grad(of_a_number(accurate(function), given))
        x, at = points
        second = jax.vmap(jax.grad(gradient))(at) if function in SMOOTH else at
        return jax.vmap(gradient)(x), jax.vmap(accurate_gradient)(x), second

    for name, (*gradients, second) in compiled(results_of, points).items():
        function, (x, at) = ax.get(name), points[name]
        derivative = functools.partial(function.derivative, **required_parameters(function))
        for gradient in gradients:
            assert_close(gradient, derivative(x), name, 1e-12)
        if function in SMOOTH:
            d = derivative(at + h * np.asarray([[-2.0], [-1.0], [1.0], [2.0]]))
            numeric = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * h)
            assert_close(second, numeric, name, 1e-9)


@over("shape", in_sweep([(3, 1), ()]))
@over("family", families_of(f for f, _ in ARRAY_PARAMETERS))
def test_array_parameters(family, shape):
    """Traced parameters have the values and the gradients, in both modes, that NumPy has."""
    rng = np.random.default_rng(0)
    problems, expected = {}, {}
    for function, name in ARRAY_PARAMETERS:
        if not in_family([function], family):
            continue
        given = required_parameters(function)
        default = {**function.definition.defaults, **given}[name]
        # where a default is None, a value within reach of x
        middle = 0.5 if default is None else float(default)
        x, parameter = rng.normal(size=(3, 4)), np.asarray(middle + 0.1 * rng.random(shape))
        y = function(x, **{**given, name: parameter})
        g = rng.normal(size=y.shape)
        tangents = rng.normal(size=x.shape), np.asarray(rng.normal(size=shape))
        gradients = function.vjp(g, x, **{**given, name: parameter})
        key = f"{function.__name__}.{name}"
        problems[key] = (x, parameter), tangents, g
        expected[key] = y, gradients["x"], gradients[name]

    def results_of(key, problem):
        primals, tangents, g = problem
        function, _, name = key.partition(".")
        function = ax.get(function)
        given = required_parameters(function)

        def f(x, parameter):
            return function(x, **{**given, name: parameter})

        y, pullback = jax.vjp(f, *primals)
        batch = jax.vmap(f, (None, 0))(primals[0], jnp.stack([primals[1]] * 2))
        return [y, *pullback(g)], jax.jvp(f, primals, tangents)[1], batch

    for key, (got, tangent, batch) in compiled(results_of, problems).items():
        _, tangents, g = problems[key]
        y, *gradients = expected[key]
        for a, b in zip([*got, *batch], [y, *gradients, y, y], strict=True):
            assert a.shape == b.shape
            assert_close(a, b, key)
        pushed = sum(np.sum(t * e) for t, e in zip(tangents, gradients, strict=True))
        assert_close(np.sum(np.asarray(tangent) * g), pushed, key)


@over("dtype", ["float32", "bfloat16"])
def test_masks(dtype):
    """Masked elements have no influence, though they are infinite or NaN."""
    where, rows = jnp.asarray(FINITE_MASK), NONFINITE_ROWS.astype(dtype)

    def results_of(name, x):
        f = functools.partial(ax.get(name), where=where, **last_axis_parameters(ax.get(name)))
        y = f(x)
        g = jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype)
        return y, _vjp(f, x, g)

    results = compiled(results_of, {f.__name__: rows for f in MASKED})
    for function in MASKED:
        given = {**last_axis_parameters(function), "where": FINITE_MASK}
        y, gradient = results[function.__name__]
        assert y.dtype == gradient.dtype == dtype
        value = function(NONFINITE_ROWS, **given)
        tolerance = {"float32": 1e-5, "bfloat16": 1e-2}[dtype]
        assert_close(y.astype("float64"), value, function.__name__, tolerance)
        g = np.cos(np.arange(value.size)).reshape(value.shape)
        expected = vjp(function, g, NONFINITE_ROWS, **given)
        assert_close(gradient.astype("float64"), expected, function.__name__, 4 * tolerance)
        assert (np.asarray(gradient)[~FINITE_MASK] == 0).all()


@over("family", families_of(FUNCTIONS))
def test_sharded(family):
    """Two rows on each of eight devices."""
    functions = in_family(FUNCTIONS, family)
    mesh = jax.make_mesh((8,), ("rows",))
    rows = PartitionSpec("rows")

    def placed(v):
        tiled = np.tile(v, (8, *(1,) * (v.ndim - 1)))
        return jax.device_put(tiled, NamedSharding(mesh, rows))

    points = {f.__name__: _problem(f)[0] for f in functions}
    cotangents = {f.__name__: _problem(f)[2] for f in functions}
    points, cotangents = jax.tree.map(placed, (points, cotangents))

    def program(points, cotangents):
        return {name: _vjp(_call(name), points[name], cotangents[name]) for name in points}

    mapped = jax.jit(jax.shard_map(program, mesh=mesh, in_specs=(rows, rows), out_specs=rows))
    for name, gradients in mapped(points, cotangents).items():
        assert len(gradients.sharding.device_set) == 8
        expected = _problem(ax.get(name))[3]
        by_device = np.asarray(gradients).reshape(8, *expected.shape)
        np.testing.assert_array_equal(by_device[1:], by_device[:-1], name)
        assert_close(by_device[0], expected, name)
