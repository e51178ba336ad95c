"""The machine's limits: kept on disk, and used as two bounds."""

import math
import threading
import time

import numpy as np
import pytest

from tracejit import config
from tracejit.debug import machine

from .conftest import LIMITS


@pytest.fixture
def measurements(monkeypatch):
    done = []

    def measure(threads):
        done.append(threads)
        return machine.Limits({"float32": float(threads)}, {1000: 2.0})

    monkeypatch.setattr(machine, "measure_limits", measure)
    monkeypatch.setattr(machine, "_KNOWN", machine._Known())
    return done


def forget(monkeypatch):
    monkeypatch.setattr(machine, "_KNOWN", machine._Known())


def test_limits_are_measured_once_and_kept_on_disk(measurements, tmp_path, monkeypatch):
    with config.override(cache_dir=str(tmp_path)):
        first = machine.limits(2)
        assert machine.limits(2) is first
        forget(monkeypatch)
        again = machine.limits(2)
        other = machine.limits(1)
    assert measurements == [2, 1]
    assert first == again
    assert again.gb_s == {1000: 2.0}  # sizes are numbers again
    assert other.gflop_s == {"float32": 1.0}


def test_limits_measured_again_are_the_best_of_both(measurements, tmp_path):
    with config.override(cache_dir=str(tmp_path)):
        machine.limits(2)
        machine.improve([2, 3])
        assert machine.limits(3).gflop_s == {"float32": 3.0}
    assert measurements == [2, 2, 3]
    low, high = (machine.Limits({"a": x}, {1: 5 - x}) for x in (1.0, 4.0))
    assert low.best(high) == machine.Limits({"a": 4.0}, {1: 4.0})


def test_rates_are_of_threads_that_all_run(monkeypatch):
    start, started, seen = threading.Thread.start, [], []

    def late(thread):
        time.sleep(0.01)
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", late)
    jobs = [lambda: seen.append(len(started)), lambda: seen.append(len(started))]
    machine.rate(jobs, 1.0, 1e-9)
    assert all(count % 2 == 0 for count in seen)


def test_damaged_limits_are_measured_again(measurements, tmp_path, monkeypatch):
    with config.override(cache_dir=str(tmp_path)):
        machine.limits(2)
        forget(monkeypatch)
        [path] = (tmp_path / "machine").glob("*.tjc")
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        machine.limits(2)
    assert measurements == [2, 2]


def test_without_a_disk_limits_are_measured(measurements):
    with config.override(cache_dir="off"):
        assert machine.limits(3).gflop_s == {"float32": 3.0}


def test_time_is_that_of_arithmetic_or_of_memory():
    assert LIMITS.seconds(1e9, 0, "float32") == pytest.approx(0.01)
    assert LIMITS.seconds(1e9, 0, "float64") == pytest.approx(0.02)
    assert LIMITS.seconds(0, 50_000, "float32") == pytest.approx(1e-6)
    assert LIMITS.seconds(0, 10**9, "float32") == pytest.approx(0.1)
    assert math.isnan(LIMITS.seconds(1, 0, "float16"))


def test_loops_compute_what_is_counted():
    loops = machine.Loops()
    count = machine.CHAINS * loops.bytes // 4
    source, to = machine.aligned(4 * count), machine.aligned(4 * count)
    source.view(np.float32)[:] = np.arange(count)
    vectors = count * 4 // loops.bytes
    for name in ("copy", "stream"):
        to[:] = 0
        loops.function(name)(to.ctypes.data, source.ctypes.data, vectors, 2)
        np.testing.assert_array_equal(to, source)
    to.view(np.float32)[:] = 0
    loops.function("read")(to.ctypes.data, source.ctypes.data, vectors, 1)
    lanes = to.view(np.float32)[: loops.bytes // 4]
    assert lanes.sum() == source.view(np.float32).sum() + count
