"""The results of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import report
from .records import FILE, parse
from .statistics import Runs

if TYPE_CHECKING:
    from pandas import DataFrame


class Results(Runs):
    """The runs of a comparison, with their statistics, table, pictures and report.

    Attributes
    ----------
    runs : list of dict
        The record of each run: a function at a depth, a learning rate and a seed.
    rows : list of dict
        Those at the learning rate that is chosen for each function, depth and seed.
    functions, depths, lrs, seeds : list
        What the runs range over.
    settings, versions : dict
        What they have in common.
    """

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Return the results in a folder that `compare` has written."""
        path = Path(folder) / FILE
        content = path.read_bytes()
        return cls(parse(path, content[: content.rfind(b"\n") + 1]))

    def to_frame(self) -> DataFrame:
        """Return a pandas.DataFrame with a line for each run.

        Its columns are the values of a record that are numbers, and ``chosen``, whether the run has
        the learning rate that is chosen for its function, depth and seed.
        """
        import pandas as pd

        chosen = {id(row) for row in self.rows}
        plain = (int, float, str, type(None))
        return pd.DataFrame(
            [
                {
                    **{k: v for k, v in run.items() if isinstance(v, plain) and k != "identity"},
                    "chosen": id(run) in chosen,
                }
                for run in self.runs
            ]
        )

    def figures(self) -> dict[str, Any]:
        """Return the pictures of the report as Matplotlib's figures, by section and caption."""
        return {
            f"{title}: {text}": figure
            for title, parts in report.sections(self)
            for text, figure in parts
        }

    def report(self, path: str | Path) -> None:
        """Write the report to an HTML file, which holds all it needs.

        Parameters
        ----------
        path : str or path
            The file, which is replaced if it exists.
        """
        report.write(self, Path(path))
