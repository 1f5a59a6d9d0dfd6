"""The page of a function: its author's docstring, completed from the definition."""

from __future__ import annotations

import inspect
import re
import textwrap
from math import inf

from ._definition import Definition

_EXAMPLES = """\
Examples
--------
>>> import numpy as np
>>> import activations_xp as ax
"""
"""The head of examples that have none."""

_TITLES = ("Parameters", "Returns", "Raises", "Notes", "Equivalents", "References", "Examples")

_X = """\
array of real numbers
    An array of any shape and library. A Python number counts as a NumPy scalar."""

_BY_NAME = {
    "keepdims": """\
bool, optional
    Whether the axes are retained with size 1.""",
    "p": """\
number, optional
    The probability of dropping an element, from 0 to 1. At 1 the result is 0.""",
    "training": """\
bool, optional
    Whether elements are dropped. If False, the result is x.""",
}
"""The entries of parameters that mean the same wherever they have this name."""

_RNG = """\
random number generator, optional
    The source of the noise: a `numpy.random.Generator` (None is a new one), which also
    Dask takes, a `torch.Generator` or `tf.random.Generator` (None is the global one),
    or a key of JAX or mlx, which is required."""

_OUT = """\
array, optional
    The array to write the result to and to return: of x's library and the
    result's shape. It may be x."""

_RETURNS = """\
array
    An array of x's library and device, {shape}.
    Floating dtypes are kept; float16 and bfloat16 are computed in float32 and
    rounded once. {integers}"""

_SHAPES = {
    None: "in the shape of x",
    "kept": "in the shape of x",
    "resized": "in the shape of x but for the axis",
    "added": "in the shape of x with one more axis",
}

_RAISES = """\
TypeError
    If x is not an array of real numbers, or a parameter is of the wrong type
    or belongs to another library.
ValueError
    If a parameter has an invalid value{constraints}."""

PARTS = {
    "derivative": """\
Derivative of `{name}` with respect to x, element by element.

It takes the arguments of `{name}` and raises the same errors.

Returns
-------
array
    The derivative, in the shape of the result of `{name}` and in a floating dtype.
""",
    "value_and_derivative": """\
Value of `{name}` and its derivative with respect to x, in one pass.

It takes the arguments of `{name}` and raises the same errors.

Returns
-------
value, derivative : arrays
    The results of `{name}` and of `{name}.derivative`.
""",
    "activation vjp": """\
Vector-Jacobian product of `{name}`: the gradients of its arguments.

Parameters
----------
g : array of real floating numbers
    The cotangent, which is the gradient of a scalar with respect to the result
    of `{name}`. It has the shape of the result, and may be a number where that is ().
x : array of real numbers
    The argument of `{name}`, whose parameters follow.

Returns
-------
dict
    The gradients by argument name, each in the shape and the dtype of its
    argument: of x, and of each parameter, other than the noise, that is given as
    an array of real floating numbers. Elements that a mask excludes have the
    gradient 0.

Raises
------
TypeError
    If g is not an array of x's library with a real floating dtype, or
    `{name}` raises a TypeError for the other arguments.
ValueError
    If g does not have the shape of the result, or `{name}` raises a
    ValueError for the other arguments.
""",
    "operation vjp": """\
Vector-Jacobian product of `{name}`: the gradients of its arguments.

Parameters
----------
g : array of real floating numbers, or tuple
    The cotangent, which is the gradient of a scalar with respect to the result
    of `{name}`, in its shape and dtype. For several results it is a tuple with
    one entry for each; None stands for a gradient of 0.

The arguments of `{name}` follow. If it takes random numbers, `noise` must be
those that the result was computed with.

Returns
-------
dict
    The gradients by argument name, each in the shape and the dtype of its
    argument: of all arrays of real floating numbers that are given, but not of
    the noise.

Raises
------
TypeError
    If g is not an array of the library and dtype of the first array, nor a tuple
    as described, or `{name}` raises a TypeError for the other arguments.
ValueError
    If g does not have the shape of the result, or `{name}` raises a
    ValueError for the other arguments.
""",
}
"""The docstrings of derivatives and vector-Jacobian products."""


def complete(definition: Definition) -> str:
    """Return the docstring of a function, completed with what follows from its definition."""
    default = f"{definition.name}, {definition.formula}."
    summary, sections = _split(inspect.getdoc(definition.impl) or default)
    peers = "\n".join(
        f"* {library}: " + ", ".join(f"``{peer}``" for peer in peers)
        for library, peers in definition.peers.items()
    )
    source = definition.source
    if len(source) > 80:
        source = textwrap.fill(source, 80)
    sections = {"Equivalents": peers, "References": source, **sections}
    if definition.is_activation:
        sections |= _shared_sections(definition, sections)
    bodies = {title: sections[title] for title in _TITLES if sections.get(title)}
    pages = (f"{title}\n{'-' * len(title)}\n{body}" for title, body in bodies.items())
    return "\n\n".join([summary, *pages]) + "\n"


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Split a numpydoc text into its summary and its sections by title.

    Examples without a header begin at the first paragraph that starts with a prompt.
    """
    if "\nExamples\n" not in text:
        text = text.replace("\n\n>>> ", f"\n\n{_EXAMPLES}>>> ", 1)
    parts = re.split(r"^(.+)\n-+$", text, flags=re.MULTILINE)
    summary, *bodies = (part.strip("\n") for part in parts[::2])
    return summary, dict(zip(parts[1::2], bodies, strict=True))


def _shared_sections(definition: Definition, sections: dict[str, str]) -> dict[str, str]:
    """Return the sections that all activations share, completed from the author's sections."""
    integers = (
        "Integers are kept at the default parameters."
        if definition.preserves_integers
        else "Integers and booleans become the library's\n    default floating dtype."
    )
    conditions = ", ".join(condition.text for condition in definition.constraints)
    constraints = f"; it requires {conditions}" if conditions else ""
    notes = [sections.get("Notes", ""), "Properties:", _properties(definition)]
    return {
        "Parameters": _parameters(definition, sections.get("Parameters", "")),
        "Returns": _RETURNS.format(shape=_SHAPES[definition.output_axis], integers=integers),
        "Raises": _RAISES.format(constraints=constraints),
        "Notes": "\n\n".join(filter(None, notes)),
    }


def with_complex(doc: str) -> str:
    """Return the docstring of a function that takes complex numbers too."""
    return doc.replace("array of real numbers", "array of real or complex numbers")


def _parameters(definition: Definition, section: str) -> str:
    """Return the entries of all parameters, in the order of the signature.

    An entry of the author's section takes precedence over that of the name or the annotation.
    """
    entries = {definition.first: f"{definition.first} : {_X}"}
    for name, spec in definition.parameters.items():
        doc = _BY_NAME.get(name, spec.doc)
        entries[name] = f"{name} : {doc}" if doc else ""
    if definition.noise is not None:
        entries["rng"] = f"rng : {_RNG}"
    for entry in re.split(r"\n(?=\S)", section):
        for name in entry.partition(" :")[0].split(", "):
            entries[name] = entry
    entries["out"] = f"out : {_OUT}"
    return "\n".join(dict.fromkeys(filter(None, entries.values())))


def _properties(definition: Definition) -> str:
    """Return the properties as a list of items."""
    assert definition.formula is not None
    p = definition.properties
    formula = f"``{definition.formula}``"
    if len(formula) > 88:
        formula = "\n  " + textwrap.fill(formula, 96, subsequent_indent="  ")
    else:
        formula = f" {formula}"
    facts = [f"formula:{formula}"]
    if p.domain != (-inf, inf):
        facts.append(f"domain: {interval(p.domain)}; NaN outside")
    if p.range != (-inf, inf):
        facts.append(f"range: {interval(p.range)}")
    if p.limits is not None:
        ends = zip(p.limits, p.domain, strict=True)
        facts.append("limits: " + ", ".join(f"{_number(y)} at {_number(x)}" for y, x in ends))
    if definition.is_elementwise:
        facts.append("monotonic" if p.monotonic else "not monotonic")
        derivatives = f"continuous derivatives: {p.smoothness:g}"
        facts.append({inf: "smooth", -1: "discontinuous"}.get(p.smoothness, derivatives))
    if p.kinks:
        kind = "jumps" if p.smoothness < 0 else "kinks"
        facts.append(f"{kind}: " + ", ".join(map(_number, p.kinks)))
    if p.parity:
        facts.append(p.parity)
    if p.fixed_points:
        facts.append("fixed points: " + ", ".join(map(_number, p.fixed_points)))
    if p.zero_centred:
        facts.append("zero-centred")
    if p.lipschitz != inf:
        facts.append(f"Lipschitz constant: {_number(p.lipschitz)}")
    if p.sums_to is not None:
        facts.append(f"sums to {_number(p.sums_to)} along the axis")
    facts.append(f"error of the accurate form: at most {_number(definition.ulp)} ulp")
    return "\n".join(f"* {fact}" for fact in facts)


def interval(ends: tuple[float, float]) -> str:
    """Return a closed interval as text, open where it is infinite."""
    low, high = ends
    left, right = "(" if low == -inf else "[", ")" if high == inf else "]"
    return f"{left}{_number(low)}, {_number(high)}{right}"


def _number(value: float) -> str:
    return f"{value:.5g}"
