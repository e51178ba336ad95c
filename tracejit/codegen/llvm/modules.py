"""A Program's functions as several LLVM modules, which are compiled side by side.

Needs the functions as they are written, by the symbols that the host function calls. A
module is given away as soon as it is long enough, and is compiled while others are
written. Tables of constants each module has. Functions that kernels share (tiles of
products, elementary functions) are compiled once: long ones are modules of their own,
whose object code is found on disk by all programs that have them, and short ones are
with the first that calls them. What other modules call is *hidden*: seen by what is
linked with it, and by nothing else.

The modules depend on the text alone, not on how many threads compile them.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from .target import Target
from .text import module_text

# Text that is worth a module: LLVM takes 1 ms for 1,000, and 1 ms for each module.
PIECE = 16_000
SHARED = 2_000  # of a function that other programs may have as well
SHARE = 8  # later modules have at least this part of what is written: a dozen or two
_SYMBOL = re.compile(r"@([\w.$]+)")
_HEADER = re.compile(r"^define internal (.*?@([\w.$]+)\(.*\) [^()]*) \{$", re.MULTILINE)


class Modules:
    """Puts functions into modules, in the order in which they are written.

    Parameters
    ----------
    target : Target
    declarations, globals_ : mapping of str to str
        What emitters of all functions collect, by symbol: constants and functions that
        kernels share among the globals. They may grow.
    ready : callable
        Takes the text of each module.
    """

    def __init__(
        self,
        target: Target,
        declarations: Mapping[str, str],
        globals_: Mapping[str, str],
        ready: Callable[[str], None],
    ) -> None:
        self.target, self.ready = target, ready
        self.declarations, self.globals_ = declarations, globals_
        self._units: list[str] = []  # what was added
        self._group: dict[str, str] = {}  # of the next module
        self._headers: dict[str, str] = {}  # of what other modules may call
        self._size = self._total = 0

    def add(self, symbol: str, text: str) -> None:
        """Add a kernel or a step, complete with the functions that it alone calls."""
        self._units.append(text)
        texts = {name: self.globals_[name] for name in self._new_functions(text)}
        for name, function in (*texts.items(), (symbol, text)):
            self._headers[name] = _header(name, function)
        for name, function in texts.items():
            if len(function) < SHARED:
                self._enter(name, function)
            else:
                self._total += len(function)
                self._give({name: function})
        self._enter(symbol, text)
        if self._size >= max(PIECE, self._total // SHARE):
            self._give(self._group)
            self._group, self._size = {}, 0

    def finish(self, main: str) -> str:
        """Give away what is left, and the functions that the outside may call.

        Returns
        -------
        str
            One module of all functions.
        """
        texts = [*self._units, main]
        whole = module_text(
            self.target, self.declarations.values(), texts, self.globals_.values()
        )
        if self._size == self._total:  # of which no module was made
            self.ready(whole)
        else:
            self._give({**self._group, "": main})
        return whole

    def _new_functions(self, text: str) -> list[str]:
        """Return the functions that a text shares with others, if it is the first."""
        return [
            name
            for name in self._needed([text], self._headers)
            if name not in self._headers and _is_function(self.globals_.get(name, ""))
        ]

    def _enter(self, symbol: str, text: str) -> None:
        self._group[symbol] = text
        self._size += len(text)
        self._total += len(text)

    def _give(self, group: Mapping[str, str]) -> None:
        needed = self._needed(group.values(), self._headers)
        declared = self.declarations
        lines = [declared[name] for name in needed if name in declared]
        lines += [
            f"declare hidden {self._headers[name]}"
            for name in needed
            if name in self._headers and name not in group
        ]
        own = [
            self.globals_[name]
            for name in needed
            if name in self.globals_ and name not in self._headers
        ]
        texts = [_visible(n, text) if n else text for n, text in group.items()]
        self.ready(module_text(self.target, lines, texts, own))

    def _needed(
        self, texts: Iterable[str], apart: Mapping[str, str]
    ) -> dict[str, None]:
        """Return the symbols in texts and in the globals that they need.

        What is `apart` counts, and what it needs does not.
        """
        found: dict[str, None] = {}
        waiting = [name for text in texts for name in _symbols(text)]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                if name not in apart:
                    waiting += _symbols(self.globals_.get(name, ""))
        return found


def _symbols(text: str) -> Sequence[str]:
    return tuple(dict.fromkeys(_SYMBOL.findall(text)))


def _is_function(text: str) -> bool:
    return text.startswith("define internal ")


def _header(symbol: str, text: str) -> str:
    """Return what declares a function of a text: ``void @k0(ptr %x)``."""
    header: str = next(h for h, name in _HEADER.findall(text) if name == symbol)
    return header


def _visible(symbol: str, text: str) -> str:
    """Return a text whose function of that name other modules may call."""
    header = re.compile(rf"^define internal (.*?@{re.escape(symbol)}\()", re.MULTILINE)
    return header.sub(r"define hidden \1", text)
