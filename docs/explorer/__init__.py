"""The extension of Sphinx that puts the explorer's scripts and numbers beside its page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from . import curves

HERE = Path(__file__).parent
FILES = ("explorer.css", "explorer.js", "vendor/plot.js", "vendor/LICENSES.txt")


def _write(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir, "explorer")
    (folder / "curves").mkdir(exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder)
    (folder / "functions.js").write_text(curves.index())
    for entry in curves.explored():
        (folder / "curves" / f"{entry.name}.js").write_text(curves.script(entry))


def setup(app: Any) -> dict[str, Any]:
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
