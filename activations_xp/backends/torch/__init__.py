"""PyTorch: its own kernel where the native table says that it is as accurate, else ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes

from ..._definition import Definition
from ..._typing import Kernel, Precision
from .. import generic
from ..base import Backend
from . import autocast
from .autograd import Call, NativeGraph
from .namespace import NAMESPACES, PLAIN, is_mapping, is_other, is_tracing, is_transformed
from .native import AUTOCAST, NATIVE, OPERATIONS, ForwardOnly, ShortRows, at_dtype


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
        native = NATIVE.get(definition.name) if is_fast and array_type in PLAIN else None
        operation = OPERATIONS.get(definition.name) if is_fast else None
        xp = NAMESPACES[precision]

        def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
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
            short = kernel if isinstance(kernel, ShortRows) else None
            kernel = at_dtype(kernel if short is None else short.others, result)
            if kernel is not None and not isinstance(kernel, ForwardOnly):
                if x.dtype == result:
                    return kernel, is_constant
                return (lambda x: kernel(x.to(dtype)).to(result)), is_constant
            call = Call(form, xp, values, *dtypes, kernel)
            run = call.differentiable if call.uses_written_vjp else call.value
            if operation is not None:
                return _with_native(call, operation, run), is_constant
            if kernel is None or not is_constant:
                return run, is_constant
            forward = kernel.kernel if short is None else call.value
            least, is_once = kernel.least, kernel.is_once

            def run_native(x: Any) -> Any:
                if x.requires_grad or forward_ad._current_level >= 0:
                    if x.numel() >= least or forward_ad._current_level >= 0:
                        return call.differentiable(x)
                    if is_once:
                        return call.with_native_node(x)
                return forward(x)

            if short is None:
                return run_native, True
            run_short, axis, longest = short.kernel, short.axis, short.longest(result, x.ndim)

            def run_rows(x: Any) -> Any:
                is_short = x.numel() <= longest or x.shape[axis] <= longest
                return run_short(x) if is_short else run_native(x)

            return run_rows, True

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
        given: dict[str, Any] = (
            {} if rng is None else {"generator": rng}
        )  # None is an error of torch's compiler
        return torch.rand(shape, dtype=dtype, device=like.device, **given)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        if not isinstance(rng, torch.Generator):
            return None
        return torch.empty(0, dtype=dtype, device=rng.device)

    def samples_natively(
        self, definition: Definition, precision: Precision, array_type: type
    ) -> bool:
        native = NATIVE.get(definition.name)
        if precision != "fast" or native is None or array_type not in PLAIN:
            return False
        return native.samples and (native.is_mapped or not is_mapping())

    def promote(
        self, definition: Definition, x: Any, parameters: tuple[Any, ...]
    ) -> tuple[Any, tuple[Any, ...]]:
        policy = AUTOCAST.get(definition.name)
        return (
            autocast.cast(policy, x, parameters)
            if policy in ("lower", "first")
            else (x, parameters)
        )

    def keep(self, x: Any, out: Any) -> Any:
        return x.clone() if out is x and x.requires_grad else x  # autograd differentiates at x


BACKEND = TorchBackend()


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
    """Return an error of torch, or one that says which argument is not dense."""
    for name, value in {definition.first: x, **definition.bind(parameters)}.items():
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
