"""PyTorch: the adaptive softmax beside that of torch.nn, whose weights it takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import CountingCompiler, over
from torch.utils.flop_counter import FlopCounterMode

import activations_xp as ax

FEATURES, CLASSES, CUTOFFS = 64, 40, [8, 12, 25]

TARGETS = {
    "any": np.arange(0, CLASSES, 3),
    "one": [13],
    "shortlist": [0, 7, 3],
    "tail": [39, 8, 12, 25, 24],
    "last": [25, 39, 30, 25],
}


def _module(div_value=2.0, head_bias=True):
    torch.manual_seed(0)
    return torch.nn.AdaptiveLogSoftmaxWithLoss(
        FEATURES, CLASSES, CUTOFFS, div_value, head_bias, dtype=torch.float64
    )


def _weights(state):
    """Return the weights in a state_dict under the names of our arguments."""
    pairs = range(len(CUTOFFS))
    return {
        "head_weight": state["head.weight"],
        "tail_weights": [(state[f"tail.{i}.0.weight"], state[f"tail.{i}.1.weight"]) for i in pairs],
        "head_bias": state.get("head.bias"),
    }


def _leaves_and_weights(module):
    """Return copies of the weights that require gradients, in a list and by our names."""
    state = {name: p.detach().clone().requires_grad_() for name, p in module.state_dict().items()}
    return list(state.values()), _weights(state)


def _x(*batch):
    x = np.random.default_rng(0).normal(size=(*batch, FEATURES))
    return torch.tensor(x).requires_grad_()


def _assert_close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


@over("target", TARGETS)
@over(("div_value", "head_bias"), list(itertools.product([1.0, 2.0, 4.0], [False, True])))
def test_loss_and_gradients_beside_the_module(div_value, head_bias, target):
    module, target = _module(div_value, head_bias), torch.tensor(TARGETS[target])
    leaves, weights = _leaves_and_weights(module)
    x = _x(len(target))
    expected = module(x, target)
    output, loss = ax.adaptive_log_softmax_with_loss(x, target, **weights)
    _assert_close(output, expected.output)
    _assert_close(loss, expected.loss)

    g = torch.linspace(-1, 1, len(target), dtype=torch.float64)
    parameters = [x, *module.parameters()]
    theirs = torch.autograd.grad(
        [expected.output, expected.loss], parameters, [g, None], materialize_grads=True
    )
    ours = torch.autograd.grad([output, loss], [x, *leaves], [g, None])
    names = ["x", *module.state_dict()]
    assert names == ["x", *(name for name, _ in module.named_parameters())]
    _assert_close(ours, theirs)
    written = ax.adaptive_log_softmax_with_loss.vjp(
        (g, torch.ones((), dtype=g.dtype)), x.detach(), target, **weights
    )
    for name, expected_gradient in zip(names, theirs, strict=True):
        _assert_close(_entry(written, name).detach(), expected_gradient)


def _entry(gradients, name):
    """Return the gradient of the weight that a state_dict has under this name."""
    if not name.startswith("tail"):
        return gradients[name.replace(".", "_")]
    _, cluster, part, _ = name.split(".")
    return gradients["tail_weights"][int(cluster)][int(part)]


@over(("div_value", "head_bias"), list(itertools.product([1.0, 2.0], [False, True])))
@pytest.mark.parametrize("n", [0, 1, 30])
def test_log_prob_and_predict_beside_the_module(div_value, head_bias, n):
    module, x = _module(div_value, head_bias), _x(n)
    leaves, weights = _leaves_and_weights(module)
    expected, got = module.log_prob(x), ax.adaptive_log_prob(x, **weights)
    _assert_close(got, expected)
    _assert_close(ax.adaptive_predict(x, **weights), module.predict(x))
    g = torch.linspace(-1, 1, n * CLASSES, dtype=torch.float64).reshape(n, CLASSES)
    theirs = torch.autograd.grad(expected, [x, *module.parameters()], g)
    _assert_close(torch.autograd.grad(got, [x, *leaves], g), theirs)


def test_unbatched_x():
    module, x, target = _module(), _x(), torch.tensor(30)
    weights = _weights(module.state_dict())
    expected = module(x, target)
    output, loss = ax.adaptive_log_softmax_with_loss(x, target, **weights)
    _assert_close(output, expected.output)
    _assert_close(loss, expected.loss)
    _assert_close(ax.adaptive_predict(x, **weights), module.predict(x[None])[0])


@over("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("target", [[3, -1, 30, 9, -1], [-1, -1], []])
@pytest.mark.parametrize("ignored", [-1, 9])
def test_reduction_and_ignore_index_beside_nll_loss(reduction, target, ignored):
    target = torch.tensor(target, dtype=torch.int64)
    target = torch.where(target == -1, ignored, target)
    leaves, weights = _leaves_and_weights(_module())
    x = _x(len(target))
    settings = {"ignore_index": ignored, "reduction": reduction}
    loss = ax.adaptive_log_softmax_with_loss(x, target, **weights, **settings)[1]
    expected = F.nll_loss(ax.adaptive_log_prob(x, **weights), target, **settings)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-13, equal_nan=True)
    theirs = torch.autograd.grad(expected.sum(), [x, *leaves])
    _assert_close(torch.autograd.grad(loss.sum(), [x, *leaves]), theirs)


def test_nan_in_an_ignored_row_is_hidden():
    leaves, weights = _leaves_and_weights(_module())
    x = _x(3).detach()
    x[1] = torch.nan
    target = torch.tensor([0, -100, 30])
    x.requires_grad_()
    theirs = F.nll_loss(ax.adaptive_log_prob(x, **weights), target)
    assert torch.autograd.grad(theirs, weights["head_weight"])[0].isnan().any()
    for f in (ax.adaptive_log_softmax_with_loss, _compiled(ax.adaptive_log_softmax_with_loss)):
        loss = f(x, target, **weights)[1]
        gradients = torch.autograd.grad(loss, [x, *leaves])
        assert all(g.isfinite().all() for g in gradients)
        assert not gradients[0][1].any()


def _compiled(f):
    torch.compiler.reset()
    return torch.compile(f, fullgraph=True, backend="aot_eager")


def _loss(x, target, weights):
    return ax.adaptive_log_softmax_with_loss(x, target, **weights)[1]


def test_compile_grad_and_vmap():
    leaves, weights = _leaves_and_weights(_module())
    x, target = _x(14), torch.tensor(TARGETS["any"])
    loss = _loss(x, target, weights)
    expected = torch.autograd.grad(loss, [x, *leaves])
    compiled = _compiled(_loss)(x, target, weights)
    _assert_close(compiled, loss)
    _assert_close(torch.autograd.grad(compiled, [x, *leaves]), expected)

    frozen = _weights(_module().state_dict())
    grad = torch.func.grad(lambda x, t: _loss(x, t, frozen))
    _assert_close(grad(x.detach(), target), expected[0])
    by_row = torch.func.vmap(grad)(x.detach(), target)
    _assert_close(by_row / len(target), expected[0])
    predicted = ax.adaptive_predict(x, **frozen)
    for f in (_compiled, torch.func.vmap):
        _assert_close(f(lambda x: ax.adaptive_predict(x, **frozen))(x), predicted)
        _assert_close(
            f(lambda x: ax.adaptive_log_prob(x, **frozen))(x), ax.adaptive_log_prob(x, **frozen)
        )


def test_compile_takes_one_graph_for_all_targets():
    torch.compiler.reset()
    counter = CountingCompiler()
    compiled = torch.compile(_loss, fullgraph=True, backend=counter)
    weights, x = _weights(_module().state_dict()), _x(4).detach()
    for target in [0, 1, 2, 3], [39, 39, 39, 39], [-100, 9, 30, 2]:
        compiled(x, torch.tensor(target), weights)
    assert counter.graphs == 1


def test_compiled_target_out_of_range_is_nan():
    """Without the compiler it is an error."""
    weights, x = _weights(_module().state_dict()), _x(4).detach()
    output, loss = _compiled(ax.adaptive_log_softmax_with_loss)(
        x, torch.tensor([0, CLASSES, 39, -100]), **weights
    )
    assert output.isnan().tolist() == [False, True, False, False]
    assert loss.isnan()


def test_gradcheck_and_gradgradcheck():
    module = _module(head_bias=False)
    x, target = _x(4), torch.tensor([0, 9, 30, -100])
    leaves, _ = _leaves_and_weights(module)

    def f(x, *leaves):
        names = module.state_dict()
        return ax.adaptive_log_softmax_with_loss(
            x, target, **_weights(dict(zip(names, leaves, strict=True)))
        )

    assert torch.autograd.gradcheck(f, (x, *leaves), fast_mode=True)
    assert torch.autograd.gradgradcheck(f, (x, *leaves), fast_mode=True)


@pytest.mark.parametrize("wrong", [-1, CLASSES])
def test_target_out_of_range_raises(wrong):
    weights, x = _weights(_module().state_dict()), _x(3)
    with pytest.raises(ValueError, match=f"target {wrong} is out of range for n_classes {CLASSES}"):
        ax.adaptive_log_softmax_with_loss(x, torch.tensor([0, wrong, 1]), **weights)


@over("target", TARGETS)
def test_flop_count_is_that_of_the_module(target):
    module, target = _module(), torch.tensor(TARGETS[target])
    _, weights = _leaves_and_weights(module)

    def flops(f):
        with FlopCounterMode(display=False) as counter:
            f(_x(len(target))).backward()
        return counter.get_total_flops()

    assert flops(lambda x: _loss(x, target, weights)) == flops(lambda x: module(x, target).loss)
