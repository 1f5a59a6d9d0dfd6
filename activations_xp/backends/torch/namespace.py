"""torch under the names of the array API standard.

The wrappers of array-api-compat cost 2 to 8 us, and some of them break ``fullgraph=True`` or vmap.
"""

from __future__ import annotations

from types import NoneType
from typing import Any

import array_api_compat.torch as compat
import torch
from torch._C import _is_tracing, _len_torch_dispatch_stack

from ..._typing import Precision
from .. import generic

PLAIN = (torch.Tensor, torch.nn.Parameter)
"""The classes whose memory is their elements; fake, sharded or nested tensors may have none."""

OTHERS = {"CausalBias", "MaskedTensor", "UninitializedTensorMixin"}
"""Classes of tensors whose elements are not what they mean."""


def is_other(tensor_type: type) -> bool:
    """Return whether a type is one of `OTHERS`, which need not have been imported."""
    return any(
        t.__name__ in OTHERS and t.__module__.startswith("torch.") for t in tensor_type.__mro__
    )


is_tracing = torch.compiler.is_dynamo_compiling
is_exporting = torch.compiler.is_exporting

_KINDS: dict[torch.dtype, str] = {
    dtype: kind
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype)
    for kind in ("bool", "integral", "real floating", "complex floating")
    if compat.isdtype(dtype, kind) and not (dtype.is_floating_point and dtype.itemsize == 1)
}


def isdtype(dtype: torch.dtype, kinds: str | tuple[str, ...]) -> bool:
    """Return whether a dtype is of one of these kinds; array-api-compat takes 3 us for it."""
    return _KINDS.get(dtype) in ((kinds,) if isinstance(kinds, str) else kinds)


def is_transformed() -> bool:
    """Return whether a transform of torch.func is active."""
    # dynamo, which has an object for None, knows its type alone
    return not isinstance(torch._C._functorch.peek_interpreter_stack(), NoneType)


def is_mapping() -> bool:
    """Return whether torch.func.vmap is active, maybe outside another transform; not in dynamo."""
    if is_tracing() or not is_transformed():
        return False
    active = torch._C._functorch.get_interpreter_stack() or ()
    return any(i.key() == torch._C._functorch.TransformType.Vmap for i in active)


def is_known(size: Any) -> bool:
    """Return whether a size is a number, not a symbol, which is an int for dynamo, too."""
    if not isinstance(size, int) or not is_tracing():
        return isinstance(size, int)
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return bool(has_static_value(size))


def is_recorded() -> bool:
    """Return whether something records torch's operations: a compiler, a trace or a mode."""
    return (
        is_tracing()
        or _is_tracing()  # torch.jit.trace
        or _len_torch_dispatch_stack() > 0  # make_fx, torch.export, FakeTensorMode
    )


def drops_nodes() -> bool:
    """Return whether what records the operations has no place for a node: its gradient is lost."""
    return is_exporting() or (not is_tracing() and _is_tracing())


def _is_making_fx() -> bool:
    """Return whether a mode records a graph; others count or log, and values may be read."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode  # which takes long to import

    return get_proxy_mode() is not None


def is_concrete(x: Any) -> bool:
    """Return whether the values of a tensor may be read."""
    if type(x) not in PLAIN or x.is_meta or is_tracing() or is_transformed():
        return False
    if _is_tracing() or (_len_torch_dispatch_stack() and _is_making_fx()):
        return False
    return not (x.is_cuda and torch.cuda.is_current_stream_capturing())


NAMESPACES: dict[Precision, Any] = {
    precision: generic.extend_namespace(
        torch,
        **generic.one_sided(torch),
        precision=precision,
        astype=lambda x, dtype: x.to(dtype=dtype),
        isdtype=isdtype,
        is_concrete=is_concrete,
        is_known=is_known,
        cumulative_sum=torch.cumsum,
        nonzero=lambda x: torch.nonzero(x, as_tuple=True),
        conj=torch.conj_physical,  # a lazy conjugate has no array of NumPy
        permute_dims=torch.permute,
        matrix_transpose=lambda x: x.transpose(-2, -1),  # the old exporter of ONNX has no mT
        roll=lambda x, shift, axis: torch.roll(x, shift, axis),
        sort=lambda x, axis=-1: torch.sort(x, dim=axis).values,
        take=lambda x, indices, axis: torch.index_select(x, axis, indices),
        take_along_axis=lambda x, indices, axis=-1: torch.gather(x, axis, indices),
        min=torch.amin,
        # torch takes an empty axis for all of them
        max=lambda x, axis, keepdims=False: x if axis == () else torch.amax(x, axis, keepdims),
        sum=lambda x, axis, keepdims=False: x if axis == () else torch.sum(x, axis, keepdims),
    )
    for precision in ("fast", "accurate")
}
