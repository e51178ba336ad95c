"""The user's names in Triton text: there, and none of them one that is in use."""

import ast
import re

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.kernels.kernel import result_of, with_inner

from .running import check, runs_of

F32 = np.float32


def zeros(*shape):
    return np.zeros(shape, F32)


def layer(x, w, bias):
    hidden = x @ w + bias
    return np.tanh(hidden) * hidden


def group(x, w, err):
    """Variables called as those of products are."""
    acc = x @ w
    pid = acc + err
    offs_m = pid * pid
    m_blocks = np.tanh(offs_m)
    inside = m_blocks - pid
    rows = inside + offs_m
    return rows * acc


def normal(x, tl):
    """Variables called as those of rows, and as modules, are."""
    mean = x.mean(-1, keepdims=True)
    xindex = x - mean
    rmask = xindex * tl
    triton = (rmask * rmask).sum(-1, keepdims=True)
    xnumel_1 = rmask / np.sqrt(triton + 1)
    xnumel = xnumel_1 * 2
    return xnumel + xnumel_1


def attention(query, dots, weights):
    acc = query @ dots.T
    acc_1 = np.exp(acc - acc.max(-1, keepdims=True))
    top = acc_1 / acc_1.sum(-1, keepdims=True)
    return top @ weights


def loop(x):
    z = x
    z_1 = x * 0

    def body(_, state):
        z, z_1 = state
        z_2 = z * z - z_1
        z_3 = z_2 + x
        return z_3, z_2

    z, z_1 = tj.fori_loop(0, 5, body, (z, z_1))
    return z + z_1


CASES = [
    (layer, (zeros(20, 32), zeros(32, 24), zeros(24))),
    (group, (zeros(20, 32), zeros(32, 24), zeros(24))),
    (normal, (zeros(6, 100), zeros(100))),
    (attention, (zeros(32, 16), zeros(48, 16), zeros(48, 16))),
    (loop, (zeros(100),)),
]


def names_of_values(kernel):
    return {x.name for op in with_inner(kernel.body) if (x := result_of(op))}


def assigned(source):
    """Return the variables that a module's functions assign to."""
    nodes = ast.walk(ast.parse(source))
    return {
        n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


@pytest.mark.parametrize(("f", "args"), CASES)
def test_kernels_compute_what_they_say(interpreter, f, args):
    for kernel, schedule in runs_of(f, *args):
        check(interpreter, kernel, schedule, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("f", "args"), CASES)
def test_only_values_end_in_an_underscore_and_digits(f, args):
    """So that none of them is called as something else is."""
    for kernel, schedule in runs_of(f, *args):
        values = names_of_values(kernel)
        for code in emit_kernel(kernel, schedule, Tuning()).codes:
            numbered = {n for n in assigned(code.source) if re.search(r"_\d+$", n)}
            assert {re.sub(r"_\d+$", "", n) for n in numbered - values} <= values


def test_text_has_the_names():
    ((kernel, schedule),) = runs_of(layer, *CASES[0][1])
    (code,) = emit_kernel(kernel, schedule, Tuning()).codes
    head = code.source.partition("):")[0]
    assert all(f"{name}_ptr" in head for name in ("x", "w", "bias", "out0"))
    assert re.search(r"hidden_\d+ = v\d+ \+ bias_\d+", code.source)


def test_the_error_word_keeps_its_name():
    def picked(err, i):
        return err[i] * 2

    ((kernel, schedule),) = runs_of(picked, zeros(10), np.zeros(4, np.int64))
    (code,) = emit_kernel(kernel, schedule, Tuning()).codes
    assert list(code.pointers) == ["in0_ptr", "i_ptr", "out0_ptr", "err_ptr"]
