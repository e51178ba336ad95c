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
