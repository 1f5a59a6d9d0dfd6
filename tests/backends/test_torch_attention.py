"""PyTorch: attention is torch's own, and so is MultiheadAttention, but for what is masked out."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import over

import activations_xp as ax

sdpa, heads = ax.scaled_dot_product_attention, ax.multi_head_attention


def _arrays(rows=5, columns=7, of_keys=2, width=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, rows, 4), (2, of_keys, columns, 4), (2, of_keys, columns, width)
    return [
        torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes
    ]


def _masks(rows=5, columns=7):
    """A mask as ours, and what torch takes for it."""
    mask = torch.rand(2, 1, rows, columns, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[0, 0, 2] = False
    return mask


def _results(function, arrays):
    y = function(*arrays)
    generator = torch.Generator().manual_seed(2)
    g = torch.randn(y.shape, dtype=y.dtype, generator=generator)
    return (y.detach(), *torch.autograd.grad(y, arrays, g))


OPTIONS = list(
    itertools.product([2, 4], [4, 3], [None, "bool", "float"], [False, True], [None, 0.7])
)


@over("form", ["auto", "portable"])
@over(("of_keys", "width", "kind", "causal", "scale"), OPTIONS)
def test_values_and_gradients_are_those_of_torch(of_keys, width, kind, causal, scale, form):
    if kind and causal:  # which torch does not take
        return
    arrays = _arrays(of_keys=of_keys, width=width)
    ours, theirs = {}, {}
    if kind == "bool":
        ours["mask"] = theirs["attn_mask"] = _masks()
    elif kind == "float":
        bias = torch.randn(4, 5, 7, dtype=torch.float64).requires_grad_()
        arrays.append(bias)
    call = sdpa if form == "auto" else sdpa.portable

    def own(query, key, value, bias=None):
        return call(query, key, value, bias=bias, is_causal=causal, scale=scale, **ours)

    def others(query, key, value, bias=None):
        given = theirs if bias is None else {"attn_mask": bias}
        options = {"is_causal": causal, "scale": scale, "enable_gqa": of_keys != 4}
        return F.scaled_dot_product_attention(query, key, value, **given, **options)

    for got, expected in zip(_results(own, arrays), _results(others, arrays), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


@over("dtype", [torch.float32, torch.float16, torch.bfloat16])
@over("causal", [False, True])
@over("rows", [5, 300])
def test_the_kernel_of_torch_is_as_good_as_the_computation(rows, causal, dtype):
    """In units of the last place, for scores of at most 6, whose rounding weighs as much."""
    arrays = [x.detach() for x in _arrays(rows, rows, dtype=dtype)]
    wide = [x.double() for x in arrays]
    exact = sdpa(*wide, is_causal=causal)
    sizes = sdpa(*wide[:2], wide[2].abs(), is_causal=causal)
    for form in (sdpa, sdpa.portable):
        y = form(*arrays, is_causal=causal)
        error = (y.double() - exact).abs() / (torch.finfo(dtype).eps * sizes)
        assert error.max() <= (8 if dtype == torch.float32 else 1)


def _calls(monkeypatch):
    """How often torch's kernel runs."""
    calls = []
    kernel = F.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return kernel(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    return calls


def test_when_the_kernel_of_torch_runs(monkeypatch):
    calls = _calls(monkeypatch)
    query, key, value = arrays = _arrays()
    mask = torch.ones(5, 7, dtype=torch.bool)
    bias = torch.zeros(5, 7, dtype=torch.float64)
    for options in ({}, {"is_causal": True}, {"mask": mask}, {"bias": bias}, {"mask": mask[0]}):
        sdpa(*arrays, **options)
        assert len(calls) == 1, options
        calls.clear()
    nothing = mask.clone()
    nothing[1] = False
    noise = torch.rand(2, 4, 5, 7)
    for options in (
        {"mask": nothing},
        {"bias": bias.masked_fill(~nothing, -math.inf)},
        {"mask": mask, "bias": bias},
        {"mask": mask, "is_causal": True},
        {"softcap": 2.0},
        {"is_causal": "lower_right"},
        {"dropout": 0.5, "noise": noise},
    ):
        sdpa(*arrays, **options)
        assert not calls, options
    spoilt = value.detach().clone()
    spoilt[..., -1, :] = math.nan
    sdpa(query, key, spoilt, is_causal=True)
    sdpa(query, key, spoilt, mask=mask)
    sdpa.portable(*arrays)
    assert not calls
    sdpa.vjp(torch.ones_like(sdpa(*arrays)), *arrays)
    assert len(calls) == 1


# what is masked out


def test_what_attends_to_nothing_beside_torch():
    """pytorch#41508: NaN with the weights, and in all gradients; the function alone gives 0."""
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
    y, w = heads(x, x, x, 2, **weights, key_mask=~pad, need_weights=True)
    torch.testing.assert_close(y[1], theirs[1], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(y[0], module.out_proj.bias.expand(3, 8), rtol=0, atol=0)
    assert (w[0] == 0).all()
    for part in torch.autograd.grad(y.sum() + w.sum(), weights.values()):
        assert part.isfinite().all()
    alone, _ = module(x, x, x, key_padding_mask=pad, need_weights=False)
    torch.testing.assert_close(y, alone, rtol=1e-12, atol=1e-13)


def test_what_is_masked_out_leaks_in_torch_alone():
    arrays = [x.detach() for x in _arrays(5, 5)]
    arrays[2][..., -1, :] = math.nan
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[:, -1] = False
    assert F.scaled_dot_product_attention(*arrays, mask, enable_gqa=True).isnan().all()
    assert sdpa(*arrays, mask=mask).isfinite().all()


# derivatives and transforms

FULL = {
    "mask": _masks(),
    "is_causal": "lower_right",
    "softcap": 3.0,
    "dropout": 0.3,
    "noise": torch.rand(2, 4, 5, 7, generator=torch.Generator().manual_seed(3)),
}


DIFFERENTIATED = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"mask": _masks()},
    "all": FULL,
}


@over("options", DIFFERENTIATED)
def test_derivatives_of_first_and_second_order(options):
    options, arrays = DIFFERENTIATED[options], _arrays()
    bias = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)

    def call(query, key, value, bias):
        return sdpa(query, key, value, bias=bias, **options)

    assert torch.autograd.gradcheck(call, (*arrays, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (*arrays, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(functools.partial(sdpa, **options), arrays, fast_mode=True)


def test_second_derivatives_are_finite_whatever_is_masked_out():
    arrays = _arrays()
    with torch.no_grad():
        arrays[1][1, :, 5] = math.nan
        arrays[2][1, :, 5] = math.inf
    mask = _masks()
    mask[1, ..., 5] = False
    first = torch.autograd.grad(sdpa(*arrays, mask=mask).sum(), arrays, create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), arrays)
    for g in (*first, *second):
        assert g.isfinite().all()


# of torch's own, for second derivatives
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@over("options", [{}, {"is_causal": True}, {"is_causal": "lower_right", "softcap": 2.0}])
def test_transforms(options):
    arrays = [x.detach() for x in _arrays()]
    call = functools.partial(sdpa, **options)
    expected = call(*arrays)
    close = functools.partial(torch.testing.assert_close, rtol=1e-12, atol=1e-13)
    close(torch.func.vmap(call)(*arrays), expected)
    leaves = _arrays()
    slopes = torch.autograd.grad(call(*leaves).sum(), leaves)
    close(torch.func.grad(lambda *a: call(*a).sum(), (0, 1, 2))(*arrays), slopes)
    of_each = torch.func.vmap(torch.func.grad(lambda *a: call(*a).sum(), (0, 1, 2)))(*arrays)
    close(of_each, slopes)
    hessian = torch.func.hessian(lambda q: call(q, *arrays[1:]).sum())(arrays[0])
    assert hessian.isfinite().all()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    close(compiled(*leaves), expected)
    close(torch.autograd.grad(compiled(*leaves).sum(), leaves), slopes)


def test_a_mask_under_transforms():
    arrays, mask = [x.detach() for x in _arrays()], _masks()
    expected = sdpa(*arrays, mask=mask)

    def call(*arrays):
        return sdpa(*arrays[:3], mask=arrays[3])

    torch.testing.assert_close(torch.func.vmap(call)(*arrays, mask), expected)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arrays, mask), expected)


def test_it_is_random_by_the_global_seed():
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
    """Its parameters by our names."""
    found = {name.replace("out_proj.", "out_proj_"): p for name, p in module.named_parameters()}
    return {name: p for name, p in found.items() if p is not None}


MASKS = [None, "bool", "float", "of each head"]


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@over("mask", MASKS)
@over(("bias", "added"), list(itertools.product([False, True], repeat=2)))
def test_every_option_of_the_module(mask, bias, added):
    for options in itertools.product([False, True], repeat=6):
        _compare_with_the_module(mask, bias, added, *options)


def _compare_with_the_module(mask, bias, added, zero, apart, batch_first, padded, average, batched):
    torch.manual_seed(0)
    n, rows, columns, size, of_key, of_value = 2, 3, 5, 6, *((4, 5) if apart else (6, 6))
    module = torch.nn.MultiheadAttention(
        size,
        2,
        bias=bias,
        add_bias_kv=added,
        add_zero_attn=zero,
        kdim=of_key,
        vdim=of_value,
        batch_first=batch_first,
        dtype=torch.float64,
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    batch = (n,) if batched else ()
    arrays = [
        torch.randn(*batch, time, width, dtype=torch.float64)
        for time, width in ((rows, size), (columns, of_key), (columns, of_value))
    ]
    if batched and not batch_first:
        arrays = [x.transpose(0, 1) for x in arrays]
    arrays = [x.clone().requires_grad_() for x in arrays]
    ours, theirs = {}, {}
    if padded:
        pad = torch.zeros(*batch, columns, dtype=torch.bool)
        pad[..., -1] = True
        ours["key_mask"], theirs["key_padding_mask"] = ~pad, pad
    if mask == "float":
        ours["bias"] = theirs["attn_mask"] = torch.randn(rows, columns, dtype=torch.float64)
    elif mask:
        shape = (rows, columns) if mask == "bool" else (math.prod(batch) * 2, rows, columns)
        barred = torch.rand(shape) < 0.3
        barred[..., 0] = False
        theirs["attn_mask"] = barred
        of_heads = (rows, columns) if mask == "bool" else (*batch, 2, rows, columns)
        ours["mask"] = ~barred.reshape(of_heads)
    weights = _weights(module)
    y, w = heads(
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
    slopes, others = (torch.autograd.grad(pair, leaves, gs) for pair in ((y, w), expected))
    torch.testing.assert_close(slopes, others, rtol=1e-10, atol=1e-11)
    alone, nothing = heads(
        *arrays, 2, **weights, **ours, add_zero_attn=zero, batch_first=batch_first
    )
    assert nothing is None
    assert torch.equal(alone, y)


def test_heads_under_transforms():
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(4, 2, add_bias_kv=True, dtype=torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = _weights(module)

    def call(x):
        return heads(x, x, x, 2, **weights, need_weights=True, is_causal=True)

    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))
    expected = call(x)
    torch.testing.assert_close(torch.func.vmap(call)(x), expected)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
