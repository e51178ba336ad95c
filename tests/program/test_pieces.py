"""Arrays that are put together of many pieces: which steps run, and their values."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.program.program import Copy, Run, Storage, nested

RNG = np.random.default_rng(0)
W = RNG.normal(size=(64, 64)).astype(np.float32) / 8
X = RNG.normal(size=(4, 64)).astype(np.float32)


def collected(x, w):
    """A loop that fills an array, and reads what it fills it with."""
    out = np.empty((20, *x.shape), x.dtype)
    for k in range(20):
        x = np.tanh(x @ w.T)
        out[k] = x
    return out


def partly(x, w):
    out = np.ones((24, *x.shape), x.dtype)
    for k in range(19):
        x = np.tanh(x @ w)
        out[k + 2] = x
    out[0] = x
    return out


def stacked(x, w):
    rows = [x]
    for _ in range(19):
        rows.append(np.tanh(rows[-1] @ w))
    return np.stack(rows), np.concatenate(rows)


def computed_on(x, w):
    """The whole is no result, and a piece is one as well."""
    out = collected(x, w)
    return out.sum(0), out[3], out * 2


def same_piece(x, w):
    return np.concatenate([x, np.tanh(x @ w)] * 10)


def inner_axis(x, w):
    return np.concatenate([np.tanh(x @ w) * k for k in range(20)], axis=1)


def in_a_loop(x, w):
    def turn(x, _):
        rows = collected(x, w)
        return rows[-1], rows

    return tj.scan(turn, x, None, length=3)


def numbers(x, w):
    return np.array([x[0, k] for k in range(20)])


def of_steps(x, w):
    """Pieces that library routines, loops and branches make, none on a line's start."""
    x = x[:, :61]
    sorts = [np.sort(x * k, axis=1) for k in range(6)]
    sums = [np.cumsum(np.round(x * k), axis=1) for k in range(6)]
    loops = [tj.fori_loop(0, k, lambda i, x: x @ w[:61, :61], x) for k in range(2, 6)]
    chosen = [tj.cond(x[0, 0] > k, np.sort, np.cos, x) for k in range(2)]
    picked = [x[np.array([2, 0, k])] for k in range(4)]
    return np.concatenate([*sorts, *sums, *loops, *chosen, *picked])


PROGRAMS = (
    *(collected, partly, stacked, computed_on),
    *(same_piece, inner_axis, numbers, of_steps),
)


def steps(fn, kind):
    return [s for s in tj.jit(fn).lower(X, W).program.steps if isinstance(s, kind)]


@pytest.mark.parametrize("fn", PROGRAMS)
def test_values(fn):
    with tj.config.override(verify=True):
        found = tj.jit(fn)(X, W)
    expected = fn(X.astype("f8"), W.astype("f8"))
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    for x, y in zip(expected, found, strict=True):
        np.testing.assert_allclose(x, y, 1e-5, 1e-6)


def test_values_in_a_loop():
    last, rows = tj.jit(in_a_loop)(X, W)
    x, expected = X, []
    for _ in range(3):
        expected.append(collected(x, W))
        x = expected[-1][-1]
    np.testing.assert_allclose(rows, expected, 1e-5, 1e-6)
    np.testing.assert_allclose(last, x, 1e-5, 1e-6)


def test_pieces_are_written_in_place():
    """Twenty products, and one copy: of the weights."""
    lowered = tj.jit(collected).lower(X, W)
    runs, copies = steps(collected, Run), steps(collected, Copy)
    assert (len(runs), len(copies)) == (20, 1)
    places = {b.name: b for b in lowered.program.buffers}
    for k, step in enumerate(runs):
        place = places[step.outputs[0]]
        assert place.storage is Storage.ALIAS
        assert (places[place.base].storage, place.offset) == (Storage.OUTPUT, k * 256)
    assert all(s.kernel is runs[0].kernel for s in runs)


def test_what_was_there_before_is_copied():
    """Rows 1 and 21 to 23 are ones; row 0 is computed for two places."""
    assert len(steps(partly, Run)) in (19, 20)
    assert 1 <= len(steps(partly, Copy)) <= 4


def normed(x, w):
    return tj.nn.group_norm(x.reshape(4, 16, 4), 4)


def mapped(x, w):
    return tj.nn.conv(x.reshape(1, 4, 8, 8), w[:8, :4].reshape(8, 4, 1, 1))


def chosen(x, w):
    return tj.cond(x[0, 0] > 0, normed, lambda x, w: x.reshape(4, 16, 4), x, w)


def turns(x, w):
    return tj.scan(lambda x, _: (np.sin(x), normed(x, w)), x, None, length=3)[1]


def slope(x, w):
    """Its gradient by the filters has axes of one element at other places."""
    image, filters = x.reshape(1, 4, 8, 8), w[:4, :9].reshape(4, 1, 3, 3)
    return tj.grad(lambda f: (tj.nn.conv(image, f, groups=4) ** 2).sum())(filters)


def both(x, w):
    y = normed(x, w)
    return y, y.reshape(64, 4), y.reshape(-1) * 2


@pytest.mark.parametrize(
    ("fn", "copies"),
    [(normed, 0), (mapped, 0), (chosen, 1), (turns, 2), (both, 0), (slope, 1)],
)
def test_results_that_are_reshapes_are_written_in_place(fn, copies):
    """Copies are left of an argument, and of what a loop carries."""
    with tj.config.override(verify=True):
        program = tj.jit(fn).lower(X, W).program
        found = tj.jit(fn)(X, W)
    made = [s for s in nested(program.steps) if isinstance(s, Copy)]
    assert len(made) == copies
    with tj.config.override(interpret=True):
        expected = tj.jit(fn)(X, W)
    for x, y in zip(*map(leaves_of, (found, expected)), strict=True):
        np.testing.assert_allclose(x, y, 1e-5, 1e-6)


def leaves_of(found):
    return found if isinstance(found, tuple) else (found,)


def test_other_joins_stay_in_kernels():
    """Pieces that are not contiguous, beside the product; numbers."""
    assert len(steps(inner_axis, Run)) == 2
    assert len(steps(numbers, Run)) == 1


def test_gradient():
    def loss(w):
        return (collected(X, w) ** 2).sum()

    slope = tj.jit(tj.grad(loss))(W.astype(np.float64))
    way = RNG.normal(size=W.shape)
    with np.errstate(all="raise"):
        ends = [
            (collected(X.astype(np.float64), W + h * way) ** 2).sum()
            for h in (1e-6, -1e-6)
        ]
    np.testing.assert_allclose((slope * way).sum(), (ends[0] - ends[1]) / 2e-6, 1e-5)


def counted(x, w):
    return tj.fori_loop(0, 10, lambda k, x: np.tanh(x @ w.T), x)


def uncounted(x, w):
    def is_large(x):
        return (x**2).sum() > 1

    return tj.while_loop(is_large, lambda x: 0.5 * np.tanh(x @ w.T), x)


@pytest.mark.parametrize("loop", [counted, uncounted])
def test_weights_are_transposed_once(loop):
    """The copy stands before the loop, whose products read contiguous rows."""
    program = tj.jit(loop).lower(X, W).program
    assert isinstance(program.steps[0], Copy)
    product = next(k for k in program.kernels if len(k.inputs) > 1)
    assert [b.strides for b in product.inputs if b.shape == (64, 64)] == [(64, 1)]
    np.testing.assert_allclose(tj.jit(loop)(X, W), loop(X, W), 1e-5, 1e-6)


def test_threads_give_the_same_bits():
    found = []
    for threads in (1, 2):
        with tj.config.override(threads=threads, share_from=1):
            found.append(tj.jit(collected)(X, W))
    assert found[0].tobytes() == found[1].tobytes()
