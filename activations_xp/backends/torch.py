"""PyTorch: its own kernel where the table says that it is as accurate, else the computation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import array_api_compat.torch as compat
import torch
import torch.nn.functional as F  # noqa: N812

from .._parameters import check
from .._typing import Kernel
from . import generic

if TYPE_CHECKING:
    from .._activation import Definition
    from .._dispatch import Implementation


xp = generic.overlay(
    torch,
    **generic.one_sided(torch),
    astype=lambda x, dtype: x.to(dtype=dtype),
    isdtype=compat.isdtype,
    cumulative_sum=torch.cumsum,
    permute_dims=torch.permute,
    sort=lambda x, axis=-1: torch.sort(x, dim=axis).values,
    min=torch.amin,
    # torch takes no axis for all of them
    max=lambda x, axis, keepdims=False: x if axis == () else torch.amax(x, axis, keepdims),
    sum=lambda x, axis, keepdims=False: x if axis == () else torch.sum(x, axis, keepdims),
)
"""torch under the standard's names. array-api-compat's wrappers cost 2-8 us and some of them
break fullgraph=True or vmap."""


class Native(NamedTuple):
    """torch's kernel for given parameters (None: it has none), and dtypes in which it is amiss."""

    bind: Callable[..., Callable[[Any], Any] | None]
    amiss: frozenset[torch.dtype] = frozenset()


def _ndtr(x: Any) -> Any:
    return 0.5 * torch.erfc(x * -sqrt(0.5))  # torch.special.ndtr is 0 in the tail


NATIVE: dict[str, Native] = {
    "erf": Native(
        lambda: torch.erf,
        # in bfloat16 it has only absolute accuracy near 0
        amiss=frozenset({torch.bfloat16}),
    ),
    "erfc": Native(lambda: torch.erfc),
    "erfinv": Native(lambda: torch.erfinv),
    "logit": Native(lambda eps: partial(torch.special.logit, eps=eps)),
    "ndtr": Native(lambda: _ndtr),
    "sigmoid": Native(lambda: torch.sigmoid),
    "tanh": Native(lambda: torch.tanh),
    "relu": Native(
        lambda negative_slope, max_value, threshold: (
            torch.relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
        )
    ),
    "leaky_relu": Native(lambda slope: partial(F.leaky_relu, negative_slope=slope)),
    "elu": Native(lambda alpha: partial(F.elu, alpha=alpha)),
    "selu": Native(lambda: F.selu),
    "silu": Native(lambda beta: F.silu if beta == 1 else None),
    "softplus": Native(
        lambda beta, threshold: partial(
            F.softplus, beta=beta, threshold=20 if threshold is None else threshold
        ),
        # its threshold of 20 cuts off what float64 still sees
        amiss=frozenset({torch.float64}),
    ),
    "hard_sigmoid": Native(
        lambda slope, offset: F.hardsigmoid if (slope, offset) == (1 / 6, 0.5) else None,
        # its derivative in float64 is the 1/6 of float32
        amiss=frozenset({torch.float64}),
    ),
    "gelu": Native(
        lambda approximate: (
            None
            if approximate == "sigmoid"
            else partial(F.gelu, approximate="tanh" if approximate in ("tanh", True) else "none")
        )
    ),
    "softmax": Native(
        lambda axis, where: (
            partial(torch.softmax, dim=axis[0]) if where is None and len(axis) == 1 else None
        )
    ),
    "log_softmax": Native(
        lambda axis, where: (
            partial(torch.log_softmax, dim=axis[0]) if where is None and len(axis) == 1 else None
        )
    ),
}

is_tracing = torch.compiler.is_dynamo_compiling


def bind(definition: Definition, which: Implementation, kind: type) -> Kernel:
    """A kernel that runs torch's own or the computation."""
    plain = kind in (torch.Tensor, torch.nn.Parameter)
    # what other subclasses are made of (shards, rows of unequal length) torch's kernels may lack
    native = NATIVE.get(definition.name) if plain and which != "portable" else None

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[[Any], Any], bool]:
        values = check(definition, x, parameters)
        compute, result = generic.precision(definition, xp, x, values, torch.get_default_dtype())
        fixed = not any(isinstance(value, torch.Tensor) for value in values)
        constant = fixed and x.dtype == result  # the default dtype may change
        if native and fixed and result.is_floating_point and result.itemsize > 1:
            own = native.bind(*values) if which == "native" or result not in native.amiss else None
            if own is not None:
                return (own if x.dtype == result else lambda x: own(x.to(result))), constant

        def portable(x: Any) -> Any:
            return generic.evaluate(definition, xp, x, values, compute, result)

        return portable, constant

    return generic.planned(definition, make, is_tracing)
