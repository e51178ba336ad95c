"""A kernel as an LLVM function.

``void @name(ptr in..., ptr out..., ptr scratch, ptr err)``: the buffers in order, at
least `KernelCode.scratch_bytes` bytes of memory aligned to 64 bytes, and the error word
(two i64: code, offending index), which is only written to when something is wrong.
Needs the kernel IR and a schedule; the schedule is followed but for sums over several
axes of which the vector axis is not the last: they run as scalars.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from ...kernels.cost import work_ns
from ...kernels.cuts import cut
from ...kernels.kernel import Buffer, Contract, Kernel, KernelOp, Reduce
from ...kernels.parts import Part, parts_of
from ...kernels.schedule import Role, Schedule
from ...records import dataclass
from .blocks import plan_of
from .collapse import Beside, Flat, flattened
from .contraction import Nested, check_contraction
from .conv import ConvCode, emit_convolution, quantum_along
from .conv_shape import Convolution, convolution_of, has_convolution
from .indices import multiply
from .jobs import RangeJob
from .nest import parameter_names
from .parallel import ParallelNest, can_fail
from .sharing import SERIAL, Threading
from .staged import Function, Ranges, StageEmitter
from .streams import UNITS_PER_THREAD, Planned, StreamEmitter, planned
from .strips import with_turned_axis
from .target import Target, aligned
from .text import Emitter
from .values import is_real


@dataclass
class ModuleScope:
    """What the functions of one module share: declarations and constant tables.

    Parameters
    ----------
    declarations, globals_ : dict of str to str
    annotated : bool
        Whether comments name the values that lines compute.
    """

    declarations: dict[str, str] = field(default_factory=dict)
    globals_: dict[str, str] = field(default_factory=dict)
    annotated: bool = False

    def emitter(self) -> Emitter:
        """Return an emitter for one more function."""
        return Emitter(self.declarations, self.globals_, self.annotated)


@dataclass(frozen=True)
class KernelCode:
    """The code of a kernel.

    Parameters
    ----------
    symbol : str
        Its name in the module.
    text : str
        Its function, and those that only it calls.
    scratch_bytes : int
        What it needs of scratch memory.
    can_fail : bool
        Whether it may write the error word.
    ranges : Ranges or None
        The parts of it that several threads may run; None if it has none.
    shared_ns : int
        Estimated work, in nanoseconds, of loops that several threads share.
    """

    symbol: str
    text: str
    scratch_bytes: int
    can_fail: bool
    ranges: Ranges | None = None
    shared_ns: int = 0


def emit_kernel(
    kernel: Kernel,
    schedule: Schedule,
    target: Target,
    scope: ModuleScope,
    linkage: str = "internal",
    numbers: Mapping[KernelOp, int] | None = None,
    span: str | None = None,
    threading: Threading = SERIAL,
    uncached: frozenset[str] = frozenset(),
    beside: Beside = frozenset(),
) -> KernelCode:
    """Return the code of a kernel.

    Parameters
    ----------
    kernel : Kernel
    schedule : Schedule
    target : Target
    scope : ModuleScope
        Of the module that the text goes into.
    linkage : str
        Empty for a function that the outside may call.
    numbers : mapping of KernelOp to int, optional
        What the error word calls the operations; by default their positions.
    span : str, optional
        An axis, the outermost loop of a kernel without contractions: the function has
        two more parameters, ``i64 %begin`` and ``i64 %end``, and runs over that range
        of the axis.
    threading : Threading
        Whether loops are shared between threads; then the module imports
        `jobs.JOB_SYMBOL`. A function over a range runs on one thread.
    uncached : frozenset of str
        Outputs, aligned to 64 bytes, that are stored past the caches where that can be.
    beside : frozenset of (str, str)
        Buffers that begin one element after another one, and which one that is.

    Raises
    ------
    InternalError
        If the schedule does not fit the kernel.
    """
    if numbers is None:
        numbers = {op: k for k, op in enumerate(kernel.body)}
    made = _Emission(
        kernel,
        schedule,
        target,
        scope,
        linkage,
        numbers,
        span,
        threading,
        uncached,
        beside,
    )
    convolution = convolution_of(kernel)
    if convolution is not None:
        return made.convolution(convolution)
    parts = parts_of(kernel, schedule)
    if len(parts) > 1 and span is None:  # all that a range runs shares its axis
        return made.parts(parts)
    if any(isinstance(op, Contract) for op in kernel.body):
        return made.stages()
    if span is not None:
        return made.nest()
    (first, plan), *others = ranges = cut(kernel, schedule)
    if others:
        return made.parts(ranges)
    same = replace(first, inputs=kernel.inputs, outputs=kernel.outputs)
    return replace(made, kernel=same, schedule=plan).nest()


@dataclass(frozen=True)
class _Emission:
    """What is to be emitted; see `emit_kernel`. Each method is one form of the code."""

    kernel: Kernel
    schedule: Schedule
    target: Target
    scope: ModuleScope
    linkage: str
    numbers: Mapping[KernelOp, int]
    span: str | None
    threading: Threading
    uncached: frozenset[str]
    beside: Beside

    @property
    def symbol(self) -> str:
        """The name of the function."""
        return symbol_of(self.kernel.name)

    @property
    def can_fail(self) -> bool:
        """Whether it may write the error word."""
        return can_fail(self.kernel.body)

    @property
    def work_ns(self) -> int:
        """Estimated work, in nanoseconds."""
        return work_ns(self.kernel.body, self.kernel)

    def function(self, em: Emitter, more: Sequence[str] = ()) -> str:
        """Return the text of the function that `em` has the body of."""
        names = [*parameter_names(self.kernel).values(), "%scratch", "%err"]
        parameters = [*(f"ptr {name}" for name in names), *more]
        return em.function(self.symbol, parameters, linkage=self.linkage)

    def nest(self) -> KernelCode:
        """Return a function with one loop nest, over a range if there is a `span`."""
        em = self.scope.emitter()
        flat = flattened(self.kernel, self.schedule, self.span, self.beside)
        limits = ("%begin", "%end") if self.span else None
        plan = _scalar_if_needed(flat.kernel, flat.schedule)
        nest = ParallelNest(
            flat.kernel,
            plan if self.span else with_turned_axis(flat.kernel, plan),
            self.target,
            em,
            self._numbers_in(flat),
            flat.views,
            limits,
            self.symbol,
            self.threading,
            self.scope.emitter,
        )
        nest.uncached = self.uncached
        nest.emit()
        nest.fence()
        em.ret()
        text = self.function(em, [f"i64 {x}" for x in limits or ()])
        return KernelCode(
            self.symbol,
            "\n".join([*nest.functions, text]),
            nest.scratch_bytes,
            self.can_fail,
            shared_ns=nest.shared_ns,
        )

    def _numbers_in(self, flat: Flat) -> dict[KernelOp, int]:
        """Return what the error word calls the operations of the collapsed kernel."""
        return {op: self.numbers.get(old, 0) for op, old in flat.origin.items()}

    def convolution(self, convolution: Convolution) -> KernelCode:
        """Return a function that calls the one of a convolution, on several threads."""
        symbol, em = self.symbol, self.scope.emitter()
        pointers = parameter_names(self.kernel)
        emitter = self.scope.emitter
        code = emit_convolution(f"{symbol}.conv", convolution, self.target, emitter)
        values = [pointers[b] for b in convolution.buffers]
        if self.span is not None:
            return self._convolution_span(convolution, code)
        range_text = self._convolution_range(values)
        ranges = Ranges(
            None, f"{symbol}.range", code.extent, 1, 0, aligned(code.scratch_bytes)
        )
        job = None
        if self.threading.shares(self.work_ns):
            emit_job = RangeJob(symbol, self.threading, self.work_ns, False).emit
            job = emit_job(em, emitter(), ranges, [*pointers.values()], "task")
        if job is None:
            names = (*pointers.values(), "%scratch", "%scratch", "%err")
            limits = [("i64", "0"), ("i64", str(code.extent))]
            em.call("void", ranges.symbol, [*(("ptr", v) for v in names), *limits])
        em.ret()
        text = self.function(em)
        return KernelCode(
            symbol,
            "\n".join((*code.texts, range_text, *([job.text] if job else ()), text)),
            job.scratch_bytes if job else code.scratch_bytes,
            False,
            ranges,
            self.work_ns if job else 0,
        )

    def _convolution_span(self, convolution: Convolution, code: ConvCode) -> KernelCode:
        """Return the function over a range of the axis `span`."""
        em = self.scope.emitter()
        pointers = parameter_names(self.kernel)
        assert self.span is not None
        quantum = quantum_along(convolution, self.span, self.target)
        assert quantum is not None
        each = code.extent * quantum // self.kernel.extent(self.span)
        values = [pointers[b] for b in convolution.buffers]
        arguments = [("ptr", v) for v in (*values, "%scratch")]
        for limit in ("%begin", "%end"):
            part = em.op(f"sdiv exact i64 {limit}, {quantum}")
            arguments.append(("i64", str(multiply(em, part, each))))
        em.call("void", f"{self.symbol}.conv", arguments)
        em.ret()
        text = self.function(em, ["i64 %begin", "i64 %end"])
        return KernelCode(
            self.symbol, "\n".join((*code.texts, text)), code.scratch_bytes, False
        )

    def _convolution_range(self, values: Sequence[str]) -> str:
        """Return the function for a range of a convolution (see `Ranges`)."""
        em = self.scope.emitter()
        arguments = [("ptr", v) for v in (*values, "%own")]
        limits = [("i64", "%begin"), ("i64", "%end")]
        em.call("void", f"{self.symbol}.conv", [*arguments, *limits])
        em.ret()
        names = (*parameter_names(self.kernel).values(), "%shared", "%own", "%err")
        parameters = [*(f"ptr {n}" for n in names), "i64 %begin", "i64 %end"]
        return em.function(f"{self.symbol}.range", parameters, linkage="internal")

    def parts(self, parts: Sequence[Part]) -> KernelCode:
        """Return a function that calls the parts of a kernel, each a function."""
        em = self.scope.emitter()
        pointers = parameter_names(self.kernel)
        texts: list[str] = []
        needed = shared_ns = 0
        for place, (part, schedule) in enumerate(parts):
            own = replace(part, name=f"{self.kernel.name}.part{place}")
            code = self._inner(own, schedule, self.numbers)
            shared_ns += code.shared_ns
            texts.append(code.text)
            needed = max(needed, code.scratch_bytes)
            values = [pointers[b.name] for b in (*part.inputs, *part.outputs)]
            arguments = [("ptr", v) for v in (*values, "%scratch", "%err")]
            em.call("void", code.symbol, arguments)
        em.ret()
        texts.append(self.function(em))
        return KernelCode(
            self.symbol, "\n".join(texts), needed, self.can_fail, shared_ns=shared_ns
        )

    def _inner(
        self,
        kernel: Kernel,
        schedule: Schedule,
        numbers: Mapping[KernelOp, int],
        span: str | None = None,
    ) -> KernelCode:
        """Return the code of a kernel that is a part of this one."""
        return emit_kernel(
            kernel,
            schedule,
            self.target,
            self.scope,
            "internal",
            numbers,
            span,
            self.threading,
            beside=self.beside,
        )

    def stages(self) -> KernelCode:
        """Return functions that run the stages of a kernel with contractions."""
        check_contraction(self.kernel)
        stream = planned(self.kernel, self.schedule)
        if stream is not None:
            return self.streamed(stream)
        flat = self._flat_stages()
        numbers = self._numbers_in(flat)
        whole, pointers = _with_views(self.kernel, flat)

        def nested(stage: Nested, span: str | None) -> Function:
            code = self._inner(stage.kernel, stage.schedule, numbers, span)
            return Function(code.symbol, code.text, code.scratch_bytes)

        work, shares = self.work_ns, self.threading.shares(self.work_ns)
        job = RangeJob(self.symbol, self.threading, work, self.can_fail)
        code = StageEmitter(
            self.symbol,
            plan_of(whole, flat.schedule, self.target),
            pointers,
            list(parameter_names(self.kernel).values()),
            self.target,
            self.scope.emitter,
            nested,
            job.emit if shares else None,
        ).emit(self.linkage)
        return KernelCode(
            self.symbol,
            code.text,
            code.scratch_bytes,
            self.can_fail,
            code.ranges,
            work if shares else 0,
        )

    def _flat_stages(self) -> Flat:
        """Return the kernel over as few axes as can be; windows need all of theirs."""
        if has_convolution(self.kernel):
            same = {op: op for op in self.kernel.body}
            return Flat(self.kernel, self.schedule, {}, same)
        return flattened(self.kernel, self.schedule)

    def streamed(self, plan: Planned) -> KernelCode:
        """Return functions that run a stream (see `streams`)."""

        def nested(stage: Nested, span: str | None) -> Function:
            code = self._inner(stage.kernel, stage.schedule, {}, span)
            return Function(code.symbol, code.text, code.scratch_bytes)

        work, shares = self.work_ns, self.threading.shares(self.work_ns)
        job = RangeJob(self.symbol, self.threading, work, False, UNITS_PER_THREAD)
        code = StreamEmitter(
            self.symbol,
            plan,
            parameter_names(self.kernel),
            self.target,
            self.scope.emitter,
            nested,
            job.emit if shares else None,
        ).emit(self.linkage)
        return KernelCode(
            self.symbol,
            code.text,
            code.scratch_bytes,
            False,
            code.ranges,
            work if shares else 0,
        )


def _with_views(kernel: Kernel, flat: Flat) -> tuple[Kernel, dict[str, str]]:
    """Return the collapsed kernel with the views of its buffers, and all pointers."""
    pointers = parameter_names(kernel)
    views: dict[str, list[Buffer]] = {name: [] for name in pointers}
    for name, (view, base) in flat.views.items():
        pointers[name] = pointers[base]
        views[base].append(view)
    whole = replace(
        flat.kernel,
        inputs=tuple(x for b in kernel.inputs for x in (b, *views[b.name])),
        outputs=tuple(x for b in kernel.outputs for x in (b, *views[b.name])),
    )
    return whole, pointers


def symbol_of(name: str) -> str:
    """Return a name as an LLVM symbol that needs no quotes."""
    return re.sub(r"[^\w.]", "_", name)


def _scalar_if_needed(kernel: Kernel, schedule: Schedule) -> Schedule:
    axis = schedule.vector_axis
    for op in kernel.body:
        if not isinstance(op, Reduce) or op.op != "add":
            continue
        if axis in op.axes[:-1] and is_real(op.result.dtype):
            return _without_vectors(schedule)
    return schedule


def _without_vectors(schedule: Schedule) -> Schedule:
    roles: Mapping[str, Role] = {
        a: Role.SEQUENTIAL if r is Role.VECTOR else r for a, r in schedule.roles.items()
    }
    return Schedule(schedule.loops, roles, schedule.placements)
