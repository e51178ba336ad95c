"""What steps do, and which line wants it: exact numbers, parts that add up."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.work import UNKNOWN, Share, Work, shares_of, time_shares, work_of
from tracejit.kernels.cost import cost_of
from tracejit.program.program import Copy, Extern, Run, nested

from .conftest import LIMITS

X = np.ones((64, 32), np.float32)


def steps_of(function, *args):
    program = tj.jit(function).lower(*args).program
    return program.by_name, list(nested(program.steps))


def line(function, offset):
    return f"test_work.py:{function.__code__.co_firstlineno + offset}"


def test_kernels_do_what_their_cost_says():
    buffers, [step] = steps_of(lambda x, w: x @ w, X, np.ones((32, 16), np.float32))
    work, cost = work_of(step, buffers), cost_of(step.kernel)
    assert (work.flops, work.bytes_read) == (cost.flops, cost.bytes_read)
    assert work.flops == 2 * 64 * 32 * 16
    assert work.bytes_written == 4 * 64 * 16
    assert work.arithmetic == "float32"


@pytest.mark.parametrize(
    ("dtype", "arithmetic"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("complex64", "float32"),
        ("complex128", "float64"),
        ("int64", "float64"),
        ("int8", "float32"),
    ],
)
def test_arithmetic_is_one_that_machines_are_measured_in(dtype, arithmetic):
    buffers, steps = steps_of(lambda x: x * x + x, X.astype(dtype))
    [found] = {work_of(s, buffers).arithmetic for s in steps}
    assert found == arithmetic


def test_steps_outside_of_kernels_have_the_cost_of_their_primitive():
    x = np.eye(8)
    buffers, steps = steps_of(np.linalg.cholesky, x)
    [step] = [s for s in steps if isinstance(s, Extern)]
    work = work_of(step, buffers)
    assert work.flops > 0
    assert work.bytes_read == x.nbytes
    assert work.arithmetic == "float64"


def test_copies_move_bytes():
    buffers, steps = steps_of(lambda x: (x, x), X)
    copies = [s for s in steps if isinstance(s, Copy)]
    works = [work_of(s, buffers) for s in copies]
    assert works == [Work(0.0, X.nbytes, X.nbytes)] * len(copies)


def two_lines(x, y):
    a = np.exp(x)
    return a + y


def test_lines_have_the_operations_and_bytes_of_their_equations():
    buffers, [step] = steps_of(two_lines, X, X + 1)
    first, second = line(two_lines, 1), line(two_lines, 2)
    shares = shares_of(step, step.source)
    work = work_of(step, buffers)
    assert shares.keys() == {first, second}
    assert shares[second].flops * work.flops == pytest.approx(X.size)  # one addition
    assert shares[first].bytes == pytest.approx(1 / 3)  # x; y and the result are left
    assert sum(s.flops for s in shares.values()) == pytest.approx(1)
    assert sum(s.bytes for s in shares.values()) == pytest.approx(1)


def test_merged_kernels_know_the_lines_of_all_their_groups():
    def updates(params):
        a, b = params
        a = a - 0.1 * np.exp(a)
        b = b - 0.1 * np.exp(b)
        return a, b

    _, [step] = steps_of(updates, (X, X + 1))
    shares = shares_of(step, step.source)
    assert len(step.groups) == 2
    assert {line(updates, 2), line(updates, 3)} == shares.keys()
    assert shares[line(updates, 2)] == shares[line(updates, 3)]


def test_lines_of_a_loop_in_a_kernel_count_each_turn():
    def spin(x):
        y = np.sqrt(x)
        for _ in range(50):
            y = y * 0.5 + x
        return y

    _, steps = steps_of(spin, X)
    [step] = [s for s in steps if isinstance(s, Run)]
    shares = shares_of(step, step.source)
    assert shares[line(spin, 3)].flops > 5 * shares[line(spin, 1)].flops


def test_steps_without_lines_are_unknown():
    assert shares_of(Copy("x", "y"), ()) == {UNKNOWN: Share(1.0, 1.0)}


def test_time_is_put_down_by_what_work_takes_on_the_machine():
    shares = {"a.py:1": Share(1.0, 0.0), "a.py:2": Share(0.0, 1.0)}
    work = Work(flops=1e6, bytes_read=50_000, bytes_written=0)  # 10 µs, 1 µs
    times = time_shares(shares, work, LIMITS)
    assert times["a.py:1"] == pytest.approx(10 / 11)
    assert sum(times.values()) == pytest.approx(1)
    assert time_shares(shares, Work(), LIMITS) == {"a.py:1": 0.5, "a.py:2": 0.5}
