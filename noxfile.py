"""Sessions of nox: ``nox`` runs those of continuous integration, ``nox --list`` lists all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.error_on_missing_interpreters = True
nox.options.default_venv_backend = "venv"

PROJECT = nox.project.load_toml("pyproject.toml")

CONTRACT = ("tests/test_contract.py", "tests/test_dispatch.py", "tests/backends/test_generic.py")
"""The tests whose results depend most on the array library and on the version of Python."""

LIBRARIES: dict[str, list[tuple[str, ...]]] = {
    "numpy": [("--backend", "numpy")],
    "strict": [
        ("--backend", "strict"),
        ("--backend", "strict-device1", "--backend", "dask", *CONTRACT),
    ],
    "torch": [("--backend", "torch", "--backend", "torch-meta")],
    "jax": [("--backend", "jax")],
}
"""The options of each run of pytest, by the only array library that is installed."""

JAX = {
    "JAX_PLATFORMS": "cpu",
    # processes share what they have compiled
    "JAX_COMPILATION_CACHE_DIR": str(Path(".nox", "jax").absolute()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

TOOLS = {"PYTHONPATH": os.pathsep.join([".", "tests"])}
"""The path on which the tools find the oracle and the backends of the tests."""


def group(*names: str) -> list[str]:
    """Return the requirements in these dependency groups."""
    return nox.project.dependency_groups(PROJECT, *names)


def newest_python() -> str:
    """Return the newest Python that runs here, on the path or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for minor in range(30, sys.version_info.minor, -1):
        name = f"python3.{minor}"
        paths = [shutil.which(name), *map(str, sorted(pyenv.glob(f"versions/3.*/bin/{name}")))]
        for path in filter(None, paths):
            # a shim may be on the path for a version that it cannot start
            run = subprocess.run([path, "-c", "import ensurepip"], capture_output=True)
            if run.returncode == 0:
                return path
    return sys.executable


def run_tests(session: nox.Session, library: str, *runs: tuple[str, ...]) -> None:
    requirements = group(library) if library in PROJECT["dependency-groups"] else []
    session.install("-e", ".[cli]", *group("test"), *requirements)
    for options in runs:
        if session.posargs:  # which may name other files
            options = tuple(option for option in options if not option.endswith(".py"))
        session.run("pytest", "-n", "2", *options, *session.posargs, env=JAX)


@nox.session
@nox.parametrize("library", list(LIBRARIES), ids=list(LIBRARIES))
def tests(session: nox.Session, library: str) -> None:
    """Run the tests, with one library installed."""
    run_tests(session, library, *LIBRARIES[library])
    if library == "jax" and not session.posargs:
        # Keras for NumPy needs JAX
        session.run("pytest", "tests/dropin/test_keras.py", env={"KERAS_BACKEND": "numpy"})


@nox.session(default=False)
@nox.parametrize("library", ["torch", "jax"], ids=["torch", "jax"])
def sweeps(session: nox.Session, library: str) -> None:
    """Run the tests that are too slow for every change, most of them because they compile."""
    runs = [("--backend", library, "-m", "sweep")]
    if library == "jax":
        runs.append(("--backend", "jax-x32", "tests/test_values.py"))
    run_tests(session, library, *runs)


@nox.session(python=newest_python())
@nox.parametrize("library", ["numpy", "strict"], ids=["numpy", "strict"])
def tests_newest(session: nox.Session, library: str) -> None:
    """Run a part of the tests on the newest Python here."""
    run_tests(session, library, ("--backend", library, *CONTRACT))


@nox.session(default=False, venv_params=["--system-site-packages"])
@nox.parametrize("library", ["torch", "jax"], ids=["torch", "jax"])
def gpu(session: nox.Session, library: str) -> None:
    """Run the tests on a CUDA device, with the torch or jax of the machine."""
    session.install("-e", ".[cli]", *group("test", "keras"))
    session.run("pytest", "--backend", f"{library}-cuda", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and search for mistakes, with ruff."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the package with mypy, and examples of its use with mypy and pyright."""
    session.install("-e", ".[cli]", *group("types", "torch", "jax"))
    session.run("mypy")
    session.run("mypy", "--strict", "tests/tools/typing_examples.py")
    session.run("pyright", "tests/tools/typing_examples.py")


@nox.session(default=False)
def tables(session: nox.Session) -> None:
    """Write the generated pages docs/functions.md and docs/conventions.md."""
    session.install("-e", ".", *group("torch"))
    page = session.run("python", "-m", "activations_xp", "list", "--markdown", silent=True)
    Path("docs/functions.md").write_text(page)
    page = session.run("python", "tests/tools/conventions.py", silent=True)
    Path("docs/conventions.md").write_text(page)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Write the times of all functions and their peers, or print those of the given functions."""
    session.install("-e", ".[plot]", *group("test", "torch", "jax"))
    session.run("python", "tests/tools/bench.py", *session.posargs, env=TOOLS)
    if not session.posargs:
        session.run("python", "tests/tools/bench_operations.py", env=TOOLS)


@nox.session(default=False, venv_params=["--system-site-packages"])
def bench_gpu(session: nox.Session) -> None:
    """Do the same on a CUDA device, with the torch and the jax of the machine."""
    session.install("-e", ".", *group("test"))
    session.run("python", "tests/tools/bench_gpu.py", *session.posargs, env=TOOLS)


@nox.session(default=False)
def accuracy(session: nox.Session) -> None:
    """Write the errors of all functions and their peers, or print those of the given functions."""
    session.install("-e", ".[cli]", *group("test", "torch", "jax"))
    command = ("python", "tests/tools/accuracy.py", *session.posargs)
    page = session.run(*command, silent=not session.posargs, env=TOOLS)
    if not session.posargs:
        Path("docs/accuracy.md").write_text(page)


@nox.session(default=False)
def memory(session: nox.Session) -> None:
    """Print the memory that PyTorch keeps for the backward pass of every function."""
    session.install("-e", ".[cli]", *group("test", "torch"))
    session.run("python", "tests/tools/memory.py", env=TOOLS)
