"""The layers, each written once: what it holds, what it computes, and the gradients of that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any, NamedTuple

from .. import functions as ax
from .._activation import get
from .._dispatch import draw, namespace
from .._parameters import NUMBER, aligned, describe, gathered
from ..dropin._conventions import masks

__all__ = [
    "Activation",
    "AdaptiveLogSoftmaxWithLoss",
    "AlphaDropout",
    "Dropout",
    "FeatureAlphaDropout",
    "Maxout",
    "MultiheadAttention",
    "PReLU",
    "RReLU",
    "Swish",
]


class Layer:
    """What all layers have.

    A library's own base says how arrays are held: under names that are those of PyTorch's modules,
    with a dot for a module in a module.
    """

    training: bool
    _rng: Any
    begin: Callable[[Any, Any, Any], None]
    """Make it an object of the library, with `rng`, `dtype` and `device` for its parameters."""
    full: Callable[[tuple[int, ...], float], Any]
    """An array of one number, of that dtype on that device."""
    hold: Callable[[str, Any], None]
    held: Callable[[], dict[str, Any]]
    """All that was held, by name."""
    load_state_dict: Callable[[Mapping[str, Any]], Any]

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The layer with the parameters of a ``state_dict``, PyTorch's or that of such a layer.

        Parameters
        ----------
        state : mapping from str to array
            Arrays of any library. Their dtype is kept, unless `dtype` is given.
        *args, **kwargs
            What the layer is made with.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape.
        """
        takes = inspect.signature(cls).parameters
        for name, value in cls.like(state).items():
            if name in takes and kwargs.get(name) is None:
                kwargs[name] = value
        layer = cls(*args, **kwargs)
        layer.load_state_dict(state)
        return layer

    like: Callable[[Mapping[str, Any]], dict[str, Any]]
    """What a layer is to be made with, to take a state."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rng": None}  # which has done its work, and may not be copied

    def scatter(self, name: str, shape: tuple[int, ...], bound: float) -> None:
        """Hold random numbers, none of them farther from 0."""
        blank = self.full((0,), 0.0)
        noise = draw(type(self).__name__, blank, lambda: shape, self.generator(), None)
        self.hold(name, namespace(blank).astype((noise * 2 - 1) * bound, blank.dtype))

    def generator(self) -> Any:
        """A random number generator, which has not been used if it keeps no state."""
        return self._rng

    def in_training(self, training: bool | None, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, if it is training."""
        return arguments if (self.training if training is None else training) else {}

    def described(self) -> str:
        """What it was made with, but for the parameters."""
        known = {n: getattr(self, n, None) for n in inspect.signature(type(self)).parameters}
        known |= known.pop("constants", None) or {}
        held = self.held()
        given = {n: v for n, v in known.items() if n not in held and v not in (None, ())}
        return ", ".join(f"{name}={value!r}" for name, value in given.items())


class Activation(Layer):
    """Any activation function of this package by its name, with parameters that it learns.

    Parameters
    ----------
    name : str
        As `activations_xp.get` knows it.
    learned : sequence of str, optional
        Parameters of the function that may be arrays and are to be those of the layer. They begin
        with the number in `constants` or with the function's default.
    dtype, device : optional
        Of the parameters.
    **constants
        The function's other parameters.
    """

    def __init__(
        self,
        name: str,
        *,
        learned: Sequence[str] = (),
        dtype: Any = None,
        device: Any = None,
        **constants: Any,
    ):
        self.begin(None, dtype, device)
        function: Any = get({"name": name, **constants})
        self.name, self.learned = name, tuple(learned)
        self.function = getattr(function, "func", function)
        self.constants = dict(getattr(function, "keywords", {}))
        for parameter in self.learned:
            self._learn(parameter, ())

    def _learn(self, name: str, shape: tuple[int, ...]) -> None:
        definition = self.function.definition
        good = [n for n, kind in definition.parameters.items() if kind.is_scalar]
        layer = type(self).__name__
        if name not in good:
            raise ValueError(
                f"{layer}: learned must be of {good} of {self.name}, got {describe(name)}"
            )
        value = self.constants.pop(name, definition.defaults.get(name))
        if not isinstance(value, NUMBER):
            raise TypeError(f"{layer}: {name} must begin with a number, got {describe(value)}")
        self.hold(name, self.full(shape, value))

    def forward(
        self, x: Any, *, training: bool | None = None, rng: Any = None, noise: Any = None
    ) -> Any:
        """The function of x.

        Parameters
        ----------
        x : array of real numbers
        training, rng, noise : optional
            Of a function that leaves something to chance; by default the layer knows whether it is
            training.
        """
        return self.function(x, **self._given(x, training, rng, noise))

    def vjp(self, g: Any, x: Any, *, training: bool | None = None, noise: Any = None) -> Any:
        """The gradient of x from that of the result, and by their names those of the parameters."""
        given = self._given(x, training, None, noise)
        given.pop("rng", None)
        held, gradients = self.held(), {}
        if held:
            slopes = self.function.parameter_derivatives(x, **given)
            axes = () if given.get("axis") is None else (given["axis"] % x.ndim,)
            for name, value in held.items():
                total = gathered(namespace(x), g * slopes[name], aligned(value.shape, x, axes))
                gradients[name] = namespace(x).reshape(total, value.shape)
        return self.function.vjp(x, g, **given), gradients

    def _given(self, x: Any, training: bool | None, rng: Any, noise: Any) -> dict[str, Any]:
        given, chance = {**self.constants, **self.held()}, {"rng": rng, "noise": noise}
        if "training" in self.function.definition.parameters:
            return given | self.in_training(training, {"training": True, **chance})
        return given if self.function.definition.noise is None else given | chance


class PReLU(Activation):
    """Parametric rectified linear unit, x where x > 0, weight*x elsewhere.

    Parameters
    ----------
    num_parameters : int, optional
        1, or the size of axis 1, for a weight of each channel.
    init : float, optional
        What the weights are to begin with.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None, device: Any = None
    ):
        super().__init__("prelu", weight=init, dtype=dtype, device=device)
        self.num_parameters, self.init = num_parameters, init
        self._learn("weight", (num_parameters,))

    def _given(self, x: Any, *chance: Any) -> dict[str, Any]:
        return {**super()._given(x, *chance), "axis": 1 if getattr(x, "ndim", 0) > 1 else None}


class Swish(Activation):
    """Swish, x*sigmoid(beta*x), with the beta that is learned.

    Parameters
    ----------
    beta : float, optional
        What it is to begin with.
    """

    def __init__(self, beta: float = 1.0, *, dtype: Any = None, device: Any = None):
        super().__init__("silu", learned=("beta",), beta=beta, dtype=dtype, device=device)


class Maxout(Activation):
    """The largest of each group of elements along an axis.

    Parameters
    ----------
    num_units : int
        How many groups there are.
    axis : int, optional
    """

    def __init__(self, num_units: int, axis: int = -1):
        super().__init__("maxout", num_units=num_units, axis=axis)


class RReLU(Activation):
    """Randomized leaky rectified linear unit, whose slopes are random while it is training.

    Parameters
    ----------
    lower, upper : float, optional
        The least slope and the largest.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3):
        super().__init__("rrelu", lower=lower, upper=upper)


class Dropout(Activation):
    """Dropout while it is training, 0 with the probability p and x/(1 - p) else.

    Parameters
    ----------
    p : float, optional
        The probability.
    """

    def __init__(self, p: float = 0.5):
        super().__init__("dropout", p=p)


class AlphaDropout(Activation):
    """Dropout that keeps mean and variance, for `selu`, while it is training.

    Parameters
    ----------
    p : float, optional
        The probability.
    """

    def __init__(self, p: float = 0.5):
        super().__init__("alpha_dropout", p=p)


class FeatureAlphaDropout(Activation):
    """The same of whole channels.

    Parameters
    ----------
    p : float, optional
        The probability.
    """

    def __init__(self, p: float = 0.5):
        super().__init__("feature_alpha_dropout", p=p)


class MultiheadAttention(Layer):
    """Attention of several heads, with torch.nn.MultiheadAttention's arguments and parameters.

    As there, True in `key_padding_mask` and in a boolean `attn_mask` is what is not attended to;
    for numbers, they are added to the scores. Otherwise than there, what attends to nothing gives
    no NaN, and the result is the same whether the weights are needed or not.

    Parameters
    ----------
    embed_dim : int
        The size of the last axis of the queries and of the result.
    num_heads : int
        A divisor of it.
    dropout : float, optional
        The probability with which a weight is 0 while it is training.
    bias, add_bias_kv, add_zero_attn : bool, optional
        Whether the projections add a bias; whether there is one more key and value, that is
        learned; and whether there is one of zeros.
    kdim, vdim : int, optional
        The sizes of the last axes of keys and of values, if not `embed_dim`.
    batch_first : bool, optional
        Whether the axes are batch, time and features; else they are time, batch and features.
        Without a batch they are time and features.
    rng, dtype, device : optional
        Of the parameters.

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv:1706.03762.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        rng: Any = None,
        dtype: Any = None,
        device: Any = None,
    ):
        for name, value in (("embed_dim", embed_dim), ("num_heads", num_heads)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"MultiheadAttention: {name} must be a positive integer, got {value!r}"
                )
        if embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim must be divisible by num_heads, got"
                f" {embed_dim} and {num_heads}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(f"MultiheadAttention: dropout must be from 0 to 1, got {dropout}")
        self.begin(rng, dtype, device)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.add_zero_attn, self.batch_first = add_zero_attn, batch_first
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        if self.kdim == self.vdim == embed_dim:
            self._project("in_proj_weight", 3 * embed_dim, embed_dim)
        else:
            for name, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
                self._project(f"{name}_proj_weight", embed_dim, size)
        if bias:
            self.hold("in_proj_bias", self.full((3 * embed_dim,), 0.0))
        if add_bias_kv:
            for name in ("bias_k", "bias_v"):
                self.scatter(name, (1, 1, embed_dim), sqrt(3 / embed_dim))
        self.scatter("out_proj.weight", (embed_dim, embed_dim), sqrt(1 / embed_dim))
        if bias:
            self.hold("out_proj.bias", self.full((embed_dim,), 0.0))

    def _project(self, name: str, rows: int, columns: int) -> None:
        self.scatter(name, (rows, columns), sqrt(6 / (rows + columns)))  # Glorot's bound

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        training: bool | None = None,
        rng: Any = None,
        noise: Any = None,
    ) -> tuple[Any, Any]:
        """The values that the queries attend to, and the weights or None.

        Parameters
        ----------
        query : array, (time, batch, embed_dim), (batch, time, embed_dim) or (time, embed_dim)
        key, value : arrays
            Of another time, with `kdim` and `vdim` for the last axis.
        key_padding_mask : array, (batch, time of the keys), optional
        need_weights, average_attn_weights : bool, optional
            Whether the weights are returned, and as a mean over the heads.
        attn_mask : array, (times) or (batch*heads, times), optional
        is_causal : bool, optional
            Whether no query attends to a later key, whatever `attn_mask` is.
        training, rng, noise : optional
            Of the dropout.
        """
        result, weights = ax.multi_head_attention(
            query,
            key,
            value,
            need_weights=need_weights,
            average_attn_weights=average_attn_weights,
            **self._given(query, key, attn_mask, key_padding_mask, is_causal),
            **self.in_training(training, {"dropout": self.dropout, "rng": rng, "noise": noise}),
        )
        return result, weights

    def vjp(
        self,
        g: Any,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        training: bool | None = None,
        noise: Any = None,
    ) -> Any:
        """The gradients of query, key and value, and by their names those of the parameters.

        Parameters
        ----------
        g : tuple of two
            The gradients of the result and of the weights; None is no gradient.

        The others are those of the layer.
        """
        found = ax.multi_head_attention.vjp(
            g,
            query,
            key,
            value,
            need_weights=need_weights,
            average_attn_weights=average_attn_weights,
            **self._given(query, key, attn_mask, key_padding_mask, is_causal),
            **self.in_training(training, {"dropout": self.dropout, "noise": noise}),
        )
        gradients = {name: found[name.replace(".", "_")] for name in self.held()}
        return tuple(found[name] for name in ("query", "key", "value")), gradients

    def _given(
        self, query: Any, key: Any, attn_mask: Any, key_padding_mask: Any, is_causal: bool
    ) -> dict[str, Any]:
        """Our arguments for PyTorch's."""
        held = {name.replace(".", "_"): array for name, array in self.held().items()}
        time = -2 if self.batch_first else 0
        lead = query.shape[:-2] if self.batch_first else query.shape[1:-1]
        sizes = (*lead, self.num_heads, query.shape[time], key.shape[time])
        return {
            **held,
            **masks("MultiheadAttention", sizes, query, attn_mask, key_padding_mask),
            "num_heads": self.num_heads,
            "add_zero_attn": self.add_zero_attn,
            "batch_first": self.batch_first,
            "is_causal": is_causal,
        }


class ASMoutput(NamedTuple):
    """What the adaptive softmax returns, as in PyTorch."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Layer):
    """Softmax over many classes in clusters, with torch.nn.AdaptiveLogSoftmaxWithLoss's parameters.

    Parameters
    ----------
    in_features : int
        The size of the last axis of x.
    n_classes : int
    cutoffs : sequence of int
        Where the clusters begin, increasing; what is before has no cluster.
    div_value : float, optional
        By how much each cluster has less features than the one before.
    head_bias : bool, optional
        Whether the head adds a bias.
    ignore_index : int, optional
        A target that does not count.
    reduction : {"mean", "sum", "none"}, optional
        Of the loss.
    rng, dtype, device : optional
        Of the parameters.

    References
    ----------
    Grave et al., Efficient softmax approximation for GPUs, arXiv:1609.04309.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        rng: Any = None,
        dtype: Any = None,
        device: Any = None,
    ):
        ends = [*cutoffs, n_classes]
        if len(ends) < 2 or any(a >= b for a, b in pairwise([0, *ends])):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must increase from 1 at least to n_classes - 1"
                f" at most, got {list(cutoffs)} with n_classes {n_classes}"
            )
        self.begin(rng, dtype, device)
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs, self.div_value, self.head_bias = tuple(ends), div_value, head_bias
        self.ignore_index, self.reduction = ignore_index, reduction
        rows = ends[0] + len(ends) - 1
        self._linear("head", rows, in_features)
        if head_bias:
            self.scatter("head.bias", (rows,), sqrt(1 / in_features))
        for i, (start, end) in enumerate(pairwise(ends)):
            hidden = int(in_features // div_value ** (i + 1))
            if hidden < 1:
                raise ValueError(
                    "AdaptiveLogSoftmaxWithLoss: div_value leaves no features to cluster"
                    f" {i}, got {div_value} with in_features {in_features}"
                )
            self._linear(f"tail.{i}.0", hidden, in_features)
            self._linear(f"tail.{i}.1", end - start, hidden)

    def _linear(self, name: str, rows: int, columns: int) -> None:
        self.scatter(f"{name}.weight", (rows, columns), sqrt(1 / columns))

    def forward(self, x: Any, target: Any) -> ASMoutput:
        """The log-probability of each target, and the loss.

        Parameters
        ----------
        x : array, (..., in_features)
        target : array of integers, (...)
        """
        given = {**self._given(), **self._loss()}
        return ASMoutput(*ax.adaptive_log_softmax_with_loss(x, target, **given))

    def log_prob(self, x: Any) -> Any:
        """The log-probabilities of all classes, (..., n_classes)."""
        return ax.adaptive_log_prob(x, **self._given())

    def predict(self, x: Any) -> Any:
        """The most probable class of each row."""
        return ax.adaptive_predict(x, **self._given())

    def vjp(self, g: tuple[Any, Any], x: Any, target: Any) -> Any:
        """The gradient of x from those of the results, and by their names of the parameters."""
        given = {**self._given(), **self._loss()}
        found = ax.adaptive_log_softmax_with_loss.vjp(tuple(g), x, target, **given)
        gradients = {"head.weight": found["head_weight"]}
        if self.head_bias:
            gradients["head.bias"] = found["head_bias"]
        for i, pair in enumerate(found["tail_weights"]):
            gradients |= {f"tail.{i}.{j}.weight": part for j, part in enumerate(pair)}
        return found["x"], gradients

    def _loss(self) -> dict[str, Any]:
        return {"ignore_index": self.ignore_index, "reduction": self.reduction}

    def _given(self) -> dict[str, Any]:
        held = self.held()
        clusters = range(len(self.cutoffs) - 1)
        return {
            "head_weight": held["head.weight"],
            "tail_weights": [tuple(held[f"tail.{i}.{j}.weight"] for j in (0, 1)) for i in clusters],
            "head_bias": held.get("head.bias"),
        }


def made(base: type, module: str) -> dict[str, type]:
    """All layers as classes of a module, which hold their parameters as `base` does."""
    layers = {}
    for name in __all__:
        layer = globals()[name]
        layers[name] = type(name, (layer, base), {"__module__": module, "__doc__": layer.__doc__})
    return layers
