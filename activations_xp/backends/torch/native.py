"""PyTorch's own kernels, by function: the only place where this backend names one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, isfinite, pi, sqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from ...numerics.arrays import broadcasts_to
from .namespace import is_concrete, is_known

nn = torch._C._nn
"""The functions of F without their Python code, which takes a tenth of the time of a small call."""


class ForwardOnly(NamedTuple):
    """A kernel with accurate values, whose gradient torch would compute inaccurately or slowly.

    ``vjp(g, x)`` is that of the plain backward pass; a gradient that will be differentiated again
    is ours. Of fewer than `least` elements torch's own graph is taken, which is faster there; if
    `is_once`, its gradient has a wrong gradient. It is then one node that saves x, ``_saved_self``.
    ``vjp_at_result(g, y)``, if there is one, is that at the result, which is then saved for x, and
    ``impl_at_result(xp, y, g, axis)`` the same on `xp`. The kernel works along `axis`. Where there
    is machine code, it is faster than the kernel from `value_from` elements on, and than `vjp` from
    `vjp_from` on.
    """

    kernel: Callable[[Any], Any]
    vjp: Callable[[Any, Any], Any]
    least: float = 0
    is_once: bool = False
    vjp_at_result: Callable[[Any, Any], Any] | None = None
    impl_at_result: Callable[..., Any] | None = None
    axis: int | None = None
    value_from: float = 0
    vjp_from: float = 0


class SmallOnly(NamedTuple):
    """A kernel, and another one that machine code computes faster, where there is some."""

    kernel: Callable[[Any], Any]
    others: ForwardOnly


def _small_only(
    kernel: Callable[[Any], Any], vjp: Callable[[Any, Any], Any], **others: Any
) -> SmallOnly:
    return SmallOnly(kernel, ForwardOnly(kernel, vjp, 2**18, **others))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

LARGE = 2**21
"""So many elements take more time to read and write than to compute."""


_VECTOR = 64 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 32
"""The bytes of the numbers that torch adds at once, at least."""


class ShortRows(NamedTuple):
    """A kernel that is accurate along an axis of at most so many elements, and one for more.

    torch adds the exponentials of a row one after the other. Rounding can take half a unit in the
    last place from each sum, so that the rest of a long row is lost beside a large element.
    """

    along: Callable[[Any, int], Any]
    axis: int
    others: ForwardOnly

    def kernel(self, x: Any) -> Any:
        """Return the result for short rows."""
        return self.along(x, self.axis)

    def longest(self, dtype: torch.dtype, ndim: int) -> int:
        """Return the number of elements."""
        if dtype.itemsize == 2:  # summed in float32; log_softmax has the sum in float16
            return 2**15
        sums = _VECTOR // dtype.itemsize if self.axis == ndim - 1 else 1  # which are added at last
        return 12 * sums


class Native(NamedTuple):
    """An entry of the native table.

    bind : returns torch's kernel for given parameters, or None if it has none
    inaccurate_dtypes : the dtypes in which it is not accurate
    samples : whether it draws random numbers where none are given
    is_mapped : whether it can be mapped by torch.func.vmap
    """

    bind: Callable[..., Callable[[Any], Any] | ForwardOnly | ShortRows | SmallOnly | None]
    inaccurate_dtypes: frozenset[torch.dtype] = frozenset()
    samples: bool = False
    is_mapped: bool = True


def _ndtr(x: Any) -> Any:
    return 0.5 * torch.erfc(x * -sqrt(0.5))  # torch.special.ndtr is 0 in the tail


def _in_32_bits(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel in 32 bits for 16-bit dtypes, which it lacks or where it is inaccurate."""

    def run(x: Any, *others: Any) -> Any:
        if x.dtype.itemsize > 2:
            return kernel(x, *others)
        return kernel(x.float(), *(t.float() for t in others)).to(x.dtype)

    run.in_wide_dtypes = kernel  # type: ignore[attr-defined]
    return run


def at_dtype(kernel: Any, dtype: torch.dtype) -> Any:
    """Return a kernel, or what it is made of, without the choice that its dtype decides."""
    if isinstance(kernel, ForwardOnly):
        forward = at_dtype(kernel.kernel, dtype)
        is_converted = forward is kernel.kernel and hasattr(forward, "in_wide_dtypes")
        return kernel._replace(kernel=forward, least=0 if is_converted else kernel.least)
    return getattr(kernel, "in_wide_dtypes", kernel) if dtype.itemsize > 2 else kernel


def _at(kernel: Callable[..., Any], *values: Any, defaults: Any) -> Callable[[Any], Any]:
    """Return a kernel at parameters; torch takes 0.2 us to read one that it could know."""
    return kernel if values == defaults else lambda x: kernel(x, *values)


_ndtri, _erf = _in_32_bits(torch.special.ndtri), _in_32_bits(torch.erf)


def _log_sigmoid(x: Any) -> Any:
    """Return F.logsigmoid, which keeps not every layout."""
    return F.logsigmoid(x) if x.is_contiguous() else -F.softplus(-x, 1, 40)


def _backward_in(t: Any, kernel: Any, g: Any, *args: Any, **kwargs: Any) -> Any:
    """Return ``kernel(g, t, ...)``, in the memory of the temporary tensor t where it has one."""
    if is_concrete(g) and is_concrete(t):
        kernel, kwargs = kernel.grad_input, {**kwargs, "grad_input": t}
    return kernel(g, t, *args, **kwargs)


def _log_sigmoid_vjp(g: Any, x: Any) -> Any:
    """Return g*sigmoid(-x); torch's own gradient keeps another array."""
    if is_concrete(g) and is_concrete(x):
        return torch.neg(x).sigmoid_().mul_(g)
    return torch.sigmoid(-x) * g


def _gelu_vjp(approximate: str, g: Any, x: Any) -> Any:
    """Return torch's gradient, which is NaN where a power overflows, at numbers up to 10.

    There, and from there on, the derivative of an approximation is 0 or 1.
    """
    near = x.clamp(-10.0, 10.0)
    return _backward_in(near, torch.ops.aten.gelu_backward, g, approximate=approximate)


def _softsign_vjp(g: Any, x: Any) -> Any:
    return g / (1 + x.abs()).square()


def _tanh_shrink_vjp(g: Any, x: Any) -> Any:
    if is_concrete(g) and is_concrete(x):
        return torch.tanh(x).square_().mul_(g)
    return torch.tanh(x).square() * g


def _over_density(y: Any, tail: Any) -> Any:
    """Return sqrt(pi)/2*exp(y*y) as erfcx(y)/erfc(y), with which errors of y are not magnified."""
    y = y.abs().clamp(max=40.0)  # inf at the ends of the domain
    return sqrt(pi) / 2 * torch.special.erfcx(y) / tail


@_in_32_bits
def _erfinv_vjp(g: Any, x: Any) -> Any:
    return g * _over_density(torch.erfinv(x), 1 - x.abs())


@_in_32_bits
def _ndtri_vjp(g: Any, x: Any) -> Any:
    tails = 2 * torch.minimum(x, 1 - x).abs()  # 0 for -0
    return g * (sqrt(8) * _over_density(torch.special.ndtri(x) * sqrt(0.5), tails))


def _normal_vjp(rate: float, scale: float) -> Callable[[Any, Any], Any]:
    """Return g*scale*exp(-rate*x*x), whose own gradient is NaN where x*x overflows."""
    return lambda g, x: g * (scale * torch.exp(-rate * (x * x)))


def _at_result(
    kernel: Callable[[Any], Any], vjp_at_result: Callable[[Any, Any], Any], least: float = 0
) -> SmallOnly:
    return _small_only(
        kernel,
        lambda g, x: vjp_at_result(g, kernel(x)),
        vjp_at_result=vjp_at_result,
        value_from=least,
        vjp_from=inf,
    )


def _elu_vjp(alpha: float, scale: float, rate: float) -> Callable[[Any, Any], Any]:
    return lambda g, x: torch.ops.aten.elu_backward(g, alpha, scale, rate, False, x)


def _softplus(beta: float, threshold: float) -> SmallOnly:
    """Return F.softplus; its own threshold of 20 cuts off what float64 still sees."""
    beta = 1 if beta == 1 else beta  # torch reads an int faster than a float

    def vjp(g: Any, x: Any) -> Any:
        return torch.ops.aten.softplus_backward(g, x, beta, threshold)

    return _small_only(lambda x: F.softplus(x, beta, threshold), vjp)


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
        return _at(nn.leaky_relu, (lower + upper) / 2, defaults=(0.01,))
    return _in_32_bits(partial(_sampled_rrelu, lower, upper)) if noise is None else None


def _sampled_rrelu(lower: float, upper: float, x: Any) -> Any:
    """Return F.rrelu, which saves the slopes for its gradient before they are drawn.

    A hook on what is saved, such as that of a checkpoint, gets memory that is not yet written.
    """
    if not x.requires_grad:
        return F.rrelu(x, lower, upper, training=True)
    slopes = torch.empty_like(x, memory_format=torch.contiguous_format)  # as it is filled
    torch.ops.aten.rrelu_with_noise(x.detach(), slopes, lower, upper, True)
    return x * slopes


def _is_1(total: Any) -> bool:
    """Return whether sums are known to be 1 but for half of the error that "fast" may have."""
    if not (total.is_cpu and is_concrete(total) and total.numel()):
        return False
    error: float = (total - 1).abs_().max().item()  # NaN if one is
    return error <= 4 * torch.finfo(total.dtype).eps


def _long_softmax(axis: int, x: Any) -> Any:
    y = torch.softmax(x, axis)
    total = y.sum(axis, keepdim=True)  # which torch sums pairwise
    if y.requires_grad:
        return y / total
    return y if _is_1(total) else y.div_(total)


def _softmax_vjp(axis: int, g: Any, y: Any) -> Any:
    gy = g * y
    return gy.addcmul_(y, gy.sum(axis, keepdim=True), value=-1)


def _long_log_softmax(axis: int, x: Any) -> Any:
    y = torch.log_softmax(x, axis)
    total = y.exp().sum(axis, keepdim=True)
    if y.requires_grad:
        return y - total.log()
    return y if _is_1(total) else y.sub_(total.log())


def _softmax_vjp_on(xp: Any, y: Any, g: Any, axis: Any) -> Any:
    return y * (g - xp.sum(g * y, axis=axis, keepdims=True))


def _log_softmax_vjp(axis: int, g: Any, y: Any) -> Any:
    weights, total = y.exp(), g.sum(axis, keepdim=True)
    is_free = not torch.is_grad_enabled() and is_concrete(g) and is_concrete(y)
    out = {"out": weights} if is_free else {}
    return torch.addcmul(g, weights, total, value=-1, **out)


def _log_softmax_vjp_on(xp: Any, y: Any, g: Any, axis: Any) -> Any:
    return g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True)


def _along_one_axis(
    kernel: Callable[..., Any],
    long: Callable[..., Any],
    vjp_at_result: Callable[..., Any],
    impl_at_result: Callable[..., Any],
) -> Callable[..., ShortRows | None]:
    def bind(axes: tuple[int, ...], where: Any) -> ShortRows | None:
        if where is not None or len(axes) != 1:
            return None
        (axis,) = axes

        def at_length(x: Any) -> Any:
            if x.dtype is torch.float32 and x.is_cpu and x.numel() < 2**13:  # faster than a check
                return kernel(x, axis, dtype=torch.float64).float()
            return long(axis, x)

        run, vjp = _in_32_bits(at_length), _in_32_bits(partial(vjp_at_result, axis))
        others = ForwardOnly(
            run,
            lambda g, x: vjp(g, run(x)),
            vjp_at_result=vjp,
            impl_at_result=impl_at_result,
            axis=axis,
            vjp_from=inf,
        )
        return ShortRows(kernel, axis, others)

    return bind


def _symmetric(kernel: Callable[..., Any]) -> Callable[..., Callable[[Any], Any] | None]:
    return lambda lambd, lower, upper: (
        _at(kernel, lambd, defaults=(0.5,))
        if (lower, upper) == (None, None) and lambd < inf
        else None
    )


NATIVE: dict[str, Native] = {
    "erf": Native(
        # in bfloat16 it has only absolute accuracy near 0
        lambda: ForwardOnly(_erf, _normal_vjp(1.0, 2 / sqrt(pi)), 2**14, True)
    ),
    "exponential": Native(lambda: torch.exp),
    "erfc": Native(
        # it has more digits in the tail
        lambda: ForwardOnly(
            torch.erfc, _normal_vjp(1.0, -2 / sqrt(pi)), 2**14, True, value_from=inf
        )
    ),
    "erfinv": Native(lambda: ForwardOnly(torch.erfinv, _erfinv_vjp)),
    "logit": Native(
        lambda eps: ForwardOnly(
            partial(torch.special.logit, eps=eps),
            # NaN by the ends, when differentiated
            lambda g, x: torch.ops.aten.logit_backward(g, x, eps),
        )
    ),
    "ndtr": Native(lambda: ForwardOnly(_ndtr, _normal_vjp(0.5, 1 / sqrt(2 * pi)))),
    "sigmoid": Native(lambda: _at_result(torch.sigmoid, torch.ops.aten.sigmoid_backward, 2**18)),
    "tanh": Native(lambda: _at_result(torch.tanh, torch.ops.aten.tanh_backward)),
    "relu": Native(
        lambda negative_slope, max_value, threshold: (
            torch.relu if (negative_slope, max_value, threshold) == (0, None, 0) else None
        )
    ),
    "leaky_relu": Native(lambda slope: _at(nn.leaky_relu, slope, defaults=(0.01,))),
    "rrelu": Native(_rrelu, samples=True, is_mapped=False),
    # theirs of an infinite number is NaN where it is dropped
    "dropout": Native(_dropout(F.dropout), samples=True),
    "alpha_dropout": Native(_dropout(F.alpha_dropout), samples=True),
    "feature_alpha_dropout": Native(_dropout(F.feature_alpha_dropout), samples=True),
    "celu": Native(
        lambda alpha: (
            _small_only(_at(torch.celu, alpha, defaults=(1,)), _elu_vjp(alpha, 1, 1 / alpha))
            if 1e-38 < abs(alpha) < inf  # torch divides by it
            else None
        )
    ),
    "relu6": Native(lambda: nn.relu6),
    "hard_tanh": Native(lambda low, high: _at(nn.hardtanh, low, high, defaults=(-1, 1))),
    "hard_swish": Native(lambda: nn.hardswish),
    "soft_shrink": Native(_symmetric(F.softshrink)),
    "hard_shrink": Native(_symmetric(F.hardshrink)),
    "threshold": Native(lambda least, value: lambda x: F.threshold(x, least, value)),
    "log_sigmoid": Native(lambda: ForwardOnly(_log_sigmoid, _log_sigmoid_vjp, 2**12)),
    # its gradient's is NaN where the square overflows
    "mish": Native(lambda: ForwardOnly(nn.mish, torch.ops.aten.mish_backward, 2**15, True)),
    # it keeps two arrays
    "softsign": Native(lambda: ForwardOnly(F.softsign, _softsign_vjp)),
    # its gradient 1 - (1 - tanh(x)**2) loses all digits near 0
    "tanh_shrink": Native(lambda: ForwardOnly(F.tanhshrink, _tanh_shrink_vjp)),
    "ndtri": Native(lambda: ForwardOnly(_ndtri, _ndtri_vjp)),
    "softmin": Native(
        _along_one_axis(
            lambda x, axis, dtype=None: torch.softmax(-x, axis, dtype=dtype),
            lambda axis, x: _long_softmax(axis, -x),
            lambda axis, g, y: _softmax_vjp(axis, -g, y),
            lambda xp, y, g, axis: -_softmax_vjp_on(xp, y, g, axis),
        )
    ),
    "elu": Native(
        lambda alpha: _small_only(_at(nn.elu, alpha, defaults=(1,)), _elu_vjp(alpha, 1, 1))
    ),
    "selu": Native(lambda: _small_only(torch.selu, _elu_vjp(SELU_ALPHA, SELU_SCALE, 1))),
    "silu": Native(
        lambda beta: (
            _small_only(nn.silu, torch.ops.aten.silu_backward, value_from=2**18, vjp_from=2**18)
            if beta == 1
            else None
        )
    ),
    "softplus": Native(
        lambda beta, threshold: _softplus(beta, 40 if threshold is None else threshold)
    ),
    "hard_sigmoid": Native(
        lambda slope, offset: (
            # torch cannot differentiate its gradient
            ForwardOnly(
                nn.hardsigmoid, torch.ops.aten.hardsigmoid_backward, LARGE, True, value_from=LARGE
            )
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
            else ForwardOnly(partial(F.gelu, approximate="tanh"), partial(_gelu_vjp, "tanh"))
            if approximate in ("tanh", True)
            # and here that of the gradient is, where the square does
            else ForwardOnly(F.gelu, torch.ops.aten.gelu_backward, 2**17, True, value_from=LARGE)
        )
    ),
    "identity": Native(lambda: _identity),
    "softmax": Native(_along_one_axis(torch.softmax, _long_softmax, _softmax_vjp, _softmax_vjp_on)),
    "log_softmax": Native(
        _along_one_axis(torch.log_softmax, _long_log_softmax, _log_softmax_vjp, _log_softmax_vjp_on)
    ),
}


def _is_finite(x: Any) -> bool:
    """Return whether all elements are finite; False also if their sum overflows."""
    return isfinite(x.detach().sum(dtype=torch.float32 if x.dtype.itemsize < 4 else None))


def _scale_query(query: Any, scale: Any) -> Any:
    """Return the query times a factor of the scores, or None if that is another result."""
    if not broadcasts_to(scale.shape, (*query.shape[:-1], 1)):
        return None  # it differs by key, or our error says more
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

    It computes NaN from 0 times infinity, so that masked arrays must be finite. Where values cannot
    be read, as under a compiler, this is given up for what some of the queries attend to: with a
    mask, a NaN or infinity of such a key or value reaches the others, too.
    """
    if isinstance(scale, torch.Tensor):
        query, scale = _scale_query(query, scale), 1.0
        if query is None:
            return None
    arrays = (query, key, value)
    if query.is_cpu and hasattr(query, "placements"):
        return None  # the gradient of the kernel has no sharding strategy there
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
    sums_queries = key.requires_grad or value.requires_grad
    summed = [key.shape[-2], *([query.shape[-2]] if sums_queries else [])]
    longest = 1024 if query.dtype.itemsize > 2 else 2048
    if query.is_cpu and any(is_known(n) and n > longest for n in summed):
        return None  # it adds the blocks of a row one after the other, and gradients in 16 bits
    added, attends = bias if mask is None else mask, None
    are_known = all(map(is_concrete, arrays))
    if (added is not None or is_causal) and are_known and not all(map(_is_finite, arrays)):
        return None
    scores = (*query.shape[:-1], key.shape[-2])
    if added is not None:
        is_both = is_causal or (mask is not None and bias is not None)
        if is_both or not broadcasts_to(added.shape, scores):  # of which our error says more
            return None
        # of what attends to nothing not every kernel makes 0
        if are_known:
            if not (added.isfinite().all() if mask is None else added.any(-1).all()):
                return None
        elif mask is None:
            return None
        else:
            added, attends, key, value = _mask_of_unknown(mask, scores, key, value)
        if added.ndim < 2 or (added.ndim > 3 and query.ndim != 4):
            added = added.expand(scores).reshape(-1, *scores[-3:])
    is_batch = query.ndim == 4  # or its axes are not as many
    if not is_batch:
        query, key, value = (x.reshape(-1, *x.shape[-3:]) for x in (query, key, value))
    result = F.scaled_dot_product_attention(
        query,
        key,
        value,
        added,
        is_causal=bool(is_causal),
        scale=scale,
        enable_gqa=bool(query.shape[-3] != key.shape[-3]),
    )
    result = result if is_batch else result.reshape(*scores[:-1], value.shape[-1])
    return result if attends is None else torch.where(attends, result, 0.0)


def _mask_of_unknown(mask: Any, scores: tuple[Any, ...], key: Any, value: Any) -> tuple[Any, ...]:
    """Return a mask in which each query attends to something, and which queries do in `mask`.

    The others, key and value, are 0 where no query of a head attends to them.
    """
    mask = mask.expand(*(1,) * (2 - mask.ndim), *mask.shape)
    attends = mask.any(-1, keepdim=True)
    used = mask.any(-2).unsqueeze(-1).expand(*scores[:-2], scores[-1], 1)
    if scores[-3] != key.shape[-3]:
        used = used.unflatten(-3, (key.shape[-3], -1)).any(-3)
    key, value = (torch.where(used, x, 0.0) for x in (key, value))
    return mask | ~attends, attends, key, value


OPERATIONS: dict[str, Callable[..., Any]] = {"scaled_dot_product_attention": _attention}
"""torch's kernels of several tensors: of all arguments; None is no result."""


_CLASSES = ("head_weight", "tail_weights", "head_bias")

ROWWISE: dict[str, tuple[str, ...]] = {
    "adaptive_log_prob": _CLASSES,
    "adaptive_predict": _CLASSES,
    "attention_with_lse": ("key", "value"),
    "scaled_dot_product_attention": ("key", "value"),
}
"""Operations that compute each row of the first array by itself, and the arrays that all need."""


AUTOCAST: dict[str, str] = {
    "adaptive_log_prob": "first",
    "adaptive_log_softmax_with_loss": "first",
    "adaptive_predict": "first",
    "attention_with_lse": "lower",
    "erfinv": "float32",
    "exponential": "float32",
    "gumbel_softmax": "float32",
    "layer_norm": "float32",
    "log_softmax": "float32",
    "logsumexp": "float32",
    "merge_attention": "first",
    "multi_head_attention": "lower",
    "normalize": "float32",
    "prelu": "lower",
    "rms_norm": "float32",
    "scaled_dot_product_attention": "lower",
    "softmax": "float32",
    "softmin": "float32",
    "softplus": "float32",
}
"""The dtype that torch casts arrays to under autocast: its own ("lower"), that of the first array,
or, on other devices than the CPU, float32 if they have 16 bits. Other functions keep it."""
