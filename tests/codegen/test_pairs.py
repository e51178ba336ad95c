"""Products of bfloat16 numbers, by instructions for pairs if the machine has them."""

import itertools

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled
from tracejit.codegen.llvm.gemm.pairs import LEAST
from tracejit.codegen.llvm.target import host_target

BF16 = np.dtype(ml_dtypes.bfloat16)
RNG = np.random.default_rng(11)


def normal(*shape):
    return RNG.normal(size=shape).astype(BF16)


def wide(a, b):
    """Products with a result of float32."""
    return a.astype(np.float32) @ b.astype(np.float32)


OPERANDS = {
    "rows": lambda a, b: (a, b),
    "left transposed": lambda a, b: (a.T.copy().T, b),
    "right transposed": lambda a, b: (a, b.T.copy().T),
    "both transposed": lambda a, b: (a.T.copy().T, b.T.copy().T),
    "steps": lambda a, b: (a.repeat(2, 1)[:, ::2], b.repeat(3, 1)[:, ::3]),
}
SHAPES = [(1, 1, 3), (5, 200, 7), (17, 65, 33), (113, 33, 1025), (30, 50, 2047)]


CASES = itertools.product(SHAPES, OPERANDS)


@pytest.mark.parametrize(("shape", "layout"), sampled(CASES, 4), ids=str)
def test_sizes_and_strides(shape, layout):
    m, n, k = shape
    a, b = OPERANDS[layout](normal(m, k), normal(k, n))
    exact = a.astype("f8") @ b.astype("f8")
    scale = np.abs(a.astype("f8")) @ np.abs(b.astype("f8"))
    got = tj.jit(wide)(a, b)
    assert got.dtype == np.float32
    assert (np.abs(got - exact) <= 40 * np.finfo("f4").eps * scale).all()
    narrow = tj.jit(np.matmul)(a, b)
    assert narrow.dtype == BF16
    assert (np.abs(narrow.astype("f8") - exact) <= 0.005 * scale).all()


@pytest.mark.parametrize("exponent", [-133, -127, -70, -56, -55])
@pytest.mark.parametrize("side", [0, 1])
def test_no_product_is_flushed_to_zero(side, exponent):
    """Subnormal operands, and normal ones whose products are subnormal."""
    n = 40
    tiny = np.diag(np.full(n, 2.0**exponent))
    tiny[3] = np.where(np.arange(n) == 3, 1.0, 0.0)  # among others
    other = np.full((n, n), 2.0 ** max(-133, -140 - exponent))
    other[:, 7] = 1.0
    pair = (tiny, other) if side == 0 else (other, tiny)
    want = pair[0] @ pair[1]
    assert (want.astype(np.float32) == want).all()
    assert (want > 0).all()
    a, b = (x.astype(BF16) for x in pair)
    np.testing.assert_array_equal(tj.jit(wide)(a, b), want)


def test_cancelling_sums_are_exact():
    """What is left of two products may be far below both."""
    a = np.full((8, 2), 2.0**-55)
    a[:, 1] *= -1
    b = np.full((2, 33), 2.0**-55)
    b[0] *= 1 + 2.0**-7
    got = tj.jit(wide)(a.astype(BF16), b.astype(BF16))
    np.testing.assert_array_equal(got, a @ b)
    assert (got == 2.0**-117).all()


def test_infinities_and_nans():
    a, b = normal(20, 33), normal(33, 40)
    a[2, 5], a[3, 6], b[7, 8] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        want = a.astype("f8") @ b.astype("f8")
    got = tj.jit(wide)(a, b)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))


@pytest.mark.parametrize("layout", OPERANDS)
def test_bits_do_not_depend_on_threads(layout):
    """Neither where some tiles are computed one way and some the other."""
    a, b = normal(300, 700), normal(700, 200)
    a[40], a[150, ::3], b[:, 90:100] = 2.0**-80, 2.0**-60, 2.0**-100
    a, b = OPERANDS[layout](a, b)
    found = []
    for count in (1, 2, 3):
        with tj.config.override(threads=count, share_from=0):
            found.append([tj.jit(f)(a, b).tobytes() for f in (wide, np.matmul)])
    assert found[0] == found[1] == found[2]


def test_operands_are_not_widened_in_memory():
    """One kernel, whose scratch is blocks of pairs: no operand as float32."""
    a, b = normal(256, 512), normal(512, 256)
    call = tj.jit(np.matmul)
    assert len(call.lower(a, b).kernels) == 1
    text = call.lower(a, b).compile().as_text()
    assert ("dpbf16ps" in text) == host_target().has_pairs
    # Only the functions of tiles may use it: conversions would flush subnormals.
    heads = [line for line in text.splitlines() if line.startswith("define")]
    allowed = [line for line in heads if "+avx512bf16" in line]
    assert all(".pairs(" in line for line in allowed)


def test_lesser_instruction_sets_have_no_pairs():
    assert not host_target("baseline").has_pairs
    assert np.array(LEAST, np.uint16).view(BF16) == 2.0**-55
