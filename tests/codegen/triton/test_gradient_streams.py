"""The derivative of attention as streams: results, hidden blocks, machine code."""

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.kernels.kernel import Contract, Reduce

from .running import check, random_inputs, runs_of
from .test_streams import operands, softmax

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
SMALL = {"BLOCK_M": 16, "BLOCK_K": 16, "BLOCK_D": 16, "BLOCK_C": 16}


def attention(q, k, v):
    return softmax(q @ k.swapaxes(-1, -2) * q.dtype.type(0.25)) @ v


def hiding(q, k, v, fill):
    """Hide what comes after."""
    s = q @ k.swapaxes(-1, -2)
    n = q.shape[-2]
    return softmax(np.where(np.tril(np.ones((n, n), bool)), s, s.dtype.type(fill))) @ v


def causal(q, k, v):
    return hiding(q, k, v, -np.inf)


def masked(q, k, v):
    """Hide by a finite number, as older models do."""
    return hiding(q, k, v, -1e4)


def near(q, k, v):
    """Hide by a number that is as large as scores: what is hidden counts."""
    return hiding(q, k, v, 0.5)


def padded(q, k, v, keep):
    return softmax(np.where(keep, q @ k.swapaxes(-1, -2), -np.inf)) @ v


def grouped(q, k, v):
    """Several heads of queries for each head of keys."""
    s = np.einsum("bhgqd,bhkd->bhgqk", q, k)
    return np.einsum("bhgqk,bhkd->bhgqd", softmax(s), v)


def backward(function, args):
    """Return the kernels of the gradient that have a product of scores."""

    def loss(q, k, v, ct, *rest):
        return np.sum(function(q, k, v, *rest) * ct)

    out = np.zeros_like(function(*args))
    call = (*args[:3], out, *args[3:])
    found = runs_of(tj.grad(loss, argnums=(0, 1, 2)), *call)
    return [run for run in found if is_backward(run[0])]


def is_backward(kernel):
    """Tell whether a kernel has a product of scores, and no maximum of them."""
    products = sum(isinstance(op, Contract) for op in kernel.body)
    return products > 1 and not any(isinstance(op, Reduce) for op in kernel.body)


def inputs_of(kernel):
    """Return small inputs with sums of exponentials that are positive, and large."""
    inputs = random_inputs(kernel)
    for x in inputs:
        x *= x.dtype.type(0.5) if x.dtype.kind == "f" else x.dtype.type(1)
    size = min(x.size for x in inputs if x.dtype.kind == "f")
    for x in inputs:
        if x.size == size and x.dtype.kind == "f":  # a number for each row
            x += x.dtype.type(4)
    return inputs


def streams(interpreter, function, args, tolerance=2e-5, blocks=SMALL):
    """Check that the kernels of the backward pass stream, and are right."""
    codes = []
    for kernel, schedule in backward(function, args):
        close = {"rtol": tolerance, "atol": tolerance}
        made = check(
            interpreter, kernel, schedule, inputs_of(kernel), **close, blocks=blocks
        )
        (code,) = made.codes
        assert code.form == "stream"
        codes.append(code)
    return codes


GROUPED = [
    np.zeros((1, 2, 3, 10, 8), F32),
    np.zeros((1, 2, 20, 8), F32),
    np.zeros((1, 2, 20, 8), F32),
]


def grouped_causal(q, k, v):
    s = np.einsum("hgqd,hkd->hgqk", q, k)
    keep = np.tril(np.ones(s.shape[-2:], bool))
    return np.einsum("hgqk,hkd->hgqd", softmax(np.where(keep, s, F32(-np.inf))), v)


LONG_GROUPS = [
    np.zeros((1, 2, 130, 8), F32),
    np.zeros((1, 130, 8), F32),
    np.zeros((1, 130, 8), F32),
]
KEEP = np.ones((1, 1, 40), bool)


@pytest.mark.parametrize(
    ("function", "args", "products"),
    [
        (attention, operands(35, 37, 9, 9, batch=()), [3, 4]),
        (attention, operands(19, 37, 9, 17, batch=()), [2, 3, 3]),
        (causal, operands(70, 70, 8, 8, batch=(1, 2)), [3, 4]),
        (masked, operands(70, 70, 8, 8, batch=()), [3, 4]),
        (near, operands(70, 70, 8, 8, batch=()), [3, 4]),
        (padded, [*operands(35, 40, batch=(1,)), KEEP], [3, 4]),
        (grouped, GROUPED, [3, 4]),
        (grouped_causal, LONG_GROUPS, [3, 4]),
    ],
    ids=[
        *("plain", "wide values", "causal", "finite mask", "near", "padding"),
        *("groups", "long groups"),
    ],
)
def test_rows_and_columns_are_a_kernel_each(interpreter, function, args, products):
    """Keys and values have one where they are equally wide."""
    codes = streams(interpreter, function, args)
    assert sorted(code.source.count("tl.dot(") for code in codes) == products


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (F16, 3e-2)])
def test_dtypes(interpreter, dtype, tolerance):
    codes = streams(interpreter, causal, operands(70, 70, 8, 8, (), dtype), tolerance)
    assert len(codes) == 2


def test_usual_blocks(interpreter):
    args = operands(70, 70, 40, 40, batch=())
    assert len(streams(interpreter, causal, args, blocks={})) == 2


def test_blocks_that_are_hidden_are_left_out():
    """Rows of queries end at their own place, those of keys begin there."""
    codes = [
        emit_kernel(*run).codes[0].source
        for run in backward(causal, operands(200, 200, 16, 16, dtype=BF16))
    ]
    assert sorted("k_end = tl.minimum" in text for text in codes) == [False, True]
    assert sorted("k_begin = tl.maximum" in text for text in codes) == [False, True]
    texts = [
        emit_kernel(*r).codes[0].source for r in backward(grouped_causal, LONG_GROUPS)
    ]
    assert sum("for turn_" in text and "k_begin" in text for text in texts) == 1
    (run,) = runs_of(causal, *operands(200, 200, 16, 16))
    assert "range(k_begin, k_end, BLOCK_K)" in emit_kernel(*run).codes[0].source
    (run,) = runs_of(masked, *operands(200, 200, 16, 16))
    source = emit_kernel(*run).codes[0].source
    assert "range(k_begin, k_end, BLOCK_K)" in source
    assert "range(k_after, K, BLOCK_K)" in source


def window(q, k, v, fill):
    """Hide what is far away, on both sides."""
    s = q @ k.swapaxes(-1, -2)
    i, j = np.arange(q.shape[-2])[:, None], np.arange(k.shape[-2])
    shown = (i - j < 9) & (j - i < 9)
    return softmax(np.where(shown, s, s.dtype.type(fill))) @ v


def far_window(q, k, v):
    return window(q, k, v, -1e4)


def near_window(q, k, v):
    return window(q, k, v, 0.5)


@pytest.mark.parametrize("function", [masked, near, far_window, near_window])
def test_hidden_blocks_of_the_forward_pass_come_last(interpreter, function):
    (run,) = runs_of(function, *operands(70, 70, 8, 8, batch=()))
    made = check(interpreter, *run, rtol=1e-5, atol=1e-5, blocks=SMALL)
    (code,) = made.codes
    assert code.form == "stream" and code.source.count("for koffset in range(k_") == 2


# --- machine code -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, BF16])
def test_streams_build(dtype):
    """No spills; products of halves by the matrix unit of sm_90."""
    args = operands(512, 512, 64, 64, batch=(2,), dtype=dtype)
    runs = backward(causal, args)
    assert len(runs) == 2
    for run in runs:
        (code,) = emit_kernel(*run).codes
        one = build(code)
        assert one.facts.shared <= 227 << 10 and one.facts.spilled in (0, None)
        assert ("wgmma.mma_async" in one.ptx) is (dtype is BF16)


# One value before the loop over blocks, where all 255 registers are taken.
SPILLED = {(F16, 64, "sm_80"): 8}


@pytest.mark.triton
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("columns", [64, 128])
@pytest.mark.parametrize("dtype", [F32, F16, BF16])
def test_streams_of_usual_sizes_build(dtype, columns, arch):
    args = operands(1024, 1024, columns, columns, batch=(2,), dtype=dtype)
    shared = {"sm_80": 163 << 10}.get(arch, 227 << 10)
    for function in (attention, causal):
        runs = backward(function, args)
        assert len(runs) == 2
        for run in runs:
            (code,) = emit_kernel(*run).codes
            facts = build(code, arch).facts
            allowed = SPILLED.get((dtype, columns, arch), 0)
            assert facts.shared <= shared, (code.name, facts)
            assert (facts.spilled or 0) <= allowed, (code.name, facts)
