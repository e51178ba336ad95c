"""Attention as one kernel, and what is not attention: forms, results, machine code."""

import re

import ml_dtypes
import numpy as np
import pytest

from tracejit.codegen.triton.build import build
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


def unscaled(q, k, v):
    return softmax(q @ k.swapaxes(-1, -2)) @ v


def keys_are_values(q, k):
    return softmax(q @ k.swapaxes(-1, -2)) @ k


def scores(text, m, k, n):
    """Return a kernel over scores that are loaded."""
    head = f"""
kernel @k(%s: f32[{m},{k}], %v: f32[{k},{n}]) -> (%o: f32[{m},{n}], %l: f32[{m}])
    axes(i: {m}, j: {n}, k: {k}) {{
  schedule i: tile, j: tile, k: tile
  %x{{i,k}} = load %s[i, k]
  %top{{i}} = reduce max over k: %x
  %e{{i,k}} = exp(%x - %top)
  %sum{{i}} = reduce add over k: %e
  %y{{j,k}} = load %v[k, j]
"""
    return parse_kernel(f"{head}{text}}}\n")


DIVIDED = """
  %p{i,k} = %e / %sum
  %z{i,j} = contract over k: %p * %y
  store %o[i, j] = %z
  store %l[i] = log(%sum) + %top
"""
DIVIDED_LAST = """
  %z{i,j} = contract over k: %y * %e
  %w{i,j} = %z / %sum
  store %o[i, j] = %w
  store %l[i] = %top
"""
FACTORS = """
  %f{k} = load %v[k, 0]
  %p{i,k} = %f * %e
  %r{i} = 2.0 / %sum
  %p2{i,k} = neg(%r * %p)
  %z{i,j} = contract over k: %p2 * %y
  %all{i} = reduce add over k: %p
  store %o[i, j] = %z + %y2
  store %l[i] = %all
""".replace("  store %o", "  %y2{j} = load %v[0, j]\n  store %o")


def operands(rows=19, length=37, inner=9, columns=9, batch=(2, 1), dtype=F32):
    sizes = (rows, inner), (length, inner), (length, columns)
    return [zeros(*batch, *size, dtype=dtype) for size in sizes]


def one_stream(interpreter, kernel, schedule, inputs=None, tolerance=1e-5, **tuning):
    """Check that a kernel streams, and is right; return its code."""
    close = {"rtol": tolerance, "atol": tolerance}
    (code,) = check(interpreter, kernel, schedule, inputs, **close, **tuning).codes
    assert code.form == "stream"
    return code


def stream(interpreter, function, args, *rest, **tuning):
    """Check that a function is one kernel that streams, and is right."""
    (run,) = runs_of(function, *args)
    return one_stream(interpreter, *run, *rest, **tuning)


# --- one kernel -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (attention, operands()),
        (attention, operands(1, 33, 20, 5, batch=(3,))),
        (attention, operands(16, 32, 16, 16, batch=())),
        (causal, operands(35, 35, 8, 8, batch=(1, 2))),
        (window, operands(35, 40)),
        (biased, [*operands(), zeros(2, 1, 19, 37)]),
        (biased, [*operands(), zeros(37)]),
        (keys_are_values, operands()[:2]),
    ],
)
def test_one_kernel(interpreter, function, args):
    code = stream(interpreter, function, args, blocks=SMALL)
    assert code.source.count("tl.dot(") == 2
    assert code.source.count('input_precision="ieee"') == 2


@pytest.mark.parametrize("text", [DIVIDED, DIVIDED_LAST, FACTORS])
@pytest.mark.parametrize("size", [(19, 37, 5), (1, 1, 1), (2, 48, 16)])
def test_scores_that_are_loaded(interpreter, text, size):
    code = one_stream(interpreter, *scores(text, *size), blocks=SMALL)
    assert code.source.count("tl.dot(") == 1


def test_usual_blocks(interpreter):
    stream(interpreter, causal, operands(70, 70, 40, 40, batch=(2,)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-13), (F16, 1e-2)])
def test_dtypes(interpreter, dtype, tolerance):
    args = operands(dtype=dtype)
    stream(interpreter, attention, args, tolerance=tolerance, blocks=SMALL)


def test_halves_are_multiplied_as_halves_and_divided_in_float32(interpreter):
    args = operands(dtype=BF16)
    code = stream(interpreter, unscaled, args, tolerance=4e-2, blocks=SMALL)
    assert re.search(r"weights = .*\.to\(tl\.bfloat16\)$", code.source, re.MULTILINE)
    assert re.search(r"v\d+ = v\d+_0\.to\(tl\.bfloat16\)", code.source)
    assert "input_precision" not in code.source


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


def test_infinite_and_nan_scores(interpreter):
    run = scores(DIVIDED, 6, 37, 5)
    s, v = random_inputs(run[0])
    s[0, 30], s[1, 2], s[2, 0], s[3, :] = np.inf, np.nan, -np.inf, np.inf
    s[4, 36] = 200
    v[7, 1], v[8, 2] = np.inf, np.nan
    one_stream(interpreter, *run, [s, v], blocks=SMALL)


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


# --- machine code -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, BF16])
def test_streams_build(dtype):
    (run,) = runs_of(unscaled, *operands(512, 512, 64, 64, dtype=dtype))
    (code,) = emit_kernel(*run).codes
    one = build(code)
    assert one.facts.shared <= 227 << 10 and one.facts.spilled in (0, None)
    assert ("wgmma.mma_async" in one.ptx) is (dtype is BF16)
    assert "tf32" not in one.ptx
