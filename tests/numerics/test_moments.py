"""How far variances and sums of exponentials over long rows are from exact ones.

They run block by block (`tracejit.kernels.blocks`). The promise is that of sums: an rms
error over random inputs of at most twice NumPy's, which reads the row twice.
"""

import math

import numpy as np
import pytest

import tracejit as tj


def logsumexp(x):
    top = x.max()
    return top + np.log(np.exp(x - top).sum())


def total_of_exponentials(x):
    return np.exp(x - x.max()).sum()


def draws(size: int):
    """Yield float32 arrays: near zero, far from it, of many magnitudes, drifting."""
    rng = np.random.default_rng(size)
    for _ in range(max(1, min(10, 10**6 // size))):
        yield rng.normal(size=size).astype(np.float32)
        yield (100 + rng.normal(size=size)).astype(np.float32)
        yield np.exp(2 * rng.normal(size=size)).astype(np.float32)
        yield (np.linspace(-50, 50, size) + rng.normal(size=size)).astype(np.float32)


def rms(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


CASES = [
    *((fn, n) for n in (10**4, 10**5) for fn in (np.var, np.std)),
    *((fn, n) for n in (10**4, 10**5) for fn in (total_of_exponentials, logsumexp)),
    (total_of_exponentials, 10**6),
    (np.var, 5 * 10**6),
]


@pytest.mark.parametrize(("fn", "size"), CASES)
def test_rms_error_is_at_most_twice_numpys(fn, size):
    compiled = tj.jit(fn)
    ours, numpys = [], []
    for x in draws(size):
        exact = float(fn(x.astype(np.float64)))
        scale = abs(exact) * float(np.finfo(np.float32).eps)
        ours.append((float(compiled(x)) - exact) / scale)
        numpys.append((float(fn(x)) - exact) / scale)
    assert rms(ours) <= 2 * max(rms(numpys), 0.5)  # half a unit is rounding alone


def test_the_textbook_variance_would_not_pass():
    """The bound can fail: the difference of two sums is not within it."""
    x = (100 + np.random.default_rng(0).normal(size=10**6)).astype(np.float32)
    exact = float(x.var(dtype=np.float64))
    naive = float((x * x).mean() - x.mean() ** 2)
    unit = exact * float(np.finfo(np.float32).eps)
    assert abs(naive - exact) > 20 * abs(float(x.var()) - exact) + 20 * unit
