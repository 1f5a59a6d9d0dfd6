"""Sessions of nox.

``nox`` runs the default ring, which every change must pass, and ``nox -t sweep`` the outer one;
docs/design.md says what is in which. ``nox --list`` lists all.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.error_on_missing_interpreters = True
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")

CONTRACT = ("tests/test_contract.py", "tests/test_dispatch.py", "tests/backends/test_generic.py")
"""The tests whose results depend most on the array library and on the version of Python."""

OF_DASK = ("tests/test_values.py", "tests/test_derivatives.py", "tests/backends/test_dask.py")

OF_OTHERS = (
    "tests/backends/test_generic.py::test_values_without_reading_x",
    "tests/backends/test_ndonnx.py",
    "tests/backends/test_sparse.py",
)
"""The tests of libraries that take long to plan what they compute."""

LIBRARIES: dict[str, list[tuple[str, ...]]] = {
    "numpy": [
        ("--backend", "numpy"),
        ("--backend", "dask-chunked", *CONTRACT, *OF_DASK),  # of NumPy's engine in each chunk
    ],
    "strict": [
        ("--backend", "strict"),
        ("--backend", "strict-device1", *CONTRACT),
    ],
    "torch": [("--backend", "torch", "--backend", "torch-meta")],
    "jax": [("--backend", "jax")],
    "tensorflow": [("--backend", "tensorflow")],
    "others": [
        ("--backend", "mlx", *CONTRACT, "tests/backends/test_mlx.py"),
        ("--backend", "cubed", "--backend", "ndonnx", "--backend", "sparse", *OF_OTHERS),
    ],
}
"""The options of each run of pytest, by the only array library that is installed."""

ENVIRONMENT = {
    # each of the two processes has a core
    "OMP_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # processes and runs share what they have compiled
    "JAX_COMPILATION_CACHE_DIR": str(Path(".nox", "jax").absolute()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

QUICK = {
    **ENVIRONMENT,
    # XLA takes a third of the time to compile without its optimizer, which the sweep keeps
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true",
}

TOOLS = {"PYTHONPATH": os.pathsep.join([".", "tests", "docs"])}
"""The path on which the tools find the oracle, the backends of the tests and the pages."""


def group(*names: str) -> list[str]:
    """Return the requirements in these dependency groups."""
    return nox.project.dependency_groups(PROJECT, *names)


@functools.cache
def pythons() -> list[str]:
    """Return the Pythons that run here, of this version and newer, on the path or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [sys.executable]
    for minor in range(sys.version_info.minor + 1, 30):
        name = f"python3.{minor}"
        paths = [shutil.which(name), *map(str, sorted(pyenv.glob(f"versions/3.*/bin/{name}")))]
        for path in filter(None, paths):
            # a shim may be on the path for a version that it cannot start
            run = subprocess.run([path, "-c", "import ensurepip"], capture_output=True)
            if run.returncode == 0:
                found.append(path)
                break
    return found


def install(session: nox.Session, *requirements: str) -> None:
    """Install without compiling all modules, of which a session imports a part."""
    session.install("--no-compile", *requirements)


def run_tests(
    session: nox.Session, library: str, *runs: tuple[str, ...], env: dict[str, str] = ENVIRONMENT
) -> None:
    requirements = group(library) if library in PROJECT["dependency-groups"] else []
    install(session, "-e", ".[cli]", *group("test"), *requirements)
    for options in runs:
        if session.posargs:  # which may name other files
            options = tuple(option for option in options if ".py" not in option)
        # what one process has compiled for a file, another has not
        files = ("--dist", "loadfile") if library == "jax" else ()
        session.run("pytest", "-n", "2", *files, *options, *session.posargs, env=env)


OF_KERAS = (
    "tests/dropin/test_keras.py",
    "tests/at_home/test_keras.py",
    "tests/at_home/test_keras_layers.py",
)


@nox.session
@nox.parametrize("library", list(LIBRARIES), ids=list(LIBRARIES))
def tests(session: nox.Session, library: str) -> None:
    """Run the tests, with one library installed."""
    run_tests(session, library, *LIBRARIES[library], env=QUICK)
    if library == "jax" and not session.posargs:
        # Keras for NumPy needs JAX
        session.run("pytest", *OF_KERAS, env={"KERAS_BACKEND": "numpy"})


OF_SCIPY = [f"scipy.special.tests.test_{name}" for name in ("logsumexp", "logit", "erfinv", "ndtr")]


def run_peers(session: nox.Session, *libraries: str, env: dict[str, str]) -> None:
    """Run SciPy's tests of its functions on arrays of some libraries."""
    options = ("-n", "2", "-c", "tests/peers/pytest.ini", "-p", "scipy_special", "--pyargs")
    chosen = {"SCIPY_ARRAY_API": json.dumps(libraries), "PYTHONPATH": "tests/peers"}
    session.run("pytest", *options, *OF_SCIPY, env={**env, **chosen})


@nox.session
def peers(session: nox.Session) -> None:
    """Run the tests of other libraries with our drop-in in place of theirs."""
    install(session, "-e", ".", *group("test", "torch"), "array-api-strict")
    run_peers(session, "numpy", "torch", "array_api_strict", env=QUICK)
    options = ("-n", "2", "-c", "tests/peers/pytest.ini")
    session.run("pytest", *options, "tests/peers/torch_samples.py", env=QUICK)


@nox.session(default=False, tags=["sweep"])
def sweep_peers(session: nox.Session) -> None:
    """Run SciPy's tests on the libraries that are slow."""
    install(session, "-e", ".", *group("test", "strict", "dask", "jax"))
    run_peers(session, "jax.numpy", "dask.array", env=ENVIRONMENT)


@nox.session(default=False, tags=["sweep"])
@nox.parametrize("library", list(LIBRARIES), ids=list(LIBRARIES))
def sweep(session: nox.Session, library: str) -> None:
    """Run the tests that are too slow for every change, most of them because they compile."""
    runs = [(*options, "-m", "sweep") for options in LIBRARIES[library]]
    if library == "jax":
        runs = [
            ("--backend", "jax", "-m", "sweep or compiled"),
            ("--backend", "jax-x32", "tests/test_values.py", "-m", "sweep or not sweep"),
        ]
    run_tests(session, library, *runs)


@nox.session(default=False, tags=["sweep"])
def models(session: nox.Session) -> None:
    """Run models of transformers and timm with our activations, and print times beside theirs."""
    install(session, "-e", ".[cli]", *group("test", "models"))
    session.run("pytest", "-n", "2", "-m", "sweep", "tests/models", env=ENVIRONMENT)
    session.run("python", "tests/tools/models.py", *session.posargs, env=TOOLS)


@nox.session(python=pythons()[-1])
def tests_newest(session: nox.Session) -> None:
    """Run a part of the tests on the newest Python here."""
    runs = [("--backend", library, *CONTRACT) for library in ("numpy", "strict")]
    run_tests(session, "strict", *runs)


MAIN_JOB = """
import importlib.util, sys
import numpy as np, activations_xp as ax
assert "site-packages" in ax.__file__, ax.__file__
assert not any(map(importlib.util.find_spec, ("torch", "jax", "mpmath"))), "more than needed"
x = np.linspace(-3, 3, 7)
np.testing.assert_allclose(ax.relu(x), np.maximum(x, 0))
np.testing.assert_allclose(ax.sigmoid(x), 1 / (1 + np.exp(-x)))
print("activations_xp", ax.__version__, "on Python", sys.version)
"""


@nox.session
def package(session: nox.Session) -> None:
    """Build the distributions, and use the wheel on the oldest and the newest Python here."""
    install(session, *group("package"))
    folder = Path(session.create_tmp()).absolute()
    shutil.rmtree(folder / "dist", ignore_errors=True)
    session.run(
        "python", "-m", "build", "--no-isolation", "--outdir", f"{folder}/dist", silent=True
    )
    distributions = sorted(map(str, (folder / "dist").iterdir()))
    session.run("twine", "check", "--strict", *distributions)
    (wheel,) = (path for path in distributions if path.endswith(".whl"))
    sources = (Path("activations_xp").rglob(pattern) for pattern in ("*.py", "*.pyi"))
    expected = {str(path) for path in itertools.chain(*sources)}
    expected |= {"activations_xp/py.typed"}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if names != expected:
        session.error(f"the wheel has other files: {sorted(names ^ expected)}")
    for python in dict.fromkeys([pythons()[0], pythons()[-1]]):
        bare = folder / "bare"
        session.run(python, "-m", "venv", "--clear", str(bare), external=True)
        python = str(bare / ("Scripts" if os.name == "nt" else "bin") / "python")
        with session.chdir(folder):
            for requirement, command in [
                (wheel, ("-c", MAIN_JOB)),
                (f"{wheel}[cli]", ("-m", "activations_xp")),
            ]:
                session.run(python, "-m", "pip", "install", "-q", requirement, external=True)
                session.run(python, *command, external=True)


@nox.session(default=False, venv_params=["--system-site-packages"])
@nox.parametrize("library", ["torch", "jax"], ids=["torch", "jax"])
def gpu(session: nox.Session, library: str) -> None:
    """Run the tests on a CUDA device, with the torch or jax of the machine."""
    install(session, "-e", ".[cli]", *group("test", "keras"))
    session.run("pytest", "--backend", f"{library}-cuda", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, and search for mistakes, with ruff."""
    install(session, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the package with mypy, and examples of its use with mypy and pyright."""
    install(session, "-e", ".[cli,plot]", *group("types", "torch", "jax"))
    session.run("mypy")
    session.run("mypy", "--strict", "tests/tools/typing_examples.py")
    session.run("pyright", "tests/tools/typing_examples.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in build/site, check its links, and run the examples of its pages."""
    install(
        session, "-e", ".[cli,experiments,plot]", *group("docs", "test", "torch", "jax", "dask")
    )
    shutil.rmtree("build/site", ignore_errors=True)
    options = ("-W", "--keep-going", "-q", "-d", "build/doctrees")  # a warning is an error
    session.run("sphinx-build", *options, "docs", "build/site", env=ENVIRONMENT)
    backends = ("--backend", "numpy", "--backend", "torch", "--backend", "jax")
    session.run("pytest", "-q", *backends, "tests/site", env=QUICK)
    session.run("pytest", "-q", "-n", "2", *backends[:4], "tests/where", env=QUICK)


@nox.session(requires=["docs"])
def browser(session: nox.Session) -> None:
    """Use the site in the Chromium of the machine: what it shows, and that all can read it."""
    install(session, "-e", ".", *group("browser"))
    options = ("-q", "-c", "tests/browser/pytest.ini")
    session.run("pytest", *options, "tests/browser", *session.posargs, env=ENVIRONMENT)


@nox.session(default=False)
def tables(session: nox.Session) -> None:
    """Write what is generated and kept: pages, tables and pictures in docs/, types of layers."""
    install(session, "-e", ".[experiments,plot]", *group("docs", "torch"))
    page = session.run("python", "-m", "activations_xp", "list", "--markdown", silent=True)
    Path("docs/functions.md").write_text(page)
    page = session.run("python", "tests/tools/conventions.py", silent=True)
    Path("docs/conventions.md").write_text(page)
    session.run("python", "tests/tools/overviews.py", env=TOOLS)
    session.run("python", "tests/tools/layer_types.py", env=TOOLS)


@nox.session(default=False)
def which(session: nox.Session) -> None:
    """Run the experiments of docs/which.md; ``nox -s tables`` writes what the page shows."""
    install(session, "-e", ".[experiments]")
    session.run("python", "tests/tools/which.py", env={**ENVIRONMENT, **TOOLS})


WHERE = {
    "numpy": "numpy",
    "strict": "strict",
    "dask": "dask",
    "torch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "mlx": "others",
    "ndonnx": "others",
    "cubed": "others",
    "sparse": "others",
}
"""The dependency group of each library on the page *Where it runs*."""


@nox.session(default=False)
@nox.parametrize("library", list(WHERE), ids=list(WHERE))
def where(session: nox.Session, library: str) -> None:
    """Write which functions run on a library; ``nox -s tables`` writes what the page shows."""
    install(session, "-e", ".[cli]", *group("test", WHERE[library]))
    report = f"build/where/{library}.xml"
    options = ("-n", "2", "-q", "--tb=no", "--backend", library, f"--junitxml={report}")
    # a test that fails is a result
    session.run("pytest", *options, "tests/where", env=ENVIRONMENT, success_codes=[0, 1])
    session.run("python", "tests/tools/where.py", library, env=TOOLS)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Write the times of all functions and their peers, or print those of the given functions."""
    install(session, "-e", ".[numba,plot]", *group("test", "torch", "jax"))
    session.run("python", "tests/tools/bench.py", *session.posargs, env=TOOLS)
    if not session.posargs:
        session.run("python", "tests/tools/bench_operations.py", env=TOOLS)


@nox.session(default=False, venv_params=["--system-site-packages"])
def bench_gpu(session: nox.Session) -> None:
    """Do the same on a CUDA device, with the torch and the jax of the machine."""
    install(session, "-e", ".", *group("test"))
    session.run("python", "tests/tools/bench_gpu.py", *session.posargs, env=TOOLS)


@nox.session(default=False, tags=["sweep"])
def accuracy(session: nox.Session) -> None:
    """Write the errors of all functions and their peers, or print those of the given functions.

    ``-- --only TITLE`` measures one section anew.
    """
    install(session, "-e", ".[cli,numba]", *group("test", "torch", "jax"))
    session.run("python", "tests/tools/accuracy.py", *session.posargs, env=TOOLS)


@nox.session(default=False)
def memory(session: nox.Session) -> None:
    """Print the memory that PyTorch keeps for the backward pass of every function."""
    install(session, "-e", ".[cli]", *group("test", "torch"))
    session.run("python", "tests/tools/memory.py", env=TOOLS)
