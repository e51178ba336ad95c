"""Convolutions with filters along vectors: packed blocks, panels and tiles."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tests.isas import jitted
from tests.sampling import in_turn
from tracejit.codegen.llvm.conv_forms import panel_of
from tracejit.codegen.llvm.conv_panels import grid_of
from tracejit.codegen.llvm.conv_shape import Window, convolution_of
from tracejit.codegen.llvm.target import host_target

from .reference import Case, direct

AVX2 = replace(host_target(), name="avx2", vector_bytes=32)
AVX512 = replace(host_target(), name="avx512", vector_bytes=64)
CASES = [
    Case((2, 16, 10, 9), (16, 16, 3, 3), {"padding": 1}),
    Case((9, 17, 9, 11), (32, 17, 3, 3), {"padding": (2, 0), "stride": (2, 1)}),
    Case((2, 33, 13, 13), (16, 33, 1, 1), {"stride": 2}),
    Case((1, 32, 21, 22), (64, 32, 3, 3), {"padding": 1}),
    Case((2, 12, 14, 14), (24, 12, 5, 4), {"padding": ((2, 1), (0, 3))}),
    Case((6, 64, 10, 11), (48, 32, 3, 3), {"groups": 2, "padding": 1, "stride": 2}),
    Case((3, 40, 12, 13), (16, 40, 3, 3), {"dilation": 2, "padding": 2}),
    Case((12, 40, 15, 12), (16, 40, 3, 2), {"dilation": (3, 2), "stride": (3, 2)}),
    Case((9, 32, 60), (16, 32, 4), {"stride": 3, "padding": 2}),
    Case((9, 16, 5, 7, 6), (16, 16, 2, 3, 3), {"padding": 1, "stride": (1, 2, 2)}),
    Case((1, 64, 70, 75), (32, 64, 3, 3), {"padding": 1}),  # several blocks of rows
    Case((2, 64, 61, 50), (32, 64, 3, 3), {"padding": 1, "stride": 2}),
]
# Of these the operand of the gradient is dilated: parts of results see other taps.
TRANSPOSED = [
    Case((2, 16, 20, 20), (32, 16, 3, 3), {"stride": 2, "padding": 1}),
    Case((2, 16, 21, 19), (32, 16, 3, 3), {"stride": 2}),
    Case((3, 16, 24, 23), (32, 16, 2, 4), {"stride": (3, 2), "padding": (0, 2)}),
    Case((2, 32, 18, 17), (48, 32, 1, 1), {"stride": 3}),
    Case((9, 16, 70), (40, 16, 5), {"stride": 4, "padding": 3}),
]


def operands(case: Case, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(dtype) for s in (case.x, case.w)]


def close(got, want, terms):
    bound = 8 * np.finfo(got.dtype).eps * np.abs(want).max() * terms**0.5
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


def panels(fn, *args, target=AVX2):
    """The panels that the convolutions of a function are given."""
    kernels = tj.jit(fn).lower(*args).program.kernels
    found = [convolution_of(kernel) for kernel in kernels]
    return [panel_of(c, target) for c in found if c is not None]


def by_image(case: Case, w, g):
    def loss(x):
        return np.sum(g * tj.nn.conv(x, w, **case.options))

    return tj.grad(loss)


WAYS = [*itertools.product(["auto", "baseline"], [np.float32, np.float64])]


@pytest.mark.parametrize(("case", "way"), in_turn(CASES, WAYS), ids=str)
def test_values(case, way):
    isa, dtype = way
    x, w = operands(case, dtype)
    got = jitted(lambda x, w: tj.nn.conv(x, w, **case.options), isa, x, w)
    close(got, direct(x, w, case.options), np.prod(case.w[1:]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_filters_lie_in_panels(case):
    x, w = operands(case)

    def conv(x, w):
        return tj.nn.conv(x, w, **case.options)

    (panel,) = panels(conv, x, w)
    assert panel == (8 if case.w[0] // case.options.get("groups", 1) == 24 else 16)
    assert panels(conv, x, w, target=AVX512) == [0]


@pytest.mark.parametrize("isa", ["auto", "baseline"])
@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_gradients_of_strided_ones(case, isa):
    x, w = operands(case)
    g = np.random.default_rng(1).normal(size=direct(x, w, case.options).shape)
    g = g.astype(np.float32)
    assert panels(by_image(case, w, g), x) == [16]
    got = jitted(by_image(case, w, g), isa, x)
    close(got, by_image(case, w.astype(np.float64), g)(x.astype(np.float64)), w.size)


@pytest.mark.parametrize("case", [c for c in CASES if len(c.x) == 4], ids=str)
def test_channels_last(case):
    x, w = operands(case)
    want = direct(x, w, case.options)

    def conv(x, w):
        return tj.nn.conv(x, w, **case.options, layout="NHWC")

    x, w = (np.ascontiguousarray(a.transpose(p)) for a, p in ((x, LAST), (w, HWIO)))
    close(jitted(conv, "auto", x, w), want.transpose(LAST), np.prod(case.w[1:]))


LAST, HWIO = (0, 2, 3, 1), (2, 3, 1, 0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_follows_is_in_the_same_kernel(case):
    x, w = operands(case)
    bias = np.linspace(-1, 1, case.w[0], dtype=np.float32)
    bias = bias.reshape(-1, *[1] * (len(case.x) - 2))

    def block(x, w):
        return np.maximum(tj.nn.conv(x, w, **case.options) + bias, 0)

    lowered = tj.jit(block).lower(x, w)
    assert len(lowered.program.kernels) == (2 if "groups" in case.options else 1)
    want = np.maximum(direct(x, w, case.options) + bias, 0)
    close(jitted(block, "auto", x, w), want, np.prod(case.w[1:]))


@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_depend_on_threads(threads):
    case = CASES[-1]
    x, w = operands(case)
    conv = tj.jit(lambda x, w: tj.nn.conv(x, w, **case.options))
    with tj.config.override(threads=1):
        one = conv(x, w)
    with tj.config.override(threads=threads, share_from=1):
        np.testing.assert_array_equal(conv(x, w), one)


def test_strided_products_of_one_image():
    """They are convolutions: neither rows nor columns of a product would be dense."""
    case = Case((1, 32, 7, 7), (12, 32, 1, 1), {"stride": 2})
    x, w = operands(case)
    got = tj.jit(lambda x, w: tj.nn.conv(x, w, **case.options))(x, w)
    close(got, direct(x, w, case.options), 32)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (Case((2, 16, 10, 10), (10, 16, 3, 3)), "no whole vectors"),
        (Case((2, 3, 40, 40), (16, 3, 3, 3)), "runs too short"),
        (Case((1, 512, 3, 3), (64, 512, 3, 3), {"padding": 1}), "few places"),
        (Case((2, 32, 12, 12), (32, 1, 3, 3), {"groups": 32}), "a filter each"),
    ],
    ids=lambda x: x.replace(" ", "_") if isinstance(x, str) else "",
)
def test_others_lie_as_they_are(case, why):
    x, w = operands(case)
    assert panels(lambda x, w: tj.nn.conv(x, w, **case.options), x, w) == [0], why


def test_packed_lines_leave_out_what_nothing_reads():
    """Every third element is read, at places two packed elements apart."""
    grid = grid_of(Window(60, 9, 2, 6, 3, 3, 1, 1, 1, 1))
    assert (grid.by, grid.step, grid.first) == (3, 2, -3)
    assert grid.parts == (((0, 0), (1, 1)),)
    assert grid.reach(9) == 18
