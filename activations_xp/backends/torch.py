"""PyTorch: its own kernel where the table says that it is as accurate, else the computation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import inf, isfinite, pi, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import array_api_compat.torch as compat
import torch
import torch.nn.functional as F  # noqa: N812
from torch.autograd import forward_ad

from .._parameters import check, gathered
from .._typing import Kernel
from . import generic

if TYPE_CHECKING:
    from .._activation import Definition
    from .._dispatch import Implementation
    from .._operation import Operation


PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Other classes, of what is sharded or of rows of unequal length, may lack torch's own kernels."""

is_tracing = torch.compiler.is_dynamo_compiling


_KINDS: dict[torch.dtype, str] = {
    dtype: kind
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype)
    for kind in ("bool", "integral", "real floating", "complex floating")
    if compat.isdtype(dtype, kind)
}
"""What array-api-compat says in 3 us."""


def _isdtype(dtype: torch.dtype, kinds: str | tuple[str, ...]) -> bool:
    return _KINDS.get(dtype) in ((kinds,) if isinstance(kinds, str) else kinds)


def _is_transformed() -> bool:
    """Whether a transform of torch.func is at work."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _can_read(x: Any) -> bool:
    if type(x) not in PLAIN or x.is_meta or is_tracing() or _is_transformed():
        return False
    return not (x.is_cuda and torch.cuda.is_current_stream_capturing())


xp = generic.overlay(
    torch,
    **generic.one_sided(torch),
    astype=lambda x, dtype: x.to(dtype=dtype),
    isdtype=_isdtype,
    can_read=_can_read,
    cumulative_sum=torch.cumsum,
    nonzero=lambda x: torch.nonzero(x, as_tuple=True),
    permute_dims=torch.permute,
    sort=lambda x, axis=-1: torch.sort(x, dim=axis).values,
    take=lambda x, indices, axis: torch.index_select(x, axis, indices),
    take_along_axis=lambda x, indices, axis=-1: torch.take_along_dim(x, indices, axis),
    min=torch.amin,
    # torch takes no axis for all of them
    max=lambda x, axis, keepdims=False: x if axis == () else torch.amax(x, axis, keepdims),
    sum=lambda x, axis, keepdims=False: x if axis == () else torch.sum(x, axis, keepdims),
)
"""torch under the standard's names. array-api-compat's wrappers cost 2-8 us and some of them
break fullgraph=True or vmap."""


class Undifferentiated(NamedTuple):
    """A kernel whose values are good, but not its gradients to every order: it is given ours.

    Where its own first gradient is good, `pull` makes it of that of the result and x. It is for
    the plain backward pass; what will be differentiated again is ours.
    """

    kernel: Callable[[Any], Any]
    pull: Callable[[Any, Any], Any] | None = None


class Native(NamedTuple):
    """torch's kernel for given parameters (None: it has none), and dtypes in which it is amiss.

    One that draws random numbers does so where none are given.
    """

    bind: Callable[..., Callable[[Any], Any] | Undifferentiated | None]
    amiss: frozenset[torch.dtype] = frozenset()
    draws: bool = False


def _ndtr(x: Any) -> Any:
    return 0.5 * torch.erfc(x * -sqrt(0.5))  # torch.special.ndtr is 0 in the tail


def _in_32_bits(kernel: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The kernel, which torch lacks for 16, or which is not accurate there."""
    return lambda x: kernel(x) if x.dtype.itemsize > 2 else kernel(x.float()).to(x.dtype)


_ndtri, _erf = _in_32_bits(torch.special.ndtri), _in_32_bits(torch.erf)


def _log_sigmoid(x: Any) -> Any:
    return -F.softplus(-x, threshold=40)  # F.logsigmoid keeps another array, and not the layout


def _softsign_pull(g: Any, x: Any) -> Any:
    return g / (1 + x.abs()).square()


def _bell(rate: float, scale: float) -> Callable[[Any, Any], Any]:
    """g*scale*exp(-rate*x*x), whose own gradient in torch is 0*inf where the square overflows."""
    return lambda g, x: g * (scale * torch.exp(-rate * (x * x)))


def _itself(x: Any) -> Any:
    return x


def _dropping(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    def bind(noise: Any, p: float, training: bool) -> Callable[[Any], Any] | None:
        if not training or p == 0:
            return _itself
        return partial(kernel, p=p, training=True) if noise is None and p < 1 else None

    return bind


def _rrelu(noise: Any, lower: float, upper: float, training: bool) -> Callable[[Any], Any] | None:
    if not training:
        return partial(F.leaky_relu, negative_slope=(lower + upper) / 2)
    return partial(F.rrelu, lower=lower, upper=upper, training=True) if noise is None else None


def _along_one_axis(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    return lambda axis, where: (
        partial(kernel, dim=axis[0]) if where is None and len(axis) == 1 else None
    )


def _of_both_sides(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    return lambda lambd, lower, upper: (
        partial(kernel, lambd=lambd) if (lower, upper) == (None, None) else None
    )


NATIVE: dict[str, Native] = {
    "erf": Native(
        # in bfloat16 it has only absolute accuracy near 0
        lambda: Undifferentiated(_erf, _bell(1.0, 2 / sqrt(pi)))
    ),
    "exponential": Native(lambda: torch.exp),
    "erfc": Native(lambda: Undifferentiated(torch.erfc, _bell(1.0, -2 / sqrt(pi)))),
    "erfinv": Native(lambda: torch.erfinv),
    "logit": Native(
        lambda eps: Undifferentiated(
            partial(torch.special.logit, eps=eps),
            # NaN by the ends, when differentiated
            lambda g, x: torch.ops.aten.logit_backward(g, x, eps),
        )
    ),
    "ndtr": Native(lambda: Undifferentiated(_ndtr, _bell(0.5, 1 / sqrt(2 * pi)))),
    "sigmoid": Native(lambda: torch.sigmoid),
    "tanh": Native(lambda: torch.tanh),
    "relu": Native(
        lambda negative_slope, max_value, threshold: (
            torch.relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
        )
    ),
    "leaky_relu": Native(lambda slope: partial(F.leaky_relu, negative_slope=slope)),
    "rrelu": Native(_rrelu, draws=True),
    # theirs of an infinite number is NaN where it is dropped
    "dropout": Native(_dropping(F.dropout), draws=True),
    "alpha_dropout": Native(_dropping(F.alpha_dropout), draws=True),
    "feature_alpha_dropout": Native(_dropping(F.feature_alpha_dropout), draws=True),
    "celu": Native(lambda alpha: partial(F.celu, alpha=alpha) if alpha < inf else None),
    "relu6": Native(lambda: F.relu6),
    "hard_tanh": Native(lambda low, high: partial(F.hardtanh, min_val=low, max_val=high)),
    "hard_swish": Native(lambda: F.hardswish),
    "soft_shrink": Native(_of_both_sides(F.softshrink)),
    "hard_shrink": Native(_of_both_sides(F.hardshrink)),
    "threshold": Native(lambda least, value: partial(F.threshold, threshold=least, value=value)),
    "log_sigmoid": Native(lambda: _log_sigmoid),
    # its gradient's is NaN where the square overflows
    "mish": Native(lambda: Undifferentiated(F.mish, torch.ops.aten.mish_backward)),
    # it keeps two arrays
    "softsign": Native(lambda: Undifferentiated(F.softsign, _softsign_pull)),
    "tanh_shrink": Native(lambda: F.tanhshrink),
    "ndtri": Native(lambda: _ndtri),
    "softmin": Native(_along_one_axis(F.softmin)),
    "elu": Native(lambda alpha: partial(F.elu, alpha=alpha)),
    "selu": Native(lambda: F.selu),
    "silu": Native(lambda beta: F.silu if beta == 1 else None),
    "softplus": Native(
        lambda beta, threshold: partial(
            # its own threshold of 20 cuts off what float64 still sees
            F.softplus,
            beta=beta,
            threshold=40 if threshold is None else threshold,
        )
    ),
    "hard_sigmoid": Native(
        lambda slope, offset: (
            # torch cannot differentiate its gradient
            Undifferentiated(F.hardsigmoid, torch.ops.aten.hardsigmoid_backward)
            if (slope, offset) == (1 / 6, 0.5)
            else None
        ),
        # its derivative in float64 is the 1/6 of float32
        amiss=frozenset({torch.float64}),
    ),
    "gelu": Native(
        lambda approximate: (
            None
            if approximate == "sigmoid"
            # its gradient is NaN where the cube overflows
            else Undifferentiated(partial(F.gelu, approximate="tanh"))
            if approximate in ("tanh", True)
            # and here that of the gradient is, where the square does
            else Undifferentiated(F.gelu, torch.ops.aten.gelu_backward)
        )
    ),
    "identity": Native(lambda: _itself),
    "softmax": Native(_along_one_axis(torch.softmax)),
    "log_softmax": Native(_along_one_axis(torch.log_softmax)),
}


def bind(definition: Definition, which: Implementation, kind: type) -> Kernel:
    """A kernel that runs torch's own or the computation."""
    plain = kind in PLAIN
    if which == "compiled" and plain:
        return _bind_compiled(definition, kind)
    native = NATIVE.get(definition.name) if plain and which != "portable" else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        values = check(definition, x, parameters)
        default = torch.get_default_dtype()
        wide = which == "portable" and x.device.type != "mps"  # which has no float64
        compute, result = generic.precision(definition, xp, x, values, default, wide)
        fixed = not any(isinstance(value, torch.Tensor) for value in values)
        constant = fixed and x.dtype == result  # the default dtype may change
        own: Any = None
        if native and fixed and result.is_floating_point and result.itemsize > 1:
            own = native.bind(*values) if which == "native" or result not in native.amiss else None
            if own is not None and not isinstance(own, Undifferentiated):
                return (own if x.dtype == result else lambda x: own(x.to(result))), constant
        plan = Plan(definition, values, compute, result, own)
        if not plan.is_written:
            return plan.plain, constant
        if own is None or not constant:
            return plan.differentiable, constant
        shortest = own.kernel

        def run(x: Any) -> Any:
            if x.requires_grad or forward_ad._current_level >= 0:
                return plan.differentiable(x)
            return shortest(x)

        return run, constant

    return generic.planned(definition, make, is_tracing)


def _bind_compiled(definition: Definition, kind: type) -> Kernel:
    """A kernel that PyTorch's compiler makes of what else would run."""
    auto = bind(definition, "auto", kind)

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        types = tuple(map(type, parameters))
        if is_tracing():
            return (lambda x: auto(x, types, *parameters)), False
        check(definition, x, parameters)
        slots = tuple(i for i, p in enumerate(parameters) if isinstance(p, torch.Tensor))
        constants = tuple(None if i in slots else p for i, p in enumerate(parameters))
        arrays = [parameters[i] for i in slots]

        def run(x: Any) -> Any:
            # a compiled function may stand inside neither kind of transform
            if _is_transformed() or forward_ad._current_level >= 0:
                return auto(x, types, *parameters)
            return _fused((x, *arrays), definition, "auto", constants, slots, types)

        return run, not slots and x.dtype.is_floating_point

    return generic.planned(definition, make, is_tracing)


def by_compiler(definition: Definition, parameters: tuple[Any, ...], x: Any) -> Any:
    """The computation on a tensor, by one kernel that PyTorch's compiler makes of it."""
    return _fused((x,), definition, "portable", parameters, (), tuple(map(type, parameters)))


def _fused(tensors: tuple[Any, ...], *what: Any) -> Any:
    wanted = torch.is_grad_enabled()
    # what a kernel is for: the compiler itself remembers but a few of them
    kinds = tuple((t.dtype, t.device, t.ndim, wanted and t.requires_grad) for t in tensors)
    return _compiled(kinds, *what)(*tensors)


@lru_cache(generic.PLANS, typed=True)
def _compiled(
    kinds: tuple[Any, ...],
    definition: Definition,
    which: Implementation,
    constants: tuple[Any, ...],
    slots: tuple[int, ...],
    types: tuple[type, ...],
) -> Callable[..., Any]:
    """The computation of such tensors as one kernel; those after the first fill the slots."""
    kernel = bind(definition, which, torch.Tensor)

    def call(x: Any, *arrays: Any) -> Any:
        return kernel(x, types, *generic.filled(constants, slots, arrays))

    call.__code__ = call.__code__.replace()  # by which the compiler remembers
    compiled: Callable[..., Any] | None = None

    def run(*tensors: Any) -> Any:
        nonlocal compiled
        # a view has marks of its own, and no size is written into the kernel
        views = [tensor.view_as(tensor) for tensor in tensors]
        for view in views:
            for axis, size in enumerate(view.shape):
                if size > 1:
                    torch._dynamo.maybe_mark_dynamic(view, axis)
        if compiled is not None:
            return compiled(*views)
        compiled = torch.compile(call)
        try:
            with warnings.catch_warnings():  # the compiler looks at the gradients of views
                warnings.filterwarnings("ignore", "The .grad attribute", UserWarning)
                return compiled(*views)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error).splitlines()[0]
            name = f"{definition.name}: PyTorch cannot compile here, so it runs as it is"
            warnings.warn(f"{name}: {reason}", RuntimeWarning, stacklevel=6)
            compiled = call
            return call(*tensors)

    return run


class Plan:
    """A computation at given parameters, and what autograd is told of it."""

    def __init__(
        self,
        definition: Definition,
        values: tuple[Any, ...],
        compute: torch.dtype,
        result: torch.dtype,
        native: Undifferentiated | None,
    ) -> None:
        self.definition, self.values, self.native = definition, values, native
        self.compute, self.result = compute, result
        self.names = tuple(definition.parameters)
        self.slots = tuple(i for i, v in enumerate(values) if isinstance(v, torch.Tensor))
        learned = any(self.is_learned(i) for i in self.slots)
        self.is_written = definition.vjp is not None and (
            definition.parameter_derivatives is not None or not learned
        )

    def is_learned(self, slot: int) -> bool:
        """Whether the parameter has a derivative."""
        kind = self.definition.parameters[self.names[slot]]
        return kind.is_learned and bool(self.values[slot].is_floating_point())

    def plain(self, x: Any) -> Any:
        """The computation, which autograd takes apart."""
        return self.value(x, *(self.values[i] for i in self.slots))

    def differentiable(self, x: Any) -> Any:
        """The computation, under one node for autograd where a derivative may be wanted."""
        tensors = (x, *(self.values[i] for i in self.slots))
        reverse = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        if forward_ad._current_level < 0:
            if reverse:
                return cast(Any, Reverse).apply(self, *tensors)
        elif self.definition.derivative is not None and not is_tracing():
            return cast(Any, BothWays).apply(self, *tensors)
        return self.plain(x)

    def value(self, x: Any, *arrays: Any) -> Any:
        if self.native is not None:
            return self.native.kernel(x.to(self.result))
        return self._evaluate(self.definition, x, self._filled(arrays), self.result)

    def pull(self, needed: Sequence[bool], g: Any, x: Any, *arrays: Any) -> list[Any]:
        """The gradients of x and of the arrays, those that are needed."""
        values = self._filled(arrays)
        gradients: list[Any] = [None] * (1 + len(arrays))
        if self.native is not None and self.native.pull is not None and not torch.is_grad_enabled():
            gradients[0] = self.native.pull(g, x)
        elif needed[0]:
            vjp = cast("Definition", self.definition.vjp)
            gradients[0] = self._evaluate(vjp, x, (g, *values), self.result)
        if any(needed[1:]):
            slopes = self._slopes(x, values)
            for i, (slot, array) in enumerate(zip(self.slots, arrays, strict=True), 1):
                if needed[i]:
                    shape = self._aligned(slot, array, x)
                    total = gathered(xp, g * slopes[self.names[slot]], shape)
                    gradients[i] = total.reshape(array.shape).to(array.dtype)
        return gradients

    def push(self, tangents: Sequence[Any], x: Any, *arrays: Any) -> Any:
        """The tangent of the result."""
        values = self._filled(arrays)
        total: Any = 0
        if tangents[0] is not None:
            slope = cast("Definition", self.definition.derivative)
            total = tangents[0] * self._evaluate(slope, x, values, self.compute)
        if any(t is not None for t in tangents[1:]):
            slopes = self._slopes(x, values)
            for slot, t in zip(self.slots, tangents[1:], strict=True):
                if t is not None:
                    moved = t.reshape(self._aligned(slot, t, x))
                    total = total + moved * slopes[self.names[slot]]
        return total.to(self.result)

    def _slopes(self, x: Any, values: tuple[Any, ...]) -> Any:
        slopes = cast("Definition", self.definition.parameter_derivatives)
        return self._evaluate(slopes, x, values, self.compute)

    def _evaluate(
        self, definition: Definition, x: Any, values: tuple[Any, ...], result: torch.dtype
    ) -> Any:
        return generic.evaluate(definition, xp, x, values, self.compute, result)

    def _filled(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        return generic.filled(self.values, self.slots, arrays)

    def _aligned(self, slot: int, array: Any, x: Any) -> tuple[int, ...]:
        return generic.aligned_to(self.definition, self.values, self.names[slot], array, x)


class Reverse(torch.autograd.Function):
    """A node that saves x and the parameters, and computes the gradient from them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(plan: Plan, *tensors: Any) -> Any:
        value = plan.value(*tensors)
        # autograd takes no input for an output, and not every kind of tensor has views
        return value.clone() if value is tensors[0] else value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.plan, *tensors = inputs
        ctx.save_for_backward(*tensors)
        if isinstance(output, tuple):  # what comes after the value has no derivative
            ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, g: Any, *_: Any) -> Any:
        return None, *ctx.plan.pull(ctx.needs_input_grad[1:], g, *ctx.saved_tensors)


class BothWays(Reverse):
    """The same also for forward mode, which dynamo refuses to trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        Reverse.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        return ctx.plan.push(tangents, *ctx.saved_tensors)


def draws(definition: Definition, which: Implementation, kind: type) -> bool:
    """Whether torch's own kernel draws the numbers from torch's global state."""
    native = NATIVE.get(definition.name)
    return native is not None and native.draws and which != "portable" and kind in PLAIN


def uniform(x: Any, shape: tuple[int, ...], rng: Any) -> Any:
    """Random numbers in the dtype that x is computed in; by default of torch's global state."""
    if rng is not None and not isinstance(rng, torch.Generator):
        raise TypeError("a torch.Generator, or None for the global one")
    if rng is not None and rng.device.type != x.device.type:
        raise ValueError(f"rng is on device {rng.device} but x is on device {x.device}")
    floating = x.dtype if x.dtype.is_floating_point else torch.get_default_dtype()
    dtype = floating if floating.itemsize > 2 else torch.float32
    return torch.rand(shape, generator=rng, dtype=dtype, device=x.device)


def _is_finite(x: Any) -> bool:
    """Whether all numbers are, by their sum, which is not if it is too large as well."""
    return isfinite(x.detach().sum(dtype=torch.float32 if x.dtype.itemsize < 4 else None))


def _attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    bias: Any,
    is_causal: bool | str,
    scale: float | None,
    softcap: float | None,
    dropout: float,
    noise: Any,
) -> Any:
    """torch's, which takes 0 times infinity for NaN: where that may matter, of finite numbers."""
    arrays = (query, key, value)
    if softcap is not None or dropout or is_causal == "lower_right" or query.ndim < 3:
        return None
    if any(0 in x.shape or x.shape[:-3] != query.shape[:-3] for x in arrays):
        return None
    if key.shape[:-1] != value.shape[:-1] or key.shape[-1] != query.shape[-1]:
        return None
    if query.shape[-3] % key.shape[-3]:
        return None
    added = bias if mask is None else mask
    can_read = all(map(_can_read, arrays))
    if (added is not None or is_causal) and can_read and not all(map(_is_finite, arrays)):
        return None
    scores = (*query.shape[:-1], key.shape[-2])
    if added is not None:
        is_both = is_causal or (mask is not None and bias is not None)
        if is_both or not can_read:
            return None
        try:
            wide = added.expand(scores)
        except RuntimeError:  # of which our error says more
            return None
        # of what attends to nothing not every kernel makes 0
        if not (added.isfinite().all() if mask is None else added.any(-1).all()):
            return None
        if added.ndim < 2 or (added.ndim > 3 and query.ndim != 4):
            added = wide.reshape(-1, *scores[-3:])
    query, key, value = (x.reshape(-1, *x.shape[-3:]) for x in arrays)
    result = F.scaled_dot_product_attention(
        query,
        key,
        value,
        added,
        is_causal=bool(is_causal),
        scale=scale,
        enable_gqa=query.shape[-3] != key.shape[-3],
    )
    return result.reshape(*scores[:-1], value.shape[-1])


OPERATIONS: dict[str, Callable[..., Any]] = {"scaled_dot_product_attention": _attention}
"""torch's kernels of several arrays: of all parameters by name; None where it has none as good."""


def perform(operation: Operation, which: Implementation, values: tuple[Any, ...]) -> Any:
    """What torch's own kernel or the computation makes of these arrays."""
    native = OPERATIONS.get(operation.name) if which != "portable" else None
    slots = tuple(i for i, v in enumerate(values) if isinstance(v, torch.Tensor))
    is_told = operation.whole and operation.vjp is not None and forward_ad._current_level < 0
    is_told &= torch.is_grad_enabled() and any(values[i].requires_grad for i in slots)
    constants = tuple(None if i in slots else v for i, v in enumerate(values))
    call = (operation, slots, constants)
    tensors = [values[i] for i in slots]
    if native is not None and forward_ad._current_level < 0 and not _is_transformed():
        leaves = tensors
        if is_told and not is_tracing():
            leaves = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
        given = generic.filled(constants, slots, leaves)
        result = native(**dict(zip(operation.parameters, given, strict=True)))
        if result is not None and leaves is not tensors:
            return cast(Any, Fused).apply((leaves, result), *call, *tensors)
        if result is not None:
            return result
    if is_told:
        return cast(Any, Whole).apply(*call, *tensors)
    return generic.perform(operation, xp, values)


class Whole(torch.autograd.Function):
    """A node that saves what an operation was given, and computes the gradients from it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        operation: Operation, slots: tuple[int, ...], constants: tuple[Any, ...], *tensors: Any
    ) -> Any:
        return generic.perform(operation, xp, generic.filled(constants, slots, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.operation, ctx.slots, ctx.constants, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        values = generic.filled(ctx.constants, ctx.slots, ctx.saved_tensors)
        given = g[0] if len(g) == 1 else g
        gradients = generic.perform(ctx.operation.vjp, xp, (given, *values))
        names = list(ctx.operation.parameters)
        return None, None, None, *(gradients.get(names[slot]) for slot in ctx.slots)


class Fused(torch.autograd.Function):
    """A node around a kernel of torch's and its gradient, which is ours where it has one itself."""

    @staticmethod
    def forward(ctx: Any, made: tuple[list[Any], Any], *call: Any) -> Any:
        ctx.made = made
        ctx.operation, ctx.slots, ctx.constants, *tensors = call
        ctx.save_for_backward(*tensors)
        return made[1].detach()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        if torch.is_grad_enabled():
            return None, *Whole.backward(ctx, g)
        leaves, result = ctx.made
        wanted = [t for t in leaves if t.requires_grad]
        found = iter(torch.autograd.grad(result, wanted, g, retain_graph=True))
        return None, None, None, None, *(next(found) if t.requires_grad else None for t in leaves)
