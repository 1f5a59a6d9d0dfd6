"""PyTorch: native kernels, gradients, masks, the compiler, autocast and kinds of tensor."""

from __future__ import annotations

import functools
import itertools
import math
import os
import subprocess
import sys
import warnings

import ml_dtypes
import numpy as np
import pytest
import torch
from oracle import (
    ARRAY_PARAMETERS,
    DIFFERENTIABLE_CASES,
    FINITE_MASK,
    FUNCTIONS,
    MASKED,
    NONFINITE_ROWS,
    SMOOTH,
    UNBOUNDED_PARAMETERS,
    CountingCompiler,
    accurate,
    cached_kernels,
    cases_of,
    domain_of,
    edge_points,
    empty_slice_value,
    exact_values,
    in_sweep,
    kernel_tables,
    last_axis_parameters,
    map_into_domain,
    noting,
    one_of_each_family,
    output_axis,
    over,
    parameters_with,
    points_with_kinks,
    preserves_integers,
    required_parameters,
    rowwise_parameters,
    variants_in_sweep,
)
from tools.memory import saved_bytes
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.masked import masked_tensor
from torch.nn.attention.bias import causal_lower_right
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import activations_xp as ax
from activations_xp import _oracle
from activations_xp.backends.torch import BACKEND
from activations_xp.backends.torch.native import NATIVE, ForwardOnly, ShortRows

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
ACCURATE_GRADIENT = 16.0
"""The largest error, in eps, that the gradient of a kernel may have for it to be taken."""


def _native_kernel(definition, parameters, x):
    """Return the kernel of torch, and how many orders of its own derivatives are taken, too."""
    values = tuple({**definition.defaults, **parameters}.values())
    values = definition.check(x, values, BACKEND)
    kernel = NATIVE[definition.name].bind(*values)
    kernel = kernel.kernel if isinstance(kernel, ShortRows) else kernel
    if isinstance(kernel, ForwardOnly):
        return kernel.kernel, 1
    return kernel, 2


def _is_taken(name, dtype):
    return dtype not in NATIVE[name].inaccurate_dtypes


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def _row(function):
    """Return some numbers of the function's domain."""
    x = map_into_domain(function.definition, np.linspace(-3, 3, 8))
    return torch.tensor(x, dtype=torch.float32).reshape(2, 4)


def _gradient(form, x, given):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(form(x, **given).sum(), x)[0]


def _assert_close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# native kernels


@functools.cache
def _exact(name, index, dtype):
    """Return finite inputs of a dtype, and the exact values there."""
    function = ax.get(name)
    definition, case = function.definition, cases_of(function)[index]
    far = np.logspace(-9, 4, 53)
    x = map_into_domain(definition, np.concatenate([np.linspace(-20, 20, 161), far, -far]))
    x = torch.tensor(x).to(dtype).double()
    parameters = {**definition.defaults, **case.parameters}
    if output_axis(function) is None:
        return x.numpy(), exact_values(case.formula, x.numpy(), parameters)
    rows = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))][:240]
    rows = rows.reshape(-1, 12).numpy()
    exact = [exact_values(case.formula, row, parameters) for row in rows]
    return rows, np.stack(exact)


def _index(function, given):
    return [case.parameters for case in cases_of(function)].index(given)


def _numpy(y):
    if y.dtype is torch.bfloat16:
        return y.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return y.numpy()


def _gradient_error(function, kernel, x, parameters):
    far = [torch.finfo(x.dtype).max ** power for power in (0.2, 0.33, 0.49, 0.6, 0.9)]
    far = map_into_domain(function.definition, np.array([*far, *(-f for f in far)]))
    low, high = domain_of(function.definition)
    near = (high - low) * 2.0 ** -np.arange(2, 120) if high - low < math.inf else np.array([])
    x = torch.cat([x, torch.tensor([*far, *(low + near), *(high - near)]).to(x.dtype)])
    written = function.derivative(x, **parameters).double()
    gradient = _gradient(kernel, x, {}).double()
    error = (gradient - written).abs().where(gradient != written, 0.0)  # both may be infinite
    error = error / torch.finfo(x.dtype).eps
    unit = torch.maximum(written.abs(), x.double().abs().clamp(torch.finfo(x.dtype).tiny, 1))
    return (error / unit).nan_to_num(nan=math.inf).max().item()


def _has_second_gradient(function, kernel, parameters, dtype):
    """Return whether the kernel's own second gradient is free of NaN, also at the edges."""
    x = edge_points(function, parameters, dtype)
    leaf = torch.tensor(x.astype("f8")).to(getattr(torch, dtype)).requires_grad_()
    one = torch.ones_like(leaf)
    (gradient,) = torch.autograd.grad(kernel(leaf), leaf, one, create_graph=True)
    if not gradient.requires_grad:
        return True
    try:
        (curve,) = torch.autograd.grad(gradient, leaf, one, materialize_grads=True)
    except RuntimeError:  # torch does not implement it
        return False
    return not curve.isnan().any()


@over("dtype", DTYPES)
@over("name", list(NATIVE))
def test_native_kernel_is_taken_iff_accurate(name, dtype):
    """The values decide, and the gradients, if the kernel's own are taken, too."""
    function = ax.get(name)
    assert function.__name__ == name
    errors = []
    for index, case in enumerate(cases_of(function)):
        values, exact = _exact(name, index, dtype)
        given, x = dict(case.parameters), torch.tensor(values).to(dtype)
        kernel, orders = _native_kernel(function.definition, given, x)
        if kernel is None:
            continue
        y = kernel(x)
        errors.append(_oracle.difference(_numpy(y), exact, values).max() / _oracle.ACCEPTED)
        if orders and function.definition.derivative is not None:
            call = functools.partial(function, **given) if _is_taken(name, dtype) else kernel
            errors.append(_gradient_error(function, call, x, given) / ACCURATE_GRADIENT)
        expected = y if _is_taken(name, dtype) else accurate(function)(x, **given)
        assert torch.equal(function(x, **given), expected)
    assert (max(errors) <= 1) == _is_taken(name, dtype), errors


KERNELS = [
    (function, given, *_native_kernel(function.definition, given, torch.zeros(2, 4)))
    for function, given in DIFFERENTIABLE_CASES
    if function.__name__ in NATIVE
]
"""The differentiable functions with a kernel, and to which order that is differentiated, too."""

NATIVE_CASES = [(f, given) for f, given, kernel, _ in KERNELS if kernel]


@over(("function", "given"), NATIVE_CASES)
def test_native_second_gradient_is_taken_iff_finite_and_thrifty(function, given):
    """A thrifty kernel keeps no more than x for the backward pass, which is one node or ours."""
    for dtype in DTYPES:
        with noting(dtype):
            _assert_second_gradient_is_taken_iff_finite_and_thrifty(function, given, dtype)


def _assert_second_gradient_is_taken_iff_finite_and_thrifty(function, given, dtype):
    x = torch.tensor(_exact(function.__name__, _index(function, given), dtype)[0])
    x = x.to(dtype)
    kernel, orders = _native_kernel(function.definition, given, x)
    finite = _has_second_gradient(function, kernel, given, str(dtype)[6:])
    leaf = x.clone().requires_grad_()
    thrifty = saved_bytes(kernel, leaf) <= x.nbytes
    is_right = _gradient_error(function, kernel, x.double(), given) <= ACCURATE_GRADIENT
    following = getattr(kernel(leaf).grad_fn, "next_functions", ())
    is_alone = not any(node.next_functions for node, _ in following if node)
    if dtype is torch.float32:
        assert (finite and thrifty) or orders == 1
        assert not (finite and thrifty and is_alone and is_right) or orders == 2
    else:  # it may be finite by chance, or keep more than x
        assert finite or orders < 2


# native kernels along an axis

ALONG_AN_AXIS = [name for name in NATIVE if output_axis(ax.get(name)) == "kept"]
ERROR_OF_SUM = 32.0
"""The error of torch.sum, in eps, for many elements, which it adds in groups of groups."""

LENGTHS = (1, 2, 12, 13, 48, 49, 96, 97, 1000, 4096, 65_536, 128_256, 1_000_000)
LAYOUTS = {
    "last": (lambda x: x, 1, lambda y: y),
    "strided": (lambda x: x.T.contiguous().T, 1, lambda y: y),
    "first": (lambda x: x.T.contiguous(), 0, lambda y: y.T),
    "middle": (lambda x: torch.stack([x, x], dim=-1), 1, lambda y: y[..., 1]),
}
"""Each lays out rows, along an axis, and has the rows back."""


def _rows(name, n, dtype):
    """Return rows of equal, random and widespread elements, and zeros beside a larger one.

    Each of these zeros counts less than the rounding of a sum, and all together count.
    """
    x = torch.randn(4, n, generator=torch.Generator().manual_seed(n))
    x[2] *= 5
    x[::3] = 0
    x[3, 0] = {torch.float32: 17, torch.float64: 37}.get(dtype, 8)
    return (-x if name == "softmin" else x).to(dtype)


def _exact_rows(name, x, g):
    """Return the values and the gradients of rows, each with the units of its errors.

    The rounding of a difference x - max(x) weighs as much as that.
    """
    x, g = x.double().numpy().astype(np.longdouble), g.double().numpy()
    sign = -1 if name == "softmin" else 1
    shifted = sign * x - (sign * x).max(-1, keepdims=True)
    row_sum = np.exp(shifted).sum(-1, keepdims=True)
    weights = np.exp(shifted) / row_sum
    unit = weights * (1 + abs(shifted) / 8)
    if name == "log_softmax":
        y, sum_of_g = shifted - np.log(row_sum), g.sum(-1, keepdims=True)
        return (y, np.maximum(abs(y), 1)), (g - weights * sum_of_g, g + unit * sum_of_g)
    return (weights, unit), (sign * weights * (g - (weights * g).sum(-1, keepdims=True)), unit)


@over("dtype", DTYPES)
@over("name", ALONG_AN_AXIS)
def test_native_kernel_is_accurate_at_every_length(name, dtype):
    """Beyond the longest rows of torch's kernel, the error is that of torch.sum."""
    function, info = ax.get(name), torch.finfo(dtype)
    for n in LENGTHS:
        x = _rows(name, n, dtype)
        g = torch.rand(4, n, generator=torch.Generator().manual_seed(n)).to(dtype)
        g[:, 10_000:] = 0  # float16 has no sum of so many
        exact = _exact_rows(name, x, g)
        for layout, (lay_out, axis, rows) in LAYOUTS.items():
            leaf = lay_out(x).requires_grad_()
            y = function(leaf, axis)
            (dx,) = torch.autograd.grad(y, leaf, lay_out(g))
            assert torch.equal(function(leaf.detach(), axis), y)
            short = (_oracle.ACCEPTED, ACCURATE_GRADIENT)
            bounds = short if n < 1e4 else (ERROR_OF_SUM,) * 2
            for got, (true, unit), bound in zip((y.detach(), dx), exact, bounds, strict=True):
                error = abs(rows(got).double().numpy() - true)
                error = (error / np.maximum(unit, info.smallest_normal)).max() / info.eps
                with noting((n, layout, error)):
                    assert error <= bound


@over("layout", ["last", "first"])
@over("dtype", [torch.float32, torch.float64])
def test_native_kernel_is_inaccurate_at_twenty_times_its_length(dtype, layout):
    lay_out, axis, rows = LAYOUTS[layout]
    native = NATIVE["softmax"].bind((axis,), None)
    x = _rows("softmax", 20 * native.longest(dtype, 2), dtype)
    (exact, unit), _ = _exact_rows("softmax", x, x)
    error = abs(rows(native.kernel(lay_out(x))).double().numpy() - exact) / unit
    assert error.max() > _oracle.ACCEPTED * torch.finfo(dtype).eps


@over("name", ["gelu", "mish", "hard_sigmoid", "erf", "erfc"])
def test_second_gradient_beside_a_native_node(name):
    """torch's own is NaN where the square of x overflows, or not implemented."""
    x = torch.tensor([-1e30, -2.0, 0.5, 1e30], requires_grad=True)
    y = ax.get(name)(x)
    assert "EagerNode" not in y.grad_fn.name()
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (plain,) = torch.autograd.grad(ax.get(name)(x).sum(), x)
    torch.testing.assert_close(first, plain)
    (second,) = torch.autograd.grad(first.sum(), x)
    h = 1e-6
    near = x.detach().double()
    derivative = ax.get(name).derivative
    torch.testing.assert_close(
        second.double(),
        (derivative(near + h) - derivative(near - h)) / (2 * h),
        rtol=1e-5,
        atol=1e-6,
    )


# gradients


def _points(function):
    return torch.tensor(points_with_kinks(function))


@over(("function", "given"), variants_in_sweep(DIFFERENTIABLE_CASES))
def test_gradient_is_the_written_derivative(function, given):
    x = _points(function)
    written = function.derivative(x, **given)
    for form in (function, accurate(function)):
        _assert_close(_gradient(form, x, given), written)


def _points_along(axis, function):
    return _points(function) if axis is None else _points(function)[None]


def _gradient_of_the_sum(form, given):
    return torch.func.grad(lambda x: form(x, **given).sum())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, for jvp
@over(("function", "given"), variants_in_sweep(DIFFERENTIABLE_CASES))
def test_gradient_under_transforms_is_the_written_derivative(function, given):
    axis = given.get("axis")
    x = _points_along(axis, function)
    written = function.derivative(x, **given)
    for form in (function, accurate(function)):
        call = functools.partial(form, **given)
        _assert_close(_gradient_of_the_sum(form, given)(x), written)
        _assert_close(torch.func.jvp(call, (x,), (torch.ones_like(x),))[1], written)
        if axis is None:
            _assert_close(torch.func.vmap(torch.func.grad(call))(x), written)


@pytest.mark.sweep
@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_compiled_gradient_is_the_written_derivative(function, given):
    x = _points_along(given.get("axis"), function)
    written = function.derivative(x, **given)
    for form in (function, accurate(function)):
        gradient = _gradient_of_the_sum(form, given)
        compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
        _assert_close(compiled(x), written)


@over(
    ("function", "given"),
    variants_in_sweep([case for case in DIFFERENTIABLE_CASES if case[0] in SMOOTH]),
)
def test_second_derivative_of_smooth_functions(function, given):
    for at in (0.0, -0.0, 1.5, -1.5):
        with noting(at):
            _assert_second_derivative(function, given, at)


def _assert_second_derivative(function, given, at):
    at = map_into_domain(function.definition, np.array(at)).item()
    h = 1e-3
    around = torch.tensor([at - 2 * h, at - h, at + h, at + 2 * h], dtype=torch.float64)
    d = function.derivative(around, **given)
    numeric = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * h)
    x = torch.tensor(at, dtype=torch.float64)
    for form in (function, accurate(function)):
        gradient = torch.func.grad(functools.partial(form, **given))
        _assert_close(torch.func.grad(gradient)(x), numeric, 1e-9)
        y = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(form(y, **given), y, create_graph=True)
        second = torch.zeros_like(x)  # the gradient of the identity is a constant
        if first.requires_grad:
            (second,) = torch.autograd.grad(first, y)
        _assert_close(second, numeric, 1e-9)


@over(("function", "name"), ARRAY_PARAMETERS)
def test_gradient_of_array_parameters(function, name):
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    given = required_parameters(function)
    default = {**function.definition.defaults, **given}[name]
    # where a default is None, a value within reach of x
    middle = 0.5 if default is None else float(default)
    for shape in [(), (4,), (3, 1), (3, 4)]:
        noise = torch.rand(shape, dtype=torch.float64)
        parameter = (middle + 0.1 * noise).requires_grad_()
        for form in (function, accurate(function)):

            def call(x, parameter, form=form):
                return form(x, **{**given, name: parameter})

            assert torch.autograd.gradcheck(call, (x, parameter))


@over(("function", "name"), ARRAY_PARAMETERS)
def test_gradient_of_a_parameter_of_a_module(function, name):
    x = torch.randn(3, 4, dtype=torch.float64)
    given = required_parameters(function)
    default = {**function.definition.defaults, **given}[name]
    parameter = torch.nn.Parameter(torch.full((4,), 0.5 if default is None else float(default)))
    y = function(x, **{**given, name: parameter})
    (gradient,) = torch.autograd.grad(y.sum(), parameter)
    assert (gradient.dtype, gradient.shape) == (torch.float32, (4,))


# masks

MASK = torch.tensor(FINITE_MASK)


@over("function", [f for f in MASKED if output_axis(f) == "kept"])
def test_mask_hides_nonfinite_elements(function):
    for dtype in DTYPES:
        with noting(dtype):
            _assert_mask_hides_nonfinite_elements(function, dtype)


def _assert_mask_hides_nonfinite_elements(function, dtype):
    given = last_axis_parameters(function)
    alone = accurate(function)(torch.tensor([1.0, 2.0, 4.0], dtype=dtype), **given)
    for form in (function, accurate(function)):
        x = torch.tensor(NONFINITE_ROWS, dtype=dtype, requires_grad=True)
        y = form(x, where=MASK, **given)
        assert y.dtype == dtype
        torch.testing.assert_close(y[0][MASK[0]], alone)
        assert (y[~MASK] == empty_slice_value(function)).all()
        assert not y[MASK].isnan().any()
        masked = torch.where(MASK, y, torch.zeros_like(y))
        (gradient,) = torch.autograd.grad((masked * torch.arange(4).to(dtype)).sum(), x)
        assert (gradient[~MASK] == 0).all()
        assert gradient.isfinite().all()


@over("function", [f for f in MASKED if output_axis(f) == "resized"])
def test_mask_hides_nonfinite_elements_of_a_reduction(function):
    for dtype in DTYPES:
        with noting(dtype):
            _assert_mask_hides_nonfinite_elements_of_a_reduction(function, dtype)


def _assert_mask_hides_nonfinite_elements_of_a_reduction(function, dtype):
    given = last_axis_parameters(function)
    alone = accurate(function)(torch.tensor([1.0, 2.0, 4.0], dtype=dtype), **given)
    for form in (function, accurate(function)):
        x = torch.tensor(NONFINITE_ROWS, dtype=dtype, requires_grad=True)
        y = form(x, where=MASK, **given)
        assert y.dtype == dtype
        torch.testing.assert_close(y[0], alone)
        assert (y[2:4] == empty_slice_value(function)).all()
        (gradient,) = torch.autograd.grad((y[[0, 1, 4]] * torch.arange(3).to(dtype)).sum(), x)
        assert (gradient[~MASK] == 0).all()
        assert gradient.isfinite().all()


@over("function", [f for f in MASKED if empty_slice_value(f) == 0])
def test_gradient_of_masked_elements_is_finite(function):
    given = {**last_axis_parameters(function), "where": MASK}
    for form, dtype in itertools.product((function, accurate(function)), DTYPES):
        with noting((form, dtype)):
            gradient = _gradient(form, torch.tensor(NONFINITE_ROWS, dtype=dtype), given)
            assert gradient.isfinite().all()
            assert (gradient[2:4] == 0).all()


@over("function", MASKED)
def test_nan_passes_where_no_mask_hides_it(function):
    x = torch.tensor([[1.0, math.nan, 3.0], [1.0, 2.0, 3.0]])
    for mask in (None, torch.ones(2, 3, dtype=torch.bool)):
        for form in (function, accurate(function)):
            y = form(x, where=mask, **last_axis_parameters(function))
            assert y[0].isnan().all()
            assert y[1].isfinite().all()


@over("function", [f for f in MASKED if output_axis(f) == "kept"])
def test_gradient_of_a_fully_masked_attention_row(function):
    """It is finite where a query may attend to nothing."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 5, 8, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 5, 5) > 0.5
    mask[:, 2] = False
    weights = function(q @ k.mT, where=mask, **required_parameters(function))
    (weights.exp() @ v if function is ax.log_softmax else weights @ v).square().sum().backward()
    for leaf in (q, k, v):
        assert leaf.grad.isfinite().all()


# the compiler


@over(("function", "name"), one_of_each_family(UNBOUNDED_PARAMETERS))
def test_compile_sweep_of_a_number_takes_two_graphs(function, name):
    counter = CountingCompiler()
    given = parameters_with(function, name, 2.3)
    x = _row(function)

    @torch.compile(fullgraph=True, backend=counter)
    def call(x, value):
        return function(x, **{**given, name: value})

    for value in (0.3, 0.7, 1.1, 1.9, 2.3):
        torch.testing.assert_close(call(x, value), function(x, **{**given, name: value}))
    assert counter.graphs <= 2


@over(("function", "name"), one_of_each_family(UNBOUNDED_PARAMETERS))
def test_compile_sweep_of_an_array_takes_one_graph(function, name):
    counter = CountingCompiler()
    given = parameters_with(function, name, 2.3)
    x = _row(function)
    function(
        x, **given
    )  # the first call fills a table, and a graph of before would be compiled anew

    @torch.compile(fullgraph=True, backend=counter)
    def call(x, value):
        return function(x, **{**given, name: value})

    for value in (0.3, 0.7, 1.1, 1.9, 2.3):
        value = torch.tensor(value)
        torch.testing.assert_close(call(x, value), function(x, **{**given, name: value}))
    assert counter.graphs == 1


@over("function", in_sweep(FUNCTIONS))
def test_compile_takes_one_graph_for_any_size(function):
    counter = CountingCompiler()
    given = rowwise_parameters(function)
    call = torch.compile(
        functools.partial(function, **given), fullgraph=True, dynamic=True, backend=counter
    )
    for size in (2, 3, 5, 8, 13):
        x = map_into_domain(function.definition, np.linspace(-3, 3, size * 4)).reshape(size, 4)
        x = torch.tensor(x)
        expected = function(x, **given)  # the first call fills a table
        torch.testing.assert_close(call(x), expected)
    assert counter.graphs == 1


FIRST_CALL = """
import inspect, torch, activations_xp as ax
function = ax.get({name!r})
call = torch.compile(lambda x: function(x, **{given!r}), fullgraph=True, backend="aot_eager")
x = torch.linspace(-3, 3, 8).reshape(2, 4)
for _ in range(3):
    y = call(x)
assert not any(inspect.getclosurevars(function).nonlocals["_tables"]), "a table grew"
assert torch.allclose(y, function(x, **{given!r}), atol=1e-6)
"""


@over(
    "function",
    in_sweep(
        [
            next(f for f in FUNCTIONS if f.__name__ not in NATIVE),
            next(f for f in FUNCTIONS if f.__name__ in NATIVE),
        ]
    ),
)
def test_first_call_of_a_process_inside_the_compiler(function):
    code = FIRST_CALL.format(name=function.__name__, given=required_parameters(function))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@over("function", one_of_each_family(FUNCTIONS))
def test_compiling_fills_no_table_and_is_done_once(function):
    counter = CountingCompiler()
    given = required_parameters(function)
    x = _row(function)
    for table in kernel_tables(function):
        table.clear()
    call = torch.compile(lambda x: function(x, **given), fullgraph=True, backend=counter)
    for _ in range(3):
        call(x)
    assert not any(kernel_tables(function))
    expected = function(x, **given)  # an eager call in between
    torch.testing.assert_close(call(x), expected)
    assert counter.graphs <= 2


@over("function", in_sweep(FUNCTIONS))  # each takes the compiler three seconds to write out
def test_bad_x_raises_inside_the_compiler(function):
    x, given = torch.ones(2, 4).to(torch.float8_e4m3fn), required_parameters(function)
    with pytest.raises(Exception, match=f"{function.__name__}: x "):
        torch.compile(lambda: function(x, **given), backend="eager", fullgraph=True)()
    # where it may, the compiler leaves the error to Python
    with pytest.raises(TypeError, match=f"^{function.__name__}: x must be"):
        torch.compile(lambda: function(x, **given), backend="eager")()


@over("function", in_sweep([f for f in FUNCTIONS if f.definition.parameters]))
def test_bad_parameter_raises_inside_the_compiler(function):
    name = next(iter(function.definition.parameters))
    call = functools.partial(
        function, torch.ones(2, 4), **{**required_parameters(function), name: "fast"}
    )
    with pytest.raises(Exception, match=f"{function.__name__}: {name} "):
        torch.compile(lambda: call(), backend="eager", fullgraph=True)()


# kinds of tensor


class Subclass(torch.Tensor):
    """The shortest one."""


@over("function", FUNCTIONS)
def test_subclass_keeps_its_type(function):
    given = required_parameters(function)
    values = _row(function)
    x = values.as_subclass(Subclass)
    for form in (function, accurate(function)):
        y = form(x, **given)
        assert type(y) is Subclass
        # tensors of the CPU are computed as NumPy arrays, whose last digits may be others
        torch.testing.assert_close(y.as_subclass(torch.Tensor), form(values, **given))
    leaf = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf.as_subclass(Subclass), **given).sum(), leaf)
    assert gradient.isfinite().all()


class Partial(torch.Tensor):
    """A tensor around another one, which lacks the operators in `lacks`."""

    lacks: frozenset = frozenset()
    asked: tuple = ()

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, requires_grad=inner.requires_grad
        )

    def __init__(self, inner):
        self.inner = inner.detach()

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        cls.asked.append(name)
        if name in cls.lacks:
            raise NotImplementedError(name)
        args, kwargs = tree_map_only(cls, lambda t: t.inner, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, cls, operator(*args, **kwargs))


@over("lacks", ["nothing", "gelu", "gelu_backward"])
def test_subclass_is_asked_once_for_torchs_kernel(lacks):
    Tensor = type("Tensor", (Partial,), {"lacks": frozenset({lacks})})  # noqa: N806
    x = torch.linspace(-3, 3, 8, dtype=torch.float64)
    derivative = ax.gelu.derivative(x)
    for i in range(3):
        leaf = Tensor(x.clone().requires_grad_())
        Tensor.asked = []
        y = ax.gelu(leaf)
        assert type(y) is Tensor
        torch.testing.assert_close(y.inner, ax.gelu(x))
        has_asked = "gelu" in Tensor.asked
        y.backward(Tensor(torch.ones_like(x)))
        torch.testing.assert_close(leaf.grad.inner, derivative)
        if lacks == "nothing" and i:
            assert {*Tensor.asked} <= {"gelu", "gelu_backward", "detach"}
        assert has_asked == (lacks == "nothing" or i == 0)


@over("kind", ["tensor", "fake", "proxy", "fake proxy"])
@over("name", NATIVE)
def test_operators_that_are_recorded_are_torchs_own(name, kind):
    """Whatever records them sees one for each of the kernel in the native table."""
    function = ax.get(name)
    definition = function.definition
    x = _row(function).float().repeat(1, 200)
    given = required_parameters(function)
    values = tuple({**definition.defaults, **given}.values())
    kernel = NATIVE[name].bind(*definition.check(x, values, BACKEND))
    kernel = getattr(kernel, "kernel", kernel)

    def operators(f):
        if "proxy" in kind:
            mode = "symbolic" if "fake" in kind else "real"
            graph = make_fx(lambda x: f(x), tracing_mode=mode)(x).graph
            return [node.target for node in graph.nodes if node.op == "call_function"]
        fake = FakeTensorMode().from_tensor(x) if kind == "fake" else x
        with Recorder() as recorder:
            f(fake)
        return recorder.operations

    assert operators(functools.partial(function, **given)) == operators(kernel)


@over("function", FUNCTIONS)
def test_integers_become_the_default_dtype(function):
    given = required_parameters(function)
    x = torch.arange(8).reshape(2, 4)
    is_kept = preserves_integers(function) and not given
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            for form in (function, accurate(function)):
                assert form(x, **given).dtype == (x.dtype if is_kept else dtype)
    finally:
        torch.set_default_dtype(before)


@pytest.fixture
def default_dtype():
    """Return the function that sets the default dtype, which is restored."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@over("dtype", [torch.bfloat16, torch.float16])
@over("function", FUNCTIONS)
def test_integers_are_computed_wider_than_a_default_of_16_bits(function, dtype, default_dtype):
    """bfloat16 holds the integers to 256, and float16 those to 2048."""
    given = required_parameters(function)
    parts = [function, accurate(function)]
    parts += [function.derivative] if hasattr(function, "derivative") else []
    for x in (torch.tensor([[-3, 0, 257, 300], [1, 2049, 4097, 33_333]]), torch.arange(250, 258)):
        for part in parts:
            default_dtype(torch.float64)
            exact = part(x, **given)
            default_dtype(dtype)
            y = part(x, **given)
            assert y.dtype == (x.dtype if exact.dtype == x.dtype else dtype)
            tiny = torch.finfo(dtype).smallest_normal
            rtol = 2 * torch.finfo(dtype).eps
            torch.testing.assert_close(y, exact.to(y.dtype), rtol=rtol, atol=tiny, equal_nan=True)


def test_layer_norm_of_integers_is_finite_in_float16(default_dtype):
    default_dtype(torch.float16)
    y = ax.layer_norm(torch.arange(4096))
    assert y[0].item() == pytest.approx(-math.sqrt(3), rel=1e-3)
    (gradient,) = ax.layer_norm.vjp(torch.ones(4096), torch.arange(4096)).values()
    assert gradient.isfinite().all()


@over(("function", "given"), variants_in_sweep(DIFFERENTIABLE_CASES))
def test_channels_last_layout_is_kept(function, given):
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for form in (function, accurate(function), function.derivative):
        assert form(x, **given).is_contiguous(memory_format=torch.channels_last)


# torch rounds prelu to the dtype of autocast
@over("function", [f for f in FUNCTIONS if f is not ax.prelu])
def test_autocast_keeps_the_dtype(function):
    given = required_parameters(function)
    for form, dtype in itertools.product((function, accurate(function)), DTYPES):
        with noting((form, dtype)):
            x = _row(function).to(dtype)
            leaf = x.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = form(leaf, **given)
            assert y.dtype == dtype
            y.sum().backward()
            assert leaf.grad.dtype == dtype
            torch.testing.assert_close(y, form(x, **given))


@over("function", FUNCTIONS)
def test_input_is_neither_written_nor_returned_as_a_view(function):
    given = required_parameters(function)
    x = _row(function)
    before = x.clone()
    y = function(x, **given)
    assert torch.equal(x, before)
    assert function.definition.formula == "x" or y.data_ptr() != x.data_ptr()


FIRST_CALL = """
import torch, activations_xp as ax
a = torch.randn(1024, 1024)
a @ a
x = torch.linspace(-8, 8, 2_000_000)
for f in (ax.exponential, ax.erfc):
    exact = f(x.double())
    error = ((f(x).double() - exact).abs() / exact.abs()).max() / 2**-23
    assert error < 4, (f.__name__, error)
"""


@pytest.mark.sweep
@over("process", range(20))
def test_first_call_after_a_product_of_matrices(process):
    """MKL may not be ready on one of several threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", FIRST_CALL], check=True, env=environment)


# tensors whose elements are not what they mean


def _quiet(make, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are announced as prototypes
        return make(*args, **kwargs)


def _others():
    x = torch.ones(3, 4)
    return {
        "CausalBias": causal_lower_right(3, 4),
        "MaskedTensor": _quiet(masked_tensor, x, x > 0),
        "UninitializedParameter": torch.nn.UninitializedParameter(),
        "UninitializedBuffer": torch.nn.UninitializedBuffer(),
    }


HINTS = {
    "CausalBias": "pass is_causal='lower_right' to attention",
    "MaskedTensor": "pass {}.to_tensor(value)",
    "UninitializedParameter": "call {}.materialize(shape) first",
    "UninitializedBuffer": "call {}.materialize(shape) first",
}


@over("kind", HINTS)
def test_tensors_of_other_elements_are_refused_by_name(kind):
    value, hint = _others()[kind], HINTS[kind]
    x = torch.ones(3, 4)
    for function in FUNCTIONS:
        with pytest.raises(TypeError) as caught:
            function(value, **required_parameters(function))
        message = str(caught.value)
        assert message.startswith(f"{function.__name__}: ")
        assert kind in message
        assert message.endswith(hint.format(function.definition.first))
    for call, name in [
        (lambda: ax.prelu(x, value), "prelu: weight"),
        (lambda: ax.softmax(x, where=value), "softmax: where"),
        (lambda: ax.scaled_dot_product_attention(x, x, x, bias=value), ".*: bias"),
        (lambda: ax.scaled_dot_product_attention(x, x, x, mask=value), ".*: mask"),
    ]:
        with pytest.raises(TypeError, match=f"^{name} must be .*{kind}"):
            call()


def _sparse(x):
    """Return x in the layouts that are not dense."""
    yield "sparse_coo", x.to_sparse()
    yield "sparse_csr", _quiet(x.to_sparse_csr)
    yield "nested", _quiet(torch.nested.nested_tensor, [x, x])
    yield "_mkldnn", x.to_mkldnn()


@over("function", FUNCTIONS)
def test_layout_is_computed_or_refused_by_name(function):
    """torch has few kernels for tensors that are not dense; those that it has are right."""
    given, first = required_parameters(function), function.definition.first
    dense = _row(function).float()
    for layout, x in _sparse(dense):
        error = ""
        try:
            y = function(x, **given)
        except TypeError as caught:
            error = str(caught)
        if error:
            wanted = f"{first} must be a dense tensor, got one of layout {layout}, "
            assert error.startswith(f"{function.__name__}: {wanted}")
            continue
        y = y.unbind()[0] if y.is_nested else y.to_dense()
        torch.testing.assert_close(y, function(dense, **given))
    for layout, w in _sparse(dense):
        with pytest.raises(TypeError, match=f"^prelu: weight must be a dense tensor.* {layout}"):
            ax.prelu(dense, w)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@over("function", FUNCTIONS)
def test_quantized_tensor_is_refused_by_name(function):
    x = torch.quantize_per_tensor(torch.randn(2, 4), 0.1, 10, torch.quint8)
    message = f"^{function.__name__}: x must not be quantized, got torch.quint8; pass x.dequantize"
    with pytest.raises(TypeError, match=message):
        function(x, **required_parameters(function))


def test_noise_of_nested_tensors_is_drawn_by_torch_alone():
    x = torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(2, 4)], layout=torch.jagged)
    torch.manual_seed(0)
    y = ax.dropout(x, training=True)
    torch.manual_seed(0)
    assert torch.equal(y.values(), torch.dropout(x, 0.5, train=True).values())
    with pytest.raises(ValueError, match=r"^gumbel_softmax: noise is drawn for dense tensors"):
        ax.gumbel_softmax(x)


# plans, and NumPy's plans for tensors of the CPU


def test_arrays_among_the_parameters_are_planned_by_dtype_and_shape():
    x = torch.randn(3, 4)
    weights = [torch.full((4,), float(i), requires_grad=i > 1) for i in range(4)]
    ax.prelu(x, weights[0])
    before = len(cached_kernels(ax.prelu, torch.Tensor))
    for i, weight in enumerate(weights):
        assert torch.equal(ax.prelu(x, weight), torch.where(x > 0, x, i * x))
    assert len(cached_kernels(ax.prelu, torch.Tensor)) == before
    with pytest.raises(ValueError, match=r"^prelu: weight of shape \(5,\)"):
        ax.prelu(x, torch.ones(5))


def test_tensor_that_stands_for_a_number_is_read_anew():
    x, axis = torch.randn(3, 4), torch.tensor(0)
    assert torch.equal(ax.layer_norm(x, axis), ax.layer_norm(x, 0))
    axis.fill_(1)
    assert torch.equal(ax.layer_norm(x, axis), ax.layer_norm(x, 1))


class Recorder(TorchDispatchMode):
    """The operations that torch runs."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.operations.append(operation)
        return operation(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@over("function", [ax.squareplus, ax.layer_norm])
def test_what_records_operations_sees_those_of_torch(function):
    x, other = torch.randn(2, 3, 4)
    traced = torch.jit.trace(lambda x: function(x), x)
    torch.testing.assert_close(traced(other), function(other))
    with Recorder() as recorder:
        torch.testing.assert_close(function(x), accurate(function)(x))
    assert len(recorder.operations) > 3


@over("dtype", [torch.float32, torch.float64])
@over("function", [f for f in FUNCTIONS if f.__name__ not in NATIVE and f.definition.derivative])
def test_tensors_of_the_cpu_are_computed_as_numpy_arrays(function, dtype):
    given = required_parameters(function)
    x = _row(function).to(dtype).repeat(3, 1)[::2].requires_grad_()
    y = function(x, **given)
    assert np.array_equal(y.detach().numpy(), function(x.detach().numpy(), **given))
    g = torch.full_like(x, 0.5)
    (gradient,) = torch.autograd.grad(y, x, g)
    expected = function.vjp(g.numpy(), x.detach().numpy(), **given)["x"]
    np.testing.assert_array_equal(gradient.numpy(), expected)


@over("function", [f for f in FUNCTIONS if "gate" in f.definition.parameters])
def test_gradient_of_halves_that_machine_code_computes(function):
    """Where Numba is installed, it computes this many elements, and autograd asks for x alone."""
    x = torch.linspace(-3, 3, 80_000, dtype=torch.float64).reshape(-1, 16).requires_grad_()
    y = function(x)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    expected = function.vjp(np.ones(y.shape), x.detach().numpy())["x"]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


@over("name", ["gelu", "silu", "mish", "softplus", "log_softmax", "leaky_relu", "log_sigmoid"])
def test_compiled_graph_has_torchs_own_operator(name):
    graphs = []

    def compiler(module, _):
        graphs.append(module.graph)
        return module

    torch.compile(lambda x: ax.get(name)(x), fullgraph=True, backend=compiler)(torch.randn(2, 4))
    calls = [node for graph in graphs for node in graph.nodes if node.op.startswith("call")]
    assert len(calls) == 1
