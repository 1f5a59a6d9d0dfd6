"""PyTorch under autocast: the dtypes of torch's own functions, and tensors of several dtypes."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import FUNCTIONS, import_object, over, required_parameters, stated_peer
from sizes import OPERATION_CALLS
from torch._subclasses.fake_tensor import FakeTensorMode

import activations_xp as ax
import activations_xp.layers.torch as layers
from activations_xp.backends.torch.native import AUTOCAST

HALF = [torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


@contextlib.contextmanager
def _autocast(device, dtype):
    """Switch autocast on, also for the device that this build of torch may lack."""
    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype(device, dtype)
    try:
        yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])


def _like_ones(value):
    """Return what makes an argument that is like x on its device."""
    return lambda x: x.new_full((1,), value)


THEIR_ARGUMENTS = {
    "layer_norm": {"normalized_shape": (4,)},
    "rms_norm": {"normalized_shape": (4,)},
    "logsumexp": {"dim": -1},
    "logcumsumexp": {"dim": -1},
    "threshold": {"threshold": 1.0, "value": 0.0},
    "prelu": {"weight": _like_ones(0.25)},
    "logaddexp": {"other": _like_ones(0.5)},
}
"""The arguments that torch's functions need besides x, by our names."""

THEIR_KERNELS_LACK = {
    ("prelu", "cpu", torch.float64),  # it takes no float64 under autocast
    *((f, "cpu", dtype) for f in ("log_ndtr", "ndtri") for dtype in HALF),
}

INDEXED = {"glu", "logcumsumexp"}
"""Functions that index tensors, which torch does not without the device."""

OTHERS = {"one_hot"}
"""Functions that are integers with torch."""

WITH_PEER = [f for f in FUNCTIONS if stated_peer(f, "torch") and f.__name__ not in OTHERS]


def _their_dtype(function, x):
    name, stated = stated_peer(function, "torch")
    given = THEIR_ARGUMENTS.get(function.__name__, {})
    if not given:
        given = {"dim": -1} if "dim" in stated else {}
    given = {k: v(x) if callable(v) else v for k, v in given.items()}
    return import_object(name)(x, **given).dtype


def _our_dtypes(function, x, compiler=None):
    """Return the dtypes of the result of the function and of its accurate form."""
    given = required_parameters(function)
    for name, value in given.items():
        if function.definition.parameters[name].broadcasts == "with":
            given[name] = x.new_full((1,), value)
    if "weight" in function.definition.parameters and function is ax.prelu:
        given["weight"] = x.new_full((1,), 0.25)
    call = function if compiler is None else torch.compile(function, backend=compiler)
    return {form(x, **given).dtype for form in (call, function.accurate)}


@over("autocast_dtype", HALF)
@over("function", WITH_PEER)
def test_dtype_is_that_of_the_peer(function, autocast_dtype):
    """On the CPU, and on the GPU, of which a fake tensor knows the dtypes."""
    for device in ("cpu", "cuda")[: 1 if function.__name__ in INDEXED else 2]:
        for dtype in (torch.float32, torch.float64, *HALF):
            if (function.__name__, device, dtype) in THEIR_KERNELS_LACK:
                continue
            fakes = FakeTensorMode() if device == "cuda" else contextlib.nullcontext()
            with fakes, _autocast(device, autocast_dtype):
                x = torch.full((2, 4), 0.25, dtype=dtype, device=device)
                expected = _their_dtype(function, x)
                assert _our_dtypes(function, x) == {expected}, (device, dtype)


@over("function", WITH_PEER)
def test_compiled_dtype_is_that_of_the_peer(function):
    for dtype in (torch.float32, torch.bfloat16):
        if (function.__name__, "cpu", dtype) in THEIR_KERNELS_LACK:
            continue
        x = torch.full((2, 4), 0.25, dtype=dtype)
        with _autocast("cpu", torch.bfloat16):
            assert _our_dtypes(function, x, "eager") == {_their_dtype(function, x)}, dtype


def test_policy_is_that_of_torchs_headers():
    header = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
    text = header.read_text()

    def listed(macro):
        body = re.search(rf"#define {macro}\(_\)(.*?[^\\])\n", text, re.DOTALL)
        return set(re.findall(r"_\((\w+)", body[1]))

    wide = listed("AT_FORALL_FP32") | listed("AT_FORALL_FP32_SET_OPT_DTYPE")
    lower = listed("AT_FORALL_LOWER_PRECISION_FP")
    made_of = {"softmin": "softmax", "gumbel_softmax": "softmax", "normalize": "linalg_vector_norm"}
    for f in WITH_PEER:
        name = stated_peer(f, "torch")[0].rpartition(".")[2]
        kernel = made_of.get(name, name)
        expected = "float32" if kernel in wide else "lower" if kernel in lower else None
        assert AUTOCAST.get(f.__name__) == expected, f.__name__
    assert "scaled_dot_product_attention" in lower


# tensors of several dtypes


def _mixed_arguments(call, dtype):
    """Return the arguments of a call with the first array in `dtype`, and float32 weights."""
    arrays = {name: torch.tensor(x) for name, x in call.arrays(3, 4).items()}
    first = next(iter(arrays))

    def convert(value, wanted=torch.float32):
        if isinstance(value, list):
            return [tuple(convert(v) for v in pair) for pair in value]
        is_floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(wanted) if is_floating else value

    given = {
        name: convert(v, dtype if name == first else torch.float32) for name, v in arrays.items()
    }
    constants = {name: convert(v) for name, v in call.constants(torch.tensor).items()}
    return {**given, **constants}


def _first(y):
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("compiler", [None, "eager"])
@over("dtype", HALF)
@over("call", OPERATION_CALLS)
def test_operation_of_several_dtypes(call, dtype, compiler):
    """It is that of float32 arrays, rounded, and all gradients have the dtypes of the arrays."""
    given = _mixed_arguments(call, dtype)
    call_of = call.function
    with pytest.raises(TypeError, match="library and dtype"):
        call_of(**given)
    wide = {n: v.float() if getattr(v, "dtype", None) == dtype else v for n, v in given.items()}
    expected = _first(call_of(**wide))
    f = call_of if compiler is None else torch.compile(call_of, backend=compiler)
    if call_of is ax.adaptive_predict:
        with torch.autocast("cpu", dtype=dtype):
            f(**given)
        return
    leaves = [v.requires_grad_() for v in given.values() if _is_floating(v)]
    with torch.autocast("cpu", dtype=dtype):
        y = _first(f(**given))
    assert y.dtype == (torch.float32 if call.function.definition.widens else dtype)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(y.float(), expected, rtol=16 * eps, atol=16 * eps)
    for leaf, gradient in zip(leaves, torch.autograd.grad(y.float().sum(), leaves), strict=True):
        assert gradient.dtype == leaf.dtype
        assert gradient.isfinite().all()


def _is_floating(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()


@over("dtype", HALF)
def test_dropout_of_attention_of_several_dtypes(dtype):
    query, key = torch.ones(1, 2, 50, 4, dtype=dtype), torch.ones(1, 2, 50, 4)
    with torch.autocast("cpu", dtype=dtype):
        y = ax.scaled_dot_product_attention(query, key, key, dropout=0.5)
    assert y.dtype == dtype
    assert len(y.unique()) > 1


@pytest.mark.parametrize("compiler", [None, "aot_eager"])
@over("dtype", HALF)
def test_layers_behind_a_linear_one(dtype, compiler):
    torch.manual_seed(0)
    linear = torch.nn.Linear(8, 8)
    ours = layers.MultiheadAttention(8, 2)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=ours.batch_first)
    theirs.load_state_dict(ours.state_dict())
    loss = layers.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], div_value=2.0)
    their_loss = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], div_value=2.0)
    their_loss.load_state_dict(loss.state_dict())
    x, target = torch.randn(3, 5, 8), torch.tensor([0, 7, 19])

    def run(attention, criterion):
        h = linear(x)
        y, weights = attention(h, h, h)
        return y, weights, *criterion(linear(x[:, 0]), target)

    f = run if compiler is None else torch.compile(run, backend=compiler)
    with torch.autocast("cpu", dtype=dtype):
        got, expected = f(ours, loss), run(theirs, their_loss)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got, expected, rtol=16 * eps, atol=4 * eps)  # and the dtypes
    parameters = [linear.weight, *ours.parameters(), *loss.parameters()]
    total = sum(part.float().sum() for part in got)
    for gradient in torch.autograd.grad(total, parameters, allow_unused=True):
        assert gradient is None or (gradient.dtype == torch.float32 and gradient.isfinite().all())


@over("dtype", HALF)
def test_backward_pass_inside_autocast(dtype):
    """torch advises against it, and takes it."""
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def gradient():
        return torch.autograd.grad(
            torch.cos(ax.scaled_dot_product_attention(x, x, x, softcap=2.0)).sum(), x
        )[0]

    with torch.autocast("cpu", dtype=dtype):
        got = gradient()
    assert got.dtype == torch.float32
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got, gradient(), rtol=64 * eps, atol=64 * eps)


def test_float64_is_not_cast():
    """As with torch."""
    x = torch.ones(1, 2, 3, 4, dtype=torch.float64)
    with torch.autocast("cpu"):
        for attention in (F.scaled_dot_product_attention, ax.scaled_dot_product_attention):
            assert attention(x, x, x).dtype == torch.float64
        with pytest.raises(TypeError, match="key must be an array of query's library and dtype"):
            ax.scaled_dot_product_attention(x, x.float(), x)
