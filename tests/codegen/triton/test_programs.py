"""The programs whose kernels are counted: each kernel, in Triton's interpreter."""

import numpy as np
import pytest

from tests.test_kernel_counts import LABELS, PROGRAMS

from .running import check, random_inputs, runs_of

LARGEST = 1 << 12  # elements of an input that the interpreter is given
SMALL = [
    name
    for name, (_, args, _) in PROGRAMS.items()
    if max(np.size(x) for x in args if isinstance(x, np.ndarray | float)) <= LARGEST
    or not isinstance(args[0], np.ndarray)
]
"""Programs of small arrays."""


@pytest.mark.parametrize("name", SMALL)
def test_kernels_compute_what_they_say(interpreter, name):
    fn, args, _ = PROGRAMS[name]
    for kernel, schedule in runs_of(fn, *args):
        inputs = random_inputs(kernel)
        for buffer, x in zip(kernel.inputs, inputs, strict=True):
            if buffer.shape == LABELS.shape and buffer.dtype == LABELS.dtype:
                x[...] = LABELS
        check(interpreter, kernel, schedule, inputs, rtol=4e-5, atol=4e-5)
