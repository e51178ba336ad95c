"""A kernel as an LLVM function.

``void @name(ptr in..., ptr out..., ptr scratch, ptr err)``: the buffers in order, at
least `KernelCode.scratch_bytes` bytes of memory aligned to 64 bytes, and the error word
(two i64: code, offending index), which is only written to when something is wrong.
Needs the kernel IR and a schedule; the schedule is followed but for sums over several
axes of which the vector axis is not the last: they run as scalars.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from ...kernels.cuts import cut
from ...kernels.kernel import Contract, Kernel, KernelOp, Reduce
from ...kernels.parts import Part, parts_of
from ...kernels.schedule import Role, Schedule
from .collapse import Beside, flattened
from .emission import Emission, KernelCode, ModuleScope
from .nest import parameter_names
from .parallel import ParallelNest
from .sharing import SERIAL, Threading
from .strips import with_turned_axis
from .target import Target
from .unrolled import with_columns_apart
from .values import is_real


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
    more = numbers, span, threading, uncached, beside
    return _emit(Emission(kernel, schedule, target, scope, linkage, *more))


def _emit(made: Emission) -> KernelCode:
    """Return the code of a kernel: of its parts, stages, ranges, or one loop nest."""
    kernel, schedule = made.kernel, made.schedule
    parts = parts_of(kernel, schedule)
    if len(parts) > 1 and made.span is None:  # all that a range runs shares its axis
        return _parts(made, parts)
    if any(isinstance(op, Contract) for op in kernel.body):
        from .contracted import emit_contracted  # noqa: PLC0415  # with the first

        return emit_contracted(made, partial(_inner, made))
    if made.span is not None:
        return _nest(made)
    (first, plan), *others = ranges = cut(kernel, schedule)
    if others:
        return _parts(made, ranges)
    same = replace(first, inputs=kernel.inputs, outputs=kernel.outputs)
    return _nest(replace(made, kernel=same, schedule=plan))


def _nest(made: Emission) -> KernelCode:
    """Return a function with one loop nest, over a range if there is a `span`."""
    em = made.scope.emitter()
    flat = flattened(made.kernel, made.schedule, made.span, made.beside)
    flat = with_columns_apart(flat, made.span)
    limits = ("%begin", "%end") if made.span else None
    plan = _scalar_if_needed(flat.kernel, flat.schedule)
    nest = ParallelNest(
        flat.kernel,
        plan if made.span else with_turned_axis(flat.kernel, plan),
        made.target,
        em,
        made.numbers_in(flat),
        flat.views,
        limits,
        made.symbol,
        made.threading,
        made.scope.emitter,
    )
    nest.uncached = made.uncached
    nest.emit()
    nest.fence()
    em.ret()
    text = made.function(em, [f"i64 {x}" for x in limits or ()])
    return KernelCode(
        made.symbol,
        "\n".join([*nest.functions, text]),
        nest.scratch_bytes,
        made.can_fail,
        shared_ns=nest.shared_ns,
    )


def _parts(made: Emission, parts: Sequence[Part]) -> KernelCode:
    """Return a function that calls the parts of a kernel, each a function."""
    em = made.scope.emitter()
    pointers = parameter_names(made.kernel)
    texts: list[str] = []
    needed = shared_ns = 0
    for place, (part, schedule) in enumerate(parts):
        own = replace(part, name=f"{made.kernel.name}.part{place}")
        code = _inner(made, own, schedule, made.numbers)
        shared_ns += code.shared_ns
        texts.append(code.text)
        needed = max(needed, code.scratch_bytes)
        values = [pointers[b.name] for b in (*part.inputs, *part.outputs)]
        arguments = [("ptr", v) for v in (*values, "%scratch", "%err")]
        em.call("void", code.symbol, arguments)
    em.ret()
    texts.append(made.function(em))
    return KernelCode(
        made.symbol, "\n".join(texts), needed, made.can_fail, shared_ns=shared_ns
    )


def _inner(
    made: Emission,
    kernel: Kernel,
    schedule: Schedule,
    numbers: Mapping[KernelOp, int],
    span: str | None = None,
) -> KernelCode:
    """Return the code of a kernel that is a part of this one."""
    part = replace(made, kernel=kernel, schedule=schedule, numbers=numbers, span=span)
    return _emit(replace(part, linkage="internal", uncached=frozenset()))


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
