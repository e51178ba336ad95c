"""The rows for GPUs, small and on a driver that is none: right, and written down."""

import json
import math
import time

import pytest

from benchmarks.gpu import command, measure
from benchmarks.gpu.contenders import MAX, reference
from benchmarks.gpu.rows import all_rows, autotuned, telling
from benchmarks.measure import make_inputs
from benchmarks.row import OURS, Row, Status
from tests.runtime.cuda.conftest import device, fake, interpreter  # noqa: F401

SCALE = 4096
ROWS = {row.name: row for row in all_rows(SCALE)}
# One of each kind; the others take a minute together.
SAMPLE = (
    "add_one_8",
    "gelu_chain_64M",
    "matmul_16_bf16",
    "causal_attention_1x2x32x16_bf16",
    "softmax_8x8",
    "layernorm_grad_8x8",
    "column_sum_8x8",
    "scatter_add_512x16",
    "conv_4x4x4x4x4x3_bf16",
)


def check(name, device):  # noqa: F811
    row = ROWS[name]
    inputs = make_inputs(row)
    _, found = measure.started(row, OURS, device, inputs, reference(row, inputs))
    assert found.status is Status.OK, found.note
    assert found.error <= row.rtol
    assert found.first_call_s > 0


@pytest.mark.parametrize("name", SAMPLE)
def test_rows_are_right(name, device):  # noqa: F811
    check(name, device)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROWS if name not in SAMPLE])
def test_all_other_rows_are_right(name, device):  # noqa: F811
    check(name, device)


def test_names_differ_and_the_telling_rows_are_first():
    names = [row.name for row in all_rows()]
    first = [row.name for row in telling(1)]
    assert len(set(names)) == len(names)
    assert names[: len(first)] == first
    for part in ("124m", "resnet50", "attention_grad", "gather", "adam", "launch"):
        assert any(part in name for name in first)


def test_autotuning_is_for_what_computes_much_and_comes_before_the_rest():
    assert {row.name.split(" ")[1] for row in autotuned(all_rows())} == {
        "(max-autotune)"
    }
    planned = command.plan("", ["torch", MAX], 1)
    first = len([*telling(1)])
    assert all(names == [OURS, "torch"] for _, names in planned[:first])
    tuned = [row.name for row, names in planned if MAX in names]
    assert "matmul_4096_bf16 (max-autotune)" in tuned
    assert not any("softmax" in name for name in tuned)
    assert [row.name for row, _ in planned[first : first + len(tuned)]] == tuned


def test_a_run_that_is_cut_short_leaves_its_rows(tmp_path, device, monkeypatch):  # noqa: F811
    monkeypatch.setattr(measure, "BUDGET_S", 0.0)
    command.run(device, tmp_path, 10, "add_one_8|column_sum_8x8", [], SCALE)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert [*kept["rows"]] == ["add_one_8", "column_sum_8x8"]
    ours = kept["rows"]["add_one_8"]["contenders"][OURS]
    assert len(ours["seconds"]) == measure.MIN_ROUNDS
    assert ours["host_s"] > 0
    assert [table["title"] for table in kept["tables"]] == [
        "host time of a call",
        "first call",
    ]
    assert "column_sum_8x8" in (tmp_path / "gpu.html").read_text()
    assert command.run(device, tmp_path, 0, "", [], SCALE).results == []


def test_what_fails_is_said_and_costs_no_other(device):  # noqa: F811
    row = ROWS["add_one_8"]
    found = measure.measure(row, [OURS, "torch"], device, rounds=1)
    torch = found.measurements["torch"]
    assert torch.status in (Status.FAILED, Status.MISSING)
    assert torch.note
    assert found.measurements[OURS].seconds
    assert math.isnan(found.ratios()["best"])


def test_no_contender_begins_after_the_end(device):  # noqa: F811
    found = measure.measure(ROWS["add_one_8"], [OURS], device, time.monotonic() - 1)
    assert found.measurements[OURS].status is Status.MISSING
    assert found.measurements[OURS].note == "the time was over"


def test_wrong_results_are_noticed(device):  # noqa: F811
    row = ROWS["add_one_8"]
    inputs = make_inputs(row)
    _, found = measure.started(row, OURS, device, inputs, 2 * reference(row, inputs))
    assert found.status is Status.WRONG
    assert isinstance(row, Row)
