"""PyTorch: which kernels are taken, gradients of every order, compiling, autocast, subclasses."""

from __future__ import annotations

import functools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from oracle import (
    ARRAY_PARAMETERS,
    DIFFERENTIABLE_CASES,
    FUNCTIONS,
    MASKED,
    SMOOTH,
    CountingCompiler,
    edge_points,
    exact_values,
    in_sweep,
    map_into_domain,
    over,
    parameters_with,
    required_parameters,
)
from tools.memory import saved_bytes as kept

import activations_xp as ax
from activations_xp import _dispatch, _oracle
from activations_xp._parameters import check
from activations_xp.backends import torch as backend

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
ACCURATE_GRADIENT = 16.0
"""A kernel whose gradient is further from the written derivative, in eps, is not taken."""


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def _row(function):
    """Some numbers at which the function is a real number."""
    x = map_into_domain(function.definition, np.linspace(-3, 3, 8))
    return torch.tensor(x, dtype=torch.float32).reshape(2, 4)


# the table of kernels


@functools.cache
def _exact(name, index, dtype):
    """Finite inputs of a dtype, and the true values there."""
    definition = ax.get(name).definition
    far = np.logspace(-9, 4, 53)
    x = map_into_domain(definition, np.concatenate([np.linspace(-20, 20, 161), far, -far]))
    x = torch.tensor(x).to(dtype).double()
    variant = definition.variants[index]
    parameters = {**definition.defaults, **variant.parameters}
    if definition.axis is None:
        return x.numpy(), exact_values(variant.formula, x.numpy(), parameters)
    rows = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))][:240]
    rows = rows.reshape(-1, 12).numpy()
    exact = [exact_values(variant.formula, row, parameters) for row in rows]
    return rows, np.stack(exact)


def _kernel(definition, parameters, x):
    """The kernel, and to which order its gradients are taken too."""
    values = check(definition, x, tuple({**definition.defaults, **parameters}.values()))
    kernel = backend.NATIVE[definition.name].bind(*values)
    if isinstance(kernel, backend.Undifferentiated):
        return kernel.kernel, 0 if kernel.pull is None else 1
    return kernel, 2


def _numpy(y):
    if y.dtype is torch.bfloat16:
        import ml_dtypes

        return y.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return y.numpy()


def _gradient_error(function, kernel, x, parameters):
    far = [torch.finfo(x.dtype).max ** power for power in (0.2, 0.33, 0.49, 0.6, 0.9)]
    far = map_into_domain(function.definition, np.array([*far, *(-f for f in far)]))
    x = torch.cat([x, torch.tensor(far).to(x.dtype)])
    written = function.derivative(x, **parameters).double()
    slope = _slope(kernel, x, {}).double()
    error = (slope - written).abs().where(slope != written, 0.0)  # both may be infinite
    error = error / torch.finfo(x.dtype).eps
    return (error / written.abs().clamp(min=1)).nan_to_num(nan=math.inf).max().item()


def _has_a_second_gradient(function, kernel, parameters, dtype):
    """Whether torch's own of the kernel is free of NaN, also at the edges."""
    x = edge_points(function, parameters, dtype)
    leaf = torch.tensor(x.astype("f8")).to(getattr(torch, dtype)).requires_grad_()
    one = torch.ones_like(leaf)
    (slope,) = torch.autograd.grad(kernel(leaf), leaf, one, create_graph=True)
    if not slope.requires_grad:
        return True
    try:
        (curve,) = torch.autograd.grad(slope, leaf, one, materialize_grads=True)
    except RuntimeError:  # that it is not implemented
        return False
    return not curve.isnan().any()


@over("dtype", DTYPES)
@over("name", list(backend.NATIVE))
def test_a_kernel_is_taken_if_and_only_if_it_is_accurate(name, dtype):
    function = ax.get(name)
    assert function.__name__ == name
    errors = []
    for index, variant in enumerate(function.definition.variants):
        values, exact = _exact(name, index, dtype)
        x = torch.tensor(values).to(dtype)
        kernel, order = _kernel(function.definition, variant.parameters, x)
        if kernel is not None:
            y = kernel(x)
            errors.append(_oracle.difference(_numpy(y), exact, values).max() / _oracle.ACCEPTED)
            if function.definition.derivative is not None:
                own = functools.partial(function.native, **variant.parameters) if order else kernel
                error = _gradient_error(function, own, x, variant.parameters)
                if order:
                    errors.append(error / ACCURATE_GRADIENT)
                elif dtype is torch.float32:  # another may be wide enough for it
                    assert error > ACCURATE_GRADIENT
                if order and dtype not in backend.NATIVE[name].amiss:
                    given = dict(variant.parameters)
                    good = _has_a_second_gradient(function, kernel, given, str(dtype)[6:])
                    assert good or order < 2
                    # in some dtypes it may be good by chance, or keep more than x
                    thrifty = kept(kernel, x.clone().requires_grad_()) <= x.nbytes
                    assert not (good and thrifty) or order == 2 or dtype is not torch.float32
            assert torch.equal(function.native(x, **variant.parameters), y)
            if dtype not in backend.NATIVE[name].amiss:
                assert torch.equal(function(x, **variant.parameters), y)
            else:
                ours = function.portable(x, **variant.parameters)
                assert torch.equal(function(x, **variant.parameters), ours)
    assert errors
    assert (max(errors) <= 1) == (dtype not in backend.NATIVE[name].amiss), errors


# gradients


def _points(function):
    kinks = function.definition.properties.kinks
    points = [0.0, -0.0, *kinks, *(-k for k in kinks), *np.linspace(-20, 20, 83)]
    return torch.tensor(map_into_domain(function.definition, np.array(points)))


def _slope(form, x, given):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(form(x, **given).sum(), x)[0]


def _close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_autograd_finds_the_written_derivative(function, given):
    x = _points(function)
    written = function.derivative(x, **given)
    for form in (function, function.portable):
        _close(_slope(form, x, given), written)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, for jvp
@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_transforms_find_the_written_derivative(function, given):
    x = _points(function)
    if given.get("axis") is not None:
        x = x[None]
    written = function.derivative(x, **given)
    for form in (function, function.portable):

        def total(x, form=form):
            return form(x, **given).sum()

        def along(x, form=form):
            return torch.func.jvp(lambda x: form(x, **given), (x,), (torch.ones_like(x),))[1]

        _close(torch.func.grad(total)(x), written)
        _close(along(x), written)
        compiled = torch.compile(torch.func.grad(total), fullgraph=True, backend="aot_eager")
        _close(compiled(x), written)
        if given.get("axis") is None:
            one_by_one = torch.func.vmap(torch.func.grad(lambda x, form=form: form(x, **given)))
            _close(one_by_one(x), written)


@pytest.mark.parametrize("at", [0.0, -0.0, 1.5, -1.5])
@over("function", SMOOTH)
def test_second_derivatives(function, at):
    at = map_into_domain(function.definition, np.array(at)).item()
    for variant in function.definition.variants:
        given = dict(variant.parameters)
        h = 1e-3
        around = torch.tensor([at - 2 * h, at - h, at + h, at + 2 * h], dtype=torch.float64)
        d = function.derivative(around, **given)
        numeric = (d[0] - 8 * d[1] + 8 * d[2] - d[3]) / (12 * h)
        x = torch.tensor(at, dtype=torch.float64)
        for form in (function, function.portable):
            slope = torch.func.grad(functools.partial(form, **given))
            _close(torch.func.grad(slope)(x), numeric, 1e-9)
            y = x.clone().requires_grad_()
            (first,) = torch.autograd.grad(form(y, **given), y, create_graph=True)
            if first.requires_grad:  # that of the identity is a constant
                _close(torch.autograd.grad(first, y)[0], numeric, 1e-9)


@over(("function", "name"), ARRAY_PARAMETERS)
def test_gradients_reach_array_parameters(function, name):
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    given = required_parameters(function)
    default = {**function.definition.defaults, **given}[name]
    # where a default is None, a value within reach of x
    middle = 0.5 if default is None else float(default)
    for shape in [(), (4,), (3, 1), (3, 4)]:
        noise = torch.rand(shape, dtype=torch.float64)
        parameter = (middle + 0.1 * noise).requires_grad_()
        for form in (function, function.portable):

            def call(x, parameter, form=form):
                return form(x, **{**given, name: parameter})

            assert torch.autograd.gradcheck(call, (x, parameter))
    parameter = torch.nn.Parameter(torch.full((4,), middle))
    y = function(x.detach(), **{**given, name: parameter})
    if y.requires_grad:  # a threshold only decides
        y.sum().backward()
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.shape == (4,)


# masks


@over("function", MASKED)
@over("dtype", DTYPES)
def test_masks_let_nothing_through(function, dtype):
    inf, nan = math.inf, math.nan
    x = torch.tensor(
        [[1, 2, 3, 4], [1, nan, 3, inf], [1, 2, -inf, nan], [nan, inf, -inf, 0], [5, nan, 5, 5]],
        dtype=dtype,
    )
    mask = torch.tensor(
        [[1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.bool
    )
    given = {**required_parameters(function), "axis": -1}
    alone = function.portable(torch.tensor([1.0, 2.0, 4.0], dtype=dtype), **given)
    nothing = function.portable(torch.zeros(1), where=torch.tensor([False]), **given).item()
    for form in (function, function.portable):
        leaf = x.clone().requires_grad_()
        y = form(leaf, where=mask, **given)
        assert y.dtype == dtype
        if function.definition.axis == "changed":
            torch.testing.assert_close(y[0], alone)
            assert (y[2:4] == nothing).all()
            (y[[0, 1, 4]] * torch.arange(3).to(dtype)).sum().backward()
        else:
            torch.testing.assert_close(y[0][mask[0]], alone)
            assert (y[~mask] == nothing).all()
            assert not y[mask].isnan().any()
            kept = torch.where(mask, y, torch.zeros_like(y))
            kept.mul(torch.arange(4).to(dtype)).sum().backward()
        assert (leaf.grad[~mask] == 0).all()
        assert leaf.grad.isfinite().all()
        if nothing == 0:
            leaf.grad = None
            form(leaf, where=mask, **given).sum().backward()
            assert leaf.grad.isfinite().all()
            assert (leaf.grad[2:4] == 0).all()


@over("function", MASKED)
def test_nan_where_it_is_allowed(function):
    x = torch.tensor([[1.0, math.nan, 3.0], [1.0, 2.0, 3.0]])
    for mask in (None, torch.ones(2, 3, dtype=torch.bool)):
        for form in (function, function.portable):
            y = form(x, where=mask, **{**required_parameters(function), "axis": -1})
            assert y[0].isnan().all()
            assert y[1].isfinite().all()


@over("function", [f for f in MASKED if f.definition.axis == "kept"])
def test_a_masked_attention_trains(function):
    """The gradient of everything is finite also where a query may attend to nothing."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 5, 8, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 5, 5) > 0.5
    mask[:, 2] = False
    weights = function(q @ k.mT, where=mask, **required_parameters(function))
    (weights.exp() @ v if function is ax.log_softmax else weights @ v).square().sum().backward()
    for leaf in (q, k, v):
        assert leaf.grad.isfinite().all()


# the compiler


@over(("function", "name"), ARRAY_PARAMETERS)
def test_a_sweep_of_a_parameter_costs_two_graphs(function, name):
    counter = CountingCompiler()
    given = parameters_with(function, name, 2.3)
    x = _row(function)

    @torch.compile(fullgraph=True, backend=counter)
    def call(x, value):
        return function(x, **{**given, name: value})

    for value in (0.3, 0.7, 1.1, 1.9, 2.3):
        torch.testing.assert_close(call(x, value), function(x, **{**given, name: value}))
    assert counter.graphs <= 2


@over(("function", "name"), ARRAY_PARAMETERS)
def test_a_sweep_of_an_array_parameter_costs_one_graph(function, name):
    counter = CountingCompiler()
    given = parameters_with(function, name, 2.3)
    x = _row(function)
    function(x, **given)  # the first call fills the table, at which a graph made before it looks

    @torch.compile(fullgraph=True, backend=counter)
    def call(x, value):
        return function(x, **{**given, name: value})

    for value in (0.3, 0.7, 1.1, 1.9, 2.3):
        value = torch.tensor(value)
        torch.testing.assert_close(call(x, value), function(x, **{**given, name: value}))
    assert counter.graphs == 1


FIRST_CALL = """
import torch, activations_xp as ax
from activations_xp import _dispatch
function = ax.get({name!r})
call = torch.compile(lambda x: function(x, **{given!r}), fullgraph=True, backend="aot_eager")
x = torch.linspace(-3, 3, 8).reshape(2, 4)
for _ in range(3):
    y = call(x)
assert not any(_dispatch._tables), "a table grew"
assert torch.allclose(y, function.portable(x, **{given!r}), atol=1e-6)
"""


def test_the_first_call_of_all_may_be_inside_the_compiler():
    one = next(f for f in FUNCTIONS if f.__name__ in backend.NATIVE)
    other = next(f for f in FUNCTIONS if f.__name__ not in backend.NATIVE)
    for function in (one, other):
        code = FIRST_CALL.format(name=function.__name__, given=required_parameters(function))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@over("function", FUNCTIONS)
def test_compiling_grows_no_table_and_does_not_recompile(function):
    counter = CountingCompiler()
    given = required_parameters(function)
    x = _row(function)
    with ax.implementation("auto"):  # empties the tables
        call = torch.compile(lambda x: function(x, **given), fullgraph=True, backend=counter)
        for _ in range(3):
            call(x)
        assert not any(_dispatch._tables)
        expected = function(x, **given)  # an eager call in between
        torch.testing.assert_close(call(x), expected)
        assert counter.graphs <= 2


@over("function", in_sweep(FUNCTIONS))  # each takes the compiler three seconds to write out
def test_errors_inside_the_compiler(function):
    x = torch.ones(2, 4)
    given = required_parameters(function)
    bad = [(x, {name: "fast"}) for name in list(function.definition.parameters)[:1]]
    for wrong, values in [*bad, (x * 1j, {})]:
        name = next(iter(values), "x")
        call = functools.partial(function, wrong, **{**given, **values})
        with pytest.raises(Exception, match=f"{function.__name__}: {name} "):
            torch.compile(lambda call=call: call(), backend="eager", fullgraph=True)()
    # where it may, the compiler leaves the error to Python
    with pytest.raises(TypeError, match=f"^{function.__name__}: x must be"):
        torch.compile(lambda: function(x * 1j, **given), backend="eager")()


# kinds of tensor


class T(torch.Tensor):
    """The shortest subclass."""


@over("function", FUNCTIONS)
def test_a_subclass_keeps_its_type_and_takes_the_portable_path(function):
    given = required_parameters(function)
    values = _row(function)
    x = values.as_subclass(T)
    for form in (function, function.native, function.portable):
        y = form(x, **given)
        assert type(y) is T
        ours = function.portable(values, **given)
        assert torch.equal(y.as_subclass(torch.Tensor), ours)
    leaf = values.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(leaf.as_subclass(T), **given).sum(), leaf)
    assert slope.isfinite().all()


@over("function", FUNCTIONS)
def test_integers_follow_the_default_dtype(function):
    given = required_parameters(function)
    x = torch.arange(8).reshape(2, 4)
    kept = function.definition.closed_over_integers and not given
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            for form in (function, function.native, function.portable):
                assert form(x, **given).dtype == (x.dtype if kept else dtype)
    finally:
        torch.set_default_dtype(before)


@over(("function", "given"), DIFFERENTIABLE_CASES)
def test_channels_last_is_kept(function, given):
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for form in (function, function.native, function.portable, function.derivative):
        assert form(x, **given).is_contiguous(memory_format=torch.channels_last)


@over("dtype", DTYPES)
@over("function", FUNCTIONS)
def test_autocast_does_not_change_the_dtype(function, dtype):
    given = required_parameters(function)
    x = _row(function).to(dtype)
    for form in (function, function.native, function.portable):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = form(leaf, **given)
        assert y.dtype == dtype
        y.sum().backward()
        assert leaf.grad.dtype == dtype
        torch.testing.assert_close(y, form(x, **given))


@over("function", FUNCTIONS)
def test_nothing_is_written_to_the_input(function):
    """In-place kernels and views of the input would."""
    given = required_parameters(function)
    x = _row(function)
    before = x.clone()
    y = function(x, **given)
    assert torch.equal(x, before)
    assert function.definition.formula == "x" or y.data_ptr() != x.data_ptr()
