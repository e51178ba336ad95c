"""The Python blocks of a page, run as one session."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs"


def run_blocks(page: str) -> int:
    """Run them one after the other in one scope; return how many there are."""
    path = PAGES / page
    blocks = re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    scope: dict[str, object] = {"__name__": path.stem}
    for block in blocks:
        exec(compile(block, str(path), "exec"), scope)
    return len(blocks)
