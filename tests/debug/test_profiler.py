"""Profiles: what runs is counted, parts add up, whatever the time of the day.

Nothing here says how long anything takes.
"""

import json
import threading

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.debug.chrome import trace_of
from tracejit.debug.profiler import Event, Profile, Recorder, profile_call
from tracejit.debug.work import UNKNOWN
from tracejit.errors import UnsupportedError
from tracejit.kernels.cost import cost_of

pytestmark = pytest.mark.usefixtures("known_machine")
RNG = np.random.default_rng(5)
X = RNG.normal(size=(48, 40)).astype(np.float32)


def here(function, offset):
    return f"test_profiler.py:{function.__code__.co_firstlineno + offset}"


def model(x, w):
    h = np.tanh(x @ w)
    s = np.sort(h, axis=1)
    return s / s.sum(axis=1, keepdims=True)


W = RNG.normal(size=(40, 40)).astype(np.float32)


def check(profile):
    """Check what holds for every profile."""
    for function in profile.functions:
        assert function.calls > 0
        assert function.seconds > 0
        assert all(s.seconds >= 0 for s in function.steps)
        spent = sum(s.seconds for s in function.steps) + function.waking
        assert spent + function.between == pytest.approx(function.seconds)
        for step in function.steps:
            parts = [*step.lines.values()]
            for name, whole in (
                ("seconds", step.seconds),
                ("flops", step.work.flops),
                ("bytes", step.work.bytes_moved),
            ):
                total = sum(getattr(part, name) for part in parts)
                assert total == pytest.approx(whole)
    steps = [s for f in profile.functions for s in f.steps]
    for name, total in (
        ("seconds", sum(s.seconds for s in steps)),
        ("flops", sum(s.work.flops for s in steps)),
        ("bytes", sum(s.work.bytes_moved for s in steps)),
    ):
        assert sum(getattr(x, name) for x in profile.lines) == pytest.approx(total)


def test_a_function_is_profiled_by_step_and_by_line():
    f = tj.jit(model)
    found = f.profile(X, W, calls=4)
    check(found)
    [function] = found.functions
    assert function.name == "model"
    assert function.calls == 4
    assert [s.runs for s in function.steps] == [4] * len(function.steps)
    kernels = {s.name: s for s in function.steps if s.kind == "kernel"}
    for kernel in f.lower(X, W).kernels:
        work, cost = kernels[kernel.name].work, cost_of(kernel)
        assert work.flops == 4 * cost.flops
        assert work.bytes_read == 4 * cost.bytes_read
        assert work.bytes_written == 4 * cost.bytes_written
    assert {x.source for x in found.lines} == {here(model, k) for k in (1, 2, 3)}


def test_results_are_those_of_code_without_clocks():
    f = tj.jit(tj.value_and_grad(lambda x, w: model(x, w).sum()))
    plain = f(X, W)
    with tj.debug.profile():
        clocked = f(X, W)
    assert plain[0].tobytes() == clocked[0].tobytes()
    assert plain[1].tobytes() == clocked[1].tobytes()


def test_code_without_the_switch_has_no_clocks():
    f = tj.jit(model)
    assert "tracejit_note" not in f.compile(X, W).as_text()
    with config.override(profile=True):
        compiled = f.compile(X, W)
    assert "tracejit_note" in compiled.as_text()
    assert f.compile(X, W).executable.probes is None


def test_a_block_profiles_all_functions_called_in_it():
    first, second = tj.jit(model), tj.jit(lambda x: np.cumsum(x, axis=0))
    first(X, W)
    with tj.debug.profile() as p:
        for _ in range(3):
            first(X, W)
        second(X)
    check(p.profile)
    assert {f.name: f.calls for f in p.functions} == {"model": 3, "_lambda_": 1}
    assert p.profile.wall > 0
    with tj.debug.profile() as later:
        second(X)
    assert {f.name: f.calls for f in later.functions} == {"_lambda_": 1}


def test_blocks_inside_of_blocks_see_their_own_calls():
    f = tj.jit(model)
    with tj.debug.profile() as outer:
        f(X, W)
        with tj.debug.profile() as inner:
            f(X, W)
        f(X, W)
    assert inner.functions[0].calls == 1
    assert outer.functions[0].calls == 3


def test_functions_that_died_in_the_block_are_in_its_profile():
    def run():
        return tj.jit(lambda x: x * 2 + 1)(X)

    with tj.debug.profile() as p:
        run()
    assert [f.calls for f in p.functions] == [1]


def test_calls_in_machine_code_are_counted():
    f = tj.jit(model)
    with tj.debug.profile() as p:
        for _ in range(300):
            f(X, W)
    assert p.functions[0].calls == 300


def test_a_profile_is_complete_after_its_block():
    with (
        tj.debug.profile() as p,
        pytest.raises(UnsupportedError, match="not complete"),
    ):
        p.as_text()
    assert p.as_text() == "no compiled function ran"
    assert "no compiled function" in p._repr_html_()


# --- loops and branches -------------------------------------------------------------


def scanned(x):
    def turn(carry, row):
        carry = np.sort(carry + row)
        return carry, carry * 2

    return tj.scan(turn, x[0], x)[1]


def test_steps_inside_of_loops_are_counted_by_turn():
    found = tj.jit(scanned).profile(X, calls=2)
    check(found)
    [function] = found.functions
    loop = next(s for s in function.steps if s.kind == "loop")
    inside = [s for s in function.steps if s.depth == 1]
    assert loop.runs == 2
    assert inside
    assert {s.runs for s in inside} == {2 * len(X)}
    assert any(s.name == "sort" for s in inside)
    assert UNKNOWN not in {x.source for x in found.lines}


def test_the_branch_that_ran_is_counted():
    def choose(x):
        return tj.cond(x.sum() > 0, lambda v: np.sort(v), lambda v: np.cumsum(v), x)

    f = tj.jit(choose)
    found = f.profile(np.ones(500), calls=3)
    check(found)
    runs = {s.name: s.runs for s in found.functions[0].steps}
    assert runs["sort"] == 3
    assert runs["cumsum"] == 0
    assert "sort" in found.as_text()
    assert "cumsum" not in found.as_text()


def test_while_loops_are_counted_by_turn():
    def halve(x):
        def is_large(state):
            return state[0] > 1

        def body(state):
            n, y = state
            return n * 0.5, np.sort(y)

        return tj.while_loop(is_large, body, (x, np.ones(99)))[1]

    found = tj.jit(halve).profile(64.0, calls=1)
    check(found)
    runs = {s.name: s.runs for s in found.functions[0].steps}
    assert runs["sort"] == 6


def test_a_call_that_fails_is_not_counted_as_done():
    f = tj.jit(lambda x, i: np.sort(x)[i] + x[i])
    with tj.debug.profile() as p:
        f(np.ones(300), np.int64(1))
        with pytest.raises(IndexError):
            f(np.ones(300), np.int64(400))
    assert p.functions[0].calls == 1


# --- arguments, threads -------------------------------------------------------------


def test_arguments_that_calls_change_are_copied():
    def step(x, state):
        x += 1
        state["n"] = x.sum()
        return x * 2

    x, state = np.zeros(1000), {"n": 0.0}
    found = tj.jit(step).profile(x, state, calls=5)
    assert found.functions[0].calls == 5
    assert not x.any()
    assert state["n"] == 0.0
    given = np.ones(1000)
    tj.jit(lambda v: v * 3, donate_argnums=0).profile(given, calls=3)
    np.testing.assert_array_equal(given, 1)


def test_the_number_of_calls_may_be_left_open():
    found = profile_call(tj.jit(model), (X, W), {})
    assert 3 <= found.functions[0].calls <= 1000


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_those_of_the_configuration(threads):
    x = RNG.normal(size=(1000, 500)).astype(np.float32)
    with config.override(threads=threads):
        found = tj.jit(lambda x: np.tanh(np.exp(x))).profile(x, calls=1)
    check(found)
    [function] = found.functions
    assert function.threads == threads
    assert [s.is_shared for s in function.steps] == [threads > 1]
    assert {*found.limits} == {1, threads}


def test_calls_from_several_threads_are_all_counted():
    f = tj.jit(model)
    with config.override(profile=True):
        f(X, W)
    recorder = Recorder()
    with recorder:
        config_here = config.current()
        assert config_here.profile

        def work():
            with config.override(profile=True):
                for _ in range(50):
                    f(X, W)

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    check(recorder.profile)
    assert sum(x.calls for x in recorder.functions) == 150


# --- what is shown ------------------------------------------------------------------


def test_text_and_html_have_steps_lines_and_memory():
    found = tj.jit(model).profile(X, W, calls=2)
    for text in (found.as_text(), found._repr_html_()):
        for part in ("kernel model_k0", "sort", here(model, 1), "memory: peak", "mem"):
            assert part in text
    assert "<table>" in found._repr_html_()


def test_lines_that_share_a_kernel_are_estimates():
    def fused(x):
        y = np.exp(x)
        return y + 1

    found = tj.jit(fused).profile(X, calls=2)
    assert all(x.is_estimate for x in found.lines)
    assert "~" in found.as_text()
    alone = tj.jit(lambda x: np.exp(x)).profile(X, calls=2)
    assert not any(x.is_estimate for x in alone.lines)


def test_documents_are_json_with_all_parts():
    found = tj.jit(scanned).profile(X, calls=2)
    document = json.loads(json.dumps(found.as_json()))
    assert set(document) == {
        *("wall", "is_block", "seconds", "limits", "functions", "lines"),
    }
    [function] = document["functions"]
    assert function["calls"] == 2
    assert function["memory"]["peak"] > 0
    steps = function["steps"]
    assert [s["number"] for s in steps] == [*range(len(steps))]
    for step in steps:
        assert step["bound"] in ("arith", "mem")
        assert sum(x["flops"] for x in step["lines"].values()) == pytest.approx(
            step["flops"]
        )


# --- traces -------------------------------------------------------------------------


def test_traces_are_what_perfetto_reads():
    with tj.debug.profile() as p:
        f = tj.jit(scanned)
        f(X)
        f(X)
    trace = json.loads(json.dumps(p.chrome_trace()))
    events = trace["traceEvents"]
    assert {e["ph"] for e in events} == {"M", "X", "C"}
    for event in events:
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
    complete = [e for e in events if e["ph"] == "X"]
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in complete)
    calls = [e for e in complete if e["cat"] == "call"]
    assert [e["args"]["call"] for e in calls] == [0, 1]
    for call in calls:
        inside = [e for e in complete if e["args"]["call"] == call["args"]["call"]]
        assert min(e["ts"] for e in inside) == call["ts"]
        end = max(e["ts"] + e["dur"] for e in inside)
        assert end == pytest.approx(call["ts"] + call["dur"])
    sorts = [e for e in complete if e["name"] == "sort"]
    assert len(sorts) == 2 * len(X)
    assert sorts[0]["args"]["lines"] == here(scanned, 2)
    counters = [e for e in events if e["ph"] == "C"]
    assert all(e["args"]["bytes"] > 0 for e in counters)


def kept_by_perfetto(events):
    """Return the complete events that its importer keeps, by its own rules.

    Those of src/trace_processor/importers: times are cut off at whole nanoseconds, and
    what overlaps with what is open on its row, and is not inside of it, is dropped.
    """
    kept, open_events = [], {}
    for event in sorted(events, key=lambda e: int(e["ts"] * 1000)):
        start, length = int(event["ts"] * 1000), int(event["dur"] * 1000)
        stack = open_events.setdefault(event["tid"], [])
        while stack and stack[-1] <= start:
            stack.pop()
        if not stack or start + length <= stack[-1]:
            stack.append(start + length)
            kept.append(event)
    return kept


def test_perfetto_drops_no_event():
    f = tj.jit(scanned)
    f(X)
    found = f.profile(X, calls=20)
    complete = [e for e in trace_of(found)["traceEvents"] if e["ph"] == "X"]
    assert kept_by_perfetto(complete) == complete
    ends = [k / 7e6 for k in range(1, 400)]  # a step that ends with its call
    events = [Event(0, k, -1, end - 1e-7, end) for k, end in enumerate(ends)]
    events += [Event(0, k, 0, end - 3e-8, end) for k, end in enumerate(ends)]
    made = Profile(found.functions, 1.0, False, found.limits, tuple(events), True)
    complete = [e for e in trace_of(made)["traceEvents"] if e["ph"] == "X"]
    assert len(kept_by_perfetto(complete)) == len(events)


def test_calls_at_the_same_time_are_beside_each_other():
    found = tj.jit(model).profile(X, W, calls=1)
    spans = [(0, 0.0, 2.0), (1, 1.0, 3.0), (2, 2.5, 4.0)]
    events = tuple(Event(0, call, -1, start, end) for call, start, end in spans)
    made = Profile(found.functions, 4.0, False, found.limits, events, True)
    rows = [e["tid"] for e in trace_of(made)["traceEvents"] if e["ph"] == "X"]
    assert rows == [1, 2, 1]


def test_too_many_events_are_counted_but_not_kept():
    def long(x):
        def turn(carry, row):
            return np.sort(carry) + row, row

        return tj.scan(turn, x[0], x)[0]

    x = np.ones((3000, 4))
    with tj.debug.profile() as p:
        f = tj.jit(long)
        for _ in range(4):
            f(x)
    found = p.profile
    assert not found.has_all_events
    assert len(found.events) == 1 << 14
    sort = next(s for s in found.functions[0].steps if s.name == "sort")
    assert sort.runs == 4 * 3000
