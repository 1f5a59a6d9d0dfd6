"""The written derivatives against the formulas, everywhere, and at zero and the kinks."""

from __future__ import annotations

import functools

import mpmath
import numpy as np
from common import remembered
from test_values import dtypes_of, points

from activations_xp._oracle import difference, truth

DIGITS = 480
STEP = mpmath.mpf(10) ** -40


@functools.cache
def _slopes(case, dtype):
    """Points away from kinks, and the slopes there."""
    x = points(case.definition, dtype)
    low, high = case.definition.properties.defined
    x = x[_away_from(_kinks(case), x) & (x > low) & (x < high)]
    return x, remembered(slope, case.variant.formula, x, case.all_parameters)


def slope(formula, x, parameters, side=0, step=STEP):
    """A difference quotient in many digits: central, or from the left (-1) or the right (1)."""
    with mpmath.workdps(DIGITS):
        x = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(x)
        step = step * np.where(x == 0, 1, abs(x))
        low, high = (x - step if side <= 0 else x), (x + step if side >= 0 else x)
        rise = truth(formula, high, parameters, digits=DIGITS) - truth(
            formula, low, parameters, digits=DIGITS
        )
        return rise / (high - low)


def test_derivatives(case, backend, transform):
    if case.definition.derivative is None:
        assert case.definition.axis is not None  # every elementwise function has one
        return
    for dtype in dtypes_of(backend, transform):
        x, exact = _slopes(case, dtype)
        derivative = transform(lambda x: case.function.derivative(x, **case.parameters))
        got = backend.asnumpy(derivative(backend.array(x, dtype)))
        # where it crosses zero only the absolute error means anything
        assert difference(got, exact, x).max() <= 2 * case.variant.ulp + 2
        # XLA makes a subnormal factor zero: a margin for what it is multiplied by
        normal = np.abs(exact.astype("f8")) >= 256 * np.finfo(dtype).smallest_normal
        tails = normal & (np.abs(x) > 4)
        assert difference(got, exact)[tails].max(initial=0) <= 2 * case.variant.ulp + 2


def _kinks(case):
    """Where some variant may have a kink: that of the function, and those of its parameters."""
    values = [v for v in case.all_parameters.values() if isinstance(v, float)]
    return np.abs(np.array([*case.definition.properties.kinks, *values, 0.0, 2.0]))


def _away_from(points, x):
    """Whether x is no kink, nor so near that the kink's own rounding decides the side."""
    near = [np.abs(np.abs(x) - k) <= 4 * np.spacing(x.dtype.type(k)) for k in points if k]
    return ~np.any([*near, x == 0], axis=0)


def test_derivatives_at_kinks_are_one_of_the_two(case, backend):
    """The sub-gradient that PyTorch takes is the slope of one side, and of the left one at 0."""
    if case.definition.derivative is None or case.definition.properties.smoothness > 0:
        return
    if case.variant is not case.definition.variants[0]:
        return
    for kink in case.definition.properties.kinks:
        x = np.array([kink])
        got = backend.asnumpy(
            case.function.derivative(backend.array(x, "float32"), **case.parameters)
        )[0]
        formula, parameters = case.variant.formula, case.all_parameters
        step = mpmath.mpf(1e-12)  # gelu(10), say, is only nearly 10
        left, right = (float(slope(formula, x, parameters, side, step)[0]) for side in (-1, 1))
        assert left != right
        assert np.isclose(got, [left, right], rtol=1e-6).any()
        if kink == 0 and case.definition.properties.smoothness == 0:
            assert np.isclose(got, left, rtol=1e-6)
