"""The harness itself: interleaving, detection of wrong results, ratios, gradients."""

import json
import math

import numpy as np
import pytest

import tracejit as tj
from benchmarks import contenders, load, measure, report, timing
from benchmarks.__main__ import parse_peers
from benchmarks.check import WrongResultError, largest_error
from benchmarks.contenders import OURS, Contender
from benchmarks.limits import least_seconds
from benchmarks.row import Measurement, Row, RowResult, Status
from benchmarks.rows import SUITES, mlp
from benchmarks.trees import as_float64
from tracejit.debug.machine import Limits


def toy_row(**changes):
    fields = {
        "name": "double",
        "make_inputs": lambda rng: (rng.random(8, dtype=np.float32),),
        "numpy_fn": lambda x: {"y": x * 2},
        "flops": 8,
        "bytes": 64,
    }
    return Row(**fields | changes)


def measure_as_ours(monkeypatch, function, row=None):
    """Measure NumPy and, in our column, any function."""

    def build(row, inputs):
        return Contender(OURS, function, inputs)

    monkeypatch.setitem(contenders.BUILDERS, OURS, build)
    monkeypatch.setattr(timing, "WARM_S", 0.0)
    monkeypatch.setattr(timing, "PATIENCE", 1)
    found = measure.measure(row or toy_row(), ["numpy", OURS], rounds=2)
    return [found.measurements["numpy"], found.measurements[OURS]]


def test_every_round_has_every_contender_once_in_varying_order():
    orders = [*timing.turn_order(["a", "b", "c"], rounds=30)]
    assert len(orders) == 30
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len({tuple(order) for order in orders}) == 6


def test_contenders_take_turns(monkeypatch):
    turns = []
    monkeypatch.setattr(timing, "estimate", lambda contender: 1.0)
    monkeypatch.setattr(
        timing, "take_turn", lambda c, calls: turns.append(c.name) or len(turns)
    )
    pair = [Contender(name, lambda: None, ()) for name in "ab"]
    monkeypatch.setattr(timing, "Meter", lambda: Shares([0.0] * 10))
    rounds = timing.interleave(pair, rounds=5)
    assert [{*turns[i : i + 2]} for i in range(0, 10, 2)] == [{"a", "b"}] * 5
    assert sorted(rounds.seconds["a"] + rounds.seconds["b"]) == [*range(1, 11)]
    assert rounds.calls == {"a": 1, "b": 1}
    assert rounds.dropped == 0


class Shares:
    """What others use, told in advance: a mark before each round and one after."""

    def __init__(self, rounds):
        self.marks = iter([share for one in rounds for share in (0.0, one)])

    def read(self):
        return next(self.marks)


def interleaved(monkeypatch, shares, rounds):
    """Rounds of one contender whose n-th turn takes n seconds."""
    turns = iter(range(1, 100))
    monkeypatch.setattr(timing, "estimate", lambda contender: 1.0)
    monkeypatch.setattr(timing, "take_turn", lambda c, calls: next(turns))
    monkeypatch.setattr(timing, "Meter", lambda: Shares(shares))
    return timing.interleave([Contender("a", lambda: None, ())], rounds)


def test_rounds_that_others_disturb_are_repeated(monkeypatch):
    found = interleaved(monkeypatch, [0.0, 0.5, 0.01, 0.9, 0.02], rounds=3)
    assert found.seconds["a"] == [1, 3, 5]
    assert (found.others, found.dropped) == ([0.0, 0.01, 0.02], 2)


def test_the_calmest_rounds_are_kept_where_none_is_calm(monkeypatch):
    shares = [0.9, 0.4, 0.3, 0.8, 0.7, 0.6]
    found = interleaved(monkeypatch, shares, rounds=2)
    assert (found.seconds["a"], found.others) == ([3, 2], [0.3, 0.4])
    result = RowResult(toy_row(), {}, found.others, found.dropped)
    assert report.is_disturbed(result)
    assert "no calm rounds" in report.notes([result])[0]


def test_the_load_of_this_process_is_not_that_of_others(monkeypatch):
    clock = iter([0.0, 1.0, 2.0])
    busy, own = iter([10.0, 11.0, 12.5]), iter([5.0, 6.0, 6.5])
    monkeypatch.setattr(load, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(load, "process_time", lambda: next(own))
    monkeypatch.setattr(load, "busy_seconds", lambda: next(busy))
    monkeypatch.setattr(load.os, "cpu_count", lambda: 2)
    meter = load.Meter()
    assert [meter.read(), meter.read()] == [0.0, 0.5]


def test_rounds_fill_the_budget_within_bounds():
    turn = timing.WARM_S + timing.SAMPLE_S
    assert timing.plan_rounds([1e-6, 1e-6], budget=100 * turn) == 50
    assert timing.plan_rounds([5.0], budget=2.0) == timing.MIN_ROUNDS
    assert timing.plan_rounds([1e-6], budget=1e6) == timing.MAX_ROUNDS


def test_right_result_is_timed(monkeypatch):
    numpy, ours = measure_as_ours(monkeypatch, lambda x: {"y": x + x})
    assert (numpy.status, ours.status) == (Status.OK, Status.OK)
    assert len(numpy.seconds) == len(ours.seconds) == 2
    assert ours.median_s > 0


@pytest.mark.parametrize(
    ("function", "note"),
    [
        (lambda x: {"y": x * np.float32(2.001)}, "error 5.0e-04, allowed 1e-05"),
        (lambda x: {"y": x * np.float32(np.nan)}, "error inf"),
        (lambda x: {"y": x.astype(np.float64) * 2}, "got float64[8]"),
        (lambda x: {"y": x[:4] * 2}, "expected float32[8], got float32[4]"),
        (lambda x: {"z": x * 2}, "expected leaves"),
    ],
)
def test_wrong_result_is_not_timed(monkeypatch, function, note):
    numpy, ours = measure_as_ours(monkeypatch, function)
    assert numpy.status is Status.OK
    assert ours.status is Status.WRONG
    assert note in ours.note
    assert math.isnan(ours.median_s)
    result = report.RowResult(toy_row(), {"numpy": numpy, OURS: ours})
    assert math.isnan(result.ratios()["numpy"])
    assert not report.is_clean([result])


def test_results_that_share_memory_are_wrong(monkeypatch):
    buffer = np.empty(8, np.float32)
    sign = iter(range(1000))

    def reuse(x):
        """Right when it returns, overwritten by the next call."""
        buffer[:] = 2 * x if next(sign) % 2 else -2 * x
        return {"y": buffer}

    assert measure_as_ours(monkeypatch, reuse)[1].status is Status.WRONG


def test_wrong_after_many_calls_is_wrong(monkeypatch):
    calls = iter(range(10**9))
    _, ours = measure_as_ours(
        monkeypatch, lambda x: {"y": x * 2 if next(calls) < 4 else x}
    )
    assert ours.status is Status.WRONG
    assert math.isnan(ours.median_s)


def test_failure_and_missing_package_are_told_apart(monkeypatch):
    def absent(row, inputs):
        raise ModuleNotFoundError("No module named 'tracejit'", name=OURS)

    def broken(x):
        raise ValueError("no lowering\nfor this")

    _, ours = measure_as_ours(monkeypatch, broken)
    assert (ours.status, ours.note) == (
        Status.FAILED,
        "ValueError: no lowering for this",
    )
    monkeypatch.setitem(contenders.BUILDERS, OURS, absent)
    found = measure.measure(toy_row(), [OURS, "jax"], rounds=1).measurements
    assert found[OURS].status is Status.MISSING
    assert found["jax"].status is Status.NO_TWIN


def test_a_row_without_a_reference_is_not_judged():
    found = measure.measure(toy_row(numpy_fn=lambda x: 1 / 0), [OURS])
    ours = found.measurements[OURS]
    assert ours.status is Status.FAILED
    assert "no reference" in ours.note


def test_outliers_flat_arrays_and_integers():
    want = np.arange(100.0)
    got = want.astype(np.float32)
    got[3] = 50
    f32 = np.dtype(np.float32)
    assert largest_error(got, want, f32) == pytest.approx(47 / 99)
    assert largest_error(got, want, f32, outliers=0.01) == 0
    square = want.reshape(10, 10)
    assert largest_error(want.astype(np.float32), square, f32, is_flat=True) == 0
    assert largest_error(np.int32(3), np.int64(3), f32) == 0
    assert largest_error(np.int32(3), np.int64(4), f32) == 0.25
    with pytest.raises(WrongResultError, match="expected integers"):
        largest_error(np.float32(3), np.int64(3), f32)


def test_limits_are_those_of_arithmetic_or_of_memory():
    limits = Limits({"float32": 100.0}, {1000: 50.0, 10**6: 10.0})
    assert limits.bandwidth(500) == 50.0
    assert limits.bandwidth(10**9) == 10.0
    assert least_seconds(limits, toy_row(bytes=1000, flops=1)) == pytest.approx(2e-8)
    assert least_seconds(limits, toy_row(bytes=1, flops=1000)) == pytest.approx(1e-8)
    assert math.isnan(least_seconds(limits, toy_row(dtype="float16")))
    wide = toy_row(dtype="float16", arithmetic="float32", flops=1000, bytes=1)
    assert least_seconds(limits, wide) == pytest.approx(1e-8)


def timed(name, seconds):
    return Measurement(contender=name, status=Status.OK, seconds=[seconds])


def test_ratios_means_and_json():
    results = [
        report.RowResult(
            toy_row(name=name),
            {
                "numpy": timed("numpy", 8.0),
                "jax": timed("jax", jax),
                OURS: timed(OURS, 2),
            },
        )
        for name, jax in (("a", 1.0), ("b", 16.0))
    ]
    assert results[0].ratios() == {"numpy": 4.0, "jax": 0.5, "best": 0.5}
    means = report.geometric_means(results)
    assert means == pytest.approx({"numpy": 4.0, "jax": 2.0, "best": 2**0.5})
    document = json.loads(
        report.as_json(report.Run("toy", {"cpu": "x"}, None, results))
    )
    assert document["rows"]["a"]["contenders"]["jax"]["median_s"] == 1.0
    assert document["rows"]["a"]["contenders"]["jax"]["error"] is None


def test_gradients_written_by_hand_match_differences():
    rng = np.random.default_rng(1)
    params = as_float64(mlp.parameters(rng, 7, 6, 5, 3))
    x, targets = as_float64(mlp.batch(rng, 4, 7, 3))
    value, grads = mlp.value_and_grad_by_hand(params, x, targets)
    assert value == pytest.approx(mlp.loss(params, x, targets), rel=1e-14)
    for layer, pair in enumerate(grads):
        for leaf, grad in enumerate(pair):
            step = 1e-6 * rng.standard_normal(grad.shape)
            ahead, behind = (
                mlp.loss(moved(params, layer, leaf, half), x, targets)
                for half in (step / 2, -step / 2)
            )
            difference = ahead - behind
            assert np.sum(grad * step) == pytest.approx(difference, rel=1e-4)


def moved(params, layer, leaf, step):
    """The parameters with one of them moved by `step`."""
    new = [list(pair) for pair in params]
    new[layer][leaf] = new[layer][leaf] + step
    return new


def test_row_names_are_unique():
    for rows in SUITES.values():
        assert len({row.name for row in rows}) == len(rows)


def test_ours_on_one_thread_is_a_contender_on_request(monkeypatch):
    seen = []

    def function(x):
        seen.append(tj.config.get("threads"))
        return x * 2

    monkeypatch.setattr(timing, "WARM_S", 0.0)
    row = toy_row(numpy_fn=function)
    names = [contenders.ONE_THREAD, OURS]
    found = measure.measure(row, names, rounds=1).measurements
    assert [found[name].status for name in names] == [Status.OK] * 2
    assert 1 in seen
    assert tj.config.get("threads") != 1
    assert contenders.ONE_THREAD not in contenders.PEERS
    assert parse_peers(contenders.ONE_THREAD) == names
