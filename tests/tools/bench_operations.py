"""Time attention, the adaptive softmax and random functions beside PyTorch and JAX.

``nox -s bench`` writes the page ``docs/operations.md`` with it; ratios and medians are as there.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import peak_memory
from tools.bench import DOCS, _count, _time, conditions, measured

import activations_xp as ax
import activations_xp.dropin.jax
import activations_xp.layers.torch as layers

RNG = np.random.default_rng(0)
sdpa = ax.scaled_dot_product_attention


def _normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def attention() -> Iterator[tuple[str, str, Any, dict[str, Any]]]:
    """One head of 64 features; and 8 heads of 2 sequences."""
    for shape in ((1, 1, 16, 64), (2, 8, 256, 64), (2, 8, 1024, 64), (1, 1, 16384, 64)):
        arrays = [_normal(*shape) for _ in range(3)]
        tensors = [torch.tensor(a) for a in arrays]
        mask = RNG.random((shape[2], shape[2])) < 0.9
        cases: dict[str, tuple[Any, Any]] = {
            "": ({}, {}),
            "causal": ({"is_causal": True}, {"is_causal": True}),
            "mask": ({"mask": mask}, {"attn_mask": torch.tensor(mask)}),
        }
        for case, (ours, theirs) in cases.items():
            if case == "mask" and shape[2] > 10_000:
                continue
            what = f"attention{case and f' {case}'} {shape[0] * shape[1]} x {shape[2]}"
            peer = {
                "PyTorch": functools.partial(F.scaled_dot_product_attention, *tensors, **theirs)
            }
            yield what, "NumPy", functools.partial(sdpa, *arrays, **ours), peer
            given = {k: torch.tensor(v) if k == "mask" else v for k, v in ours.items()}
            yield what, "PyTorch", functools.partial(sdpa, *tensors, **given), peer
        if shape[2] > 10_000:
            continue
        leaves = [t.clone().requires_grad_() for t in tensors]
        what = f"attention and gradient {shape[0] * shape[1]} x {shape[2]}"
        peer = {"PyTorch": lambda leaves=leaves: _back(F.scaled_dot_product_attention(*leaves))}
        yield what, "NumPy", functools.partial(sdpa.vjp, arrays[0], *arrays), peer
        yield what, "PyTorch", lambda leaves=leaves: _back(sdpa(*leaves)), peer
        swapped = [jnp.asarray(a.swapaxes(1, 2)) for a in arrays]
        ours = jax.jit(ax.dropin.jax.dot_product_attention)
        peer = {"JAX": functools.partial(_ready, jax.jit(jax.nn.dot_product_attention), *swapped)}
        what = f"attention {shape[0] * shape[1]} x {shape[2]}"
        yield what, "JAX", functools.partial(_ready, ours, *swapped), peer


def _back(y: Any) -> Any:
    return y.sum().backward()


def _ready(function: Any, *arrays: Any) -> Any:
    return function(*arrays).block_until_ready()


def modules() -> Iterator[tuple[str, str, Any, dict[str, Any]]]:
    """The layers beside torch.nn's with the same parameters."""
    ours = layers.MultiheadAttention(512, 8, batch_first=True)
    theirs = torch.nn.MultiheadAttention(512, 8, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.tensor(_normal(4, 128, 512))
    for needed in (False, True):
        calls = [functools.partial(m, x, x, x, need_weights=needed) for m in (ours, theirs)]
        what = f"MultiheadAttention 4 x 128 x 512{' with weights' * needed}, gradient"
        yield (
            what,
            "PyTorch",
            lambda c=calls[0]: _back(c()[0]),
            {"PyTorch": lambda c=calls[1]: _back(c()[0])},
        )
    cutoffs = [2000, 10_000, 50_000]
    layer = layers.AdaptiveLogSoftmaxWithLoss(256, 100_000, cutoffs)
    other = torch.nn.AdaptiveLogSoftmaxWithLoss(256, 100_000, cutoffs)
    other.load_state_dict(layer.state_dict())
    x = torch.tensor(_normal(1024, 256))
    target = torch.tensor(np.minimum(RNG.zipf(1.2, 1024) - 1, 99_999))
    peer = {"PyTorch": lambda: _back(other(x, target).loss)}
    yield (
        "adaptive softmax 1e5 classes, gradient",
        "PyTorch",
        lambda: _back(layer(x, target).loss),
        peer,
    )
    peer = {"PyTorch": functools.partial(other.predict, x)}
    yield "adaptive predict 1e5 classes", "PyTorch", functools.partial(layer.predict, x), peer


def stochastic() -> Iterator[tuple[str, str, Any, dict[str, Any]]]:
    """In training; NumPy beside what one writes, which makes 0*inf of infinity."""
    rng = np.random.default_rng(0)
    for size in (8, 10**7):
        x = _normal(size)
        t = torch.tensor(x)
        for name in ("dropout", "alpha_dropout", "rrelu"):
            ours, theirs = (getattr(space, name) for space in (ax, F))
            peer = {"PyTorch": functools.partial(theirs, t, training=True)}
            what = f"{name} {_count(size)}"
            yield what, "PyTorch", functools.partial(ours, t, training=True), peer
        rows = t.reshape(-1, 8)
        peer = {"PyTorch": functools.partial(F.gumbel_softmax, rows)}
        yield (
            f"gumbel_softmax {_count(size)}",
            "PyTorch",
            functools.partial(ax.gumbel_softmax, rows),
            peer,
        )
        peer = {"NumPy": lambda x=x: x * (rng.random(x.shape, np.float32) >= 0.5) * 2}
        call = functools.partial(ax.dropout, x, training=True, rng=rng)
        yield f"dropout {_count(size)}", "NumPy", call, peer


def page() -> Iterator[str]:
    x = _normal(1, 16384, 64)
    forward, causal, back = (
        peak_memory(call) / 1e6
        for call in (
            lambda: sdpa(x, x, x),
            lambda: sdpa(x, x, x, is_causal=True),
            lambda: sdpa.vjp(x, x, x, x),
        )
    )
    yield f"""# Attention, the adaptive softmax and what is random

Times in float32, `nox -s bench` on {conditions()}.
Behind each time of ours stands how many times as long the other takes: above 1 ours is faster.
Attention on NumPy's arrays is compared with PyTorch's on tensors.

Attention of 16384 queries and keys, one head of 64 features, takes {forward:.1f} MB beyond its
arguments on NumPy, {causal:.1f} MB with causality, and {back:.1f} MB for its gradients. All its
weights at once would take 1074 MB.

| what | on | ours | the other over ours |
|:--|:--|--:|:--|
"""
    for what, library, ours, theirs in itertools.chain(attention(), modules(), stochastic()):
        figure = measured(ours, theirs)
        line = (
            f"| {what} | {library} | {_time(figure.seconds)} | {figure.ratio:.2f} {figure.peer} |\n"
        )
        print(line, end="", file=sys.stderr, flush=True)
        yield line


if __name__ == "__main__":
    torch.set_num_threads(ax.get_num_threads())
    (DOCS / "operations.md").write_text("".join(page()))
