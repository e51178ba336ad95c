"""Carries of loops are written in place or by turns, without copies."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import VerifyError
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program
from tracejit.program.program import Copy, Loop, Run, While, nested
from tracejit.program.verify import verify_program

X = np.linspace(-1, 1, 60, dtype=np.float32)


def heat(u, turns):
    def turn(_, u):
        return u + 0.25 * (np.roll(u, 1) - 2 * u + np.roll(u, -1))

    return tj.fori_loop(0, turns, turn, u)


def grow(u, turns):
    return tj.fori_loop(0, turns, lambda i, u: np.sort(u * 1.5) - 0.25, u)


def wave(u, turns):
    def turn(_, state):
        old, new = state
        rate = np.roll(new, 1) - 2 * new + np.roll(new, -1)
        return new, 2 * new - old + 0.25 * rate

    return np.stack(tj.fori_loop(0, turns, turn, (u, u * 0.5)))


def rotate(u, turns):
    def turn(_, state):
        a, b, c = state
        return b, c, np.roll(a, 1) + np.roll(b, 2)

    return np.stack(tj.fori_loop(0, turns, turn, (u, u * 0.5, u + 1)))


def swap(u, turns):
    return np.stack(tj.fori_loop(0, turns, lambda i, s: (s[1], s[0]), (u, u * 2)))


def stacked(u, turns):
    def turn(state, x):
        state = np.roll(state, 1) * x
        return state, state[::3] + x

    xs = np.linspace(0.5, 1.5, turns, dtype=np.float32)
    last, rows = tj.scan(turn, u, xs)
    return np.concatenate([last, rows.ravel()])


def nested_loops(u, turns):
    def turn(i, u):
        inner = tj.fori_loop(0, 3, lambda j, v: np.roll(v, 1) + v * 0.5, u)
        return inner - np.roll(u, 2)

    return tj.fori_loop(0, turns, turn, u)


def until(u, turns):
    def turn(state):
        n, u = state
        return n + 1, np.roll(u, 1) - u * 0.5

    return tj.while_loop(lambda s: s[0] < turns, turn, (0, u))[1]


CASES = (heat, grow, wave, rotate, swap, stacked, nested_loops, until)


def program_of(function, *args):
    """Return the program of a function, once it is verified and its text parsed."""
    program = verify_program(tj.jit(function).lower(*args).program)
    text = format_program(program)
    assert format_program(parse_program(text)) == text
    return program


def copies_in_loops(program):
    loops = (s for s in nested(program.steps) if isinstance(s, Loop | While))
    return [s for loop in loops for s in nested([loop]) if isinstance(s, Copy)]


@pytest.mark.parametrize("turns", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("function", CASES)
def test_values_are_those_of_numpy(function, turns):
    @tj.jit
    def compiled(u):
        return function(u, turns)

    want = function(X, turns)
    np.testing.assert_allclose(compiled(X), want, rtol=1e-5, atol=1e-5)
    program = program_of(lambda u: function(u, turns), X)
    np.testing.assert_allclose(run_program(program, [X])[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", [heat, grow, wave, rotate, swap, stacked])
def test_turns_copy_nothing(function):
    program = program_of(lambda u: function(u, 12), X)
    assert not copies_in_loops(program)


def test_a_pointwise_carry_is_written_in_place():
    def f(u):
        return tj.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * u), (0, u))

    program = program_of(f, X)
    (loop,) = (s for s in program.steps if isinstance(s, While))
    runs = [s for s in loop.steps if isinstance(s, Run)]
    assert len(loop.steps) == 2
    assert all(set(run.outputs) <= set(run.inputs) for run in runs)


def test_a_stencil_goes_to_and_fro():
    program = program_of(lambda u: heat(u, 13), X)
    first, copy, *_ = program.steps[1:]
    loop = program.steps[-1]
    assert isinstance(first, Run) and isinstance(copy, Copy)
    assert isinstance(loop, Loop) and loop.count == 6
    one, two = loop.steps
    assert (one.inputs, one.outputs) == (two.outputs, two.inputs)
    assert one.kernel is two.kernel


def test_the_leapfrog_needs_no_third_array():
    program = program_of(lambda u: wave(u, 12), X)
    (loop,) = (s for s in program.steps if isinstance(s, Loop))
    touched = {n for s in loop.steps for n in (*s.inputs, *s.outputs)}
    assert len(loop.steps) == len(touched) == 2


IN_PLACE = """\
program @f(%x0) -> (%y1) arena(0) {
  %x0: f32[6] = input 0
  %y1: f32[6] = output 0
  copy %x0 -> %y1
  run @f_k0_mul(%y1) -> (%y1)
}

kernel @f_k0_mul(%in0: f32[6]) -> (%out0: f32[6]) axes(i: 6) {
  schedule i: vector
  %v0{i} = load %in0[i]
  store %out0[i] = %v0 * 2.0
}
"""


def test_the_verifier_lets_kernels_write_what_they_have_read():
    program = verify_program(parse_program(IN_PLACE))
    x = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(run_program(program, [x])[0], 2 * x)


@pytest.mark.parametrize(
    "old, new",
    [
        ("load %in0[i]", "load %in0[5 - i]"),
        (
            "load %in0[i]\n  store %out0[i] = %v0 * 2.0",
            "load %in0[i]\n  store %out0[i] = 2.0\n  %v1{i} = load %in0[i]",
        ),
    ],
)
def test_the_verifier_finds_what_is_read_too_late(old: str, new: str):
    text = IN_PLACE.replace(old, new)
    assert text != IN_PLACE
    with pytest.raises(VerifyError, match=r"P10 .* %y1 is written and overlaps %y1"):
        verify_program(parse_program(text))
