"""Which buffers of a Program have memory of their own, how much, and whose lines.

Needs a Program. Establishes `OwnBuffer`s: for reports of memory before a call
(`debug.memory`), and when a call gets none.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from ..records import dataclass
from .plan import touched
from .program import Program, ProgramBuffer, Storage, ends_of, nested

KINDS: Mapping[Storage, str] = {
    Storage.INPUT: "input",
    Storage.OUTPUT: "output",
    Storage.CONSTANT: "constant",
    Storage.ARENA: "arena",
}
_LINES_SHOWN = 4


@dataclass(frozen=True)
class OwnBuffer:
    """Memory of its own that a Program has.

    Parameters
    ----------
    name : str
        As the Program calls it.
    kind : str
        ``input``, ``output``, ``constant`` or ``arena``.
    dtype : str
    shape : tuple of int
    bytes : int
    sources : tuple of str
        The user's lines that compute it; for inputs and constants those that read it.
    first, last : int
        The steps from which and to which it is needed.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    sources: tuple[str, ...]
    first: int
    last: int

    def __str__(self) -> str:
        shape = ",".join(map(str, self.shape))
        lines = shown_lines(self.sources)
        text = f"{in_bytes(self.bytes):>10}  {self.kind:8} {self.dtype}[{shape}]"
        return f"{text}  ; {lines}" if lines else text


def own_buffers(program: Program) -> Iterator[OwnBuffer]:
    """Yield what has memory of its own, with the steps that it lives for."""
    lives = _lives(program)
    writers, readers = users_of(program)
    last = max(sum(1 for _ in nested(program.steps)) - 1, 0)
    for b in program.buffers:
        is_apart = b.storage is Storage.ALIAS or b.donor is not None
        if is_apart or (b.storage is Storage.ARENA and b.name not in lives):
            continue
        sources = writers.get(b.name) or readers.get(b.name, {})
        is_planned = b.storage is Storage.ARENA
        yield OwnBuffer(
            b.name,
            KINDS[b.storage],
            b.dtype.name,
            b.shape,
            bytes_of(b),
            tuple(sources),
            *(lives[b.name] if is_planned else (0, last)),
        )


def bytes_of(buffer: ProgramBuffer) -> int:
    """Return the bytes of the elements of a buffer."""
    return prod(buffer.shape) * buffer.dtype.itemsize


def _lives(program: Program) -> dict[str, tuple[int, int]]:
    """Return the first and last step of each owner of memory.

    What is used inside of a loop lives as long as the loop, as the plan has it.
    """
    lives: dict[str, tuple[int, int]] = {}
    roots = roots_of(program)
    first = 0
    for step in program.steps:
        end = first + sum(1 for _ in nested([step])) - 1
        for name in touched(step):
            owner = roots[name]
            lives[owner] = lives.get(owner, (first, end))[0], end
        first = end + 1
    return lives


def users_of(program: Program) -> tuple[dict[str, dict[str, None]], ...]:
    """Return the lines that write each owner of memory, and those that read it."""
    found: tuple[dict[str, dict[str, None]], ...] = ({}, {})
    roots = roots_of(program)
    for step in nested(program.steps):
        ins, outs = ends_of(step)
        for names, known in ((outs, found[0]), (ins, found[1])):
            for name in names:
                lines = known.setdefault(roots[name], {})
                lines.update(dict.fromkeys(step.source))
    return found


def roots_of(program: Program) -> dict[str, str]:
    """Return the owner of memory for each buffer."""
    return {b.name: b.base or b.name for b in program.buffers}


def in_bytes(count: float) -> str:
    """Return a number of bytes with its unit.

    Examples
    --------
    >>> in_bytes(1536), in_bytes(0)
    ('1.5 KiB', '0 B')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            is_whole = unit == "B" or count >= 1000
            return f"{count:.0f} {unit}" if is_whole else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def shown_lines(sources: Sequence[str]) -> str:
    """Return the first of the user's lines, and how many there are more."""
    more = f" and {len(sources) - _LINES_SHOWN} more" * (len(sources) > _LINES_SHOWN)
    return f"{', '.join(sources[:_LINES_SHOWN])}{more}"
