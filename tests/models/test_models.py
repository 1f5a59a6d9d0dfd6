"""Models of transformers and timm learn and run the same with our activation in their place.

``nox -s models`` installs them, and measures the time of each way beside the original's.
"""

from __future__ import annotations

import pytest
import torch
from oracle import over
from tools.models import WAYS, difference, examples

EXAMPLES = examples(width=32, length=12, size=64)
TOLERANCE = 1e-6
"""A few units of float32, relative to the largest result."""

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@over("way", WAYS)
@over("name", EXAMPLES)
def test_results_are_equal(name, way):
    example = EXAMPLES[name]()
    with torch.no_grad():
        expected = example.theirs(example.x)
        got = WAYS[way](example.ours, example.x)(example.x)
    assert difference(got, expected) < TOLERANCE


@over("name", EXAMPLES)
def test_three_steps_of_an_optimizer_are_equal(name):
    """In float64, where a small weight is no sum of large numbers' rounding errors."""
    example = EXAMPLES[name]()
    x = example.x.double() if example.x.is_floating_point() else example.x
    weights = []
    for model in (example.ours.double(), example.theirs.double()):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        weights.append({name: p.detach() for name, p in model.named_parameters()})
    torch.testing.assert_close(*weights)
