"""torch's own samples of its operators, with the drop-in beside torch.

``pytest tests/peers/torch_samples.py`` compares values, gradients, dtypes, shapes and the arrays
that are changed, for every dtype that torch takes on the CPU, and the class of each error.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

import activations_xp.dropin.torch as dropin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.filterwarnings("ignore")

OPERATORS = [
    (operator, name)
    for operator in op_db
    for name in dict.fromkeys(
        re.sub(r"^(nn\.functional|special)\.", "", spelled)
        for spelled in (operator.name, *(alias.name for alias in operator.aliases))
    )
    if name in dropin.__all__
]

TOLERANCES = {
    torch.bfloat16: 2.0**-6,
    torch.float16: 2.0**-8,
    torch.float32: 1e-5,
    torch.complex64: 1e-5,
    torch.float64: 1e-10,
    torch.complex128: 1e-10,
}
"""The errors that both may have, relative to the element, or to the largest of the sample."""

NAN = {
    "logaddexp": "inf - inf at equal infinities",
    "log_ndtr": "0/0 in the derivative far below 0",
    "normalize": "the derivatives of abs and of the norm at 0",
    "rms_norm": "the root of a negative number",
    "layer_norm": "the root of a negative number",
    "sigmoid": "inf/inf of large complex numbers, and their derivative",
    "expit": "as sigmoid",
    "silu": "as sigmoid",
    "softsign": "inf/inf",
    "tanhshrink": "inf - inf",
}
"""Where torch has NaN and the function a value."""

WRONG: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "hardsigmoid": (
        "the derivative is 1/6 rounded to float32, and 0 at NaN",
        lambda ours, theirs: torch.isclose(ours, theirs, 1e-7, 0.0) | ours.isnan(),
    ),
    "prelu": ("the derivative at NaN is the weight", lambda ours, theirs: ours.isnan()),
    "scaled_dot_product_attention": (
        "the kernel of torch, which both may run, sums terms up to 81 rounded to 16 bits",
        lambda ours, theirs: ((ours - theirs).abs() < 81 / 256) & (ours.element_size() == 2),
    ),
}
"""Where torch is wrong, how, and which elements that concerns."""

PRINCIPAL = {"logaddexp", "logcumsumexp"}
"""Functions of which torch gives any value of the complex logarithm, not the principal one."""

REFUSED = {"threshold": "a negative value would wrap around in unsigned integers"}
"""Calls that torch takes and gives a wrong result for."""

COUNTS: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _report(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + ", ".join(f"{count} {what}" for what, count in COUNTS.items()))


def outcome(function: Callable[..., Any], sample: Any) -> list[torch.Tensor | None]:
    """Return the results, the gradients, and the arrays that may have been changed."""
    torch.manual_seed(42)  # with which torch's own operators are wrapped
    y = function(sample.input, *sample.args, **sample.kwargs)
    results = [v for v in tree_leaves(y) if isinstance(v, torch.Tensor)]
    given = tree_leaves((sample.input, sample.args, sample.kwargs))
    arrays = [v for v in given if isinstance(v, torch.Tensor)]
    leaves = [v for v in arrays if v.requires_grad]
    differentiable = [v for v in results if v.requires_grad]
    gradients: Any = [None] * len(leaves)
    if leaves and differentiable:
        generator = torch.Generator().manual_seed(0)
        cotangents = [
            torch.randn(v.shape, generator=generator, dtype=in_double(v).dtype).to(v.dtype)
            for v in differentiable
        ]
        gradients = torch.autograd.grad(differentiable, leaves, cotangents, allow_unused=True)
    return [*results, *gradients, *(v for v in arrays if not v.requires_grad)]


def copied(value: Any) -> Any:
    """Return a copy of an array that a function may change, and anything else as it is."""
    return value.clone() if isinstance(value, torch.Tensor) and not value.requires_grad else value


def in_double(value: Any) -> Any:
    """Return an array in the widest dtype of its kind, and anything else as it is."""
    if not isinstance(value, torch.Tensor) or value.dtype == torch.bool:
        return value
    dtype = torch.complex128 if value.is_complex() else torch.float64
    if not value.is_complex() and not value.is_floating_point():
        dtype = torch.int64
    return value.detach().to(dtype, copy=True).requires_grad_(value.requires_grad)


def without_dropout(name: str, sample: Any) -> Any:
    """Return a sample of attention without the noise, which torch draws in another order."""
    if "attention" in name:
        function = getattr(dropin, name)
        bound = inspect.signature(function).bind(sample.input, *sample.args, **sample.kwargs)
        bound.arguments["dropout_p"] = 0.0
        sample.args, sample.kwargs = bound.args[1:], bound.kwargs
    return sample


def is_close(ours: torch.Tensor, theirs: torch.Tensor, scale: float) -> torch.Tensor:
    """Return where the arrays agree."""
    if ours.dtype not in TOLERANCES:
        return ours == theirs
    tolerance = TOLERANCES[ours.dtype]
    return torch.isclose(ours, theirs.to(ours.dtype), tolerance, tolerance * scale, equal_nan=True)


def largest(arrays: list[Any]) -> float:
    """Return the largest finite magnitude, or 1 if that is less."""
    floats = [a.detach() for a in arrays if a is not None and a.dtype in TOLERANCES]
    finite = [a[a.isfinite()].abs() for a in floats]
    return max([1.0, *(a.max().item() for a in finite if a.numel())])


def principal(value: torch.Tensor) -> torch.Tensor:
    """Return complex numbers with imaginary parts from -pi to pi, less a multiple of 2*pi."""
    turns = torch.round(value.imag / (2 * math.pi))
    return torch.complex(value.real, value.imag - 2 * math.pi * turns)


def compare(operator: Any, name: str, sample: Any) -> None:
    """Compare the drop-in with torch, or with torch in float64 where it is more precise."""
    expected = outcome(operator.op, sample.transform(copied))
    try:
        got = outcome(getattr(dropin, name), sample.transform(copied))
    except dropin.BadValueError:
        if name not in REFUSED:
            raise
        COUNTS["refused by name"] += 1
        return
    scale = largest(expected)
    for i, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        if theirs is None or ours is None:
            assert ours is theirs
            continue
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.layout == theirs.layout
        close = is_close(ours, theirs, scale)
        if not close.all():
            exact: Any = outcome(operator.op, sample.transform(in_double))[i]
            close |= is_close(ours, exact, scale)
            if name in PRINCIPAL and i == 0 and exact.is_complex():
                close |= is_close(ours, principal(exact), scale)
            if name in NAN:
                close |= theirs.isnan() & ~ours.isnan()
            if name in WRONG:
                close |= WRONG[name][1](ours, theirs)
            COUNTS["judged by torch in float64, or by name"] += 1
            wrong = [x[~close] for x in (ours, theirs, exact)]
            assert close.all(), "{}\n{}\n{}".format(*wrong)
    COUNTS["samples"] += 1


def _label(value: Any) -> str:
    return getattr(value, "formatted_name", None) or str(value).removeprefix("torch.")


def over(names: Any, values: Any) -> Any:
    return pytest.mark.parametrize(names, values, ids=_label)


@over("kind", ["sample", "reference"])
@over(
    ("operator", "name", "dtype"),
    [(o, name, d) for o, name in OPERATORS for d in sorted(o.supported_dtypes("cpu"), key=str)],
)
def test_samples(operator: Any, name: str, dtype: Any, kind: str) -> None:
    if kind == "reference" and not operator.reference_inputs_func:
        return
    requires_grad = dtype in operator.supported_backward_dtypes("cpu")
    failed = []
    for sample in getattr(operator, f"{kind}_inputs")("cpu", dtype, requires_grad=requires_grad):
        if sample.input.numel() > 1e5:
            continue  # a million elements take time and show nothing more
        try:
            compare(operator, name, without_dropout(name, sample))
        except Exception as error:
            failed.append(f"{type(error).__name__} {error}\n{sample.summary()}")
    if failed:
        pytest.fail(f"{len(failed)} of them\n" + "\n".join(failed[:3]), pytrace=False)


@over(("operator", "name"), [(o, n) for o, n in OPERATORS if o.error_inputs_func])
def test_errors(operator: Any, name: str) -> None:
    for bad in operator.error_inputs("cpu"):
        if bad.error_type is Exception:
            continue  # a number in place of an array, which we take
        sample = bad.sample_input
        with pytest.raises(bad.error_type) as caught:
            getattr(dropin, name)(sample.input, *sample.args, **sample.kwargs)
        assert isinstance(caught.value, (ValueError, TypeError))
        COUNTS["errors"] += 1
