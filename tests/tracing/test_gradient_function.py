"""`np.gradient` as NumPy's: along any axes, over steps and coordinates."""

from typing import Any

import numpy as np
import pytest

import tracejit as tj

RNG = np.random.default_rng(0)
PLACES = np.cumsum(RNG.uniform(0.5, 1.5, 7))
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((), {"edge_order": 2}),
    ((), {"axis": 0}),
    ((2.0,), {"axis": 1}),
    ((PLACES,), {"axis": 1}),
    ((PLACES,), {"axis": 1, "edge_order": 2}),
    ((1.5, np.float64(2.5)), {"axis": (0, 2)}),
    ((2.0, PLACES, 0.5), {"edge_order": 2}),
]


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i4"])
@pytest.mark.parametrize("call", range(len(CALLS)))
def test_as_numpys(call: int, dtype: str) -> None:
    steps, keywords = CALLS[call]
    x = (RNG.normal(size=(6, 7, 8)) * 9).astype(dtype)
    want = np.gradient(x, *steps, **keywords)
    got = tj.jit(lambda x, *steps: np.gradient(x, *steps, **keywords))(x, *steps)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for a, b in pairs:
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_all_axes_are_one_kernel_without_copies() -> None:
    program = tj.jit(np.gradient).lower(np.zeros((9, 10, 11), np.float32)).program
    assert len(program.steps) == 1
