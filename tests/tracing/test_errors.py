"""Every refusal says what happened, where, and what to write instead."""

import copy
import pickle
import re

import numpy as np
import pytest
from scipy import ndimage

import tracejit as tj
from tracejit.errors import (
    ConcretizationError,
    DTypeError,
    IndexRangeError,
    LeakedTracerError,
    ShapeError,
    TraceError,
    UnsupportedError,
)

X = np.arange(6.0).reshape(2, 3)


def message(error, fn, *args):
    """Run ``jit(fn)(*args)``, expect `error`, return its text."""
    with pytest.raises(error) as caught:
        tj.jit(fn)(*args)
    return str(caught.value)


def has_line(text):
    return re.search(r"at (\w+/)*test_errors\.py:\d+", text) is not None


def test_wrong_shapes_name_both_and_the_line():
    text = message(ShapeError, lambda x, y: x + y, X, np.zeros(4))
    assert "(2,3)" in text
    assert "(4,)" in text
    assert has_line(text)
    assert "try: add axes" in text


def test_matmul_names_both_shapes_and_the_line():
    text = message(ShapeError, lambda x, y: x @ y, X, np.zeros((2, 5)))
    assert "(2, 3)" in text
    assert "(2, 5)" in text
    assert has_line(text)
    assert "x @ w.T" in text


def test_branch_on_traced_value():
    def f(x):
        if x[0, 0] > 0:
            return x
        return -x

    text = message(ConcretizationError, f, X)
    assert "its truth value" in text
    assert "np.where(cond, a, b)" in text
    assert has_line(text)


def test_float_of_traced_value():
    text = message(ConcretizationError, lambda x: float(x.sum()), X)
    assert "cannot give Python float()" in text
    assert has_line(text)


def test_array_conversion_by_code_that_is_not_traced():
    def f(x):
        return memoryview(x)  # a C function that wants a buffer

    with pytest.raises(TypeError):
        tj.jit(f)(X)

    def g(x):
        buffer = [0.0]
        out = np.ndarray((2, 3))
        out[...] = x
        return buffer, out

    text = message(ConcretizationError, g, X)
    assert "cannot become a NumPy array" in text
    assert "np.zeros" in text
    assert has_line(text)


def test_asarray_from_untraced_code_names_the_way_out():
    text = message(ConcretizationError, lambda x: ndimage.gaussian_filter(x, 1.0), X)
    assert "cannot become a NumPy array" in text


def test_asarray_in_user_code_is_traced():
    assert np.array_equal(tj.jit(lambda x: np.asarray(x) + 1)(X), X + 1)


def test_unsupported_function_is_named():
    text = message(UnsupportedError, lambda x: np.unique(x), X)
    assert "np.unique of traced values" in text
    assert "np.bincount(x, minlength=n)" in text
    assert has_line(text)


def test_unsupported_method_is_named():
    text = message(UnsupportedError, lambda x: x.getfield(), X)
    assert "the array method 'getfield' is not traced" in text


def test_data_dependent_mask_shape():
    text = message(UnsupportedError, lambda x: x[x > 1] @ np.ones(4), X)
    assert "shape that depends on the data" in text
    assert "np.where(mask, x, other)" in text


def test_mask_selection_as_a_result():
    text = message(UnsupportedError, lambda x: x[x > 1], X)
    assert "shape that depends on the data" in text


def test_tracer_kept_after_the_trace():
    kept = []

    def f(x):
        kept.append(x)
        return x + 1

    tj.jit(f)(X)
    with pytest.raises(LeakedTracerError) as caught:
        kept[0] + 1
    assert "after its trace ended" in str(caught.value)
    assert "return values from the function" in str(caught.value)


def test_object_dtype():
    text = message(DTypeError, lambda x: x, np.array([object()]))
    assert "dtype object is not supported" in text


def test_non_native_byte_order():
    text = message(DTypeError, lambda x: x, X.astype(">f8"))
    assert "non-native byte order" in text
    assert "x.astype('float64')" in text


def test_known_index_out_of_range():
    text = message(IndexRangeError, lambda x: x[:, [0, 3]], X)
    assert "index 3 is out of bounds for axis 1 with size 3" in text
    assert has_line(text)


def test_index_out_of_range_at_run_time():
    take = tj.jit(lambda x, i: x[i])
    assert np.array_equal(take(X, np.array([1, -1])), X[[1, -1]])
    with pytest.raises(IndexError) as caught:
        take(X, np.array([0, 2]))
    assert "out of bounds" in str(caught.value)
    assert np.array_equal(take(X, np.array([0])), X[[0]])  # nothing was left behind


def test_write_into_captured_array():
    table = np.zeros(3)

    def f(x):
        table[:] = x
        return table

    with pytest.raises(TraceError) as caught:
        tj.jit(f)(np.ones(3))
    assert "try:" in str(caught.value)
    assert not table.any()


def test_numpy_random_raises():
    text = message(UnsupportedError, lambda x: x + np.random.rand(3), X)
    assert "np.random.rand" in text
    assert "tj.random.normal(key, shape)" in text


def test_failed_call_leaves_arguments_and_numpy_alone():
    zeros = np.zeros

    def f(x):
        x[0] = 7
        return x @ np.ones(9)

    y = X.copy()
    message(ShapeError, f, y)
    assert np.array_equal(y, X)
    assert np.zeros is zeros


def test_read_only_argument():
    y = X.copy()
    y.flags.writeable = False

    def f(x):
        x[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        tj.jit(f)(y)


def test_static_argnames_must_exist():
    with pytest.raises(TypeError, match=r"static_argnames \['m'\]"):
        tj.jit(lambda n: n, static_argnames="m")


def test_jit_of_no_function():
    with pytest.raises(TypeError, match="jit takes a function"):
        tj.jit(3)


def double(x):
    """Twice x."""
    return x * 2


jitted_double = tj.jit(double)


@tj.jit
def decorated(x, scale=3.0):
    """Scaled x."""
    return x * scale


def test_name_docstring_and_signature():
    assert decorated.__name__ == "decorated"
    assert decorated.__doc__ == "Scaled x."
    assert "scale=3.0" in str(__import__("inspect").signature(decorated))


def test_pickle_by_reference_and_copy():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    again = pickle.loads(pickle.dumps(jitted_double))
    assert np.array_equal(again(X), X * 2)
    assert copy.copy(decorated) is decorated
    assert copy.deepcopy(decorated) is decorated
    with pytest.raises(pickle.PicklingError, match="lambda"):
        pickle.dumps(tj.jit(lambda x: x))
