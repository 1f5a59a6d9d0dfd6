# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Examples for mypy and pyright: the type of an array is kept, and wrong parameters are refused.

Each ``type: ignore`` is an error that both must report.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, assert_type

import jax
import numpy as np
import numpy.typing as npt
import torch

import activations_xp as ax
import activations_xp.dropin.jax as nn
import activations_xp.dropin.keras as activations
import activations_xp.dropin.keras2 as activations2
import activations_xp.dropin.keras_ops as ops
import activations_xp.dropin.scipy as special
import activations_xp.dropin.torch as F  # noqa: N812
import activations_xp.layers.jax as jax_layers
import activations_xp.layers.numpy as numpy_layers
import activations_xp.layers.torch as torch_layers


def array_type_is_kept(n: npt.NDArray[np.float32], t: torch.Tensor, j: jax.Array, f: float) -> None:
    assert_type(ax.gelu(n), npt.NDArray[np.float32])
    assert_type(ax.gelu(t), torch.Tensor)
    assert_type(ax.gelu(j), jax.Array)
    assert_type(ax.gelu(f), float)
    assert_type(ax.silu.derivative(t), torch.Tensor)
    assert_type(ax.silu.value_and_derivative(t), tuple[torch.Tensor, torch.Tensor])
    assert_type(ax.prelu.vjp(j, j, 0.25), dict[str, jax.Array])
    assert_type(ax.softmax.vjp(n, n, axis=0), dict[str, npt.NDArray[np.float32]])
    ax.softmax.vjp(n)  # type: ignore
    assert_type(ax.elu(n, alpha=0.5, out=n), npt.NDArray[np.float32])
    assert_type(ax.softmax.accurate(n, axis=(0, 1)), npt.NDArray[np.float32])
    with ax.precision("accurate"):
        assert_type(ax.softmax(t, axis=0), torch.Tensor)


def array_type_is_kept_by_dropins(
    n: npt.NDArray[np.float32], t: torch.Tensor, j: jax.Array
) -> None:
    assert_type(F.gelu(n, approximate="tanh"), npt.NDArray[np.float32])
    assert_type(F.leaky_relu_(t, 0.1), torch.Tensor)
    assert_type(F.celu(t, inplace=True), torch.Tensor)
    assert_type(F.softmax(j, dim=0, dtype=j.dtype), jax.Array)
    assert_type(special.expit(n, n), npt.NDArray[np.float32])
    assert_type(special.softmax(t, axis=(0, 1)), torch.Tensor)
    F.gelu(n, approximate=True)  # type: ignore
    F.silu(n, "yes")  # type: ignore
    F.celu(n, alpha="1")  # type: ignore
    F.softmax(n, axis=0)  # type: ignore
    special.expit(x=n)  # type: ignore


def parameters_are_accepted(t: torch.Tensor, mask: torch.Tensor) -> None:
    ax.gelu(t, "tanh")
    ax.gelu(t, approximate=True)
    ax.elu(t, alpha=mask)
    ax.softmax(t, axis=None, where=mask)
    ax.prelu(t, 0.25, axis=1)


def wrong_arguments_are_refused(t: torch.Tensor) -> None:
    ax.gelu(t, "fast")  # type: ignore
    ax.gelu(t, approx="tanh")  # type: ignore
    ax.elu(t, alpha="1")  # type: ignore
    ax.softmax(t, axis="last")  # type: ignore
    ax.relu([1.0, -1.0])  # type: ignore
    ax.relu("x")  # type: ignore
    ax.prelu(t)  # type: ignore
    ax.gelu(x=t)  # type: ignore
    with ax.precision("auto"):  # type: ignore
        pass


def random_functions(t: torch.Tensor, j: jax.Array, n: npt.NDArray[np.float32]) -> None:
    assert_type(ax.dropout(t, 0.5, True), torch.Tensor)
    assert_type(ax.rrelu(j, training=True, rng=jax.random.key(0)), jax.Array)
    assert_type(ax.gumbel_softmax(n, 0.5, axis=0, noise=n), npt.NDArray[np.float32])
    assert_type(F.dropout(n, 0.5, rng=np.random.default_rng()), npt.NDArray[np.float32])
    ax.dropout(t, q=0.5)  # type: ignore
    ax.gumbel_softmax(t, hard="yes")  # type: ignore
    ax.dropout([1.0])  # type: ignore


def operations(t: torch.Tensor, n: npt.NDArray[np.float32], mask: torch.Tensor) -> None:
    attend = ax.scaled_dot_product_attention
    assert_type(attend(t, t, t, mask=mask, dropout=0.1), torch.Tensor)
    assert_type(attend(n, key=n, value=n, is_causal="lower_right"), npt.NDArray[np.float32])
    assert_type(attend(t, t, t, dropout=0.1, rng=torch.Generator()), torch.Tensor)
    attend(query=t, key=t, value=t)
    assert_type(ax.multi_head_attention(t, t, t, 2, t, in_proj_weight=t), tuple[Any, Any])
    assert_type(ax.adaptive_log_softmax_with_loss(t, t, t, [(t, t)]), tuple[Any, Any])
    assert_type(ax.adaptive_predict(n, n, [(n, n)]), npt.NDArray[np.float32])
    attend(t, t)  # type: ignore
    attend(t, t, "value")  # type: ignore
    attend(t, t, t, masks=mask)  # type: ignore
    attend(t, t, t, is_causal="yes")  # type: ignore
    attend(query=t, key=t, values=t)  # type: ignore
    ax.multi_head_attention(t, t, t, "2", t)  # type: ignore
    ax.multi_head_attention(t, t, t, 2, t, need_weights="yes")  # type: ignore
    ax.adaptive_log_prob(t, t, 5)  # type: ignore
    ax.adaptive_log_softmax_with_loss(t, t, t, [(t, t)], reduction="max")  # type: ignore


def functions_by_name(t: torch.Tensor, j: jax.Array) -> None:
    function = ax.get("gelu")
    assert_type(function(t), torch.Tensor)
    assert_type(function(1.0), float)
    assert_type(ax.get({"name": "leaky_relu", "negative_slope": 0.2})(j), jax.Array)
    assert_type(ax.name_of(function), str | dict[str, Any])
    ax.get("scaled_dot_product_attention")(t, t, t)
    ax.get(1)  # type: ignore
    function()  # type: ignore
    function("x")  # type: ignore


def takes_functions(
    of_tensors: Callable[[torch.Tensor], torch.Tensor], of_numbers: Callable[[float], float]
) -> None: ...


def functions_as_arguments(t: torch.Tensor) -> None:
    """A partial is no function of numbers alone."""
    leaky = functools.partial(ax.leaky_relu, negative_slope=0.2)
    leaky(t).detach()
    takes_functions(leaky, leaky)
    takes_functions(ax.gelu, ax.gelu)
    takes_functions(ax.get("gelu"), ax.get("gelu"))
    assert_type(list(map(ax.gelu, [t])), list[torch.Tensor])
    takes_functions("gelu", ax.gelu)  # type: ignore
    takes_functions(ax.prelu, ax.gelu)  # type: ignore


def array_type_is_kept_by_layers(n: npt.NDArray[np.float32], t: torch.Tensor, j: jax.Array) -> None:
    assert_type(torch_layers.PReLU(3, init=0.1)(t), torch.Tensor)
    assert_type(jax_layers.Dropout(0.5)(j, training=True, rng=jax.random.key(0)), jax.Array)
    layer = numpy_layers.Swish()
    assert_type(layer(n), npt.NDArray[np.float32])
    assert_type(layer.vjp(n, n), dict[str, Any])
    assert_type(torch_layers.PReLU.from_state_dict({"weight": n}), torch_layers.PReLU)
    torch_layers.PReLU(slope=0.1)  # type: ignore
    layer(n, beta=1.0)  # type: ignore


def layers_of_functions(n: npt.NDArray[np.float32], t: torch.Tensor, j: jax.Array) -> None:
    assert_type(torch_layers.GELU("tanh", inplace=True)(t), torch.Tensor)
    assert_type(jax_layers.SwiGLU(axis=0, gate="first")(j), jax.Array)
    assert_type(numpy_layers.Softmax(dim=-1)(n), npt.NDArray[np.float32])
    assert_type(torch_layers.ACONC(1.2, learned=["p1", "beta"])(t), torch.Tensor)
    torch.nn.Sequential(torch_layers.SiLU(), torch_layers.Activation(ax.mish))
    activation: type[torch.nn.Module] = torch_layers.Hardswish
    activation()
    torch_layers.GELU("fast")  # type: ignore
    torch_layers.GELU(approx="tanh")  # type: ignore
    torch_layers.LeakyReLU("0.1")  # type: ignore
    torch_layers.LeakyReLU(t)  # type: ignore
    torch_layers.ELU(learned=["beta"])  # type: ignore
    torch_layers.Threshold(0.1)  # type: ignore
    torch_layers.Softmax(axis=0)  # type: ignore
    torch_layers.Softmax(inplace=True)  # type: ignore
    torch_layers.GELU()(t, approximate="tanh")  # type: ignore
    torch_layers.Gelu()  # type: ignore
    report = torch_layers.convert(torch.nn.Sequential())
    assert_type(report.left, dict[str, str])
    torch_layers.convert(torch.relu)  # type: ignore
    torch_layers.MultiheadAttention(8, 2, 0.0, device="cpu", dtype=t.dtype).reset_parameters()


def array_type_is_kept_by_other_dropins(
    n: npt.NDArray[np.float32], t: torch.Tensor, j: jax.Array
) -> None:
    assert_type(nn.gelu(t, approximate=False), torch.Tensor)
    assert_type(nn.logsumexp(n, axis=0), npt.NDArray[np.float32])
    assert_type(nn.logsumexp(j, return_sign=True), tuple[jax.Array, jax.Array])
    assert_type(activations.relu(t, max_value=6), torch.Tensor)
    assert_type(activations2.relu(j, alpha=0.1), jax.Array)
    assert_type(ops.normalize(n, axis=(0, 1), order=3), npt.NDArray[np.float32])
    nn.gelu(t, "tanh")  # type: ignore
    nn.glu(t, dim=0)  # type: ignore
    activations.relu(t, alpha=0.1)  # type: ignore
    activations2.hard_sigmoid(t, 0.2)  # type: ignore
    ops.one_hot(t, 3, sparse=True)  # type: ignore
