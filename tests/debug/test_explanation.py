"""Explanations as text, JSON and HTML; of each stage, and of large graphs."""

import json
import time
from html.parser import HTMLParser

import numpy as np
import pytest

import tracejit as tj
from tracejit.debug.explanation import Explanation
from tracejit.debug.finding import Finding
from tracejit.program.memory import in_bytes

X = np.linspace(0.0, 1.0, 12).reshape(4, 3)


def centred(x):
    return x - x.mean(0)


class Cells(HTMLParser):
    """The text of table cells; fails where tags are not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] == "td":
            self.cells.append(data)


def test_stages_and_functions_say_the_same():
    f = tj.jit(centred)
    lowered, compiled = f.lower(X), f.compile(X)
    assert lowered.explain().findings == compiled.explain().findings
    assert tj.debug.explain(lowered).findings == lowered.explain().findings
    f(X)
    assert f.explain().of("fusion") == lowered.explain().of("fusion")


def test_a_function_that_was_not_called():
    text = str(tj.jit(centred).explain())
    assert text.startswith("centred: 0 traces")
    assert "Nothing to report." in text


def test_html_escapes_what_users_wrote():
    f = tj.jit(lambda x, mode: x + 1)
    html = f.lower(X, "<b>&").explain()._repr_html_()
    cells = Cells()
    cells.feed(html)
    assert not cells.open
    assert "mode is '<b>&'" in cells.cells
    assert "<b>&" not in html


def test_json_is_json_and_complete():
    explanation = tj.jit(centred).lower(X).explain()
    found = json.loads(json.dumps(explanation.as_json()))
    assert len(found["findings"]) == len(explanation.findings)
    for row in found["findings"]:
        assert {"code", "group", "title", "message", "sources", "why", "remedy"} <= {
            *row
        }


def test_numbers_add_up():
    def f(x):
        y = np.linalg.inv(x)[::-1]
        return y, y.reshape(-1)

    explanation = tj.jit(f).lower(np.eye(4)).explain()
    copies = [x.bytes for x in explanation.findings if x.is_copy]
    assert explanation.summary["copied_bytes"] == sum(copies) == 2 * 128


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5 GiB")],
)
def test_bytes_in_words(count, text):
    assert in_bytes(count) == text


def test_alike_findings_are_one_line():
    found = [Finding("COPY_PIECE", f"piece {k // 3}", bytes=96) for k in range(7)]
    text = Explanation("f", tuple(found)).as_text(most=2)
    assert text.splitlines()[3:-1] == [
        "  COPY_PIECE: a piece of an array is copied to its place",
        "    piece 0 (3 times 96 B)",
        "    piece 1 (3 times 96 B)",
        "    ... and 1 more",
    ]


def test_explaining_costs_less_than_compiling():
    """A thousand equations, most of which leave a finding."""

    def f(x, w):
        for k in range(500):
            x = np.tanh(x @ w) if k % 3 == 0 else np.sort(x * (k + 0.5), axis=1)
        return x

    start = time.process_time()
    with tj.config.override(reroll=False, verify=False):
        lowered = tj.jit(f).lower(np.ones((8, 8)), np.ones((8, 8)))
    lowering = time.process_time() - start
    explanation = lowered.explain()
    explaining = time.process_time() - start - lowering
    assert len(explanation.of("fusion")) > 300
    assert explaining < lowering
