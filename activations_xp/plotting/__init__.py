"""Pictures of functions: `plot` draws on Axes of matplotlib, `sample` returns the numbers.

Importing this module imports NumPy alone.
"""

from .curves import Asymptote, Curve
from .drawing import plot, render
from .sampling import sample
from .tables import Bars, Grid

__all__ = ["Asymptote", "Bars", "Curve", "Grid", "plot", "render", "sample"]
