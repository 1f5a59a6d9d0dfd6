"""Run the experiments of docs/which.md, and keep what the page shows of each run.

``nox -s which`` runs it. The records of the runs lie in build/which, so that an interrupted session
goes on where it stopped, and what the page needs of them in docs/data/which.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tools.records import write

from activations_xp.experiments import compare

RANKED = ("relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid")

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "digits": {"functions": RANKED, "data": "digits", "depth": (4, 16), "seeds": 10},
    "breast_cancer": {"functions": RANKED, "data": "breast_cancer", "depth": 4, "seeds": 10},
    "wine": {"functions": RANKED, "data": "wine", "depth": 4, "seeds": 10},
    "deep": {
        "functions": ("relu", "elu", "selu", "gelu", "tanh", "sigmoid"),
        "depth": 50,
        "seeds": 5,
        "lr": (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001),
    },
    **{
        f"layers {init} {dropout}": {
            "functions": ("selu", "relu"),
            "depth": 50,
            "width": 256,
            "seeds": 3,
            "lr": 0.001,
            "epochs": 1,
            "init": init,
            "dropout": dropout,
        }
        for init, dropout in [
            ("lecun_normal", 0.0),
            ("lecun_normal", 0.05),
            ("he_normal", 0.0),
            ("uniform", 0.0),
        ]
    },
    "dying": {
        "functions": ("relu", "leaky_relu", "elu", "selu", "gelu"),
        "depth": 4,
        "seeds": 5,
        "lr": (0.01, 0.03, 0.1, 0.3, 1.0),
    },
    "vanishing": {
        "functions": ("relu", "selu", "gelu", "tanh", "sigmoid"),
        "depth": (2, 4, 8, 16, 32),
        "seeds": 5,
        "lr": 0.01,
        "epochs": 1,
    },
}
"""The arguments of `compare` by the name of each experiment."""

KEPT = ("function", "depth", "lr", "seed", "test_accuracy", "test_loss", "diverged", "n_test")
WITH_LAYERS = ("layers", "vanishing")


def reduced(run: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what is kept of the record of a run, in the same structure."""
    ends = {key: run[key][-1:] for key in ("validation_accuracy", "validation_loss", "train_loss")}
    kept = {key: run[key] for key in (*KEPT, "n_parameters", "seconds_per_epoch")} | ends
    if name.startswith(WITH_LAYERS):
        return kept | {"start": run["start"], "end": {"dead": [], "saturated": []}}
    means = {}
    for key in ("dead", "saturated"):
        known = [v for v in run["end"][key] if v is not None]
        means[key] = [sum(known) / len(known)] if known else []
    return kept | {"end": means}


def main() -> None:
    data: dict[str, Any] = {}
    for name, given in EXPERIMENTS.items():
        out = Path("build", "which", name.replace(" ", "_"))

        def report(done: int, size: int, name: str = name) -> None:
            if done % 50 == 0 or done == size:
                print(f"{name}: {done} of {size} runs", file=sys.stderr, flush=True)

        results = compare(**given, jobs=2, out=out, progress=report)
        data[name] = {
            "settings": results.settings,
            "versions": {key: ", ".join(value) for key, value in results.versions.items()},
            "runs": {str(i): reduced(run, name) for i, run in enumerate(results.runs)},
        }
    write("which", data)


if __name__ == "__main__":
    main()
