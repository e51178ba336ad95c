"""Scatter, cumulative operations and sorts as Triton kernels, beside NumPy."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from tests.sampling import sampled
from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.externs import cumulative as cumulative_module
from tracejit.codegen.triton.externs import extern_kernel
from tracejit.codegen.triton.externs import sort as sort_module
from tracejit.ir.primitive import REGISTRY
from tracejit.kernels.kernel import Buffer, dense_strides

from .running import Guarded

RNG = np.random.default_rng(0)


def buffer_of(name, array):
    steps = tuple(s // array.itemsize for s in array.strides)
    return Buffer(name, array.dtype, array.shape, steps)


def run(interpreter, name, arrays, params, deterministic=False):
    """Return the result by Triton, the error words, and what was launched."""
    primitive = REGISTRY[name]
    avals = [buffer_of(f"in{k}", x) for k, x in enumerate(arrays)]
    shape, dtype = arrays[0].shape, arrays[0].dtype
    dtype = np.dtype(np.int64) if name == "argsort" else dtype
    out = Buffer("out", dtype, shape, dense_strides(shape))
    kernel = extern_kernel(primitive, params, avals, [out], deterministic)
    if kernel is None:
        return None
    values = {b.name: x for b, x in zip(avals, arrays, strict=True)}
    memory = {
        b.name: Guarded(b, values.get(b.name)) for b in (*avals, out, *kernel.workspace)
    }
    error = np.zeros(2, np.int64)
    for code in kernel.codes:
        found = [(memory[b.name].memory, memory[b.name].first) for b in code.buffers]
        done = interpreter.run(code, found + ([(error, 0)] if code.can_fail else []))
        if code.can_fail:
            error = done.pop()
        for b, array in zip(code.buffers, done, strict=True):
            memory[b.name].memory = array
    return memory["out"].array, error, kernel


def check(interpreter, name, arrays, params, rtol=0.0, deterministic=False):
    found, error, kernel = run(interpreter, name, arrays, params, deterministic)
    assert not error.any()
    want = np.asarray(REGISTRY[name].evaluate(arrays, params)[0])
    np.testing.assert_allclose(
        found.astype(want.dtype), want, rtol=rtol, atol=rtol, equal_nan=True
    )
    return kernel


# --- scatter ----------------------------------------------------------------------

FORMS = {
    "rows": ((5, 4), ((3,),), (0,), 0),
    "columns": ((5, 4), ((3,),), (1,), 0),
    "elements": ((5, 4), ((2, 3), (2, 3)), (0, 1), 0),
    "middle": ((3, 5, 4), ((2,),), (1,), 0),
    "batch": ((3, 5, 4), ((3, 2),), (1,), 1),
    "one place": ((5, 4), ((),), (0,), 0),
    "outer axes": ((3, 5, 4), ((6,), (6,)), (0, 2), 0),
}


def scatter_case(form, dtype, mode="raise"):
    shape, index_shapes, axes, batch = FORMS[form]
    x = (RNG.standard_normal(shape) * 4).astype(dtype)
    indices = [
        RNG.integers(-shape[a], shape[a], s)
        for a, s in zip(axes, index_shapes, strict=True)
    ]
    rest = [n for d, n in enumerate(shape) if d >= batch and d not in axes]
    updates = (RNG.standard_normal((*index_shapes[0], *rest)) * 4).astype(dtype)
    return [x, updates, *indices], {"axes": axes, "batch": batch, "mode": mode}


SCATTERS = itertools.product(FORMS, ["f4", "f8", "i4", "i8"], ["add", "set"])


@pytest.mark.parametrize(("form", "dtype", "op"), sampled(SCATTERS, 3))
def test_scatter(interpreter, form, dtype, op):
    arrays, params = scatter_case(form, dtype)
    rtol = 1e-5 if dtype == "f4" else 1e-12
    check(interpreter, "scatter", arrays, {**params, "op": op}, rtol)


@pytest.mark.parametrize("op", ["max", "min"])
def test_extrema_of_integers(interpreter, op):
    arrays, params = scatter_case("rows", "i4")
    check(interpreter, "scatter", arrays, {**params, "op": op})


def test_the_last_of_several_updates_stays(interpreter):
    x, index = np.zeros((4, 3), np.float32), RNG.integers(0, 4, 3000)
    updates = RNG.standard_normal((3000, 3)).astype(np.float32)
    params = {"axes": (0,), "batch": 0, "mode": "raise", "op": "set"}
    kernel = check(interpreter, "scatter", [x, updates, index], params)
    assert [b.name for b in kernel.workspace] == ["last"]


def test_clipped_indices(interpreter):
    arrays, params = scatter_case("rows", "f4", "clip")
    arrays[2] = np.array([-7, 2, 99])
    check(interpreter, "scatter", arrays, {**params, "op": "set"})


@pytest.mark.parametrize("op", ["add", "set"])
def test_indices_out_of_range_are_reported_and_nothing_is_written_there(
    interpreter, op
):
    arrays, params = scatter_case("columns", "f4")
    arrays[2] = np.array([1, 4, 2])
    found, error, _ = run(interpreter, "scatter", arrays, {**params, "op": op})
    assert error[0] == 1 | 1 << 32
    assert error[1] == 4
    np.testing.assert_array_equal(found[:, [0, 3]], arrays[0][:, [0, 3]])


def test_operands_of_other_strides(interpreter):
    arrays, params = scatter_case("rows", "f4")
    arrays[0] = np.asfortranarray(arrays[0])
    arrays[1] = arrays[1][::-1]
    arrays[2] = np.repeat(arrays[2], 2)[::2]
    check(interpreter, "scatter", arrays, {**params, "op": "add"}, 1e-6)


IN_ORDER = [
    *((form, "f4", "add") for form in FORMS),
    *(("elements", dtype, "mul") for dtype in ("f8", "i4", "f2")),
    *(("batch", "f4", op) for op in ("mul", "max", "min")),
    ("rows", "f2", "add"),
    ("rows", "i1", "add"),
]


@pytest.mark.parametrize(("form", "dtype", "op"), IN_ORDER)
def test_updates_in_order_give_numpys_bits(interpreter, form, dtype, op):
    arrays, params = scatter_case(form, dtype)
    params["op"] = op
    kernel = check(interpreter, "scatter", arrays, params, deterministic=True)
    assert "atomic" not in "".join(code.source for code in kernel.codes)


def test_many_updates_of_few_places(interpreter, monkeypatch):
    monkeypatch.setattr(sort_module, "_TILE", 64)
    x, index = np.zeros((4, 2), np.float32), RNG.integers(-4, 4, 150)
    updates = RNG.standard_normal((150, 2)).astype(np.float32)
    params = {"axes": (0,), "batch": 0, "mode": "raise", "op": "add"}
    check(interpreter, "scatter", [x, updates, index], params, deterministic=True)


def test_indices_out_of_range_take_no_part(interpreter):
    arrays, params = scatter_case("columns", "f4")
    arrays[2] = np.array([1, 4, 1])
    params["op"] = "mul"
    found, error, _ = run(interpreter, "scatter", arrays, params)
    assert (error[0], error[1]) == (1 | 1 << 32, 4)
    want = arrays[0].copy()
    want[:, 1] *= arrays[1][0]
    want[:, 1] *= arrays[1][2]
    np.testing.assert_array_equal(found, want)


def test_integers_are_added_atomically_as_their_order_is_nothing(interpreter):
    arrays, params = scatter_case("rows", "i4")
    params["op"] = "add"
    kernel = check(interpreter, "scatter", arrays, params, deterministic=True)
    assert "atomic_add" in kernel.codes[-1].source


def test_what_no_kernel_scatters_is_left_to_the_host(interpreter):
    arrays, params = scatter_case("rows", "c8")
    assert run(interpreter, "scatter", arrays, {**params, "op": "add"}) is None


# --- cumulative -------------------------------------------------------------------


CUMULATIVE = itertools.product(
    ["cumsum", "cumprod", "cummax", "cummin"],
    ["f4", "f8", "i4", "i8"],
    [0, 1],
    [False, True],
)


@pytest.mark.parametrize(("name", "dtype", "axis", "reverse"), sampled(CUMULATIVE, 3))
def test_cumulative(interpreter, name, dtype, axis, reverse):
    x = (RNG.standard_normal((3, 7)) * 2).astype(dtype)
    rtol = 1e-5 if dtype == "f4" else 1e-12
    check(interpreter, name, [x], {"axis": axis, "reverse": reverse}, rtol)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_nan_stays(interpreter, name):
    x = np.array([[1.0, np.nan, 3.0, 0.0], [np.inf, -np.inf, 2.0, 5.0]])
    check(interpreter, name, [x], {"axis": 1, "reverse": False})


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_several_blocks(interpreter, reverse, monkeypatch):
    monkeypatch.setattr(cumulative_module, "_BLOCK", 8)
    x = RNG.standard_normal((3, 37)).astype(np.float32)
    params = {"axis": 1, "reverse": reverse}
    kernel = check(interpreter, "cumsum", [x], params, 1e-5)
    assert len(kernel.codes) == 1


@pytest.mark.parametrize("name", ["cumsum", "cummax"])
@pytest.mark.parametrize("reverse", [False, True])
def test_long_rows_are_cut(interpreter, name, reverse, monkeypatch):
    monkeypatch.setattr(cumulative_module, "_BLOCK", 8)
    monkeypatch.setattr(cumulative_module, "_BUSY", 4)
    x = RNG.standard_normal((2, 8 * 21 + 3))
    kernel = check(interpreter, name, [x], {"axis": 1, "reverse": reverse}, 1e-12)
    assert [code.name for code in kernel.codes] == [f"{name}_totals", name]


def test_halves_are_scanned_in_float32(interpreter):
    x = RNG.standard_normal((2, 9)).astype(ml_dtypes.bfloat16)
    params = {"axis": 1, "reverse": False}
    found, *_ = run(interpreter, "cumsum", [x], params)
    want = np.cumsum(x.astype(np.float32), axis=1)
    np.testing.assert_allclose(found.astype(np.float32), want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint16])
def test_narrow_integers_are_scanned(interpreter, name, dtype):
    x = RNG.integers(0, 100, (2, 9)).astype(dtype)
    check(interpreter, name, [x], {"axis": 1, "reverse": False})


# --- sort -------------------------------------------------------------------------

VALUES = {
    "f4": np.array(
        [
            [0.0, -0.0, np.nan, 1.0, -np.inf, 2.5, -3.0],
            [np.inf, 1, 1, -1, 0, 3, np.nan],
        ],
        np.float32,
    ),
    "f2": RNG.standard_normal((3, 9)).astype(np.float16),
    "i4": RNG.integers(-(2**31), 2**31, (3, 9)).astype(np.int32),
    "u4": RNG.integers(0, 2**32, (3, 9)).astype(np.uint32),
    "i1": RNG.integers(-5, 5, (3, 9)).astype(np.int8),
    "f8": np.array(
        [
            [0.0, -0.0, np.nan, 1.0, -np.inf, 1e-300, 1.0 + 2**-52],
            [-1e300, 1, 1, -1 - 2**-52, 0, -1, np.nan],
        ]
    ),
    "i8": RNG.integers(-(2**63), 2**63, (3, 9)),
    "u8": RNG.integers(0, 2**64, (3, 9), dtype=np.uint64),
}


SORTS = itertools.product(VALUES, ["sort", "argsort"], [0, 1])


@pytest.mark.parametrize(("dtype", "name", "axis"), sampled(SORTS, 3))
def test_sorts(interpreter, dtype, name, axis):
    check(interpreter, name, [VALUES[dtype]], {"axis": axis})


def test_equal_elements_stay_in_order(interpreter):
    x = np.array([[3, 1, 3, 1, 2, 3, 1, 1, 2, 3, 3]], np.int32)
    check(interpreter, "argsort", [x], {"axis": 1})


@pytest.mark.parametrize(
    ("dtype", "name", "axis"),
    [("f8", "argsort", 1), ("f8", "sort", 0), ("i4", "sort", 1), ("u8", "argsort", 0)],
)
def test_rows_of_several_tiles(interpreter, dtype, name, axis, monkeypatch):
    for name_of, value in {"_LONGEST": 16, "_LONGEST_WIDE": 16, "_TILE": 8}.items():
        monkeypatch.setattr(sort_module, name_of, value)
    x = np.resize(VALUES[dtype], (2, 38))  # many are equal
    x[1] = np.sort(x[1])[::-1]
    kernel = check(interpreter, name, [x.T if axis == 0 else x], {"axis": axis})
    assert [code.name for code in kernel.codes] == [
        *("sort_tiles", "sort_merge_8", "sort_merge_16", "sort_merge_32", name),
    ]


@pytest.mark.parametrize("length", [17, 24, 31])
def test_runs_that_end_before_others(interpreter, length, monkeypatch):
    monkeypatch.setattr(sort_module, "_LONGEST", 8)
    monkeypatch.setattr(sort_module, "_TILE", 8)
    x = RNG.integers(0, 9, length).astype(np.int32)
    check(interpreter, "argsort", [x], {"axis": 0})


def test_what_no_kernel_sorts_is_left_to_the_host(interpreter):
    assert run(interpreter, "sort", [np.ones((2, 3), complex)], {"axis": 1}) is None


DTYPES = {"bf16": ml_dtypes.bfloat16}
BUILT = {
    "scatter": (
        [("f4", (64, 8)), ("f4", (30, 8)), ("i8", (30,))],
        {"axes": (0,), "batch": 0, "mode": "raise", "op": "set"},
    ),
    "scatter in order": (
        [("bf16", (64, 8)), ("bf16", (30, 8)), ("i8", (30,))],
        {"axes": (0,), "batch": 0, "mode": "raise", "op": "mul"},
    ),
    "cummax": ([("f4", (2, 1 << 17))], {"axis": 1, "reverse": True}),
    "cumsum": ([("f8", (300, 1000))], {"axis": 0, "reverse": False}),
    "argsort": ([("f4", (100, 1000))], {"axis": 1}),
    "sort": ([("f8", (20000,))], {"axis": 0}),
}


# A sort of int64 compiles for seconds.
SLOW = [pytest.param(name, marks=pytest.mark.triton) for name in ("argsort", "sort")]


@pytest.mark.parametrize("name", [*(n for n in BUILT if "sort" not in n), *SLOW])
def test_they_compile_without_spills(name):
    shapes, params = BUILT[name]
    avals = [
        Buffer(
            f"in{k}", np.dtype(DTYPES.get(dtype, dtype)), shape, dense_strides(shape)
        )
        for k, (dtype, shape) in enumerate(shapes)
    ]
    dtype = np.dtype(np.int64) if name == "argsort" else avals[0].dtype
    out = Buffer("out", dtype, avals[0].shape, avals[0].strides)
    kernel = extern_kernel(REGISTRY[name.split()[0]], params, avals, [out])
    for code in kernel.codes:
        assert build(code, "sm_90").facts.spilled in (0, None)
