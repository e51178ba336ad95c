"""Copies beside kernels, of arrays large enough to take their time."""

import numpy as np

import tracejit as tj

SIZE = 1 << 22


def test_batches_are_copied_while_others_are_used(device):
    step = tj.jit(lambda x, total: total + np.sum(np.sin(x) ** 2 + np.cos(x) ** 2))
    rng, total = np.random.default_rng(0), tj.to_device(np.zeros(()), device)
    for _ in range(30):
        x = tj.to_device(rng.standard_normal(SIZE, np.float32), device)
        total = step(x, total)
    assert abs(float(total) - 30 * SIZE) <= 1e-5 * 30 * SIZE


def test_results_are_read_while_later_kernels_run(device):
    grow = tj.jit(lambda x: x + 1)
    kept = [tj.to_device(np.zeros(SIZE, np.float32), device)]
    for _ in range(20):
        kept.append(grow(kept[-1]))
    for turn, x in enumerate(kept):
        np.testing.assert_array_equal(x.numpy(), np.full(SIZE, turn, np.float32))


def test_what_is_written_is_read(device):
    x = tj.jit(lambda x: x * 2)(tj.to_device(np.ones(SIZE, np.float32), device))
    for turn in range(10):
        x += 1
        x[::2] -= 1
        want = np.full(SIZE, 3.0 + turn, np.float32)
        want[::2] = 2
        np.testing.assert_array_equal(x.numpy(), want)
