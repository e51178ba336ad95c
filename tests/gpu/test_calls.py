"""Functions on the machine's device; see `tests.runtime.cuda.test_calls`."""

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.test_calls import (  # noqa: F401
    test_a_device_that_is_not_there,
    test_an_index_out_of_range_is_reported_when_the_host_waits,
    test_an_odd_address_is_copied,
    test_arguments_that_overlap,
    test_branches,
    test_captured_arrays,
    test_errors_of_host_steps_are_raised,
    test_gradients,
    test_numpys_arguments_are_written_back,
    test_prints_and_checks,
    test_results_that_are_arguments_or_views_of_them,
    test_scans_move_over_rows,
    test_steps_of_the_host_say_so,
    three_kernels,
)


def test_recordings_are_replayed(device):
    compiled = tj.jit(three_kernels)
    kept = []
    for turn in range(40):
        host = np.arange(12.0).reshape(3, 4) + turn
        x = tj.to_device(host, device)
        kept.append((x, compiled(x)) if turn % 3 == 0 else None)
        np.testing.assert_allclose(compiled(x).numpy(), three_kernels(host), rtol=1e-11)


def test_no_room_says_what_is_live(device):
    x = tj.to_device(np.ones(1000), device)
    with pytest.raises(tj.errors.DeviceMemoryError, match="has no room") as error:
        device.pool.allocate(1 << 50)
    assert "8,000 bytes: array" in str(error.value)
    np.testing.assert_array_equal((x + 1).numpy(), np.full(1000, 2.0))


def test_large_arrays(device):
    host = np.random.default_rng(0).standard_normal(1 << 24, np.float32)
    total = tj.jit(lambda x: np.sum(x * x))(tj.to_device(host, device))
    want = np.sum(host.astype(np.float64) ** 2)
    assert abs(float(total) - want) <= 1e-6 * want


def test_the_device_says_what_it_is(device):
    assert device.arch.startswith("sm_")
    assert device.processors > 0
    assert device.model in repr(device)
