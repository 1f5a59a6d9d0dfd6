"""Tensors of the CPU as NumPy arrays of the same memory, computed by what computes these.

torch runs an implementation operation by operation, each over the whole memory. NumPy's plans run
it block by block, or by machine code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ..._definition import Definition
from ..._gradients import gradients
from ..._parameters import COTANGENT
from ..._typing import Kernel
from .. import generic
from ..numpy import engine, kernel_of
from .namespace import PLAIN, is_recorded, is_tracing, is_transformed


def can_share(x: Any, *others: Any) -> bool:
    """Return whether NumPy can compute floats, and others or masks with them, unseen by torch.

    It cannot where something records or transforms the operations.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *others)):
        return False
    return _is_unseen() and _have_memory(x, *others)


def has_machine_code(x: Any, least: float, axis: int | None = None, *others: Any) -> bool:
    """Return whether machine code computes float32 of so many elements, or rows along the axis.

    The caller tells autograd.
    """
    if x.dtype is not torch.float32 or type(x) not in PLAIN or is_tracing():
        return False
    size = x.nbytes // 4  # torch.jit.trace sees that numel() is asked for
    if size < engine.numba_from or size < least or not _is_unseen():
        return False
    if axis not in (None, x.ndim - 1) or not (_have_memory(x, *others) and x.is_contiguous()):
        return False
    return engine.is_loaded or engine.compiler(size) is not None


def _is_unseen() -> bool:
    return not (is_recorded() or is_transformed() or forward_ad._current_level >= 0)


def _have_memory(x: Any, *others: Any) -> bool:
    dtype = x.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        return False
    for t in (x, *others):
        if type(t) not in PLAIN or not t.is_cpu or t.layout is not torch.strided or t.is_nested:
            return False
        if t.dtype is not dtype and t.dtype is not torch.bool:
            return False
    return True


def value(definition: Definition, x: Any, values: tuple[Any, ...]) -> Any:
    """Return the result for arguments that can be shared."""
    return _run(_kernel(definition), x, values)


def plain_value(definition: Definition, x: Any) -> Any:
    """Return the result for the defaults of all parameters."""
    y = _kernel(definition).plain(x.numpy(force=True))  # type: ignore[attr-defined]
    return generic.tree_map(torch.from_numpy, y)


def vjp(
    definition: Definition, wrt: tuple[str, ...], g: Any, x: Any, values: tuple[Any, ...]
) -> Any:
    """Return the gradients of the arguments in `wrt`."""
    return _run(_vjp_kernel(definition, wrt), x, (g, *values))


def vjp_at_result(definition: Definition, impl: Callable[..., Any], g: Any, y: Any) -> Any:
    """Return the gradient of a function along the last axis from its result."""
    return _run(_kernel_at_result(definition, impl), y, (g, *definition.defaults.values()))


@functools.cache
def _kernel_at_result(definition: Definition, impl: Callable[..., Any]) -> Kernel:
    def vjp(xp: Any, y: Any, g: Any, axis: Any, *_: Any) -> Any:
        return impl(xp, y, g, axis)

    return kernel_of(definition.part("vjp_at_result", vjp, g=COTANGENT), "fast", _team)


@functools.cache
def _kernel(definition: Definition) -> Kernel:
    return kernel_of(definition, "fast", _team)


@functools.cache
def _vjp_kernel(definition: Definition, wrt: tuple[str, ...]) -> Kernel:
    def impl(xp: Any, x: Any, g: Any, *values: Any) -> Any:
        # machine code has the halves of x as two arrays
        is_half = not isinstance(definition.bind(values).get("gate", ""), str)
        names = (*wrt, "gate") if is_half and "gate" not in wrt else wrt
        return gradients(definition, xp, g, x, values, names)

    return kernel_of(definition.part("vjp", impl, g=COTANGENT), "fast", _team)


def _team() -> int:
    """Return the address of the team of torch's own threads."""
    address: int = _address_of_openmp()(torch._C.__file__, torch.get_num_threads())
    return address


@functools.cache
def _address_of_openmp() -> Any:
    from ..numpy.team import address_of_openmp  # which needs Numba

    return address_of_openmp


def _run(kernel: Kernel, x: Any, values: tuple[Any, ...]) -> Any:
    arrays = tuple(_array(v) if isinstance(v, torch.Tensor) else v for v in values)
    result = kernel(x.numpy(force=True), tuple(map(type, arrays)), *arrays)
    return generic.tree_map(torch.from_numpy, result)


def _array(tensor: Any) -> Any:
    """Return a tensor as an array; FSDP resizes the memory of parameters, which numpy() forbids."""
    if type(tensor) is torch.nn.Parameter:
        return np.from_dlpack(tensor.detach())
    return tensor.numpy(force=True)
