"""The programs whose kernels are counted: each kernel, in Triton's interpreter."""

import pytest

from tests.test_kernel_counts import LABELS, SMALL

from .running import check, random_inputs, runs_of


@pytest.mark.parametrize("name", SMALL)
def test_kernels_compute_what_they_say(interpreter, name):
    fn, args, _ = SMALL[name]
    for kernel, schedule in runs_of(fn, *args):
        inputs = random_inputs(kernel)
        for buffer, x in zip(kernel.inputs, inputs, strict=True):
            if buffer.shape == LABELS.shape and buffer.dtype == LABELS.dtype:
                x[...] = LABELS
        check(interpreter, kernel, schedule, inputs, rtol=4e-5, atol=4e-5)
