"""The memory plan: where in the arena each intermediate buffer lives.

Buffers whose lives do not overlap share memory. Offsets are multiples of 64 bytes; a
buffer goes to the lowest gap that is free during its whole life (first fit). Which
ranges of the arena are taken is kept for runs of steps, halved and halved again, as
ranges that are joined where they meet: so many lives may overlap without being asked
one by one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

from ..records import dataclass
from .program import Program, ProgramBuffer, Step, Storage, ends_of, nested

ALIGNMENT = 64


@dataclass
class _Life:
    """First and last step that touches a buffer."""

    buffer: ProgramBuffer
    first: int
    last: int


def plan_memory(program: Program) -> Program:
    """Return the program with arena offsets and the arena's size.

    What no step touches takes no memory.
    """
    lives = _lives(program)
    taken = _Taken(len(program.steps))
    offsets: dict[str, int] = {}
    total = 0
    for life in sorted(lives, key=lambda v: (-_size(v.buffer), v.first)):
        size = _size(life.buffer)
        at = taken.gap(life.first, life.last, size)
        taken.add(life.first, life.last, (at, at + size))
        offsets[life.buffer.name] = at
        total = max(total, at + size)
    buffers = tuple(
        replace(b, offset=offsets.get(b.name, 0)) if b.storage is Storage.ARENA else b
        for b in program.buffers
    )
    return replace(program, buffers=buffers, arena_bytes=total)


class _Ranges:
    """A set of numbers as ranges that neither overlap nor meet, in order."""

    __slots__ = ("starts", "stops")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Add a range, joining it with those that it meets."""
        first = bisect_left(self.stops, start)
        last = bisect_right(self.starts, stop)
        if first < last:
            if self.starts[first] <= start and stop <= self.stops[first]:
                return
            start = min(start, self.starts[first])
            stop = max(stop, self.stops[last - 1])
        self.starts[first:last] = [start]
        self.stops[first:last] = [stop]


class _Taken:
    """Which ranges of the arena are taken at which steps: a tree over the steps.

    The node of a run of steps knows what is taken at some of them (`some`) and what was
    taken at once for all of them (`whole`).
    """

    def __init__(self, steps: int) -> None:
        self.leaves = 1 << max(steps - 1, 1).bit_length()
        self.some: dict[int, _Ranges] = {}
        self.whole: dict[int, _Ranges] = {}

    def add(self, first: int, last: int, taken: tuple[int, int]) -> None:
        """Note that a range is taken from step `first` to step `last`."""
        above = set()
        for node in self._nodes(first, last):
            self.whole.setdefault(node, _Ranges()).add(*taken)
            while node:
                above.add(node)
                node //= 2
        for node in above:
            self.some.setdefault(node, _Ranges()).add(*taken)

    def gap(self, first: int, last: int, size: int) -> int:
        """Return the lowest place that is free for so many bytes during these steps."""
        found: list[_Ranges] = []
        above = set()
        for node in self._nodes(first, last):
            found.extend(filter(None, [self.some.get(node)]))
            while node := node // 2:
                above.add(node)
        found.extend(self.whole[node] for node in above if node in self.whole)
        return _first_gap(found, size)

    def _nodes(self, first: int, last: int) -> Iterator[int]:
        """Yield the fewest nodes that have exactly these steps."""
        low, high = first + self.leaves, last + self.leaves + 1
        while low < high:
            if low & 1:
                yield low
                low += 1
            if high & 1:
                high -= 1
                yield high
            low, high = low // 2, high // 2


def _first_gap(taken: Iterable[_Ranges], size: int) -> int:
    """Return the least number from which on `size` numbers are in none of the sets."""
    at, before = 0, -1
    while at != before:
        before = at
        for ranges in taken:
            k = bisect_right(ranges.stops, at)
            while k < len(ranges.starts) and ranges.starts[k] < at + size:
                at = ranges.stops[k]
                k += 1
    return at


def _size(buffer: ProgramBuffer) -> int:
    nbytes = prod(buffer.shape) * buffer.dtype.itemsize
    return -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT


def _lives(program: Program) -> list[_Life]:
    by_name = program.by_name
    lives: dict[str, _Life] = {}
    for i, step in enumerate(program.steps):
        for name in touched(step):
            buffer = by_name[name]
            if buffer.storage is Storage.ALIAS and buffer.base is not None:
                buffer = by_name[buffer.base]
            if buffer.storage is Storage.ARENA:
                life = lives.setdefault(buffer.name, _Life(buffer, i, i))
                life.last = i
    return list(lives.values())


def touched(step: Step) -> Iterator[str]:
    """Yield the buffers a step reads or writes, nested steps included."""
    for inner in nested([step]):
        ins, outs = ends_of(inner)
        yield from ins
        yield from outs
