"""Test that the files of the project agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"\b(ruff|mypy|torch)==([\w.]+)")


def test_pre_commit_versions():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    ours = {entry for group in groups.values() for entry in group if isinstance(entry, str)}
    hooks = PINNED.findall((ROOT / ".pre-commit-config.yaml").read_text())
    assert {name for name, _ in hooks} == {"ruff", "mypy", "torch"}
    assert {f"{name}=={version}" for name, version in hooks} <= ours
