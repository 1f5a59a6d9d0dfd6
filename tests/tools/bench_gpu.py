"""Measure the time of the functions on a GPU, of PyTorch's and JAX's functions, and of a copy.

``nox -s bench_gpu`` writes the page ``docs/performance_gpu.md``. With names of functions it prints
the rows of these. The times are medians over calls that take turns, by the events of the device;
those of JAX, which has no events, by the clock of the host. A function that only reads and writes
its array takes as long as a copy, which is therefore the best time possible. ``--device cpu`` is
for trying the program.
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
    """The seconds of the calls of one function, by name."""

    name: str
    times: dict[str, float]

    def ratio(self, ours: str, theirs: str) -> str:
        """Return the second time over the first, or "" if one is missing."""
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


def with_clock(call: Call) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def medians(calls: dict[str, Call], device: str) -> dict[str, float]:
    """Return the seconds of each call; they take turns, after two calls to compile."""
    timers = {
        name: with_clock if name.startswith("JAX") or device == "cpu" else with_events
        for name in calls
    }
    for name in (*calls, *calls):
        timers[name](calls[name])
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(timers[name](call))
    return {name: statistics.median(values) for name, values in times.items()}


def calls_to_compare(function: Any, x: torch.Tensor) -> dict[str, Call]:
    """Return a copy, our calls and those of the libraries' functions with the same values."""
    required = required_parameters(function)
    fast, accurate = (functools.partial(f, **required) for f in (function, function.accurate))
    of_torch, of_jax = (peer_of(function.definition, library) for library in ("torch", "jax"))
    calls: dict[str, Call] = {
        "copy": x.clone,
        "fast": functools.partial(fast, x),
        "accurate": functools.partial(accurate, x),
        "compiled": functools.partial(compiled(fast), x),
    }
    if of_torch is not None and not required and agrees(calls["fast"], of_torch, x):
        calls["PyTorch"] = functools.partial(of_torch, x)
        calls["PyTorch, compiled"] = functools.partial(compiled(of_torch), x)
    jax_x = jax.numpy.from_dlpack(x)
    calls["JAX, fast"] = functools.partial(jax.jit(fast), jax_x)
    if of_jax is not None and not required and agrees(calls["JAX, fast"], of_jax, jax_x):
        calls["JAX"] = functools.partial(jax.jit(of_jax), jax_x)
    return calls


def agrees(ours: Call, peer: Callable[[Any], Any], x: Any) -> bool:
    def on_host(value: Any) -> Any:
        return value.cpu() if isinstance(value, torch.Tensor) else value

    try:
        return agree(on_host(ours()), on_host(peer(x)))
    except (TypeError, RuntimeError):  # it does not take these parameters or this dtype
        return False


def rows(names: list[str], size: int, dtype: torch.dtype, device: str) -> Iterator[Row]:
    everything = 3 * torch.randn(size, generator=torch.Generator().manual_seed(0))
    for name in names:
        function = ax.get(name)
        low, high = function.definition.properties.domain
        x = everything if low < -9 else everything.clamp(max(low, -8), min(high, 8))
        if function.definition.output_axis == "kept":
            x = x.reshape(-1, 1000)
        row = Row(name, medians(calls_to_compare(function, x.to(device, dtype)), device))
        print(name, {k: f"{v * 1e6:.0f} us" for k, v in row.times.items()}, file=sys.stderr)
        yield row


def page(tables: dict[str, list[Row]], size: int, device: str) -> Iterator[str]:
    name = torch.cuda.get_device_name() if device != "cpu" else "the processor"
    versions = ", ".join(f"{n} {version(n)}" for n in ("torch", "jax"))
    yield f"""# Performance on a GPU

The arrays have {size:.0e} elements. `nox -s bench_gpu` measured the times on {name},
{datetime.date.today()}, {versions}.
The first columns are the time at `precision("fast")`, the bytes read and written per second, and
the time of a copy divided by ours. The others are the time of PyTorch's and JAX's own function
divided by ours: above 1 ours is faster. *accurate* is ours at `precision("accurate")`, and
*compiled* are both compiled by `torch.compile`.
"""
    for title, table in tables.items():
        width = 2 if "16" in title else 4
        yield f"\n## {title}\n\n"
        yield "| function | time | GB/s | copy | PyTorch | PyTorch, accurate"
        yield " | PyTorch, compiled | copy, compiled | JAX |\n"
        yield "|:--" + "|--:" * 8 + "|\n"
        for row in table:
            seconds = row.times["fast"]
            speed = 2 * width * size / seconds / 1e9
            yield f"| {row.name} | {seconds * 1e6:.0f} us | {speed:.0f} "
            yield f"| {row.ratio('fast', 'copy')} | {row.ratio('fast', 'PyTorch')} "
            yield f"| {row.ratio('accurate', 'PyTorch')} "
            yield f"| {row.ratio('compiled', 'PyTorch, compiled')} "
            yield f"| {row.ratio('compiled', 'copy')} | {row.ratio('JAX, fast', 'JAX')} |\n"


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
