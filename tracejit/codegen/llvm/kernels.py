"""A kernel as an LLVM function.

``void @name(ptr in..., ptr out..., ptr scratch, ptr err)``: the buffers in order, at
least `KernelCode.scratch_bytes` bytes of memory aligned to 64 bytes, and the error word
(two i64: code, offending index), which is only written to when something is wrong.
Needs the kernel IR and a schedule; the schedule is followed but for sums over several
axes of which one is the vector axis, which run as scalars where a row does not fill
whole blocks of virtual lanes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...kernels.cost import work_ns
from ...kernels.kernel import Buffer, Contract, Kernel, KernelOp, Load, Reduce
from ...kernels.parts import Part, parts_of
from ...kernels.schedule import Role, Schedule
from ...kernels.tree import LANES
from .blocks import plan_of
from .collapse import flattened
from .contraction import Nested, check_contraction
from .conv import emit_convolution
from .conv_shape import Convolution, convolution_of
from .jobs import SERIAL, RangeJob, Threading
from .nest import parameter_names
from .parallel import ParallelNest
from .staged import Function, Ranges, StageEmitter, aligned
from .target import Target
from .text import Emitter
from .values import is_real


@dataclass
class ModuleScope:
    """What the functions of one module share: declarations and constant tables."""

    declarations: dict[str, str] = field(default_factory=dict)
    globals_: dict[str, str] = field(default_factory=dict)

    def emitter(self) -> Emitter:
        """Return an emitter for one more function."""
        return Emitter(self.declarations, self.globals_)


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

    Raises
    ------
    InternalError
        If the schedule does not fit the kernel.
    """
    if numbers is None:
        numbers = {op: k for k, op in enumerate(kernel.body)}
    convolution = convolution_of(kernel)
    if convolution is not None:
        return _emit_convolution(kernel, convolution, target, scope, linkage, threading)
    parts = parts_of(kernel, schedule)
    if len(parts) > 1 and span is None:  # all that a range runs shares its axis
        return _emit_parts(kernel, parts, target, scope, linkage, numbers, threading)
    if any(isinstance(op, Contract) for op in kernel.body):
        return _emit_stages(
            kernel, schedule, target, scope, linkage, numbers, threading
        )
    symbol = symbol_of(kernel.name)
    em = scope.emitter()
    flat = flattened(kernel, schedule, apart=span)
    flat_numbers = {op: numbers.get(old, 0) for op, old in flat.origin.items()}
    plan = _scalar_if_needed(flat.kernel, flat.schedule)
    limits = ("%begin", "%end") if span else None
    nest = ParallelNest(
        flat.kernel,
        plan,
        target,
        em,
        flat_numbers,
        flat.views,
        limits,
        symbol,
        threading,
        scope.emitter,
    )
    nest.uncached = uncached
    nest.emit()
    nest.fence()
    em.ret()
    parameters = _parameters(kernel)
    parameters += [f"i64 {x}" for x in limits or ()]
    text = em.function(symbol, parameters, linkage=linkage)
    return KernelCode(
        symbol,
        "\n".join([*nest.functions, text]),
        nest.scratch_bytes,
        _can_fail(kernel),
        shared_ns=nest.shared_ns,
    )


def _parameters(kernel: Kernel) -> list[str]:
    names = [*parameter_names(kernel).values(), "%scratch", "%err"]
    return [f"ptr {name}" for name in names]


def _emit_convolution(
    kernel: Kernel,
    convolution: Convolution,
    target: Target,
    scope: ModuleScope,
    linkage: str,
    threading: Threading,
) -> KernelCode:
    """Return a function that calls the one of a convolution, on several threads."""
    symbol, em = symbol_of(kernel.name), scope.emitter()
    pointers = parameter_names(kernel)
    code = emit_convolution(f"{symbol}.conv", convolution, target, scope.emitter)
    values = [pointers[b] for b in convolution.buffers]
    range_text = _convolution_range(symbol, pointers, values, scope)
    ranges = Ranges(
        None, f"{symbol}.range", code.extent, 1, 0, aligned(code.scratch_bytes)
    )
    work = work_ns(kernel.body, kernel)
    job = None
    if threading.shares(work):
        emit_job = RangeJob(f"{symbol}.task", threading, work, False).emit
        job = emit_job(em, scope.emitter(), ranges, [*pointers.values()])
    if job is None:
        arguments = [("ptr", v) for v in (*pointers.values(), "%scratch", "%scratch")]
        limits = [("i64", "0"), ("i64", str(code.extent))]
        em.call("void", ranges.symbol, [*arguments, ("ptr", "%err"), *limits])
    em.ret()
    text = em.function(symbol, _parameters(kernel), linkage=linkage)
    return KernelCode(
        symbol,
        "\n".join((*code.texts, range_text, *([job.text] if job else ()), text)),
        job.scratch_bytes if job else code.scratch_bytes,
        False,
        ranges,
        work if job else 0,
    )


def _convolution_range(
    symbol: str, pointers: Mapping[str, str], values: Sequence[str], scope: ModuleScope
) -> str:
    """Return the function that computes a range of a convolution (see `Ranges`)."""
    em = scope.emitter()
    arguments = [("ptr", v) for v in (*values, "%own")]
    limits = [("i64", "%begin"), ("i64", "%end")]
    em.call("void", f"{symbol}.conv", [*arguments, *limits])
    em.ret()
    names = (*pointers.values(), "%shared", "%own", "%err")
    parameters = [*(f"ptr {n}" for n in names), "i64 %begin", "i64 %end"]
    return em.function(f"{symbol}.range", parameters, linkage="internal")


def _emit_parts(
    kernel: Kernel,
    parts: Sequence[Part],
    target: Target,
    scope: ModuleScope,
    linkage: str,
    numbers: Mapping[KernelOp, int],
    threading: Threading,
) -> KernelCode:
    """Return a function that calls the parts of a kernel, each a function."""
    symbol, em = symbol_of(kernel.name), scope.emitter()
    pointers = parameter_names(kernel)
    texts: list[str] = []
    needed = shared_ns = 0
    for place, (part, schedule) in enumerate(parts):
        own = replace(part, name=f"{kernel.name}.part{place}")
        code = emit_kernel(
            own, schedule, target, scope, "internal", numbers, threading=threading
        )
        shared_ns += code.shared_ns
        texts.append(code.text)
        needed = max(needed, code.scratch_bytes)
        values = [pointers[b.name] for b in (*part.inputs, *part.outputs)]
        arguments = [("ptr", v) for v in (*values, "%scratch", "%err")]
        em.call("void", code.symbol, arguments)
    em.ret()
    texts.append(em.function(symbol, _parameters(kernel), linkage=linkage))
    text = "\n".join(texts)
    return KernelCode(symbol, text, needed, _can_fail(kernel), shared_ns=shared_ns)


def _emit_stages(
    kernel: Kernel,
    schedule: Schedule,
    target: Target,
    scope: ModuleScope,
    linkage: str,
    numbers: Mapping[KernelOp, int],
    threading: Threading,
) -> KernelCode:
    """Return functions that run the stages of a kernel with contractions."""
    check_contraction(kernel)
    flat = flattened(kernel, schedule)
    flat_numbers = {op: numbers.get(old, 0) for op, old in flat.origin.items()}
    pointers = parameter_names(kernel)
    parameters = list(pointers.values())
    views: dict[str, list[Buffer]] = {name: [] for name in pointers}
    for name, (view, base) in flat.views.items():
        pointers[name] = pointers[base]
        views[base].append(view)
    whole = replace(
        flat.kernel,
        inputs=tuple(x for b in kernel.inputs for x in (b, *views[b.name])),
        outputs=tuple(x for b in kernel.outputs for x in (b, *views[b.name])),
    )

    def nested(stage: Nested, span: str | None) -> Function:
        code = emit_kernel(
            stage.kernel,
            stage.schedule,
            target,
            scope,
            "internal",
            flat_numbers,
            span,
            threading,
        )
        return Function(code.symbol, code.text, code.scratch_bytes)

    plan = plan_of(whole, flat.schedule, target)
    symbol, can_fail = symbol_of(kernel.name), _can_fail(kernel)
    work = work_ns(kernel.body, kernel)
    job = RangeJob(f"{symbol}.task", threading, work, can_fail)
    stages = StageEmitter(
        symbol,
        plan,
        pointers,
        parameters,
        target,
        scope.emitter,
        nested,
        job.emit if threading.shares(work) else None,
    )
    code = stages.emit(linkage)
    return KernelCode(
        symbol,
        code.text,
        code.scratch_bytes,
        can_fail,
        code.ranges,
        work if threading.shares(work) else 0,
    )


def _can_fail(kernel: Kernel) -> bool:
    loads = [op for op in kernel.body if isinstance(op, Load)]
    return any(op.check and not op.clip for op in loads)


def symbol_of(name: str) -> str:
    """Return a name as an LLVM symbol that needs no quotes."""
    return re.sub(r"[^\w.]", "_", name)


def _scalar_if_needed(kernel: Kernel, schedule: Schedule) -> Schedule:
    axis = schedule.vector_axis
    extents = {a.name: a.extent for a in kernel.axes}
    for op in kernel.body:
        if not isinstance(op, Reduce) or op.op != "add" or len(op.axes) == 1:
            continue
        if axis in op.axes and is_real(op.result.dtype):
            aligned = axis == op.axes[-1] and extents[axis] % LANES == 0
            if not aligned:
                return _without_vectors(schedule)
    return schedule


def _without_vectors(schedule: Schedule) -> Schedule:
    roles: Mapping[str, Role] = {
        a: Role.SEQUENTIAL if r is Role.VECTOR else r for a, r in schedule.roles.items()
    }
    return Schedule(schedule.loops, roles, schedule.placements)
