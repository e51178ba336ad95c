"""What a kernel of a target may contain: what fusion asks before it makes one.

Each backend states its answer as one `Limits`; `ANY` is that of no target, for tests
and for passes on graphs alone. Whatever a target refuses runs as an extern step.
"""

from collections.abc import Callable
from dataclasses import field

import numpy as np

from ..ir import dtypes as dt
from ..ir.expansion import Meanings
from ..ir.graph import Eqn
from ..ir.primitive import Primitive
from ..records import dataclass

IsHeld = Callable[[Eqn], bool]
CanEmit = Callable[[Primitive, tuple[np.dtype, ...]], bool]
MAX_EQUATIONS = 512  # a kernel of more than some thousand operations compiles slowly


@dataclass(frozen=True)
class Limits:
    """What a kernel of one target may contain.

    Parameters
    ----------
    target : str
    can_emit : callable
        ``(primitive, operand dtypes) -> bool``, for elementwise primitives; `convert`
        has the dtype of its result as a second one.
    max_equations : int
        Of one kernel.
    own : frozenset of str
        Primitives that mean a graph, and that the target computes as they are.
    meanings : mapping of str to callable
        Graphs in place of primitives that the target does not compute, by name.
    splits_complex : bool
        Whether complex arithmetic is to become real (see `split_complex`).
    keeps_complex : frozenset of str
        Primitives that stay complex all the same, for NumPy's values in every infinity.
    adds_products : bool
        Whether sums along axes add products that are not rounded.
    picks_places : bool
        Whether a few places of what is sorted are found without sorting the rest.
    work_a_byte : float
        Operations that cost what a byte of memory costs, stored or loaded. A core does
        8 to 16 float32 operations in the time that it moves 4 bytes.
    can_extend : callable
        ``(eqn) -> bool``, for a `conv_general`: whether its kernel may compute more
        from its result. Otherwise it is a kernel of its own.
    """

    target: str
    can_emit: CanEmit
    max_equations: int = MAX_EQUATIONS
    own: frozenset[str] = frozenset()
    meanings: Meanings = field(default_factory=dict)
    splits_complex: bool = False
    keeps_complex: frozenset[str] = frozenset()
    adds_products: bool = False
    picks_places: bool = False
    work_a_byte: float = 3.0
    can_extend: IsHeld = field(default=lambda eqn: False)

    def accepts(self, eqn: Eqn) -> bool:
        """Tell whether a kernel may contain an elementwise equation."""
        dtypes = tuple(x.aval.dtype for x in eqn.invars)
        if eqn.primitive.name == "convert":
            dtypes = (*dtypes, eqn.outvars[0].aval.dtype)
        return self.can_emit(eqn.primitive, dtypes)


def is_real(primitive: Primitive, dtypes: tuple[np.dtype, ...]) -> bool:
    """Accept every primitive on real dtypes."""
    return not any(dt.is_complex(d) for d in dtypes)


ANY = Limits("any", is_real)
