"""Random graphs: each kernel of their Programs, emitted and interpreted.

Programs run in the interpreter of programs, where each kernel also runs as Triton
kernels: with the usual sizes, and with sizes that loop and split whatever they can.
"""

import os

import numpy as np
import pytest

import tracejit.program.interp
from tests.program.random_graphs import random_graph
from tracejit import config
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import emit_kernel
from tracejit.codegen.triton.limits import TRITON
from tracejit.kernels.interp import run_kernel
from tracejit.passes.manager import PassContext
from tracejit.passes.pipelines import compile_to_program, pipeline
from tracejit.program.program import Run, nested

from .running import outputs_by_triton

TUNINGS = (Tuning(), Tuning(persistent=4, loop=4, tile=16, split=8))
QUICK, LONG = 60, 3000


def agree(interpreter, seed, monkeypatch):
    graph, args = random_graph(seed)
    passes = pipeline(TRITON, config.get("fma"))
    dense = [None] * len(graph.invars)
    _, program = compile_to_program(graph, dense, passes, PassContext())
    runs = [s for s in nested(program.steps) if isinstance(s, Run)]
    schedules = {s.kernel: s.schedule for s in runs}

    def run_both(kernel, inputs, outputs):
        before = [np.array(x) for x in inputs]
        run_kernel(kernel, inputs, outputs)
        for tuning in TUNINGS:
            emitted = emit_kernel(kernel, schedules[kernel], tuning)
            found, error = outputs_by_triton(interpreter, emitted, kernel, before)
            assert not error.any()
            for x, y in zip(found, outputs, strict=True):
                assert_close(x, y)

    monkeypatch.setattr(tracejit.program.interp, "run_kernel", run_both)
    tracejit.program.interp.run_program(program, args)
    return len(runs)


def assert_close(x, y):
    """Compare exactly, or up to another order of sums, relative to the largest one."""
    if x.dtype.kind in "biu":
        np.testing.assert_array_equal(x, y)
        return
    largest = np.abs(y[np.isfinite(y)]).max(initial=1)
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5 * float(largest))


def test_kernels_of_random_graphs(interpreter, monkeypatch):
    kernels = sum(agree(interpreter, seed, monkeypatch) for seed in range(QUICK))
    assert kernels > QUICK


@pytest.mark.fuzz
def test_kernels_of_many_random_graphs(interpreter, monkeypatch):
    first = int.from_bytes(os.urandom(4), "little")
    for seed in range(first, first + LONG):
        print(f"seed {seed}")
        agree(interpreter, seed, monkeypatch)
