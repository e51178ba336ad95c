"""The function of a kernel with contractions: its stages, called one after another.

    K.once(buffers, shared, err)                        what runs once
    K.range(buffers, shared, own, err, begin, end)      the rest, over a range
    K.after(buffers, shared, err)                       what runs once, after that
    K(buffers, scratch, err)                            all, over the whole

`shared` is scratch that `K.once` writes and every range reads; `own` is scratch of one
range at a time, so that ranges may run on different threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import field
from math import prod

import numpy as np

from ...kernels.kernel import Buffer
from ...records import dataclass
from .blocks import MOST_B_BYTES, Plan, Stage, is_blocked
from .contraction import Matrix, Nested, Product
from .gemm import (
    Form,
    Problem,
    Split,
    emit_gemm,
    emit_pack,
    is_packed,
    packed_bytes,
    quantum,
    scratch_bytes,
)
from .sharing import Ranges, SharedCode
from .target import Target, aligned
from .text import Emitter
from .values import memory_type

_LEAST_SHARED = 1 << 19  # bytes of B: packing takes some 50 microseconds


@dataclass(frozen=True)
class Function:
    """The code of a kernel that is a stage: its symbol, text and scratch."""

    symbol: str
    text: str
    scratch_bytes: int


# Writes a call, into the first emitter, that runs all ranges on several threads, and
# its task into the second, with a symbol that ends in a name; None where that does not
# pay.
Share = Callable[[Emitter, Emitter, Ranges, Sequence[str], str], SharedCode | None]
# Emits a kernel without contractions, over a range of an axis if one is named.
EmitNested = Callable[[Nested, str | None], Function]


@dataclass(frozen=True)
class StagedCode:
    """Functions for the stages of a kernel.

    `ranges` is None, too, if they must follow what several threads pack, or if
    something follows them.
    """

    text: str
    scratch_bytes: int
    ranges: Ranges | None


@dataclass
class _Area:
    """A part of scratch: where each thing in it lies, and what stages need behind."""

    base: str
    offsets: dict[str, int] = field(default_factory=dict)
    used: int = 0
    needed: int = 0

    def put(self, name: str, size: int) -> None:
        """Give something a place."""
        self.offsets[name] = self.used
        self.used += aligned(size)

    @property
    def size(self) -> int:
        """All bytes."""
        return self.used + aligned(self.needed)


class StageEmitter:
    """Writes the functions.

    Parameters
    ----------
    symbol : str
    plan : Plan
    buffers : mapping of str to str
        Parameters of the kernel; views have those of their bases.
    parameters : sequence of str
        Each once, in order.
    target : Target
    new_emitter : callable
    emit_nested : callable
    share : callable, optional
        How ranges are run on several threads.
    """

    def __init__(
        self,
        symbol: str,
        plan: Plan,
        buffers: dict[str, str],
        parameters: Sequence[str],
        target: Target,
        new_emitter: Callable[[], Emitter],
        emit_nested: EmitNested,
        share: Share | None = None,
    ) -> None:
        self.symbol, self.plan, self.target = symbol, plan, target
        self.buffers, self.parameters = buffers, list(parameters)
        self.new_emitter, self.emit_nested = new_emitter, emit_nested
        self.share = share
        self.texts: list[str] = []
        self.shared, self.own = _Area("%shared"), _Area("%own")
        for buffer in plan.stages.temporaries:
            size = prod(buffer.shape) * buffer.dtype.itemsize
            self._area_of(buffer).put(buffer.name, size)
        self.packed = {
            id(s): f"packed{k}" for k, s in enumerate(plan.ranged) if self._prepack(s)
        }
        for stage in plan.ranged:
            if isinstance(stage, Product) and id(stage) in self.packed:
                size = packed_bytes(stage.problem, target)
                self.shared.put(self.packed[id(stage)], size)

    def _area_of(self, buffer: Buffer) -> _Area:
        axis, stages = self.plan.axis, self.plan.stages.stages
        if axis is not None and is_blocked(buffer.name, stages, axis):
            return self.own
        return self.shared

    def _prepack(self, stage: Stage) -> bool:
        """Tell whether a product is run for many ranges with the same B, packed."""
        if not isinstance(stage, Product) or not is_packed(stage.problem, self.target):
            return False
        if self.plan.axis is not None:
            return stage.split is Split.ROWS
        can_pack = not stage.problem.batch and self.plan.split is Split.ROWS
        return can_pack and self._shares_packing(stage.problem)

    def _shares_packing(self, problem: Problem) -> bool:
        """Tell whether it pays that threads pack B together, before the rest."""
        size = problem.k * problem.n * problem.dtype.itemsize
        return self.share is not None and _LEAST_SHARED <= size <= MOST_B_BYTES

    def emit(self, linkage: str) -> StagedCode:
        """Return the functions."""
        packed = self._packed_stages()
        is_large = any(self._shares_packing(s.problem) for s in packed)
        self.packs = self._packs() if is_large else []
        has_once = bool(self.plan.once or (self.packed and not self.packs))
        once = f"{self.symbol}.once" if has_once else None
        ranged = f"{self.symbol}.range" if self.plan.ranged else None
        after = f"{self.symbol}.after" if self.plan.after else None
        if once:
            self._emit_once(once, self.plan.once)
        if after:
            self._emit_once(after, self.plan.after)
        if ranged:
            self._emit_range(ranged)
        ranges = None
        if ranged and self.plan.extent:
            plan, sizes = self.plan, (self.shared.size, self.own.size)
            repeats = any(map(self._repeats_work, plan.ranged))
            ranges = Ranges(once, ranged, plan.extent, plan.quantum, *sizes, repeats)
        own = self._emit_whole((once, after), ranged, ranges, linkage)
        ranges = None if self.packs or after else ranges
        return StagedCode("\n".join(self.texts), self.shared.size + own, ranges)

    def _repeats_work(self, stage: Stage) -> bool:
        """Tell whether each range of a product goes through all of an operand.

        What it packs, or reads from where it lies. A packed one is read piece by piece.
        """
        return isinstance(stage, Product) and id(stage) not in self.packed

    def _emit_once(self, symbol: str, stages: Sequence[Stage]) -> None:
        em = self.new_emitter()
        for number, stage in enumerate(stages):
            if isinstance(stage, Nested):
                self._call_nested(em, stage, None, self.shared)
            else:
                self._call_once(em, f"{self.symbol}.gemm{number}", stage)
        is_first = stages is self.plan.once
        for stage in self._packed_stages() if is_first and not self.packs else ():
            self._call_pack(em, stage, "0", str(stage.problem.n))
        em.ret()
        self._add(em, symbol, ["%shared", "%err"], [], "internal")

    def _packed_stages(self) -> list[Product]:
        found = (s for s in self.plan.ranged if isinstance(s, Product))
        return [s for s in found if id(s) in self.packed]

    def _packs(self) -> list[Ranges]:
        """Emit functions over ranges of columns that pack, to be run before others."""
        out = []
        for stage in self._packed_stages():
            em, name = self.new_emitter(), self.packed[id(stage)]
            self._call_pack(em, stage, "%begin", "%end")
            em.ret()
            symbol = f"{self.symbol}.{name}.range"
            names = ["%shared", "%own", "%err"]
            self._add(em, symbol, names, ["%begin", "%end"], "internal")
            unit = quantum(stage.problem, self.target, Split.COLUMNS)
            size = self.shared.size
            out.append(Ranges(None, symbol, stage.problem.n, unit, size, 0))
        return out

    def _emit_range(self, symbol: str) -> None:
        em, plan = self.new_emitter(), self.plan
        if plan.axis is None:
            self._block(em, "%begin", "%end")
        else:
            with em.loop("%begin", "%end", plan.step) as loop:
                stop = em.op(f"add nsw i64 {loop.index}, {plan.step}")
                end = em.intrinsic("llvm.smin", "i64", stop, "%end")
                self._block(em, loop.index, end)
                loop.yield_([])
        em.ret()
        names = ["%shared", "%own", "%err"]
        self._add(em, symbol, names, ["%begin", "%end"], "internal")

    def _emit_whole(
        self,
        around: tuple[str | None, str | None],
        ranged: str | None,
        ranges: Ranges | None,
        linkage: str,
    ) -> int:
        """Emit the kernel's own function; return the scratch its ranges need."""
        em, size = self.new_emitter(), self.own.size
        once, after = around
        buffers = [("ptr", p) for p in self.parameters]
        shared, error = ("ptr", "%scratch"), ("ptr", "%err")
        if once:
            em.call("void", once, [*buffers, shared, error])
        for pack in self.packs:
            name = pack.symbol.removeprefix(f"{self.symbol}.")
            size = max(size, self._run(em, pack, f"{name}.task"))
        if ranges:
            size = max(size, self._run(em, ranges, "task"))
        elif ranged:
            self._run_serially(em, ranged, self.plan.extent)
        if after:
            em.call("void", after, [*buffers, shared, error])
        em.ret()
        self._add(em, self.symbol, ["%scratch", "%err"], [], linkage)
        return size

    def _run(self, em: Emitter, ranges: Ranges, name: str) -> int:
        """Write the run of all ranges, shared if that pays; return its own scratch."""
        job = None
        if self.share:
            task = self.new_emitter()
            job = self.share(em, task, ranges, self.parameters, name)
        if job is None:
            self._run_serially(em, ranges.symbol, ranges.extent)
            return ranges.own_bytes
        self.texts.append(job.text)
        return job.scratch_bytes

    def _run_serially(self, em: Emitter, symbol: str, extent: int) -> None:
        own = em.gep("i8", "%scratch", self.shared.size)
        pointers = [*self.parameters, "%scratch", own, "%err"]
        limits = [("i64", "0"), ("i64", str(extent))]
        em.call("void", symbol, [*(("ptr", p) for p in pointers), *limits])

    def _add(
        self,
        em: Emitter,
        symbol: str,
        pointers: Sequence[str],
        numbers: Sequence[str],
        linkage: str,
    ) -> None:
        parameters = [f"ptr {p}" for p in (*self.parameters, *pointers)]
        parameters += [f"i64 {n}" for n in numbers]
        self.texts.append(em.function(symbol, parameters, linkage=linkage))

    # Stages

    def _block(self, em: Emitter, begin: str, end: str) -> None:
        """Call the stages for one block of the range."""
        for number, stage in enumerate(self.plan.ranged):
            if isinstance(stage, Nested):
                self._call_nested(em, stage, (begin, end), self.own)
                continue
            name = f"{self.symbol}.product{number}"
            split = self.plan.split if self.plan.axis is None else stage.split
            form = Form(split or Split.ROWS, id(stage) in self.packed)
            self._call_product(em, name, stage, form, (begin, end), self.own)

    def _call_once(self, em: Emitter, name: str, stage: Product) -> None:
        limits = ("0", str(stage.problem.extent(Split.ROWS)))
        self._call_product(em, name, stage, Form(), limits, self.shared)

    def _call_nested(
        self, em: Emitter, stage: Nested, limits: tuple[str, str] | None, area: _Area
    ) -> None:
        code = self.emit_nested(stage, self.plan.axis if limits else None)
        self.texts.append(code.text)
        area.needed = max(area.needed, code.scratch_bytes)
        begin = limits[0] if limits else "0"
        buffers = (*stage.kernel.inputs, *stage.kernel.outputs)
        values = [self._pointer(em, b, begin) for b in buffers]
        values += [em.gep("i8", area.base, area.used), "%err"]
        numbers = [("i64", x) for x in limits or ()]
        em.call("void", code.symbol, [*(("ptr", v) for v in values), *numbers])

    def _call_product(
        self,
        em: Emitter,
        name: str,
        stage: Product,
        form: Form,
        limits: tuple[str, str],
        area: _Area,
    ) -> None:
        problem = stage.problem
        text = emit_gemm(name, problem, self.target, self.new_emitter, form)
        self.texts.append(text)
        needed = scratch_bytes(problem, self.target, form)
        area.needed = max(area.needed, needed)
        values = [
            self._matrix(em, m, problem.operand, limits[0])
            for m in (stage.lhs, stage.rhs)
        ]
        if form.packed:
            offset = self.shared.offsets[self.packed[id(stage)]]
            values[1] = em.gep("i8", "%shared", offset)
        values.append(self._matrix(em, stage.out, problem.dtype, limits[0]))
        values.append(em.gep("i8", area.base, area.used))
        numbers = [("i64", x) for x in limits]
        em.call("void", name, [*(("ptr", v) for v in values), *numbers])

    def _call_pack(self, em: Emitter, stage: Product, begin: str, end: str) -> None:
        name = f"{self.symbol}.{self.packed[id(stage)]}"
        self.texts.append(emit_pack(name, stage.problem, self.target, self.new_emitter))
        offset = self.shared.offsets[self.packed[id(stage)]]
        values = [
            self._matrix(em, stage.rhs, stage.problem.operand, "0"),
            em.gep("i8", "%shared", offset),
        ]
        columns = [("i64", begin), ("i64", end)]
        em.call("void", name, [*(("ptr", v) for v in values), *columns])

    # Addresses

    def _matrix(self, em: Emitter, matrix: Matrix, dtype: np.dtype, begin: str) -> str:
        known = {b.name: b for b in self.plan.stages.temporaries}
        name = matrix.buffer
        at = self.buffers.get(name) or self._pointer(em, known[name], begin)
        return em.gep(memory_type(dtype), at, matrix.start)

    def _pointer(self, em: Emitter, buffer: Buffer, begin: str) -> str:
        """Return the address of a buffer's first element, were it there whole."""
        if buffer.name in self.buffers:
            return self.buffers[buffer.name]
        area = self._area_of(buffer)
        at = em.gep("i8", area.base, area.offsets[buffer.name])
        if area is self.shared or begin == "0":
            return at
        before = em.op(f"mul nsw i64 {begin}, {-buffer.strides[0]}")
        return em.gep(memory_type(buffer.dtype), at, before)
