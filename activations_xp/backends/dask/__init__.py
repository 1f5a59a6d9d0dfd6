"""Dask: one task a chunk, in which the library of the chunk computes.

A function of elements, or along axes that lie in one chunk each, is called on every chunk. Along an
axis of several chunks it is run in stages (`stages.py`), so that no axis is gathered.
"""

from __future__ import annotations

import itertools
import operator
import sys
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

import array_api_compat.dask.array as xp
import dask.array as da
import numpy as np
from dask.base import normalize_token, tokenize

from ..._definition import Definition
from ..._errors import check_shape
from ..._gradients import shape_of_parameter
from ..._typing import NUMBER, Kernel, Precision
from ...numerics.arrays import broadcasts_to
from .. import generic
from ..numpy import threads
from ..numpy.namespace import XP, isdtype
from . import stages

NATIVE: dict[str, int] = {"scaled_dot_product_attention": 2}
"""The operations that are called on chunks, if so many of the last axes lie in one chunk each."""


class DaskBackend(generic.StandardBackend):
    """Dask arrays of any library."""

    def __init__(self) -> None:
        super().__init__(xp)

    def owns(self, x: Any) -> bool:
        return isinstance(x, da.Array)

    def device(self, x: Any) -> Any:
        return None

    def isdtype(self, x: Any, kinds: tuple[str, ...]) -> bool:
        return isdtype(x.dtype, kinds)

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        by_operation = super().bind(definition, precision, array_type)
        core = NATIVE.get(definition.name)
        if core is not None:
            return lambda x, types, *parameters: _over_batch(
                definition, precision, core, by_operation(x, types, *parameters), x, parameters
            )
        if not definition.is_activation:
            return by_operation

        def kernel(x: Any, types: tuple[type, ...], *parameters: Any) -> Any:
            form = definition.for_dtype(XP, x.dtype)
            values = _check(form, x, parameters, self)
            try:
                call = Call(definition, precision, x, parameters, values)
                return call.on_chunks(call.probe()) if form.is_elementwise else call.run(form)
            except (stages.CannotRecordError, TypeError, ValueError):
                return by_operation(x, types, *parameters)  # which says what is wrong, if anything

        return kernel

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        """Return random numbers that depend on their places, not on chunks or on who computes."""
        if not all(n == n for n in shape):
            raise ValueError("noise needs known chunk sizes; call x.compute_chunk_sizes() first")
        seed: Any
        if isinstance(rng, da.random.Generator):
            seed = rng.integers(0, 2**64, size=(), dtype=np.uint64, chunks=())
        elif rng is None or isinstance(rng, np.random.Generator):
            rng = np.random.default_rng() if rng is None else rng
            seed = rng.integers(0, 2**64, dtype=np.uint64)
        else:
            raise TypeError("a numpy.random.Generator, a dask.array.random.Generator or None")
        is_single = self.isdtype(like, ("real floating",)) and like.dtype.itemsize <= 4
        dtype = np.dtype(np.float32 if is_single else np.float64)
        chunks = (
            like.chunks
            if shape == like.shape
            else da.core.normalize_chunks("auto", shape, dtype=dtype)
        )
        places = [
            da.arange(n, chunks=(c,), dtype=np.uint64, like=like._meta)
            for n, c in zip(shape, chunks, strict=True)
        ]
        pairs = [part for i, place in enumerate(places) for part in (place, (i,))]
        return da.blockwise(
            _hash_places,
            tuple(range(len(shape))),
            seed,
            None if isinstance(seed, np.uint64) else (),
            *pairs,
            shape=shape,
            digits=24 if is_single else 53,
            align_arrays=False,
            dtype=dtype,
            meta=stages.meta_like(like, len(shape), dtype),
            name=f"uniform-{tokenize(seed, shape, chunks, dtype)}",
        )


@np.errstate(over="ignore")  # it counts modulo 2**64
def _hash_places(seed: Any, *places: Any, shape: tuple[int, ...], digits: int) -> Any:
    """Return uniform numbers of [0, 1) by Steele, Lea & Flood's SplitMix64 of their places.

    It is a generator that can start anywhere: number i needs none of those before it.
    """
    step, stride, z = 0x9E3779B97F4A7C15, 1, seed + np.uint64(0x9E3779B97F4A7C15)
    for i in reversed(range(len(shape))):
        ahead = places[i] * np.uint64(step * stride % 2**64)
        z = z + ahead.reshape((-1,) + (1,) * (len(shape) - 1 - i))
        stride *= shape[i]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z >>= np.uint64(64 - digits)
    kind = np.float32 if digits == 24 else np.float64
    y = z.astype(kind)
    y *= kind(2.0**-digits)
    return y


def is_known(x: Any) -> bool:
    """Return whether the sizes of all chunks are known."""
    return all(n == n for n in x.shape)


def _check(
    definition: Definition, x: Any, parameters: tuple[Any, ...], backend: DaskBackend
) -> tuple[Any, ...]:
    """Return the parameters as implementations take them, also beside sizes that are unknown."""
    if is_known(x):
        return definition.check(x, parameters, backend)
    recorder = stages.Recorder(definition.name, False)
    symbol, *symbols = [
        recorder.leaf(value) if isinstance(value, da.Array) else value for value in (x, *parameters)
    ]
    checked = definition.check(symbol, tuple(symbols), recorder)
    return tuple(
        recorder.arrays[value.number] if recorder.owns(value) else value for value in checked
    )


class Call:
    """A call of an activation, or of its derivative or vjp.

    definition : that of the public function
    parameters, values : the parameters as they are given, and as implementations take them
    arrays : the arrays among them, in the shapes in which they broadcast with x
    constants : the others that are not the defaults
    """

    def __init__(
        self,
        definition: Definition,
        precision: Precision,
        x: Any,
        parameters: tuple[Any, ...],
        values: tuple[Any, ...],
    ) -> None:
        self.definition, self.precision, self.x = definition, precision, x
        self.values = definition.bind(values)
        self.arrays, self.constants, self.coefficients = {definition.first: x}, {}, set()
        for (name, spec), given in zip(definition.parameters.items(), parameters, strict=True):
            value = self.values[name]
            if not isinstance(value, da.Array):
                if name not in definition.defaults or given is not definition.defaults[name]:
                    self.constants[name] = value
                continue
            self.arrays[name] = value
            if spec.broadcasts == "coefficients":
                self.coefficients.add(name)
            elif spec.broadcasts == "along":
                shape = shape_of_parameter(definition, values, name, value, x)
                if is_known(x) and not broadcasts_to(shape, x.shape):
                    raise ValueError(f"{name} does not broadcast")
                self.arrays[name] = stages.reshape(value, shape)
        self.ndim = max(
            a.ndim for name, a in self.arrays.items() if name not in {"g", *self.coefficients}
        )
        self.axes = self._axes()
        self.labels = self._labels()

    def _axes(self) -> tuple[int, ...]:
        """Return the axes of the function, among those that all arrays broadcast to."""
        parameters = self.definition.parameters
        is_gated = any(
            parameters[n].choices and parameters[n].broadcasts == "with"
            for n in self.arrays
            if n in parameters
        )
        if is_gated or self.definition.output_axis in (None, "added"):
            return ()
        axis = self.values["axis"]
        offset = self.ndim - self.x.ndim
        return tuple(i + offset for i in (axis if isinstance(axis, tuple) else (axis,)))

    def _task(self, part: Any = None) -> Task:
        names = tuple(self.arrays)
        is_one_of_many = self.x.npartitions > 1
        return Task(
            self.definition.function, self.precision, names, self.constants, is_one_of_many, part
        )

    def probe(self) -> Any:
        """Return the results of an elementwise function, for arrays of single elements."""
        if "g" in self.values and is_known(self.x):
            check_shape(self.definition.name, "g", self.values["g"], self.x.shape)
        ones = []
        for name, array in self.arrays.items():
            shape = array.shape if name in self.coefficients else (1,) * array.ndim
            ones.append(np.ones_like(array._meta, shape=shape))
        return self._task()(*ones)

    def run(self, form: Definition) -> Any:
        """Return the result of a function along axes."""
        is_single, compute, result = _dtypes(form, self.x, tuple(self.values.values()))
        chunks: dict[int, Any] = {}
        with suppress(ValueError):  # of shapes that do not fit, of which the implementation tells
            chunks, arrays = da.core.unify_chunks(*self._pairs())
            self.arrays = dict(zip(self.arrays, arrays, strict=True))
        recorder = stages.Recorder(self.definition.name, is_single)
        leaves = {name: recorder.leaf(array) for name, array in self.arrays.items()}
        values = self.values | leaves
        x = values.pop(form.first)
        if isinstance(values.get("g"), NUMBER):
            g = np.full_like(self.x._meta, values["g"], dtype=compute, shape=())
            values["g"] = recorder.leaf(da.from_array(g))
        tree = generic.evaluate(form, recorder, x, tuple(values.values()), compute, result)
        results = generic.tree_leaves(tree)
        is_short = not recorder.is_opaque and max(y.passes for y in results) <= stages.MAX_PASSES
        if not (is_short and any(len(chunks.get(i, ())) > 1 for i in self.axes)):
            return self.on_chunks(tree)
        found = [recorder.run(y.number) for y in results]
        if isinstance(tree, dict):
            shapes = [self.values[n].shape if n in self.values else self.x.shape for n in tree]
            found = [stages.reshape(y, n) for y, n in zip(found, shapes, strict=True)]
        return generic.tree_unflatten(found, tree)

    def on_chunks(self, tree: Any) -> Any:
        """Return the results, which are like those of `tree`, of one task a chunk."""
        for name, array in self.arrays.items():
            whole = [i for i, n in enumerate(self.labels[name]) if n in self.axes or n > self.ndim]
            self.arrays[name] = array.rechunk(dict.fromkeys(whole, -1))
        pairs = self._pairs()
        leaves = generic.tree_leaves(tree)
        of = list(tree) if isinstance(tree, dict) else [""] * len(leaves)
        name = f"{self.definition.name}-{tokenize(self._task(), *self.arrays.values())}"
        ranks = [self.ndim + (n in self.coefficients) if n else None for n in of]
        tasks: list[Any] = [Part(i, rank) for i, rank in enumerate(ranks)]
        if len(leaves) == 1:
            tasks = [self._task(tasks[0])]
        else:
            every = tuple(range(self.ndim))
            parts = da.blockwise(
                self._task(), every, *pairs, name=name, dtype=object, meta=self.x._meta
            )
            pairs, name = [parts, every], f"{name}-part"
        found = [
            self._result(task, leaf, of[i], pairs, f"{name}-{i}" if i else name)
            for i, (task, leaf) in enumerate(zip(tasks, leaves, strict=True))
        ]
        return generic.tree_unflatten(found, tree)

    def _result(self, task: Any, leaf: Any, of: str, pairs: list[Any], name: str) -> Any:
        """Return what a task makes on each chunk, or the sum of that if it is a gradient."""
        new_axes: dict[int, Any] = {}
        sizes: dict[int, Any] = {}
        sums: tuple[int, ...] = ()
        if not of:
            labels = self._labels_of_result(leaf.ndim)
            if leaf.ndim > self.ndim:
                new_axes = {self.ndim: leaf.shape[labels.index(self.ndim)]}
            elif leaf.ndim == self.ndim:
                sizes = {i: leaf.shape[i] for i in self.axes}
        else:
            labels, array = list(range(self.ndim)), self.arrays[of]
            if of in self.coefficients:
                labels, sums = [*labels, self.ndim], tuple(labels)
                new_axes = {self.ndim: array.shape[0]}
            else:
                shape = (1,) * (self.ndim - array.ndim) + array.shape
                sums = tuple(i for i in labels if isinstance(shape[i], int) and shape[i] == 1)
                sizes = {i: shape[i] for i in self.axes}
            sizes |= dict.fromkeys(sums, 1)
        result = da.blockwise(
            task,
            tuple(labels),
            *pairs,
            new_axes=new_axes,
            adjust_chunks=sizes,
            name=name,
            dtype=leaf.dtype,
            meta=stages.meta_like(self.x, len(labels), leaf.dtype),
        )
        sums = tuple(i for i in sums if result.numblocks[i] > 1)
        if sums:
            result = stages.reduce_parts("sum", result, sums, self.definition.name)
        return stages.reshape(result, self.values[of].shape) if of in self.values else result

    def _labels(self) -> dict[str, tuple[int, ...]]:
        """Return the numbers of the axes of each array, among those that all broadcast to.

        An axis that is another one has a higher number.
        """
        others = itertools.count(self.ndim + 1)
        found: dict[str, tuple[int, ...]] = {}
        sizes: dict[int, Any] = {}
        x_sizes = dict(zip(range(self.ndim)[self.ndim - self.x.ndim :], self.x.shape, strict=True))
        for name, array in self.arrays.items():
            labels = self._labels_of_result(array.ndim)
            if name != "g":
                labels = list(range(self.ndim)[self.ndim - array.ndim :])
            if len(labels) != array.ndim:
                raise ValueError(f"{name} has not the dimensions of the result")
            for i, size in enumerate(array.shape):
                known = sizes.setdefault(labels[i], size) if size != 1 else size
                is_other = labels[i] in self.axes and size not in (1, x_sizes[labels[i]])
                if name in self.coefficients or is_other or labels[i] == self.ndim:
                    labels[i] = next(others)
                elif size < known or size > known:
                    raise ValueError(f"{name} does not broadcast")
            found[name] = tuple(labels)
        return found

    def _pairs(self) -> list[Any]:
        return [part for name, array in self.arrays.items() for part in (array, self.labels[name])]

    def _labels_of_result(self, ndim: int) -> list[int]:
        """Return the numbers of the axes of a result; a new one comes after all others."""
        labels = list(range(self.ndim))
        if ndim > self.ndim:
            labels.insert(self.values["axis"], self.ndim)
        elif ndim < self.ndim:
            labels = [i for i in labels if i not in self.axes]
        return labels


def _over_batch(
    definition: Definition,
    precision: Precision,
    core: int,
    y: Any,
    x: Any,
    parameters: tuple[Any, ...],
) -> Any:
    """Return the result of an operation on the last axes, one task a chunk of the others.

    It is y, which is made operation by operation, if one of the last axes has several chunks.
    """
    given = {definition.first: x, **definition.bind(parameters)}
    arrays = {name: value for name, value in given.items() if isinstance(value, da.Array)}
    if any(n > 1 for a in arrays.values() for n in a.numblocks[-core:]):
        return y
    constants = {name: value for name, value in given.items() if name not in arrays}
    others = itertools.count(y.ndim)
    pairs: list[Any] = []
    for array in arrays.values():
        batch = range(max(array.ndim - core, 0))
        labels = [
            i + y.ndim - array.ndim if i in batch else next(others) for i in range(array.ndim)
        ]
        pairs += array, tuple(labels)
    task = Task(definition.function, precision, tuple(arrays), constants, x.npartitions > 1)
    return da.blockwise(
        task,
        tuple(range(y.ndim)),
        *pairs,
        new_axes=dict(enumerate(y.shape[-core:], y.ndim - core)),
        name=f"{definition.name}-{tokenize(task, *arrays.values())}",
        dtype=y.dtype,
        meta=y._meta,
    )


class Task:
    """A public function of chunks, at the precision and the parameters of a call.

    names : the arguments that are chunks, that which decides the library first
    is_one_of_many : whether a scheduler has as many tasks as threads, which the engine leaves alone
    part : what is returned of the result
    """

    def __init__(
        self,
        function: Any,
        precision: Precision,
        names: tuple[str, ...],
        constants: dict[str, Any],
        is_one_of_many: bool,
        part: Any = None,
    ) -> None:
        self.function, self.precision = function, precision
        self.names, self.constants, self.part = names, constants, part
        self.is_one_of_many = is_one_of_many

    def __dask_tokenize__(self) -> Any:
        definition = self.function.definition
        function = definition.impl if _is_local(self.function) else definition.name
        return normalize_token((function, self.precision, self.names, self.constants, self.part))

    def __call__(self, *chunks: Any) -> Any:
        given = {**self.constants, **dict(zip(self.names, map(_only, chunks), strict=True))}
        first = [given.pop(n) for n in ("g", self.names[0]) if n in given]
        with threads.alone() if self.is_one_of_many else nullcontext():
            y = self.function.forms[self.precision](*first, **given)
        return y if self.part is None else self.part(y)


class Part(NamedTuple):
    """A result of this number among those of a chunk, with as many axes as are given."""

    number: int
    ndim: int | None

    def __call__(self, results: Any) -> Any:
        y = generic.tree_leaves(_only(results))[self.number]
        return y if self.ndim is None else y.reshape((1,) * (self.ndim - y.ndim) + y.shape)


def _only(chunk: Any) -> Any:
    """Return the chunk of an axis that the result has not, which comes in a list."""
    while isinstance(chunk, list):
        (chunk,) = chunk
    return chunk


def _is_local(function: Any) -> bool:
    """Return whether a function is of a session, in which another may have its name."""
    owner: Any = sys.modules.get(function.__module__)
    try:
        return operator.attrgetter(function.__qualname__)(owner) is not function
    except AttributeError:
        return True


def _dtypes(definition: Definition, x: Any, values: tuple[Any, ...]) -> tuple[bool, Any, Any]:
    """Return whether 64 bits compute what is rounded to fewer, and the dtypes for that."""
    compute, result = generic.compute_and_result_dtypes(
        definition, XP, x, values, np.dtype(np.float64), exact_rounding=True
    )
    wide = {"float32": np.float64, "complex64": np.complex128}
    compute = np.dtype(wide.get(np.dtype(compute).name, compute))
    is_single = compute.kind in "fc" and XP.finfo(result).bits <= 32
    return is_single, compute, result


BACKEND = DaskBackend()
