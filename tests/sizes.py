"""Calls of every function with arrays of any size, for the tests of what compilers make of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from oracle import FUNCTIONS, OPERATIONS, map_into_domain, rowwise_parameters

import activations_xp as ax

KEYS_MORE = 3
"""The keys of attention are so many more than the queries."""


@dataclass(frozen=True, eq=False)
class SizedCall:
    """A call of a function whose arrays have axes of a batch and of a length.

    shapes : by argument, a function of the two sizes, which may be symbols
    given : the other arguments, of which those that are arrays have fixed sizes
    kinds : "f" for floats, "i" for classes and "b" for masks, where they are not floats
    """

    name: str
    function: Any
    shapes: dict[str, Callable[[Any, Any], tuple[Any, ...]]]
    given: dict[str, Any]
    kinds: dict[str, str]

    def __str__(self) -> str:
        return self.name

    def kind(self, name: str) -> str:
        return self.kinds.get(name, "f")

    def arrays(self, batch: int, length: int) -> dict[str, np.ndarray]:
        """Return arrays of these sizes."""
        rng = np.random.default_rng(batch)
        shapes = {name: shape(batch, length) for name, shape in self.shapes.items()}
        return {name: self._array(rng, name, shape) for name, shape in shapes.items()}

    def _array(self, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if self.kind(name) == "b":  # the first key is masked for nobody, and nothing for one query
            return rng.random(shape) < 0.7
        if self.kind(name) == "i":
            return rng.integers(0, CLASSES, shape)
        x = rng.normal(size=shape)
        is_x = self.function.definition.is_activation
        return map_into_domain(self.function.definition, x) if is_x else x

    def constants(self, asarray: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the other arguments, with arrays of a library."""

        def convert(value: Any) -> Any:
            if isinstance(value, list):
                return [tuple(map(asarray, pair)) for pair in value]
            return asarray(value) if isinstance(value, np.ndarray) else value

        return {name: convert(value) for name, value in self.given.items()}


FEATURES, CLASSES, HEADS, EMBEDDING = 4, 12, 2, 4


@functools.cache
def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape)


ADAPTIVE = {
    "head_weight": _weights(6, FEATURES),
    "tail_weights": [(_weights(2, FEATURES), _weights(n, 2)) for n in (3, 5)],
    "head_bias": _weights(6),
}
MULTI_HEAD = {
    "num_heads": HEADS,
    "out_proj_weight": _weights(EMBEDDING, EMBEDDING),
    "in_proj_weight": _weights(3 * EMBEDDING, EMBEDDING),
    "in_proj_bias": _weights(3 * EMBEDDING),
}
ADDED_KEYS = {"bias_k": _weights(1, 1, EMBEDDING), "bias_v": _weights(1, 1, EMBEDDING)}


def _rows(b: Any, n: Any) -> tuple[Any, ...]:
    return b, n


def _even_rows(b: Any, n: Any) -> tuple[Any, ...]:
    return b, 2 * n


def _features(b: Any, n: Any) -> tuple[Any, ...]:
    return b, FEATURES


def _batch(b: Any, n: Any) -> tuple[Any, ...]:
    return (b,)


def _queries(b: Any, n: Any) -> tuple[Any, ...]:
    return b, HEADS, n, 8


def _keys(b: Any, n: Any) -> tuple[Any, ...]:
    return b, HEADS, n + KEYS_MORE, 8


def _rows_of_queries(b: Any, n: Any) -> tuple[Any, ...]:
    return b, HEADS, n


def _scores(b: Any, n: Any) -> tuple[Any, ...]:
    return b, 1, n, n + KEYS_MORE


def _embedded(b: Any, n: Any) -> tuple[Any, ...]:
    return b, n, EMBEDDING


def _embedded_keys(b: Any, n: Any) -> tuple[Any, ...]:
    return b, n + KEYS_MORE, EMBEDDING


def _padding(b: Any, n: Any) -> tuple[Any, ...]:
    return b, n + KEYS_MORE


ATTENTION: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "": ({}, {}),
    "causal": ({}, {"is_causal": True}),
    "lower right": ({}, {"is_causal": "lower_right"}),
    "mask": ({"mask": _scores}, {}),
    "bias": ({"bias": _scores}, {}),
    "softcap": ({}, {"softcap": 2.0}),
    "scale by head": ({}, {"scale": np.ones((HEADS, 1, 1))}),
}
MULTI_HEADS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "": ({}, {}),
    "padding": ({"key_mask": _padding}, {"need_weights": True}),
    "added keys": ({}, {**ADDED_KEYS, "add_zero_attn": True, "is_causal": True}),
}


def _operation_calls() -> Iterator[SizedCall]:
    kinds = {"mask": "b", "key_mask": "b", "target": "i"}
    sizes: Any
    for name, (sizes, given) in ATTENTION.items():
        sizes = {"query": _queries, "key": _keys, "value": _keys, **sizes}
        f = ax.scaled_dot_product_attention
        yield SizedCall(f"{f.__name__} {name}".strip(), f, sizes, given, kinds)
    sizes = {"query": _queries, "key": _keys, "value": _keys, "mask": _scores}
    yield SizedCall("attention_with_lse", ax.attention_with_lse, sizes, {}, kinds)
    sizes = {"output": _queries, "lse": _rows_of_queries}
    sizes |= {f"other_{name}": size for name, size in sizes.items()}
    yield SizedCall("merge_attention", ax.merge_attention, sizes, {}, {})
    for name, (sizes, given) in MULTI_HEADS.items():
        sizes = {"query": _embedded, "key": _embedded_keys, "value": _embedded_keys, **sizes}
        f = ax.multi_head_attention
        yield SizedCall(f"{f.__name__} {name}".strip(), f, sizes, {**MULTI_HEAD, **given}, kinds)
    f = ax.adaptive_log_softmax_with_loss
    yield SizedCall(f.__name__, f, {"x": _features, "target": _batch}, ADAPTIVE, kinds)
    for f in (ax.adaptive_log_prob, ax.adaptive_predict):
        yield SizedCall(f.__name__, f, {"x": _features}, ADAPTIVE, kinds)


def _call(f: Any, **given: Any) -> SizedCall:
    shape = _even_rows if {"gate", "num_units"} & set(f.definition.parameters) else _rows
    name = " ".join([f.__name__, *given])
    return SizedCall(name, f, {"x": shape}, {**rowwise_parameters(f), **given}, {})


OPERATION_CALLS = list(_operation_calls())
ACTIVATION_CALLS = [*map(_call, FUNCTIONS), _call(ax.entmax, alpha=1.25)]
"""The first case of each, and one whose computation depends on the size."""

RANDOM_CALLS = [
    *(
        _call(f, training=True, noise=None)
        for f in FUNCTIONS
        if "training" in f.definition.parameters
    ),
    _call(ax.gumbel_softmax, noise=None, hard=True),
    SizedCall(
        "scaled_dot_product_attention dropout",
        ax.scaled_dot_product_attention,
        {"query": _queries, "key": _keys, "value": _keys},
        {"dropout": 0.5},
        {},
    ),
]
"""Calls that draw random numbers."""

assert {call.function for call in OPERATION_CALLS} == set(OPERATIONS)
