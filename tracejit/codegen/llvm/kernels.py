"""A kernel as an LLVM function.

``void @name(ptr in..., ptr out..., ptr scratch, ptr err)``: the buffers in order, at
least `KernelCode.scratch_bytes` bytes of memory aligned to 64 bytes, and the error word
(two i64: code, offending index), which is only written to when something is wrong.
Needs the kernel IR and a schedule; the schedule is followed but for sums over several
axes of which one is the vector axis, which run as scalars where a row does not fill
whole blocks of virtual lanes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...kernels.kernel import Kernel, Load, Reduce
from ...kernels.schedule import Role, Schedule
from ...kernels.tree import LANES
from .nest import Nest, parameter_names
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
    """

    symbol: str
    text: str
    scratch_bytes: int
    can_fail: bool


def emit_kernel(
    kernel: Kernel,
    schedule: Schedule,
    target: Target,
    scope: ModuleScope,
    linkage: str = "internal",
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

    Raises
    ------
    InternalError
        If the schedule does not fit the kernel.
    """
    symbol = symbol_of(kernel.name)
    em = scope.emitter()
    nest = Nest(kernel, _scalar_if_needed(kernel, schedule), target, em)
    nest.emit()
    em.ret()
    names = [*parameter_names(kernel).values(), "%scratch", "%err"]
    parameters = [f"ptr {name}" for name in names]
    text = em.function(symbol, parameters, linkage=linkage)
    return KernelCode(symbol, text, nest.scratch_bytes, _can_fail(kernel))


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
