"""Print the page of conventions: each function where its formula leaves a choice.

``nox -s tables`` writes ``docs/conventions.md`` with it, and the tests compare every library with
the page.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np

import activations_xp as ax

POINTS = (-inf, -0.0, 0.0, inf, nan)

HEAD = """\
# Conventions

This page states the value and the derivative of every function where its formula leaves a choice:
at infinities, at zeros of both signs, at NaN, and at kinks. `nox -s tables` generates the tables,
and a test compares every library with them, at `precision("accurate")`. Parameters have their
defaults unless they are given.

* At -inf and inf a function has its limit, with the sign of a zero, and so has its derivative if
  the limit exists.
* NaN gives NaN, in the function and in the derivative.
* At a kink the derivative is PyTorch's choice, one of the two one-sided slopes.
* Masked elements have no influence and get the gradient 0, even if they are not finite. A slice
  without elements gives 0 (`log_softmax`, `logsumexp`: -inf), with the gradient 0.
* A parameter is a number or an array, to which gradients flow. `order`, and `eps` and `epsilon`,
  which guard a quotient or a logarithm, are numbers: the computation depends on their values.
  Conditions such as tau > 0 are checked of numbers; no values of an array are read.
"""

STEP = 1e-6


def page() -> str:
    """Return the page without the section on the kernels of PyTorch."""
    return "\n".join(
        [
            HEAD,
            "## Values at infinities, zeros and NaN\n",
            _table(["function", *(f"f({_number(p)})" for p in POINTS)], _rows("value")),
            "## Derivatives at infinities, zeros and NaN\n",
            _table(["function", *(f"f'({_number(p)})" for p in POINTS)], _rows("derivative")),
            "## Kinks and jumps\n",
            "The one-sided slopes are evaluated at a distance of 1e-6.\n",
            _table(["function", "x", "f", "f'", "left slope", "right slope"], _kinks()),
            "## Along an axis\n",
            "Each row shows a slice of two elements, its result, and its gradient for the"
            " cotangents 1, 2, ...\n",
            _table(["function", "slice", "result", "gradient"], _slices()),
        ]
    )


def kernels() -> str:
    """Return the section on the points at which the native kernels of PyTorch differ from ours."""
    import torch

    from activations_xp.backends.torch import NATIVE

    rows = []
    for name in NATIVE:
        function = ax.get(name)
        definition = function.definition
        if definition.output_axis is None:
            # torch runs other instructions for many elements than for one
            points = [[p] * n for p in (*POINTS, *definition.properties.kinks) for n in (1, 64)]
        else:
            points = [list(row) for row in SLICES]
        for case in definition.cases:
            title = _title(function, case.parameters)
            for point in points:
                both = []
                for form in (function, function.accurate):
                    x = torch.tensor(point, requires_grad=True)
                    y = form(x, **case.parameters)
                    g = 1.0 + torch.arange(len(point)) * (definition.output_axis is not None)
                    both.append((y.detach(), torch.autograd.grad(y, x, g)[0]))
                for symbol, theirs, ours in zip(("f", "f'"), *both, strict=True):
                    shown = slice(1 if definition.output_axis is None else None)
                    cells = [", ".join(map(_number, v[shown])) for v in (point, theirs, ours)]
                    row = [title, f"{symbol}({cells[0]})", *cells[1:]]
                    if cells[1] != cells[2] and row not in rows:
                        rows.append(row)
    return "\n".join(
        [
            "\n## PyTorch's own kernels\n",
            'Where `precision("fast")` runs them, they differ from our implementation at these'
            " points, in\nfloat32.\n",
            _table(["function", "at", "PyTorch's", "ours"], rows),
        ]
    )


def elementwise() -> list[Any]:
    return [f for f in map(ax.get, ax.names()) if f.definition.is_elementwise]


def given(function: Any) -> dict[str, Any]:
    return dict(function.definition.cases[0].parameters)


def value_and_derivative(function: Any, points: Any) -> Any:
    return function.value_and_derivative(np.asarray(points), **given(function))


def _rows(which: str) -> list[list[str]]:
    rows = []
    for function in elementwise():
        values = value_and_derivative(function, POINTS)[which == "derivative"]
        if which == "derivative":
            values = values + 0.0  # the libraries may disagree on the sign of a zero derivative
        rows.append([_title(function, given(function)), *map(_number, values)])
    return rows


def _kinks() -> list[list[str]]:
    rows = []
    for function in elementwise():
        for kink in function.definition.properties.kinks:
            near = [kink, kink - STEP, kink + STEP]
            values, derivatives = value_and_derivative(function, near)
            cells = map(_number, (kink, values[0], *derivatives))
            rows.append([_title(function, given(function)), *cells])
    return rows


SLICES = ((-inf, -inf), (0.0, -inf), (0.0, inf), (0.0, nan))


def sliced() -> list[tuple[Any, tuple[float, float], dict[str, Any]]]:
    """Return functions along an axis that can take two elements, with slices and parameters."""
    cases = []
    for function in (f for f in map(ax.get, ax.names()) if f.definition.is_activation):
        definition = function.definition
        if definition.output_axis not in ("kept", "resized") or "gate" in definition.parameters:
            continue
        parameters = {**given(function), "axis": -1}
        if "num_classes" in parameters:
            continue
        cases += [(function, row, parameters) for row in SLICES]
        if "where" in definition.parameters:
            cases += [(function, (1.0, nan), {**parameters, "where": m}) for m in MASKS]
    return cases


MASKS = (np.array([True, False]), np.array([False, False]))


def result_and_gradient(function: Any, row: Any, parameters: Any) -> tuple[Any, Any]:
    x = np.asarray(row)
    y = function.accurate(x, **parameters)
    g = 1.0 + np.arange(y.size).reshape(y.shape)
    return np.ravel(y), function.vjp(np.asarray(g), x, **parameters)["x"]


def _slices() -> list[list[str]]:
    rows = []
    for function, row, parameters in sliced():
        mask = parameters.get("where")
        shown = [
            _number(v) if is_included else "masked"
            for v, is_included in zip(row, (True, True) if mask is None else mask, strict=True)
        ]
        result, gradient = result_and_gradient(function, row, parameters)
        cells = (shown, map(_number, result), map(_number, gradient + 0.0))
        rows.append([f"`{function.__name__}`", *map(", ".join, cells)])
    return rows


def _title(function: Any, parameters: Any) -> str:
    named = ", ".join(
        f"{k}={v if isinstance(v, str) else _number(v)}" for k, v in parameters.items()
    )
    return f"`{function.__name__}`" + (f" ({named})" if named else "")


def _number(value: float) -> str:
    return f"{float(value):.6g}"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page() + kernels(), end="")
