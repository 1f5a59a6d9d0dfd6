"""SciPy's own tests of its activation functions, with the drop-in in place of SciPy's.

``pytest -c tests/peers/pytest.ini -p scipy_special --pyargs scipy.special.tests.test_logsumexp``
runs a file of them on every array library that is installed.
"""

from __future__ import annotations

import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # SciPy reads it when it is imported

import scipy.special
from scipy._lib._array_api import xp_capabilities_table

import activations_xp.dropin.scipy as dropin

for name in dropin.__all__:
    ours, theirs = getattr(dropin, name), getattr(scipy.special, name)
    if theirs in xp_capabilities_table:
        xp_capabilities_table[ours] = xp_capabilities_table[theirs]
    setattr(scipy.special, name, ours)
