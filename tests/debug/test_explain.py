"""Explanations: 60 programs and more, each with its codes, lines and words.

`TRACEJIT_BLESS=1 pytest tests/debug/test_explain.py` writes explained.txt anew.
"""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tracejit.debug.reasons import GROUPS, REASONS
from tracejit.passes.groups import Refusal

from .explain_cases import CASES

GOLDEN = Path(__file__).with_name("explained.txt")
BLESS = "TRACEJIT_BLESS"
_LINE = re.compile(r"explain_cases\.py:(\d+)")


def told(name, explanation):
    """Return a case's findings, with lines counted from that of its function."""
    first = CASES[name].line

    def relative(found):
        return f"line {int(found.group(1)) - first}"

    rows = Counter()
    for f in explanation.findings:
        size = f" ({f.bytes} B)" if f.bytes else ""
        rows[f"{f.code}: {_LINE.sub(relative, f.message)}{size}"] += 1
    shown = (f"{n} times {row}" if n > 1 else row for row, n in rows.items())
    return "\n".join(shown) or "nothing"


def goldens():
    text = GOLDEN.read_text("utf-8") if GOLDEN.exists() else ""
    parts = re.split(r"^== (\w+) ==\n", text, flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {name: body.strip() for name, body in pairs}


def bless(name, text):
    known = {**goldens(), name: text}
    rows = [f"== {n} ==\n{known[n]}\n" for n in CASES if n in known]
    GOLDEN.write_text("\n".join(rows), "utf-8")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::tracejit.errors.DonationWarning")
def test_case(name):
    explanation = CASES[name].run()
    assert {f.code for f in explanation.findings} == CASES[name].codes
    for finding in explanation.findings:
        assert finding.remedy
        assert all(re.fullmatch(r"explain_cases\.py:\d+", s) for s in finding.sources)
    text = told(name, explanation)
    if os.environ.get(BLESS):
        bless(name, text)
    assert text == goldens().get(name), f"{BLESS}=1 writes it anew"


def test_there_are_enough_cases():
    assert len(CASES) >= 60
    assert list(goldens()) == list(CASES)


def test_every_reason_has_a_case():
    shown = {code for case in CASES.values() for code in case.codes}
    assert shown == {*REASONS}


def test_every_reason_is_written_out():
    for code, reason in REASONS.items():
        assert code == reason.code
        assert reason.group in GROUPS
        words = (reason.title, reason.why, reason.remedy)
        assert all(words)
        assert not any("unknown" in w for w in words)


def test_fusions_reasons_are_its_refusals():
    fusion = {r.code: r.title for r in REASONS.values() if r.group == "fusion"}
    assert fusion == {r.name: r.value for r in Refusal}
