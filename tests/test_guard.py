"""Calls like an earlier one: which take the short way, and that it is exact."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.api import RECENT
from tracejit.testing import count_traces
from tracejit.tracing.signature import Signature

from .calls import ARGUMENTS, Pair, X, total_of_call


@pytest.fixture(autouse=True, params=["native", "portable"])
def path(request):
    """Calls are recognised by machine code, or by the guard in Python."""
    is_native = config.get("native_calls")
    config.set("native_calls", request.param == "native")
    yield
    config.set("native_calls", is_native)


@pytest.fixture
def long_way(monkeypatch):
    """Counts the calls that took the long way."""
    calls = []
    bind = Signature.bind

    def counted(self, args, kwargs):
        calls.append(args)
        return bind(self, args, kwargs)

    monkeypatch.setattr(Signature, "bind", counted)
    return calls


@pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS)
def test_second_call_takes_the_short_way(long_way, args, kwargs):
    f, expected = tj.jit(total_of_call), total_of_call(*args, **kwargs)
    f(*args, **kwargs)
    count = len(long_way)
    got = f(*args, **kwargs)
    assert len(long_way) == count
    assert type(got) is type(expected)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_floats_and_changed_ints_are_read_at_each_call(long_way):
    f = tj.jit(lambda x, rate, n: x * rate + n)
    for n in (1, 2):
        f(X, 0.5, n)
    count = len(long_way)
    for rate, n in ((0.25, 3), (-0.0, 4), (np.inf, -5)):
        np.testing.assert_array_equal(f(X + 1, rate, n), (X + 1) * rate + n)
    assert len(long_way) == count
    with pytest.raises(tj.errors.ShapeError, match="does not fit int64"):
        f(X, 0.5, 1 << 70)


def test_several_specialisations_take_the_short_way(long_way):
    f = tj.jit(lambda x: x + 1)
    inputs = [np.arange(float(n)) for n in range(RECENT)]
    for x in inputs:
        f(x)
    count = len(long_way)
    for x in inputs * 2:
        assert np.array_equal(f(x), x + 1)
    assert len(long_way) == count
    f(np.arange(100.0))
    assert np.array_equal(f(inputs[0]), inputs[0] + 1)


class Other(np.ndarray):
    pass


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)
    out = raw[1:].view(x.dtype)
    out[:] = x
    assert not out.flags.aligned
    return out


@pytest.mark.parametrize(
    "other",
    [
        X.astype("f4"),
        X.astype("i8"),
        X[:3],
        X[::-1],
        X.reshape(2, 3),
        X[:0],
        misaligned(X),
        2.5,
        3,
        True,
        np.float64(2),
        [X],
        {"x": X},
    ],
    ids=lambda x: f"{type(x).__name__}-{getattr(x, 'dtype', '')}{np.shape(x)}",
)
def test_other_arguments_are_told_apart(other):
    def f(x, y):
        if isinstance(x, list):
            return f(x[0], y) * 2
        if isinstance(x, dict):
            return f(x["x"], y) * 3
        return np.sum(x) * y + (1 if isinstance(x, np.ndarray) else 0)

    g = tj.jit(f)
    for x in (X, X, other, other, X, X + 1):
        got, expected = g(x, 2.0), f(x, 2.0)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        assert np.asarray(got).dtype == np.asarray(expected).dtype


def test_containers_are_told_apart():
    def f(tree):
        if isinstance(tree, dict):
            return {k: v * (i + 1) for i, (k, v) in enumerate(tree.items())}
        return [v * 2 for v in tree if v is not None]

    g = tj.jit(f)
    trees = [
        {"a": X, "b": X + 1},
        {"b": X, "a": X + 1},
        {"a": X, "c": X + 1},
        {"a": X},
        [X, X + 1],
        (X, X + 1),
        Pair(X, X + 1),
        [X, None],
        [X],
    ]
    for tree in trees + trees[::-1]:
        got, expected = g(tree), f(tree)
        assert type(got) is type(expected)
        if isinstance(got, dict):
            assert list(got) == list(expected)
            got, expected = got.values(), expected.values()
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_values_that_python_asked_for_are_told_apart():
    def f(x, n, flag, name, slope):
        out = x * (2 if flag else 3)
        for _ in range(n):
            out = out + (1 if name == "up" else -1)
        return out * (5.0 if slope > 0 else 7.0) + np.copysign(1.0, float(slope))

    g = tj.jit(f)
    rows = [
        (2, True, "up", 1.0),
        (3, True, "up", 1.0),
        (2, False, "up", 1.0),
        (2, True, "".join(["d", "own"]), 1.0),
        (2, True, "".join(["u", "p"]), 0.0),
        (2, True, "up", -0.0),
        (2, True, "up", float("nan")),
        (True, 1, "up", 1.0),
    ]
    for row in rows * 2:
        np.testing.assert_array_equal(g(X, *row), f(X, *row))


def test_same_array_twice_is_told_apart_from_two():
    def f(a, b):
        a += 1
        return a + b

    g = tj.jit(f)
    for _ in range(3):
        x, y = X.copy(), X.copy()
        assert np.array_equal(g(x, y), 2 * X + 1)
        assert np.array_equal(g(x, x), 2 * X + 4)
        assert np.array_equal(x, X + 2)
        assert np.array_equal(y, X)


def test_python_can_ask_whether_arguments_are_one_object():
    g = tj.jit(lambda a, b: a + 1 if a is b else a + 2)
    for _ in range(2):
        assert np.array_equal(g(X, X + 1), X + 2)
        assert np.array_equal(g(X, X), X + 1)


def test_keywords_are_told_apart():
    g = tj.jit(lambda x, y=2.0, z=3.0: x * y + z)
    for _ in range(2):
        assert np.array_equal(g(X, y=5.0), X * 5 + 3)
        assert np.array_equal(g(X, z=5.0), X * 2 + 5)
        assert np.array_equal(g(X, z=5.0, y=7.0), X * 7 + 5)
        assert np.array_equal(g(X, y=5.0, z=7.0), X * 5 + 7)
        assert np.array_equal(g(z=X, x=7.0), X + 14)


def test_misaligned_arrays_are_copied_the_long_way(long_way):
    f = tj.jit(lambda x: x + 1)
    f(X)
    for count in (2, 3):
        assert np.array_equal(f(misaligned(X)), X + 1)
        assert len(long_way) == count


def test_overlap_runs_in_numpy_after_calls_without():
    def f(a, b):
        a[:] = b * 2
        return a + b

    g = tj.jit(f)
    for _ in range(3):
        x, y = np.arange(12.0), np.arange(12.0)
        assert np.array_equal(g(x[:5], x[5:10]), f(y[:5], y[5:10]))
        assert np.array_equal(g(x[1:6], x[:5]), f(y[1:6], y[:5]))
        assert np.array_equal(x, y)


def test_written_argument_that_is_captured_too_runs_in_numpy():
    table = np.arange(6.0)

    def f(x):
        x[1:] += 1
        return x + table[:5]

    g = tj.jit(f)
    for _ in range(2):
        assert np.array_equal(g(X[:5].copy()), f(X[:5].copy()))
        table[:] = X
        got = g(table[1:])
        after = table.copy()
        table[:] = X
        assert np.array_equal(got, f(table[1:]))
        assert np.array_equal(after, table)


def test_read_only_argument_raises_after_calls_with_writeable_ones():
    def f(x):
        x += 1

    g = tj.jit(f)
    x = X.copy()
    g(x)
    g(x)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        g(x)
    assert np.array_equal(x, X + 2)


def test_captured_array_is_looked_at_in_each_call(long_way):
    box = {"w": np.ones(6)}
    f = tj.jit(lambda x: x * box["w"])
    f(X)
    box["w"] *= 2
    assert np.array_equal(f(X), 2 * X)
    assert len(long_way) == 1
    box["w"] = np.full(6, 5.0)
    assert np.array_equal(f(X), 5 * X)
    assert np.array_equal(f(X), 5 * X)
    assert len(long_way) == 2
    del box["w"]
    with pytest.raises(KeyError):
        f(X)


def test_switches_are_looked_at_in_each_call():
    f = tj.jit(lambda x, y, z: x * y + z)
    args = (X, X + 1, X + 2)
    with count_traces() as counter:
        f(*args)
        with config.override(fma=not config.get("fma")):
            f(*args)
            f(*args)
        f(*args)
    assert counter.traces == 2


def test_objects_are_told_apart_by_identity():
    class Scale:
        def __init__(self, by):
            self.by = by

        def __eq__(self, other):
            return True

        __hash__ = None

    f = tj.jit(lambda x, scale: x * scale.by)
    scales = [Scale(2.0), Scale(3.0)]
    for scale in scales * 2:
        assert np.array_equal(f(X, scale), X * scale.by)


def test_inside_another_trace_it_is_inlined():
    inner = tj.jit(lambda x: x + 1)
    inner(X)
    outer = tj.jit(lambda x: inner(x) * inner(x[::-1]))
    assert np.array_equal(outer(X), (X + 1) * (X[::-1] + 1))
    assert outer.trace(X).graph.in_avals[0].shape == X.shape


def test_clear_cache_forgets_guards():
    f = tj.jit(lambda x: x + 1)
    with count_traces() as counter:
        f(X)
        f.clear_cache()
        f(X)
    assert counter.traces == 2


def test_unpickled_arrays_take_the_short_way(long_way):
    f = tj.jit(lambda x: x + 1)
    f(X)
    f(pickle.loads(pickle.dumps(X)))
    assert len(long_way) == 1


def test_threads_share_guards():
    f = tj.jit(lambda x, n: x * n + np.sum(x))

    def work(k):
        x = np.arange(float(k % 7 + 1))
        return all(np.array_equal(f(x, n), x * n + np.sum(x)) for n in range(30))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(24)))


def test_static_argnames_survive_pickling():
    assert copy.deepcopy(module_jitted) is module_jitted
    again = pickle.loads(pickle.dumps(tj.jit(plain, static_argnames="n")))
    assert again._static_argnames == ("n",)


def plain(x, n):
    return x * n


module_jitted = tj.jit(lambda x: x)
