"""Experiments: activation functions compared by what a network learns with each.

>>> from activations_xp.experiments import compare
>>> results = compare(["relu", "tanh"], data="wine", seeds=2, epochs=2, lr=0.1)
>>> [summary.function for summary in results.summary()]
['relu', 'tanh']

The networks are trained on NumPy, PyTorch or JAX, and the extra ``experiments`` is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .._errors import describe_value
from . import training, workers
from .candidates import DEFAULT, candidates_of
from .data import load
from .libraries import library_of
from .records import Records, key_of
from .results import Results
from .statistics import Estimate, Summary
from .training import GRIDS, Run, Settings

__all__ = ["Estimate", "Results", "Summary", "compare"]


def compare(
    functions: Any = DEFAULT,
    *,
    data: Any = "digits",
    depth: int | Sequence[int] = 4,
    seeds: int | Sequence[int] = 5,
    lr: Any = "auto",
    jobs: int = 1,
    scheduler: str | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Results:
    """Train the same network with each function and compare what it learns.

    Held equal for all functions: the network and the number of outputs of each layer, the
    examples to train on, to validate and to test, their order, the random numbers from which the
    initial weights are made, the optimizer, the number of epochs, and the learning rates that are
    tried. A seed decides on all that is random, so that results are paired by seed. For each seed,
    each function has the learning rate whose accuracy on the examples to validate is largest;
    accuracies and losses are those on the examples to test.

    Not equal are the scale of the initial weights, which suits the function (`init`), and the
    number of weights where a function takes more numbers than it returns: gated functions two,
    `maxout` as many as `pieces`; `crelu` takes half.

    Parameters
    ----------
    functions : sequence or mapping
        Names, functions of this package, partials of them, layers of ``layers.numpy``, or functions
        of your own; the values of a mapping, whose keys are labels. A name may have parameters, as
        in ``"leaky_relu:negative_slope=0.2"``, and names of parameters to learn, as in
        ``"silu:beta"``. Parameters without a default are learned, one for each layer. Your own
        function has a ``vjp`` as those of this package do, or is differentiated by PyTorch or JAX.
    data : str, path, or pair of arrays, optional
        ``"digits"``, ``"wine"`` or ``"breast_cancer"`` of scikit-learn, an ``.npz`` file with X and
        y, or (X, y): the examples along the first axis, and their classes.
    depth : int or sequence of ints, optional
        The number of hidden layers, or several to compare at.
    seeds : int or sequence of ints, optional
        The number of seeds, from 0, or the seeds.
    lr : "auto", float or sequence of floats, optional
        The learning rates that are tried; "auto" is six for each optimizer.
    jobs : int, optional
        The number of processes.
    scheduler : str, optional
        The address of a Dask scheduler, whose workers train instead of processes here.
    out : path, optional
        A folder for a record of each run, ``runs.jsonl``. Runs that it holds are not trained again,
        so a comparison goes on where it was stopped, and may be given more functions, depths,
        seeds and learning rates.
    progress : callable, optional
        A function that is called with the number of runs that are finished and that of all.
    **settings
        network : "mlp" (the default) or "conv", convolutions of 3 by 3 for images;
        width : the number of outputs of a layer, 64, or of channels, 16;
        pieces : the number of inputs of each output of `maxout`, 2;
        epochs : the number of passes over the examples, 30;
        batch_size : the number of examples of a step, 32;
        optimizer : "sgd" (the default), with a momentum of 0.9, or "adam";
        dropout : the probability of dropping an output, 0; after `selu` by `alpha_dropout`;
        init : "gain" (the default), the weights of `lecun_normal` times `gain` of the function;
        "lecun_normal", "he_normal" or "uniform", as in torch.nn.Linear;
        backend : "numpy" (the default), "torch" or "jax";
        dtype : "float32" (the default) or "float64";
        precision : "fast" (the default) or "accurate", that of the function.

    Returns
    -------
    Results

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, a function does not fit between the layers, or `out`
        holds another experiment.
    OSError
        If a file or a folder cannot be read or written, or the scheduler does not answer.
    RuntimeError
        If the processes or the workers of the cluster are killed.
    """
    candidates = candidates_of(functions)
    common = _settings(settings)
    depths = _counts("depth", depth)
    numbers = _seeds(seeds)
    lrs = GRIDS[common.optimizer] if lr == "auto" else _lrs(lr)
    jobs = _count("jobs", jobs)
    loaded = load(data)
    library_of(common.backend)
    for candidate in candidates:
        training.network_of(candidate, depths[0], common, loaded)
    runs = [Run(c, d, r, s) for s in numbers for d in depths for c in candidates for r in lrs]
    if out is None:
        return Results(_train(runs, common, loaded, jobs, scheduler, None, progress))
    with Records(Path(out)) as records:
        return Results(_train(runs, common, loaded, jobs, scheduler, records, progress))


def _train(
    runs: list[Run],
    settings: Settings,
    data: Any,
    jobs: int,
    scheduler: str | None,
    records: Records | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Return the records of runs in their order; `records` has some and gets the others."""
    experiment = training.describe(settings, data)
    done = {} if records is None else records.finished(runs, experiment)
    wanted = {run.key for run in runs}
    missing = [run for run in runs if run.key not in done]
    report = progress or (lambda done, size: None)
    report(len(done), len(runs))
    try:
        with closing(workers.train_all(missing, settings, data, jobs, scheduler)) as trained:
            for record in trained:
                key = key_of(record)
                if key in wanted and key not in done:
                    done[key] = record
                    if records is not None:
                        records.append(record)
                    report(len(done), len(runs))
    except (KeyboardInterrupt, workers.WorkersLostError) as error:
        kept = (
            "an out folder would have kept them"
            if records is None
            else f"{records.path.parent} keeps them, and the same command goes on from there"
        )
        state = f"after {len(done)} of {len(runs)} runs; {kept}"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(state) from None
        raise workers.WorkersLostError(f"compare: {error}, {state}") from None
    return [done[run.key] for run in runs]


def _settings(given: dict[str, Any]) -> Settings:
    """Return settings that are checked and complete."""
    hints = get_type_hints(Settings)
    for name, value in given.items():
        if name not in hints:
            raise TypeError(f"compare: unknown argument {name!r}; settings are {', '.join(hints)}")
        if choices := get_args(hints[name]):
            if value not in choices:
                known = ", ".join(map(repr, choices))
                got = describe_value(value)
                raise ValueError(f"compare: {name} must be one of {known}, got {got}")
        elif hints[name] is int:
            given = {**given, name: _count(name, value)}
    if "width" not in given:
        given = {**given, "width": 16 if given.get("network") == "conv" else 64}
    settings = Settings(**given)
    if not isinstance(settings.dropout, (int, float)) or not 0 <= settings.dropout < 1:
        got = describe_value(settings.dropout)
        raise ValueError(f"compare: dropout must be a number from 0 to below 1, got {got}")
    if settings.pieces > settings.width:
        raise ValueError(
            f"compare: pieces must be at most width, got {settings.pieces} of {settings.width}"
        )
    return settings


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"compare: {name} must be an integer, got {describe_value(value)}")
    if value < 1:
        raise ValueError(f"compare: {name} must be at least 1, got {value}")
    return value


def _counts(name: str, value: Any) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple, range)) else [value]
    return list(dict.fromkeys(_count(name, v) for v in values)) or [_count(name, 0)]


def _seeds(value: Any) -> list[int]:
    if not isinstance(value, (list, tuple, range)):
        return list(range(_count("seeds", value)))
    if not value or any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in value):
        got = describe_value(value)
        raise ValueError(f"compare: seeds must be integers from 0 up, got {got}")
    return list(dict.fromkeys(value))


def _lrs(value: Any) -> list[float]:
    try:
        lrs = [float(v) for v in ([value] if isinstance(value, (int, float)) else value)]
    except (TypeError, ValueError):
        lrs = []
    if isinstance(value, str) or not lrs or not all(0 < v < float("inf") for v in lrs):
        got = describe_value(value)
        raise ValueError(f"compare: lr must be 'auto' or positive numbers, got {got}")
    return list(dict.fromkeys(lrs))
