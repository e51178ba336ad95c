"""The code of docs/transformations.md, in the order of the page."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "transformations.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)


def test_blocks_run():
    assert len(BLOCKS) >= 5
    scope: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"block{number}.py", "exec"), scope)
