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
from math import prod

from ...kernels.kernel import Contract, Kernel, KernelOp, Load, Reduce
from ...kernels.parts import Part, parts_of
from ...kernels.schedule import Role, Schedule
from ...kernels.tree import LANES
from .collapse import flattened
from .contraction import Nested, check_contraction, stages_of
from .gemm import emit_gemm
from .gemm import scratch_bytes as gemm_scratch_bytes
from .nest import parameter_names
from .parallel import SERIAL, ParallelNest, Threading
from .target import Target
from .text import Emitter
from .values import is_real, register_type


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
    shared_ns : int
        Estimated work, in nanoseconds, of loops that several threads may share.
    """

    symbol: str
    text: str
    scratch_bytes: int
    can_fail: bool
    shared_ns: int = 0


def emit_kernel(
    kernel: Kernel,
    schedule: Schedule,
    target: Target,
    scope: ModuleScope,
    linkage: str = "internal",
    numbers: Mapping[KernelOp, int] | None = None,
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
    threading : Threading
        Whether loops are shared between threads; then the module imports
        `parallel.JOB_SYMBOL`.
    uncached : frozenset of str
        Outputs, aligned to 64 bytes, that are stored past the caches where that can be.

    Raises
    ------
    InternalError
        If the schedule does not fit the kernel.
    """
    if numbers is None:
        numbers = {op: k for k, op in enumerate(kernel.body)}
    parts = parts_of(kernel, schedule)
    if len(parts) > 1:
        return _emit_parts(kernel, parts, target, scope, linkage, numbers)
    if any(isinstance(op, Contract) for op in kernel.body):
        return _emit_stages(
            kernel, schedule, target, scope, linkage, numbers, threading
        )
    symbol = symbol_of(kernel.name)
    em = scope.emitter()
    flat = flattened(kernel, schedule)
    flat_numbers = {op: numbers.get(old, 0) for op, old in flat.origin.items()}
    plan = _scalar_if_needed(flat.kernel, flat.schedule)
    nest = ParallelNest(
        flat.kernel,
        plan,
        target,
        em,
        flat_numbers,
        flat.views,
        symbol,
        threading,
        scope.emitter,
    )
    nest.uncached = uncached
    nest.emit()
    nest.fence()
    em.ret()
    text = em.function(symbol, _parameters(kernel), linkage=linkage)
    return KernelCode(
        symbol,
        "\n".join([*nest.functions, text]),
        nest.scratch_bytes,
        _can_fail(kernel),
        nest.shared_ns,
    )


def _parameters(kernel: Kernel) -> list[str]:
    names = [*parameter_names(kernel).values(), "%scratch", "%err"]
    return [f"ptr {name}" for name in names]


def _emit_parts(
    kernel: Kernel,
    parts: Sequence[Part],
    target: Target,
    scope: ModuleScope,
    linkage: str,
    numbers: Mapping[KernelOp, int],
) -> KernelCode:
    """Return a function that calls the parts of a kernel, each a function."""
    symbol, em = symbol_of(kernel.name), scope.emitter()
    pointers = parameter_names(kernel)
    texts: list[str] = []
    needed = 0
    for place, (part, schedule) in enumerate(parts):
        own = replace(part, name=f"{kernel.name}.part{place}")
        code = emit_kernel(own, schedule, target, scope, "internal", numbers)
        texts.append(code.text)
        needed = max(needed, code.scratch_bytes)
        values = [pointers[b.name] for b in (*part.inputs, *part.outputs)]
        arguments = [("ptr", v) for v in (*values, "%scratch", "%err")]
        em.call("void", code.symbol, arguments)
    em.ret()
    texts.append(em.function(symbol, _parameters(kernel), linkage=linkage))
    return KernelCode(symbol, "\n".join(texts), needed, _can_fail(kernel))


def _emit_stages(
    kernel: Kernel,
    schedule: Schedule,
    target: Target,
    scope: ModuleScope,
    linkage: str,
    numbers: Mapping[KernelOp, int],
    threading: Threading,
) -> KernelCode:
    """Return a function that calls the stages of a kernel with a contraction."""
    check_contraction(kernel)
    parts = stages_of(kernel, schedule)
    symbol, em = symbol_of(kernel.name), scope.emitter()
    pointers = parameter_names(kernel)
    at = 0
    for buffer in parts.temporaries:
        pointers[buffer.name] = em.gep("i8", "%scratch", at)
        at += _aligned(prod(buffer.shape) * buffer.dtype.itemsize)
    rest = em.gep("i8", "%scratch", at)
    texts: list[str] = []
    needed = shared_ns = 0
    for number, stage in enumerate(parts.stages):
        if isinstance(stage, Nested):
            code = emit_kernel(
                stage.kernel,
                stage.schedule,
                target,
                scope,
                "internal",
                numbers,
                threading,
            )
            texts.append(code.text)
            shared_ns += code.shared_ns
            needed = max(needed, code.scratch_bytes)
            buffers = (*stage.kernel.inputs, *stage.kernel.outputs)
            values = [*(pointers[b.name] for b in buffers), rest, "%err"]
            em.call("void", code.symbol, [("ptr", v) for v in values])
            continue
        name = f"{symbol}.gemm{number}"
        texts.append(emit_gemm(name, stage.problem, target, scope.emitter))
        needed = max(needed, gemm_scratch_bytes(stage.problem, target))
        values = [
            em.gep(register_type(stage.problem.dtype), pointers[x.buffer], x.start)
            for x in (stage.lhs, stage.rhs, stage.out)
        ]
        em.call("void", name, [("ptr", v) for v in (*values, rest)])
    em.ret()
    texts.append(em.function(symbol, _parameters(kernel), linkage=linkage))
    return KernelCode(
        symbol, "\n".join(texts), at + needed, _can_fail(kernel), shared_ns
    )


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


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
