"""`tj.nn.conv` eager, jitted and differentiated, against sums over taps in NumPy."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ShapeError

from .reference import CASES, Case, direct

DTYPES = (np.float32, np.float64)


def operands(case: Case, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(dtype) for s in (case.x, case.w)]


def close(got, want, dtype, terms=1):
    """Within the rounding of a sum of `terms` products."""
    assert got.shape == want.shape
    eps = np.finfo(dtype).eps
    scale = np.max(np.abs(want), initial=1.0)
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * eps * scale * terms**0.5)


def terms(case: Case) -> int:
    return int(np.prod(case.w[1:]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_eager_and_jitted_give_the_sums(case, dtype):
    x, w = operands(case, dtype)
    want = direct(x, w, case.options)
    for run in (tj.nn.conv, tj.jit(lambda x, w: tj.nn.conv(x, w, **case.options))):
        got = run(x, w, **(case.options if run is tj.nn.conv else {}))
        assert type(got) is np.ndarray
        assert got.dtype == dtype
        assert got.flags.c_contiguous
        close(got, want, dtype, terms(case))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_the_transposes(case, dtype):
    """⟨g, conv(x, w)⟩ is linear in x and in w: both gradients in closed form."""
    x, w = operands(case, dtype)
    rng = np.random.default_rng(1)
    g = rng.normal(size=direct(x, w, case.options).shape).astype(dtype)

    def loss(x, w):
        return np.sum(g * tj.nn.conv(x, w, **case.options))

    def total(x, w):
        return float(np.sum(g * direct(x, w, case.options)))

    eager = tj.grad(loss, (0, 1))(x, w)
    jitted = tj.jit(tj.grad(loss, (0, 1)))(x, w)
    for got in (eager, jitted):
        assert [a.shape for a in got] == [x.shape, w.shape]
        for i, a in enumerate(got):
            direction = rng.normal(size=a.shape)
            full = [x, w]
            full[i] = direction
            size = np.sqrt(max(1, g.size) * terms(case))
            bound = 40 * np.finfo(dtype).eps * size
            assert abs(np.sum(a * direction) - total(*full)) <= bound
    for a, b in zip(eager, jitted, strict=True):
        close(b, a, dtype, max(terms(case), g.size))
