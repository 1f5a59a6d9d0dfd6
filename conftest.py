"""The backends, functions and transforms that the tests run over.

``--backend NAME``, repeatable, says which; one that cannot run here is an error, never a skip.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from activations_xp._activation import Definition, Variant

import activations_xp as ax

DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": "f2", "float32": "f4", "float64": "f8"}


@dataclass(frozen=True)
class Backend:
    """A library on a device: how to bring an array there and back."""

    name: str
    library: str
    dtypes: tuple[str, ...]
    asarray: Callable[[np.ndarray], Any]
    asnumpy: Callable[[Any], np.ndarray]
    has_values: bool = True
    """Whether values are worth comparing, or only types, dtypes, shapes and devices."""

    def array(self, values: Any, dtype: str = "float64") -> Any:
        return self.asarray(np.array(values, dtype=DTYPES.get(dtype, dtype)))

    def dtype_of(self, x: Any) -> str:
        return str(x.dtype).rpartition(".")[2]

    def __str__(self) -> str:
        return self.name


ALL = tuple(DTYPES)
STANDARD = ("float32", "float64")


def _numpy(device: str) -> Backend:
    return Backend("numpy", "numpy", ALL, lambda a: a, np.asarray)


def _strict(device: str) -> Backend:
    import array_api_strict as xp

    place = xp.Device(device.upper() + "_DEVICE" if device == "cpu" else device)

    def back(x: Any) -> np.ndarray:
        return np.from_dlpack(xp.asarray(x, device=xp.Device("CPU_DEVICE"), copy=True))

    name = "strict" if device == "cpu" else f"strict-{device}"

    def there(a: np.ndarray) -> Any:
        return xp.asarray(a, device=place, copy=True)

    # the second device computes what the first does; what matters is that it is kept
    return Backend(name, "strict", STANDARD, there, back, has_values=device == "cpu")


def _dask(device: str) -> Backend:
    import dask.array as da

    def back(x: Any) -> np.ndarray:
        with np.errstate(all="ignore"):  # the values are computed here, with NumPy's warnings
            return np.asarray(x.compute(scheduler="synchronous"))

    return Backend("dask", "dask", STANDARD, da.from_array, back)


def _torch(device: str) -> Backend:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")

    def there(a: np.ndarray) -> Any:
        if a.dtype == ml_dtypes.bfloat16:
            plain = torch.tensor(a.view(np.int16)).view(torch.bfloat16)
        else:
            plain = torch.tensor(a)
        return plain.to(device)

    def back(x: Any) -> np.ndarray:
        x = x.detach().cpu()
        if x.dtype == torch.bfloat16:
            return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return x.numpy()

    name = "torch" if device == "cpu" else f"torch-{device}"
    return Backend(name, "torch", ALL, there, back, has_values=device != "meta")


def _jax(device: str) -> Backend:
    import jax

    place = jax.devices("cpu" if device == "x32" else device)[0]
    name = "jax" if device == "cpu" else f"jax-{device}"
    dtypes = ("float32",) if device == "x32" else ALL

    def there(a: np.ndarray) -> Any:
        return jax.device_put(a, place)

    return Backend(name, "jax", dtypes, there, np.asarray)


BACKENDS: dict[str, Callable[[], Backend]] = {
    "numpy": functools.partial(_numpy, "cpu"),
    "strict": functools.partial(_strict, "cpu"),
    "strict-device1": functools.partial(_strict, "device1"),
    "dask": functools.partial(_dask, "cpu"),
    "torch": functools.partial(_torch, "cpu"),
    "torch-meta": functools.partial(_torch, "meta"),
    "torch-cuda": functools.partial(_torch, "cuda"),
    "jax": functools.partial(_jax, "cpu"),
    "jax-x32": functools.partial(_jax, "x32"),
    "jax-cuda": functools.partial(_jax, "cuda"),
}

# transforms that leave a function of one array what it was, by library


def _plain(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return f


def _torch_compile(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import torch

    torch.compiler.reset()
    # all of the compiler but its code generator, which needs a C++ compiler
    return torch.compile(f, fullgraph=True, backend="aot_eager")


def _torch_vmap(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import torch

    return lambda x: torch.func.vmap(f)(x[None])[0]


def _jax_jit(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import jax

    return jax.jit(f)


def _jax_vmap(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import jax

    return lambda x: jax.vmap(f, in_axes=-1, out_axes=-1)(x[..., None])[..., 0]


TRANSFORMS: dict[str, dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]] = {
    "torch": {"eager": _plain, "compile": _torch_compile, "vmap": _torch_vmap},
    "jax": {"eager": _plain, "jit": _jax_jit, "vmap": _jax_vmap},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=sorted(BACKENDS),
        help="a library and device to test (repeatable; default: numpy)",
    )


def _chosen(config: pytest.Config) -> list[str]:
    return config.getoption("--backend") or ["numpy"]


def pytest_configure(config: pytest.Config) -> None:
    libraries = {name.partition("-")[0] for name in _chosen(config)}
    if "jax" in libraries:
        settings = importlib.import_module("jax").config
        settings.update("jax_enable_x64", True)
        settings.update("jax_num_cpu_devices", 8)  # to shard over
    for name in ("torch", "jax"):
        if name in libraries:
            os.environ.setdefault("KERAS_BACKEND", name)
    config.libraries = libraries  # type: ignore[attr-defined]


def pytest_ignore_collect(collection_path: Any, config: pytest.Config) -> bool | None:
    """Leave out programs beside the tests, and what needs a library that is not chosen."""
    chosen = config.libraries  # type: ignore[attr-defined]
    three = ("numpy", "torch", "jax")
    if collection_path.stem == "test_layers":  # of these alone
        return chosen.isdisjoint(three) or None
    if collection_path.parent.name == "tests" and collection_path.suffix == ".py":
        return not collection_path.name.startswith("test_") or None
    library = collection_path.stem.removeprefix("test_").partition("_")[0]
    own = {"backends": three, "layers": three, "dropin": ("torch", "jax")}
    if library in own.get(collection_path.parent.name, ()):
        return library not in chosen or None
    if collection_path.parent.name == "dropin" and library == "keras":
        return "KERAS_BACKEND" not in os.environ or None
    return None


@functools.cache
def _made(name: str) -> Backend:
    return BACKENDS[name]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize over what a test asks for by the names of its arguments."""
    wanted = metafunc.fixturenames
    backends = [_made(name) for name in _chosen(metafunc.config)]
    if "backend" in wanted and "transform" in wanted:
        pairs = [
            (backend, name, transform)
            for backend in backends
            if backend.has_values
            for name, transform in TRANSFORMS.get(backend.library, {"eager": _plain}).items()
        ]
        if "case" in wanted:  # compiling takes the time, and a transform sees one variant as all
            triples = [
                pytest.param(
                    backend,
                    transform,
                    case,
                    id=f"{backend}-{name}-{case}",
                    # an eager call of JAX is compiled already
                    marks=[pytest.mark.sweep] * (transform in (_jax_jit, _jax_vmap)),
                )
                for backend, name, transform in pairs
                for case in CASES
                if transform is _plain or case.variant is case.definition.variants[0]
            ]
            names = ("backend", "transform", "case")
            metafunc.parametrize(names, triples, indirect=["backend"])
            return
        params = [pytest.param(b, transform, id=f"{b}-{name}") for b, name, transform in pairs]
        metafunc.parametrize(("backend", "transform"), params, indirect=["backend"])
    elif "backend" in wanted:
        valued = [b for b in backends if b.has_values]
        metafunc.parametrize("backend", valued, ids=str, indirect=True)
    if "any_backend" in wanted:
        metafunc.parametrize("any_backend", backends, ids=str, indirect=True)
    if "activation" in wanted:
        metafunc.parametrize("activation", [ax.get(name) for name in ax.names()], ids=_name)
    if "elementwise" in wanted:
        functions = [f for f in map(ax.get, ax.names()) if f.definition.axis is None]
        metafunc.parametrize("elementwise", functions, ids=_name)
    if "case" in wanted:
        # of what holds for a function at any parameters, JAX compiles each set anew
        by_value = ("test_values", "test_derivatives")
        is_slow = (
            _chosen(metafunc.config) == ["jax"] and metafunc.definition.path.stem not in by_value
        )
        cases = [
            pytest.param(
                case,
                id=str(case),
                marks=[pytest.mark.sweep]
                * (is_slow and case.variant is not case.definition.variants[0]),
            )
            for case in CASES
        ]
        metafunc.parametrize("case", cases)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is the same with every library to the run with NumPy, what is slow to sweeps."""
    libraries = config.libraries  # type: ignore[attr-defined]
    for item in items:
        slow = item.get_closest_marker("sweep_with")
        if slow is not None and libraries <= set(slow.args):
            item.add_marker("sweep")
    if "numpy" in libraries:
        return
    once = [item for item in items if item.get_closest_marker("once")]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if item not in set(once)]


def _name(function: Any) -> str:
    return function.__name__


@dataclass(frozen=True, eq=False)
class Case:
    """A function at one of its variants."""

    function: Any
    variant: Variant

    @property
    def definition(self) -> Definition:
        return self.function.definition

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.variant.parameters)

    @property
    def all_parameters(self) -> dict[str, Any]:
        return {**self.definition.defaults, **self.variant.parameters}

    @property
    def portable_forms(self) -> list[Any]:
        """Our own computations: of the function, and of its derivative if it has one written."""
        written = self.definition.derivative is not None
        return [self.function.portable, *([self.function.derivative] if written else [])]

    def __str__(self) -> str:
        values = ",".join(f"{k}={v}" for k, v in self.variant.parameters.items())
        return f"{self.definition.name}({values})"


CASES = [Case(f, v) for f in map(ax.get, ax.names()) for v in f.definition.variants]


@pytest.fixture
def uncompiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """JAX operation by operation: these it compiles once, not every function at every shape."""
    if "jax" not in request.config.libraries:
        yield
        return
    import jax

    with jax.disable_jit():
        yield


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A library and device whose arrays have values."""
    yield from _within(request.param)


@pytest.fixture
def any_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A library and device, torch's meta device included."""
    yield from _within(request.param)


def _within(backend: Backend) -> Iterator[Backend]:
    if backend.name != "jax-x32":
        yield backend
        return
    import jax

    with jax.enable_x64(False):
        yield backend
