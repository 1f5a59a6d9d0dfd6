"""TensorFlow: TensorFlow's own kernels, or functions traced once, with the written derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from math import pi, sqrt
from types import SimpleNamespace
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.eager import record

from ..._definition import Definition
from ..._gradients import derivative, gradients, has_written_vjp
from ..._typing import Kernel, Precision
from ...numerics import special
from .. import generic
from ..base import Backend
from ..judge import is_fast_enough_in_float32
from . import namespace
from .namespace import Array, unwrap

_STANDARD = SimpleNamespace(**namespace.NAMES)
_PLAIN = generic.extend_namespace(_STANDARD, **generic.one_sided(_STANDARD))


def _replace(function: Callable[..., Any], dy_dx: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return our function in place of TensorFlow's, with its derivative as a function of x and y.

    An infinite cotangent may reach it, which a polynomial would turn into NaN at 0.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(x: Any) -> Any:
        y = function(_PLAIN, Array(x)).tensor
        return y, lambda g: g * dy_dx(x, y)

    return lambda x: Array(run(x.tensor))


_XP = generic.extend_namespace(
    _PLAIN,
    expm1=_replace(special.expm1, lambda x, y: tf.exp(x)),
    log1p=_replace(special.log1p, lambda x, y: 1 / (1 + x)),
    tanh=_replace(special.tanh, lambda x, y: (1 - y) * (1 + y)),
)
"""Our functions replace those of TensorFlow and XLA that are 2 to 97 ulp off."""

_FAST = generic.extend_namespace(
    _PLAIN, is_uncompensated=True, asarray=lambda x, **options: Array(tf.convert_to_tensor(x))
)
"""The namespace of float32 computations that may be a few units off."""


class Native(NamedTuple):
    """An entry of the native table.

    bind : returns TensorFlow's kernel of x for given parameters, or None if it has none
    gradient : whether TensorFlow's gradient of the kernel is accurate, too, or a kernel of the
        derivative; otherwise the written one is traced
    inaccurate_dtypes : the dtypes in which it is not accurate
    longest : the largest size of the axis up to which it is accurate
    """

    bind: Callable[..., Callable[[Any], Any] | None]
    gradient: bool | Callable[[Any], Any] = False
    inaccurate_dtypes: frozenset[Any] = frozenset()
    longest: int | None = None


def _in_32_bits(kernel: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a kernel between whose operations 16-bit floats are not rounded."""

    def run(x: Any) -> Any:
        dtype = x.dtype
        return tf.cast(kernel(tf.cast(x, tf.float32)), dtype) if dtype.size < 4 else kernel(x)

    return run


@_in_32_bits
def _elu(x: Any) -> Any:
    return tf.where(x > 0, x, tf.math.expm1(tf.minimum(x, 0)))


@_in_32_bits
def _elu_derivative(x: Any) -> Any:
    return tf.exp(tf.minimum(x, 0))


@_in_32_bits
def _gelu(x: Any) -> Any:
    return tf.maximum(x, -1e10) * 0.5 * tf.math.erfc(x * -sqrt(0.5))  # -0 at -inf


@_in_32_bits
def _gelu_derivative(x: Any) -> Any:
    x = tf.clip_by_value(x, -1e10, 1e10)
    return 0.5 * tf.math.erfc(x * -sqrt(0.5)) + x * sqrt(0.5 / pi) * tf.exp(-0.5 * x * x)


@_in_32_bits
def _mish(x: Any) -> Any:
    return tf.maximum(x, -1e10) * tf.tanh(tf.nn.softplus(x))


@_in_32_bits
def _ndtr(x: Any) -> Any:
    return tf.math.erfc(x * -sqrt(0.5)) * 0.5


_SLOPE, _LIMIT = 1.0507009873554805, 1.7580993408473766
"""The slope of selu from the right, and its limit at -inf without the sign."""


@_in_32_bits
def _selu(x: Any) -> Any:
    return tf.where(x > 0, _SLOPE * x, _LIMIT * tf.math.expm1(tf.minimum(x, 0)))


@_in_32_bits
def _selu_derivative(x: Any) -> Any:
    return tf.where(x > 0, tf.constant(_SLOPE, x.dtype), _LIMIT * tf.exp(tf.minimum(x, 0)))


@_in_32_bits
def _silu(x: Any) -> Any:
    return tf.maximum(x, -1e10) * tf.sigmoid(x)


@_in_32_bits
def _silu_derivative(x: Any) -> Any:
    s = tf.sigmoid(x)
    return s * (1 + tf.clip_by_value(x, -1e10, 1e10) * (1 - s))


@_in_32_bits
def _softsign(x: Any) -> Any:
    x = tf.clip_by_value(x, -1e30, 1e30)
    return x / (1 + tf.abs(x))


@_in_32_bits
def _softsign_derivative(x: Any) -> Any:
    inverse = 1 / (1 + tf.abs(x))
    return inverse * inverse


def _leaky_relu(slope: float) -> Any:
    return functools.partial(tf.nn.leaky_relu, alpha=slope) if abs(slope) <= 1 else None


def _along_one_axis(kernel: Callable[..., Any]) -> Callable[..., Any]:
    def bind(axis: tuple[int, ...], where: Any) -> Any:
        is_native = where is None and len(axis) == 1
        return _in_32_bits(functools.partial(kernel, axis=axis[0])) if is_native else None

    return bind


def _at(kernel: Callable[[Any], Any], **parameters: Any) -> Callable[..., Any]:
    """Return what has this kernel at these parameters alone, whose names are those of ours."""
    return lambda *values: kernel if values == tuple(parameters.values()) else None


NATIVE: dict[str, Native] = {
    "elu": Native(_at(_elu, alpha=1), _elu_derivative),
    "erf": Native(lambda: tf.math.erf, True, frozenset({tf.float64})),
    "erfc": Native(lambda: tf.math.erfc, True),
    "exponential": Native(lambda: tf.exp, True),
    "gelu": Native(
        lambda approximate: _gelu if approximate in ("none", False) else None, _gelu_derivative
    ),
    "identity": Native(lambda: tf.identity, True),
    "leaky_relu": Native(_leaky_relu, True, frozenset({tf.float64})),
    "log_sigmoid": Native(lambda: tf.math.log_sigmoid, True),
    "log_softmax": Native(_along_one_axis(tf.nn.log_softmax), True, longest=4000),
    "mish": Native(lambda: _mish),
    "ndtr": Native(lambda: _ndtr),
    "relu": Native(
        _at(_in_32_bits(tf.nn.relu), negative_slope=0, max_value=None, threshold=0), True
    ),
    "relu6": Native(lambda: _in_32_bits(tf.nn.relu6), True),
    "selu": Native(lambda: _selu, _selu_derivative),
    "sigmoid": Native(lambda: tf.sigmoid, True),
    "silu": Native(_at(_silu, beta=1), _silu_derivative),
    "softmax": Native(_along_one_axis(tf.nn.softmax), True, longest=4000),
    "softplus": Native(_at(tf.nn.softplus, beta=1, threshold=None), True),
    "softsign": Native(lambda: _softsign, _softsign_derivative),
    "tanh": Native(lambda: tf.tanh, True),
}
"""TensorFlow's own kernels, by function: the only place where this backend names one."""


class TensorFlowBackend(Backend):
    """TensorFlow on any device."""

    name = "tensorflow"
    xp = _XP

    def owns(self, x: Any) -> bool:
        return isinstance(x, (tf.Tensor, tf.Variable, Array))

    def refuses(self, x: Any) -> bool:
        return isinstance(x, (tf.RaggedTensor, tf.SparseTensor, tf.IndexedSlices))

    def device(self, x: Any) -> Any:
        return None  # TensorFlow places arrays itself

    def bind(self, definition: Definition, precision: Precision, array_type: type) -> Kernel:
        kernel = _bind(definition, precision)
        if issubclass(array_type, tf.Tensor):
            return kernel
        return _bind_converted(kernel, is_wrapped=array_type is Array)

    def uniform(self, shape: tuple[int, ...], like: Any, rng: Any) -> Any:
        if not (rng is None or isinstance(rng, tf.random.Generator)):
            raise TypeError("a tf.random.Generator or None")
        dtype = like.dtype if like.dtype in (tf.float32, tf.float64) else tf.float32
        sizes = [Array(like).shape[i] if n is None else n for i, n in enumerate(shape)]
        source = tf.random if rng is None else rng
        return source.uniform(namespace.shape_of(sizes), dtype=dtype)

    def promote(
        self, definition: Definition, x: Any, parameters: tuple[Any, ...]
    ) -> tuple[Any, tuple[Any, ...]]:
        return _wrap(x), tf.nest.map_structure(_wrap, parameters)  # whose sizes may be unknown

    def empty_for(self, rng: Any, dtype: Any) -> Any:
        return tf.zeros(0, dtype) if isinstance(rng, tf.random.Generator) else None

    def write(self, target: Any, value: Any) -> None:
        if not isinstance(target, tf.Variable):
            raise TypeError("TensorFlow's tensors are immutable, tf.Variable is not")
        target.assign(tf.cast(value, target.dtype))


BACKEND = TensorFlowBackend()


def _wrap(value: Any) -> Any:
    return Array(tf.convert_to_tensor(value)) if namespace.is_tensor(value) else value


def _bind_converted(kernel: Kernel, *, is_wrapped: bool) -> Kernel:
    """Return a kernel for variables, or for the arrays of a namespace."""

    def convert(value: Any) -> Any:
        value = unwrap(value)
        return tf.convert_to_tensor(value) if isinstance(value, tf.Variable) else value

    def call(x: Any, types: tuple[type, ...], *parameters: Any) -> Any:
        result = kernel(convert(x), types, *tf.nest.map_structure(convert, parameters))
        return generic.tree_map(Array, result) if is_wrapped else result

    return call


@functools.cache
def _bind(definition: Definition, precision: Precision) -> Kernel:
    """Return a kernel of tensors that is traced once for each set of parameters."""

    def make(x: Any, parameters: tuple[Any, ...]) -> tuple[Callable[..., Any], bool]:
        form = definition.for_dtype(_XP, x.dtype)
        leaves = tf.nest.flatten(parameters)
        positions = tuple(i for i, leaf in enumerate(leaves) if BACKEND.owns(leaf))
        static = tuple(None if i in positions else leaf for i, leaf in enumerate(leaves))
        call = _Call(form, precision, parameters, static, positions)
        arrays = [tf.convert_to_tensor(leaves[i]) for i in positions]
        form.check(Array(x), call.parameters(arrays), BACKEND)
        run = call.bind(x)
        given = zip(parameters, definition.parameters.values(), strict=True)
        if len(positions) == sum(BACKEND.owns(p) and bool(spec.dtypes) for p, spec in given):
            return run, True
        return (lambda x, *_: run(x, *arrays)), False  # those in tuples, or in place of an axis

    return generic.cached_kernel(definition, make, BACKEND)


class _Call:
    """An implementation with all arguments but its arrays."""

    def __init__(
        self,
        definition: Definition,
        precision: Precision,
        structure: tuple[Any, ...],
        static: tuple[Any, ...],
        positions: tuple[int, ...],
    ) -> None:
        self.definition, self.is_fast = definition, precision == "fast"
        self.structure = tf.nest.map_structure(lambda _: 0, structure)
        self.static, self.positions = static, positions
        places = definition.bind(tf.nest.pack_sequence_as(self.structure, range(len(static))))
        names = {leaf: name for name, place in places.items() for leaf in tf.nest.flatten(place)}
        self.names = [definition.first, *(names[i] for i in positions)]
        """The argument that each array belongs to."""

    def bind(self, x: Any) -> Callable[..., Any]:
        """Return the function of arrays like x, with the written derivative if it has all that."""
        native = NATIVE.get(self.definition.name) if self.is_fast else None
        kernel = None if native is None else self._native(native, x)
        if native is None or kernel is None:
            return self._bind_written(None)
        short: Callable[..., Any]
        if native.gradient is True:
            short = kernel
        elif native.gradient:
            short = _choose_by_record(kernel, _with_derivative(kernel, native.gradient))
        else:
            short = self._bind_written(kernel)
        if native.longest is None:
            return short
        long, (axis,) = self._bind_written(None), self._axes(x)

        def run(x: Any) -> Any:
            size = x.shape[axis]
            return (short if size is not None and size <= native.longest else long)(x)

        return run

    def _bind_written(self, kernel: Any) -> Callable[..., Any]:
        """Return the written function, or TensorFlow's, with the written derivative."""
        compiled = kernel or self._traced(self.value)
        if not self._is_differentiable():
            return _choose(compiled, kernel or self.value)
        eager = _with_vjp(compiled, self._traced(self.vjp))
        symbolic = _with_vjp(kernel or self.value, self.vjp)
        return _choose(_choose_by_record(compiled, eager), symbolic)

    def _axes(self, x: Any) -> tuple[int, ...]:
        values = self.definition.check(Array(x), self.parameters(()), BACKEND)
        axes: tuple[int, ...] = self.definition.bind(values)["axis"]
        return axes

    def _traced(self, method: Callable[..., Any]) -> Any:
        """Return a method as a graph: of tensors of any shape, if the function is elementwise."""

        # TensorFlow warns of a method that is traced for many objects
        def function(*arrays: Any) -> Any:
            return method(*arrays)

        function.__name__ = self.definition.name.replace(".", "_")
        graphs = tf.function(function, autograph=False, reduce_retracing=True)
        if self.positions or not self.definition.is_elementwise:
            return graphs
        graph = None

        def run(*arrays: Any) -> Any:
            nonlocal graph
            if tf.config.functions_run_eagerly():
                return graphs(*arrays)
            if graph is None:  # which is called in half the time that `graphs` takes
                graph = graphs.get_concrete_function(
                    *(tf.TensorSpec(None, a.dtype) for a in arrays)
                )
            return graph(*arrays)

        return run

    def _is_differentiable(self) -> bool:
        """Return whether the derivative is written."""
        parameters = self.definition.parameters
        learned = any(parameters[name].differentiable for name in self.names[1:])
        return has_written_vjp(self.definition, learned)

    def _native(self, native: Native, x: Any) -> Any:
        """Return TensorFlow's kernel for arrays like x, or None."""
        if self.positions or not x.dtype.is_floating or x.dtype in native.inaccurate_dtypes:
            return None
        return native.bind(*self.definition.check(Array(x), self.parameters(()), BACKEND))

    def parameters(self, arrays: Iterable[Any]) -> tuple[Any, ...]:
        leaves = generic.merge_args(self.static, self.positions, map(Array, arrays))
        parameters: tuple[Any, ...] = tf.nest.pack_sequence_as(self.structure, leaves)
        return parameters

    def value(self, x: Any, *arrays: Any) -> Any:
        """Return the result."""
        return self._evaluate(x, arrays)

    def vjp(self, g: Any, x: Any, *arrays: Any) -> list[Any]:
        """Return the gradients of the arrays."""
        definition, first = self.definition, self.definition.first
        if len(self.names) == 1 and definition.is_elementwise and not definition.is_complex:
            return [g * self._evaluate(x, arrays, derivative)]
        wrt = [
            name
            for name in dict.fromkeys(self.names)
            if name == first or definition.parameters[name].differentiable
        ]
        impl = functools.partial(gradients, wrt=wrt)
        found = self._evaluate(x, arrays, impl, generic.tree_map(Array, g))
        leaves = {name: iter(tf.nest.flatten(gradient)) for name, gradient in found.items()}
        return [next(leaves[name]) if name in leaves else None for name in self.names]

    def _evaluate(
        self,
        x: Any,
        arrays: Iterable[Any],
        impl: Callable[..., Any] | None = None,
        g: Any = None,
    ) -> Any:
        definition = self.definition
        values = definition.check(Array(x), self.parameters(arrays), BACKEND)
        is_exact = not self.is_fast and x.dtype.size < 4 and g is None  # it is not linear in g
        compute, result = generic.compute_and_result_dtypes(
            definition, _XP, x, values, tf.float32, is_exact
        )
        xp = _XP
        if self.is_fast and compute == tf.float32 and definition.is_elementwise:
            shown = tf.nest.map_structure(_stand_in, values)
            with tf.init_scope():
                is_enough = is_fast_enough_in_float32(definition, shown, _FAST, impl=impl)
            xp = _FAST if is_enough else _XP
        found = generic.evaluate(definition, xp, Array(x), values, compute, result, impl, g)
        return generic.tree_map(unwrap, found)


def _choose(eager: Callable[..., Any], symbolic: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs one thing eagerly, and makes another part of a graph."""

    def run(*arrays: Any) -> Any:
        return (eager if tf.executing_eagerly() else symbolic)(*arrays)

    return run


def _choose_by_record(
    function: Callable[..., Any], differentiable: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function that is differentiable where something records it, or may do so later."""

    def run(*arrays: Any) -> Any:
        is_recorded = record.could_possibly_record() or not tf.executing_eagerly()
        return (differentiable if is_recorded else function)(*arrays)

    return run


def _with_derivative(
    value: Callable[[Any], Any], dy_dx: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    return _with_vjp(value, lambda g, x: g * dy_dx(x))


def _with_vjp(value: Callable[..., Any], vjp: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with a written derivative, of which each result has a cotangent."""

    def run(*arrays: Any) -> Any:
        def gradient(g: Any, *others: Any) -> Any:
            return vjp((g, *others) if others else g, *arrays)

        return value(*arrays), gradient

    differentiable: Callable[..., Any] = tf.custom_gradient(run)
    return differentiable


def _stand_in(value: Any) -> Any:
    """Return a number or the like, and the type of an array."""
    return Array if isinstance(value, Array) else value
