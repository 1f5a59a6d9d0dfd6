"""Programs of several processes, which are connected by gloo and report what failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed


def run(program: str, count: int, folder: Path, *arguments: str) -> None:
    """Run a program in so many processes, and fail with all that failed in any of them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, program, str(folder), str(rank), str(count), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, "\n\n".join(outputs)
    for rank in range(count):
        failures = json.loads((folder / f"{rank}.json").read_text())
        assert not failures, "\n".join(f"{what}: {text}" for what, text in failures.items())


def report(
    checks: Callable[..., Mapping[str, Callable[[], Any]]],
    folder: str,
    rank: str,
    count: str,
    *arguments: str,
) -> None:
    """Be one of these processes: run the checks, and write a dictionary of what failed.

    `checks` makes them by name, of the arguments, once the processes are connected.
    """
    store = torch.distributed.FileStore(f"{folder}/store", int(count))
    timeout = timedelta(seconds=60)  # where one process fails, the others wait so long
    torch.distributed.init_process_group(
        "gloo", store=store, rank=int(rank), world_size=int(count), timeout=timeout
    )
    failures = {}
    for name, check in checks(*arguments).items():
        try:
            check()
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1].lineno
            text = "".join(traceback.format_exception_only(error)).strip()
            failures[name] = f"{text} (line {line})"
    Path(folder, f"{rank}.json").write_text(json.dumps(failures))
    torch.distributed.destroy_process_group()
