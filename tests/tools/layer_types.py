"""Write what type checkers and editors read of the layers, ``activations_xp/layers/*.pyi``.

The classes of functions are made when the package runs. ``nox -s tables`` lists them: once with
their signatures, and for each library with its base. A test compares the files with this.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from activations_xp import _parameters
from activations_xp.layers import _functions, _layers

FOLDER = Path(_layers.__file__).parent

BASES = {"jax": "_jax.JaxLayer", "numpy": "_module.NumpyLayer", "torch": "_torch.TorchLayer"}
"""The base of the layers of each library."""

HEAD = '"""{}, as type checkers read them; ``nox -s tables`` writes it."""\n\n'

LENGTH = 100
"""The longest line."""


def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    texts = {f"{library}.pyi": _of_library(library, base) for library, base in BASES.items()}
    return {"_signatures.pyi": _of_functions(), **texts}


def _of_library(library: str, base: str) -> str:
    """Return the layers of a library: each class with its base."""
    text = HEAD.format(f"The layers of `activations_xp.layers.{library}`")
    module, _, base = base.partition(".")
    text += f"from . import _layers, _signatures\nfrom .{module} import {base}\n"
    for name, cls in _functions.CLASSES.items():
        module = "_signatures" if _is_made(cls) else "_layers"
        text += f"\nclass {name}({module}.{name}, {base}):\n    {_summary(cls)}\n"
    return text


def _of_functions() -> str:
    """Return the layers that are made from functions, with their constructors."""
    made = [cls for cls in _functions.CLASSES.values() if _is_made(cls)]
    imports: dict[str, set[str]] = defaultdict(set)
    for cls in made:
        annotations = (p.annotation for p in inspect.signature(cls).parameters.values())
        text = re.sub(r"'\w+'|\"\w+\"", "", " ".join(annotations))
        for word in {*re.findall(r"\b[A-Z]\w+", text)} - {"Any", "Literal", "None", "Sequence"}:
            own = cls.function.impl.__module__.replace("activations_xp", ".", 1)
            imports[".._parameters" if hasattr(_parameters, word) else own].add(word)
    imports["._layers"].add("Activation")
    text = "# mypy: disable-error-code=misc\n" + HEAD.format("The layers of functions, abstract")
    text += "from collections.abc import Sequence\nfrom typing import Any, Literal\n\n"
    for module in sorted(imports, key=lambda name: (not name.startswith(".."), name)):
        text += _fitted(f"from {module} import ", sorted(imports[module]), "")
    for cls in made:
        text += f"\nclass {cls.__name__}(Activation):\n    {_summary(cls)}\n" + _members(cls)
    return text


def _members(cls: Any) -> str:
    """Return the attributes and the constructor of a layer.

    A parameter of the function that may be learned is an array then.
    """
    parameters = inspect.signature(cls).parameters
    learnable = parameters["learned"].annotation if "learned" in parameters else ""
    attributes, arguments = "", ["self"]
    for name, p in parameters.items():
        annotation = p.annotation.replace("'", '"')
        if p.kind is p.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        default = "" if p.default is p.empty else f" = {p.default!r}".replace("'", '"')
        default = " = ..." if len(default) > LENGTH // 2 else default
        arguments.append(f"{name}: {annotation}{default}")
        if name not in ("inplace", "learned", "dtype", "device"):
            is_learnable = f'"{name}"' in learnable
            attributes += f"\n    {name}: {'Any' if is_learnable else annotation}"
    constructor = _fitted("    def __init__", arguments, " -> None: ...")
    return f"{attributes}\n\n{constructor}" if attributes else f"\n{constructor}"


def _fitted(start: str, items: list[str], end: str) -> str:
    """Return a list of items, in parentheses or after an import, on one line or on one for each."""
    is_import = not end
    line = ", ".join(items) if is_import else f"({', '.join(items)})"
    if len(start + line + end) <= LENGTH:
        return f"{start}{line}{end}\n"
    indent = " " * (len(start) - len(start.lstrip()) + 4)
    rows = "".join(f"{indent}{item},\n" for item in items)
    return f"{start}(\n{rows}{indent[4:]}){end}\n"


def _is_made(cls: Any) -> bool:
    return cls.__module__ == _functions.__name__


def _summary(cls: Any) -> str:
    first = str(cls.__doc__).partition("\n")[0]
    return f'"""{first}"""'


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
