"""`np.pad` of every mode gives what NumPy gives, by slices where that can be."""

import numpy as np
import pytest

import tracejit as tj

MODES = ["edge", "reflect", "symmetric", "wrap"]
SHAPES = [(5,), (1,), (2,), (3, 4), (1, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_pads_of_any_width_are_numpys(mode, shape):
    x = np.random.default_rng(0).normal(size=shape)
    for width in (0, 1, (2, 3), (0, 2), 7):
        got = tj.jit(lambda x, w=width: np.pad(x, w, mode))(x)
        np.testing.assert_array_equal(got, np.pad(x, width, mode), strict=True)


def test_odd_reflections_are_computed():
    x = np.arange(4.0) ** 2
    for mode in ("reflect", "symmetric"):
        want = np.pad(x, 3, mode, reflect_type="odd")
        got = tj.jit(lambda x, m=mode: np.pad(x, 3, m, reflect_type="odd"))(x)
        np.testing.assert_array_equal(got, want)


def primitives(fn, x):
    return {e.primitive.name for e in tj.jit(fn).trace(x).graph.eqns}


@pytest.mark.parametrize("mode", MODES)
def test_pads_are_slices_in_one_kernel_each_axis(mode):
    x = np.zeros((40, 50))
    assert "gather" not in primitives(lambda x: np.pad(x, 3, mode), x)
    lowered = tj.jit(lambda x: np.pad(x, 3, mode)).lower(x)
    assert len(lowered.program.steps) <= 2


def test_pads_of_many_turns_are_gathered():
    x = np.arange(3.0)
    assert "gather" in primitives(lambda x: np.pad(x, 50, "reflect"), x)
