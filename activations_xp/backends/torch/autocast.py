"""torch's cast policy: the dtypes in which functions are computed while autocast is on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ..._typing import Kernel


def is_on(x: Any) -> bool:
    """Return whether autocast is on for the device of x."""
    if x.is_cpu:
        return torch.is_autocast_enabled("cpu")
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def switched_off(x: Any) -> AbstractContextManager[Any]:
    """Return a context in which operations have the dtype that an implementation chose."""
    return torch.autocast(x.device.type, enabled=False) if is_on(x) else nullcontext()


def cast(policy: str, x: Any, parameters: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return the arrays in the dtype of a policy: "lower" or "first", of `native.AUTOCAST`."""
    if not is_on(x):
        return x, parameters
    dtype = torch.get_autocast_dtype(x.device.type) if policy == "lower" else x.dtype

    def convert(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(map(convert, value))
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        is_eligible = value.dtype is not torch.float64 and value.dtype.itemsize > 1
        return value.to(dtype) if is_eligible else value

    return convert(x), convert(parameters)


def casting(kernel: Kernel, policy: str) -> Kernel:
    """Return a kernel whose arrays are cast by a policy."""

    def run(x: Any, types: tuple[type, ...], *parameters: Any) -> Any:
        x, parameters = cast(policy, x, parameters)
        return kernel(x, types, *parameters)

    run.__wrapped__ = kernel  # type: ignore[attr-defined]
    return run


def widening(
    run: Callable[..., Any], make: Callable[[Any], Callable[..., Any]]
) -> Callable[..., Any]:
    """Return a function of 16-bit tensors that is ``make(x)`` of x in float32 under autocast.

    On the CPU, no such function is.
    """

    def run_wider(x: Any, *arrays: Any) -> Any:
        if x.is_cpu or not is_on(x):
            return run(x, *arrays)
        x = x.float()
        return make(x)(x, *arrays)

    return run_wider
