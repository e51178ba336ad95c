"""What goes wrong in a call says where: the user's line, what is large, what to try."""

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.errors import CallMemoryError, CheckError, IndexRangeError

HUGE = 1 << 22  # squared, times 8: more than processors can address


def here(function, offset):
    return f"at test_failures.py:{function.__code__.co_firstlineno + offset}"


def picked(x, i):
    y = np.exp(x)
    return y[i] * 2


def picked_in_a_loop(x, i):
    def turn(carry, row):
        return carry + row[i], row * 2

    return tj.scan(turn, x[0, 0], x)


def picked_in_a_gradient(x, i):
    return (x[i] ** 2).sum()


def factored(x):
    y = x + x.T
    return np.linalg.cholesky(y)


def solved(x):
    return np.linalg.solve(x, x[0])


def checked(x):
    tj.debug.check(x.sum() > 0, "the sum is {}", x.sum())
    return x * 2


@pytest.mark.parametrize(
    ("function", "args", "error", "offset"),
    [
        (picked, (np.ones(5), np.int64(7)), IndexRangeError, 2),
        (picked, (np.ones(5), np.array([1, -9])), IndexRangeError, 2),
        (picked_in_a_loop, (np.ones((3, 4)), np.int64(4)), IndexRangeError, 2),
        (factored, (-np.eye(3),), np.linalg.LinAlgError, 2),
        (solved, (np.zeros((3, 3)),), np.linalg.LinAlgError, 1),
        (checked, (-np.ones(3),), CheckError, 1),
    ],
)
def test_errors_of_machine_code_name_the_line(function, args, error, offset):
    f = tj.jit(function)
    for _ in range(3):  # the long way, by a guard, in machine code
        with pytest.raises(error) as caught:
            f(*args)
        assert here(function, offset) in str(caught.value)


def test_errors_of_gradients_name_the_line_of_the_function():
    f = tj.jit(tj.grad(picked_in_a_gradient))
    with pytest.raises(IndexRangeError) as caught:
        f(np.ones(4), np.array([0, 9]))
    assert here(picked_in_a_gradient, 1) in str(caught.value)


def test_errors_of_code_with_clocks_name_the_line():
    with config.override(profile=True), pytest.raises(IndexRangeError) as caught:
        tj.jit(picked)(np.ones(5), np.int64(7))
    assert here(picked, 2) in str(caught.value)


def large_result(x):
    y = np.broadcast_to(x, (HUGE, HUGE))
    return y * 2


def large_temporary(x):
    y = np.broadcast_to(x, (HUGE, HUGE)) * 2
    z = np.sort(y, axis=1)
    return np.sum(z)


@pytest.mark.parametrize(
    ("function", "kind", "offset"),
    [(large_result, "output", 2), (large_temporary, "arena", 2)],
)
def test_calls_that_get_no_memory_say_for_what(function, kind, offset):
    f = tj.jit(function)
    for _ in range(2):
        with pytest.raises(CallMemoryError) as caught:
            f(np.ones(1))
        assert isinstance(caught.value, MemoryError)
        text = str(caught.value)
        assert f"no memory for a call of {function.__name__}" in text
        place = here(function, offset).removeprefix("at ")
        assert f"128 TiB  {kind:8} float64[{HUGE},{HUGE}]  ; {place}" in text
        assert "try: work on fewer rows" in text


def test_memory_that_runs_out_later_is_reported_by_machine_code(monkeypatch):
    f = tj.jit(lambda x: np.exp(x) + 1)
    x = np.ones((300, 300))
    for _ in range(3):
        f(x)

    def refuse(self, size):
        raise MemoryError

    monkeypatch.setattr("tracejit.runtime.cpu.memory.pool.OutputPool.memory", refuse)
    with pytest.raises(CallMemoryError, match="no memory for a call of _lambda_"):
        f(x)


def test_errors_of_memory_in_callbacks_stay_as_they_are():
    def refuse(x):
        raise MemoryError("of the user's own")

    def f(x):
        return tj.callback.pure(refuse, np.empty(3), x)

    with pytest.raises(MemoryError) as caught:
        tj.jit(f)(np.ones(3))
    assert not isinstance(caught.value, CallMemoryError)
