"""What users complain about elsewhere, in public threads: each complaint with its answer.

It is asked of our own computation, as torch and JAX differentiate it and as the others have it of
``vjp``; where torch's own kernel is taken the answer is torch's, and the page of conventions says
so. What a complaint about transforms, compilers or saved memory asks for is in ``tests/backends``.
"""

from __future__ import annotations

import functools
from math import inf, nan

import mpmath
import numpy as np
import pytest
from oracle import (
    DIGITS,
    MASKED,
    SMOOTH,
    STEP,
    cached_on_disk,
    exact_values,
    in_domain,
    is_away_from,
    kinks_of,
    map_into_domain,
    over,
    rowwise_parameters,
)
from oracle import exact_derivative as slope

import activations_xp as ax
from activations_xp._oracle import difference, truth

pytestmark = pytest.mark.usefixtures("uncompiled")

STANDARD = ("float32", "float64")


def gradient(backend, function, x, g, **given):
    """That of x for the gradient g of the result."""
    f = functools.partial(function.accurate, **given)
    if backend.library == "torch":
        import torch

        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(f(leaf), leaf, g)[0]
    if backend.library == "jax":
        import jax

        return jax.vjp(f, x)[1](g)[0]
    return function.vjp(g, x, **given)["x"]


def slopes(backend, function, x, dtype, given):
    """The derivative at each number, by `gradient`."""
    there, ones = (backend.array(v, dtype) for v in (x, np.ones_like(x)))
    return backend.asnumpy(gradient(backend, function, there, ones, **given))


def differentiated(backend, function, x, dtype, given):
    """The first and the second derivative at each number, if the library differentiates."""
    f, there = functools.partial(function.accurate, **given), backend.array(x, dtype)
    if backend.library == "torch":
        import torch

        leaf = there.requires_grad_()
        (first,) = torch.autograd.grad(f(leaf).sum(), leaf, create_graph=True)
        second = torch.zeros_like(leaf)
        if first.requires_grad:  # the slope of the identity is a constant
            (second,) = torch.autograd.grad(first.sum(), leaf)
    elif backend.library == "jax":
        import jax

        ones = jax.numpy.ones_like(there)
        first, second = jax.jvp(lambda x: jax.jvp(f, (x,), (ones,))[1], (there,), (ones,))
    else:
        return []
    return [backend.asnumpy(first), backend.asnumpy(second)]


def curvature(formula, x, parameters):
    """The second difference quotient in many digits."""
    with mpmath.workdps(DIGITS):
        x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
        step = STEP * np.where(x == 0, 1, abs(x))
        low, middle, high = (
            truth(formula, x + side * step, parameters, digits=DIGITS) for side in (-1, 0, 1)
        )
        return (low - 2 * middle + high) / step**2


def floats(backend):
    return [dtype for dtype in STANDARD if dtype in backend.dtypes]


# masks


@over("function", MASKED)
def test_a_row_without_an_entry_spoils_no_other(function, backend):
    """pytorch#41508, #55056: softmax of a row that is masked throughout is NaN."""
    x = np.array([[1, 2, 3, 4], [nan, inf, -inf, 0], [1, nan, 3, inf], [3, nan, 5, 2.5]])
    mask = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]], bool)
    given = {**function.definition.defaults, **rowwise_parameters(function), "axis": -1}
    where = backend.array(mask, "bool")
    for dtype in floats(backend):
        there = backend.array(x, dtype)
        y = backend.asnumpy(function(there, **{**given, "where": where}))
        g = backend.array(np.cos(np.arange(y.size)).reshape(y.shape), dtype)
        slope = backend.asnumpy(gradient(backend, function, there, g, **{**given, "where": where}))
        for i in (0, 2):
            row = x[i][mask[i]].astype(dtype)
            exact = exact_values(function.definition.formula, row, given).astype("f8")
            got = y[i] if y.ndim == 1 else y[i][mask[i]]
            np.testing.assert_allclose(got, np.squeeze(exact), rtol=2e-6, atol=1e-7)
        assert np.isin(y[1], [0, -inf]).all()
        assert np.isfinite(slope[:3]).all()
        assert (slope[~mask] == 0).all()
        assert np.isnan(y[3]).any()  # what is allowed to be NaN is not hidden


# derivatives that are NaN, or wrong

MIDDLE = [0.0, 1e-5, 1.0, 20.0, 89.0, 710.0, 1e4, 1e20]


def test_no_branch_that_is_not_taken_leaks(case, backend):
    """jax#1052, pytorch#52248: ``where(x > 0, x, expm1(x))`` has NaN for its slope."""
    if case.definition.output_axis is not None:
        return
    for dtype in floats(backend):  # the others are computed as float32
        x = np.array([*MIDDLE, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max])
        x = map_into_domain(case.definition, np.concatenate([x, -x]))
        slope = slopes(backend, case.function, x, dtype, case.parameters)
        for values in (slope, *differentiated(backend, case.function, x, dtype, case.parameters)):
            values = values.astype("f8")
            assert not np.isnan(values).any(), (dtype, x[np.isnan(values)])
            if case.definition.properties.lipschitz < inf:
                assert np.isfinite(values).all(), (dtype, x[~np.isfinite(values)])


@over("function", SMOOTH)
def test_what_is_smooth_is_smooth_at_zero(function, backend):
    """jax#2107, #2140: softplus made of relu and abs has the slope 0 at 0, not 1/2."""
    x = in_domain(function.definition, np.array([0.0, -0.0]))
    low, high = function.definition.properties.domain
    if len(x) == 0 or 0 in (low, high):
        return
    for case in function.definition.cases:
        given = dict(case.parameters)
        asked = case.formula, x, {**function.definition.defaults, **given}
        exact = [cached_on_disk(compute, *asked).astype("f8") for compute in (slope, curvature)]
        written = backend.asnumpy(function.derivative(backend.array(x, "float64"), **given))
        np.testing.assert_allclose(written, exact[0], rtol=1e-13, atol=1e-15)
        for got, true in zip(
            differentiated(backend, function, x, "float64", given), exact, strict=False
        ):
            np.testing.assert_allclose(got, true, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("approximate", "ends"), [("none", (12.8, 37.4)), ("tanh", (9.0, 19.5)), ("sigmoid", (51, 412))]
)
def test_the_tail_of_gelu_keeps_its_digits(backend, approximate, ends):
    """pytorch#187806, fairseq#2235: ``1 + erf`` and ``1 + tanh`` cancel."""
    variants = {v.parameters.get("approximate", "none"): v for v in ax.gelu.definition.cases}
    formula, given = variants[approximate].formula, {"approximate": approximate}
    for dtype, end in zip(STANDARD, ends, strict=True):
        if dtype not in backend.dtypes:
            continue
        x = -np.linspace(0.8, end, 240).astype(dtype)
        there = backend.array(x, dtype)
        y = backend.asnumpy(ax.gelu.accurate(there, **given))
        exact = exact_values(formula, x, given)
        assert np.abs(exact.astype("f8")).min() >= np.finfo(dtype).smallest_normal
        # an approximation has the exponential of a number that is rounded
        exponent = -np.log(exact.astype("f8") / x)
        ulp = 8 + (approximate != "none") * 4 * exponent
        assert (difference(y, exact) <= ulp).all()
        bottom = np.argmin(y)
        rise = np.diff(y[bottom:].astype("f8"))
        assert (rise >= -ulp[bottom:-1] * np.spacing(np.abs(y[bottom:-1]))).all()
        slope_there = backend.asnumpy(ax.gelu.derivative(there, **given))[40::4]
        true = cached_on_disk(slope, formula, x[40::4], given)
        assert (difference(slope_there, true) <= 2 * ulp[40::4]).all()


SUMS = [ax.logsumexp, ax.logmeanexp, ax.logcumsumexp, ax.log_softmax, ax.softmax]


@over("function", SUMS)
def test_slices_of_minus_infinity_have_no_gradient(function, backend):
    """pytorch#31829, #49724, jax#6811: logsumexp of -inf alone has NaN for its gradient."""
    x = np.full((2, 3, 4), -inf)
    x[1] = np.linspace(-2, 2, 12).reshape(3, 4)
    axes = [0, -1] if function is ax.logcumsumexp else [-1, (1, 2)]
    dtype = backend.dtypes[-1]
    for axis in axes:
        there = backend.array(x, dtype)
        y = backend.asnumpy(function.accurate(there, axis=axis))
        g = backend.array(np.cos(np.arange(y.size)).reshape(y.shape), dtype)
        got = backend.asnumpy(gradient(backend, function, there, g, axis=axis))
        assert not np.isnan(y).any()
        assert np.isfinite(got).all()
        if axis != 0:
            assert (y[0] == (0 if function is ax.softmax else -inf)).all()
            assert (got[0] == 0).all()
            assert got[1].any()


@pytest.mark.parametrize("keepdims", [False, True])
@over("function", [ax.logsumexp, ax.logmeanexp])
def test_sums_of_nothing(function, backend, keepdims):
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


def _limits(formula, parameters, side, compute):
    """What it goes to by three far values: a number, an infinity, or None if it oscillates."""
    x = side * np.concatenate([LADDER, 1.7 * LADDER])
    values = cached_on_disk(compute, formula, x, parameters)
    first, second = (_limit(*values[part].tolist()) for part in (slice(0, 3), slice(3, 6)))
    if first is None or second is None or not np.isclose(first, second, rtol=1e-4, atol=1e-4):
        return None
    return first


def _limit(a, b, c):
    if abs(b) > abs(a) + 1 and abs(c) > abs(b) + 1:
        return inf if c > 0 else -inf
    before, after = b - a, c - b
    if after == 0:
        return float(c)
    if abs(after) > abs(before) / 2:
        return None
    return float(c - after * after / (after - before))  # Aitken: exact for what falls as a power


def _true_values(formula, x, parameters):
    return truth(formula, x, parameters, digits=DIGITS)


def test_infinities_go_to_the_limit(case, backend):
    """pytorch#6864, coremltools#2359: silu(-inf), mish(-inf), softsign(inf) are NaN."""
    if case.definition.output_axis is not None:
        return
    for side, end in zip((-1, 1), case.definition.properties.domain, strict=True):
        if abs(end) < inf:
            continue
        asked = case.formula, case.all_parameters, side
        value, rise = (_limits(*asked, compute) for compute in (_true_values, slope))
        for dtype in floats(backend):
            x = np.array([end, end])
            y = case.function.accurate(backend.array(x, dtype), **case.parameters)
            _is_limit(backend.asnumpy(y), value)
            _is_limit(slopes(backend, case.function, x, dtype, case.parameters), rise)


def _is_limit(got, true):
    got = got.astype("f8")
    if true is None:
        return
    if abs(true) < 1e-4 or abs(true) == inf:
        np.testing.assert_array_equal(got, 0 if abs(true) < inf else true)
    else:
        np.testing.assert_allclose(got, true, rtol=1e-4)


def test_nan_is_not_swallowed(case, backend):
    """mxnet#11115, tvm#18631: relu6(NaN) is 0 and hardsigmoid(NaN) is 1 somewhere.

    Its gradient is NaN too, and its neighbours have theirs.
    """
    given = {**rowwise_parameters(case.function), **case.parameters}
    dtype = backend.dtypes[-1]
    rows = np.array([[0.25, 0.5, 0.75, 0.625], [0.25, nan, 0.75, 0.625]])
    x = backend.array(rows, dtype)
    y = backend.asnumpy(case.function(x, **given))
    g = backend.array(np.ones(y.shape), dtype)
    got = backend.asnumpy(gradient(backend, case.function, x, g, **given))
    assert np.isnan(y[1]).any()
    assert np.isfinite(y[0]).all()
    assert np.isfinite(got[0]).all()
    if case.definition.output_axis is None:
        for values in (y, got):
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


@pytest.mark.parametrize(("name", "given", "at", "expected"), TIES)
def test_ties_are_broken_as_pytorch_breaks_them(name, given, at, expected, backend):
    """jax#37821, pytorch#184572: every library and spelling has a slope of its own."""
    function = ax.get(name)
    for dtype in floats(backend):
        x = np.array([at, -at] if at == 0 else [at])
        written = backend.asnumpy(function.derivative(backend.array(x, dtype), **given))
        for got in (written, slopes(backend, function, x, dtype, given)):
            np.testing.assert_allclose(got, np.full(len(x), expected), rtol=1e-7)


def test_beside_a_kink_the_slope_is_that_of_the_side(case, backend):
    """A few units in the last place beside it there is no tie to break."""
    definition = case.definition
    if definition.output_axis is not None or not case.is_first:
        return
    for dtype in floats(backend):
        eps = np.finfo(dtype).eps
        kinks = definition.properties.kinks
        x = [(k * (1 - 8 * eps), k * (1 + 8 * eps)) if k else (-1e-30, 1e-30) for k in kinks]
        x = np.ravel(np.array(x, dtype))
        if len(x) == 0:
            return
        exact = cached_on_disk(slope, case.formula, x, case.all_parameters)
        got = slopes(backend, case.function, x, dtype, case.parameters)
        assert difference(got, exact, x).max() <= 2 * case.ulp + 8


@functools.cache
def _tails(case):
    x = np.concatenate([s * np.geomspace(4, 700, 24) for s in (-1, 1)])
    x = in_domain(case.definition, x)
    near = is_away_from(kinks_of(case), x)
    return x[near], cached_on_disk(slope, case.formula, x[near], case.all_parameters)


def test_slopes_keep_their_digits_in_both_tails(case, backend):
    """jax#39798, snntorch#427: ``y * (1 - y)`` is 0 at 40, and silu'(-709) too."""
    if case.definition.output_axis is not None or "float64" not in backend.dtypes:
        return
    x, exact = _tails(case)
    exact = exact.astype("f8")
    # a margin for what it is multiplied by: XLA makes a subnormal factor zero
    normal = np.abs(exact) >= 256 * np.finfo("f8").smallest_normal
    got = slopes(backend, case.function, x, "float64", case.parameters)
    np.testing.assert_allclose(got[normal], exact[normal], rtol=1e-6)


def test_softplus_has_no_cliff(backend):
    """pytorch#55587, #61568: a threshold of 20 cuts off digits and the curvature."""
    if "float64" not in backend.dtypes:
        return
    x = np.concatenate([np.linspace(-708, 745, 1200), np.linspace(19.9, 20.2, 40), [-745.0]])
    exact = exact_values("log1p(exp(x))", x, {})
    y = backend.asnumpy(ax.softplus(backend.array(x)))
    normal = exact.astype("f8") >= np.finfo("f8").smallest_normal
    assert difference(y, exact)[normal].max() <= 2
    assert difference(y, exact)[~normal].max() <= 2.0**52  # it may be flushed to zero
    within_reach = np.abs(x) < 340
    true = exact_values("exp(x) / (1 + exp(x)) ** 2", x, {}).astype("f8")[within_reach]
    for second in differentiated(backend, ax.softplus, x[within_reach], "float64", {})[1:]:
        np.testing.assert_allclose(second, true, rtol=1e-10)


@functools.cache
def _curvatures(case):
    x = in_domain(case.definition, np.linspace(-40, 40, 41) + 0.0625)
    x = x[is_away_from(kinks_of(case), x)]
    return x, cached_on_disk(curvature, case.formula, x, case.all_parameters).astype("f8")


def test_second_derivatives(case, backend):
    """pytorch#195530, jax#40387: softplus''(20.1), silu''(40), mish''(21) are 0."""
    if case.definition.output_axis is not None or "float64" not in backend.dtypes:
        return
    if backend.library not in ("torch", "jax"):  # the others do not differentiate
        return
    x, exact = _curvatures(case)
    for second in differentiated(backend, case.function, x, "float64", case.parameters)[1:]:
        np.testing.assert_allclose(second, exact, rtol=1e-7, atol=1e-12)


# the values that most complaints are about

TOLD = [0.0, 1e-8, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0, 300.0, 709.0, 745.0]


@functools.cache
def _told(case, dtype):
    machine = np.finfo(dtype)
    x = np.array([*TOLD, 256 * machine.smallest_normal, machine.eps], dtype)
    x = in_domain(case.definition, np.concatenate([x, -x]))
    return x, exact_values(case.formula, x, case.all_parameters)


def test_the_values_of_every_complaint(case, backend):
    """The numbers at which some library was caught."""
    if case.definition.output_axis is not None:
        return
    for dtype in floats(backend):
        x, exact = _told(case, dtype)
        normal = np.abs(exact.astype("f8")) >= np.finfo(dtype).smallest_normal
        y = backend.asnumpy(case.function.accurate(backend.array(x, dtype), **case.parameters))
        assert difference(y, exact)[normal].max(initial=0) <= case.ulp
        assert difference(y, exact)[~normal].max(initial=0) <= 2.0 ** np.finfo(dtype).nmant
