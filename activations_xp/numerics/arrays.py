"""Array manipulation that the array API standard lacks, and the transpose of broadcasting."""

from __future__ import annotations

from math import inf, prod
from typing import Any

from .._typing import NUMBER, Array, Namespace

LARGEST_SIZE = 2**31
"""More than the elements along an axis of a size that a compiler does not know."""

FLOAT32_MAX = (2 - 2.0**-23) * 2.0**127
FLOAT64_MAX = (2 - 2.0**-52) * 2.0**1023


def is_concrete(xp: Namespace, *arrays: Array) -> bool:
    """Return whether the library can read the values of the arrays now."""
    check = getattr(xp, "is_concrete", None)
    return check is not None and all(check(array) for array in arrays)


def is_known(xp: Namespace, *sizes: Any) -> bool:
    """Return whether sizes are numbers, and not symbols of a compiler, None or arrays."""
    check = getattr(xp, "is_known", _is_fixed)
    return all(map(check, sizes))


def _is_fixed(size: Any) -> bool:
    return size is not None and not hasattr(size, "dtype")


def ones_like_nan(xp: Namespace, x: Array) -> Any:
    """Return 1 everywhere, and NaN where x is NaN."""
    return xp.where(x <= inf, 1.0, x)


def zeros_like(xp: Namespace, x: Array) -> Any:
    """Return 0 everywhere, also where x is NaN."""
    return xp.astype(x < -inf, x.dtype)


def mask_to_zero(xp: Namespace, value: Any, where: Any) -> Any:
    """Return `value`, and 0 where the mask is False."""
    return value if where is None else xp.where(where, value, 0.0)


def slice_axis(x: Any, axis: int, cut: slice) -> Any:
    """Return the slice of x along one axis."""
    return x[(*(slice(None),) * axis, cut, ...)]


def arange(xp: Namespace, x: Any, n: int) -> Any:
    """Return 0, 1, ..., n - 1 in the floating dtype and on the device of x, made from x."""
    if not hasattr(xp, "cumulative_sum"):
        is_floating = xp.isdtype(x.dtype, "real floating")  # small integers hold fewer numbers
        return xp.asarray([*range(n)], dtype=x.dtype if is_floating else None)
    nothing = x[(slice(0, 0),) * x.ndim]
    one = xp.ones_like(xp.sum(nothing, axis=tuple(range(x.ndim))))
    return xp.cumulative_sum(xp.broadcast_to(one, (n,)), axis=0) - 1


def take_rows(xp: Namespace, x: Array, index: Array) -> Any:
    """Return the element of each row of a matrix at its index."""
    column = xp.reshape(index, (-1, 1))
    if hasattr(xp, "take_along_axis"):
        return xp.take_along_axis(x, column, axis=1)[:, 0]
    return xp.sum(xp.where(arange(xp, index, x.shape[1]) == column, x, 0.0), axis=1)


def unbroadcast(xp: Namespace, g: Any, shape: Any) -> Any:
    """Sum `g` over the axes along which `shape` was broadcast."""
    shape = tuple(shape)
    if isinstance(g, NUMBER) or tuple(g.shape) == shape:
        return g
    padded = (1,) * (g.ndim - len(shape)) + shape
    axes = tuple(i for i, (m, n) in enumerate(zip(g.shape, padded, strict=True)) if m != n)
    return xp.reshape(xp.sum(g, axis=axes, keepdims=True), shape)


def broadcast_along(
    xp: Namespace, function: str, name: str, value: Any, x: Array, axes: Any
) -> Any:
    """Return `value` in a shape that broadcasts to x.

    It is a number, an array with the sizes of x along `axes`, or one that broadcasts to x.
    """
    if isinstance(value, NUMBER):
        return value
    shape = shape_along(value.shape, x, axes)
    if not broadcasts_to(shape, x.shape):
        raise ValueError(
            f"{function}: {name} of shape {tuple(value.shape)} does not broadcast to x of shape"
            f" {tuple(x.shape)}"
        )
    return xp.reshape(value, shape)


def check_constant_along(function: str, name: str, value: Any, x: Array, axes: Any) -> None:
    """Raise a ValueError if an array that broadcasts to x may differ along the axes."""
    if isinstance(value, NUMBER):
        return
    offset = x.ndim - value.ndim
    if any(i >= offset and value.shape[i - offset] != 1 for i in axes):
        raise ValueError(
            f"{function}: {name} must have size 1 along the axis, got shape {tuple(value.shape)}"
            f" for x of shape {tuple(x.shape)}"
        )


def shape_along(shape: Any, x: Array, axes: Any) -> tuple[int, ...]:
    """Return the shape in which sizes along `axes` broadcast to x, or `shape` if it has others.

    An array of one element broadcasts to every x, also to one of fewer dimensions.
    """
    if len(shape) > x.ndim and prod(shape) == 1:
        return (1,) * x.ndim
    if len(shape) != len(axes):
        return tuple(shape)
    sizes = dict(zip(sorted(axes), shape, strict=True))
    return tuple(sizes.get(i, 1) for i in range(x.ndim))


def broadcasts_to(shape: Any, target: Any) -> bool:
    """Return whether an array of one shape broadcasts to another shape."""
    pairs = zip(shape[::-1], target[::-1], strict=False)
    return len(shape) <= len(target) and all(n in (1, m) for n, m in pairs)


def one_where_zero(xp: Namespace, x: Any) -> Any:
    """Return x, and 1 where x is 0, to be divided by."""
    return xp.where(x == 0, 1.0, x)


def has_none(sizes: Any) -> bool:
    """Return whether a size is None; a symbol of a compiler cannot be compared with that."""
    return any(size is None for size in sizes)


def axes_size(xp: Namespace, x: Array, axes: Any) -> Any:
    """Return the number of elements of x along some axes, an array where a size is None."""
    sizes = [x.shape[i] for i in axes]
    if has_none(sizes):
        return xp.sum(xp.ones_like(x), axis=axes, keepdims=True)
    return prod(sizes)


def count_true(xp: Namespace, mask: Array, x: Array, axes: Any) -> Any:
    """Return how many elements of a mask are True along some axes, and 1 where none is.

    The mask has the shape of x, and the result its dtype.
    """
    return one_where_zero(xp, xp.sum(xp.astype(mask, x.dtype), axis=axes, keepdims=True))


def largest_finite(xp: Namespace, x: Array) -> float:
    """Return the largest finite number of the dtype of x, float32 or float64."""
    return FLOAT32_MAX if x.dtype == xp.float32 else FLOAT64_MAX


def clip_to_finite(xp: Namespace, x: Array) -> Any:
    """Return x, and the finite number that is nearest to it where x is infinite."""
    largest = largest_finite(xp, x)
    return xp.maximum(xp.minimum(x, largest), -largest)


def is_array(value: Any) -> bool:
    """Return whether a parameter is an array, not a number or None."""
    return value is not None and not isinstance(value, NUMBER)


def is_zero(value: Any) -> bool:
    """Return whether a parameter is the number 0."""
    return isinstance(value, NUMBER) and value == 0
