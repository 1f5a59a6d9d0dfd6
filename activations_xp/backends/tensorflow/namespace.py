"""The functions of the array API standard on TensorFlow's tensors.

``tf.experimental.numpy`` promotes as NumPy once did, and a tensor has NumPy's operators only after
a switch that holds for the whole program. Implementations get an `Array` around a tensor instead.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

from ..._typing import NUMBER


class Size:
    """A size that is not known while a function is traced, as a tensor."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __eq__(self, other: object) -> bool:
        # arrays whose sizes are unknown have the same ones, or one of them is known to be 1
        return isinstance(other, Size)

    __hash__ = None  # type: ignore[assignment]

    def __mod__(self, divisor: int) -> int:
        """Return 0, which is checked when the graph runs."""
        message = f"{divisor} must divide a size"
        tf.debugging.assert_equal(self.tensor % divisor, 0, message)
        return 0

    def __repr__(self) -> str:
        return "?"


def _on_sizes(name: str, *, reflected: bool = False) -> Callable[[Size, Any], Any]:
    function = getattr(operator, name)

    def method(self: Size, other: Any) -> Any:
        if not isinstance(other, (int, Size)):
            return NotImplemented
        pair = self.tensor, other.tensor if isinstance(other, Size) else other
        return Size(function(*(pair[::-1] if reflected else pair)))

    return method


for _name in ("add", "sub", "mul", "floordiv"):
    setattr(Size, f"__{_name}__", _on_sizes(_name))
    setattr(Size, f"__r{_name}__", _on_sizes(_name, reflected=True))


class Array:
    """A tensor with the attributes, operators and promotions of the standard."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    @property
    def dtype(self) -> Any:
        return self.tensor.dtype

    @property
    def ndim(self) -> int:
        return len(self.tensor.shape)

    @property
    def shape(self) -> tuple[Any, ...]:
        shape: list[Any] = list(self.tensor.shape)
        if None in shape:
            sizes = tf.shape(self.tensor)
            shape = [Size(sizes[i]) if n is None else n for i, n in enumerate(shape)]
        return tuple(shape)

    def __getitem__(self, index: Any) -> Array:
        def resolve(part: Any) -> Any:
            if isinstance(part, slice):
                return slice(*map(resolve, (part.start, part.stop, part.step)))
            return part.tensor if isinstance(part, Size) else part

        parts = index if isinstance(index, tuple) else (index,)
        return Array(self.tensor[tuple(map(resolve, parts))])

    def tolist(self) -> Any:
        return self.tensor.numpy().tolist()

    def __int__(self) -> int:
        return int(self.tensor)

    def __float__(self) -> float:
        return float(self.tensor)

    def __bool__(self) -> bool:
        return bool(self.tensor)


Array.__module__, Array.__name__, Array.__qualname__ = "tensorflow", "Tensor", "Tensor"
"""The name by which messages call it."""


def unwrap(value: Any) -> Any:
    """Return the tensor in an array or in a size, and another value itself."""
    return value.tensor if isinstance(value, (Array, Size)) else value


def is_tensor(value: Any) -> bool:
    return isinstance(value, (tf.Tensor, tf.Variable))


def _together(*values: Any) -> list[Any]:
    """Return values as tensors of the dtype that they promote to; numbers take that of arrays."""
    tensors = [unwrap(value) for value in values]
    dtypes = [t.dtype for t, v in zip(tensors, values, strict=True) if not _is_number(v)]
    if not dtypes:
        return list(map(tf.convert_to_tensor, tensors))
    dtype = dtypes[0] if all(d == dtypes[0] for d in dtypes) else result_type(*dtypes)
    if any(isinstance(v, float) for v in values) and not dtype.is_floating | dtype.is_complex:
        dtype = tf.float32
    return [_cast(tensor, dtype) for tensor in tensors]


def _is_number(value: Any) -> bool:
    return isinstance(value, (*NUMBER, complex, Size))


def _cast(value: Any, dtype: Any) -> Any:
    """Return a tensor of a dtype; a number beyond its range becomes infinite.

    TensorFlow's optimizer of graphs makes x of (x + 1) - 1, which loses what a rounding error is
    found by, unless it takes the number for an input.
    """
    if not is_tensor(value):
        number = tf.constant(np.asarray(value).astype(dtype.as_numpy_dtype))
        if tf.executing_eagerly() or not dtype.is_floating:
            return number
        return tf.raw_ops.PlaceholderWithDefault(input=number, shape=())
    return value if value.dtype == dtype else tf.cast(value, dtype)


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of tensors take arrays, of which its results are arrays, too."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        nested = (v for value in given if isinstance(value, (tuple, list)) for v in value)
        is_wrapped = any(isinstance(value, Array) for value in (*given, *nested))
        result = function(*map(_unwrap_all, args), **{k: _unwrap_all(v) for k, v in kwargs.items()})
        return _wrap_all(result) if is_wrapped else result

    return call


def _unwrap_all(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(map(_unwrap_all, value))
    return value.tensor if isinstance(value, Array) else value


def _wrap_all(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_wrap_all, value))
    return Array(value) if is_tensor(value) else value


def _operator(
    function: Callable[..., Any], *, reflected: bool = False
) -> Callable[[Array, Any], Any]:
    def method(self: Array, other: Any) -> Any:
        if not isinstance(other, (Array, *NUMBER, complex, Size)) and not is_tensor(other):
            return NotImplemented
        a, b = _together(self, other)
        return Array(function(b, a) if reflected else function(a, b))

    return method


_BINARY = {
    "add": tf.add,
    "sub": tf.subtract,
    "mul": tf.multiply,
    "truediv": tf.truediv,
    "floordiv": tf.math.floordiv,
    "mod": tf.math.floormod,
    "pow": tf.pow,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "matmul": lambda a, b: _matmul(a, b),
}
_COMPARISONS = {
    "lt": tf.less,
    "le": tf.less_equal,
    "gt": tf.greater,
    "ge": tf.greater_equal,
    "eq": tf.equal,
    "ne": tf.not_equal,
}
for _name, _function in {**_BINARY, **_COMPARISONS}.items():
    setattr(Array, f"__{_name}__", _operator(_function))
for _name, _function in _BINARY.items():
    setattr(Array, f"__r{_name}__", _operator(_function, reflected=True))
for _name, _function in {"neg": tf.negative, "invert": operator.invert, "abs": tf.abs}.items():
    setattr(Array, f"__{_name}__", _wrapped(_function))
Array.__hash__ = None  # type: ignore[assignment]


def result_type(*values: Any) -> Any:
    """Return the dtype that arrays and dtypes promote to."""
    dtypes = [unwrap(v).dtype if isinstance(v, Array) or is_tensor(v) else v for v in values]
    return tf.as_dtype(np.result_type(*(dtype.as_numpy_dtype for dtype in dtypes)))


_KINDS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda dtype: dtype.is_bool,
    "signed integer": lambda dtype: dtype.is_integer and not dtype.is_unsigned,
    "unsigned integer": lambda dtype: dtype.is_integer and dtype.is_unsigned,
    "integral": lambda dtype: dtype.is_integer,
    "real floating": lambda dtype: dtype.is_floating and dtype.size > 1,
    "complex floating": lambda dtype: dtype.is_complex,
}
_KINDS["numeric"] = lambda dtype: any(
    _KINDS[kind](dtype) for kind in ("integral", "real floating", "complex floating")
)


def isdtype(dtype: Any, kinds: Any) -> bool:
    """Return whether a dtype is of one of the kinds, or one of the dtypes."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if dtype.is_quantized:
        return False
    return any(_KINDS[k](dtype) if isinstance(k, str) else dtype == k for k in kinds)


def finfo(dtype: Any) -> Any:
    """Return the limits of a floating dtype, or those of an array."""
    dtype = dtype if isinstance(dtype, tf.DType) else dtype.dtype
    info: Any = ml_dtypes.finfo(dtype.as_numpy_dtype)  # type: ignore[no-untyped-call]
    names = ("eps", "max", "min", "tiny")
    limits = {name: float(getattr(info, name)) for name in names}
    return SimpleNamespace(
        bits=int(info.bits), dtype=dtype, smallest_normal=limits["tiny"], **limits
    )


def iinfo(dtype: Any) -> Any:
    """Return the limits of a dtype of integers."""
    return np.iinfo(dtype.as_numpy_dtype)


def asarray(value: Any, dtype: Any = None, device: Any = None, copy: Any = None) -> Any:
    """Return a tensor."""
    if is_tensor(value):
        return value if dtype in (None, value.dtype) else tf.cast(value, dtype)
    return tf.convert_to_tensor(value, dtype=dtype)


def _astype(x: Any, dtype: Any, copy: bool = True) -> Any:
    if not isinstance(dtype, tf.DType):
        dtype = tf.as_dtype(dtype)
    if x.dtype.is_complex and not dtype.is_complex:
        x = tf.math.real(x)
    return x if x.dtype == dtype else tf.cast(x, dtype)


def shape_of(shape: Any) -> Any:
    """Return a shape as TensorFlow takes it, a tensor if one of its sizes is unknown."""
    shape = [shape] if isinstance(shape, (int, Size)) else list(shape)
    return tf.stack(list(map(unwrap, shape))) if _has_unknown(shape) else shape


def _has_unknown(shape: Iterable[Any]) -> bool:
    return any(isinstance(n, Size) for n in shape)


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    @_wrapped
    def call(x: Any, y: Any) -> Any:
        return function(*_together(x, y))

    return call


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    @_wrapped
    def call(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        axis = list(axis) if isinstance(axis, tuple) else axis
        return function(x, axis=axis, keepdims=keepdims, **options)

    return call


def _sum(x: Any, axis: Any, keepdims: bool, dtype: Any = None) -> Any:
    x = _to_sum(x) if dtype is None else _astype(x, dtype)
    axes = axis if isinstance(axis, list) else () if axis is None else (axis,)
    for i in axes:
        x = _sum_groups(x, i % len(x.shape))
    return tf.reduce_sum(x, axis, keepdims)


_GROUP = 512
"""The elements that are added one after the other."""


def _sum_groups(x: Any, axis: int) -> Any:
    """Return the sums of groups along an axis: TensorFlow adds up long axes without groups."""
    size = x.shape[axis]
    if x.dtype.is_integer or (size is not None and size <= 4 * _GROUP):
        return x
    shape, before = tf.shape(x), (slice(None),) * axis
    count = shape[axis] // _GROUP if size is None else size // _GROUP
    grouped = tf.concat([shape[:axis], [count, _GROUP], shape[axis + 1 :]], 0)
    groups = tf.reshape(x[(*before, slice(count * _GROUP))], grouped)
    rest = tf.reduce_sum(x[(*before, slice(count * _GROUP, None))], axis, keepdims=True)
    sums = tf.concat([tf.reduce_sum(groups, axis + 1), rest], axis)
    return sums if size is None else _sum_groups(sums, axis)


def _to_sum(x: Any) -> Any:
    """Return x in the dtype of its sum, which is wide for integers."""
    if not x.dtype.is_integer:
        return x
    return _astype(x, tf.uint64 if x.dtype.is_unsigned else tf.int64)


@_wrapped
def where(condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds, and y elsewhere."""
    return tf.where(condition, *_together(x, y))


def _matmul(x: Any, y: Any) -> Any:
    if len(x.shape) == 1:
        return tf.squeeze(_matmul(x[None, :], y), -2)
    if len(y.shape) == 1:
        return tf.squeeze(tf.matmul(x, y[:, None]), -1)
    return tf.matmul(x, y)


def _argmax(x: Any, axis: int, keepdims: bool = False) -> Any:
    index = tf.argmax(x, axis)
    return tf.expand_dims(index, axis) if keepdims else index


def _sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    return tf.sort(x, axis, "DESCENDING" if descending else "ASCENDING")


def _argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    return tf.argsort(x, axis, "DESCENDING" if descending else "ASCENDING", stable)


def _copysign(x: Any, y: Any) -> Any:
    bits = {2: tf.int16, 4: tf.int32, 8: tf.int64}[y.dtype.size]
    size = tf.abs(x)
    return tf.where(tf.bitcast(y, bits) < 0, -size, size)


def _hypot(x: Any, y: Any) -> Any:
    x, y = tf.abs(x), tf.abs(y)
    is_infinite = (x == np.inf) | (y == np.inf)  # also beside NaN
    large, small = tf.maximum(x, y), tf.minimum(x, y)
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    ratio = tf.where(is_infinite, zero, small) / tf.where(is_infinite | (large == 0), one, large)
    large = tf.where(is_infinite, one / zero, large)
    return large * tf.sqrt(1 + ratio * ratio)


def _transpose(x: Any, axes: Any) -> Any:
    return tf.transpose(x, list(axes))


def _matrix_transpose(x: Any) -> Any:
    return tf.linalg.matrix_transpose(x)


def _moveaxis(x: Any, source: int, destination: int) -> Any:
    n = len(x.shape)
    axes = [i for i in range(n) if i != source % n]
    axes.insert(destination % n, source % n)
    return tf.transpose(x, axes)


def _take(x: Any, indices: Any, axis: int | None = None) -> Any:
    return tf.gather(x, indices, axis=0 if axis is None else axis)


def _take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    axis %= len(x.shape)
    return tf.gather(x, indices, axis=axis, batch_dims=axis)


def _nonzero(x: Any) -> Any:
    return tuple(tf.unstack(tf.where(x), axis=1))


def _full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    return tf.fill(tf.shape(x), tf.cast(fill_value, dtype or x.dtype))


def _as_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    @_wrapped
    def call(x: Any, shape: Any) -> Any:
        return function(x, shape_of(shape))

    return call


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Any:
    """Return the numbers from a start to a stop."""
    bounds = (0, start) if stop is None else (start, stop)
    return tf.range(*map(unwrap, bounds), step, dtype=dtype)


def ones(shape: Any, dtype: Any = tf.float32, device: Any = None) -> Any:
    """Return an array of ones."""
    return tf.ones(shape_of(shape), dtype)


def zeros(shape: Any, dtype: Any = tf.float32, device: Any = None) -> Any:
    """Return an array of zeros."""
    return tf.zeros(shape_of(shape), dtype)


def full(shape: Any, fill_value: Any, dtype: Any = tf.float32, device: Any = None) -> Any:
    """Return an array of one number."""
    return tf.fill(shape_of(shape), tf.constant(fill_value, dtype))


def _is_known(size: Any) -> bool:
    return not isinstance(size, Size)


NAMES: dict[str, Any] = {
    "__name__": "tensorflow",
    "is_known": _is_known,
    "isdtype": isdtype,
    "finfo": finfo,
    "iinfo": iinfo,
    "result_type": result_type,
    "asarray": asarray,
    "arange": arange,
    "full": full,
    "ones": ones,
    "zeros": zeros,
    "where": where,
    "bool": tf.bool,
    **{name: getattr(tf, name) for name in ("bfloat16", "float16", "float32", "float64")},
    **{f"int{n}": getattr(tf, f"int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}": getattr(tf, f"uint{n}") for n in (8, 16, 32, 64)},
    **{name: getattr(tf, name) for name in ("complex64", "complex128")},
    **{
        name: _reduction(function)
        for name, function in {
            "all": tf.reduce_all,
            "any": tf.reduce_any,
            "max": tf.reduce_max,
            "mean": tf.reduce_mean,
            "min": tf.reduce_min,
            "sum": _sum,
        }.items()
    },
    **{
        name: _binary(function)
        for name, function in {
            "atan2": tf.atan2,
            "copysign": _copysign,
            "divide": tf.truediv,
            "equal": tf.equal,
            "hypot": _hypot,
            "matmul": _matmul,
            "maximum": tf.maximum,
            "minimum": tf.minimum,
            "multiply": tf.multiply,
            "pow": tf.pow,
        }.items()
    },
    **{name: _as_shape(getattr(tf, name)) for name in ("broadcast_to", "reshape")},
    **{
        name: _wrapped(function)
        for name, function in {
            "abs": tf.abs,
            "argmax": _argmax,
            "argsort": _argsort,
            "astype": _astype,
            "complex": tf.complex,
            "concat": lambda arrays, axis=0: tf.concat(_together(*arrays), axis),
            "conj": tf.math.conj,
            "cos": tf.cos,
            "cumulative_sum": lambda x, axis=0: tf.cumsum(_to_sum(x), axis),
            "exp": tf.exp,
            "expm1": tf.math.expm1,
            "expand_dims": lambda x, axis=0: tf.expand_dims(x, axis),
            "eye": lambda n, dtype=tf.float32: tf.eye(n, dtype=dtype),
            "floor": tf.floor,
            "full_like": _full_like,
            "imag": tf.math.imag,
            "isfinite": tf.math.is_finite,
            "isnan": tf.math.is_nan,
            "log": tf.math.log,
            "log1p": tf.math.log1p,
            "logical_not": tf.logical_not,
            "matrix_transpose": _matrix_transpose,
            "moveaxis": _moveaxis,
            "nonzero": _nonzero,
            "ones_like": lambda x, dtype=None: tf.ones_like(x, dtype),
            "permute_dims": _transpose,
            "real": tf.math.real,
            "roll": lambda x, shift, axis: tf.roll(x, shift, axis),
            "round": tf.round,
            "sign": tf.sign,
            "sin": tf.sin,
            "sort": _sort,
            "sqrt": tf.sqrt,
            "squeeze": lambda x, axis: tf.squeeze(x, axis),
            "stack": lambda arrays, axis=0: tf.stack(_together(*arrays), axis),
            "take": _take,
            "take_along_axis": _take_along_axis,
            "tanh": tf.tanh,
            "zeros_like": lambda x, dtype=None: tf.zeros_like(x, dtype),
        }.items()
    },
}
"""The functions by their names in the standard."""
