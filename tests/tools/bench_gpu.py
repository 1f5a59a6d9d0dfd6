"""Time the functions on a GPU, beside PyTorch's and JAX's own, and beside a copy.

``nox -s bench_gpu`` writes the page ``docs/performance_gpu.md``; with names it prints what is said
of those. Times are those that the device's events tell, medians of calls that take turns; JAX has
none and is timed from outside. A function that does nothing but read and write its array takes as
long as the copy of it: so much of that is what it achieves. ``--device cpu`` is for trying it out.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import torch
from oracle import FUNCTIONS, peer_of, required_parameters
from tools.bench import agree, compiled

import activations_xp as ax

PAGE = Path(__file__).parents[2] / "docs" / "performance_gpu.md"
ROUNDS = 15

Call = Callable[[], Any]


class Row(NamedTuple):
    """Seconds by what was called; of what there is not, none."""

    name: str
    times: dict[str, float]

    def ratio(self, ours: str, theirs: str) -> str:
        if ours not in self.times or theirs not in self.times:
            return ""
        return f"{self.times[theirs] / self.times[ours]:.2f}"


def with_events(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def from_outside(call: Call) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def medians(calls: dict[str, Call], device: str) -> dict[str, float]:
    """Each call's seconds, taking turns, after two calls to compile."""
    timers = {
        name: from_outside if name.startswith("JAX") or device == "cpu" else with_events
        for name in calls
    }
    for name in (*calls, *calls):
        timers[name](calls[name])
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(timers[name](call))
    return {name: statistics.median(values) for name, values in times.items()}


def called(function: Any, x: torch.Tensor) -> dict[str, Call]:
    """Ours and theirs, in every way of use."""
    definition = function.definition
    required = required_parameters(function)
    bound = functools.partial(function, **required)
    calls: dict[str, Call] = {
        "copy": x.clone,
        "ours": functools.partial(bound, x),
        "accurate": functools.partial(function.accurate, x, **required),
        "compiled": functools.partial(compiled(bound), x),
    }
    peer = peer_of(definition, "torch")
    if peer is not None and not required and agrees(calls["ours"], peer, x):
        calls["PyTorch"] = functools.partial(peer, x)
        calls["PyTorch, compiled"] = functools.partial(compiled(peer), x)
    there = jax.numpy.from_dlpack(x)
    calls["JAX, ours"] = functools.partial(jax.jit(bound), there)
    peer = peer_of(definition, "jax")
    if peer is not None and not required and agrees(calls["JAX, ours"], peer, there):
        calls["JAX"] = functools.partial(jax.jit(peer), there)
    return calls


def agrees(ours: Call, peer: Callable[[Any], Any], x: Any) -> bool:
    def on_host(value: Any) -> Any:
        return value.cpu() if isinstance(value, torch.Tensor) else value

    try:
        return agree(on_host(ours()), on_host(peer(x)))
    except (TypeError, RuntimeError):  # other parameters, or no such dtype
        return False


def rows(names: list[str], size: int, dtype: torch.dtype, device: str) -> Iterator[Row]:
    everything = 3 * torch.randn(size, generator=torch.Generator().manual_seed(0))
    for name in names:
        function = ax.get(name)
        low, high = function.definition.properties.domain
        x = everything if low < -9 else everything.clamp(max(low, -8), min(high, 8))
        if function.definition.output_axis == "kept":
            x = x.reshape(-1, 1000)
        row = Row(name, medians(called(function, x.to(device, dtype)), device))
        print(name, {k: f"{v * 1e6:.0f} us" for k, v in row.times.items()}, file=sys.stderr)
        yield row


def page(tables: dict[str, list[Row]], size: int, device: str) -> Iterator[str]:
    what = torch.cuda.get_device_name() if device != "cpu" else "the processor"
    versions = ", ".join(f"{n} {version(n)}" for n in ("torch", "jax"))
    yield f"""# Performance on a GPU

Arrays of {size:.0e} elements, `nox -s bench_gpu` on {what}, {datetime.date.today()}, {versions}.
Time, and the bytes read and written in it; how much of the speed of a copy within the device that
is; and how many times as long others take: above 1 ours is faster.
"""
    for title, table in tables.items():
        width = 2 if "16" in title else 4
        yield f"\n## {title}\n\n"
        yield "| function | time | GB/s | of a copy | PyTorch | accurate, PyTorch"
        yield " | compiled, compiled PyTorch | compiled, of a copy | JAX |\n"
        yield "|:--" + "|--:" * 8 + "|\n"
        for row in table:
            t = row.times
            speed = 2 * width * size / t["ours"] / 1e9
            yield f"| {row.name} | {t['ours'] * 1e6:.0f} us | {speed:.0f} "
            yield f"| {row.ratio('ours', 'copy')} | {row.ratio('ours', 'PyTorch')} "
            yield f"| {row.ratio('accurate', 'PyTorch')} "
            yield f"| {row.ratio('compiled', 'PyTorch, compiled')} "
            yield f"| {row.ratio('compiled', 'copy')} | {row.ratio('JAX, ours', 'JAX')} |\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--size", type=lambda v: int(float(v)), default=100_000_000)
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args()
    every = [f.__name__ for f in FUNCTIONS if f.definition.keeps_shape]
    tables = {
        str(dtype).removeprefix("torch."): [
            *rows(asked.names or every, asked.size, dtype, asked.device)
        ]
        for dtype in (torch.float32, torch.bfloat16)
    }
    text = "".join(page(tables, asked.size, asked.device))
    if asked.names or asked.device == "cpu":
        print(text)
    else:
        PAGE.write_text(text)
