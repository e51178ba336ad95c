"""Horizontal fusion: alike kernels become one, unless something stands between."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.kernels.parts import parts_of
from tracejit.kernels.printer import format_kernel
from tracejit.program.horizontal import MAX_BUFFERS, merge_alike
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.program import Run

RNG = np.random.default_rng(7)
SHAPES = [(5, 7), (7,), (7, 3), (3,), (3, 2, 2), (1, 4)]
PARAMS = [np.asarray(RNG.normal(size=s), np.float32) for s in SHAPES]
GRADS = [np.asarray(RNG.normal(size=s), np.float32) for s in SHAPES]


def adam(params, grads, means, squares, t):
    done = []
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        rate = 0.01 / (1 - 0.9**t)
        done.append((p - rate * m / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v))
    return done


def assert_same(fn, *args):
    for got, want in zip(tj.jit(fn)(*args), fn(*args), strict=True):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=2e-6, atol=1e-7)


def test_an_update_of_all_parameters_is_one_kernel():
    args = PARAMS, GRADS, PARAMS, [p * p for p in PARAMS], 3.0
    program = tj.jit(adam).lower(*args).program
    assert len(program.steps) == 1
    (run,) = program.steps
    assert isinstance(run, Run)
    assert len(parts_of(run.kernel, run.schedule)) == len(SHAPES)
    assert_same(adam, *args)


def test_parts_have_names_of_their_own():
    program = tj.jit(adam).lower(PARAMS, GRADS, PARAMS, PARAMS, 3.0).program
    text = format_kernel(program.steps[0].kernel)
    assert "p0_i" in text
    assert "p1_i" in text


def test_the_interpreter_gives_the_same():
    flat = [*PARAMS[:3], *GRADS[:3]]

    def update(a, b, c, d, e, f):
        return a - 0.1 * d, b - 0.1 * e, c - 0.1 * f

    program = tj.jit(update).lower(*flat).program
    assert len(program.steps) == 1
    got = run_program(program, flat)
    for g, w in zip(got, tj.jit(update)(*flat), strict=True):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize(
    ("fn", "steps"),
    [
        # The second needs the first, through a routine.
        (lambda x, y: np.sort(np.exp(x)[::-1]).dot(y) * np.exp(y), 3),
        # Other operations.
        (lambda x, y: (x[:4] - y[1:5], y[1:6] + x[:5]), 2),
        # A reduction is no pointwise kernel.
        (lambda x, y: (x[:4].sum(), y[:5].sum()), 2),
    ],
)
def test_what_differs_or_depends_stays_apart(fn, steps):
    x, y = np.linspace(0, 1, 7), np.linspace(1, 2, 7)
    lowered = tj.jit(fn).lower(x, y)
    assert len(lowered.program.steps) >= steps
    got, want = tj.jit(fn)(x, y), fn(x, y)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for g, w in pairs:
        np.testing.assert_allclose(g, w, rtol=1e-12)


def test_a_reader_between_keeps_its_place():
    """`b` is written like `a`, but from what a routine made of `a`."""

    def fn(x):
        a = np.exp(x) * np.sin(x) + np.cos(x) * np.tanh(x)
        s = np.sort(a)
        b = np.exp(s) * np.sin(s) + np.cos(s) * np.tanh(s)
        return a, b

    x = np.linspace(0, 1, 9)
    program = tj.jit(fn).lower(x).program
    assert [type(s).__name__ for s in program.steps] == ["Run", "Extern", "Run"]
    for g, w in zip(tj.jit(fn)(x), fn(x), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12)


WRITTEN_BETWEEN = """\
program @f(%x0, %x1) -> (%y2, %y3) arena(0) {
  %x0: f32[4] = input 0
  %x1: f32[4] = input 1
  %y2: f32[4] = output 0
  %y3: f32[4] = output 1
  run @k(%x0) -> (%y2)
  copy %x1 -> %x0
  run @k(%x1) -> (%y3)
}

kernel @k(%x: f32[4]) -> (%out: f32[4]) axes(i: 4) {
  schedule i: vector
  %a{i} = load %x[i]
  store %out[i] = %a + 1.0
}
"""


def test_what_a_kernel_reads_is_not_written_before():
    program = parse_program(WRITTEN_BETWEEN)
    assert merge_alike(program) is program
    free = parse_program(WRITTEN_BETWEEN.replace("  copy %x1 -> %x0\n", ""))
    assert [s.inputs for s in merge_alike(free).steps] == [("x0", "x1")]


def test_a_kernel_of_very_many_arrays_stays_by_itself():
    def fn(xs):
        xs[0][...] = sum(xs)
        return xs[1] + 1

    xs = [np.full(4, float(i)) for i in range(MAX_BUFFERS + 2)]
    total = sum(xs)
    tj.jit(fn)(xs)
    np.testing.assert_array_equal(xs[0], total)
