"""The layers of torch under what users do with modules of torch.nn."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune

from activations_xp.layers import torch as layers

pytestmark = pytest.mark.libraries("torch")

LAYERS = {
    "PReLU": (3,),
    "MultiheadAttention": (16, 2),
    "AdaptiveLogSoftmaxWithLoss": (16, 20, [4, 10]),
}
WEIGHTS = [
    ("PReLU", "weight"),
    ("MultiheadAttention", "in_proj_weight"),
    ("MultiheadAttention", "out_proj.weight"),
    ("AdaptiveLogSoftmaxWithLoss", "head.weight"),
    ("AdaptiveLogSoftmaxWithLoss", "tail.1.0.weight"),
]
WITH_PARAMETERS = [
    ("PReLU", (3,), {}),
    ("Swish", (2.0,), {}),
    ("ELU", (0.5,), {"learned": ["alpha"]}),
    ("LayerNorm", (6,), {}),
    ("MultiheadAttention", (8, 2, 0.0, True, True), {}),
    ("AdaptiveLogSoftmaxWithLoss", (16, 20, [4, 10]), {"head_bias": True}),
]


def pair(name):
    """Return our layer and PyTorch's with the same parameters."""
    mine, theirs = (getattr(m, name)(*LAYERS[name]) for m in (layers, torch.nn))
    mine.load_state_dict(theirs.state_dict())
    return mine, theirs


def inputs(name):
    torch.manual_seed(0)
    if name == "PReLU":
        return (torch.randn(4, 3, 5),)
    if name == "MultiheadAttention":
        return (torch.randn(4, 3, 16),) * 3
    return torch.randn(5, 16), torch.randint(0, 20, (5,))


def value_and_gradients(module, name):
    y = module(*inputs(name))
    y = y[0] if isinstance(y, tuple) else y
    module.zero_grad()
    y.sum().backward()
    return {"value": y, **{n: p.grad for n, p in module.named_parameters()}}


class Double(torch.nn.Module):
    def forward(self, weight):
        return 2 * weight


def cut(module, name):
    mask = torch.arange(getattr(module, name).numel()).reshape(getattr(module, name).shape) % 2
    prune.custom_from_mask(module, name, mask)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(("name", "path"), WEIGHTS)
@pytest.mark.parametrize(
    "change",
    [
        cut,
        lambda module, name: parametrize.register_parametrization(module, name, Double()),
        parametrizations.weight_norm,
        torch.nn.utils.weight_norm,
    ],
    ids=["prune", "parametrize", "weight_norm", "hook"],
)
def test_utilities_that_replace_a_parameter(name, path, change):
    results = []
    for module in pair(name):
        owner, _, parameter = path.rpartition(".")
        change(module.get_submodule(owner), parameter)
        results.append(value_and_gradients(module, name))
    mine, theirs = results
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


class Adapter(torch.nn.Module):
    """A linear module with a change of low rank, as adapters have it."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.bias = inner, inner.bias
        self.up = torch.nn.Parameter(torch.ones(16, 2))
        self.down = torch.nn.Parameter(torch.ones(2, 16))

    @property
    def weight(self):
        return self.inner.weight + self.up @ self.down


def test_adapter_in_the_place_of_a_module():
    results = []
    for module in pair("MultiheadAttention"):
        assert isinstance(module.out_proj, torch.nn.Linear)
        module.out_proj = Adapter(module.out_proj)
        results.append(value_and_gradients(module, "MultiheadAttention"))
    mine, theirs = results
    assert "out_proj.up" in mine
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_subclass_with_a_parameter_of_its_own():
    class Scaled(layers.MultiheadAttention):
        def __init__(self):
            super().__init__(16, 2)
            self.gain = torch.nn.Parameter(torch.full((1,), 2.0))

        def forward(self, *args):
            y, weights = super().forward(*args)
            return self.gain * y, weights

    ours, _ = pair("MultiheadAttention")
    module = Scaled()
    module.load_state_dict({**ours.state_dict(), "gain": torch.tensor([2.0])})
    x = inputs("MultiheadAttention")
    y = module(*x)[0]
    torch.testing.assert_close(y, 2 * ours(*x)[0])
    y.sum().backward()
    torch.testing.assert_close(module.gain.grad, ours(*x)[0].sum()[None])
    assert "gain" not in module.vjp((torch.ones_like(y), None), *x)


def test_modules_of_a_layer_are_those_of_torch():
    for name in ("MultiheadAttention", "AdaptiveLogSoftmaxWithLoss"):
        mine, theirs = pair(name)
        kinds = dict(theirs.named_modules())
        for path, module in mine.named_modules():
            assert isinstance(module, type(kinds[path])) or path == ""
        assert dict(mine.named_modules()).keys() == kinds.keys()


@pytest.mark.parametrize(("name", "args", "kwargs"), WITH_PARAMETERS)
def test_reset_parameters(name, args, kwargs):
    """Of a layer that is made without memory, as of one that is made with it."""
    layer = getattr(layers, name)(*args, **kwargs, device="meta")
    assert {p.device.type for p in layer.parameters()} == {"meta"}
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(torch.nan)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    layer.reset_parameters(generators[0])
    is_random = name in LAYERS and name != "PReLU"
    given = {"rng": generators[1]} if is_random else {}
    torch.testing.assert_close(
        layer.state_dict(), getattr(layers, name)(*args, **kwargs, **given).state_dict()
    )
    layer.reset_parameters()
    assert all(torch.isfinite(p).all() for p in layer.parameters())


@pytest.mark.parametrize("shape", [(), (1,)])
def test_states_of_one_number(shape):
    """With an axis and without, alone and in a model."""
    state = {"1.beta": torch.full(shape, 3.0)}
    model = torch.nn.Sequential(torch.nn.ReLU(), layers.Swish())
    assert model.load_state_dict(state)
    assert model.state_dict()["1.beta"].tolist() == [3.0]
    assert state["1.beta"].shape == shape
    assert layers.Swish.from_state_dict({"beta": torch.full(shape, 2.0)}).beta.tolist() == [2.0]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("norm_first", [False, True])
def test_attention_in_an_encoder(norm_first):
    """In training, and in evaluation on PyTorch's shorter way."""
    args = {"dim_feedforward": 16, "dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    theirs = torch.nn.TransformerEncoderLayer(8, 2, **args)
    mine = copy.deepcopy(theirs)
    mine.self_attn = layers.MultiheadAttention(8, 2, batch_first=True)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 5, 8)
    padding = torch.arange(5) >= torch.tensor([5, 4, 3, 5])[:, None]
    for training in (True, False):
        for module in (mine, theirs):
            module.train(training)
        torch.testing.assert_close(mine(x), theirs(x), rtol=1e-4, atol=1e-5)
        stacks = [
            torch.nn.TransformerEncoder(m, 2, enable_nested_tensor=not norm_first)
            for m in (mine, theirs)
        ]
        with torch.no_grad():
            got, expected = (s.train(training)(x, src_key_padding_mask=padding) for s in stacks)
        torch.testing.assert_close(got[~padding], expected[~padding], rtol=1e-4, atol=1e-5)
        for layer in (mine, theirs):
            with torch.no_grad():
                layer(x, src_key_padding_mask=padding)


def test_device_and_dtype_by_position():
    for name, args in LAYERS.items():
        if name == "PReLU":
            args = (3, 0.25)
        elif name == "MultiheadAttention":
            args = (16, 2, 0.0, True, False, False, None, None, True)
        else:
            args = (*args, 4.0, True)
        for module in (layers, torch.nn):
            layer = getattr(module, name)(*args, "meta", torch.float64)
            (kind,) = {(p.device.type, p.dtype) for p in layer.parameters()}
            assert kind == ("meta", torch.float64)
