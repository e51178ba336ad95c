"""Random graphs, loops among them, as programs on the machine's device."""

import os

import pytest

from tests.program.random_graphs import LOOP_SEEDS
from tests.runtime.cuda.test_random_graphs import check

COUNT = int(os.environ.get("FUZZ_EACH", "100"))


@pytest.mark.parametrize("first", [0, LOOP_SEEDS])
def test_programs_of_random_graphs(first, device):
    for seed in range(first, first + COUNT):
        check(seed, device)
