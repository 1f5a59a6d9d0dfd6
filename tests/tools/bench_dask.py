"""Print tasks and times of functions of Dask arrays, beside other ways to write them.

``--large`` adds the memory of 1e9 numbers, and ``--processes`` the time of one process and of two.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from math import sqrt
from typing import Any

import array_api_compat.dask.array as xp
import dask
import dask.array as da
import numpy as np

import activations_xp as ax
from activations_xp.backends.generic import StandardBackend

SHAPE, ROWS, COLUMNS = (1024, 16384), (128, 16384), (1024, 256)
"""The array, its 8 chunks of rows, and its 64 chunks of columns."""


class ByOperation(StandardBackend):
    """Dask as any library of the standard."""

    def owns(self, x: Any) -> bool:
        return isinstance(x, da.Array)


def by_operation(function: Any, x: Any) -> Any:
    definition = function.definition
    kernel = ByOperation(xp).bind(definition, "fast", da.Array)
    return kernel(x, (), *{**definition.defaults, **along(function)}.values())


def along(function: Any) -> dict[str, Any]:
    return {"axis": -1} if "axis" in function.definition.parameters else {}


def by_hand(function: Any, x: Any) -> Any:
    dropped = {"drop_axis": 1} if function is ax.logsumexp else {}
    return x.map_blocks(lambda chunk: function(chunk, **along(function)), dtype=x.dtype, **dropped)


def _softmax(x: Any) -> Any:
    e = da.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _layer_norm(x: Any) -> Any:
    return (x - x.mean(axis=-1, keepdims=True)) / da.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)


def _logsumexp(x: Any) -> Any:
    largest = x.max(axis=-1, keepdims=True)
    return largest[:, 0] + da.log(da.exp(x - largest).sum(axis=-1))


FORMULAS = {
    # Dask has no erf, so that this is another function
    ax.gelu: lambda x: x * 0.5 * (1 + da.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x * x * x))),
    ax.mish: lambda x: x * da.tanh(da.log1p(da.exp(x))),
    ax.softmax: _softmax,
    ax.layer_norm: _layer_norm,
    ax.logsumexp: _logsumexp,
}


def table(chunks: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(0, 3, SHAPE).astype("float32")
    x = da.from_array(values, chunks)
    is_gathered = x.numblocks[1] == 1
    for function, formula in FORMULAS.items():
        if not is_gathered and not along(function):
            continue
        ways = {
            "now": lambda x, f=function: f(x, **along(f)),
            "before": lambda x, f=function: by_operation(f, x),
            "formula of dask.array": formula,
        }
        if is_gathered:
            ways["map_blocks"] = lambda x, f=function: by_hand(f, x)
        else:
            ways["rechunk"] = lambda x, f=function: f(x.rechunk((128, -1)), **along(f))
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(6):  # in turns
            for way, call in ways.items():
                start = time.perf_counter()
                call(x).sum(dtype="float64").compute()
                seconds[way].append(time.perf_counter() - start)
        for way, call in ways.items():
            tasks = len(call(x).__dask_graph__()) - len(x.__dask_graph__())
            took = statistics.median(seconds[way][1:]) * 1e3
            name = function.definition.name
            print(f"{name:11}{x.npartitions:4} chunks  {way:22}{tasks:6} tasks {took:8.1f} ms")


def large() -> None:
    x = da.random.default_rng(0).standard_normal(10**9, dtype="float32", chunks=10**7)
    for function in (ax.gelu, ax.softmax, ax.layer_norm):
        if function is not ax.gelu:  # rows of ten chunks
            x = da.random.default_rng(0).standard_normal(
                (10, 10**8), dtype="float32", chunks=(1, 10**7)
            )
        start = time.perf_counter()
        function(x).sum(dtype="float64").compute(num_workers=2)
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        name = function.definition.name
        print(f"{name:11}1e9 numbers in {took:.1f} s, at most {peak:.2f} GB so far")


def processes() -> None:
    from distributed import Client, LocalCluster

    for workers in (1, 2):
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0"
            ) as cluster,
            Client(cluster),
        ):
            for function in (ax.gelu, ax.softmax):
                rng = da.random.default_rng(0)
                shape, chunks = (24 * workers, 2**22), (1, 2**21)
                x = rng.standard_normal(shape, dtype="float32", chunks=chunks)
                seconds = []
                for _ in range(4):
                    start = time.perf_counter()
                    function(x).sum(dtype="float64").compute()
                    seconds.append(time.perf_counter() - start)
                took = min(seconds[1:])
                name = function.definition.name
                print(f"{name:11}{workers} processes, {x.size:.1e} numbers: {took:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--processes", action="store_true")
    given = parser.parse_args()
    dask.config.set(scheduler="threads", num_workers=2)
    table(ROWS)
    table(COLUMNS)
    if given.large:
        large()
    if given.processes:
        processes()
