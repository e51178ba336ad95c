"""A run written down: JSON for programs, a page for people."""

import json
from pathlib import Path

from . import report
from .page import page


def keep(run: report.Run, folder: Path | None, name: str) -> None:
    """Write ``NAME.json`` and ``NAME.html``, if a folder is given."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = report.as_json(run)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / f"{name}.html").write_text(page(json.loads(text)), encoding="utf-8")
