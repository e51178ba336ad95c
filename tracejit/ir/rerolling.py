"""Re-rolling: a Python loop that was traced turn by turn becomes a `scan` again.

    %1 = mul %0, 0.5                   %9 = scan %0 {length=9, body={
    %2 = sin %1                            %1 = mul %0, 0.5
    %3 = mul %2, 0.5           →           %2 = sin %1
    %4 = sin %3                            return %2
    ...                                }}

Looks for windows of equations that follow one another and do the same: the same
primitives, params and avals in the same order; each operand is made in the same place
of its own window or of one a few windows before (a carry), or is one and the same in
all windows (a constant of the loop), or is a literal. Literals that differ become an
array of one number for each turn, and slices of a constant that move on by the same
step at each turn (``x[t]``) become what the scan takes slices of. Needs only the order
of equations: a Python loop that does the same at each turn emits the same equations.
Where windows begin is chosen so that the least goes from one to the next. Linear in the
number of equations.

Turns keep their equations, so values keep their bits, if products have already become
``fma``. Before that (`is_contracted` false) a loop is left alone where a product goes
from one turn to a sum of the next one, as it would be contracted there.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field
from functools import cached_property
from itertools import islice

import numpy as np

from ..records import dataclass
from .aval import Shape
from .builder import Builder
from .graph import Atom, Eqn, Graph, Literal, Var
from .ops.elementwise import add_p, mul_p, neg_p, sub_p
from .ops.loops import ScanParams, scan_p
from .ops.shape import (
    broadcast_in_dim_p,
    constant_p,
    full_like,
    ints,
    reshape,
    rev_p,
    slice_p,
    transpose_p,
)
from .primitive import ArrayConstant, Kind

LEAST_TURNS = 8
MOST_BACK = 4  # windows between where a value is made and where it is read
MOST_CARRIES = 24
_GRAM = 3  # equations that are looked up together
_PERIODS = 8  # distances between equal equations that are tried


@dataclass(frozen=True)
class Worth:
    """How many equations are worth a loop.

    Parameters
    ----------
    elementwise : int
        That compute elements by themselves, which become one kernel.
    others : int
    is_contracted : bool
        Whether products that become part of a ``fma`` have done so.
    """

    elementwise: int = 200
    others: int = 1000
    is_contracted: bool = True


@dataclass(frozen=True)
class Rolled:
    """What became a loop: `turns` of `equations` each, and the user's lines."""

    turns: int
    equations: int
    source: tuple[str, ...]

    def __str__(self) -> str:
        lines = f" ({', '.join(self.source)})" if self.source else ""
        return f"re-rolled: {self.turns} turns of {self.equations} equations{lines}"


def reroll(
    graph: Graph, worth: Worth, most: int | None = None
) -> tuple[Graph, list[Rolled]]:
    """Return the graph with repeated windows of equations as loops.

    Parameters
    ----------
    graph : Graph
        Sub-graphs stay as they are.
    worth : Worth
    most : int, optional
        How many loops to make at most.

    Returns
    -------
    graph : Graph
        The same object when nothing was found.
    found : list of Rolled
        In order.
    """
    if len(graph.eqns) < min(worth.elementwise, worth.others):
        return graph, []
    return _Rolling(graph, worth).run(most)


class _Windows:
    """Windows of equations: where they begin, and how long they are."""

    def __init__(self, start: int, period: int, count: int) -> None:
        self.start, self.period, self.count = start, period, count

    @property
    def stop(self) -> int:
        return self.start + self.period * self.count

    def place(self, position: int) -> tuple[int, int]:
        """Return the window of an equation, and its place there."""
        return divmod(position - self.start, self.period)


@dataclass(frozen=True)
class _Made:
    """An operand: result `index` of the equation at `place`, `back` windows before."""

    place: int
    index: int
    back: int


@dataclass(frozen=True)
class _Fixed:
    """An operand that is one and the same variable in all windows."""

    var: Var


@dataclass(frozen=True)
class _Number:
    """An operand that is a literal: number `index` of a window."""

    index: int


_Role = _Made | _Fixed | _Number


@dataclass
class _Loop:
    """What the windows of one loop have in common.

    Parameters
    ----------
    windows : _Windows
    roles : list of list of role
        What the operands of each equation are.
    inits : dict of (place, index, back) to Atom
        What carries are before the first turn, as far as it is known.
    depth : dict of (place, index) to int
        How many windows back each carried value is read.
    numbers : list of list of Literal
        Of each window.
    starts : dict of int to tuple of int
        Where slices begin at the first turn, by their places.
    steps : dict of int to tuple of int
        How far they move at each turn.
    """

    windows: _Windows
    roles: list[list[_Role]] = field(default_factory=list)
    inits: dict[tuple[int, int, int], Atom] = field(default_factory=dict)
    depth: dict[tuple[int, int], int] = field(default_factory=dict)
    numbers: list[list[Literal]] = field(default_factory=list)
    starts: dict[int, Shape] = field(default_factory=dict)
    steps: dict[int, Shape] = field(default_factory=dict)

    @property
    def moving(self) -> dict[int, int]:
        """The slices that move, by their places, and along which axis."""
        found = {p: [d for d, n in enumerate(s) if n] for p, s in self.steps.items()}
        return {place: axes[0] for place, axes in found.items() if axes}

    def is_step(self, place: int, window: int, start: Shape) -> bool:
        """Tell whether a slice is where the first windows say; learn it from them."""
        first = self.starts.setdefault(place, start)
        moved = tuple(a - b for a, b in zip(start, first, strict=True))
        if window == 1:
            self.steps[place] = moved
            is_fixed = isinstance(self.roles[place][0], _Fixed)
            return sum(n != 0 for n in moved) <= is_fixed
        step = self.steps.get(place, moved)
        return moved == tuple(window * n for n in step)


class _Rolling:
    """One search through a graph."""

    def __init__(self, graph: Graph, worth: Worth) -> None:
        self.graph, self.worth, self.eqns = graph, worth, graph.eqns
        self.kinds = _kinds(self.eqns)

    # What only graphs with windows need.

    @cached_property
    def made(self) -> dict[Var, tuple[int, int]]:
        """Where each variable is made: its equation, and which result of it."""
        return {
            v: (i, k) for i, e in enumerate(self.eqns) for k, v in enumerate(e.outvars)
        }

    @cached_property
    def last_use(self) -> dict[Var, int]:
        """The position of the last equation that reads each variable."""
        found: dict[Var, int] = {}
        for i, eqn in enumerate(self.eqns):
            for x in eqn.invars:
                if isinstance(x, Var):
                    found[x] = i
        for x in self.graph.outvars:
            if isinstance(x, Var):
                found[x] = len(self.eqns)
        return found

    @cached_property
    def products(self) -> set[Atom]:
        """What would become part of a ``fma`` yet."""
        return set() if self.worth.is_contracted else _products(self.eqns)

    def run(self, most: int | None) -> tuple[Graph, list[Rolled]]:
        """Return the graph with the loops that are found, the first `most` of them."""
        eqns: list[Eqn] = []
        found: list[Rolled] = []
        at = 0
        for loop in islice(self.loops(), most):
            windows = loop.windows
            eqns.extend(self.eqns[at : windows.start])
            eqns.extend(self.rolled(loop))
            at = windows.stop
            one = self.eqns[windows.start : windows.start + windows.period]
            source = tuple(dict.fromkeys(s for e in one for s in e.source))
            found.append(Rolled(windows.count, windows.period, source))
        if not found:
            return self.graph, found
        eqns.extend(self.eqns[at:])
        graph = self.graph
        return Graph(graph.name, graph.invars, graph.outvars, eqns), found

    # --- where windows may be

    def loops(self) -> Iterator[_Loop]:
        """Yield loops that do not overlap, in order."""
        taken: list[_Loop] = []
        for period in self._periods():
            for start, stop in self._runs(period):
                is_free = all(
                    stop <= x.windows.start or x.windows.stop <= start for x in taken
                )
                loop = self._loop(start, stop, period) if is_free else None
                if loop is not None:
                    taken.append(loop)
        yield from sorted(taken, key=lambda x: x.windows.start)

    def _periods(self) -> list[int]:
        """Return the most frequent distances between like equations, short ones first.

        Blocks inside of a turn may repeat as well; then a longer period is that of the
        turns, and those of the blocks fit no loop.
        """
        seen: dict[tuple[int, ...], int] = {}
        distances: Counter[int] = Counter()
        for i in range(len(self.kinds) - _GRAM + 1):
            gram = tuple(self.kinds[i : i + _GRAM])
            if gram in seen:
                distances[i - seen[gram]] += 1
            seen[gram] = i
        most = len(self.kinds) // LEAST_TURNS
        common = [d for d, _ in distances.most_common(_PERIODS) if d <= most]
        return sorted(common)

    def _runs(self, period: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of equations that are like those a period before."""
        kinds, start = self.kinds, 0
        for i in range(period, len(kinds) + 1):
            if i < len(kinds) and kinds[i] == kinds[i - period]:
                continue
            if (i - start) // period >= LEAST_TURNS:
                yield start, i
            start = i - period + 1

    def _loop(self, start: int, stop: int, period: int) -> _Loop | None:
        """Return the loop in a range, if it is one and worth it."""
        start += self._phase(start, stop, period)
        for _ in range(MOST_BACK):
            count = (stop - start) // period
            if count < LEAST_TURNS or not self._is_worth(start, period, count):
                return None
            loop = self._matched(_Windows(start, period, count))
            if loop is not None:
                is_done = self._keep_results(loop) and self._has_same_bits(loop)
                return loop if is_done else None
            start += period
        return None

    def _is_worth(self, start: int, period: int, count: int) -> bool:
        turn = self.eqns[start : start + period]
        is_elementwise = all(
            e.primitive.kind is Kind.ELEMENTWISE
            or (e.primitive is broadcast_in_dim_p and not e.invars[0].aval.shape)
            for e in turn
        )
        least = self.worth.elementwise if is_elementwise else self.worth.others
        return period * count >= least

    def _phase(self, start: int, stop: int, period: int) -> int:
        """Return where windows begin best: where the fewest bytes are still read."""
        middle = start + (stop - start) // period // 2 * period
        change = [0] * (period + 1)
        always = 0
        for i in range(middle, middle + period):
            for var in self.eqns[i].outvars:
                last = min(self.last_use.get(var, i), stop - 1)
                whole, part = divmod(last - i, period)
                size = max(var.aval.nbytes, 1)
                always += whole * size
                first = (i - middle + 1) % period
                change[first] += size if part else 0
                change[(first + part) % period] -= size if part else 0
                always += size if first + part > period else 0
        load, best = always, (0, 0)
        loads = []
        for place in range(period):
            load += change[place]
            loads.append((load, place))
        best = min(loads)
        return best[1]

    # --- what the windows have in common

    def _matched(self, windows: _Windows) -> _Loop | None:
        """Return the loop of as many windows as match; None for too few."""
        loop = _Loop(windows)
        sample = windows.start + MOST_BACK * windows.period
        for place in range(windows.period):
            roles = self._roles(sample + place, windows)
            if roles is None:
                return None
            loop.roles.append(roles)
        count = 0
        for number in loop.roles:
            count = _numbered(number, count)
        for window in range(windows.count):
            numbers = self._numbers(loop, window)
            if numbers is None:
                if window < LEAST_TURNS:
                    return None
                windows.count = window
                break
            loop.numbers.append(numbers)
        return loop

    def _roles(self, position: int, windows: _Windows) -> list[_Role] | None:
        """Return what the operands of an equation are in a window in the middle."""
        window, _ = windows.place(position)
        roles: list[_Role] = []
        for x in self.eqns[position].invars:
            if isinstance(x, Literal):
                roles.append(_Number(0))
                continue
            at, index = self.made.get(x, (-1, 0))
            if at < windows.start:
                roles.append(_Fixed(x))
                continue
            source, place = windows.place(at)
            if window - source > MOST_BACK:
                return None
            roles.append(_Made(place, index, window - source))
        return roles

    def _numbers(self, loop: _Loop, window: int) -> list[Literal] | None:
        """Return the literals of a window that matches; None for one that does not."""
        windows = loop.windows
        start = windows.start + window * windows.period
        numbers: list[Literal] = []
        for place, roles in enumerate(loop.roles):
            eqn = self.eqns[start + place]
            operands = eqn.invars
            if eqn.primitive is slice_p:
                begin = ints(eqn.params, "start")
                if not loop.is_step(place, window, begin):
                    return None
            for role, x in zip(roles, operands, strict=True):
                if isinstance(role, _Number):
                    if not isinstance(x, Literal):
                        return None
                    numbers.append(x)
                elif not self._is_role(loop, window, role, x):
                    return None
        return numbers

    def _is_role(self, loop: _Loop, window: int, role: _Role, x: Atom) -> bool:
        if isinstance(role, _Fixed):
            return x is role.var
        assert isinstance(role, _Made)
        windows = loop.windows
        key = role.place, role.index
        if role.back:
            loop.depth[key] = max(loop.depth.get(key, 0), role.back)
        if window >= role.back:
            at = windows.start + (window - role.back) * windows.period + role.place
            return x is self.eqns[at].outvars[role.index]
        var = self.eqns[windows.start + role.place].outvars[role.index]
        is_before = isinstance(x, Literal) or (
            self.made.get(x, (-1, 0))[0] < windows.start
        )
        if not is_before or x.aval != var.aval:
            return False
        known = loop.inits.setdefault((*key, role.back - window), x)
        return known is x or _same_literal(known, x)

    def _keep_results(self, loop: _Loop) -> bool:
        """Make carries of what is read after the loop; tell whether that can be."""
        windows = loop.windows
        for i in range(windows.start, windows.stop):
            for index, var in enumerate(self.eqns[i].outvars):
                if self.last_use.get(var, i) < windows.stop:
                    continue
                window, place = windows.place(i)
                back = windows.count - window
                if back > MOST_BACK:
                    return False
                key = place, index
                loop.depth[key] = max(loop.depth.get(key, 0), back)
        return 0 < sum(loop.depth.values()) <= MOST_CARRIES

    def _has_same_bits(self, loop: _Loop) -> bool:
        """Tell whether no product that a sum reads goes into the loop, or out of it."""
        if not self.products:
            return True
        windows = loop.windows
        for i in range(windows.start, len(self.eqns)):
            eqn = self.eqns[i]
            if eqn.primitive not in (add_p, sub_p):
                continue
            for x in eqn.invars:
                if x in self.products and self._crosses(windows, x, i):
                    return False
        return True

    def _crosses(self, windows: _Windows, x: Atom, reader: int) -> bool:
        assert isinstance(x, Var)
        at = self.made[x][0]
        is_inside = [windows.start <= p < windows.stop for p in (at, reader)]
        if not any(is_inside):
            return False
        return not all(is_inside) or windows.place(at)[0] != windows.place(reader)[0]

    # --- the loop

    def rolled(self, loop: _Loop) -> list[Eqn]:
        """Return the equations of a loop: its numbers, and the scan."""
        windows = loop.windows
        b = Builder("turns")
        slots = [(*key, j) for key, n in loop.depth.items() for j in range(1, n + 1)]
        varying = [
            i
            for i, row in enumerate(zip(*loop.numbers, strict=True))
            if any(x.key != row[0].key for x in row)
        ]
        moving = loop.moving
        fixed = dict.fromkeys(
            r.var
            for place, roles in enumerate(loop.roles)
            for r in roles
            if isinstance(r, _Fixed) and place not in moving
        )
        inits = [self._init(b, loop, slot) for slot in slots]
        xs = [
            b.emit(constant_p, value=ArrayConstant(_stacked(loop.numbers, i)))
            for i in varying
        ]
        xs += [self._slices(b, loop, place, axis) for place, axis in moving.items()]
        body = self._body(loop, list(fixed), slots, varying)
        params = ScanParams(body, windows.count, False, len(fixed), len(slots)).params
        outs = tuple(self._result(windows, slot) for slot in slots)
        source = tuple(
            dict.fromkeys(
                s
                for e in self.eqns[windows.start : windows.start + windows.period]
                for s in e.source
            )
        )
        scan = Eqn(scan_p, (*fixed, *inits, *xs), params, outs, source)
        return [*b.eqns, scan]

    def _slices(self, b: Builder, loop: _Loop, place: int, axis: int) -> Atom:
        """Return what the turns read of an array by a slice, along axis 0."""
        windows = loop.windows
        eqn = self.eqns[windows.start + place]
        step, count = loop.steps[place][axis], windows.count
        start, stop = list(loop.starts[place]), list(ints(eqn.params, "stop"))
        stride = list(ints(eqn.params, "stride"))
        start[axis] += min(step * (count - 1), 0)
        stop[axis] = start[axis] + abs(step) * (count - 1) + 1
        stride[axis] = abs(step)
        params = {"start": tuple(start), "stop": tuple(stop), "stride": tuple(stride)}
        (x,) = b.emit_all(slice_p, eqn.invars, params)
        x = x if step > 0 else b.emit(rev_p, x, axes=(axis,))
        axes = (axis, *(d for d in range(x.aval.ndim) if d != axis))
        return x if not axis else b.emit(transpose_p, x, perm=axes)

    def _init(self, b: Builder, loop: _Loop, slot: tuple[int, int, int]) -> Atom:
        """Return what a carry is at first: nothing reads those that are not known."""
        known = loop.inits.get(slot)
        place, index, _ = slot
        var = self.eqns[loop.windows.start + place].outvars[index]
        return full_like(b, 0, var.aval) if known is None else known

    def _result(self, windows: _Windows, slot: tuple[int, int, int]) -> Var:
        """Return the variable that a carry is after the last turn."""
        place, index, back = slot
        at = windows.start + (windows.count - back) * windows.period + place
        return self.eqns[at].outvars[index]

    def _body(
        self,
        loop: _Loop,
        fixed: Sequence[Var],
        slots: Sequence[tuple[int, int, int]],
        varying: Sequence[int],
    ) -> Graph:
        windows = loop.windows
        turn = self.eqns[windows.start : windows.start + windows.period]
        b = Builder(f"{self.graph.name}_turn")
        env: dict[object, Atom] = {v: b.input(v.aval, v.name) for v in fixed}
        for slot in slots:
            env[slot] = b.input(turn[slot[0]].outvars[slot[1]].aval)
        numbers: list[Atom] = list(loop.numbers[0])
        for i in varying:
            numbers[i] = b.input(numbers[i].aval)
        for place, axis in loop.moving.items():
            aval = turn[place].outvars[0].aval
            rest = tuple(n for d, n in enumerate(aval.shape) if d != axis)
            env[place] = b.input(aval.with_shape(rest))
        for place, (eqn, roles) in enumerate(zip(turn, loop.roles, strict=True)):
            b.source = eqn.source
            outs: Sequence[Atom]
            if place in env:
                outs = [reshape(b, env[place], eqn.outvars[0].aval.shape)]
            else:
                ins = [_operand(role, env, numbers) for role in roles]
                outs = b.emit_all(eqn.primitive, ins, eqn.params)
            env.update(((place, k, 0), out) for k, out in enumerate(outs))
        return b.build([env[place, k, back - 1] for place, k, back in slots])


def _operand(role: _Role, env: dict[object, Atom], numbers: Sequence[Atom]) -> Atom:
    if isinstance(role, _Number):
        return numbers[role.index]
    if isinstance(role, _Fixed):
        return env[role.var]
    return env[role.place, role.index, role.back]


def _numbered(roles: list[_Role], first: int) -> int:
    """Give the literals of an equation their numbers; return the next one."""
    for i, role in enumerate(roles):
        if isinstance(role, _Number):
            roles[i] = _Number(first)
            first += 1
    return first


def _same_literal(a: Atom, b: Atom) -> bool:
    return isinstance(a, Literal) and isinstance(b, Literal) and a.key == b.key


def _stacked(numbers: Sequence[Sequence[Literal]], index: int) -> np.ndarray:
    column = [row[index].value for row in numbers]
    return np.array(column, numbers[0][index].aval.dtype)


def _products(eqns: Sequence[Eqn]) -> set[Atom]:
    """Return the values that are products, perhaps negated."""
    found: set[Atom] = set()
    for eqn in eqns:
        is_negated = eqn.primitive is neg_p and eqn.invars[0] in found
        if eqn.primitive is mul_p or is_negated:
            found.add(eqn.outvars[0])
    return found


def _kinds(eqns: Sequence[Eqn]) -> list[int]:
    """Return a number for what each equation does, whatever it does it to."""
    numbers: dict[object, int] = {}
    out: list[int] = []
    for i, eqn in enumerate(eqns):
        key: object = i
        if not eqn.effects:
            # a literal's aval stands in a tuple of its own
            ins = [x.aval if isinstance(x, Var) else (x.aval,) for x in eqn.invars]
            outs = [x.aval for x in eqn.outvars]
            key = eqn.primitive, _params_key(eqn), tuple(ins), tuple(outs)
        out.append(numbers.setdefault(key, len(numbers)))
    return out


def _params_key(eqn: Eqn) -> tuple[tuple[str, object], ...]:
    if not eqn.params:
        return ()
    if eqn.primitive is slice_p:
        return _slice_key(eqn)
    return tuple((k, _param_key(v)) for k, v in sorted(eqn.params.items()))


def _slice_key(eqn: Eqn) -> tuple[tuple[str, object], ...]:
    """Return what slices of one element along an axis have in common wherever it is."""
    ends = zip(ints(eqn.params, "start"), ints(eqn.params, "stop"), strict=True)
    where = tuple((-1, -1) if b - a == 1 else (a, b) for a, b in ends)
    return ("where", where), ("stride", eqn.params["stride"])


def _param_key(value: object) -> object:
    if isinstance(value, Graph):
        return value.key
    if isinstance(value, tuple):
        return tuple(map(_param_key, value))
    return value
