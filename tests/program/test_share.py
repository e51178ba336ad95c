"""Equal kernels are one; what differs in anything but name and lines is not."""

import itertools

import numpy as np
import pytest

import tracejit as tj
from tracejit.program import lower
from tracejit.program.blocks import with_blocks
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program
from tracejit.program.program import Run, nested
from tracejit.program.share import share_kernels
from tracejit.program.verify import verify_program

RNG = np.random.default_rng(3)


def layers(x, weights, biases):
    for w, b in zip(weights, biases, strict=True):
        x = np.maximum(x @ w + b, 0)
    return x


def weights_of(*sizes):
    pairs = itertools.pairwise(sizes)
    weights = [RNG.normal(size=p).astype(np.float32) for p in pairs]
    return weights, [np.ones(n, np.float32) for n in sizes[1:]]


def runs_of(program):
    return [s for s in nested(program.steps) if isinstance(s, Run)]


def test_equal_layers_share_a_kernel():
    args = np.ones((3, 8), np.float32), *weights_of(*[8] * 7)
    program = verify_program(tj.jit(layers).lower(*args).program)
    assert len(runs_of(program)) == 6
    assert len(program.kernels) == 1
    assert format_program(parse_program(format_program(program))) == format_program(
        program
    )
    np.testing.assert_allclose(tj.jit(layers)(*args), layers(*args), rtol=1e-5)


def test_equal_layers_are_lowered_and_compiled_once(monkeypatch):
    """A hundred layers with their gradients need what ten do."""
    calls = []
    kernel_of = lower.kernel_of

    def counted(*args):
        calls.append(args)
        return kernel_of(*args)

    monkeypatch.setattr(lower, "kernel_of", counted)

    def loss(weights, biases, x):
        return (layers(x, weights, biases) ** 2).sum()

    def counts(depth):
        calls.clear()
        args = *weights_of(*[8] * (depth + 1)), np.ones((3, 8), np.float32)
        program = tj.jit(tj.value_and_grad(loss, (0, 1))).lower(*args).program
        return len(calls), len(program.kernels)

    assert counts(10) == counts(100)


def test_what_is_merged_and_what_is_not_keep_names_of_their_own():
    def f(x, w):
        y, z = np.sort(x * 2.0), np.sort(w * 2.0)
        return np.sort(y * 2.0), z

    args = np.arange(5.0), np.arange(5.0)[::-1].copy()
    program = verify_program(tj.jit(f).lower(*args).program)
    assert [len(run.outputs) for run in runs_of(program)] == [2, 1]
    for a, b in zip(tj.jit(f)(*args), f(*args), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_of_other_sizes_have_their_own():
    args = np.ones((3, 8), np.float32), *weights_of(8, 8, 5, 8, 8)
    program = tj.jit(layers).lower(*args).program
    assert len(runs_of(program)) == 4
    assert len(program.kernels) == 3


def test_other_numbers_are_another_kernel():
    def f(x):
        y = np.sort(x * 2.0)
        return np.sort(y * 3.0)

    program = tj.jit(f).lower(np.ones(5)).program
    assert len(runs_of(program)) == len(program.kernels) == 2


def test_lines_of_all_are_kept():
    def f(x):
        y = np.sort(x * 2.0)
        return np.sort(y * 2.0)

    program = tj.jit(f).lower(np.ones(5)).program
    one, two = runs_of(program)
    (kernel,) = program.kernels
    assert one.kernel is two.kernel
    assert len(set(one.source) | set(two.source)) == 2
    assert set(kernel.source) == {*one.source, *two.source}
    assert share_kernels(program) is program


@pytest.mark.parametrize("count", [400, 3000])
def test_chains_longer_than_pythons_stack(count):
    def f(x):
        for _ in range(count):
            x = x * 0.999 + 0.001
        return x

    x = RNG.normal(size=5)
    np.testing.assert_allclose(tj.jit(f)(x), f(x), rtol=1e-12)


def test_rows_in_the_body_of_a_while_loop_are_reduced_by_blocks():
    def f(x):
        def body(c):
            x, n = c
            top = x.max()
            return x - top - np.log(np.exp(x - top).sum()), n + 1

        return tj.while_loop(lambda c: c[1] < 3, body, (x, 0))[0]

    program = tj.jit(f).lower(np.ones(1 << 16, np.float32)).program
    before = {k.name: len(k.axes) for k in program.kernels}
    after = {k.name: len(k.axes) for k in with_blocks(program).kernels}
    assert any(after[name] > before[name] for name in before)
