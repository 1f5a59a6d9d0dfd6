"""The pictures of the page *Choosing an activation*, of the numbers that its examples compute."""

from __future__ import annotations

import contextlib
import doctest
import functools
import io
from pathlib import Path
from typing import Any

from examples import blocks
from matplotlib.figure import Figure

from activations_xp.plotting import plot, sample
from activations_xp.plotting.drawing import COLOURS, NEUTRAL, STYLES

from . import measured
from .pages import write
from .pictures import svg

SHOWN = ("sigmoid", "tanh", "relu", "gelu")
"""The functions whose derivatives are compared."""

COSTS = ("relu", "leaky_relu", "hard_swish", "sigmoid", "tanh", "silu", "gelu", "elu", "selu")
COSTS += ("softplus", "mish")
USES = {
    "NumPy with Numba": "NumPy",
    "JAX, jitted": "JAX",
    "torch, forward and backward": "PyTorch, with gradient",
}


def numbers(page: Path) -> dict[str, Any]:
    """Run the examples of a page, and return their variables."""
    variables: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks(page):
            for example in doctest.DocTestParser().get_examples(block):
                exec(example.source, variables)
    return variables


def functions(figure: Figure, found: Any) -> None:
    plot(*SHOWN, derivative=False, range=(-5, 5), ax=figure.subplots())


def derivatives(figure: Figure, found: Any) -> None:
    axes = figure.subplots()
    for name, colour, dashes in zip(SHOWN, COLOURS, STYLES, strict=False):
        (curve,) = sample(name, range=(-5.0, 5.0))
        axes.plot(curve.x, curve.dy, color=colour, linestyle=dashes, label=f"{name}, derivative")
    axes.axhline(0, color=NEUTRAL, linewidth=0.5)
    axes.set_xlabel("x")
    axes.legend()


def gradients(figure: Figure, found: Any) -> None:
    axes = _by_layer(figure, found["norms"])
    axes.set(xlabel="layers that the gradient has passed", ylabel="norm of the gradient")


def variances(figure: Figure, found: Any) -> None:
    axes = _by_layer(figure, found["by_layer"])
    axes.set(xlabel="layer", ylabel="variance of the outputs", ylim=(1e-10, 1e4))


def _by_layer(figure: Figure, series: dict[str, Any]) -> Any:
    """Draw a positive number by layer, on a logarithmic axis."""
    axes = figure.subplots()
    looks = zip((*COLOURS, NEUTRAL), (*STYLES, "-"), strict=True)
    for (label, values), (colour, dashes) in zip(series.items(), looks, strict=False):
        places = range(1, len(values) + 1)
        axes.semilogy(places, values, label=label, color=colour, linestyle=dashes)
    figure.legend(loc="outside upper center", ncols=2)
    return axes


def cost(figure: Figure, found: Any) -> None:
    axes = figure.subplots()
    size = measured.FLOAT32[-1]
    width = 0.8 / len(USES)
    for i, (use, title) in enumerate(USES.items()):
        rows = measured.performance()["times"][use]
        ratios = [rows[name][size][0] / rows["relu"][size][0] for name in COSTS]
        places = [-j - i * width for j in range(len(COSTS))]
        axes.barh(places, ratios, width, color=COLOURS[i], label=title)
    axes.axvline(1, color=NEUTRAL, linewidth=0.8)
    axes.set_yticks([-j - 0.4 + width / 2 for j in range(len(COSTS))], COSTS)
    axes.tick_params("y", length=0)
    axes.set_xlabel("time / time of relu")
    figure.legend(loc="outside upper center", ncols=3)


def weights(figure: Figure, found: Any) -> None:
    plot("softmax", "entmax15", "sparsemax", ax=figure.subplots())


def beta(figure: Figure, found: Any) -> None:
    values = {"beta": [0.25, 1.0, 3.0]}
    plot("silu", parameters=values, derivative=False, range=(-5, 5), ax=figure.subplots())


PICTURES: dict[Any, tuple[float, float]] = {
    functions: (4.4, 3.6),
    derivatives: (4.4, 3.6),
    gradients: (6.4, 3.6),
    variances: (6.4, 4.4),
    cost: (6.4, 5.2),
    weights: (6.4, 3.8),
    beta: (6.4, 3.6),
}
"""What draws each picture, and its size in inches."""


def write_all(docs: Path) -> None:
    """Write all pictures."""
    found = numbers(docs / "choosing.md")
    for draw, size in PICTURES.items():
        picture = svg(functools.partial(draw, found=found), size)
        write(docs / "choosing" / f"{draw.__name__}.svg", picture)


def setup(app: Any) -> None:
    app.connect("builder-inited", lambda app: write_all(Path(app.srcdir)))
