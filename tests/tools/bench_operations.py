"""Measure the time of attention, the adaptive softmax and random functions, beside other libraries.

``nox -s bench`` writes the page ``docs/operations.md`` with it. With words, it prints the rows of
the operations that start with one of them. Ratios and medians are those of ``bench.py``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Iterator
from textwrap import fill
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from oracle import peak_memory
from tools.bench import Entry, conditions, measured
from tools.records import DATA, format_count

import activations_xp as ax
import activations_xp.dropin.jax
import activations_xp.layers.torch as layers

RNG = np.random.default_rng(0)
sdpa = ax.scaled_dot_product_attention


def _normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def attention() -> Iterator[Entry]:
    """Yield calls of attention: one head of 64 features, and 8 heads of 2 sequences."""
    for shape in ((1, 1, 16, 64), (2, 8, 256, 64), (2, 8, 1024, 64), (1, 1, 16384, 64)):
        size = f"{shape[0] * shape[1]} x {shape[2]}"
        arrays = [_normal(*shape) for _ in range(3)]
        tensors = [torch.tensor(a) for a in arrays]
        mask = RNG.random((shape[2], shape[2])) < 0.9
        cases: dict[str, tuple[Any, Any]] = {
            "attention": ({}, {}),
            "attention causal": ({"is_causal": True}, {"is_causal": True}),
            "attention mask": ({"mask": mask}, {"attn_mask": torch.tensor(mask)}),
        }
        for case, (ours, theirs) in cases.items():
            if "mask" in ours and shape[2] > 10_000:
                continue
            name = f"{case} {size}"
            peer = functools.partial(F.scaled_dot_product_attention, *tensors, **theirs)
            on_torch = {k: torch.tensor(v) if k == "mask" else v for k, v in ours.items()}
            for library, call in {
                "NumPy": functools.partial(sdpa, *arrays, **ours),
                "PyTorch": functools.partial(sdpa, *tensors, **on_torch),
            }.items():
                yield Entry(library, name, call, {"PyTorch": peer})
        if shape[2] > 10_000:
            continue
        leaves = [t.clone().requires_grad_() for t in tensors]
        name = f"attention and gradient {size}"
        ours, theirs = (
            functools.partial(_backward, functools.partial(f, *leaves))
            for f in (sdpa, F.scaled_dot_product_attention)
        )
        on_numpy = functools.partial(sdpa.vjp, arrays[0], *arrays)
        yield Entry("NumPy", name, on_numpy, {"PyTorch": theirs})
        yield Entry("PyTorch", name, ours, {"PyTorch": theirs})
        swapped = [jnp.asarray(a.swapaxes(1, 2)) for a in arrays]
        ours, theirs = (
            functools.partial(_wait, jax.jit(f), *swapped)
            for f in (ax.dropin.jax.dot_product_attention, jax.nn.dot_product_attention)
        )
        yield Entry("JAX", f"attention {size}", ours, {"JAX": theirs})


def _backward(f: Any) -> None:
    f().sum().backward()


def _wait(f: Any, *arrays: Any) -> Any:
    return f(*arrays).block_until_ready()


def modules() -> Iterator[Entry]:
    """Yield calls of the layers, and of those of torch.nn with the same parameters."""
    both = [
        module(512, 8, batch_first=True)
        for module in (layers.MultiheadAttention, torch.nn.MultiheadAttention)
    ]
    both[1].load_state_dict(both[0].state_dict())
    x = torch.tensor(_normal(4, 128, 512))
    for weights in (False, True):
        ours, theirs = (
            functools.partial(_backward, lambda m=m, w=weights: m(x, x, x, need_weights=w)[0])
            for m in both
        )
        name = f"MultiheadAttention 4 x 128 x 512{' with weights' * weights}, gradient"
        yield Entry("PyTorch", name, ours, {"PyTorch": theirs})
    both = [
        module(256, 100_000, [2000, 10_000, 50_000])
        for module in (layers.AdaptiveLogSoftmaxWithLoss, torch.nn.AdaptiveLogSoftmaxWithLoss)
    ]
    both[1].load_state_dict(both[0].state_dict())
    x = torch.tensor(_normal(1024, 256))
    target = torch.tensor(np.minimum(RNG.zipf(1.2, 1024) - 1, 99_999))
    ours, theirs = (functools.partial(_backward, lambda m=m: m(x, target).loss) for m in both)
    yield Entry("PyTorch", "adaptive softmax 1e5 classes, gradient", ours, {"PyTorch": theirs})
    ours, theirs = (functools.partial(m.predict, x) for m in both)
    yield Entry("PyTorch", "adaptive predict 1e5 classes", ours, {"PyTorch": theirs})


def stochastic() -> Iterator[Entry]:
    """Yield calls of random functions in training, and the usual code in NumPy."""
    rng = np.random.default_rng(0)
    for size in (8, 10**7):
        x = _normal(size)
        tensor = torch.tensor(x)
        for name in ("dropout", "alpha_dropout", "rrelu"):
            ours, theirs = (
                functools.partial(getattr(namespace, name), tensor, training=True)
                for namespace in (ax, F)
            )
            yield Entry("PyTorch", f"{name} {format_count(size)}", ours, {"PyTorch": theirs})
        rows = tensor.reshape(-1, 8)
        ours, theirs = (functools.partial(n.gumbel_softmax, rows) for n in (ax, F))
        yield Entry("PyTorch", f"gumbel_softmax {format_count(size)}", ours, {"PyTorch": theirs})

        def usual(x: Any = x) -> Any:  # NaN for a dropped infinity
            return x * (rng.random(x.shape, np.float32) >= 0.5) * 2

        ours = functools.partial(ax.dropout, x, training=True, rng=rng)
        yield Entry("NumPy", f"dropout {format_count(size)}", ours, {"NumPy": usual})


def rows(names: tuple[str, ...]) -> Iterator[str]:
    """Measure the operations whose names start with one of `names`, and yield their rows."""
    for library, name, ours, theirs in itertools.chain(attention(), modules(), stochastic()):
        if name.startswith(names):
            figure = measured(ours, theirs)
            row = f"| {name} | {library} | {figure} |\n"
            print(row, end="", file=sys.stderr, flush=True)
            yield row


def page() -> Iterator[str]:
    x = _normal(1, 16384, 64)
    forward, causal, gradient = (
        peak_memory(call) / 1e6
        for call in (
            lambda: sdpa(x, x, x),
            lambda: sdpa(x, x, x, is_causal=True),
            lambda: sdpa.vjp(x, x, x, x),
        )
    )
    yield f"""# Attention, adaptive softmax and random functions

{fill(f"The times are in float32, measured by `nox -s bench` on {conditions()}.", 100)}
The last column is the time of the named library divided by ours: above 1 ours is faster.
Attention on NumPy arrays is compared with PyTorch's on tensors.

With 16384 queries and keys and one head of 64 features, attention on NumPy allocates
{forward:.1f} MB beyond its arguments, {causal:.1f} MB if it is causal, and {gradient:.1f} MB for
its gradients. The full matrix of weights would take 1074 MB.

| operation | arrays | ours | other / ours |
|:--|:--|--:|:--|
"""
    yield from rows(("",))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    names = tuple(parser.parse_args().names)
    torch.set_num_threads(ax.get_num_threads())
    if names:
        for _ in rows(names):
            pass
    else:
        (DATA.parent / "operations.md").write_text("".join(page()))
