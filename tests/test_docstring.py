"""The pages of functions: the author's docstring, completed from the definition."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

import activations_xp as ax
from activations_xp._define import Peer, activation, operation
from activations_xp._parameters import ArrayOrNumber, Axes, Axis, FloatArray, Mask, Noise, Number

pytestmark = pytest.mark.once

ACTIVATION_TITLES = [
    "Parameters", "Returns", "Raises", "Notes", "Equivalents", "References", "Examples",
]  # fmt: skip


@pytest.fixture
def define(monkeypatch):
    """Return the decorator of an activation that does not stay in the registry."""
    monkeypatch.setattr("activations_xp._define.register", lambda function: None)
    return activation(formula="x", source="Somebody, Something.", peers={"torch": "torch.some"})


def titles(page: str) -> list[str]:
    return re.findall(r"^(.+)\n-+$", page, flags=re.MULTILINE)


def entries(page: str) -> list[str]:
    section = page.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    return re.findall(r"^(\S.*?) :", section, flags=re.MULTILINE)


def test_docstring_of_one_line(define):
    @define
    def one_line(xp: Any, x: Any) -> Any:
        """The identity."""
        return x

    assert one_line.__doc__.startswith("The identity.\n\nParameters\n----------\nx : ")
    assert titles(one_line.__doc__) == ACTIVATION_TITLES[:-1]
    assert one_line(2.0) == 2.0


def test_docstring_of_paragraphs_without_sections(define):
    @define
    def paragraphs(xp: Any, x: Any) -> Any:
        """The identity.

        It has a second paragraph.
        """
        return x

    assert "The identity.\n\nIt has a second paragraph.\n\nParameters\n---" in paragraphs.__doc__


def test_examples_without_a_header(define):
    @define
    def only_examples(xp: Any, x: Any, beta: Number = 1.0) -> Any:
        """The identity.

        Parameters
        ----------
        beta : number, optional
            A text of its own.

        >>> ax.identity(1.0)
        1.0
        """
        return x

    imports = "Examples\n--------\n>>> import numpy as np\n>>> import activations_xp as ax\n"
    assert titles(only_examples.__doc__) == ACTIVATION_TITLES
    assert "A text of its own.\nout : " in only_examples.__doc__
    assert only_examples.__doc__.endswith(f"\n\n{imports}>>> ax.identity(1.0)\n1.0\n")


def test_examples_with_a_header(define):
    @define
    def own_imports(xp: Any, x: Any) -> Any:
        """The identity.

        Examples
        --------
        >>> import math

        >>> math.sqrt(1.0)
        1.0
        """
        return x

    assert own_imports.__doc__.endswith("--------\n>>> import math\n\n>>> math.sqrt(1.0)\n1.0\n")
    assert "import numpy" not in own_imports.__doc__


def test_docstring_missing(define):
    @define
    def no_text(xp: Any, x: Any) -> Any:
        return x

    assert no_text.__doc__.startswith("no_text, x.\n\nParameters\n----------\n")
    assert "* formula: ``x``" in no_text.__doc__


def test_parameters_follow_the_signature(define):
    @define
    def several(
        xp: Any,
        x: Any,
        axis: Axes = -1,
        beta: Number = 1.0,
        where: Mask | None = None,
        keepdims: bool = False,
    ) -> Any:
        """The identity.

        Parameters
        ----------
        where : boolean array, optional
            A text of its own.
        beta : number, optional
            Another.
        """
        return x

    assert entries(several.__doc__) == ["x", "axis", "beta", "where", "keepdims", "out"]
    assert "A text of its own." in several.__doc__
    assert "Excluded elements" not in several.__doc__


def test_parameters_documented_in_one_entry(define):
    @define
    def shared_entry(xp: Any, x: Any, a: ArrayOrNumber, b: ArrayOrNumber, axis: Axis = 0) -> Any:
        """The identity.

        Parameters
        ----------
        a, b : numbers or arrays
            Two of a kind.
        """
        return x

    assert entries(shared_entry.__doc__) == ["x", "a, b", "axis", "out"]


def test_parameters_of_random_functions():
    assert entries(ax.dropout.__doc__) == ["x", "p", "training", "noise", "rng", "out"]


def test_docstring_of_an_operation(monkeypatch):
    monkeypatch.setattr("activations_xp._define.register", lambda function: None)

    @operation(source="Somebody, Something.", peers={"torch": Peer("torch.some", dim=1)})
    def both(xp: Any, a: FloatArray, b: FloatArray, *, noise: Noise | None = None) -> Any:
        """The sum.

        Parameters
        ----------
        a, b : arrays

        Examples
        --------
        >>> 1 + 1
        2
        """
        return a + b

    assert titles(both.__doc__) == ["Parameters", "Equivalents", "References", "Examples"]
    assert "* torch: ``torch.some (dim=1)``" in both.__doc__
    assert (both(np.ones(2), np.ones(2)) == 2).all()


@pytest.mark.parametrize("name", ax.names())
def test_page(name):
    function = ax.get(name)
    definition, page = function.definition, inspect.getdoc(function)
    present = titles(page)
    if definition.is_activation:
        assert present == ACTIVATION_TITLES
        assert definition.formula in re.sub(r"\n +", " ", page)
    else:
        assert present == [title for title in ACTIVATION_TITLES if title in present]
    assert f"ax.{name}(" in page.partition("Examples")[2]
    documented = ", ".join(entries(page)).split(", ")
    assert documented == list(inspect.signature(function).parameters)
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize("name", ax.names())
def test_pages_of_derivatives(name):
    function = ax.get(name)
    for part in ("derivative", "value_and_derivative", "vjp"):
        public = getattr(function, part, None)
        if public is not None:
            page = inspect.getdoc(public)
            assert f"`{name}`" in page
            assert "{" not in page
            assert "Returns" in titles(page)
