"""Programs with steps that are functions of our own: nothing calls back into Python."""

from collections.abc import Callable

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.llvm.program import ProgramCode, emit_program
from tracejit.codegen.llvm.target import host_target
from tracejit.program.program import Extern, Program
from tracejit.runtime.cpu.externs import resolve_loop

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(40, 12)).astype("f4")
WORDS = RNG.integers(0, 40, (30, 7))
WEIGHTS = np.arange(1, 6, dtype="f4")[:, None]


def lowered(f: Callable[..., object], *args: np.ndarray) -> tuple[Program, ProgramCode]:
    program = tj.jit(f).lower(*args).program
    return program, emit_program(program, host_target(), resolve_loop)


def bins(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.zeros((40, 12), "f4")
    np.add.at(out, index, values)
    return out


def mean_of_words(table: np.ndarray) -> np.ndarray:
    return np.sum(np.mean(table[WORDS], axis=1) ** 2)


@pytest.mark.parametrize("f", [np.cumsum, np.maximum.accumulate])
def test_cumulative_operations_run_natively(f: Callable[..., np.ndarray]) -> None:
    _, code = lowered(f, TABLE[0])
    assert not code.needs_host


@pytest.mark.parametrize("dtype", ["i8", "i4", "u4"])
def test_sums_into_bins_copy_nothing(dtype: str) -> None:
    values, words = TABLE[WORDS].reshape(210, 12), WORDS.ravel().astype(dtype)
    program, code = lowered(bins, words, values)
    (step,) = program.steps
    assert isinstance(step, Extern)
    zeros = program.by_name[step.inputs[0]]
    assert zeros.strides == (0, 0)  # of one number: the result is filled, not copied
    assert program.arena_bytes == 0
    assert not code.needs_host
    np.testing.assert_array_equal(tj.jit(bins)(words, values), bins(words, values))


def test_the_gradient_of_rows_of_a_table_is_a_scatter() -> None:
    program, code = lowered(tj.grad(mean_of_words), TABLE)
    externs = [step for step in program.steps if isinstance(step, Extern)]
    assert [step.primitive.name for step in externs] == ["scatter"]
    assert program.by_name[externs[0].inputs[0]].strides == (0, 0)
    assert not code.needs_host


def test_errors_name_the_line_and_the_index() -> None:
    index = WORDS.ravel().copy()
    index[100] = 40
    values = TABLE[WORDS].reshape(210, 12)
    message = "index 40 is out of bounds for axis 0 with size 40\n.*test_programs.py"
    with pytest.raises(IndexError, match=message):
        tj.jit(bins)(index, values)


def test_a_sum_of_few_rows_needs_no_scratch() -> None:
    _, code = lowered(lambda table: np.mean(table[WORDS], axis=1), TABLE)
    (text,) = code.kernels.values()
    assert text.count("%scratch") == 1  # the parameter
    # Each index is checked once, and again where a bad one is looked for: for whole
    # vectors of columns, and for the rest.
    columns, lanes = TABLE.shape[1], host_target().lanes(32)
    parts = (columns >= lanes) + (columns % lanes > 0)
    assert text.count("icmp uge i64") == parts * (WORDS.shape[1] + 1)


@pytest.mark.parametrize(
    "f",
    [
        np.sort,
        lambda x: np.argpartition(x, 3, axis=0)[:3],
        lambda x: np.partition(x, 3)[:, 3],
        lambda x: np.median(x, axis=0),
        lambda x: np.percentile(x, [10, 90], axis=1),
        lambda x: np.lexsort((x[0], x[1] > 0)),
    ],
)
def test_sorts_and_what_is_built_on_them_run_natively(
    f: Callable[..., np.ndarray],
) -> None:
    _, code = lowered(f, TABLE)
    assert not code.needs_host
    np.testing.assert_allclose(tj.jit(f)(TABLE), f(TABLE), rtol=1e-6)


def test_a_sort_and_its_gradient_order_once() -> None:
    def f(table: np.ndarray) -> np.ndarray:
        return np.sum(np.sort(table, axis=0)[:5] * WEIGHTS)

    program, code = lowered(tj.value_and_grad(f), TABLE)
    externs = [s.primitive.name for s in program.steps if isinstance(s, Extern)]
    assert externs == ["argsort", "scatter"]
    assert not code.needs_host
    value, gradient = tj.jit(tj.value_and_grad(f))(TABLE)
    order = np.argsort(TABLE, axis=0)[:5]
    want = np.zeros_like(TABLE)
    np.put_along_axis(want, order, np.broadcast_to(WEIGHTS, order.shape), axis=0)
    np.testing.assert_allclose(gradient, want)
    np.testing.assert_allclose(value, f(TABLE), rtol=1e-5)
