"""What `jit` takes, and how calls of different form share what is compiled."""

import functools
import operator

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import count_traces
from tracejit.tracing.signature import STATIC, Signature

X = np.arange(6.0).reshape(2, 3)
W = np.array([2.0, 3.0, 4.0])


def fma(a, b, c=2, *rest, scale=1.0, **more):
    return (a * b + c + sum(rest) + sum(more.values())) * scale


@pytest.mark.parametrize(
    ("f", "args", "kwargs"),
    [
        (np.isnan, (X,), {}),
        (np.add, (X, W), {}),
        (np.add, (X, W), {"dtype": np.float32, "casting": "same_kind"}),
        (np.divmod, (X, 2.0), {}),
        (np.matmul, (X, W), {}),
        (np.add.reduce, (X,), {"axis": 1}),
        (np.sum, (X,), {}),
        (np.sum, (X, 1), {"keepdims": True}),
        (np.max, (X,), {"axis": 0}),
        (np.clip, (X, 1, 3), {}),
        (np.clip, (X,), {"min": 1}),
        (np.where, (X > 2, X, 0.0), {}),
        (np.linalg.norm, (X,), {}),
        (np.zeros, (3,), {}),
        (len, (X,), {}),
        (max, (1, 2), {}),
        (abs, (-X,), {}),
        (pow, (X, 2), {}),
        (sum, ([X, X],), {}),
        (operator.add, (X, W), {}),
        (functools.partial(np.sum, axis=1), (X,), {}),
        (functools.partial(np.add, W), (X,), {}),
        (functools.partial(fma, c=3), (X, W), {"scale": 0.5}),
        (functools.partial(fma, X), (W, 1), {}),
    ],
)
def test_any_callable(f, args, kwargs):
    expected = f(*args, **kwargs)
    with count_traces() as counter:
        jitted = tj.jit(f)
        results = [jitted(*args, **kwargs) for _ in range(3)]
    assert counter.traces == 1
    for result in results:
        assert type(result) is type(expected)
        np.testing.assert_array_equal(result, expected)


def test_ufunc_writes_into_out():
    out = np.zeros_like(X)
    assert tj.jit(np.add)(X, W, out=out) is out
    assert np.array_equal(out, X + W)
    assert tj.jit(np.add)(X, X, out) is out
    assert np.array_equal(out, X + X)


def test_callables_without_a_name_have_one():
    assert repr(tj.jit(functools.partial(np.sum, axis=1))) == "<jit partial>"
    assert tj.jit(np.isnan).__name__ == "isnan"


def test_arrays_made_by_untraced_code_are_new_at_each_call():
    f = tj.jit(np.zeros)
    first = f(3)
    first += 1
    assert np.array_equal(f(3), np.zeros(3))


def test_arrays_of_a_partial_are_followed():
    w = W.copy()
    f = tj.jit(functools.partial(np.multiply, w))
    assert np.array_equal(f(X), w * X)
    w += 1
    assert np.array_equal(f(X), w * X)


def test_defaults_count_as_given():
    f = tj.jit(fma)
    with count_traces() as counter:
        f(X, W)
        f(X, W, 2)
        f(X, b=W)
        f(scale=1.0, b=W, a=X)
        f(a=X, c=2, b=W)
    assert counter.traces == 1


def test_array_default_is_an_argument_that_can_be_written():
    def accumulate(x, total=np.zeros(3)):  # noqa: B008  (the point of the test)
        total += x
        return total

    f = tj.jit(accumulate)
    assert np.array_equal(f(W), W)
    assert np.array_equal(f(W), 2 * W)


def test_wrong_arguments_raise_as_python_does():
    f = tj.jit(fma)
    for _ in range(2):
        with pytest.raises(TypeError, match="missing a required argument: 'b'"):
            f(X)
        with pytest.raises(TypeError, match="multiple values for argument 'a'"):
            f(X, W, a=W)


def kinds(call):
    return [key.kind == STATIC for key in call.keys]


def test_static_parameters_by_place_and_by_name():
    def f(x, n, m=7, *rest, flag=3, **more): ...

    signature = Signature(f, ("n", "flag", "k"))
    assert kinds(signature.bind((X, 7), {})) == [False, True, False, True]
    call = signature.bind((X, (1, 2), 3, 4), {"k": 5, "j": 5})
    # x, n (two leaves), m, rest, flag, k, j
    assert kinds(call) == [False, True, True, False, False, True, True, False]
    same = signature.bind((), {"x": X, "n": 7, "m": 7})
    assert kinds(same) == [False, True, False, True]


def test_static_parameters_that_are_variadic():
    def f(x, *rest, **more): ...

    call = Signature(f, ("rest", "more")).bind((X, 1, 2), {"a": 3})
    assert kinds(call) == [False, True, True, True]


def test_static_argnames_are_checked():
    with pytest.raises(TypeError, match=r"static_argnames \['q'\] are not parameters"):
        tj.jit(lambda x: x, static_argnames="q")
