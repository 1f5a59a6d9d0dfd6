"""Comparisons as users run them: records that last, processes, a cluster, the page, bad input."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest

import activations_xp as ax
from activations_xp import cli
from activations_xp.experiments import Results, compare
from activations_xp.experiments.candidates import DEFAULT
from activations_xp.experiments.libraries import library_of
from activations_xp.experiments.records import FILE
from activations_xp.experiments.training import TIMES

pytestmark = pytest.mark.once

SMALL = {"data": "wine", "depth": 1, "width": 4, "epochs": 2, "seeds": 2, "lr": [0.1, 0.01]}
ARGUMENTS = ["--data=wine", "--depth=1", "--width=4", "--epochs=2", "--seeds=2", "--lr=0.1,0.01"]


def timeless(runs):
    """Return records without what differs each time, in an order of their own."""
    kept = [{k: v for k, v in run.items() if k not in TIMES} for run in runs]
    return sorted(map(json.dumps, kept))


def command(*argv):
    return cli.main(["compare", *map(str, argv)])


def refused(capsys, *argv):
    """Return the one line on stderr of a command that exits with status 2."""
    try:
        status = command(*argv)
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("activations_xp")
    return err


# results


def test_results():
    results = compare(["relu", "tanh", ax.gelu], **SMALL)
    assert len(results.runs) == 12
    assert len(results.rows) == 6
    assert results.functions == ["relu", "tanh", "gelu"]
    assert (results.depths, results.seeds, results.lrs) == ([1], [0, 1], [0.01, 0.1])
    frame = results.to_frame()
    assert frame["chosen"].sum() == 6
    assert set(frame.groupby("function")["test_accuracy"].count()) == {4}
    assert results.versions["numpy"] == [np.__version__]
    assert results.settings["width"] == 4


def test_random_numbers_are_the_same_for_all():
    runs = compare(["relu", "tanh"], **{**SMALL, "init": "lecun_normal", "epochs": 1}).runs
    starts = {(run["function"], run["seed"]): run["start"]["mean"][0] for run in runs}
    assert len(set(starts.values())) == 4
    a, b = compare({"a": "relu", "b": "silu:beta=1e9"}, **{**SMALL, "seeds": 1, "lr": 0.1}).runs
    np.testing.assert_allclose(a["train_loss"], b["train_loss"], rtol=1e-5)


def test_processes_give_the_same(tmp_path):
    one = compare(["relu", "rrelu"], **SMALL)
    two = compare(["relu", "rrelu"], **SMALL, jobs=2, out=tmp_path / "two")
    assert [r["seed"] for r in one.runs] == [r["seed"] for r in two.runs]
    assert timeless(one.runs) == timeless(two.runs)
    assert timeless(Results.load(tmp_path / "two").runs) == timeless(one.runs)


# records


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The records of an experiment that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    compare(["relu", "tanh"], **SMALL, out=folder)
    return (folder / FILE).read_bytes()


def test_goes_on_after_any_byte(tmp_path, whole):
    path = tmp_path / FILE
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 8
    cuts = [0, 1, len(lines[0]) - 1, len(lines[0]), len(lines[0]) + 1, len(whole) - 1, len(whole)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        seen = []
        compare(["relu", "tanh"], **SMALL, out=tmp_path, progress=lambda *n: seen.append(n))  # noqa: B023
        assert seen[0] == (whole[:cut].count(b"\n"), 8)
        assert seen[-1] == (8, 8)
        kept = path.read_bytes()
        assert kept.startswith(b"".join(lines[: seen[0][0]]))  # which are not run again
        assert timeless(map(json.loads, kept.splitlines())) == timeless(
            map(json.loads, whole.splitlines())
        )


def test_more_functions_seeds_and_rates_may_follow(tmp_path, whole):
    (tmp_path / FILE).write_bytes(whole)
    seen = []
    more = {**SMALL, "seeds": 3, "lr": [0.1, 0.01, 0.2], "depth": [1, 2]}
    results = compare(
        ["relu", "tanh", "silu"], **more, out=tmp_path, progress=lambda *n: seen.append(n)
    )
    assert (seen[0], seen[-1]) == ((8, 54), (54, 54))
    assert len(results.summary()) == 6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 3}, "epochs is 2 there, not 3"),
        ({"data": "breast_cancer"}, "data is 'wine' there, not 'breast_cancer', data_sha256"),
        ({"width": 5, "optimizer": "adam"}, "width is 4 there, not 5, optimizer is 'sgd' there"),
        ({"functions": {"relu": "gelu"}}, "relu is .*relu.* there, not .*gelu"),
    ],
)
def test_another_experiment_is_refused(tmp_path, whole, changed, message):
    (tmp_path / FILE).write_bytes(whole)
    with pytest.raises(ValueError, match=f"holds another experiment: {message}"):
        compare(**{"functions": ["relu"], **SMALL, **changed}, out=tmp_path)
    assert (tmp_path / FILE).read_bytes() == whole


def test_a_damaged_line_is_refused(tmp_path, whole):
    lines = whole.splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join([lines[0], lines[1][50:], *lines[2:]]))
    with pytest.raises(ValueError, match=r"line 2 of .* is not the record of a run"):
        compare(["relu"], **SMALL, out=tmp_path)


def test_one_process_at_a_time(tmp_path, whole):
    import fcntl

    (tmp_path / FILE).write_bytes(whole)
    with (tmp_path / FILE).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another process writes to"):
            compare(["relu"], **SMALL, out=tmp_path)


def start(folder, *options):
    argv = [sys.executable, "-m", "activations_xp", "compare", "relu", "tanh", *ARGUMENTS]
    argv += ["--epochs=10", f"--out={folder}", *options]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(folder, n):
    """Wait until the records have n lines more."""
    path = folder / FILE
    size = path.read_bytes().count(b"\n") if path.exists() else 0
    while not path.exists() or path.read_bytes().count(b"\n") < size + n:
        time.sleep(0.01)


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.sweep)])
def test_survives_kill(tmp_path, kills):
    rng = np.random.default_rng(kills)
    seeds = 10 + 10 * kills
    for _ in range(kills):
        process = start(tmp_path, "--jobs=1", f"--seeds={seeds}")
        wait_for(tmp_path, 1)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
    assert 0 < (tmp_path / FILE).read_bytes().count(b"\n") < 4 * seeds
    settings = {**SMALL, "seeds": seeds, "epochs": 10}
    resumed = compare(["relu", "tanh"], **settings, out=tmp_path)
    assert timeless(resumed.runs) == timeless(compare(["relu", "tanh"], **settings).runs)
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 4 * seeds


def test_interrupt_says_how_to_go_on(tmp_path):
    process = start(tmp_path, "--jobs=2", "--seeds=300")
    wait_for(tmp_path, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    done, size = map(int, re.search(r"interrupted after (\d+) of (\d+) runs; ", err).groups())
    assert err.endswith("keeps them, and the same command goes on from there\n")
    assert err.count("\n") == 1
    assert size == 1200
    # the signal may come between the two
    assert abs(done - (tmp_path / FILE).read_bytes().count(b"\n")) <= 1


def deadly():
    """Return a function that kills the process that calls it."""

    class Deadly:  # which is pickled by value
        __name__ = "deadly"

        def __call__(self, x):
            os.kill(os.getpid(), signal.SIGKILL)

        vjp = __call__

    return Deadly()


def test_a_process_that_is_killed(tmp_path):
    settings = {**SMALL, "init": "lecun_normal", "out": tmp_path}
    with pytest.raises(RuntimeError, match=r"compare: a process was killed, .* keeps them"):
        compare(["relu", deadly()], **settings, jobs=2)
    compare(["relu"], **settings)
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 4


# a cluster


@pytest.mark.sweep
def test_scheduler_whose_workers_all_die(tmp_path):
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        pytest.raises(RuntimeError, match=r"compare: the workers of tcp.* were lost.* after"),
    ):
        compare([deadly()], **SMALL, scheduler=cluster.scheduler_address, out=tmp_path)


def test_scheduler_with_a_worker_that_dies(tmp_path):
    from distributed import LocalCluster

    settings = {**SMALL, "seeds": 10, "epochs": 20}
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        seen = []

        def progress(done, size):
            seen.append(done)
            if done == 5:
                os.kill(pids[0], signal.SIGKILL)

        results = compare(
            ["relu", "tanh"],
            **settings,
            scheduler=cluster.scheduler_address,
            out=tmp_path,
            progress=progress,
        )
    assert seen == list(range(41))
    lines = (tmp_path / FILE).read_bytes().splitlines()
    assert len({json.dumps(json.loads(line)["lr"]) for line in lines}) == 2
    assert len(lines) == 40
    assert timeless(results.runs) == timeless(compare(["relu", "tanh"], **settings).runs)


# the command


def test_command(tmp_path, capsys):
    assert command("relu", "swish", *ARGUMENTS, "--jobs=1", f"--out={tmp_path}") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "swish" in out
    assert out.endswith(f"The report is {tmp_path / 'report.html'}.\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", FILE]


def test_command_without_names_or_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*ARGUMENTS, "--seeds=1", "--jobs=1") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [name for name in DEFAULT if f" {name} " not in f" {out}"] == []
    assert " ± " not in out.partition("accuracy: ")[0]  # nor a p-value, of one seed
    assert "1.00" not in out
    assert list(tmp_path.iterdir()) == []


def test_table_fits_a_terminal(capsys):
    from activations_xp.experiments import report

    results = compare(["relu", "leaky_relu", "silu:beta"], **{**SMALL, "depth": [1, 2]})
    for depth in results.depths:
        columns, rows = report.table(results, depth)
        assert len(rows) == 3
        widths = [max(map(len, cells)) + 3 for cells in zip(columns, *rows, strict=True)]
        assert sum(widths) + 1 <= 80


class Page(HTMLParser):
    """The names and the attributes of the elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def test_report(tmp_path):
    results = compare({"a<b": "relu", "b": "prelu"}, **SMALL)
    results.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    pictures = [attrs for tag, attrs in page.elements if tag == "svg"]
    assert len(pictures) == len(results.figures()) == 13
    assert all(p["role"] == "img" and p["aria-label"] for p in pictures)
    assert "a&lt;b" in text
    assert "a<b" not in text
    # nothing is fetched from elsewhere, and no identifier is there twice
    sources = {v for _, attrs in page.elements for k, v in attrs.items() if k in ("src", "href")}
    assert not {s for s in sources if s and not s.startswith("#")}
    assert "url(http" not in text
    identifiers = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(identifiers) == len(set(identifiers)) > 10
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= set(identifiers)
    assert "weight of b" in text
    results.report(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == text


def test_findings():
    from activations_xp.experiments import report

    settings = {**SMALL, "depth": 4, "seeds": 4, "epochs": 8, "lr": 0.03}
    results = compare(["tanh", "selu", "sigmoid"], **settings)
    difference = report.percent(results.summary()[2].difference)
    assert report.findings(results) == [
        f"The accuracy differs from that of tanh for sigmoid by {difference} %.",
        "The other differences are within the noise of 4 seeds.",
    ]
    results = compare(["tanh", "selu"], **{**settings, "depth": [1, 2]})
    assert report.findings(results)[0] == (
        "At depth 1 no difference to tanh is beyond the noise of 4 seeds."
    )
    results = compare(["sigmoid"], **{**settings, "lr": [1e-3, 1e-2, 1e-1]})
    assert report.findings(results) == [
        "Sigmoid is best at the largest learning rate; one beyond may suit it better."
    ]
    results = compare(["exponential"], **{**SMALL, "lr": [100.0, 1000.0]})
    assert report.findings(results) == [
        "Exponential diverged at every learning rate for 2 of 2 seeds."
    ]


# bad input


def write_data(path, **arrays):
    np.savez(path, **arrays)
    return f"--data={path}"


X = np.random.default_rng(0).normal(size=(20, 3))
Y = np.arange(20) % 2
BAD_DATA = [
    ({"X": X}, "must hold X and y, got X"),
    ({"a": X}, "must hold X and y, got a"),
    ({"X": np.where(X > 1, np.nan, X), "y": Y}, "X must be finite, got 10 numbers that are NaN"),
    ({"X": X, "y": Y * 0}, "y must hold two classes at least, got 1"),
    ({"X": X, "y": Y[1:]}, r"y must have the shape (20,), got (19,)"),
    ({"X": X, "y": X[:, 0]}, "y must hold classes"),
    ({"X": X[:, 0], "y": Y}, "X must be an array of numbers with 2 axes or more"),
    ({"X": X.astype(str), "y": Y}, "X must be an array of numbers"),
    ({"X": X, "y": Y.astype(object)}, "Object arrays cannot be loaded"),
    ({"X": X, "y": np.arange(20) % 5}, "each class needs 5 examples to be split, got 4 of '0'"),
    ({"X": X[:, :0], "y": Y}, "X must not be empty"),
]
BAD_ARGUMENTS = [
    (["nonesuch"], "no activation is named 'nonesuch'; the closest are"),
    (["relu", "relu"], "functions has 'relu' twice"),
    (["relu:slope=1"], "relu has no parameter 'slope'"),
    (["gelu:approximate"], "gelu:approximate can learn none, got 'approximate'"),
    (["softmax:axis=5"], "axis"),
    (["relu:max_value"], "needs a start to learn max_value"),
    (["one_hot"], "one_hot does not fit between layers: it needs num_classes"),
    (["relu", "--data=nonesuch"], "no data set is named 'nonesuch'; there are digits, wine"),
    (["relu", "--data=missing.npz"], "No such file"),
    (["relu", f"--data={__file__}"], "is not an .npz file"),
    (["maxout", "--pieces=99"], "pieces must be at most width, got 99 of 64"),
    (["relu", "--epochs=0"], "epochs must be at least 1, got 0"),
    (["relu", "--seeds=0"], "seeds must be at least 1, got 0"),
    (["relu", "--depth=0"], "depth must be at least 1, got 0"),
    (["relu", "--depth=4,x"], "--depth: invalid integers value: '4,x'"),
    (["relu", "--width=0"], "width must be at least 1"),
    (["relu", "--jobs=0"], "jobs must be at least 1"),
    (["relu", "--lr=0"], "lr must be 'auto' or positive numbers, got [0.0]"),
    (["relu", "--lr=nan"], "lr must be 'auto' or positive numbers, got [nan]"),
    (["relu", "--dropout=1"], "dropout must be a number from 0 to below 1, got 1.0"),
    (["relu", "--optimizer=best"], "optimizer must be one of 'sgd', 'adam', got 'best'"),
    (["relu", "--network=conv", "--data=wine"], "network 'conv' needs images"),
    (["relu", "--backend=nonesuch"], "backend must be one of 'numpy', 'torch', 'jax'"),
    (["relu", "--scheduler=nonesuch"], "scheduler must be an address such as tcp://127.0.0.1:8786"),
]


@pytest.mark.parametrize(("argv", "message"), BAD_ARGUMENTS, ids=lambda v: str(v)[:40])
def test_bad_arguments(tmp_path, capsys, argv, message):
    out = tmp_path / "out"
    assert message in refused(capsys, *argv, f"--out={out}")
    assert not out.exists()


@pytest.mark.parametrize(("arrays", "message"), BAD_DATA, ids=lambda v: str(v)[:40])
def test_bad_data(tmp_path, capsys, arrays, message):
    out = tmp_path / "out"
    data = write_data(tmp_path / "data.npz", **arrays)
    assert message in refused(capsys, "relu", data, f"--out={out}")
    assert not out.exists()


@pytest.mark.parametrize("missing", ["joblib", "matplotlib", "sklearn"])
def test_missing_extra(monkeypatch, capsys, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == missing else find(name, *a)
    )
    expected = f'compare needs {missing}; run pip install "activations_xp[experiments]"'
    assert expected in refused(capsys, "relu")


def test_missing_backend(monkeypatch, capsys):
    def missing():
        raise ImportError

    monkeypatch.setattr("activations_xp.experiments.libraries._torch", missing)
    library_of.cache_clear()
    assert "backend 'torch' needs torch" in refused(capsys, "relu", "--backend=torch")


def test_scheduler_that_does_not_answer(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("activations_xp.experiments.workers.TIMEOUT", 0.5)
    argv = ["relu", "--scheduler=tcp://127.0.0.1:9", f"--out={tmp_path / 'out'}"]
    assert "no scheduler answers at tcp://127.0.0.1:9" in refused(capsys, *argv)
    assert not (tmp_path / "out").exists()


def test_bad_folders(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "is a file" in refused(capsys, "relu", f"--out={tmp_path / 'file'}")
    (tmp_path / "report.html").write_text("mine")
    assert "something else" in refused(capsys, "relu", f"--out={tmp_path}")
    assert (tmp_path / "report.html").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "report.html"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"functions": "relu"}, TypeError, "functions must be a sequence or a mapping, got 'relu'"),
        ({"functions": []}, ValueError, "functions must name one at least"),
        ({"functions": [3]}, TypeError, "functions must be names or functions, got 3"),
        ({"data": 3}, TypeError, "data must be a name, a file or a pair of arrays, got 3"),
        ({"epoch": 3}, TypeError, "unknown argument 'epoch'; settings are network, width"),
        ({"depth": 2.5}, TypeError, "depth must be"),
        ({"depth": []}, ValueError, "depth must be at least 1"),
        ({"seeds": True}, TypeError, "seeds must be an integer, got True"),
        ({"lr": "fast"}, ValueError, "lr must be 'auto' or positive numbers, got 'fast'"),
    ],
)
def test_bad_arguments_in_python(changed, error, message):
    with pytest.raises(error, match=re.escape(f"compare: {message}")):
        compare(**{"functions": ["relu"], **SMALL, **changed})
