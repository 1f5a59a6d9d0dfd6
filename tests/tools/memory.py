"""Measure the memory that PyTorch keeps for the backward pass, over the bytes of the input.

``nox -s memory`` prints it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import rich.console
import rich.table
import torch
from oracle import FUNCTIONS, rowwise_parameters

SIZE = 1_000_000


def saved_bytes(f: Callable[[Any], Any], x: Any) -> int:
    """Return the bytes that autograd keeps, counting each storage once."""
    storages: dict[int, int] = {}

    def pack(t: Any) -> Any:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        f(x)
    return sum(storages.values())


def main() -> None:
    table = rich.table.Table("function", "fast", "accurate", "compiled")
    x = torch.rand(SIZE // 8, 8, requires_grad=True)
    for function in FUNCTIONS:
        fast, accurate = (
            functools.partial(f, **rowwise_parameters(function))
            for f in (function, function.accurate)
        )
        torch.compiler.reset()
        compiled = torch.compile(fast, backend="aot_eager_decomp_partition", fullgraph=True)
        ratios = (saved_bytes(f, x) / x.nbytes for f in (fast, accurate, compiled))
        table.add_row(function.__name__, *(f"{r:.2f}" for r in ratios))
    rich.console.Console(width=100).print(table)


if __name__ == "__main__":
    main()
