"""Random calls of NumPy: `jit` gives its values, dtypes, shapes and errors.

`make test` draws 1,000 calls and compiles five at once, `make fuzz` 200,000 and each by
itself; a failure is shrunk and printed with what reproduces it.
"""

import os
import warnings
from collections.abc import Sequence

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracejit as tj

from .draw import Drawn, call
from .measure import difference, together

QUICK, LONG, PARTS = 1_000, 200_000, 10
AT_ONCE = 5  # calls that are compiled as one function


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


def problems_of(calls: Sequence[Drawn]) -> list[str]:
    """What `jit` of all at once does otherwise, or of each where that does not work."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            wants = [drawn.function(*drawn.arrays) for drawn in calls]
            jitted = tj.jit(together([drawn.function for drawn in calls]))
            got = jitted(*(drawn.arrays for drawn in calls))
        except Exception:
            return [problem_of(drawn) for drawn in calls]
    rows = zip(calls, got, wants, strict=True)
    return [difference(g, w, drawn.terms) for drawn, g, w in rows]


def _problem_of_error(drawn: Drawn, error: Exception) -> str:
    try:
        tj.jit(drawn.function)(*drawn.arrays)
    except Exception:
        return ""
    return f"no error, but NumPy's is {type(error).__name__}: {error}"


def check(examples: int, part: int, at_once: int = 1) -> None:
    """Draw that many lists of calls; `FUZZ_SEED` chooses others."""

    @hypothesis.seed(int(os.environ.get("FUZZ_SEED", 0)) + part)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(call(), min_size=at_once, max_size=at_once))
    def is_as_in_numpy(calls: list[Drawn]) -> None:
        assert "; ".join(filter(None, problems_of(calls))) == ""

    is_as_in_numpy()


@pytest.mark.parametrize("part", range(PARTS))
def test_calls(part):
    check(QUICK // PARTS // AT_ONCE, part, AT_ONCE)


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(100))
def test_many_calls(part):
    check(LONG // 100, 1000 + part)
