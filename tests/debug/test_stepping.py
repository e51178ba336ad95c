"""`interpret`, `watch`, `compare`: values by line, prompts, where two runs part."""

import io
from bdb import BdbQuit

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.divergence import differs
from tracejit.errors import ArgumentError


def line_with(text):
    """Return the line of this file that holds a text for the first time."""
    with open(__file__, encoding="utf-8") as file:
        number = next(i for i, row in enumerate(file, 1) if text in row)
    return f"test_stepping.py:{number}"


@tj.jit
def doubled(x):
    y = np.exp(x) - 1  # the start

    def turn(i, c):
        return c * 2  # a turn

    return tj.fori_loop(0, 3, turn, y)


X = np.array([0.0, 1.0])


def test_steps_have_lines_values_and_turns():
    run = tj.debug.interpret(doubled, X)
    steps = [s for s in run if s.operation != "iota"]
    assert [s.operation for s in steps] == ["exp", "sub", "mul", "mul", "mul"]
    assert [s.turns for s in steps] == [(), (), (0,), (1,), (2,)]
    assert {s.line for s in steps} == {line_with("# the start"), line_with("# a turn")}
    np.testing.assert_allclose(run.steps[0].results[0], np.exp(X))
    np.testing.assert_allclose(run.outputs[0], doubled(X))
    assert "(turn 2)  mul" in run.as_text()
    assert repr(run).startswith("<6 steps of @doubled>")


def test_steps_of_a_gradient_say_so():
    run = tj.debug.interpret(tj.grad(lambda x: np.sum(np.sin(x))), X)
    assert ("cos", True) in [(s.operation, s.in_gradient) for s in run]


def test_block_runs_python():
    kinds = tj.jit(lambda x: (x + 1, type(x) is np.ndarray))
    for is_python in (False, True, True, False):
        with tj.config.override(verify=True):
            if is_python:
                with tj.debug.interpret():
                    found = kinds(X)
            else:
                found = kinds(X)
        assert found[1] is is_python
        np.testing.assert_array_equal(found[0], X + 1)


def test_block_is_a_switch_too():
    with tj.config.override(interpret=True):
        assert tj.jit(lambda x: type(x) is np.ndarray)(X) is True


def test_watch_gives_the_values_of_a_line_in_order():
    line = line_with("# a turn")
    steps = tj.debug.watch(line, doubled, X)
    first = np.exp(X) - 1
    np.testing.assert_allclose(
        [s.results[0] for s in steps], [first * 2, first * 4, first * 8]
    )
    again = tj.debug.watch(int(line.rpartition(":")[2]), doubled, X)
    assert [s.number for s in again] == [s.number for s in steps]


def test_watch_names_the_lines_there_are():
    with pytest.raises(ArgumentError, match=line_with("# the start")):
        tj.debug.watch("test_stepping.py:1", doubled, X)


def test_arguments_are_not_written_to():
    def fn(x):
        x += 1
        return x * 2

    x = np.zeros(2)
    tj.debug.interpret(fn, x)
    tj.debug.compare(fn, [x])
    np.testing.assert_array_equal(x, 0)


def answers(monkeypatch, *lines):
    """Have the prompt read these lines; return what it writes."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{x}\n" for x in lines)))
    monkeypatch.setattr("sys.stdout", out)
    return out


def test_prompt_shows_values_and_goes_on(monkeypatch):
    asks = ["c.sum() if False else results[0] * 10", "where", "n", "names", "c", "c"]
    out = answers(monkeypatch, *asks)
    run = tj.debug.interpret(doubled, np.zeros(1), break_at=line_with("# a turn"))
    text = out.getvalue()
    assert len(run) == 6
    assert f"> {line_with('# a turn')}  return c * 2  # a turn" in text
    assert "in scan at" in text
    assert "turn 0" in text
    assert "x = float64[1] 0" in text


def test_prompt_survives_wrong_expressions(monkeypatch):
    out = answers(monkeypatch, "nothing + 1", "p 1/0", "c", "c", "c")
    tj.debug.interpret(doubled, X, break_at=line_with("# a turn"))
    assert "NameError" in out.getvalue()
    assert "ZeroDivisionError" in out.getvalue()


def test_prompt_quits_at_the_end_of_input(monkeypatch):
    answers(monkeypatch)
    with pytest.raises(BdbQuit):
        tj.debug.interpret(doubled, X, break_at="all")


def test_break_at_is_a_line():
    with pytest.raises(ArgumentError, match="is no line"):
        tj.debug.interpret(doubled, X, break_at="turn")


# --- compare ----------------------------------------------------------------------


def test_compiled_code_agrees_with_the_interpreter():
    assert tj.debug.compare(doubled, [X]) is None


def test_other_arguments_part_where_values_do():
    found = tj.debug.compare(doubled, [X], [X + 1])
    assert (found.eqn.primitive.name, found.line) == ("exp", line_with("# the start"))
    assert found.index == (1,)
    assert "np.exp(x) - 1" in found.as_text()


def test_a_loop_names_its_turn():
    def powers(x, k):
        return tj.fori_loop(0, 4, lambda i, c: np.where(i == 2, c * k, c), x)

    found = tj.debug.compare(powers, [X, np.float64(1)], [X, np.float64(2)])
    assert found.turns == (2,) or found.eqn.primitive.name == "mul"


def test_two_functions_are_aligned():
    def one(x):
        return np.sum(np.exp(x) * 2)

    def two(x):
        y = np.abs(x)
        return np.sum(np.exp(x) * 3 + y * 0)

    found = tj.debug.compare(one, [X], other=two)
    assert found.eqn.primitive.name in ("mul", "reduce_sum")


def test_switches_change_no_bits_here():
    assert tj.debug.compare(doubled, [X], switches={"composites": False}) is None
    with pytest.raises(ArgumentError, match="not both"):
        tj.debug.compare(doubled, [X], [X], switches={"fma": False})


def test_contraction_is_found_at_its_line():
    def fn(x, y, z):
        return x * y + z  # the sum

    rng = np.random.default_rng(0)
    args = [rng.standard_normal(100).astype(np.float32) for _ in range(3)]
    found = tj.debug.compare(fn, args, switches={"fma": False}, rtol=0.0)
    assert found is not None
    assert found.eqn is None or found.line == line_with("# the sum")


@pytest.mark.parametrize(
    ("one", "two", "index"),
    [
        (np.array([1, 2]), np.array([1, 3]), (1,)),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), None),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), (1,)),
        (np.array([1.0, np.inf]), np.array([1.0, -np.inf]), (1,)),
        (np.array([1.0, 1e-12]), np.array([1.0 + 1e-13, 0.0]), None),
        (np.zeros((0,)), np.zeros((0,)), None),
        (np.array([1 + 1j]), np.array([1 - 1j]), (0,)),
        (np.zeros(2), np.zeros(3), ()),
    ],
)
def test_what_differs(one, two, index):
    assert differs(one, two, None) == index
