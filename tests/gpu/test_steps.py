"""Sorts and scatters of many elements, and complex numbers, on the machine's device."""

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.test_complex import FUNCTIONS, check

RNG = np.random.default_rng(0)
SORTED = {
    "f4": RNG.standard_normal(300_001, np.float32),
    "f8": RNG.standard_normal(1 << 20),
    "i8": RNG.integers(0, 1000, (3, 100_000)),
    "u2": RNG.integers(0, 1 << 16, 50_000).astype(np.uint16),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SORTED)
def test_sorts(name, device):
    x = SORTED[name]
    found = tj.jit(lambda x: (np.sort(x), np.argsort(x, kind="stable")))
    ordered, places = found(tj.to_device(x, device))
    np.testing.assert_array_equal(ordered.numpy(), np.sort(x))
    np.testing.assert_array_equal(places.numpy(), np.argsort(x, kind="stable"))


@pytest.mark.filterwarnings("error")
def test_sums_in_order_have_numpys_bits(device):
    index = RNG.integers(0, 5000, 200_000)
    updates = RNG.standard_normal((200_000, 4), np.float32)

    def add(x, i, u):
        np.add.at(x, i, u)
        return x

    want = add(np.zeros((5000, 4), np.float32), index, updates)
    with tj.config.override(deterministic=True):
        x = tj.to_device(np.zeros((5000, 4), np.float32), device)
        found = tj.jit(add)(x, index, updates)
    np.testing.assert_array_equal(found.numpy(), want)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex_numbers(name, device):
    found, want = check(FUNCTIONS[name][0], device)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-4, atol=1e-5)
