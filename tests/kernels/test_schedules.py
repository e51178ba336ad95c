"""Which values of a row are kept until it is used again."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.kernels.schedule import Placement
from tracejit.kernels.schedules import SCRATCH_LIMIT

MOST = SCRATCH_LIMIT // 4


def placements(fn, *shape):
    x = np.zeros(shape, np.float32)
    return [s.schedule.placements for s in tj.jit(fn).lower(x).program.steps]


def softmax(axis):
    def fn(x):
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    return fn


@pytest.mark.parametrize(
    ("shape", "axis", "is_kept"),
    [
        ((2, 1000), 1, True),
        ((1, MOST), 1, True),
        ((1, MOST + 1), 1, False),
        ((MOST // 1024, 1024), None, True),  # the row is the whole array
        ((MOST // 1024, 1025), None, False),
        ((MOST // 1024, 1025), 1, True),
    ],
)
def test_expensive_values_are_kept_where_a_cache_has_room(shape, axis, is_kept):
    (found,) = placements(softmax(axis), *shape)
    assert list(found.values()) == [Placement.SCRATCH] * is_kept


def test_cheap_values_are_computed_again():
    def fn(x):
        return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)

    assert placements(fn, 4, 1000) == [{}]


def vector_of(fn, *shape):
    (step,) = tj.jit(fn).lower(np.zeros(shape, np.float32)).program.steps
    axis = step.schedule.vector_axis
    return next(a.extent for a in step.kernel.axes if a.name == axis)


def moving_sums(size):
    return lambda x: np.lib.stride_tricks.sliding_window_view(x, size, -1).sum(-1)


@pytest.mark.parametrize(
    ("fn", "shape", "extent"),
    [
        (lambda x: x.sum(-1), (100, 4), 100),  # a row in each lane
        (lambda x: x.sum(-1), (100, 5), 5),  # too far apart
        (lambda x: x.sum(-1), (60, 4), 4),  # too few rows
        (lambda x: x.argmax(-1), (100, 3), 100),
        (moving_sums(64), (163,), 100),
        (moving_sums(65), (164,), 65),
        (lambda x: x / x.sum(-1, keepdims=True), (100, 3), 3),  # stored as it is read
        (lambda x: x[np.arange(100) % 7].sum(-1), (100, 3), 3),  # at indices
    ],
)
def test_short_rows_lie_in_lanes(fn, shape, extent):
    assert vector_of(fn, *shape) == extent
