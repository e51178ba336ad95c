"""Whole programs on each instruction set the machine has."""

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set

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
    with instruction_set(isa):
        got = tj.jit(program.fn)(*call.args, **call.kwargs)
    assert_same(got, want, program.rtol(dtype), "result")


def test_sample_is_not_empty():
    assert len(SAMPLE) >= 6
