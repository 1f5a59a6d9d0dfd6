"""The array libraries that train: how each of them differentiates and compiles."""

from __future__ import annotations

import functools
import importlib
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from .. import __version__
from .._dispatch import precision
from .._typing import Precision
from ..backends.numpy.threads import get_num_threads, set_num_threads
from .network import Network

Arrays: TypeAlias = Mapping[str, Any]
Backend: TypeAlias = Literal["numpy", "torch", "jax"]


@dataclass(frozen=True, eq=False)
class Library:
    """The functions that training needs of an array library.

    asarray : an array of NumPy as one of the library
    loss_and_gradients : of a network, its parameters, examples, classes and noise
    vjp : the gradient of x of a function, x and the gradient of the result
    compile : a step of training as it runs fastest
    """

    asarray: Callable[[Any], Any]
    loss_and_gradients: Callable[..., tuple[Any, dict[str, Any]]]
    vjp: Callable[[Any, Any, Any], Any]
    compile: Callable[[Any], Any]

    def arrays(self, arrays: Arrays) -> dict[str, Any]:
        """Return arrays of NumPy as those of the library."""
        return {name: self.asarray(a) for name, a in arrays.items()}


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
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        loss = network.loss(leaves, *args)
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        return loss.detach(), dict(zip(leaves, found, strict=True))

    def vjp(f: Any, x: Any, g: Any) -> Any:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(f(x), x, g)[0]

    # a copy, because NumPy owns the memory of the initial parameters
    return Library(torch.tensor, loss_and_gradients, vjp, compile=lambda step: step)


def _jax() -> Library:
    import jax

    def loss_and_gradients(network: Network, *args: Any) -> Any:
        return jax.value_and_grad(network.loss)(*args)

    def vjp(f: Any, x: Any, g: Any) -> Any:
        return jax.vjp(f, x)[1](g)[0]

    return Library(jax.numpy.asarray, loss_and_gradients, vjp, jax.jit)


@functools.cache
def library_of(backend: Backend) -> Library:
    """Return what training needs of a library.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return {"numpy": _numpy, "torch": _torch, "jax": _jax}[backend]()
    except ImportError:
        message = f"compare: backend {backend!r} needs {backend}, which is not installed"
        raise ImportError(message) from None


@functools.cache
def versions(backend: Backend) -> dict[str, str]:
    """Return the versions of what computes."""
    names: dict[str, None] = dict.fromkeys(["numpy", backend])
    libraries = {name: importlib.import_module(name).__version__ for name in names}
    return {"activations_xp": __version__, "python": platform.python_version(), **libraries}


@contextmanager
def one_thread(backend: Backend, dtype: str, level: Precision) -> Iterator[None]:
    """Compute on one thread, so that results do not depend on the number, and without warnings."""
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(precision(level))
        stack.enter_context(_blas().limit(limits=1))
        stack.callback(set_num_threads, get_num_threads())
        set_num_threads(1)
        if backend == "torch":
            torch = importlib.import_module("torch")
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        if backend == "jax" and dtype == "float64":
            importlib.import_module("jax").config.update("jax_enable_x64", True)
        yield


@functools.cache
def _blas() -> Any:
    """Return what sets the number of threads of NumPy's products of matrices."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
