"""Kernels without contractions: pointwise ones, and rows that are reduced.

Every kept axis is in dimension ``x``; axes that are reduced together are one more
dimension, ``r``. Where a pointwise kernel reads along one axis and writes along another
one (a transpose), that one is dimension ``y``, and programs have square tiles. A short
row is held whole (persistent). A long one is looped over in phases, one for each
reduction that needs the one before, and what several phases need is computed again in
each:

    softmax, looped:   for roffset ...: maximum     | phase 0
                       for roffset ...: sum of exp  | phase 1
                       for roffset ...: store       | phase 2
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...kernels.kernel import KernelOp, Load, Reduce, Store, result_of
from ...kernels.maps import AxisIndex
from ...kernels.pieces import Piece, axes_of, names_read, needed_for
from .code import Tuning, power_of_two, warps_for
from .cuts import COLUMN_BLOCK, is_column
from .rows import Row
from .tiles import Dim, Frame
from .writer import Writer, needs_64_bits, value_name

_POINTWISE_BLOCK = 1024
_SQUARE = 32  # both sides of the tile of a transpose
_INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1


@dataclass(frozen=True)
class Body:
    """The body of a kernel, and what it needs around it.

    Parameters
    ----------
    lines : list of str
    constexprs : dict of str to int
    grid, num_warps, num_stages : int
    form : str
    can_fail : bool
    """

    lines: list[str]
    constexprs: dict[str, int]
    grid: int
    num_warps: int
    num_stages: int
    form: str
    can_fail: bool


def write_nest(
    piece: Piece, tuning: Tuning, numbers: dict[str, int], program: str
) -> Body:
    """Return the body of a piece without contractions.

    `program` is the text of the program's number.
    """
    plan = _Plan(piece, tuning)
    nest = _Nest(piece, plan, numbers, program)
    nest.write()
    dims = (*plan.kept, *plan.groups)
    constexprs = {d.numel_name: d.numel for d in dims}
    constexprs.update({d.block_name: d.block for d in dims})
    looped = any(d.steps > 1 for d in plan.groups)
    form = "looped" if looped else "persistent" if plan.groups else "pointwise"
    return Body(
        nest.writer.lines,
        constexprs,
        prod(d.steps for d in plan.kept),
        plan.num_warps,
        2 if looped else 1,
        form,
        nest.writer.can_fail,
    )


class _Plan:
    """The dimensions of a nest: `x`, and one for each group of reduced axes."""

    def __init__(self, piece: Piece, tuning: Tuning) -> None:
        self.piece, self.tuning = piece, tuning
        kernel = piece.kernel
        kept = [a for a in piece.loops if a not in piece.reduced]
        found = {
            tuple(a for a in piece.loops if a in op.axes): None
            for op in kernel.body
            if isinstance(op, Reduce)
        }
        self.group_axes = list(found)
        across = () if found else _across(piece)
        self.y = self._dim("y", across, "[None, :]", _SQUARE) if across else None
        self.x = self._x([a for a in kept if a not in across])
        self.groups = [self._group(k, axes) for k, axes in enumerate(self.group_axes)]
        if self.groups:
            largest = max(d.block for d in self.groups)
            self.num_warps = warps_for(self.x.block * largest)
        else:
            held = prod(d.block for d in self.kept)
            self.num_warps = max(min(held // 128, 4), 1)

    @property
    def kept(self) -> tuple[Dim, ...]:
        """The dimensions of axes that are not reduced."""
        return (self.x,) if self.y is None else (self.x, self.y)

    def _extents(self, axes: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.piece.kernel.extent(a) for a in axes)

    def _dim(self, letter: str, axes: Sequence[str], place: str, block: int) -> Dim:
        name = f"{letter.upper()}BLOCK"
        chosen = self.tuning.blocks.get(name, block)
        extents = self._extents(axes)
        return Dim(letter, tuple(axes), extents, chosen, place, name)

    def _row_limit(self, axes: Sequence[str]) -> int:
        """Return the longest row of a group that is held whole."""
        if not is_column(self.piece, axes):
            return self.tuning.persistent
        return 2 * self.tuning.tile // COLUMN_BLOCK

    def _x(self, kept: Sequence[str]) -> Dim:
        numel = Dim("x", tuple(kept), self._extents(kept), 1, "", "").numel
        whole = power_of_two(numel)
        if self.y is not None:
            return self._dim("x", kept, "[:, None]", _SQUARE)
        if not self.group_axes:
            return self._dim("x", kept, "", min(whole, _POINTWISE_BLOCK))
        room = []
        for axes in self.group_axes:
            length = power_of_two(Dim("r", axes, self._extents(axes), 1, "", "").numel)
            column = is_column(self.piece, axes)
            looped = length > self._row_limit(axes)
            if column:
                room.append(COLUMN_BLOCK)
            else:
                room.append(1 if looped else max(self.tuning.tile // length, 1))
        return self._dim("x", kept, "[:, None]", min(whole, *room))

    def _group(self, number_: int, axes: Sequence[str]) -> Dim:
        letter = "r" if len(self.group_axes) == 1 else f"r{number_}"
        whole = power_of_two(
            Dim("r", tuple(axes), self._extents(axes), 1, "", "").numel
        )
        block = whole
        if whole > self._row_limit(axes):
            room = max(2 * self.tuning.tile // self.x.block, 1)
            block = room if is_column(self.piece, axes) else self.tuning.loop
        return self._dim(letter, axes, "[None, :]", min(block, whole))


class _Nest:
    """Writes the statements of a nest."""

    def __init__(
        self, piece: Piece, plan: _Plan, numbers: dict[str, int], program: str
    ) -> None:
        self.piece, self.plan, self.program = piece, plan, program
        self.body = piece.kernel.body
        self.frame = Frame((*plan.kept, *plan.groups), {})
        self.writer = Writer(piece.kernel, self.frame, numbers)
        self.wide = needs_64_bits(piece.kernel, self.frame.dims)
        self.phase: dict[KernelOp, int] = {}
        ready: dict[str, int] = {}
        for op in self.body:
            self.phase[op] = max((ready[n] for n in names_read(op)), default=0)
            result = result_of(op)
            if result is not None:
                ready[result.name] = self.phase[op] + isinstance(op, Reduce)

    def group(self, op: KernelOp) -> Dim | None:
        """Return the reduced dimension that an operation runs along."""
        along = axes_of(op)
        return next((d for d in self.plan.groups if along & set(d.axes)), None)

    def write(self) -> None:
        """Write the whole body."""
        w = self.writer
        self.blocks()
        for dim in self.plan.kept:
            offset = f"{dim.letter}offset"
            arange = f"tl.arange(0, {dim.block_name}){dim.place}"
            w.line(f"{dim.index} = {offset} + {arange}")
            for text in dim.lines(self.used(self.body)):
                w.line(text)
        for dim in self.plan.groups:
            if dim.steps <= 1:
                self.positions(dim, f"tl.arange(0, {dim.block_name})", self.body)
        for number_ in range(max(self.phase.values(), default=-1) + 1):
            self.write_phase([op for op in self.body if self.phase[op] == number_])

    def blocks(self) -> None:
        """Write which block of the kept dimensions a program has."""
        w, x, y = self.writer, self.plan.x, self.plan.y
        pid = f"{self.program}.to(tl.int64)" if self.wide else self.program
        if y is None:
            w.line(f"xoffset = {pid} * XBLOCK")
            return
        w.line(f"pid = {pid}")
        w.line(f"xoffset = pid % {x.steps} * XBLOCK")
        w.line(f"yoffset = pid // {x.steps} * YBLOCK")

    def used(self, ops: Sequence[KernelOp]) -> set[str]:
        """Return the axes whose positions operations need."""
        return {a for op in ops for a in axes_of(op)}

    def positions(self, dim: Dim, start: str, ops: Sequence[KernelOp]) -> None:
        """Write the positions along a reduced dimension."""
        wide = ".to(tl.int64)" if self.wide else ""
        text = f"{start}{wide}" if start.startswith("tl.") else f"({start}{wide})"
        self.writer.line(f"{dim.index} = {text}{dim.place}")
        for text in dim.lines(self.used(ops)):
            self.writer.line(text)

    def write_phase(self, ops: Sequence[KernelOp]) -> None:
        """Write what became possible: outside of rows, then each row."""
        for op in ops:
            if self.group(op) is None:
                self.writer.write(op)
        for dim in self.plan.groups:
            mine = [op for op in ops if self.group(op) is dim]
            if dim.steps <= 1:
                for op in mine:
                    self.write_held(op, dim)
                continue
            roots = [op for op in mine if isinstance(op, Reduce | Store)]
            if roots:
                self.write_loop(roots, dim)

    def write_held(self, op: KernelOp, dim: Dim) -> None:
        """Write an operation on a row that is held whole."""
        if isinstance(op, Reduce):
            self.row(dim).write(op)
        else:
            self.writer.write(op)

    def row(self, dim: Dim) -> Row:
        """Return what reduces along a dimension."""
        return Row(self.writer, self.plan.x, dim, self.writer.extents)

    # --- a row in blocks

    def write_loop(self, roots: Sequence[KernelOp], dim: Dim) -> None:
        """Write one pass over a row."""
        w = self.writer
        ops = [op for op in needed_for(self.body, roots) if self.group(op) is dim]
        ops = [op for op in ops if not isinstance(op, Reduce) or op in roots]
        reduces = [op for op in roots if isinstance(op, Reduce)]
        for reduce in reduces:
            self.start(reduce, dim)
        offset = f"{dim.letter}offset"
        head = f"for {offset} in range(0, {dim.numel_name}, {dim.block_name}):"
        with w.block(head):
            self.positions(dim, f"{offset} + tl.arange(0, {dim.block_name})", ops)
            for op in ops:
                if isinstance(op, Reduce):
                    self.step(op, dim)
                else:
                    w.write(op)
        for reduce in reduces:
            self.end(reduce, dim)

    def start(self, op: Reduce, dim: Dim) -> None:
        """Write the accumulator of a reduction."""
        row, name = self.row(dim), value_name(op.result.name)
        how = row.reduction(op)
        tile = row.tile
        state = f"tl.full({tile}, {how.neutral}, {how.state_type})"
        self.writer.line(f"{name}_acc = {state}")
        if how.is_arg:
            last, type_ = (
                (_INT64_MAX, "tl.int64") if self.wide else (_INT32_MAX, "tl.int32")
            )
            self.writer.line(f"{name}_at = tl.full({tile}, {last}, {type_})")

    def step(self, op: Reduce, dim: Dim) -> None:
        """Write the update of an accumulator."""
        row, name = self.row(dim), value_name(op.result.name)
        how = row.reduction(op)
        value = row.masked(op)
        if not how.is_arg:
            self.writer.line(f"{name}_acc = {how.stepped(f'{name}_acc', value)}")
            return
        value = row.whole(value)
        pair = f"{name}_acc, {name}_at"
        call = f"{how.combine}({pair}, {value}, {row.position(op)})"
        self.writer.line(f"{pair} = {call}")

    def end(self, op: Reduce, dim: Dim) -> None:
        """Write the reduction of an accumulator to the result."""
        row, name = self.row(dim), value_name(op.result.name)
        how = row.reduction(op)
        if how.is_arg:
            pair = f"({name}_acc, {name}_at)"
            found = f"tl.reduce({pair}, 1, {how.combine})"
            self.writer.line(f"{name}_acc, {name}_at = {found}")
            self.writer.bind(
                op.result.name, f"{name}_at[:, None].to(tl.int64)", row.letters
            )
            return
        text = how.finished(how.over_tile(f"{name}_acc"))
        self.writer.bind(op.result.name, text, row.letters)


def _across(piece: Piece) -> tuple[str, ...]:
    """Return the axis that loads run along in memory where stores do not, if any."""
    kernel = piece.kernel
    if not piece.loops or kernel.extent(piece.loops[-1]) < _SQUARE // 2:
        return ()
    last = piece.loops[-1]
    for op in kernel.body:
        if not isinstance(op, Load | Store) or (isinstance(op, Load) and op.check):
            continue
        steps = {a.axis: c for a, c in op.map[0].terms if isinstance(a, AxisIndex)}
        if last not in steps or abs(steps[last]) == 1:
            continue
        for name, step in steps.items():
            if abs(step) == 1 and kernel.extent(name) >= _SQUARE // 2:
                return (name,)
    return ()
