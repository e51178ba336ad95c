"""The code in docs/random.md runs, as one session."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "random.md"
PYTHON = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_python_blocks_run():
    assert len(PYTHON) >= 2
    scope: dict[str, object] = {"__name__": "random_numbers"}
    for block in PYTHON:
        exec(compile(block, str(PAGE), "exec"), scope)
