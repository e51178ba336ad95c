"""`tj.debug.nans`: the line that made NaN or inf, in which turn, for which example."""

import numpy as np
import pytest

import tracejit as tj
from tests.debug.planted import CASES
from tracejit.errors import NonFiniteError

NAMES = [case.fn.__name__ for case in CASES]


def fault_of(fn, *args, infinities=False):
    """Call a function that gives NaN; return the error's finding."""
    with tj.debug.nans(infinities), pytest.raises(NonFiniteError) as raised:
        fn(*args)
    return raised.value.finding


def test_there_are_fifty_cases():
    assert len(set(NAMES)) == len(CASES) >= 50


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_finds_what_was_planted(case):
    args = [np.array(x) for x in case.args]
    fn = tj.jit(tj.grad(case.fn) if case.differentiate else case.fn)
    finding = fault_of(fn, *args, infinities=case.infinities)
    assert finding.line == case.line
    assert finding.in_gradient == case.gradient
    assert finding.turns == case.turns
    assert finding.example == case.example
    assert "# here" in finding.as_text()
    assert finding.hint


@tj.jit
def root(x):
    return np.sqrt(x) * 2


@tj.jit
def halves(x):
    x -= 1
    return np.sqrt(x)


class Counted:
    """Counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x


def test_raises_at_each_call_inside_of_the_block_alone():
    bad = np.array([1.0, -1.0])
    assert np.isnan(root(bad)[1])
    for _ in range(3):
        fault_of(root, bad)
        assert np.isnan(root(bad)[1])
    with tj.debug.nans():
        np.testing.assert_array_equal(root(np.array([1.0, 4.0])), [2.0, 4.0])


def test_infinities_are_faults_only_when_asked_for():
    logs = tj.jit(lambda x: np.log(x))
    with tj.debug.nans():
        assert logs(np.zeros(2))[0] == -np.inf
    finding = fault_of(logs, np.zeros(2), infinities=True)
    assert "log of 0" in finding.hint


def test_switch_of_the_process():
    tj.config.set("nans", "nan")
    try:
        with pytest.raises(NonFiniteError, match="root gave NaN"):
            root(np.array([-1.0]))
    finally:
        tj.config.set("nans", "off")


def test_written_arguments_are_taken_as_they_were():
    x = np.array([5.0, 0.5])
    finding = fault_of(halves, x)
    assert finding.fault.operands[0].value == -0.5
    np.testing.assert_array_equal(x, [4.0, -0.5])


def test_donated_arguments_are_taken_as_they_were():
    fn = tj.jit(lambda x: np.sqrt(x - 1), donate_argnums=0)
    finding = fault_of(fn, np.array([5.0, 0.5]))
    assert finding.fault.operands[0].value == -0.5


def test_captured_arrays():
    scale = np.array([1.0, 0.0])
    finding = fault_of(tj.jit(lambda x: x * 0 / scale), np.ones(2))
    assert finding.fault.index == (1,)


def test_an_argument_that_holds_nan_is_named():
    finding = fault_of(root, np.array([1.0, np.nan]))
    assert finding.line == ""
    assert finding.summary == ("root gave NaN: x, which it was given, holds NaN at [1]")


def test_nan_that_a_where_leaves_out_is_no_fault():
    fn = tj.jit(lambda x: np.where(x > 0, np.sqrt(x), 0))
    with tj.debug.nans(infinities=True):
        np.testing.assert_array_equal(fn(np.array([4.0, -1.0])), [2.0, 0.0])


def test_prints_and_checks_happen_once(capsys):
    @tj.jit
    def fn(x):
        tj.debug.print("x is {}", x[0])
        return np.sqrt(x)

    fault_of(fn, np.array([-1.0]))
    assert capsys.readouterr().out.count("x is") == 1


def test_gradients_outside_of_jit():
    finding = fault_of(tj.grad(lambda x: np.sum(np.cbrt(x) * x)), np.zeros(2))
    assert finding.in_gradient


def test_halves_and_complex_numbers():
    f16 = fault_of(tj.jit(lambda x: x * x - x * x), np.array([300.0], np.float16))
    assert f16.fault.eqn.primitive.name == "mul"
    c = fault_of(tj.jit(lambda x: x / (x - x)), np.array([1j]))
    assert c.fault.eqn.primitive.name == "div"


def test_text_and_json_agree():
    finding = fault_of(root, np.array([4.0, -1.0]))
    assert finding.as_text().splitlines()[1].endswith("return np.sqrt(x) * 2")
    assert "[1]: sqrt(-1) = nan; 1 of 2 elements" in finding.as_text()
    document = finding.as_json()
    assert document["operation"] == "sqrt"
    assert document["index"] == [1]
    assert document["operands"][0]["low"] == "-1"
    assert document["source"] == "return np.sqrt(x) * 2"


def test_a_slope_that_reads_a_hidden_nan_says_so():
    fn = tj.jit(tj.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0))))
    finding = fault_of(fn, np.array([4.0, -1.0]))
    assert not finding.in_gradient
    assert "read in the gradient of test_nans.py" in finding.as_text()
    assert "a np.where after it hides the value" in finding.hint
