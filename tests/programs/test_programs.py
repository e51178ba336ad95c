"""Every program gives under `jit` what it gives in NumPy.

Results, changed arguments and shared memory are compared with an eager run; a second
call of the same signature traces nothing.
"""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import in_turn
from tracejit.testing import count_traces

from .compare import assert_same, memory_relations
from .program import Program
from .registry import PROGRAMS

DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


@pytest.mark.parametrize(("name", "width"), in_turn(PROGRAMS, [*DTYPES]))
def test_jitted_program_is_numpys(name: str, width: str):
    program, dtype = PROGRAMS[name], DTYPES[width]
    jitted = tj.jit(program.fn, static_argnames=program.static_argnames)
    assert check_call(program, jitted, dtype) >= 1, "the first call traces"
    assert check_call(program, jitted, dtype) == 0, "the second call traces nothing"


def check_call(program: Program, jitted: object, dtype: np.dtype) -> int:
    """Compare one jitted call with an eager one; returns the traces it took."""
    eager_call, call = program.fresh_args(dtype), program.fresh_args(dtype)
    want = program.fn(*eager_call.args, **eager_call.kwargs)
    with count_traces() as counter:
        got = jitted(*call.args, **call.kwargs)
    rtol = program.rtol(dtype)
    assert_same(got, want, rtol, "result")
    assert_same(call, eager_call, rtol, "arguments")
    assert memory_relations(got, call) == memory_relations(want, eager_call)
    return counter.traces
