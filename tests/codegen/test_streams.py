"""Streams on CPUs: right on each instruction set, in any ranges, in little memory."""

import math

import numpy as np
import pytest

import tracejit as tj
from tests.passes.spellings import normalised
from tests.sampling import sampled
from tracejit.codegen.llvm.emission import ModuleScope
from tracejit.codegen.llvm.kernels import emit_kernel
from tracejit.codegen.llvm.streams import BLOCK, ROWS, planned
from tracejit.codegen.llvm.target import Target
from tracejit.kernels.interp import run_kernel as interpret
from tracejit.kernels.kernel import Buffer, Kernel
from tracejit.kernels.schedule import Schedule
from tracejit.program.program import Run

from .building import check_guards, guarded, run_kernel, targets

TARGETS = targets()
ALL_TARGETS = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)


def scores(q, k):
    return q @ np.swapaxes(k, -1, -2)


def lower(n):
    return np.tril(np.ones((n, n), bool))


def plain(q, k, v):
    return normalised(scores(q, k)) @ v


def hiding(q, k, v, fill):
    """Hide what comes after."""
    s = scores(q, k) * q.dtype.type(0.5)
    return normalised(np.where(lower(len(s[0])), s, q.dtype.type(fill))) @ v


def causal(q, k, v):
    return hiding(q, k, v, -np.inf)


def masked(q, k, v):
    return hiding(q, k, v, -1e4)


def near(q, k, v):
    """Hide by a number that is as large as scores: what is hidden counts."""
    return hiding(q, k, v, 0.5)


def window(q, k, v):
    """Hide what is far away, on both sides."""
    i, j = np.arange(q.shape[-2])[:, None], np.arange(k.shape[-2])
    shown = (i - j < 9) & (j - i < 9)
    return normalised(np.where(shown, scores(q, k), q.dtype.type(-1e4))) @ v


def computed(q, k, v):
    """Operands that are computed where they are read."""
    return normalised(scores(np.tanh(q), k * q.dtype.type(0.5))) @ (v + v)


def dropped(q, k, v):
    """What follows counts positions, of columns too: numbers of a key."""
    key = (q.reshape(-1)[:2] > 9).astype(np.uint32)
    numbers = tj.random.uniform(key, (*q.shape[:-1], v.shape[-1]), np.float32)
    return np.where(numbers < 0.5, plain(q, k, v), q.dtype.type(0))


def sloped(q, k, v):
    """A bias of positions, another one for each head."""
    heads, n = len(q), q.shape[-2]
    i, j = np.arange(n)[:, None], np.arange(n)
    slopes = (1 + np.arange(heads)).astype(q.dtype) * q.dtype.type(0.01)
    bias = slopes[:, None, None] * (j - i).astype(q.dtype)
    return normalised(scores(q, k) + bias) @ v


def grouped(q, k, v):
    s = np.einsum("hgqd,hkd->hgqk", q, k)
    return np.einsum("hgqk,hkd->hgqd", normalised(s), v)


def runs(fn, *args) -> list[Run]:
    """Return the kernels of a function that stream, and those of its gradient."""

    def loss(q, k, v, ct):
        return np.sum(fn(q, k, v) * ct)

    ct = np.zeros(np.shape(fn(*args)), args[0].dtype)
    gradient = tj.grad(loss, argnums=(0, 1, 2))
    steps = [
        *tj.jit(fn).lower(*args).program.steps,
        *tj.jit(gradient).lower(*args, ct).program.steps,
    ]
    found = [s for s in steps if isinstance(s, Run)]
    return [s for s in found if planned(s.kernel, s.schedule) is not None]


def strided(buffer: Buffer, values: np.ndarray) -> np.ndarray:
    """Return values in memory as a buffer has them."""
    spans = [(n - 1) * s for n, s in zip(buffer.shape, buffer.strides, strict=True)]
    memory = np.zeros(sum(spans) + 1, buffer.dtype)
    steps = [s * buffer.dtype.itemsize for s in buffer.strides]
    view = np.lib.stride_tricks.as_strided(memory, buffer.shape, steps)
    view[...] = values
    return view


def inputs_of(kernel: Kernel) -> list[np.ndarray]:
    """Return random inputs; sums of exponentials are positive, and large."""
    rng = np.random.default_rng(5)
    arrays = []
    rank = max(len(b.shape) for b in kernel.inputs)
    for b in kernel.inputs:
        if b.dtype.kind != "f":
            values = np.arange(math.prod(b.shape)).reshape(b.shape)
        elif math.prod(b.shape) < 4:  # slopes, which positions are multiplied by
            values = rng.normal(size=b.shape) * 0.01
        else:
            values = rng.normal(size=b.shape) * 0.5 + (4 if len(b.shape) < rank else 0)
        arrays.append(strided(b, values.astype(b.dtype)))
    return arrays


def outputs_of(
    kernel: Kernel, schedule: Schedule, target: Target, inputs: list[np.ndarray]
) -> list[np.ndarray]:
    """Run a kernel."""
    outs = [guarded(b.shape, b.dtype) for b in kernel.outputs]
    assert run_kernel(kernel, schedule, target, inputs, outs) == (0, 0)
    for out in outs:
        check_guards(out)
    return outs


def normal(*shape: int, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def operands(rows: int, length: int, heads: int = 2, dtype: str = "f4", columns=9):
    sizes = (rows, 7), (length, 7), (length, columns)
    return [normal(heads, *size, dtype=dtype) for size in sizes]


LONG = BLOCK + ROWS + 9  # two tiles and a rest, of rows and of the stream
CASES = {
    "plain": (plain, operands(LONG, 2 * BLOCK + 5), 5),
    "few rows": (plain, operands(5, 40), 2),
    "doubles": (causal, operands(LONG, LONG, 1, "f8"), 5),
    "causal": (causal, operands(LONG, LONG), 5),
    "finite": (masked, operands(LONG, LONG, 1), 5),
    "near": (near, operands(140, 140, 1), 5),
    "window": (window, operands(140, 140, 1), 5),
    "computed": (computed, operands(20, 140, columns=7), 4),
    "dropped": (dropped, operands(LONG, 2 * BLOCK + 5), 5),
    "slopes": (sloped, operands(140, 140, 3, columns=7), 4),
    "groups": (
        grouped,
        [normal(2, 3, 140, 7), normal(2, 40, 7), normal(2, 40, 7)],
        4,
    ),
}


@pytest.mark.parametrize("name", sampled(CASES, 3))
def test_what_the_kernel_says(name: str) -> None:
    fn, args, count = CASES[name]
    found = runs(fn, *args)
    assert len(found) == count
    for run in found:
        inputs = inputs_of(run.kernel)
        expected = [np.zeros(b.shape, b.dtype) for b in run.kernel.outputs]
        interpret(run.kernel, inputs, expected)
        per_target = [
            outputs_of(run.kernel, run.schedule, t, inputs)
            for t in (TARGETS if name == "causal" else TARGETS[:1])
        ]
        rtol = 2e-4 if expected[0].dtype == np.float32 else 1e-11
        for outs in per_target:
            for x, y in zip(outs, expected, strict=True):
                scale = np.max(np.abs(y))
                np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale)
        both = {"avx512", "avx2"} <= {t.name for t in TARGETS}  # agree to the bit
        for x, y in (
            zip(*per_target[:2], strict=True) if name == "causal" and both else ()
        ):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    "after",
    [np.sum, lambda x: x.sum(-1), lambda x: x.sum(1), lambda x: np.tanh(x).mean()],
    ids=["all", "rows", "columns", "mean"],
)
def test_what_follows_leaves_a_stream(after) -> None:
    """Only sums of whole rows stand in the same kernel; others read the result."""

    def function(q, k, v):
        return after(plain(q, k, v) * v)

    steps = tj.jit(function).lower(*operands(40, 40)).program.steps
    kernels = [s for s in steps if isinstance(s, Run)]
    assert planned(kernels[0].kernel, kernels[0].schedule) is not None


def test_hidden_tiles_are_left_out() -> None:
    """What they would be computed from is not read: NaN in it shows nowhere."""
    forward, *_ = runs(causal, *operands(LONG, LONG, 1))
    inputs = inputs_of(forward.kernel)
    expected = outputs_of(forward.kernel, forward.schedule, TARGETS[0], inputs)
    assert len(inputs) == 3
    for x in inputs[1:]:
        x[:, 2 * BLOCK :] = np.nan
    outs = outputs_of(forward.kernel, forward.schedule, TARGETS[0], inputs)
    for x, y in zip(outs, expected, strict=True):
        np.testing.assert_array_equal(x[:, :ROWS], y[:, :ROWS])


@pytest.mark.parametrize("length", [600, 2400])
def test_scratch_does_not_grow_with_the_length(length: int) -> None:
    sizes = []
    for run in runs(causal, *operands(length, length, 1, columns=7)):
        code = emit_kernel(run.kernel, run.schedule, TARGETS[0], ModuleScope())
        sizes.append(code.scratch_bytes)
    assert len(sizes) == 4 and max(sizes) < 600_000


def test_units_are_blocks_of_rows_of_each_head() -> None:
    (first, *_) = runs(causal, *operands(600, 600, 3))
    code = emit_kernel(first.kernel, first.schedule, TARGETS[0], ModuleScope())
    assert code.ranges is not None
    assert code.ranges.extent == 3 * -(-600 // ROWS)
