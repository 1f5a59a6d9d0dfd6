"""PyTorch's own kernels, by function: the only place where this backend names one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, isfinite, pi, sqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from .namespace import is_concrete


class ForwardOnly(NamedTuple):
    """A kernel with accurate values but inaccurate gradients, which are given by ours.

    Where its own first gradient is accurate, ``vjp(g, x)`` is that of the plain backward pass; a
    gradient that will be differentiated again is ours.
    """

    kernel: Callable[[Any], Any]
    vjp: Callable[[Any, Any], Any] | None = None


class Native(NamedTuple):
    """An entry of the native table.

    bind : returns torch's kernel for given parameters, or None if it has none
    inaccurate_dtypes : the dtypes in which it is not accurate
    samples : whether it draws random numbers where none are given
    """

    bind: Callable[..., Callable[[Any], Any] | ForwardOnly | None]
    inaccurate_dtypes: frozenset[torch.dtype] = frozenset()
    samples: bool = False


def _ndtr(x: Any) -> Any:
    return 0.5 * torch.erfc(x * -sqrt(0.5))  # torch.special.ndtr is 0 in the tail


def _in_32_bits(kernel: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the kernel in 32 bits for 16-bit dtypes, which it lacks or where it is inaccurate."""
    return lambda x: kernel(x) if x.dtype.itemsize > 2 else kernel(x.float()).to(x.dtype)


_ndtri, _erf = _in_32_bits(torch.special.ndtri), _in_32_bits(torch.erf)


def _log_sigmoid(x: Any) -> Any:
    return -F.softplus(-x, threshold=40)  # F.logsigmoid keeps another array, and not the layout


def _softsign_vjp(g: Any, x: Any) -> Any:
    return g / (1 + x.abs()).square()


def _normal_vjp(rate: float, scale: float) -> Callable[[Any, Any], Any]:
    """Return g*scale*exp(-rate*x*x), whose own gradient is NaN where x*x overflows."""
    return lambda g, x: g * (scale * torch.exp(-rate * (x * x)))


def _identity(x: Any) -> Any:
    return x


def _dropout(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    def bind(p: float, training: bool, noise: Any) -> Callable[[Any], Any] | None:
        if not training or p == 0:
            return _identity
        return partial(kernel, p=p, training=True) if noise is None and p < 1 else None

    return bind


def _rrelu(lower: float, upper: float, training: bool, noise: Any) -> Callable[[Any], Any] | None:
    if not training:
        return partial(F.leaky_relu, negative_slope=(lower + upper) / 2)
    return partial(F.rrelu, lower=lower, upper=upper, training=True) if noise is None else None


def _along_one_axis(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    return lambda axis, where: (
        partial(kernel, dim=axis[0]) if where is None and len(axis) == 1 else None
    )


def _symmetric(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    return lambda lambd, lower, upper: (
        partial(kernel, lambd=lambd) if (lower, upper) == (None, None) and lambd < inf else None
    )


NATIVE: dict[str, Native] = {
    "erf": Native(
        # in bfloat16 it has only absolute accuracy near 0
        lambda: ForwardOnly(_erf, _normal_vjp(1.0, 2 / sqrt(pi)))
    ),
    "exponential": Native(lambda: torch.exp),
    "erfc": Native(lambda: ForwardOnly(torch.erfc, _normal_vjp(1.0, -2 / sqrt(pi)))),
    "erfinv": Native(lambda: torch.erfinv),
    "logit": Native(
        lambda eps: ForwardOnly(
            partial(torch.special.logit, eps=eps),
            # NaN by the ends, when differentiated
            lambda g, x: torch.ops.aten.logit_backward(g, x, eps),
        )
    ),
    "ndtr": Native(lambda: ForwardOnly(_ndtr, _normal_vjp(0.5, 1 / sqrt(2 * pi)))),
    "sigmoid": Native(lambda: torch.sigmoid),
    "tanh": Native(lambda: torch.tanh),
    "relu": Native(
        lambda negative_slope, max_value, threshold: (
            torch.relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
        )
    ),
    "leaky_relu": Native(lambda slope: partial(F.leaky_relu, negative_slope=slope)),
    "rrelu": Native(_rrelu, samples=True),
    # theirs of an infinite number is NaN where it is dropped
    "dropout": Native(_dropout(F.dropout), samples=True),
    "alpha_dropout": Native(_dropout(F.alpha_dropout), samples=True),
    "feature_alpha_dropout": Native(_dropout(F.feature_alpha_dropout), samples=True),
    "celu": Native(lambda alpha: partial(F.celu, alpha=alpha) if alpha < inf else None),
    "relu6": Native(lambda: F.relu6),
    "hard_tanh": Native(lambda low, high: partial(F.hardtanh, min_val=low, max_val=high)),
    "hard_swish": Native(lambda: F.hardswish),
    "soft_shrink": Native(_symmetric(F.softshrink)),
    "hard_shrink": Native(_symmetric(F.hardshrink)),
    "threshold": Native(lambda least, value: partial(F.threshold, threshold=least, value=value)),
    "log_sigmoid": Native(lambda: _log_sigmoid),
    # its gradient's is NaN where the square overflows
    "mish": Native(lambda: ForwardOnly(F.mish, torch.ops.aten.mish_backward)),
    # it keeps two arrays
    "softsign": Native(lambda: ForwardOnly(F.softsign, _softsign_vjp)),
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
            ForwardOnly(F.hardsigmoid, torch.ops.aten.hardsigmoid_backward)
            if (slope, offset) == (1 / 6, 0.5)
            else None
        ),
        # its derivative in float64 is the 1/6 of float32
        inaccurate_dtypes=frozenset({torch.float64}),
    ),
    "gelu": Native(
        lambda approximate: (
            None
            if approximate == "sigmoid"
            # its gradient is NaN where the cube overflows
            else ForwardOnly(partial(F.gelu, approximate="tanh"))
            if approximate in ("tanh", True)
            # and here that of the gradient is, where the square does
            else ForwardOnly(F.gelu, torch.ops.aten.gelu_backward)
        )
    ),
    "identity": Native(lambda: _identity),
    "softmax": Native(_along_one_axis(torch.softmax)),
    "log_softmax": Native(_along_one_axis(torch.log_softmax)),
}


def _is_finite(x: Any) -> bool:
    """Return whether all elements are finite; False also if their sum overflows."""
    return isfinite(x.detach().sum(dtype=torch.float32 if x.dtype.itemsize < 4 else None))


def _scale_query(query: Any, scale: Any) -> Any:
    """Return the query times a factor of the scores, or None if that is another result."""
    try:
        scale.expand(*query.shape[:-1], 1)
    except RuntimeError:  # it differs by key, or our error says more
        return None
    return query * scale.to(query.dtype) if query.dtype.itemsize > 2 else None  # as it is rounded


def _attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    bias: Any,
    is_causal: bool | str,
    scale: Any,
    softcap: Any,
    dropout: Any,
    noise: Any,
) -> Any:
    """Run torch's kernel, or return None where it would differ.

    It computes NaN from 0 times infinity, so that masked arrays must be finite.
    """
    if isinstance(scale, torch.Tensor):
        query, scale = _scale_query(query, scale), 1.0
        if query is None:
            return None
    arrays = (query, key, value)
    if (
        softcap is not None
        or isinstance(dropout, torch.Tensor)
        or dropout
        or is_causal == "lower_right"
        or min(x.ndim for x in arrays) < 3
    ):
        return None
    if any(0 in x.shape or x.shape[:-3] != query.shape[:-3] for x in arrays):
        return None
    if key.shape[:-1] != value.shape[:-1] or key.shape[-1] != query.shape[-1]:
        return None
    if query.shape[-3] % key.shape[-3]:
        return None
    added = bias if mask is None else mask
    is_known = all(map(is_concrete, arrays))
    if (added is not None or is_causal) and is_known and not all(map(_is_finite, arrays)):
        return None
    scores = (*query.shape[:-1], key.shape[-2])
    if added is not None:
        is_both = is_causal or (mask is not None and bias is not None)
        if is_both or not is_known:
            return None
        try:
            broadcast = added.expand(scores)
        except RuntimeError:  # of which our error says more
            return None
        # of what attends to nothing not every kernel makes 0
        if not (added.isfinite().all() if mask is None else added.any(-1).all()):
            return None
        if added.ndim < 2 or (added.ndim > 3 and query.ndim != 4):
            added = broadcast.reshape(-1, *scores[-3:])
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
"""torch's kernels of several tensors: of all arguments; None is no result."""
