"""The code in the pages of docs/ runs."""

import pytest

from .blocks import run_blocks


@pytest.mark.parametrize(
    "page", ["numpy-namespace.md", "random.md", "transformations.md"]
)
def test_python_blocks_run(page: str):
    assert run_blocks(page) >= 2
