"""Containers of arguments that a function changes are changed for the caller too."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import count_traces


@dataclass
class State:
    w: Any
    step: int


def replaced(d):
    d["x"] = d["x"] * 2


def added(d):
    d["y"] = d["x"] + 1
    return d["y"].sum()


def removed(d):
    d.pop("z")
    d["x"] = d["z2"]


def reordered(d):
    d["x"] = d.pop("x")


def nested(d):
    d["inner"]["w"] = d["inner"]["w"] - 0.1 * d["x"]
    d["list"].append({"new": d["x"].max(), "none": None})
    d["list"][0] = d["x"]


def numbers(d):
    d["n"] += 1
    d["f"] *= 2.0
    d["name"] = "after"


def swapped(d):
    d["x"], d["z"] = d["z"], d["x"]


def cleared(d):
    d["list"].clear()


def in_place_and_replaced(d):
    d["x"] += 1
    d["z"] = d["x"]


CASES = [
    replaced,
    added,
    removed,
    reordered,
    nested,
    numbers,
    swapped,
    cleared,
    in_place_and_replaced,
]


def arguments():
    return {
        "x": np.arange(3.0),
        "z": np.ones(2),
        "z2": np.zeros(3),
        "inner": {"w": np.full(3, 2.0)},
        "list": [np.ones(1)],
        "n": 1,
        "f": 0.5,
        "name": "before",
    }


def assert_same(x, y):
    assert type(x) is type(y)
    if isinstance(x, dict):
        assert list(x) == list(y)
        for key in x:
            assert_same(x[key], y[key])
    elif isinstance(x, list | tuple):
        assert len(x) == len(y)
        for a, b in zip(x, y, strict=True):
            assert_same(a, b)
    elif isinstance(x, np.ndarray | np.generic):
        np.testing.assert_array_equal(x, y, strict=True)
    else:
        assert x == y


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_caller_sees_the_change(function):
    compiled = tj.jit(function)
    for _ in range(3):
        want, got = arguments(), arguments()
        inner, items = got["inner"], got["list"]
        assert_same(compiled(got), function(want))
        assert_same(got, want)
        assert got["inner"] is inner
        assert got["list"] is items


def test_what_is_kept_is_the_same_object():
    d = arguments()
    x, z = d["x"], d["z"]
    tj.jit(swapped)(d)
    assert d["x"] is z
    assert d["z"] is x


def test_dataclass_keyword_and_default():
    @tj.jit
    def f(state, *, log=[]):  # noqa: B006
        state.w = state.w * 2
        state.step += 1
        log.append(state.w.sum())

    log = []
    state = State(np.ones(2), 0)
    for _ in range(3):
        f(state, log=log)
    np.testing.assert_array_equal(state.w, [8.0, 8.0])
    assert state.step == 3
    assert log == [4.0, 8.0, 16.0]


def test_unchanged_containers_cost_no_second_trace():
    f = tj.jit(lambda d: {**d, "y": d["x"]})
    d = arguments()
    f(d)
    with count_traces() as counter:
        f(d)
    assert counter.traces == 0
    assert_same(d, arguments())


def test_training_loop_that_replaces_parameters():
    def step(params, x):
        for name in params:
            params[name] = params[name] - 0.1 * x.mean() * params[name]

    params = {"w": np.ones((2, 2)), "b": np.zeros(2)}
    want = copy.deepcopy(params)
    compiled = tj.jit(step)
    for _ in range(4):
        compiled(params, np.ones(3))
        step(want, np.ones(3))
    np.testing.assert_allclose(params["w"], want["w"], rtol=1e-15)


def test_containers_may_move():
    def f(d):
        d["again"] = d["inner"]
        d["inner"]["list"] = d["list"]

    d = arguments()
    inner, items = d["inner"], d["list"]
    tj.jit(f)(d)
    assert d["again"] is inner
    assert inner["list"] is items


def test_container_put_into_a_new_one_is_refused():
    @tj.jit
    def f(d):
        d["new"] = [d["inner"]]

    where = r"argument 0\['inner'\].*argument 0\['new'\]"
    with pytest.raises(tj.errors.TraceError, match=where):
        f(arguments())
