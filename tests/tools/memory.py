"""Print the bytes that PyTorch keeps for the backward pass, over those of the input.

`nox -s memory` runs it.
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
    """The bytes that autograd keeps, each storage once."""
    storages: dict[int, int] = {}

    def pack(t: Any) -> Any:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        f(x)
    return sum(storages.values())


def main() -> None:
    table = rich.table.Table("function", "eager", "eager, accurate", "compiled")
    x = torch.rand(SIZE // 8, 8, requires_grad=True)
    for function in FUNCTIONS:
        call, accurate = (
            functools.partial(f, **rowwise_parameters(function))
            for f in (function, function.accurate)
        )
        torch.compiler.reset()
        compiled = torch.compile(call, backend="aot_eager_decomp_partition", fullgraph=True)
        ratios = (saved_bytes(f, x) / x.nbytes for f in (call, accurate, compiled))
        table.add_row(function.__name__, *(f"{r:.2f}" for r in ratios))
    rich.console.Console(width=100).print(table)


if __name__ == "__main__":
    main()
