"""Results lie in memory as NumPy's do, whatever order their operands have."""

from collections.abc import Iterator

import numpy as np
import pytest

import tracejit as tj

BASE = np.arange(240.0).reshape(4, 5, 12) % 37
WHOLE = np.ascontiguousarray(BASE[:, :, :6])
ARRAYS = {
    "rows": WHOLE,
    "columns": np.asfortranarray(WHOLE),
    "turned": np.ascontiguousarray(WHOLE.transpose(1, 2, 0)).transpose(2, 0, 1),
    "every second": BASE[:, :, ::2],
    "backwards": WHOLE[::-1],
    "broadcast": np.broadcast_to(BASE[0, 0, :6], (4, 5, 6)),
}
EXPRESSIONS = """
np.copy(x); x.copy('K'); x.copy('A'); x.copy('F'); x.copy(); x.T.copy('K'); x.astype('f4'); x + 1; x + x[0]; -x.T
np.zeros_like(x); np.ones_like(x, order='F'); np.full_like(x, 3.0); np.full_like(x, 3.0, shape=(3, 4, 2))
np.concatenate([x, x]); np.concatenate([x, x], 2); np.stack([x, x]); np.stack([x, x], -1); np.hstack([x, x])
np.dstack([x, x]); np.append(x, x, 1); np.block([x, x]); np.concatenate([x, x + 0], 1); np.array([x, x]); np.tile(x, 2)
np.repeat(x, 2, 1); x.repeat([1, 0, 2, 1], 0); np.roll(x, 1); np.roll(x, 1, 1); np.roll(x, (1, 2), (0, 2)); np.flip(x)
np.cumsum(x, 0); x.cumsum(1); np.cumprod(x, 2); np.maximum.accumulate(x, 1); np.add.accumulate(x, 0)
np.sum(x, 0); np.sum(x, (0, 2)); np.sum(x, 1, keepdims=True); x.max(0); np.mean(x, 2); np.any(x > 1, 0); np.argmax(x, 1)
np.sort(x); np.sort(x, 0); np.argsort(x, 0); np.partition(x, 1); np.median(x, 1); np.quantile(x, 0.3, 1); np.ptp(x, 1)
np.pad(x, 1); np.pad(x, 1, mode='edge'); np.pad(x, 2, mode='reflect'); np.pad(x, ((0, 1), (0, 0), (0, 0)))
np.take(x, [0, 2], 1); np.take(x, [[0, 1], [2, 0]], 0); np.take(x, 1, 1); x.take([1, 0], 2, mode='clip')
np.compress([1, 0, 1], x, 1); x[[0, 1]]; x[:, [0, 1]]; x[[0, 1], :, [1, 2]]; x[i]; x[:, i]; x[i, 1]; x[i, 1, i]
np.take_along_axis(x, np.argsort(x, 1), 1); np.choose(i, [x[0, 0, 0], x[1, 0, 0], 1.0])
np.select([x > 3, x > 1], [x, -x], 0); np.where(x > 2, x, 0); np.clip(x, 1, 3); np.round(x, 1); np.round(x)
np.searchsorted(np.sort(x[0, 0]), x); np.digitize(x, np.sort(x[0, 0])); np.delete(x, 1, 1); np.insert(x, 1, 0, 1); np.diff(x, axis=1)
np.fft.fft(x); np.fft.fft(x, axis=0); np.fft.rfft(x, axis=1); np.fft.irfft(x, axis=1); np.fft.fft2(x); np.fft.fft(x, 8, 1)
x.ravel('K'); x.flatten('F'); np.asfortranarray(x); np.ascontiguousarray(x); np.moveaxis(x, 0, -1) + 0
"""


def arrays_in(result: object) -> Iterator[np.ndarray]:
    if isinstance(result, np.ndarray):
        yield result
    elif isinstance(result, list | tuple):
        for each in result:
            yield from arrays_in(each)


def steps(array: np.ndarray) -> list[int]:
    """Strides of the axes that have any: those of one element may have any."""
    return [s for n, s in zip(array.shape, array.strides, strict=True) if n > 1]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize(
    "expression", [e.strip() for e in EXPRESSIONS.replace("\n", ";").split(";") if e]
)
def test_strides_are_those_of_numpy(expression: str, name: str) -> None:
    f = eval(f"lambda x, i: {expression}", {"np": np})
    rows = np.array([[0, 1, 2], [2, 0, 1]])
    for i in (rows, np.asfortranarray(rows)):
        want = list(arrays_in(f(ARRAYS[name], i)))
        got = list(arrays_in(tj.jit(f)(ARRAYS[name], i)))
        assert [steps(x) for x in got] == [steps(x) for x in want]
        for ours, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_repeated_broadcast_array_is_fresh() -> None:
    x = np.broadcast_to(np.arange(3.0), (2, 3))
    result = tj.jit(lambda x: x.repeat(2, 0))(x)
    result[0] = 7.0
    np.testing.assert_array_equal(result[1:], np.tile(np.arange(3.0), (3, 1)))


def test_what_is_taken_at_one_place_is_no_view() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        row = np.take(x, 1, axis=0)
        row += 1
        return x

    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(tj.jit(f)(x), np.arange(6.0).reshape(2, 3))
