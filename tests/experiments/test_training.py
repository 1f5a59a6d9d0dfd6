"""Training: what fits between layers, gradients, and the same losses on every library."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from oracle import FUNCTIONS, is_first_of_family

import activations_xp as ax
from activations_xp.experiments import compare

REFUSED = {
    "adaptive_log_prob",
    "adaptive_log_softmax_with_loss",
    "adaptive_predict",
    "erfinv",
    "log1mexp",
    "logaddexp",
    "logit",
    "logmeanexp",
    "logsumexp",
    "multi_head_attention",
    "multi_hot",
    "ndtri",
    "one_hot",
    "scaled_dot_product_attention",
}
TRAINED = [name for name in ax.names() if name not in REFUSED]


@functools.cache
def steps(name, backend, **settings):
    """Return the record of 20 steps of a small network, each of which is an epoch."""
    settings = {"data": "wine", "depth": 2, "width": 6, "lr": 0.05, "epochs": 20, **settings}
    results = compare([name], backend=backend, dtype="float64", batch_size=200, seeds=1, **settings)
    (run,) = results.runs
    return run
