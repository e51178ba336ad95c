"""Full and column reductions.

The sum of squares is written as people write it. NumPy has a faster way, `np.dot(x, x)`
(1.8 ms against 12.3 for 16M elements on a 2-core EPYC), which is no contender
because its running float32 sum errs by 5.8e-5 where `np.sum` errs by 3e-8.
"""

import math

import numpy as np

from ..row import Row
from .inputs import normal

SIZE = 16 * 2**20
DIMENSIONS = 3
F32 = np.float32


def sum_of_squares(x):
    return np.sum(x * x)


def sum_of_squares_numba(numba):
    @numba.njit(parallel=True, fastmath=True)
    def sum_of_squares(x):
        total = F32(0)
        for i in numba.prange(x.size):
            total += x[i] * x[i]
        return total

    return sum_of_squares


def logsumexp(x):
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))


def logsumexp_numba(numba):
    @numba.njit(parallel=True, fastmath=True)
    def logsumexp(x):
        top = x[0]
        for i in numba.prange(x.size):
            top = max(top, x[i])
        total = F32(0)
        for i in numba.prange(x.size):
            total += math.exp(x[i] - top)
        return F32(top + math.log(total))

    return logsumexp


def logsumexp_drjit(dr):
    def logsumexp(x):
        top = dr.max(x)
        return top + dr.log(dr.sum(dr.exp(x - top)))

    return logsumexp


def column_sum_numba(numba):
    @numba.njit(parallel=True, fastmath=True)
    def column_sum(x):
        rows, columns = x.shape
        out = np.zeros(columns, x.dtype)
        width = 1024
        for block in numba.prange((columns + width - 1) // width):
            first, last = block * width, min(columns, (block + 1) * width)
            for i in range(rows):
                for j in range(first, last):
                    out[j] += x[i, j]
        return out

    return column_sum


def pairwise(x):
    difference = x[:, None, :] - x[None, :, :]
    return np.exp(-np.sum(difference * difference, axis=-1)).sum(axis=1)


def pairwise_twin(exp):
    def pairwise(x):
        difference = x[:, None, :] - x[None, :, :]
        return exp(-(difference * difference).sum(-1)).sum(1)

    return pairwise


def pairwise_numba(numba):
    @numba.njit(parallel=True, fastmath=True)
    def pairwise(x):
        count, dimensions = x.shape
        out = np.empty(count, x.dtype)
        for i in numba.prange(count):
            total = F32(0)
            for j in range(count):
                square = F32(0)
                for k in range(dimensions):
                    square += (x[i, k] - x[j, k]) * (x[i, k] - x[j, k])
                total += math.exp(-square)
            out[i] = total
        return out

    return pairwise


def pairwise_drjit(dr):
    def pairwise(x):
        kind = type(x)
        count = len(x) // DIMENSIONS
        index = dr.arange(dr.uint32_array_t(kind), count)
        mine = [dr.gather(kind, x, DIMENSIONS * index + k) for k in range(DIMENSIONS)]

        def body(j, total):
            other = [dr.gather(kind, x, DIMENSIONS * j + k) for k in range(DIMENSIONS)]
            square = sum(dr.square(a - b) for a, b in zip(mine, other, strict=True))
            return j + 1, total + dr.exp(-square)

        start = (dr.zeros(type(index), count), dr.zeros(kind, count))
        return dr.while_loop(start, lambda j, total: j < count, body)[1]

    return pairwise


def pairwise_row(points: int) -> Row:
    return Row(
        name=f"pairwise_{points}x{DIMENSIONS}",
        make_inputs=lambda rng: (normal(rng, points, DIMENSIONS),),
        numpy_fn=pairwise,
        jax_fn=lambda jax: pairwise_twin(jax.numpy.exp),
        torch_fn=lambda torch: pairwise_twin(torch.exp),
        numba_fn=pairwise_numba,
        drjit_fn=pairwise_drjit,
        flops=points**2 * (3 * DIMENSIONS + 12),
        bytes=4 * points * (DIMENSIONS + 1),
    )


def sum_of_squares_row(size: int, name: str) -> Row:
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=sum_of_squares,
        jax_fn=lambda jax: lambda x: jax.numpy.sum(x * x),
        torch_fn=lambda torch: lambda x: torch.sum(x * x),
        numba_fn=sum_of_squares_numba,
        drjit_fn=lambda dr: lambda x: dr.sum(x * x),
        flops=2 * size,
        bytes=4 * size,
    )


def logsumexp_row(size: int, name: str) -> Row:
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=logsumexp,
        jax_fn=lambda jax: jax.nn.logsumexp,
        torch_fn=lambda torch: lambda x: torch.logsumexp(x, dim=0),
        numba_fn=logsumexp_numba,
        drjit_fn=logsumexp_drjit,
        flops=12 * size,
        bytes=4 * size,
    )


def column_sum_row(rows: int, columns: int) -> Row:
    return Row(
        name=f"column_sum_{rows}x{columns}",
        make_inputs=lambda rng: (normal(rng, rows, columns),),
        numpy_fn=lambda x: np.sum(x, axis=0),
        jax_fn=lambda jax: lambda x: jax.numpy.sum(x, axis=0),
        torch_fn=lambda torch: lambda x: torch.sum(x, dim=0),
        numba_fn=column_sum_numba,
        flops=rows * columns,
        bytes=4 * rows * columns,
    )


def argmax_rows_row(rows: int, columns: int) -> Row:
    return Row(
        name=f"argmax_rows_{rows}x{columns}",
        make_inputs=lambda rng: (normal(rng, rows, columns),),
        numpy_fn=lambda x: np.argmax(x, axis=1),
        jax_fn=lambda jax: lambda x: jax.numpy.argmax(x, axis=1),
        torch_fn=lambda torch: lambda x: torch.argmax(x, dim=1),
        flops=rows * columns,
        bytes=4 * rows * columns,
    )


ROWS = [
    sum_of_squares_row(SIZE, "sum_of_squares_16M"),
    logsumexp_row(SIZE, "logsumexp_16M"),
    column_sum_row(4096, 4096),
    pairwise_row(2048),
]
