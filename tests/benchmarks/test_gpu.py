"""The rows for GPUs, small and on a driver that is none: right, and written down."""

import json
import math

import numpy as np
import pytest

from benchmarks.gpu import command
from benchmarks.gpu.contenders import OURS, Contender, reference
from benchmarks.gpu.measure import largest_error, measure, ratio, started
from benchmarks.gpu.rows import all_rows
from tests.runtime.cuda.conftest import device, fake, interpreter  # noqa: F401

SCALE = 4096
ROWS = {row.name: row for row in all_rows(SCALE)}


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_right(name, device):  # noqa: F811
    row = ROWS[name]
    _, found = started(row, OURS, device, reference(row))
    assert "failed" not in found, found
    assert found["error"] <= row.rtol


def test_a_run_that_is_cut_short_leaves_its_rows(tmp_path, device):  # noqa: F811
    command.run(device, tmp_path, 10, "add_8|sum_all", [], SCALE)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["row"] for row in kept["rows"]] == ["sum_all", "add_8"]
    assert kept["rows"][0]["contenders"][OURS]["seconds"] > 0
    assert command.run(device, tmp_path, 0, "", [], SCALE) == []


def test_what_fails_is_said_and_costs_no_other(device):  # noqa: F811
    row = ROWS["add_8"]
    found = measure(row, [OURS, "torch"], device, rounds=1)
    assert "failed" in found["contenders"]["torch"]
    assert "seconds" in found["contenders"][OURS]
    assert math.isnan(ratio(found))


def test_wrong_results_are_noticed():
    assert largest_error([np.ones(3)], [np.array([1.0, 1.0, 2.0])]) == 0.5
    assert largest_error([np.ones(3)], [np.ones(2)]) == math.inf
    assert Contender(int, int, np.asarray).run() == 0
