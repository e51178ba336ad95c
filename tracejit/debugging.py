"""The way from stages and compiled functions up to `tracejit.debug`.

What looks into the compiler stands above it, and loads when it is asked for.
"""

from importlib import import_module
from types import ModuleType


def debug_module(name: str) -> ModuleType:
    """Return a module of `tracejit.debug`."""
    return import_module(f"{__package__}.debug.{name}")


class Shown:
    """A stage of compilation that shows its levels: as text, and in notebooks."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        html: str = debug_module("notebook").stage_html(self)
        return html

    def __repr__(self) -> str:
        text: str = debug_module("notebook").stage_text(self)
        return text
