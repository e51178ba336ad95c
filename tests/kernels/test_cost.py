"""Operations and bytes of kernels, against counts by hand."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.kernels.cost import cost_of

X = np.ones((64, 32), np.float32)
Y = np.ones((32, 16), np.float32)
IMAGES = np.ones((2, 3, 8, 8))
FILTERS = np.ones((4, 3, 3, 3))
SIZES = X.nbytes

COSTS = [
    (lambda x: x + 1, (X,), 64 * 32, SIZES, SIZES),
    (lambda x: x.T * x.T + 1, (X,), 2 * 64 * 32, SIZES, SIZES),
    (lambda x: x.sum(axis=1), (X,), 64 * 32, SIZES, 4 * 64),
    (lambda x: x[::2, :3] + 1, (X,), 32 * 3, 4 * 32 * 3, 4 * 32 * 3),
    (lambda x, y: x @ y, (X, Y), 2 * 64 * 32 * 16, SIZES + Y.nbytes, 4 * 64 * 16),
    (lambda x: np.broadcast_to(x[:1], x.shape) + 1, (X,), None, 4 * 32, SIZES),
    (
        lambda x, w: tj.nn.conv(x, w, padding=1),
        (IMAGES, FILTERS),
        2 * 2 * 4 * 64 * 27,
        IMAGES.nbytes + FILTERS.nbytes,
        8 * 2 * 4 * 64,
    ),
]


@pytest.mark.parametrize(("fn", "args", "flops", "read", "written"), COSTS)
def test_cost(fn, args, flops, read, written):
    (kernel,) = tj.jit(fn).lower(*args).kernels
    cost = cost_of(kernel)
    assert flops is None or cost.flops == flops
    assert (cost.bytes_read, cost.bytes_written) == (read, written)
    assert cost.bytes_moved == read + written
