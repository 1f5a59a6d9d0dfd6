"""One run: the training of one network, and its record."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace

from .._typing import Precision
from .candidates import Candidate
from .data import Data, Split
from .libraries import Arrays, Backend, Library, library_of, one_thread, versions
from .measures import evaluate, finite, measure_layers
from .network import Init, Kind, Network

Optimizer: TypeAlias = Literal["sgd", "adam"]

GRIDS: dict[str, tuple[float, ...]] = {
    "sgd": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
    "adam": (0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001),
}
"""The learning rates of which each function gets the best, by optimizer."""

TIMES = ("seconds", "seconds_per_epoch")
"""The entries of a record that differ each time."""


@dataclass(frozen=True)
class Settings:
    """The settings that all runs of an experiment have in common."""

    network: Kind = "mlp"
    width: int = 64
    pieces: int = 2
    epochs: int = 30
    batch_size: int = 32
    optimizer: Optimizer = "sgd"
    dropout: float = 0.0
    init: Init = "gain"
    backend: Backend = "numpy"
    dtype: Literal["float32", "float64"] = "float32"
    precision: Precision = "fast"


@dataclass(frozen=True)
class Run:
    """One network to train: a function at a depth, a learning rate and a seed."""

    candidate: Candidate
    depth: int
    lr: float
    seed: int

    @property
    def key(self) -> tuple[str, int, float, int]:
        """The values that tell the runs of an experiment apart."""
        return self.candidate.label, self.depth, self.lr, self.seed


# optimizers: (params, gradients, state, lr) -> (params, state), on xp


def _sgd(params: Arrays, gradients: Arrays, state: Arrays, lr: Any) -> Any:
    """Take a step of gradient descent with a momentum of 0.9."""
    state = {k: 0.9 * state[k] + gradients[k] for k in params}
    return {k: p - lr * state[k] for k, p in params.items()}, state


def _adam(params: Arrays, gradients: Arrays, state: Arrays, lr: Any) -> Any:
    """Take a step of Adam with its authors' constants."""
    xp = array_namespace(state["count"])
    count = state["count"] + 1
    new = {"count": count}
    first, second = 1 - 0.9**count, 1 - 0.999**count
    updated = {}
    for k, p in params.items():
        g = gradients[k]
        m = new[f"{k} m"] = 0.9 * state[f"{k} m"] + 0.1 * g
        v = new[f"{k} v"] = 0.999 * state[f"{k} v"] + 0.001 * (g * g)
        updated[k] = p - lr * (m / first) / (xp.sqrt(v / second) + 1e-8)
    return updated, new


OPTIMIZERS = {"sgd": _sgd, "adam": _adam}


def _initial_state(optimizer: Optimizer, params: Arrays) -> dict[str, Any]:
    zeros = {k: np.zeros_like(p) for k, p in params.items()}
    if optimizer == "sgd":
        return zeros
    moments = {f"{k} {which}": zero for k, zero in zeros.items() for which in ("m", "v")}
    return {"count": np.zeros((), next(iter(params.values())).dtype), **moments}


# a run


def network_of(candidate: Candidate, depth: int, settings: Settings, data: Data) -> Network:
    """Return the network of a function.

    Raises
    ------
    TypeError, ValueError
        If the function does not fit between its layers, or the data are no images.
    """
    shape = data.x.shape[1:]
    if settings.network == "conv" and len(shape) != 3:
        raise ValueError(
            f"compare: network 'conv' needs images, and an example of {data.name} has shape {shape}"
        )
    candidate, size = candidate.fitted(settings.width, settings.pieces)
    if settings.backend == "numpy" and not hasattr(candidate.function, "vjp"):
        raise ValueError(
            f"compare: {candidate.label} has no vjp, by which NumPy trains; backends torch and jax"
            " differentiate it"
        )
    return Network(
        candidate,
        settings.network,
        shape,
        len(data.classes),
        depth,
        settings.width,
        size,
        settings.dropout,
        settings.init,
    )


def describe(settings: Settings, data: Data) -> dict[str, Any]:
    """Return what all runs of an experiment have in common, for their records."""
    return {"data": data.name, "data_sha256": data.fingerprint, **asdict(settings)}


def train(run: Run, settings: Settings, data: Data) -> dict[str, Any]:
    """Train a network and return its record."""
    network = network_of(run.candidate, run.depth, settings, data)
    split = data.split(run.seed, np.dtype(settings.dtype))
    with one_thread(settings.backend, settings.dtype, settings.precision):
        measured = _train(run, settings, network, split)
    return {
        "function": run.candidate.label,
        "depth": run.depth,
        "lr": run.lr,
        "seed": run.seed,
        **measured,
        "n_test": len(split.test[0]),
        "identity": run.candidate.identity,
        "settings": describe(settings, data),
        "versions": versions(settings.backend),
    }


def train_in_worker(run: Run, settings: Settings, data: Data) -> dict[str, Any]:
    """Train a network in a process that leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return train(run, settings, data)


def _train(run: Run, settings: Settings, network: Network, split: Split) -> dict[str, Any]:
    """Return what is measured of a network before, while and after it is trained."""
    started = time.perf_counter()
    library = library_of(settings.backend)
    first = network.initial(run.seed, _gain(library, network), np.dtype(settings.dtype))
    params: Arrays = library.arrays(first)
    start = measure_layers(library, network, params, *split.validation)
    times, train_losses, losses, accuracies = [], [], [], []
    for params, train_loss, seconds in _epochs(run, settings, network, first, split.train):
        loss, accuracy = evaluate(library, network, params, *split.validation)
        times.append(seconds)
        train_losses.append(finite(train_loss))
        losses.append(finite(loss))
        accuracies.append(accuracy)
    test_loss, test_accuracy = evaluate(library, network, params, *split.test)
    return {
        "test_accuracy": test_accuracy,
        "test_loss": finite(test_loss),
        "diverged": losses[-1] is None or train_losses[-1] is None,
        "train_loss": train_losses,
        "validation_loss": losses,
        "validation_accuracy": accuracies,
        "start": start,
        "end": measure_layers(library, network, params, *split.validation),
        "learned": {
            name: [finite(v) for v in p.tolist()]
            for name, p in params.items()
            if ".function." in name
        },
        "n_parameters": sum(p.size for p in first.values()),
        "seconds": time.perf_counter() - started,
        "seconds_per_epoch": float(np.median(times)),
    }


def _gain(library: Library, network: Network) -> float:
    """Return the gain of the function, of which a library of its own may be needed."""
    candidate = network.candidate

    def call(z: Any) -> Any:
        shape = candidate.noise_shape(z.shape)
        noise = None if shape is None else np.random.default_rng(0).random(shape)
        learned = library.arrays(candidate.starts(z.dtype))
        noise = None if noise is None else library.asarray(noise)
        return np.asarray(candidate(library.asarray(z), learned, noise, False))

    return candidate.gain(network.size, call)


def _epochs(
    run: Run, settings: Settings, network: Network, first: Arrays, examples: Any
) -> Iterator[tuple[Arrays, float, float]]:
    """Yield the parameters after each epoch, its mean loss and its time, while that is finite."""
    library = library_of(settings.backend)
    step = _compiled(network, settings.backend, settings.optimizer)
    params = library.arrays(first)
    state = library.arrays(_initial_state(settings.optimizer, first))
    x, one_hot = examples
    lr = library.asarray(np.asarray(run.lr, x.dtype))
    size = min(settings.batch_size, len(x))
    order, random = (np.random.default_rng([run.seed, i]) for i in (1 << 30, 1 << 31))
    for _ in range(settings.epochs):
        began = time.perf_counter()
        places, losses = order.permutation(len(x)), []
        for i in range(0, len(x) - size + 1, size):
            batch = places[i : i + size]
            noise = library.arrays(network.sample_noise(random, size, x.dtype))
            chosen = library.asarray(x[batch]), library.asarray(one_hot[batch])
            params, state, loss = step(params, state, lr, *chosen, noise)
            losses.append(loss)
        mean_loss = float(np.mean([float(loss) for loss in losses]))
        yield params, mean_loss, time.perf_counter() - began
        if not isfinite(mean_loss):
            return


@functools.lru_cache(maxsize=64)
def _compiled(network: Network, backend: Backend, optimizer: Optimizer) -> Callable[..., Any]:
    """Return a step of training, which JAX compiles once for all learning rates and seeds."""
    library, update = library_of(backend), OPTIMIZERS[optimizer]

    def step(params: Any, state: Any, lr: Any, x: Any, one_hot: Any, noise: Any) -> Any:
        loss, gradients = library.loss_and_gradients(network, params, x, one_hot, noise)
        return *update(params, gradients, state, lr), loss

    compiled: Callable[..., Any] = library.compile(step)
    return compiled
