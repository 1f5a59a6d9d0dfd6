"""DTensors: each process computes its own part of the result where that depends on no other.

The part is computed as any tensor, by torch's kernel, by machine code or by ours, and so is its
gradient: without collectives, and in the placements of x. Along an axis that is sharded, what
needs no more of a row than a few maxima and sums has these reduced; for the rest, x is gathered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd import forward_ad

from ..._definition import Definition
from ..._gradients import shape_of_parameter
from ..._typing import Kernel, Precision
from .. import generic
from ..numpy import trace
from ..numpy.namespace import UNCOMPENSATED
from .autograd import Call
from .namespace import NAMESPACES, PLAIN, is_recorded, is_tracing
from .native import ForwardOnly, ShortRows

MOST_STATISTICS = 8
"""The maxima and sums of a row that are reduced, each by a collective; for more it is gathered."""


def is_sharded(array_type: type) -> bool:
    """Return whether a type of tensors is DTensor; the module of that need not be imported."""
    return hasattr(array_type, "placements")


def _reduced(y: Any) -> Any:
    """Return a sum or maximum of all processes, where each has one of its own part."""
    from torch.distributed.tensor import Replicate

    if not any(p.is_partial() for p in getattr(y, "placements", ())):
        return y
    return y.redistribute(placements=[Replicate() if p.is_partial() else p for p in y.placements])


def _reducing(name: str, xp: Any) -> Callable[..., Any]:
    reduction = getattr(xp, name)
    return lambda *args, **kwargs: _reduced(reduction(*args, **kwargs))


_REDUCING: dict[Any, Any] = {
    (precision, is_uncompensated): generic.extend_namespace(
        xp,
        is_uncompensated=is_uncompensated,
        **{name: _reducing(name, xp) for name in ("min", "max", "sum")},
    )
    for precision, xp in NAMESPACES.items()
    for is_uncompensated in (False, True)
}
"""The namespaces in which a reduction is complete at once, not again wherever it is used."""


def by_statistics(
    definition: Definition,
    precision: Precision,
    values: tuple[Any, ...],
    dtypes: tuple[torch.dtype, torch.dtype],
    rows: ShortRows | None,
    has_float64: bool,
) -> Callable[..., Any]:
    """Return a function of x, and of other arrays, that reduces statistics of rows.

    float32 is computed in float64, which needs no sums that only correct others.
    """
    compute, result = dtypes
    is_uncompensated = result.itemsize < 8 and has_float64
    compute = torch.float64 if is_uncompensated else compute
    xp = _REDUCING[precision, is_uncompensated]
    call = Call(definition, xp, values, compute, result)
    if rows is not None and (impl := rows.others.impl_at_result) is not None:
        axis = rows.axis
        native = ForwardOnly(
            call.value,
            lambda g, x: impl(xp, call.value(x), g, axis),
            vjp_at_result=lambda g, y: impl(xp, y, g, axis),
            axis=axis,
        )
        call = Call(definition, xp, values, compute, result, native)
    return call.differentiable if call.uses_written_vjp else call.value


_TRACED = generic.extend_namespace(UNCOMPENSATED, sum=np.sum)


class Part(NamedTuple):
    """Where an argument or a result is: of x itself, of a parameter or of the result.

    placements : those in which the processes have what they compute with
    of_gradient : those of its gradient, which is a sum where all have the whole of a parameter
    """

    placements: tuple[Any, ...]
    of_gradient: tuple[Any, ...]


class Sharded:
    """A function at given parameters on DTensors.

    values : the parameters, with None in place of other arrays, which are at `positions`
    kernel, kernel_of : the kernel for plain tensors, and what returns that for another type
    whole : computes it operation by operation of DTensor's
    statistics : does so with reductions that are complete at once, or is None
    native : torch's operator, where it has one; it takes the least time for small parts
    axes : of x, along which the function works
    """

    def __init__(
        self,
        definition: Definition,
        values: tuple[Any, ...],
        kernel: Kernel,
        kernel_of: Callable[[type], Kernel],
        whole: Callable[..., Any],
        statistics: Callable[..., Any] | None = None,
    ) -> None:
        self.definition, self.whole, self.statistics = definition, whole, statistics
        self.kernel, self.kernel_of = kernel, kernel_of
        self.native: Callable[..., Any] | None = None
        self.positions = tuple(i for i, v in enumerate(values) if isinstance(v, torch.Tensor))
        self.values = tuple(None if isinstance(v, torch.Tensor) else v for v in values)
        self.names = list(definition.parameters)
        self.axes = _axes(definition, values)
        self.marks = tuple(map(_mark, values))
        nested = generic.tree_leaves(self.values)
        self.has_nested = any(isinstance(value, torch.Tensor) for value in nested)

    def __call__(self, x: Any, *arrays: Any) -> Any:
        if forward_ad._current_level >= 0 or (self.has_nested and "g" in self.names):
            return self.whole(x, *arrays)
        if self.native is not None and not is_recorded() and self._is_native(x):
            return self.native(x, *arrays)
        return self.by_parts(x, *arrays)

    def _is_native(self, x: Any) -> bool:
        """Return whether torch's operator has no collectives, if it has a gradient."""
        processes = _processes(x)
        is_even = all(x.shape[dim] % n == 0 for dim, n in processes.items())
        is_partial = any(p.is_partial() for p in x.placements)
        return is_even and not is_partial and processes.keys().isdisjoint(self.axes)

    def by_parts(self, x: Any, *arrays: Any) -> Any:
        """Return the result from the parts of the processes."""
        if any(hasattr(p, "split_factor") for p in x.placements):  # parts with gaps between them
            return self.whole(x, *arrays)
        from torch.distributed.tensor import Replicate

        axes = self._axes(x, arrays)
        scarce = _scarce(x) if axes or arrays else set()
        along = axes.intersection(map(_dim, x.placements))
        if along and not along & scarce and self.statistics and self.has_statistics:
            return self.statistics(_reduced(x), *arrays)
        gathered = axes | scarce
        target = tuple(
            Replicate() if p.is_partial() or _dim(p) in gathered else p for p in x.placements
        )
        values = generic.merge_args(self.values, self.positions, arrays)
        parts: list[Part] = []
        for i in self.positions:
            if (part := self._part(i, x, target, values)) is None:
                return self.whole(x, *arrays)
            parts.append(part)
        given = list(self.values)
        if self.has_nested:
            given = list(generic.tree_map(functools.partial(_whole_of, target), self.values))
        for i, array, part in zip(self.positions, arrays, parts, strict=True):
            given[i] = _local(array, part)
        y = self._compute(x, target, _local(x, Part(target, target)), given)
        if isinstance(y, dict):  # gradients
            of = {self.names[i]: p for i, p in zip(self.positions, parts, strict=True)}
            like = {self.definition.first: x, **self.definition.bind(values)}
            return {
                name: _whole(g, x.device_mesh, of[name].of_gradient, like[name].shape)
                if name in of
                else self._result(g, x, target)
                for name, g in y.items()
            }
        return generic.tree_map(lambda part: self._result(part, x, target), y)

    @functools.cached_property
    def has_statistics(self) -> bool:
        """Whether a row of x can be computed of a few maxima and sums of it."""
        if is_tracing():
            return False
        marks, axis = list(self.marks), self.names.index("axis")
        marks[axis] = (0,) if isinstance(marks[axis], tuple) else 0
        dtypes = [np.dtype(np.float64)] * 3
        try:
            found = trace.record(_TRACED, self.definition, *dtypes, *marks, is_row=True)
        except (TypeError, ValueError):  # it does what has no trace, such as sorting
            return False
        functions = [instruction.function for instruction in found.instructions.values()]
        return sum(f in trace.REDUCTIONS for f in functions) <= MOST_STATISTICS

    def _axes(self, x: Any, arrays: tuple[Any, ...]) -> set[int]:
        """Return the axes of x that no process may have a part of only."""
        return set(self.axes)

    def _compute(self, x: Any, target: tuple[Any, ...], local: Any, values: list[Any]) -> Any:
        """Return what the kernel makes of the parts of this process."""
        kernel = self.kernel if type(local) in PLAIN else self.kernel_of(type(local))
        return kernel(local, tuple(map(type, values)), *values)

    def _part(
        self, i: int, x: Any, target: tuple[Any, ...], values: tuple[Any, ...]
    ) -> Part | None:
        """Return where a parameter is needed, or None if this is not known."""
        from torch.distributed.tensor import Partial, Replicate

        value, spec = values[i], self.definition.parameters[self.names[i]]
        if getattr(value, "device_mesh", None) != x.device_mesh:
            return None
        if spec.broadcasts == "with" and value.ndim > x.ndim:
            return None
        placements: list[Any] = []
        of_gradient: list[Any] = []
        for n, p in enumerate(target):
            if (dim := _dim(p)) is None:
                placements.append(Replicate())
                of_gradient.append(Replicate())
            elif (own := self._dim_of_parameter(i, dim, x, values)) is None:
                placements.append(Replicate())
                of_gradient.append(Partial())
            elif self._fit(value.shape[own], x.shape[dim], x.device_mesh.size(n)):
                placements.append(_at_dim(p, own))
                of_gradient.append(placements[-1])
            else:
                return None
        return Part(tuple(placements), tuple(of_gradient))

    def _fit(self, size: int, size_of_x: int, processes: int) -> bool:
        """Return whether a dimension of a parameter is sharded as that of x is."""
        return size == size_of_x

    def _dim_of_parameter(self, i: int, dim: int, x: Any, values: tuple[Any, ...]) -> int | None:
        """Return the dimension of a parameter that belongs to one of x, or None."""
        name, value = self.names[i], values[i]
        if name == "g":
            return self._dim_of_result(dim, x.ndim, value.ndim)
        if self.definition.parameters[name].broadcasts == "coefficients":
            return None
        shape = shape_of_parameter(self.definition, values, name, value, x)
        own: int = dim - (x.ndim - len(shape))
        if own < 0 or shape[own] == 1:
            return None
        if len(shape) == value.ndim:
            return own
        return [n > 1 for n in shape[:own]].count(True)

    def _dim_of_result(self, dim: int, ndim: int, of_result: int) -> int:
        """Return the dimension of a result with so many of them that belongs to one of x."""
        if of_result == ndim:
            return dim
        if of_result > ndim:
            new: int = self.definition.bind(self.values)["axis"]
            return dim + (new <= dim)
        return dim - sum(axis < dim for axis in self.axes)

    def _result(self, y: Any, x: Any, target: tuple[Any, ...]) -> Any:
        """Return a part of the result as a DTensor, sharded as x was."""
        shape, placements = list(y.shape), []
        for p in target:
            if (dim := _dim(p)) is not None:
                own = self._dim_of_result(dim, x.ndim, y.ndim)
                shape[own] = x.shape[dim]
                p = _at_dim(p, own)
            placements.append(p)
        result = _whole(y, x.device_mesh, tuple(placements), tuple(shape))
        if y.ndim != x.ndim:
            return result
        again = [p if s.is_partial() else s for s, p in zip(x.placements, target, strict=True)]
        return result if tuple(again) == target else result.redistribute(placements=again)


class ShardedRows(Sharded):
    """An operation that computes each row of x by itself, as attention does each query.

    It has the whole of other arrays for each row, such as the keys of its head and example. Causal
    attention has the keys up to the last query of a part, which is aligned with the last of them.

    of_all_rows : the names of these arrays
    """

    def __init__(self, of_all_rows: tuple[str, ...], *args: Any) -> None:
        super().__init__(*args)
        self.of_all_rows = of_all_rows

    def _axes(self, x: Any, arrays: tuple[Any, ...]) -> set[int]:
        given = self.definition.bind(generic.merge_args(self.values, self.positions, arrays))
        if not given.get("is_causal") or min(x.ndim, given["key"].ndim) < 2:
            return {x.ndim - 1}
        has_more_rows = x.shape[-2] > given["key"].shape[-2]
        return {x.ndim - 1, x.ndim - 2} if has_more_rows or "g" in given else {x.ndim - 1}

    def _compute(self, x: Any, target: tuple[Any, ...], local: Any, values: list[Any]) -> Any:
        given = dict(zip(self.names, values, strict=True))
        if given.get("is_causal") and x.ndim - 2 in map(_dim, target):
            length = given["key"].shape[-2]
            is_lower_right = given["is_causal"] == "lower_right"
            start = _start(x, target, x.ndim - 2) + (length - x.shape[-2]) * is_lower_right
            keys = slice(start + local.shape[-2])
            for i in self.positions:
                if self.names[i] in self.of_all_rows:
                    values[i] = values[i][..., keys, :]
                elif values[i].ndim and values[i].shape[-1] == length:
                    values[i] = values[i][..., keys]
            values[self.names.index("is_causal")] = "lower_right"
        return super()._compute(x, target, local, values)

    def _dim_of_parameter(self, i: int, dim: int, x: Any, values: tuple[Any, ...]) -> int | None:
        own: int = dim - (x.ndim - values[i].ndim)
        is_of_all = self.names[i] in self.of_all_rows and dim == x.ndim - 2
        return None if own < 0 or is_of_all or values[i].shape[own] == 1 else own

    def _dim_of_result(self, dim: int, ndim: int, of_result: int) -> int:
        return dim

    def _fit(self, size: int, size_of_x: int, processes: int) -> bool:
        """Return whether it has as many elements, or heads that share those of the other."""
        return size == size_of_x or (size % processes == 0 and size_of_x % processes == 0)


def _mark(value: Any) -> Any:
    """Return a parameter as a trace takes it, with a dtype in place of an array."""
    if not isinstance(value, torch.Tensor):
        return value
    return np.dtype(np.float64 if value.is_floating_point() else np.bool_)


def uniform(shape: tuple[int, ...], like: Any, rng: Any, dtype: torch.dtype) -> Any:
    """Return random numbers, sharded as `like` is along the dimensions that both have.

    What a generator draws does not depend on the placements, if all processes have the same.
    """
    from torch.distributed.tensor import DTensor, Replicate, empty

    if rng is not None:
        drawn = torch.rand(shape, dtype=dtype, device=like.device, generator=rng)
        return DTensor.from_local(drawn, like.device_mesh, run_check=False)
    if shape == tuple(like.shape):
        return torch.rand_like(like, dtype=dtype)
    common = [
        i for i, sizes in enumerate(zip(shape, like.shape, strict=False)) if len({*sizes}) == 1
    ]
    placements = [p if _dim(p) in common else Replicate() for p in like.placements]
    # torch.distributed.tensor.rand is for GPUs alone
    return torch.rand_like(
        empty(shape, dtype=dtype, device_mesh=like.device_mesh, placements=placements)
    )


def _axes(definition: Definition, values: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the axes along which a function works."""
    specs = definition.parameters.values()
    has_gate = any(  # x and its gate are not halves of an array then
        spec.choices and spec.broadcasts == "with" and isinstance(value, torch.Tensor)
        for spec, value in zip(specs, values, strict=True)
    )
    if definition.output_axis in (None, "added") or has_gate:
        return ()
    axis = definition.bind(values)["axis"]
    return axis if isinstance(axis, tuple) else (axis,)


def _dim(placement: Any) -> int | None:
    """Return the dimension that a placement shards."""
    dim: int | None = getattr(placement, "dim", None)
    return dim


def _scarce(x: Any) -> set[int]:
    """Return the dimensions of which not every process has a part.

    One that has nothing may record another graph, and would be missed in the collectives of it.
    """
    sizes = x.shape
    return {i for i, n in _processes(x).items() if -(-sizes[i] // n) * (n - 1) >= sizes[i]}


def _processes(x: Any) -> dict[int, int]:
    """Return how many processes share each of the dimensions that are sharded."""
    found: dict[int, int] = {}
    for i, p in enumerate(x.placements):
        if (dim := _dim(p)) is not None:
            found[dim] = found.get(dim, 1) * x.device_mesh.size(i)
    return found


def _start(x: Any, placements: tuple[Any, ...], dim: int) -> int:
    """Return the index at which the part of this process begins."""
    start, stop = 0, x.shape[dim]
    for i, p in enumerate(placements):
        if _dim(p) == dim:
            step = -(-(stop - start) // x.device_mesh.size(i))
            start = min(start + step * x.device_mesh.get_local_rank(i), stop)
            stop = min(start + step, stop)
    return start


def _at_dim(placement: Any, dim: int) -> Any:
    """Return a placement for another dimension."""
    return placement if placement.dim == dim else type(placement)(dim)


def _local(x: Any, part: Part) -> Any:
    """Return the part of a DTensor that this process computes with."""
    if x.placements != part.placements:
        x = x.redistribute(placements=part.placements)
    return x.to_local(grad_placements=part.of_gradient)


def _whole_of(target: tuple[Any, ...], value: Any) -> Any:
    """Return the whole of a DTensor for parts of x; its gradient is the sum over them."""
    if not is_sharded(type(value)):
        return value
    from torch.distributed.tensor import Partial, Replicate

    of_gradient = tuple(Replicate() if _dim(p) is None else Partial() for p in target)
    return _local(value, Part((Replicate(),) * len(target), of_gradient))


def _whole(local: Any, mesh: Any, placements: tuple[Any, ...], shape: Any) -> Any:
    """Return the DTensor of this shape of which this process has a part."""
    from torch.distributed.tensor import DTensor

    by_stride = sorted(range(local.ndim), key=lambda i: (local.stride(i), -i))
    strides, size = [0] * local.ndim, 1
    for i in by_stride:
        strides[i] = size
        size *= max(shape[i], 1)
    y = DTensor.from_local(
        local, mesh, placements, run_check=False, shape=torch.Size(shape), stride=tuple(strides)
    )
    # the gradient comes in any placements, and its redistribution must have a derivative
    return y.redistribute(placements=placements) if y.requires_grad else y
