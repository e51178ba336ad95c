"""Emitted kernels of traced functions: their forms, and what they compute.

Results are those of Triton's interpreter, compared with the interpreter of kernels, for
sizes that leave tails, sizes of one, and odd sizes.
"""

import re

import ml_dtypes
import numpy as np
import pytest

from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.errors import DTypeError
from tracejit.kernels.parser import parse_kernel

from .running import check, chosen, outputs_by_triton, random_inputs, runs_of

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x, g, b):
    m = x.mean(-1, keepdims=True)
    v = ((x - m) ** 2).mean(-1, keepdims=True)
    return (x - m) / np.sqrt(v + 1e-5) * g + b


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def moments(x):
    return x.mean(axis=1), x.std(axis=1), (x * x).sum(axis=1)


def transposed_sum(x, y):
    return x.T + y[::-1]


def padded(x, y):
    return np.concatenate([np.pad(x, ((1, 2), (0, 3))), y], axis=0)


def windows(x):
    y = x.reshape(x.shape[0] // 2, 2, -1)
    return y[:, 0] * y[:, 1] + 1


def row_of(x, i):
    return x[i] * 2


def entry_of(x, i, j):
    return x[i, j] + 1


def int_ops(a, b):
    return (a // b) * 2 + (a % b) ^ (a << (b & 3)), np.maximum(a, -b), a >> 1


def mask_count(x):
    return (x > 0).sum(axis=1), (x > 0).any(axis=1), (x > 0).all(axis=0)


def emitted(function, *args, **tuning):
    (run,) = runs_of(function, *args)
    return emit_kernel(*run, Tuning(**tuning))


def agree(interpreter, function, *args, tolerance=2e-6, **tuning):
    """Check each kernel of a function; return the forms of the last one's codes."""
    forms = []
    for kernel, schedule in runs_of(function, *args):
        done = check(
            interpreter, kernel, schedule, rtol=tolerance, atol=tolerance, **tuning
        )
        forms = [code.form for code in done.codes]
    return forms


# --- forms and results ------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (9, 33), (1, 130), (3, 1)])
@pytest.mark.parametrize("persistent", [4096, 16])
def test_rows(interpreter, shape, persistent):
    tuning = {"persistent": persistent, "loop": 16, "tile": 64}
    n = shape[1]
    long = n > persistent
    for function, args in (
        (softmax, [zeros(*shape)]),
        (layer_norm, [zeros(*shape), zeros(n), zeros(n)]),
        (moments, [zeros(*shape)]),
    ):
        found = agree(interpreter, function, *args, tolerance=4e-6, **tuning)
        if n > 1:
            assert found == ["looped" if long else "persistent"]


@pytest.mark.parametrize("dtype", [F64, F16, BF16])
def test_rows_of_other_dtypes(interpreter, dtype):
    x, g = zeros(5, 19, dtype=dtype), zeros(19, dtype=dtype)
    tolerance = {F64: 1e-13, F16: 3e-3, BF16: 3e-2}[dtype]
    agree(interpreter, softmax, x, tolerance=tolerance)
    agree(interpreter, lambda x: x.sum(axis=1), x, tolerance=tolerance)
    agree(interpreter, lambda x: x.sum(axis=1), x, tolerance=tolerance, persistent=8)
    agree(interpreter, lambda x, g: gelu(x) * g, x, g, tolerance=tolerance)


@pytest.mark.parametrize("shape", [(9, 7), (1, 1), (33, 70), (130, 3), (5, 1)])
def test_columns(interpreter, shape):
    def columns(x):
        return x.sum(axis=0), x.max(axis=0)

    for tile in (2048, 128):
        agree(interpreter, columns, zeros(*shape), tolerance=1e-5, tile=tile)
        agree(interpreter, lambda x: x.argmax(axis=0), zeros(*shape), tile=tile)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 33, 3), (1, 7, 1)])
def test_inner_and_outer_axes(interpreter, shape):
    for axes in ((1,), (0, 2), (0, 1), (2,)):
        for function in (
            lambda x, axes=axes: x.sum(axis=axes),
            lambda x, axes=axes: (x * 2).max(axis=axes) + 1,
        ):
            agree(interpreter, function, zeros(*shape), persistent=8, loop=8)


def test_loop_recomputes_and_phases_follow_each_other():
    (code,) = emitted(softmax, zeros(600, 9000)).codes
    assert code.form == "looped"
    loops = code.source.split("for roffset in range(0, rnumel, RBLOCK):")
    assert len(loops) == 4
    assert ["tl.load(x_ptr" in part for part in loops] == [False, True, True, True]
    assert "tl.store" in loops[3] and "tl.store" not in loops[2]


def test_columns_run_along_memory():
    (code,) = emitted(lambda x: x.sum(axis=0), zeros(1000, 70000)).codes
    assert code.form == "looped"
    assert code.constexprs["XBLOCK"] == 64 and code.constexprs["RBLOCK"] < 1000
    assert code.grid == -(-70000 // 64)


def test_dense_axes_become_one():
    (code,) = emitted(gelu, zeros(8, 16, 32)).codes
    assert code.constexprs == {"xnumel": 4096, "XBLOCK": 1024}
    assert "//" not in code.source.partition("def ")[2] and code.grid == 4


def test_transposes_have_square_tiles(interpreter):
    (code,) = emitted(transposed_sum, zeros(33, 50), zeros(50, 33)).codes
    assert code.constexprs["XBLOCK"] == code.constexprs["YBLOCK"] == 32
    assert code.grid == 4
    agree(interpreter, transposed_sum, zeros(33, 50), zeros(50, 33))
    agree(interpreter, lambda x: x.transpose(0, 2, 1) * 2, zeros(2, 17, 40))
    agree(interpreter, lambda x: x.transpose(2, 0, 1) * 2, zeros(2, 17, 40))


def test_masks_only_where_blocks_have_tails():
    (whole,) = emitted(gelu, zeros(64, 64)).codes
    (ragged,) = emitted(gelu, zeros(65, 63)).codes
    assert "mask" not in whole.source
    assert "xmask = xindex < xnumel" in ragged.source


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (gelu, [zeros(5, 7)]),
        (gelu, [zeros()]),
        (transposed_sum, [zeros(5, 7), zeros(7, 5)]),
        (padded, [zeros(4, 5), zeros(3, 8)]),
        (windows, [zeros(6, 5)]),
        (lambda x: x.T.reshape(-1)[3:20] * 2, [zeros(5, 7)]),
        (lambda x: x.T.reshape(-1) * 2, [zeros(35, 3)]),
        (lambda x: x.transpose(1, 0, 2).reshape(5, -1) + 1, [zeros(3, 5, 32)]),
        (lambda x: x.transpose(1, 0, 2).reshape(5, -1).sum(0), [zeros(3, 5, 32)]),
        (lambda x: np.roll(x, 2, axis=1)[::2], [zeros(5, 7)]),
        (lambda x: np.stack([x, x + 1], axis=1).reshape(-1, 7), [zeros(5, 7)]),
        (lambda x, y: (x + y, x * 2, y.sum(axis=1)), [zeros(5, 7), zeros(5, 7)]),
        (mask_count, [zeros(5, 7)]),
        (lambda x: np.where(x > 0, x, 0).astype(np.int16), [zeros(5, 7)]),
        (lambda x: x.prod(axis=1), [zeros(5, 7)]),
        (lambda x: x[:, None] + np.arange(3), [zeros(5, dtype=np.int64)]),
    ],
)
def test_pointwise_and_views(interpreter, function, args):
    agree(interpreter, function, *args)
    agree(interpreter, function, *args, blocks={"XBLOCK": 16})


def test_strided_arguments(interpreter):
    x = np.zeros((40, 30), F32)[::3, 28:2:-2]
    agree(interpreter, lambda x: np.exp(x).sum(axis=1), x)
    agree(interpreter, lambda x: x * 2 + 1, x)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.bool_])
def test_integers(interpreter, dtype):
    x = zeros(6, 11, dtype=dtype)
    functions = [
        lambda x: x.sum(axis=1),
        lambda x: x.max(axis=1),
        lambda x: x.argmin(axis=1),
        lambda x: np.bitwise_or.reduce(x, axis=1),
        lambda x: np.bitwise_and.reduce(x, axis=0),
    ]
    if dtype in (np.int32, np.int64):
        agree(interpreter, int_ops, x, x)
    for function in functions:
        agree(interpreter, function, x)
        agree(interpreter, function, x, persistent=4, loop=4, tile=32)


def test_empty_arrays(interpreter):
    done = emitted(lambda x: x * 2, zeros(0, 3)).codes
    assert [code.grid for code in done] == [0]
    agree(interpreter, lambda x: x.sum(axis=1), zeros(4, 0))
    agree(interpreter, lambda x: x.sum(), zeros(0))


# --- splits -----------------------------------------------------------------------


def test_full_reductions_split(interpreter):
    for n in (600, 611):
        x = zeros(n)
        found = agree(interpreter, lambda x: x.sum(), x, tolerance=1e-5, split=64)
        assert len(found) == 2
        agree(interpreter, lambda x: (x * x).max() * 2, x, split=64)
        agree(interpreter, lambda x: x.argmax(), x, split=64)
        agree(interpreter, lambda x: x.argmin(), x.astype(np.int8), split=64)


def test_sums_of_halves_keep_float32_parts(interpreter):
    x = zeros(700, dtype=F16)
    agree(interpreter, lambda x: x.sum(), x, split=64, tolerance=5e-3)
    done = emitted(lambda x: x.sum(), x, split=64)
    assert [b.dtype for b in done.workspace] == [np.dtype(F32)]


def test_column_sums_split(interpreter):
    def weights(x):
        return x.sum(axis=0) * 2

    for shape in ((300, 7), (301, 70)):
        found = agree(interpreter, weights, zeros(*shape), tolerance=1e-5, split=512)
        assert len(found) == 2


def test_parts_are_enough_for_the_device():
    done = emitted(lambda x: x.sum(), zeros(5000, 1700))
    partial, finish = done.codes
    assert 132 <= partial.grid <= 2 * 132 and finish.grid == 1
    assert done.workspace[0].shape == (partial.grid,)


def test_long_rows_that_are_run_again_split_too(interpreter):
    found = agree(interpreter, softmax, zeros(2, 1100), split=64)
    assert len(found) == 5  # maximum, sum: two kernels each; quotient
    assert found[-1] == "pointwise"


def test_enough_rows_stay_one_kernel():
    assert len(emitted(softmax, zeros(4096, 1024)).codes) == 1
    assert len(emitted(softmax, zeros(64, 8192)).codes) == 1
    assert len(emitted(layer_norm, zeros(8, 4096), zeros(4096), zeros(4096)).codes) == 1


def test_parts_have_names_of_their_own():
    done = emitted(softmax, zeros(2, 1100), split=64)
    names = [code.name.removeprefix("softmax_k0_max_exp_sum_") for code in done.codes]
    assert names == ["partial", "finish", "1_partial", "1_finish", "2"]


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (softmax, [(64, 100)]),
        (layer_norm, [(64, 100), (100,), (100,)]),
        (lambda x, w, b: gelu(x @ w + b), [(64, 100), (100, 32), (32,)]),
        (moments, [(64, 100)]),
    ],
)
def test_plain_numpy_is_one_triton_kernel(function, shapes):
    assert len(emitted(function, *(zeros(*shape) for shape in shapes)).codes) == 1


# --- independent parts ------------------------------------------------------------


def updates(parameters, gradients):
    pairs = zip(parameters, gradients, strict=True)
    return [p - 0.1 * g / (abs(g) + 1) for p, g in pairs]


def test_each_part_has_programs_of_its_own(interpreter):
    shapes = (70, 31), (5,), (3, 2, 2), (1,)
    args = [[zeros(*s) for s in shapes], [zeros(*s) for s in shapes]]
    assert agree(interpreter, updates, *args) == ["parts"]
    (code,) = emitted(updates, *args).codes
    assert code.grid == -(-70 * 31 // 1024) + 1 + 1 + 1
    assert code.constexprs == {}
    agree(interpreter, updates, *args, blocks={"XBLOCK": 16})


PARTS = """
kernel @k(%a: f32[5,9], %b: f32[700], %c: f32[7,3], %d: i64[4], %e: f32[6])
    -> (%u: f32[5], %v: f32[], %w: f32[7,3], %x: f32[4])
    axes(i: 5, j: 9, l: 700, m: 7, n: 3, o: 4) {
  schedule i: grid, j: sequential, l: sequential, m: grid, n: vector, o: vector
  %1{i,j} = load %a[i, j]
  %2{i} = reduce max over j: %1
  store %u[i] = %2
  %3{l} = load %b[l]
  %4 = reduce add over l: %3
  store %v[] = %4
  %5{m,n} = load %c[m, n]
  store %w[m, n] = exp(%5)
  %6{o} = load %d[o]
  %7{o} = load %e[%6] check(0)
  store %x[o] = %7
}
"""


def test_parts_of_all_forms(interpreter):
    kernel, schedule = parse_kernel(PARTS)
    inputs = random_inputs(kernel)
    inputs[3][...] = [5, -6, 0, 3]
    for split, forms in ((4096, ["parts"]), (64, ["persistent"] * 2 + ["parts"])):
        done = check(
            interpreter, kernel, schedule, inputs, rtol=1e-5, atol=1e-5, split=split
        )
        assert [code.form for code in done.codes] == forms
        assert len({code.name for code in done.codes}) == len(done.codes)
    assert done.can_fail
    inputs[3][2] = 6
    _, error = outputs_by_triton(interpreter, done, kernel, inputs)
    assert error[0] & 0xFF == 1 and error[1] == 6


def test_products_can_be_parts(interpreter):
    text = """
kernel @k(%a: f32[5,9], %b: f32[9,7], %c: f32[40]) -> (%d: f32[5,7], %e: f32[40])
    axes(i: 5, j: 7, k: 9, l: 40) {
  schedule l: vector, i: tile, j: tile, k: tile
  %w{l} = load %c[l]
  store %e[l] = %w * 2.0
  %x{i,k} = load %a[i, k]
  %y{j,k} = load %b[k, j]
  %z{i,j} = contract over k: %x * %y
  store %d[i, j] = %z
}
"""
    done = check(interpreter, *parse_kernel(text), rtol=1e-5, atol=1e-5)
    assert [code.form for code in done.codes] == ["parts"]


POSITIONS = """\
kernel @k(%x: f32[4,3,5]) -> (%out: i64[4]) axes(i: 4, j: 3, l: 5) {
  schedule i: vector, j: sequential, l: sequential
  %a{i,j,l} = load %x[i, j, l]
  %m{i} = reduce argmax over l, j: %a
  store %out[i] = %m
}
"""


def test_positions_along_axes_in_any_order(interpreter):
    for persistent in (64, 8):
        check(interpreter, *parse_kernel(POSITIONS), persistent=persistent, loop=8)


# --- loaded indices ---------------------------------------------------------------


def test_gathers_wrap_negative_indices(interpreter):
    rng = np.random.default_rng(3)
    for function, x, *indices in (
        (row_of, zeros(6, 5), zeros(9, dtype=np.int64)),
        (row_of, zeros(6, 5), zeros(9, dtype=np.int32)),
        (entry_of, zeros(6, 5), zeros(9, dtype=np.int64), zeros(9, dtype=np.int64)),
    ):
        for kernel, schedule in runs_of(function, x, *indices):
            inputs = random_inputs(kernel)
            for k, b in enumerate(kernel.inputs):
                if b.dtype.kind == "i":
                    inputs[k] = rng.integers(-5, 5, b.shape).astype(b.dtype)
            check(interpreter, kernel, schedule, inputs)


def test_bad_index_is_clamped_and_reported(interpreter):
    ((kernel, schedule),) = runs_of(row_of, zeros(4, 5), zeros(3, dtype=np.int64))
    done = emit_kernel(kernel, schedule)
    assert done.can_fail
    inputs = random_inputs(kernel)
    at = next(k for k, b in enumerate(kernel.inputs) if b.dtype.kind == "i")
    inputs[at][...] = [1, 7, -4]
    found, error = outputs_by_triton(interpreter, done, kernel, inputs)
    x = inputs[1 - at]
    np.testing.assert_array_equal(found[0][[0, 2]], x[[1, 0]] * 2)
    assert error[0] & 0xFF == 1 and error[1] == 7
    number = error[0] >> 8 & 0xFFFFFF
    assert kernel.body[number].check == (0,)


def test_sure_indices_have_no_error_word():
    assert not emitted(lambda x: x[2:4] * 2, zeros(9, 5)).can_fail


# --- products ---------------------------------------------------------------------

FUSED = """
kernel @fused(%a: f32[{m},{k}], %b: f32[{k},{n}], %c: f32[{n}]) -> (%d: f32[{m},{n}])
    axes(i: {m}, j: {n}, k: {k}) {{
  schedule i: tile, j: tile, k: tile
  %x{{i,k}} = load %a[i, k]
  %x2{{i,k}} = exp(%x * 0.5)
  %y{{j,k}} = load %b[k, j]
  %z{{i,j}} = contract over k: %x2 * %y
  %bias{{j}} = load %c[j]
  %h{{i,j}} = %z + %bias
  store %d[i, j] = tanh(%h) * 0.5
}}
"""


@pytest.mark.parametrize("size", [(16, 16, 16), (33, 17, 50), (2, 70, 3), (65, 2, 1)])
def test_product_with_prologue_and_epilogue(interpreter, size):
    m, n, k = size
    text = FUSED.format(m=m, n=n, k=k)
    done = check(interpreter, *parse_kernel(text), rtol=1e-5, atol=1e-5)
    (code,) = done.codes
    assert code.form == "matmul"
    assert code.source.count("tl.dot(") == 1
    assert 'input_precision="ieee"' in code.source


@pytest.mark.parametrize("dtype", [F32, F64, F16, BF16])
def test_products(interpreter, dtype):
    tolerance = {F32: 1e-5, F64: 1e-13, F16: 5e-3, BF16: 4e-2}[dtype]
    for a, b in (((20, 33), (33, 18)), ((2, 20, 33), (2, 33, 5)), ((3, 4, 9), (9, 6))):
        x, w = zeros(*a, dtype=dtype), zeros(*b, dtype=dtype)
        found = agree(interpreter, lambda x, w: x @ w, x, w, tolerance=tolerance)
        assert found == ["matmul"]
        x, w = zeros(33, 20, dtype=dtype), zeros(18, 33, dtype=dtype)
        agree(interpreter, lambda x, w: x.T @ w.T, x, w, tolerance=tolerance)


def test_halves_are_multiplied_as_halves():
    x = zeros(64, 64, dtype=BF16)
    (code,) = emitted(lambda x, w: x @ w, x, x).codes
    assert "acc = tl.dot(x_0, x_1, acc)" in code.source
    assert "0.0).to(" not in code.source
    assert "input_precision" not in code.source


def split_in(run, parts):
    """Return the choice to split the sum of a kernel's product."""
    return chosen(*run, Tuning(), parts=parts)


def dense_layer(x, w, b):
    return gelu(2 * x @ w + b)


@pytest.mark.parametrize("dtype", [F32, F64, BF16])
def test_products_with_few_blocks_are_split_along_their_sum(interpreter, dtype):
    args = (
        zeros(9, 128, dtype=dtype),
        zeros(128, 20, dtype=dtype),
        zeros(20, dtype=dtype),
    )
    (run,) = runs_of(dense_layer, *args)
    tolerance = {F32: 2e-5, F64: 1e-12, BF16: 3e-2}[dtype]
    close = {"rtol": tolerance, "atol": 10 * tolerance}
    emitted = check(interpreter, *run, **close, choices=split_in(run, 4))
    partial, finish = emitted.codes
    assert (partial.form, finish.form) == ("matmul", "persistent")
    assert partial.grid == 4 * -(-20 // partial.constexprs["BLOCK_N"])
    (row,) = emitted.workspace
    assert row.dtype == (F64 if dtype is F64 else F32)
    assert "b_s_part" in partial.source and "tl.dot" not in finish.source


def test_stacks_of_products_are_split_too(interpreter):
    (run,) = runs_of(np.matmul, zeros(3, 5, 96), zeros(3, 96, 7))
    emitted = check(interpreter, *run, atol=1e-4, choices=split_in(run, 3))
    assert emitted.codes[0].grid == 3 * 3


def test_products_of_several_axes_are_split(interpreter):
    def both(x, y):
        return np.einsum("iab,abj->ij", x, y)

    (run,) = runs_of(both, zeros(6, 8, 16), zeros(8, 16, 5))
    emitted = check(interpreter, *run, atol=1e-4, choices=split_in(run, 4))
    assert len(emitted.codes) == 2


def test_thin_products_are_sums(interpreter):
    x, w = zeros(20, 33), zeros(33)
    assert agree(interpreter, lambda x, w: x @ w, x, w, tolerance=1e-5) == [
        "persistent"
    ]
    y = zeros(5, 6, dtype=np.int32)
    assert agree(interpreter, lambda x, w: x @ w, y, y.T.copy()) == ["persistent"]


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def normalised(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)


def row_values(x):
    return x.max(axis=-1), x.min(axis=-1), x.sum(axis=-1), x.argmax(axis=-1)


def rows_of(function):
    """Return a function of the rows of a product."""

    def rows_of_product(x, w, b):
        return function(x @ w + b)

    return rows_of_product


ROWS = [softmax, log_softmax, normalised, row_values]


@pytest.mark.parametrize("function", ROWS)
@pytest.mark.parametrize("size", [(16, 16, 16), (33, 50, 21), (5, 3, 70), (2, 9, 2)])
def test_rows_of_a_product_are_its_epilogue(interpreter, function, size):
    m, k, n = size
    args = zeros(m, k), zeros(k, n), zeros(n)
    found = agree(interpreter, rows_of(function), *args, tolerance=4e-5)
    assert found == ["matmul"]


def test_rows_of_a_product_of_many_blocks(interpreter):
    """Programs with tails of rows, columns and summed elements, in a batch."""
    args = zeros(2, 70, 41), zeros(2, 41, 130), zeros(130)
    blocks = {"BLOCK_M": 16, "BLOCK_N": 16, "BLOCK_K": 16}
    for function in ROWS:
        ((kernel, schedule),) = runs_of(rows_of(function), *args)
        close = {"rtol": 1e-4, "atol": 1e-4}
        (code,) = check(interpreter, kernel, schedule, **close, blocks=blocks).codes
        assert code.constexprs["BLOCK_N"] == 256  # all of a row
        assert code.grid == 2 * 5


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(F64, 1e-13), (F16, 1e-2), (BF16, 6e-2)]
)
def test_rows_of_products_of_other_dtypes(interpreter, dtype, tolerance):
    args = [zeros(*s, dtype=dtype) for s in ((20, 33), (33, 18), (18,))]
    for function in (softmax, log_softmax):
        found = agree(interpreter, rows_of(function), *args, tolerance=tolerance)
        assert found == ["matmul"]


def test_special_numbers_in_rows_of_a_product(interpreter):
    """What a row is filled up with is not its maximum, and no part of a NaN."""
    args = zeros(5, 3), zeros(3, 21), zeros(21)
    ((kernel, schedule),) = runs_of(rows_of(row_values), *args)
    x, w, b = random_inputs(kernel)
    x[0], x[1, 0], w[...] = 0, np.inf, np.abs(w)
    x[2, 1], x[3, 2] = -np.inf, np.nan
    b[...] = -1e30
    (code,) = check(interpreter, kernel, schedule, [x, w, b]).codes
    assert "n_mask = offs_n < N" in code.source


def test_wide_rows_of_a_product_are_a_kernel_of_their_own(interpreter):
    args = zeros(3, 5), zeros(5, 257), zeros(257)
    found = agree(interpreter, rows_of(softmax), *args, tolerance=1e-5)
    assert found == ["matmul", "persistent"]


def test_reductions_of_more_than_rows_of_a_product_are_cut(interpreter):
    def loss(x, w):
        return ((x @ w - 1) ** 2).mean()

    found = agree(interpreter, loss, zeros(5, 3), zeros(3, 7), tolerance=1e-5)
    assert found == ["matmul", "persistent"]


def test_rows_of_a_product_of_loaded_values(interpreter):
    """Loads and sums of the columns alone stand beside those of the product."""
    text = """
kernel @k(%a: f32[5,9], %b: f32[9,7], %c: f32[7]) -> (%d: f32[5,7])
    axes(i: 5, j: 7, k: 9) {
  schedule i: tile, j: tile, k: tile
  %x{i,k} = load %a[i, k]
  %y{j,k} = load %b[k, j]
  %z{i,j} = contract over k: %x * %y
  %w{j} = load %c[j]
  %s = reduce add over j: %w
  %m{i} = reduce max over j: %z
  store %d[i, j] = (%z - %m) * %s
}
"""
    done = check(interpreter, *parse_kernel(text), rtol=1e-5, atol=1e-5)
    assert [code.form for code in done.codes] == ["matmul"]


def test_normalised_operand_is_two_kernels(interpreter):
    text = """
kernel @k(%a: f32[5,9], %b: f32[9,7]) -> (%d: f32[5,7]) axes(i: 5, j: 7, k: 9) {
  schedule i: tile, j: tile, k: tile
  %x{i,k} = load %a[i, k]
  %m{i} = reduce max over k: %x
  %x2{i,k} = %x - %m
  %y{j,k} = load %b[k, j]
  %z{i,j} = contract over k: %x2 * %y
  store %d[i, j] = %z
}
"""
    done = check(interpreter, *parse_kernel(text), rtol=1e-5, atol=1e-5)
    assert [code.form for code in done.codes] == ["persistent", "matmul"]


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_one_stream(interpreter, heads):
    def attention(q, k, v):
        scores = q @ k.swapaxes(-1, -2) * np.float32(0.25)
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True) @ v

    q, k, v = (zeros(heads, n, 20) for n in (18, 33, 33))
    runs = runs_of(attention, q, k, v)
    emitted_ = [check(interpreter, *run, rtol=1e-5, atol=1e-5).codes for run in runs]
    assert [code.form for codes in emitted_ for code in codes] == ["stream"]


# --- reductions inside of others --------------------------------------------------


def test_reduction_of_row_results_is_two_kernels(interpreter):
    text = """
kernel @k(%a: f32[5,9]) -> (%d: f32[]) axes(i: 5, j: 9) {
  schedule i: sequential, j: vector
  %x{i,j} = load %a[i, j]
  %m{i} = reduce max over j: %x
  %e{i,j} = exp(%x - %m)
  %s{i} = reduce add over j: %e
  %t = reduce add over i: log(%s) + %m
  store %d[] = %t
}
"""
    done = check(interpreter, *parse_kernel(text))
    assert [code.form for code in done.codes] == ["persistent"] * 2


def test_independent_rows_of_two_lengths_are_one_kernel(interpreter):
    text = """
kernel @k(%a: f32[5,9], %b: f32[5,3]) -> (%d: f32[5]) axes(i: 5, j: 9, l: 3) {
  schedule i: grid, j: sequential, l: sequential
  %x{i,j} = load %a[i, j]
  %m{i} = reduce max over j: %x
  %y{i,l} = load %b[i, l]
  %s{i} = reduce add over l: %y * %m
  store %d[i] = %s
}
"""
    for persistent in (4096, 4):
        done = check(
            interpreter, *parse_kernel(text), persistent=persistent, loop=4, tile=8
        )
        assert len(done.codes) == 1


def test_whole_and_partial_reduction_of_one_value(interpreter):
    text = """
kernel @k(%a: f32[5,9]) -> (%c: f32[5], %d: f32[]) axes(i: 5, j: 9) {
  schedule i: sequential, j: vector
  %x{i,j} = load %a[i, j]
  %m{i} = reduce max over j: %x
  %t = reduce add over i, j: %x
  store %c[i] = %m
  store %d[] = %t
}
"""
    check(interpreter, *parse_kernel(text))


# --- special numbers --------------------------------------------------------------


@pytest.mark.parametrize("persistent", [64, 4])
def test_nan_goes_through_maxima(interpreter, persistent):
    def extrema(x):
        return x.max(axis=1), x.min(axis=1)

    x = random_inputs(runs_of(extrema, zeros(4, 11))[0][0])[0]
    x[0, 3] = np.nan
    x[1, [2, 7]] = np.inf
    x[2] = -np.inf
    x[3, [4, 6]] = np.nan
    for function in (extrema, lambda x: x.argmax(axis=1), lambda x: x.argmin(axis=1)):
        for run in runs_of(function, x):
            check(interpreter, *run, [x], persistent=persistent, loop=4, tile=8)


def test_ends_of_rows_add_negative_zero():
    """A sum of nothing but -0.0 stays -0.0, as the tree says."""
    (code,) = emitted(lambda x: x.sum(axis=1), zeros(3, 5)).codes
    assert "tl.sum(tl.where(rmask, x_0, -0.0), 1)" in code.source
    (code,) = emitted(lambda x: x.sum(axis=1), zeros(3, 0)).codes
    assert re.search(r"tl.sum\(tl.where\(rmask, v\d, 0.0\), 1\)", code.source)


# --- text -------------------------------------------------------------------------


def test_source_stands_on_its_own_and_says_what_it_computes():
    (code,) = emitted(softmax, zeros(5, 7)).codes
    lines = code.source.splitlines()
    assert lines[:2] == ["import triton", "import triton.language as tl"]
    head = lines[lines.index("@triton.jit", lines.index("# }")) - 7]
    name = r"# kernel @softmax_k0_max_exp_sum\(.*; \S*test_kernels.py:\d+"
    assert re.match(name, head)
    assert "#   %v1{i} = reduce max over j: %x_0" in lines
    assert "def softmax_k0_max_exp_sum(" in lines
    assert code.signature == {
        "x_ptr": "*fp32",
        "out0_ptr": "*fp32",
        "xnumel": "constexpr",
        "rnumel": "constexpr",
        "XBLOCK": "constexpr",
        "RBLOCK": "constexpr",
    }
    compile(code.source, "<test>", "exec")


def test_text_is_the_same_each_time():
    texts = {emitted(softmax, zeros(5, 7)).codes[0].source for _ in range(3)}
    assert len(texts) == 1


def test_only_called_helpers_are_in_the_text():
    (code,) = emitted(softmax, zeros(5, 7)).codes
    assert re.findall(r"^def (\w+)", code.source, re.MULTILINE) == [
        "nan_maximum",
        "divide",
        "softmax_k0_max_exp_sum",
    ]


def test_names_cannot_hide_what_the_kernel_needs(interpreter):
    text = """
kernel @k(%tl: f32[9]) -> (%for: f32[9]) axes(i: 9) {
  schedule i: vector
  %tl{i} = load %tl[i]
  %xmask{i} = %tl * 2.0
  %lambda{i} = exp(%xmask)
  store %for[i] = %lambda + %tl
}
"""
    check(interpreter, *parse_kernel(text))


def test_large_arrays_have_64_bit_offsets():
    text = """
kernel @k(%x: f32[{n}]) -> (%y: f32[{n}]) axes(i: {n}) {{
  schedule i: vector
  store %y[i] = load %x[i]
}}
""".replace("store %y[i] = load %x[i]", "%v{{i}} = load %x[i]\n  store %y[i] = %v")
    small = emit_kernel(*parse_kernel(text.format(n=2**20))).codes[0].source
    large = emit_kernel(*parse_kernel(text.format(n=2**31))).codes[0].source
    assert "int64" not in small
    assert "tl.program_id(0).to(tl.int64)" in large


def test_complex_dtypes_are_refused():
    text = """
kernel @k(%x: c64[9]) -> (%y: c64[9]) axes(i: 9) {
  schedule i: vector
  %v{i} = load %x[i]
  store %y[i] = %v
}
"""
    with pytest.raises(DTypeError, match="no c64"):
        emit_kernel(*parse_kernel(text))
