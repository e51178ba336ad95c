"""Carries of loops that are written where they are read, or take turns in buffers.

Lowering computes what a turn gives to a carry somewhere else, and copies it at the end
of the turn. Where nothing reads an old carry once the new one is written, or where a
kernel reads of it only the element that it writes, it is written in place:

    loop 8 {                                loop 8 {
      run @k0(%y2) -> (%t5)           →       run @k0(%y2) -> (%y2)
      copy %t5 -> %y2                       }
    }

In other loops several turns become one, after which the carries are where they were.
What is left over runs before, with copies:

    loop 9 {                                run @k1(%y2) -> (%t5)
      run @k1(%y2) -> (%t5)           →     copy %t5 -> %y2
      copy %t5 -> %y2                       loop 4 {
    }                                         run @k1(%y2) -> (%t5)
                                              run @k1(%t5) -> (%y2)
                                            }

Needs a program as it is lowered: copies at the end of a turn are those to carries.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ..kernels.in_place import can_write_in_place
from ..records import dataclass
from .plan import touched
from .program import (
    Copy,
    Extern,
    If,
    Loop,
    Move,
    Program,
    Purpose,
    Run,
    Step,
    Storage,
    While,
    ends_of,
    nested,
    parts_of,
    with_parts,
)

MOST_STEPS = 64  # of all turns that become one
MOST_TURNS = 4  # that become one


def without_carry_copies(program: Program) -> Program:
    """Return the program without copies of carries, as far as that can be.

    The same object if there is nothing to do.
    """
    if not any(isinstance(s, Loop | While) for s in program.steps):
        return program
    rewriting = _Rewriting(program)
    steps = rewriting.steps(program.steps)
    if not rewriting.changes:
        return program
    used = {n for step in steps for n in touched(step)}
    used |= {rewriting.root(n) for n in used} | {*program.inputs, *program.outputs}
    buffers = tuple(b for b in rewriting.buffers.values() if b.name in used)
    return replace(program, steps=steps, buffers=buffers)


@dataclass
class _Turn:
    """One turn of a loop.

    Parameters
    ----------
    steps : tuple of Step
        Without the copies at its end.
    copies : tuple of Copy
        As they were found.
    after : dict of str to str
        The carries that are another buffer at the end, and which: all at once.
    """

    steps: tuple[Step, ...]
    copies: tuple[Copy, ...]
    after: dict[str, str]


@dataclass(frozen=True)
class _Place:
    """Which turn of a loop steps are.

    Parameters
    ----------
    loop : str
        The loop that its aliases move with now.
    start : int
        The turn, or the first of the turns, that they are.
    every : int
        They run at every so many turns of it; 0 if they are one turn alone.
    """

    loop: str
    start: int
    every: int


class _Rewriting:
    """One program being rewritten, inner loops first."""

    def __init__(self, program: Program) -> None:
        self.buffers = program.by_name
        self.uses = Counter(self.roots(program.steps))
        loops = (s.name for s in nested(program.steps) if isinstance(s, Loop))
        self.loops = set(loops)
        self.changes = 0

    def root(self, name: str) -> str:
        """Return the buffer that owns the memory of a buffer."""
        return self.buffers[name].base or name

    def roots(self, steps: Sequence[Step]) -> Iterator[str]:
        """Yield whose memory steps touch, once for each mention."""
        return (self.root(name) for step in steps for name in touched(step))

    def steps(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Return steps with their loops rewritten."""
        out: list[Step] = []
        for step in steps:
            inner = with_parts(step, [self.steps(p) for p in parts_of(step)])
            made = [inner]
            if isinstance(inner, Loop):
                made = self.loop(inner)
            elif isinstance(inner, While):
                made = [self.while_(inner)]
            if made != [inner]:
                self.changes += 1
                self.uses.subtract(self.roots([inner]))
                self.uses.update(self.roots(made))
            out.extend(made)
        return tuple(out)

    def loop(self, loop: Loop) -> list[Step]:
        found = self.turn(loop.steps)
        turn = self.in_place(found)
        order = _order(turn.after)
        size = len(list(nested(turn.steps))) * order
        is_small = order <= MOST_TURNS and size <= MOST_STEPS
        if turn.after and is_small and order <= loop.count:
            return self.by_turns(loop, turn, order)
        if turn is found:
            return [loop]
        return [replace(loop, steps=self.whole(turn))]

    def while_(self, step: While) -> While:
        found = self.turn(step.steps)
        turn = self.in_place(found)
        return step if turn is found else replace(step, steps=self.whole(turn))

    # --- what a turn does

    def turn(self, steps: tuple[Step, ...]) -> _Turn:
        """Take a turn apart; one with copies that are not understood has none."""
        n = len(steps)
        while n and isinstance(steps[n - 1], Copy) and self._is_own(steps[n - 1]):
            n -= 1
        copies = tuple(s for s in steps[n:] if isinstance(s, Copy))
        after: dict[str, str] = {}
        for copy in copies:
            after[copy.output] = after.get(copy.input, copy.input)
        between = {c.input for c in copies} & {c.output for c in copies}
        after = {
            to: source
            for to, source in after.items()
            if not (to in between and self._is_temporary(to, copies))
        }
        turn = _Turn(steps[:n], copies, after)
        is_known = all(self._is_source(x, turn) for x in after.values())
        is_known &= len(set(after.values())) == len(after)
        is_known &= all(self._layout(a) == self._layout(b) for a, b in after.items())
        return turn if is_known else _Turn(steps, (), {})

    def _is_own(self, step: Step) -> bool:
        """Tell whether a copy is to a buffer that owns its memory."""
        return isinstance(step, Copy) and self.buffers[step.output].base is None

    def _layout(self, name: str) -> tuple[object, ...]:
        buffer = self.buffers[name]
        return buffer.shape, buffer.strides, buffer.dtype

    def _is_source(self, name: str, turn: _Turn) -> bool:
        """Tell whether a buffer is a carry, or holds a value of this turn alone."""
        if name in turn.after:
            return True
        steps = (*turn.steps, *turn.copies)
        return self._is_temporary(name, steps) and not self._reads_first(name, steps)

    def _is_temporary(self, name: str, steps: Sequence[Step]) -> bool:
        """Tell whether a buffer is of the arena, and only these steps touch it."""
        if self.buffers[name].storage is not Storage.ARENA:
            return False
        return Counter(self.roots(steps))[name] == self.uses[name]

    def _reads_first(self, name: str, steps: Sequence[Step]) -> bool:
        """Tell whether something may read a buffer before all of it is written."""
        for step in steps:
            if name not in self.roots([step]):
                continue
            if not isinstance(step, Run | Extern | Copy):
                return True
            ins, outs = ends_of(step)
            return name not in outs or name in map(self.root, ins)
        return True

    # --- in place

    def in_place(self, turn: _Turn) -> _Turn:
        """Return a turn with values written over carries that are no longer read."""
        for carry, source in turn.after.items():
            if source in turn.after:
                continue
            for host in (carry, *turn.after):
                is_free = host not in turn.after.values()
                if is_free and self._can_take(host, source, turn.steps):
                    return self.in_place(self._written_to(host, source, turn))
        return turn

    def _written_to(self, host: str, source: str, turn: _Turn) -> _Turn:
        steps = self.elsewhere(turn.steps, {source: host}, None)
        steps = tuple(
            s for s in steps if not (isinstance(s, Copy) and s.input == s.output)
        )
        self.uses[source] = 0
        self.uses.subtract(self.roots(turn.steps))
        self.uses.update(self.roots(steps))
        after = {to: host if x == source else x for to, x in turn.after.items()}
        return _Turn(steps, (), {to: x for to, x in after.items() if to != x})

    def _can_take(self, host: str, source: str, steps: Sequence[Step]) -> bool:
        """Tell whether no step reads `host` once `source` is written, in its place."""
        if self._layout(host) != self._layout(source):
            return False
        is_written = False
        for step in steps:
            names = set(self.roots([step]))
            if is_written and host in names:
                return False
            if source in names and not is_written:
                is_written = True
                if host in names and not self._is_elementwise(step, host, source):
                    return False
        return True

    def _is_elementwise(self, step: Step, host: str, source: str) -> bool:
        """Tell whether a step reads of `host` only the element that it writes."""
        if isinstance(step, Copy):
            return (step.input, step.output) == (host, source)
        if not isinstance(step, Run) or step.outputs.count(source) != 1:
            return False
        if source in map(self.root, step.inputs):
            return False
        out = step.kernel.outputs[step.outputs.index(source)].name
        pairs = zip(step.kernel.inputs, step.inputs, strict=True)
        ins = [(b.name, name) for b, name in pairs if self.root(name) == host]
        return all(
            name == host and can_write_in_place(step.kernel, mine, out)
            for mine, name in ins
        )

    # --- by turns

    def by_turns(self, loop: Loop, turn: _Turn, order: int) -> list[Step]:
        """Return a loop of `order` turns at once, after those that are left over."""
        rest = loop.count % order
        out: list[Step] = []
        if rest:
            one = self.whole(turn)
            for i in range(rest):
                out.extend(self.elsewhere(one, {}, _Place(loop.name, i, 0)))
        many: list[Step] = []
        names: dict[str, str] = {}
        is_loop = loop.count // order > 1
        for i in range(order):
            place = _Place(loop.name, rest + i, order if is_loop else 0)
            many.extend(self.elsewhere(turn.steps, names, place))
            cycle = _closed(turn.after)
            names = {x: names.get(y, y) for x, y in cycle.items()}
        if not is_loop:
            return [*out, *many]
        return [*out, replace(loop, count=loop.count // order, steps=tuple(many))]

    def whole(self, turn: _Turn) -> tuple[Step, ...]:
        """Return the steps of a turn, with its copies."""
        if turn.copies:
            return (*turn.steps, *turn.copies)
        steps = list(turn.steps)
        kept = {x: self._new(x) for x in turn.after.values() if x in turn.after}
        steps += [Copy(x, name, purpose=Purpose.CARRY) for x, name in kept.items()]
        steps += [
            Copy(kept.get(x, x), to, purpose=Purpose.CARRY)
            for to, x in turn.after.items()
        ]
        return tuple(steps)

    def _new(self, like: str) -> str:
        """Return a buffer of the arena with the layout of another."""
        made = replace(
            self.buffers[like],
            name=self._fresh("t", self.buffers),
            storage=Storage.ARENA,
            index=-1,
            offset=-1,
        )
        self.buffers[made.name] = made
        return made.name

    # --- steps in other places

    def elsewhere(
        self, steps: Sequence[Step], names: Mapping[str, str], place: _Place | None
    ) -> tuple[Step, ...]:
        """Return steps on other memory, or as one of the turns of a loop.

        Parameters
        ----------
        steps : sequence of Step
        names : mapping of str to str
            Owners of memory, and what stands for them.
        place : _Place, optional
            Which turn they are; then loops inside get names of their own.
        """
        loops: dict[str, str] = {}
        if place is not None:
            inner = (s for s in nested(steps) if isinstance(s, Loop) and s.name)
            loops = {s.name: self._fresh_loop() for s in inner}
        known = dict(names)
        for name in dict.fromkeys(n for s in steps for n in touched(s)):
            known.setdefault(name, self._moved(name, names, place, loops))
        return tuple(_renamed(s, known, loops) for s in steps)

    def _moved(
        self,
        name: str,
        names: Mapping[str, str],
        place: _Place | None,
        loops: Mapping[str, str],
    ) -> str:
        """Return what stands for a buffer: itself, or an alias of its own."""
        buffer = self.buffers[name]
        if buffer.base is None:
            return name
        offset, moves = buffer.offset, []
        for move in buffer.moves:
            if place is None or move.loop != place.loop:
                moves.append(Move(loops.get(move.loop, move.loop), move.step))
                continue
            offset += place.start * move.step
            if place.every:
                moves.append(Move(place.loop, place.every * move.step))
        base = names.get(buffer.base, buffer.base)
        if (base, offset, tuple(moves)) == (buffer.base, buffer.offset, buffer.moves):
            return name
        made = replace(
            buffer,
            name=self._fresh("t", self.buffers),
            base=base,
            offset=offset,
            moves=tuple(moves),
        )
        self.buffers[made.name] = made
        return made.name

    def _fresh_loop(self) -> str:
        name = self._fresh("i", self.loops)
        self.loops.add(name)
        return name

    def _fresh(self, letter: str, known: Collection[str]) -> str:
        numbers = itertools.count(len(known))
        return next(n for i in numbers if (n := f"{letter}{i}") not in known)


def _closed(after: Mapping[str, str]) -> dict[str, str]:
    """Return what stands for each buffer at the next turn: a permutation.

    What a carry was, at the end of a chain of carries, is free: the next turn computes
    there what was computed in the buffer that the chain begins with.
    """
    cycle = dict(after)
    for source in set(after.values()) - after.keys():
        (end,) = {to for to in _chain(after, source) if to not in after.values()}
        cycle[source] = end
    return cycle


def _chain(after: Mapping[str, str], source: str) -> Iterator[str]:
    """Yield the carries that a value comes to, turn by turn."""
    to = {x: carry for carry, x in after.items()}
    while source in to:
        source = to[source]
        yield source


def _order(after: Mapping[str, str]) -> int:
    """Return after how many turns all carries are where they were."""
    cycle, names, order = _closed(after), dict[str, str](), 0
    while True:
        order += 1
        names = {x: names.get(y, y) for x, y in cycle.items()}
        if order > MOST_TURNS or all(x == y for x, y in names.items()):
            return order


def _renamed(step: Step, names: Mapping[str, str], loops: Mapping[str, str]) -> Step:
    def known(found: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(n, n) for n in found)

    if isinstance(step, Run | Extern):
        return replace(step, inputs=known(step.inputs), outputs=known(step.outputs))
    if isinstance(step, Copy):
        source, target = known((step.input, step.output))
        return replace(step, input=source, output=target)
    parts = [tuple(_renamed(s, names, loops) for s in p) for p in parts_of(step)]
    made = with_parts(step, parts)
    if isinstance(made, Loop):
        return replace(made, name=loops.get(made.name, made.name))
    assert isinstance(made, If | While)
    return replace(made, predicate=names.get(made.predicate, made.predicate))
