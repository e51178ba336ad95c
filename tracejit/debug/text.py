"""Numbers and tables as people read them: for reports in text and HTML."""

from collections.abc import Sequence
from html import escape


def in_seconds(seconds: float) -> str:
    """Return a time with its unit.

    Examples
    --------
    >>> in_seconds(0.00123), in_seconds(2.5)
    ('1.23 ms', '2.5 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def in_thousands(count: float) -> str:
    """Return a number with the prefix of a thousand, a million and so on.

    Examples
    --------
    >>> in_thousands(1_500_000), in_thousands(12)
    ('1.5M', '12')
    """
    for prefix in ("", "k", "M", "G", "T"):
        if abs(count) < 1000:
            return f"{count:.3g}{prefix}"
        count /= 1000
    return f"{count:.3g}P"


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a table; all columns but the last `left` ones are set to the right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    turn = len(head) - left
    return "\n".join(
        "  ".join(
            x.rjust(w) if k < turn else x.ljust(w)
            for k, (x, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as HTML."""
    titles = "".join(f"<th>{escape(x)}</th>" for x in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(x)}</td>' for x in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
