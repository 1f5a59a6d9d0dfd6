"""PyTorch: every function has the gradient of its written derivative under every transform."""

from __future__ import annotations

import functools
import io
import warnings

import pytest
import torch
import torch.distributed
from oracle import (
    DIFFERENTIABLE_CASES,
    EDGE_DTYPES,
    FUNCTIONS,
    CountingCompiler,
    accurate,
    assert_finite,
    edge_points,
    in_sweep,
    kernel_tables,
    noting,
    one_of_each_family,
    output_axis,
    over,
    rows_away_from_kinks,
    rowwise_parameters,
    variants_in_sweep,
    vjp,
)
from tools.memory import saved_bytes
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

import activations_xp as ax

WITHOUT_AXIS = [
    f for f in FUNCTIONS if output_axis(f) is None and "axis" not in rowwise_parameters(f)
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def _points(function):
    return torch.tensor(rows_away_from_kinks(function))


def _call(function):
    return functools.partial(function, **rowwise_parameters(function))


def _cotangent(y):
    return torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)


# each takes f, x and the cotangent g of f(x), and returns the gradient of x


def _backward(f, x, g):
    x = x.clone().requires_grad_()
    f(x).backward(g)
    return x.grad


def _backward_of_a_parameter(f, x, g):
    parameter = torch.nn.Parameter(x.clone())
    f(parameter).backward(g)
    return parameter.grad


def _func_grad(f, x, g):
    return torch.func.grad(lambda x: (f(x) * g).sum())(x)


def _func_vjp(f, x, g):
    return torch.func.vjp(f, x)[1](g)[0]


def _vmap(f, x, g, at=0):
    xs, gs = torch.stack([x, x], dim=at), torch.stack([g, -g], dim=at)
    gradients = torch.func.vmap(lambda x, g: _func_vjp(f, x, g), in_dims=at, out_dims=at)(xs, gs)
    first, second = gradients.unbind(at)
    torch.testing.assert_close(first, -second)
    return first


def _vmap_last(f, x, g):
    return _vmap(f, x, g, -1)


def _jacrev(f, x, g):
    return torch.tensordot(g, torch.func.jacrev(f)(x), g.ndim)


def _jacfwd(f, x, g):
    return torch.tensordot(g, torch.func.jacfwd(f)(x), g.ndim)


def _forward_mode(f, x, g):
    """Push the unit vectors forward, one after the other."""
    units = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    with torch.autograd.forward_ad.dual_level():
        gradients = []
        for unit in units:
            y = f(torch.autograd.forward_ad.make_dual(x, unit))
            tangent = torch.autograd.forward_ad.unpack_dual(y).tangent
            gradients.append(0 * g.sum() if tangent is None else (tangent * g).sum())
    return torch.stack(gradients).reshape(x.shape)


def _compile_func_grad(f, x, g):
    gradient = torch.func.grad(lambda x: (f(x) * g).sum())
    return torch.compile(gradient, fullgraph=True, backend="aot_eager")(x)


def _compile_jacrev(f, x, g):
    jacobian = torch.compile(torch.func.jacrev(f), fullgraph=True, backend="aot_eager")(x)
    return torch.tensordot(g, jacobian, g.ndim)


def _compile_jacfwd(f, x, g):
    jacobian = torch.compile(torch.func.jacfwd(f), fullgraph=True, backend="aot_eager")(x)
    return torch.tensordot(g, jacobian, g.ndim)


def _checkpoint(f, x, g, use_reentrant=False):
    x = x.clone().requires_grad_()
    checkpoint(f, x, use_reentrant=use_reentrant).backward(g)
    return x.grad


def _autocast(f, x, g):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = f(x)
    assert y.dtype == x.dtype
    y.backward(g)
    return x.grad


def _reentrant_checkpoint(f, x, g):
    return _checkpoint(f, x, g, use_reentrant=True)


def _hooks(f, x, g):
    """Copy what is saved for the backward pass at once."""
    x = x.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        y = f(x)
    y.backward(g)
    return x.grad


class Layer(torch.nn.Module):
    """The function of x times a weight."""

    def __init__(self, f, x):
        super().__init__()
        self.f = f
        self.weight = torch.nn.Parameter(torch.ones_like(x))

    def forward(self, x):
        return self.f(x * self.weight)


def _gradient_of_layer(kept, f, x, g):
    """Compare the values of what was kept of a layer, and return its gradient of x."""
    torch.testing.assert_close(kept(x), f(x))
    kept(x).backward(g)
    (weight,) = kept.parameters()
    return weight.grad / x


def _export(f, x, g, strict=False):
    kept = torch.export.export(Layer(f, x), (x,), strict=strict).module()
    return _gradient_of_layer(kept, f, x, g)


def _strict_export(f, x, g):
    return _export(f, x, g, strict=True)


def _jit_trace(f, x, g):
    """Save the trace, and load it."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(Layer(f, x), x), file)
    file.seek(0)
    return _gradient_of_layer(torch.jit.load(file), f, x, g)


TRANSFORMS = {
    "transforms": [
        _backward,
        _func_grad,
        _vmap_last,
        _jacfwd,
        _forward_mode,
        _checkpoint,
        _hooks,
        _autocast,
    ],
    "composed of these": [
        _backward_of_a_parameter,
        _func_vjp,
        _vmap,
        _jacrev,
        _reentrant_checkpoint,
    ],
}


def _assert_gradient(function, *transforms, tolerance=1e-10):
    """Compare the gradients that transforms give with that of the function's vjp."""
    f, x = _call(function), _points(function)
    g = _cotangent(f(x))
    expected = vjp(function, g, x, **rowwise_parameters(function))
    for transform in transforms:
        with noting(transform.__name__):
            torch.testing.assert_close(transform(f, x, g), expected, rtol=tolerance, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, for jvp
@over("transforms", in_sweep(TRANSFORMS))
@over("function", FUNCTIONS)
def test_gradient_under(function, transforms):
    _assert_gradient(function, *TRANSFORMS[transforms])


@over("function", FUNCTIONS)
def test_gradient_under_the_compiler(function):
    """One compilation without a break of the graph, which fills no table and is done once."""
    counter = CountingCompiler(torch._dynamo.lookup_backend("aot_eager"))

    def compiled(f, x, g):
        for table in kernel_tables(function):
            table.clear()
        call = torch.compile(f, fullgraph=True, backend=counter)
        first, second = (_backward(call, x, g) for _ in range(2))
        assert not any(kernel_tables(function))
        assert torch.equal(first, second)
        return first

    _assert_gradient(function, compiled)
    assert counter.graphs == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@over("transform", [_export, _jit_trace])
@over("function", FUNCTIONS)
def test_gradient_of_what_is_kept_of_a_layer(function, transform):
    """It is that of torch's operators: our node would be lost."""
    # TorchScript's gradient of F.leaky_relu rounds the slope to float32, too
    _assert_gradient(function, transform, tolerance=1e-7 if transform is _jit_trace else 1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@over("transform", [_compile_func_grad, _compile_jacrev, _compile_jacfwd, _strict_export])
@over("function", one_of_each_family(FUNCTIONS))
def test_gradient_under_another_use_of_the_compiler(transform, function):
    _assert_gradient(function, transform)


SECOND = {
    "hessian": torch.func.hessian,
    "jacrev of jacrev": lambda f: torch.func.jacrev(torch.func.jacrev(f)),
    "jacrev of jacfwd": lambda f: torch.func.jacrev(torch.func.jacfwd(f)),
    "autograd": lambda f: lambda x: torch.autograd.functional.hessian(f, x),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@over("function", FUNCTIONS)
def test_second_derivative_under_transforms(function):
    f, x = _call(function), _points(function)
    g = _cotangent(f(x))

    def loss(x):
        return (f(x) * g).sum()

    def gradient(x):
        return vjp(function, g, x, **rowwise_parameters(function))

    h = 1e-4
    steps = h * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    numeric = [
        (gradient(x - 2 * s) - 8 * gradient(x - s) + 8 * gradient(x + s) - gradient(x + 2 * s))
        / (12 * h)
        for s in steps
    ]
    numeric = torch.stack(numeric).reshape(*x.shape, *x.shape)
    for second in SECOND.values():
        torch.testing.assert_close(second(loss)(x), numeric, rtol=1e-6, atol=1e-7)


@over("f", [ax.silu, accurate(ax.silu)])
def test_compiled_second_derivative_raises(f):
    """The compiler supports none: pytorch#91469."""
    x = torch.tensor([-2.0, 0.5], dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    (gradient,) = torch.autograd.grad(compiled(x).sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, ax.silu.derivative(x))
    with pytest.raises(RuntimeError, match=r"torch\.compile with aot_autograd"):
        torch.autograd.grad(gradient.sum(), x)
    (gradient,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(gradient.sum(), x)
    h = 1e-4
    numeric = (ax.silu.derivative(x + h) - ax.silu.derivative(x - h)) / (2 * h)
    torch.testing.assert_close(curve, numeric.detach(), rtol=1e-6, atol=1e-6)


@over("function", FUNCTIONS)
def test_gradcheck_and_gradgradcheck(function):
    f, x = _call(function), _points(function).requires_grad_()
    for form in (f, functools.partial(accurate(function), **rowwise_parameters(function))):
        assert torch.autograd.gradcheck(form, x)
        assert torch.autograd.gradgradcheck(form, x)


@over(("function", "given"), variants_in_sweep(DIFFERENTIABLE_CASES))
def test_derivatives_finite_at_edges(function, given):
    for dtype in EDGE_DTYPES:
        with noting(dtype):
            _assert_derivatives_finite(function, given, dtype)


def _assert_derivatives_finite(function, given, dtype):
    x = edge_points(function, given, dtype)
    for form in (function, accurate(function)):
        leaf = torch.tensor(x.astype("f8")).to(getattr(torch, dtype)).requires_grad_()
        y = form(leaf, **given)
        g = torch.ones_like(y)
        (gradient,) = torch.autograd.grad(y, leaf, g, create_graph=True)
        curve = torch.zeros_like(gradient)
        if gradient.requires_grad:
            (curve,) = torch.autograd.grad(gradient, leaf, g, materialize_grads=True)
        room = 0.5 if form is function else 1.0  # torch's gelu computes twice the result first
        orders = [v.detach().double() for v in (y, gradient, curve)]
        assert_finite(function, given, x, orders, room=room)


# random functions

TRAINED = [f for f in FUNCTIONS if "training" in f.definition.parameters]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@over("transform", [_func_grad, _hooks, _checkpoint, _reentrant_checkpoint, _forward_mode])
@over("function", [*TRAINED, ax.gumbel_softmax])
def test_gradient_of_random_numbers_under(function, transform):
    """It belongs to the numbers of the value, which are torch's own samples under hooks, too."""
    x = torch.linspace(-3, 3, 8, dtype=torch.float64).reshape(2, 4)
    given = {"training": True} if function in TRAINED else {}
    for form in (function, accurate(function)):

        def seeded(x, form=form):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return form(x, **given)

        g = _cotangent(x)
        expected = _backward(seeded, x, g)
        torch.testing.assert_close(transform(seeded, x, g), expected)


@over("function", TRAINED)
def test_random_numbers_under_vmap(function):
    """Each row has its own, and its gradient belongs to them."""
    rows = torch.ones(100, 2, 1, dtype=torch.float64) - 2
    for form in (function, accurate(function)):
        y, vjp_of = torch.func.vjp(
            torch.func.vmap(lambda x, form=form: form(x, training=True), randomness="different"),
            rows,
        )
        (gradient,) = vjp_of(torch.ones_like(y))
        assert len(y.unique()) > 1
        if function is ax.rrelu:
            torch.testing.assert_close(gradient, -y)


def test_rrelu_has_every_dtype_in_training():
    """torch lacks float16 on the CPU."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.full((100,), -1.0, dtype=dtype, requires_grad=True)
        y = ax.rrelu(x, training=True)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert y.dtype == gradient.dtype == dtype
        assert ((gradient >= 1 / 8) & (gradient <= 1 / 3 + 1e-3)).all()
        torch.testing.assert_close(gradient, -y.detach())


# kinds of tensor


@pytest.fixture(scope="module")
def mesh():
    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    torch.distributed.destroy_process_group()


@over("function", FUNCTIONS)
def test_dtensor(function, mesh):
    f, x = _call(function), _points(function)
    leaf = DTensor.from_local(x, mesh, [Shard(0)]).requires_grad_()
    y = f(leaf)
    assert isinstance(y, DTensor)
    torch.testing.assert_close(y.to_local(), f(x))
    g = _cotangent(y.to_local())
    y.backward(DTensor.from_local(g, mesh, y.placements))
    expected = vjp(function, g, x, **rowwise_parameters(function))
    torch.testing.assert_close(leaf.grad.to_local(), expected)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@over("function", WITHOUT_AXIS)
def test_jagged_nested_tensor(function):
    f, x = _call(function), _points(function).reshape(-1)
    leaf = x.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jagged = torch.nested.nested_tensor_from_jagged(leaf, torch.tensor([0, 3, 8]))
        y = f(jagged)
        assert y.is_nested
        torch.testing.assert_close(y.values(), f(x))
        g = _cotangent(x)
        (gradient,) = torch.autograd.grad((y.values() * g).sum(), leaf)
    torch.testing.assert_close(gradient, vjp(function, g, x, **rowwise_parameters(function)))


@over("function", FUNCTIONS)
def test_fake_and_meta_tensors(function):
    f, x = _call(function), _points(function)
    y = f(x)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x).requires_grad_()
        fake_y = f(fake)
        assert (fake_y.shape, fake_y.dtype) == (y.shape, y.dtype)
        (gradient,) = torch.autograd.grad(fake_y.sum(), fake)
        assert gradient.shape == x.shape
    leaf = x.to("meta").requires_grad_()
    (gradient,) = torch.autograd.grad(f(leaf).sum(), leaf)
    assert (gradient.shape, gradient.device.type) == (x.shape, "meta")


@over("function", FUNCTIONS)
def test_inference_mode(function):
    f, x = _call(function), _points(function)
    with torch.inference_mode():
        y = f(x.clone())
        assert y.is_inference() or y is x
    torch.testing.assert_close(y.clone(), f(x))


# memory


@over("function", FUNCTIONS)
def test_memory_saved_for_backward(function):
    x = torch.rand(1000, 8, requires_grad=True)
    for form in (function, accurate(function)):
        call = functools.partial(form, **rowwise_parameters(function))
        assert saved_bytes(call, x) <= x.nbytes


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@over("function", one_of_each_family(FUNCTIONS))
def test_memory_saved_for_backward_by_the_compiler(function):
    x = torch.rand(1000, 8, requires_grad=True)
    # the default partition of aot_eager saves values that inductor computes again
    compiled = torch.compile(_call(function), backend="aot_eager_decomp_partition", fullgraph=True)
    # along an axis it also keeps sums over the eight elements of a row
    room = 1.0 if output_axis(function) is None else 1.5
    assert saved_bytes(compiled, x) <= room * x.nbytes
