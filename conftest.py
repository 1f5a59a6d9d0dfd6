"""The backends, functions and transforms that the tests run over.

``--backend NAME``, repeatable, says which; one that cannot run here is an error, never a skip.
A test names what it ranges over as its arguments:

=========================  ======================================================================
argument                   ranges over
=========================  ======================================================================
``backend``                the chosen libraries and devices whose arrays have values
``any_backend``            these, and PyTorch's meta device
``dtype``                  the real floating dtypes of the backend
``standard_dtype``         float32 and float64, as far as the backend has them
``half_dtype``             float16 and bfloat16, as far as the backend has them
``transform``              what leaves a function what it is: eager, or compiled, or vectorized;
                           under one a function has its first case, and one dtype
``activation``             every function of one array
``elementwise``            those without an axis
``along_axis``             those with one
``masked``                 those that take a mask, ``where``
``with_array_parameters``  those with parameters that may be arrays and have derivatives
``case``                   every function at each of its cases, a `FunctionCase`
``elementwise_case``       those of elementwise functions
``along_axis_case``        those of functions along an axis
``differentiable``         those of functions with a written derivative
``with_kinks``             the first of each function that is not smooth everywhere
``array_parameter``        with ``case``: each parameter that is a number and may be an array
=========================  ======================================================================

Where a test has an argument from a ``parametrize`` of its own, that is what it ranges over, its
``dtype`` as far as the backend has it. The marks ``libraries("torch", ...)`` and ``float64`` leave
out backends of other libraries, and those without float64.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracle import (
    ALONG_AXIS,
    CASES,
    ELEMENTWISE,
    FUNCTIONS,
    MASKED,
    WITH_ARRAY_PARAMETERS,
    FunctionCase,
    is_first_of_family,
    output_axis,
    takes_array,
)

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
        return getattr(x.dtype, "name", str(x.dtype)).rpartition(".")[2]

    def __str__(self) -> str:
        return self.name


ALL = tuple(DTYPES)
STANDARD = ("float32", "float64")
HALF = ("float16", "bfloat16")


def _numpy(device: str) -> Backend:
    return Backend("numpy", "numpy", ALL, lambda a: a, np.asarray)


def _strict(device: str) -> Backend:
    import array_api_strict as xp

    placement = xp.Device(device.upper() + "_DEVICE" if device == "cpu" else device)

    def to_numpy(x: Any) -> np.ndarray:
        return np.from_dlpack(xp.asarray(x, device=xp.Device("CPU_DEVICE"), copy=True))

    name = "strict" if device == "cpu" else f"strict-{device}"

    def to_device(a: np.ndarray) -> Any:
        return xp.asarray(a, device=placement, copy=True)

    # the second device computes what the first does; what matters is that it is kept
    return Backend(name, "strict", STANDARD, to_device, to_numpy, has_values=device == "cpu")


def _dask(device: str) -> Backend:
    """Return Dask with arrays of one chunk, or of two along every axis."""
    import dask.array as da

    def from_array(a: np.ndarray) -> Any:
        chunks = tuple(max(1, -(-n // 2)) for n in a.shape)
        return da.from_array(a, chunks if device == "chunked" else "auto")

    def to_numpy(x: Any) -> np.ndarray:
        with np.errstate(all="ignore"):  # the values are computed here, with NumPy's warnings
            return np.asarray(x.compute(scheduler="synchronous"))

    name = "dask" if device == "cpu" else f"dask-{device}"
    return Backend(name, "dask", STANDARD, from_array, to_numpy)


def _torch(device: str) -> Backend:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device")

    def to_device(a: np.ndarray) -> Any:
        if a.dtype == ml_dtypes.bfloat16:
            plain = torch.tensor(a.view(np.int16)).view(torch.bfloat16)
        else:
            plain = torch.tensor(a)
        return plain.to(device)

    def to_numpy(x: Any) -> np.ndarray:
        x = x.detach().cpu()
        if x.dtype == torch.bfloat16:
            return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return x.numpy()

    name = "torch" if device == "cpu" else f"torch-{device}"
    return Backend(name, "torch", ALL, to_device, to_numpy, has_values=device != "meta")


def _jax(device: str) -> Backend:
    import jax

    placement = jax.devices("cpu" if device == "x32" else device)[0]
    name = "jax" if device == "cpu" else f"jax-{device}"
    dtypes = ("float32",) if device == "x32" else ALL

    def to_device(a: np.ndarray) -> Any:
        return jax.device_put(a, placement)

    return Backend(name, "jax", dtypes, to_device, np.asarray)


def _tensorflow(device: str) -> Backend:
    import tensorflow as tf

    return Backend("tensorflow", "tensorflow", ALL, tf.constant, lambda x: np.asarray(x.numpy()))


def _mlx(device: str) -> Backend:
    import mlx.core as mx

    def to_device(a: np.ndarray) -> Any:
        return mx.array(a, dtype=getattr(mx, "bool_" if a.dtype == bool else str(a.dtype)))

    def to_numpy(x: Any) -> np.ndarray:
        if x.dtype == mx.bfloat16:
            return np.array(x.view(mx.uint16)).view(ml_dtypes.bfloat16)
        return np.array(x)

    # whose exp of float64 has the digits of float32
    return Backend("mlx", "mlx", ("bfloat16", "float16", "float32"), to_device, to_numpy)


def _ndonnx(device: str) -> Backend:
    import ndonnx as ndx

    return Backend("ndonnx", "ndonnx", STANDARD, ndx.asarray, lambda x: x.unwrap_numpy())


def _cubed(device: str) -> Backend:
    import cubed.array_api as xp

    def to_chunks(a: np.ndarray) -> Any:
        return xp.asarray(a, chunks=tuple(max(1, (n + 1) // 2) for n in a.shape))

    def to_numpy(x: Any) -> np.ndarray:
        with warnings.catch_warnings():  # those of NumPy in its threads
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.asarray(x.compute())

    return Backend("cubed", "cubed", STANDARD, to_chunks, to_numpy)


def _sparse(device: str) -> Backend:
    import sparse

    return Backend("sparse", "sparse", STANDARD, sparse.asarray, lambda x: x.todense())


BACKENDS: dict[str, Callable[[], Backend]] = {
    "numpy": functools.partial(_numpy, "cpu"),
    "strict": functools.partial(_strict, "cpu"),
    "strict-device1": functools.partial(_strict, "device1"),
    "dask": functools.partial(_dask, "cpu"),
    "dask-chunked": functools.partial(_dask, "chunked"),
    "torch": functools.partial(_torch, "cpu"),
    "torch-meta": functools.partial(_torch, "meta"),
    "torch-cuda": functools.partial(_torch, "cuda"),
    "jax": functools.partial(_jax, "cpu"),
    "jax-x32": functools.partial(_jax, "x32"),
    "jax-cuda": functools.partial(_jax, "cuda"),
    "tensorflow": functools.partial(_tensorflow, "cpu"),
    "mlx": functools.partial(_mlx, "cpu"),
    "ndonnx": functools.partial(_ndonnx, "cpu"),
    "cubed": functools.partial(_cubed, "cpu"),
    "sparse": functools.partial(_sparse, "cpu"),
}

SLOW = {"cubed", "ndonnx", "sparse"}
"""The libraries that have one function of each family in the default ring."""

LIMITS = {
    ("ndonnx", "gcu"): "onnxruntime computes cos of float64 in float32",
    ("ndonnx", "sine"): "onnxruntime computes cos of float64 in float32",
    ("sparse", "logcumsumexp"): "sparse joins arrays of the same fill value alone",
}
"""Limits of libraries, by their names and those of functions."""

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


def _tf_function(f: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
    import tensorflow as tf

    return tf.function(f, autograph=False, **options)


_tf_xla = functools.partial(_tf_function, jit_compile=True)

TRANSFORMS: dict[str, dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]] = {
    "torch": {"eager": _plain, "compile": _torch_compile, "vmap": _torch_vmap},
    "jax": {"eager": _plain, "jit": _jax_jit, "vmap": _jax_vmap},
    "tensorflow": {
        "eager": _plain,
        "function": _tf_function,
        "xla": _tf_xla,
    },
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
    if "tensorflow" in libraries:
        settings = importlib.import_module("tensorflow").config
        two = [settings.LogicalDeviceConfiguration()] * 2  # for replicas
        settings.set_logical_device_configuration(settings.list_physical_devices("CPU")[0], two)
    if "mlx" in libraries:  # each expression takes a third of a second
        importlib.import_module("mlx.core").disable_compile()
    for name in ("torch", "jax", "tensorflow"):
        if name in libraries:
            os.environ.setdefault("KERAS_BACKEND", name)
    config.libraries = libraries  # type: ignore[attr-defined]


def pytest_ignore_collect(collection_path: Any, config: pytest.Config) -> bool | None:
    """Leave out programs beside the tests, and what needs a library that is not chosen."""
    chosen = config.libraries  # type: ignore[attr-defined]
    three = ("numpy", "torch", "jax")
    if collection_path.stem == "test_layers":  # of these alone
        return chosen.isdisjoint(three) or None
    if collection_path.parent.name in ("tools", "peers"):
        return True
    if collection_path.parent.name == "tests" and collection_path.suffix == ".py":
        return not collection_path.name.startswith("test_") or None
    library = collection_path.stem.removeprefix("test_").lstrip("_").partition("_")[0]
    library = "jax" if library == "flax" else library
    has_own = collection_path.parent.name in ("at_home", "backends", "dropin", "layers", "parallel")
    others = ("dask", "tensorflow", "mlx", "ndonnx", "sparse")
    if has_own and library in (*three, *others):
        return library not in chosen or None
    if collection_path.name != "_keras.py" and library == "keras":
        return "KERAS_BACKEND" not in os.environ or None
    return None


@functools.cache
def _backend(name: str) -> Backend:
    return BACKENDS[name]()


RANGES: dict[str, list[Any]] = {
    "activation": FUNCTIONS,
    "elementwise": ELEMENTWISE,
    "along_axis": ALONG_AXIS,
    "masked": MASKED,
    "case": CASES,
    "elementwise_case": [c for c in CASES if output_axis(c.function) is None],
    "along_axis_case": [c for c in CASES if output_axis(c.function) is not None],
    "takes_complex": [f for f in FUNCTIONS if f.definition.complex],
    "holomorphic": [
        f for f in FUNCTIONS if f.definition.complex and f.definition.complex.derivative
    ],
    "differentiable": [c for c in CASES if c.definition.derivative is not None],
    "with_array_parameters": WITH_ARRAY_PARAMETERS,
    "with_kinks": [c for c in CASES if c.is_first and c.definition.properties.kinks],
}
GROUPS = {"dtype": tuple(DTYPES), "standard_dtype": STANDARD, "half_dtype": HALF}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize over what a test asks for by the names of its arguments."""
    wanted = set(metafunc.fixturenames)
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0]
        wanted -= {n.strip() for n in names.split(",")} if isinstance(names, str) else set(names)
    backends = [b for b in map(_backend, _chosen(metafunc.config)) if _suits(metafunc, b)]
    for which in {"backend", "any_backend"} & wanted:
        (group,) = GROUPS.keys() & wanted or [""]
        names = [which, *({"transform"} & wanted), *([group] if group else [])]
        params = [
            pytest.param(*(given[name] for name in names), id="-".join(given["id"]))
            for given in _environments(backends, which, "transform" in wanted, group)
        ]
        metafunc.parametrize(names, params, indirect=[which])
    if "array_parameter" in wanted:
        wanted -= {"case"}
        pairs = [
            pytest.param(case, name, id=f"{case}-{name}")
            for case in CASES
            for name, spec in case.definition.parameters.items()
            if takes_array(spec) and case.all_parameters[name] is not None
        ]
        metafunc.parametrize(("case", "array_parameter"), pairs)
    for name, values in RANGES.items():
        if name in wanted:
            metafunc.parametrize(name, values, ids=_label)


def _suits(metafunc: pytest.Metafunc, backend: Backend) -> bool:
    libraries = metafunc.definition.get_closest_marker("libraries")
    needs_float64 = metafunc.definition.get_closest_marker("float64") is not None
    return (libraries is None or backend.library in libraries.args) and not (
        needs_float64 and "float64" not in backend.dtypes
    )


def _environments(
    backends: list[Backend], which: str, transformed: bool, group: str
) -> Iterator[dict[str, Any]]:
    """Generate the values of what depends on the backend, and what they are called."""
    for backend in backends:
        if which == "backend" and not backend.has_values:
            continue
        transforms = TRANSFORMS.get(backend.library, {"eager": _plain}) if transformed else {}
        for name, transform in (transforms or {"": _plain}).items():
            dtypes = [dtype for dtype in GROUPS.get(group, ()) if dtype in backend.dtypes]
            # a transform sees the dtype no more than the function does
            for dtype in (dtypes if transform is _plain else dtypes[:1]) if group else [""]:
                parts = [part for part in (str(backend), name, dtype) if part]
                yield {which: backend, "transform": transform, group: dtype, "id": parts}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is the same with all libraries to NumPy, and what is slow to the sweep."""
    libraries = config.libraries  # type: ignore[attr-defined]
    items[:] = [item for item in items if _is_asked(item)]
    for item in items:
        if _is_slow(item, libraries):
            item.add_marker("sweep")
        limit = LIMITS.get(_library_and_function(item))
        if limit is not None and item.name.startswith("test_values_without"):
            item.add_marker(pytest.mark.xfail(reason=limit, strict=True))
    if "numpy" in libraries:
        return
    once = [item for item in items if item.get_closest_marker("once")]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if item not in set(once)]


def _is_asked(item: pytest.Item) -> bool:
    """Return whether there is anything to range over, and the combination is one to test."""
    if any(m.kwargs.get("reason", "").startswith("got empty") for m in item.iter_markers("skip")):
        return False
    given = _arguments(item)
    backend = given.get("backend", given.get("any_backend"))
    dtype = given.get("dtype")
    if backend is not None and dtype in DTYPES and dtype not in backend.dtypes:
        return False
    case = _case(item)
    return case is None or case.is_first or given.get("transform", _plain) is _plain


def _is_slow(item: pytest.Item, libraries: set[str]) -> bool:
    given = _arguments(item)
    backend = given.get("backend", given.get("any_backend"))
    libraries = libraries if backend is None else {backend.library}
    slow_with = item.get_closest_marker("sweep_with")
    if slow_with is not None and libraries <= set(slow_with.args):
        return True
    case, transform = _case(item), given.get("transform")
    if libraries == {"jax"} and transform is not None and item.get_closest_marker("compiled"):
        return transform is not _jax_jit
    if case is None:
        return False
    if libraries <= SLOW:
        return not is_first_of_family(case)
    # what holds at any parameters these compile, trace or plan anew for each set
    is_lazy = libraries <= {"jax", "dask", "tensorflow"}
    compiled = (_torch_compile, _jax_jit, _jax_vmap, _tf_function, _tf_xla)
    return transform in compiled or (is_lazy and not case.is_first)


def _library_and_function(item: pytest.Item) -> tuple[str, str]:
    backend, case = _arguments(item).get("backend"), _case(item)
    return getattr(backend, "library", ""), case.definition.name if case else ""


def _case(item: pytest.Item) -> FunctionCase | None:
    return next((v for v in _arguments(item).values() if isinstance(v, FunctionCase)), None)


def _arguments(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _label(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.fixture(autouse=True)
def _one_operation_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have JAX and TensorFlow run operation by operation, but in tests of what they compile.

    They compile or trace a function once for each shape and dtype, which takes long.
    """
    libraries = request.config.libraries  # type: ignore[attr-defined]
    is_compiled = request.node.get_closest_marker("compiled") is not None
    with contextlib.ExitStack() as stack:
        if "jax" in libraries and not is_compiled:
            stack.enter_context(importlib.import_module("jax").disable_jit())
        if "tensorflow" in libraries and not is_compiled:
            config = importlib.import_module("tensorflow").config
            config.run_functions_eagerly(True)
            stack.callback(config.run_functions_eagerly, False)
        yield


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A library and device whose arrays have values."""
    yield from _configured(request.param)


@pytest.fixture
def any_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A library and device, torch's meta device included."""
    yield from _configured(request.param)


def _configured(backend: Backend) -> Iterator[Backend]:
    if backend.name != "jax-x32":
        yield backend
        return
    import jax

    with jax.enable_x64(False):
        yield backend
