"""Stages as HTML, for notebooks: each level folds, and names, types and lines have
colours. One self-contained text, everything of the user's escaped.
"""

import re
from html import escape
from typing import TYPE_CHECKING

from .stage_levels import Level, levels_of

if TYPE_CHECKING:
    from ..compiled import Compiled
    from ..stages import Lowered, Traced

_STYLE = """\
.tracejit pre { margin: 0.3em 0 0.8em 1em; line-height: 1.35; overflow-x: auto;
  max-height: 40em; background: transparent; }
.tracejit summary { cursor: pointer; font-family: sans-serif; }
.tracejit .v { color: #0b61a4; }
.tracejit .t { color: #7a5a00; }
.tracejit .k { color: #8a2be2; }
.tracejit .c { color: #6b7280; }
@media (prefers-color-scheme: dark) {
  .tracejit .v { color: #7cc4ff; } .tracejit .t { color: #e2c46c; }
  .tracejit .k { color: #c9a0ff; } .tracejit .c { color: #9ca3af; } }
"""
_TOKENS = re.compile(
    r"(?P<c>;[^\n]*)"
    r"|(?P<v>[%@][\w.\"-]+)"
    r"|(?P<t>\b(?:bool|bf16|c(?:64|128)|[fiu](?:8|16|32|64|128)\w*)(?:\[[\d,]*\])?)"
    r"|(?P<k>\b(?:graph|return|kernel|program|define|call|load|store|ret|br)\b)"
)


def stage_html(stage: "Traced | Lowered | Compiled") -> str:
    """Return a stage as HTML: a fold per level, the last one open."""
    levels = list(levels_of(stage))
    folds = "".join(_fold(x, x is levels[-1]) for x in levels)
    title = f"{type(stage).__name__} {stage.recording.graph.name}"
    return (
        f"<div class='tracejit'><style>{_STYLE}</style>"
        f"<strong>{escape(title)}</strong>{folds}</div>"
    )


def _fold(level: Level, is_open: bool) -> str:
    lines = level.text.count("\n") + 1
    opened = " open" if is_open else ""
    return (
        f"<details{opened}><summary>{escape(level.title)} "
        f"<span class='c'>{lines} lines</span></summary>"
        f"<pre>{highlighted(level.text)}</pre></details>"
    )


def highlighted(text: str) -> str:
    """Return a level's text as HTML, with its tokens in spans.

    Examples
    --------
    >>> highlighted("%x: f32[3] <")
    "<span class='v'>%x</span>: <span class='t'>f32[3]</span> &lt;"
    """
    parts = []
    at = 0
    for found in _TOKENS.finditer(text):
        parts.append(escape(text[at : found.start()]))
        kind = found.lastgroup
        parts.append(f"<span class='{kind}'>{escape(found.group())}</span>")
        at = found.end()
    return "".join([*parts, escape(text[at:])])


LINES_SHOWN = 40


def stage_text(stage: "Traced | Lowered | Compiled") -> str:
    """Return a stage as people read it in a terminal: its last levels, cut."""
    graph = stage.recording.graph
    ins = ", ".join(map(str, graph.in_avals))
    outs = ", ".join(map(str, graph.out_avals))
    head = f"<{type(stage).__name__} {graph.name}: ({ins}) -> ({outs})>"
    levels = [x for x in levels_of(stage) if not x.name.startswith("code")]
    lines = levels[-1].text.splitlines()
    if len(levels) > 1:  # the Program stands before its kernels
        lines = [*levels[-2].text.splitlines(), "", *lines]
    more = len(lines) - LINES_SHOWN
    if more > 0:
        lines = [*lines[:LINES_SHOWN], f"... {more} more lines: print(x.as_text())"]
    return "\n".join([head, *lines])
