"""A planted bug as data: one edit of one file of the package.

An edit is a text that occurs once in the file, and what stands there instead: a small
mistake of the kind that people make, after which the package still imports.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One planted bug.

    Parameters
    ----------
    name : str
        What is wrong, in a few words.
    file : str
        Path below ``tracejit``.
    find, replace : str
        The text that stands there once, and what replaces it.
    culprit : str
        The rule or pass that does wrong, as `tracejit.debug.bisect` names it, or the
        step of lowering; ``code`` where machine code is wrong. Empty where it is none
        of these.
    program : str
        A graph as text whose result is wrong; empty where random ones show it.
    """

    name: str
    file: str
    find: str
    replace: str
    culprit: str = ""
    program: str = ""

    @property
    def area(self) -> str:
        """The part of the package, as the tests are laid out: ``codegen/llvm``."""
        first, second, *_ = self.file.split("/")
        both = f"{first}/{second}"
        return both if first == "codegen" or both == "ir/ops" else first

    @property
    def path(self) -> Path:
        """The file that it changes."""
        return ROOT / "tracejit" / self.file

    @property
    def module(self) -> str:
        """The module that it changes."""
        dotted = self.file.removesuffix(".py").replace("/", ".")
        return f"tracejit.{dotted}".removesuffix(".__init__")

    def applied(self, text: str) -> str:
        """Return the text of the file with the bug in it.

        Raises
        ------
        ValueError
            Where the text to be replaced does not occur once.
        """
        count = text.count(self.find)
        if count != 1:
            raise ValueError(f"{self.name}: {self.file} has its text {count} times")
        return text.replace(self.find, self.replace)
