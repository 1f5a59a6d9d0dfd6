"""JAX: gradients of every order, compilations, weak types, 64-bit mode, masks and errors."""

from __future__ import annotations

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from oracle import (
    ARRAY_PARAMETERS,
    DIFFERENTIABLE,
    DIFFERENTIABLE_CASES,
    FUNCTIONS,
    MASKED,
    SMOOTH,
    in_sweep,
    map_into_domain,
    over,
    parameters_with,
    required_parameters,
    rowwise_parameters,
)

from activations_xp.backends import generic

DTYPES = ["bfloat16", "float16", "float32", "float64"]


def _bound(form, given):
    """The form of a number: an axis, of which a number has none, is added and taken away."""
    if given.get("axis") is None:
        return functools.partial(form, **given)
    return lambda x: form(x[None], **given)[0]


def _points(function):
    kinks = function.definition.properties.kinks
    points = [0.0, -0.0, *kinks, *(-k for k in kinks), *np.linspace(-20, 20, 83)]
    return jnp.asarray(map_into_domain(function.definition, np.asarray(points)))


def _close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("uncompiled")
@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_gradients_are_the_written_derivative(function, given):
    x = _points(function)
    written = jax.vmap(_bound(function.derivative, given))(x)
    f = _bound(function, given)
    for slope in (
        jax.grad(f),
        jax.jit(jax.grad(jax.jit(f))),
        jax.jacfwd(f),
        lambda x: jax.jvp(f, (x,), (1.0,))[1],
        jax.grad(jax.checkpoint(f)),
    ):
        _close(jax.vmap(slope)(x), written)
    _close(jax.jit(jax.vmap(jax.grad(_bound(function.portable, given))))(x), written)


@pytest.mark.usefixtures("uncompiled")
@over("function", SMOOTH)
def test_second_derivatives(function):
    at = map_into_domain(function.definition, np.asarray([0.0, -0.0, 1.5, -1.5]))
    h = 1e-3
    around = jnp.asarray(at + h * np.asarray([[-2.0], [-1.0], [1.0], [2.0]]))
    for variant in function.definition.variants:
        given = dict(variant.parameters)
        d = function.derivative(around, **given)
        numeric = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * h)
        f = _bound(function, given)
        for second in (jax.hessian(f), jax.grad(jax.grad(f)), jax.jacfwd(jax.jacfwd(f))):
            _close(jax.jit(jax.vmap(second))(jnp.asarray(at)), numeric, 1e-9)


@pytest.mark.usefixtures("uncompiled")
@over(("function", "name"), ARRAY_PARAMETERS)
def test_gradients_reach_array_parameters(function, name):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, 4)))
    given = required_parameters(function)
    default = {**function.definition.defaults, **given}[name]
    # where a default is None, a value within reach of x
    middle = 0.5 if default is None else float(default)
    for shape in [(), (3, 1)]:
        parameter = jnp.asarray(middle + 0.1 * rng.random(shape))

        @jax.jit
        def loss(x, parameter):
            return jnp.sum(jnp.cos(function(x, **{**given, name: parameter})))

        jax.test_util.check_grads(loss, (x, parameter), order=1, modes=["fwd", "rev"])
        dx, dp = jax.grad(loss, argnums=(0, 1))(x, parameter)
        assert (dx.shape, dp.shape) == (x.shape, parameter.shape)
    narrow = jax.grad(loss, argnums=1)(x.astype("float32"), parameter.astype("float32"))
    assert narrow.dtype == "float32"


@over(("function", "name"), ARRAY_PARAMETERS)
def test_traced_parameters(function, name):
    x = jnp.linspace(-3.0, 3.0, 8).reshape(2, 4)
    given = parameters_with(function, name, 1.1)
    call = jax.jit(lambda x, value: function(x, **{**given, name: value}))
    over_values = jax.vmap(lambda x, value: function(x, **{**given, name: value}), (None, 0))
    values = [0.3, 0.7, 1.1]
    expected = [function(x, **{**given, name: value}) for value in values]
    for value, y in zip(values, expected, strict=True):
        _close(call(x, value), y)
    assert call._cache_size() == 1
    _close(over_values(x, jnp.asarray(values)), jnp.stack(expected))


# compilations


@over("function", FUNCTIONS)
def test_the_same_call_is_compiled_once(function, monkeypatch):
    given = required_parameters(function)
    traced = []
    evaluate = generic.evaluate

    def counting(*args):
        traced.append(args)
        return evaluate(*args)

    monkeypatch.setattr(generic, "evaluate", counting)
    for rows, form in enumerate((function, function.native, function.portable)):
        x = jnp.linspace(-3.0, 3.0, 10 * (rows + 11)).reshape(-1, 10)  # a shape of this test only
        form(x, **given)
        assert len(traced) == rows + 1  # the counter does count
        for _ in range(3):
            form(x + 1, **given)
        assert len(traced) == rows + 1


@over(("function", "name"), ARRAY_PARAMETERS)
def test_array_parameters_are_compiled_once(function, name, monkeypatch):
    given = required_parameters(function)
    x = jnp.linspace(-3.0, 3.0, 50).reshape(5, 10)
    function(x, **{**given, name: jnp.asarray(0.5)})
    monkeypatch.setattr(generic, "evaluate", None)
    for value in (0.3, 0.7, 1.1):
        function(x, **{**given, name: jnp.asarray(value)})


@over(("function", "name"), ARRAY_PARAMETERS)
def test_any_number_of_parameters(function, name, monkeypatch):
    monkeypatch.setattr(generic, "PLANS", 16)
    x = jnp.asarray([[-1.0, 2.0]])
    given = parameters_with(function, name, 2.0)
    function(x, **given)
    kernel = inspect.getclosurevars(function).nonlocals["kernels"][type(x)]
    plans = inspect.getclosurevars(kernel).nonlocals["plans"]
    for i in range(generic.PLANS + 10):
        jax.eval_shape(functools.partial(function, **{**given, name: 1 + i / 1000}), x)
        assert len(plans) <= generic.PLANS


# types and transformations


@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_weak_types_stay_weak(function, given):
    strong = jnp.asarray([[0.5, -0.5]])
    weak = jnp.asarray(0.5)
    assert weak.weak_type
    assert not strong.weak_type
    for form in (function, function.portable, function.derivative):
        assert not form(strong, **given).weak_type
        if given.get("axis") is None:
            assert form(weak, **given).weak_type
            assert (jnp.ones(2, "bfloat16") * form(weak, **given)).dtype == "bfloat16"
            assert jax.jit(functools.partial(form, **given))(0.5).weak_type


@over("function", FUNCTIONS)
def test_sixty_four_bits_on_and_off(function):
    given = required_parameters(function)
    for _ in range(2):
        for wide in (False, True):
            with jax.enable_x64(wide):
                x = jnp.asarray(np.linspace(-3, 3, 8).reshape(2, 4))
                assert x.dtype == ("float64" if wide else "float32")
                assert function(x, **given).dtype == x.dtype
                whole = jnp.arange(8, dtype="int32").reshape(2, 4)
                kept = function.definition.closed_over_integers and not given
                assert function(whole, **given).dtype == (whole.dtype if kept else x.dtype)


@over("function", FUNCTIONS)
def test_vmap_along_any_axis(function):
    given = rowwise_parameters(function)
    x = jnp.asarray(np.linspace(-3, 3, 4 * 2 * 3 * 2).reshape(4, 2, 3, 2))
    expected = function.portable(x, **given)
    f = functools.partial(function, **given)
    _close(jax.vmap(f)(x), expected)
    _close(jax.vmap(jax.vmap(f))(x), expected)
    _close(jax.jit(jax.vmap(jax.vmap(f, in_axes=1, out_axes=1)))(x), expected)
    last = jnp.moveaxis(x, 0, -1)
    _close(jax.vmap(f, in_axes=-1)(last), expected)
    _close(jax.vmap(f, in_axes=-1, out_axes=-1)(last), jnp.moveaxis(expected, 0, -1))


@over("function", DIFFERENTIABLE)
def test_scalars(function):
    given = required_parameters(function)
    for dtype in DTYPES:
        x = jnp.asarray(0.75, dtype)
        kind = getattr(jnp, dtype)(0.75)
        for y in (function(x, **given), function(kind, **given)):
            assert isinstance(y, jax.Array)
            assert (y.shape, y.dtype) == ((), dtype)
            expected = function(np.asarray(0.75, np.float64), **given)
            _close(y.astype("float64"), expected, float(jnp.finfo(dtype).eps))


def _inside(function):
    return jnp.asarray(map_into_domain(function.definition, np.linspace(-3, 3, 8)).reshape(2, 4))


@over("function", in_sweep(FUNCTIONS))
def test_no_tracer_leaks(function):
    """To see that JAX traces all anew."""
    f = functools.partial(function, **rowwise_parameters(function))
    with jax.check_tracer_leaks():
        jax.make_jaxpr(jax.grad(lambda x: f(x).sum()))(_inside(function))


@over("function", FUNCTIONS)
def test_loops(function):
    given, x = rowwise_parameters(function), _inside(function)
    f = functools.partial(function, **given)
    expected = f(x)
    _, rows = jax.lax.scan(lambda carry, row: (carry, f(row[None])[0]), 0, x)
    if given.get("axis") is None:
        _close(rows, expected)
    assert f(x).shape == jax.eval_shape(f, x).shape
    with jax.debug_nans(True):
        f(x)


@over("function", FUNCTIONS)
def test_numpy_arrays_stay_numpy_also_inside_jit(function):
    """A constant that a traced function makes of NumPy is NumPy's until JAX meets it."""
    given = required_parameters(function)
    constant = np.linspace(-3, 3, 8).reshape(2, 4)
    assert type(function(constant, **given)) is np.ndarray
    y = jax.jit(lambda x: function(constant, **given) * x)(1.0)
    _close(y, function(constant, **given))


# masks


@over("function", MASKED)
@over("dtype", DTYPES)
def test_masks_let_nothing_through(function, dtype):
    inf, nan = math.inf, math.nan
    x = jnp.asarray(
        [[1, 2, 3, 4], [1, nan, 3, inf], [1, 2, -inf, nan], [nan, inf, -inf, 0], [5, nan, 5, 5]],
        dtype,
    )
    mask = np.asarray([[1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
    where = jnp.asarray(mask)
    changed = function.definition.axis == "changed"
    bound = functools.partial(function, **{**required_parameters(function), "axis": -1})
    alone = np.asarray(bound(jnp.asarray([1, 2, 4], dtype)))
    nothing = bound(jnp.zeros(1), where=jnp.asarray([False])).item()

    def loss(x, form):
        y = form(x, where=where)
        if changed:
            return jnp.sum(jnp.where(jnp.any(where, axis=-1), y, 0) * jnp.arange(5, dtype=dtype))
        return jnp.sum(jnp.where(where, y, 0) * jnp.arange(4, dtype=dtype))

    for form in (bound, jax.jit(bound)):
        y = np.asarray(form(x, where=where))
        assert y.dtype == x.dtype
        np.testing.assert_allclose(
            (y[0] if changed else y[0][mask[0]]).astype("f8"), alone.astype("f8"), rtol=1e-2
        )
        assert ((y[2:4] if changed else y[~mask]) == nothing).all()
        assert changed or not np.isnan(y[mask].astype("f4")).any()
        slopes = np.asarray(jax.grad(loss)(x, form)).astype("f4")
        assert (slopes[~mask] == 0).all()
        assert np.isfinite(slopes).all()
    if nothing == 0:
        everything = jax.grad(lambda x: jnp.sum(bound(x, where=where)))(x)
        assert np.isfinite(np.asarray(everything).astype("f4")).all()


@over("function", MASKED)
def test_nan_where_it_is_allowed(function):
    x = jnp.asarray([[1.0, math.nan, 3.0], [1.0, 2.0, 3.0]])
    for where in (None, jnp.ones((2, 3), bool)):
        y = function(x, where=where, **{**required_parameters(function), "axis": -1})
        assert jnp.isnan(y[0]).all()
        assert jnp.isfinite(y[1]).all()


# errors


@over("function", FUNCTIONS)
def test_errors_inside_jit(function):
    given = required_parameters(function)
    x = jnp.ones((2, 4))
    bad = [(x * 1j, {}, TypeError)]
    for name, kind in function.definition.parameters.items():
        bad.append((x, {name: "fast"}, ValueError if kind.check is None else TypeError))
        if kind.check is not None:
            bad.append((x, {name: np.ones(4)}, TypeError))
        if kind.is_scalar:
            bad.append((x, {name: jnp.ones(3)}, ValueError))
    for wrong, values, kind in bad:
        name = next(iter(values), "x")
        call = functools.partial(function, **{**given, **values})
        for transform in (jax.jit, jax.vmap, jax.checkpoint):
            with pytest.raises(kind, match=f"^{function.__name__}: {name} ") as caught:
                transform(call)(wrong)
            assert type(caught.value) is kind


@over(("function", "name"), ARRAY_PARAMETERS)
def test_the_wrong_dtype_of_a_traced_parameter(function, name):
    given = required_parameters(function)
    call = jax.jit(lambda x, value: function(x, **{**given, name: value}))
    with pytest.raises(TypeError, match=f"^{function.__name__}: {name} must be .* complex"):
        call(jnp.ones(4), 1j)
    with pytest.raises(ValueError, match=f"^{function.__name__}: {name} of shape"):
        call(jnp.ones(4), jnp.ones(3))
