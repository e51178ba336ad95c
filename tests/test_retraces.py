"""What a function remembers of its traces: bounded, cheap, and right about causes."""

import gc
import threading
import weakref

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import RetraceWarning
from tracejit.retraces import KEPT, History
from tracejit.testing import count_traces
from tracejit.tracing.leaves import value_text

X = np.arange(4.0)


def changes(f):
    return [[str(c) for c in trace.changes] for trace in f.history.traces]


def test_hits_are_not_recorded():
    f = tj.jit(lambda x: x + 1)
    for _ in range(3):
        f(X)
    assert f.history.count == 1
    assert f.history.traces[0].changes == ()


def test_traces_by_hand_are_no_retraces():
    f = tj.jit(lambda x: x + 1)
    f.lower(X)
    f.lower(X[:2])
    assert f.history.count == 0
    assert f.compiled_forms() == ()


def test_prepare_compiles_what_a_call_needs_and_runs_nothing():
    calls = []

    def f(x):
        tj.debug.print("{}", x)
        calls.append(1)
        return x + 1

    g = tj.jit(f)
    compiled = g.prepare(X)
    assert calls == [1]
    assert g.compiled_forms() == (compiled,)
    with count_traces() as counter:
        np.testing.assert_array_equal(g(X), X + 1)
    assert counter.traces == 0


def test_a_record_keeps_no_argument_alive():
    class Model:
        factor = 2.0

    model, x = Model(), np.ones(3)
    f = tj.jit(lambda model, x: x * model.factor)
    f.prepare(model, x)
    watched = [weakref.ref(model), weakref.ref(x)]
    f.clear_cache()
    del model, x
    gc.collect()
    assert f.history.count == 1
    assert [w() for w in watched] == [None, None]


def test_history_is_bounded():
    history = History()
    call = tj.jit(lambda x: x).trace(X).recording.call
    for _ in range(KEPT + 5):
        history.begin(call, "cpu", frozenset())
    assert len(history.traces) == KEPT
    assert history.count == history.traces[-1].number == KEPT + 5


def test_a_trace_that_failed_is_nothing_to_compare_with():
    def f(x):
        if x.ndim == 1:
            raise ValueError("no rows")
        return x + 1

    g = tj.jit(f)
    with pytest.raises(ValueError, match="no rows"):
        g.prepare(X)
    g.prepare(X[None])
    assert changes(g) == [[], []]


# --- how many forms are kept ------------------------------------------------------


def test_forms_are_bounded_and_the_newest_are_kept():
    f = tj.jit(lambda x: x + 1)
    with tj.config.override(max_specializations=2):
        with pytest.warns(RetraceWarning):
            for n in (1, 2, 3):
                f(X[:n])
        assert len(f.compiled_forms()) == 2
        with count_traces() as counter:
            f(X[:2]), f(X[:3])
        assert counter.traces == 0


def test_forms_of_one_signature_are_bounded_too():
    """Numbers that Python asks for make forms under one key."""
    f = tj.jit(lambda x, a: x if a > 0 else -x)
    with tj.config.override(max_specializations=3):
        with pytest.warns(RetraceWarning):
            for a in (0.5, 1.5, 2.5, 3.5, 4.5):
                np.testing.assert_array_equal(f(X, a), X)
        assert len(f.compiled_forms()) == 3
        assert f.cache_size() == 1
        with pytest.warns(RetraceWarning, match="RETRACE_EVICTED"):
            f.prepare(X, 0.5)
    assert changes(f)[-1] == ["the same call: compiled by trace 1"]


def test_warns_once_for_each_cause():
    f = tj.jit(lambda x, y: x.sum() + y.sum())
    limit = tj.config.override(max_specializations=1)
    with limit, pytest.warns(RetraceWarning) as found:
        for n in (1, 2, 3, 4):
            f(X[:n], X)
        f(X, X[:2])
    texts = [str(w.message) for w in found]
    assert len(texts) == 2
    assert "RETRACE_SHAPE x: f64[2], was f64[1]" in texts[0]
    assert "RETRACE_SHAPE y: f64[2], was f64[4]" in texts[1]
    assert "explain()" in texts[0]
    assert all(w.filename == __file__ for w in found)


def test_functions_of_the_package_do_not_warn():
    """Nobody but their authors could do anything about it."""
    key = tj.random.key(0)
    with tj.config.override(max_specializations=1):
        for n in (1, 2, 3):
            tj.random.uniform(key, (n,))


def test_two_threads_compile_without_losing_each_other():
    f = tj.jit(lambda x: x + 1)
    threads = [threading.Thread(target=f, args=(X[:n],)) for n in (1, 2, 3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert f.history.count == len(f.compiled_forms()) == 3
    assert [t.number for t in f.history.traces] == [1, 2, 3]


def test_threads_that_make_the_same_first_call_compile_once():
    f = tj.jit(lambda x: np.sort(x) + 1)
    start = threading.Barrier(4)
    results = []

    def call():
        start.wait()
        results.append(f(X))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert f.history.count == 1
    for result in results:
        np.testing.assert_array_equal(result, X + 1)


def test_keys_of_traces_that_fail_are_bounded():
    def fail(x):
        raise ValueError

    f = tj.jit(fail)
    with tj.config.override(max_specializations=2):
        for n in range(20):
            with pytest.raises(ValueError):  # the function's own
                f(np.ones(n))
    assert f.cache_size() <= 5


# --- what is said -----------------------------------------------------------------


def test_log_says_what_changed(capfd):
    f = tj.jit(lambda x, n: x * n)
    with tj.config.override(log=("retrace",)):
        f(X, 1)
        f(X, 2)
        f(X[:2], 2)
    rows = capfd.readouterr().err.splitlines()
    assert rows == [
        "[tracejit.retrace] <lambda>: trace 1: first, for x: f64[4], n: int 1",
        "[tracejit.retrace] <lambda>: trace 2, closest is trace 1: "
        "RETRACE_INT n: int 2, was int 1",
        "[tracejit.retrace] <lambda>: trace 3, closest is trace 2: "
        "RETRACE_SHAPE x: f64[2], was f64[4]",
    ]


def test_log_says_why_kernels_are_apart(capfd):
    with tj.config.override(log=("fusion",)):
        tj.jit(lambda x: x - x.mean(0)).lower(np.ones((4, 3)))
    (row,) = capfd.readouterr().err.splitlines()
    assert row.startswith("[tracejit.fusion] BACK: ")
    assert row.count("test_retraces.py:") == 2


def test_log_says_what_passes_changed(capfd):
    with tj.config.override(log=("passes",)):
        tj.jit(lambda x: np.maximum(x * 1.0, 0) + x * x).lower(np.ones((4, 3)))
    rows = capfd.readouterr().err.splitlines()
    assert all(r.startswith("[tracejit.passes] _lambda_: ") for r in rows)
    assert rows[0].endswith("fma: 3 → 2 equations (contract_fma 1)")


class Named:
    def __repr__(self):
        raise AssertionError("code of the user's")


def test_values_as_text_run_no_code_of_theirs():
    assert value_text(Named()) == "a Named object"
    assert value_text(Named) == "the class Named"
    assert value_text(np.exp) == "the function exp"
    assert value_text(slice(1, None)) == "slice(1, None, None)"
    assert len(value_text("x" * 1000)) < 60
