"""The code in the pages of docs/ runs."""

import pytest

from .blocks import run_blocks

PAGES = [
    "donation.md",
    "nn.md",
    "numpy-namespace.md",
    "random.md",
    "scipy.md",
    "transformations.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str):
    assert run_blocks(page) >= 2
