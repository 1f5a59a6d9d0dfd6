"""PyTorch: attention beside torch's own and its MultiheadAttention, fully masked rows apart."""

from __future__ import annotations

import functools
import itertools
import math
import operator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import accurate, in_sweep, noting, over

import activations_xp as ax

sdpa, multi_head = ax.scaled_dot_product_attention, ax.multi_head_attention


def _arrays(q_len=5, kv_len=7, kv_heads=2, v_dim=4, dtype=torch.float64):
    """Return queries of four heads, keys and values."""
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, q_len, 4), (2, kv_heads, kv_len, 4), (2, kv_heads, kv_len, v_dim)
    return [
        torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes
    ]


def _mask():
    """Return a mask of the scores that leaves nothing to one query."""
    mask = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[0, 0, 2] = False
    return mask


def _values_and_gradients(function, arrays):
    y = function(*arrays)
    generator = torch.Generator().manual_seed(2)
    g = torch.randn(y.shape, dtype=y.dtype, generator=generator)
    return (y.detach(), *torch.autograd.grad(y, arrays, g))


OPTIONS = [
    options
    for options in itertools.product(
        [2, 4], [4, 3], [None, "bool", "float"], [False, True], [None, 0.7]
    )
    if not (options[2] and options[3])  # torch takes no mask together with is_causal
]


@over("form", ["fast", "accurate"])
@over(("kv_heads", "v_dim", "mask", "causal", "scale"), OPTIONS)
def test_values_and_gradients_beside_torch(kv_heads, v_dim, mask, causal, scale, form):
    arrays = _arrays(kv_heads=kv_heads, v_dim=v_dim)
    ours, theirs = {}, {}
    if mask == "bool":
        ours["mask"] = theirs["attn_mask"] = _mask()
    elif mask == "float":
        bias = torch.randn(4, 5, 7, dtype=torch.float64).requires_grad_()
        arrays.append(bias)
    call = sdpa if form == "fast" else accurate(sdpa)

    def attention(query, key, value, bias=None):
        return call(query, key, value, bias=bias, is_causal=causal, scale=scale, **ours)

    def their_attention(query, key, value, bias=None):
        given = theirs if bias is None else {"attn_mask": bias}
        options = {"is_causal": causal, "scale": scale, "enable_gqa": kv_heads != 4}
        return F.scaled_dot_product_attention(query, key, value, **given, **options)

    got, expected = (_values_and_gradients(f, arrays) for f in (attention, their_attention))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


@over("dtype", [torch.float32, torch.float16, torch.bfloat16])
@over("causal", [False, True])
@over(("q_len", "kv_len"), [(5, 5), (300, 300), (2, 200_000)])
def test_error_of_the_native_kernel_and_of_ours(q_len, kv_len, causal, dtype):
    """Bound both in units of the last place, for scores of at most 6.

    The rounding of a score weighs as much as the score. The truth is torch's kernel in float64.
    """
    arrays = [x.detach() for x in _arrays(q_len, kv_len, dtype=dtype)]
    wide = [x.double() for x in arrays]
    exact = F.scaled_dot_product_attention(*wide, is_causal=causal, enable_gqa=True)
    sizes = sdpa(*wide[:2], wide[2].abs(), is_causal=causal)
    for form in (sdpa, accurate(sdpa)):
        y = form(*arrays, is_causal=causal)
        error = (y.double() - exact).abs() / (torch.finfo(dtype).eps * sizes)
        assert error.max() <= (8 if dtype == torch.float32 else 1)


@over("dtype", [torch.float32, torch.bfloat16])
@over(("q_len", "kv_len"), [(300, 300), (2, 100_000), (100_000, 2)])
def test_error_of_gradients(q_len, kv_len, dtype):
    """Gradients are sums of one sign here, over queries or over keys.

    The query's is a difference of large terms, which float32 does not hold.
    """
    arrays = [(x.detach().abs() + 0.5).to(dtype) for x in _arrays(q_len, kv_len)]
    g = torch.rand(2, 4, q_len, 4, generator=torch.Generator().manual_seed(2)).to(dtype)
    wide = [x.double().requires_grad_() for x in arrays]
    y = F.scaled_dot_product_attention(*wide, enable_gqa=True)
    exact = torch.autograd.grad(y, wide, g.double())
    leaves = [x.requires_grad_() for x in arrays]
    counted = slice(1 if dtype is torch.float32 else 0, None)
    for form in (sdpa, accurate(sdpa)):
        got = torch.autograd.grad(form(*leaves), leaves, g)
        for dx, true in list(zip(got, exact, strict=True))[counted]:
            error = (dx.double() - true).abs().max() / true.abs().max()
            assert error <= 16 * torch.finfo(dtype).eps


@pytest.fixture
def kernel_calls(monkeypatch):
    """Return a list to which each call of torch's kernel appends."""
    calls = []
    kernel = F.scaled_dot_product_attention

    def recorded(*args, **kwargs):
        calls.append(kwargs)
        return kernel(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    return calls


ALL_KEYS = torch.ones(5, 7, dtype=torch.bool)
BIAS = torch.zeros(5, 7, dtype=torch.float64)
NOTHING_FOR_ONE = ALL_KEYS & (torch.arange(5) != 1)[:, None]

TAKEN = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"mask": ALL_KEYS},
    "mask of one row": {"mask": ALL_KEYS[0]},
    "bias": {"bias": BIAS},
}
NOT_TAKEN = {
    "mask of nothing": {"mask": NOTHING_FOR_ONE},
    "bias of nothing": {"bias": BIAS.masked_fill(~NOTHING_FOR_ONE, -math.inf)},
    "mask and bias": {"mask": ALL_KEYS, "bias": BIAS},
    "mask and causal": {"mask": ALL_KEYS, "is_causal": True},
    "softcap": {"softcap": 2.0},
    "lower right": {"is_causal": "lower_right"},
    "dropout": {"dropout": 0.5, "noise": torch.rand(2, 4, 5, 7)},
}


@over("options", TAKEN)
def test_native_kernel_is_taken(options, kernel_calls):
    sdpa(*_arrays(), **TAKEN[options])
    assert len(kernel_calls) == 1


@over("options", NOT_TAKEN)
def test_native_kernel_is_not_taken(options, kernel_calls):
    sdpa(*_arrays(), **NOT_TAKEN[options])
    assert not kernel_calls


def test_native_kernel_is_not_taken_for_our_form(kernel_calls):
    accurate(sdpa)(*_arrays())
    assert not kernel_calls


@over("options", [{"is_causal": True}, {"mask": ALL_KEYS}])
def test_native_kernel_is_not_taken_for_nonfinite_values(options, kernel_calls):
    query, key, value = _arrays()
    nonfinite = value.detach().clone()
    nonfinite[..., -1, :] = math.nan
    sdpa(query, key, nonfinite, **options)
    assert not kernel_calls


def test_native_kernel_is_not_taken_for_the_vjp(kernel_calls):
    arrays = _arrays()
    g = torch.ones_like(sdpa(*arrays))
    kernel_calls.clear()
    sdpa.vjp(g, *arrays)
    assert not kernel_calls


# masks


def test_fully_masked_query_beside_torch():
    """The module has NaN in weights and gradients, and 0 without weights: pytorch#41508."""
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    pad = torch.tensor([[True] * 3, [False] * 3])
    theirs, their_weights = module(x, x, x, key_padding_mask=pad)
    assert theirs[0].isnan().all()
    assert their_weights[0].isnan().all()
    (g,) = torch.autograd.grad(theirs[1].sum(), module.in_proj_weight)
    assert g.isnan().any()
    weights = _weights(module)
    y, w = multi_head(x, x, x, 2, **weights, key_mask=~pad, need_weights=True)
    torch.testing.assert_close(y[1], theirs[1], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(y[0], module.out_proj.bias.expand(3, 8), rtol=0, atol=0)
    assert (w[0] == 0).all()
    for part in torch.autograd.grad(y.sum() + w.sum(), weights.values()):
        assert part.isfinite().all()
    alone, _ = module(x, x, x, key_padding_mask=pad, need_weights=False)
    torch.testing.assert_close(y, alone, rtol=1e-12, atol=1e-13)


def test_masked_nan_leaks_in_torch_alone():
    arrays = [x.detach() for x in _arrays(5, 5)]
    arrays[2][..., -1, :] = math.nan
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[:, -1] = False
    assert F.scaled_dot_product_attention(*arrays, mask, enable_gqa=True).isnan().all()
    assert sdpa(*arrays, mask=mask).isfinite().all()


# derivatives and transforms

FULL = {
    "mask": _mask(),
    "is_causal": "lower_right",
    "softcap": 3.0,
    "dropout": 0.3,
    "noise": torch.rand(2, 4, 5, 7, generator=torch.Generator().manual_seed(3)),
}


OPTIONS_BY_NAME = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"mask": _mask()},
    "all": FULL,
}


@over("options", OPTIONS_BY_NAME)
def test_gradcheck_and_gradgradcheck(options):
    options, arrays = OPTIONS_BY_NAME[options], _arrays()
    bias = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)

    def call(query, key, value, bias):
        return sdpa(query, key, value, bias=bias, **options)

    assert torch.autograd.gradcheck(call, (*arrays, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (*arrays, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(functools.partial(sdpa, **options), arrays, fast_mode=True)


def test_second_derivatives_finite_under_a_mask():
    arrays = _arrays()
    with torch.no_grad():
        arrays[1][1, :, 5] = math.nan
        arrays[2][1, :, 5] = math.inf
    mask = _mask()
    mask[1, ..., 5] = False
    first = torch.autograd.grad(sdpa(*arrays, mask=mask).sum(), arrays, create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), arrays)
    for g in (*first, *second):
        assert g.isfinite().all()


# the second derivatives of torch warn
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@over("options", [{}, {"is_causal": True}, {"is_causal": "lower_right", "softcap": 2.0}])
def test_vmap_grad_hessian_and_compile(options):
    arrays = [x.detach() for x in _arrays()]
    call = functools.partial(sdpa, **options)
    expected = call(*arrays)

    def close(got, expected, rtol=1e-12, atol=1e-13):
        torch.testing.assert_close(got, expected, rtol=rtol, atol=atol)

    close(torch.func.vmap(call)(*arrays), expected)
    leaves = _arrays()
    gradients = torch.autograd.grad(call(*leaves).sum(), leaves)
    close(torch.func.grad(lambda *a: call(*a).sum(), (0, 1, 2))(*arrays), gradients)
    by_batch = torch.func.vmap(torch.func.grad(lambda *a: call(*a).sum(), (0, 1, 2)))(*arrays)
    close(by_batch, gradients)
    gradient = torch.func.grad(lambda q: call(q, *arrays[1:]).square().sum())
    hessian = torch.func.hessian(lambda q: call(q, *arrays[1:]).square().sum())(arrays[0])
    step = 1e-4 * torch.ones_like(arrays[0])
    quotient = (gradient(arrays[0] + step) - gradient(arrays[0] - step)) / 2
    close(torch.tensordot(hessian, step, 4), quotient, rtol=1e-5, atol=1e-9)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    close(compiled(*leaves), expected)
    close(torch.autograd.grad(compiled(*leaves).sum(), leaves), gradients)


def test_mask_under_vmap_and_compile():
    arrays, mask = [x.detach() for x in _arrays()], _mask()
    expected = sdpa(*arrays, mask=mask)

    def call(*arrays):
        return sdpa(*arrays[:3], mask=arrays[3])

    torch.testing.assert_close(torch.func.vmap(call)(*arrays, mask), expected)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arrays, mask), expected)


def test_dropout_draws_by_the_global_seed():
    x = torch.ones(1, 50, 4)
    torch.manual_seed(0)
    first = sdpa(x, x, x, dropout=0.5)
    second = sdpa(x, x, x, dropout=0.5)
    torch.manual_seed(0)
    assert (sdpa(x, x, x, dropout=0.5) == first).all()
    assert (second != first).any()
    rng = torch.Generator().manual_seed(0)
    assert (sdpa(x, x, x, dropout=0.5, rng=rng) == first).all()


# the module of torch


def _weights(module):
    """Return the parameters of a module under the names of our arguments."""
    return {n.replace("out_proj.", "out_proj_"): p for n, p in module.named_parameters()}


MASKS = [None, "bool", "float", "bool by head"]


USUAL = (False, False, False, False, True, True)
"""The options of most calls. The default run changes at most one of them at a time."""


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@over("changes", in_sweep([(0, 1), (2, 3, 4, 5, 6)]))
@over("mask", MASKS)
@over(("bias", "added"), list(itertools.product([False, True], repeat=2)))
def test_multi_head_beside_the_module(mask, bias, added, changes):
    for options in itertools.product([False, True], repeat=6):
        if sum(map(operator.ne, options, USUAL)) in changes:
            with noting(options):
                _compare_with_the_module(mask, bias, added, *options)


def _compare_with_the_module(mask, bias, added, zero, apart, batch_first, padded, average, batched):
    torch.manual_seed(0)
    n, q_len, kv_len, embed_dim, k_dim, v_dim = 2, 3, 5, 6, *((4, 5) if apart else (6, 6))
    module = torch.nn.MultiheadAttention(
        embed_dim,
        2,
        bias=bias,
        add_bias_kv=added,
        add_zero_attn=zero,
        kdim=k_dim,
        vdim=v_dim,
        batch_first=batch_first,
        dtype=torch.float64,
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    batch = (n,) if batched else ()
    arrays = [
        torch.randn(*batch, length, dim, dtype=torch.float64)
        for length, dim in ((q_len, embed_dim), (kv_len, k_dim), (kv_len, v_dim))
    ]
    if batched and not batch_first:
        arrays = [x.transpose(0, 1) for x in arrays]
    arrays = [x.clone().requires_grad_() for x in arrays]
    ours, theirs = {}, {}
    if padded:
        pad = torch.zeros(*batch, kv_len, dtype=torch.bool)
        pad[..., -1] = True
        ours["key_mask"], theirs["key_padding_mask"] = ~pad, pad
    if mask == "float":
        ours["bias"] = theirs["attn_mask"] = torch.randn(q_len, kv_len, dtype=torch.float64)
    elif mask:
        shape = (q_len, kv_len) if mask == "bool" else (math.prod(batch) * 2, q_len, kv_len)
        excluded = torch.rand(shape) < 0.3
        excluded[..., 0] = False
        theirs["attn_mask"] = excluded
        by_head = (q_len, kv_len) if mask == "bool" else (*batch, 2, q_len, kv_len)
        ours["mask"] = ~excluded.reshape(by_head)
    weights = _weights(module)
    y, w = multi_head(
        *arrays,
        2,
        **weights,
        **ours,
        add_zero_attn=zero,
        batch_first=batch_first,
        need_weights=True,
        average_attn_weights=average,
    )
    expected = module(*arrays, **theirs, average_attn_weights=average)
    torch.testing.assert_close((y, w), expected, rtol=1e-11, atol=1e-12)
    leaves = [*arrays, *weights.values()]
    gs = torch.randn_like(y), torch.randn_like(w)
    gradients, theirs = (torch.autograd.grad(pair, leaves, gs) for pair in ((y, w), expected))
    torch.testing.assert_close(gradients, theirs, rtol=1e-10, atol=1e-11)
    alone, no_weights = multi_head(
        *arrays, 2, **weights, **ours, add_zero_attn=zero, batch_first=batch_first
    )
    assert no_weights is None
    assert torch.equal(alone, y)


def test_multi_head_gradcheck_vmap_and_compile():
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(4, 2, add_bias_kv=True, dtype=torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = _weights(module)

    def call(x):
        return multi_head(x, x, x, 2, **weights, need_weights=True, is_causal=True)

    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))
    expected = call(x)
    torch.testing.assert_close(torch.func.vmap(call)(x), expected)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)


def _attend_in_parts(query, key, value):
    """Return attention and the log-sum-exp, of three keys and of the others; a query has none."""
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[1] = False
    mask[2, :3] = False
    states = [
        ax.attention_with_lse(query, key[..., s, :], value[..., s, :], mask=mask[:, s])
        for s in (slice(3), slice(3, None))
    ]
    output, lse = ax.merge_attention(*states[0], *states[1])
    return output, torch.where(torch.isfinite(lse), lse, 0.0)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_states_gradcheck_vmap_and_compile():
    """Both results have gradients, forward and backward, and second derivatives."""
    arrays = _arrays()
    modes = {"fast_mode": True, "check_forward_ad": True}
    assert torch.autograd.gradcheck(_attend_in_parts, arrays, **modes)
    assert torch.autograd.gradgradcheck(_attend_in_parts, arrays, fast_mode=True)
    expected = _attend_in_parts(*arrays)
    torch.testing.assert_close(torch.func.vmap(_attend_in_parts)(*arrays), expected)
    compiled = torch.compile(_attend_in_parts, fullgraph=True, backend="aot_eager")
    got = compiled(*arrays)
    torch.testing.assert_close(got, expected)
    gradients = [
        torch.autograd.grad(y.sum() + lse.sin().sum(), arrays) for y, lse in (got, expected)
    ]
    torch.testing.assert_close(*gradients)
