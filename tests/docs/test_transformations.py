"""The code in docs/transformations.md runs, as one session."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "transformations.md"
PYTHON = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_python_blocks_run():
    assert len(PYTHON) >= 2
    scope: dict[str, object] = {"__name__": "transformations"}
    for block in PYTHON:
        exec(compile(block, str(PAGE), "exec"), scope)
