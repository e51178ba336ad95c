"""Loops with tests, and branches, inside of CUDA graphs of the machine's driver."""

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.test_conditions import FUNCTIONS, X, results


@pytest.mark.parametrize("name", FUNCTIONS)
def test_they_give_what_numpy_gives_recorded_or_not(name, device):
    fn = FUNCTIONS[name]
    compiled, x, y = tj.jit(fn), tj.to_device(X, device), None
    for _ in range(6):
        host = x.numpy()
        del y
        y = compiled(x)
        for a, b in zip(results(y), results(fn(host)), strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12)
        del a
        x += 10


def test_they_are_recorded_where_the_driver_can(device):
    compiled, x = tj.jit(FUNCTIONS["nested"]), tj.to_device(X, device)
    for _ in range(3):
        compiled(x)
    assert compiled.trace(x).lower().compile().executable._graphs is not None or (
        not device.driver.has_conditions
    )


def test_a_long_loop(device):
    count = tj.jit(lambda x: tj.while_loop(lambda c: c[0] < 20_000, lambda c: c + 1, x))
    for _ in range(3):
        found = count(tj.to_device(np.arange(3.0), device))
        np.testing.assert_array_equal(found.numpy(), np.arange(3.0) + 20_000)


@pytest.mark.skipif(len(tj.devices()) < 3, reason="there are not two devices")
def test_copies_between_devices(device):
    x = tj.jit(lambda x: x * 2)(tj.to_device(np.ones(1 << 22), device))
    y = tj.to_device(x, "cuda:1")
    x += 1
    np.testing.assert_array_equal((y + 1).numpy(), np.full(1 << 22, 3.0))
    np.testing.assert_array_equal(x.numpy(), np.full(1 << 22, 3.0))
