"""The sweep of NumPy expressions: what it compares, and what it says."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import sweep


def test_results_are_compared():
    given = {"V": np.arange(5.0), "VM": np.ones(2)}
    assert sweep.measured("V * 2", given, rounds=1).ratio > 0
    wrong = sweep.measured("V + (type(V).__name__ == 'ndarray')", given, rounds=1)
    assert "other values" in wrong.problem
    assert "Error" in sweep.measured("V[V > 1]", given, rounds=1).problem


def test_the_table_begins_with_what_loses_most(monkeypatch, tmp_path):
    lines = "# arrays\nnp.sum(S)\nnp.nonzero(S)\n\nnp.sort(S)\n"
    file = tmp_path / "expressions.txt"
    file.write_text(lines, "utf-8")
    monkeypatch.setattr(sweep, "EXPRESSIONS", file)
    monkeypatch.setattr(sweep, "limit_threads", lambda count: None)
    ran = CliRunner().invoke(sweep.main, ["--rounds", "1", "--only", "n[oz]|sum"])
    assert ran.exit_code == 1  # as nonzero does not trace
    order = [name for name in ("nonzero", "sum", "sort") if name in ran.output]
    assert order == ["nonzero", "sum"]
    assert ran.output.index("nonzero") < ran.output.index("np.sum")


@pytest.mark.slow
def test_all_expressions_are_numpys():
    found = [*sweep.sweep("", 1, lambda expression: None)]
    assert not [f for f in found if f.problem]
