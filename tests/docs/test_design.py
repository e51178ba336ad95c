"""The IR texts of the design page are texts of this tree; its links lead somewhere."""

import re
from pathlib import Path

from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.ir.verify import verify
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.printer import format_kernel
from tracejit.kernels.verify import verify_kernel

PAGE = Path(__file__).parents[2] / "docs" / "design.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"```\n(.*?)\n```", TEXT, re.DOTALL)


def blocks(word: str) -> list[str]:
    found = [b for b in BLOCKS if b.startswith(word)]
    assert found
    return found


def test_graphs_parse_and_print_alike():
    for text in blocks("graph @"):
        assert format_graph(verify(parse_graph(text))) == text


def test_kernels_parse_and_print_alike():
    for text in blocks("kernel @"):
        kernel, schedule = parse_kernel(text)
        assert format_kernel(verify_kernel(kernel, schedule), schedule) == text


def test_links_are_there():
    links = re.findall(r"\]\((?!http)([^)#]+)", TEXT)
    assert links
    assert all((PAGE.parent / link).exists() for link in links)


def test_files_named_are_there():
    names = re.findall(r"`((?:tests|ir|passes|kernels)/\w+\.py)`", TEXT)
    root = PAGE.parents[1]
    assert names
    for name in names:
        assert (root / name).exists() or (root / "tracejit" / name).exists(), name
