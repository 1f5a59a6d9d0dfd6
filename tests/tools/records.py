"""Write measured figures as JSON, a row a line, so that the difference of two runs is readable."""

from __future__ import annotations

import json
from math import isfinite, log10
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "docs" / "data"
DIGITS = 5


def write(name: str, data: Any) -> None:
    """Write docs/data/NAME.json."""
    DATA.mkdir(exist_ok=True)
    (DATA / f"{name}.json").write_text(_text(data, levels=3) + "\n")


def read(name: str) -> Any:
    """Return what docs/data/NAME.json holds."""
    return json.loads((DATA / f"{name}.json").read_text())


def _text(value: Any, levels: int) -> str:
    if not levels or not isinstance(value, dict):
        return json.dumps(_rounded(value))
    lines = (f"{json.dumps(str(key))}: {_text(item, levels - 1)}" for key, item in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, float):  # JSON has no infinity
        return float(f"{value:.{DIGITS}g}") if isfinite(value) else str(value)
    return value


def format_time(seconds: float) -> str:
    unit, factor = ("us", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{seconds * factor:.3g} {unit}"


def format_count(size: int) -> str:
    return str(size) if size < 1000 else f"1e{round(log10(size))}"
