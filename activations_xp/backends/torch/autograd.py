"""A function at given parameters on tensors, and the node that autograd records of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch.autograd import forward_ad

from ..._definition import Definition
from ..._gradients import (
    derivative,
    gradients,
    has_written_vjp,
    parameter_derivatives,
    tangent_of_parameter,
)
from .. import generic
from . import autocast, shared
from .namespace import PLAIN, drops_nodes, is_tracing, is_transformed
from .native import ForwardOnly


class Call:
    """A function with its parameters: its value, vjp and jvp as functions of the tensors."""

    def __init__(
        self,
        definition: Definition,
        xp: Any,
        values: tuple[Any, ...],
        compute: torch.dtype,
        result: torch.dtype,
        native: ForwardOnly | None = None,
    ) -> None:
        self.definition, self.xp, self.native = definition, xp, native
        self.compute, self.result = compute, result
        self.positions = tuple(i for i, v in enumerate(values) if isinstance(v, torch.Tensor))
        self.values = tuple(None if isinstance(v, torch.Tensor) else v for v in values)
        names = list(definition.parameters)
        self.names = (definition.first, *(names[i] for i in self.positions))
        is_fast = xp.precision == "fast"
        self.is_plain = not self.positions and values == tuple(definition.defaults.values())
        self.is_shared = is_fast and definition.is_activation and not definition.is_complex
        self.uses_written_vjp = self._has_written_vjp([values[i] for i in self.positions])

    def _has_written_vjp(self, arrays: Sequence[Any]) -> bool:
        """Return whether autograd is given the written derivatives with respect to all tensors."""
        definition = self.definition
        learned = definition.is_activation and any(
            definition.parameters[name].differentiable and array.is_floating_point()
            for name, array in zip(self.names[1:], arrays, strict=True)
        )
        return has_written_vjp(definition, learned)

    def may_need(self, tensors: Sequence[Any]) -> list[bool]:
        """Return which of the tensors may have a gradient."""
        first, *others = (t.is_floating_point() or t.is_complex() for t in tensors)
        specs = (self.definition.parameters[name] for name in self.names[1:])
        both = zip(specs, others, strict=True)
        return [first, *(spec.differentiable and has_slope for spec, has_slope in both)]

    def differentiable(self, *tensors: Any) -> Any:
        """Return the result, as one node of autograd where a derivative may be wanted."""
        if forward_ad._current_level < 0:
            if torch.is_grad_enabled() and _require_grad(tensors):
                if drops_nodes():
                    return self.value(*tensors)
                if is_tracing():
                    return cast(Any, Node).apply(self, *_distinct(tensors))
                if is_transformed():
                    return cast(Any, Node).apply(self, *tensors)
                is_at_result = self.native is not None and self.native.vjp_at_result is not None
                node = NodeOfResult if is_at_result else EagerNode
                return cast(Any, node).apply(self, *tensors)
        elif self.definition.derivative is not None and not is_tracing():
            return cast(Any, NodeWithForwardAD).apply(self, *tensors)
        return self.value(*tensors)

    def differentiable_gradient(self, _: Any, cotangents: tuple[Any, ...]) -> Any:
        """Return our gradient in place of that of torch's node if it will be differentiated."""
        if not torch.is_grad_enabled() or cotangents[0] is None:
            return None
        node: Any = torch._C._current_autograd_node()
        return tuple(self.vjp((True,), *cotangents, node._saved_self))

    def value(self, x: Any, *arrays: Any) -> Any:
        """Return the result, which autograd differentiates operation by operation."""
        native = self.native
        if native is not None:
            if x.dtype != self.result:
                return native.kernel(x.to(self.compute)).to(self.result)  # integers
            if not shared.has_machine_code(x, native.value_from, native.axis):
                return native.kernel(x)
            if self.is_plain or native.axis is not None:  # by default along the last one
                return shared.plain_value(self.definition, x)
            return shared.value(self.definition, x, self.values)
        if self.is_shared and shared.can_share(x, *arrays):
            if self.is_plain:
                return shared.plain_value(self.definition, x)
            return shared.value(self.definition, x, self._merge(arrays))
        return self._evaluate(x, arrays)

    def vjp(self, needed: Sequence[bool], g: Any, x: Any, *arrays: Any) -> list[Any]:
        """Return the gradients of the tensors, or None where none is needed."""
        native = self.native
        if native is not None and not torch.is_grad_enabled():
            if shared.has_machine_code(x, native.vjp_from, None, g):
                found = shared.vjp(self.definition, self.names, g.contiguous(), x, self.values)
                return [found[self.names[0]]]
            return [native.vjp(g, x)]
        wrt = [name for name, need in zip(self.names, needed, strict=True) if need]
        if self.is_shared and shared.can_share(x, g, *arrays):
            found = shared.vjp(self.definition, tuple(wrt), g, x, self._merge(arrays))
        else:
            found = self._evaluate(x, arrays, partial(gradients, wrt=wrt), g)
        return [found.get(name) for name in self.names]

    def vjp_at_result(self, g: Any, y: Any) -> Any:
        """Return the gradient of x from the result."""
        native = cast(ForwardOnly, self.native)
        impl = native.impl_at_result
        is_graph = torch.is_grad_enabled()  # the gradient will be differentiated
        if impl and not is_graph and shared.has_machine_code(y, 0, native.axis, g):
            return shared.vjp_at_result(self.definition, impl, g.contiguous(), y)
        return cast(Any, native.vjp_at_result)(g, y)

    def jvp(self, tangents: Sequence[Any], x: Any, *arrays: Any) -> Any:
        """Return the tangent of the result."""
        definition = self.definition
        tangent, *others = tangents
        total: Any = 0
        if tangent is not None:
            total = tangent * self._evaluate(x, arrays, derivative, dtype=self.compute)
        moving = {  # vmap makes zeros of the tangents that there are not
            name: t
            for name, t in zip(self.names[1:], others, strict=True)
            if t is not None and definition.parameters[name].differentiable
        }
        if moving:
            impl = parameter_derivatives
            found = self._evaluate(x, arrays, impl, dtype=self.compute)
            values = self._merge(arrays)
            for name, t in moving.items():
                total = total + tangent_of_parameter(
                    definition, self.xp, values, name, t, x, found[name]
                )
        return total.to(self.result)

    def _evaluate(
        self,
        x: Any,
        arrays: tuple[Any, ...],
        impl: Callable[..., Any] | None = None,
        g: Any = None,
        dtype: Any = None,
    ) -> Any:
        values, result = self._merge(arrays), self.result if dtype is None else dtype
        given = self.definition, self.xp, x, values, self.compute, result, impl, g
        if self.definition.is_activation:  # without products of matrices, which autocast rounds
            return generic.evaluate(*given)
        with autocast.switched_off(x):
            return generic.evaluate(*given)

    def _merge(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """Return the parameters."""
        return generic.merge_args(self.values, self.positions, arrays)


def _distinct(tensors: Sequence[Any]) -> list[Any]:
    """Return tensors of which no two are the same object, which dynamo refuses."""
    return [
        t.view_as(t) if any(t is other for other in tensors[:i]) else t
        for i, t in enumerate(tensors)
    ]


class NativeGraph(Call):
    """A call whose value torch's own kernel has computed, with the graph for its gradients."""

    def __init__(self, call: Call, kernel: Callable[..., Any], *tensors: Any) -> None:
        self.__dict__.update(call.__dict__)
        is_wanted = torch.is_grad_enabled() and _require_grad(tensors)
        # a compiler or exporter has the kernel as it is
        is_eager = not is_tracing() and not drops_nodes() and all(type(t) in PLAIN for t in tensors)
        self.is_detached = is_wanted and is_eager
        if self.is_detached:
            tensors = tuple(t.detach().requires_grad_(t.requires_grad) for t in tensors)
        self.leaves = tensors
        self.output = kernel(tensors[0], *self._merge(tensors[1:]))

    def value(self, x: Any, *arrays: Any) -> Any:
        return self.output.detach()

    def vjp(self, needed: Sequence[bool], g: Any, x: Any, *arrays: Any) -> list[Any]:
        if torch.is_grad_enabled():  # the gradients will be differentiated
            return super().vjp(needed, g, x, *arrays)
        wanted = [t for t in self.leaves if t.requires_grad]
        found = iter(torch.autograd.grad(self.output, wanted, g, retain_graph=True))
        return [next(found) if t.requires_grad else None for t in self.leaves]


def _require_grad(tensors: tuple[Any, ...]) -> bool:
    for t in tensors:  # noqa: SIM110, in half of the time of any()
        if t.requires_grad:
            return True
    return False


class Node(torch.autograd.Function):
    """A node that saves the tensors, and computes their gradients from them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        value = call.value(*tensors)
        # autograd takes no input for an output, and not every kind of tensor has views
        return value.clone() if value is tensors[0] else value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors)
        if isinstance(output, tuple):  # zeros of any class would be plain tensors
            ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Any, *others: Any) -> Any:
        g = (g, *others) if others else g
        call, tensors = ctx.call, ctx.saved_tensors
        # dynamo takes no input of a transform inside another for one that needs a gradient
        needed = call.may_need(tensors) if is_tracing() else ctx.needs_input_grad[1:]
        return None, *call.vjp(needed, g, *tensors)


class EagerNode(torch.autograd.Function):
    """The node without transforms: torch takes 10 us to bind the arguments of the others."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = Node.forward(*inputs)
        Node.setup_context(ctx, inputs, output)
        return output

    backward = Node.backward


class NodeOfResult(torch.autograd.Function):
    """The node of a native kernel whose gradient is a function of its result, which it saves."""

    @staticmethod
    def forward(ctx: Any, call: Call, x: Any) -> Any:
        y = call.value(x)
        ctx.call = call
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return None, ctx.call.vjp_at_result(g, *ctx.saved_tensors)


class NodeWithForwardAD(Node):
    """The node for forward mode as well, which dynamo refuses to trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        Node.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        return ctx.call.jvp(tangents, *ctx.saved_tensors)
