"""PyTorch: its own kernel where the native table says that it is as accurate, else ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any

import torch
from torch._C import _is_tracing, _len_torch_dispatch_stack
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes

from ..._definition import Definition
from ..._typing import Kernel, Precision
from .. import generic
from ..base import Backend
from ..numpy import engine
from . import autocast, sharded
from .autograd import Call, NativeGraph
from .namespace import (
    NAMESPACES,
    PLAIN,
    drops_nodes,
    is_mapping,
    is_other,
    is_recorded,
    is_tracing,
    is_transformed,
)
from .native import (
    AUTOCAST,
    NATIVE,
    OPERATIONS,
    ROWWISE,
    ForwardOnly,
    ShortRows,
    SmallOnly,
    at_dtype,
)
from .overrides import hand_over, takes_over
from .shared import has_machine_code

LARGE_BYTES = 4 * engine.LARGE
"""The bytes of the float32 elements from which on "auto" takes machine code."""


class TorchBackend(Backend):
    """PyTorch on any device, eager, compiled or transformed."""

    name = "torch"
    xp = NAMESPACES["fast"]

    def owns(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and (type(x) in PLAIN or not is_other(type(x)))

    def refuses(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and not self.owns(x)

    def is_tracing(self) -> bool:
        return is_tracing()

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        is_fast = precision == "fast"
        native = NATIVE.get(definition.name) if is_fast else None
        is_plain = array_type in PLAIN
        operation = OPERATIONS.get(definition.name) if is_fast else None
        xp = NAMESPACES[precision]
        has_parts = sharded.is_sharded(array_type)
        kernel_of = partial(self.bind, definition, precision)
        of_part: Any = kernel_of(torch.Tensor) if has_parts else None

        def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
            if takes_over(parameters):
                return lambda x, *_: hand_over(definition, precision, x, parameters), False
            form = definition.for_dtype(xp, x.dtype)
            values = form.check(x, parameters, BACKEND)
            default = torch.get_default_dtype()
            exact = precision == "accurate" and x.device.type != "mps"  # which has no float64
            dtypes = generic.compute_and_result_dtypes(form, xp, x, values, default, exact)
            result = dtypes[1]
            has_tensors = any(isinstance(value, torch.Tensor) for value in values)
            is_constant = x.dtype == result  # the default dtype may change
            kernel: Any = None
            if native and not has_tensors and result.is_floating_point:
                dtype = result if x.dtype == result else dtypes[0]
                # torch refuses numbers beyond the dtype, with which ours compute in a wider one
                is_accepted = not generic.exceed(values, torch.finfo(dtype).max)
                is_accepted &= dtype not in native.inaccurate_dtypes
                kernel = native.bind(*values) if is_accepted else None
            is_read = is_plain and not is_tracing()
            few = kernel if isinstance(kernel, (ShortRows, SmallOnly)) else None
            if few is not None:
                is_right = isinstance(few, SmallOnly) and result is not torch.float32
                kernel = few.others if is_read and not is_right else few.kernel
            kernel = at_dtype(kernel, result)
            if kernel is None or isinstance(kernel, ForwardOnly):
                call = Call(form, xp, values, *dtypes, kernel)
                run = call.differentiable if call.uses_written_vjp else call.value
                if operation is not None:
                    run = _with_native(call, operation, run)
                elif kernel is not None and is_constant:
                    run = _with_gradient(call, kernel, few, x, is_read)
            else:
                run = kernel if x.dtype == result else lambda x: kernel(x.to(dtype)).to(result)
            is_ours = kernel is None and operation is None
            if is_plain:
                return run, is_constant
            is_random = native is not None and native.samples and form.bind(values)["training"]
            theirs = run
            if not is_ours:
                run = _or_ours(theirs, _ours(form, xp, values, dtypes), bool(is_random))
            if not has_parts or (is_random and kernel is not None):
                return run, is_constant
            if form.is_activation:
                statistics = None
                if form.output_axis is not None:
                    rows = few if isinstance(few, ShortRows) else None
                    has_float64 = x.device.type != "mps"
                    statistics = sharded.by_statistics(
                        form, precision, values, dtypes, rows, has_float64
                    )
                run = sharded.Sharded(form, values, of_part, kernel_of, run, statistics)
                if not is_ours:
                    run.native = _or_ours(theirs, run.by_parts, False)
            elif (of_all_rows := ROWWISE.get(definition.name.removesuffix(".vjp"))) is not None:
                run = sharded.ShardedRows(of_all_rows, form, values, of_part, kernel_of, run)
            return run, is_constant

        policy = AUTOCAST.get(definition.name)
        if policy == "float32":
            make = _widening(make)
        kernel = generic.cached_kernel(definition, make, self, is_tracing, _explain)
        return autocast.casting(kernel, policy) if policy in ("lower", "first") else kernel

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        if rng is not None and not isinstance(rng, torch.Generator):
            raise TypeError("a torch.Generator, or None for the global one")
        if rng is not None and rng.device.type != like.device.type:
            raise ValueError(f"rng is on device {rng.device} but x is on device {like.device}")
        if like.is_nested:
            raise ValueError("noise is drawn for dense tensors, got a nested one")
        is_floating = like.dtype.is_floating_point
        dtype = like.dtype if is_floating else torch.get_default_dtype()
        dtype = dtype if dtype.itemsize > 2 else torch.float32
        if sharded.is_sharded(type(like)):
            return sharded.uniform(shape, like, rng, dtype)
        # None is an error of torch's compiler
        given: dict[str, Any] = {} if rng is None else {"generator": rng}
        return torch.rand(shape, dtype=dtype, device=like.device, **given)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        if not isinstance(rng, torch.Generator):
            return None
        return torch.empty(0, dtype=dtype, device=rng.device)

    def samples_natively(
        self, definition: Definition, precision: Precision, array_type: type
    ) -> bool:
        native = NATIVE.get(definition.name)
        if precision != "fast" or native is None:
            return False
        return native.samples and (native.is_mapped or not is_mapping())

    def promote(
        self, definition: Definition, x: Any, parameters: tuple[Any, ...]
    ) -> tuple[Any, tuple[Any, ...]]:
        policy = AUTOCAST.get(definition.name)
        if policy not in ("lower", "first"):
            return x, parameters
        return autocast.cast(policy, x, parameters)

    def hands_over(self, values: Iterable[Any]) -> bool:
        return takes_over([*values])

    def keep(self, x: Any, out: Any) -> Any:
        return x.clone() if out is x and x.requires_grad else x  # autograd differentiates at x


BACKEND = TorchBackend()


def _ours(
    form: Definition, xp: Any, values: tuple[Any, ...], dtypes: tuple[Any, Any]
) -> Callable[..., Any]:
    """Return our function of the tensors."""
    call = Call(form, xp, values, *dtypes)
    return call.differentiable if call.uses_written_vjp else call.value


def _prepare_mkl() -> None:
    """Call the vector mathematics of MKL once on one thread.

    If its first call in a process runs on several threads, after a product of matrices, one of them
    may find it not ready: half of the elements were 1253 units in the last place off in about one
    process of ten with torch 2.13, and in none of 140 after such a call.
    """
    with _disable_current_modes():  # the first call of a process may be one that is recorded
        for dtype in (torch.float32, torch.float64):
            one = torch.ones(1, dtype=dtype, device="cpu")
            torch.exp(one)
            torch.erfc(one)


_prepare_mkl()


def _explain(
    definition: Definition, x: Any, parameters: tuple[Any, ...], error: Exception
) -> Exception:
    """Return an error of torch, or one that says which argument is quantized or not dense."""
    for name, value in {definition.first: x, **definition.bind(parameters)}.items():
        if isinstance(value, torch.Tensor) and value.is_quantized:
            what = f"{name} must not be quantized, got {value.dtype}; pass {name}.dequantize()"
            return TypeError(f"{definition.name}: {what}")
        if isinstance(value, torch.Tensor) and (value.layout != torch.strided or value.is_nested):
            layout = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
            what = f"{name} must be a dense tensor, got one of layout {layout}"
            return TypeError(f"{definition.name}: {what}, for which PyTorch has no kernel")
    return error


def _widening(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes functions of 16-bit tensors that autocast has in float32."""

    def make_wider(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
        run, is_constant = make(x, parameters)
        if not x.is_floating_point() or x.dtype.itemsize > 2:
            return run, is_constant
        return autocast.widening(run, lambda x: make(x, parameters)[0]), is_constant

    return make_wider


def _with_gradient(
    call: Call,
    kernel: ForwardOnly,
    few: SmallOnly | ShortRows | None,
    x: Any,
    is_read: bool,
) -> Callable[[Any], Any]:
    """Return a function that runs torch's kernel, with our gradient where torch's will not do.

    It runs the kernel of `few` where that is right, and machine code where that is faster. It does
    not ask a tensor for its size where that may be unknown, unless it `is_read`.
    """
    forward, least, is_once = kernel.kernel, kernel.least, kernel.is_once
    large = max(LARGE_BYTES, 4 * kernel.value_from)
    if least and not is_read:
        least = inf

    def is_beyond(x: Any) -> bool:
        return not is_recorded() and x.numel() >= least

    def run_native(x: Any) -> Any:
        is_hooked, run = False, forward
        if (x.requires_grad or forward_ad._current_level >= 0) and not drops_nodes():
            if not least or forward_ad._current_level >= 0 or (least < inf and is_beyond(x)):
                return call.differentiable(x)
            if is_once and (is_tracing() or is_transformed()):
                return call.differentiable(x)
            is_hooked = is_once
        elif is_read and not is_tracing() and x.nbytes >= large:
            run = call.value
        y = run(x)  # from this line with a gradient and without, as in `generic`
        if is_hooked and y.requires_grad:
            y.grad_fn.register_hook(call.differentiable_gradient)
        return y

    if few is None:
        return run_native
    if isinstance(few, SmallOnly):
        run_small = few.kernel

        def run_by_size(x: Any) -> Any:
            if is_tracing() or x.nbytes < large or not has_machine_code(x, kernel.value_from):
                return run_small(x)
            return run_native(x)

        return run_by_size
    along, axis, longest = few.along, few.axis, few.longest(x.dtype, x.ndim)
    small = longest * x.dtype.itemsize

    def run_rows(x: Any) -> Any:
        # `is_recorded` bit by bit; torch.jit.trace sees that a size is asked for, but not the bytes
        if is_tracing() or x.nbytes <= small or _is_tracing():
            return along(x, axis)
        if x.size(axis) <= longest or _len_torch_dispatch_stack():
            return along(x, axis)
        return run_native(x)

    return run_rows


def _or_ours(
    kernel: Callable[..., Any], ours: Callable[..., Any], is_differentiable: bool
) -> Callable[..., Any]:
    """Return a function that runs torch's kernel, or ours once a type of tensors has refused it.

    Unless it `is_differentiable` for sure, its gradient is tried at the first call that wants it.
    """
    is_refused = False

    def run(*tensors: Any) -> Any:
        nonlocal is_differentiable, is_refused
        if not is_refused:
            try:
                if not is_differentiable and _is_differentiated(tensors):
                    leaves = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
                    y = kernel(*leaves)
                    wanted = [t for t in leaves if t.requires_grad]
                    torch.autograd.grad(y, wanted, torch.ones_like(y))
                    is_differentiable = True
                return kernel(*tensors)
            except (NotImplementedError, TypeError) as refusal:
                try:
                    y = ours(*tensors)
                except Exception:
                    raise refusal from None
                is_refused = True
                return y
        return ours(*tensors)

    return run


def _is_differentiated(tensors: tuple[Any, ...]) -> bool:
    """Return whether autograd, and nothing else, sees an operation on these tensors."""
    is_wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return is_wanted and not (is_recorded() or is_transformed())


def _with_native(
    call: Call, kernel: Callable[..., Any], run: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function that runs torch's kernel of several tensors where it accepts them."""

    def run_native(*tensors: Any) -> Any:
        if forward_ad._current_level >= 0 or is_transformed():
            return run(*tensors)
        native = NativeGraph(call, kernel, *tensors)
        if native.output is None:
            return run(*tensors)
        return native.differentiable(*tensors) if native.is_detached else native.output

    return run_native
