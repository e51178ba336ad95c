"""The memory plan: where in the arena each intermediate buffer lives.

Buffers whose lives do not overlap share memory. Offsets are multiples of 64 bytes; a
buffer goes to the lowest gap that is free during its whole life (first fit).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

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
    placed: list[tuple[int, int, _Life]] = []
    offsets: dict[str, int] = {}
    for life in sorted(lives, key=lambda v: (-_size(v.buffer), v.first)):
        size = _size(life.buffer)
        taken = sorted(
            (a, z)
            for a, z, other in placed
            if other.first <= life.last and life.first <= other.last
        )
        at = 0
        for a, z in taken:
            if at + size <= a:
                break
            at = max(at, z)
        offsets[life.buffer.name] = at
        placed.append((at, at + size, life))
    buffers = tuple(
        replace(b, offset=offsets.get(b.name, 0)) if b.storage is Storage.ARENA else b
        for b in program.buffers
    )
    total = max((z for _, z, _ in placed), default=0)
    return replace(program, buffers=buffers, arena_bytes=total)


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
