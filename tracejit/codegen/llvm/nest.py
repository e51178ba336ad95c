"""One kernel as a nest of loops: everything but contractions.

The vector axis is run in blocks of `units` vectors, so that a value that varies along
it is a list of registers; every other value is one register. The last block of the
axis is shorter and its last vector masked. Loops carry the accumulators of the
reductions that are open in them, and pointers are advanced loop by loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ...ir import dtypes as dt
from ...ir.graph import Literal
from ...ir.ops.elementwise import convert_p
from ...kernels.kernel import (
    Buffer,
    Carried,
    Compute,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
    Value,
    factors_of,
    result_of,
)
from ...kernels.schedule import Schedule
from ...kernels.tree import LANES, LEAF
from ...records import dataclass
from .abreast import abreast
from .convert import convert
from .indices import Access, Evaluator, Index, access_of, add, multiply, values_in
from .memory import Memory, Place, lanes_mask
from .packedsum import PackedSum, leaf_bytes
from .phases import Analysis, Phase, Phases, unrelated, with_scratch
from .reduce import (
    ArgFold,
    Count,
    Fold,
    Shape,
    Sink,
    State,
    Term,
    assign,
    dtype_of,
    is_float_sum,
)
from .roots import compute, vectors_by_products
from .target import Target, aligned
from .text import Emitter, vec
from .treesum import TreeSum, folding_order, stack_bytes
from .units import UNROLL_BUDGET, Planner
from .values import literal_text, memory_type, register_type
from .widths import width_of

INT64 = np.dtype(np.int64)
_FETCHED = 1 << 22  # bytes of rows from which on they are fetched before they are read
_FETCH_AHEAD = 1 << 13  # bytes from a load to what is fetched then, at least
_LONGEST_FETCHED = 1 << 16  # bytes of rows; the nearest caches hold several
_STREAM_BUDGET = 11  # operations for each vector that is stored past the caches
_LEAST_STREAMED = 16  # bytes of a vector that can be stored past the caches
_LEAST_PASS = 4  # blocks along which a loop of its own for some sums is worth it


@dataclass(frozen=True)
class Block:
    """A block along the vector axis.

    Parameters
    ----------
    units : int
        How many vectors.
    mask : str or None
        Of the last vector; None if it is whole.
    """

    units: int
    mask: str | None


def parameter_names(kernel: Kernel) -> dict[str, str]:
    """Return the LLVM parameter of each buffer: names of buffers may be anything."""
    buffers = (*kernel.inputs, *kernel.outputs)
    return {b.name: f"%b{k}" for k, b in enumerate(buffers)}


class Nest:
    """Writes the body of a kernel function.

    Parameters
    ----------
    kernel : Kernel
        Without contractions.
    schedule : Schedule
    target : Target
    em : Emitter
    numbers : mapping of KernelOp to int
        What the error word calls the operations.
    views : mapping of str to (Buffer, str)
        Buffers that are views of parameters, and of which.
    span : (begin, end), optional
        What the outermost loop runs over instead of its whole axis.

    Attributes
    ----------
    uncached : frozenset of str
        Outputs, aligned to 64 bytes, that are too large for the caches.
    scratch_bytes : int
        Bytes of scratch that the function uses, once it is written.
    """

    def __init__(
        self,
        kernel: Kernel,
        schedule: Schedule,
        target: Target,
        em: Emitter,
        numbers: Mapping[KernelOp, int],
        views: Mapping[str, tuple[Buffer, str]],
        span: tuple[str, str] | None = None,
    ) -> None:
        self.kernel, self.schedule, self.target, self.em = kernel, schedule, target, em
        self.span = span
        self.analysis = Analysis(kernel, schedule)
        self.loops = schedule.loops
        self.extents: Mapping[str, int] = {a.name: a.extent for a in kernel.axes}
        self.views = {name: view for name, (view, _) in views.items()}
        width = width_of(kernel, schedule, target, self.views)
        self.width, self.lanes = width, width.lanes
        self.axis = schedule.vector_axis if self.lanes > 1 else None
        self.plan = Planner(self.analysis, self.extents, width, self.axis, target)
        self.memory = Memory(em, "%err")
        self.scratch_bytes = 0
        self.uncached: frozenset[str] = frozenset()
        self.numbers = numbers
        self.parameters = parameter_names(kernel)
        self.bases = {name: base for name, (_, base) in views.items()}
        for name, (_, base) in views.items():
            self.parameters[name] = self.parameters[base]
        self.env: dict[str, list[str]] = {}
        self.index: dict[str, Index] = {}
        self.pointers: dict[tuple[str, int, tuple[tuple[str, int], ...]], str] = {}
        self.accesses: dict[KernelOp, Access] = {}
        self.rows: dict[str, Buffer] = {}
        self.offsets: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.states: dict[str, State] = {}
        self.streams: dict[str, Sink] = {}  # sums that are no states; see `columns`
        self.block: Block | None = None
        self.planned_units = 0
        self.roots = 0  # vectors of a block that take roots by products
        self.ahead: dict[KernelOp, int] = {}  # elements to what is fetched at a load
        self.is_light = False  # whether what is being written is bound by memory

    def emit(self) -> None:
        """Write everything, without the return."""
        self._level(0, self.kernel.body)

    # The recursion over loops

    def _level(self, depth: int, ops: Sequence[KernelOp]) -> None:
        phases = [
            part
            for phase in Phases(self.analysis, depth, ops).cut()
            for part in unrelated(phase, self.analysis, self.plan.fit_registers)
        ]
        phases, rows = with_scratch(phases, self.analysis, depth)
        for row in rows.values():
            self._allocate_row(row)
        for number, phase in enumerate(phases):
            self.segment(phase.direct)
            if number == 1 and depth:
                self._look_ahead(depth, phases[0].inner, phase.inner)
            if phase.is_beside:
                self._level(depth + 1, phase.inner)
            elif phase.inner:
                self._phase(depth, phase)
            self.ahead = {}

    def _look_ahead(
        self, depth: int, before: Sequence[KernelOp], ops: Sequence[KernelOp]
    ) -> None:
        """Note what is read a second time in a row: there the next rows are fetched.

        The first phase of a row waits for memory, and the second has none to wait for.
        """
        known = {self._key(self.access(op)) for op in before if isinstance(op, Load)}
        for op in ops:
            if not isinstance(op, Load) or op.buffer not in self.parameters:
                continue
            access = self.access(op)
            size = access.dtype.itemsize
            rows = self.loops[depth - 1]
            step = size * access.linear.get(rows, 0)
            is_row = self._key(access) in known and access.linear.get(self.axis or "")
            is_large = step * self.extents[rows] >= _FETCHED
            if is_row and is_large and step <= _LONGEST_FETCHED:
                self.ahead[op] = step * -(-_FETCH_AHEAD // step) // size

    def _phase(self, depth: int, phase: Phase) -> None:
        axis = self.loops[depth]
        planned = self.planned_units
        if axis == self.axis or any(self.axis in op.axes for op in phase.done):
            units = self.planned_units or self.plan.units(phase.inner)
            self.planned_units = units
            self.roots = vectors_by_products(self.plan, phase.inner, units, self.access)
        for op in phase.done:
            self.states[op.result.name] = self._new_state(op)
        open_ = [
            self.states[op.result.name]
            for op in phase.inner
            if isinstance(op, Reduce) and self.analysis.completion(op) <= depth
        ]
        self._loop(depth, phase.inner, open_)
        for op in phase.done:
            self.env[op.result.name] = self.states.pop(op.result.name).finish()
        self.planned_units = planned

    def _loop(
        self, depth: int, ops: Sequence[KernelOp], states: Sequence[State]
    ) -> None:
        """Run the loop at `depth`, or the part of it that `span` says."""
        if depth == 0 and self.span is not None:
            self._rows(depth, ops, states, *self.span)
            return
        self._part(depth, ops, states, 0, self.extents[self.loops[depth]])

    def _part(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        extent: int,
    ) -> None:
        """Run a part of a loop; in leaves where it sums over its axis alone."""
        axes = (self.loops[depth],)
        sums = [s for s in states if isinstance(s, TreeSum) and s.op.axes == axes]
        if not sums or not extent:
            self._range(depth, ops, states, start, extent)
            return
        if len(sums) == len(states) and self._unrolls(depth, ops, sums, extent):
            self._unrolled(depth, ops, sums)
            return
        whole = extent // LEAF if extent > LEAF else 0
        if whole:
            others = [s for s in states if s not in sums]
            with self._carrying(0, whole, 1, others) as leaf:
                self._leaf(depth, ops, states, sums, leaf, start, LEAF)
        if extent - whole * LEAF:
            rest = extent - whole * LEAF
            self._leaf(depth, ops, states, sums, whole, start, rest)

    def _unrolls(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        sums: Sequence[TreeSum],
        extent: int,
    ) -> bool:
        """Tell whether a loop is a few turns of short code that nothing but sums leave.

        Their tree is then one of registers. What must be loaded at places that are
        known at run time, as rows of a table, is asked for early, too.
        """
        is_whole = extent == self.extents[self.loops[depth]]
        if not is_whole or depth + 1 < len(self.loops):
            return False
        if any(isinstance(op, Repeat) for op in ops):
            return False
        units = self.block.units if self.block else 1
        size = self.plan.unrolled_size(ops, extent, units)
        return size <= UNROLL_BUDGET and all(state.is_short for state in sums)

    def _unrolled(
        self, depth: int, ops: Sequence[KernelOp], sums: Sequence[TreeSum]
    ) -> None:
        """Write all turns of a loop, in the order in which their tree wants them."""
        for state in sums:
            state.keep()
        for turn, merges in folding_order(self.extents[self.loops[depth]]):
            self._body(depth, ops, turn, self.block)
            for state in sums:
                state.fold_kept(merges)

    def _leaf(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        sums: Sequence[TreeSum],
        leaf: Index,
        start: Index,
        length: int,
    ) -> None:
        """Run leaf number `leaf` of the part that begins at `start`."""
        for state in sums:
            state.begin_leaf(leaf)
        start = add(self.em, start, multiply(self.em, leaf, LEAF))
        self._range(depth, ops, states, start, length)
        for state in sums:
            state.end_leaf(leaf)

    def _range(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        length: int,
    ) -> None:
        """Run `length` iterations of the loop at `depth` from `start` on."""
        if not length:
            return
        if self.loops[depth] != self.axis:
            self._rows(depth, ops, states, start, add(self.em, start, length))
            return
        width = self.planned_units * self.lanes
        full = length // width * width
        if full:
            self._blocks(depth, ops, states, start, full)
        if length > full:
            self._tail(depth, ops, add(self.em, start, full), length - full)

    def _blocks(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        length: int,
    ) -> None:
        """Run whole blocks along the vector axis: in passes over some of their vectors.

        What a pass sums stays in registers, and what it leaves of a leaf of the tree is
        in the nearest cache.
        """
        width = self.planned_units * self.lanes
        units = self._units_of_pass(depth, ops, states, length // width)
        if units == self.planned_units:
            self._repeat(depth, ops, states, start, length, width, Block(units, None))
            return
        for first in range(0, self.planned_units, units):
            at = add(self.em, start, first * self.lanes)
            with _vectors_of(states, first, first + units):
                self._repeat(depth, ops, states, at, length, width, Block(units, None))

    def _units_of_pass(
        self, depth: int, ops: Sequence[KernelOp], states: Sequence[State], blocks: int
    ) -> int:
        sums = [s for s in states if isinstance(s, TreeSum) and s.in_registers]
        is_flat = depth + 1 == len(self.loops) and len(sums) == len(states)
        if not is_flat or blocks < _LEAST_PASS:
            return self.planned_units
        return self.plan.units_of_pass(ops, self.planned_units, len(sums))

    def _rows(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        stop: Index,
    ) -> None:
        """Run a loop that is not along vectors from `start` to `stop`."""
        if isinstance(start, int) and stop == start + 1:
            self._body(depth, ops, start, self.block)
            return
        with self._carrying(start, stop, 1, states) as index:
            self._body(depth, ops, index, self.block)

    def _tail(
        self, depth: int, ops: Sequence[KernelOp], start: Index, length: int
    ) -> None:
        """Run a block that is not whole."""
        units = -(-length // self.lanes)
        left = length - (units - 1) * self.lanes
        mask = lanes_mask(self.lanes, left) if left < self.lanes else None
        self._body(depth, ops, start, Block(units, mask))

    def _repeat(
        self,
        depth: int,
        ops: Sequence[KernelOp],
        states: Sequence[State],
        start: Index,
        length: int,
        step: int,
        block: Block | None,
    ) -> None:
        if length == step:
            self._body(depth, ops, start, block)
            return
        stop = add(self.em, start, length)
        with self._carrying(start, stop, step, states) as index:
            self._body(depth, ops, index, block)

    def _body(
        self, depth: int, ops: Sequence[KernelOp], index: Index, block: Block | None
    ) -> None:
        """Run what is inside the loop at `depth`, at one index."""
        axis = self.loops[depth]
        env, pointers, outer = dict(self.env), dict(self.pointers), self.block
        self.block = block
        self.index[axis] = index
        self.advance(ops, axis, index)
        self._level(depth + 1, ops)
        del self.index[axis]
        self.env, self.pointers, self.block = env, pointers, outer

    @contextmanager
    def _carrying(
        self, start: Index, stop: Index, step: int, states: Sequence[State]
    ) -> Iterator[str]:
        """A loop that carries the registers of states."""
        carried = [reg for state in states for reg in state.regs]
        with self.em.loop(start, stop, step, carried) as loop:
            assign(states, loop.carried)
            yield loop.index
            loop.yield_([value for state in states for _, value in state.regs])
        assign(states, loop.results)

    # Accumulators and blocks

    def _new_state(self, op: Reduce, extents: tuple[int, ...] | None = None) -> State:
        """Return an accumulator; `extents` are those of the part that is reduced."""
        across = self.axis in op.axes
        operand = op.operand
        vector = across or (isinstance(operand, Value) and self.axis in operand.axes)
        units = 1
        if vector:
            units = self.planned_units if across else self._block.units
        if across:
            units = min(units, -(-max(self.extents[self.axis or ""], 1) // self.lanes))
        if extents is None:
            extents = tuple(self.extents[a] for a in op.axes)
        shape = Shape(self.lanes if vector else 1, max(units, 1), across, extents)
        if op.op in ("argmax", "argmin"):
            return ArgFold(self.em, op, shape)
        if self._counts(op, shape):
            return Count(self.em, op, shape)
        if not is_float_sum(op):
            return Fold(self.em, self.target, op, shape)
        in_registers = across and len(extents) == 1 and self._fits_registers(shape)
        state = self._tree_sum(op, shape, in_registers)
        state.begin()
        return state

    def _counts(self, op: Reduce, shape: Shape) -> bool:
        """Tell whether a sum is of truths, as integers, in vectors that it adds up."""
        is_sum = op.op == "add" and op.result.dtype.kind in "iu"
        if not is_sum or not shape.across or shape.lanes == 1:
            return False
        assert isinstance(op.operand, Value)  # it runs along the vector axis
        maker = self.analysis.makers.get(op.operand.name)
        if not isinstance(maker, Compute) or maker.primitive is not convert_p:
            return False
        return dtype_of(maker.operands[0]) == dt.BOOL

    def _tree_sum(self, op: Reduce, shape: Shape, in_registers: bool) -> TreeSum:
        name = op.result.name
        stack = self.scratch(f"sum.{name}", stack_bytes(op, shape))
        if not self.plan.is_packed(op):
            return TreeSum(self.em, self.target, op, shape, in_registers, stack)
        leaf = self.scratch(f"leaf.{name}", leaf_bytes(op, shape))
        return PackedSum(self.em, self.target, op, shape, stack, leaf)

    def scratch(self, name: str, size: int) -> str:
        """Return the address of memory for `name`, the same at each call."""
        return self.em.gep("i8", "%scratch", self._allocate(name, size))

    def _fits_registers(self, shape: Shape) -> bool:
        """Tell whether a block has all 64 virtual lanes, or all elements."""
        return shape.units * shape.lanes >= min(LANES, shape.count)

    @property
    def _block(self) -> Block:
        assert self.block is not None
        return self.block

    # Straight-line code

    def segment(self, ops: Sequence[KernelOp]) -> None:
        """Write operations of one depth, vector by vector; stores at the end."""
        ordered = sorted(ops, key=lambda op: isinstance(op, Store))
        stores = sum(isinstance(op, Store) for op in ops)
        self.is_light = sum(map(self.plan.time, ops)) <= _STREAM_BUDGET * stores
        start = 0
        for k, op in enumerate(ordered):
            if isinstance(op, Repeat):
                self._straight(ordered[start:k])
                self._turns(op)
                start = k + 1
        self._straight(ordered[start:])

    def _straight(self, ops: Sequence[KernelOp]) -> None:
        self.memory.begin()
        for unit in range(self.block.units if self.block else 1):
            for op in ops:
                if unit == 0 or self.plan.is_vector(op):
                    self._operation(op, unit)

    def _turns(self, op: Repeat) -> None:
        """Write a loop over all vectors of a block, with its carries in registers."""
        inits = [self._carry(v, x) for v, x in zip(op.carries, op.inits, strict=True)]
        carried = [reg for regs in inits for reg in regs]
        sizes = [len(regs) for regs in inits]
        with self.em.loop(0, op.count, 1, carried) as loop:
            self.env[op.turn.name] = [loop.index]
            self._bind(op.carries, sizes, loop.carried)
            self.segment(op.body)
            pairs = zip(op.carries, op.nexts, strict=True)
            nexts = [reg for v, x in pairs for reg in self._carry(v, x)]
            loop.yield_([value for _, value in nexts])
        names = [
            replace(v, name=f"{op.result.name}.{k}") for k, v in enumerate(op.carries)
        ]
        self._bind(names, sizes, loop.results)
        self.env[op.result.name] = self.env[names[0].name]

    def _carry(self, carry: Value, x: Operand) -> list[tuple[str, str]]:
        """Return the registers of a carry that becomes `x`, with their types."""
        wide = self.axis is not None and self.axis in carry.axes
        lanes = self.lanes if wide else 1
        units = self.block.units if wide and self.block else 1
        type_ = vec(register_type(carry.dtype), lanes)
        return [(type_, self._operand(x, unit, lanes)) for unit in range(units)]

    def _bind(
        self, values: Sequence[Value], sizes: Sequence[int], registers: Sequence[str]
    ) -> None:
        rest = iter(registers)
        for value, size in zip(values, sizes, strict=True):
            self.env[value.name] = [next(rest) for _ in range(size)]

    def _operation(self, op: KernelOp, unit: int) -> None:
        start = len(self.em.lines)
        self._write(op, unit)
        made = op.value if isinstance(op, Store) else result_of(op)
        if isinstance(made, Value):
            self.em.note(start, made.name)

    def _write(self, op: KernelOp, unit: int) -> None:
        if isinstance(op, Store):
            self._store(op, unit)
        elif isinstance(op, Reduce):
            self._update(op, unit)
        else:
            wide = self.plan.is_vector(op)
            if isinstance(op, Load):
                value = self._load(op, unit, wide)
            elif isinstance(op, Compute):
                value = self._compute(op, unit, wide)
            elif isinstance(op, Carried):
                value = self.env[f"{op.loop.name}.{op.place}"][unit if wide else 0]
            else:
                assert isinstance(op, Iota)
                value = self._iota(op, unit, wide)
            self._set(op.result, unit, value)

    def _set(self, result: Value, unit: int, value: str) -> None:
        """Bind a value in one vector of a block, and in none behind it."""
        registers = self.env.setdefault(result.name, [])
        del registers[unit:]
        registers.append(value)

    def _compute(self, op: Compute, unit: int, wide: bool) -> str:
        lanes = self.lanes if wide else 1
        operands = [self._operand(x, unit, lanes) for x in op.operands]
        is_first = wide and unit < self.roots
        result = compute(self.em, self.target, op, operands, lanes, is_first)
        if not wide or op.result.name not in self.width.abreast:
            return result
        element = register_type(op.result.dtype)
        return abreast(self.em, self.target, element, lanes, result)

    def _operand(self, operand: Operand, unit: int, lanes: int) -> str:
        if isinstance(operand, Literal):
            return literal_text(operand, lanes)
        registers = self.env[operand.name]
        if self.axis in operand.axes:
            return registers[unit]
        return self.em.splat(register_type(operand.dtype), registers[0], lanes)

    def _iota(self, op: Iota, unit: int, wide: bool) -> str:
        evaluator = self._evaluator([], unit)
        if not wide or not evaluator.is_vector(op.index):
            value = str(evaluator.scalar(op.index))
            lanes = 1
        else:
            lanes = self.lanes
            value = evaluator.vector(op.index, "i64")
        value = convert(self.em, value, INT64, op.result.dtype, lanes)
        if wide and lanes == 1:
            return self.em.splat(register_type(op.result.dtype), value, self.lanes)
        return value

    def _update(self, op: Reduce, unit: int) -> None:
        state = self._sink(op.result.name)
        lanes = self.lanes if self.plan.is_vector(op) else 1
        terms = factors_of(op, self.analysis.makers)
        factors = [self._operand(x, unit, lanes) for x in terms]
        value = self._operand(op.operand, unit, lanes)
        place: Index = 0
        for axis in op.axes:
            if not state.needs_places:
                break
            place = multiply(self.em, place, self.extents[axis])
            place = add(self.em, place, self._position(axis, unit))
        mask = self._mask(unit) if self.axis in op.axes else None
        state.update(unit, Term(value, mask, place, factors))

    def _sink(self, name: str) -> Sink:
        """Return what the reduction called `name` adds to."""
        return self.streams.get(name) or self.states[name]

    def _position(self, axis: str, unit: int) -> Index:
        index = self.index[axis]
        return add(self.em, index, unit * self.lanes) if axis == self.axis else index

    def _mask(self, unit: int) -> str | None:
        block = self._block
        return block.mask if unit == block.units - 1 else None

    # Memory

    def _load(self, op: Load, unit: int, wide: bool) -> str:
        access = self.access(op)
        varies = wide and self._address_varies(op, access)
        place = self._place(op, access, unit, varies)
        if varies and op in self.ahead:
            self.memory.fetch(access, place, self.ahead[op])
        value = self.memory.load(access, place, op.bounds, op.fill, varies)
        if wide and not varies:
            return self.em.splat(register_type(op.result.dtype), value, self.lanes)
        return value

    def _address_varies(self, op: Load, access: Access) -> bool:
        if access.linear.get(self.axis or "", 0):
            return True
        evaluator = self._evaluator(self._index_values(op), 0)
        indices = [index for index, _ in access.dynamic]
        indices += [c.index for c, _ in access.checked]
        indices += [b.index for b in op.bounds]
        return any(evaluator.is_vector(index) for index in indices)

    def _store(self, op: Store, unit: int) -> None:
        access = self.access(op)
        wide = self.plan.is_vector(op)
        place = self._place(op, access, unit, wide)
        value = self._operand(op.value, unit, self.lanes if wide else 1)
        past = wide and self._is_past_caches(op, access)
        self.memory.store(access, place, value, wide, past)

    def _is_past_caches(self, op: Store, access: Access) -> bool:
        """Tell whether a vector is stored past the caches, aligned to its size.

        The stores must follow one another quickly: with computation between them they
        take several times as long as others (docs/performance.md).
        """
        if not self.is_light:
            return False
        if self.bases.get(op.buffer, op.buffer) not in self.uncached:
            return False
        size = access.dtype.itemsize
        width = self.lanes * size
        steps = [c for axis, c in access.linear.items() if axis != self.axis]
        aligned = all(c * size % width == 0 for c in (*steps, access.constant))
        simple = not access.dynamic and access.linear.get(self.axis or "") == 1
        return simple and aligned and width >= _LEAST_STREAMED

    def fence(self) -> None:
        """Order stores past the caches before what other threads read after this."""
        if self.uncached and self.target.triple.startswith(("x86_64", "amd64")):
            self.em.extern("void", "llvm.x86.sse.sfence", [])

    def _place(self, op: Load | Store, access: Access, unit: int, wide: bool) -> Place:
        stride = access.linear.get(self.axis or "", 0) if self.block else 0
        pointer = self._pointer(access)
        cell = memory_type(access.dtype)
        if wide:
            pointer = self.em.gep(cell, pointer, unit * self.lanes * stride)
        mask = self._mask(unit) if wide else None
        evaluator = self._evaluator(self._index_values(op), unit)
        if wide:
            stride += sum((evaluator.step(i) or 0) * s for i, s in access.dynamic)
        number = self.numbers.get(op, 0)
        return Place(pointer, stride, self.lanes, mask, evaluator, number)

    def _index_values(self, op: Load | Store) -> list[str]:
        names: set[str] = set()
        for index in self.analysis.indices(op):
            names |= values_in(index)
        return sorted(names)

    def _evaluator(self, names: Sequence[str], unit: int) -> Evaluator:
        values = {}
        for name in names:
            value = self.analysis.values[name]
            wide = self.axis in value.axes
            register = self.env[name][unit if wide else 0]
            lanes = self.lanes if wide else 1
            register = convert(self.em, register, value.dtype, INT64, lanes)
            values[name] = register, wide
        return Evaluator(
            self.em,
            self.extents,
            dict(self.index),
            self.axis,
            self.lanes,
            values,
            unit * self.lanes,
        )

    def access(self, op: Load | Store) -> Access:
        """Return where an operation reads or writes."""
        found = self.accesses.get(op)
        if found is None:
            own = self.rows.get(op.buffer) or self.views.get(op.buffer)
            found = access_of(op, own or self.kernel.buffer(op.buffer))
            self.accesses[op] = found
        return found

    def _key(self, access: Access) -> tuple[str, int, tuple[tuple[str, int], ...]]:
        return access.buffer, access.constant, tuple(sorted(access.linear.items()))

    def _pointer(self, access: Access) -> str:
        """Return the address for the open loops, at unit 0."""
        known = self.pointers.get(self._key(access))
        if known is not None:
            return known
        row = self.offsets.get(access.buffer)
        if row is None:
            start = self.parameters[access.buffer]
        else:
            start = self.em.gep("i8", "%scratch", row)
        at = self.em.gep(memory_type(access.dtype), start, access.constant)
        for axis, index in self.index.items():
            at = self._moved(access, at, axis, index)
        return at

    def _moved(self, access: Access, pointer: str, axis: str, index: Index) -> str:
        step = multiply(self.em, index, access.linear.get(axis, 0))
        cell = memory_type(access.dtype)
        if axis == self.axis:
            return self.em.gep(cell, pointer, step)
        return self.em.row(cell, pointer, step)

    def advance(self, ops: Sequence[KernelOp], axis: str, index: Index) -> None:
        """Move the pointers of what is inside a loop along its axis, once for all."""
        moved: dict[tuple[str, int, tuple[tuple[str, int], ...]], str] = {}
        for op in ops:
            if not isinstance(op, Load | Store):
                continue
            access = self.access(op)
            key = self._key(access)
            if key in moved:
                continue
            before = self.pointers.get(key)
            if before is None:
                moved[key] = self._pointer(access)
            else:
                moved[key] = self._moved(access, before, axis, index)
        self.pointers.update(moved)

    # Scratch

    def _allocate(self, name: str, size: int) -> int:
        """Return the offset of memory for `name`, the same at each call."""
        if size > self.sizes.get(name, -1):
            self.sizes[name] = size
            self.offsets[name] = self.scratch_bytes
            self.scratch_bytes += aligned(size)
        return self.offsets[name]

    def _allocate_row(self, row: Buffer) -> None:
        size = row.dtype.itemsize * int(np.prod(row.shape, dtype=np.int64))
        self.rows[row.name] = row
        self._allocate(row.name, size)


@contextmanager
def _vectors_of(states: Sequence[State], start: int, stop: int) -> Iterator[None]:
    """Leave states the registers of some vectors of a block for a while."""
    kept = [state.regs for state in states]
    for state, regs in zip(states, kept, strict=True):
        state.regs = regs[start:stop]
    yield
    for state, regs in zip(states, kept, strict=True):
        state.regs = [*regs[:start], *state.regs, *regs[stop:]]
