"""One finding of an explanation: a reason's code, and what it is about."""

from dataclasses import dataclass

from .reasons import REASONS, Reason

COPIES = frozenset({"CALL_UNALIGNED", "LAYOUT_RESHAPE", "WRITE_COPIED"})


@dataclass(frozen=True)
class Finding:
    """Something that the compiler did, and why.

    Parameters
    ----------
    code : str
        Of `reasons.REASONS`.
    message : str
        What happened here, on one line.
    sources : tuple of str
        The user's lines: ``"model.py:12"``.
    subject : str
        What it is about: an argument, a captured name, a primitive.
    bytes : int, optional
        What it costs a call: what goes through memory, or is copied.
    details : tuple of (str, str or int)
        More of it by name, for programs.
    """

    code: str
    message: str
    sources: tuple[str, ...] = ()
    subject: str = ""
    bytes: int | None = None
    details: tuple[tuple[str, str | int], ...] = ()

    @property
    def reason(self) -> Reason:
        """The row of the table of reasons."""
        return REASONS[self.code]

    @property
    def remedy(self) -> str:
        """How to change the program."""
        return self.reason.remedy

    @property
    def is_copy(self) -> bool:
        """Whether its bytes are copied from one place to another."""
        return self.reason.group == "copy" or self.code in COPIES

    def as_json(self) -> dict[str, object]:
        """Return it as a document of strings, numbers, lists and dicts."""
        return {
            "code": self.code,
            "group": self.reason.group,
            "title": self.reason.title,
            "message": self.message,
            "sources": [*self.sources],
            "subject": self.subject,
            "bytes": self.bytes,
            "why": self.reason.why,
            "remedy": self.remedy,
            **dict(self.details),
        }


def at(sources: tuple[str, ...], most: int = 3) -> str:
    """Return lines as text to append: `` at model.py:3``."""
    if not sources:
        return ""
    more = f", ... ({len(sources)} lines)" if len(sources) > most else ""
    return f" at {', '.join(sources[:most])}{more}"
