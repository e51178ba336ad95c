"""Random graphs, loops among them, as whole programs on a device."""

import warnings

import numpy as np
import pytest

from tests.program.random_graphs import LOOP_SEEDS, random_graph
from tests.sampling import sampled
from tracejit import config
from tracejit.codegen.triton.limits import TRITON
from tracejit.errors import HostFallbackWarning
from tracejit.ir.interp import evaluate
from tracejit.passes.manager import PassContext
from tracejit.passes.pipelines import compile_to_program, pipeline
from tracejit.runtime.cpu.call import data_pointer
from tracejit.runtime.cuda.array import Array, on_device
from tracejit.runtime.cuda.executable import CudaExecutable

SEEDS = (*range(40), *range(LOOP_SEEDS, LOOP_SEEDS + 20))


def check(seed, device):
    """Compare a graph's program on a device with what the graph says."""
    graph, args = random_graph(seed)
    args = [np.asarray(x) for x in args]
    passes = pipeline(TRITON, config.get("fma"))
    dense = [None] * len(graph.invars)
    _, program = compile_to_program(graph, dense, passes, PassContext())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HostFallbackWarning)
        executable = CudaExecutable(program, device)
    inputs = [on_device(device, np.ascontiguousarray(x)) for x in args]
    for _ in range(3):  # launched, recorded, replayed
        outs = executable.run_at([data_pointer(x.shadow) for x in inputs])
        device.synchronize()
        for out, want in zip(outs, evaluate(graph, args), strict=True):
            assert_close(Array(out).numpy(), np.asarray(want))
        del outs, out


def assert_close(x, y):
    """Compare exactly, or up to another order of sums, relative to the largest one."""
    assert (x.shape, x.dtype) == (y.shape, y.dtype)
    if x.dtype.kind in "biu":
        np.testing.assert_array_equal(x, y)
        return
    largest = np.abs(y[np.isfinite(y)]).max(initial=1)
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5 * float(largest))


@pytest.mark.parametrize("seed", sampled(SEEDS, 2))
def test_programs_of_random_graphs(seed, device):
    check(seed, device)
