"""One HTML file with everything in it: the document, its style, script and layout.

Needs a document (`model`). Establishes a page that opens from disk and asks nothing of
the network: a policy in its head forbids it to. Text of the user reaches the page as
JSON alone, in which ``<`` and the line ends that JavaScript knows are escaped, and the
script puts it there as text, never as markup.
"""

import html
import inspect
import json
import os
import re
import tempfile
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...api import JitFunction
from ...compiled import Compiled
from ...stages import Lowered
from ..profiler import Profile
from .model import NO_EXTRAS, Extras, Json, document, packed

PACK_FROM = 1 << 20  # characters of JSON from which on it is packed
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
SCRIPTS = ("data", "text", "list", "levels", "drawing", "search", "panels", "main")
_ESCAPES = {"<": "\\u003c", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Page:
    """A page: HTML that notebooks show, and that can be written and opened.

    Parameters
    ----------
    name : str
        Of the function.
    text : str
        The whole file.
    """

    name: str
    text: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file and return where that is."""
        place = Path(path)
        place.write_text(self.text, "utf-8")
        return place

    def open(self) -> Path:
        """Write it to a new folder for temporary files, and open it in a browser."""
        folder = tempfile.mkdtemp(prefix="tracejit-")
        place = self.save(Path(folder) / f"{file_name(self.name)}.html")
        webbrowser.open(place.as_uri())
        return place

    def _repr_html_(self) -> str:
        frame = "width:100%;height:760px;border:1px solid #8888;border-radius:8px"
        title = html.escape(f"Compilation of {self.name}")
        document = html.escape(self.text)
        return f'<iframe title="{title}" style="{frame}" srcdoc="{document}"></iframe>'

    def __repr__(self) -> str:
        return f"<Page of @{self.name}: {len(self.text) / 1e6:.1f} MB; save(), open()>"


def page(stage: Compiled | Lowered, extras: Extras = NO_EXTRAS) -> Page:
    """Return the page of a compilation.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> shown = page(tj.jit(lambda x: x + 1).lower(np.zeros(3)))
    >>> shown.text.startswith("<!doctype html>")
    True
    """
    found = document(stage, extras)
    return Page(str(found["name"]), page_of(found))


def view(
    stage: Compiled | Lowered,
    path: str | os.PathLike[str] | None = None,
    extras: Extras = NO_EXTRAS,
) -> Page:
    """Return the page of a compilation, written to a file if one is named."""
    found = page(stage, extras)
    if path is not None:
        found.save(path)
    return found


def view_function(
    function: JitFunction,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    profile: Profile | None = None,
) -> Page:
    """Return the page of a function at the arguments of a call."""
    code = getattr(inspect.unwrap(function.__wrapped__), "__code__", None)
    likely = () if code is None else (code.co_filename,)
    lowered = function.lower(*args, **kwargs)
    return view(lowered, path, Extras(likely, profile=profile))


def file_name(name: str) -> str:
    """Return the name of a function as one that every file system takes."""
    return re.sub(r"[^\w.-]", "_", name) or "view"


def page_of(found: dict[str, Json]) -> str:
    """Return the page of a document."""
    title = html.escape(f"{found['name']} · tracejit")
    return _TEMPLATE.format(
        title=title,
        policy=html.escape(POLICY),
        icon=_ICON,
        style=_part("page.css"),
        body=_part("page.html"),
        data=_data(found),
        layout=_layout(),
        license=_part("dagre/LICENSE"),
        script="\n".join(_part(f"script/{name}.js") for name in SCRIPTS),
    )


def _data(found: dict[str, Json]) -> str:
    """Return the document as the content of a script element that is no script."""
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    if len(text) > PACK_FROM:
        text = json.dumps({"packed": packed(text)})
    for sign, escaped in _ESCAPES.items():
        text = text.replace(sign, escaped)
    return text


def _layout() -> str:
    """Return the layout library without the place of a map that is not here."""
    lines = _part("dagre/dagre.min.js").splitlines()
    return "\n".join(x for x in lines if not x.startswith("//# sourceMappingURL"))


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'"
    "%3E%3Crect width='16' height='16' rx='4' fill='%232f5fd0'/%3E%3Cpath d='M4 5h8M8 "
    "5v7' stroke='white' stroke-width='2' stroke-linecap='round'/%3E%3C/svg%3E"
)
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{icon}">
<style>
{style}
</style>
</head>
<body>
{body}
<script type="application/json" id="document">{data}</script>
<script>
/* @dagrejs/dagre, the layout of the drawing:
{license}*/
{layout}
</script>
<script>
{script}
</script>
</body>
</html>
"""
