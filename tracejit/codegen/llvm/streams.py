"""Streams on CPUs: attention and its derivative without an array of scores.

A range counts *units*: a block of rows at one position of all other axes of the
results. A unit packs its own operands once, then goes through the stream in tiles::

    pack qᵀ
    for each tile:  s[k, i] = k[k, :] @ qᵀ           scores, rows of the tile innermost
                    p[k, i] = weights of s           a kernel (`stream_kernels`)
                    acc[i, :] += pᵀ @ v[k, :]
    store acc

With a maximum (`online`) the tile's maximum comes first, and what was summed before is
scaled where it grew. A tile that a mask of positions hides is left out if its
exponentials are zero: its fill is so far below the maxima of its rows that the
exponential underflows. What is hidden is then not multiplied by zero, which only
infinite or NaN values in hidden places would show.

The extents of tiles do not depend on the machine: an element has the same bits on all.
Needs a kernel whose parts are a stream, with plain accesses (`is_stream`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ...ir import dtypes as dt
from ...kernels.kernel import Iota, Kernel, Load, Store, Value, result_of
from ...kernels.maps import AxisIndex
from ...kernels.online import delayed
from ...kernels.pieces import piece_of
from ...kernels.schedule import Schedule
from ...kernels.streams import (
    Hidden,
    Scored,
    Stream,
    Summed,
    hidden,
    stream_of,
)
from ...records import dataclass
from .contraction import Nested
from .gemm import Form, Problem, emit_gemm, emit_pack, is_packed, packed_bytes
from .gemm import scratch_bytes as gemm_scratch
from .indices import Index, multiply
from .sharing import Ranges
from .staged import EmitNested, Function, Share, StagedCode
from .stream_kernels import (
    SUM,
    TOP,
    Access,
    TileKernels,
    access_of,
    positions_in,
    result_in,
    tile_of,
    wide,
)
from .target import Target, aligned
from .text import Emitter, constant, vec
from .values import memory_type, register_type

# A tile of scores stays in the nearest cache. 64 rows are a strip of the widest
# micro-kernel; panels of 6 and 12 divide a block that leaves a rest. (Larger tiles, up
# to 192 on both sides, were measured: 3 to 15 % slower, as they cut a causal mask's
# edge less finely.)
ROWS = 64
BLOCK = 48
_WHOLE = (64, 48, 60, 56, 52, 44, 40, 36, 32)  # blocks that may leave no rest
UNITS_PER_THREAD = 16  # ranges; under a causal mask the last has twice the mean's work
# Below this, exp gives zero: exp(-104) in float32, exp(-746) in float64.
_UNDERFLOW = {4: 110.0, 8: 760.0}


@dataclass(frozen=True)
class Planned:
    """A kernel that runs as a stream.

    Parameters
    ----------
    kernel : Kernel
    stream : Stream
    units : tuple of str
        The axes of which a unit has one position, outermost first.
    row : str
        The axis of which a unit has a block.
    turns : tuple of str
        The streamed axes outside of tiles.
    streamed, column : str
    """

    kernel: Kernel
    stream: Stream
    units: tuple[str, ...]
    row: str
    turns: tuple[str, ...]
    streamed: str
    column: str


def block_of(extent: int) -> int:
    """Return how many positions of a stream a tile has: a divisor if one is near."""
    if extent <= max(_WHOLE):
        return extent
    return next((n for n in _WHOLE if extent % n == 0), BLOCK)


def planned(kernel: Kernel, schedule: Schedule) -> Planned | None:
    """Return how a kernel runs as a stream; None for one that is none."""
    piece = delayed(piece_of(kernel, schedule))
    kernel, stream = piece.kernel, stream_of(piece.kernel)
    if stream is None:
        return None
    order = schedule.loops

    def chosen(axes: frozenset[str]) -> list[str]:
        return [a for a in order if a in axes]

    rows, streamed = chosen(stream.rows), chosen(stream.streamed)
    columns = chosen(stream.columns)
    if (
        not rows
        or not stream.scored
        or len(columns) != 1
        or any(len(s.inner) != 1 for s in stream.scored)
    ):
        return None
    row = rows[-1]
    units = chosen(stream.batch | stream.rows - {row})
    plan = Planned(
        kernel,
        stream,
        tuple(units),
        row,
        tuple(streamed[:-1]),
        streamed[-1],
        columns[0],
    )
    return plan if _is_plain(plan) else None


def _is_plain(plan: Planned) -> bool:
    """Tell whether all accesses are linear, and operands have their tile's axes."""
    for op in plan.kernel.body:
        if isinstance(op, Load | Store) and access_of(plan.kernel, op) is None:
            return False
        if isinstance(op, Iota):
            atoms = [atom for atom, _ in op.index.terms]
            if not all(isinstance(atom, AxisIndex) for atom in atoms):
                return False
    dtypes = {wide(s.weights.dtype) for s in plan.stream.summed}
    dtypes |= {wide(x.row.dtype) for x in plan.stream.scored}
    return len(dtypes) == 1 and dtypes <= {dt.FLOAT32, dt.FLOAT64}


class StreamEmitter:
    """Writes the functions of a stream.

    Parameters
    ----------
    symbol : str
    plan : Planned
    parameters : mapping of str to str
        Of the kernel: buffers and the names of their pointers.
    target : Target
    new_emitter : callable
    emit_nested : callable
    share : callable, optional
        How ranges are run on several threads.
    """

    def __init__(
        self,
        symbol: str,
        plan: Planned,
        parameters: dict[str, str],
        target: Target,
        new_emitter: Callable[[], Emitter],
        emit_nested: EmitNested,
        share: Share | None = None,
    ) -> None:
        self.symbol, self.plan, self.target = symbol, plan, target
        self.parameters = parameters
        self.new_emitter, self.emit_nested = new_emitter, emit_nested
        self.share = share
        self.stream = plan.stream
        self.dtype = wide(self.stream.summed[0].weights.dtype)
        self.element = register_type(self.dtype)
        self.hidden = hidden(plan.kernel)
        self.extents = {a.name: a.extent for a in plan.kernel.axes}
        self.makers = {
            v.name: op for op in plan.kernel.body if (v := result_of(op)) is not None
        }
        self.rows = min(ROWS, self.extents[plan.row])
        self.block = block_of(self.extents[plan.streamed])
        self.texts: list[str] = []
        self.functions: dict[object, str] = {}
        self.nested: dict[str, Function] = {}
        self.offsets: dict[str, int] = {}
        self.used = self.needed = 0
        self.row_pointer: dict[str, str] = {}
        self.row_strides: dict[str, tuple[int, int]] = {}
        self.counted = {
            atom.axis
            for op in plan.kernel.body
            if isinstance(op, Iota)
            for atom, _ in op.index.terms
            if isinstance(atom, AxisIndex)
        }
        self.em = new_emitter()

    def emit(self, linkage: str) -> StagedCode:
        """Return the functions."""
        ranged = f"{self.symbol}.range"
        self._emit_range(ranged)
        blocks = -(-self.extents[self.plan.row] // self.rows)
        extent = blocks * prod(self.extents[a] for a in self.plan.units)
        own = self.used + aligned(self.needed)
        ranges = Ranges(None, ranged, extent, 1, 0, own)
        em, names = self.new_emitter(), [*self.parameters.values()]
        job = None
        if self.share:
            job = self.share(em, self.new_emitter(), ranges, names, "task")
        if job is not None:
            self.texts.append(job.text)
            own = job.scratch_bytes
        else:
            pointers = (*names, "%scratch", "%scratch", "%err")
            limits = [("i64", "0"), ("i64", str(extent))]
            em.call("void", ranged, [*(("ptr", p) for p in pointers), *limits])
        em.ret()
        self._add(em, self.symbol, ["%scratch", "%err"], [], linkage)
        return StagedCode("\n".join(self.texts), own, ranges)

    def _add(
        self,
        em: Emitter,
        symbol: str,
        pointers: Sequence[str],
        numbers: Sequence[str],
        linkage: str,
    ) -> None:
        names = (*self.parameters.values(), *pointers)
        parameters = [*(f"ptr {p}" for p in names), *(f"i64 {n}" for n in numbers)]
        self.texts.append(em.function(symbol, parameters, linkage=linkage))

    # --- units

    def _emit_range(self, symbol: str) -> None:
        em, plan = self.em, self.plan
        extent = self.extents[plan.row]
        blocks = -(-extent // self.rows)
        rest = extent % self.rows
        with em.loop("%begin", "%end", 1) as loop:
            at: dict[str, Index] = {}
            left = em.op(f"udiv i64 {loop.index}, {blocks}")
            block = em.op(f"urem i64 {loop.index}, {blocks}")
            for name in reversed(plan.units):
                at[name] = em.op(f"urem i64 {left}, {self.extents[name]}")
                left = em.op(f"udiv i64 {left}, {self.extents[name]}")
            at[plan.row] = multiply(em, block, self.rows)
            if rest:
                is_last = em.op(f"icmp eq i64 {block}, {blocks - 1}")
                em.if_else(
                    is_last,
                    [],
                    lambda: self._unit(at, rest),
                    lambda: self._unit(at, self.rows),
                )
            else:
                self._unit(at, self.rows)
            loop.yield_([])
        em.ret()
        behind = f"%behind = getelementptr i8, ptr %own, i64 {self.used}"
        em.lines.insert(0, behind)
        names = ["%shared", "%own", "%err"]
        self._add(em, symbol, names, ["%begin", "%end"], "internal")

    def _unit(self, at: dict[str, Index], rows: int) -> list[str]:
        """Emit all that is done for one block of rows."""
        kernels = self._kernels(rows, self.block)
        self._fill_positions(at, rows)
        columns = self.extents[self.plan.column]
        for one in self.stream.summed:
            self._clear(result_in(one.product.result), rows * columns, 0.0)
        if self.stream.online is not None:
            self._clear(TOP, rows, -np.inf)
            for op in self.stream.online.sums:
                self._clear(f"{SUM}.{op.result.name}", rows, 0.0)
        for s in self.stream.scored:
            self._pack(s, kernels, at)
        self._turns(dict(at), self.plan.turns, rows)
        self._call_nested(kernels.ended(), kernels, at)
        return []

    def _kernels(
        self, rows: int, block: int, shown: Hidden | None = None
    ) -> TileKernels:
        p = self.plan
        return TileKernels(
            p.kernel, self.stream, p.row, p.streamed, p.column, rows, block, shown
        )

    def _turns(self, at: dict[str, Index], turns: Sequence[str], rows: int) -> None:
        """Emit the loops over the streamed axes outside of tiles, then over tiles."""
        if turns:
            with self.em.loop(0, self.extents[turns[0]], 1) as loop:
                at[turns[0]] = loop.index
                self._fill(turns[0], loop.index, 1)
                self._turns(at, turns[1:], rows)
                loop.yield_([])
            return
        extent, name = self.extents[self.plan.streamed], self.plan.streamed
        whole = extent // self.block * self.block
        with self.em.loop(0, whole, self.block) as loop:
            self._tile_unless_hidden({**at, name: loop.index}, rows, self.block)
            loop.yield_([])
        if extent > whole:
            self._tile_unless_hidden({**at, name: whole}, rows, extent - whole)

    # --- tiles

    def _tile_unless_hidden(self, at: dict[str, Index], rows: int, block: int) -> None:
        mask = self.hidden
        if mask is None:
            self._tile(at, rows, block, None)
            return

        def masked() -> list[str]:
            some = self._all_of(mask, at, rows, block, max)
            (needed,) = self.em.if_else(
                some, ["i1"], lambda: ["true"], lambda: [self._is_felt(mask, at, sizes)]
            )
            with self.em.if_(needed):
                self._tile(at, rows, block, None)
            return []

        def shown() -> list[str]:
            self._tile(at, rows, block, mask)
            return []

        sizes = {self.plan.row: rows, self.plan.streamed: block}
        if mask.is_all:
            every = self._all_of(mask, at, rows, block, min)
            self.em.if_else(every, [], shown, masked)
        else:
            masked()

    def _all_of(
        self,
        mask: Hidden,
        at: dict[str, Index],
        rows: int,
        block: int,
        pick: Callable[[int, int], int],
    ) -> str:
        """Return whether no limit is negative, at its largest or smallest in a tile."""
        em, result = self.em, "true"
        extents = {self.plan.row: rows, self.plan.streamed: block}
        for index in mask.where:
            value: Index = index.constant
            for atom, coefficient in index.terms:
                assert isinstance(atom, AxisIndex)
                start = multiply(em, at[atom.axis], coefficient)
                more = pick(coefficient * (extents.get(atom.axis, 1) - 1), 0)
                value = em.op(f"add i64 {value}, {start}")
                value = em.op(f"add i64 {value}, {more}")
            inside = em.op(f"icmp sge i64 {value}, 0")
            result = em.op(f"and i1 {result}, {inside}")
        return result

    def _is_felt(
        self, mask: Hidden, at: dict[str, Index], extents: dict[str, int]
    ) -> str:
        """Return whether the exponential of the fill is not zero in some row."""
        em = self.em
        assert isinstance(mask.top, Value)
        along = [a for a in extents if a in mask.top.axes]
        count = extents[along[0]] if along else 1
        start, step = self._top(mask.top, at, along[0] if along else None)
        fill = constant(self.element, float(mask.fill.value), 1)
        least = constant(self.element, _UNDERFLOW[self.dtype.itemsize], 1)
        with em.loop(0, count, 1, [("i1", "false")]) as loop:
            place = em.gep(self.element, start, multiply(em, loop.index, step))
            top = em.load(self.element, place, self.dtype.itemsize)
            gap = em.op(f"fsub {self.element} {top}, {fill}")
            near = em.op(f"fcmp ule {self.element} {gap}, {least}")
            loop.yield_([em.op(f"or i1 {loop.carried[0]}, {near}")])
        return loop.results[0]

    def _top(
        self, top: Value, at: dict[str, Index], along: str | None
    ) -> tuple[str, int]:
        """Return where the maxima of a tile's rows lie, and the step between them."""
        if self.stream.online is not None:
            return self._scratch(TOP), 1
        op = self.makers[top.name]
        assert isinstance(op, Load)
        access = access_of(self.plan.kernel, op)
        assert access is not None
        step = access.strides.get(along, 0) if along else 0
        return self._address(access, at), step

    def _tile(
        self, at: dict[str, Index], rows: int, block: int, shown: Hidden | None
    ) -> None:
        """Emit a tile, without its mask where all of it is shown."""
        kernels = self._kernels(rows, block, shown)
        self._fill(self.plan.streamed, at[self.plan.streamed], block)
        for s in self.stream.scored:
            self._scored(s, kernels, at)
        r = self.stream.online
        if r is None:
            self._call_nested(kernels.weights(), kernels, at)
        else:
            self._call_nested(kernels.grown(r), kernels, at)
            self._call_nested(kernels.exponentials(r), kernels, at)
            self._call_nested(kernels.scaled(), kernels, at)
        for one in self.stream.summed:
            self._summed(one, kernels, at)

    # --- products

    def _operand(
        self,
        value: Value,
        axes: tuple[str, str],
        kernels: TileKernels,
        at: dict[str, Index],
    ) -> tuple[str, int, int]:
        """Return where an operand lies, and its strides along two axes.

        One that is computed is put into scratch first.
        """
        op = self.makers[value.name]
        if isinstance(op, Load) and value.dtype == self.dtype:
            access = access_of(self.plan.kernel, op)
            assert access is not None
            strides = tuple(access.strides.get(a, 0) for a in axes)
            return self._address(access, at), strides[0], strides[1]
        name = f"operand.{value.name}"
        columns = self.extents[axes[1]]
        longest = self.rows if axes[0] == self.plan.row else self.block
        self._reserve(name, longest * columns * self.dtype.itemsize)
        self._call_nested(kernels.operand(name, value, axes), kernels, at)
        return self._scratch(name), columns, 1

    def _score_problem(
        self, s: Scored, rows: int, streamed: tuple[int, int], row: tuple[int, int]
    ) -> Problem:
        """Return the product of a tile: a whole one, and the rest behind it."""
        extent = self.extents[self.plan.streamed]
        m = extent if extent <= self.block else self.block + extent % self.block
        k = self.extents[s.inner[0]]
        return Problem(self.dtype, m, rows, k, streamed, (row[1], row[0]), (rows, 1))

    def _row_of(self, s: Scored) -> str:
        return f"packed.{s.product.result.name}"

    def _pack(self, s: Scored, kernels: TileKernels, at: dict[str, Index]) -> None:
        """Pack the rows' operand of a product, and note where it is."""
        em = self.em
        pointer, *strides = self._operand(
            s.row, (self.plan.row, s.inner[0]), kernels, at
        )
        self.row_strides[s.product.result.name] = (strides[0], strides[1])
        self.row_pointer[s.product.result.name] = pointer
        problem = self._score_problem(s, kernels.rows, (1, 1), (strides[0], strides[1]))
        if not is_packed(problem, self.target):
            return
        name = self._row_of(s)
        whole = replace(problem, n=self.rows)
        self._reserve(name, packed_bytes(whole, self.target))
        key = ("pack", replace(problem, a=(0, 0)))
        symbol = self._function(
            key, lambda n: emit_pack(n, problem, self.target, self.new_emitter)
        )
        pointers = [("ptr", pointer), ("ptr", self._scratch(name))]
        columns = [("i64", "0"), ("i64", str(problem.n))]
        em.call("void", symbol, [*pointers, *columns])

    def _scored(self, s: Scored, kernels: TileKernels, at: dict[str, Index]) -> None:
        em, name = self.em, s.product.result.name
        inner = s.inner[0]
        pointer, *strides = self._operand(
            s.streamed, (self.plan.streamed, inner), kernels, at
        )
        problem = self._score_problem(
            s, kernels.rows, (strides[0], strides[1]), self.row_strides[name]
        )
        packed = is_packed(problem, self.target)
        form = Form(packed=packed)
        right = self._scratch(self._row_of(s)) if packed else self.row_pointer[name]
        begin = self.block if kernels.block != self.block else 0
        left = em.gep(self.element, pointer, -begin * strides[0])
        out = self._scratch(tile_of(s.product.result))
        out = em.gep(self.element, out, -begin * kernels.rows)
        self._gemm(problem, form, (left, right, out), (begin, begin + kernels.block))

    def _summed(self, s: Summed, kernels: TileKernels, at: dict[str, Index]) -> None:
        plan, rows = self.plan, kernels.rows
        pointer, *strides = self._operand(
            s.values, (plan.streamed, plan.column), kernels, at
        )
        columns = self.extents[plan.column]
        problem = Problem(
            self.dtype,
            rows,
            columns,
            kernels.block,
            (1, rows),
            (strides[0], strides[1]),
            (columns, 1),
        )
        left = self._scratch(tile_of(s.weights))
        out = self._scratch(result_in(s.product.result))
        self._gemm(problem, Form(adds=True), (left, pointer, out), (0, rows))

    def _gemm(
        self,
        problem: Problem,
        form: Form,
        pointers: tuple[str, str, str],
        limits: tuple[int, int],
    ) -> None:
        symbol = self._function(
            ("gemm", problem, form),
            lambda n: emit_gemm(n, problem, self.target, self.new_emitter, form),
        )
        self.needed = max(self.needed, gemm_scratch(problem, self.target, form))
        arguments = [("ptr", p) for p in (*pointers, "%behind")]
        self.em.call("void", symbol, [*arguments, *(("i64", str(n)) for n in limits)])

    def _function(self, key: object, emit: Callable[[str], str]) -> str:
        """Return the symbol of a function, emitted once."""
        if key not in self.functions:
            name = f"{self.symbol}.f{len(self.functions)}"
            self.functions[key] = name
            self.texts.append(emit(name))
        return self.functions[key]

    # --- kernels without products

    def _call_nested(
        self, stage: Nested, kernels: TileKernels, at: dict[str, Index]
    ) -> None:
        name = stage.kernel.name
        if name not in self.nested:
            self.nested[name] = self.emit_nested(stage, None)
            self.texts.append(self.nested[name].text)
        code = self.nested[name]
        self.needed = max(self.needed, code.scratch_bytes)
        values = []
        for b in (*stage.kernel.inputs, *stage.kernel.outputs):
            if b.name in kernels.accesses:
                values.append(self._address(kernels.accesses[b.name], at))
            else:
                values.append(self._scratch(b.name.removesuffix(".old")))
        values += ["%behind", "%err"]
        self.em.call("void", code.symbol, [("ptr", v) for v in values])

    # --- memory

    def _address(self, access: Access, at: dict[str, Index]) -> str:
        """Return the address of an access at the positions there are."""
        em, total = self.em, access.start
        pointer = self.parameters[access.buffer.name]
        element = memory_type(access.buffer.dtype)
        pointer = em.gep(element, pointer, total)
        for name, place in at.items():
            if access.strides.get(name):
                offset = multiply(em, place, access.strides[name])
                pointer = em.gep(element, pointer, offset)
        return pointer

    def _reserve(self, name: str, size: int) -> None:
        if name not in self.offsets:
            self.offsets[name] = self.used
            self.used += aligned(size)

    def _scratch(self, name: str) -> str:
        """Return the address of something in scratch, which is given a place."""
        if name not in self.offsets:
            buffer = self._kernels(self.rows, self.block).scratch(name)
            self._reserve(name, prod(buffer.shape) * buffer.dtype.itemsize)
        return self.em.gep("i8", "%own", self.offsets[name])

    def _fill_positions(self, at: dict[str, Index], rows: int) -> None:
        """Write the positions along the axes of a unit."""
        for name in self.plan.units:
            self._fill(name, at[name], 1)
        self._fill(self.plan.row, at[self.plan.row], rows)
        block = {*self.plan.units, *self.plan.turns, self.plan.row, self.plan.streamed}
        for name in sorted(self.counted - block):  # columns, which a unit has all of
            self._fill(name, 0, self.extents[name])

    def _fill(self, name: str, start: Index, count: int) -> None:
        """Write positions along an axis, from `start` on, if something reads them."""
        if name not in self.counted:
            return
        em, to = self.em, self._scratch(positions_in(name))
        with em.loop(0, count, 1) as loop:
            value = em.op(f"add i64 {loop.index}, {start}")
            em.store("i64", value, em.gep("i64", to, loop.index), 8)
            loop.yield_([])

    def _clear(self, name: str, count: int, value: float) -> None:
        """Set elements in scratch."""
        em, to, size = self.em, self._scratch(name), self.dtype.itemsize
        lanes = self.target.lanes(8 * size)
        whole = count // lanes * lanes
        for start, stop, step in ((0, whole, lanes), (whole, count, 1)):
            filled = constant(self.element, value, step)
            with em.loop(start, stop, step) as loop:
                at = em.gep(self.element, to, loop.index)
                em.store(vec(self.element, step), filled, at, size)
                loop.yield_([])
