"""Complaints by users of other libraries in public threads, each with its answer.

It is asked of our own computation, as torch and JAX differentiate it and as the others have it of
``vjp``; where torch's own kernel is taken the answer is torch's, and the page of conventions says
so. What a complaint about transforms, compilers or saved memory asks for is in ``tests/backends``.
"""

from __future__ import annotations

import functools
from math import inf, nan

import numpy as np
import pytest
from oracle import (
    CASES,
    DERIVATIVE_DIGITS,
    accurate,
    cached_on_disk,
    cases_of,
    domain_of,
    exact_derivative,
    exact_second_derivative,
    exact_values,
    in_domain,
    is_away_from,
    kinks_of,
    map_into_domain,
    output_axis,
    over,
    repeated,
    rowwise_parameters,
    vjp,
)

import activations_xp as ax
from activations_xp._oracle import difference, truth


def gradient(backend, function, x, g, **given):
    """Return the gradient with respect to x for the gradient g of the result."""
    f = functools.partial(accurate(function), **given)
    if backend.library == "torch":
        import torch

        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(f(leaf), leaf, g)[0]
    if backend.library == "jax":
        import jax

        return jax.vjp(f, x)[1](g)[0]
    if backend.library == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x, g, tf.UnconnectedGradients.ZERO)
    return vjp(function, g, x, **given)


def derivatives(backend, function, x, dtype, given):
    """Return the derivative at each number, by `gradient`."""
    there, ones = (backend.array(v, dtype) for v in (x, np.ones_like(x)))
    return backend.asnumpy(gradient(backend, function, there, ones, **given))


def autodiff_derivatives(backend, function, x, dtype, given):
    """Return the first and the second derivative at each number, if the library differentiates."""
    f, there = functools.partial(accurate(function), **given), backend.array(x, dtype)
    if backend.library == "torch":
        import torch

        leaf = there.requires_grad_()
        (first,) = torch.autograd.grad(f(leaf).sum(), leaf, create_graph=True)
        second = torch.zeros_like(leaf)
        if first.requires_grad:  # the derivative of the identity is a constant
            (second,) = torch.autograd.grad(first.sum(), leaf)
    elif backend.library == "jax":
        import jax

        ones = jax.numpy.ones_like(there)
        first, second = jax.jvp(lambda x: jax.jvp(f, (x,), (ones,))[1], (there,), (ones,))
    elif backend.library == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as outer:
            outer.watch(there)
            with tf.GradientTape() as inner:
                inner.watch(there)
                y = f(there)
            first = inner.gradient(y, there)
        second = outer.gradient(first, there, unconnected_gradients="zero")
    else:
        return []
    return [backend.asnumpy(first), backend.asnumpy(second)]


# masks


@pytest.mark.sweep_with("jax")
def test_fully_masked_row(masked, backend, standard_dtype):
    """pytorch#41508, #55056: softmax of a row that is masked throughout is NaN."""
    x = np.array([[1, 2, 3, 4], [nan, inf, -inf, 0], [1, nan, 3, inf], [3, nan, 5, 2.5]])
    mask = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]], bool)
    given = {**masked.definition.defaults, **rowwise_parameters(masked), "axis": -1}
    where = backend.array(mask, "bool")
    there = backend.array(x, standard_dtype)
    y = backend.asnumpy(masked(there, **{**given, "where": where}))
    g = backend.array(np.cos(np.arange(y.size)).reshape(y.shape), standard_dtype)
    dx = backend.asnumpy(gradient(backend, masked, there, g, **{**given, "where": where}))
    for i in (0, 2):
        row = x[i][mask[i]].astype(standard_dtype)
        exact = exact_values(masked.definition.formula, row, given).astype("f8")
        got = y[i] if y.ndim == 1 else y[i][mask[i]]
        np.testing.assert_allclose(got, np.squeeze(exact), rtol=2e-6, atol=1e-7)
    assert np.isin(y[1], [0, -inf]).all()
    assert np.isfinite(dx[:3]).all()
    assert (dx[~mask] == 0).all()
    assert np.isnan(y[3]).any()  # what is allowed to be NaN is not hidden


# derivatives that are NaN, or wrong

ANYWHERE = [0.0, 1e-5, 1.0, 20.0, 89.0, 710.0, 1e4, 1e20]


def test_gradient_through_untaken_branches(elementwise_case, backend, standard_dtype):
    """jax#1052, pytorch#52248: ``where(x > 0, x, expm1(x))`` has NaN for its derivative.

    16-bit floats are computed as float32.
    """
    case = elementwise_case
    info = np.finfo(standard_dtype)
    x = np.array([*ANYWHERE, info.smallest_subnormal, info.max])
    x = map_into_domain(case.definition, np.concatenate([x, -x]))
    arguments = backend, case.function, x, standard_dtype, case.parameters
    for values in (derivatives(*arguments), *autodiff_derivatives(*arguments)):
        values = values.astype("f8")
        assert not np.isnan(values).any(), x[np.isnan(values)]
        if case.definition.properties.lipschitz < inf:
            assert np.isfinite(values).all(), x[~np.isfinite(values)]


SMOOTH_AT_ZERO = [
    case
    for case in CASES
    if case.definition.derivative is not None
    and case.definition.properties.smoothness == inf
    and domain_of(case.definition)[0] < 0 < domain_of(case.definition)[1]
]


@pytest.mark.float64
@over("case", SMOOTH_AT_ZERO)
def test_derivatives_at_zero(case, backend):
    """jax#2107, #2140: softplus made of relu and abs has the derivative 0 at 0, not 1/2."""
    x = np.array([0.0, -0.0])
    arguments = case.formula, x, case.all_parameters
    orders = exact_derivative, exact_second_derivative
    exact = [cached_on_disk(compute, *arguments).astype("f8") for compute in orders]
    written = case.function.derivative(backend.array(x, "float64"), **case.parameters)
    np.testing.assert_allclose(backend.asnumpy(written), exact[0], rtol=1e-13, atol=1e-15)
    found_by_autodiff = autodiff_derivatives(backend, case.function, x, "float64", case.parameters)
    for got, expected in zip(found_by_autodiff, exact, strict=False):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("approximate", "ends"),
    [
        ("none", {"float32": 12.8, "float64": 37.4}),
        ("tanh", {"float32": 9.0, "float64": 19.5}),
        ("sigmoid", {"float32": 51, "float64": 412}),
    ],
)
def test_gelu_tail(backend, approximate, ends, standard_dtype):
    """pytorch#187806, fairseq#2235: ``1 + erf`` and ``1 + tanh`` cancel."""
    formulas = {c.parameters.get("approximate", "none"): c.formula for c in cases_of(ax.gelu)}
    formula, given = formulas[approximate], {"approximate": approximate}
    x = -np.linspace(0.8, ends[standard_dtype], 240).astype(standard_dtype)
    there = backend.array(x, standard_dtype)
    y = backend.asnumpy(accurate(ax.gelu)(there, **given))
    exact = exact_values(formula, x, given)
    assert np.abs(exact.astype("f8")).min() >= np.finfo(standard_dtype).smallest_normal
    # an approximation has the exponential of a number that is rounded
    exponent = -np.log(exact.astype("f8") / x)
    ulp = 8 + (approximate != "none") * 4 * exponent
    assert (difference(y, exact) <= ulp).all()
    bottom = np.argmin(y)
    rise = np.diff(y[bottom:].astype("f8"))
    assert (rise >= -ulp[bottom:-1] * np.spacing(np.abs(y[bottom:-1]))).all()
    with ax.precision("accurate"):
        derivative = backend.asnumpy(ax.gelu.derivative(there, **given))[40::4]
    exact = cached_on_disk(exact_derivative, formula, x[40::4], given)
    assert (difference(derivative, exact) <= 2 * ulp[40::4]).all()


SUMS = [ax.logsumexp, ax.logmeanexp, ax.logcumsumexp, ax.log_softmax, ax.softmax]


@over("function", SUMS)
@pytest.mark.sweep_with("jax")
def test_slices_of_minus_infinity(function, backend):
    """pytorch#31829, #49724, jax#6811: logsumexp of -inf alone has NaN for its gradient."""
    x = np.full((2, 3, 4), -inf)
    x[1] = np.linspace(-2, 2, 12).reshape(3, 4)
    axes = [0, -1] if function is ax.logcumsumexp else [-1, (1, 2)]
    dtype = backend.dtypes[-1]
    for axis in axes:
        there = backend.array(x, dtype)
        y = backend.asnumpy(accurate(function)(there, axis=axis))
        g = backend.array(np.cos(np.arange(y.size)).reshape(y.shape), dtype)
        dx = backend.asnumpy(gradient(backend, function, there, g, axis=axis))
        assert not np.isnan(y).any()
        assert np.isfinite(dx).all()
        if axis != 0:
            assert (y[0] == (0 if function is ax.softmax else -inf)).all()
            assert (dx[0] == 0).all()
            assert dx[1].any()


@pytest.mark.parametrize("keepdims", [False, True])
@over("function", [ax.logsumexp, ax.logmeanexp])
def test_sums_over_empty_axes(function, backend, keepdims):
    """Along an axis of size 0, along several or all, the sum is -inf."""
    for axis, shape in {0: (0, 2), (0, 1): (0, 2, 3), None: (0,)}.items():
        given = {"axis": axis, "keepdims": keepdims}
        x = np.ones(shape)
        expected = np.full(np.sum(x, axis=axis, keepdims=keepdims).shape, -inf)
        y = backend.asnumpy(function(backend.array(x, "float32"), **given))
        np.testing.assert_array_equal(y, expected)
        there = (backend.array(v, "float32") for v in (x, np.ones_like(y)))
        assert tuple(gradient(backend, function, *there, **given).shape) == shape


# infinities and NaN

LADDER = np.array([40.0, 200.0, 1000.0])


def _exact_limit(formula, parameters, side, compute):
    """Return the limit by three far values: a number, an infinity, or None if it oscillates."""
    x = side * np.concatenate([LADDER, 1.7 * LADDER])
    values = cached_on_disk(compute, formula, x, parameters)
    first, second = (_extrapolated(*values[i].tolist()) for i in (slice(0, 3), slice(3, 6)))
    if first is None or second is None or not np.isclose(first, second, rtol=1e-4, atol=1e-4):
        return None
    return first


def _extrapolated(a, b, c):
    if abs(b) > abs(a) + 1 and abs(c) > abs(b) + 1:
        return inf if c > 0 else -inf
    before, after = b - a, c - b
    if after == 0:
        return float(c)
    if abs(after) > abs(before) / 2:
        return None
    return float(c - after * after / (after - before))  # Aitken: exact for what falls as a power


def _formula_values(formula, x, parameters):
    return truth(formula, x, parameters, digits=DERIVATIVE_DIGITS)


INFINITE_ENDS = [
    pytest.param(case, end, id=f"{case}-{end}")
    for case in CASES
    if output_axis(case.function) is None
    for end in domain_of(case.definition)
    if abs(end) == inf
]


@pytest.mark.parametrize(("case", "end"), INFINITE_ENDS)
def test_infinities(case, end, backend, standard_dtype):
    """pytorch#6864, coremltools#2359: silu(-inf), mish(-inf), softsign(inf) are NaN."""
    x = np.array([end, end])
    y = accurate(case.function)(backend.array(x, standard_dtype), **case.parameters)
    arguments = case.formula, case.all_parameters, np.sign(end)
    _check_limit(backend.asnumpy(y), _exact_limit(*arguments, _formula_values))
    dx = derivatives(backend, case.function, x, standard_dtype, case.parameters)
    _check_limit(dx, _exact_limit(*arguments, exact_derivative))


def _check_limit(got, exact):
    got = got.astype("f8")
    if exact is not None and (abs(exact) < 1e-4 or abs(exact) == inf):
        np.testing.assert_array_equal(got, 0 if abs(exact) < inf else exact)
    elif exact is not None:
        np.testing.assert_allclose(got, exact, rtol=1e-4)


@pytest.mark.sweep_with("jax")
def test_nan_propagation(case, backend):
    """mxnet#11115, tvm#18631: relu6(NaN) is 0 and hardsigmoid(NaN) is 1 somewhere.

    Its gradient is NaN too, and its neighbours have theirs.
    """
    given = {**rowwise_parameters(case.function), **case.parameters}
    dtype = backend.dtypes[-1]
    rows = np.array([[0.25, 0.5, 0.75, 0.625], [0.25, nan, 0.75, 0.625]])
    x = backend.array(rows, dtype)
    y = backend.asnumpy(case.function(x, **given))
    g = backend.array(np.ones(y.shape), dtype)
    dx = backend.asnumpy(gradient(backend, case.function, x, g, **given))
    assert np.isnan(y[1]).any()
    assert np.isfinite(y[0]).all()
    assert np.isfinite(dx[0]).all()
    if output_axis(case.function) is None:
        for values in (y, dx):
            np.testing.assert_array_equal(values[1], np.where(np.isnan(rows[1]), nan, values[0]))


# kinks and tails

TIES = [  # d/dx at the kink, as PyTorch has it
    ("relu", {}, 0.0, 0.0),
    ("leaky_relu", {}, 0.0, 0.01),
    ("relu6", {}, 0.0, 0.0),
    ("relu6", {}, 6.0, 0.0),
    ("hard_tanh", {}, -1.0, 0.0),
    ("hard_tanh", {}, 1.0, 0.0),
    ("hard_sigmoid", {}, -3.0, 0.0),
    ("hard_sigmoid", {}, 3.0, 0.0),
    ("elu", {"alpha": 2.0}, 0.0, 2.0),
    ("hard_shrink", {}, -0.5, 0.0),
    ("hard_shrink", {}, 0.5, 0.0),
    ("soft_shrink", {}, -0.5, 0.0),
    ("soft_shrink", {}, 0.5, 0.0),
    ("prelu", {"weight": 0.25}, 0.0, 0.25),
]


@pytest.mark.parametrize(("name", "given", "kink", "expected"), TIES)
def test_subgradients_at_kinks(name, given, kink, expected, backend, standard_dtype):
    """jax#37821, pytorch#184572: every library and spelling has a sub-gradient of its own."""
    function = ax.get(name)
    x = np.array([kink, -kink] if kink == 0 else [kink])
    written = function.derivative(backend.array(x, standard_dtype), **given)
    by_vjp = derivatives(backend, function, x, standard_dtype, given)
    for got in (backend.asnumpy(written), by_vjp):
        np.testing.assert_allclose(got, np.full(len(x), expected), rtol=1e-7)


@pytest.mark.sweep_with("jax")
def test_derivatives_beside_kinks(with_kinks, backend, standard_dtype):
    """A few units in the last place beside a kink there is no tie to break."""
    case = with_kinks
    eps = np.finfo(standard_dtype).eps
    kinks = case.definition.properties.kinks
    x = [(k * (1 - 8 * eps), k * (1 + 8 * eps)) if k else (-1e-30, 1e-30) for k in kinks]
    x = np.ravel(np.array(x, standard_dtype))
    exact = cached_on_disk(exact_derivative, case.formula, x, case.all_parameters)
    got = derivatives(backend, case.function, x, standard_dtype, case.parameters)
    assert difference(got, exact, x).max() <= 2 * case.ulp + 8


@functools.cache
def _tails(case):
    x = np.concatenate([s * np.geomspace(4, 700, 24) for s in (-1, 1)])
    x = in_domain(case.definition, x)
    x = x[is_away_from(kinks_of(case), x)]
    exact = cached_on_disk(exact_derivative, case.formula, x, case.all_parameters)
    return repeated(case, 48, x, exact)


WITH_TAILS = [
    case
    for case in CASES
    if output_axis(case.function) is None and max(np.abs(domain_of(case.definition))) > 4
]


@pytest.mark.float64
@over("case", WITH_TAILS)
@pytest.mark.sweep_with("jax")
def test_derivatives_in_tails(case, backend):
    """jax#39798, snntorch#427: ``y * (1 - y)`` is 0 at 40, and silu'(-709) too."""
    x, exact = _tails(case)
    exact = exact.astype("f8")
    # a margin for what it is multiplied by: XLA makes a subnormal factor zero
    normal = np.abs(exact) >= 256 * np.finfo("f8").smallest_normal
    got = derivatives(backend, case.function, x, "float64", case.parameters)
    np.testing.assert_allclose(got[normal], exact[normal], rtol=1e-6)


@pytest.mark.float64
def test_softplus_beyond_threshold(backend):
    """pytorch#55587, #61568: a threshold of 20 cuts off digits and the curvature."""
    x = np.concatenate([np.linspace(-708, 745, 1200), np.linspace(19.9, 20.2, 40), [-745.0]])
    exact = exact_values("log1p(exp(x))", x, {})
    y = backend.asnumpy(ax.softplus(backend.array(x)))
    normal = exact.astype("f8") >= np.finfo("f8").smallest_normal
    assert difference(y, exact)[normal].max() <= (4 if backend.library == "tensorflow" else 2)
    assert difference(y, exact)[~normal].max() <= 2.0**52  # it may be flushed to zero
    x = x[np.abs(x) < 340]
    exact = exact_values("exp(x) / (1 + exp(x)) ** 2", x, {}).astype("f8")
    for second in autodiff_derivatives(backend, ax.softplus, x, "float64", {})[1:]:
        np.testing.assert_allclose(second, exact, rtol=1e-10)


@functools.cache
def _second_derivatives(case):
    x = in_domain(case.definition, np.linspace(-40, 40, 41) + 0.0625)
    x = x[is_away_from(kinks_of(case), x)]
    exact = cached_on_disk(exact_second_derivative, case.formula, x, case.all_parameters)
    return repeated(case, 41, x, exact.astype("f8"))


@pytest.mark.libraries("torch", "jax", "tensorflow")
@pytest.mark.float64
def test_second_derivatives(elementwise_case, backend):
    """pytorch#195530, jax#40387: softplus''(20.1), silu''(40), mish''(21) are 0."""
    case = elementwise_case
    x, exact = _second_derivatives(case)
    _, got = autodiff_derivatives(backend, case.function, x, "float64", case.parameters)
    np.testing.assert_allclose(got, exact, rtol=1e-7, atol=1e-12)


# the values that most complaints are about

REPORTED = [0.0, 1e-8, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0, 300.0, 709.0, 745.0]


@functools.cache
def _reported_values(case, dtype):
    info = np.finfo(dtype)
    x = np.array([*REPORTED, 256 * info.smallest_normal, info.eps], dtype)
    x = in_domain(case.definition, np.concatenate([x, -x]))
    return repeated(case, 32, x, exact_values(case.formula, x, case.all_parameters))


@pytest.mark.sweep_with("jax")
def test_values_at_reported_points(elementwise_case, backend, standard_dtype):
    """The numbers at which some library was caught."""
    case = elementwise_case
    x, exact = _reported_values(case, standard_dtype)
    info = np.finfo(standard_dtype)
    normal = np.abs(exact.astype("f8")) >= info.smallest_normal
    y = accurate(case.function)(backend.array(x, standard_dtype), **case.parameters)
    error = difference(backend.asnumpy(y), exact)
    assert error[normal].max(initial=0) <= case.ulp
    assert error[~normal].max(initial=0) <= 2.0**info.nmant


def test_normalize_by_tied_maxima(backend):
    """The gradient is divided among them: it is right where all of them move alike."""
    x, g, h = np.array([2.0, -2.0, 1.0]), np.array([1.0, 2.0, 3.0]), 2.0**-10
    alike = np.array([1.0, -1.0, 0.0])
    rise = [np.sum(g * ax.normalize(x + s * alike, order=inf)) for s in (-h, h)]
    numeric = (rise[1] - rise[0]) / (2 * h)
    dtype = backend.dtypes[-1]
    there = (backend.array(v, dtype) for v in (g, x))
    gradient = backend.asnumpy(vjp(ax.normalize, *there, order=inf))
    np.testing.assert_allclose(np.sum(gradient * alike), numeric, rtol=1e-4)


@over("function", [ax.layer_norm, ax.normalize, ax.rms_norm, ax.standardize])
def test_an_infinite_epsilon_gives_zeros(function, backend):
    x = backend.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], "float32")
    gradient = vjp(function, x, x, epsilon=inf)
    for result in (function(x, epsilon=inf), gradient):
        np.testing.assert_array_equal(backend.asnumpy(result), 0)
