"""The switch `validate`, and the repros of internal errors."""

from unittest import mock

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm import elementwise
from tracejit.debug import validate
from tracejit.debug.repro import HEAD, read, rerun
from tracejit.debug.validate import BUDGET, work_of
from tracejit.errors import InternalError, ParseError, ShapeError
from tracejit.ir import simplify
from tracejit.ir.ops.elementwise import add_p, sub_p
from tracejit.ir.rewrite import RuleSet
from tracejit.passes import canonicalize
from tracejit.runtime.cpu import executable as native

from .faults import CRASH, deadly_code, wrong_rule

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)


def add_for_sub(b, primitive, ins, params):
    return (b.emit(add_p, *ins),)


def broken(b, primitive, ins, params):
    raise KeyError("out of luck")


def difference(x):
    return np.exp(x) - np.sin(x)


@pytest.fixture(autouse=True)
def repros(tmp_path):
    with tj.config.override(repro_dir=str(tmp_path)):
        yield tmp_path


@pytest.fixture(params=["end", "each-pass"])
def validated(request):
    with tj.config.override(validate=request.param):
        yield request.param


def rows(x):
    return np.exp(x - x.max(axis=1, keepdims=True)) @ x.T


def steps(x):
    for _ in range(3):
        x = np.where(x > 0, x * 0.5, x + 1)
    return np.sort(x, axis=1), x.sum(), x.astype(np.int32)


def until(x):
    def grow(x):
        return x * 2 + 1

    return tj.while_loop(lambda x: np.sum(x) < 100, grow, np.abs(x))


@pytest.mark.parametrize("function", [difference, rows, steps, until])
def test_right_functions_pass(function, validated, repros):
    np.testing.assert_allclose(
        tj.jit(lambda x: function(x))(X)[0], function(X)[0], rtol=1e-5
    )
    assert not list(repros.iterdir())


def test_functions_that_write_to_arguments_pass(validated):
    def scale(x):
        x *= 2
        x[0] = 1

    x, y = X.copy(), X.copy()
    tj.jit(scale)(x)
    scale(y)
    np.testing.assert_array_equal(x, y)
    turned = X.copy().T
    tj.jit(scale)(turned)
    np.testing.assert_array_equal(turned[1:], 2 * X.T[1:])


def test_the_first_wrong_rewrite_is_named(validated, repros):
    with (
        wrong_rule("add_for_sub", sub_p, add_for_sub),
        pytest.raises(InternalError) as raised,
    ):
        tj.jit(difference)(X)
    error = raised.value
    assert "pass at fault: canonicalize" in error.message
    assert "by add_for_sub" in error.message
    assert "test_validate.py" in error.source
    (path,) = repros.iterdir()
    assert error.hint == f"tracejit repro {path}"
    repro = read(path.read_text())
    assert repro.kind == "results"
    assert not rerun(repro).wrong
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        again = rerun(repro)
    assert again.culprit.rule == "add_for_sub"
    assert again.as_text().count(again.wrong) == 1


def test_rules_that_traces_apply_are_compared_at_each_pass(monkeypatch):
    with wrong_rule("add_for_sub", sub_p, add_for_sub):
        rules = RuleSet(canonicalize.LOWERING_RULES.rules[:1])  # the wrong one
        monkeypatch.setattr(simplify, "SIMPLIFY", rules)
        with (
            tj.config.override(validate="each-pass"),
            pytest.raises(InternalError, match="by add_for_sub"),
        ):
            tj.jit(lambda x: difference(x))(X)


def test_wrong_code_is_named(validated, monkeypatch):
    table = elementwise._EXACT_FLOAT
    monkeypatch.setitem(table, "maximum", table["minimum"])
    with pytest.raises(InternalError, match="machine code at fault"):
        tj.jit(lambda x: np.maximum(x, 0.25))(X)


def test_code_that_crashes_is_named(validated, repros):
    with (
        deadly_code("maximum", CRASH),
        pytest.raises(InternalError, match="it kills the process: SIGSEGV") as raised,
    ):
        tj.jit(lambda x: np.maximum(x, 0.25))(X)
    assert "machine code at fault" in raised.value.message
    assert "test_validate.py" in raised.value.source
    (path,) = repros.iterdir()
    with deadly_code("maximum", CRASH):
        assert rerun(read(path.read_text())).culprit.died == "SIGSEGV"


def logged(capsys, function, *args):
    with tj.config.override(log=("validate",)):
        tj.jit(lambda *xs: function(*xs))(*args)
    return capsys.readouterr().err


@pytest.fixture
def large(monkeypatch):
    """Have all graphs compute more than is validated whole."""
    monkeypatch.setattr(validate, "BUDGET", 1.0)


def eightfold(x):
    for k in range(8):
        x = np.maximum(x, k - 4)
    return x


def test_graphs_that_call_python_are_left_alone(validated, capsys):
    def shown(x):
        tj.debug.print("{}", x)
        return x

    assert "not validated: it calls Python" in logged(capsys, shown, X)


def test_of_large_graphs_the_code_is_compared_once(validated, large, capsys):
    said = logged(capsys, eightfold, X)
    assert "its code is right on normal inputs of seed 0" in said
    table = elementwise._EXACT_FLOAT
    with (
        mock.patch.dict(table, {"maximum": table["minimum"]}),
        pytest.raises(InternalError, match="machine code at fault"),
    ):
        tj.jit(lambda x: eightfold(x))(X)


@pytest.mark.usefixtures("validated", "large")
def test_large_graphs_that_take_too_long_are_left_alone(capsys, monkeypatch):
    monkeypatch.setattr(validate, "SECONDS", 1e-3)
    said = logged(capsys, eightfold, X)
    assert "it is not validated, it has not ended after 0.001 s" in said


def test_products_cost_less_than_what_they_multiply():
    def work(function, x):
        return work_of(tj.jit(function).trace(x).graph)

    x = np.ones((600, 600), np.float32)
    assert work(lambda x: x @ x, x) < BUDGET < 2 * 600**3
    assert work(lambda x: x @ x, x.astype(np.float16)) > BUDGET
    assert work(eightfold, np.ones(10**7)) > BUDGET


# --- repros -----------------------------------------------------------------------


def test_what_passes_raise_becomes_an_internal_error_with_a_repro(repros):
    with (
        wrong_rule("broken", sub_p, broken),
        pytest.raises(InternalError, match="KeyError: 'out of luck'") as raised,
    ):
        tj.jit(difference)(X)
    (path,) = repros.iterdir()
    assert raised.value.hint == f"tracejit repro {path}"
    assert isinstance(raised.value.__cause__, KeyError)
    text = path.read_text()
    assert text.startswith(HEAD)
    assert "%1: f32[4,6] = sin %x" in text
    repro = read(text)
    assert repro.strides == [None]
    assert "cse" in repro.passes
    assert not rerun(repro).wrong
    with wrong_rule("broken", sub_p, broken):
        found = rerun(repro)
    assert "out of luck" in found.wrong
    assert found.culprit.name == "canonicalize"


def test_what_emitters_raise_becomes_an_internal_error_with_a_repro(
    repros, monkeypatch
):
    def broken(*args, **kwargs):
        raise AssertionError("no such register")

    monkeypatch.setattr(native, "emit_program", broken)
    with (
        tj.config.override(fma=False),
        pytest.raises(InternalError, match="no such register"),
    ):
        tj.jit(difference)(X.T)
    (path,) = repros.iterdir()
    repro = read(path.read_text())
    assert repro.strides == [(1, 6)]
    assert repro.switches["fma"] is False
    assert "fma" not in repro.passes


def test_equal_faults_leave_one_file(repros):
    for _ in range(2):
        with (
            wrong_rule("broken", sub_p, broken),
            pytest.raises(InternalError),
        ):
            tj.jit(lambda x: x - X[0])(X)
    assert len(list(repros.iterdir())) == 1


def test_errors_of_users_leave_none(repros):
    with pytest.raises((ShapeError, ValueError)):
        tj.jit(lambda x: x @ x)(X)
    assert not list(repros.iterdir())


def test_other_texts_are_no_repros():
    with pytest.raises(ParseError, match="this is no repro"):
        read("graph @f() -> () {\n  return\n}\n")
    with pytest.raises(ParseError, match="damaged"):
        read(f"{HEAD}\n; error: x\ngraph @f() -> () {{\n  return \n}}\n")
