"""What is emitted for a kernel: the code of its functions, and where they go.

Needs a kernel and a schedule. Establishes `Emission`, which the forms of code share:
loop nests (`kernels`), products, convolutions and streams (`contracted`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field

from ...kernels.cost import work_ns
from ...kernels.kernel import Kernel, KernelOp
from ...kernels.schedule import Schedule
from ...records import dataclass
from .collapse import Beside, Flat
from .nest import parameter_names
from .parallel import can_fail
from .sharing import Ranges, Threading
from .target import Target
from .text import Emitter


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


@dataclass(frozen=True)
class Emission:
    """What is to be emitted; see `kernels.emit_kernel`."""

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

    def numbers_in(self, flat: Flat) -> dict[KernelOp, int]:
        """Return what the error word calls the operations of the collapsed kernel."""
        return {op: self.numbers.get(old, 0) for op, old in flat.origin.items()}


def symbol_of(name: str) -> str:
    """Return a name as an LLVM symbol that needs no quotes."""
    return re.sub(r"[^\w.]", "_", name)
