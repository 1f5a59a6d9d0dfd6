"""Attention of the drop-in of torch beside it: signatures, values, gradients, masks, errors."""

from __future__ import annotations

import inspect
import itertools
import math
import operator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import in_sweep, noting, over
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import activations_xp.dropin.torch as dropin

sdpa, forward = dropin.scaled_dot_product_attention, dropin.multi_head_attention_forward


def _randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def _assert_close(ours, theirs, leaves):
    """Compare results and gradients."""
    compared = []
    for results in (ours, theirs):
        parts = [y for y in results if y is not None]
        torch.manual_seed(1)
        gs = [_randn(*y.shape) for y in parts]  # whose layout may differ
        gradients = torch.autograd.grad(parts, leaves, gs, allow_unused=True)
        compared.append([*parts, *gradients])
    torch.testing.assert_close(*compared, rtol=1e-11, atol=1e-12)


def _parameters_of(function):
    return [
        (p.name, p.kind, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.name != "rng"
    ]


def test_signature_of_scaled_dot_product_attention():
    (schema,) = torch._C._jit_get_schemas_for_operator("aten::scaled_dot_product_attention")
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    assert _parameters_of(sdpa) == [
        (
            a.name,
            kinds[a.kwarg_only],
            a.default_value if a.has_default_value() else inspect.Parameter.empty,
        )
        for a in schema.arguments
    ]


def test_signature_of_multi_head_attention_forward():
    assert _parameters_of(forward) == _parameters_of(F.multi_head_attention_forward)


MASKS = [None, "bool", "float", "float of one row"]


@over(
    ("mask", "causal", "scale", "grouped", "ndim"),
    [
        options
        for options in itertools.product(MASKS, [False, True], [None, 0.3], [False, True], [3, 4])
        if not (options[0] and options[1])  # some kernels of torch refuse both together
    ],
)
def test_scaled_dot_product_attention(mask, causal, scale, grouped, ndim):
    torch.manual_seed(0)
    batch = (2,) if ndim == 4 else ()
    kv_heads = 2 if grouped else 4
    leaves = [
        _randn(*batch, heads, length, 4).requires_grad_()
        for heads, length in ((4, 5), (kv_heads, 7), (kv_heads, 7))
    ]
    if mask == "bool":
        mask = torch.rand(4, 5, 7) < 0.6
        mask[0, 1] = False
    elif mask:
        mask = _randn(5, 7) if mask == "float" else _randn(1, 7)
    given = {"attn_mask": mask, "is_causal": causal, "scale": scale, "enable_gqa": grouped}
    _assert_close(
        [sdpa(*leaves, **given)], [F.scaled_dot_product_attention(*leaves, **given)], leaves
    )


HEADS = [
    # with and without groups: the axes before the last two of query, key and value
    *[(True, *shapes) for shapes in (((8,), (4,), (2,)), ((8,), (2,), (4,)), ((12,), (2,), (3,)))],
    *[(True, *shapes) for shapes in (((2, 8), (2, 1), (2, 4)), ((2, 4), (2, 4), (2, 1)))],
    *[(False, *shapes) for shapes in (((2, 1), (2, 4), (2, 4)), ((2, 4), (2, 4), (2, 1)))],
    *[(False, *shapes) for shapes in (((2, 4), (1, 1), (2, 4)), ((), (2, 4), (2, 4)))],
    *[(False, *shapes) for shapes in (((4,), (2, 4), (4,)), ((2, 4), (), (4,)))],
]


@over("causal", [False, True])
@over(("grouped", "q", "k", "v"), HEADS)
def test_heads_that_differ(grouped, q, k, v, causal):
    """They are repeated in groups, or broadcast."""
    torch.manual_seed(0)
    leaves = [_randn(*q, 5, 4), _randn(*k, 7, 4), _randn(*v, 7, 3)]
    leaves = [x.requires_grad_() for x in leaves]
    given = {"enable_gqa": grouped, "is_causal": causal}
    _assert_close(
        [sdpa(*leaves, **given)], [F.scaled_dot_product_attention(*leaves, **given)], leaves
    )


CAUSAL = [
    *(f(3, 5) for f in (causal_lower_right, causal_upper_left)),
    *(causal_upper_left(4, 6), causal_lower_right(4, 4)),  # of other lengths, which torch takes
]


@over("dropout", [0.0, 1e-14])
@pytest.mark.parametrize("mask", CAUSAL, ids=lambda m: f"{m.variant.name}-{m.seq_len_q}")
def test_causal_masks_of_torch(mask, dropout):
    """They are what torch means by them: with dropout it lets us at their memory."""
    torch.manual_seed(0)
    leaves = [_randn(2, n, 4).requires_grad_() for n in (3, 5, 5)]
    theirs = F.scaled_dot_product_attention(*leaves, attn_mask=mask)
    _assert_close([sdpa(*leaves, attn_mask=mask, dropout_p=dropout)], [theirs], leaves)


def test_bad_causal_masks():
    q, k = _randn(2, 3, 4), _randn(2, 5, 4)
    for given, word in [
        ({"attn_mask": causal_lower_right(4, 5)}, "attn_mask must have shape"),
        ({"attn_mask": causal_lower_right(3, 5), "is_causal": True}, "is_causal must be False"),
    ]:
        with pytest.raises((RuntimeError, ValueError)):
            F.scaled_dot_product_attention(q, k, k, **given)
        with pytest.raises(ValueError, match=f"^scaled_dot_product_attention: {word}"):
            sdpa(q, k, k, **given)
    weights = (torch.ones(12, 4), None, None, None, False, 0.0, torch.ones(4, 4), None)
    with pytest.raises(TypeError, match=r"^multi_head.*: attn_mask must be .*CausalBias"):
        forward(q, q, q, 4, 1, *weights, attn_mask=causal_lower_right(2, 2))


def test_moments_of_dropout():
    x = torch.ones(1, 200, 1)
    torch.manual_seed(0)
    ours, theirs = (f(x, x, x, dropout_p=0.5) for f in (sdpa, F.scaled_dot_product_attention))
    for y in (ours, theirs):  # each is the mean of 200 numbers that are 0 or 2
        assert abs(y.mean() - 1) < 5 / math.sqrt(200 * 200)
        assert abs(y.std() - 1 / math.sqrt(200)) < 0.02


X = torch.ones(2, 3, 4, 8)
BAD = {
    "depth": ((X, X[..., :7], X), {}),
    "heads": ((X, X[:, :2], X[:, :2]), {}),
    "groups": ((X, X[:, :2], X[:, :2]), {"enable_gqa": True}),
    "mask": ((X, X, X), {"attn_mask": torch.ones(3, 5, dtype=torch.bool)}),
    "dropout": ((X, X, X), {"dropout_p": 1.5}),
    "ndim": ((X[0, 0, 0], X, X), {}),
}


@over("bad", BAD)
def test_bad_arguments_of_scaled_dot_product_attention_raise(bad):
    args, kwargs = BAD[bad]
    for function in (F.scaled_dot_product_attention, sdpa):
        with pytest.raises(RuntimeError):
            function(*args, **kwargs)
    with pytest.raises(ValueError, match=r"^scaled_dot_product_attention: "):
        sdpa(*args, **kwargs)


@over("name", ["is_causal", "enable_gqa"])
def test_flags_are_bool(name):
    for function in (sdpa, F.scaled_dot_product_attention):
        with pytest.raises(TypeError, match=name):
            function(X, X, X, **{name: 1})


@over("dtype", [torch.int32, torch.float64])
def test_mask_of_a_bad_dtype_raises(dtype):
    with pytest.raises(TypeError, match=r"^scaled_dot_product_attention: "):
        sdpa(X, X, X, torch.ones(4, 4, dtype=dtype))


ATTN_MASKS = [None, "bool", "float", "bool by heads", "float by heads"]


def _problem(attn, padding, added, apart, static, batched):
    """Return the arguments of `multi_head_attention_forward`, and those that have gradients."""
    torch.manual_seed(0)
    n, heads, q_len, kv_len, embed_dim = 2, 2, 3, 5, 4
    batch = (n,) if batched else ()
    k_dim, v_dim = (3, 6) if apart else (embed_dim, embed_dim)
    given = {
        "query": _randn(q_len, *batch, embed_dim),
        "key": _randn(kv_len, *batch, k_dim),
        "value": _randn(kv_len, *batch, v_dim),
        "embed_dim_to_check": embed_dim,
        "num_heads": heads,
        "in_proj_weight": None if apart else _randn(3 * embed_dim, embed_dim),
        "in_proj_bias": _randn(3 * embed_dim),
        "bias_k": _randn(1, 1, embed_dim) if added else None,
        "bias_v": _randn(1, 1, embed_dim) if added else None,
        "dropout_p": 0.0,
        "out_proj_weight": _randn(embed_dim, embed_dim),
        "out_proj_bias": _randn(embed_dim),
        "use_separate_proj_weight": apart,
    }
    if apart:
        for x, dim in (("q", embed_dim), ("k", k_dim), ("v", v_dim)):
            given[f"{x}_proj_weight"] = _randn(embed_dim, dim)
    if static:
        given |= {f"static_{x}": _randn(math.prod(batch) * heads, kv_len, 2) for x in "kv"}
    if attn:
        shape = (math.prod(batch) * heads, q_len, kv_len) if "heads" in attn else (q_len, kv_len)
        given["attn_mask"] = torch.rand(shape) < 0.3 if "bool" in attn else _randn(*shape)
        if "bool" in attn:
            given["attn_mask"][..., 0] = False
    if padding:
        pad = torch.rand(*batch, kv_len) < 0.3
        pad[..., 0] = False
        given["key_padding_mask"] = pad if padding == "bool" else _randn(*batch, kv_len)
    leaves = [
        v.requires_grad_() for v in given.values() if torch.is_tensor(v) and v.dtype != torch.bool
    ]
    return given, leaves


USUAL = (False, False, False, True, "average")
"""The options of most calls. The default run changes at most one of them at a time."""

OPTIONS = [
    options
    for options in itertools.product(*[[False, True]] * 4, [None, "by head", "average"])
    if not (options[0] and options[2])  # torch refuses bias_k with static_k
]


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@over("changes", in_sweep([(0, 1), (2, 3, 4, 5)]))
@over("attn", ATTN_MASKS)
@over("padding", [None, "bool", "float"])
@over("apart", [False, True])
def test_multi_head_attention_forward(attn, padding, apart, changes):
    for options in OPTIONS:
        if sum(map(operator.ne, options, USUAL)) in changes:
            with noting(options):
                _compare_forward(attn, padding, apart, *options)


def _compare_forward(attn, padding, apart, added, zero, static, batched, weights):
    given, leaves = _problem(attn, padding, added, apart, static, batched)
    given |= {
        "add_zero_attn": zero,
        "need_weights": weights is not None,
        "average_attn_weights": weights == "average",
    }
    ours, theirs = (f(**given) for f in (forward, F.multi_head_attention_forward))
    assert (ours[1] is None) is (theirs[1] is None) is (weights is None)
    _assert_close(ours, theirs, leaves)


@over("shape", [(4,), (1, 4), (1, 1, 4)])
def test_shapes_of_bias_k(shape):
    given, leaves = _problem(None, None, False, False, False, True)
    biases = {"bias_k": _randn(*shape), "bias_v": _randn(*shape)}
    given |= {"add_zero_attn": False, **biases}
    leaves += [bias.requires_grad_() for bias in biases.values()]
    ours, theirs = (f(**given) for f in (forward, F.multi_head_attention_forward))
    _assert_close(ours, theirs, leaves)


@over("needed", [False, True])
@over("padding", [None, "bool"])
def test_is_causal_hint(needed, padding):
    given, leaves = _problem(None, padding, False, False, False, True)
    causal = torch.ones(3, 5, dtype=torch.bool).triu(1)
    given |= {
        "attn_mask": causal,
        "is_causal": True,
        "need_weights": needed,
        "add_zero_attn": False,
    }
    ours, theirs = (f(**given) for f in (forward, F.multi_head_attention_forward))
    _assert_close(ours, theirs, leaves)


def test_dropout_in_training_alone():
    given, _ = _problem(None, None, False, False, False, True)
    given |= {"dropout_p": 0.5, "add_zero_attn": False}
    still, other = (forward(**given, training=False)[0] for _ in range(2))
    assert (still == other).all()
    torch.manual_seed(0)
    assert (forward(**given)[0] != still).any()
    with pytest.raises(RuntimeError, match="dropout"):
        forward(**given | {"dropout_p": 1.5})


BAD_FORWARD = {
    "embed_dim": {"embed_dim_to_check": 5},
    "heads": {"num_heads": 3},
    "causal without a mask": {"is_causal": True},
    "mask": {"attn_mask": torch.ones(3, 4, dtype=torch.bool)},
    "mask of heads": {"attn_mask": torch.ones(3, 3, 5, dtype=torch.bool)},
    "bias_k alone": {"bias_k": torch.ones(1, 1, 4, dtype=torch.float64)},
    "key": {"key": torch.ones(4, 2, 4, dtype=torch.float64)},
    "no weight": {"in_proj_weight": None},
    "heads of static_k": {"static_k": _randn(2, 5, 2)},
    "depth of static_v": {"static_v": _randn(4, 5, 3)},
    "bias_k and static_k": {
        "static_k": _randn(4, 5, 2),
        "bias_k": _randn(1, 1, 4),
        "bias_v": _randn(1, 1, 4),
    },
}


@over("bad", BAD_FORWARD)
def test_bad_arguments_of_multi_head_attention_forward_raise(bad):
    given, _ = _problem(None, None, False, False, False, True)
    given |= {"add_zero_attn": False, **BAD_FORWARD[bad]}
    for function in (F.multi_head_attention_forward, forward):
        with pytest.raises((AssertionError, RuntimeError)):
            function(**given)
    with pytest.raises(ValueError, match=r"^multi_head_attention"):
        forward(**given)
