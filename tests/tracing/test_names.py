"""Graphs show the names that the user's program has for values."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.ir.printer import format_graph
from tracejit.tracing.names import path_name

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
SHIFT = np.ones(4, np.float32)


def graph_text(f, *args, **kwargs):
    return format_graph(tj.jit(f).lower(*args, **kwargs).recording.graph)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x", "x"),
        ("params['w']", "params_w"),
        ("params['layers'][0]['bias 2']", "params_layers0_bias2"),
        ("args[1]", "args1"),
        ("model.heads[3].out", "model_heads3_out"),
    ],
)
def test_names_of_paths(path, name):
    assert path_name(path) == name


def test_arguments_have_the_names_of_parameters():
    def f(x, params, *rest, scale=2.0):
        return (x + params["b"]) * scale + rest[0]

    text = graph_text(f, X, {"b": X * 2}, X + 1, scale=np.float32(3))
    for name in ("%x: f32", "%params_b: f32", "%args2: f32", "%scale: f32"):
        assert name in text


def test_captured_arrays_have_their_own_names():
    assert "%SHIFT: f32[4]" in graph_text(lambda x: x + SHIFT, X)


def test_results_have_the_names_they_are_assigned_to():
    def f(x):
        centred = x - np.mean(x, axis=0)
        scaled = (
            centred
            / np.sqrt(np.mean(centred**2, axis=0) + 1e-5)
        )  # fmt: skip
        scaled += 1
        return scaled

    text = graph_text(f, X)
    assert "%centred: f32[3,4] = sub %x, " in text
    assert "%scaled: f32[3,4] = div %centred, " in text
    assert text.count("%centred:") == 1


def test_the_last_of_what_one_call_records_has_the_name():
    def f(x):
        middle = np.mean(x, axis=1)
        return middle * 2

    text = graph_text(f, X)
    assert "%middle: f32[3] = mul %0, 0.25" in text
    assert "%0: f32[3] = reduce_sum %x" in text


def test_names_in_bodies_of_loops():
    def f(x):
        def body(state, row):
            moved = np.tanh(state + row)
            return moved, moved

        last, _ = tj.scan(body, x[0], x)
        return last

    assert "%moved: f32[4] = tanh" in graph_text(f, X)


def test_a_name_used_twice_is_printed_once():
    def f(x):
        y = x + 1
        y = y * 2
        return y - 3

    text = graph_text(f, X)
    assert text.count("%y: ") == 1 and "= mul %y, 2.0" in text


def test_names_do_not_part_programs():
    """Kernels that differ in names only are one."""

    def one(a, b):
        t = np.tanh(a @ b)
        return t * t

    def two(p, q):
        u = np.tanh(p @ q)
        return u * u

    def both(a, b, p, q):
        return one(a, b), two(p, q)

    xs = [np.ones((64, 64), np.float32) * k for k in range(4)]
    program = tj.jit(both).lower(*xs).program
    assert len({step.kernel.name for step in program.steps}) == 1
