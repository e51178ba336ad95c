"""The comparison refuses what differs: each case is one way a compiler can be wrong."""

import numpy as np
import pytest

from .compare import assert_same, leaves, memory_relations, relative_error
from .program import arguments
from .semantics import Point

ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        pytest.param((ONES,), [ONES], id="container"),
        pytest.param((ONES, ONES), Point(ONES, ONES), id="namedtuple"),
        pytest.param({"b": 1, "a": 2}, {"a": 2, "b": 1}, id="key order"),
        pytest.param((), None, id="empty and None"),
        pytest.param(ONES.astype(np.float64), ONES, id="dtype"),
        pytest.param(ONES.T, ONES, id="shape"),
        pytest.param(np.array(1.0), np.float64(1), id="0-d array and scalar"),
        pytest.param(1.0, np.float64(1), id="Python and NumPy scalar"),
        pytest.param(ONES * np.float32(1.0001), ONES, id="value"),
        pytest.param(ONES * np.float32(np.nan), ONES, id="nan"),
        pytest.param(np.array([1, 2]), np.array([1, 3]), id="integers"),
        pytest.param(np.array([True]), np.array([False]), id="booleans"),
        pytest.param(ONES * np.float32(1e-30), ONES * 0, id="not zero"),
    ],
)
def test_differences_fail(got: object, want: object):
    with pytest.raises(AssertionError):
        assert_same(got, want, 2e-5, "result")


def test_equal_structures_pass():
    tree = {"a": [ONES, None, (2, "s")], "p": Point(ONES, np.float32(np.nan)), "e": []}
    assert_same(tree, dict(tree), 0.0, "result")
    assert [path for path, _ in leaves(tree)] == [
        "/dict:'a'/list:0",
        "/dict:'a'/list:1",
        "/dict:'a'/list:2/tuple:0",
        "/dict:'a'/list:2/tuple:1",
        "/dict:'p'/Point:0",
        "/dict:'p'/Point:1",
        "/dict:'e'",
    ]


def test_error_is_relative_to_the_largest_magnitude():
    want = np.array([100.0, 0.0, np.inf])
    assert relative_error(np.array([100.0, 1.0, np.inf]), want) == pytest.approx(0.01)
    assert relative_error(np.array([100.0, 0.0, 1.0]), want) == np.inf
    assert relative_error(np.array([100.0, 0.0, -np.inf]), want) == np.inf


def test_memory_relations_tell_views_from_copies():
    x = np.arange(12.0).reshape(3, 4)
    call = arguments(x)

    def relation(result: np.ndarray) -> object:
        (value,) = memory_relations(result, call).values()
        return value

    assert relation(x) == "same object"
    assert relation(x[:]) == (0, (32, 8))
    assert relation(x[1:, ::2]) == (32, (32, 16))
    assert relation(x.copy()) is None
