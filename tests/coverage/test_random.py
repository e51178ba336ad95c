"""Random calls of NumPy: `jit` gives its values, dtypes, shapes and errors.

`make test` draws 5,000 calls, `make fuzz` 200,000; a failure is shrunk and printed with
what reproduces it.
"""

import os
import warnings

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings

import tracejit as tj

from .draw import Drawn, call
from .measure import difference

QUICK, LONG, PARTS = 5_000, 200_000, 10


def problem_of(drawn: Drawn) -> str:
    """What `jit` does otherwise than NumPy; empty if nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            want = drawn.function(*drawn.arrays)
        except Exception as error:
            return _problem_of_error(drawn, error)
        got = tj.jit(drawn.function)(*drawn.arrays)
    return difference(got, want, drawn.terms)


def _problem_of_error(drawn: Drawn, error: Exception) -> str:
    try:
        tj.jit(drawn.function)(*drawn.arrays)
    except Exception:
        return ""
    return f"no error, but NumPy's is {type(error).__name__}: {error}"


def check(examples: int, part: int) -> None:
    """Draw that many calls; `FUZZ_SEED` chooses others."""

    @hypothesis.seed(int(os.environ.get("FUZZ_SEED", 0)) + part)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(call())
    def is_as_in_numpy(drawn: Drawn) -> None:
        assert problem_of(drawn) == ""

    is_as_in_numpy()


@pytest.mark.parametrize("part", range(PARTS))
def test_calls(part):
    check(QUICK // PARTS, part)


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(100))
def test_many_calls(part):
    check(LONG // 100, 1000 + part)
