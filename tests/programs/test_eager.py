"""The programs themselves are sane: deterministic, finite, and well conditioned.

Runs in NumPy alone. The tolerances of the programs are held here to the programs' own
sensitivity to rounding, so that none can be loosened until a wrong result passes.
"""

import copy
from collections.abc import Callable

import numpy as np
import pytest

from .compare import assert_same, leaves, worst_error
from .program import DEFAULT_RTOL32, DEFAULT_RTOL64, Arguments, Program
from .registry import PROGRAMS

DTYPES = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
all_programs = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
all_dtypes = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)


def outcome(program: Program, call: Arguments) -> tuple[object, Arguments]:
    """The result, and the arguments as the call left them."""
    return program.fn(*call.args, **call.kwargs), call


def convert(call: Arguments, fn: Callable[[np.ndarray], np.ndarray]) -> Arguments:
    """Apply `fn` to the arrays and NumPy scalars, keeping aliases and containers."""
    inputs = (call.args, call.kwargs)
    arrays = [a for _, a in leaves(inputs) if isinstance(a, np.ndarray | np.generic)]
    memo = {id(a): fn(a) for a in arrays}
    args, kwargs = copy.deepcopy(inputs, memo)
    return Arguments(args, kwargs)


def widened(a: np.ndarray) -> np.ndarray:
    """float32 to float64 and complex64 to complex128; others as they are."""
    wide = {np.float32: np.float64, np.complex64: np.complex128}
    return a.astype(wide.get(a.dtype.type, a.dtype))


def nudged(a: np.ndarray) -> np.ndarray:
    """Multiply doubles by 1 + eps or 1 - eps, alternately; zeros stay zeros."""
    if a.dtype not in (np.float64, np.complex128):
        return a.copy()
    signs = np.where(np.arange(a.size) % 2, 1, -1).reshape(a.shape)
    return a * (1 + signs * np.finfo(np.float64).eps)


@all_dtypes
@all_programs
def test_eager_run_is_deterministic_and_finite(program: Program, dtype: np.dtype):
    first = outcome(program, program.fresh_args(dtype))
    second = outcome(program, program.fresh_args(dtype))
    assert_same(second[0], first[0], 0.0, "result")
    assert_same(second[1], first[1], 0.0, "arguments")
    for path, leaf in leaves(first):
        if isinstance(leaf, np.ndarray | np.generic | float | complex):
            assert np.isfinite(leaf).all(), f"{path}: {leaf!r}"


@all_programs
def test_float32_tolerance_is_the_programs_rounding(program: Program):
    call = program.fresh_args(DTYPES["f32"])
    exact = outcome(program, convert(call, widened))
    error = worst_error(outcome(program, call), exact)
    # Two correct runs may err to either side, so they may differ by twice that.
    assert 2 * error <= program.rtol32
    assert program.rtol32 <= max(DEFAULT_RTOL32, 40 * error)


@all_programs
def test_float64_tolerance_covers_a_last_bit_of_the_input(program: Program):
    call = program.fresh_args(DTYPES["f64"])
    moved = outcome(program, convert(call, nudged))
    error = worst_error(moved, outcome(program, call))
    assert 2 * error <= program.rtol64
    assert program.rtol64 <= max(DEFAULT_RTOL64, 1000 * error)


def test_there_are_enough_programs():
    assert len(PROGRAMS) >= 25
