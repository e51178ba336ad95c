"""Choices of sites: which there are, in which order; each computes the same."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from tests.sampling import in_turn
from tracejit.codegen.triton.blocks import SMALLEST
from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.choice import (
    DESCRIPTOR,
    POINTER,
    VECTOR,
    Choice,
    choice_from,
)
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import emit_site, sites_of
from tracejit.codegen.triton.products import Product
from tracejit.codegen.triton.ranking import MOST, candidates, first, is_possible
from tracejit.errors import TracejitError

from .running import check, chosen, runs_of
from .test_kernels import rows_of, softmax, zeros
from .test_streams import attention

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
SHARED = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}


def site_of(function, *args, arch="sm_90", odd=(), **tuning):
    (run,) = runs_of(function, *args)
    (site,) = sites_of(*run, Tuning(arch=arch, **tuning), odd)
    return site


def product(m, k, n, dtype=BF16, **about):
    return site_of(
        np.matmul, zeros(m, k, dtype=dtype), zeros(k, n, dtype=dtype), **about
    )


def ranked(site):
    return candidates(site, emit_site(site).codes)


# --- each form computes the same


def dense(x, w, b):
    return np.tanh(2 * x @ w + b)


def turned(x, w):
    return x.T @ w


def right_turned(x, w):
    return x @ w.T


def with_itself(x):
    return x @ x


def squares(x):
    return x.T @ x


def two_results(x, w):
    y = x @ w
    return y, y * 2


PRODUCTS = {
    "with itself": (with_itself, [(36, 36)]),
    "squares": (squares, [(36, 44)]),
    "two results": (two_results, [(36, 44), (44, 36)]),
    "whole": (np.matmul, [(64, 48), (48, 48)]),
    "tails": (np.matmul, [(70, 44), (44, 36)]),
    "turned": (turned, [(44, 72), (44, 36)]),
    "right turned": (right_turned, [(70, 44), (36, 44)]),
    "around": (dense, [(70, 44), (44, 36), (36,)]),
    "stack": (np.matmul, [(3, 33, 44), (3, 44, 36)]),
    "rows": (rows_of(softmax), [(70, 44), (44, 36), (36,)]),
}
WAYS = {
    "descriptors": {"form": DESCRIPTOR},
    "persistent": {"programs": 2},
    "both": {"form": DESCRIPTOR, "programs": 2, "group": 2},
}


@pytest.mark.parametrize(("name", "way"), in_turn(PRODUCTS, [*WAYS]))
def test_forms_of_products(interpreter, name, way):
    function, shapes = PRODUCTS[name]
    (run,) = runs_of(function, *(zeros(*s) for s in shapes))
    blocks = {"BLOCK_M": 32, "BLOCK_N": 64 if name == "rows" else 16, "BLOCK_K": 16}
    choices = chosen(*run, Tuning(), blocks=blocks, parts=1, **WAYS[way])
    close = {"rtol": 1e-4, "atol": 1e-4}
    (code,) = check(interpreter, *run, choices=choices, **close).codes
    if WAYS[way].get("form") == DESCRIPTOR:
        count = {"around": 2, "two results": 4}.get(name, 3)
        assert code.source.count("make_tensor_descriptor") == count
    if "programs" in WAYS[way]:
        assert code.grid == 2 and "in range(pid, BLOCKS, PROGRAMS)" in code.source


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(F64, 1e-12), (F16, 1e-2), (BF16, 5e-2)]
)
def test_descriptors_of_other_dtypes(interpreter, dtype, tolerance):
    (run,) = runs_of(np.matmul, zeros(20, 40, dtype=dtype), zeros(40, 24, dtype=dtype))
    choices = chosen(*run, Tuning(), form=DESCRIPTOR, parts=1)
    close = {"rtol": tolerance, "atol": tolerance}
    (code,) = check(interpreter, *run, choices=choices, **close).codes
    assert code.source.count("make_tensor_descriptor") == 3


def test_parts_of_sums_with_descriptors(interpreter):
    (run,) = runs_of(np.matmul, zeros(20, 64), zeros(64, 24))
    choices = chosen(*run, Tuning(), form=DESCRIPTOR, parts=4)
    partial, _ = check(interpreter, *run, choices=choices, atol=1e-4).codes
    assert partial.source.count("make_tensor_descriptor") == 3


@pytest.mark.parametrize("dtype", [F32, F64, BF16])
@pytest.mark.parametrize(("m", "n"), [(2, 70), (5, 33), (50, 3), (3, 2)])
def test_few_rows_or_columns_are_not_padded(interpreter, dtype, m, n):
    args = zeros(m, 45, dtype=dtype), zeros(45, n, dtype=dtype), zeros(n, dtype=dtype)
    (run,) = runs_of(dense, *args)
    few, many = ("M", "N") if m <= n else ("N", "M")
    blocks = {f"BLOCK_{few}": 8, f"BLOCK_{many}": 32, "BLOCK_K": 16}
    choices = chosen(*run, Tuning(), blocks=blocks, form=VECTOR, parts=1)
    tolerance = {F32: 1e-4, F64: 1e-12, BF16: 5e-2}[dtype]
    close = {"rtol": tolerance, "atol": tolerance}
    (code,) = check(interpreter, *run, choices=choices, **close).codes
    assert "tl.dot" not in code.source and "tl.fma" in code.source


def test_few_rows_in_a_stack_in_parts(interpreter):
    (run,) = runs_of(np.matmul, zeros(3, 4, 64), zeros(3, 64, 20))
    choices = chosen(*run, Tuning(), form=VECTOR, parts=2)
    assert len(check(interpreter, *run, choices=choices, atol=1e-4).codes) == 2


def test_all_choices_of_a_product_agree(interpreter):
    (run,) = runs_of(dense, zeros(6, 64), zeros(64, 20), zeros(20))
    (site,) = sites_of(*run, Tuning())
    for choice in ranked(site):
        check(interpreter, *run, choices={site.key: choice}, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("function", "args", "tuning"),
    [
        (softmax, [zeros(9, 70)], {}),
        (softmax, [zeros(1, 100)], {"persistent": 32, "loop": 32, "tile": 32}),
        (lambda x: np.exp(x), [zeros(70, 30)], {}),
        (lambda x: x.T + 1, [zeros(40, 50)], {}),
        (lambda x: x.sum(), [zeros(400)], {"split": 16, "processors": 8}),
        (lambda x: x.sum(axis=0), [zeros(90, 30)], {"split": 64, "processors": 8}),
    ],
)
def test_all_choices_of_other_kernels_agree(interpreter, function, args, tuning):
    (run,) = runs_of(function, *args)
    (site,) = sites_of(*run, Tuning(**tuning))
    found = ranked(site)
    assert 3 <= len(found) <= MOST
    for choice in found:
        assert is_possible(site, choice)
        choices = {site.key: choice}
        check(interpreter, *run, choices=choices, rtol=1e-5, atol=1e-5, **tuning)


def test_choices_of_attention_agree(interpreter):
    (run,) = runs_of(attention, zeros(40, 5), zeros(33, 5), zeros(33, 3))
    (site,) = sites_of(*run, Tuning())
    found = ranked(site)
    assert len({(c.blocks["BLOCK_M"], c.blocks["BLOCK_K"]) for c in found}) > 3
    assert len({(c.blocks["BLOCK_N"], c.blocks["BLOCK_D"]) for c in found}) == 1
    for choice in found[1::5]:
        check(interpreter, *run, choices={site.key: choice}, rtol=1e-5, atol=1e-5)


def test_choices_of_sums_split_them_otherwise():
    site = site_of(lambda x: x.sum(), zeros(1 << 20))
    grids = {len(emit_site(site, c).codes): c for c in ranked(site)}
    assert set(grids) == {1, 2}


# --- which there are


SIZES = [
    (8192, 8192, 8192),
    (1000, 500, 300),
    (4, 4096, 4096),
    (64, 32768, 64),
    (2, 2, 2),
]


@pytest.mark.parametrize("dtype", [BF16, F32, F64])
@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("size", SIZES)
def test_choices_are_few_possible_and_different(size, arch, dtype):
    site = product(*size, dtype=dtype, arch=arch)
    found = ranked(site)
    assert found[0] == first(site) and 1 <= len(found) <= MOST
    assert len(set(found)) == len(found)
    assert all(is_possible(site, choice) for choice in found)
    assert found == ranked(site)


def test_large_products_have_large_blocks():
    choice = first(product(8192, 8192, 8192))
    assert choice.blocks["BLOCK_M"] * choice.blocks["BLOCK_N"] == 128 * 256
    assert (choice.form, choice.parts) == (POINTER, 1)


def test_small_products_have_programs_for_all_processors():
    site = product(1024, 1024, 1024)
    assert emit_site(site).codes[0].grid >= 128
    assert first(product(64, 32768, 64)).parts > 16


def test_few_rows_of_float32_are_vectors():
    assert first(product(4, 4096, 4096, F32)).form == VECTOR
    assert first(product(4, 4096, 4096, BF16)).form == POINTER
    assert first(product(64, 4096, 4096, F32)).form == POINTER


def test_descriptors_are_tried_where_there_are_some():
    def has(site):
        return any(c.form == DESCRIPTOR for c in ranked(site))

    assert has(product(4096, 4096, 4096))
    assert not has(product(4096, 4096, 4096, arch="sm_80"))
    assert not has(product(4096, 4096, 4096, odd={"x1", "x2"}))
    assert has(product(4096, 4096, 4096, odd={"x1"}))  # for the other operand
    assert not has(product(4096, 4097, 4097))  # rows that are no lines
    assert not has(product(4096, 4096, 4096, F32))
    assert has(product(4096, 4096, 4096, F32, tf32=True))


def test_operands_that_are_tiles():
    site = product(64, 48, 32, odd={"x2"})
    whole = Product(site.piece, site.odd)
    assert whole.tile(whole.op.lhs).order == ("m", "k")
    assert whole.tile(whole.op.rhs) is None
    around = Product(site_of(dense, zeros(70, 44), zeros(44, 36), zeros(36)).piece)
    assert around.tile(around.op.lhs) is None  # computed
    assert around.tile(around.op.rhs).order == ("k", "n")


def test_programs_that_stay_are_tried_where_blocks_are_many():
    many = {c.programs for c in ranked(product(8192, 8192, 1024))}
    assert {0, 132} <= many
    assert {c.programs for c in ranked(product(256, 256, 256))} == {0}


def test_groups_are_tried_where_rows_are_many():
    assert {c.group for c in ranked(product(8192, 8192, 1024))} == {4, 8, 16}
    assert {c.group for c in ranked(product(512, 8192, 1024))} == {8}


def test_columns_of_rows_that_are_reduced_stay_whole():
    site = site_of(
        rows_of(softmax), *(zeros(*s) for s in ((70, 41), (41, 130), (130,)))
    )
    found = ranked(site)
    assert {c.blocks["BLOCK_N"] for c in found} == {256}
    assert not is_possible(site, replace(found[0], parts=2))
    assert not is_possible(
        site, replace(found[0], blocks={**found[0].blocks, "BLOCK_N": 64})
    )


def test_impossible_choices_are_told():
    site = product(64, 64, 64)
    good = first(site)
    assert is_possible(site, good)
    for change in (
        {"blocks": {}},
        {"blocks": {**good.blocks, "BLOCK_K": SMALLEST // 2}},
        {"parts": 3},
        {"group": 0},
        {"num_warps": 0},
    ):
        assert not is_possible(site, replace(good, **change))
    plain = site_of(softmax, zeros(9, 70))
    assert not is_possible(plain, replace(ranked(plain)[0], form=VECTOR))


def test_independent_parts_have_no_choices():
    def updates(x, y):
        return x + 1, y.sum(axis=1)

    kernels = runs_of(updates, zeros(8, 8), zeros(40, 70))
    assert all(len(sites_of(*run)) <= 1 for run in kernels)


def test_choices_as_data():
    choice = Choice({"BLOCK_N": 64, "BLOCK_M": 32}, 8, 3, DESCRIPTOR, programs=132)
    data = choice.as_data()
    assert list(data["blocks"]) == ["BLOCK_M", "BLOCK_N"] and "parts" not in data
    assert choice_from(data) == choice
    with pytest.raises(TracejitError, match="there is no 'sped' in a choice"):
        choice_from({"sped": 1})


# --- compiled


def built(site, choice):
    return [build(code, site.tuning.arch) for code in emit_site(site, choice).codes]


def form_of(site, form, **about):
    found = (c for c in ranked(site) if c.form == form)
    return next(
        c for c in found if all(bool(getattr(c, k)) == v for k, v in about.items())
    )


def test_descriptors_are_copied_by_hardware():
    site = product(4096, 512, 4096)
    (one,) = built(site, form_of(site, DESCRIPTOR, programs=True))
    assert "cp.async.bulk.tensor" in one.ptx and "wgmma.mma_async" in one.ptx
    assert one.global_scratch > 0 and one.facts.spilled in (0, None)


def test_the_default_runs_on_matrix_units():
    site = product(4096, 512, 4096)
    (one,) = built(site, None)
    assert "wgmma.mma_async" in one.ptx and one.facts.spilled in (0, None)
    assert "cp.async.bulk" not in one.ptx and one.global_scratch == 0


def test_vectors_are_loaded_as_vectors():
    site = product(4, 1024, 1024, F32)
    (one,) = built(site, form_of(site, VECTOR, programs=False))
    assert "ld.global.v4" in one.ptx or "cp.async.cg" in one.ptx
    assert one.facts.spilled in (0, None) and "fma.rn.f32" in one.ptx


def test_tf32_is_asked_for():
    (one,) = built(product(256, 256, 256, F32, tf32=True), None)
    assert "tf32" in one.ptx and "mma" in one.ptx


CASES = {
    "square": (np.matmul, [(2048, 2048), (2048, 2048)]),
    "right turned": (right_turned, [(4096, 1024), (1024, 1024)]),
    "around": (dense, [(1000, 768), (768, 3072), (3072,)]),
    "few rows": (np.matmul, [(4, 4096), (4096, 4096)]),
    "long sum": (np.matmul, [(64, 32768), (32768, 64)]),
    "stack": (np.matmul, [(12, 512, 64), (12, 64, 512)]),
    "rows": (rows_of(softmax), [(4096, 512), (512, 250), (250,)]),
}


# Bytes a thread that the default may spill: ptxas keeps to 128 or 96 registers there,
# of 255, for the sake of more programs at a time.
SPILLED = {("right turned", "sm_80", F32): 16, ("right turned", "sm_100", F32): 24}


@pytest.mark.triton
@pytest.mark.parametrize("dtype", [BF16, F32])
@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("name", CASES)
def test_all_choices_build(name, arch, dtype):
    """The default spills what is listed; no choice needs more memory than there is."""
    function, shapes = CASES[name]
    site = site_of(function, *(zeros(*s, dtype=dtype) for s in shapes), arch=arch)
    for k, choice in enumerate(ranked(site)):
        for one in built(site, choice):
            assert one.facts.shared <= SHARED[arch], choice
            most = SPILLED.get((name, arch, dtype), 0)
            assert k or (one.facts.spilled or 0) <= most, choice
