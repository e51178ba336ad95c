"""A Program's functions as several LLVM modules, which are compiled side by side.

Needs the functions by the symbols that the host function calls. Kernels share nothing
but tables of constants, which each module has, and functions that several kernels call:
tiles of products, elementary functions. These, and long ones, are in modules of their
own, so that they are compiled once. What other modules call is *hidden*: seen by what
is linked with it, and by nothing else.

The modules depend on the text alone, not on how many threads compile them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...records import dataclass
from .target import Target
from .text import module_text

# Text that is worth a module: LLVM takes 10 ms for it, and 2 for a single instruction.
PIECE = 12_000
MOST_PIECES = 12  # about
_SYMBOL = re.compile(r"@([\w.$]+)")
_HEADER = re.compile(r"^define internal (.*?@([\w.$]+)\(.*\)) [^()]*\{$", re.MULTILINE)


@dataclass(frozen=True)
class Functions:
    """The functions of a Program.

    Parameters
    ----------
    main : str
        Those that the outside may call.
    units : mapping of str to str
        Kernels and steps: the text of each, by the symbol that `main` calls.
    declarations, globals_ : mapping of str to str
        As emitters of all of them have collected them, by symbol.
    """

    main: str
    units: Mapping[str, str]
    declarations: Mapping[str, str]
    globals_: Mapping[str, str]

    def whole(self, target: Target) -> str:
        """Return one module of all functions."""
        return module_text(
            target,
            self.declarations.values(),
            [*self.units.values(), self.main],
            self.globals_.values(),
        )

    def pieces(self, target: Target) -> tuple[str, ...]:
        """Return modules that are linked to the same effect, of `PIECE` and more."""
        size = sum(map(len, (*self.units.values(), *self.globals_.values())))
        if size < 2 * PIECE:
            return (self.whole(target),)
        piece = max(PIECE, size // MOST_PIECES)
        return tuple(_Split(self, target, piece).modules())


class _Split:
    """Which function is in which module."""

    def __init__(self, functions: Functions, target: Target, piece: int) -> None:
        self.functions, self.target = functions, target
        self.globals_ = functions.globals_
        self.uses = {name: _symbols(text) for name, text in self.globals_.items()}
        texts = _grouped(functions.units, piece)
        self.groups: list[dict[str, str]] = [*texts, {"": functions.main}]
        needed = [self._needed(group.values()) for group in self.groups]
        users = Counter(name for names in needed for name in names)
        shared = {
            name: text
            for name, text in self.globals_.items()
            if _is_function(text) and (users[name] > 1 or 2 * len(text) > PIECE)
        }
        self.groups += _grouped(shared, piece)
        self.exported = _headers({**functions.units, **shared})

    def modules(self) -> Iterable[str]:
        """Yield the text of each module."""
        for group in self.groups:
            yield self._module(group)

    def _module(self, group: Mapping[str, str]) -> str:
        needed = self._needed(group.values(), self.exported)
        declared = self.functions.declarations
        lines = [declared[name] for name in needed if name in declared]
        lines += [
            f"declare hidden {self.exported[name]}"
            for name in needed
            if name in self.exported and name not in group
        ]
        own = [
            self.globals_[name]
            for name in needed
            if name in self.globals_ and name not in self.exported
        ]
        texts = [_visible(n, t) if n in self.exported else t for n, t in group.items()]
        return module_text(self.target, lines, texts, own)

    def _needed(
        self, texts: Iterable[str], without: Iterable[str] = ()
    ) -> dict[str, None]:
        """Return the symbols in texts and in the globals that they need."""
        found: dict[str, None] = {}
        waiting = [name for text in texts for name in _symbols(text)]
        apart = set(without)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                waiting += () if name in apart else self.uses.get(name, ())
        return found


def _symbols(text: str) -> Sequence[str]:
    return tuple(dict.fromkeys(_SYMBOL.findall(text)))


def _is_function(text: str) -> bool:
    return text.startswith("define internal ")


def _grouped(texts: Mapping[str, str], piece: int) -> list[dict[str, str]]:
    """Return texts, in order, in groups of at least `piece` but for the last."""
    groups: list[dict[str, str]] = []
    size = piece
    for name, text in texts.items():
        if size >= piece:
            groups.append({})
            size = 0
        groups[-1][name] = text
        size += len(text)
    return groups


def _headers(texts: Mapping[str, str]) -> dict[str, str]:
    """Return what declares each of the functions: ``void @k0(ptr %x)``."""
    out = {}
    for name, text in texts.items():
        for header, symbol in _HEADER.findall(text):
            if symbol == name:
                out[name] = header
    return out


def _visible(symbol: str, text: str) -> str:
    """Return a text whose function of that name other modules may call."""
    header = re.compile(rf"^define internal (.*?@{re.escape(symbol)}\()", re.MULTILINE)
    return header.sub(r"define hidden \1", text)
