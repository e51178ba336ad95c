"""What the compiler did with a function, and why: findings with codes, lines and bytes.

Needs stages (`Lowered`, `Compiled`) or a function under `jit` that was called.
Establishes `Explanation`: findings in the order of `reasons.GROUPS`, as text, as a JSON
document, and as HTML in notebooks. It is a pure function of what the stages keep.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import islice

from ..api import JitFunction
from ..compiled import Compiled
from ..program.memory import in_bytes
from ..stages import Lowered
from .finding import Finding
from .program_findings import program_findings
from .reasons import GROUPS, REASONS
from .recording_findings import recording_findings
from .retrace_findings import call_findings, retrace_findings

MOST = 8  # findings of one code that text shows


@dataclass(frozen=True)
class Explanation:
    """What was found out about a function.

    Parameters
    ----------
    name : str
        Of the function.
    findings : tuple of Finding
    summary : mapping of str to int
        ``traces``, if it is of a function; ``kernels`` and ``steps`` of the program,
        ``arena_bytes`` between them, and ``copied_bytes``.
    """

    name: str
    findings: tuple[Finding, ...]
    summary: Mapping[str, int] = field(default_factory=dict)

    def of(self, *codes: str) -> tuple[Finding, ...]:
        """Return the findings of some codes or groups."""
        return tuple(
            f for f in self.findings if f.code in codes or f.reason.group in codes
        )

    def as_text(self, most: int = MOST) -> str:
        """Return it as text, with at most so many findings of one code; 0 for all."""
        lines = [f"{self.name}: {_summary(self.summary)}"]
        for group, title in GROUPS.items():
            mine = self.of(group)
            if mine:
                lines += ["", title, *_group(mine, most)]
        if not self.findings:
            lines += ["", "Nothing to report."]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """Return it as a document of strings, numbers, lists and dicts."""
        return {
            "function": self.name,
            "summary": dict(self.summary),
            "findings": [f.as_json() for f in self.findings],
        }

    def __str__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        rows = "".join(map(_html_row, self.findings))
        head = "".join(
            f"<th style='text-align:left'>{name}</th>"
            for name in ("code", "what", "lines", "bytes", "what can be done")
        )
        return (
            f"<div><b>{escape(self.name)}</b>: {escape(_summary(self.summary))}"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def explain(stage: Lowered | Compiled | JitFunction) -> Explanation:
    """Return what the compiler did, and why.

    Parameters
    ----------
    stage : Lowered, Compiled or JitFunction
        Of a function under `jit`: why it was traced, and what was compiled last.

    Returns
    -------
    Explanation

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> f = tj.jit(lambda x: x - x.mean(0))
    >>> [found.code for found in f.lower(np.ones((4, 3))).explain().of("fusion")]
    ['BACK']
    """
    if isinstance(stage, JitFunction):
        return _of_function(stage)
    lowered = stage.lowered if isinstance(stage, Compiled) else stage
    findings = [*program_findings(lowered), *recording_findings(lowered)]
    return Explanation(
        lowered.program.name, _ordered(findings), _numbers(lowered, findings)
    )


def _of_function(function: JitFunction) -> Explanation:
    found = [*retrace_findings(function), *call_findings(function)]
    forms = function.compiled_forms()
    summary = {"traces": function.history.count}
    if not forms:
        return Explanation(function.__name__, _ordered(found), summary)
    last = explain(forms[-1])
    return replace(
        last,
        name=function.__name__,
        findings=_ordered([*found, *last.findings]),
        summary={**summary, **last.summary},
    )


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings by group, and then as they were found."""
    place = {group: i for i, group in enumerate(GROUPS)}
    return tuple(sorted(findings, key=lambda f: place[f.reason.group]))


def _numbers(lowered: Lowered, findings: Sequence[Finding]) -> dict[str, int]:
    program = lowered.program
    copies = (f.bytes or 0 for f in findings if f.is_copy)
    return {
        "kernels": len(program.kernels),
        "steps": len(program.steps),
        "arena_bytes": program.arena_bytes,
        "copied_bytes": sum(copies),
    }


# --- text -------------------------------------------------------------------------


def _summary(numbers: Mapping[str, int]) -> str:
    words = {
        "traces": lambda n: f"{n} trace{'s' * (n != 1)}",
        "kernels": lambda n: f"{n} kernel{'s' * (n != 1)}",
        "steps": lambda n: f"{n} step{'s' * (n != 1)}",
        "arena_bytes": lambda n: f"{in_bytes(n)} between steps",
        "copied_bytes": lambda n: f"{in_bytes(n)} copied",
    }
    return ", ".join(words[name](n) for name, n in numbers.items()) or "not called"


def _group(findings: Sequence[Finding], most: int) -> Iterator[str]:
    codes = dict.fromkeys(f.code for f in findings)
    for code in codes:
        same = [f for f in findings if f.code == code]
        alike = Counter((f.message, f.bytes) for f in same)
        yield f"  {code}: {REASONS[code].title}"
        for (message, size), times in islice(alike.items(), most or None):
            each = f"{times} times " if times > 1 else ""
            yield f"    {message}" + (f" ({each}{in_bytes(size)})" if size else "")
        if most and len(alike) > most:
            yield f"    ... and {len(alike) - most} more"
        yield f"    try: {REASONS[code].remedy}"


def _html_row(finding: Finding) -> str:
    cells = (
        finding.code,
        finding.message,
        ", ".join(finding.sources),
        in_bytes(finding.bytes) if finding.bytes else "",
        finding.remedy,
    )
    row = "".join(f"<td style='text-align:left'>{escape(c)}</td>" for c in cells)
    return f"<tr title='{escape(finding.reason.why, quote=True)}'>{row}</tr>"
