"""Whole programs on each instruction set the machine has."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import TracejitError

from .compare import assert_same
from .registry import PROGRAMS

NAMES = (
    "softmax_regression",
    "lstm_sequence",
    "layer_norm",
    "black_scholes",
    "game_of_life",
    "heat_equation",
    "integer_arithmetic",
    "promotes_dtypes",
)
SAMPLE = [p for name, p in PROGRAMS.items() if name.startswith(NAMES)]


@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("program", SAMPLE, ids=lambda p: p.name)
def test_program_on_instruction_set(program, isa):
    dtype = np.dtype(np.float32)
    eager, call = program.fresh_args(dtype), program.fresh_args(dtype)
    want = program.fn(*eager.args, **eager.kwargs)
    try:
        with tj.config.override(isa=isa):
            got = tj.jit(program.fn)(*call.args, **call.kwargs)
    except TracejitError as error:
        if "cannot run the instruction set" not in str(error):
            raise
        pytest.skip(str(error))
    assert_same(got, want, program.rtol(dtype), "result")


def test_sample_is_not_empty():
    assert len(SAMPLE) >= 6
