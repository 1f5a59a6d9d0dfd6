"""The largest errors of values and derivatives, ours, on every library that is here.

``nox -s accuracy`` prints them: in units in the last place, over the numbers that have cost others
their digits, where the exact result is a normal number (XLA takes subnormal ones for zeros). Of a
function along an axis the second figure is that of `vjp`, in eps of the largest sum that makes up
an element.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import rich.console
import rich.table
from common import exact_values, moved_within, remembered, within
from test_derivatives import ROWS, away_from, jacobian, slope

import activations_xp as ax
from activations_xp._oracle import difference

PLAIN = (1e-8, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0, 300.0, 709.0, 745.0, 1e20)


def points(definition: Any, dtype: str) -> Any:
    """Zeros, extremes, and the numbers around which functions and their tails change."""
    info = np.finfo(dtype)
    kinks = np.array(definition.properties.kinks, dtype)
    near = [np.nextafter(kinks, np.array(side, dtype)) for side in (-np.inf, np.inf)]
    far = (info.tiny, info.eps, info.max)
    x = np.array([0.0, *PLAIN, *far], dtype)
    x = np.concatenate([x, -x, *near])
    return within(definition, x[(x == 0) | (np.abs(x) >= info.tiny)])


def libraries() -> Iterator[tuple[str, Any]]:
    import torch

    yield "numpy", np.asarray
    yield "torch", torch.tensor
    import jax

    jax.config.update("jax_enable_x64", True)
    yield "jax", jax.numpy.asarray


def errors(function: Any, variant: Any, dtype: str, make: Any) -> tuple[float, float]:
    """Of the value, and of the derivative or the product with the Jacobian."""
    definition = function.definition
    parameters = {**definition.defaults, **variant.parameters}
    if definition.axis is not None:
        return _along_an_axis(function, variant, parameters, dtype, make)
    x = points(definition, dtype)
    exact = exact_values(variant.formula, x, parameters)
    got = np.asarray(function.portable(make(x), **variant.parameters))
    low, high = definition.properties.defined
    kinks = [*definition.properties.kinks, *(v for v in parameters.values() if type(v) is float)]
    x = x[away_from(np.abs(np.array([*kinks, 0.0])), x) & (x > low) & (x < high)]
    true = remembered(slope, variant.formula, x, parameters)
    moved = np.asarray(function.derivative(make(x), **variant.parameters))
    return _largest(got, exact), _largest(moved, true)


def _largest(got: Any, exact: Any) -> float:
    size = np.abs(exact.astype("f8"))
    normal = (size >= np.finfo(got.dtype).smallest_normal) & np.isfinite(size)
    return float(difference(got, exact)[normal].max(initial=0))


def _along_an_axis(
    function: Any, variant: Any, parameters: Any, dtype: str, make: Any
) -> tuple[float, float]:
    worst = [0.0, 0.0]
    for row in moved_within(function.definition, ROWS).astype(dtype):
        exact = exact_values(variant.formula, row, parameters)
        got = np.asarray(function.portable(make(row[None]), **variant.parameters))
        g = np.random.default_rng(7).normal(size=got.shape).astype(dtype)
        pulled = np.asarray(function.vjp(make(row[None]), make(g), **variant.parameters))
        j = remembered(jacobian, variant.formula, row, parameters)
        apart = np.abs(pulled[0] - (g.ravel() @ j).astype("f8"))
        size = (np.abs(g.ravel()) @ np.abs(j)).astype("f8").max(initial=0)
        eps = np.finfo(dtype).eps * max(size, np.finfo(dtype).tiny)
        worst = [max(worst[0], _largest(got.reshape(exact.shape), exact)), worst[1]]
        worst = [worst[0], max(worst[1], float(apart.max() / eps))]
    return worst[0], worst[1]


def main(names: list[str]) -> None:
    made = dict(libraries())
    columns = [f"{name} {dtype}" for name in made for dtype in ("float32", "float64")]
    table = rich.table.Table("function", "parameters", *columns, title="ulp of value / derivative")
    for name in names or ax.names():
        function = ax.get(name)
        for variant in function.definition.variants:
            stated = ", ".join(f"{k}={v}" for k, v in variant.parameters.items())
            cells = []
            for make in made.values():
                for dtype in ("float32", "float64"):
                    with np.errstate(all="ignore"):
                        both = errors(function, variant, dtype, make)
                    cells.append(" / ".join(f"{e:.3g}" for e in both))
            table.add_row(name, stated, *cells)
    rich.console.Console(width=150).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
