"""The properties of a function in words, and the lines that call it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import numpy as np

from activations_xp import get
from activations_xp._catalog import Entry, Relation

DROPINS = {
    "torch": "torch",
    "torch.nn.functional": "torch",
    "torch.special": "torch",
    "jax.nn": "jax",
    "keras.activations": "keras",
    "keras.ops": "keras_ops",
    "tf_keras.activations": "keras2",
    "scipy.special": "scipy",
}
"""The drop-in module for each module of another library."""

STEP = 1e-6


def number(value: float) -> str:
    """Return a number as a text for readers."""
    text = f"{value:.5g}".replace("inf", "∞")
    return text.replace("-", "−")


def interval(ends: tuple[float, float]) -> str:
    low, high = ends
    left, right = "(" if low == -inf else "[", ")" if high == inf else "]"
    return f"{left}{number(low)}, {number(high)}{right}"


def properties(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield the properties of an activation: what each is about, and what holds."""
    definition, p = entry.definition, entry.definition.properties
    if not definition.is_activation:
        return
    is_whole = p.domain == (-inf, inf)
    yield "domain", "all real numbers" if is_whole else f"{interval(p.domain)}; NaN outside"
    yield "range", "all real numbers" if p.range == (-inf, inf) else interval(p.range)
    if p.limits is not None:
        ends = zip(p.limits, p.domain, strict=True)
        texts = ["no limit" if y != y else number(y) for y, _ in ends]
        yield (
            "limits",
            ", ".join(f"{text} at {number(x)}" for text, x in zip(texts, p.domain, strict=True)),
        )
    if definition.is_elementwise:
        yield "shape", "never falls" if p.monotonic else "rises and falls"
        smooth = {inf: "infinitely differentiable", -1: "jumps", 0: "continuous, with kinks"}
        count = "one continuous derivative"
        if p.smoothness > 1:
            count = f"{p.smoothness:g} continuous derivatives"
        yield "smoothness", smooth.get(p.smoothness, count)
    if p.kinks:
        where = ", ".join(map(number, p.kinks))
        what = {-1: "jumps", 0: "kinks"}.get(p.smoothness, "a higher derivative jumps")
        yield what, f"at x = {where}"
    if p.parity:
        yield "symmetry", {"odd": "odd, f(−x) = −f(x)", "even": "even, f(−x) = f(x)"}[p.parity]
    if p.fixed_points is None:
        yield "fixed points", "every x"
    elif p.fixed_points:
        yield "fixed points", _fixed_points(entry)
    if p.zero_centred:
        yield "zero-centred", "yes: 0 at 0, with values of both signs"
    if p.lipschitz != inf:
        yield "largest slope", f"{number(p.lipschitz)} (the Lipschitz constant)"
    if p.sums_to is not None:
        yield "sum along the axis", number(p.sums_to)
    yield "declared error", f"at most {number(definition.ulp)} ulp in the accurate form"


FAR = 8.0
"""Farther out, x*sigmoid(x) is rounded to x."""


def _fixed_points(entry: Entry) -> str:
    """Return the fixed points of the definition, and the intervals all of which are fixed."""
    p = entry.definition.properties

    def are_fixed(*points: float) -> bool:
        x = np.asarray(points)
        return bool(np.all(entry.function(x, **entry.definition.cases[0].parameters) == x))

    runs: list[list[float]] = []
    parts = pairwise(sorted({*p.domain, *p.kinks, *(p.fixed_points or ())}))
    for ends in parts if p.kinks else ():
        low, high = (min(max(end, -FAR), FAR) for end in ends)
        if are_fixed(*np.linspace(low, high, 7)[1:-1]):
            if runs and runs[-1][1] == ends[0]:
                runs[-1][1] = ends[1]
            else:
                runs.append([*ends])
    alone = [x for x in p.fixed_points or () if not any(low <= x <= high for low, high in runs)]
    texts = list(map(number, alone))
    for low, high in runs:
        left, right = ("[" if are_fixed(low) else "("), ("]" if are_fixed(high) else ")")
        if low == -inf:
            texts.append(f"x {'≤' if right == ']' else '<'} {number(high)}")
        elif high == inf:
            texts.append(f"x {'≥' if left == '[' else '>'} {number(low)}")
        else:
            texts.append(f"all of {left}{number(low)}, {number(high)}{right}")
    return ", ".join(texts)


def kinks(entry: Entry) -> Iterator[tuple[str, str, str, str]]:
    """Yield each kink of an elementwise function: x, the derivative there, the slopes beside it."""
    definition = entry.definition
    if definition.is_elementwise:
        for kink in definition.properties.kinks:
            x = np.asarray([kink, kink - STEP, kink + STEP])
            slopes = entry.function.derivative(x, **definition.cases[0].parameters)
            yield (number(kink), *(number(round(float(slope), 4) + 0.0) for slope in slopes))


class Tab(NamedTuple):
    """The lines that call a function on one library, and the functions there that are the same."""

    title: str
    code: str
    peers: list[str]
    dropins: list[str]


def tabs(entry: Entry) -> Iterator[Tab]:
    """Yield a tab for NumPy, PyTorch and JAX, and for other libraries that have the function."""
    arrays = {
        "NumPy": ("numpy as np", "np.linspace(-3, 3, 6)", "rng=np.random.default_rng(0)"),
        "PyTorch": ("torch", "torch.linspace(-3, 3, 6)", ""),
        "JAX": ("jax", "jax.numpy.linspace(-3, 3, 6)", "rng=jax.random.key(0)"),
    }
    libraries = {"NumPy": "numpy", "PyTorch": "torch", "JAX": "jax"}
    libraries |= {"Keras": "keras", "SciPy": "scipy"}
    for title, library in libraries.items():
        code = _code(entry, *arrays[title]) if title in arrays else ""
        peers, dropins = _peers(entry, library)
        if code or peers:
            yield Tab(title, code, peers, dropins)


def _code(entry: Entry, module: str, array: str, rng: str) -> str:
    definition = entry.definition
    if not definition.is_activation:
        return ""
    given = definition.cases[0].parameters
    required = [name for name in definition.parameters if name not in definition.defaults]
    arguments = ["x", *(f"{name}={given[name]!r}" for name in required)]
    if definition.noise is not None:
        arguments += ["training=True"] if "training" in definition.parameters else []
        arguments += [rng] if rng else []
    values = array
    if definition.properties.domain != (-inf, inf):
        low, high = definition.properties.domain
        values = array.replace("-3, 3", f"{max(low, 0):g}, {min(high, 3):g}")
    if definition.compares_integers:  # they are classes
        values = array.split(".linspace")[0] + ".arange(3)"
    elif definition.output_axis or definition.noise:
        values += ".reshape(3, 2)"
    return "\n".join(
        [
            f"import {module}",
            "import activations_xp as ax",
            "",
            f"x = {values}",
            f"ax.{entry.name}({', '.join(arguments)})",
        ]
    )


def _peers(entry: Entry, library: str) -> tuple[list[str], list[str]]:
    peers = [str(peer) for peer in entry.definition.peers.get(library, ())]
    dropins = []
    for peer in entry.definition.peers.get(library, ()):
        module, _, leaf = peer.name.rpartition(".")
        if module in DROPINS:
            name = f"activations_xp.dropin.{DROPINS[module]}"
            if hasattr(importlib.import_module(name), leaf):
                dropins.append(f"{name}.{leaf}")
    return peers, list(dict.fromkeys(dropins))


def elsewhere(entry: Entry) -> dict[str, list[str]]:
    """Return the same functions in libraries that have no tab."""
    shown = {"torch", "jax", "keras", "scipy", "numpy"}
    peers = entry.definition.peers.items()
    return {library: list(map(str, of)) for library, of in peers if library not in shown}


def relation(found: Relation, here: str) -> str:
    """Return a statement about two functions, with links to the pages of others."""
    other: Any = get(found.other)
    base = getattr(other, "func", other).__name__
    name = found.name if found.name == here else f"[{found.name}]({found.name}.md)"
    target = found.other if base == here else f"[{found.other}]({base}.md)"
    given = str(found)[len(found.name) : -len(f" is {found.other}")]
    return f"{name}{given} is {target}"


def source(entry: Entry) -> str:
    """Return the source with links: to arXiv, or to a search for it."""
    text, is_linked = re.subn(
        r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", entry.definition.source
    )
    if not is_linked and entry.year:
        query = quote_plus(entry.definition.source)
        text += f" [Search for it](https://scholar.google.com/scholar?q={query})."
    return text
