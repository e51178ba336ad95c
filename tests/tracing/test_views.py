"""Random programs of views, copies and writes give what NumPy gives.

Each program is a list of small steps drawn from a seed and run twice: on arrays, and
traced. What is a view and what a copy shows in the arrays written to later.
"""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled

SEEDS = range(400)


def random_index(rng, shape):
    items = []
    for n in shape:
        kind = rng.integers(6)
        if kind == 0 and n:
            items.append(int(rng.integers(-n, n)))
        elif kind == 1:
            items.append(slice(None, None, -1))
        elif kind == 2:
            a, z = sorted(rng.integers(-n - 1, n + 2, 2).tolist())
            items.append(slice(a, z, int(rng.integers(1, 3))))
        elif kind == 3:
            items.append(slice(None, None, 2))
        else:
            items.append(slice(None))
    if rng.random() < 0.2:
        items.insert(int(rng.integers(len(items) + 1)), None)
    if rng.random() < 0.2:
        items = [*items[: int(rng.integers(len(items) + 1))], ...]
    return tuple(items)


def index_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    index = random_index(rng, x.shape)
    pool.append(x[index])


def transpose_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    pool.append(x.transpose(rng.permutation(x.ndim).tolist()))


def reshape_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    forms = [(-1,), (1, -1), (*x.shape, 1)]
    if x.ndim > 1:
        forms.append((x.shape[0] * x.shape[1], *x.shape[2:]))
    if not x.size:
        forms = forms[2:]
    order = "F" if rng.random() < 0.2 else "C"
    pool.append(x.reshape(forms[int(rng.integers(len(forms)))], order=order))


def ravel_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    pool.append(np.ravel(x) if rng.random() < 0.5 else x.squeeze())


def new_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    if not x.ndim:
        pool.append(x + 1)
        return
    makers = (
        lambda: x + 1,
        lambda: x.copy(),
        lambda: x * x,
        lambda: np.flip(x),
        lambda: np.moveaxis(x, 0, -1),
    )
    pool.append(makers[int(rng.integers(5))]())


def write_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    value = float(rng.integers(-9, 9))
    kind = rng.integers(5)
    if not isinstance(x, np.ndarray):
        return
    if kind == 0:
        x[...] = value
    elif kind == 1:
        x += value
    elif kind == 2 and x.ndim:
        x[random_index(rng, x.shape)] = value
    elif kind == 3 and x.ndim and x.shape[0] > 1:
        x[1:] = x[:-1]
    elif x.ndim and x.shape[0]:
        x[[0, -1]] = value


def advanced_step(rng, pool):
    x = pool[int(rng.integers(len(pool)))]
    if not x.ndim or not x.shape[0]:
        return
    at = rng.integers(-x.shape[0], x.shape[0], (2, 2))
    if x.ndim > 2 and x.shape[2] and rng.random() < 0.5:
        other = rng.integers(0, x.shape[2], (2,))
        pool.append(
            x[at, :, other]
            if rng.random() < 0.5
            else x[:, at % x.shape[1]]
            if x.shape[1]
            else x
        )
    else:
        pool.append(x[at])


STEPS = (
    index_step,
    transpose_step,
    reshape_step,
    ravel_step,
    new_step,
    write_step,
    write_step,
    advanced_step,
)


def program(seed):
    def run(x, y):
        rng = np.random.Generator(np.random.PCG64(seed))
        pool = [x, y]
        for _ in range(int(rng.integers(3, 10))):
            STEPS[int(rng.integers(len(STEPS)))](rng, pool)
        return pool

    return run


def arguments():
    x = np.arange(60.0).reshape(3, 4, 5)
    y = np.arange(24.0).reshape(4, 6)[:, ::2].T
    return x, y


@pytest.mark.filterwarnings("ignore:.*an array made inside:UserWarning")
@pytest.mark.parametrize("seed", sampled(SEEDS, 2))
def test_views_and_writes(seed):
    want_args, got_args = arguments(), arguments()
    want = program(seed)(*want_args)
    got = tj.jit(program(seed))(*got_args)
    for a, b in zip(got_args, want_args, strict=True):
        assert np.array_equal(a, b)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert type(a) is type(b)
        assert a.shape == b.shape
        assert np.array_equal(a, b)
        for mine, theirs in zip(got_args, want_args, strict=True):
            assert np.shares_memory(a, mine) == np.shares_memory(b, theirs)


@pytest.mark.parametrize("part", ["real", "imag"])
def test_writes_to_a_part_of_complex_numbers_keep_the_other(part):
    def write(z, x):
        z = z.copy()
        getattr(z, part)[1:] = x
        return z

    z = np.array([1 + 2j, 3 + 4j, 5 + 6j])
    x = np.array([7.0, 8.0])
    np.testing.assert_array_equal(tj.jit(write)(z, x), write(z, x), strict=True)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2"])
def test_narrow_indices_of_a_long_axis(dtype):
    """The length of the axis is no number of their dtype."""
    index = np.array([5, 0, 100] if dtype == "u1" else [-1, 5, -100], dtype)
    x = np.arange(40_000.0)
    got = tj.grad(lambda x: np.sum(x[index] ** 2))(x)
    want = np.zeros(40_000)
    want[index] = 2 * x[index]
    np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), [0, 1], None, [2, 3]),
        (slice(None), [0, 1], slice(1, None), [2, 3]),
        (slice(None), 1, slice(None), [[2], [0]]),
        (slice(None), [0, 1], [2, 3]),
    ],
    ids=["new axis between", "slice between", "int apart", "side by side"],
)
def test_axes_of_arrays_of_indices_lead_where_they_lie_apart(index):
    x = np.arange(120.0).reshape(2, 3, 4, 5)

    def change(x):
        y = x.copy()
        y[index] += 0.5
        return x[index], y

    for got, want in zip(tj.jit(change)(x), change(x), strict=True):
        np.testing.assert_array_equal(got, want, strict=True)
