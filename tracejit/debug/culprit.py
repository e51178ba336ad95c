"""What bisection finds: the level, the name and the rewrite that are wrong.

Needs nothing but the difference of two graphs. Establishes `Culprit`, which prints as
text and as JSON.
"""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from .diff import GraphDiff
from .limits import ProcessDied


@dataclass(frozen=True)
class Culprit:
    """What is wrong.

    Parameters
    ----------
    level : str
        ``pass``, ``program``, ``kernel`` or ``code``.
    name : str
        Of the pass, of the step that makes the program, or of the kernel.
    reason : str
        What the check says.
    rule : str
        The rewrite; empty where the pass counts none.
    first, last : int
        Its number among the rewrites of the pass, from 1; ``last`` is larger where
        several were made at once. 0 where there are none.
    total : int
        Rewrites of the pass.
    change : GraphDiff, optional
        What it did.
    source : tuple of str
        The user's lines.
    notes : tuple of str
        What else is known.
    died : str
        How code ended its process: ``"SIGSEGV"``, ``"hang"``; empty where it did not.
    """

    level: str
    name: str
    reason: str
    rule: str = ""
    first: int = 0
    last: int = 0
    total: int = 0
    change: GraphDiff | None = None
    source: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    died: str = ""

    def as_text(self) -> str:
        """Return it as text."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{LEVELS[self.level]}: {self.name}"
        if self.rule:
            last = f"-{self.last}" if self.last > self.first else ""
            yield f"rewrite: {self.first}{last} of {self.total}, by {self.rule}"
        yield f"wrong: {self.reason}"
        if self.source:
            yield f"lines: {', '.join(self.source)}"
        yield from self.notes
        if self.change is not None and not self.change.is_equal:
            yield "before → after:"
            yield from (f"  {x}" for x in self.change.as_text().split("\n"))

    def as_json(self) -> dict[str, object]:
        """Return it as a document."""
        return {
            "level": self.level,
            "name": self.name,
            "reason": self.reason,
            "rule": self.rule,
            "first": self.first,
            "last": self.last,
            "total": self.total,
            "source": list(self.source),
            "notes": list(self.notes),
            "died": self.died,
            "change": None if self.change is None else self.change.as_json(),
        }


@dataclass(frozen=True)
class Failure:
    """What is wrong with code that ran.

    Parameters
    ----------
    reason : str
    died : str
        How it ended its process; see `Culprit`.
    """

    reason: str
    died: str = ""

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Return what an error says that code, a pass or the interpreter raised."""
        if isinstance(error, ProcessDied):
            return cls(error.message, error.how)
        return cls(said(error))


LEVELS = {
    "pass": "pass at fault",
    "program": "step of lowering at fault",
    "kernel": "kernel at fault",
    "code": "machine code at fault",
}


def said(error: Exception) -> str:
    """Say what a pass raised, and where."""
    first = next(iter(str(error).splitlines()), "")
    place = place_of(error)
    what = f": {first}" if first else ""
    return f"it raises {type(error).__name__}{what}" + (f" ({place})" if place else "")


def place_of(error: Exception) -> str:
    """Return the file and line that raised an error; of another process its own."""
    frames = traceback.extract_tb(error.__traceback__)
    here = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return getattr(error, "raised_at", here)
