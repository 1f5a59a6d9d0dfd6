"""Measures of a network: its loss and accuracy, and its layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

from .candidates import Candidate
from .libraries import Arrays, Library
from .network import Network, cross_entropy

FLAT = 1e-3
"""The share of its largest derivative at or below which a function counts as flat."""

MEASURED = 512
"""The most examples of which the layers are measured."""

NORMAL = 256
"""The normal random numbers, for each input, at which a function shows its largest derivative."""

Layers = dict[str, list[float | None]]


def finite(value: float) -> float | None:
    """Return a number as JSON has it, which has no infinity and no NaN."""
    return value if isfinite(value) else None


def evaluate(
    library: Library, network: Network, params: Arrays, x: Any, one_hot: Any
) -> tuple[float, float]:
    """Return the loss and the accuracy on examples, not in training."""
    noise = network.sample_noise(np.random.default_rng(0), len(x), x.dtype)
    scores = network.scores(params, library.asarray(x), library.arrays(noise))
    loss = float(cross_entropy(scores, library.asarray(one_hot)))
    is_right = np.argmax(np.asarray(scores), axis=-1) == np.argmax(one_hot, axis=-1)
    return loss, float(np.mean(is_right))


def measure_layers(
    library: Library, network: Network, params: Arrays, x: Any, one_hot: Any
) -> Layers:
    """Return for each hidden layer, of examples to validate, in training:

    mean, variance : of the results of the function
    dead : the share of its inputs at which it is flat for every example
    saturated : the share of inputs and examples at which it is flat
    gradient : the norm of the gradient of the loss with respect to the weights

    A function is flat where its derivative is at most `FLAT` of the largest that it has at normal
    random numbers. Along an axis that is the gradient of a sum with random signs.
    """
    x, one_hot = x[:MEASURED], one_hot[:MEASURED]
    dtype = x.dtype
    noise = network.sample_noise(np.random.default_rng(0), len(x), dtype)
    args = library.asarray(x), library.asarray(one_hot), library.arrays(noise)
    _, gradients = library.loss_and_gradients(network, params, *args)
    steps = network.steps(params, args[0], args[2])
    shape = network.input_shape(-(-NORMAL // prod(network.output_shape(1)[1:-1])))
    normal = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    noise_of_normal = network.sample_noise(np.random.default_rng(0), shape[0], dtype)
    found: Layers = {name: [] for name in ("mean", "variance", "dead", "saturated", "gradient")}
    for layer, (_, t, y) in zip(network.hidden, steps[:-1], strict=True):
        learned = network.learned(params, layer)
        slope, slope_of_normal = (
            _slopes(library, network, _Bound(network.candidate, learned, n), z)
            for z, n in (
                (t, args[2].get(f"{layer.name}.function")),
                (
                    library.asarray(normal),
                    library.arrays(noise_of_normal).get(f"{layer.name}.function"),
                ),
            )
        )
        is_flat = np.where(np.isfinite(slope), slope <= FLAT * np.max(slope_of_normal), np.nan)
        y = np.asarray(y, np.float64)
        gradient = np.asarray(gradients[f"{layer.name}.weight"], np.float64)
        values = {
            "mean": np.mean(y),
            "variance": np.var(y),
            "dead": np.mean(np.min(is_flat, axis=0)),
            "saturated": np.mean(is_flat),
            "gradient": np.sqrt(np.sum(gradient**2)),
        }
        for name, value in values.items():
            found[name].append(finite(float(value)))
    return found


@dataclass(frozen=True)
class _Bound:
    """A candidate as a function of x in training, with its vjp."""

    candidate: Candidate
    learned: Arrays
    noise: Any

    def __call__(self, x: Any) -> Any:
        return self.candidate(x, self.learned, self.noise, True)

    def vjp(self, g: Any, x: Any) -> Any:
        return self.candidate.vjp(g, x, self.learned, self.noise)["x"]


def _slopes(library: Library, network: Network, f: _Bound, t: Any) -> Any:
    """Return the sizes of the derivatives of a function at t, a column for each input."""
    shape = (*t.shape[:-1], network.width)
    signs = np.random.default_rng(0).integers(0, 2, shape) * 2.0 - 1
    dtype = np.asarray(t[:0]).dtype
    g = library.asarray(signs.astype(dtype))
    return np.abs(np.asarray(library.vjp(f, t, g))).reshape(-1, network.size)
