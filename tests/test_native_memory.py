"""The native entry: nothing leaks, threads may call at once, results share memory."""

import contextlib
import copy
import gc
import pickle
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import IndexRangeError
from tracejit.runtime.cpu.entry import support

from .calls import X, references, warm

pytestmark = pytest.mark.skipif(bool(support.why_not()), reason=support.why_not())


def test_nothing_leaks():
    key, static = "".join(["k", "ey"]), object()
    tree = {key: X.copy(), "list": [X.copy(), (X.copy(),)]}

    def f(tree, y, n, kind, scale=2.0):
        y += 1
        return {key: tree[key] * n, "y": y, "s": (np.sum(y), n + 1, [kind, None])}

    g = tj.jit(f)
    for n in (1, 2, 3):
        g(tree, X.copy(), n, static)
    y, bad = X.copy(), X[:3].copy()
    kept = [tree, key, tree[key], tree["list"][0], y, bad, static, X.dtype, g, None]
    kept += [*g._chain, g._chain, dict, tuple, np.ndarray]
    g(tree, y, 4, static)
    gc.collect()
    before = references(kept)
    for _ in range(10_000):
        g(tree, y, 1 << 40, static)
    for _ in range(200):
        with contextlib.suppress(TypeError):
            g(tree, y)
    after = references(kept)
    assert after[:-4] == before[:-4]
    assert all(abs(a - b) < 50 for a, b in zip(after, before, strict=True))


def test_errors_leak_nothing():
    f = tj.jit(lambda d: d["x"][d["i"]] + 1)
    good, bad = {"x": X, "i": np.array([1])}, {"x": X, "i": np.array([9])}
    warm(f, good)
    kept = [good, bad, bad["x"], bad["i"], X.dtype, bad["i"].dtype, f._chain]
    gc.collect()
    before = references(kept)
    for _ in range(300):
        with pytest.raises(IndexRangeError):
            f(bad)
    gc.collect()
    assert references(kept) == before


def test_memory_stays():
    f = tj.jit(lambda d, n: [{"a": d["x"] + n}, np.sum(d["x"])])
    for n in (1, 2, 3):
        f({"x": X}, n)
    d = {"x": X}
    tracemalloc.start()
    try:
        for _ in range(200):
            f(d, 3)
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(5000):
            f(d, 3)
        assert tracemalloc.get_traced_memory()[0] - start < 5000
    finally:
        tracemalloc.stop()


def test_functions_die():
    f = tj.jit(lambda x: x + 1)
    warm(f, X)
    native = f._chain[0]
    alive = weakref.ref(f)
    kept = references([native])
    f.clear_cache()
    assert f._chain == ()
    assert references([native])[0] < kept[0]
    assert np.array_equal(f(X), X + 1)
    warm(f, X)
    f.cycle = f
    del f
    gc.collect()
    assert alive() is None


def test_what_a_function_can_do_besides():
    f = tj.jit(plain)
    warm(f, X, 2)
    f.note = "text"
    assert (f.note, f.__name__, f.__doc__) == ("text", "plain", "Doc.")
    assert copy.copy(f) is f
    again = pickle.loads(pickle.dumps(f))
    assert np.array_equal(again(X, 2), X * 2)
    assert callable(f)
    assert f.cache_size() == 1
    assert type(f).__call__(f, X, 2)[1] == 2


def plain(x, n):
    """Doc."""
    return x * n


def test_threads():
    f = tj.jit(lambda d, n: {"y": d["x"] * n + np.sum(d["x"])})

    def work(k):
        d = {"x": np.arange(float(k % 7 + 1))}
        expected = [d["x"] * n + np.sum(d["x"]) for n in range(30)]
        return all(np.array_equal(f(d, n)["y"], expected[n]) for n in range(30))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(64)))


def test_more_threads_than_frames():
    f = tj.jit(lambda x: np.sort(np.sin(x)) + np.sum(np.exp(x)))
    x = np.linspace(0, 1, 1 << 14)
    expected = f(x)
    warm(f, x)
    barrier = Barrier(12)

    def work(k):
        barrier.wait()
        return all(np.array_equal(f(x), expected) for _ in range(20))

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(work, range(12)))


def test_arguments_live_while_other_threads_run():
    f = tj.jit(lambda xs: np.sort(np.sin(xs[0]) + np.exp(xs[0])))
    size = 1 << 16
    xs = [np.ones(size)]
    warm(f, xs)
    expected = f(xs)
    done = []

    def replace():
        while not done:
            xs[0] = np.ones(size)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(replace)
        try:
            assert all(np.array_equal(f(xs), expected) for _ in range(50))
        finally:
            done.append(True)
        running.result()


def test_entries_are_replaced_while_others_call():
    f = tj.jit(lambda x: x + 1)
    done = []

    def clear():
        while not done:
            f.clear_cache()

    def work(k):
        x = np.arange(float(k + 1))
        return all(np.array_equal(f(x), x + 1) for _ in range(10))

    with ThreadPoolExecutor(4) as threads:
        clearing = threads.submit(clear)
        try:
            assert all(threads.map(work, range(3)))
        finally:
            done.append(True)
        clearing.result()


def test_many_small_results_share_memory():
    f = tj.jit(lambda x: [x + k for k in range(20)] + [np.outer(x, x), np.sum(x)])
    warm(f, X)
    first, second = f(X), f(X + 1)
    for k in range(20):
        assert np.array_equal(first[k], X + k)
        assert np.array_equal(second[k], X + k + 1)
        first[k][:] = -k
    assert all(np.array_equal(y, np.full(6, -k)) for k, y in enumerate(first[:20]))
    assert first[0].base is first[19].base
    assert first[0].base is not second[0].base
    kept = first[7]
    del first
    gc.collect()
    assert np.array_equal(kept, np.full(6, -7))
    assert kept.flags.writeable


@pytest.mark.parametrize("donated", [False, True])
def test_many_written_arrays_wherever_they_lie(donated):
    """The entry keeps them sorted by address from call to call."""
    rng = np.random.default_rng(0)
    memory = np.zeros(600)

    def add(xs, ys):
        for x, y in zip(xs, ys, strict=True):
            x += y
        return [x * 2 for x in ys]

    f = tj.jit(add, donate_argnames="ys" if donated else ())
    places = np.arange(0, 600, 6)
    for _ in range(20):
        rng.shuffle(places)
        memory[:] = rng.integers(0, 9, 600)
        parts = [memory[a : a + 6] for a in places]
        xs, ys = parts[:50], parts[50:]
        wanted = [x + y for x, y in zip(xs, ys, strict=True)]
        doubled = [2 * y for y in ys]
        got = f(xs, ys)
        np.testing.assert_array_equal(xs, wanted)
        np.testing.assert_array_equal(got, doubled)
    assert f._chain, [g.refusal for g in f._guards]


@pytest.mark.parametrize("first", range(0, 60, 7))
def test_one_overlap_among_many_written_arrays(first):
    def add(xs):
        for k, x in enumerate(xs):
            x += xs[k - 1][0]

    f = tj.jit(add)
    parts = [np.arange(70.0)[a : a + 6] for a in range(0, 60, 6)]
    for _ in range(3):
        f([x.copy() for x in parts])
    memory = np.arange(70.0)
    parts = [memory[a : a + 6] for a in range(0, 60, 6)]
    parts[3] = memory[first : first + 6]
    expected = memory.copy()
    add([expected[(a := (first if k == 3 else 6 * k)) : a + 6] for k in range(10)])
    f(parts)
    np.testing.assert_array_equal(memory, expected)
