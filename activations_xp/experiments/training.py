"""One run: the training of one network, by one library, and what is measured of it."""

from __future__ import annotations

import functools
import importlib
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace

from .. import __version__
from .._dispatch import precision
from .._typing import Precision
from ..backends.numpy.threads import get_num_threads, set_num_threads
from .candidates import Candidate
from .data import Data
from .network import Init, Kind, Network, cross_entropy

Backend: TypeAlias = Literal["numpy", "torch", "jax"]
Optimizer: TypeAlias = Literal["sgd", "adam"]

GRIDS: dict[str, tuple[float, ...]] = {
    "sgd": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
    "adam": (0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001),
}
"""The learning rates of which each function gets the best, by optimizer."""

FLAT = 1e-3
"""The share of its largest derivative at or below which a function counts as flat."""

MEASURED = 512
"""The most examples of which the layers are measured."""


@dataclass(frozen=True)
class Settings:
    """The settings that all runs of an experiment have in common."""

    network: Kind = "mlp"
    width: int = 0
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


@dataclass(frozen=True, eq=False)
class Library:
    """The functions that training needs of an array library.

    asarray : an array of NumPy as one of the library
    loss_and_gradients : of a network, its parameters, examples, classes and noise
    vjp : the gradient of x of a function, x and the gradient of the result
    compile : a function of arrays, as it runs fastest
    """

    asarray: Callable[[Any], Any]
    loss_and_gradients: Callable[..., tuple[Any, dict[str, Any]]]
    vjp: Callable[[Any, Any, Any], Any]
    compile: Callable[[Any], Any]


def _numpy() -> Library:
    return Library(
        asarray=np.asarray,
        loss_and_gradients=Network.loss_and_gradients,
        vjp=lambda f, x, g: f.vjp(g, x),
        compile=lambda step: step,
    )


def _torch() -> Library:
    import torch

    def loss_and_gradients(network: Network, params: Any, *args: Any) -> Any:
        leaves = {name: p.requires_grad_() for name, p in params.items()}
        loss = network.loss(leaves, *args)
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        return loss.detach(), dict(zip(leaves, found, strict=True))

    def vjp(f: Any, x: Any, g: Any) -> Any:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(f(x), x, g)[0]

    def without_history(step: Any) -> Any:
        def run(*args: Any) -> Any:
            *results, loss = step(*args)
            return *({k: v.detach() for k, v in tree.items()} for tree in results), loss

        return run

    # a copy, because training would write to memory that NumPy owns
    return Library(torch.tensor, loss_and_gradients, vjp, without_history)


def _jax() -> Library:
    import jax

    def loss_and_gradients(network: Network, *args: Any) -> Any:
        return jax.value_and_grad(network.loss)(*args)

    def vjp(f: Any, x: Any, g: Any) -> Any:
        return jax.vjp(f, x)[1](g)[0]

    return Library(jax.numpy.asarray, loss_and_gradients, vjp, jax.jit)


LIBRARIES = {"numpy": _numpy, "torch": _torch, "jax": _jax}


@functools.cache
def _blas() -> Any:
    """Return what sets the number of threads of NumPy's products of matrices."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


@contextmanager
def _library(settings: Settings) -> Iterator[Library]:
    """Yield a library that computes on one thread: results do not depend on the number."""
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(precision(settings.precision))
        stack.enter_context(_blas().limit(limits=1))
        stack.callback(set_num_threads, get_num_threads())
        set_num_threads(1)
        if settings.backend == "torch":
            torch = importlib.import_module("torch")
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        if settings.backend == "jax" and settings.dtype == "float64":
            importlib.import_module("jax").config.update("jax_enable_x64", True)
        yield LIBRARIES[settings.backend]()


# optimizers: (params, gradients, state, lr) -> (params, state), on xp

Arrays: TypeAlias = Mapping[str, Any]


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


def _initial_state(optimizer: Optimizer, params: Arrays) -> dict[str, Any]:
    zeros = {k: np.zeros_like(p) for k, p in params.items()}
    if optimizer == "sgd":
        return zeros
    moments = {f"{k} {which}": zero for k, zero in zeros.items() for which in ("m", "v")}
    return {"count": np.zeros((), next(iter(params.values())).dtype), **moments}


OPTIMIZERS = {"sgd": _sgd, "adam": _adam}


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


@functools.lru_cache(maxsize=64)
def _compiled(network: Network, settings: Settings) -> Callable[..., Any]:
    """Return a step of training, which JAX compiles once for all learning rates and seeds."""
    library = LIBRARIES[settings.backend]()
    update = OPTIMIZERS[settings.optimizer]

    def step(params: Any, state: Any, lr: Any, x: Any, one_hot: Any, noise: Any) -> Any:
        loss, gradients = library.loss_and_gradients(network, params, x, one_hot, noise)
        return *update(params, gradients, state, lr), loss

    compiled: Callable[..., Any] = library.compile(step)
    return compiled


def describe(settings: Settings, data: Data) -> dict[str, Any]:
    """Return what all runs of an experiment have in common, for their records."""
    return {"data": data.name, "data_sha256": data.fingerprint, **asdict(settings)}


def train(run: Run, settings: Settings, data: Data) -> dict[str, Any]:
    """Train a network and return its record."""
    network = network_of(run.candidate, run.depth, settings, data)
    dtype = np.dtype(settings.dtype)
    split = data.split(run.seed, dtype)
    with _library(settings) as library:
        record = _train(run, settings, network, split, library, dtype)
    versions_here = versions(settings.backend)
    return {**record, "settings": describe(settings, data), "versions": versions_here}


def _train(
    run: Run, settings: Settings, network: Network, split: Any, library: Library, dtype: Any
) -> dict[str, Any]:
    started = time.perf_counter()
    asarray = library.asarray
    candidate = network.candidate

    def call(z: Any) -> Any:  # what the gain is of
        noise = network.candidate.noise_shape(z.shape)
        noise = None if noise is None else asarray(np.random.default_rng(0).random(noise))
        y = candidate(asarray(z), _arrays(asarray, candidate.starts(z.dtype)), noise, False)
        return np.asarray(y)

    first = network.initial(run.seed, candidate.gain(network.size, call), dtype)
    params = _arrays(asarray, first)
    state = _arrays(asarray, _initial_state(settings.optimizer, first))
    step, lr = _compiled(network, settings), asarray(np.asarray(run.lr, dtype))
    measure = functools.partial(_measure, library, network, split.validation, dtype)
    evaluate = functools.partial(_evaluate, network, asarray, dtype)
    start = measure(params)
    x, one_hot = split.train
    size = min(settings.batch_size, len(x))
    order, random = (np.random.default_rng([run.seed, i]) for i in (1 << 30, 1 << 31))
    curves: dict[str, list[float | None]] = {
        name: [] for name in ("train_loss", "validation_loss", "validation_accuracy")
    }
    times = []
    for _ in range(settings.epochs):
        began = time.perf_counter()
        places, losses = order.permutation(len(x)), []
        for i in range(0, len(x) - size + 1, size):
            batch = places[i : i + size]
            noise = _arrays(asarray, network.sample_noise(random, size, dtype))
            params, state, loss = step(
                params, state, lr, asarray(x[batch]), asarray(one_hot[batch]), noise
            )
            losses.append(loss)
        mean_loss = float(np.mean([float(loss) for loss in losses]))
        times.append(time.perf_counter() - began)
        validation = evaluate(params, *split.validation)
        for name, value in zip(curves, (mean_loss, *validation), strict=True):
            curves[name].append(_finite(value))
        if not isfinite(mean_loss):
            break
    test_loss, test_accuracy = evaluate(params, *split.test)
    learned = {n: [_finite(v) for v in p.tolist()] for n, p in params.items() if ".function." in n}
    return {
        "function": run.candidate.label,
        "depth": run.depth,
        "lr": run.lr,
        "seed": run.seed,
        "test_accuracy": test_accuracy,
        "test_loss": _finite(test_loss),
        "diverged": not isfinite(mean_loss),
        **curves,
        "start": start,
        "end": measure(params),
        "learned": learned,
        "n_parameters": sum(p.size for p in first.values()),
        "n_test": len(split.test[0]),
        "identity": run.candidate.identity,
        "seconds": time.perf_counter() - started,
        "seconds_per_epoch": float(np.median(times)),
    }


TIMES = ("seconds", "seconds_per_epoch")
"""The entries of a record that differ each time."""


def _arrays(asarray: Any, arrays: Arrays) -> dict[str, Any]:
    return {name: asarray(a) for name, a in arrays.items()}


def _finite(value: float) -> float | None:
    """Return a number that JSON has, which has no infinity and no NaN."""
    return value if isfinite(value) else None


def _evaluate(
    network: Network, asarray: Any, dtype: Any, params: Arrays, x: Any, one_hot: Any
) -> tuple[float, float]:
    """Return the loss and the accuracy on examples."""
    noise = network.sample_noise(np.random.default_rng(0), len(x), dtype)
    params = {name: p.detach() if hasattr(p, "detach") else p for name, p in params.items()}
    scores = network.scores(params, asarray(x), _arrays(asarray, noise))
    loss = float(cross_entropy(scores, asarray(one_hot)))
    is_right = np.argmax(np.asarray(scores), axis=-1) == np.argmax(one_hot, axis=-1)
    return loss, float(np.mean(is_right))


def _measure(
    library: Library, network: Network, examples: Any, dtype: Any, params: Arrays
) -> dict[str, list[float | None]]:
    """Return for each hidden layer, of examples to validate, in training:

    mean, variance : of the results of the function
    dead : the share of its inputs at which it is flat for every example
    saturated : the share of inputs and examples at which it is flat
    gradient : the norm of the gradient of the loss with respect to the weights

    A function is flat where its derivative is at most `FLAT` of the largest that it has at normal
    random numbers. Along an axis that is the gradient of a sum with random signs.
    """
    asarray, candidate = library.asarray, network.candidate
    x, one_hot = (a[:MEASURED] for a in examples)
    noise = network.sample_noise(np.random.default_rng(0), len(x), dtype)
    at_normal = network.sample_noise(np.random.default_rng(0), 256, dtype)
    params = {name: p.detach() if hasattr(p, "detach") else p for name, p in params.items()}
    steps = network.steps(params, asarray(x), _arrays(asarray, noise))
    # PyTorch's takes leaves, which it marks
    copies = {name: asarray(np.asarray(p)) for name, p in params.items()}
    args = asarray(x), asarray(one_hot), _arrays(asarray, noise)
    _, gradients = library.loss_and_gradients(network, copies, *args)
    signs = np.random.default_rng(0)

    def slopes(t: Any, layer: Any, noise: Any) -> Any:
        """Return the derivatives in rows."""
        f = _Bound(candidate, network.learned(params, layer), noise)
        g = signs.integers(0, 2, (*t.shape[:-1], network.width)) * 2.0 - 1
        found = np.abs(np.asarray(library.vjp(f, t, asarray(g.astype(dtype)))))
        return found.reshape(-1, network.size)

    found: dict[str, list[float | None]] = {
        name: [] for name in ("mean", "variance", "dead", "saturated", "gradient")
    }
    normal = np.random.default_rng(0).standard_normal(
        (*network.output_shape(256)[:-1], network.size)
    )
    for layer, (_, t, y) in zip(network.hidden, steps[:-1], strict=True):
        which = f"{layer.name}.function"
        noises = [None if which not in n else asarray(n[which]) for n in (noise, at_normal)]
        largest = float(np.max(slopes(asarray(normal.astype(dtype)), layer, noises[1])))
        slope = slopes(t, layer, noises[0])
        is_flat = np.where(np.isfinite(slope), slope <= FLAT * largest, np.nan)
        y = np.asarray(y, np.float64)
        gradient = np.asarray(gradients[f"{layer.name}.weight"], np.float64)
        values = (
            np.mean(y),
            np.var(y),
            np.mean(np.min(is_flat, axis=0)),
            np.mean(is_flat),
            np.sqrt(np.sum(gradient**2)),
        )
        for name, value in zip(found, values, strict=True):
            found[name].append(_finite(float(value)))
    return found


class _Bound:
    """A candidate as a function of x, with its vjp."""

    def __init__(self, candidate: Candidate, learned: Arrays, noise: Any) -> None:
        self.candidate, self.learned, self.noise = candidate, learned, noise

    def __call__(self, x: Any) -> Any:
        return self.candidate(x, self.learned, self.noise, True)

    def vjp(self, g: Any, x: Any) -> Any:
        return self.candidate.vjp(g, x, self.learned, self.noise)["x"]


@functools.cache
def versions(backend: str) -> dict[str, str]:
    """Return the versions of what computes."""
    names = dict.fromkeys(["numpy", backend])
    libraries = {name: importlib.import_module(name).__version__ for name in names}
    return {"activations_xp": __version__, "python": platform.python_version(), **libraries}


def train_in_worker(run: Run, settings: Settings, data: Data) -> dict[str, Any]:
    """Train a network in a process that leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return train(run, settings, data)


def check_backend(settings: Settings) -> None:
    """Raise an ImportError if the library of an experiment is not installed."""
    try:
        importlib.import_module(settings.backend)
    except ImportError:
        name = settings.backend
        raise ImportError(
            f"compare: backend {name!r} needs {name}, which is not installed"
        ) from None
