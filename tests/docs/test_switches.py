"""docs/switches.md: its table is that of `tj.config`, and its example runs."""

from tracejit import config

from .blocks import run_blocks
from .commands import BLESS, DOCS

PAGE = DOCS / "switches.md"


def test_the_table_is_the_one_of_the_code():
    text = PAGE.read_text(encoding="utf-8")
    before = text[: text.index("| switch |")]
    if BLESS:
        PAGE.write_text(f"{before}{config.table()}\n", encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == f"{before}{config.table()}\n"


def test_the_example_runs():
    threads = config.get("threads")
    try:
        assert run_blocks(PAGE.name) == 1
        assert config.get("threads") == 1
    finally:
        config.set("threads", threads)
