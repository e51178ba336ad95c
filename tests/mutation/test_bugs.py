"""The list of bugs is alive: each edit has its place, and leaves a module."""

import ast
from collections import Counter

import pytest

from .bugs import MUTANTS

FILES = sorted({m.file for m in MUTANTS})


def test_names_are_unique():
    names = Counter(m.name for m in MUTANTS)
    assert [n for n, count in names.items() if count > 1] == []


@pytest.mark.parametrize("file", FILES)
def test_bugs_can_be_planted(file):
    """Several at a time, as parsing takes most of the time."""
    chosen = [m for m in MUTANTS if m.file == file]
    text = several = chosen[0].path.read_text("utf-8")
    for mutant in chosen:
        alone = mutant.applied(text)
        assert alone != text, mutant.name
        if several.count(mutant.find) == 1:
            several = mutant.applied(several)
        else:
            ast.parse(several)
            several = alone
    ast.parse(several)
