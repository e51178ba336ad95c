"""Arenas are aligned, reused and never shared; results are aligned."""

import threading
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from tracejit.errors import InternalError
from tracejit.runtime.cpu.arena import Arena, ArenaPool, aligned_empty


@pytest.mark.parametrize("alignment", [1, 64, 4096])
@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 10_000])
def test_arena_is_aligned_and_inside_its_buffer(nbytes: int, alignment: int) -> None:
    arena = ArenaPool(nbytes, alignment).acquire()
    start = arena.buffer.ctypes.data
    assert arena.address % alignment == 0
    assert start <= arena.address
    assert arena.address + nbytes <= start + arena.buffer.nbytes
    assert arena.address != 0


def test_released_arena_is_reused() -> None:
    pool = ArenaPool(100)
    first = pool.acquire()
    pool.release(first)
    assert pool.acquire() is first


def test_arenas_in_use_are_distinct() -> None:
    pool = ArenaPool(100)
    arenas = [pool.acquire() for _ in range(20)]
    addresses = sorted(arena.address for arena in arenas)
    gaps = np.diff(addresses)
    assert (gaps >= 100).all()


def test_only_some_free_arenas_are_kept() -> None:
    pool = ArenaPool(100, kept=2)
    arenas = [pool.acquire() for _ in range(5)]
    for arena in arenas:
        pool.release(arena)
    again = [pool.acquire() for _ in range(5)]
    assert sum(arena in arenas for arena in again) == 2


def test_no_arena_has_two_owners_at_once() -> None:
    pool = ArenaPool(64, kept=3)
    owned: set[Arena] = set()
    lock = threading.Lock()
    start = threading.Barrier(8)

    def work(_: int) -> int:
        start.wait()
        clashes = 0
        for _ in range(500):
            arena = pool.acquire()
            with lock:
                clashes += arena in owned
                owned.add(arena)
            with lock:
                owned.remove(arena)
            pool.release(arena)
        return clashes

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(work, range(8))) == 0


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.float16, np.float32, np.complex128]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (7,), (3, 5), (1000, 33)])
def test_aligned_empty(shape: tuple[int, ...], dtype: type) -> None:
    array = aligned_empty(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert (array == 1).all()


def test_aligned_empty_holds_bfloat16() -> None:
    array = aligned_empty((5,), np.dtype(ml_dtypes.bfloat16), alignment=256)
    assert array.ctypes.data % 256 == 0
    assert array.dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("alignment", [0, -64, 48])
def test_bad_alignment(alignment: int) -> None:
    with pytest.raises(InternalError, match=f"alignment {alignment} is not a power"):
        aligned_empty((3,), np.dtype(np.int8), alignment)
    with pytest.raises(InternalError, match=f"alignment {alignment} is not a power"):
        ArenaPool(10, alignment)


def test_bad_sizes() -> None:
    with pytest.raises(InternalError, match="arena of -1 bytes"):
        ArenaPool(-1)
    with pytest.raises(InternalError, match="-2 kept"):
        ArenaPool(1, kept=-2)
