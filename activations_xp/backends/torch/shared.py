"""Tensors of the CPU as NumPy arrays of the same memory, computed by what computes these.

torch runs an implementation operation by operation, each over the whole memory. NumPy's plans run
it block by block, or by machine code.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ..._definition import Definition
from ..._gradients import gradients
from ..._parameters import COTANGENT
from ..._typing import Kernel
from .. import generic
from ..numpy import BACKEND, engine
from .namespace import PLAIN, is_recorded, is_transformed

LARGE = 2**21
"""The elements from which on machine code computes rows faster than torch's kernel and a check.

Below, what it waits for is the threads of torch, which keep the cores for a while.
"""


def can_share(x: Any, *others: Any) -> bool:
    """Return whether NumPy can compute floats, and others or masks with them, unseen by torch.

    It cannot where something records or transforms the operations.
    """
    if is_recorded() or is_transformed() or forward_ad._current_level >= 0:
        return False
    if x.dtype is not torch.float32 and x.dtype is not torch.float64:
        return False
    is_differentiated = torch.is_grad_enabled()
    return all(
        type(t) in PLAIN
        and (t.dtype is x.dtype or t.dtype is torch.bool)
        and t.is_cpu
        and t.layout is torch.strided
        and not (t.is_nested or (is_differentiated and t.requires_grad))
        for t in (x, *others)
    )


def has_fast_rows(x: Any, axis: int) -> bool:
    """Return whether machine code computes many rows of float32, their sums in float64."""
    if axis != x.ndim - 1 or x.dtype is not torch.float32:
        return False
    return x.is_contiguous() and can_share(x) and engine.compiler(x.numel()) is not None


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


@functools.cache
def _kernel(definition: Definition) -> Kernel:
    return BACKEND.bind(definition, "fast", np.ndarray)


@functools.cache
def _vjp_kernel(definition: Definition, wrt: tuple[str, ...]) -> Kernel:
    def impl(xp: Any, x: Any, g: Any, *values: Any) -> Any:
        # machine code has the halves of x as two arrays
        is_half = not isinstance(definition.bind(values).get("gate", ""), str)
        names = (*wrt, "gate") if is_half and "gate" not in wrt else wrt
        return gradients(definition, xp, g, x, values, names)

    return BACKEND.bind(definition.part("vjp", impl, g=COTANGENT), "fast", np.ndarray)


def _run(kernel: Kernel, x: Any, values: tuple[Any, ...]) -> Any:
    arrays = tuple(_array(v) if isinstance(v, torch.Tensor) else v for v in values)
    result = kernel(x.numpy(force=True), tuple(map(type, arrays)), *arrays)
    return generic.tree_map(torch.from_numpy, result)


def _array(tensor: Any) -> Any:
    """Return a tensor as an array; FSDP resizes the memory of parameters, which numpy() forbids."""
    if isinstance(tensor, torch.nn.Parameter):
        return np.from_dlpack(tensor.detach())
    return tensor.numpy(force=True)
