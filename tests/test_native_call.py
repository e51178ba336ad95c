"""The native entry: which calls it runs, that it is exact, and that nothing leaks."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

import tracejit as tj
from tracejit import api, config
from tracejit.compiled import Compiled
from tracejit.errors import IndexRangeError
from tracejit.guard import Guard
from tracejit.runtime.cpu.entry import support
from tracejit.testing import count_traces
from tracejit.tracing.tree import flatten

from .calls import ARGUMENTS, Pair, State, X, references, total_of_call, warm

pytestmark = pytest.mark.skipif(bool(support.why_not()), reason=support.why_not())


@dataclass
class Computed:
    position: np.ndarray

    @property
    def twice(self):
        return self.position * 2

    def __getattribute__(self, name):
        return object.__getattribute__(self, name)


@pytest.fixture
def python_calls(monkeypatch):
    """Calls that a guard in Python was asked about."""
    calls = []
    ask = Guard.__call__

    def counted(self, args, kwargs):
        calls.append(args)
        return ask(self, args, kwargs)

    monkeypatch.setattr(Guard, "__call__", counted)
    return calls


def assert_alike(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        got, expected = list(got.values()), list(expected.values())
    if isinstance(expected, list | tuple):
        for a, b in zip(got, expected, strict=True):
            assert_alike(a, b)
    elif expected is None or isinstance(expected, str):
        assert got == expected
    else:
        assert np.asarray(got).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS)
def test_third_call_is_native(python_calls, args, kwargs):
    f = tj.jit(total_of_call)
    warm(f, *args, **kwargs)
    count = len(python_calls)
    got = f(*args, **kwargs)
    assert len(python_calls) == count
    assert_alike(got, total_of_call(*args, **kwargs))


CONSTANT = object()
RESULTS = [
    lambda x, n: x + n,
    lambda x, n: (x + n, [x * 2, {"a": x - 1, 3: None}], "text"),
    lambda x, n: {f"k{i}": x + i for i in range(40)},
    lambda x, n: (np.sum(x), np.max(x) > 2, np.float32(1) * np.sum(x)),
    lambda x, n: (n + 1, n * 0.5, n > 2, n),
    lambda x, n: x,
    lambda x, n: (x, x),
    lambda x, n: (x[::2], x[1:].reshape(5, 1)),
    lambda x, n: Pair(x + 1, x + 2),
    lambda x, n: State(x + 1, n),
    lambda x, n: [(y := x + n), y[1:], y],
    lambda x, n: None,
    lambda x, n: (),
    lambda x, n: CONSTANT,
    lambda x, n: np.empty((0, 3)) + x[:3],
    lambda x, n: np.outer(np.ones(30), np.ones(30)) + np.sum(x),
    lambda x, n: np.outer(np.ones(200), np.ones(200)) + np.sum(x),
    lambda x, n: x.astype(np.float16) + np.float16(1),
]


@pytest.mark.parametrize("f", RESULTS)
def test_results(python_calls, f):
    g = tj.jit(f)
    for n in (1, 2, 3):
        g(X, n)
    assert g._chain, [guard.refusal for guard in g._guards]
    count = len(python_calls)
    got, again, expected = g(X, 7), g(X, 7), f(X, 7)
    assert len(python_calls) == count
    if isinstance(expected, State):
        got, again, expected = vars(got), vars(again), vars(expected)
    if expected is CONSTANT:
        assert got is CONSTANT
        return
    assert_alike(got, expected)
    assert_alike(again, expected)


def test_results_are_new_writeable_arrays():
    f = tj.jit(lambda x: (x + 1, {"y": x + 2}))
    warm(f, X)
    results = [f(X) for _ in range(20)]
    arrays = [a for pair in results for a in (pair[0], pair[1]["y"])]
    assert all(a.flags.writeable and a.flags.owndata for a in arrays)
    assert len({a.ctypes.data for a in arrays}) == len(arrays)
    assert len({id(d) for _, d in results}) == len(results)


@pytest.mark.parametrize("size", [8, 1 << 11, 1 << 15, 1 << 18])
def test_memory_of_results(size):
    f = tj.jit(lambda x: x + 1)
    x = np.ones(size)
    warm(f, x)
    for _ in range(3):
        y = f(x)
        assert np.array_equal(y, x + 1)
        assert y.flags.c_contiguous
        assert size < 1 << 11 or y.ctypes.data % 64 == 0
        assert size < 1 << 18 or y.ctypes.data % 4096 == 0
    addresses = {f(x).ctypes.data for _ in range(20)}
    assert size < 1 << 15 or len(addresses) <= 4


def test_whole_arguments_are_returned_as_they_are():
    f = tj.jit(lambda x, y: (y, x + 1, x))
    warm(f, X, X + 1)
    y = X + 1
    got = f(X, y)
    assert got[0] is y
    assert got[2] is X


VIEWS = [
    lambda x: x[::-1],
    lambda x: x.T,
    lambda x: x[1],
    lambda x: x[3:],
    lambda x: x[1:2, 1:2].reshape(()),
    lambda x: x.view(np.int64),
    lambda x: np.broadcast_to(x, (2, *x.shape)),
    lambda x: np.einsum("ij->ji", x),
    lambda x: (x[0], {"b": x + 1, "c": x[:, None]}, [x]),
    lambda x: (y := x * 2, y[:, 1], y.T),
    lambda x: Pair(x + 1, [x[:, 1]]),
]
MATRICES = [
    X.reshape(3, 2),
    X.reshape(2, 3)[:, ::-1],
    np.arange(24.0)[::2].reshape(3, 4),
]


@pytest.mark.parametrize("f", VIEWS)
@pytest.mark.parametrize("x", MATRICES)
def test_views_are_made_by_machine_code(monkeypatch, f, x):
    finished, finish = [], Compiled.finish
    monkeypatch.setattr(
        Compiled, "finish", lambda *args: finished.append(1) or finish(*args)
    )
    g = tj.jit(f)
    warm(g, x)
    count, before = len(finished), references([x])
    (got, _), (expected, _) = flatten(g(x)), flatten(f(x))
    assert len(finished) == count
    for a, b in zip(got, expected, strict=True):
        assert_alike(a, b)
        assert (a.shape, a.strides) == (b.shape, b.strides)
        assert str(a.flags).split("OWNDATA")[0] == str(b.flags).split("OWNDATA")[0]
        assert a.flags.writeable == b.flags.writeable
        assert np.shares_memory(a, x) == np.shares_memory(b, x)
    del a, b, got, expected
    assert references([x]) == before


def test_views_of_arrays_that_cannot_be_written_cannot():
    f = tj.jit(lambda x: x[::-1])
    warm(f, X)
    frozen = X.copy()
    frozen.flags.writeable = False
    assert not f(frozen).flags.writeable
    view = f(X.copy())
    view[0] = 7.0
    assert view.base[-1] == 7.0


class Other(np.ndarray):
    pass


def misaligned(x):
    out = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype)
    out[:] = x
    assert not out.flags.aligned
    return out


OTHERS = [
    X.astype("f4"),
    X.astype("i8"),
    X.astype("c16"),
    X[:3],
    X[::-1],
    np.arange(12.0)[::2],
    X.reshape(2, 3),
    X.reshape(6, 1),
    X[:0],
    np.array(1.0),
    misaligned(X),
    2.5,
    3,
    True,
    np.float64(2),
    np.float32(2),
    [X],
    {"x": X},
    (X,),
]


@pytest.mark.parametrize(
    "other", OTHERS, ids=lambda x: f"{type(x).__name__}{np.shape(x)}"
)
def test_other_arguments_are_told_apart(python_calls, other):
    def f(x, y):
        if isinstance(x, list | tuple):
            return f(x[0], y) * (2 if type(x) is list else 4)
        if isinstance(x, dict):
            return f(x["x"], y) * 3
        return np.sum(x) * y + (1 if isinstance(x, np.ndarray) else 0)

    g = tj.jit(f)
    warm(g, X, 2.0)
    count = len(python_calls)
    for x in (X, other, other, other, X, X + 1):
        assert_alike(g(x, 2.0), f(x, 2.0))
    assert len(python_calls) > count


def test_subclass_of_ndarray_is_left_to_python(python_calls):
    f = tj.jit(lambda x: np.sum(x))
    warm(f, X)
    count = len(python_calls)
    assert f(X.view(Other)) == 15.0
    assert len(python_calls) > count


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (2, 3),
        (1 << 40, 1),
        (1, True),
        (1.0, 1),
        (0.0, -0.0),
        (0.0, float("nan")),
        (float("nan"), 1.0),
        ("up", "down"),
        (b"up", "up"),
        (None, 0),
        (2j, complex(0.0, -2.0)),
        (slice(1), slice(2)),
        (len, max),
        (np.dtype("f4"), np.dtype("f8")),
    ],
)
def test_values_that_decide_are_told_apart(python_calls, first, other):
    def f(x, value):
        if isinstance(value, float):
            sign = np.copysign(1.0, float(value))
            return x + sign * (3 if value != value else 2 if value > 0 else 1)
        if isinstance(value, bool):
            return x + 9
        return x + (1 if value == first else 2)

    g = tj.jit(f)
    warm(g, X, first)
    for value in (first, other, other, other, first, other):
        assert_alike(g(X, value), f(X, value))
    count = len(python_calls)
    assert_alike(g(X, first), f(X, first))
    assert_alike(g(X, other), f(X, other))
    assert len(python_calls) == count


def test_equal_values_that_are_other_objects_are_native(python_calls):
    f = tj.jit(lambda x, name, n, raw: x + (1 if (name, raw) == ("up", b"a b") else n))
    warm(f, X, "up", 1 << 40, b"a b")
    count = len(python_calls)
    assert np.array_equal(f(X, "".join(["u", "p"]), int("1" + "0" * 3), b"a b"), X + 1)
    assert np.array_equal(
        f(X, "".join(["u", "p"]), (1 << 20) << 20, b"a" + b" b"), X + 1
    )
    assert len(python_calls) <= count + 1  # the int was another one the first time


def test_ints_beyond_int64_raise_as_in_python():
    f = tj.jit(lambda x, n: x * n)
    for n in (1, 2, 3):
        f(X, n)
    assert np.array_equal(f(X, -(1 << 62)), X * -(1 << 62))
    with pytest.raises(tj.errors.ShapeError, match="does not fit int64"):
        f(X, 1 << 63)


def test_dicts_are_told_apart(python_calls):
    f = tj.jit(lambda d: {k: v * (i + 1) for i, (k, v) in enumerate(d.items())})
    tree = {"a": X, "b": X + 1}
    warm(f, tree)
    others = [
        {"b": X, "a": X + 1},
        {"a": X},
        {"a": X, "c": X},
        {"a": X, "b": X + 1, "c": X},
        {"a": X, 1: X},
        {},
    ]
    for other in others:
        count = len(python_calls)
        assert_alike(f(other), f.__wrapped__(other))
        assert len(python_calls) > count
        assert_alike(f(tree), f.__wrapped__(tree))
    count = len(python_calls)
    tree = {"".join(["", "a"]): X, str(b"b", "ascii"): X + 1}
    assert_alike(f(tree), f.__wrapped__(tree))
    assert len(python_calls) == count


def test_keywords_and_defaults(python_calls):
    g = tj.jit(lambda x, y=2.0, *, z=3.0: x * y + z)

    def every_form():
        assert np.array_equal(g(X), X * 2 + 3)
        assert np.array_equal(g(X, 4.0), X * 4 + 3)
        assert np.array_equal(g(X, y=5.0), X * 5 + 3)
        assert np.array_equal(g(X, z=5.0), X * 2 + 5)
        assert np.array_equal(g(X, z=5.0, y=7.0), X * 7 + 5)
        assert np.array_equal(g(X, y=5.0, z=7.0), X * 5 + 7)
        assert np.array_equal(g(z=X, x=7.0), X + 14)

    for _ in range(2):
        every_form()
    count = len(python_calls)
    every_form()
    g(*[X], **{"y": 2.5})
    assert len(python_calls) == count
    with pytest.raises(TypeError, match="missing"):
        g()
    with pytest.raises(TypeError, match="unexpected"):
        g(X, w=3)


class Layer:
    def __init__(self, by):
        self.by = by

    @tj.jit
    def apply(self, x):
        return x * self.by

    @classmethod
    @tj.jit
    def of_class(cls, x):
        return x + 1

    @staticmethod
    @tj.jit
    def of_none(x):
        return x + 2


def test_methods(python_calls):
    layers = [Layer(2.0), Layer(3.0)]
    for _ in range(3):
        for layer in layers:
            assert np.array_equal(layer.apply(X), X * layer.by)
            assert np.array_equal(layer.of_class(X), X + 1)
            assert np.array_equal(layer.of_none(X), X + 2)
    count = len(python_calls)
    bound = layers[0].apply
    assert np.array_equal(bound(X), X * 2)
    assert np.array_equal(Layer.apply(layers[1], X), X * 3)
    assert np.array_equal(layers[1].apply(X), X * 3)
    assert np.array_equal(next(map(layers[1].apply, [X])), X * 3)
    assert len(python_calls) == count
    assert bound.__self__ is layers[0]
    assert bound.__func__ is Layer.apply


def test_several_specialisations_are_native(python_calls):
    f = tj.jit(lambda x: x + 1)
    inputs = [np.arange(float(n)) for n in range(api.RECENT)]
    for x in inputs * 2:
        f(x)
    count = len(python_calls)
    for x in inputs * 2:
        assert np.array_equal(f(x), x + 1)
    assert len(python_calls) == count


def test_duplicates_are_told_apart():
    def f(*arrays):
        arrays[0][:] += 1
        return sum(arrays)

    for count in (2, 5, 9, 17, 33, 70):
        g = tj.jit(f)
        arrays = [X + k for k in range(count)]
        warm(g, *arrays)
        for i, j in ((0, 1), (count - 2, count - 1), (0, count - 1), (1, count // 2)):
            if i == j:
                continue
            mine, numpys = ([X + k for k in range(count)] for _ in range(2))
            mine[j], numpys[j] = mine[i], numpys[i]
            np.testing.assert_allclose(g(*mine), f(*numpys))
            np.testing.assert_array_equal(mine[0], numpys[0])
        mine = [X + k for k in range(count)]
        np.testing.assert_allclose(g(*mine), f(*[X + k for k in range(count)]))


def test_python_can_ask_whether_arguments_are_one_object():
    f = tj.jit(lambda a, b, c: a + (1 if a is b else 2 if b is c else 3))
    y = X + 1
    for _ in range(3):
        assert np.array_equal(f(X, y, y), X + 2)
        assert np.array_equal(f(X, X, y), X + 1)
        assert np.array_equal(f(X, X, X), X + 1)
        assert np.array_equal(f(X, y, X), X + 3)


def test_written_arguments(python_calls):
    def f(a, b):
        a[1:] += b[1:]
        b *= 2
        return a.sum()

    g = tj.jit(f)
    warm(g, X.copy(), X.copy())
    count = len(python_calls)
    mine, numpys = (X.copy(), X + 1), (X.copy(), X + 1)
    assert g(*mine) == f(*numpys)
    assert len(python_calls) == count
    assert all(map(np.array_equal, mine, numpys))
    mine, numpys = np.arange(20.0), np.arange(20.0)
    for first, second in ((slice(6), slice(3, 9)), (slice(3, 9), slice(6))):
        assert g(mine[first], mine[second]) == f(numpys[first], numpys[second])
        assert np.array_equal(mine, numpys)
    assert g(mine[:6], mine[6:12]) == f(numpys[:6], numpys[6:12])
    frozen = X.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        g(X.copy(), frozen)
    assert np.array_equal(frozen, X)


def test_written_argument_that_is_captured_too():
    table = np.arange(6.0)

    def f(x):
        x[1:] += 1
        return x + table[:5]

    g = tj.jit(f)
    warm(g, X[:5].copy())
    got = g(table[1:])
    after = table.copy()
    table[:] = X
    assert np.array_equal(got, f(table[1:]))
    assert np.array_equal(after, table)


def test_captured_arrays(python_calls):
    box = {"w": np.ones(6)}
    f = tj.jit(lambda x: x * box["w"])
    warm(f, X)
    count = len(python_calls)
    box["w"] *= 2
    assert np.array_equal(f(X), 2 * X)
    assert len(python_calls) == count
    for _ in range(3):
        box["w"] = np.full(6, 5.0)
        assert np.array_equal(f(X), 5 * X)
        box["w"] = np.full((2, 1), 7.0)
        assert np.array_equal(f(X), 7 * X[None] + np.zeros((2, 1)))
    del box["w"]
    with pytest.raises(KeyError):
        f(X)


def test_captured_array_in_another_shape():
    w = np.ones(6)
    f = tj.jit(lambda x: x * w)
    warm(f, X)
    w.resize(2, 3, refcheck=False)
    assert np.array_equal(f(X[:3]), X[:3] * w)
    w.resize(6, refcheck=False)
    assert np.array_equal(f(X), X)


def test_configuration(python_calls):
    f = tj.jit(lambda x, y, z: x * y + z)
    args = (X, X + 1, X + 2)
    warm(f, *args)
    with count_traces() as counter:
        with config.override(fma=not config.get("fma")):
            f(*args)
            f(*args)
            count = len(python_calls)
            f(*args)
            assert len(python_calls) == count
            with ThreadPoolExecutor(1) as other:
                other.submit(f, *args).result()
        f(*args)
        before = len(python_calls)
        f(*args)
        assert len(python_calls) == before
    assert counter.traces == 1


def test_setting_a_switch_for_the_process(python_calls):
    f = tj.jit(lambda x, y, z: x * y + z)
    args = (X, X + 1, X + 2)
    warm(f, *args)
    was = config.get("fma")
    try:
        with count_traces() as counter:
            config.set("fma", not was)
            f(*args)
        assert counter.traces == 1
        config.set("native_calls", False)
        f(*args)
        count = len(python_calls)
        f(*args)
        assert len(python_calls) > count
    finally:
        config.set("fma", was)
        config.set("native_calls", True)


def test_call_inside_a_trace_is_inlined():
    kinds = []
    inner = tj.jit(lambda n: np.zeros(6) + n)
    for n in (1, 2, 3):
        inner(n)
    assert inner._chain

    def outer(x):
        kinds.append(type(inner(3)))
        return x + inner(3)

    assert np.array_equal(tj.jit(outer)(X), X + 3)
    assert kinds != [np.ndarray]
    assert type(inner(3)) is np.ndarray


@pytest.mark.parametrize("native", [True, False])
def test_errors(native):
    f = tj.jit(lambda x, i: x[i] + 1)
    with config.override(native_calls=native):
        for _ in range(3):
            assert np.array_equal(f(X, np.array([1, 2])), [2, 3])
        assert bool(f._chain) is native
        for _ in range(20):
            with pytest.raises(
                IndexRangeError, match="index 6 is out of bounds for axis 0"
            ):
                f(X, np.array([1, 6]))
        assert np.array_equal(f(X, np.array([1, -1])), [2, 6])
    g = tj.jit(np.linalg.inv)
    warm(g, np.eye(2))
    with pytest.raises(np.linalg.LinAlgError):
        g(np.zeros((2, 2)))
    assert np.array_equal(g(np.eye(2)), np.eye(2))


def test_refusal_leaves_calls_to_python(python_calls):
    f = tj.jit(lambda s: s.position + 1)
    for k in range(4):
        assert np.array_equal(f(Computed(X + k)), X + k + 1)
    assert not f._chain
    assert "Computed" in f._guards[0].refusal
    assert len(python_calls) >= 3


def test_unpickled_arrays_are_native(python_calls):
    f = tj.jit(lambda x, y: x + y)
    warm(f, X, X + 1)
    other = pickle.loads(pickle.dumps(X))
    assert other.dtype is not X.dtype
    count = len(python_calls)
    assert np.array_equal(f(other, X), X + X)
    assert len(python_calls) == count
    swapped = X.astype(">f8")
    with pytest.raises(tj.errors.DTypeError):
        f(swapped, X)


PORTABLE = """
import sys
sys._is_gil_enabled = lambda: False
import numpy as np
import tracejit as tj
from tracejit import api
from tracejit.runtime.cpu.entry import support
assert support.why_not() == "the interpreter has no lock"
api.PATIENCE = api.Patience(0)
class Layer:
    @tj.jit
    def f(self, x, n=2):
        return x * n
layer, x = Layer(), np.arange(3.0)
for n in (2, 3, 4):
    assert np.array_equal(layer.f(x, n), x * n)
    assert np.array_equal(Layer.f(layer, x), x * 2)
function = Layer.__dict__["f"]
assert not function._chain
assert function._guards[0].refusal == support.why_not()
"""


def test_without_native_entries_the_results_are_the_same():
    subprocess.run([sys.executable, "-W", "error", "-c", PORTABLE], check=True)


def test_captures_found_by_attributes_items_and_cells(python_calls):
    class Box:
        def __init__(self):
            self.table = {"w": [np.ones(6)]}

    box, cell = Box(), np.ones(6)
    f = tj.jit(lambda x: x * box.table["w"][0] + cell)
    warm(f, X)
    kept = [box, box.table, box.table["w"], box.table["w"][0], cell, X]
    before = references(kept)
    count = len(python_calls)
    for _ in range(1000):
        f(X)
    assert len(python_calls) == count
    assert references(kept) == before
    for change in (
        lambda: box.table["w"].__setitem__(0, np.full(6, 2.0)),
        lambda: box.table.__setitem__("w", [np.full(6, 3.0)]),
        lambda: setattr(box, "table", {"w": [np.full(6, 4.0)]}),
    ):
        change()
        assert np.array_equal(f(X), X * box.table["w"][0] + cell)
        assert np.array_equal(f(X), X * box.table["w"][0] + cell)
    cell = np.full(6, 9.0)
    assert np.array_equal(f(X), X * box.table["w"][0] + cell)
    box.table["w"].clear()
    with pytest.raises(IndexError):
        f(X)


RATE = 2.0
TABLE = {"n": 3, "rows": [1, 2]}


def helper(x):
    return x + 1


def test_captured_numbers_and_functions(python_calls, monkeypatch):
    offset, big = 5, 1 << 40

    def f(x):
        out = helper(x) * RATE + offset + big * 0
        return out * len(TABLE["rows"]) + TABLE["n"]

    g = tj.jit(f)
    warm(g, X)
    count = len(python_calls)
    monkeypatch.setitem(globals(), "TABLE", TABLE | {"n": int("3")})
    big = int("1099511627776")
    assert_alike(g(X), f(X))
    assert len(python_calls) == count
    module = sys.modules[__name__]
    for name, value in (("RATE", 3.0), ("helper", lambda x: x - 1)):
        monkeypatch.setattr(module, name, value)
        for _ in range(3):
            assert_alike(g(X), f(X))
    TABLE["rows"].append(4)
    assert_alike(g(X), f(X))
    TABLE["rows"].pop()
    offset = 6
    assert_alike(g(X), f(X))
    count = len(python_calls)
    kept = [TABLE, TABLE["rows"], helper, RATE, X]
    g(X)
    before = references(kept)
    for _ in range(100):
        g(X)
    assert references(kept) == before
