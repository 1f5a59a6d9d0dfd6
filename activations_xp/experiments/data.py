"""The data that networks are trained on: scikit-learn's, a file's or a user's arrays."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import describe_value, needs_extra

NAMES = ("digits", "wine", "breast_cancer")
"""The data sets of scikit-learn that come with it."""

SMALLEST_CLASS = 5
"""The fewest examples of a class, of which a fifth is held out twice."""


@dataclass(frozen=True, eq=False)
class Data:
    """Examples and their classes, numbered from 0."""

    name: str
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    classes: tuple[str, ...]

    @functools.cached_property
    def fingerprint(self) -> str:
        """The start of a hash of all numbers."""
        text = repr((self.x.shape, self.x.dtype.str)).encode()
        return hashlib.sha256(text + self.x.tobytes() + self.y.tobytes()).hexdigest()[:16]

    def split(self, seed: int, dtype: Any) -> Split:
        """Return three fifths to train on, one to validate and one to test, of each class.

        Features are standardized by the mean and the deviation of those to train on; images have
        one mean and one deviation for all pixels.
        """
        from sklearn.model_selection import train_test_split

        rest, test = train_test_split(
            np.arange(len(self.y)), test_size=0.2, stratify=self.y, random_state=seed
        )
        train, validation = train_test_split(
            rest, test_size=0.25, stratify=self.y[rest], random_state=seed
        )
        # the pixels of an image are of one kind, and some have hardly any deviation of their own
        axis = None if self.x.ndim > 2 else 0
        mean = np.mean(self.x[train], axis=axis)
        deviation = np.std(self.x[train], axis=axis)
        scaled = (self.x - mean) / np.where(deviation > 0, deviation, 1)
        one_hot = np.eye(len(self.classes), dtype=dtype)[self.y]
        x = scaled.astype(dtype)
        return Split(*((x[part], one_hot[part]) for part in (train, validation, test)))


@dataclass(frozen=True, eq=False)
class Split:
    """The examples and the classes, one-hot, to train on, to validate and to test."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]
    test: tuple[Any, Any]


def load(data: Any) -> Data:
    """Return a data set by its name, from a file, or of a pair of arrays (X, y).

    Raises
    ------
    OSError, TypeError, ValueError
        If there is none, or a network cannot be trained on it.
    """
    if isinstance(data, Data):
        return data
    if isinstance(data, str) and data in NAMES:
        return _load_named(data)
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        return _check(path.name, *_read(path))
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return _check("arrays", *map(np.asarray, data))
    got = describe_value(data)
    raise TypeError(f"compare: data must be a name, a file or a pair of arrays, got {got}")


def _load_named(name: str) -> Data:
    with needs_extra(f"data {name!r} comes with scikit-learn", "experiments"):
        from sklearn import datasets
    found = getattr(datasets, f"load_{name}")()
    x = found.images[..., None] if name == "digits" else found.data
    return _check(name, x, found.target)


def _read(path: Path) -> tuple[Any, Any]:
    if not path.exists() and path.suffix != ".npz":
        known = ", ".join(NAMES)
        raise ValueError(
            f"compare: no data set is named {str(path)!r}; there are {known} and FILE.npz"
        )
    if not zipfile.is_zipfile(path):
        path.open("rb").close()  # which says so if it is not there
        raise ValueError(f"{path} is not an .npz file, which numpy.savez writes")
    with np.load(path, allow_pickle=False) as file:
        for name in ("X", "y"):
            if name not in file:
                found = ", ".join(file) or "nothing"
                raise ValueError(f"{path} must hold X and y, got {found}")
        try:
            return file["X"], file["y"]
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _check(name: str, x: Any, y: Any) -> Data:
    if x.dtype.kind not in "biuf" or x.ndim < 2:
        got = f"{x.ndim} axes of dtype {x.dtype}"
        raise TypeError(f"{name}: X must be an array of numbers with 2 axes or more, got {got}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"{name}: y must have the shape {x.shape[:1]}, got {y.shape}")
    if y.dtype.kind not in "biufUS" or (y.dtype.kind == "f" and not (y == np.floor(y)).all()):
        raise TypeError(f"{name}: y must hold classes, which are integers or strings")
    if 0 in x.shape:
        raise ValueError(f"{name}: X must not be empty, got shape {x.shape}")
    x = x.astype(np.float64)
    if not np.isfinite(x).all():
        n = int(np.sum(~np.isfinite(x)))
        raise ValueError(f"{name}: X must be finite, got {n} numbers that are NaN or infinite")
    classes, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"{name}: y must hold two classes at least, got {len(classes)}")
    rarest = int(np.argmin(counts))
    if counts[rarest] < SMALLEST_CLASS:
        raise ValueError(
            f"{name}: each class needs {SMALLEST_CLASS} examples to be split, got {counts[rarest]}"
            f" of {str(classes[rarest])!r}"
        )
    if x.ndim == 3:
        x = x[..., None]
    return Data(name, x, numbers.astype(np.int64), tuple(map(str, classes)))
