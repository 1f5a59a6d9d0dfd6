"""The layers of torch beside the modules of torch.nn of the same name."""

from __future__ import annotations

import inspect
import io

import pytest
import torch
from oracle import required_parameters

import activations_xp as ax
from activations_xp.layers import _functions
from activations_xp.layers import torch as layers

pytestmark = pytest.mark.libraries("torch")

OF_TORCH = {
    f.definition.layer.rpartition(".")[2]
    for f in map(ax.get, ax.names())
    if f.definition.layer.startswith("torch.nn.")
} | {"Softmax2d"}
"""The classes of functions that are PyTorch's."""

CALLS = [
    ("CELU", (0.5,), {}),
    ("CELU", (), {"alpha": 2.0, "inplace": True}),
    ("ELU", (), {}),
    ("ELU", (0.5, True), {}),
    ("GELU", (), {}),
    ("GELU", ("tanh",), {}),
    ("GLU", (), {}),
    ("GLU", (0,), {}),
    ("Hardshrink", (), {}),
    ("Hardshrink", (0.1,), {}),
    ("Hardsigmoid", (), {}),
    ("Hardswish", (), {}),
    ("Hardtanh", (-2.0, 0.5), {}),
    ("Hardtanh", (), {"max_val": 0.25, "inplace": True}),
    ("Identity", (54,), {"unused": 1}),
    ("LayerNorm", (6,), {}),
    ("LayerNorm", ((4, 6), 1e-3), {"bias": False}),
    ("LayerNorm", ((6,),), {"elementwise_affine": False}),
    ("LeakyReLU", (), {}),
    ("LeakyReLU", (0.2, True), {}),
    ("LogSigmoid", (), {}),
    ("LogSoftmax", (1,), {}),
    ("Mish", (), {"inplace": True}),
    ("PReLU", (), {}),
    ("PReLU", (6, 0.1), {}),
    ("RMSNorm", (6,), {}),
    ("RMSNorm", ((4, 6), 1e-3, False), {}),
    ("RReLU", (0.1, 0.2), {}),
    ("ReLU", (), {}),
    ("ReLU", (True,), {}),
    ("ReLU6", (), {}),
    ("SELU", (), {}),
    ("SiLU", (), {"inplace": True}),
    ("Sigmoid", (), {}),
    ("Softmax", (), {"dim": 0}),
    ("Softmax2d", (), {}),
    ("Softmin", (-1,), {}),
    ("Softplus", (), {}),
    ("Softplus", (2.0, 3.0), {}),
    ("Softshrink", (0.2,), {}),
    ("Softsign", (), {}),
    ("Tanh", (), {}),
    ("Tanhshrink", (), {}),
    ("Threshold", (0.1, 20.0), {}),
    ("Dropout", (0.1,), {}),
    ("AlphaDropout", (), {"p": 0.1}),
    ("FeatureAlphaDropout", (), {}),
]


OTHERS = {"AdaptiveLogSoftmaxWithLoss", "MultiheadAttention"}


GIVEN = {
    "Activation": ("gelu",),
    "AdaptiveLogSoftmaxWithLoss": (16, 20, [4, 10]),
    "LayerNorm": (6,),
    "MultiheadAttention": (8, 2),
    "RMSNorm": (6,),
}


def make(name):
    """Return a layer with the arguments that it needs."""
    cls = getattr(layers, name)
    if name in GIVEN:
        return cls(*GIVEN[name])
    needed = [p for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    given = required_parameters(cls.function) if needed and cls.function else {}
    return cls(**{p.name: given[p.name] for p in needed if p.name in given})


def test_all_are_compared():
    assert {name for name, _, _ in CALLS} == OF_TORCH


@pytest.mark.parametrize("name", sorted(_functions.CLASSES))
def test_signature(name):
    """PyTorch's arguments come first, in its order and with its defaults."""
    theirs = getattr(torch.nn, name, None)
    assert (theirs is not None) == (name in {*OF_TORCH, *OTHERS})
    if theirs is None or "__init__" not in vars(theirs) or name == "Identity":
        return
    ours = list(inspect.signature(getattr(layers, name)).parameters.values())
    expected = inspect.signature(theirs).parameters.values()
    expected = [p for p in expected if p.name not in ("min_value", "max_value")]
    for mine, their in zip(ours, expected, strict=False):
        assert (mine.name, mine.kind) == (their.name, their.kind)
        assert mine.default == their.default or {mine.name} <= {"upper"}
    for mine in ours[len(expected) :]:
        assert mine.kind is mine.KEYWORD_ONLY


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_beside_torch(name, args, kwargs):
    """Values, gradients, representation and state."""
    mine, theirs = (getattr(m, name)(*args, **kwargs) for m in (layers, torch.nn))
    if "RReLU" in name or "Dropout" in name:
        for module in (mine, theirs):
            module.eval()
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    for parameter in theirs.parameters():
        torch.nn.init.uniform_(parameter)
    mine.load_state_dict(theirs.state_dict())
    shape = (2, 6, 4, 6)
    x = 3 * torch.randn(shape, dtype=torch.float64)
    g = torch.randn_like(theirs.double()(x))
    results = []
    for module in (mine.double(), theirs):
        leaf = x.clone().requires_grad_()
        y = module(leaf * 1)
        gradients = torch.autograd.grad(y, [leaf, *module.parameters()], g, allow_unused=True)
        results.append([y, *gradients])
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-10  # whose slope of 1/6 torch has in float32
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-12)
    assert [n for n, _ in mine.named_parameters()] == [n for n, _ in theirs.named_parameters()]


WITHOUT_NAMES = {"Hardshrink", "LayerNorm", "RMSNorm", "Softshrink"}
"""PyTorch leaves out the names of their arguments."""

WITH_MORE = {"AlphaDropout", "Dropout", "FeatureAlphaDropout", "PReLU"}
"""One has more arguments than the other, or shows one that is not given."""


@pytest.mark.parametrize(
    ("name", "args", "kwargs"), [c for c in CALLS if c[0] not in WITHOUT_NAMES | WITH_MORE]
)
def test_repr(name, args, kwargs):
    mine, theirs = (repr(getattr(m, name)(*args, **kwargs)) for m in (layers, torch.nn))
    assert mine == theirs


@pytest.mark.parametrize("name", sorted(_functions.CLASSES))
def test_saved(name):
    """A file with the module is read by pickle, and by torch where its class is allowed."""
    layer = make(name)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    allowed = {type(module) for module in layer.modules()}
    with torch.serialization.safe_globals([*allowed]):
        other = torch.load(file, weights_only=True)
    assert repr(other) == repr(layer)
    for n, value in layer.state_dict().items():
        assert torch.equal(other.state_dict()[n], value)
