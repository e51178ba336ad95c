"""Long tables of cases, of which `make test` runs a part and `make slow` the rest."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def sampled(cases: Iterable[Any], every: int, first: int = 0) -> list[Any]:
    """Return cases for `parametrize`: one in `every`, and the others as slow ones.

    Parameters
    ----------
    cases : iterable
        Names, or tuples of as many values as there are parameters.
    every : int
    first : int
        Which of them is the first one to stay.
    """
    return [
        case if k % every == first else _param(case, pytest.mark.slow)
        for k, case in enumerate(cases)
    ]


def in_turn(cases: Iterable[Any], ways: Sequence[Any]) -> list[Any]:
    """Return all pairs for `parametrize`: each case in one way, in turn, others slow.

    Parameters
    ----------
    cases : iterable
    ways : sequence
    """
    pairs = list(enumerate(cases))
    count = len(ways)
    turns = [(x, ways[(k + j) % count]) for k, x in pairs for j in range(count)]
    return sampled(turns, count)


def _param(case: Any, mark: pytest.MarkDecorator) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=mark)
