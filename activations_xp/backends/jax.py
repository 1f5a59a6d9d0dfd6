"""JAX: implementations compiled once for each set of parameters, with the written derivatives."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from math import sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from .._definition import Definition
from .._gradients import (
    derivative,
    gradients,
    has_written_vjp,
    parameter_derivatives,
    tangent_of_parameter,
)
from .._typing import Kernel, Precision
from ..numerics import special
from . import generic
from .base import Backend
from .judge import is_fast_enough_in_float32

_one_sided = generic.extend_namespace(jnp, **generic.one_sided(jnp))


def _replace(function: Callable[..., Any], dy_dx: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return our function in place of XLA's, with its derivative as a function of x and y.

    An infinite cotangent may reach it, which a polynomial would turn into NaN at 0.
    """
    ours = jax.custom_jvp(functools.partial(function, _one_sided))
    ours.defjvps(lambda tangent, y, x: tangent * dy_dx(x, y))
    return ours


def _is_known(size: Any) -> bool:
    return isinstance(size, int)


def _isdtype(dtype: Any, kinds: Any) -> bool:
    is_key = jnp.issubdtype(dtype, jax.dtypes.extended)
    is_float8 = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize == 1
    return not (is_key or is_float8) and bool(jnp.isdtype(dtype, kinds))


_PLAIN = generic.extend_namespace(
    _one_sided,
    complex=jax.lax.complex,
    conjugates_cotangents=False,
    isdtype=_isdtype,
    is_known=_is_known,
)
_XP = generic.extend_namespace(
    _PLAIN,
    expm1=_replace(special.expm1, lambda x, y: jnp.exp(x)),
    log1p=_replace(special.log1p, lambda x, y: 1 / (1 + x)),
    tanh=_replace(special.tanh, lambda x, y: (1 - y) * (1 + y)),
)
"""jax.numpy, where our functions replace those of XLA that are 5 to 120 ulp off."""

_FAST = generic.extend_namespace(_PLAIN, is_uncompensated=True)
"""The namespace of float32 computations that may be a few units off."""


class Native(NamedTuple):
    """An entry of the native table.

    bind : returns JAX's kernel of x for given parameters, or None if it has none
    jvp : ``jvp(tangent, x, y)``, the tangent of the result y, or None where the written derivative
        is as fast
    inaccurate_dtypes : the dtypes in which it is not accurate
    """

    bind: Callable[..., Callable[[Any], Any] | None]
    jvp: Callable[..., Callable[[Any, Any, Any], Any]] | None = None
    inaccurate_dtypes: frozenset[Any] = frozenset()


def _in_32_bits(kernel: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a kernel of several operations, between which 16-bit floats are not rounded."""

    def run(x: Any) -> Any:
        if x.dtype.itemsize > 2:
            return kernel(x)
        return kernel(x.astype(jnp.float32)).astype(x.dtype)

    return run


@_in_32_bits
def _ndtr(x: Any) -> Any:
    return 0.5 * jax.lax.erfc(x * -sqrt(0.5))


@_in_32_bits
def _gelu(x: Any) -> Any:
    return 0.5 * jnp.maximum(x, -1e10) * jax.lax.erfc(x * -sqrt(0.5))  # -0 at -inf


def _erf(x: Any) -> Any:
    """Return erf(x). Of that alone XLA does not know that it is sharded as x, which it gathers.

    On one device it is alone: beside a selection it takes three times as long for few elements.
    """
    y = jax.lax.erf(x)
    return y if jax.device_count() == 1 else jnp.where(x == 0, x, y)


def _reduce(operation: Any, start: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """Return a reduction from a start. XLA fuses it with what follows, unlike another operation."""
    y = jax.lax.reduce(x, x.dtype.type(start), operation, axes)
    return jnp.expand_dims(y, axes)


def _minus_max(x: Any, axes: tuple[int, ...]) -> Any:
    """Return x less its maximum, 0 where x is infinite, and -inf beside an infinite element."""
    largest = _XP.finfo(x.dtype).max
    row_max = _reduce(jax.lax.max, -largest, x, axes)
    finite = jax.lax.min(row_max, largest)
    factor = jax.lax.min(1 + (row_max - finite), largest)  # 1, or large beside infinity
    return jax.lax.min(x - finite, x.dtype.type(0)) * factor


def _sum_of_weights(e: Any, axes: tuple[int, ...]) -> Any:
    """Return the sum, and a tiny number where it is 0."""
    return _reduce(jax.lax.add, _XP.finfo(e.dtype).tiny, e, axes)


def _softmax(axes: tuple[int, ...], x: Any) -> Any:
    e = jnp.exp(_minus_max(x, axes))
    return e / _sum_of_weights(e, axes)


def _log_softmax(axes: tuple[int, ...], x: Any) -> Any:
    shifted = _minus_max(x, axes)
    return shifted - jnp.log(_sum_of_weights(jnp.exp(shifted), axes))


def _softmax_jvp(axes: tuple[int, ...], tangent: Any, x: Any, y: Any) -> Any:
    return y * (tangent - jnp.sum(y * tangent, axes, keepdims=True))


def _log_softmax_jvp(axes: tuple[int, ...], tangent: Any, x: Any, y: Any) -> Any:
    weights = _softmax(axes, x)
    has_elements = jax.lax.min(4 * jnp.sum(weights, axes, keepdims=True), x.dtype.type(1))
    return tangent * has_elements - jnp.sum(weights * tangent, axes, keepdims=True)


def _without_mask(kernel: Callable[..., Any]) -> Callable[..., Any]:
    return lambda axes, where: _in_32_bits(partial(kernel, axes)) if where is None else None


NATIVE: dict[str, Native] = {
    "erf": Native(lambda: _erf),
    "erfc": Native(lambda: jax.lax.erfc),
    "exponential": Native(lambda: jnp.exp),
    "gelu": Native(lambda approximate: _gelu if approximate in ("none", False) else None),
    "identity": Native(lambda: lambda x: x, lambda: lambda tangent, x, y: tangent),
    "log_softmax": Native(
        _without_mask(_log_softmax), lambda axes, where: partial(_log_softmax_jvp, axes)
    ),
    "ndtr": Native(lambda: _ndtr),
    "sigmoid": Native(lambda: jax.nn.sigmoid),
    "softmax": Native(_without_mask(_softmax), lambda axes, where: partial(_softmax_jvp, axes)),
    "tanh": Native(lambda: jnp.tanh),
}
"""JAX's own kernels, by function: the only place where this backend names one."""


class JaxBackend(Backend):
    """JAX on any device."""

    name = "jax"
    xp = _XP

    def owns(self, x: Any) -> bool:
        return isinstance(x, jax.Array)

    def device(self, x: Any) -> Any:
        return None  # JAX places arrays itself, and says when it cannot

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        return _bind(definition, precision)

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        is_array = isinstance(rng, jax.Array)
        is_typed = is_array and jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) and rng.ndim == 0
        is_raw = is_array and rng.dtype == jnp.uint32 and rng.ndim == 1
        if not (is_typed or is_raw):
            raise TypeError("a key of JAX, such as jax.random.key(0)")
        is_floating = jnp.issubdtype(like.dtype, jnp.floating)
        dtype = like.dtype if is_floating else jnp.result_type(float)
        return jax.random.uniform(rng, shape, dtype if dtype.itemsize > 2 else jnp.float32)

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        return jnp.empty(0, dtype) if isinstance(rng, jax.Array) else None


BACKEND = JaxBackend()


@functools.cache
def _bind(definition: Definition, precision: Precision) -> Kernel:
    """Return a kernel that is compiled for each set of parameters, whose arrays are arguments."""
    defaults = tuple(definition.defaults.values())
    has_defaults = len(defaults) == len(definition.parameters)

    def bind(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Any]]:
        """Check the parameters, and return a function of x and of the arrays among them."""
        form = definition.for_dtype(_XP, x.dtype)
        form.check(x, parameters, BACKEND)
        leaves, tree = jax.tree_util.tree_flatten(parameters)
        positions = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array))
        static = tuple(None if i in positions else leaf for i, leaf in enumerate(leaves))
        call = form, precision, tree, static, positions
        return _call(*call), [leaves[i] for i in positions]

    @functools.partial(jax.jit, inline=True)
    def plain(x: Any) -> Any:
        return bind(x, defaults)[0](x)

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
        function, arrays = bind(x, parameters)
        if has_defaults and all(map(operator.is_, parameters, defaults)):
            return plain, True
        run = _compile(function)
        given = zip(parameters, definition.parameters.values(), strict=True)
        if len(arrays) == sum(isinstance(p, jax.Array) and bool(s.dtypes) for p, s in given):
            return run, True
        return (lambda x, *_: run(x, *arrays)), False  # those in tuples, or in place of an axis

    kernel = generic.cached_kernel(definition, make, BACKEND)
    if has_defaults:
        kernel.plain = plain  # type: ignore[attr-defined]
    return kernel


@functools.lru_cache(generic.MAX_CACHED_KERNELS)
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function, inline=True)


@functools.lru_cache(generic.MAX_CACHED_KERNELS)
def _call(
    definition: Definition,
    precision: Precision,
    tree: Any,
    static: tuple[Any, ...],
    positions: tuple[int, ...],
) -> Callable[..., Any]:
    """Return the differentiable function of the arrays among the arguments."""
    return _Call(definition, precision, tree, static, positions).differentiable()


def _with_rank_promotion(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function broadcast as the standard does, whatever JAX is configured to."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with jax.numpy_rank_promotion("allow"):
            return function(*args)

    return call


class _Call:
    """An implementation with all arguments but its arrays."""

    def __init__(
        self,
        definition: Definition,
        precision: Precision,
        tree: Any,
        static: tuple[Any, ...],
        positions: tuple[int, ...],
    ) -> None:
        self.definition, self.is_fast = definition, precision == "fast"
        self.native = NATIVE.get(definition.name) if self.is_fast else None
        self.tree, self.static, self.positions = tree, static, positions
        places = definition.bind(jax.tree_util.tree_unflatten(tree, range(len(static))))
        names = {
            leaf: name
            for name, place in places.items()
            for leaf in jax.tree_util.tree_leaves(place)
        }
        self.names = [definition.first, *(names[i] for i in positions)]
        """The argument that each array belongs to."""

    def differentiable(self) -> Callable[..., Any]:
        """Return the function of the arrays, with the written derivative if it has all that."""
        definition = self.definition
        learned = any(definition.parameters[name].differentiable for name in self.names[1:])
        if not has_written_vjp(definition, learned):
            return self.value
        value = jax.custom_jvp(self.value)
        value.defjvp(_with_rank_promotion(self.jvp), symbolic_zeros=True)
        return value

    def value(self, x: Any, *arrays: Any) -> Any:
        """Return the result."""
        native = self._native(x, self.native.bind) if self.native else None
        if native is not None:
            return native(x)
        return _with_rank_promotion(self._evaluate)(x, self._parameters(arrays))

    def jvp(self, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return the result and its tangent, or several of each."""
        x, *arrays = primals
        jvp = self._native(x, self.native.jvp) if self.native and self.native.jvp else None
        if jvp is not None:
            result = self.differentiable()(x)
            return result, jvp(tangents[0], x, result)
        result = self.value(*primals)
        definition, first = self.definition, self.definition.first
        parameters = self._parameters(arrays)
        moving = {
            name: tangent
            for name, tangent in zip(self.names, tangents, strict=True)
            if type(tangent) is not SymbolicZero
            and (name == first or definition.parameters[name].differentiable)
        }
        terms = []
        if first in moving and definition.derivative is not None:
            dy_dx = self._evaluate(x, parameters, derivative)
            terms.append(moving.pop(first) * dy_dx)
        others = [name for name in moving if name != first]
        if others and definition.parameter_derivatives is not None:
            values = definition.check(x, parameters, BACKEND)
            found = self._evaluate(x, parameters, parameter_derivatives)
            for name in others:
                tangent, dy = moving.pop(name), found[name]
                tangent_out = tangent_of_parameter(definition, _XP, values, name, tangent, x, dy)
                terms.append(tangent_out)
        if moving:
            impl = functools.partial(gradients, wrt=list(moving))
            vjp = jax.linear_transpose(lambda g: self._evaluate(x, parameters, impl, g), result)
            terms.append(vjp(moving)[0])
        if not terms:  # zeros beside others would be kept for the backward pass
            return result, jax.tree_util.tree_map(jnp.zeros_like, result)
        total = jax.tree_util.tree_map(lambda *parts: functools.reduce(operator.add, parts), *terms)
        return result, jax.tree_util.tree_map(lambda y, t: t.astype(y.dtype), result, total)

    def _native(self, x: Any, bind: Callable[..., Any]) -> Any:
        """Return what an entry of the native table has for x, or None."""
        assert self.native is not None
        is_accurate = jnp.issubdtype(x.dtype, jnp.floating)
        is_accurate &= x.dtype not in self.native.inaccurate_dtypes
        if self.positions or not is_accurate or 0 in x.shape:
            return None
        return bind(*self.definition.check(x, self._parameters(()), BACKEND))

    def _parameters(self, arrays: Iterable[Any]) -> tuple[Any, ...]:
        leaves = generic.merge_args(self.static, self.positions, arrays)
        parameters: tuple[Any, ...] = jax.tree_util.tree_unflatten(self.tree, leaves)
        return parameters

    def _evaluate(
        self,
        x: Any,
        parameters: tuple[Any, ...],
        impl: Callable[..., Any] | None = None,
        g: Any = None,
    ) -> Any:
        definition = self.definition
        values = definition.check(x, parameters, BACKEND)
        is_exact = not self.is_fast and x.dtype.itemsize < 4
        exact_rounding = is_exact and g is None  # it is not linear in g
        compute, result = generic.compute_and_result_dtypes(
            definition, _XP, x, values, jnp.result_type(float), exact_rounding
        )
        xp = _XP
        if self.is_fast and compute == jnp.float32 and definition.is_elementwise:
            shown = jax.tree_util.tree_map(_stand_in, values)
            with jax.ensure_compile_time_eval():
                is_enough = is_fast_enough_in_float32(
                    definition, shown, _FAST, impl=impl, compiler=jax.jit
                )
            xp = _FAST if is_enough else _XP
        # float64 may be switched off
        is_wider = compute in (jnp.float64, jnp.complex128) and compute != result
        with jax.enable_x64(True) if is_wider else nullcontext():

            def evaluate(x: Any, values: tuple[Any, ...], g: Any) -> Any:
                return generic.evaluate(definition, xp, x, values, compute, result, impl, g)

            is_along_axis = definition.output_axis == "kept"
            axis = definition.bind(values).get("axis") if is_along_axis else None
            axes = _explicitly_sharded(x, axis)
            if not axes:
                return evaluate(x, values, g)
            try:
                return evaluate(x, values, g)
            except Exception:  # JAX sorts and slices along no sharded axis
                return _evaluate_gathered(evaluate, x, values, g, axes)


def _explicitly_sharded(x: Any, axis: Any) -> tuple[int, ...]:
    """Return which of the axes are sharded by a type: in JAX's explicit mode."""
    sharding = jax.typeof(x).sharding
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    if jax.sharding.AxisType.Explicit not in sharding.mesh.axis_types:
        return ()
    return tuple(i for i in axes if sharding.spec.partitions[i] is not None)


def _evaluate_gathered(
    evaluate: Callable[..., Any], x: Any, values: tuple[Any, ...], g: Any, axes: tuple[int, ...]
) -> Any:
    """Evaluate with all arrays gathered along the axes, and shard what has the shape of x."""
    sharding = jax.typeof(x).sharding
    reshard: Any = jax.sharding.reshard

    def gather(value: Any) -> Any:
        if not isinstance(value, jax.Array):
            return value
        spec = list(jax.typeof(value).sharding.spec.partitions)
        for i in axes:
            if i >= x.ndim - value.ndim:
                spec[i - x.ndim + value.ndim] = None
        return reshard(value, sharding.update(spec=spec))

    def shard(result: Any) -> Any:
        return reshard(result, sharding) if result.shape == x.shape else result

    found = evaluate(gather(x), tuple(map(gather, values)), gather(g))
    return generic.tree_map(shard, found)


def _stand_in(value: Any) -> Any:
    """Return a number or the like, and the type of an array."""
    return jax.Array if isinstance(value, jax.Array) else value
