"""Every 16-bit number, on every library."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from oracle import in_sweep, precision, required_parameters

from conftest import DTYPES

PATTERNS = np.arange(2**16, dtype=np.uint16)


@pytest.mark.parametrize("dtype", in_sweep(["float16", "bfloat16"]))
def test_every_half_precision_number(elementwise, backend, dtype):
    """Correctly rounded, so far as 64 bits can tell, and the same as with NumPy."""
    parameters = required_parameters(elementwise)
    info = ml_dtypes.finfo(dtype)
    x = PATTERNS.view(DTYPES[dtype])
    with precision("accurate"), np.errstate(all="ignore"):
        got = backend.asnumpy(elementwise(backend.array(x, dtype), **parameters))
        expected = elementwise(x, **parameters)
        x = x.astype("f8")
        exact = elementwise(x, **parameters)
        normal = np.min(np.abs([x, exact]), 0) >= float(info.smallest_normal)
        finite = normal & (np.abs(exact) <= float(info.max))
        error = np.abs(got.astype("f8") - exact)[finite]
    unit = np.ldexp(1.0, np.frexp(exact[finite])[1] - 1 - info.nmant)
    assert (error / unit).max() <= 0.5 + 1e-12
    assert got.dtype == expected.dtype
    # a result that 64 bits hold for a tie: the last digit of it may be another, of eswish at
    # 1.6e-16 on torch, where NumPy's exp is a unit lower
    ties = {"torch": 2, "jax": 12}.get(backend.library, 0)
    assert np.sum(got[normal] != expected[normal]) <= ties
    assert (np.isnan(got) == np.isnan(exact))[normal | ~np.isfinite(x)].all()
