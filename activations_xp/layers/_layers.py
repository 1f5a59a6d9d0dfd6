"""The layers, each written once: its parameters, its value and its gradients.

The modules of the libraries combine each of these classes with a base that stores the parameters.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from .. import functions as ax
from .._dispatch import backend_of, sample_uniform
from .._errors import describe_value
from .._registry import get
from .._torch_masks import mask_kwargs
from .._typing import NUMBER, A, P

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

T = TypeVar("T")


def _signature_of(function: Callable[P, T]) -> Callable[[Any], Callable[P, T]]:
    """Give a method the signature of another, for type checkers."""
    return lambda method: method


class Layer(ABC):
    """A function together with its parameters.

    The abstract methods are those of a library's base: they store the parameters, under the names
    of PyTorch's modules, which have a dot for a module within a module.
    """

    training: bool
    _rng: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = inspect.getdoc(cls)  # help() does not show the page of a base

    @abstractmethod
    def _init(self, rng: Any, dtype: Any, device: Any) -> None:
        """Initialize the object, with `rng`, `dtype` and `device` for the parameters to come."""

    @abstractmethod
    def _full(self, shape: tuple[int, ...], value: float) -> Any:
        """Return an array filled with `value`, of that dtype and on that device."""

    @abstractmethod
    def _register(self, name: str, array: Any) -> None:
        """Add a parameter."""

    @abstractmethod
    def _named_parameters(self) -> dict[str, Any]:
        """Return the parameters by name, as the arrays that gradients flow to."""

    @classmethod
    @abstractmethod
    def _kwargs_from_state(cls, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of a layer that can load this ``state_dict``."""

    @abstractmethod
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Set the parameters."""

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Return a layer with the parameters of a ``state_dict``, of PyTorch or of such a layer.

        Parameters
        ----------
        state_dict : mapping from str to array
            The arrays may be of any library. Their dtype is kept unless `dtype` is given.
        *args, **kwargs
            The arguments of the layer.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape.
        """
        names = inspect.signature(cls).parameters
        for name, value in cls._kwargs_from_state(state_dict).items():
            if name in names and kwargs.get(name) is None:
                kwargs[name] = value
        layer = cls(*args, **kwargs)
        layer.load_state_dict(state_dict)
        return layer

    def __getstate__(self) -> dict[str, Any]:
        # the generator is no longer needed, and PyTorch's cannot be copied
        return {**self.__dict__, "_rng": None}

    def _register_uniform(self, name: str, shape: tuple[int, ...], bound: float) -> None:
        """Add a parameter drawn uniformly from [-bound, bound)."""
        empty = self._full((0,), 0.0)
        sample = sample_uniform(type(self).__name__, shape, empty, self._next_rng())
        self._register(name, backend_of(empty).xp.astype((sample * 2 - 1) * bound, empty.dtype))

    def _next_rng(self) -> Any:
        """Return a generator that advances by itself, or a key that was not used before."""
        return self._rng

    def _noise_kwargs(self, training: bool | None, /, **kwargs: Any) -> dict[str, Any]:
        """Return the keyword arguments in training, and none otherwise."""
        return kwargs if (self.training if training is None else training) else {}

    def extra_repr(self) -> str:
        """Return the constructor's arguments as text, without those that are parameters."""
        known = {n: getattr(self, n, None) for n in inspect.signature(type(self)).parameters}
        known |= known.pop("constants", None) or {}
        omitted = self._named_parameters().keys()
        shown = {n: v for n, v in known.items() if n not in omitted and v not in (None, ())}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class Activation(Layer):
    """Any activation function of this package, by its name, with parameters to be learned.

    Parameters
    ----------
    name : str
        A name that `activations_xp.get` knows.
    learned : sequence of str, optional
        The parameters of the function that become parameters of the layer. Each starts from the
        number in `constants`, or else from the function's default.
    dtype, device : optional
        The dtype and device of the parameters.
    **constants
        The other parameters of the function.
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
        self._init(None, dtype, device)
        function: Any = get({"name": name, **constants})
        self.name, self.learned = name, tuple(learned)
        self.function = getattr(function, "func", function)
        self.constants = dict(getattr(function, "keywords", {}))
        for parameter in self.learned:
            self._register_constant(parameter, ())

    def _register_constant(self, name: str, shape: tuple[int, ...]) -> None:
        """Turn a constant into a parameter of this shape."""
        definition = self.function.definition
        names = [n for n, p in definition.parameters.items() if p.number and p.differentiable]
        layer = type(self).__name__
        if name not in names:
            raise ValueError(
                f"{layer}: learned must be of {names} of {self.name}, got {describe_value(name)}"
            )
        value = self.constants.pop(name, definition.defaults.get(name))
        if not isinstance(value, NUMBER):
            raise TypeError(
                f"{layer}: {name} must begin with a number, got {describe_value(value)}"
            )
        self._register(name, self._full(shape, value))

    def forward(
        self, x: A, *, training: bool | None = None, rng: Any = None, noise: Any = None
    ) -> A:
        """Apply the function to x.

        Parameters
        ----------
        x : array of real numbers
        training, rng, noise : optional
            The arguments of a random function. By default `training` is the mode of the layer.
        """
        kwargs = self._kwargs(x, training, rng=rng, noise=noise)
        return self.function(x, **kwargs)  # type: ignore[no-any-return]

    def vjp(
        self, g: Any, x: Any, *, training: bool | None = None, noise: Any = None
    ) -> dict[str, Any]:
        """Return the gradients of x, as "x", and of the parameters, by their names.

        Parameters
        ----------
        g : array of real floating numbers
            The gradient of the result, in its shape; the other arguments are those of the layer.
        """
        gradients = self.function.vjp(g, x, **self._kwargs(x, training, noise=noise))
        return {name: gradients[name] for name in ("x", *self._named_parameters())}

    def _kwargs(self, x: Any, training: bool | None, **noise: Any) -> dict[str, Any]:
        definition = self.function.definition
        kwargs = {**self.constants, **self._named_parameters()}
        if "training" in definition.parameters:
            return kwargs | self._noise_kwargs(training, training=True, **noise)
        return kwargs if definition.noise is None else kwargs | noise

    if TYPE_CHECKING:

        @_signature_of(forward)
        def __call__(self) -> Any: ...


class PReLU(Activation):
    """Parametric rectified linear unit, x where x > 0 and weight*x elsewhere.

    Parameters
    ----------
    num_parameters : int, optional
        1, or the size of axis 1 for one weight per channel.
    init : float, optional
        The initial value of the weights.
    dtype, device : optional
        The dtype and device of the weights.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None, device: Any = None
    ):
        super().__init__("prelu", weight=init, dtype=dtype, device=device)
        self.num_parameters, self.init = num_parameters, init
        self._register_constant("weight", (num_parameters,))

    def _kwargs(self, x: Any, training: bool | None, **noise: Any) -> dict[str, Any]:
        axis = 1 if getattr(x, "ndim", 0) > 1 else None
        return {**super()._kwargs(x, training, **noise), "axis": axis}


class Swish(Activation):
    """Swish, x*sigmoid(beta*x), with a learned beta.

    Parameters
    ----------
    beta : float, optional
        The initial value.
    dtype, device : optional
        The dtype and device of beta.
    """

    def __init__(self, beta: float = 1.0, *, dtype: Any = None, device: Any = None):
        super().__init__("silu", learned=("beta",), beta=beta, dtype=dtype, device=device)


class Maxout(Activation):
    """The largest of each group of elements along an axis.

    Parameters
    ----------
    num_units : int
        The number of groups.
    axis : int, optional
    """

    def __init__(self, num_units: int, axis: int = -1):
        super().__init__("maxout", num_units=num_units, axis=axis)


class RReLU(Activation):
    """Randomized leaky rectified linear unit, with random negative slopes in training.

    Parameters
    ----------
    lower, upper : float, optional
        The bounds of the slopes; in evaluation the slope is their mean.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3):
        super().__init__("rrelu", lower=lower, upper=upper)


class Dropout(Activation):
    """Dropout: in training an element is 0 with probability p and x/(1 - p) otherwise.

    Parameters
    ----------
    p : float, optional
        The probability that an element is dropped.
    """

    def __init__(self, p: float = 0.5):
        super().__init__("dropout", p=p)


class AlphaDropout(Activation):
    """Dropout in training that keeps the mean and the variance after `selu`.

    Parameters
    ----------
    p : float, optional
        The probability that an element is dropped.
    """

    def __init__(self, p: float = 0.5):
        super().__init__("alpha_dropout", p=p)


class FeatureAlphaDropout(Activation):
    """Dropout in training of whole channels that keeps the mean and the variance after `selu`.

    Parameters
    ----------
    p : float, optional
        The probability that a channel is dropped.
    """

    def __init__(self, p: float = 0.5):
        super().__init__("feature_alpha_dropout", p=p)


class MultiheadAttention(Layer):
    """Multi-head attention with the arguments and parameters of torch.nn.MultiheadAttention.

    As there, True in `key_padding_mask` and in a boolean `attn_mask` forbids attention, and a mask
    of numbers is added to the scores. Unlike there, a query that attends to nothing gives no NaN,
    and the result is the same whether the weights are needed or not.

    Parameters
    ----------
    embed_dim : int
        The size of the last axis of the queries and of the result.
    num_heads : int
        A divisor of `embed_dim`.
    dropout : float, optional
        The probability that a weight is 0 in training.
    bias, add_bias_kv, add_zero_attn : bool, optional
        Whether the projections add a bias, whether one more key and value are learned, and whether
        one more of zeros are added.
    kdim, vdim : int, optional
        The sizes of the last axes of the keys and of the values; by default `embed_dim`.
    batch_first : bool, optional
        Whether the axes are (batch, length, features) rather than (length, batch, features).
        Without a batch they are (length, features).
    rng, dtype, device : optional
        The random number generator for the initial parameters, and their dtype and device.

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
        self._init(rng, dtype, device)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.add_zero_attn, self.batch_first = add_zero_attn, batch_first
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        shapes = {"in_proj_weight": (3 * embed_dim, embed_dim)}
        if not self.kdim == self.vdim == embed_dim:
            sizes = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
            shapes = {f"{name}_proj_weight": (embed_dim, size) for name, size in sizes.items()}
        for name, shape in shapes.items():
            self._register_uniform(name, shape, sqrt(6 / sum(shape)))  # Glorot's bound
        if bias:
            self._register("in_proj_bias", self._full((3 * embed_dim,), 0.0))
        if add_bias_kv:
            for name in ("bias_k", "bias_v"):
                self._register_uniform(name, (1, 1, embed_dim), sqrt(3 / embed_dim))
        self._register_uniform("out_proj.weight", (embed_dim, embed_dim), sqrt(1 / embed_dim))
        if bias:
            self._register("out_proj.bias", self._full((embed_dim,), 0.0))

    def forward(
        self,
        query: A,
        key: A,
        value: A,
        key_padding_mask: A | None = None,
        need_weights: bool = True,
        attn_mask: A | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        training: bool | None = None,
        rng: Any = None,
        noise: Any = None,
    ) -> tuple[A, A | None]:
        """Return the values that the queries attend to, and the weights or None.

        Parameters
        ----------
        query : array
            Its shape is (length, batch, embed_dim), (batch, length, embed_dim) with `batch_first`,
            or (length, embed_dim).
        key, value : arrays
            They have a length of their own, and a last axis of size `kdim` and `vdim`.
        key_padding_mask : array of shape (batch, key length), optional
        need_weights, average_attn_weights : bool, optional
            Whether the weights are returned, and whether as their mean over the heads.
        attn_mask : array, optional
            Its shape is (query length, key length) or (batch*heads, query length, key length).
        is_causal : bool, optional
            Whether no query attends to a later key, whatever `attn_mask` is.
        training, rng, noise : optional
            The arguments of the dropout. By default `training` is the mode of the layer.
        """
        result: tuple[A, A | None] = ax.multi_head_attention(
            query,
            key,
            value,
            need_weights=need_weights,
            average_attn_weights=average_attn_weights,
            **self._kwargs(query, key, attn_mask, key_padding_mask, is_causal),
            **self._noise_kwargs(training, dropout=self.dropout, rng=rng, noise=noise),
        )
        return result

    def vjp(
        self,
        g: tuple[Any, Any],
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
    ) -> dict[str, Any]:
        """Return the gradients of "query", "key" and "value" and of the parameters, by their names.

        Parameters
        ----------
        g : tuple of two arrays
            The gradients of the result and of the weights, of which one may be None. The other
            arguments are those of the layer.
        """
        gradients = ax.multi_head_attention.vjp(
            g,
            query,
            key,
            value,
            need_weights=need_weights,
            average_attn_weights=average_attn_weights,
            **self._kwargs(query, key, attn_mask, key_padding_mask, is_causal),
            **self._noise_kwargs(training, dropout=self.dropout, noise=noise),
        )
        names = ("query", "key", "value", *self._named_parameters())
        return {name: gradients[name.replace(".", "_")] for name in names}

    def _kwargs(
        self, query: Any, key: Any, attn_mask: Any, key_padding_mask: Any, is_causal: bool
    ) -> dict[str, Any]:
        weights = {name.replace(".", "_"): w for name, w in self._named_parameters().items()}
        length_axis = -2 if self.batch_first else 0
        batch = query.shape[:-2] if self.batch_first else query.shape[1:-1]
        score_shape = (*batch, self.num_heads, query.shape[length_axis], key.shape[length_axis])
        return {
            **weights,
            **mask_kwargs("MultiheadAttention", score_shape, query, attn_mask, key_padding_mask),
            "num_heads": self.num_heads,
            "add_zero_attn": self.add_zero_attn,
            "batch_first": self.batch_first,
            "is_causal": is_causal,
        }

    if TYPE_CHECKING:

        @_signature_of(forward)
        def __call__(self) -> Any: ...


class ASMoutput(NamedTuple, Generic[A]):
    """The result of the adaptive softmax, as in PyTorch."""

    output: A
    loss: A


class AdaptiveLogSoftmaxWithLoss(Layer):
    """Softmax over many classes in clusters, with torch.nn.AdaptiveLogSoftmaxWithLoss's parameters.

    Parameters
    ----------
    in_features : int
        The size of the last axis of x.
    n_classes : int
    cutoffs : sequence of int
        The first class of each cluster, increasing; the classes below have no cluster.
    div_value : float, optional
        The factor by which each cluster has fewer features than the one before.
    head_bias : bool, optional
        Whether the head adds a bias.
    ignore_index : int, optional
        A target that does not count.
    reduction : {"mean", "sum", "none"}, optional
        The reduction of the loss.
    rng, dtype, device : optional
        The random number generator for the initial parameters, and their dtype and device.

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
        bounds = [*cutoffs, n_classes]
        if len(bounds) < 2 or any(a >= b for a, b in pairwise([0, *bounds])):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must increase from 1 at least to n_classes - 1"
                f" at most, got {list(cutoffs)} with n_classes {n_classes}"
            )
        self._init(rng, dtype, device)
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs, self.div_value, self.head_bias = tuple(bounds), div_value, head_bias
        self.ignore_index, self.reduction = ignore_index, reduction
        n_head = bounds[0] + len(bounds) - 1
        self._register_linear("head", n_head, in_features)
        if head_bias:
            self._register_uniform("head.bias", (n_head,), sqrt(1 / in_features))
        for i, (start, end) in enumerate(pairwise(bounds)):
            features = int(in_features // div_value ** (i + 1))
            if features < 1:
                raise ValueError(
                    "AdaptiveLogSoftmaxWithLoss: div_value leaves no features to cluster"
                    f" {i}, got {div_value} with in_features {in_features}"
                )
            self._register_linear(f"tail.{i}.0", features, in_features)
            self._register_linear(f"tail.{i}.1", end - start, features)

    def _register_linear(self, name: str, n_out: int, n_in: int) -> None:
        self._register_uniform(f"{name}.weight", (n_out, n_in), sqrt(1 / n_in))

    def forward(self, x: A, target: A) -> ASMoutput[A]:
        """Return the log-probability of each target, and the loss.

        Parameters
        ----------
        x : array of shape (..., in_features)
        target : array of integers of shape (...)
        """
        return ASMoutput(*ax.adaptive_log_softmax_with_loss(x, target, **self._loss_kwargs()))

    def log_prob(self, x: A) -> A:
        """Return the log-probabilities of all classes, of shape (..., n_classes)."""
        return ax.adaptive_log_prob(x, **self._kwargs())  # type: ignore[no-any-return]

    def predict(self, x: A) -> A:
        """Return the most probable class for each x, of shape (...)."""
        return ax.adaptive_predict(x, **self._kwargs())  # type: ignore[no-any-return]

    def vjp(self, g: tuple[Any, Any], x: Any, target: Any) -> dict[str, Any]:
        """Return the gradients of x, as "x", and of the parameters, by their names.

        Parameters
        ----------
        g : tuple of two arrays
            The gradients of the log-probabilities and of the loss, of which one may be None.
        """
        kwargs = self._loss_kwargs()
        by_argument = ax.adaptive_log_softmax_with_loss.vjp(tuple(g), x, target, **kwargs)
        gradients = {"x": by_argument["x"], "head.weight": by_argument["head_weight"]}
        if self.head_bias:
            gradients["head.bias"] = by_argument["head_bias"]
        for i, pair in enumerate(by_argument["tail_weights"]):
            gradients |= {f"tail.{i}.{j}.weight": part for j, part in enumerate(pair)}
        return gradients

    def _loss_kwargs(self) -> dict[str, Any]:
        loss = {"ignore_index": self.ignore_index, "reduction": self.reduction}
        return {**self._kwargs(), **loss}

    def _kwargs(self) -> dict[str, Any]:
        weights = self._named_parameters()
        tails = [f"tail.{i}" for i in range(len(self.cutoffs) - 1)]
        return {
            "head_weight": weights["head.weight"],
            "tail_weights": [(weights[f"{t}.0.weight"], weights[f"{t}.1.weight"]) for t in tails],
            "head_bias": weights.get("head.bias"),
        }

    if TYPE_CHECKING:

        @_signature_of(forward)
        def __call__(self) -> Any: ...
