"""Loops that each element runs for itself: one kernel, whose state is in registers."""

import re

import numpy as np
import pytest

import tracejit as tj
from tracejit.kernels.kernel import Repeat
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program
from tracejit.program.program import Copy, Loop, Run, nested
from tracejit.program.verify import verify_program

X = np.linspace(-1.5, 1.5, 77, dtype=np.float32)
Y = np.linspace(0.5, -0.5, 77, dtype=np.float32)


# Points that left go on to infinity, as they do in NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid):RuntimeWarning")


def mandelbrot(x, y):
    def turn(_, state):
        a, b, n = state
        inside = a * a + b * b < 4
        return a * a - b * b + x, 2 * a * b + y, n + inside

    zeros = np.zeros_like(x)
    return tj.fori_loop(0, 30, turn, (zeros, zeros, np.zeros(x.shape, np.int32)))[2]


def newton(x, y):
    root = tj.fori_loop(0, 8, lambda i, r: (r + (x * x + 1) / r) / 2, np.ones_like(x))
    return root * y


def horner(x, y):
    return tj.scan(lambda s, c: (s * x + c, None), y, np.arange(9.0, dtype=x.dtype))[0]


def backwards(x, y):
    numbers = np.arange(7.0, dtype=x.dtype)
    return tj.scan(lambda s, c: (s * x + c, None), y, numbers, reverse=True)[0]


def by_turn(x, y):
    return tj.fori_loop(3, 9, lambda i, s: s * 0.5 + i * x, y)


def two_rows(x, y):
    grid = x[:, None] - y[None, :]
    return tj.fori_loop(0, 5, lambda i, s: s * s - y * x[:, None], grid)


def swapping(x, y):
    a, b = tj.fori_loop(0, 7, lambda i, s: (s[1], s[0] + 1), (x, y))
    return a - b


def counting(x, y):
    state = tj.fori_loop(0, 6, lambda i, s: (s[0] + 2, s[1] * s[0]), (1.0, x))
    return state[0] + state[1]


def masked(x, y):
    def turn(i, state):
        done, s = state
        s = np.where(done, s, s + np.exp(-s))
        return done | (s > 1.2), s

    return tj.fori_loop(0, 12, turn, (np.zeros(x.shape, bool), x))[1]


def twice(x, y):
    def outer(i, s):
        return tj.fori_loop(0, 3, lambda j, r: np.sin(r) + x, s) * y

    return tj.fori_loop(0, 4, outer, x)


def mean_of(x, y):
    return newton(x, y).mean() + x.sum()


def scalars(x, y):
    return tj.fori_loop(0, 9, lambda i, s: (s[1], s[0] + s[1]), (x[0], y[0]))


CASES = {
    mandelbrot: 1,
    newton: 1,
    horner: 1,
    backwards: 1,
    by_turn: 1,
    two_rows: 1,
    swapping: 1,
    counting: 2,
    masked: 1,
    twice: 1,
    mean_of: 2,
    scalars: 1,
}


def program_of(function, *args):
    """Return the program of a function, once it is verified and its text parsed."""
    program = verify_program(tj.jit(function).lower(*args).program)
    text = format_program(program)
    assert format_program(parse_program(text)) == text
    return program


def loops_in(program):
    found = [op for kernel in program.kernels for op in kernel.body]
    return [op for op in found if isinstance(op, Repeat)]


@pytest.mark.parametrize("function", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_numpy(function, dtype):
    args = X.astype(dtype), Y.astype(dtype)
    want = np.asarray(function(*args))
    rtol = 1e-4 if dtype == "float32" else 1e-10
    found = np.asarray(tj.jit(function)(*args))
    np.testing.assert_allclose(found, want, rtol=rtol, atol=rtol)
    program = program_of(function, *args)
    found = np.squeeze(run_program(program, args))
    np.testing.assert_allclose(found, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("function", CASES)
def test_a_loop_is_one_kernel(function):
    program = program_of(function, X, Y)
    runs = [s for s in program.steps if isinstance(s, Run)]
    assert len(runs) == CASES[function]
    assert loops_in(program)
    assert not any(isinstance(s, Loop | Copy) for s in nested(program.steps))


@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_each_instruction_set(isa):
    want = mandelbrot(X, Y)
    with tj.config.override(isa=isa):
        try:
            found = tj.jit(mandelbrot)(X, Y)
        except tj.errors.TracejitError:
            pytest.skip(f"the processor has no {isa}")
    np.testing.assert_array_equal(found, want)


def test_the_code_has_one_loop_over_vectors():
    code = tj.jit(mandelbrot).lower(X, Y).compile().executable.as_text()
    assert len(re.findall(r"icmp slt i64 %\S+, 30\b", code)) in (
        1,
        2,
    )  # whole, and tail
    assert len(re.findall(r"= phi <\d+ x float>", code)) >= 2


def test_what_no_turn_changes_is_computed_before():
    program = program_of(two_rows, X, Y)
    (loop,) = loops_in(program)
    assert len(loop.body) <= 3


def test_halves_and_integers():
    def collatz(n):
        def turn(i, s):
            n, steps = s
            following = np.where(n % 2 == 0, n // 2, 3 * n + 1)
            return np.where(n == 1, n, following), steps + (n != 1)

        return tj.fori_loop(0, 120, turn, (n, np.zeros_like(n)))[1]

    n = np.arange(1, 40)
    np.testing.assert_array_equal(tj.jit(collatz)(n), collatz(n))
    assert loops_in(program_of(collatz, n))
    half = X.astype(np.float16)

    def halves(x):
        return tj.fori_loop(0, 5, lambda i, s: s * x + x, x)

    np.testing.assert_allclose(tj.jit(halves)(half), halves(half), rtol=2e-3, atol=2e-3)


def stencil(u):
    return tj.fori_loop(0, 5, lambda i, u: u + np.roll(u, 1), u)


def stacking(u):
    return tj.scan(lambda s, _: (s * u, s), u, None, 5)[1]


def summing(u):
    return tj.fori_loop(0, 5, lambda i, s: s - s.mean(), u)


@pytest.mark.parametrize("function", [stencil, stacking, summing])
def test_other_loops_stay_loops(function):
    program = program_of(function, X)
    assert not loops_in(program)
    np.testing.assert_allclose(tj.jit(function)(X), function(X), rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_the_unrolled_loop():
    def loss(x, y):
        return tj.fori_loop(0, 6, lambda i, s: np.sin(s) * x + y, y).sum()

    def unrolled(x, y):
        s = y
        for _ in range(6):
            s = np.sin(s) * x + y
        return s.sum()

    args = X.astype(np.float64), Y.astype(np.float64)
    found = tj.jit(tj.grad(loss, argnums=(0, 1)))(*args)
    want = tj.grad(unrolled, argnums=(0, 1))(*args)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_large_arrays_on_several_threads():
    x, y = np.meshgrid(np.linspace(-2, 1, 301), np.linspace(-1, 1, 203))
    with tj.config.override(threads=2):
        found = tj.jit(mandelbrot)(x, y)
    np.testing.assert_array_equal(found, mandelbrot(x, y))
