"""Where runs are trained: in this process, in others here, or on the workers of a cluster."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from .._errors import needs_extra
from .data import Data
from .training import Run, Settings, train, train_in_worker

TIMEOUT = 10.0
"""The seconds that a scheduler has to answer."""


class WorkersLostError(RuntimeError):
    """The processes or the cluster that trained are gone."""


def train_all(
    runs: Sequence[Run], settings: Settings, data: Data, jobs: int, scheduler: str | None
) -> Generator[dict[str, Any]]:
    """Yield the records of runs as they finish."""
    if scheduler is not None:
        return _on_cluster(runs, settings, data, scheduler)
    if jobs == 1 or len(runs) < 2:
        return (train(run, settings, data) for run in runs)
    return _in_processes(runs, settings, data, jobs)


def _in_processes(
    runs: Sequence[Run], settings: Settings, data: Data, jobs: int
) -> Generator[dict[str, Any]]:
    with needs_extra("jobs runs on joblib", "experiments"):
        import joblib
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        calls = (joblib.delayed(train_in_worker)(run, settings, data) for run in runs)
        records = parallel(calls)
        try:
            # yield from would close them, with a warning of what stops
            while (record := next(records, None)) is not None:
                yield record
        except BrokenProcessPool:
            raise WorkersLostError("a process was killed, perhaps for want of memory") from None
        finally:
            with warnings.catch_warnings(action="ignore"):
                records.close()


def _on_cluster(
    runs: Sequence[Run], settings: Settings, data: Data, address: str
) -> Generator[dict[str, Any]]:
    """Yield the records from the workers of a Dask scheduler; what a dead one had runs again."""
    with needs_extra("scheduler needs dask.distributed", "distributed"):
        import distributed
    if not re.fullmatch(r"inproc://\S+|(\w+://)?[^/\s]+:\d+", address):
        wanted = "an address such as tcp://127.0.0.1:8786"
        raise ValueError(f"compare: scheduler must be {wanted}, got {address!r}")
    try:
        client = distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
    except OSError as error:  # which a timeout is
        why = " ".join(str(error).split())
        raise OSError(f"compare: no scheduler answers at {address}: {why}") from None
    with client:
        # a task, which is run again where its result is lost
        there = client.submit(_same, data, pure=False)
        futures = [client.submit(train, run, settings, there, pure=False) for run in runs]
        completed = distributed.as_completed(futures, loop=client.loop)
        del futures  # so that what has arrived is not kept, and not run again
        try:
            for future in completed:
                yield future.result()
        except (distributed.KilledWorker, CancelledError) as error:
            why = " ".join(str(error).split())
            raise WorkersLostError(f"the workers of {address} were lost: {why}") from None


def _same(data: Data) -> Data:
    return data
