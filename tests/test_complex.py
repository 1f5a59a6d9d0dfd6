"""Complex numbers: values, derivatives and gradients of the functions that take them."""

import functools

import mpmath
import numpy as np
import pytest
from oracle import FUNCTIONS, cases_of, noting, output_axis, over

import activations_xp as ax
from activations_xp._oracle import truth

BOUND = 8.0
"""The largest error in eps * max(abs(f(z)), min(abs(z), 1)), as of the fast real functions."""

STEP = mpmath.mpf(10) ** -40
DIGITS = 100

Z = np.array(
    [
        [0.3 + 0.4j, -1.25 + 2j, 0.1 + 1j, 2.0],
        [-3 - 4j, 1e-9 + 2e-9j, 20 - 30j, -30 + 4j],
        [0.1 - 0.1j, -0.6 + 1e-3j, 5 + 1j, -1e-3j],
        [-0.2 + 0.7j, 7 - 2j, -8 - 1j, -2 + 0.5j],
    ]
)
"""Points away from the poles and the branch cuts of all functions."""


def cases(function):
    """Return the cases of a function at which its complex form is defined, with an axis if any."""
    axis = {"axis": -1} if "axis" in function.definition.parameters else {}
    for case in cases_of(function):
        is_real_only = "where" in case.formula
        if not is_real_only:
            yield case, {**axis, **case.parameters}


def exact(function, case, z):
    """Return the exact values of a case, along the last axis if it has one."""
    parameters = {**function.definition.defaults, **case.parameters}
    if function.definition.output_axis is None:
        return truth(case.formula, z, parameters, digits=DIGITS)
    return np.array([truth(case.formula, row, parameters, digits=DIGITS) for row in z])


def in_eps(got, expected, z, dtype):
    """Return the largest error in eps * max(abs(f(z)), min(abs(z), 1)), over rows along an axis."""
    expected = expected.astype(complex)
    size = np.minimum(np.abs(z), 1)
    if got.shape != z.shape:
        size = np.min(size)
    error = abs(got - expected) / np.maximum(abs(expected), size)
    return error[abs(expected) < np.finfo(dtype).max].max() / np.finfo(dtype).eps


@pytest.mark.float64
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_values(takes_complex, backend, dtype):
    z = Z.astype(dtype)
    for case, parameters in cases(takes_complex):
        y = takes_complex(backend.array(z, dtype), **parameters)
        assert y.dtype == backend.array(z, dtype).dtype
        with noting(parameters):
            expected = exact(takes_complex, case, z.astype(complex))
            assert in_eps(backend.asnumpy(y), expected, z, dtype) <= BOUND


def change(function, case, z, dz):
    """Return the exact change of the values for a change of z, per unit of both."""
    with mpmath.workdps(DIGITS):
        step = np.frompyfunc(lambda v, d: mpmath.mpc(v) + STEP * mpmath.mpc(d), 2, 1)
        difference = exact(function, case, step(z, dz)) - exact(function, case, z)
        return (difference / STEP).astype(complex)


def random_like(array):
    """Return random complex numbers in the shape of an array."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(*array.shape, 2)).view(complex)[..., 0]


def conjugate(backend):
    """Return what takes PyTorch's convention for cotangents and gradients to the library's."""
    return np.conj if backend.library == "jax" else np.asarray


@pytest.mark.float64
def test_gradients(takes_complex, backend):
    """A small change of the exact values has the same product with the cotangent."""
    to_library = conjugate(backend)
    for case, parameters in cases(takes_complex):
        y = exact(takes_complex, case, Z).astype(complex)
        g, dz = random_like(y), random_like(Z)
        expected = np.sum(np.real(np.conj(g) * change(takes_complex, case, Z, dz)))
        arrays = (backend.array(a, "complex128") for a in (to_library(g), Z))
        gradient = to_library(backend.asnumpy(takes_complex.vjp(*arrays, **parameters)["x"]))
        with noting(parameters):
            error = abs(np.sum(np.real(np.conj(gradient) * dz)) - expected)
            assert error <= 1e-14 * np.sum(abs(gradient * dz))


@pytest.mark.float64
def test_derivative(holomorphic, backend):
    for case, parameters in cases(holomorphic):
        x = backend.array(Z, "complex128")
        value, dy_dz = holomorphic.value_and_derivative(x, **parameters)
        expected = change(holomorphic, case, Z, np.ones_like(Z))
        error = abs(backend.asnumpy(dy_dz) - expected) / np.maximum(abs(expected), 1e-3)
        with noting(parameters):
            assert error.max() <= 2 * BOUND * np.finfo(float).eps
            same = backend.asnumpy(holomorphic.derivative(x, **parameters))
            np.testing.assert_array_equal(same, backend.asnumpy(dy_dz))
            np.testing.assert_array_equal(
                backend.asnumpy(holomorphic(x, **parameters)), backend.asnumpy(value)
            )


@pytest.mark.libraries("torch")
def test_autograd(takes_complex, backend):
    """Autograd and torch.func give the vjp, also where they differentiate it again."""
    import torch

    for _, parameters in cases(takes_complex):
        x = torch.tensor(Z, requires_grad=True)
        y = takes_complex(x, **parameters)
        g = torch.tensor(random_like(y.detach().numpy()))
        (first,) = torch.autograd.grad(y, x, g, create_graph=True)
        expected = takes_complex.vjp(g, x.detach(), **parameters)["x"]
        torch.testing.assert_close(first.detach(), expected, rtol=1e-13, atol=1e-15)
        _, pullback = torch.func.vjp(
            lambda x, given=parameters: takes_complex(x, **given), x.detach()
        )
        torch.testing.assert_close(pullback(g)[0], expected, rtol=1e-13, atol=1e-15)
        (second,) = torch.autograd.grad((first * x).real.sum(), x)
        assert torch.isfinite(torch.view_as_real(second)).all()


@pytest.mark.libraries("torch")
def test_gradcheck(takes_complex, backend):
    import torch

    for _, parameters in cases(takes_complex):
        x = torch.tensor(Z[0], requires_grad=True)
        assert torch.autograd.gradcheck(functools.partial(takes_complex, **parameters), x)


@pytest.mark.libraries("jax")
def test_jax_vjp(takes_complex, backend):
    import jax
    import jax.numpy as jnp

    for _, parameters in cases(takes_complex):
        z = jnp.asarray(Z)
        y, pullback = jax.vjp(functools.partial(takes_complex, **parameters), z)
        g = jnp.asarray(random_like(np.asarray(y)))
        expected = takes_complex.vjp(g, z, **parameters)["x"]
        np.testing.assert_allclose(pullback(g)[0], expected, rtol=1e-13, atol=1e-15)


@pytest.mark.float64
def test_real_numbers(takes_complex, backend):
    """On the real axis, and at its ends, values are those of the real takes_complex."""
    x = np.array([[-np.inf, -2.0, -0.5, 0.5, 2.0, np.inf]])
    x = x[:, 1:-1] if takes_complex.definition.output_axis else x
    low, high = takes_complex.definition.properties.domain
    for _, parameters in cases(takes_complex):
        inside = np.where((x >= low) & (x <= high), x, 1.0)
        expected = backend.asnumpy(takes_complex.accurate(backend.array(inside), **parameters))
        got = backend.asnumpy(takes_complex(backend.array(inside + 0j, "complex128"), **parameters))
        with noting(parameters):
            np.testing.assert_allclose(got.real, expected, rtol=1e-14)
            np.testing.assert_allclose(got.imag, 0, atol=1e-15)


def test_nan(takes_complex, backend):
    for _, parameters in cases(takes_complex):
        z = np.where(np.eye(4, dtype=bool), np.nan, Z)
        y = backend.asnumpy(takes_complex(backend.array(z, "complex64"), **parameters))
        assert np.isnan(y).any(-1).all()
        assert takes_complex.definition.output_axis or np.isnan(y)[np.isnan(z)].all()


@pytest.mark.libraries("numpy", "torch", "jax")  # the standard cannot make inf + 1j*inf
def test_limits_at_an_infinite_real_part(backend):
    """They do not depend on the imaginary part, even if it is not finite."""
    z = np.array([complex(x, y) for x in (np.inf, -np.inf) for y in (np.inf, -np.inf, np.nan, 1)])
    x, sign = backend.array(z, "complex64"), np.sign(z.real)
    for function, limit in ((ax.tanh, sign), (ax.sigmoid, (sign + 1) / 2)):
        np.testing.assert_allclose(backend.asnumpy(function(x)), limit, rtol=1e-6)
        np.testing.assert_array_equal(backend.asnumpy(function.derivative(x)), 0)
    finite = z.imag == 1
    np.testing.assert_array_equal(backend.asnumpy(ax.tanh_shrink(x))[finite], z[finite])


@pytest.mark.libraries("numpy", "torch")  # whose arrays may be written to with another dtype
def test_out(backend):
    """Complex numbers are not written to a real array, and real ones are to a complex array."""
    z = backend.array(Z, "complex64")
    for function in (ax.sigmoid, ax.logsumexp):
        y = function(z)
        out = backend.array(np.zeros(y.shape), "complex128")
        assert function(z, out=out) is out
        np.testing.assert_array_equal(backend.asnumpy(out), backend.asnumpy(y))
        with pytest.raises(TypeError, match=rf"^{function.__name__}: out needs .* complex dtype"):
            function(z, out=backend.array(np.zeros(y.shape), "float64"))
    x, out = backend.array(Z.real, "float32"), backend.array(Z, "complex64")
    assert ax.sigmoid(x, out=out) is out
    np.testing.assert_array_equal(backend.asnumpy(out), backend.asnumpy(ax.sigmoid(x)))


@pytest.mark.float64
def test_log_of_a_sum_near_0(backend):
    """1 + exp(z) keeps the digits of the exponential where it is close to -1."""
    z = np.array([1j * np.pi, 1e-9 + 1j * np.pi, -1e-3 + 3.14j, 1e-3 - 3.15j])
    expected = np.log(1 + np.exp(z))
    x = backend.array(z, "complex128")
    sums = backend.array(np.stack([z, 0 * z], axis=-1), "complex128")
    for y in (ax.softplus(x), ax.logaddexp(x, 0 * x), ax.logsumexp(sums, -1)):
        np.testing.assert_allclose(backend.asnumpy(y), expected, rtol=1e-6)


@pytest.mark.once
def test_numbers():
    assert ax.tanh(1j) == pytest.approx(1j * np.tan(1.0), rel=1e-15)
    assert isinstance(ax.silu(np.complex64(1j)), np.complex64)


def test_array_parameters(backend):
    """Gradients of real parameters are real, and those of complex ones complex."""
    z = backend.array(Z, "complex64")
    beta = backend.array(np.full(4, 1.5), "float32")
    gradients = ax.silu.vjp(z, z, beta)
    assert backend.dtype_of(gradients["beta"]) == "float32"
    with_complex = ax.silu.vjp(z, z, backend.array(np.full(4, 1.5), "complex64"))
    assert backend.dtype_of(with_complex["beta"]) == "complex64"
    np.testing.assert_allclose(
        backend.asnumpy(with_complex["beta"]).real, backend.asnumpy(gradients["beta"]), rtol=1e-5
    )


PARAMETERS = [
    (f, name)
    for f in FUNCTIONS
    if f.definition.complex is not None and output_axis(f) is None
    for name, spec in f.definition.parameters.items()
    if spec.differentiable
]


@pytest.mark.float64
@over(("function", "name"), PARAMETERS)
def test_gradients_of_complex_parameters(function, name, backend):
    """They are the differences of the values along the real and the imaginary axis."""
    z, given = np.array([0.3 + 1j, -1 - 0.7j, 2 + 0.2j]), 1.5 - 0.25j
    x, g = (backend.array(v, "complex128") for v in (z, np.ones(3)))

    def value(parameter):
        y = function(x, **{name: backend.array(np.full(3, parameter), "complex128")})
        return backend.asnumpy(y)

    parameter = backend.array(np.full(3, given), "complex128")
    gradient = backend.asnumpy(function.vjp(g, x, **{name: parameter})[name])
    step = 2.0**-20
    difference = (value(given + step) - value(given - step)) / (2 * step)
    along_imag = (value(given + 1j * step) - value(given - 1j * step)) / (2j * step)
    np.testing.assert_allclose(along_imag, difference, rtol=1e-8, atol=1e-9)  # it is analytic
    expected = difference if backend.library == "jax" else difference.conj()
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-9)


# logsumexp and its relatives

INFINITE = [
    *(complex(x, y) for x in (-np.inf, np.inf) for y in (0.0, -0.0, 0.75, 2.4, 3.9, 5.5)),
    1 + 2j,
]
PAIRS = np.array([[a, b] for a in INFINITE for b in INFINITE])


@pytest.mark.float64
def test_infinite_elements_of_logsumexp(backend):
    """They are those of the formula, by the rules of C for infinities."""
    with np.errstate(all="ignore"):
        expected = np.log(np.sum(np.exp(PAIRS), axis=-1))
    got = backend.asnumpy(ax.logsumexp(backend.array(PAIRS, "complex128"), axis=-1))
    np.testing.assert_allclose(got.real, expected.real, rtol=1e-15)
    np.testing.assert_allclose(got.imag, expected.imag, rtol=1e-15)


def test_infinite_elements_of_softmax(backend):
    """They have parts of the sum by their angles; the others are 0."""
    x = np.array([[np.inf + 1j, -5, np.inf + 2j], [-np.inf, 1j, -np.inf + 1j], [-np.inf] * 3])
    e = np.exp([[1j, -np.inf, 2j], [-np.inf, 0, -np.inf], [-np.inf] * 3])
    expected = np.divide(e, e.sum(-1, keepdims=True), out=np.zeros_like(e), where=e != 0)
    got = backend.asnumpy(ax.softmax(backend.array(x, "complex64")))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    logarithm = backend.asnumpy(ax.log_softmax(backend.array(x, "complex64")))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(logarithm.real, np.log(abs(expected)), rtol=1e-5, atol=1e-6)


@pytest.mark.float64
def test_sign_of_logsumexp(backend):
    """It has the modulus 1, or 0 as the sum, and the logarithm of the modulus is real."""
    x = [[1 + 1j, 2 - 1j], [800 + 3j, 800 - 2j], [0, np.pi * 1j], [np.inf + 1j, 5], [-np.inf] * 2]
    modulus, sign = ax.logsumexp(backend.array(x, "complex128"), axis=-1, return_sign=True)
    assert (backend.dtype_of(modulus), backend.dtype_of(sign)) == ("float64", "complex128")
    modulus, sign = map(backend.asnumpy, (modulus, sign))
    total = np.exp([[1 + 1j, 2 - 1j], [3j, -2j]]).sum(-1)
    np.testing.assert_allclose(modulus[:2], np.log(abs(total)) + np.array([0, 800]), rtol=1e-15)
    np.testing.assert_allclose(sign[:2], total / abs(total), rtol=1e-15)
    assert modulus[2] < -36
    assert list(modulus[3:]) == [np.inf, -np.inf]
    np.testing.assert_allclose(abs(sign[3:]), [1, 0], rtol=1e-15)


@pytest.mark.float64
def test_logsumexp_of_small_parts(backend):
    """A small imaginary part and a term that is small beside 1 are kept."""
    x = backend.array([[0, 2e-17j], [0, -40 + 1j]], "complex128")
    y = backend.asnumpy(ax.logsumexp(x, axis=-1))
    expected = [np.log(2) + 1e-17j, np.exp(-40 + 1j)]
    np.testing.assert_allclose(y.real, np.real(expected), rtol=1e-14)
    np.testing.assert_allclose(y.imag, np.imag(expected), rtol=1e-14)


@pytest.mark.float64
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int32"])
def test_factors_and_mask_of_logsumexp(dtype, backend):
    """Elements that are excluded by the mask or a factor of 0 add nothing, whatever they are."""
    rng = np.random.default_rng(0)
    x, mask = random_like(np.empty((3, 4))), rng.random((3, 4)) > 0.3
    b = random_like(np.empty(4)) * 9
    b = (b if dtype == "complex128" else b.real).astype(dtype)
    b[1] = 0
    x[~mask], x[:, 1] = np.nan, np.inf
    kept = mask & (b != 0)
    e = np.where(kept, np.exp(np.where(kept, x, 0)), 0)
    total = (b * e).sum(-1)
    g = random_like(total)
    to_library = conjugate(backend)
    there, factors = backend.array(x, "complex128"), backend.array(b, dtype)
    given = {"axis": -1, "b": factors, "where": backend.array(mask, "bool")}
    y = backend.asnumpy(ax.logsumexp(there, **given))
    np.testing.assert_allclose(y, np.log(total), rtol=1e-13)
    gradients = ax.logsumexp.vjp(backend.array(to_library(g), "complex128"), there, **given)
    dx = to_library(backend.asnumpy(gradients["x"]))
    np.testing.assert_allclose(dx, np.conj(np.conj(g / total.conj())[:, None] * b * e), rtol=1e-12)
