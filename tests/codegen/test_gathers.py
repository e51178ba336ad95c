"""Rows of tables: fetched early where that is known, checked together in short sums."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.target import host_target

from .building import targets

ISAS = [target.name for target in targets() if target.name != "generic"]
RNG = np.random.default_rng(5)
TABLE = RNG.normal(size=(5000, 64)).astype("f4")  # 1.25 MiB: more than is near a core
WORDS = RNG.integers(-5000, 5000, size=(70, 32))
WIDE = RNG.normal(size=(3000, 200)).astype("f4")
LINES = RNG.integers(3000, size=301).astype("i4")


def take_rows(table, index):
    return table[index] * 2


def means(table, index):
    return table[index].mean(1)


def largest(table, index):
    return table[index].max(1)


def columns(table, index):
    return table[:, index] + 1


def row_sums(table, index):
    return table[index].sum(0)


def of_sines(table, x):
    return table[(np.sin(x) * 100).astype("i8")] + 1


def text_of(fn, *args):
    return tj.jit(fn).trace(*args).lower().compile().as_text()


def prefetches(fn, *args):
    return text_of(fn, *args).count("call void @llvm.prefetch.p0")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fn", [take_rows, means, largest])
def test_values(fn, threads, isa) -> None:
    with tj.config.override(threads=threads, share_from=0, isa=isa):
        got = tj.jit(fn)(TABLE, WORDS)
        wide = tj.jit(take_rows)(WIDE, LINES)
    np.testing.assert_allclose(got, fn(TABLE, WORDS), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(wide, take_rows(WIDE, LINES))


def test_rows_of_large_tables_are_fetched_early() -> None:
    assert prefetches(take_rows, TABLE, WORDS)
    assert prefetches(largest, TABLE, WORDS)
    assert prefetches(take_rows, WIDE, LINES)


@pytest.mark.parametrize(("table", "is_in_order"), [(TABLE, True), (WIDE, False)])
def test_rows_that_are_added_in_order_are_fetched_early(table, is_in_order) -> None:
    """Those of many columns are added lane by lane, 64 apart."""
    assert bool(prefetches(row_sums, table, LINES)) == is_in_order
    got, want = tj.jit(row_sums)(table, LINES), row_sums(table.astype("f8"), LINES)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_each_row_of_a_short_sum_is_fetched_once() -> None:
    # Rows need not begin with a line, nor do their halves: where vectors are short,
    # each has turns of its own.
    parts = 1 if host_target().vector_bytes == 64 else 2
    lines = TABLE.shape[1] * 4 // parts // 64 + 1
    assert prefetches(means, TABLE, WORDS) == WORDS.shape[1] * lines


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (take_rows, (TABLE[:1000], WORDS % 1000)),  # small: near after a while
        (columns, (TABLE, LINES % 64)),  # elements, not rows
        (of_sines, (TABLE, LINES.astype("f4"))),  # an index that costs much
    ],
)
def test_nothing_else_is(fn, args) -> None:
    assert not prefetches(fn, *args)
    np.testing.assert_allclose(tj.jit(fn)(*args), fn(*args), rtol=1e-6)


@pytest.mark.parametrize("fn", [means, largest, take_rows])
@pytest.mark.parametrize("place", [(0, 0), (69, 31), (40, 7)])
@pytest.mark.parametrize("bad", [5000, -5001, 2**62])
def test_an_index_out_of_range_is_named(fn, place, bad) -> None:
    words = WORDS.copy()
    words[place] = bad
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds"):
        tj.jit(fn)(TABLE, words)


def test_the_first_of_a_short_sum_is_named() -> None:
    words = WORDS.copy()
    words[3, 20], words[3, 9] = 7000, -9000
    with pytest.raises(IndexError, match="index -9000 is out of bounds"):
        tj.jit(means)(TABLE, words)


def test_the_indices_of_a_short_sum_are_checked_together() -> None:
    text = text_of(means, TABLE, WORDS)
    assert text.count("icmp uge i64") > WORDS.shape[1]
    assert text.count("!prof") < WORDS.shape[1] // 2  # branches that are not expected
