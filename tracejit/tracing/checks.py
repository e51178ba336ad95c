"""What must hold at run time, recorded.

Needs traced truths. Establishes `record_check`: an equation that calls a function of
the host, which raises, where a truth does not hold.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..ir import dtypes as dt
from ..ir.ops.callback import check_p
from ..ir.primitive import HostFunction
from .trace import trace_of
from .tracer import Tracer


def record_check(
    holds: Tracer,
    fail: Callable[..., tuple[np.ndarray, ...]],
    operands: Sequence[Tracer] = (),
) -> None:
    """Record that `fail` is called with the operands unless a truth holds."""
    trace = trace_of((holds, *operands))
    truth, *values = (trace.lift(x) for x in (holds, *operands))
    atoms = [truth.convert(dt.BOOL), *(x.read() for x in values)]
    trace.emit_all(check_p, atoms, {"fn": HostFunction("check", fail)})
