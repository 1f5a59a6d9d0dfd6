"""Models of torch.nn that change over to our layers, and back."""

from __future__ import annotations

import copy
import functools
import io

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.nn.utils import parametrize, prune

import activations_xp.dropin.torch as dropin
from activations_xp.layers import torch as layers

pytestmark = pytest.mark.libraries("torch")


class Own(torch.nn.GELU):
    pass


class Block(torch.nn.Module):
    """A module with functions as attributes, and with one that its forward calls."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
        self.first = F.silu
        self.second = functools.partial(F.gelu, approximate="tanh")

    def forward(self, x):
        return F.relu(self.second(self.first(self.linear(x))))


def make_model():
    torch.manual_seed(0)
    shared = torch.nn.PReLU(init=0.1)
    encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 8),
        torch.nn.LeakyReLU(0.2, inplace=True),
        shared,
        Block(),
        shared,
        Own(),
        torch.nn.Dropout(0.0),
        encoder,
        torch.nn.Softmax(-1),
        torch.nn.PReLU(4),
    )


X = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1))

SWAPPED = {"1", "2", "3.first", "3.second", "4", "7.activation", "7.self_attn", "8", "9"}


def state(model):
    """Return all that a model is, with what is hidden."""
    return repr(model), [{**vars(module)} for module in model.modules()], [*model.parameters()]


def test_outputs_and_report():
    model = make_model()
    expected, before = model(X), state(model)
    report = layers.convert(model)
    assert report.swapped.keys() == SWAPPED
    assert report.left == {
        "3": f"{Block.__module__}.Block, which calls relu",
        "5": f"{Own.__module__}.Own, a subclass of torch.nn.GELU",
    }
    assert model[2] is model[4]
    assert model[3].first is dropin.silu
    assert type(model[7].self_attn) is layers.MultiheadAttention
    assert all(p is q for p, q in zip(model.parameters(), before[2], strict=True))
    torch.testing.assert_close(model(X), expected)
    again = layers.convert(model)
    assert not again.swapped
    assert again.left == report.left
    back = layers.revert(model)
    assert back.swapped.keys() == SWAPPED
    assert not back.left
    assert torch.equal(model(X), expected)
    text, attributes, parameters = state(model)
    assert (text, attributes) == before[:2]
    assert all(p is q for p, q in zip(parameters, before[2], strict=True))
    assert not layers.revert(model).swapped


def test_report_prints_as_a_list():
    model = torch.nn.Sequential(torch.nn.GELU("tanh"), torch.nn.GELU("tanh"), torch.nn.GELU())
    assert str(layers.convert(model)).splitlines() == [
        "3 swapped",
        "  *  torch.nn.GELU -> layers.torch.GELU(approximate='tanh')  (2 times)",
        "  2  torch.nn.GELU -> layers.torch.GELU(approximate='none')",
        "0 left",
    ]


@pytest.mark.parametrize("training", [True, False])
def test_mode_hooks_and_other_attributes(training):
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.PReLU()).train(training)
    seen = []
    handle = model[0].register_forward_hook(lambda module, *_: seen.append(type(module)))
    model[1].register_buffer("count", torch.zeros(2))
    model[1].tag = "mine"
    layers.convert(model)
    assert model[0].training is model[1].training is training
    assert model[1].tag == "mine"
    assert set(model.state_dict()) == {"1.weight", "1.count"}
    model(X)
    handle.remove()
    model(X)
    assert seen == [layers.ReLU]
    model.eval()
    layers.revert(model)
    assert not model[0].training
    assert type(model[1]) is torch.nn.PReLU
    assert model[1].tag == "mine"


def test_training_goes_on():
    """With the same optimizer, before, between and after."""
    losses = []
    for change in (lambda model: None, layers.convert):
        model = make_model()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for step in range(6):
            if step == 2:
                change(model)
            if step == 4:
                layers.revert(model)
            loss = ((model(X) - X) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[:6] == pytest.approx(losses[6:], rel=1e-5)
    assert losses[5] < losses[0]


ATTENTION = [
    {},
    {"bias": False, "batch_first": True},
    {"kdim": 6, "vdim": 10, "add_bias_kv": True},
    {"add_zero_attn": True, "dropout": 0.5},
]


@pytest.mark.parametrize("kwargs", ATTENTION)
def test_attention(kwargs):
    model = torch.nn.ModuleDict({"attention": torch.nn.MultiheadAttention(8, 2, **kwargs)}).eval()
    sizes = (8, kwargs.get("kdim", 8), kwargs.get("vdim", 8))
    x = [torch.randn(4, 4, size) for size in sizes]
    expected = model["attention"](*x)
    before = repr(model)
    layers.convert(model)
    assert type(model["attention"]) is layers.MultiheadAttention
    torch.testing.assert_close(model["attention"](*x), expected)
    layers.revert(model)
    assert repr(model) == before
    torch.testing.assert_close(model["attention"](*x), expected)


def test_adaptive_softmax():
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10], 2.0, True)
    model = torch.nn.ModuleList([theirs])
    x, target = torch.randn(5, 16), torch.randint(0, 20, (5,))
    expected = theirs(x, target), theirs.log_prob(x)
    layers.convert(model)
    assert type(model[0]) is layers.AdaptiveLogSoftmaxWithLoss
    torch.testing.assert_close(
        (tuple(model[0](x, target)), model[0].log_prob(x)), (tuple(expected[0]), expected[1])
    )
    layers.revert(model)
    assert torch.equal(model[0].log_prob(x), expected[1])


@pytest.mark.parametrize("name", sorted({"PReLU", "RReLU", "Hardtanh", "Threshold", "Softplus"}))
def test_arguments_are_kept(name):
    arguments = {
        "PReLU": (4, 0.1),
        "RReLU": (0.1, 0.2),
        "Hardtanh": (-0.5, 0.25),
        "Threshold": (0.1, 20.0),
        "Softplus": (2.0, 3.0),
    }
    model = torch.nn.Sequential(getattr(torch.nn, name)(*arguments[name])).eval()
    expected = model(X)
    layers.convert(model)
    assert type(model[0]) is getattr(layers, name)
    torch.testing.assert_close(model(X), expected)


def test_pruned_and_parametrized_parameters():
    class Double(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

    model = torch.nn.Sequential(torch.nn.PReLU(4), torch.nn.PReLU(4))
    prune.l1_unstructured(model[0], "weight", 2)
    parametrize.register_parametrization(model[1], "weight", Double())
    expected = model(X)
    report = layers.convert(model)
    assert report.swapped.keys() == {"0"}
    assert report.left["1"].endswith(", which has parametrized parameters")
    torch.testing.assert_close(model(X), expected)
    prune.remove(model[0], "weight")
    torch.testing.assert_close(model(X), expected)


def test_copies_and_files():
    """They go back, too."""
    model = make_model()
    expected = model(X)
    layers.convert(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        torch.testing.assert_close(other(X), expected)
        layers.revert(other)
        assert repr(other) == repr(make_model())
        torch.testing.assert_close(other(X), expected)


def test_what_cannot_be_converted():
    assert list(layers.convert(torch.nn.GELU()).left.values()) == [
        "torch.nn.GELU, which no module holds"
    ]
    for function in (layers.convert, layers.revert):
        with pytest.raises(TypeError, match=rf"^{function.__name__}: model must be a torch.nn.Mod"):
            function(torch.relu)
