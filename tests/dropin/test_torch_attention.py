"""Attention as torch spells it, against torch: signatures, values, gradients, masks and errors."""

from __future__ import annotations

import inspect
import itertools
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import over

import activations_xp.dropin.torch as dropin

sdpa, forward = dropin.scaled_dot_product_attention, dropin.multi_head_attention_forward


def _randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def _compare(ours, theirs, leaves):
    """Results and gradients."""
    found = []
    for results in (ours, theirs):
        parts = [y for y in results if y is not None]
        torch.manual_seed(1)
        gs = [_randn(*y.shape) for y in parts]  # whose layout may differ
        slopes = torch.autograd.grad(parts, leaves, gs, allow_unused=True)
        found.append([*parts, *slopes])
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-12)


def test_signatures():
    for name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
        own = inspect.signature(getattr(dropin, name)).parameters.values()
        got = [(p.name, p.kind, p.default) for p in own if p.name != "rng"]
        if name == "scaled_dot_product_attention":
            (schema,) = torch._C._jit_get_schemas_for_operator(f"aten::{name}")
            kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
            expected = [
                (
                    a.name,
                    kinds[a.kwarg_only],
                    a.default_value if a.has_default_value() else inspect.Parameter.empty,
                )
                for a in schema.arguments
            ]
        else:
            theirs = inspect.signature(getattr(F, name)).parameters.values()
            expected = [(p.name, p.kind, p.default) for p in theirs]
        assert got == expected


@over("kind", [None, "bool", "float", "float of one row"])
@over(
    ("causal", "scale", "grouped", "ndim"),
    list(itertools.product([False, True], [None, 0.3], [0, 1], [3, 4])),
)
def test_one_attention(kind, causal, scale, grouped, ndim):
    if kind and causal:  # an error in torch, but for some of its kernels
        return
    torch.manual_seed(0)
    lead = (2,) if ndim == 4 else ()
    of_keys = 2 if grouped else 4
    leaves = [
        _randn(*lead, h, n, 4).requires_grad_() for h, n in ((4, 5), (of_keys, 7), (of_keys, 7))
    ]
    mask = None
    if kind == "bool":
        mask = torch.rand(4, 5, 7) < 0.6
        mask[0, 1] = False
    elif kind:
        mask = _randn(5, 7) if kind == "float" else _randn(1, 7)
    given = {"attn_mask": mask, "is_causal": causal, "scale": scale, "enable_gqa": bool(grouped)}
    _compare([sdpa(*leaves, **given)], [F.scaled_dot_product_attention(*leaves, **given)], leaves)


def test_dropout_of_one_attention():
    x = torch.ones(1, 200, 1)
    torch.manual_seed(0)
    ours, theirs = (f(x, x, x, dropout_p=0.5) for f in (sdpa, F.scaled_dot_product_attention))
    for y in (ours, theirs):  # the mean of 200 that are 0 or 2
        assert abs(y.mean() - 1) < 5 / math.sqrt(200 * 200)
        assert abs(y.std() - 1 / math.sqrt(200)) < 0.02


def test_errors_of_one_attention():
    x = torch.ones(2, 3, 4, 8)
    for args, kwargs in (
        ((x, x[..., :7], x), {}),
        ((x, x[:, :2], x[:, :2]), {}),
        ((x, x[:, :2], x[:, :2]), {"enable_gqa": True}),
        ((x, x, x), {"attn_mask": torch.ones(3, 5, dtype=torch.bool)}),
        ((x, x, x), {"dropout_p": 1.5}),
        ((x[0, 0, 0], x, x), {}),
    ):
        for function in (F.scaled_dot_product_attention, sdpa):
            with pytest.raises(RuntimeError):
                function(*args, **kwargs)
        with pytest.raises(ValueError, match=r"^scaled_dot_product_attention: "):
            sdpa(*args, **kwargs)
    for wrong in (torch.ones(4, 4, dtype=torch.int32), torch.ones(4, 4, dtype=torch.float64)):
        with pytest.raises(TypeError, match=r"^scaled_dot_product_attention: "):
            sdpa(x, x, x, wrong)


ATTN_MASKS = [None, "bool", "float", "bool of heads", "float of heads"]


def _problem(attn, padding, added, apart, static, batched):
    """The arguments of `multi_head_attention_forward`."""
    torch.manual_seed(0)
    n, heads, rows, columns, size = 2, 2, 3, 5, 4
    batch = (n,) if batched else ()
    of_key, of_value = (3, 6) if apart else (size, size)
    given = {
        "query": _randn(rows, *batch, size),
        "key": _randn(columns, *batch, of_key),
        "value": _randn(columns, *batch, of_value),
        "embed_dim_to_check": size,
        "num_heads": heads,
        "in_proj_weight": None if apart else _randn(3 * size, size),
        "in_proj_bias": _randn(3 * size),
        "bias_k": _randn(1, 1, size) if added else None,
        "bias_v": _randn(1, 1, size) if added else None,
        "dropout_p": 0.0,
        "out_proj_weight": _randn(size, size),
        "out_proj_bias": _randn(size),
        "use_separate_proj_weight": apart,
    }
    if apart:
        for x, width in (("q", size), ("k", of_key), ("v", of_value)):
            given[f"{x}_proj_weight"] = _randn(size, width)
    if static:
        given |= {f"static_{x}": _randn(math.prod(batch) * heads, columns, 2) for x in "kv"}
    if attn:
        shape = (math.prod(batch) * heads, rows, columns) if "heads" in attn else (rows, columns)
        given["attn_mask"] = torch.rand(shape) < 0.3 if "bool" in attn else _randn(*shape)
        if "bool" in attn:
            given["attn_mask"][..., 0] = False
    if padding:
        pad = torch.rand(*batch, columns) < 0.3
        pad[..., 0] = False
        given["key_padding_mask"] = pad if padding == "bool" else _randn(*batch, columns)
    leaves = [
        v.requires_grad_() for v in given.values() if torch.is_tensor(v) and v.dtype != torch.bool
    ]
    return given, leaves


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@over("attn", ATTN_MASKS)
@over("padding", [None, "bool", "float"])
@over("apart", [False, True])
def test_several_heads(attn, padding, apart):
    for added, zero, static, batched, needed, average in itertools.product([False, True], repeat=6):
        if added and static:  # which torch refuses
            continue
        given, leaves = _problem(attn, padding, added, apart, static, batched)
        options = {"add_zero_attn": zero, "need_weights": needed, "average_attn_weights": average}
        if not needed and average:
            continue
        ours, theirs = (f(**given, **options) for f in (forward, F.multi_head_attention_forward))
        assert (ours[1] is None) is (theirs[1] is None) is (not needed)
        _compare(ours, theirs, leaves)


@over("needed", [False, True])
@over("padding", [None, "bool"])
def test_the_hint_of_causality(needed, padding):
    given, leaves = _problem(None, padding, False, False, False, True)
    causal = torch.ones(3, 5, dtype=torch.bool).triu(1)
    given |= {
        "attn_mask": causal,
        "is_causal": True,
        "need_weights": needed,
        "add_zero_attn": False,
    }
    ours, theirs = (f(**given) for f in (forward, F.multi_head_attention_forward))
    _compare(ours, theirs, leaves)


def test_dropout_while_training_alone():
    given, _ = _problem(None, None, False, False, False, True)
    given |= {"dropout_p": 0.5, "add_zero_attn": False}
    still, other = (forward(**given, training=False)[0] for _ in range(2))
    assert (still == other).all()
    torch.manual_seed(0)
    assert (forward(**given)[0] != still).any()
    with pytest.raises(RuntimeError, match="dropout"):
        forward(**given | {"dropout_p": 1.5})


def test_errors_of_several_heads():
    given, _ = _problem(None, None, False, False, False, True)
    given["add_zero_attn"] = False
    for changed in (
        {"embed_dim_to_check": 5},
        {"num_heads": 3},
        {"is_causal": True},
        {"attn_mask": torch.ones(3, 4, dtype=torch.bool)},
        {"attn_mask": torch.ones(3, 3, 5, dtype=torch.bool)},
        {"bias_k": torch.ones(1, 1, 4, dtype=torch.float64)},
        {"key": given["key"][:4]},
        {"in_proj_weight": None},
        {
            "static_k": _randn(4, 5, 2),
            "bias_k": _randn(1, 1, 4),
            "bias_v": _randn(1, 1, 4),
        },
    ):
        for function in (F.multi_head_attention_forward, forward):
            with pytest.raises((AssertionError, RuntimeError)):
                function(**given | changed)
        with pytest.raises(ValueError, match=r"^multi_head_attention"):
            forward(**given | changed)
