"""Transposed arrays are read by whole cache lines, with their values."""

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set
from tracejit.codegen.llvm.strips import transposed
from tracejit.codegen.llvm.text import Emitter

RNG = np.random.default_rng(0)
SHAPES = [(16, 16), (17, 19), (7, 100), (130, 71)]
DTYPES = ["f4", "f8", "i2", "?", "f2", "c16", "u1"]
FUNCTIONS = {
    "copy": lambda x: x.T.copy(),
    "computed": lambda x: np.add(x.T, x.T, order="C"),
    "with rows": lambda x: x.T + x.ravel().reshape(x.shape[::-1]),
    "reversed rows": lambda x: x[::-1].T.copy(),
    "reversed columns": lambda x: np.add(x[:, ::-1].T, x.T, order="C"),
    "turned": lambda x: np.add(np.rot90(x), np.rot90(x), order="C"),
    "raveled": lambda x: np.ravel(x.T),
}
LONG = {
    "last first": lambda x: x.transpose(2, 0, 1).copy(),
    "first last": lambda x: x.transpose(1, 2, 0) * 2,
    "ends": lambda x: np.swapaxes(x, 0, 2) + 1,
    "matrices": lambda x: x.transpose(0, 2, 1) * x.transpose(0, 2, 1),
}


def arrays(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (RNG.normal(size=shape) * 9).astype(dtype)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_numpys(dtype: str, isa: str) -> None:
    with instruction_set(isa):
        for name in FUNCTIONS if dtype == "f4" else ("copy", "reversed columns"):
            fn = FUNCTIONS[name]
            compiled = tj.jit(fn)
            for shape in SHAPES:
                x = arrays(shape, dtype)
                np.testing.assert_array_equal(compiled(x), fn(x), err_msg=name)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", LONG)
def test_axes_in_any_order_on_any_threads(name: str, threads: int) -> None:
    with tj.config.override(threads=threads, share_from=0):
        for shape in ((5, 33, 40), (40, 3, 50), (70, 20, 2)):
            x = arrays(shape, "f4")
            got = tj.jit(LONG[name])(x)
            np.testing.assert_array_equal(got, LONG[name](x))


def test_what_is_reduced_is_read_by_strips_too() -> None:
    x, y = arrays((90, 45), "f8"), arrays((45, 90), "f8")
    got = tj.jit(lambda x, y: ((x.T * y).max(1), (x.T + y).min(0)))(x, y)
    np.testing.assert_array_equal(got[0], (x.T * y).max(1))
    np.testing.assert_array_equal(got[1], (x.T + y).min(0))


def test_what_lies_as_it_is_read_is_not_transposed() -> None:
    x = arrays((130, 71), "f4")
    for fn in (lambda x: x.T + x.T, lambda x: x.T[::-1] + 1, lambda x: np.rot90(x) * 2):
        compiled = tj.jit(fn).lower(x).compile()
        text = compiled.as_text()
        assert "masked.gather" not in text
        assert "masked.scatter" not in text
        assert compiled.executable.interface.arena_bytes < 16 * 71 * 4  # no strip
        np.testing.assert_array_equal(tj.jit(fn)(x), fn(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_gathered(name: str) -> None:
    x = arrays((130, 71), "f4")
    text = tj.jit(FUNCTIONS[name]).lower(x).compile().as_text()
    assert "masked.gather" not in text
    assert "shufflevector" in text


def test_a_copy_has_no_strip_between() -> None:
    x = arrays((512, 512), "f4")
    computed = (lambda x: x.T.copy()), (lambda x: np.add(x.T, 1, order="C"))
    copy, sum_ = (tj.jit(fn).lower(x).compile().executable for fn in computed)
    strip = 16 * 512 * 4
    assert sum_.interface.arena_bytes - copy.interface.arena_bytes >= strip


def test_few_columns_of_many_rows_are_gathered_as_before() -> None:
    x = arrays((20_000, 20), "f8")
    fn = FUNCTIONS["computed"]
    np.testing.assert_array_equal(tj.jit(fn)(x), fn(x))


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_squares_are_transposed_by_exchanges(side: int) -> None:
    em = Emitter({}, {})
    names = transposed(em, "float", [f"%r{k}" for k in range(side)])
    assert len(set(names)) == side
    assert sum("shufflevector" in line for line in em.lines) == side * (
        side.bit_length() - 1
    )
