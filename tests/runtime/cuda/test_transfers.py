"""Copies that run beside kernels: what waits for what, and for nothing else.

Every test of the fake driver fails for accesses that nothing orders; here, small chunks
make many copies, and the waits are taken away to see that they are missed.
"""

import gc
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cuda import device as device_module
from tracejit.runtime.cuda import transfers
from tracejit.runtime.cuda.order import Arrivals, Marks

from .happens_before import HOST

X = np.arange(60.0).reshape(5, 12)


@pytest.fixture(autouse=True)
def _small():
    """Make every array of at least 64 bytes large, and pieces of 128 bytes."""
    with (
        patch.object(device_module, "LARGE", 64),
        patch.object(transfers, "CHUNK", 128),
        patch.object(transfers, "CHUNKS", 3),
    ):
        yield


def called(fake, name):
    return [arguments for function, arguments in fake.calls if function == name]


def waits(fake, device):
    return [
        1 for stream, *_ in called(fake, "cuStreamWaitEvent") if stream == device.stream
    ]


def test_copies_to_the_device_have_a_stream_of_their_own(fake, device):
    x = tj.to_device(X, device)
    copies = called(fake, "cuMemcpyHtoDAsync")
    assert [size for _, _, size, _ in copies] == [128, 128, 128, 96]
    assert {stream for *_, stream in copies} == {device.transfers.inward}
    assert all(fake.is_locked(source) for _, source, _, _ in copies)
    assert not waits(fake, device)
    np.testing.assert_array_equal(x.numpy(), X)


def test_the_host_does_not_wait_while_there_is_page_locked_memory(fake, device):
    tj.to_device(X[:4], device)  # three pieces
    assert not [name for name in fake.names() if name.endswith("Synchronize")]
    tj.to_device(X[:4], device)  # the same three
    assert fake.names().count("cuEventSynchronize") == 3
    assert len(fake.locked) == 3


def test_kernels_wait_for_what_they_use_and_once(fake, device):
    double = tj.jit(lambda x: x * 2)
    small = tj.to_device(X[0, :4], device)  # between kernels, as it is not large
    large = [tj.to_device(X + k, device) for k in range(3)]
    double(small)
    assert not waits(fake, device)
    second = double(large[1])
    assert len(waits(fake, device)) == 1
    first = double(large[0])  # it was copied before
    assert len(waits(fake, device)) == 1
    third = double(large[2][1:])  # a view of it
    assert len(waits(fake, device)) == 2
    for k, y in enumerate((first, second)):
        np.testing.assert_array_equal(y.numpy(), 2 * (X + k))
    np.testing.assert_array_equal(third.numpy(), 2 * (X[1:] + 2))


def test_arguments_captures_and_constants_are_waited_for(device):
    captured, table = np.sin(X), np.cos(X)

    @tj.jit(device=device)
    def mix(x):
        return x * captured + np.asarray(table.tolist())

    np.testing.assert_allclose(mix(X).numpy(), X * captured + table)
    np.testing.assert_allclose(mix(X + 1).numpy(), (X + 1) * captured + table)


def test_results_are_read_while_later_kernels_run(fake, device):
    double = tj.jit(lambda x: x * 2)
    x = tj.to_device(X, device)
    first = double(x)
    later = double(first)
    del fake.calls[:]
    np.testing.assert_array_equal(first.numpy(), 2 * X)
    assert "cuStreamSynchronize" not in fake.names()
    assert {s for *_, s in called(fake, "cuMemcpyDtoHAsync")} == {
        device.transfers.outward
    }
    time = fake.order.clock(device.stream)[device.stream]
    assert not fake.order.knows(HOST, device.stream, time)
    np.testing.assert_array_equal(later.numpy(), 4 * X)
    assert fake.order.knows(HOST, device.stream, time)


def test_many_threads_share_little_page_locked_memory(device):
    x = tj.jit(lambda x: x * 2)(tj.to_device(X, device))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: x.numpy(), range(40)))
    assert all(np.array_equal(y, 2 * X) for y in found)
    device.synchronize()


def test_what_was_copied_there_is_read_without_a_wait_for_kernels(fake, device):
    x = tj.to_device(X, device)
    tj.jit(lambda x: x * 2)(tj.to_device(X + 1, device))
    time = fake.order.clock(device.stream)[device.stream]
    np.testing.assert_array_equal(x.numpy(), X)
    assert not fake.order.knows(HOST, device.stream, time)
    x += 1
    np.testing.assert_array_equal(x.numpy(), X + 1)


def test_errors_of_later_kernels_are_left_to_those_who_wait_for_them(device):
    pick = tj.jit(lambda x, i: x[i])
    x = tj.to_device(X, device)
    for i in (1, 2):  # a constant first, then a run-time value
        pick(x, i)
    device.synchronize()
    good = tj.jit(lambda x: x + 1)(x)
    bad = pick(x, 9)
    np.testing.assert_array_equal(good.numpy(), X + 1)
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        bad.numpy()


def test_a_run_that_failed_is_reported_though_the_function_ran_again(device):
    pick = tj.jit(lambda x, i: x[i])
    x = tj.to_device(X, device)
    for i in (1, 2):
        pick(x, i)
    bad = pick(x, 9)
    pick(x, 3)
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        bad.numpy()
    device.synchronize()


def test_memory_is_used_again_without_a_wait_of_the_host(fake, device):
    step = tj.jit(lambda x, total: total + x.sum())
    total = tj.to_device(np.zeros(()), device)
    for k in range(8):
        x = tj.to_device(X + k, device)
        total = step(x, total)
    assert float(total) == 8 * X.sum() + 28 * X.size
    asked = [size for _, size, _ in called(fake, "cuMemAllocAsync")]
    assert asked.count(512) <= 5


def test_few_copies_are_remembered(fake, device):
    kept = [tj.to_device(X + k, device) for k in range(100)]
    assert len(device.arrivals.pending) <= 64
    total = tj.jit(lambda *xs: sum(x[0, 0] for x in xs))(*kept[::9])
    assert float(total) == sum(range(100)[::9])


def test_writes_are_read(device):
    x = tj.jit(lambda x: x + 0)(tj.to_device(X, device))
    x[1:] += 5
    x.T[2] = -1
    want = X.copy()
    want[1:] += 5
    want.T[2] = -1
    np.testing.assert_array_equal(x.numpy(), want)


def test_what_others_see_is_read_after_all_that_was_asked_for(fake, device):
    x = tj.jit(lambda x: x + 0)(tj.to_device(X, device))
    assert x.__cuda_array_interface__["stream"] == 1
    del fake.calls[:]
    x.numpy()
    assert called(fake, "cuMemcpyDtoHAsync")[0][-1] == device.stream
    x += 1
    np.testing.assert_array_equal(x.numpy(), X + 1)


def test_memory_of_arrays_that_were_never_used(device):
    for k in range(4):
        y = tj.jit(lambda x: x * 3)(tj.to_device(X + k, device))
        tj.to_device(X, device)
        gc.collect()
        np.testing.assert_array_equal(y.numpy(), 3 * (X + k))
    device.pool.trim()


@pytest.mark.parametrize(
    ("owner", "name"), [(Arrivals, "_settle"), (Marks, "wait")], ids=["to", "from"]
)
def test_a_wait_that_is_missing_is_found(owner, name, fake, device):
    with patch.object(owner, name, lambda *arguments: None):
        y = tj.jit(lambda x: x * 2)(tj.to_device(X, device))
        y.numpy()
        del y
        tj.to_device(X, device)
    assert fake.order.faults
    del fake.order.faults[:]


def test_page_locked_memory_goes_back(fake, device):
    tj.to_device(X, device).numpy()
    del device.transfers
    gc.collect()
    assert not fake.locked
