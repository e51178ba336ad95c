"""Loops that each element runs for itself, as loops in Triton kernels."""

import re

import numpy as np
import pytest

from tests.codegen.test_turns import backwards, by_turn, masked, newton, swapping, twice
from tracejit.codegen.triton.build import build
from tracejit.codegen.triton.emit import emit_kernel

from .running import check, runs_of

X = np.linspace(-1.5, 1.5, 77, dtype=np.float32)
Y = np.linspace(0.5, -0.5, 77, dtype=np.float32)
CASES = [newton, backwards, by_turn, swapping, masked, twice]


@pytest.mark.parametrize("function", CASES)
def test_interpreted(interpreter, function):
    (run,) = runs_of(function, X, Y)
    emitted = check(interpreter, *run, rtol=2e-5, atol=2e-5)
    assert "_turn in range(0, " in emitted.codes[0].source


def test_halves(interpreter):
    (run,) = runs_of(newton, X.astype(np.float16), Y.astype(np.float16))
    check(interpreter, *run, rtol=2e-3, atol=2e-3)


def test_carries_stay_in_registers():
    (run,) = runs_of(masked, X, Y)
    (code,) = emit_kernel(*run).codes
    ptx = build(code, "sm_90").ptx
    assert re.search(r"bra[.\w]*\s+\$", ptx)
    assert "ld.local" not in ptx
