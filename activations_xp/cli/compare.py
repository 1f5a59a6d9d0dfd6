"""Compare functions by what a network learns with each."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from .output import print_table, progress


def add(commands: Any) -> None:
    """Add the command to those of the parser; what is not given is left to `compare`."""
    text = "compare functions by what a network learns with each"
    command = commands.add_parser(
        "compare",
        help=text,
        argument_default=argparse.SUPPRESS,
        description=f"{text}. All have the same network, data, order of examples, random numbers "
        "and search for the learning rate. A function is a name, which may have parameters, as in "
        "leaky_relu:negative_slope=0.2, and names of parameters to learn, as in silu:beta. Prints "
        "a table; with --out also keeps a record of each run, goes on where it was stopped, and "
        "writes report.html.",
    )
    command.add_argument("functions", metavar="NAME", nargs="*", help="by default eight")

    def option(name: str, metavar: str, text: str, kind: Any = int) -> None:
        command.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)

    option(
        "data",
        "NAME",
        "digits (the default), wine, breast_cancer, or an .npz file with X and y",
        str,
    )
    option("depth", "N,...", "hidden layers, or several numbers of them (4)", integers)
    option("width", "N", "outputs of a layer (64, and 16 of a convolution)")
    option("network", "mlp|conv", "a perceptron (the default), or convolutions on images", str)
    option("pieces", "N", "inputs of each output of maxout (2)")
    option("epochs", "N", "passes over the examples (30)")
    option("batch-size", "N", "examples of a step (32)")
    option("seeds", "N", "repetitions with other splits of the data and random numbers (5)")
    option("lr", "auto|X,...", "the learning rates of which each function has the best", numbers)
    option("optimizer", "sgd|adam", "descent with momentum (the default), or Adam", str)
    option("dropout", "P", "the share of outputs to drop, by alpha_dropout after selu (0)", float)
    option(
        "init",
        "NAME",
        "initial weights: gain, which suits the function (the default), lecun_normal, he_normal, "
        "or uniform as in torch.nn.Linear",
        str,
    )
    option("backend", "NAME", "numpy (the default), torch or jax", str)
    option("dtype", "NAME", "float32 (the default) or float64", str)
    option("jobs", "N", "processes (one for each core)")
    option("scheduler", "ADDRESS", "a Dask scheduler, whose workers train instead", str)
    option("out", "DIR", "a folder for the records of the runs and the report", Path)
    command.set_defaults(run=run)


def integers(text: str) -> list[int]:
    """Return numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def numbers(text: str) -> Any:
    """Return numbers with commas between them, or the word "auto"."""
    return text if text == "auto" else [float(word) for word in text.split(",")]


def run(args: argparse.Namespace) -> int:
    """Train the networks, print the table, and write the report into the folder."""
    for name in ("joblib", "matplotlib", "sklearn"):
        if importlib.util.find_spec(name) is None:
            raise ImportError(
                f'compare needs {name}; run pip install "activations_xp[experiments]"'
            )
    from joblib import cpu_count

    from ..experiments import compare, report
    from ..experiments.training import Settings

    known = {*inspect.signature(compare).parameters, *(f.name for f in fields(Settings))}
    given = {name: value for name, value in vars(args).items() if name in known}
    given["functions"] = given.get("functions") or report.DEFAULT
    with ExitStack() as stack:
        done, advance = 0, None

        def tell(n: int, size: int) -> None:
            nonlocal done, advance
            if advance is None:
                advance = stack.enter_context(progress("training", size))
            advance(n - done)
            done = n

        results = compare(**{"jobs": cpu_count(), **given}, progress=tell)
    for depth in results.depths:
        if len(results.depths) > 1:
            print(f"depth {depth}")
        is_last = depth == results.depths[-1]
        print_table(*report.table(results, depth), report.caption(results) if is_last else "")
    for text in report.findings(results):
        print(text)
    if "out" in given:
        path = args.out / "report.html"
        results.report(path)
        print(f"The report is {path}.")
    return 0
