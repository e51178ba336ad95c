"""`sliding_window_view`: a view as in NumPy, and one kernel with what reads it."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import check_grads

windows = np.lib.stride_tricks.sliding_window_view
RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "f8") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


FUNCTIONS = {
    "moving sums": lambda x: windows(x, 5, axis=0).sum(-1),
    "squares": lambda x: windows(x, (3, 2)).max((-2, -1)),
    "twice along an axis": lambda x: windows(x, (3, 2), axis=(0, 0)).sum((-2, -1)),
    "of a transpose": lambda x: windows(x.T[::-1], 3, axis=1) * 2,
    "every second": lambda x: windows(x, 3, axis=0)[::2].mean(-1),
    "of one": lambda x: windows(x, 1, axis=1)[..., 0] + 1,
    "of all": lambda x: windows(x, x.shape).sum(),
    "of none": lambda x: windows(x, 0, axis=0).sum(-1),
    "indexed": lambda x: windows(x, 4, axis=1)[:, [2, 0]] * 3,
    "filtered": lambda x: np.einsum("ijkl,kl->ij", windows(x, (3, 2)), x[:3, :2]),
    "reshaped": lambda x: windows(x, (2, 2)).reshape(-1, 4).std(1),
}


@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "i4", "?", "f2"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name: str, dtype: str) -> None:
    if (name, dtype) in (("squares", "c16"), ("reshaped", "f2"), ("filtered", "?")):
        return
    fn, x = FUNCTIONS[name], (normal(9, 80) * 4).astype(dtype)
    tolerance = {"f2": 4e-3, "f4": 1e-5}.get(dtype, 1e-12)
    got, want = tj.jit(fn)(x), fn(x)
    assert got.dtype == want.dtype
    atol = tolerance * max(1.0, np.abs(want).max())  # NumPy rounds halves each time
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=atol)


def test_results_are_views_that_cannot_be_written() -> None:
    x = normal(6, 5)
    got = tj.jit(lambda x: windows(x, 3, axis=0))(x)
    assert np.shares_memory(got, x)
    assert got.strides == windows(x, 3, axis=0).strides
    assert not got.flags.writeable


def test_writes_to_the_array_show() -> None:
    def fn(x):
        y = x * 2
        seen = windows(y, 3)
        y[2] = 100.0
        return seen.sum(-1)

    x = normal(9)
    np.testing.assert_allclose(tj.jit(fn)(x), fn(x))


def test_windows_are_read_only_inside_too() -> None:
    def fn(x):
        windows(x, 3)[0] = 1.0

    with pytest.raises(ValueError, match="read-only"):
        tj.jit(fn)(normal(9))


@pytest.mark.parametrize(
    "arguments",
    [(60, 0), ((3,),), (-1, 0), ((2, 3), 0), (3, 5), ((2, 2), (0,)), (2.5, 0)],
)
def test_errors_are_numpys(arguments: tuple) -> None:
    x = normal(6, 5)
    with pytest.raises(Exception) as numpys:
        windows(x, *arguments)
    with pytest.raises(type(numpys.value)):
        tj.jit(lambda x: windows(x, *arguments))(x)


@pytest.mark.parametrize("size", [0, 1, 3, 16, 17, 20])
def test_derivatives(size: int) -> None:
    def fn(x):
        seen = windows(x, size, axis=0)
        return (seen * np.arange(size)).sum(-1) ** 2

    check_grads(fn, (normal(20, 2),))


def test_batches() -> None:
    def fn(x):
        return windows(x, 3, axis=1).max(-1)

    x = normal(4, 5, 6)
    np.testing.assert_array_equal(tj.vmap(fn)(x), np.stack([fn(v) for v in x]))
    moved = tj.vmap(fn, in_axes=2)(x)
    np.testing.assert_array_equal(moved, np.stack([fn(x[..., k]) for k in range(6)]))


@pytest.mark.parametrize("name", ["moving sums", "squares", "filtered"])
def test_one_kernel_without_gathers(name: str) -> None:
    compiled = tj.jit(FUNCTIONS[name]).lower(normal(9, 80)).compile()
    assert len(compiled.executable.program.steps) == 1
    assert "masked.gather" not in compiled.as_text()
