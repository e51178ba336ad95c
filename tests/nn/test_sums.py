"""Gradients by few filters: sums along vectors of taps."""

from dataclasses import replace

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set
from tracejit.codegen.llvm.conv_forms import has_taps_along
from tracejit.codegen.llvm.conv_shape import convolution_of
from tracejit.codegen.llvm.target import host_target

from .reference import Case, direct

CASES = [
    Case((3, 6, 21, 27), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    Case((2, 4, 20, 30), (8, 1, 3, 3), {"groups": 4, "padding": 1, "stride": 2}),
    Case((2, 4, 20, 70), (4, 1, 2, 4), {"groups": 4, "padding": ((0, 1), (3, 0))}),
    Case((1, 3, 40, 33), (6, 1, 3, 2), {"groups": 3, "dilation": (2, 3)}),
    Case((4, 5, 90), (5, 1, 7), {"groups": 5, "padding": 3}),
    Case((1, 2, 7, 8, 19), (2, 1, 2, 3, 3), {"groups": 2, "padding": 1}),
    Case((2, 8, 15, 16), (8, 2, 3, 3), {"groups": 4, "padding": (1, 0)}),
    Case((1, 2, 150, 60), (2, 1, 3, 3), {"groups": 2}),
]


def slope_of(case: Case, x, g):
    def loss(w):
        return np.sum(g * tj.nn.conv(x, w, **case.options))

    return lambda w: tj.grad(loss)(w)


def expected_of(case: Case, x, g):
    """The derivative by each filter's tap: the sum where that tap alone is one."""
    found = np.zeros(case.w)
    for at in np.ndindex(*case.w[1:]):
        w = np.zeros(case.w)
        w[:, *at] = 1
        terms = g * direct(x, w, case.options)
        found[:, *at] = terms.sum(axis=(0, *range(2, terms.ndim)))
    return found


def operands(case: Case, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=case.x).astype(dtype)
    w = np.zeros(case.w, dtype)
    return x, w, rng.normal(size=direct(x, w, case.options).shape).astype(dtype)


@pytest.mark.parametrize("isa", ["auto", "avx2", "baseline"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case, dtype, isa):
    x, w, g = operands(case, dtype)
    with instruction_set(isa):
        got = tj.jit(slope_of(case, x, g))(w)
    want = expected_of(case, x, g)
    bound = 8 * np.finfo(dtype).eps * np.abs(want).max() * g.size**0.5
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


@pytest.mark.parametrize("vector_bytes", [64, 32, 16])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_taps_are_along_vectors(case, vector_bytes):
    x, w, g = operands(case, np.float32)
    target = replace(host_target(), vector_bytes=vector_bytes)
    found = [
        convolution
        for kernel in tj.jit(slope_of(case, x, g)).lower(w).program.kernels
        if (convolution := convolution_of(kernel)) is not None
    ]
    assert [has_taps_along(c, target) for c in found] == [True]


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_what_is_infinite_stays_in_its_sums(case):
    x, w, g = operands(case, np.float32)
    x[0, 1, 0, 0], x[0, 0, -1, -1] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        got, want = tj.jit(slope_of(case, x, g))(w), expected_of(case, x, g)
    is_finite = np.isfinite(got)
    assert not is_finite.all()
    untouched = slope_of(case, np.where(np.isfinite(x), x, 0), g)(w)
    np.testing.assert_allclose(got[is_finite], untouched[is_finite], 1e-4, 1e-4)
    assert not np.isfinite(want[~is_finite]).any()


def test_many_filters_are_products():
    case = Case((2, 16, 9, 9), (16, 16, 3, 3), {"padding": 1})
    x, w, g = operands(case, np.float32)
    (kernel,) = tj.jit(slope_of(case, x, g)).lower(w).program.kernels
    assert not has_taps_along(convolution_of(kernel), host_target())
