"""Which calls trace again: counted, not guessed."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import count_traces

X = np.arange(4.0)


def traces(f, *args, **kwargs):
    with count_traces() as counter:
        result = f(*args, **kwargs)
    return counter.traces, result


def test_second_call_of_a_signature_traces_nothing():
    f = tj.jit(lambda x: x + 1)
    assert traces(f, X)[0] == 1
    assert traces(f, X * 2)[0] == 0


def test_shape_dtype_and_strides_are_the_signature():
    f = tj.jit(lambda x: x + 1)
    grid = np.arange(12.0).reshape(3, 4)
    for x in (X, X[:2], X.astype("f4"), grid, grid.T, grid[:, ::2]):
        count, result = traces(f, x)
        assert count == 1
        assert np.array_equal(result, x + 1)
        assert traces(f, x)[0] == 0


def test_step_counter_traces_at_most_twice():
    f = tj.jit(lambda x, t: x / t)
    counts = [traces(f, X, t)[0] for t in range(1, 8)]
    assert sum(counts) <= 2
    for t in (3, 11):
        assert np.array_equal(f(X, t), X / t)


def test_int_that_python_asks_for_specialises_by_value():
    def power(x, n):
        out = x
        for _ in range(n):
            out = out * x
        return out

    f = tj.jit(power)
    for n in (2, 3, 2, 4, 3):
        assert np.array_equal(f(X, n), power(X, n))
    assert traces(f, X, 2)[0] == 0
    assert traces(f, X, 3)[0] == 0
    assert traces(f, X, 5)[0] == 1


@pytest.mark.parametrize("compare", [lambda n: n > 2, lambda n: n + 0 >= 3])
def test_comparison_of_a_changing_int_specialises(compare):
    @tj.jit
    def f(x, n):
        return x if compare(n) else -x

    for n in (1, 2, 3, 1, 3):
        np.testing.assert_array_equal(f(X, n), X if n > 2 else -X)


CHANGING_INTS = {
    "repeat a list": lambda x, n: np.array([1.0] * n),
    "arange": lambda x, n: np.arange(n),
    "roll": lambda x, n: np.roll(x, n),
    "tile": lambda x, n: np.tile(x, n),
    "pad": lambda x, n: np.pad(x, n),
    "sections": lambda x, n: np.array_split(x, n + 1),
    "fft": lambda x, n: np.fft.fft(x, n + 1),
    "text": lambda x, n: x if f"{n}" == "2" else -x,
    "format": lambda x, n: x if f"{n:03d}" == "002" else -x,
    "dict key": lambda x, n: {0: x, 2: 2 * x}.get(n, -x),
    "membership": lambda x, n: x if n in {1, 2} else -x,
    "chained": lambda x, n: x if 0 < n < 3 else -x,
    "NumPy int": lambda x, n: x[np.int64(n)] * np.int32(n),
    "NumPy scalar": lambda x, n: x if np.sqrt(n) > 1.2 else -x,
    "rounded up": lambda x, n: np.zeros(int(np.ceil(n / 2))),
    "three-argument pow": lambda x, n: pow(n, 2, 5) * x,
    "int method": lambda x, n: n.bit_length() * x,
    "view of it": lambda x, n: np.zeros(np.asarray(n).reshape(1)[0].item()),
    "factorial": lambda x, n: math.factorial(n) * x,
    "shape": lambda x, n: np.broadcast_to(x, (n, 4)),
}


@pytest.mark.parametrize("name", CHANGING_INTS)
def test_changing_int_means_what_it_means_in_python(name):
    f = CHANGING_INTS[name]
    compiled = tj.jit(f)
    for n in (1, 2, 0, 3, 2):
        got, want = compiled(X, n), f(X, n)
        if not isinstance(want, list):
            got, want = [got], [want]
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, strict=True)


CHANGING_FLOATS = {
    "round": lambda x, a: round(a) * x,
    "round to": lambda x, a: round(a, 1) * x,
    "floor": lambda x, a: math.floor(a) * x + math.ceil(a) + math.trunc(a),
    "text": lambda x, a: x if str(a) == "2.0" else -x,
    "format": lambda x, a: x if f"{a:.1f}" == "1.5" else -x,
    "dict key": lambda x, a: {1.5: 2}.get(a, 1) * x,
    "float method": lambda x, a: x if a.is_integer() else -x,
    "math": lambda x, a: math.exp(a) * x,
    "NumPy scalar": lambda x, a: np.float32(a) * x,
    "length": lambda x, a: np.arange(0, a, 0.5),
}


@pytest.mark.parametrize("name", CHANGING_FLOATS)
def test_changing_float_means_what_it_means_in_python(name):
    f = CHANGING_FLOATS[name]
    compiled = tj.jit(f)
    for a in (0.53, 1.5, 2.0):
        np.testing.assert_allclose(compiled(X, a), f(X, a), rtol=1e-12, strict=True)


def test_floats_are_run_time_values():
    f = tj.jit(lambda x, rate: x * rate)
    assert traces(f, X, 0.5)[0] == 1
    assert traces(f, X, 0.25)[0] == 0
    assert np.array_equal(f(X, 0.125), X * 0.125)


def test_float_that_decides_control_flow_is_asked_for():
    def relu_or_not(x, slope):
        if slope > 0:
            return np.maximum(x, slope * x)
        return x

    f = tj.jit(relu_or_not)
    for slope in (0.5, 0.0, -1.0, 0.5):
        assert np.array_equal(f(X - 2, slope), relu_or_not(X - 2, slope))


def test_bool_str_and_none_specialise():
    def f(x, mode=None, flip=False):
        x = x + 1 if mode == "up" else x
        return -x if flip else x

    g = tj.jit(f)
    for mode in (None, "up", "down"):
        for flip in (False, True):
            assert traces(g, X, mode, flip)[0] == 1
            count, result = traces(g, X, mode=mode, flip=flip)
            assert count == 0
            assert np.array_equal(result, f(X, mode, flip))


class Model:
    def __init__(self, w):
        self.w = w

    @tj.jit
    def apply(self, x):
        return x * self.w


def test_captured_attribute_by_reference_with_identity_guard():
    model = Model(np.ones(4))
    assert np.array_equal(model.apply(X), X)
    model.w[:] = 3
    count, result = traces(model.apply, X)
    assert count == 0
    assert np.array_equal(result, X * 3)
    model.w = np.full(4, 5.0)
    count, result = traces(model.apply, X)
    assert count == 1
    assert np.array_equal(result, X * 5)


TABLE = np.arange(4.0)


def test_captured_global_and_closure(monkeypatch):
    offset = np.ones(4)
    f = tj.jit(lambda x: x * TABLE + offset)
    assert np.array_equal(f(X), X * X + 1)
    offset[:] = 2
    assert np.array_equal(f(X), X * X + 2)
    monkeypatch.setitem(globals(), "TABLE", np.zeros(4))
    assert np.array_equal(f(X), np.full(4, 2.0))


class Layer:
    def __init__(self):
        self.offset = np.ones(4)

    def __call__(self, x):
        return x * TABLE + self.offset


def test_captured_by_a_callable_object(monkeypatch):
    """What its ``__call__`` names is found, as are the object's attributes."""
    layer = Layer()
    f = tj.jit(layer)
    assert np.array_equal(f(X), layer(X))
    layer.offset[:] = 2
    assert np.array_equal(f(X), layer(X))
    monkeypatch.setitem(globals(), "TABLE", np.zeros(4))
    assert np.array_equal(f(X), layer(X))


def test_view_of_a_captured_array_follows_it():
    weights = np.arange(16.0).reshape(4, 4)
    f = tj.jit(lambda x: x @ weights.T[1:])
    assert np.allclose(f(X[:3]), X[:3] @ weights.T[1:])
    weights *= 2
    assert np.allclose(f(X[:3]), X[:3] @ weights.T[1:])


def test_array_born_of_untraced_code_warns():
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match=r"test_retrace\.py:\d+: an array made inside"):
        tj.jit(lambda x: x + rng.normal(size=4))(X)


def test_same_array_twice_is_one_argument():
    def f(a, b):
        a += 1
        return a + b

    x, y = X.copy(), X.copy()
    assert np.array_equal(tj.jit(f)(x, x), f(y, y))
    assert np.array_equal(x, y)


def test_partial_overlap_runs_in_numpy():
    def f(a, b):
        a[:] = b * 2
        return a + b

    x, y = np.arange(6.0), np.arange(6.0)
    assert np.array_equal(tj.jit(f)(x[1:], x[:-1]), f(y[1:], y[:-1]))
    assert np.array_equal(x, y)


@dataclass
class State:
    position: np.ndarray
    step: int = 0


def test_dataclass_argument_and_result():
    f = tj.jit(lambda s: State(s.position + 1, s.step + 1))
    state = State(X)
    for expected in range(1, 5):
        state = f(state)
        assert state.step == expected
        assert type(state.step) is int
    assert np.array_equal(state.position, X + 4)


def test_nested_jit_is_inlined():
    inner = tj.jit(lambda x: x * 2)
    count, result = traces(tj.jit(lambda x: inner(x) + inner(x)), X)
    assert count == 1
    assert np.array_equal(result, X * 4)
