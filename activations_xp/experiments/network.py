"""The network that is the same for all functions, written once on the array API standard.

PyTorch and JAX differentiate `Network.loss`; for NumPy, `Network.loss_and_gradients` goes back
through the layers by their vjp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace

from .. import functions as ax
from ..initializers import lecun_normal
from .candidates import Candidate

Kind: TypeAlias = Literal["mlp", "conv"]
Init: TypeAlias = Literal["gain", "lecun_normal", "he_normal", "uniform"]

KERNEL = 3
"""The width of a convolution kernel, which is odd."""


@dataclass(frozen=True)
class Linear:
    """A product with a matrix, and a bias."""

    name: str
    n_in: int
    n_out: int

    def forward(self, params: Mapping[str, Any], x: Any) -> Any:
        return self.inputs(x) @ params[f"{self.name}.weight"] + params[f"{self.name}.bias"]

    def vjp(self, params: Mapping[str, Any], g: Any, x: Any) -> dict[str, Any]:
        """Return the gradients of x, as "x", and of the parameters."""
        xp = array_namespace(g)
        rows, inputs = (xp.reshape(a, (-1, a.shape[-1])) for a in (g, self.inputs(x)))
        return {
            "x": self.transposed(g @ params[f"{self.name}.weight"].T, x),
            f"{self.name}.weight": inputs.T @ rows,
            f"{self.name}.bias": xp.sum(rows, axis=0),
        }

    def inputs(self, x: Any) -> Any:
        """Return the vectors that the matrix is multiplied with: the rows of x."""
        return array_namespace(x).reshape(x, (x.shape[0], -1))

    def transposed(self, g: Any, x: Any) -> Any:
        """Return the gradient of x from that of `inputs`."""
        return array_namespace(g).reshape(g, x.shape)


class Convolution(Linear):
    """A convolution with a 3 by 3 kernel and zeros at the borders, the channels last."""

    def inputs(self, x: Any) -> Any:
        """Return the patch around each pixel."""
        xp = array_namespace(x)
        height, width = x.shape[1:3]
        border = KERNEL // 2
        rows = xp.zeros_like(x[:, :border, :, :])
        x = xp.concat([rows, x, rows], axis=1)
        columns = xp.zeros_like(x[:, :, :border, :])
        x = xp.concat([columns, x, columns], axis=2)
        shifts = [(i, j) for i in range(KERNEL) for j in range(KERNEL)]
        return xp.concat([x[:, i : i + height, j : j + width, :] for i, j in shifts], axis=-1)

    def transposed(self, g: Any, x: Any) -> Any:
        """Return the sum over the patches that a pixel is in."""
        border = KERNEL // 2
        n, height, width, channels = x.shape
        total = np.zeros((n, height + 2 * border, width + 2 * border, channels), g.dtype)
        for k in range(KERNEL**2):
            i, j = divmod(k, KERNEL)
            part = g[..., k * channels : (k + 1) * channels]
            total[:, i : i + height, j : j + width, :] += part
        return total[:, border : border + height, border : border + width, :]


@dataclass(frozen=True)
class Network:
    """Hidden layers of a linear map, the function and perhaps dropout, and a last linear map.

    candidate : the function, which fits layers of this width
    shape : the shape of an example
    size : the number of inputs of the function, of which it makes `width`
    dropout : the probability that a number is dropped in training; after `selu` by `alpha_dropout`
    init : the variance of the weights: "lecun_normal" is 1/n for n inputs, "he_normal" 2/n,
        "uniform" 1/(3n) as in torch.nn.Linear, and "gain" that of `activations_xp.gain` between
        two functions, and 1/n before the first and after the last
    """

    candidate: Candidate
    kind: Kind
    shape: tuple[int, ...]
    n_classes: int
    depth: int
    width: int
    size: int
    dropout: float
    init: Init

    @property
    def hidden(self) -> list[Linear]:
        """The linear maps before the functions."""
        patch, first = (KERNEL**2, self.shape[-1]) if self.kind == "conv" else (1, prod(self.shape))
        sizes = [first, *[self.width] * (self.depth - 1)]
        layer = Convolution if self.kind == "conv" else Linear
        return [layer(str(i), patch * n, self.size) for i, n in enumerate(sizes)]

    @property
    def last(self) -> Linear:
        """The linear map to the scores of the classes."""
        pixels = prod(self.shape[:2]) if self.kind == "conv" else 1
        return Linear("last", pixels * self.width, self.n_classes)

    def output_shape(self, n: int) -> tuple[int, ...]:
        """Return the shape of what a function returns for n examples."""
        return (n, *(self.shape[:2] if self.kind == "conv" else ()), self.width)

    def input_shape(self, n: int) -> tuple[int, ...]:
        """Return the shape of what a function takes for n examples."""
        return (*self.output_shape(n)[:-1], self.size)

    def initial(self, seed: int, gain: float, dtype: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Return the first parameters, of which layers of one shape are the same for all."""
        params: dict[str, Any] = {}
        layers = [*self.hidden, self.last]
        for i, layer in enumerate(layers):
            rng = np.random.default_rng([seed, i])
            shape = layer.n_in, layer.n_out
            if self.init == "uniform":
                weight = rng.uniform(-sqrt(1 / layer.n_in), sqrt(1 / layer.n_in), shape)
            else:
                is_inner = 0 < i < len(layers) - 1
                factors = {"gain": gain if is_inner else 1.0, "he_normal": sqrt(2)}
                weight = lecun_normal(shape, rng) * factors.get(self.init, 1.0)
            params[f"{layer.name}.weight"] = weight.astype(dtype)
            params[f"{layer.name}.bias"] = np.zeros(layer.n_out, dtype)
        for layer in self.hidden:
            for name, start in self.candidate.starts(dtype).items():
                params[f"{layer.name}.function.{name}"] = start
        return params

    def sample_noise(self, rng: Any, n: int, dtype: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Return the uniform random numbers that n examples need in training."""
        shapes = {}
        if (shape := self.candidate.noise_shape(self.input_shape(n))) is not None:
            shapes["function"] = shape
        if self.dropout:
            shapes["dropout"] = self.output_shape(n)
        return {
            f"{layer.name}.{name}": rng.random(shape, dtype)
            for layer in self.hidden
            for name, shape in shapes.items()
        }

    def steps(
        self, params: Mapping[str, Any], x: Any, noise: Mapping[str, Any], training: bool = True
    ) -> list[tuple[Any, Any, Any]]:
        """Return for each hidden layer its input, and the input and the result of its function."""
        found = []
        for layer in self.hidden:
            t = layer.forward(params, x)
            y = self.candidate(
                t, self.learned(params, layer), noise.get(f"{layer.name}.function"), training
            )
            found.append((x, t, y))
            x = self._drop(y, noise.get(f"{layer.name}.dropout")) if training else y
        return [*found, (x, self.last.forward(params, x), None)]

    def scores(self, params: Mapping[str, Any], x: Any, noise: Mapping[str, Any]) -> Any:
        """Return the scores of the classes, not in training."""
        return self.steps(params, x, noise, training=False)[-1][1]

    def loss(
        self, params: Mapping[str, Any], x: Any, one_hot: Any, noise: Mapping[str, Any]
    ) -> Any:
        """Return the mean cross-entropy, in training."""
        return cross_entropy(self.steps(params, x, noise)[-1][1], one_hot)

    def loss_and_gradients(
        self, params: Mapping[str, Any], x: Any, one_hot: Any, noise: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the loss and its gradients, of NumPy's arrays."""
        *hidden, (x, scores, _) = self.steps(params, x, noise)
        loss = cross_entropy(scores, one_hot)
        g = ax.log_softmax.vjp(one_hot * (-1 / len(one_hot)), scores)["x"]
        gradients = self.last.vjp(params, g, x)
        for layer, (x, t, y) in reversed(list(zip(self.hidden, hidden, strict=True))):
            g = self._drop_vjp(gradients.pop("x"), y, noise.get(f"{layer.name}.dropout"))
            found = self.candidate.vjp(
                g, t, self.learned(params, layer), noise.get(f"{layer.name}.function")
            )
            for name in self.candidate.learned:
                gradients[f"{layer.name}.function.{name}"] = found[name]
            gradients |= layer.vjp(params, found["x"], x)
        del gradients["x"]
        return loss, gradients

    def learned(self, params: Mapping[str, Any], layer: Linear) -> dict[str, Any]:
        """Return the learned parameters of the function of a layer."""
        return {name: params[f"{layer.name}.function.{name}"] for name in self.candidate.learned}

    def _drop(self, y: Any, noise: Any) -> Any:
        return y if noise is None else self._dropout(y, self.dropout, training=True, noise=noise)

    def _drop_vjp(self, g: Any, y: Any, noise: Any) -> Any:
        g = array_namespace(g).reshape(g, y.shape)
        if noise is None:
            return g
        return self._dropout.vjp(g, y, self.dropout, training=True, noise=noise)["x"]

    @property
    def _dropout(self) -> Any:
        return ax.alpha_dropout if self.candidate.function is ax.selu else ax.dropout


def cross_entropy(scores: Any, one_hot: Any) -> Any:
    """Return the mean over examples of the negative logarithm of the probability of the class."""
    xp = array_namespace(scores)
    return xp.sum(ax.log_softmax(scores) * one_hot) * (-1 / one_hot.shape[0])
