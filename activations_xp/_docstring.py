"""The page of a function: what its author wrote, and what follows from the definition."""

from __future__ import annotations

import inspect
import textwrap
from math import inf

from ._definition import Definition

_X = """\
x : array of real numbers
    Any shape, of any library. A Python number counts as a NumPy scalar."""

_OUT = """\
out : array, optional
    Where the result is to be written, which may be x: an array of x's library
    and of the result's shape. It is returned."""

_NOISE = """\
noise : number or array, optional
    Numbers from 0 to 1 that broadcast to x, in place of those that are drawn.
    Of libraries other than NumPy, PyTorch and JAX it must be given.
rng : random number generator, optional
    Where they come from: a `numpy.random.Generator`, or one of PyTorch, whose
    global state it is by default; for JAX, which has none, a key."""

_RETURNS = {
    None: "Like x: same library, shape and device.",
    "kept": "Like x: same library, shape and device.",
    "resized": "Like x, but for the axis: same library and device.",
    "added": "Like x, with one more axis: same library and device.",
}

_DTYPE = """\
Floating dtypes are kept; float16 and bfloat16 are computed in float32 and
rounded once. {integers}"""

_RAISES = """\
TypeError
    If x is not an array of real numbers, or a parameter is of the wrong type
    or belongs to another library.
ValueError
    If a parameter has a wrong value{domain}."""


def complete(definition: Definition) -> str:
    """The author's docstring with the sections that are the same for every function."""
    summary, *rest = _sections(inspect.getdoc(definition.impl) or "")
    own = dict(rest)
    integers = (
        "Integers are kept at the default parameters."
        if definition.preserves_integers
        else "Integers and booleans become the library's default floating dtype."
    )
    conditions = ", ".join(condition.text for condition in definition.constraints)
    sections = {
        "Parameters": "\n".join(
            filter(None, [_X, own.pop("Parameters", ""), definition.noise and _NOISE, _OUT])
        ),
        "Returns": "array\n"
        + _indent(_RETURNS[definition.output_axis], _DTYPE.format(integers=integers)),
        "Raises": _RAISES.format(domain=f"; it requires {conditions}" if conditions else ""),
        "Notes": "\n\n".join(
            filter(None, [own.pop("Notes", ""), "Properties:", _properties(definition)])
        ),
        "Elsewhere": "\n".join(
            f"* {library}: " + ", ".join(f"``{peer}``" for peer in peers)
            for library, peers in definition.peers.items()
        ),
        "References": textwrap.fill(definition.source, 80),
        **own,
    }
    page = [summary[1]]
    for title, body in sections.items():
        if body:
            page.append(f"{title}\n{'-' * len(title)}\n{body}")
    return "\n\n".join(page) + "\n"


def _indent(*paragraphs: str) -> str:
    return textwrap.indent("\n".join(paragraphs), "    ")


def _sections(text: str) -> list[tuple[str, str]]:
    """A numpydoc text as (title, body), the summary first under an empty title."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line and set(line) == {"-"}]
    titles = [("", 0, (starts[0] - 1) if starts else len(lines))]
    for start, following in zip(starts, [*starts[1:], len(lines) + 1], strict=True):
        titles.append((lines[start - 1], start + 1, following - 1))
    return [(title, "\n".join(lines[a:b]).strip("\n")) for title, a, b in titles]


def _properties(definition: Definition) -> str:
    p = definition.properties
    space = "\n  " if len(definition.formula) > 84 else " "
    facts = [f"formula:{space}``{definition.formula}``"]
    if p.domain != (-inf, inf):
        facts.append(f"defined on: {interval(p.domain)}; NaN outside")
    if p.range != (-inf, inf):
        facts.append(f"range: {interval(p.range)}")
    if p.limits is not None:
        ends = zip(p.limits, p.domain, strict=True)
        facts.append("limits: " + ", ".join(f"{number(y)} at {number(x)}" for y, x in ends))
    if definition.output_axis is None:
        facts.append("monotonic" if p.monotonic else "not monotonic")
        facts.append(
            {inf: "smooth", -1: "discontinuous"}.get(
                p.smoothness, f"continuous derivatives: {p.smoothness:g}"
            )
        )
    if p.kinks:
        kind = "jumps" if p.smoothness < 0 else "kinks"
        facts.append(f"{kind}: " + ", ".join(map(number, p.kinks)))
    if p.parity:
        facts.append(p.parity)
    if p.fixed_points:
        facts.append("fixed points: " + ", ".join(map(number, p.fixed_points)))
    if p.zero_centred:
        facts.append("zero-centred")
    if p.lipschitz != inf:
        facts.append(f"Lipschitz constant: {number(p.lipschitz)}")
    if p.sums_to is not None:
        facts.append(f"sums to {number(p.sums_to)} along the axis")
    facts.append(f"error of our computation: at most {number(definition.ulp)} ulp")
    return "\n".join(f"* {fact}" for fact in facts)


def interval(ends: tuple[float, float]) -> str:
    low, high = ends
    left, right = "(" if low == -inf else "[", ")" if high == inf else "]"
    return f"{left}{number(low)}, {number(high)}{right}"


def number(value: float) -> str:
    return f"{value:.5g}"


PARTS = {
    "derivative": "The derivative of `{name}` with respect to x, which has its parameters.",
    "value_and_derivative": "`{name}` and its derivative with respect to x, in one pass.",
    "parameter_derivatives": """\
The derivatives of `{name}` with respect to its parameters.

Returns
-------
dict
    For the name of each parameter that may be an array and is not None, an array in the shape of
    the result: the derivative of each element with respect to what the parameter is there. The
    gradient of the parameter is the sum of its product with the gradient of the result, over the
    elements that share a value of it.
""",
    "vjp": """\
The vector-Jacobian product of `{name}`: the gradient of x from that of the result.

Parameters
----------
x : array of real numbers
    What the function was applied to.
g : array of real floating numbers
    The gradient of the result, in its shape.

The parameters of `{name}` follow, and `out`.

Returns
-------
array
    The gradient of x, in its shape and its dtype; 0 where a mask keeps x out.

Raises
------
TypeError
    As `{name}` does, or if g is not an array of x's library with a real floating dtype.
ValueError
    As `{name}` does, or if g has another shape than the result.
""",
}
