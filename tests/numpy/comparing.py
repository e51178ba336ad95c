"""Comparing results: values to rounding; dtypes, shapes and structure exactly."""

import numpy as np

from tracejit import Array

EPS_OF = 64  # units in the last place of the largest element


def assert_same(found: object, want: object) -> None:
    """Assert that a result, or a structure of results, is NumPy's."""
    if isinstance(want, list | tuple):
        assert type(found) is type(want) or isinstance(found, tuple)
        for a, b in zip(found, want, strict=True):
            assert_same(a, b)
        return
    if not isinstance(want, np.ndarray | np.generic):
        assert found == want
        return
    assert isinstance(found, np.ndarray | np.generic | Array)
    assert found.dtype == want.dtype
    assert found.shape == want.shape
    host = np.asarray(found)
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(host, want)
        return
    atol = EPS_OF * np.finfo(want.dtype).eps * np.max(np.abs(want), initial=1e-300)
    np.testing.assert_allclose(host, want, rtol=0, atol=np.nan_to_num(atol, posinf=0))
