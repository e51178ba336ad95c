"""Ufuncs given nothing but lists of traced values, of which NumPy asks nothing."""

import threading

import numpy as np
import pytest
from numpy import add

import tracejit as tj
from tests.coverage.measure import difference
from tracejit.errors import ConcretizationError

A, B = np.array([1.0, 5.0, 3.0]), np.array([4.0, 2.0, 3.0])
X, Y = np.float64(1.5), np.float32(2)

CALLS = [
    "np.add([x, y], [y, x])",
    "np.sqrt([x, y])",
    "np.sqrt((x, 4))",
    "np.exp([[x, y], [y, 1.0]])",
    "np.add([a, b], 1.0)",
    "np.divmod([x, y], [y, x])",
    "np.matmul([[x, y], [y, x]], [x, y])",
    "np.less([x, y], [y, x])",
    "np.add([x, y], [y, x], dtype='f4')",
    "np.maximum.reduce([a, b])",
    "np.maximum.reduce((a, b), axis=1)",
    "np.hypot.reduce([x, y, 3.0])",
    "np.add.accumulate([a, b, a])",
    "np.add.reduceat([x, y, x], [0, 1])",
    "np.multiply.outer([x, y], [y, 2])",
    "np.logical_and.reduce([a > 2, b > 2, a > b])",
    "np.gcd([np.floor(8 * x).astype(int), 6], 4)",
]


@pytest.mark.parametrize("expression", CALLS)
def test_as_numpy(expression):
    f = eval(f"lambda x, y, a, b: {expression}", {"np": np})
    assert not difference(tj.jit(f)(X, Y, A, B), f(X, Y, A, B))


def test_derivatives_batches_and_loops():
    def f(x):
        return np.sum(np.sin([x, 2 * x]))

    assert tj.grad(f)(1.0) == pytest.approx(np.cos(1) + 2 * np.cos(2))
    assert tj.jit(tj.grad(f))(1.0) == pytest.approx(np.cos(1) + 2 * np.cos(2))
    batched = tj.vmap(lambda x: np.maximum.reduce([x, 6 - x]))(A)
    np.testing.assert_array_equal(batched, [5, 5, 3])
    steps = tj.jit(lambda a: tj.scan(lambda c, x: (c, np.add([c, x], 1)), 1.0, a)[1])
    np.testing.assert_array_equal(steps(A), np.stack([np.full(3, 2.0), A + 1], 1))


def test_numpy_is_as_before():
    before = {name: getattr(np, name) for name in ("add", "maximum", "sum")}
    tj.jit(lambda x: np.add([x, x], 1))(X)
    with pytest.raises(ZeroDivisionError):
        tj.jit(lambda x: (np.add([x, x], 1), 1 // 0))(X)
    assert all(getattr(np, name) is value for name, value in before.items())


def test_what_stands_for_a_ufunc_is_like_it():
    seen = {}

    def f(x):
        table = {real: 1}
        seen["same"] = np.add == real, real == np.add, np.add != np.subtract
        seen["kind"] = isinstance(np.add, np.ufunc), np.add.nin, repr(np.add)
        seen["found"] = table[np.add]
        return np.add([x, x], np.add(x, 1))

    real = np.add
    np.testing.assert_array_equal(tj.jit(f)(X), [4, 4])
    assert seen["same"] == (True, True, True)
    assert seen["kind"] == (True, 2, "<ufunc 'add'>")
    assert seen["found"] == 1


def test_a_function_without_such_calls_is_traced_once():
    runs = []

    def f(x, make):
        runs.append(np.add)
        return make(x)

    tj.jit(f)(X, lambda x: np.add(x, [1.0, 2.0]))
    assert runs == [np.add]
    assert runs[0] is np.add
    runs.clear()
    tj.jit(f)(X, lambda x: np.add([x], 1))
    assert len(runs) == 2


def test_other_threads_see_ufuncs():
    results = []

    def f(x):
        thread = threading.Thread(target=lambda: results.append(np.add([1, 2], [3, 4])))
        thread.start()
        thread.join()
        return np.add([x, x], 1)

    tj.jit(f)(X)
    assert all(type(r) is np.ndarray and r.tolist() == [4, 6] for r in results)


def test_a_ufunc_by_a_name_of_its_own_says_what_to_write():
    with pytest.raises(ConcretizationError) as caught:
        tj.jit(lambda x: add([x, x], 1))(X)
    text = str(caught.value)
    assert "a ufunc was given lists, and a traced f64[] in them" in text
    assert "test_ufuncs_of_lists.py:" in text
    assert "try: np.array([...]) in place of the list" in text


def test_errors_of_lists_are_numpys():
    with pytest.raises(ValueError):
        tj.jit(lambda x: np.add([x, [x, x]], 1))(X)
