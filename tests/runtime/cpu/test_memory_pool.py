"""Results in memory used before: only when nothing refers to it any more."""

import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cpu.memory.pool import PAGE, OutputPool

F32 = np.dtype(np.float32)
SHAPE = (100, 1000)


def test_memory_of_a_dead_array_is_used_again() -> None:
    pool = OutputPool()
    array = pool.empty(SHAPE, F32)
    address = array.ctypes.data
    del array
    again = pool.empty((1000, 100), np.dtype(np.int32))
    assert again.ctypes.data == address
    assert (pool.counters.new, pool.counters.reused) == (1, 1)


def test_arrays_are_plain_aligned_and_writeable() -> None:
    array = OutputPool().empty(SHAPE, F32)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (SHAPE, F32)
    assert array.ctypes.data % PAGE == 0
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert not array.flags.owndata
    array[...] = 3
    assert array.sum() == 300_000


@pytest.mark.parametrize(
    "keep",
    [
        lambda x: x,
        lambda x: x[::3, 5:].T,
        lambda x: x.reshape(-1).view(np.int32),
        lambda x: x[3:4][0, 2:7],
        lambda x: memoryview(x),
        lambda x: np.lib.stride_tricks.as_strided(x, (3, 3)),
        lambda x: x.base,
        lambda x: np.asarray(memoryview(x)),
        lambda x: {"nested": [x.ravel()]},
        lambda x: x.flat,
        lambda x: x.ctypes,
        lambda x: np.broadcast_to(x[0], (5, 1000)),
    ],
)
def test_memory_in_use_stays_where_it_is(keep) -> None:
    gc.freeze()  # what other tests left takes the collector a second
    pool = OutputPool()
    array = pool.empty(SHAPE, F32)
    address = array.ctypes.data
    kept = keep(array)
    del array
    others = [pool.empty(SHAPE, F32) for _ in range(20)]
    assert all(other.ctypes.data != address for other in others)
    del kept
    gc.collect()
    del others
    found = [pool.empty(SHAPE, F32) for _ in range(25)]
    assert any(other.ctypes.data == address for other in found)


def test_a_weak_reference_to_the_memory_keeps_it_from_reuse() -> None:
    pool = OutputPool()
    array = pool.empty(SHAPE, F32)
    watch, address = weakref.ref(array.base), array.ctypes.data
    del array
    assert watch() is not None
    assert pool.empty(SHAPE, F32).ctypes.data != address


def test_it_remembers_no_more_than_its_capacity() -> None:
    pool = OutputPool(capacity=1_000_000)
    kept = [pool.empty((50_000,), F32) for _ in range(30)]
    assert 0 < pool.nbytes <= 1_000_000
    for k, array in enumerate(kept):
        array[:] = k
    assert [array[0] for array in kept] == list(range(30))
    del kept
    assert pool.nbytes <= 1_000_000
    pool.empty((1_000_000,), F32)
    assert pool.nbytes <= 1_000_000
    for n in range(20_000, 60_000, 1_000):
        pool.empty((n,), F32)
    assert 0 < pool.nbytes <= 1_000_000
    pool.clear()
    assert pool.nbytes == 0


def test_memory_beyond_the_capacity_is_freed_with_its_array() -> None:
    pool = OutputPool(capacity=100_000)
    array = pool.empty(SHAPE, F32)
    watch = weakref.ref(array.base)
    del array
    assert watch() is None


def test_two_threads_never_get_the_same_memory() -> None:
    pool = OutputPool()
    barrier = threading.Barrier(4)

    def work(number: int) -> int:
        barrier.wait()
        wrong = 0
        for step in range(300):
            array = pool.empty((20_000,), F32)
            array[:] = number * 1000 + step
            wrong += not (array == number * 1000 + step).all()
        return wrong

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(work, range(4))) == 0


def test_results_of_calls_come_from_the_pool_and_are_ordinary() -> None:
    double = tj.jit(lambda x: x * 2)
    x = np.arange(100_000, dtype=np.float32).reshape(SHAPE)
    first = double(x)
    view = first[5:7]
    address = first.ctypes.data
    del first
    second = double(x + 1)
    assert second.ctypes.data != address
    np.testing.assert_array_equal(view, x[5:7] * 2)
    restored = pickle.loads(pickle.dumps(second))
    np.testing.assert_array_equal(restored, (x + 1) * 2)
    with pytest.raises(ValueError, match="own"):
        second.resize((10,), refcheck=False)
    second.setflags(write=False)
    third = double(x)
    third[0, 0] = 5  # memory is writeable again, whatever was done to an array over it
