"""Sample inputs: of the aval asked for, the same for the same seed."""

import numpy as np
import pytest

from tracejit.debug.samples import sample_inputs
from tracejit.ir.aval import ShapedArray
from tracejit.ir.dtypes import NAME_TO_DTYPE


@pytest.mark.parametrize("name", NAME_TO_DTYPE)
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 5)])
def test_has_the_dtype_and_shape(name, shape):
    aval = ShapedArray(shape, NAME_TO_DTYPE[name])
    [x] = sample_inputs([aval])
    assert type(x) is np.ndarray
    assert (x.shape, x.dtype) == (shape, aval.dtype)
    assert x.flags.c_contiguous


def test_repeats_with_its_seed_alone():
    avals = [ShapedArray((50,), np.dtype("float32"))] * 2
    first, second = sample_inputs(avals, 3)
    again, _ = sample_inputs(avals, 3)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != second.tobytes()
    assert first.tobytes() != sample_inputs(avals, 4)[0].tobytes()
