"""Linear algebra by the machine's cuSOLVER and cuBLAS."""

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.test_linalg import (
    CASES,
    check,
    test_inverses_or_nan,
    test_loops_around_solvers,
    test_matrices_that_cannot_be_taken_are_reported_when_the_host_waits,
)

__all__ = [
    "test_inverses_or_nan",
    "test_loops_around_solvers",
    "test_matrices_that_cannot_be_taken_are_reported_when_the_host_waits",
]


@pytest.fixture(autouse=True)
def libraries(device):
    if device.libraries is None:
        pytest.skip("neither cuSOLVER nor cuBLAS is installed here")
    return device.libraries


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_functions_give_what_numpy_gives(name, dtype, device):
    check(name, dtype, device)


def test_large_systems(device):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((1000, 1000)), rng.standard_normal((1000, 7))
    stack = rng.standard_normal((500, 16, 16))
    solve = tj.jit(np.linalg.solve)
    for _ in range(3):
        x = solve(tj.to_device(a, device), tj.to_device(b, device))
        inverse = tj.jit(np.linalg.inv)(tj.to_device(stack, device))
    np.testing.assert_allclose(a @ x.numpy(), b, atol=1e-8)
    unit = np.broadcast_to(np.eye(16), stack.shape)
    np.testing.assert_allclose(inverse.numpy() @ stack, unit, atol=1e-6)


def test_gradients(device):
    def loss(a):
        low = np.linalg.cholesky(a @ a.T + np.eye(5))
        return np.linalg.slogdet(a)[1] + np.sum(np.linalg.inv(a) * low)

    a = np.random.default_rng(0).standard_normal((5, 5)) + 3 * np.eye(5)
    found = tj.jit(tj.grad(loss))(tj.to_device(a, device))
    np.testing.assert_allclose(found.numpy(), tj.grad(loss)(a), rtol=1e-8)
