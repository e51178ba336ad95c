"""Gathers, scatters, sorts and cumulative sums."""

import numpy as np

from ..row import Row
from .inputs import integers, normal

F32 = np.float32


def embedding_mean(table, words):
    """The mean of the rows that each line of `words` names."""
    return np.mean(table[words], axis=1)


def embedding_mean_torch(torch):
    bag = torch.nn.functional.embedding_bag
    return lambda table, words: bag(words, table, mode="mean")


def embedding_mean_numba(numba):
    @numba.njit(parallel=True, fastmath=True)
    def embedding_mean(table, words):
        lines, count = words.shape
        width = table.shape[1]
        out = np.zeros((lines, width), table.dtype)
        scale = F32(1) / F32(count)
        for i in numba.prange(lines):
            for j in range(count):
                word = words[i, j]
                for k in range(width):
                    out[i, k] += table[word, k]
            for k in range(width):
                out[i, k] *= scale
        return out

    return embedding_mean


def scatter_add(count):
    """Sum rows of values into `count` bins."""

    def scatter_add(index, values):
        out = np.zeros((count, values.shape[1]), values.dtype)
        np.add.at(out, index, values)
        return out

    return scatter_add


def scatter_add_jax(jax, count):
    def scatter_add(index, values):
        zeros = jax.numpy.zeros((count, values.shape[1]), values.dtype)
        return zeros.at[index].add(values)

    return scatter_add


def scatter_add_torch(torch, count):
    def scatter_add(index, values):
        zeros = values.new_zeros((count, values.shape[1]))
        return zeros.index_add_(0, index, values)

    return scatter_add


def scatter_add_numba(numba, count):
    @numba.njit(fastmath=True)
    def scatter_add(index, values):
        out = np.zeros((count, values.shape[1]), values.dtype)
        for i in range(len(index)):
            for j in range(values.shape[1]):
                out[index[i], j] += values[i, j]
        return out

    return scatter_add


def cumsum_numba(numba):
    @numba.njit(fastmath=True)
    def cumsum(x):
        out = np.empty_like(x)
        total = F32(0)
        for i in range(x.size):
            total += x[i]
            out[i] = total
        return out

    return cumsum


def argmax_numba(numba):
    return numba.njit(lambda x: np.argmax(x))


def embedding_mean_row(lines: int, count: int, words: int, width: int) -> Row:
    size = lines * count * width
    return Row(
        name=f"embedding_mean_{lines}x{count}x{width}",
        make_inputs=lambda rng: (
            normal(rng, words, width),
            integers(rng, words, lines, count),
        ),
        numpy_fn=embedding_mean,
        jax_fn=lambda jax: lambda t, w: jax.numpy.mean(t[w], axis=1),
        torch_fn=embedding_mean_torch,
        numba_fn=embedding_mean_numba,
        flops=size,
        bytes=4 * (min(size, words * width) + lines * count + lines * width),
    )


def gather_rows_row(lines: int, words: int, width: int) -> Row:
    return Row(
        name=f"gather_rows_{lines}x{width}",
        make_inputs=lambda rng: (
            normal(rng, words, width),
            integers(rng, words, lines),
        ),
        numpy_fn=lambda table, index: table[index],
        jax_fn=lambda jax: lambda table, index: table[index],
        torch_fn=lambda torch: lambda table, index: torch.index_select(table, 0, index),
        flops=0,
        bytes=4 * (min(lines, words) * width + lines + lines * width),
    )


def scatter_add_row(lines: int, bins: int, width: int) -> Row:
    return Row(
        name=f"scatter_add_{lines}x{width}",
        make_inputs=lambda rng: (
            integers(rng, bins, lines),
            normal(rng, lines, width),
        ),
        numpy_fn=scatter_add(bins),
        jax_fn=lambda jax: scatter_add_jax(jax, bins),
        torch_fn=lambda torch: scatter_add_torch(torch, bins),
        numba_fn=lambda numba: scatter_add_numba(numba, bins),
        flops=lines * width,
        bytes=4 * (lines * (width + 1) + bins * width),
    )


def sort_row(size: int, name: str) -> Row:
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=lambda x: np.sort(x),
        jax_fn=lambda jax: jax.numpy.sort,
        torch_fn=lambda torch: lambda x: torch.sort(x).values,
        numba_fn=lambda numba: numba.njit(lambda x: np.sort(x)),
        flops=0,
        bytes=8 * size,
    )


def cumsum_row(size: int, name: str) -> Row:
    """Running sums of float32 err by about the root of the count; so do the peers'."""
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=lambda x: np.cumsum(x),
        jax_fn=lambda jax: jax.numpy.cumsum,
        torch_fn=lambda torch: lambda x: torch.cumsum(x, 0),
        numba_fn=cumsum_numba,
        drjit_fn=lambda dr: dr.cumsum,
        flops=size,
        bytes=8 * size,
        rtol=1e-4,
    )


def argmax_row(size: int, name: str) -> Row:
    return Row(
        name=name,
        make_inputs=lambda rng: (normal(rng, size),),
        numpy_fn=lambda x: np.argmax(x),
        jax_fn=lambda jax: jax.numpy.argmax,
        torch_fn=lambda torch: torch.argmax,
        numba_fn=argmax_numba,
        flops=size,
        bytes=4 * size,
    )


ROWS = [
    embedding_mean_row(4096, 32, 50_000, 64),
    scatter_add_row(2**20, 100_000, 16),
    sort_row(2**20, "sort_1M"),
    cumsum_row(2**20, "cumsum_1M"),
    argmax_row(2**20, "argmax_1M"),
]
