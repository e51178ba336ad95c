"""Numbers and functions from outside of a function: a change of one is seen."""

import functools
import importlib
import types

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import count_traces

X = np.arange(3.0)
SCALE = 2.0
SETTINGS = {"rate": 0.5, "names": ["a", "b"]}
SHAPES = (2, 3)


def activation(x):
    return np.maximum(x, 0)


def helper(x):
    return activation(x) * SCALE


class Settings:
    rate = 1.5


class Model:
    size = 2

    def __init__(self):
        self.scale = 3.0
        self.unused = 0
        self.inner = types.SimpleNamespace(shift=1.0)

    def hidden(self, x):
        return x * self.scale + self.inner.shift

    @tj.jit
    def __call__(self, x):
        return self.hidden(x) * self.size


def agrees(f, *args):
    np.testing.assert_allclose(f(*args), f.__wrapped__(*args), rtol=1e-14, strict=True)


def traces(f, *args):
    with count_traces() as counter:
        f(*args)
    return counter.traces


def test_global_number(monkeypatch):
    f = tj.jit(lambda x: x * SCALE)
    agrees(f, X)
    for value in (5.0, 5, -0.0, 0.0):
        monkeypatch.setitem(globals(), "SCALE", value)
        agrees(f, X)
        np.testing.assert_array_equal(np.signbit(f(X)), np.signbit(X * value))


def test_equal_value_at_the_place_is_no_change(monkeypatch):
    f = tj.jit(lambda x: x * SCALE)
    f(X)
    monkeypatch.setitem(globals(), "SCALE", float("2.0"))
    assert traces(f, X) == 0


def test_global_of_a_function_that_is_called(monkeypatch):
    f = tj.jit(lambda x: helper(x))
    agrees(f, X)
    monkeypatch.setitem(globals(), "SCALE", 7.0)
    agrees(f, X)
    monkeypatch.setitem(globals(), "activation", np.sin)
    agrees(f, X)


def test_items_of_containers(monkeypatch):
    f = tj.jit(lambda x: x * SETTINGS["rate"] + len(SETTINGS["names"]))
    agrees(f, X)
    monkeypatch.setitem(SETTINGS, "rate", 0.25)
    agrees(f, X)
    SETTINGS["names"].append("c")
    agrees(f, X)
    SETTINGS["names"].pop()


def test_closure_cell_and_function_in_it():
    def make():
        factor, function = 2.0, np.sin

        def f(x):
            return function(x) * factor

        def change(new_factor, new_function):
            nonlocal factor, function
            factor, function = new_factor, new_function

        return tj.jit(f), change

    f, change = make()
    agrees(f, X)
    change(3.0, np.sin)
    agrees(f, X)
    change(3.0, np.cos)
    agrees(f, X)


def test_class_attribute(monkeypatch):
    f = tj.jit(lambda x: x * Settings.rate)
    agrees(f, X)
    monkeypatch.setattr(Settings, "rate", 2.5)
    agrees(f, X)


def test_attributes_that_methods_read(monkeypatch):
    model = Model()
    call = Model.__call__.__wrapped__
    np.testing.assert_array_equal(model(X), call(model, X))
    for place, name, value in (
        (model, "scale", 4.0),
        (model.inner, "shift", -1.0),
        (Model, "size", 5),
    ):
        monkeypatch.setattr(place, name, value)
        np.testing.assert_array_equal(model(X), call(model, X))


def test_what_the_code_does_not_name_is_not_looked_at():
    model = Model()
    model(X)
    model.unused = 1
    assert traces(model, X) == 0


def test_attribute_of_a_module_that_the_user_wrote(monkeypatch, tmp_path):
    (tmp_path / "my_settings.py").write_text("RATE = 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    my_settings = importlib.import_module("my_settings")

    f = tj.jit(lambda x: x * my_settings.RATE)
    agrees(f, X)
    my_settings.RATE = 3.0
    agrees(f, X)


def test_partials_and_wrappers(monkeypatch):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) + SCALE

        return wrapper

    @tj.jit
    @decorate
    def f(x):
        return x * SHAPES[0]

    agrees(f, X)
    monkeypatch.setitem(globals(), "SCALE", 11.0)
    agrees(f, X)
    monkeypatch.setitem(globals(), "SHAPES", (9, 3))
    agrees(f, X)
    settings = {"k": 1.0}
    g = tj.jit(functools.partial(lambda s, x: x * s["k"], settings))
    np.testing.assert_array_equal(g(X), X)
    settings["k"] = 4.0
    np.testing.assert_array_equal(g(X), 4 * X)


def test_gradient_of_a_function_with_settings(monkeypatch):
    f = tj.jit(tj.grad(lambda x: np.sum(x * SETTINGS["rate"])))
    np.testing.assert_array_equal(f(X), np.full(3, 0.5))
    monkeypatch.setitem(SETTINGS, "rate", 2.0)
    np.testing.assert_array_equal(f(X), np.full(3, 2.0))


@pytest.mark.parametrize("count", [0, 3])
def test_second_call_traces_nothing(count):
    calls = []

    @tj.jit
    def f(x):
        calls.append(len(calls))
        return helper(x) + len(SHAPES) * count

    f(X)
    assert traces(f, X) == 0
    assert calls == [0]
