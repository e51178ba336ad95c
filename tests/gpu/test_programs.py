"""The programs of the project on the machine's device, in both dtypes of floats."""

import numpy as np
import pytest

from tests.programs.registry import PROGRAMS
from tests.runtime.cuda.test_programs import check


@pytest.mark.parametrize("moved", [False, True], ids=["numpy", "moved"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_give_what_numpy_gives(program, dtype, moved, device):
    check(program, device, moved, np.dtype(dtype))
