"""The cost of a call on 8 elements: every function over the library's own, in one run.

Ours and theirs alternate; the figure is the median of the ratios. NumPy has few activations, so
there the formula stands for it. The peers are those that the definitions name; one that wants other
parameters than ours is left out.
"""

from __future__ import annotations

import ast
import importlib
import re
import statistics
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import torch

import activations_xp as ax

ROUNDS = 31
X = np.linspace(-3, 3, 8, dtype=np.float32)
ARRAYS = {"numpy": X, "torch": torch.tensor(X), "jax": jax.numpy.asarray(X)}

NUMPY: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}


def pairs() -> Iterator[tuple[str, str, Callable[[], Any], Callable[[], Any]]]:
    """(library, function, our call, its call)."""
    for name in ax.names():
        function = ax.get(name)
        if name in NUMPY:
            yield "numpy", name, partial(function, X), partial(NUMPY[name], X)
        for library in ("torch", "jax"):
            where = function.definition.elsewhere.get(library, "")
            parsed = re.fullmatch(r"([\w.]+)\.(\w+)(?: \((\w+)=(\w+)\))?", where)
            if parsed is None:
                continue
            module, peer, key, value = parsed.groups()
            theirs = getattr(importlib.import_module(module), peer)
            keywords = {key: ast.literal_eval(value)} if key else {}
            ours, its = (partial(f, ARRAYS[library], **keywords) for f in (function, theirs))
            try:
                ours(), its()
            except TypeError:
                continue
            yield library, name, ours, its


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float, float]:
    """The median of the ratios, and both medians in microseconds."""
    for call in (ours, theirs):
        timeit.timeit(call, number=50)
    number = max(50, int(0.002 / (timeit.timeit(theirs, number=50) / 50)))
    times = [[timeit.timeit(f, number=number) for f in (ours, theirs)] for _ in range(ROUNDS)]
    a, b = (statistics.median(column) / number * 1e6 for column in zip(*times, strict=True))
    return statistics.median(a / b for a, b in times), a, b


if __name__ == "__main__":
    print("library  function        ratio   ours us  theirs us")
    for library, name, ours, theirs in pairs():
        print("{:8} {:14} {:6.2f} {:9.2f} {:10.2f}".format(library, name, *ratio(ours, theirs)))
