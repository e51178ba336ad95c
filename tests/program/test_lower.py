"""Programs of functions whose lowering is easily got wrong."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.program.program import Copy


@pytest.mark.parametrize("shape", [(1, 7, 7), (7, 1, 7), (7, 7, 1), (1, 1), (1, 5)])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_reductions_over_axes_of_one_element(shape: tuple[int, ...], axis: int | None):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for function in (np.sum, np.max):
        got = tj.jit(lambda x, f=function: f(x, axis=axis))(x)
        np.testing.assert_array_equal(got, function(x, axis=axis), strict=True)


def test_reductions_of_transposed_rows():
    x = np.arange(17, dtype=np.uint8)[:, None]
    assert tj.jit(lambda x: np.sum(x.T))(x) == x.sum()


def test_reductions_of_what_is_the_same_along_a_kept_axis():
    x = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])

    def positions(x):
        return -np.argmax(np.broadcast_to(x[:, :, None], (2, 5, 3)), axis=1)

    np.testing.assert_array_equal(tj.jit(positions)(x), positions(x), strict=True)


def test_reductions_of_nothing_for_nobody():
    x = np.zeros((3, 0))

    def sums(x):
        return np.exp(np.sum(x, axis=0))

    np.testing.assert_array_equal(tj.jit(sums)(x), sums(x), strict=True)


def test_scores_of_the_shape_of_the_product_that_they_are_an_operand_of():
    """As many keys as they are wide: yet rows of scores are not rows of the product."""

    def attention(q, k, v, g):
        s = q @ k.T
        e = np.exp(s - s.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        dp = g @ v.T
        ds = p * (dp - (dp * p).sum(axis=1, keepdims=True))
        return p @ v, p.T @ g, ds @ k, ds.T @ q

    args = np.random.default_rng(0).normal(size=(4, 16, 16))
    for got, want in zip(tj.jit(attention)(*args), attention(*args), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_a_result_of_a_call_has_one_output():
    """What a nested function gives is stored where it is computed."""
    inner = tj.jit(lambda x: np.exp(x) + 1)
    x = np.ones(5)
    program = tj.jit(lambda x: inner(x)).lower(x).program
    assert [b.name for b in program.buffers if b.index >= 0] == [
        *program.inputs,
        *program.outputs,
    ]
    np.testing.assert_array_equal(tj.jit(lambda x: inner(x))(x), np.exp(x) + 1)


def rows_of_columns(x):
    return x.T.reshape(-1)


def repeated(x):
    return np.repeat(x, 3, axis=0)


def two_orders(x):
    return x.T.reshape(-1), x.T.reshape(2, -1), np.concatenate([x.T.reshape(-1)] * 2)


@pytest.mark.parametrize(
    ("function", "copies"), [(rows_of_columns, 1), (repeated, 1), (two_orders, 2)]
)
def test_reshapes_that_copy_write_to_the_result(function, copies: int) -> None:
    x = np.random.default_rng(2).normal(size=(40, 30))
    program = tj.jit(function).lower(x).program
    assert sum(isinstance(s, Copy) for s in program.steps) == copies
    assert program.arena_bytes == 0
    got, want = (f(x) for f in (tj.jit(function), function))
    if isinstance(want, np.ndarray):
        got, want = (got,), (want,)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_results_that_are_one_value():
    x = np.arange(4.0)

    def twice(x):
        y = x * 2
        return y, y, y.reshape(2, 2)

    for got, want in zip(tj.jit(twice)(x), twice(x), strict=True):
        np.testing.assert_array_equal(got, want, strict=True)
