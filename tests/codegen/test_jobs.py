"""How ranges are cut for threads: all covered, in quanta, with equal shares."""

import itertools

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.jobs import even_pieces

SHAPES = [(1024, 14), (32, 6), (960, 6), (1000, 6), (7, 1), (256, 64), (5, 96), (1, 1)]


def shares(extent: int, quantum: int, pieces: int, threads: int) -> list[int]:
    """What each thread does, if each takes the next range when it is free."""
    units = -(-extent // quantum)
    starts = [min(n * units // pieces * quantum, extent) for n in range(pieces + 1)]
    assert starts[0] == 0
    assert starts[-1] == extent
    busy = [0] * threads
    for begin, end in itertools.pairwise(starts):
        assert begin < end
        busy[busy.index(min(busy))] += end - begin
    return busy


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize(("extent", "quantum"), SHAPES)
def test_no_thread_waits_long(extent: int, quantum: int, threads: int) -> None:
    pieces = even_pieces(extent, quantum, threads, 4)
    longest = max(shares(extent, quantum, pieces, threads))
    rounded = -(-extent // quantum // threads) * quantum
    assert longest <= max(1.02 * (extent / threads + quantum), rounded)


def test_many_ranges_only_where_they_are_as_even() -> None:
    assert even_pieces(32, 6, 2, 2) == 2  # 18 and 14 rows; four would be 12, 6 and 14
    assert even_pieces(960, 6, 2, 4) == 8
    assert even_pieces(960, 6, 2, 1) == 2


@pytest.mark.parametrize("rows", [13, 32, 40, 100])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_products_have_the_same_bits_however_they_are_cut(rows, threads) -> None:
    rng = np.random.default_rng(rows)
    x, w = rng.normal(size=(rows, 70)), rng.normal(size=(70, 130))
    with tj.config.override(threads=1):
        want = tj.jit(lambda x, w: np.tanh(x @ w))(x, w)
    with tj.config.override(threads=threads, share_from=0):
        got = tj.jit(lambda x, w: np.tanh(x @ w))(x, w)
    np.testing.assert_array_equal(got, want)
