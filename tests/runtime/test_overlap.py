"""The sweep over memory ranges against NumPy's test of pairs."""

import itertools

import numpy as np
import pytest

from tracejit.runtime.overlap import byte_range, has_hazard


def views(base, rng, count):
    for _ in range(count):
        cuts = [sorted(rng.integers(0, n + 1, 2)) for n in base.shape]
        steps = rng.choice([-2, -1, 1, 2], len(cuts))
        index = tuple(
            slice(a, b, s) if s > 0 else slice(b, a, s)
            for (a, b), s in zip(cuts, steps, strict=True)
        )
        yield base[index]


def test_byte_range_is_numpys():
    rng = np.random.default_rng(0)
    base = np.zeros((7, 9), np.float32)
    for x in [*views(base, rng, 200), *views(base.T, rng, 50), np.array(1j)]:
        low, high = np.lib.array_utils.byte_bounds(x)
        start = x.__array_interface__["data"][0]
        if x.size:
            assert byte_range(x) == (low - start, high - start)
        else:
            assert byte_range(x) == (0, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_hazard_is_that_of_some_pair(count):
    rng = np.random.default_rng(count)
    base = np.zeros(40)
    found = set()
    for _ in range(500):
        arrays = list(views(base, rng, count))
        written = rng.random(count) < 0.3
        expected = any(
            np.may_share_memory(a, b) and (v or w)
            for (a, v), (b, w) in itertools.combinations(
                zip(arrays, written, strict=True), 2
            )
        )
        spans = []
        for x, w in zip(arrays, written, strict=True):
            start = x.__array_interface__["data"][0]
            first, end = byte_range(x)
            spans.append((start + first, start + end, bool(w)))
        assert has_hazard(spans) == expected
        found.add(expected)
    assert found == ({False} if count == 1 else {False, True})
