"""Attention as one kernel, and what is not attention: forms, results, machine code."""

import re

import ml_dtypes
import numpy as np
import pytest

from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.kernels.parser import parse_kernel

from .running import check, outputs_by_triton, random_inputs, runs_of

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
SMALL = {"BLOCK_M": 16, "BLOCK_K": 16, "BLOCK_D": 16}


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(q, k, v):
    return softmax(q @ k.swapaxes(-1, -2) * 0.25) @ v


def before(s, n):
    """Keep the scores of what came before."""
    return np.where(np.tril(np.ones((n, n), bool)), s, -np.inf)


def causal(q, k, v):
    return softmax(before(q @ k.swapaxes(-1, -2) * 0.25, q.shape[-2])) @ v


def window(q, k, v):
    i, j = np.arange(q.shape[-2])[:, None], np.arange(k.shape[-2])
    return softmax(np.where(abs(i - j - 20) < 3, q @ k.swapaxes(-1, -2), -np.inf)) @ v


def biased(q, k, v, b):
    return np.tanh(softmax(q @ k.swapaxes(-1, -2) + b) @ v) + q[..., :1]


def weighted(s, v):
    return softmax(s) @ v


def divided_last(q, k, v):
    s = q @ k.swapaxes(-1, -2)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e @ v) / e.sum(axis=-1, keepdims=True)


def with_log_sum(q, k, v):
    s = q @ k.swapaxes(-1, -2)
    top = s.max(axis=-1, keepdims=True)
    e = np.exp(s - top)
    total = e.sum(axis=-1, keepdims=True)
    return (e / total) @ v, np.log(total) + top


def keys_are_values(q, k):
    return softmax(q @ k.swapaxes(-1, -2)) @ k


def operands(rows=19, length=37, inner=9, columns=9, batch=(2, 1), dtype=F32):
    sizes = (rows, inner), (length, inner), (length, columns)
    return [zeros(*batch, *size, dtype=dtype) for size in sizes]


def stream(interpreter, function, args, inputs=None, tolerance=1e-5, **tuning):
    """Check that a function is one kernel that streams, and right; return its code."""
    ((kernel, schedule),) = runs_of(function, *args)
    done = check(
        interpreter, kernel, schedule, inputs, tolerance, tolerance, **tuning
    )
    (code,) = done.codes
    assert code.form == "stream"
    return code


# --- one kernel -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (attention, operands()),
        (attention, operands(1, 33, 20, 5, batch=(3,))),
        (attention, operands(16, 16, 16, 16, batch=())),
        (attention, operands(5, 1, 40, 3)),
        (causal, operands(35, 35, 8, 8, batch=(1, 2))),
        (window, operands(35, 40)),
        (biased, [*operands(), zeros(2, 1, 19, 37)]),
        (biased, [*operands(), zeros(37)]),
        (divided_last, operands()),
        (with_log_sum, operands(batch=(3,))),
        (keys_are_values, operands()[:2]),
        (weighted, [zeros(2, 19, 37), zeros(2, 37, 5)]),
    ],
)
def test_one_kernel(interpreter, function, args):
    code = stream(interpreter, function, args, blocks=SMALL)
    assert code.source.count("tl.dot(") == (1 if function is weighted else 2)
    assert code.source.count('input_precision="ieee"') == code.source.count("tl.dot(")


def test_usual_blocks(interpreter):
    stream(interpreter, causal, operands(70, 70, 40, 40, batch=(2,)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-13), (F16, 1e-2)])
def test_dtypes(interpreter, dtype, tolerance):
    args = operands(dtype=dtype)
    stream(interpreter, attention, args, tolerance=tolerance, blocks=SMALL)


def test_halves_are_multiplied_as_halves_and_divided_in_float32(interpreter):
    args = operands(dtype=BF16)
    code = stream(interpreter, attention, args, tolerance=4e-2, blocks=SMALL)
    assert "weights = tl.where(k_mask, " in code.source
    assert re.search(r"weights = .*\.to\(tl\.bfloat16\)$", code.source, re.MULTILINE)
    assert "v9_raw = tl.where" in re.sub(r"v\d+_raw", "v9_raw", code.source)


def test_sums_of_halves_do_not_overflow_before_they_are_divided(interpreter):
    q, k, v = operands(3, 600, dtype=F16)
    ((kernel, schedule),) = runs_of(attention, q, k, v)
    v = v + F16(300)
    emitted = emit_kernel(kernel, schedule)
    (found,), _ = outputs_by_triton(interpreter, emitted, kernel, [q, k, v])
    np.testing.assert_allclose(found, np.full(found.shape, 300), rtol=2e-3)


# --- special numbers --------------------------------------------------------------


def masked(q, k, v, keep):
    return softmax(np.where(keep, q @ k.swapaxes(-1, -2), -np.inf)) @ v


@pytest.mark.parametrize("length", [32, 37])
def test_rows_without_scores_are_nan(interpreter, length):
    args = [*operands(19, length, batch=(2,)), np.zeros((19, length), bool)]
    ((kernel, _),) = runs_of(masked, *args)
    inputs = random_inputs(kernel)
    keep = next(x for x in inputs if x.dtype == bool)
    keep[...] = True
    keep[3] = False
    keep[4, :20] = False  # nothing in the first block
    keep[5, 16:] = False
    stream(interpreter, masked, args, inputs, blocks=SMALL)
    shown = masked(*(x.copy() for x in _in_order(args, inputs)))
    assert np.isnan(shown[:, 3]).all() and np.isfinite(shown[:, 4:]).all()


def _in_order(args, inputs):
    left = list(inputs)
    for arg in args:
        place = next(
            k
            for k, x in enumerate(left)
            if x.shape == arg.shape and x.dtype == arg.dtype
        )
        yield left.pop(place)


def test_infinite_and_nan_scores(interpreter):
    args = [zeros(6, 37), zeros(37, 5)]
    ((kernel, _),) = runs_of(weighted, *args)
    s, v = random_inputs(kernel)
    s[0, 30], s[1, 2], s[2, 0], s[3, :] = np.inf, np.nan, -np.inf, np.inf
    s[4, 36] = 200
    v[7, 1], v[8, 2] = np.inf, np.nan
    stream(interpreter, weighted, args, [s, v], blocks=SMALL)


# --- what does not fit ------------------------------------------------------------


def keeps_weights(q, k, v):
    p = softmax(q @ k.swapaxes(-1, -2))
    return p @ v, p


def squared(q, k, v):
    s = q @ k.swapaxes(-1, -2)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e * e / e.sum(axis=-1, keepdims=True)) @ v


@pytest.mark.parametrize("function", [keeps_weights, squared])
def test_other_structures_are_cut(interpreter, function):
    for kernel, schedule in runs_of(function, *operands(batch=(2,))):
        done = check(interpreter, kernel, schedule, rtol=1e-5, atol=1e-5)
        assert "stream" not in [code.form for code in done.codes]


def test_wide_results_are_cut():
    forms = [
        code.form
        for run in runs_of(attention, *operands(columns=300))
        for code in emit_kernel(*run).codes
    ]
    assert "stream" not in forms and len(forms) > 1
