"""Stages in notebooks and terminals: every level folds, the user's text is escaped."""

from html.parser import HTMLParser

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.notebook import highlighted


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def double(x):
    return np.exp(x) * 2 + 1


TRACED = tj.jit(double).trace(np.ones(4, np.float32))
LOWERED = TRACED.lower()


def displayed(value):
    """Return what a notebook shows: IPython asks the class for this method."""
    return type(value)._repr_html_(value)


@pytest.mark.parametrize(
    ("stage", "titles"),
    [
        (TRACED, ["graph as traced"]),
        (LOWERED, ["graph as traced", "graph after fuse", "program", "1 kernel"]),
        (LOWERED.compile(), ["graph as traced", "program", "1 kernel", "LLVM"]),
    ],
    ids=["traced", "lowered", "compiled"],
)
def test_a_fold_for_each_level(stage, titles):
    page = Page(displayed(stage))
    assert page.open == []
    assert page.seen.count("details") == page.seen.count("pre") >= len(titles)
    for title in titles:
        assert title in page.text
    assert "exp" in page.text
    assert "http" not in displayed(stage)


def test_text_is_kept_and_escaped():
    text = 'graph @f(%x: f32[3]) <b> & "q" ; a.py:1'
    html = highlighted(text)
    assert "<b>" not in html
    assert Page(html).text == text


def test_names_cannot_add_markup():
    def odd(x):
        return x + 1

    odd.__name__ = "<script>alert(1)</script>"
    assert "<script" not in displayed(tj.jit(odd).trace(np.ones(2)))


@pytest.mark.parametrize("stage", [TRACED, LOWERED, LOWERED.compile()])
def test_terminals_get_readable_text(stage):
    text = repr(stage)
    assert text.startswith(f"<{type(stage).__name__} double: (f32[4]) -> (f32[4])>\n")
    assert "exp" in text
    assert len(text.splitlines()) < 50
    assert "0x" not in text


def test_long_text_is_cut():
    def many(x):
        for _ in range(60):
            x = np.sin(x) * 2
        return x

    lines = repr(tj.jit(many).trace(np.ones(2))).splitlines()
    assert "more lines" in lines[-1]
    assert len(lines) == 42
